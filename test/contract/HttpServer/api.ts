/** HttpApi with its derived client: every kind of input and output, typed errors, security, streams and documentation. */
import { assert, describe } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiClient from "effect/http-api/HttpApiClient"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiError from "effect/http-api/HttpApiError"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiScalar from "effect/http-api/HttpApiScalar"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as HttpApiSecurity from "effect/http-api/HttpApiSecurity"
import * as HttpApiSwagger from "effect/http-api/HttpApiSwagger"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Multipart from "effect/http/Multipart"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { answersIn } from "../../utils/answers.ts"
import { ask, closing, connect, type HttpServerKind, serveRoutes, testOf } from "../../utils/httpServers.ts"

class User extends Schema.Class<User>("User")({ id: Schema.Finite, name: Schema.String, born: Schema.Date }) {}
class Missing extends Schema.TaggedError<Missing>()("Missing", { id: Schema.Finite }, { httpApiStatus: 404 }) {}
class Denied extends Schema.TaggedError<Denied>()("Denied", { why: Schema.String }, { httpApiStatus: 401 }) {}

class Who extends Context.Service<Who, string>()("Who") {}

class Security extends HttpApiMiddleware.Service<Security, { provides: Who }>()("Security", {
  error: Denied,
  security: {
    bearer: HttpApiSecurity.bearer,
    key: HttpApiSecurity.apiKey({ in: "header", key: "X-Key" }),
    cookie: HttpApiSecurity.apiKey({ in: "cookie", key: "token" })
  }
}) {}

const users = HttpApiGroup.make("users").add(
  HttpApiEndpoint.get("find", "/users/:id", {
    params: { id: Schema.Finite },
    query: { fields: Schema.optional(Schema.Array(Schema.String)) },
    headers: { "x-trace": Schema.optional(Schema.String) },
    success: User,
    error: Missing
  }),
  HttpApiEndpoint.post("create", "/users", {
    payload: Schema.Struct({ name: Schema.NonEmptyString, born: Schema.Date }),
    success: User.pipe(HttpApiSchema.status(201)),
    error: HttpApiError.Conflict
  }),
  HttpApiEndpoint.delete("remove", "/users/:id", { params: { id: Schema.Finite } }),
  HttpApiEndpoint.post("form", "/form", {
    payload: Schema.Struct({ a: Schema.String, n: Schema.FiniteFromString }).pipe(HttpApiSchema.asFormUrlEncoded()),
    success: Schema.Finite
  }),
  HttpApiEndpoint.put("text", "/text", {
    payload: Schema.String.pipe(HttpApiSchema.asText()),
    success: Schema.String.pipe(HttpApiSchema.asText({ contentType: "text/csv" }))
  }),
  HttpApiEndpoint.post("bytes", "/bytes", {
    payload: Schema.Uint8Array.pipe(HttpApiSchema.asUint8Array()),
    success: Schema.Uint8Array.pipe(HttpApiSchema.asUint8Array())
  }),
  HttpApiEndpoint.post("upload", "/upload", {
    payload: Schema.Struct({ file: Multipart.SingleFileSchema, note: Schema.String }).pipe(HttpApiSchema.asMultipart()),
    success: Schema.Struct({ name: Schema.String, note: Schema.String, content: Schema.String })
  }),
  HttpApiEndpoint.get("fails", "/fails"),
  HttpApiEndpoint.get("raw", "/raw", { success: Schema.String })
)

const streams = HttpApiGroup.make("streams").add(
  HttpApiEndpoint.get("sse", "/sse", {
    success: HttpApiSchema.StreamSse({ data: Schema.Struct({ n: Schema.Finite }) })
  }),
  HttpApiEndpoint.get("lines", "/lines", {
    success: HttpApiSchema.StreamNdjson({ schema: Schema.Struct({ at: Schema.Date }) })
  }),
  HttpApiEndpoint.get("bytes", "/stream", { success: HttpApiSchema.StreamUint8Array() }),
  HttpApiEndpoint.post("count", "/count", { payload: HttpApiSchema.StreamUint8Array(), success: Schema.Finite })
)

