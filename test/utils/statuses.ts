/** Made-up reports of servers that are busy, second by second: the same second is the same report. */
import type { ErrorReport, HealthReport, ProcessReport, StatusReport, WorkerReport } from "../../src/schema/Report.ts"

/** When the servers were started. */
export const startedAtMillis = Date.UTC(2026, 10, 20, 9, 0, 0)

const bounds = [1, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000]

const routes = [
  ["GET /api/todos", 0.31, 2.4, 48],
  ["GET /api/todos/:id", 0.24, 1.7, 31],
  ["POST /api/todos", 0.12, 6.9, 212],
  ["GET /", 0.1, 0.6, 9],
  ["mount /assets", 0.09, 0.9, 14],
  ["PATCH /api/todos/:id", 0.05, 7.2, 164],
  ["GET /api/search", 0.04, 38.2, 1240],
  ["POST /api/session", 0.02, 84.1, 640],
  ["websocket /chat/:room", 0.015, 182_000, 2_400_000],
  ["sse /feed", 0.01, 94_000, 1_200_000],
  ["DELETE /api/todos/:id", 0.003, 5.1, 61],
  ["GET other", 0.002, 0.3, 2]
] as const

/** Something between 0 and 1 that moves like traffic does. */
const wave = (second: number, phase: number): number =>
  0.5 + 0.28 * Math.sin(second / 47 + phase) + 0.14 * Math.sin(second / 9 + phase * 2) +
  0.08 * Math.sin(second * 1.7 + phase)

/** Requests a second. */
const rateOf = (second: number, worker: number): number => Math.round(420 + 380 * wave(second, worker * 0.3))

const isTrouble = (second: number): boolean => second % 300 > 180 && second % 300 < 205

const errorsOf = (second: number, worker: number): ReadonlyArray<ErrorReport> =>
  Array.from({ length: 4 }, (_, index) => ({
    atMillis: startedAtMillis + (second - 7 - index * 23 - worker * 5) * 1000,
    method: index % 2 === 0 ? "GET" : "POST",
    path: index % 2 === 0 ? "/api/search" : "/api/session",
    status: index === 3 ? 0 : index % 2 === 0 ? 503 : 500,
    requestId: `k${worker}f3-${(second - index).toString(36)}`,
    ...(index === 2 ? {} : { problem: "server_error" })
  }))

const healthOf = (worker: number): HealthReport => [
  { name: "database", kind: "ready", isCritical: true, status: "ok", durationMillis: 1.8 + worker / 10 },
  {
    name: "search index",
    kind: "ready",
    isCritical: false,
    status: worker === 3 ? "timeout" : "ok",
    durationMillis: worker === 3 ? 5000 : 12,
    ...(worker === 3 ? { problem: "no answer after 5s" } : {})
  }
]

interface Totals {
  readonly classes: ReadonlyArray<number>
  readonly buckets: ReadonlyArray<number>
  readonly beyond: number
  readonly cpu: number
}

/** Totals of each worker at the end of each second, added up once. */
const totals = new Map<number, Array<Totals>>()

const totalsAt = (second: number, worker: number): Totals => {
  const known = totals.get(worker) ?? [{ classes: [0, 0, 0, 0], buckets: bounds.map(() => 0), beyond: 0, cpu: 0 }]
  totals.set(worker, known)
  for (let at = known.length; at <= second; at++) {
    const before = known[at - 1]!
    const rate = rateOf(at, worker)
    const failed = isTrouble(at) ? Math.round(rate * 0.04) : at % 11 === 0 ? 1 : 0
    const refused = Math.round(rate * 0.03)
    const redirected = Math.round(rate * 0.06)
    const answers = [rate - failed - refused - redirected, redirected, refused, failed]
    const slow = isTrouble(at) ? 4 : 1
    const shares = [0.5 / slow, 0.3, 0.1, 0.05 * slow, 0.03 * slow, 0.01, 0.005, 0.004 * slow, 0.001 * slow]
    known.push({
      classes: before.classes.map((count, index) => count + answers[index]!),
      buckets: before.buckets.map((count, index) => count + Math.round(rate * (shares[index] ?? 0))),
      beyond: before.beyond + (isTrouble(at) ? 1 : 0),
      cpu: before.cpu + (rate / 1000) * (isTrouble(at) ? 0.95 : 0.72)
    })
  }
  return known[second]!
}

const processAt = (second: number, worker: number): ProcessReport => {
  const { beyond, buckets, classes, cpu } = totalsAt(second, worker)
  let cumulated = 0
  const requests = classes.reduce((sum, count) => sum + count, 0)
  return {
    pid: 4100 + worker,
    server: {
      connections: Math.round(60 + 50 * wave(second, worker)),
      exchanges: Math.round(8 + 9 * wave(second * 1.3, worker)),
      totalConnections: second * 9,
      totalExchanges: requests,
      totalRefused: Math.floor(second / 60),
      totalCut: 0,
      isReady: true,
      isShuttingDown: false
    },
    runtime: {
      rssBytes: 98e6 + 26e6 * wave(second / 3, worker) + worker * 3e6,
      heapUsedBytes: 34e6 + (second * 1.3e6 + worker * 7e6) % 30e6,
      heapTotalBytes: 80e6,
      externalBytes: 4e6,
      cpuUserSeconds: cpu * 0.85,
      cpuSystemSeconds: cpu * 0.15,
      loopLagMeanMillis: 0.4,
      loopLagP99Millis: isTrouble(second) ? 31 + 12 * wave(second, worker) : 1.2 + 2.2 * wave(second, worker),
      loopLagMaxMillis: 12,
      loopUtilization: 0.5,
      gcCount: second * 3,
      gcSeconds: second * 0.006
    },
    metrics: [
      ...["2xx", "3xx", "4xx", "5xx"].map((status, index) => ({
        name: "http_server_requests_total",
        type: "Counter" as const,
        attributes: { method: "GET", status },
        value: classes[index]!
      })),
      {
        name: "http_server_request_duration_milliseconds",
        type: "Histogram",
        attributes: {},
        buckets: bounds.map((bound, index) => [bound, cumulated += buckets[index]!] as const),
        count: cumulated + beyond,
        sum: cumulated * 4
      }
    ],
    activity: {
      routes: routes.map(([route, share, mean, max], index) => ({
        route,
        count: Math.round(requests * share) + 1,
        errors: index === 6 || index === 7 ? Math.round(classes[3]! / 2) : 0,
        totalMillis: mean * (Math.round(requests * share) + 1),
        maxMillis: max
      })),
      errors: errorsOf(second, worker)
    },
    health: healthOf(worker)
  }
}

const workerAt = (second: number, number: number): WorkerReport => {
  const report = processAt(second, number)
  return {
    number,
    pid: report.pid,
    state: "serving",
    sinceMillis: startedAtMillis + number * 1000 - 86_400_000,
    crashes: number === 2 ? 1 : 0,
    report
  }
}

/** Four workers, `second` seconds after they were started. */
export const busy = (second: number, changes: Partial<StatusReport> = {}): StatusReport => ({
  version: "0.1.0",
  pid: 4100,
  application: "examples/todos.ts",
  mode: "production",
  addresses: ["http://127.0.0.1:5000", "unix:/run/todos.sock"],
  startedAtMillis: startedAtMillis - 86_400_000,
  nowMillis: startedAtMillis + second * 1000,
  isReady: true,
  isShuttingDown: false,
  isDrained: false,
  restarts: 3,
  workers: [1, 2, 3, 4].map((number) => workerAt(second, number)),
  ...changes
})
