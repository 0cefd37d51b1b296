/** A plain function with a startup and a shutdown: `slipway examples/hooks.ts`. */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { App, Lifespan } from "slipway"

const app = App.http(({ scope, send }) => App.respond(send, 200, `Up since ${String(scope.state?.["since"])}`))

export default Lifespan.hooks({
  startup: (state) => Effect.map(DateTime.now, (now) => void (state["since"] = DateTime.formatIso(now))),
  shutdown: (state) => Effect.log(`Was up since ${String(state["since"])}`)
})(app)
