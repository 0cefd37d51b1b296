import { assert, describe, it } from "@effect/vitest"
import { columns, type Now, percentile, Sampler } from "../../../src/app/admin/Samples.ts"
import type { ProcessReport, StatusReport } from "../../../src/schema/Report.ts"
import { busy, startedAtMillis } from "../../utils/statuses.ts"

const at = ({ point }: Now, column: (typeof columns)[number]) => point[columns.indexOf(column)]

/** The first `count` workers of a busy server. */
const some = (second: number, count: number, changes: Partial<StatusReport> = {}) =>
  busy(second, { workers: busy(second).workers.slice(0, count), ...changes })

const withReports = (status: StatusReport, change: (report: ProcessReport) => ProcessReport): StatusReport => ({
  ...status,
  workers: status.workers.map((worker) => ({ ...worker, report: change(worker.report!) }))
})

describe("Sampler", () => {
  it("makes rates out of two reports, and has none after the first", () => {
    const sampler = new Sampler()
    const first = sampler.next(busy(10))
    assert.strictEqual(at(first, "ok"), null)
    assert.strictEqual(at(first, "p99"), null)
    assert.isAbove(at(first, "connections")!, 0)
    const second = sampler.next(busy(12))
    const requests = (status: StatusReport) =>
      status.workers.reduce((sum, { report }) => sum + report!.server.totalExchanges, 0)
    const rate = (["ok", "redirects", "refusals", "failures"] as const).reduce(
      (sum, name) => sum + at(second, name)!,
      0
    )
    assert.approximately(rate, (requests(busy(12)) - requests(busy(10))) / 2, 2)
    assert.strictEqual(at(second, "at"), startedAtMillis + 12_000)
    assert.strictEqual(second.point.length, columns.length)
  })

  it("counts a new process from its beginning, and nothing for one that has only not answered", () => {
    const sampler = new Sampler()
    sampler.next(some(10, 1))
    const known = at(new SamplerAfter(some(10, 1)).next(some(11, 1)), "ok")!
    const silent = sampler.next(some(11, 2))
    assert.strictEqual(at(silent, "ok"), known)
    assert.strictEqual(silent.workers[1]!.rate, null)
    const status = some(12, 2)
    const young = {
      ...status,
      workers: [status.workers[0]!, { ...status.workers[1]!, pid: 9, sinceMillis: status.nowMillis - 500 }]
    }
    const reports = withReports(young, (report) => report.pid === 4102 ? { ...report, pid: 9 } : report)
    assert.isAbove(sampler.next(reports).workers[1]!.rate!, 1000)
  })

  it("never goes below nothing where a counter begins again", () => {
    const sampler = new Sampler()
    sampler.next(busy(500))
    const after = sampler.next({ ...busy(3), nowMillis: startedAtMillis + 501_000 })
    for (const name of ["ok", "redirects", "refusals", "failures", "cpu", "gc"] as const) {
      assert.strictEqual(at(after, name), 0)
    }
    assert.strictEqual(at(after, "p50"), null)
  })

  it("sums over workers, and shows the worst of them where a sum means nothing", () => {
    const now = new SamplerAfter(busy(99)).next(busy(100))
    const reports = busy(100).workers.map(({ report }) => report!)
    assert.strictEqual(at(now, "rss"), reports.reduce((sum, { runtime }) => sum + runtime.rssBytes, 0))
    assert.approximately(at(now, "lag")!, Math.max(...reports.map(({ runtime }) => runtime.loopLagP99Millis)), 0.01)
    assert.strictEqual(now.workers.length, 4)
    assert.approximately(now.workers.reduce((sum, { cpu }) => sum + cpu!, 0), at(now, "cpu")!, 0.01)
  })

  it("leaves out what a worker does not say", () => {
    const [first, second] = busy(10).workers
    const { report: _, ...silent } = second!
    const now = new Sampler().next(busy(10, { workers: [first!, { ...silent, state: "waiting" }] }))
    assert.deepStrictEqual(
      { ...now.workers[1] },
      { ...silent, state: "waiting", rate: null, cpu: null, rss: null, lag: null, connections: null, exchanges: null }
    )
    assert.strictEqual(at(new Sampler().next(busy(10, { workers: [] })), "connections"), null)
  })

  it("lists routes by what came in the last ten seconds, over all workers", () => {
    const sampler = new Sampler()
    for (let second = 100; second < 112; second++) sampler.next(busy(second))
    const { routes } = sampler.next(busy(112))
    const count = (second: number) =>
      busy(second).workers.reduce((sum, { report }) => sum + report!.activity!.routes[0]!.count, 0)
    assert.strictEqual(routes[0]!.route, "GET /api/todos")
    assert.approximately(routes[0]!.rate, (count(112) - count(102)) / 10, 0.1)
    assert.strictEqual(routes[0]!.count, count(112))
    assert.approximately(routes[0]!.mean, 2.4, 0.01)
    assert.deepStrictEqual(routes.map(({ rate }) => rate), routes.map(({ rate }) => rate).toSorted((a, b) => b - a))
  })

  it("lists the newest errors of all workers", () => {
    const { errors } = new Sampler().next(busy(400))
    assert.strictEqual(errors.length, 12)
    const times = errors.map(({ atMillis }) => atMillis)
    assert.deepStrictEqual(times, times.toSorted((a, b) => b - a))
  })
})

class SamplerAfter extends Sampler {
  constructor(before: StatusReport) {
    super()
    this.next(before)
  }
}

describe("percentile", () => {
  const bounds = [1, 5, 10]

  it("lies inside of its bucket by the share that is below it", () => {
    assert.strictEqual(percentile(bounds, [10, 0, 0, 0], 0.5), 0.5)
    assert.strictEqual(percentile(bounds, [5, 5, 0, 0], 0.5), 1)
    assert.strictEqual(percentile(bounds, [5, 5, 0, 0], 0.75), 3)
    assert.strictEqual(percentile(bounds, [0, 0, 100, 0], 0.99), 9.95)
  })

  it("is the last bound beyond it, and nothing of nothing", () => {
    assert.strictEqual(percentile(bounds, [0, 0, 0, 4], 0.5), 10)
    assert.strictEqual(percentile(bounds, [0, 0, 0, 0], 0.5), null)
    assert.strictEqual(percentile([], [], 0.5), null)
  })
})
