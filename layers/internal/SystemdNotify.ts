/**
 * Tells systemd how the service is: that it serves, reloads, stops, is alive. Node has no sockets of the kind that systemd
 * listens on, so the word goes through the program `systemd-notify`, one process for each message, in order. The unit
 * needs `NotifyAccess=all`, as the word does not come from the main process.
 *
 * A message that cannot be sent is told once, and nothing waits for one longer than five seconds.
 *
 * **Source** sd_notify(3), sd_watchdog_enabled(3).
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as ChildProcess from "node:child_process"

/** Words to the service manager. Each succeeds when the word was taken, given up, or there is nobody to take it. */
export interface Notify {
  /** It serves: after the start, and after a reload. */
  readonly ready: (status: string) => Effect.Effect<void>
  /** It reads its configuration anew, or replaces its workers. `ready` ends that. */
  readonly reloading: Effect.Effect<void>
  readonly stopping: (status: string) => Effect.Effect<void>
  /** One line for `systemctl status`. */
  readonly status: (text: string) => Effect.Effect<void>
  /** Another process is the service from now on (binary upgrade). */
  readonly mainPid: (pid: number) => Effect.Effect<void>
  /** What a successor needs in its environment to go on with this. Other children get none of it. */
  readonly environment: Readonly<Record<string, string>>
}

export interface Options {
  /** Default: the process's own, from which the variables are removed. */
  readonly env?: Record<string, string | undefined>
  readonly pid?: number
  /** Runs the program. Default: `systemd-notify` on the PATH. **Fails with** the problem in words. */
  readonly send?: (
    assignments: ReadonlyArray<string>,
    env: Readonly<Record<string, string | undefined>>
  ) => Effect.Effect<void, string>
}

const variables = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] as const
const program = "systemd-notify"
/** It waits itself until systemd has read the word, as long at most. */
const patience = Duration.seconds(5)

const run: NonNullable<Options["send"]> = (assignments, env) =>
  Effect.callback((resume) => {
    const child = ChildProcess.spawn(program, assignments, { env, stdio: "ignore" })
    child.once("error", (error: NodeJS.ErrnoException) =>
      resume(Effect.fail(error.code === "ENOENT" ? `${program} is not installed` : error.message)))
    child.once("exit", (code, signal) =>
      resume(code === 0 ? Effect.void : Effect.fail(`${program} ended with ${signal ?? `code ${code}`}`)))
    return Effect.sync(() =>
      void child.kill("SIGKILL")
    )
  })

const nobody: Notify = {
  ready: () => Effect.void,
  reloading: Effect.void,
  stopping: () => Effect.void,
  status: () => Effect.void,
  mainPid: () => Effect.void,
  environment: {}
}

/** One assignment is one line. */
const statusOf = (text: string): string => `STATUS=${text.replaceAll(/[\u0000-\u001f\u007f]/g, " ")}`

/** How often life is shown: `undefined` where nobody asks this process for it. */
const beatOf = (usec: string | undefined, owner: string | undefined, pid: number): Duration.Duration | undefined => {
  if (owner !== undefined && owner !== String(pid)) return undefined
  const micros = Number(usec)
  return /^\d+$/.test(usec ?? "") && micros > 0 ? Duration.micros(BigInt(Math.ceil(micros / 2))) : undefined
}

const microsPerNano = 1000n

/**
 * Takes what systemd says in the environment, which forgets it, and shows life twice in the time of the watchdog for as
 * long as the scope lives. Does nothing where `NOTIFY_SOCKET` is not set: the service was started otherwise.
 *
 * **Gotchas** a worker has nothing to tell: only the process that systemd started makes one.
 */
export const make = Effect.fnUntraced(function*(options: Options = {}): Effect.fn.Return<Notify, never, Scope.Scope> {
  const { env = process.env, pid = process.pid, send = run } = options
  const [socket, watchdogUsec, watchdogPid] = variables.map((name) => env[name])
  for (const name of variables) delete env[name]
  if (socket === undefined || socket === "") return nobody
  const oneByOne = Semaphore.makeUnsafe(1)
  let isTold = false
  const tell = (...assignments: ReadonlyArray<string>): Effect.Effect<void> =>
    oneByOne.withPermit(Effect.suspend(() => send(assignments, { ...env, NOTIFY_SOCKET: socket }))).pipe(
      Effect.timeoutOrElse({
        duration: patience,
        orElse: () => Effect.fail(`${program} did not end in ${Duration.format(patience)}`)
      }),
      Effect.catch((problem) => {
        if (isTold) return Effect.void
        isTold = true
        return Effect.logWarning(`systemd waits for word at NOTIFY_SOCKET and gets none: ${problem}`)
      })
    )
  const beat = beatOf(watchdogUsec, watchdogPid, pid)
  if (beat !== undefined) {
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(beat), tell("WATCHDOG=1"))))
  }
  return {
    ready: (status) => tell("READY=1", statusOf(status), `MAINPID=${pid}`),
    reloading: Effect.flatMap(
      Clock.monotonicTimeNanos,
      (now) => tell("RELOADING=1", `MONOTONIC_USEC=${now / microsPerNano}`)
    ),
    stopping: (status) => tell("STOPPING=1", statusOf(status)),
    status: (text) => tell(statusOf(text)),
    mainPid: (other) => tell(`MAINPID=${other}`),
    // Whoever has the socket may show life: the pid of a successor is not known before it is there.
    environment: { NOTIFY_SOCKET: socket, ...(beat === undefined ? {} : { WATCHDOG_USEC: watchdogUsec! }) }
  }
})
