import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { EventEmitter } from "node:events"
import * as AccessLogConsole from "../../layers/AccessLogConsole.ts"
import { maxHeldEntries } from "../../layers/internal/AccessLogBuffer.ts"
import { AccessLog } from "../../src/service/AccessLog.ts"
import { accessLogContract, entry } from "../contract/AccessLog.ts"

/** Stands in for `process.stdout`: takes everything, nothing (`stalled`), or fails (`failing`), as a test says. */
class FakeStream extends EventEmitter {
  text = ""
  writes = 0
  failing = false
  private held: Array<() => void> = []
  private isStalled = false

  get lines(): ReadonlyArray<string> {
    return this.text.split("\n").slice(0, -1)
  }

  set stalled(stalled: boolean) {
    this.isStalled = stalled
    if (!stalled) { for (const take of this.held.splice(0)) take() }
  }

  write(bytes: Uint8Array, callback: (error?: Error | null) => void): boolean {
    const take = () => {
      this.text += Buffer.from(bytes).toString("latin1")
      queueMicrotask(callback)
    }
    this.writes++
    if (this.failing) queueMicrotask(() => callback(new Error("EPIPE")))
    else if (this.isStalled) this.held.push(take)
    else take()
    return !this.isStalled
  }
}

accessLogContract("AccessLogConsole", (options) =>
  Effect.sync(() => {
    const stream = new FakeStream()
    return { layer: AccessLogConsole.layer(options, stream), lines: Effect.sync(() => stream.lines) }
  }))

const openLog = Effect.fnUntraced(function*(stream: FakeStream) {
  const scope = yield* Scope.make()
  const layer = AccessLogConsole.layer({ format: "%I" }, stream)
  const log = Context.get(yield* Layer.buildWithScope(layer, scope), AccessLog)
  return { log, close: Scope.close(scope, Exit.void) }
})

/** Builds the layer over `stream` and collects what is logged about it. */
const open = Effect.fnUntraced(function*(stream: FakeStream, options: AccessLogConsole.Options = {}) {
  const logged: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    logged.push(`${logLevel} ${Array.isArray(message) ? message[0] : message}`)
  })
  const scope = yield* Scope.make()
  const layer = AccessLogConsole.layer({ format: "%I", ...options }, stream).pipe(Layer.provide(Logger.layer([logger])))
  const log = Context.get(yield* Layer.buildWithScope(layer, scope), AccessLog)
  const write = (count: number) => {
    for (let i = 0; i < count; i++) log.write(entry())
  }
  return { log, logged, write, close: Scope.close(scope, Exit.void) }
})

describe("AccessLogConsole", () => {
  it.effect("prints the combined format, 100 entries or 1 second at a time, by default", () =>
    Effect.gen(function*() {
      const stream = new FakeStream()
      const log = Context.get(yield* Layer.build(AccessLogConsole.layer({}, stream)), AccessLog)
      for (let i = 0; i < 99; i++) log.write(entry())
      assert.strictEqual(stream.lines.length, 0)
      log.write(entry())
      assert.strictEqual(stream.lines.length, 100)
      assert.strictEqual(stream.writes, 1)
      log.write(entry())
      yield* TestClock.adjust("1 second")
      assert.strictEqual(stream.lines.length, 101)
      assert.strictEqual(
        stream.lines[0],
        "192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"GET /a%20b?x=1&y=%22 HTTP/1.1\" 200 1234 "
          + "\"https://example.org/\" \"curl/8.5.0\""
      )
    }))

  it.effect("drops and counts entries beyond the bound while the stream stalls, and warns once when it goes on", () =>
    Effect.gen(function*() {
      const stream = new FakeStream()
      const { close, log, logged, write } = yield* open(stream)
      stream.stalled = true
      write(maxHeldEntries + 250)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(stream.writes, 1)
      assert.deepStrictEqual(logged, [])
      stream.stalled = false
      yield* log.flush
      assert.strictEqual(stream.lines.length, maxHeldEntries)
      write(1)
      yield* log.flush
      assert.strictEqual(stream.lines.length, maxHeldEntries + 1)
      yield* close
      assert.deepStrictEqual(logged, ["Warn The access log stdout lost 250 entries"])
    }))

  it.effect("logs a failing stream once, keeps the entries, and tries again no sooner than every second", () =>
    Effect.gen(function*() {
      const stream = new FakeStream()
      const { close, log, logged, write } = yield* open(stream, { flushInterval: "10 millis" })
      yield* TestClock.adjust("1 minute")
      stream.failing = true
      write(3)
      yield* log.flush
      yield* log.flush
      assert.strictEqual(logged.length, 1)
      assert.match(logged[0]!, /^Error The access log stdout cannot be written/)
      assert.strictEqual(stream.writes, 2)
      write(200)
      yield* TestClock.adjust("10 millis")
      assert.strictEqual(stream.writes, 3)
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(stream.writes, 3)
      stream.failing = false
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(stream.lines.length, 203)
      assert.deepStrictEqual(logged.slice(1), ["Info The access log stdout is written again"])
      yield* close
      assert.strictEqual(logged.length, 2)
    }))

  it.effect("gives up on a stalled stream 5 seconds after the scope began to close, and counts the loss", () =>
    Effect.gen(function*() {
      const stream = new FakeStream()
      const { close, logged, write } = yield* open(stream, { stream: "stderr" })
      stream.stalled = true
      write(7)
      const closing = yield* Effect.forkChild(close, { startImmediately: true })
      yield* TestClock.adjust("4999 millis")
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
      assert.deepStrictEqual(logged, ["Warn The access log stderr lost 7 entries"])
    }))

  it.effect("listens for errors of the stream while it is open", () =>
    Effect.gen(function*() {
      const stream = new FakeStream()
      const { close, write } = yield* open(stream)
      write(1)
      assert.isTrue(stream.emit("error", new Error("EPIPE")))
      yield* close
      assert.strictEqual(stream.listenerCount("error"), 0)
    }))

  it.effect("still listens when its last write has failed, because the error event comes after the callback", () =>
    Effect.gen(function*() {
      const stream = new FakeStream()
      const { close, write } = yield* open(stream)
      stream.failing = true
      write(1)
      yield* close
      assert.isTrue(stream.emit("error", new Error("EPIPE")))
    }))

  it.effect("never writes over bytes that the stream has not taken yet", () =>
    Effect.gen(function*() {
      const stream = new FakeStream()
      const { log, close } = yield* openLog(stream)
      const expected: Array<string> = []
      const write = (count: number) => {
        for (let n = 0; n < count; n++) {
          const requestId = `r${expected.length}-${"x".repeat(expected.length % 50)}`
          expected.push(requestId)
          log.write(entry({ requestId }))
        }
      }
      for (let round = 0; round < 40; round++) {
        stream.stalled = true
        write(100 + round)
        write(33)
        stream.stalled = false
        yield* log.flush
        assert.deepStrictEqual(stream.lines, expected)
      }
      yield* close
    }))

  it.effect("takes its options from the configuration", () =>
    Effect.gen(function*() {
      const layer = AccessLogConsole.layerConfig({ format: Config.String("ACCESS_LOG_FORMAT") })
      const build = (format: string) =>
        Layer.build(layer).pipe(
          Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ ACCESS_LOG_FORMAT: format })))
        )
      assert.isTrue(Context.getOption(yield* build("json"), AccessLog)._tag === "Some")
      assert.strictEqual((yield* Effect.flip(build("%Z")))._tag, "AccessLogFormatError")
    }))
})
