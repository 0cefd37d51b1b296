/** PubSubRedis. */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { PubSub } from "slipway"
import * as PubSubRedis from "slipway/layers/PubSubRedis"
import { serveRedis, startRedis } from "./redis.mjs"

const program = Effect.gen(function*() {
  const pubsub = yield* PubSub.PubSub
  const scope = yield* Effect.scope
  yield* Effect.promise(() =>
    serveRedis(
      (data) => Effect.runPromise(pubsub.publish("news", data)),
      (callback) =>
        Effect.runPromise(
          Effect.provideService(pubsub.listen("news", ({ data }) => callback(String(data))), Scope.Scope, scope)
        )
    )
  )
  return yield* Effect.never
})

const url = `unix://${await startRedis()}`
Effect.runFork(Effect.scoped(program).pipe(Effect.provide(PubSubRedis.layerClient({ url }))))
