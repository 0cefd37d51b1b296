/** What lasts how long: delays, scopes, interrupted subscriptions, the layer itself, and the numbers about all of it. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { MixedScheduler, Scheduler } from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { type Channel, type Payload, PubSub, type PubSubError } from "../../../src/service/PubSub.ts"
import { capture } from "../../utils/logs.ts"
import { joined, next, numbers, reasonOf, received, type Service, start, type Subject, until } from "./subject.ts"

const held = (pubsub: Service) =>
  Effect.map(pubsub.stats, ({ channels, delayed, patterns, topics }) => ({ channels, delayed, patterns, topics }))

const nothing = { channels: 0, delayed: 0, patterns: 0, topics: 0 }

const opened = (scope: Scope.Scope, pubsub: Service) => Scope.provide(pubsub.open(), scope)

/** Makes a fiber yield once, after so many steps. */
class PausingScheduler extends MixedScheduler {
  private left: number
  constructor(steps: number) {
    super()
    this.left = steps
  }
  override shouldYield(): boolean {
    return --this.left === 0
  }
}

/** Runs the effect for so many steps and interrupts it there. */
const interruptedAfter = Effect.fnUntraced(function*<A, E, R>(steps: number, effect: Effect.Effect<A, E, R>) {
  const fiber = yield* Effect.forkChild(Effect.provideService(effect, Scheduler, new PausingScheduler(steps)), {
    startImmediately: true
  })
  yield* Fiber.interrupt(fiber)
})

