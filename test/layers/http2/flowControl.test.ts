import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import * as F from "../../utils/frames.ts"
import { capture } from "../../utils/logs.ts"
import { bodyOf, type Client, opened, routes, watching } from "./serving.ts"

const isWaiting = (fiber: Fiber.Fiber<unknown, unknown>) => fiber.pollUnsafe() === undefined

/** Serves one answer that the test sends, on stream 1, to a client whose window is `window` bytes. */
const streaming = Effect.fnUntraced(function*(options: ServerMemory.Options = {}, window = 1000) {
  const exchanges: Array<App.HttpExchange> = []
  const app = App.http((exchange) => {
    exchanges.push(exchange)
    return Effect.andThen(exchange.send({ type: "http.response.start", status: 200 }), Effect.never)
  })
  const served = yield* opened(app, { shutdownTimeout: 0, ...options }, { INITIAL_WINDOW_SIZE: window })
  yield* served.client.ask(F.get(1, "/1"))
  const exchange = exchanges[0]!
  const send = (body: string | Uint8Array, more = true) =>
    Effect.tap(
      Effect.forkChild(exchange.send({ type: "http.response.body", body, more }), { startImmediately: true }),
      () => ServerMemory.settle
    )
  /** Lets the client take `bytes` more. */
  const take = (bytes: number, stream = 1) => served.client.ask(F.windowUpdate(stream, bytes), F.windowUpdate(0, bytes))
  return { ...served, exchange, exchanges, send, take, transport: exchange.transport }
})

/** Takes everything that is there, window by window, until the stream has ended. */
const takeAll = (client: Client, stream = 1, window = 65_535): Effect.Effect<F.Answer> =>
  Effect.gen(function*() {
    for (let round = 0; round < 2000; round++) {
      const answer = F.answerOn(client.all, stream)
      if (answer.ended) return answer
      yield* client.ask(F.windowUpdate(0, window), F.windowUpdate(stream, window))
    }
    throw new Error("The stream does not end")
  })

