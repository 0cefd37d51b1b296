/**
 * What is said when the program cannot go on: one clear message. The stack helps who writes the application, so it is
 * shown in development and at level debug.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { ServerError } from "../../src/service/Server.ts"
import * as AppModule from "./AppModule.ts"
import type { Mode } from "./Call.ts"
import * as WhoListens from "./WhoListens.ts"

/** Their message is the whole story. By tag: an application may bring its own copy of the server's module. */
const plain = [
  "ServerError",
  "ProcessError",
  "SupervisorError",
  "AccessLogError",
  "AccessLogSyslogError",
  "SettingsError"
]

const isPlain = (error: unknown): boolean =>
  plain.some((tag) => Predicate.isTagged(error, tag))
  || (error instanceof AppModule.AppModuleError && error.reason._tag !== "LoadFailed")

const messageOf = (error: unknown): Effect.Effect<string> => {
  const message = error instanceof Error && error.message !== "" ? error.message : String(error)
  if (!(error instanceof ServerError) || error.reason._tag !== "ListenFailed") return Effect.succeed(message)
  const { address, code } = error.reason
  if (code !== "EADDRINUSE") return Effect.succeed(message)
  return Effect.map(WhoListens.whoListens(address), (who) =>
    Option.match(who, {
      onNone: () => message,
      onSome: (process) => `${message}. ${WhoListens.formatProcess(process)} listens there`
    }))
}

/** Logs what went wrong. **Returns** the exit code; is interrupted where that is all that happened. */
export const explain = (cause: Cause.Cause<unknown>, mode: Mode): Effect.Effect<number> => {
  if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
  const error = Cause.squash(cause)
  const details = error instanceof AppModule.AppModuleError && error.reason._tag === "LoadFailed"
    ? Cause.die(error.reason.cause)
    : cause
  const say = (message: string): Effect.Effect<void> =>
    isPlain(error)
      ? Effect.logError(message)
      : mode === "development"
      ? Effect.logError(message, details)
      : Effect.andThen(Effect.logError(message), Effect.logDebug(details))
  return Effect.as(Effect.flatMap(messageOf(error), say), 1)
}
