/** What a router says about itself: names and URLs, routes as data, OpenAPI, documentation pages. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Router from "../../src/app/Router.ts"
import * as Fake from "../utils/exchange.ts"

const ok = () => Effect.succeed("ok")

describe("Router", () => {
  describe("urlFor", () => {
    const router = Router.make(
      Router.get("/", { name: "home" }, ok),
      Router.get("/todos/:id", { name: "todo" }, ok),
      Router.get("/{year:\\d{4}}/report-:name.pdf", { name: "report" }, ok),
      Router.get("/archive/:year?/:month?", { name: "archive" }, ok),
      Router.get("/files/*path", { name: "file" }, ok),
      Router.get("/a b/é", { name: "literal" }, ok),
      Router.group("/users/:user", { name: "users" }, Router.get("/", { name: "show" }, ok)),
      Router.mount(
        "/v:version",
        Router.make(Router.mount("/in", Router.make(Router.get("/:x", { name: "x" }, ok)), {
          name: "deep"
        })),
        { name: "api" }
      )
    )

    it("percent-encodes parameters and the query [C181]", () => {
      assert.strictEqual(router.urlFor("home"), "/")
      assert.strictEqual(router.urlFor("todo", { id: "a/b?c#é" }), "/todos/a%2Fb%3Fc%23%C3%A9")
      assert.strictEqual(router.urlFor("file", { path: "a b/c%2F.txt" }), "/files/a%20b/c%252F.txt")
      assert.strictEqual(router.urlFor("report", { year: 2026, name: "x y" }), "/2026/report-x%20y.pdf")
      assert.strictEqual(router.urlFor("literal"), "/a%20b/%C3%A9")
      assert.strictEqual(
        router.urlFor("todo", { id: 7 }, { query: { q: "a&b", list: [1, true], none: undefined }, rootPath: "/app" }),
        "/app/todos/7?q=a%26b&list=1&list=true"
      )
      assert.strictEqual(router.urlFor("archive"), "/archive")
      assert.strictEqual(router.urlFor("archive", { year: 1, month: 2 }), "/archive/1/2")
    })

    it.effect("makes what the router finds again [C181]", () =>
      Effect.gen(function*() {
        const values = ["a/b", "a%2Fb", "é ü", "100%", "+&=?#;", "\\", "...", "%zz"]
        const back = Router.make(Router.get("/x/:value/*rest", { name: "x" }, ({ path }) => Effect.succeed(path)))
        for (const value of values) {
          const rest = `${value.replaceAll("/", "|")}/b`
          const answer = yield* Fake.request(back, { target: back.urlFor("x", { value, rest }) })
          assert.deepStrictEqual(answer.json, { value, rest })
        }
      }))

    it("reaches into groups and mounts by their names [C181]", () => {
      assert.strictEqual(router.urlFor("users.show", { user: "ada" }), "/users/ada")
      assert.strictEqual(router.urlFor("api.deep.x", { version: 2, x: "y" }), "/v2/in/y")
    })

    it("demands the parameters, and that the route would match them [C181]", () => {
      const wrong: ReadonlyArray<readonly [name: string, params: {}, message: RegExp]> = [
        ["todo", {}, /\/todos\/:id: the parameter "id" is missing/],
        ["todo", { id: "" }, /"id" is empty/],
        ["todo", { id: ".." }, /"id" cannot be "\.\."/],
        ["file", { path: "a/../b" }, /"path" cannot be "\.\."/],
        ["report", { year: 26, name: "x" }, /"year" does not match/],
        ["archive", { month: 1 }, /"year" is missing/],
        ["nothing", {}, /There is no route called "nothing"/]
      ]
      // Values that the types refuse.
      for (const [name, params, message] of wrong) {
        assert.throws(() => router.urlFor(name as never, params as never), message)
      }
    })

    it("never begins with two slashes", () => {
      const rooted = Router.make(Router.get("/*rest", { name: "rest" }, ok))
      assert.strictEqual(rooted.urlFor("rest", { rest: "/evil.test" }), "/evil.test")
      assert.strictEqual(rooted.urlFor("rest", { rest: "a" }, { rootPath: "//evil.test" }), "/evil.test/a")
    })
  })

  it("lists its routes as data [C182]", () => {
    const Todo = Schema.Struct({ id: Schema.Int })
    const router = Router.make(
      Router.group(
        "/api",
        { tags: ["todos"], name: "api", meta: { team: "a" } },
        Router.get("/:id", {
          name: "todo",
          summary: "One",
          path: { id: Schema.Int },
          success: Todo,
          meta: { cache: 60 }
        }, ok as never),
        Router.websocket("/live", { message: Todo, deprecated: true, tags: ["live"] }, ({ session }) => session.close())
      ),
      Router.host("h.test", Router.group("/in", Router.any("/x", ok))),
      Router.mount("/app", () => Effect.void),
      Router.mount("/inner", Router.make(Router.sse("/feed", { name: "feed" }, () => Stream.empty)), { name: "inner" })
    )
    const plain = router.routes.map(({ schemas, ...info }) => ({ ...info, schemas: Object.keys(schemas) }))
    assert.deepStrictEqual(plain, [
      {
        protocol: "http",
        methods: ["GET"],
        path: "/api/:id",
        name: "api.todo",
        summary: "One",
        tags: ["todos"],
        meta: { team: "a", cache: 60 },
        schemas: ["path", "success"]
      },
      {
        protocol: "websocket",
        methods: [],
        path: "/api/live",
        tags: ["live"],
        deprecated: true,
        meta: { team: "a" },
        schemas: ["message"]
      },
      { protocol: "http", methods: ["*"], path: "/in/x", host: "h.test", schemas: [] },
      { protocol: "mount", methods: [], path: "/app", schemas: [] },
      { protocol: "sse", methods: [], path: "/inner/feed", name: "inner.feed", schemas: [] }
    ])
    assert.strictEqual(router.routes[0]!.schemas.path!["id"], Schema.Int)
  })

  describe("openApi", () => {
    const Todo = Schema.Struct({ id: Schema.Int, title: Schema.String }).annotate({ identifier: "Todo" })
    class NotFound extends Schema.TaggedError<NotFound>()("NotFound", {}, { httpApiStatus: 404 }) {}
    const router = Router.make(
      Router.docs("/docs", { title: "Todos", version: "1.2.3", description: "All of them" }),
      Router.get("/todos/{id:\\d+}", {
        name: "todo",
        summary: "One todo",
        tags: ["todos", "read"],
        path: { id: Schema.Int },
        query: { full: Schema.optionalKey(Schema.Boolean) },
        headers: { "x-key": Schema.String },
        cookies: { theme: Schema.String },
        success: Todo,
        errors: [NotFound]
      }, () => Effect.fail(new NotFound())),
      Router.post(
        "/todos",
        { body: Todo, success: Todo, status: 201, deprecated: true },
        ({ body }) => Effect.succeed(body)
      ),
      Router.get("/feed", ok),
      Router.sse("/feed", { data: Todo }, () => Stream.empty),
      Router.websocket("/feed", ({ session }) => session.close()),
      Router.websocket("/chat", ({ session }) => session.close()),
      Router.get(
        "/files/*path",
        { success: Schema.Uint8Array.pipe(HttpApiSchema.asUint8Array()) },
        () => Effect.succeed(new Uint8Array())
      ),
      Router.group("/t/:tenant", Router.get("/y", { outer: { tenant: Schema.Int } }, ok)),
      Router.get("/hidden", { documented: false }, ok),
      Router.mount("/v1", Router.make(Router.del("/todos/:id", { success: Schema.Void }, () => Effect.void)))
    )
    const { paths, ...rest } = router.openApi as any

    it("describes routes as an OpenAPI 3.1 document [C235]", () => {
      assert.strictEqual(rest.openapi, "3.1.0")
      assert.deepStrictEqual(rest.info, { title: "Todos", version: "1.2.3", description: "All of them" })
      const operations = Object.entries<any>(paths).flatMap(([path, item]) =>
        Object.keys(item).map((m) => `${m} ${path}`)
      )
      assert.deepStrictEqual(operations.sort(), [
        "delete /v1/todos/{id}",
        "get /chat",
        "get /feed",
        "get /files/{path}",
        "get /t/{tenant}/y",
        "get /todos/{id}",
        "post /todos"
      ])
      const get = paths["/todos/{id}"].get
      assert.deepStrictEqual(
        get.parameters.map((parameter: any) => [parameter.in, parameter.name, parameter.required]).sort(),
        [["cookie", "theme", true], ["header", "x-key", true], ["path", "id", true], ["query", "full", false]]
      )
      assert.deepStrictEqual([get.operationId, get.summary, get.tags], ["todo", "One todo", ["todos", "read"]])
      assert.deepStrictEqual(Object.keys(get.responses), ["200", "404"])
      assert.deepStrictEqual(get.responses[200].content["application/json"].schema, {
        $ref: "#/components/schemas/Todo"
      })
      const id = get.parameters.find((parameter: any) => parameter.in === "path")
      assert.deepStrictEqual(paths["/t/{tenant}/y"].get.parameters, [{ ...id, name: "tenant" }])
      const post = paths["/todos"].post
      assert.deepStrictEqual(Object.keys(post.responses), ["201"])
      assert.isTrue(post.deprecated)
      assert.isDefined(post.requestBody.content["application/json"])
      assert.deepStrictEqual(Object.keys(paths["/v1/todos/{id}"].delete.responses), ["204"])
    })

    it("describes sessions beside the GET of their path [C235]", () => {
      assert.deepStrictEqual(Object.keys(paths["/feed"].get.responses), ["101", "200"])
      assert.deepStrictEqual(Object.keys(paths["/feed"].get.responses[200].content), ["text/event-stream"])
      assert.deepStrictEqual(Object.keys(paths["/chat"].get.responses), ["101"])
    })

    it.effect("is served with a page that needs no other server [C235]", () =>
      Effect.gen(function*() {
        const document = yield* Fake.request(router, { target: "/openapi.json" })
        assert.strictEqual(document.header("content-type"), "application/json")
        assert.deepStrictEqual((document.json as { readonly info: unknown }).info, rest.info)
        for (let time = 0; time < 2; time++) {
          const page = yield* Fake.request(router, { target: "/docs" })
          assert.match(page.header("content-type")!, /^text\/html/)
          assert.include(page.text, "SwaggerUIBundle")
          assert.include(page.text, `"One todo"`)
          assert.notMatch(page.text, /<(?:script|link)[^>]+(?:src|href)=/)
        }
      }))
  })
})
