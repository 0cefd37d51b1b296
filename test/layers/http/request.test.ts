import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as FileSystem from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import type { HttpReceive } from "../../../src/schema/Event.ts"
import type { HttpScope } from "../../../src/schema/Scope.ts"
import { answerIn, answersIn, chunked, request } from "../../utils/answers.ts"
import { askSocket } from "../../utils/asking.ts"
import { exchange, serve } from "../../utils/serve.ts"

/** Answers with the scope as JSON. */
const echoScope = App.http(({ scope, send }) => App.respond(send, 200, JSON.stringify(scope)))

const scopeOf = (bytes: string) =>
  Effect.map(
    exchange(echoScope, bytes),
    (answer) => JSON.parse(Buffer.from(answerIn(answer).body, "latin1").toString()) as HttpScope
  )

/** Takes events until the body is over. */
const readBody = (
  receive: Effect.Effect<HttpReceive>,
  events: Array<HttpReceive> = []
): Effect.Effect<Array<HttpReceive>> =>
  Effect.flatMap(receive, (event) => {
    events.push(event)
    return event.type === "http.request" && event.more ? readBody(receive, events) : Effect.succeed(events)
  })

const textOf = (events: ReadonlyArray<HttpReceive>): string =>
  events.map((event) => event.type === "http.request" ? Buffer.from(event.body).toString("latin1") : "").join("")

/** Answers with what it received. */
const echoBody = App.http(({ receive, send }) =>
  Effect.flatMap(readBody(receive), (events) => App.respond(send, 200, Buffer.from(textOf(events), "latin1")))
)

