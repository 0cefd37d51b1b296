import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import { serve } from "../../utils/serve.ts"
import * as Sockets from "../../utils/sockets.ts"

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

/** Serves one streaming exchange to a client that does not read, and hands out its pieces. */
const streaming = Effect.fnUntraced(function*(options: ServerMemory.Options = {}) {
  const exchanges: Array<App.HttpExchange> = []
  const app = App.http((exchange) => {
    exchanges.push(exchange)
    return Effect.andThen(
      exchange.send({ type: "http.response.start", status: 200, headers: [["content-length", "100000000"]] }),
      Effect.never
    )
  })
  // The network holds almost nothing: what the client does not read stays in the server's buffer.
  const { connect, server } = yield* serve(app, { networkBufferBytes: 1, ...options })
  const client = yield* connect()
  yield* client.pause
  yield* client.send(get)
  const exchange = exchanges[0]!
  const send = (bytes: number) =>
    Effect.tap(
      Effect.forkChild(
        exchange.send({ type: "http.response.body", body: new Uint8Array(bytes), more: true }),
        { startImmediately: true }
      ),
      () => ServerMemory.settle
    )
  // The head and one byte are with the network; from here on every byte counts.
  yield* send(1)
  return { client, exchange, transport: exchange.transport, send, server }
})

const isWaiting = (fiber: Fiber.Fiber<unknown, unknown>) => fiber.pollUnsafe() === undefined

