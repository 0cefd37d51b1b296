import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as http from "node:http"
import type { AddressInfo } from "node:net"
import * as Telemetry from "../../../layers/internal/Telemetry.ts"
import * as App from "../../../src/app/App.ts"
import { serve } from "../../utils/serve.ts"

interface Sent {
  readonly path: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: any
}

/** A collector that keeps what it is sent. */
const collector = Effect.acquireRelease(
  Effect.callback<{ readonly url: string; readonly sent: Array<Sent>; readonly server: http.Server }>((resume) => {
    const sent: Array<Sent> = []
    const server = http.createServer((request, response) => {
      let text = ""
      request.setEncoding("utf8").on("data", (piece: string) => text += piece)
      request.on("end", () => {
        sent.push({ path: request.url!, headers: request.headers, body: JSON.parse(text) })
        response.end("{}")
      })
    })
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      resume(Effect.succeed({ url: `http://127.0.0.1:${port}`, sent, server }))
    })
  }),
  ({ server }) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

/** A request answered, a line logged, and all of it sent because the program ends. */
const busy = Effect.scoped(Effect.gen(function*() {
  const app = App.http(({ send }) =>
    Effect.andThen(Effect.withSpan(Effect.logInfo("In the midst of it"), "inside"), App.respond(send, 200, "hello"))
  )
  const { connect } = yield* serve(app)
  const client = yield* connect()
  yield* client.send(`GET /a HTTP/1.1\r\nHost: a\r\ntraceparent: ${traceparent}\r\nConnection: close\r\n\r\n`)
  yield* client.readAll
}))

const attributesOf = (list: ReadonlyArray<{ readonly key: string; readonly value: any }>) =>
  Object.fromEntries(list.map(({ key, value }) => [key, Object.values(value)[0]]))

const run = (options: Partial<Telemetry.Options> & { readonly url: string }) =>
  Effect.provide(
    busy,
    Layer.fresh(Telemetry.layer({ version: "1.2.3", mode: "production", worker: undefined, env: {}, ...options }))
  ).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))

describe("Telemetry", () => {
  it.live("sends spans that continue the client's trace, metrics and logs [C171] [W143]", () =>
    Effect.gen(function*() {
      const { sent, url } = yield* collector
      yield* run({ url, worker: 2 })
      const body = (path: string) => sent.find((one) => one.path === path)?.body
      const [{ resource, scopeSpans }] = body("/v1/traces").resourceSpans
      const spans: ReadonlyArray<any> = scopeSpans.flatMap((scope: any) => scope.spans)
      const [server, inside] = ["http.server GET", "inside"].map((name) => spans.find((span) => span.name === name))
      assert.strictEqual(server.traceId, "4bf92f3577b34da6a3ce929d0e0e4736")
      assert.strictEqual(server.parentSpanId, "00f067aa0ba902b7")
      assert.strictEqual(inside.parentSpanId, server.spanId)
      assert.strictEqual(attributesOf(server.attributes)["http.response.status_code"], 200)
      const attributes = attributesOf(resource.attributes)
      assert.strictEqual(attributes["service.name"], "slipway")
      assert.strictEqual(attributes["service.version"], "1.2.3")
      assert.strictEqual(attributes["slipway.worker"], 2)
      assert.include(JSON.stringify(body("/v1/metrics")), "http_server_requests_total")
      const logs = JSON.stringify(body("/v1/logs"))
      assert.include(logs, "In the midst of it")
      assert.include(logs, "4bf92f3577b34da6a3ce929d0e0e4736")
    }))

  it.live("is told more by the variables of OpenTelemetry, but not where to", () =>
    Effect.gen(function*() {
      const { sent, url } = yield* collector
      const env = {
        OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1",
        OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20secret",
        OTEL_SERVICE_NAME: "shop",
        OTEL_RESOURCE_ATTRIBUTES: "region=north",
        OTEL_METRICS_EXPORTER: "none"
      }
      yield* run({ url, env })
      assert.notInclude(sent.map(({ path }) => path), "/v1/metrics")
      const traces = sent.find(({ path }) => path === "/v1/traces")!
      assert.strictEqual(traces.headers.authorization, "Bearer secret")
      const attributes = attributesOf(traces.body.resourceSpans[0].resource.attributes)
      assert.strictEqual(attributes["service.name"], "shop")
      assert.strictEqual(attributes["region"], "north")
    }))

  it.live("does not keep a program from ending whose collector is away", () =>
    Effect.gen(function*() {
      const { server, url } = yield* Effect.scoped(collector)
      assert.isFalse(server.listening)
      yield* run({ url })
    }))
})
