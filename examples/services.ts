/** An App that needs a service, whose Layer is its startup and its shutdown: `slipway examples/services.ts`. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { App, Server } from "slipway"

class Greeting extends Context.Service<Greeting, { readonly text: string }>()("example/Greeting") {
  static readonly layer = Layer.effect(
    Greeting,
    Effect.acquireRelease(Effect.as(Effect.log("Opened"), { text: "Hello" }), () => Effect.log("Closed"))
  )
}

const app = App.http(({ send }) => Effect.flatMap(Greeting, ({ text }) => App.respond(send, 200, text)))

export default Server.serve(app).pipe(Layer.provide(Greeting.layer))
