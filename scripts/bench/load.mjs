/** Runs one round of load against a server: wrk when it is on the PATH, else the bundled generator. Owns no numbers. */
import { execFile, spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { pinned } from "./process.mjs"
import { contentTypeOf } from "./response.mjs"

/**
 * @typedef {object} Job
 * @property {number} port
 * @property {import("./scenarios.mjs").Exchange} request
 * @property {number} pipeline
 * @property {boolean} secure
 * @property {boolean} close a new connection for each request
 * @property {number} connections
 * @property {number} durationMillis
 */

/** @param {string} name */
const here = (name) => fileURLToPath(new URL(name, import.meta.url))

/** @type {"wrk" | "bundled"} */
export const installedGenerator = spawnSync("wrk", ["--version"]).error === undefined ? "wrk" : "bundled"

/**
 * @param {"wrk" | "bundled"} generator
 * @param {Job} job
 * @returns {Promise<import("./drivers.mjs").Load>}
 */
export const drive = async (generator, job) => {
  const [program, ...args] = pinned("generator", generator === "wrk" ? wrkCommand(job) : bundledCommand(job))
  const options = { timeout: job.durationMillis + 20_000, killSignal: /** @type {const} */ ("SIGKILL") }
  const { stdout } = await promisify(execFile)(program, args, options)
  const line = stdout.split("\n").findLast((text) => text.startsWith("{"))
  if (line === undefined) throw new Error(`The generator reported nothing: ${stdout}`)
  return JSON.parse(line)
}

/** @param {Job} job */
const bundledCommand = (job) => [process.execPath, here("generator.mjs"), JSON.stringify(job)]

/** @param {Job} job */
const wrkCommand = ({ close, connections, durationMillis, pipeline, port, request, secure }) => {
  const load = ["-t", "1", "-c", `${connections}`, "-d", `${Math.round(durationMillis / 1000)}s`]
  const script = [
    request.method,
    request.path,
    request.body,
    contentTypeOf(request),
    `${pipeline}`,
    close ? "close" : ""
  ]
  return ["wrk", ...load, "-s", here("wrk.lua"), `http${secure ? "s" : ""}://127.0.0.1:${port}`, "--", ...script]
}
