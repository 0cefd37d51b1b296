/**
 * One connection on which both sides may call: takes texts, runs what they ask in fibers of its own, hands answers to
 * our waiting calls, and says when enough is running to stop reading. The same for the serving and the calling end.
 *
 * Owns the bound on what runs at once. Never reads: whoever reads calls `receive` and waits for it.
 */
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import type { ClientExchange } from "../Exchange.ts"
import { Calls, type Write } from "./JsonRpcCalls.ts"
import { type Dispatch, type Link, Peer } from "./JsonRpcDispatch.ts"
import { codes } from "./JsonRpcError.ts"
import * as Message from "./JsonRpcMessage.ts"

/** How much of a connection's requests is taken on. Every serving part has these. */
export interface Limits extends Message.Bounds {
  readonly concurrency: number
  readonly maxInFlight: number
}

export interface Options<R> {
  readonly dispatch: Dispatch<R>
  readonly limits: Limits
  readonly write: Write
  readonly exchange: ClientExchange | undefined
  /** Succeeds when the other side has gone, so that nobody waits for a free place any more. */
  readonly gone: Effect.Effect<unknown>
}

export interface Session<R> {
  readonly calls: Calls
  /** Takes a text. Suspends while too much is running, so that the reader stops reading. */
  readonly receive: (text: string | Uint8Array) => Effect.Effect<void, never, R>
}

/** Lives as long as the scope; what runs is interrupted with it. */
export const make = <R>(
  { dispatch, exchange, gone, limits, write }: Options<R>
): Effect.Effect<Session<R>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const changed = Latch.makeUnsafe(false)
    const calls = new Calls(write, () => changed.openUnsafe())
    // Finalizers run backwards: methods are interrupted before their own calls fail.
    yield* Scope.addFinalizer(scope, Effect.sync(() => calls.end()))
    const fibers = yield* FiberSet.make<void>()
    const tell = (text: string) => Effect.ignore(write(text, []))
    const link: Link = { exchange, tell, peer: { call: calls.call, notify: calls.notify, scope } }
    let inFlight = 0

    /**
     * Waits for a place. While we wait for the other side ourselves we must go on reading, or its answer would never
     * be read: what has no place then is refused instead.
     */
    const admit = (weight: number): Effect.Effect<"admitted" | "busy" | "gone"> =>
      Effect.suspend(() => {
        if (inFlight + weight <= limits.maxInFlight) {
          inFlight += weight
          return Effect.succeed("admitted")
        }
        if (calls.waiting > 0) return Effect.succeed("busy")
        changed.closeUnsafe()
        return Effect.raceFirst(
          Effect.flatMap(changed.await, () => admit(weight)),
          Effect.as(gone, "gone" as const)
        )
      })

    const answer = (message: Message.Message, weight: number) =>
      Effect.flatMap(dispatch(message, link), (text) => text === undefined ? Effect.void : tell(text)).pipe(
        Effect.ensuring(Effect.sync(() => {
          inFlight -= weight
          changed.openUnsafe()
        }))
      )

    const receive = (text: string | Uint8Array): Effect.Effect<void, never, R> =>
      Effect.suspend(() => {
        const { isBatch, items } = Message.parse(text, limits, true)
        const asked = items.filter((item) => item._tag !== "Response")
        const delivered = Effect.forEach(
          items.filter((item) => item._tag === "Response"),
          (item) => calls.deliver(item),
          { discard: true }
        )
        if (asked.length === 0) return delivered
        const weight = Math.min(asked.length, limits.concurrency, limits.maxInFlight)
        const message = { isBatch, items: asked }
        return Effect.flatMap(Effect.andThen(delivered, admit(weight)), (admission) => {
          if (admission === "gone") return Effect.void
          if (admission === "busy") return refuse(message)
          return Effect.asVoid(FiberSet.run(fibers, answer(message, weight), { startImmediately: true }))
        })
      })

    const refuse = ({ isBatch, items }: Message.Message): Effect.Effect<void> => {
      const texts = items.flatMap((item) =>
        item._tag === "Response" || item.id === undefined
          ? []
          : [Message.errorText(item.id, item._tag === "Invalid" ? item.error : busy)]
      )
      return Effect.andThen(
        Effect.logDebug("JSON-RPC requests were refused: too many calls are in flight"),
        texts.length === 0 ? Effect.void : tell(isBatch ? Message.batchText(texts) : texts[0]!)
      )
    }

    return { calls, receive }
  })

const busy: Message.WireError = { code: codes.serverError, message: "Too many calls in flight" }

/** The peer of a connection that only answers. `tell` is what its client can hear in the meantime. */
export const mute = (
  exchange: ClientExchange | undefined,
  scope: Scope.Scope,
  tell?: (text: string) => Effect.Effect<void>
): Link => {
  const unavailable: Write = () => Effect.fail({ reason: "Unavailable" })
  const calls = new Calls(
    tell === undefined ? unavailable : (text, ids) => ids.length === 0 ? tell(text) : unavailable(text, ids)
  )
  return {
    exchange,
    tell: tell ?? (() => Effect.void),
    peer: Peer.of({ call: calls.call, notify: calls.notify, scope })
  }
}
