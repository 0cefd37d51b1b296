/**
 * What a visitor of a fresh installation sees: an App that answers in five ways, and a page that tries each of them.
 * Everything here is the bare contract (scope, receive, send), no router and no framework. `npm start` serves it.
 */
import * as Effect from "effect/Effect"
import { App } from "slipway"
import { page, pageHeaders } from "./welcome/page.ts"

const text = ["content-type", "text/plain; charset=utf-8"] as const
const json = ["content-type", "application/json"] as const
const noStore = ["cache-control", "no-store"] as const

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
  const known = ["/", "/plain", "/json", "/stream", "/scope", "/echo"].includes(scope.path)
  if (known && (isEcho ? scope.method !== "POST" : !isRead)) {
    return App.respond(send, 405, "Method Not Allowed\n", [text, ["allow", isEcho ? "POST" : "GET, HEAD"]])
  }
  switch (scope.path) {
    case "/":
      return Effect.flatMap(pageHeaders, (headers) => App.respond(send, 200, page, headers))
    case "/plain":
      return App.respond(send, 200, "Hello from Slipway.\n", [text])
    case "/json":
      return App.respond(send, 200, JSON.stringify({ hello: "world", over: `HTTP/${scope.httpVersion}` }), [json])
    case "/stream":
      return stream(exchange)
    case "/echo":
      return echo(exchange)
    case "/scope":
      return App.respond(send, 200, describe(exchange), [json, noStore])
    default:
      return App.respond(send, 404, "Not Found\n", [text])
  }
}

export default App.http(answer)
