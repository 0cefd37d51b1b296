/**
 * Typed events of a program: names with payload Schemas, declared once as a service, emitted anywhere and listened to
 * anywhere, over PubSub. The Layer of PubSub decides how far they reach: this process, or every process.
 *
 * For what has happened and whoever cares. Listeners answer nothing and hold nobody up; an event is delivered at most
 * once to each. What must not get lost belongs in a queue. EventDispatcher is about the events of one connection.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { PubSub } from "../service/PubSub.ts"
import * as Bus from "./internal/EventsBus.ts"
import { topicOf } from "./internal/EventsCodec.ts"
import type { EventsError } from "./internal/EventsError.ts"
import type { Handler } from "./internal/EventsListener.ts"
import type { PlainSchema } from "./internal/SessionJson.ts"

export { EventsError } from "./internal/EventsError.ts"
export type { EventsErrorReason, PayloadInvalid, PubSubFailed } from "./internal/EventsError.ts"

/** Payload Schemas by event. They need no services, are synchronous, and are used in their JSON form. */
export type Schemas = { readonly [event: string]: PlainSchema }

/** The names of the events. */
export type Name<S> = keyof S & string

/** What an event carries. */
export type Payload<S extends Schemas, N extends keyof S> = S[N]["Type"]

/** The payload as an argument: none for an event without one, which is `Schema.Void`. */
export type Arguments<S extends Schemas, N extends keyof S> = [void] extends [Payload<S, N>] ? [payload?: Payload<S, N>]
  : [payload: Payload<S, N>]

/** How a listener is registered. */
export interface ListenOptions {
  /** Of the listeners of an event, higher ones start first; equal ones in the order of registration. Default 0. */
  readonly priority?: number | undefined
  /** Leave after the first event. Default false. In several processes: once in each. */
  readonly once?: boolean | undefined
  /** Runs of this listener at the same time. Default 1: its events one after the other, in order. */
  readonly concurrency?: number | undefined
  /** Events that wait while it is busy; further ones are dropped and counted. Default 100. */
  readonly capacity?: number | undefined
  /** What logs call it. Default: the name of the function, or a number. */
  readonly name?: string | undefined
}

/** How a stream of events is subscribed. */
export interface StreamOptions {
  /** Events that wait for a slow reader; further ones are dropped and counted by PubSub. Default: its own, 100. */
  readonly capacity?: number | undefined
}

/** The events of a service: what `yield* AppEvents` gives. */
export interface Events<S extends Schemas> {
  /**
   * Emits an event. Succeeds when PubSub has it, and waits for no listener.
   *
   * **Fails with** `PayloadInvalid` for a payload that does not fit its Schema, `PubSubFailed` when PubSub refuses.
   */
  readonly emit: <N extends Name<S>>(event: N, ...payload: Arguments<S, N>) => Effect.Effect<void, EventsError>
  /**
   * Registers a listener until the scope closes, and completes when nothing that is emitted from now on can be missed.
   *
   * Each event runs the handler in a fiber and a Scope of its own, with the services of the registration. What fails or
   * dies in it is logged, and neither the emitter nor other listeners notice. When the scope closes, the handler's runs
   * and waiting events get the grace, then they are interrupted and dropped. A handler may close that scope itself.
   *
   * **Ownership** the listeners of a process share the payload: it must not be changed.
   *
   * Throws a RangeError for options out of range. **Fails with** `PubSubFailed`.
   */
  readonly on: <N extends Name<S>, E, R>(
    event: N,
    handler: (payload: Payload<S, N>) => Effect.Effect<unknown, E, R>,
    options?: ListenOptions
  ) => Effect.Effect<void, EventsError, Exclude<R, Scope.Scope> | Scope.Scope>
  /** The payloads of an event, from the moment the Stream runs. **Fails with** `PubSubFailed`. */
  readonly stream: <N extends Name<S>>(
    event: N,
    options?: StreamOptions
  ) => Stream.Stream<Payload<S, N>, EventsError>
  /**
   * Completes when no listener of this process runs or has an event waiting, and nothing that it emitted is on its way.
   * For tests. A handler must not wait for it: it would wait for itself.
   */
  readonly settled: Effect.Effect<void>
}

