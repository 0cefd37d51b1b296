import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import { capture } from "../../utils/logs.ts"
import * as Sockets from "../../utils/sockets.ts"

setFlagsFromString("--expose-gc")
const collectGarbage = runInNewContext("gc") as () => void

/** Bytes held outside of the heap, where buffers are. The file has one test, so that they are all its own. */
const heldBytes = (): number => {
  collectGarbage()
  return process.memoryUsage().arrayBuffers
}

describe("memory", () => {
  it.live("stays bounded while 100 MB stream to a slow reader [C121]", () =>
    Effect.gen(function*() {
      const total = 100_000_000
      const piece = new Uint8Array(16_384)
      let sent = 0
      let largestBuffer = 0
      let largestGrowth = 0
      const server = yield* ServerNode.make({ port: 0 })
      const app = App.http(({ send, transport }) =>
        Effect.gen(function*() {
          yield* send({ type: "http.response.start", status: 200, headers: [["content-length", String(total)]] })
          const before = heldBytes()
          const pieces = Stream.unfold(0, (count) =>
            Effect.sync(() => {
              if (sent === total) return undefined
              largestBuffer = Math.max(largestBuffer, transport.bufferedAmount)
              if (count % 200 === 0) largestGrowth = Math.max(largestGrowth, heldBytes() - before)
              const next = piece.slice(0, total - sent)
              sent += next.length
              return [next, count + 1] as const
            }))
          yield* send({ type: "http.response.body", stream: pieces })
        })
      )
      yield* server.serve(app)
      const client = yield* Sockets.connect((yield* server.addresses)[0]!, { keep: 200 })
      yield* client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      // Reads a little, then lets the server run ahead as far as it may.
      while (client.receivedBytes < total) {
        client.socket.resume()
        yield* Sockets.turn
        client.socket.pause()
        yield* Sockets.turn
        yield* Sockets.turn
      }
      assert.strictEqual(sent, total)
      assert.isBelow(largestBuffer, 65_536 + piece.length + 100)
      // What the runtime has not swept away yet counts too.
      assert.isBelow(largestGrowth, 20_000_000)
    }).pipe(Effect.provide(capture().layer)))
})
