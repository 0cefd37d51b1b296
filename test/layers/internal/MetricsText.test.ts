import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import { MetricsText } from "../../../layers/internal/MetricsText.ts"
import type { MetricReport, ProcessReport, StatusReport, WorkerReport } from "../../../src/schema/Report.ts"

const runtime: ProcessReport["runtime"] = {
  rssBytes: 50_000_000,
  heapUsedBytes: 10_000_000,
  heapTotalBytes: 20_000_000,
  externalBytes: 1000,
  cpuUserSeconds: 1.5,
  cpuSystemSeconds: 0.5,
  loopLagMeanMillis: 1,
  loopLagP99Millis: 12,
  loopLagMaxMillis: 20,
  loopUtilization: 0.25,
  gcCount: 3,
  gcSeconds: 0.01
}

const server: ProcessReport["server"] = {
  connections: 2,
  exchanges: 1,
  totalConnections: 4,
  totalExchanges: 7,
  totalRefused: 0,
  totalCut: 0,
  isReady: true,
  isShuttingDown: false
}

const requests = (value: number, status = "2xx"): MetricReport => ({
  name: "http_server_requests_total",
  type: "Counter",
  description: "Requests answered",
  attributes: { method: "GET", status },
  value
})

const open = (value: number): MetricReport => ({
  name: "http_server_open_connections",
  type: "Gauge",
  attributes: {},
  value
})

const duration = (counts: readonly [number, number], count: number, sum: number): MetricReport => ({
  name: "http_server_request_duration_milliseconds",
  type: "Histogram",
  attributes: {},
  buckets: [[1, counts[0]], [10, counts[1]]],
  count,
  sum
})

const worker = (number: number, pid: number, ...metrics: ReadonlyArray<MetricReport>): WorkerReport => ({
  number,
  pid,
  state: "serving",
  crashes: 0,
  report: { pid, server, runtime, metrics }
})

const status = (...workers: ReadonlyArray<WorkerReport>): StatusReport => ({
  version: "1.2.3",
  pid: 1,
  application: "app.ts",
  mode: "production",
  addresses: ["http://127.0.0.1:5000"],
  startedAtMillis: 1_700_000_000_000,
  nowMillis: 1_700_000_060_000,
  isReady: true,
  isShuttingDown: false,
  isDrained: false,
  restarts: 0,
  workers
})

const linesOf = (text: string, name: string): ReadonlyArray<string> =>
  text.split("\n").filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))