/** What `Service` returns: a service class with its Layers. */
export interface EventsClass<in out Self, in out Id extends string, in out S extends Schemas>
  extends Context.ServiceClass<Self, Id, Events<S>>
{
  /** The Schemas it was declared with. */
  readonly schemas: S
  /** The events over PubSub. When it closes, listeners get the grace to end what they have. */
  readonly layer: Layer.Layer<Self, never, PubSub>
  /**
   * A listener as a Layer: registered when it is built, until it closes. See `Events.on`.
   *
   * **Gotchas** Layers that are merged are built in no promised order: give a priority where order matters.
   */
  readonly on: <N extends Name<S>, E, R>(
    event: N,
    handler: (payload: Payload<S, N>) => Effect.Effect<unknown, E, R>,
    options?: ListenOptions
  ) => Layer.Layer<never, EventsError, Self | Exclude<R, Scope.Scope>>
}

/** How events are declared. */
export interface Options {
  /** How long listeners may go on with what they have when they, or the Layer, close. Default 5 seconds. */
  readonly grace?: Duration.Input | undefined
}

/**
 * Declares the events of a program, or of a part of it, as a service class.
 *
 * An event travels as JSON on the PubSub topic `events.<id>.<event>`, the slashes and dots of the id written `:`.
 *
 * Throws a RangeError when that cannot be a topic: letters, digits and `. : _ -`, at most 100 characters in all.
 *
 * **Example**
 * ```ts
 * class AppEvents extends Events.Service<AppEvents>()("app/AppEvents", {
 *   "user.created": User,
 *   "order.paid": Order
 * }) {}
 *
 * const Welcome = AppEvents.on("user.created", (user) => Mailer.use((mailer) => mailer.welcome(user)))
 *
 * const signUp = Effect.fnUntraced(function*(user: User) {
 *   const events = yield* AppEvents
 *   yield* events.emit("user.created", user)
 * })
 * ```
 */
export const Service = <Self>() =>
<const Id extends string, const S extends Schemas>(
  id: Id,
  schemas: S,
  options: Options = {}
): EventsClass<Self, Id, S> => {
  for (const event of Object.keys(schemas)) topicOf(id, event)
  const grace = Duration.fromInputUnsafe(options.grace ?? "5 seconds")
  const self = Context.Service<Self, Events<S>>()(id)
  const make = Effect.map(Bus.make({ service: id, schemas, grace }), eventsOf<S>)
  return Object.assign(
    self,
    {
      schemas,
      layer: Layer.effect(self, make),
      on: (event, handler, options) => {
        registrationOf(handler, options)
        return Layer.effectDiscard(Effect.flatMap(self, (events) => events.on(event, handler, options)))
      }
    } satisfies Pick<EventsClass<Self, Id, S>, "schemas" | "layer" | "on">
  )
}

const eventsOf = <S extends Schemas>(bus: Bus.Bus): Events<S> => ({
  emit: (event, ...payload) => bus.emit(event, payload[0]),
  // The bus runs every handler with the context of its registration, which is what R says.
  on: (event, handler, options) => bus.on(event, handler as Handler, registrationOf(handler, options)),
  // Decoded by the Schema of the event.
  stream: (event, options = {}) => bus.stream(event, options) as Stream.Stream<Payload<S, typeof event>, EventsError>,
  settled: bus.settled
})

const registrationOf = (handler: { readonly name: string }, options: ListenOptions = {}): Bus.Registration => {
  const { capacity = 100, concurrency = 1, name = handler.name || undefined, once = false, priority = 0 } = options
  if (Number.isNaN(priority)) throw new RangeError("priority must be a number, not NaN")
  for (const [option, value, least] of [["concurrency", concurrency, 1], ["capacity", capacity, 0]] as const) {
    if (!Number.isSafeInteger(value) || value < least) {
      throw new RangeError(`${option} must be a whole number from ${least}, not ${String(value)}`)
    }
  }
  return { capacity, concurrency, name, once, priority }
}
