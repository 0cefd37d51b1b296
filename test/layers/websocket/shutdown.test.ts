import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as App from "../../../src/app/App.ts"
import { capture } from "../../utils/logs.ts"
import { serveStoppable } from "../../utils/stoppable.ts"
import * as Ws from "../../utils/webSocket.ts"

const hasStopped = (fiber: Fiber.Fiber<void>) => fiber.pollUnsafe() !== undefined

describe("WebSocket sessions of a server that stops", () => {
  it.effect("get 1001, and the server does not wait once the client has answered [C75]", () => {
    const logs = capture()
    return Effect.gen(function*() {
      const { app, ends, events, exchanges } = Ws.recording()
      const { connect, stop } = yield* serveStoppable(App.websocket(app))
      const session = yield* Ws.open(connect)
      assert.isFalse(exchanges[0]!.connection.isShuttingDown)
      const stopping = yield* stop
      assert.deepStrictEqual(yield* session.said, ["close 1001"])
      assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code: 1001, reason: "server_shutdown" }])
      assert.deepStrictEqual(ends, ["disconnect server_shutdown"])
      assert.isTrue(exchanges[0]!.connection.isShuttingDown)
      assert.isFalse(hasStopped(stopping))
      yield* session.send(Ws.close(1000, "bye"))
      yield* session.client.end
      assert.deepStrictEqual(ends, ["disconnect server_shutdown"])
      assert.isTrue(hasStopped(stopping))
      const stopped = logs.lines.filter(({ message }) => message.startsWith("Stopped"))
      assert.deepStrictEqual(stopped.map(({ level, message }) => `${level} ${message}`), [
        "Info Stopped: waited for 1 WebSocket on 1 connection, cut none"
      ])
    }).pipe(Effect.provide(logs.layer))
  })

  it.effect("wait wsCloseTimeout for a client that is silent, and no longer [C75]", () =>
    Effect.gen(function*() {
      const { app } = Ws.recording()
      const { connect, server, stop } = yield* serveStoppable(App.websocket(app), { wsCloseTimeout: "6 seconds" })
      const session = yield* Ws.open(connect)
      const stopping = yield* stop
      yield* TestClock.adjust("5 seconds")
      assert.isFalse(hasStopped(stopping))
      assert.strictEqual((yield* server.stats).connections, 1)
      yield* TestClock.adjust("1 second")
      assert.isTrue(hasStopped(stopping))
      assert.isTrue(yield* session.client.isEnded)
    }))

  it.effect("do not wait longer for a client that takes nothing either [C75]", () =>
    Effect.gen(function*() {
      const { app, exchanges } = Ws.recording()
      const { connect, stop } = yield* serveStoppable(App.websocket(app), {
        wsCloseTimeout: "6 seconds",
        networkBufferBytes: 1,
        writeTimeout: 0
      })
      const session = yield* Ws.open(connect)
      yield* session.client.pause
      yield* exchanges[0]!.send({ type: "websocket.send", bytes: new Uint8Array(50_000) })
      const stopping = yield* stop
      yield* TestClock.adjust("5 seconds")
      assert.isFalse(hasStopped(stopping))
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(hasStopped(stopping))
    }))

  it.effect("leave the application disconnectGrace for what it still does [C75]", () =>
    Effect.gen(function*() {
      const done: Array<string> = []
      const { connect, stop } = yield* serveStoppable(
        App.websocket((exchange) =>
          Effect.gen(function*() {
            yield* exchange.send({ type: "websocket.accept" })
            yield* Ws.ended(exchange)
            yield* Effect.sleep("3 seconds")
            done.push("saved")
            yield* Effect.never
          }).pipe(Effect.ensuring(Effect.sync(() => done.push("finalized"))))
        ),
        { disconnectGrace: "5 seconds" }
      )
      const session = yield* Ws.open(connect)
      const stopping = yield* stop
      yield* session.send(Ws.close(1001))
      yield* session.client.end
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(done, ["saved"])
      assert.isFalse(hasStopped(stopping))
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(done, ["saved", "finalized"])
      assert.isTrue(hasStopped(stopping))
    }))

  it.effect("that were closing already are waited for as before", () =>
    Effect.gen(function*() {
      const { app, ends, exchanges } = Ws.recording()
      const { connect, stop } = yield* serveStoppable(App.websocket(app), { wsCloseTimeout: "6 seconds" })
      const session = yield* Ws.open(connect)
      yield* exchanges[0]!.send({ type: "websocket.close", code: 4000 })
      yield* TestClock.adjust("3 seconds")
      const stopping = yield* stop
      assert.deepStrictEqual(yield* session.said, ["close 4000"])
      yield* TestClock.adjust("3 seconds")
      assert.isTrue(hasStopped(stopping))
      assert.deepStrictEqual(ends, ["complete"])
    }))
})
