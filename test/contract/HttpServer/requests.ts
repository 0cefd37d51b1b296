/** Request bodies: whole, parsed, streamed, empty, read twice, too large, unread, and announced by Expect. */
import { assert, describe } from "@effect/vitest"
import * as ByteSize from "effect/ByteSize"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import type { HttpServerError } from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Zlib from "node:zlib"
import { answersIn } from "../../utils/answers.ts"
import { ask, closing, connect, type HttpServerKind, serveRoutes, testOf } from "../../utils/httpServers.ts"

type Request = HttpServerRequest.HttpServerRequest

/** A POST route that answers with what `read` makes of the body, as JSON. */
const reading = <E, R>(path: `/${string}`, read: (request: Request) => Effect.Effect<unknown, E, R>) =>
  HttpRouter.add(
    "POST",
    path,
    (request: Request) => Effect.flatMap(read(request), (read) => HttpServerResponse.json(read))
  )

const post = (path: string, body: HttpBody.HttpBody) => HttpClient.post(path, { body })
const postText = (path: string, body: string) => post(path, HttpBody.text(body))

const chunked = (path: string, parts: ReadonlyArray<string>): string =>
  closing(`POST ${path}`, ["transfer-encoding: chunked"]) +
  [...parts, ""].map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join("")

const lengthOf = (stream: Stream.Stream<Uint8Array, HttpServerError>) =>
  Stream.runFold(stream, () => 0, (sum, bytes) => sum + bytes.length)

