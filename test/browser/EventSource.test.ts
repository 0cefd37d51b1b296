import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as ServerNode from "../../layers/ServerNode.ts"
import * as App from "../../src/app/App.ts"
import type { SseSend } from "../../src/schema/Event.ts"
import { Browser, inBrowser } from "../utils/browser.ts"
import { capture } from "../utils/logs.ts"

const html = App.http(({ send }) => App.respond(send, 200, "<title>Test</title>", [["content-type", "text/html"]]))

/** Serves streams and an empty page, and opens the page. */
const openPage = Effect.fnUntraced(function*(stream: (exchange: App.SseExchange) => Effect.Effect<void, unknown>) {
  const server = yield* ServerNode.make({ port: 0 })
  const app: App.App<unknown> = (exchange) => exchange.type === "sse" ? stream(exchange) : html(exchange)
  yield* Effect.provide(server.serve(app), capture().layer)
  const [address] = yield* server.addresses
  if (address?._tag !== "tcp") throw new Error("The server has no port")
  const { open } = yield* Browser
  return yield* open(`http://127.0.0.1:${address.port}/`)
})

const header = (exchange: App.SseExchange, name: string) =>
  exchange.scope.headers.find((header) => header[0] === name)?.[1]

const start: SseSend = { type: "sse.start" }

inBrowser("EventSource", (it) => {
  it.effect("gets each event with its name, its id and its data of several lines [C86] [C87]", () =>
    Effect.gen(function*() {
      const events: ReadonlyArray<SseSend> = [
        { type: "sse.send", data: "plain" },
        { type: "sse.send", data: "a\nb\r\nc\rd", id: "№ 1" },
        { type: "sse.comment", comment: "no event\ndata: nor this" },
        { type: "sse.send", data: " größe \u{1f600} ", event: "näws" },
        { type: "sse.send", data: "", event: "näws", id: "" },
        { type: "sse.send", data: "", event: "end" }
      ]
      const page = yield* openPage(({ send }) => Effect.forEach([start, ...events], send, { discard: true }))
      const seen = yield* page.run(
        () =>
          new Promise<Array<unknown>>((resolve) => {
            const seen: Array<unknown> = []
            const source = new EventSource("/events")
            const note = ({ data, lastEventId, type }: MessageEvent) => seen.push([type, data, lastEventId])
            source.onopen = () => seen.push("open")
            source.onmessage = note
            source.addEventListener("näws", note)
            source.addEventListener("end", () => {
              source.close()
              resolve(seen)
            })
          }),
        undefined
      )
      assert.deepStrictEqual(seen, [
        "open",
        ["message", "plain", ""],
        ["message", "a\nb\nc\nd", "№ 1"],
        ["näws", " größe \u{1f600} ", "№ 1"],
        ["näws", "", ""]
      ])
    }))

  it.effect("comes back with the last id, however its stream has ended, until it is declined with 204 [C96]", () =>
    Effect.gen(function*() {
      const ids: Array<string | undefined> = []
      const seenLast = yield* Deferred.make<void>()
      const ends: ReadonlyArray<(send: App.SseExchange["send"]) => Effect.Effect<void, unknown>> = [
        () => Effect.void,
        (send) => send({ type: "sse.close" }),
        () => Effect.andThen(Deferred.await(seenLast), Effect.interrupt)
      ]
      let others = 0
      const page = yield* openPage((exchange) =>
        Effect.gen(function*() {
          const { scope, send } = exchange
          if (scope.path === "/seen") {
            yield* Deferred.succeed(seenLast, undefined)
            return yield* send({ type: "sse.start", status: 204 })
          }
          if (scope.path === "/other") {
            others++
            yield* send(start)
            return yield* send({ type: "sse.send", data: `${others}`, retry: 10 })
          }
          const end = ends[ids.push(header(exchange, "last-event-id")) - 1]
          if (end === undefined) {
            yield* send({ type: "sse.http.response.start", status: 204 })
            return yield* send({ type: "sse.http.response.body" })
          }
          yield* send(start)
          yield* send({ type: "sse.send", data: "x", id: `${ids.length}`, retry: 10 })
          yield* end(send)
        })
      )
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
              seen.push(source.readyState === EventSource.CONNECTING ? "connecting" : "closed")
              if (source.readyState !== EventSource.CLOSED) return
              // A source that goes on comes back often enough to know that this one does not.
              const other = new EventSource("/other")
              other.onmessage = ({ data }) => {
                if (Number(data) < 5) return
                other.close()
                resolve([...seen, source.readyState])
              }
            }
          }),
        undefined
      )
      assert.deepStrictEqual(seen, ["1", "connecting", "2", "connecting", "3", "connecting", "closed", 2])
      assert.deepStrictEqual(ids, [undefined, "1", "2", "3"])
    }))

  it.effect("is closed for good by any other decline", () =>
    Effect.gen(function*() {
      const page = yield* openPage(App.decline)
      const states = yield* page.run(
        () =>
          new Promise<Array<number>>((resolve) => {
            const source = new EventSource("/events")
            const before = source.readyState
            source.onerror = () => resolve([before, source.readyState])
          }),
        undefined
      )
      assert.deepStrictEqual(states, [0, 2])
    }))

  it.effect("that is closed is a client that has left [C94]", () =>
    Effect.gen(function*() {
      const told = yield* Deferred.make<unknown>()
      const page = yield* openPage(({ receive, send }) =>
        Effect.gen(function*() {
          yield* send(start)
          yield* send({ type: "sse.send", data: "x" })
          yield* receive
          yield* Deferred.succeed(told, yield* receive)
        })
      )
      yield* page.run(
        () =>
          new Promise<void>((resolve) => {
            const source = new EventSource("/events")
            source.onmessage = () => {
              source.close()
              resolve()
            }
          }),
        undefined
      )
      assert.deepStrictEqual(yield* Deferred.await(told), { type: "sse.disconnect", reason: "client_closed" })
    }))
})

