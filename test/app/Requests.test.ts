/**
 * What effect/http's own values do on our server, from the bytes of a request to the bytes of the answer: the parts of
 * the toolkit that Slipway does not write again.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as UrlParams from "effect/http/UrlParams"
import * as Schema from "effect/Schema"
import * as ContentNegotiation from "../../src/app/ContentNegotiation.ts"
import * as Handler from "../../src/app/Handler.ts"
import * as Redirect from "../../src/app/Redirect.ts"
import * as Logs from "../utils/logs.ts"
import { bodyOf, exchange, headerOf } from "../utils/serve.ts"

type Answering = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  unknown,
  HttpServerRequest.HttpServerRequest
>

/** Sends one request to a handler, and returns what came back. */
const ask = (handler: Answering, line: string, fields: ReadonlyArray<string> = [], body = "") => {
  const length = body === "" ? [] : [`Content-Length: ${body.length}`]
  const head = [`${line} HTTP/1.1`, "Host: h.test", ...fields, ...length, "Connection: close"].join("\r\n")
  return exchange(Handler.make(handler), `${head}\r\n\r\n${body}`)
}

const statusOf = (answer: string): number => Number(answer.split(" ")[1])

const jsonOf = (answer: string): unknown => JSON.parse(Buffer.from(bodyOf(answer), "latin1").toString())

const echo = <E>(
  read: (request: HttpServerRequest.HttpServerRequest) => Effect.Effect<unknown, E, HttpServerRequest.HttpServerRequest>
): Answering =>
  Effect.map(Effect.flatMap(HttpServerRequest.HttpServerRequest, read), (value) => HttpServerResponse.jsonUnsafe(value))

