/**
 * The server of somebody else with a middleware around whatever is served on it, be it an App or a Layer that serves one
 * by itself: how development looks at an application that does not know of it.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Middleware } from "../../src/app/App.ts"
import * as Inspector from "../../src/middleware/Inspector.ts"
import { Server } from "../../src/service/Server.ts"

/** Puts `middleware` around each App that is served; `served` runs once it is. */
export const around = (
  middleware: Middleware,
  served: Effect.Effect<void> = Effect.void
): Layer.Layer<Server, never, Server> =>
  Layer.effect(
    Server,
    Effect.map(Server, (server) => ({
      ...server,
      serve: (app) => Effect.andThen(server.serve(middleware(app)), served)
    }))
  )

/** Shows each exchange on standard error, in colours where that is a terminal that wants them. */
export const inspecting: Layer.Layer<Server, never, Server> = Layer.suspend(() =>
  around(Inspector.make({
    write: (block) => void process.stderr.write(block),
    isColored: process.stderr.isTTY === true && process.env.NO_COLOR === undefined
  }))
)
