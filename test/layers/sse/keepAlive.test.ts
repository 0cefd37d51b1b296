import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as App from "../../../src/app/App.ts"
import type { SseSend } from "../../../src/schema/Event.ts"
import { serve, versions } from "./streams.ts"

const keepAlive = (interval: number, comment?: string): SseSend => ({
  type: "sse.keepalive",
  interval,
  ...(comment === undefined ? {} : { comment })
})

/** Starts a stream and sends these events, each after its number of seconds; then waits. */
const app = (...timed: ReadonlyArray<readonly [seconds: number, event: SseSend]>) =>
  App.sse(({ send }) =>
    Effect.gen(function*() {
      yield* send({ type: "sse.start" })
      for (const [seconds, event] of timed) {
        yield* Effect.sleep(seconds * 1000)
        yield* send(event)
      }
      yield* Effect.never
    })
  )

const count = (text: string, part: string): number => text.split(part).length - 1

for (const version of versions) {
  describe(`keepalive of an event stream on HTTP/${version}`, () => {
    it.effect("is off until it is asked for [C89]", () =>
      Effect.gen(function*() {
        const { ask } = yield* serve(app())
        const stream = yield* ask(version)
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(yield* stream.text, "")
      }))

    it.effect("writes its comment once in each interval of quiet [C89]", () =>
      Effect.gen(function*() {
        const { ask } = yield* serve(app([0, keepAlive(10, "ping\npong")]))
        const stream = yield* ask(version)
        yield* TestClock.adjust("9 seconds")
        assert.strictEqual(yield* stream.text, "")
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(yield* stream.text, ":ping\n:pong\n\n")
        yield* TestClock.adjust("8 seconds")
        assert.strictEqual(yield* stream.text, ":ping\n:pong\n\n")
        yield* TestClock.adjust("40 seconds")
        assert.strictEqual(yield* stream.text, ":ping\n:pong\n\n".repeat(5))
      }))

    it.effect("keeps to an interval of a part of a second [C89]", () =>
      Effect.gen(function*() {
        const { ask } = yield* serve(app([0, keepAlive(0.2)]))
        const stream = yield* ask(version)
        // The first may wait for the sweep that was due before.
        yield* TestClock.adjust("1 second")
        const first = count(yield* stream.text, ":\n\n")
        assert.isAtLeast(first, 1)
        yield* TestClock.adjust("10 seconds")
        assert.approximately(count(yield* stream.text, ":\n\n") - first, 45, 5)
      }))

    it.effect("is silent while the application speaks [C89]", () =>
      Effect.gen(function*() {
        const words = Array.from({ length: 10 }, (_, index) => [4, { type: "sse.send", data: `${index}` }] as const)
        const { ask } = yield* serve(app([0, keepAlive(5)], ...words))
        const stream = yield* ask(version)
        yield* TestClock.adjust("44 seconds")
        assert.strictEqual(yield* stream.text, words.map(([, { data }]) => `data: ${data}\n\n`).join(""))
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(count(yield* stream.text, ":\n\n"), 1)
      }))

    it.effect("stops with interval 0, and begins again [C89]", () =>
      Effect.gen(function*() {
        const { ask } = yield* serve(app([0, keepAlive(5, "a")], [11, keepAlive(0)], [60, keepAlive(5, "b")]))
        const stream = yield* ask(version)
        yield* TestClock.adjust("70 seconds")
        assert.strictEqual(yield* stream.text, ":a\n\n:a\n\n")
        yield* TestClock.adjust("11 seconds")
        assert.match(yield* stream.text, /^:a\n\n:a\n\n(?::b\n\n){2,3}$/)
      }))

    it.effect("is what was asked for last [C89]", () =>
      Effect.gen(function*() {
        const { ask } = yield* serve(app([0, keepAlive(1, "a")], [0, keepAlive(30, "b")], [31, keepAlive(10)]))
        const stream = yield* ask(version)
        yield* TestClock.adjust("29 seconds")
        assert.strictEqual(yield* stream.text, "")
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(yield* stream.text, ":b\n\n")
        yield* TestClock.adjust("31 seconds")
        assert.strictEqual(yield* stream.text, ":b\n\n:\n\n:\n\n:\n\n")
      }))

    it.effect("ends with the stream [C89]", () =>
      Effect.gen(function*() {
        const { ask } = yield* serve(app([0, keepAlive(1)], [0, { type: "sse.close" }]))
        const stream = yield* ask(version)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(yield* stream.state, "whole")
        assert.strictEqual(yield* stream.text, "")
      }))

    it.effect("says nothing more to a client that takes nothing [C89]", () =>
      Effect.gen(function*() {
        const big = "x".repeat(200_000)
        const { ask } = yield* serve(app([0, keepAlive(1)], [0.5, { type: "sse.send", data: big }]), {
          writeTimeout: 0
        })
        const stream = yield* ask(version)
        yield* stream.pause
        yield* TestClock.adjust("10 minutes")
        yield* stream.resume
        const text = yield* stream.text
        assert.strictEqual(text, `data: ${big}\n\n`)
        yield* TestClock.adjust("2 seconds")
        assert.isAtLeast(count(yield* stream.text, ":\n\n"), 1)
      }))
  })
}

describe("keepalive of two streams on one HTTP/2 connection", () => {
  it.effect("is each stream's own [C89]", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(App.sse((exchange) => {
        const interval = Number(exchange.scope.path.slice(1))
        return app([0, keepAlive(interval, exchange.scope.path)], [42, keepAlive(interval === 4 ? 0 : interval)])(
          exchange
        )
      }))
      const connection = yield* connect("2")
      const fast = yield* connection.ask({ path: "/4" })
      const slow = yield* connection.ask({ path: "/10" })
      const none = yield* connection.ask({ path: "/0" })
      yield* TestClock.adjust("41 seconds")
      assert.strictEqual(yield* fast.text, ":/4\n\n".repeat(10))
      assert.strictEqual(yield* slow.text, ":/10\n\n".repeat(4))
      // One stops, and one ends: the other goes on.
      yield* TestClock.adjust("1 second")
      yield* none.leave
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(yield* fast.text, ":/4\n\n".repeat(10))
      assert.strictEqual(yield* slow.text, ":/10\n\n".repeat(4) + ":\n\n".repeat(2))
      assert.strictEqual(yield* none.text, "")
    }))
})
