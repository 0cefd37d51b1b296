/**
 * Messages of other connections through `receive`: each exchange gets a channel, and what is sent to it, or published
 * where it has subscribed, comes between the client's own events. The server knows nothing of it.
 *
 * Owns the channel for as long as the exchange, and one client event that may have come while a message was received.
 * For sessions there is app/Rooms.ts, and for streams `PubSub.subscribe`; this is for applications that speak events.
 *
 * **Source** reference section 3.9.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { App } from "../app/App.ts"
import { derive } from "../app/App.ts"
import type { ClientExchange } from "../app/Exchange.ts"
import { type Channel as Channel_, type Message, PubSub, type PubSubError } from "../service/PubSub.ts"

/** The channel of the exchange that is handled now. */
export class Channel extends Context.Service<Channel, Channel_>()("slipway/middleware/Channels/Channel") {}

/** A message of another connection, or of any other part of the program. */
export interface ChannelMessage extends Message {
  readonly type: "channel.message"
}

export interface Options {
  /** Messages that wait for an application that does not receive. Default: that of the PubSub layer, 100. */
  readonly capacity?: number
}

type EventOf<X extends ClientExchange> = X["receive"] extends Effect.Effect<infer A> ? A : never

/**
 * The next event of an exchange, be it the client's or a `channel.message`. It is `exchange.receive` with the type that
 * it has below this middleware.
 *
 * The two kinds take turns where both wait. An interrupted `receive` loses nothing: what came for it comes next.
 */
export const receive = <X extends ClientExchange>(exchange: X): Effect.Effect<EventOf<X> | ChannelMessage> =>
  exchange.receive as Effect.Effect<EventOf<X> | ChannelMessage>

/**
 * Makes the middleware. It provides `Channel` and opens it before the App runs; the lifespan passes through without.
 *
 * **Fails with** `PubSubError` when the channel cannot be opened, which the server answers with 500.
 * **Cost** about 12 µs an exchange, and 0.7 to 1 µs for each event: put it around what needs it (in process, Node 20).
 *
 * **Example**
 * ```ts
 * const chat = App.websocket((exchange) =>
 *   Effect.gen(function*() {
 *     const channel = yield* Channels.Channel
 *     yield* channel.subscribe("chat.lobby")
 *     yield* exchange.send({ type: "websocket.accept" })
 *     while (true) {
 *       const event = yield* Channels.receive(exchange)
 *       if (event.type === "channel.message") yield* exchange.send({ type: "websocket.send", text: String(event.data) })
 *       if (event.type === "websocket.receive") yield* channel.publish("chat.lobby", event.text ?? "")
 *       if (event.type === "websocket.disconnect") return
 *     }
 *   })
 * ).pipe(Channels.make())
 * ```
 */
export const make =
  (options: Options = {}) => <E, R>(app: App<E, R>): App<E | PubSubError, Exclude<R, Channel> | PubSub> => (exchange) =>
    exchange.type === "lifespan"
      ? app(exchange) as Effect.Effect<void, E, Exclude<R, Channel>>
      : Effect.scoped(Effect.gen(function*() {
        const pubsub = yield* PubSub
        const channel = yield* pubsub.open(options)
        const events = new Interleaved(exchange, channel, yield* Effect.scope, yield* Effect.context<never>())
        return yield* Effect.provideService(
          app(derive(exchange, { receive: events.receive as never })),
          Channel,
          channel
        )
      }))

/**
 * The client's events and the messages as one. A `receive` of the exchange that is under way is never cancelled: a fiber
 * waits for it, and whoever receives next gets what it brings.
 */
class Interleaved {
  private readonly exchange: ClientExchange
  private readonly channel: Channel_
  private readonly fork: (effect: Effect.Effect<void>) => void
  /** How a `receive` of the exchange ended that nobody has taken yet. */
  private arrived: Exit.Exit<EventOf<ClientExchange>> | undefined = undefined
  private isReceiving = false
  private isWatching = false
  private isMessagesTurn = true
  private waiting: Array<() => void> = []

  constructor(
    exchange: ClientExchange,
    channel: Channel_,
    scope: Scope.Scope,
    context: Context.Context<never>
  ) {
    this.exchange = exchange
    this.channel = channel
    const run = Effect.runForkWith(context)
    this.fork = (effect) => void Fiber.runIn(run(effect), scope)
  }

  readonly receive: Effect.Effect<EventOf<ClientExchange> | ChannelMessage> = Effect.suspend(() => {
    this.startReceiving()
    return this.arrived !== undefined && !this.isMessagesTurn
      ? this.takeEvent()
      : Effect.flatMap(this.channel.poll, (message) => {
        if (Option.isSome(message)) return this.giveMessage(message.value)
        if (this.arrived !== undefined) return this.takeEvent()
        this.startWatching()
        return Effect.andThen(this.arrival, this.receive)
      })
  })

  private giveMessage(message: Message): Effect.Effect<ChannelMessage> {
    this.isMessagesTurn = false
    return Effect.succeed({ type: "channel.message", ...message })
  }

  private takeEvent(): Effect.Effect<EventOf<ClientExchange>> {
    const event = this.arrived!
    this.arrived = undefined
    this.isMessagesTurn = true
    return event
  }

  private startReceiving(): void {
    if (this.isReceiving || this.arrived !== undefined) return
    this.isReceiving = true
    this.fork(Effect.map(Effect.exit(this.exchange.receive as Effect.Effect<EventOf<ClientExchange>>), (exit) => {
      this.arrived = exit
      this.isReceiving = false
      this.wake()
    }))
  }

  private startWatching(): void {
    if (this.isWatching) return
    this.isWatching = true
    this.fork(Effect.map(this.channel.arrival, () => {
      this.isWatching = false
      this.wake()
    }))
  }

  private readonly arrival: Effect.Effect<void> = Effect.callback<void>((resume) => {
    // The fibers may have ended as soon as they were started.
    if (this.arrived !== undefined || this.channel.pending > 0) return resume(Effect.void)
    const wake = () => resume(Effect.void)
    this.waiting.push(wake)
    return Effect.sync(() => void (this.waiting = this.waiting.filter((other) => other !== wake)))
  })

  private wake(): void {
    for (const wake of this.waiting.splice(0)) wake()
  }
}
