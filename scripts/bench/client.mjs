/** Asks a server once on a connection of its own: the harness uses it to check answers and to time the first one. */
import * as net from "node:net"
import * as tls from "node:tls"
import { isDeepStrictEqual } from "node:util"
import { requestBytes, ResponseReader } from "./response.mjs"

/**
 * Sends `count` requests in one write and yields their answers, in order.
 *
 * @param {number} port
 * @param {import("./scenarios.mjs").Exchange} request
 * @param {number} count
 * @param {boolean} [secure]
 * @returns {Promise<Array<import("./response.mjs").Answer>>}
 */
export const ask = (port, request, count, secure = false) =>
  new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port, noDelay: true }
    const socket = secure ? tls.connect({ ...options, rejectUnauthorized: false }) : net.connect(options)
    const timer = setTimeout(() => fail(new Error("no answer within 10 s")), 10_000)
    const end = () => {
      clearTimeout(timer)
      socket.destroy()
    }
    const fail = (/** @type {unknown} */ error) => {
      end()
      reject(error)
    }
    /** @type {Array<import("./response.mjs").Answer>} */
    const answers = []
    const reader = new ResponseReader((answer) => {
      answers.push(answer)
      if (answers.length < count) return
      end()
      resolve(answers)
    }, true)
    socket.on("data", (bytes) => {
      try {
        reader.push(bytes)
      } catch (error) {
        fail(error)
      }
    })
    socket.on("error", fail)
    socket.on("close", () => fail(new Error("the connection was closed before the answer was complete")))
    socket.write(requestBytes(request).repeat(count), "latin1")
  })

/**
 * @param {import("./scenarios.mjs").Http} scenario
 * @param {Buffer} body
 */
const isSame = ({ answer, anyOrder }, body) =>
  anyOrder ? isDeepStrictEqual(JSON.parse(body.toString()), JSON.parse(answer.toString())) : answer.equals(body)

/**
 * What is wrong with a server's answers to a scenario; `undefined` when they are what everyone has to answer.
 * Header fields may differ, the framing of the body may not.
 *
 * @param {number} port
 * @param {import("./scenarios.mjs").Http} scenario
 * @returns {Promise<string | undefined>}
 */
export const wrongAnswer = async (port, scenario) => {
  const { pipeline, request, secure } = scenario
  const answers = await ask(port, request, pipeline, secure).catch((error) => String(error.message))
  if (typeof answers === "string") return answers
  for (const { body, head, status } of answers) {
    if (status !== 200) return `status ${status}`
    if (body === undefined || !isSame(scenario, body)) return `another body: ${body?.toString("latin1", 0, 60)}`
    const chunked = /\r\ntransfer-encoding: *chunked/.test(head)
    if (/\r\nconnection: *close/.test(head)) return "it closes the connection after the answer"
    if (chunked !== (scenario.framing === "chunked")) return `not framed by ${scenario.framing}`
  }
  return undefined
}