describe("a request's scope", () => {
  it.effect("carries the contract's versions as strings [C9]", () =>
    Effect.gen(function*() {
      const { slipway } = yield* scopeOf(request("GET /"))
      assert.strictEqual(typeof slipway.version, "string")
      assert.strictEqual(typeof slipway.specVersion, "string")
    }))

  it.effect("is made of the exchange's type, version, method, scheme, target and addresses", () =>
    Effect.gen(function*() {
      const { headers, slipway: _, ...scope } = yield* scopeOf(request("PATCH /a/b?c=d&e", ["x-a: 1"]))
      assert.deepStrictEqual(scope, {
        type: "http",
        httpVersion: "1.1",
        method: "PATCH",
        scheme: "http",
        path: "/a/b",
        rawPath: "/a/b",
        queryString: "c=d&e",
        rootPath: "",
        client: ["127.0.0.1", 40_000],
        server: ["127.0.0.1", 5000],
        extensions: { fullflush: {}, "http.response.early_hint": {} }
      })
      assert.deepStrictEqual(headers, [["host", "a"], ["x-a", "1"]])
    }))

  it.effect("keeps order, duplicates and bytes of header values, and lowers names [C11]", () =>
    Effect.gen(function*() {
      const { headers } = yield* scopeOf(
        request("GET /", ["X-Two: b, \xff\xe9", "x_two: c", "X-TWO:a", "ACCEPT: \t x  y \t"])
      )
      assert.deepStrictEqual(headers, [
        ["host", "a"],
        ["x-two", "b, \xff\xe9"],
        ["x_two", "c"],
        ["x-two", "a"],
        ["accept", "x  y"]
      ])
    }))

  it.effect("joins several cookie lines into one, in the place of the first [C12]", () =>
    Effect.gen(function*() {
      const { headers } = yield* scopeOf(request("GET /", ["Cookie: a=1", "x: y", "cookie: b=2; c=3", "COOKIE: d=4"]))
      assert.deepStrictEqual(headers, [["host", "a"], ["cookie", "a=1; b=2; c=3; d=4"], ["x", "y"]])
    }))

  it.effect("decodes the path as UTF-8, and falls back to its bytes when it is not [C14]", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* scopeOf(request("GET /caf%C3%A9/%e2%82%ac%20x"))).path, "/café/€ x")
      assert.strictEqual((yield* scopeOf(request("GET /%ff%2Fa%C3%A9"))).path, "/\xff/a\xc3\xa9")
      assert.strictEqual((yield* scopeOf(request("GET /100%/%zz"))).path, "/100%/%zz")
    }))

  it.effect("leaves raw path and query as they came [C15]", () =>
    Effect.gen(function*() {
      const scope = yield* scopeOf(request("GET /caf%C3%A9//../%2e?a=%20+&b=%ff??x=/"))
      assert.strictEqual(scope.rawPath, "/caf%C3%A9//../%2e")
      assert.strictEqual(scope.queryString, "a=%20+&b=%ff??x=/")
    }))

  it.effect("shows what middleware adds to the inner layers only [C19]", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const tag: App.Middleware = (app) => (outer) =>
        outer.type !== "http"
          ? app(outer)
          : Effect.andThen(
            app(App.derive(outer, { scope: { ...outer.scope, rootPath: "/added" } })),
            Effect.sync(() => seen.push(`outer ${outer.scope.rootPath}`))
          )
      const inner = App.http(({ scope, send }) => {
        seen.push(`inner ${scope.rootPath}`)
        return App.respond(send, 200)
      })
      yield* exchange(tag(inner), request("GET /"))
      assert.deepStrictEqual(seen, ["inner /added", "outer "])
    }))

  it.effect("shares the live handles and the state with every layer [C20]", () =>
    Effect.gen(function*() {
      const shared: Array<boolean> = []
      const pass = (inner: App.App): App.App => (outer) =>
        outer.type !== "http"
          ? inner(outer)
          : inner(Object.assign(App.derive(outer, { scope: { ...outer.scope, path: "/inner" } }), { outermost: outer }))
      const app: App.App = (x) => {
        if (x.type === "lifespan") {
          x.scope.state!.pool = { open: true }
          return Effect.orDie(Effect.andThen(x.receive, x.send({ type: "lifespan.startup.complete" })))
        }
        if (x.type !== "http") return Effect.void
        const { outermost } = x as unknown as { readonly outermost: App.HttpExchange }
        shared.push(
          x.scope.path === "/inner",
          x.connection === outermost.connection,
          x.transport === outermost.transport,
          x.scope.state === outermost.scope.state,
          x.scope.state!.pool === outermost.scope.state!.pool
        )
        return Effect.orDie(App.respond(x.send, 200))
      }
      yield* exchange(pass(app), request("GET /"))
      assert.deepStrictEqual(shared, [true, true, true, true, true])
    }))

  it.effect("has no client on a unix socket, and the socket's path as server [C21]", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(echoScope, { unix: "/run/a.sock" })
      const client = yield* connect({ from: null })
      yield* client.send(request("GET /"))
      const scope = JSON.parse(answerIn(yield* client.read).body) as HttpScope
      assert.isFalse("client" in scope)
      assert.deepStrictEqual(scope.server, ["/run/a.sock", null])
    }))

  it.live("has no client on a real unix socket either [C21]", () =>
    Effect.gen(function*() {
      const folder = FileSystem.mkdtempSync(Path.join(Os.tmpdir(), "slipway-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => FileSystem.rmSync(folder, { recursive: true })))
      const path = Path.join(folder, "a.sock")
      const server = yield* ServerNode.make({ unix: path })
      yield* server.serve(echoScope)
      const bytes = yield* askSocket(yield* server.addresses, request("GET /", ["connection: close"]))
      const scope = JSON.parse(answerIn(bytes).body) as HttpScope
      assert.isFalse("client" in scope)
      assert.deepStrictEqual(scope.server, [path, null])
    }))
})

