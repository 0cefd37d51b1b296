import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import { promisify } from "node:util"
import * as WorkerPoolThreads from "../../layers/WorkerPoolThreads.ts"
import { workerPoolContract } from "../contract/WorkerPool.ts"
import * as tasks from "../utils/workerTasks.ts"
import { folder, fork, marks, moduleOf, untilStats } from "../utils/workerTasksMarks.ts"
import { start } from "../utils/workerTasksProgram.ts"

workerPoolContract("WorkerPoolThreads", WorkerPoolThreads.make)

describe("WorkerPoolThreads", { concurrent: false }, () => {
  it.effect("takes memory, environment and state of each worker as its own, and survives what ends one [C225]", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust(0)
      const released = `${yield* folder}/released`
      const scope = yield* Scope.make()
      const options = {
        module: moduleOf("workerTasks"),
        maxWorkers: 1,
        resourceLimits: { maxOldGenerationSizeMb: 64 },
        env: { COLOUR: "green", SLIPWAY_TEST_RELEASED: released }
      }
      const pool = yield* Scope.provide(WorkerPoolThreads.make(options), scope)
      assert.strictEqual(yield* pool.run(tasks.environment, "COLOUR"), "green")
      assert.strictEqual(yield* pool.run(tasks.environment, "PATH"), undefined)

      const noMemory = yield* Effect.flip(pool.run(tasks.fill, undefined))
      assert.strictEqual(noMemory.reason._tag, "WorkerCrashed")
      assert.match(noMemory.message, /^Task 'fill': its worker ended with exit code 1: .*memory/)

      const outside = yield* Effect.flip(pool.run(tasks.throwOutside, "outside"))
      assert.deepStrictEqual(outside.reason, { _tag: "WorkerCrashed", exitCode: 1, problem: "outside" })
      assert.match((outside.cause as Error).stack!, /workerTasks\.ts/)

      const nothing = yield* Effect.flip(pool.run(tasks.throwNothing, undefined))
      assert.strictEqual(nothing.reason._tag, "WorkerCrashed")

      yield* pool.run(tasks.rejectAfter, undefined)
      yield* untilStats(pool, ({ crashed }) => crashed === 4)
      const { id } = yield* pool.run(tasks.serve, undefined)
      assert.deepInclude(yield* pool.stats, { workers: 1, busy: 0, idle: 1, completed: 4, failed: 3, terminated: 0 })

      assert.isFalse(fs.existsSync(released))
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(fs.readFileSync(released, "utf8"), `${id}\n`)
    }))

  it("runs in a process with arguments that are the process's own, which ends when the pool does", async () => {
    const { ended } = start(
      "WorkerPoolThreads",
      `console.log(await Effect.runPromise(Effect.scoped(Effect.flatMap(
        make({ module, minWorkers: 1 }),
        (pool) => Effect.andThen(pool.run(tasks.serve, undefined), pool.run(tasks.add, { a: 20, b: 22 }))
      ))))`,
      ["--max-old-space-size=512", "--expose-gc", "--title=slipway-test"]
    )
    assert.deepStrictEqual(await ended, { code: 0, output: "42\n" })
  })

  it.effect("has idle workers that do nothing while others compute [W28]", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust(0)
      const pool = yield* WorkerPoolThreads.make({ module: moduleOf("workerTasks"), minWorkers: 2, maxWorkers: 2 })
      yield* untilStats(pool, ({ idle }) => idle === 2)
      // The last one that was used is used first: the other one stays idle.
      const { path, release, started } = yield* marks
      const first = yield* pool.run(tasks.turns, 0)
      const holding = yield* fork(pool.run(tasks.hold, { path: path("a") }))
      yield* started("a")
      const idle = yield* pool.run(tasks.turns, 0)
      assert.notStrictEqual(idle.thread, first.thread)
      yield* release("a")
      yield* Fiber.join(holding)
      assert.strictEqual((yield* pool.run(tasks.turns, 200_000)).thread, first.thread)
      const again = yield* fork(pool.run(tasks.hold, { path: path("b") }))
      yield* started("b")
      const later = yield* pool.run(tasks.turns, 0)
      assert.strictEqual(later.thread, idle.thread)
      assert.isAtMost(later.turns - idle.turns, 10)
      yield* release("b")
      yield* Fiber.join(again)
    }))
})

/** The library as it is published. It is built before the tests run; a single file may be run without. */
const build = new URL("../../dist/layers/WorkerPoolThreads.js", import.meta.url)

describe("the build", () => {
  it.skipIf(!fs.existsSync(build))("starts threads and processes from JavaScript", async () => {
    const program = `
      import * as Effect from "effect/Effect"
      import * as Threads from ${JSON.stringify(build.href)}
      import * as Processes from ${JSON.stringify(new URL("./WorkerPoolProcesses.js", build).href)}
      import { double } from ${JSON.stringify(moduleOf("workerTasksPlain").href.replace(/ts$/, "mjs"))}
      const module = new URL(${JSON.stringify(moduleOf("workerTasksPlain").href.replace(/ts$/, "mjs"))})
      for (const { make } of [Threads, Processes]) {
        const pool = Effect.flatMap(make({ module }), (pool) => pool.run(double, 21))
        console.log(await Effect.runPromise(Effect.scoped(pool)))
      }`
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", program])
    assert.strictEqual(stdout, "42\n42\n")
  })
})
