import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestConsole from "effect/testing/TestConsole"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as LogLevels from "../../../layers/internal/LogLevels.ts"
import * as ProgramLog from "../../../layers/internal/ProgramLog.ts"
import { AccessLog } from "../../../src/service/AccessLog.ts"
import { entry } from "../../contract/AccessLog.ts"
import { capture } from "../../utils/logs.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "slipway-program-log-"))),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true }))
)

const options: ProgramLog.Options = {
  level: "Info",
  levels: [],
  isQuiet: false,
  format: "text",
  to: "-",
  rotation: {}
}

const says = Effect.gen(function*() {
  yield* Effect.logDebug("debug")
  yield* Effect.logInfo("info")
  yield* Effect.logError("error")
  yield* LogLevels.inModule("Supervisor")(Effect.logDebug("supervisor"))
})

const messages = (lines: ReadonlyArray<unknown>) => lines.map((line) => /message=(\w+)/.exec(String(line))?.[1])

/** What arrives on standard error with these options, and that nothing else is printed. */
const onConsole = Effect.fnUntraced(function*(changes: Partial<ProgramLog.Options>) {
  yield* Effect.provide(says, ProgramLog.layer({ ...options, ...changes }))
  assert.deepStrictEqual(yield* TestConsole.logLines, [])
  return yield* TestConsole.errorLines
})

const inFile = Effect.fnUntraced(function*(changes: Partial<ProgramLog.Options>) {
  const to = path.join(yield* folder, "app.log")
  yield* Effect.provide(says, ProgramLog.layer({ ...options, ...changes, to }))
  return fs.readFileSync(to, "utf8")
})

describe("ProgramLog", () => {
  it.effect("goes to standard error, from the level on that is asked for [C155]", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(messages(yield* onConsole({})), ["info", "error"])
    }))

  it.effect("has only errors when it is to be quiet, but what modules are asked for [C155]", () =>
    Effect.gen(function*() {
      const lines = yield* onConsole({ isQuiet: true, level: "Debug", levels: ["Supervisor=debug"] })
      assert.deepStrictEqual(messages(lines), ["error", "supervisor"])
    }))

  it.effect("goes nowhere when it is told so", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* onConsole({ to: false }), [])
    }))

  it.effect("is JSON on demand, with the module", () =>
    Effect.gen(function*() {
      const lines = yield* onConsole({ format: "json", levels: ["Supervisor=debug"] })
      const last = JSON.parse(String(lines.at(-1)))
      assert.deepStrictEqual([last.message, last.annotations], ["supervisor", { module: "Supervisor" }])
    }))

  for (
    const [format, shape] of [
      ["text", /^timestamp=\S+ level=INFO .*message=info\n/],
      ["json", /^\{"message":"info","level":"INFO",.*\}\n/],
      ["pretty", /^1970-01-01T00:00:00\.000Z INFO {2}info\n/]
    ] as const
  ) {
    it.effect(`goes to a file as ${format}, instead of standard error`, () =>
      Effect.gen(function*() {
        assert.match(yield* inFile({ format }), shape)
        assert.deepStrictEqual(yield* TestConsole.errorLines, [])
      }))
  }

  it.effect("fails with the item that names no level, or the file that cannot be opened", () =>
    Effect.gen(function*() {
      const build = (changes: Partial<ProgramLog.Options>) =>
        Effect.flip(Layer.build(ProgramLog.layer({ ...options, ...changes })))
      assert.include((yield* build({ levels: ["Tls=loud"] })).message, `"Tls=loud"`)
      assert.include((yield* build({ to: "/nowhere/app.log" })).message, "/nowhere/app.log")
    }))

  it("takes 0 for no rotation", () => {
    const off = { logRotateBytes: 0, logRotateInterval: Duration.zero, logRotateKeep: 3 }
    assert.deepStrictEqual(ProgramLog.rotationOf(off), { maxFiles: 3 })
    const interval = Duration.days(1)
    assert.deepStrictEqual(ProgramLog.rotationOf({ ...off, logRotateBytes: 9, logRotateInterval: interval }), {
      maxBytes: 9,
      interval,
      maxFiles: 3
    })
  })

  it.effect("says on standard error what becomes of its file", () =>
    Effect.gen(function*() {
      const inner = path.join(yield* folder, "inner")
      fs.mkdirSync(inner)
      const gone = Effect.andThen(Effect.sync(() => fs.rmSync(inner, { recursive: true })), Effect.logError("lost"))
      yield* Effect.provide(gone, ProgramLog.layer({ ...options, to: path.join(inner, "app.log") }))
      const lines = (yield* TestConsole.errorLines).join("\n")
      assert.include(lines, `The log ${inner}/app.log cannot be written`)
      assert.include(lines, `The log ${inner}/app.log lost 1 entries`)
      assert.deepStrictEqual(yield* TestConsole.logLines, [])
    }))

  describe("accessLog", () => {
    const accessOptions: ProgramLog.AccessLogOptions = { to: "-", format: "%I", rotation: {}, isSlowTerminal: false }

    const build = (changes: Partial<ProgramLog.AccessLogOptions>) =>
      Effect.map(
        Layer.build(ProgramLog.accessLog({ ...accessOptions, ...changes }) as Layer.Layer<AccessLog, Error>),
        (context) => Context.getOrUndefined(context, AccessLog)
      )

    it.effect("goes to a file, which is rotated [W30]", () =>
      Effect.gen(function*() {
        const to = path.join(yield* folder, "access.log")
        const log = yield* build({ to, rotation: { maxBytes: 1 } })
        for (const requestId of ["r1", "r2"]) {
          log!.write(entry({ requestId }))
          yield* log!.flush
        }
        assert.deepStrictEqual([to, `${to}.1`].map((file) => fs.readFileSync(file, "utf8")), ["r2\n", "r1\n"])
      }))

    it.effect("goes nowhere, or by syslog, when it is told so", () =>
      Effect.gen(function*() {
        assert.isUndefined(yield* build({ to: false }))
        assert.include((yield* Effect.flip(build({ to: "syslog:?facility=none" }))).message, "unknown facility")
      }))

    it.effect("warns of a terminal in production, once, and of nothing else [C155]", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        yield* build({})
        assert.deepStrictEqual(lines, [])
        yield* build({ isSlowTerminal: true })
        assert.lengthOf(lines, 1)
        assert.strictEqual(lines[0]!.level, "Warn")
        assert.include(lines[0]!.message, "The access log goes to a terminal")
      }).pipe(Effect.provide(layer))
    })
  })
})
