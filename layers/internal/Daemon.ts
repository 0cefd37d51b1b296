/**
 * Runs the program in the background: starts it again as the leader of a session of its own (Node cannot fork), and waits
 * in the foreground until it serves or has failed. So a script that starts it knows, and reads what was wrong.
 *
 * Until it serves, what it and its workers print on standard error is kept for the foreground. Afterwards it goes to the
 * log file, or nowhere.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Util from "node:util"
import { problemOf, ProcessError } from "./ProcessError.ts"
import { startFolder } from "./Surroundings.ts"

/** Says that this process is the daemon. Not a setting: the foreground writes it. */
const variable = "SLIPWAY_DAEMON"

/** What the daemon says. Its application may say other things over the same channel. */
const serving = { type: "serving" }

export interface Options {
  /** File that gets what the daemon prints, appended to and made with mode 0640. Default: it is discarded. */
  readonly log?: string
  /** Where requests are logged, as in the settings: `-` goes the way of what is printed. */
  readonly accessLog?: string | false
  /** Default: this very command line. */
  readonly command?: readonly [program: string, ...args: ReadonlyArray<string>]
  readonly env?: NodeJS.ProcessEnv
  readonly platform?: NodeJS.Platform
}

/** How the start went. */
export type Outcome = Data.TaggedEnum<{
  Serving: { readonly pid: number }
  /** It ended before it served. `text` is what it printed on standard error. */
  Ended: { readonly code: number; readonly text: string }
}>
export const Outcome = Data.taggedEnum<Outcome>()

const unavailable = (problem: string) => new ProcessError({ reason: { _tag: "DaemonUnavailable", problem } })

/** Where the daemon prints, with a descriptor to read it back. One without a name goes with the last process that has it. */
const openLog = (path: string | undefined): number => {
  if (path !== undefined) return Fs.openSync(path, "a+", 0o640)
  const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-"))
  try {
    return Fs.openSync(Path.join(folder, "log"), "ax+", 0o600)
  } finally {
    Fs.rmSync(folder, { recursive: true, force: true })
  }
}

const log = (path: string | undefined): Effect.Effect<number, ProcessError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({
      try: () => openLog(path),
      catch: (error) =>
        unavailable(`its log${path === undefined ? "" : ` ${path}`} cannot be opened: ${problemOf(error)}`)
    }),
    (descriptor) => Effect.sync(() => Fs.closeSync(descriptor))
  )

/** More than anybody reads; what is last says why it ended. */
const mostTextBytes = 65_536

const readFrom = (descriptor: number, start: number): string => {
  const { size } = Fs.fstatSync(descriptor)
  const bytes = Buffer.alloc(Math.min(mostTextBytes, Math.max(0, size - start)))
  return bytes.toString("utf8", 0, Fs.readSync(descriptor, bytes, 0, bytes.length, size - bytes.length))
}

/**
 * Starts the daemon and waits for it. **Returns** how that went; the caller prints and exits.
 *
 * **Fails with** `ProcessError` whose reason is `DaemonUnavailable`: on Windows, or where it could not be started at all.
 * Interrupted, it ends the daemon as well: nobody would know of it.
 */
export const launch = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<Outcome, ProcessError> {
  if ((options.platform ?? process.platform) === "win32") {
    return yield* unavailable("Windows has services instead; run it as one")
  }
  if (options.log === undefined) {
    const what = options.accessLog === "-" ? "The log and the access log are" : "The log is"
    yield* Effect.logWarning(`${what} discarded once the daemon serves: nothing says in which file to keep it`)
  }
  return yield* Effect.scoped(Effect.flatMap(log(options.log), (descriptor) => follow(options, descriptor)))
})

const follow = (options: Options, descriptor: number): Effect.Effect<Outcome, ProcessError> =>
  Effect.callback((resume) => {
    const [program, ...args] = options.command ?? [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
    const { size } = Fs.fstatSync(descriptor)
    const output = options.log === undefined ? "ignore" : descriptor
    const child = ChildProcess.spawn(program, args, {
      cwd: startFolder,
      env: { ...(options.env ?? process.env), [variable]: "1" },
      stdio: ["ignore", output, descriptor, "ipc"],
      detached: true
    })
    const leave = () => {
      child.removeAllListeners()
      child.on("error", () => {})
      if (child.connected) child.disconnect()
      child.unref()
    }
    child.once("error", (error) => resume(Effect.fail(unavailable(problemOf(error)))))
    child.on("message", (message) => {
      if (!Util.isDeepStrictEqual(message, serving)) return
      leave()
      resume(Effect.succeed(Outcome.Serving({ pid: child.pid! })))
    })
    child.once("exit", (code, signal) => {
      const text = readFrom(descriptor, size)
      const said = signal === null ? text : `${text}slipway: the daemon was ended by ${signal}\n`
      // Whoever asked for a daemon has none, however well it ended.
      resume(Effect.succeed(Outcome.Ended({ code: code === null || code === 0 ? 1 : code, text: said })))
    })
    return Effect.sync(() => {
      child.kill("SIGTERM")
      leave()
    })
  })

/** What a daemon owes the one that started it. */
export interface Duties {
  /** Says that it serves: the foreground ends. Keeps a log without a name small for as long as the scope lives. */
  readonly serving: Effect.Effect<void, never, Scope.Scope>
}

/**
 * What this process owes a foreground; `undefined` where it is no daemon. The environment forgets it, so call it before
 * the settings are read.
 */
export const duties: Effect.Effect<Duties | undefined> = Effect.sync(() => {
  const isDaemon = process.env[variable] !== undefined && process.send !== undefined
  delete process.env[variable]
  if (!isDaemon) return undefined
  return { serving: Effect.andThen(tellServing, keepErrorsSmall) }
})

const tellServing: Effect.Effect<void> = Effect.callback((resume) => {
  if (!process.connected) return resume(Effect.void)
  process.send!(serving, undefined, undefined, () => {
    // Else the channel would keep this process alive.
    if (process.connected) process.disconnect()
    resume(Effect.void)
  })
})

/** Rare enough to cost nothing, often enough to fill no disk. */
const emptyEvery = "1 minute"

/** Empties a log that has no name any more, again and again. Others are not touched. */
export const keepSmall = (descriptor: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const stat = Fs.fstatSync(descriptor)
    if (!stat.isFile() || stat.nlink > 0) return Effect.void
    Fs.ftruncateSync(descriptor)
    return Effect.andThen(Effect.sleep(emptyEvery), keepSmall(descriptor))
  })

const standardError = 2

/** Keeps what is printed and nobody can read small for as long as the scope lives. For the successors of a daemon too. */
export const keepErrorsSmall: Effect.Effect<void, never, Scope.Scope> = Effect.asVoid(
  Effect.forkScoped(keepSmall(standardError))
)
