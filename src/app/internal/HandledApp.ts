/**
 * Runs an effect that yields an HttpServerResponse for the request of an exchange. The life of the request (its Scope,
 * pre-response handlers, tracing) is effect/http's own `HttpEffect.toHandled`; this file owns what lies between that and
 * the exchange: the request's service, the answer, and what a failure means once it has been answered.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as HttpEffect from "effect/http/HttpEffect"
import type { HttpMiddleware } from "effect/http/HttpMiddleware"
import { ClientAbort } from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Scope from "effect/Scope"
import { isOfServer } from "../../schema/DisconnectReason.ts"
import type { ClientExchange } from "../Exchange.ts"
import type { SendError } from "../SendError.ts"
import * as ResponseWriter from "./ResponseWriter.ts"
import { ServerRequest } from "./ServerRequest.ts"

/** What every request brings. */
type RequestServices = HttpServerRequest.HttpServerRequest | Scope.Scope

export interface Options {
  /** Wraps the handler and its answer, as `HttpServer.serve` has it. */
  readonly middleware?: HttpMiddleware | undefined
  /** What the handler runs with. Default: the context of the exchange's fiber. */
  readonly context?: Context.Context<never>
}

/**
 * Makes what handles an exchange out of `handler`, which runs uninterruptibly unless it says otherwise. Failures are
 * answered by effect's rules (`HttpServerError.causeResponse`) and, once answered, are over; what the request notes as
 * unanswered is failed with. The fiber's context keeps the request afterwards: whoever goes on restores it.
 */
export const make = <E, R>(
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  options: Options = {}
): (exchange: ClientExchange) => Effect.Effect<void, SendError, Exclude<R, RequestServices>> => {
  const { context, middleware } = options
  // `settle` sees an interruption only where it cannot be interrupted itself.
  const handled = Effect.uninterruptible(Effect.catchCause(HttpEffect.toHandled(handler, write, middleware), settle))
  return (exchange) =>
    Effect.withFiber((fiber) => {
      const request = new ServerRequest(exchange)
      if (exchange.type !== "http") interruptWith(request, fiber)
      fiber.setContext(Context.add(context ?? fiber.context, HttpServerRequest.HttpServerRequest, request))
      return handled as Effect.Effect<void, SendError, never>
    })
}

/**
 * Sessions leave an application time to read its last event. A handler that answers with a response reads no events: it
 * ends with its client, as for any other request. An App that is mounted in it reads them.
 */
const interruptWith = (request: ServerRequest, fiber: Fiber.Fiber<unknown, unknown>): void =>
  request.exchange.connection.onDisconnect((reason) => {
    if (request.isGiven) return
    fiber.interruptUnsafe(fiber.id, isOfServer(reason) ? undefined : ClientAbort.annotation)
  })

/** What middleware is told when the handler has upgraded the request. */
const upgraded = HttpServerResponse.empty({ status: 101 })

const write = (
  request: HttpServerRequest.HttpServerRequest,
  response: HttpServerResponse.HttpServerResponse
): Effect.Effect<unknown, SendError> => {
  const { isGiven, isUpgraded, source, unanswered } = request as ServerRequest
  if (isUpgraded) return Effect.succeed(upgraded)
  if (unanswered !== undefined) return Effect.failCause(unanswered)
  if (isGiven) return Effect.void
  return ResponseWriter.send(source, response)
}

/**
 * Decides what an unsuccessful run means for the server. `toHandled` fails even when it has answered the failure, and
 * then the answer is a defect in the cause. The failure of a mounted App was answered by nobody.
 */
const settle = (cause: Cause.Cause<unknown>): Effect.Effect<void, SendError> =>
  Effect.withFiber((fiber) => {
    const request = Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest) as ServerRequest
    const isAnswered = cause.reasons.some(isAnswer)
    const rest = isAnswered && !request.isGiven
      ? cause.reasons.filter(Cause.isInterruptReason)
      : cause.reasons.filter((reason) => !isAnswer(reason))
    return isAnswered && rest.length === 0
      ? Effect.void
      : Effect.failCause(Cause.fromReasons(rest) as Cause.Cause<SendError>)
  })

const isAnswer = (reason: Cause.Reason<unknown>): boolean =>
  Cause.isDieReason(reason) && HttpServerResponse.isHttpServerResponse(reason.defect)
