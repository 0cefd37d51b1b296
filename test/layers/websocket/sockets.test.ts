import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import WebSocket from "ws"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import * as Lint from "../../../src/middleware/Lint.ts"
import type { Address } from "../../../src/service/Server.ts"
import { capture } from "../../utils/logs.ts"
import { connect, turn, until } from "../../utils/sockets.ts"
import * as Ws from "../../utils/webSocket.ts"

/** Serves on a port of the system's choice. */
const serving = Effect.fnUntraced(
  function*<E>(
    handler: (exchange: App.WebSocketExchange) => Effect.Effect<void, E>,
    options: Partial<ServerNode.Options> = {}
  ) {
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer((exit) => Scope.close(scope, exit))
    const server = yield* ServerNode.make(Object.assign({ port: 0 }, options))
    yield* Scope.provide(server.serve(Lint.make()(App.websocket(handler))), scope)
    const address = (yield* server.addresses)[0] as Address & { readonly _tag: "tcp" }
    return { server, address, url: `ws://127.0.0.1:${address.port}`, stop: Scope.close(scope, Exit.void) }
  },
  Effect.provide(capture().layer)
)

/** The `ws` client, connected, and what it has received. */
const client = (url: string, protocols: ReadonlyArray<string> = [], options: WebSocket.ClientOptions = {}) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<WebSocket>((resume) => {
        const socket = new WebSocket(url, [...protocols], { perMessageDeflate: false, ...options })
        socket.once("open", () => resume(Effect.succeed(socket)))
        socket.once("error", (error) => resume(Effect.die(error)))
      }),
      (socket) => Effect.sync(() => socket.terminate())
    ),
    (socket) => {
      const messages: Array<Buffer | string> = []
      const closes: Array<readonly [number, string]> = []
      socket.on("message", (data: Buffer, isBinary) => messages.push(isBinary ? data : data.toString()))
      socket.on("close", (code, reason) => closes.push([code, reason.toString()]))
      socket.on("error", (error) => closes.push([-1, error.message]))
      return { socket, messages, closes }
    }
  )