export const requests = (kind: HttpServerKind): void => {
  const test = testOf(kind)

  describe("request bodies", () => {
    test("are read as text, JSON, bytes, a form and a stream", () =>
      Effect.gen(function*() {
        const routes: Record<string, (request: Request) => Effect.Effect<unknown, HttpServerError>> = {
          "/text": (request) => request.text,
          "/json": (request) => request.json,
          "/bytes": (request) => Effect.map(request.arrayBuffer, (buffer) => Array.from(new Uint8Array(buffer))),
          "/form": (request) => Effect.map(request.urlParamsBody, (params) => Array.from(params)),
          "/stream": (request) => Stream.mkString(Stream.decodeText(request.stream))
        }
        yield* serveRoutes(HttpRouter.addAll(
          Object.entries(routes).map(([path, read]) =>
            HttpRouter.route("POST", path as "/", (request: Request) =>
              Effect.flatMap(read(request), (read) =>
                HttpServerResponse.json(read)))
          )
        ))
        const answer = (path: string, body: HttpBody.HttpBody) =>
          Effect.flatMap(post(path, body), ({ json }) => json)
        assert.strictEqual(yield* answer("/text", HttpBody.text("grüße")), "grüße")
        assert.deepStrictEqual(yield* answer("/json", HttpBody.jsonUnsafe({ a: [1, null] })), { a: [1, null] })
        assert.deepStrictEqual(yield* answer("/bytes", HttpBody.uint8Array(Uint8Array.of(0, 255, 13))), [0, 255, 13])
        assert.deepStrictEqual(yield* answer("/form", HttpBody.text("?a=1&b=%C3%A4+x&a=2&c")), [
          ["?a", "1"],
          ["b", "ä x"],
          ["a", "2"],
          ["c", ""]
        ])
        assert.strictEqual(
          yield* answer("/stream", HttpBody.stream(Stream.encodeText(Stream.make("one ", "two ", "three")))),
          "one two three"
        )
      }))

    test("are decoded with Schemas: JSON, forms, and 400 where they do not fit", () =>
      Effect.gen(function*() {
        const Todo = Schema.Struct({ id: Schema.FiniteFromString, title: Schema.String })
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route(
            "POST",
            "/json",
            Effect.flatMap(HttpServerRequest.schemaBodyJson(Todo), HttpServerResponse.json)
          ),
          HttpRouter.route(
            "POST",
            "/form",
            Effect.flatMap(HttpServerRequest.schemaBodyUrlParams(Todo), HttpServerResponse.json)
          ),
          HttpRouter.route(
            "POST",
            "/either",
            Effect.flatMap(HttpServerRequest.schemaBodyForm(Todo), HttpServerResponse.json)
          ),
          HttpRouter.route(
            "POST",
            "/field",
            Effect.flatMap(
              HttpServerRequest.schemaBodyFormJson(Todo)("field"),
              HttpServerResponse.json
            )
          )
        ]))
        const todo = { id: "1", title: "x" }
        const form = HttpBody.urlParams([["id", "1"], ["title", "x"]])
        const wrong = HttpBody.urlParams([["id", "one"]])
        const field = HttpBody.urlParams([["field", JSON.stringify(todo)]])
        for (
          const [path, body] of [["/json", HttpBody.jsonUnsafe(todo)], ["/form", form], ["/either", form], [
            "/field",
            field
          ]] as const
        ) {
          assert.deepStrictEqual(yield* (yield* post(path, body)).json, { id: 1, title: "x" }, path)
        }
        for (
          const [path, body] of [["/json", HttpBody.jsonUnsafe({})], ["/form", wrong], ["/either", wrong], [
            "/field",
            form
          ]] as const
        ) {
          assert.strictEqual((yield* post(path, body)).status, 400, path)
        }
      }))

    test("that are empty are empty text, null as JSON, no parameters and an empty stream", () =>
      Effect.gen(function*() {
        yield* serveRoutes(reading("/", (request) =>
          Effect.all([
            request.text,
            request.json,
            Effect.map(request.arrayBuffer, (buffer) => buffer.byteLength),
            Effect.map(request.urlParamsBody, (params) => Array.from(params).length)
          ])))
        yield* Effect.forEach(
          [closing("POST /"), closing("POST /", ["content-length: 0"]), chunked("/", [])],
          (bytes) =>
            Effect.map(
              ask(bytes),
              (answer) => assert.deepStrictEqual(JSON.parse(answersIn(answer)[0]!.body), ["", null, 0, 0])
            )
        )
      }))

    test("that are empty are an empty stream", () =>
      Effect.gen(function*() {
        yield* serveRoutes(reading("/", (request) => lengthOf(request.stream)))
        yield* Effect.forEach(
          [closing("POST /"), closing("POST /", ["content-length: 0"]), chunked("/", [])],
          (bytes) => Effect.map(ask(bytes), (answer) => assert.strictEqual(answersIn(answer)[0]!.body, "0"))
        )
      }))

    test("that are not JSON are answered with 400", () =>
      Effect.gen(function*() {
        yield* serveRoutes(reading("/", (request) => request.json))
        for (const body of ["{", "undefined", "{\"a\":1}x", "\u0000"]) {
          const response = yield* postText("/", body)
          assert.deepStrictEqual([response.status, yield* response.text], [400, ""], body)
        }
      }))

    test("are decoded as UTF-8: a byte order mark is not text, what is no UTF-8 is replaced", () =>
      Effect.gen(function*() {
        yield* serveRoutes(reading("/", (request) => request.text))
        const response = yield* post("/", HttpBody.uint8Array(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61, 0xff)))
        assert.strictEqual(yield* response.json, "a\ufffd")
      }))

    test("may be read whole as often as one likes, in any form", () =>
      Effect.gen(function*() {
        yield* serveRoutes(reading("/", (request) =>
          Effect.all([
            request.text,
            request.json,
            request.text,
            Effect.map(request.arrayBuffer, (b) => b.byteLength)
          ])))
        assert.deepStrictEqual(yield* (yield* postText("/", "[1]")).json, ["[1]", [1], "[1]", 3])
      }))

    test("stay readable through a changed view of the request", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.use((router) =>
          router.prefixed("/mounted").add("POST", "/x", (request) =>
            Effect.map(request.text, (text) =>
              HttpServerResponse.text(`${request.url} ${text}`)))
        ))
        assert.strictEqual(yield* (yield* postText("/mounted/x", "body")).text, "/x body")
      }))

    test("of any size arrive whole, with a length and in chunks", () =>
      Effect.gen(function*() {
        yield* serveRoutes(reading("/", (request) => lengthOf(request.stream)))
        const size = 3_000_000
        const part = new Uint8Array(size / 30)
        const parts = Stream.fromIterable(Array.from({ length: 30 }, () => part))
        assert.strictEqual(yield* (yield* post("/", HttpBody.uint8Array(new Uint8Array(size)))).json, size)
        assert.strictEqual(yield* (yield* post("/", HttpBody.stream(parts))).json, size)
      }))

    test("are streamed while they arrive, and the answer may start before they end", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("POST", "/", (request) =>
          Effect.succeed(HttpServerResponse.stream(Stream.map(request.stream, (bytes) =>
            bytes)))))
        const client = yield* connect
        yield* client.send("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 10\r\n\r\nfirst")
        yield* client.until(/first/)
        yield* client.send("secon")
        assert.strictEqual(answersIn(yield* client.readAll)[0]!.body, "firstsecon")
      }))

    test("that nobody reads do not stand in the way of the next request", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route("POST", "/", HttpServerResponse.text("unread")),
          HttpRouter.route("GET", "/", HttpServerResponse.text("next"))
        ]))
        const unread = `POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n${"x".repeat(1000)}`
        const answers = answersIn(yield* ask(unread + closing("GET /")))
        assert.deepStrictEqual(answers.map(({ body }) => body), ["unread", "next"])
      }))

    test("are decompressed by the middleware", () =>
      Effect.gen(function*() {
        yield* HttpServer.serveEffect(
          HttpMiddleware.decompression()(
            HttpServerRequest.HttpServerRequest.use(({ text }) =>
              Effect.map(text, (text) => HttpServerResponse.text(text))
            )
          )
        )
        const send = (encoding: string, body: Uint8Array) =>
          HttpClient.execute(
            HttpClientRequest.post("/").pipe(
              HttpClientRequest.bodyUint8Array(body),
              HttpClientRequest.setHeader("content-encoding", encoding)
            )
          )
        assert.strictEqual(yield* (yield* send("gzip", Zlib.gzipSync("zipped"))).text, "zipped")
        assert.strictEqual(yield* (yield* send("deflate", Zlib.deflateSync("zipped"))).text, "zipped")
        const unknown = yield* send("compress", new Uint8Array(1))
        assert.deepStrictEqual([unknown.status, unknown.headers["accept-encoding"]], [415, "gzip, deflate"])
        assert.strictEqual((yield* send("gzip", Uint8Array.of(1, 2, 3))).status, 400)
      }))
  })

  describe("MaxBodySize", () => {
    const limited = Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.bytes(10))

    test("answers 413 for a body that is larger, however it is read and framed", () =>
      Effect.gen(function*() {
        const routes: Record<string, (request: Request) => Effect.Effect<unknown, HttpServerError>> = {
          "/text": (request) => request.text,
          "/json": (request) => request.json,
          "/form": (request) => request.urlParamsBody,
          "/bytes": (request) => request.arrayBuffer
        }
        yield* serveRoutes(HttpRouter.addAll(
          Object.entries(routes).map(([path, read]) =>
            HttpRouter.route("POST", path as "/", (request: Request) =>
              Effect.as(limited(read(request)), HttpServerResponse.text("fits")))
          )
        ))
        for (const path of Object.keys(routes)) {
          assert.strictEqual((yield* postText(path, "\"12345678\"")).status, 200, path)
          assert.strictEqual((yield* postText(path, "\"123456789\"")).status, 413, path)
          const [answer] = answersIn(yield* ask(chunked(path, ["\"1234567", "89\""])))
          assert.strictEqual(answer!.status, 413, path)
        }
      }))

    test("can be set for all routes, around the server", () =>
      Effect.gen(function*() {
        yield* limited(serveRoutes(reading("/", (request) => request.text)))
        assert.strictEqual((yield* postText("/", "1234567890")).status, 200)
        assert.strictEqual((yield* postText("/", "12345678901")).status, 413)
      }))

    test("can be caught and answered otherwise", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("POST", "/", (request) =>
          limited(request.text).pipe(
            Effect.map((text) => HttpServerResponse.text(text)),
            Effect.catchTag("HttpServerError", ({ reason }) =>
              Effect.succeed(HttpServerResponse.text(
                reason._tag === "RequestParseError" ? reason.reason ?? "Parse" : reason._tag
              )))
          )))
        assert.strictEqual(yield* (yield* postText("/", "12345678901")).text, "BodyTooLarge")
      }))
  })

  describe("Expect: 100-continue", () => {
    const expecting =
      "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n"

    test("is answered with 100 when the body is asked for, and not before", () =>
      Effect.gen(function*() {
        const [started, read] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        yield* serveRoutes(HttpRouter.add("POST", "/", (request) =>
          Deferred.succeed(started, undefined).pipe(
            Effect.andThen(Deferred.await(read)),
            Effect.andThen(request.text),
            Effect.map((text) => HttpServerResponse.text(text))
          )))
        const client = yield* connect
        yield* client.send(expecting)
        yield* Deferred.await(started)
        assert.strictEqual(client.received, "")
        yield* Deferred.succeed(read, undefined)
        yield* client.until(/^HTTP\/1\.1 100 Continue\r\n\r\n$/)
        yield* client.send("body")
        assert.deepStrictEqual(answersIn(yield* client.readAll).map(({ body, status }) => [status, body]), [
          [100, ""],
          [200, "body"]
        ])
      }))

    test("is answered without 100 when nobody asks for the body, and the connection closes", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("POST", "/", HttpServerResponse.text("no", { status: 401 })))
        const client = yield* connect
        yield* client.send(expecting.replace("connection: close\r\n", ""))
        const [answer] = answersIn(yield* client.readAll)
        assert.deepStrictEqual([answer!.status, answer!.body, answer!.header("connection")], [401, "no", "close"])
      }))
  })
}
