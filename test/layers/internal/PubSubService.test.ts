import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type * as PubSubBackend from "../../../layers/internal/PubSubBackend.ts"
import type { Hub } from "../../../layers/internal/PubSubHub.ts"
import * as PubSubService from "../../../layers/internal/PubSubService.ts"
import { type Message, PubSubError, type Replay } from "../../../src/service/PubSub.ts"

const lost = new PubSubError({ reason: { _tag: "Unavailable", problem: "gone" } })

/** A service over a back end that says what it was asked, and answers when the test wants. */
const make = Effect.fnUntraced(function*(changes: Partial<PubSubBackend.Backend> = {}) {
  const asked: Array<string> = []
  let hub: Hub | undefined
  const ask = (what: string) => Effect.sync(() => void asked.push(what))
  const backend: PubSubBackend.Backend = {
    name: "test",
    publish: ({ topic }) => ask(`publish ${topic}`),
    send: (channel) => ask(`send ${channel}`),
    attach: (name) => ask(`attach ${name}`),
    detach: (name) => ask(`detach ${name}`),
    history: () => Effect.succeed([]),
    isAfter: (id, other) => Number(id) > Number(other),
    presence: {
      add: (_, key) => ask(`add ${key}`),
      remove: (_, key) => ask(`remove ${key}`),
      list: () => Effect.succeed([]),
      count: () => Effect.succeed(0),
      scan: () => Effect.succeed({ entries: [], cursor: undefined })
    },
    flush: Effect.void,
    status: () => ({ isConnected: true, problem: undefined, sinceMillis: 0 }),
    ...changes
  }
  const service = yield* PubSubService.make({ capacity: 5 }, "test", (made) =>
    Effect.sync(() => {
      hub = made
      return backend
    }))
  return { asked, hub: hub!, service }
})

const message = (n: number): Message => ({ topic: "a", data: String(n), id: String(n) })

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

