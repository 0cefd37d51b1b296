/**
 * Runs what a message asks for and makes the answer's text: looks methods up, provides what they may use, bounds how
 * many of a batch run at once, and is the wall where defects become -32603. Never reads or writes a connection.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ClientExchange } from "../Exchange.ts"
import { type CallError, codes, type RpcError } from "./JsonRpcError.ts"
import * as Message from "./JsonRpcMessage.ts"
import type { AnyDeclaration, AnyMethod, Arguments, ErrorOf, SuccessOf } from "./JsonRpcMethod.ts"

/** The call that a method is answering. */
export class Call extends Context.Service<Call, {
  readonly method: string
  /** `undefined` for a notification: nothing that the method yields will be sent. */
  readonly id: Message.Id | undefined
  /** The parameters as they came: an array, an object, or `undefined`. */
  readonly params: unknown
  /** What the call came over, with its headers; `undefined` where it came as a text (`rpc.handle`) or to a client. */
  readonly exchange: ClientExchange | undefined
  /** Sends a notification `$/progress` with `{ token: id, value }`. Nothing happens where nobody could hear it. */
  readonly progress: (value: unknown) => Effect.Effect<void>
}>()("slipway/app/JsonRpc/Call") {}

/** Calls and notifications towards the other side of a connection. */
export interface Caller {
  /**
   * Calls a method and waits for its answer; bound the waiting with `Effect.timeout`.
   *
   * **Fails with** the method's declared errors, with `RpcError` for every other error object, with `CallError` when
   * there is no answer. Parameters that do not fit the Schema are a defect.
   */
  readonly call: <D extends AnyDeclaration>(
    declaration: D,
    ...params: Arguments<D>
  ) => Effect.Effect<SuccessOf<D>, ErrorOf<D> | RpcError | CallError>
  /** Sends a notification. Succeeds when it was handed over; there is no answer. */
  readonly notify: <D extends AnyDeclaration>(
    declaration: D,
    ...params: Arguments<D>
  ) => Effect.Effect<void, CallError>
}

/**
 * The other side of the connection that a call came over. A WebSocket client can be notified and called; a client of a
 * stream (SSE) only notified, as long as the method runs. Over plain HTTP both fail with `CallError` `Unavailable`.
 */
export class Peer extends Context.Service<
  Peer,
  Caller & {
    /** Closes when the connection's work ends: the home of fibers that outlive the method (`Effect.forkIn`). */
    readonly scope: Scope.Scope
  }
>()("slipway/app/JsonRpc/Peer") {}

/**
 * Wraps the running of a method. `next` decodes the parameters, runs the method and yields the result as JSON; its
 * typed failures have become error objects. Fail with an `RpcError` to refuse.
 */
export type Middleware<out R2 = never> = <R>(
  call: Call["Service"],
  next: Effect.Effect<unknown, RpcError, R>
) => Effect.Effect<unknown, RpcError, R | R2>

/** The way back to whoever sent a message. */
export interface Link {
  readonly peer: Peer["Service"]
  readonly exchange: ClientExchange | undefined
  /** Sends a text that nobody answers. Never fails: who has gone does not hear it. */
  readonly tell: (text: string) => Effect.Effect<void>
}

/** Succeeds with the text to send back, `undefined` when there is none. */
export type Dispatch<R> = (message: Message.Message, link: Link) => Effect.Effect<string | undefined, never, R>

export interface DispatchOptions<R> {
  readonly methods: ReadonlyMap<string, AnyMethod<R>>
  readonly middleware: ReadonlyArray<Middleware<R>>
  readonly concurrency: number
}

export const make = <R>({ concurrency, methods, middleware }: DispatchOptions<R>): Dispatch<R> => {
  const runs = new Map<string, Run<R>>()
  for (const [name, method] of methods) runs.set(name, surround([...middleware, ...method.middleware], method))

  const answer = (item: Message.Item, link: Link): Effect.Effect<string | undefined, never, R> => {
    if (item._tag === "Response") item = Message.unasked(item)
    if (item._tag === "Invalid") return Effect.succeed(Message.errorText(item.id, item.error))
    const run = runs.get(item.method)
    if (run !== undefined) return perform(run, item, link)
    return item.id === undefined
      ? Effect.as(Effect.logDebug("A notification names no JSON-RPC method"), undefined)
      : Effect.succeed(Message.errorText(item.id, methodNotFound))
  }

  return ({ isBatch, items }, link) =>
    isBatch
      ? Effect.map(Effect.forEach(items, (item) => answer(item, link), { concurrency }), (texts) => {
        const answers = texts.filter((text) => text !== undefined)
        return answers.length === 0 ? undefined : Message.batchText(answers)
      })
      : answer(items[0]!, link)
}

type Run<R> = (call: Call["Service"]) => Effect.Effect<unknown, RpcError, R>

const methodNotFound: Message.WireError = { code: codes.methodNotFound, message: "Method not found" }

const surround = <R>(middleware: ReadonlyArray<Middleware<R>>, method: AnyMethod<R>): Run<R> =>
  middleware.reduceRight<Run<R>>(
    (next, wrap) => (call) => wrap(call, Effect.suspend(() => next(call))),
    (call) => method.run(call.params)
  )

const silent = Effect.void

const perform = <R>(run: Run<R>, { id, method, params }: Message.Request, link: Link) => {
  const call = Call.of({
    method,
    id,
    params,
    exchange: link.exchange,
    progress: (value) =>
      id === undefined ?
        silent :
        Effect.suspend(() => link.tell(Message.requestText("$/progress", { token: id, value })))
  })
  const text = Effect.suspend(() => run(call)).pipe(
    Effect.map((result) => id === undefined ? undefined : Message.resultText(id, result)),
    Effect.catch((error) =>
      id !== undefined
        ? Effect.sync(() => Message.errorText(id, error))
        : Effect.as(logged(method, failedNotification(error)), undefined)
    ),
    // An interruption from outside never comes by here; one that the method made itself is a defect like any other.
    Effect.catchCause((cause) =>
      Effect.as(
        logged(method, Effect.logError("A JSON-RPC method failed", cause)),
        id === undefined ? undefined : Message.internalErrorText(id)
      )
    )
  )
  return Effect.provideService(Effect.provideService(text, Peer, link.peer), Call, call) as Effect.Effect<
    string | undefined,
    never,
    R
  >
}

/** Parameters that do not fit are the client's fault: however many it sends, they fill no log. */
const failedNotification = (error: RpcError): Effect.Effect<void> =>
  Effect.logWithLevel(error.code === codes.invalidParams ? "Debug" : "Warn")(
    "A JSON-RPC notification failed",
    Cause.fail(error)
  )

const logged = (method: string, log: Effect.Effect<void>): Effect.Effect<void> => Effect.annotateLogs(log, { method })
