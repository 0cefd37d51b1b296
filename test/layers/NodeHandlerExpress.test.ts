import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import express from "express"
import Fastify from "fastify"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Http from "node:http"
import * as Http2 from "node:http2"
import * as Os from "node:os"
import * as Path from "node:path"
import { Readable } from "node:stream"
import * as NodeHandler from "../../layers/NodeHandler.ts"
import * as ServerNode from "../../layers/ServerNode.ts"
import * as App from "../../src/app/App.ts"
import { capture } from "../utils/logs.ts"
import { answerOf, ask, connected } from "../utils/nodeHandlers.ts"
import { until } from "../utils/sockets.ts"

const quiet = Effect.provide(capture().layer)

const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-express-"))),
  (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
)

const big = Crypto.createHash("sha512").update("seed").digest("hex").repeat(8000)

const sha = (text: string) => Crypto.createHash("sha256").update(text, "latin1").digest("hex")

const makeExpress = () => {
  const site = express()
  site.use(express.json())
  site.use(express.urlencoded({ extended: false }))
  site.get("/hello/:name", (request, response) => void response.json({ hello: request.params["name"] }))
  site.post("/body", (request, response) => void response.json(request.body ?? null))
  site.get("/facts", (request, response) =>
    void response.json({
      base: request.baseUrl,
      host: request.hostname,
      ip: request.ip,
      original: request.originalUrl,
      protocol: request.protocol,
      query: request.query,
      secure: request.secure,
      version: request.httpVersion
    }))
  site.get("/away", (_, response) => response.redirect("/hello/you"))
  site.get("/stream", (_, response) => {
    Readable.from(big.match(/[^]{1,10000}/g)!).pipe(response.type("text/plain"))
  })
  site.post("/echo", (request, response) => void request.pipe(response))
  site.get("/fails", async () => {
    await Promise.resolve()
    throw new Error("broken")
  })
  site.use(
    ((error, _request, response, next) => {
      if (response.headersSent || error.message !== "broken") return next(error)
      response.status(503).json({ error: "handled" })
    }) as express.ErrorRequestHandler
  )
  return site
}

const site = NodeHandler.make(makeExpress())

const jsonLines = (body: string) => ["content-type: application/json", `content-length: ${body.length}`]

