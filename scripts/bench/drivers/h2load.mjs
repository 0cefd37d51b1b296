/** HTTP/2 requests in clear text with prior knowledge: h2load, which there is no bundled substitute for. */
import { execFile, spawnSync } from "node:child_process"
import { connect } from "node:http2"
import { promisify } from "node:util"
import { pinned } from "../process.mjs"

const clients = 8
const streams = 16
const answerMillis = 10_000

/** @type {import("../drivers.mjs").Driver<import("../scenarios.mjs").Http2>} */
export const h2load = {
  describe: () => `h2load with ${clients} connections of ${streams} streams`,
  lacks: () => spawnSync("h2load", ["--version"]).error === undefined ? undefined : "h2load is not installed",
  wrongAnswer: async (port, { answer, contentType, path }) => {
    const { body, headers } = await ask(port, path)
    if (headers[":status"] !== 200) return `status ${headers[":status"]}`
    if (headers["content-type"] !== contentType) return `content-type ${headers["content-type"]}`
    if (headers["content-length"] !== `${answer.length}`) return `content-length ${headers["content-length"]}`
    if (headers.date === undefined) return "no date"
    return answer.equals(body) ? undefined : `another body: ${body.toString("latin1", 0, 60)}`
  },
  open: async (port, { path }) => ({
    run: async (seconds) => {
      const load = ["-t", "1", "-c", `${clients}`, "-m", `${streams}`, "-D", `${seconds}`]
      const [program, ...args] = pinned("generator", ["h2load", ...load, `http://127.0.0.1:${port}${path}`])
      const options = { timeout: seconds * 1000 + 20_000, killSignal: /** @type {const} */ ("SIGKILL") }
      const { stdout } = await promisify(execFile)(program, args, options)
      return { ...countsOf(stdout), seconds }
    },
    close: async () => {}
  })
}

/** @param {string} report what h2load says at the end */
const countsOf = (report) => {
  const counts = /, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout/.exec(report)
  if (counts === null) throw new Error(`h2load reported nothing: ${report}`)
  const [requests, failed, errored, late] = counts.slice(1).map(Number)
  return { requests, errors: failed + errored + late }
}

/**
 * @param {number} port
 * @param {string} path
 * @returns {Promise<{ headers: import("node:http2").IncomingHttpHeaders, body: Buffer }>}
 */
const ask = (port, path) =>
  new Promise((resolve, reject) => {
    const session = connect(`http://127.0.0.1:${port}`)
    const timer = setTimeout(() => session.destroy(new Error("no answer within 10 s")), answerMillis)
    session.on("error", reject)
    session.on("close", () => {
      clearTimeout(timer)
      reject(new Error("the connection was closed before the answer was complete"))
    })
    const stream = session.request({ ":path": path })
    /** @type {import("node:http2").IncomingHttpHeaders} */
    let headers = {}
    /** @type {Array<Buffer>} */
    const pieces = []
    stream.on("response", (received) => {
      headers = received
    })
    stream.on("data", (piece) => pieces.push(piece))
    stream.on("error", reject)
    stream.on("end", () => {
      resolve({ headers, body: Buffer.concat(pieces) })
      session.close()
    })
  })
