/** effect/http's own middleware on a real request: spans, log lines, CORS, proxies, compression, search parameters. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as IpNetwork from "effect/net/IpNetwork"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import * as Zlib from "node:zlib"
import { answersIn } from "../../utils/answers.ts"
import { ask, closing, type HttpServerKind, serveRoutes, testOf } from "../../utils/httpServers.ts"
import * as Sockets from "../../utils/sockets.ts"

/** A tracer that keeps its spans. */
const tracing = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  const servers = () => spans.filter(({ kind }) => kind === "server")
  const ended = (count: number) =>
    Sockets.until(() => servers().filter(({ status }) => status._tag === "Ended").length >= count)
  return { servers, ended, layer: Layer.succeed(Tracer.Tracer, tracer) }
}

const noTrace = Effect.provideService(HttpClient.TracerDisabledWhen, () => true)

const get = (path: string, headers: Record<string, string> = {}) => noTrace(HttpClient.get(path, { headers }))

export const middleware = (kind: HttpServerKind): void => {
  const test = testOf(kind)

  describe("tracing", () => {
    test("makes one span for a request, with the attributes of HTTP", () =>
      Effect.gen(function*() {
        const { ended, layer, servers } = tracing()
        yield* Effect.provide(
          serveRoutes(HttpRouter.add(
            "GET",
            "/todos/:id",
            Effect.map(Effect.orDie(Effect.currentSpan), (span) => HttpServerResponse.text(span.name))
          )),
          layer
        )
        const answer = yield* ask(closing("GET /todos/1?q=a", ["user-agent: test"]))
        yield* ended(1)
        assert.include(answer, "\r\n\r\nGET")
        const [span] = servers()
        const attributes = Object.fromEntries(span!.attributes)
        assert.deepStrictEqual(
          [
            span!.name,
            attributes["http.request.method"],
            attributes["http.response.status_code"],
            attributes["http.route"]
          ],
          ["GET", "GET", 200, "/todos/:id"]
        )
        assert.deepStrictEqual(
          [
            attributes["url.path"],
            attributes["url.query"],
            attributes["user_agent.original"],
            attributes["client.address"]
          ],
          ["/todos/1", "q=a", "test", "127.0.0.1"]
        )
        assert.isTrue(span!.status._tag === "Ended" && Exit.isSuccess(span!.status.exit))
        assert.strictEqual(servers().length, 1)
      }))

    test("continues the trace of the client, of both kinds of headers", () =>
      Effect.gen(function*() {
        const { ended, layer, servers } = tracing()
        yield* Effect.provide(serveRoutes(HttpRouter.add("GET", "/", HttpServerResponse.empty())), layer)
        const [trace, parent] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"]
        yield* get("/", { traceparent: `00-${trace}-${parent}-01` })
        yield* get("/", { b3: `${trace}-${parent}-1` })
        yield* get("/", { traceparent: "nonsense" })
        yield* ended(3)
        const parents = servers().map((span) => Option.getOrUndefined(Option.map(span.parent, ({ spanId }) => spanId)))
        assert.deepStrictEqual(parents, [parent, parent, undefined])
        assert.deepStrictEqual(servers().slice(0, 2).map(({ traceId }) => traceId), [trace, trace])
      }))

    test("marks spans of 5xx as failed, of 4xx not", () =>
      Effect.gen(function*() {
        const { ended, layer, servers } = tracing()
        yield* Effect.provide(serveRoutes(HttpRouter.add("GET", "/", Effect.die("failed"))), layer)
        yield* get("/")
        yield* get("/nothing")
        yield* ended(2)
        const seen = servers().map(({ attributes, status }) => [
          attributes.get("http.response.status_code"),
          status._tag === "Ended" && Exit.isFailure(status.exit)
        ])
        assert.deepStrictEqual(seen, [[500, true], [404, false]])
      }))

    test("can be turned off for requests, and named otherwise", () =>
      Effect.gen(function*() {
        const { ended, layer, servers } = tracing()
        const settings = Layer.mergeAll(
          layer,
          HttpMiddleware.layerTracerDisabledForUrls(["/health"]),
          Layer.succeed(HttpMiddleware.SpanNameGenerator)((request) => `${request.method} ${request.url}`)
        )
        yield* Effect.provide(serveRoutes(HttpRouter.add("GET", "/*", HttpServerResponse.empty())), settings)
        yield* get("/health")
        yield* get("/named")
        yield* ended(1)
        assert.deepStrictEqual(servers().map(({ name }) => name), ["GET /named"])
      }))
  })

  describe("the logger", () => {
    const logged = (path: string) => ({ "http.method": "GET", "http.url": path })

    test("writes one line for a request, without its query", (logs) =>
      Effect.gen(function*() {
        yield* serveRoutes(HttpRouter.add("GET", "/a", HttpServerResponse.text("a")), { disableLogger: false })
        yield* get("/a?secret=1")
        yield* get("/nothing")
        yield* Sockets.until(() => logs.length >= 2)
        assert.deepStrictEqual(logs.map(({ annotations }) => annotations), [
          { ...logged("/a"), "http.status": 200 },
          { ...logged("/nothing"), "http.status": 404 }
        ])
        assert.strictEqual(logs[0]!.message, "Sent HTTP response")
      }))

    test("shows the cause of a failure, and is quiet where it is told to be", (logs) =>
      Effect.gen(function*() {
        yield* serveRoutes(
          Layer.mergeAll(
            HttpRouter.add("GET", "/fail", Effect.fail(new Error("told"))),
            Layer.provide(HttpRouter.add("GET", "/quiet", HttpServerResponse.empty()), HttpRouter.disableLogger)
          ),
          { disableLogger: false }
        )
        yield* get("/quiet")
        yield* get("/fail")
        yield* Sockets.until(() => logs.length >= 1)
        assert.deepStrictEqual(logs.map(({ annotations }) => annotations), [{ ...logged("/fail"), "http.status": 500 }])
        assert.include(logs[0]!.cause, "told")
      }))
  })

  describe("CORS", () => {
    test("answers preflights and marks responses and failures", () =>
      Effect.gen(function*() {
        const cors = HttpRouter.cors({
          allowedOrigins: ["https://a.example", "https://b.example"],
          allowedMethods: ["GET", "PUT"],
          exposedHeaders: ["x-seen"],
          maxAge: 60,
          credentials: true
        })
        yield* serveRoutes(Layer.merge(
          HttpRouter.addAll([
            HttpRouter.route("PUT", "/", HttpServerResponse.text("put")),
            HttpRouter.route("GET", "/fail", Effect.die("failed"))
          ]),
          cors
        ))
        const preflight = answersIn(
          yield* ask(closing("OPTIONS /", [
            "origin: https://b.example",
            "access-control-request-method: PUT",
            "access-control-request-headers: x-own"
          ]))
        )[0]!
        assert.strictEqual(preflight.status, 204)
        const shown = (answer: typeof preflight, ...names: ReadonlyArray<string>) =>
          names.map((name) => answer.header(name.includes("-") ? `access-control-${name}` : name))
        assert.deepStrictEqual(
          shown(preflight, "allow-origin", "allow-methods", "allow-headers", "allow-credentials", "max-age"),
          ["https://b.example", "GET, PUT", "x-own", "true", "60"]
        )
        const put = answersIn(yield* ask(closing("PUT /", ["origin: https://a.example"])))[0]!
        assert.deepStrictEqual(shown(put, "allow-origin", "expose-headers", "vary"), [
          "https://a.example",
          "x-seen",
          "Origin"
        ])
        const other = answersIn(yield* ask(closing("PUT /", ["origin: https://c.example"])))[0]!
        assert.deepStrictEqual(shown(other, "allow-origin"), [undefined])
        const failed = answersIn(yield* ask(closing("GET /fail", ["origin: https://a.example"])))[0]!
        assert.deepStrictEqual([failed.status, ...shown(failed, "allow-origin")], [500, "https://a.example"])
      }))
  })

  describe("proxies", () => {
    const serveSeen = (network: string) =>
      HttpServer.serveEffect(
        HttpMiddleware.xForwardedHeaders({ trustedProxies: [IpNetwork.fromStringUnsafe(network)] })(
          HttpServerRequest.HttpServerRequest.use((request) =>
            HttpServerResponse.json({
              remote: Option.getOrNull(request.remoteAddress),
              peer: Option.getOrNull(request.peerAddress),
              url: Option.getOrNull(Option.map(HttpServerRequest.toURL(request), String))
            })
          )
        )
      )
    const headers = {
      "x-forwarded-for": "203.0.113.7",
      "x-forwarded-host": "shop.example",
      "x-forwarded-proto": "https"
    }

    test("are believed when they are trusted", () =>
      Effect.gen(function*() {
        yield* serveSeen("127.0.0.0/8")
        assert.deepStrictEqual(yield* (yield* get("/x?y", headers)).json, {
          remote: "203.0.113.7",
          peer: "127.0.0.1",
          url: "https://shop.example/x?y"
        })
      }))

    test("are ignored when they are not", () =>
      Effect.gen(function*() {
        yield* serveSeen("10.0.0.0/8")
        const seen = (yield* (yield* get("/x", headers)).json) as Record<string, string>
        assert.deepStrictEqual([seen["remote"], seen["peer"]], ["127.0.0.1", "127.0.0.1"])
        assert.match(seen["url"]!, /^http:\/\/127\.0\.0\.1:\d+\/x$/)
      }))
  })

  describe("compression", () => {
    test("compresses what is worth it, with what the client takes", () =>
      Effect.gen(function*() {
        const large = "large ".repeat(1_000)
        yield* serveRoutes(
          HttpRouter.addAll([
            HttpRouter.route("GET", "/text", HttpServerResponse.text(large, { headers: { etag: "\"a\"" } })),
            HttpRouter.route("GET", "/small", HttpServerResponse.text("small")),
            HttpRouter.route("GET", "/image", HttpServerResponse.text(large, { contentType: "image/png" }))
          ]),
          { middleware: HttpMiddleware.compression() }
        )
        const asked = (path: string, encodings: string) =>
          Effect.map(ask(closing(`GET ${path}`, [`accept-encoding: ${encodings}`])), (bytes) => answersIn(bytes)[0]!)
        const gzip = yield* asked("/text", "gzip")
        assert.deepStrictEqual(
          ["content-encoding", "vary", "etag", "content-length"].map((name) => gzip.header(name)).slice(0, 3),
          ["gzip", "Accept-Encoding", "W/\"a\""]
        )
        assert.strictEqual(Zlib.gunzipSync(Buffer.from(gzip.body, "latin1")).toString(), large)
        const brotli = yield* asked("/text", "br, gzip;q=0.5")
        assert.strictEqual(Zlib.brotliDecompressSync(Buffer.from(brotli.body, "latin1")).toString(), large)
        for (const [path, encodings] of [["/text", "identity"], ["/small", "gzip"], ["/image", "gzip"]] as const) {
          assert.strictEqual((yield* asked(path, encodings)).header("content-encoding"), undefined, path)
        }
      }))
  })

  describe("search parameters", () => {
    test("are parsed for handlers without a router", () =>
      Effect.gen(function*() {
        yield* HttpServer.serveEffect(HttpMiddleware.searchParamsParser(
          Effect.flatMap(HttpServerRequest.ParsedSearchParams, (params) => HttpServerResponse.json(params))
        ))
        const response = yield* HttpClient.execute(HttpClientRequest.get("/?a=1&b=2&b=%C3%A4"))
        assert.deepStrictEqual(yield* response.json, { a: "1", b: ["2", "ä"] })
      }))
  })
}
