/**
 * How this process fares: memory, processor time, and how late and how busy its event loop is. Owns the histogram of delays
 * and the watch over garbage collections until the scope closes.
 *
 * The loop's figures are those since the look before. Looks that follow each other too closely share the figures of the
 * first, so that two readers do not take them from each other.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import { monitorEventLoopDelay, performance, PerformanceObserver } from "node:perf_hooks"
import type { RuntimeReport } from "../../src/schema/Report.ts"

/** Shorter looks at the loop say nothing. */
const shortestLookMillis = 500

/** How finely delays are seen. Node's default is 10; at 20 an idle process wakes 50 times a second. */
const resolutionMillis = 20

type Loop = Pick<RuntimeReport, "loopLagMeanMillis" | "loopLagP99Millis" | "loopLagMaxMillis" | "loopUtilization">

/** Begins to watch. **Returns** the look. Without descriptors to count (not on Linux) `openFiles` is absent. */
export const make: Effect.Effect<Effect.Effect<RuntimeReport>, never, Scope.Scope> = Effect.gen(function*() {
  const delays = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const delays = monitorEventLoopDelay({ resolution: resolutionMillis })
      delays.enable()
      return delays
    }),
    (delays) => Effect.sync(() => void delays.disable())
  )
  const collections = yield* watchCollections
  let utilization = performance.eventLoopUtilization()
  let lookedAt = yield* Clock.currentTimeMillis
  let loop: Loop = { loopLagMeanMillis: 0, loopLagP99Millis: 0, loopLagMaxMillis: 0, loopUtilization: 0 }

  const look = (now: number): Loop => {
    if (now - lookedAt < shortestLookMillis) return loop
    lookedAt = now
    const current = performance.eventLoopUtilization()
    loop = {
      loopLagMeanMillis: lag(delays.mean),
      loopLagP99Millis: lag(delays.percentile(99)),
      loopLagMaxMillis: lag(delays.max),
      loopUtilization: performance.eventLoopUtilization(current, utilization).utilization
    }
    delays.reset()
    utilization = current
    return loop
  }

  return Effect.map(Clock.currentTimeMillis, (now): RuntimeReport => {
    const memory = process.memoryUsage()
    const { system, user } = process.cpuUsage()
    const openFiles = countOpenFiles()
    return {
      rssBytes: memory.rss,
      heapUsedBytes: memory.heapUsed,
      heapTotalBytes: memory.heapTotal,
      externalBytes: memory.external,
      cpuUserSeconds: user / 1e6,
      cpuSystemSeconds: system / 1e6,
      ...look(now),
      gcCount: collections.count,
      gcSeconds: collections.millis / 1000,
      ...(openFiles === undefined ? {} : { openFiles })
    }
  })
})

/** What is measured is the time between two wakings: the resolution is no lag. Without a single waking it is no number. */
const lag = (nanos: number): number => Number.isFinite(nanos) ? Math.max(0, nanos / 1e6 - resolutionMillis) : 0

const watchCollections = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => {
      const seen = { count: 0, millis: 0 }
      const observer = new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) {
          seen.count++
          seen.millis += duration
        }
      })
      observer.observe({ entryTypes: ["gc"] })
      return { seen, observer }
    }),
    ({ observer }) => Effect.sync(() => observer.disconnect())
  ),
  ({ seen }) => seen
)

/** Since Linux 6.2 the folder's size is their number; before, its names have to be read. */
const countOpenFiles = (): number | undefined => {
  try {
    return Fs.statSync("/proc/self/fd").size || Fs.readdirSync("/proc/self/fd").length
  } catch {
    return undefined
  }
}
