import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as TestClock from "effect/testing/TestClock"
import * as PubSubMemory from "../../layers/PubSubMemory.ts"
import * as TestClient from "../../layers/TestClient.ts"
import * as App from "../../src/app/App.ts"
import * as WebSocketSession from "../../src/app/WebSocketSession.ts"
import * as Channels from "../../src/middleware/Channels.ts"
import { PubSub, type PubSubError } from "../../src/service/PubSub.ts"

/** What an application received, one short word each. */
const wordFor = (event: { readonly type: string; readonly text?: string; readonly data?: unknown }): string =>
  event.type === "channel.message"
    ? `message ${String(event.data)}`
    : event.type === "websocket.receive"
    ? `client ${event.text}`
    : event.type

/** Receives until the client has gone, and says each event to `heard`. */
const listening = (
  heard: Queue.Queue<string>,
  before: (channel: Channels.Channel["Service"]) => Effect.Effect<void, PubSubError>
) =>
(exchange: App.WebSocketExchange) =>
  Effect.gen(function*() {
    const channel = yield* Channels.Channel
    yield* before(channel)
    yield* exchange.send({ type: "websocket.accept" })
    while (true) {
      const event = yield* Channels.receive(exchange)
      yield* Queue.offer(heard, wordFor(event))
      if (event.type === "websocket.disconnect") return
    }
  })

