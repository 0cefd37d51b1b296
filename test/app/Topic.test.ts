import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Getter from "effect/SchemaGetter"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as PubSubMemory from "../../layers/PubSubMemory.ts"
import * as TestClient from "../../layers/TestClient.ts"
import * as App from "../../src/app/App.ts"
import * as SseSession from "../../src/app/SseSession.ts"
import * as Topic from "../../src/app/Topic.ts"
import { PubSub } from "../../src/service/PubSub.ts"
import { request } from "../utils/answers.ts"
import { capture } from "../utils/logs.ts"
import { serve } from "../utils/serve.ts"

const Article = Schema.Struct({ title: Schema.String, at: Schema.Date })
const article = (title: string) => ({ title, at: new Date(0) })
const textOf = (title: string) => `{"title":"${title}","at":"1970-01-01T00:00:00.000Z"}`

const News = Topic.make("news", Article, { keep: 3 })
const Kept = Topic.make("numbers", Schema.Int, { keep: 100 })
const Plain = Topic.make("plain", Schema.Int)
const Room = Topic.family((room: string, part: number) => `chat.${room}.${part}`, Schema.Int)

const memory = Effect.provide(PubSubMemory.layer())

/** Runs a Stream into a queue, and is subscribed when it yields that. */
const collecting = Effect.fnUntraced(function*<A, E>(stream: Stream.Stream<A, E, PubSub>) {
  const values = yield* Queue.unbounded<A>()
  yield* Effect.forkScoped(Stream.runForEach(stream, (value) => Queue.offer(values, value)), {
    startImmediately: true
  })
  return values
})

const publishAll = (topic: Topic.Topic<number>, ...values: ReadonlyArray<number>) =>
  Effect.forEach(values, (value) => topic.publish(value), { discard: true })

