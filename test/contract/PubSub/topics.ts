/** Topics: three ways to subscribe, who gets a message and who does not, and in which order. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type { Message } from "../../../src/service/PubSub.ts"
import { joined, next, numbers, received, start, type Subject, taken, until } from "./subject.ts"

export const topics = (subject: Subject): void => {
  describe("topics", () => {
    it.effect("deliver what is published to a channel that subscribed, and nothing else [C222] [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        yield* pubsub.publish("news", "too early")
        yield* pubsub.flush
        yield* channel.subscribe("news")
        yield* pubsub.publish("news", "one")
        yield* pubsub.publish("other", "elsewhere")
        yield* pubsub.publish("news.local", "below")
        yield* pubsub.publish("news", "two")
        assert.deepStrictEqual(yield* received(pubsub, channel), ["one", "two"])
        yield* channel.unsubscribe("news")
        yield* pubsub.publish("news", "too late")
        assert.deepStrictEqual(yield* received(pubsub, channel), [])
      }))

    it.effect("deliver to a Stream while it runs [C222]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const fiber = yield* Effect.forkChild(
          Stream.runCollect(Stream.take(pubsub.subscribe("news"), 3)),
          { startImmediately: true }
        )
        yield* joined(pubsub, "news", 1)
        const probe = yield* pubsub.open()
        yield* probe.subscribe("news")
        yield* Effect.forEach(numbers(1, 3), (n) => pubsub.publish("news", n))
        const messages = yield* Fiber.join(fiber)
        assert.deepStrictEqual(messages, numbers(1, 3).map((data) => ({ topic: "news", data, id: undefined })))
        assert.strictEqual(yield* pubsub.subscribers("news"), 1)
      }))

    it.effect("deliver to a callback until its scope closes [C222]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const scope = yield* Scope.make()
        const got: Array<Message> = []
        yield* Scope.provide(pubsub.listen("news", (message) => got.push(message)), scope)
        yield* pubsub.publish("news", "one")
        yield* pubsub.flush
        yield* Scope.close(scope, Exit.void)
        yield* pubsub.publish("news", "two")
        yield* pubsub.flush
        assert.deepStrictEqual(got, [{ topic: "news", data: "one", id: undefined }])
        assert.strictEqual(yield* pubsub.subscribers("news"), 0)
      }))

    it.effect("call each callback that listens, also the same one twice", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const got: Array<unknown> = []
        const callback = ({ data }: Message) => void got.push(data)
        const first = yield* Scope.make()
        yield* Scope.provide(pubsub.listen("news", callback), first)
        yield* pubsub.listen("news", callback)
        yield* pubsub.publish("news", "one")
        yield* pubsub.flush
        yield* Scope.close(first, Exit.void)
        yield* pubsub.publish("news", "two")
        yield* pubsub.flush
        assert.deepStrictEqual(got, ["one", "one", "two"])
      }))

    it.effect("are left all at once by unsubscribeAll [C222]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        yield* Effect.forEach(["b", "a", "c.*"], (name) => channel.subscribe(name))
        assert.deepStrictEqual(channel.subscriptions, ["b", "a", "c.*"])
        yield* channel.unsubscribeAll
        assert.deepStrictEqual(channel.subscriptions, [])
        yield* Effect.forEach(["b", "a", "c.d"], (topic) => pubsub.publish(topic, "late"))
        assert.deepStrictEqual(yield* received(pubsub, channel), [])
        yield* channel.subscribe("b")
        yield* pubsub.publish("b", "again")
        assert.deepStrictEqual(yield* received(pubsub, channel), ["again"])
      }))

    it.effect("are listed with those who subscribed to them by name [C222]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        const other = yield* pubsub.open()
        yield* channel.subscribe("a")
        yield* channel.subscribe("b")
        yield* other.subscribe("b")
        yield* other.subscribe("b.*")
        yield* pubsub.listen("b", () => {})
        assert.sameMembers([...yield* pubsub.topics], ["a", "b"])
        assert.deepStrictEqual(yield* Effect.forEach(["a", "b", "c"], pubsub.subscribers), [1, 3, 0])
        yield* channel.unsubscribe("a")
        yield* other.unsubscribe("b")
        assert.deepStrictEqual(yield* pubsub.topics, ["b"])
        assert.deepStrictEqual(yield* Effect.forEach(["a", "b"], pubsub.subscribers), [0, 2])
      }))

    it.effect("are subscribed to once, however often [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        yield* Effect.forEach(["news", "news", "*", "*"], (name) => channel.subscribe(name))
        assert.deepStrictEqual(channel.subscriptions, ["news", "*"])
        assert.strictEqual(yield* pubsub.subscribers("news"), 1)
        yield* pubsub.publish("news", "one")
        assert.deepStrictEqual(yield* received(pubsub, channel), ["one"])
        yield* channel.unsubscribe("*")
        yield* channel.unsubscribe("*")
        yield* channel.unsubscribe("news")
        yield* channel.unsubscribe("never joined")
        yield* pubsub.publish("news", "two")
        assert.deepStrictEqual(yield* received(pubsub, channel), [])
      }))

    it.effect("deliver a message once that comes by several subscriptions [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        yield* Effect.forEach(["chat.*", "chat.lobby", "**", "*.lobby"], (name) => channel.subscribe(name))
        yield* Effect.forEach(numbers(1, 3), (n) => pubsub.publish("chat.lobby", n))
        assert.deepStrictEqual(yield* received(pubsub, channel), numbers(1, 3))
        yield* channel.unsubscribe("chat.lobby")
        yield* pubsub.publish("chat.lobby", "4")
        assert.deepStrictEqual(yield* received(pubsub, channel), ["4"])
        yield* Effect.forEach(["chat.*", "**"], channel.unsubscribe)
        yield* pubsub.publish("chat.lobby", "5")
        yield* pubsub.publish("chat.other", "6")
        assert.deepStrictEqual(yield* received(pubsub, channel), ["5"])
      }))

    it.effect("reach all but the excluded channels [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const [a, b, c] = yield* Effect.all([pubsub.open(), pubsub.open(), pubsub.open()])
        yield* Effect.forEach([a, b, c], (channel) => channel.subscribe("news"))
        yield* a.subscribe("*")
        yield* pubsub.publish("news", "not a", { exclude: a.name })
        yield* pubsub.publish("news", "only c", { exclude: [b.name, a.name, "nobody"] })
        yield* b.publish("news", "not b")
        yield* b.publish("news", "not b, not c", { exclude: c.name })
        yield* pubsub.publish("news", "all", { exclude: [] })
        assert.deepStrictEqual(yield* received(pubsub, a), ["not b", "not b, not c", "all"])
        assert.deepStrictEqual(yield* received(pubsub, b), ["not a", "all"])
        assert.deepStrictEqual(yield* received(pubsub, c), ["not a", "only c", "not b", "all"])
      }))

    it.effect("keep the order of one sender, also among topics and with direct messages [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject, { capacity: 1000 })
        const channel = yield* pubsub.open()
        yield* Effect.forEach(["a", "b.*"], (name) => channel.subscribe(name))
        const ways = [
          (n: string) => pubsub.publish("a", n),
          (n: string) => pubsub.publish("b.x", n),
          (n: string) => pubsub.send(channel.name, n),
          (n: string) => pubsub.publish("a", n, { keep: 3 })
        ]
        yield* Effect.forEach(numbers(0, 199), (n) => ways[Number(n) % 4]!(n))
        assert.deepStrictEqual(yield* next(channel, 200), numbers(0, 199))
      }))

    it.effect("keep the order of each sender when several interleave [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject, { capacity: 1000 })
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        const send = (sender: string) =>
          Effect.forEach(
            numbers(1, 50),
            (n) => Effect.andThen(pubsub.publish("a", `${sender}${n}`), Effect.yieldNow),
            { discard: true }
          )
        yield* Effect.all(["x", "y", "z"].map(send), { concurrency: "unbounded" })
        const got = yield* next(channel, 150)
        for (const sender of ["x", "y", "z"]) {
          assert.deepStrictEqual(
            got.filter((data) => String(data).startsWith(sender)),
            numbers(1, 50).map((n) => sender + n)
          )
        }
      }))

    it.effect("have one order for all who listen, also when one of them publishes in between [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const seen: Record<string, Array<unknown>> = { first: [], second: [], third: [] }
        yield* pubsub.listen("a", ({ data }) => {
          seen["first"]!.push(data)
          if (data === "1") Effect.runFork(Effect.andThen(pubsub.publish("a", "2"), pubsub.publish("a", "3")))
        })
        yield* pubsub.listen("a", ({ data }) => void seen["second"]!.push(data))
        yield* pubsub.listen("*", ({ data }) => void seen["third"]!.push(data))
        yield* pubsub.publish("a", "1")
        yield* until(Effect.sync(() => seen["third"]!.length === 3))
        assert.deepStrictEqual(seen, { first: ["1", "2", "3"], second: ["1", "2", "3"], third: ["1", "2", "3"] })
      }))

    it.effect("deliver what a reader sends directly behind what it published before [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const [reader, target] = yield* Effect.all([pubsub.open(), pubsub.open()])
        yield* reader.subscribe("start")
        yield* target.subscribe("a")
        yield* Effect.forkChild(
          Effect.gen(function*() {
            yield* reader.receive
            yield* pubsub.publish("a", "published")
            yield* pubsub.send(target.name, "sent")
          }),
          { startImmediately: true }
        )
        yield* pubsub.publish("start", "go")
        assert.deepStrictEqual(yield* next(target, 2), ["published", "sent"])
      }))

    it.effect("can be left and joined inside of a callback", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const got: Array<string> = []
        const [first, second, third] = yield* Effect.all([Scope.make(), Scope.make(), Scope.make()])
        const leave = (scope: Scope.Closeable) => Effect.runSync(Scope.close(scope, Exit.void))
        const listen = (scope: Scope.Scope, name: string, more: () => void) =>
          Scope.provide(
            pubsub.listen("a", ({ data }) => {
              got.push(`${name}${String(data)}`)
              more()
            }),
            scope
          )
        yield* listen(first, "first", () => {
          leave(first)
          leave(second)
        })
        yield* listen(second, "second", () => {})
        yield* listen(third, "third", () => {})
        yield* pubsub.publish("a", "1")
        yield* pubsub.flush
        assert.deepStrictEqual(got, ["first1", "third1"])
        assert.strictEqual(yield* pubsub.subscribers("a"), 1)
        yield* pubsub.publish("a", "2")
        yield* pubsub.flush
        assert.deepStrictEqual(got, ["first1", "third1", "third2"])
        assert.strictEqual((yield* pubsub.stats).delivered, 3)
      }))

    it.effect("do not deliver a message to who joined because of it", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const got: Array<string> = []
        const scope = yield* Effect.scope
        let isFirst = true
        yield* pubsub.listen("a", ({ data }) => {
          if (!isFirst) return
          isFirst = false
          for (const name of ["a", "*"]) {
            const listening = pubsub.listen(name, (message) => got.push(`${name} ${String(message.data)}`))
            Effect.runFork(Scope.provide(listening, scope))
          }
          assert.strictEqual(data, "1")
        })
        yield* pubsub.listen("*", () => {})
        yield* pubsub.publish("a", "1")
        yield* pubsub.flush
        yield* joined(pubsub, "a", 2)
        assert.deepStrictEqual(got, [])
        const probe = yield* pubsub.open()
        yield* Effect.forEach(["a", "*"], (name) => probe.subscribe(name))
        yield* pubsub.publish("a", "2")
        yield* pubsub.flush
        assert.sameMembers(got, ["a 2", "* 2"])
      }))

    it.effect("leave text text and bytes bytes", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        const payloads = [
          "",
          "text",
          "snow ☃, 😀 and \u0000\r\n\u2028",
          "{\"json\":true}",
          new Uint8Array(0),
          Uint8Array.of(0, 255, 128, 13, 10),
          new TextEncoder().encode("text")
        ]
        yield* Effect.forEach(payloads, (data) => pubsub.publish("a", data))
        yield* Effect.forEach(payloads, (data) => pubsub.publish("a", data, { keep: 100 }))
        yield* Effect.forEach(payloads, (data) => pubsub.send(channel.name, data))
        yield* pubsub.flush
        const plain = (data: unknown) => data instanceof Uint8Array ? [...data] : data
        const got = yield* received(pubsub, channel)
        assert.deepStrictEqual(got.map(plain), [...payloads, ...payloads, ...payloads].map(plain))
        const kept = yield* pubsub.history("a")
        assert.deepStrictEqual(kept.map(({ data }) => plain(data)), payloads.map(plain))
      }))

    it.effect("have the bytes of the time when they were published, whatever becomes of them afterwards", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        // Another thread may write there at any time.
        const shared = new Uint8Array(new SharedArrayBuffer(8), 2, 3)
        const pooled = Buffer.from("xxx")
        for (const data of [shared, pooled]) {
          data.fill(7)
          yield* pubsub.publish("a", data)
          yield* pubsub.publish("a", data, { keep: 10 })
          yield* pubsub.publish("a", data, { delay: "1 second" })
          yield* pubsub.send(channel.name, data)
          yield* pubsub.send(channel.name, data, { delay: "1 second" })
          data.fill(0)
        }
        yield* pubsub.flush
        const now = yield* received(pubsub, channel)
        yield* until(Effect.map(TestClock.adjust("100 millis"), () => channel.pending === 4))
        const later = yield* taken(channel)
        const kept = (yield* pubsub.history("a")).map(({ data }) => data)
        assert.deepStrictEqual([now.length, later.length, kept.length], [6, 4, 2])
        for (const data of [...now, ...later, ...kept]) {
          assert(data instanceof Uint8Array && data.buffer instanceof ArrayBuffer)
          assert.deepStrictEqual([...data], [7, 7, 7])
        }
      }))
  })
}
