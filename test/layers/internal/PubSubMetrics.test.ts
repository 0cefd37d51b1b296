import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as PubSubMetrics from "../../../layers/internal/PubSubMetrics.ts"

const stats = {
  topics: 1,
  patterns: 2,
  channels: 3,
  published: 4,
  delivered: 5,
  droppedFull: 6,
  droppedExpired: 7,
  delayed: 8
}

describe("PubSubMetrics", () => {
  it.effect("are read when somebody looks, apart for each back end, until they are removed", () =>
    Effect.gen(function*() {
      const context = yield* Effect.context<never>()
      let published = 4
      let isConnected = false
      PubSubMetrics.register(context, "one", () => ({ ...stats, published }), () => isConnected)
      const remove = PubSubMetrics.register(context, "two", () => stats, () => true)
      const read = (id: string, backend: string) =>
        Effect.map(Metric.snapshot, (all) => {
          const found = all.find((metric) => metric.id === id && of(metric) === backend)
          const state = found?.state as { readonly count?: number; readonly value?: number } | undefined
          return state?.count ?? state?.value
        })
      assert.deepStrictEqual([yield* read("pubsub_published_total", "one"), yield* read("pubsub_connected", "one")], [
        4,
        0
      ])
      published = 400
      isConnected = true
      assert.deepStrictEqual(
        [yield* read("pubsub_published_total", "one"), yield* read("pubsub_connected", "one")],
        [400, 1]
      )
      assert.strictEqual(yield* read("pubsub_published_total", "two"), 4)
      const all = yield* Metric.snapshot
      assert.strictEqual(all.length, 18)
      for (const { description } of all) assert.isNotEmpty(description)
      remove()
      assert.strictEqual((yield* Metric.snapshot).length, 9)
      assert.strictEqual(yield* read("pubsub_published_total", "one"), 400)
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
})

const of = (metric: { readonly attributes: unknown }): unknown =>
  (metric.attributes as Record<string, string> | undefined)?.["backend"]
