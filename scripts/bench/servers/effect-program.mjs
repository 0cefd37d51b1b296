/** One HttpRouter program for two servers: Effect's own and Slipway's. Loggers off, tracer the native no-op. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { announce, hello, streamPiece, streamPieces } from "./common.mjs"

const bytes = { contentType: "application/octet-stream" }
const pieces = Stream.rechunk(Stream.fromIterable(Array.from({ length: streamPieces }, () => streamPiece)), 1)

const routes = HttpRouter.addAll([
  HttpRouter.route("GET", "/", () => Effect.succeed(HttpServerResponse.text(hello))),
  HttpRouter.route("GET", "/json", () => HttpServerResponse.json({ message: hello })),
  HttpRouter.route(
    "GET",
    "/users/:id",
    Effect.fnUntraced(function*() {
      const { id } = yield* HttpRouter.params
      const { fields } = yield* HttpServerRequest.ParsedSearchParams
      return HttpServerResponse.text(`${id} ${fields}`)
    })
  ),
  HttpRouter.route(
    "POST",
    "/echo",
    (request) => Effect.map(request.arrayBuffer, (body) => HttpServerResponse.uint8Array(new Uint8Array(body), bytes))
  ),
  HttpRouter.route("GET", "/stream", () => Effect.succeed(HttpServerResponse.stream(pieces, bytes)))
])

const announced = Layer.effectDiscard(
  Effect.map(HttpServer.HttpServer, ({ address }) => announce(address.port))
)

/** @param {Layer.Layer<any, any>} server HttpServer and what stands beside it */
export const launch = (server) =>
  HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
    Layer.merge(announced),
    Layer.provide(server),
    Layer.launch,
    NodeRuntime.runMain
  )
