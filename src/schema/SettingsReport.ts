/**
 * Every setting with its value and what set it, for `--print-config` and `slipway ctl config`. Secrets are not shown. A
 * value is written as the command line reads it.
 */
import type { SettingReport } from "./Report.ts"
import { type CommandSettings, defaultText, entries, type ServerSettings } from "./SettingTable.ts"

// Values may hold anything, and go to a terminal.
// oxlint-disable-next-line no-control-regex
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g

const visible = (text: string): string =>
  text.replace(control, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** One row for every setting, in the order of the documentation. */
export const rows = (
  origins: { readonly nameOf: (key: string) => string; readonly isSet: (key: string) => boolean },
  resolved: { readonly server: ServerSettings; readonly command: CommandSettings }
): ReadonlyArray<SettingReport> => {
  const values: Readonly<Record<string, unknown>> = { ...resolved.server, ...resolved.command }
  return entries.map((entry) => {
    const value = values[entry.key]
    const text = value === undefined ? defaultText(entry) : (entry.kind.toText ?? String)(value)
    return {
      key: entry.key,
      value: visible(text),
      source: origins.isSet(entry.key) ? visible(origins.nameOf(entry.key)) : "default"
    }
  })
}

/** The rows in columns, for people. */
export const toText = (reports: ReadonlyArray<SettingReport>): string => {
  const width = (of: (report: SettingReport) => string): number => Math.max(...reports.map((one) => of(one).length))
  const [keys, values] = [width(({ key }) => key), Math.min(40, width(({ value }) => value))]
  return reports.map(({ key, source, value }) => `${key.padEnd(keys)}  ${value.padEnd(values)}  ${source}`).join("\n")
}
