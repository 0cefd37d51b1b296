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
const requests = requestBytes(job.request, job.close).repeat(job.pipeline)
const started = process.hrtime.bigint()
let completed = 0
let errors = 0
let stopped = false
/** Milliseconds from the writing of requests to their last answer. */
/** @type {Array<number>} */
const latencies = []

/** @type {Set<import("node:net").Socket>} */
const sockets = new Set()

const open = () => {
  const options = { host: "127.0.0.1", port: job.port, noDelay: true }
  const socket = job.secure ? tls.connect({ ...options, rejectUnauthorized: false }) : net.connect(options)
  let inFlight = 0
  let since = 0
  const write = () => {
    inFlight = job.pipeline
    since = performance.now()
    socket.write(requests, "latin1")
  }
  const reader = new ResponseReader(({ status }) => {
    if (status === 200) completed += 1
    else errors += 1
    inFlight -= 1
    if (inFlight > 0 || stopped) return
    latencies.push(performance.now() - since)
    if (!job.close) write()
  }, false)
  socket.on("connect", write)
  socket.on("data", (bytes) => reader.push(bytes))
  socket.on("error", () => {
    if (!stopped) errors += 1
  })
  socket.on("close", () => {
    sockets.delete(socket)
    if (stopped) return
    if (!job.close || inFlight > 0) errors += 1
    if (job.close) open()
  })
  sockets.add(socket)
}
for (let index = 0; index < job.connections; index += 1) open()

setTimeout(() => {
  stopped = true
  const seconds = Number(process.hrtime.bigint() - started) / 1e9
  for (const socket of sockets) socket.destroy()
  latencies.sort((a, b) => a - b)
  const at = (/** @type {number} */ share) => latencies[Math.floor(latencies.length * share)] ?? 0
  console.log(JSON.stringify({ requests: completed, seconds, errors, p50Millis: at(0.5), p99Millis: at(0.99) }))
}, job.durationMillis)
