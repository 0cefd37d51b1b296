/**
 * Opens many connections, makes one request on each, and keeps them. A program of its own; one JSON argument.
 *
 * Prints `{"open":n,"failed":n}` when all have their answer, and again for each line on stdin. Ends with stdin.
 */
import { connect } from "node:net"
import { requestBytes, ResponseReader } from "./response.mjs"

/** Connections that are being opened at the same time: below every listen backlog. */
const batch = 100
/** A source address has some 28,000 ports for one destination. */
const perAddress = 20_000

/** @type {{ port: number, count: number, request: import("./scenarios.mjs").Exchange }} */
const job = JSON.parse(process.argv[2] ?? "{}")
const request = requestBytes(job.request, "")
/** @type {Set<import("node:net").Socket>} */
const open = new Set()
let failed = 0

const report = () => console.log(JSON.stringify({ open: open.size, failed }))

const openOne = (/** @type {number} */ index) =>
  new Promise((resolve) => {
    const localAddress = `127.0.0.${1 + Math.floor(index / perAddress)}`
    const socket = connect({ host: "127.0.0.1", port: job.port, ...(index < perAddress ? {} : { localAddress }) })
    const reader = new ResponseReader(({ status }) => {
      if (status === 200) open.add(socket)
      else failed += 1
      resolve(undefined)
    }, false)
    socket.on("connect", () => socket.write(request, "latin1"))
    socket.on("data", (bytes) => reader.push(bytes))
    socket.on("error", () => {})
    socket.on("close", () => {
      if (!open.delete(socket)) failed += 1
      resolve(undefined)
    })
  })

for (let from = 0; from < job.count; from += batch) {
  const size = Math.min(batch, job.count - from)
  await Promise.all(Array.from({ length: size }, (_, index) => openOne(from + index)))
}
report()
process.stdin.on("data", report)
process.stdin.on("end", () => process.exit(0))
