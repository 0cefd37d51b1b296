/**
 * Turns a route into the App that serves its matches: input decoded, handler run, result encoded, failures given to
 * those who asked for them. Built once per route. Finding the route is somebody else's business, and so is middleware.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Stream from "effect/Stream"
import type { App } from "../App.ts"
import type { SseExchange, WebSocketExchange } from "../Exchange.ts"
import * as Failures from "../Failures.ts"
import * as Handler from "../Handler.ts"
import * as SseSession from "../SseSession.ts"
import * as WebSocketSession from "../WebSocketSession.ts"
import * as PlainExchange from "./PlainExchange.ts"
import * as Route from "./Route.ts"
import * as RouteInput from "./RouteInput.ts"
import * as RouteResult from "./RouteResult.ts"
import { ServerRequest } from "./ServerRequest.ts"

type Run = Effect.Effect<any, unknown, any>

/** Makes the App. `label` names the route in messages; `recover` is asked about failures, the first one first. */
export const make = (
  route: Route.Route,
  label: string,
  recover: ReadonlyArray<Route.Recover>
): App<unknown, any> => {
  switch (route.protocol) {
    case "http":
      return http(route, label, recover)
    case "sse":
      return sse(route, label, recover)
    case "websocket":
      return webSocket(route, label, recover)
  }
}

/** What the handler yields, after its input has been decoded. A handler that throws has died. */
const runner = (route: Route.Route): (input: RouteInput.Input) => Run => {
  const { handler } = route
  const decode = RouteInput.decoder(route)
  const run = (input: RouteInput.Input): Run => {
    try {
      return handler(input) as Run
    } catch (error) {
      return Effect.die(error)
    }
  }
  return decode === undefined ? run : (input) => Effect.flatMapEager(decode(input), () => run(input))
}

/** What `recover` makes of a failure; the failure itself where nobody wants it. */
const recovered = (
  cause: Cause.Cause<unknown>,
  input: RouteInput.Input,
  recover: ReadonlyArray<Route.Recover>,
  index = 0
): Effect.Effect<unknown, unknown, any> => {
  const handler = recover[index]
  if (handler === undefined || Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause)
  return Effect.catchCause(
    Effect.suspend(() => handler(cause, input)),
    (next) => recovered(next, input, recover, index + 1)
  )
}

// ---- http

/** Makes an App of a handler that answers where no route does. */
export const fallback = (
  handler: Route.Handler,
  label: string,
  recover: ReadonlyArray<Route.Recover>
): App<unknown, any> =>
  http({ _tag: "Route", protocol: "http", methods: [], path: "", options: {}, handler }, label, recover)

const http = (route: Route.Route, label: string, recover: ReadonlyArray<Route.Recover>): App<unknown, any> => {
  const { errors, status, success } = route.options
  const run = runner(route)
  const encode = success === undefined
    ? RouteResult.coerce(label, status)
    : RouteResult.success(label, RouteResult.withStatus(success, status))
  const encodeError = errors === undefined ? undefined : RouteResult.errors(errors)
  const plain = RouteResult.coerce(label, 500)
  return Handler.make(Effect.withFiber((fiber) => {
    const { context } = fiber
    const input = new RouteInput.Input(requestIn(context))
    const fail = (cause: Cause.Cause<unknown>): Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, any> => {
      if (Route.isPass(cause)) return pass(input)
      return Effect.flatMap(recovered(cause, input, recover), (value) => plain(value, context))
    }
    return Effect.matchCauseEffectEager(run(input), {
      onSuccess: (value) => encode(value, context),
      onFailure: (cause) => {
        const error = encodeError === undefined ? undefined : cause.reasons.find(Cause.isFailReason)
        return error === undefined
          ? fail(cause)
          : Effect.catchEager(encodeError!(error.error, context), () => fail(cause))
      }
    })
  }))
}

