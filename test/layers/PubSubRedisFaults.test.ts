/** PubSub over Redis where things go wrong in small steps: answers that are late, memory that is full, no time to read. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { performance } from "node:perf_hooks"
import * as PubSubRedis from "../../layers/PubSubRedis.ts"
import { PubSub } from "../../src/service/PubSub.ts"
import { numbers, reasonOf, received, type Service, turn, until } from "../contract/PubSub/subject.ts"
import { capture } from "../utils/logs.ts"
import { missing, redisServer } from "../utils/redisServer.ts"

const open = (url: string, options: PubSubRedis.Options = {}) =>
  Effect.map(
    Layer.build(Layer.fresh(PubSubRedis.layerClient({ url, ...options }))),
    (context) => Context.get(context, PubSub)
  )

const connected = (service: Service) => until(Effect.map(service.status, ({ isConnected }) => isConnected))
const lost = (service: Service) => until(Effect.map(service.status, ({ isConnected }) => !isConnected))

const turns = (times: number) => Effect.forEach(numbers(1, times), () => turn, { discard: true })

/** Seconds in which everything that Redis is asked is answered. */
const seconds = (count: number, services: ReadonlyArray<Service>) =>
  Effect.forEach(
    numbers(1, count),
    () => Effect.andThen(TestClock.adjust("1 second"), Effect.forEach(services, (service) => service.flush)),
    { discard: true }
  )

