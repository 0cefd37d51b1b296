/** Where routes meet the rough: one host written twice, bodies read before a pass, paths made to hurt. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { App } from "../../src/app/App.ts"
import * as RoutePattern from "../../src/app/internal/RoutePattern.ts"
import * as Router from "../../src/app/Router.ts"
import * as Fake from "../utils/exchange.ts"
import { bodyOf, exchange } from "../utils/serve.ts"

const ask = <E, R>(app: App<E, R>, target: string, request: Fake.Request = {}) =>
  Fake.request(app, { ...request, target })

const said = <E, R>(app: App<E, R>, target: string, request: Fake.Request = {}) =>
  Effect.map(ask(app, target, request), ({ status, text }) => status === 200 ? text : status)

const say = (words: string) => () => Effect.succeed(words)
const params = ({ params }: { readonly params: unknown }) => Effect.succeed(JSON.stringify(params))

const json = { "content-type": "application/json" }

describe("Router", () => {
  describe("hosts that are the same", () => {
    const app = Router.make(
      Router.host("Example.com", Router.get("/a", say("a")), Router.get("/:any", say("any"))),
      Router.host("example.com", Router.get("/b", say("b"))),
      Router.host(":x.example.com", Router.get("/a", params)),
      Router.host(":y.example.com", Router.get("/b", params))
    )
    const at = (host: string, target: string) => said(app, target, { headers: { host } })

    it.effect("share their routes, whatever the case and the names of parameters [C182]", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* at("example.com", "/a"), "a")
        assert.strictEqual(yield* at("example.com", "/b"), "b")
        assert.strictEqual(yield* at("q.example.com", "/a"), `{"x":"q"}`)
        assert.strictEqual(yield* at("q.example.com", "/b"), `{"y":"q"}`)
      }))
  })

  it.effect("finds mounts behind a proxy that has removed its own part of the path [C180]", () =>
    Effect.gen(function*() {
      const inner = Router.make(
        Router.get("/x/:name", ({ exchange, path }) => Effect.succeed(`${exchange.scope.rootPath} ${path.name}`))
      )
      const app = Router.make(Router.mount("/admin", inner))
      const answer = yield* exchange(app, "GET /admin/x/a%2Fb HTTP/1.1\r\nhost: a\r\n\r\n", { rootPath: "/app" })
      assert.strictEqual(bodyOf(answer), "/app/admin a/b")
    }))

  describe("notFound", () => {
    it.effect("of an inner group goes before that of a group with the same prefix", () =>
      Effect.gen(function*() {
        const app = Router.make(
          { notFound: say("router") },
          Router.group(
            "/g",
            { notFound: say("outer") },
            Router.group("/", { notFound: say("inner") }, Router.get("/x", say("x")))
          )
        )
        assert.strictEqual(yield* said(app, "/g/none"), "inner")
        assert.strictEqual(yield* said(app, "/none"), "router")
      }))
  })

  describe("pass", () => {
    const body = { a: Schema.Int }
    const post = { method: "POST", body: `{"a":1}`, headers: json }

    it.effect("gives the next route the body that was read before", () =>
      Effect.gen(function*() {
        const next: ReadonlyArray<Router.Route<never, any, never>> = [
          Router.post("/:b", ({ request }) => Effect.orDie(request.text)),
          Router.post("/:c", { body }, ({ body }) => Effect.succeed(JSON.stringify(body))),
          Router.any("/:b", ({ request }) => Stream.mkString(Stream.decodeText(Stream.orDie(request.stream)))),
          Router.mount(
            "/",
            Router.make(Router.post("/:b", { body }, ({ body }) => Effect.succeed(JSON.stringify(body))))
          )
        ]
        for (const route of next) {
          const app = Router.make(Router.post("/:a", { body }, () => Router.pass), route)
          assert.strictEqual(yield* said(app, "/x", post), `{"a":1}`)
        }
        const twice = Router.make(
          Router.post("/:a", { body }, () => Router.pass),
          Router.post("/:c", { body }, () => Router.pass),
          next[0]!
        )
        assert.strictEqual(yield* said(twice, "/x", post), `{"a":1}`)
      }))

    it.effect("gives it the parts of a streamed body that nobody has read", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.post("/:a", ({ request }) =>
            Effect.andThen(Effect.orDie(Stream.runDrain(Stream.take(request.stream, 1))), Router.pass)),
          Router.post("/:b", ({ request }) =>
            Effect.orDie(request.text))
        )
        assert.strictEqual(yield* said(app, "/x", { method: "POST", body: ["one", "two", "three"] }), "twothree")
      }))

    it.effect("gives a request for events its body too", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.sse("/x", ({ request }) => Effect.andThen(Effect.orDie(request.text), Router.pass)),
          Router.post("/x", ({ request }) => Effect.orDie(request.text))
        )
        const head = "POST /x HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\ncontent-length: 4\r\n"
        assert.strictEqual(bodyOf(yield* Effect.scoped(exchange(app, `${head}\r\nbody`))), "body")
      }))
  })

  describe("redirect", () => {
    const app = Router.make(
      Router.redirect("/old/:id", "/new/:id"),
      Router.redirect("/rest/*rest", "/*rest"),
      Router.redirect("/number/:id", "/n/{id:\\d+}"),
      Router.redirect("/maybe/:id?", "/m/:id?")
    )
    const to = (target: string) => Effect.map(ask(app, target), ({ header, status }) => header("location") ?? status)

    it.effect("is not found where its parameters lead nowhere, and is no failure of ours", () =>
      Effect.gen(function*() {
        for (const target of ["/old/..", "/old/%2e%2E", "/rest/a/../b", "/rest/%2e", "/number/x"]) {
          assert.strictEqual(yield* to(target), 404, target)
        }
        assert.deepStrictEqual([yield* to("/number/7"), yield* to("/maybe"), yield* to("/maybe/7")], [
          "/n/7",
          "/m",
          "/m/7"
        ])
      }))

    it.effect("may leave out what may be absent", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.redirect("/:a/:b?/:c?", "/to/:a/:b?/:c?"),
          Router.redirect("/x/y/z/:d", "/q?d#e")
        )
        const to = (target: string) => Effect.map(ask(app, target), ({ header }) => header("location"))
        assert.strictEqual(yield* to("/1"), "/to/1")
        assert.strictEqual(yield* to("/1/2?q"), "/to/1/2?q")
        assert.strictEqual(yield* to("/1/2/3"), "/to/1/2/3")
        assert.strictEqual(yield* to("/x/y/z/1"), "/q?d#e")
      }))

    it("refuses a parameter that may be absent where one is needed", () => {
      assert.throws(() => Router.redirect("/old/:id?", "/new/:id"), /may lack the parameter "id"/)
    })
  })

  describe("the slash at the end", () => {
    it.effect("is redirected below a mount point as the client wrote it, and below one that a proxy has removed", () =>
      Effect.gen(function*() {
        const inner = Router.make({ trailingSlash: "redirect" }, Router.get("/x", say("x")))
        const app = Router.make(Router.mount("/:p", inner))
        const to = (target: string) => Effect.map(ask(app, target), ({ header }) => header("location"))
        for (const prefix of ["/a%3Fb", "/a%23b", "/a%2Fb", "/%2Fevil.test", "/%25", "/%ff", "/%5Cevil.test"]) {
          assert.strictEqual(yield* to(`${prefix}/x/`), `${prefix}/x`)
        }
        const scope = { rootPath: "/a?b" }
        assert.strictEqual((yield* ask(inner, "/x/", { scope })).header("location"), "/a%3Fb/x")
      }))
  })

  describe("the slash at the end", () => {
    it.effect("is not redirected to a path that no Schema fits, which would redirect back", () =>
      Effect.gen(function*() {
        const options = { path: { id: Schema.Int } }
        const app = Router.make(
          { trailingSlash: "redirect" },
          Router.get("/:id", options, params),
          Router.get("/:id/", options, params),
          Router.get("/in/{id:.*}", options, params),
          Router.get("/in/:name", params)
        )
        for (const target of ["/a", "/a/"]) assert.strictEqual((yield* ask(app, target)).status, 404)
        assert.strictEqual((yield* ask(app, "/in/a/")).header("location"), "/in/a")
      }))
  })

  describe("mount", () => {
    it.effect("that passes on means nothing to a router that a handler asks", () =>
      Effect.gen(function*() {
        const asked = Router.make(Router.get("/z", say("z")))
        const middle = Router.make(Router.get("/a", ({ exchange }) => Effect.as(asked(exchange), "unsent")))
        const app = Router.make(
          Router.mount("/m", middle, { passThrough: true }),
          Router.mount("/", Router.make(Router.get("/m/a", say("wrong"))))
        )
        const fake = Fake.make({ target: "/m/a" })
        yield* Effect.ignore(app(fake.exchange))
        assert.strictEqual(fake.answer().status, 404)
      }))

    it.effect("in a mount passes on only to the one that it is in, unless that passes on too", () =>
      Effect.gen(function*() {
        const innermost = Router.make(Router.get("/x", say("x")))
        const inner = Router.make({ notFound: say("inner") }, Router.mount("/b", innermost, { passThrough: true }))
        const closed = Router.make({ notFound: say("router") }, Router.mount("/a", inner))
        const open = Router.make({ notFound: say("router") }, Router.mount("/a", inner, { passThrough: true }))
        for (const app of [closed, open]) assert.strictEqual(yield* said(app, "/a/b/x"), "x")
        assert.strictEqual(yield* said(closed, "/a/b/y"), "inner")
        assert.strictEqual(yield* said(open, "/a/b/y"), "router")
        const within = Router.make({ notFound: say("inner") }, Router.mount("/b", innermost))
        const last = Router.make({ notFound: say("router") }, Router.mount("/a", within, { passThrough: true }))
        assert.strictEqual(yield* said(last, "/a/b/y"), 404)
      }))
  })

  describe("paths made to hurt", () => {
    it.effect("of ten thousand segments are found, or not, like others", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.get("/a/:b/*rest", ({ path }) => Effect.succeed(String(path.rest.length))),
          Router.mount("/m", Router.make(Router.get("/x", say("x")))),
          Router.group("/n", { notFound: say("none") })
        )
        const many = "/c".repeat(10_000)
        assert.strictEqual(yield* said(app, `/a/b${many}`), "19999")
        assert.strictEqual(yield* said(app, `/m${many}`), 404)
        assert.strictEqual(yield* said(app, `/n${many}`), "none")
        assert.strictEqual(yield* said(app, "/".repeat(10_000)), 404)
      }))

    it("find a segment of several parameters without going back", () => {
      const shapeOf = (text: string) => {
        const [segment] = RoutePattern.parse(text).segments
        assert.isObject(segment)
        return segment as RoutePattern.Dynamic
      }
      // Cubic, this would take minutes.
      const dashes = "-".repeat(20_000)
      for (const text of ["/:a-:b-:c.json", "/:a-:b-:c-:d.x", "/x:a-:b--:c-.y"]) {
        assert.isFalse(RoutePattern.match(shapeOf(text), `x${dashes}`, []), text)
      }
      const cases: ReadonlyArray<readonly [string, string, ReadonlyArray<string>]> = [
        ["/:a-:b", "1-2-3", ["1", "2-3"]],
        ["/:a-:b", "--x", ["-", "x"]],
        ["/:a-:b.json", "x-y.json.json", ["x", "y.json"]],
        ["/:a--:b-:c", "1---2-3", ["1", "-2", "3"]],
        ["/:a:b", "xyz", ["x", "yz"]],
        ["/:a-{b:\\d+}", "x-y-5", ["x-y", "5"]],
        ["/:a.:b$", "1.2$", ["1", "2"]]
      ]
      for (const [text, path, wanted] of cases) {
        const values: Array<string> = []
        assert.isTrue(RoutePattern.match(shapeOf(text), path, values), text)
        assert.deepStrictEqual(values, wanted, text)
      }
    })

    it.effect("keep dots, empty segments and NUL in their segments", () =>
      Effect.gen(function*() {
        const app = Router.make(Router.get("/f/:name", params), Router.get("/f/a//b", say("empty")))
        assert.strictEqual(yield* said(app, "/f/%2e%2e"), `{"name":".."}`)
        assert.strictEqual(yield* said(app, "/f/%2E%2E%2Fetc%00"), `{"name":"../etc\\u0000"}`)
        assert.strictEqual(yield* said(app, "/f/../f"), 404)
        assert.strictEqual(yield* said(app, "/./f/x"), 404)
        assert.strictEqual(yield* said(app, "/f/a//b"), "empty")
        assert.strictEqual(yield* said(app, "//f/x"), 404)
      }))
  })

  describe("names that objects have", () => {
    it.effect("are names like others, in paths, queries, cookies and bodies", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.get("/c/:constructor?", { name: "c" }, params),
          Router.get(
            "/parts",
            ({ cookies, query }) => Effect.succeed(JSON.stringify([query, cookies, "toString" in query]))
          ),
          Router.get(
            "/decoded",
            { query: { constructor: Schema.optionalKey(Schema.String) } },
            ({ query }) => Effect.succeed(JSON.stringify(query))
          ),
          Router.post(
            "/body",
            { body: Schema.Record(Schema.String, Schema.Unknown) },
            ({ body }) =>
              Effect.succeed(JSON.stringify([Object.keys(body), Object.getPrototypeOf(body) === Object.prototype]))
          )
        )
        assert.strictEqual(app.urlFor("c", {} as never), "/c")
        assert.strictEqual(yield* said(app, "/c"), `{}`)
        assert.strictEqual(yield* said(app, "/c/__proto__"), `{"constructor":"__proto__"}`)
        const cookie = { cookie: "__proto__=1; constructor=2" }
        assert.strictEqual(
          yield* said(app, "/parts?__proto__=a&constructor=b&__proto__=c", { headers: cookie }),
          `[{"__proto__":["a","c"],"constructor":"b"},{"__proto__":"1","constructor":"2"},false]`
        )
        assert.strictEqual(yield* said(app, "/decoded"), `{}`)
        assert.strictEqual(
          yield* said(app, "/body", { method: "POST", body: `{"__proto__":{"x":1},"b":2}`, headers: json }),
          `[["__proto__","b"],true]`
        )
        assert.throws(() => Router.make(Router.get("/:__proto__", params)), /cannot be called "__proto__"/)
      }))
  })
})
