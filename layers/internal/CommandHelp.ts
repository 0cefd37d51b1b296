/**
 * The text of `--help`: how to call, the flags that are used most, then all of them by section, each with its default and
 * its environment variables. Flags that are no settings, such as those of a subcommand, come last.
 *
 * Derives everything from the settings table and the command; prints nothing.
 */
import type { ArgDoc, FlagDoc, HelpDoc, SubcommandGroupDoc } from "effect/cli/HelpDoc"
import * as Option from "effect/Option"
import * as Settings from "../../src/schema/Settings.ts"

/** How the text is set. */
export interface Style {
  /** Characters of a line, at most; words that are longer stand alone. */
  readonly columns: number
  /** Whether headings and flags stand out. */
  readonly colors: boolean
}

const wrap = (text: string, width: number, indent: number): string => {
  const lines: Array<string> = []
  let line = ""
  for (const word of text.split(/\s+/)) {
    if (line !== "" && indent + line.length + 1 + word.length > width) {
      lines.push(line)
      line = word
    } else {
      line = line === "" ? word : `${line} ${word}`
    }
  }
  return [...lines, line].map((each) => " ".repeat(indent) + each).join("\n")
}

const nothing = Option.getOrElse(() => "")

/** Lines of a help text. `name` is what is explained. */
const item = (name: string, text: string, { colors, columns }: Style): string =>
  `  ${colors ? `\u001b[32m${name}\u001b[0m` : name}\n${text === "" ? "" : `${wrap(text, columns, 6)}\n`}`

const heading = (title: string, { colors }: Style): string =>
  colors ? `\u001b[1m${title.toUpperCase()}\u001b[0m\n` : `${title.toUpperCase()}\n`

const chapter = (title: string, items: ReadonlyArray<string>, style: Style): ReadonlyArray<string> =>
  items.length === 0 ? [] : [heading(title, style) + items.join("")]

const argument = ({ description, name, type, variadic }: ArgDoc, style: Style): string =>
  item(`${type === "string" ? name : type}${variadic ? " ..." : ""}`, nothing(description), style)

const entryItem = (entry: Settings.Entry, style: Style): string =>
  item(
    Settings.flagsOf(entry).join(", "),
    `${entry.description} [${Settings.variablesOf(entry).join(", ")}; default: ${Settings.defaultText(entry)}]`,
    style
  )

const flagItem = ({ aliases, description, name, type }: FlagDoc, style: Style): string => {
  const names = [...aliases, `--${name}`].join(", ")
  return item(type === "boolean" ? names : `${names} ${type}`, nothing(description), style)
}

/** One line each: whoever wants to know more finds the flag below. */
const briefly = (entries: ReadonlyArray<Settings.Entry>): ReadonlyArray<string> => {
  const rows = entries.flatMap((entry) =>
    entry.brief === undefined
      ? []
      : [[Settings.flagsOf(entry).filter((flag) => !flag.startsWith("--no-")).join(", "), entry.brief] as const]
  )
  const width = Math.max(0, ...rows.map(([flags]) => flags.length))
  return rows.map(([flags, brief]) => `  ${flags.padEnd(width)}  ${brief}\n`)
}

const subcommands = (groups: ReadonlyArray<SubcommandGroupDoc>, style: Style): ReadonlyArray<string> =>
  groups.flatMap(({ commands, group }) =>
    chapter(
      group ?? "Commands",
      commands.map((command) => item(command.name, command.shortDescription ?? command.description, style)),
      style
    )
  )

const offFlags = Settings.entries.flatMap(({ offFlag }) => offFlag === undefined ? [] : [offFlag.name])

/** The whole text, without a line break at its end. */
export const format = (doc: HelpDoc, style: Style): string => {
  const given = new Set(doc.flags.map(({ name }) => name))
  const entries = Settings.entries.filter(({ flag }) => given.has(flag))
  const settings = new Set([...entries.map(({ flag }) => flag), ...offFlags])
  const others = [...doc.flags, ...doc.inheritedFlags ?? [], ...doc.globalFlags ?? []]
    .filter(({ name }) => !settings.has(name))
  return [
    `${wrap(doc.description, style.columns, 0)}\n`,
    ...chapter("Usage", [`  ${doc.usage}\n`], style),
    ...chapter("Arguments", (doc.args ?? []).map((arg) => argument(arg, style)), style),
    ...subcommands(doc.subcommands ?? [], style),
    ...chapter("Most used", briefly(entries), style),
    ...Settings.sections.flatMap((section) =>
      chapter(
        section.title,
        section.entries.filter((entry) => entries.includes(entry)).map((entry) => entryItem(entry, style)),
        style
      )
    ),
    ...chapter("Others", others.map((flag) => flagItem(flag, style)), style),
    ...chapter(
      "Examples",
      (doc.examples ?? []).map(({ command, description = "" }) => item(command, description, style)),
      style
    )
  ].join("\n").trimEnd()
}
