/**
 * What every benchmark server shares: the answers, and how it tells the harness where it listens.
 *
 * A server prints `{"port":n}` once it accepts, collects garbage when it reads a line on stdin, and exits when stdin
 * ends, so that none outlives the harness. Nothing in here runs per request.
 */
export const hello = "Hello, World!"

/** The stream scenario: 1 MiB as 64 pieces of 16 KiB. */
export const streamPieces = 64
export const streamPiece = Buffer.alloc(16384, "slipway ")

/** The large answer of HTTP/2: 100 KiB. */
export const large = Buffer.alloc(102_400, "slipway ")

/** What a broadcast says: 16 bytes. */
export const tick = "0123456789abcdef"

/** Longer than any benchmark, so that no server closes a connection that the generator still uses. */
export const keepAliveMillis = 120_000

/** @param {number} port */
export const announce = (port) => {
  process.stdin.on("data", () => {
    collect()
    collect()
    console.log(JSON.stringify({ collected: true }))
  })
  process.stdin.on("end", () => process.exit(0))
  console.log(JSON.stringify({ port }))
}

/** @type {any} Node with --expose-gc, or Bun */
const runtime = globalThis

const collect = () => {
  if (runtime.Bun === undefined) runtime.gc?.()
  else runtime.Bun.gc(true)
}
