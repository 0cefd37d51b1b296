/**
 * Messages through Redis and back: a redis-server of the contestant's own on a unix socket, without persistence, and
 * batches of 64 messages of 100 bytes that are published together and awaited. The server's CPU time is not counted.
 */
import { spawn } from "node:child_process"
import { mkdtempSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { serveWork } from "./work.mjs"

const batchSize = 64
const batches = 8
const payload = "0123456789".repeat(10)

/** @returns {Promise<string>} its socket */
export const startRedis = async () => {
  const folder = mkdtempSync(join(tmpdir(), "slipway-bench-"))
  const path = join(folder, "redis.sock")
  // The harness kills: what watches the contestant's pipe ends the server with it.
  const watch = `redis-server --port 0 --unixsocket "$1/redis.sock" --save "" --appendonly no --dir "$1" > "$1/log" &
    cat; kill $!; wait; rm -r "$1"`
  const watcher = spawn("sh", ["-c", watch, "sh", folder], { stdio: ["pipe", "ignore", "ignore"] })
  watcher.unref()
  for (let attempt = 0; attempt < 500; attempt++) {
    const isUp = await new Promise((resolve) => {
      const socket = connect(path, () => {
        socket.destroy()
        resolve(true)
      }).on("error", () => resolve(false))
    })
    if (isUp) return path
    await sleep(10)
  }
  throw new Error("redis-server does not start")
}

/**
 * @param {(data: string) => Promise<unknown>} publish
 * @param {(callback: (data: string) => void) => Promise<unknown>} subscribe
 */
export const serveRedis = async (publish, subscribe) => {
  let received = 0
  let awaited = 0
  let bytes = 0
  let arrived = () => {}
  await subscribe((data) => {
    received++
    bytes += data.length
    if (received === awaited) arrived()
  })
  const send = async (/** @type {number} */ count) => {
    received = 0
    bytes = 0
    awaited = count
    const all = new Promise((resolve) => {
      arrived = () => resolve(undefined)
    })
    await Promise.all(Array.from({ length: count }, () => publish(payload)))
    await all
    return count
  }
  serveWork({
    check: async () => {
      await send(2)
      return `${bytes}`
    },
    batch: async () => {
      for (let batch = 0; batch < batches; batch++) await send(batchSize)
      return batchSize * batches
    }
  })
}
