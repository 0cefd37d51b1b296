/** The Markdown table of a run, and its place between the markers of docs/drain.md. */
import { readFileSync, writeFileSync } from "node:fs"
import { fromRoot } from "./roster.mjs"
import { killMillis } from "./run.mjs"
import { scenarios } from "./scenarios.mjs"

const startMarker = "<!-- drain:start -->"
const endMarker = "<!-- drain:end -->"
const page = fromRoot("docs/drain.md")

const seconds = (/** @type {number} */ value) => `${value.toFixed(1)} s`

/** What the client saw and when, then how the process ended. */
const cell = (result) => {
  if (result === undefined) return "–"
  if (result.problem !== undefined) return result.problem.split("\n")[0]
  const { exit, seen } = result
  const client = seen === undefined ? "nothing" : `${seen.what} (${seconds(seen.seconds)})`
  const process = exit === undefined
    ? `**killed** after ${killMillis / 1000} s`
    : `exit ${exit}, ${seconds(result.seconds)}`
  return `${client}; ${process}`
}

const line = (/** @type {ReadonlyArray<string>} */ cells) => `| ${cells.join(" | ")} |`

/** @param {ReadonlyMap<string, ReadonlyMap<string, any>>} results by server and scenario */
export const table = (results) =>
  [
    `Node ${process.version}. In each cell: what the client saw, seconds after SIGTERM; then the exit code of the process, and its seconds.`,
    "",
    line(["server", ...scenarios.map(({ title }) => title)]),
    line(["---", ...scenarios.map(() => "---")]),
    ...[...results].map(([name, row]) => line([name, ...scenarios.map(({ title }) => cell(row.get(title)))]))
  ].join("\n")

/** Replaces what stands between the markers. **Returns** the page's path. */
export const writePage = (/** @type {string} */ text) => {
  const before = readFileSync(page, "utf8")
  const [from, to] = [before.indexOf(startMarker), before.indexOf(endMarker)]
  if (from === -1 || to < from) throw new Error(`${page} has no place for the table: ${startMarker} ... ${endMarker}`)
  writeFileSync(page, `${before.slice(0, from + startMarker.length)}\n\n${text}\n\n${before.slice(to)}`)
  return page
}