const requestIn = (context: Context.Context<never>): ServerRequest =>
  Context.getUnsafe(context, HttpServerRequest.HttpServerRequest) as ServerRequest

/** Who ends interrupted sends nothing; the router sees the mark and goes on. */
const pass = (input: RouteInput.Input): Effect.Effect<never> => {
  RouteInput.matchOf(input.exchange.scope).passed = input.request.received
  return Effect.failCause(Cause.interrupt())
}

// ---- sessions

type SessionExchange = WebSocketExchange | SseExchange

/**
 * Runs a session's handler with the services that a request brings. A failure before the session has been opened is
 * answered as that of an HTTP handler is; a later one is the server's.
 */
const session = <X extends SessionExchange>(
  exchange: X,
  recover: ReadonlyArray<Route.Recover>,
  input: RouteInput.Input,
  run: Run
): Effect.Effect<void, unknown, any> => {
  const served = Effect.catchCause(run, (cause) => {
    if (exchange.connection.responseStarted || Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause)
    if (!Route.isPass(cause)) return decline(exchange, Effect.flatMap(recovered(cause, input, recover), answer))
    return pass(input)
  })
  return Effect.scoped(Effect.provideService(served, HttpServerRequest.HttpServerRequest, input.request))
}

const answer = (value: unknown): Effect.Effect<HttpServerResponse.HttpServerResponse, never, any> =>
  Effect.withFiber((fiber) => RouteResult.coerce("onError", 500)(value, fiber.context))

/** Answers a session that has not been opened, in the way that its protocol and server allow. */
export const decline = (
  exchange: SessionExchange,
  handler: Handler.Handler<unknown, any>
): Effect.Effect<void, unknown, any> => {
  if (exchange.type !== "websocket" || exchange.scope.extensions["websocket.http.response"] !== undefined) {
    return Handler.make(handler)(exchange)
  }
  // The answer cannot be sent; making it logs what has to be logged.
  const answered = Effect.andThen(
    Effect.catchCause(handler, Failures.answer),
    exchange.send({ type: "websocket.close" })
  )
  return Effect.scoped(Effect.provideService(answered, HttpServerRequest.HttpServerRequest, requestOf(exchange)))
}

const requestOf = (exchange: SessionExchange): ServerRequest => new ServerRequest(PlainExchange.make(exchange))

const sse = (route: Route.Route, label: string, recover: ReadonlyArray<Route.Recover>): App<unknown, any> => {
  const { handler, options } = route
  // Router.sse has asked for a Schema without services.
  const codec = SseSession.codec(options as {} as SseSession.Options)
  const run = runner({
    ...route,
    handler: (input) => {
      const result = handler(input)
      return Stream.isStream(result) ? Effect.succeed(result) : result
    }
  })
  return (exchange) => {
    if (exchange.type !== "sse") return Effect.die(new Error(`${label} was given an exchange of ${exchange.type}`))
    const events = SseSession.make(exchange, codec)
    const input = new RouteInput.Input(requestOf(exchange), events)
    const send = (result: unknown): Run =>
      Stream.isStream(result) ? events.each(result as Stream.Stream<string, unknown, any>) : Effect.void
    return session(exchange, recover, input, Effect.flatMap(Effect.suspend(() => run(input)), send))
  }
}

const webSocket = (route: Route.Route, label: string, recover: ReadonlyArray<Route.Recover>): App<unknown, any> => {
  // Router.websocket has asked for Schemas without services.
  const codec = WebSocketSession.codec(route.options as {} as WebSocketSession.Options)
  const run = runner(route)
  return (exchange) => {
    if (exchange.type !== "websocket") {
      return Effect.die(new Error(`${label} was given an exchange of ${exchange.type}`))
    }
    const input = new RouteInput.Input(requestOf(exchange), WebSocketSession.make(exchange, codec))
    return session(exchange, recover, input, Effect.suspend(() => run(input)))
  }
}
