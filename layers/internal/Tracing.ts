/**
 * Trace context (W3C traceparent, b3) and one span for each exchange when a tracer is installed. Without one nothing is
 * wrapped and nothing is parsed, so it costs nothing.
 *
 * Attribute names are OpenTelemetry's HTTP semantic conventions.
 */
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Headers from "effect/http/Headers"
import * as HttpTraceContext from "effect/http/HttpTraceContext"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { ClientExchange } from "./ClientExchange.ts"
import { isKnownMethod } from "./ServerMetrics.ts"

type HeaderList = ReadonlyArray<readonly [name: string, value: string]>

/** True when spans would go somewhere: the default tracer keeps them nowhere. */
export const isTracing = (context: Context.Context<never>): boolean =>
  Context.get(context, Tracer.Tracer) !== Context.get(Context.empty(), Tracer.Tracer)

/** Looks at the names first: for a JSON access log this is asked for every request, and most have none of them. */
const remoteParent = (headers: HeaderList): Tracer.ExternalSpan | undefined => {
  for (const line of headers) {
    const name = line[0]
    if (name === "traceparent" || name === "b3" || name === "x-b3-traceid") {
      return Option.getOrUndefined(HttpTraceContext.fromHeaders(Headers.fromInput(headers)))
    }
  }
  return undefined
}

/** Runs an exchange in a span that continues the client's trace, or begins one. */
export const inSpan = (
  exchange: ClientExchange,
  effect: Effect.Effect<void, unknown>
): Effect.Effect<void, unknown> => {
  const { scope } = exchange
  const parent = remoteParent(scope.headers)
  const { method } = exchange
  const isKnown = isKnownMethod(method)
  return Effect.useSpan(`http.server ${isKnown ? method : "_OTHER"}`, {
    kind: "server",
    ...(parent === undefined ? { root: true } : { parent }),
    attributes: {
      "http.request.method": isKnown ? method : "_OTHER",
      ...(isKnown ? {} : { "http.request.method_original": method }),
      "url.path": scope.path,
      "url.scheme": scope.scheme,
      "network.protocol.version": scope.httpVersion,
      ...(scope.client === undefined ? {} : { "client.address": scope.client[0] }),
      "slipway.request_id": exchange.requestId
    }
  }, (span) => {
    exchange.span = span
    return Effect.onExit(
      Effect.withParentSpan(effect, span, { captureStackTrace: false }),
      (exit) => Effect.clockWith((clock) => Effect.sync(() => finish(exchange, span, exit, clock)))
    )
  })
}

/** An answer of 500 and above is an error of ours whoever gave it; a span is one only when it ends with a failure. */
const finish = (
  exchange: ClientExchange,
  span: Tracer.Span,
  exit: Exit.Exit<void, unknown>,
  clock: Clock.Clock
): void => {
  // An application that ends before it has answered is answered for: with 500.
  const status = exchange.ended || exchange.isCommitted ? exchange.status : 500
  if (status !== 0) span.attribute("http.response.status_code", status)
  if (exchange.disconnectReason !== undefined) span.attribute("error.type", exchange.disconnectReason)
  else if (status >= 500) span.attribute("error.type", `${status}`)
  if (status >= 500 && Exit.isSuccess(exit)) {
    span.end(clock.currentTimeNanosUnsafe(), Exit.fail(`answered with ${status}`))
  }
}

/** The trace that an exchange belongs to: its span's, or the one the client named. */
export const traceId = (exchange: ClientExchange): string | undefined =>
  exchange.span?.traceId ?? remoteParent(exchange.scope.headers)?.traceId
