/** The two logs of the command line program: where they go, what is in them, and files that are renamed and rotated. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { folder, run, start } from "./utils/commandLine.ts"
import { until } from "./utils/sockets.ts"
import { ask, signal, source } from "./utils/workers.ts"

const textOf = (file: string): string => fs.existsSync(file) ? fs.readFileSync(file, "utf8") : ""

/** A server on a unix socket, which needs no line of a log to be found. */
const served = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
  const cwd = yield* folder({ "app.mjs": source })
  const program = yield* start(["./app.mjs", "--unix", "app.sock", "--env", "production", ...args], { cwd })
  const socketPath = path.join(cwd, "app.sock")
  const answers = Effect.map(ask({ socketPath, path: "/" }), (told) => told !== undefined)
  while (!(yield* answers)) assert.isNull(program.child.exitCode, program.stderr)
  return { answers, cwd, program, socketPath, file: (name: string) => path.join(cwd, name) }
})

/** What a server refuses, and says so at level debug. */
const garbage = (socketPath: string) =>
  Effect.callback<void>((resume) => {
    const socket = net.connect(socketPath, () => socket.write("GARBAGE\r\n\r\n"))
    socket.resume().on("close", () => resume(Effect.void))
  })

const stopped = (program: Effect.Success<ReturnType<typeof start>>) =>
  Effect.andThen(signal(program, "SIGTERM"), program.exited)

describe("logs", { timeout: 60_000 }, () => {
  it.live("go to a file instead of standard error, and say there what could not be said before [C155]", () =>
    Effect.gen(function*() {
      const { file, program } = yield* served("--error-log", "app.log", "--access-log", "none")
      assert.strictEqual(yield* stopped(program), 0)
      assert.match(textOf(file("app.log")), /serving \.\/app\.mjs on/)
      assert.match(textOf(file("app.log")), /Stopping/)
      assert.strictEqual(program.stdout + program.stderr, "")
    }))

  it.live("have levels of their own for modules [C155]", () =>
    Effect.gen(function*() {
      const { program, socketPath } = yield* served("--log-level", "error", "--log-levels", "server=debug")
      yield* garbage(socketPath)
      yield* program.waitFor("stderr", /level=DEBUG .*Refused a request.* module=Server/)
      assert.notInclude(program.stderr, "serving")
    }))

  it.live("are quiet on demand: errors alone, and no access log that nobody has asked for [C155]", () =>
    Effect.gen(function*() {
      const { answers, program } = yield* served("--quiet")
      assert.isTrue(yield* answers)
      assert.strictEqual(yield* stopped(program), 0)
      assert.strictEqual(program.stdout + program.stderr, "")
    }))

  it.live("refuse a level that is none, and a file that cannot be opened, by name [C155]", () =>
    Effect.gen(function*() {
      const level = yield* run(["--log-levels", "Tls=loud"])
      assert.strictEqual(level.code, 2)
      assert.include(level.stderr, "Tls=loud")
      const file = yield* run(["--error-log", "/nowhere/app.log", "--port", "0"])
      assert.strictEqual(file.code, 1)
      assert.include(file.stderr, "/nowhere/app.log")
    }))

  for (const workers of ["1", "2"]) {
    it.live(`are opened anew on SIGUSR1, both of them, with workers ${workers} [C158]`, () =>
      Effect.gen(function*() {
        const logs = ["--access-log", "access.log", "--error-log", "app.log"]
        const { answers, cwd, file, program } = yield* served("--workers", workers, ...logs)
        for (const name of ["access.log", "app.log"]) fs.renameSync(file(name), file(`${name}.old`))
        yield* signal(program, "SIGUSR1")
        yield* until(() => fs.existsSync(file("access.log")) && fs.existsSync(file("app.log")))
        assert.isTrue(yield* answers)
        assert.strictEqual(yield* stopped(program), 0)
        assert.isNotEmpty(textOf(file("access.log")))
        assert.include(textOf(file("app.log")), "Opened the log files anew")
        assert.lengthOf(fs.readdirSync(cwd).filter((name) => name.includes(".log")), 4)
      }))
  }

  it.live("are rotated by workers that share them, and no line is lost [W30]", () =>
    Effect.gen(function*() {
      const format = ["--access-log", "access.log", "--access-log-format", "%m %U"]
      const rotation = ["--log-rotate-bytes", "100", "--log-rotate-keep", "1000"]
      const { answers, cwd, file, program } = yield* served("--workers", "2", ...format, ...rotation)
      for (let n = 0; n < 300; n++) assert.isTrue(yield* answers)
      assert.strictEqual(yield* stopped(program), 0)
      const files = fs.readdirSync(cwd).filter((name) => name.startsWith("access.log"))
      assert.isAbove(files.length, 1)
      const lines = files.flatMap((name) => textOf(file(name)).split("\n").slice(0, -1))
      assert.isAtLeast(lines.length, 300)
      for (const line of lines) assert.strictEqual(line, "GET /")
    }))
})
