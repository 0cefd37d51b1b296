/**
 * Ways to run one program of Effect's on any implementation of its HttpServer, over real sockets: a test with the
 * server, its platform services, a client that knows the address, and what was logged.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type * as NodeServices from "@effect/platform-node/NodeServices"
import { it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Etag from "effect/http/Etag"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import type * as HttpClient from "effect/http/HttpClient"
import type * as HttpPlatform from "effect/http/HttpPlatform"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as NetAddress from "effect/net/NetAddress"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as SlipwayHttpServer from "../../layers/HttpServer.ts"
import type { Address } from "../../src/service/Server.ts"
import * as Sockets from "./sockets.ts"

/** What a server for Effect's programs provides. */
export type Platform =
  | HttpServer.HttpServer
  | NodeServices.NodeServices
  | HttpPlatform.HttpPlatform
  | Etag.Generator

/** One implementation. */
export interface HttpServerKind {
  readonly name: string
  /** Listens on a free port of 127.0.0.1. `stopAfter` bounds how long a stop waits for what still runs. */
  readonly layer: (options?: { readonly stopAfter?: Duration.Input }) => Layer.Layer<Platform, unknown>
}

/** The one that Effect ships: what it does is right unless a test of the differences says otherwise. */
export const node: HttpServerKind = {
  name: "NodeHttpServer",
  layer: ({ stopAfter } = {}) =>
    NodeHttpServer.layer(() => Http.createServer(), { host: "127.0.0.1", port: 0, gracefulShutdownTimeout: stopAfter })
}

/** Ours. */
export const slipway: HttpServerKind = {
  name: "Slipway",
  layer: ({ stopAfter } = {}) =>
    SlipwayHttpServer.layer({
      host: "127.0.0.1",
      port: 0,
      ...(stopAfter === undefined ? {} : { shutdownTimeout: stopAfter })
    })
}

export interface LogLine {
  readonly level: string
  readonly message: string
  readonly cause: string
  readonly annotations: Readonly<Record<string, unknown>>
}

/** A list that fills with what is logged, and the Layer that fills it instead of printing. */
export const capture = (): { readonly lines: Array<LogLine>; readonly layer: Layer.Layer<never> } => {
  const lines: Array<LogLine> = []
  const logger = Logger.make<unknown, void>(({ cause, fiber, logLevel, message }) => {
    const parts = Array.isArray(message) ? message : [message]
    lines.push({
      level: logLevel,
      message: parts.filter((part) => !Cause.isCause(part)).map(String).join(" "),
      cause: Cause.pretty(parts.find(Cause.isCause) ?? cause),
      annotations: fiber.getRef(References.CurrentLogAnnotations)
    })
  })
  return { lines, layer: Logger.layer([logger]) }
}

/** Client of the server in the context: relative addresses go there. Nothing follows a redirect. */
const client: Layer.Layer<HttpClient.HttpClient, never, HttpServer.HttpServer> = HttpServer.layerTestClient.pipe(
  Layer.provide(Layer.fresh(FetchHttpClient.layer)),
  Layer.provide(Layer.succeed(FetchHttpClient.RequestInit)({ redirect: "manual" }))
)

export type Services = Platform | HttpClient.HttpClient | Scope.Scope

export type Test = (
  title: string,
  body: (logs: ReadonlyArray<LogLine>) => Effect.Effect<unknown, unknown, Services>
) => void

/**
 * A test with a server of its own. What the body opened is closed before the server stops, from the last to the first.
 * Time is real, as the sockets are.
 */
export const testOf =
  (kind: HttpServerKind, options?: { readonly stopAfter?: Duration.Input }): Test => (title, body) => {
    it.live(title, () => {
      const logs = capture()
      return Effect.scoped(Effect.suspend(() => body(logs.lines))).pipe(
        Effect.provide(Layer.provideMerge(client, kind.layer(options))),
        Effect.provide(logs.layer)
      )
    })
  }

/** Serves routes until the scope closes, without the lines that `serve` logs by itself. */
export const serveRoutes = <A, E, R, HE = never, HR = Requires<R>>(
  routes: Layer.Layer<A, E, R>,
  options?: Parameters<typeof HttpRouter.serve<A, E, R, HE, HR>>[1]
) => Layer.build(HttpRouter.serve(routes, { disableListenLog: true, disableLogger: true, ...options }))

type Requires<R> = HttpRouter.Request.Only<"Requires", R> | HttpRouter.Request.Only<"GlobalRequires", R>

/** Where the server of the context listens, as Sockets understands it. */
export const address: Effect.Effect<Address, never, HttpServer.HttpServer> = Effect.map(
  HttpServer.HttpServer,
  ({ address }) =>
    NetAddress.isUnixPathAddress(address)
      ? { _tag: "unix", path: address.path }
      : { _tag: "tcp", host: NetAddress.formatIp(address.address), port: address.port }
)

/** A raw connection to the server of the context. */
export const connect = Effect.flatMap(address, (address) => Sockets.connect(address))

/** Sends `bytes` on a connection of its own and returns what comes until the server closes. */
export const ask = (bytes: string) =>
  Effect.scoped(Effect.gen(function*() {
    const connection = yield* connect
    yield* connection.send(bytes)
    return yield* connection.readAll
  }))

/** The bytes of a request without a body, after which the server closes. */
export const closing = (line: string, headers: ReadonlyArray<string> = []): string =>
  [`${line} HTTP/1.1`, "host: a", "connection: close", ...headers, "", ""].join("\r\n")
