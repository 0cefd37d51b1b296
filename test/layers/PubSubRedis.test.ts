import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { inspect } from "node:util"
import * as PubSubRedis from "../../layers/PubSubRedis.ts"
import { PubSub } from "../../src/service/PubSub.ts"
import { pubSubContract } from "../contract/PubSub.ts"
import { next, numbers, reasonOf, received, type Service, turn, until } from "../contract/PubSub/subject.ts"
import { capture } from "../utils/logs.ts"
import { missing, type RedisServer, redisServer } from "../utils/redisServer.ts"

const build = <E, R>(layer: Layer.Layer<PubSub, E, R>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, PubSub))

const open = (url: string, options: PubSubRedis.Options = {}) => build(PubSubRedis.layerClient({ url, ...options }))

/** A process that can end before the test does. */
const openClosable = Effect.fnUntraced(function*(url: string, options: PubSubRedis.Options = {}) {
  const scope = yield* Scope.make()
  return { pubsub: yield* Scope.provide(open(url, options), scope), close: Scope.close(scope, Exit.void) }
})

const connected = (service: Service) => until(Effect.map(service.status, ({ isConnected }) => isConnected))
const lost = (service: Service) => until(Effect.map(service.status, ({ isConnected }) => !isConnected))

/** Cuts connections, and succeeds when the services have noticed. Whoever looks later may have missed it. */
const cut = Effect.fnUntraced(function*(redis: RedisServer, type: string, services: ReadonlyArray<Service>) {
  const noticed = yield* Effect.forkChild(Effect.all(services.map(lost), { concurrency: "unbounded" }), {
    startImmediately: true
  })
  yield* redis.cli("CLIENT", "KILL", "TYPE", type, "SKIPME", "yes")
  yield* Fiber.join(noticed)
})

const counts = (service: Service, topic: string, count: number) =>
  until(Effect.map(service.presence.count(topic), (found) => found === count))

/** The time of a process that stands still: it does nothing more, and says no goodbye. */
const frozen = Effect.map(Clock.Clock, (clock): Clock.Clock => ({
  ...clock,
  currentTimeMillisUnsafe: () => 0,
  sleep: () => Effect.never
}))

/** Everything that a log may show of it. */
const textOf = (error: unknown) => inspect(error, { depth: null, showHidden: true })

