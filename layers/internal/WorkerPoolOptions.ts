/**
 * What every WorkerPool layer can be told, whatever its workers are, and the numbers that come of it. A value that
 * cannot be used is a mistake in the program: a RangeError that names the option.
 */
import * as Duration from "effect/Duration"

export interface Options {
  /** Name of the pool in metrics: the attribute `pool`. Default `default`. */
  readonly name?: string
  /** Workers that are kept when there is nothing to do, and started with the pool. 0 or more. Default 1. */
  readonly minWorkers?: number
  /**
   * Workers at the same time. 1 or more. Default 4, or `minWorkers` where that is more: the reference's number, which
   * blocking libraries can use on any machine. For computations, the number of cores that may be busy.
   */
  readonly maxWorkers?: number
  /** Tasks that may wait. 0 or more, Infinity for no limit. Default 100; one more fails at once with `PoolFull`. */
  readonly maxQueue?: number
  /** For tasks that name none, see `RunOptions.timeout`. Default 30 seconds. */
  readonly timeout?: Duration.Input
  /**
   * Tasks after which a worker is replaced, against libraries that leak. 1 or more. Default: never, because a start costs
   * as much CPU as some thousand small tasks; the reference, whose workers are forked, has 1000.
   */
  readonly maxJobsPerWorker?: number
  /** How long workers above `minWorkers` are kept without a task. Default 60 seconds. */
  readonly idleTimeout?: Duration.Input
  /** Time from the start of a worker until its module is loaded and its layer built. Default 30 seconds. */
  readonly startTimeout?: Duration.Input
  /**
   * How long a task that is no longer wanted has for its finalizers, before its worker is terminated. Default 250
   * millis. Callers do not wait for it.
   */
  readonly interruptGrace?: Duration.Input
  /**
   * How long running tasks have when the pool ends, and a worker to release its layer whenever it ends. Default 5
   * seconds; then they are terminated.
   */
  readonly closeGrace?: Duration.Input
  /** What `retry-after` says when the queue is full, in whole seconds. Default 1 second. */
  readonly retryAfter?: Duration.Input
}

export interface Limits {
  readonly minWorkers: number
  readonly maxWorkers: number
  readonly maxQueue: number
  readonly timeoutMillis: number
  readonly maxJobsPerWorker: number
  readonly idleTimeoutMillis: number
  readonly startTimeoutMillis: number
  readonly interruptGraceMillis: number
  readonly closeGraceMillis: number
  readonly retryAfterSeconds: number
}

/** Throws a RangeError. */
export const limitsOf = (options: Options): Limits => {
  const { maxJobsPerWorker = Infinity, maxQueue = 100, minWorkers = 1 } = options
  const { maxWorkers = Math.max(4, minWorkers) } = options
  const retryAfterSeconds = Math.max(1, Math.ceil(millisOf(options.retryAfter ?? "1 second") / 1000))
  atLeast("minWorkers", minWorkers, 0, false)
  atLeast("maxWorkers", maxWorkers, Math.max(1, minWorkers), false)
  atLeast("maxQueue", maxQueue, 0)
  atLeast("maxJobsPerWorker", maxJobsPerWorker, 1)
  atLeast("retryAfter in seconds", retryAfterSeconds, 1, false)
  return {
    minWorkers,
    maxWorkers,
    maxQueue,
    maxJobsPerWorker,
    timeoutMillis: millisOf(options.timeout ?? "30 seconds"),
    idleTimeoutMillis: millisOf(options.idleTimeout ?? "60 seconds"),
    startTimeoutMillis: millisOf(options.startTimeout ?? "30 seconds"),
    interruptGraceMillis: millisOf(options.interruptGrace ?? "250 millis"),
    closeGraceMillis: millisOf(options.closeGrace ?? "5 seconds"),
    retryAfterSeconds
  }
}

export const millisOf = (duration: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(duration))

const atLeast = (name: string, value: number, least: number, canBeInfinite = true): void => {
  if (value >= least && (Number.isSafeInteger(value) || (canBeInfinite && value === Infinity))) return
  throw new RangeError(`${name} must be an integer of ${least} or more, not ${value}`)
}
