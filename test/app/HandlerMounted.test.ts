import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpRouter from "effect/http/HttpRouter"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Latch from "effect/Latch"
import type * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { fileURLToPath } from "node:url"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import * as App from "../../src/app/App.ts"
import * as Handler from "../../src/app/Handler.ts"
import type { HttpResponseBody, HttpSend } from "../../src/schema/Event.ts"
import { answerIn, request } from "../utils/answers.ts"
import { asked } from "../utils/asking.ts"
import { capture } from "../utils/logs.ts"
import { exchange, serve } from "../utils/serve.ts"
import * as WebSocket from "../utils/webSocket.ts"

/** An App inside of a handler, as a router of effect/http has it. */
const mounted = <E>(app: App.App<E>) => Handler.make(Handler.toEffect(app))

/** The same by effect/http's rules: nothing is interruptible that does not say so. */
const mountedPlain = <E>(app: App.App<E>) => Handler.fromHttpEffect(Handler.toEffect(app))

/** Sends what it is told to, one event after the other. */
const sending = (...events: ReadonlyArray<HttpSend>) =>
  App.http(({ send }) => Effect.forEach(events, send, { discard: true }))

const start = (headers: ReadonlyArray<readonly [string, string]> = []): HttpSend => ({
  type: "http.response.start",
  status: 200,
  headers
})
const body = (fields: Omit<HttpResponseBody, "type">): HttpSend => ({ type: "http.response.body", ...fields })
const bytes = (...parts: ReadonlyArray<string>) => Stream.rechunk(Stream.encodeText(Stream.fromIterable(parts)), 1)

const thisFile = fileURLToPath(import.meta.url)

/** Reads the whole body, as an App does. */
const bodyOf = ({ receive }: App.HttpExchange): Effect.Effect<string> =>
  Effect.flatMap(receive, (event) => {
    if (event.type !== "http.request") return Effect.succeed(`(${event.type})`)
    const text = new TextDecoder().decode(event.body)
    return event.more
      ? Effect.map(bodyOf({ receive } as App.HttpExchange), (rest) => text + rest)
      : Effect.succeed(text)
  })

const echo = App.http((exchange) =>
  Effect.flatMap(bodyOf(exchange), (text) => App.respond(exchange.send, 200, `<${text}>`))
)

const routed = <R>(routes: Layer.Layer<never, never, R>) =>
  Effect.map(HttpRouter.toHttpEffect(routes as Layer.Layer<never, never, HttpRouter.HttpRouter>), Handler.make)

