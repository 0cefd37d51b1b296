/** Bodies of 100 MB in both directions over real sockets, where one side is slow: everything arrives, nothing piles up. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Http2 from "node:http2"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import { Growth } from "../../utils/heldBytes.ts"
import { capture } from "../../utils/logs.ts"
import * as Sockets from "../../utils/sockets.ts"
import { type Version, versions } from "../../utils/wires.ts"

const total = 100_000_000
const pieceBytes = 16_384
/** What the runtime has not swept away yet counts too, and so does what the client holds. */
const allowedGrowth = 20_000_000
/** Bytes between two looks at the memory. */
const lookBytes = total / 20

/** The byte at an offset of every body here: pieces differ, so that nothing is taken for something else. */
const byteAt = (offset: number): number => Math.floor(offset / pieceBytes) % 251

/** The piece at an offset, in memory of its own. */
const pieceAt = (offset: number): Uint8Array =>
  new Uint8Array(Math.min(pieceBytes, total - offset)).fill(byteAt(offset))

/** Counts a body and looks at both ends of each part of it. */
class Content {
  bytes = 0
  add(part: Uint8Array): void {
    if (part.length === 0) return
    assert.strictEqual(part[0], byteAt(this.bytes))
    this.bytes += part.length
    assert.strictEqual(part[part.length - 1], byteAt(this.bytes - 1))
  }
}

/** The client's side of one request: `stream` takes the body, and `content` is what has come of the answer's. */
interface Request {
  readonly stream: Duplex
  readonly content: Content
}

type Ask = (port: number, method: string) => Request

/** The answer's head is skipped; the server's answers here say how long their bodies are. */
const askHttp1: Ask = (port, method) => {
  const content = new Content()
  const stream = Net.connect({ host: "127.0.0.1", port })
  const length = method === "POST" ? `content-length: ${total}\r\n` : ""
  stream.write(`${method} / HTTP/1.1\r\nhost: a\r\n${length}\r\n`)
  let head: Buffer | undefined = Buffer.alloc(0)
  stream.on("error", () => {})
  stream.on("data", (chunk: Buffer) => {
    if (head === undefined) return content.add(chunk)
    head = Buffer.concat([head, chunk])
    const end = head.indexOf("\r\n\r\n")
    if (end === -1) return
    content.add(head.subarray(end + 4))
    head = undefined
  })
  return { stream, content }
}

const askHttp2: Ask = (port, method) => {
  const content = new Content()
  const session = Http2.connect(`http://127.0.0.1:${port}`)
  const stream = session.request({ ":method": method, ":path": "/" }, { endStream: method === "GET" })
  session.on("error", () => {})
  stream.on("error", () => {})
  stream.on("close", () => session.close())
  stream.on("data", (chunk: Buffer) => content.add(chunk))
  return { stream, content }
}

/** Asks, and closes with the scope. */
const ask = (version: Version, port: number, method: string) =>
  Effect.acquireRelease(
    Effect.sync(() => (version === "1.1" ? askHttp1 : askHttp2)(port, method)),
    ({ stream }) => Effect.sync(() => void stream.destroy())
  )

const serve = Effect.fnUntraced(function*<E>(app: App.App<E>) {
  const server = yield* ServerNode.make({ port: 0, maxBodyBytes: 0 })
  yield* server.serve(app)
  const [address] = yield* server.addresses
  return address?._tag === "tcp" ? address.port : yield* Effect.die("no port")
})

// One after the other: the memory is everybody's.
describe("100 MB", { concurrent: false }, () => {
  for (const version of versions) {
    it.live(`to a slow reader over HTTP/${version} hold no memory [C121]`, () =>
      Effect.gen(function*() {
        let largestBuffer = 0
        let sent = 0
        let growth: Growth | undefined
        const pieces = (transport: App.TransportState) =>
          Stream.unfold(0, (lookAt) =>
            Effect.sync(() => {
              if (sent === total) return undefined
              largestBuffer = Math.max(largestBuffer, transport.bufferedAmount)
              const isDue = sent >= lookAt
              if (isDue) growth!.look()
              const piece = pieceAt(sent)
              sent += piece.length
              return [piece, isDue ? lookAt + lookBytes : lookAt] as const
            }))
        const app = App.http(({ send, transport }) =>
          Effect.gen(function*() {
            growth = new Growth()
            yield* send({ type: "http.response.start", status: 200, headers: [["content-length", String(total)]] })
            yield* send({ type: "http.response.body", stream: pieces(transport) })
          })
        )
        const { content, stream } = yield* ask(version, yield* serve(app), "GET")
        // Reads a little, then lets the server run ahead as far as it may.
        while (content.bytes < total) {
          stream.resume()
          yield* Sockets.turn
          stream.pause()
          yield* Sockets.turn
          yield* Sockets.turn
        }
        assert.strictEqual(content.bytes, total)
        assert.isBelow(largestBuffer, 65_536 + pieceBytes + 100)
        assert.isBelow(growth!.largest, allowedGrowth)
      }).pipe(Effect.provide(capture().layer)))

    it.live(`to an application that receives slowly over HTTP/${version} hold no memory [C120]`, () =>
      Effect.gen(function*() {
        const received = new Content()
        let growth: Growth | undefined
        let lookAt = 0
        let largestPart = 0
        const app = App.http(({ receive, send }) =>
          Effect.gen(function*() {
            growth = new Growth()
            for (;;) {
              const event = yield* receive
              if (event.type !== "http.request") return
              received.add(event.body)
              largestPart = Math.max(largestPart, event.body.length)
              if (received.bytes >= lookAt) {
                growth.look()
                lookAt += lookBytes
              }
              if (!event.more) break
              yield* Sockets.turn
              yield* Sockets.turn
            }
            yield* App.respond(send, 200, new Uint8Array(1))
          })
        )
        const { content, stream } = yield* ask(version, yield* serve(app), "POST")
        let sent = 0
        let largestLead = 0
        while (sent < total) {
          while (!stream.writableNeedDrain && sent < total) {
            const piece = pieceAt(sent)
            stream.write(piece)
            sent += piece.length
          }
          largestLead = Math.max(largestLead, sent - received.bytes)
          yield* Sockets.turn
        }
        // On HTTP/1.1 the length has said where the body ends, and the end of the stream would be the client's.
        if (version === "2") stream.end()
        yield* Sockets.until(() => content.bytes === 1)
        assert.strictEqual(received.bytes, total)
        assert.isBelow(largestPart, 2 * 65_536)
        assert.isBelow(growth!.largest, allowedGrowth)
        // HTTP/1.1 has the buffers of the operating system between the two; HTTP/2 has its window.
        assert.isBelow(largestLead, version === "2" ? 300_000 : 20_000_000)
      }).pipe(Effect.provide(capture().layer)))
  }
})
