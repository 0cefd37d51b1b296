/** Measures what an idle keep-alive connection costs in resident memory, after a garbage collection. */
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { pinned, reachableOpenFiles, start, startServer, withOpenFiles } from "./process.mjs"

const program = fileURLToPath(new URL("idle-client.mjs", import.meta.url))
/** Files that a process has open besides its connections, generously. */
const reserve = 300
const warmupConnections = 500
const maxRounds = 3
const settleMillis = 300
const openMillis = 120_000

/**
 * @typedef {object} Measured
 * @property {string} server
 * @property {ReadonlyArray<{ bytesPerConnection: number, baseBytes: number, open: number }>} rounds
 * @property {string | undefined} problem
 */

/**
 * @param {import("./scenarios.mjs").Special} scenario
 * @param {ReadonlyArray<import("./roster.mjs").Contestant>} contestants
 * @param {import("./options.mjs").Options} options
 * @param {(line: string) => void} report
 * @returns {Promise<ReadonlyArray<Measured>>}
 */
export const measureIdle = async (scenario, contestants, options, report) => {
  const openFiles = reachableOpenFiles(options.idleConnections + reserve)
  const count = Math.min(options.idleConnections, openFiles - reserve)
  if (count < options.idleConnections) {
    report(`idle: ${count} connections instead of ${options.idleConnections}: the limit of open files is ${openFiles}`)
  }

  const clients = async (/** @type {number} */ port, /** @type {number} */ count) => {
    const job = JSON.stringify({ port, count, request: scenario.request })
    const child = start(withOpenFiles(openFiles, pinned("generator", [process.execPath, program, job])))
    const { failed } = await child.line(openMillis).catch(async (error) => {
      await child.kill()
      throw error
    })
    if (failed > 0) throw await child.kill().then(() => new Error(`${failed} of ${count} connections failed`))
    return child
  }

  const round = async (/** @type {import("./roster.mjs").Contestant} */ contestant) => {
    const server = await startServer(contestant, { exposeGc: true, openFiles })
    const settled = async () => {
      await sleep(settleMillis)
      await server.collectGarbage()
      await sleep(settleMillis)
      return server.residentBytes
    }
    try {
      await clients(server.port, warmupConnections).then((child) => child.kill())
      const baseBytes = await settled()
      const child = await clients(server.port, count)
      try {
        const residentBytes = await settled()
        child.write("count\n")
        const { open } = await child.line(openMillis)
        if (open < count) throw new Error(`the server closed ${count - open} of ${count} connections`)
        return { bytesPerConnection: (residentBytes - baseBytes) / count, baseBytes, open }
      } finally {
        await child.kill()
      }
    } finally {
      await server.stop()
    }
  }

  /** @type {Map<string, { rounds: Array<Awaited<ReturnType<typeof round>>>, problem: string | undefined }>} */
  const results = new Map(contestants.map(({ name }) => [name, { rounds: [], problem: undefined }]))
  for (let index = 0; index < Math.min(options.rounds, maxRounds); index += 1) {
    report(`idle: round ${index + 1} of ${Math.min(options.rounds, maxRounds)}`)
    for (const contestant of contestants) {
      const result = results.get(contestant.name)
      if (result === undefined || result.problem !== undefined) continue
      try {
        result.rounds.push(await round(contestant))
      } catch (error) {
        result.problem = error instanceof Error ? error.message : String(error)
        report(`idle: ${contestant.name} is not measured: ${result.problem}`)
      }
    }
  }
  return Array.from(results, ([server, result]) => ({ server, ...result }))
}
