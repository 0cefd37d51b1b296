/**
 * Turns an Effect that yields an HttpServerResponse into an App. The request is effect/http's HttpServerRequest in the
 * handler's context, so HttpRouter, HttpApi and everything else written for effect/http runs on a Slipway server.
 *
 * The life of a request (its Scope, pre-response handlers, tracing) is effect/http's own `HttpEffect.toHandled`. This
 * file owns what lies between that and the exchange: writing responses, failures, interruption.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Cookies from "effect/http/Cookies"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { HttpResponseBody } from "../schema/Event.ts"
import * as App from "./App.ts"
import { ServerRequest } from "./internal/ServerRequest.ts"
import * as WebResponse from "./internal/WebResponse.ts"
import type { SendError } from "./SendError.ts"

/** What `make` takes: an Effect that reads the request from its context and yields the response. */
export type Handler<E = never, R = never> = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  E,
  R | HttpServerRequest.HttpServerRequest | Scope.Scope
>

/**
 * Makes an App of a handler. The handler runs once per HTTP request, interruptible, in a Scope that closes when the
 * response was handed over; other kinds of exchange are declined.
 *
 * A failure becomes a response: what it says itself when it is an `HttpServerRespondable` (or an HttpServerResponse),
 * 400 for a Schema error, else 500. A 500 and above is logged once, with its cause. When the handler is interrupted
 * nothing is sent and nothing logged; the App ends interrupted, and the server or a timeout around it has the word.
 *
 * **Cost** 0.5 µs per request more than `App.respond` (Node 20, constant text response), most of it `toHandled`.
 *
 * **Fails with** `SendError` when the response cannot be sent: a header with forbidden bytes, a body stream that fails.
 *
 * **Example**
 * ```ts
 * const app = Handler.make(Effect.gen(function*() {
 *   const request = yield* HttpServerRequest.HttpServerRequest
 *   return HttpServerResponse.text(`Hello, ${request.url}`)
 * }))
 * ```
 */
export const make = <E, R>(
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
): App.App<SendError, Exclude<R, HttpServerRequest.HttpServerRequest | Scope.Scope>> => {
  // `settle` sees an interruption only where it cannot be interrupted itself; handler and sends are interruptible.
  const handled = Effect.uninterruptible(
    Effect.catchCause(HttpEffect.toHandled(noteInterruption(handler), write), settle)
  )
  return App.http((exchange) =>
    Effect.provideService(handled, HttpServerRequest.HttpServerRequest, new ServerRequest(exchange))
  ) as App.App<SendError, Exclude<R, HttpServerRequest.HttpServerRequest | Scope.Scope>>
}

/** `toHandled` would answer an interruption with 503; whoever interrupted us (a timeout, the server) decides that. */
const noteInterruption = <A, E, R>(handler: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.catchCause(Effect.interruptible(handler), (cause) =>
    Effect.withFiber((fiber) => {
      if (Cause.hasInterruptsOnly(cause)) requestOf(fiber.context).interrupted = true
      return Effect.failCause(cause)
    }))

const requestOf = (context: Context.Context<never>): ServerRequest =>
  Context.getUnsafe(context, HttpServerRequest.HttpServerRequest) as ServerRequest

/**
 * Decides what an unsuccessful run means for the server. `toHandled` fails even when it has answered the failure, and
 * then the answer is a defect in the cause.
 */
const settle = (cause: Cause.Cause<unknown>): Effect.Effect<void, SendError> =>
  Effect.withFiber((fiber) => {
    const request = requestOf(fiber.context)
    if (request.interrupted) return Effect.failCause(only(cause, Cause.isInterruptReason))
    const answer = cause.reasons.find(isAnswer)
    if (answer === undefined) return Effect.failCause(cause as Cause.Cause<SendError>)
    if ((answer.defect as HttpServerResponse.HttpServerResponse).status < 500) return Effect.void
    const { method, path } = request.source.scope
    return Effect.logError(`${method} ${path} failed`, only(cause, (reason) => !isAnswer(reason)))
  })

const isAnswer = (reason: Cause.Reason<unknown>): reason is Cause.Die =>
  Cause.isDieReason(reason) && HttpServerResponse.isHttpServerResponse(reason.defect)

const only = (cause: Cause.Cause<unknown>, keep: (reason: Cause.Reason<unknown>) => boolean): Cause.Cause<never> =>
  Cause.fromReasons(cause.reasons.filter(keep)) as Cause.Cause<never>

const write = (
  request: HttpServerRequest.HttpServerRequest,
  response: HttpServerResponse.HttpServerResponse
): Effect.Effect<void, SendError> => {
  const { interrupted, source: exchange } = request as ServerRequest
  if (interrupted) return Effect.void
  const event = bodyEvent(exchange.scope.method, response)
  if (event === undefined) {
    return Effect.interruptible(WebResponse.send(exchange, HttpServerResponse.toWeb(response)))
  }
  // The eager forms keep an answer that the server takes at once free of further fiber steps.
  const sent = Effect.flatMapEager(
    exchange.send({ type: "http.response.start", status: response.status, headers: headerLines(response) }),
    () => exchange.send(event)
  )
  return Exit.isExit(sent) ? sent : Effect.interruptible(sent)
}

const headerLines = (response: HttpServerResponse.HttpServerResponse): Array<readonly [string, string]> => {
  const lines: Array<readonly [string, string]> = []
  // RFC 9110 section 8.6: no content-length with 204; 205 (section 15.3.6) has no content either.
  const withoutLength = response.status === 204 || response.status === 205
  for (const name in response.headers) {
    if (!withoutLength || name !== "content-length") lines.push([name, response.headers[name]!])
  }
  if (!Cookies.isEmpty(response.cookies)) {
    for (const cookie of Cookies.toSetCookieHeaders(response.cookies)) lines.push(["set-cookie", cookie])
  }
  return lines
}

const emptyBody: HttpResponseBody = { type: "http.response.body" }

/** The one event that carries the body; `undefined` for bodies that only a web Response can serialize. */
const bodyEvent = (method: string, response: HttpServerResponse.HttpServerResponse): HttpResponseBody | undefined => {
  const body = response.body
  if (method === "HEAD" || WebResponse.isBodyless(response.status)) {
    if (body._tag === "Raw") release(body.body)
    return body._tag === "Empty" || body._tag === "Uint8Array" ? emptyBody : WebResponse.unreadBody
  }
  switch (body._tag) {
    case "Empty":
      return emptyBody
    case "Uint8Array":
      return { type: "http.response.body", body: body.text ?? body.body }
    case "Stream":
      return { type: "http.response.body", stream: body.stream }
    case "FormData":
      return undefined
    case "Raw":
      return rawEvent(body.body)
  }
}

const rawEvent = (body: unknown): HttpResponseBody | undefined => {
  if (typeof body === "string" || body instanceof Uint8Array) return { type: "http.response.body", body }
  if (body === null || body === undefined) return emptyBody
  // What Node's HttpPlatform makes of files is a Node stream; web streams iterate as well.
  if (typeof body === "object" && Symbol.asyncIterator in body) {
    const chunks = body as AsyncIterable<Uint8Array>
    return { type: "http.response.body", stream: Stream.fromAsyncIterable(chunks, (cause) => cause) }
  }
  return undefined
}

/** Lets go of a source that will not be read. */
const release = (body: unknown): void => {
  if (typeof body !== "object" || body === null) return
  if ("destroy" in body && typeof body.destroy === "function") body.destroy()
  else if (body instanceof ReadableStream) body.cancel().catch(() => {})
}
