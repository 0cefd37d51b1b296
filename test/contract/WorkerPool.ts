/**
 * What every WorkerPool does, whatever its workers are: values, errors, state, timeouts, crashes, streams, the end. Each
 * layer's test calls `workerPoolContract` with a way to build it; what a layer cannot do is skipped with its reason. What
 * does not depend on the workers is tested with inline ones.
 *
 * Time is the TestClock's. Workers are real, and a start costs half a second: tests go one after the other.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpServerRespondable from "effect/http/HttpServerRespondable"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as fs from "node:fs"
import type { Options } from "../../layers/internal/WorkerPoolOptions.ts"
import * as tasks from "../utils/workerTasks.ts"
import { fork, marks, moduleOf, type Pool, reasonOf, turns, until, untilStats } from "../utils/workerTasksMarks.ts"
import * as noLayer from "../utils/workerTasksNoLayer.ts"

/** What the contract asks a layer to be built with. */
export interface ContractOptions extends Options {
  readonly module: URL
}

/** What a transport cannot do, and why. */
export interface Limitations {
  readonly terminate?: string
  readonly crash?: string
  readonly move?: string
  readonly channel?: string
}

export const workerPoolContract = (
  name: string,
  make: (options: ContractOptions) => Effect.Effect<Pool, never, Scope.Scope>,
  limitations: Limitations = {}
): void => {
  const open = (options: Partial<ContractOptions> = {}) =>
    // A clock that was moved once does not warn when a worker takes long to start.
    Effect.andThen(TestClock.adjust(0), make({ module: moduleOf("workerTasks"), ...options }))

  const sharedScope = Scope.makeUnsafe()
  afterAll(() => Effect.runPromise(Scope.close(sharedScope, Exit.void)))
  let opened: Pool | undefined
  /** One worker for all tests that leave it as it was. Its time is real. */
  const shared = Effect.suspend(() =>
    opened === undefined
      ? TestClock.withLive(
        Effect.tap(
          Scope.provide(
            make({ module: moduleOf("workerTasks"), maxWorkers: 1, interruptGrace: "1 minute" }),
            sharedScope
          ),
          (pool) => Effect.sync(() => opened = pool)
        )
      )
      : Effect.succeed(opened)
  )
  const openOne = (options: Partial<ContractOptions> = {}) => open({ minWorkers: 1, maxWorkers: 1, ...options })

  /** A pool that ends before its test does. */
  const openScoped = Effect.fnUntraced(function*(options: Partial<ContractOptions> = {}) {
    const scope = yield* Scope.make()
    const pool = yield* Scope.provide(openOne(options), scope)
    return { pool, close: Scope.close(scope, Exit.void) }
  })

  const unless = (reason: string | undefined, title: string, test: () => Effect.Effect<void, unknown, Scope.Scope>) =>
    reason === undefined ? it.effect(title, test) : it.skip(`${title} (${reason})`, () => {})

  describe(`${name} as a WorkerPool`, { concurrent: false }, () => {
    describe("run", () => {
      it.effect("yields what a value, a Promise and an Effect yield", () =>
        Effect.gen(function*() {
          const pool = yield* shared
          assert.strictEqual(yield* pool.run(tasks.add, { a: 1, b: 2 }), 3)
          assert.strictEqual(yield* pool.run(tasks.addLater, [3, 4]), 7)
          assert.isAbove((yield* pool.run(tasks.serve, undefined)).served, 0)
        }))

      it.effect("carries bytes, dates, bigints and maps", () =>
        Effect.gen(function*() {
          const pool = yield* shared
          const value = {
            bytes: new Uint8Array([1, 2, 255]),
            date: new Date(86_400_000),
            big: 2n ** 70n,
            map: new Map([["a", new Set([1])]])
          }
          assert.deepStrictEqual(yield* pool.run(tasks.echo, value), value)
          assert.strictEqual(value.bytes.length, 3)
        }))

      unless(limitations.move, "moves the bytes of a Transferable, there and back", () =>
        Effect.gen(function*() {
          const pool = yield* shared
          const bytes = new Uint8Array([1, 2, 3])
          assert.deepStrictEqual([...yield* pool.run(tasks.move, bytes)], [1, 2, 3])
          assert.strictEqual(bytes.byteLength, 0)
          assert.strictEqual(yield* pool.run(tasks.lengthKept, undefined), 0)
        }))

      it.effect("fails with the declared error, which is the same class again", () =>
        Effect.gen(function*() {
          const pool = yield* shared
          const error = yield* Effect.flip(pool.run(tasks.refuse, 7))
          assert.instanceOf(error, tasks.Refusal)
          assert.deepStrictEqual(error, new tasks.Refusal({ code: 7, at: new Date(0) }))
        }))

      for (const task of [tasks.explode, tasks.explodeLater]) {
        it.effect(`keeps name, message and stack of what ${task.name} throws`, () =>
          Effect.gen(function*() {
            const pool = yield* shared
            const error = yield* Effect.flip(pool.run(task, "too far"))
            assert.deepStrictEqual(reasonOf(error), { _tag: "TaskDefect", problem: "RangeError: too far" })
            const cause = error.cause as Error
            assert.strictEqual(cause.name, "RangeError")
            assert.strictEqual(cause.message, "too far")
            assert.match(cause.stack!, /workerTasks\.ts/)
          }))
      }

      unless(limitations.channel, "does not listen to what else a worker says", () =>
        Effect.gen(function*() {
          const pool = yield* shared
          yield* pool.run(tasks.babble, undefined)
          assert.strictEqual(yield* pool.run(tasks.add, { a: 1, b: 2 }), 3)
          assert.deepInclude(yield* pool.stats, { workers: 1, crashed: 0, busy: 0 })
        }))

      it.effect("says what does not fit, and goes on", () =>
        Effect.gen(function*() {
          const pool = yield* shared
          const input = yield* Effect.flip(pool.run(tasks.add, { a: 1, b: "2" as never }))
          assert.strictEqual(reasonOf(input)._tag, "InputInvalid")
          assert.match(input.message, /^Task 'add': the input is not valid: .*"b"/s)
          const output = yield* Effect.flip(pool.run(tasks.wrongResult, undefined))
          assert.strictEqual(reasonOf(output)._tag, "OutputInvalid")
          const uncloneable = yield* Effect.flip(pool.run(tasks.uncloneable, undefined))
          assert.strictEqual(reasonOf(uncloneable)._tag, "OutputInvalid")
          const undeclared = yield* Effect.flip(pool.run(tasks.wrongError, undefined))
          assert.deepStrictEqual(reasonOf(undeclared), { _tag: "TaskDefect", problem: "TypeError: not declared" })
          const absent = yield* Effect.flip(pool.run(tasks.absent, undefined))
          assert.deepStrictEqual(reasonOf(absent), { _tag: "TaskUnknown" })
          assert.strictEqual(yield* pool.run(tasks.add, { a: 1, b: 2 }), 3)
          assert.deepInclude(yield* pool.stats, { workers: 1, crashed: 0, busy: 0 })
        }))
    })

    describe("workers", () => {
      it.effect("keeps the state of a worker, made once, from task to task [C225]", () =>
        Effect.gen(function*() {
          const pool = yield* shared
          const first = yield* pool.run(tasks.serve, undefined)
          const second = yield* pool.run(tasks.serve, undefined)
          assert.deepStrictEqual(second, { id: first.id, served: first.served + 1 })
        }))

      it.effect("replaces a worker after maxJobsPerWorker tasks [C225]", () =>
        Effect.gen(function*() {
          const pool = yield* openOne({ maxJobsPerWorker: 2 })
          const served = [
            yield* pool.run(tasks.serve, undefined),
            yield* pool.run(tasks.serve, undefined),
            yield* pool.run(tasks.serve, undefined)
          ]
          assert.deepStrictEqual(served.map(({ served }) => served), [1, 2, 1])
          assert.notStrictEqual(served[2]!.id, served[1]!.id)
          assert.deepInclude(yield* pool.stats, { recycled: 1, workers: 1, crashed: 0, terminated: 0 })
        }))

      it.effect("says why no worker can start", () =>
        Effect.gen(function*() {
          const pool = yield* open({ module: moduleOf("workerTasksUnloadable"), minWorkers: 0, maxWorkers: 1 })
          const fail = Effect.flip(pool.run(noLayer.never, undefined))
          assert.deepStrictEqual(reasonOf(yield* fail), { _tag: "WorkerStartFailed", problem: "the module throws" })
          assert.deepInclude(yield* pool.stats, { startFailures: 1, failed: 1, workers: 0, queued: 0 })
        }))
    })

    describe("stopping a task", () => {
      it.effect("interrupts an Effect, which releases what it holds, and keeps the worker", () =>
        Effect.gen(function*() {
          const { path, started, stopped } = yield* marks
          const pool = yield* shared
          const { id, served } = yield* pool.run(tasks.serve, undefined)
          const { cancelled } = yield* pool.stats
          const running = yield* fork(pool.run(tasks.hold, { path: path("a") }))
          yield* started("a")
          yield* Fiber.interrupt(running)
          yield* stopped("a")
          assert.deepStrictEqual(yield* pool.run(tasks.serve, undefined), { id, served: served + 1 })
          assert.deepInclude(yield* pool.stats, { cancelled: cancelled + 1, terminated: 0, crashed: 0 })
        }))

      it.effect("fails with TaskTimeout when the time is over, 504 for a client [C225]", () =>
        Effect.gen(function*() {
          const { path, started, stopped } = yield* marks
          const pool = yield* openOne({ timeout: "5 seconds" })
          const running = yield* fork(Effect.flip(pool.run(tasks.hold, { path: path("a") })))
          yield* started("a")
          yield* TestClock.adjust("4999 millis")
          assert.strictEqual((yield* pool.stats).busy, 1)
          yield* TestClock.adjust("1 millis")
          const error = yield* Fiber.join(running)
          assert.deepStrictEqual(reasonOf(error), { _tag: "TaskTimeout", timeoutMillis: 5000 })
          assert.strictEqual((yield* HttpServerRespondable.toResponse(error)).status, 504)
          yield* stopped("a")
          assert.strictEqual(yield* pool.run(tasks.add, { a: 1, b: 1 }), 2)
          assert.deepInclude(yield* pool.stats, { timedOut: 1, terminated: 0, busy: 0 })
        }))

      unless(
        limitations.terminate,
        "terminates a worker that computes on, and replaces it [C225]",
        () =>
          Effect.gen(function*() {
            const { path, started } = yield* marks
            const pool = yield* openOne({ interruptGrace: "1 second" })
            const { id } = yield* pool.run(tasks.serve, undefined)
            const running = yield* fork(Effect.flip(pool.run(tasks.spin, path("a"), { timeout: "3 seconds" })))
            yield* started("a")
            yield* TestClock.adjust("3 seconds")
            assert.strictEqual(reasonOf(yield* Fiber.join(running))._tag, "TaskTimeout")
            assert.deepInclude(yield* pool.stats, { busy: 1, terminated: 0 })
            yield* TestClock.adjust("1 second")
            const next = yield* pool.run(tasks.serve, undefined)
            assert.notStrictEqual(next.id, id)
            assert.deepInclude(yield* pool.stats, { timedOut: 1, terminated: 1, crashed: 0, workers: 1 })
          })
      )
    })

    describe("crashes", () => {
      unless(limitations.crash, "fails the task whose worker ends, and no other", () =>
        Effect.gen(function*() {
          const { path, release, started } = yield* marks
          const pool = yield* open({ minWorkers: 2, maxWorkers: 2 })
          const other = yield* fork(pool.run(tasks.hold, { path: path("a") }))
          yield* started("a")
          const error = yield* Effect.flip(pool.run(tasks.exit, 7))
          assert.strictEqual(error.task, "exit")
          assert.deepStrictEqual(reasonOf(error), { _tag: "WorkerCrashed", exitCode: 7, problem: undefined })
          assert.strictEqual(yield* pool.run(tasks.add, { a: 1, b: 1 }), 2)
          yield* release("a")
          assert.strictEqual(yield* Fiber.join(other), path("a"))
          assert.deepInclude(yield* pool.stats, { crashed: 1, failed: 1, workers: 2, busy: 0 })
          // What a worker said before it ended is not lost.
          assert.strictEqual(yield* pool.run(tasks.exitAfter, 0), 0)
          assert.deepInclude(yield* untilStats(pool, ({ crashed }) => crashed === 2), { failed: 1, completed: 3 })
        }))
    })

    describe("stream", () => {
      it.effect("yields the elements of a Stream and of an AsyncIterable", () =>
        Effect.gen(function*() {
          const { path } = yield* marks
          const pool = yield* shared
          const numbers = yield* Stream.runCollect(pool.stream(tasks.count, { to: 20, path: path("a") }))
          assert.deepStrictEqual([...numbers], Array.from({ length: 20 }, (_, i) => i + 1))
          assert.deepStrictEqual([...yield* Stream.runCollect(pool.stream(tasks.letters, "abc"))], ["a", "b", "c"])
          assert.deepInclude(yield* pool.stats, { workers: 1, crashed: 0 })
        }))

      it.effect("fails after the elements that came before, with the declared error or with a defect", () =>
        Effect.gen(function*() {
          const pool = yield* shared
          const seen: Array<number | string> = []
          const gather = <E>(stream: Stream.Stream<number | string, E>) =>
            Effect.flip(Stream.runForEach(stream, (element) => Effect.sync(() => seen.push(element))))
          const refusal = yield* gather(pool.stream(tasks.countThenRefuse, 3))
          assert.deepStrictEqual(refusal, new tasks.Refusal({ code: 3, at: new Date(0) }))
          const defect = yield* gather(pool.stream(tasks.letters, "a!b"))
          assert.deepStrictEqual(reasonOf(defect), { _tag: "TaskDefect", problem: "RangeError: no marks" })
          assert.deepStrictEqual(seen, [1, 2, "a"])
        }))

      it.effect("lets the worker go a few chunks ahead of its reader and no further", () =>
        Effect.gen(function*() {
          const { path } = yield* marks
          const pool = yield* shared
          const made = () => fs.existsSync(path("a.made")) ? fs.statSync(path("a.made")).size : 0
          let taken = 0
          yield* pool.stream(tasks.count, { to: 30, path: path("a") }).pipe(
            Stream.runForEachArray((chunk) =>
              Effect.gen(function*() {
                taken += chunk.length
                // The window is four chunks; the fifth may be made, and waits to be sent.
                yield* until(() => made() >= Math.min(30, taken + 3))
                yield* turns
                assert.isAtMost(made(), taken + 5)
              })
            )
          )
          assert.strictEqual(taken, 30)
        }))

      it.effect("stops the worker's stream when its reader stops, and keeps the worker", () =>
        Effect.gen(function*() {
          const { path, stopped } = yield* marks
          const pool = yield* shared
          const { id, served } = yield* pool.run(tasks.serve, undefined)
          const { cancelled } = yield* pool.stats
          const some = yield* pool.stream(tasks.count, { to: 1_000_000, path: path("a") }).pipe(
            Stream.take(3),
            Stream.runCollect
          )
          assert.deepStrictEqual([...some], [1, 2, 3])
          yield* stopped("a")
          assert.deepStrictEqual(yield* pool.run(tasks.serve, undefined), { id, served: served + 1 })
          assert.deepInclude(yield* pool.stats, { cancelled: cancelled + 1, terminated: 0 })
        }))
    })

    describe("the end", () => {
      it.effect("refuses what waits, and what comes later", () =>
        Effect.gen(function*() {
          const { path, release, started } = yield* marks
          const { close, pool } = yield* openScoped()
          const running = yield* fork(pool.run(tasks.hold, { path: path("a") }))
          yield* started("a")
          const waiting = yield* fork(Effect.flip(pool.run(tasks.add, { a: 1, b: 1 })))
          const closing = yield* fork(close)
          const error = yield* Fiber.join(waiting)
          assert.strictEqual(reasonOf(error)._tag, "PoolClosed")
          assert.strictEqual((yield* HttpServerRespondable.toResponse(error)).status, 503)
          assert.strictEqual(reasonOf(yield* Effect.flip(pool.run(tasks.add, { a: 1, b: 1 })))._tag, "PoolClosed")
          yield* release("a")
          assert.strictEqual(yield* Fiber.join(running), path("a"))
          yield* Fiber.join(closing)
          assert.deepInclude(yield* pool.stats, { workers: 0, busy: 0, terminated: 0, completed: 1 })
        }))
    })
  })
}
