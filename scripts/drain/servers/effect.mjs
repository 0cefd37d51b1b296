/** Effect 4's NodeHttpServer with HttpRouter, launched by NodeRuntime.runMain, which does the stop. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { createServer } from "node:http"
import { announce, eventHeaders, slowMillis, tick, tickMillis } from "./common.mjs"

const ticks = Stream.fromSchedule(Schedule.spaced(tickMillis)).pipe(
  Stream.map(() => tick),
  Stream.encodeText
)

const routes = HttpRouter.addAll([
  HttpRouter.route("GET", "/", () => Effect.succeed(HttpServerResponse.text("quick"))),
  HttpRouter.route("GET", "/slow", () => Effect.delay(Effect.succeed(HttpServerResponse.text("slow")), slowMillis)),
  HttpRouter.route(
    "GET",
    "/events",
    () => Effect.succeed(HttpServerResponse.stream(ticks, { headers: eventHeaders, contentType: "text/event-stream" }))
  ),
  HttpRouter.route(
    "GET",
    "/socket",
    Effect.fnUntraced(function*(request) {
      const { pull } = yield* (yield* request.upgrade).reader
      yield* Effect.ignore(Effect.forever(pull))
      return HttpServerResponse.empty()
    })
  )
])

const announced = Layer.effectDiscard(Effect.map(HttpServer.HttpServer, ({ address }) => announce(address.port)))

HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
  Layer.merge(announced),
  Layer.provide(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
  Layer.launch,
  NodeRuntime.runMain
)