inBrowser("fetch of events", (it) => {
  it.effect("posts a body and reads events until the end [C82] [C83]", () =>
    Effect.gen(function*() {
      const page = yield* openPage(({ receive, scope, send }) =>
        Effect.gen(function*() {
          yield* send(start)
          const event = yield* receive
          const body = event.type === "sse.request" ? Buffer.from(event.body).toString() : ""
          yield* send({ type: "sse.send", data: `${scope.method} ${body}` })
        })
      )
      const seen = yield* page.run(async (body) => {
        const response = await fetch("/events", { method: "POST", body, headers: { accept: "text/event-stream" } })
        return [response.status, response.headers.get("content-type"), await response.text()]
      }, "größe")
      assert.deepStrictEqual(seen, [200, "text/event-stream", "data: POST größe\n\n"])
    }))

  it.effect("fails where the application has failed, and does not take what it got for all", () =>
    Effect.gen(function*() {
      const read = yield* Deferred.make<void>()
      const page = yield* openPage(({ scope, send }) =>
        scope.path === "/read"
          ? Effect.andThen(Deferred.succeed(read, undefined), send({ type: "sse.start", status: 204 }))
          : Effect.andThen(
            send(start),
            Effect.andThen(
              send({ type: "sse.send", data: "x" }),
              Effect.andThen(Deferred.await(read), Effect.interrupt)
            )
          )
      )
      const seen = yield* page.run(async () => {
        const headers = { accept: "text/event-stream" }
        const response = await fetch("/events", { headers })
        const reader = response.body!.getReader()
        const first = new TextDecoder().decode((await reader.read()).value)
        await fetch("/read", { headers })
        const last = await reader.read().then(() => "more", () => "failed")
        return [first, last]
      }, undefined)
      assert.deepStrictEqual(seen, ["data: x\n\n", "failed"])
    }))
})
