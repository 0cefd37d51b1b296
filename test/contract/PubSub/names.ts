/** Names, patterns, sizes and options: what is taken, and how the rest is refused. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { PublishOptions } from "../../../src/service/PubSub.ts"
import { reasonOf, received, start, type Subject } from "./subject.ts"

const badTopics = [
  "",
  ".",
  "a.",
  ".a",
  "a..b",
  "a b",
  "a*",
  "*",
  "**",
  "a.*",
  "a/b",
  "a\r\nb",
  "a\n",
  "ä",
  "a\u0000",
  "a?",
  "[a]",
  "{a}",
  ">",
  "$a",
  "a".repeat(101)
]

const badPatterns = ["a*", "*a", "***", "a.***", "a.*b", "*.", ".*", "*..*", "* ", "**\n", "[*]", `${"a.".repeat(50)}*`]

export const names = (subject: Subject): void => {
  describe("names", () => {
    it.effect("are taken up to 100 characters, with every character that is allowed [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        const longest = "a".repeat(100)
        const all = "AZaz09:_-.x"
        yield* Effect.forEach([longest, all, `${"a.".repeat(49)}**`], (name) => channel.subscribe(name))
        yield* pubsub.publish(longest, "longest")
        yield* pubsub.publish(all, "all")
        yield* pubsub.publish(`${"a.".repeat(49)}bc`, "by pattern")
        assert.deepStrictEqual(yield* received(pubsub, channel), ["longest", "all", "by pattern"])
      }))

    it.effect("of topics are refused otherwise, wherever one is taken [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        for (const name of badTopics) {
          for (
            const refused of [
              pubsub.publish(name, "x"),
              pubsub.publish(name, "x", { keep: 1, delay: "1 second" }),
              channel.publish(name, "x"),
              pubsub.history(name),
              pubsub.presence.track(name, "key"),
              channel.track(name, "key"),
              pubsub.presence.list(name),
              pubsub.presence.count(name),
              pubsub.presence.scan(name)
            ]
          ) {
            const reason = yield* reasonOf(Effect.asVoid(refused))
            assert.strictEqual(reason._tag, "InvalidTopic", JSON.stringify(name))
            assert.strictEqual(reason._tag === "InvalidTopic" && reason.name, name)
          }
        }
      }))

    it.effect("of topics and patterns are refused where both are taken", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        const tags = (name: string) =>
          Effect.forEach(
            [channel.subscribe(name), pubsub.listen(name, () => {}), Stream.runDrain(pubsub.subscribe(name))],
            (refused) => Effect.map(reasonOf(refused), ({ _tag }) => _tag)
          )
        for (const name of badTopics.filter((name) => !name.includes("*"))) {
          assert.deepStrictEqual(yield* tags(name), Array.from({ length: 3 }, () => "InvalidTopic"), name)
        }
        for (const pattern of badPatterns) {
          assert.deepStrictEqual(yield* tags(pattern), Array.from({ length: 3 }, () => "InvalidPattern"), pattern)
        }
        assert.deepStrictEqual(channel.subscriptions, [])
        assert.deepStrictEqual(yield* pubsub.topics, [])
      }))

    it.effect("of patterns are no topics, also while somebody is subscribed to them", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        yield* Effect.forEach(["chat.*", "**"], (name) => channel.subscribe(name))
        for (const name of ["chat.*", "**"]) {
          assert.strictEqual((yield* reasonOf(pubsub.publish(name, "x")))._tag, "InvalidTopic")
          assert.strictEqual((yield* reasonOf(pubsub.history(name)))._tag, "InvalidTopic")
          assert.strictEqual(yield* pubsub.subscribers(name), 0)
        }
        assert.deepStrictEqual(yield* received(pubsub, channel), [])
      }))
  })

  describe("patterns", () => {
    const table: ReadonlyArray<readonly [pattern: string, matched: ReadonlyArray<string>]> = [
      ["chat.*", ["chat.a", "chat.b"]],
      ["chat.**", ["chat.a", "chat.b", "chat.a.x", "chat.b.x.y"]],
      ["*", ["chat", "other"]],
      ["**", ["chat", "chat.a", "chat.b", "chat.a.x", "chat.b.x.y", "other", "other.a"]],
      ["*.a", ["chat.a", "other.a"]],
      ["*.*.x", ["chat.a.x"]],
      ["**.x", ["chat.a.x"]],
      ["chat.**.y", ["chat.b.x.y"]],
      ["**.a.**", ["chat.a.x"]],
      ["chat.*.x.*", ["chat.b.x.y"]]
    ]
    const published = ["chat", "chat.a", "chat.b", "chat.a.x", "chat.b.x.y", "other", "other.a"]

    for (const [pattern, matched] of table) {
      it.effect(`like ${pattern} match ${matched.length} of ${published.length} topics [C223]`, () =>
        Effect.gen(function*() {
          const pubsub = yield* start(subject)
          const channel = yield* pubsub.open()
          yield* channel.subscribe(pattern)
          yield* Effect.forEach(published, (topic) => pubsub.publish(topic, topic))
          assert.deepStrictEqual(yield* received(pubsub, channel), [...matched])
        }))
    }

    it.effect("come and go without a trace in what others get", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        const other = yield* pubsub.open()
        yield* other.subscribe("a.b")
        const got = Effect.andThen(pubsub.publish("a.b", "x"), received(pubsub, channel))
        assert.deepStrictEqual(yield* got, [])
        yield* channel.subscribe("a.*")
        assert.deepStrictEqual(yield* got, ["x"])
        yield* channel.subscribe("**")
        yield* channel.unsubscribe("a.*")
        assert.deepStrictEqual(yield* got, ["x"])
        yield* channel.unsubscribe("**")
        assert.deepStrictEqual(yield* got, [])
        assert.strictEqual((yield* received(pubsub, other)).length, 4)
      }))
  })

  describe("messages", () => {
    it.effect("are taken up to maxMessageBytes of UTF-8, and refused above [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject, { maxMessageBytes: 12 })
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        const sized = (bytes: number): Array<string | Uint8Array> => [
          "x".repeat(bytes),
          "é".repeat(bytes / 2) + "x".repeat(bytes % 2),
          "☃".repeat(bytes / 3) + "x".repeat(bytes % 3),
          "😀".repeat(bytes / 4) + "x".repeat(bytes % 4),
          new Uint8Array(bytes)
        ]
        for (const data of sized(12)) {
          yield* pubsub.publish("a", data)
          yield* pubsub.send(channel.name, data)
        }
        assert.strictEqual((yield* received(pubsub, channel)).length, 10)
        for (const data of [...sized(13), ...sized(1000)]) {
          const bytes = typeof data === "string" ? new TextEncoder().encode(data).length : data.length
          for (const refused of [pubsub.publish("a", data), pubsub.send(channel.name, data)]) {
            assert.deepStrictEqual(yield* reasonOf(refused), { _tag: "MessageTooLarge", bytes, limit: 12 })
          }
        }
        assert.deepStrictEqual(yield* received(pubsub, channel), [])
        assert.strictEqual((yield* pubsub.stats).published, 5)
      }))

    it.effect("have 1 MiB unless the layer says otherwise [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        yield* channel.subscribe("a")
        yield* pubsub.publish("a", new Uint8Array(1024 * 1024).fill(7))
        const [data] = yield* received(pubsub, channel)
        assert.isTrue(data instanceof Uint8Array && data.length === 1024 * 1024 && data.every((byte) => byte === 7))
        const reason = yield* reasonOf(pubsub.publish("a", "x".repeat(1024 * 1024 + 1)))
        assert.deepStrictEqual(reason, { _tag: "MessageTooLarge", bytes: 1024 * 1024 + 1, limit: 1024 * 1024 })
      }))
  })

  describe("options", () => {
    it.effect("of a publication are refused when they have no such value", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject, { maxKept: 10 })
        const refused: ReadonlyArray<readonly [option: string, options: PublishOptions]> = [
          ...[-1, 1.5, NaN, Infinity, 11, 2 ** 53].map((keep) => ["keep", { keep }] as const),
          ["delay", { delay: Infinity }],
          ["keep", { keep: 11, delay: Infinity }]
        ]
        for (const [option, options] of refused) {
          const reason = yield* reasonOf(pubsub.publish("a", "x", options))
          assert.strictEqual(reason._tag === "InvalidOption" && reason.option, option)
        }
        yield* pubsub.publish("a", "x", { keep: 10, delay: -1 })
        assert.strictEqual((yield* pubsub.stats).published, 1)
        assert.strictEqual((yield* pubsub.stats).delayed, 0)
      }))

    it.effect("of a subscription are refused when they have no such value", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        const numbers = [0, -1, 1.5, NaN, Infinity]
        const optionOf = (refused: Effect.Effect<unknown, { readonly reason: { readonly _tag: string } }>) =>
          Effect.map(reasonOf(refused), (reason) => "option" in reason ? reason.option : reason._tag)
        for (const value of numbers) {
          assert.strictEqual(yield* optionOf(Effect.scoped(pubsub.open({ capacity: value }))), "capacity")
          assert.strictEqual(yield* optionOf(Stream.runDrain(pubsub.subscribe("a", { capacity: value }))), "capacity")
          assert.strictEqual(yield* optionOf(channel.subscribe("a", { last: value })), "last")
          assert.strictEqual(yield* optionOf(pubsub.history("a", { last: value })), "last")
          assert.strictEqual(yield* optionOf(pubsub.presence.list("a", value)), "limit")
          assert.strictEqual(yield* optionOf(pubsub.presence.scan("a", undefined, value)), "count")
        }
        assert.strictEqual(yield* optionOf(channel.subscribe("a.*", { last: 1 })), "last")
        assert.strictEqual(yield* optionOf(channel.subscribe("a.*", { after: "1-1" })), "after")
        const { channels, topics } = yield* pubsub.stats
        assert.deepStrictEqual({ channels, topics }, { channels: 1, topics: 0 })
      }))

    it.effect("of the layer are refused when it is built, by name and value", () =>
      Effect.gen(function*() {
        const refused = [
          ...[0, -1, 1.5, NaN, Infinity].flatMap((value) => [{ capacity: value }, { maxMessageBytes: value }]),
          ...[-1, 1.5, NaN, Infinity].flatMap((value) => [{ maxDelayed: value }, { maxKept: value }]),
          { expiry: 0 },
          { expiry: -1 },
          { expiry: NaN }
        ]
        for (const options of refused) {
          const [option] = Object.keys(options)
          const error = yield* Effect.flip(start(subject, options))
          assert.include(String((error as Error).message), `${option} cannot be`)
        }
      }))
  })
}
