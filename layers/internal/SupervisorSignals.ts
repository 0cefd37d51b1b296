/**
 * What signals ask of a supervisor. Owns the listeners until the scope closes; `SIGTERM` and `SIGINT` are the program's
 * own business, because one process answers them as well.
 *
 * **Source** gunicorn, nginx and the reference section 2.4, which agree on all of them.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Supervisor } from "./Supervisor.ts"

/** What a process emits signals as. */
export interface Emitter {
  readonly on: (signal: NodeJS.Signals, listener: () => void) => unknown
  readonly off: (signal: NodeJS.Signals, listener: () => void) => unknown
}

export interface Options {
  /**
   * Whether somebody at a terminal has started this: `SIGHUP` says that the terminal has gone, and ends the program,
   * because whoever closes a window wants the port back. Default false.
   */
  readonly isAtTerminal?: boolean
  readonly emitter?: Emitter
  readonly platform?: string
  readonly atQuit?: Effect.Effect<void>
}

type Actions = Pick<Supervisor, "restart" | "add" | "remove" | "reopen" | "upgrade">

/** Ends at once: the exit of this process takes the workers along. */
const quit: Effect.Effect<void> = Effect.andThen(
  Effect.logWarning("Told to end at once: requests in flight are cut"),
  Effect.sync(() => process.exit(1))
)

/**
 * Listens: `SIGHUP` restarts all workers, `SIGTTIN` and `SIGTTOU` add and remove one, `SIGUSR1` opens the log files
 * anew, `SIGUSR2` upgrades, `SIGQUIT` ends at once with code 1. On Windows, which has none of them, it does nothing:
 * what `SIGHUP` is there, the console that closes, ends the program.
 */
export const listen = Effect.fnUntraced(function*(
  actions: Actions,
  { atQuit = quit, emitter = process, isAtTerminal = false, platform = process.platform }: Options = {}
): Effect.fn.Return<void, never, Scope.Scope> {
  if (platform === "win32") return
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const meanings: ReadonlyArray<readonly [NodeJS.Signals, Effect.Effect<unknown>]> = [
    ...isAtTerminal ? [] : [["SIGHUP", actions.restart] as const],
    ["SIGTTIN", actions.add],
    ["SIGTTOU", actions.remove],
    ["SIGUSR1", Effect.andThen(actions.reopen, Effect.logInfo("Opened the log files anew"))],
    ["SIGUSR2", actions.upgrade],
    ["SIGQUIT", atQuit]
  ]
  yield* Effect.forEach(meanings, ([signal, meaning]) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const listener = () => void run(meaning)
        emitter.on(signal, listener)
        return listener
      }),
      (listener) => Effect.sync(() => emitter.off(signal, listener))
    ), { discard: true })
})
