/**
 * Services that live as long as one exchange: a transaction, a logger that knows the request, what a session holds.
 *
 * Services of the whole program are Layers around the server, which builds them before its first accept; what is made
 * anew at each use is a function in one of those.
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { App } from "../app/App.ts"
import type { ClientExchange } from "../app/Exchange.ts"

/**
 * Builds `layer` for every exchange with a client, before the App sees it, and releases it when the exchange ends:
 * answered, failed or interrupted. Give a function where the services depend on the exchange.
 *
 * The whole Layer is built anew each time, with all that was provided to it. What lives longer, such as a pool of
 * connections, must be left in its requirements.
 *
 * **Fails with** the failure of the Layer, before the App has run; the server answers it with 500. The lifespan passes
 * through without the services.
 * **Cost** 0.9 µs and more per exchange: the building of the Layer (Node 24).
 * **Gotchas** finalizers see how the App ended, and a Handler that has answered a failure has ended well. What must be
 * undone after a failure is undone in the handler.
 *
 * **Example**
 * ```ts
 * const withRequestId = Provide.perRequest(({ connection }) => Layer.succeed(RequestId, connection.requestId))
 * const app = withRequestId(routes)
 * ```
 */
export const perRequest =
  <A, E2, R2>(layer: Layer.Layer<A, E2, R2> | ((exchange: ClientExchange) => Layer.Layer<A, E2, R2>)) =>
  <E, R>(app: App<E, R>): App<E | E2, Exclude<R, A> | R2> => {
    const layerFor = typeof layer === "function" ? layer : () => layer
    return (exchange) =>
      exchange.type === "lifespan"
        ? app(exchange) as Effect.Effect<void, E, Exclude<R, A>>
        // Not `local`, a Layer that the program was built with would be shared by all exchanges.
        : Effect.suspend(() => Effect.provide(app(exchange), layerFor(exchange), { local: true }))
  }
