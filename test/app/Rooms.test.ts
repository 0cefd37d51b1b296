import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as PubSubMemory from "../../layers/PubSubMemory.ts"
import * as TestClient from "../../layers/TestClient.ts"
import * as App from "../../src/app/App.ts"
import * as Rooms from "../../src/app/Rooms.ts"
import * as SseSession from "../../src/app/SseSession.ts"
import * as WebSocketSession from "../../src/app/WebSocketSession.ts"
import { PubSub } from "../../src/service/PubSub.ts"
import { request } from "../utils/answers.ts"
import { capture } from "../utils/logs.ts"
import { serve } from "../utils/serve.ts"
import * as WebSocket from "../utils/webSocket.ts"

const memory = Effect.provide(PubSubMemory.layer())

/** Sessions that do what their clients say: a verb, a room, the rest. An answer begins with `=`. */
const obedient = App.websocket((exchange) =>
  Effect.gen(function*() {
    const session = WebSocketSession.make(exchange)
    const rooms = yield* Rooms.make(session)
    const verbs: Record<string, (room: string, rest: string) => Effect.Effect<unknown, unknown>> = {
      join: (room) => rooms.join(room),
      leave: (room) => rooms.leave(room),
      leaveAll: () => rooms.leaveAll,
      all: (room, rest) => rooms.broadcast(room, rest),
      others: (room, rest) => rooms.broadcastOthers(room, rest),
      bytes: (room, rest) => rooms.broadcast(room, Buffer.from(rest)),
      track: (room, rest) => rooms.channel.track(room, rest)
    }
    const answers: Record<string, (room: string) => unknown> = {
      who: () => rooms.channel.name,
      in: (room) => rooms.isIn(room)
    }
    yield* Stream.runForEach(session.messages, (message) => {
      const [verb = "", room = "", ...rest] = String(message).split(" ")
      const answer = Effect.suspend(() => session.send(`= ${answers[verb]?.(room) ?? rooms.joined.join()}`))
      return Effect.andThen(verbs[verb]?.(room, rest.join(" ")) ?? Effect.void, answer)
    })
  })
)

/** A client of it: `tell` says something, and gives what it is answered. */
const member = Effect.fnUntraced(function*(client: TestClient.Client, ...words: ReadonlyArray<string>) {
  const session = yield* client.websocket("/")
  const heard: Array<string | Uint8Array> = []
  const tell = Effect.fnUntraced(function*(word: string) {
    yield* session.send(word)
    while (true) {
      const message = yield* session.receive
      if (typeof message === "string" && message.startsWith("= ")) return message.slice(2)
      heard.push(message)
    }
  })
  for (const word of words) yield* tell(word)
  return { heard, session, tell }
})

/** Nobody is anywhere. */
const assertEmpty = Effect.gen(function*() {
  const pubsub = yield* PubSub
  const { channels, patterns, topics } = yield* pubsub.stats
  assert.deepStrictEqual({ channels, patterns, topics }, { channels: 0, patterns: 0, topics: 0 })
  assert.strictEqual(yield* pubsub.presence.count("lobby"), 0)
})

