/**
 * What a server holds while one side of a session does not keep up, over real sockets: as much as its buffers, whatever
 * the other side does. Bodies are the subject of bigBodies.test.ts.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Http2 from "node:http2"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import * as ServerNode from "../../../layers/ServerNode.ts"
import type * as App from "../../../src/app/App.ts"
import { request } from "../../utils/answers.ts"
import { Growth } from "../../utils/heldBytes.ts"
import { capture } from "../../utils/logs.ts"
import * as Sockets from "../../utils/sockets.ts"
import * as WebSocket from "../../utils/webSocket.ts"
import { nameOf, type Version, versions, type Wire } from "../../utils/wires.ts"

/** What is offered, many times what anybody may hold. */
const offered = 60_000_000
const pieceBytes = 16_384
/** What the runtime has not swept away yet counts too. */
const allowedGrowth = 4_000_000
/** What may be under way: HTTP/1.1 has the buffers of the operating system, HTTP/2 its window and a little more. */
const allowedLead: { readonly [V in Version]: number } = { "1.1": 20_000_000, "2": 300_000 }

/** Turns of the event loop after which nothing more is expected to move. */
const quietTurns = 300

type Protocol = "sse" | "websocket"

/** A client whose answer is waiting to be read. */
const connect = ({ version }: Wire, protocol: Protocol, port: number) =>
  Effect.acquireRelease(
    Effect.promise(() => version === "1.1" ? connectHttp1(protocol, port) : connectHttp2(protocol, port)),
    (stream) => Effect.sync(() => void stream.destroy())
  )

const connectHttp1 = (protocol: Protocol, port: number): Promise<Duplex> =>
  new Promise((resolve) => {
    const socket = Net.connect({ host: "127.0.0.1", port })
    socket.on("error", () => {})
    socket.write(protocol === "sse" ? request("GET /", ["accept: text/event-stream"]) : WebSocket.handshake())
    socket.once("readable", () => resolve(socket))
  })

const connectHttp2 = (protocol: Protocol, port: number): Promise<Duplex> =>
  new Promise((resolve) => {
    const session = Http2.connect(`http://127.0.0.1:${port}`)
    session.on("error", () => {})
    // Only then the client knows that it may ask for a WebSocket (RFC 8441 section 3).
    session.once("remoteSettings", () => {
      const stream = protocol === "sse"
        ? session.request({ ":path": "/", "accept": "text/event-stream" })
        : session.request({
          ":method": "CONNECT",
          ":protocol": "websocket",
          ":path": "/",
          "sec-websocket-version": "13"
        }, { endStream: false })
      stream.on("error", () => {})
      stream.on("close", () => session.destroy())
      stream.once("response", () => resolve(stream))
    })
  })

const serve = Effect.fnUntraced(function*<E>(app: App.App<E>, options: ServerNode.Options = {}) {
  const server = yield* ServerNode.make({ port: 0, disconnectGrace: 0, ...options })
  yield* server.serve(app)
  const [address] = yield* server.addresses
  return { server, port: address?._tag === "tcp" ? address.port : yield* Effect.die("no port") }
})

const accept = (exchange: App.WebSocketExchange) =>
  Effect.andThen(exchange.receive, exchange.send({ type: "websocket.accept" }))

/** Writes pieces as long as they are taken, until nothing moves any more. How many were written. */
const flood = Effect.fnUntraced(function*(stream: Duplex, piece: (index: number) => Buffer, growth: Growth) {
  let pieces = 0
  let bytes = 0
  let quiet = 0
  while (bytes < offered && quiet < quietTurns && !stream.destroyed) {
    quiet++
    while (!stream.writableNeedDrain && bytes < offered) {
      const next = piece(pieces++)
      stream.write(next)
      bytes += next.length
      quiet = 0
    }
    yield* Sockets.turn
  }
  growth.look()
  return { pieces, bytes }
})