describe("a request's body", () => {
  it.effect("is one empty event when there is none, whatever the method [C22]", () =>
    Effect.gen(function*() {
      const seen: Array<HttpReceive> = []
      const app = App.http(({ receive, send }) =>
        Effect.flatMap(receive, (event) => {
          seen.push(event)
          return App.respond(send, 200)
        })
      )
      yield* exchange(app, request("GET /") + request("POST /", ["content-length: 0"]) + request("DELETE /"))
      const empty = { type: "http.request", body: new Uint8Array(0), more: false } as const
      assert.deepStrictEqual(seen, [empty, empty, empty])
    }))

  it.effect("arrives without chunk framing, and its last event has no more [C23]", () =>
    Effect.gen(function*() {
      const seen: Array<HttpReceive> = []
      const app = App.http(({ receive, send }) => Effect.flatMap(readBody(receive, seen), () => App.respond(send, 200)))
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("POST /", ["transfer-encoding: chunked"]))
      for (const piece of ["4;a=b\r\nWi", "ki\r", "\n5\r\npedia\r\n", "0\r\n", "\r\n"]) yield* client.send(piece)
      assert.strictEqual(answerIn(yield* client.read).status, 200)
      assert.strictEqual(textOf(seen), "Wikipedia")
      assert.deepStrictEqual(seen.map((event) => event.type === "http.request" && event.more).at(-1), false)
      assert.isTrue(seen.slice(0, -1).every((event) => event.type === "http.request" && event.more))
    }))

  it.effect("arrives in several events that sum to the declared length [C26]", () =>
    Effect.gen(function*() {
      const seen: Array<HttpReceive> = []
      const app = App.http(({ receive, send }) => Effect.flatMap(readBody(receive, seen), () => App.respond(send, 200)))
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("POST /", ["content-length: 10"], "abc"))
      yield* client.send("de")
      yield* client.send("fghij")
      assert.strictEqual(answerIn(yield* client.read).status, 200)
      assert.isAbove(seen.length, 1)
      assert.strictEqual(textOf(seen), "abcdefghij")
    }))

  it.effect("carries trailers on its last event, without those that could change the message [C50]", () =>
    Effect.gen(function*() {
      const app = App.http(({ receive, send }) =>
        Effect.flatMap(readBody(receive), (events) => App.respond(send, 200, JSON.stringify(events.at(-1))))
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      const body = chunked(["abc"], ["X-Checksum: 1234", "content-length: 7", "Host: evil"])
      yield* client.send(request("POST /", ["transfer-encoding: chunked"], body) + request("GET /"))
      const [first, second] = answersIn(yield* client.read)
      assert.deepInclude(JSON.parse(first!.body), { more: false, trailers: [["x-checksum", "1234"]] })
      assert.isFalse("trailers" in JSON.parse(second!.body))
    }))

  it.effect("may have trailers that nobody reads [C50]", () =>
    Effect.gen(function*() {
      const hello = App.http(({ scope, send }) => App.respond(send, 200, scope.path))
      const body = chunked(["abc"], ["x-a: 1", "x-b: 2"])
      const bytes = yield* exchange(hello, request("POST /a", ["transfer-encoding: chunked"], body) + request("GET /b"))
      assert.deepStrictEqual(answersIn(bytes).map((answer) => answer.body), ["/a", "/b"])
    }))

  it.effect("makes a later receive wait for the client's end [C24]", () =>
    Effect.gen(function*() {
      const got = yield* Deferred.make<string>()
      const app = App.http(({ receive }) =>
        Effect.andThen(
          receive,
          Effect.uninterruptible(Effect.flatMap(receive, (event) => Deferred.succeed(got, event.type)))
        )
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("GET /"))
      assert.isFalse(yield* Deferred.isDone(got))
      yield* client.reset
      assert.strictEqual(yield* Deferred.await(got), "http.disconnect")
    }))

  it.effect("makes a receive after the answer yield the end [C25]", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const app = App.http(({ receive, send }) =>
        Effect.gen(function*() {
          yield* App.respond(send, 200)
          for (let count = 0; count < 3; count++) seen.push((yield* receive).type)
        })
      )
      const bytes = yield* exchange(app, request("POST /", ["content-length: 3"], "abc") + request("GET /"))
      assert.strictEqual(answersIn(bytes).length, 2)
      assert.deepStrictEqual(new Set(seen), new Set(["http.disconnect"]))
    }))

  it.effect("wakes a receive that waits while the answer is completed [C25]", () =>
    Effect.gen(function*() {
      const app = App.http(({ receive, send }) =>
        Effect.gen(function*() {
          const waiting = yield* Effect.forkChild(Effect.andThen(receive, receive), { startImmediately: true })
          yield* Effect.sleep("1 second")
          yield* App.respond(send, 200, "done")
          const event = yield* Fiber.join(waiting)
          assert.strictEqual(event.type, "http.disconnect")
        })
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("GET /"))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(answerIn(yield* client.read).body, "done")
      yield* client.send(request("GET /"))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(answerIn(yield* client.read).body, "done")
    }))

  it.effect("is echoed byte by byte as it is whole", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(echoBody)
      const client = yield* connect()
      const bytes = request("POST /", ["transfer-encoding: chunked"], chunked(["abc", "defgh"], ["x: y"])) +
        request("POST /", ["content-length: 3"], "\x00\xff\x80")
      yield* client.send(bytes)
      const whole = yield* client.read
      for (const byte of bytes) yield* client.send(byte)
      assert.strictEqual(yield* client.read, whole)
      assert.deepStrictEqual(answersIn(whole).map((answer) => answer.body), ["abcdefgh", "\x00\xff\x80"])
    }))

  it.effect("and the request behind it may arrive together while the application waits for the body", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(echoBody)
      const client = yield* connect()
      yield* client.send(request("POST /", ["content-length: 3"]))
      yield* client.send(`abc${request("POST /", ["content-length: 2"], "de")}`)
      assert.deepStrictEqual(answersIn(yield* client.read).map((answer) => answer.body), ["abc", "de"])
    }))
})

