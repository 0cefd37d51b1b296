import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as OtlpExporter from "effect/observability/OtlpExporter"
import * as OtlpMetrics from "effect/observability/OtlpMetrics"
import * as OtlpSerialization from "effect/observability/OtlpSerialization"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as TestClock from "effect/testing/TestClock"
import * as Fs from "node:fs"
import * as TestClient from "../../../layers/TestClient.ts"
import * as App from "../../../src/app/App.ts"
import * as Router from "../../../src/app/Router.ts"
import { capture } from "../../utils/logs.ts"
import { serve } from "../../utils/serve.ts"

const request = (method: string, path = "/") => `${method} ${path} HTTP/1.1\r\nHost: a\r\n\r\n`

const withRegistry = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() =>
    effect.pipe(Effect.provideService(Metric.MetricRegistry, new Map()), Effect.provide(capture().layer))
  )

/** A program that has answered: 2 GET in 20 ms each, one unknown method, and a request that was refused. */
const busy = Effect.gen(function*() {
  const { connect } = yield* serve(
    App.http(({ send }) => Effect.andThen(Effect.sleep("20 millis"), App.respond(send, 200, "hello")))
  )
  const client = yield* connect()
  for (const method of ["GET", "GET", "BREW\"\\"]) {
    yield* client.send(request(method))
    yield* TestClock.adjust("20 millis")
  }
  return { client, other: yield* connect() }
})

interface Family {
  readonly type: string
  readonly help: string
  readonly samples: Map<string, number>
}

const labelValue = String.raw`(?:[^"\\\n]|\\["\\n])*`
const sampleLine = new RegExp(
  String.raw`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_]\w*="${labelValue}"(?:,[a-zA-Z_]\w*="${labelValue}")*\})? (\S+)$`
)

/** Reads the text format 0.0.4, strictly: HELP, TYPE and all samples of a family together, no sample twice. */
const parse = (text: string): ReadonlyMap<string, Family> => {
  assert.strictEqual(text.at(-1), "\n")
  const families = new Map<string, Family>()
  let help: readonly [name: string, text: string] | undefined
  let current: readonly [name: string, family: Family] | undefined
  for (const line of text.slice(0, -1).split("\n")) {
    const [, keyword, name = "", rest = ""] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? []
    if (keyword === "HELP") {
      help = [name, rest]
    } else if (keyword === "TYPE") {
      assert.strictEqual(help?.[0], name, "TYPE follows HELP")
      assert.isFalse(families.has(name), `${name} comes twice`)
      assert.include(["counter", "gauge", "histogram"], rest)
      current = [name, { type: rest, help: help![1], samples: new Map() }]
      families.set(...current)
    } else {
      const [, sample = "", labels = "", value = ""] = sampleLine.exec(line) ?? assert.fail(`no sample: ${line}`)
      const suffixes = current![1].type === "histogram" ? ["_bucket", "_sum", "_count"] : [""]
      assert.include(suffixes.map((suffix) => current![0] + suffix), sample)
      assert.isFalse(current![1].samples.has(sample + labels), `${line} comes twice`)
      assert.isFalse(Number.isNaN(Number(value)), line)
      current![1].samples.set(sample + labels, Number(value))
    }
  }
  return families
}

