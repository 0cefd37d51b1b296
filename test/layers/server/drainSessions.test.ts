import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import * as App from "../../../src/app/App.ts"
import * as Handler from "../../../src/app/Handler.ts"
import * as SseSession from "../../../src/app/SseSession.ts"
import * as WebSocketSession from "../../../src/app/WebSocketSession.ts"
import { AccessLog } from "../../../src/service/AccessLog.ts"
import { serveStoppable } from "../../utils/stoppable.ts"
import * as WebSocket from "../../utils/webSocket.ts"
import * as Wires from "../../utils/wires.ts"

const hasStopped = (fiber: Fiber.Fiber<void>) => fiber.pollUnsafe() !== undefined

const ticking: App.App<unknown> = App.sse(({ receive, send }) =>
  Effect.gen(function*() {
    yield* send({ type: "sse.start" })
    yield* send({ type: "sse.send", data: "x", id: "7" })
    for (;;) if ((yield* receive).type === "sse.disconnect") return
  })
)

const retryIn = (body: string): number => Number(/^id: 7\ndata: x\n\nretry: (\d+)\n\n$/.exec(body)?.[1])

for (const version of Wires.versions) {
  describe(`event streams of a server that stops, over HTTP/${version}`, () => {
    const open = Effect.fnUntraced(function*(
      served: Effect.Success<ReturnType<typeof serveStoppable>>,
      path = "/"
    ) {
      const asked = yield* (yield* Wires.open(served.connect, version)).ask({ protocol: "sse", path })
      yield* asked.answered
      return asked
    })

    it.effect("end whole, with a last line that says when to come back, not all at once", () =>
      Effect.gen(function*() {
        const served = yield* serveStoppable(ticking)
        const streams = yield* Effect.forEach(Array.from({ length: 20 }), () => open(served))
        yield* served.stop
        const retries: Array<number> = []
        for (const stream of streams) {
          const { body, state } = yield* stream.answered
          assert.strictEqual(state, "whole")
          retries.push(retryIn(body))
        }
        for (const retry of retries) {
          assert.isAtLeast(retry, 1000)
          assert.isAtMost(retry, 3000)
        }
        assert.isAbove(new Set(retries).size, 10)
      }))

    it.effect("say it as sseShutdownRetry and chance want it", () =>
      Effect.gen(function*() {
        for (const [chance, retry] of [[0, 5000], [0.25, 7500], [0.999_999, 15_000]] as const) {
          const random = { nextDoubleUnsafe: () => chance, nextIntUnsafe: () => 1 }
          const served = yield* Effect.provideService(
            serveStoppable(ticking, { sseShutdownRetry: "10 seconds" }),
            Random.Random,
            random
          )
          const stream = yield* open(served)
          yield* served.stop
          assert.strictEqual(retryIn((yield* stream.answered).body), retry)
        }
      }))

    it.effect("say nothing with sseShutdownRetry 0, nor at an end that is not the server's", () =>
      Effect.gen(function*() {
        const silent = yield* serveStoppable(ticking, { sseShutdownRetry: 0 })
        const stream = yield* open(silent)
        yield* silent.stop
        assert.deepInclude(yield* stream.answered, { body: "id: 7\ndata: x\n\n", state: "whole" })
        const idling = yield* serveStoppable(ticking, { sseIdleTimeout: "1 second" })
        const idle = yield* open(idling)
        yield* TestClock.adjust("3 seconds")
        assert.deepInclude(yield* idle.answered, { body: "id: 7\ndata: x\n\n", state: "whole" })
      }))

    it.effect("are not touched where they were declined, not started, or made by hand", () =>
      Effect.gen(function*() {
        const byHand = App.byType({
          http: ({ send }) =>
            Effect.gen(function*() {
              const headers = [["content-type", "text/event-stream"]] as const
              yield* send({ type: "http.response.start", status: 200, headers })
              yield* send({ type: "http.response.body", body: "data: 1\n\n", more: true })
              yield* Effect.sleep("3 seconds")
              yield* send({ type: "http.response.body", body: "data: 2\n\n" })
            }),
          sse: ({ scope, send }) =>
            Effect.gen(function*() {
              if (scope.path === "/unstarted") yield* Effect.sleep("3 seconds")
              yield* send({ type: "sse.http.response.start", status: 200 })
              yield* send({ type: "sse.http.response.body", body: "no ", more: true })
              if (scope.path === "/declined") yield* Effect.sleep("3 seconds")
              yield* send({ type: "sse.http.response.body", body: "stream" })
            })
        })
        const served = yield* serveStoppable(byHand)
        const [declined, unstarted] = [yield* open(served, "/declined"), yield* open(served, "/unstarted")]
        const hand = yield* (yield* Wires.open(served.connect, version)).ask({ protocol: "http" })
        yield* hand.answered
        yield* served.stop
        for (const stream of [declined, unstarted, hand]) assert.strictEqual((yield* stream.answered).state, "open")
        yield* TestClock.adjust("3 seconds")
        for (const stream of [declined, unstarted]) {
          assert.deepInclude(yield* stream.answered, { body: "no stream", state: "whole" })
        }
        assert.deepInclude(yield* hand.answered, { body: "data: 1\n\ndata: 2\n\n", state: "whole" })
      }))

    it.effect("that begin while the server stops end at once in the same way", () =>
      Effect.gen(function*() {
        const app = App.sse((exchange) => Effect.andThen(Effect.sleep("2 seconds"), ticking(exchange)))
        const served = yield* serveStoppable(app)
        const stream = yield* open(served)
        yield* served.stop
        yield* TestClock.adjust("2 seconds")
        const { body, header, state, status } = yield* stream.answered
        assert.deepStrictEqual([status, header("content-type"), state], [200, "text/event-stream", "whole"])
        assert.match(body, /^retry: \d{4}\n\n$/)
      }))
  })

  describe(`WebSockets of a server that stops, over HTTP/${version}`, () => {
    const open = Effect.fnUntraced(function*(served: Effect.Success<ReturnType<typeof serveStoppable>>) {
      const connection = yield* Wires.open(served.connect, version)
      const asked = yield* connection.ask({ protocol: "websocket" })
      yield* asked.answered
      return { ...asked, client: connection.client }
    })

    for (const [way, code] of [["stop", 1001], ["restart", 1012]] as const) {
      it.effect(`get ${code} at a ${way}, and wsCloseTimeout to answer it [C75]`, () =>
        Effect.gen(function*() {
          const { app, events } = WebSocket.recording()
          const served = yield* serveStoppable(App.websocket(app), { wsCloseTimeout: "6 seconds" })
          const [polite, silent] = [yield* open(served), yield* open(served)]
          if (way === "restart") yield* served.server.restarting
          assert.deepStrictEqual((yield* polite.answered).said, [])
          const stopping = yield* served.stop
          for (const session of [polite, silent]) {
            assert.deepStrictEqual((yield* session.answered).said, [`close ${code}`])
          }
          assert.deepStrictEqual(events[0], { type: "websocket.disconnect", code, reason: "server_shutdown" })
          yield* polite.send(WebSocket.close(code))
          yield* polite.end
          yield* TestClock.adjust("5 seconds")
          assert.isFalse(hasStopped(stopping))
          yield* TestClock.adjust("4 seconds")
          for (const { client } of [polite, silent]) yield* client.end
          assert.isTrue(hasStopped(stopping))
          assert.strictEqual((yield* served.server.stats).totalCut, 0)
        }))
    }

    it.effect("are not begun any more: 503 and when to ask again, logged and counted", () =>
      Effect.gen(function*() {
        const written: Array<string> = []
        const log = AccessLog.of({
          write: ({ problem, status }) => void written.push(`${status} ${problem}`),
          flush: Effect.void
        })
        let handshakes = 0
        const app = App.byType({
          http: ({ send }) => App.respond(send, 200, ""),
          websocket: () => Effect.sync(() => void handshakes++)
        })
        const served = yield* Effect.provideService(
          serveStoppable(app, { drainWindow: "5 seconds" }),
          AccessLog,
          log
        )
        const connection = yield* Wires.open(served.connect, version)
        yield* (yield* connection.ask({ protocol: "http" })).answered
        yield* served.stop
        const refused = yield* connection.ask({ protocol: "websocket" })
        const { header, state, status } = yield* refused.answered
        assert.deepStrictEqual([status, header("retry-after"), state], [503, "5", "whole"])
        if (version === "1.1") assert.strictEqual(header("connection"), "close")
        assert.strictEqual(handshakes, 0)
        assert.strictEqual((yield* served.server.stats).totalRefused, 1)
        assert.deepStrictEqual(written, ["200 undefined", "503 ShuttingDown"])
      }))
  })

  describe(`an application that waits for the stop, over HTTP/${version}`, () => {
    const asked = Effect.fnUntraced(function*(app: App.App<unknown>, protocol: Wires.Protocol) {
      const served = yield* serveStoppable(app)
      const asked = yield* (yield* Wires.open(served.connect, version)).ask({ protocol })
      yield* asked.answered
      yield* served.stop
      return yield* asked.answered
    })

    it.effect("hears it in a handler of effect/http, and completes its answer", () =>
      Effect.gen(function*() {
        const app = Handler.make(Effect.gen(function*() {
          const { source } = yield* HttpServerRequest.HttpServerRequest
          const { connection } = source as App.HttpExchange
          yield* connection.shuttingDown
          return HttpServerResponse.text(`so far, and ${connection.isConnected ? "still here" : "gone"}`)
        }))
        assert.deepInclude(yield* asked(app, "http"), { status: 200, body: "so far, and still here", state: "whole" })
      }))

    it.effect("hears it in an SSE session before the stream ends, and has the last word", () =>
      Effect.gen(function*() {
        const app = App.sse((exchange) => {
          const session = SseSession.make(exchange)
          return Effect.gen(function*() {
            yield* session.start()
            yield* exchange.connection.shuttingDown
            yield* session.send({ data: "goodbye", retry: 60_000 })
            yield* session.close()
          })
        })
        assert.deepInclude(yield* asked(app, "sse"), { body: "retry: 60000\ndata: goodbye\n\n", state: "whole" })
      }))

    it.effect("hears it in a WebSocket session before the Close frame", () =>
      Effect.gen(function*() {
        const app = App.websocket((exchange) => {
          const session = WebSocketSession.make(exchange)
          return Effect.gen(function*() {
            yield* session.accept()
            yield* exchange.connection.shuttingDown
            yield* session.send("goodbye")
            yield* Effect.never
          })
        })
        assert.deepStrictEqual((yield* asked(app, "websocket")).said, ["text goodbye", "close 1001"])
      }))
  })
}
