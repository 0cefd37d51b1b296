/** The scope Schemas: what each kind requires, what it leaves open, what it refuses. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "../../src/schema/Scope.ts"

const http: Scope.HttpScope = {
  type: "http",
  slipway: Scope.contract,
  httpVersion: "1.1",
  method: "GET",
  scheme: "http",
  path: "/caf\u00e9",
  rawPath: "/caf%C3%A9",
  queryString: "a=1&b=%20",
  rootPath: "",
  headers: [["host", "example.org"], ["x-note", "\u00ff"], ["x-note", ""]],
  client: ["127.0.0.1", 50000],
  server: ["127.0.0.1", 5000],
  state: {},
  extensions: {}
}

const sse: Scope.SseScope = { ...http, type: "sse" }

const { method: _method, ...withoutMethod } = http
const websocket: Scope.WebSocketScope = { ...withoutMethod, type: "websocket", scheme: "ws", subprotocols: ["chat"] }

const lifespan: Scope.LifespanScope = {
  type: "lifespan",
  slipway: Scope.contract,
  isWorker: true,
  workerNumber: 1,
  state: {}
}

const kinds = { http, sse, websocket, lifespan }

const accepts = Schema.is(Scope.Scope)

const without = (scope: object, key: string): object =>
  Object.fromEntries(Object.entries(scope).filter(([name]) => name !== key))

const required: { readonly [K in keyof typeof kinds]: ReadonlyArray<string> } = {
  http: [
    "type",
    "slipway",
    "httpVersion",
    "method",
    "scheme",
    "path",
    "rawPath",
    "queryString",
    "rootPath",
    "headers",
    "extensions"
  ],
  sse: [
    "type",
    "slipway",
    "httpVersion",
    "method",
    "scheme",
    "path",
    "rawPath",
    "queryString",
    "rootPath",
    "headers",
    "extensions"
  ],
  websocket: [
    "type",
    "slipway",
    "httpVersion",
    "scheme",
    "path",
    "rawPath",
    "queryString",
    "rootPath",
    "headers",
    "subprotocols",
    "extensions"
  ],
  lifespan: ["type", "slipway"]
}

const optional: { readonly [K in keyof typeof kinds]: ReadonlyArray<string> } = {
  http: ["client", "server", "state"],
  sse: ["client", "server", "state"],
  websocket: ["client", "server", "state"],
  lifespan: ["isWorker", "workerNumber", "state"]
}

const wrong: { readonly [K in keyof typeof kinds]: ReadonlyArray<readonly [key: string, value: unknown]> } = {
  http: [
    ["slipway", { version: 0.3, specVersion: "0.3" }],
    ["slipway", { version: "0.3" }],
    ["httpVersion", "3"],
    ["httpVersion", 1.1],
    ["method", "GE T"],
    ["method", ""],
    ["scheme", "ws"],
    ["path", 1],
    ["rawPath", "/\u0100"],
    ["queryString", null],
    ["rootPath", undefined],
    ["headers", {}],
    ["headers", [["Host", "example.org"]]],
    ["headers", [[":authority", "example.org"]]],
    ["headers", [["host", "a\r\nb"]]],
    ["headers", [["host", "\u0100"]]],
    ["headers", [["host"]]],
    ["headers", [["host", "a", "b"]]],
    ["client", ["127.0.0.1", "50000"]],
    ["client", ["127.0.0.1", null]],
    ["client", undefined],
    ["server", ["127.0.0.1", 65536]],
    ["state", []],
    ["extensions", null],
    ["extensions", { tls: {} }]
  ],
  sse: [["scheme", "wss"], ["method", 1]],
  websocket: [["scheme", "http"], ["subprotocols", "chat"], ["subprotocols", undefined]],
  lifespan: [["isWorker", 1], ["workerNumber", 0], ["workerNumber", "1"], ["state", null], ["slipway", "0.3"]]
}

describe("Scope", () => {
  for (const [kind, scope] of Object.entries(kinds)) {
    it(`accepts a whole ${kind} scope and one with the required keys only [C10]`, () => {
      assert.isTrue(accepts(scope))
      const least = optional[kind as keyof typeof kinds].reduce(without, scope as object)
      assert.sameMembers(Object.keys(least), [...required[kind as keyof typeof kinds]])
      assert.isTrue(accepts(least))
    })

    it(`refuses a ${kind} scope without any one of the required keys [C10]`, () => {
      for (const key of required[kind as keyof typeof kinds]) {
        assert.isFalse(accepts(without(scope, key)), key)
      }
    })

    it(`refuses a ${kind} scope with a value of the wrong type [C10]`, () => {
      for (const [key, value] of wrong[kind as keyof typeof kinds]) {
        assert.isFalse(accepts({ ...scope, [key]: value }), `${key}: ${JSON.stringify(value)}`)
      }
    })

    it(`accepts further keys in a ${kind} scope`, () => {
      assert.isTrue(accepts({ ...scope, session: { user: 1 }, "my.key": undefined }))
    })
  }

  it("accepts the address of a unix socket without a client", () => {
    assert.isTrue(accepts({ ...without(http, "client"), server: ["/run/app.sock", null] }))
  })

  it("accepts what a server knows about TLS, and null for what it does not", () => {
    const tls: Scope.Tls = {
      serverCert: "-----BEGIN CERTIFICATE-----",
      clientCertChain: [],
      clientCertName: null,
      clientCertError: null,
      tlsVersion: 0x0304,
      cipherSuite: 0x1301
    }
    assert.isTrue(accepts({ ...http, scheme: "https", extensions: { tls } }))
    assert.isTrue(accepts({ ...http, extensions: { tls: Object.fromEntries(Object.keys(tls).map((k) => [k, null])) } }))
    assert.isFalse(accepts({ ...http, extensions: { tls: { ...tls, cipherSuite: 0x10000 } } }))
  })

  it("accepts known and unknown extensions", () => {
    const extensions = {
      fullflush: {},
      "http.response.early_hint": {},
      "websocket.http.response": {},
      "ext.custom": { level: 2 }
    }
    assert.isTrue(accepts({ ...http, extensions }))
  })

  it("keeps the very state object when it decodes", () => {
    const decoded = Schema.decodeUnknownResult(Scope.HttpScope)(http)
    assert.isTrue(Result.isSuccess(decoded))
    if (Result.isSuccess(decoded)) assert.strictEqual(decoded.success.state, http.state)
  })

  it("freezes the contract of the release, both versions being strings", () => {
    assert.deepStrictEqual({ ...Scope.contract }, { version: "0.3", specVersion: "0.3" })
    assert.isTrue(Object.isFrozen(Scope.contract))
  })
})
