/**
 * WorkerPool in threads of this process: the fastest way out of the event loop. Threads share the process: code that
 * crashes it, as native code can, belongs into WorkerPoolProcesses; so does what may block for ever in a system call,
 * which no thread can be torn from.
 *
 * Messages are events of a MessagePort on both sides; nothing waits on shared memory, so a worker's own timers and
 * connections go on between tasks.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type ResourceLimits, type Transferable, Worker } from "node:worker_threads"
import { WorkerPool } from "../src/service/WorkerPool.ts"
import { textOf } from "./internal/WorkerMessage.ts"
import * as WorkerModule from "./internal/WorkerModule.ts"
import type { Spawn } from "./internal/WorkerPoolCore.ts"
import type * as WorkerPoolOptions from "./internal/WorkerPoolOptions.ts"
import * as WorkerPoolService from "./internal/WorkerPoolService.ts"

export interface Options extends WorkerPoolOptions.Options {
  /** The worker module, whose default export is a `WorkerTask.module`: `new URL("./tasks.ts", import.meta.url)`. */
  readonly module: URL
  /** Memory of each worker, in megabytes. A worker that has none left crashes. Default: Node's. */
  readonly resourceLimits?: ResourceLimits
  /** Environment variables of the workers. Default: a copy of ours. */
  readonly env?: Readonly<Record<string, string>>
}

/**
 * Opens a pool of threads, until the scope closes.
 *
 * **Fails with** nothing: workers that cannot start fail the tasks. Dies with a RangeError for an unusable option.
 */
export const make = (options: Options): Effect.Effect<WorkerPool["Service"], never, Scope.Scope> =>
  WorkerPoolService.make(spawner(options), options)

const spawner = ({ env, module, resourceLimits }: Options): Spawn => (events) => {
  const worker = new Worker(WorkerModule.threadEntry(module), {
    workerData: { module: module.href },
    ...(env === undefined ? undefined : { env }),
    ...(resourceLimits === undefined ? undefined : { resourceLimits })
  })
  let uncaught: Error | undefined
  // A program that has nothing left to do ends, with or without a pool.
  worker.unref()
  // Code in the worker has the same port, and may say what it likes.
  worker.on("message", (message) => Array.isArray(message) ? events.onMessage(message as never) : undefined)
  worker.on("error", (thrown) => {
    uncaught = thrown instanceof Error ? thrown : new Error(textOf(thrown))
  })
  // What it sent cannot be read here, for want of memory: its task would never end.
  worker.on("messageerror", (error) => {
    uncaught = error
    void worker.terminate()
  })
  worker.on("exit", (exitCode) => events.onExit(exitCode, uncaught?.message, uncaught))
  return {
    post: (message, transfer) =>
      transfer === undefined || transfer.length === 0
        ? worker.postMessage(message)
        : worker.postMessage(message, transfer as ReadonlyArray<Transferable>),
    terminate: () => void worker.terminate()
  }
}

/** A pool of threads. See `make`. */
export const layer = (options: Options): Layer.Layer<WorkerPool> => Layer.effect(WorkerPool, make(options))

/** A pool of threads with numbers from the configuration. */
export const layerConfig = (
  module: URL,
  options: Config.Wrap<Omit<Options, "module">>
): Layer.Layer<WorkerPool, Config.ConfigError> =>
  Layer.effect(WorkerPool, Effect.flatMap(Config.unwrap(options), (options) => make({ ...options, module })))
