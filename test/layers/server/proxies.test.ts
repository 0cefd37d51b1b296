import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as AccessLogMemory from "../../../layers/AccessLogMemory.ts"
import * as NodeHandler from "../../../layers/NodeHandler.ts"
import type * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import * as FetchHandler from "../../../src/app/FetchHandler.ts"
import * as Router from "../../../src/app/Router.ts"
import * as Lint from "../../../src/middleware/Lint.ts"
import { request } from "../../utils/answers.ts"
import { capture } from "../../utils/logs.ts"
import { bodyOf, headerOf, serve } from "../../utils/serve.ts"
import * as Wires from "../../utils/wires.ts"

type Scope = App.ClientExchange["scope"]
type From = ServerMemory.ConnectOptions["from"]
type Fields = ReadonlyArray<readonly [name: string, value: string]>

const proxy: From = ["10.0.0.1", 5]

/** Declines everything and keeps what it was told. */
const keeping = () => {
  const scopes: Array<Scope> = []
  const app: App.App<unknown> = Lint.make()((exchange) => {
    if (exchange.type !== "lifespan") scopes.push(exchange.scope)
    return App.decline(exchange)
  })
  return { scopes, app }
}

/** The scope of one request from `from`. */
const scopeOf = Effect.fnUntraced(function*(
  fields: Fields,
  options: ServerMemory.Options,
  from: From = proxy,
  wire: Wires.Wire = { protocol: "http", version: "1.1" }
) {
  const { app, scopes } = keeping()
  const { connect } = yield* serve(app, options)
  const connection = yield* Wires.open(() => connect({ from }), wire.version)
  yield* connection.ask({ protocol: wire.protocol, headers: fields })
  assert.strictEqual(scopes.length, 1)
  return scopes[0]!
})

const clientOf = (fields: Fields, options: ServerMemory.Options, from: From = proxy) =>
  Effect.map(scopeOf(fields, options, from), (scope) => scope.client ?? null)

const trusting: ServerMemory.Options = { trustedProxies: ["10.0.0.0/8", "fd00::/8"] }
const forwarded: ServerMemory.Options = { ...trusting, proxyHeaders: "forwarded" }

const through = (value: string): Fields => [["x-forwarded-for", value]]

