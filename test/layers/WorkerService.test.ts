/** Services in real workers. What does not depend on what the workers are is tested with inline ones. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as fs from "node:fs"
import * as WorkerPoolProcesses from "../../layers/WorkerPoolProcesses.ts"
import * as WorkerPoolThreads from "../../layers/WorkerPoolThreads.ts"
import * as WorkerService from "../../src/app/WorkerService.ts"
import { WorkerPool } from "../../src/service/WorkerPool.ts"
import { DeskRpcs, Refusal, SumRpcs } from "../utils/workerService.ts"
import { fork, marks, moduleOf, reasonOf } from "../utils/workerTasksMarks.ts"

for (const [name, { make }] of Object.entries({ WorkerPoolThreads, WorkerPoolProcesses })) {
  describe(`WorkerService on ${name}`, { concurrent: false }, () => {
    const open = Effect.gen(function*() {
      // A clock that was moved once does not warn when a worker takes long to start.
      yield* TestClock.adjust(0)
      const pool = yield* make({ module: moduleOf("workerServiceModule"), minWorkers: 1, maxWorkers: 1 })
      const clients = Effect.all([WorkerService.client(DeskRpcs), WorkerService.client(SumRpcs)])
      const [desk, sums] = yield* Effect.provideService(clients, WorkerPool, pool)
      return { pool, desk, sums }
    })

    it.effect("calls methods with the state of a worker, outside of this thread [C226]", () =>
      Effect.gen(function*() {
        const { desk, sums } = yield* open
        const { id } = yield* desk.serve()
        assert.deepStrictEqual(yield* desk.serve(), { id, served: 2 })
        // Process, thread, and how many desks there were before in it.
        const [pid, thread, desks] = id.split(".").map(Number)
        assert.isTrue(pid !== process.pid || thread! > 0)
        assert.strictEqual(desks, 1)
        assert.strictEqual(yield* sums["sum.add"]({ a: 1, b: 2 }), 3)
        assert.deepStrictEqual(yield* desk.tomorrow(new Date(0)), new Date(86_400_000))
        assert.deepStrictEqual(
          yield* Effect.flip(desk.refuse({ code: 7 })),
          new Refusal({ code: 7, at: new Date(0) })
        )
        const defect = yield* Effect.flip(desk.boom())
        assert.deepStrictEqual(reasonOf(defect), { _tag: "TaskDefect", problem: "RangeError: boom" })
        assert.match(((defect as { cause?: unknown }).cause as Error).stack!, /workerServiceModule\.ts/)
        assert.strictEqual((yield* desk.serve()).id, id)
      }))

    it.effect("streams with backpressure, and stops the handler when nobody waits for it any more [C226]", () =>
      Effect.gen(function*() {
        const { desk } = yield* open
        const { path, started, stopped } = yield* marks
        const { id } = yield* desk.serve()
        const read = yield* Stream.runCollect(desk.count({ to: 20, path: path("a") }))
        assert.deepStrictEqual([...read], Array.from({ length: 20 }, (_, n) => n + 1))
        yield* Stream.runDrain(Stream.take(desk.count({ to: 100_000, path: path("b") }), 2))
        yield* stopped("b")
        assert.isBelow(fs.readFileSync(`${path("b")}.made`, "utf8").length, 12)
        const waiting = yield* fork(desk.wait({ path: path("c") }))
        yield* started("c")
        yield* Fiber.interrupt(waiting)
        yield* stopped("c")
        assert.strictEqual((yield* desk.serve()).id, id)
      }))

    it.effect("goes on with a new worker where a method never gives way, and where it ends the worker", () =>
      Effect.gen(function*() {
        const { desk, pool } = yield* open
        const { path, started } = yield* marks
        const { id } = yield* desk.serve()
        const running = yield* fork(Effect.flip(desk.spin({ path: path("a") }, { timeout: "2 seconds" })))
        yield* started("a")
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(reasonOf(yield* Fiber.join(running)), { _tag: "TaskTimeout", timeoutMillis: 2000 })
        yield* TestClock.adjust("250 millis")
        const next = yield* desk.serve()
        assert.notStrictEqual(next.id, id)
        assert.strictEqual(next.served, 1)
        const error = yield* Effect.flip(desk.exit(3))
        assert.deepInclude(error.reason, { _tag: "WorkerCrashed", exitCode: 3 })
        assert.strictEqual((yield* desk.serve()).served, 1)
        assert.deepInclude(yield* pool.stats, { timedOut: 1, terminated: 1, crashed: 1 })
      }))
  })
}
