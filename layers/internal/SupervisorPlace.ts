/**
 * The place of one worker: takes it with a process, watches that one, takes it again after a crash, puts a new worker
 * in the place of an old one. Knows nothing of the other places but what `Crew` says.
 *
 * A worker that takes another one's place serves before that one is asked to stop, so that a restart costs no request.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { Child, ChildExit, Options, WorkerStatus } from "./Supervisor.ts"

/** What all places share. */
export interface Crew {
  /** Those of now: a restart may read them anew. */
  options: Options
  readonly spawn: (number: number, options: Options) => Effect.Effect<Child>
  readonly scope: Scope.Scope
  /** Every process that has not ended, with its number. */
  readonly alive: Map<Child, number>
  /** Those that were asked to end: their end is no crash. */
  readonly leaving: WeakSet<Child>
  /** One at a time: restarts, replacements, changes of the number. */
  readonly changing: Semaphore.Semaphore
  isStopping: boolean
  /** Runs when a place is given up. */
  readonly onDead: Effect.Effect<void>
}

/** A life shorter than this is a crash of the kind that comes back at once. */
const shortLifeMillis = 10_000
const firstBackoffMillis = 1000
const maxBackoffMillis = 30_000
/** Starts that fail in a row until a place is given up. */
const maxStartFailures = 5
/** A look at the heartbeats that comes so much too late says that the supervisor itself stood still. */
const stallMillis = 1000

export class Place {
  readonly number: number
  child: Child | undefined = undefined
  state: WorkerStatus["state"] = "starting"
  sinceMillis: number | undefined = undefined
  crashes = 0
  private readonly crew: Crew
  /** Was started, and does not serve yet. */
  private candidate: Child | undefined = undefined
  /** Crashes after short lives and failed starts, in a row. */
  private shortLives = 0
  private startFailures = 0
  private isRemoved = false
  /** One start at a time. */
  private readonly starting = Semaphore.makeUnsafe(1)
  /** Opened where waiting for the next start has no point any more. */
  private readonly retry = Latch.makeUnsafe(false)

  constructor(number: number, crew: Crew) {
    this.number = number
    this.crew = crew
  }

  private get isOver(): boolean {
    return this.crew.isStopping || this.isRemoved
  }

  /** Starts a worker for a place that has none. **Returns** whether it serves. */
  readonly fill: Effect.Effect<boolean> = Effect.suspend(() => {
    this.state = "starting"
    return this.start
  })

  /** Puts a new worker in the place of the present one. **Returns** false when it does not start: the old one stays. */
  readonly replace: Effect.Effect<boolean> = Effect.suspend(() =>
    this.starting.withPermit(Effect.suspend(() => {
      const old = this.child
      return Effect.tap(
        this.start,
        (serves) => serves && old !== undefined ? later(this.crew, end(this.crew, old, "restart")) : Effect.void
      )
    }))
  )

  /**
   * Sees to it that whoever serves here was started after this: replaces the worker, or has the place taken anew at
   * once where it waits, was given up, or is being taken by one that was started before. **Returns** as `replace`.
   */
  readonly renew: Effect.Effect<boolean> = Effect.suspend(() => {
    this.shortLives = 0
    this.startFailures = 0
    if (this.child !== undefined) return this.replace
    if (this.state === "dead") return Effect.as(later(this.crew, this.recover), true)
    const { candidate } = this
    if (candidate === undefined) return Effect.as(this.retry.open, true)
    this.crew.leaving.add(candidate)
    return Effect.as(candidate.kill, true)
  })

