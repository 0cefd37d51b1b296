import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as ErrorReporter from "effect/ErrorReporter"
import * as Exit from "effect/Exit"
import { HttpServerError, RequestParseError, RouteNotFound } from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerRespondable from "effect/http/HttpServerRespondable"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import { Development } from "../../src/app/Development.ts"
import * as Failures from "../../src/app/Failures.ts"
import * as Handler from "../../src/app/Handler.ts"
import { Problem } from "../../src/app/Problem.ts"
import * as Fake from "../utils/exchange.ts"
import * as Logs from "../utils/logs.ts"

type Failing = Effect.Effect<never, unknown, HttpServerRequest.HttpServerRequest>

/** What the client gets and what the log gets when a handler ends like this. */
const outcomeOf = (handler: Failing, request?: Fake.Request) =>
  Effect.suspend(() => {
    const { layer, lines } = Logs.capture()
    return Effect.map(
      Effect.provide(Fake.request(Handler.make(handler), request), layer),
      (answer) => ({ answer, lines })
    )
  })

const asPage: Fake.Request = { headers: { accept: "text/html,*/*;q=0.8" } }

const blank500 = { type: "about:blank", title: "Internal Server Error", status: 500 }

const unfit = Effect.andThen(Schema.decodeUnknownEffect(Schema.Int)("a"), Effect.never)

class Secretive extends Error {
  readonly password = "hunter2"
}

const respondable = (effect: Effect.Effect<HttpServerResponse.HttpServerResponse, unknown>) => ({
  [HttpServerRespondable.symbol]: () => effect
})

const withRequest = (make: (request: HttpServerRequest.HttpServerRequest) => unknown): Failing =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => Effect.fail(make(request)))

