/**
 * Reports made into what a dashboard plots: rates out of counters, percentiles out of histograms, per second and over
 * all processes. A pure calculation on one report and the one before it.
 *
 * A process that is new since the last report counts from its beginning; one that has gone takes nothing away.
 */
import type { ErrorReport, MetricReport, ProcessReport, StatusReport, WorkerReport } from "../../schema/Report.ts"
import { type Check, checksOf } from "./Wellness.ts"

/** What one point of the plots is made of, in the order in which it is sent. */
export const columns = [
  "at",
  "ok",
  "redirects",
  "refusals",
  "failures",
  "p50",
  "p95",
  "p99",
  "connections",
  "exchanges",
  "cpu",
  "rss",
  "heap",
  "lag",
  "gc"
] as const

/** One value for each of `columns`; `null` where there is none, such as a percentile of nothing. */
export type Point = ReadonlyArray<number | null>

/** One worker now. */
export interface WorkerRow extends Omit<WorkerReport, "report"> {
  readonly rate: number | null
  /** Of one core, 0 to 1. */
  readonly cpu: number | null
  readonly rss: number | null
  readonly lag: number | null
  readonly connections: number | null
  readonly exchanges: number | null
}

/** One route now. */
export interface RouteRow {
  readonly route: string
  readonly rate: number
  readonly count: number
  readonly errors: number
  readonly mean: number
  readonly max: number
}

/** All that the page shows at one moment. */
export interface Now extends Omit<StatusReport, "workers"> {
  readonly point: Point
  readonly workers: ReadonlyArray<WorkerRow>
  readonly routes: ReadonlyArray<RouteRow>
  readonly errors: ReadonlyArray<ErrorReport>
  readonly checks: ReadonlyArray<Check>
  readonly totals: { readonly requests: number; readonly connections: number; readonly refused: number }
}

/** Seconds over which the rate of a route is taken: rows that change places every second cannot be read. */
const routeWindowMillis = 10_000
const mostRoutes = 12
const mostErrors = 12

/** Makes the points of successive reports. Keeps those of the last ten seconds. */
export class Sampler {
  private readonly past: Array<StatusReport> = []

  next(status: StatusReport): Now {
    const before = this.past.at(-1)
    while (this.past.length > 1 && status.nowMillis - this.past[1]!.nowMillis >= routeWindowMillis) this.past.shift()
    const now = describe(status, before, this.past[0])
    this.past.push(status)
    return now
  }
}

const describe = (status: StatusReport, before: StatusReport | undefined, oldest: StatusReport | undefined): Now => {
  const { workers, ...server } = status
  const earlier = new Map(before === undefined ? [] : processesOf(before))
  const seconds = before === undefined ? 0 : (status.nowMillis - before.nowMillis) / 1000
  const rows = workers.map((worker) => {
    const { report, ...facts } = worker
    const delta = report === undefined || seconds <= 0
      ? undefined
      : deltaOf(report, earlier.get(report.pid), before!, worker)
    return { facts, report, delta }
  })
  const deltas = rows.flatMap(({ delta }) => delta === undefined ? [] : [delta])
  const reports = rows.flatMap(({ report }) => report === undefined ? [] : [report])
  return {
    ...server,
    point: pointOf(status, reports, deltas, seconds),
    workers: rows.map(({ delta, facts, report }) => ({
      ...facts,
      rate: delta === undefined ? null : round(sum(delta.classes) / seconds),
      cpu: delta === undefined ? null : round(delta.cpuSeconds / seconds),
      rss: report?.runtime.rssBytes ?? null,
      lag: report === undefined ? null : round(report.runtime.loopLagP99Millis),
      connections: report?.server.connections ?? null,
      exchanges: report?.server.exchanges ?? null
    })),
    routes: routesOf(status, oldest),
    errors: errorsOf(reports),
    checks: checksOf(status),
    totals: {
      requests: total(reports, ({ server }) => server.totalExchanges),
      connections: total(reports, ({ server }) => server.totalConnections),
      refused: total(reports, ({ server }) => server.totalRefused)
    }
  }
}

const processesOf = ({ workers }: StatusReport): ReadonlyArray<readonly [pid: number, report: ProcessReport]> =>
  workers.flatMap(({ report }) => report === undefined ? [] : [[report.pid, report] as const])

// ---- one process between two reports

interface Delta {
  /** Answers by class: 1xx and 2xx, 3xx, 4xx, 5xx and none at all. */
  readonly classes: ReadonlyArray<number>
  readonly bounds: ReadonlyArray<number>
  /** Answers by duration: up to each of the bounds, and beyond the last. */
  readonly buckets: ReadonlyArray<number>
  readonly cpuSeconds: number
  readonly gcSeconds: number
}

const deltaOf = (
  report: ProcessReport,
  earlier: ProcessReport | undefined,
  before: StatusReport,
  { sinceMillis = 0 }: WorkerReport
): Delta | undefined => {
  // One that has only not answered before would seem to have done all its work in this second.
  if (earlier === undefined && sinceMillis < before.nowMillis) return undefined
  const now = totalsOf(report)
  const then = earlier === undefined ? undefined : totalsOf(earlier)
  const minus = (list: ReadonlyArray<number>, other: ReadonlyArray<number> | undefined) =>
    list.map((value, index) => Math.max(0, value - (other?.[index] ?? 0)))
  return {
    classes: minus(now.classes, then?.classes),
    bounds: now.bounds,
    buckets: minus(now.buckets, then?.buckets),
    cpuSeconds: Math.max(0, now.cpuSeconds - (then?.cpuSeconds ?? 0)),
    gcSeconds: Math.max(0, now.gcSeconds - (then?.gcSeconds ?? 0))
  }
}

