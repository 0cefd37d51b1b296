import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as ServerNode from "../../layers/ServerNode.ts"
import * as App from "../../src/app/App.ts"
import type { WebSocketReceive } from "../../src/schema/Event.ts"
import type { ServerOptions } from "../../src/schema/Settings.ts"
import { Browser, inBrowser } from "../utils/browser.ts"

const html = App.http(({ send }) => App.respond(send, 200, "<title>Test</title>", [["content-type", "text/html"]]))

/** Sends every message back. A text `close` closes with 4001, and the end is kept in `told`. */
const echo = (told: Deferred.Deferred<WebSocketReceive>, subprotocol?: string) =>
  App.websocket(({ receive, send }) =>
    Effect.gen(function*() {
      yield* receive
      yield* send({ type: "websocket.accept", ...(subprotocol === undefined ? {} : { subprotocol }) })
      for (;;) {
        const event = yield* receive
        if (event.type === "websocket.disconnect") return yield* Deferred.succeed(told, event)
        if (event.type !== "websocket.receive") continue
        if (event.text === "close") yield* send({ type: "websocket.close", code: 4001, reason: "größe" })
        else if (event.text === undefined) yield* send({ type: "websocket.send", bytes: event.bytes! })
        else yield* send({ type: "websocket.send", text: event.text })
      }
    })
  )

/** Serves `app` and an empty page, and opens the page. */
const openPage = Effect.fnUntraced(function*(app: App.App<unknown>, options: ServerOptions = {}) {
  const server = yield* ServerNode.make({ ...options, port: 0 })
  yield* server.serve((exchange) => exchange.type === "websocket" ? app(exchange) : html(exchange))
  const [address] = yield* server.addresses
  if (address?._tag !== "tcp") throw new Error("The server has no port")
  const { open } = yield* Browser
  return yield* open(`http://127.0.0.1:${address.port}/`)
})

/** Runs in the page: sends `messages`, each when the one before has come back, and then does what `end` says. */
const talk = (
  { end, messages }: { readonly end: "ask" | "close"; readonly messages: ReadonlyArray<string | Array<number>> }
) =>
  new Promise<{
    readonly echoes: Array<unknown>
    readonly extensions: string
    readonly protocol: string
    readonly closed: Array<unknown>
  }>((resolve) => {
    const socket = new WebSocket(`ws://${location.host}/`, ["other", "chat"])
    socket.binaryType = "arraybuffer"
    const echoes: Array<unknown> = []
    const next = () => {
      const message = messages[echoes.length]
      if (message !== undefined) socket.send(typeof message === "string" ? message : new Uint8Array(message))
      else if (end === "ask") socket.send("close")
      else socket.close(3000, "bye größe")
    }
    socket.onopen = next
    socket.onmessage = ({ data }) => {
      echoes.push(typeof data === "string" ? data : Array.from(new Uint8Array(data)))
      next()
    }
    socket.onclose = ({ code, reason, wasClean }) =>
      resolve({ echoes, extensions: socket.extensions, protocol: socket.protocol, closed: [code, reason, wasClean] })
  })

const messages = ["plain", "größe \u{1f600}", "", [0, 1, 255], [], "x".repeat(100_000)]

inBrowser("WebSocket", (it) => {
  it.effect("gets back its texts and bytes, and the server's close code [C65] [C69]", () =>
    Effect.gen(function*() {
      const told = yield* Deferred.make<WebSocketReceive>()
      const page = yield* openPage(echo(told, "chat"))
      const seen = yield* page.run(talk, { end: "ask" as const, messages })
      assert.deepStrictEqual(seen, {
        echoes: messages,
        extensions: "",
        protocol: "chat",
        closed: [4001, "größe", true]
      })
      assert.deepInclude(yield* Deferred.await(told), { type: "websocket.disconnect", code: 4001 })
    }))

  it.effect("tells the server its own close code and reason [C69]", () =>
    Effect.gen(function*() {
      const told = yield* Deferred.make<WebSocketReceive>()
      const page = yield* openPage(echo(told, "other"))
      const seen = yield* page.run(talk, { end: "close" as const, messages: ["x"] })
      assert.deepInclude(seen, { echoes: ["x"], protocol: "other" })
      assert.deepStrictEqual([seen.closed[0], seen.closed[2]], [3000, true])
      const disconnect = { type: "websocket.disconnect", code: 3000, reason: "bye größe" } as const
      assert.deepStrictEqual(yield* Deferred.await(told), disconnect)
    }))

  it.effect("compresses what it sends and gets where wsCompression is on [C80]", () =>
    Effect.gen(function*() {
      for (const wsCompressionContext of [false, true]) {
        const told = yield* Deferred.make<WebSocketReceive>()
        const page = yield* openPage(echo(told, "chat"), {
          wsCompression: true,
          wsCompressionContext,
          wsCompressionThreshold: 0
        })
        const seen = yield* page.run(talk, { end: "ask" as const, messages })
        assert.match(seen.extensions, /^permessage-deflate/)
        assert.deepStrictEqual(seen.echoes, messages)
        assert.deepStrictEqual(seen.closed, [4001, "größe", true])
      }
    }))

  it.effect("that is refused hears of an abnormal closure [C63]", () =>
    Effect.gen(function*() {
      const page = yield* openPage(App.websocket(({ send }) => send({ type: "websocket.close" })))
      const seen = yield* page.run(talk, { end: "ask" as const, messages: [] })
      assert.deepStrictEqual(seen.closed, [1006, "", false])
    }))
})
