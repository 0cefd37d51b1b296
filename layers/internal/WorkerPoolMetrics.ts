/**
 * A pool's numbers as Effect Metrics, read when somebody reads them: a task costs an increment and no Metric update. The
 * series have the attribute `pool`; of two open pools with one name the later one is seen. They go when the pool does.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import type { Stats } from "../../src/service/WorkerPool.ts"

const gauges: ReadonlyArray<readonly [name: string, key: keyof Stats, description: string]> = [
  ["worker_pool_workers", "workers", "Workers that start, work or wait"],
  ["worker_pool_busy_workers", "busy", "Workers that have a task"],
  ["worker_pool_queued_tasks", "queued", "Tasks that wait for a worker"]
]

const counters: ReadonlyArray<readonly [name: string, key: keyof Stats, description: string]> = [
  ["worker_pool_completed_tasks_total", "completed", "Tasks that ended with a result"],
  ["worker_pool_failed_tasks_total", "failed", "Tasks that failed otherwise"],
  ["worker_pool_timed_out_tasks_total", "timedOut", "Tasks stopped by their timeout"],
  ["worker_pool_cancelled_tasks_total", "cancelled", "Tasks whose caller was interrupted"],
  ["worker_pool_rejected_tasks_total", "rejected", "Tasks refused because the queue was full"],
  ["worker_pool_crashed_workers_total", "crashed", "Workers that ended by themselves"],
  ["worker_pool_failed_workers_total", "startFailures", "Workers that could not start"],
  ["worker_pool_recycled_workers_total", "recycled", "Workers replaced after their number of tasks"],
  ["worker_pool_terminated_workers_total", "terminated", "Workers terminated because a task did not stop"]
]

const ignore = (): void => {}

/** Publishes the numbers under the pool's name until the scope closes. */
export const publish = (
  name: string,
  stats: () => Stats
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(Effect.context<Scope.Scope>(), (services) => {
    // Attributes of the fiber belong to the series; its other services do not matter.
    const context = services as Context.Context<never>
    const attributes = { pool: name }
    const registered = [
      ...gauges.map(([id, key, description]) =>
        Metric.registerUnsafe(Metric.gauge(id, { description, attributes }), context, {
          get: () => ({ value: stats()[key] }),
          update: ignore,
          modify: ignore
        })
      ),
      ...counters.map(([id, key, description]) =>
        Metric.registerUnsafe(Metric.counter(id, { description, attributes, incremental: true }), context, {
          get: () => ({ count: stats()[key], incremental: true }),
          update: ignore,
          modify: ignore
        })
      )
    ]
    return Effect.addFinalizer(() => Effect.sync(() => registered.forEach((registration) => registration.remove())))
  })
