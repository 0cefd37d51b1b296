/**
 * The metrics of all processes as Prometheus reads them. Counters, frequencies and histograms are summed over the workers,
 * gauges and summaries carry the number of theirs. What workers have counted before they were replaced stays counted, so a
 * sum never goes back: all of it for one that says farewell, to the last look at it for one that crashes.
 *
 * The names of the runtime's figures are those of prom-client, which dashboards know.
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import type { MetricReport, ProcessReport, StatusReport, WorkerReport } from "../../src/schema/Report.ts"

/** Makes the text of a state, and remembers what it has seen. One for each server that is asked. */
export class MetricsText {
  /** What processes have counted that are gone, by series. */
  private readonly gone = new Map<string, MetricReport>()
  /** What was counted by the processes that were there at the last look, by their numbers. */
  private seen = new Map<number, ReadonlyArray<MetricReport>>()
  /** Numbers of processes that have said farewell, while they may still be in sight. */
  private readonly leavers = new Set<number>()

  /** Takes what a process has counted in all, which then ends. */
  farewell(pid: number, metrics: ReadonlyArray<MetricReport>): void {
    this.seen.delete(pid)
    this.leavers.add(pid)
    if (this.leavers.size > mostLeavers) this.leavers.delete(this.leavers.values().next().value!)
    for (const metric of metrics) if (isSummed(metric)) addTo(this.gone, metric)
  }

  /** Takes note of what is counted. */
  look(status: StatusReport): void {
    const now = new Map<number, ReadonlyArray<MetricReport>>()
    const alive = new Set<number>()
    for (const { pid, report } of status.workers) {
      if (pid !== undefined) alive.add(pid)
      if (report === undefined || this.leavers.has(report.pid)) continue
      now.set(report.pid, report.metrics.filter(isSummed))
    }
    for (const pid of this.leavers) if (!alive.has(pid)) this.leavers.delete(pid)
    for (const [pid, metrics] of this.seen) {
      if (now.has(pid)) continue
      // One that does not answer for once has not gone.
      if (alive.has(pid)) now.set(pid, metrics)
      else for (const metric of metrics) addTo(this.gone, metric)
    }
    this.seen = now
  }

  /** The text, in the exposition format of Prometheus, version 0.0.4. */
  readonly text = (status: StatusReport): string => {
    this.look(status)
    const sums = new Map(this.gone)
    for (const metrics of this.seen.values()) for (const metric of metrics) addTo(sums, metric)
    const registry = Context.make(Metric.MetricRegistry, new Map())
    for (const metric of [...sums.values(), ...status.workers.flatMap(ofWorker), ...ofServer(status)]) {
      register(registry, metric)
    }
    return PrometheusMetrics.formatUnsafe(registry)
  }
}

/** Of whom it is remembered that nothing of them is to be counted again. */
const mostLeavers = 1000

/** Whether what has been counted stays counted when its process ends. */
const isSummed = ({ type }: MetricReport): boolean => type !== "Gauge" && type !== "Summary"

const keyOf = ({ attributes, name, type }: MetricReport): string =>
  JSON.stringify([name, type, Object.entries(attributes).sort(([a], [b]) => a < b ? -1 : 1)])

const addTo = (sums: Map<string, MetricReport>, metric: MetricReport): void => {
  const key = keyOf(metric)
  const sum = sums.get(key)
  sums.set(key, sum === undefined ? metric : add(sum, metric))
}

const add = (a: MetricReport, b: MetricReport): MetricReport => {
  switch (a.type) {
    case "Frequency": {
      const occurrences = { ...a.occurrences }
      for (const [word, count] of Object.entries(b.occurrences ?? {})) {
        occurrences[word] = (Object.hasOwn(occurrences, word) ? occurrences[word]! : 0) + count
      }
      return { ...a, occurrences }
    }
    case "Histogram":
      return { ...a, buckets: addBuckets(a.buckets ?? [], b.buckets ?? []), ...addSizes(a, b) }
    default:
      return { ...a, value: (a.value ?? 0) + (b.value ?? 0) }
  }
}

type Buckets = NonNullable<MetricReport["buckets"]>

/** Workers that were started with different code may have different bounds: then those of the first are all there is. */
const addBuckets = (a: Buckets, b: Buckets): Buckets => {
  const counts = new Map(b)
  return a.map(([bound, count]) => [bound, count + (counts.get(bound) ?? 0)] as const)
}

const addSizes = (a: MetricReport, b: MetricReport) => ({
  count: (a.count ?? 0) + (b.count ?? 0),
  sum: (a.sum ?? 0) + (b.sum ?? 0)
})

// ---- what is known besides the registries

const gauge = (name: string, description: string, value: number, attributes = {}): MetricReport => ({
  name,
  type: "Gauge",
  description,
  attributes,
  value
})

const counter = (name: string, description: string, value: number, attributes = {}): MetricReport => ({
  ...gauge(name, description, value, attributes),
  type: "Counter"
})

/** Of a server without workers the number says nothing. */
const labelOf = ({ number }: WorkerReport): Record<string, string> => number === 0 ? {} : { worker: String(number) }

const ofWorker = (worker: WorkerReport): ReadonlyArray<MetricReport> => {
  const label = labelOf(worker)
  if (worker.report === undefined) return []
  const own = worker.report.metrics.filter((metric) => !isSummed(metric))
  return [
    ...own.map((metric) => ({ ...metric, attributes: { ...metric.attributes, ...label } })),
    ...ofProcess(worker.report, label)
  ]
}

