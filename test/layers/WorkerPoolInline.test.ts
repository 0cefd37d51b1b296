/** The contract, and what does not depend on what the workers are: the queue, the sizes, time, numbers. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpServerRespondable from "effect/http/HttpServerRespondable"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Transferable from "effect/workers/Transferable"
import * as fs from "node:fs"
import * as WorkerPoolInline from "../../layers/WorkerPoolInline.ts"
import * as WorkerTask from "../../src/app/WorkerTask.ts"
import { WorkerPool } from "../../src/service/WorkerPool.ts"
import { workerPoolContract } from "../contract/WorkerPool.ts"
import * as tasks from "../utils/workerTasks.ts"
import { fork, marks, moduleOf, reasonOf, turns, untilStats } from "../utils/workerTasksMarks.ts"

workerPoolContract("WorkerPoolInline", WorkerPoolInline.make, {
  terminate: "a busy loop blocks the process it runs in",
  crash: "a handler that ends the process ends the tests",
  channel: "the channel of the process is that of the tests"
})

const open = (options: Partial<WorkerPoolInline.Options> = {}) =>
  WorkerPoolInline.make({ module: tasks.default, ...options })

const openOne = (options: Partial<WorkerPoolInline.Options> = {}) => open({ minWorkers: 1, maxWorkers: 1, ...options })

/** A pool that ends before its test does. */
const openScoped = Effect.fnUntraced(function*(options: Partial<WorkerPoolInline.Options> = {}) {
  const scope = yield* Scope.make()
  const pool = yield* Scope.provide(openOne(options), scope)
  return { pool, close: Scope.close(scope, Exit.void) }
})

const laterGetter = (change: (text: string) => string) =>
  SchemaGetter.transformEffect((text: string) => Effect.as(Effect.yieldNow, change(text)))

const closedProxy = () => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

