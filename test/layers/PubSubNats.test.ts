/** PubSub over NATS: the contract of every layer, and what only a broker that comes and goes can show. */
import { assert, describe, it } from "@effect/vitest"
import { jetstreamManager } from "@nats-io/jetstream"
import { headers, type NatsConnection } from "@nats-io/transport-node"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as PubSubNats from "../../layers/PubSubNats.ts"
import { type Channel, PubSub, type PubSubError } from "../../src/service/PubSub.ts"
import { pubSubContract } from "../contract/PubSub.ts"
import { next, numbers, reasonOf, received, taken, turn, until } from "../contract/PubSub/subject.ts"
import * as Logs from "../utils/logs.ts"
import * as NatsServer from "../utils/natsServer.ts"

const build = (layer: Layer.Layer<PubSub, unknown>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, PubSub))

/** A service at the server: one process more. */
const join = (server: { readonly address: string }, options: Partial<PubSubNats.Options> = {}) =>
  build(PubSubNats.layer({ servers: server.address, ...options }))

const isConnected = (service: PubSub["Service"]) => Effect.map(service.status, ({ isConnected }) => isConnected)

const lost = (service: PubSub["Service"]) => until(Effect.map(isConnected(service), (connected) => !connected))
const back = (service: PubSub["Service"]) => until(isConnected(service))

const flushed = (nats: NatsConnection) => Effect.promise(() => nats.flush())

const tagOf = <A, R>(effect: Effect.Effect<A, PubSubError, R>) => Effect.map(reasonOf(effect), ({ _tag }) => _tag)

const openAt = Effect.fnUntraced(function*(service: PubSub["Service"], ...names: ReadonlyArray<string>) {
  const channel: Channel = yield* service.open({ capacity: 100_000 })
  yield* Effect.forEach(names, (name) => channel.subscribe(name))
  return channel
})