/** Names of the server's metrics, see docs/logging-and-metrics.md. */
export const metricNames = {
  requests: "http_server_requests_total",
  duration: "http_server_request_duration_milliseconds"
} as const

const totalsOf = ({ metrics, runtime }: ProcessReport): Delta => {
  const classes = [0, 0, 0, 0]
  let histogram: MetricReport | undefined
  for (const metric of metrics) {
    if (metric.name === metricNames.requests) {
      const digit = Number(metric.attributes["status"]?.[0] ?? 0)
      classes[digit === 0 ? 3 : Math.max(0, Math.min(digit, 5) - 2)]! += metric.value ?? 0
    } else if (metric.name === metricNames.duration) histogram ??= metric
  }
  const cumulated = histogram?.buckets ?? []
  const counts = [...cumulated.map(([, count]) => count), histogram?.count ?? 0]
  return {
    classes,
    bounds: cumulated.map(([bound]) => bound),
    buckets: counts.map((count, index) => count - (index === 0 ? 0 : counts[index - 1]!)),
    cpuSeconds: runtime.cpuUserSeconds + runtime.cpuSystemSeconds,
    gcSeconds: runtime.gcSeconds
  }
}

// ---- all of them

const pointOf = (
  { nowMillis }: StatusReport,
  reports: ReadonlyArray<ProcessReport>,
  deltas: ReadonlyArray<Delta>,
  seconds: number
): Point => {
  const rate = (index: number) => deltas.length === 0 ? null : round(total(deltas, (d) => d.classes[index]!) / seconds)
  const bounds = deltas[0]?.bounds ?? []
  const buckets = [...bounds, Infinity].map((_, index) => total(deltas, (delta) => delta.buckets[index] ?? 0))
  const none = reports.length === 0
  return [
    Math.round(nowMillis),
    rate(0),
    rate(1),
    rate(2),
    rate(3),
    ...[0.5, 0.95, 0.99].map((share) => percentile(bounds, buckets, share)),
    none ? null : total(reports, ({ server }) => server.connections),
    none ? null : total(reports, ({ server }) => server.exchanges),
    deltas.length === 0 ? null : round(total(deltas, ({ cpuSeconds }) => cpuSeconds) / seconds),
    none ? null : total(reports, ({ runtime }) => runtime.rssBytes),
    none ? null : total(reports, ({ runtime }) => runtime.heapUsedBytes),
    none ? null : round(Math.max(...reports.map(({ runtime }) => runtime.loopLagP99Millis))),
    deltas.length === 0 ? null : round(total(deltas, ({ gcSeconds }) => gcSeconds * 1000) / seconds)
  ]
}

/**
 * The value below which a share of the observations lies, as if those of a bucket were spread evenly over it; the last
 * bound where it lies beyond that, `null` where there are none.
 */
export const percentile = (
  bounds: ReadonlyArray<number>,
  buckets: ReadonlyArray<number>,
  share: number
): number | null => {
  const wanted = share * sum(buckets)
  if (wanted === 0) return null
  let below = 0
  for (const [index, bound] of bounds.entries()) {
    const count = buckets[index]!
    if (below + count >= wanted) {
      const from = bounds[index - 1] ?? 0
      return round(from + (bound - from) * ((wanted - below) / count))
    }
    below += count
  }
  return bounds.at(-1) ?? null
}

const routesOf = (status: StatusReport, oldest: StatusReport | undefined): ReadonlyArray<RouteRow> => {
  const seconds = oldest === undefined ? 0 : (status.nowMillis - oldest.nowMillis) / 1000
  const before = new Map(oldest === undefined ? [] : processesOf(oldest))
  const rows = new Map<string, { count: number; errors: number; millis: number; max: number; fresh: number }>()
  for (const [pid, { activity }] of processesOf(status)) {
    const earlier = new Map(before.get(pid)?.activity?.routes.map(({ count, route }) => [route, count]))
    for (const { count, errors, maxMillis, route, totalMillis } of activity?.routes ?? []) {
      const row = rows.get(route) ?? { count: 0, errors: 0, millis: 0, max: 0, fresh: 0 }
      row.count += count
      row.errors += errors
      row.millis += totalMillis
      row.max = Math.max(row.max, maxMillis)
      if (before.has(pid)) row.fresh += Math.max(0, count - (earlier.get(route) ?? 0))
      rows.set(route, row)
    }
  }
  return [...rows]
    .sort(([a, left], [b, right]) => right.fresh - left.fresh || right.count - left.count || (a < b ? -1 : 1))
    .slice(0, mostRoutes)
    .map(([route, { count, errors, fresh, max, millis }]) => ({
      route,
      rate: seconds > 0 ? round(fresh / seconds) : 0,
      count,
      errors,
      mean: round(millis / count),
      max: round(max)
    }))
}

const errorsOf = (reports: ReadonlyArray<ProcessReport>): ReadonlyArray<ErrorReport> =>
  reports.flatMap(({ activity }) => activity?.errors ?? [])
    .sort((a, b) => b.atMillis - a.atMillis)
    .slice(0, mostErrors)

const sum = (values: ReadonlyArray<number>): number => values.reduce((all, value) => all + value, 0)

const total = <A>(list: ReadonlyArray<A>, value: (item: A) => number): number => sum(list.map(value))

/** Four digits are more than a plot shows, and what is sent stays small. */
const round = (value: number): number => Number(value.toPrecision(4))
