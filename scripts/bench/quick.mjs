/**
 * Hello only, for the minute after a change: `node scripts/bench/quick.mjs slipway raw node-http`, three rounds of two
 * seconds. Ratios are to raw when it takes part.
 */
import { installedGenerator } from "./load.mjs"
import { section } from "./report.mjs"
import { roster } from "./roster.mjs"
import { run, tryServers } from "./run.mjs"

const chosen = process.argv.slice(2)
const only = chosen.length === 0 ? ["slipway", "raw", "node-http"] : chosen
const unknown = only.filter((name) => !roster.some((server) => server.name === name))
if (unknown.length > 0) {
  console.error(`There is no ${unknown.join(", ")}; there is ${roster.map(({ name }) => name).join(", ")}`)
  process.exit(2)
}

/** @type {import("./options.mjs").Options} */
const options = {
  rounds: 3,
  durationSeconds: 2,
  warmupSeconds: 1,
  idleConnections: 0,
  only,
  scenario: ["hello"],
  generator: installedGenerator,
  json: false,
  write: false
}
const report = (/** @type {string} */ line) => console.error(line)

const entries = await tryServers(options, report)
for await (const result of run(entries, options, report)) console.log(`\n${section(result, options)}\n`)
process.exit()