describe("Rooms", () => {
  describe("broadcast", () => {
    it.effect("reaches everybody in the room and nobody else, oneself where one is in it [W117] [C222]", () =>
      Effect.gen(function*() {
        const client = yield* TestClient.make(obedient)
        const ada = yield* member(client, "join lobby")
        const bob = yield* member(client, "join lobby")
        const eve = yield* member(client, "join kitchen")
        yield* ada.tell("all lobby hello")
        yield* eve.tell("all lobby from outside")
        yield* eve.tell("all kitchen alone")
        yield* ada.tell("join lobby")
        yield* bob.tell("join lobby")
        assert.deepStrictEqual(ada.heard, ["hello", "from outside"])
        assert.deepStrictEqual(bob.heard, ["hello", "from outside"])
        assert.deepStrictEqual(eve.heard, ["alone"])
      }).pipe(memory))

    it.effect("to others leaves oneself out [W117] [C222]", () =>
      Effect.gen(function*() {
        const client = yield* TestClient.make(obedient)
        const [ada, bob, eve] = yield* Effect.all([
          member(client, "join lobby"),
          member(client, "join lobby"),
          member(client, "join lobby")
        ])
        yield* ada.tell("others lobby one")
        yield* bob.tell("others lobby two")
        for (const each of [ada, bob, eve]) yield* each.tell("join lobby")
        assert.deepStrictEqual([ada.heard, bob.heard, eve.heard], [["two"], ["one"], ["one", "two"]])
      }).pipe(memory))

    it.effect("carries bytes as bytes and text as text", () =>
      Effect.gen(function*() {
        const client = yield* TestClient.make(obedient)
        const ada = yield* member(client, "join lobby", "bytes lobby \u00e4", "all lobby \u00e4")
        assert.deepStrictEqual(ada.heard, [new Uint8Array([0xc3, 0xa4]), "\u00e4"])
      }).pipe(memory))

    it.effect("encodes once, by the session's Schema, and fails for what does not fit", () =>
      Effect.gen(function*() {
        const Note = Schema.Struct({ text: Schema.String, at: Schema.Date })
        const notes = WebSocketSession.codec({ message: Note })
        const app = App.websocket((exchange) =>
          Effect.gen(function*() {
            const session = WebSocketSession.make(exchange, notes)
            const rooms = yield* Rooms.make(session)
            yield* rooms.join("lobby")
            yield* Stream.runForEach(session.messages, (note) =>
              note.text === "bad"
                ? Effect.catch(rooms.broadcast("lobby", { ...note, text: 1 as never }), (error) =>
                  rooms.broadcast("lobby", { ...note, text: error.message }))
                : rooms.broadcast("lobby", note))
          })
        )
        const client = yield* TestClient.make(app)
        const one = yield* client.websocket("/")
        const two = yield* client.websocket("/")
        yield* TestClient.settle
        const at = "1970-01-01T00:00:00.000Z"
        yield* one.sendJson({ text: "hi", at })
        yield* two.sendJson({ text: "bad", at })
        for (const session of [one, two]) {
          assert.deepStrictEqual(yield* session.receiveJson, { text: "hi", at })
          const { text } = (yield* session.receiveJson) as { readonly text: string }
          assert.match(text, /does not fit its Schema at text$/)
        }
      }).pipe(memory))

    it.effect("keeps what it is told to keep, for those who join with a replay", () =>
      Effect.gen(function*() {
        const app = App.websocket((exchange) =>
          Effect.gen(function*() {
            const session = WebSocketSession.make(exchange)
            const rooms = yield* Rooms.make(session)
            yield* rooms.join("lobby", { last: 2 })
            yield* Stream.runForEach(session.messages, (text) => rooms.broadcastOthers("lobby", text, { keep: 5 }))
          })
        )
        const client = yield* TestClient.make(app)
        const first = yield* client.websocket("/")
        for (const text of ["1", "2", "3"]) yield* first.send(text)
        yield* TestClient.settle
        const second = yield* client.websocket("/")
        assert.deepStrictEqual([yield* second.receive, yield* second.receive], ["2", "3"])
        yield* first.send("4")
        assert.strictEqual(yield* second.receive, "4")
      }).pipe(memory))

    it.effect("is possible after the end, and joining is not", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const pubsub = yield* PubSub
        const done = yield* Deferred.make<Exit.Exit<void, unknown>>()
        const app = App.websocket((exchange) =>
          Effect.gen(function*() {
            const session = WebSocketSession.make(exchange)
            const rooms = yield* Rooms.make(session)
            yield* rooms.join("lobby")
            yield* session.closed
            yield* TestClient.settle
            const last = Effect.gen(function*() {
              yield* rooms.join("lobby")
              yield* rooms.join("kitchen", { last: 5 })
              yield* rooms.leave("lobby")
              yield* rooms.leaveAll
              yield* rooms.broadcast("lobby", "gone")
              assert.deepStrictEqual([rooms.joined, rooms.isIn("lobby")], [[], false])
            })
            yield* Deferred.succeed(done, yield* Effect.exit(last))
          })
        )
        const heard = yield* Queue.unbounded<string>()
        yield* pubsub.listen("lobby", ({ data }) => void Queue.offerUnsafe(heard, String(data)))
        const client = yield* TestClient.make(app)
        const session = yield* client.websocket("/")
        yield* TestClient.settle
        yield* session.terminate
        assert.deepStrictEqual(yield* Deferred.await(done), Exit.void)
        assert.strictEqual(yield* Queue.take(heard), "gone")
        assert.strictEqual(yield* pubsub.subscribers("lobby"), 1)
        assert.strictEqual(yield* pubsub.subscribers("kitchen"), 0)
        assert.deepStrictEqual(lines.filter(({ level }) => level === "Error"), [])
      }).pipe(memory, Effect.provide(layer))
    })
  })

  describe("join and leave", () => {
    it.effect("say where one is, in the order of joining [C222]", () =>
      Effect.gen(function*() {
        const client = yield* TestClient.make(obedient)
        const ada = yield* member(client)
        assert.strictEqual(yield* ada.tell("join b"), "b")
        assert.strictEqual(yield* ada.tell("join a"), "b,a")
        assert.strictEqual(yield* ada.tell("join b"), "b,a")
        assert.strictEqual(yield* ada.tell("in a"), "true")
        assert.strictEqual(yield* ada.tell("leave b"), "a")
        assert.strictEqual(yield* ada.tell("in b"), "false")
        assert.strictEqual(yield* ada.tell("leave nowhere"), "a")
        yield* ada.tell("join c")
        assert.strictEqual(yield* ada.tell("leaveAll"), "")
        yield* ada.tell("all a unheard")
        assert.deepStrictEqual(ada.heard, [])
        assert.deepStrictEqual(yield* (yield* PubSub).topics, [])
      }).pipe(memory))

    it.effect("take patterns, and one message once [C222]", () =>
      Effect.gen(function*() {
        const client = yield* TestClient.make(obedient)
        const ada = yield* member(client, "join chat.lobby", "join chat.kitchen", "join chat.*")
        yield* ada.tell("all chat.lobby one")
        yield* ada.tell("all chat.attic two")
        yield* ada.tell("all chat.a.b three")
        yield* ada.tell("leave chat.*")
        yield* ada.tell("all chat.attic four")
        yield* ada.tell("all chat.kitchen five")
        assert.deepStrictEqual(ada.heard, ["one", "two", "five"])
      }).pipe(memory))

    it.effect("fail for names that no room can have", () =>
      Effect.gen(function*() {
        const problems = yield* Queue.unbounded<string>()
        const app = App.websocket((exchange) =>
          Effect.gen(function*() {
            const rooms = yield* Rooms.make(WebSocketSession.make(exchange))
            yield* Queue.offer(problems, (yield* Effect.flip(rooms.join("a b"))).reason._tag)
            yield* Queue.offer(problems, (yield* Effect.flip(rooms.join("**x"))).reason._tag)
            yield* Queue.offer(problems, (yield* Effect.flip(rooms.join("*", { last: 1 }))).reason._tag)
            yield* Queue.offer(problems, (yield* Effect.flip(rooms.broadcast("*", "x"))).message)
          })
        )
        const client = yield* TestClient.make(app)
        yield* client.websocket("/")
        assert.deepStrictEqual(yield* Queue.takeN(problems, 3), ["InvalidTopic", "InvalidPattern", "InvalidOption"])
        assert.match(yield* Queue.take(problems), /^"\*" cannot be a topic/)
      }).pipe(memory))

    it.effect("miss nothing and repeat nothing while messages flow", () =>
      Effect.gen(function*() {
        const pubsub = yield* PubSub
        const client = yield* TestClient.make(obedient)
        let published = 0
        const publishing = yield* Effect.forkChild(Effect.forever(
          Effect.suspend(() => Effect.andThen(pubsub.publish("lobby", String(published++)), Effect.yieldNow))
        ))
        for (let round = 0; round < 5; round++) {
          const ada = yield* member(client, "join lobby")
          while (ada.heard.length < 20) yield* ada.tell("join lobby")
          yield* ada.tell("leave lobby")
          const count = ada.heard.length
          yield* ada.tell("leave lobby")
          assert.strictEqual(ada.heard.length, count)
          const first = Number(ada.heard[0])
          assert.deepStrictEqual(ada.heard.map(Number), Array.from({ length: count }, (_, index) => first + index))
        }
        yield* Fiber.interrupt(publishing)
      }).pipe(memory))
  })

  describe("channel", () => {
    it.effect("is where direct messages reach the session", () =>
      Effect.gen(function*() {
        const pubsub = yield* PubSub
        const client = yield* TestClient.make(obedient)
        const ada = yield* member(client)
        const bob = yield* member(client)
        const name = yield* ada.tell("who")
        yield* pubsub.send(name, "for you")
        yield* pubsub.send(name, new Uint8Array([1]))
        yield* ada.tell("join x")
        yield* bob.tell("join x")
        assert.deepStrictEqual([ada.heard, bob.heard], [["for you", new Uint8Array([1])], []])
        yield* ada.session.terminate
        yield* TestClient.settle
        assert.deepStrictEqual((yield* Effect.flip(pubsub.send(name, "late"))).reason, {
          _tag: "UnknownChannel",
          channel: name
        })
      }).pipe(memory))

    it.effect("says who is there, until the session ends", () =>
      Effect.gen(function*() {
        const { presence } = yield* PubSub
        const client = yield* TestClient.make(obedient)
        const ada = yield* member(client, "track lobby ada")
        const again = yield* member(client, "track lobby ada")
        yield* member(client, "track lobby bob")
        const keys = Effect.map(presence.list("lobby"), (entries) => entries.map(({ key }) => key).sort())
        assert.deepStrictEqual(yield* keys, ["ada", "bob"])
        yield* ada.session.close()
        yield* TestClient.settle
        assert.deepStrictEqual(yield* keys, ["ada", "bob"])
        yield* again.session.terminate
        yield* TestClient.settle
        assert.deepStrictEqual(yield* keys, ["bob"])
      }).pipe(memory))
  })

  it.effect("lets nobody wait for a member that does not read, which misses what its queue has no room for", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(
        App.websocket((exchange) =>
          Effect.gen(function*() {
            const session = WebSocketSession.make(exchange)
            yield* (yield* Rooms.make(session)).join("lobby")
            yield* session.closed
          })
        ),
        { writeHighWaterMark: 4000, writeLowWaterMark: 1000, networkBufferBytes: 1000 }
      )
      const pubsub = yield* PubSub
      const slow = yield* WebSocket.open(connect)
      const quick = yield* WebSocket.open(connect)
      yield* slow.client.pause
      let heard = 0
      for (let i = 0; i < 300; i++) {
        yield* pubsub.publish("lobby", String(i).padStart(1000, "."))
        heard += (yield* quick.said).length
      }
      assert.strictEqual(heard, 300)
      yield* slow.client.resume
      const late = (yield* slow.said).length
      assert.isAtLeast(late, 100)
      assert.isBelow(late, 250)
      assert.strictEqual(late + (yield* pubsub.stats).droppedFull, 300)
      yield* pubsub.publish("lobby", "again")
      assert.deepStrictEqual(yield* slow.said, ["text again"])
    }).pipe(memory))
})

