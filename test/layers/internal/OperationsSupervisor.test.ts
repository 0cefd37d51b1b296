import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import * as OperationsSupervisor from "../../../layers/internal/OperationsSupervisor.ts"
import * as Supervisor from "../../../layers/internal/Supervisor.ts"
import { AskError } from "../../../layers/internal/SupervisorAsk.ts"
import { Drained } from "../../../src/service/Operations.ts"
import { facts, operationsContract } from "../../contract/Operations.ts"
import { capture } from "../../utils/logs.ts"
import { supervised } from "../../utils/operations.ts"
import { until } from "../../utils/sockets.ts"

operationsContract("OperationsSupervisor", Effect.map(supervised, ({ subject }) => subject))

const ended = new AskError({ reason: { _tag: "Ended" } })

describe("OperationsSupervisor", () => {
  describe("with workers that do not answer", () => {
    /** The first worker answers, the second is `second`. */
    const beside = (second: Result.Result<unknown, AskError>) =>
      Effect.flatMap(supervised, ({ around, crew }) =>
        around.over({
          ...crew,
          askAll: (what, timeout) =>
            Effect.map(crew.askAll(what, timeout), ([first]) => [first!, { number: 2, pid: 102, answer: second }])
        }))

    for (
      const [how, answer] of [
        ["have ended", Result.fail(ended)],
        ["say something else", Result.succeed({ hello: "there" })],
        ["refuse", Result.succeed({ error: { _tag: "Failed", problem: "no" } })]
      ] as const
    ) {
      it.effect(`tells the others' reports where some ${how}`, () =>
        Effect.gen(function*() {
          const operations = yield* beside(answer)
          const { isReady, workers } = yield* operations.status
          assert.isTrue(isReady)
          assert.deepStrictEqual(workers.map(({ number, report }) => [number, report !== undefined]), [
            [1, true],
            [2, false]
          ])
          assert.deepStrictEqual((yield* operations.connections(9)).map(({ worker }) => worker), [1, 1])
        }))

      it.effect(`says which worker was not drained where it ${how}`, () =>
        Effect.gen(function*() {
          const operations = yield* beside(answer)
          const error = yield* Effect.flip(operations.drain(true))
          assert.strictEqual(error.reason._tag, "Failed")
          assert.include(error.message, "Worker 2")
          assert.isTrue((yield* operations.status).isDrained)
        }))
    }

    it.effect("waits long for a worker's first report, which may wait for health checks, and not for the later ones", () =>
      Effect.gen(function*() {
        const { around, crew } = yield* supervised
        const waits: Array<number> = []
        const operations = yield* around.over({
          ...crew,
          askAll: (_, timeout) =>
            Effect.sync(() => {
              waits.push(Duration.toSeconds(timeout!))
              return []
            })
        })
        yield* operations.status
        yield* operations.status
        assert.deepStrictEqual(waits, [6, 2])
      }))

    it.effect("is not ready when no worker says that it is", () =>
      Effect.gen(function*() {
        const { around, crew } = yield* supervised
        const operations = yield* around.over({ ...crew, askAll: () => Effect.succeed([]) })
        assert.isFalse((yield* operations.status).isReady)
      }))
  })

  it.effect("shows a worker that finishes what it has beside the one in its place", () =>
    Effect.gen(function*() {
      const { around, crew } = yield* supervised
      const operations = yield* around.over({ ...crew, leaving: [{ number: 2, pid: 77 }] })
      const { isShuttingDown, workers } = yield* operations.status
      assert.deepStrictEqual(workers.map(({ number, pid, state }) => [number, pid, state]), [
        [1, 101, "serving"],
        [2, 102, "serving"],
        [2, 77, "stopping"]
      ])
      assert.isFalse(isShuttingDown)
    }))

  it.effect("is shutting down when all of its workers are", () =>
    Effect.gen(function*() {
      const { around, crew } = yield* supervised
      const operations = yield* around.over({
        ...crew,
        leaving: crew.status.map(({ number, pid }) => ({ number, pid: pid! }))
      })
      const { isShuttingDown, workers } = yield* operations.status
      assert.isTrue(isShuttingDown)
      assert.deepStrictEqual(workers.map(({ state }) => state), ["stopping", "stopping"])
    }))

  it.effect("asks each worker once for all who want the metrics at the same time, and anew for the next", () =>
    Effect.gen(function*() {
      const { around, crew } = yield* supervised
      const answered = Latch.makeUnsafe(false)
      let asked = 0
      const operations = yield* around.over({
        ...crew,
        askAll: (what, timeout) => {
          asked++
          return Effect.andThen(answered.await, crew.askAll(what, timeout))
        }
      })
      const both = yield* Effect.forkChild(
        Effect.all([operations.metrics, operations.metrics], { concurrency: "unbounded" })
      )
      yield* until(() => asked > 0)
      yield* answered.open
      const [first, second] = yield* Fiber.join(both)
      assert.strictEqual(first, second)
      assert.strictEqual(asked, 1)
      yield* operations.metrics
      assert.strictEqual(asked, 2)
    }))

  describe("over a supervisor", () => {
    class FakeChild implements Supervisor.Child {
      readonly pid: number
      readonly number: number
      readonly told: Array<unknown> = []
      readonly isReady = Deferred.makeUnsafe<void>()
      readonly end = Deferred.makeUnsafe<Supervisor.ChildExit>()
      constructor(pid: number, number: number) {
        this.pid = pid
        this.number = number
      }
      readonly ready = Deferred.await(this.isReady)
      readonly recycle = Effect.never
      readonly exited = Deferred.await(this.end)
      readonly heardMillis = () => 0
      readonly reopen = Effect.sync(() => void this.told.push("reopen"))
      readonly ask = (what: unknown) =>
        Effect.sync((): unknown => {
          this.told.push(what)
          return { done: null }
        })
      readonly stop = () => Effect.asVoid(Deferred.succeed(this.end, { code: 0, signal: null }))
      readonly kill = Effect.asVoid(Deferred.succeed(this.end, { code: null, signal: "SIGKILL" }))
      readonly serve = Effect.andThen(Deferred.succeed(this.isReady, undefined), TestClock.adjust(0))
    }

    const start = Effect.gen(function*() {
      const children: Array<FakeChild> = []
      const around = yield* OperationsSupervisor.make({
        ...facts,
        addresses: () => [],
        config: Effect.succeed([]),
        stop: Effect.void
      })
      const supervisor = yield* Supervisor.make(
        {
          workers: 2,
          startTimeout: Duration.seconds(30),
          stopTimeout: Duration.seconds(40),
          heartbeatTimeout: Duration.zero
        },
        around.greeting((number) =>
          Effect.sync(() => {
            const child = new FakeChild(101 + children.length, number)
            children.push(child)
            return child
          })
        )
      )
      const operations = yield* around.over(supervisor)
      yield* Effect.forkChild(supervisor.run(Effect.void), { startImmediately: true })
      return { around, children, operations }
    })

    const world = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      effect.pipe(
        Effect.provide(capture().layer),
        Effect.provideService(Drained, { isOn: false })
      )

    const drain = (on: boolean) => ({ do: "drain", on })

    it.effect("scales, and ends when the new ones serve", () =>
      world(Effect.gen(function*() {
        const { children, operations } = yield* start
        for (const child of children) yield* child.serve
        const scaling = yield* Effect.forkChild(operations.scale(3), { startImmediately: true })
        yield* TestClock.adjust("1 second")
        assert.isUndefined(scaling.pollUnsafe())
        yield* children[2]!.serve
        yield* Fiber.join(scaling)
        assert.lengthOf((yield* operations.status).workers, 3)
        yield* operations.scale(1)
        yield* TestClock.adjust(0)
        assert.lengthOf((yield* operations.status).workers, 1)
      })))

    it.effect("says so when a new worker does not serve", () =>
      world(Effect.gen(function*() {
        const { children, operations } = yield* start
        for (const child of children) yield* child.serve
        const scaling = yield* Effect.forkChild(Effect.flip(operations.scale(3)), { startImmediately: true })
        yield* children[2]!.kill
        const error = yield* Fiber.join(scaling)
        assert.strictEqual(error.reason._tag, "Failed")
        assert.include(error.message, "2 of 3 workers serve")
      })))

    it.effect("drains workers that start afterwards before they serve, and those that were starting once they do", () =>
      world(Effect.gen(function*() {
        const { children, operations } = yield* start
        yield* children[0]!.serve
        yield* operations.drain(true)
        assert.deepStrictEqual(children.map(({ told }) => told), [[drain(true)], []])
        yield* children[1]!.serve
        assert.deepStrictEqual(children[1]!.told, [drain(true)])
        yield* Effect.forkChild(operations.scale(3), { startImmediately: true })
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(children[2]!.told, [drain(true)])
        yield* children[2]!.serve
        assert.deepStrictEqual(children[2]!.told, [drain(true)])
      })))

    it.effect("takes back what it has told a starting worker when that is over once it serves", () =>
      world(Effect.gen(function*() {
        const { children, operations } = yield* start
        for (const child of children) yield* child.serve
        yield* operations.drain(true)
        yield* Effect.forkChild(operations.scale(3), { startImmediately: true })
        yield* TestClock.adjust(0)
        yield* operations.drain(false)
        yield* children[2]!.serve
        assert.deepStrictEqual(children[2]!.told, [drain(true), drain(false)])
      })))

    it.effect("counts workers that were started in the place of others", () =>
      world(Effect.gen(function*() {
        const { children, operations } = yield* start
        for (const child of children) yield* child.serve
        assert.strictEqual((yield* operations.status).restarts, 0)
        yield* children[0]!.kill
        yield* TestClock.adjust(0)
        assert.strictEqual((yield* operations.status).restarts, 1)
        yield* children[2]!.serve
        const reloading = yield* Effect.forkChild(operations.reload, { startImmediately: true })
        yield* TestClock.adjust(0)
        yield* children[3]!.serve
        yield* children[4]!.serve
        yield* Fiber.join(reloading)
        assert.strictEqual((yield* operations.status).restarts, 3)
      })))

    it.effect("answers workers that ask, once there is a supervisor", () =>
      world(Effect.gen(function*() {
        const around = yield* OperationsSupervisor.make({
          ...facts,
          addresses: () => [],
          config: Effect.succeed([]),
          stop: Effect.void
        })
        assert.isUndefined(around.answer({ do: "config" }))
        const { crew } = yield* supervised
        yield* around.over(crew)
        assert.deepStrictEqual(yield* around.answer({ do: "config" })!, { done: [] })
        assert.isUndefined(around.answer({ do: "something else" }))
        assert.isUndefined(around.answer("hello"))
      })))
  })

  it.effect("tells when it was started", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("3 hours")
      const { subject } = yield* supervised
      const now = yield* Clock.currentTimeMillis
      yield* TestClock.adjust("1 hour")
      const { nowMillis, startedAtMillis } = yield* subject.operations.status
      assert.deepStrictEqual([startedAtMillis, nowMillis - startedAtMillis], [now, 3_600_000])
    }))
})
