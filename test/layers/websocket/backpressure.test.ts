import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import type * as App from "../../../src/app/App.ts"
import * as Ws from "../../utils/webSocket.ts"

const { binary, close, ping, serveSockets, text } = Ws

/** A session whose application receives one message whenever the test says so. */
const receiving = Effect.fnUntraced(function*(options: ServerMemory.Options = {}) {
  const exchanges: Array<App.WebSocketExchange> = []
  const { connect } = yield* serveSockets((exchange) => {
    exchanges.push(exchange)
    return Effect.andThen(exchange.send({ type: "websocket.accept" }), Ws.ended(exchange))
  }, options)
  const session = yield* Ws.open(connect)
  yield* exchanges[0]!.receive
  return { session, exchange: exchanges[0]!, take: exchanges[0]!.receive }
})

/** A session that the server fills: the network holds almost nothing, and the client does not read. */
const stuffed = Effect.fnUntraced(function*(options: ServerMemory.Options = {}) {
  const { app, ends, events, exchanges } = Ws.recording()
  const { connect, server } = yield* serveSockets(app, { networkBufferBytes: 1, ...options })
  const session = yield* Ws.open(connect)
  yield* session.client.pause
  const exchange = exchanges[0]!
  const send = (bytes: number) =>
    Effect.tap(
      Effect.forkChild(exchange.send({ type: "websocket.send", bytes: new Uint8Array(bytes) }), {
        startImmediately: true
      }),
      () => ServerMemory.settle
    )
  yield* send(1)
  return { session, exchange, server, send, ends, events }
})

const isWaiting = (fiber: Fiber.Fiber<unknown, unknown>) => fiber.pollUnsafe() === undefined

