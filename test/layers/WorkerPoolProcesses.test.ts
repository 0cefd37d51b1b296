import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as WorkerPoolProcesses from "../../layers/WorkerPoolProcesses.ts"
import { workerPoolContract } from "../contract/WorkerPool.ts"
import * as tasks from "../utils/workerTasks.ts"
import { fork, marks, moduleOf, until } from "../utils/workerTasksMarks.ts"

workerPoolContract("WorkerPoolProcesses", WorkerPoolProcesses.make, {
  move: "nothing is shared between processes"
})

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

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
})
