/**
 * Applications and how they compose. An App is one function from an exchange to an Effect; middleware is a function
 * from App to App. There is no other concept: routers, handlers and adapters all end in an App.
 */
import * as Effect from "effect/Effect"
import type { HttpResponseBody, HttpSend } from "../schema/Event.ts"
import type { Headers } from "../schema/Scope.ts"
import type { SwitchesProtocols } from "./ByteTunnel.ts"
import type { Exchange, HttpExchange, LifespanExchange, SseExchange, WebSocketExchange } from "./Exchange.ts"
import type { SendError } from "./SendError.ts"

export type * from "./Exchange.ts"

/**
 * Handles one exchange. When its Effect ends, the exchange is over: what was not answered by then is answered by the
 * server with 500. The value it yields is ignored. Services it needs stand in `R` and are provided as Layers.
 */
export type App<E = never, R = never> = (exchange: Exchange) => Effect.Effect<void, E, R>

/**
 * Wraps an App. Adds to a scope by passing a changed copy on, never by changing the one it was given; watches and
 * rewrites events by wrapping `send` and `receive`; lets errors and interruption through.
 */
export type Middleware<E2 = never, R2 = never> = <E, R>(app: App<E, R>) => App<E | E2, R | R2>

/** Composes middleware into one; the first is the outermost and sees the request first. */
export const compose = (...middleware: ReadonlyArray<Middleware>): Middleware => (app) =>
  middleware.reduceRight((inner, wrap) => wrap(inner), app)

/**
 * Says that an application does not speak the exchange's protocol, in that protocol's own way: 404 on http, a close
 * before the handshake on websocket (HTTP 403), a declined stream with 404 on sse. A lifespan is declined by returning.
 */
export const decline = (exchange: Exchange): Effect.Effect<void, SendError> => {
  switch (exchange.type) {
    case "http":
      return respond(exchange.send, 404, "Not Found")
    case "websocket":
      return exchange.send({ type: "websocket.close" })
    case "sse":
      return Effect.andThen(
        exchange.send({ type: "sse.http.response.start", status: 404, headers: plainText }),
        exchange.send({ type: "sse.http.response.body", body: "Not Found" })
      )
    case "lifespan":
      return Effect.void
  }
}

/** An App for HTTP requests. Other kinds of exchange are declined. */
export const http =
  <E, R>(handler: (exchange: HttpExchange) => Effect.Effect<void, E, R>): App<E | SendError, R> => (exchange) =>
    exchange.type === "http" ? handler(exchange) : decline(exchange)

/** An App for WebSocket sessions. Other kinds of exchange are declined. */
export const websocket = <E, R>(
  handler: (exchange: WebSocketExchange) => Effect.Effect<void, E, R>
): App<E | SendError, R> =>
(exchange) => exchange.type === "websocket" ? handler(exchange) : decline(exchange)

/** An App for server-sent events. Other kinds of exchange are declined. */
export const sse =
  <E, R>(handler: (exchange: SseExchange) => Effect.Effect<void, E, R>): App<E | SendError, R> => (exchange) =>
    exchange.type === "sse" ? handler(exchange) : decline(exchange)

/** Chooses an App by the kind of exchange; a kind without one is declined. */
export const byType = <E = never, R = never>(handlers: {
  readonly http?: (exchange: HttpExchange) => Effect.Effect<void, E, R>
  readonly websocket?: (exchange: WebSocketExchange) => Effect.Effect<void, E, R>
  readonly sse?: (exchange: SseExchange) => Effect.Effect<void, E, R>
  readonly lifespan?: (exchange: LifespanExchange) => Effect.Effect<void, E, R>
}): App<E | SendError, R> =>
(exchange) => {
  const handler = handlers[exchange.type] as ((exchange: Exchange) => Effect.Effect<void, E, R>) | undefined
  return handler === undefined ? decline(exchange) : handler(exchange)
}

/**
 * An exchange like `outer` with some members replaced; the live handles stay the same objects. This is how middleware
 * adds to a scope or watches events without changing what the layers around it see.
 */
export const derive = <X extends Exchange>(
  outer: X,
  changes: { readonly [K in "scope" | "receive" | "send"]?: X[K] }
): X => {
  const isImmediate = changes.send === undefined && "handle" in outer
  return new (isImmediate ? ImmediateDerived : Derived)(outer as never, changes as never) as unknown as X
}

class Derived {
  readonly outer: HttpExchange
  readonly type: string
  readonly scope: unknown
  readonly send: unknown
  readonly replacedReceive: unknown
  constructor(
    outer: HttpExchange,
    changes: { readonly scope?: unknown; readonly receive?: unknown; readonly send?: unknown }
  ) {
    this.outer = outer
    this.type = outer.type
    this.scope = changes.scope ?? outer.scope
    this.send = changes.send ?? outer.send
    this.replacedReceive = changes.receive
  }
  get receive() {
    return this.replacedReceive ?? this.outer.receive
  }
  get connection() {
    return this.outer.connection
  }
  get transport() {
    return this.outer.transport
  }
  get switchProtocols(): SwitchesProtocols["switchProtocols"] | undefined {
    const outer = this.outer as HttpExchange & Partial<SwitchesProtocols>
    return outer.switchProtocols === undefined
      ? undefined
      : (protocol, headers) => outer.switchProtocols!(protocol, headers)
  }
}

/** A server's exchange takes an event by a call as well (internal/ResponseWriter.ts); so does a copy with its `send`. */
class ImmediateDerived extends Derived {
  handle(event: HttpSend): Effect.Effect<void, SendError> {
    return (this.outer as unknown as ImmediateDerived).handle(event)
  }
}

/**
 * Serves `mounted` below `prefix` and everything else with the wrapped App. The mounted App sees `path` without the
 * prefix and `rootPath` with it, so `rootPath + path` is always the whole path; `rawPath` stays as it came.
 *
 * A prefix starts with `/` and does not end with one; it matches whole segments: `/api` matches `/api` and `/api/x`,
 * not `/apix`. The lifespan goes to the wrapped App.
 */
export const mount = <E1, R1>(prefix: string, mounted: App<E1, R1>): Middleware<E1, R1> => (app) => (exchange) => {
  if (exchange.type === "lifespan") return app(exchange)
  const { path, rootPath } = exchange.scope
  if (!path.startsWith(prefix) || (path.length > prefix.length && path[prefix.length] !== "/")) return app(exchange)
  const scope = { ...exchange.scope, path: path.slice(prefix.length) || "/", rootPath: rootPath + prefix }
  return mounted(derive(exchange, { scope } as never))
}

const plainText: Headers = [["content-type", "text/plain; charset=utf-8"]]

/**
 * Answers an HTTP request in one go. A text body is sent as `text/plain; charset=utf-8` unless `headers` are given.
 *
 * **Example**
 * ```ts
 * const app = App.http(({ scope, send }) => App.respond(send, 200, `Hello, ${scope.path}`))
 * ```
 */
export const respond = (
  send: (event: HttpSend) => Effect.Effect<void, SendError>,
  status: number,
  body: NonNullable<HttpResponseBody["body"]> = "",
  headers?: Headers
): Effect.Effect<void, SendError> =>
  Effect.flatMap(
    send({
      type: "http.response.start",
      status,
      headers: headers ?? (typeof body === "string" && body !== "" ? plainText : noHeaders)
    }),
    () => send({ type: "http.response.body", body })
  )

const noHeaders: Headers = []
