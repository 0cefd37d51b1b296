import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Feed from "../../../src/app/admin/Feed.ts"
import type { StatusReport } from "../../../src/schema/Report.ts"
import { OperationsError } from "../../../src/service/Operations.ts"
import { busy } from "../../utils/statuses.ts"

/** A feed that is looked at, and how often it has looked itself. */
const watched = Effect.gen(function*() {
  let looks = 0
  let status: Effect.Effect<StatusReport, OperationsError> = Effect.sync(() => busy(looks))
  const feed = yield* Feed.make({ status: Effect.suspend(() => (looks++, status)) })
  /** Watches until the scope closes. **Returns** the list of messages, which grows. */
  const watch = Effect.gen(function*() {
    const scope = yield* Scope.make()
    const messages: Array<Feed.Message> = []
    const each = Stream.runForEach(feed, (message) => Effect.sync(() => void messages.push(message)))
    yield* Effect.forkIn(each, scope, { startImmediately: true })
    yield* Effect.yieldNow
    return { messages, leave: Scope.close(scope, Exit.void) }
  })
  return { looks: () => looks, watch, answer: (next: typeof status) => void (status = next) }
})

const kinds = (messages: ReadonlyArray<Feed.Message>) => messages.map(({ _tag }) => _tag)

const pointsIn = (message: Feed.Message | undefined) => message?._tag === "history" ? message.points.length : -1

describe("Feed", () => {
  it.effect("looks once a second while somebody watches, and at no other time", () =>
    Effect.gen(function*() {
      const { looks, watch } = yield* watched
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(looks(), 0)
      const { leave, messages } = yield* watch
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(looks(), 4)
      assert.deepStrictEqual(kinds(messages), ["history", "now", "now", "now", "now"])
      yield* leave
      yield* TestClock.adjust("1 hour")
      assert.isBelow(looks(), 310)
    }))

  it.effect("is one look for all who watch", () =>
    Effect.gen(function*() {
      const { looks, watch } = yield* watched
      for (let watcher = 0; watcher < 20; watcher++) yield* watch
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(looks(), 3)
    }))

  it.effect("gives who comes later what was before, also after nobody has watched for some minutes", () =>
    Effect.gen(function*() {
      const { watch } = yield* watched
      const first = yield* watch
      yield* TestClock.adjust("9 seconds")
      yield* first.leave
      yield* TestClock.adjust("4 minutes")
      const second = yield* watch
      assert.deepStrictEqual(kinds(second.messages), ["history", "now"])
      assert.strictEqual(pointsIn(second.messages[0]), 250)
      yield* second.leave
      yield* TestClock.adjust("6 minutes")
      const third = yield* watch
      assert.isAtMost(pointsIn(third.messages[0]), 1)
    }))

  it.effect("keeps ten minutes and no more", () =>
    Effect.gen(function*() {
      const { watch } = yield* watched
      yield* watch
      yield* TestClock.adjust("15 minutes")
      assert.strictEqual(pointsIn((yield* watch).messages[0]), Feed.mostPoints)
    }), 30_000)

  it.effect("says what is wrong when the server does not say how it is, and goes on", () =>
    Effect.gen(function*() {
      const { answer, watch } = yield* watched
      const { messages } = yield* watch
      answer(Effect.fail(new OperationsError({ reason: { _tag: "Unreachable", problem: "The supervisor is gone" } })))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(messages.at(-1), { _tag: "trouble", problem: "The supervisor is gone" })
      answer(Effect.never)
      yield* TestClock.adjust("12 seconds")
      assert.deepStrictEqual(messages.at(-1), { _tag: "trouble", problem: "it does not answer in time" })
      answer(Effect.succeed(busy(50)))
      yield* TestClock.adjust("12 seconds")
      assert.strictEqual(messages.at(-1)?._tag, "now")
    }))

  it.effect("lets a slow watcher miss looks, and holds nobody up", () =>
    Effect.gen(function*() {
      let looks = 0
      const feed = yield* Feed.make({ status: Effect.sync(() => busy(looks++)) })
      const seen: Array<Feed.Message> = []
      const slow = Stream.runForEach(feed, (message) =>
        Effect.andThen(Effect.sleep("10 seconds"), Effect.sync(() => seen.push(message))))
      const fiber = yield* Effect.forkChild(slow, { startImmediately: true })
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual(looks, 61)
      assert.isBelow(seen.length, 8)
      yield* Fiber.interrupt(fiber)
    }))
})
