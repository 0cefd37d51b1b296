import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as PidFile from "../../../layers/internal/PidFile.ts"
import * as Program from "../../utils/program.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-pid-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

const place = Effect.map(folder, (path) => Path.join(path, "slipway.pid"))

const read = (path: string) => Fs.readFileSync(path, "utf8")

/** A pid that no process has any more. */
const deadPid = Effect.promise<number>(() =>
  new Promise((resolve) => {
    const child = spawn("true")
    child.once("exit", () => resolve(child.pid!))
  })
)

/** Holds the file until told to let go. */
const hold = Effect.fnUntraced(function*(options: PidFile.Options) {
  const scope = yield* Scope.make()
  yield* Scope.provide(PidFile.hold(options), scope)
  return Scope.close(scope, Exit.void)
})

const refusal = (options: PidFile.Options) => Effect.flip(Effect.scoped(PidFile.hold(options)))

describe("PidFile", () => {
  it.effect("says the pid, is readable by all, and goes with the scope [C154]", () =>
    Effect.gen(function*() {
      const path = yield* place
      const release = yield* hold({ path })
      assert.strictEqual(read(path), `${process.pid}\n`)
      assert.strictEqual(Fs.statSync(path).mode & 0o444, 0o444)
      assert.deepStrictEqual(Fs.readdirSync(Path.dirname(path)), ["slipway.pid"])
      yield* release
      assert.isFalse(Fs.existsSync(path))
    }))

  it.live("is not taken from a process that is alive, which the message names [C154]", () =>
    Effect.gen(function*() {
      const path = yield* place
      const holder = yield* Program.start("setInterval(() => {}, 1000); console.log('pid ' + process.pid)")
      const pid = Number((yield* holder.prints(/pid (\d+)/))[1])
      Fs.writeFileSync(path, `${pid}\n`)
      const error = yield* refusal({ path })
      assert.deepStrictEqual({ ...error.reason, command: "" }, { _tag: "PidFileHeld", path, pid, command: "" })
      assert.include(error.message, `Process ${pid}`)
      assert.include(error.message, path)
      if (process.platform === "linux") assert.match(error.message, /\(node \S+program\.mjs\)/)
      assert.strictEqual(read(path), `${pid}\n`)
    }))

  it.effect("replaces the file of a process that is gone, and one that holds nothing [C154]", () =>
    Effect.gen(function*() {
      const path = yield* place
      for (const left of [`${yield* deadPid}\n`, "", "\n"]) {
        Fs.writeFileSync(path, left)
        const release = yield* hold({ path })
        assert.strictEqual(read(path), `${process.pid}\n`)
        yield* release
      }
    }))

  it.effect("replaces a file with our own pid, which came back in a container", () =>
    Effect.gen(function*() {
      const path = yield* place
      Fs.writeFileSync(path, "7\n")
      const release = yield* hold({ path, pid: 7, isAlive: () => true })
      assert.strictEqual(read(path), "7\n")
      yield* release
    }))

  it.effect("replaces the file of a pid that came back to a process which began after it was written", () =>
    Effect.gen(function*() {
      const path = yield* place
      const procRoot = yield* folder
      Fs.writeFileSync(path, "4711\n")
      const written = 1_700_000_000
      Fs.utimesSync(path, written, written)
      Fs.mkdirSync(Path.join(procRoot, "4711"))
      Fs.writeFileSync(Path.join(procRoot, "4711/cmdline"), "/usr/bin/other\0--password=x\0")
      Fs.writeFileSync(Path.join(procRoot, "stat"), `cpu 1 2\nbtime ${written - 1000}\n`)
      const beganAfterBoot = (seconds: number) =>
        Fs.writeFileSync(
          Path.join(procRoot, "4711/stat"),
          `4711 (a ) b) S ${Array.from({ length: 18 }, () => "0").join(" ")} ${seconds * 100} 0\n`
        )
      const options = { path, procRoot, isAlive: () => true }
      beganAfterBoot(990)
      const error = yield* refusal(options)
      assert.strictEqual(
        error.message,
        `Process 4711 (other) holds the pid file ${path}: stop it, or choose another pidFile`
      )
      beganAfterBoot(1010)
      const release = yield* hold(options)
      assert.strictEqual(read(path), `${process.pid}\n`)
      yield* release
    }))

  it.effect("is taken over by a successor, and the predecessor leaves it alone", () =>
    Effect.gen(function*() {
      const path = yield* place
      const isAlive = () => true
      const releaseOld = yield* hold({ path, pid: 100, isAlive })
      const procRoot = "/nowhere"
      assert.strictEqual((yield* refusal({ path, pid: 200, isAlive, procRoot })).reason._tag, "PidFileHeld")
      const releaseNew = yield* hold({ path, pid: 200, predecessor: 100, isAlive })
      assert.strictEqual(read(path), "200\n")
      yield* releaseOld
      assert.strictEqual(read(path), "200\n")
      yield* releaseNew
      assert.isFalse(Fs.existsSync(path))
    }))

  it.effect("leaves what is no pid file as it is", () =>
    Effect.gen(function*() {
      const path = yield* place
      Fs.writeFileSync(path, "port = 5000\n")
      const error = yield* refusal({ path })
      assert.strictEqual(error.reason._tag, "PidFileUnusable")
      assert.include(error.message, `Cannot use the pid file ${path}: there is something that is no pid file`)
      assert.strictEqual(read(path), "port = 5000\n")
      assert.strictEqual((yield* refusal({ path: Path.dirname(path) })).reason._tag, "PidFileUnusable")
    }))

  it.effect("replaces a link and does not write to where it points", () =>
    Effect.gen(function*() {
      const path = yield* place
      const target = `${path}.target`
      Fs.writeFileSync(target, "")
      Fs.symlinkSync(target, path)
      const release = yield* hold({ path })
      assert.strictEqual(read(target), "")
      assert.isTrue(Fs.lstatSync(path).isFile())
      yield* release
    }))

  it.effect("says which folder is missing", () =>
    Effect.gen(function*() {
      const path = Path.join(yield* folder, "no", "slipway.pid")
      const error = yield* refusal({ path })
      assert.strictEqual(error.message, `Cannot use the pid file ${path}: ENOENT: no such file or directory`)
    }))
})
