/** One suite for every kind of client: in memory over both versions of HTTP, and live over TCP, unix sockets and TLS. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiClient from "effect/http-api/HttpApiClient"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as ServerNode from "../../layers/ServerNode.ts"
import * as TestClient from "../../layers/TestClient.ts"
import * as App from "../../src/app/App.ts"
import { formatAddress } from "../../src/service/Server.ts"
import { certificates } from "../utils/certificates.ts"
import { capture } from "../utils/logs.ts"

type Make = (
  app: App.App<unknown>,
  options?: TestClient.ClientOptions & Pick<TestClient.Options, "raiseAppErrors">
) => Effect.Effect<TestClient.Client, unknown, Scope.Scope>

const overSockets = (
  settings: Effect.Effect<ServerNode.Options, never, Scope.Scope>,
  options: TestClient.LiveOptions = {}
): Make =>
  Effect.fnUntraced(function*(app, more) {
    const server = yield* ServerNode.make(yield* settings)
    yield* server.serve(app)
    return yield* TestClient.live(formatAddress((yield* server.addresses)[0]!), { ...options, ...more })
  })

const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-client-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true }))
)

const overTls: Make = Effect.fnUntraced(function*(app, more) {
  const { root, server } = yield* Effect.promise(certificates)
  const settings = { port: 0, tlsCert: server.certFile, tlsKey: server.keyFile }
  return yield* overSockets(Effect.succeed(settings), { tls: { ca: root.cert } })(app, more)
})

const subjects: Readonly<Record<string, Make>> = {
  "in memory": (app, options) => TestClient.make(app, options),
  "in memory, over HTTP/2": (app, options) => TestClient.make(app, { httpVersion: "2", ...options }),
  "live, over TCP": overSockets(Effect.succeed({ port: 0 })),
  "live, over TCP and HTTP/2": overSockets(Effect.succeed({ port: 0 }), { httpVersion: "2" }),
  "live, over a unix socket": overSockets(Effect.map(folder, (path) => ({ unix: Path.join(path, "app.sock") }))),
  "live, over TLS": overTls
}

// ---- applications

const readBody = (exchange: App.HttpExchange) =>
  Effect.gen(function*() {
    const parts: Array<Uint8Array> = []
    for (;;) {
      const event = yield* exchange.receive
      if (event.type === "http.disconnect") return yield* Effect.die(new Error("The client left"))
      parts.push(event.body)
      if (!event.more) return Buffer.concat(parts).toString()
    }
  })

/** Says what it was asked. */
const mirror = App.http((exchange) =>
  Effect.gen(function*() {
    const { headers, method, path, queryString } = exchange.scope
    const body = yield* readBody(exchange)
    const said = JSON.stringify({ method, path, queryString, headers: Object.fromEntries(headers), body })
    yield* App.respond(exchange.send, 200, said, [["content-type", "application/json"]])
  })
)

