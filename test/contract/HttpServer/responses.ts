/** Response bodies of every kind, their framing, their backpressure, and what happens when one breaks. */
import { assert, describe } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Sse from "effect/encoding/Sse"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Headers from "effect/http/Headers"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Readable } from "node:stream"
import { answersIn } from "../../utils/answers.ts"
import { address, ask, closing, connect, type HttpServerKind, serveRoutes, testOf } from "../../utils/httpServers.ts"
import * as Sockets from "../../utils/sockets.ts"

type Response = HttpServerResponse.HttpServerResponse

/** Serves one response for each path. */
const serveAll = (responses: Record<string, Response | Effect.Effect<Response>>) =>
  serveRoutes(HttpRouter.addAll(
    Object.entries(responses).map(([path, response]) => HttpRouter.route("GET", path as "/", response as Response))
  ))

const textStream = (...parts: ReadonlyArray<string>) => Stream.encodeText(Stream.fromIterable(parts))

const webStream = (...parts: ReadonlyArray<string>) =>
  new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(new TextEncoder().encode(part))
      controller.close()
    }
  })

const got = (path: string) => Effect.map(ask(closing(`GET ${path}`)), (answer) => answersIn(answer)[0]!)

/** The headers that a proxy passes on: those of a connection end with it (RFC 9110 section 7.6.1). */
const endToEnd = (headers: Headers.Headers) =>
  Headers.removeMany(headers, ["connection", "host", "keep-alive", "transfer-encoding"])

/** Whether a client would take it for a complete success. */
const isWhole = (bytes: string): boolean => {
  const [answer] = bytes === "" ? [] : answersIn(bytes)
  return answer !== undefined && answer.status === 200 && answer.complete
}

