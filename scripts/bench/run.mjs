/** Runs scenarios against the servers that start: what bench.mjs and quick.mjs have in common. */
import { drivers } from "./drivers.mjs"
import { measureIdle } from "./idle.mjs"
import { startServer } from "./process.mjs"
import { isInstalled, roster } from "./roster.mjs"
import { scenarios } from "./scenarios.mjs"
import { measureStartup } from "./startup.mjs"
import { measureThroughput } from "./throughput.mjs"

/**
 * @typedef {object} Entries
 * @property {ReadonlyArray<import("./roster.mjs").Contestant>} servers those that start here
 * @property {ReadonlyArray<{ server: import("./roster.mjs").Contestant, problem: string }>} skipped
 */

const isChosen = (/** @type {ReadonlyArray<string> | undefined} */ names, /** @type {string} */ name) =>
  names === undefined || names.includes(name)

/**
 * @param {import("./scenarios.mjs").Scenario} scenario
 * @param {import("./roster.mjs").Contestant} server
 */
const isAble = (scenario, server) => server.wires.includes(scenario.wire) && (scenario.canned || !server.canned)

/**
 * Tries every server that the chosen scenarios need once, and says which do not start and why.
 *
 * @param {import("./options.mjs").Options} options
 * @param {(line: string) => void} report
 * @returns {Promise<Entries>}
 */
export const tryServers = async (options, report) => {
  const chosen = scenarios.filter(({ name }) => isChosen(options.scenario, name))
  const servers = []
  const skipped = []
  for (const contestant of roster) {
    if (!isChosen(options.only, contestant.name)) continue
    if (!chosen.some((scenario) => isAble(scenario, contestant))) continue
    try {
      if (!isInstalled(contestant)) throw new Error("its runtime is not installed")
      await (await startServer(contestant)).stop()
      servers.push(contestant)
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error)
      skipped.push({ server: contestant, problem: `it does not start (${problem})` })
      report(`${contestant.name} (${contestant.wires.join(", ")}) is skipped: ${problem}`)
    }
  }
  return { servers, skipped }
}

/**
 * @param {Entries} entries
 * @param {import("./options.mjs").Options} options
 * @param {(line: string) => void} report
 * @returns {AsyncGenerator<import("./report.mjs").Result>}
 */
export const run = async function*({ servers, skipped }, options, report) {
  for (const scenario of scenarios) {
    if (!isChosen(options.scenario, scenario.name)) continue
    const able = servers.filter((server) => isAble(scenario, server))
    if (able.length === 0) continue
    const lacks = scenario.kind === "throughput" ? drivers[scenario.driver].lacks(scenario) : undefined
    if (lacks !== undefined) {
      report(`${scenario.name} is skipped: ${lacks}`)
      yield { scenario, measured: [], missing: able.map(({ name }) => ({ server: name, problem: lacks })) }
      continue
    }
    const measured = scenario.kind === "throughput"
      ? await measureThroughput(scenario, able, options, report)
      : scenario.kind === "idle"
      ? await measureIdle(scenario, able, options, report)
      : await measureStartup(scenario, able, options, report)
    const missing = skipped.filter(({ server }) => isAble(scenario, server))
      .map(({ problem, server }) => ({ server: server.name, problem }))
    yield { scenario, measured, missing }
  }
}
