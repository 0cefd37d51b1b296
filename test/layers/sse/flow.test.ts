import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as App from "../../../src/app/App.ts"
import type { SseSend } from "../../../src/schema/Event.ts"
import { serve, versions } from "./streams.ts"

const start: SseSend = { type: "sse.start" }

/** 10,000 bytes on the wire. */
const eventOf = (index: number): SseSend => ({
  type: "sse.send",
  data: `${index}`.padEnd(10_000 - "data: \n\n".length, ".")
})

const firstWords = (text: string) =>
  text.split("\n\n").slice(0, -1).map((event) => Number(/^data: (\d+)\.*$/.exec(event)![1]))

const upTo = (length: number) => Array.from({ length }, (_, index) => index)

for (const version of versions) {
  describe(`backpressure of an event stream on HTTP/${version}`, () => {
    /** Sends `total` events as fast as it may; `sent` counts those whose `send` has succeeded. */
    const hurrying = (total: number) => {
      const seen = { sent: 0, most: 0, high: 0, drains: 0, reasons: [] as Array<string> }
      const app = App.sse(({ connection, send, transport }) =>
        Effect.gen(function*() {
          transport.onHighWater(() => seen.high++)
          transport.onDrain(() => seen.drains++)
          connection.onDisconnect((reason) => seen.reasons.push(reason))
          yield* send(start)
          for (const index of upTo(total)) {
            yield* send(eventOf(index))
            seen.sent++
            seen.most = Math.max(seen.most, transport.bufferedAmount)
          }
        })
      )
      return { app, seen }
    }

    it.effect("suspends send for a client that does not read, until it reads again", () =>
      Effect.gen(function*() {
        const { app, seen } = hurrying(100)
        const { connect } = yield* serve(app, { writeTimeout: 0 })
        const connection = yield* connect(version)
        const stream = yield* connection.ask({ paused: true })
        const before = seen.sent
        // What the network holds, a buffer up to the high watermark, and the event that passed it.
        assert.isAtMost(before, 25)
        assert.isAtLeast(before, 6)
        assert.strictEqual(seen.high, 1)
        yield* TestClock.adjust("10 minutes")
        yield* stream.state
        assert.strictEqual(seen.sent, before)
        yield* stream.resume
        assert.deepStrictEqual(firstWords(yield* stream.text), upTo(100))
        assert.strictEqual(yield* stream.state, "whole")
        assert.strictEqual(seen.sent, 100)
        assert.isAtLeast(seen.drains, 1)
        assert.isAtMost(seen.most, 65_536 + 10_000)
      }))

    it.effect("lets a suspended send go on into nothing when the client leaves", () =>
      Effect.gen(function*() {
        const { app, seen } = hurrying(100)
        const { ask, server } = yield* serve(app, { writeTimeout: 0 })
        const stream = yield* ask(version, { paused: true })
        assert.isBelow(seen.sent, 30)
        yield* stream.leave
        assert.strictEqual(seen.sent, 100)
        assert.deepStrictEqual(seen.reasons, ["client_closed"])
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }))

    it.effect("cuts a client that takes nothing for writeTimeout", () =>
      Effect.gen(function*() {
        const { app, seen } = hurrying(100)
        const { ask } = yield* serve(app)
        const stream = yield* ask(version, { paused: true })
        yield* TestClock.adjust("29 seconds")
        assert.deepStrictEqual(seen.reasons, [])
        yield* TestClock.adjust("4 seconds")
        assert.deepStrictEqual(seen.reasons, ["write_timeout"])
        yield* stream.resume
        assert.strictEqual(yield* stream.state, "cut")
      }))

    it.effect("loses nothing of what was sent when the server stops, or the stream is idle", () =>
      Effect.gen(function*() {
        for (const way of ["stop", "idle"]) {
          const { app, seen } = hurrying(100)
          const sseIdleTimeout = way === "idle" ? "5 seconds" : 0
          const { ask, stop } = yield* serve(app, { sseIdleTimeout, sseShutdownRetry: 0 })
          const stream = yield* ask(version, { paused: true })
          const before = seen.sent
          assert.isBelow(before, 30)
          yield* way === "stop" ? stop : TestClock.adjust("7 seconds")
          assert.deepStrictEqual(seen.reasons, [way === "stop" ? "server_shutdown" : "idle_timeout"])
          yield* stream.resume
          // The send that waited had already given its event away.
          assert.deepStrictEqual(firstWords(yield* stream.text), upTo(before + 1))
          assert.strictEqual(yield* stream.state, "whole")
        }
      }))

    it.effect("is each client's own: a slow one does not hold up another", () =>
      Effect.gen(function*() {
        const { connect } = yield* serve(App.sse((exchange) => hurrying(100).app(exchange)), { writeTimeout: 0 })
        const first = yield* connect(version)
        const slow = yield* first.ask({ paused: true })
        const fast = yield* (version === "2" ? first : yield* connect(version)).ask()
        assert.strictEqual(firstWords(yield* fast.text).length, 100)
        assert.strictEqual(yield* fast.state, "whole")
        assert.strictEqual(yield* slow.state, "open")
      }))
  })

  describe(`fan-out on HTTP/${version}`, () => {
    it.effect("is right when an application changes and reuses one event", () =>
      Effect.gen(function*() {
        const clients: Array<App.SseExchange> = []
        const app = App.sse((exchange) => {
          clients.push(exchange)
          return Effect.andThen(exchange.send(start), Effect.never)
        })
        const { connect } = yield* serve(app)
        const streams = yield* Effect.forEach(
          upTo(5),
          () => Effect.flatMap(connect(version), (connection) => connection.ask())
        )
        const shared: { -readonly [K in keyof Extract<SseSend, { readonly type: "sse.send" }>]: unknown } = {
          type: "sse.send",
          data: ""
        }
        const changes: ReadonlyArray<readonly [fields: Record<string, unknown>, text: string]> = [
          [{ data: "a" }, "data: a\n\n"],
          [{ id: "1" }, "id: 1\ndata: a\n\n"],
          [{ id: "2" }, "id: 2\ndata: a\n\n"],
          [{ event: "e" }, "event: e\nid: 2\ndata: a\n\n"],
          [{ retry: 1 }, "event: e\nid: 2\nretry: 1\ndata: a\n\n"],
          [{ retry: 2 }, "event: e\nid: 2\nretry: 2\ndata: a\n\n"],
          [{ id: undefined, event: undefined, retry: undefined }, "data: a\n\n"],
          [{ data: "ä" }, "data: Ã¤\n\n"],
          [{ data: "a" }, "data: a\n\n"]
        ]
        for (const [fields] of changes) {
          Object.assign(shared, fields)
          for (const [index, { send }] of clients.entries()) {
            yield* send(shared as SseSend)
            // In between, one client gets a word of its own in the same object.
            const { data } = shared
            yield* clients[0]!.send(Object.assign(shared, { data: `only ${index}` }) as SseSend)
            shared.data = data
          }
        }
        const text = changes.map(([, wire]) => wire).join("")
        for (const stream of streams.slice(1)) assert.strictEqual(yield* stream.text, text)
        const first = (yield* streams[0]!.text).replaceAll(/(?:\w+: \w*\n)*data: only \d\n\n/g, "")
        assert.strictEqual(first, text)
      }))

    it.effect("is right when one field is all that changes", () =>
      Effect.gen(function*() {
        const app = App.sse(({ send }) =>
          Effect.gen(function*() {
            yield* send(start)
            const shared = { type: "sse.send" as const, data: "x", event: "a", id: "a", retry: 1 }
            yield* send(shared)
            yield* send(Object.assign(shared, { event: "b" }))
            yield* send(Object.assign(shared, { id: "b" }))
            yield* send(Object.assign(shared, { retry: 2 }))
            yield* send(Object.assign(shared, { data: "y" }))
            yield* send(shared)
          })
        )
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        const texts = [["a", "a", 1, "x"], ["b", "a", 1, "x"], ["b", "b", 1, "x"], ["b", "b", 2, "x"]]
          .concat([["b", "b", 2, "y"], ["b", "b", 2, "y"]])
          .map(([event, id, retry, data]) => `event: ${event}\nid: ${id}\nretry: ${retry}\ndata: ${data}\n\n`)
        assert.strictEqual(yield* stream.text, texts.join(""))
      }))

    it.effect("is right after an event that was refused", () =>
      Effect.gen(function*() {
        const app = App.sse(({ send }) =>
          Effect.gen(function*() {
            yield* send(start)
            yield* send({ type: "sse.send", data: "x", id: "1" })
            yield* Effect.flip(send({ type: "sse.send", data: "y", id: "1\n" }))
            yield* send({ type: "sse.send", data: "y", id: "1" })
            yield* send({ type: "sse.send", data: "x", id: "1" })
          })
        )
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        assert.strictEqual(yield* stream.text, ["x", "y", "x"].map((data) => `id: 1\ndata: ${data}\n\n`).join(""))
      }))
  })
}
