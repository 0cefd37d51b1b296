/**
 * SIGUSR2: the program gives way to another one of itself, on the same sockets. Needs SupervisorUpgrade and
 * SupervisorSignals wired into the command line.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { folder, run, start } from "./utils/commandLine.ts"
import { isAlive } from "./utils/processes.ts"
import { until } from "./utils/sockets.ts"
import { ask, exitOf, pidsOf, serving, signal, source, successorOf } from "./utils/workers.ts"

/** Waits to be loaded until a file is there, unless another one is. */
const slowStart = `
import * as files from "node:fs"
while (files.existsSync("slow") && !files.existsSync("go")) await new Promise((resolve) => setImmediate(resolve))
${source}`

/** Nobody's a moment ago. */
const freePort = Effect.callback<number>((resume) => {
  const server = net.createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as net.AddressInfo
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** How many unix sockets a process listens on. */
const unixListeners = (pid: number): number => {
  const held = new Set(
    fs.readdirSync(`/proc/${pid}/fd`).map((name) => {
      try {
        return fs.readlinkSync(`/proc/${pid}/fd/${name}`)
      } catch {
        return ""
      }
    })
  )
  return fs.readFileSync("/proc/net/unix", "utf8").split("\n")
    .map((row) => row.trim().split(/\s+/))
    .filter(([, , , flags, , , inode]) => flags === "00010000" && held.has(`socket:[${inode}]`)).length
}

describe("workers, on SIGUSR2", { timeout: 60_000 }, () => {
  it.live("are those of a successor, and the old ones answer what they have, then end with 0 [C151]", () =>
    Effect.gen(function*() {
      const { cwd, program, url } = yield* serving()
      const before = [...(yield* pidsOf(url, 2)).values()]
      const slow = yield* Effect.forkChild(ask(`${url}/slow`), { startImmediately: true })
      yield* until(() => fs.existsSync(path.join(cwd, "begun")))
      yield* signal(program, "SIGUSR2")
      const successor = yield* successorOf(program)
      yield* program.waitFor("stderr", /Upgraded: the successor \(\d+\) serves, and this process ends/)
      const after = [...(yield* pidsOf(url, 2)).values()]
      // Connections that the old ones had accepted already may still be theirs, none later.
      assert.isTrue(after.some((pid) => !before.includes(pid)))
      fs.writeFileSync(path.join(cwd, "go"), "")
      assert.include(before, (yield* Fiber.join(slow))!.pid)
      assert.strictEqual(yield* exitOf(program), 0)
      yield* until(() => !before.some(isAlive))
      assert.isTrue(isAlive(successor))
      for (const pid of (yield* pidsOf(url, 2)).values()) assert.notInclude(before, pid)
      process.kill(successor, "SIGTERM")
      yield* until(() => !isAlive(successor))
      assert.isUndefined(yield* ask(url))
    }))

  it.live("keep a unix socket through two successors, and its file goes with the last one [C151]", () =>
    Effect.gen(function*() {
      const { cwd, program } = yield* serving(["--unix", "app.sock"])
      const socketPath = path.join(cwd, "app.sock")
      const { ino } = fs.statSync(socketPath)
      yield* signal(program, "SIGUSR2")
      const first = yield* successorOf(program)
      assert.strictEqual(yield* exitOf(program), 0)
      process.kill(first, "SIGUSR2")
      const second = yield* successorOf(program, 2)
      yield* until(() => !isAlive(first))
      assert.strictEqual(fs.statSync(socketPath).ino, ino)
      assert.isDefined(yield* ask({ socketPath, path: "/" }))
      process.kill(second, "SIGTERM")
      yield* until(() => !isAlive(second))
      assert.isFalse(fs.existsSync(socketPath))
    }))

  it.live("go on where the successor cannot start, and it may be tried again [C151]", () =>
    Effect.gen(function*() {
      const { cwd, program } = yield* serving(["--unix", "app.sock"])
      const socketPath = path.join(cwd, "app.sock")
      const before = yield* ask({ socketPath, path: "/" })
      fs.writeFileSync(path.join(cwd, "app.mjs"), "throw new Error('out of tea')")
      yield* signal(program, "SIGUSR2")
      yield* successorOf(program)
      yield* program.waitFor(
        "stderr",
        /Not upgraded, all goes on as it was: the successor \(\d+\) did not start: exit code 3/
      )
      assert.strictEqual(program.child.exitCode, null)
      assert.isDefined(before)
      assert.isDefined(yield* ask({ socketPath, path: "/" }))
      fs.writeFileSync(path.join(cwd, "app.mjs"), source)
      yield* signal(program, "SIGUSR2")
      yield* successorOf(program, 2)
      assert.strictEqual(yield* exitOf(program), 0)
      assert.isDefined(yield* ask({ socketPath, path: "/" }))
    }))

  it.live("refuse a second one meanwhile, and go on when the first one is killed [C151]", () =>
    Effect.gen(function*() {
      const { cwd, program, url } = yield* serving([], { "app.mjs": slowStart })
      const before = yield* pidsOf(url, 2)
      fs.writeFileSync(path.join(cwd, "slow"), "")
      yield* signal(program, "SIGUSR2")
      const successor = yield* successorOf(program)
      yield* signal(program, "SIGUSR2")
      yield* program.waitFor("stderr", /Not upgraded: an upgrade is under way already/)
      process.kill(successor, "SIGKILL")
      yield* program.waitFor("stderr", /the successor \(\d+\) did not start: SIGKILL/)
      assert.deepStrictEqual(yield* pidsOf(url, 2), before)
    }))

  it.live("end with their successor when they are told to stop meanwhile", () =>
    Effect.gen(function*() {
      const { cwd, program, url } = yield* serving([], { "app.mjs": slowStart })
      fs.writeFileSync(path.join(cwd, "slow"), "")
      yield* signal(program, "SIGUSR2")
      const successor = yield* successorOf(program)
      yield* signal(program, "SIGTERM")
      assert.strictEqual(yield* exitOf(program), 0)
      yield* until(() => !isAlive(successor))
      assert.isUndefined(yield* ask(url))
    }))

  it.live("keep their address where the successor has left it and then cannot start, and lose it where it can [C151]", () =>
    Effect.gen(function*() {
      const config = (name: string) => JSON.stringify({ workers: 2, unix: name })
      const { cwd, program } = yield* serving(["--config", "app.json"], { "app.json": config("a.sock") })
      const at = (name: string) => ask({ socketPath: path.join(cwd, name), path: "/" })
      fs.writeFileSync(path.join(cwd, "app.json"), config("b.sock"))
      fs.writeFileSync(path.join(cwd, "app.mjs"), "throw new Error('out of tea')")
      yield* signal(program, "SIGUSR2")
      yield* successorOf(program)
      yield* program.waitFor("stderr", /Not upgraded, all goes on as it was/)
      assert.isDefined(yield* at("a.sock"))
      assert.isFalse(fs.existsSync(path.join(cwd, "b.sock")))
      fs.writeFileSync(path.join(cwd, "app.mjs"), source)
      yield* signal(program, "SIGUSR2")
      yield* successorOf(program, 2)
      assert.strictEqual(yield* exitOf(program), 0)
      assert.isDefined(yield* at("b.sock"))
      assert.isFalse(fs.existsSync(path.join(cwd, "a.sock")))
    }))

  it.live.skipIf(process.platform !== "linux")(
    "hand over the control socket and the admin port, each listened on once [C151]",
    () =>
      Effect.gen(function*() {
        const free = yield* freePort
        const args = ["--control-socket", "app.ctl", "--admin-listen", `127.0.0.1:${free}`, "--pid-file", "app.pid"]
        const { cwd, program } = yield* serving(args)
        let pid = program.child.pid!
        for (const nth of [1, 2, 3]) {
          process.kill(pid, "SIGUSR2")
          const successor = yield* successorOf(program, nth)
          yield* until(() => !isAlive(pid))
          yield* until(() => program.stderr.split("Admin endpoints on ").length === nth + 2)
          assert.strictEqual(fs.readFileSync(path.join(cwd, "app.pid"), "utf8"), `${successor}\n`)
          pid = successor
          yield* until(() => fs.existsSync(path.join(cwd, "app.ctl")))
          assert.strictEqual(unixListeners(successor), 1)
          assert.strictEqual((yield* Effect.promise(() => fetch(`http://127.0.0.1:${free}/live`))).status, 200)
        }
        process.kill(pid, "SIGTERM")
        yield* until(() => !isAlive(pid))
        assert.deepStrictEqual(["app.ctl", "app.pid"].filter((name) => fs.existsSync(path.join(cwd, name))), [])
      })
  )

  it.live("take a restart that was asked for meanwhile along, at a terminal too [C151]", () =>
    Effect.gen(function*() {
      const cwd = yield* folder({
        "app.mjs": slowStart,
        "terminal.mjs": "process.stderr.isTTY = true"
      })
      const args = [
        "--workers",
        "2",
        "--port",
        "0",
        "--env",
        "development",
        "--log-format",
        "text",
        "--access-log",
        "none"
      ]
      const program = yield* start(["app.mjs", ...args, "--control-socket", "app.ctl"], {
        cwd,
        env: { NODE_OPTIONS: "--import ./terminal.mjs" }
      })
      const url = yield* program.ready
      fs.writeFileSync(path.join(cwd, "slow"), "")
      yield* signal(program, "SIGUSR2")
      const successor = yield* successorOf(program)
      yield* Effect.forkChild(run(["ctl", "reload", "--socket", "app.ctl"], { cwd }))
      yield* program.waitFor("stderr", /Told by the control socket: reload/)
      fs.writeFileSync(path.join(cwd, "go"), "")
      assert.strictEqual(yield* exitOf(program), 0)
      yield* until(() => !isAlive(successor) || /Restarted 2 workers/.test(program.stderr))
      assert.isTrue(isAlive(successor))
      assert.isDefined(yield* ask(url))
    }))

  it.live("may be one where the configuration says so by then [C151]", () =>
    Effect.gen(function*() {
      const config = (workers: number) => JSON.stringify({ workers, unix: "app.sock" })
      const { cwd, program } = yield* serving(["--config", "app.json"], { "app.json": config(2) })
      fs.writeFileSync(path.join(cwd, "app.json"), config(1))
      yield* signal(program, "SIGUSR2")
      const successor = yield* successorOf(program)
      assert.strictEqual(yield* exitOf(program), 0)
      const told = yield* ask({ socketPath: path.join(cwd, "app.sock"), path: "/" })
      assert.strictEqual(told!.number, "1")
      assert.notStrictEqual(told!.pid, successor)
    }))

  it.live("become those of the release that a link leads to by then [C151]", () =>
    Effect.gen(function*() {
      const release = (name: string) => `
        import * as Effect from "effect/Effect"
        export default ({ send, type }) => type !== "http" ? Effect.void : Effect.andThen(
          send({ type: "http.response.start", status: 200, headers: [] }),
          send({ type: "http.response.body", body: JSON.stringify({ pid: process.pid, number: "${name}" }) })
        )`
      const cwd = yield* folder({})
      for (const name of ["one", "two"]) {
        fs.mkdirSync(path.join(cwd, name))
        fs.writeFileSync(path.join(cwd, name, "app.mjs"), release(name))
      }
      const current = path.join(cwd, "current")
      fs.symlinkSync("one", current)
      const args = ["app.mjs", "--workers", "2", "--env", "production", "--access-log", "none", "--port", "0"]
      const program = yield* start(args, { cwd: current, env: { PWD: current } })
      const url = yield* program.ready
      assert.strictEqual((yield* ask(url))!.number, "one")
      fs.unlinkSync(current)
      fs.symlinkSync("two", current)
      yield* signal(program, "SIGUSR2")
      yield* successorOf(program)
      assert.strictEqual(yield* exitOf(program), 0)
      assert.strictEqual((yield* ask(url))!.number, "two")
    }))
})
