/** Routes for WebSockets and server-sent events, in one table with those for requests. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as App from "../../src/app/App.ts"
import { Problem } from "../../src/app/Problem.ts"
import * as Router from "../../src/app/Router.ts"
import * as Lint from "../../src/middleware/Lint.ts"
import { capture } from "../utils/logs.ts"
import { bodyOf, exchange, headerOf, serve as serveApp } from "../utils/serve.ts"
import * as WebSocket from "../utils/webSocket.ts"

const serve = <E, R>(app: App.App<E, R>) => serveApp(Lint.make()(app))

const getting = (target: string, lines = "", method = "GET") =>
  `${method} ${target} HTTP/1.1\r\nhost: a\r\n${lines}\r\n`
const events = "accept: text/event-stream\r\n"

const ask = <E, R>(app: App.App<E, R>, request: string) => Effect.scoped(exchange(Lint.make()(app), request))

const quiet = Effect.provide(capture().layer)

const Message = Schema.Struct({ n: Schema.Int })

describe("Router", () => {
  it.effect("serves one path as a page, as events and as a WebSocket", () =>
    Effect.gen(function*() {
      const app = Router.make(
        Router.get("/x", () => Effect.succeed("page")),
        Router.sse("/x", () => Stream.make("event")),
        Router.websocket("/x", ({ session }) => session.send("hello"))
      )
      assert.strictEqual(bodyOf(yield* ask(app, getting("/x"))), "page")
      assert.include(yield* ask(app, getting("/x", events)), "data: event\n\n")
      const { connect } = yield* serve(app)
      const session = yield* WebSocket.open(connect, { target: "/x" })
      assert.include(yield* session.said, "text hello")
    }).pipe(quiet))

  describe("sse", () => {
    it.effect("sends what a Stream yields, typed by its Schema, as it comes", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.sse("/ticks/:from", { path: { from: Schema.Int }, data: Message }, ({ path }) =>
            Stream.tick("1 second").pipe(
              Stream.take(2),
              Stream.zipWithIndex,
              Stream.map((pair) => ({ n: path.from + pair[1] }))
            )),
          Router.sse("/later", () =>
            Effect.succeed(Stream.make("a", "b"))),
          Router.sse("/own", { data: Message }, ({ session }) =>
            session.send({ data: { n: 1 }, id: "i", event: "e" }))
        )
        const { connect } = yield* serve(app)
        const client = yield* connect()
        yield* client.send(getting("/ticks/7", events))
        assert.match(yield* client.read, /\r\n\r\n.*data: \{"n":7\}\n\n/s)
        yield* TestClock.adjust("1 second")
        assert.include(yield* client.read, `data: {"n":8}\n\n`)
        assert.match(yield* ask(app, getting("/later", events)), /data: a\n\n[^]*data: b\n\n/)
        const own = yield* ask(app, getting("/own", events))
        for (const line of ["event: e\n", "id: i\n", `data: {"n":1}\n`]) {
          assert.include(own, line)
        }
      }).pipe(quiet))

    it.effect("ends the Stream when the client leaves", () =>
      Effect.gen(function*() {
        let ended = false
        const app = Router.make(
          Router.sse("/", () =>
            Stream.ensuring(
              Stream.concat(Stream.make("first"), Stream.never),
              Effect.sync(() => {
                ended = true
              })
            ))
        )
        const { connect, server } = yield* serve(app)
        const client = yield* connect()
        yield* client.send(getting("/", events))
        assert.include(yield* client.read, "data: first")
        yield* client.end
        yield* TestClock.adjust("10 seconds")
        assert.isTrue(ended)
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }).pipe(quiet))

    it.effect("gives a path without events to the route for its method, and is not found per protocol [C179]", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.get("/page", ({ request }) => Effect.succeed(`page for ${request.headers["accept"]}`)),
          Router.websocket("/socket", ({ session }) => session.close())
        )
        const page = yield* ask(app, getting("/page", events))
        assert.match(page, /^HTTP\/1\.1 200 /)
        assert.strictEqual(bodyOf(page), "page for text/event-stream")
        assert.match(yield* ask(app, getting("/page", events, "POST")), /^HTTP\/1\.1 405 /)
        const nothing = yield* ask(app, getting("/nothing", events))
        assert.match(nothing, /^HTTP\/1\.1 404 /)
        assert.strictEqual(headerOf(nothing, "content-type"), "application/problem+json")
        assert.match(yield* ask(app, getting("/socket")), /^HTTP\/1\.1 404 /)
      }).pipe(quiet))
  })

  describe("websocket", () => {
    it.effect("exchanges messages typed by their Schema", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.websocket("/double/:by", { path: { by: Schema.Int }, message: Message }, ({ path, session }) =>
            session.sendAll(Stream.map(session.messages, ({ n }) => ({ n: n * path.by }))))
        )
        const { connect } = yield* serve(app)
        const session = yield* WebSocket.open(connect, { target: "/double/3" })
        yield* session.send(WebSocket.text(`{"n":2}`))
        assert.deepStrictEqual(yield* session.said, [`text {"n":6}`])
        yield* session.send(WebSocket.text(`{"n":"x"}`))
        assert.match((yield* session.said).join(), /^close 1007/)
      }).pipe(quiet))

    it.effect("is declined with 404 where there is no route, wholly where the server can [C179]", () =>
      Effect.gen(function*() {
        const app = Router.make(Router.get("/page", () => Effect.succeed("")))
        const withExtensions = (extensions: {}): App.Middleware => (app) => (exchange) =>
          app(App.derive(exchange, { scope: { ...exchange.scope, extensions } } as never))
        const answer = yield* ask(app, WebSocket.handshake([], "/page"))
        assert.match(answer, /^HTTP\/1\.1 404 /)
        assert.strictEqual(headerOf(answer, "content-type"), "application/problem+json")
        assert.match(yield* ask(withExtensions({})(app), WebSocket.handshake([], "/page")), /^HTTP\/1\.1 403 /)
      }).pipe(quiet))

    it.effect("answers a failure before the session is open as any other", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const app = Router.make(
          Router.websocket("/typed", { query: { n: Schema.Int } }, () => Effect.void),
          Router.websocket("/problem", () => Effect.fail(new Problem({ status: 409 }))),
          Router.websocket("/bug", () => Effect.die("bug")),
          Router.sse("/bug", () => Effect.die("bug"))
        )
        const status = (request: string) => Effect.map(ask(app, request), (answer) => answer.slice(9, 12))
        assert.strictEqual(yield* status(WebSocket.handshake([], "/typed?n=x")), "400")
        assert.strictEqual(yield* status(WebSocket.handshake([], "/problem")), "409")
        assert.strictEqual(yield* status(WebSocket.handshake([], "/bug")), "500")
        assert.strictEqual(yield* status(getting("/bug", events)), "500")
        assert.strictEqual(lines.filter(({ message }) => message.includes("/bug failed")).length, 2)
      }).pipe(Effect.provide(layer))
    })

    it.effect("leaves a failure of an open session to the server", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const app = Router.make(
          Router.websocket("/", ({ session }) => Effect.andThen(session.send("a"), Effect.fail("boom")))
        )
        const { connect } = yield* serve(app)
        const session = yield* WebSocket.open(connect)
        assert.match((yield* session.said).join(), /^text a,close 1011/)
        assert.deepStrictEqual(lines.filter(({ cause }) => cause.includes("boom")).length, 1)
        assert.isFalse(lines.some(({ cause }) => cause.includes("SendError")))
      }).pipe(Effect.provide(layer))
    })

    it.effect("asks onError before the session is open", () =>
      Effect.gen(function*() {
        const app = Router.make(
          { onError: (cause) => Effect.succeed(HttpServerResponse.text(String(Cause.squash(cause)), { status: 418 })) },
          Router.websocket("/", () => Effect.fail("tea"))
        )
        const answer = yield* ask(app, WebSocket.handshake())
        assert.match(answer, /^HTTP\/1\.1 418 /)
        assert.strictEqual(bodyOf(answer), "tea")
      }).pipe(quiet))

    it.effect("has the services of a request", () =>
      Effect.gen(function*() {
        const released: Array<string> = []
        const app = Router.make(
          Router.websocket("/:a", ({ params, path, request, session }) =>
            Effect.gen(function*() {
              yield* Effect.addFinalizer(() => Effect.sync(() => released.push("released")))
              const same = (yield* HttpServerRequest) === request
              yield* session.send(JSON.stringify([path, params, request.headers["x-a"], same]))
            }))
        )
        const { connect } = yield* serve(app)
        const session = yield* WebSocket.open(connect, { target: "/b", lines: ["x-a: c"] })
        assert.deepStrictEqual((yield* session.said)[0], `text [{"a":"b"},{"a":"b"},"c",true]`)
        assert.deepStrictEqual(released, ["released"])
      }).pipe(quiet))
  })

  it.effect("passes, mounts, groups, hosts and slashes are for sessions too [C180] [C182] [C184]", () =>
    Effect.gen(function*() {
      const seen = yield* Queue.unbounded<string>()
      const note: App.Middleware = (app) => (exchange) =>
        Effect.andThen(Queue.offer(seen, exchange.type), app(exchange))
      const inner = Router.make(
        { trailingSlash: "ignore" },
        Router.websocket("/room/:name", ({ params, session }) => {
          const { path, rootPath } = session.exchange.scope
          return session.send(JSON.stringify([rootPath, path, params]))
        })
      )
      const app = Router.make(
        Router.websocket("/p/:a", () => Router.pass),
        Router.websocket("/p/:b", ({ path, session }) => session.send(`second ${path.b}`)),
        Router.sse("/p/:a", () => Router.pass),
        Router.sse("/p/:b", ({ path }) => Stream.make(`second ${path.b}`)),
        Router.group("/g", { middleware: note }, Router.mount("/m/:id", inner)),
        Router.host("a", Router.sse("/", () => Stream.make("of host a")))
      )
      const { connect } = yield* serve(app)
      const first = (target: string) =>
        Effect.gen(function*() {
          const session = yield* WebSocket.open(connect, { target })
          return (yield* session.said)[0]
        })
      assert.strictEqual(yield* first("/p/x"), "text second x")
      assert.include(yield* ask(app, getting("/p/y", events)), "data: second y")
      assert.strictEqual(
        yield* first("/g/m/7/room/n/"),
        `text ["/g/m/7","/room/n/",{"id":"7","name":"n"}]`
      )
      assert.strictEqual(yield* Queue.take(seen), "websocket")
      assert.include(yield* ask(app, getting("/", events)), "data: of host a")
    }).pipe(quiet))
})
