import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import type * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import { capture } from "../../utils/logs.ts"
import { serve } from "../../utils/serve.ts"
import * as Ws from "../../utils/webSocket.ts"

const { close, frame, serveSockets, text } = Ws

/** A recorded session that has been accepted. */
const recorded = Effect.fnUntraced(function*(options: ServerMemory.Options = {}) {
  const recording = Ws.recording()
  const { connect, server } = yield* serveSockets(recording.app, options)
  const session = yield* Ws.open(connect)
  return { ...recording, session, server }
})

/** An open session whose application does what the test says, and what it has received by then. */
const driven = Effect.fnUntraced(function*<E>(
  act: (exchange: App.WebSocketExchange) => Effect.Effect<void, E>,
  options: ServerMemory.Options = {}
) {
  const events: Array<object> = []
  const ends: Array<string> = []
  const go = yield* Deferred.make<void>()
  const exchanges: Array<App.WebSocketExchange> = []
  const { connect, server } = yield* serveSockets((exchange) =>
    Effect.gen(function*() {
      exchanges.push(exchange)
      exchange.connection.onDisconnect((reason) => ends.push(`disconnect ${reason}`))
      exchange.connection.onComplete(() => ends.push("complete"))
      yield* exchange.receive
      yield* exchange.send({ type: "websocket.accept" })
      yield* Deferred.await(go)
      yield* act(exchange)
    }), options)
  const session = yield* Ws.open(connect)
  return { session, server, events, ends, exchange: exchanges[0]!, go: Deferred.succeed(go, void 0) }
})

const receiveInto = (events: Array<object>) => ({ receive }: App.WebSocketExchange) =>
  Effect.asVoid(
    Effect.repeat(Effect.tap(receive, (event) => Effect.sync(() => events.push(event))), {
      until: (event) => event.type === "websocket.disconnect"
    })
  )

describe("WebSocket close frames from the client", () => {
  const valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
  for (const code of valid) {
    it.effect(`takes ${code}, echoes it and tells the application [C68] [C69]`, () =>
      Effect.gen(function*() {
        const { ends, events, session } = yield* recorded()
        yield* session.send(close(code, "tschüß"))
        assert.deepStrictEqual(yield* session.said, [`close ${code}`])
        assert.isTrue(yield* session.client.isEnded)
        assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code, reason: "tschüß" }])
        assert.deepStrictEqual(ends, ["complete"])
      }))
  }

  it.effect("tells 1005 where there is no code, and echoes none [C69]", () =>
    Effect.gen(function*() {
      const { ends, events, exchanges, server, session } = yield* recorded()
      yield* session.send(close())
      assert.deepStrictEqual(yield* session.said, ["close"])
      assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code: 1005, reason: "" }])
      assert.deepStrictEqual(ends, ["complete"])
      const { disconnectReason, isConnected, responseComplete } = exchanges[0]!.connection
      assert.deepStrictEqual([disconnectReason, isConnected, responseComplete], [undefined, false, true])
      assert.deepInclude(yield* server.stats, { exchanges: 0, connections: 1 })
      yield* session.client.end
      assert.deepInclude(yield* server.stats, { exchanges: 0, connections: 0 })
    }))

  it.effect("takes a reason of 123 bytes", () =>
    Effect.gen(function*() {
      const { events, session } = yield* recorded()
      yield* session.send(close(1000, "x".repeat(123)))
      assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code: 1000, reason: "x".repeat(123) }])
    }))

  for (const code of [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]) {
    it.effect(`answers ${code}, which no Close frame may hold, with 1002 [C68]`, () =>
      Effect.gen(function*() {
        const { ends, events, session } = yield* recorded()
        yield* session.send(close(code))
        assert.deepStrictEqual(yield* session.said, ["close 1002"])
        assert.isTrue(yield* session.client.isEnded)
        assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code: 1002, reason: "protocol_error" }])
        assert.deepStrictEqual(ends, ["disconnect protocol_error"])
      }))
  }

  for (
    const [what, payload, code] of [
      ["one byte [C68]", Buffer.from([3]), 1002],
      ["a reason that is not UTF-8 [C66]", Buffer.from([3, 0xe8, 0xc3, 0x28]), 1007],
      ["a reason that ends inside a character [C66]", Buffer.from([3, 0xe8, 0xe2, 0x82]), 1007]
    ] as const
  ) {
    it.effect(`answers a Close frame of ${what} with ${code}`, () =>
      Effect.gen(function*() {
        const { ends, events, session } = yield* recorded()
        yield* session.send(frame(8, payload))
        assert.deepStrictEqual(yield* session.said, [`close ${code}`])
        assert.isTrue(yield* session.client.isEnded)
        assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code, reason: "protocol_error" }])
        assert.deepStrictEqual(ends, ["disconnect protocol_error"])
      }))
  }

  it.effect("gives the messages in front of a Close frame first", () =>
    Effect.gen(function*() {
      const found: Array<object> = []
      const { ends, go, session } = yield* driven(receiveInto(found))
      yield* session.send(text("one"), text("two"), close(4000, "done"))
      assert.deepStrictEqual(yield* session.said, ["close 4000"])
      assert.deepStrictEqual(ends, ["complete"])
      yield* go
      assert.deepStrictEqual(found.map((event) => ({ ...event })), [
        { type: "websocket.receive", text: "one" },
        { type: "websocket.receive", text: "two" },
        { type: "websocket.disconnect", code: 4000, reason: "done" }
      ])
    }))

  it.effect("makes every send after it nothing", () =>
    Effect.gen(function*() {
      const results: Array<string> = []
      const { go, session } = yield* driven(({ send }) =>
        Effect.gen(function*() {
          yield* send({ type: "websocket.send", text: "late" })
          yield* send({ type: "websocket.keepalive", interval: 1 })
          yield* send({ type: "websocket.close", code: 1001 })
          results.push("all fine")
        })
      )
      yield* session.send(close(1000))
      assert.deepStrictEqual(yield* session.said, ["close 1000"])
      yield* go
      assert.deepStrictEqual(results, ["all fine"])
      assert.deepStrictEqual(yield* session.said, [])
    }))

  it.effect("waits two seconds for the client to end the connection, then cuts it", () =>
    Effect.gen(function*() {
      const { server, session } = yield* recorded()
      yield* session.send(close(1000))
      assert.isTrue(yield* session.client.isEnded)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* server.stats).connections, 1)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* server.stats).connections, 0)
    }))
})

