import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as App from "../../src/app/App.ts"
import { SendError } from "../../src/app/SendError.ts"
import * as Exchange from "../utils/exchange.ts"

/** An exchange of any kind that keeps what is sent. The live handles are objects to be compared. */
const fake = (type: App.Exchange["type"], scope: Record<string, unknown> = {}) => {
  const sent: Array<unknown> = []
  const handles = type === "lifespan" ? {} : { connection: {}, transport: {} }
  const exchange = {
    type,
    scope: { type, path: "/", rawPath: "/", rootPath: "", ...scope },
    receive: Effect.never,
    send: (event: unknown) => Effect.sync(() => void sent.push(event)),
    ...handles
  } as unknown as App.Exchange
  return { exchange, sent }
}

const types = ["http", "websocket", "sse", "lifespan"] as const

/** How each protocol says no. */
const declined: Record<App.Exchange["type"], ReadonlyArray<unknown>> = {
  http: [
    { type: "http.response.start", status: 404, headers: [["content-type", "text/plain; charset=utf-8"]] },
    { type: "http.response.body", body: "Not Found" }
  ],
  websocket: [{ type: "websocket.close" }],
  sse: [
    { type: "sse.http.response.start", status: 404, headers: [["content-type", "text/plain; charset=utf-8"]] },
    { type: "sse.http.response.body", body: "Not Found" }
  ],
  lifespan: []
}

