/**
 * Restarts the workers when a file of the application has changed, and keeps something served whatever the change was:
 * the old workers where there are some, else a worker that shows the failure. Runs beside a Supervisor, in its process.
 *
 * Decides what is a change and what becomes of it. Watching is Watcher.ts, processes are the supervisor's, and what a
 * worker does about it is ReloadWorker.ts. All time is Effect's Clock.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { type DevFailure, harmless, toText } from "../../src/app/DevFailure.ts"
import * as ReloadFailure from "./ReloadFailure.ts"
import * as Message from "./ReloadMessage.ts"
import type { Child, ChildExit } from "./Supervisor.ts"
import * as Watcher from "./Watcher.ts"

/** What is needed of a worker process. */
export type Worker = Pick<Child, "pid" | "ready" | "exited" | "ask" | "kill">

export interface Options {
  /** The module or folder that is served, absolute; `undefined` for the current one. A module counts whatever it is called. */
  readonly app: string | undefined
  /** Further files that a restart reads: the config file, `.env`. Absolute; they need not exist. */
  readonly files: ReadonlyArray<string>
  /** Files that the program writes itself, absolute: a change of them is none. Those of standard output and error never count. */
  readonly outputs?: ReadonlyArray<string> | undefined
  /** Folders to watch, absolute. Default: the application's. */
  readonly dirs?: ReadonlyArray<string> | undefined
  /** Patterns of WatcherRules.ts. Default none. */
  readonly include?: ReadonlyArray<string> | undefined
  readonly exclude?: ReadonlyArray<string> | undefined
  /** Time without a further change after which workers are restarted. Default of the setting: 250 ms. */
  readonly delay: Duration.Duration
  /** Time for a worker to serve, after which a failure is shown in its place. 0 is off. */
  readonly startTimeout: Duration.Duration
  /** For tests. Default: the folders of the above. */
  readonly watcher?: Watcher.Watcher
  /** For tests. Default: a digest of the content. `undefined`: there is no such file. */
  readonly fingerprint?: (file: string) => Effect.Effect<string | undefined>
  /** Takes what is said to the developer. Default: standard error. */
  readonly print?: (text: string) => void
}

export interface Reload {
  /** Answers the questions of workers that are about reload; `undefined` for others. For `SupervisorProcess.Options`. */
  readonly answer: (what: unknown) => Effect.Effect<unknown> | undefined
  /** Starts a worker as `start` does; where it does not serve and none serves in its place, one that says why. */
  readonly spawn: <W extends Worker, Rest extends ReadonlyArray<unknown>>(
    start: (number: number, ...rest: Rest) => Effect.Effect<W>
  ) => (number: number, ...rest: Rest) => Effect.Effect<W>
  /** Restarts through `restart`, which says whether all new workers serve, whenever something has changed. */
  readonly run: (restart: Effect.Effect<boolean>) => Effect.Effect<never>
  /** Restarts although nothing has changed: the developer wants it. */
  readonly restartNow: Effect.Effect<void>
}

const identityOf = ({ dev, ino }: fs.Stats): string => `${dev} ${ino}`

/** Files above this are compared by size and time alone. */
const maxDigestBytes = 4 * 1024 * 1024

/** The files that standard output and standard error are: each restart writes into them. */
const ownOutput: ReadonlyArray<string> = [1, 2].flatMap((descriptor) => {
  try {
    return [identityOf(fs.fstatSync(descriptor))]
  } catch {
    return []
  }
})

const digest = (file: string): Effect.Effect<string | undefined> =>
  Effect.promise(async () => {
    try {
      const stat = await fs.promises.stat(file)
      if (!stat.isFile()) return undefined
      if (ownOutput.includes(identityOf(stat))) return "output"
      return stat.size > maxDigestBytes
        ? `${stat.size} ${stat.mtimeMs}`
        : createHash("sha1").update(await fs.promises.readFile(file)).digest("base64")
    } catch {
      return undefined
    }
  })

const isDirectory = (at: string): boolean => fs.statSync(at, { throwIfNoEntry: false })?.isDirectory() === true

/** Reads what counts and begins to watch. Nothing is restarted until `run`. */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Reload, never, Scope.Scope> {
  const { app = process.cwd() } = options
  const isFolder = isDirectory(app)
  for (const dir of options.dirs ?? []) {
    if (!isDirectory(dir)) {
      yield* Effect.logWarning(`reloadDirs names ${dir}, which is no folder: nothing is watched there`)
    }
  }
  const watcher = options.watcher ?? (yield* Watcher.make({
    dirs: options.dirs ?? [isFolder ? app : path.dirname(app)],
    include: options.include ?? [],
    exclude: options.exclude ?? [],
    files: isFolder ? options.files : [app, ...options.files]
  }))
  const changes = yield* Queue.unbounded<ReadonlyArray<string>>()
  // A page of an earlier run of the program is to be loaded anew as well.
  const firstGeneration = yield* Clock.currentTimeMillis
  const controller = new Controller(options, watcher, changes, yield* Effect.scope, firstGeneration)
  yield* controller.note(watcher.files)
  return controller
})

