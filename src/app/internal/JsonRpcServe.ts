/**
 * The serving end, one function for each kind of exchange: POST over HTTP, one POST answered with a stream of events, a
 * session over WebSocket. Owns what a JSON-RPC message looks like in each; never looks into one.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as App from "../App.ts"
import type { HttpExchange, SseExchange, WebSocketExchange } from "../Exchange.ts"
import type { SendError } from "../SendError.ts"
import type { Dispatch } from "./JsonRpcDispatch.ts"
import * as Message from "./JsonRpcMessage.ts"
import * as Session from "./JsonRpcSession.ts"
import * as PlainExchange from "./PlainExchange.ts"
import { ServerRequest } from "./ServerRequest.ts"

type Served<R> = Effect.Effect<void, SendError, R>

/** Answers one POST: 200 with the answer, 204 where there is none. */
export const http = <R>(dispatch: Dispatch<R>, limits: Session.Limits) => (exchange: HttpExchange): Served<R> =>
  posted(exchange, limits, (message) => {
    const answer = Effect.scopedWith((scope) => dispatch(message, Session.mute(exchange, scope)))
    return Effect.flatMap(answer, (text) =>
      text === undefined
        ? App.respond(exchange.send, 204)
        : App.respond(exchange.send, 200, text, [["content-type", "application/json"]]))
  })

/** Answers one POST with a stream: progress and notifications as they come, the answer as the last event. */
export const sse = <R>(dispatch: Dispatch<R>, limits: Session.Limits) => (exchange: SseExchange): Served<R> => {
  const plain = PlainExchange.make(exchange)
  const event = (text: string) => exchange.send({ type: "sse.send", data: text })
  return posted(plain, limits, (message) => {
    const isAnswered = message.items.some((item) => item._tag !== "Request" || item.id !== undefined)
    const tell = isAnswered ? (text: string) => Effect.ignore(event(text)) : undefined
    const answer = Effect.scopedWith((scope) => dispatch(message, Session.mute(exchange, scope, tell)))
    return isAnswered
      ? Effect.andThen(
        exchange.send({ type: "sse.start" }),
        Effect.flatMap(answer, (text) => text === undefined ? Effect.void : event(text))
      )
      : Effect.andThen(answer, App.respond(plain.send, 204))
  })
}

/** Accepts, and lets both sides call until the client has gone; what still runs then is interrupted. */
export const websocket =
  <R>(dispatch: Dispatch<R>, limits: Session.Limits) => (exchange: WebSocketExchange): Served<R> =>
    Effect.scoped(Effect.gen(function*() {
      const { connection, receive, send } = exchange
      const gone = Deferred.makeUnsafe<void>()
      const leave = () => Deferred.doneUnsafe(gone, Exit.void)
      connection.onDisconnect(leave)
      connection.onComplete(leave)
      const session = yield* Session.make({
        dispatch,
        limits,
        exchange,
        gone: Deferred.await(gone),
        write: (text) =>
          Effect.mapError(
            send({ type: "websocket.send", text }),
            (cause) => ({ reason: "Disconnected" as const, cause })
          )
      })
      yield* send({ type: "websocket.accept" })
      for (;;) {
        const event = yield* receive
        if (event.type === "websocket.disconnect") return
        if (event.type === "websocket.receive") yield* session.receive(event.text ?? event.bytes!)
      }
    }))

// ---- one message in a request

/**
 * The media types of JSON-RPC over HTTP. A page of another site cannot send one of them without asking first (CORS), a
 * form cannot send one at all. Parameters are ignored: JSON is UTF-8 (RFC 8259 section 8.1).
 */
const mediaType = /^application\/json(?:-rpc|request)?[ \t]*(?:;|$)/i

/** Reads the message of a POST; anything else is refused, and a client that leaves before its end gets nothing. */
const posted = <R>(
  exchange: HttpExchange,
  limits: Session.Limits,
  answer: (message: Message.Message) => Served<R>
): Served<R> => {
  const { headers, method } = exchange.scope
  if (method !== "POST") return App.respond(exchange.send, 405, "", [["allow", "POST"]])
  const types = headers.filter(([name]) => name === "content-type")
  if (types.length !== 1 || !mediaType.test(types[0]![1])) return App.respond(exchange.send, 415)
  return Effect.matchEffect(new ServerRequest(exchange).arrayBuffer, {
    onSuccess: (body) => answer(Message.parse(new Uint8Array(body), limits)),
    // Too large where MaxBodySize says so; where the client has gone, or the server has refused, sending does nothing.
    onFailure: () => App.respond(exchange.send, 413)
  })
}
