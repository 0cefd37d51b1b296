/**
 * What the command line program was called for: the application, the settings with their sources, the mode, and what the
 * operating system has for it. Every way to serve (alone, with workers, as a worker) takes one.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Settings from "../../src/schema/Settings.ts"
import * as SettingsReport from "../../src/schema/SettingsReport.ts"
import type { Host } from "./Host.ts"
import * as SettingsSources from "./SettingsSources.ts"

export type Mode = "development" | "production"

/** What is read again when the program is told to. */
export interface Reread {
  readonly settings: Settings.ServerSettings
  readonly command: Settings.CommandSettings
  readonly collected: SettingsSources.Collected
}

export interface Call extends Reread {
  readonly version: string
  /** As it was written. None: the current directory. */
  readonly app: Option.Option<string>
  /** For the application. */
  readonly args: Readonly<Record<string, string>>
  readonly mode: Mode
  readonly host: Host
  /** Reads flags, variables of the start and files once more. **Fails with** what is wrong with them. */
  readonly reread: Effect.Effect<Reread, Settings.SettingsError>
}

/** Whether the settings need a supervisor. One that is there already goes on, however few workers it has. */
export const needsSupervisor = ({ group, reload, user, workers }: Settings.CommandSettings): boolean =>
  workers === "auto" || workers > 1 || reload || user !== undefined || group !== undefined

/** What is served, in words. */
export const describe = ({ app, command }: Call): string =>
  Option.getOrElse(app, () => command.eval === undefined ? "the current directory" : "an expression")

/** The line that says that it serves. */
export const readyLine = (call: Call, addresses: ReadonlyArray<string>, more = ""): string => {
  const why = call.host.containerSign === undefined ? "" : `, on all networks because of ${call.host.containerSign}`
  return `Slipway ${call.version} serving ${describe(call)} on ${addresses.join(", ")} (${call.mode}${why})${more}`
}

/** Says where settings came from that nobody named, and which of them have no effect. */
export const warn = Effect.fnUntraced(function*({ collected, command, mode, settings }: Call) {
  const files = SettingsSources.filesOf(collected)
  if (Option.isSome(files)) yield* Effect.logInfo(`Settings come from ${files.value}`)
  const remarks = Settings.remarksOn({ server: settings, command, mode }, collected)
  yield* Effect.forEach([...collected.warnings, ...remarks], (warning) => Effect.logWarning(warning))
})

/** What operations say of the program itself; `current` is what was read last. */
export const operationsOf = (call: Call, current: () => Reread = () => call) => ({
  version: call.version,
  application: describe(call),
  mode: call.mode,
  config: Effect.sync(() => {
    const { collected, command, settings } = current()
    return SettingsReport.rows(collected, { server: settings, command })
  })
})

/** What a stop needs besides what the settings allow it. */
const stopGrace = Duration.seconds(10)

/** Longest time in which a stop can be over: every wait of it to its end, and what Layers of the application may take. */
export const stopLimit = (settings: Settings.ServerSettings): Duration.Duration => {
  const { disconnectGrace, preStopDelay, shutdownTimeout } = settings
  const waits = [preStopDelay, Duration.times(shutdownTimeout, 2), Duration.times(disconnectGrace, 4)]
  return waits.reduce(Duration.sum, stopGrace)
}

/** Ends the process where something of the application never ends. Nothing waits for it. */
export const boundStop = (limit: Duration.Duration): Effect.Effect<void> =>
  Effect.sleep(limit).pipe(
    Effect.andThen(Effect.logError(`Did not stop in ${Duration.format(limit)}, and is ended now`)),
    Effect.andThen(Effect.sync(() => process.exit(1))),
    Effect.forkDetach,
    Effect.asVoid
  )
