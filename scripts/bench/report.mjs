/** Turns measurements into Markdown tables, and puts them between the markers of docs/benchmarks.md. */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { drivers } from "./drivers.mjs"
import { pins } from "./process.mjs"
import { fromRoot } from "./roster.mjs"
import { scenarios } from "./scenarios.mjs"
import { median, spread } from "./statistics.mjs"

/**
 * @typedef {object} Result
 * @property {import("./scenarios.mjs").Scenario} scenario
 * @property {ReadonlyArray<{ server: string, rounds: ReadonlyArray<any>, problem: string | undefined }>} measured
 * @property {ReadonlyArray<{ server: string, problem: string }>} missing servers that do not start at all
 */

const startMarker = "<!-- bench:start -->"
const endMarker = "<!-- bench:end -->"
const page = fromRoot("docs/benchmarks.md")

/** @param {ReadonlyArray<ReadonlyArray<string>>} rows the first is the head; the first column is text */
const table = (rows) => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)))
  const line = (/** @type {ReadonlyArray<string>} */ cells) => `| ${cells.join(" | ")} |`
  const padded = (/** @type {ReadonlyArray<string>} */ row) =>
    line(row.map((text, column) => column === 0 ? text.padEnd(widths[0]) : text.padStart(widths[column])))
  const rule = line(widths.map((width, column) => column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`))
  const [head = [], ...body] = rows
  return [padded(head), rule, ...body.map(padded)].join("\n")
}

/** The same field of every round. */
const column = (/** @type {ReadonlyArray<any>} */ rounds, /** @type {string} */ field) =>
  rounds.map((round) => Number(round[field]))

const bases = ["raw", "node-http", "ws", "node-http2", "node-https", "loop", "effect-pubsub", "node-redis", "piscina"]

/** The floor where it ran, else Node's own server or `ws`, else whoever is first. */
const baseOf = (/** @type {Result["measured"]} */ measured) =>
  bases.map((name) => measured.find(({ server }) => server === name))
    .find((one) => one !== undefined) ?? measured[0]

/**
 * Ratio of two servers: the median of the ratios within each round, because neighbours in time share the disturbances.
 *
 * @param {ReadonlyArray<number>} values
 * @param {ReadonlyArray<number>} base
 */
const ratio = (values, base) => median(values.map((value, round) => value / base[round]))

/** Above this share of a core, what else ran is mentioned: it makes neighbours of the caches, and slow generators. */
const disturbance = 0.1

const percent = (/** @type {number} */ share) => `${(share * 100).toFixed(1)} %`

/**
 * Whether a server of ours costs no more than it may, before rounding. A machine that was not quiet decides nothing: a
 * server that waits for its core pays more for each request, and not each server the same.
 *
 * @param {Result["measured"]} measured without problems
 * @param {boolean} quiet
 * @returns {(bar: import("./scenarios.mjs").Bar) => ReadonlyArray<string>}
 */
const verdict = (measured, quiet) => (bar) => {
  const own = measured.find(({ server }) => server === bar.server)
  const peer = measured.find(({ server }) => server === bar.peer)
  if (own === undefined || peer === undefined) return []
  const found = bar.by === "time"
    ? ratio(column(peer.rounds, "requestsPerSecond"), column(own.rounds, "requestsPerSecond"))
    : ratio(column(own.rounds, "cpuMicros"), column(peer.rounds, "cpuMicros"))
  const outcome = `${!quiet ? "not decided" : found <= bar.most ? "kept" : "missed"} at ${found.toFixed(3)}`
  return [
    `The bar for ${bar.server} is ${bar.most.toFixed(2)} times ${bar.peer}${
      bar.by === "time" ? " in time" : ""
    }: ${outcome}.`
  ]
}

/** @param {Result & { scenario: import("./scenarios.mjs").Throughput }} result */
const throughputTable = ({ measured, scenario }) => {
  const fine = measured.filter(({ problem }) => problem === undefined)
  const base = baseOf(fine)
  if (base === undefined) return "Nothing was measured."
  const hasLatency = fine.every(({ rounds }) => rounds.every(({ p99Millis }) => p99Millis !== undefined))
  const rows = fine.map(({ rounds, server }) => {
    const cpu = column(rounds, "cpuMicros")
    return [
      server,
      median(cpu).toFixed(median(cpu) < 0.1 ? 4 : 2),
      ratio(cpu, column(base.rounds, "cpuMicros")).toFixed(2),
      percent(spread(cpu)),
      Math.round(median(column(rounds, "requestsPerSecond"))).toLocaleString("en-US"),
      percent(median(column(rounds, "busy"))),
      ...hasLatency ? ["p50Millis", "p99Millis"].map((field) => median(column(rounds, field)).toFixed(2)) : []
    ]
  })
  const others = Math.max(...fine.flatMap(({ rounds }) => column(rounds, "others")))
  const units = scenario.unit.replace(/y$/, "ie") + "s"
  const times = hasLatency ? ["p50 ms", "p99 ms"] : []
  const head = ["server", `CPU µs/${scenario.unit}`, `to ${base.server}`, "spread", `${units}/s`, "busy", ...times]
  const warning = `The machine was not quiet: other processes took up to ${percent(others)} of a core.`
  return [
    table([head, ...rows]),
    ...(scenario.bars ?? []).flatMap(verdict(fine, others <= disturbance)),
    ...others > disturbance ? [warning] : []
  ].join("\n\n")
}

/** @param {Result} result */
const idleTable = ({ measured }) => {
  const fine = measured.filter(({ problem }) => problem === undefined)
  const rows = fine.map(({ rounds, server }) => {
    const bytes = column(rounds, "bytesPerConnection")
    return [
      server,
      (median(bytes) / 1024).toFixed(2),
      percent(spread(bytes)),
      (median(column(rounds, "baseBytes")) / 1048576).toFixed(1),
      `${rounds[0]?.open ?? 0}`
    ]
  })
  return table([["server", "KiB/connection", "spread", "MiB before", "connections"], ...rows])
}

/** @param {Result} result */
const startupTable = ({ measured }) => {
  const fine = measured.filter(({ problem }) => problem === undefined)
  const rows = fine.map(({ rounds, server }) => {
    const millis = column(rounds, "millis")
    return [
      server,
      median(millis).toFixed(0),
      Math.min(...millis).toFixed(0),
      (median(column(rounds, "residentBytes")) / 1048576).toFixed(1)
    ]
  })
  return table([["server", "ms to first answer", "fastest", "MiB then"], ...rows])
}

/**
 * One section of the page: heading, circumstances, table, and who is missing and why.
 *
 * @param {Result} result
 * @param {import("./options.mjs").Options} options
 */
export const section = (result, options) => {
  const { measured, scenario } = result
  const body = scenario.kind === "throughput"
    ? throughputTable({ ...result, scenario })
    : scenario.kind === "idle"
    ? idleTable(result)
    : startupTable(result)
  const where = `Node ${process.version}, ${cpus()[0]?.model.trim() ?? "unknown CPU"} × ${cpus().length}`
  const pinning = pins ? "server and load on a core each" : "nothing pinned"
  const how = scenario.kind === "throughput"
    ? `, ${drivers[scenario.driver].describe(scenario, options)}, ${options.rounds} × ${options.durationSeconds} s`
    : ""
  const missing = [...result.missing, ...measured.filter(({ problem }) => problem !== undefined)]
    .map(({ problem, server }) => `- ${server} is missing: ${problem}`)
  return [
    `### ${scenario.name}: ${scenario.title}`,
    `${where}, ${pinning}${how}.`,
    body,
    ...missing.length > 0 ? [missing.join("\n")] : []
  ].join("\n\n")
}

/**
 * Replaces the sections of the scenarios that ran; the others stay as they are. Makes the page when there is none.
 *
 * @param {ReadonlyMap<string, string>} sections by scenario name
 */
export const writePage = (sections) => {
  const text = existsSync(page) ? readFileSync(page, "utf8") : `# Benchmarks\n\n${startMarker}\n${endMarker}\n`
  const start = text.indexOf(startMarker)
  const end = text.indexOf(endMarker)
  if (start === -1 || end < start) throw new Error(`docs/benchmarks.md lacks ${startMarker} and ${endMarker}`)
  const kept = text.slice(start + startMarker.length, end).split(/^(?=### )/m)
    .map((part) => /** @type {const} */ ([/^### ([a-z0-9-]+):/.exec(part)?.[1] ?? "", part.trim()]))
  const all = new Map([...kept, ...sections])
  const block = scenarios.flatMap(({ name }) => all.get(name) ?? []).join("\n\n")
  writeFileSync(page, `${text.slice(0, start)}${startMarker}\n\n${block}\n\n${text.slice(end)}`)
  return page
}