const suite = () => {
  describe("PubSubRedis", () => {
    describe("a name that is left and joined again before Redis has answered", () => {
      for (const name of ["a", "b.*"]) {
        it.effect(`is subscribed to, once: ${name} [C223]`, () =>
          Effect.gen(function*() {
            const redis = yield* redisServer()
            const pubsub = yield* open(redis.url)
            for (let round = 0; round < 25; round++) {
              const scope = yield* Scope.make()
              const joining = yield* Effect.forkChild(Scope.provide(pubsub.listen(name, () => {}), scope), {
                startImmediately: true
              })
              yield* turns(round % 5)
              yield* Fiber.interrupt(joining)
              yield* Scope.close(scope, Exit.void)
              yield* turns(Math.floor(round / 5) % 5)
              yield* Effect.scoped(Effect.gen(function*() {
                const channel = yield* pubsub.open()
                yield* channel.subscribe(name)
                yield* pubsub.publish(name.replace("*", "x"), String(round))
                assert.deepStrictEqual(yield* received(pubsub, channel), [String(round)])
              }))
            }
          }), 60_000)
      }

      it.effect(
        "is subscribed to or not, as was said last, also when connections are cut [C223]",
        () =>
          Effect.gen(function*() {
            const redis = yield* redisServer()
            const pubsub = yield* open(redis.url)
            const names = ["a", "b", "e.*", "e.**", "f.**"]
            for (let round = 1; round <= 6; round++) {
              const restless = yield* Effect.forEach(names, (name, i) =>
                Effect.forkChild(
                  Effect.forEach(numbers(1, 20), (n) =>
                    Effect.scoped(
                      Effect.andThen(
                        Effect.ignore(pubsub.listen(name, () => {})),
                        turns((Number(n) * (i + 1)) % 3)
                      )
                    )),
                  { startImmediately: true }
                ))
              const noticed = yield* Effect.forkChild(lost(pubsub), { startImmediately: true })
              yield* turns(round)
              yield* redis.cli("CLIENT", "KILL", "TYPE", round % 2 === 0 ? "normal" : "pubsub", "SKIPME", "yes")
              yield* Effect.forEach([noticed, ...restless], (fiber) => Fiber.join<unknown, never>(fiber))
              yield* connected(pubsub)
              yield* Effect.scoped(Effect.gen(function*() {
                const channel = yield* pubsub.open()
                yield* Effect.forEach(names, (name) => channel.subscribe(name))
                const published = ["a", "b", "e.x", "f.x"]
                yield* Effect.forEach(published, (topic) => pubsub.publish(topic, topic))
                assert.deepStrictEqual(yield* received(pubsub, channel), published)
              }))
              yield* until(
                Effect.map(
                  redis.cli("PUBSUB", "CHANNELS"),
                  (all) => all.startsWith("slipway:p:") && !all.includes("\n")
                )
              )
              yield* until(Effect.map(redis.cli("PUBSUB", "NUMPAT"), (count) => count === "0"))
            }
          }),
        60_000
      )
    })

    it.effect("has 5,000 topics again after a restart of the server [C223]", () =>
      Effect.gen(function*() {
        const redis = yield* redisServer()
        const pubsub = yield* open(redis.url)
        const channel = yield* pubsub.open({ capacity: 5000 })
        const topics = numbers(1, 5000)
        yield* Effect.forEach(topics, (n) => channel.subscribe(`topic.${n}`), {
          concurrency: "unbounded",
          discard: true
        })
        yield* redis.kill
        yield* lost(pubsub)
        yield* redis.start
        yield* connected(pubsub)
        yield* Effect.forEach(topics, (n) => pubsub.publish(`topic.${n}`, n), { concurrency: 1000, discard: true })
        assert.deepStrictEqual(yield* received(pubsub, channel), topics)
      }))

    describe("a server without memory", () => {
      it.effect(
        "takes nothing that it has to keep, and forgets nobody and nothing that it has",
        () =>
          Effect.gen(function*() {
            const redis = yield* redisServer(["--maxmemory-policy", "noeviction"])
            const [pubsub, other] = yield* Effect.all([
              open(redis.url, { presenceTtl: "10 seconds" }),
              open(redis.url, { presenceTtl: "10 seconds" })
            ])
            const channel = yield* pubsub.open()
            yield* channel.subscribe("a")
            yield* channel.track("room", "ann")
            yield* pubsub.publish("a", "later", { delay: "2 seconds", keep: 3 })
            yield* redis.cli("CONFIG", "SET", "maxmemory", "1")
            for (const options of [{ keep: 1 }, { delay: "1 minute" }] as const) {
              const reason = yield* reasonOf(pubsub.publish("a", "x", options))
              assert.match((reason as { readonly problem: string }).problem, /^OOM /)
            }
            yield* pubsub.publish("a", "now")
            yield* seconds(15, [pubsub, other])
            assert.strictEqual(yield* other.presence.count("room"), 1)
            assert.isTrue((yield* pubsub.status).isConnected)
            assert.deepStrictEqual(yield* received(pubsub, channel), ["now", "later"])
            yield* channel.untrack("room", "ann")
            assert.strictEqual(yield* other.presence.count("room"), 0)
          }),
        60_000
      )
    })

    describe("what stands in Redis and cannot be sent", () => {
      it.effect("hinders nothing else that is due", () =>
        Effect.gen(function*() {
          const redis = yield* redisServer()
          const pubsub = yield* open(redis.url)
          const channel = yield* pubsub.open()
          yield* Effect.forEach(["a", "b"], (name) => channel.subscribe(name))
          yield* redis.cli("SET", "slipway:h:a", "not a history")
          for (const member of ["garbage", "x garbage", "y ", "z \u0091\u00a1x"]) {
            yield* redis.cli("ZADD", "slipway:d", "0", member)
          }
          yield* pubsub.publish("a", "1", { delay: "2 seconds", keep: 3 })
          yield* pubsub.publish("b", "2", { delay: "2 seconds", keep: 3 })
          yield* seconds(3, [pubsub])
          assert.deepStrictEqual(yield* received(pubsub, channel), ["1", "2"])
          assert.strictEqual(yield* redis.cli("ZCARD", "slipway:d"), "0")
          assert.isTrue((yield* pubsub.status).isConnected)
        }), 60_000)
    })

    describe("a server that is silent", () => {
      it.effect(
        "is given nothing more once it has not answered in time, until it answers",
        () =>
          Effect.gen(function*() {
            const redis = yield* redisServer()
            const pubsub = yield* open(redis.url, { ackTimeout: "2 seconds" })
            const channel = yield* pubsub.open()
            yield* channel.subscribe("a")
            yield* redis.freeze
            const first = yield* Effect.forkChild(reasonOf(pubsub.publish("a", "1")), { startImmediately: true })
            while (first.pollUnsafe() === undefined) yield* Effect.andThen(TestClock.adjust("1 second"), turn)
            const next = yield* Effect.forkChild(reasonOf(pubsub.publish("a", "2")), { startImmediately: true })
            assert.deepStrictEqual(next.pollUnsafe(), yield* Fiber.await(first))
            yield* redis.thaw
            yield* connected(pubsub)
            yield* pubsub.publish("a", "3")
            assert.deepStrictEqual(yield* received(pubsub, channel), ["1", "3"])
          }),
        60_000
      )
    })

    describe("a process without time", () => {
      it.live("finds the answers that waited for it, and blames nobody", () => {
        const log = capture()
        return Effect.gen(function*() {
          const redis = yield* redisServer()
          const pubsub = yield* open(redis.url, { ackTimeout: "1500 millis" })
          const channel = yield* pubsub.open()
          const waiting = yield* Effect.forkChild(
            Effect.all([pubsub.send(channel.name, "x"), pubsub.flush, channel.subscribe("a")], {
              concurrency: "unbounded"
            }),
            { startImmediately: true }
          )
          const end = performance.now() + 3500
          while (performance.now() < end);
          yield* Fiber.join(waiting)
          yield* pubsub.flush
          assert.deepStrictEqual(log.lines, [])
        }).pipe(Effect.provide(log.layer))
      }, 60_000)
    })
  })
}

if (missing === undefined) suite()
else describe("PubSubRedis", () => it.skip(`is not tested: ${missing}`, () => {}))
