/**
 * What a visitor of a fresh installation sees: an App that answers over HTTP, a WebSocket and server-sent events, and a
 * page that tries each of them. Everything here is the bare contract (scope, receive, send), no router and no framework.
 * `npm start` serves it.
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { App } from "slipway"
import { page, pageHeaders } from "./welcome/page.ts"

const text = ["content-type", "text/plain; charset=utf-8"] as const
const json = ["content-type", "application/json"] as const
const noStore = ["cache-control", "no-store"] as const

/** Over what an exchange came: the scope knows. */
const overWhat = ({ extensions, httpVersion, scheme }: App.ClientExchange["scope"]): string => {
  const version = extensions.tls?.tlsVersion
  const tls = version === 0x0304 ? " (TLS 1.3)" : version === 0x0303 ? " (TLS 1.2)" : ""
  return `HTTP/${httpVersion}${scheme === "https" || scheme === "wss" ? `, encrypted${tls}` : " in clear text"}`
}

/** The parts leave one by one; whoever closes the page interrupts the loop, in the middle of a sleep if need be. */
const stream = Effect.fnUntraced(function*({ send }: App.HttpExchange) {
  yield* send({ type: "http.response.start", status: 200, headers: [text, noStore] })
  for (const word of ["One", " by", " one,", " as", " they", " are", " made", "."]) {
    yield* send({ type: "http.response.body", body: word, more: true })
    yield* Effect.sleep("300 millis")
  }
  yield* send({ type: "http.response.body" })
})

/** Each part of the request goes back as it comes; a slow reader slows the sender down. */
const echo = Effect.fnUntraced(function*({ receive, send }: App.HttpExchange) {
  yield* send({ type: "http.response.start", status: 200, headers: [text, noStore] })
  let more = true
  while (more) {
    const event = yield* receive
    if (event.type === "http.disconnect") return
    more = event.more
    yield* send({ type: "http.response.body", body: event.body, more })
  }
})

/** The scope is data, so JSON shows all of it but what the client sent as a secret. */
const describe = (exchange: App.HttpExchange): string => {
  const headers = exchange.scope.headers.map(([name, value]) =>
    name === "cookie" || name === "authorization" ? [name, "(hidden)"] : [name, value]
  )
  const { state: _, ...scope } = exchange.scope
  return JSON.stringify({ ...scope, headers }, null, 2)
}

const answer = (exchange: App.HttpExchange) => {
  const { scope, send } = exchange
  const isRead = scope.method === "GET" || scope.method === "HEAD"
  const isEcho = scope.path === "/echo"
  const known = ["/", "/plain", "/json", "/stream", "/scope", "/echo", "/feed"].includes(scope.path)
  if (known && (isEcho ? scope.method !== "POST" : !isRead)) {
    return App.respond(send, 405, "Method Not Allowed\n", [text, ["allow", isEcho ? "POST" : "GET, HEAD"]])
  }
  switch (scope.path) {
    case "/":
      return App.respond(send, 200, page(overWhat(scope)), pageHeaders)
    case "/plain":
      return App.respond(send, 200, "Hello from Slipway.\n", [text])
    case "/json":
      return App.respond(send, 200, JSON.stringify({ hello: "world", over: overWhat(scope) }), [json])
    case "/stream":
      return stream(exchange)
    case "/echo":
      return echo(exchange)
    case "/scope":
      return App.respond(send, 200, describe(exchange), [json, noStore])
    case "/feed":
      return App.respond(send, 406, "Ask with accept: text/event-stream\n", [text])
    default:
      return App.respond(send, 404, "Not Found\n", [text])
  }
}

/** Says over what it came, then sends every message back as it is. */
const talk = Effect.fnUntraced(function*({ receive, scope, send }: App.WebSocketExchange) {
  yield* send({ type: "websocket.accept" })
  yield* send({ type: "websocket.send", text: `This WebSocket came over ${overWhat(scope)}.` })
  for (;;) {
    const event = yield* receive
    if (event.type === "websocket.disconnect") return
    if (event.type === "websocket.receive") yield* send({ ...event, type: "websocket.send" })
  }
})

/** One event a second, from where the client's last one left off, until the client has gone. */
const feed = Effect.fnUntraced(function*({ connection, scope, send }: App.SseExchange) {
  const lastId = scope.headers.find(([name]) => name === "last-event-id")?.[1] ?? ""
  let count = /^\d{1,9}$/.test(lastId) ? Number(lastId) : 0
  yield* send({ type: "sse.start" })
  yield* send({ type: "sse.keepalive", interval: 15 })
  yield* send({ type: "sse.send", event: "over", data: overWhat(scope), retry: 2000 })
  const tick = Effect.flatMap(
    DateTime.now,
    (now) => send({ type: "sse.send", id: String(++count), data: DateTime.formatIso(now) })
  )
  yield* Effect.raceFirst(Effect.forever(Effect.andThen(tick, Effect.sleep("1 second"))), connection.disconnected)
})

export default App.byType({
  http: answer,
  websocket: (exchange) => exchange.scope.path === "/echo" ? talk(exchange) : App.decline(exchange),
  sse: (exchange) =>
    exchange.scope.path === "/feed" && exchange.scope.method === "GET" ? feed(exchange) : App.decline(exchange)
})
