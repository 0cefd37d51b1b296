/**
 * Keeps a number of workers alive: how many there are, when all of them are replaced, how the whole ends, and how it is
 * handed over to a successor. One worker and its place are SupervisorPlace's; processes and sockets are behind the
 * small interfaces `Child` and `Successor`. All time is Effect's Clock.
 *
 * What changes the whole runs in the supervisor's own scope: who asked for it may go away meanwhile.
 *
 * **Source** reference sections 2.1 and 2.4; gunicorn and uvicorn for what operators expect of the signals.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { AskError } from "./SupervisorAsk.ts"
import { type Crew, end, inWords, later, Place } from "./SupervisorPlace.ts"

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
  /** Tells it to open its log files anew. */
  readonly reopen: Effect.Effect<void>
  /** Asks it something. **Fails with** `AskError` when it ends, or does not answer in time (5 seconds). */
  readonly ask: (what: unknown, timeout?: Duration.Duration) => Effect.Effect<unknown, AskError>
  /** Ends it at once. */
  readonly kill: Effect.Effect<void>
}

/** The program started once more, with our sockets, to go on in our place. */
export interface Successor extends Pick<Child, "pid" | "ready" | "exited" | "kill"> {
  /** Leaves the sockets and their files to it. */
  readonly release: Effect.Effect<void>
  /** Asks it to read its configuration anew. */
  readonly restart: Effect.Effect<void>
}

/** What a restart reads anew. */
export interface Changeable {
  /** Workers to keep, at least 1. */
  readonly workers: number
  /** Time for a worker to serve after it was started. 0 is off. */
  readonly startTimeout: Duration.Duration
  /** Time for a worker that was asked to stop; then it is killed. */
  readonly stopTimeout: Duration.Duration
  /** A worker that is not heard for so long is killed and replaced. 0 is off. */
  readonly heartbeatTimeout: Duration.Duration
}

/** What a restart has read. */
export interface Reread extends Changeable {
  /** Runs when the restart is over: whether all workers were started with what was read, or some go on as they were. */
  readonly settled?: (restarted: boolean) => Effect.Effect<void>
}

export interface Options extends Changeable {
  /** Reads the configuration anew before a restart. When it fails nothing is restarted. Default: all stays as it is. */
  readonly reread?: Effect.Effect<Reread, Error>
  /** Opens this process's own log files anew. */
  readonly reopen?: Effect.Effect<void>
  /** Starts a successor. Default: there can be none, as of process 1. */
  readonly successor?: Effect.Effect<Successor> | undefined
  /** Runs once the successor serves, before our workers are asked to stop. */
  readonly onUpgraded?: (pid: number) => Effect.Effect<void>
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

/** What one worker has said to a question for all. */
export interface WorkerAnswer {
  readonly number: number
  readonly pid: number
  readonly answer: Result.Result<unknown, AskError>
}

/** Exit codes of the whole: all was well; something had to be killed or failed; the workers cannot start. */
export const exitCodes = { clean: 0, unclean: 1, cannotStart: 3 } as const

/** What a successor has for itself, besides the time of its workers. */
const successorGrace = Duration.seconds(10)

const refused = (why: string): Effect.Effect<boolean> => Effect.as(Effect.logWarning(`Not upgraded: ${why}`), false)

/**
 * Builds a supervisor; nothing is started until `run`. `spawn` starts a worker at once, with the options of that
 * moment. What is left when the scope closes is killed.
 */
export const make = Effect.fnUntraced(function*(
  options: Options,
  spawn: (number: number, options: Options) => Effect.Effect<Child>
) {
  const scope = yield* Effect.scope
  const supervisor = new Supervisor(options, spawn, scope)
  yield* Effect.addFinalizer(() => supervisor.killAll)
  return supervisor
})

export class Supervisor {
  private readonly crew: Crew
  private readonly places = new Map<number, Place>()
  private readonly done = Deferred.makeUnsafe<number>()
  private nextRestart: Deferred.Deferred<boolean> | undefined = undefined
  private isUpgrading = false
  private successor: Successor | undefined = undefined
  private outcome: number = exitCodes.clean

