/**
 * Turns an Effect that yields an HttpServerResponse into an App, and an App into such an Effect. The request is
 * effect/http's HttpServerRequest in the handler's context, so HttpRouter, HttpApi and everything else written for
 * effect/http runs inside an App, and an App is mounted inside an HttpRouter.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Scope from "effect/Scope"
import type * as App from "./App.ts"
import * as Failures from "./Failures.ts"
import * as HandledApp from "./internal/HandledApp.ts"
import * as MountedApp from "./internal/MountedApp.ts"
import { ServerRequest } from "./internal/ServerRequest.ts"
import type { SendError } from "./SendError.ts"

/** What `make` takes: an Effect that reads the request from its context and yields the response. */
export type Handler<E = never, R = never> = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  E,
  R | HttpServerRequest.HttpServerRequest | Scope.Scope
>

/**
 * Makes an App of a handler. The handler runs once per request, interruptible, in a Scope that closes when the response
 * was handed over. It answers every exchange with a client: also requests that name `text/event-stream`, and WebSocket
 * handshakes, which it may accept through `request.upgrade`. A lifespan is declined.
 *
 * A failure becomes a response by the rules of `Failures.answer`. When the handler is interrupted nothing is sent and
 * nothing logged; the App ends interrupted, and the server or a timeout around it has the word.
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
  const serve = HandledApp.make(Effect.catchCause(Effect.interruptible(handler), answer))
  return (exchange) => exchange.type === "lifespan" ? Effect.void : serve(exchange)
}

/**
 * Makes an App of a handler by effect/http's own rules, for programs that were written for its HttpServer: the handler is
 * uninterruptible unless it says otherwise (HttpRouter's are interruptible), a failure is answered by
 * `HttpServerError.causeResponse` and not logged, `middleware` wraps handler and answer. `make` is for everything else.
 *
 * **Fails with** `SendError` as `make` does.
 */
export const fromHttpEffect = <E, R>(
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  options?: HandledApp.Options
): App.App<SendError, Exclude<R, HttpServerRequest.HttpServerRequest | Scope.Scope>> => {
  const serve = HandledApp.make(handler, options)
  return (exchange) => exchange.type === "lifespan" ? Effect.void : serve(exchange)
}

/**
 * Makes a handler of an App, to be mounted where effect/http rules: `HttpRouter.add("*", "/admin/*", Handler.toEffect(app))`.
 *
 * The answer to an http exchange becomes the response, so middleware may change it; what router and prefixes took from
 * the path is `rootPath`. A body that was read whole before is given to the App again. The App runs in the request's
 * Scope: it is interrupted with the request, and what it does after its answer is waited for.
 *
 * Other exchanges are the App's own from handshake to end, with the time to read its last event. What it fails with is
 * the server's to answer, as if it stood alone.
 *
 * **Fails with** what the App fails with before it has answered. **Dies** when the request is not one of a Slipway
 * server.
 */
export const toEffect = <E, R>(
  app: App.App<E, R>
): Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  E,
  R | HttpServerRequest.HttpServerRequest | Scope.Scope
> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
    request instanceof ServerRequest
      ? MountedApp.run(app, request)
      : Effect.die(new Error("Handler.toEffect needs a request of a Slipway server")))

/**
 * Ends in the answer as a defect, which is how effect/http takes a response from a failed handler: the finalizers of the
 * request's Scope see a failure. An interruption is not ours to answer: whoever interrupted us (a timeout, the server)
 * decides that. Nor is the failure of a mounted App, whose exchange nobody else can answer.
 */
const answer = <E>(cause: Cause.Cause<E>): Effect.Effect<never, never, HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    const own = request instanceof ServerRequest ? request : undefined
    if (own !== undefined && (own.isGiven || Cause.hasInterruptsOnly(cause))) return leave(own, cause)
    return Effect.interruptible(Effect.flatMap(Failures.answer(cause), Effect.die)).pipe(
      // The answer itself was interrupted: it waited for a page, or for what an error says of itself.
      Effect.catchCause((cause) =>
        own !== undefined && Cause.hasInterruptsOnly(cause) ? leave(own, cause) : Effect.failCause(cause)
      )
    )
  })

/** effect/http makes a response of the cause, which is not sent then: the request ends with the cause as it is. */
const leave = <E>(request: ServerRequest, cause: Cause.Cause<E>): Effect.Effect<never> => {
  request.leaveUnanswered(cause)
  return Effect.failCause(cause as Cause.Cause<never>)
}
