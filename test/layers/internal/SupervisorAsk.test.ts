import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { type Answer, Asking } from "../../../layers/internal/SupervisorAsk.ts"
import type * as Message from "../../../layers/internal/SupervisorMessage.ts"

/** Two sides of one channel; messages travel as JSON, and can be held up. */
const pair = Effect.fnUntraced(function*(answer: Answer, isConnected: () => boolean = () => true) {
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const held: Array<Message.Ask | Message.Told> = []
  const sides: { asker?: Asking; answerer?: Asking } = {}
  let holds = false
  const to = (side: "asker" | "answerer") => (word: Message.Ask | Message.Told) => {
    const text = JSON.stringify(word)
    if (!isConnected()) return false
    if (holds) held.push(word)
    else sides[side]!.hear(JSON.parse(text) as Message.Ask | Message.Told)
    return true
  }
  const asker = new Asking(to("answerer"), () => undefined, run)
  const answerer = new Asking(to("asker"), answer, run)
  Object.assign(sides, { asker, answerer })
  return { asker, answerer, held, hold: () => void (holds = true) }
})

describe("SupervisorAsk", () => {
  it.effect("gives every question its own answer", () =>
    Effect.gen(function*() {
      const { answerer, asker } = yield* pair((what) =>
        Effect.as(Effect.sleep(what === "slow" ? 2000 : 1000), `${String(what)} told`)
      )
      const asked = yield* Effect.forkChild(
        Effect.all([asker.ask("slow"), asker.ask("quick")], { concurrency: "unbounded" }),
        { startImmediately: true }
      )
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* Fiber.join(asked), ["slow told", "quick told"])
      const error = yield* Effect.flip(answerer.ask("the other way"))
      assert.strictEqual(error.message, "The process has no answer: nobody knows this question")
    }))

  it.effect("waits no longer than it was told", () =>
    Effect.gen(function*() {
      const { asker } = yield* pair(() => Effect.never)
      const asked = yield* Effect.forkChild(Effect.flip(asker.ask("x")), { startImmediately: true })
      yield* TestClock.adjust("4999 millis")
      assert.isUndefined(asked.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const error = yield* Fiber.join(asked)
      assert.deepStrictEqual(error.reason, { _tag: "TimedOut", millis: 5000 })
      assert.strictEqual(error.message, "The process did not answer in 5 s")
    }))

  it.effect("says what went wrong where the answer fails, or cannot be said", () =>
    Effect.gen(function*() {
      const { asker } = yield* pair((what) => what === "die" ? Effect.die(new Error("out of tea")) : Effect.succeed(1n))
      assert.include((yield* Effect.flip(asker.ask("die"))).message, "out of tea")
      assert.include((yield* Effect.flip(asker.ask("bigint"))).message, "BigInt")
    }))

  it.effect("fails at once when the other side ends, has ended, or cannot be reached", () =>
    Effect.gen(function*() {
      let isConnected = true
      const { asker, hold } = yield* pair(() => Effect.never, () => isConnected)
      hold()
      const asked = yield* Effect.forkChild(Effect.flip(asker.ask("x")), { startImmediately: true })
      asker.end()
      assert.strictEqual((yield* Fiber.join(asked)).reason._tag, "Ended")
      assert.strictEqual((yield* Effect.flip(asker.ask("x"))).reason._tag, "Ended")
      isConnected = false
      const { asker: other } = yield* pair(() => Effect.never, () => isConnected)
      assert.strictEqual((yield* Effect.flip(other.ask("x"))).reason._tag, "Ended")
    }))

  it.effect("drops an answer that nobody waits for", () =>
    Effect.gen(function*() {
      const { asker } = yield* pair(() => Effect.succeed("yes"))
      asker.hear({ type: "told", id: 77, value: "no" })
      assert.strictEqual(yield* asker.ask("x"), "yes")
    }))
})
