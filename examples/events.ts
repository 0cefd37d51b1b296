/**
 * Events of a program: one part says what happened, others do something about it and the first need not know them:
 * `slipway examples/events.ts`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Events, Router, Server } from "slipway"
import * as PubSubMemory from "slipway/layers/PubSubMemory"

class User extends Schema.Class<User>("User")({ id: Schema.Int, email: Schema.NonEmptyString }) {}

const NewUser = Schema.Struct({ email: Schema.NonEmptyString })

class AppEvents extends Events.Service<AppEvents>()("example/AppEvents", { "user.created": User }) {}

class Mailer extends Context.Service<Mailer, {
  readonly send: (to: string, text: string) => Effect.Effect<void>
}>()("example/Mailer") {
  static readonly layer = Layer.succeed(Mailer, { send: (to, text) => Effect.log(`Mail to ${to}: ${text}`) })
}

const welcome = AppEvents.on(
  "user.created",
  ({ email }) => Mailer.use((mailer) => mailer.send(email, "Welcome")),
  { name: "welcome" }
)

const audit = AppEvents.on("user.created", ({ id }) => Effect.log(`User ${id} is new`), { name: "audit", priority: 1 })

const celebrate = AppEvents.on("user.created", () => Effect.log("The first one"), { name: "celebrate", once: true })

let lastId = 0

const routes = Router.make(
  Router.post("/users", { body: NewUser, success: User, status: 201 }, ({ body }) =>
    Effect.gen(function*() {
      const events = yield* AppEvents
      const user = new User({ id: ++lastId, ...body })
      yield* events.emit("user.created", user)
      return user
    })),
  Router.sse(
    "/users/new",
    { data: User },
    () => AppEvents.use((events) => Effect.succeed(events.stream("user.created")))
  )
)

export default Server.serve(routes).pipe(
  Layer.provide([welcome, audit, celebrate]),
  Layer.provide([AppEvents.layer, Mailer.layer]),
  Layer.provide(PubSubMemory.layer())
)
