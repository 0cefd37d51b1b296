/**
 * Keeps a number of workers alive: who is started, replaced, asked to stop and killed, and when. Knows a worker by the
 * small interface `Child`; processes and sockets are behind it.
 *
 * A worker that takes another one's place serves before that one is asked to stop, so that a restart costs no request.
 * All time is Effect's Clock.
 *
 * **Source** reference sections 2.1 and 2.4; gunicorn and uvicorn for what operators expect of the signals.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"

/** How a process ended. */
export interface ChildExit {
  readonly code: number | null
  readonly signal: string | null
}

/** One worker process. */
export interface Child {
  readonly pid: number
  /** Succeeds when it serves; never for one that ends before. */
  readonly ready: Effect.Effect<void>
  /** Succeeds when it wants to be replaced, with the reason in words. */
  readonly recycle: Effect.Effect<string>
  /** Succeeds when the process has ended. */
  readonly exited: Effect.Effect<ChildExit>
  /** When it was heard last, by the Clock. */
  readonly heardMillis: () => number
  /** Asks it to finish what it has: for good, or because another one takes its place. */
  readonly stop: (kind: "stop" | "restart") => Effect.Effect<void>
  /** Ends it at once. */
  readonly kill: Effect.Effect<void>
}

export interface Options {
  /** Workers to keep, at least 1. */
  readonly workers: number
  /** Time for a worker to serve after it was started. 0 is off. */
  readonly startTimeout: Duration.Duration
  /** Time for a worker that was asked to stop; then it is killed. */
  readonly stopTimeout: Duration.Duration
  /** A worker that is not heard for so long is killed and replaced. 0 is off. */
  readonly heartbeatTimeout: Duration.Duration
}

/** What a worker is doing. */
export interface WorkerStatus {
  readonly number: number
  /** `undefined` while there is none: it waits to be started again. */
  readonly pid: number | undefined
  readonly state: "starting" | "serving" | "waiting" | "dead"
  /** When it began to serve, in milliseconds since the epoch. */
  readonly sinceMillis: number | undefined
  /** How often this place was taken anew after a crash. */
  readonly crashes: number
}

/** Exit codes of the whole: all was well; something had to be killed or failed; the workers cannot start. */
export const exitCodes = { clean: 0, unclean: 1, cannotStart: 3 } as const

/** A life shorter than this is a crash of the kind that comes back at once. */
const shortLifeMillis = 10_000
const firstBackoffMillis = 1000
const maxBackoffMillis = 30_000
/** Starts that fail in a row until a place is given up. */
const maxStartFailures = 5

/** The place of one worker. */
class Place {
  readonly number: number
  child: Child | undefined = undefined
  state: WorkerStatus["state"] = "starting"
  sinceMillis: number | undefined = undefined
  crashes = 0
  /** Crashes after short lives and failed starts, in a row. */
  shortLives = 0
  startFailures = 0
  isRemoved = false
  /** One start at a time. */
  readonly starting = Semaphore.makeUnsafe(1)
  /** Opened where waiting for the next start has no point any more. */
  readonly retry = Latch.makeUnsafe(false)
  constructor(number: number) {
    this.number = number
  }
}

/** Builds a supervisor; nothing is started until `run`. What is left when the scope closes is killed. */
export const make = Effect.fnUntraced(function*(
  options: Options,
  spawn: (number: number) => Effect.Effect<Child>
) {
  const scope = yield* Effect.scope
  const supervisor = new Supervisor(options, spawn, scope)
  yield* Effect.addFinalizer(() => supervisor.killAll)
  return supervisor
})

