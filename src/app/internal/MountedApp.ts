/**
 * Runs an App for a request of effect/http. Owns the App's fiber, which lives in the request's Scope.
 */
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
  if (exchange.type === "http") return respond(app, new RequestExchange(exchange, scope))
  const { path, rootPath } = scope
  request.silence()
  return Effect.as(app(derive(exchange, { scope: { ...exchange.scope, path, rootPath } } as never)), elsewhere)
}

/** Uninterruptible until the App's fiber is tied to the scope; the wait for its response is not. */
const respond = <E, R>(app: App<E, R>, exchange: RequestExchange) =>
  Effect.uninterruptibleMask(Effect.fnUntraced(function*(restore) {
    const scope = yield* Effect.scope
    const context = yield* Effect.context<R>()
    const fiber = Effect.runForkWith(context)(app(exchange))
    // Once its whole answer is out the App may go on; what nobody will read any more it need not make.
    yield* Scope.addFinalizerExit(scope, (exit) =>
      Effect.andThen(
        exchange.stopReading,
        Exit.isSuccess(exit) && exchange.isComplete ? Effect.asVoid(Fiber.await(fiber)) : Fiber.interrupt(fiber)
      ))
    fiber.addObserver((exit) => exchange.ended(exit))
    return yield* restore(
      Deferred.await(exchange.response as Deferred.Deferred<HttpServerResponse.HttpServerResponse, E>)
    )
  }))
