import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import { Activity } from "../../../layers/internal/Activity.ts"
import * as ProcessReport from "../../../layers/internal/ProcessReport.ts"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import { type CheckReport, MetricReport, ProcessReport as ReportSchema } from "../../../src/schema/Report.ts"
import { Health } from "../../../src/service/Health.ts"
import { Server } from "../../../src/service/Server.ts"

const registry = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(effect, Metric.MetricRegistry, new Map())

const metrics = Effect.map(Effect.context<never>(), ProcessReport.metricsOf)

const server = Effect.gen(function*() {
  const { network, server } = yield* ServerMemory.make()
  yield* server.serve(App.http(({ send }) => App.respond(send, 200, "hello")))
  return { network, server }
})

describe("ProcessReport", () => {
  it.effect("tells the counters of the server as they are at each look", () =>
    registry(Effect.gen(function*() {
      const { network, server: serving } = yield* server
      const look = yield* Effect.provideService(ProcessReport.make, Server, serving)
      const before = yield* look
      assert.strictEqual(before.pid, process.pid)
      assert.deepStrictEqual(before.server, {
        connections: 0,
        exchanges: 0,
        totalConnections: 0,
        totalExchanges: 0,
        totalRefused: 0,
        totalCut: 0,
        isReady: true,
        isShuttingDown: false
      })
      const client = yield* network.connect()
      yield* client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      const after = yield* look
      assert.deepStrictEqual([after.server.connections, after.server.totalExchanges], [1, 1])
      const answered = after.metrics.find(({ attributes, name }) =>
        name === "http_server_requests_total" && attributes.method === "GET" && attributes.status === "2xx"
      )
      assert.strictEqual(answered?.value, 1)
      assert.deepStrictEqual(yield* Schema.decodeUnknownEffect(ReportSchema)(JSON.parse(JSON.stringify(after))), after)
    })))

  it.effect("tells what its activity and its health checks say, and nothing where there are none", () =>
    registry(Effect.gen(function*() {
      const { server: serving } = yield* server
      const bare = yield* Effect.flatten(Effect.provideService(ProcessReport.make, Server, serving))
      assert.notProperty(bare, "activity")
      assert.notProperty(bare, "health")
      const check: CheckReport = { name: "database", kind: "ready", isCritical: true, status: "ok", durationMillis: 1 }
      const activity = { routes: [{ route: "GET /", count: 1, errors: 0, totalMillis: 2, maxMillis: 2 }], errors: [] }
      const full = yield* Effect.flatten(ProcessReport.make.pipe(
        Effect.provideService(Server, serving),
        Effect.provideContext(
          Context.make(Activity, { report: Effect.succeed(activity), naming: (app) => app }).pipe(
            Context.add(Health, {
              register: () => Effect.void,
              ask: () => Effect.succeed([]),
              report: Effect.succeed([check])
            })
          ) as Context.Context<never>
        )
      ))
      assert.deepStrictEqual([full.activity, full.health], [activity, [check]])
    })))

  describe("of metrics", () => {
    it.effect("tells every kind, with its attributes", () =>
      registry(Effect.gen(function*() {
        yield* Metric.update(
          Metric.counter("c", { description: "a counter", attributes: { color: "red" } }),
          3
        )
        yield* Metric.update(Metric.counter("big", { bigint: true }), 4n)
        yield* Metric.update(Metric.gauge("g"), 1.5)
        yield* Metric.update(Metric.frequency("f"), "__proto__")
        const histogram = Metric.histogram("h", { boundaries: [1, 2] })
        yield* Metric.update(histogram, 1.5)
        yield* Metric.update(histogram, 9)
        const reports = yield* metrics
        assert.deepStrictEqual(reports.find(({ name }) => name === "c"), {
          name: "c",
          type: "Counter",
          description: "a counter",
          attributes: { color: "red" },
          value: 3
        })
        assert.strictEqual(reports.find(({ name }) => name === "big")?.value, 4)
        assert.strictEqual(reports.find(({ name }) => name === "g")?.value, 1.5)
        assert.deepStrictEqual(
          Object.entries(reports.find(({ name }) => name === "f")?.occurrences ?? {}),
          [["__proto__", 1]]
        )
        assert.deepStrictEqual(reports.find(({ name }) => name === "h"), {
          name: "h",
          type: "Histogram",
          attributes: {},
          buckets: [[1, 0], [2, 1]],
          count: 2,
          sum: 10.5,
          min: 1.5,
          max: 9
        })
      })))

    it.effect("leaves out what JSON has no number for", () =>
      registry(Effect.gen(function*() {
        yield* Metric.update(Metric.gauge("nan"), NaN)
        yield* Metric.update(Metric.gauge("infinite"), Infinity)
        yield* Metric.value(Metric.histogram("empty", { boundaries: [1] }))
        const summary = Metric.summary("s", { maxAge: "1 minute", maxSize: 10, quantiles: [0.5] })
        yield* Metric.value(summary)
        const reports = yield* metrics
        const copy: unknown = JSON.parse(JSON.stringify(reports))
        assert.deepStrictEqual(copy, reports)
        assert.deepStrictEqual(yield* Schema.decodeUnknownEffect(Schema.Array(MetricReport))(copy), reports)
        assert.notProperty(reports.find(({ name }) => name === "nan"), "value")
        assert.deepStrictEqual(reports.find(({ name }) => name === "s")?.quantiles, [[0.5, null]])
        assert.notProperty(reports.find(({ name }) => name === "empty"), "min")
      })))
  })
})
