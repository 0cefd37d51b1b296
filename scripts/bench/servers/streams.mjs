/**
 * Subscribers that are Streams: the same consumers over whatever publishes. A batch is published in bursts that fit a
 * buffer of 100, with a turn for the subscribers after each.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { serveWork } from "./work.mjs"

const subscribers = 100
const burst = 50
const bursts = 4

/**
 * @param {(data: string) => Effect.Effect<unknown, any>} publish
 * @param {Stream.Stream<{ data: string }, any>} stream
 */
export const serveStreams = (publish, stream) =>
  Effect.gen(function*() {
    let received = 0
    for (let index = 0; index < subscribers; index++) {
      yield* Effect.forkChild(
        Stream.runForEachArray(stream, (messages) =>
          Effect.sync(() => {
            received += messages.length
          })),
        { startImmediately: true }
      )
    }
    const one = publish("hello")
    const burstOf = Effect.andThen(Effect.repeat(one, { times: burst - 1 }), Effect.yieldNow)
    const batch = Effect.repeat(burstOf, { times: bursts - 1 })
    const settle = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
    serveWork({
      check: async () => {
        received = 0
        await Effect.runPromise(Effect.andThen(one, settle))
        return `${received}`
      },
      batch: async () => {
        received = 0
        await Effect.runPromise(Effect.andThen(batch, settle))
        return received
      }
    })
    return yield* Effect.never
  })
