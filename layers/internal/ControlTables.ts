/**
 * What the server says, as text for people: aligned columns, times and sizes in words, colour only where it is asked for.
 *
 * Nothing that came from the server, and so perhaps from its clients, reaches a terminal with the power to command it:
 * control characters and those that turn the direction of text are shown as `?`.
 */
import type { ConnectionReport, SettingReport, StatusReport, WorkerReport } from "../../src/schema/Report.ts"

/** Whether to use colour. */
export interface Style {
  readonly colour: boolean
}

// oxlint-disable-next-line no-control-regex
const commanding = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

/** The text without anything that a terminal obeys. */
export const plain = (text: string): string => text.replace(commanding, "?")

/** JSON for terminals and programs alike: what a terminal obeys is escaped. */
export const json = (value: unknown): string =>
  JSON.stringify(value).replace(commanding, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)

type Colour = "green" | "yellow" | "red" | "dim"

const codes: Record<Colour, number> = { green: 32, yellow: 33, red: 31, dim: 2 }

const paint = (text: string, colour: Colour | undefined, style: Style): string =>
  style.colour && colour !== undefined ? `\u001b[${codes[colour]}m${text}\u001b[0m` : text

interface Cell {
  readonly text: string
  readonly colour?: Colour | undefined
}

interface Column<A> {
  readonly title: string
  readonly cell: (row: A) => string | Cell
  /** Numbers end where the column ends. */
  readonly isNumber?: boolean
}

/** A heading and a line for each row. */
const table = <A>(columns: ReadonlyArray<Column<A>>, rows: ReadonlyArray<A>, style: Style): string => {
  const cells = rows.map((row) =>
    columns.map(({ cell }): Cell => {
      const made = cell(row)
      return typeof made === "string" ? { text: plain(made) } : { ...made, text: plain(made.text) }
    })
  )
  const lines = [columns.map(({ title }): Cell => ({ text: title, colour: "dim" })), ...cells]
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => line[index]!.text.length)))
  return lines.map((line) =>
    line.map(({ colour, text }, index) => {
      const padding = " ".repeat(widths[index]! - text.length)
      const painted = paint(text, colour, style)
      const isLast = index === columns.length - 1
      return columns[index]!.isNumber === true ? padding + painted : isLast ? painted : painted + padding
    }).join("  ")
  ).join("\n")
}

// ---- words

/** `4 s`, `12 min 3 s`, `5 h 20 min`, `3 d 4 h`. */
const duration = (millis: number): string => {
  const seconds = Math.max(0, Math.floor(millis / 1000))
  const [minutes, hours, days] = [Math.floor(seconds / 60), Math.floor(seconds / 3600), Math.floor(seconds / 86_400)]
  return days > 0
    ? `${days} d ${hours % 24} h`
    : hours > 0
    ? `${hours} h ${minutes % 60} min`
    : minutes > 0
    ? `${minutes} min ${seconds % 60} s`
    : `${seconds} s`
}