describe("Topic", () => {
  describe("make", () => {
    it("throws a RangeError for what cannot be a topic", () => {
      for (const name of ["", "a..b", "chat.*", "a b", "a\nb", "ä", "x".repeat(101)]) {
        assert.throws(() => Topic.make(name, Schema.Int), RangeError, "cannot be a topic")
      }
    })

    it.effect("has a name, and functions that need no this", () =>
      Effect.gen(function*() {
        const { decode, entries, history, name, publish, subscribe } = Kept
        assert.strictEqual(name, "numbers")
        yield* publish(1)
        const [kept] = yield* history()
        const [entry] = yield* Stream.runCollect(Stream.take(entries({ last: 1 }), 1))
        assert.deepStrictEqual(entry, kept)
        assert.deepStrictEqual(yield* Stream.runCollect(Stream.take(subscribe({ last: 1 }), 1)), [1])
        assert.deepStrictEqual(decode({ topic: name, data: "2", id: undefined }), Option.some(2))
      }).pipe(memory))
  })

  describe("family", () => {
    it.effect("makes topics of one Schema that are apart", () =>
      Effect.gen(function*() {
        const lobby = yield* collecting(Room("lobby", 1).subscribe())
        const kitchen = yield* collecting(Room("kitchen", 1).subscribe())
        assert.strictEqual(Room("lobby", 1).name, "chat.lobby.1")
        yield* Room("lobby", 1).publish(1)
        yield* Room("lobby", 2).publish(2)
        yield* Room("kitchen", 1).publish(3)
        assert.deepStrictEqual(yield* Queue.takeAll(lobby), [1])
        assert.deepStrictEqual(yield* Queue.takeAll(kitchen), [3])
      }).pipe(memory))

    it("throws a RangeError for a name that its arguments make impossible", () => {
      assert.throws(() => Room("a b", 1), RangeError, "\"chat.a b.1\" cannot be a topic")
      assert.throws(() => Room("*", 1), RangeError)
    })
  })

  describe("publish", () => {
    it.effect("writes the JSON form of a value, which other programs can read", () =>
      Effect.gen(function*() {
        const pubsub = yield* PubSub
        const raw = yield* collecting(pubsub.subscribe("news"))
        yield* News.publish(article("one"))
        assert.strictEqual((yield* Queue.take(raw)).data, textOf("one"))
      }).pipe(memory))

    it.effect("refuses a value that does not fit, naming the place and never the value", () =>
      Effect.gen(function*() {
        const secret = { title: 4711, at: new Date(0) } as unknown as typeof Article.Type
        const error = yield* Effect.flip(News.publish(secret))
        assert.deepStrictEqual(error.reason, {
          _tag: "InvalidMessage",
          topic: "news",
          problem: "it does not fit its Schema at title"
        })
        assert.strictEqual(error.message, "A message for news cannot be sent: it does not fit its Schema at title")
        assert.notInclude(JSON.stringify(error), "4711")
        const root = yield* Effect.flip(Plain.publish("4711" as never))
        assert.deepInclude(root.reason, { problem: "it does not fit its Schema" })
        assert.deepStrictEqual(yield* News.history(), [])
      }).pipe(memory))

    it.effect("keeps as many values as the topic says, and none where it says nothing", () =>
      Effect.gen(function*() {
        for (const title of ["a", "b", "c", "d"]) yield* News.publish(article(title))
        const kept = yield* News.history()
        assert.deepStrictEqual(kept.map(({ value }) => value), [article("b"), article("c"), article("d")])
        assert.strictEqual(new Set(kept.map(({ id }) => id)).size, 3)
        yield* Plain.publish(1)
        assert.deepStrictEqual(yield* Plain.history(), [])
      }).pipe(memory))

    it.effect("leaves out channels, and waits for a delay", () =>
      Effect.gen(function*() {
        const pubsub = yield* PubSub
        const channel = yield* pubsub.open()
        yield* channel.subscribe("numbers")
        yield* Kept.publish(1, { exclude: channel.name })
        yield* Kept.publish(2, { delay: "1 minute" })
        assert.strictEqual(channel.pending, 0)
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(Kept.decode(yield* channel.receive), Option.some(2))
        assert.deepStrictEqual((yield* Kept.history()).map(({ value }) => value), [1, 2])
      }).pipe(memory))

    it.effect("fails as the service does", () =>
      Effect.gen(function*() {
        const Much = Topic.make("much", Schema.Int, { keep: 1001 })
        assert.deepInclude((yield* Effect.flip(Much.publish(1))).reason, { _tag: "InvalidOption", option: "keep" })
        const Long = Topic.make("long", Schema.String)
        const error = yield* Effect.flip(Long.publish("x".repeat(10)))
        assert.deepStrictEqual(error.reason, { _tag: "MessageTooLarge", bytes: 12, limit: 11 })
      }).pipe(Effect.provide(PubSubMemory.layer({ maxMessageBytes: 11 }))))
  })

  describe("subscribe", () => {
    it.effect("yields values, dates as dates", () =>
      Effect.gen(function*() {
        const values = yield* collecting(News.subscribe())
        yield* News.publish({ title: "one", at: new Date(86_400_000) })
        const value = yield* Queue.take(values)
        assert.instanceOf(value.at, Date)
        assert.deepStrictEqual(value, { title: "one", at: new Date(86_400_000) })
      }).pipe(memory))

    it.effect("goes on after an id, or with the last ones, without a gap and nothing twice", () =>
      Effect.gen(function*() {
        yield* publishAll(Kept, 1, 2, 3)
        const [first] = yield* Kept.history()
        const after = yield* collecting(Kept.subscribe({ after: first!.id }))
        const last = yield* collecting(Kept.subscribe({ last: 1 }))
        const all = yield* collecting(Kept.subscribe({ after: "no such id" }))
        yield* publishAll(Kept, 4, 5)
        assert.deepStrictEqual(yield* Queue.takeAll(after), [2, 3, 4, 5])
        assert.deepStrictEqual(yield* Queue.takeAll(last), [3, 4, 5])
        assert.deepStrictEqual(yield* Queue.takeAll(all), [1, 2, 3, 4, 5])
        const [, ...others] = yield* Kept.history({ after: first!.id })
        assert.deepStrictEqual(others.map(({ value }) => value), [3, 4, 5])
      }).pipe(memory))

    it.effect("decodes a message once, however many have subscribed", () =>
      Effect.gen(function*() {
        let decoded = 0
        const Counted = Schema.String.pipe(Schema.decodeTo(Schema.String, {
          decode: Getter.transform((text: string) => {
            decoded++
            return text.toUpperCase()
          }),
          encode: Getter.transform((text: string) => text.toLowerCase())
        }))
        const topic = Topic.make("counted", Counted, { keep: 10 })
        const subscribers = yield* Effect.replicateEffect(collecting(topic.subscribe()), 50)
        yield* topic.publish("A")
        yield* topic.publish("B")
        for (const values of subscribers) assert.deepStrictEqual(yield* Queue.takeAll(values), ["A", "B"])
        assert.deepStrictEqual((yield* topic.history()).map(({ value }) => value), ["A", "B"])
        assert.strictEqual(decoded, 2)
      }).pipe(memory))

    it.effect("skips what does not fit its Schema, and goes on", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const pubsub = yield* PubSub
        const values = yield* collecting(News.subscribe())
        const others = yield* collecting(News.subscribe())
        for (const data of ["no JSON", "{\"title\":1}", "", "null", new Uint8Array([1, 2]), "{\"__proto__\":1}"]) {
          yield* pubsub.publish("news", data, { keep: 10 })
        }
        yield* News.publish(article("one"))
        assert.deepStrictEqual(yield* Queue.takeAll(values), [article("one")])
        assert.deepStrictEqual(yield* Queue.takeAll(others), [article("one")])
        assert.deepStrictEqual((yield* News.history()).map(({ value }) => value), [article("one")])
        assert.deepStrictEqual(lines.map(({ level, message }) => [level, message]), [
          ["Warn", "A message of news does not fit its Schema and is skipped"]
        ])
      }).pipe(memory, Effect.provide(layer))
    })

    it.effect("warns of what does not fit once a minute, and says how much that was", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const pubsub = yield* PubSub
        const Family = Topic.family((room: string) => `chat.${room}`, Schema.Int)
        for (const room of ["a", "b"]) {
          yield* collecting(Family(room).subscribe())
          yield* collecting(Family(room).subscribe())
        }
        const strange = Effect.andThen(pubsub.publish("chat.a", "?"), pubsub.publish("chat.b", "?"))
        yield* Effect.replicateEffect(strange, 1000)
        assert.strictEqual(lines.length, 1)
        yield* TestClock.adjust("59 seconds")
        yield* strange
        assert.strictEqual(lines.length, 1)
        yield* TestClock.adjust("1 second")
        yield* strange
        assert.strictEqual(lines.length, 2)
        assert.strictEqual(
          lines[1]!.message,
          "2002 messages, the last one of chat.a, do not fit their Schema and are skipped"
        )
      }).pipe(memory, Effect.provide(layer))
    })

    it.effect("survives a Schema that throws", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const Strict = Schema.String.pipe(Schema.decodeTo(Schema.String, {
          decode: Getter.transform((text: string) => {
            if (text === "bad") throw new Error("what a Schema should not do")
            return text
          }),
          encode: Getter.passthrough()
        }))
        const topic = Topic.make("strict", Strict)
        const values = yield* collecting(topic.subscribe())
        yield* topic.publish("bad")
        yield* topic.publish("good")
        assert.deepStrictEqual(yield* Queue.takeAll(values), ["good"])
        assert.strictEqual(lines.length, 1)
      }).pipe(memory, Effect.provide(layer))
    })

    it.effect("drops what comes above its capacity", () =>
      Effect.gen(function*() {
        const mayGoOn = yield* Deferred.make<void>()
        const values: Array<number> = []
        const reading = yield* Effect.forkChild(
          Stream.runForEach(
            Stream.take(Kept.subscribe({ capacity: 2 }), 3),
            (value) => Effect.andThen(Effect.sync(() => values.push(value)), Deferred.await(mayGoOn))
          ),
          { startImmediately: true }
        )
        yield* publishAll(Kept, 1, 2, 3, 4, 5)
        yield* Deferred.succeed(mayGoOn, undefined)
        yield* Fiber.join(reading)
        assert.deepStrictEqual(values, [1, 2, 3])
        assert.strictEqual((yield* (yield* PubSub).stats).droppedFull, 2)
      }).pipe(memory))
  })

  describe("decode", () => {
    it.effect("reads what came by a pattern or through a channel", () =>
      Effect.gen(function*() {
        const pubsub = yield* PubSub
        const channel = yield* pubsub.open()
        yield* channel.subscribe("chat.**")
        yield* Room("lobby", 1).publish(7)
        yield* pubsub.publish("chat.strange", "?")
        assert.deepStrictEqual(Room("lobby", 1).decode(yield* channel.receive), Option.some(7))
        assert.deepStrictEqual(Room("lobby", 1).decode(yield* channel.receive), Option.none())
      }).pipe(memory))
  })
})

