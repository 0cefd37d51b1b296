/** Two processes at one broker: what one says, the other hears. Skipped, with the layer's reason, where there is one. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { PubSub } from "../../../src/service/PubSub.ts"
import { next, numbers, reasonOf, startTwo, type Subject, taken, until } from "./subject.ts"

export const processes = (subject: Subject): void => {
  const isOne = subject.processes !== 2
  describe.skipIf(isOne)(isOne ? `two processes (skipped: ${subject.processes})` : "two processes", () => {
    it.effect("hear each other's topics, by name and by pattern [C223]", () =>
      Effect.gen(function*() {
        const [here, there] = yield* startTwo(subject)
        const [a, b] = yield* Effect.all([here.open(), there.open()])
        yield* a.subscribe("news.*")
        yield* b.subscribe("news.local")
        yield* b.subscribe("**")
        for (const n of numbers(1, 20)) yield* (Number(n) % 2 === 0 ? here : there).publish("news.local", n)
        const even = numbers(1, 20).filter((n) => Number(n) % 2 === 0)
        const odd = numbers(1, 20).filter((n) => Number(n) % 2 === 1)
        for (const channel of [a, b]) {
          const got = yield* next(channel, 20)
          assert.deepStrictEqual(got.filter((n) => Number(n) % 2 === 0), even)
          assert.deepStrictEqual(got.filter((n) => Number(n) % 2 === 1), odd)
        }
        yield* Effect.forEach([here, there], (service) => service.flush)
        assert.deepStrictEqual([a.pending, b.pending], [0, 0])
        assert.deepStrictEqual(yield* here.topics, [])
        assert.deepStrictEqual(yield* there.topics, ["news.local"])
      }))

    it.effect("exclude channels of each other [C223]", () =>
      Effect.gen(function*() {
        const [here, there] = yield* startTwo(subject)
        const [a, b] = yield* Effect.all([here.open(), there.open()])
        assert.notStrictEqual(a.name, b.name)
        yield* Effect.forEach([a, b], (channel) => channel.subscribe("a"))
        yield* here.publish("a", "not there", { exclude: b.name })
        yield* a.publish("a", "not me")
        yield* here.publish("a", "end")
        assert.deepStrictEqual(yield* next(a, 2), ["not there", "end"])
        assert.deepStrictEqual(yield* next(b, 2), ["not me", "end"])
      }))

    it.effect("send to each other's channels, and are told when those are full or gone [C223]", () =>
      Effect.gen(function*() {
        const [here, there] = yield* startTwo(subject)
        const scope = yield* Scope.make()
        const channel = yield* Scope.provide(there.open({ capacity: 2 }), scope)
        yield* here.send(channel.name, "text")
        yield* here.send(channel.name, Uint8Array.of(0, 255))
        assert.deepStrictEqual(
          yield* reasonOf(here.send(channel.name, "x")),
          { _tag: "ChannelFull", channel: channel.name, capacity: 2 }
        )
        assert.strictEqual((yield* there.stats).droppedFull, 1)
        const [text, bytes] = yield* taken(channel)
        assert.strictEqual(text, "text")
        assert.deepStrictEqual([...bytes as Uint8Array], [0, 255])
        yield* here.send(channel.name, "y")
        assert.deepStrictEqual(yield* channel.receive, { topic: channel.name, data: "y", id: undefined })
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(
          yield* reasonOf(here.send(channel.name, "x")),
          { _tag: "UnknownChannel", channel: channel.name }
        )
      }))

    it.effect("keep the order of one sender to one receiver, topics and direct messages alike [C223]", () =>
      Effect.gen(function*() {
        const [here, there] = yield* startTwo(subject)
        const channel = yield* there.open({ capacity: 1000 })
        yield* Effect.forEach(["a", "b.*"], (name) => channel.subscribe(name))
        const ways = [
          (n: string) => here.publish("a", n),
          (n: string) => here.publish("b.x", n, { keep: 2 }),
          (n: string) => here.send(channel.name, n)
        ]
        yield* Effect.forEach(numbers(0, 299), (n) => ways[Number(n) % 3]!(n), { discard: true })
        assert.deepStrictEqual(yield* next(channel, 300), numbers(0, 299))
      }))

    it.effect("share histories, with the same ids [C223]", () =>
      Effect.gen(function*() {
        const [here, there] = yield* startTwo(subject)
        for (const n of numbers(1, 10)) yield* (Number(n) % 2 === 0 ? here : there).publish("a", n, { keep: 5 })
        const kept = yield* here.history("a")
        assert.deepStrictEqual(kept.map(({ data }) => data), numbers(6, 10))
        assert.deepStrictEqual(yield* there.history("a"), kept)
        const channel = yield* there.open()
        yield* channel.subscribe("a", { after: kept[2]!.id })
        yield* here.publish("a", "11", { keep: 5 })
        assert.deepStrictEqual(yield* next(channel, 3), ["9", "10", "11"])
      }))

    it.effect("join a history to live messages without a gap while the other publishes [C223]", () =>
      Effect.gen(function*() {
        const [here, there] = yield* startTwo(subject, { capacity: 1000 })
        const publisher = Effect.forEach(numbers(1, 300), (n) => here.publish("a", n, { keep: 1000 }), {
          discard: true
        })
        const join = Effect.fnUntraced(function*(position: number) {
          const channel = yield* there.open()
          yield* until(Effect.map(there.history("a"), (kept) => kept.length > position))
          const from = (yield* there.history("a"))[position]!
          yield* channel.subscribe("a", { after: from.id })
          return yield* next(channel, 300 - Number(from.data))
        })
        const positions = [0, 50, 100, 150, 200]
        const [, got] = yield* Effect.all(
          [publisher, Effect.forEach(positions, join, { concurrency: "unbounded" })],
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(got, positions.map((position) => numbers(position + 2, 300)))
      }))

    it.effect("deliver delayed messages once each, to the other as well [C223]", () =>
      Effect.gen(function*() {
        const [here, there] = yield* startTwo(subject)
        const [a, b] = yield* Effect.all([here.open(), there.open()])
        yield* Effect.forEach([a, b], (channel) => channel.subscribe("a"))
        yield* here.publish("a", "late", { delay: "10 seconds" })
        yield* here.send(b.name, "direct", { delay: "20 seconds" })
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual([...yield* next(a, 1), ...yield* next(b, 1)], ["late", "late"])
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* next(b, 1), ["direct"])
        yield* TestClock.adjust("10 seconds")
        yield* there.publish("a", "end")
        assert.deepStrictEqual([...yield* next(a, 1), ...yield* next(b, 1)], ["end", "end"])
      }))

    it.effect("see each other's presence, a key of both once [C223]", () =>
      Effect.gen(function*() {
        const [here, there] = yield* startTwo(subject)
        const scope = yield* Scope.make()
        yield* here.presence.track("room", "ann", "here")
        yield* Scope.provide(there.presence.track("room", "ann", "there"), scope)
        yield* Scope.provide(there.presence.track("room", "bob", "there"), scope)
        for (const service of [here, there]) {
          yield* until(Effect.map(service.presence.count("room"), (count) => count === 2))
          const keys = (yield* service.presence.list("room")).map(({ key }) => key)
          assert.sameMembers(keys, ["ann", "bob"])
          const page = yield* service.presence.scan("room")
          assert.sameMembers(page.entries.map(({ key }) => key), ["ann", "bob"])
        }
        yield* Scope.close(scope, Exit.void)
        for (const service of [here, there]) {
          yield* until(Effect.map(service.presence.count("room"), (count) => count === 1))
          assert.deepStrictEqual(yield* service.presence.list("room"), [{ key: "ann", value: "here" }])
        }
      }))

    it.effect("outlive each other: what one had is gone when it closes, the other goes on", () =>
      Effect.gen(function*() {
        const layer = yield* subject.broker({})
        const build = (scope: Scope.Scope) =>
          Effect.map(Layer.buildWithScope(Layer.fresh(layer), scope), (context) => Context.get(context, PubSub))
        const here = yield* build(yield* Effect.scope)
        const scope = yield* Scope.make()
        const there = yield* build(scope)
        const [a, b] = yield* Effect.all([here.open(), there.open()])
        yield* Effect.forEach([a, b], (channel) => channel.subscribe("a"))
        yield* b.track("room", "bob")
        yield* until(Effect.map(here.presence.count("room"), (count) => count === 1))
        yield* Scope.close(scope, Exit.void)
        yield* until(Effect.map(here.presence.count("room"), (count) => count === 0))
        assert.strictEqual((yield* reasonOf(here.send(b.name, "x")))._tag, "UnknownChannel")
        yield* here.publish("a", "still here")
        assert.deepStrictEqual(yield* next(a, 1), ["still here"])
      }))

    it.effect("stay subscribed as the last step said, however fast they join and leave", () =>
      Effect.gen(function*() {
        const [here, there] = yield* startTwo(subject)
        const channel = yield* there.open()
        for (let i = 0; i < 20; i++) {
          yield* Effect.forEach(["a", "b.*"], (name) => channel.subscribe(name), { concurrency: "unbounded" })
          yield* channel.unsubscribeAll
        }
        yield* channel.subscribe("end")
        yield* Effect.forEach(["a", "b.c", "end"], (topic) => here.publish(topic, topic))
        assert.deepStrictEqual(yield* next(channel, 1), ["end"])
        yield* Effect.forEach(["a", "b.*"], (name) => channel.subscribe(name))
        yield* Effect.forEach(["a", "b.c", "end"], (topic) => here.publish(topic, topic))
        assert.deepStrictEqual(yield* next(channel, 3), ["a", "b.c", "end"])
      }))
  })
}
