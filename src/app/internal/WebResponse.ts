/**
 * Sends a web-standard Response as the events of an exchange. The body is pulled as the client takes it, and cancelled
 * when nobody will read it to its end. Header lines stay as they are; each `set-cookie` is a line of its own.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { HttpResponseBody } from "../../schema/Event.ts"
import type { HttpExchange } from "../Exchange.ts"
import type { SendError } from "../SendError.ts"

/** Statuses whose answers have no body (RFC 9110 sections 15.3.5, 15.3.6, 15.4.5). */
export const isBodyless = (status: number): boolean => status === 204 || status === 205 || status === 304

/** In place of a streamed body that must not be sent: its length stays unknown to the server, as it is with GET. */
export const unreadBody: HttpResponseBody = { type: "http.response.body", stream: Stream.empty }

export const send = (exchange: HttpExchange, response: Response): Effect.Effect<void, SendError> => {
  const body = response.body
  const isUnread = exchange.scope.method === "HEAD" || isBodyless(response.status)
  const sent = Effect.flatMap(
    exchange.send({ type: "http.response.start", status: response.status, headers: [...response.headers] }),
    () =>
      exchange.send(
        body === null
          ? { type: "http.response.body" }
          : isUnread
          ? unreadBody
          : {
            type: "http.response.body",
            stream: Stream.fromReadableStream({ evaluate: () => body, onError: (cause) => cause })
          }
      )
  )
  return body === null ? sent : Effect.ensuring(sent, Effect.sync(() => abandon(body)))
}

/** Cancels a body that no reader holds. A body that was read to its end is not changed by it. */
const abandon = (body: ReadableStream<Uint8Array>): void => {
  if (!body.locked) body.cancel().catch(() => {})
}
