import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as LoggerFile from "../../layers/LoggerFile.ts"
import { capture } from "../utils/logs.ts"
import { start } from "../utils/program.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "slipway-log-"))),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true }))
)

const linesOf = (file: string): ReadonlyArray<string> =>
  fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n").slice(0, -1) : []

/** The message alone, so that tests compare what they mean. */
const plain = Logger.make<unknown, string>(({ message }) => String(Array.isArray(message) ? message[0] : message))

const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/** Lets real input and output proceed until the file has `count` lines. */
const arrived = (file: string, count: number) =>
  Effect.gen(function*() {
    while (linesOf(file).length < count) yield* turn
    return linesOf(file)
  })

/** A program whose log goes to a new file, and how it closes. */
const open = Effect.fnUntraced(function*(options: Partial<LoggerFile.Options> = {}) {
  const file = options.path ?? path.join(yield* folder, "app.log")
  const scope = yield* Scope.make()
  const context = yield* Layer.buildWithScope(LoggerFile.layer({ format: plain, ...options, path: file }), scope)
  const log = (...messages: ReadonlyArray<unknown>) => Effect.provideContext(Effect.logInfo(...messages), context)
  return {
    file,
    log,
    logged: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideContext(effect, context),
    close: Scope.close(scope, Exit.void)
  }
})

/** Writes one line and waits until it is in the file. */
const writeThrough = { bufferEntries: 1 }

