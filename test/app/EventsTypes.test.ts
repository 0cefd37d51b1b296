/** What the types of events say. Most of it is checked by the compiler: an error that is expected and not there is one. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as Events from "../../src/app/Events.ts"
import type { PubSub } from "../../src/service/PubSub.ts"

class User extends Schema.Class<User>("User")({ name: Schema.String, born: Schema.Date }) {}
class Mailer extends Context.Service<Mailer, { readonly send: Effect.Effect<void> }>()("test/Mailer") {}

class AppEvents extends Events.Service<AppEvents>()("test/EventsTypes", {
  "user.created": User,
  number: Schema.NumberFromString,
  ping: Schema.Void
}) {}

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same: <A, B>(...different: Equal<A, B> extends true ? [] : [never]) => void = () => {}

/** Compiled and never run. */
const compiled = (_: (events: (typeof AppEvents)["Service"]) => unknown) => assert.isFunction(_)

describe("types of events", () => {
  it("tie each payload to the name of its event [C231] [W76]", () => {
    compiled((events) => {
      same<Parameters<typeof events.emit<"user.created">>, [event: "user.created", payload: User]>()
      const emitted = events.emit("number", 1)
      same<typeof emitted, Effect.Effect<void, Events.EventsError>>()
      const streamed = events.stream("number")
      same<typeof streamed, Stream.Stream<number, Events.EventsError>>()
      void events.on("user.created", (user) => {
        same<typeof user, User>()
        return Effect.void
      })
      void events.emit("ping")
      // @ts-expect-error there is no such event
      void events.emit("user.deleted", 1)
      // @ts-expect-error it is a number on this side
      void events.emit("number", "1")
      // @ts-expect-error a payload is needed
      void events.emit("number")
      // @ts-expect-error there is no such event
      void events.on("user.deleted", () => Effect.void)
      // @ts-expect-error the payload is a User
      void events.on("user.created", (user: number) => Effect.succeed(user))
      // @ts-expect-error there is no such event
      return events.stream("user.deleted")
    })
  })

  it("ask a registration for the services of the handler, and for its own Scope", () => {
    compiled((events) => {
      const on = events.on("ping", () => Effect.andThen(Mailer.use(({ send }) => send), Effect.scope))
      same<typeof on, Effect.Effect<void, Events.EventsError, Mailer | Scope.Scope>>()
      return on
    })
  })

  it("make Layers of the events and of their listeners", () => {
    same<typeof AppEvents.layer, Layer.Layer<AppEvents, never, PubSub>>()
    const listener = AppEvents.on("user.created", ({ name }) => Mailer.use(({ send }) => Effect.as(send, name)))
    same<typeof listener, Layer.Layer<never, Events.EventsError, AppEvents | Mailer>>()
    const scoped = AppEvents.on("ping", () => Effect.addFinalizer(() => Effect.void))
    same<typeof scoped, Layer.Layer<never, Events.EventsError, AppEvents>>()
    // @ts-expect-error there is no such event
    assert.isDefined(AppEvents.on("user.deleted", () => Effect.void))
  })

  it("refuse Schemas that need services", () => {
    const needy = Schema.String.pipe(
      Schema.decodeTo(Schema.String, {
        decode: { run: () => Mailer.use(() => Effect.succeedNone) },
        encode: { run: () => Effect.succeedNone }
      } as never)
    ) as unknown as Schema.Codec<string, string, Mailer>
    // @ts-expect-error nothing provides Mailer where an event is decoded
    assert.isDefined(Events.Service()("test/Needy", { needy }))
  })
})