type End = (world: {
  readonly session: TestClient.WebSocketSession
  readonly mayEnd: Deferred.Deferred<void, string>
  readonly server: Scope.Closeable
}) => Effect.Effect<unknown, unknown>

const ends: Readonly<Record<string, End>> = {
  "the client closes": ({ session }) => session.close(),
  "the client terminates": ({ session }) => session.terminate,
  "the application returns": ({ mayEnd }) => Deferred.succeed(mayEnd, undefined),
  "the application fails": ({ mayEnd }) => Deferred.fail(mayEnd, "broken"),
  "the application dies": ({ mayEnd }) => Deferred.die(mayEnd, new Error("broken")),
  "the application is interrupted": ({ mayEnd }) => Deferred.interrupt(mayEnd),
  "the server stops": ({ server }) => Effect.forkDetach(Scope.close(server, Exit.void), { startImmediately: true })
}

describe("Rooms.make", () => {
  for (const [name, end] of Object.entries(ends)) {
    for (const reads of [true, false]) {
      const meanwhile = reads ? "receives" : "waits for something else"
      it.effect(`leaves everything when ${name} while the application ${meanwhile} [C222]`, () =>
        Effect.gen(function*() {
          const mayEnd = yield* Deferred.make<void, string>()
          const app = App.websocket((exchange) =>
            Effect.gen(function*() {
              const session = WebSocketSession.make(exchange)
              const rooms = yield* Rooms.make(session)
              yield* rooms.join("lobby")
              yield* rooms.join("chat.*")
              yield* rooms.channel.track("lobby", "ada")
              if (reads) yield* Effect.raceFirst(Stream.runDrain(session.messages), Deferred.await(mayEnd))
              else yield* Deferred.await(mayEnd)
            })
          )
          const server = yield* Scope.make()
          const client = yield* Scope.provide(TestClient.make(app, { raiseAppErrors: false }), server)
          const session = yield* client.websocket("/")
          yield* TestClient.settle
          const pubsub = yield* PubSub
          assert.deepInclude(yield* pubsub.stats, { channels: 1, patterns: 1, topics: 1 })
          assert.strictEqual(yield* pubsub.presence.count("lobby"), 1)
          yield* end({ mayEnd, server, session })
          yield* TestClient.settle
          // The time that a client has for its own close frame.
          yield* TestClock.adjust("30 seconds")
          yield* TestClient.settle
          yield* assertEmpty
        }).pipe(memory, Effect.provide(capture().layer)))
    }
  }

  it.effect("leaves nothing behind in a session that is over, or cannot be opened", () =>
    Effect.gen(function*() {
      const outcomes = yield* Queue.unbounded<string>()
      const before: ReadonlyArray<(session: WebSocketSession.WebSocketSession) => Effect.Effect<unknown, unknown>> = [
        (session) => session.deny(403),
        (session) => Effect.andThen(session.accept(), session.close()),
        ({ exchange }) => exchange.send({ type: "websocket.accept" }),
        ({ exchange }) => exchange.send({ type: "websocket.close" })
      ]
      for (const begin of before) {
        const app = App.websocket((exchange) => {
          const session = WebSocketSession.make(exchange)
          const making = Effect.andThen(begin(session), Rooms.make(session))
          return Effect.flatMap(
            Effect.exit(making),
            (exit) => Queue.offer(outcomes, Exit.isSuccess(exit) ? "made" : String(exit.cause))
          )
        })
        const client = yield* TestClient.make(app)
        yield* Effect.exit(client.websocket("/"))
        yield* TestClient.settle
        yield* TestClock.adjust("30 seconds")
        yield* assertEmpty
      }
      const [declined, closed, accepted, refused] = yield* Queue.takeAll(outcomes)
      assert.deepStrictEqual([declined, closed], ["made", "made"])
      for (const outcome of [accepted, refused]) assert.match(outcome!, /websocket\.accept/)
    }).pipe(memory))

  it.effect("leaves nothing behind when it is interrupted, or its client has gone before", () =>
    Effect.gen(function*() {
      const gone = yield* Deferred.make<void>()
      const app = App.websocket((exchange) =>
        Effect.gen(function*() {
          const session = WebSocketSession.make(exchange)
          if (exchange.scope.path === "/gone") {
            yield* session.accept()
            yield* session.closed
            const rooms = yield* Rooms.make(session)
            yield* rooms.join("lobby")
            yield* Deferred.succeed(gone, undefined)
          } else {
            const making = yield* Effect.forkChild(Rooms.make(session))
            yield* Fiber.interrupt(making)
          }
        })
      )
      const client = yield* TestClient.make(app)
      yield* Effect.exit(client.websocket("/interrupted"))
      yield* assertEmpty
      const session = yield* client.websocket("/gone")
      yield* session.terminate
      yield* Deferred.await(gone)
      yield* TestClient.settle
      yield* assertEmpty
    }).pipe(memory))

  it.effect("accepts a handshake, and leaves one alone that was accepted with a subprotocol", () =>
    Effect.gen(function*() {
      const app = App.websocket((exchange) =>
        Effect.gen(function*() {
          const session = WebSocketSession.make(exchange)
          if (exchange.scope.subprotocols.length > 0) yield* session.accept({ subprotocol: "chat" })
          yield* (yield* Rooms.make(session)).join("lobby")
          yield* session.closed
        })
      )
      const client = yield* TestClient.make(app)
      const plain = yield* client.websocket("/")
      const chosen = yield* client.websocket("/", { subprotocols: ["chat"] })
      assert.strictEqual(chosen.subprotocol, "chat")
      yield* TestClient.settle
      yield* (yield* PubSub).publish("lobby", "hello")
      assert.deepStrictEqual([yield* plain.receive, yield* chosen.receive], ["hello", "hello"])
    }).pipe(memory))

  describe("on sse", () => {
    const Note = Schema.Struct({ text: Schema.String, at: Schema.Date })
    const app = App.sse((exchange) =>
      Effect.gen(function*() {
        const session = SseSession.make(exchange, { data: Note })
        const rooms = yield* Rooms.make(session)
        yield* rooms.join("lobby", session.lastEventId === undefined ? {} : { after: session.lastEventId })
        yield* rooms.join("chat.*")
        yield* rooms.channel.track("lobby", exchange.scope.path)
        if (exchange.scope.path === "/short") return
        if (exchange.scope.path === "/broken") return yield* Effect.fail("broken")
        yield* rooms.broadcast("hall", { text: rooms.channel.name, at: new Date(0) })
        yield* rooms.broadcastOthers("lobby", { text: exchange.scope.path, at: new Date(0) }, { keep: 10 })
        yield* session.closed
      })
    )
    const noteOf = (text: string) => `{"text":"${text}","at":"1970-01-01T00:00:00.000Z"}`

    it.effect("sends what is broadcast as events, in the rooms that the session is in [W117] [C222]", () =>
      Effect.gen(function*() {
        const pubsub = yield* PubSub
        const client = yield* TestClient.make(app)
        const names = yield* Queue.unbounded<string>()
        yield* pubsub.listen("hall", ({ data }) => void Queue.offerUnsafe(names, JSON.parse(String(data)).text))
        const one = yield* client.sse("/one")
        const nameOfOne = yield* Queue.take(names)
        const two = yield* client.sse("/two")
        yield* Queue.take(names)
        assert.strictEqual((yield* one.next).data, noteOf("/two"))
        yield* pubsub.publish("chat.kitchen", "by pattern")
        yield* pubsub.publish("elsewhere", "unheard")
        yield* pubsub.send(nameOfOne, Buffer.from("direct \u00e4"))
        assert.deepStrictEqual([(yield* one.next).data, (yield* one.next).data], ["by pattern", "direct \u00e4"])
        assert.strictEqual((yield* two.next).data, "by pattern")
      }).pipe(memory))

    it.effect("goes on where a returning client left off [C213]", () =>
      Effect.gen(function*() {
        const client = yield* TestClient.make(app)
        const scope = yield* Scope.make()
        const one = yield* Scope.provide(client.sse("/one"), scope)
        yield* TestClient.settle
        yield* client.sse("/two")
        const { id } = yield* one.next
        yield* Scope.close(scope, Exit.void)
        yield* client.sse("/three")
        yield* TestClient.settle
        const back = yield* client.sse("/back", { lastEventId: id! })
        assert.strictEqual((yield* back.next).data, noteOf("/three"))
      }).pipe(memory))

    for (const path of ["/short", "/broken", "/left"]) {
      it.effect(`leaves everything at the end of ${path} [C222]`, () =>
        Effect.gen(function*() {
          const client = yield* TestClient.make(app, { raiseAppErrors: false })
          const scope = yield* Scope.make()
          const session = yield* Scope.provide(client.sse(path), scope)
          yield* TestClient.settle
          if (path === "/left") assert.deepInclude(yield* (yield* PubSub).stats, { channels: 1, topics: 1 })
          else yield* session.closed
          yield* Scope.close(scope, Exit.void)
          yield* TestClient.settle
          yield* TestClock.adjust("30 seconds")
          yield* assertEmpty
        }).pipe(memory, Effect.provide(capture().layer)))
    }

    it.effect("meets a WebSocket in the same room", () =>
      Effect.gen(function*() {
        const both = App.byType<unknown, PubSub>({
          sse: app,
          websocket: (exchange) =>
            Effect.gen(function*() {
              const session = WebSocketSession.make(exchange, { message: Note })
              const rooms = yield* Rooms.make(session)
              yield* Stream.runForEach(session.messages, (note) => rooms.broadcastOthers("lobby", note))
            })
        })
        const client = yield* TestClient.make(both)
        const listener = yield* client.sse("/listener")
        const speaker = yield* client.websocket("/")
        yield* TestClient.settle
        yield* speaker.send(noteOf("hello"))
        assert.strictEqual((yield* listener.next).data, noteOf("hello"))
      }).pipe(memory))
  })

  it.effect("dies for a session that others have made", () =>
    Effect.gen(function*() {
      const exit = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
      const app = App.websocket((exchange) =>
        Effect.flatMap(
          Effect.exit(Rooms.make({ ...WebSocketSession.make(exchange) } as WebSocketSession.WebSocketSession)),
          (made) => Deferred.succeed(exit, made)
        )
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("GET /", WebSocket.handshakeLines))
      assert.match(String(yield* Deferred.await(exit)), /was not made by SseSession.make or WebSocketSession.make/)
    }).pipe(memory, Effect.provide(capture().layer)))
})