interface Said {
  readonly method: string
  readonly path: string
  readonly queryString: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const said = (response: HttpClientResponse) => Effect.map(response.json, (json) => json as unknown as Said)

/** Accepts, and says every message back; a text `close` ends it with 4000. */
const talk = (exchange: App.WebSocketExchange) =>
  Effect.gen(function*() {
    yield* exchange.receive
    yield* exchange.send({ type: "websocket.accept", headers: [["x-room", "1"]] })
    for (;;) {
      const event = yield* exchange.receive
      if (event.type !== "websocket.receive") return
      if (event.text === "close") return yield* exchange.send({ type: "websocket.close", code: 4000, reason: "enough" })
      yield* exchange.send({
        type: "websocket.send",
        ...(event.text !== undefined ? { text: event.text } : { bytes: event.bytes! })
      })
    }
  })

for (const [name, make] of Object.entries(subjects)) {
  const isHttp2 = name.includes("HTTP/2")
  const test = (title: string, body: () => Effect.Effect<unknown, unknown, Scope.Scope>) =>
    it.effect(title, () => Effect.provide(Effect.suspend(body), capture().layer))

  describe(`a TestClient ${name}`, () => {
    test("has every verb, and any other method [C212] [W145]", () =>
      Effect.gen(function*() {
        const client = yield* make(mirror)
        const methods: Array<string> = []
        for (const verb of ["get", "post", "put", "patch", "delete", "del", "options", "query"] as const) {
          methods.push((yield* said(yield* client[verb]("/a"))).method)
        }
        assert.deepStrictEqual(methods, ["GET", "POST", "PUT", "PATCH", "DELETE", "DELETE", "OPTIONS", "QUERY"])
        assert.strictEqual((yield* said(yield* client.request("PURGE", "/a"))).method, "PURGE")
        const head = yield* client.head("/a")
        assert.strictEqual(head.status, 200)
        assert.strictEqual(yield* head.text, "")
      }))

    test("sends queries, headers, and bodies as JSON, forms, text and bytes [C212] [W148]", () =>
      Effect.gen(function*() {
        const client = yield* make(mirror)
        const post = (options: TestClient.RequestOptions) => Effect.flatMap(client.post("/p?a=1", options), said)
        const query = yield* post({ query: { b: ["2", "3 4"] }, headers: { "x-y": "z" } })
        assert.strictEqual(query.queryString, "a=1&b=2&b=3+4")
        assert.strictEqual(query.path, "/p")
        assert.strictEqual(query.headers["x-y"], "z")
        const json = yield* post({ json: { title: "é" } })
        assert.deepStrictEqual([json.headers["content-type"], json.body], ["application/json", `{"title":"é"}`])
        const form = yield* post({ form: { a: "1 2", b: "ü" } })
        assert.strictEqual(form.headers["content-type"], "application/x-www-form-urlencoded")
        assert.strictEqual(form.body, "a=1+2&b=%C3%BC")
        assert.strictEqual((yield* post({ body: "words" })).headers["content-type"], "text/plain")
        const bytes = yield* post({ body: Buffer.from("raw"), headers: { "content-type": "a/b" } })
        assert.deepStrictEqual([bytes.headers["content-type"], bytes.body], ["a/b", "raw"])
      }))

    test("sends fields and files as multipart/form-data [C212]", () =>
      Effect.gen(function*() {
        const client = yield* make(mirror)
        const file = new File(["content"], "a.txt", { type: "text/plain" })
        const { body, headers } = yield* said(yield* client.post("/", { multipart: { field: "value", file } }))
        assert.match(headers["content-type"]!, /^multipart\/form-data; boundary=/)
        assert.match(body, /name="field"\r\n\r\nvalue\r\n/)
        assert.match(body, /name="file"; filename="a.txt"\r\nContent-Type: text\/plain\r\n\r\ncontent\r\n/i)
      }))

    test("streams a request body while the application reads it [C212]", () =>
      Effect.gen(function*() {
        const gotFirst = yield* Deferred.make<string>()
        const client = yield* make(App.http((exchange) =>
          Effect.gen(function*() {
            const event = yield* exchange.receive
            if (event.type === "http.request") yield* Deferred.succeed(gotFirst, Buffer.from(event.body).toString())
            yield* App.respond(exchange.send, 200, yield* readBody(exchange))
          })
        ))
        const encode = (text: string) => new TextEncoder().encode(text)
        const body = Stream.concat(
          Stream.succeed(encode("first")),
          Stream.fromEffect(Effect.map(Deferred.await(gotFirst), (first) => encode(`second, after ${first}`)))
        )
        assert.strictEqual(yield* (yield* client.post("/", { body })).text, "second, after first")
      }))

    test("reads a response part by part while the application runs [C212]", () =>
      Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        const client = yield* make(App.http(({ send }) =>
          Effect.gen(function*() {
            yield* send({ type: "http.response.start", status: 200 })
            yield* send({ type: "http.response.body", body: "one", more: true })
            yield* Deferred.await(gate)
            yield* send({ type: "http.response.body", body: "two" })
          })
        ))
        const response = yield* client.get("/")
        const parts: Array<string> = []
        yield* Stream.runForEach(Stream.decodeText(response.stream), (part) =>
          Effect.andThen(Effect.sync(() => parts.push(part)), Deferred.succeed(gate, undefined)))
        assert.deepStrictEqual(parts, ["one", "two"])
      }))

    test("has the trailers of a response, read or not, and its early hints [C212]", () =>
      Effect.gen(function*() {
        const client = yield* make(App.http(({ scope, send }) =>
          Effect.gen(function*() {
            if (scope.path === "/plain") return yield* App.respond(send, 200, "x")
            yield* send({ type: "http.response.early_hint", links: ["</a.css>; rel=preload", "</b.js>; rel=preload"] })
            yield* send({ type: "http.response.start", status: 200, trailers: true })
            yield* send({ type: "http.response.body", body: "body" })
            yield* send({ type: "http.response.trailers", headers: [["x-sum", "1"]] })
          })
        ))
        const read = yield* client.get("/")
        assert.strictEqual(yield* read.text, "body")
        assert.strictEqual((yield* TestClient.trailers(read))["x-sum"], "1")
        assert.deepStrictEqual(TestClient.earlyHints(read).flatMap((line) => line.split(", ")), [
          "</a.css>; rel=preload",
          "</b.js>; rel=preload"
        ])
        assert.strictEqual((yield* TestClient.trailers(yield* client.get("/")))["x-sum"], "1")
        const plain = yield* client.get("/plain")
        assert.deepStrictEqual({ ...(yield* TestClient.trailers(plain)) }, {})
        assert.deepStrictEqual(TestClient.earlyHints(plain), [])
      }))

    const cookies = App.http(({ scope, send }) => {
      const own = scope.headers.filter(([name]) => name === "cookie").map(([, value]) => value).join("; ")
      return scope.path === "/set"
        ? App.respond(send, 200, own, [["set-cookie", "a=1; Path=/"], ["set-cookie", "b=2; Path=/; Max-Age=60"]])
        : scope.path === "/unset"
        ? App.respond(send, 200, own, [["set-cookie", "a=; Path=/; Max-Age=0"]])
        : scope.path === "/login"
        ? App.respond(send, 303, "", [["set-cookie", "session=s; Path=/"], ["location", "/home"]])
        : App.respond(send, 200, own)
    })

    test("keeps cookies between requests, and lets a test read, set and clear them [C212]", () =>
      Effect.gen(function*() {
        const client = yield* make(cookies)
        const sent = (path: string, options?: TestClient.RequestOptions) =>
          Effect.flatMap(client.get(path, options), (response) => response.text)
        assert.strictEqual(yield* sent("/set"), "")
        assert.strictEqual(yield* sent("/"), "a=1; b=2")
        assert.strictEqual(yield* client.cookies.get("b"), "2")
        assert.strictEqual(yield* client.cookies.get("c"), undefined)
        yield* client.cookies.set("c", "3 ü")
        assert.strictEqual(yield* sent("/unset"), "a=1; b=2; c=3%20%C3%BC")
        assert.strictEqual(yield* sent("/", { cookies: { b: "own" } }), "c=3%20%C3%BC; b=own")
        assert.deepStrictEqual((yield* client.cookies.all).map(({ name }) => name), ["b", "c"])
        yield* client.cookies.clear
        assert.strictEqual(yield* sent("/"), "")
      }))

    test("keeps no cookies when it is told so [C212]", () =>
      Effect.gen(function*() {
        const client = yield* make(cookies, { cookies: false })
        yield* client.get("/set")
        assert.strictEqual(yield* (yield* client.get("/")).text, "")
        assert.deepStrictEqual(yield* client.cookies.all, [])
      }))

    test("follows redirects when it is asked to, with the cookies they set [C212]", () =>
      Effect.gen(function*() {
        const client = yield* make(cookies)
        const response = yield* client.post("/login", { form: { name: "a" } })
        assert.deepStrictEqual([response.status, response.headers["location"]], [303, "/home"])
        yield* client.cookies.clear
        const followed = yield* client.post("/login", { form: { name: "a" }, followRedirects: true })
        assert.deepStrictEqual([followed.status, yield* followed.text], [200, "session=s"])
        assert.strictEqual((yield* client.get("/login", { followRedirects: 0 })).status, 303)
      }))

    test("lets an interrupted request disconnect [C212]", () =>
      Effect.gen(function*() {
        const started = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<string>()
        const client = yield* make(App.http(({ connection }) => {
          connection.onDisconnect((reason) => Deferred.doneUnsafe(ended, Effect.succeed(reason)))
          return Effect.andThen(Deferred.succeed(started, undefined), Effect.never)
        }))
        const waiting = yield* Effect.forkChild(client.get("/"))
        yield* Deferred.await(started)
        yield* Fiber.interrupt(waiting)
        assert.strictEqual(yield* Deferred.await(ended), "client_closed")
      }))

    test("is an HttpClient that builders and HttpApiClient run on [C212] [W148]", () =>
      Effect.gen(function*() {
        const client = yield* make(mirror)
        const request = HttpClientRequest.put("/built").pipe(HttpClientRequest.bearerToken("t"))
        assert.strictEqual((yield* said(yield* client.execute(request))).headers["authorization"], "Bearer t")
        const tagged = client.pipe(HttpClient.mapRequest(HttpClientRequest.setHeader("x-tag", "1")))
        assert.strictEqual((yield* said(yield* tagged.get("/"))).headers["x-tag"], "1")
        const api = HttpApi.make("api").add(
          HttpApiGroup.make("items").add(
            HttpApiEndpoint.get("one", "/items/:id", {
              params: { id: Schema.FiniteFromString },
              success: Schema.Struct({ path: Schema.String })
            })
          )
        )
        const calls = yield* Effect.provideService(HttpApiClient.make(api), HttpClient.HttpClient, client)
        assert.deepStrictEqual(yield* calls.items.one({ params: { id: 7 } }), { path: "/items/7" })
      }))

    test("leaves a response that is tied to a scope when that closes", () =>
      Effect.gen(function*() {
        const ended = yield* Deferred.make<string>()
        const client = yield* make(App.http(({ connection, send }) =>
          Effect.gen(function*() {
            connection.onDisconnect((reason) => Deferred.doneUnsafe(ended, Effect.succeed(reason)))
            yield* send({ type: "http.response.start", status: 200 })
            yield* send({ type: "http.response.body", body: "first", more: true })
            yield* Effect.never
          })
        ))
        const status = yield* Effect.scoped(Effect.map(HttpClient.withScope(client).get("/"), ({ status }) => status))
        assert.strictEqual(status, 200)
        assert.strictEqual(yield* Deferred.await(ended), "client_closed")
      }))

    test("talks over a WebSocket: text, bytes, JSON, and a close from the client [C212] [W145]", () =>
      Effect.gen(function*() {
        const client = yield* make(App.websocket(talk))
        const session = yield* client.websocket("/chat")
        assert.strictEqual(session.headers["x-room"], "1")
        assert.strictEqual(session.subprotocol, "")
        yield* session.send("hello")
        yield* session.send(Uint8Array.of(1, 2))
        yield* session.sendJson({ a: 1 })
        assert.strictEqual(yield* session.receive, "hello")
        assert.deepStrictEqual(yield* session.receive, Uint8Array.of(1, 2))
        assert.deepStrictEqual(yield* session.receiveJson, { a: 1 })
        const end = yield* session.close(4001, "done")
        // The code is repeated by the server, the reason is not.
        assert.deepStrictEqual([end.code, end.reason], [4001, ""])
        assert.strictEqual((yield* Effect.flip(session.send("late"))).code, 4001)
        assert.strictEqual((yield* Effect.flip(session.receive)).code, 4001)
      }))

    test("ends the messages of a WebSocket when the application closes it, and says how [C212]", () =>
      Effect.gen(function*() {
        const client = yield* make(App.websocket(talk))
        const session = yield* client.websocket("/")
        for (const message of ["a", "b", "close"]) yield* session.send(message)
        assert.deepStrictEqual(yield* Stream.runCollect(session.messages), ["a", "b"])
        const { code, message, reason } = yield* session.closed
        assert.deepStrictEqual([code, reason, message], [4000, "enough", "The session has ended with 4000 (enough)"])
      }))

    test("offers subprotocols, headers, queries and cookies with a handshake [C212]", () =>
      Effect.gen(function*() {
        const client = yield* make(App.websocket(({ receive, scope, send }) =>
          Effect.gen(function*() {
            yield* receive
            yield* send({ type: "websocket.accept", subprotocol: scope.subprotocols[1]! })
            const header = (name: string) => scope.headers.find(([found]) => found === name)?.[1]
            const text = [scope.path, scope.queryString, header("x-y"), header("cookie")].join(" ")
            yield* send({ type: "websocket.send", text })
            yield* receive
          })
        ))
        yield* client.cookies.set("kept", "1")
        const session = yield* client.websocket("/a?b=1", {
          subprotocols: ["v1", "v2"],
          headers: { "x-y": "z" },
          query: { c: "2" },
          cookies: { own: "2" }
        })
        assert.strictEqual(session.subprotocol, "v2")
        assert.strictEqual(yield* session.receive, "/a b=1&c=2 z kept=1; own=2")
      }))

    test("keeps the cookies that the answer to a handshake has set [C212]", () =>
      Effect.gen(function*() {
        const client = yield* make(App.websocket(({ receive, scope, send }) =>
          Effect.gen(function*() {
            const headers = [["set-cookie", `${scope.path.slice(1)}=1; Path=/`]] as const
            if (scope.path === "/denied") {
              yield* send({ type: "websocket.http.response.start", status: 401, headers })
              return yield* send({ type: "websocket.http.response.body" })
            }
            yield* send({ type: "websocket.accept", headers })
            yield* receive
          })
        ))
        yield* client.websocket("/accepted")
        yield* Effect.flip(client.websocket("/denied"))
        assert.deepStrictEqual((yield* client.cookies.all).map(({ name }) => name), ["accepted", "denied"])
      }))

    test("fails with the answer when a WebSocket is denied [C212]", () =>
      Effect.gen(function*() {
        const client = yield* make(App.byType({
          websocket: ({ send }) =>
            Effect.gen(function*() {
              const headers = [["x-why", "rules"]] as const
              yield* send({ type: "websocket.http.response.start", status: 401, headers })
              yield* send({ type: "websocket.http.response.body", body: "who are you?" })
            }),
          http: ({ send }) => App.respond(send, 200)
        }))
        const denied = yield* Effect.flip(client.websocket("/"))
        assert(denied._tag === "Denied")
        assert.deepStrictEqual([denied.status, denied.headers["x-why"], denied.body], [401, "rules", "who are you?"])
        assert.strictEqual(denied.message, "The session was denied with 401: who are you?")
      }))

    test("breaks a WebSocket off, and closes it with its scope [C212]", () =>
      Effect.gen(function*() {
        const codes: Array<number> = []
        const gone = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const client = yield* make(App.websocket(({ receive, send }) =>
          Effect.gen(function*() {
            yield* receive
            yield* send({ type: "websocket.accept" })
            const event = yield* receive
            if (event.type !== "websocket.disconnect") return
            yield* Deferred.succeed(gone[codes.push(event.code) - 1]!, undefined)
          })
        ))
        yield* (yield* client.websocket("/")).terminate
        yield* Deferred.await(gone[0]!)
        yield* Effect.scoped(client.websocket("/"))
        yield* Deferred.await(gone[1]!)
        assert.deepStrictEqual(codes, [1006, 1000])
      }))

    test("reads server-sent events with all their fields, until the stream ends [C212] [W145]", () =>
      Effect.gen(function*() {
        const client = yield* make(App.sse(({ scope, send }) =>
          Effect.gen(function*() {
            const last = scope.headers.find(([name]) => name === "last-event-id")?.[1]
            yield* send({ type: "sse.start", headers: [["x-y", "z"]] })
            yield* send({ type: "sse.send", event: "tick", data: `after ${last}\nline 2`, id: "8", retry: 3000 })
            yield* send({ type: "sse.comment", comment: "nothing" })
            yield* send({ type: "sse.send", data: "é" })
          })
        ))
        const session = yield* client.sse("/feed", { lastEventId: "7", headers: { "x-a": "b" } })
        assert.strictEqual(session.response.headers["x-y"], "z")
        assert.deepStrictEqual(yield* session.next, {
          event: "tick",
          data: "after 7\nline 2",
          id: "8",
          retry: 3000
        })
        assert.deepStrictEqual(yield* Stream.runCollect(session.events), [
          { event: "message", data: "é", id: "8", retry: undefined }
        ])
        assert.isTrue((yield* session.closed).isComplete)
        assert.strictEqual((yield* Effect.flip(session.next)).message, "The stream of events has ended")
      }))

    test("takes events as they come, and leaves a stream with its scope [C212]", () =>
      Effect.gen(function*() {
        const next = yield* Deferred.make<void>()
        const gone = yield* Deferred.make<string>()
        const client = yield* make(App.sse(({ receive, send }) =>
          Effect.gen(function*() {
            yield* receive
            yield* send({ type: "sse.start" })
            yield* send({ type: "sse.send", data: "1" })
            yield* Deferred.await(next)
            yield* send({ type: "sse.send", data: "2" })
            const event = yield* receive
            yield* Deferred.succeed(gone, event.type === "sse.disconnect" ? event.reason : "no disconnect")
          })
        ))
        yield* Effect.scoped(Effect.gen(function*() {
          const session = yield* client.sse("/")
          assert.strictEqual((yield* session.next).data, "1")
          yield* Deferred.succeed(next, undefined)
          assert.strictEqual((yield* session.next).data, "2")
        }))
        assert.strictEqual(yield* Deferred.await(gone), "client_closed")
      }))

    test("fails with the answer when a stream of events is none [C212]", () =>
      Effect.gen(function*() {
        const client = yield* make(App.byType({
          sse: ({ scope, send }) =>
            Effect.gen(function*() {
              const status = scope.path === "/gone" ? 410 : 200
              yield* send({ type: "sse.http.response.start", status, headers: [["content-type", "text/plain"]] })
              yield* send({ type: "sse.http.response.body", body: "no feed" })
            }),
          http: ({ send }) => App.respond(send, 200)
        }))
        for (const [path, status] of [["/gone", 410], ["/page", 200]] as const) {
          const denied = yield* Effect.flip(client.sse(path))
          assert(denied._tag === "Denied")
          assert.deepStrictEqual([denied.status, denied.body], [status, "no feed"])
        }
      }))

    test("goes to its server whatever host a URL names", () =>
      Effect.gen(function*() {
        const client = yield* make(App.http(({ scope, send }) => App.respond(send, 200, String(scope.httpVersion))))
        const response = yield* client.get("http://other.example/")
        assert.strictEqual(yield* response.text, isHttp2 ? "2" : "1.1")
      }))

    test("fails a response that breaks off", () =>
      Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        const client = yield* make(
          App.http(({ send }) =>
            Effect.gen(function*() {
              yield* send({ type: "http.response.start", status: 200 })
              yield* send({ type: "http.response.body", body: "half", more: true })
              yield* Deferred.await(gate)
              yield* Effect.die(new Error("lost"))
            })
          ),
          { raiseAppErrors: false }
        )
        const response = yield* client.get("/")
        yield* Deferred.succeed(gate, undefined)
        assert.strictEqual((yield* Effect.flip(response.text)).reason._tag, "DecodeError")
      }))
  })
}
