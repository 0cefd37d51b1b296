/** Measures the time from spawning a server's process until its first answer has arrived. */
import { existsSync } from "node:fs"
import { createServer } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { ask } from "./client.mjs"
import { pinned, RunningServer, start, startServer } from "./process.mjs"
import { fromRoot, mainProgram } from "./roster.mjs"

/** Starts per server: fixed, because one costs a fraction of a round. */
const starts = 7
const pollMillis = 2
const giveUpMillis = 15_000

/** The command line serving the benchmark's app: a row of its own, not a server of the other scenarios. */
const commandLine = "slipway main.js"

/**
 * @typedef {object} Measured
 * @property {string} server
 * @property {ReadonlyArray<{ millis: number, residentBytes: number }>} rounds
 * @property {string | undefined} problem
 */

/**
 * @param {import("./scenarios.mjs").Special} scenario
 * @param {ReadonlyArray<import("./roster.mjs").Contestant>} contestants
 * @param {import("./options.mjs").Options} options
 * @param {(line: string) => void} report
 * @returns {Promise<ReadonlyArray<Measured>>}
 */
export const measureStartup = async (scenario, contestants, options, report) => {
  /** @type {Map<string, () => Promise<RunningServer>>} */
  const launches = new Map(contestants.map((contestant) => [contestant.name, () => startServer(contestant)]))
  if (existsSync(mainProgram) && (options.only === undefined || options.only.includes("slipway"))) {
    launches.set(commandLine, startCommandLine)
  }

  const once = async (/** @type {() => Promise<RunningServer>} */ launch) => {
    const from = performance.now()
    const server = await launch()
    try {
      const [answer] = await ask(server.port, scenario.request, 1)
      if (answer?.status !== 200) throw new Error(`status ${answer?.status}`)
      return { millis: performance.now() - from, residentBytes: server.residentBytes }
    } finally {
      await server.stop()
    }
  }

  /** @type {Map<string, { rounds: Array<Awaited<ReturnType<typeof once>>>, problem: string | undefined }>} */
  const results = new Map(Array.from(launches.keys(), (name) => [name, { rounds: [], problem: undefined }]))
  report(`startup: ${starts} starts each`)
  for (let index = 0; index < starts; index += 1) {
    for (const [name, launch] of launches) {
      const result = results.get(name)
      if (result === undefined || result.problem !== undefined) continue
      try {
        result.rounds.push(await once(launch))
      } catch (error) {
        result.problem = error instanceof Error ? error.message : String(error)
        report(`startup: ${name} is not measured: ${result.problem}`)
      }
    }
  }
  return Array.from(results, ([server, result]) => ({ server, ...result }))
}

/** It does not announce its port in the benchmark's way: it gets one that was free a moment ago, and is polled. */
const startCommandLine = async () => {
  const port = await freePort()
  const app = fromRoot("scripts/bench/servers/slipway-app.mjs")
  const child = start(
    pinned("server", [process.execPath, mainProgram, app, "--host", "127.0.0.1", "--port", `${port}`])
  )
  let alive = true
  void child.ended.then(() => {
    alive = false
  })
  const deadline = performance.now() + giveUpMillis
  while (alive && performance.now() < deadline) {
    const answered = await ask(port, { method: "GET", path: "/", body: "" }, 1).then(() => true, () => false)
    if (answered) {
      return new RunningServer(commandLine, child, port)
    }
    await sleep(pollMillis)
  }
  await child.kill()
  throw new Error(alive ? `no answer within ${giveUpMillis} ms` : child.complaint)
}

/** @returns {Promise<number>} */
const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })
