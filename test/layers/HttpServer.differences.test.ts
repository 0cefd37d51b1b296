/** Where a program does see which server it runs on: what each does, and why ours does otherwise. */
import { assert, describe } from "@effect/vitest"
import * as ByteSize from "effect/ByteSize"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Http2 from "node:http2"
import WebSocket from "ws"
import { answersIn } from "../utils/answers.ts"
import { address, ask, closing, connect, node, slipway, testOf } from "../utils/httpServers.ts"

const length = HttpServerRequest.HttpServerRequest.use(({ stream }) =>
  Effect.map(
    Stream.runFold(stream, () => 0, (sum, bytes) => sum + bytes.length),
    (sum) => HttpServerResponse.text(`${sum}`)
  )
)

const hello = Effect.succeed(HttpServerResponse.text("hello"))

const both = [[node, "NodeHttpServer"], [slipway, "Slipway"]] as const

/** The status of a GET over HTTP/2 without an upgrade; 0 where HTTP/2 is not spoken. */
const statusOverHttp2 = Effect.gen(function*() {
  const at = yield* address
  const session = yield* Effect.acquireRelease(
    Effect.sync(() => Http2.connect(at._tag === "tcp" ? `http://${at.host}:${at.port}` : "")),
    (session) => Effect.sync(() => session.destroy())
  )
  return yield* Effect.callback<number>((resume) => {
    session.on("error", () => resume(Effect.succeed(0)))
    const request = session.request({ ":path": "/" })
    request.on("response", (headers) => resume(Effect.succeed(headers[":status"] ?? 0)))
    request.on("error", () => resume(Effect.succeed(0)))
    request.end()
  })
})

/** The answer to a request that was running when the server was told to stop. */
const answeredInDrain = Effect.gen(function*() {
  const scope = yield* Scope.make()
  const [started, release] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
  const handler = Deferred.succeed(started, undefined).pipe(
    Effect.andThen(Deferred.await(release)),
    Effect.andThen(hello)
  )
  yield* Scope.provide(HttpServer.serveEffect(handler), scope)
  const client = yield* connect
  yield* client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
  yield* Deferred.await(started)
  const stopping = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
  yield* Deferred.succeed(release, undefined)
  const answer = answersIn(yield* client.until(/hello$/))[0]!
  client.socket.destroy()
  yield* Fiber.join(stopping)
  return answer
})

