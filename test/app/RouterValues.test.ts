/** What handlers are given and what becomes of their results: decoding, encoding, controllers. */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as ByteSize from "effect/ByteSize"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { App } from "../../src/app/App.ts"
import * as Router from "../../src/app/Router.ts"
import * as Fake from "../utils/exchange.ts"
import { capture } from "../utils/logs.ts"

const ask = <E, R>(app: App<E, R>, target: string, request: Fake.Request = {}) =>
  Fake.request(app, { ...request, target })

const echo = (value: unknown) => Effect.succeed(JSON.stringify(value))

const post = <E, R>(app: App<E, R>, type: string, body: string, target = "/") =>
  ask(app, target, { method: "POST", body, headers: type === "" ? {} : { "content-type": type } })

/** Status and errors of an answer. */
const problem = ({ json, status }: Fake.Answer) => [status, (json as { readonly errors?: unknown }).errors]

describe("Router", () => {
  describe("input", () => {
    it.effect("decodes path, query, headers and cookies from text [W21]", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.get("/:id/:day", {
            path: { id: Schema.Int, day: Schema.Date },
            query: { page: Schema.Int, tag: Schema.Array(Schema.String), deep: Schema.optionalKey(Schema.Boolean) },
            headers: { "x-count": Schema.Int },
            cookies: { level: Schema.Int }
          }, ({ cookies, headers, path, query }) =>
            echo([path.id, path.day.getTime(), query, headers["x-count"], cookies.level]))
        )
        const answer = yield* ask(app, "/7/2026-01-02T00:00:00.000Z?page=2&tag=a", {
          headers: { "x-count": "3", cookie: "level=4; x=y" }
        })
        assert.deepStrictEqual(JSON.parse(answer.text), [7, Date.UTC(2026, 0, 2), { page: 2, tag: ["a"] }, 3, 4])
      }))

    it.effect("gives texts where there are no Schemas", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.get("/:a", ({ body, cookies, exchange, headers, outer, params, path, query, request }) =>
            echo([
              path,
              params,
              outer,
              query,
              headers["x-a"],
              cookies["c"],
              body ?? null,
              exchange.scope.method,
              request.url
            ]))
        )
        const answer = yield* ask(app, "/1?q=a&q=b&r=%20", { headers: { "x-a": "h", cookie: "c=d" } })
        const a = { a: "1" }
        assert.deepStrictEqual(
          JSON.parse(answer.text),
          [a, a, a, { q: ["a", "b"], r: " " }, "h", "d", null, "GET", "/1?q=a&q=b&r=%20"]
        )
      }))

    it.effect("tells the client everything that is wrong with a part, and never runs the handler", () =>
      Effect.gen(function*() {
        const never = () => Effect.die("ran")
        const app = Router.make(
          Router.get("/q", { query: { page: Schema.Int, size: Schema.Int } }, never),
          Router.get("/h", { headers: { "x-count": Schema.Int } }, never),
          Router.get("/c", { cookies: { level: Schema.Int } }, never),
          Router.get("/p/:id", { path: { id: Schema.Int } }, never)
        )
        const [status, errors] = problem(yield* ask(app, "/q?page=x"))
        assert.strictEqual(status, 400)
        assert.deepStrictEqual(
          (errors as Array<{ in: string; path: string }>).map(({ in: part, path }) => [part, path]),
          [["query", "page"], ["query", "size"]]
        )
        const header = yield* ask(app, "/h", { headers: { "x-count": "secret" } })
        assert.strictEqual(header.status, 400)
        assert.notInclude(header.text, "secret")
        assert.strictEqual((yield* ask(app, "/c", { headers: { cookie: "level=secret" } })).status, 400)
        assert.strictEqual((yield* ask(app, "/p/x")).status, 404)
      }))

    it.effect("reads bodies by their content type", () =>
      Effect.gen(function*() {
        const Item = Schema.Struct({ price: Schema.Int })
        const app = Router.make(
          Router.post("/", {
            body: [Item, Item.pipe(HttpApiSchema.asFormUrlEncoded()), Schema.String.pipe(HttpApiSchema.asText())]
          }, ({ body }) => echo(body)),
          Router.post("/bytes", { body: Schema.Uint8Array.pipe(HttpApiSchema.asUint8Array()) }, ({ body }) =>
            Effect.succeed(`${body.length} bytes`)),
          Router.post("/fields", { body: { a: Schema.Date } }, ({ body }) =>
            Effect.succeed(body.a.toISOString()))
        )
        assert.strictEqual((yield* post(app, "application/json; charset=utf-8", `{"price":1}`)).text, `{"price":1}`)
        assert.strictEqual((yield* post(app, "application/merge-patch+json", `{"price":2}`)).text, `{"price":2}`)
        assert.strictEqual((yield* post(app, "Application/X-WWW-Form-Urlencoded", "price=4")).text, `{"price":4}`)
        assert.strictEqual((yield* post(app, "text/plain", "five")).text, `"five"`)
        assert.strictEqual((yield* post(app, "application/octet-stream", "six", "/bytes")).text, "3 bytes")
        const day = "2026-01-02T00:00:00.000Z"
        assert.strictEqual((yield* post(app, "application/json", `{"a":"${day}"}`, "/fields")).text, day)
      }))

    it.effect("keeps the files of a multipart body while the request lasts, or streams its parts", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.post(
            "/",
            { body: Schema.Unknown.pipe(HttpApiSchema.asMultipartStream()) },
            ({ body }) => Stream.runFold(body, () => "", (all, part) => all + part.key)
          ),
          Router.post(
            "/kept",
            { body: Schema.Struct({ a: Schema.String, b: Schema.String }).pipe(HttpApiSchema.asMultipart()) },
            ({ body }) => echo(body)
          ),
          Router.post(
            "/limited",
            { body: Schema.Struct({}).pipe(HttpApiSchema.asMultipart({ maxParts: 1 })) },
            () => Effect.die("ran")
          )
        )
        const form = ["a", "b"].map((name) => `--x\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n1\r\n`)
          .join("")
        const send = (target: string) => post(app, "multipart/form-data; boundary=x", `${form}--x--\r\n`, target)
        assert.strictEqual((yield* send("/")).text, "ab")
        assert.deepStrictEqual((yield* send("/kept")).json, { a: "1", b: "1" })
        assert.strictEqual((yield* send("/limited")).status, 413)
      }).pipe(Effect.provide(NodeServices.layer)))

    it.effect("refuses bodies with the status that says why", () =>
      Effect.gen(function*() {
        const Order = Schema.Struct({ items: Schema.Array(Schema.Struct({ price: Schema.Int })), note: Schema.String })
        const app = Router.make(Router.post("/", { body: Order }, () => Effect.die("ran")))
        const wrong = yield* post(app, "application/json", `{"items":[{"price":"x"}]}`)
        assert.strictEqual(wrong.status, 422)
        assert.deepStrictEqual(
          (problem(wrong)[1] as Array<{ path: string }>).map(({ path }) => path),
          ["items/0/price", "note"]
        )
        assert.strictEqual((yield* post(app, "application/json", "{")).status, 400)
        assert.strictEqual((yield* post(app, "text/plain", "{}")).status, 415)
        assert.strictEqual((yield* post(app, "", "{}")).status, 415)
        assert.strictEqual((yield* post(app, "application/json", "")).status, 422)
        const limited = Effect.provideService(
          post(app, "application/json", `{"items":[]}`),
          HttpIncomingMessage.MaxBodySize,
          ByteSize.bytes(3)
        )
        assert.strictEqual((yield* limited).status, 413)
      }))

    it("refuses Schemas that cannot be used", () => {
      const body = HttpApiSchema.StreamUint8Array()
      assert.throws(
        () => Router.make(Router.post("/", { body: body as never }, () => echo(""))),
        /read `request.stream`/
      )
      assert.throws(
        () => Router.make(Router.method("PUT", "GET")("/", { body: Schema.Int }, () => echo(""))),
        /PUT,GET \/ is invalid: `body` has a Schema, and GET has no body/
      )
      const success = HttpApiSchema.StreamSse({ data: Schema.String })
      assert.throws(() => Router.make(Router.get("/", { success: success as never }, () => echo(""))), /`Router.sse`/)
    })
  })

  describe("result", () => {
    it.effect("is a response, or becomes one by its kind [C216]", () =>
      Effect.gen(function*() {
        const bytes = new TextEncoder().encode("bytes")
        const results = {
          response: HttpServerResponse.text("made", { status: 202 }),
          text: "text",
          bytes,
          stream: Stream.make(bytes, bytes),
          json: { a: [1, null] },
          number: 1,
          nothing: null
        }
        const app = Router.make(
          ...Object.entries(results).map(([name, result]) => Router.get(`/${name}`, () => Effect.succeed(result)))
        )
        const show = (name: string) =>
          Effect.map(ask(app, `/${name}`), ({ header, status, text }) => [status, header("content-type"), text])
        assert.deepStrictEqual(yield* show("response"), [202, "text/plain", "made"])
        assert.deepStrictEqual(yield* show("text"), [200, "text/plain; charset=utf-8", "text"])
        assert.deepStrictEqual(yield* show("bytes"), [200, "application/octet-stream", "bytes"])
        assert.deepStrictEqual(yield* show("stream"), [200, "application/octet-stream", "bytesbytes"])
        assert.deepStrictEqual(yield* show("json"), [200, "application/json", `{"a":[1,null]}`])
        assert.deepStrictEqual(yield* show("number"), [200, "application/json", "1"])
        assert.deepStrictEqual(yield* show("nothing"), [200, "application/json", "null"])
      }))

    it.effect("that is none is a loud 500 which names the route [C216]", () => {
      const { layer, lines } = capture()
      const cycle: { self?: unknown } = {}
      cycle.self = cycle
      const app = Router.make(
        Router.get("/nothing/:id", () => Effect.void as never),
        Router.get("/cycle", () => Effect.succeed(cycle)),
        Router.get("/effect", () => Effect.succeed(Effect.void)),
        Router.get("/unfit", { success: Schema.Int }, () => Effect.succeed("x" as never))
      )
      return Effect.gen(function*() {
        for (const target of ["/nothing/1", "/cycle", "/effect", "/unfit"]) {
          const answer = yield* ask(app, target)
          assert.strictEqual(answer.status, 500)
          assert.notInclude(answer.text, "handler")
        }
        const log = JSON.stringify(lines)
        assert.include(log, "The handler of GET /nothing/:id has yielded nothing")
        assert.include(log, "The handler of GET /cycle has yielded an object that is not JSON")
        assert.include(log, "The handler of GET /effect has yielded an Effect")
        assert.include(log, "The handler of GET /unfit has yielded what does not fit its `success`")
        assert.strictEqual(lines.length, 4)
      }).pipe(Effect.provide(layer))
    })

    it.effect("is encoded by `success`, with its status and its content type", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.get(
            "/date",
            { success: Schema.Struct({ at: Schema.Date }) },
            () => Effect.succeed({ at: new Date(0) })
          ),
          Router.get("/status", { success: Schema.Int, status: 201 }, () => Effect.succeed(1)),
          Router.get(
            "/own",
            { success: Schema.Int.pipe(HttpApiSchema.status(203)), status: 201 },
            () => Effect.succeed(1)
          ),
          Router.get("/void", { success: Schema.Void }, () => Effect.void),
          Router.get("/accepted", { success: HttpApiSchema.Accepted }, () => Effect.void),
          Router.get(
            "/csv",
            { success: Schema.String.pipe(HttpApiSchema.asText({ contentType: "text/csv" })) },
            () => Effect.succeed("a,b")
          ),
          Router.get(
            "/lines",
            { success: HttpApiSchema.StreamNdjson({ schema: Schema.Date }) },
            () => Effect.succeed(Stream.make(new Date(0), new Date(1)))
          ),
          Router.get(
            "/with",
            { success: HttpApiSchema.WithHeaders(Schema.Int, { "x-total": Schema.Int }) },
            () => Effect.succeed(HttpApiSchema.withHeaders({ body: 1, headers: { "x-total": 2 } }))
          ),
          Router.get(
            "/either",
            { success: [Schema.Int, Schema.String.pipe(HttpApiSchema.status(206))] },
            () => Effect.succeed("two")
          ),
          Router.get(
            "/response",
            { success: Schema.Int },
            () => Effect.succeed(HttpServerResponse.empty({ status: 299 }))
          )
        )
        const show = (name: string) =>
          Effect.map(ask(app, name), ({ header, status, text }) => [status, header("content-type"), text])
        assert.deepStrictEqual(yield* show("/date"), [200, "application/json", `{"at":"1970-01-01T00:00:00.000Z"}`])
        assert.deepStrictEqual(yield* show("/status"), [201, "application/json", "1"])
        assert.deepStrictEqual(yield* show("/own"), [203, "application/json", "1"])
        assert.deepStrictEqual(yield* show("/void"), [204, undefined, ""])
        assert.deepStrictEqual(yield* show("/accepted"), [202, undefined, ""])
        assert.deepStrictEqual(yield* show("/csv"), [200, "text/csv", "a,b"])
        assert.deepStrictEqual(
          yield* show("/lines"),
          [200, "application/x-ndjson", `"1970-01-01T00:00:00.000Z"\n"1970-01-01T00:00:00.001Z"\n`]
        )
        assert.strictEqual((yield* ask(app, "/with")).header("x-total"), "2")
        assert.deepStrictEqual(yield* show("/either"), [206, "application/json", `"two"`])
        assert.deepStrictEqual(yield* show("/response"), [299, undefined, ""])
      }))

    it.effect("may be a stream or a whole value, as text, form or bytes", () =>
      Effect.gen(function*() {
        const bytes = new TextEncoder().encode("bytes")
        const Bytes = Schema.Uint8Array.pipe(HttpApiSchema.asUint8Array({ contentType: "image/png" }))
        const Form = Schema.Struct({ a: Schema.Int }).pipe(HttpApiSchema.asFormUrlEncoded())
        const success = [Schema.Int, HttpApiSchema.StreamUint8Array({ contentType: "text/csv" })] as const
        const app = Router.make(
          Router.get("/bytes", { success: Bytes }, () => Effect.succeed(bytes)),
          Router.get("/form", { success: Form }, () => Effect.succeed({ a: 1 })),
          Router.get("/either/:kind", { success }, ({ path }) =>
            Effect.succeed(path.kind === "stream" ? Stream.make(bytes) : 1)),
          Router.get("/unfit", { success: HttpApiSchema.StreamUint8Array() }, () =>
            Effect.succeed("x" as never))
        )
        const show = (name: string) =>
          Effect.map(ask(app, name), ({ header, status, text }) => [status, header("content-type"), text])
        assert.deepStrictEqual(yield* show("/bytes"), [200, "image/png", "bytes"])
        assert.deepStrictEqual(yield* show("/form"), [200, "application/x-www-form-urlencoded", "a=1"])
        assert.deepStrictEqual(yield* show("/either/stream"), [200, "text/csv", "bytes"])
        assert.deepStrictEqual(yield* show("/either/whole"), [200, "application/json", "1"])
        assert.strictEqual((yield* show("/unfit"))[0], 500)
      }).pipe(Effect.provide(capture().layer)))

    it.effect("may be one of the errors that the route lists; others go the usual way", () => {
      class Gone extends Schema.TaggedError<Gone>()("Gone", { id: Schema.Int }, { httpApiStatus: 410 }) {}
      class Busy extends Schema.TaggedError<Busy>()("Busy", {}) {}
      const { layer, lines } = capture()
      const app = Router.make(
        Router.get(
          "/:id",
          { path: { id: Schema.Int }, errors: [Gone] },
          ({ path }) => path.id === 1 ? Effect.fail(new Gone({ id: 1 })) : Effect.fail(new Busy())
        )
      )
      return Effect.gen(function*() {
        const gone = yield* ask(app, "/1")
        assert.deepStrictEqual([gone.status, gone.json], [410, { _tag: "Gone", id: 1 }])
        assert.strictEqual(lines.length, 0)
        const busy = yield* ask(app, "/2")
        assert.strictEqual(busy.status, 500)
        assert.strictEqual(lines.length, 1)
      }).pipe(Effect.provide(layer))
    })
  })

  describe("call", () => {
    class Controller extends Context.Service<Controller, {
      readonly list: () => Effect.Effect<ReadonlyArray<number>>
      readonly find: (input: { readonly path: { readonly id: number } }) => Effect.Effect<string>
      readonly any: (input: { readonly params: Readonly<Record<string, string>> }) => Effect.Effect<object>
    }>()("test/Controller") {}

    it.effect("resolves controllers from their Layers, in groups, with any method and constraints [C183]", () =>
      Effect.gen(function*() {
        const app = Router.make(
          Router.group(
            "/items",
            Router.get("/", { success: Schema.Array(Schema.Int) }, Router.call(Controller, "list")),
            Router.get(
              "/:id",
              { path: { id: Schema.Int }, constraints: { id: /\d/ } },
              Router.call(Controller, "find")
            ),
            Router.any("/any/:x", Router.call(Controller, "any"))
          )
        )
        let made = 0
        const text = (target: string, method = "GET") =>
          Effect.map(ask(app, target, { method }), ({ status, text }) => status === 200 ? text : status)
        yield* Effect.gen(function*() {
          assert.strictEqual(yield* text("/items"), "[1,2]")
          assert.strictEqual(yield* text("/items/7"), "item 7")
          assert.strictEqual(yield* text("/items/77"), 404)
          assert.strictEqual(yield* text("/items/any/y", "PURGE"), `{"x":"y"}`)
        }).pipe(Effect.provideServiceEffect(
          Controller,
          Effect.sync(() => {
            made++
            return {
              list: () => Effect.succeed([1, 2]),
              find: ({ path }) => Effect.succeed(`item ${path.id}`),
              any: ({ params }) => Effect.succeed(params)
            }
          })
        ))
        assert.strictEqual(made, 1)
      }))
  })
})
