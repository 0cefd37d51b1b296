/** Which route serves a request: patterns, order, methods, slashes, hosts. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Schema from "effect/Schema"
import type { App } from "../../src/app/App.ts"
import * as Router from "../../src/app/Router.ts"
import * as Fake from "../utils/exchange.ts"

const ask = <E, R>(app: App<E, R>, target: string, request: Fake.Request = {}) =>
  Fake.request(app, { ...request, target })

/** What a target is answered with: the text of a 200, else the status. */
const said = <E, R>(app: App<E, R>, target: string, request: Fake.Request = {}) =>
  Effect.map(ask(app, target, request), ({ status, text }) => status === 200 ? text : status)

const say = (words: string) => () => Effect.succeed(words)

/** Answers with its parameters. */
const params = ({ path }: { readonly path: unknown }) => Effect.succeed(JSON.stringify(path))

const expectAll = <E, R>(app: App<E, R>, cases: Readonly<Record<string, string | number>>) =>
  Effect.forEach(
    Object.entries(cases),
    ([target, expected]) => Effect.map(said(app, target), (answer) => assert.strictEqual(answer, expected, target))
  )

describe("Router", () => {
  describe("patterns", () => {
    it.effect("reads :name, {name}, {name:regex}, *rest and literals as they are [C178] [W34]", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.get("/colon/:id", params),
          Router.get("/brace/{id}", params),
          Router.get("/digits/{id:\\d{2,3}}", params),
          Router.get("/files/*path", params),
          Router.get("/a.b(c)+$^", say("literal")),
          Router.get("/report-:year.:ext", params),
          Router.get("/v{major:\\d+}/x", params),
          Router.get("/12:30/\\:id", say("escaped"))
        )
        yield* expectAll(app, {
          "/colon/7": `{"id":"7"}`,
          "/colon/": 404,
          "/colon/7/8": 404,
          "/brace/x-y": `{"id":"x-y"}`,
          "/digits/123": `{"id":"123"}`,
          "/digits/1": 404,
          "/digits/1234": 404,
          "/digits/x12": 404,
          "/files/a/b.txt": `{"path":"a/b.txt"}`,
          "/files/": `{"path":""}`,
          "/files": 404,
          "/a.b(c)+$^": "literal",
          "/axb(c)+$^": 404,
          "/report-2026.pdf": `{"year":"2026","ext":"pdf"}`,
          "/report-2026pdf": 404,
          "/v12/x": `{"major":"12"}`,
          "/vx/x": 404,
          "/12:30/:id": "escaped",
          "/12:30/7": 404,
          "/Colon/7": 404
        })
      }))

    it.effect("tests a parameter by its inline test and its constraint together [C178]", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.get("/{id:\\d+}", { constraints: { id: /[^0].*/ } }, params),
          Router.get("/x/:id", { constraints: { id: /a|b/i } }, params),
          Router.get("/y/:id", { constraints: { id: /.*/ } }, params),
          Router.get("/z/:a-:b", { constraints: { a: /\d/, b: /\d/ } }, params),
          Router.get("/z/:c", params)
        )
        yield* expectAll(app, {
          "/12": `{"id":"12"}`,
          "/01": 404,
          "/x/A": `{"id":"A"}`,
          "/x/ab": 404,
          "/x/ba": 404,
          "/y/": 404,
          "/z/1-2": `{"a":"1","b":"2"}`,
          "/z/1-x": `{"c":"1-x"}`
        })
      }))

    it.effect("decodes each segment once and keeps an encoded slash inside of it", () =>
      Effect.gen(function*() {
        const app = Router.make(Router.get("/:a/x/:b", params), Router.get("/café", say("literal")))
        yield* expectAll(app, {
          "/1%2F2/x/%2525": `{"a":"1/2","b":"%25"}`,
          "/%C3%A9/x/a+b": `{"a":"é","b":"a+b"}`,
          "/%ff/x/100%": `{"a":"ÿ","b":"100%"}`,
          "/a%2Fx%2Fb": 404,
          "/caf%C3%A9": "literal"
        })
      }))

    it.effect("leaves out optional segments at the end [C182]", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.get("/archive/:year/:month?/:day?", params),
          Router.get("/:lang?", params),
          Router.get("/typed/:page?", { path: { page: Schema.Int } }, params)
        )
        yield* expectAll(app, {
          "/archive/2026": `{"year":"2026"}`,
          "/archive/2026/01": `{"year":"2026","month":"01"}`,
          "/archive/2026/01/02": `{"year":"2026","month":"01","day":"02"}`,
          "/archive/2026/01/02/03": 404,
          "/": `{}`,
          "/en": `{"lang":"en"}`,
          "/typed": `{}`,
          "/typed/3": `{"page":3}`,
          "/typed/x": 404
        })
      }))

    it("refuses routes that are not well made, by name", () => {
      const mistakes: ReadonlyArray<readonly [RegExp, () => unknown]> = [
        [/"x".* must begin with a slash/, () => Router.get("x", say(""))],
        [/GET \/:a\/:a .* two parameters called "a"/, () => Router.get("/:a/:a", say(""))],
        [/GET \/\{a:\(\} .*Unterminated group/, () => Router.get("/{a:(}", say(""))],
        [/braces are not balanced/, () => Router.get("/{a", say(""))],
        [/"\{a-b\}" has no name/, () => Router.get("/{a-b}", say(""))],
        [/a catch-all must be its end/, () => Router.get("/*a/b", say(""))],
        [/":a\?" must be a segment of its own/, () => Router.get("/x:a?", say(""))],
        [/a catch-all must be a segment of its own/, () => Router.get("/x*", say(""))],
        [/"\*a-b" is not a catch-all with a name/, () => Router.get("/*a-b", say(""))],
        [/a catch-all cannot follow an optional segment/, () => Router.get("/:a?/*b", say(""))],
        [/an optional segment must be at its end/, () => Router.get("/:a?/b", say(""))],
        [/cannot be called "__proto__"/, () => Router.get("/:__proto__", say(""))],
        [/no parameter "b" to constrain/, () => Router.get("/:a", { constraints: { b: /x/ } as {} }, say(""))],
        [
          /"X-Key"; names of headers are lower case/,
          () => Router.get("/", { headers: { "X-Key": Schema.String } }, say(""))
        ]
      ]
      for (const [message, make] of mistakes) assert.throws(() => Router.make(make() as never), message)
    })

    it("refuses a route that is registered twice, and a name that is", () => {
      assert.throws(
        () => Router.make(Router.get("/a/:b", say("1")), Router.group("/a", Router.get("/:b", say("2")))),
        /GET \/a\/:b is registered twice/
      )
      // The Schema may leave something to the second.
      Router.make(Router.get("/:id", { path: { id: Schema.Int } }, say("1")), Router.get("/:id", say("2")))
      const named = (path: string) => Router.get(path, { name: "same" }, say(""))
      assert.throws(() => Router.make(named("/a"), named("/b")), /GET \/b .* two routes are called "same"/)
    })
  })

  describe("order", () => {
    it.effect("tries literals, tested parameters, plain ones, catch-alls, and goes back where a branch ends", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.get("/*rest", say("rest")),
          Router.get("/:any", say("plain")),
          Router.get("/{id:\\d+}", say("digits")),
          Router.get("/me", say("literal")),
          Router.get("/me/deep/er", say("deep")),
          Router.get("/:who/deep/:x", say("branch"))
        )
        yield* expectAll(app, {
          "/me": "literal",
          "/12": "digits",
          "/you": "plain",
          "/me/deep/er": "deep",
          "/me/deep/est": "branch",
          "/me/shallow": "rest",
          "/a/b/c/d": "rest",
          "/": "rest"
        })
      }))

    it.effect("prefers a Schema of the path, then the order of registration", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.get("/:name", say("name")),
          Router.get("/:id", { path: { id: Schema.Int } }, say("id")),
          Router.get("/:other", say("other"))
        )
        yield* expectAll(app, { "/12": "id", "/x": "name" })
      }))

    it.effect("goes on to the next route when a handler passes, and to 404 after the last [C182]", () =>
      Effect.gen(function*() {
        let released = 0
        const first = Effect.andThen(Effect.addFinalizer(() => Effect.sync(() => void released++)), Router.pass)
        const app = Router.make(
          Router.get("/:page", ({ path }) => path.page === "a" ? Effect.succeed("first") : first),
          Router.get("/:other", ({ path }) => path.other === "b" ? Effect.succeed("second") : Router.pass)
        )
        yield* expectAll(app, { "/a": "first", "/b": "second", "/c": 404 })
        assert.strictEqual(released, 2)
      }))
  })

  describe("methods", () => {
    const app = Router.make(
      Router.get("/todos", say("list")),
      Router.post("/todos", say("added")),
      Router.del("/todos/:id", { path: { id: Schema.Int } }, say("gone")),
      Router.any("/any", ({ request }) => Effect.succeed(request.method)),
      Router.put("/any", say("put")),
      Router.method("PURGE")("/cache", say("purged")),
      Router.method("PUT", "PATCH")("/both", ({ request }) => Effect.succeed(request.method)),
      Router.get("/own", say("get")),
      Router.head("/own", () => Effect.succeed(HttpServerResponse.empty({ headers: { "x-own": "1" } }))),
      Router.options("/own", say("options"))
    )

    it.effect("answers HEAD by the route for GET [C179] [W23]", () =>
      Effect.gen(function*() {
        const answer = yield* ask(app, "/todos", { method: "HEAD" })
        assert.deepStrictEqual([answer.status, answer.header("content-length"), answer.text], [200, "4", ""])
        assert.strictEqual((yield* ask(app, "/own", { method: "HEAD" })).header("x-own"), "1")
      }))

    it.effect("answers other methods of a known path with 405 and Allow [C179]", () =>
      Effect.gen(function*() {
        const answer = yield* ask(app, "/todos", { method: "PATCH" })
        assert.deepStrictEqual([answer.status, answer.header("allow")], [405, "GET, HEAD, OPTIONS, POST"])
        assert.strictEqual(answer.header("content-type"), "application/problem+json")
        assert.strictEqual((yield* ask(app, "/todos/1")).header("allow"), "DELETE, OPTIONS")
        // A path that the Schema refuses is not known.
        assert.strictEqual((yield* ask(app, "/todos/x")).status, 404)
      }))

    it.effect("answers OPTIONS with the methods of the path [C179]", () =>
      Effect.gen(function*() {
        const answer = yield* ask(app, "/todos", { method: "OPTIONS" })
        assert.deepStrictEqual([answer.status, answer.header("allow"), answer.text], [
          204,
          "GET, HEAD, OPTIONS, POST",
          ""
        ])
        assert.strictEqual(yield* said(app, "/own", { method: "OPTIONS" }), "options")
        assert.strictEqual(yield* said(app, "/unknown", { method: "OPTIONS" }), 404)
      }))

    it.effect("takes any method, several, and those of one's own; a method of its own goes first [C179]", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* said(app, "/any", { method: "POST" }), "POST")
        assert.strictEqual(yield* said(app, "/any", { method: "BREW" }), "BREW")
        assert.strictEqual(yield* said(app, "/any", { method: "PUT" }), "put")
        assert.strictEqual(yield* said(app, "/cache", { method: "PURGE" }), "purged")
        assert.strictEqual(yield* said(app, "/both", { method: "PATCH" }), "PATCH")
        assert.strictEqual(yield* said(app, "/both", { method: "patch" }), 405)
      }))

    it.effect("answers what is not found with a problem", () =>
      Effect.gen(function*() {
        const answer = yield* ask(app, "/nothing")
        assert.deepStrictEqual(answer.json, { type: "about:blank", title: "Not Found", status: 404 })
      }))

    it.effect("takes the target of OPTIONS * for no path", () =>
      Effect.gen(function*() {
        const all = Router.make(Router.get("/", say("root")), Router.any("/*rest", say("rest")))
        assert.strictEqual(yield* said(all, "*", { method: "OPTIONS" }), 404)
      }))

    it.effect("declines a lifespan by returning", () =>
      Effect.gen(function*() {
        yield* app({ type: "lifespan", send: () => Effect.die("sent") } as never)
      }))
  })

  describe("the slash at the end", () => {
    const routes = [
      Router.get("/about", say("about")),
      Router.get("/docs/", say("docs")),
      Router.get("/:page/x", say("x"))
    ] as const

    it.effect("matters when strict [C182]", () =>
      expectAll(Router.make(...routes), { "/about": "about", "/about/": 404, "/docs/": "docs", "/docs": 404 }))

    it.effect("is redirected to the registered form, with the query and never to another host [C182] [W37]", () =>
      Effect.gen(function*() {
        const app = Router.make({ trailingSlash: "redirect" }, ...routes)
        const to = (target: string, request: Fake.Request = {}) =>
          Effect.map(ask(app, target, request), ({ header, status }) => `${status} ${header("location")}`)
        assert.strictEqual(yield* to("/about/?a=1&b"), "308 /about?a=1&b")
        assert.strictEqual(yield* to("/docs"), "308 /docs/")
        assert.strictEqual(yield* to("/a%2Fb/x/"), "308 /a%2Fb/x")
        assert.strictEqual(yield* to("/app/about/", { scope: { rootPath: "/app", path: "/about/" } }), "308 /app/about")
        for (const target of ["/nothing/", "/"]) assert.strictEqual((yield* ask(app, target)).status, 404)
        assert.strictEqual((yield* ask(app, "/about/", { method: "POST" })).status, 404)
      }))

    it.effect("does not matter when ignored [C182]", () =>
      Effect.gen(function*() {
        const app = Router.make({ trailingSlash: "ignore" }, ...routes)
        yield* expectAll(app, { "/about/": "about", "/docs": "docs", "/a/x/": "x", "/": 404, "/nothing/": 404 })
        assert.strictEqual((yield* ask(app, "/about/", { method: "POST" })).header("allow"), "GET, HEAD, OPTIONS")
      }))
  })

  describe("redirect", () => {
    const app = Router.make(
      Router.redirect("/old/:id", "/new/:id"),
      Router.redirect("/moved/*rest", "/*rest", { status: 308 }),
      Router.redirect("/away", "https://example.org/x"),
      Router.redirect("/fixed", "/target?a=1#part")
    )
    const to = (target: string, request: Fake.Request = {}) =>
      Effect.map(ask(app, target, request), ({ header, status }) => `${status} ${header("location")}`)

    it.effect("fills in parameters, encoded, and keeps the query [C182] [W36]", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* to("/old/a%2Fb%0D%0A?q=1"), "302 /new/a%2Fb%0D%0A?q=1")
        assert.strictEqual(yield* to("/old/7", { method: "POST" }), "302 /new/7")
        assert.strictEqual(yield* to("/away?q=1"), "302 https://example.org/x?q=1")
        assert.strictEqual(yield* to("/fixed?q=1"), "302 /target?a=1#part")
        assert.strictEqual(yield* to("/in/old/7", { scope: { rootPath: "/in", path: "/old/7" } }), "302 /in/new/7")
      }))

    it.effect("never leads to another host", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* to("/moved/a/b"), "308 /a/b")
        assert.strictEqual(yield* to("/moved//evil.test"), "308 /evil.test")
        assert.strictEqual(yield* to("/moved/%2Fevil.test"), "308 /evil.test")
        assert.strictEqual(yield* to("/moved/%5Cevil.test"), "308 /%5Cevil.test")
      }))
  })

  describe("host", () => {
    const app = Router.make(
      Router.get("/", say("any host")),
      Router.get("/shared", say("shared")),
      Router.host("api.example.com", Router.get("/", say("api"))),
      Router.host(
        ":tenant.example.com",
        Router.get("/", { outer: { tenant: Schema.String } }, ({ outer }) => Effect.succeed(`tenant ${outer.tenant}`)),
        Router.group("/in", Router.get("/", ({ params }) => Effect.succeed(`in ${params["tenant"]}`)))
      )
    )
    const at = (host: string, target = "/") => said(app, target, { headers: { host } })

    it.effect("chooses by name, then by pattern, then takes routes of any host [C182]", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* at("api.example.com"), "api")
        assert.strictEqual(yield* at("API.Example.com:8080"), "api")
        assert.strictEqual(yield* at("Acme.example.com."), "tenant acme")
        assert.strictEqual(yield* at("acme.example.com", "/in"), "in acme")
        assert.strictEqual(yield* at("a.b.example.com"), "any host")
        assert.strictEqual(yield* at("[::1]:80"), "any host")
        assert.strictEqual(yield* at("api.example.com", "/shared"), "shared")
        assert.strictEqual(yield* at("api.example.com", "/none"), 404)
      }))

    it("refuses a host within a host", () => {
      assert.throws(
        () => Router.make(Router.host("a.test", Router.host("b.test", Router.get("/", say(""))))),
        /"b.test" is within the host "a.test"/
      )
    })
  })
})