describe("Channels", () => {
  describe("receive", () => {
    it.effect("yields messages between the client's events [C223]", () =>
      Effect.gen(function*() {
        const pubsub = yield* PubSub
        const heard = yield* Queue.unbounded<string>()
        const app = App.websocket(listening(heard, (channel) => channel.subscribe("chat.*")))
        const client = yield* TestClient.make(Channels.make()(app))
        const session = yield* client.websocket("/")
        assert.strictEqual(yield* Queue.take(heard), "websocket.connect")
        yield* pubsub.publish("chat.lobby", "one")
        assert.strictEqual(yield* Queue.take(heard), "message one")
        yield* session.send("two")
        assert.strictEqual(yield* Queue.take(heard), "client two")
        yield* pubsub.publish("chat.kitchen", "three")
        yield* pubsub.publish("news", "not for it")
        yield* session.send("four")
        assert.deepStrictEqual(yield* Queue.takeN(heard, 2), ["message three", "client four"])
        yield* session.close()
        assert.strictEqual(yield* Queue.take(heard), "websocket.disconnect")
      }).pipe(Effect.provide(PubSubMemory.layer())))

    it.effect("takes turns where both kinds wait", () =>
      Effect.gen(function*() {
        const pubsub = yield* PubSub
        const heard = yield* Queue.unbounded<string>()
        const mayGoOn = yield* Deferred.make<void>()
        const app = App.websocket((exchange) =>
          Effect.gen(function*() {
            const channel = yield* Channels.Channel
            yield* channel.subscribe("t")
            yield* exchange.receive
            yield* exchange.send({ type: "websocket.accept" })
            yield* Deferred.await(mayGoOn)
            for (let i = 0; i < 8; i++) yield* Queue.offer(heard, wordFor(yield* Channels.receive(exchange)))
          })
        )
        const client = yield* TestClient.make(Channels.make()(app))
        const session = yield* client.websocket("/")
        for (const text of ["1", "2", "3", "4"]) {
          yield* session.send(text)
          yield* pubsub.publish("t", text)
        }
        yield* TestClient.settle
        yield* Deferred.succeed(mayGoOn, undefined)
        const words = yield* Queue.takeN(heard, 8)
        assert.deepStrictEqual(words.filter((word) => word.startsWith("client")), [
          "client 1",
          "client 2",
          "client 3",
          "client 4"
        ])
        assert.deepStrictEqual(words.map((word) => word[0]).join(""), "mcmcmcmc")
      }).pipe(Effect.provide(PubSubMemory.layer())))

    it.effect("keeps a client event that came when the receiver was interrupted [C224]", () =>
      Effect.gen(function*() {
        const pubsub = yield* PubSub
        const heard = yield* Queue.unbounded<string>()
        const app = App.websocket((exchange) =>
          Effect.gen(function*() {
            yield* (yield* Channels.Channel).subscribe("t")
            yield* exchange.receive
            yield* exchange.send({ type: "websocket.accept" })
            // Nothing comes for a second, again and again: each receive is interrupted.
            while (true) {
              const event = yield* Effect.timeoutOption(Channels.receive(exchange), "1 second")
              yield* Queue.offer(heard, event._tag === "Some" ? wordFor(event.value) : "nothing")
            }
          })
        )
        const client = yield* TestClient.make(Channels.make()(app))
        const session = yield* client.websocket("/")
        yield* TestClient.settle
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(yield* Queue.takeN(heard, 3), ["nothing", "nothing", "nothing"])
        yield* session.send("a")
        yield* pubsub.publish("t", "b")
        yield* session.send("c")
        const words = yield* Queue.takeN(heard, 3)
        assert.sameMembers([...words], ["client a", "message b", "client c"])
        assert.isBelow(words.indexOf("client a"), words.indexOf("client c"))
      }).pipe(Effect.provide(PubSubMemory.layer())))

    it.effect("leaves body and disconnect to http exchanges, with messages between", () =>
      Effect.gen(function*() {
        const pubsub = yield* PubSub
        const app = App.http((exchange) =>
          Effect.gen(function*() {
            const channel = yield* Channels.Channel
            yield* pubsub.send(channel.name, "hello")
            const words: Array<string> = []
            let more = true
            while (more || !words.includes("message hello")) {
              const event = yield* Channels.receive(exchange)
              words.push(wordFor(event))
              if (event.type === "http.request") more = event.more ?? false
            }
            yield* App.respond(exchange.send, 200, words.sort().join(", "))
          })
        )
        const client = yield* TestClient.make(Channels.make()(app))
        const response = yield* client.post("/", { body: "x" })
        assert.strictEqual(yield* response.text, "http.request, message hello")
      }).pipe(Effect.provide(PubSubMemory.layer())))

    it.effect("yields the client's events only where the middleware is not", () =>
      Effect.gen(function*() {
        const app = App.http((exchange) =>
          Effect.flatMap(Channels.receive(exchange), (event) => App.respond(exchange.send, 200, event.type))
        )
        const client = yield* TestClient.make(app)
        assert.strictEqual(yield* (yield* client.get("/")).text, "http.request")
      }))
  })

  describe("Channel", () => {
    it.effect("has a name of its own for each exchange, which send reaches", () =>
      Effect.gen(function*() {
        const pubsub = yield* PubSub
        const names = yield* Queue.unbounded<string>()
        const app = App.websocket((exchange) =>
          Effect.gen(function*() {
            const { name } = yield* Channels.Channel
            yield* exchange.receive
            yield* exchange.send({ type: "websocket.accept" })
            yield* Queue.offer(names, name)
            while (true) {
              const event = yield* Channels.receive(exchange)
              if (event.type === "channel.message") {
                yield* exchange.send({ type: "websocket.send", text: String(event.data) })
              }
            }
          })
        )
        const client = yield* TestClient.make(Channels.make()(app))
        const one = yield* client.websocket("/")
        const nameOfOne = yield* Queue.take(names)
        const two = yield* client.websocket("/")
        const nameOfTwo = yield* Queue.take(names)
        assert.notStrictEqual(nameOfOne, nameOfTwo)
        yield* pubsub.send(nameOfTwo, "for two")
        yield* pubsub.send(nameOfOne, "for one")
        assert.strictEqual(yield* one.receive, "for one")
        assert.strictEqual(yield* two.receive, "for two")
      }).pipe(Effect.provide(PubSubMemory.layer())))

    for (const end of ["returns", "fails", "is left by its client"] as const) {
      it.effect(`leaves everything when the exchange ${end} [C222]`, () =>
        Effect.gen(function*() {
          const pubsub = yield* PubSub
          const joined = yield* Deferred.make<void>()
          const mayEnd = yield* Deferred.make<void>()
          const app = App.websocket((exchange) =>
            Effect.gen(function*() {
              const channel = yield* Channels.Channel
              yield* channel.subscribe("chat.lobby")
              yield* channel.subscribe("chat.**")
              yield* channel.track("chat.lobby", "ada")
              yield* exchange.receive
              yield* exchange.send({ type: "websocket.accept" })
              yield* Deferred.succeed(joined, undefined)
              if (end === "is left by its client") return yield* Effect.never
              yield* Deferred.await(mayEnd)
              if (end === "fails") return yield* Effect.fail("broken")
            })
          )
          const client = yield* TestClient.make(Channels.make()(app), { raiseAppErrors: false })
          const session = yield* client.websocket("/")
          yield* Deferred.await(joined)
          assert.strictEqual(yield* pubsub.subscribers("chat.lobby"), 1)
          assert.strictEqual(yield* pubsub.presence.count("chat.lobby"), 1)
          if (end === "is left by its client") yield* session.terminate
          else yield* Deferred.succeed(mayEnd, undefined)
          yield* TestClient.settle
          // The grace that an application has after its client left.
          yield* TestClock.adjust("10 seconds")
          yield* TestClient.settle
          const { channels, patterns, topics } = yield* pubsub.stats
          assert.deepStrictEqual({ channels, patterns, topics }, { channels: 0, patterns: 0, topics: 0 })
          assert.strictEqual(yield* pubsub.presence.count("chat.lobby"), 0)
        }).pipe(Effect.provide(PubSubMemory.layer())))
    }

    it.effect("holds as many messages as its capacity says", () =>
      Effect.gen(function*() {
        const pubsub = yield* PubSub
        const app = App.http((exchange) =>
          Effect.gen(function*() {
            const { name } = yield* Channels.Channel
            yield* pubsub.send(name, "1")
            yield* pubsub.send(name, "2")
            const error = yield* Effect.flip(pubsub.send(name, "3"))
            yield* App.respond(exchange.send, 200, error.reason._tag)
          })
        )
        const client = yield* TestClient.make(Channels.make({ capacity: 2 })(app))
        assert.strictEqual(yield* (yield* client.get("/")).text, "ChannelFull")
      }).pipe(Effect.provide(PubSubMemory.layer())))
  })

  it.effect("passes the lifespan through", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const app: App.App = (exchange) => {
        seen.push(exchange.type)
        return exchange.type === "lifespan"
          ? Effect.andThen(exchange.receive, exchange.send({ type: "lifespan.startup.complete" })).pipe(Effect.orDie)
          : Effect.orDie(App.decline(exchange))
      }
      yield* TestClient.make(Channels.make()(app))
      assert.deepStrictEqual(seen, ["lifespan"])
    }).pipe(Effect.provide(PubSubMemory.layer())))

  it.effect("is invisible to a session around whose exchange it stands", () =>
    Effect.gen(function*() {
      const pubsub = yield* PubSub
      const app = App.websocket((exchange) =>
        Effect.gen(function*() {
          yield* (yield* Channels.Channel).subscribe("t")
          const session = WebSocketSession.make(exchange)
          yield* session.sendAll(session.messages)
        })
      )
      const client = yield* TestClient.make(Channels.make()(app))
      const session = yield* client.websocket("/")
      yield* TestClient.settle
      yield* pubsub.publish("t", "not for the session")
      yield* session.send("echo")
      assert.strictEqual(yield* session.receive, "echo")
    }).pipe(Effect.provide(PubSubMemory.layer())))

  it.effect("lets two receivers of one exchange share what comes", () =>
    Effect.gen(function*() {
      const pubsub = yield* PubSub
      const heard = yield* Queue.unbounded<string>()
      const app = App.websocket((exchange) =>
        Effect.gen(function*() {
          yield* (yield* Channels.Channel).subscribe("t")
          yield* exchange.receive
          yield* exchange.send({ type: "websocket.accept" })
          const one = Effect.forever(
            Effect.flatMap(Channels.receive(exchange), (event) => Queue.offer(heard, wordFor(event)))
          )
          const fibers = yield* Effect.forEach([one, one], (receiver) => Effect.forkChild(receiver))
          yield* Fiber.joinAll(fibers)
        })
      )
      const client = yield* TestClient.make(Channels.make()(app))
      const session = yield* client.websocket("/")
      yield* TestClient.settle
      for (const text of ["1", "2", "3"]) {
        yield* session.send(text)
        yield* pubsub.publish("t", text)
      }
      const words = yield* Queue.takeN(heard, 6)
      assert.sameMembers([...words], ["client 1", "client 2", "client 3", "message 1", "message 2", "message 3"])
    }).pipe(Effect.provide(PubSubMemory.layer())))

  it.effect("tells the application of a receive that dies", () =>
    Effect.gen(function*() {
      const heard = yield* Queue.unbounded<string>()
      const app = App.websocket((exchange) =>
        Effect.catchCause(
          Channels.receive(exchange),
          (cause) => Queue.offer(heard, String(Cause.squash(cause)))
        )
      )
      const client = yield* TestClient.make((exchange) =>
        exchange.type === "websocket"
          ? Channels.make()(app)(App.derive(exchange, { receive: Effect.die("broken") }))
          : App.decline(exchange)
      )
      yield* Effect.exit(client.websocket("/"))
      assert.strictEqual(yield* Queue.take(heard), "broken")
    }).pipe(Effect.provide(PubSubMemory.layer())))
})
