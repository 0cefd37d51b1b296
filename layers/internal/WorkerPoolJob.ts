/**
 * One task on its way through a pool, and the queue of those that wait. What a caller sees is a `Sink`; a job is settled
 * exactly once, whoever comes first: the worker, the timeout, the caller's interruption, the end of the pool.
 */
import type * as WorkerTask from "../../src/app/WorkerTask.ts"
import type { WorkerPoolErrorReason } from "../../src/service/WorkerPool.ts"

/** Where a job's answer goes. */
export interface Sink {
  readonly success: (encoded: unknown) => void
  /** A declared error. */
  readonly failure: (encoded: unknown) => void
  readonly error: (reason: WorkerPoolErrorReason, cause?: unknown) => void
  readonly chunk: (encoded: unknown) => void
}

export class Job {
  readonly task: WorkerTask.AnyDeclaration
  readonly input: unknown
  readonly transfer: ReadonlyArray<unknown>
  readonly sink: Sink
  readonly priority: number
  readonly timeoutMillis: number
  /** Clock's milliseconds; Infinity while a stream's reader does not wait. */
  deadline = Infinity
  isSettled = false
  previous: Job | undefined
  next: Job | undefined
  isQueued = false

  constructor(
    task: WorkerTask.AnyDeclaration,
    input: unknown,
    transfer: ReadonlyArray<unknown>,
    sink: Sink,
    priority: number,
    timeoutMillis: number
  ) {
    this.task = task
    this.input = input
    this.transfer = transfer
    this.sink = sink
    this.priority = priority
    this.timeoutMillis = timeoutMillis
  }

  /** **Returns** false when the job was settled before, and nothing is to be done. */
  settle(): boolean {
    if (this.isSettled) return false
    this.isSettled = true
    return true
  }
}

/**
 * Jobs by priority, the oldest first within one. A linked list: taking and removing is one step at any length, adding
 * is one step for who has the lowest priority and passes the lower ones otherwise.
 */
export class JobQueue {
  size = 0
  private first: Job | undefined
  private last: Job | undefined

  add(job: Job): void {
    let before = this.last
    while (before !== undefined && before.priority < job.priority) before = before.previous
    job.previous = before
    job.next = before === undefined ? this.first : before.next
    if (job.previous === undefined) this.first = job
    else job.previous.next = job
    if (job.next === undefined) this.last = job
    else job.next.previous = job
    job.isQueued = true
    this.size++
  }

  take(): Job | undefined {
    const job = this.first
    if (job !== undefined) this.remove(job)
    return job
  }

  remove(job: Job): void {
    if (job.previous === undefined) this.first = job.next
    else job.previous.next = job.next
    if (job.next === undefined) this.last = job.previous
    else job.next.previous = job.previous
    job.previous = job.next = undefined
    job.isQueued = false
    this.size--
  }

  /** All of them now: what is done to one may remove others. */
  toArray(): Array<Job> {
    const jobs: Array<Job> = []
    for (let job = this.first; job !== undefined; job = job.next) jobs.push(job)
    return jobs
  }
}