  constructor(options: Options, spawn: Crew["spawn"], scope: Scope.Scope) {
    this.crew = {
      options,
      spawn,
      scope,
      alive: new Map(),
      leaving: new WeakSet(),
      changing: Semaphore.makeUnsafe(1),
      isStopping: false,
      onDead: Effect.suspend(() => {
        const isOver = [...this.places.values()].every(({ state }) => state === "dead")
        return isOver ? this.finish(exitCodes.cannotStart, "stop") : Effect.void
      })
    }
  }

  /** What the process should end with; known once `stop` or `run` has ended. */
  get exitCode(): number {
    return this.outcome
  }

  /** Each place, in the order of the numbers. */
  get status(): ReadonlyArray<WorkerStatus> {
    return this.inOrder.map(({ child, crashes, number, sinceMillis, state }) => ({
      number,
      pid: child?.pid,
      state,
      sinceMillis,
      crashes
    }))
  }

  /** Workers that were asked to end and finish what they have. They have no place any more. */
  get leaving(): ReadonlyArray<{ readonly number: number; readonly pid: number }> {
    return [...this.crew.alive].filter(([child]) => this.crew.leaving.has(child))
      .map(([{ pid }, number]) => ({ number, pid }))
  }

  private get inOrder(): ReadonlyArray<Place> {
    return [...this.places.values()].sort((a, b) => a.number - b.number)
  }

  /**
   * Starts the workers and keeps them until `stop`. `started` runs once all of them serve. **Returns** the exit code.
   *
   * A worker that cannot start at the beginning stops everything: what is wrong with one is wrong with all. Signals
   * that come meanwhile wait until all serve.
   */
  readonly run = (started: Effect.Effect<void>): Effect.Effect<number> =>
    Effect.gen({ self: this }, function*() {
      const { changing, options } = this.crew
      const serve = yield* changing.withPermit(Effect.suspend(() => this.fillNew(options.workers)))
      if (!this.crew.isStopping) {
        if (serve.every(Boolean)) yield* started
        else yield* this.finish(exitCodes.cannotStart, "stop")
      }
      return yield* Deferred.await(this.done)
    })

  /** Asks all workers to finish, and ends `run` when they have. Again waits for the same end. */
  readonly stop: Effect.Effect<void> = Effect.suspend(() => this.finish(exitCodes.clean, "stop"))

  /** Kills what is left, at once. */
  readonly killAll: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach(
      [...this.crew.alive.keys(), ...(this.successor === undefined ? [] : [this.successor])],
      ({ kill }) => kill,
      { discard: true }
    )
  )

  // ---- changes

  /**
   * Reads the configuration anew and replaces all workers, one after the other. A number of workers that the
   * configuration has changed holds from then on; one that was set by hand stays otherwise. **Returns** false, and logs
   * why, when the configuration cannot be used, or a new worker did not start: then the old one and all after it stay.
   *
   * Restarts that are asked for while one waits for its turn are one.
   */
  readonly restart: Effect.Effect<boolean> = Effect.suspend(() => {
    if (this.nextRestart !== undefined) return Deferred.await(this.nextRestart)
    const outcome = Deferred.makeUnsafe<boolean>()
    this.nextRestart = outcome
    return this.change(
      false,
      Effect.suspend(() => {
        this.nextRestart = undefined
        return this.restartNow
      }),
      (exit) => Deferred.done(outcome, exit)
    )
  })

  /** Replaces one worker. **Returns** false when there is none of this number, or the new one did not start. */
  readonly replaceOne = (number: number): Effect.Effect<boolean> =>
    this.change(false, Effect.suspend(() => this.places.get(number)?.renew ?? Effect.succeed(false)))

