/** What an operator changes while workers serve: configuration, number, log files, the program itself. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import * as Supervisor from "../../../layers/internal/Supervisor.ts"
import { FakeProcess, options, serving, start, turn } from "../../utils/fakeWorkers.ts"
import { capture } from "../../utils/logs.ts"

/** Lets every worker that was started serve until nobody new comes. */
const settle = Effect.fnUntraced(function*(children: ReadonlyArray<FakeProcess>) {
  let seen = 0
  while (seen < children.length) {
    yield* children[seen++]!.serve
    yield* turn
  }
})

class FakeSuccessor extends FakeProcess implements Supervisor.Successor {
  readonly release = Effect.sync(() => void this.asked.push("release"))
  readonly restart = Effect.sync(() => void this.asked.push("restart"))
}

const upgradable = Effect.fnUntraced(function*(changes: Partial<Supervisor.Options> = {}) {
  const successors: Array<FakeSuccessor> = []
  const events: Array<string> = []
  const world = yield* serving({
    successor: Effect.sync(() => {
      const successor = new FakeSuccessor(2001 + successors.length)
      successors.push(successor)
      return successor
    }),
    onUpgraded: (pid) => Effect.sync(() => void events.push(`upgraded to ${pid}`)),
    ...changes
  })
  return { ...world, successors, events }
})

