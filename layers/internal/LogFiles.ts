/**
 * The log files that are open in this process, for whoever has renamed them and says so (SIGUSR1, `slipway ctl reopen`).
 * Each registers how it is opened anew as long as it lives. All servers and loggers of a process share one list, unless
 * `LogFiles` is provided.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

export const LogFiles = Context.Reference<Set<Effect.Effect<void>>>("slipway/LogFiles", {
  defaultValue: () => new Set()
})

/** Registers a file until the scope closes. A failure is logged where the file's own troubles are. */
export const register = (name: string, reopen: Effect.Effect<void, unknown>): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const files = yield* LogFiles
    const context = yield* Effect.context<never>()
    const safe = reopen.pipe(
      Effect.catch((error) => Effect.logError(`The ${name} cannot be opened anew`, error)),
      Effect.provideContext(context)
    )
    yield* Effect.acquireRelease(Effect.sync(() => files.add(safe)), () => Effect.sync(() => files.delete(safe)))
  })

/** Opens all of them anew, which have been renamed or removed; does nothing to others, and never fails. */
export const reopen: Effect.Effect<void> = Effect.flatMap(
  LogFiles,
  (files) => Effect.forEach([...files], (reopen) => reopen, { discard: true })
)
