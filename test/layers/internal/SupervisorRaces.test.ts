/** What comes at the wrong moment: crashes, signals and clocks in the middle of something else. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as Supervisor from "../../../layers/internal/Supervisor.ts"
import { serving, start, turn } from "../../utils/fakeWorkers.ts"
import { capture } from "../../utils/logs.ts"

describe("Supervisor", () => {
  describe("when things come together", () => {
    it.effect("starts anew what was being started when a restart came: it may be of the old program [C149]", () =>
      Effect.gen(function*() {
        const { children, last, states, supervisor } = yield* serving({ workers: 1 })
        yield* children[0]!.exit(1)
        assert.strictEqual(children.length, 2)
        const restarting = yield* Effect.forkChild(supervisor.restart)
        yield* turn
        assert.deepStrictEqual(children[1]!.asked, ["kill"])
        assert.strictEqual(children.length, 3)
        yield* last().serve
        yield* turn
        assert.isTrue(yield* Fiber.join(restarting))
        assert.deepStrictEqual(states(), [[1, 1003, "serving"]])
      }))

    it.effect("lets a restart that comes before the first workers serve wait for them", () =>
      Effect.gen(function*() {
        const { children, started, supervisor } = yield* start({ workers: 1 })
        yield* Effect.forkChild(supervisor.restart)
        yield* turn
        assert.strictEqual(children.length, 1)
        yield* children[0]!.serve
        yield* turn
        assert.strictEqual(started(), 1)
        assert.strictEqual(children.length, 2)
      }))

    it.effect("makes one of the restarts that wait for their turn", () =>
      Effect.gen(function*() {
        const { children, last, supervisor } = yield* serving({ workers: 1 })
        const first = yield* Effect.forkChild(supervisor.restart, { startImmediately: true })
        yield* turn
        const others = yield* Effect.forkChild(
          Effect.all([supervisor.restart, supervisor.restart, supervisor.restart], { concurrency: "unbounded" }),
          { startImmediately: true }
        )
        yield* last().serve
        yield* turn
        assert.isTrue(yield* Fiber.join(first))
        assert.strictEqual(children.length, 3)
        yield* last().serve
        yield* turn
        assert.deepStrictEqual(yield* Fiber.join(others), [true, true, true])
        assert.strictEqual(children.length, 3)
      }))

    it.effect("goes on with a restart whose asker has gone", () =>
      Effect.gen(function*() {
        const { children, last, states, supervisor } = yield* serving({ workers: 1 })
        const restarting = yield* Effect.forkChild(supervisor.restart, { startImmediately: true })
        yield* turn
        yield* Fiber.interrupt(restarting)
        yield* last().serve
        yield* turn
        assert.deepStrictEqual(states(), [[1, 1002, "serving"]])
        assert.deepStrictEqual(children[0]!.asked, ["restart"])
      }))

    it.effect("does not keep a worker that comes to serve after it was removed [C150]", () =>
      Effect.gen(function*() {
        const { children, last, states, supervisor } = yield* serving()
        yield* children[1]!.exit(1)
        assert.strictEqual(children.length, 3)
        yield* supervisor.remove
        yield* last().serve
        yield* turn
        assert.deepStrictEqual(states(), [[1, 1001, "serving"]])
        assert.deepStrictEqual(last().asked, ["stop"])
        yield* last().exit(0)
        assert.strictEqual(children.length, 3)
      }))

    it.effect("removes a worker that cannot start rather than one that serves [C150]", () =>
      Effect.gen(function*() {
        const { children, last, states, supervisor } = yield* serving({ heartbeatTimeout: Duration.zero })
        yield* children[0]!.exit(1)
        for (let failure = 1; failure <= 5; failure++) {
          yield* last().exit(3)
          yield* TestClock.adjust("30 seconds")
        }
        assert.deepStrictEqual(states(), [[1, undefined, "dead"], [2, 1002, "serving"]])
        yield* supervisor.remove
        assert.deepStrictEqual(states(), [[2, 1002, "serving"]])
        assert.deepStrictEqual(children[1]!.asked, [])
      }))

    it.effect("starts nobody once it stops, although a change waits for its turn", () =>
      Effect.gen(function*() {
        const { children, running, supervisor } = yield* serving()
        const changes = [supervisor.restart, supervisor.restart, supervisor.add, supervisor.remove]
        for (const change of changes) yield* Effect.forkChild(change, { startImmediately: true })
        yield* Deferred.succeed(children[1]!.wants, "maxRequests")
        yield* turn
        assert.strictEqual(children.length, 3)
        yield* Effect.forkChild(supervisor.stop)
        yield* turn
        for (const child of children) yield* child.exit(0)
        assert.strictEqual(yield* Fiber.join(running), Supervisor.exitCodes.clean)
        yield* TestClock.adjust("1 hour")
        assert.strictEqual(children.length, 3)
      }))

    it.effect("waits for the same end when it is told to stop again, even where it ends for another reason", () =>
      Effect.gen(function*() {
        const { children, running, supervisor } = yield* start()
        yield* children[0]!.serve
        yield* turn
        yield* children[1]!.exit(3)
        const stopping = yield* Effect.forkChild(supervisor.stop, { startImmediately: true })
        yield* turn
        assert.isUndefined(stopping.pollUnsafe())
        assert.deepStrictEqual(children[0]!.asked, ["stop"])
        yield* children[0]!.exit(0)
        yield* Fiber.join(stopping)
        assert.strictEqual(yield* Fiber.join(running), Supervisor.exitCodes.cannotStart)
        assert.strictEqual(supervisor.exitCode, Supervisor.exitCodes.cannotStart)
      }))
  })

  describe("a worker that finishes what it has", () => {
    for (const seconds of [40, 100]) {
      it.effect(`is killed for its silence, or after ${seconds} s, whichever is first [C147]`, () =>
        Effect.gen(function*() {
          const { children, supervisor } = yield* serving({ workers: 1, stopTimeout: Duration.seconds(seconds) })
          const stopping = yield* Effect.forkChild(supervisor.stop)
          yield* turn
          const limit = Math.min(seconds, 50)
          yield* TestClock.adjust(Duration.seconds(limit - 1))
          assert.deepStrictEqual(children[0]!.asked, ["stop"])
          yield* TestClock.adjust("1 second")
          assert.deepStrictEqual(children[0]!.asked, ["stop", "kill"])
          yield* Fiber.join(stopping)
          assert.strictEqual(supervisor.exitCode, Supervisor.exitCodes.unclean)
        }))
    }

    it.effect("is not killed before its time as long as it is heard [C147]", () =>
      Effect.gen(function*() {
        const { children, last, supervisor } = yield* serving({ workers: 1, stopTimeout: Duration.seconds(100) })
        yield* Effect.forkChild(supervisor.restart)
        yield* turn
        yield* last().serve
        yield* turn
        for (let second = 0; second < 99; second++) {
          yield* TestClock.adjust("1 second")
          for (const child of children) child.heard = yield* Clock.currentTimeMillis
        }
        assert.deepStrictEqual(children[0]!.asked, ["restart"])
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(children[0]!.asked, ["restart", "kill"])
      }))

    it.effect("and dies over it is told of, and is no crash of who has taken its place", () =>
      Effect.gen(function*() {
        const { layer, lines } = capture()
        yield* Effect.provide(
          Effect.gen(function*() {
            const { children, last, states, supervisor } = yield* serving({ workers: 1 })
            yield* Effect.forkChild(supervisor.restart)
            yield* turn
            yield* last().serve
            yield* turn
            assert.deepStrictEqual(supervisor.leaving, [{ number: 1, pid: 1001 }])
            yield* children[0]!.exit(null, "SIGSEGV")
            assert.deepStrictEqual(states(), [[1, 1002, "serving"]])
            assert.deepStrictEqual(supervisor.leaving, [])
            assert.strictEqual(supervisor.status[0]!.crashes, 0)
          }),
          layer
        )
        assert.include(
          lines.map(({ message }) => message),
          "Worker process 1001 ended before it had finished: SIGSEGV"
        )
      }))

    it.effect("and has to cut something at a restart does not spoil the end of the whole, long after", () =>
      Effect.gen(function*() {
        const { children, last, running, supervisor } = yield* serving({ workers: 1 })
        yield* Effect.forkChild(supervisor.restart)
        yield* turn
        yield* last().serve
        yield* turn
        yield* children[0]!.exit(1)
        yield* Effect.forkChild(supervisor.stop)
        yield* turn
        yield* last().exit(0)
        assert.strictEqual(yield* Fiber.join(running), Supervisor.exitCodes.clean)
      }))
  })

  it.effect("tries again to replace a worker that wants it, when the new one does not start [C148]", () =>
    Effect.gen(function*() {
      const { children, last } = yield* serving({ workers: 1, heartbeatTimeout: Duration.zero })
      yield* Deferred.succeed(children[0]!.wants, "maxRequests")
      yield* turn
      yield* last().exit(3)
      assert.strictEqual(children.length, 2)
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(children.length, 3)
      yield* last().serve
      yield* turn
      assert.deepStrictEqual(children[0]!.asked, ["restart"])
    }))

  describe("the heartbeat", () => {
    /** The TestClock, whose time can be put forward and back without anything becoming due. */
    const skewedClock = Effect.gen(function*() {
      const clock = yield* Clock.clockWith(Effect.succeed)
      const skew = { millis: 0 }
      const skewed: Clock.Clock = Object.assign(Object.create(clock), {
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + skew.millis,
        currentTimeMillis: Effect.sync(() => clock.currentTimeMillisUnsafe() + skew.millis)
      })
      return { skew, skewed }
    })

    it.effect("kills nobody when the clock is put forward, and goes on to look [C147]", () =>
      Effect.gen(function*() {
        const { skew, skewed } = yield* skewedClock
        const { children } = yield* Effect.provideService(serving({ workers: 1 }), Clock.Clock, skewed)
        yield* TestClock.adjust("20 seconds")
        skew.millis = 3_600_000
        yield* TestClock.adjust("30 seconds")
        assert.deepStrictEqual(children[0]!.asked, [])
        yield* TestClock.adjust("50 seconds")
        assert.deepStrictEqual(children[0]!.asked, ["kill"])
      }))

    it.effect("is looked for as often when the clock is put back [C147]", () =>
      Effect.gen(function*() {
        const { skew, skewed } = yield* skewedClock
        skew.millis = 3_600_000
        const { children } = yield* Effect.provideService(serving({ workers: 1 }), Clock.Clock, skewed)
        skew.millis = 0
        yield* TestClock.adjust("50 seconds")
        children[0]!.heard = skewed.currentTimeMillisUnsafe()
        yield* TestClock.adjust("100 seconds")
        assert.deepStrictEqual(children[0]!.asked, ["kill"])
      }))
  })
})
