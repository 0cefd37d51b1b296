/**
 * The application that `dist/main.js` serves for the drain table. It knows nothing of a stop; its sessions end with their
 * connections, as sessions do.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { App, SseSession, WebSocketSession } from "slipway"
import { slowMillis, tickMillis } from "./common.mjs"

/** @type {import("slipway").App.App} */
const app = App.byType({
  http: ({ scope, send }) =>
    scope.path === "/slow"
      ? Effect.delay(App.respond(send, 200, "slow"), slowMillis)
      : App.respond(send, 200, "quick"),
  sse: (exchange) => SseSession.make(exchange).every(tickMillis, { data: "tick" }),
  websocket: (exchange) => Stream.runDrain(WebSocketSession.make(exchange).messages)
})

export default app
