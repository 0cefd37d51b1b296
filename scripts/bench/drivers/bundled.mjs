/**
 * The generators of generators/: each opens its connections before the round, checks the first answer on every one,
 * and is told when to begin. So what opening costs the server is not in the figures, except where it is the point.
 */
import { fileURLToPath } from "node:url"
import { certificate } from "../certificate.mjs"
import { pinned, start, withOpenFiles } from "../process.mjs"
import { hello, tick } from "../servers/common.mjs"

const openMillis = 30_000
const reportMillis = 20_000
/** Enough for every scenario, and more than many machines allow at first. */
const openFiles = 4096

/**
 * @param {string} name
 * @param {Record<string, unknown>} job
 * @returns {Promise<import("../drivers.mjs").Session>}
 */
const openGenerator = async (name, job) => {
  const program = fileURLToPath(new URL(`../generators/${name}.mjs`, import.meta.url))
  const words = pinned("generator", [process.execPath, program, JSON.stringify(job)])
  const child = start(withOpenFiles(openFiles, words))
  try {
    const { problem } = await child.line(openMillis)
    if (problem !== undefined) throw new Error(problem)
  } catch (error) {
    await child.kill()
    throw error
  }
  return {
    run: (seconds) => {
      child.write(`${seconds * 1000}\n`)
      return child.line(seconds * 1000 + reportMillis)
    },
    close: () => child.kill()
  }
}

/**
 * @template {import("../scenarios.mjs").Throughput} S
 * @param {(scenario: S) => string} describe
 * @param {(port: number, scenario: S) => Promise<import("../drivers.mjs").Session>} open
 * @returns {import("../drivers.mjs").Driver<S>}
 */
const bundled = (describe, open) => ({
  describe,
  lacks: () => undefined,
  openFiles,
  wrongAnswer: async (port, scenario) => {
    await (await open(port, scenario)).close()
    return undefined
  },
  open
})

/** @type {import("../drivers.mjs").Driver<import("../scenarios.mjs").Echo>} */
export const echo = bundled(
  ({ inFlight, sessions }) => `${sessions} sessions with ${inFlight} in flight each`,
  (port, { binary, bytes, inFlight, sessions }) => openGenerator("echo", { port, binary, bytes, inFlight, sessions })
)

/** @type {import("../drivers.mjs").Driver<import("../scenarios.mjs").Fanout>} */
export const fanout = bundled(
  ({ clients }) => `${clients} clients, one broadcast at a time`,
  (port, { clients, wire }) => openGenerator("fanout", { port, wire, clients, text: tick })
)

/** @type {import("../drivers.mjs").Driver<import("../scenarios.mjs").Handshake>} */
export const handshake = bundled(
  ({ atOnce }) => `${atOnce} connections at a time`,
  async (port, { atOnce }) => {
    const { cert } = await certificate()
    return openGenerator("handshake", { port, atOnce, cert, answer: hello })
  }
)
