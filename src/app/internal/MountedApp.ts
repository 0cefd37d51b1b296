/**
 * Runs an App for a request of effect/http. Owns the App's fiber, which lives in the request's Scope.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Scope from "effect/Scope"
import { type App, derive } from "../App.ts"
import { RequestExchange } from "./RequestExchange.ts"
import type { ServerRequest } from "./ServerRequest.ts"
import * as Target from "./Target.ts"

/** What effect/http is told of an exchange that its own middleware has no part in. */
const elsewhere = HttpServerResponse.empty({ status: 200 })

export const run = <E, R>(
  app: App<E, R>,
  request: ServerRequest
): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | Scope.Scope> => {
  const { exchange } = request
  const scope = Target.remount(request.source.scope, request.url)
  if (exchange.type === "http") return respond(app, new RequestExchange(exchange, scope, request.received))
  const { path, rootPath } = scope
  request.give()
  const session = Effect.suspend(() => app(derive(exchange, { scope: { ...exchange.scope, path, rootPath } } as never)))
  return Effect.as(keepingContext(session), elsewhere)
}

/** An App that is a handler leaves its own request in the fiber's context. */
const keepingContext = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const { context } = fiber
    return Effect.onExit(self, () => Effect.sync(() => fiber.setContext(context)))
  })

/** Uninterruptible until the App's fiber is tied to the scope; the wait for its response never is. */
const respond = Effect.fnUntraced(function*<E, R>(app: App<E, R>, exchange: RequestExchange) {
  const scope = yield* Effect.scope
  const context = yield* Effect.context<R>()
  const fiber = Effect.runForkWith(context)(Effect.suspend(() => app(exchange)))
  // Once its whole answer is out the App may go on; what nobody will read any more it need not make.
  yield* Scope.addFinalizerExit(scope, (exit) =>
    Effect.andThen(
      exchange.stopReading,
      Exit.isSuccess(exit) && exchange.isComplete ? finish(exchange, fiber) : Fiber.interrupt(fiber)
    ))
  fiber.addObserver((exit) => exchange.ended(exit))
  return yield* Effect.interruptible(
    Deferred.await(exchange.response as Deferred.Deferred<HttpServerResponse.HttpServerResponse, E>)
  )
}, Effect.uninterruptible)

/** Waits for the App to end, until the request is interrupted: the App with it, then. */
const finish = (exchange: RequestExchange, fiber: Fiber.Fiber<void, unknown>): Effect.Effect<void> =>
  Effect.flatMap(Effect.exit(Effect.interruptible(Fiber.await(fiber))), (waited) => {
    if (Exit.isFailure(waited)) return Fiber.interrupt(fiber)
    const exit = waited.value
    return Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)
      ? Effect.void
      : Effect.logError(
        `The application failed after it had answered (${exchange.connection.requestId})`,
        exit.cause
      )
  })
