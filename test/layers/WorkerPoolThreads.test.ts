import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import { promisify } from "node:util"
import * as WorkerPoolThreads from "../../layers/WorkerPoolThreads.ts"
import { workerPoolContract } from "../contract/WorkerPool.ts"
import * as tasks from "../utils/workerTasks.ts"
import { folder, moduleOf, untilStats } from "../utils/workerTasksMarks.ts"

workerPoolContract("WorkerPoolThreads", WorkerPoolThreads.make)

const open = (options: Partial<WorkerPoolThreads.Options> = {}) =>
  Effect.andThen(
    TestClock.adjust(0),
    WorkerPoolThreads.make({ module: moduleOf("workerTasks"), minWorkers: 1, maxWorkers: 1, ...options })
  )

describe("WorkerPoolThreads", { concurrent: false }, () => {
  it.effect("takes memory from each worker and not from us, and gives it an environment", () =>
    Effect.gen(function*() {
      const pool = yield* open({ resourceLimits: { maxOldGenerationSizeMb: 64 }, env: { COLOUR: "green" } })
      assert.strictEqual(yield* pool.run(tasks.environment, "COLOUR"), "green")
      assert.strictEqual(yield* pool.run(tasks.environment, "PATH"), undefined)
      const error = yield* Effect.flip(pool.run(tasks.fill, undefined))
      assert.strictEqual(error.reason._tag, "WorkerCrashed")
      assert.match(error.message, /^Task 'fill': its worker ended with exit code 1: .*memory/)
      assert.strictEqual(yield* pool.run(tasks.add, { a: 1, b: 2 }), 3)
    }))

  it.effect("fails the task whose worker throws outside of it, with what it threw", () =>
    Effect.gen(function*() {
      const pool = yield* open()
      const error = yield* Effect.flip(pool.run(tasks.throwOutside, "outside"))
      assert.deepStrictEqual(error.reason, { _tag: "WorkerCrashed", exitCode: 1, problem: "outside" })
      assert.match((error.cause as Error).stack!, /workerTasks\.ts/)
    }))

  it.effect("replaces a worker that ends while it has nothing to do", () =>
    Effect.gen(function*() {
      const pool = yield* open()
      yield* pool.run(tasks.throwAfter, "later")
      yield* untilStats(pool, ({ crashed }) => crashed === 1)
      assert.strictEqual(yield* pool.run(tasks.add, { a: 1, b: 2 }), 3)
      assert.deepInclude(yield* pool.stats, { workers: 1, busy: 0, idle: 1, failed: 0 })
    }))

  it.effect("releases the state of its workers when it ends [C225]", () =>
    Effect.gen(function*() {
      const released = `${yield* folder}/released`
      const scope = yield* Scope.make()
      const pool = yield* Scope.provide(open({ env: { SLIPWAY_TEST_RELEASED: released } }), scope)
      const { id } = yield* pool.run(tasks.serve, undefined)
      assert.isFalse(fs.existsSync(released))
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(fs.readFileSync(released, "utf8"), `${id}\n`)
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