export class Supervisor {
  private readonly options: Options
  private readonly spawn: (number: number) => Effect.Effect<Child>
  private readonly scope: Scope.Scope
  private readonly places = new Map<number, Place>()
  /** Every process that has not ended. */
  private readonly alive = new Set<Child>()
  /** Those that were asked to stop: their end is no crash. */
  private readonly leaving = new Set<Child>()
  private readonly done = Deferred.makeUnsafe<number>()
  /** One at a time: restarts, changes of the number. */
  private readonly changing = Semaphore.makeUnsafe(1)
  private isStopping = false
  private isUnclean = false
  private outcome: number = exitCodes.clean

  constructor(options: Options, spawn: (number: number) => Effect.Effect<Child>, scope: Scope.Scope) {
    this.options = options
    this.spawn = spawn
    this.scope = scope
  }

  /** What the process should end with; known once `stop` or `run` has ended. */
  get exitCode(): number {
    return this.outcome
  }

  /** Each place, in the order of the numbers. */
  get status(): ReadonlyArray<WorkerStatus> {
    return [...this.places.values()].sort((a, b) => a.number - b.number).map((place) => ({
      number: place.number,
      pid: place.child?.pid,
      state: place.state,
      sinceMillis: place.sinceMillis,
      crashes: place.crashes
    }))
  }

  /**
   * Starts the workers and keeps them until `stop`. `started` runs once all of them serve. **Returns** the exit code.
   *
   * A worker that cannot start at the beginning stops everything: what is wrong with one is wrong with all.
   */
  readonly run = (started: Effect.Effect<void>): Effect.Effect<number> =>
    Effect.gen({ self: this }, function*() {
      for (let number = 1; number <= this.options.workers; number++) this.places.set(number, new Place(number))
      const isServing = yield* Effect.forEach([...this.places.values()], (place) => this.fill(place), {
        concurrency: "unbounded"
      })
      if (!isServing.every((serves) => serves) && !this.isStopping) {
        yield* this.finish(exitCodes.cannotStart)
        return exitCodes.cannotStart
      }
      if (!this.isStopping) yield* started
      return yield* Deferred.await(this.done)
    })

  /** Asks all workers to finish, and ends `run` when they have. Again does nothing more. */
  readonly stop: Effect.Effect<void> = Effect.suspend(() =>
    this.isStopping ? Effect.void : this.finish(exitCodes.clean)
  )

