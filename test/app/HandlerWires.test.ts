import { assert, describe, it } from "@effect/vitest"
import * as ByteSize from "effect/ByteSize"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Headers from "effect/http/Headers"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Readable } from "node:stream"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import type * as App from "../../src/app/App.ts"
import * as Handler from "../../src/app/Handler.ts"
import * as PlainExchange from "../../src/app/internal/PlainExchange.ts"
import type { HttpSend } from "../../src/schema/Event.ts"
import { answerIn, request } from "../utils/answers.ts"
import { asked } from "../utils/asking.ts"
import * as Fake from "../utils/exchange.ts"
import { exchange, serve } from "../utils/serve.ts"
import * as WebSocket from "../utils/webSocket.ts"
import * as Wires from "../utils/wires.ts"

type Read<E> = (request: HttpServerRequest) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, Scope.Scope>

const reading = <E>(read: Read<E>) => Handler.make(Effect.flatMap(HttpServerRequest, read))

const events = ["accept: text/event-stream"]
const stream = Stream.rechunk(Stream.encodeText(Stream.make("one", "two")), 1)

describe("a handler", () => {
  for (const wire of Wires.wires) {
    it.effect(`answers ${Wires.nameOf(wire)} with status, headers and stream`, () =>
      Effect.gen(function*() {
        const response = HttpServerResponse.stream(stream, { status: 402, headers: { "x-a": "1" } })
        const { connect } = yield* serve(Handler.make(Effect.succeed(response)))
        const connection = yield* Wires.open(connect, wire.version)
        const { answered } = yield* connection.ask({ protocol: wire.protocol })
        const { body, header, state, status } = yield* answered
        assert.deepStrictEqual([status, header("x-a"), body, state], [402, "1", "onetwo", "whole"])
      }))

    it.effect(`is interrupted when the client of ${Wires.nameOf(wire)} leaves: at work, and in its response`, () =>
      Effect.gen(function*() {
        for (const stage of ["work", "response"]) {
          const started = Latch.makeUnsafe()
          const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
          const waiting = Effect.andThen(started.open, Effect.never).pipe(
            Effect.onExit((exit) => Deferred.succeed(ended, exit))
          )
          const handler = stage === "work"
            ? waiting
            : Effect.succeed(
              HttpServerResponse.stream(Stream.concat(stream, Stream.fromEffect(waiting)), { status: 400 })
            )
          const { connect, server } = yield* serve(Handler.make(handler))
          const connection = yield* Wires.open(connect, wire.version)
          const { reset } = yield* connection.ask({ protocol: wire.protocol })
          yield* started.await
          yield* reset
          const exit = yield* Deferred.await(ended)
          assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause), stage)
          yield* ServerMemory.settle
          assert.strictEqual((yield* server.stats).exchanges, 0, stage)
        }
      }))

    it.effect(`leaves the answer on ${Wires.nameOf(wire)} to a timeout around it`, () =>
      Effect.gen(function*() {
        const app: App.App<unknown> = (exchange) =>
          Effect.timeoutOrElse(Handler.make(Effect.never)(exchange), {
            duration: "1 second",
            orElse: () => Handler.make(Effect.succeed(HttpServerResponse.text("late", { status: 504 })))(exchange)
          })
        const { connect } = yield* serve(app)
        const connection = yield* Wires.open(connect, wire.version)
        const { answered } = yield* connection.ask({ protocol: wire.protocol })
        yield* TestClock.adjust("1 second")
        const { body, status } = yield* answered
        assert.deepStrictEqual([status, body], [504, "late"])
      }))
  }

  it.effect("refuses a WebSocket of HTTP/2 with 403 where its response would accept it", () =>
    Effect.gen(function*() {
      const ok = HttpServerResponse.text("hello", { headers: { "x-a": "1" } })
      const { connect } = yield* serve(Handler.make(Effect.succeed(ok)))
      const connection = yield* Wires.open(connect, "2")
      const { answered } = yield* connection.ask({ protocol: "websocket" })
      const { body, header, status } = yield* answered
      assert.deepStrictEqual([status, header("x-a"), body], [403, "1", "hello"])
    }))

  it.effect("upgrades a WebSocket of HTTP/2", () =>
    Effect.gen(function*() {
      const app = reading((request) =>
        Effect.gen(function*() {
          const socket = yield* request.upgrade
          const { pull } = yield* socket.reader
          const writer = yield* socket.writer
          const [message] = yield* pull
          yield* writer.write(`${String(message)}!`)
          return HttpServerResponse.empty()
        })
      )
      const { connect } = yield* serve(app)
      const connection = yield* Wires.open(connect, "2")
      const { answered, send } = yield* connection.ask({ protocol: "websocket" })
      yield* send(WebSocket.text("hey"))
      assert.deepStrictEqual((yield* answered).said, ["text hey!", "close 1000"])
    }))

  it.effect("cannot upgrade a request of HTTP/2, nor one for events", () =>
    Effect.gen(function*() {
      const app = reading((request) =>
        Effect.map(Effect.flip(request.upgrade), (error) => HttpServerResponse.text(error.message, { status: 409 }))
      )
      const { connect } = yield* serve(app)
      const connection = yield* Wires.open(connect, "2")
      const { answered } = yield* connection.ask({ protocol: "http" })
      assert.include((yield* answered).body, "Not a request that can be upgraded")
      const lines = [...events, "connection: upgrade", "upgrade: a/1"]
      assert.include(answerIn(yield* exchange(app, request("GET /", lines))).body, "Not a request that can be upgraded")
    }))

  describe("for events", () => {
    it.effect("answers HEAD as it answers HEAD without events", () =>
      Effect.gen(function*() {
        const responses = [
          HttpServerResponse.text("hello"),
          HttpServerResponse.stream(stream, { contentType: "text/plain" }),
          HttpServerResponse.stream(stream, { contentType: "text/event-stream" }),
          HttpServerResponse.stream(stream, { contentLength: 6 }),
          HttpServerResponse.raw("raw"),
          HttpServerResponse.empty()
        ]
        for (const response of responses) {
          const app = Handler.make(Effect.succeed(response))
          const [plain, asked] = yield* Effect.forEach([[], events], (lines) =>
            Effect.map(exchange(app, request("HEAD /", [...lines, "connection: close"])), (bytes) => {
              const { body, headers, status } = answerIn(bytes, "HEAD")
              return {
                status,
                body,
                lines: headers.map((header) =>
                  header.join(": ")
                ).sort()
              }
            }))
          assert.deepStrictEqual(asked, plain)
        }
      }))

    it.effect("limits bodies with MaxBodySize, and by the server's own limit", () =>
      Effect.gen(function*() {
        const app = reading((request) => Effect.map(request.text, HttpServerResponse.text))
        const limited: App.App<unknown> = (exchange) =>
          Effect.provideService(app(exchange), HttpIncomingMessage.MaxBodySize, ByteSize.bytes(3))
        const post = request("POST /", [...events, "content-length: 4"], "body")
        assert.strictEqual(answerIn(yield* exchange(limited, post)).status, 413)
        assert.strictEqual(answerIn(yield* exchange(app, post, { maxBodyBytes: 3 })).status, 413)
        assert.strictEqual(answerIn(yield* exchange(app, post)).body, "body")
      }))

    it.effect("cuts the answer when its stream fails", () =>
      Effect.gen(function*() {
        const failing = Stream.concat(stream, Stream.fail("disk"))
        const { answer, errors } = yield* asked(
          Handler.make(Effect.succeed(HttpServerResponse.stream(failing))),
          request("GET /", events)
        )
        assert.deepStrictEqual([answerIn(answer).body, answerIn(answer).complete], ["onetwo", false])
        assert.strictEqual(errors.length, 1)
      }))
  })

  it.effect("sends no header that would break the message: 500, for each protocol", () =>
    Effect.gen(function*() {
      const response = HttpServerResponse.text("x", { headers: { "x-a": "1\r\nx-b: 2" } })
      for (const lines of [[], events, WebSocket.handshakeLines]) {
        const { answer, errors } = yield* asked(Handler.make(Effect.succeed(response)), request("GET /", lines))
        assert.deepStrictEqual([answerIn(answer).status, answerIn(answer).header("x-b")], [500, undefined])
        assert.strictEqual(errors.length, 1)
      }
    }))

  describe("lets go of a Node stream that is not read", () => {
    const source = () => {
      const readable = Readable.from(["a", "b"].map((text) => Buffer.from(text)))
      return { readable, response: HttpServerResponse.raw(readable, { headers: { "x-a": "1" } }) }
    }

    it.effect("when the client has left before", () =>
      Effect.gen(function*() {
        const { readable, response } = source()
        const [started, go, ended] = [Latch.makeUnsafe(), Latch.makeUnsafe(), Latch.makeUnsafe()]
        const app = Handler.fromHttpEffect(Effect.andThen(started.open, Effect.as(go.await, response)))
        const watched: App.App<unknown> = (exchange) =>
          exchange.type === "lifespan" ? Effect.void : Effect.ensuring(app(exchange), ended.open)
        const { connect } = yield* serve(watched)
        const client = yield* connect()
        yield* client.send(request("GET /"))
        yield* started.await
        yield* client.reset
        yield* go.open
        yield* ended.await
        assert.isTrue(readable.destroyed)
      }))

    it.effect("when its head cannot be sent", () =>
      Effect.gen(function*() {
        const { readable, response } = source()
        const app = Handler.make(Effect.succeed(HttpServerResponse.setHeader(response, "x-a", "\n")))
        yield* exchange(app, request("GET /"))
        assert.isTrue(readable.destroyed)
      }))

    it.effect("when the client leaves in the middle of it", () =>
      Effect.gen(function*() {
        const readable = Readable.from((async function*() {
          for (;;) yield Buffer.alloc(10_000)
        })())
        const { connect, server } = yield* serve(Handler.make(Effect.succeed(HttpServerResponse.raw(readable))), {
          networkBufferBytes: 1_000
        })
        const client = yield* connect()
        yield* client.pause
        yield* client.send(request("GET /"))
        yield* client.reset
        yield* ServerMemory.settle
        assert.isTrue(readable.destroyed)
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }))
  })

  describe("of an effect/http program", () => {
    it.effect("that fails is answered by effect's rules, with and without middleware", () =>
      Effect.gen(function*() {
        const failing = Effect.fail("no")
        const answers = yield* Effect.forEach(
          [Handler.fromHttpEffect(failing), Handler.fromHttpEffect(failing, { middleware: (app) => app })],
          (app) => Effect.map(exchange(app, request("GET /")), (bytes) => answerIn(bytes))
        )
        assert.deepStrictEqual(answers.map(({ body, status }) => [status, body]), [[500, ""], [500, ""]])
      }))

    it.effect("declines a lifespan without running", () =>
      Effect.gen(function*() {
        const { exchange } = Fake.make()
        const lifespan = { ...exchange, type: "lifespan" } as never
        yield* Handler.fromHttpEffect(Effect.die("ran"))(lifespan)
        yield* Handler.make(Effect.die("ran"))(lifespan)
      }))
  })

  describe("with a request that was modified", () => {
    it.effect("keeps earlier changes, and what the request had where a change is undefined", () =>
      Effect.gen(function*() {
        const app = reading((request) => {
          const view = request
            .modify({ url: "/a", remoteAddress: Option.some("192.0.2.9") })
            .modify({ url: undefined as never, headers: Headers.fromInput({ cookie: "a=1" }) })
          return Effect.succeed(HttpServerResponse.jsonUnsafe([
            view.url,
            view.originalUrl,
            Option.getOrNull(view.remoteAddress),
            Option.getOrNull(view.peerAddress),
            view.cookies,
            view.method,
            view.toString(),
            request.cookies
          ]))
        })
        const { json } = yield* Fake.request(app, { target: "/b?c", headers: { cookie: "b=2" } })
        assert.deepStrictEqual(json, [
          "/a",
          "http://example.test/b?c",
          "192.0.2.9",
          "192.0.2.9",
          { a: "1" },
          "GET",
          "HttpServerRequest(GET /b)",
          { b: "2" }
        ])
      }))

    it.effect("shares the body with it, whoever reads it first", () =>
      Effect.gen(function*() {
        const app = reading((request) =>
          Effect.gen(function*() {
            const view = request.modify({ url: "/a" })
            const first = yield* view.text
            const second = yield* Stream.mkString(Stream.decodeText(request.stream))
            const third = yield* view.arrayBuffer
            return HttpServerResponse.jsonUnsafe([first, second, third.byteLength])
          })
        )
        const { json } = yield* Fake.request(app, { method: "POST", body: ["ab", "c"] })
        assert.deepStrictEqual(json, ["abc", "abc", 3])
      }))
  })

  it.effect("can ask for the body again after it has given up on it", () =>
    Effect.gen(function*() {
      const fake = Fake.make({ method: "POST", bodyFollows: true })
      const app = reading((request) =>
        Effect.gen(function*() {
          yield* Effect.timeoutOption(request.text, "1 second")
          return HttpServerResponse.text(yield* request.text)
        })
      )
      const fiber = yield* fake.start(app)
      yield* fake.feed("a", true)
      yield* TestClock.adjust("1 second")
      yield* fake.feed("b", false)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual([fake.answer().status, fake.answer().text], [200, "ab"])
      // The limit counts what was read before, too.
      const large = Fake.make({ method: "POST", bodyFollows: true })
      const limited = yield* large.start((exchange) =>
        Effect.provideService(app(exchange), HttpIncomingMessage.MaxBodySize, ByteSize.bytes(3))
      )
      yield* large.feed("abc", true)
      yield* TestClock.adjust("1 second")
      yield* large.feed("d", false)
      yield* Fiber.join(limited)
      assert.strictEqual(large.answer().status, 413)
    }))

  it.effect("is given a session as http: what it cannot say is refused, and its end is a disconnect", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const app: App.App<unknown> = (exchange) =>
        Effect.gen(function*() {
          if (exchange.type === "lifespan") return
          const { receive, send, transport } = PlainExchange.make(exchange)
          const refusals = yield* Effect.forEach([
            { type: "http.response.trailers" },
            { type: "http.response.start", status: 200 },
            { type: "http.response.body", file: "/dev/null" },
            { type: "http.response.body", stream, offset: 1 }
          ], (event) =>
            Effect.match(send(event as HttpSend), {
              onFailure: ({ reason }) => reason._tag,
              onSuccess: () => "sent"
            }))
          const [first, second] = [yield* receive, yield* receive]
          seen.push([...refusals, transport.bufferedAmount, first.type, second.type])
        })
      for (const lines of [events, WebSocket.handshakeLines]) {
        const { connect } = yield* serve(app)
        const client = yield* connect()
        yield* client.send(request("GET /", lines))
        yield* client.reset
      }
      const expected = ["UnknownEvent", "sent", "InvalidField", "InvalidField", 0, "http.request", "http.disconnect"]
      assert.deepStrictEqual(seen, [expected, expected])
    }))

  it.effect("says when the client has left in the middle of the body", () =>
    Effect.gen(function*() {
      const seen = yield* Deferred.make<string>()
      const app = Handler.fromHttpEffect(
        Effect.flatMap(HttpServerRequest, (request) => Effect.flip(request.text)).pipe(
          Effect.tap((error) => Deferred.succeed(seen, error.message)),
          Effect.as(HttpServerResponse.empty())
        )
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("POST /", ["content-length: 10"], "abc"))
      yield* client.reset
      assert.include(yield* Deferred.await(seen), "The client left before the body was complete")
    }))

  it.effect("fails a multipart body that is too large as such, and redacts what it shows", () =>
    Effect.gen(function*() {
      const app = reading((request) =>
        Effect.map(
          Effect.flip(Stream.runDrain(request.multipartStream)),
          (error) => HttpServerResponse.jsonUnsafe([error.reason._tag, request.toJSON()])
        )
      )
      const { json } = yield* Fake.request(
        (exchange) => Effect.provideService(app(exchange), HttpIncomingMessage.MaxBodySize, ByteSize.bytes(3)),
        {
          method: "POST",
          target: "/a?token=x",
          headers: { "content-type": "multipart/form-data; boundary=XX", authorization: "secret" },
          body: "--XX\r\n"
        }
      )
      assert.strictEqual((json as ReadonlyArray<unknown>)[0], "BodyTooLarge")
      assert.notInclude(JSON.stringify(json), "secret")
    }))
})