describe("the window of an HTTP/2 request body", () => {
  const piece = "x".repeat(8192)

  it.effect("stays closed while the application does not read, and opens as it does [W124]", () =>
    Effect.gen(function*() {
      const exchanges: Array<App.HttpExchange> = []
      const app = App.http((exchange) => (exchanges.push(exchange), Effect.never))
      const { client } = yield* opened(app, { shutdownTimeout: 0 })
      // A whole window, and not a byte more.
      const frames = yield* client.ask(
        F.post(1),
        ...Array.from({ length: 7 }, () => F.data(1, piece)),
        F.data(1, "x".repeat(8191))
      )
      assert.strictEqual(F.openedIn(frames, 1), 0)
      // The connection's window is given back at once: streams do not hold each other up.
      assert.isAbove(F.openedIn(frames, 0), 32_000)
      let read = 0
      while (read < 65_535) {
        const event = yield* exchanges[0]!.receive
        assert.ok(event.type === "http.request")
        read += event.body!.length
        yield* client.read
        // Never more than was read, and what Node itself reads ahead.
        assert.isAtMost(F.openedIn(client.all, 1), read + 65_536)
      }
      yield* Effect.forkChild(exchanges[0]!.receive, { startImmediately: true })
      yield* client.read
      assert.isAbove(F.openedIn(client.all, 1), 32_000)
    }))

  it.effect("is the one of the settings", () =>
    Effect.gen(function*() {
      const { client } = yield* opened(routes({ "/": () => Effect.never }), {
        http2InitialWindowBytes: 2000,
        shutdownTimeout: 0
      })
      const frames = yield* client.ask(F.post(1), F.data(1, "x".repeat(2000)))
      assert.strictEqual(F.answerOn(frames, 1).reset, undefined)
      const above = yield* client.ask(F.data(1, "x"))
      assert.strictEqual(F.answerOn(above, 1).reset ?? F.goawayIn(above)?.code, "FLOW_CONTROL_ERROR")
    }))

  it.effect("of a stream that is not read does not hold up the others", () =>
    Effect.gen(function*() {
      const { client } = yield* opened(
        routes({
          "/never": () => Effect.never,
          "/": (exchange) =>
            Effect.flatMap(bodyOf(exchange), (body) => App.respond(exchange.send, 200, String(body.length)))
        }),
        { shutdownTimeout: 0 }
      )
      for (let n = 0; n < 10; n++) {
        const stuck = 4 * n + 1
        yield* client.ask(F.post(stuck, "/never"), ...Array.from({ length: 7 }, () => F.data(stuck, piece)))
        const stream = stuck + 2
        const frames = yield* client.ask(
          F.post(stream),
          ...Array.from({ length: 4 }, () => F.data(stream, piece)),
          F.data(stream, "", 1)
        )
        assert.strictEqual(F.answerOn(frames, stream).body, "32768")
      }
    }))

  it.effect("bounds what waits for an application that is slower than its client [C121]", () =>
    Effect.gen(function*() {
      const total = 2_000_000
      let given = 0
      const app = App.http(({ receive, send }) =>
        Effect.gen(function*() {
          while (given < total) {
            const event = yield* receive
            if (event.type !== "http.request") return
            given += event.body!.length
            yield* Effect.sleep("1 second")
          }
          yield* App.respond(send, 200, "all")
        })
      )
      const { client } = yield* opened(app)
      yield* client.send(F.post(1))
      let window = 65_535
      let sent = 0
      let largest = 0
      while (sent < total) {
        const length = Math.min(8192, window, total - sent)
        if (length > 0) {
          yield* client.send(F.data(1, piece.slice(0, length)))
          sent += length
          window -= length
        }
        largest = Math.max(largest, sent - given)
        if (window > 0) continue
        yield* TestClock.adjust("1 second")
        window += F.openedIn(yield* client.read, 1)
      }
      yield* client.send(F.data(1, "", F.END_STREAM))
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(F.answerOn(yield* client.read, 1).body, "all")
      assert.strictEqual(given, total)
      // A window, what Node reads ahead, and what the application has at hand.
      assert.isBelow(largest, 65_535 + 65_536 + 65_536)
    }))
})

