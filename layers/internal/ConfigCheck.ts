/**
 * `--check-config` and `--print-config`: says what is wrong with settings, certificates and the application, or what the
 * settings are and where they come from. Starts nothing and listens nowhere.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Settings from "../../src/schema/Settings.ts"
import * as SettingsReport from "../../src/schema/SettingsReport.ts"
import * as ServerNode from "../ServerNode.ts"
import * as SettingsSources from "./SettingsSources.ts"
import * as Surroundings from "./Surroundings.ts"

type Context = Parameters<typeof SettingsSources.resolve>[1]

/** A value that is refused, but not for want of another setting. */
const refusalIn = (checked: Result.Result<unknown, Settings.SettingsError>): ReadonlyArray<Settings.SettingsError> =>
  Result.isFailure(checked) && checked.failure.reason._tag === "InvalidValue" ? [checked.failure] : []

/** Every value that is refused, or what cannot be together. None: the settings can be used. */
export const problemsIn = (
  collected: SettingsSources.Collected,
  context?: Context
): ReadonlyArray<Settings.SettingsError> => {
  const { command, nameOf, server } = collected
  const refused = [
    ...Object.entries(server).flatMap(([key, value]) => refusalIn(Settings.resolve({ [key]: value }, nameOf))),
    ...Object.entries(command).flatMap(([key, value]) => refusalIn(Settings.resolveCommand({ [key]: value }, nameOf)))
  ]
  if (refused.length > 0) return refused
  const resolved = SettingsSources.resolve(collected, context)
  return Result.isFailure(resolved) ? [resolved.failure] : []
}

const failuresOf = <E extends Error, R>(step: Effect.Effect<unknown, E, R>): Effect.Effect<Array<string>, never, R> =>
  Effect.match(step, { onFailure: ({ message }) => [message], onSuccess: () => [] })

/**
 * Looks at everything that can be looked at without starting: settings, TLS files, and what `load` loads.
 *
 * **Returns** lines for people and the exit code: 0, or 2 where something is wrong.
 */
export const check = Effect.fnUntraced(function*<E extends Error, R>(
  collected: SettingsSources.Collected,
  load: (call: Settings.Call) => Effect.Effect<unknown, E, R>,
  context?: Context
) {
  const problems = problemsIn(collected, context).map(({ message }) => message)
  if (problems.length > 0) return { lines: problems, exitCode: 2 }
  const call = yield* Effect.fromResult(SettingsSources.resolve(collected, context)).pipe(Effect.orDie)
  // Files are named from the folder that is entered.
  const entered = yield* failuresOf(Surroundings.enter({ chdir: call.command.chdir }))
  if (entered.length > 0) return { lines: entered, exitCode: 2 }
  const wrong = [
    ...yield* failuresOf(Effect.scoped(ServerNode.make(collected.server))),
    ...yield* failuresOf(load(call))
  ]
  if (wrong.length > 0) return { lines: wrong, exitCode: 2 }
  return {
    lines: [...collected.warnings, ...Settings.remarksOn(call, collected), "Settings and application can be used"],
    exitCode: 0
  }
})

/** Every setting, its value and what set it. As JSON where `logFormat` is `json`. Secrets are hidden. */
export const print = (collected: SettingsSources.Collected, call: Settings.Call): string => {
  const rows = SettingsReport.rows(collected, call)
  return call.command.logFormat === "json" ? JSON.stringify(rows, undefined, 2) : SettingsReport.toText(rows)
}
