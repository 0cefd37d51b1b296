/**
 * Runs tasks outside of this thread: computations, blocking libraries, code that may crash. The queue is bounded, what
 * takes too long is stopped, a worker that dies takes only its own task with it.
 *
 * Contract and errors; threads, processes and the same process are layers.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ErrorReporter from "effect/ErrorReporter"
import * as HttpServerRespondable from "effect/http/HttpServerRespondable"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Stream from "effect/Stream"
import type * as WorkerTask from "../app/WorkerTask.ts"

/** No worker is free and the queue is at `maxQueue`. Nothing ran; try again later. Fault: load, or operator. */
export interface PoolFull {
  readonly _tag: "PoolFull"
  readonly maxQueue: number
  /** When it makes sense to try again. */
  readonly retryAfterSeconds: number
}

/** The task did not end in time and was stopped, or never got a worker. Fault: application. */
export interface TaskTimeout {
  readonly _tag: "TaskTimeout"
  readonly timeoutMillis: number
}

/** The worker ended in the middle of the task. It may have had effects. Fault: application. */
export interface WorkerCrashed {
  readonly _tag: "WorkerCrashed"
  /** `undefined` when a signal ended it. */
  readonly exitCode: number | undefined
  /** What ended it, where that is known: `SIGSEGV`, the message of an uncaught error, no memory left. */
  readonly problem: string | undefined
}

/** No worker can start: the module cannot be loaded, its layer fails, or it took too long. Fault: application. */
export interface WorkerStartFailed {
  readonly _tag: "WorkerStartFailed"
  readonly problem: string
}

/** The worker module has no such task, or it has a stream where none is expected. Fault: application. */
export interface TaskUnknown {
  readonly _tag: "TaskUnknown"
}

/** The input does not fit its Schema, or cannot be sent. Nothing ran. Fault: application. */
export interface InputInvalid {
  readonly _tag: "InputInvalid"
  readonly problem: string
}

/** The result does not fit its Schema, or cannot be sent. The task ran. Fault: application. */
export interface OutputInvalid {
  readonly _tag: "OutputInvalid"
  readonly problem: string
}

/** The pool has ended, or ended before the task did. Fault: nobody; the program stops. */
export interface PoolClosed {
  readonly _tag: "PoolClosed"
  /** When it makes sense to try again, at another process. */
  readonly retryAfterSeconds: number
}

/** The handler threw, or failed with what is not declared. Fault: application. */
export interface TaskDefect {
  readonly _tag: "TaskDefect"
  /** The name and the message of what was thrown. */
  readonly problem: string
}

export type WorkerPoolErrorReason =
  | PoolFull
  | TaskTimeout
  | WorkerCrashed
  | WorkerStartFailed
  | TaskUnknown
  | InputInvalid
  | OutputInvalid
  | PoolClosed
  | TaskDefect

/**
 * Why a task has no result of its own. Match on `error.reason._tag`.
 *
 * As the answer of an HTTP handler: `PoolFull` and `PoolClosed` are 503 with `retry-after`; `TaskTimeout` is 504, since
 * what did not answer stands behind us, and a 503 would promise that a later try does better; all others are 500. None
 * says more to the client.
 */
export class WorkerPoolError extends Data.TaggedError("WorkerPoolError")<{
  /** The task's name. */
  readonly task: string
  readonly reason: WorkerPoolErrorReason
  /** Of a defect or a crash: the error with the stack it had in the worker. */
  readonly cause?: unknown
}> implements HttpServerRespondable.Respondable {
  constructor(options: { readonly task: string; readonly reason: WorkerPoolErrorReason; readonly cause?: unknown }) {
    // Our own stack says nothing about the worker's, and a full pool must be cheap.
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    try {
      super(options)
    } finally {
      Error.stackTraceLimit = limit
    }
  }

  override get message(): string {
    return `Task '${this.task}': ${sentence(this.reason)}`
  }

  /** A full queue and an ended pool are no news to whoever collects errors. */
  override get [ErrorReporter.ignore](): boolean {
    return this.reason._tag === "PoolFull" || this.reason._tag === "PoolClosed"
  }

  /** An empty answer with the status, which Slipway turns into a problem. */
  [HttpServerRespondable.symbol](): Effect.Effect<HttpServerResponse.HttpServerResponse> {
    const { reason } = this
    switch (reason._tag) {
      case "PoolFull":
      case "PoolClosed":
        return Effect.succeed(
          HttpServerResponse.empty({ status: 503, headers: { "retry-after": String(reason.retryAfterSeconds) } })
        )
      case "TaskTimeout":
        return Effect.succeed(HttpServerResponse.empty({ status: 504 }))
      default:
        return Effect.succeed(HttpServerResponse.empty({ status: 500 }))
    }
  }
}

