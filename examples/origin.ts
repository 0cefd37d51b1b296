/** A WebSocket echo for pages of its own site only: `slipway examples/origin.ts`. */
import { App, type SendError } from "slipway"
import echo from "./echo.ts"

/** Lets a handshake through when its origin is one of `origins`, or when it has none: no browser leaves it out. */
export const allowOrigins =
  (origins: ReadonlyArray<string>): App.Middleware<SendError.SendError> => (app) => (exchange) => {
    if (exchange.type !== "websocket") return app(exchange)
    const allowed = exchange.scope.headers.every(([name, value]) => name !== "origin" || origins.includes(value))
    return allowed ? app(exchange) : App.decline(exchange)
  }

export default allowOrigins(["https://example.com", "http://localhost:5000"])(echo)
