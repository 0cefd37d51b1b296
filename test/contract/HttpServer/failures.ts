/** What a client sees of a handler that fails, and what reporters and logs see: the cause, and nothing in the answer. */
import { assert, describe } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as ErrorReporter from "effect/ErrorReporter"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import { HttpServerError, InternalError, RequestParseError } from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerRespondable from "effect/http/HttpServerRespondable"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { answersIn } from "../../utils/answers.ts"
import { ask, closing, type HttpServerKind, serveRoutes, testOf } from "../../utils/httpServers.ts"

class Teapot extends Schema.TaggedError<Teapot>()("Teapot", { secret: Schema.String }) {
  [HttpServerRespondable.symbol]() {
    return HttpServerResponse.json({ _tag: "Teapot" }, { status: 418 })
  }
}

class Broken extends Error {
  [HttpServerRespondable.symbol](): Effect.Effect<HttpServerResponse.HttpServerResponse> {
    return Effect.die("the answer to a failure fails")
  }
}

/** Answers whatever the handler ends with, and says status and body. */
const outcome = <E>(
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, HttpServerRequest.HttpServerRequest>
) =>
  Effect.scoped(Effect.gen(function*() {
    yield* HttpServer.serveEffect(handler)
    const response = yield* HttpClient.get("/")
    return [response.status, yield* response.text] as const
  }))

