import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as ServerNode from "../../layers/ServerNode.ts"
import * as App from "../../src/app/App.ts"
import type { SseSend } from "../../src/schema/Event.ts"
import { Browser, inBrowser } from "../utils/browser.ts"
import { certificates } from "../utils/certificates.ts"
import { capture } from "../utils/logs.ts"

const html = App.http(({ send }) => App.respond(send, 200, "<title>Test</title>", [["content-type", "text/html"]]))

/** Serves `app` and an empty page over TLS, and opens the page. */
const openPage = Effect.fnUntraced(function*(app: App.App<unknown>) {
  const { server: issued } = yield* Effect.promise(certificates)
  const server = yield* ServerNode.make({
    port: 0,
    disconnectGrace: 0,
    tlsCert: issued.certFile,
    tlsKey: issued.keyFile
  })
  const served: App.App<unknown> = (exchange) =>
    exchange.type !== "lifespan" && exchange.scope.path === "/" ? html(exchange) : app(exchange)
  yield* Effect.provide(server.serve(served), capture().layer)
  const [address] = yield* server.addresses
  if (address?._tag !== "tcp") throw new Error("The server has no port")
  const { open } = yield* Browser
  return { page: yield* open(`https://127.0.0.1:${address.port}/`), server }
})

const start: SseSend = { type: "sse.start" }

