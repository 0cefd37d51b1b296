/**
 * WorkerPool in the same process and thread, for tests: the same queue, the same Schemas, the same copies, and handlers
 * that run as fibers under the test's own Clock. Each worker has its own state.
 *
 * Cannot stop what does not yield: a busy loop blocks the process, and what a Promise does goes on when nobody waits for
 * it any more. A handler that ends the process ends the process.
 */
import * as Config from "effect/Config"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as WorkerTask from "../src/app/WorkerTask.ts"
import { WorkerPool } from "../src/service/WorkerPool.ts"
import { defaultExport } from "./internal/TypeScript.ts"
import type { Spawn } from "./internal/WorkerPoolCore.ts"
import type * as WorkerPoolOptions from "./internal/WorkerPoolOptions.ts"
import * as WorkerPoolService from "./internal/WorkerPoolService.ts"
import { WorkerRunner } from "./internal/WorkerRunner.ts"

export interface Options extends WorkerPoolOptions.Options {
  /** The worker module, or its address. */
  readonly module: URL | WorkerTask.Module
}

/**
 * Opens a pool of inline workers, until the scope closes.
 *
 * **Fails with** nothing: workers that cannot start fail the tasks. Dies with a RangeError for an unusable option.
 */
export const make = (options: Options): Effect.Effect<WorkerPool["Service"], never, Scope.Scope> =>
  Effect.flatMap(
    Effect.context<never>(),
    (context) => WorkerPoolService.make(spawner(options.module, context), options)
  )

const spawner = (module: Options["module"], context: Context.Context<never>): Spawn => (events) => {
  let hasEnded = false
  const exit = (): void => {
    if (hasEnded) return
    hasEnded = true
    queueMicrotask(() => events.onExit(0, undefined))
  }
  /** A message arrives later, as a copy, and not at all where nobody is any more. */
  const later = <A>(receive: (message: A) => void) => (message: A, transfer?: ReadonlyArray<unknown>): void => {
    const copy = structuredClone(message, { transfer: (transfer ?? []) as Array<Transferable> })
    queueMicrotask(() => hasEnded ? undefined : receive(copy))
  }
  const runner = new WorkerRunner({ send: later(events.onMessage), exit }, context)
  runner.start(() => module instanceof URL ? import(module.href).then(defaultExport) : Promise.resolve(module))
  return {
    post: later((message) => runner.receive(message)),
    terminate: () => {
      exit()
      runner.stop()
    }
  }
}

/** A pool of inline workers. See `make`. */
export const layer = (options: Options): Layer.Layer<WorkerPool> => Layer.effect(WorkerPool, make(options))

/** A pool of inline workers with numbers from the configuration. */
export const layerConfig = (
  module: URL | WorkerTask.Module,
  options: Config.Wrap<Omit<Options, "module">>
): Layer.Layer<WorkerPool, Config.ConfigError> =>
  Layer.effect(WorkerPool, Effect.flatMap(Config.unwrap(options), (options) => make({ ...options, module })))
