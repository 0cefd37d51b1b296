import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import clock from "../../examples/clock.ts"
import echo from "../../examples/echo.ts"
import hooks from "../../examples/hooks.ts"
import origin from "../../examples/origin.ts"
import services from "../../examples/services.ts"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import { capture, type Line } from "../utils/logs.ts"
import { exchange, serve } from "../utils/serve.ts"
import * as WebSocket from "../utils/webSocket.ts"

const quiet = Effect.provide(capture().layer)

const messages = (lines: ReadonlyArray<Line>, pattern: RegExp) =>
  lines.map(({ message }) => message).filter((message) => pattern.test(message))

describe("examples/echo.ts", () => {
  it.effect("sends back what it gets, and ends with the client", () =>
    Effect.gen(function*() {
      const { connect, server } = yield* serve(echo)
      const session = yield* WebSocket.open(connect)
      yield* session.send(WebSocket.text("one"), WebSocket.binary("two"))
      assert.deepStrictEqual(yield* session.said, ["text one", "binary 74776f"])
      yield* session.send(WebSocket.close(1000))
      assert.deepStrictEqual(yield* session.said, ["close 1000"])
      assert.strictEqual((yield* server.stats).exchanges, 0)
    }).pipe(quiet))
})

describe("examples/clock.ts", () => {
  it.effect("says the time once a second, until the client leaves", () =>
    Effect.gen(function*() {
      const { connect, server } = yield* serve(clock)
      const client = yield* connect()
      yield* client.send("GET / HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n")
      assert.include(yield* client.read, "data: 1970-01-01T00:00:00.000Z\n\n")
      yield* TestClock.adjust("1 second")
      assert.include(yield* client.read, "data: 1970-01-01T00:00:01.000Z\n\n")
      yield* client.end
      assert.strictEqual((yield* server.stats).exchanges, 0)
    }).pipe(quiet))
})

describe("examples/origin.ts", () => {
  const statusFor = (lines: ReadonlyArray<string>) =>
    Effect.map(exchange(origin, WebSocket.handshake(lines)), (answer) => answer.slice(0, "HTTP/1.1 101".length))

  it.effect("lets pages of its own and clients that are no browsers in", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* statusFor(["origin: https://example.com"]), "HTTP/1.1 101")
      assert.strictEqual(yield* statusFor([]), "HTTP/1.1 101")
    }).pipe(quiet))

  it.effect("refuses pages of others", () =>
    Effect.gen(function*() {
      const own = "origin: https://example.com"
      const cases = [["origin: https://example.com.evil.test"], ["origin: null"], [own, "origin: https://evil.test"]]
      for (const lines of cases) assert.strictEqual(yield* statusFor(lines), "HTTP/1.1 403", lines.join())
    }).pipe(quiet))
})

describe("examples/services.ts", () => {
  it.effect("has its service from before the first request until after the last", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(Layer.provideMerge(services, ServerMemory.layer()), scope)
      const client = yield* Context.get(context, ServerMemory.Network).connect()
      yield* client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
      assert.match(yield* client.read, /\r\n\r\nHello$/)
      assert.deepStrictEqual(messages(lines, /^(?:Opened|Closed)$/), ["Opened"])
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(yield* client.isEnded)
      assert.deepStrictEqual(messages(lines, /^(?:Opened|Closed)$/), ["Opened", "Closed"])
    }).pipe(Effect.provide(layer))
  })
})

describe("examples/hooks.ts", () => {
  it.effect("tells requests what its startup has left, and its shutdown too", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      yield* TestClock.adjust("1 hour")
      const answer = yield* Effect.scoped(exchange(hooks, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
      assert.match(answer, /Up since 1970-01-01T01:00:00\.000Z$/)
      assert.deepStrictEqual(messages(lines, /^Was/), ["Was up since 1970-01-01T01:00:00.000Z"])
    }).pipe(Effect.provide(layer))
  })
})
