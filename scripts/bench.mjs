/**
 * Measures Slipway beside its peers and prints the tables of docs/benchmarks.md. What it measures and what it does not
 * is said in bench/README.md; `--help` lists the options. Ends with 1 when a server gave a wrong answer or failed.
 */
import { readOptions } from "./bench/options.mjs"
import { section, writePage } from "./bench/report.mjs"
import { run, tryServers } from "./bench/run.mjs"

const options = readOptions(process.argv.slice(2))
const report = (/** @type {string} */ line) => console.error(line)
/** @type {Map<string, string>} */
const sections = new Map()
const results = []

const entries = await tryServers(options, report)
for await (const result of run(entries, options, report)) {
  const text = section(result, options)
  // What could not run here does not replace what ran elsewhere.
  if (result.measured.length > 0) sections.set(result.scenario.name, text)
  results.push({ scenario: result.scenario.name, measured: result.measured, missing: result.missing })
  if (!options.json) console.log(`\n${text}\n`)
  if (result.measured.some(({ problem }) => problem !== undefined)) process.exitCode = 1
}
if (options.json) console.log(JSON.stringify({ options, results }, undefined, 2))
if (options.write) report(`Written: ${writePage(sections)}`)
if (entries.servers.length === 0) process.exitCode = 1
process.exit()