const feedApp = (options?: Topic.FeedOptions) => App.sse((exchange) => Kept.feed(SseSession.make(exchange), options))

/** What a client got, and what it would come back with. */
const take = (session: TestClient.SseSession, count: number) =>
  Effect.map(Effect.replicateEffect(session.next, count), (events) => ({
    values: events.map(({ data }) => Number(data)),
    lastEventId: events.at(-1)!.id!
  }))

describe("Topic.feed", () => {
  it.effect("sends the text of each message as an event with its id", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(
        App.sse((exchange) => News.feed(SseSession.make(exchange), { event: "article" }))
      )
      const session = yield* client.sse("/")
      yield* TestClient.settle
      yield* News.publish(article("one"))
      const [{ id }] = (yield* News.history()) as [Topic.Entry<unknown>]
      assert.deepStrictEqual(yield* session.next, { event: "article", data: textOf("one"), id, retry: undefined })
    }).pipe(memory))

  it.effect("sends a returning client what it missed, without a gap and nothing twice [C213]", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(feedApp())
      yield* publishAll(Kept, 1, 2)
      const before = yield* Scope.make()
      const first = yield* Scope.provide(client.sse("/"), before)
      yield* TestClient.settle
      yield* publishAll(Kept, 3, 4, 5)
      const seen = yield* take(first, 2)
      assert.deepStrictEqual(seen.values, [3, 4])
      // It goes without having read everything, as a client does whose network breaks.
      yield* Scope.close(before, Exit.void)
      yield* publishAll(Kept, 6, 7)
      const second = yield* client.sse("/", { lastEventId: seen.lastEventId })
      yield* publishAll(Kept, 8)
      yield* TestClient.settle
      yield* publishAll(Kept, 9)
      assert.deepStrictEqual((yield* take(second, 5)).values, [5, 6, 7, 8, 9])
      assert.strictEqual((yield* (yield* PubSub).stats).topics, 1)
    }).pipe(memory))

  it.effect("misses nothing and repeats nothing through any number of reconnects while others publish [C213]", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(feedApp({ last: 1 }))
      yield* Kept.publish(0)
      const seen: Array<number> = []
      let lastEventId: string | undefined
      let published = 0
      for (let round = 1; round <= 10; round++) {
        const scope = yield* Scope.make()
        const session = yield* Scope.provide(
          client.sse("/", lastEventId === undefined ? {} : { lastEventId }),
          scope
        )
        yield* publishAll(Kept, ++published, ++published, ++published)
        const { values, ...last } = yield* take(session, round === 1 ? 2 : 3)
        seen.push(...values)
        lastEventId = last.lastEventId
        yield* Scope.close(scope, Exit.void)
        yield* publishAll(Kept, ++published)
      }
      const rest = yield* client.sse("/", { lastEventId: lastEventId! })
      seen.push(...(yield* take(rest, published + 1 - seen.length)).values)
      assert.deepStrictEqual(seen, Array.from({ length: published + 1 }, (_, index) => index))
    }).pipe(memory))

  it.effect("begins with the last messages for a new client, with none unless asked", () =>
    Effect.gen(function*() {
      yield* publishAll(Kept, 1, 2, 3)
      const pubsub = yield* PubSub
      for (const [options, expected] of [[{ last: 2 }, [2, 3, 4]], [{ last: 0 }, [4]], [{}, [4]]] as const) {
        yield* Effect.scoped(Effect.gen(function*() {
          const client = yield* TestClient.make(feedApp(options))
          const session = yield* client.sse("/")
          yield* TestClient.settle
          yield* pubsub.publish("numbers", "4")
          assert.deepStrictEqual((yield* take(session, expected.length)).values, [...expected])
        }))
      }
    }).pipe(memory))

  it.effect("sends everything that is kept for an id that it does not know, whatever that says", () =>
    Effect.gen(function*() {
      yield* publishAll(Kept, 1, 2)
      const client = yield* TestClient.make(feedApp())
      for (const lastEventId of ["garbage", "0", "-1", "../../etc", "%00", "ä", "9".repeat(4000)]) {
        const session = yield* client.sse("/", { lastEventId: Buffer.from(lastEventId).toString("latin1") })
        assert.deepStrictEqual((yield* take(session, 2)).values, [1, 2], lastEventId)
      }
      const byQuery = yield* client.sse("/?lastEventId=garbage")
      assert.deepStrictEqual((yield* take(byQuery, 2)).values, [1, 2])
    }).pipe(memory))

  it.effect("skips what does not fit, for returning clients too", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const pubsub = yield* PubSub
      const client = yield* TestClient.make(feedApp({ last: 10 }))
      yield* pubsub.publish("numbers", "<script>", { keep: 10 })
      yield* Kept.publish(1)
      const session = yield* client.sse("/")
      yield* TestClient.settle
      yield* pubsub.publish("numbers", new Uint8Array([255]))
      yield* Kept.publish(2)
      assert.deepStrictEqual((yield* take(session, 2)).values, [1, 2])
      assert.strictEqual(lines.filter(({ level }) => level === "Warn").length, 1)
    }).pipe(memory, Effect.provide(layer))
  })

  it.effect("leaves the topic when the client does, and ends the stream when the layer closes", () =>
    Effect.gen(function*() {
      const layerScope = yield* Scope.make()
      const context = yield* Scope.provide(PubSubMemory.make(), layerScope)
      const client = yield* TestClient.make((exchange) => Effect.provideService(feedApp()(exchange), PubSub, context))
      const leaving = yield* Scope.make()
      yield* Scope.provide(client.sse("/"), leaving)
      const staying = yield* client.sse("/")
      yield* TestClient.settle
      assert.strictEqual(yield* context.subscribers("numbers"), 2)
      yield* Scope.close(leaving, Exit.void)
      yield* TestClient.settle
      assert.strictEqual(yield* context.subscribers("numbers"), 1)
      yield* Scope.close(layerScope, Exit.void)
      assert.isTrue((yield* staying.closed).isComplete)
    }))

  it.effect("lets nobody wait for a client that does not read, which misses what its queue has no room for", () =>
    Effect.gen(function*() {
      const Long = Topic.make("long", Schema.String, { keep: 100 })
      const app = App.sse((exchange) => Long.feed(SseSession.make(exchange), { capacity: 5 }))
      const { connect } = yield* serve(app, {
        writeHighWaterMark: 4000,
        writeLowWaterMark: 1000,
        networkBufferBytes: 1000
      })
      const ask = request("GET /", ["accept: text/event-stream"])
      const slow = yield* connect()
      const quick = yield* connect()
      yield* slow.send(ask)
      yield* quick.send(ask)
      yield* slow.pause
      let received = ""
      for (let i = 0; i < 50; i++) {
        yield* Long.publish(String(i).padStart(1000, "."))
        received += yield* quick.read
      }
      assert.strictEqual(received.match(/\ndata: /g)?.length, 50)
      yield* slow.resume
      const late = (yield* slow.read).match(/\ndata: /g)?.length ?? 0
      assert.isAtLeast(late, 5)
      assert.isBelow(late, 20)
      const { droppedFull } = yield* (yield* PubSub).stats
      assert.strictEqual(late + droppedFull, 50)
    }).pipe(memory))
})
