/**
 * Runs a Node `(req, res)` handler (an Express app, a Koa callback, a Connect stack) as an App. Bodies stream both ways,
 * each as fast as its reader. Owns the way between a connection in memory and an exchange; the answer goes through
 * `exchange.send` like any other, so logs, limits, HTTP/2 and the server's shutdown work.
 *
 * Never gives a handler the client's socket.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Http from "node:http"
import * as App from "../src/app/App.ts"
import type { SendError } from "../src/app/SendError.ts"
import type { Headers } from "../src/schema/Scope.ts"
import { Connection, type HandlerFailure, type Listener, makeServer } from "./internal/NodeHandlerConnection.ts"
import type { RequestExchange } from "./internal/NodeHandlerSocket.ts"

export type { Listener }

/**
 * Makes an App of a Node handler. It takes HTTP requests, those that ask for an event stream included; other kinds of
 * exchange are declined.
 *
 * Mounted below a prefix, `req.url` is relative to it, `req.baseUrl` is the prefix and `req.originalUrl` the whole
 * target. When the client leaves or the exchange is interrupted, the handler sees its connection close: `close` on
 * `req` and `res`, `req.aborted`, a destroyed `req.socket`. An event stream ends when the server shuts down.
 *
 * A handler that throws or rejects is logged and answered with 500, and cut off where its answer has begun. Methods that
 * Node's parser does not know get 501, a head that Node refuses 400. `res.statusMessage` reaches nobody; trailers need a
 * `Trailer` header; early hints need the server's extension and are left out without it.
 *
 * **Fails with** `SendError` when the server refuses the answer.
 * **Cost** see docs/node-handlers.md: 50 to 100 µs of CPU per request, besides what the handler itself needs.
 *
 * **Example**
 * ```ts
 * const app = NodeHandler.make(express().get("/", (req, res) => res.json({ hello: "world" })))
 * ```
 */
export const make = (listener: Listener): App.App<SendError> => {
  const server = makeServer(listener)
  return (exchange) =>
    exchange.type === "http" || exchange.type === "sse"
      ? Effect.withFiber((fiber) => serve(server, exchange, fiber.context))
      : App.decline(exchange)
}

const methods: ReadonlySet<string> = new Set(Http.METHODS.filter((method) => method !== "CONNECT"))

const serve = (
  server: Http.Server,
  exchange: RequestExchange,
  context: Context.Context<never>
): Effect.Effect<void, SendError> => {
  const { method } = exchange.scope
  if (!methods.has(method)) return respond(exchange, 501, "Not Implemented")
  let connection: Connection
  try {
    connection = new Connection(server, exchange, context)
  } catch {
    return respond(exchange, 400, "Bad Request")
  }
  exchange.connection.onDisconnect(() => connection.abort())

  const answered = Effect.catchTag(answer(exchange, connection), "HandlerFailure", ({ cause }: HandlerFailure) => {
    connection.abort()
    return Effect.die(cause)
  })
  const both = connection.hasBody
    ? Effect.raceFirst(answered, Effect.andThen(passBody(exchange, connection), Effect.never))
    : answered
  return Effect.onExit(
    both,
    (exit) => Effect.sync(() => exit._tag === "Failure" ? connection.abort() : connection.finish())
  )
}

/** Hands the request body to the handler, a part at a time. */
const passBody = Effect.fnUntraced(function*(exchange: RequestExchange, connection: Connection) {
  for (;;) {
    const event = yield* exchange.receive
    if (event.type === "http.disconnect" || event.type === "sse.disconnect") return
    if (event.body.length > 0) yield* connection.write(event.body)
    if (!event.more) return connection.endBody("trailers" in event ? event.trailers : undefined)
  }
})

/** Sends what the handler answers, until it ends or nobody wants it. */
const answer = Effect.fnUntraced(function*(exchange: RequestExchange, connection: Connection) {
  let said = yield* connection.next
  while (said._tag === "EarlyHints") {
    const isOffered = exchange.type === "http" && "http.response.early_hint" in exchange.scope.extensions
    if (isOffered) yield* exchange.send({ type: "http.response.early_hint", links: said.links })
    said = yield* connection.next
  }
  if (said._tag !== "Head") return
  const { response } = said
  const hasTrailers = response.headers.trailer !== undefined && exchange.type === "http"
  yield* start(exchange, response.statusCode!, headersOf(response.rawHeaders), hasTrailers)
  const body = sendAnswerBody(exchange, connection, response)
  const isEventStream = /^text\/event-stream\b/i.test(response.headers["content-type"] ?? "")
  // An event stream has no end of its own, and its client comes back.
  yield* isEventStream ? Effect.raceFirst(body, exchange.connection.shuttingDown) : body
  if (!exchange.connection.isConnected) return
  yield* part(exchange, "", false)
  if (hasTrailers) yield* exchange.send({ type: "http.response.trailers", headers: headersOf(response.rawTrailers) })
})

/** Sends the parts of the body as they come, and leaves its end to the caller unless the length has told it. */
const sendAnswerBody = Effect.fnUntraced(function*(
  exchange: RequestExchange,
  connection: Connection,
  response: Http.IncomingMessage
) {
  const length = Number(response.headers["content-length"] ?? Infinity)
  let sentBytes = 0
  // What a handler writes in one go arrives within a turn of the event loop; a head alone must not wait for more.
  if (connection.isQuiet) yield* Effect.yieldNow
  if (connection.isQuiet || exchange.scope.method === "HEAD" || response.statusCode === 304) {
    yield* part(exchange, "", true)
  }
  for (;;) {
    const said = yield* connection.next
    if (said._tag !== "Data") return
    sentBytes += said.bytes.length
    yield* part(exchange, said.bytes, sentBytes !== length)
    if (sentBytes === length) return
  }
})

const headersOf = (raw: ReadonlyArray<string>): Headers => {
  const headers: Array<readonly [string, string]> = []
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at]!.toLowerCase()
    const value = raw[at + 1]!
    // The rest is about the connection in memory.
    if (name === "connection" ? value === "close" : name !== "keep-alive" && name !== "transfer-encoding") {
      headers.push([name, value])
    }
  }
  return headers
}

const start = (exchange: RequestExchange, status: number, headers: Headers, trailers: boolean) =>
  exchange.type === "http"
    ? exchange.send({ type: "http.response.start", status, headers, ...(trailers ? { trailers } : {}) })
    : exchange.send({ type: "sse.http.response.start", status, headers })

const part = (exchange: RequestExchange, body: string | Uint8Array, more: boolean) =>
  exchange.type === "http"
    ? exchange.send({ type: "http.response.body", body, more })
    : exchange.send({ type: "sse.http.response.body", body, more })

const respond = (exchange: RequestExchange, status: number, text: string): Effect.Effect<void, SendError> =>
  Effect.andThen(
    start(exchange, status, [["content-type", "text/plain; charset=utf-8"]], false),
    part(exchange, text, false)
  )
