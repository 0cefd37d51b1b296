/** The callbacks as subscribers of PubSubMemory. */
import * as Effect from "effect/Effect"
import * as PubSubMemory from "slipway/layers/PubSubMemory"
import { callbackCount, makeCallbacks, rounds } from "./callbacks.mjs"
import { serveWork } from "./work.mjs"

const { callbacks, total } = makeCallbacks()

const program = Effect.gen(function*() {
  const pubsub = yield* PubSubMemory.make()
  for (const callback of callbacks) yield* pubsub.listen("news", callback)
  const publish = pubsub.publish("news", "hello")
  serveWork({
    check: async () => {
      total.bytes = 0
      Effect.runSync(publish)
      return `${total.bytes}`
    },
    batch: () => {
      for (let round = 0; round < rounds; round++) Effect.runSync(publish)
      return rounds * callbackCount
    }
  })
  return yield* Effect.never
})

Effect.runFork(Effect.scoped(program))
