/**
 * What contestants share that make their load themselves: they are asked over a socket to show that they do what all do,
 * and to work for so many seconds and say how much was done.
 */
import { createServer } from "node:net"
import { createInterface } from "node:readline"
import { announce } from "./common.mjs"

/**
 * @typedef {{ inFlight?: number }} Order what the scenario asks for
 * @typedef {(order: Order) => Promise<number> | number} Batch does some work, for a few milliseconds, and says how much
 */

/**
 * Works until the time is over.
 *
 * @param {number} seconds
 * @param {Batch} batch
 * @param {Order} order
 */
const during = async (seconds, batch, order) => {
  const start = performance.now()
  let requests = 0
  while (performance.now() - start < seconds * 1000) requests += await batch(order)
  return { requests, seconds: (performance.now() - start) / 1000, errors: 0 }
}

/**
 * @param {object} program
 * @param {() => Promise<string>} program.check does the work once and says what came of it
 * @param {Batch} program.batch
 */
export const serveWork = ({ batch, check }) => {
  const server = createServer((socket) => {
    socket.on("error", () => {})
    createInterface({ input: socket }).on("line", async (line) => {
      const order = JSON.parse(line)
      const answer = order.check ? { checked: await check() } : await during(order.seconds, batch, order)
      socket.write(`${JSON.stringify(answer)}\n`)
    }).on("error", () => {})
  }).listen(0, "127.0.0.1", () => {
    const address = server.address()
    announce(typeof address === "object" && address !== null ? address.port : 0)
  })
}