describe("WebSocket close by the application", () => {
  for (
    const [event, said] of [
      [{}, "close 1000"],
      [{ code: 1000, reason: "bye" }, "close 1000 bye"],
      [{ code: 1001 }, "close 1001"],
      [{ code: 1012 }, "close 1012"],
      [{ code: 1014 }, "close 1014"],
      [{ code: 3000, reason: "ü".repeat(61) }, `close 3000 ${"ü".repeat(61)}`],
      [{ code: 4999 }, "close 4999"]
    ] as const
  ) {
    it.effect(`sends ${JSON.stringify(said.slice(0, 20))} and waits for the client's answer`, () =>
      Effect.gen(function*() {
        const found: Array<object> = []
        const { ends, go, session } = yield* driven((exchange) =>
          Effect.andThen(exchange.send({ type: "websocket.close", ...event }), receiveInto(found)(exchange))
        )
        yield* go
        assert.deepStrictEqual(yield* session.said, [said])
        assert.isFalse(yield* session.client.isEnded)
        assert.deepStrictEqual([found, ends], [[], []])
        yield* session.send(text("too late"), close(1000, "fine"))
        assert.isTrue(yield* session.client.isEnded)
        assert.deepStrictEqual(yield* session.said, [])
        assert.deepStrictEqual(found, [{ type: "websocket.disconnect", code: 1000, reason: "fine" }])
        assert.deepStrictEqual(ends, ["complete"])
      }))
  }

  it.effect("refuses a close that cannot be sent, and everything after one that was", () =>
    Effect.gen(function*() {
      const errors: Array<string> = []
      const events: ReadonlyArray<object> = [
        ...[1004, 1005, 1006, 1015, 999, 2000, 5000, 1000.5, "1000", null].map((code) => ({ code })),
        { reason: "x".repeat(124) },
        { reason: "ü".repeat(62) },
        { reason: 5 }
      ]
      const { connect } = yield* serve(App.websocket((exchange) =>
        Effect.gen(function*() {
          const { send } = exchange
          yield* send({ type: "websocket.accept" })
          for (const event of events) {
            const { reason } = yield* Effect.flip(send({ type: "websocket.close", ...event }))
            errors.push(`${reason._tag} ${"field" in reason ? reason.field : ""}`)
          }
          yield* send({ type: "websocket.close" })
          for (
            const event of [
              { type: "websocket.close" },
              { type: "websocket.send", text: "a" },
              { type: "websocket.accept" },
              { type: "websocket.keepalive", interval: 1 }
            ] as const
          ) errors.push((yield* Effect.flip(send(event))).message)
          yield* Ws.ended(exchange)
        })
      ))
      const session = yield* Ws.open(connect)
      assert.deepStrictEqual(yield* session.said, ["close 1000"])
      assert.deepStrictEqual(errors.splice(0, events.length), [
        ...Array.from({ length: 10 }, () => "InvalidField code"),
        ...Array.from({ length: 3 }, () => "InvalidField reason")
      ])
      assert.strictEqual(errors.length, 4)
      for (const error of errors) assert.match(error, /the session is closed/)
      yield* session.send(close(1000))
    }))

  it.effect("waits wsCloseTimeout for the answer, then cuts; the session is over as well [C75]", () =>
    Effect.gen(function*() {
      const found: Array<object> = []
      const { ends, go, server, session } = yield* driven(
        (exchange) => Effect.andThen(exchange.send({ type: "websocket.close" }), receiveInto(found)(exchange)),
        { wsCloseTimeout: "4 seconds" }
      )
      yield* go
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual([found, ends], [[], []])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(found, [{ type: "websocket.disconnect", code: 1006, reason: "" }])
      assert.deepStrictEqual(ends, ["complete"])
      assert.isTrue(yield* session.client.isEnded)
      assert.deepInclude(yield* server.stats, { exchanges: 0, connections: 0 })
    }))

  it.effect("reads on after its close although the application has stopped receiving", () =>
    Effect.gen(function*() {
      const { ends, go, session } = yield* driven((exchange) =>
        Effect.andThen(exchange.send({ type: "websocket.close" }), Ws.ended(exchange))
      )
      // More than are read while nobody takes them.
      for (let n = 0; n < 5; n++) yield* session.send(...Array.from({ length: 20 }, () => text("x".repeat(5000))))
      assert.isAbove(yield* session.client.unsentBytes, 0)
      yield* go
      yield* session.send(close(1000))
      assert.deepStrictEqual(ends, ["complete"])
      assert.isTrue(yield* session.client.isEnded)
    }))

  it.effect("does not answer pings and faults behind its close with frames", () =>
    Effect.gen(function*() {
      const found: Array<object> = []
      const { ends, go, session } = yield* driven((exchange) =>
        Effect.andThen(exchange.send({ type: "websocket.close" }), receiveInto(found)(exchange))
      )
      yield* go
      assert.deepStrictEqual(yield* session.said, ["close 1000"])
      yield* session.send(Ws.ping("x"), frame(3))
      assert.deepStrictEqual(yield* session.said, [])
      assert.isTrue(yield* session.client.isEnded)
      assert.deepStrictEqual(found, [{ type: "websocket.disconnect", code: 1002, reason: "protocol_error" }])
      assert.deepStrictEqual(ends, ["disconnect protocol_error"])
    }))

  const breaks: ReadonlyArray<readonly [what: string, act: (client: ServerMemory.Client) => Effect.Effect<void>]> = [
    ["the end of the connection", (client) => client.end],
    ["a reset", (client) => client.reset],
    ["an error of reading", (client) => client.fail("ETIMEDOUT", "read")],
    ["an error of writing", (client) => client.fail("ETIMEDOUT", "write")]
  ]
  for (const [what, act] of breaks) {
    it.effect(`is complete when the client answers with ${what}`, () =>
      Effect.gen(function*() {
        const found: Array<object> = []
        const { ends, go, server, session } = yield* driven((exchange) =>
          Effect.andThen(exchange.send({ type: "websocket.close" }), receiveInto(found)(exchange))
        )
        yield* go
        yield* act(session.client)
        assert.deepStrictEqual(found, [{ type: "websocket.disconnect", code: 1006, reason: "" }])
        assert.deepStrictEqual(ends, ["complete"])
        assert.deepInclude(yield* server.stats, { exchanges: 0, connections: 0 })
      }))
  }
})