/** A worker that is being started, or serves. */
interface Started {
  readonly worker: Worker
  readonly number: number
  readonly begin: Message.Begin
  readonly isAbandoned: Deferred.Deferred<void>
  isReady: boolean
}

class Controller implements Reload {
  private readonly options: Options
  private readonly watcher: Watcher.Watcher
  private readonly fingerprint: (file: string) => Effect.Effect<string | undefined>
  private readonly print: (text: string) => void
  private readonly scope: Scope.Scope
  private readonly cwd = process.cwd()
  /** What each file was when it was looked at last. */
  private readonly known = new Map<string, string | undefined>()
  /** By process. */
  private readonly started = new Map<number, Started>()
  /** What has changed, as often as it has. */
  private readonly changes: Queue.Queue<ReadonlyArray<string>>
  private generation: number
  /** Why the newest generation does not start. */
  private failure: DevFailure | undefined
  private said = ""
  /** How a worker of the newest generation ended that had not served. */
  private lastExit: ChildExit | undefined

  constructor(
    options: Options,
    watcher: Watcher.Watcher,
    changes: Queue.Queue<ReadonlyArray<string>>,
    scope: Scope.Scope,
    firstGeneration: number
  ) {
    this.options = options
    this.generation = firstGeneration
    this.scope = scope
    this.watcher = watcher
    this.changes = changes
    this.fingerprint = options.fingerprint ?? digest
    this.print = options.print ?? ((text) => void process.stderr.write(text))
  }

  note(files: ReadonlyArray<string>): Effect.Effect<void> {
    return Effect.forEach(
      files,
      (file) => Effect.map(this.fingerprint(file), (print) => void this.known.set(file, print)),
      { concurrency: 16, discard: true }
    )
  }

  // ---- workers

  readonly answer = (what: unknown): Effect.Effect<unknown> | undefined => {
    if (!Message.isFromWorker(what)) return undefined
    const { pid } = what
    switch (what.type) {
      case "reload.begin":
        return Effect.sync(() => this.started.get(pid)?.begin ?? this.begin(false))
      case "reload.failed":
        return Effect.as(Effect.sync(() => this.failed(pid, what.failure)), null)
      case "reload.loaded":
        return Effect.as(Effect.flatMap(this.watcher.add(what.files), (fresh) => this.note(fresh)), null)
    }
  }

  readonly spawn = <W extends Worker, Rest extends ReadonlyArray<unknown>>(
    start: (number: number, ...rest: Rest) => Effect.Effect<W>
  ) =>
  (number: number, ...rest: Rest): Effect.Effect<W> => this.spawnOne(() => start(number, ...rest), number)

  private spawnOne<W extends Worker>(start: () => Effect.Effect<W>, number: number): Effect.Effect<W> {
    return Effect.suspend(() => {
      const isReplacing = [...this.started.values()].some((other) => other.number === number && other.isReady)
      return Effect.flatMap(this.startOne(start, number, false), ([worker, outcome]) =>
        isReplacing
          // The old one goes on if this one does not serve: whoever asked for it waits and sees.
          ? Effect.as(this.later(outcome), worker)
          : Effect.flatMap(
            Effect.onInterrupt(outcome, () => worker.kill),
            (end) => this.afterFirst(start, number, worker, end)
          ))
    })
  }

  /** What stands in a place that had no worker. */
  private afterFirst<W extends Worker>(
    start: () => Effect.Effect<W>,
    number: number,
    worker: W,
    end: "ready" | "abandoned" | "late" | ChildExit
  ): Effect.Effect<W> {
    if (end === "ready") return Effect.succeed(worker)
    const gone = Effect.andThen(worker.kill, worker.exited)
    if (end === "abandoned") return Effect.andThen(gone, this.spawnOne(start, number))
    return Effect.andThen(
      gone,
      Effect.suspend(() => {
        if (this.failure === undefined) this.fail(silent(end))
        return Effect.map(this.startOne(start, number, true), ([page]) => page)
      })
    )
  }

  /** Starts a process. The second is how its start ends; it also keeps book. */
  private startOne<W extends Worker>(
    start: () => Effect.Effect<W>,
    number: number,
    isPage: boolean
  ): Effect.Effect<readonly [W, Effect.Effect<"ready" | "abandoned" | "late" | ChildExit>]> {
    const { startTimeout } = this.options
    return Effect.flatMap(start(), (worker) => {
      const isAbandoned = Deferred.makeUnsafe<void>()
      const started: Started = { worker, number, begin: this.begin(isPage), isAbandoned, isReady: isPage }
      this.started.set(worker.pid, started)
      const outcome = Effect.tap(
        Effect.raceAllFirst([
          Effect.as(worker.ready, "ready" as const),
          worker.exited,
          Effect.as(Deferred.await(isAbandoned), "abandoned" as const),
          Effect.as(Duration.isZero(startTimeout) ? Effect.never : Effect.sleep(startTimeout), "late" as const)
        ]),
        (end) => Effect.sync(() => void (started.isReady = end === "ready"))
      )
      const ended = Effect.map(worker.exited, (exit) => {
        if (!started.isReady) this.lastExit = exit
        this.started.delete(worker.pid)
      })
      return Effect.as(this.later(ended), [worker, outcome] as const)
    })
  }

