/**
 * The settings as flags of effect/cli, and how the command line talks: help that fits the terminal, a complaint of a
 * line or two about a wrong flag instead of the whole help, completions for shells.
 *
 * Derives everything from the settings table; knows no setting by name. Never writes but through `Console`.
 */
import * as Argument from "effect/cli/Argument"
import type * as CliError from "effect/cli/CliError"
import type * as CliOutput from "effect/cli/CliOutput"
import type * as Command from "effect/cli/Command"
import * as Completions from "effect/cli/Completions"
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Settings from "../../src/schema/Settings.ts"
import type { Sources } from "./SettingsSources.ts"

const flagOf = (entry: Settings.Entry): Flag.Flag<string | ReadonlyArray<string> | undefined> =>
  entry.kind.isSwitch === true ? switchOf(entry) : valueFlagOf(entry)

const switchOf = (entry: Settings.Entry): Flag.Flag<string | undefined> => {
  const named = Flag.Boolean(entry.flag).pipe(Flag.withDescription(entry.description))
  const flag = entry.alias === undefined ? named : Flag.withAlias(named, entry.alias)
  return Flag.map(Flag.optional(flag), (given) => Option.getOrUndefined(Option.map(given, (on) => on ? "on" : "off")))
}

const valueFlagOf = (entry: Settings.Entry): Flag.Flag<string | ReadonlyArray<string> | undefined> => {
  const named = Flag.String(entry.flag).pipe(
    Flag.withMetavar(entry.kind.metavar),
    Flag.withDescription(entry.description)
  )
  const flag = entry.alias === undefined ? named : Flag.withAlias(named, entry.alias)
  return entry.kind.isList === true
    ? Flag.map(Flag.atLeast(flag, 0), (values) => values.length === 0 ? undefined : values)
    : Flag.map(Flag.optional(flag), Option.getOrUndefined)
}

const offFlagOf = ({ description, name }: NonNullable<Settings.Entry["offFlag"]>): Flag.Flag<boolean> =>
  Flag.Boolean(name).pipe(Flag.withoutNegation, Flag.withDescription(description), Flag.withDefault(false))

/** What the command accepts. */
export const input = {
  app: Argument.String("APP").pipe(
    Argument.withMetavar("APP"),
    Argument.withDescription(Settings.operands.app),
    Argument.optional
  ),
  arguments: Argument.String("NAME=VALUE").pipe(
    Argument.withMetavar("NAME=VALUE"),
    Argument.withDescription(Settings.operands.arguments),
    Argument.variadic()
  ),
  flags: Object.fromEntries(Settings.entries.map((entry) => [entry.key, flagOf(entry)])),
  offFlags: Object.fromEntries(
    Settings.entries.flatMap((entry) => entry.offFlag === undefined ? [] : [[entry.key, offFlagOf(entry.offFlag)]])
  )
}
export type Input = Command.Command.Config.Infer<typeof input>

/** The flags that were given, by the setting's key. */
export const givenFlags = (parsed: Input): Sources["flags"] => {
  const given: Record<string, string | ReadonlyArray<string>> = {}
  for (const entry of Settings.entries) {
    const value = parsed.flags[entry.key] ?? (parsed.offFlags[entry.key] === true ? entry.offFlag!.text : undefined)
    if (value !== undefined) given[entry.key] = value
  }
  return given
}

const refused = (value: string, expected: string) =>
  Result.fail(
    new Settings.SettingsError({ reason: { _tag: "InvalidValue", option: "An argument after APP", value, expected } })
  )

/** The arguments of the application by name. **Fails with** `SettingsError` that shows the one that is none. */
export const appArguments = (
  parsed: Input
): Result.Result<Readonly<Record<string, string>>, Settings.SettingsError> => {
  const found = new Map<string, string>()
  for (const argument of parsed.arguments) {
    const at = argument.indexOf("=")
    if (at < 1) return refused(argument, "name=value, for the application")
    const name = argument.slice(0, at)
    if (found.has(name)) return refused(argument, `one value for ${name}`)
    found.set(name, argument.slice(at + 1))
  }
  return Result.succeed(Object.fromEntries(found))
}

