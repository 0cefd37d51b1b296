/**
 * The metrics of Operations as text, from their status. Owns what was counted by workers that have gone; loads the making of
 * text when there is something to remember.
 */
import * as Effect from "effect/Effect"
import type { MetricReport, StatusReport } from "../../src/schema/Report.ts"
import type { MetricsText } from "./MetricsText.ts"

export interface OperationsMetrics<out E> {
  readonly text: Effect.Effect<string, E>
  /** Remembers what a process has counted that ends. */
  readonly farewell: (pid: number, metrics: ReadonlyArray<MetricReport>) => Effect.Effect<void>
}

/** One for each status: it remembers. */
export const make = <E>(status: Effect.Effect<StatusReport, E>): OperationsMetrics<E> => {
  let made: MetricsText | undefined
  const texts = Effect.map(
    Effect.promise(() => import("./MetricsText.ts")),
    ({ MetricsText }) => made ??= new MetricsText()
  )
  return {
    text: Effect.flatMap(texts, ({ text }) => Effect.map(status, text)),
    farewell: (pid, metrics) => Effect.map(texts, (texts) => texts.farewell(pid, metrics))
  }
}
