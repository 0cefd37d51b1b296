/**
 * Every setting of Slipway in one table, with the names it has in each source. Constructor options, command line flags,
 * environment variables, config file keys, `--help`, docs/settings.md and the manual page are all derived from this table,
 * so a setting that is added here exists everywhere.
 *
 * Checks nothing: Settings.ts does. The rows are in ServerSettings.ts and CommandSettings.ts.
 */
import { command } from "./CommandSettings.ts"
import { server } from "./ServerSettings.ts"
import type { Decoded, Setting, Written } from "./Setting.ts"

/** The server's settings, checked and complete. Durations are `Duration`s, sizes are bytes. */
export type ServerSettings = Decoded<typeof server>
/** The server's settings as a program writes them. All are optional; docs/settings.md has defaults and limits. */
export type ServerOptions = Written<typeof server>
/** The command line program's settings, checked and complete. */
export type CommandSettings = Decoded<typeof command>
/** The command line program's settings as they are written. */
export type CommandOptions = Written<typeof command>

/** A row of the table with the names it has in each source. */
export interface Entry extends Setting<any, any> {
  readonly group: "server" | "command"
  /** Constructor option and config file key. */
  readonly key: string
  /** Without the leading `--`. */
  readonly flag: string
  readonly env: string
  readonly section: string
}

const entriesOf = (group: Entry["group"], table: Record<string, Setting<any, any>>): ReadonlyArray<Entry> =>
  Object.entries(table).map(([key, row]) => ({
    ...row,
    section: row.section ?? "Others",
    group,
    key,
    flag: key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
    env: `SLIPWAY_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
  }))

/** The settings of a server. */
export const serverEntries = entriesOf("server", server)
/** The settings that only the command line program has. */
export const commandEntries = entriesOf("command", command)

/** Every setting, in the order of the documentation. */
export const entries: ReadonlyArray<Entry> = [...serverEntries, ...commandEntries]

/** Settings that belong together, for help and documentation. */
export interface Section {
  readonly title: string
  readonly group: Entry["group"]
  readonly entries: ReadonlyArray<Entry>
}

/** The whole table by section, in the order of the documentation. */
export const sections: ReadonlyArray<Section> = [...new Set(entries.map((entry) => entry.section))].map((title) => {
  const rows = entries.filter((entry) => entry.section === title)
  return { title, group: rows[0]!.group, entries: rows }
})

/** The default as text, for help and documentation. */
export const defaultText = (entry: Entry): string => {
  if (entry.defaultText !== undefined) return entry.defaultText
  if (entry.default === undefined) return "not set"
  if (typeof entry.default === "boolean") return entry.default ? "on" : "off"
  return entry.default === "" ? "empty" : String(entry.default)
}

/** The environment variables that are read for a setting, the strongest first. */
export const variablesOf = (entry: Entry): ReadonlyArray<string> => [entry.env, ...entry.weakerEnv ?? []]

/** Which source wins, for help and documentation. */
export const precedence =
  "A flag is stronger than an environment variable, which is stronger than the .env file, which "
  + `is stronger than the config file. In text, durations are seconds or have a unit ("500 millis", "2 minutes"), sizes `
  + "are bytes or have one (64KiB, 10MB)."
