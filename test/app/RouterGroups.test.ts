/** Groups, mounts, middleware, and who answers what no route does. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Schema from "effect/Schema"
import * as App from "../../src/app/App.ts"
import * as Failures from "../../src/app/Failures.ts"
import { Problem } from "../../src/app/Problem.ts"
import * as Router from "../../src/app/Router.ts"
import * as Fake from "../utils/exchange.ts"
import { capture } from "../utils/logs.ts"

const ask = <E, R>(app: App.App<E, R>, target: string, request: Fake.Request = {}) =>
  Fake.request(app, { ...request, target })

const said = <E, R>(app: App.App<E, R>, target: string, request: Fake.Request = {}) =>
  Effect.map(ask(app, target, request), ({ status, text }) => status === 200 ? text : status)

const say = (words: string) => () => Effect.succeed(words)

/** Answers with where it is mounted and with its parameters. */
const where = ({ exchange: { scope }, params }: { readonly exchange: App.HttpExchange; readonly params: object }) =>
  Effect.succeed(`${scope.rootPath}|${scope.path}|${JSON.stringify(params)}`)

/** Middleware that notes when it is built and when it is passed. */
const tracing = () => {
  const built: Array<string> = []
  const passed: Array<string> = []
  const trace = (name: string): App.Middleware => (app) => {
    built.push(name)
    return (exchange) => Effect.andThen(Effect.sync(() => void passed.push(name)), app(exchange))
  }
  return { built, passed, trace }
}