  private begin(isPage: boolean): Message.Begin {
    return { generation: this.generation, isPage, failure: this.failure ?? null }
  }

  // ---- failures

  private failed(pid: number, failure: DevFailure): void {
    const started = this.started.get(pid)
    if (started === undefined || started.begin.generation !== this.generation) return
    this.fail(failure)
  }

  /** Said once, however many workers it comes from, and shown wherever a page is open. */
  private fail(failure: DevFailure): void {
    this.failure = failure
    const text = toText(failure)
    if (text === this.said) return
    this.said = text
    this.print(`\n${text}\n\n`)
  }

  private readonly showFailure: Effect.Effect<void> = Effect.suspend(() => {
    const { failure } = this
    if (failure === undefined) return Effect.void
    const what: Message.ToWorker = { type: "reload.failure", failure }
    const serving = [...this.started.values()].filter(({ isReady }) => isReady)
    return Effect.forEach(serving, ({ worker }) => this.later(Effect.ignore(worker.ask(what))), { discard: true })
  })

  /** Does not wait, and lasts no longer than the whole. */
  private later(effect: Effect.Effect<unknown>): Effect.Effect<void> {
    return Effect.asVoid(Effect.forkIn(effect, this.scope, { startImmediately: true }))
  }

  // ---- changes

  readonly restartNow: Effect.Effect<void> = Effect.asVoid(Effect.suspend(() => Queue.offer(this.changes, [])))

  readonly run = (restart: Effect.Effect<boolean>): Effect.Effect<never> =>
    Effect.scoped(Effect.gen({ self: this }, function*() {
      yield* Effect.forkScoped(Effect.forever(this.detect), { startImmediately: true })
      let changed: ReadonlyArray<string> | undefined
      while (true) {
        changed ??= yield* Queue.take(this.changes)
        changed = yield* this.attempt(changed, restart)
      }
    })).pipe(Effect.onInterrupt(() => this.abandon))

  /** Waits until it has been quiet for a while, then sees what of it was more than a touch. */
  private readonly detect: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    const touched = new Set<string>(yield* Queue.takeAll(this.watcher.events))
    while (true) {
      const more = yield* Effect.timeoutOption(Queue.takeAll(this.watcher.events), this.options.delay)
      if (Option.isNone(more)) break
      for (const file of more.value) touched.add(file)
    }
    const changed: Array<string> = []
    for (const file of touched) {
      if (this.options.outputs?.includes(file)) continue
      const now = yield* this.fingerprint(file)
      if (this.known.get(file) !== now) changed.push(file)
      this.known.set(file, now)
    }
    if (changed.length > 0) yield* Queue.offer(this.changes, changed)
  })

  /** **Returns** what has changed meanwhile, which ends the attempt: what is being started is out of date. */
  private attempt(
    changed: ReadonlyArray<string>,
    restart: Effect.Effect<boolean>
  ): Effect.Effect<ReadonlyArray<string> | undefined> {
    return Effect.gen({ self: this }, function*() {
      this.generation++
      this.failure = undefined
      this.lastExit = undefined
      this.said = ""
      this.print(`${this.nameAll(changed)}; restarting\n`)
      yield* this.abandon
      const restarting = yield* Effect.forkChild(restart, { startImmediately: true })
      const next = yield* Effect.raceFirst(
        Effect.as(Fiber.await(restarting), undefined),
        Queue.take(this.changes)
      )
      if (next !== undefined) yield* this.abandon
      const isDone = yield* Fiber.join(restarting)
      if (next !== undefined || isDone) return next
      if (this.failure === undefined) this.fail(this.lastExit === undefined ? notStarted : silent(this.lastExit))
      yield* this.showFailure
      return undefined
    })
  }

  /** Ends what has not come so far as to serve. */
  private readonly abandon: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach(
      [...this.started.values()].filter(({ isReady }) => !isReady),
      ({ isAbandoned, worker }) => Effect.andThen(Deferred.succeed(isAbandoned, undefined), worker.kill),
      { discard: true }
    )
  )

  private nameAll(files: ReadonlyArray<string>): string {
    if (files.length === 0) return "Asked to"
    const names = files.slice(0, 3).map((file) => harmless(ReloadFailure.shown(file, this.cwd)).replaceAll("\n", "\\n"))
    const more = files.length > 3 ? ` and ${files.length - 3} more` : ""
    return `${names.join(", ")}${more} changed`
  }
}

/** No worker was even tried: the configuration cannot be read, for one. */
const notStarted: DevFailure = ReloadFailure.bare("Not restarted", "All goes on as it was. The terminal says why")

/** A worker that ended without a word. */
const silent = (end: "late" | ChildExit): DevFailure =>
  ReloadFailure.bare(
    "The application does not start",
    end === "late"
      ? "It does not serve, and has not said why. Something that it waits for does not come"
      : `It ended with ${end.signal ?? `exit code ${end.code}`} before it served. What it has printed stands above`
  )
