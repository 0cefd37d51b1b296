/**
 * What a server counts, as plain numbers on the request path, and as Effect Metrics for whoever reads them: each series
 * is registered with a `get` that looks at the numbers, so a request costs an increment and no Metric update.
 *
 * Servers of one process that share a metric registry share their numbers.
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"

/** Upper bounds of the duration buckets in milliseconds; OpenTelemetry's advice for HTTP, in milliseconds. */
const bounds = [1, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000]
const classes = ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"]

/** Methods with a series of their own; others are counted together, so that a client cannot make series without end. */
const methods = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])

/** False for methods that share one name in metrics and traces. */
export const isKnownMethod = (method: string): boolean => methods.has(method)

const names = {
  requests: "http_server_requests_total",
  active: "http_server_active_requests",
  duration: "http_server_request_duration_milliseconds",
  bytesIn: "http_server_received_bytes_total",
  bytesOut: "http_server_sent_bytes_total",
  open: "http_server_open_connections",
  http2: "http_server_open_http2_connections",
  sessions: "http_server_active_sessions",
  connections: "http_server_connections_total",
  refused: "http_server_refused_requests_total"
} as const

const counter = (name: string, description: string, attributes?: Record<string, string>) =>
  Metric.counter(name, { description, incremental: true, ...(attributes === undefined ? {} : { attributes }) })

export class ServerMetrics {
  bytesIn = 0
  bytesOut = 0
  openConnections = 0
  /** How many of them speak HTTP/2. */
  openHttp2Connections = 0
  totalConnections = 0
  activeRequests = 0
  /** How many of them are WebSockets and streams of events. */
  readonly sessions = { sse: 0, websocket: 0 }

  private readonly context: Context.Context<never>
  private readonly byMethod = new Map<string, Float64Array>()
  private readonly byProblem = new Map<string, { count: number }>()
  private readonly buckets = new Float64Array(bounds.length + 1)
  private durationCount = 0
  private durationSum = 0
  private durationMin = Number.MAX_VALUE
  private durationMax = -Number.MAX_VALUE

  constructor(context: Context.Context<never>) {
    this.context = context
    this.publish(counter(names.bytesIn, "Bytes received from clients"), () => this.bytesIn)
    this.publish(counter(names.bytesOut, "Bytes sent to clients"), () => this.bytesOut)
    this.publish(counter(names.connections, "Connections accepted"), () => this.totalConnections)
    this.publishGauge(Metric.gauge(names.open, { description: "Connections open now" }), () => this.openConnections)
    this.publishGauge(
      Metric.gauge(names.http2, { description: "Connections open now that speak HTTP/2" }),
      () => this.openHttp2Connections
    )
    this.publishGauge(
      Metric.gauge(names.active, { description: "Requests being answered now, sessions included" }),
      () => this.activeRequests
    )
    for (const type of ["sse", "websocket"] as const) {
      this.publishGauge(
        Metric.gauge(names.sessions, {
          description: "WebSockets and streams of events going on now",
          attributes: { type }
        }),
        () => this.sessions[type]
      )
    }
    Metric.registerUnsafe(
      Metric.histogram(names.duration, {
        description: "Time from the head of a request to the end of its answer, without sessions",
        boundaries: bounds
      }),
      context,
      { get: () => this.histogram(), update: ignore, modify: ignore }
    )
  }

  private publishGauge(metric: Metric.Gauge<number>, get: () => number): void {
    Metric.registerUnsafe(metric, this.context, { get: () => ({ value: get() }), update: ignore, modify: ignore })
  }

  private publish(metric: Metric.Counter<number>, get: () => number): void {
    Metric.registerUnsafe(metric, this.context, {
      get: () => ({ count: get(), incremental: true }),
      update: ignore,
      modify: ignore
    })
  }

  /**
   * A request has been answered, or its exchange has ended without an answer (status 0). Sessions last as long as clients
   * like, so their time is no latency.
   */
  request(method: string, status: number, durationMillis: number, isSession = false): void {
    const counts = this.byMethod.get(method) ?? this.addMethod(method)
    const index = (status / 100) | 0
    counts[index < 6 ? index : 5]!++
    if (isSession) return
    let bucket = 0
    while (bucket < bounds.length && durationMillis > bounds[bucket]!) bucket++
    this.buckets[bucket]!++
    this.durationCount++
    this.durationSum += durationMillis
    if (durationMillis < this.durationMin) this.durationMin = durationMillis
    if (durationMillis > this.durationMax) this.durationMax = durationMillis
  }

  private addMethod(method: string): Float64Array {
    if (isKnownMethod(method)) return this.addSeries(method)
    return this.byMethod.get("OTHER") ?? this.addSeries("OTHER")
  }

  private addSeries(method: string): Float64Array {
    const counts = new Float64Array(classes.length)
    this.byMethod.set(method, counts)
    classes.forEach((status, index) =>
      this.publish(counter(names.requests, "Requests answered", { method, status }), () => counts[index]!)
    )
    return counts
  }

  /** A request was refused before it reached the application. */
  refuse(kind: string): void {
    let series = this.byProblem.get(kind)
    if (series === undefined) {
      const created = { count: 0 }
      series = created
      this.byProblem.set(kind, created)
      this.publish(
        counter(names.refused, "Requests refused before the application saw them", { kind }),
        () => created.count
      )
    }
    series.count++
  }

  private histogram(): Metric.HistogramState {
    let cumulated = 0
    return {
      buckets: bounds.map((bound, index) => [bound, cumulated += this.buckets[index]!] as [number, number]),
      count: this.durationCount,
      sum: this.durationSum,
      min: this.durationMin,
      max: this.durationMax
    }
  }
}

const ignore = (): void => {}

const shared = new WeakMap<object, ServerMetrics>()

/** The numbers of the context's metric registry. */
export const metricsFor = (context: Context.Context<never>): ServerMetrics => {
  const registry = Context.get(context, Metric.MetricRegistry)
  let metrics = shared.get(registry)
  if (metrics === undefined) {
    metrics = new ServerMetrics(context)
    shared.set(registry, metrics)
  }
  return metrics
}
