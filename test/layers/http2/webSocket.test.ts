import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as AccessLogMemory from "../../../layers/AccessLogMemory.ts"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import * as Lint from "../../../src/middleware/Lint.ts"
import * as F from "../../utils/frames.ts"
import { capture } from "../../utils/logs.ts"
import * as WebSocket from "../../utils/webSocket.ts"
import * as Wires from "../../utils/wires.ts"
import { type Client, opened, openedStoppable } from "./serving.ts"

type Handler = (exchange: App.WebSocketExchange) => Effect.Effect<unknown, unknown>

const linted = (handler: Handler) => Lint.make()(App.websocket((exchange) => Effect.asVoid(handler(exchange))))

const version = ["sec-websocket-version", "13"] as const

/** A session on stream 1. */
const session = (client: Client, stream = 1) => ({
  send: (...frames: ReadonlyArray<Uint8Array>) => client.ask(F.data(stream, Buffer.concat(frames))),
  answer: () => F.answerOn(client.all, stream),
  said: () => Wires.readFrames(F.answerOn(client.all, stream).body).frames.map(WebSocket.inWords)
})

/** Serves `handler` and opens a session with it. */
const connected = Effect.fnUntraced(function*(
  handler: Handler,
  options: ServerMemory.Options = {},
  values: Parameters<typeof F.settings>[0] = {},
  fields: F.Frame["fields"] = [version]
) {
  const served = yield* opened(linted(handler), options, values)
  yield* served.client.ask(F.connect(1, "/chat?x=1", fields))
  return { ...served, ...session(served.client) }
})

