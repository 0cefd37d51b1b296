/**
 * Measures CPU time per request (or message) of all servers side by side: same machine, same minute, rounds interleaved, so that
 * what disturbs the machine disturbs everyone.
 */
import { drivers } from "./drivers.mjs"
import { othersCpuSeconds, startServer } from "./process.mjs"

/**
 * @typedef {object} Round
 * @property {number} cpuMicros CPU time of the server per completed request
 * @property {number} requestsPerSecond
 * @property {number} busy CPU time of the server by elapsed time; well below 1 means that it was not the limit
 * @property {number} [p50Millis] of latency under full load, where the generator tells
 * @property {number} [p99Millis]
 * @property {number} others CPU time of everything that is no part of the benchmark, by elapsed time: 1 is a whole core
 *
 * @typedef {object} Measured
 * @property {string} server
 * @property {ReadonlyArray<Round>} rounds empty when there is a problem
 * @property {string | undefined} problem why it was not measured
 */

/**
 * @param {import("./scenarios.mjs").Throughput} scenario
 * @param {ReadonlyArray<import("./roster.mjs").Contestant>} contestants
 * @param {import("./options.mjs").Options} options
 * @param {(line: string) => void} report
 * @returns {Promise<ReadonlyArray<Measured>>}
 */
export const measureThroughput = async (scenario, contestants, options, report) => {
  /** @type {Array<import("./process.mjs").RunningServer>} */
  const running = []
  /** @type {Map<string, { rounds: Array<Round>, problem: string | undefined }>} */
  const results = new Map()

  const driver = drivers[scenario.driver]

  /** The server's CPU time counts while the generator runs; what else ran, also while it opened its connections. */
  const round = async (
    /** @type {import("./process.mjs").RunningServer} */ server,
    seconds = options.durationSeconds
  ) => {
    const since = performance.now()
    const othersBefore = othersCpuSeconds()
    const cpuBefore = server.cpuSeconds
    const session = await driver.open(server.port, scenario, options)
    try {
      const spent = () => scenario.wire === "redis" ? server.ownCpuSeconds : server.cpuSeconds
      const before = spent()
      const load = await session.run(seconds)
      const cpu = spent() - before
      await session.close()
      const others = othersCpuSeconds() - othersBefore - (server.cpuSeconds - cpuBefore)
      if (load.errors > 0 || load.requests === 0) throw new Error(`${load.errors} errors in ${load.requests} requests`)
      return {
        cpuMicros: cpu / load.requests * 1e6,
        requestsPerSecond: load.requests / load.seconds,
        busy: cpu / load.seconds,
        p50Millis: load.p50Millis,
        p99Millis: load.p99Millis,
        others: Math.max(0, others) / (performance.now() - since) * 1000
      }
    } finally {
      await session.close()
    }
  }

  /** Runs a step for each server that is still fine; one that fails is out of this scenario. */
  const each = async (
    /** @type {ReadonlyArray<import("./process.mjs").RunningServer>} */ servers,
    /** @type {(server: import("./process.mjs").RunningServer) => Promise<string | Round | undefined>} */ step
  ) => {
    for (const server of servers) {
      const result = results.get(server.name)
      if (result === undefined || result.problem !== undefined) continue
      const outcome = await step(server).catch((error) => String(error.message))
      if (typeof outcome === "string") {
        results.set(server.name, { rounds: [], problem: outcome })
        report(`${scenario.name}: ${server.name} is not measured: ${outcome}`)
      } else if (outcome !== undefined) {
        result.rounds.push(outcome)
      }
    }
  }

  try {
    for (const contestant of contestants) {
      running.push(await startServer(contestant, { openFiles: driver.openFiles }))
      results.set(contestant.name, { rounds: [], problem: undefined })
    }
    await each(running, (server) => driver.wrongAnswer(server.port, scenario, options))
    await each(running, async (server) => void await round(server, options.warmupSeconds))
    for (let index = 0; index < options.rounds; index += 1) {
      report(`${scenario.name}: round ${index + 1} of ${options.rounds}`)
      const first = index % running.length
      await each([...running.slice(first), ...running.slice(0, first)], (server) => round(server))
    }
  } finally {
    await Promise.all(running.map((server) => server.stop()))
  }
  return Array.from(results, ([server, result]) => ({ server, ...result }))
}
