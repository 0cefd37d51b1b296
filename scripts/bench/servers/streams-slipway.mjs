/** Streams of PubSubMemory. */
import * as Effect from "effect/Effect"
import * as PubSubMemory from "slipway/layers/PubSubMemory"
import { serveStreams } from "./streams.mjs"

const program = Effect.gen(function*() {
  const pubsub = yield* PubSubMemory.make()
  yield* serveStreams((data) => pubsub.publish("news", data), pubsub.subscribe("news"))
})

Effect.runFork(Effect.scoped(program))
