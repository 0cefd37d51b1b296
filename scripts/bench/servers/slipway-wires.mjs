/** Slipway's side of the WebSocket, SSE and HTTP/2 scenarios, written straight on the contract. */
import * as Effect from "effect/Effect"
import { App } from "slipway"
import { hello, large, tick } from "./common.mjs"
import { serve } from "./slipway-serve.mjs"

const text = [["content-type", "text/plain"]]
const bytes = [["content-type", "application/octet-stream"]]

/** Sends one event to everyone, the same object each time. */
const toAll = (sends, event) => Effect.forEach(sends, (send) => send(event), { discard: true })

const echo = Effect.fnUntraced(function*({ receive, send }) {
  yield* receive
  yield* send({ type: "websocket.accept" })
  for (let event = yield* receive; event.type === "websocket.receive"; event = yield* receive) {
    yield* send(
      event.text === undefined
        ? { type: "websocket.send", bytes: event.bytes }
        : { type: "websocket.send", text: event.text }
    )
  }
})

const sockets = new Set()
const message = { type: "websocket.send", text: tick }

const fanout = Effect.fnUntraced(
  function*({ receive, send }) {
    yield* receive
    yield* send({ type: "websocket.accept" })
    sockets.add(send)
    while ((yield* receive).type === "websocket.receive") yield* toAll(sockets, message)
  },
  (session, { send }) => Effect.ensuring(session, Effect.sync(() => sockets.delete(send)))
)

const streams = new Set()
const event = { type: "sse.send", data: tick }

const events = Effect.fnUntraced(
  function*({ receive, send }) {
    yield* send({ type: "sse.start" })
    streams.add(send)
    while ((yield* receive).type !== "sse.disconnect");
  },
  (session, { send }) => Effect.ensuring(session, Effect.sync(() => streams.delete(send)))
)

const app = App.byType({
  http: ({ scope, send }) => {
    const { path } = scope
    if (path === "/") return App.respond(send, 200, hello, text)
    if (path === "/large") return App.respond(send, 200, large, bytes)
    if (path === "/broadcast") return Effect.andThen(toAll(streams, event), App.respond(send, 200))
    return App.respond(send, 404)
  },
  websocket: (exchange) => exchange.scope.path === "/echo" ? echo(exchange) : fanout(exchange),
  sse: events
})

serve(app, [])