describe("App", () => {
  for (const type of types) {
    it.effect(`declines ${type} in its own way`, () =>
      Effect.gen(function*() {
        const { exchange, sent } = fake(type)
        yield* App.decline(exchange)
        assert.deepStrictEqual(sent, declined[type])
      }))
  }

  const makers: ReadonlyArray<readonly [string, (handler: App.App) => App.App<SendError>]> = [
    ["http", App.http],
    ["websocket", App.websocket],
    ["sse", App.sse]
  ]
  for (const [wanted, make] of makers) {
    it.effect(`gives ${wanted} exchanges to an App made with App.${wanted}, and declines the others`, () =>
      Effect.gen(function*() {
        const seen: Array<unknown> = []
        const app = make((exchange) => Effect.sync(() => void seen.push(exchange)))
        for (const type of types) {
          const { exchange, sent } = fake(type)
          yield* app(exchange)
          assert.deepStrictEqual(seen.splice(0), type === wanted ? [exchange] : [])
          assert.deepStrictEqual(sent, type === wanted ? [] : declined[type])
        }
      }))
  }

  it.effect("chooses by the kind of exchange, and declines a kind without a handler", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const note = (exchange: App.Exchange) => Effect.sync(() => void seen.push(exchange.type))
      const app = App.byType({ http: note, lifespan: note })
      for (const type of types) {
        const { exchange, sent } = fake(type)
        yield* app(exchange)
        assert.deepStrictEqual(sent, type === "http" || type === "lifespan" ? [] : declined[type])
      }
      assert.deepStrictEqual(seen, ["http", "lifespan"])
    }))

  describe("compose", () => {
    it.effect("puts the first middleware outermost", () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const named = (name: string): App.Middleware => (app) => (exchange) => {
          seen.push(`${name} in`)
          return Effect.tap(app(exchange), () => Effect.sync(() => seen.push(`${name} out`)))
        }
        const app = App.compose(named("a"), named("b"))(() => Effect.sync(() => void seen.push("app")))
        yield* app(fake("http").exchange)
        assert.deepStrictEqual(seen, ["a in", "b in", "app", "b out", "a out"])
      }))

    it("is nothing without middleware", () => {
      const app: App.App = () => Effect.void
      assert.strictEqual(App.compose()(app), app)
    })
  })

  describe("derive", () => {
    it.effect("replaces what it is told and keeps the rest, live handles included, without touching the original", () =>
      Effect.gen(function*() {
        const { exchange, sent } = fake("http", { path: "/outer" })
        const outer = exchange as App.HttpExchange
        const inner = App.derive(outer, { scope: { ...outer.scope, path: "/inner" } })
        assert.strictEqual(inner.type, "http")
        assert.strictEqual(inner.scope.path, "/inner")
        assert.strictEqual(outer.scope.path, "/outer")
        assert.strictEqual(inner.connection, outer.connection)
        assert.strictEqual(inner.transport, outer.transport)
        assert.strictEqual(inner.receive, outer.receive)
        assert.strictEqual(inner.send, outer.send)

        const shouting = App.derive(inner, {
          receive: Effect.succeed({ type: "http.disconnect" }),
          send: (event) => outer.send({ ...event, loud: true } as never)
        })
        assert.strictEqual(shouting.scope, inner.scope)
        assert.deepStrictEqual(yield* shouting.receive, { type: "http.disconnect" })
        const { send } = shouting
        yield* send({ type: "http.response.body" })
        assert.deepStrictEqual(sent, [{ type: "http.response.body", loud: true }])
      }))

    it("makes a lifespan exchange of a lifespan exchange", () => {
      const outer = fake("lifespan").exchange as App.LifespanExchange
      const inner = App.derive(outer, { receive: Effect.succeed({ type: "lifespan.startup" }) })
      assert.strictEqual(inner.type, "lifespan")
      assert.strictEqual(inner.scope, outer.scope)
    })
  })

  describe("mount", () => {
    const which = (name: string): App.App<SendError> =>
      App.http(({ scope, send }) => App.respond(send, 200, `${name} ${scope.rootPath}|${scope.path}|${scope.rawPath}`))
    const ask = Effect.fnUntraced(function*(app: App.App<SendError>, target: string) {
      const { answer, exchange } = Exchange.make({ target })
      yield* app(exchange)
      return answer().text
    })

    it.effect("gives whole segments below the prefix to the mounted App, and the rest to the other", () =>
      Effect.gen(function*() {
        const app = App.mount("/api", which("api"))(which("site"))
        assert.strictEqual(yield* ask(app, "/api/users/1"), "api /api|/users/1|/api/users/1")
        assert.strictEqual(yield* ask(app, "/api/"), "api /api|/|/api/")
        assert.strictEqual(yield* ask(app, "/api"), "api /api|/|/api")
        assert.strictEqual(yield* ask(app, "/apix"), "site |/apix|/apix")
        assert.strictEqual(yield* ask(app, "/"), "site |/|/")
        assert.strictEqual(yield* ask(app, "/x/api"), "site |/x/api|/x/api")
      }))

    it.effect("adds up when nested: rootPath and path are always the whole path", () =>
      Effect.gen(function*() {
        const inner = App.mount("/v1", which("v1"))(which("api"))
        const app = App.mount("/api", inner)(which("site"))
        assert.strictEqual(yield* ask(app, "/api/v1/users"), "v1 /api/v1|/users|/api/v1/users")
        assert.strictEqual(yield* ask(app, "/api/v2/users"), "api /api|/v2/users|/api/v2/users")
      }))

    it.effect("mounts every protocol, and leaves the lifespan to the wrapped App", () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const note = (name: string): App.App => (exchange) =>
          Effect.sync(() => void seen.push(`${name} ${exchange.type}`))
        const app = App.mount("/api", note("mounted"))(note("wrapped"))
        for (const type of types) yield* app(fake(type, { path: "/api/x" }).exchange)
        assert.deepStrictEqual(seen, ["mounted http", "mounted websocket", "mounted sse", "wrapped lifespan"])
      }))
  })

  describe("respond", () => {
    const cases: ReadonlyArray<
      readonly [
        what: string,
        args: readonly [number, (string | Uint8Array)?, (ReadonlyArray<readonly [string, string]>)?],
        ReadonlyArray<unknown>
      ]
    > = [
      ["text as text/plain", [200, "hello"], [
        { type: "http.response.start", status: 200, headers: [["content-type", "text/plain; charset=utf-8"]] },
        { type: "http.response.body", body: "hello" }
      ]],
      ["bytes without a type", [200, new Uint8Array([1])], [
        { type: "http.response.start", status: 200, headers: [] },
        { type: "http.response.body", body: new Uint8Array([1]) }
      ]],
      ["no body without a type", [204], [
        { type: "http.response.start", status: 204, headers: [] },
        { type: "http.response.body", body: "" }
      ]],
      ["with the headers that are given and no others", [201, "{}", [["content-type", "application/json"]]], [
        { type: "http.response.start", status: 201, headers: [["content-type", "application/json"]] },
        { type: "http.response.body", body: "{}" }
      ]]
    ]
    for (const [what, [status, body, headers], events] of cases) {
      it.effect(`sends ${what}`, () =>
        Effect.gen(function*() {
          const { exchange, sent } = fake("http")
          yield* App.respond((exchange as App.HttpExchange).send, status, body, headers)
          assert.deepStrictEqual(sent, events)
        }))
    }

    it.effect("fails when a send fails, and sends no body then", () =>
      Effect.gen(function*() {
        const sent: Array<string> = []
        const refusal = new SendError({ protocol: "http", reason: { _tag: "UnknownEvent", event: "x" } })
        const error = yield* Effect.flip(App.respond((event) => {
          sent.push(event.type)
          return Effect.fail(refusal)
        }, 200))
        assert.strictEqual(error, refusal)
        assert.deepStrictEqual(sent, ["http.response.start"])
      }))
  })
})
