/**
 * A trivial task there and back, on two workers: what a pool costs and nothing else. This file is also what the workers
 * of all contestants load.
 */
import * as Schema from "effect/Schema"
import { WorkerTask } from "slipway"
import { serveWork } from "./work.mjs"

export const workers = 2
const tasks = 1000

export const increment = (/** @type {number} */ n) => n + 1

export const task = WorkerTask.make("increment", { input: Schema.Finite, success: Schema.Finite }, increment)

export default WorkerTask.module([task])

/** What piscina and tinypool are made with. */
export const options = { filename: import.meta.url, name: "increment", minThreads: workers, maxThreads: workers }

/**
 * @param {(n: number) => Promise<number>} run
 * @param {(inFlight: number, next: () => number | undefined) => Promise<unknown>} [loops] by promises unless told otherwise
 */
export const servePool = (run, loops = byPromises(run)) =>
  serveWork({
    check: async () => `${await run(41)}`,
    batch: async ({ inFlight = 1 }) => {
      let left = tasks
      await loops(inFlight, () => left > 0 ? left-- : undefined)
      return tasks
    }
  })

/** @type {(run: (n: number) => Promise<number>) => (inFlight: number, next: () => number | undefined) => Promise<unknown>} */
const byPromises = (run) => (inFlight, next) => {
  const loop = async () => {
    for (let n = next(); n !== undefined; n = next()) expect(await run(n), n)
  }
  return Promise.all(Array.from({ length: inFlight }, loop))
}

export const expect = (/** @type {number} */ answer, /** @type {number} */ input) => {
  if (answer !== input + 1) throw new Error(`${answer} is no answer to ${input}`)
}