describe("Supervisor", () => {
  describe("restart", () => {
    it.effect("reads the configuration anew, and keeps to it from then on [C149]", () =>
      Effect.gen(function*() {
        const read: Supervisor.Reread = {
          workers: 3,
          startTimeout: Duration.seconds(5),
          stopTimeout: Duration.seconds(6),
          heartbeatTimeout: Duration.seconds(7)
        }
        const settled: Array<boolean> = []
        const { children, states, supervisor } = yield* serving({
          reread: Effect.succeed({ ...read, settled: (all) => Effect.sync(() => void settled.push(all)) })
        })
        const restarting = yield* Effect.forkChild(supervisor.restart)
        yield* turn
        assert.deepStrictEqual(settled, [])
        yield* settle(children)
        assert.isTrue(yield* Fiber.join(restarting))
        assert.deepStrictEqual(settled, [true])
        assert.deepStrictEqual(states().map(([number]) => number), [1, 2, 3])
        for (const { options: given } of children.slice(2)) assert.deepInclude(given, read)
        // The old ones are killed by the new time.
        yield* TestClock.adjust("6 seconds")
        assert.deepStrictEqual(children[0]!.asked, ["restart", "kill"])
        // And the new ones are listened to by theirs.
        yield* TestClock.adjust("1 seconds")
        assert.deepStrictEqual(children[2]!.asked, ["kill"])
      }))

    it.effect("leaves everything as it is when the configuration cannot be used [C149]", () =>
      Effect.gen(function*() {
        const { layer, lines } = capture()
        yield* Effect.provide(
          Effect.gen(function*() {
            const { children, supervisor } = yield* serving({ reread: Effect.fail(new Error("port is \"x\"")) })
            assert.isFalse(yield* supervisor.restart)
            assert.strictEqual(children.length, 2)
            assert.deepStrictEqual(children.flatMap(({ asked }) => asked), [])
          }),
          layer
        )
        assert.include(
          lines.map(({ message }) => message),
          "Not restarted, all goes on as it was. port is \"x\""
        )
      }))

    it.effect("tells what was read that not all workers have it", () =>
      Effect.gen(function*() {
        const settled: Array<boolean> = []
        const { last, states, supervisor } = yield* serving({
          reread: Effect.succeed({
            ...options,
            workers: 5,
            settled: (all: boolean) => Effect.sync(() => void settled.push(all))
          })
        })
        const restarting = yield* Effect.forkChild(supervisor.restart)
        yield* turn
        yield* last().exit(3)
        assert.isFalse(yield* Fiber.join(restarting))
        assert.deepStrictEqual(settled, [false])
        assert.lengthOf(states(), 2)
      }))

    it.effect("keeps a number of workers that was set by hand, where the configured one is the same", () =>
      Effect.gen(function*() {
        const { children, states, supervisor } = yield* serving({ reread: Effect.succeed(options) })
        const adding = yield* Effect.forkChild(supervisor.add)
        yield* turn
        yield* settle(children)
        yield* Fiber.join(adding)
        const restarting = yield* Effect.forkChild(supervisor.restart)
        yield* turn
        yield* settle(children)
        yield* Fiber.join(restarting)
        assert.deepStrictEqual(states().map(([number]) => number), [1, 2, 3])
      }))
  })

  it.effect("changes the number of workers to what it is told, and to one at least [C150]", () =>
    Effect.gen(function*() {
      const { children, states, supervisor } = yield* serving()
      const growing = yield* Effect.forkChild(supervisor.scale(5))
      yield* turn
      // At the same time.
      assert.strictEqual(children.length, 5)
      yield* settle(children)
      yield* Fiber.join(growing)
      assert.lengthOf(states(), 5)
      yield* supervisor.scale(-3)
      assert.deepStrictEqual(states(), [[1, 1001, "serving"]])
      assert.deepStrictEqual(children.slice(1).map(({ asked }) => asked), [["stop"], ["stop"], ["stop"], ["stop"]])
    }))

  it.effect("replaces one worker by its number, and no other", () =>
    Effect.gen(function*() {
      const { children, last, states, supervisor } = yield* serving()
      assert.isFalse(yield* supervisor.replaceOne(3))
      const replacing = yield* Effect.forkChild(supervisor.replaceOne(2))
      yield* turn
      yield* last().serve
      yield* turn
      assert.isTrue(yield* Fiber.join(replacing))
      assert.deepStrictEqual(states(), [[1, 1001, "serving"], [2, 1003, "serving"]])
      assert.deepStrictEqual(children[1]!.asked, ["restart"])
    }))

  it.effect("opens the log files anew, its own and those of all workers that still write", () =>
    Effect.gen(function*() {
      let own = 0
      const { children, last, supervisor } = yield* serving({
        workers: 1,
        reopen: Effect.sync(() => void own++)
      })
      yield* Effect.forkChild(supervisor.restart)
      yield* turn
      yield* last().serve
      yield* turn
      yield* supervisor.reopen
      assert.strictEqual(own, 1)
      assert.deepStrictEqual(children.map(({ asked }) => asked), [["restart", "reopen"], ["reopen"]])
    }))

  it.effect("asks all workers that serve", () =>
    Effect.gen(function*() {
      const { children, supervisor } = yield* start({ workers: 3 })
      yield* children[0]!.serve
      yield* children[2]!.serve
      yield* turn
      assert.deepStrictEqual(yield* supervisor.askAll("name"), [
        { number: 1, pid: 1001, answer: Result.succeed("told by 1") },
        { number: 3, pid: 1003, answer: Result.succeed("told by 3") }
      ])
    }))

  describe("upgrade", () => {
    it.effect("has the successor serve before it asks its own workers to go, and then ends [C151]", () =>
      Effect.gen(function*() {
        const { children, events, running, successors, supervisor } = yield* upgradable()
        const upgrading = yield* Effect.forkChild(supervisor.upgrade)
        yield* turn
        assert.deepStrictEqual(children.flatMap(({ asked }) => asked), [])
        yield* successors[0]!.serve
        yield* turn
        assert.deepStrictEqual(successors[0]!.asked, ["release"])
        assert.deepStrictEqual(events, ["upgraded to 2001"])
        assert.deepStrictEqual(children.map(({ asked }) => asked), [["restart"], ["restart"]])
        for (const child of children) yield* child.exit(0)
        assert.isTrue(yield* Fiber.join(upgrading))
        assert.strictEqual(yield* Fiber.join(running), Supervisor.exitCodes.clean)
        // Whoever supervises now is nobody's to kill.
        yield* supervisor.killAll
        assert.deepStrictEqual(successors[0]!.asked, ["release"])
      }))

    it.effect("passes on a restart that was asked for while the successor came to serve [C151]", () =>
      Effect.gen(function*() {
        const { children, running, successors, supervisor } = yield* upgradable()
        yield* Effect.forkChild(supervisor.upgrade)
        yield* turn
        const restarting = yield* Effect.forkChild(supervisor.restart)
        yield* turn
        yield* successors[0]!.serve
        yield* turn
        assert.deepStrictEqual(successors[0]!.asked, ["release", "restart"])
        for (const child of children) yield* child.exit(0)
        assert.isFalse(yield* Fiber.join(restarting))
        assert.strictEqual(yield* Fiber.join(running), Supervisor.exitCodes.clean)
      }))

    for (const how of ["dies", "is late"] as const) {
      it.effect(`goes on with what it has when the successor ${how}, and can be tried again [C151]`, () =>
        Effect.gen(function*() {
          const { children, events, successors, supervisor } = yield* upgradable({ heartbeatTimeout: Duration.zero })
          const upgrading = yield* Effect.forkChild(supervisor.upgrade)
          yield* turn
          if (how === "dies") yield* successors[0]!.exit(3)
          else yield* TestClock.adjust("40 seconds")
          assert.isFalse(yield* Fiber.join(upgrading))
          assert.deepStrictEqual(successors[0]!.asked, how === "dies" ? [] : ["kill"])
          assert.deepStrictEqual(children.flatMap(({ asked }) => asked), [])
          assert.deepStrictEqual(events, [])
          yield* Effect.forkChild(supervisor.upgrade)
          yield* turn
          yield* successors[1]!.serve
          yield* turn
          assert.deepStrictEqual(events, ["upgraded to 2002"])
        }))
    }

    it.effect("is refused while another one is under way, and where there can be no successor [C151]", () =>
      Effect.gen(function*() {
        const { layer, lines } = capture()
        yield* Effect.provide(
          Effect.gen(function*() {
            const { successors, supervisor } = yield* upgradable()
            yield* Effect.forkChild(supervisor.upgrade)
            yield* turn
            assert.isFalse(yield* supervisor.upgrade)
            assert.lengthOf(successors, 1)
            const { supervisor: other } = yield* serving()
            assert.isFalse(yield* other.upgrade)
          }),
          layer
        )
        const messages = lines.map(({ message }) => message)
        assert.include(messages, "Not upgraded: an upgrade is under way already")
        assert.include(messages, "Not upgraded: process 1 has no successor; replace the container instead")
      }))

    it.effect("is given up when the whole is told to stop", () =>
      Effect.gen(function*() {
        const { children, events, running, successors, supervisor } = yield* upgradable()
        const upgrading = yield* Effect.forkChild(supervisor.upgrade)
        yield* turn
        yield* Effect.forkChild(supervisor.stop)
        yield* turn
        assert.deepStrictEqual(successors[0]!.asked, ["kill"])
        assert.isFalse(yield* Fiber.join(upgrading))
        assert.deepStrictEqual(children.map(({ asked }) => asked), [["stop"], ["stop"]])
        for (const child of children) yield* child.exit(0)
        assert.strictEqual(yield* Fiber.join(running), Supervisor.exitCodes.clean)
        assert.deepStrictEqual(events, [])
      }))

    it.effect("replaces a worker that crashes meanwhile, and lets a restart wait", () =>
      Effect.gen(function*() {
        const { children, successors, supervisor } = yield* upgradable()
        yield* Effect.forkChild(supervisor.upgrade)
        yield* turn
        yield* children[0]!.exit(1)
        assert.strictEqual(children.length, 3)
        yield* children[2]!.serve
        yield* Effect.forkChild(supervisor.restart)
        yield* turn
        assert.strictEqual(children.length, 3)
        yield* successors[0]!.exit(1)
        assert.strictEqual(children.length, 4)
      }))
  })
})
