import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { guides, routes } from "../../examples/search.ts"
import { Guides, type Hit, type Line } from "../../examples/search/guides.ts"
import * as TestClient from "../../layers/TestClient.ts"
import * as WorkerPoolInline from "../../layers/WorkerPoolInline.ts"
import { capture } from "../utils/logs.ts"

const module = new URL("../../examples/search/guidesWorker.ts", import.meta.url)

const inline = Layer.provide(Guides.layer, WorkerPoolInline.layer({ module }))

describe("examples/search.ts", () => {
  it.live("finds words in threads [C226]", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(routes)
      const hits = JSON.parse(yield* (yield* client.get("/find/Worker")).text) as ReadonlyArray<typeof Hit.Type>
      assert.include(hits.map(({ page }) => page), "worker-services.md")
      assert.deepStrictEqual(hits.map(({ count }) => count), hits.map(({ count }) => count).sort((a, b) => b - a))
    }).pipe(Effect.provide(guides), Effect.provide(capture().layer)))

  it.effect("answers what is not a word with 422, and what is nowhere with nothing", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(routes)
      assert.strictEqual((yield* client.get("/find/two%20words")).status, 422)
      assert.strictEqual(yield* (yield* client.get(`/find/${"x".repeat(40)}`)).text, "[]")
    }).pipe(Effect.provide(inline), Effect.provide(capture().layer)))

  it.effect("streams the lines with a word", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(routes)
      const text = yield* (yield* client.get("/lines/workers", { headers: [["accept", "text/event-stream"]] })).text
      const lines = text.split("\n\n").filter((event) => event.startsWith("data: "))
        .map((event) => JSON.parse(event.slice("data: ".length)) as typeof Line.Type)
      assert.isAbove(lines.length, 0)
      for (const { text } of lines) assert.match(text, /\bworkers\b/i)
    }).pipe(Effect.provide(inline), Effect.provide(capture().layer)))
})
