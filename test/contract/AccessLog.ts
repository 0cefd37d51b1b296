/**
 * What every AccessLog layer does, whatever its destination: order, flush, the buffer's count and time, the end of the
 * scope, and never an exception. Each layer's test calls `accessLogContract` with a way to read its destination.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type { HttpScope } from "../../src/schema/Scope.ts"
import { AccessLog, type AccessLogEntry } from "../../src/service/AccessLog.ts"

/** What the contract asks a layer to be built with; the format prints one request id a line. */
export interface ContractOptions {
  readonly format: string
  readonly bufferEntries: number
  readonly flushInterval: Duration.Input
}

/** One layer and one destination, not yet built. */
export interface Subject {
  readonly layer: Layer.Layer<AccessLog, unknown>
  /** The lines at the destination, also after the layer has closed. */
  readonly lines: Effect.Effect<ReadonlyArray<string>>
}

/** An ordinary entry; `changes` replaces fields. */
export const entry = (changes: Partial<AccessLogEntry> = {}): AccessLogEntry => ({
  scope: scope(),
  client: "192.0.2.7",
  status: 200,
  bodyBytes: 1234,
  startedAtMillis: Date.UTC(2000, 9, 10, 13, 55, 36, 78),
  durationMillis: 1234.5678,
  requestId: "r1",
  traceId: undefined,
  problem: undefined,
  ...changes
})

/** An ordinary scope; `changes` replaces fields. */
export const scope = (changes: Partial<HttpScope> = {}): HttpScope => ({
  type: "http",
  slipway: { version: "0.3", specVersion: "0.3" },
  httpVersion: "1.1",
  method: "GET",
  scheme: "http",
  path: "/a b",
  rawPath: "/a%20b",
  queryString: "x=1&y=%22",
  rootPath: "",
  headers: [["host", "example.org"], ["referer", "https://example.org/"], ["user-agent", "curl/8.5.0"]],
  extensions: {},
  ...changes
})

const ids = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `r${from + i}`)

/** Lets real input and output proceed, without waiting on a clock, until the destination has `count` lines. */
export const arrived = (lines: Effect.Effect<ReadonlyArray<string>>, count: number) =>
  Effect.gen(function*() {
    while ((yield* lines).length < count) yield* turn
    return yield* lines
  })

const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
const turns = Effect.repeat(turn, { times: 50 })

export const accessLogContract = (
  name: string,
  subject: (options: ContractOptions) => Effect.Effect<Subject, never, Scope.Scope>
): void => {
  const open = Effect.fnUntraced(function*(options: Partial<ContractOptions> = {}) {
    const { layer, lines } = yield* subject({ format: "%I", bufferEntries: 100, flushInterval: "1 second", ...options })
    const scope = yield* Scope.make()
    const log = Context.get(yield* Layer.buildWithScope(layer, scope), AccessLog)
    return { log, lines, close: Scope.close(scope, Exit.void) }
  })
  const write = (log: AccessLog["Service"], from: number, to: number) => {
    for (const requestId of ids(from, to)) log.write(entry({ requestId }))
  }

  describe(`${name} as an AccessLog`, () => {
    it.effect("keeps the order of entries over several flushes", () =>
      Effect.gen(function*() {
        const { close, lines, log } = yield* open({ bufferEntries: 7 })
        for (let i = 0; i < 10; i++) {
          write(log, i * 10 + 1, i * 10 + 10)
          yield* i % 3 === 0 ? log.flush : turn
        }
        yield* log.flush
        assert.deepStrictEqual(yield* lines, ids(1, 100))
        yield* close
      }))

    it.effect("completes a flush when everything written before is at the destination", () =>
      Effect.gen(function*() {
        const { close, lines, log } = yield* open()
        write(log, 1, 42)
        assert.deepStrictEqual(yield* lines, [])
        yield* log.flush
        assert.deepStrictEqual(yield* lines, ids(1, 42))
        yield* log.flush
        assert.deepStrictEqual(yield* lines, ids(1, 42))
        yield* close
      }))

    it.effect("writes the buffer when it holds bufferEntries entries [C158]", () =>
      Effect.gen(function*() {
        const { close, lines, log } = yield* open()
        write(log, 1, 99)
        yield* turns
        assert.deepStrictEqual(yield* lines, [])
        write(log, 100, 101)
        assert.deepStrictEqual(yield* arrived(lines, 100), ids(1, 100))
        yield* close
      }))

    it.effect("writes the buffer when its first entry is flushInterval old [C158]", () =>
      Effect.gen(function*() {
        const { close, lines, log } = yield* open()
        yield* TestClock.adjust("10 minutes")
        for (const from of [1, 3]) {
          write(log, from, from + 1)
          yield* TestClock.adjust("999 millis")
          yield* turns
          assert.deepStrictEqual(yield* lines, ids(1, from - 1))
          yield* TestClock.adjust("1 millis")
          assert.deepStrictEqual(yield* arrived(lines, from + 1), ids(1, from + 1))
          yield* TestClock.adjust("1 minute")
        }
        yield* close
      }))

    it.effect("writes what is buffered when the scope closes [C158]", () =>
      Effect.gen(function*() {
        const { close, lines, log } = yield* open()
        write(log, 1, 3)
        assert.deepStrictEqual(yield* lines, [])
        yield* close
        assert.deepStrictEqual(yield* lines, ids(1, 3))
      }))

    for (const options of [{ bufferEntries: 0 }, { bufferEntries: 1 }, { flushInterval: 0 }]) {
      it.effect(`writes every entry at once with ${JSON.stringify(options)}`, () =>
        Effect.gen(function*() {
          const { close, lines, log } = yield* open(options)
          write(log, 1, 1)
          assert.deepStrictEqual(yield* arrived(lines, 1), ids(1, 1))
          write(log, 2, 5)
          assert.deepStrictEqual(yield* arrived(lines, 5), ids(1, 5))
          yield* close
        }))
    }

    it.effect("never throws, not for a broken entry and not after the scope has closed", () =>
      Effect.gen(function*() {
        const { close, lines, log } = yield* open()
        const broken = {
          get requestId(): string {
            throw new Error("broken")
          }
        } as AccessLogEntry
        log.write(broken)
        write(log, 1, 1)
        yield* close
        write(log, 2, 2)
        yield* log.flush
        assert.deepStrictEqual(yield* lines, ids(1, 1))
      }))

    it.effect("keeps an entry on one line whatever the client sent", () =>
      Effect.gen(function*() {
        const { close, lines, log } = yield* open({ format: "\"%r\" \"%{User-Agent}i\"" })
        log.write(entry({ scope: scope({ rawPath: "/\r\n\"", headers: [["user-agent", "a\nb\u001b[2J\u2028"]] }) }))
        yield* log.flush
        assert.deepStrictEqual(yield* lines, [
          "\"GET /\\x0d\\x0a\\\"?x=1&y=%22 HTTP/1.1\" \"a\\x0ab\\x1b[2J\\u2028\""
        ])
        yield* close
      }))

    it.effect("refuses an unknown atom when the layer is built [C156]", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(open({ format: "%h %Z" }))
        assert.strictEqual((error as { readonly _tag: string })._tag, "AccessLogFormatError")
        assert.include(String((error as Error).message), "%Z")
      }))
  })
}