const flagNames = Settings.entries.flatMap(({ flag, offFlag }) =>
  offFlag === undefined ? [`--${flag}`] : [`--${flag}`, `--${offFlag.name}`]
)

const messageOf = (error: CliError.CliError): string =>
  error._tag !== "UnrecognizedOption"
    ? error.message
    // The same name may be one of a subcommand's, or not.
    : flagNames.includes(error.option)
    ? `${error.option} is no option here`
    : Settings.unknownOption(error.option, flagNames).message

/** What is wrong with the call, a line for each mistake. */
export const explain = (error: CliError.CliError | Settings.SettingsError): string =>
  error._tag === "SettingsError"
    ? error.message
    : error._tag === "ShowHelp"
    ? error.errors.map(messageOf).join("\n")
    : messageOf(error)

/** Whether what is written to a stream should be coloured. See no-color.org; FORCE_COLOR as Node reads it. */
export const hasColors = (
  { FORCE_COLOR, NO_COLOR }: Readonly<Record<string, string | undefined>>,
  isTerminal: boolean
): boolean => {
  if (FORCE_COLOR !== undefined) return FORCE_COLOR !== "0" && FORCE_COLOR !== "false"
  return isTerminal && (NO_COLOR === undefined || NO_COLOR === "")
}

/** Characters of a line of help where nobody knows, and at most. */
const readable = 100

/** Prints help that fits a terminal of so many columns, and versions; leaves complaints to the caller. */
export const presenter = (columns: number | undefined, colors = false): CliOutput.Presenter => ({
  present: (event) => {
    switch (event._tag) {
      case "InvalidInvocation":
        return Effect.void
      case "Version":
        return Console.log(`${event.name} ${event.version}`)
      case "Help":
        return Effect.flatMap(
          Effect.promise(() => import("./CommandHelp.ts")),
          (CommandHelp) =>
            Console.log(CommandHelp.format(event.helpDoc, { columns: Math.min(columns ?? readable, readable), colors }))
        )
    }
  }
})

// ---- completions

const entryOf = (flag: string): Settings.Entry | undefined => Settings.entries.find((entry) => entry.flag === flag)

const typeOf = (flag: Completions.FlagDescriptor): Completions.FlagType => {
  const kind = entryOf(flag.name)?.kind
  if (kind === undefined || kind.isSwitch === true) return flag.type
  return kind.completes !== undefined
    ? { _tag: "Path", pathType: kind.completes === "folder" ? "directory" : "file" }
    : kind.choices !== undefined
    ? { _tag: "Choice", values: kind.choices }
    : flag.type
}

/** What a shell needs to know, with the first sentence of each meaning and with the values that the table knows. */
const described = (descriptor: Completions.CommandDescriptor, isRoot: boolean): Completions.CommandDescriptor => ({
  ...descriptor,
  flags: descriptor.flags.map((flag) => ({
    ...flag,
    description: (isRoot ? entryOf(flag.name)?.description : undefined)?.replace(/\.(?:\s.*)?$/, "") ??
      flag.description,
    type: isRoot ? typeOf(flag) : flag.type
  })),
  arguments: isRoot
    ? descriptor.arguments.map((argument) => ({ ...argument, type: { _tag: "Path", pathType: "either" } }))
    : descriptor.arguments,
  subcommands: descriptor.subcommands.map((subcommand) => described(subcommand, false))
})

/** `--completions SHELL`, in place of the one of effect/cli: it also completes values and files. */
export const completions: typeof GlobalFlag.Completions = GlobalFlag.Action({
  flag: GlobalFlag.Completions.flag,
  run: (shell, { command }) =>
    Option.isNone(shell)
      ? Effect.void
      : Console.log(
        Completions.generate(command.name, shell.value, described(Completions.fromCommand(command), true))
      )
})
