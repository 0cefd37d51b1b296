/** Drives programs that make their load themselves: services that no request reaches from outside. */
import { spawnSync } from "node:child_process"
import { connect } from "node:net"
import { createInterface } from "node:readline"

/** @param {string} program */
const isMissing = (program) => spawnSync(program, ["--version"]).error !== undefined

/**
 * One order to a contestant, one line back.
 *
 * @param {number} port
 * @param {object} order
 * @returns {Promise<any>}
 */
const ask = (port, order) =>
  new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(`${JSON.stringify(order)}\n`))
    createInterface({ input: socket }).on("line", (line) => {
      resolve(JSON.parse(line))
      socket.destroy()
    }).on("error", () => {})
    socket.on("error", reject)
    socket.on("close", () => reject(new Error("it ended without an answer")))
  })

/** @type {import("../drivers.mjs").Driver<import("../scenarios.mjs").Work>} */
export const work = {
  describe: ({ circumstances }) => circumstances,
  lacks: ({ needs }) => needs !== undefined && isMissing(needs) ? `${needs} is not installed` : undefined,
  wrongAnswer: async (port, { answer }) => {
    const { checked } = await ask(port, { check: true })
    return checked === answer ? undefined : `it answers ${JSON.stringify(checked)}, not ${JSON.stringify(answer)}`
  },
  open: async (port, { inFlight }) => ({
    run: async (seconds) => ask(port, { seconds, inFlight }),
    close: async () => {}
  })
}