const itself = () => {
  pubSubContract("PubSubNats", {
    processes: 2,
    broker: (options) =>
      Effect.map(
        // A payload of a MiB has headers as well.
        NatsServer.make({ config: "max_payload: 2MB" }),
        (server) => PubSubNats.layer({ servers: server.address, ...options })
      )
  })

  describe("PubSubNats", () => {
    describe("a server that goes and comes back", () => {
      for (const signal of ["SIGTERM", "SIGKILL"] as const) {
        it.effect(`by ${signal} finds the subscriptions, the histories and the presences again [C223]`, () =>
          Effect.gen(function*() {
            const server = yield* NatsServer.make()
            const [here, there] = yield* Effect.all([join(server), join(server)])
            const a = yield* openAt(here, "news", "chat.*")
            const b = yield* openAt(there, "news")
            yield* here.presence.track("room", "ann")
            yield* there.presence.track("room", "bob")
            yield* here.publish("news", "kept", { keep: 5 })
            yield* until(Effect.sync(() => a.pending + b.pending === 2))
            yield* server.stop(signal)
            yield* Effect.all([lost(here), lost(there)])
            assert.strictEqual(yield* tagOf(here.publish("news", "nowhere")), "Unavailable")
            yield* a.subscribe("late")
            yield* server.start
            yield* Effect.all([back(here), back(there)])
            yield* there.publish("news", "1")
            yield* there.publish("chat.x", "2")
            yield* there.publish("late", "3")
            assert.deepStrictEqual(yield* next(a, 4), ["kept", "1", "2", "3"])
            assert.deepStrictEqual(yield* next(b, 2), ["kept", "1"])
            // A server that is killed may not have written what it has acknowledged.
            const kept = (yield* there.history("news")).map(({ data }) => data)
            if (signal === "SIGTERM") assert.deepStrictEqual(kept, ["kept"])
            yield* there.publish("news", "4", { keep: 5 })
            assert.deepStrictEqual(yield* next(a, 1), ["4"])
            assert.deepStrictEqual(yield* Effect.forEach([here, there], (one) => one.presence.count("room")), [2, 2])
          }))
      }

      it.effect("is waited for by nobody: everything fails at once meanwhile", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const service = yield* join(server)
          const channel = yield* service.open()
          yield* service.presence.track("room", "ann")
          yield* server.stop()
          yield* lost(service)
          const asked: ReadonlyArray<Effect.Effect<unknown, PubSubError, Scope.Scope>> = [
            service.publish("a", "x"),
            service.publish("a", "x", { keep: 1 }),
            service.send(channel.name, "x"),
            service.history("a"),
            service.presence.track("room", "bob"),
            service.presence.list("room"),
            service.presence.count("room"),
            service.presence.scan("room"),
            service.flush,
            channel.track("room", "eve")
          ]
          for (const effect of asked) assert.strictEqual(yield* tagOf(effect), "Unavailable")
          yield* channel.untrack("room", "eve")
          yield* server.start
          yield* back(service)
          assert.deepStrictEqual((yield* service.presence.list("room")).map(({ key }) => key), ["ann"])
        }))

      it.effect("lets what waits for its answer fail when it goes", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const service = yield* join(server)
          yield* server.freeze
          const waiting = yield* Effect.forEach(
            [service.flush, service.send("nobody", "x"), service.publish("a", "x", { keep: 1 }), service.history("a")],
            (effect) => Effect.forkChild(tagOf(effect), { startImmediately: true })
          )
          yield* Effect.repeat(turn, { times: 20 })
          assert.isTrue(waiting.every((fiber) => fiber.pollUnsafe() === undefined))
          yield* server.stop("SIGKILL")
          const tags = yield* Effect.forEach(waiting, Fiber.join)
          assert.deepStrictEqual(tags, tags.map(() => "Unavailable"))
        }))

      it.effect(
        "takes no memory while it is away, and gets nothing of what was published then",
        () =>
          Effect.gen(function*() {
            const server = yield* NatsServer.make()
            const service = yield* join(server)
            const channel = yield* openAt(service, "a")
            yield* server.stop()
            yield* lost(service)
            const before = process.memoryUsage().arrayBuffers
            const payload = new Uint8Array(1024)
            yield* Effect.forEach(numbers(1, 100_000), () => Effect.flip(service.publish("a", payload)), {
              discard: true
            })
            assert.isBelow(process.memoryUsage().arrayBuffers - before, 20 * 1024 * 1024)
            yield* server.start
            yield* back(service)
            yield* service.publish("a", "end")
            assert.deepStrictEqual(yield* received(service, channel), ["end"])
          }),
        60_000
      )

      it.effect("shows in status, metrics and log, without credentials", () => {
        const { layer, lines } = Logs.capture()
        return Effect.gen(function*() {
          const server = yield* NatsServer.make({ config: `authorization { user: "u-s-e-r", password: "s3cret" }` })
          const service = yield* join(server, { user: "u-s-e-r", password: Redacted.make("s3cret") })
          const connected = Effect.map(
            Metric.snapshot,
            (all) =>
              all.filter(({ attributes, id }) => id === "pubsub_connected" && attributes?.["backend"] === "nats")
                .map(({ state }) => (state as { readonly value: number }).value)
          )
          assert.deepStrictEqual(yield* connected, [1])
          yield* TestClock.adjust("1 minute")
          yield* server.stop()
          yield* lost(service)
          const problem = `the connection to ${server.address} is lost`
          assert.deepStrictEqual(yield* service.status, { isConnected: false, problem, sinceMillis: 60_000 })
          assert.deepStrictEqual(yield* connected, [0])
          yield* TestClock.adjust("1 minute")
          yield* server.start
          yield* back(service)
          assert.deepStrictEqual(yield* service.status, {
            isConnected: true,
            problem: undefined,
            sinceMillis: 120_000
          })
          assert.deepStrictEqual(lines.map(({ level, message }) => [level, message]), [
            ["Warn", `PubSub lost its NATS server ${server.address} and tries to reconnect`],
            ["Info", `PubSub is connected to the NATS server ${server.address} again`]
          ])
          assert.notMatch(JSON.stringify(lines), /s3cret|u-s-e-r/)
        }).pipe(Effect.provide(layer), Effect.provideService(Metric.MetricRegistry, new Map()))
      })

      it.effect("says so before it goes in lame duck mode", () => {
        const { layer, lines } = Logs.capture()
        return Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const service = yield* join(server)
          yield* server.lame
          yield* lost(service)
          assert.strictEqual(lines[0]?.message, `The NATS server ${server.address} is about to stop`)
          yield* server.start
          yield* back(service)
          yield* service.publish("a", "x")
        }).pipe(Effect.provide(layer))
      })

      it.effect("without its histories makes old ids unknown, and numbers what comes anew", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const service = yield* join(server)
          const channel = yield* openAt(service, "a", "**")
          yield* Effect.forEach(numbers(1, 3), (n) => service.publish("a", n, { keep: 9 }))
          const ids = (yield* service.history("a")).map(({ id }) => id)
          yield* server.stop("SIGKILL")
          yield* lost(service)
          yield* server.wipe
          yield* server.start
          yield* back(service)
          assert.deepStrictEqual(yield* service.history("a"), [])
          yield* Effect.forEach(numbers(4, 7), (n) => service.publish("a", n, { keep: 9 }))
          const kept = yield* service.history("a", { after: ids[1] })
          assert.deepStrictEqual(kept.map(({ data }) => data), numbers(4, 7))
          assert.deepStrictEqual(yield* received(service, channel), numbers(1, 7))
        }))
    })

    describe("a connection that is cut", () => {
      it.effect("loses messages of that moment and nothing else, and repeats none [C223]", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const way = yield* NatsServer.way(server)
          const [here, there] = yield* Effect.all([join(server), join(way)])
          const channel = yield* openAt(there, "a", "*", "**")
          for (const round of [0, 1, 2]) {
            const before = channel.pending
            const publishing = yield* Effect.forkChild(
              Effect.forEach(
                numbers(round * 100 + 1, round * 100 + 100),
                (n) => Effect.andThen(here.publish("a", n), turn),
                { discard: true }
              ),
              { startImmediately: true }
            )
            yield* until(Effect.sync(() => channel.pending > before + 10))
            yield* way.cut
            yield* lost(there)
            yield* Fiber.join(publishing)
            yield* back(there)
          }
          yield* here.publish("a", "end")
          yield* here.flush
          const got = yield* received(there, channel)
          assert.strictEqual(got.at(-1), "end")
          const texts = got.slice(0, -1).map(Number)
          assert.deepStrictEqual(texts, [...new Set(texts)].sort((x, y) => x - y))
          assert.isAbove(texts.length, 30)
        }))

      it.effect("lets a process be forgotten after presenceTtl, and known again when it is back [C223]", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const way = yield* NatsServer.way(server)
          const [here, there] = yield* Effect.all([join(server, { presenceTtl: "30 seconds" }), join(way)])
          yield* here.presence.track("room", "ann")
          yield* there.presence.track("room", "bob", "v")
          assert.strictEqual(yield* here.presence.count("room"), 2)
          yield* way.close(true)
          yield* lost(there)
          yield* TestClock.adjust("20 seconds")
          assert.strictEqual(yield* here.presence.count("room"), 2)
          yield* TestClock.adjust("10 seconds")
          yield* until(Effect.map(here.presence.count("room"), (count) => count === 1))
          yield* way.close(false)
          yield* back(there)
          yield* until(Effect.map(here.presence.count("room"), (count) => count === 2))
          assert.deepStrictEqual(
            [...yield* here.presence.list("room")].sort((x, y) => x.key < y.key ? -1 : 1),
            [{ key: "ann", value: "" }, { key: "bob", value: "v" }]
          )
        }))
    })

    describe("subscriptions that overlap", () => {
      it.effect("deliver each message of another process once, while they come and go [C223]", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const [here, there] = yield* Effect.all([join(server), join(server)])
          const steady = yield* openAt(here, "a.b")
          const publishing = yield* Effect.forkChild(
            Effect.forEach(
              numbers(1, 2000),
              (n) =>
                Effect.andThen(
                  there.publish("a.b", n, Number(n) % 10 === 0 ? { keep: 3 } : {}),
                  Number(n) % 7 === 0 ? turn : Effect.void
                ),
              { discard: true }
            ),
            { startImmediately: true }
          )
          const restless = yield* here.open()
          const names = ["a.*", "**", "a.**", "*.b", "a.**.b", "**.b"]
          while (publishing.pollUnsafe() === undefined) {
            yield* Effect.forEach(names, (name) => restless.subscribe(name))
            yield* Effect.forEach(names, restless.unsubscribe)
            yield* taken(restless)
          }
          assert.deepStrictEqual(yield* next(steady, 2000), numbers(1, 2000))
          assert.deepStrictEqual(yield* received(here, steady), [])
        }))
    })

    describe("histories", () => {
      it.effect("need JetStream, and nothing else does", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make({ jetStream: false })
          const [here, there] = yield* Effect.all([join(server), join(server)])
          const refused = [here.publish("a", "x", { keep: 1 }), here.history("a")]
          for (const effect of refused) {
            const error = yield* Effect.flip<unknown, PubSubError, never>(effect)
            assert.strictEqual(error.reason._tag, "Unavailable")
            assert.include(error.message, "JetStream")
          }
          const channel = yield* openAt(there, "a")
          assert.strictEqual(yield* tagOf(channel.subscribe("b", { last: 1 })), "Unavailable")
          yield* here.publish("a", "1")
          yield* here.send(channel.name, "2")
          assert.deepStrictEqual(yield* next(channel, 2), ["1", "2"])
          yield* here.presence.track("room", "ann")
          assert.strictEqual(yield* there.presence.count("room"), 1)
        }))

      it.effect("take no more room than about twice what can be read of them", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const service = yield* join(server)
          yield* Effect.forEach(numbers(1, 200), (n) => service.publish("a", n, { keep: 20 }))
          yield* Effect.forEach(numbers(1, 200), (n) => service.publish("b", n, { keep: 1 }))
          const { state } = yield* NatsServer.streamInfo(server, "slipway_history")
          assert.isAtMost(state.messages, 39 + 16)
          const read = Effect.map(service.history("a"), (kept) => kept.map(({ data }) => data))
          assert.deepStrictEqual(yield* read, numbers(181, 200))
        }))

      it.effect("take over a stream that was made with other limits", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const before = yield* join(server, { historyTtl: "1 hour", maxKept: 10 })
          yield* before.publish("a", "1", { keep: 2 })
          const after = yield* join(server, { historyTtl: "2 hours", maxKept: 20 })
          yield* after.publish("a", "2", { keep: 2 })
          assert.deepStrictEqual((yield* after.history("a")).map(({ data }) => data), ["1", "2"])
          const { config } = yield* NatsServer.streamInfo(server, "slipway_history")
          assert.deepStrictEqual([config.max_age, config.max_msgs_per_subject], [2 * 3600 * 1e9, 20])
        }))

      it.effect("are made again where somebody has removed the stream", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const service = yield* join(server)
          yield* service.publish("a", "1", { keep: 2 })
          const nats = yield* NatsServer.client(server)
          const remove = Effect.promise(async () => (await jetstreamManager(nats)).streams.delete("slipway_history"))
          yield* remove
          yield* service.publish("a", "2", { keep: 2 })
          assert.deepStrictEqual((yield* service.history("a")).map(({ data }) => data), ["2"])
          yield* remove
          assert.deepStrictEqual(yield* service.history("a"), [])
        }))
    })

    describe("other programs", () => {
      it.effect("publish and subscribe with any client", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const service = yield* join(server, { prefix: "my.app" })
          const channel = yield* openAt(service, "a", "*")
          const nats = yield* NatsServer.client(server)
          const seen: Array<string> = []
          nats.subscribe("my.app.t.>", {
            callback: (_, message) => void seen.push(`${message.subject} ${message.string()}`)
          })
          nats.publish("my.app.t.a", "text")
          nats.publish("my.app.t.a", Uint8Array.of(0xff, 0))
          nats.publish("my.app.h.a", "kept only where a stream is")
          nats.publish(`my.app.p.${channel.name}`, "direct")
          yield* flushed(nats)
          yield* service.publish("a", "ours")
          yield* service.publish("a", Uint8Array.of(65))
          const got = yield* received(service, channel)
          assert.deepStrictEqual(
            got.map((data) => typeof data === "string" ? data : [...data]),
            ["text", [0xff, 0], "direct", "ours", [65]]
          )
          yield* flushed(nats)
          assert.deepStrictEqual(seen.slice(-2), ["my.app.t.a ours", "my.app.t.a A"])
        }))

      it.effect("hurt nobody with what they say, whatever it is", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const service = yield* join(server)
          const channel = yield* openAt(service, "**")
          yield* service.presence.track("room", "ann")
          const nats = yield* NatsServer.client(server)
          const ask = (from: string) => JSON.stringify({ _tag: "Ask", from, version: 1, what: "state" })
          const put = `{"_tag":"Put","from":"x","version":1,"entry":{}}`
          const words = ["", "{", "null", "[]", put, ask(""), ask("> *"), ask("nobody")]
          for (const word of words) {
            for (const subject of ["changes", "ask.all", `ask.${channel.name.split(".")[0]}`]) {
              nats.publish(`slipway.w.${subject}`, word)
            }
          }
          nats.publish("slipway.t.not a topic!".replaceAll(" ", "%"), "x")
          nats.publish(`slipway.t.${"x".repeat(101)}`, "x")
          nats.publish(`slipway.p.${channel.name}x`, "x", { reply: "slipway.answer" })
          const fields = headers()
          for (const [name, value] of [["Keep", "1e9 x"], ["Exclude", ",,"], ["Type", "?"]]) {
            fields.set(`Slipway-${name}`, value!)
          }
          fields.set("Nats-Stream", "slipway_history")
          fields.set("Nats-Sequence", "-1")
          nats.publish("slipway.t.a", "odd", { headers: fields, reply: "slipway-origin.x.y" })
          yield* flushed(nats)
          yield* service.publish("a", "end")
          assert.deepStrictEqual(yield* received(service, channel), ["odd", "end"])
          assert.strictEqual(yield* service.presence.count("room"), 1)
        }))

      it.effect("that take a direct message and never answer are no channel that got it", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const service = yield* join(server, { timeout: "1 second" })
          const nats = yield* NatsServer.client(server)
          nats.subscribe("slipway.p.silent.1", { callback: () => {} })
          yield* flushed(nats)
          assert.strictEqual(yield* tagOf(service.send("silent.1", "x")), "Unavailable")
        }))

      it.effect("with another prefix neither hear nor are heard", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const [here, there] = yield* Effect.all([join(server, { prefix: "one" }), join(server, { prefix: "two" })])
          const channel = yield* openAt(here, "**")
          yield* there.publish("a", "x", { keep: 1 })
          yield* there.presence.track("room", "ann")
          assert.strictEqual(yield* tagOf(there.send(channel.name, "x")), "UnknownChannel")
          assert.deepStrictEqual(yield* received(here, channel), [])
          assert.deepStrictEqual(yield* here.history("a"), [])
          assert.strictEqual(yield* here.presence.count("room"), 0)
        }))
    })

    describe("limits", () => {
      it.effect("of the server bound a message, headers included", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make({ config: "max_payload: 1000" })
          const service = yield* join(server)
          const channel = yield* openAt(service, "a")
          yield* service.publish("a", "x".repeat(1000))
          const { length } = "NATS/1.0\r\nSlipway-Type: bytes\r\n\r\n"
          yield* service.publish("a", new Uint8Array(1000 - length))
          const reason = yield* reasonOf(service.publish("a", new Uint8Array(1001 - length)))
          assert.deepStrictEqual(reason, { _tag: "MessageTooLarge", bytes: 1001 - length, limit: 1000 - length })
          assert.strictEqual(yield* tagOf(service.send(channel.name, "x".repeat(1001))), "MessageTooLarge")
          assert.strictEqual(yield* tagOf(service.publish("a", "x".repeat(990), { keep: 1 })), "MessageTooLarge")
          assert.strictEqual((yield* received(service, channel)).length, 2)
        }))

      it.effect("of what the server has not taken yet let a publisher wait", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const service = yield* join(server, { timeout: "1 minute" })
          yield* server.freeze
          const payload = new Uint8Array(512 * 1024)
          let published = 0
          const publishing = yield* Effect.forkChild(
            Effect.forEach(numbers(1, 40), () =>
              Effect.andThen(service.publish("a", payload), Effect.sync(() => published++))),
            { startImmediately: true }
          )
          yield* Effect.repeat(turn, { times: 50 })
          assert.strictEqual(published, 16)
          yield* server.thaw
          yield* Fiber.join(publishing)
          assert.strictEqual(published, 40)
        }))
    })

    describe("the layer", () => {
      it.effect("fails with the address when there is no server", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          yield* server.stop()
          const error = yield* Effect.flip(join(server, { password: Redacted.make("s3cret"), user: "u" }))
          assert.strictEqual((error as PubSubError).reason._tag, "Unavailable")
          assert.include((error as PubSubError).message, server.address)
          assert.notInclude(JSON.stringify(error), "s3cret")
        }))

      it.effect("uses any server of the list, and the others later", () =>
        Effect.gen(function*() {
          const [first, second] = yield* Effect.all([NatsServer.make(), NatsServer.make()])
          yield* first.stop()
          const service = yield* join({ address: `${first.address}, nats://${second.address}` })
          yield* second.stop()
          yield* lost(service)
          yield* first.start
          yield* back(service)
          yield* service.publish("a", "x")
          yield* service.flush
        }))

      it.effect("shows who it is, and fails where the server does not take it", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make({ config: `authorization { token: "s3cret" }` })
          const service = yield* join(server, { token: Redacted.make("s3cret") })
          yield* service.flush
          const error = yield* Effect.flip(join(server, { token: Redacted.make("t0ken") }))
          assert.strictEqual((error as PubSubError).reason._tag, "Unavailable")
          assert.notMatch(String(error) + JSON.stringify(error), /s3cret|t0ken/)
        }))

      it.effect("lets a subscription fail that the server does not allow", () => {
        const { layer, lines } = Logs.capture()
        return Effect.gen(function*() {
          const permissions = `{ publish: ">", subscribe: { deny: "slipway.t.secret.>" } }`
          const server = yield* NatsServer.make({
            config: `authorization { users: [{ user: u, password: p, permissions: ${permissions} }] }`
          })
          const service = yield* join(server, { user: "u", password: Redacted.make("p") })
          const channel = yield* openAt(service, "secret")
          assert.strictEqual(yield* tagOf(channel.subscribe("secret.**")), "Unavailable")
          yield* service.publish("secret", "x")
          assert.deepStrictEqual(yield* received(service, channel), ["x"])
          assert.include(lines[0]?.message, "slipway.t.secret.>")
        }).pipe(Effect.provide(layer))
      })

      it.effect("is refused by name and value when an option cannot be", () =>
        Effect.gen(function*() {
          const refused: ReadonlyArray<readonly [option: string, options: Partial<PubSubNats.Options>]> = [
            ["servers", { servers: [] }],
            ["servers", { servers: "" }],
            ["servers", { servers: "http://127.0.0.1" }],
            ["servers", { servers: "nats://u:s3cret@127.0.0.1" }],
            ["prefix", { prefix: "" }],
            ["prefix", { prefix: "a.*" }],
            ["prefix", { prefix: "a b" }],
            ["historyTtl", { historyTtl: 0 }],
            ["presenceTtl", { presenceTtl: Infinity }],
            ["timeout", { timeout: -1 }]
          ]
          for (const [option, options] of refused) {
            const error = (yield* Effect.flip(join({ address: "127.0.0.1:1" }, options))) as PubSubError
            assert.strictEqual((error.reason as { readonly option?: string }).option, option)
            assert.notInclude(error.message + JSON.stringify(error), "s3cret")
          }
        }))

      it.effect("takes its options from the configuration", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make({ config: `authorization { token: "s3cret" }` })
          const layer = PubSubNats.layerConfig({
            servers: Config.String("NATS_SERVERS"),
            token: Config.Redacted("NATS_TOKEN")
          })
          const provider = ConfigProvider.fromUnknown({ NATS_SERVERS: server.address, NATS_TOKEN: "s3cret" })
          const service = yield* build(Layer.provide(layer, ConfigProvider.layer(provider)))
          yield* service.flush
        }))

      for (
        const [how, prepare] of [
          ["stands", () => Effect.void],
          ["is away", (server: NatsServer.NatsServer) => server.stop()],
          ["does not answer", (server: NatsServer.NatsServer) => server.freeze]
        ] as const
      ) {
        it.effect(`closes when the server ${how}, and refuses what comes then`, () =>
          Effect.gen(function*() {
            const server = yield* NatsServer.make()
            const scope = yield* Scope.make()
            const service = yield* Scope.provide(join(server, { timeout: "1 second" }), scope)
            const channel = yield* openAt(service, "a")
            yield* channel.track("room", "ann")
            yield* prepare(server)
            if (how === "is away") yield* lost(service)
            yield* Scope.close(scope, Exit.void)
            for (const effect of [service.publish("a", "x"), service.flush, service.presence.count("room")]) {
              assert.strictEqual(yield* tagOf<unknown, never>(effect), "Unavailable")
            }
            assert.isFalse(yield* isConnected(service))
          }))
      }
    })
  })
}

if (NatsServer.problem === undefined) itself()
else {
  console.warn(`PubSubNats is not tested: ${NatsServer.problem}`)
  it.skip(`PubSubNats is not tested: ${NatsServer.problem}`, () => {})
}