  /**
   * Changes the number of workers, at least 1. Ends when the new ones serve, or not, and the others are asked to stop.
   */
  readonly scale = (workers: number): Effect.Effect<void> =>
    this.change(undefined, Effect.suspend(() => this.resize(workers)))

  /** One worker more. */
  readonly add: Effect.Effect<void> = this.change(undefined, Effect.suspend(() => this.resize(this.places.size + 1)))

  /** One worker less: one that does not serve, or the one with the highest number. The last one stays. */
  readonly remove: Effect.Effect<void> = this.change(
    undefined,
    Effect.suspend(() => this.resize(this.places.size - 1))
  )

  /** Opens the log files anew, here and in the workers. */
  readonly reopen: Effect.Effect<void> = Effect.suspend(() =>
    Effect.andThen(
      this.crew.options.reopen ?? Effect.void,
      Effect.forEach([...this.crew.alive.keys()], (child) => child.reopen, { discard: true })
    )
  )

  /** Asks all workers that serve, at the same time. */
  readonly askAll = (what: unknown, timeout?: Duration.Duration): Effect.Effect<ReadonlyArray<WorkerAnswer>> =>
    Effect.suspend(() =>
      Effect.forEach(
        this.inOrder.flatMap(({ child, number }) => child === undefined ? [] : [{ child, number }]),
        ({ child, number }) =>
          Effect.map(Effect.result(child.ask(what, timeout)), (answer) => ({ number, pid: child.pid, answer })),
        { concurrency: "unbounded" }
      )
    )

  /**
   * Hands everything over to a successor: starts it, and once it serves asks our workers to stop and ends `run`.
   * **Returns** false, and logs why, when there can be none, when one is on its way already, or when it does not serve
   * in time: then all goes on as it was, and it may be tried again.
   */
  readonly upgrade: Effect.Effect<boolean> = Effect.suspend(() => {
    const { successor } = this.crew.options
    if (successor === undefined) return refused("process 1 has no successor; replace the container instead")
    if (this.isUpgrading) return refused("an upgrade is under way already")
    this.isUpgrading = true
    return this.change(false, this.handOver(successor), () => Effect.sync(() => void (this.isUpgrading = false)))
  })

  /** Runs one change after the other, to its end, and not once we stop. */
  private change<A>(
    otherwise: A,
    effect: Effect.Effect<A>,
    atEnd: (exit: Exit.Exit<A>) => Effect.Effect<unknown> = () => Effect.void
  ): Effect.Effect<A> {
    return Effect.suspend(() =>
      this.crew.changing.withPermit(
        Effect.suspend(() => this.crew.isStopping ? Effect.succeed(otherwise) : effect)
      ).pipe(
        Effect.onExit(atEnd),
        Effect.forkIn(this.crew.scope, { startImmediately: true }),
        Effect.flatMap(Fiber.join)
      )
    )
  }

  private readonly restartNow: Effect.Effect<boolean> = Effect.gen({ self: this }, function*() {
    const { reread } = this.crew.options
    const read = reread === undefined ? Result.succeed(undefined) : yield* Effect.result(reread)
    if (Result.isFailure(read)) {
      yield* Effect.logError(`Not restarted, all goes on as it was. ${read.failure.message}`)
      return false
    }
    const before = this.crew.options
    const { settled = () => Effect.void, ...changes }: Partial<Reread> = read.success ?? {}
    this.crew.options = { ...before, ...changes }
    const restarted = yield* this.renewAll
    if (restarted && this.crew.options.workers !== before.workers) yield* this.resize(this.crew.options.workers)
    yield* settled(restarted)
    if (restarted) yield* Effect.logInfo(`Restarted ${this.places.size} worker${this.places.size === 1 ? "" : "s"}`)
    return restarted
  })

  private readonly renewAll: Effect.Effect<boolean> = Effect.gen({ self: this }, function*() {
    for (const place of this.inOrder) {
      if (yield* place.renew) continue
      if (!this.crew.isStopping) yield* Effect.logError(`Not restarted: worker ${place.number} goes on as it was`)
      return false
    }
    return !this.crew.isStopping
  })

