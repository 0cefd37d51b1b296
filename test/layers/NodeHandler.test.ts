import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Http from "node:http"
import * as Zlib from "node:zlib"
import * as NodeHandler from "../../layers/NodeHandler.ts"
import { settle } from "../../layers/ServerMemory.ts"
import * as App from "../../src/app/App.ts"
import type { HttpScope } from "../../src/schema/Scope.ts"
import { answersIn, chunked } from "../utils/answers.ts"
import * as Fake from "../utils/exchange.ts"
import { capture } from "../utils/logs.ts"
import { answerOf, answerTo, ask, connected } from "../utils/nodeHandlers.ts"
import { exchange } from "../utils/serve.ts"
import { until } from "../utils/sockets.ts"
import * as WebSocket from "../utils/webSocket.ts"

const quiet = Effect.provide(capture().layer)

/** Answers with what `look` finds in the request. */
const showing = (look: (request: Http.IncomingMessage) => unknown): NodeHandler.Listener => (request, response) => {
  response.end(JSON.stringify(look(request)))
}

const textOf = async (request: Http.IncomingMessage): Promise<string> => {
  let text = ""
  for await (const chunk of request) text += String(chunk)
  return text
}

const echo: NodeHandler.Listener = async (request, response) => response.end(await textOf(request))

const patched = (scope: Partial<HttpScope>, app: App.App<unknown>): App.App<unknown> => (outer) =>
  outer.type === "http" ? app(App.derive(outer, { scope: { ...outer.scope, ...scope } })) : app(outer)

