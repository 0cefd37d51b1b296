import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as App from "../../../src/app/App.ts"
import { contract, SseScope } from "../../../src/schema/Scope.ts"
import { type Asking, serve, versions } from "./streams.ts"

/** Says in its status which protocol it was asked in. */
const telling: App.App<unknown> = App.byType({
  http: ({ send }) => App.respond(send, 299),
  sse: ({ send }) => send({ type: "sse.start", status: 200 })
})

/** Keeps what it was asked with and ends at once. */
const keeping = () => {
  const exchanges: Array<App.SseExchange> = []
  const app = App.sse((exchange) => {
    exchanges.push(exchange)
    return exchange.send({ type: "sse.start" })
  })
  return { app, exchanges }
}

const accepts: ReadonlyArray<readonly [accept: ReadonlyArray<string>, isSse: boolean]> = [
  [["text/event-stream"], true],
  [["TEXT/Event-Stream"], true],
  [["text/html, text/event-stream"], true],
  [["text/html,text/event-stream;q=0.5,*/*;q=0.1"], true],
  [["text/event-stream;charset=utf-8"], true],
  [["text/html", "text/event-stream"], true],
  [["application/json ,\ttext/event-stream"], true],
  [[], false],
  [["*/*"], false],
  [["text/*"], false],
  [["text/html"], false],
  [["text/event-stream;q=0"], false],
  [["text/event-streams"], false],
  [["xtext/event-stream"], false],
  [["text/html;a=\"text/event-stream\""], false]
]

for (const version of versions) {
  describe(`detection of event streams on HTTP/${version}`, () => {
    it.effect("goes by Accept alone, in every form [C82]", () =>
      Effect.gen(function*() {
        const { connect } = yield* serve(telling)
        const connection = yield* connect(version)
        for (const [values, isSse] of accepts) {
          const stream = yield* connection.ask({ headers: values.map((value) => ["accept", value]) })
          assert.strictEqual(yield* stream.status, isSse ? 200 : 299, JSON.stringify(values))
        }
      }))

    it.effect("holds for every method [C82]", () =>
      Effect.gen(function*() {
        const { connect } = yield* serve(telling)
        const connection = yield* connect(version)
        for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "QUERY", "OPTIONS", "HEAD"]) {
          const body = method === "PUT" || method === "POST" ? "x" : ""
          const asking: Asking = { method, body }
          assert.strictEqual(yield* (yield* connection.ask(asking)).status, 200, method)
          assert.strictEqual(yield* (yield* connection.ask({ ...asking, headers: [] })).status, 299, method)
        }
      }))

    it.effect("makes a scope with all that arrived, and no more keys than the contract has [C9] [C10]", () =>
      Effect.gen(function*() {
        const { app, exchanges } = keeping()
        const { ask } = yield* serve(app, { rootPath: "/feeds" })
        yield* ask(version, {
          method: "POST",
          path: "/a%20b?c=%20d",
          headers: [["accept", "text/event-stream"], ["last-event-id", "7"], ["x-y", "1"], ["x-y", "2"]],
          body: "x"
        })
        const { scope, type } = exchanges[0]!
        assert.strictEqual(type, "sse")
        const headers = scope.headers.filter(([name]) => !["host", "content-length"].includes(name))
        assert.deepStrictEqual({ ...scope, headers }, {
          type: "sse",
          slipway: contract,
          httpVersion: version,
          method: "POST",
          scheme: "http",
          path: "/a b",
          rawPath: "/a%20b",
          queryString: "c=%20d",
          rootPath: "/feeds",
          headers: [["accept", "text/event-stream"], ["last-event-id", "7"], ["x-y", "1"], ["x-y", "2"]],
          extensions: {},
          client: ["127.0.0.1", 40_000],
          server: ["127.0.0.1", 5000]
        })
        yield* Schema.decodeUnknownEffect(SseScope)(scope)
      }))

    it.effect("comes with both live handles, which tell of start and end [C119]", () =>
      Effect.gen(function*() {
        const seen: Array<unknown> = []
        const app = App.sse(({ connection, send, transport }) =>
          Effect.gen(function*() {
            const note = () =>
              seen.push([connection.isConnected, connection.responseStarted, connection.responseComplete])
            connection.onComplete(() => seen.push("complete"))
            connection.onDisconnect((reason) => seen.push(reason))
            note()
            yield* send({ type: "sse.start" })
            note()
            assert.deepInclude(transport, { highWaterMark: 65_536, lowWaterMark: 16_384 })
            assert.isAtMost(transport.bufferedAmount, 1000)
            assert.match(connection.requestId, /^[\w-]+$/)
            yield* send({ type: "sse.close" })
            note()
          })
        )
        const { ask } = yield* serve(app)
        yield* ask(version)
        assert.deepStrictEqual(seen, [[true, false, false], [true, true, false], "complete", [false, true, true]])
      }))
  })
}