const upgrades = HttpApiGroup.make("upgrades").add(
  HttpApiEndpoint.get("own", "/own", {
    success: HttpApiSchema.Upgrade({ protocol: "own/1", headers: { "x-own": Schema.String } })
  })
)

const guarded = HttpApiGroup.make("guarded").add(
  HttpApiEndpoint.get("who", "/who", { success: Schema.String })
).middleware(Security)

const Api = HttpApi.make("api").add(users).add(streams).add(upgrades).add(guarded)

const usersLayer = HttpApiBuilder.group(Api, "users", (handlers) =>
  handlers
    .handle("find", ({ headers, params, query }) =>
      params.id === 0
        ? Effect.fail(new Missing({ id: params.id }))
        : Effect.succeed(
          new User({ id: params.id, name: [headers["x-trace"], ...query.fields ?? []].join(), born: new Date(0) })
        ))
    .handle("create", ({ payload }) =>
      payload.name === "taken"
        ? Effect.fail(new HttpApiError.Conflict())
        : Effect.succeed(new User({ id: 1, ...payload })))
    .handle("remove", () => Effect.void)
    .handle("form", ({ payload }) => Effect.succeed(payload.a.length + payload.n))
    .handle("text", ({ payload }) => Effect.succeed(payload.toUpperCase()))
    .handle("bytes", ({ payload }) => Effect.succeed(payload.toReversed()))
    .handle("upload", ({ payload }) =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const content = yield* Effect.orDie(fs.readFileString(payload.file.path))
        return { name: payload.file.name, note: payload.note, content }
      }))
    .handle("fails", () => Effect.die("secret"))
    .handleRaw("raw", ({ request }) => Effect.succeed(HttpServerResponse.jsonUnsafe(request.url))))

const streamsLayer = HttpApiBuilder.group(Api, "streams", (handlers) =>
  handlers
    .handle("sse", () => Effect.succeed(Stream.make({ n: 1 }, { n: 2 })))
    .handle("lines", () => Effect.succeed(Stream.make({ at: new Date(0) }, { at: new Date(1) })))
    .handle("bytes", () => Effect.succeed(Stream.make(Uint8Array.of(1, 2), Uint8Array.of(3))))
    .handle(
      "count",
      ({ payload }) => Effect.orDie(Stream.runFold(payload, () => 0, (sum, bytes) => sum + bytes.length))
    ))

const upgradesLayer = HttpApiBuilder.group(
  Api,
  "upgrades",
  (handlers) =>
    handlers.handle("own", ({ upgrade }) =>
      Effect.scoped(Effect.gen(function*() {
        const socket = yield* upgrade({ headers: { "x-own": "1" } })
        const { pull } = yield* socket.reader
        const { writeAll } = yield* socket.writer
        yield* writeAll(yield* pull)
      })).pipe(Effect.orDie))
)

const guardedLayer = HttpApiBuilder.group(Api, "guarded", (handlers) => handlers.handle("who", () => Who))

const allow = (scheme: string) =>
<A, E, R>(
  effect: Effect.Effect<A, E, R>,
  { credential }: { readonly credential: Redacted.Redacted }
): Effect.Effect<A, E | Denied, Exclude<R, Who>> =>
  Redacted.value(credential) === "secret"
    ? Effect.provideService(effect, Who, scheme)
    : Effect.fail(new Denied({ why: scheme }))

const security = Layer.succeed(Security)(
  Security.of({ bearer: allow("bearer"), key: allow("key"), cookie: allow("cookie") })
)

