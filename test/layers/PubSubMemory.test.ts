import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as PubSubMemory from "../../layers/PubSubMemory.ts"
import { type Channel, type Message, PubSub, type PubSubError } from "../../src/service/PubSub.ts"
import { pubSubContract } from "../contract/PubSub.ts"

pubSubContract("PubSubMemory", {
  processes: "memory is within one process",
  broker: (options) => Effect.succeed(PubSubMemory.layer(options))
})

const topics = ["a", "b", "a.b"] as const
const names = [...topics, "*", "a.*", "**"] as const
const who = Schema.Literals([0, 1, 2])
const size = { capacity: 3, expirySeconds: 60, keep: 2 }

const Step = Schema.Union([
  Schema.Struct({ do: Schema.Literal("publish"), topic: Schema.Literals(topics), keeps: Schema.Boolean }),
  Schema.Struct({ do: Schema.Literal("publishAs"), who, topic: Schema.Literals(topics) }),
  Schema.Struct({ do: Schema.Literal("exclude"), topic: Schema.Literals(topics), all: Schema.Array(who) }),
  Schema.Struct({ do: Schema.Literal("subscribe"), who, name: Schema.Literals(names) }),
  Schema.Struct({ do: Schema.Literal("replay"), who, topic: Schema.Literals(topics), last: Schema.Literals([1, 5]) }),
  Schema.Struct({ do: Schema.Literal("unsubscribe"), who, name: Schema.Literals(names) }),
  Schema.Struct({ do: Schema.Literal("unsubscribeAll"), who }),
  Schema.Struct({ do: Schema.Literal("send"), who }),
  Schema.Struct({ do: Schema.Literal("receive"), who }),
  Schema.Struct({ do: Schema.Literal("reopen"), who }),
  Schema.Struct({ do: Schema.Literal("listen"), who, name: Schema.Literals(names) }),
  Schema.Struct({ do: Schema.Literal("wait"), seconds: Schema.Literals([20, 60]) })
])
type Step = typeof Step.Type

interface Queued {
  readonly data: string
  /** Undefined: it was replayed and does not age. */
  readonly second: number | undefined
}

interface Box {
  readonly names: Set<string>
  queue: Array<Queued>
  listens: string | undefined
}

const matches = (name: string, topic: string): boolean =>
  new RegExp(`^${name.replaceAll(".", "\\.").replaceAll("**", "#").replaceAll("*", "[^.]+").replaceAll("#", ".+")}$`)
    .test(topic)

/** What a PubSub is, said without thought of speed. Every step yields what can be seen of it. */
class Model {
  private readonly boxes: Array<Box> = [0, 1, 2].map(() => ({ names: new Set(), queue: [], listens: undefined }))
  private readonly kept = new Map<string, Array<string>>()
  private second = 0
  private next = 1
  private delivered = 0
  private droppedFull = 0
  private droppedExpired = 0
  private heard: Array<string> = []

  private forgetOld(box: Box): void {
    while (box.queue[0]?.second !== undefined && this.second - box.queue[0].second >= size.expirySeconds) {
      box.queue.shift()
      this.droppedExpired++
    }
  }

  private offer(box: Box, data: string): boolean {
    const live = () => box.queue.filter(({ second }) => second !== undefined).length
    if (live() >= size.capacity) this.forgetOld(box)
    const isTaken = live() < size.capacity
    if (isTaken) box.queue.push({ data, second: this.second })
    if (isTaken) this.delivered++
    else this.droppedFull++
    return isTaken
  }

  private publish(topic: string, excluded: ReadonlyArray<number>): string {
    const data = String(this.next++)
    this.boxes.forEach((box, index) => {
      if (box.listens !== undefined && matches(box.listens, topic)) {
        this.heard.push(`${index}:${data}`)
        this.delivered++
      }
      if (!excluded.includes(index) && [...box.names].some((name) => matches(name, topic))) this.offer(box, data)
    })
    return data
  }

  run(step: Step): unknown {
    const box = this.boxes["who" in step ? step.who : 0]!
    switch (step.do) {
      case "publish": {
        const data = this.publish(step.topic, [])
        if (step.keeps) this.kept.set(step.topic, [...this.kept.get(step.topic) ?? [], data].slice(-size.keep))
        return undefined
      }
      case "publishAs":
        return void this.publish(step.topic, [step.who])
      case "exclude":
        return void this.publish(step.topic, step.all)
      case "subscribe":
        return void box.names.add(step.name)
      case "replay": {
        if (box.names.has(step.topic)) return
        box.names.add(step.topic)
        const replayed = (this.kept.get(step.topic) ?? []).slice(-step.last)
        box.queue.push(...replayed.map((data) => ({ data, second: undefined })))
        return undefined
      }
      case "unsubscribe":
        return void box.names.delete(step.name)
      case "unsubscribeAll":
        return box.names.clear()
      case "send":
        return this.offer(box, String(this.next++)) ? "sent" : "ChannelFull"
      case "receive":
        this.forgetOld(box)
        return box.queue.shift()?.data
      case "reopen":
        box.names.clear()
        box.queue = []
        return undefined
      case "listen":
        box.listens = box.listens === undefined ? step.name : undefined
        return undefined
      case "wait":
        this.second += step.seconds
        return undefined
    }
  }