describe("a WebSocket over HTTP/2", () => {
  it.effect("is an extended CONNECT, answered with 200 when it is accepted, not before [C81]", () =>
    Effect.gen(function*() {
      const exchanges: Array<App.WebSocketExchange> = []
      const { answer, client } = yield* connected(
        (exchange) => (exchanges.push(exchange), Effect.never),
        { shutdownTimeout: 0 },
        {},
        [
          version,
          ["sec-websocket-protocol", "a, b"],
          ["x-a", "1"]
        ]
      )
      assert.strictEqual(answer().status, 0)
      const { receive, scope, send } = exchanges[0]!
      assert.deepStrictEqual(scope, {
        type: "websocket",
        slipway: { version: "0.3", specVersion: "0.3" },
        httpVersion: "2",
        scheme: "ws",
        path: "/chat",
        rawPath: "/chat",
        queryString: "x=1",
        rootPath: "",
        headers: [["host", "a"], ["sec-websocket-version", "13"], ["sec-websocket-protocol", "a, b"], ["x-a", "1"]],
        subprotocols: ["a", "b"],
        extensions: { "websocket.http.response": {} },
        client: ["127.0.0.1", 40_000],
        server: ["127.0.0.1", 5000]
      })
      assert.deepStrictEqual(yield* receive, { type: "websocket.connect" })
      yield* send({ type: "websocket.accept", subprotocol: "b", headers: [["x-b", "2"], ["content-length", "5"]] })
      yield* client.read
      assert.deepStrictEqual(answer().fields, [
        [":status", "200"],
        ["x-b", "2"],
        ["sec-websocket-protocol", "b"],
        ["date", "Thu, 01 Jan 1970 00:00:00 GMT"],
        ["server", "slipway"]
      ])
      assert.isFalse(answer().ended)
    }))

  it.effect("carries messages both ways, in whatever frames of HTTP/2 [C81]", () =>
    Effect.gen(function*() {
      const { client, said, send } = yield* connected(WebSocket.echo)
      yield* send(WebSocket.text("one"), WebSocket.binary(Buffer.from([0, 255])))
      for (const byte of WebSocket.text("zwölf")) yield* client.send(F.data(1, Buffer.from([byte])))
      yield* send(...WebSocket.fragments(1, ["fra", "gm", "ents"]), WebSocket.ping("now"))
      assert.deepStrictEqual(said(), ["text one", "binary 00ff", "text zwölf", "text fragments", "pong now"])
    }))

  it.effect("runs beside other streams, each with its own session", () =>
    Effect.gen(function*() {
      const { client } = yield* connected(WebSocket.echo)
      const sessions = Array.from({ length: 20 }, (_, n) => session(client, 2 * n + 1))
      yield* client.ask(...sessions.slice(1).map((_, n) => F.connect(2 * n + 3)))
      for (const [n, { send }] of sessions.entries()) yield* send(WebSocket.text(String(n)))
      sessions.forEach(({ said }, n) => assert.deepStrictEqual(said(), [`text ${n}`]))
      yield* client.ask(F.reset(5, "CANCEL"))
      yield* sessions[3]!.send(WebSocket.text("still"))
      assert.deepStrictEqual(sessions[3]!.said(), ["text 3", "text still"])
    }))

  describe("that is not to be", () => {
    for (
      const [what, frame, status, headers] of [
        ["asks for another protocol", F.connect(1), 501, []],
        ["has no version", F.connect(1, "/", []), 426, [["sec-websocket-version", "13"]]],
        ["has another version", F.connect(1, "/", [["sec-websocket-version", "12"]]), 426, []],
        ["offers a subprotocol twice", F.connect(1, "/", [version, ["sec-websocket-protocol", "a, a"]]), 400, []],
        [
          "offers extensions that are no list",
          F.connect(1, "/", [version, ["sec-websocket-extensions", "a;;"]]),
          400,
          []
        ]
      ] as const
    ) {
      it.effect(`because it ${what} gets ${status}, and its application does not see it [C81]`, () =>
        Effect.gen(function*() {
          let asked = 0
          const { client } = yield* opened(App.websocket(() => Effect.sync(() => void asked++)))
          const sent = what === "asks for another protocol"
            ? F.headers(
              1,
              [[":method", "CONNECT"], [":protocol", "x"], ...F.requestFields("", "/").slice(1)],
              F.END_HEADERS
            )
            : frame
          const answer = F.answerOn(yield* client.ask(sent), 1)
          assert.deepInclude(answer, { status, ended: true, reset: "NO_ERROR" })
          for (const [name, value] of headers) assert.strictEqual(answer.header(name), value)
          assert.isUndefined(answer.header("upgrade"))
          assert.strictEqual(asked, 0)
        }))
    }

    it.effect("is declined with 403, with an answer of its own, or with a 500 [C81]", () =>
      Effect.gen(function*() {
        const { client } = yield* opened(linted(({ receive, scope, send }) =>
          Effect.gen(function*() {
            yield* receive
            if (scope.path === "/close") return yield* send({ type: "websocket.close" })
            if (scope.path === "/fail") return yield* Effect.fail("no")
            yield* send({ type: "websocket.http.response.start", status: 401, headers: [["x-why", "who are you"]] })
            yield* send({ type: "websocket.http.response.body", body: "no ", more: true })
            yield* send({ type: "websocket.http.response.body", body: "entry" })
          })
        ))
        const close = F.answerOn(yield* client.ask(F.connect(1, "/close")), 1)
        assert.deepInclude(close, { status: 403, body: "Forbidden", ended: true, reset: "NO_ERROR" })
        const denial = F.answerOn(yield* client.ask(F.connect(3, "/denial")), 3)
        assert.deepInclude(denial, { status: 401, body: "no entry", ended: true, reset: "NO_ERROR" })
        assert.strictEqual(denial.header("x-why"), "who are you")
        assert.deepInclude(F.answerOn(yield* client.ask(F.connect(5, "/fail")), 5), { status: 500, ended: true })
      }).pipe(Effect.provide(capture().layer)))

    it.effect("gets 503 while the server stops", () =>
      Effect.gen(function*() {
        const paths: Array<string> = []
        const app = App.websocket((exchange) => {
          paths.push(exchange.scope.path)
          return Effect.never
        })
        const { client, stop } = yield* openedStoppable(app, { shutdownTimeout: 0, disconnectGrace: 0 })
        yield* client.ask(F.connect(1, "/before"))
        const stopping = yield* stop
        yield* client.ask(F.connect(3, "/late"))
        assert.deepStrictEqual(paths, ["/before"])
        yield* client.bytes.end
        yield* Fiber.join(stopping)
      }))
  })

  describe("ends", () => {
    it.effect("with the client's Close, which is answered and ends the stream [C81]", () =>
      Effect.gen(function*() {
        const { app, ends, events } = WebSocket.recording()
        const { answer, client, said, send, server } = yield* connected(app)
        yield* send(WebSocket.close(4001, "bye"))
        assert.deepStrictEqual(said(), ["close 4001"])
        assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code: 4001, reason: "bye" }])
        assert.deepStrictEqual(ends, ["complete"])
        assert.deepInclude(answer(), { ended: true, reset: undefined })
        yield* client.ask(F.data(1, "", F.END_STREAM))
        assert.strictEqual((yield* server.stats).exchanges, 0)
        assert.strictEqual(F.answerOn(yield* client.ask(F.connect(3)), 3).status, 200)
      }))

    it.effect("with our Close, the client's, and the end of the stream; a client that stays is reset", () =>
      Effect.gen(function*() {
        const handler: Handler = ({ receive, send }) =>
          Effect.gen(function*() {
            yield* receive
            yield* send({ type: "websocket.accept" })
            yield* send({ type: "websocket.close", code: 3000, reason: "done" })
          })
        const { answer, client, said, send, server } = yield* connected(handler)
        assert.deepStrictEqual(said(), ["close 3000 done"])
        assert.isFalse(answer().ended)
        yield* send(WebSocket.close(3000))
        assert.deepInclude(answer(), { ended: true, reset: undefined })
        yield* TestClock.adjust("4 seconds")
        yield* client.read
        assert.strictEqual(answer().reset, "NO_ERROR")
        assert.strictEqual((yield* server.stats).exchanges, 0)
        // One that does not even answer.
        yield* client.ask(F.connect(3))
        yield* TestClock.adjust("10 seconds")
        yield* client.read
        assert.strictEqual(F.answerOn(client.all, 3).reset, "CANCEL")
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }))

    it.effect("with a reset by the client as a broken connection does: 1006, client_closed [C81]", () =>
      Effect.gen(function*() {
        const { app, ends, events } = WebSocket.recording()
        const { client, server } = yield* connected(app)
        yield* client.ask(F.reset(1, "CANCEL"))
        assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code: 1006, reason: "client_closed" }])
        assert.deepStrictEqual(ends, ["disconnect client_closed"])
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }))

    it.effect("with the end of the client's side without a Close, before the handshake is answered or after it", () =>
      Effect.gen(function*() {
        const { app, events } = WebSocket.recording()
        const reasons: Array<string> = []
        const { client, server } = yield* connected((exchange) => {
          if (exchange.scope.path !== "/silent") return app(exchange)
          exchange.connection.onDisconnect((reason) => reasons.push(reason))
          return Effect.never
        }, { disconnectGrace: 0 })
        yield* client.ask(F.data(1, "", F.END_STREAM))
        assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code: 1006, reason: "client_closed" }])
        yield* client.ask(F.connect(3, "/silent"))
        yield* client.ask(F.data(3, "", F.END_STREAM))
        assert.deepStrictEqual(reasons, ["client_closed"])
        yield* TestClock.adjust("3 seconds")
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }))

    it.effect("with 1009 for a message above the limit, 1002 and 1007 for faults [C81]", () =>
      Effect.gen(function*() {
        for (
          const [frame, close, event] of [
            [WebSocket.text("x".repeat(1001)), "close 1009", { code: 1009, reason: "body_too_large" }],
            [WebSocket.frame(3), "close 1002", { code: 1002, reason: "protocol_error" }],
            [WebSocket.text(Buffer.from([0xff])), "close 1007", { code: 1007, reason: "protocol_error" }]
          ] as const
        ) {
          const { app, events } = WebSocket.recording()
          const { answer, said, send } = yield* connected(app, { wsMaxMessageBytes: 1000 })
          yield* send(frame)
          assert.deepStrictEqual(said(), [close])
          assert.deepStrictEqual(events, [{ type: "websocket.disconnect", ...event }])
          assert.isTrue(answer().ended)
        }
      }))

    it.effect("with 1011 when its application fails, and with 1000 when it returns", () =>
      Effect.gen(function*() {
        for (const [effect, close] of [[Effect.fail("no"), "close 1011"], [Effect.void, "close 1000"]] as const) {
          const { said } = yield* connected(({ receive, send }) =>
            Effect.andThen(receive, Effect.andThen(send({ type: "websocket.accept" }), effect))
          )
          assert.deepStrictEqual(said(), [close])
        }
      }).pipe(Effect.provide(capture().layer)))

    it.effect("with 1001 when the server stops, which waits for the client's Close", () =>
      Effect.gen(function*() {
        const { app, events } = WebSocket.recording()
        const { client, server, stop } = yield* openedStoppable(linted(app))
        const { answer, said, send } = session(client)
        yield* client.ask(F.connect(1))
        const stopping = yield* stop
        yield* client.read
        assert.deepStrictEqual(said(), ["close 1001"])
        assert.isUndefined(stopping.pollUnsafe())
        yield* send(WebSocket.close(1001))
        assert.isTrue(answer().ended)
        yield* client.ask(F.data(1, "", F.END_STREAM))
        yield* client.bytes.end
        yield* Fiber.join(stopping)
        assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code: 1001, reason: "server_shutdown" }])
        assert.deepInclude(yield* server.stats, { connections: 0, exchanges: 0, totalCut: 0 })
      }))

    it.effect("with 1006 and keepalive_timeout when a ping is not answered [C81]", () =>
      Effect.gen(function*() {
        const { app, events } = WebSocket.recording()
        const { client, said, send } = yield* connected(app, {
          wsPingInterval: "10 seconds",
          wsPingTimeout: "5 seconds"
        })
        yield* TestClock.adjust("12 seconds")
        yield* client.read
        assert.deepStrictEqual(said(), ["ping"])
        yield* send(WebSocket.pong())
        yield* TestClock.adjust("10 seconds")
        yield* client.read
        assert.deepStrictEqual(said(), ["ping", "ping"])
        assert.deepStrictEqual(events, [])
        yield* TestClock.adjust("10 seconds")
        yield* client.read
        assert.deepStrictEqual(said(), ["ping", "ping", "close 1011 keepalive timeout"])
        assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code: 1006, reason: "keepalive_timeout" }])
      }))
  })

  describe("has backpressure", () => {
    /** Accepts, and hands out the exchange. */
    const handedOut = Effect.fnUntraced(function*(options: ServerMemory.Options, window: number) {
      const exchanges: Array<App.WebSocketExchange> = []
      const served = yield* connected(
        (exchange) => {
          exchanges.push(exchange)
          return Effect.andThen(
            exchange.receive,
            Effect.andThen(exchange.send({ type: "websocket.accept" }), Effect.never)
          )
        },
        { shutdownTimeout: 0, disconnectGrace: 0, ...options },
        { INITIAL_WINDOW_SIZE: window }
      )
      yield* served.client.read
      return { ...served, exchange: exchanges[0]! }
    })

    for (const high of [1000, 65_536]) {
      it.effect(`to the application: send waits at ${high} bytes until the client takes, without time passing [C81]`, () =>
        Effect.gen(function*() {
          const { client, exchange, said } = yield* handedOut({ writeHighWaterMark: high }, 100)
          const { send, transport } = exchange
          const message = "x".repeat(high / 2)
          const sending = []
          for (let n = 0; n < 3; n++) {
            sending.push(
              yield* Effect.forkChild(send({ type: "websocket.send", text: message }), { startImmediately: true })
            )
            yield* ServerMemory.settle
          }
          assert.isUndefined(sending[2]!.pollUnsafe())
          assert.isAtLeast(transport.bufferedAmount, high)
          while (transport.bufferedAmount > 0) yield* client.ask(F.windowUpdate(1, high), F.windowUpdate(0, high))
          for (const fiber of sending) yield* Fiber.join(fiber)
          assert.deepStrictEqual(said(), Array.from({ length: 3 }, () => `text ${message}`))
        }))
    }

    it.effect("to the client: the window stays closed while the application does not receive [C81]", () =>
      Effect.gen(function*() {
        const { client, exchange } = yield* handedOut({}, 65_535)
        const frame = WebSocket.binary(Buffer.alloc(4000))
        let window = 65_535
        let sent = 0
        // As much as the server lets.
        while (window >= frame.length) {
          const frames = yield* client.ask(F.data(1, frame))
          window += F.openedIn(frames, 1) - frame.length
          sent++
          assert.isBelow(sent, 100)
        }
        for (let received = 0; received < sent - 1; received++) {
          assert.strictEqual((yield* exchange.receive).type, "websocket.receive")
        }
        assert.isAbove(F.openedIn(yield* client.read, 1), 0)
      }))

    it.effect("for a message of 3 MB, which a slow client takes in minutes", () =>
      Effect.gen(function*() {
        const { client, exchange, said } = yield* handedOut({ writeTimeout: "10 seconds" }, 65_535)
        const text = "0123456789".repeat(300_000)
        const sending = yield* Effect.forkChild(exchange.send({ type: "websocket.send", text }), {
          startImmediately: true
        })
        for (let taken = 0; taken < text.length; taken += 65_535) {
          yield* client.ask(F.windowUpdate(1, 65_535), F.windowUpdate(0, 65_535))
          yield* TestClock.adjust("4 seconds")
        }
        yield* Fiber.join(sending)
        assert.strictEqual(said()[0]?.length, text.length + "text ".length)
        assert.strictEqual(exchange.transport.bufferedAmount, 0)
      }))

    it.effect("and a client that takes nothing of the stream is cut with write_timeout, the others go on [C133]", () =>
      Effect.gen(function*() {
        const { client, exchange, server } = yield* handedOut({ writeTimeout: "10 seconds" }, 100)
        yield* client.ask(F.connect(3))
        yield* Effect.forkChild(exchange.send({ type: "websocket.send", text: "x".repeat(1000) }), {
          startImmediately: true
        })
        yield* TestClock.adjust("15 seconds")
        yield* client.read
        assert.strictEqual(exchange.connection.disconnectReason, "write_timeout")
        assert.strictEqual(F.answerOn(client.all, 1).reset, "CANCEL")
        assert.strictEqual(F.answerOn(client.all, 3).reset, undefined)
        yield* TestClock.adjust("3 seconds")
        assert.deepInclude(yield* server.stats, { connections: 1, exchanges: 1 })
      }))
  })

  it.effect("compresses messages when both sides want it [C81]", () =>
    Effect.gen(function*() {
      const { answer, client, send } = yield* connected(
        WebSocket.echo,
        { wsCompression: true, wsCompressionThreshold: 0 },
        {},
        [
          version,
          ["sec-websocket-extensions", "permessage-deflate; client_no_context_takeover; server_no_context_takeover"]
        ]
      )
      assert.include(answer().header("sec-websocket-extensions"), "permessage-deflate")
      const text = "again and ".repeat(1000)
      yield* send(WebSocket.frame(1, WebSocket.deflated(text), { rsv: 4 }))
      // Another thread compresses.
      while (answer().body === "") yield* client.read
      const [head] = Buffer.from(answer().body, "latin1")
      assert.strictEqual(head, 0xc1)
      assert.isBelow(answer().body.length, 200)
    }))

  it.effect("is one line in the access log, when it has ended [C81]", () =>
    Effect.gen(function*() {
      const access = yield* AccessLogMemory.make({ format: "%m %U%q %H %s %B" })
      const lines = Effect.provide(Effect.flatMap(AccessLogMemory.Lines, (memory) => memory.lines), access)
      const { client } = yield* Effect.provide(opened(linted(WebSocket.echo)), access)
      yield* client.ask(F.connect(1, "/chat?x=1"))
      const { send } = session(client)
      yield* send(WebSocket.text("12345"))
      assert.deepStrictEqual(yield* lines, [])
      yield* send(WebSocket.close(1000))
      assert.deepStrictEqual(yield* lines, ["GET /chat?x=1 HTTP/2 200 5"])
    }))
})
