/**
 * Several workers, as an operator has them: `slipway app.mjs --workers 2`, and what signals, crashes and sockets do.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { folder, run } from "./utils/commandLine.ts"
import { isAlive } from "./utils/processes.ts"
import { until } from "./utils/sockets.ts"
import { ask, pidsOf, serving, signal, source } from "./utils/workers.ts"

describe("workers", { timeout: 60_000 }, () => {
  it.live("serve on one port, each with its number, and say so once [C146]", () =>
    Effect.gen(function*() {
      const { program, url } = yield* serving()
      const pids = yield* pidsOf(url, 2)
      assert.deepStrictEqual([...pids.keys()].sort(), ["1", "2"])
      assert.isFalse([...pids.values()].includes(program.child.pid!))
      assert.match(program.stderr, /serving app\.mjs on http:\/\/127\.0\.0\.1:\d+ \(production\) with 2 workers/)
      assert.lengthOf([...program.stderr.matchAll(/serving app\.mjs/g)], 1)
    }))

  it.live("serve on one unix socket, whose file goes with the supervisor", () =>
    Effect.gen(function*() {
      const { cwd, program } = yield* serving(["--unix", "app.sock"])
      const socketPath = path.join(cwd, "app.sock")
      assert.strictEqual(fs.statSync(socketPath).mode & 0o777, 0o660)
      const told = yield* ask({ socketPath, path: "/" })
      yield* ask({ socketPath, path: "/die" })
      assert.isDefined(told)
      yield* program.waitFor("stderr", /ended by itself: SIGKILL/)
      assert.isDefined(yield* ask({ socketPath, path: "/" }))
      yield* signal(program, "SIGTERM")
      assert.strictEqual(yield* program.exited, 0)
      assert.isFalse(fs.existsSync(socketPath))
    }))

  it.live("are replaced when they die, and the others go on meanwhile [C146]", () =>
    Effect.gen(function*() {
      const { program, url } = yield* serving()
      const before = yield* pidsOf(url, 2)
      yield* ask(`${url}/die`)
      yield* program.waitFor("stderr", /ended by itself: SIGKILL/)
      assert.isDefined(yield* ask(url))
      const after = yield* pidsOf(url, 2)
      const kept = [...before.values()].filter((pid) => [...after.values()].includes(pid))
      assert.lengthOf(kept, 1)
    }))

  it.live("are killed and replaced when their event loop stands still [C147]", () =>
    Effect.gen(function*() {
      const { program, url } = yield* serving(["--heartbeat-timeout", "1"])
      const before = yield* pidsOf(url, 2)
      assert.isUndefined(yield* ask(`${url}/block`))
      yield* program.waitFor("stderr", /is blocked for \S+ s and is killed/)
      const after = yield* pidsOf(url, 2)
      assert.notDeepEqual(after, before)
    }))

  it.live("are all replaced on SIGHUP, and what is in flight is answered by the old one [C149]", () =>
    Effect.gen(function*() {
      const { cwd, program, url } = yield* serving()
      const before = yield* pidsOf(url, 2)
      const slow = yield* Effect.forkChild(ask(`${url}/slow`), { startImmediately: true })
      yield* until(() => fs.existsSync(path.join(cwd, "begun")))
      yield* signal(program, "SIGHUP")
      yield* program.waitFor("stderr", /Restarted 2 workers/)
      // All are new but the one that still has something to answer.
      const after = yield* pidsOf(url, 2)
      for (const pid of after.values()) assert.isFalse([...before.values()].includes(pid))
      fs.writeFileSync(path.join(cwd, "go"), "")
      const told = yield* Fiber.join(slow)
      assert.include([...before.values()], told!.pid)
      yield* until(() => ![...before.values()].some(isAlive))
    }))

  it.live("stay as they are when the new ones do not start [C149]", () =>
    Effect.gen(function*() {
      const { cwd, program, url } = yield* serving()
      const before = yield* pidsOf(url, 2)
      fs.writeFileSync(path.join(cwd, "app.mjs"), "export default 1")
      yield* signal(program, "SIGHUP")
      yield* program.waitFor("stderr", /Not restarted: worker 1 goes on as it was/)
      assert.deepStrictEqual(yield* pidsOf(url, 2), before)
    }))

  it.live("become more with SIGTTIN and fewer with SIGTTOU [C150]", () =>
    Effect.gen(function*() {
      const { program, url } = yield* serving()
      yield* signal(program, "SIGTTIN")
      const pids = yield* pidsOf(url, 3)
      yield* signal(program, "SIGTTOU")
      yield* until(() => !isAlive(pids.get("3")!))
      assert.deepStrictEqual([...(yield* pidsOf(url, 2)).keys()].sort(), ["1", "2"])
    }))

  it.live("are replaced after their number of requests, without one that fails [C148]", () =>
    Effect.gen(function*() {
      const { program, url } = yield* serving(["--max-requests", "20"])
      const before = yield* pidsOf(url, 2)
      const seen = new Set<number>()
      while ([...before.values()].some(isAlive)) {
        const told = yield* ask(url)
        assert.isDefined(told)
        seen.add(told!.pid)
      }
      assert.match(program.stderr, /Replacing worker \d \(\d+\): it has had \d+ requests/)
      assert.isAbove(seen.size, 2)
    }))

  it.live("finish what they have on SIGTERM, and nobody connects any more [C144]", () =>
    Effect.gen(function*() {
      const { cwd, program, url } = yield* serving()
      const slow = yield* Effect.forkChild(ask(`${url}/slow`), { startImmediately: true })
      yield* until(() => fs.existsSync(path.join(cwd, "begun")))
      yield* signal(program, "SIGTERM")
      yield* program.waitFor("stderr", /Stopping/)
      yield* until(() => program.stderr.includes("Stopped: waited for 0 requests"))
      fs.writeFileSync(path.join(cwd, "go"), "")
      assert.isDefined(yield* Fiber.join(slow))
      assert.strictEqual(yield* program.exited, 0)
      assert.isUndefined(yield* ask(url))
    }))

  it.live("die at once with a second signal [C145]", () =>
    Effect.gen(function*() {
      const { cwd, program, url } = yield* serving()
      const pids = yield* pidsOf(url, 2)
      yield* Effect.forkChild(ask(`${url}/slow`), { startImmediately: true })
      yield* until(() => fs.existsSync(path.join(cwd, "begun")))
      yield* signal(program, "SIGTERM")
      yield* program.waitFor("stderr", /Stopping/)
      yield* signal(program, "SIGTERM")
      assert.strictEqual(yield* program.exited, 1)
      yield* until(() => ![...pids.values()].some(isAlive))
    }))

  it.live("stop when their supervisor has died", () =>
    Effect.gen(function*() {
      const { program, url } = yield* serving()
      const pids = yield* pidsOf(url, 2)
      yield* signal(program, "SIGKILL")
      yield* until(() => ![...pids.values()].some(isAlive))
    }))

  it.live("end whatever the application has left open, when they are told to and when their supervisor has died", () =>
    Effect.gen(function*() {
      const open = { "app.mjs": `setInterval(() => {}, 1000)\n${source}` }
      const told = yield* serving([], open)
      yield* signal(told.program, "SIGTERM")
      assert.strictEqual(yield* told.program.exited, 0)
      assert.notInclude(told.program.stderr, "killed")
      const left = yield* serving([], open)
      const pids = [...(yield* pidsOf(left.url, 2)).values()]
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => pids.filter(isAlive).forEach((pid) => process.kill(pid, "SIGKILL")))
      )
      yield* signal(left.program, "SIGKILL")
      yield* until(() => !pids.some(isAlive))
    }))

  it.live("leave signals that are for their supervisor alone, such as those to all processes of a unit", () =>
    Effect.gen(function*() {
      const { program, url } = yield* serving()
      const before = yield* pidsOf(url, 2)
      for (const name of ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU"] as const) {
        for (const pid of before.values()) process.kill(pid, name)
      }
      assert.deepStrictEqual(yield* pidsOf(url, 2), before)
      yield* signal(program, "SIGTERM")
      assert.strictEqual(yield* program.exited, 0)
      assert.notMatch(program.stderr, /ended by itself|Debugger listening/)
    }))

  it.live("do not keep a supervisor that they cannot start for: it exits with 3 [C146]", () =>
    Effect.gen(function*() {
      const cwd = yield* folder({ "app.mjs": "throw new Error('out of tea')" })
      const { code, stderr } = yield* run(["app.mjs", "--workers", "2", "--port", "0", "--env", "production"], { cwd })
      assert.strictEqual(code, 3)
      assert.include(stderr, "out of tea")
      assert.match(stderr, /Worker \d \(\d+\) did not start: exit code 3/)
    }))

  it.live("are what maxRequests needs: a process of its own says so and serves", () =>
    Effect.gen(function*() {
      const { program, url } = yield* serving(["--workers", "1", "--max-requests", "5"])
      assert.include(program.stderr, "is of no use without workers")
      assert.isDefined(yield* ask(url))
    }))

  it.live("are not started for an address that is taken", () =>
    Effect.gen(function*() {
      const cwd = yield* folder({ "app.mjs": source })
      const server = net.createServer()
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
        () => Effect.sync(() => server.close())
      )
      const { port } = server.address() as net.AddressInfo
      const { code, stderr } = yield* run([
        "app.mjs",
        "--workers",
        "2",
        "--host",
        "127.0.0.1",
        "--port",
        `${port}`,
        "--env",
        "production"
      ], {
        cwd
      })
      assert.strictEqual(code, 1)
      assert.include(stderr, `Cannot listen on http://127.0.0.1:${port} (EADDRINUSE): another program listens there`)
      assert.notInclude(stderr, "did not start")
    }))
})
