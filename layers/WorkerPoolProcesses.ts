/**
 * WorkerPool in processes of their own, for code that can take a process down: native modules, libraries that call
 * `process.exit` or change its state. A task costs more than in a thread, and nothing is moved: bytes are copied.
 *
 * A worker ends with its parent, however that ends and whatever it does at that moment.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { fork } from "node:child_process"
import type { Socket } from "node:net"
import { WorkerPool } from "../src/service/WorkerPool.ts"
import * as WorkerModule from "./internal/WorkerModule.ts"
import type { Spawn } from "./internal/WorkerPoolCore.ts"
import type * as WorkerPoolOptions from "./internal/WorkerPoolOptions.ts"
import * as WorkerPoolService from "./internal/WorkerPoolService.ts"

export interface Options extends WorkerPoolOptions.Options {
  /** The worker module, whose default export is a `WorkerTask.module`: `new URL("./tasks.ts", import.meta.url)`. */
  readonly module: URL
  /** Environment variables of the workers. Default: a copy of ours. */
  readonly env?: Readonly<Record<string, string>>
  /** Arguments of Node for the workers, such as `--max-old-space-size=512`. Default: ours, without a debugger. */
  readonly execArgv?: ReadonlyArray<string>
}

/**
 * Opens a pool of processes, until the scope closes.
 *
 * **Fails with** nothing: workers that cannot start fail the tasks. Dies with a RangeError for an unusable option.
 */
export const make = (options: Options): Effect.Effect<WorkerPool["Service"], never, Scope.Scope> =>
  WorkerPoolService.make(spawner(options), options)

const spawner = ({ env, execArgv, module }: Options): Spawn => (events) => {
  const child = fork(WorkerModule.entry, [module.href], {
    execArgv: WorkerModule.execArgv(module, execArgv),
    serialization: "advanced",
    // The last is never written to: its end is the end of the parent, also for a worker that is busy.
    stdio: ["ignore", "inherit", "inherit", "ipc", "pipe"],
    ...(env === undefined ? undefined : { env })
  })
  let hasEnded = false
  const end = (exitCode: number | undefined, problem: string | undefined, cause?: unknown): void => {
    if (hasEnded) return
    hasEnded = true
    events.onExit(exitCode, problem, cause)
  }
  // Code in the worker has the same channel, and may say what it likes.
  child.on("message", (message) => Array.isArray(message) ? events.onMessage(message as never) : undefined)
  child.on("exit", (exitCode, signal) => {
    const onEnd = () => end(exitCode ?? undefined, signal ?? undefined)
    // What it said before it ended may still be on the way.
    if (child.connected) child.once("disconnect", onEnd)
    else onEnd()
  })
  // It could not be started, and there will be no exit.
  child.on("error", (error) => child.pid === undefined ? end(undefined, error.message, error) : undefined)
  // A program that has nothing left to do ends, with or without a pool.
  child.unref()
  child.channel?.unref()
  // A Socket, whatever its type says; where no file can be opened any more there are no streams at all.
  const lifeline = child.stdio?.[4] as Socket | undefined
  lifeline?.on("error", () => {}).unref()
  return {
    // The callback takes the error of a channel that has closed meanwhile: the exit follows.
    post: (message) => void child.send(message, () => {}),
    terminate: () => void child.kill("SIGKILL")
  }
}

/** A pool of processes. See `make`. */
export const layer = (options: Options): Layer.Layer<WorkerPool> => Layer.effect(WorkerPool, make(options))

/** A pool of processes with numbers from the configuration. */
export const layerConfig = (
  module: URL,
  options: Config.Wrap<Omit<Options, "module">>
): Layer.Layer<WorkerPool, Config.ConfigError> =>
  Layer.effect(WorkerPool, Effect.flatMap(Config.unwrap(options), (options) => make({ ...options, module })))