describe("Effect's exporters", () => {
  it.effect("write the server's numbers for Prometheus, as the guide lists them [W142]", () =>
    withRegistry(Effect.gen(function*() {
      const { client, other } = yield* busy
      yield* other.send("GARBAGE\r\n\r\n")
      const sent = (yield* client.read).length + (yield* other.read).length
      const families = parse(yield* PrometheusMetrics.format())
      assert.strictEqual(families.size, 10)
      for (const { help } of families.values()) assert.isNotEmpty(help)
      const page = Fs.readFileSync(new URL("../../../docs/logging-and-metrics.md", import.meta.url), "utf8")
      const documented = [...page.matchAll(/^\| `(http_server_\w+)` \| (\w+) \|/gm)]
      assert.deepStrictEqual(
        documented.map(([, name, type]) => `${name} ${type}`).sort(),
        [...families].map(([name, { type }]) => `${name} ${type}`).sort()
      )
      const samples = new Map([...families.values()].flatMap(({ samples }) => [...samples]))
      assert.strictEqual(samples.get("http_server_requests_total{method=\"GET\",status=\"2xx\"}"), 2)
      assert.strictEqual(samples.get("http_server_connections_total"), 2)
      assert.strictEqual(samples.get("http_server_active_requests"), 0)
      assert.strictEqual(samples.get("http_server_sent_bytes_total"), sent)
      const refused = [...samples].filter(([name]) => name.startsWith("http_server_refused_requests_total"))
      assert.strictEqual(refused.reduce((sum, [, count]) => sum + count, 0), 2)
    })))

  it.effect("write durations for Prometheus as a histogram: cumulative, with +Inf, sum and count", () =>
    withRegistry(Effect.gen(function*() {
      yield* busy
      const { samples } = parse(yield* PrometheusMetrics.format()).get("http_server_request_duration_milliseconds")!
      const buckets = [...samples].filter(([name]) => name.includes("_bucket"))
      const bounds = buckets.map(([name]) => Number(/le="(.*)"/.exec(name)![1]!.replace("+Inf", "Infinity")))
      assert.deepStrictEqual(bounds, [...bounds].sort((a, b) => a - b))
      assert.strictEqual(bounds.at(-1), Infinity)
      assert.deepStrictEqual(
        buckets.map(([, count]) => count),
        bounds.map((bound) => (bound >= 25 ? 2 : 0))
      )
      assert.strictEqual(samples.get("http_server_request_duration_milliseconds_count"), 2)
      assert.strictEqual(samples.get("http_server_request_duration_milliseconds_sum"), 40)
    })))

  it.effect("write whatever an application labels its own numbers with, on one line", () =>
    withRegistry(Effect.gen(function*() {
      yield* busy
      const hostile = Metric.counter("orders_total", {
        description: "Orders,\nby \\ name",
        attributes: {
          name: "a\"b\\c\nd 1"
        }
      })
      yield* Metric.update(hostile, 1)
      const family = parse(yield* PrometheusMetrics.format()).get("orders_total")!
      assert.strictEqual(family.help, "Orders,\\nby \\\\ name")
      assert.deepStrictEqual([...family.samples], [["orders_total{name=\"a\\\"b\\\\c\\nd 1\"}", 1]])
    })))

  it.effect("are an endpoint in three lines, which counts itself [W142]", () =>
    withRegistry(Effect.gen(function*() {
      const routes = Router.make(
        Router.get("/metrics", () =>
          Effect.map(PrometheusMetrics.format(), (text) =>
            HttpServerResponse.text(text, { contentType: "text/plain; version=0.0.4" })))
      )
      const client = yield* TestClient.make(routes)
      yield* client.get("/metrics")
      const response = yield* client.get("/metrics").pipe(
        TestClient.expectStatus(200),
        TestClient.expectHeader("content-type", "text/plain; version=0.0.4")
      )
      const { samples } = parse(yield* response.text).get("http_server_requests_total")!
      assert.strictEqual(samples.get("http_server_requests_total{method=\"GET\",status=\"2xx\"}"), 1)
    })))

  it.effect("write the server's numbers as OTLP", () =>
    withRegistry(Effect.gen(function*() {
      const bodies: Array<string> = []
      const client = HttpClient.make((request) =>
        Effect.sync(() => {
          if (request.body._tag === "Uint8Array") bodies.push(new TextDecoder().decode(request.body.body))
          return HttpClientResponse.fromWeb(request, new Response())
        })
      )
      const exporter = OtlpMetrics.layer({
        url: "http://collector/v1/metrics",
        resource: { serviceName: "test" },
        exportInterval: "10 seconds"
      }).pipe(
        Layer.provide(OtlpSerialization.layerJson),
        Layer.provide(Layer.succeed(HttpClient.HttpClient, client))
      )
      yield* Effect.gen(function*() {
        yield* busy
        yield* Effect.flatMap(OtlpExporter.Flusher, ({ flush }) => flush)
      }).pipe(Effect.scoped, Effect.provide(exporter))
      const [{ scopeMetrics: [{ metrics }] }] = JSON.parse(bodies[0]!).resourceMetrics
      const named = (name: string) => metrics.find((metric: { readonly name: string }) => metric.name === name)
      const answered = named("http_server_requests_total").sum
      assert.isTrue(answered.isMonotonic)
      assert.include(
        answered.dataPoints.map(({ asDouble, attributes }: {
          readonly asDouble: number
          readonly attributes: ReadonlyArray<{ readonly value: { readonly stringValue: string } }>
        }) => [...attributes.map(({ value }) => value.stringValue), asDouble].join(" ")),
        "GET 2xx 2"
      )
      const [duration] = named("http_server_request_duration_milliseconds").histogram.dataPoints
      assert.deepInclude(duration, { count: 2, sum: 40, min: 20, max: 20 })
      assert.lengthOf(duration.bucketCounts, duration.explicitBounds.length + 1)
      assert.strictEqual(duration.bucketCounts.reduce((sum: number, count: number) => sum + count), 2)
      assert.strictEqual(named("http_server_open_connections").gauge.dataPoints[0].asDouble, 2)
    })))
})