describe("a WorkerPool", () => {
  it.effect("lets idle workers go after idleTimeout, down to minWorkers", () =>
    Effect.gen(function*() {
      const pool = yield* open({ minWorkers: 1, maxWorkers: 3, idleTimeout: "10 seconds" })
      const { path, release, started } = yield* marks
      const names = ["a", "b", "c"]
      const fibers = yield* Effect.forEach(names, (name) => fork(pool.run(tasks.hold, { path: path(name) })))
      yield* Effect.forEach(names, started)
      yield* Effect.forEach(names, release)
      yield* Effect.forEach(fibers, Fiber.join)
      yield* TestClock.adjust("9 seconds")
      assert.deepInclude(yield* pool.stats, { workers: 3, idle: 3 })
      yield* TestClock.adjust("1 seconds")
      assert.deepInclude(yield* pool.stats, { workers: 1, idle: 1, crashed: 0 })
    }))

  it.effect("grows to maxWorkers and no further, and counts what it does [C225]", () =>
    Effect.gen(function*() {
      const { path, release, started } = yield* marks
      const pool = yield* open({ minWorkers: 0, maxWorkers: 2, maxQueue: 5 })
      assert.deepInclude(yield* pool.stats, { workers: 0, busy: 0, idle: 0, queued: 0, maxQueue: 5 })
      const fibers = yield* Effect.forEach(["a", "b", "c"], (name) => fork(pool.run(tasks.hold, { path: path(name) })))
      yield* started("a")
      yield* started("b")
      assert.deepInclude(yield* pool.stats, { workers: 2, busy: 2, idle: 0, queued: 1 })
      yield* Effect.forEach(["a", "b", "c"], release)
      yield* Effect.forEach(fibers, Fiber.join)
      assert.deepInclude(yield* pool.stats, { workers: 2, busy: 0, idle: 2, queued: 0, completed: 3 })
    }))

  it.effect("starts again by itself for minWorkers, later each time", () =>
    Effect.gen(function*() {
      const pool = yield* open({ module: moduleOf("workerTasksUnloadable"), minWorkers: 1 })
      const failures = (count: number) => untilStats(pool, (stats) => stats.startFailures === count)
      yield* failures(1)
      yield* TestClock.adjust("999 millis")
      yield* turns
      assert.strictEqual((yield* pool.stats).workers, 0)
      yield* TestClock.adjust("1 millis")
      yield* failures(2)
      yield* TestClock.adjust("1999 millis")
      yield* turns
      assert.strictEqual((yield* pool.stats).workers, 0)
      yield* TestClock.adjust("1 millis")
      yield* failures(3)
    }))

  it.effect("refuses at once what is more than maxQueue, with 503 as its answer [C225]", () =>
    Effect.gen(function*() {
      const { path, release, started } = yield* marks
      const pool = yield* openOne({ maxQueue: 1, retryAfter: "2500 millis" })
      const running = yield* fork(pool.run(tasks.hold, { path: path("a") }))
      yield* started("a")
      const waiting = yield* fork(pool.run(tasks.add, { a: 1, b: 1 }))
      const error = yield* Effect.flip(pool.run(tasks.add, { a: 2, b: 2 }))
      assert.deepStrictEqual(reasonOf(error), { _tag: "PoolFull", maxQueue: 1, retryAfterSeconds: 3 })
      const response = yield* HttpServerRespondable.toResponse(error)
      assert.strictEqual(response.status, 503)
      assert.strictEqual(response.headers["retry-after"], "3")
      assert.deepInclude(yield* pool.stats, { queued: 1, rejected: 1, busy: 1 })
      yield* release("a")
      yield* Fiber.join(running)
      assert.strictEqual(yield* Fiber.join(waiting), 2)
    }))

  it.effect("takes the highest priority first, the oldest of one", () =>
    Effect.gen(function*() {
      const { path, release, started } = yield* marks
      const pool = yield* openOne()
      const running = yield* fork(pool.run(tasks.hold, { path: path("a") }))
      yield* started("a")
      const order: Array<string> = []
      const fibers = yield* Effect.forEach(
        [["first", 0], ["low", -1], ["high", 5], ["second", 0], ["high too", 5]] as const,
        ([label, priority]) =>
          fork(Effect.andThen(
            pool.run(tasks.add, { a: 1, b: 1 }, { priority }),
            Effect.sync(() => order.push(label))
          ))
      )
      yield* release("a")
      yield* Effect.forEach([running, ...fibers], (fiber) => Fiber.join<unknown, unknown>(fiber))
      assert.deepStrictEqual(order, ["high", "high too", "first", "second", "low"])
    }))

  it.effect("forgets a waiting task whose caller is interrupted, and disturbs no worker", () =>
    Effect.gen(function*() {
      const { path, release, started } = yield* marks
      const pool = yield* openOne()
      const running = yield* fork(pool.run(tasks.hold, { path: path("a") }))
      yield* started("a")
      const waiting = yield* fork(pool.run(tasks.hold, { path: path("b") }))
      assert.strictEqual((yield* pool.stats).queued, 1)
      yield* Fiber.interrupt(waiting)
      assert.deepInclude(yield* pool.stats, { queued: 0, cancelled: 1, busy: 1 })
      yield* release("a")
      assert.strictEqual(yield* Fiber.join(running), path("a"))
      assert.strictEqual(yield* pool.run(tasks.add, { a: 1, b: 1 }), 2)
      assert.isFalse(fs.existsSync(path("b.started")))
    }))

  it.effect("counts the time in the queue", () =>
    Effect.gen(function*() {
      const { path, release, started } = yield* marks
      const pool = yield* openOne()
      const running = yield* fork(pool.run(tasks.hold, { path: path("a") }))
      yield* started("a")
      const waiting = yield* fork(Effect.flip(pool.run(tasks.add, { a: 1, b: 1 }, { timeout: "2 seconds" })))
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(reasonOf(yield* Fiber.join(waiting)), { _tag: "TaskTimeout", timeoutMillis: 2000 })
      assert.deepInclude(yield* pool.stats, { queued: 0, timedOut: 1, busy: 1 })
      yield* release("a")
      yield* Fiber.join(running)
    }))

  it.effect("gives up a stream that keeps its reader waiting, and none whose reader takes its time", () =>
    Effect.gen(function*() {
      const { path } = yield* marks
      const pool = yield* openOne({ timeout: "5 seconds" })
      const slow = yield* pool.stream(tasks.count, { to: 10, path: path("a") }).pipe(
        Stream.tap(() => TestClock.adjust("1 minute")),
        Stream.runCollect
      )
      assert.strictEqual(slow.length, 10)
      const silent = yield* fork(Effect.flip(Stream.runDrain(pool.stream(tasks.silent, undefined))))
      yield* untilStats(pool, ({ busy }) => busy === 1)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(reasonOf(yield* Fiber.join(silent))._tag, "TaskTimeout")
    }))

  it.effect("does nothing while it has nothing to do: no timer runs [W28]", () =>
    Effect.gen(function*() {
      let sleeping = 0
      const clock = yield* Clock.Clock
      const counting: Clock.Clock = Object.assign(Object.create(clock), {
        sleep: (duration: never) =>
          Effect.suspend(() => {
            sleeping++
            return Effect.ensuring(clock.sleep(duration), Effect.sync(() => sleeping--))
          })
      })
      const pool = yield* Effect.provideService(openOne({ timeout: "5 seconds" }), Clock.Clock, counting)
      assert.strictEqual(yield* pool.run(tasks.add, { a: 1, b: 1 }), 2)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(sleeping, 0)
      assert.strictEqual(yield* pool.run(tasks.add, { a: 1, b: 1 }), 2)
      assert.strictEqual(sleeping, 1)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(sleeping, 0)
    }))

  it.effect("publishes its numbers as metrics, until it ends", () =>
    Effect.gen(function*() {
      const { close, pool } = yield* openScoped({ name: "images" })
      yield* pool.run(tasks.add, { a: 1, b: 1 })
      const named = Effect.map(Metric.snapshot, (metrics) =>
        metrics.filter(({ attributes }) => attributes?.["pool"] === "images"))
      const state = (yield* named).find(({ id }) =>
        id === "worker_pool_completed_tasks_total"
      )?.state
      assert.deepInclude(state, { count: 1 })
      assert.deepInclude((yield* named).find(({ id }) => id === "worker_pool_workers")?.state, { value: 1 })
      yield* close
      assert.deepStrictEqual(yield* named, [])
    }).pipe(Effect.provideServiceEffect(Metric.MetricRegistry, Effect.sync(() => new Map()))))

  for (
    const [option, value] of [["maxWorkers", 0], ["minWorkers", 1.5], ["maxQueue", -1], [
      "maxJobsPerWorker",
      0
    ]] as const
  ) {
    it.effect(`dies for ${option} ${value}, and says so`, () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(open({ [option]: value }))
        assert.isTrue(Exit.isFailure(exit))
        const defect = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        assert.instanceOf(defect, RangeError)
        assert.match(String(defect), new RegExp(`${option} .*not ${value}`))
      }))
  }

  for (
    const [module, problem] of [
      ["workerTasksNoLayer", "no such database"],
      ["workerTasksNone", "its default export is not a WorkerTask.module([...])"]
    ] as const
  ) {
    it.effect(`says why no worker can start: ${module}`, () =>
      Effect.gen(function*() {
        const pool = yield* open({ module: moduleOf(module), minWorkers: 0 })
        const error = yield* Effect.flip(pool.run(tasks.absent, undefined))
        assert.deepStrictEqual(reasonOf(error), { _tag: "WorkerStartFailed", problem })
      }))
  }

  it.effect("replaces a worker at once whose task cannot be asked to stop", () =>
    Effect.gen(function*() {
      const { path, started } = yield* marks
      const pool = yield* openOne()
      const { id } = yield* pool.run(tasks.serve, undefined)
      const running = yield* fork(pool.run(tasks.hang, path("a")))
      yield* started("a")
      yield* Fiber.interrupt(running)
      const next = yield* pool.run(tasks.serve, undefined)
      assert.notStrictEqual(next.id, id)
      assert.deepInclude(yield* pool.stats, { cancelled: 1, terminated: 1 })
    }))
  it.effect("terminates a worker whose task is asked to stop and does not", () =>
    Effect.gen(function*() {
      const { path, started } = yield* marks
      const pool = yield* openOne()
      const { id } = yield* pool.run(tasks.serve, undefined)
      const running = yield* fork(pool.run(tasks.cling, path("a")))
      yield* started("a")
      yield* Fiber.interrupt(running)
      assert.deepInclude(yield* pool.stats, { busy: 1, terminated: 0 })
      yield* TestClock.adjust("250 millis")
      const next = yield* pool.run(tasks.serve, undefined)
      assert.notStrictEqual(next.id, id)
      assert.deepInclude(yield* pool.stats, { terminated: 1, workers: 1 })
    }))
  it.effect("terminates after the grace what does not end", () =>
    Effect.gen(function*() {
      const { path, started } = yield* marks
      const { close, pool } = yield* openScoped({ timeout: "1 minute" })
      const running = yield* fork(Effect.flip(pool.run(tasks.hang, path("a"))))
      yield* started("a")
      const closing = yield* fork(close)
      yield* TestClock.adjust("4999 millis")
      assert.strictEqual((yield* pool.stats).busy, 1)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(reasonOf(yield* Fiber.join(running))._tag, "PoolClosed")
      yield* Fiber.join(closing)
      assert.deepInclude(yield* pool.stats, { workers: 0, terminated: 1 })
    }))

  it.effect("has its numbers from the configuration where it is told to", () =>
    Effect.gen(function*() {
      const pool = yield* WorkerPool
      assert.deepInclude(yield* pool.stats, { maxQueue: 7, workers: 0 })
    }).pipe(
      Effect.provide(
        WorkerPoolInline.layerConfig(tasks.default, { maxQueue: Config.Int("QUEUE"), minWorkers: Config.succeed(0) })
      ),
      Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ QUEUE: "7" })))
    ))

  it.effect("runs Schemas that are asynchronous, on both sides", () =>
    Effect.gen(function*() {
      const later = Schema.String.pipe(Schema.decodeTo(Schema.String, {
        decode: laterGetter((text) => text.slice(1)),
        encode: laterGetter((text) => `.${text}`)
      }))
      const shout = WorkerTask.make("shout", { input: later, success: later }, (text) => text.toUpperCase())
      const pool = yield* open({ module: WorkerTask.module([shout]) })
      assert.strictEqual(yield* pool.run(shout, "abc"), "ABC")
    }))

  class Evil extends Error {
    override get name(): string {
      throw this
    }
    override get message(): string {
      throw this
    }
  }

  const throwing = WorkerTask.declare("throwing", { input: Schema.String, success: Schema.Void })

  for (
    const [what, thrown, problem] of [
      ["text", "just text", "Error: just text"],
      ["an object", { code: 7 }, "Error: {\"code\":7}"],
      ["nothing", undefined, "Error: undefined"],
      ["an object without a prototype", Object.create(null), "Error: {}"],
      ["a Proxy that is closed", closedProxy(), "Error: a value that cannot be printed"],
      ["an error that throws when it is looked at", new Evil(), "Error: a value that cannot be printed"],
      ["an error whose stack cannot be cloned", Object.assign(new Error("odd"), { stack: () => {} }), "Error: odd"]
    ] as const
  ) {
    it.effect(`tells of a task that throws ${what}`, () =>
      Effect.gen(function*() {
        const module = WorkerTask.module([
          WorkerTask.implement(throwing, () => {
            throw thrown
          })
        ])
        const pool = yield* open({ module })
        const error = yield* Effect.flip(pool.run(throwing, "a"))
        assert.deepStrictEqual(reasonOf(error), { _tag: "TaskDefect", problem })
        assert.instanceOf(error.cause, Error)
        assert.deepInclude(yield* pool.stats, { failed: 1, idle: 1 })
      }))
  }

  it.effect("keeps causes and the errors of an AggregateError, and ends where they go round", () =>
    Effect.gen(function*() {
      const round = new RangeError("round")
      round.cause = round
      const thrown = new AggregateError([new TypeError("one"), "two"], "all", { cause: round })
      const module = WorkerTask.module([WorkerTask.implement(throwing, () => Promise.reject(thrown))])
      const pool = yield* open({ module })
      const { cause } = yield* Effect.flip(pool.run(throwing, "a"))
      assert.instanceOf(cause, AggregateError)
      assert.deepStrictEqual(
        cause.errors.map(({ message, name }: Error) => `${name}: ${message}`),
        ["TypeError: one", "Error: two"]
      )
      const inner = cause.cause as Error
      assert.strictEqual(inner.name, "RangeError")
      assert.strictEqual((inner.cause as Error).stack, round.stack)
    }))

  it.effect("knows no tasks that nobody declared, whatever they are called", () =>
    Effect.gen(function*() {
      const pool = yield* openOne()
      for (const name of ["__proto__", "constructor", "toString", ""]) {
        const task = WorkerTask.declare(name, { input: Schema.Void, success: Schema.Void })
        assert.deepStrictEqual(reasonOf(yield* Effect.flip(pool.run(task, undefined))), { _tag: "TaskUnknown" })
      }
    }))

  it.effect("moves bytes once: a second task with them is refused, one with two views of them is not", () =>
    Effect.gen(function*() {
      const twice = WorkerTask.make(
        "twice",
        { input: Schema.Tuple([Transferable.Uint8Array, Transferable.Uint8Array]), success: Schema.Int },
        ([a, b]) => a.length + b.length
      )
      const pool = yield* openOne({ module: WorkerTask.module([twice]) })
      const buffer = new ArrayBuffer(8)
      const views = [new Uint8Array(buffer, 0, 3), new Uint8Array(buffer, 3)] as const
      assert.strictEqual(yield* pool.run(twice, views), 8)
      const { reason } = yield* Effect.flip(pool.run(twice, views))
      assert.strictEqual(reason._tag, "InputInvalid")
      assert.deepInclude(yield* pool.stats, { completed: 1, failed: 1, idle: 1 })
    }))

  it.effect("has streams one after the other in one worker, also after one that was left", () =>
    Effect.gen(function*() {
      const { path } = yield* marks
      const pool = yield* openOne()
      const { id } = yield* pool.run(tasks.serve, undefined)
      for (let i = 0; i < 20; i++) {
        const stream = pool.stream(tasks.count, { to: 20, path: path("a") })
        const seen = yield* Stream.runCollect(i % 2 === 0 ? stream : Stream.take(stream, 7))
        assert.deepStrictEqual(seen, Array.from({ length: i % 2 === 0 ? 20 : 7 }, (_, i) => i + 1))
      }
      assert.deepStrictEqual(yield* pool.run(tasks.serve, undefined), { id, served: 2 })
      assert.deepInclude(yield* pool.stats, { completed: 12, cancelled: 10, failed: 0, idle: 1, terminated: 0 })
    }))
})
