import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
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

  it.effect("hands out batches that nothing is added to afterwards", () =>
    Effect.gen(function*() {
      const { mailbox, offer } = make(10)
      range(1, 3).forEach(offer)
      const batches: Array<ReadonlyArray<Message>> = []
      const reading = yield* Effect.forkChild(
        Stream.runForEachArray(mailbox.stream, (batch) => Effect.sync(() => void batches.push(batch))),
        { startImmediately: true }
      )
      range(4, 6).forEach(offer)
      mailbox.close()
      yield* Fiber.join(reading)
      assert.deepStrictEqual(batches.map((batch) => batch.map(({ data }) => Number(data))), [[1, 2, 3], [4], [5], [6]])
    }))

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
