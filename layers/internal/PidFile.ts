/**
 * The file that tells others our process id. Written whole or not at all; refuses to push out a process that is alive;
 * removed when the scope closes if it is still ours. It is no lock: what keeps two servers apart is the port, which is
 * bound before.
 *
 * Never a file of a process that is gone stands in the way, also not in a container, where the same few pids come back.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { problemOf, ProcessError, type ProcessErrorReason } from "./ProcessError.ts"
import * as ProcFs from "./ProcFs.ts"

export interface Options {
  /** The file, absolute or from the current directory. Its folder must exist. */
  readonly path: string
  /** The process that serves until now and hands over to us (binary upgrade). Its file is replaced. */
  readonly predecessor?: number
  /** Default: this process. */
  readonly pid?: number
  /** Whether there is such a process. Default: asks the system. */
  readonly isAlive?: (pid: number) => boolean
  /** Default `/proc`. */
  readonly procRoot?: string
}

const refuse = (reason: ProcessErrorReason) => new ProcessError({ reason })

const attempt = <A>(path: string, operation: () => A): Effect.Effect<A, ProcessError> =>
  Effect.try({
    try: operation,
    catch: (error) => refuse({ _tag: "PidFileUnusable", path, problem: problemOf(error) })
  })

const isAliveHere = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** What a pid file says: a pid, that it says something else, or that there is none. */
const readPid = (path: string): number | "other" | undefined => {
  let text: string
  try {
    // Never waits for a pipe that somebody put there.
    const descriptor = Fs.openSync(path, Fs.constants.O_RDONLY | (Fs.constants.O_NONBLOCK ?? 0))
    try {
      text = Fs.fstatSync(descriptor).isFile() ? Fs.readFileSync(descriptor, "utf8") : "not a file"
    } finally {
      Fs.closeSync(descriptor)
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined
    throw error
  }
  if (text.trim() === "") return 0
  return /^\s*[1-9]\d{0,9}\s*$/.test(text) ? Number(text) : "other"
}

/** Clocks are read in whole seconds here and there. */
const slackMillis = 2000

/** A process that began after the file was written has not written it: the pid has come back to somebody else. */
const beganLater = (pid: number, path: string, procRoot: string | undefined): boolean => {
  const began = ProcFs.startedAtMillis(pid, procRoot)
  const written = Fs.statSync(path, { throwIfNoEntry: false })?.mtimeMs
  return began !== undefined && written !== undefined && began > written + slackMillis
}

const check = Effect.fnUntraced(function*(options: Options, pid: number): Effect.fn.Return<void, ProcessError> {
  const { isAlive = isAliveHere, path, predecessor, procRoot } = options
  const found = yield* attempt(path, () => readPid(path))
  if (found === "other") {
    const problem = "there is something that is no pid file; choose another path, or remove it yourself"
    return yield* refuse({ _tag: "PidFileUnusable", path, problem })
  }
  if (found === undefined || found === 0 || found === pid || found === predecessor || !isAlive(found)) return
  if (beganLater(found, path, procRoot)) return
  return yield* refuse({ _tag: "PidFileHeld", path, pid: found, command: ProcFs.commandOf(found, procRoot) })
})

const write = (path: string, pid: number): void => {
  const draft = `${path}.${pid}`
  // What a process with our pid left behind. Never written through: a link there might point anywhere.
  Fs.rmSync(draft, { force: true })
  Fs.writeFileSync(draft, `${pid}\n`, { flag: "wx", mode: 0o644 })
  try {
    Fs.renameSync(draft, path)
  } catch (error) {
    Fs.rmSync(draft, { force: true })
    throw error
  }
}

const remove = (path: string, pid: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    try {
      if (readPid(path) === pid) Fs.rmSync(path, { force: true })
      return Effect.void
    } catch (error) {
      // Rights that were given up meanwhile. The next start sees that nobody holds it.
      return Effect.logInfo(`The pid file ${path} stays: ${problemOf(error)}`)
    }
  })

/**
 * Writes our pid and holds the file until the scope closes. Call it once the sockets are bound, and before rights are
 * given up; a successor calls it once it serves.
 *
 * **Fails with** `ProcessError`: `PidFileHeld` by a process that is alive, whoever it is; `PidFileUnusable`.
 * **Gotchas** a process that may not write to the folder any more when it ends leaves the file behind.
 */
export const hold = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<void, ProcessError, Scope.Scope> {
  const pid = options.pid ?? process.pid
  // The folder may change afterwards, the file does not.
  const path = Path.resolve(options.path)
  yield* Effect.acquireRelease(
    Effect.andThen(check({ ...options, path }, pid), attempt(path, () => write(path, pid))),
    () => remove(path, pid)
  )
})
