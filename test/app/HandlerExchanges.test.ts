import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import { ClientAbort } from "effect/http/HttpServerError"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as App from "../../src/app/App.ts"
import * as Handler from "../../src/app/Handler.ts"
import { answerIn, request } from "../utils/answers.ts"
import { exchange, serve } from "../utils/serve.ts"
import { serveStoppable } from "../utils/stoppable.ts"
import * as WebSocket from "../utils/webSocket.ts"

const describeRequest = Handler.make(
  Effect.flatMap(
    HttpServerRequest,
    (request) =>
      Effect.map(
        request.text,
        (body) =>
          HttpServerResponse.jsonUnsafe({ method: request.method, url: request.url, whole: request.originalUrl, body })
      )
  )
)

/** An effect/http program whose routes are `routes`, as an App. */
const routed = <R>(routes: Layer.Layer<never, never, R>) =>
  Effect.map(HttpRouter.toHttpEffect(routes as Layer.Layer<never, never, HttpRouter.HttpRouter>), Handler.make)

describe("Handler", () => {
  describe("a request for an event stream", () => {
    const ask = (app: App.App<unknown>, line = "GET /feed?a=1") =>
      Effect.map(
        exchange(app, request(line, ["accept: text/event-stream", "content-length: 2"], "hi")),
        (bytes) => answerIn(bytes)
      )

    it.effect("is a request like any other", () =>
      Effect.gen(function*() {
        const answer = yield* ask(describeRequest, "POST /feed?a=1")
        assert.strictEqual(answer.status, 200)
        assert.deepStrictEqual(JSON.parse(answer.body), {
          method: "POST",
          url: "/feed?a=1",
          whole: "http://a/feed?a=1",
          body: "hi"
        })
      }))

    it.effect("is answered part by part when the handler streams", () =>
      Effect.gen(function*() {
        const parts = Stream.make("data: 1\n\n", "data: 2\n\n").pipe(Stream.rechunk(1), Stream.encodeText)
        const app = Handler.make(Effect.succeed(HttpServerResponse.stream(parts, { contentType: "text/event-stream" })))
        const answer = yield* ask(app)
        assert.strictEqual(answer.header("content-type"), "text/event-stream")
        assert.deepStrictEqual(answer.chunks, ["data: 1\n\n", "data: 2\n\n"])
      }))
  })

  it.effect("sends the head of an event stream before its first event, whatever the client accepts", () =>
    Effect.gen(function*() {
      const response = HttpServerResponse.stream(Stream.never, { contentType: "text/event-stream" })
      const { connect } = yield* serve(Handler.make(Effect.succeed(response)))
      for (const accept of ["*/*", "text/event-stream"]) {
        const client = yield* connect()
        yield* client.send(request("GET /", [`accept: ${accept}`]))
        assert.match(yield* client.read, /^HTTP\/1.1 200 .*content-type: text\/event-stream\r\n/s)
        yield* client.reset
      }
    }))

  describe("a WebSocket handshake", () => {
    it.effect("is a GET, and its answer declines", () =>
      Effect.gen(function*() {
        const answer = answerIn(yield* exchange(describeRequest, WebSocket.handshake([], "/chat")))
        assert.strictEqual(answer.status, 200)
        assert.deepStrictEqual(JSON.parse(answer.body), {
          method: "GET",
          url: "/chat",
          whole: "http://a/chat",
          body: ""
        })
      }))

    const upgrading = <A, E>(talk: (socket: Socket.Socket) => Effect.Effect<A, E>) =>
      Handler.make(
        Effect.as(
          Effect.flatMap(Effect.flatten(HttpServerRequest.useSync((request) => request.upgrade)), talk),
          HttpServerResponse.empty()
        )
      )

    it.effect("becomes effect's Socket: messages both ways, and 1000 at the end", () =>
      Effect.gen(function*() {
        const app = upgrading((socket) =>
          Effect.gen(function*() {
            const { pull } = yield* socket.reader
            const writer = yield* socket.writer
            for (let i = 0; i < 2; i++) {
              const [message] = yield* pull
              yield* writer.write(typeof message === "string" ? `${message}!` : message)
            }
          }).pipe(Effect.scoped)
        )
        const { connect } = yield* serve(app)
        const session = yield* WebSocket.open(connect)
        yield* session.send(WebSocket.text("hey"))
        yield* session.send(WebSocket.binary(new Uint8Array([1, 2])))
        assert.deepStrictEqual(yield* session.said, ["text hey!", "binary 0102", "close 1000"])
      }))

    it.effect("fails pulls with the peer's close code", () =>
      Effect.gen(function*() {
        const ended = yield* Deferred.make<Socket.SocketError>()
        const app = upgrading((socket) =>
          Effect.flatMap(socket.reader, ({ pull }) => pull).pipe(
            Effect.scoped,
            Effect.flip,
            Effect.flatMap((error) => Deferred.succeed(ended, error))
          )
        )
        const { connect } = yield* serve(app)
        const session = yield* WebSocket.open(connect)
        yield* session.send(WebSocket.close(4001, "bye"))
        const { reason } = yield* Deferred.await(ended)
        assert.isTrue(reason._tag === "SocketCloseError" && reason.code === 4001 && reason.closeReason === "bye")
      }))
  })

  describe("a request for another protocol", () => {
    const upgraded = ["connection: Upgrade", "upgrade: echo/1"]

    /** Sends back what comes until the peer has ended. */
    const echoing = Handler.make(
      Effect.gen(function*() {
        const request = yield* HttpServerRequest
        const socket = yield* request.upgradeWith({ headers: { "x-agreed": "yes" } })
        yield* Stream.runForEach(
          Socket.toStream(socket),
          (bytes) => Effect.scoped(Effect.flatMap(socket.writer, (writer) => writer.write(bytes)))
        ).pipe(Effect.ignore)
        return HttpServerResponse.empty()
      })
    )

    it.effect("gets 101 and the raw connection, with the bytes that came behind the body", () =>
      Effect.gen(function*() {
        // Below a mount point the exchange is a copy.
        const { connect } = yield* serve(App.mount("/below", echoing)(App.decline))
        const client = yield* connect()
        yield* client.send(request("POST /below", [...upgraded, "content-length: 4"], "body") + "first")
        const [head, first] = (yield* client.read).split("\r\n\r\n")
        assert.deepStrictEqual(head!.split("\r\n").slice(0, 4), [
          "HTTP/1.1 101 Switching Protocols",
          "upgrade: echo/1",
          "connection: Upgrade",
          "x-agreed: yes"
        ])
        assert.strictEqual(first, "first")
        yield* client.send("GET / HTTP/1.1\r\n")
        assert.strictEqual(yield* client.read, "GET / HTTP/1.1\r\n")
        yield* client.end
        assert.isTrue(yield* client.isEnded)
      }))

    it.effect("stops reading while the handler does not pull, and loses nothing", () =>
      Effect.gen(function*() {
        const go = Latch.makeUnsafe()
        const sizes: Array<number> = []
        const app = Handler.make(
          Effect.gen(function*() {
            const socket = yield* (yield* HttpServerRequest).upgrade
            const { pull } = yield* socket.reader
            yield* go.await
            yield* Effect.ignore(Effect.forever(Effect.map(pull, ([bytes]) => sizes.push(bytes.length))))
            return HttpServerResponse.empty()
          })
        )
        const { connect } = yield* serve(app)
        const client = yield* connect()
        yield* client.send(request("GET /", upgraded))
        for (let i = 0; i < 40; i++) yield* client.send("x".repeat(10_000))
        assert.isAbove(yield* client.unsentBytes, 200_000)
        yield* go.open
        yield* client.end
        yield* client.ended
        assert.strictEqual(sizes.reduce((sum, size) => sum + size, 0), 400_000)
      }))

    it.effect("is answered like any other by a handler that does not upgrade", () =>
      Effect.gen(function*() {
        const answer = answerIn(yield* exchange(describeRequest, request("GET /plain", upgraded)))
        assert.deepStrictEqual([answer.status, JSON.parse(answer.body).url], [200, "/plain"])
      }))

    it.effect("cannot be upgraded once it is answered, nor with headers of the switch itself", () =>
      Effect.gen(function*() {
        const app = Handler.make(
          Effect.gen(function*() {
            const request = yield* HttpServerRequest
            const error = yield* Effect.flip(request.upgradeWith({ headers: { "content-length": "1" } }))
            return HttpServerResponse.text(error.message)
          })
        )
        const answer = answerIn(yield* exchange(app, request("GET /", upgraded)))
        assert.include(answer.body, "Upgrade responses cannot set the content-length header")
      }))

    it.effect("ends with the server", () =>
      Effect.gen(function*() {
        const { connect, stop } = yield* serveStoppable(echoing, { shutdownTimeout: "1 second" })
        const client = yield* connect()
        yield* client.send(request("GET /", upgraded))
        const stopping = yield* stop
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(stopping)
        assert.isTrue(yield* client.isEnded)
      }))
  })

  it.effect("marks an interruption by the client as effect/http does", () =>
    Effect.gen(function*() {
      const started = Latch.makeUnsafe()
      const seen = yield* Deferred.make<boolean>()
      const app = Handler.make(
        Effect.andThen(started.open, Effect.never).pipe(
          Effect.onExit((exit) =>
            Deferred.succeed(
              seen,
              exit._tag === "Failure" && exit.cause.reasons.every((reason) => reason.annotations.has(ClientAbort.key))
            )
          )
        )
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("GET /"))
      yield* started.await
      yield* client.reset
      assert.isTrue(yield* Deferred.await(seen))
    }))

  it.effect("runs an HttpApi inside of an App, below its mount point", () =>
    Effect.gen(function*() {
      const hello = HttpApiEndpoint.get("hello", "/hello/:name", {
        params: { name: Schema.String },
        success: Schema.Struct({ hello: Schema.String })
      })
      const Api = HttpApi.make("api").add(HttpApiGroup.make("greetings").add(hello))
      const handlers = HttpApiBuilder.group(
        Api,
        "greetings",
        (handlers) => handlers.handle("hello", ({ params }) => Effect.succeed({ hello: params.name }))
      )
      const api = yield* HttpRouter.toHttpEffect(Layer.provide(HttpApiBuilder.layer(Api), handlers))
      const app = App.mount("/api", Handler.make(api))(App.decline)
      assert.strictEqual(answerIn(yield* exchange(app, request("GET /api/hello/you"))).body, `{"hello":"you"}`)
      assert.strictEqual(answerIn(yield* exchange(app, request("GET /api/none"))).status, 404)
    }).pipe(Effect.provide(HttpServer.layerServices)))

  describe("toEffect", () => {
    it.effect("mounts an App inside an HttpRouter, with what the router took away as rootPath", () =>
      Effect.gen(function*() {
        const inner = App.http(({ scope, send }) => App.respond(send, 200, `${scope.rootPath}|${scope.path}`))
        const app = yield* routed(
          HttpRouter.use((router) => router.prefixed("/admin").add("GET", "/*", Handler.toEffect(inner) as never))
        )
        const answer = answerIn(yield* exchange(app, request("GET /admin/a%20b?x=1")))
        assert.strictEqual(answer.body, "/admin|/a b")
      }))

    it.effect("makes a response that middleware can change, cookies and streams included", () =>
      Effect.gen(function*() {
        const inner = App.http(({ send }) =>
          Effect.gen(function*() {
            const headers = [["content-type", "text/plain"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]] as const
            yield* send({ type: "http.response.start", status: 201, headers })
            yield* send({ type: "http.response.body", body: "one", more: true })
            yield* send({ type: "http.response.body", body: "two" })
          })
        )
        const app = Handler.make(Effect.map(Handler.toEffect(inner), HttpServerResponse.setHeader("x-outer", "yes")))
        const answer = answerIn(yield* exchange(app, request("GET /")))
        assert.deepStrictEqual(
          [answer.status, answer.header("content-type"), answer.header("x-outer"), answer.body],
          [201, "text/plain", "yes", "onetwo"]
        )
        const cookies = answer.headers.filter(([name]) => name === "set-cookie").map(([, value]) => value)
        assert.deepStrictEqual(cookies, ["a=1", "b=2"])
      }))

    it.effect("fails with what the App fails with before its answer", () =>
      Effect.gen(function*() {
        const inner = App.http(() => Effect.fail("early" as const))
        const app = Handler.make(
          Effect.catch(Handler.toEffect(inner), (error) => Effect.succeed(HttpServerResponse.text(String(error))))
        )
        assert.strictEqual(answerIn(yield* exchange(app, request("GET /"))).body, "early")
      }))

    it.effect("breaks the answer off when the App fails in the middle of it", () =>
      Effect.gen(function*() {
        const inner = App.http(({ send }) =>
          Effect.andThen(
            Effect.andThen(
              send({ type: "http.response.start", status: 200 }),
              send({ type: "http.response.body", body: "one", more: true })
            ),
            Effect.die("late")
          )
        )
        const answer = answerIn(yield* exchange(Handler.make(Handler.toEffect(inner)), request("GET /")))
        assert.isFalse(answer.complete)
      }))

    it.effect("lets the App finish after its answer, and interrupts one that nobody listens to", () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const answering = App.http(({ send }) =>
          Effect.andThen(
            App.respond(send, 200, "whole"),
            Effect.andThen(Effect.yieldNow, Effect.sync(() => log.push("after")))
          )
        )
        yield* exchange(Handler.make(Handler.toEffect(answering)), request("GET /"))
        const endless = App.http(({ send }) =>
          Effect.andThen(
            send({ type: "http.response.start", status: 200 }),
            Effect.forever(send({ type: "http.response.body", body: "more", more: true }))
          ).pipe(Effect.onExit((exit) =>
            Effect.sync(() =>
              log.push(exit._tag === "Failure" && Cause.hasInterruptsOnly(exit.cause) ? "stopped" : "?")
            )
          ))
        )
        const replaced = Handler.make(Effect.as(Handler.toEffect(endless), HttpServerResponse.text("instead")))
        const answer = answerIn(yield* exchange(replaced, request("GET /")))
        assert.deepStrictEqual([answer.body, ...log], ["instead", "after", "stopped"])
      }))

    it.effect("gives the App its own exchange where the client asked for a WebSocket", () =>
      Effect.gen(function*() {
        const app = Handler.make(Handler.toEffect(App.websocket(WebSocket.echo)))
        const { connect } = yield* serve(app)
        const session = yield* WebSocket.open(connect)
        yield* session.send(WebSocket.text("hey"))
        assert.deepStrictEqual(yield* session.said, ["text hey"])
      }))
  })
})