describe("WebSocket over sockets", () => {
  for (
    const [title, perMessageDeflate, options] of [
      ["without compression", false, {}],
      ["with compression", { threshold: 0 }, { wsCompression: true, wsCompressionThreshold: 0 }],
      ["with compression and context", { threshold: 0 }, { wsCompression: true, wsCompressionContext: true }],
      ["with small windows", { threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 9 }, {
        wsCompression: true,
        wsCompressionContext: true
      }]
    ] as const
  ) {
    it.live(`echoes to the ws client ${title} [C80] [W116]`, () =>
      Effect.gen(function*() {
        const { url } = yield* serving(Ws.echo, { wsMaxMessageBytes: 20_000_000, ...options })
        const { closes, messages, socket } = yield* client(url, [], { perMessageDeflate, maxPayload: 20_000_000 })
        assert.strictEqual(socket.extensions !== "", perMessageDeflate !== false)
        const noise = Ws.noise(500_000)
        const sent = ["hello", "", "grüße", "x".repeat(70_000), noise.subarray(0, 1000), noise, Buffer.alloc(0)]
        for (let round = 0; round < 3; round++) for (const message of sent) socket.send(message)
        socket.send("frag", { fin: false })
        socket.send("mented")
        yield* until(() => messages.length === 3 * sent.length + 1)
        for (let n = 0; n < 3 * sent.length; n++) {
          const [found, expected] = [messages[n]!, sent[n % sent.length]!]
          assert.strictEqual(typeof found, typeof expected, `${n}`)
          assert.isTrue(Buffer.from(found).equals(Buffer.from(expected)), `${n}`)
        }
        assert.strictEqual(messages.at(-1), "fragmented")
        socket.close(4000, "bye")
        yield* until(() => closes.length > 0)
        assert.deepStrictEqual(closes, [[4000, ""]])
      }))
  }

  it.live("answers pings, chooses a subprotocol, and closes with code and reason [C74] [C76]", () =>
    Effect.gen(function*() {
      const { url } = yield* serving((exchange) =>
        Effect.gen(function*() {
          yield* exchange.receive
          yield* exchange.send({ type: "websocket.accept", subprotocol: "v2" })
          yield* exchange.receive
          yield* exchange.send({ type: "websocket.close", code: 4001, reason: "enough" })
          yield* Ws.ended(exchange)
        })
      )
      const { closes, socket } = yield* client(url, ["v1", "v2"])
      assert.strictEqual(socket.protocol, "v2")
      const pongs: Array<string> = []
      socket.on("pong", (data) => pongs.push(data.toString()))
      socket.ping("are you there")
      yield* until(() => pongs.length === 1)
      assert.deepStrictEqual(pongs, ["are you there"])
      socket.send("go")
      yield* until(() => closes.length > 0)
      assert.deepStrictEqual(closes, [[4001, "enough"]])
    }))

  it.live("tells 1006 when the process at the other end is gone [C70]", () =>
    Effect.gen(function*() {
      const { app, ends, events } = Ws.recording()
      const { server, url } = yield* serving(app)
      const { socket } = yield* client(url)
      socket.send("hello")
      yield* until(() => events.length === 1)
      socket.terminate()
      yield* until(() => events.length === 2)
      assert.deepStrictEqual(events[1], { type: "websocket.disconnect", code: 1006, reason: "client_closed" })
      assert.deepStrictEqual(ends, ["disconnect client_closed"])
      yield* Effect.repeat(Effect.andThen(turn, server.stats), { until: ({ connections }) => connections === 0 })
    }))

  it.live("stops with 1001 and without waiting for clients that answer [C75]", () =>
    Effect.gen(function*() {
      const { stop, url } = yield* serving(Ws.echo)
      const clients = yield* Effect.forEach(Array.from({ length: 5 }), () => client(url))
      yield* stop
      yield* until(() => clients.every(({ closes }) => closes.length > 0))
      for (const { closes } of clients) assert.deepStrictEqual(closes, [[1001, ""]])
    }))

  it.live("carries a hundred sessions at once", () =>
    Effect.gen(function*() {
      const { url } = yield* serving(Ws.echo)
      const clients = yield* Effect.forEach(Array.from({ length: 100 }), () => client(url), { concurrency: 20 })
      for (let round = 0; round < 20; round++) {
        for (const [n, { socket }] of clients.entries()) socket.send(`${n} ${round}`)
      }
      yield* until(() => clients.every(({ messages }) => messages.length === 20))
      for (const [n, { messages }] of clients.entries()) {
        assert.deepStrictEqual(messages, Array.from({ length: 20 }, (_, round) => `${n} ${round}`))
      }
    }))

  it.live("stops reading from a client whose messages nobody takes", () =>
    Effect.gen(function*() {
      const exchanges: Array<App.WebSocketExchange> = []
      const { address, server } = yield* serving((exchange) => {
        exchanges.push(exchange)
        return Effect.andThen(exchange.send({ type: "websocket.accept" }), Ws.ended(exchange))
      })
      const raw = yield* connect(address)
      yield* raw.send(Ws.handshake())
      yield* raw.until(/\r\n\r\n/)
      const before = (yield* server.stats).totalExchanges
      assert.strictEqual(before, 1)
      const message = Ws.binary(Buffer.alloc(100_000))
      for (let n = 0; n < 500; n++) raw.socket.write(message)
      // What the kernel takes it takes at once; then nothing moves any more.
      let unsent = -1
      yield* Effect.repeat(
        Effect.map(Effect.repeat(turn, { times: 50 }), () => {
          const still = unsent === raw.socket.writableLength
          unsent = raw.socket.writableLength
          return still
        }),
        { until: (still) => still }
      )
      assert.isAbove(unsent, 30_000_000)
      yield* exchanges[0]!.receive
      for (let n = 0; n < 500; n++) assert.strictEqual(lengthOf(yield* exchanges[0]!.receive), 100_000)
      yield* until(() => raw.socket.writableLength === 0)
    }))
})

const lengthOf = (event: object): number => "bytes" in event ? (event.bytes as Uint8Array).length : -1