describe("MetricsText", () => {
  it("sums counters and histograms over the workers, by attributes [C170] [W142]", () => {
    const text = new MetricsText().text(status(
      worker(1, 11, requests(3), requests(1, "5xx"), duration([1, 2], 3, 40)),
      worker(2, 12, requests(4), duration([0, 5], 6, 60.5))
    ))
    assert.deepStrictEqual(linesOf(text, "http_server_requests_total"), [
      `http_server_requests_total{method="GET",status="2xx"} 7`,
      `http_server_requests_total{method="GET",status="5xx"} 1`
    ])
    assert.include(text, "# TYPE http_server_requests_total counter\n")
    assert.include(text, "# HELP http_server_requests_total Requests answered\n")
    const name = "http_server_request_duration_milliseconds"
    assert.deepStrictEqual(linesOf(text, `${name}_bucket`), [
      `${name}_bucket{le="1"} 1`,
      `${name}_bucket{le="10"} 7`,
      `${name}_bucket{le="+Inf"} 9`
    ])
    assert.deepStrictEqual(linesOf(text, `${name}_sum`), [`${name}_sum 100.5`])
    assert.deepStrictEqual(linesOf(text, `${name}_count`), [`${name}_count 9`])
  })

  it("keeps gauges, and how each process fares, by worker [W141]", () => {
    const text = new MetricsText().text(status(worker(1, 11, open(3)), worker(2, 12, open(5))))
    assert.deepStrictEqual(linesOf(text, "http_server_open_connections"), [
      `http_server_open_connections{worker="1"} 3`,
      `http_server_open_connections{worker="2"} 5`
    ])
    assert.deepStrictEqual(linesOf(text, "nodejs_eventloop_lag_p99_seconds"), [
      `nodejs_eventloop_lag_p99_seconds{worker="1"} 0.012`,
      `nodejs_eventloop_lag_p99_seconds{worker="2"} 0.012`
    ])
    assert.deepStrictEqual(linesOf(text, "slipway_workers").slice(1, 2), [`slipway_workers{state="serving"} 2`])
  })

  it("tells what was cut, and how health checks went [W141]", () => {
    const check = (name: string, status: "ok" | "timeout") => ({
      name,
      kind: "ready" as const,
      isCritical: true,
      status,
      durationMillis: 1
    })
    const { report, ...rest } = worker(1, 11)
    const health = [check("database", "ok"), check("disk", "timeout")]
    const text = new MetricsText().text(status({
      ...rest,
      report: { ...report!, health, server: { ...server, totalCut: 3 } }
    }))
    assert.deepStrictEqual(linesOf(text, "slipway_health_check"), [
      `slipway_health_check{worker="1",check="database"} 1`,
      `slipway_health_check{worker="1",check="disk"} 0`
    ])
    assert.deepStrictEqual(linesOf(text, "slipway_cut_exchanges_total"), [`slipway_cut_exchanges_total{worker="1"} 3`])
  })

  it("tells what the guide lists of it, and nothing else [W141] [W142]", () => {
    const { report, ...rest } = worker(1, 11)
    const check = { name: "disk", kind: "ready", isCritical: true, status: "ok", durationMillis: 1 } as const
    const whole = { ...report!, health: [check], runtime: { ...runtime, openFiles: 20 } }
    const text = new MetricsText().text(status({ ...rest, report: whole }))
    const told = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name, type]) => `${name} ${type}`)
    const page = Fs.readFileSync(new URL("../../../docs/logging-and-metrics.md", import.meta.url), "utf8")
    const listed = [...page.matchAll(/^\| `((?:slipway|process|nodejs)_\w+)` \| (\w+) \|/gm)]
    assert.deepStrictEqual(told.sort(), listed.map(([, name, type]) => `${name} ${type}`).sort())
  })

  it("has no label for a worker where there is one process", () => {
    const text = new MetricsText().text(status(worker(0, 11, open(3))))
    assert.deepStrictEqual(linesOf(text, "http_server_open_connections"), ["http_server_open_connections 3"])
    assert.deepStrictEqual(linesOf(text, "process_resident_memory_bytes"), ["process_resident_memory_bytes 50000000"])
  })

  it("goes on counting from where workers were that have been replaced", () => {
    const metrics = new MetricsText()
    const counted = (state: StatusReport) => linesOf(metrics.text(state), "http_server_requests_total").join()
    const name = `http_server_requests_total{method="GET",status="2xx"}`
    assert.strictEqual(counted(status(worker(1, 11, requests(10)), worker(2, 12, requests(5)))), `${name} 15`)
    assert.strictEqual(counted(status(worker(1, 21, requests(1)), worker(2, 12, requests(6)))), `${name} 17`)
    assert.strictEqual(counted(status(worker(1, 21, requests(2)), worker(2, 22, requests(1)))), `${name} 19`)
  })

  it("does not take a worker for gone that does not answer for once", () => {
    const metrics = new MetricsText()
    const name = `http_server_requests_total{method="GET",status="2xx"}`
    const counted = (state: StatusReport) => linesOf(metrics.text(state), "http_server_requests_total").join()
    const { report: _, ...silent } = worker(1, 11)
    assert.strictEqual(counted(status(worker(1, 11, requests(10)))), `${name} 10`)
    assert.strictEqual(counted(status(silent)), `${name} 10`)
    assert.strictEqual(counted(status(worker(1, 11, requests(12)))), `${name} 12`)
  })

  it("counts the crashes of a place, also while a worker leaves it", () => {
    const { report: _, ...leaving } = worker(3, 11)
    const text = new MetricsText().text(status({ ...worker(3, 12), crashes: 2 }, { ...leaving, state: "stopping" }))
    assert.deepStrictEqual(linesOf(text, "slipway_crashes_total"), [`slipway_crashes_total{worker="3"} 2`])
  })

  it("counts what a worker says in the end, once", () => {
    const metrics = new MetricsText()
    const name = `http_server_requests_total{method="GET",status="2xx"}`
    const counted = (state: StatusReport) => linesOf(metrics.text(state), "http_server_requests_total").join()
    assert.strictEqual(counted(status(worker(1, 11, requests(10)))), `${name} 10`)
    metrics.farewell(11, [requests(17), open(2)])
    const { report: _, ...leaving } = worker(1, 11)
    assert.strictEqual(counted(status(worker(1, 12, requests(1)), { ...leaving, state: "stopping" })), `${name} 18`)
    // An answer that was on its way meanwhile.
    assert.strictEqual(counted(status(worker(1, 12, requests(1)), worker(1, 11, requests(16)))), `${name} 18`)
    assert.strictEqual(counted(status(worker(1, 12, requests(2)))), `${name} 19`)
    metrics.farewell(13, [requests(5)])
    assert.strictEqual(counted(status(worker(1, 12, requests(2)))), `${name} 24`)
    // The number of a process comes again some day.
    assert.strictEqual(counted(status(worker(1, 11, requests(3)))), `${name} 27`)
  })

  it("escapes what applications call their metrics", () => {
    const text = new MetricsText().text(status(worker(0, 11, {
      name: "shop.sold items",
      type: "Counter",
      attributes: { "the kind": `a"b\\c\nd` },
      value: 1
    })))
    assert.deepStrictEqual(linesOf(text, "shop_sold_items"), [`shop_sold_items{the_kind="a\\"b\\\\c\\nd"} 1`])
  })

  it("knows frequencies and summaries, with quantiles that nothing has been seen for", () => {
    const text = new MetricsText().text(status(
      worker(1, 11, { name: "fruit", type: "Frequency", attributes: {}, occurrences: { apple: 2, constructor: 1 } }),
      worker(2, 12, { name: "fruit", type: "Frequency", attributes: {}, occurrences: { apple: 1 } }, {
        name: "wait",
        type: "Summary",
        attributes: {},
        quantiles: [[0.5, 12], [0.9, null]],
        count: 4,
        sum: 50
      })
    ))
    assert.deepStrictEqual(linesOf(text, "fruit"), [`fruit{key="apple"} 3`, `fruit{key="constructor"} 1`])
    assert.deepStrictEqual(linesOf(text, "wait_count"), [`wait_count{worker="2"} 4`])
    assert.include(linesOf(text, "wait").join(), `wait{worker="2",quantile="0.5"} 12`)
  })
})
