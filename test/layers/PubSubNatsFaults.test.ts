/** PubSub over NATS where a server is slow or small: what is bounded, what is refused, and how it is said. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as PubSubNats from "../../layers/PubSubNats.ts"
import { PubSub } from "../../src/service/PubSub.ts"
import { numbers, reasonOf, received, type Service, turn, until } from "../contract/PubSub/subject.ts"
import * as Logs from "../utils/logs.ts"
import * as NatsServer from "../utils/natsServer.ts"

const join = (server: { readonly address: string }, options: Partial<PubSubNats.Options> = {}) =>
  Effect.map(
    Layer.build(Layer.fresh(PubSubNats.layer({ servers: server.address, ...options }))),
    (context) => Context.get(context, PubSub)
  )

const connected = (service: Service) => until(Effect.map(service.status, ({ isConnected }) => isConnected))
const lost = (service: Service) => until(Effect.map(service.status, ({ isConnected }) => !isConnected))

const turns = (times: number) => Effect.forEach(numbers(1, times), () => turn, { discard: true })

const itself = () => {
  describe("PubSubNats", () => {
    for (const name of ["a", "b.*"]) {
      it.effect(
        `is subscribed once to what was left and joined again at the same time: ${name} [C223]`,
        () =>
          Effect.gen(function*() {
            const server = yield* NatsServer.make()
            const service = yield* join(server)
            for (let round = 0; round < 25; round++) {
              const scope = yield* Scope.make()
              const joining = yield* Effect.forkChild(Scope.provide(service.listen(name, () => {}), scope), {
                startImmediately: true
              })
              yield* turns(round % 5)
              yield* Fiber.interrupt(joining)
              yield* Scope.close(scope, Exit.void)
              yield* turns(Math.floor(round / 5) % 5)
              yield* Effect.scoped(Effect.gen(function*() {
                const channel = yield* service.open()
                yield* channel.subscribe(name)
                yield* service.publish(name.replace("*", "x"), String(round))
                assert.deepStrictEqual(yield* received(service, channel), [String(round)])
              }))
            }
          }),
        60_000
      )
    }

    it.effect("has 5,000 topics again after a restart of the server [C223]", () =>
      Effect.gen(function*() {
        const server = yield* NatsServer.make()
        const service = yield* join(server)
        const channel = yield* service.open({ capacity: 10_000 })
        const topics = numbers(1, 5000)
        yield* Effect.forEach(topics, (n) => channel.subscribe(`topic.${n}`), {
          concurrency: "unbounded",
          discard: true
        })
        yield* server.stop("SIGKILL")
        yield* lost(service)
        yield* server.start
        yield* connected(service)
        yield* Effect.forEach(topics, (n) => service.publish(`topic.${n}`, n), { discard: true })
        assert.deepStrictEqual(yield* received(service, channel), topics)
      }))

    it.effect("comes back when the server cut it off because it reads too slowly [C223]", () =>
      Effect.gen(function*() {
        const server = yield* NatsServer.make({ config: `max_pending: 2MB\nwrite_deadline: "100ms"` })
        const way = yield* NatsServer.way(server)
        const [here, slow] = yield* Effect.all([join(server), join(way)])
        const channel = yield* slow.open()
        yield* Effect.forEach(["a", "b.*"], (name) => channel.subscribe(name))
        yield* way.hold(true)
        const noticed = yield* Effect.forkChild(lost(slow), { startImmediately: true })
        const payload = new Uint8Array(512 * 1024)
        yield* Effect.forEach(numbers(1, 100), () => here.publish("a", payload), { discard: true })
        yield* here.flush
        yield* way.hold(false)
        yield* Fiber.join(noticed)
        yield* connected(slow)
        yield* here.publish("a", "1")
        yield* here.publish("b.c", "2")
        yield* here.send(channel.name, "3")
        assert.deepStrictEqual((yield* received(slow, channel)).slice(-3), ["1", "2", "3"])
      }))

    it.effect(
      "brings what several processes publish at once to all, once and in the order of each, replayed or not [C223]",
      () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const services = yield* Effect.all([join(server), join(server), join(server)])
          const publishing = yield* Effect.forEach(["x", "y"], (letter, i) =>
            Effect.forkChild(
              Effect.forEach(
                numbers(1, 200),
                (n) => Effect.andThen(services[i]!.publish("a", letter + n, { keep: 1000 }), turn),
                { discard: true }
              ),
              { startImmediately: true }
            ))
          const channels = yield* Effect.forEach(numbers(0, 9), (n) =>
            Effect.gen(function*() {
              const channel = yield* services[Number(n) % 3]!.open({ capacity: 1000 })
              yield* channel.subscribe("a", { after: "0" })
              yield* turns(5)
              return channel
            }))
          yield* Effect.forEach(publishing, Fiber.join)
          const kept = (yield* services[0].history("a")).map(({ data }) => data)
          assert.strictEqual(kept.length, 400)
          for (const [i, channel] of channels.entries()) {
            const got = yield* received(services[i % 3]!, channel)
            for (const letter of ["x", "y"]) {
              const own = got.filter((data) => String(data).startsWith(letter))
              assert.deepStrictEqual(own, numbers(1, 200).map((n) => letter + n))
            }
            assert.sameMembers(got, kept)
          }
        }),
      60_000
    )

    describe("a server that does not answer", () => {
      it.effect("is asked no more than maxPending questions", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const service = yield* join(server, { maxPending: 10 })
          yield* server.freeze
          const asking = yield* Effect.forEach(
            numbers(1, 20),
            () => Effect.forkChild(reasonOf(service.send("process.1", "x")), { startImmediately: true })
          )
          const refused = asking.flatMap((fiber) => fiber.pollUnsafe() ?? [])
          assert.strictEqual(refused.length, 10)
          const problem = "10 answers are waited for, which is maxPending"
          for (const exit of refused) assert.deepStrictEqual(exit, Exit.succeed({ _tag: "Unavailable", problem }))
          yield* server.thaw
          const reasons = yield* Effect.forEach(asking, Fiber.join)
          assert.strictEqual(reasons.filter(({ _tag }) => _tag === "UnknownChannel").length, 10)
          assert.strictEqual((yield* reasonOf(service.send("process.1", "x")))._tag, "UnknownChannel")
        }), 60_000)

      it.effect("is sent no more than a few MiB, direct messages and kept ones alike", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make()
          const service = yield* join(server, { timeout: "1 minute" })
          const channel = yield* service.open({ capacity: 1000 })
          yield* channel.subscribe("a")
          yield* service.publish("a", "first", { keep: 1 })
          yield* server.freeze
          const payload = "x".repeat(1024 * 1024 - 200)
          const before = process.memoryUsage().arrayBuffers
          const waiting = yield* Effect.forEach(numbers(1, 200), (n) =>
            Effect.forkChild(
              Number(n) % 2 === 0
                ? service.send(channel.name, payload)
                : service.publish("a", payload, { keep: 1 }),
              { startImmediately: true }
            ))
          yield* turns(20)
          assert.isBelow(process.memoryUsage().arrayBuffers - before, 100 * 1024 * 1024)
          yield* server.thaw
          yield* Effect.forEach(waiting, Fiber.join)
          assert.strictEqual((yield* received(service, channel)).length, 201)
        }), 60_000)
    })

    describe("a server with a small max_payload", () => {
      it.effect("refuses with the limit that the payload has, behind its headers", () =>
        Effect.gen(function*() {
          const server = yield* NatsServer.make({ config: "max_payload: 1024" })
          const [service, other] = yield* Effect.all([join(server), join(server)])
          const channel = yield* service.open()
          yield* channel.subscribe("a")
          const sendings = (data: Uint8Array) => [
            service.publish("a", data),
            service.publish("a", data, { keep: 1 }),
            service.send(channel.name, data)
          ]
          for (const [i, sending] of sendings(new Uint8Array(1020)).entries()) {
            const reason = yield* reasonOf(sending)
            assert.ok(reason._tag === "MessageTooLarge")
            assert.strictEqual(reason.bytes, 1020)
            assert.isBelow(reason.limit, 1020)
            yield* sendings(new Uint8Array(reason.limit))[i]!
          }
          assert.strictEqual((yield* received(service, channel)).length, 3)
          yield* Effect.forEach(numbers(1, 30), (key) => service.presence.track("room", key, "v".repeat(200)))
          assert.strictEqual(yield* other.presence.count("room"), 30)
        }), 60_000)
    })

    it.effect("says once what the server refuses, however often it does", () => {
      const { layer, lines } = Logs.capture()
      return Effect.gen(function*() {
        const server = yield* NatsServer.make({
          config: `authorization { users: [{ user: u, password: p, permissions: {
            publish: { deny: "slipway.t.secret" }, subscribe: ">" } }] }`
        })
        const service = yield* join(server, { user: "u", password: Redacted.make("p") })
        const channel = yield* service.open()
        yield* Effect.forEach(["a", "secret"], (name) => channel.subscribe(name))
        yield* Effect.forEach(numbers(1, 50), (n) => service.publish("secret", n), { discard: true })
        yield* service.publish("a", "x")
        assert.deepStrictEqual(yield* received(service, channel), ["x"])
        yield* turns(10)
        assert.strictEqual(lines.length, 1)
        assert.include(lines[0]?.message, "slipway.t.secret")
      }).pipe(Effect.provide(layer))
    })
  })
}

if (NatsServer.problem === undefined) itself()
else it.skip(`PubSubNats is not tested: ${NatsServer.problem}`, () => {})
