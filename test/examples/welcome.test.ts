import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Crypto from "node:crypto"
import * as Http2 from "node:http2"
import welcome from "../../examples/welcome.ts"
import { escape, page } from "../../examples/welcome/page.ts"
import { script } from "../../examples/welcome/script.ts"
import * as ServerNode from "../../layers/ServerNode.ts"
import * as App from "../../src/app/App.ts"
import * as Lint from "../../src/middleware/Lint.ts"
import { answerIn } from "../utils/answers.ts"
import { capture } from "../utils/logs.ts"
import { exchange, serve } from "../utils/serve.ts"
import * as WebSocket from "../utils/webSocket.ts"

const quiet = Effect.provide(capture().layer)

/** As `npm start` serves it. */
const app = Lint.make()(welcome)

const ask = (path: string, method = "GET", lines = "") =>
  Effect.map(
    exchange(app, `${method} ${path} HTTP/1.1\r\nhost: a\r\n${lines}\r\n`),
    (bytes) => answerIn(bytes, method)
  )

const acceptEvents = "accept: text/event-stream\r\n"

const hashOf = (source: string): string => `'sha256-${Crypto.createHash("sha256").update(source).digest("base64")}'`

describe("examples/welcome.ts", () => {
  it.effect("shows a page that says over what it came", () =>
    Effect.gen(function*() {
      const { body, header, status } = yield* ask("/")
      assert.strictEqual(status, 200)
      assert.strictEqual(header("content-type"), "text/html; charset=utf-8")
      assert.include(body, "This page came over <strong>HTTP/1.1 in clear text</strong>.")
    }).pipe(quiet))

  it.effect("lets run and apply exactly what is in the page", () =>
    Effect.gen(function*() {
      const { body, header } = yield* ask("/")
      const policy = header("content-security-policy")
      assert.isDefined(policy)
      const inlined = (tag: string) =>
        [...body.matchAll(new RegExp(`<${tag}>([^]*?)</${tag}>`, "g"))].map(([, it]) => it!)
      assert.lengthOf(inlined("style"), 1)
      assert.lengthOf(inlined("script"), 1)
      assert.include(policy, `style-src ${hashOf(inlined("style")[0]!)};`)
      assert.include(policy, `script-src ${hashOf(inlined("script")[0]!)};`)
      assert.notMatch(body, /\s(?:style|on\w+)=|(?:src|href)="(?:https?:)?\/\//)
    }).pipe(quiet))

  it("puts nothing into the page as HTML that is not its own", () => {
    assert.strictEqual(escape(`<a b="c" d='e'>&`), "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;")
    assert.include(page("<script>"), "<strong>&lt;script&gt;</strong>")
    assert.notMatch(script, /innerHTML|insertAdjacentHTML|document\.write|\beval\b/)
  })

  it.effect("links to answers that work without a script", () =>
    Effect.gen(function*() {
      const { body } = yield* ask("/")
      const links = [...body.matchAll(/<a href="(\w+)"/g)].map(([, path]) => path!)
      assert.deepStrictEqual(links, ["plain", "json", "stream", "scope"])
      for (const path of ["plain", "json", "scope"]) assert.strictEqual((yield* ask(`/${path}`)).status, 200)
      assert.match(body, /<form action="echo" method="post"/)
    }).pipe(quiet))

  it.effect("sends a stream part by part", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send("GET /stream HTTP/1.1\r\nhost: a\r\n\r\n")
      assert.match(yield* client.read, /\r\n\r\n3\r\nOne\r\n$/)
      yield* TestClock.adjust("300 millis")
      assert.strictEqual(yield* client.read, "3\r\n by\r\n")
      yield* TestClock.adjust("3 seconds")
      assert.match(yield* client.read, /0\r\n\r\n$/)
    }).pipe(quiet))

  it.effect("echoes a request body", () =>
    Effect.gen(function*() {
      const bytes = yield* exchange(app, "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello")
      assert.strictEqual(answerIn(bytes).body, "hello")
    }).pipe(quiet))

  it.effect("hides what a client sends as a secret", () =>
    Effect.gen(function*() {
      const { body } = yield* ask("/scope", "GET", "cookie: a=secret\r\nauthorization: secret\r\nx-y: z\r\n")
      assert.notInclude(body, "secret")
      assert.includeDeepMembers(JSON.parse(body).headers, [["cookie", "(hidden)"], ["x-y", "z"]])
    }).pipe(quiet))

  it.effect("says which method and which content a path has", () =>
    Effect.gen(function*() {
      const wrong = yield* ask("/", "PUT")
      assert.deepStrictEqual([wrong.status, wrong.header("allow")], [405, "GET, HEAD"])
      const unread = yield* ask("/echo")
      assert.deepStrictEqual([unread.status, unread.header("allow")], [405, "POST"])
      assert.strictEqual((yield* ask("/feed")).status, 406)
      assert.strictEqual((yield* ask("/nowhere")).status, 404)
      assert.strictEqual((yield* ask("/nowhere", "GET", acceptEvents)).status, 404)
      assert.strictEqual((yield* ask("/feed", "HEAD", acceptEvents)).status, 404)
    }).pipe(quiet))

  describe("/feed", () => {
    const start = Effect.fnUntraced(function*(lines = "") {
      const { connect, server } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(`GET /feed HTTP/1.1\r\nhost: a\r\n${acceptEvents}${lines}\r\n`)
      return { client, server }
    })

    it.effect("says over what it comes, then the time once a second", () =>
      Effect.gen(function*() {
        const { client } = yield* start()
        const [opening = "", ...chunks] = (yield* client.read).split("\r\n\r\n")
        assert.match(opening, /^HTTP\/1\.1 200 OK\r\ncontent-type: text\/event-stream\r\n/)
        assert.include(chunks.join(""), "event: over\nretry: 2000\ndata: HTTP/1.1 in clear text\n\n")
        assert.include(chunks.join(""), "id: 1\ndata: 1970-01-01T00:00:00.000Z\n\n")
        yield* TestClock.adjust("1 second")
        assert.include(yield* client.read, "id: 2\ndata: 1970-01-01T00:00:01.000Z\n\n")
      }).pipe(quiet))

    it.effect("goes on from the last event a client has seen", () =>
      Effect.gen(function*() {
        const { client } = yield* start("last-event-id: 41\r\n")
        assert.include(yield* client.read, "id: 42\n")
        const { client: forger } = yield* start("last-event-id: 1e9\r\n")
        assert.include(yield* forger.read, "id: 1\n")
      }).pipe(quiet))

    it.effect("ends when the client leaves", () =>
      Effect.gen(function*() {
        const { client, server } = yield* start()
        yield* client.read
        assert.strictEqual((yield* server.stats).exchanges, 1)
        yield* client.end
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }).pipe(quiet))
  })

  describe("the WebSocket of /echo", () => {
    it.effect("says over what it came, then sends back what it gets", () =>
      Effect.gen(function*() {
        const { connect } = yield* serve(app)
        const session = yield* WebSocket.open(connect, { target: "/echo" })
        assert.deepStrictEqual(yield* session.said, ["text This WebSocket came over HTTP/1.1 in clear text."])
        yield* session.send(WebSocket.text("<b>hello</b>"), WebSocket.binary(new Uint8Array([0, 255])))
        assert.deepStrictEqual(yield* session.said, ["text <b>hello</b>", "binary 00ff"])
        yield* session.send(WebSocket.close(1000))
        assert.deepStrictEqual(yield* session.said, ["close 1000"])
      }).pipe(quiet))

    it.effect("is at no other path", () =>
      Effect.gen(function*() {
        assert.match(yield* exchange(app, WebSocket.handshake()), /^HTTP\/1\.1 403 /)
      }).pipe(quiet))
  })

  for (
    const [tlsVersion, words] of [[0x0303, "TLS 1.2"], [0x0304, "TLS 1.3"], [null, undefined]] as const
  ) {
    it.effect(`says when it came over TLS${words === undefined ? "" : ` and over ${words}`}`, () =>
      Effect.gen(function*() {
        const tls = {
          serverCert: null,
          clientCertChain: null,
          clientCertName: null,
          clientCertError: null,
          tlsVersion,
          cipherSuite: null
        }
        const encrypted: App.App<unknown> = (exchange) =>
          exchange.type === "http"
            ? app(App.derive(exchange, { scope: { ...exchange.scope, scheme: "https", extensions: { tls } } }))
            : app(exchange)
        const { body } = answerIn(yield* exchange(encrypted, "GET / HTTP/1.1\r\nhost: a\r\n\r\n"))
        assert.include(body, `<strong>HTTP/1.1, encrypted${words === undefined ? "" : ` (${words})`}</strong>`)
      }).pipe(quiet))
  }

  it.live("says that it came over HTTP/2: the page, the feed and the WebSocket", () =>
    Effect.gen(function*() {
      const server = yield* ServerNode.make({ port: 0 })
      yield* server.serve(app)
      const address = (yield* server.addresses)[0]!
      const session = yield* Effect.acquireRelease(
        Effect.sync(() => Http2.connect(`http://127.0.0.1:${address._tag === "tcp" ? address.port : ""}`)),
        (session) => Effect.sync(() => session.destroy())
      )
      yield* Effect.promise(() => new Promise((resolve) => session.once("remoteSettings", resolve)))
      /** What comes back until it has `words`; a stream that ends without them is a failure. */
      const said = (headers: Http2.OutgoingHttpHeaders, words: string) =>
        Effect.promise(() =>
          new Promise<string>((resolve, reject) => {
            const stream = session.request(headers, { endStream: headers[":method"] !== "CONNECT" })
            let received = ""
            stream.on("data", (chunk: Buffer) => {
              received += chunk.toString("latin1")
              if (!received.includes(words)) return
              if (headers[":method"] === "CONNECT") stream.end(WebSocket.close(1000))
              resolve(received)
            })
            stream.on("close", () => reject(new Error(`It ended with: ${received}`)))
          })
        )
      yield* said({ ":path": "/" }, "This page came over <strong>HTTP/2 in clear text</strong>.")
      yield* said({ ":path": "/feed", "accept": "text/event-stream" }, "data: HTTP/2 in clear text\n\n")
      const connect = {
        ":method": "CONNECT",
        ":protocol": "websocket",
        ":path": "/echo",
        "sec-websocket-version": "13"
      }
      yield* said(connect, "This WebSocket came over HTTP/2 in clear text.")
    }).pipe(quiet))
})