describe("Router", () => {
  describe("group", () => {
    it.effect("makes its routes those of the router around it [C180] [W33]", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.get("/api/users", say("outer get")),
          Router.group(
            "/api",
            Router.post("/users", say("inner post")),
            Router.group("/v:major", Router.get("/users/:id", where), Router.get("/", where))
          )
        )
        assert.strictEqual(yield* said(app, "/api/users"), "outer get")
        assert.strictEqual(yield* said(app, "/api/users", { method: "POST" }), "inner post")
        const other = yield* ask(app, "/api/users", { method: "PUT" })
        assert.deepStrictEqual([other.status, other.header("allow")], [405, "GET, HEAD, OPTIONS, POST"])
        assert.strictEqual(yield* said(app, "/api/v2/users/7"), `|/api/v2/users/7|{"major":"2","id":"7"}`)
        assert.strictEqual(yield* said(app, "/api/v2"), `|/api/v2|{"major":"2"}`)
      }))

    it.effect("gives parameters of its prefix by Schemas of `outer`", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.group(
            "/tenants/:tenant",
            Router.get(
              "/x",
              { outer: { tenant: Schema.Int } },
              ({ outer }) => Effect.succeed(`int ${outer.tenant + 1}`)
            ),
            Router.get("/:any", say("other"))
          )
        )
        assert.strictEqual(yield* said(app, "/tenants/6/x"), "int 7")
        assert.strictEqual(yield* said(app, "/tenants/six/x"), "other")
      }))

    it.effect("says loudly that a route wants a parameter that nothing around it has", () => {
      const { layer, lines } = capture()
      const app = Router.make(Router.get("/x", { outer: { tenant: Schema.Int } }, say("")))
      return Effect.gen(function*() {
        assert.strictEqual(yield* said(app, "/x"), 500)
        assert.include(JSON.stringify(lines), "GET /x wants the parameter \\\"tenant\\\"")
      }).pipe(Effect.provide(layer))
    })

    it.effect("puts versions below their prefix and into the meta of their routes", () =>
      Effect.gen(function*() {
        const app = Router.make(Router.version("v1", Router.get("/a", { meta: { own: 1 } }, say("one"))))
        assert.strictEqual(yield* said(app, "/v1/a"), "one")
        assert.deepStrictEqual(app.routes[0]!.meta, { version: "v1", own: 1 })
      }))
  })

  describe("middleware", () => {
    it.effect("is built once and passed in the order of an onion [C184] [W35]", () => {
      const { built, passed, trace } = tracing()
      const app = Router.make(
        { middleware: trace("router") },
        Router.get("/plain", say("")),
        Router.group(
          "/in",
          { middleware: App.compose(trace("group 1"), trace("group 2")) },
          Router.use(trace("use"), Router.get("/", { middleware: trace("route") }, say("")))
        )
      )
      return Effect.gen(function*() {
        const before = built.length
        yield* said(app, "/in")
        assert.deepStrictEqual(passed.splice(0), ["router", "group 1", "group 2", "use", "route"])
        yield* said(app, "/plain")
        yield* said(app, "/nothing")
        assert.deepStrictEqual(passed, ["router", "router"])
        assert.strictEqual(built.length, before)
        assert.strictEqual(built.filter((name) => name === "route").length, 1)
      })
    })

    it.effect("can answer by itself, and change the scope [C184]", () =>
      Effect.gen(function*() {
        const guard: App.Middleware = (app) => (exchange) =>
          exchange.type === "http" && exchange.scope.queryString !== "let-me-in"
            ? Effect.orDie(App.respond(exchange.send, 401, "no"))
            : app(App.derive(exchange, { scope: { ...exchange.scope, state: { seen: true } } } as never))
        const app = Router.make(
          Router.get("/:a", { middleware: guard }, ({ exchange, path }) =>
            Effect.succeed(`${path.a} ${exchange.scope.state!["seen"]}`))
        )
        assert.strictEqual(yield* said(app, "/x"), 401)
        assert.strictEqual(yield* said(app, "/x?let-me-in"), "x true")
      }))

    it.effect("that loses what is in the scope is found out", () => {
      const { layer, lines } = capture()
      const careless: App.Middleware = (app) => (exchange) => {
        const { method, path, rawPath, rootPath } = exchange.scope as App.HttpExchange["scope"]
        return app(
          App.derive(exchange, { scope: { method, path, rawPath, rootPath, queryString: "", headers: [] } } as never)
        )
      }
      return Effect.gen(function*() {
        const app = Router.make(Router.get("/:a", { middleware: careless }, ({ path }) => Effect.succeed(path.a)))
        assert.strictEqual(yield* said(app, "/x"), 500)
        assert.include(lines[0]!.cause, "not a copy of the one it was given")
      }).pipe(Effect.provide(layer))
    })

    it.effect("provides services to the handlers it is around", () =>
      Effect.gen(function*() {
        class User extends Context.Service<User, string>()("test/User") {}
        const authenticate = <E, R>(app: App.App<E, R>): App.App<E, Exclude<R, User>> => (exchange) =>
          Effect.provideService(app(exchange), User, "ada")
        const app = Router.make(
          Router.use(authenticate, Router.get("/me", () => User.use((name) => Effect.succeed(name))))
        )
        assert.strictEqual(yield* said(app, "/me"), "ada")
      }))
  })

  describe("mount", () => {
    const inner = Router.make(
      Router.get("/", where),
      Router.get("/items/:item", where),
      Router.group("/g", { notFound: say("inner nothing") }, Router.get("/x", say("x")))
    )

    it.effect("is opaque: paths are cut, parameters merged, answers its own [C180]", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.get("/t/:tenant/items/special", say("route first")),
          Router.mount("/t/:tenant", inner),
          Router.mount("/t/:tenant/deep", Router.make(Router.mount("/er", inner)))
        )
        assert.strictEqual(yield* said(app, "/t/a%2Fb"), `/t/a/b|/|{"tenant":"a/b"}`)
        assert.strictEqual(yield* said(app, "/t/1/"), `/t/1|/|{"tenant":"1"}`)
        assert.strictEqual(yield* said(app, "/t/a%2Fb/items/c%2Fd"), `/t/a/b|/items/c/d|{"tenant":"a/b","item":"c/d"}`)
        assert.strictEqual(yield* said(app, "/t/1/items/special"), "route first")
        assert.strictEqual(yield* said(app, "/t/1/deep/er/items/2"), `/t/1/deep/er|/items/2|{"tenant":"1","item":"2"}`)
        assert.strictEqual((yield* ask(app, "/t/1/items/2", { method: "PUT" })).header("allow"), "GET, HEAD, OPTIONS")
        assert.strictEqual(yield* said(app, "/t/1/nothing"), 404)
        assert.strictEqual(yield* said(app, "/t"), 404)
      }))

    it.effect("goes to the longest prefix of whole segments [C180]", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.mount(
            "/",
            App.http(({ scope, send }) => App.respond(send, 200, `root ${scope.rootPath}${scope.path}`))
          ),
          Router.mount("/api", App.http(({ send }) => App.respond(send, 200, "api"))),
          Router.mount("/api/v2", App.http(({ send }) => App.respond(send, 200, "v2")))
        )
        const cases = { "/api": "api", "/api/x": "api", "/api/v2/x": "v2", "/api/v22": "api", "/apix": "root /apix" }
        for (const [target, expected] of Object.entries(cases)) assert.strictEqual(yield* said(app, target), expected)
      }))

    it.effect("passes on what the inner router has no route for, when asked to", () =>
      Effect.gen(function*() {
        const app = Router.make(
          { notFound: say("ours") },
          Router.mount("/a/b", inner, { passThrough: true }),
          Router.mount("/a", Router.make(Router.get("/b/late", say("shorter mount"))), { passThrough: true }),
          Router.mount("/c", inner),
          Router.mount("/foreign", (exchange) => exchange.scope.type === "http" ? Router.pass : Effect.void)
        )
        assert.strictEqual(yield* said(app, "/a/b/items/1"), `/a/b|/items/1|{"item":"1"}`)
        assert.strictEqual(yield* said(app, "/a/b/late"), "shorter mount")
        assert.strictEqual(yield* said(app, "/a/b/never"), "ours")
        assert.strictEqual(yield* said(app, "/a/b/items/1", { method: "PUT" }), 405)
        assert.strictEqual(yield* said(app, "/c/never"), 404)
        assert.strictEqual(yield* said(app, "/foreign/x"), "ours")
      }))

    it.effect("leaves failures of the App to whoever serves us", () =>
      Effect.gen(function*() {
        const app = Router.make(Router.mount("/a", () => Effect.fail("down" as const)))
        assert.strictEqual(yield* Effect.flip(ask(app, "/a")), "down")
      }))

    it.effect("works inside of groups, with their middleware", () => {
      const { passed, trace } = tracing()
      const app = Router.make(Router.group("/g", { middleware: trace("group") }, Router.mount("/m", inner)))
      return Effect.gen(function*() {
        assert.strictEqual(yield* said(app, "/g/m/items/1"), `/g/m|/items/1|{"item":"1"}`)
        assert.deepStrictEqual(passed, ["group"])
      })
    })

    it("refuses a prefix with an end that may be absent", () => {
      assert.throws(() => Router.make(Router.mount("/a/*rest", inner)), /mount \/a\/\*rest is invalid/)
      assert.throws(() => Router.make(Router.mount("/a/:b?", inner)), /mount \/a\/:b\? is invalid/)
    })
  })

  describe("notFound and onError", () => {
    const boom = () => Effect.fail("boom" as const)
    const explain = (who: string) => (cause: Cause.Cause<unknown>) =>
      Effect.succeed(HttpServerResponse.text(`${who}: ${Cause.squash(cause)}`, { status: 418 }))

    it.effect("asks the innermost group whose prefix fits, then the router", () =>
      Effect.gen(function*() {
        const { passed, trace } = tracing()
        const app = Router.make(
          {
            notFound: ({ request }) => Effect.succeed(HttpServerResponse.text(`router ${request.url}`, { status: 404 }))
          },
          Router.group(
            "/a/:b",
            { notFound: ({ path }) => Effect.succeed(`group ${JSON.stringify(path)}`), middleware: trace("group") },
            Router.group("/silent", Router.get("/x", say("x")))
          ),
          Router.group("/pass", { notFound: () => Router.pass })
        )
        assert.strictEqual((yield* ask(app, "/nowhere")).text, "router /nowhere")
        assert.strictEqual((yield* ask(app, "/a/1/silent/y")).text, `group {"b":"1"}`)
        assert.deepStrictEqual(passed, ["group"])
        assert.include((yield* ask(app, "/pass/y")).text, "Not Found")
      }))

    it.effect("asks the innermost onError first; one that fails leaves it to the next", () =>
      Effect.gen(function*() {
        const app = Router.make(
          { onError: explain("router") },
          Router.get("/top", boom),
          Router.get("/thrown", () => {
            throw new Error("thrown")
          }),
          Router.group("/a", { onError: explain("group") }, Router.get("/", boom)),
          Router.group("/b", { onError: (cause) => Effect.failCause(cause) }, Router.get("/", boom)),
          Router.group(
            "/c",
            { onError: Failures.answer },
            Router.get("/", () => Effect.fail(new Problem({ status: 409 })))
          )
        )
        const text = (target: string) => Effect.map(ask(app, target), ({ status, text }) => `${status} ${text}`)
        assert.strictEqual(yield* text("/top"), "418 router: boom")
        assert.strictEqual(yield* text("/thrown"), "418 router: Error: thrown")
        assert.strictEqual(yield* text("/a"), "418 group: boom")
        assert.strictEqual(yield* text("/b"), "418 router: boom")
        assert.strictEqual((yield* ask(app, "/c")).status, 409)
        // What no route has answered is no failure of one.
        assert.strictEqual((yield* ask(app, "/nothing")).status, 404)
      }))

    it.effect("leaves interruptions alone", () =>
      Effect.gen(function*() {
        const app = Router.make({ onError: explain("router") }, Router.get("/", () => Effect.interrupt))
        const exit = yield* Effect.exit(ask(app, "/"))
        assert.isTrue(exit._tag === "Failure" && Cause.hasInterruptsOnly(exit.cause))
      }))
  })
})
