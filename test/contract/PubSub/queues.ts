/** A receiver's queue: its bound, its age limit, direct messages to it, and readers that are interrupted. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import {
  joined,
  next,
  numbers,
  reasonOf,
  received,
  type Service,
  start,
  type Subject,
  taken,
  until
} from "./subject.ts"

const dropped = (pubsub: Service) =>
  Effect.map(pubsub.stats, ({ delivered, droppedExpired, droppedFull }) => ({ delivered, droppedExpired, droppedFull }))

export const queues = (subject: Subject): void => {
  describe("queues", () => {
    it.effect("hold 100 messages unless told otherwise, and drop what is above, for that receiver only [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const usual = yield* pubsub.open()
        const small = yield* pubsub.open({ capacity: 1 })
        const large = yield* pubsub.open({ capacity: 1000 })
        yield* Effect.forEach([small, usual, large], (channel) => channel.subscribe("a"))
        yield* Effect.forEach(numbers(1, 150), (n) => pubsub.publish("a", n))
        yield* pubsub.flush
        assert.deepStrictEqual([usual.pending, small.pending, large.pending], [100, 1, 150])
        assert.deepStrictEqual(yield* taken(usual), numbers(1, 100))
        assert.deepStrictEqual(yield* taken(small), ["1"])
        assert.deepStrictEqual(yield* taken(large), numbers(1, 150))
        assert.deepStrictEqual(yield* dropped(pubsub), { delivered: 251, droppedFull: 199, droppedExpired: 0 })
        yield* pubsub.publish("a", "again")
        assert.deepStrictEqual(yield* received(pubsub, small), ["again"])
      }))

    it.effect("have the capacity of the layer, and of a Stream's options [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject, { capacity: 3 })
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        const isReading = yield* Deferred.make<void>()
        const got: Array<unknown> = []
        const reader = yield* Effect.forkChild(
          Stream.runForEach(Stream.take(pubsub.subscribe("a", { capacity: 5 }), 6), ({ data }) =>
            Effect.andThen(Effect.sync(() => got.push(data)), Deferred.await(isReading))),
          { startImmediately: true }
        )
        yield* until(Effect.map(pubsub.subscribers("a"), (count) =>
          count === 2))
        yield* (yield* pubsub.open()).subscribe("a")
        yield* pubsub.publish("a", "0")
        yield* until(Effect.sync(() => got.length === 1))
        yield* Effect.forEach(numbers(1, 9), (n) => pubsub.publish("a", n))
        assert.deepStrictEqual(yield* received(pubsub, channel), numbers(0, 2))
        yield* Deferred.succeed(isReading, undefined)
        yield* Fiber.join(reader)
        assert.deepStrictEqual(got, numbers(0, 5))
      }))

    it.effect("drop messages that waited for 60 seconds, which frees their places [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject, { capacity: 2 })
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        yield* pubsub.publish("a", "1")
        yield* pubsub.flush
        yield* TestClock.adjust("30 seconds")
        yield* pubsub.publish("a", "2")
        yield* pubsub.publish("a", "full")
        yield* pubsub.flush
        yield* TestClock.adjust("29999 millis")
        yield* pubsub.publish("a", "still full")
        yield* pubsub.flush
        assert.deepStrictEqual(yield* dropped(pubsub), { delivered: 2, droppedFull: 2, droppedExpired: 0 })
        yield* TestClock.adjust("1 millis")
        yield* pubsub.publish("a", "3")
        assert.deepStrictEqual(yield* received(pubsub, channel), ["2", "3"])
        assert.deepStrictEqual(yield* dropped(pubsub), { delivered: 3, droppedFull: 2, droppedExpired: 1 })
      }))

    it.effect("have the age limit of the layer, for Streams too [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject, { expiry: "1 second" })
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        yield* pubsub.publish("a", "old")
        yield* pubsub.send(channel.name, "old too")
        yield* pubsub.flush
        assert.strictEqual(channel.pending, 2)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(channel.pending, 0)
        yield* pubsub.publish("a", "new")
        yield* pubsub.flush
        const messages = yield* Stream.runCollect(Stream.take(channel.messages, 1))
        assert.deepStrictEqual(messages.map(({ data }) => data), ["new"])
        assert.deepStrictEqual(yield* dropped(pubsub), { delivered: 3, droppedFull: 0, droppedExpired: 2 })
      }))

    it.effect("of Streams hold no more, and nothing older, behind a message whose reader takes its time [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject, { capacity: 3 })
        const turn = yield* Queue.unbounded<void>()
        const got: Array<unknown> = []
        yield* Effect.forkChild(
          Stream.runForEach(
            pubsub.subscribe("a"),
            ({ data }) => Effect.andThen(Effect.sync(() => got.push(data)), Queue.take(turn))
          ),
          { startImmediately: true }
        )
        yield* joined(pubsub, "a", 1)
        const publish = (from: number, to: number) =>
          Effect.andThen(Effect.forEach(numbers(from, to), (n) => pubsub.publish("a", n)), pubsub.flush)
        yield* publish(0, 3)
        yield* until(Effect.sync(() => got.length === 1))
        yield* Queue.offer(turn, undefined)
        yield* until(Effect.sync(() => got.length === 2))
        yield* publish(4, 5)
        yield* TestClock.adjust("60 seconds")
        yield* publish(6, 6)
        yield* Queue.offerAll(turn, [undefined, undefined])
        yield* until(Effect.sync(() => got.length === 3))
        assert.deepStrictEqual(got, ["0", "1", "6"])
        assert.deepStrictEqual(yield* dropped(pubsub), { delivered: 6, droppedFull: 1, droppedExpired: 3 })
      }))

    it.effect("never fill while the reader waits, however long the burst", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject, { capacity: 10 })
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        const reader = yield* Effect.forkChild(next(channel, 10), { startImmediately: true })
        yield* Effect.forEach(numbers(1, 10), (n) => pubsub.publish("a", n))
        assert.deepStrictEqual(yield* Fiber.join(reader), numbers(1, 10))
        assert.strictEqual((yield* pubsub.stats).droppedFull, 0)
      }))
  })

  describe("direct messages", () => {
    it.effect("reach the one channel, in order, and are received with its name [C222] [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const [channel, other] = yield* Effect.all([pubsub.open(), pubsub.open()])
        assert.notStrictEqual(channel.name, other.name)
        yield* pubsub.send(channel.name, "one")
        yield* pubsub.send(channel.name, "two")
        assert.deepStrictEqual(yield* channel.receive, { topic: channel.name, data: "one", id: undefined })
        assert.deepStrictEqual(yield* taken(channel), ["two"])
        assert.deepStrictEqual(yield* received(pubsub, other), [])
      }))

    it.effect("fail with ChannelFull at the capacity, and again below it they do not [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open({ capacity: 2 })
        yield* pubsub.send(channel.name, "1")
        yield* pubsub.send(channel.name, "2")
        const error = yield* Effect.flip(pubsub.send(channel.name, "3"))
        assert.deepStrictEqual(error.reason, { _tag: "ChannelFull", channel: channel.name, capacity: 2 })
        assert.include(error.message, channel.name)
        assert.deepStrictEqual(yield* dropped(pubsub), { delivered: 2, droppedFull: 1, droppedExpired: 0 })
        yield* channel.receive
        yield* pubsub.send(channel.name, "4")
        assert.deepStrictEqual(yield* taken(channel), ["2", "4"])
      }))

    it.effect("fail with UnknownChannel for what is no channel, and for one that closed [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const scope = yield* Scope.make()
        const channel = yield* Scope.provide(pubsub.open(), scope)
        yield* channel.subscribe("topic")
        yield* Scope.close(scope, Exit.void)
        const unknown = [
          channel.name,
          `${channel.name}0`,
          "topic",
          "",
          "a b",
          "a\r\nb",
          "*",
          "x".repeat(1000),
          ">",
          "_"
        ]
        for (const name of unknown) {
          assert.deepStrictEqual(
            yield* reasonOf(pubsub.send(name, "x")),
            { _tag: "UnknownChannel", channel: name } as const
          )
        }
      }))

    it.effect("never share a name with a channel before", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const names = yield* Effect.forEach(
          numbers(1, 50),
          () => Effect.map(Effect.scoped(pubsub.open()), (c) => c.name)
        )
        assert.strictEqual(new Set(names).size, 50)
        assert.isTrue(names.every((name) => /^[A-Za-z0-9.:_-]{1,100}$/.test(name)))
      }))
  })

  describe("reading", () => {
    it.effect("loses nothing when it is interrupted while it waits", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        for (const n of numbers(1, 20)) {
          const reader = yield* Effect.forkChild(channel.receive, { startImmediately: Number(n) % 2 === 0 })
          if (Number(n) % 3 === 0) yield* Effect.yieldNow
          yield* Fiber.interrupt(reader)
          yield* pubsub.publish("a", n)
          assert.deepStrictEqual(yield* received(pubsub, channel), [n])
        }
      }))

    it.effect("loses nothing when the message and the interruption come together", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        const got: Array<unknown> = []
        for (const n of numbers(1, 20)) {
          const reader = yield* Effect.forkChild(
            Effect.uninterruptibleMask((restore) => Effect.map(restore(channel.receive), ({ data }) => got.push(data))),
            { startImmediately: true }
          )
          yield* Effect.all([pubsub.publish("a", n), Fiber.interrupt(reader)], {
            concurrency: Number(n) % 2 === 0 ? "unbounded" : 1
          })
        }
        got.push(...yield* received(pubsub, channel))
        assert.deepStrictEqual(got, numbers(1, 20))
      }))

    it.effect("by several fibers shares the messages: each goes to one", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        const readers = yield* Effect.forEach(
          numbers(1, 5),
          () => Effect.forkChild(next(channel, 2), { startImmediately: true })
        )
        yield* Effect.forEach(numbers(0, 9), (n) => pubsub.publish("a", n))
        const got = yield* Effect.forEach(readers, Fiber.join)
        assert.sameMembers(got.flat(), numbers(0, 9))
      }))

    it.effect("without waiting is poll, and arrival waits without reading [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject, { expiry: "1 second" })
        const scope = yield* Scope.make()
        const channel = yield* Scope.provide(pubsub.open(), scope)
        const polled = Effect.map(channel.poll, Option.map(({ data }) => data))
        assert.deepStrictEqual(yield* polled, Option.none())
        const waiting = yield* Effect.forkChild(channel.arrival, { startImmediately: true })
        const interrupted = yield* Effect.forkChild(channel.arrival, { startImmediately: true })
        yield* Fiber.interrupt(interrupted)
        assert.strictEqual(waiting.pollUnsafe(), undefined)
        yield* pubsub.send(channel.name, "1")
        yield* Fiber.join(waiting)
        yield* channel.arrival
        assert.strictEqual(channel.pending, 1)
        assert.deepStrictEqual(yield* polled, Option.some("1"))
        yield* pubsub.send(channel.name, "old")
        yield* TestClock.adjust("1 second")
        const again = yield* Effect.forkChild(channel.arrival, { startImmediately: true })
        assert.deepStrictEqual(yield* polled, Option.none())
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(yield* polled, Option.none())
        assert.strictEqual(again.pollUnsafe(), undefined)
      }))

    it.effect("as a Stream goes on where another reader stopped", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        yield* Effect.forEach(numbers(1, 3), (n) => pubsub.publish("a", n))
        yield* pubsub.flush
        assert.strictEqual((yield* channel.receive).data, "1")
        const rest = yield* Stream.runCollect(Stream.take(channel.messages, 2))
        assert.deepStrictEqual(rest.map(({ data }) => data), ["2", "3"])
        assert.strictEqual(channel.pending, 0)
      }))
  })
}
