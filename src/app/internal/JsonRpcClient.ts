/**
 * The calling end: methods by their names, batches, and the transports they go over. A transport either asks and gets
 * the answer back (HTTP), or sends and receives texts in any order (WebSocket and everything like it), and then the
 * other side may call as well.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import { Calls, type Requested, type Write, type WriteFailure } from "./JsonRpcCalls.ts"
import type { Caller, Dispatch } from "./JsonRpcDispatch.ts"
import type { CallError, RpcError } from "./JsonRpcError.ts"
import * as Message from "./JsonRpcMessage.ts"
import type { AnyDeclaration, Arguments, ErrorOf, SuccessOf } from "./JsonRpcMethod.ts"
import * as Session from "./JsonRpcSession.ts"

/** What a call may fail with. */
export type Failure<D> = ErrorOf<D> | RpcError | CallError

/** Sends one text and yields what came back, `undefined` where nothing did. */
export interface Asking {
  readonly _tag: "Asking"
  readonly ask: (text: string) => Effect.Effect<string | undefined, WriteFailure>
}

/** Sends and receives texts independently. */
export interface Duplex {
  readonly _tag: "Duplex"
  readonly send: (text: string) => Effect.Effect<void, WriteFailure>
  /** The next text. A failure is the end of the connection. */
  readonly receive: Effect.Effect<string | Uint8Array, WriteFailure>
}

/** What a client's texts go over. */
export type Transport = Asking | Duplex

/** A client of the methods `D`: each is a function of its name. A method called `call` needs `client.call(method)`. */
export type Client<D extends AnyDeclaration> =
  & Caller
  & {
    /**
     * Sends calls as one message. Succeeds with one Result for each, in their order, whatever the order of the answers.
     */
    readonly batch: <const Ds extends ReadonlyArray<AnyDeclaration>>(
      ...calls: { readonly [K in keyof Ds]: Requested<Ds[K]> }
    ) => Effect.Effect<{ readonly [K in keyof Ds]: Result.Result<SuccessOf<Ds[K]>, Failure<Ds[K]>> }>
  }
  & {
    readonly [M in D as Exclude<M["name"], "call" | "notify" | "batch" | "then">]: (
      ...params: Arguments<M>
    ) => Effect.Effect<SuccessOf<M>, Failure<M>>
  }

/** What a client serves to the server's calls, and within which bounds. */
export interface Serves<R> {
  readonly dispatch: Dispatch<R>
  readonly limits: Session.Limits
}

export const make = <D extends AnyDeclaration, R>(
  declarations: ReadonlyArray<D>,
  transport: Transport,
  serves: Serves<R>
): Effect.Effect<Client<D>, never, R | Scope.Scope> =>
  Effect.map(
    transport._tag === "Asking" ? Effect.succeed(asking(transport, serves.limits)) : duplex(transport, serves),
    (calls) => {
      const client: Record<string, unknown> = Object.create(null)
      for (const declaration of declarations) {
        // An object with `then` is a promise to `await`; such a method is called through `call`.
        if (declaration.name === "then") continue
        client[declaration.name] = (...params: Arguments<D>) => calls.call(declaration, ...params)
      }
      client["call"] = calls.call
      client["notify"] = calls.notify
      client["batch"] = (...requests: ReadonlyArray<Requested<AnyDeclaration>>) =>
        requests.length === 0 ? Effect.succeed([]) : calls.ask(requests, true)
      return client as Client<D>
    }
  )

const asking = ({ ask }: Asking, bounds: Message.Bounds): Calls => {
  const write: Write = (text, ids) =>
    Effect.flatMap(ask(text), (answer) => {
      const items = answer === undefined ? [] : Message.parse(answer, bounds, true).items
      const responses = items.filter((item) => item._tag === "Response")
      const asked = new Set<Message.Id>(ids)
      // An error for the whole message has no id, and only this message can be meant.
      const refusal = responses.find(({ error, id }) => id === null && error !== undefined)?.error
      return Effect.andThen(
        // What another message asks is answered to that one.
        Effect.forEach(responses.filter(({ id }) => asked.has(id)), (response) => calls.deliver(response), {
          discard: true
        }),
        Effect.sync(() => calls.fail(ids, { reason: "InvalidAnswer" }, refusal))
      )
    })
  const calls = new Calls(write)
  return calls
}

const duplex = <R>({ receive, send }: Duplex, { dispatch, limits }: Serves<R>) =>
  Effect.gen(function*() {
    const ended = Deferred.makeUnsafe<never, WriteFailure>()
    // What waits for its turn to be sent must not wait for a line that is cut.
    const write: Write = (text) => Effect.raceFirst(send(text), Deferred.await(ended))
    const session = yield* Session.make({ dispatch, limits, write, exchange: undefined, gone: Effect.never })
    const reading = Effect.forever(Effect.flatMap(Effect.mapError(receive, ({ cause }) => cause), session.receive))
    yield* Effect.forkScoped(
      Effect.catchCause(reading, (cause) => {
        const because = Cause.squash(cause)
        session.calls.end(because)
        Deferred.doneUnsafe(ended, Exit.fail(gone(because)))
        return Cause.hasDies(cause) ? Effect.logError("A JSON-RPC transport failed", cause) : Effect.void
      })
    )
    return session.calls
  })

// ---- transports

const gone = (cause: unknown): WriteFailure => ({ reason: "Disconnected", cause })

export const transportHttp = (url: string | URL): Effect.Effect<Asking, never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (client): Asking => ({
    _tag: "Asking",
    ask: (text) =>
      HttpClientRequest.post(url).pipe(
        HttpClientRequest.acceptJson,
        HttpClientRequest.bodyText(text, "application/json"),
        client.execute,
        Effect.mapError(gone),
        Effect.flatMap((response): Effect.Effect<string | undefined, WriteFailure> => {
          if (response.status === 204) return Effect.undefined
          const cause = `HTTP status ${response.status}`
          return response.status === 200
            ? Effect.mapError(response.text, gone)
            : Effect.fail({ reason: "InvalidAnswer", cause })
        })
      )
  }))

/** Every piece that the socket yields is one message, as a WebSocket has it. */
export const transportSocket = (
  socket: Socket.Socket
): Effect.Effect<Duplex, Socket.SocketError, Scope.Scope> =>
  Effect.gen(function*() {
    const { write } = yield* socket.writer
    const { pull } = yield* socket.reader
    let pulled: ReadonlyArray<string | Uint8Array> = []
    const next: Effect.Effect<string | Uint8Array, Socket.SocketError> = Effect.suspend(() => {
      const [first, ...rest] = pulled
      pulled = rest
      return first === undefined
        ? Effect.flatMap(pull, (messages) => {
          pulled = messages
          return next
        })
        : Effect.succeed(first)
    })
    return transport({ send: write, receive: next })
  })

export const transport = <E1, E2>(functions: {
  readonly send: (text: string) => Effect.Effect<void, E1>
  readonly receive: Effect.Effect<string | Uint8Array, E2>
}): Duplex => ({
  _tag: "Duplex",
  send: (text) => Effect.mapError(functions.send(text), gone),
  receive: Effect.mapError(functions.receive, gone)
})
