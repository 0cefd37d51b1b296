/**
 * What a running server says about itself: to `slipway ctl`, to the metrics endpoint, to the dashboard and to programs.
 * It crosses process boundaries (worker to supervisor, supervisor to control client), hence Schemas.
 *
 * Numbers carry their unit in the name. Nothing in here is secret: settings that are show as `<redacted>`.
 */
import * as Schema from "effect/Schema"

/** The server's own counters. See `Stats` of src/service/Server.ts. */
export const ServerReport = Schema.Struct({
  connections: Schema.Number,
  exchanges: Schema.Number,
  totalConnections: Schema.Number,
  totalExchanges: Schema.Number,
  totalRefused: Schema.Number,
  totalCut: Schema.Number,
  isReady: Schema.Boolean,
  isShuttingDown: Schema.Boolean
})
export type ServerReport = typeof ServerReport.Type

/** How the process fares. */
export const RuntimeReport = Schema.Struct({
  rssBytes: Schema.Number,
  heapUsedBytes: Schema.Number,
  heapTotalBytes: Schema.Number,
  externalBytes: Schema.Number,
  cpuUserSeconds: Schema.Number,
  cpuSystemSeconds: Schema.Number,
  /** How late timers are, over the last look. */
  loopLagMeanMillis: Schema.Number,
  loopLagP99Millis: Schema.Number,
  loopLagMaxMillis: Schema.Number,
  /** Share of time in which the event loop was busy, 0 to 1, over the last look. */
  loopUtilization: Schema.Number,
  gcCount: Schema.Number,
  gcSeconds: Schema.Number,
  openFiles: Schema.optional(Schema.Number)
})
export type RuntimeReport = typeof RuntimeReport.Type

/** One series of the metric registry. `value` depends on the type, as Effect's Metric has it, without what JSON lacks. */
export const MetricReport = Schema.Struct({
  name: Schema.String,
  type: Schema.Literals(["Counter", "Gauge", "Histogram", "Frequency", "Summary"]),
  description: Schema.optional(Schema.String),
  attributes: Schema.Record(Schema.String, Schema.String),
  /** Counter and gauge. */
  value: Schema.optional(Schema.Number),
  /** Histogram: upper bounds with cumulated counts, without the one of infinity. */
  buckets: Schema.optional(Schema.Array(Schema.Tuple([Schema.Number, Schema.Number]))),
  /** Summary: quantiles with values, where there are any. */
  quantiles: Schema.optional(Schema.Array(Schema.Tuple([Schema.Number, Schema.NullOr(Schema.Number)]))),
  /** Frequency. */
  occurrences: Schema.optional(Schema.Record(Schema.String, Schema.Number)),
  /** Histogram and summary. */
  count: Schema.optional(Schema.Number),
  sum: Schema.optional(Schema.Number),
  min: Schema.optional(Schema.Number),
  max: Schema.optional(Schema.Number)
})
export type MetricReport = typeof MetricReport.Type

/** What was asked of one route since the start. */
export const RouteReport = Schema.Struct({
  /** `GET /todos/:id`; `GET other` for what no router has named, above a bounded number of names. */
  route: Schema.String,
  count: Schema.Number,
  /** Answers of 500 and above, and those that never came. */
  errors: Schema.Number,
  totalMillis: Schema.Number,
  maxMillis: Schema.Number
})
export type RouteReport = typeof RouteReport.Type

/** An exchange that went wrong on the server's side. */
export const ErrorReport = Schema.Struct({
  atMillis: Schema.Number,
  method: Schema.String,
  /** Without the query. */
  path: Schema.String,
  /** 0: there was no answer. */
  status: Schema.Number,
  requestId: Schema.String,
  problem: Schema.optional(Schema.String)
})
export type ErrorReport = typeof ErrorReport.Type

