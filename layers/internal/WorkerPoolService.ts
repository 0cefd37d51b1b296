/**
 * The WorkerPool service over a core: encodes what goes in, decodes what comes out, and turns callbacks into Effects and
 * Streams. A call costs one suspended fiber, its caller's.
 */
import type * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as WorkerTask from "../../src/app/WorkerTask.ts"
import {
  type RunOptions,
  WorkerPool,
  WorkerPoolError,
  type WorkerPoolErrorReason
} from "../../src/service/WorkerPool.ts"
import { type Spawn, WorkerPoolCore } from "./WorkerPoolCore.ts"
import { Job, type Sink } from "./WorkerPoolJob.ts"
import * as Metrics from "./WorkerPoolMetrics.ts"
import { type Limits, limitsOf, millisOf, type Options } from "./WorkerPoolOptions.ts"

/** Opens a pool whose workers `spawn` starts, until the scope closes. Dies with a RangeError for an option. */
export const make = (
  spawn: Spawn,
  options: Options
): Effect.Effect<WorkerPool["Service"], never, Scope.Scope> =>
  Effect.flatMap(Effect.context<never>(), (context) =>
    Effect.suspend(() => {
      const limits = limitsOf(options)
      const core = new WorkerPoolCore(spawn, limits, context)
      const service = WorkerPool.of({
        run: (task, input, options) => run(core, limits, task, input, options) as never,
        stream: (task, input, options) => stream(core, limits, task, input, options) as never,
        stats: Effect.sync(() => core.stats())
      })
      return Effect.as(
        Effect.andThen(
          Effect.addFinalizer(() => core.close),
          Metrics.publish(options.name ?? "default", () => core.stats())
        ),
        service
      )
    }))

const run = (
  core: WorkerPoolCore,
  limits: Limits,
  task: WorkerTask.AnyDeclaration,
  input: unknown,
  options: RunOptions | undefined
): Effect.Effect<unknown, unknown> =>
  Effect.suspend(() => {
    const transfer: Array<unknown> = []
    return Effect.flatMapEager(encodeInput(task, input, transfer), (encoded) =>
      Effect.callback<unknown, unknown>((resume) => {
        const sink: Sink = {
          // In the caller's fiber: a Schema that throws is the caller's defect, not the end of the process.
          success: (encoded) =>
            resume(Effect.suspend(() => decoded(task, task.codecs.success, encoded))),
          failure: (encoded) => resume(declared(task, encoded)),
          error: (reason, cause) => resume(failed(task, reason, cause)),
          chunk: ignore
        }
        const job = jobOf(limits, task, encoded, transfer, sink, options)
        core.submit(job)
        return Effect.sync(() => core.cancel(job))
      }))
  })

const stream = (
  core: WorkerPoolCore,
  limits: Limits,
  task: WorkerTask.AnyDeclaration,
  input: unknown,
  options: RunOptions | undefined
): Stream.Stream<unknown, unknown> =>
  Stream.unwrap(
    Effect.suspend(() => {
      const transfer: Array<unknown> = []
      return Effect.flatMap(encodeInput(task, input, transfer), (encoded) => {
        const reader = new Reader(core, task)
        reader.job = jobOf(limits, task, encoded, transfer, reader, options)
        const opened = Effect.acquireRelease(
          Effect.sync(() => core.submit(reader.job)),
          () => Effect.sync(() => core.cancel(reader.job))
        )
        return Effect.as(opened, Stream.fromPull(Effect.succeed(reader.pull)))
      })
    })
  )

/** What the reader of a stream has not taken yet: at most a window of chunks, then the end. */
class Reader implements Sink {
  job!: Job
  private readonly core: WorkerPoolCore
  private readonly task: WorkerTask.AnyDeclaration
  private readonly chunks: Array<unknown> = []
  private end: Effect.Effect<never, unknown> | undefined
  private onChange: (() => void) | undefined

  constructor(core: WorkerPoolCore, task: WorkerTask.AnyDeclaration) {
    this.core = core
    this.task = task
  }

  success(): void {
    this.finish(Cause.done())
  }

  failure(encoded: unknown): void {
    this.finish(declared(this.task, encoded))
  }

  error(reason: WorkerPoolErrorReason, cause?: unknown): void {
    this.finish(failed(this.task, reason, cause))
  }

  chunk(encoded: unknown): void {
    // Time counts while the reader waits, and no longer.
    this.job.deadline = Infinity
    this.chunks.push(encoded)
    this.change()
  }

  private finish(end: Effect.Effect<never, unknown>): void {
    this.end = end
    this.change()
  }

  private change(): void {
    const { onChange } = this
    this.onChange = undefined
    onChange?.()
  }

  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<unknown>, unknown> = Effect.suspend(() => {
    if (this.chunks.length > 0) return this.take()
    if (this.end !== undefined) return this.end
    this.core.waits(this.job)
    return Effect.flatMap(this.changed, () => this.pull)
  })

  private readonly changed = Effect.callback<void>((resume) => {
    this.onChange = () => resume(Effect.void)
  })

  private take(): Effect.Effect<Arr.NonEmptyReadonlyArray<unknown>, unknown> {
    this.core.acknowledge(this.job)
    // A worker sends no chunk that is empty.
    return decoded(this.task, this.task.codecs.success, this.chunks.shift()) as Effect.Effect<
      Arr.NonEmptyReadonlyArray<unknown>,
      unknown
    >
  }
}

const ignore = (): void => {}

const jobOf = (
  limits: Limits,
  task: WorkerTask.AnyDeclaration,
  encoded: unknown,
  transfer: ReadonlyArray<unknown>,
  sink: Sink,
  options: RunOptions | undefined
): Job => {
  const priority = options?.priority ?? 0
  if (Number.isNaN(priority)) throw new RangeError("priority must be a number, not NaN")
  const timeoutMillis = options?.timeout === undefined ? limits.timeoutMillis : millisOf(options.timeout)
  return new Job(task, encoded, transfer, sink, priority, timeoutMillis)
}

const failed = (
  { name }: WorkerTask.AnyDeclaration,
  reason: WorkerPoolErrorReason,
  cause?: unknown
): Effect.Effect<never, WorkerPoolError> =>
  Effect.fail(new WorkerPoolError({ task: name, reason, ...(cause === undefined ? undefined : { cause }) }))

const encodeInput = (
  task: WorkerTask.AnyDeclaration,
  input: unknown,
  transfer: Array<unknown>
): Effect.Effect<unknown, WorkerPoolError> =>
  Effect.mapErrorEager(
    task.codecs.input.encode(input, transfer),
    ({ message }) => new WorkerPoolError({ task: task.name, reason: { _tag: "InputInvalid", problem: message } })
  )

const decoded = (
  task: WorkerTask.AnyDeclaration,
  codec: { readonly decode: (encoded: unknown) => Effect.Effect<unknown, Schema.SchemaError> },
  encoded: unknown
): Effect.Effect<unknown, WorkerPoolError> =>
  Effect.mapErrorEager(
    codec.decode(encoded),
    ({ message }) => new WorkerPoolError({ task: task.name, reason: { _tag: "OutputInvalid", problem: message } })
  )

const declared = (task: WorkerTask.AnyDeclaration, encoded: unknown): Effect.Effect<never, unknown> =>
  Effect.suspend(() => Effect.flatMap(decoded(task, task.codecs.error, encoded), (error) => Effect.fail(error)))