  /** All that can be seen from outside. */
  seen() {
    for (const box of this.boxes) this.forgetOld(box)
    const everything = this.boxes.flatMap((box) => [...box.names, ...box.listens === undefined ? [] : [box.listens]])
    const joined = [...new Set(everything)].sort()
    return {
      topics: joined.filter((name) => !name.includes("*")),
      subscribers: topics.map((topic) => everything.filter((name) => name === topic).length),
      patterns: joined.filter((name) => name.includes("*")).length,
      subscriptions: this.boxes.map((box) => [...box.names]),
      pending: this.boxes.map(({ queue }) => queue.length),
      heard: [...this.heard].sort(),
      delivered: this.delivered,
      droppedFull: this.droppedFull,
      droppedExpired: this.droppedExpired,
      published: this.next - 1
    }
  }
}

/** The same steps over the layer. */
class Real {
  private readonly pubsub: PubSub["Service"]
  private readonly channels: Array<{ readonly channel: Channel; readonly scope: Scope.Closeable }> = []
  private readonly listening: Array<Scope.Closeable | undefined> = []
  private readonly heard: Array<string> = []
  private next = 1
  private sent = 0

  constructor(pubsub: PubSub["Service"]) {
    this.pubsub = pubsub
  }

  readonly open = Effect.fnUntraced(function*(this: Real, index: number) {
    const scope = yield* Scope.make()
    this.channels[index] = { channel: yield* Scope.provide(this.pubsub.open(), scope), scope }
  })

  private text(): string {
    return String(this.next++)
  }

  run(step: Step): Effect.Effect<unknown, PubSubError> {
    const { pubsub } = this
    const index = "who" in step ? step.who : 0
    const { channel, scope } = this.channels[index]!
    switch (step.do) {
      case "publish":
        return pubsub.publish(step.topic, this.text(), step.keeps ? { keep: size.keep } : undefined)
      case "publishAs":
        return channel.publish(step.topic, this.text())
      case "exclude":
        return pubsub.publish(step.topic, this.text(), {
          exclude: step.all.map((other) => this.channels[other]!.channel.name)
        })
      case "subscribe":
        return channel.subscribe(step.name)
      case "replay":
        return channel.subscribe(step.topic, { last: step.last })
      case "unsubscribe":
        return channel.unsubscribe(step.name)
      case "unsubscribeAll":
        return channel.unsubscribeAll
      case "send":
        this.sent++
        return Effect.catch(
          Effect.as(pubsub.send(channel.name, this.text()), "sent"),
          ({ reason }) => Effect.succeed(reason._tag)
        )
      case "receive":
        return receivedNow(channel)
      case "reopen":
        return Effect.andThen(Scope.close(scope, Exit.void), this.open(index))
      case "listen":
        return this.toggle(index, step.name)
      case "wait":
        return TestClock.adjust(`${step.seconds} seconds`)
    }
  }

  private toggle(index: number, name: string): Effect.Effect<void, PubSubError> {
    const scope = this.listening[index]
    this.listening[index] = undefined
    if (scope !== undefined) return Scope.close(scope, Exit.void)
    const opened = this.listening[index] = Scope.makeUnsafe()
    const hear = ({ data }: Message) => void this.heard.push(`${index}:${String(data)}`)
    return Scope.provide(this.pubsub.listen(name, hear), opened)
  }

  readonly seen = Effect.fnUntraced(function*(this: Real) {
    const pending = this.channels.map(({ channel }) => channel.pending)
    const { delivered, droppedExpired, droppedFull, patterns, published } = yield* this.pubsub.stats
    return {
      topics: [...yield* this.pubsub.topics].sort(),
      subscribers: yield* Effect.forEach(topics, this.pubsub.subscribers),
      patterns,
      subscriptions: this.channels.map(({ channel }) => [...channel.subscriptions]),
      pending,
      heard: [...this.heard].sort(),
      delivered,
      droppedFull,
      droppedExpired,
      published: published + this.sent
    }
  })
}

