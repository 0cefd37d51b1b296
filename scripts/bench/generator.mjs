/**
 * The bundled load generator, for machines without wrk: keep-alive connections on `node:net` or `node:tls`, each with a
 * fixed number of requests in flight. A program of its own (so that it runs on its own core); one JSON argument, one
 * JSON line out.
 *
 * It costs as much per request as the servers that it drives: the fast ones are not saturated, and their CPU time per
 * request is higher than under wrk because fewer requests share one wake-up. Compare only within one generator.
 */
import * as net from "node:net"
import * as tls from "node:tls"
import { requestBytes, ResponseReader } from "./response.mjs"

/** @type {import("./load.mjs").Job} */
const job = JSON.parse(process.argv[2] ?? "{}")
const requests = requestBytes(job.request).repeat(job.pipeline)
const started = process.hrtime.bigint()
let completed = 0
let errors = 0
let stopped = false

/** @type {Array<import("node:net").Socket>} */
const sockets = []

for (let index = 0; index < job.connections; index += 1) {
  const options = { host: "127.0.0.1", port: job.port, noDelay: true }
  const socket = job.secure ? tls.connect({ ...options, rejectUnauthorized: false }) : net.connect(options)
  let inFlight = job.pipeline
  const reader = new ResponseReader(({ status }) => {
    if (status === 200) completed += 1
    else errors += 1
    inFlight -= 1
    if (inFlight === 0 && !stopped) {
      inFlight = job.pipeline
      socket.write(requests, "latin1")
    }
  }, false)
  socket.on("connect", () => socket.write(requests, "latin1"))
  socket.on("data", (bytes) => reader.push(bytes))
  socket.on("error", () => {
    if (!stopped) errors += 1
  })
  socket.on("close", () => {
    if (!stopped) errors += 1
  })
  sockets.push(socket)
}

setTimeout(() => {
  stopped = true
  const seconds = Number(process.hrtime.bigint() - started) / 1e9
  for (const socket of sockets) socket.destroy()
  console.log(JSON.stringify({ requests: completed, seconds, errors }))
}, job.durationMillis)