describe("Requests", () => {
  describe("cookies", () => {
    it.effect("are read from every cookie line, unquoted and decoded [W17]", () =>
      Effect.gen(function*() {
        const answer = yield* ask(echo((request) => Effect.succeed(request.cookies)), "GET /", [
          "Cookie: sid=abc; name=J%C3%BCrgen",
          "Cookie: quoted=\"a b\"; empty=; bad=%zz"
        ])
        assert.deepStrictEqual(jsonOf(answer), { sid: "abc", name: "Jürgen", quoted: "a b", empty: "", bad: "%zz" })
      }))

    it.effect("are decoded with a Schema [W17]", () =>
      Effect.gen(function*() {
        const read = HttpServerRequest.schemaCookies(Schema.Struct({ visits: Schema.FiniteFromString }))
        const answer = yield* ask(echo(() => read), "GET /", ["Cookie: visits=7"])
        assert.deepStrictEqual(jsonOf(answer), { visits: 7 })
      }))

    it.effect("are set with their attributes, one line each [W17]", () =>
      Effect.gen(function*() {
        const response = HttpServerResponse.empty().pipe(
          HttpServerResponse.setCookieUnsafe("sid", "a b;c", {
            httpOnly: true,
            secure: true,
            sameSite: "lax",
            maxAge: "1 hour",
            path: "/app",
            domain: "h.test"
          }),
          HttpServerResponse.setCookieUnsafe("theme", "dark", { expires: new Date(0) }),
          HttpServerResponse.expireCookieUnsafe("old")
        )
        const answer = yield* ask(Effect.succeed(response), "GET /")
        const lines = answer.split("\r\n").filter((line) => /^set-cookie:/i.test(line))
        assert.deepStrictEqual(lines.map((line) => line.slice("set-cookie: ".length)), [
          "sid=a%20b%3Bc; Max-Age=3600; Domain=h.test; Path=/app; HttpOnly; Secure; SameSite=Lax",
          "theme=dark; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
          "old=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        ])
      }))

    it("are refused when name, path or domain would break the line [W17]", () => {
      const empty = HttpServerResponse.empty()
      assert.throws(() => HttpServerResponse.setCookieUnsafe(empty, "a\r\nb", "1"))
      assert.throws(() => HttpServerResponse.setCookieUnsafe(empty, "a", "1", { path: "/; Secure\r\n" }))
      assert.throws(() => HttpServerResponse.setCookieUnsafe(empty, "a", "1", { domain: "h.test\r\nx: y" }))
    })
  })

  describe("forms", () => {
    const form = ["Content-Type: application/x-www-form-urlencoded"]

    it.effect("are read with plus, percent and repeated names [W18]", () =>
      Effect.gen(function*() {
        const read = (request: HttpServerRequest.HttpServerRequest) =>
          Effect.map(request.urlParamsBody, UrlParams.toRecord)
        const answer = yield* ask(echo(read), "POST /", form, "name=J%C3%BCrgen+K&tag=a&tag=b%26c&empty=")
        assert.deepStrictEqual(jsonOf(answer), { name: "Jürgen K", tag: ["a", "b&c"], empty: "" })
      }))

    it.effect("are decoded with a Schema, and answered 422 with the fields when they do not fit [W18]", () =>
      Effect.gen(function*() {
        const Form = Schema.Struct({ name: Schema.String, age: Schema.FiniteFromString })
        const handler = echo(() => HttpServerRequest.schemaBodyUrlParams(Form))
        assert.deepStrictEqual(jsonOf(yield* ask(handler, "POST /", form, "name=a&age=7")), { name: "a", age: 7 })
        const refused = yield* ask(handler, "POST /", form, "name=a")
        assert.strictEqual(statusOf(refused), 422)
        assert.deepInclude(jsonOf(refused), { errors: [{ path: "age", message: "Missing key" }] })
      }))
  })

  describe("JSON", () => {
    const Todo = Schema.Struct({ title: Schema.String, tags: Schema.Array(Schema.String) })
    const handler = echo(() => HttpServerRequest.schemaBodyJson(Todo))
    const post = (body: string) => ask(handler, "POST /", ["Content-Type: application/json"], body)

    it.effect("is decoded with a Schema [W20]", () =>
      Effect.gen(function*() {
        const todo = { title: "a", tags: ["b"] }
        assert.deepStrictEqual(jsonOf(yield* post(JSON.stringify(todo))), todo)
      }))

    it.effect("is answered 422 with the fields when it does not fit [W20]", () =>
      Effect.gen(function*() {
        const answer = yield* post(`{"title":"a","tags":["b",7]}`)
        assert.strictEqual(statusOf(answer), 422)
        assert.deepInclude(jsonOf(answer), { errors: [{ path: "tags/1", message: "Expected string" }] })
      }))

    it.effect("is answered 400 when it is none; an empty body is null [W20]", () =>
      Effect.gen(function*() {
        const answer = yield* post(`{"title":`)
        assert.strictEqual(statusOf(answer), 400)
        assert.deepStrictEqual(jsonOf(answer), { type: "about:blank", title: "Bad Request", status: 400 })
        assert.strictEqual(statusOf(yield* post("")), 422)
      }))
  })

  describe("HEAD", () => {
    const headOf = (answer: string): string => answer.slice(0, answer.indexOf("\r\n\r\n"))

    it.effect("gets the head of the GET and no body [W23]", () =>
      Effect.gen(function*() {
        const router = yield* HttpRouter.make
        yield* router.add(
          "GET",
          "/page",
          Effect.succeed(HttpServerResponse.text("twelve bytes", { headers: { etag: "a" } }))
        )
        const handler = router.asHttpEffect() as Answering
        const get = yield* ask(handler, "GET /page")
        const head = yield* ask(handler, "HEAD /page")
        assert.strictEqual(bodyOf(get), "twelve bytes")
        assert.strictEqual(head, `${headOf(get)}\r\n\r\n`)
        assert.strictEqual(headerOf(head, "content-length"), "12")
      }))

    it.effect("gets no body with a failure either [W23]", () =>
      Effect.gen(function*() {
        const { layer } = Logs.capture()
        const answer = yield* Effect.provide(ask(Effect.die("bug"), "HEAD /"), layer)
        assert.strictEqual(statusOf(answer), 500)
        assert.strictEqual(bodyOf(answer), "")
      }))
  })

  describe("negotiation", () => {
    const handler = ContentNegotiation.respond({
      "application/json": () => HttpServerResponse.jsonUnsafe({ a: 1 }),
      "text/html": () => HttpServerResponse.html("<p>1</p>")
    })

    it.effect("takes several accept lines for one list [W22]", () =>
      Effect.gen(function*() {
        const answer = yield* ask(handler, "GET /", ["Accept: image/png", "Accept: text/html;q=0.1"])
        assert.deepStrictEqual([bodyOf(answer), headerOf(answer, "vary")], ["<p>1</p>", "accept"])
      }))

    it.effect("answers 406 when nothing is acceptable [W22]", () =>
      Effect.gen(function*() {
        assert.strictEqual(statusOf(yield* ask(handler, "GET /", ["Accept: image/png"])), 406)
      }))
  })

  describe("redirects", () => {
    for (const status of [301, 302, 303, 307, 308]) {
      it.effect(`are sent with ${status} [W36]`, () =>
        Effect.gen(function*() {
          const handler = Effect.succeed(HttpServerResponse.redirect("/new?a=b", { status }))
          const answer = yield* ask(handler, "GET /old")
          assert.deepStrictEqual([statusOf(answer), headerOf(answer, "location")], [status, "/new?a=b"])
        }))
    }

    it.effect("are 302 where no status is given, encode a URL and keep cookies [W36]", () =>
      Effect.gen(function*() {
        const response = HttpServerResponse.redirect(new URL("/café", "http://h.test")).pipe(
          HttpServerResponse.setCookieUnsafe("flash", "saved")
        )
        const answer = yield* ask(Effect.succeed(response), "POST /")
        assert.deepStrictEqual(
          [statusOf(answer), headerOf(answer, "location"), headerOf(answer, "set-cookie")],
          [302, "http://h.test/caf%C3%A9", "flash=saved"]
        )
      }))

    const locals = [
      ["/next?a=b#c", "/next?a=b#c"],
      ["next", "/next"],
      ["", "/"],
      ["/caf\u00e9 x", "/caf%C3%A9%20x"],
      ["/a\r\nset-cookie: b=c", "/aset-cookie:%20b=c"],
      ["//evil.test/x", "/home"],
      ["/\\evil.test/x", "/home"],
      ["\t//evil.test", "/home"],
      ["/..//evil.test", "/evil.test"],
      ["/.//evil.test", "/evil.test"],
      ["https://evil.test", "/home"],
      ["http:evil.test", "/evil.test"],
      ["javascript:alert(1)", "/home"],
      ["http://[", "/home"],
      ["http://user@here.invalid.evil.test/", "/home"]
    ] as const
    for (const [target, location] of locals) {
      it(`stay on this site: ${JSON.stringify(target)} leads to ${location} [W36]`, () => {
        assert.strictEqual(Redirect.local(target, { fallback: "/home" }).headers["location"], location)
      })
    }

    it.effect("that stay on this site are 303 to the root where nothing else is said [W36]", () =>
      Effect.gen(function*() {
        const answer = yield* ask(Effect.succeed(Redirect.local("//evil.test")), "POST /")
        assert.deepStrictEqual([statusOf(answer), headerOf(answer, "location")], [303, "/"])
        assert.strictEqual(Redirect.local("/a", { status: 308 }).status, 308)
      }))

    it.effect("never let a location break out of its line [W36]", () =>
      Effect.gen(function*() {
        const { layer } = Logs.capture()
        const handler = Effect.succeed(HttpServerResponse.redirect("/\r\nset-cookie: a=b"))
        const answer = yield* Effect.provide(ask(handler, "GET /"), layer)
        assert.strictEqual(statusOf(answer), 500)
        assert.notInclude(answer, "set-cookie")
      }))
  })
})