/** What a channel has at once; `undefined` where it would wait. */
const receivedNow = Effect.fnUntraced(function*(channel: Channel) {
  const fiber = yield* Effect.forkChild(channel.receive, { startImmediately: true })
  const exit = fiber.pollUnsafe()
  yield* Fiber.interrupt(fiber)
  return exit === undefined ? undefined : (yield* exit).data
})

describe("PubSubMemory", () => {
  it.effect.prop(
    "does what a naive model does, step by step [C223]",
    [Schema.Array(Step).check(Schema.isMaxLength(60))],
    ([steps]) =>
      Effect.gen(function*() {
        const real = new Real(yield* PubSubMemory.make({ capacity: size.capacity }))
        yield* Effect.forEach([0, 1, 2], (index) => real.open(index))
        const model = new Model()
        for (const [index, step] of steps.entries()) {
          const place = `step ${index} of ${JSON.stringify(steps)}`
          assert.deepStrictEqual(yield* real.run(step), model.run(step), place)
          assert.deepStrictEqual(yield* real.seen(), model.seen(), place)
        }
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 300 } }
  )

  describe("readers that are resumed by what others do", () => {
    it.effect("hand a message on through a long chain of channels", () =>
      Effect.gen(function*() {
        const pubsub = yield* PubSubMemory.make()
        const channels = yield* Effect.forEach(Array.from({ length: 5000 }), () => pubsub.open())
        for (const [index, channel] of channels.entries()) {
          const following = channels[index + 1]
          if (following === undefined) break
          yield* Effect.forkChild(
            Effect.flatMap(channel.receive, ({ data }) => pubsub.send(following.name, data)),
            { startImmediately: true }
          )
        }
        yield* pubsub.send(channels[0]!.name, "handed on")
        assert.strictEqual((yield* channels.at(-1)!.receive).data, "handed on")
      }))

    for (const way of ["publish", "send"] as const) {
      it.effect(`leave time to others when two answer each other for ever by ${way}`, () =>
        Effect.gen(function*() {
          const pubsub = yield* PubSubMemory.make()
          let turns = 0
          const [a, b] = yield* Effect.all([pubsub.open(), pubsub.open()])
          yield* Effect.all([a.subscribe("a"), b.subscribe("b")])
          const answering = yield* Effect.forEach([[a, b, "b"], [b, a, "a"]] as const, ([from, to, topic]) =>
            Effect.forkChild(
              Effect.forever(
                Effect.flatMap(from.receive, ({ data }) => {
                  turns++
                  return way === "publish" ? pubsub.publish(topic, data) : pubsub.send(to.name, data)
                }),
                { disableYield: true }
              ),
              { startImmediately: true }
            ))
          yield* pubsub.publish("a", "ball")
          yield* Effect.promise(() =>
            new Promise<void>((resolve) =>
              setImmediate(resolve)
            )
          )
          yield* Fiber.interruptAll(answering)
          assert.isAbove(turns, 100)
        }))
    }
  })

  it.effect("leaves time to others when a callback answers itself for ever", () =>
    Effect.gen(function*() {
      const pubsub = yield* PubSubMemory.make()
      let calls = 0
      let isOver = false
      yield* pubsub.listen("a", () => {
        // A bound, so that a failure of this test ends.
        if (++calls < 1_000_000 && !isOver) Effect.runFork(pubsub.publish("a", "again"))
      })
      const others = yield* pubsub.open()
      yield* others.subscribe("b")
      yield* pubsub.publish("a", "ball")
      yield* pubsub.publish("b", "between")
      assert.strictEqual((yield* others.receive).data, "between")
      isOver = true
      yield* pubsub.flush
      assert.isBelow(calls, 100_000)
      const { delivered, published } = yield* pubsub.stats
      assert.deepStrictEqual([delivered, published], [calls + 1, calls + 1])
    }))

  describe("histories", () => {
    it.effect("are kept for a day after their last message, or as long as historyTtl says [C223]", () =>
      Effect.gen(function*() {
        const usual = yield* PubSubMemory.make()
        const short = yield* PubSubMemory.make({ historyTtl: "1 second" })
        const endless = yield* PubSubMemory.make({ historyTtl: Infinity })
        const all = [usual, short, endless]
        const counts = Effect.forEach(all, (pubsub) => Effect.map(pubsub.history("a"), ({ length }) => length))
        const publish = Effect.forEach(all, (pubsub) => pubsub.publish("a", "x", { keep: 5 }))
        yield* publish
        yield* TestClock.adjust("999 millis")
        yield* publish
        assert.deepStrictEqual(yield* counts, [2, 2, 2])
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* counts, [2, 0, 2])
        yield* TestClock.adjust("1 day")
        assert.deepStrictEqual(yield* counts, [0, 0, 2])
        yield* publish
        assert.deepStrictEqual(yield* counts, [1, 1, 3])
      }))

    it.effect("of more than maxHistories topics forget the topic that was quiet for longest", () =>
      Effect.gen(function*() {
        const pubsub = yield* PubSubMemory.make({ maxHistories: 2 })
        for (const topic of ["a", "b", "a", "c"]) yield* pubsub.publish(topic, "x", { keep: 5 })
        const counts = yield* Effect.forEach(["a", "b", "c"], (topic) => pubsub.history(topic))
        assert.deepStrictEqual(counts.map(({ length }) => length), [2, 0, 1])
      }))

    it.effect("have ids that another run of the program does not give out again", () =>
      Effect.gen(function*() {
        const before = yield* PubSubMemory.make()
        yield* before.publish("a", "before", { keep: 1 })
        const [old] = yield* before.history("a")
        yield* TestClock.adjust("1 hour")
        const now = yield* PubSubMemory.make()
        yield* now.publish("a", "now", { keep: 1 })
        assert.deepStrictEqual((yield* now.history("a", { after: old!.id })).map(({ data }) => data), ["now"])
      }))
  })

  it.effect("gives channels names that another run of the program does not give out again", () =>
    Effect.gen(function*() {
      const before = yield* Effect.flatMap(PubSubMemory.make(), (pubsub) => pubsub.open())
      yield* TestClock.adjust("1 second")
      const now = yield* PubSubMemory.make()
      const channel = yield* now.open()
      assert.notStrictEqual(channel.name, before.name)
      const error = yield* Effect.flip(now.send(before.name, "for another"))
      assert.strictEqual(error.reason._tag, "UnknownChannel")
    }))

  describe("delays", () => {
    it.effect("are counted while they last, and end with the layer", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const pubsub = yield* Scope.provide(PubSubMemory.make(), scope)
        yield* Effect.forEach([10, 20], (delay) => pubsub.publish("a", "x", { delay }))
        assert.strictEqual((yield* pubsub.stats).delayed, 2)
        yield* TestClock.adjust(10)
        assert.deepStrictEqual(yield* Effect.map(pubsub.stats, ({ delayed, published }) => [delayed, published]), [
          1,
          1
        ])
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(yield* Effect.map(pubsub.stats, ({ delayed, published }) => [delayed, published]), [
          0,
          1
        ])
      }))

    it.effect("of a hundred days are no shorter", () =>
      Effect.gen(function*() {
        const pubsub = yield* PubSubMemory.make()
        const channel = yield* pubsub.open()
        yield* pubsub.send(channel.name, "at last", { delay: "100 days" })
        yield* TestClock.adjust("99 days")
        assert.strictEqual(channel.pending, 0)
        yield* TestClock.adjust("1 day")
        assert.strictEqual((yield* channel.receive).data, "at last")
      }))
  })

  describe("errors", () => {
    it.effect("show what they were given on one short line", () =>
      Effect.gen(function*() {
        const pubsub = yield* PubSubMemory.make()
        const channel = yield* pubsub.open()
        const nasty = `\r\n\u001b[2J\u0085\u2028${"x".repeat(10_000)}`
        for (
          const refused of [
            pubsub.publish(nasty, "x"),
            channel.subscribe(`*${nasty}`),
            channel.subscribe("*", { after: nasty }),
            pubsub.send(nasty, "x"),
            channel.track("room", nasty)
          ]
        ) {
          const { message } = yield* Effect.flip(refused)
          assert.match(message, /^[\x20-\x7e…]{20,300}$/)
          assert.include(message, "\\u001b[2J\\u0085\\u2028")
        }
      }))
  })

  describe("options", () => {
    for (const options of [{ historyTtl: 0 }, { historyTtl: -1 }, { maxHistories: 0 }, { maxHistories: NaN }]) {
      it.effect(`are refused like ${Object.entries(options).flat().join(" ")}`, () =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(PubSubMemory.make(options))
          assert.include(error.message, `${Object.keys(options)[0]} cannot be`)
        }))
    }

    it.effect("come from the configuration with layerConfig", () =>
      Effect.gen(function*() {
        const layer = PubSubMemory.layerConfig({ capacity: Config.Int("CAPACITY") })
        const provider = ConfigProvider.layer(ConfigProvider.fromUnknown({ CAPACITY: "2" }))
        const pubsub = Context.get(yield* Layer.build(Layer.provide(layer, provider)), PubSub)
        const channel = yield* pubsub.open()
        yield* Effect.forEach(["1", "2"], (data) => pubsub.send(channel.name, data))
        const { reason } = yield* Effect.flip(pubsub.send(channel.name, "3"))
        assert.deepStrictEqual(reason, { _tag: "ChannelFull", channel: channel.name, capacity: 2 })
      }))
  })
})
