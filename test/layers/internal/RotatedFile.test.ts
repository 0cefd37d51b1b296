import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/testing/TestClock"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { RotatedFile, type Rotation } from "../../../layers/internal/RotatedFile.ts"
import { start } from "../../utils/program.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "slipway-rotated-"))),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true }))
)

const open = Effect.fnUntraced(function*(file: string, rotation: Rotation = {}) {
  const rotated = new RotatedFile(file, rotation)
  yield* Effect.acquireRelease(rotated.open, () => rotated.close)
  return { reopen: rotated.open, log: (line: string) => rotated.write(Buffer.from(`${line}\n`)) }
})

/** Writes as fast as it can, from when both are there, so that both come to rotate at the same time. */
const writer = (name: string, file: string, lines: number) => `
  import * as Effect from "effect/Effect"
  import * as fs from "node:fs"
  import { RotatedFile } from "./layers/internal/RotatedFile.ts"
  const file = new RotatedFile(${JSON.stringify(file)}, { maxBytes: 500, maxFiles: 10_000 })
  Effect.runSync(file.open)
  console.log("ready")
  while (!fs.existsSync(${JSON.stringify(`${file}.go`)})) {}
  for (let n = 0; n < ${lines}; n++) Effect.runSync(file.write(Buffer.from("${name}" + n + "\\n")))
  console.log("done")
`

const textOf = (file: string): string => fs.readFileSync(file, "utf8")

