import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as Latest from "../../src/app/Latest.ts"

const now = { startImmediately: true } as const

/** Runs that end when the test says so, with their number. */
const runs = Effect.gen(function*() {
  const ends: Array<Deferred.Deferred<number, string>> = []
  const self = Effect.suspend(() => {
    const end = Deferred.makeUnsafe<number, string>()
    ends.push(end)
    return Deferred.await(end)
  })
  return { ends, latest: yield* Latest.make(self, "1 second") }
})

describe("Latest", () => {
  it.effect("finds out once for all who ask at the same time, and again when it holds no longer", () =>
    Effect.gen(function*() {
      const { ends, latest } = yield* runs
      const asking = yield* Effect.forkChild(Effect.all([latest.get, latest.get], { concurrency: 2 }), now)
      assert.strictEqual(ends.length, 1)
      yield* Deferred.succeed(ends[0]!, 1)
      assert.deepStrictEqual(yield* Fiber.join(asking), [1, 1])
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(yield* latest.get, 1)
      yield* TestClock.adjust("1 millis")
      const again = yield* Effect.forkChild(latest.get, now)
      assert.strictEqual(ends.length, 2)
      yield* Deferred.succeed(ends[1]!, 2)
      assert.strictEqual(yield* Fiber.join(again), 2)
    }))

  it.effect("goes on with a run that nobody waits for any more", () =>
    Effect.gen(function*() {
      const { ends, latest } = yield* runs
      yield* Fiber.interrupt(yield* Effect.forkChild(latest.get, now))
      const asking = yield* Effect.forkChild(latest.get, now)
      assert.strictEqual(ends.length, 1)
      yield* Deferred.succeed(ends[0]!, 7)
      assert.strictEqual(yield* Fiber.join(asking), 7)
    }))

  it.effect("gives the value from before to who cannot wait, unless it is too old", () =>
    Effect.gen(function*() {
      const { ends, latest } = yield* runs
      const within = latest.within(Duration.seconds(1), Duration.seconds(10))
      const first = yield* Effect.forkChild(within, now)
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(first.pollUnsafe(), undefined)
      yield* Deferred.succeed(ends[0]!, 1)
      assert.strictEqual(yield* Fiber.join(first), 1)
      yield* TestClock.adjust("5 seconds")
      const second = yield* Effect.forkChild(within, now)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(second), 1)
      yield* TestClock.adjust("6 seconds")
      const third = yield* Effect.forkChild(within, now)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(third.pollUnsafe(), undefined)
      assert.strictEqual(ends.length, 2)
      yield* Deferred.succeed(ends[1]!, 2)
      assert.strictEqual(yield* Fiber.join(third), 2)
    }))

  it.effect("tells a failure to all who wait, and keeps the value from before it", () =>
    Effect.gen(function*() {
      const { ends, latest } = yield* runs
      const asking = yield* Effect.forkChild(Effect.flip(latest.get), now)
      yield* Deferred.fail(ends[0]!, "broken")
      assert.strictEqual(yield* Fiber.join(asking), "broken")
      assert.strictEqual(yield* Effect.flip(latest.get), "broken")
      assert.strictEqual(ends.length, 1)
    }))
})