describe("Handler.toEffect", () => {
  describe("answers", () => {
    const same = (app: App.App<unknown>, line = "GET /") =>
      Effect.gen(function*() {
        const read = Effect.fnUntraced(function*(app: App.App<unknown>) {
          const client = yield* (yield* serve(app)).connect()
          yield* client.send(request(line, ["connection: close"]))
          const { body, headers, status } = answerIn(yield* client.readAll, line.split(" ")[0])
          return { status, lines: headers.map((header) => header.join(": ")).sort(), body }
        })
        const alone = yield* read(app)
        assert.deepStrictEqual(yield* read(mounted(app)), alone)
        return alone
      })

    it.effect("are what the App gives alone: type and length as declared, for each kind of body", () =>
      Effect.gen(function*() {
        const type = ["content-type", "text/css"] as const
        const length = ["content-length", "6"] as const
        for (const headers of [[], [type], [type, length]]) {
          yield* same(sending(start(headers), body({ body: "sixsix" })))
          yield* same(sending(start(headers), body({ body: "six", more: true }), body({ body: "six" })))
          yield* same(sending(start(headers), body({ stream: bytes("six", "six") })))
          yield* same(sending(start(headers), body({ file: thisFile, offset: 2, length: 6 })))
        }
        const joined = answerIn(
          yield* exchange(mounted(sending(start([["x-a", "1"], ["x-a", "2"]]), body({}))), request("GET /"))
        )
        assert.deepStrictEqual([joined.header("x-a"), joined.header("content-length")], ["1, 2", "0"])
      }))

    it.effect("to HEAD are what the App gives alone, a file's length too", () =>
      Effect.gen(function*() {
        const file = yield* same(sending(start(), body({ file: thisFile, length: 10 })), "HEAD /")
        assert.include(file.lines, "content-length: 10")
        yield* same(sending(start(), body({ body: "whole" })), "HEAD /")
        yield* same(sending(start(), body({ stream: bytes("six", "six") })), "HEAD /")
      }))

    it.effect("keep the part of a stream that was asked for", () =>
      Effect.gen(function*() {
        const alone = yield* same(
          sending(start(), body({ stream: bytes("secret", "public", "secret"), offset: 6, length: 6 }))
        )
        assert.strictEqual(alone.body, "public")
      }))

    it.effect("may go on with a stream after a first part", () =>
      Effect.gen(function*() {
        const alone = yield* same(sending(start(), body({ body: "a", more: true }), body({ stream: bytes("b", "c") })))
        assert.strictEqual(alone.body, "abc")
        const events = HttpServerResponse.stream(bytes("data: 1\n\n"), { contentType: "text/event-stream" })
        const inner = yield* same(Handler.make(Effect.succeed(events)))
        assert.strictEqual(inner.body, "data: 1\n\n")
      }))

    it.effect("keep every cookie", () =>
      Effect.gen(function*() {
        yield* same(
          sending(
            start([
              ["set-cookie", "a=1; Path=/; HttpOnly; SameSite=Lax"],
              ["set-cookie", "b=x%20y; Max-Age=10; Secure"],
              ["set-cookie", "c=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]
            ]),
            body({})
          )
        )
      }))

    it.effect("come with early hints before them", () =>
      Effect.gen(function*() {
        const hint: HttpSend = { type: "http.response.early_hint", links: ["</a.css>; rel=preload"] }
        const text = yield* exchange(mounted(sending(hint, start(), body({ body: "x" }))), request("GET /"))
        assert.match(text, /^HTTP\/1.1 103 .*\r\nlink: <\/a.css>; rel=preload\r\n\r\nHTTP\/1.1 200 /s)
      }))

    it.effect("let go of trailers and flushes", () =>
      Effect.gen(function*() {
        const app = sending(
          { type: "http.response.start", status: 200, trailers: true },
          { type: "http.fullflush" },
          body({ body: "x" }),
          { type: "http.response.trailers", headers: [["x-t", "1"]] }
        )
        const answer = answerIn(yield* exchange(mounted(app), request("GET /")))
        assert.deepStrictEqual([answer.body, answer.trailers.length], ["x", 0])
      }))
  })

  it.effect("refuses events in the wrong order, of unknown type and with no body at all", () =>
    Effect.gen(function*() {
      const wrong: ReadonlyArray<readonly [ReadonlyArray<unknown>, string]> = [
        [[body({ body: "x" })], "EventOutOfOrder"],
        [[start(), start()], "EventOutOfOrder"],
        [[start(), body({}), body({})], "EventOutOfOrder"],
        [[start(), { type: "http.response.nothing" }], "UnknownEvent"],
        [[undefined], "UnknownEvent"],
        [[start(), body({ body: 5 as never })], "InvalidField"],
        [[start(), body({ body: "a", more: true }), body({ file: thisFile })], "InvalidField"]
      ]
      for (const [events, tag] of wrong) {
        const seen = yield* Deferred.make<string>()
        const app = App.http(({ send }) =>
          Effect.forEach(events as ReadonlyArray<HttpSend>, send, { discard: true }).pipe(
            Effect.tapCause((cause) => Deferred.succeed(seen, String((cause.reasons[0] as any)?.error?.reason?._tag)))
          )
        )
        yield* asked(mounted(app), request("GET /"))
        assert.strictEqual(yield* Deferred.await(seen), tag, JSON.stringify(events))
      }
    }))

  it.effect("answers 500 for an App that returns or fails without an answer, even a started one", () =>
    Effect.gen(function*() {
      const throwing = App.http((): Effect.Effect<void> => {
        throw new Error("thrown")
      })
      for (const app of [App.http(() => Effect.void), sending(start()), throwing]) {
        const { answer, errors } = yield* asked(mounted(app), request("GET /"))
        assert.strictEqual(answerIn(answer).status, 500)
        assert.strictEqual(errors.length, 1)
      }
    }))

  it.effect("logs what the App fails with after its answer", () =>
    Effect.gen(function*() {
      const app = App.http(({ send }) => Effect.andThen(App.respond(send, 200, "x"), Effect.fail("late")))
      for (const around of [app, mounted(app)]) {
        const { answer, errors } = yield* asked(around, request("GET /"))
        assert.strictEqual(answerIn(answer).body, "x")
        assert.deepStrictEqual(errors.map(({ message }) => message.replace(/ \(.*/, "")), [
          "The application failed after it had answered"
        ])
        assert.include(errors[0]!.cause, "late")
      }
    }))

  describe("request bodies", () => {
    const post = (app: App.App<unknown>) =>
      Effect.map(exchange(app, request("POST /", ["content-length: 4"], "body")), (text) => answerIn(text).body)
    const after = <E>(read: (request: HttpServerRequest) => Effect.Effect<unknown, E>) =>
      Handler.make(Effect.andThen(Effect.flatMap(HttpServerRequest, read), Handler.toEffect(echo)))

    it.effect("are the App's, what middleware has read whole as well", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* post(mounted(echo)), "<body>")
        assert.strictEqual(yield* post(after((request) => request.text)), "<body>")
        assert.strictEqual(
          yield* post(after((request) => request.modify({ url: "/" }).json.pipe(Effect.ignore))),
          "<body>"
        )
      }))

    it.effect("are empty when middleware has streamed them away", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* post(after((request) => Stream.runDrain(request.stream))), "<>")
      }))

    it.effect("are read by the App only, once it has", () =>
      Effect.gen(function*() {
        const app = Handler.make(Effect.gen(function*() {
          const request = yield* HttpServerRequest
          yield* Handler.toEffect(echo)
          const error = yield* Effect.flip(request.text)
          return HttpServerResponse.text(error.message)
        }))
        assert.include(yield* post(app), "The body was read before")
      }))
  })

  describe("interruption", () => {
    for (const [name, wrap] of [["Handler.make", mounted], ["Handler.fromHttpEffect", mountedPlain]] as const) {
      it.effect(`reaches an App that has not answered when the client leaves: ${name}`, () =>
        Effect.gen(function*() {
          const started = Latch.makeUnsafe()
          const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
          const app = App.http(() =>
            Effect.onExit(Effect.andThen(started.open, Effect.never), (exit) => Deferred.succeed(ended, exit))
          )
          const { connect, server } = yield* serve(wrap(app))
          const client = yield* connect()
          yield* client.send(request("GET /"))
          yield* started.await
          yield* client.reset
          assert.isTrue(Exit.hasInterrupts(yield* Deferred.await(ended)))
          yield* ServerMemory.settle
          assert.strictEqual((yield* server.stats).exchanges, 0)
        }))

      it.effect(`reaches an App that goes on after its answer, when the grace is over: ${name}`, () =>
        Effect.gen(function*() {
          const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
          const app = App.http(({ send }) =>
            Effect.onExit(
              Effect.andThen(App.respond(send, 200, "x"), Effect.never),
              (exit) => Deferred.succeed(ended, exit)
            )
          )
          const { connect, server } = yield* serve(wrap(app), { disconnectGrace: "3 seconds" })
          const client = yield* connect()
          yield* client.send(request("GET /"))
          assert.strictEqual(answerIn(yield* client.read).body, "x")
          yield* client.reset
          assert.strictEqual((yield* server.stats).exchanges, 1)
          yield* TestClock.adjust("5 seconds")
          assert.isTrue(Exit.hasInterrupts(yield* Deferred.await(ended)))
          yield* ServerMemory.settle
          assert.strictEqual((yield* server.stats).exchanges, 0)
        }))
    }

    it.effect("reaches an App whose client takes nothing of its parts, and whose client leaves", () =>
      Effect.gen(function*() {
        let sent = 0
        const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
        const app = App.http(({ send }) =>
          Effect.andThen(
            send(start()),
            Effect.forever(
              Effect.andThen(send(body({ body: "x".repeat(10_000), more: true })), Effect.sync(() => void sent++))
            )
          ).pipe(Effect.onExit((exit) => Deferred.succeed(ended, exit)))
        )
        const { connect, server } = yield* serve(mounted(app), { networkBufferBytes: 1_000 })
        const client = yield* connect()
        yield* client.pause
        yield* client.send(request("GET /"))
        assert.isBelow(sent, 20)
        yield* client.reset
        assert.isTrue(Exit.hasInterrupts(yield* Deferred.await(ended)))
        yield* ServerMemory.settle
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }))

    it.effect("lets an App finish that cannot be interrupted, though nobody takes its parts", () =>
      Effect.gen(function*() {
        const done = yield* Deferred.make<void>()
        const app = App.http(({ send }) =>
          Effect.uninterruptible(
            Effect.andThen(
              Effect.forEach([start(), ...Array.from({ length: 5 }, () => body({ body: "x", more: true }))], send),
              Deferred.succeed(done, undefined)
            )
          )
        )
        const instead = Handler.make(Effect.as(Handler.toEffect(app), HttpServerResponse.text("instead")))
        assert.strictEqual(answerIn(yield* exchange(instead, request("GET /"))).body, "instead")
        yield* Deferred.await(done)
      }))
  })

  describe("sessions", () => {
    it.effect("hear of their client's leaving before they are interrupted", () =>
      Effect.gen(function*() {
        for (const protocol of ["websocket", "sse"] as const) {
          const last = yield* Deferred.make<string>()
          const app = App.byType({
            websocket: ({ receive, send }) =>
              Effect.gen(function*() {
                yield* receive
                yield* send({ type: "websocket.accept" })
                yield* Deferred.succeed(last, (yield* receive).type)
              }),
            sse: ({ receive, send }) =>
              Effect.gen(function*() {
                yield* receive
                yield* send({ type: "sse.start" })
                yield* Deferred.succeed(last, (yield* receive).type)
              })
          })
          const { connect } = yield* serve(mounted(app))
          const client = yield* connect()
          yield* client.send(
            protocol === "sse" ? request("GET /", ["accept: text/event-stream"]) : WebSocket.handshake()
          )
          yield* client.reset
          assert.strictEqual(yield* Deferred.await(last), `${protocol}.disconnect`)
        }
      }))

    it.effect("leave the handler around them the request that it had", () =>
      Effect.gen(function*() {
        const same = yield* Deferred.make<boolean>()
        const app = Handler.make(Effect.gen(function*() {
          const before = yield* HttpServerRequest
          const response = yield* Handler.toEffect(Handler.make(Effect.succeed(HttpServerResponse.text("inner"))))
          yield* Deferred.succeed(same, before === (yield* HttpServerRequest))
          return response
        }))
        const answer = answerIn(yield* exchange(app, request("GET /", ["accept: text/event-stream"])))
        assert.strictEqual(answer.body, "inner")
        assert.isTrue(yield* Deferred.await(same))
      }))

    it.effect("see the mount point of the router around them", () =>
      Effect.gen(function*() {
        const inner = App.sse(({ scope, send }) =>
          Effect.andThen(
            send({ type: "sse.start" }),
            send({ type: "sse.send", data: `${scope.rootPath}|${scope.path}|${scope.rawPath}` })
          )
        )
        const app = yield* routed(
          HttpRouter.use((router) => router.prefixed("/admin").add("GET", "/*", Handler.toEffect(inner) as never))
        )
        const answer = answerIn(yield* exchange(app, request("GET /admin/feed", ["accept: text/event-stream"])))
        assert.strictEqual(answer.body, "data: /admin|/feed|/admin/feed\n\n")
      }))

    it.effect("end with the failure of their App: 1011", () =>
      Effect.gen(function*() {
        const app = App.websocket(({ send }) => Effect.andThen(send({ type: "websocket.accept" }), Effect.fail("late")))
        const { connect } = yield* serve(mounted(app))
        assert.deepStrictEqual(yield* (yield* WebSocket.open(connect)).said, ["close 1011"])
      }))

    it.effect("are refused with a log when the App fails before it has accepted", () => {
      const logs = capture()
      return Effect.gen(function*() {
        const app = mounted(App.websocket(() => Effect.die("early")))
        const answer = answerIn(yield* exchange(app, WebSocket.handshake()))
        assert.strictEqual(answer.status, 500)
        assert.strictEqual(logs.lines.filter(({ level }) => level === "Error").length, 1)
      }).pipe(Effect.provide(logs.layer))
    })
  })

  it.effect("dies of a request that is not a Slipway server's", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(
        Effect.provideService(Handler.toEffect(echo), HttpServerRequest, {} as HttpServerRequest)
      )
      assert.isTrue(Exit.hasDies(exit))
    }))
})