describe("flow control", () => {
  it.effect("shows the buffered bytes live, and the watermarks [C116]", () =>
    Effect.gen(function*() {
      const { client, send, transport } = yield* streaming()
      assert.strictEqual(transport.highWaterMark, 65536)
      assert.strictEqual(transport.lowWaterMark, 16384)
      const before = transport.bufferedAmount
      yield* send(10_000)
      assert.strictEqual(transport.bufferedAmount, before + 10_000)
      yield* send(20_000)
      assert.strictEqual(transport.bufferedAmount, before + 30_000)
      yield* client.resume
      assert.strictEqual(transport.bufferedAmount, 0)
    }))

  it.effect("takes the watermarks from the settings [C116]", () =>
    Effect.gen(function*() {
      const { transport } = yield* streaming({ writeHighWaterMark: 1000, writeLowWaterMark: 10 })
      assert.strictEqual(transport.highWaterMark, 1000)
      assert.strictEqual(transport.lowWaterMark, 10)
    }))

  for (const high of [65536, 1000]) {
    it.effect(`makes send wait at ${high} buffered bytes until the client reads on [C117]`, () =>
      Effect.gen(function*() {
        const { client, send, transport } = yield* streaming({ writeHighWaterMark: high })
        const free = yield* send(high - transport.bufferedAmount - 1)
        assert.isFalse(isWaiting(free))
        const waiting = [yield* send(1), yield* send(1)]
        assert.isTrue(waiting.every(isWaiting))
        yield* client.resume
        assert.isFalse(waiting.some(isWaiting))
        assert.isBelow(transport.bufferedAmount, transport.lowWaterMark)
      }))
  }

  it.effect("lets a waiting send go, without failing it, when the connection closes [C117]", () =>
    Effect.gen(function*() {
      const { client, send } = yield* streaming()
      const waiting = yield* send(100_000)
      assert.isTrue(isWaiting(waiting))
      yield* client.reset
      assert.isUndefined(yield* Fiber.join(waiting))
    }))

  it.effect("lets go of an application whose last send waits when the connection closes", () =>
    Effect.gen(function*() {
      const app = App.http(({ send }) => App.respond(send, 200, new Uint8Array(1_000_000)))
      const { connect, server } = yield* serve(app)
      const client = yield* connect()
      yield* client.pause
      yield* client.send(get)
      assert.strictEqual((yield* server.stats).exchanges, 1)
      yield* client.reset
      assert.strictEqual((yield* server.stats).exchanges, 0)
    }))

  it.effect("goes on when the buffer drains before the next bytes, held back to be written with others, are in it", () =>
    Effect.gen(function*() {
      const app = App.http(({ scope, send }) => App.respond(send, 200, "x".repeat(Number(scope.path.slice(1)))))
      const { connect, server } = yield* serve(app, { networkBufferBytes: 1 })
      // From some number of connections on, answers are gathered.
      for (let n = 0; n < 20; n++) yield* (yield* connect()).send(get.replace("/", "/1"))
      const client = yield* connect()
      yield* client.pause
      for (const length of [3000, 60_000]) yield* client.send(get.replace("/", `/${length}`))
      assert.strictEqual((yield* server.stats).exchanges, 0)
      yield* Effect.all([client.send(get.replace("/", "/10000")), client.resume], { concurrency: 2 })
      assert.strictEqual((yield* server.stats).exchanges, 0)
      assert.isAbove((yield* client.read).length, 73_000)
    }))

  it.effect("does not start the next pipelined request when the connection closes under a send that waits", () =>
    Effect.gen(function*() {
      const paths: Array<string> = []
      const app = App.http(({ scope, send }) => {
        paths.push(scope.path)
        return App.respond(send, 200, new Uint8Array(1_000_000))
      })
      const { connect, server } = yield* serve(app)
      const client = yield* connect()
      yield* client.pause
      yield* client.send(get + get.replace("/", "/next"))
      yield* client.reset
      assert.deepStrictEqual(paths, ["/"])
      assert.strictEqual((yield* server.stats).exchanges, 0)
    }))

  it.effect("calls onHighWater on the rising edge only, and onDrain after it was high only [C118]", () =>
    Effect.gen(function*() {
      const { client, send, transport } = yield* streaming()
      const calls: Array<string> = []
      transport.onHighWater(() => calls.push("high"))
      transport.onDrain(() => calls.push("drain"))
      yield* send(30_000)
      yield* client.resume
      assert.deepStrictEqual(calls, [])

      for (let cycle = 0; cycle < 2; cycle++) {
        yield* client.pause
        yield* send(70_000)
        yield* send(70_000)
        assert.deepStrictEqual(calls.splice(0), ["high"])
        yield* client.resume
        assert.deepStrictEqual(calls.splice(0), ["drain"])
      }
    }))

  it.effect("calls onHighWater at once when it is high now [C118]", () =>
    Effect.gen(function*() {
      const { client, send, transport } = yield* streaming()
      const calls: Array<string> = []
      yield* send(70_000)
      transport.onHighWater(() => calls.push("late"))
      assert.deepStrictEqual(calls.splice(0), ["late"])
      yield* client.resume
      transport.onHighWater(() => calls.push("too late"))
      assert.deepStrictEqual(calls, [])
    }))

  it.effect("does not call onDrain when the connection closes, for nothing has drained [C118]", () =>
    Effect.gen(function*() {
      const { client, send, transport } = yield* streaming()
      const calls: Array<string> = []
      transport.onDrain(() => calls.push("drain"))
      yield* send(70_000)
      yield* client.reset
      assert.deepStrictEqual(calls, [])
    }))

  it.effect("stops reading a request body that the application does not read [C120]", () =>
    Effect.gen(function*() {
      let received = 0
      const app = App.http(({ receive, send }) => {
        const readAll: Effect.Effect<void> = Effect.flatMap(receive, (event) => {
          if (event.type !== "http.request") return Effect.void
          received += event.body.length
          return event.more ? readAll : Effect.void
        })
        return Effect.andThen(Effect.sleep("10 seconds"), Effect.andThen(readAll, App.respond(send, 200, "done")))
      })
      const { connect } = yield* serve(app)
      const client = yield* connect()
      const total = 5_000_000
      yield* client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${total}\r\n\r\n`)
      for (let sent = 0; sent < total; sent += 50_000) yield* client.send(new Uint8Array(50_000))
      // The server holds its buffer, the network its own, and each the piece that crossed the line.
      assert.isAbove(yield* client.unsentBytes, total - 2 * 65_536 - 3 * 50_000)
      yield* TestClock.adjust("10 seconds")
      assert.isTrue((yield* client.read).endsWith("\r\n\r\ndone"))
      assert.strictEqual(received, total)
    }))

  it.live("goes on reading when the application does, with bounded parts, over sockets [C120]", () =>
    Effect.gen(function*() {
      const total = 50_000_000
      let largest = 0
      let received = 0
      let parts = 0
      let heldBack = 0
      const server = yield* ServerNode.make({ port: 0, maxBodyBytes: 0 })
      const app = App.http(({ receive, send }) => {
        const readAll: Effect.Effect<void> = Effect.flatMap(receive, (event) => {
          if (event.type !== "http.request") return Effect.void
          largest = Math.max(largest, event.body.length)
          received += event.body.length
          parts++
          return event.more ? readAll : Effect.void
        })
        return Effect.andThen(
          Sockets.until(() => heldBack > 0),
          Effect.andThen(readAll, Effect.suspend(() => App.respond(send, 200, String(received))))
        )
      })
      yield* server.serve(app)
      const client = yield* Sockets.connect((yield* server.addresses)[0]!)
      yield* client.send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${total}\r\n\r\n`)
      const flushed = yield* Effect.forkChild(client.send(new Uint8Array(total)), { startImmediately: true })
      for (let turn = 0; turn < 200; turn++) yield* Sockets.turn
      // The operating system's buffers take some megabytes; the rest waits with the client.
      heldBack = client.socket.writableLength
      assert.isAbove(heldBack, 1_000_000)
      yield* Fiber.join(flushed)
      yield* client.until(/\r\n\r\n50000000$/)
      assert.strictEqual(received, total)
      assert.isAbove(parts, 50)
      assert.isBelow(largest, 4 * 65_536)
    }))
})