describe("Expect: 100-continue", () => {
  const expecting = (method = "POST") => request(`${method} /`, ["content-length: 3", "expect: 100-continue"])

  it.effect("is answered when the application reads the body, and only then [C27]", () =>
    Effect.gen(function*() {
      const app = App.http(({ receive, send }) =>
        Effect.gen(function*() {
          yield* Effect.sleep("5 seconds")
          const events = yield* readBody(receive)
          yield* App.respond(send, 200, textOf(events))
        })
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(expecting())
      assert.strictEqual(yield* client.read, "")
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* client.read, "HTTP/1.1 100 Continue\r\n\r\n")
      yield* client.send("a")
      yield* client.send("bc")
      const bytes = yield* client.read
      assert.strictEqual(answerIn(bytes).body, "abc")
      assert.strictEqual(answerIn(bytes).header("connection"), undefined)
    }))

  it.effect("is not answered when the body is there already, nor to HTTP/1.0 [C27]", () =>
    Effect.gen(function*() {
      assert.strictEqual(answerIn(yield* exchange(echoBody, `${expecting()}abc`)).body, "abc")
      const { connect } = yield* serve(echoBody)
      const client = yield* connect()
      yield* client.send("POST / HTTP/1.0\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
      assert.strictEqual(yield* client.read, "")
      yield* client.send("abc")
      assert.strictEqual(answerIn(yield* client.readAll).body, "abc")
    }))

  it.effect("is not answered when the application answers without reading, and the connection closes [C27]", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(App.http(({ send }) => App.respond(send, 401)))
      const client = yield* connect()
      yield* client.send(expecting())
      const answer = answerIn(yield* client.readAll)
      assert.strictEqual(answer.status, 401)
      assert.strictEqual(answer.header("connection"), "close")
    }))

  it.effect("is refused with 417 when something else is expected", () =>
    Effect.gen(function*() {
      const answer = answerIn(
        yield* exchange(echoBody, request("POST /", ["content-length: 3", "expect: coffee"], "abc"))
      )
      assert.strictEqual(answer.status, 417)
      assert.strictEqual(answer.header("connection"), "close")
    }))
})