const mebibytes = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(0)} MiB`

const sum = (workers: ReadonlyArray<WorkerReport>, of: (worker: Report) => number): number =>
  workers.reduce((total, { report }) => report === undefined ? total : total + of(report), 0)

type Report = NonNullable<WorkerReport["report"]>

const stateOf = (status: StatusReport): Cell =>
  status.isShuttingDown
    ? { text: "stopping", colour: "red" }
    : status.isDrained
    ? { text: "drained: not ready, as it was told", colour: "yellow" }
    : status.isReady
    ? { text: "ready", colour: "green" }
    : { text: "not ready", colour: "yellow" }

const colourOf = { serving: "green", starting: "yellow", waiting: "yellow", stopping: "yellow", dead: "red" } as const

// ---- what is shown

/** Everything at a glance. */
export const status = (report: StatusReport, style: Style): string => {
  const { workers } = report
  const facts: ReadonlyArray<readonly [string, string | Cell]> = [
    ["Serving", `${report.application} (${report.mode}), Slipway ${report.version}, process ${report.pid}`],
    ["Listening", report.addresses.join(", ") || "nowhere"],
    ["State", stateOf(report)],
    ["Up", `${duration(report.nowMillis - report.startedAtMillis)}, ${report.restarts} restarts of workers`],
    [
      "Requests",
      `${sum(workers, ({ server }) => server.totalExchanges)} in all, `
      + `${sum(workers, ({ server }) => server.exchanges)} now, `
      + `${sum(workers, ({ server }) => server.totalRefused)} refused`
    ],
    [
      "Connections",
      `${sum(workers, ({ server }) => server.totalConnections)} in all, `
      + `${sum(workers, ({ server }) => server.connections)} now`
    ],
    ...healthOf(workers)
  ]
  const lines = facts.map(([name, fact]) => {
    const { colour, text } = typeof fact === "string" ? { text: fact, colour: undefined } : fact
    return `${paint(name.padEnd(11), "dim", style)}  ${paint(plain(text), colour, style)}`
  })
  return `${lines.join("\n")}\n\n${workersTable(workers, report.nowMillis, style)}`
}

/** A line for each health check that is not well, in whichever worker. */
const healthOf = (workers: ReadonlyArray<WorkerReport>): ReadonlyArray<readonly [string, Cell]> =>
  workers.flatMap(({ number, report }) =>
    (report?.health ?? []).filter(({ status }) => status !== "ok").map((check) =>
      [
        "Unwell",
        {
          text: `${check.name} in worker ${number}: ${check.problem ?? check.status}`,
          colour: check.isCritical ? "red" : "yellow"
        }
      ] as const
    )
  )

/** The workers; the one process where there are none. */
export const workers = (report: StatusReport, style: Style): string =>
  workersTable(report.workers, report.nowMillis, style)

const workersTable = (workers: ReadonlyArray<WorkerReport>, nowMillis: number, style: Style): string => {
  const said = (title: string, of: (report: Report) => string): Column<WorkerReport> => ({
    title,
    isNumber: true,
    cell: ({ report }) => report === undefined ? "-" : of(report)
  })
  return table<WorkerReport>(
    [
      { title: "WORKER", isNumber: true, cell: ({ number }) => String(number) },
      { title: "PID", isNumber: true, cell: ({ pid }) => pid === undefined ? "-" : String(pid) },
      { title: "STATE", cell: ({ state }) => ({ text: state, colour: colourOf[state] }) },
      {
        title: "UP",
        isNumber: true,
        cell: ({ sinceMillis }) => sinceMillis === undefined ? "-" : duration(nowMillis - sinceMillis)
      },
      said("REQUESTS", ({ server }) => String(server.totalExchanges)),
      said("NOW", ({ server }) => String(server.exchanges)),
      said("CONNECTIONS", ({ server }) => String(server.connections)),
      said("CPU", ({ runtime }) => `${(runtime.cpuUserSeconds + runtime.cpuSystemSeconds).toFixed(1)} s`),
      said("BUSY", ({ runtime }) => `${(runtime.loopUtilization * 100).toFixed(0)} %`),
      said("LAG P99", ({ runtime }) => `${runtime.loopLagP99Millis.toFixed(1)} ms`),
      said("MEMORY", ({ runtime }) => mebibytes(runtime.rssBytes)),
      { title: "CRASHES", isNumber: true, cell: ({ crashes }) => String(crashes) }
    ],
    workers,
    style
  )
}

/** Open connections, and what goes on in each. */
export const connections = (
  reports: ReadonlyArray<ConnectionReport>,
  nowMillis: number,
  style: Style
): string =>
  reports.length === 0
    ? "No connections"
    : table<ConnectionReport>(
      [
        { title: "WORKER", isNumber: true, cell: ({ worker }) => String(worker) },
        { title: "CLIENT", cell: ({ client }) => client },
        { title: "PROTOCOL", cell: ({ isSecure, protocol }) => isSecure ? `${protocol}, TLS` : protocol },
        { title: "OPEN", isNumber: true, cell: ({ openedAtMillis }) => duration(nowMillis - openedAtMillis) },
        { title: "REQUESTS", isNumber: true, cell: ({ requests }) => String(requests) },
        { title: "NOW", cell: ({ exchanges }) => exchanges.length === 0 ? "idle" : exchanges.join(", ") }
      ],
      reports,
      style
    )

/** Every setting and where it comes from; what is not left at its default stands out. */
export const config = (settings: ReadonlyArray<SettingReport>, style: Style): string =>
  table<SettingReport>(
    [
      { title: "SETTING", cell: ({ key }) => key },
      {
        title: "VALUE",
        cell: ({ source, value }) => ({ text: value, colour: source === "default" ? "dim" : undefined })
      },
      { title: "SOURCE", cell: ({ source }) => ({ text: source, colour: source === "default" ? "dim" : undefined }) }
    ],
    settings,
    style
  )
