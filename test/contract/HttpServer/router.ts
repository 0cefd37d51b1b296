/** Routes: methods, path parameters, wildcards, prefixes, queries, cookies, headers, and what no route matches. */
import { assert, describe } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { answersIn } from "../../utils/answers.ts"
import { address, ask, closing, type HttpServerKind, serveRoutes, testOf } from "../../utils/httpServers.ts"

const Todo = Schema.Struct({ id: Schema.Number, title: Schema.String })
const todo = HttpServerResponse.schemaJson(Todo)

const urls = HttpServerRequest.HttpServerRequest.use(({ originalUrl, url }) =>
  HttpServerResponse.json({ url, originalUrl })
)

const textOf = (path: string) => Effect.flatMap(HttpClient.get(path), (response) => response.text)
const jsonOf = (path: string) => Effect.flatMap(HttpClient.get(path), (response) => response.json)
const statusOf = (path: string) => Effect.map(HttpClient.get(path), (response) => response.status)

export const router = (kind: HttpServerKind): void => {
  const test = testOf(kind)

  describe("routes", () => {
    test("decode path parameters and encode answers with Schemas", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add(
          "GET",
          "/todos/:id",
          Effect.flatMap(
            HttpRouter.schemaParams(Schema.Struct({ id: Schema.FiniteFromString })),
            ({ id }) => todo({ id, title: "read" })
          )
        ))
        const response = yield* HttpClient.get("/todos/7")
        assert.strictEqual(response.headers["content-type"], "application/json")
        assert.deepStrictEqual(yield* HttpClientResponse.schemaBodyJson(Todo)(response), { id: 7, title: "read" })
        assert.strictEqual(yield* statusOf("/todos/seven"), 400)
      }))

    test("decode percent-encoded parameters, and give wildcards the rest of the path", () =>
      Effect.gen(function*() {
        const shown = Effect.flatMap(HttpRouter.params, (params) => HttpServerResponse.json(params))
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route("GET", "/users/:name/files/*", shown),
          HttpRouter.route("GET", "/exact", HttpServerResponse.text("exact"))
        ]))
        assert.deepStrictEqual(yield* jsonOf("/users/j%C3%BCrgen%20b/files/a/b%2Fc.txt"), {
          name: "jürgen b",
          "*": "a/b/c.txt"
        })
        assert.deepStrictEqual(yield* jsonOf("/users/x/files"), { name: "x" })
        for (const path of ["/exact", "/exact/", "//exact"]) assert.strictEqual(yield* textOf(path), "exact", path)
      }))

    test("see the url without the prefix they are mounted at, and the whole of it as originalUrl", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.use((router) =>
          Effect.andThen(
            router.prefixed("/api").add("*", "*", urls),
            router.prefixed("/outer").prefixed("/inner").add("GET", "/:id", urls)
          )
        ))
        const at = yield* address
        const origin = at._tag === "tcp" ? `http://${at.host}:${at.port}` : ""
        const both = (url: string, path: string) => ({ url, originalUrl: origin + path })
        assert.deepStrictEqual(yield* jsonOf("/api/1?a=b"), both("/1?a=b", "/api/1?a=b"))
        assert.deepStrictEqual(yield* jsonOf("/api"), both("/", "/api"))
        assert.deepStrictEqual(yield* jsonOf("/api/"), both("/", "/api/"))
        assert.deepStrictEqual(yield* jsonOf("/api?a=%20"), both("/?a=%20", "/api?a=%20"))
        assert.deepStrictEqual(yield* jsonOf("/outer/inner/2"), both("/2", "/outer/inner/2"))
        assert.strictEqual(yield* statusOf("/apis"), 404)
      }))

    test("decode queries: single, repeated, encoded and absent values", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add(
          "GET",
          "/",
          Effect.flatMap(
            HttpServerRequest.schemaSearchParams(Schema.Struct({
              q: Schema.String,
              tags: Schema.optionalKey(Schema.Array(Schema.String))
            })),
            (query) => HttpServerResponse.json(query)
          )
        ))
        assert.deepStrictEqual(yield* jsonOf("/?q=%C3%A4+b&tags=1&tags=2"), { q: "ä b", tags: ["1", "2"] })
        assert.deepStrictEqual(yield* jsonOf("/?q="), { q: "" })
        assert.strictEqual(yield* statusOf("/"), 400)
      }))

    test("parse cookies and set, change and remove several", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add(
          "GET",
          "/",
          Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
            Effect.orDie(
              HttpServerResponse.jsonUnsafe(request.cookies).pipe(
                HttpServerResponse.setCookie("a", "1 2", { path: "/x", httpOnly: true, sameSite: "lax" }),
                Effect.flatMap(HttpServerResponse.setCookie("b", "2", { maxAge: "1 hour", secure: true })),
                Effect.flatMap(HttpServerResponse.setCookie("c", "3")),
                Effect.map(HttpServerResponse.removeCookie("c")),
                Effect.flatMap(HttpServerResponse.expireCookie("d"))
              )
            ))
        ))
        const [answer] = answersIn(yield* ask(closing("GET /", ["cookie: x=1; y=%20z", "cookie: w=\"q\""])))
        assert.deepStrictEqual(JSON.parse(answer!.body), { x: "1", y: " z", w: "q" })
        const cookies = answer!.headers.filter(([name]) => name.toLowerCase() === "set-cookie")
        assert.deepStrictEqual(cookies.map(([, value]) => value), [
          "a=1%202; Path=/x; HttpOnly; SameSite=Lax",
          "b=2; Max-Age=3600; Secure",
          "d=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        ])
      }))

    test("get headers with lower-case names and duplicates joined, and set their own", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("GET", "/", (request) =>
          HttpServerResponse.json({ x: request.headers["x-many"], accept: request.headers["accept"] }, {
            headers: { "X-Own": "Value", "content-type": "application/vnd.own+json" }
          })))
        const [answer] = answersIn(yield* ask(closing("GET /", ["X-Many: 1", "Accept: a", "x-mAny: 2", "Accept: b"])))
        assert.deepStrictEqual(JSON.parse(answer!.body), { x: "1, 2", accept: "a, b" })
        assert.strictEqual(answer!.header("x-own"), "Value")
        assert.strictEqual(answer!.header("content-type"), "application/vnd.own+json")
      }))

    test("keep a header that must not repeat to its first value", () =>
      Effect.gen(function*() {
        const once = ["authorization", "content-type", "from", "if-modified-since", "referer", "user-agent"]
        yield* serveRoutes(
          HttpRouter.add("GET", "/", (request) => HttpServerResponse.json(once.map((name) => request.headers[name])))
        )
        const lines = once.flatMap((name) => [`${name}: 1`, `${name}: 2`])
        const [answer] = answersIn(yield* ask(closing("GET /", lines)))
        assert.deepStrictEqual(JSON.parse(answer!.body), once.map(() => "1"))
      }))

    test("are found by their method; any other method is 404", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route("PUT", "/put", HttpServerResponse.text("put")),
          HttpRouter.route(
            "QUERY",
            "/query",
            HttpServerRequest.HttpServerRequest.use(({ text }) =>
              Effect.map(text, (text) => HttpServerResponse.text(text))
            )
          ),
          HttpRouter.route(
            "*",
            "/any",
            HttpServerRequest.HttpServerRequest.use(({ method }) => Effect.succeed(HttpServerResponse.text(method)))
          )
        ]))
        const execute = (method: "PUT" | "POST" | "PATCH" | "DELETE" | "OPTIONS", path: string) =>
          HttpClient.execute(HttpClientRequest.make(method)(path))
        assert.strictEqual((yield* execute("PUT", "/put")).status, 200)
        assert.strictEqual((yield* execute("POST", "/put")).status, 404)
        for (const method of ["PATCH", "DELETE", "OPTIONS"] as const) {
          assert.strictEqual(yield* (yield* execute(method, "/any")).text, method)
        }
        const query = closing("QUERY /query", ["content-length: 4"]) + "some"
        assert.strictEqual(answersIn(yield* ask(query))[0]!.body, "some")
      }))

    test("answer HEAD for GET: the same head and no body, and the connection goes on", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("GET", "/", HttpServerResponse.text("hello")))
        const answer = yield* ask(`HEAD / HTTP/1.1\r\nhost: a\r\n\r\n${closing("GET /")}`)
        const [head, got] = answersIn(answer, ["HEAD", "GET"])
        assert.deepStrictEqual([head!.status, head!.header("content-length"), head!.body], [200, "5", ""])
        assert.strictEqual(head!.header("content-type"), "text/plain")
        assert.strictEqual(got!.body, "hello")
      }))

    test("that do not exist are answered with an empty 404", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("GET", "/", HttpServerResponse.empty()))
        const [answer] = answersIn(yield* ask(closing("GET /nothing")))
        assert.deepStrictEqual([answer!.status, answer!.reason, answer!.body], [404, "Not Found", ""])
      }))

    test("take an absolute target apart: the path is the url, its authority is the host", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("GET", "/x", (request) =>
          HttpServerResponse.json({
            url: request.url,
            host: request.headers["host"],
            full: Option.getOrUndefined(Option.map(HttpServerRequest.toURL(request), String))
          })))
        const [answer] = answersIn(yield* ask(closing("GET http://example.com:8080/x?y=1")))
        assert.deepStrictEqual(JSON.parse(answer!.body), {
          url: "/x?y=1",
          host: "example.com:8080",
          full: "http://example.com:8080/x?y=1"
        })
      }))

    test("know the whole URL and the address of the peer", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("GET", "/x", (request) =>
          HttpServerResponse.json({
            full: Option.getOrUndefined(Option.map(HttpServerRequest.toURL(request), String)),
            remote: Option.getOrUndefined(request.remoteAddress),
            peer: Option.getOrUndefined(request.peerAddress)
          })))
        const [answer] = answersIn(yield* ask(closing("GET /x?y=%20#z")))
        const { full, peer, remote } = JSON.parse(answer!.body)
        assert.match(full, /^http:\/\/a\/x\?y=%20/)
        assert.deepStrictEqual([remote, peer], ["127.0.0.1", "127.0.0.1"])
      }))

    test("have middleware of their own and of all, and services made once", () =>
      Effect.gen(function*() {
        class Name extends Context.Service<Name, string>()("Name") {}
        const marked = (mark: string) =>
          HttpRouter.middleware((app) => Effect.map(app, HttpServerResponse.setHeader(mark, "yes"))).layer
        let made = 0
        const name = Layer.effect(Name, Effect.sync(() => `name ${++made}`))
        const named = HttpRouter.add("GET", "/named", Effect.map(Name, (name) => HttpServerResponse.text(name)))
        const all = HttpRouter.middleware(
          (app) => Effect.map(app, HttpServerResponse.setHeader("x-all", "yes")),
          { global: true }
        )
        yield* serveRoutes(Layer.mergeAll(
          named.pipe(HttpRouter.provideRequest(name), Layer.provide(marked("x-named"))),
          HttpRouter.add("GET", "/plain", HttpServerResponse.text("plain")),
          all
        ))
        const first = yield* HttpClient.get("/named")
        assert.strictEqual(yield* first.text, "name 1")
        assert.deepStrictEqual([first.headers["x-named"], first.headers["x-all"]], ["yes", "yes"])
        assert.strictEqual(yield* textOf("/named"), "name 1")
        const plain = yield* HttpClient.get("/plain")
        assert.deepStrictEqual([plain.headers["x-named"], plain.headers["x-all"]], [undefined, "yes"])
      }))

    test("obey the settings of the router", () =>
      Effect.gen(function*() {
        const routes = HttpRouter.add("GET", "/Case/:name", HttpServerResponse.text("found"))
        yield* serveRoutes(routes, { routerConfig: { caseSensitive: false, maxParamLength: 5 } })
        assert.strictEqual(yield* textOf("/cASE/x"), "found")
        assert.strictEqual(yield* statusOf("/case/toolong"), 404)
      }))
  })
}
