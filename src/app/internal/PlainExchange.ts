/**
 * An exchange as a plain HTTP exchange: what a handler that knows only requests and responses is given for a request
 * whose client asked for an event stream, or for a WebSocket. Its answer is then the one that declines in the
 * exchange's own protocol: a whole response, with any status, headers and body.
 *
 * Scopes are copied, handles are shared. An HTTP exchange is returned as it is.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { HttpReceive, HttpResponseBody, HttpSend } from "../../schema/Event.ts"
import type { HttpScope } from "../../schema/Scope.ts"
import type { ClientExchange, HttpExchange, SseExchange, WebSocketExchange } from "../Exchange.ts"
import { SendError } from "../SendError.ts"

/** The exchange as an HTTP exchange. */
export const make = (exchange: ClientExchange): HttpExchange => {
  switch (exchange.type) {
    case "http":
      return exchange
    case "sse":
      return new Plain(exchange, { ...exchange.scope, type: "http" }, exchange.receive.pipe(Effect.map(fromSse)))
    case "websocket":
      return new Plain(exchange, handshakeScope(exchange.scope), handshakeReceive(exchange))
  }
}

/** A handshake is a GET (RFC 6455 section 4.1) without a body. */
const handshakeScope = (scope: WebSocketExchange["scope"]): HttpScope => ({
  ...scope,
  type: "http",
  method: "GET",
  scheme: scope.scheme === "wss" ? "https" : "http"
})

const fromSse = (event: Effect.Success<SseExchange["receive"]>): HttpReceive =>
  event.type === "sse.request" ? { ...event, type: "http.request" } : { type: "http.disconnect" }

const noBody: HttpReceive = { type: "http.request", body: new Uint8Array(0), more: false }

const handshakeReceive = (exchange: WebSocketExchange): Effect.Effect<HttpReceive> => {
  let bodyRead = false
  return Effect.suspend((): Effect.Effect<HttpReceive> => {
    if (bodyRead) return Effect.as(exchange.connection.disconnected, { type: "http.disconnect" as const })
    bodyRead = true
    return Effect.succeed(noBody)
  })
}

class Plain implements HttpExchange {
  readonly type = "http"
  readonly scope: HttpScope
  readonly receive: Effect.Effect<HttpReceive>
  readonly source: SseExchange | WebSocketExchange

  constructor(source: SseExchange | WebSocketExchange, scope: HttpScope, receive: Effect.Effect<HttpReceive>) {
    this.source = source
    this.scope = scope
    this.receive = receive
  }

  get connection() {
    return this.source.connection
  }

  get transport() {
    return this.source.transport
  }

  readonly send = (event: HttpSend): Effect.Effect<void, SendError> => {
    switch (event?.type) {
      case "http.response.start": {
        const { headers = [], status } = event
        return this.forward({
          type: `${this.source.type}.http.response.start`,
          status: this.declining(status),
          headers
        })
      }
      case "http.response.body":
        return this.sendBody(event)
      default:
        // The protocol answers for events that it does not have.
        return this.forward(event)
    }
  }

  /**
   * The status that says no. RFC 8441 section 5: on HTTP/2 any 2xx would accept the WebSocket, for which whoever gives
   * such an answer was not made.
   */
  private declining(status: number): number {
    const accepts = this.source.type === "websocket" && this.scope.httpVersion === "2" && status >= 200 && status < 300
    return accepts ? 403 : status
  }

  private sendBody(event: HttpResponseBody): Effect.Effect<void, SendError> {
    const { body = "", file, more = false, stream } = event
    if (file !== undefined) return this.fail("file", "only the answer to an http exchange can be a file")
    if (stream === undefined) return this.forwardPart(body, more)
    if (event.offset !== undefined || event.length !== undefined) {
      return this.fail("offset", "only the answer to an http exchange can be a part of a stream")
    }
    const cannotRead = (cause: unknown) => this.error({ _tag: "BodySourceFailed", source: "stream", cause })
    const sent = Stream.runForEach(Stream.mapError(stream, cannotRead), (part) => this.forwardPart(part, true))
    const whole = Effect.andThen(sent, this.forwardPart("", false))
    // To HEAD nothing of it is sent, and its length stays unknown as it is with GET.
    return this.scope.method === "HEAD" ? Effect.andThen(this.forwardPart("", true), whole) : whole
  }

  private forwardPart(body: string | Uint8Array, more: boolean): Effect.Effect<void, SendError> {
    return this.forward({ type: `${this.source.type}.http.response.body`, body, more })
  }

  private forward(event: { readonly type: string; readonly [field: string]: unknown }): Effect.Effect<void, SendError> {
    return (this.source.send as (event: unknown) => Effect.Effect<void, SendError>)(event)
  }

  private fail(field: string, problem: string): Effect.Effect<never, SendError> {
    return Effect.fail(this.error({ _tag: "InvalidField", event: "http.response.body", field, problem }))
  }

  private error(reason: SendError["reason"]): SendError {
    return new SendError({ protocol: this.source.type, reason })
  }
}