  /** Kills what is left, at once. */
  readonly killAll: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach([...this.alive], (child) => child.kill, { discard: true })
  )

  /**
   * Replaces all workers, one after the other; a place that waits to be taken again is tried now. **Returns** false when a
   * new one did not start: then the old one and all after it stay.
   */
  readonly restart: Effect.Effect<boolean> = this.changing.withPermit(Effect.gen({ self: this }, function*() {
    for (const place of this.places.values()) {
      if (this.isStopping) return false
      if (place.child === undefined) yield* this.tryAgain(place)
      else if (!(yield* this.replace(place, place.child))) {
        if (!this.isStopping) yield* Effect.logError(`Not restarted: worker ${place.number} goes on as it was`)
        return false
      }
    }
    yield* Effect.logInfo(`Restarted ${this.places.size} workers`)
    return true
  }))

  /** One worker more. */
  readonly add: Effect.Effect<void> = this.changing.withPermit(Effect.suspend(() => {
    if (this.isStopping) return Effect.void
    let number = 1
    while (this.places.has(number)) number++
    const place = new Place(number)
    this.places.set(number, place)
    return Effect.andThen(
      Effect.logInfo(`Adding worker ${number}`),
      // Not within the permit: a restart is what may mend it.
      Effect.flatMap(this.fill(place), (serves) => serves ? Effect.void : this.later(this.recover(place)))
    )
  }))

  /** One worker less: the one with the highest number. The last one stays. */
  readonly remove: Effect.Effect<void> = this.changing.withPermit(Effect.suspend(() => {
    if (this.isStopping || this.places.size <= 1) return Effect.void
    const place = [...this.places.values()].reduce((high, other) => other.number > high.number ? other : high)
    place.isRemoved = true
    this.places.delete(place.number)
    return Effect.andThen(
      Effect.logInfo(`Removing worker ${place.number}`),
      place.child === undefined ? Effect.void : this.later(this.end(place.child, "stop"))
    )
  }))

  // ---- one place

  /** Starts a worker for a place that has none. **Returns** whether it serves. */
  private fill(place: Place): Effect.Effect<boolean> {
    place.state = "starting"
    return Effect.flatMap(this.start(place), (child) => this.becomesReady(place, child))
  }

  private start(place: Place): Effect.Effect<Child> {
    return Effect.tap(this.spawn(place.number), (child) =>
      Effect.andThen(
        Effect.sync(() => void this.alive.add(child)),
        Effect.forkIn(
          Effect.map(child.exited, () => {
            this.alive.delete(child)
          }),
          this.scope,
          { startImmediately: true }
        )
      ))
  }

  /** Waits until a new worker serves, and watches it from then on. One that does not in time is killed. */
  private becomesReady(place: Place, child: Child): Effect.Effect<boolean> {
    const { startTimeout } = this.options
    return Effect.gen({ self: this }, function*() {
      const outcome = yield* Effect.raceAllFirst([
        Effect.as(child.ready, "ready" as const),
        child.exited,
        Effect.as(Duration.isZero(startTimeout) ? Effect.never : Effect.sleep(startTimeout), "late" as const)
      ])
      if (outcome === "ready") {
        place.child = child
        place.state = "serving"
        place.sinceMillis = yield* Clock.currentTimeMillis
        place.startFailures = 0
        yield* Effect.forkIn(this.watch(place, child), this.scope, { startImmediately: true })
        return true
      }
      if (outcome === "late") yield* child.kill
      if (!this.isStopping) {
        const seconds = Duration.toSeconds(startTimeout)
        yield* Effect.logError(
          outcome === "late"
            ? `Worker ${place.number} (${child.pid}) does not serve after ${seconds} s and is killed`
            : `Worker ${place.number} (${child.pid}) did not start: ${inWords(outcome)}`
        )
      }
      return false
    })
  }

  private watch(place: Place, child: Child): Effect.Effect<void> {
    // In the supervisor's scope: the old worker may end in the middle of it.
    const asked = Effect.flatMap(child.recycle, (reason) =>
      this.later(Effect.andThen(
        Effect.logInfo(`Replacing worker ${place.number} (${child.pid}): ${reason}`),
        this.changing.withPermit(
          Effect.suspend(() => place.child === child ? Effect.asVoid(this.replace(place, child)) : Effect.void)
        )
      )))
    return Effect.scoped(Effect.gen({ self: this }, function*() {
      yield* Effect.forkScoped(asked)
      yield* Effect.forkScoped(this.listenTo(place, child))
      const exit = yield* child.exited
      yield* Effect.forkIn(this.ended(place, child, exit), this.scope)
    }))
  }

  /** Kills a worker that is not heard any more: an event loop that stands still answers nobody. */
  private listenTo(place: Place, child: Child): Effect.Effect<void> {
    const limit = Duration.toMillis(this.options.heartbeatTimeout)
    if (limit === 0) return Effect.void
    const look: Effect.Effect<void> = Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const silence = now - child.heardMillis()
      if (silence < limit) return Effect.andThen(Effect.sleep(limit - silence), look)
      return Effect.andThen(
        Effect.logError(`Worker ${place.number} (${child.pid}) is blocked for ${silence / 1000} s and is killed`),
        child.kill
      )
    })
    return look
  }

  private ended(place: Place, child: Child, exit: ChildExit): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      if (this.leaving.delete(child) || place.child !== child || this.isStopping) return
      const life = (yield* Clock.currentTimeMillis) - (place.sinceMillis ?? 0)
      place.child = undefined
      place.sinceMillis = undefined
      place.crashes++
      place.shortLives = life < shortLifeMillis ? place.shortLives + 1 : 0
      yield* Effect.logError(`Worker ${place.number} (${child.pid}) ended by itself: ${inWords(exit)}`)
      yield* this.recover(place)
    })
  }

  /** Starts a worker again, at once for the first time, then later and later, until it serves or is given up. */
  private recover(place: Place): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      while (!this.isStopping && !place.isRemoved && place.child === undefined) {
        if (place.startFailures >= maxStartFailures) return yield* this.giveUp(place)
        const failures = place.shortLives + place.startFailures
        if (failures > 1) yield* this.backOff(place, firstBackoffMillis * 2 ** (failures - 2))
        yield* place.starting.withPermit(
          Effect.suspend(() =>
            this.isStopping || place.isRemoved || place.child !== undefined
              ? Effect.void
              : Effect.map(this.fill(place), (serves) => {
                if (!serves) place.startFailures++
              })
          )
        )
      }
    })
  }

  private backOff(place: Place, wantedMillis: number): Effect.Effect<void> {
    const millis = Math.min(wantedMillis, maxBackoffMillis)
    place.state = "waiting"
    place.retry.closeUnsafe()
    return Effect.andThen(
      Effect.logWarning(`Worker ${place.number} fails again and again; next start in ${millis / 1000} s`),
      Effect.raceFirst(Effect.sleep(millis), place.retry.await)
    )
  }

  /** A new start of a place that waits for one, or was given up. */
  private tryAgain(place: Place): Effect.Effect<void> {
    return Effect.suspend(() => {
      place.shortLives = 0
      place.startFailures = 0
      place.retry.openUnsafe()
      return place.state === "dead" ? this.later(this.recover(place)) : Effect.void
    })
  }

  private giveUp(place: Place): Effect.Effect<void> {
    return Effect.suspend(() => {
      place.state = "dead"
      const said = Effect.logError(`Worker ${place.number} cannot start and is given up`)
      return [...this.places.values()].every(({ state }) => state === "dead")
        ? Effect.andThen(said, this.finish(exitCodes.cannotStart))
        : said
    })
  }

  /** Puts a new worker in the place of one that serves. **Returns** false when it does not start: the old one stays. */
  private replace(place: Place, old: Child): Effect.Effect<boolean> {
    return place.starting.withPermit(Effect.gen({ self: this }, function*() {
      const child = yield* this.start(place)
      const serves = yield* this.becomesReady(place, child)
      if (serves) yield* this.later(this.end(old, "restart"))
      return serves
    }))
  }

  // ---- ends

  /** Does not wait: it may have long answers to finish, and others go on. */
  private later(effect: Effect.Effect<void>): Effect.Effect<void> {
    return Effect.asVoid(Effect.forkIn(effect, this.scope, { startImmediately: true }))
  }

  private finish(code: number): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      this.isStopping = true
      yield* Effect.forEach([...this.alive], (child) => this.end(child, "stop"), {
        concurrency: "unbounded",
        discard: true
      })
      this.outcome = code === exitCodes.clean && this.isUnclean ? exitCodes.unclean : code
      Deferred.doneUnsafe(this.done, Effect.succeed(this.outcome))
    })
  }

  /** Asks a worker to stop and waits; one that takes too long is killed. */
  private end(child: Child, kind: "stop" | "restart"): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      if (!this.alive.has(child)) return
      this.leaving.add(child)
      yield* child.stop(kind)
      const exit = yield* Effect.timeoutOption(child.exited, this.options.stopTimeout)
      if (exit._tag === "Some") {
        if (exit.value.code !== 0) this.isUnclean = true
        return
      }
      this.isUnclean = true
      yield* Effect.logError(`Worker process ${child.pid} did not stop in time and is killed`)
      yield* child.kill
      yield* child.exited
    })
  }
}

const inWords = ({ code, signal }: ChildExit): string => signal === null ? `exit code ${code}` : signal
