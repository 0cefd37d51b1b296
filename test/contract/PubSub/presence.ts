/** Presence: who is there by scope and by channel, listed, counted and in pages. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { numbers, reasonOf, type Service, start, type Subject } from "./subject.ts"

const listed = (pubsub: Service, topic = "room") =>
  Effect.map(
    pubsub.presence.list(topic),
    (entries) => Object.fromEntries(entries.map(({ key, value }) => [key, value]))
  )

const scanned = Effect.fnUntraced(function*(pubsub: Service, count: number) {
  const keys: Array<string> = []
  let cursor: string | undefined
  let pages = 0
  do {
    const page = yield* pubsub.presence.scan("room", cursor, count)
    keys.push(...page.entries.map(({ key }) => key))
    cursor = page.cursor
    pages++
  } while (cursor !== undefined)
  return { keys, pages }
})

export const presence = (subject: Subject): void => {
  describe("presence", () => {
    it.effect("lasts as long as its scope [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const scope = yield* Scope.make()
        assert.strictEqual(yield* pubsub.presence.count("room"), 0)
        assert.deepStrictEqual(yield* pubsub.presence.list("room"), [])
        yield* Scope.provide(pubsub.presence.track("room", "ann", "{\"mood\":\"good\"}"), scope)
        yield* pubsub.presence.track("room", "bob")
        yield* pubsub.presence.track("other", "cy")
        assert.deepStrictEqual(yield* listed(pubsub), { ann: "{\"mood\":\"good\"}", bob: "" })
        assert.strictEqual(yield* pubsub.presence.count("room"), 2)
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(yield* listed(pubsub), { bob: "" })
        assert.strictEqual(yield* pubsub.presence.count("room"), 1)
        assert.strictEqual(yield* pubsub.presence.count("other"), 1)
      }))

    it.effect("is there once for a key that is tracked several times, until the last of them ends [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const [first, second] = yield* Effect.all([Scope.make(), Scope.make()])
        yield* Scope.provide(pubsub.presence.track("room", "ann", "phone"), first)
        yield* Scope.provide(pubsub.presence.track("room", "ann", "desk"), second)
        assert.deepStrictEqual(yield* listed(pubsub), { ann: "desk" })
        assert.strictEqual(yield* pubsub.presence.count("room"), 1)
        yield* Scope.close(second, Exit.void)
        assert.deepStrictEqual(yield* listed(pubsub), { ann: "phone" })
        yield* Scope.close(first, Exit.void)
        assert.strictEqual(yield* pubsub.presence.count("room"), 0)
      }))

    it.effect("of a channel ends with untrack, or with the channel [C222] [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const scope = yield* Scope.make()
        const channel = yield* Scope.provide(pubsub.open(), scope)
        yield* Effect.forEach(["ann", "bob", "cy"], (key) => channel.track("room", key, "here"))
        yield* channel.track("other", "ann")
        yield* channel.track("room", "ann", "away")
        assert.deepStrictEqual(yield* listed(pubsub), { ann: "away", bob: "here", cy: "here" })
        yield* channel.untrack("room", "ann")
        yield* channel.untrack("room", "ann")
        yield* channel.untrack("room", "never there")
        assert.deepStrictEqual(yield* listed(pubsub), { bob: "here", cy: "here" })
        assert.deepStrictEqual(yield* listed(pubsub, "other"), { ann: "" })
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(yield* listed(pubsub), {})
        assert.deepStrictEqual(yield* listed(pubsub, "other"), {})
      }))

    it.effect("of a channel is another than that of a scope, though of the same key", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const channel = yield* pubsub.open()
        yield* pubsub.presence.track("room", "ann", "scope")
        yield* channel.track("room", "ann", "channel")
        yield* channel.untrack("room", "ann")
        assert.deepStrictEqual(yield* listed(pubsub), { ann: "scope" })
      }))

    it.effect("lists at most 100, or as many as asked for [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        yield* Effect.forEach(numbers(1, 120), (key) => pubsub.presence.track("room", key), { discard: true })
        assert.strictEqual((yield* pubsub.presence.list("room")).length, 100)
        assert.strictEqual((yield* pubsub.presence.list("room", 7)).length, 7)
        const all = yield* pubsub.presence.list("room", 1000)
        assert.sameMembers(all.map(({ key }) => key), numbers(1, 120))
        assert.strictEqual(yield* pubsub.presence.count("room"), 120)
      }))

    it.effect("is scanned in pages that have each key once [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        assert.deepStrictEqual(yield* pubsub.presence.scan("room"), { entries: [], cursor: undefined })
        yield* Effect.forEach(numbers(1, 250), (key) => pubsub.presence.track("room", key), { discard: true })
        for (const count of [30, 250, 10_000]) {
          const { keys, pages } = yield* scanned(pubsub, count)
          assert.sameMembers(keys, numbers(1, 250))
          assert.strictEqual(keys.length, 250)
          assert.isAtMost(pages, Math.ceil(250 / count) * 4 + 1)
        }
      }))

    it.effect("has every key in a scan that was there all the time, whoever comes and goes [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const scope = yield* Scope.make()
        const names = (word: string) => numbers(100, 199).map((n) => `${n}${word}`)
        const track = (key: string) => pubsub.presence.track("room", key)
        yield* Effect.forEach(names("stays"), track, { discard: true })
        yield* Effect.forEach(names("goes"), (key) => Scope.provide(track(key), scope), { discard: true })
        const first = yield* pubsub.presence.scan("room", undefined, 50)
        yield* Scope.close(scope, Exit.void)
        yield* Effect.forEach(names("comes"), track, { discard: true })
        const keys = first.entries.map(({ key }) => key)
        let { cursor } = first
        while (cursor !== undefined) {
          const page = yield* pubsub.presence.scan("room", cursor, 50)
          keys.push(...page.entries.map(({ key }) => key))
          cursor = page.cursor
        }
        assert.sameMembers(keys.filter((key) => key.endsWith("stays")), names("stays"))
      }))

    it.effect("takes any text as key and value, and nothing above their limits", () =>
      Effect.gen(function*() {
        const pubsub = yield* start(subject)
        const texts = ["", " ", "a\r\nb", "é☃😀", "\u0000", "__proto__", "*", "a:b|c\tf", "k".repeat(256)]
        yield* Effect.forEach(texts, (text) => pubsub.presence.track("room", text, text), { discard: true })
        yield* pubsub.presence.track("room", "long", "v".repeat(4096))
        const entries = yield* pubsub.presence.list("room")
        const sorted = (pairs: Array<ReadonlyArray<string>>) => pairs.map(([key, value]) => `${key}=${value}`).sort()
        assert.deepStrictEqual(
          sorted(entries.map(({ key, value }) => [key, value])),
          sorted([...texts.map((text) => [text, text]), ["long", "v".repeat(4096)]])
        )
        const { keys } = yield* scanned(pubsub, 2)
        assert.sameMembers(keys, [...texts, "long"])
        const channel = yield* pubsub.open()
        for (const track of [pubsub.presence.track, channel.track]) {
          const key = yield* reasonOf(track("room", "k".repeat(257)))
          const value = yield* reasonOf(track("room", "k", "v".repeat(4097)))
          assert.deepStrictEqual([key, value].map((reason) => "option" in reason && reason.option), ["key", "value"])
        }
        assert.strictEqual(yield* pubsub.presence.count("room"), texts.length + 1)
      }))
  })
}
