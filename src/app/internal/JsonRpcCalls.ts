/**
 * Our own calls over one connection: gives them ids, remembers who waits, and hands each answer to its waiter. Both
 * sides use it, the client for everything and the server for what it asks its clients. Writes only through the function
 * it was given; reads nothing itself.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Result from "effect/Result"
import type { Caller } from "./JsonRpcDispatch.ts"
import { CallError, type CallErrorReason, RpcError } from "./JsonRpcError.ts"
import * as Message from "./JsonRpcMessage.ts"
import type { AnyDeclaration, Arguments, ErrorOf, SuccessOf } from "./JsonRpcMethod.ts"

/** A call that has not been made yet, to be put into a batch. */
export interface Requested<out D extends AnyDeclaration> {
  readonly declaration: D
  readonly params: unknown
}

/** Hands a text over. `ids` are the calls in it. */
export type Write = (text: string, ids: ReadonlyArray<number>) => Effect.Effect<void, WriteFailure>

/** Why a text could not be handed over. */
export interface WriteFailure {
  readonly reason: CallErrorReason
  readonly cause?: unknown
}

interface Waiter {
  readonly method: string
  readonly answer: Deferred.Deferred<unknown, unknown>
  readonly declaration: AnyDeclaration
}

/** Made once per connection. */
export class Calls implements Caller {
  private readonly write: Write
  private readonly onCall: () => void
  private readonly waiters = new Map<number, Waiter>()
  private lastId = 0
  private hasEnded = false

  /** `onCall` runs when the first call begins to wait. */
  constructor(write: Write, onCall: () => void = () => {}) {
    this.write = write
    this.onCall = onCall
  }

  /** Calls that wait for their answer. */
  get waiting(): number {
    return this.waiters.size
  }

  readonly call = <D extends AnyDeclaration>(
    declaration: D,
    ...params: Arguments<D>
  ): Effect.Effect<SuccessOf<D>, ErrorOf<D> | RpcError | CallError> =>
    Effect.flatMap(
      this.ask([{ declaration, params: params[0] }], false),
      ([answer]) => Effect.fromResult(answer!)
    ) as Effect.Effect<SuccessOf<D>, ErrorOf<D> | RpcError | CallError>

  readonly notify = <D extends AnyDeclaration>(
    declaration: D,
    ...params: Arguments<D>
  ): Effect.Effect<void, CallError> =>
    Effect.flatMap(Effect.orDie(declaration.wire.encodeParams(params[0])), (encoded) =>
      this.hasEnded
        ? Effect.fail(new CallError({ reason: "Disconnected", method: declaration.name }))
        : Effect.mapError(
          this.write(Message.requestText(declaration.name, encoded), []),
          (failure) => new CallError({ ...failure, method: declaration.name })
        ))

  /** Sends all as one message and waits for all answers. */
  ask(
    requests: ReadonlyArray<Requested<AnyDeclaration>>,
    isBatch: boolean
  ): Effect.Effect<ReadonlyArray<Result.Result<unknown, unknown>>> {
    return Effect.flatMap(
      Effect.forEach(requests, ({ declaration, params }) => Effect.orDie(declaration.wire.encodeParams(params))),
      (encoded) =>
        Effect.suspend(() => {
          const ids = requests.map(() => ++this.lastId)
          const texts = requests.map(({ declaration }, at) =>
            Message.requestText(declaration.name, encoded[at], ids[at])
          )
          const waiters = requests.map(({ declaration }): Waiter => ({
            method: declaration.name,
            answer: Deferred.makeUnsafe<unknown, unknown>(),
            declaration
          }))
          const sent = Effect.suspend(() => {
            ids.forEach((id, at) => this.waiters.set(id, waiters[at]!))
            this.onCall()
            return this.hasEnded
              ? Effect.sync(() => this.fail(ids, { reason: "Disconnected" }))
              : Effect.catch(
                this.write(isBatch ? Message.batchText(texts) : texts[0]!, ids),
                (failure) => Effect.sync(() => this.fail(ids, failure))
              )
          })
          return Effect.ensuring(
            Effect.andThen(sent, Effect.forEach(waiters, ({ answer }) => Effect.result(Deferred.await(answer)))),
            Effect.sync(() => ids.forEach((id) => this.waiters.delete(id)))
          )
        })
    )
  }

  /** Takes an answer. One that nobody waits for is ignored: its caller has gone, or it answers nothing. */
  deliver(response: Message.Response): Effect.Effect<void> {
    const waiter = typeof response.id === "number" ? this.waiters.get(response.id) : undefined
    if (waiter === undefined) return Effect.logDebug("A JSON-RPC answer belongs to no call")
    const { wire } = waiter.declaration
    const outcome = response.error === undefined
      ? Effect.mapError(
        wire.decodeSuccess(response.result),
        (cause) => new CallError({ reason: "InvalidAnswer", method: waiter.method, cause })
      )
      : Effect.flatMap(wire.decodeError(response.error), Effect.fail)
    // A Schema that dies of an answer is a matter of its caller, not of the connection.
    return Effect.flatMap(Effect.exit(outcome), (exit) => Deferred.done(waiter.answer, exit))
  }

  /** Fails those of `ids` that still wait: with `error` when the other side gave one that names no call. */
  fail(ids: Iterable<number>, failure: WriteFailure, error?: Message.WireError): void {
    for (const id of ids) {
      const waiter = this.waiters.get(id)
      if (waiter === undefined) continue
      const because = error === undefined ? new CallError({ ...failure, method: waiter.method }) : new RpcError(error)
      Deferred.doneUnsafe(waiter.answer, Exit.fail(because))
    }
  }

  /** Fails what waits, and from now on everything. */
  end(cause?: unknown): void {
    this.hasEnded = true
    this.fail(this.waiters.keys(), { reason: "Disconnected", cause })
  }
}