export const failures = (kind: HttpServerKind): void => {
  const test = testOf(kind)

  describe("failures", () => {
    test("that say how to be answered are answered so, typed or as a defect", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route("GET", "/fail", Effect.fail(new Teapot({ secret: "a" }))),
          HttpRouter.route("GET", "/die", Effect.die(new Teapot({ secret: "b" })))
        ]))
        for (const path of ["/fail", "/die"]) {
          const response = yield* HttpClient.get(path)
          assert.deepStrictEqual([response.status, yield* response.json], [418, { _tag: "Teapot" }])
        }
      }))

    test("that are responses are sent as they are, with their cookies", () =>
      Effect.gen(function*() {
        const response = HttpServerResponse.setCookieUnsafe(HttpServerResponse.text("no", { status: 403 }), "a", "b")
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route("GET", "/fail", Effect.fail(response)),
          HttpRouter.route("GET", "/die", Effect.die(response))
        ]))
        for (const path of ["/fail", "/die"]) {
          const [answer] = answersIn(yield* ask(closing(`GET ${path}`)))
          assert.deepStrictEqual([answer!.status, answer!.body], [403, "no"])
          assert.strictEqual(answer!.header("set-cookie"), "a=b")
        }
      }))

    test("of a Schema are an empty 400, as a defect an empty 500", () =>
      Effect.gen(function*() {
        const failing = Effect.as(Schema.decodeUnknownEffect(Schema.Number)("secret"), HttpServerResponse.empty())
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route("GET", "/fail", failing),
          HttpRouter.route("GET", "/die", Effect.orDie(failing))
        ]))
        const statuses = { "/fail": 400, "/die": 500 }
        for (const [path, status] of Object.entries(statuses)) {
          const response = yield* HttpClient.get(path)
          assert.deepStrictEqual([response.status, yield* response.text], [status, ""])
        }
      }))

    test("of a lookup are an empty 404", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* outcome(Effect.fail(new Cause.NoSuchElementError("secret"))), [404, ""])
      }))

    test("of the HTTP layer have its statuses", () =>
      Effect.gen(function*() {
        const fail = (reason: (request: HttpServerRequest.HttpServerRequest) => HttpServerError["reason"]) =>
          HttpServerRequest.HttpServerRequest.use((request) =>
            Effect.fail(new HttpServerError({ reason: reason(request) }))
          )
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route("GET", "/400", fail((request) => new RequestParseError({ request, description: "secret" }))),
          HttpRouter.route(
            "GET",
            "/413",
            fail((request) => new RequestParseError({ request, reason: "BodyTooLarge" }))
          ),
          HttpRouter.route("GET", "/500", fail((request) => new InternalError({ request, description: "secret" })))
        ]))
        for (const status of [400, 413, 500]) {
          const response = yield* HttpClient.get(`/${status}`)
          assert.deepStrictEqual([response.status, yield* response.text], [status, ""])
        }
      }))

    test("of any other kind are an empty 500", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route("GET", "/1", Effect.fail(new Error("secret"))),
          HttpRouter.route("GET", "/2", Effect.die("secret")),
          HttpRouter.route("GET", "/3", Effect.fail(new Broken("secret"))),
          HttpRouter.route("GET", "/4", () => {
            throw new Error("secret")
          }),
          HttpRouter.route("GET", "/5", HttpServerResponse.json(1n))
        ]))
        for (const path of ["/1", "/2", "/3", "/4", "/5"]) {
          const [answer] = answersIn(yield* ask(closing(`GET ${path}`)))
          assert.deepStrictEqual([answer!.status, answer!.body], [500, ""], path)
        }
      }))

    test("by interruption from within are an empty 503", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("GET", "/", Effect.interrupt))
        const response = yield* HttpClient.get("/")
        assert.deepStrictEqual([response.status, yield* response.text], [503, ""])
      }))

    test("of a response that cannot be sent are a 500: its header, its status", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route(
            "GET",
            "/header",
            HttpServerResponse.text("x", { headers: { "x-a": "1\r\nx-injected: 2" } })
          ),
          HttpRouter.route("GET", "/name", HttpServerResponse.text("x", { headers: { "x a": "1" } })),
          HttpRouter.route("GET", "/low", HttpServerResponse.text("x", { status: 99 })),
          HttpRouter.route("GET", "/interim", HttpServerResponse.text("x", { status: 101 })),
          HttpRouter.route("GET", "/high", HttpServerResponse.text("x", { status: 1000 }))
        ]))
        for (const path of ["/header", "/name", "/low", "/interim", "/high"]) {
          const bytes = yield* ask(closing(`GET ${path}`))
          assert.notInclude(bytes, "injected")
          const [answer] = answersIn(bytes)
          assert.strictEqual(answer!.status, 500, path)
        }
      }))

    test("leave the connection usable", () =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route("GET", "/fail", Effect.die("secret")),
          HttpRouter.route("GET", "/", HttpServerResponse.text("fine"))
        ]))
        const answers = answersIn(yield* ask(`GET /fail HTTP/1.1\r\nhost: a\r\n\r\n${closing("GET /")}`))
        assert.deepStrictEqual(answers.map(({ body, status }) => [status, body]), [[500, ""], [200, "fine"]])
      }))

    test("are reported once, unless they belong to the client", () =>
      Effect.gen(function*() {
        const reported: Array<string> = []
        const reporter = ErrorReporter.make(({ error }) => void reported.push(error.message))
        yield* serveRoutes(HttpRouter.addAll([
          HttpRouter.route("GET", "/fail", Effect.fail(new Error("failed"))),
          HttpRouter.route("GET", "/die", Effect.die(new Error("died"))),
          HttpRouter.route("GET", "/own", Effect.fail(HttpServerResponse.empty({ status: 500 }))),
          HttpRouter.route("GET", "/interrupted", Effect.interrupt)
        ])).pipe(Effect.provide(ErrorReporter.layer([reporter])))
        for (const path of ["/fail", "/die", "/own", "/interrupted", "/nothing"]) yield* HttpClient.get(path)
        assert.deepStrictEqual(reported, ["failed", "died"])
      }))

    test("are seen by the middleware around all routes", () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const watch = HttpRouter.middleware(
          (app) =>
            Effect.tapCause(app, (cause) => Effect.sync(() => void seen.push(Cause.pretty(cause).split("\n")[0]!))),
          { global: true }
        )
        yield* serveRoutes(Layer.merge(HttpRouter.add("GET", "/", Effect.fail(new Error("seen"))), watch))
        for (const path of ["/", "/nothing"]) yield* HttpClient.get(path)
        assert.deepStrictEqual(seen, ["Error: seen", "HttpServerError: RouteNotFound (GET /nothing)"])
      }))
  })
}
