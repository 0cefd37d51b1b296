import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as WorkerPoolProcesses from "../../layers/WorkerPoolProcesses.ts"
import { workerPoolContract } from "../contract/WorkerPool.ts"
import { isAlive } from "../utils/processes.ts"
import * as tasks from "../utils/workerTasks.ts"
import { fork, marks, moduleOf, until } from "../utils/workerTasksMarks.ts"
import { start } from "../utils/workerTasksProgram.ts"

workerPoolContract("WorkerPoolProcesses", WorkerPoolProcesses.make, {
  move: "nothing is shared between processes"
})

describe("WorkerPoolProcesses", { concurrent: false }, () => {
  it.effect("says by which signal a worker ended, and leaves none behind when it ends", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust(0)
      const { path, started } = yield* marks
      const pids: Array<number> = []
      yield* Effect.scoped(Effect.gen(function*() {
        const pool = yield* WorkerPoolProcesses.make({
          module: moduleOf("workerTasks"),
          minWorkers: 1,
          maxWorkers: 1,
          env: { COLOUR: "green" },
          execArgv: ["--stack-trace-limit=7"]
        })
        const pidOf = Effect.map(pool.run(tasks.serve, undefined), ({ id }) => Number(id.split(".")[0]))
        pids.push(yield* pidOf)
        const running = yield* fork(Effect.flip(pool.run(tasks.hang, path("a"))))
        yield* started("a")
        process.kill(pids[0]!, "SIGKILL")
        assert.deepStrictEqual((yield* Fiber.join(running)).reason, {
          _tag: "WorkerCrashed",
          exitCode: undefined,
          problem: "SIGKILL"
        })
        pids.push(yield* pidOf)
        assert.strictEqual(yield* pool.run(tasks.environment, "COLOUR"), "green")
        assert.notStrictEqual(pids[0], pids[1])
      }))
      yield* until(() => !pids.some(isAlive))
    }))

  it("ends with its parent, however that ends, also when it is busy", async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "slipway-pool-"))
    const started = path.join(folder, "a.started")
    const { child, output } = start(
      "WorkerPoolProcesses",
      `await Effect.runPromise(Effect.scoped(Effect.flatMap(make({ module, maxWorkers: 1 }), (pool) =>
        Effect.andThen(
          Effect.tap(pool.run(tasks.serve, undefined), ({ id }) => Effect.sync(() => console.log(id))),
          pool.run(tasks.spin, ${JSON.stringify(path.join(folder, "a"))})
        ))))`
    )
    await Effect.runPromise(until(() => fs.existsSync(started) && output().includes("\n")))
    const worker = Number(output().split(".")[0])
    assert.isTrue(isAlive(worker))
    child.kill("SIGKILL")
    await Effect.runPromise(until(() => !isAlive(worker)))
    fs.rmSync(folder, { recursive: true })
  })

  it("lets its parent say when it is over: signals to the whole group do not end it", async () => {
    const { child, ended, output } = start(
      "WorkerPoolProcesses",
      `await Effect.runPromise(Effect.scoped(Effect.flatMap(make({ module, maxWorkers: 1 }), (pool) =>
        Effect.gen(function*() {
          const { id } = yield* pool.run(tasks.serve, undefined)
          let signals = 0
          for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => signals++)
          console.log("ready")
          while (signals < 3) yield* Effect.sleep(1)
          console.log(id === (yield* pool.run(tasks.serve, undefined)).id)
        }))))`
    )
    await Effect.runPromise(until(() => output() === "ready\n"))
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.kill(-child.pid!, signal)
    assert.deepStrictEqual(await ended, { code: 0, output: "ready\ntrue\n" })
  })

  it("says why no process can start, where no file can be opened any more", async () => {
    const { ended } = start(
      "WorkerPoolProcesses",
      `import * as fs from "node:fs"
      const open = []
      try { for (;;) open.push(fs.openSync("/dev/null")) } catch {}
      // One for who looks for esbuild.
      fs.closeSync(open.pop())
      const error = await Effect.runPromise(Effect.scoped(Effect.flatMap(
        make({ module, minWorkers: 0 }),
        (pool) => Effect.flip(pool.run(tasks.add, { a: 1, b: 1 }))
      )))
      for (const file of open) fs.closeSync(file)
      console.log(error.message)`
    )
    const { code, output } = await ended
    assert.strictEqual(code, 0)
    assert.match(output, /^Task 'add': no worker can start: .*EMFILE\n$/)
  })
})
