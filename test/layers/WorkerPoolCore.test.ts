/** The pool with workers that a test plays by hand, message by message: every order in which things can happen. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { FromWorker, ToWorker } from "../../layers/internal/WorkerMessage.ts"
import type { Spawn, WorkerEvents } from "../../layers/internal/WorkerPoolCore.ts"
import type { Options } from "../../layers/internal/WorkerPoolOptions.ts"
import * as WorkerPoolService from "../../layers/internal/WorkerPoolService.ts"
import * as WorkerTask from "../../src/app/WorkerTask.ts"
import { fork, reasonOf } from "../utils/workerTasksMarks.ts"

const task = WorkerTask.declare("task", { input: Schema.Unknown, success: Schema.Unknown })
const numbers = WorkerTask.declare("numbers", { input: Schema.Void, success: Schema.Int, stream: true })

/** A worker that does nothing by itself. */
class Puppet {
  readonly posted: Array<ToWorker> = []
  isTerminated = false
  readonly events: WorkerEvents
  constructor(events: WorkerEvents) {
    this.events = events
  }
  get jobId(): number {
    const last = this.posted.findLast(([kind]) => kind === ToWorker.run)
    return last === undefined ? 0 : last[1] as number
  }
  ready(): void {
    this.events.onMessage([FromWorker.ready])
  }
  succeed(value?: unknown, jobId = this.jobId): void {
    this.events.onMessage([FromWorker.success, jobId, value])
  }
  chunk(...values: ReadonlyArray<number>): void {
    this.events.onMessage([FromWorker.chunk, this.jobId, values])
  }
  exit(exitCode?: number): void {
    this.events.onExit(exitCode, undefined)
  }
  last(): ToWorker | undefined {
    return this.posted.at(-1)
  }
}

const open = Effect.fnUntraced(function*(options: Options = {}) {
  const puppets: Array<Puppet> = []
  const spawn: Spawn = (events) => {
    const puppet = new Puppet(events)
    puppets.push(puppet)
    return {
      post: (message) => void puppet.posted.push(structuredClone(message)),
      terminate: () => {
        puppet.isTerminated = true
      }
    }
  }
  const scope = yield* Scope.make()
  yield* TestClock.adjust(0)
  const pool = yield* Scope.provide(WorkerPoolService.make(spawn, { maxWorkers: 1, ...options }), scope)
  return { pool, puppets, close: Scope.close(scope, Exit.void) }
})

/** With one worker that is ready. */
const openReady = (options: Options = {}) =>
  Effect.map(open(options), (opened) => {
    const puppet = opened.puppets[0]!
    puppet.ready()
    return { ...opened, puppet }
  })

const outcomes = { completed: 0, failed: 0, timedOut: 0, cancelled: 0, rejected: 0 }

