/**
 * Checks settings and fills in defaults, and says which of them cannot be together. The table of all settings is in
 * SettingTable.ts, the rules between them are in SettingRules.ts.
 *
 * Never reads the environment or a file (layers/internal/SettingsSources.ts does).
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Kind from "./SettingKind.ts"
import * as Rules from "./SettingRules.ts"
import { SettingsError, unknownOption } from "./SettingsError.ts"
import {
  commandEntries,
  type CommandOptions,
  type CommandSettings,
  type Entry,
  serverEntries,
  type ServerOptions,
  type ServerSettings
} from "./SettingTable.ts"

export type { ListenSpec } from "./SettingKind.ts"
export { type Call, exclusives, listeners } from "./SettingRules.ts"
export * from "./SettingsDocs.ts"
export * from "./SettingsError.ts"
export * from "./SettingTable.ts"

type Options = Readonly<Record<string, unknown>>
/** What the writer called a setting: `--port`, `SLIPWAY_PORT`, `port in ./slipway.toml`. */
export type NameOf = (key: string) => string

/** Where settings came from: what the writer called each, and which somebody wrote. */
export interface Origins {
  readonly nameOf: NameOf
  readonly isSet: (key: string) => boolean
}

const isSetIn = (options: Options) => (key: string): boolean =>
  Object.hasOwn(options, key) && options[key] !== undefined

const decoders = new Map<string, (input: unknown) => Result.Result<any, unknown>>()

const decode = (entry: Entry, input: unknown, nameOf: NameOf): Result.Result<unknown, SettingsError> => {
  let decoder = decoders.get(entry.key)
  if (decoder === undefined) {
    decoder = Schema.decodeUnknownResult(entry.kind.schema)
    decoders.set(entry.key, decoder)
  }
  return Result.mapError(decoder(input), () =>
    new SettingsError({
      reason: {
        _tag: "InvalidValue",
        option: nameOf(entry.key),
        value: entry.kind === Kind.secret ? Kind.redacted : input,
        expected: entry.kind.explain?.(input) ?? entry.kind.expected
      }
    }))
}

const resolveEntries = (table: ReadonlyArray<Entry>, options: Options, nameOf: NameOf) => {
  const settings: Record<string, unknown> = {}
  const isSet = isSetIn(options)
  for (const key of Object.keys(options)) {
    if (!table.some((entry) => entry.key === key)) {
      return Result.fail(unknownOption(key, table.map((entry) => entry.key)))
    }
  }
  for (const { option, other, problem } of Rules.exclusives) {
    if (says(options, option) && says(options, other)) return Result.fail(conflict(nameOf, option, other, problem))
  }
  for (const entry of table) {
    const input = isSet(entry.key) ? options[entry.key] : entry.default
    if (input === undefined) {
      settings[entry.key] = undefined
      continue
    }
    const decoded = decode(entry, input, nameOf)
    if (Result.isFailure(decoded)) return Result.fail(decoded.failure)
    settings[entry.key] = decoded.success
  }
  return Result.succeed(settings)
}

/** A switch that is off says nothing. */
const says = (options: Options, key: string): boolean => isSetIn(options)(key) && options[key] !== false

const conflict = (nameOf: NameOf, option: string, other: string, problem: string): SettingsError =>
  new SettingsError({ reason: { _tag: "Conflict", option: nameOf(option), other: nameOf(other), problem } })

const broken = <S>(
  rules: ReadonlyArray<Rules.Rule<S>>,
  settings: S,
  { isSet, nameOf }: Origins
): SettingsError | undefined => {
  const rule = rules.find(({ isBroken }) => isBroken(settings, isSet))
  if (rule === undefined) return undefined
  const problem = typeof rule.problem === "string" ? rule.problem : rule.problem(settings)
  return conflict(nameOf, rule.option, rule.other, problem)
}

/**
 * Checks a server's options and fills in the defaults.
 *
 * **Fails with** `SettingsError`: a value out of range, an unknown option, or two options that cannot be together
 * (SettingRules.ts).
 */
export const resolve = (
  options: ServerOptions,
  nameOf: NameOf = (key) => key
): Result.Result<ServerSettings, SettingsError> => {
  const resolved = resolveEntries(serverEntries, options, nameOf)
  if (Result.isFailure(resolved)) return Result.fail(resolved.failure)
  const settings = resolved.success as unknown as ServerSettings
  const error = broken(Rules.serverRules, settings, { isSet: isSetIn(options), nameOf })
  if (error !== undefined) return Result.fail(error)
  return Result.succeed({
    ...settings,
    writeLowWaterMark: Math.min(settings.writeLowWaterMark, settings.writeHighWaterMark)
  })
}

/**
 * Checks the command line program's options and fills in the defaults.
 *
 * **Fails with** `SettingsError`, as `resolve` does.
 */
export const resolveCommand = (
  options: CommandOptions,
  nameOf: NameOf = (key) => key
): Result.Result<CommandSettings, SettingsError> => {
  const resolved = resolveEntries(commandEntries, options, nameOf)
  if (Result.isFailure(resolved)) return Result.fail(resolved.failure)
  const settings = resolved.success as unknown as CommandSettings
  const error = broken(Rules.commandRules, settings, { isSet: isSetIn(options), nameOf })
  return error === undefined ? Result.succeed(settings) : Result.fail(error)
}

/** The mode: what `env` says, else development on a terminal and for what only development has. */
export const modeOf = (
  { env, inspect, reload }: Pick<CommandSettings, "env" | "inspect" | "reload">,
  isTerminal: boolean
): Rules.Call["mode"] => env ?? (isTerminal || reload || inspect ? "development" : "production")

/** Says what is wrong between the settings of a server and those of the program, or between them and the mode. */
export const problemOf = (call: Rules.Call, origins: Origins): Option.Option<SettingsError> =>
  Option.fromNullishOr(broken(Rules.callRules, call, origins))

/** Says which settings have no effect, a sentence each, for the log. */
export const remarksOn = (call: Rules.Call, { isSet, nameOf }: Origins): ReadonlyArray<string> =>
  Rules.remarks.filter(({ applies }) => applies(call, isSet)).map(({ option, text }) => `${nameOf(option)} ${text}`)