export const responses = (kind: HttpServerKind): void => {
  const test = testOf(kind)

  describe("responses", () => {
    test("of known length say it: text, JSON, HTML, forms, bytes", () =>
      Effect.gen(function*() {
        const cases: Record<
          string,
          readonly [Response | Effect.Effect<Response>, type: string | undefined, body: string]
        > = {
          "/text": [HttpServerResponse.text("grüße"), "text/plain", "grüße"],
          "/json": [HttpServerResponse.jsonUnsafe({ a: 1 }), "application/json", "{\"a\":1}"],
          "/html": [HttpServerResponse.html("<p>"), "text/html", "<p>"],
          "/template": [HttpServerResponse.html`<p>${"a"}${Effect.succeed("b")}</p>`, "text/html", "<p>ab</p>"],
          "/form": [
            HttpServerResponse.urlParams([["a", "1 2"], ["b", "ä"]]),
            "application/x-www-form-urlencoded",
            "a=1+2&b=%C3%A4"
          ],
          "/bytes": [HttpServerResponse.uint8Array(Uint8Array.of(97, 98)), "application/octet-stream", "ab"],
          "/typed": [HttpServerResponse.text("x", { contentType: "text/css" }), "text/css", "x"],
          "/none": [HttpServerResponse.text(""), "text/plain", ""]
        }
        yield* serveAll(Object.fromEntries(Object.entries(cases).map(([path, [response]]) => [path, response])))
        for (const [path, [, type, body]] of Object.entries(cases)) {
          const answer = yield* got(path)
          const bytes = Buffer.from(body)
          assert.deepStrictEqual(
            [answer.header("content-type"), answer.header("content-length"), answer.body],
            [type, `${bytes.length}`, bytes.toString("latin1")],
            path
          )
        }
      }))

    test("have the status and the location they are made with", () =>
      Effect.gen(function*() {
        yield* serveAll({
          "/unknown": HttpServerResponse.text("x", { status: 299 }),
          "/redirect": HttpServerResponse.redirect("/elsewhere?a=b", { status: 308 })
        })
        assert.strictEqual((yield* got("/unknown")).status, 299)
        const redirect = yield* got("/redirect")
        assert.deepStrictEqual([redirect.status, redirect.header("location")], [308, "/elsewhere?a=b"])
      }))

    test("without a body have none: 204, 205 and 304 drop it, and the connection goes on", () =>
      Effect.gen(function*() {
        let pulled = false
        const stream = Stream.sync(() => {
          pulled = true
          return new Uint8Array(5)
        })
        yield* serveAll({
          "/204": HttpServerResponse.text("dropped", { status: 204 }),
          "/205": HttpServerResponse.text("dropped", { status: 205 }),
          "/304": HttpServerResponse.text("dropped", { status: 304, headers: { etag: "\"a\"" } }),
          "/stream": HttpServerResponse.stream(stream, { status: 204 }),
          "/empty": HttpServerResponse.empty(),
          "/end": HttpServerResponse.text("end")
        })
        const paths = ["/204", "/205", "/304", "/stream", "/empty"]
        const bytes = yield* ask(
          paths.map((path) => `GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`).join("") + closing("GET /end")
        )
        assert.notInclude(bytes, "dropped")
        assert.isFalse(pulled)
        const answers = answersIn(bytes)
        assert.deepStrictEqual(answers.map(({ status }) => status), [204, 205, 304, 204, 204, 200])
        assert.strictEqual(answers[0]!.header("content-length"), undefined)
        assert.strictEqual(answers[2]!.header("etag"), "\"a\"")
        assert.strictEqual(answers[5]!.body, "end")
      }))

    test("of unknown length are chunked, of known length are not", () =>
      Effect.gen(function*() {
        yield* serveAll({
          "/chunked": HttpServerResponse.stream(textStream("one ", "two")),
          "/known": HttpServerResponse.stream(textStream("one ", "two"), { contentLength: 7 }),
          "/empty": HttpServerResponse.stream(Stream.empty),
          "/html": HttpServerResponse.htmlStream`<p>${Stream.make("a", 1)}</p>`
        })
        const chunked = yield* got("/chunked")
        assert.deepStrictEqual([chunked.header("transfer-encoding"), chunked.body], ["chunked", "one two"])
        const known = yield* got("/known")
        assert.deepStrictEqual([known.header("transfer-encoding"), known.header("content-length"), known.body], [
          undefined,
          "7",
          "one two"
        ])
        assert.deepStrictEqual([(yield* got("/empty")).status, (yield* got("/empty")).body], [200, ""])
        assert.strictEqual((yield* got("/html")).body, "<p>a1</p>")
      }))

    test("write the parts that are there together as one", () =>
      Effect.gen(function*() {
        yield* serveAll({
          "/": HttpServerResponse.stream(Stream.concat(textStream("a", "b", "c"), textStream("d")))
        })
        assert.deepStrictEqual((yield* got("/")).chunks, ["abc", "d"])
      }))

    test("are closed by the connection's end for HTTP/1.0", () =>
      Effect.gen(function*() {
        yield* serveAll({ "/": HttpServerResponse.stream(textStream("one ", "two")) })
        const bytes = yield* ask("GET / HTTP/1.0\r\n\r\n")
        assert.notInclude(bytes.toLowerCase(), "transfer-encoding")
        assert.match(bytes, /\r\n\r\none two$/)
      }))

    test("stream each part when it is there", () =>
      Effect.gen(function*() {
        const more = yield* Deferred.make<void>()
        yield* serveAll({
          "/": HttpServerResponse.stream(Stream.concat(
            textStream("first"),
            Stream.unwrap(Effect.as(Deferred.await(more), textStream("second")))
          ))
        })
        const client = yield* connect
        yield* client.send(closing("GET /"))
        yield* client.until(/first/)
        yield* Deferred.succeed(more, undefined)
        assert.strictEqual(answersIn(yield* client.readAll)[0]!.body, "firstsecond")
      }))

    test("of any size arrive whole and in order", () =>
      Effect.gen(function*() {
        const size = 4_000_000
        const parts = Array.from({ length: 20_000 }, (_, i) => `${i},`)
        yield* serveAll({
          "/large": HttpServerResponse.text("x".repeat(size)),
          "/parts": HttpServerResponse.stream(textStream(...parts)),
          "/bytes": HttpServerResponse.stream(Stream.map(Stream.range(1, 40), () => new Uint8Array(size / 40)))
        })
        assert.strictEqual((yield* (yield* HttpClient.get("/large")).text).length, size)
        assert.strictEqual(yield* (yield* HttpClient.get("/parts")).text, parts.join(""))
        assert.strictEqual((yield* (yield* HttpClient.get("/bytes")).arrayBuffer).byteLength, size)
      }))

    test("wait for a client that does not read", () =>
      Effect.gen(function*() {
        let parts = 0
        const ended = yield* Deferred.make<void>()
        yield* serveAll({
          "/": HttpServerResponse.stream(
            Stream.forever(Stream.sync(() => {
              parts++
              return new Uint8Array(65_536)
            })).pipe(Stream.onExit(() => Deferred.succeed(ended, undefined)))
          )
        })
        const client = yield* connect
        yield* client.send(closing("GET /"))
        yield* Sockets.until(() => client.receivedBytes > 0)
        client.socket.pause()
        let [before, turns] = [parts, 0]
        yield* Effect.repeat(Sockets.turn, {
          until: () => {
            turns = parts === before ? turns + 1 : 0
            before = parts
            return turns > 200
          }
        })
        assert.isBelow(parts, 1_000)
        client.socket.destroy()
        yield* Deferred.await(ended)
      }))

    test("of raw values are written as they are: streams of Node and the web, text, bytes, nothing", () =>
      Effect.gen(function*() {
        yield* serveAll({
          "/node": Effect.sync(() => HttpServerResponse.raw(Readable.from([Buffer.from("one "), Buffer.from("two")]))),
          "/length": Effect.sync(() =>
            HttpServerResponse.raw(Readable.from([Buffer.from("abc")]), { contentLength: 3 })
          ),
          "/text": HttpServerResponse.raw("text", { contentType: "text/x" }),
          "/bytes": HttpServerResponse.raw(Uint8Array.of(97, 98)),
          "/none": HttpServerResponse.raw(undefined),
          "/web": Effect.sync(() => HttpServerResponse.fromWeb(new Response(webStream("one ", "two"), { status: 202 })))
        })
        assert.strictEqual((yield* got("/node")).body, "one two")
        const length = yield* got("/length")
        assert.deepStrictEqual([length.header("content-length"), length.body], ["3", "abc"])
        const text = yield* got("/text")
        assert.deepStrictEqual([text.header("content-type"), text.body], ["text/x", "text"])
        assert.strictEqual((yield* got("/bytes")).body, "ab")
        assert.strictEqual((yield* got("/none")).body, "")
        const web = yield* got("/web")
        assert.deepStrictEqual([web.status, web.body], [202, "one two"])
      }))

    test("of form data carry their boundary", () =>
      Effect.gen(function*() {
        const form = new FormData()
        form.append("a", "1")
        form.append("f", new Blob(["file"]), "f.txt")
        yield* serveAll({ "/": HttpServerResponse.formData(form) })
        const response = yield* HttpClient.get("/")
        const parsed = yield* response.formData
        assert.strictEqual(parsed.get("a"), "1")
        assert.strictEqual(yield* Effect.promise(() => (parsed.get("f") as File).text()), "file")
      }))

    test("of a web handler pass through, both ways", () =>
      Effect.gen(function*() {
        const handler = HttpEffect.toWebHandler(HttpServerRequest.HttpServerRequest.use((request) =>
          Effect.map(request.text, (text) =>
            HttpServerResponse.text(`${request.url} ${text}`, { headers: { "x-web": "1" } }))
        ))
        yield* serveRoutes(HttpRouter.add("POST", "/web", (request) =>
          Effect.gen(function*() {
            const web = yield* Effect.orDie(HttpServerRequest.toWeb(request))
            return HttpServerResponse.fromWeb(
              yield* Effect.promise(() =>
                handler(web)
              )
            )
          })))
        const bytes = closing("POST /web?a=b", ["content-length: 4"]) + "body"
        const [answer] = answersIn(yield* ask(bytes))
        assert.deepStrictEqual([answer!.body, answer!.header("x-web")], ["/web?a=b body", "1"])
      }))

    test("of an HttpClient pass through, with the request that is passed on", () =>
      Effect.gen(function*() {
        const at = yield* address
        const client = yield* Effect.provide(HttpClient.HttpClient, Layer.fresh(FetchHttpClient.layer))
        const origin = at._tag === "tcp" ? `http://${at.host}:${at.port}` : ""
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route("POST", "/origin", (request) =>
            Effect.map(request.text, (text) =>
              HttpServerResponse.setCookieUnsafe(
                HttpServerResponse.text(`${text} ${request.headers["x-via"]}`, {
                  status: 202,
                  headers: { "x-own": "1" }
                }),
                "a",
                "b"
              ))),
          HttpRouter.route("POST", "/proxy", (request) =>
            HttpServerRequest.toClientRequest(request).pipe(
              HttpClientRequest.setUrl(`${origin}/origin`),
              (request) => ({ ...request, headers: endToEnd(request.headers) }),
              HttpClientRequest.setHeader("x-via", "proxy"),
              (request) =>
                client.execute(request),
              Effect.map((response) => {
                const passed = HttpServerResponse.fromClientResponse(response)
                return { ...passed, headers: endToEnd(passed.headers) }
              })
            ))
        ]))
        const bytes = closing("POST /proxy", ["content-type: text/plain", "content-length: 4"]) + "body"
        const [answer] = answersIn(yield* ask(bytes))
        assert.deepStrictEqual(
          [answer!.status, answer!.body, answer!.header("x-own"), answer!.header("set-cookie")],
          [202, "body proxy", "1", "a=b"]
        )
      }))

    test("carry cookies beside a set-cookie header of their own", () =>
      Effect.gen(function*() {
        yield* serveAll({
          "/": HttpServerResponse.setCookieUnsafe(
            HttpServerResponse.text("x", { headers: { "set-cookie": "own=1" } }),
            "a",
            "b"
          )
        })
        const cookies = (yield* got("/")).headers.filter(([name]) => name.toLowerCase() === "set-cookie")
        assert.deepStrictEqual(cookies.map(([, value]) => value).toSorted(), ["a=b", "own=1"])
      }))

    test("close the connection when they say so", () =>
      Effect.gen(function*() {
        yield* serveAll({ "/": HttpServerResponse.text("last", { headers: { connection: "close" } }) })
        const answer = yield* ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert.include(answer.toLowerCase(), "connection: close\r\n")
        assert.strictEqual(answersIn(answer)[0]!.body, "last")
      }))

    test("to HEAD do not run the body's stream, and let its source go", () =>
      Effect.gen(function*() {
        let pulled = false
        const destroyed = yield* Deferred.make<void>()
        const source = new Readable({
          read() {
            pulled = true
          },
          destroy(_error, done) {
            Effect.runSync(Deferred.succeed(destroyed, undefined))
            done(null)
          }
        })
        yield* serveAll({
          "/stream": HttpServerResponse.stream(Stream.sync(() => {
            pulled = true
            return new Uint8Array(1)
          })),
          "/raw": HttpServerResponse.raw(source, { contentLength: 5 })
        })
        const bytes = yield* ask(`HEAD /stream HTTP/1.1\r\nhost: a\r\n\r\n${closing("HEAD /raw")}`)
        const answers = answersIn(bytes, ["HEAD", "HEAD"])
        assert.deepStrictEqual(answers.map(({ status }) => status), [200, 200])
        assert.strictEqual(answers[1]!.header("content-length"), "5")
        yield* Deferred.await(destroyed)
        assert.isFalse(pulled)
      }))
  })

  describe("responses that break", () => {
    const failing = Stream.concat(textStream("part"), Stream.fail("broken"))

    test("on the way are cut off, never ended as if they were whole", () =>
      Effect.gen(function*() {
        yield* serveAll({
          "/chunked": HttpServerResponse.stream(failing),
          "/known": HttpServerResponse.stream(failing, { contentLength: 100 }),
          "/die": HttpServerResponse.stream(Stream.concat(textStream("part"), Stream.die("broken"))),
          "/raw": Effect.sync(() =>
            HttpServerResponse.raw(Readable.from((async function*() {
              yield Buffer.from("part")
              throw new Error("broken")
            })()))
          )
        })
        for (const path of ["/chunked", "/known", "/die", "/raw"]) {
          const bytes = yield* ask(closing(`GET ${path}`))
          assert.isFalse(isWhole(bytes), path)
          assert.notInclude(bytes, "broken")
          const error = yield* Effect.flip(Effect.flatMap(HttpClient.get(path), ({ text }) => text))
          assert.strictEqual(error._tag, "HttpClientError", path)
        }
      }))

    test("the Scope of their request closes all the same", () =>
      Effect.gen(function*() {
        const closed = yield* Deferred.make<void>()
        yield* serveRoutes(HttpRouter.add(
          "GET",
          "/",
          Effect.as(
            Effect.addFinalizer(() => Deferred.succeed(closed, undefined)),
            HttpServerResponse.stream(failing)
          )
        ))
        yield* ask(closing("GET /"))
        yield* Deferred.await(closed)
      }))

    test("a length that the body does not keep is never made good", () =>
      Effect.gen(function*() {
        yield* serveAll({
          "/short": HttpServerResponse.stream(textStream("abc"), { contentLength: 5 }),
          "/long": HttpServerResponse.stream(textStream("abc", "defgh"), { contentLength: 5 }),
          "/raw": Effect.sync(() => HttpServerResponse.raw(Readable.from([Buffer.from("abc")]), { contentLength: 5 }))
        })
        for (const path of ["/short", "/raw"]) assert.isFalse(isWhole(yield* ask(closing(`GET ${path}`))), path)
        assert.notInclude(yield* ask(closing("GET /long")), "defgh")
      }))
  })

  describe("server-sent events", () => {
    test("arrive event by event, whether the client names the type or not", () =>
      Effect.gen(function*() {
        const events = Stream.make(
          { _tag: "Event" as const, event: "message", id: "1", data: "one" },
          { _tag: "Event" as const, event: "tick", id: undefined, data: "two\nlines" }
        )
        yield* HttpServer.serveEffect(Effect.sync(() =>
          HttpServerResponse.stream(Stream.encodeText(Stream.pipeThroughChannel(events, Sse.encode())), {
            contentType: "text/event-stream",
            headers: { "cache-control": "no-cache" }
          })
        ))
        for (const headers of [{}, { accept: "text/event-stream" }]) {
          const response = yield* HttpClient.get("/", { headers })
          assert.deepStrictEqual(
            [response.status, response.headers["content-type"], response.headers["cache-control"]],
            [200, "text/event-stream", "no-cache"]
          )
          const received = yield* Stream.runCollect(
            response.stream.pipe(Stream.decodeText, Stream.pipeThroughChannel(Sse.decode()))
          )
          assert.deepStrictEqual(received.map(({ data, event, id }) => [event, id, data]), [
            ["message", "1", "one"],
            ["tick", "1", "two\nlines"]
          ])
        }
      }))

    test("are not sent by a handler that answers otherwise", () =>
      Effect.gen(function*() {
        yield* serveAll({ "/": HttpServerResponse.text("plain", { status: 406 }) })
        const response = yield* HttpClient.get("/", { headers: { accept: "text/event-stream" } })
        assert.deepStrictEqual([response.status, yield* response.text], [406, "plain"])
        const missing = yield* HttpClient.get("/nothing", { headers: { accept: "text/event-stream" } })
        assert.deepStrictEqual([missing.status, yield* missing.text], [404, ""])
      }))

    test("end for the handler when the client leaves", () =>
      Effect.gen(function*() {
        const ended = yield* Deferred.make<void>()
        yield* serveAll({
          "/": HttpServerResponse.stream(
            Stream.concat(textStream("data: 1\n\n"), Stream.never).pipe(
              Stream.onExit(() => Deferred.succeed(ended, undefined))
            ),
            { contentType: "text/event-stream" }
          )
        })
        const client = yield* connect
        yield* client.send("GET / HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n")
        yield* client.until(/data: 1/)
        client.socket.destroy()
        yield* Deferred.await(ended)
      }))
  })
}
