/**
 * The settings table as documentation: docs/settings.md and the manual page docs/slipway.1, both written by
 * scripts/docs.mjs and compared by tests. `--help` is layers/internal/CommandHelp.ts, from the same table.
 */
import { defaultText, type Entry, precedence, type Section, sections, variablesOf } from "./SettingTable.ts"

/** What the command line takes besides flags, for help and documentation. */
export const operands = {
  app: "What to serve: a module by path (.js, .mjs, .cjs, .ts, .mts) or by name of a package, or a folder of files. "
    + "A module's default export is an App, a Layer such as Server.serve(app), an Effect that yields an "
    + "HttpServerResponse, or an object with fetch; module:name takes the export of that name. Without APP: the current "
    + "directory.",
  arguments: "Arguments for the application, given to the function make that it exports, or to the one named in APP."
} as const

/** A setting's flags as they are written: `-p`, `--port NUMBER`; a switch has one for on and one for off. */
export const flagsOf = (entry: Entry): ReadonlyArray<string> => [
  ...entry.alias === undefined ? [] : [`-${entry.alias}`],
  ...entry.kind.isSwitch === true
    ? [`--${entry.flag}`, `--no-${entry.flag}`]
    : [`--${entry.flag} ${entry.kind.metavar}`],
  ...entry.offFlag === undefined ? [] : [`--${entry.offFlag.name}`]
]

const codes = (names: ReadonlyArray<string>): string => names.map((name) => `\`${name}\``).join(", ")

const tableOf = (rows: ReadonlyArray<Entry>): string =>
  [
    "| option, config key | flag | environment | default | meaning |",
    "| --- | --- | --- | --- | --- |",
    ...rows.map((row) => {
      const columns = [
        codes(row.notInFile === true ? [] : [row.key]),
        codes(flagsOf(row)),
        codes(variablesOf(row)),
        defaultText(row),
        row.description
      ]
      return `| ${columns.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`
    })
  ].join("\n")

const chapterOf = (group: Entry["group"]): string =>
  sections.filter((section) => section.group === group)
    .map(({ entries, title }) => `### ${title}\n\n${tableOf(entries)}\n`)
    .join("\n")

/** The reference page of all settings, in Markdown. */
export const toMarkdown = (): string =>
  `# Settings

${precedence}
Durations that a program writes are an Effect \`Duration.Input\`, where a bare number is milliseconds.
Lists repeat the flag, are comma-separated in the environment, and are arrays in a config file.
How the sources work together, profiles and \`.env\` are in [configuration.md](configuration.md).

## Server

Options of \`ServerNode.layer\` and of the command line.

${chapterOf("server")}
## Command line

Options of the command line only.

${chapterOf("command")}`

// ---- the manual page

/** Text as troff takes it: a hyphen that stays one, no escapes, no requests. */
const roff = (text: string): string => text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replace(/^(?=[.'])/gm, "\\&")

/** `--port NUMBER` with the flag in bold and its value in italics. */
const roffFlag = (flag: string): string => {
  const [name = "", value] = flag.split(" ")
  return value === undefined ? `\\fB${roff(name)}\\fR` : `\\fB${roff(name)}\\fR \\fI${roff(value)}\\fR`
}

const roffEntry = (entry: Entry): string =>
  `.TP
${flagsOf(entry).map(roffFlag).join(", ")}
${roff(entry.description)}
${roff(`Default: ${defaultText(entry)}.`)}
${roff(`[${variablesOf(entry).join(", ")}]`)}
`

const roffSection = ({ entries, title }: Section): string => `.SS ${roff(title)}\n${entries.map(roffEntry).join("")}`

const roffTerm = (term: string, text: string): string => `.TP\n\\fB${roff(term)}\\fR\n${roff(text)}\n`

/** The manual page, in troff with the man macros. */
export const toManual = (): string =>
  `.TH SLIPWAY 1 "" Slipway "User Commands"
.SH NAME
slipway \\- serve an application over HTTP
.SH SYNOPSIS
\\fBslipway\\fR [\\fIFLAGS\\fR] [\\fIAPP\\fR] [\\fINAME=VALUE\\fR ...]
.SH DESCRIPTION
.TP
\\fIAPP\\fR
${roff(operands.app)}
.TP
\\fINAME=VALUE\\fR
${roff(operands.arguments)}
.PP
${roff(precedence)}
.SH OPTIONS
${sections.map(roffSection).join("")}.SS Others
${roffTerm("--completions bash|zsh|fish|powershell", "Prints what makes a shell complete flags and their values.")}\
${roffTerm("-h, --help", "Prints help.")}\
${roffTerm("-v, --version", "Prints the version.")}\
.SH EXIT STATUS
${roffTerm("0", "It stopped as it was told, and nothing was cut.")}\
${roffTerm("1", "It could not start, had to cut requests, or was forced to stop.")}\
${roffTerm("2", "It was called wrongly.")}\
${roffTerm("3", "Its workers could not start.")}\
.SH FILES
${
    roffTerm(
      "slipway.toml, slipway.yaml, slipway.yml, slipway.json",
      "Config file, read from the current directory where an application is served."
    )
  }\
${roffTerm(".env", "Environment variables, read there as well.")}\
.SH SIGNALS
${roffTerm("SIGTERM, SIGINT", "Stop: requests in flight are finished first. The second one ends at once.")}\
${roffTerm("SIGHUP", "Replace the workers one after the other; a single process reads its TLS files again.")}\
${roffTerm("SIGUSR1", "Open the log files anew.")}\
${roffTerm("SIGUSR2", "Start the program anew, and hand the sockets over to it.")}\
${roffTerm("SIGTTIN, SIGTTOU", "One worker more, one less.")}`
