import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Events from "../../src/app/Events.ts"
import { PubSub, PubSubError } from "../../src/service/PubSub.ts"
import { AppEvents, note, slow, start, topic, turns, User } from "../utils/events.ts"

const fails = (message: string): never => {
  throw new Error(message)
}

describe("Events", () => {
  describe("emit and on", () => {
    it.effect("brings payloads to every listener of the event and to no other [W75]", () =>
      Effect.gen(function*() {
        const { events } = yield* start
        const first: Array<number> = []
        const second: Array<number> = []
        const others: Array<unknown> = []
        yield* events.on("number", note(first))
        yield* events.on("number", note(second))
        yield* events.on("user.created", note(others))
        for (const n of [1, 2, 3]) yield* events.emit("number", n)
        yield* events.settled
        assert.deepStrictEqual([first, second, others], [[1, 2, 3], [1, 2, 3], []])
      }))

    it.effect("carries what the Schema of the event says, and refuses anything else [C231] [W76]", () =>
      Effect.gen(function*() {
        const { events, pubsub } = yield* start
        const users: Array<typeof User.Type> = []
        const texts: Array<unknown> = []
        yield* events.on("user.created", note(users))
        yield* pubsub.listen("events.test:App:Events.user.created", ({ data }) => texts.push(data))
        const ada = { name: "Ada", born: new Date("1815-12-10") }
        yield* events.emit("user.created", ada)
        const wrong = { name: 7, born: ada.born } as never
        const error = yield* Effect.flip(events.emit("user.created", wrong))
        yield* events.settled
        assert.strictEqual(error.reason._tag, "PayloadInvalid")
        assert.strictEqual(
          error.message,
          "Event 'user.created': the payload does not fit its Schema at name"
        )
        assert.deepStrictEqual(users, [ada])
        assert.deepStrictEqual(texts, [`{"name":"Ada","born":"1815-12-10T00:00:00.000Z"}`])
      }))

    it.effect("needs no payload for an event without one", () =>
      Effect.gen(function*() {
        const { events } = yield* start
        const heard: Array<unknown> = []
        yield* events.on("ping", note(heard))
        yield* events.emit("ping")
        yield* events.settled
        assert.deepStrictEqual(heard, [undefined])
      }))

    it.effect("fails with what PubSub says", () =>
      Effect.gen(function*() {
        const { context } = yield* start
        const cause = new PubSubError({ reason: { _tag: "Unavailable", problem: "gone" } })
        const broken = {
          ...Context.get(context, PubSub),
          publish: () => Effect.fail(cause),
          listen: () => Effect.fail(cause)
        }
        const events = Context.get(
          yield* Layer.build(Layer.provide(Layer.fresh(AppEvents.layer), Layer.succeed(PubSub, PubSub.of(broken)))),
          AppEvents
        )
        const errors = [
          yield* Effect.flip(events.emit("number", 1)),
          yield* Effect.flip(events.on("number", () => Effect.void))
        ]
        for (const { event, message, reason } of errors) {
          assert.deepStrictEqual([event, reason], ["number", { _tag: "PubSubFailed", cause }])
          assert.strictEqual(message, "Event 'number': The message broker is not available: gone")
        }
      }))

    it.effect("forgets a registration that failed", () =>
      Effect.gen(function*() {
        const { context } = yield* start
        const pubsub = Context.get(context, PubSub)
        const gone = new PubSubError({ reason: { _tag: "Unavailable", problem: "gone" } })
        let tries = 0
        const flaky = PubSub.of({
          ...pubsub,
          listen: (...words) => Effect.suspend(() => tries++ === 0 ? Effect.fail(gone) : pubsub.listen(...words))
        })
        const events = Context.get(
          yield* Layer.build(Layer.provide(Layer.fresh(AppEvents.layer), Layer.succeed(PubSub, flaky))),
          AppEvents
        )
        const heard: Array<string> = []
        yield* Effect.flip(events.on("number", () => Effect.sync(() => void heard.push("first"))))
        yield* events.on("number", () => Effect.sync(() => void heard.push("second")))
        yield* events.emit("number", 1)
        yield* events.settled
        assert.deepStrictEqual(heard, ["second"])
      }))

    it.effect("dies with what a Schema throws, and skips a payload whose Schema throws", () =>
      Effect.gen(function*() {
        const Sharp = Schema.String.pipe(Schema.decodeTo(
          Schema.String,
          SchemaTransformation.transform({
            decode: (text) => text === "d" ? fails("decode") : text,
            encode: (text) => text === "e" ? fails("encode") : text
          })
        ))
        class SharpEvents extends Events.Service<SharpEvents>()("test/Sharp", { cut: Sharp }) {}
        const { context, lines } = yield* start
        const events = Context.get(
          yield* Layer.build(Layer.provide(SharpEvents.layer, Layer.succeedContext(context))).pipe(
            Effect.provideContext(context)
          ),
          SharpEvents
        )
        const heard: Array<string> = []
        yield* events.on("cut", note(heard))
        assert.match(String(yield* Effect.exit(events.emit("cut", "e"))), /Die\(Error: encode\)/)
        yield* events.emit("cut", "d")
        yield* events.emit("cut", "f")
        yield* events.settled
        assert.deepStrictEqual(heard, ["f"])
        assert.deepStrictEqual(
          lines.map(({ message }) => message),
          ["An event cut was skipped: its Schema died: Error: decode"]
        )
      }))

    it.effect("settle only when what was emitted has come back", () =>
      Effect.gen(function*() {
        const { context } = yield* start
        const pubsub = Context.get(context, PubSub)
        const underWay: Array<Effect.Effect<void, PubSubError>> = []
        const far = PubSub.of({
          ...pubsub,
          publish: (...words) => Effect.sync(() => void underWay.push(pubsub.publish(...words))),
          flush: Effect.suspend(() => Effect.all(underWay.splice(0), { discard: true }))
        })
        const events = Context.get(
          yield* Layer.build(Layer.provide(Layer.fresh(AppEvents.layer), Layer.succeed(PubSub, far))),
          AppEvents
        )
        const heard: Array<number> = []
        yield* events.on("number", (n) =>
          Effect.andThen(note(heard)(n), n < 3 ? events.emit("number", n + 1) : Effect.void))
        yield* events.emit("number", 1)
        assert.deepStrictEqual(heard, [])
        yield* events.settled
        assert.deepStrictEqual(heard, [1, 2, 3])
      }))

    it.effect("subscribes once for all listeners of an event, while it has some", () =>
      Effect.gen(function*() {
        const { events, pubsub } = yield* start
        const scope = yield* Scope.make()
        const on = events.on("number", () => Effect.void).pipe(Scope.provide(scope))
        assert.strictEqual(yield* pubsub.subscribers(topic), 0)
        yield* on
        yield* on
        assert.strictEqual(yield* pubsub.subscribers(topic), 1)
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(yield* pubsub.subscribers(topic), 0)
      }))

    it.effect("ends a listener with its scope", () =>
      Effect.gen(function*() {
        const { events } = yield* start
        const heard: Array<number> = []
        const scope = yield* Scope.make()
        yield* Scope.provide(events.on("number", note(heard)), scope)
        yield* events.emit("number", 1)
        yield* events.settled
        yield* Scope.close(scope, Exit.void)
        yield* events.emit("number", 2)
        yield* events.settled
        assert.deepStrictEqual(heard, [1])
      }))

    it.effect("waits for no listener and starts none before the emitter goes on", () =>
      Effect.gen(function*() {
        const { events } = yield* start
        const first = slow()
        const heard: Array<number> = []
        yield* events.on("number", first.handler)
        yield* events.on("number", note(heard))
        yield* events.emit("number", 1)
        assert.deepStrictEqual([first.heard, heard], [[], []])
        yield* turns
        assert.deepStrictEqual([first.heard, heard], [["start 1"], [1]])
        yield* first.open
      }))

    it.effect("takes events that listeners emit, in order", () =>
      Effect.gen(function*() {
        const { events } = yield* start
        const heard: Array<string> = []
        yield* events.on("number", (n) =>
          Effect.gen(function*() {
            heard.push(`a${n}`)
            if (n < 3) yield* events.emit("number", n + 1)
          }))
        yield* events.on("number", (n) => Effect.sync(() => void heard.push(`b${n}`)))
        yield* events.emit("number", 1)
        yield* events.settled
        assert.deepStrictEqual(heard, ["a1", "b1", "a2", "b2", "a3", "b3"])
      }))

    it.effect("lets a listener that answers itself forever starve nobody", () =>
      Effect.gen(function*() {
        const { events } = yield* start
        const scope = yield* Scope.make()
        let runs = 0
        yield* Scope.provide(
          events.on("number", (n) =>
            Effect.andThen(Effect.sync(() => void runs++), Effect.orDie(events.emit("number", n)))),
          scope
        )
        yield* events.emit("number", 1)
        while (runs < 100) {
          yield* Effect.yieldNow
        }
        yield* Scope.close(scope, Exit.void)
        const atEnd = runs
        yield* turns
        assert.strictEqual(runs, atEnd)
      }))
  })

  describe("priority", () => {
    it.effect("starts higher listeners first, equal ones in the order of registration [C231] [W78]", () =>
      Effect.gen(function*() {
        const { events } = yield* start
        const heard: Array<string> = []
        for (const [name, priority] of [["c", 0], ["e", -1], ["a", 10], ["d", undefined], ["b", 5]] as const) {
          yield* events.on("number", () => Effect.sync(() => void heard.push(name)), { priority })
        }
        yield* events.emit("number", 1)
        yield* events.settled
        assert.deepStrictEqual(heard, ["a", "b", "c", "d", "e"])
      }))

    it.effect("makes no listener wait for one before it [W77]", () =>
      Effect.gen(function*() {
        const { events } = yield* start
        const first = slow()
        const heard: Array<number> = []
        yield* events.on("number", first.handler, { priority: 1 })
        yield* events.on("number", note(heard))
        yield* events.emit("number", 1)
        yield* turns
        assert.deepStrictEqual([first.heard, heard], [["start 1"], [1]])
        yield* first.open
      }))
  })

  describe("once", () => {
    it.effect("hears one event of several that are emitted at once, and leaves [C231] [W79]", () =>
      Effect.gen(function*() {
        const { events, pubsub } = yield* start
        const once: Array<number> = []
        const always: Array<number> = []
        yield* events.on("number", note(once), { once: true })
        yield* Effect.all([events.emit("number", 1), events.emit("number", 2)], { concurrency: "unbounded" })
        yield* events.settled
        assert.strictEqual(yield* pubsub.subscribers(topic), 0)
        yield* events.on("number", note(always))
        yield* events.emit("number", 3)
        yield* events.settled
        assert.deepStrictEqual([once, always], [[1], [3]])
      }))

    it.effect("is over also when the handler fails", () =>
      Effect.gen(function*() {
        const { context, events, pubsub } = yield* start
        let runs = 0
        yield* Effect.provideContext(
          events.on("number", () => Effect.andThen(Effect.sync(() => void runs++), Effect.fail("no")), { once: true }),
          context
        )
        yield* events.emit("number", 1)
        yield* events.settled
        yield* events.emit("number", 2)
        yield* events.settled
        assert.deepStrictEqual([runs, yield* pubsub.subscribers(topic)], [1, 0])
      }))
  })

  describe("what does not decode", () => {
    it.effect("is skipped and counted, said once until an event fits again, and without the value", () =>
      Effect.gen(function*() {
        const { count, events, lines, pubsub } = yield* start
        const heard: Array<number> = []
        yield* events.on("number", note(heard), { once: true })
        for (const data of [`"secret"`, "{", new Uint8Array([49]), "1.5", "7"]) {
          yield* pubsub.publish(topic, data)
        }
        yield* events.settled
        assert.deepStrictEqual(heard, [7])
        const line = "An event number was skipped: the payload does not fit its Schema"
        assert.deepStrictEqual(lines.map(({ cause, message }) => message + cause), [line])
        assert.strictEqual(count("events_dropped_total", { event: "number", reason: "undecodable" }), 4)
        yield* events.on("number", note(heard))
        for (const data of ["null", "8", "null"]) yield* pubsub.publish(topic, data)
        yield* events.settled
        assert.deepStrictEqual(heard, [7, 8])
        assert.deepStrictEqual(lines.map(({ message }) => message), [line, line, line])
      }))

    it.effect("names the place", () =>
      Effect.gen(function*() {
        const { events, lines, pubsub } = yield* start
        yield* events.on("user.created", () => Effect.void)
        yield* pubsub.publish("events.test:App:Events.user.created", `{"name":"Ada","born":"secret"}`)
        assert.deepStrictEqual(
          lines.map(({ message }) => message),
          ["An event user.created was skipped: the payload does not fit its Schema at born"]
        )
      }))
  })

  describe("stream", () => {
    it.effect("gives the payloads of an event and skips what does not decode", () =>
      Effect.gen(function*() {
        const { events, pubsub } = yield* start
        const numbers = yield* Effect.forkChild(Stream.runCollect(Stream.take(events.stream("number"), 2)), {
          startImmediately: true
        })
        yield* events.emit("number", 1)
        yield* pubsub.publish(topic, "null")
        yield* events.emit("number", 2)
        assert.deepStrictEqual([...(yield* Fiber.join(numbers))], [1, 2])
        assert.strictEqual(yield* pubsub.subscribers(topic), 0)
      }))

    it.effect("fails with what PubSub says", () =>
      Effect.gen(function*() {
        const { events } = yield* start
        const error = yield* Effect.flip(Stream.runDrain(events.stream("number", { capacity: 0 })))
        assert.strictEqual(error.reason._tag, "PubSubFailed")
        assert.match(error.message, /^Event 'number': capacity cannot be 0/)
      }))
  })

  describe("declarations", () => {
    for (
      const [why, id, event] of [
        ["a space", "app/Events", "user created"],
        ["an asterisk", "app/Events", "user.*"],
        ["no name", "app/Events", ""],
        ["an empty segment", "app/Events", "user..created"],
        ["an at sign in the id", "@app/Events", "user"],
        ["more than 100 characters", "app/Events", "x".repeat(83)]
      ] as const
    ) {
      it(`refuse ${why}`, () => {
        assert.throws(() => Events.Service()(id, { [event]: Schema.Int }), RangeError, JSON.stringify(event))
      })
    }

    it("take a name that just fits", () => {
      assert.doesNotThrow(() => Events.Service()("app/Events", { ["x".repeat(82)]: Schema.Int }))
    })

    it("give their Schemas back", () => {
      assert.strictEqual(AppEvents.schemas["user.created"], User)
    })

    for (
      const options of [
        { concurrency: 0 },
        { concurrency: 1.5 },
        { capacity: -1 },
        { capacity: Infinity },
        { priority: NaN }
      ]
    ) {
      it(`refuse a listener with ${Object.entries(options).join()}`, () => {
        const [option] = Object.keys(options)
        assert.throws(() => AppEvents.on("number", () => Effect.void, options), RangeError, option)
      })
    }

    it.effect("know no other event", () =>
      Effect.gen(function*() {
        const { events } = yield* start
        const exit = yield* Effect.exit(events.emit("toString" as never, 1 as never))
        assert.match(String(exit), /There is no event "toString"/)
      }))
  })
})