/** Routes and errors of one process; kept only where something shows them. */
export const ActivityReport = Schema.Struct({
  routes: Schema.Array(RouteReport),
  /** The newest first, at most 50. */
  errors: Schema.Array(ErrorReport)
})
export type ActivityReport = typeof ActivityReport.Type

/** How one health check went, see service/Health.ts. */
export const CheckReport = Schema.Struct({
  name: Schema.String,
  /** What it has a say in: whether the process lives, whether requests should come. */
  kind: Schema.Literals(["live", "ready", "both"]),
  /** False: it is shown and decides nothing. */
  isCritical: Schema.Boolean,
  status: Schema.Literals(["ok", "failed", "timeout"]),
  durationMillis: Schema.Number,
  /** What went wrong, for operators: never shown to who may not know. */
  problem: Schema.optional(Schema.String)
})
export type CheckReport = typeof CheckReport.Type

/** All health checks of one process, in the order of their registration. */
export const HealthReport = Schema.Array(CheckReport)
export type HealthReport = typeof HealthReport.Type

/** What one process says about itself. */
export const ProcessReport = Schema.Struct({
  pid: Schema.Int,
  server: ServerReport,
  runtime: RuntimeReport,
  metrics: Schema.Array(MetricReport),
  activity: Schema.optional(ActivityReport),
  /** Absent where nothing checks. */
  health: Schema.optional(HealthReport)
})
export type ProcessReport = typeof ProcessReport.Type

/** One worker, or the one process there is (number 0). */
export const WorkerReport = Schema.Struct({
  number: Schema.Int,
  pid: Schema.optional(Schema.Int),
  state: Schema.Literals(["starting", "serving", "stopping", "waiting", "dead"]),
  /** When it began to serve, in milliseconds since the epoch. */
  sinceMillis: Schema.optional(Schema.Number),
  crashes: Schema.Int,
  /** What it says; absent while it does not answer. */
  report: Schema.optional(ProcessReport)
})
export type WorkerReport = typeof WorkerReport.Type

/** The whole. */
export const StatusReport = Schema.Struct({
  version: Schema.String,
  /** Of the supervisor, or of the one process there is. */
  pid: Schema.Int,
  /** What is served, as it was called. */
  application: Schema.String,
  mode: Schema.Literals(["development", "production"]),
  addresses: Schema.Array(Schema.String),
  startedAtMillis: Schema.Number,
  nowMillis: Schema.Number,
  /** Whether requests should come: at least one worker is ready, and nobody has said `drain on`. */
  isReady: Schema.Boolean,
  isShuttingDown: Schema.Boolean,
  /** True after `drain on`: not ready on purpose. */
  isDrained: Schema.Boolean,
  /** Workers started in the place of another one, for whatever reason, since the start. */
  restarts: Schema.Int,
  workers: Schema.Array(WorkerReport)
})
export type StatusReport = typeof StatusReport.Type

/** One connection. */
export const ConnectionReport = Schema.Struct({
  /** Number of the worker, 0 where there is one process. */
  worker: Schema.Int,
  /** Address and port of the peer, `192.0.2.7:50312`, or `unix`. */
  client: Schema.String,
  protocol: Schema.Literals(["http/1.1", "h2"]),
  isSecure: Schema.Boolean,
  openedAtMillis: Schema.Number,
  /** Requests so far. */
  requests: Schema.Number,
  /** Exchanges going on now: `GET /path`, `websocket /chat`, without queries. */
  exchanges: Schema.Array(Schema.String)
})
export type ConnectionReport = typeof ConnectionReport.Type

/** What a server knows of one of its connections. */
export type ConnectionFacts = Omit<ConnectionReport, "worker">

/** One setting. */
export const SettingReport = Schema.Struct({
  key: Schema.String,
  value: Schema.String,
  /** What set it: `--port`, `SLIPWAY_PORT`, `port in ./slipway.toml`, `default`. */
  source: Schema.String
})
export type SettingReport = typeof SettingReport.Type
