/** A million requests: what the program holds afterwards is what it held before, files and memory. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import { folder, get, start } from "./utils/commandLine.ts"

/** Tells what it holds once the garbage is gone. */
const source = `
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as v8 from "node:v8"
import * as vm from "node:vm"

v8.setFlagsFromString("--expose-gc")
const collect = vm.runInNewContext("gc")
const held = () => {
  for (let turn = 0; turn < 3; turn++) collect()
  const { external, heapUsed } = process.memoryUsage()
  return { bytes: heapUsed + external, files: fs.readdirSync("/proc/self/fd").length }
}

export default ({ scope, send, type }) => {
  if (type !== "http") return Effect.void
  const body = scope.path === "/held" ? JSON.stringify(held()) : "hello"
  return Effect.andThen(
    send({ type: "http.response.start", status: 200, headers: [["content-length", String(body.length)]] }),
    send({ type: "http.response.body", body })
  )
}
`

interface Held {
  readonly bytes: number
  readonly files: number
}

const connections = 50
const depth = 100
/** Answers are all of one length. */
const batch = "GET / HTTP/1.1\r\nHost: soak\r\n\r\n".repeat(depth)

/** Sends so many batches on one connection, the next one when the last is answered, and closes it. */
const talk = (port: number, batches: number): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const socket = Net.connect({ host: "127.0.0.1", port })
    let left = batches
    let answerBytes = 0
    let received = 0
    const send = () => {
      received = 0
      socket.write(batch, "latin1")
    }
    socket.on("error", (error) => resume(Effect.die(error)))
    socket.on("connect", () => socket.write(batch.slice(0, batch.length / depth), "latin1"))
    socket.on("data", (bytes) => {
      received += bytes.length
      if (answerBytes === 0) {
        if (!bytes.toString("latin1").endsWith("hello")) return
        answerBytes = received
        return send()
      }
      if (received < answerBytes * depth) return
      if (--left === 0) socket.end()
      else send()
    })
    socket.on("close", () => left === 0 ? resume(Effect.void) : resume(Effect.die(new Error("closed too early"))))
  })

describe("a million requests", { timeout: 300_000 }, () => {
  it.live.skipIf(process.platform !== "linux")(
    "leave memory and open files where they were [C173]",
    () =>
      Effect.gen(function*() {
        const cwd = yield* folder({ "app.mjs": source })
        const program = yield* start(["app.mjs", "--port", "0", "--env", "production", "--access-log", "none"], { cwd })
        const url = yield* program.ready
        const held = Effect.map(get(`${url}/held`), (text) => JSON.parse(text) as Held)
        const requests = (count: number) =>
          Effect.forEach(
            Array.from({ length: connections }),
            () => talk(Number(new URL(url).port), count / connections / depth),
            { concurrency: "unbounded", discard: true }
          )
        yield* requests(100_000)
        const before = yield* held
        yield* requests(1_000_000)
        const after = yield* held
        assert.strictEqual(after.files, before.files)
        // A byte for each request would be 1,000,000.
        assert.isBelow(after.bytes - before.bytes, 500_000)
      })
  )
})
