/**
 * The pool: which worker takes which job, how many workers there are, when one is replaced, what happens when time is
 * over. Knows workers by the small interface `WorkerHandle`; threads, processes and inline workers are behind it.
 *
 * Nothing in here is a fiber but the alarm, and nothing polls: every change comes with a call, a message or the alarm.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Stats, WorkerPoolErrorReason } from "../../src/service/WorkerPool.ts"
import { inModule } from "./LogLevels.ts"
import { fromThrown, FromWorker, textOf, ToWorker } from "./WorkerMessage.ts"
import { Alarm } from "./WorkerPoolAlarm.ts"
import { type Job, JobQueue } from "./WorkerPoolJob.ts"
import type { Limits } from "./WorkerPoolOptions.ts"

/** What a worker reports to its pool. */
export interface WorkerEvents {
  readonly onMessage: (message: FromWorker) => void
  /** Once, last. `problem` is what ended it, where that is known. */
  readonly onExit: (exitCode: number | undefined, problem: string | undefined, cause?: unknown) => void
}

/** One worker as the pool sees it. */
export interface WorkerHandle {
  /** Throws when a value cannot be cloned; the worker has then seen nothing. */
  readonly post: (message: ToWorker, transfer?: ReadonlyArray<unknown>) => void
  /** Ends the worker, whatever it does. `onExit` follows. */
  readonly terminate: () => void
}

/** Starts a worker. May throw. */
export type Spawn = (events: WorkerEvents) => WorkerHandle

type State = "starting" | "idle" | "busy" | "cancelling" | "ending"

class PoolWorker {
  handle!: WorkerHandle
  state: State = "starting"
  job: Job | undefined
  jobId = 0
  jobsTaken = 0
  /** Until when it has to be ready, to have stopped its task, or to have ended; of an idle one, how long it is kept. */
  deadline = Infinity
  isTerminated = false
}

const firstBackoffMillis = 1000
const maxBackoffMillis = 30_000
/** What a terminated worker has at least until it is left behind. */
const minExitMillis = 1000

export class WorkerPoolCore {
  private readonly spawn: Spawn
  private readonly limits: Limits
  private readonly alarm: Alarm
  private readonly queue = new JobQueue()
  /** All that have not exited. */
  private readonly workers = new Set<PoolWorker>()
  /** The last one is used first, so that what is not needed stays idle. */
  private readonly idle: Array<PoolWorker> = []
  private isClosed = false
  private onEmpty: (() => void) | undefined
  /** Until when running tasks may finish; after the cut, until when workers are waited for. */
  private closeDeadline = Infinity
  private isCut = false
  private live = 0
  private busy = 0
  private starting = 0
  /** Workers in a row that ended before they did anything. */
  private failures = 0
  private notBefore = -Infinity
  private startProblem: { readonly problem: string; readonly cause: unknown } | undefined
  private readonly counts = {
    completed: 0,
    failed: 0,
    timedOut: 0,
    cancelled: 0,
    rejected: 0,
    crashed: 0,
    startFailures: 0,
    recycled: 0,
    terminated: 0
  }

  constructor(spawn: Spawn, limits: Limits, context: Context.Context<never>) {
    this.spawn = spawn
    this.limits = limits
    this.alarm = new Alarm(context, (now) => this.look(now))
    this.grow()
  }

  stats(): Stats {
    const { busy, counts, idle, limits, live, queue } = this
    return { workers: live, busy, idle: idle.length, queued: queue.size, maxQueue: limits.maxQueue, ...counts }
  }

  // ---- jobs

  /** Gives the job to a worker, or lets it wait, or refuses it. The sink may be called before this returns. */
  submit(job: Job): void {
    if (this.isClosed) return this.fail(job, this.closed)
    const worker = this.idle.pop()
    if (worker !== undefined) {
      this.waits(job)
      return this.assign(worker, job) ? undefined : this.use(worker)
    }
    if (this.live === 0 && this.alarm.now < this.notBefore) return this.failStart(job)
    // A job that a worker which is not there yet will take is not one too many.
    if (this.queue.size >= this.limits.maxQueue + this.limits.maxWorkers - this.busy) {
      const { maxQueue, retryAfterSeconds } = this.limits
      return this.fail(job, { _tag: "PoolFull", maxQueue, retryAfterSeconds }, undefined, "rejected")
    }
    this.waits(job)
    this.queue.add(job)
    this.grow()
  }