const served = serveRoutes(Layer.mergeAll(
  HttpApiBuilder.layer(Api, { openapiPath: "/openapi.json" }).pipe(
    Layer.provide([usersLayer, streamsLayer, upgradesLayer, guardedLayer]),
    Layer.provide(security)
  ),
  HttpApiScalar.layer(Api, { path: "/scalar" }),
  HttpApiSwagger.layer(Api, { path: "/swagger" })
))

const client = HttpApiClient.make(Api)

export const api = (kind: HttpServerKind): void => {
  const test = testOf(kind)

  describe("HttpApi", () => {
    test("takes parameters, queries, headers and payloads and gives values, round and round", () =>
      Effect.gen(function*() {
        yield* served
        const { users } = yield* client
        const found = yield* users.find({
          params: { id: 7 },
          query: { fields: ["a", "b"] },
          headers: { "x-trace": "t" }
        })
        assert.deepStrictEqual(found, new User({ id: 7, name: "t,a,b", born: new Date(0) }))
        const created = yield* users.create({ payload: { name: "grüße", born: new Date(5) } })
        assert.deepStrictEqual(created, new User({ id: 1, name: "grüße", born: new Date(5) }))
        assert.isUndefined(yield* users.remove({ params: { id: 1 } }))
        assert.strictEqual(yield* users.form({ payload: { a: "ä&b", n: 4 } }), 7)
        assert.strictEqual(yield* users.text({ payload: "a,b" }), "A,B")
        assert.deepStrictEqual(Array.from(yield* users.bytes({ payload: Uint8Array.of(1, 2, 255) })), [255, 2, 1])
        assert.strictEqual(yield* users.raw(), "/raw")
      }))

    test("has its statuses and types on the wire", () =>
      Effect.gen(function*() {
        yield* served
        const created = answersIn(
          yield* ask(
            closing("POST /users", ["content-type: application/json", "content-length: 43"]) +
              "{\"name\":\"x\",\"born\":\"1970-01-01T00:00:00Z\"}\n"
          )
        )[0]!
        assert.deepStrictEqual([created.status, created.header("content-type")], [201, "application/json"])
        const removed = answersIn(yield* ask(closing("DELETE /users/1")))[0]!
        assert.deepStrictEqual([removed.status, removed.body], [204, ""])
        const text = answersIn(
          yield* ask(closing("PUT /text", ["content-type: text/plain", "content-length: 1"]) + "a")
        )[0]!
        assert.deepStrictEqual([text.header("content-type"), text.body], ["text/csv", "A"])
      }))

    test("takes uploads", () =>
      Effect.gen(function*() {
        yield* served
        const { users } = yield* client
        const payload = new FormData()
        payload.append("file", new Blob(["content"]), "a.txt")
        payload.append("note", "n")
        assert.deepStrictEqual(yield* users.upload({ payload }), { name: "a.txt", note: "n", content: "content" })
      }))

    test("gives errors with their types", () =>
      Effect.gen(function*() {
        yield* served
        const { users } = yield* client
        const missing = yield* Effect.flip(users.find({ params: { id: 0 }, query: {}, headers: {} }))
        assert.deepStrictEqual(missing, new Missing({ id: 0 }))
        const conflict = yield* Effect.flip(users.create({ payload: { name: "taken", born: new Date(0) } }))
        assert.strictEqual(conflict._tag, "Conflict")
      }))

    test("answers 400 for what does not decode, 415 for what it does not take, 404 and 500 without a word", () =>
      Effect.gen(function*() {
        yield* served
        const statusOf = (request: HttpClientRequest.HttpClientRequest) =>
          Effect.map(HttpClient.execute(request), ({ status }) => status)
        const json = (body: unknown) => HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post("/users"), body)
        assert.strictEqual(yield* statusOf(HttpClientRequest.get("/users/seven")), 400)
        assert.strictEqual(yield* statusOf(json({ name: "", born: "1970-01-01T00:00:00Z" })), 400)
        assert.strictEqual(yield* statusOf(json(null)), 400)
        const broken = closing("POST /users", ["content-type: application/json", "content-length: 1"]) + "{"
        assert.strictEqual(answersIn(yield* ask(broken))[0]!.status, 400)
        const xml = HttpClientRequest.bodyText(HttpClientRequest.post("/users"), "<a/>", "application/xml")
        assert.strictEqual(yield* statusOf(xml), 415)
        assert.strictEqual(yield* statusOf(HttpClientRequest.get("/nothing")), 404)
        const failed = yield* HttpClient.get("/fails")
        assert.deepStrictEqual([failed.status, yield* failed.text], [500, ""])
      }))

    test("asks for a bearer token, a key or a cookie", () =>
      Effect.gen(function*() {
        yield* served
        const asked = (headers: Record<string, string>) =>
          Effect.flatMap(HttpClient.get("/who", { headers }), (response) =>
            Effect.map(response.json, (body) => [response.status, body] as const))
        assert.deepStrictEqual(yield* asked({ authorization: "Bearer secret" }), [200, "bearer"])
        assert.deepStrictEqual(yield* asked({ "x-key": "secret" }), [200, "key"])
        assert.deepStrictEqual(yield* asked({ cookie: "token=secret" }), [200, "cookie"])
        for (const headers of [{}, { authorization: "Bearer wrong" }, { authorization: "secret" }]) {
          const [status, body] = yield* asked(headers)
          assert.strictEqual(status, 401)
          assert.strictEqual((yield* Schema.decodeUnknownEffect(Denied)(body))._tag, "Denied")
        }
      }))

    test("documents itself: OpenAPI, Scalar and Swagger", () =>
      Effect.gen(function*() {
        yield* served
        const spec = (yield* (yield* HttpClient.get("/openapi.json")).json) as {
          readonly paths: Record<string, unknown>
        }
        assert.includeMembers(Object.keys(spec.paths), ["/users/{id}", "/upload", "/sse", "/who"])
        for (const path of ["/scalar", "/swagger"]) {
          const page = yield* HttpClient.get(path)
          assert.match(page.headers["content-type"]!, /^text\/html/)
          assert.include(yield* page.text, "<!")
        }
      }))
  })

  describe("HttpApi upgrades", () => {
    test("give the raw connection, and 426 to who does not ask for one", () =>
      Effect.gen(function*() {
        yield* served
        const client = yield* connect
        yield* client.send(`${closing("GET /own", ["upgrade: own/1"]).replace("close", "upgrade")}echo`)
        const answer = yield* client.until(/echo$/)
        assert.match(answer, /^HTTP\/1\.1 101 /)
        assert.match(answer, /\r\nx-own: 1\r\n/i)
        const plain = yield* connect
        yield* plain.send(closing("GET /own"))
        const refused = answersIn(yield* plain.until(/\r\n\r\n/))[0]!
        assert.deepStrictEqual([refused.status, refused.header("upgrade")], [426, "own/1"])
      }))
  })

  describe("HttpApi streams", () => {
    test("send events, lines and bytes", () =>
      Effect.gen(function*() {
        yield* served
        const { streams } = yield* client
        const collect = <A, E>(stream: Stream.Stream<A, E>) => Stream.runCollect(stream)
        assert.deepStrictEqual(yield* collect(yield* streams.sse()), [{ n: 1 }, { n: 2 }])
        assert.deepStrictEqual(yield* collect(yield* streams.lines()), [{ at: new Date(0) }, { at: new Date(1) }])
        const bytes = yield* collect(yield* streams.bytes())
        assert.deepStrictEqual(bytes.flatMap((part) => Array.from(part)), [1, 2, 3])
      }))

    test("are taken as payloads", () =>
      Effect.gen(function*() {
        yield* served
        const { streams } = yield* client
        const parts = Stream.map(Stream.range(1, 50), () => new Uint8Array(10_000))
        assert.strictEqual(yield* streams.count({ payload: parts }), 500_000)
      }))
  })
}