describe("WorkerPoolCore", () => {
  it.effect("takes the result that arrives after the timeout as the worker's end of the task, and counts once", () =>
    Effect.gen(function*() {
      const { pool, puppet, puppets } = yield* openReady()
      const running = yield* fork(Effect.flip(pool.run(task, 1, { timeout: "1 second" })))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(reasonOf(yield* Fiber.join(running))._tag, "TaskTimeout")
      assert.deepStrictEqual(puppet.last(), [ToWorker.interrupt, 1])
      puppet.succeed("late")
      assert.deepInclude(yield* pool.stats, { ...outcomes, timedOut: 1, idle: 1, busy: 0, terminated: 0 })
      yield* TestClock.adjust("1 minute")
      assert.deepInclude(yield* pool.stats, { workers: 1, terminated: 0 })
      assert.strictEqual(puppets.length, 1)
    }))

  it.effect("does not take the answer of the last task for that of the next", () =>
    Effect.gen(function*() {
      const { pool, puppet } = yield* openReady()
      const first = yield* fork(pool.run(task, 1))
      yield* Fiber.interrupt(first)
      puppet.events.onMessage([FromWorker.interrupted, 1])
      const second = yield* fork(pool.run(task, 2))
      puppet.succeed("old", 1)
      puppet.succeed("new", 2)
      assert.strictEqual(yield* Fiber.join(second), "new")
      assert.deepInclude(yield* pool.stats, { ...outcomes, completed: 1, cancelled: 1, idle: 1 })
    }))

  it.effect("replaces a worker that ends while its task is being stopped, and counts the task once", () =>
    Effect.gen(function*() {
      const { pool, puppet, puppets } = yield* openReady()
      yield* Fiber.interrupt(yield* fork(pool.run(task, 1)))
      puppet.exit(0)
      assert.deepInclude(yield* pool.stats, { ...outcomes, cancelled: 1, crashed: 1, busy: 0, workers: 1 })
      assert.strictEqual(puppets.length, 2)
    }))

  it.effect("counts a task whose worker ended, also with code 0, as failed", () =>
    Effect.gen(function*() {
      const { pool, puppet } = yield* openReady()
      const running = yield* fork(Effect.flip(pool.run(task, 1)))
      puppet.exit(0)
      const error = yield* Fiber.join(running)
      assert.deepStrictEqual(reasonOf(error), { _tag: "WorkerCrashed", exitCode: 0, problem: undefined })
      assert.deepInclude(yield* pool.stats, { ...outcomes, failed: 1, crashed: 1 })
    }))

  it.effect("refuses what cannot be sent however much of it waits, and keeps the worker", () =>
    Effect.gen(function*() {
      const { pool, puppet } = yield* openReady({ maxQueue: Infinity })
      const held = yield* fork(pool.run(task, 1))
      const count = 20_000
      const errors = yield* Effect.forEach(
        Array.from({ length: count }, () => () => {}),
        (input) => fork(Effect.flip(pool.run(task, input)))
      )
      puppet.succeed("done")
      assert.strictEqual(yield* Fiber.join(held), "done")
      const reasons = yield* Effect.forEach(errors, (fiber) => Effect.map(Fiber.join(fiber), reasonOf))
      assert.isTrue(reasons.every(({ _tag }) => _tag === "InputInvalid"))
      assert.deepInclude(yield* pool.stats, { ...outcomes, completed: 1, failed: count, idle: 1, queued: 0 })
    }))

  it.effect("fails the caller, and not the pool, when the Schema of the result throws", () =>
    Effect.gen(function*() {
      const { pool, puppet } = yield* openReady()
      const broken = WorkerTask.declare("broken", {
        input: Schema.Void,
        success: Schema.Unknown.pipe(Schema.decodeTo(Schema.Unknown, {
          decode: SchemaGetter.transform(() => {
            throw new RangeError("broken Schema")
          }),
          encode: SchemaGetter.passthrough()
        }))
      })
      const running = yield* fork(Effect.exit(pool.run(broken, undefined)))
      puppet.succeed(1)
      assert.match(String(yield* Fiber.join(running)), /broken Schema/)
      const next = yield* fork(pool.run(task, 1))
      puppet.succeed(2)
      assert.strictEqual(yield* Fiber.join(next), 2)
    }))

  it.effect("fails the caller, and not the pool, when a Schema cannot even be compiled", () =>
    Effect.gen(function*() {
      const { pool, puppet } = yield* openReady()
      const broken = WorkerTask.declare("broken", {
        input: Schema.Void,
        success: Schema.suspend((): typeof Schema.Unknown => {
          throw new RangeError("no such Schema")
        })
      })
      const running = yield* fork(Effect.exit(pool.run(broken, undefined)))
      puppet.succeed(1)
      assert.match(String(yield* Fiber.join(running)), /no such Schema/)
      assert.deepInclude(yield* pool.stats, { idle: 1, busy: 0 })
    }))

  it.effect("waits one second after the first failures, however many workers failed together", () =>
    Effect.gen(function*() {
      const { pool, puppets } = yield* open({ minWorkers: 4, maxWorkers: 4 })
      const failure = { name: "Error", message: "no", stack: undefined }
      for (const puppet of puppets.slice()) puppet.events.onMessage([FromWorker.startFailed, failure])
      assert.deepInclude(yield* pool.stats, { startFailures: 4, workers: 0 })
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(puppets.length, 4)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(puppets.length, 8)
      for (const puppet of puppets.slice(4)) puppet.events.onMessage([FromWorker.startFailed, failure])
      yield* TestClock.adjust("1999 millis")
      assert.strictEqual(puppets.length, 8)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(puppets.length, 12)
    }))

  it.effect("gives up a worker whose module is never loaded", () =>
    Effect.gen(function*() {
      const { pool, puppets } = yield* open({ startTimeout: "3 seconds", minWorkers: 0 })
      const waiting = yield* fork(Effect.flip(pool.run(task, 1)))
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(reasonOf(yield* Fiber.join(waiting)), {
        _tag: "WorkerStartFailed",
        problem: "it was not ready in 3000 ms (startTimeout)"
      })
      assert.isTrue(puppets[0]!.isTerminated)
      puppets[0]!.ready()
      assert.deepInclude(yield* pool.stats, { ...outcomes, failed: 1, workers: 0, idle: 0, startFailures: 1 })
    }))

  for (const [closeGrace, exitMillis] of [[2000, 2000], [0, 1000]] as const) {
    it.effect(`ends although a worker blocks in native code, with a grace of ${closeGrace}`, () =>
      Effect.gen(function*() {
        const { close, pool, puppet } = yield* openReady({ closeGrace, timeout: "1 hour" })
        const running = yield* fork(Effect.flip(pool.run(task, 1)))
        const closing = yield* fork(close)
        yield* TestClock.adjust(closeGrace)
        assert.isTrue(puppet.isTerminated)
        assert.strictEqual(reasonOf(yield* Fiber.join(running))._tag, "PoolClosed")
        yield* TestClock.adjust(exitMillis - 1)
        assert.isUndefined(closing.pollUnsafe())
        yield* TestClock.adjust(1)
        yield* Fiber.join(closing)
        assert.deepInclude(yield* pool.stats, { ...outcomes, failed: 1, workers: 0 })
      }))
  }

  it.effect("terminates a worker whose layer does not let go", () =>
    Effect.gen(function*() {
      const { close, puppet } = yield* openReady({ closeGrace: "2 seconds" })
      const closing = yield* fork(close)
      assert.deepStrictEqual(puppet.last(), [ToWorker.stop])
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(puppet.isTerminated)
      puppet.exit(1)
      yield* Fiber.join(closing)
    }))

  it.effect("ends while its workers start", () =>
    Effect.gen(function*() {
      const { close, pool, puppets } = yield* open({ minWorkers: 1 })
      const waiting = yield* fork(Effect.flip(pool.run(task, 1)))
      const closing = yield* fork(close)
      assert.strictEqual(reasonOf(yield* Fiber.join(waiting))._tag, "PoolClosed")
      puppets[0]!.ready()
      assert.isTrue(puppets[0]!.isTerminated)
      puppets[0]!.exit(1)
      yield* Fiber.join(closing)
      assert.deepInclude(yield* pool.stats, { ...outcomes, failed: 1, workers: 0, startFailures: 0 })
      assert.strictEqual(puppets.length, 1)
    }))

  it.effect("gives what arrived before the end to the reader, then the failure", () =>
    Effect.gen(function*() {
      const { pool, puppet } = yield* openReady()
      const seen: Array<number> = []
      const reading = yield* fork(
        Effect.flip(Stream.runForEach(pool.stream(numbers, undefined), (n) => Effect.sync(() => seen.push(n))))
      )
      puppet.chunk(1, 2)
      puppet.chunk(3)
      puppet.exit(9)
      assert.deepStrictEqual(reasonOf(yield* Fiber.join(reading)), {
        _tag: "WorkerCrashed",
        exitCode: 9,
        problem: undefined
      })
      assert.deepStrictEqual(seen, [1, 2, 3])
      assert.deepInclude(yield* pool.stats, { ...outcomes, failed: 1, crashed: 1, workers: 1 })
    }))

  it.effect("tells the worker of each chunk that its reader takes, and of none that it does not", () =>
    Effect.gen(function*() {
      const { pool, puppet } = yield* openReady()
      const credits = () => puppet.posted.filter(([kind]) => kind === ToWorker.credit).length
      const taken: Array<number> = []
      const reading = yield* fork(
        Stream.runForEachArray(pool.stream(numbers, undefined), (chunk) =>
          Effect.suspend(() => {
            taken.push(...chunk)
            return taken.length === 2 ? Effect.never : Effect.void
          }))
      )
      for (const n of [1, 2, 3, 4]) puppet.chunk(n)
      yield* Effect.yieldNow
      assert.deepStrictEqual([taken, credits()], [[1, 2], 2])
      yield* TestClock.adjust("1 hour")
      assert.deepInclude(yield* pool.stats, { ...outcomes, busy: 1 })
      yield* Fiber.interrupt(reading)
      assert.deepStrictEqual(puppet.last(), [ToWorker.interrupt, 1])
      puppet.chunk(5)
      puppet.events.onMessage([FromWorker.interrupted, 1])
      assert.deepInclude(yield* pool.stats, { ...outcomes, cancelled: 1, idle: 1 })
    }))

  it.effect("is as it was after 100,000 tasks that end in every way", () =>
    Effect.gen(function*() {
      const { pool, puppets } = yield* openReady({ maxWorkers: 2, minWorkers: 2, maxQueue: 1, timeout: "1 second" })
      puppets[1]!.ready()
      for (let i = 0; i < 25_000; i++) {
        const fibers = []
        for (let j = 0; j < 4; j++) fibers.push(yield* fork(Effect.exit(pool.run(task, j))))
        puppets[0]!.succeed(i)
        puppets[1]!.succeed(i)
        yield* Fiber.interrupt(fibers[2]!)
        for (const puppet of puppets) puppet.events.onMessage([FromWorker.interrupted, puppet.jobId])
        if (i % 5000 === 0) yield* TestClock.adjust("1 second")
      }
      const { cancelled, completed, failed, rejected, timedOut } = yield* pool.stats
      assert.strictEqual(completed + cancelled + rejected + failed + timedOut, 100_000)
      assert.strictEqual(rejected, 25_000)
      assert.deepInclude(yield* pool.stats, { workers: 2, idle: 2, busy: 0, queued: 0 })
      assert.strictEqual(puppets.length, 2)
    }))

  for (
    const [option, value] of [
      ["minWorkers", NaN],
      ["minWorkers", 2],
      ["minWorkers", Infinity],
      ["maxWorkers", Infinity],
      ["maxQueue", NaN],
      ["maxJobsPerWorker", NaN],
      ["retryAfter", Infinity]
    ] as const
  ) {
    it.effect(`dies for ${option} ${value}`, () =>
      Effect.gen(function*() {
        const exit = yield* Effect.exit(open({ maxWorkers: 1, [option]: value }))
        assert.match(String(exit), /RangeError: .*not (NaN|Infinity|1)/)
      }))
  }

  for (const options of [{ priority: NaN }, { timeout: "soon" as never }]) {
    it.effect(`dies for ${JSON.stringify(options)} of a task, and the pool goes on`, () =>
      Effect.gen(function*() {
        const { pool, puppet } = yield* openReady()
        assert.isTrue(Exit.hasDies(yield* Effect.exit(pool.run(task, 1, options))))
        assert.isTrue(Exit.hasDies(yield* Effect.exit(Stream.runDrain(pool.stream(numbers, undefined, options)))))
        const next = yield* fork(pool.run(task, 1))
        puppet.succeed(2)
        assert.strictEqual(yield* Fiber.join(next), 2)
        assert.deepInclude(yield* pool.stats, { ...outcomes, completed: 1 })
      }))
  }
})