  /** The caller of the job has gone. */
  cancel(job: Job): void {
    if (!job.settle()) return
    this.counts.cancelled++
    this.abandon(job)
  }

  /** The reader of a stream waits from now on. */
  waits(job: Job): void {
    job.deadline = this.alarm.now + job.timeoutMillis
    this.alarm.set(job.deadline)
  }

  /** The reader of a stream has taken a chunk. */
  acknowledge(job: Job): void {
    const worker = this.workerOf(job)
    worker?.handle.post([ToWorker.credit, worker.jobId])
  }

  private workerOf(job: Job): PoolWorker | undefined {
    for (const worker of this.workers) if (worker.job === job) return worker
    return undefined
  }

  /** Takes a settled job out of the queue, or stops it in its worker. */
  private abandon(job: Job): void {
    if (job.isQueued) return this.queue.remove(job)
    const worker = this.workerOf(job)
    if (worker === undefined) return
    worker.state = "cancelling"
    this.expect(worker, this.limits.interruptGraceMillis)
    worker.handle.post([ToWorker.interrupt, worker.jobId])
  }

  /** **Returns** false when the input cannot be sent: the job has failed, and the worker has none. */
  private assign(worker: PoolWorker, job: Job): boolean {
    const { input, task, transfer } = job
    try {
      worker.handle.post([ToWorker.run, ++worker.jobId, task.name, task.isStream, input], transfer)
    } catch (cause) {
      this.fail(job, { _tag: "InputInvalid", problem: textOf(cause) }, cause)
      return false
    }
    worker.state = "busy"
    worker.job = job
    worker.deadline = Infinity
    worker.jobsTaken++
    this.busy++
    return true
  }

  /** Every task ends here, with a result, or with its caller. */
  private fail(
    job: Job,
    reason: WorkerPoolErrorReason,
    cause?: unknown,
    outcome: "failed" | "timedOut" | "rejected" = "failed"
  ): void {
    if (!job.settle()) return
    this.counts[outcome]++
    job.sink.error(reason, cause)
  }

  /** The worker has no job any more: it takes the next one, is replaced, or waits. */
  private free(worker: PoolWorker): void {
    worker.job = undefined
    worker.deadline = Infinity
    this.busy--
    this.failures = 0
    if (!this.isClosed && worker.jobsTaken >= this.limits.maxJobsPerWorker) {
      this.counts.recycled++
      this.end(worker)
      return this.grow()
    }
    this.use(worker)
  }

  private use(worker: PoolWorker): void {
    for (let job = this.queue.take(); job !== undefined; job = this.queue.take()) {
      if (this.assign(worker, job)) return
    }
    if (this.isClosed) return this.end(worker)
    worker.state = "idle"
    this.idle.push(worker)
    if (this.live > this.limits.minWorkers) this.expect(worker, this.limits.idleTimeoutMillis)
  }

  // ---- workers

  /** Starts the workers that are needed and allowed now. */
  private grow(): void {
    if (this.isClosed) return
    const { maxWorkers, minWorkers } = this.limits
    const isNeeded = () => this.live < minWorkers || (this.live < maxWorkers && this.starting < this.queue.size)
    while (isNeeded()) {
      if (this.alarm.now < this.notBefore) return this.alarm.set(this.notBefore)
      this.startOne()
    }
  }

  private startOne(): void {
    const worker = new PoolWorker()
    this.live++
    this.starting++
    this.workers.add(worker)
    this.expect(worker, this.limits.startTimeoutMillis)
    try {
      worker.handle = this.spawn({
        onMessage: (message) => this.onMessage(worker, message),
        onExit: (exitCode, problem, cause) => this.onExit(worker, exitCode, problem, cause)
      })
    } catch (cause) {
      this.workers.delete(worker)
      this.onStartFailed(worker, textOf(cause), cause)
    }
  }

