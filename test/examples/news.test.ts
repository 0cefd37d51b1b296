import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Crypto from "node:crypto"
import news from "../../examples/news.ts"
import { page } from "../../examples/news/page.ts"
import { script } from "../../examples/news/script.ts"
import * as TestClient from "../../layers/TestClient.ts"
import { capture } from "../utils/logs.ts"

const quiet = Effect.provide(capture().layer)

const served = Effect.map(
  Layer.build(Layer.provideMerge(news, TestClient.layer())),
  (context) => Context.get(context, TestClient.TestClient)
)

const publish = (client: TestClient.Client, title: unknown) => client.post("/articles", { json: { title } })

const titleIn = ({ data }: TestClient.SseEvent) => JSON.parse(data).title

describe("examples/news.ts", () => {
  it.effect("tells every follower, and new ones what was last [C213]", () =>
    Effect.gen(function*() {
      const client = yield* served
      const one = yield* client.sse("/feed")
      yield* TestClient.settle
      yield* TestClock.adjust("1 second")
      yield* publish(client, "Ship launched").pipe(TestClient.expectStatus(204))
      const { data } = yield* one.next
      assert.deepStrictEqual(JSON.parse(data), { title: "Ship launched", at: "1970-01-01T00:00:01.000Z" })
      const two = yield* client.sse("/feed")
      assert.strictEqual((yield* two.next).data, data)
    }).pipe(quiet))

  it.effect("gives a follower that comes back what it missed, once [C213]", () =>
    Effect.gen(function*() {
      const client = yield* served
      const scope = yield* Scope.make()
      const one = yield* Scope.provide(client.sse("/feed"), scope)
      yield* TestClient.settle
      yield* publish(client, "one")
      const { id } = yield* one.next
      yield* Scope.close(scope, Exit.void)
      yield* publish(client, "two")
      yield* publish(client, "three")
      for (const returning of [client.sse("/feed", { lastEventId: id! }), client.sse(`/feed?lastEventId=${id}`)]) {
        const back = yield* returning
        yield* TestClient.settle
        assert.deepStrictEqual([titleIn(yield* back.next), titleIn(yield* back.next)], ["two", "three"])
      }
      yield* publish(client, "four")
    }).pipe(quiet))

  it.effect("refuses a title that is none, and keeps quiet connections alive", () =>
    Effect.gen(function*() {
      const client = yield* served
      for (const title of ["", " blank ", "x".repeat(201), 5]) {
        yield* publish(client, title).pipe(TestClient.expectStatus(422))
      }
      const feed = yield* client.get("/feed", { headers: { accept: "text/event-stream" } })
      assert.strictEqual(feed.status, 200)
    }).pipe(quiet))

  it.effect("shows a page that runs its own script and nothing else", () =>
    Effect.gen(function*() {
      const client = yield* served
      const response = yield* client.get("/")
      assert.strictEqual(yield* response.text, page)
      assert.strictEqual(response.headers["content-type"], "text/html; charset=utf-8")
      const hash = Crypto.createHash("sha256").update(script).digest("base64")
      assert.include(response.headers["content-security-policy"], `script-src 'sha256-${hash}';`)
      assert.notMatch(script, /innerHTML|insertAdjacentHTML|document\.write|\beval\b/)
    }).pipe(quiet))
})