inBrowser("HTTP/2 in the browser", (it) => {
  it.effect("carries pages and requests", () =>
    Effect.gen(function*() {
      const app = App.http(({ receive, scope, send }) =>
        Effect.flatMap(receive, (event) =>
          App.respond(
            send,
            200,
            `${scope.httpVersion} ${scope.method} ${event.type === "http.request" ? Buffer.from(event.body) : ""}`
          ))
      )
      const { page } = yield* openPage(app)
      const seen = yield* page.run(async () => {
        const protocolOf = (type: string, path: string) =>
          new Promise<string>((resolve) => {
            // An entry may come some time after the end of its answer.
            new PerformanceObserver((list) => {
              const entry = list.getEntries().find(({ name }) => name.endsWith(path))
              if (entry !== undefined) resolve((entry as PerformanceResourceTiming).nextHopProtocol)
            }).observe({ type, buffered: true })
          })
        const response = await fetch("/echo", { method: "POST", body: "größe" })
        return [await response.text(), await protocolOf("navigation", "/"), await protocolOf("resource", "/echo")]
      }, undefined)
      assert.deepStrictEqual(seen, ["2 POST größe", "h2", "h2"])
    }))

  it.effect("fails a fetch where the application has failed", () =>
    Effect.gen(function*() {
      const read = yield* Deferred.make<void>()
      const app = App.http(({ scope, send }) =>
        scope.path === "/read"
          ? Effect.andThen(Deferred.succeed(read, undefined), App.respond(send, 204))
          : Effect.andThen(
            send({ type: "http.response.start", status: 200 }),
            Effect.andThen(
              send({ type: "http.response.body", body: "x", more: true }),
              Effect.andThen(Deferred.await(read), Effect.interrupt)
            )
          )
      )
      const { page } = yield* openPage(app)
      const seen = yield* page.run(async () => {
        const reader = (await fetch("/half")).body!.getReader()
        const first = new TextDecoder().decode((await reader.read()).value)
        await fetch("/read")
        return [first, await reader.read().then(() => "more", () => "failed")]
      }, undefined)
      assert.deepStrictEqual(seen, ["x", "failed"])
    }))

  it.effect("carries more streams of events than HTTP/1 has connections, on one", () =>
    Effect.gen(function*() {
      const open: Array<App.SseExchange> = []
      const app = App.sse((exchange) =>
        Effect.gen(function*() {
          yield* exchange.send(start)
          open.push(exchange)
          if (open.length < 20) return yield* Effect.never
          for (const [index, { send }] of open.entries()) yield* send({ type: "sse.send", data: `größe ${index}` })
          yield* Effect.never
        })
      )
      const { page, server } = yield* openPage(app)
      const seen = yield* page.run(
        () =>
          Promise.all(Array.from({ length: 20 }, (_, index) =>
            new Promise<string>((resolve) => {
              const source = new EventSource(`/events/${index}`)
              source.onmessage = ({ data }) => resolve(data)
            }))),
        undefined
      )
      assert.deepStrictEqual(seen.sort(), Array.from({ length: 20 }, (_, index) => `größe ${index}`).sort())
      for (const { scope } of open) assert.strictEqual(scope.httpVersion, "2")
      assert.strictEqual((yield* server.stats).connections, 1)
    }))

  it.effect("brings an event source back after every end of its stream, until it is declined with 204 [C96]", () =>
    Effect.gen(function*() {
      const ids: Array<string | undefined> = []
      const seenLast = yield* Deferred.make<void>()
      const ends: ReadonlyArray<(send: App.SseExchange["send"]) => Effect.Effect<void, unknown>> = [
        () => Effect.void,
        (send) => send({ type: "sse.close" }),
        () => Effect.andThen(Deferred.await(seenLast), Effect.interrupt)
      ]
      const app = App.sse(({ scope, send }) =>
        Effect.gen(function*() {
          if (scope.path === "/seen") {
            yield* Deferred.succeed(seenLast, undefined)
            return yield* send({ type: "sse.start", status: 204 })
          }
          const id = scope.headers.find(([name]) => name === "last-event-id")?.[1]
          const end = ends[ids.push(id) - 1]
          if (end === undefined) {
            yield* send({ type: "sse.http.response.start", status: 204 })
            return yield* send({ type: "sse.http.response.body" })
          }
          yield* send(start)
          yield* send({ type: "sse.send", data: "x", id: `${ids.length}`, retry: 10 })
          yield* end(send)
        })
      )
      const { page } = yield* openPage(app)
      const seen = yield* page.run(
        () =>
          new Promise<Array<unknown>>((resolve) => {
            const seen: Array<unknown> = []
            const source = new EventSource("/events")
            source.onmessage = ({ lastEventId }) => {
              seen.push(lastEventId)
              // What is cut off may take with it what was not read before.
              if (lastEventId === "3") void fetch("/seen", { headers: { accept: "text/event-stream" } })
            }
            source.onerror = () => {
              if (source.readyState === EventSource.CLOSED) resolve([...seen, "closed"])
            }
          }),
        undefined
      )
      assert.deepStrictEqual(seen, ["1", "2", "3", "closed"])
      assert.deepStrictEqual(ids, [undefined, "1", "2", "3"])
    }))

  it.effect("carries WebSockets (RFC 8441) [C81]", () =>
    Effect.gen(function*() {
      const app = App.websocket(({ receive, scope, send }) =>
        Effect.gen(function*() {
          yield* receive
          yield* send({ type: "websocket.accept" })
          yield* send({ type: "websocket.send", text: scope.httpVersion })
          const event = yield* receive
          if (event.type === "websocket.receive") yield* send({ type: "websocket.send", bytes: event.bytes! })
          yield* send({ type: "websocket.close", code: 4002, reason: "größe" })
        })
      )
      const { page, server } = yield* openPage(app)
      const seen = yield* page.run(
        () =>
          new Promise<Array<unknown>>((resolve) => {
            const seen: Array<unknown> = []
            const socket = new WebSocket(`wss://${location.host}/echo`)
            socket.binaryType = "arraybuffer"
            socket.onopen = () => socket.send(new Uint8Array(100_000).fill(7))
            socket.onmessage = ({ data }) => seen.push(typeof data === "string" ? data : new Uint8Array(data)[99_999])
            socket.onclose = ({ code, reason, wasClean }) => resolve([...seen, code, reason, wasClean])
          }),
        undefined
      )
      assert.deepStrictEqual(seen, ["2", 7, 4002, "größe", true])
      assert.strictEqual((yield* server.stats).connections, 1)
    }))
})