// One after the other: the memory is everybody's.
describe("memory", { concurrent: false }, () => {
  for (const version of versions) {
    const wire: Wire = { protocol: "websocket", version }

    it.live(`stays bounded under messages that the application does not receive: ${nameOf(wire)}`, () =>
      Effect.gen(function*() {
        const received: Array<number> = []
        const go = yield* Latch.make(false)
        let ends = 0
        const app: App.App<unknown> = (exchange) =>
          exchange.type !== "websocket" ? Effect.void : Effect.gen(function*() {
            yield* accept(exchange)
            yield* go.await
            for (;;) {
              const event = yield* exchange.receive
              if (event.type === "websocket.disconnect") break
              if (event.type === "websocket.receive") received.push(event.bytes![0]!)
            }
            ends++
          })
        const { port } = yield* serve(app)
        const stream = yield* connect(wire, "websocket", port)
        const frames = Array.from(
          { length: 10 },
          (_, index) => WebSocket.binary(new Uint8Array(pieceBytes).fill(index), { mask: [0, 0, 0, 0] })
        )
        const growth = new Growth()
        const { bytes, pieces } = yield* flood(stream, (index) => frames[index % 10]!, growth)
        assert.isBelow(bytes, allowedLead[version])
        assert.isBelow(growth.largest, allowedGrowth)
        assert.deepStrictEqual(received, [])
        // Nothing of it is lost, and the session lives.
        yield* go.open
        yield* Sockets.until(() => received.length === pieces)
        assert.deepStrictEqual(received, Array.from({ length: pieces }, (_, index) => index % 10))
        stream.write(WebSocket.close(1000))
        yield* Sockets.until(() => ends === 1)
      }).pipe(Effect.provide(capture().layer)))

    it.live(`stays bounded under pings whose pongs nobody reads: ${nameOf(wire)}`, () =>
      Effect.gen(function*() {
        let exchange: App.WebSocketExchange | undefined
        const app: App.App<unknown> = (opened) => {
          if (opened.type !== "websocket") return Effect.void
          exchange = opened
          return Effect.andThen(accept(opened), Effect.asVoid(opened.receive))
        }
        const { port } = yield* serve(app)
        const stream = yield* connect(wire, "websocket", port)
        const pings = Buffer.concat(Array.from({ length: 125 }, () => WebSocket.ping("x".repeat(125))))
        const growth = new Growth()
        const { bytes } = yield* flood(stream, () => pings, growth)
        assert.isBelow(bytes, 2 * allowedLead[version])
        assert.isBelow(growth.largest, allowedGrowth)
        assert.isBelow(exchange!.transport.bufferedAmount, 3 * 65_536)
        assert.isTrue(exchange!.connection.isConnected)
      }).pipe(Effect.provide(capture().layer)))
  }

  for (const protocol of ["sse", "websocket"] as const) {
    for (const version of versions) {
      const wire: Wire = { protocol, version }
      it.live(`stays bounded under what a client does not read: ${nameOf(wire)}`, () =>
        Effect.gen(function*() {
          const data = "x".repeat(pieceBytes)
          let bytes = 0
          let largestBuffer = 0
          let ended: string | undefined
          const app: App.App<unknown> = (exchange) => {
            if (exchange.type !== "sse" && exchange.type !== "websocket") return Effect.void
            exchange.connection.onDisconnect((reason) => ended = reason)
            const send = exchange.type === "sse"
              ? exchange.send({ type: "sse.send", data })
              : exchange.send({ type: "websocket.send", text: data })
            const more = Effect.suspend(() => {
              bytes += pieceBytes
              largestBuffer = Math.max(largestBuffer, exchange.transport.bufferedAmount)
              return send
            })
            const start = exchange.type === "sse" ? exchange.send({ type: "sse.start" }) : accept(exchange)
            return Effect.andThen(
              start,
              Effect.whileLoop({ while: () => bytes < offered, body: () => more, step: () => {} })
            )
          }
          const { port, server } = yield* serve(app)
          const growth = new Growth()
          const stream = yield* connect(wire, protocol, port)
          let quiet = 0
          let before = 0
          while (quiet++ < quietTurns) {
            yield* Sockets.turn
            if (bytes !== before) quiet = 0
            before = bytes
          }
          growth.look()
          assert.isBelow(bytes, allowedLead[version])
          assert.isBelow(growth.largest, allowedGrowth)
          assert.isBelow(largestBuffer, 65_536 + pieceBytes + 100)
          stream.destroy()
          yield* Sockets.until(() => ended !== undefined)
          assert.strictEqual(ended, "client_closed")
          yield* Effect.repeat(Effect.andThen(Sockets.turn, server.stats), {
            until: ({ exchanges }) => exchanges === 0
          })
        }).pipe(Effect.provide(capture().layer)))
    }
  }
})