describe("RotatedFile", () => {
  it.effect.skipIf(process.geteuid?.() !== 0)(
    "stays with those whom root has given it to, when it is rotated",
    () =>
      Effect.gen(function*() {
        const file = path.join(yield* folder, "app.log")
        const { log } = yield* open(file, { maxBytes: 5 })
        yield* log("one")
        fs.chownSync(file, 65534, 65534)
        yield* log("two")
        assert.deepStrictEqual([file, `${file}.1`].map(textOf), ["two\n", "one\n"])
        const { gid, uid } = fs.statSync(file)
        assert.deepStrictEqual([uid, gid], [65534, 65534])
      })
  )

  it.effect("is opened anew on demand when it was renamed, and only then [W30]", () =>
    Effect.gen(function*() {
      const file = path.join(yield* folder, "app.log")
      const { log, reopen } = yield* open(file)
      yield* log("one")
      const before = fs.statSync(file).ino
      yield* reopen
      assert.strictEqual(fs.statSync(file).ino, before)
      fs.renameSync(file, `${file}-old`)
      yield* reopen
      assert.strictEqual(textOf(file), "")
      yield* log("two")
      assert.deepStrictEqual([file, `${file}-old`].map(textOf), ["two\n", "one\n"])
    }))

  it.effect("fails to be opened anew without its folder, and writes again when it is back", () =>
    Effect.gen(function*() {
      const inner = path.join(yield* folder, "logs")
      fs.mkdirSync(inner)
      const file = path.join(inner, "app.log")
      const { log, reopen } = yield* open(file)
      fs.rmSync(inner, { recursive: true })
      assert.include(String(yield* Effect.flip(reopen)), "ENOENT")
      fs.mkdirSync(inner)
      yield* log("one")
      assert.strictEqual(textOf(file), "one\n")
    }))

  it.effect("goes on in the renamed file while the path cannot be opened, says so after 10 seconds, and comes back", () =>
    Effect.gen(function*() {
      const file = path.join(yield* folder, "app.log")
      const { log } = yield* open(file)
      yield* log("one")
      fs.renameSync(file, `${file}-old`)
      // As while the new file belongs to somebody else yet, which root does not notice.
      fs.mkdirSync(file)
      const warnings: Array<unknown> = []
      const heard = Logger.layer([Logger.make(({ message }) => void warnings.push(message))])
      for (const line of ["two", "three"]) {
        yield* Effect.provide(log(line), heard)
        yield* TestClock.adjust("9999 millis")
      }
      assert.lengthOf(warnings, 0)
      for (const line of ["four", "five"]) yield* Effect.provide(log(line), heard)
      assert.lengthOf(warnings, 1)
      assert.include(String(warnings[0]), `The log ${file} cannot be opened anew; it goes on in the file that is open`)
      fs.rmdirSync(file)
      yield* log("six")
      assert.deepStrictEqual([file, `${file}-old`].map(textOf), ["six\n", "one\ntwo\nthree\nfour\nfive\n"])
    }))

  it.effect("goes on in the file that is open while nobody can look at its path, and counts its silence anew", () =>
    Effect.gen(function*() {
      const inner = path.join(yield* folder, "logs")
      fs.mkdirSync(inner)
      const file = path.join(inner, "app.log")
      const { log } = yield* open(file)
      const warnings: Array<unknown> = []
      const heard = Logger.layer([Logger.make(({ message }) => void warnings.push(message))])
      for (const line of ["one", "two"]) {
        // As in a folder that only root may enter, for a process that is root no more: to look at it fails otherwise than to miss it.
        fs.renameSync(inner, `${inner}-away`)
        fs.symlinkSync("logs", inner)
        yield* Effect.provide(log(line), heard)
        fs.rmSync(inner)
        fs.renameSync(`${inner}-away`, inner)
        yield* log("back")
        yield* TestClock.adjust("1 minute")
      }
      assert.lengthOf(warnings, 0)
      assert.strictEqual(textOf(file), "one\nback\ntwo\nback\n")
    }))

  describe("of two writers", () => {
    it.effect("is rotated by one, and the other follows", () =>
      Effect.gen(function*() {
        const file = path.join(yield* folder, "app.log")
        const [a, b] = [yield* open(file, { maxBytes: 4 }), yield* open(file, { maxBytes: 4 })]
        yield* a.log("a1")
        yield* b.log("b1")
        yield* a.log("a2")
        assert.deepStrictEqual([file, `${file}.1`, `${file}.2`].map(textOf), ["a2\n", "b1\n", "a1\n"])
      }))

    it.effect("is rotated once at the end of an interval, whoever has written last", () =>
      Effect.gen(function*() {
        const file = path.join(yield* folder, "app.log")
        const rotation = { interval: "1 day" } as const
        const [a, b] = [yield* open(file, rotation), yield* open(file, rotation)]
        const write = Effect.fnUntraced(function*(writer: typeof a, line: string) {
          yield* writer.log(line)
          // The file system has a clock of its own.
          const seconds = (yield* Clock.currentTimeMillis) / 1000
          fs.utimesSync(file, seconds, seconds)
        })
        yield* TestClock.adjust("36 hours")
        yield* write(a, "a1")
        yield* write(b, "b1")
        yield* TestClock.adjust("1 day")
        yield* write(b, "b2")
        yield* write(a, "a2")
        yield* TestClock.adjust("1 day")
        yield* write(b, "b3")
        yield* write(a, "a3")
        assert.deepStrictEqual([file, `${file}.1`, `${file}.2`].map(textOf), ["b3\na3\n", "b2\na2\n", "a1\nb1\n"])
        assert.lengthOf(fs.readdirSync(path.dirname(file)), 3)
      }))

    it.effect("goes on while somebody else is at it, and does not wait for ever for one that was killed", () =>
      Effect.gen(function*() {
        const file = path.join(yield* folder, "app.log")
        const { log } = yield* open(file, { maxBytes: 1 })
        yield* log("one")
        fs.writeFileSync(`${file}.lock`, "")
        yield* TestClock.setTime(fs.statSync(`${file}.lock`).mtimeMs)
        yield* TestClock.adjust("10 seconds")
        yield* log("two")
        assert.isTrue(fs.existsSync(`${file}.lock`))
        yield* TestClock.adjust("1 second")
        yield* log("three")
        assert.strictEqual(textOf(file), "one\ntwo\nthree\n")
        yield* log("four")
        assert.deepStrictEqual([file, `${file}.1`].map(textOf), ["four\n", "one\ntwo\nthree\n"])
        assert.isFalse(fs.existsSync(`${file}.lock`))
      }))

    it.live("in processes of their own loses no line and repeats none [W30]", () =>
      Effect.gen(function*() {
        const root = yield* folder
        const file = path.join(root, "app.log")
        const lines = 1500
        const writers = [yield* start(writer("a", file, lines)), yield* start(writer("b", file, lines))]
        for (const { prints } of writers) yield* prints(/ready/)
        fs.writeFileSync(`${file}.go`, "")
        for (const { exits, prints } of writers) {
          yield* prints(/done/)
          assert.strictEqual(yield* exits, 0)
        }
        fs.rmSync(`${file}.go`)
        // No lock is left behind, and no number is left out.
        const files = fs.readdirSync(root)
        const numbers = Array.from({ length: files.length - 1 }, (_, index) => `app.log.${index + 1}`)
        assert.deepStrictEqual(files.sort(), ["app.log", ...numbers].sort())
        assert.isAbove(files.length, 10)
        const written = files.flatMap((name) => textOf(path.join(root, name)).split("\n").slice(0, -1))
        const expected = ["a", "b"].flatMap((name) => Array.from({ length: lines }, (_, n) => `${name}${n}`))
        assert.deepStrictEqual(written.sort(), expected.sort())
      }), 60_000)
  })
})
