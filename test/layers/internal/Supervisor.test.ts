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
  describe("at the start", () => {
    it.effect("starts as many workers as it was told, and says so when all of them serve [C146]", () =>
      Effect.gen(function*() {
        const { children, started, states } = yield* start({ workers: 3 })
        assert.deepStrictEqual(children.map(({ number }) => number), [1, 2, 3])
        yield* children[0]!.serve
        yield* children[1]!.serve
        yield* turn
        assert.strictEqual(started(), 0)
        assert.deepStrictEqual(states(), [[1, 1001, "serving"], [2, 1002, "serving"], [3, undefined, "starting"]])
        yield* children[2]!.serve
        yield* turn
        assert.strictEqual(started(), 1)
      }))

    it.effect("stops everything with a code of its own when one worker cannot start [C146]", () =>
      Effect.gen(function*() {
        const { children, running, started } = yield* start()
        yield* children[0]!.serve
        yield* children[1]!.exit(3)
        assert.deepStrictEqual(children[0]!.asked, ["stop"])
        yield* children[0]!.exit(0)
        assert.strictEqual(yield* Fiber.join(running), Supervisor.exitCodes.cannotStart)
        assert.strictEqual(children.length, 2)
        assert.strictEqual(started(), 0)
      }))

    it.effect("kills a worker that does not serve in time", () =>
      Effect.gen(function*() {
        const { children, running } = yield* start()
        yield* children[0]!.serve
        yield* TestClock.adjust("30 seconds")
        assert.deepStrictEqual(children[1]!.asked, ["kill"])
        yield* children[0]!.exit(0)
        assert.strictEqual(yield* Fiber.join(running), Supervisor.exitCodes.cannotStart)
      }))

    it.effect("waits for ever with a startTimeout of 0", () =>
      Effect.gen(function*() {
        const { children, started } = yield* start({ startTimeout: Duration.zero })
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(children.flatMap(({ asked }) => asked), [])
        for (const child of children) yield* child.serve
        yield* turn
        assert.strictEqual(started(), 1)
      }))

    it.effect("can be stopped before anybody serves", () =>
      Effect.gen(function*() {
        const { children, running, started, supervisor } = yield* start()
        const stopping = yield* Effect.forkChild(supervisor.stop)
        yield* turn
        for (const child of children) yield* child.exit(0)
        yield* Fiber.join(stopping)
        assert.strictEqual(yield* Fiber.join(running), Supervisor.exitCodes.clean)
        assert.strictEqual(started(), 0)
      }))
  })

  describe("when a worker ends by itself", () => {
    it.effect("starts another one in its place at once [C146]", () =>
      Effect.gen(function*() {
        const { children, states } = yield* serving()
        yield* children[0]!.exit(null, "SIGSEGV")
        assert.deepStrictEqual(children.map(({ number }) => number), [1, 2, 1])
        yield* children[2]!.serve
        yield* turn
        assert.deepStrictEqual(states(), [[1, 1003, "serving"], [2, 1002, "serving"]])
      }))

    it.effect("waits longer and longer where it ends again and again", () =>
      Effect.gen(function*() {
        const { children, last } = yield* serving({ workers: 1 })
        yield* children[0]!.exit(1)
        for (const wait of [1, 2, 4, 8, 16, 30, 30]) {
          yield* last().serve
          yield* turn
          const before = children.length
          yield* last().exit(1)
          yield* TestClock.adjust(wait * 1000 - 1)
          assert.strictEqual(children.length, before, `before ${wait} s`)
          yield* TestClock.adjust(1)
          assert.strictEqual(children.length, before + 1, `after ${wait} s`)
        }
        // A life of some length is a new beginning.
        yield* last().serve
        yield* TestClock.adjust("10 seconds")
        const before = children.length
        yield* last().exit(1)
        assert.strictEqual(children.length, before + 1)
      }))

    it.effect("gives a place up that cannot be taken again, and ends when there is no other [C146]", () =>
      Effect.gen(function*() {
        const { children, last, running, states } = yield* serving({ workers: 1 })
        yield* TestClock.adjust("1 minute")
        yield* children[0]!.exit(1)
        for (let start = 1; start <= 5; start++) {
          assert.strictEqual(children.length, 1 + start)
          yield* last().exit(3)
          yield* TestClock.adjust("30 seconds")
        }
        assert.strictEqual(children.length, 6)
        assert.deepStrictEqual(states(), [[1, undefined, "dead"]])
        assert.strictEqual(yield* Fiber.join(running), Supervisor.exitCodes.cannotStart)
      }))
  })

  describe("heartbeat", () => {
    it.effect("kills a worker that is not heard, and replaces it [C147]", () =>
      Effect.gen(function*() {
        const { children } = yield* serving()
        for (let beat = 0; beat < 10; beat++) {
          yield* TestClock.adjust("10 seconds")
          children[0]!.heard = yield* Clock.currentTimeMillis
          if (beat < 6) children[1]!.heard = children[0]!.heard
        }
        assert.deepStrictEqual(children[0]!.asked, [])
        // Heard last after 60 seconds.
        yield* TestClock.adjust("9999 millis")
        assert.deepStrictEqual(children[1]!.asked, [])
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(children[1]!.asked, ["kill"])
        assert.deepStrictEqual(children.map(({ number }) => number), [1, 2, 2])
      }))

    it.effect("is off with 0", () =>
      Effect.gen(function*() {
        const { children } = yield* serving({ heartbeatTimeout: Duration.zero })
        yield* TestClock.adjust("1 day")
        assert.deepStrictEqual(children.flatMap(({ asked }) => asked), [])
      }))
  })

  describe("restart", () => {
    it.effect("has each new worker serve before the old one is asked to stop [C149]", () =>
      Effect.gen(function*() {
        const { children, states, supervisor } = yield* serving()
        const restarting = yield* Effect.forkChild(supervisor.restart)
        yield* turn
        assert.strictEqual(children.length, 3)
        assert.deepStrictEqual(children[0]!.asked, [])
        yield* children[2]!.serve
        yield* turn
        assert.deepStrictEqual(children[0]!.asked, ["restart"])
        // The next one begins although the old one still has answers to finish.
        assert.strictEqual(children.length, 4)
        yield* children[3]!.serve
        yield* turn
        assert.isTrue(yield* Fiber.join(restarting))
        assert.deepStrictEqual(states(), [[1, 1003, "serving"], [2, 1004, "serving"]])
        yield* children[0]!.exit(0)
        yield* children[1]!.exit(0)
        assert.strictEqual(children.length, 4)
      }))

    it.effect("keeps the old ones when a new one does not start [C149]", () =>
      Effect.gen(function*() {
        const { children, states, supervisor } = yield* serving()
        const restarting = yield* Effect.forkChild(supervisor.restart)
        yield* turn
        yield* children[2]!.exit(3)
        assert.isFalse(yield* Fiber.join(restarting))
        assert.strictEqual(children.length, 3)
        assert.deepStrictEqual(states(), [[1, 1001, "serving"], [2, 1002, "serving"]])
        assert.deepStrictEqual(children.slice(0, 2).flatMap(({ asked }) => asked), [])
      }))

    it.effect("leaves one worker in a place whose old one crashes meanwhile", () =>
      Effect.gen(function*() {
        const { children, states, supervisor } = yield* serving()
        const restarting = yield* Effect.forkChild(supervisor.restart)
        yield* turn
        yield* children[0]!.exit(1)
        yield* children[2]!.serve
        yield* turn
        yield* children[3]!.serve
        yield* turn
        assert.isTrue(yield* Fiber.join(restarting))
        assert.strictEqual(children.length, 4)
        assert.deepStrictEqual(states(), [[1, 1003, "serving"], [2, 1004, "serving"]])
      }))

    it.effect("tries a place again that waits for its next start", () =>
      Effect.gen(function*() {
        const { children, last, supervisor } = yield* serving({ workers: 1 })
        yield* last().exit(1)
        yield* last().serve
        yield* turn
        yield* last().exit(1)
        assert.strictEqual(children.length, 2)
        yield* supervisor.restart
        yield* turn
        assert.strictEqual(children.length, 3)
      }))
  })

  it.effect("replaces a worker that asks for it, without a gap [C148]", () =>
    Effect.gen(function*() {
      const { children } = yield* serving()
      yield* Deferred.succeed(children[1]!.wants, "maxRequests")
      yield* turn
      assert.deepStrictEqual(children.map(({ number }) => number), [1, 2, 2])
      assert.deepStrictEqual(children[1]!.asked, [])
      yield* children[2]!.serve
      yield* turn
      assert.deepStrictEqual(children[1]!.asked, ["restart"])
    }))

  it.effect("goes on with the replacement of a worker that crashes meanwhile [C148]", () =>
    Effect.gen(function*() {
      const { children, states } = yield* serving()
      yield* Deferred.succeed(children[1]!.wants, "maxRequests")
      yield* turn
      yield* children[1]!.exit(1)
      yield* children[2]!.serve
      yield* turn
      assert.strictEqual(children.length, 3)
      assert.deepStrictEqual(states(), [[1, 1001, "serving"], [2, 1003, "serving"]])
    }))

  describe("the number of workers", () => {
    it.effect("grows and shrinks by one, and is never less than one [C150]", () =>
      Effect.gen(function*() {
        const { children, last, states, supervisor } = yield* serving()
        yield* Effect.forkChild(supervisor.add)
        yield* turn
        yield* last().serve
        yield* turn
        assert.deepStrictEqual(states().map(([number]) => number), [1, 2, 3])
        for (let times = 0; times < 5; times++) yield* supervisor.remove
        assert.deepStrictEqual(states().map(([number]) => number), [1])
        assert.deepStrictEqual(children.map(({ asked }) => asked), [[], ["stop"], ["stop"]])
        yield* children[1]!.exit(0)
        yield* children[2]!.exit(0)
        assert.strictEqual(children.length, 3)
      }))
  })

  it.effect("can be restarted while a worker that was added fails again and again [C149]", () =>
    Effect.gen(function*() {
      const { children, last, states, supervisor } = yield* serving({ workers: 1 })
      yield* Effect.forkChild(supervisor.add)
      yield* turn
      yield* last().exit(3)
      yield* last().exit(3)
      yield* last().exit(3)
      assert.deepStrictEqual(states()[1], [2, undefined, "waiting"])
      const restarting = yield* Effect.forkChild(supervisor.restart)
      yield* turn
      assert.deepStrictEqual(last().number, 1)
      yield* last().serve
      yield* turn
      assert.isTrue(yield* Fiber.join(restarting))
      assert.deepStrictEqual(children[0]!.asked, ["restart"])
    }))

  describe("stop", () => {
    it.effect("asks all workers and waits for them [C144]", () =>
      Effect.gen(function*() {
        const { children, running, supervisor } = yield* serving()
        const stopping = yield* Effect.forkChild(supervisor.stop)
        yield* turn
        assert.deepStrictEqual(children.map(({ asked }) => asked), [["stop"], ["stop"]])
        yield* children[0]!.exit(0)
        assert.isUndefined(running.pollUnsafe())
        yield* children[1]!.exit(0)
        yield* Fiber.join(stopping)
        assert.strictEqual(yield* Fiber.join(running), Supervisor.exitCodes.clean)
        assert.strictEqual(children.length, 2)
      }))

    it.effect("kills one that takes too long, and says so in the exit code", () =>
      Effect.gen(function*() {
        const { children, running, supervisor } = yield* serving()
        yield* Effect.forkChild(supervisor.stop)
        yield* turn
        yield* children[0]!.exit(0)
        yield* TestClock.adjust("40 seconds")
        assert.deepStrictEqual(children[1]!.asked, ["stop", "kill"])
        assert.strictEqual(yield* Fiber.join(running), Supervisor.exitCodes.unclean)
      }))

    it.effect("has an exit code for workers that had to cut requests", () =>
      Effect.gen(function*() {
        const { children, running, supervisor } = yield* serving()
        yield* Effect.forkChild(supervisor.stop)
        yield* turn
        yield* children[0]!.exit(0)
        yield* children[1]!.exit(1)
        assert.strictEqual(yield* Fiber.join(running), Supervisor.exitCodes.unclean)
      }))

    it.effect("stops both the old and the new worker of a restart that is under way", () =>
      Effect.gen(function*() {
        const { children, running, supervisor } = yield* serving()
        yield* Effect.forkChild(supervisor.restart)
        yield* turn
        yield* Effect.forkChild(supervisor.stop)
        yield* turn
        assert.deepStrictEqual(children.map(({ asked }) => asked), [["stop"], ["stop"], ["stop"]])
        for (const child of children) yield* child.exit(0)
        assert.strictEqual(yield* Fiber.join(running), Supervisor.exitCodes.clean)
      }))
  })

  it.effect("says what happens to whom", () =>
    Effect.gen(function*() {
      const { layer, lines } = capture()
      yield* Effect.provide(
        Effect.gen(function*() {
          const { children } = yield* serving()
          yield* children[0]!.exit(null, "SIGSEGV")
          yield* children[2]!.exit(3)
        }),
        layer
      )
      const messages = lines.map(({ message }) => message)
      assert.include(messages, "Worker 1 (1001) ended by itself: SIGSEGV")
      assert.include(messages, "Worker 1 (1003) did not start: exit code 3")
    }))
})