describe("proxies", () => {
  for (const wire of Wires.wires) {
    const secure = wire.protocol === "websocket" ? "wss" : "https"
    const plain = wire.protocol === "websocket" ? "ws" : "http"

    it.effect(`that are trusted say who the client is: ${Wires.nameOf(wire)}, X-Forwarded [C191]`, () =>
      Effect.gen(function*() {
        const fields: Fields = [
          ["x-forwarded-for", "198.51.100.9, 203.0.113.7, 10.0.0.2"],
          ["x-forwarded-proto", "https"],
          ["x-forwarded-host", "shop.example"],
          ["x-forwarded-port", "8443"]
        ]
        const scope = yield* scopeOf(fields, trusting, proxy, wire)
        assert.strictEqual(scope.type, wire.protocol)
        assert.deepStrictEqual(scope.client, ["203.0.113.7", 0])
        assert.strictEqual(scope.scheme, secure)
        assert.deepStrictEqual(scope.server, ["shop.example", 8443])
        for (const field of fields) assert.deepInclude(scope.headers, field)
        assert.deepInclude(scope.headers, ["host", "a"])
      }))

    it.effect(`that are trusted say who the client is: ${Wires.nameOf(wire)}, Forwarded [C191]`, () =>
      Effect.gen(function*() {
        const field: Fields[number] = [
          "forwarded",
          "for=\"[2001:db8::1]:4711\";proto=https;host=shop.example, for=10.0.0.2;proto=http"
        ]
        const scope = yield* scopeOf([field], forwarded, proxy, wire)
        assert.deepStrictEqual(scope.client, ["2001:db8::1", 4711])
        assert.strictEqual(scope.scheme, secure)
        assert.deepStrictEqual(scope.server, ["shop.example", 443])
        assert.deepInclude(scope.headers, field)
      }))

    it.effect(`that are not trusted are not believed: ${Wires.nameOf(wire)} [C191]`, () =>
      Effect.gen(function*() {
        const fields: Fields = [
          ["x-forwarded-for", "203.0.113.7"],
          ["x-forwarded-proto", "https"],
          ["x-forwarded-host", "evil.example"],
          ["forwarded", "for=203.0.113.7;proto=https;host=evil.example"]
        ]
        for (const options of [{}, trusting, forwarded]) {
          const scope = yield* scopeOf(fields, options, ["192.0.2.1", 6], wire)
          assert.deepStrictEqual(scope.client, ["192.0.2.1", 6])
          assert.strictEqual(scope.scheme, plain)
          assert.deepStrictEqual(scope.server, ["127.0.0.1", 5000])
          for (const field of fields) assert.deepInclude(scope.headers, field)
        }
      }))
  }

  describe("whom they name", () => {
    for (
      const [value, client] of [
        ["203.0.113.7", ["203.0.113.7", 0]],
        ["203.0.113.7:8080", ["203.0.113.7", 8080]],
        ["6.6.6.6, 203.0.113.7", ["203.0.113.7", 0]],
        ["6.6.6.6, 203.0.113.7, 10.0.0.2,10.0.0.3", ["203.0.113.7", 0]],
        ["203.0.113.7, fd00::1, [fd00::2]:80", ["203.0.113.7", 0]],
        ["203.0.113.7, ::ffff:10.0.0.2", ["203.0.113.7", 0]],
        ["::ffff:203.0.113.7", ["203.0.113.7", 0]],
        ["2001:DB8:0:0:0:0:0:1", ["2001:db8::1", 0]],
        ["[2001:db8::1]:443", ["2001:db8::1", 443]],
        [",, 203.0.113.7 ,,", ["203.0.113.7", 0]],
        ["10.0.0.3, 10.0.0.2", ["10.0.0.3", 0]],
        // What cannot be read ends the chain: the last proxy that could be is all that is known.
        ["unknown", ["10.0.0.1", 5]],
        ["", ["10.0.0.1", 5]],
        ["203.0.113.7, unknown", ["10.0.0.1", 5]],
        ["203.0.113.7, <script>, 10.0.0.2", ["10.0.0.2", 0]],
        ["203.0.113.7, _hidden, 10.0.0.3, 10.0.0.2", ["10.0.0.3", 0]],
        ["203.0.113.7, 10.0.0.2:99999", ["10.0.0.1", 5]],
        ["203.0.113.7, 010.0.0.2", ["10.0.0.1", 5]],
        ["203.0.113.7, 10.0.0.2.", ["10.0.0.1", 5]]
      ] as const
    ) {
      it.effect(`is ${client[0]} of ${JSON.stringify(value)} [C191]`, () =>
        Effect.gen(function*() {
          assert.deepStrictEqual<unknown>(yield* clientOf(through(value), trusting), client)
        }))
    }

    it.effect("is found over several lines, from the last to the first [C191]", () =>
      Effect.gen(function*() {
        const lines = ["6.6.6.6", "203.0.113.7, 10.0.0.3", "10.0.0.2"].flatMap(through)
        assert.deepStrictEqual(yield* clientOf(lines, trusting), ["203.0.113.7", 0])
      }))

    it.effect("is looked for in a bounded number of addresses", () =>
      Effect.gen(function*() {
        const long = `203.0.113.7, ${Array.from({ length: 250 }, (_, index) => `10.0.1.${index}`).join(", ")}`
        assert.deepStrictEqual(yield* clientOf(through(long), trusting), ["10.0.1.218", 0])
        assert.deepStrictEqual(yield* clientOf(through(`203.0.113.7${",".repeat(30)}`), trusting), ["203.0.113.7", 0])
        assert.deepStrictEqual(yield* clientOf(through(`203.0.113.7${",".repeat(8000)}`), trusting), proxy)
      }))

    it.effect("is another one in each request of a connection", () =>
      Effect.gen(function*() {
        const { app, scopes } = keeping()
        const { connect } = yield* serve(app, trusting)
        const client = yield* connect({ from: proxy })
        const clients = Array.from({ length: 1100 }, (_, n) => `203.0.${n >> 8}.${n & 255}`)
        const requests = clients.map((address) => request("GET /", [`x-forwarded-for: ${address}`]))
        yield* client.send(requests.join(""))
        yield* client.send(request("GET /"))
        assert.deepStrictEqual(scopes.map((scope) => scope.client![0]), [...clients, "10.0.0.1"])
      }))

    for (
      const [value, client, scheme] of [
        ["for=203.0.113.7;proto=https, for=10.0.0.2;proto=http", ["203.0.113.7", 0], "https"],
        ["for=6.6.6.6;proto=https, for=203.0.113.7", ["203.0.113.7", 0], "http"],
        ["for=_hidden;proto=https", ["10.0.0.1", 5], "https"],
        ["for=unknown;proto=https, for=10.0.0.2", ["10.0.0.2", 0], "https"],
        ["proto=https", ["10.0.0.1", 5], "https"],
        ["for=203.0.113.7, proto=https", ["10.0.0.1", 5], "https"],
        ["for=\"203.0.113.7:_port\"", ["203.0.113.7", 0], "http"],
        // A client leaves a quote open, and its proxy adds what it should say.
        ["for=\"10.0.0.9, for=203.0.113.7", ["10.0.0.1", 5], "http"],
        ["for=10.0.0.9;proto=https;x=\", for=\"[2001:db8::1]\"", ["10.0.0.1", 5], "http"]
      ] as const
    ) {
      it.effect(`is ${client[0]} over ${scheme} of Forwarded: ${value} [C191]`, () =>
        Effect.gen(function*() {
          const scope = yield* scopeOf([["forwarded", value]], forwarded)
          assert.deepStrictEqual<unknown>(scope.client, client)
          assert.strictEqual(scope.scheme, scheme)
        }))
    }
  })

  it.effect("are heard in the headers of one family, never of the other [C191]", () =>
    Effect.gen(function*() {
      const fields: Fields = [
        ["forwarded", "for=203.0.113.1;proto=https;host=one.example"],
        ["x-forwarded-for", "203.0.113.2"],
        ["x-real-ip", "203.0.113.3"]
      ]
      const one = yield* scopeOf(fields, trusting)
      assert.deepStrictEqual([one.client, one.scheme, one.server], [["203.0.113.2", 0], "http", ["127.0.0.1", 5000]])
      const other = yield* scopeOf(fields, forwarded)
      assert.deepStrictEqual([other.client, other.scheme, other.server], [["203.0.113.1", 0], "https", [
        "one.example",
        443
      ]])
      const none = yield* scopeOf(fields, { ...trusting, proxyHeaders: "none" })
      assert.deepStrictEqual([none.client, none.scheme, none.server], [proxy, "http", ["127.0.0.1", 5000]])
    }))

  it.effect("on unix sockets are trusted by that name [C191]", () =>
    Effect.gen(function*() {
      const fields = through("203.0.113.7")
      assert.deepStrictEqual(yield* clientOf(fields, { trustedProxies: ["unix"] }, null), ["203.0.113.7", 0])
      assert.isNull(yield* clientOf(fields, { trustedProxies: ["0.0.0.0/0", "::/0"] }, null))
      assert.deepStrictEqual(yield* clientOf(fields, { trustedProxies: ["unix"] }), proxy)
      assert.isNull(yield* clientOf([], { trustedProxies: ["unix"] }, null))
    }))

  it.effect("that are anybody are one hop: whom the chain names is not trusted for that", () =>
    Effect.gen(function*() {
      const logs = capture()
      const any: ServerMemory.Options = { trustedProxies: ["*"] }
      const value = "6.6.6.6, 203.0.113.7"
      const silenced = Effect.provide(logs.layer)
      assert.deepStrictEqual(yield* silenced(clientOf(through(value), any)), ["203.0.113.7", 0])
      assert.deepStrictEqual(yield* silenced(clientOf(through(value), any, null)), ["203.0.113.7", 0])
      const more: ServerMemory.Options = { trustedProxies: ["*", "10.0.0.0/8"] }
      assert.deepStrictEqual(yield* silenced(clientOf(through(`${value}, 10.9.9.9`), more)), ["203.0.113.7", 0])
      const warnings = logs.lines.filter(({ level }) => level === "Warn")
      assert.strictEqual(warnings.length, 3)
      assert.include(warnings[0]!.message, "trustedProxies has *")
    }))

  it.effect("on link-local addresses are compared without their interface", () =>
    Effect.gen(function*() {
      const from = ["fe80::1%eth0", 7] as const
      const options: ServerMemory.Options = { trustedProxies: ["fe80::/10"] }
      assert.deepStrictEqual(yield* clientOf(through("203.0.113.7"), options, from), ["203.0.113.7", 0])
    }))

  describe("scheme and host", () => {
    const facts = (...fields: Fields) =>
      Effect.map(scopeOf(fields, trusting), ({ scheme, server }) => [scheme, ...server!])

    for (
      const [what, fields, expected] of [
        ["are believed without a client", [["x-forwarded-proto", "HTTPS"]], ["https", "127.0.0.1", 5000]],
        [
          "are those of the client where each proxy has added one",
          [["x-forwarded-for", "203.0.113.7, 10.0.0.2"], ["x-forwarded-proto", "https, http"], [
            "x-forwarded-host",
            "a.example, b"
          ]],
          ["https", "a.example", 443]
        ],
        [
          "are those of the nearest proxy otherwise",
          [["x-forwarded-for", "6.6.6.6, 203.0.113.7"], ["x-forwarded-proto", "https, ftp, http"]],
          ["http", "127.0.0.1", 5000]
        ],
        [
          "are not those that stand before the client",
          [["x-forwarded-for", "6.6.6.6, 203.0.113.7"], ["x-forwarded-proto", "https, http"], [
            "x-forwarded-host",
            "evil.example, a.example"
          ]],
          ["http", "a.example", 80]
        ],
        ["are nothing but http and https", [["x-forwarded-proto", "javascript"]], ["http", "127.0.0.1", 5000]],
        ["are read with their port", [["x-forwarded-host", "a.example:8080"], ["x-forwarded-port", "9"]], [
          "http",
          "a.example",
          8080
        ]],
        ["are read as IPv6", [["x-forwarded-host", "[2001:db8::1]:81"]], ["http", "2001:db8::1", 81]],
        ["have the port of the scheme", [["x-forwarded-host", "a.example"], ["x-forwarded-proto", "wss"], [
          "x-forwarded-port",
          "99999"
        ]], ["https", "a.example", 443]],
        ["are not made of a port alone", [["x-forwarded-port", "8443"]], ["http", "127.0.0.1", 5000]],
        ["are no text that is not a host", [["x-forwarded-host", "a b/<c>"]], ["http", "127.0.0.1", 5000]]
      ] as ReadonlyArray<readonly [string, Fields, ReadonlyArray<unknown>]>
    ) {
      it.effect(`${what} [C191]`, () =>
        Effect.gen(function*() {
          assert.deepStrictEqual<unknown>(yield* facts(...fields), expected)
        }))
    }
  })

  it.effect("decide what the access log, handlers, fetch and Node see [C191]", () =>
    Effect.gen(function*() {
      const routes = Router.make(
        Router.get("/handler", () =>
          Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
            const url = Option.map(HttpServerRequest.toURL(request), String)
            return HttpServerResponse.text(`${Option.getOrNull(request.remoteAddress)} ${Option.getOrNull(url)}`)
          })),
        Router.mount("/fetch", FetchHandler.make((request) => new Response(request.url))),
        Router.mount(
          "/node",
          NodeHandler.make((request, response) =>
            void response.end(`${request.socket.remoteAddress} ${"encrypted" in request.socket}`)
          )
        )
      )
      const access = yield* AccessLogMemory.make({ format: "%h %U" })
      const { connect } = yield* Effect.provide(serve(routes, trusting), access)
      const lines = ["x-forwarded-for: 203.0.113.7", "x-forwarded-proto: https", "connection: close"]
      const ask = Effect.fnUntraced(function*(path: string) {
        const client = yield* connect({ from: proxy })
        yield* client.send(request(`GET ${path}`, lines))
        return bodyOf(yield* client.readAll)
      })
      assert.strictEqual(yield* ask("/handler"), "203.0.113.7 https://a/handler")
      assert.include(yield* ask("/fetch/x"), "\r\nhttps://a/fetch/x\r\n")
      assert.include(yield* ask("/node"), "203.0.113.7 true")
      const logged = yield* Effect.provide(Effect.flatMap(AccessLogMemory.Lines, (memory) => memory.lines), access)
      assert.deepStrictEqual(logged, ["203.0.113.7 /handler", "203.0.113.7 /fetch/x", "203.0.113.7 /node"])
    }))

  describe("that take a prefix away", () => {
    it.effect("leave it to rootPath, which redirects, handlers and mounted Apps begin with", () =>
      Effect.gen(function*() {
        const told: Array<readonly [string, string]> = []
        const inner = App.http(({ scope, send }) => {
          told.push([scope.rootPath, scope.path])
          return App.respond(send, 200, "")
        })
        const routes = Router.make(
          Router.redirect("/old", "/new"),
          Router.get(
            "/new",
            () => Effect.map(HttpServerRequest.HttpServerRequest, (request) => HttpServerResponse.text(request.url))
          ),
          Router.mount("/inner", inner),
          Router.mount("/node", NodeHandler.make((request, response) => void response.end(request.url)))
        )
        const { connect } = yield* serve(routes, { rootPath: "/shop" })
        const ask = Effect.fnUntraced(function*(path: string) {
          const client = yield* connect()
          yield* client.send(request(`GET ${path}`, ["connection: close"]))
          return yield* client.readAll
        })
        assert.strictEqual(headerOf(yield* ask("/old"), "location"), "/shop/new")
        assert.strictEqual(bodyOf(yield* ask("/new?q=1")), "/new?q=1")
        yield* ask("/inner/x")
        assert.deepStrictEqual(told, [["/shop/inner", "/x"]])
        assert.include(yield* ask("/node/y"), "/y")
      }))

    for (const wire of Wires.wires) {
      it.effect(`are the same ${Wires.nameOf(wire)}`, () =>
        Effect.gen(function*() {
          const scope = yield* scopeOf([], { rootPath: "/shop" }, proxy, wire)
          assert.deepStrictEqual([scope.rootPath, scope.path], ["/shop", "/"])
        }))
    }
  })
})
