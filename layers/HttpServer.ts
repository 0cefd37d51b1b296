/**
 * Effect's own HttpServer service on a Slipway server, so that a program written for NodeHttpServer (HttpRouter,
 * HttpApi, RpcServer, HttpStaticServer) changes one Layer and nothing else. What stands beside it is what
 * NodeHttpServer provides: HttpPlatform, Etag.Generator and Node's services.
 *
 * Handlers, middleware and errors are effect/http's business; connections, limits, HTTP/2, WebSockets, metrics, access
 * log and the stop are the server's. docs/http-server.md says what differs from NodeHttpServer.
 */
import * as NodeHttpPlatform from "@effect/platform-node/NodeHttpPlatform"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Etag from "effect/http/Etag"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import type { HttpClient } from "effect/http/HttpClient"
import type { HttpPlatform } from "effect/http/HttpPlatform"
import * as HttpServer from "effect/http/HttpServer"
import { ServeError } from "effect/http/HttpServerError"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { App } from "../src/app/App.ts"
import * as Handler from "../src/app/Handler.ts"
import type { SendError } from "../src/app/SendError.ts"
import { type Address, Server, type ServerError } from "../src/service/Server.ts"
import { flat } from "./internal/serving.ts"
import * as ServerNode from "./ServerNode.ts"

/** Every option with its unit and default stands in docs/settings.md. */
export type Options = ServerNode.Options

/** What the layers provide: the server and what handlers need from the platform. */
export type Services = HttpServer.HttpServer | HttpPlatform | Etag.Generator | NodeServices.NodeServices

const toNetAddress = (address: Address): Effect.Effect<NetAddress.SocketAddress, ServeError> =>
  address._tag === "unix"
    ? Effect.succeed(NetAddress.unixPathAddress(address.path))
    : Effect.mapError(
      Effect.fromResult(NetAddress.inetAddressFromIpString(address.host, address.port)),
      (cause) => new ServeError({ cause })
    )

/**
 * Makes Effect's HttpServer of the Server in the context. It listens at once; requests that arrive before `serve` wait
 * for it. The scope of `serve` stops the server when it closes: what is being answered is answered first.
 */
export const make: Effect.Effect<
  Context.Service.Shape<typeof HttpServer.HttpServer>,
  ServeError,
  Server | Scope.Scope
> = Effect.gen(function*() {
  const server = yield* Server
  const serving = yield* Scope.fork(yield* Effect.scope)
  const served = yield* Deferred.make<App<SendError>>()
  let app: App<SendError> = (exchange) => Effect.flatMap(Deferred.await(served), (app) => app(exchange))
  const listening = server.serve((exchange) => exchange.type === "lifespan" ? Effect.void : app(exchange)).pipe(
    // effect/http has spans of its own for requests.
    Effect.provideService(Tracer.Tracer, Context.get(Context.empty(), Tracer.Tracer)),
    Scope.provide(serving)
  )
  yield* Effect.mapError(listening, toServeError)
  const [address] = yield* server.addresses
  return HttpServer.make({
    address: yield* toNetAddress(address!),
    serve: Effect.fnUntraced(function*(httpEffect, middleware) {
      app = Handler.fromHttpEffect(httpEffect, { middleware, context: flat(yield* Effect.context<never>()) })
      yield* Scope.addFinalizer(yield* Effect.scope, Scope.close(serving, Exit.void))
      Deferred.doneUnsafe(served, Effect.succeed(app))
    })
  })
})

/** Provides Effect's HttpServer on the Server that is there, on sockets or in memory. Never shared: each has its own. */
export const layerServer: Layer.Layer<HttpServer.HttpServer, ServeError, Server> = Layer.fresh(
  Layer.effect(HttpServer.HttpServer, make)
)

/** What NodeHttpServer provides beside the server. */
export const layerHttpServices: Layer.Layer<HttpPlatform | Etag.Generator | NodeServices.NodeServices> = Layer.mergeAll(
  NodeHttpPlatform.layer,
  Etag.layerWeak,
  NodeServices.layer
)

const onSockets = <E>(options: Effect.Effect<Options, E>): Layer.Layer<Services, ServeError | E> => {
  const server = Effect.flatMap(
    options,
    // effect/http has no lifespan: its programs start and stop as Layers.
    (options) => Effect.mapError(ServerNode.make({ lifespan: "off", ...options }), toServeError)
  )
  return Layer.mergeAll(Layer.provide(layerServer, Layer.effect(Server, server)), layerHttpServices)
}

const toServeError = (cause: ServerError): ServeError => new ServeError({ cause })

/**
 * Provides Effect's HttpServer on Node's sockets, with the platform's services. **Fails with** `ServeError`, whose cause
 * is a `ServerError`, for settings that cannot be used and addresses that cannot be listened on.
 *
 * **Example**
 * ```ts
 * HttpRouter.serve(routes).pipe(Layer.provide(HttpServer.layer({ port: 3000 })), Layer.launch, NodeRuntime.runMain)
 * ```
 */
export const layer = (options: Options = {}): Layer.Layer<Services, ServeError> => onSockets(Effect.succeed(options))

/** As `layer`, with options from Config. **Fails with** `ConfigError` as well. */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<Services, ServeError | Config.ConfigError> => onSockets(Config.unwrap(options))

/**
 * For tests: the server on any free port of the loopback interface, and an HttpClient whose requests go to it. As
 * `NodeHttpServer.layerTest`.
 */
export const layerTest: Layer.Layer<Services | HttpClient, ServeError> = HttpServer.layerTestClient.pipe(
  Layer.provide(
    Layer.fresh(FetchHttpClient.layer).pipe(
      Layer.provide(Layer.succeed(FetchHttpClient.RequestInit, { keepalive: false }))
    )
  ),
  Layer.provideMerge(layer({ port: 0 }))
)