export const lifetimes = (subject: Subject): void => {
  describe("delays", () => {
    it.effect("hold a message back until they are over [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        yield* pubsub.publish("a", "topic", { delay: "10 seconds" })
        yield* pubsub.send(channel.name, "direct", { delay: "20 seconds" })
        yield* TestClock.adjust("9999 millis")
        yield* pubsub.publish("a", "now")
        assert.deepStrictEqual(yield* received(pubsub, channel), ["now"])
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(yield* next(channel, 1), ["topic"])
        yield* TestClock.adjust("9999 millis")
        yield* pubsub.publish("a", "now")
        assert.deepStrictEqual(yield* received(pubsub, channel), ["now"])
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(yield* next(channel, 1), ["direct"])
        yield* until(Effect.map(pubsub.stats, ({ delayed }) => delayed === 0))
      }))

    it.effect("come to their end in order of time, and of publication at the same time", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        for (const [n, delay] of [["4", 30], ["1", 10], ["5", 30], ["2", 20], ["3", 20]] as const) {
          yield* pubsub.publish("a", n, { delay })
        }
        yield* TestClock.adjust(10)
        assert.deepStrictEqual(yield* next(channel, 1), ["1"])
        yield* TestClock.adjust(10)
        assert.deepStrictEqual(yield* next(channel, 2), ["2", "3"])
        yield* TestClock.adjust(10)
        assert.deepStrictEqual(yield* next(channel, 2), ["4", "5"])
      }))

    it.effect("keep what else was asked for: history, exclusion, bytes", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const [a, b] = yield* Effect.all([pubsub.open(), pubsub.open()])
        yield* Effect.forEach([a, b], (channel) => channel.subscribe("a"))
        const exclude = [b.name]
        yield* a.publish("a", Uint8Array.of(1, 2), { delay: "1 second", keep: 2, exclude })
        exclude.pop()
        yield* pubsub.publish("a", "text", { delay: "2 seconds", keep: 2, exclude: a.name })
        assert.deepStrictEqual(yield* pubsub.history("a"), [])
        yield* TestClock.adjust("1 second")
        yield* until(Effect.map(pubsub.history("a"), (kept) => kept.length === 1))
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* next(b, 1), ["text"])
        yield* pubsub.publish("a", "end")
        assert.deepStrictEqual(yield* received(pubsub, a), ["end"])
        assert.deepStrictEqual(yield* received(pubsub, b), ["end"])
        const kept = yield* pubsub.history("a")
        assert.deepStrictEqual(kept.map(({ data }) => data instanceof Uint8Array ? [...data] : data), [[1, 2], "text"])
      }))

    it.effect("are refused above maxDelayed, until one is over", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject, { maxDelayed: 2 })
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        yield* pubsub.publish("a", "1", { delay: "10 seconds" })
        yield* pubsub.send(channel.name, "2", { delay: "20 seconds" })
        for (const refused of [pubsub.publish("a", "3", { delay: 1 }), pubsub.send(channel.name, "3", { delay: 1 })]) {
          assert.deepStrictEqual(yield* reasonOf(refused), { _tag: "TooManyDelayed", limit: 2 })
        }
        yield* pubsub.publish("a", "now")
        assert.deepStrictEqual(yield* received(pubsub, channel), ["now"])
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* next(channel, 1), ["1"])
        yield* pubsub.publish("a", "3", { delay: "1 second" })
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* next(channel, 1), ["3"])
      }))

    it.effect("hurt nobody when the channel has closed or is full by then", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const scope = yield* Scope.make()
        const gone = yield* opened(scope, pubsub)
        const full = yield* pubsub.open({ capacity: 1 })
        yield* pubsub.send(gone.name, "late", { delay: "1 second" })
        yield* pubsub.send(full.name, "late", { delay: "1 second" })
        yield* pubsub.send(full.name, "first")
        yield* Scope.close(scope, Exit.void)
        yield* TestClock.adjust("1 second")
        yield* until(Effect.map(pubsub.stats, ({ delayed, droppedFull }) => delayed === 0 && droppedFull === 1))
        assert.deepStrictEqual(yield* received(pubsub, full), ["first"])
      }))
  })

  describe("scopes", () => {
    it.effect("take everything of a channel along when they close [C222]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const scope = yield* Scope.make()
        const channel = yield* opened(scope, pubsub)
        yield* Effect.forEach(["a", "b", "a.*", "**"], (name) => channel.subscribe(name))
        yield* channel.track("room", "ann")
        yield* Scope.provide(pubsub.listen("a", () => {}), scope)
        yield* Scope.provide(pubsub.listen("c.*", () => {}), scope)
        yield* pubsub.publish("a", "waits")
        yield* pubsub.flush
        assert.deepStrictEqual(yield* held(pubsub), { channels: 1, delayed: 0, patterns: 3, topics: 2 })
        const waiting = yield* Effect.forkChild(Effect.andThen(channel.receive, channel.receive))
        yield* Effect.yieldNow
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(yield* held(pubsub), nothing)
        assert.deepStrictEqual(yield* pubsub.topics, [])
        assert.strictEqual(yield* pubsub.presence.count("room"), 0)
        assert.deepStrictEqual([channel.pending, channel.subscriptions], [0, []])
        yield* pubsub.publish("a", "late")
        yield* pubsub.flush
        assert.strictEqual(waiting.pollUnsafe(), undefined)
        assert.strictEqual((yield* pubsub.stats).droppedFull, 0)
      }))

    it.effect("end the Stream of their channel, and a Stream that stops leaves nothing [C222]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const scope = yield* Scope.make()
        const channel = yield* opened(scope, pubsub)
        const ofChannel = yield* Effect.forkChild(Stream.runDrain(channel.messages), { startImmediately: true })
        const streams = yield* Effect.forEach(
          ["a", "b.*", "a"],
          (name) => Effect.forkChild(Stream.runDrain(pubsub.subscribe(name)), { startImmediately: true })
        )
        yield* until(
          Effect.map(held(pubsub), ({ patterns, topics }) => topics === 1 && patterns === 1)
        )
        yield* Scope.close(scope, Exit.void)
        yield* Fiber.join(ofChannel)
        yield* Fiber.interruptAll(streams)
        assert.deepStrictEqual(yield* held(pubsub), nothing)
      }))

    it.effect("that closed leave a channel that nobody can join or track with any more", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const scope = yield* Scope.make()
        const channel = yield* opened(scope, pubsub)
        yield* Scope.close(scope, Exit.void)
        const unknown = { _tag: "UnknownChannel", channel: channel.name } as const
        for (const refused of [channel.subscribe("a"), channel.subscribe("*"), channel.track("room", "ann")]) {
          assert.deepStrictEqual(yield* reasonOf(refused), unknown)
        }
        yield* Effect.forEach([channel.unsubscribe("a"), channel.unsubscribeAll, channel.untrack("room", "ann")], (e) =>
          e)
        assert.deepStrictEqual(yield* held(pubsub), nothing)
        assert.strictEqual(yield* pubsub.presence.count("room"), 0)
        assert.deepStrictEqual(yield* Stream.runCollect(channel.messages), [])
      }))
  })

  describe("interruption", () => {
    type Subscribe = (
      pubsub: Service,
      channel: Channel,
      got: Array<Payload>
    ) => Effect.Effect<void, PubSubError, Scope.Scope>
    const ways: Readonly<Record<string, Subscribe>> = {
      "a channel": (_, channel) => channel.subscribe("a"),
      "a channel with a replay": (_, channel) => channel.subscribe("a", { last: 5 }),
      "a callback": (pubsub, _, got) => pubsub.listen("a", ({ data }) => void got.push(data))
    }
    for (const [way, subscribe] of Object.entries(ways)) {
      it.effect(`while ${way} subscribes leaves it subscribed or not, and nothing between`, () =>
        Effect.gen(function*() {
          const pubsub = yield* start(subject)
          yield* Effect.forEach(numbers(1, 3), (n) => pubsub.publish("a", n, { keep: 3 }))
          const counts = new Set<number>()
          for (let steps = 1; steps <= 60; steps++) {
            yield* Effect.scoped(Effect.gen(function*() {
              const channel = yield* pubsub.open()
              const got: Array<Payload> = []
              yield* interruptedAfter(steps, subscribe(pubsub, channel, got))
              const count = yield* pubsub.subscribers("a")
              yield* pubsub.publish("a", "live")
              got.push(...yield* received(pubsub, channel))
              assert.strictEqual(count, got.at(-1) === "live" ? 1 : 0, `after ${steps} steps: ${got.join()}`)
              counts.add(count)
            }))
            assert.deepStrictEqual(yield* held(pubsub), nothing)
          }
          assert.isTrue(counts.has(0))
        }))
    }

    it.effect("of a Stream that subscribes leaves nothing behind", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        for (let steps = 1; steps <= 80; steps++) {
          yield* interruptedAfter(steps, Stream.runDrain(pubsub.subscribe("a", { last: 1 })))
          assert.deepStrictEqual(yield* held(pubsub), nothing, `after ${steps} steps`)
        }
      }))
  })

  describe("the layer", () => {
    it.effect("ends its Streams when it closes, leaves readers waiting, and refuses what comes then", () =>
      Effect.gen(function*() {
        const layer = Layer.fresh(yield* subject.broker({}))
        const scope = yield* Scope.make()
        const pubsub = Context.get(yield* Layer.buildWithScope(layer, scope), PubSub)
        const channel = yield* pubsub.open()
        const got: Array<unknown> = []
        yield* channel.subscribe("a")
        yield* pubsub.listen("b", ({ data }) => got.push(data))
        const streams = yield* Effect.forEach(
          [pubsub.subscribe("a"), pubsub.subscribe("*"), (yield* pubsub.open()).messages],
          (stream) => Effect.forkChild(Stream.runCollect(stream), { startImmediately: true })
        )
        const reader = yield* Effect.forkChild(channel.receive, { startImmediately: true })
        yield* pubsub.publish("b", "delayed", { delay: "1 second" })
        yield* joined(pubsub, "a", 2)
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual((yield* Effect.forEach(streams, Fiber.join)).flat(), [])
        assert.deepStrictEqual(yield* held(pubsub), nothing)
        yield* TestClock.adjust("1 second")
        for (
          const refused of [
            pubsub.publish("b", "x"),
            pubsub.publish("b", "x", { keep: 1 }),
            pubsub.send(channel.name, "x"),
            Stream.runDrain(pubsub.subscribe("a")),
            Effect.scoped(pubsub.listen("*", () => {})),
            Effect.scoped(pubsub.open()),
            channel.subscribe("a"),
            channel.track("room", "ann"),
            Effect.scoped(pubsub.presence.track("room", "ann")),
            pubsub.presence.count("room"),
            pubsub.history("a")
          ]
        ) {
          assert.strictEqual((yield* reasonOf(Effect.asVoid(refused)))._tag, "Unavailable")
        }
        assert.strictEqual(reader.pollUnsafe(), undefined)
        assert.deepStrictEqual(got, [])
      }))

    it.effect("logs a callback that throws, and goes on with the others [C223]", () =>
      Effect.gen(function*() {
        const { layer, lines } = capture()
        const pubsub = yield* Effect.provide(start(subject), layer)
        const got: Array<unknown> = []
        yield* pubsub.listen("a", ({ data }) => void got.push(data))
        yield* pubsub.listen("a", () => {
          throw new Error("this one is broken")
        })
        yield* pubsub.listen("a", ({ data }) => void got.push(data))
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        yield* Effect.forEach(["1", "2"], (n) => pubsub.publish("a", n))
        assert.deepStrictEqual(yield* received(pubsub, channel), ["1", "2"])
        assert.deepStrictEqual(got, ["1", "1", "2", "2"])
        yield* until(Effect.sync(() => lines.length >= 2))
        assert.deepStrictEqual(lines.map(({ level, message }) => `${level} ${message}`), [
          "Error A subscriber of a failed",
          "Error A subscriber of a failed"
        ])
        assert.isTrue(lines.every(({ cause }) => cause.includes("this one is broken")))
      }))

    it.effect("flushes what its callers published, one by one or all at once [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject, { capacity: 1000 })
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        yield* pubsub.flush
        for (const n of numbers(1, 20)) {
          yield* pubsub.publish("a", n)
          yield* pubsub.flush
          assert.strictEqual(channel.pending, Number(n))
        }
        yield* Effect.forEach(numbers(1, 200), (n) => pubsub.publish("a", n), { concurrency: "unbounded" })
        yield* pubsub.flush
        assert.strictEqual(channel.pending, 220)
      }))

    it.effect("flushes also inside of a reader that a message has just resumed", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const [reader, target] = yield* Effect.all([pubsub.open(), pubsub.open()])
        yield* reader.subscribe("start")
        yield* target.subscribe("a")
        const answered = yield* Effect.forkChild(
          Effect.gen(function*() {
            yield* reader.receive
            yield* pubsub.publish("a", "1")
            yield* pubsub.flush
            return target.pending
          }),
          { startImmediately: true }
        )
        yield* pubsub.publish("start", "go")
        assert.strictEqual(yield* Fiber.join(answered), 1)
      }))

    it.effect("says that it is connected, and since when", () =>
      Effect.gen(function*() {
        yield* TestClock.adjust("1 minute")
        const pubsub = yield* start(subject)
        yield* TestClock.adjust("1 minute")
        // The clock is faster than a broker, whose answer to a question within that minute may still be under way.
        yield* until(Effect.map(pubsub.status, ({ isConnected }) => isConnected))
        assert.deepStrictEqual(yield* pubsub.status, { isConnected: true, problem: undefined, sinceMillis: 60_000 })
      }))

    it.effect("shows its numbers as metrics", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject, { capacity: 2, expiry: "1 second" })
        const channel = yield* pubsub.open()
        yield* Effect.forEach(["a", "b", "*"], (name) => channel.subscribe(name))
        yield* pubsub.listen("a", () => {})
        yield* Effect.forEach(numbers(1, 3), (n) => pubsub.publish("a", n))
        yield* pubsub.flush
        yield* TestClock.adjust("1 second")
        yield* pubsub.publish("b", "4")
        yield* pubsub.flush
        const series = (yield* Metric.snapshot).filter(({ id }) => id.startsWith("pubsub_")).map((metric) => {
          const { backend, ...more } = (metric.attributes ?? {}) as Record<string, string>
          assert.match(backend ?? "", /^[a-z]+$/)
          const state = metric.state as { readonly count?: number; readonly value?: number }
          return [[metric.id, ...Object.values(more)].join(" "), Number(state.count ?? state.value)] as const
        })
        assert.deepStrictEqual(Object.fromEntries(series), {
          "pubsub_published_total": 4,
          "pubsub_delivered_total": 6,
          "pubsub_dropped_total full": 1,
          "pubsub_dropped_total expired": 2,
          "pubsub_subscribed_names topic": 2,
          "pubsub_subscribed_names pattern": 1,
          "pubsub_open_channels": 1,
          "pubsub_delayed_messages": 0,
          "pubsub_connected": 1
        })
        assert.deepStrictEqual(yield* pubsub.stats, {
          topics: 2,
          patterns: 1,
          channels: 1,
          published: 4,
          delivered: 6,
          droppedFull: 1,
          droppedExpired: 2,
          delayed: 0
        })
      }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
  })
}
