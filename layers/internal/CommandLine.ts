/**
 * The settings as flags of effect/cli, and how the command line talks: help that fits the terminal, a complaint of a
 * line or two about a wrong flag instead of the whole help.
 *
 * Derives everything from the settings table; knows no setting by name. Never writes but through `Console`.
 */
import * as Argument from "effect/cli/Argument"
import type * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import type * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import type { HelpDoc } from "effect/cli/HelpDoc"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Settings from "../../src/schema/Settings.ts"
import type { Sources } from "./SettingsSources.ts"

const describe = (entry: Settings.Entry): string => {
  const variables = [entry.env, ...entry.weakerEnv ?? []].join(", ")
  return `${entry.description} [${variables}; default: ${Settings.defaultText(entry)}]`
}

const flagOf = (entry: Settings.Entry): Flag.Flag<string | ReadonlyArray<string> | undefined> => {
  const named = Flag.String(entry.flag).pipe(
    Flag.withMetavar(entry.kind.metavar),
    Flag.withDescription(describe(entry))
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
    Argument.withMetavar("FILE"),
    Argument.withDescription(
      "Module to serve (.js, .mjs, .cjs, .ts, .mts). Its default export is an App, a Layer such as Server.serve(app), "
        + "an Effect that yields an HttpServerResponse, or an object with fetch. Without APP: the current directory."
    ),
    Argument.optional
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

const flagNames = Settings.entries.flatMap(({ flag, offFlag }) =>
  offFlag === undefined ? [`--${flag}`] : [`--${flag}`, `--${offFlag.name}`]
)

const messageOf = (error: CliError.CliError): string =>
  error._tag === "UnrecognizedOption" ? Settings.unknownOption(error.option, flagNames).message : error.message

/** What is wrong with the call, a line for each mistake. */
export const explain = (error: CliError.CliError | Settings.SettingsError): string =>
  error._tag === "SettingsError"
    ? error.message
    : error._tag === "ShowHelp"
    ? error.errors.map(messageOf).join("\n")
    : messageOf(error)

const wrap = (text: string, width: number, indent: number): string => {
  const lines: Array<string> = []
  let line = ""
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else {
      line = line === "" ? word : `${line} ${word}`
    }
  }
  return [...lines, line].join(`\n${" ".repeat(indent)}`)
}

interface Row {
  readonly name: string
  readonly aliases?: ReadonlyArray<string>
  readonly type: string
  readonly description: Option.Option<string>
}

// The formatter puts a table's second column four cells after its longest first cell, two cells from the margin.
const wrapRows = <A extends Row>(rows: ReadonlyArray<A>, columns: number): ReadonlyArray<A> => {
  const cells = rows.map((row) => `${[`--${row.name}`, ...row.aliases ?? []].join(", ")} ${row.type}`)
  const indent = 6 + Math.max(...cells.map((cell) => cell.length))
  return rows.map((row) => ({
    ...row,
    description: Option.map(row.description, (text) => wrap(text, columns - indent, indent))
  }))
}

const fit = (doc: HelpDoc, columns: number): HelpDoc => ({
  ...doc,
  description: wrap(doc.description, columns - 2, 2),
  flags: wrapRows(doc.flags, columns),
  args: (doc.args ?? []).map((arg) => ({
    ...arg,
    description: Option.map(arg.description, (text) => `\n    ${wrap(text, columns - 4, 4)}`)
  }))
})

/** Prints help that fits a terminal of so many columns, and versions; leaves complaints to the caller. */
export const presenter = (columns: number | undefined): CliOutput.Presenter => ({
  present: (event) => {
    switch (event._tag) {
      case "InvalidInvocation":
        return Effect.void
      case "Version":
        return Console.log(`${event.name} ${event.version}`)
      case "Help":
        return CliOutput.defaultPresenter.present(
          columns === undefined || columns < 80 ? event : { ...event, helpDoc: fit(event.helpDoc, columns) }
        )
    }
  }
})
