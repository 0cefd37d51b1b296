/** Runs scenarios against the servers that start: what bench.mjs and quick.mjs have in common. */
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

/**
 * Tries every server that was chosen once, and says which do not start and why.
 *
 * @param {ReadonlyArray<string> | undefined} only
 * @param {(line: string) => void} report
 * @returns {Promise<Entries>}
 */
export const tryServers = async (only, report) => {
  const servers = []
  const skipped = []
  for (const contestant of roster) {
    if (only !== undefined && !only.includes(contestant.name)) continue
    try {
      if (!isInstalled(contestant)) throw new Error("its runtime is not installed")
      await (await startServer(contestant)).stop()
      servers.push(contestant)
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error)
      skipped.push({ server: contestant, problem: `it does not start (${problem})` })
      report(`${contestant.name} is skipped: ${problem}`)
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
    if (options.scenario !== undefined && !options.scenario.includes(scenario.name)) continue
    const isAble = (/** @type {import("./roster.mjs").Contestant} */ server) => scenario.canned || !server.canned
    const able = servers.filter(isAble)
    if (able.length === 0) continue
    const measured = scenario.kind === "throughput"
      ? await measureThroughput(scenario, able, options, report)
      : scenario.kind === "idle"
      ? await measureIdle(scenario, able, options, report)
      : await measureStartup(scenario, able, options, report)
    const missing = skipped.filter(({ server }) => isAble(server))
      .map(({ problem, server }) => ({ server: server.name, problem }))
    yield { scenario, measured, missing }
  }
}