describe("Failures", () => {
  describe("answer", () => {
    const statuses: ReadonlyArray<readonly [what: string, failing: Failing, status: number, isLogged: boolean]> = [
      ["a failure without an answer", Effect.fail("boom"), 500, true],
      ["a defect", Effect.die(new Secretive("no database")), 500, true],
      ["a Problem", Effect.fail(new Problem({ status: 409 })), 409, false],
      ["a Problem that is our fault", Effect.fail(new Problem({ status: 503 })), 503, true],
      ["a Problem as a defect", Effect.die(new Problem({ status: 410 })), 410, false],
      ["a response as a failure", Effect.fail(HttpServerResponse.empty({ status: 303 })), 303, false],
      ["a response as a defect", Effect.die(HttpServerResponse.empty({ status: 403 })), 403, false],
      [
        "a respondable",
        Effect.fail(respondable(Effect.succeed(HttpServerResponse.text("t", { status: 418 })))),
        418,
        false
      ],
      ["a respondable that fails", Effect.fail(respondable(Effect.fail("x"))), 500, true],
      ["a respondable that dies", Effect.die(respondable(Effect.die("x"))), 500, true],
      ["a missing element", Effect.fail(new Cause.NoSuchElementError()), 404, false],
      ["a missing element as a defect", Effect.die(new Cause.NoSuchElementError()), 500, true],
      ["a value that does not fit", unfit, 422, false],
      ["a value that does not fit as a defect", Effect.orDie(unfit), 500, true],
      [
        "a failure and a defect",
        Effect.ensuring(Effect.fail(new Problem({ status: 404 })), Effect.die("bug")),
        500,
        true
      ],
      [
        "a defect and a response",
        Effect.ensuring(Effect.die("bug"), Effect.die(HttpServerResponse.empty())),
        204,
        false
      ],
      [
        "several failures",
        Effect.failCause(Cause.combine(Cause.fail(new Problem({ status: 409 })), Cause.fail("other"))),
        409,
        false
      ],
      ["an empty cause", Effect.failCause(Cause.empty), 500, true],
      [
        "a body that cannot be read",
        withRequest((request) => new HttpServerError({ reason: new RequestParseError({ request }) })),
        400,
        false
      ],
      [
        "a body that is too large",
        withRequest((request) =>
          new HttpServerError({ reason: new RequestParseError({ request, reason: "BodyTooLarge" }) })
        ),
        413,
        false
      ],
      [
        "a route that is not there",
        withRequest((request) => new HttpServerError({ reason: new RouteNotFound({ request }) })),
        404,
        false
      ]
    ]
    for (const [what, failing, status, isLogged] of statuses) {
      it.effect(`answers ${what} with ${status} and logs ${isLogged ? "it once" : "nothing"}`, () =>
        Effect.gen(function*() {
          const { answer, lines } = yield* outcomeOf(failing)
          assert.deepStrictEqual([answer.status, lines.length], [status, isLogged ? 1 : 0])
        }))
    }

    it.effect("tells the client of a fault of ours nothing, and the log its cause", () =>
      Effect.gen(function*() {
        for (const failing of [Effect.fail(new Secretive("no database")), Effect.die(new Secretive("no database"))]) {
          const { answer, lines } = yield* outcomeOf(failing, { target: "/todos?token=t" })
          assert.deepStrictEqual(answer.json, blank500)
          assert.deepStrictEqual([lines[0]?.level, lines[0]?.message], ["Error", "GET /todos failed"])
          assert.include(lines[0]?.cause, "no database")
        }
      }))

    it.effect("logs method and path as annotations, in one line, without the query", () =>
      Effect.gen(function*() {
        const request = HttpServerRequest.fromWeb(new Request("http://h.test/a?b=c")).modify({})
        const hostile = Object.assign(Object.create(request), {})
        Object.defineProperty(hostile, "originalUrl", { value: "http://h.test/a\n2020 Error\u2028?token=t" })
        let line: unknown
        const logger = Logger.make(({ fiber, message }) => {
          line = { message, ...fiber.getRef(References.CurrentLogAnnotations) }
        })
        yield* Failures.answer(Cause.die("x")).pipe(
          Effect.provideService(HttpServerRequest.HttpServerRequest, hostile),
          Effect.provide(Logger.layer([logger]))
        )
        const path = "/a\\u000a2020 Error\\u2028"
        assert.deepStrictEqual(line, { message: [`GET ${path} failed`], method: "GET", path })
      }))

    it.effect("reports what it logs to the error reporters", () =>
      Effect.gen(function*() {
        const reported: Array<string> = []
        const reporter = ErrorReporter.make(({ error }) => void reported.push(error.message))
        yield* outcomeOf(Effect.fail(new Problem({ status: 404 }))).pipe(
          Effect.provide(ErrorReporter.layer([reporter]))
        )
        yield* outcomeOf(Effect.die(new Error("bug"))).pipe(Effect.provide(ErrorReporter.layer([reporter])))
        assert.deepStrictEqual(reported, ["bug"])
      }))

    it.effect("logs both causes when an error cannot give its answer", () =>
      Effect.gen(function*() {
        const error = Object.assign(new Error("first"), respondable(Effect.die(new Error("second"))))
        const { answer, lines } = yield* outcomeOf(Effect.fail(error))
        assert.deepStrictEqual(answer.json, blank500)
        assert.include(lines[0]?.cause, "first")
        assert.include(lines[0]?.cause, "second")
      }))

    it.effect("answers 500 when a problem is not JSON", () =>
      Effect.gen(function*() {
        const problem = new Problem({ status: 400, extensions: { big: 1n } })
        const { answer, lines } = yield* outcomeOf(Effect.fail(problem))
        assert.deepStrictEqual([answer.status, answer.json], [500, blank500])
        assert.deepStrictEqual(lines.map(({ message }) => message), ["GET / has a problem that is not JSON"])
      }))

    it.effect("raises an interruption again", () =>
      Effect.gen(function*() {
        const request = HttpServerRequest.fromWeb(new Request("http://h.test/"))
        const exit = yield* Effect.exit(
          Effect.provideService(
            Failures.answer(Cause.interrupt(7)),
            HttpServerRequest.HttpServerRequest,
            request
          )
        )
        assert(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
      }))

    it.effect("gives an empty answer of an error a problem, and keeps its headers and cookies", () =>
      Effect.gen(function*() {
        const empty = HttpServerResponse.empty({ status: 401, headers: { "www-authenticate": "Basic" } }).pipe(
          HttpServerResponse.setCookieUnsafe("a", "1")
        )
        const { answer } = yield* outcomeOf(Effect.fail(respondable(Effect.succeed(empty))))
        assert.deepStrictEqual(answer.json, { type: "about:blank", title: "Unauthorized", status: 401 })
        assert.strictEqual(answer.header("content-type"), "application/problem+json")
        assert.strictEqual(answer.header("www-authenticate"), "Basic")
        assert.strictEqual(answer.header("set-cookie"), "a=1")
      }))

    it.effect("leaves a response as it is, also an empty one", () =>
      Effect.gen(function*() {
        const { answer } = yield* outcomeOf(Effect.die(HttpServerResponse.empty({ status: 404 })))
        assert.deepStrictEqual([answer.text, answer.header("vary")], ["", undefined])
      }))

    it.effect("sends a page to clients that prefer one, and says that it varies [W22]", () =>
      Effect.gen(function*() {
        const problem = new Problem({ status: 405, detail: "<b>&\"'", headers: { allow: "GET" } })
        const { answer } = yield* outcomeOf(Effect.fail(problem), asPage)
        assert.strictEqual(answer.status, 405)
        assert.strictEqual(answer.header("content-type"), "text/html; charset=utf-8")
        assert.deepStrictEqual([answer.header("vary"), answer.header("allow")], ["accept", "GET"])
        assert.include(answer.text, "<h1>405 Method Not Allowed</h1>\n<p>&lt;b&gt;&amp;&quot;&#39;</p>")
        const json = yield* outcomeOf(Effect.fail(problem), { headers: { accept: "application/json" } })
        assert.deepStrictEqual(
          [json.answer.header("content-type"), json.answer.header("vary")],
          ["application/problem+json", "accept"]
        )
      }))

    it.effect("sends JSON to clients that accept nothing it has", () =>
      Effect.gen(function*() {
        const { answer } = yield* outcomeOf(Effect.die("x"), { headers: { accept: "text/event-stream" } })
        assert.deepStrictEqual(answer.json, blank500)
      }))
  })

  describe("in Development", () => {
    const headers = {
      authorization: "Basic c2VjcmV0",
      "proxy-authorization": "Basic cHJveHk=",
      cookie: "sid=s3",
      "x-plain": "<i>",
      accept: "text/html"
    }
    const develop = (failing: Failing, request: Fake.Request) =>
      Effect.provideService(outcomeOf(failing, request), Development, true)

    it.effect("shows cause and request on a page, escaped, without secrets [W32]", () =>
      Effect.gen(function*() {
        const failing = Effect.die(new Error("<script>alert(1)</script>"))
        const { answer, lines } = yield* develop(failing, { target: "/a?b=<c>&X-Amz-Signature=t0k", headers })
        assert.strictEqual(answer.status, 500)
        assert.strictEqual(answer.header("content-type"), "text/html; charset=utf-8")
        assert.include(answer.header("content-security-policy"), "default-src 'none'")
        assert.include(answer.text, "Error: &lt;script&gt;alert(1)&lt;/script&gt;")
        assert.include(answer.text, "Failures.test.ts")
        assert.include(answer.text, "/a?b=&lt;c&gt;")
        assert.include(answer.text, "<td>&lt;i&gt;</td>")
        for (const secret of ["c2VjcmV0", "cHJveHk=", "s3<", "t0k", "<script>", "<c>"]) {
          assert.notInclude(answer.text, secret)
        }
        assert.strictEqual(lines.length, 1)
      }))

    it.effect("adds the lines of the stack to the problem [W32]", () =>
      Effect.gen(function*() {
        const { answer } = yield* develop(Effect.die(new Error("boom")), {})
        const { stack, ...rest } = answer.json as { readonly stack: ReadonlyArray<string> }
        assert.deepStrictEqual(rest, blank500)
        assert.strictEqual(stack[0], "Error: boom")
        assert.isAbove(stack.length, 1)
      }))

    it.effect("shows nothing more of what a client did", () =>
      Effect.gen(function*() {
        const { answer } = yield* develop(Effect.fail(new Problem({ status: 404 })), { headers })
        assert.notInclude(answer.text, "<pre>")
      }))
  })

  describe("pages", () => {
    const branded = (name: string): Failures.Page => ({ problem }) =>
      Effect.succeed(HttpServerResponse.html(`${name}: ${problem.status} ${problem.title}`))
    const fails = (status: number) => Handler.make(Effect.fail(new Problem({ status })))

    it.effect("are for the statuses they name, and default for the others [W32]", () =>
      Effect.gen(function*() {
        const table = Failures.pages({ 404: branded("missing"), default: branded("other") })
        const texts = yield* Effect.forEach([404, 410], (status) => Fake.request(table(fails(status)), asPage))
        assert.deepStrictEqual(texts.map(({ status, text }) => [status, text]), [
          [404, "missing: 404 Not Found"],
          [410, "other: 410 Gone"]
        ])
        assert.strictEqual(texts[0]?.header("vary"), "accept")
      }))

    it.effect("leave programs their JSON", () =>
      Effect.gen(function*() {
        const { json } = yield* Fake.request(Failures.pages({ default: branded("x") })(fails(404)))
        assert.deepInclude(json, { title: "Not Found" })
      }))

    it.effect("nest: the innermost that knows the status decides", () =>
      Effect.gen(function*() {
        const outer = Failures.pages({
          404: branded("outer"),
          410: branded("outer"),
          default: branded("outer default")
        })
        const textOf = (inner: Failures.Pages, status: number) =>
          Effect.map(
            Fake.request(outer(Failures.pages(inner)(fails(status))), asPage),
            ({ text }) => text.split(":")[0]
          )
        const one = { 404: branded("inner") }
        assert.deepStrictEqual(
          yield* Effect.forEach([404, 410, 400], (status) => textOf(one, status)),
          ["inner", "outer", "outer default"]
        )
        assert.strictEqual(yield* textOf({ default: branded("inner default") }, 404), "inner default")
      }))

    it.effect("may choose another status, such as a redirect", () =>
      Effect.gen(function*() {
        const login = Failures.pages({ 401: () => Effect.succeed(HttpServerResponse.redirect("/login")) })
        const answer = yield* Fake.request(login(fails(401)), asPage)
        assert.deepStrictEqual([answer.status, answer.header("location")], [302, "/login"])
      }))

    it.effect("that fail are logged, and the page of the house is sent", () =>
      Effect.gen(function*() {
        const { layer, lines } = Logs.capture()
        const broken = Failures.pages({ default: () => Effect.die(new Error("template")) })
        const answer = yield* Effect.provide(Fake.request(broken(fails(404)), asPage), layer)
        assert.include(answer.text, "<h1>404 Not Found</h1>")
        assert.deepStrictEqual(lines.map(({ message }) => message), ["GET / has no page for its 404"])
        assert.include(lines[0]?.cause, "template")
      }))

    it.effect("give way to the developer's page in Development", () =>
      Effect.gen(function*() {
        const { layer } = Logs.capture()
        const app = Failures.pages({ default: branded("x") })(Handler.make(Effect.die("bug")))
        const context = Context.make(Development, true)
        const answer = yield* Fake.request(app, asPage).pipe(Effect.provide(layer), Effect.provideContext(context))
        assert.include(answer.text, "<pre>")
      }))
  })

  describe("InvalidRequest", () => {
    const Order = Schema.Struct({
      items: Schema.Array(Schema.Struct({ price: Schema.Int, "a/b~": Schema.optionalKey(Schema.String) }))
    })
    const decode = (schema: Schema.Codec<unknown, unknown>, value: unknown) =>
      Effect.flip(Schema.decodeUnknownEffect(schema)(value, { errors: "all", reportInput: true }))

    it.effect("answers with the fields that do not fit", () =>
      Effect.gen(function*() {
        const error = yield* decode(Order, { items: [{ price: "hunter2" }, {}, { price: 1, "a/b~": 2 }] })
        const { answer, lines } = yield* outcomeOf(
          Effect.fail(Failures.InvalidRequest.fromSchemaError("body", 422, error))
        )
        assert.deepStrictEqual(answer.json, {
          type: "about:blank",
          title: "Unprocessable Content",
          status: 422,
          detail: "The body of the request is not valid",
          errors: [
            { in: "body", path: "items/0/price", message: "Expected number" },
            { in: "body", path: "items/1/price", message: "Missing key" },
            { in: "body", path: "items/2/a~1b~0", message: "Expected string" }
          ]
        })
        assert.strictEqual(lines.length, 0)
      }))

    it.effect("keeps values of headers and cookies out of every message", () =>
      Effect.gen(function*() {
        const Checked = Schema.String.check(Schema.makeFilter((value) => `${value} is wrong`))
        const Named = Schema.String.check(Schema.isMinLength(99, { message: "too short" }))
        const schema = Schema.Struct({
          checked: Checked,
          named: Named,
          number: Schema.NumberFromString.check(Schema.isInt()),
          literal: Schema.Literals(["a", "b"]),
          json: Schema.fromJsonString(Schema.Number)
        })
        const value = "hunter2"
        const input = { checked: value, named: value, number: value, literal: value, json: value }
        const error = yield* decode(schema, input)
        for (const part of ["headers", "cookies"] as const) {
          const { issues, message } = Failures.InvalidRequest.fromSchemaError(part, 400, error)
          assert.lengthOf(issues, 5)
          assert.notInclude(JSON.stringify(issues), value)
          assert.strictEqual(message, `The ${part} of the request are not valid`)
          assert.deepInclude(issues, { path: "named", message: "too short" })
        }
        const { issues } = Failures.InvalidRequest.fromSchemaError("query", 400, error)
        assert.deepInclude(issues, { path: "checked", message: `${value} is wrong` })
        assert.deepInclude(issues, { path: "literal", message: `Expected "a" | "b"` })
      }))

    it.effect("keeps them out as well where nobody says which part did not fit", () =>
      Effect.gen(function*() {
        const sid = Schema.String.check(Schema.makeFilter((value) => `${value} is no session`))
        const handler = Effect.andThen(HttpServerRequest.schemaCookies(Schema.Struct({ sid })), Effect.never)
        const { answer } = yield* outcomeOf(handler, { headers: { cookie: "sid=hunter2" } })
        assert.strictEqual(answer.status, 422)
        assert.deepInclude(answer.json, { errors: [{ path: "sid", message: "Expected <filter>" }] })
      }))

    it.effect("lists at most 100 issues", () =>
      Effect.gen(function*() {
        const error = yield* decode(Schema.Array(Schema.Number), Array.from({ length: 1000 }, () => "x"))
        assert.lengthOf(Failures.InvalidRequest.fromSchemaError("body", 422, error).issues, 100)
      }))

    it("answers by itself where no wall of ours stands, and is not reported", () => {
      const error = new Failures.InvalidRequest({ status: 400, part: "query", issues: [] })
      const response = Effect.runSync(error[HttpServerRespondable.symbol]())
      assert.deepStrictEqual([response.status, response.headers["content-type"]], [400, "application/problem+json"])
      assert.isTrue(ErrorReporter.isIgnored(error))
      assert.notInclude(error.stack ?? "", "Failures.test")
    })

    it.effect("says with 415 that the media type is not accepted", () =>
      Effect.gen(function*() {
        const error = new Failures.InvalidRequest({ status: 415, part: "body", issues: [] })
        const { answer } = yield* outcomeOf(Effect.fail(error))
        assert.deepInclude(answer.json, { title: "Unsupported Media Type", errors: [] })
        assert.strictEqual(error.message, "The media type of the body is not accepted")
      }))
  })
})