describe("WebSocket backpressure", () => {
  it.effect("stops reading when the application does not receive, and goes on when it does", () =>
    Effect.gen(function*() {
      const { session, take } = yield* receiving()
      const message = text("x".repeat(10_000))
      for (let n = 0; n < 200; n++) yield* session.send(message)
      const unsent = yield* session.client.unsentBytes
      // Two megabytes are on their way; the server and the network hold a few 64 KiB of them.
      assert.isAbove(unsent, 1_700_000)
      for (let n = 0; n < 50; n++) yield* take
      yield* ServerMemory.settle
      const later = yield* session.client.unsentBytes
      assert.isBelow(later, unsent - 300_000)
      assert.isAbove(later, 1_200_000)
      for (let n = 50; n < 200; n++) assert.deepInclude(yield* take, { text: "x".repeat(10_000) })
      yield* ServerMemory.settle
      assert.strictEqual(yield* session.client.unsentBytes, 0)
      yield* session.send(ping("still here"), close(1000))
      assert.deepStrictEqual(yield* session.said, ["pong still here", "close 1000"])
    }))

  it.effect("stops reading at 32 small messages, however small they are", () =>
    Effect.gen(function*() {
      const { session, take } = yield* receiving({ networkBufferBytes: 1 })
      for (let n = 0; n < 60; n++) yield* session.send(text(`${n}`))
      const unsent = yield* session.client.unsentBytes
      assert.isAbove(unsent, 0)
      for (let n = 0; n < 31; n++) assert.deepInclude(yield* take, { text: `${n}` })
      yield* ServerMemory.settle
      assert.strictEqual(yield* session.client.unsentBytes, unsent)
      for (let n = 31; n < 60; n++) assert.deepInclude(yield* take, { text: `${n}` })
      yield* ServerMemory.settle
      assert.strictEqual(yield* session.client.unsentBytes, 0)
    }))

  it.effect("counts bytes and not characters, and counts them down again", () =>
    Effect.gen(function*() {
      const { session, take } = yield* receiving({ networkBufferBytes: 1 })
      // 300 KB in all, never more than 3 KB at a time: nothing may be held back at the end of it.
      for (let n = 0; n < 100; n++) {
        yield* session.send(text("€".repeat(1000)))
        yield* take
      }
      for (let n = 0; n < 10; n++) yield* session.send(text("€"))
      assert.strictEqual(yield* session.client.unsentBytes, 0)
    }))

  it.effect("hands messages of one read to a slow application one by one, in order", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const slowly = Ws.accepting((event) =>
        Effect.map(Effect.sleep("1 second"), () => void (event.type === "websocket.receive" && seen.push(event.text!)))
      )
      const { connect } = yield* serveSockets((exchange) => Effect.asVoid(slowly(exchange)))
      const session = yield* Ws.open(connect)
      yield* session.send(...Array.from({ length: 100 }, (_, n) => text(`${n}`)))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(seen.length, 10)
      yield* TestClock.adjust("90 seconds")
      assert.deepStrictEqual(seen, Array.from({ length: 100 }, (_, n) => `${n}`))
    }))

  it.effect("makes send wait above the high watermark until the client reads on", () =>
    Effect.gen(function*() {
      const { exchange, send, session } = yield* stuffed()
      const { transport } = exchange
      const free = yield* send(60_000)
      assert.isFalse(isWaiting(free))
      assert.isAtLeast(transport.bufferedAmount, 60_000)
      const waiting = [yield* send(10_000), yield* send(10), yield* send(0)]
      assert.isTrue(waiting.every(isWaiting))
      assert.isAtLeast(transport.bufferedAmount, 70_000)
      yield* session.client.resume
      assert.isFalse(waiting.some(isWaiting))
      assert.strictEqual(transport.bufferedAmount, 0)
      assert.deepStrictEqual((yield* session.frames).map(({ payload }) => payload.length), [1, 60_000, 10_000, 10, 0])
    }))

  it.effect("tells the transport handle of the watermarks, each time", () =>
    Effect.gen(function*() {
      const { exchange, send, session } = yield* stuffed({ writeHighWaterMark: 20_000, writeLowWaterMark: 1000 })
      const calls: Array<string> = []
      const { transport } = exchange
      assert.strictEqual(transport.highWaterMark, 20_000)
      assert.strictEqual(transport.lowWaterMark, 1000)
      transport.onHighWater(() => calls.push("high"))
      transport.onDrain(() => calls.push("drain"))
      for (let round = 0; round < 3; round++) {
        yield* session.client.pause
        yield* send(15_000)
        assert.deepStrictEqual(calls, [])
        yield* send(15_000)
        assert.deepStrictEqual(calls.splice(0), ["high"])
        yield* session.client.resume
        assert.deepStrictEqual(calls.splice(0), ["drain"])
        assert.strictEqual(transport.bufferedAmount, 0)
      }
    }))

  it.effect("lets a send that waits go, unfailed, when the client leaves", () =>
    Effect.gen(function*() {
      const { ends, send, session } = yield* stuffed()
      const waiting = yield* send(100_000)
      assert.isTrue(isWaiting(waiting))
      yield* session.client.reset
      assert.isUndefined(yield* Fiber.join(waiting))
      assert.deepStrictEqual(ends, ["disconnect client_closed"])
    }))

  it.effect("lets a send that waits go when the client closes without reading", () =>
    Effect.gen(function*() {
      const { ends, send, session } = yield* stuffed()
      const waiting = yield* send(100_000)
      assert.isTrue(isWaiting(waiting))
      yield* session.send(close(1000))
      assert.deepStrictEqual(ends, ["complete"])
      assert.isFalse(isWaiting(waiting))
      assert.isFalse(isWaiting(yield* send(100_000)))
    }))

  it.effect("does not read on while the client does not take the answers to its pings", () =>
    Effect.gen(function*() {
      const { exchange, session } = yield* stuffed()
      const pings = Buffer.concat(Array.from({ length: 100 }, () => ping("x".repeat(100))))
      for (let n = 0; n < 30; n++) yield* session.send(pings)
      assert.isAbove(yield* session.client.unsentBytes, 100_000)
      assert.isBelow(exchange.transport.bufferedAmount, 130_000)
      yield* session.client.resume
      assert.strictEqual(yield* session.client.unsentBytes, 0)
      assert.strictEqual((yield* session.frames).filter(({ opcode }) => opcode === 10).length, 3000)
    }))

  it.effect("does not read on while an echo's answers are not taken, and loses none of them", () =>
    Effect.gen(function*() {
      const { connect } = yield* serveSockets(Ws.echo, { networkBufferBytes: 1000 })
      const session = yield* Ws.open(connect)
      yield* session.client.pause
      const sent = Array.from({ length: 400 }, (_, n) => Buffer.alloc(n % 7 === 0 ? 9000 : 900, n))
      for (const bytes of sent) yield* session.send(binary(bytes))
      assert.isAbove(yield* session.client.unsentBytes, 400_000)
      yield* session.client.resume
      const frames = yield* session.next(sent.length)
      assert.strictEqual(frames.length, sent.length)
      for (const [n, bytes] of sent.entries()) assert.isTrue(frames[n]!.payload.equals(bytes), `${n}`)
    }))

  it.effect("ends a session whose client takes nothing for writeTimeout", () =>
    Effect.gen(function*() {
      const { ends, events, send } = yield* stuffed({ writeTimeout: "10 seconds" })
      const waiting = yield* send(100_000)
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(ends, [])
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(ends, ["disconnect write_timeout"])
      assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code: 1006, reason: "write_timeout" }])
      assert.isFalse(isWaiting(waiting))
    }))

  it.effect("goes on when the buffer drains before the next bytes, held back to be written with others, are in it", () =>
    Effect.gen(function*() {
      const answers = Ws.accepting((event, { send }) =>
        event.type !== "websocket.receive"
          ? Effect.void
          : send({ type: "websocket.send", text: "x".repeat(Number(event.text)) })
      )
      const { connect } = yield* serveSockets((exchange) => Effect.asVoid(answers(exchange)), { networkBufferBytes: 1 })
      // From some number of connections on, answers are gathered.
      const [session] = yield* Effect.forEach(Array.from({ length: 20 }), () => Ws.open(connect))
      const { client, next, send } = session!
      yield* client.pause
      for (const length of [3000, 60_000]) yield* send(text(`${length}`))
      yield* Effect.all([send(text("10000")), client.resume], { concurrency: 2 })
      yield* send(text("1"))
      assert.deepStrictEqual((yield* next(4)).map(({ payload }) => payload.length), [3000, 60_000, 10_000, 1])
    }))

  it.effect("goes on when many sessions share a turn of the event loop", () =>
    Effect.gen(function*() {
      const { connect } = yield* serveSockets(Ws.echo, { networkBufferBytes: 1 })
      // From some number of connections on, answers are gathered.
      const sessions = yield* Effect.forEach(Array.from({ length: 20 }), () => Ws.open(connect))
      for (const session of sessions) yield* session.client.pause
      for (const session of sessions) {
        yield* session.send(...Array.from({ length: 50 }, () => text("x".repeat(3000))))
        yield* session.send(text("last"))
      }
      for (const session of sessions) yield* session.client.resume
      for (const session of sessions) {
        const frames = yield* session.next(51)
        assert.strictEqual(Ws.inWords(frames[50]!), "text last")
      }
    }))
})
