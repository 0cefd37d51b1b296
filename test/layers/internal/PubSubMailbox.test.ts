import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as v8 from "node:v8"
import * as vm from "node:vm"
import { Mailbox } from "../../../layers/internal/PubSubMailbox.ts"
import type { Message } from "../../../src/service/PubSub.ts"

const message = (n: number): Message => ({ topic: "a", data: String(n), id: undefined })

const make = (capacity: number, expiryMillis = 60_000) => {
  const host = { expiryMillis, now: 0, lost: 0, depth: 0 }
  const mailbox = new Mailbox({
    expiryMillis,
    nowMillis: () => host.now,
    expired: (count) => void (host.lost += count),
    depth: 0
  }, capacity)
  const offer = (n: number) => mailbox.offer(message(n), host.now)
  return { host, mailbox, offer }
}

const take = (mailbox: Mailbox, count: number) =>
  Effect.map(Effect.replicateEffect(mailbox.take, count), (messages) => messages.map(({ data }) => Number(data)))

const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
const until = (fact: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => fact() ? Effect.void : Effect.andThen(turn, until(fact)))

const collectGarbage = (): void => {
  v8.setFlagsFromString("--expose-gc")
  vm.runInNewContext("gc")()
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

describe("Mailbox", () => {
  it.effect("keeps order and bound over many more messages than it ever holds", () =>
    Effect.gen(function*() {
      const { mailbox, offer } = make(3000)
      const got: Array<number> = []
      let n = 0
      for (let round = 0; round < 20; round++) {
        while (offer(n)) n++
        assert.strictEqual(mailbox.pending(), 3000)
        got.push(...yield* take(mailbox, 1500))
      }
      got.push(...yield* take(mailbox, mailbox.pending()))
      assert.deepStrictEqual(got, range(0, n - 1))
    }))

  it.effect("hands a Stream one message at a time, and keeps the others and their limits", () =>
    Effect.gen(function*() {
      const { host, mailbox, offer } = make(3)
      range(1, 3).forEach(offer)
      const got: Array<Message> = []
      const turn = yield* Queue.unbounded<void>()
      const reading = yield* Effect.forkChild(
        Stream.runForEach(
          mailbox.stream,
          (message) => Effect.andThen(Effect.sync(() => got.push(message)), Queue.take(turn))
        ),
        { startImmediately: true }
      )
      assert.deepStrictEqual(range(4, 5).map(offer), [true, false])
      host.now = 60_000
      offer(6)
      yield* Queue.offer(turn, undefined)
      yield* until(() => got.length === 2)
      mailbox.close()
      yield* Queue.offer(turn, undefined)
      yield* Fiber.join(reading)
      assert.deepStrictEqual(got.map(({ data }) => Number(data)), [1, 6])
      assert.strictEqual(host.lost, 3)
    }))

  for (const how of ["taken", "expired"] as const) {
    it.effect(`lets go of what was ${how}, though it is never empty`, () =>
      Effect.gen(function*() {
        const { host, mailbox, offer } = make(10)
        const gone = (() => {
          const first = { ...message(1), data: new Uint8Array(8) }
          mailbox.offer(first, 0)
          return new WeakRef(first)
        })()
        host.now = 30_000
        offer(2)
        if (how === "taken") yield* Effect.asVoid(mailbox.take)
        else host.now = 60_000
        assert.strictEqual(mailbox.pending(), 1)
        // A WeakRef holds what it has until the turn of the event loop is over.
        yield* turn
        collectGarbage()
        assert.strictEqual(gone.deref(), undefined)
      }))
  }

  it.effect("counts live messages only, and never lets replayed ones expire", () =>
    Effect.gen(function*() {
      const { host, mailbox, offer } = make(2)
      mailbox.offerReplayed(range(1, 5).map(message))
      assert.deepStrictEqual(range(6, 8).map(offer), [true, true, false])
      host.now = 60_000
      assert.deepStrictEqual(yield* take(mailbox, 5), range(1, 5))
      assert.strictEqual(mailbox.pending(), 0)
      assert.strictEqual(host.lost, 2)
      assert.deepStrictEqual(range(9, 11).map(offer), [true, true, false])
    }))

  it.effect("never drops by age where the age has no limit", () =>
    Effect.gen(function*() {
      const { host, mailbox, offer } = make(2, Infinity)
      offer(1)
      host.now = Number.MAX_SAFE_INTEGER
      assert.deepStrictEqual(yield* take(mailbox, 1), [1])
      assert.strictEqual(host.lost, 0)
    }))

  it.effect("takes nothing once it is closed, and neither counts nor hands out what it had", () =>
    Effect.gen(function*() {
      const { host, mailbox, offer } = make(2)
      offer(1)
      const waiting = yield* Effect.forkChild(take(mailbox, 2), { startImmediately: true })
      mailbox.close()
      mailbox.offerReplayed([message(2)])
      host.now = 60_000
      assert.deepStrictEqual([offer(3), mailbox.pending(), host.lost], [false, 0, 0])
      assert.deepStrictEqual(yield* Stream.runCollect(mailbox.stream), [])
      assert.strictEqual(waiting.pollUnsafe(), undefined)
      mailbox.close()
    }))
})