const ofProcess = (
  { health = [], runtime, server }: ProcessReport,
  label: Record<string, string>
): ReadonlyArray<MetricReport> => [
  counter("slipway_exchanges_total", "Requests, event streams and WebSockets", server.totalExchanges, label),
  gauge("slipway_exchanges", "Exchanges whose application is running now", server.exchanges, label),
  counter("slipway_cut_exchanges_total", "Exchanges that a stop has cut", server.totalCut, label),
  ...health.map(({ name, status }) =>
    gauge("slipway_health_check", "1 while the health check is passed", status === "ok" ? 1 : 0, {
      ...label,
      check: name
    })
  ),
  gauge("process_resident_memory_bytes", "Resident memory", runtime.rssBytes, label),
  gauge("nodejs_heap_size_used_bytes", "Heap in use", runtime.heapUsedBytes, label),
  gauge("nodejs_heap_size_total_bytes", "Heap there is", runtime.heapTotalBytes, label),
  gauge("nodejs_external_memory_bytes", "Memory outside of the heap", runtime.externalBytes, label),
  counter("process_cpu_user_seconds_total", "CPU time of the process itself", runtime.cpuUserSeconds, label),
  counter("process_cpu_system_seconds_total", "CPU time of the kernel for it", runtime.cpuSystemSeconds, label),
  gauge("nodejs_eventloop_lag_mean_seconds", "Lateness of timers, mean", runtime.loopLagMeanMillis / 1000, label),
  gauge(
    "nodejs_eventloop_lag_p99_seconds",
    "Lateness of timers, 99th percentile",
    runtime.loopLagP99Millis / 1000,
    label
  ),
  gauge("nodejs_eventloop_lag_max_seconds", "Lateness of timers, highest", runtime.loopLagMaxMillis / 1000, label),
  gauge("nodejs_eventloop_utilization", "Share of time in which the loop was busy", runtime.loopUtilization, label),
  counter("nodejs_gc_runs_total", "Garbage collections", runtime.gcCount, label),
  counter("nodejs_gc_seconds_total", "Time spent on garbage collections", runtime.gcSeconds, label),
  ...runtime.openFiles === undefined ? [] : [gauge("process_open_fds", "Open files", runtime.openFiles, label)]
]

/** Of places: a worker that is about to leave one has none of its own any more. */
const crashesOf = ({ workers }: StatusReport): ReadonlyArray<MetricReport> => {
  const places = new Map<number, WorkerReport>()
  for (const worker of workers) {
    const { crashes = 0 } = places.get(worker.number) ?? {}
    if (worker.crashes >= crashes) places.set(worker.number, worker)
  }
  return [...places.values()].map((worker) =>
    counter("slipway_crashes_total", "How often a worker ended by itself", worker.crashes, labelOf(worker))
  )
}

const ofServer = (status: StatusReport): ReadonlyArray<MetricReport> => {
  const states = ["starting", "serving", "stopping", "waiting", "dead"] as const
  return [
    gauge("slipway_info", "Version and mode; always 1", 1, { version: status.version, mode: status.mode }),
    gauge("slipway_ready", "1 while requests should come", status.isReady ? 1 : 0),
    gauge(
      "slipway_draining",
      "1 while it stops, or is told to seem so",
      status.isShuttingDown || status.isDrained ? 1 : 0
    ),
    gauge("process_start_time_seconds", "Start, in seconds since the epoch", status.startedAtMillis / 1000),
    counter("slipway_restarts_total", "Workers started in the place of others", status.restarts),
    ...crashesOf(status),
    ...states.map((state) =>
      gauge("slipway_workers", "Workers by state", status.workers.filter((worker) => worker.state === state).length, {
        state
      })
    )
  ]
}

// ---- back into a registry, which effect puts into words

const fixed = <State>(state: State) => ({ get: () => state, update: ignore, modify: ignore })
const ignore = (): void => {}

const register = (registry: Context.Context<never>, metric: MetricReport): void => {
  const { attributes, name } = metric
  const options = { attributes, ...metric.description === undefined ? {} : { description: metric.description } }
  const { count = 0, sum = 0, value = 0 } = metric
  switch (metric.type) {
    case "Counter":
      return void Metric.registerUnsafe(
        Metric.counter(name, options),
        registry,
        fixed({ count: value, incremental: true })
      )
    case "Gauge":
      return void Metric.registerUnsafe(Metric.gauge(name, options), registry, fixed({ value }))
    case "Frequency": {
      const occurrences = new Map(Object.entries(metric.occurrences ?? {}))
      return void Metric.registerUnsafe(Metric.frequency(name, options), registry, fixed({ occurrences }))
    }
    case "Histogram": {
      const buckets = (metric.buckets ?? []).map(([bound, below]) => [bound, below] as [number, number])
      const boundaries = buckets.map(([bound]) => bound)
      const state = { buckets, count, sum, min: 0, max: 0 }
      return void Metric.registerUnsafe(Metric.histogram(name, { ...options, boundaries }), registry, fixed(state))
    }
    case "Summary": {
      const quantiles = (metric.quantiles ?? []).map(([quantile, at]) =>
        [quantile, at ?? undefined] as [number, number | undefined]
      )
      const summary = Metric.summary(name, { ...options, maxAge: 0, maxSize: 0, quantiles: [] })
      return void Metric.registerUnsafe(summary, registry, fixed({ quantiles, count, sum, min: 0, max: 0 }))
    }
  }
}