for (const [kind, name] of both) {
  const test = testOf(kind)
  const isNode = kind === node

  describe(`${name}, where servers differ`, () => {
    test(
      isNode
        ? "takes bodies of any size unless MaxBodySize is set"
        : "refuses bodies over maxBodyBytes, 10 MB by default, because a server that forgets a limit has none",
      () =>
        Effect.gen(function*() {
          yield* HttpServer.serveEffect(length)
          const response = yield* HttpClient.post("/", { body: HttpBody.uint8Array(new Uint8Array(11_000_000)) })
          assert.strictEqual(response.status, isNode ? 200 : 413)
        })
    )

    test(
      isNode
        ? "holds MaxBodySize for bodies that are read whole, not for streams"
        : "holds MaxBodySize for streams as well, because a limit that one way of reading evades is none",
      () =>
        Effect.gen(function*() {
          yield* Effect.provideService(
            HttpServer.serveEffect(length),
            HttpIncomingMessage.MaxBodySize,
            ByteSize.bytes(10)
          )
          const response = yield* HttpClient.post("/", { body: HttpBody.text("x".repeat(11)) })
          assert.strictEqual(response.status, isNode ? 200 : 413)
        })
    )

    test(
      isNode
        ? "speaks one version of HTTP on a port"
        : "speaks HTTP/2 on the port of HTTP/1.1, so nothing has to be chosen",
      () =>
        Effect.gen(function*() {
          yield* HttpServer.serveEffect(hello)
          assert.strictEqual(yield* statusOverHttp2, isNode ? 0 : 200)
        })
    )

    test(
      isNode
        ? "takes a request with two hosts for the first of them"
        : "refuses a request with two hosts, because whoever stands before us may believe the other (RFC 9112 section 3.2)",
      () =>
        Effect.gen(function*() {
          yield* HttpServer.serveEffect(hello)
          const [answer] = answersIn(yield* ask(closing("GET /", ["host: b"])))
          assert.strictEqual(answer!.status, isNode ? 200 : 400)
        })
    )

    test(
      isNode
        ? "leaves connections open when it stops, until they are idle"
        : "says connection: close in answers while it stops, so clients do not send what would be lost",
      () =>
        Effect.gen(function*() {
          const answer = yield* answeredInDrain
          assert.deepStrictEqual([answer.status, answer.header("connection")], [200, isNode ? "keep-alive" : "close"])
        })
    )

    test(
      isNode
        ? "cannot write a web stream as a raw body"
        : "writes a web stream as a raw body, as the platforms of the web do",
      () =>
        Effect.gen(function*() {
          yield* HttpServer.serveEffect(
            Effect.sync(() => HttpServerResponse.raw(new Blob(["streamed"]).stream(), { contentType: "text/plain" }))
          )
          const bytes = yield* ask(closing("GET /"))
          assert.strictEqual(bytes.includes("streamed"), !isNode)
        })
    )

    test(
      isNode
        ? "writes a reason phrase of the program's own"
        : "writes the registered reason phrase, because HTTP/2 has none and clients ignore it (RFC 9112 section 4)",
      () =>
        Effect.gen(function*() {
          yield* HttpServer.serveEffect(
            Effect.succeed(HttpServerResponse.empty({ status: 200, statusText: "Quite Fine" }))
          )
          const [answer] = answersIn(yield* ask(closing("GET /")))
          assert.strictEqual(answer!.reason, isNode ? "Quite Fine" : "OK")
        })
    )

    test(
      isNode
        ? "answers a response that cannot be sent with an empty 500"
        : "answers a response that cannot be sent with a 500 that says so, as it answers its own faults",
      () =>
        Effect.gen(function*() {
          yield* HttpServer.serveEffect(Effect.succeed(HttpServerResponse.text("x", { headers: { "x a": "1" } })))
          const [answer] = answersIn(yield* ask(closing("GET /")))
          assert.deepStrictEqual([answer!.status, answer!.body], [500, isNode ? "" : "Internal Server Error"])
        })
    )

    testOf(kind, { stopAfter: 0 })(
      isNode
        ? "answers 503 to what outlives the wait of a stop"
        : "cuts what outlives the wait of a stop, because its handler may have done the work already",
      () =>
        Effect.gen(function*() {
          const scope = yield* Scope.make()
          const started = yield* Deferred.make<void>()
          const handler = Effect.interruptible(Effect.andThen(Deferred.succeed(started, undefined), Effect.never))
          yield* Scope.provide(HttpServer.serveEffect(handler), scope)
          const client = yield* connect
          yield* client.send(closing("GET /"))
          yield* Deferred.await(started)
          yield* Scope.close(scope, Exit.void)
          assert.deepStrictEqual(answersIn(yield* client.readAll).map(({ status }) => status), isNode ? [503] : [])
        })
    )

    test(
      isNode
        ? "sends the head of an event stream with its first event"
        : "sends the head of an event stream at once, so that an EventSource is open before the first event",
      () =>
        Effect.gen(function*() {
          const [pulled, release] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
          const events = Stream.fromEffect(
            Effect.as(
              Effect.andThen(Deferred.succeed(pulled, undefined), Deferred.await(release)),
              new Uint8Array([58, 10])
            )
          )
          yield* HttpServer.serveEffect(
            Effect.succeed(HttpServerResponse.stream(events, { contentType: "text/event-stream" }))
          )
          const client = yield* connect
          yield* client.send(closing("GET /"))
          yield* Deferred.await(pulled)
          if (!isNode) yield* client.until(/\r\n\r\n$/)
          assert.strictEqual(client.received.length > 0, !isNode)
          yield* Deferred.succeed(release, undefined)
          yield* client.readAll
        })
    )

    test(
      isNode
        ? "takes 16 KB of headers"
        : "takes 8 KB of headers, as the servers in front of it do",
      () =>
        Effect.gen(function*() {
          yield* HttpServer.serveEffect(hello)
          const [answer] = answersIn(yield* ask(closing("GET /", [`x-large: ${"x".repeat(12_000)}`])))
          assert.strictEqual(answer!.status, isNode ? 200 : 431)
        })
    )

    test(
      isNode
        ? "takes WebSocket messages of 100 MB"
        : "takes WebSocket messages of 1 MB and closes with 1009 for more, unless wsMaxMessageBytes is set",
      () =>
        Effect.gen(function*() {
          const read = HttpServerRequest.HttpServerRequest.use(({ upgrade }) =>
            Effect.scoped(Effect.gen(function*() {
              const socket = yield* upgrade
              const { pull } = yield* socket.reader
              const { write } = yield* socket.writer
              yield* write(`${(yield* pull)[0].length}`)
              return HttpServerResponse.empty()
            }))
          )
          yield* HttpServer.serveEffect(read)
          const at = yield* address
          const told = yield* Effect.acquireUseRelease(
            Effect.sync(() => new WebSocket(at._tag === "tcp" ? `ws://${at.host}:${at.port}` : "")),
            (ws) =>
              Effect.callback<string>((resume) => {
                ws.on("open", () => ws.send("x".repeat(1_100_000)))
                ws.on("message", (data: Buffer) => resume(Effect.succeed(data.toString())))
                ws.on("close", (code) => resume(Effect.succeed(`close ${code}`)))
                ws.on("error", () => {})
              }),
            (ws) => Effect.sync(() => ws.terminate())
          )
          assert.strictEqual(told, isNode ? "1100000" : "close 1009")
        })
    )

    if (!isNode) {
      test("interrupts a handler whose client leaves before its handshake is answered; NodeHttpServer does not notice", () =>
        Effect.gen(function*() {
          const [started, ended] = [yield* Deferred.make<void>(), yield* Deferred.make<Exit.Exit<unknown, unknown>>()]
          yield* HttpServer.serveEffect(
            Deferred.succeed(started, undefined).pipe(
              Effect.andThen(Effect.never),
              Effect.interruptible,
              Effect.onExit((exit) => Deferred.succeed(ended, exit))
            )
          )
          const client = yield* connect
          yield* client.send(
            closing("GET /", [
              "upgrade: websocket",
              "sec-websocket-version: 13",
              "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="
            ]).replace("connection: close", "connection: upgrade")
          )
          yield* Deferred.await(started)
          client.socket.destroy()
          assert.isTrue(Exit.isFailure(yield* Deferred.await(ended)))
        }))
    }
  })
}