describe("LoggerFile", () => {
  describe("the buffer", () => {
    it.effect("holds entries until there are bufferEntries of them", () =>
      Effect.gen(function*() {
        const { close, file, log } = yield* open({ bufferEntries: 3 })
        yield* log("one")
        yield* log("two")
        yield* turn
        assert.deepStrictEqual(linesOf(file), [])
        yield* log("three")
        assert.deepStrictEqual(yield* arrived(file, 3), ["one", "two", "three"])
        yield* close
      }))

    it.effect("is written when its first entry is flushInterval old", () =>
      Effect.gen(function*() {
        const { close, file, log } = yield* open({ flushInterval: "10 seconds" })
        yield* log("one")
        yield* TestClock.adjust("9999 millis")
        yield* turn
        assert.deepStrictEqual(linesOf(file), [])
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(yield* arrived(file, 1), ["one"])
        yield* close
      }))

    for (const level of ["Error", "Fatal"] as const) {
      it.effect(`is in the file, with all before it, when an entry of level ${level} has been logged`, () =>
        Effect.gen(function*() {
          const { close, file, log, logged } = yield* open()
          yield* log("before")
          yield* logged(Effect.logWarning("still before"))
          assert.deepStrictEqual(linesOf(file), [])
          yield* logged(Effect.logWithLevel(level)("lost"))
          assert.deepStrictEqual(linesOf(file), ["before", "still before", "lost"])
          yield* close
        }))
    }

    it.effect("is written when the scope closes, and takes nothing afterwards", () =>
      Effect.gen(function*() {
        const { close, file, log } = yield* open()
        yield* log("one")
        yield* close
        assert.deepStrictEqual(linesOf(file), ["one"])
        yield* log("two")
        assert.deepStrictEqual(linesOf(file), ["one"])
      }))

    it.effect("is written after the last words of what the Layer was provided to", () =>
      Effect.gen(function*() {
        const file = path.join(yield* folder, "app.log")
        const service = Layer.effectDiscard(
          Effect.acquireRelease(Effect.logInfo("started"), () => Effect.logInfo("stopped"))
        )
        yield* Effect.scoped(Layer.build(Layer.provide(service, LoggerFile.layer({ path: file, format: plain }))))
        assert.deepStrictEqual(linesOf(file), ["started", "stopped"])
      }))
  })

  describe("formats", () => {
    it.effect("are JSON by default: level, time of the Clock, message, annotations, spans, cause [W30]", () =>
      Effect.gen(function*() {
        const file = path.join(yield* folder, "app.log")
        yield* TestClock.adjust("1 hour")
        yield* Effect.logWarning("saved", { id: 7 }).pipe(
          Effect.annotateLogs({ requestId: "a-1" }),
          Effect.withLogSpan("request"),
          Effect.provide(LoggerFile.layer({ path: file }))
        )
        yield* Effect.logError("broken", new Error("no disk")).pipe(Effect.provide(LoggerFile.layer({ path: file })))
        const [first, second] = linesOf(file).map((line) => JSON.parse(line))
        assert.strictEqual(first.level, "WARN")
        assert.strictEqual(first.timestamp, "1970-01-01T01:00:00.000Z")
        assert.deepStrictEqual(first.message, ["saved", { id: 7 }])
        assert.deepStrictEqual(first.annotations, { requestId: "a-1" })
        assert.deepStrictEqual(first.spans, { request: 0 })
        assert.strictEqual(second.level, "ERROR")
        assert.include(JSON.stringify(second), "no disk")
      }))

    it.effect("are logfmt where it is asked for", () =>
      Effect.gen(function*() {
        const { close, file, log } = yield* open({ format: "logfmt" })
        yield* log("a b", 3)
        yield* close
        assert.match(
          linesOf(file)[0]!,
          /^timestamp=1970-01-01T00:00:00.000Z level=INFO fiber=#\d+ message="a b" message=3$/
        )
      }))

    for (const format of ["json", "logfmt"] as const) {
      it.effect(`keep an entry on one line of harmless characters with ${format}`, () =>
        Effect.gen(function*() {
          const { close, file, logged } = yield* open({ format })
          const hostile = "a\nlevel=ERROR\r\u001b[2J\u009b2J\u2028\u2029\u0000\u007f\"b"
          yield* logged(
            Effect.logInfo(hostile, { hostile }).pipe(
              Effect.annotateLogs({ key: hostile, [hostile]: 1 }),
              Effect.withLogSpan(hostile)
            )
          )
          yield* close
          const text = fs.readFileSync(file, "utf8")
          assert.notMatch(text.slice(0, -1), /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/)
          assert.strictEqual(text.at(-1), "\n")
          if (format === "json") assert.deepStrictEqual(JSON.parse(text).message[0], hostile)
        }))
    }

    it.effect("are for people where that is asked for: the cause below, and no line that a client has begun", () =>
      Effect.gen(function*() {
        const { close, file, logged } = yield* open({ format: "pretty" })
        const hostile = "a\n1970-01-01T00:00:00.000Z ERROR b"
        yield* logged(
          Effect.annotateLogs(
            Effect.logError(hostile, { id: 7 }, Cause.fail(new Error(hostile)), new TypeError("no disk")),
            {
              module: "Tls",
              key: hostile
            }
          )
        )
        yield* close
        const [first, ...trace] = linesOf(file)
        const escaped = "a\\u000a1970-01-01T00:00:00.000Z ERROR b"
        assert.match(first!, /^1970-01-01T00:00:00\.000Z ERROR \[Tls\] /)
        assert.include(first!, ` ${escaped} {"id":7} TypeError: no disk`)
        assert.include(first!, ` key=${escaped}`)
        assert.isNotEmpty(trace)
        for (const line of trace) assert.match(line, /^ {4}/)
      }))

    it.effect("never throw: an entry that cannot be written down is left out, and counted", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const { close, file, log } = yield* open()
        yield* log({
          toString() {
            throw new Error("no words")
          }
        })
        yield* log("two")
        yield* close
        assert.deepStrictEqual(linesOf(file), ["two"])
        assert.deepStrictEqual(lines.map(({ message }) => message), [`The log ${file} lost 1 entries`])
      }).pipe(Effect.provide(layer))
    })

    it.effect("know the level that the program asks for", () =>
      Effect.gen(function*() {
        const { close, file, logged } = yield* open()
        yield* logged(
          Effect.andThen(Effect.logInfo("hidden"), Effect.logError("shown")).pipe(
            Effect.provideService(References.MinimumLogLevel, "Warn")
          )
        )
        yield* close
        assert.deepStrictEqual(linesOf(file), ["shown"])
      }))
  })

  describe("rotation", () => {
    it.effect("by others is followed: renamed, removed and truncated files [W30]", () =>
      Effect.gen(function*() {
        const { close, file, log } = yield* open(writeThrough)
        yield* log("one")
        yield* arrived(file, 1)
        fs.renameSync(file, `${file}-20000101`)
        yield* log("two")
        assert.deepStrictEqual(yield* arrived(file, 1), ["two"])
        assert.deepStrictEqual(linesOf(`${file}-20000101`), ["one"])
        fs.rmSync(file)
        yield* log("three")
        assert.deepStrictEqual(yield* arrived(file, 1), ["three"])
        fs.truncateSync(file)
        yield* log("four")
        assert.deepStrictEqual(yield* arrived(file, 1), ["four"])
        yield* close
      }))

    it.effect("by size begins a new file before one would be longer, and keeps maxFiles old ones [W30]", () =>
      Effect.gen(function*() {
        const { close, file, log } = yield* open({ ...writeThrough, rotation: { maxBytes: 12, maxFiles: 2 } })
        for (let n = 1; n <= 9; n++) {
          yield* log(`line${n}`)
          while (linesOf(file).at(-1) !== `line${n}`) yield* turn
        }
        yield* close
        assert.deepStrictEqual([file, `${file}.1`, `${file}.2`].map(linesOf), [
          ["line9"],
          ["line7", "line8"],
          ["line5", "line6"]
        ])
        assert.deepStrictEqual(fs.readdirSync(path.dirname(file)).sort(), ["app.log", "app.log.1", "app.log.2"])
      }))

    it.effect("by size keeps a line whole that is longer than a file may be", () =>
      Effect.gen(function*() {
        const { close, file, log } = yield* open({ ...writeThrough, rotation: { maxBytes: 1 } })
        for (const line of ["first and long", "second and long"]) {
          yield* log(line)
          while (linesOf(file).at(-1) !== line) yield* turn
        }
        yield* close
        assert.deepStrictEqual([file, `${file}.1`].map(linesOf), [["second and long"], ["first and long"]])
        assert.lengthOf(fs.readdirSync(path.dirname(file)), 2)
      }))

    it.effect("by time begins a new file with the first entry of an interval of the Clock [W30]", () =>
      Effect.gen(function*() {
        yield* TestClock.adjust("23 hours")
        const { close, file, log } = yield* open({ ...writeThrough, rotation: { interval: "1 day" } })
        yield* log("monday")
        yield* TestClock.adjust("59 minutes")
        yield* log("monday night")
        assert.deepStrictEqual(yield* arrived(file, 2), ["monday", "monday night"])
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(linesOf(file), ["monday", "monday night"])
        yield* log("tuesday")
        while (linesOf(file)[0] !== "tuesday") yield* turn
        yield* TestClock.adjust("5 days")
        yield* log("sunday")
        while (linesOf(file)[0] !== "sunday") yield* turn
        yield* close
        assert.deepStrictEqual([`${file}.1`, `${file}.2`, `${file}.3`].map(linesOf), [
          ["tuesday"],
          ["monday", "monday night"],
          []
        ])
      }))

    it.effect("by time counts a file from its first entry, not from its opening", () =>
      Effect.gen(function*() {
        const { close, file, log } = yield* open({ ...writeThrough, rotation: { interval: "1 day" } })
        yield* TestClock.adjust("1 day")
        yield* log("one")
        yield* log("two")
        assert.deepStrictEqual(yield* arrived(file, 2), ["one", "two"])
        yield* close
        assert.deepStrictEqual(fs.readdirSync(path.dirname(file)), ["app.log"])
      }))

    it.effect("by time sets a file aside that an earlier run has left", () =>
      Effect.gen(function*() {
        const file = path.join(yield* folder, "app.log")
        fs.writeFileSync(file, "old\n")
        fs.utimesSync(file, 3600, 3600)
        yield* TestClock.adjust("2 days")
        const { close, log } = yield* open({ path: file, rotation: { interval: "1 day" } })
        yield* log("new")
        yield* close
        assert.deepStrictEqual([file, `${file}.1`].map(linesOf), [["new"], ["old"]])
      }))

    it.effect("that fails goes on in the same file, says so once, and succeeds later", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const { close, file, log } = yield* open({ ...writeThrough, rotation: { maxBytes: 1 } })
        // A folder that is not empty cannot be replaced by a file.
        fs.mkdirSync(path.join(`${file}.1`, "inner"), { recursive: true })
        fs.mkdirSync(path.join(`${file}.2`, "inner"), { recursive: true })
        for (let index = 3; index <= 7; index++) {
          fs.mkdirSync(path.join(`${file}.${index}`, "inner"), { recursive: true })
        }
        for (const [index, line] of ["one", "two", "three"].entries()) {
          yield* log(line)
          yield* arrived(file, index + 1)
        }
        assert.deepStrictEqual(linesOf(file), ["one", "two", "three"])
        assert.deepStrictEqual(lines.map(({ level, message }) => `${level} ${message.split(";")[0]}`), [
          `Warn The log ${file} cannot be rotated`
        ])
        for (let index = 1; index <= 7; index++) fs.rmSync(`${file}.${index}`, { recursive: true })
        yield* log("four")
        while (linesOf(file)[0] !== "four") yield* turn
        assert.deepStrictEqual(linesOf(`${file}.1`), ["one", "two", "three"])
        yield* close
        assert.lengthOf(lines, 1)
      }).pipe(Effect.provide(layer))
    })

    for (
      const [rotation, message] of [
        [{ maxBytes: 0 }, "rotation.maxBytes of a log file must be at least 1, not 0"],
        [{ maxBytes: NaN }, "rotation.maxBytes of a log file must be at least 1, not NaN"],
        [{ maxFiles: 1.5 }, "rotation.maxFiles of a log file must be a whole number of at least 1, not 1.5"],
        [{ interval: 0 }, "rotation.interval of a log file must be more than 0, not 0"]
      ] as const
    ) {
      it.effect(`refuses ${JSON.stringify(rotation)} by name, before it opens the file`, () =>
        Effect.gen(function*() {
          const file = path.join(yield* folder, "app.log")
          const error = yield* Effect.flip(Effect.scoped(LoggerFile.make({ path: file, rotation })))
          assert.strictEqual(error.message, message)
          assert.strictEqual(error.reason._tag, "InvalidOption")
          assert.isFalse(fs.existsSync(file))
        }))
    }
  })

  it.effect("keeps entries while the folder is gone, and tells the loggers around it, never itself", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const inner = path.join(yield* folder, "logs")
      fs.mkdirSync(inner)
      const { close, file, log, logged } = yield* open({ path: path.join(inner, "app.log"), flushInterval: "1 second" })
      fs.rmSync(inner, { recursive: true })
      yield* logged(Effect.logError("one"))
      while (lines.length === 0) yield* turn
      for (let n = 0; n < 5; n++) yield* logged(Effect.logError("again"))
      yield* log("two")
      fs.mkdirSync(inner)
      yield* TestClock.adjust("1 second")
      yield* arrived(file, 7)
      yield* close
      assert.deepStrictEqual(linesOf(file), ["one", ...Array.from({ length: 5 }, () => "again"), "two"])
      assert.deepStrictEqual(lines.map(({ level, message }) => `${level} ${message.split(";")[0]!.split(",")[0]}`), [
        `Error The log ${file} cannot be written`,
        `Info The log ${file} is written again`
      ])
    }).pipe(Effect.provide(layer))
  })

  it.effect("stands beside other loggers, and closes with them", () => {
    const { lines, layer } = capture()
    return Effect.gen(function*() {
      const file = path.join(yield* folder, "app.log")
      const both = Logger.layer([LoggerFile.make({ path: file, format: plain })], { mergeWithExisting: true })
      yield* Effect.provide(Effect.logInfo("told twice"), both)
      assert.deepStrictEqual(linesOf(file), ["told twice"])
      assert.deepStrictEqual(lines.map(({ message }) => message), ["told twice"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("creates the file readable for its group at most, appends, and names the path that it cannot open", () =>
    Effect.gen(function*() {
      const { close, file, log } = yield* open()
      assert.strictEqual(fs.statSync(file).mode & 0o777, 0o640 & ~process.umask())
      yield* log("one")
      yield* close
      const again = yield* open({ path: file })
      yield* again.log("two")
      yield* again.close
      assert.deepStrictEqual(linesOf(file), ["one", "two"])
      const error = yield* Effect.flip(Layer.build(LoggerFile.layer({ path: path.join(file, "app.log") })))
      assert.strictEqual(error.reason._tag, "OpenFailed")
      assert.include(error.message, path.join(file, "app.log"))
    }))

  it.live("has everything that a program said before SIGTERM, and while it stopped", () =>
    Effect.gen(function*() {
      const file = path.join(yield* folder, "app.log")
      const program = yield* start(`
        import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
        import * as Effect from "effect/Effect"
        import * as Layer from "effect/Layer"
        import * as LoggerFile from "./layers/LoggerFile.ts"
        const service = Layer.effectDiscard(Effect.gen(function*() {
          yield* Effect.acquireRelease(Effect.logInfo("started"), () => Effect.logInfo("stopped"))
          yield* Effect.sync(() => process.stdout.write("ready"))
        }))
        const log = LoggerFile.layer({ path: ${JSON.stringify(file)}, flushInterval: "1 hour" })
        service.pipe(Layer.provide(log), Layer.launch, NodeRuntime.runMain)
      `)
      yield* program.prints(/ready/)
      assert.deepStrictEqual(linesOf(file), [])
      yield* program.signal("SIGTERM")
      yield* program.exits
      assert.deepStrictEqual(linesOf(file).map((line) => JSON.parse(line).message), ["started", "stopped"])
    }))

  it.effect("is configured", () =>
    Effect.gen(function*() {
      const file = path.join(yield* folder, "app.log")
      const layer = LoggerFile.layerConfig({
        path: Config.String("LOG_FILE"),
        rotation: { maxBytes: Config.Int("LOG_BYTES") }
      })
      const provider = ConfigProvider.layer(ConfigProvider.fromUnknown({ LOG_FILE: file, LOG_BYTES: 1000 }))
      yield* Effect.provide(Effect.logInfo("configured"), Layer.provide(layer, provider))
      assert.strictEqual(JSON.parse(linesOf(file)[0]!).message, "configured")
    }))
})