const sentence = (reason: WorkerPoolErrorReason): string => {
  switch (reason._tag) {
    case "PoolFull":
      return `no worker is free and ${reason.maxQueue} tasks wait already (maxQueue)`
    case "TaskTimeout":
      return `no result within ${reason.timeoutMillis} ms (timeout)`
    case "WorkerCrashed":
      return `its worker ended${reason.exitCode === undefined ? "" : ` with exit code ${reason.exitCode}`}`
        + (reason.problem === undefined ? "" : `: ${reason.problem}`)
    case "WorkerStartFailed":
      return `no worker can start: ${reason.problem}`
    case "TaskUnknown":
      return "the worker module has no such task"
    case "InputInvalid":
      return `the input is not valid: ${reason.problem}`
    case "OutputInvalid":
      return `the result is not valid: ${reason.problem}`
    case "PoolClosed":
      return "the pool has ended"
    case "TaskDefect":
      return reason.problem
  }
}

/** How one task is run. */
export interface RunOptions {
  /**
   * Time from the call to the result, waiting in the queue included; of a stream, the longest time that the worker may
   * keep its reader waiting. Default: the pool's. When it is over, the task is stopped and not only forgotten.
   */
  readonly timeout?: Duration.Input
  /**
   * Among the tasks that wait, higher goes first; of the same priority the oldest. Default 0. Nothing is done against
   * starvation: a pool that always has urgent work never does the rest.
   */
  readonly priority?: number
}

/** Live facts. */
export interface Stats {
  /** Workers that start, work or wait; not those that are ending. */
  readonly workers: number
  /** Workers that have a task, or are about to stop one. */
  readonly busy: number
  /** Workers that wait for a task. */
  readonly idle: number
  /** Tasks that wait for a worker. */
  readonly queued: number
  readonly maxQueue: number
  /** Tasks since the start that ended with a result. */
  readonly completed: number
  /**
   * Tasks since the start that failed in any other way than the following: with a declared error, a defect, the end of
   * their worker or of the pool, or because nothing could be sent. An input that its Schema refuses is no task yet.
   */
  readonly failed: number
  /** Tasks since the start that were stopped by their timeout. */
  readonly timedOut: number
  /** Tasks since the start whose caller was interrupted, or whose stream's reader stopped. */
  readonly cancelled: number
  /** Tasks since the start that were refused because the queue was full. */
  readonly rejected: number
  /** Workers since the start that ended by themselves. */
  readonly crashed: number
  /** Workers since the start that could not start. */
  readonly startFailures: number
  /** Workers since the start that were replaced after `maxJobsPerWorker` tasks. */
  readonly recycled: number
  /** Workers since the start that were terminated because a task did not stop. */
  readonly terminated: number
}

export class WorkerPool extends Context.Service<WorkerPool, {
  /**
   * Runs a task in a worker and waits for its result. Interruption removes a task that waits and stops one that runs.
   *
   * The input must not change while the task waits: it is sent when a worker takes it.
   */
  readonly run: <In, A, E>(
    task: WorkerTask.Declaration<In, A, E>,
    input: In,
    options?: RunOptions
  ) => Effect.Effect<A, E | WorkerPoolError>
  /**
   * Runs a task that yields a stream. The worker goes at most a few chunks ahead of the reader, and stops when the reader
   * does. It has this one task until the stream ends.
   */
  readonly stream: <In, A, E>(
    task: WorkerTask.StreamDeclaration<In, A, E>,
    input: In,
    options?: RunOptions
  ) => Stream.Stream<A, E | WorkerPoolError>
  readonly stats: Effect.Effect<Stats>
}>()("slipway/service/WorkerPool") {}
