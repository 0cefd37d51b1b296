/**
 * The dashboard's past and present: looks at the server once a second while somebody watches, and for some minutes
 * more, so that a page that is opened again has not missed anything. Nobody watching costs nothing.
 */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as RcRef from "effect/RcRef"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Operations } from "../../service/Operations.ts"
import { type Now, type Point, Sampler } from "./Samples.ts"

/** Points that are kept: ten minutes. */
export const mostPoints = 600
/** How long it goes on after the last one has left. */
const restTime = "5 minutes"
/** Longer than this a look does not take; then it has failed. */
const patience = "10 seconds"

/** What a watcher gets: first all that was, then each look. */
export type Message =
  | { readonly _tag: "history"; readonly points: ReadonlyArray<Point> }
  | { readonly _tag: "now"; readonly now: Now }
  | { readonly _tag: "trouble"; readonly problem: string }

/** Messages from now on. A watcher that is slow misses some, and nobody waits for it. */
export type Feed = Stream.Stream<Message>

/** Makes the feed of a server. Nothing is asked until somebody watches. */
export const make = Effect.fnUntraced(function*(
  { status }: Pick<Operations["Service"], "status">
): Effect.fn.Return<Feed, never, Scope.Scope> {
  const shared = yield* RcRef.make({ acquire: look(status), idleTimeToLive: restTime })
  return Stream.unwrap(Effect.gen(function*() {
    const { latest, messages, points } = yield* RcRef.get(shared)
    const subscription = yield* PubSub.subscribe(messages)
    const past: Array<Message> = [{ _tag: "history", points: [...points] }]
    const now = latest()
    if (now !== undefined) past.push(now)
    return Stream.concat(Stream.fromIterable(past), Stream.fromSubscription(subscription))
  }))
})

const look = Effect.fnUntraced(function*(status: Operations["Service"]["status"]) {
  const sampler = new Sampler()
  const points: Array<Point> = []
  const messages = yield* PubSub.sliding<Message>(4)
  let latest: Message | undefined
  const once = status.pipe(
    Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.fail({ message: "it does not answer in time" }) }),
    Effect.match({
      onFailure: ({ message }): Message => ({ _tag: "trouble", problem: message }),
      onSuccess: (status): Message => {
        const now = sampler.next(status)
        if (points.push(now.point) > mostPoints) points.shift()
        return { _tag: "now", now }
      }
    }),
    Effect.flatMap((message) => {
      latest = message
      return PubSub.publish(messages, message)
    })
  )
  yield* Effect.forkScoped(Effect.repeat(once, Schedule.fixed("1 second")), { startImmediately: true })
  return { points, messages, latest: () => latest }
})
