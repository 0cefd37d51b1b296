import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import type * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import { serve } from "../../utils/serve.ts"
import * as Ws from "../../utils/webSocket.ts"

const { close, frame, ping, pong, serveSockets, text } = Ws

/** A session whose keepalive the test sets, and what the application has seen. */
const kept = Effect.fnUntraced(function*(options: ServerMemory.Options = {}) {
  const { app, ends, events, exchanges } = Ws.recording()
  const { connect, server } = yield* serveSockets(app, options)
  const session = yield* Ws.open(connect)
  const keepAlive = (interval: number, timeout?: number) =>
    exchanges[0]!.send({ type: "websocket.keepalive", interval, ...(timeout === undefined ? {} : { timeout }) })
  return { session, server, ends, events, keepAlive }
})

describe("WebSocket keepalive", () => {
  it.effect("pings at the interval, from the moment it is asked to [C73] [W119]", () =>
    Effect.gen(function*() {
      const { ends, events, keepAlive, session } = yield* kept()
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual(yield* session.said, [])
      yield* keepAlive(10)
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(yield* session.said, [])
      for (let n = 0; n < 5; n++) {
        yield* TestClock.adjust(n === 0 ? "1 second" : "10 seconds")
        assert.deepStrictEqual(yield* session.said, ["ping"], `${n}`)
      }
      // Without a timeout nothing is detected.
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* session.said).length, 360)
      assert.deepStrictEqual([ends, events], [[], []])
    }))

  it.effect("pings in fractions of a second", () =>
    Effect.gen(function*() {
      const { keepAlive, session } = yield* kept()
      yield* keepAlive(0.2, 0.2)
      for (let n = 0; n < 5; n++) {
        yield* TestClock.adjust("200 millis")
        assert.deepStrictEqual(yield* session.said, ["ping"], `${n}`)
        yield* session.send(pong())
      }
    }))

  it.effect("ends a session that does not answer with 1006 and keepalive_timeout [C73] [W119]", () =>
    Effect.gen(function*() {
      const { ends, events, keepAlive, server, session } = yield* kept()
      yield* keepAlive(10, 4)
      yield* TestClock.adjust("10 seconds")
      yield* session.send(text("not a pong"), ping("nor this"))
      assert.deepStrictEqual(yield* session.said, ["ping", "pong nor this"])
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(ends, [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* session.said, ["close 1011 keepalive timeout"])
      assert.deepStrictEqual(ends, ["disconnect keepalive_timeout"])
      assert.deepStrictEqual(events.slice(1), [
        { type: "websocket.disconnect", code: 1006, reason: "keepalive_timeout" }
      ])
      assert.isFalse(yield* session.client.isEnded)
      yield* TestClock.adjust("10 seconds")
      assert.isTrue(yield* session.client.isEnded)
      assert.deepInclude(yield* server.stats, { exchanges: 0, connections: 0 })
    }))

  it.effect("goes on while each ping is answered, by whatever pong [C73]", () =>
    Effect.gen(function*() {
      const { ends, keepAlive, session } = yield* kept()
      yield* keepAlive(10, 4)
      for (let n = 0; n < 10; n++) {
        yield* TestClock.adjust(n === 0 ? "10 seconds" : "7 seconds")
        assert.deepStrictEqual(yield* session.said, ["ping"])
        yield* TestClock.adjust("3 seconds")
        yield* session.send(pong(n % 2 === 0 ? "" : "anything"))
      }
      assert.deepStrictEqual(ends, [])
    }))

  it.effect("takes one pong for several pings, where the timeout is the longer one [C73]", () =>
    Effect.gen(function*() {
      const { ends, keepAlive, session } = yield* kept()
      yield* keepAlive(2, 9)
      yield* TestClock.adjust("8 seconds")
      assert.deepStrictEqual(yield* session.said, ["ping", "ping", "ping", "ping"])
      yield* session.send(pong())
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(ends, [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(ends, ["disconnect keepalive_timeout"])
    }))

  it.effect("stops with 0, and forgets a pong that is due [C73]", () =>
    Effect.gen(function*() {
      const { ends, keepAlive, session } = yield* kept()
      yield* keepAlive(10, 4)
      yield* TestClock.adjust("12 seconds")
      yield* keepAlive(0)
      assert.deepStrictEqual(yield* session.said, ["ping"])
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual([yield* session.said, ends], [[], []])
      yield* keepAlive(10, 4)
      yield* TestClock.adjust("12 seconds")
      yield* keepAlive(100)
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual([yield* session.said, ends], [["ping"], []])
    }))

  it.effect("obeys the last of several [C73]", () =>
    Effect.gen(function*() {
      const { ends, keepAlive, session } = yield* kept()
      yield* keepAlive(1, 1)
      yield* keepAlive(20, 5)
      yield* keepAlive(30)
      yield* TestClock.adjust("29 seconds")
      assert.deepStrictEqual(yield* session.said, [])
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual(yield* session.said, ["ping", "ping"])
      assert.deepStrictEqual(ends, [])
    }))

  it.effect("pings every wsPingInterval until the application says otherwise, and fails after wsPingTimeout [W119]", () =>
    Effect.gen(function*() {
      const options = { wsPingInterval: "10 seconds", wsPingTimeout: "3 seconds" } as const
      const silent = yield* kept(options)
      const other = yield* kept(options)
      yield* other.keepAlive(0)
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(yield* silent.session.said, [])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* silent.session.said, ["ping"])
      assert.deepStrictEqual(silent.ends, [])
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(silent.ends, ["disconnect keepalive_timeout"])
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual([yield* other.session.said, other.ends], [[], []])
    }))

  it.effect("refuses what is not a number of seconds, and what comes before the accept", () =>
    Effect.gen(function*() {
      const errors: Array<string> = []
      const { connect } = yield* serve(App.websocket((exchange) =>
        Effect.gen(function*() {
          const { send } = exchange
          const early = yield* Effect.flip(send({ type: "websocket.keepalive", interval: 1 }))
          errors.push(early.reason._tag)
          yield* send({ type: "websocket.accept" })
          for (
            const fields of [{}, { interval: -1 }, { interval: NaN }, { interval: Infinity }, { interval: "1" }, {
              interval: 1,
              timeout: -1
            }, { interval: 1, timeout: "x" }]
          ) {
            const { reason } = yield* Effect.flip(send({ type: "websocket.keepalive", ...fields } as never))
            errors.push(`${reason._tag} ${"field" in reason ? reason.field : ""}`)
          }
          yield* Ws.ended(exchange)
        })
      ))
      const session = yield* Ws.open(connect)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* session.said, [])
      assert.deepStrictEqual(errors, [
        "EventOutOfOrder",
        ...Array.from({ length: 5 }, () => "InvalidField interval"),
        "InvalidField timeout",
        "InvalidField timeout"
      ])
      yield* session.send(close(1000))
    }))

  it.effect("sends no ping behind a Close frame", () =>
    Effect.gen(function*() {
      const { keepAlive, session } = yield* kept()
      yield* keepAlive(1)
      yield* session.send(close(1000))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* session.said, ["close 1000"])
    }))

  it.effect("does not blame the client for a pong that it does not read itself", () =>
    Effect.gen(function*() {
      const ends: Array<string> = []
      const take = yield* Deferred.make<void>()
      const { connect } = yield* serveSockets((exchange) =>
        Effect.gen(function*() {
          exchange.connection.onDisconnect((reason) => ends.push(reason))
          yield* exchange.send({ type: "websocket.accept" })
          yield* exchange.send({ type: "websocket.keepalive", interval: 10, timeout: 4 })
          yield* Deferred.await(take)
          for (;;) if ((yield* exchange.receive).type === "websocket.disconnect") return
        })
      )
      const session = yield* Ws.open(connect)
      // More than is read while nobody takes it, and the pong behind that.
      for (let n = 0; n < 5; n++) yield* session.send(...Array.from({ length: 20 }, () => text("x".repeat(5000))))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* session.said, ["ping"])
      assert.isAbove(yield* session.client.unsentBytes, 0)
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(ends, [])
      // Only now the client gets its pong away, and has the whole timeout for it.
      yield* Deferred.succeed(take, void 0)
      yield* TestClock.adjust("3 seconds")
      yield* session.send(pong())
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(ends, [])
      yield* session.client.reset
    }))

  it.effect("waits for the end of a frame that is arriving: no pong can stand in it", () =>
    Effect.gen(function*() {
      const { ends, keepAlive, session } = yield* kept()
      yield* keepAlive(10, 4)
      const large = text("x".repeat(1000))
      yield* session.send(large.subarray(0, 100))
      yield* TestClock.adjust("10 seconds")
      for (let at = 100; at < 900; at += 100) {
        yield* TestClock.adjust("3 seconds")
        yield* session.send(large.subarray(at, at + 100))
      }
      assert.deepStrictEqual(ends, [])
      // It stalls now.
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(ends, ["disconnect keepalive_timeout"])
    }))

  it.effect("does not wait for a client that sends whole frames and no pong", () =>
    Effect.gen(function*() {
      const { ends, keepAlive, session } = yield* kept()
      yield* keepAlive(10, 4)
      yield* TestClock.adjust("10 seconds")
      for (let n = 0; n < 4; n++) {
        yield* session.send(frame(1, "a", { fin: false }), ...(n === 3 ? [] : [frame(0, "b")]))
        yield* TestClock.adjust("1 second")
      }
      assert.deepStrictEqual(ends, ["disconnect keepalive_timeout"])
    }))
})
