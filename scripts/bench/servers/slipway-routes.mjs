/** Slipway's Router with as many routes as are asked for, each with a typed parameter. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Router } from "slipway"
import { serve } from "./slipway-serve.mjs"

/** @param {number} count */
export const serveRoutes = (count) => {
  const route = (/** @type {number} */ index) =>
    Router.get(
      `/group${index}/items/:id`,
      { path: { id: Schema.Int } },
      ({ path }) => Effect.succeed(`item ${path.id}`)
    )
  serve(Router.make(...Array.from({ length: count }, (_, index) => route(index))), [])
}
