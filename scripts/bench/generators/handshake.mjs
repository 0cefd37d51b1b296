/**
 * A TLS connection for each request, never resumed: so many at a time, a new one when the server has closed the last.
 * Checks the certificate, the protocol and the answer of every one.
 */
import { connect, createSecureContext } from "node:tls"
import { ResponseReader } from "../response.mjs"
import { generate } from "./common.mjs"

const request = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"

generate(async ({ answer, atOnce, cert, port }) => {
  const secureContext = createSecureContext({ ca: cert })
  const options = { host: "127.0.0.1", port, secureContext, ALPNProtocols: ["http/1.1"] }

  /** What is wrong with one connection and its answer; `undefined` when nothing is. */
  const problem = () =>
    new Promise((/** @type {(problem: string | undefined) => void} */ resolve) => {
      /** @type {string | undefined} */
      let found = "closed without an answer"
      const socket = connect(options, () => {
        socket.write(request, "latin1")
      })
      const reader = new ResponseReader(({ body, status }) => {
        found = status !== 200
          ? `status ${status}`
          : body?.toString() !== answer
          ? "another body"
          : socket.getProtocol() !== "TLSv1.3" || socket.alpnProtocol !== "http/1.1"
          ? `${socket.getProtocol()} with ${socket.alpnProtocol || "no ALPN"}`
          : socket.isSessionReused()
          ? "a resumed session"
          : undefined
      }, true)
      socket.on("data", (bytes) => reader.push(bytes))
      socket.on("error", (error) => {
        found = error.message
      })
      socket.on("close", () => resolve(found))
    })

  const first = await problem()
  if (first !== undefined) throw new Error(first)
  let requests = 0
  let pending = 0
  let errors = 0
  let ended = false
  const again = async () => {
    while (!ended) {
      pending += 1
      const found = await problem()
      pending -= 1
      if (found === undefined) requests += 1
      else errors += 1
    }
  }
  return {
    begin: () => {
      for (let index = 0; index < atOnce; index += 1) void again()
    },
    end: () => {
      ended = true
    },
    pending: () => pending,
    counts: () => ({ requests, errors })
  }
})