  private expect(worker: PoolWorker, millis: number): void {
    worker.deadline = this.alarm.now + millis
    this.alarm.set(worker.deadline)
  }

  /** Asks a worker without a job to release what it holds and to end. */
  private end(worker: PoolWorker): void {
    worker.state = "ending"
    this.live--
    worker.handle.post([ToWorker.stop])
    this.expect(worker, this.limits.closeGraceMillis)
    if (this.closeDeadline < worker.deadline) worker.deadline = this.closeDeadline
  }

  private terminate(worker: PoolWorker): void {
    if (worker.state !== "ending") {
      if (worker.state === "starting") this.starting--
      if (worker.job !== undefined) {
        this.busy--
        this.counts.terminated++
      }
      this.live--
    }
    worker.state = "ending"
    worker.job = undefined
    worker.deadline = Infinity
    worker.isTerminated = true
    worker.handle.terminate()
  }

  private onMessage(worker: PoolWorker, message: FromWorker): void {
    if (message[0] === FromWorker.ready) return this.onReady(worker)
    if (message[0] === FromWorker.startFailed) {
      if (worker.state !== "starting") return
      const { message: problem } = message[1]
      this.onStartFailed(worker, problem, fromThrown(message[1]))
      return this.terminate(worker)
    }
    const { job } = worker
    if (job === undefined || message[1] !== worker.jobId) return
    switch (message[0]) {
      case FromWorker.chunk:
        return job.isSettled ? undefined : job.sink.chunk(message[2])
      case FromWorker.uninterruptible:
        this.terminate(worker)
        return this.grow()
      default:
        // The worker has its next job before the caller of this one goes on.
        this.free(worker)
        return this.deliver(job, message)
    }
  }

  private deliver(job: Job, message: FromWorker): void {
    switch (message[0]) {
      case FromWorker.success:
        if (!job.settle()) return
        this.counts.completed++
        return job.sink.success(message[2])
      case FromWorker.failure:
        if (!job.settle()) return
        this.counts.failed++
        return job.sink.failure(message[2])
      case FromWorker.defect: {
        const { message: text, name } = message[2]
        return this.fail(job, { _tag: "TaskDefect", problem: `${name}: ${text}` }, fromThrown(message[2]))
      }
      case FromWorker.refused:
        return message[2] === "TaskUnknown"
          ? this.fail(job, { _tag: "TaskUnknown" })
          : this.fail(job, { _tag: message[2], problem: message[3] })
    }
  }

  private onReady(worker: PoolWorker): void {
    if (worker.state !== "starting") return
    this.starting--
    worker.deadline = Infinity
    this.use(worker)
  }

  private onExit(worker: PoolWorker, exitCode: number | undefined, problem: string | undefined, cause: unknown): void {
    this.workers.delete(worker)
    const { job, state } = worker
    if (state === "starting") {
      this.onStartFailed(worker, problem ?? `it ended with exit code ${exitCode} before it was ready`, cause)
    } else if (state !== "ending") {
      worker.state = "ending"
      this.live--
      this.counts.crashed++
      if (job !== undefined) this.busy--
      else this.idle.splice(this.idle.indexOf(worker), 1)
      // Without a job nobody slows it down: what ends again and again by itself must not start again and again.
      if (worker.jobsTaken === 0) this.backOff()
      if (job !== undefined) this.fail(job, { _tag: "WorkerCrashed", exitCode, problem }, cause)
      this.grow()
    }
    if (this.isClosed && this.workers.size === 0) this.onEmpty?.()
  }

  private onStartFailed(worker: PoolWorker, problem: string, cause: unknown): void {
    worker.state = "ending"
    worker.deadline = Infinity
    this.live--
    this.starting--
    this.counts.startFailures++
    this.startProblem = { problem, cause }
    this.backOff()
    // Others will take what waits.
    if (this.live === 0) { for (const job of this.queue.toArray()) this.failStart(job) }
    this.grow()
  }