describe("NodeHandler with frameworks", () => {
  it.effect("routes, and answers with JSON, an ETag and 304", () =>
    Effect.gen(function*() {
      const { body, header } = yield* answerOf(site, "GET /hello/you")
      assert.deepStrictEqual([body, header("x-powered-by")], [`{"hello":"you"}`, "Express"])
      const again = yield* answerOf(site, "GET /hello/you", [`if-none-match: ${header("etag")}`])
      assert.deepStrictEqual([again.status, again.body], [304, ""])
      const head = yield* answerOf(site, "HEAD /hello/you")
      assert.deepStrictEqual([head.status, head.header("content-length")], [200, "15"])
      assert.strictEqual((yield* answerOf(site, "GET /nowhere")).status, 404)
      assert.strictEqual((yield* answerOf(site, "GET /away")).header("location"), "/hello/you")
    }).pipe(quiet))

  it.effect("parses bodies, and refuses what is none", () =>
    Effect.gen(function*() {
      const body = `{"a":[1]}`
      assert.strictEqual((yield* answerOf(site, "POST /body", jsonLines(body), body)).body, body)
      const form = yield* answerOf(site, "POST /body", [
        "content-type: application/x-www-form-urlencoded",
        "content-length: 7"
      ], "a=1&b=2")
      assert.strictEqual(form.body, `{"a":"1","b":"2"}`)
      assert.strictEqual((yield* answerOf(site, "POST /body", jsonLines("{"), "{")).status, 400)
      const long = JSON.stringify("x".repeat(200_000))
      assert.strictEqual((yield* answerOf(site, "POST /body", jsonLines(long), long)).status, 413)
    }).pipe(quiet))

  it.effect("streams large bodies both ways", () =>
    Effect.gen(function*() {
      const streamed = yield* answerOf(site, "GET /stream")
      assert.deepStrictEqual([sha(streamed.body), streamed.complete], [sha(big), true])
      const echoed = yield* answerOf(site, "POST /echo", [`content-length: ${big.length}`], big)
      assert.deepStrictEqual([sha(echoed.body), echoed.complete], [sha(big), true])
    }).pipe(quiet))

  it.effect("hands errors to its own error handlers", () =>
    Effect.gen(function*() {
      const { body, status } = yield* answerOf(site, "GET /fails")
      assert.deepStrictEqual([status, body], [503, `{"error":"handled"}`])
    }).pipe(quiet))

  it.effect("knows the client and the mount point", () =>
    Effect.gen(function*() {
      const app = App.mount("/old", site)(App.http(({ send }) => App.respond(send, 200, "new")))
      const { body } = yield* answerOf(app, "GET /old/facts?a=b")
      assert.deepStrictEqual(JSON.parse(body), {
        base: "/old",
        host: "a",
        ip: "127.0.0.1",
        original: "/old/facts?a=b",
        protocol: "http",
        query: { a: "b" },
        secure: false,
        version: "1.1"
      })
      assert.strictEqual((yield* answerOf(app, "GET /facts")).body, "new")
    }).pipe(quiet))

  it.effect("serves files: whole, in ranges, not when unchanged, and redirects folders below the mount point", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      Fs.mkdirSync(Path.join(folder, "sub"))
      Fs.writeFileSync(Path.join(folder, "a.txt"), "0123456789")
      Fs.writeFileSync(Path.join(folder, "sub", "index.html"), "<p>")
      const files = express()
        .get("/one", (_, response) => response.sendFile(Path.join(folder, "a.txt")))
        .use(express.static(folder))
      const app = App.mount("/files", NodeHandler.make(files))(App.decline)
      const whole = yield* answerOf(app, "GET /files/a.txt")
      assert.deepStrictEqual([whole.status, whole.body, whole.header("content-type")], [
        200,
        "0123456789",
        "text/plain; charset=utf-8"
      ])
      const part = yield* answerOf(app, "GET /files/one", ["range: bytes=2-4"])
      assert.deepStrictEqual([part.status, part.body, part.header("content-range")], [206, "234", "bytes 2-4/10"])
      const same = yield* answerOf(app, "GET /files/a.txt", [`if-none-match: ${whole.header("etag")}`])
      assert.deepStrictEqual([same.status, same.body], [304, ""])
      const head = yield* answerOf(app, "HEAD /files/a.txt")
      assert.deepStrictEqual([head.header("content-length"), head.body], ["10", ""])
      assert.strictEqual((yield* answerOf(app, "GET /files/sub")).header("location"), "/files/sub/")
    }).pipe(quiet))

  it.effect("streams events until the client leaves", () =>
    Effect.gen(function*() {
      let closed = false
      let send = (_text: string) => {}
      const feed = express().get("/feed", (request, response) => {
        response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" })
        response.flushHeaders()
        send = (text) => void response.write(`data: ${text}\n\n`)
        request.on("close", () => closed = true)
      })
      const { client, until: received } = yield* connected(NodeHandler.make(feed))
      yield* client.send("GET /feed HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n")
      assert.match(yield* received(/\r\n\r\n/), /cache-control: no-store\r\n/)
      send("one")
      yield* received(/data: one\n\n/)
      assert.isFalse(closed)
      yield* client.end
      yield* until(() => closed)
    }).pipe(quiet))

  it.effect("tells a download from a client that has left it", () =>
    Effect.gen(function*() {
      let ended: string | undefined
      const app = express().get("/", (_, response) => {
        response.on("close", () => ended = response.writableFinished ? "finished" : "left")
        const chunks = Readable.from((function*() {
          for (;;) yield "x".repeat(1000)
        })())
        chunks.pipe(response)
        response.on("close", () => chunks.destroy())
      })
      const { client } = yield* connected(NodeHandler.make(app))
      yield* client.pause
      yield* client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
      yield* client.reset
      yield* until(() => ended !== undefined)
      assert.strictEqual(ended, "left")
      assert.match(yield* ask(site, "GET /hello/a"), /200 OK/)
    }).pipe(quiet))

  it.effect("runs Fastify's routing, a Node handler as well", () =>
    Effect.gen(function*() {
      const fastify = Fastify()
      fastify.post("/sum", (request) => ({ sum: (request.body as Array<number>).reduce((sum, it) => sum + it, 0) }))
      yield* Effect.acquireRelease(Effect.promise(async () => await fastify.ready()), () =>
        Effect.promise(() => fastify.close()))
      const { body } = yield* answerOf(NodeHandler.make(fastify.routing), "POST /sum", jsonLines("[1,2]"), "[1,2]")
      assert.strictEqual(body, `{"sum":3}`)
    }).pipe(quiet))

  it.live("answers over a socket and over HTTP/2", () =>
    Effect.gen(function*() {
      const server = yield* ServerNode.make({ port: 0 })
      yield* server.serve(site)
      const address = (yield* server.addresses)[0]!
      const origin = `http://127.0.0.1:${address._tag === "tcp" ? address.port : ""}`
      const body = JSON.stringify({ text: "ö".repeat(1000) })

      const over1 = yield* Effect.promise(async () => {
        const request = Http.request(`${origin}/body`, {
          agent: false,
          headers: { "content-type": "application/json" },
          method: "POST"
        })
        const response = new Promise<Http.IncomingMessage>((resolve, reject) =>
          request.on("response", resolve).on("error", reject)
        )
        request.write(body.slice(0, 10))
        request.end(body.slice(10))
        return (await (await response).setEncoding("utf8").toArray()).join("")
      })
      assert.strictEqual(over1, body)

      const session = yield* Effect.acquireRelease(
        Effect.sync(() => Http2.connect(origin)),
        (session) => Effect.sync(() => session.destroy())
      )
      const ask2 = (headers: Http2.OutgoingHttpHeaders, text?: string) =>
        Effect.promise(async () => {
          const stream = session.request(headers, { endStream: text === undefined }).setEncoding("utf8")
          if (text !== undefined) stream.end(text)
          return (await stream.toArray()).join("")
        })
      const over2 = yield* ask2({
        ":method": "POST",
        ":path": "/body",
        "content-type": "application/json"
      }, body)
      assert.strictEqual(over2, body)
      const facts = JSON.parse(yield* ask2({ ":path": "/facts" }))
      assert.deepStrictEqual([facts.version, facts.host, facts.ip], ["2.0", "127.0.0.1", "127.0.0.1"])
      assert.strictEqual(sha(yield* ask2({ ":path": "/stream" })), sha(big))
    }).pipe(quiet))
})