describe("backpressure of an HTTP/2 answer", () => {
  it.effect("shows what waits, makes send wait at the high watermark, and lets it go at the low one [C116] [C117]", () =>
    Effect.gen(function*() {
      const { send, take, transport } = yield* streaming()
      assert.deepStrictEqual([transport.highWaterMark, transport.lowWaterMark], [65_536, 16_384])
      // The window takes 1000 bytes of the first piece; nghttp2 lets a piece go when all of it is taken.
      assert.isFalse(isWaiting(yield* send("x".repeat(30_000))))
      assert.strictEqual(transport.bufferedAmount, 30_000)
      const waiting = yield* send("y".repeat(40_000))
      assert.strictEqual(transport.bufferedAmount, 70_000)
      assert.isTrue(isWaiting(waiting))
      yield* take(29_000)
      assert.strictEqual(transport.bufferedAmount, 40_000)
      assert.isTrue(isWaiting(waiting))
      yield* take(40_000)
      assert.strictEqual(transport.bufferedAmount, 0)
      assert.isFalse(isWaiting(waiting))
    }))

  it.effect("calls onHighWater on the rise and onDrain on the fall, each time [C118]", () =>
    Effect.gen(function*() {
      const { send, take, transport } = yield* streaming()
      const calls: Array<string> = []
      transport.onHighWater(() => calls.push("high"))
      transport.onDrain(() => calls.push("drain"))
      for (let cycle = 0; cycle < 3; cycle++) {
        yield* send("x".repeat(50_000))
        yield* send("x".repeat(50_000))
        assert.deepStrictEqual(calls.splice(0), ["high"])
        yield* take(100_000)
        assert.deepStrictEqual(calls.splice(0), ["drain"])
      }
    }))

  for (const length of [1, 65_535, 65_536, 65_537, 81_920, 86_016, 131_072, 200_001]) {
    for (const kind of ["bytes", "text"] as const) {
      it.effect(`sends ${length} bytes of ${kind} at once, and goes on when they are taken`, () =>
        Effect.gen(function*() {
          const { client, send } = yield* streaming({}, 65_535)
          const bytes = Buffer.from(Array.from({ length }, (_, n) => n % 95 + 32))
          const first = yield* send(kind === "bytes" ? bytes : bytes.toString("latin1"))
          assert.strictEqual(isWaiting(first), length >= 65_536)
          for (let taken = 0; taken < length; taken += 65_535) {
            yield* client.ask(F.windowUpdate(0, 65_535), F.windowUpdate(1, 65_535))
          }
          // Nothing else is sent: the send must not wait for it.
          assert.isFalse(isWaiting(first))
          yield* Fiber.join(yield* send("end", false))
          const { body } = yield* takeAll(client)
          assert.strictEqual(body, `${bytes.toString("latin1")}end`)
        }))
    }
  }

  it.effect("gives UTF-8 for text that is not ASCII, cut wherever a slice ends", () =>
    Effect.gen(function*() {
      const { client, send } = yield* streaming({}, 65_535)
      const text = "ü€😀".repeat(10_000)
      yield* send(text, false)
      const { body } = yield* takeAll(client)
      assert.strictEqual(Buffer.from(body, "latin1").toString(), text)
    }))

  for (const high of [1, 1024, 5000]) {
    it.effect(`works with a high watermark of ${high} bytes, without time passing`, () =>
      Effect.gen(function*() {
        const app = App.http(({ send }) =>
          Effect.gen(function*() {
            yield* send({ type: "http.response.start", status: 200 })
            for (let n = 0; n < 50; n++) {
              yield* send({ type: "http.response.body", body: `${n}`.padEnd(700, "."), more: n < 49 })
            }
          })
        )
        const { client } = yield* opened(app, { writeHighWaterMark: high, writeLowWaterMark: Math.min(high, 512) })
        yield* client.ask(F.get(1))
        assert.strictEqual((yield* takeAll(client)).body.length, 35_000)
      }))
  }

  it.effect("is each stream's own [C113]", () =>
    Effect.gen(function*() {
      const { client, exchanges, send, take } = yield* streaming()
      yield* client.ask(F.get(3, "/3"))
      const other = exchanges[1]!
      const stuck = yield* send("x".repeat(70_000))
      assert.isTrue(isWaiting(stuck))
      assert.strictEqual(other.transport.bufferedAmount, 0)
      for (let n = 0; n < 20; n++) {
        const sending = yield* Effect.forkChild(
          other.send({ type: "http.response.body", body: "y".repeat(900), more: true }),
          { startImmediately: true }
        )
        yield* take(900, 3)
        yield* Fiber.join(sending)
      }
      assert.strictEqual(F.answerOn(client.all, 3).body.length, 18_000)
      assert.isTrue(isWaiting(stuck))
      assert.strictEqual(exchanges[0]!.transport.bufferedAmount, 70_000)
    }))

  it.effect("holds when the client takes nothing of the whole connection", () =>
    Effect.gen(function*() {
      const { client, send, transport } = yield* streaming({ networkBufferBytes: 1 }, 1_000_000)
      yield* client.send(F.windowUpdate(0, 1_000_000))
      yield* client.bytes.pause
      yield* send("x".repeat(20_000))
      const waiting = yield* send("x".repeat(60_000))
      assert.isTrue(isWaiting(waiting))
      const buffered = transport.bufferedAmount
      assert.isAtLeast(buffered, 60_000)
      yield* client.bytes.resume
      yield* client.read
      assert.isFalse(isWaiting(waiting))
      assert.strictEqual(transport.bufferedAmount, 0)
    }))

  it.effect("lets a waiting send go, without failing it, when the stream is reset [C117]", () =>
    Effect.gen(function*() {
      const { client, send, transport } = yield* streaming()
      const waiting = yield* send("x".repeat(100_000))
      assert.isTrue(isWaiting(waiting))
      yield* client.send(F.reset(1, "CANCEL"))
      assert.isUndefined(yield* Fiber.join(waiting))
      assert.strictEqual(transport.bufferedAmount, 0)
    }))

  it.effect("waits for windows that SETTINGS change, also below zero", () =>
    Effect.gen(function*() {
      const { client, send } = yield* streaming({}, 1000)
      yield* send("x".repeat(5000), false)
      yield* client.ask(F.settings({ INITIAL_WINDOW_SIZE: 0 }))
      assert.strictEqual(F.answerOn(client.all, 1).body.length, 1000)
      yield* client.ask(F.windowUpdate(1, 1000))
      assert.strictEqual(F.answerOn(client.all, 1).body.length, 1000)
      yield* client.ask(F.windowUpdate(1, 1))
      assert.strictEqual(F.answerOn(client.all, 1).body.length, 1001)
      yield* client.ask(F.settings({ INITIAL_WINDOW_SIZE: 10_000 }))
      assert.deepInclude(F.answerOn(client.all, 1), { body: "x".repeat(5000), ended: true })
    }))

  it.effect("gives DATA frames no longer than the client allows", () =>
    Effect.gen(function*() {
      const { client, send } = yield* streaming({}, 60_000)
      yield* send("x".repeat(60_000))
      yield* client.read
      assert.strictEqual(F.answerOn(client.all, 1).body.length, 60_000)
      assert.isTrue(client.all.every(({ payload }) => payload.length <= 16_384))
    }))
})

