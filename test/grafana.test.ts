/** The dashboard in deploy/grafana: that it asks for nothing that the server does not tell, by names and by labels. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Fs from "node:fs"
import { MetricsText } from "../layers/internal/MetricsText.ts"
import { metricsOf } from "../layers/internal/ProcessReport.ts"
import * as PubSubMemory from "../layers/PubSubMemory.ts"
import * as WorkerPoolInline from "../layers/WorkerPoolInline.ts"
import * as App from "../src/app/App.ts"
import type { ProcessReport, StatusReport } from "../src/schema/Report.ts"
import { exchange } from "./utils/serve.ts"
import * as Statuses from "./utils/statuses.ts"

interface Target {
  readonly expr: string
  readonly legendFormat: string
}

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number }
  readonly targets?: ReadonlyArray<Target>
}

const dashboard: {
  readonly panels: ReadonlyArray<Panel>
  readonly annotations: { readonly list: ReadonlyArray<{ readonly expr: string }> }
} = JSON.parse(Fs.readFileSync(new URL("../deploy/grafana/slipway.json", import.meta.url), "utf8"))

const expressions = [
  ...dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
  ...dashboard.annotations.list.map(({ expr }) => expr)
]

/** Series as they are written: `name{label="value",label="value"} 1`. */
const seriesIn = (text: string): ReadonlyArray<readonly [name: string, labels: ReadonlyArray<string>]> =>
  [...text.matchAll(/^([a-zA-Z_]\w*)(?:\{(.*)\})? \S+$/gm)].map(([, name, labels = ""]) => [
    name!,
    [...labels.matchAll(/(\w+)="/g)].map(([, label]) => label!)
  ])

/** All that a busy server of two workers with a pool and PubSub tells. */
const told = Effect.gen(function*() {
  const app = App.http(({ send }) => App.respond(send, 200))
  yield* exchange(app, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
  yield* exchange(app, "GARBAGE\r\n\r\n")
  yield* Layer.build(Layer.merge(
    PubSubMemory.layer(),
    WorkerPoolInline.layer({ module: new URL("./utils/workerTasks.ts", import.meta.url) })
  ))
  const metrics = metricsOf(yield* Effect.context<never>())
  const reportOf = (report: ProcessReport) => ({ ...report, runtime: { ...report.runtime, openFiles: 30 }, metrics })
  const status = Statuses.busy(60)
  const workers = status.workers.map((worker) => ({ ...worker, report: reportOf(worker.report!) }))
  return seriesIn(new MetricsText().text({ ...status, workers } satisfies StatusReport))
}).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))

/** Labels that Prometheus adds. */
const added = ["job", "instance"]

describe("deploy/grafana/slipway.json", () => {
  it.effect("asks for series and labels that the server tells, and for nothing else [W141] [W142]", () =>
    Effect.gen(function*() {
      const labels = new Map<string, Set<string>>()
      for (const [name, names] of yield* told) {
        const known = labels.get(name) ?? new Set(added)
        labels.set(name, known)
        for (const label of names) known.add(label)
      }
      for (const expr of expressions) {
        const asked = [...expr.matchAll(/([a-zA-Z_]\w*)\{([^}]*)\}/g)]
        assert.isNotEmpty(asked, expr)
        for (const [, name, matchers] of asked) {
          assert.isTrue(labels.has(name!), `${name} is not told: ${expr}`)
          for (const [, label] of matchers!.matchAll(/(\w+)=~?"/g)) {
            assert.isTrue(labels.get(name!)!.has(label!), `${name} has no ${label}: ${expr}`)
          }
          for (const [, by] of expr.matchAll(/ by \((\w+)\)/g)) {
            assert.isTrue(labels.get(name!)!.has(by!), `${name} has no ${by}: ${expr}`)
          }
        }
      }
    }))

  it("names in its legends what its queries keep", () => {
    for (const { targets = [] } of dashboard.panels) {
      for (const { expr, legendFormat } of targets) {
        for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) assert.include(expr, `by (${label})`)
      }
    }
  })

  it("has panels that do not lie on each other, each with a number of its own", () => {
    const { panels } = dashboard
    assert.strictEqual(new Set(panels.map(({ id }) => id)).size, panels.length)
    const cells = panels.flatMap(({ gridPos: { h, w, x, y } }) =>
      Array.from({ length: h * w }, (_, index) => `${x + (index % w)} ${y + Math.floor(index / w)}`)
    )
    assert.strictEqual(new Set(cells).size, cells.length)
    assert.deepStrictEqual(panels.filter(({ type }) => type === "row").map(({ title }) => title), [
      "Traffic",
      "Errors",
      "Latency",
      "Connections",
      "Workers",
      "Runtime",
      "Worker pools and PubSub"
    ])
  })
})