describe("WebSocket ends", () => {
  it.effect("sends 1000 when the application returns, and is complete with the client's answer [C76]", () =>
    Effect.gen(function*() {
      const { ends, go, server, session } = yield* driven(({ send }) => send({ type: "websocket.send", text: "last" }))
      yield* go
      assert.deepStrictEqual(yield* session.said, ["text last", "close 1000"])
      assert.deepStrictEqual(ends, [])
      yield* session.send(close(1000))
      assert.deepStrictEqual(ends, ["complete"])
      assert.strictEqual((yield* server.stats).exchanges, 0)
    }))

  for (
    const [what, fail] of [
      ["fails", Effect.fail("no")],
      ["dies", Effect.die(new Error("no"))],
      [
        "throws",
        Effect.suspend((): Effect.Effect<void> => {
          throw new Error("no")
        })
      ]
    ] as const
  ) {
    it.effect(`sends 1011, tells nothing and logs when the application ${what} [C76]`, () => {
      const logs = capture()
      return Effect.gen(function*() {
        const { ends, exchange, go, session } = yield* driven(() => fail as Effect.Effect<void>)
        yield* go
        assert.deepStrictEqual(yield* session.said, ["close 1011"])
        assert.deepStrictEqual(ends, ["disconnect server_error"])
        assert.strictEqual(exchange.connection.disconnectReason, "server_error")
        const errors = logs.lines.filter(({ level }) => level === "Error")
        assert.strictEqual(errors.length, 1)
        assert.match(errors[0]!.message, /^The application failed on GET "\/"/)
        yield* session.send(close(1011))
        assert.isTrue(yield* session.client.isEnded)
      }).pipe(Effect.provide(logs.layer))
    })
  }

  for (
    const [what, leave, reason] of [
      ["ends its side", (client: ServerMemory.Client) => client.end, "client_closed"],
      ["resets", (client: ServerMemory.Client) => client.reset, "client_closed"],
      [
        "is cut off by a reading error",
        (client: ServerMemory.Client) => client.fail("ETIMEDOUT", "read"),
        "read_error"
      ],
      [
        "is cut off by a writing error",
        (client: ServerMemory.Client) => client.fail("ETIMEDOUT", "write"),
        "write_error"
      ]
    ] as const
  ) {
    it.effect(`tells 1006 and ${reason} when the client ${what} without a Close frame [C70]`, () =>
      Effect.gen(function*() {
        const { ends, events, exchanges, server, session } = yield* recorded()
        yield* session.send(text("one"), text("two").subarray(0, 5))
        yield* leave(session.client)
        assert.deepStrictEqual(events.slice(1), [{ type: "websocket.disconnect", code: 1006, reason }])
        assert.deepStrictEqual(ends, [`disconnect ${reason}`])
        assert.strictEqual(exchanges[0]!.connection.disconnectReason, reason)
        assert.deepInclude(yield* server.stats, { exchanges: 0, connections: 0 })
      }))
  }

  it.effect("sets the facts, then the deferred, the callbacks and the event, in this order", () =>
    Effect.gen(function*() {
      const order: Array<string> = []
      const { exchange, go, session } = yield* driven(({ connection, receive }) =>
        Effect.gen(function*() {
          connection.onDisconnect((reason) =>
            order.push(`callback ${reason} ${connection.isConnected} ${connection.disconnectReason}`)
          )
          yield* Effect.forkChild(Effect.map(connection.disconnected, (reason) => order.push(`deferred ${reason}`)), {
            startImmediately: true
          })
          order.push((yield* receive).type)
        })
      )
      yield* go
      assert.isTrue(exchange.connection.isConnected)
      yield* session.client.reset
      assert.deepStrictEqual(order, [
        "deferred client_closed",
        "callback client_closed false client_closed",
        "websocket.disconnect"
      ])
    }))

  it.effect("gives the application disconnectGrace after its last event, then interrupts it and runs its finalizers", () =>
    Effect.gen(function*() {
      const found: Array<string> = []
      const { exchange, go, server, session } = yield* driven(
        ({ receive }) =>
          Effect.gen(function*() {
            found.push((yield* receive).type)
            yield* Effect.never
          }).pipe(Effect.ensuring(Effect.sync(() => found.push("finalized")))),
        { disconnectGrace: "3 seconds" }
      )
      yield* go
      yield* session.client.reset
      assert.deepStrictEqual(found, ["websocket.disconnect"])
      assert.isFalse(exchange.connection.isConnected)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(found, ["websocket.disconnect"])
      assert.strictEqual((yield* server.stats).exchanges, 1)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(found, ["websocket.disconnect", "finalized"])
      assert.strictEqual((yield* server.stats).exchanges, 0)
    }))

  it.effect("interrupts an application that forgets to receive, after a Close frame of the client as well", () =>
    Effect.gen(function*() {
      const found: Array<string> = []
      const { connect, server } = yield* serveSockets(({ send }) =>
        Effect.andThen(send({ type: "websocket.accept" }), Effect.never).pipe(
          Effect.onInterrupt(() => Effect.sync(() => found.push("interrupted")))
        )
      )
      // The Close frame of the second comes with its handshake.
      const first = yield* Ws.open(connect)
      yield* Ws.open(connect, { behind: close(1000) })
      yield* first.send(close(1000))
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(found, [])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(found, ["interrupted"])
      // The other was still starting then: its grace begins with the end of its connection.
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(found, ["interrupted", "interrupted"])
      assert.deepInclude(yield* server.stats, { exchanges: 0, connections: 0 })
    }))

  it.effect("repeats the disconnect to whoever asks again", () =>
    Effect.gen(function*() {
      const found: Array<object> = []
      const { go, session } = yield* driven(({ receive }) =>
        Effect.gen(function*() {
          for (let n = 0; n < 3; n++) found.push(yield* receive)
        })
      )
      yield* go
      yield* session.send(close(4001, "x"))
      const event = { type: "websocket.disconnect", code: 4001, reason: "x" }
      assert.deepStrictEqual(found, [event, event, event])
    }))

  it.effect("gives the disconnect to every fiber that waits", () =>
    Effect.gen(function*() {
      const found: Array<string> = []
      const { go, session } = yield* driven(({ receive }) =>
        Effect.asVoid(
          Effect.all([receive, receive, receive].map((one) => Effect.map(one, (event) => found.push(event.type))), {
            concurrency: 3
          })
        )
      )
      yield* go
      yield* session.send(text("a"), close(1000))
      assert.deepStrictEqual(found, ["websocket.receive", "websocket.disconnect", "websocket.disconnect"])
    }))

  it.effect("ends a session without messages for wsIdleTimeout with 1001 and idle_timeout [C79] [W8]", () =>
    Effect.gen(function*() {
      const { ends, events, session } = yield* recorded({ wsIdleTimeout: "10 seconds" })
      yield* TestClock.adjust("9 seconds")
      yield* session.send(text("a"))
      yield* TestClock.adjust("9 seconds")
      // Pings are no messages.
      yield* session.send(Ws.ping())
      assert.deepStrictEqual(yield* session.said, ["pong"])
      assert.deepStrictEqual(ends, [])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* session.said, ["close 1001 idle timeout"])
      assert.deepStrictEqual(events.slice(1), [{ type: "websocket.disconnect", code: 1001, reason: "idle_timeout" }])
      assert.deepStrictEqual(ends, ["disconnect idle_timeout"])
    }))

  it.effect("counts messages of the application against the idle timeout, and has none by default [C79]", () =>
    Effect.gen(function*() {
      const talking = ({ send }: App.WebSocketExchange) =>
        Effect.forever(Effect.andThen(Effect.sleep("6 seconds"), send({ type: "websocket.send", text: "tick" })))
      const { ends, go, session } = yield* driven(talking, { wsIdleTimeout: "10 seconds", disconnectGrace: 0 })
      yield* go
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual(ends, [])
      assert.strictEqual((yield* session.said).length, 10)
      const quiet = yield* recorded()
      yield* TestClock.adjust("10 hours")
      assert.deepStrictEqual(quiet.ends, [])
      yield* session.client.reset
      yield* TestClock.adjust("2 seconds")
    }))
})