describe("writeTimeout on HTTP/2", () => {
  const endless = (bytes: number) => ({ send }: App.HttpExchange) =>
    Effect.andThen(
      send({ type: "http.response.start", status: 200 }),
      Effect.forever(send({ type: "http.response.body", body: "x".repeat(bytes), more: true }))
    )

  it.effect("resets the stream whose client takes nothing of it, and only that one [C133] [C113]", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      const { client, server } = yield* opened(
        app((exchange) =>
          exchange.scope.path === "/quick" ? App.respond(exchange.send, 200, "quick") : endless(1000)(exchange)
        ),
        { writeTimeout: "10 seconds" },
        { INITIAL_WINDOW_SIZE: 2000 }
      )
      yield* client.send(F.get(1, "/stale"), F.get(3, "/taken"))
      for (let second = 0; second < 15; second++) {
        yield* client.ask(F.windowUpdate(3, 1000), F.windowUpdate(0, 1000))
        yield* TestClock.adjust("1 second")
      }
      yield* client.read
      assert.deepStrictEqual(ends, ["/stale write_timeout", "/stale interrupted"])
      assert.deepInclude(F.answerOn(client.all, 1), { status: 200, ended: false, reset: "CANCEL" })
      assert.deepInclude(F.answerOn(client.all, 3), { status: 200, ended: false, reset: undefined })
      assert.strictEqual(F.answerOn(yield* client.ask(F.get(5, "/quick")), 5).status, 200)
      assert.deepInclude(yield* server.stats, { connections: 1, exchanges: 1 })
      yield* client.send(F.reset(3, "CANCEL"))
    }))

  it.effect("does not count while the client takes something, though as much waits as before", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      // Pieces of the high watermark: whenever it is looked at, just as much waits.
      const { client } = yield* opened(app(endless(65_536)), { writeTimeout: "10 seconds", shutdownTimeout: 0 })
      yield* client.send(F.get(1, "/steady"))
      for (let second = 0; second < 60; second++) {
        yield* client.ask(F.windowUpdate(1, 65_536), F.windowUpdate(0, 65_536))
        yield* TestClock.adjust("1 second")
      }
      assert.deepStrictEqual(ends, [])
      yield* client.send(F.reset(1, "CANCEL"))
    }))

  it.effect("resets a stream whose answer is complete and waits in vain [C133]", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      const { client, server } = yield* opened(
        app(({ send }) => App.respond(send, 200, "x".repeat(30_000))),
        { writeTimeout: "10 seconds", keepAliveTimeout: "5 seconds" },
        { INITIAL_WINDOW_SIZE: 100 }
      )
      yield* client.ask(F.get(1, "/get"), F.post(3, "/unread"), F.post(5, "/refused", [["content-length", "99999999"]]))
      assert.deepStrictEqual(ends, ["/get complete", "/unread complete"])
      yield* client.send(F.settings({ INITIAL_WINDOW_SIZE: 0 }))
      yield* TestClock.adjust("15 seconds")
      yield* client.read
      for (const stream of [1, 3]) assert.strictEqual(F.answerOn(client.all, stream).reset, "CANCEL")
      // Nothing is left of them: the connection is idle, and closes.
      yield* TestClock.adjust("10 seconds")
      assert.isTrue(yield* client.bytes.isEnded)
      yield* client.bytes.end
      assert.strictEqual((yield* server.stats).connections, 0)
    }))

  it.effect("resets a refused request whose answer nobody takes", () =>
    Effect.gen(function*() {
      const { client } = yield* opened(App.http(({ send }) => App.respond(send, 200, "")), {}, {
        INITIAL_WINDOW_SIZE: 0
      })
      yield* client.ask(F.post(1, "/", [["content-length", "99999999"]]))
      assert.strictEqual(F.answerOn(client.all, 1).status, 413)
      assert.isFalse(F.answerOn(client.all, 1).ended)
      yield* TestClock.adjust("35 seconds")
      yield* client.read
      assert.strictEqual(F.answerOn(client.all, 1).reset, "CANCEL")
    }))

  it.effect("ends the exchanges of a client that takes nothing of the whole connection", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      const { client, server } = yield* opened(
        app(endless(10_000)),
        { networkBufferBytes: 1, writeTimeout: "10 seconds", keepAliveTimeout: "5 seconds", disconnectGrace: 0 },
        { INITIAL_WINDOW_SIZE: 1_000_000 }
      )
      yield* client.bytes.pause
      yield* client.send(
        F.windowUpdate(0, 1_000_000),
        ...Array.from({ length: 20 }, (_, n) => F.get(2 * n + 1, `/${n}`))
      )
      yield* TestClock.adjust("12 seconds")
      yield* ServerMemory.settle
      assert.strictEqual(ends.filter((end) => end.endsWith("write_timeout")).length, 20)
      assert.strictEqual((yield* server.stats).exchanges, 0)
      yield* TestClock.adjust("12 seconds")
      yield* ServerMemory.settle
      assert.strictEqual((yield* server.stats).connections, 0)
    }))
}, 30_000)

describe("an answer of an HTTP/2 stream that fails while it waits", () => {
  it.effect("is cut, with nothing of what waited behind it", () =>
    Effect.gen(function*() {
      const { client } = yield* opened(
        App.http(({ send }) =>
          Effect.gen(function*() {
            yield* send({ type: "http.response.start", status: 200 })
            yield* Effect.forkChild(send({ type: "http.response.body", body: "x".repeat(200_000), more: true }), {
              startImmediately: true
            })
            yield* Effect.sleep("1 second")
            return yield* Effect.fail("no")
          })
        )
      )
      yield* client.ask(F.get(1))
      assert.strictEqual(F.answerOn(client.all, 1).body.length, 65_535)
      yield* TestClock.adjust("1 second")
      yield* client.ask(F.windowUpdate(0, 1_000_000), F.windowUpdate(1, 1_000_000))
      const answer = F.answerOn(client.all, 1)
      assert.deepInclude(answer, { ended: false, reset: "INTERNAL_ERROR" })
      assert.strictEqual(answer.body.length, 65_535)
    }).pipe(Effect.provide(capture().layer)))
})
