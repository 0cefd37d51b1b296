/**
 * What this process says about itself: the server's counters, the runtime, every metric of its registry, and what its
 * Activity has seen and its health checks say, where there are any. Reads; counts nothing itself.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import type { MetricReport, ProcessReport } from "../../src/schema/Report.ts"
import { Health } from "../../src/service/Health.ts"
import { Server } from "../../src/service/Server.ts"
import { Activity } from "./Activity.ts"
import * as RuntimeReport from "./RuntimeReport.ts"

/**
 * Begins to watch the runtime. **Returns** the report, made anew each time; it takes as long as the slowest health check,
 * which has a bound of its own.
 */
export const make: Effect.Effect<Effect.Effect<ProcessReport>, never, Server | Scope.Scope> = Effect.gen(function*() {
  const server = yield* Server
  const runtime = yield* RuntimeReport.make
  const context = yield* Effect.context<never>()
  const activity = Context.getOrUndefined(context, Activity)
  const health = Context.getOrUndefined(context, Health)
  return Effect.gen(function*() {
    const checks = health === undefined ? {} : { health: yield* health.report }
    const seen = activity === undefined ? {} : { activity: yield* activity.report }
    const report: ProcessReport = {
      pid: process.pid,
      server: yield* server.stats,
      runtime: yield* runtime,
      metrics: metricsOf(context),
      ...seen,
      ...checks
    }
    return report
  })
})

/** Every series of the context's registry, as JSON can carry it. */
export const metricsOf = (context: Context.Context<never>): ReadonlyArray<MetricReport> =>
  Metric.snapshotUnsafe(context).map(toReport)

const toReport = (snapshot: Metric.Metric.Snapshot): MetricReport => ({
  name: snapshot.id,
  type: snapshot.type,
  ...(snapshot.description === undefined ? {} : { description: snapshot.description }),
  attributes: { ...snapshot.attributes },
  ...stateOf(snapshot)
})

type State = Omit<MetricReport, "name" | "type" | "description" | "attributes">

const stateOf = (snapshot: Metric.Metric.Snapshot): State => {
  switch (snapshot.type) {
    case "Counter":
      return finite({ value: Number(snapshot.state.count) })
    case "Gauge":
      return finite({ value: Number(snapshot.state.value) })
    case "Frequency":
      return { occurrences: Object.fromEntries(snapshot.state.occurrences) }
    case "Histogram":
      return { buckets: snapshot.state.buckets.filter(([bound]) => Number.isFinite(bound)), ...sizeOf(snapshot.state) }
    case "Summary":
      return {
        quantiles: snapshot.state.quantiles.map(([quantile, value]) =>
          [quantile, value === undefined || !Number.isFinite(value) ? null : value] as const
        ),
        ...sizeOf(snapshot.state)
      }
  }
}

const sizeOf = (state: Metric.HistogramState | Metric.SummaryState): State => ({
  count: state.count,
  ...finite({ sum: state.sum }),
  // Of nothing there is no least.
  ...(state.count === 0 ? {} : finite({ min: state.min, max: state.max }))
})

/** Without what JSON has no number for. */
const finite = <K extends string>(values: Record<K, number>): { [P in K]?: number } =>
  Object.fromEntries(Object.entries<number>(values).filter(([, value]) => Number.isFinite(value))) as {
    [P in K]?: number
  }