  /** Takes the place again after a failure: at once for the first time, then later and later, until it is given up. */
  readonly recover: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    while (!this.isOver && this.child === undefined) {
      if (this.startFailures >= maxStartFailures) return yield* this.giveUp
      const failures = this.shortLives + this.startFailures
      if (failures > 1) yield* this.backOff(firstBackoffMillis * 2 ** (failures - 2))
      yield* this.starting.withPermit(
        Effect.suspend(() => this.isOver || this.child !== undefined ? Effect.void : Effect.asVoid(this.fill))
      )
    }
  })

  /** Ends what is here, for good. */
  readonly remove: Effect.Effect<void> = Effect.suspend(() => {
    this.isRemoved = true
    this.retry.openUnsafe()
    return Effect.forEach(
      [this.child, this.candidate].filter((child) => child !== undefined),
      (child) => later(this.crew, end(this.crew, child, "stop")),
      { discard: true }
    )
  })

  // ---- a start

  /** Nothing comes between the decision, the process, and its being known. */
  private readonly launch: Effect.Effect<Child | undefined> = Effect.uninterruptible(Effect.suspend(() => {
    const { alive, options, scope, spawn } = this.crew
    if (this.isOver) return Effect.succeed(undefined)
    return Effect.tap(spawn(this.number, options), (child) => {
      alive.set(child, this.number)
      this.candidate = child
      return Effect.forkIn(Effect.map(child.exited, () => alive.delete(child)), scope, { startImmediately: true })
    })
  }))

  private readonly start: Effect.Effect<boolean> = Effect.suspend(() => {
    const { heartbeatTimeout, startTimeout } = this.crew.options
    return Effect.flatMap(
      this.launch,
      (child) => child === undefined ? Effect.succeed(false) : this.becomesReady(child, startTimeout, heartbeatTimeout)
    )
  })

  /** Waits until a new worker serves, and watches it from then on. One that does not in time is killed. */
  private becomesReady(
    child: Child,
    startTimeout: Duration.Duration,
    heartbeatTimeout: Duration.Duration
  ): Effect.Effect<boolean> {
    return Effect.gen({ self: this }, function*() {
      const outcome = yield* Effect.raceAllFirst([
        Effect.as(child.ready, "ready" as const),
        child.exited,
        Effect.as(Duration.isZero(startTimeout) ? Effect.never : Effect.sleep(startTimeout), "late" as const)
      ])
      this.candidate = undefined
      // Whoever was asked to end meanwhile takes no place, even where it came to serve before it heard of it.
      if (this.crew.leaving.has(child)) return false
      if (outcome === "ready") {
        this.child = child
        this.state = "serving"
        this.sinceMillis = yield* Clock.currentTimeMillis
        this.startFailures = 0
        yield* Effect.forkIn(this.watch(child, heartbeatTimeout), this.crew.scope, { startImmediately: true })
        return true
      }
      if (this.child === undefined) this.startFailures++
      if (outcome === "late") yield* child.kill
      yield* Effect.logError(
        outcome === "late"
          ? `Worker ${this.number} (${child.pid}) does not serve after ${
            Duration.toSeconds(startTimeout)
          } s and is killed`
          : `Worker ${this.number} (${child.pid}) did not start: ${inWords(outcome)}`
      )
      return false
    })
  }

  private backOff(wantedMillis: number): Effect.Effect<void> {
    const millis = Math.min(wantedMillis, maxBackoffMillis)
    this.state = "waiting"
    this.retry.closeUnsafe()
    return Effect.andThen(
      Effect.logWarning(`Worker ${this.number} fails again and again; next start in ${millis / 1000} s`),
      Effect.raceFirst(Effect.sleep(millis), this.retry.await)
    )
  }

  private readonly giveUp: Effect.Effect<void> = Effect.suspend(() => {
    this.state = "dead"
    return Effect.andThen(
      Effect.logError(`Worker ${this.number} cannot start and is given up`),
      Effect.suspend(() => this.crew.onDead)
    )
  })

  // ---- a life

  private watch(child: Child, heartbeatTimeout: Duration.Duration): Effect.Effect<void> {
    return Effect.scoped(Effect.gen({ self: this }, function*() {
      // In the crew's scope: the old worker may end in the middle of it.
      yield* Effect.forkScoped(Effect.flatMap(child.recycle, (reason) => later(this.crew, this.recycle(child, reason))))
      yield* Effect.forkScoped(this.listenTo(child, Duration.toMillis(heartbeatTimeout)))
      const exit = yield* child.exited
      yield* Effect.forkIn(this.ended(child, exit), this.crew.scope)
    }))
  }

  /** Replaces a worker that wants it; again after a while where the new one does not start. */
  private recycle(child: Child, reason: string): Effect.Effect<void> {
    const isDone = this.crew.changing.withPermit(
      Effect.suspend(() => this.child !== child || this.isOver ? Effect.succeed(true) : this.replace)
    )
    const attempt: Effect.Effect<void> = Effect.flatMap(isDone, (done) =>
      done || this.child !== child || this.isOver
        ? Effect.void
        : Effect.andThen(Effect.sleep(maxBackoffMillis), attempt))
    return Effect.andThen(Effect.logInfo(`Replacing worker ${this.number} (${child.pid}): ${reason}`), attempt)
  }

  /**
   * Kills a worker that is not heard any more, also while it finishes what it has: an event loop that stands still
   * answers nobody. Where the look itself comes too late, or the clock was put forward, nobody could be heard, and all get
   * their time again.
   */
  private listenTo(child: Child, limit: number): Effect.Effect<void> {
    if (limit === 0) return Effect.void
    let awakeMillis = 0
    const look: Effect.Effect<void> = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const silence = now - Math.max(child.heardMillis(), awakeMillis)
      if (silence >= limit) {
        const seconds = silence / 1000
        return Effect.andThen(
          Effect.logError(`Worker ${this.number} (${child.pid}) is blocked for ${seconds} s and is killed`),
          child.kill
        )
      }
      // A clock that was put back makes the silence negative.
      const wait = Math.min(limit - silence, limit)
      return Effect.andThen(
        Effect.flatMap(Effect.andThen(Effect.sleep(wait), Clock.currentTimeMillis), (then) =>
          Effect.sync(() => {
            if (then - now - wait > stallMillis) awakeMillis = then
          })),
        look
      )
    })
    return look
  }

  private ended(child: Child, exit: ChildExit): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      if (this.crew.leaving.has(child) || this.child !== child || this.crew.isStopping) return
      const life = (yield* Clock.currentTimeMillis) - (this.sinceMillis ?? 0)
      this.child = undefined
      this.sinceMillis = undefined
      this.crashes++
      this.shortLives = life < shortLifeMillis ? this.shortLives + 1 : 0
      this.state = "starting"
      yield* Effect.logError(`Worker ${this.number} (${child.pid}) ended by itself: ${inWords(exit)}`)
      yield* this.recover
    })
  }
}

/** Does not wait: a worker may have long answers to finish, and others go on. */
export const later = (crew: Crew, effect: Effect.Effect<unknown>): Effect.Effect<void> =>
  Effect.asVoid(Effect.forkIn(effect, crew.scope, { startImmediately: true }))

/**
 * Asks a worker to stop and waits; one that takes too long is killed. **Returns** whether it ended as it should, with
 * nothing cut.
 */
export const end = (crew: Crew, child: Child, kind: "stop" | "restart"): Effect.Effect<boolean> =>
  Effect.gen(function*() {
    if (!crew.alive.has(child)) return true
    crew.leaving.add(child)
    yield* child.stop(kind)
    const exit = yield* Effect.timeoutOption(child.exited, crew.options.stopTimeout)
    if (exit._tag === "None") {
      yield* Effect.logError(`Worker process ${child.pid} did not stop in time and is killed`)
      yield* child.kill
      yield* child.exited
      return false
    }
    if (exit.value.signal !== null) {
      yield* Effect.logError(`Worker process ${child.pid} ended before it had finished: ${inWords(exit.value)}`)
    }
    return exit.value.code === 0
  })

export const inWords = ({ code, signal }: ChildExit): string => signal === null ? `exit code ${code}` : signal
