/** Histories: what is kept, from where it is replayed, and that live messages follow without a gap. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { Message, Replay } from "../../../src/service/PubSub.ts"
import { joined, next, numbers, received, type Service, start, type Subject, until } from "./subject.ts"

const texts = (messages: ReadonlyArray<Message>) => messages.map(({ data }) => data)

/** Publishes 1 to `count`, keeping ten, and yields the ids of those that are kept. */
const publishTen = Effect.fnUntraced(function*(pubsub: Service, count = 10) {
  yield* Effect.forEach(numbers(1, count), (n) => pubsub.publish("a", n, { keep: 10 }), { discard: true })
  return (yield* pubsub.history("a")).map(({ id }) => id!)
})

/** Ids that nobody gave out; they come from clients, in `Last-Event-ID`. */
const garbage = [
  "",
  "0",
  "nobody gave this",
  "99999999999999-0",
  "-",
  "+",
  "$",
  "*",
  "1-1 COUNT 1",
  "1-1\r\nFLUSHALL\r\n",
  "(1-1",
  "'; redis.call('FLUSHALL') --",
  "\u0000",
  "é😀",
  "-1",
  "1e3",
  "NaN",
  "Infinity",
  "__proto__",
  "9".repeat(5000)
]

export const history = (subject: Subject): void => {
  describe("history", () => {
    it.effect("keeps the last messages, as many as the publication says [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        assert.deepStrictEqual(yield* pubsub.history("a"), [])
        yield* pubsub.publish("a", "not kept")
        assert.deepStrictEqual(yield* pubsub.history("a"), [])
        yield* Effect.forEach(numbers(1, 5), (n) => pubsub.publish("a", n, { keep: 3 }))
        yield* pubsub.publish("a", "not kept either")
        yield* pubsub.publish("b", "elsewhere", { keep: 3 })
        assert.deepStrictEqual(texts(yield* pubsub.history("a")), ["3", "4", "5"])
        yield* pubsub.publish("a", "6", { keep: 5 })
        assert.deepStrictEqual(texts(yield* pubsub.history("a")), ["3", "4", "5", "6"])
        yield* pubsub.publish("a", "7", { keep: 1 })
        assert.deepStrictEqual(texts(yield* pubsub.history("a")), ["7"])
        assert.deepStrictEqual(texts(yield* pubsub.history("b")), ["elsewhere"])
      }))

    it.effect("gives each message an id, safe in a header, the same for live readers and later ones [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        yield* publishTen(pubsub)
        const live = yield* Effect.replicateEffect(channel.receive, 10)
        assert.deepStrictEqual(live, [...yield* pubsub.history("a")])
        assert.strictEqual(new Set(live.map(({ id }) => id)).size, 10)
        assert.isTrue(live.every(({ id, topic }) => topic === "a" && /^[\x21-\x7e]{1,100}$/.test(id!)))
        yield* pubsub.publish("a", "not kept")
        assert.strictEqual((yield* channel.receive).id, undefined)
      }))

    it.effect("is read after an id, or the last so many [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const ids = yield* publishTen(pubsub)
        const read = (replay?: Replay) => Effect.map(pubsub.history("a", replay), texts)
        assert.deepStrictEqual(yield* read({}), numbers(1, 10))
        assert.deepStrictEqual(yield* read({ after: ids[0] }), numbers(2, 10))
        assert.deepStrictEqual(yield* read({ after: ids[6], last: 1 }), numbers(8, 10))
        assert.deepStrictEqual(yield* read({ after: ids[9] }), [])
        assert.deepStrictEqual(yield* read({ last: 1 }), ["10"])
        assert.deepStrictEqual(yield* read({ last: 4 }), numbers(7, 10))
        assert.deepStrictEqual(yield* read({ last: 11 }), numbers(1, 10))
        assert.deepStrictEqual(yield* read({ last: Number.MAX_SAFE_INTEGER }), numbers(1, 10))
        assert.deepStrictEqual(yield* pubsub.history("b", { after: ids[0] }), [])
      }))

    it.effect("is replayed whole after an id that is not kept any more [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const [first, second] = yield* publishTen(pubsub)
        yield* pubsub.publish("a", "11", { keep: 10 })
        assert.deepStrictEqual(texts(yield* pubsub.history("a", { after: first })), numbers(2, 11))
        assert.deepStrictEqual(texts(yield* pubsub.history("a", { after: second })), numbers(3, 11))
      }))

    it.effect("is replayed whole after an id that never was one, whatever stands in it [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        yield* publishTen(pubsub)
        const [foreign] = yield* Effect.andThen(
          pubsub.publish("b", "x", { keep: 1 }),
          Effect.map(pubsub.history("b"), (kept) => kept.map(({ id }) => id!))
        )
        for (const after of [...garbage, ` ${foreign!}`, `${foreign!}\n`]) {
          assert.deepStrictEqual(texts(yield* pubsub.history("a", { after })), numbers(1, 10), JSON.stringify(after))
        }
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a", { after: garbage[9] })
        assert.deepStrictEqual(yield* next(channel, 10), numbers(1, 10))
      }))

    it.effect("comes to a channel before what is published then [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const ids = yield* publishTen(pubsub)
        const [after, last, both] = yield* Effect.all([pubsub.open(), pubsub.open(), pubsub.open()])
        yield* after.subscribe("a", { after: ids[7] })
        yield* last.subscribe("a", { last: 3 })
        yield* both.subscribe("*")
        yield* both.subscribe("a", { last: 1 })
        yield* pubsub.publish("a", "11", { keep: 10 })
        yield* pubsub.publish("a", "12")
        assert.deepStrictEqual(yield* received(pubsub, after), numbers(9, 12))
        assert.deepStrictEqual(yield* received(pubsub, last), numbers(8, 12))
        assert.deepStrictEqual(yield* received(pubsub, both), numbers(10, 12))
      }))

    it.effect("comes to a Stream before what is published then [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const ids = yield* publishTen(pubsub)
        const fiber = yield* Effect.forkChild(
          Stream.runCollect(Stream.take(pubsub.subscribe("a", { after: ids[7] }), 4)),
          { startImmediately: true }
        )
        yield* joined(pubsub, "a", 1)
        yield* Effect.forEach(numbers(11, 12), (n) => pubsub.publish("a", n, { keep: 10 }))
        assert.deepStrictEqual(texts(yield* Fiber.join(fiber)), numbers(9, 12))
      }))

    it.effect("is replayed to a full extent also where it is longer than the queue [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        yield* publishTen(pubsub)
        const channel = yield* pubsub.open({ capacity: 2 })
        yield* channel.subscribe("a", { last: 10 })
        yield* Effect.forEach(numbers(11, 13), (n) => pubsub.publish("a", n))
        assert.deepStrictEqual(yield* received(pubsub, channel), numbers(1, 12))
        assert.strictEqual((yield* pubsub.stats).droppedFull, 1)
      }))

    it.effect("joins live messages without a gap and nothing twice, while they are published [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject, { capacity: 1000 })
        const count = 300
        const publisher = yield* Effect.forkChild(
          Effect.forEach(
            numbers(1, count),
            (n) => Effect.andThen(pubsub.publish("a", n, { keep: 1000 }), Effect.yieldNow),
            { discard: true }
          ),
          { startImmediately: true }
        )
        const join = Effect.fnUntraced(function*(position: number) {
          const channel = yield* pubsub.open()
          yield* until(Effect.map(pubsub.history("a"), (kept) => kept.length >= position * 10))
          const from = (yield* pubsub.history("a"))[position]!
          yield* channel.subscribe("a", { after: from.id })
          return yield* next(channel, count - Number(from.data))
        })
        const got = yield* Effect.all([1, 5, 9, 13, 17].map(join), { concurrency: "unbounded" })
        yield* Fiber.join(publisher)
        assert.deepStrictEqual(got, [1, 5, 9, 13, 17].map((position) => numbers(position + 2, count)))
      }))

    it.effect("is not played to who left before it arrived", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        yield* publishTen(pubsub)
        const channel = yield* pubsub.open()
        const joining = yield* Effect.forkChild(channel.subscribe("a", { last: 10 }), { startImmediately: true })
        yield* Effect.exit(Fiber.interrupt(joining))
        const joined = channel.pending
        assert.include([0, 10], joined)
        yield* channel.unsubscribe("a")
        yield* pubsub.publish("a", "late")
        yield* pubsub.flush
        assert.strictEqual(channel.pending, joined)
      }))
  })
}