  private resize(wanted: number): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      const workers = Math.max(1, Math.floor(wanted))
      while (this.places.size > workers) yield* this.removeOne
      yield* this.fillNew(workers - this.places.size, (place, serves) =>
        // Not within the change: a restart is what may mend it.
        serves ? Effect.void : later(this.crew, place.recover))
    })
  }

  private readonly removeOne: Effect.Effect<void> = Effect.suspend(() => {
    const places = [...this.inOrder].reverse()
    const place = places.find(({ child }) => child === undefined) ?? places[0]!
    this.places.delete(place.number)
    return Effect.andThen(Effect.logInfo(`Removing worker ${place.number}`), place.remove)
  })

  /** New places, each with its worker, at the same time. **Returns** who serves. */
  private fillNew(
    count: number,
    then?: (place: Place, serves: boolean) => Effect.Effect<void>
  ): Effect.Effect<ReadonlyArray<boolean>> {
    const added: Array<Place> = []
    for (let number = 1; added.length < count; number++) {
      if (this.places.has(number)) continue
      const place = new Place(number, this.crew)
      this.places.set(number, place)
      added.push(place)
    }
    return Effect.forEach(added, (place) =>
      then === undefined
        ? place.fill
        : Effect.andThen(
          Effect.logInfo(`Adding worker ${place.number}`),
          Effect.tap(place.fill, (serves) => then(place, serves))
        ), { concurrency: "unbounded" })
  }

  private handOver(start: Effect.Effect<Successor>): Effect.Effect<boolean> {
    return Effect.gen({ self: this }, function*() {
      const { onUpgraded = () => Effect.void, startTimeout } = this.crew.options
      const successor = yield* Effect.uninterruptible(
        Effect.tap(start, (started) => Effect.sync(() => void (this.successor = started)))
      )
      yield* Effect.logInfo(`Started a successor (${successor.pid})`)
      const limit = Duration.sum(startTimeout, successorGrace)
      const outcome = yield* Effect.raceAllFirst([
        Effect.as(successor.ready, "ready" as const),
        successor.exited,
        Effect.as(Duration.isZero(startTimeout) ? Effect.never : Effect.sleep(limit), "late" as const)
      ])
      if (this.crew.isStopping) return false
      if (outcome !== "ready") {
        this.successor = undefined
        if (outcome === "late") yield* successor.kill
        const why = outcome === "late"
          ? `does not serve after ${Duration.toSeconds(limit)} s and is killed`
          : `did not start: ${inWords(outcome)}`
        yield* Effect.logError(`Not upgraded, all goes on as it was: the successor (${successor.pid}) ${why}`)
        return false
      }
      this.successor = undefined
      yield* successor.release
      yield* onUpgraded(successor.pid)
      // Whoever asked for a restart meanwhile may have changed what the successor had read by then.
      if (this.nextRestart !== undefined) yield* successor.restart
      yield* Effect.logInfo(`Upgraded: the successor (${successor.pid}) serves, and this process ends`)
      yield* this.finish(exitCodes.clean, "restart")
      return true
    })
  }

  // ---- ends

  /** Who comes second waits for the end that the first one has begun. */
  private finish(code: number, kind: "stop" | "restart"): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      if (this.crew.isStopping) return yield* Effect.asVoid(Deferred.await(this.done))
      this.crew.isStopping = true
      if (this.successor !== undefined) yield* this.successor.kill
      const ends = yield* Effect.forEach([...this.crew.alive.keys()], (child) => end(this.crew, child, kind), {
        concurrency: "unbounded"
      })
      this.outcome = code === exitCodes.clean && !ends.every(Boolean) ? exitCodes.unclean : code
      Deferred.doneUnsafe(this.done, Effect.succeed(this.outcome))
    })
  }
}
