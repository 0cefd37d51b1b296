/** Effect's own PubSub, which drops what does not fit as ours does. */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import { serveStreams } from "./streams.mjs"

const program = Effect.gen(function*() {
  const pubsub = yield* PubSub.dropping(100)
  yield* serveStreams(
    (data) => PubSub.publish(pubsub, { topic: "news", data, id: undefined }),
    Stream.fromPubSub(pubsub)
  )
})

Effect.runFork(Effect.scoped(program))