  private failStart(job: Job): void {
    if (job.isSettled) return
    if (job.isQueued) this.queue.remove(job)
    const { cause, problem } = this.startProblem ?? { problem: "it ended before its first task", cause: undefined }
    this.fail(job, { _tag: "WorkerStartFailed", problem }, cause)
  }

  private backOff(): void {
    const { now } = this.alarm
    // Workers that started together fail together: that is one failure.
    if (now < this.notBefore) return
    this.notBefore = now + Math.min(firstBackoffMillis * 2 ** this.failures++, maxBackoffMillis)
  }

  // ---- time

  /** Does what is due. **Returns** the next deadline. */
  private look(now: number): number {
    for (const job of this.queue.toArray()) if (job.deadline <= now) this.timeOut(job)
    for (const worker of this.workers) {
      if (worker.job !== undefined && !worker.job.isSettled && worker.job.deadline <= now) this.timeOut(worker.job)
      if (worker.deadline <= now) this.onDeadline(worker)
    }
    if (this.closeDeadline <= now) this.cut(now)
    this.grow()
    return this.earliest(now)
  }

  private earliest(now: number): number {
    let next = this.closeDeadline <= now ? Infinity : this.closeDeadline
    for (const { deadline } of this.queue.toArray()) next = Math.min(next, deadline)
    for (const { deadline, job } of this.workers) {
      next = Math.min(next, deadline, job === undefined || job.isSettled ? Infinity : job.deadline)
    }
    return next
  }

  private timeOut(job: Job): void {
    if (job.isSettled) return
    this.abandon(job)
    this.fail(job, { _tag: "TaskTimeout", timeoutMillis: job.timeoutMillis }, undefined, "timedOut")
  }

  private onDeadline(worker: PoolWorker): void {
    worker.deadline = Infinity
    switch (worker.state) {
      case "starting":
        this.onStartFailed(worker, `it was not ready in ${this.limits.startTimeoutMillis} ms (startTimeout)`, undefined)
        return this.terminate(worker)
      case "idle":
        if (this.live <= this.limits.minWorkers) return
        this.idle.splice(this.idle.indexOf(worker), 1)
        return this.end(worker)
      case "cancelling":
      case "ending":
        if (!worker.isTerminated) this.terminate(worker)
        return
      case "busy":
        return
    }
  }

  // ---- the end

  /**
   * Refuses what waits, lets running tasks finish for the grace, releases the workers. A thread that blocks in native
   * code cannot be terminated: it is left behind after a second grace, and said so.
   */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.isClosed = true
    this.closeDeadline = this.alarm.now + this.limits.closeGraceMillis
    for (const job of this.queue.toArray()) {
      if (job.isQueued) this.queue.remove(job)
      this.fail(job, this.closed)
    }
    for (const worker of this.idle.splice(0)) this.end(worker)
    for (const worker of this.workers) if (worker.state === "starting") this.terminate(worker)
    if (this.workers.size > 0) this.alarm.set(this.closeDeadline)
    const exited = Effect.callback<void>((resume) => {
      this.onEmpty = () => resume(Effect.void)
      if (this.workers.size === 0) this.onEmpty()
    })
    return Effect.andThen(
      exited,
      Effect.suspend(() => {
        this.alarm.stop()
        const { size } = this.workers
        return size === 0
          ? Effect.void
          : inModule("WorkerPool")(Effect.logWarning(`${size} workers of the pool cannot be ended`))
      })
    )
  })

  private cut(now: number): void {
    if (this.isCut) return this.onEmpty?.()
    this.isCut = true
    this.closeDeadline = now + Math.max(minExitMillis, this.limits.closeGraceMillis)
    for (const worker of this.workers) {
      const { job } = worker
      if (!worker.isTerminated) this.terminate(worker)
      if (job !== undefined) this.fail(job, this.closed)
    }
  }

  private get closed(): WorkerPoolErrorReason {
    return { _tag: "PoolClosed", retryAfterSeconds: this.limits.retryAfterSeconds }
  }
}