describe("NodeHandler", () => {
  describe("the request", () => {
    it.effect("is relative to its mount point also behind a proxy that has removed its own part of the path", () =>
      Effect.gen(function*() {
        const look = showing((request) => [request.url, (request as { readonly baseUrl?: string }).baseUrl])
        const app = App.mount("/old", NodeHandler.make(look))(App.decline)
        const bytes = yield* exchange(app, "GET /old/a%2Fb HTTP/1.1\r\nhost: a\r\n\r\n", { rootPath: "/app" })
        assert.strictEqual(answersIn(bytes)[0]!.body, `["/a%2Fb","/app/old"]`)
      }).pipe(quiet))

    it.effect("is as the client sent it", () =>
      Effect.gen(function*() {
        const look = showing((request) => [
          request.method,
          request.url,
          request.httpVersion,
          request.rawHeaders,
          request.headers.connection,
          request.headers["x-a"],
          request.headers.cookie,
          request.headers["transfer-encoding"]
        ])
        const { body } = yield* answerTo(look, "DELETE /a%2Fb?c=d&e", ["X-A: 1", "cookie: k=v", "x-a: 2"])
        assert.deepStrictEqual(JSON.parse(body), [
          "DELETE",
          "/a%2Fb?c=d&e",
          "1.1",
          ["host", "a", "connection", "close", "x-a", "1", "cookie", "k=v", "x-a", "2"],
          "close",
          "1, 2",
          "k=v",
          null
        ])
      }).pipe(quiet))

    it.effect("has no headers that were not sent", () =>
      Effect.gen(function*() {
        const look = showing((request) => [request.headers, request.rawHeaders, request.httpVersion])
        const bytes = yield* exchange(NodeHandler.make(look), "POST / HTTP/1.0\r\n\r\n")
        assert.match(bytes, /\r\n\r\n\[\{\},\[\],"1\.0"\]$/)
        const { body } = yield* answerTo(look, "GET /", ["expect: 100-continue", "upgrade: a", "connection: upgrade"])
        assert.deepStrictEqual(JSON.parse(body)[0], {
          host: "a",
          connection: "close, upgrade",
          expect: "100-continue",
          upgrade: "a"
        })
      }).pipe(quiet))

    it.effect("knows both ends of the client's connection", () =>
      Effect.gen(function*() {
        const look = showing(({ socket }) => [
          socket.remoteAddress,
          socket.remotePort,
          socket.remoteFamily,
          socket.localAddress,
          socket.localPort,
          socket.address(),
          "encrypted" in socket
        ])
        const app = NodeHandler.make(look)
        const clear = yield* answerOf(app, "GET /")
        const local = { address: "127.0.0.1", port: 5000, family: "IPv4" }
        assert.deepStrictEqual(JSON.parse(clear.body), [
          "127.0.0.1",
          40_000,
          "IPv4",
          "127.0.0.1",
          5000,
          local,
          false
        ])
        const proxied = yield* answerOf(patched({ scheme: "https", client: ["2001:db8::1", 1] }, app), "GET /")
        assert.deepStrictEqual(JSON.parse(proxied.body), [
          "2001:db8::1",
          1,
          "IPv6",
          "127.0.0.1",
          5000,
          local,
          true
        ])
        const unix = yield* Fake.request(app, { scope: { server: ["/run/a.sock", null] } })
        assert.deepStrictEqual((unix.json as Array<unknown>).slice(3), [null, null, {}, false])
      }).pipe(quiet))

    it.effect("has a URL below the mount point, and the whole one", () =>
      Effect.gen(function*() {
        const look = showing((request) => {
          const { baseUrl, originalUrl } = request as { baseUrl?: string; originalUrl?: string }
          return [request.url, baseUrl, originalUrl]
        })
        const app = App.mount("/a b", NodeHandler.make(look))(NodeHandler.make(look))
        const at = (target: string) => Effect.map(answerOf(app, `GET ${target}`), ({ body }) => JSON.parse(body))
        assert.deepStrictEqual(yield* at("/a%20b/c%2Fd?e"), ["/c%2Fd?e", "/a%20b", "/a%20b/c%2Fd?e"])
        assert.deepStrictEqual(yield* at("/a%20b?e"), ["/?e", "/a%20b", "/a%20b?e"])
        assert.deepStrictEqual(yield* at("/a%20bc"), ["/a%20bc", null, null])
        assert.deepStrictEqual(yield* at("/%61%20b/c"), ["/c", "/%61%20b", "/%61%20b/c"])
        const accented = App.mount("/é", NodeHandler.make(look))(NodeHandler.make(look))
        for (const base of ["/%C3%A9", "/%c3%a9", "/%e9"]) {
          const { body } = yield* answerOf(accented, `GET ${base}/c`)
          assert.deepStrictEqual(JSON.parse(body), ["/c", base, `${base}/c`])
        }
        const behindProxy = patched({ rootPath: "/cut" }, NodeHandler.make(look))
        const { body } = yield* answerOf(behindProxy, "GET /x")
        assert.deepStrictEqual(JSON.parse(body), ["/x", "/cut", "/cut/x"])
      }).pipe(quiet))

    it.effect("has its body, of known length or in chunks, and its trailers", () =>
      Effect.gen(function*() {
        const known = yield* answerTo(echo, "POST /", ["content-length: 5"], "hello")
        assert.strictEqual(known.body, "hello")
        const withTrailers: NodeHandler.Listener = async (request, response) => {
          const text = await textOf(request)
          response.end(JSON.stringify([text, request.trailers, request.headers["transfer-encoding"], request.complete]))
        }
        const unknown = yield* answerTo(
          withTrailers,
          "POST /",
          ["transfer-encoding: chunked"],
          chunked(["hel", "lo"], ["x-t: 1"])
        )
        assert.deepStrictEqual(JSON.parse(unknown.body), ["hello", { "x-t": "1" }, "chunked", true])
      }).pipe(quiet))

    it.effect("has a body where only the end of the stream says how long it is, as over HTTP/2", () =>
      Effect.gen(function*() {
        const app = NodeHandler.make(async (request, response) => {
          response.end(JSON.stringify([request.httpVersion, request.httpVersionMajor, await textOf(request)]))
        })
        const { json } = yield* Fake.request(app, { method: "POST", body: ["a", "b"], scope: { httpVersion: "2" } })
        assert.deepStrictEqual(json, ["2.0", 2, "ab"])
      }).pipe(quiet))

    it.effect("reaches the handler before its body, part by part", () =>
      Effect.gen(function*() {
        const parts: Array<string> = []
        let isCalled = false
        const app = NodeHandler.make((request, response) => {
          isCalled = true
          request.on("data", (chunk) => parts.push(String(chunk)))
          request.on("end", () => response.end("done"))
        })
        const { client, until: received } = yield* connected(app)
        yield* client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n")
        yield* until(() => isCalled)
        yield* client.send("ab")
        yield* until(() => parts.length === 1)
        yield* client.send("cd")
        yield* received(/done$/)
        assert.deepStrictEqual(parts, ["ab", "cd"])
      }).pipe(quiet))

    it.effect("is refused when Node does not know its method", () =>
      Effect.gen(function*() {
        for (const method of ["BREW", "get"]) {
          assert.strictEqual((yield* answerTo(echo, `${method} /`)).status, 501)
        }
        const { status } = yield* Fake.request(NodeHandler.make(echo), { method: "CONNECT", target: "a:1" })
        assert.strictEqual(status, 501)
      }).pipe(quiet))

    it.effect("is refused when Node cannot carry its head", () =>
      Effect.gen(function*() {
        const app = NodeHandler.make(echo)
        assert.strictEqual((yield* Fake.request(app, { target: "/a b" })).status, 400)
        assert.strictEqual((yield* Fake.request(app, { headers: [["x-a", "\x01"]] })).status, 400)
      }).pipe(quiet))

    it.effect("is one, also when a body is longer than it was said to be", () =>
      Effect.gen(function*() {
        const seen: Array<string | undefined> = []
        const app = NodeHandler.make((request, response) => {
          seen.push(request.url)
          request.resume().on("end", () => response.end("x"))
        })
        yield* Fake.request(app, {
          method: "POST",
          target: "/first",
          headers: { "content-length": "3" },
          body: ["abcGET /second HTTP/1.1\r\nhost: a\r\n\r\n"]
        }).pipe(Effect.exit)
        yield* settle
        assert.deepStrictEqual(seen, ["/first"])
      }).pipe(quiet))

    it.effect("may ask for an event stream, but not for a WebSocket", () =>
      Effect.gen(function*() {
        const stream = yield* answerTo(showing(({ headers }) => headers.accept), "GET /", ["accept: text/event-stream"])
        assert.strictEqual(stream.body, `"text/event-stream"`)
        assert.match(yield* exchange(NodeHandler.make(echo), WebSocket.handshake()), /^HTTP\/1\.1 403 /)
      }).pipe(quiet))
  })

  describe("the answer", () => {
    it.effect("has the status and the headers that were set, in whatever way", () =>
      Effect.gen(function*() {
        const { body, header, headers, status } = yield* answerTo((_, response) => {
          response.setHeader("X-Set", "1").setHeader("set-cookie", ["a=1", "b=2"])
          response.appendHeader("x-set", "2")
          response.writeHead(418, "Short and stout", { "Content-Type": "text/plain" })
          response.end("tea")
        }, "GET /")
        assert.deepStrictEqual([status, body], [418, "tea"])
        assert.deepStrictEqual(headers.filter(([name]) => name === "set-cookie").map(([, value]) => value), [
          "a=1",
          "b=2"
        ])
        assert.strictEqual(header("content-type"), "text/plain")
        assert.deepStrictEqual(headers.filter(([name]) => name === "x-set").map(([, value]) => value), ["1", "2"])
      }).pipe(quiet))

    it.effect("has the date of the server's clock, and nothing of the connection in memory", () =>
      Effect.gen(function*() {
        const bytes = yield* exchange(
          NodeHandler.make((_, response) => response.end("x")),
          "GET / HTTP/1.1\r\nhost: a\r\n\r\n"
        )
        const [answer] = answersIn(bytes)
        assert.deepStrictEqual(answer?.headers, [
          ["date", "Thu, 01 Jan 1970 00:00:00 GMT"],
          ["server", "slipway"],
          ["content-length", "1"]
        ])
      }).pipe(quiet))

    it.effect("closes the connection when the handler says so, and keeps it else", () =>
      Effect.gen(function*() {
        for (const closes of [true, false]) {
          const { client } = yield* connected(NodeHandler.make((_, response) => {
            if (closes) response.setHeader("connection", "close")
            response.end("x")
          }))
          yield* client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
          yield* client.read
          assert.strictEqual(yield* client.isEnded, closes)
        }
      }).pipe(quiet))

    it.effect("to HEAD and with 204 and 304 has a head only", () =>
      Effect.gen(function*() {
        const head = yield* answerTo((_, response) => response.setHeader("content-length", 7).end("ignored"), "HEAD /")
        assert.strictEqual(head.header("content-length"), "7")
        const unknown = yield* answerTo((_, response) => {
          response.write("ignored")
          response.end()
        }, "HEAD /")
        assert.isUndefined(unknown.header("content-length"))
        for (const code of [204, 304]) {
          const { header, status } = yield* answerTo((_, response) => response.writeHead(code).end("ignored"), "GET /")
          assert.deepStrictEqual([status, header("content-length")], [code, undefined])
        }
        const empty = yield* answerTo((_, response) => response.end(), "GET /")
        assert.strictEqual(empty.header("content-length"), "0")
      }).pipe(quiet))

    it.effect("leaves as it is written, head first", () =>
      Effect.gen(function*() {
        let response: Http.ServerResponse | undefined
        const { client, until: received } = yield* connected(NodeHandler.make((_, given) => {
          response = given
          given.flushHeaders()
        }))
        yield* client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert.match(yield* received(/\r\n\r\n/), /transfer-encoding: chunked\r\n\r\n$/)
        response!.write("one")
        yield* received(/\r\n\r\n3\r\none\r\n$/)
        response!.write("two")
        yield* received(/3\r\ntwo\r\n$/)
        response!.end()
        yield* received(/0\r\n\r\n$/)
      }).pipe(quiet))

    it.effect("has trailers where a Trailer header announces them", () =>
      Effect.gen(function*() {
        const { body, trailers } = yield* answerTo((_, response) => {
          response.setHeader("trailer", "x-sum")
          response.write("abc")
          response.addTrailers({ "X-Sum": "6" })
          response.end()
        }, "GET /")
        assert.deepStrictEqual([body, trailers], ["abc", [["x-sum", "6"]]])
      }).pipe(quiet))

    it.effect("follows early hints, which are left out where the server has none", () =>
      Effect.gen(function*() {
        const app = NodeHandler.make((_, response) => {
          response.writeContinue()
          response.writeEarlyHints({ link: ["</a.css>; rel=preload", "</b.js>; rel=preload"] })
          response.writeProcessing()
          response.end("x")
        })
        const [hints, answer] = answersIn(yield* ask(app, "GET /"))
        assert.deepStrictEqual([hints?.status, hints?.header("link")], [
          103,
          "</a.css>; rel=preload, </b.js>; rel=preload"
        ])
        assert.strictEqual(answer?.body, "x")
        assert.lengthOf(answersIn(yield* ask(app, "GET /", [], "", { earlyHints: false })), 1)
      }).pipe(quiet))

    it.effect("reaches an HTTP/1.0 client without chunks", () =>
      Effect.gen(function*() {
        const app = NodeHandler.make((_, response) => {
          response.write("one")
          response.end("two")
        })
        const bytes = yield* exchange(app, "GET / HTTP/1.0\r\n\r\n")
        assert.match(bytes, /\r\n\r\nonetwo$/)
      }).pipe(quiet))

    it.effect("can be changed by middleware that replaces write and end", () =>
      Effect.gen(function*() {
        const compressed = (inner: NodeHandler.Listener): NodeHandler.Listener => (request, response) => {
          const gzip = Zlib.createGzip()
          const { end, write } = response
          gzip.on("data", (chunk) => write.call(response, chunk, "utf8"))
          gzip.on("end", () => void end.call(response, undefined, "utf8"))
          response.setHeader("content-encoding", "gzip")
          Object.assign(response, {
            write: (chunk: string) => gzip.write(chunk),
            end: (chunk?: string) => gzip.end(chunk)
          })
          return inner(request, response)
        }
        const { body, header } = yield* answerTo(
          compressed((_, response) => {
            response.write("hello ".repeat(1000))
            response.end("world")
          }),
          "GET /"
        )
        assert.strictEqual(header("content-encoding"), "gzip")
        const plain = Zlib.gunzipSync(Buffer.from(body, "latin1")).toString()
        assert.strictEqual(plain, "hello ".repeat(1000) + "world")
      }).pipe(quiet))
  })
})
