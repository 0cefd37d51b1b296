/**
 * What operators ask of running workers besides a stop: a configuration that has changed, log files, an end at once;
 * and where workers run: as process 1, on ports of their own. Needs SupervisorSignals, and `reread` and SharedPorts
 * wired.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFileSync, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { folder, root, run } from "./utils/commandLine.ts"
import { isAlive } from "./utils/processes.ts"
import { until } from "./utils/sockets.ts"
import { ask, exitOf, pidsOf, serving, signal, source } from "./utils/workers.ts"

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
const hasReusePort = major > 22 || (major === 22 && minor >= 12)

const canUnshare = (() => {
  try {
    execFileSync("unshare", ["--pid", "--fork", "--mount-proc", "true"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
})()

describe("workers", { timeout: 60_000 }, () => {
  it.live("are as many, and listen where the configuration says after SIGHUP [C149]", () =>
    Effect.gen(function*() {
      const config = (workers: number, ...listen: ReadonlyArray<string>) =>
        JSON.stringify({ workers, listen: ["./a.sock", ...listen] })
      const { cwd, program } = yield* serving(["--config", "app.json"], {
        "app.json": config(2)
      })
      const at = (name: string) => ask({ socketPath: path.join(cwd, name), path: "/" })
      assert.isDefined(yield* at("a.sock"))
      fs.writeFileSync(path.join(cwd, "app.json"), config(3, "./b.sock"))
      yield* signal(program, "SIGHUP")
      yield* program.waitFor("stderr", /Restarted 3 workers/)
      assert.isDefined(yield* at("b.sock"))
      const numbers = new Set<string>()
      while (numbers.size < 3) numbers.add((yield* at("a.sock"))!.number)

      fs.writeFileSync(path.join(cwd, "app.json"), config(2))
      yield* signal(program, "SIGHUP")
      yield* program.waitFor("stderr", /Restarted 2 workers/)
      yield* until(() => !fs.existsSync(path.join(cwd, "b.sock")))
      assert.isDefined(yield* at("a.sock"))
    }))

  it.live("stay as they are when the configuration cannot be used on SIGHUP [C149]", () =>
    Effect.gen(function*() {
      const { cwd, program } = yield* serving(["--config", "app.json"], {
        "app.json": `{ "workers": 2, "unix": "app.sock" }`
      })
      const socketPath = path.join(cwd, "app.sock")
      const before = yield* ask({ socketPath, path: "/" })
      fs.writeFileSync(path.join(cwd, "app.json"), `{ "workers": "many" }`)
      yield* signal(program, "SIGHUP")
      yield* program.waitFor("stderr", /Not restarted, all goes on as it was\. workers in app\.json is .*many/)
      assert.isTrue(isAlive(before!.pid))
      assert.isDefined(yield* ask({ socketPath, path: "/" }))
    }))

  it.live("open their log files anew on SIGUSR1, and are the same as before", () =>
    Effect.gen(function*() {
      const { cwd, program, url } = yield* serving(["--access-log", "access.log"])
      const before = yield* pidsOf(url, 2)
      fs.renameSync(path.join(cwd, "access.log"), path.join(cwd, "access.log.1"))
      yield* signal(program, "SIGUSR1")
      yield* program.waitFor("stderr", /Opened the log files anew/)
      assert.deepStrictEqual(yield* pidsOf(url, 2), before)
      yield* signal(program, "SIGTERM")
      assert.strictEqual(yield* program.exited, 0)
      assert.include(fs.readFileSync(path.join(cwd, "access.log"), "utf8"), "GET /")
    }))

  it.live("end at once on SIGQUIT, with code 1", () =>
    Effect.gen(function*() {
      const { cwd, program, url } = yield* serving()
      const pids = yield* pidsOf(url, 2)
      yield* Effect.forkChild(ask(`${url}/slow`), { startImmediately: true })
      yield* until(() => fs.existsSync(path.join(cwd, "begun")))
      yield* signal(program, "SIGQUIT")
      assert.strictEqual(yield* exitOf(program), 1)
      yield* until(() => ![...pids.values()].some(isAlive))
    }))

  it.live.skipIf(!hasReusePort)(
    "bind one port, each for itself, with reusePort, also across SIGHUP [C153]",
    () =>
      Effect.gen(function*() {
        const { program, url } = yield* serving(["--reuse-port", "on"])
        const before = yield* pidsOf(url, 2)
        yield* signal(program, "SIGHUP")
        yield* program.waitFor("stderr", /Restarted 2 workers/)
        const after = yield* pidsOf(url, 2)
        for (const pid of after.values()) assert.notInclude([...before.values()], pid)
      })
  )

  it.live.skipIf(hasReusePort)(
    "are not started with reusePort where Node does not have it [C153]",
    () =>
      Effect.gen(function*() {
        const cwd = yield* folder({ "app.mjs": source })
        const args = ["app.mjs", "--workers", "2", "--reuse-port", "on", "--port", "0", "--env", "production"]
        const { code, stderr } = yield* run(args, { cwd })
        assert.strictEqual(code, 1)
        assert.include(stderr, `reusePort needs Node 22.12 or newer, and this is ${process.versions.node}`)
      })
  )

  it.live.skipIf(!canUnshare)(
    "stop on SIGTERM as well where their supervisor is process 1, which cannot be upgraded [C144]",
    () =>
      Effect.gen(function*() {
        const cwd = yield* folder({ "app.mjs": source })
        const child = yield* Effect.acquireRelease(
          Effect.sync(() => {
            const main = path.join(root, "dist/main.js")
            const args = [
              "app.mjs",
              "--workers",
              "2",
              "--unix",
              "app.sock",
              "--env",
              "production",
              "--access-log",
              "none"
            ]
            return spawn("unshare", [
              "--pid",
              "--fork",
              "--kill-child",
              "--mount-proc",
              process.execPath,
              main,
              ...args
            ], {
              cwd,
              stdio: ["ignore", "ignore", "pipe"]
            })
          }),
          (child) => Effect.sync(() => child.kill("SIGKILL"))
        )
        let stderr = ""
        let code: number | null | undefined
        child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text)
        child.once("exit", (exitCode) => code = exitCode)
        yield* until(() => stderr.includes("serving app.mjs"))
        assert.isDefined(yield* ask({ socketPath: path.join(cwd, "app.sock"), path: "/" }))
        const [supervisor] = fs.readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").split(" ")
        process.kill(Number(supervisor), "SIGUSR2")
        yield* until(() => stderr.includes("Not upgraded: process 1 has no successor"))
        process.kill(Number(supervisor), "SIGTERM")
        yield* until(() => code !== undefined)
        assert.strictEqual(code, 0)
        assert.isFalse(fs.existsSync(path.join(cwd, "app.sock")))
      })
  )
})