const suite = () => {
  pubSubContract("PubSubRedis", {
    processes: 2,
    broker: (options) => Effect.map(redisServer(), ({ url }) => PubSubRedis.layerClient({ url, ...options }))
  })

  describe("PubSubRedis", () => {
    describe("a server that goes away", () => {
      it.effect("takes no subscription along, neither one made nor one left meanwhile [C223]", () =>
        Effect.gen(function*() {
          const redis = yield* redisServer()
          const pubsub = yield* open(redis.url)
          const channel = yield* pubsub.open()
          yield* Effect.forEach(["a", "b.*", "left", "left.*"], (name) => channel.subscribe(name))
          yield* redis.kill
          yield* lost(pubsub)
          yield* Effect.forEach(["late", "late.*"], (name) => channel.subscribe(name))
          yield* Effect.forEach(["left", "left.*"], channel.unsubscribe)
          yield* redis.start
          yield* connected(pubsub)
          yield* Effect.forEach(["a", "b.x", "late", "late.x", "left", "left.x"], (name) => pubsub.publish(name, name))
          yield* pubsub.send(channel.name, "direct")
          assert.deepStrictEqual(yield* received(pubsub, channel), ["a", "b.x", "late", "late.x", "direct"])
          const subscribed = yield* redis.cli("PUBSUB", "CHANNELS")
          assert.sameMembers(
            subscribed.split("\n").filter((name) => name.includes("t:")),
            ["slipway:t:a", "slipway:t:late"]
          )
          assert.strictEqual(yield* redis.cli("PUBSUB", "NUMPAT"), "2")
        }))

      it.effect(
        "makes everything fail at once that needs it, and keeps nothing for later [C223]",
        () =>
          Effect.gen(function*() {
            const redis = yield* redisServer()
            const pubsub = yield* open(redis.url)
            const channel = yield* pubsub.open()
            yield* channel.subscribe("a")
            yield* redis.kill
            yield* lost(pubsub)
            let refused = 0
            yield* Effect.forEach(
              numbers(1, 100_000),
              (n) =>
                Effect.catch(
                  pubsub.publish("a", n),
                  ({ reason }) => Effect.sync(() => void (refused += reason._tag === "Unavailable" ? 1 : 0))
                ),
              { discard: true }
            )
            assert.strictEqual(refused, 100_000)
            for (
              const failing of [
                pubsub.publish("a", "kept", { keep: 1 }),
                pubsub.publish("a", "later", { delay: "1 second" }),
                pubsub.send(channel.name, "direct"),
                pubsub.history("a"),
                pubsub.presence.track("a", "key"),
                pubsub.presence.list("a"),
                pubsub.presence.count("a"),
                pubsub.presence.scan("a"),
                pubsub.flush
              ]
            ) {
              assert.strictEqual(
                (yield* reasonOf(failing as Effect.Effect<unknown, any, Scope.Scope>))._tag,
                "Unavailable"
              )
            }
            yield* redis.start
            yield* connected(pubsub)
            yield* pubsub.publish("a", "back")
            assert.deepStrictEqual(yield* received(pubsub, channel), ["back"])
            assert.strictEqual(yield* pubsub.presence.count("a"), 0)
          }),
        60_000
      )

      it.effect("fails what waits for it, and for a channel of another process", () =>
        Effect.gen(function*() {
          const redis = yield* redisServer()
          const pubsub = yield* open(redis.url)
          const channel = yield* pubsub.open()
          yield* redis.freeze
          const waiting = yield* Effect.forEach(
            [pubsub.publish("a", "x"), pubsub.send(channel.name, "x"), pubsub.history("a"), pubsub.flush],
            (effect) => Effect.forkChild(Effect.flip(effect as Effect.Effect<unknown, any>), { startImmediately: true })
          )
          yield* redis.kill
          for (const fiber of waiting) assert.strictEqual((yield* Fiber.join(fiber)).reason._tag, "Unavailable")
        }))

      it.effect("is seen in status and metrics, and said once each way, without the password [C223]", () =>
        Effect.gen(function*() {
          const log = capture()
          const redis = yield* redisServer(["--requirepass", "s3cret"])
          const url = redis.url.replace("unix://", "unix://default:s3cret@")
          const shown = Effect.map(
            Metric.snapshot,
            (series) => series.find(({ id }) => id === "pubsub_connected")?.state as { readonly value: number }
          )
          yield* Effect.gen(function*() {
            const pubsub = yield* open(url)
            assert.deepStrictEqual(yield* pubsub.status, { isConnected: true, problem: undefined, sinceMillis: 0 })
            assert.strictEqual((yield* shown).value, 1)
            yield* TestClock.adjust("1 minute")
            yield* redis.kill
            yield* lost(pubsub)
            const { problem, sinceMillis } = yield* pubsub.status
            assert.isString(problem)
            assert.strictEqual(sinceMillis, 60_000)
            assert.strictEqual((yield* shown).value, 0)
            yield* until(Effect.sync(() => log.lines.length > 0))
            yield* redis.start
            yield* connected(pubsub)
            yield* until(Effect.sync(() => log.lines.length > 1))
            assert.strictEqual((yield* shown).value, 1)
          }).pipe(
            Effect.provide(log.layer),
            Effect.provideService(Metric.MetricRegistry, new Map()),
            Effect.scoped
          )
          assert.deepStrictEqual(log.lines.map(({ level }) => level), ["Warn", "Info"])
          assert.notInclude(JSON.stringify(log.lines), "s3cret")
        }))

      it.effect(
        "gets what this process said of presences again when it is back, and not what was taken back",
        () =>
          Effect.gen(function*() {
            const redis = yield* redisServer()
            const pubsub = yield* open(redis.url)
            const other = yield* open(redis.url)
            const channel = yield* pubsub.open()
            yield* Effect.forEach(numbers(1, 210), (key) => pubsub.presence.track("room", key, `value ${key}`), {
              concurrency: "unbounded"
            })
            yield* channel.track("room", "guest")
            assert.strictEqual(yield* other.presence.count("room"), 211)
            yield* cut(redis, "normal", [pubsub, other])
            yield* Effect.ignore(channel.untrack("room", "guest"))
            yield* Effect.all([connected(pubsub), connected(other)])
            yield* counts(other, "room", 210)
            yield* redis.kill
            yield* lost(pubsub)
            yield* redis.start
            yield* Effect.all([connected(pubsub), connected(other)])
            yield* counts(other, "room", 210)
            assert.deepInclude(yield* other.presence.list("room", 1000), { key: "77", value: "value 77" })
          }),
        60_000
      )

      it.effect("may be missing or locked at the start, which fails the layer without saying the password", () =>
        Effect.gen(function*() {
          const redis = yield* redisServer(["--requirepass", "s3cret"])
          const nowhere = yield* Effect.flip(Effect.scoped(open("redis://:s3cret@127.0.0.1:1")))
          assert.include(String(nowhere), "The message broker is not available: connect ECONNREFUSED")
          const url = Redacted.make(redis.url.replace("unix://", "unix://default:wr0ng@"))
          const locked = yield* Effect.flip(Effect.scoped(build(PubSubRedis.layerClient({ url }))))
          assert.strictEqual((locked as { readonly reason: { readonly _tag: string } }).reason._tag, "Unavailable")
          assert.include(String(locked), "WRONGPASS")
          for (const error of [nowhere, locked]) assert.notMatch(textOf(error), /s3cret|wr0ng/)
        }))
    })

    describe("a connection that is cut", () => {
      for (const type of ["pubsub", "normal"]) {
        it.effect(`comes back with everything on it: ${type} [C223]`, () =>
          Effect.gen(function*() {
            const redis = yield* redisServer()
            const pubsub = yield* open(redis.url)
            const channel = yield* pubsub.open()
            yield* Effect.forEach(["a", "b.*"], (name) => channel.subscribe(name))
            for (const round of numbers(1, 3)) {
              yield* cut(redis, type, [pubsub])
              yield* connected(pubsub)
              yield* pubsub.publish("a", `a${round}`)
              yield* pubsub.publish("b.c", `b${round}`)
              yield* pubsub.send(channel.name, `direct${round}`)
              assert.deepStrictEqual(yield* received(pubsub, channel), [`a${round}`, `b${round}`, `direct${round}`])
            }
          }))
      }
    })

    describe("a server that does not answer", () => {
      it.effect("fails what waits for it after ackTimeout, and is seen in the status", () =>
        Effect.gen(function*() {
          const redis = yield* redisServer()
          const pubsub = yield* open(redis.url, { ackTimeout: "2 seconds" })
          const channel = yield* pubsub.open()
          yield* channel.subscribe("a")
          yield* pubsub.publish("a", "x")
          yield* redis.freeze
          const waiting = yield* Effect.forEach(
            [pubsub.publish("a", "x"), pubsub.send(channel.name, "x"), pubsub.flush, channel.subscribe("b")],
            (effect) => Effect.forkChild(Effect.flip(effect), { startImmediately: true })
          )
          yield* Effect.replicateEffect(TestClock.adjust("1 second"), 4)
          for (const fiber of waiting) {
            const { reason } = yield* Fiber.join(fiber)
            assert.deepStrictEqual(reason, { _tag: "Unavailable", problem: "no answer within 2000 ms" })
          }
          assert.strictEqual((yield* pubsub.status).isConnected, false)
          yield* redis.thaw
          yield* connected(pubsub)
          yield* channel.subscribe("b")
          yield* pubsub.publish("b", "y")
          assert.deepStrictEqual(yield* next(channel, 3), ["x", "x", "x"])
        }))

      it.effect("gets no more than maxPending commands and maxPendingBytes", () =>
        Effect.gen(function*() {
          const redis = yield* redisServer()
          const few = yield* open(redis.url, { maxPending: 10 })
          const small = yield* open(redis.url, { maxPendingBytes: 1000 })
          yield* redis.freeze
          const refusals = (service: Service, data: string) =>
            Effect.gen(function*() {
              let refused = 0
              for (const _ of numbers(1, 30)) {
                const fiber = yield* Effect.forkChild(Effect.exit(service.publish("a", data)), {
                  startImmediately: true
                })
                if (fiber.pollUnsafe() !== undefined) refused++
              }
              return refused
            })
          assert.isAtLeast(yield* refusals(few, "x"), 20)
          assert.isAtLeast(yield* refusals(small, "x".repeat(100)), 20)
          yield* redis.thaw
        }))
    })

    describe("what others do in Redis", () => {
      it.effect("does not matter when they flush it: scripts run, presences come back [C223]", () =>
        Effect.gen(function*() {
          const redis = yield* redisServer()
          const pubsub = yield* open(redis.url)
          const channel = yield* pubsub.open()
          yield* channel.subscribe("a")
          yield* channel.track("room", "one")
          yield* pubsub.publish("a", "1", { keep: 10 })
          yield* redis.cli("SCRIPT", "FLUSH")
          yield* pubsub.publish("a", "2", { keep: 10 })
          yield* redis.cli("FLUSHALL")
          assert.strictEqual(yield* pubsub.presence.count("room"), 0)
          yield* pubsub.publish("a", "3", { keep: 10 })
          assert.deepStrictEqual((yield* pubsub.history("a")).map(({ data }) => data), ["3"])
          assert.deepStrictEqual(yield* received(pubsub, channel), ["1", "2", "3"])
          yield* TestClock.adjust("1 second")
          yield* counts(pubsub, "room", 1)
        }))

      it.effect("is received when it is a message, as text or as bytes, and ignored when it is none", () =>
        Effect.gen(function*() {
          const redis = yield* redisServer()
          const pubsub = yield* open(redis.url)
          const channel = yield* pubsub.open()
          yield* channel.subscribe("**")
          yield* channel.subscribe("a")
          yield* redis.cli("PUBLISH", "slipway:t:a", "from redis-cli")
          yield* redis.cli("PUBLISH", "slipway:t:no topic", "x")
          yield* redis.cli("PUBLISH", "slipway:t:", "x")
          yield* redis.cli("EVAL", "redis.call('PUBLISH', 'slipway:t:b', '\\0S1broken')", "0")
          yield* redis.cli("EVAL", "redis.call('PUBLISH', 'slipway:t:b', '\\255\\1')", "0")
          const inbox = `slipway:p:${channel.name.split(".")[0]!}`
          for (const message of ["garbage", "\\0S1St;;x", "\\0S1Atx.y;a.b;full many", "\\0S1Pt;;x", "\\0S1Mt;;"]) {
            yield* redis.cli("EVAL", `redis.call('PUBLISH', '${inbox}', '${message}')`, "0")
          }
          yield* redis.cli("ZADD", "slipway:d", "0", "garbage")
          yield* TestClock.adjust("1 second")
          yield* pubsub.publish("a", "after")
          assert.deepStrictEqual(yield* received(pubsub, channel), ["from redis-cli", Uint8Array.of(255, 1), "after"])
        }))

      it.effect("may not be ours: what Redis forbids fails with what it says", () =>
        Effect.gen(function*() {
          const redis = yield* redisServer()
          yield* redis.cli(
            "ACL",
            "SETUSER",
            "app",
            "on",
            ">pw",
            "~*",
            "+@all",
            "resetchannels",
            "&slipway:p:*",
            "&slipway:t:a"
          )
          const pubsub = yield* open(redis.url.replace("unix://", "unix://app:pw@"))
          const channel = yield* pubsub.open()
          yield* channel.subscribe("a")
          for (const failing of [channel.subscribe("b"), channel.subscribe("b.*"), pubsub.publish("b", "x")]) {
            const reason = yield* reasonOf(failing)
            assert.strictEqual(reason._tag, "Unavailable")
            assert.match((reason as { readonly problem: string }).problem, /^NOPERM /)
          }
          yield* pubsub.publish("a", "y")
          assert.deepStrictEqual(yield* received(pubsub, channel), ["y"])
          assert.deepStrictEqual(channel.subscriptions, ["a"])
        }))

      it.effect("is theirs under another prefix", () =>
        Effect.gen(function*() {
          const redis = yield* redisServer()
          const [one, other] = yield* Effect.all([open(redis.url, { prefix: "one:" }), open(redis.url)])
          const [here, there] = yield* Effect.all([one.open(), other.open()])
          yield* Effect.forEach([here, there], (channel) => channel.subscribe("*"))
          yield* one.publish("a", "mine", { keep: 1 })
          yield* one.presence.track("a", "key")
          assert.deepStrictEqual(yield* received(one, here), ["mine"])
          assert.deepStrictEqual(yield* received(other, there), [])
          assert.deepStrictEqual(yield* other.history("a"), [])
          assert.strictEqual(yield* other.presence.count("a"), 0)
          assert.strictEqual((yield* reasonOf(one.send(there.name, "x")))._tag, "UnknownChannel")
        }))
    })

    describe("a process that ends", () => {
      it.effect(
        "is gone from presences after presenceTtl when it died, and back when it had only slept [C223]",
        () =>
          Effect.gen(function*() {
            const redis = yield* redisServer()
            const pubsub = yield* open(redis.url, { presenceTtl: "30 seconds" })
            const clock = yield* frozen
            const dying = yield* Effect.provideService(
              open(redis.url, { presenceTtl: "30 seconds" }),
              Clock.Clock,
              clock
            )
            yield* pubsub.presence.track("room", "shared", "mine")
            yield* Effect.forEach(
              ["shared", ...numbers(1, 210)],
              (key) => Effect.provideService(dying.presence.track("room", key, "theirs"), Clock.Clock, clock),
              { concurrency: "unbounded" }
            )
            assert.strictEqual(yield* pubsub.presence.count("room"), 211)
            assert.deepInclude(yield* pubsub.presence.list("room", 211), { key: "shared", value: "theirs" })
            for (const _ of numbers(1, 29)) {
              yield* TestClock.adjust("1 second")
              yield* pubsub.flush
            }
            assert.strictEqual(yield* pubsub.presence.count("room"), 211)
            yield* TestClock.adjust("1 second")
            yield* pubsub.flush
            assert.deepStrictEqual(yield* pubsub.presence.list("room"), [{ key: "shared", value: "mine" }])
            assert.strictEqual(yield* pubsub.presence.count("room"), 1)
            assert.strictEqual((yield* redis.cli("KEYS", "slipway:m:*")).split("\n").length, 1)
          }),
        60_000
      )

      it.effect("has its delayed messages sent by another, once [C223]", () =>
        Effect.gen(function*() {
          const redis = yield* redisServer()
          const [first, second] = yield* Effect.all([open(redis.url), open(redis.url)])
          const channel = yield* first.open()
          yield* channel.subscribe("a")
          const { close, pubsub } = yield* openClosable(redis.url)
          yield* pubsub.publish("a", "later", { delay: "1 minute", keep: 1 })
          yield* pubsub.send(channel.name, "direct", { delay: "1 minute" })
          yield* close
          yield* TestClock.adjust("59 seconds")
          yield* Effect.all([first.flush, second.flush])
          assert.strictEqual(channel.pending, 0)
          yield* TestClock.adjust("2 seconds")
          assert.deepStrictEqual(yield* next(channel, 2), ["later", "direct"])
          yield* TestClock.adjust("1 minute")
          yield* Effect.all([first.flush, second.flush])
          assert.strictEqual(channel.pending, 0)
          assert.strictEqual((yield* first.history("a")).length, 1)
        }))

      it.effect("leaves no connection, no presence and no subscription, and its channels are unknown", () =>
        Effect.gen(function*() {
          const redis = yield* redisServer()
          const pubsub = yield* open(redis.url)
          const { close, pubsub: ending } = yield* openClosable(redis.url)
          const scope = yield* Scope.make()
          const channel = yield* Scope.provide(ending.open(), scope)
          yield* channel.subscribe("a")
          yield* Scope.provide(ending.presence.track("room", "key"), scope)
          const clients = Effect.map(redis.cli("CLIENT", "LIST"), (list) => list.split("\n").length - 1)
          assert.strictEqual(yield* clients, 4)
          yield* close
          assert.strictEqual(yield* pubsub.presence.count("room"), 0)
          assert.strictEqual((yield* reasonOf(pubsub.send(channel.name, "x")))._tag, "UnknownChannel")
          yield* until(Effect.map(clients, (count) => count === 2))
          assert.strictEqual(yield* redis.cli("KEYS", "slipway:*"), "")
        }))

      it.effect("ends also while the server is away or does not answer", () =>
        Effect.gen(function*() {
          const redis = yield* redisServer()
          const away = yield* openClosable(redis.url)
          yield* Effect.scoped(away.pubsub.presence.track("room", "key"))
          yield* redis.kill
          yield* lost(away.pubsub)
          yield* away.close
          yield* redis.start
          const silent = yield* openClosable(redis.url)
          yield* redis.freeze
          const closing = yield* Effect.forkChild(silent.close, { startImmediately: true })
          while (closing.pollUnsafe() === undefined) yield* Effect.andThen(TestClock.adjust("1 second"), turn)
          yield* redis.thaw
        }))
    })

    describe("options", () => {
      it.effect("that cannot be are refused by name", () =>
        Effect.gen(function*() {
          for (
            const options of [
              { prefix: "a*" },
              { presenceTtl: "10 millis" },
              { historyTtl: Infinity },
              { ackTimeout: 0 },
              { maxPending: 0 },
              { maxPendingBytes: 0.5 },
              { maxDelayed: -1 }
            ] as const
          ) {
            const redis = yield* redisServer()
            const error = yield* Effect.flip(Effect.scoped(open(redis.url, options)))
            assert.include(String(error), `${Object.keys(options)[0]!} cannot be`)
          }
          for (const url of ["http://:s3cret@localhost", "s3cret", "redis://:s3cret@localhost/s3cret", "unix:s3cret"]) {
            const error = yield* Effect.flip(Effect.scoped(open(url)))
            assert.match(String(error), /url cannot be "?<redacted>/)
            assert.notInclude(textOf(error), "s3cret")
          }
        }))

      it.effect("come from the configuration, or go with a client that is there", () =>
        Effect.gen(function*() {
          const redis = yield* redisServer()
          const provider = ConfigProvider.layer(ConfigProvider.fromUnknown({ REDIS_URL: redis.url }))
          const one = yield* build(
            Layer.provide(PubSubRedis.layerConfig({ url: Config.Redacted("REDIS_URL") }), provider)
          )
          const client = Context.get(yield* Layer.build(NodeRedis.layer({ url: redis.url })), NodeRedis.NodeRedis)
          const scope = yield* Scope.make()
          const other = yield* build(PubSubRedis.layer()).pipe(
            Effect.provideService(NodeRedis.NodeRedis, client),
            Scope.provide(scope)
          )
          const channel = yield* one.open()
          yield* channel.subscribe("a")
          yield* other.publish("a", "hello")
          assert.deepStrictEqual(yield* next(channel, 1), ["hello"])
          yield* redis.kill
          yield* Effect.all([lost(one), lost(other)])
          assert.strictEqual((yield* reasonOf(other.publish("a", "x")))._tag, "Unavailable")
          yield* redis.start
          yield* Effect.all([connected(one), connected(other)])
          yield* other.publish("a", "back")
          assert.deepStrictEqual(yield* next(channel, 1), ["back"])
          yield* Scope.close(scope, Exit.void)
          assert.strictEqual((yield* reasonOf(other.publish("a", "x")))._tag, "Unavailable")
          assert.strictEqual((yield* reasonOf(other.flush))._tag, "Unavailable")
          assert.strictEqual(yield* Effect.promise(() => client.client.ping()), "PONG")
        }).pipe(Effect.provideService(References.MinimumLogLevel, "None")))
    })
  })
}

if (missing === undefined) suite()
else describe("PubSubRedis", () => it.skip(`is not tested: ${missing}`, () => {}))