describe("PubSubService", () => {
  describe("the back end", () => {
    it.effect("is told of the first who joins a name and of the last who leaves it", () =>
      Effect.gen(function*() {
        const { asked, service } = yield* make()
        const [first, second] = yield* Effect.all([service.open(), service.open()])
        const scope = yield* Scope.make()
        yield* first.subscribe("a")
        yield* first.subscribe("a")
        yield* second.subscribe("a")
        yield* Scope.provide(service.listen("a", () => {}), scope)
        yield* first.unsubscribe("a")
        yield* second.unsubscribeAll
        assert.deepStrictEqual(asked, ["attach a"])
        yield* Scope.close(scope, Exit.void)
        yield* second.subscribe("a")
        assert.deepStrictEqual(asked, ["attach a", "detach a", "attach a"])
      }))

    it.effect("is asked once by all who wait for the same name, and each waits", () =>
      Effect.gen(function*() {
        const answer = yield* Deferred.make<void>()
        let count = 0
        const { service } = yield* make({
          attach: () => Effect.andThen(Effect.sync(() => void count++), Deferred.await(answer))
        })
        const channels = yield* Effect.all([service.open(), service.open(), service.open()])
        const [first, ...others] = yield* Effect.forEach(
          channels,
          (channel) => Effect.forkChild(channel.subscribe("a"), { startImmediately: true })
        )
        assert.deepStrictEqual(channels.map(({ subscriptions }) => subscriptions.length), [1, 1, 1])
        assert.deepStrictEqual(others.map((fiber) => fiber.pollUnsafe()), [undefined, undefined])
        yield* Fiber.interrupt(first!)
        yield* Deferred.succeed(answer, undefined)
        yield* Effect.forEach(others, Fiber.join)
        assert.strictEqual(count, 1)
        assert.deepStrictEqual(channels.map(({ subscriptions }) => subscriptions.length), [0, 1, 1])
      }))

    it.effect("is waited for also by who subscribes a second time while the first time is given up", () =>
      Effect.gen(function*() {
        const answers = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
        let count = 0
        const { asked, service } = yield* make({ attach: () => Deferred.await(answers[count++]!) })
        const channel = yield* service.open()
        const subscribe = Effect.forkChild(channel.subscribe("a"), { startImmediately: true })
        const [first, second] = yield* Effect.all([subscribe, subscribe])
        yield* Fiber.interrupt(first)
        yield* Deferred.succeed(answers[0], undefined)
        yield* Effect.yieldNow
        assert.strictEqual(second.pollUnsafe(), undefined)
        yield* Deferred.succeed(answers[1], undefined)
        yield* Fiber.join(second)
        assert.deepStrictEqual(channel.subscriptions, ["a"])
        assert.deepStrictEqual(asked, ["detach a"])
      }))

    it.effect("that refuses a publication is not counted as having it", () =>
      Effect.gen(function*() {
        const { service } = yield* make({ publish: () => Effect.fail(lost), later: () => Effect.fail(lost) })
        yield* Effect.flip(service.publish("a", "x"))
        yield* Effect.flip(service.publish("a", "x", { keep: 1 }))
        yield* Effect.flip(service.publish("a", "x", { delay: "1 second" }))
        assert.strictEqual((yield* service.stats).published, 0)
      }))

    it.effect("that refuses a name fails who waits for it, leaves nothing, and is asked again", () =>
      Effect.gen(function*() {
        let isRefusing = true
        const { service } = yield* make({ attach: () => isRefusing ? Effect.fail(lost) : Effect.void })
        const channel = yield* service.open()
        for (const refused of [channel.subscribe("a"), service.listen("a", () => {})]) {
          assert.strictEqual(yield* Effect.flip(refused), lost)
        }
        assert.deepStrictEqual([yield* service.subscribers("a"), channel.subscriptions], [0, []])
        isRefusing = false
        yield* channel.subscribe("a")
        assert.deepStrictEqual(channel.subscriptions, ["a"])
      }))

    it.effect("is not asked to detach once the layer closes", () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const { asked, service } = yield* Scope.provide(make(), scope)
        const inner = yield* Scope.make()
        yield* (yield* Scope.provide(service.open(), inner)).subscribe("a")
        yield* Scope.close(scope, Exit.void)
        yield* Scope.close(inner, Exit.void)
        assert.deepStrictEqual(asked, ["attach a"])
      }))

    it.effect("takes delayed messages where it can, with the time when they are due", () =>
      Effect.gen(function*() {
        const later: Array<unknown> = []
        const { asked, service } = yield* make({ later: (what, due) => Effect.sync(() => later.push([what, due])) })
        yield* service.publish("a", "x", { delay: "1 second", keep: 1, exclude: "c" })
        yield* service.send("c", "y", { delay: "2 seconds" })
        assert.deepStrictEqual(later, [
          [{ _tag: "Publish", publication: { topic: "a", data: "x", excluded: ["c"], keep: 1 } }, 1000],
          [{ _tag: "Send", channel: "c", data: "y" }, 2000]
        ])
        assert.deepStrictEqual(asked, [])
        const { delayed, published } = yield* service.stats
        assert.deepStrictEqual({ delayed, published }, { delayed: 0, published: 1 })
      }))

    it.effect("is told of every key that a channel has left, though it refuses some", () =>
      Effect.gen(function*() {
        const removed: Array<string> = []
        const { service } = yield* make({
          presence: {
            add: () => Effect.void,
            remove: (_, key) =>
              Effect.andThen(Effect.sync(() => void removed.push(key)), key === "b" ? Effect.fail(lost) : Effect.void),
            list: () => Effect.succeed([]),
            count: () => Effect.succeed(0),
            scan: () => Effect.succeed({ entries: [], cursor: undefined })
          }
        })
        const scope = yield* Scope.make()
        const channel = yield* Scope.provide(service.open(), scope)
        yield* Effect.forEach(["a", "b", "c"], (key) => channel.track("room", key))
        yield* Scope.close(scope, Exit.void)
        assert.sameMembers(removed, ["a", "b", "c"])
      }))
  })

  it.effect("tracks nobody for a channel that is leaving", () =>
    Effect.gen(function*() {
      const answer = yield* Deferred.make<void>()
      const added: Array<string> = []
      const { service } = yield* make({
        presence: {
          add: (_, key) => Effect.sync(() => void added.push(key)),
          remove: () => Deferred.await(answer),
          list: () => Effect.succeed([]),
          count: () => Effect.succeed(0),
          scan: () => Effect.succeed({ entries: [], cursor: undefined })
        }
      })
      const scope = yield* Scope.make()
      const channel = yield* Scope.provide(service.open(), scope)
      yield* channel.track("room", "a")
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      const error = yield* Effect.flip(channel.track("room", "b"))
      assert.strictEqual(error.reason._tag, "UnknownChannel")
      yield* Deferred.succeed(answer, undefined)
      yield* Fiber.join(closing)
      assert.deepStrictEqual(added, ["a"])
    }))

  describe("a replay that takes long", () => {
    const slow = Effect.fnUntraced(function*(replay: Replay = { last: 10 }) {
      const kept = yield* Deferred.make<ReadonlyArray<Message>, PubSubError>()
      const made = yield* make({ history: () => Deferred.await(kept) })
      const channel = yield* made.service.open()
      const joining = yield* Effect.forkChild(channel.subscribe("a", replay), { startImmediately: true })
      const live = (...numbers: ReadonlyArray<number>) => numbers.forEach((n) => made.hub.deliver(message(n), []))
      return { ...made, channel, joining, kept, live }
    })
    const rest = Effect.fnUntraced(function*(channel: Effect.Success<ReturnType<typeof slow>>["channel"]) {
      const got: Array<unknown> = []
      while (channel.pending > 0) got.push((yield* channel.receive).data)
      return got
    })

    it.effect("holds live messages back, and drops those that it has itself", () =>
      Effect.gen(function*() {
        const { channel, joining, kept, live, service } = yield* slow()
        live(3, 4, 5, 6)
        assert.strictEqual(channel.pending, 0)
        yield* Deferred.succeed(kept, range(1, 4).map(message))
        yield* Fiber.join(joining)
        live(7)
        assert.deepStrictEqual(yield* rest(channel), range(1, 7).map(String))
        assert.strictEqual((yield* service.stats).delivered, 3)
      }))

    it.effect("drops what the reader has seen, also when nothing came after it", () =>
      Effect.gen(function*() {
        const { channel, joining, kept, live } = yield* slow({ after: "4" })
        live(3, 4, 5)
        yield* Deferred.succeed(kept, [])
        yield* Fiber.join(joining)
        assert.deepStrictEqual(yield* rest(channel), ["5"])
      }))

    it.effect("drops nothing for an id that never was one", () =>
      Effect.gen(function*() {
        const { channel, joining, kept, live } = yield* slow({ after: "no id" })
        live(3, 4)
        yield* Deferred.succeed(kept, [])
        yield* Fiber.join(joining)
        assert.deepStrictEqual(yield* rest(channel), ["3", "4"])
      }))

    it.effect("hands out what it held before what its reader publishes at that", () =>
      Effect.gen(function*() {
        const { channel, joining, kept, live } = yield* slow()
        const got: Array<unknown> = []
        const reading = yield* Effect.forkChild(
          Effect.forEach(range(1, 4), () =>
            Effect.map(channel.receive, ({ data }) => {
              got.push(data)
              if (data === "2") live(4)
            })),
          { startImmediately: true }
        )
        live(2, 3)
        yield* Deferred.succeed(kept, [message(1)])
        yield* Effect.all([Fiber.join(joining), Fiber.join(reading)])
        assert.deepStrictEqual(got, ["1", "2", "3", "4"])
      }))

    it.effect("holds no more than the capacity, and counts what is above", () =>
      Effect.gen(function*() {
        const { channel, joining, kept, live, service } = yield* slow()
        live(...range(1, 1000))
        yield* Deferred.succeed(kept, [])
        yield* Fiber.join(joining)
        assert.deepStrictEqual(yield* rest(channel), range(1, 5).map(String))
        const { delivered, droppedFull } = yield* service.stats
        assert.deepStrictEqual({ delivered, droppedFull }, { delivered: 5, droppedFull: 995 })
      }))

    it.effect("is not played to who has left, nor to who left and came back", () =>
      Effect.gen(function*() {
        const { channel, joining, kept, live } = yield* slow()
        live(1)
        yield* channel.unsubscribe("a")
        yield* channel.subscribe("a")
        live(2)
        yield* Deferred.succeed(kept, [message(1)])
        yield* Fiber.join(joining)
        assert.deepStrictEqual(yield* rest(channel), ["2"])
        assert.deepStrictEqual(channel.subscriptions, ["a"])
      }))

    it.effect("that fails or is interrupted leaves nothing behind", () =>
      Effect.gen(function*() {
        const failing = yield* slow()
        yield* Deferred.fail(failing.kept, lost)
        assert.strictEqual(yield* Effect.flip(Fiber.join(failing.joining)), lost)
        const interrupted = yield* slow()
        yield* Fiber.interrupt(interrupted.joining)
        for (const { asked, channel, live, service } of [failing, interrupted]) {
          live(1)
          assert.deepStrictEqual([channel.subscriptions, yield* service.topics, channel.pending], [[], [], 0])
          assert.deepStrictEqual(asked, ["attach a", "detach a"])
        }
      }))

    it.effect("ends quietly when its channel or the layer closes meanwhile", () =>
      Effect.gen(function*() {
        const kept = yield* Deferred.make<ReadonlyArray<Message>>()
        const { hub, service } = yield* make({ history: () => Deferred.await(kept) })
        const scope = yield* Scope.make()
        const channel = yield* Scope.provide(service.open(), scope)
        const joining = yield* Effect.forkChild(channel.subscribe("a", { last: 10 }), { startImmediately: true })
        hub.deliver(message(1), [])
        yield* Scope.close(scope, Exit.void)
        yield* Deferred.succeed(kept, [message(1)])
        yield* Fiber.join(joining)
        const { delivered, droppedFull, topics } = yield* service.stats
        assert.deepStrictEqual({ delivered, droppedFull, topics }, { delivered: 0, droppedFull: 0, topics: 0 })
      }))
  })
})
