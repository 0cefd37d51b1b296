/**
 * The events of one service over PubSub: encodes what is emitted, decodes once what arrives and hands it to listeners in
 * the order of their priority. Subscribes to the topic of an event while the event has listeners.
 *
 * What arrives and cannot be decoded, because another process has another version, is skipped, counted and logged.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as RcMap from "effect/RcMap"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Payload, PubSub, type PubSubError, type SubscribeOptions } from "../../service/PubSub.ts"
import * as Codec from "./EventsCodec.ts"
import { EventsError, type EventsErrorReason } from "./EventsError.ts"
import { type Handler, type Host, Listener } from "./EventsListener.ts"
import type { PlainSchema } from "./SessionJson.ts"

/** A registration with its defaults filled in. */
export interface Registration {
  readonly name: string | undefined
  readonly priority: number
  readonly once: boolean
  readonly concurrency: number
  readonly capacity: number
}

export interface Options {
  readonly service: string
  /** Schemas by event. Names were checked. */
  readonly schemas: { readonly [event: string]: PlainSchema }
  readonly grace: Duration.Duration
}

/** Builds the bus; it ends with the scope, after the grace of its listeners. */
export const make = Effect.fnUntraced(function*(options: Options) {
  const pubsub = yield* PubSub
  const context = yield* Effect.context<never>()
  const channels = new Map<string, Channel>()
  for (const [event, schema] of Object.entries(options.schemas)) {
    channels.set(event, new Channel(options.service, event, schema, context))
  }
  const subscribed = yield* RcMap.make({
    lookup: (channel: Channel) => pubsub.listen(channel.topic, ({ data }) => channel.receive(data))
  })
  const bus = new Bus(pubsub, channels, subscribed, options.grace)
  yield* Effect.addFinalizer(() => bus.close)
  return bus
})

/** One event: its topic, its listeners, its numbers. */
class Channel implements Host {
  readonly event: string
  readonly topic: string
  readonly emitted: () => void
  readonly codec: Codec.Codec
  /** By priority, higher first. Replaced and never changed: it may be read right now. */
  private listeners: ReadonlyArray<Listener> = []
  private readonly count: (metric: Metric.Metric<number, unknown>, by: number) => void
  private readonly metrics: ReturnType<typeof metricsOf>
  private readonly log: (message: string) => void
  private isBroken = false
  private isClosed = false

  constructor(service: string, event: string, schema: PlainSchema, context: Context.Context<never>) {
    this.event = event
    this.topic = Codec.topicOf(service, event)
    this.codec = Codec.make(schema)
    this.metrics = metricsOf(service, event)
    this.count = (metric, by) => metric.updateUnsafe(by, context)
    this.emitted = () => this.count(this.metrics.emitted, 1)
    this.log = (message) => void Effect.runForkWith(context)(Effect.logWarning(message))
  }

  /** Called by PubSub, on the publisher's time. */
  receive(data: Payload): void {
    if (this.isClosed) return
    const decoded = this.decode(data)
    if (Result.isFailure(decoded)) return
    for (const listener of this.listeners) listener.offer(decoded.success)
  }

  decode(data: Payload): Result.Result<unknown, void> {
    const decoded = this.codec.decode(data)
    if (Exit.isSuccess(decoded)) {
      this.isBroken = false
      return Result.succeed(decoded.value)
    }
    this.count(this.metrics.dropped.undecodable, 1)
    // Said once until one fits again: nobody outside may fill the log.
    if (!this.isBroken) this.log(`An event ${this.event} was skipped: ${Codec.problemOf(decoded.cause)}`)
    this.isBroken = true
    return Result.failVoid
  }

  add(listener: Listener): void {
    const at = this.listeners.findIndex(({ options }) => options.priority < listener.options.priority)
    this.listeners = this.listeners.toSpliced(at < 0 ? this.listeners.length : at, 0, listener)
  }

  remove(listener: Listener): void {
    this.listeners = this.listeners.filter((other) => other !== listener)
  }

  close(): void {
    this.isClosed = true
  }

  handled(outcome: "success" | "failure" | "interrupted"): void {
    this.count(this.metrics.handled[outcome], 1)
  }

  dropped(reason: "full" | "stopped", count: number): void {
    this.count(this.metrics.dropped[reason], count)
  }

  failure(reason: EventsErrorReason): EventsError {
    return new EventsError({ event: this.event, reason })
  }
}

const metricsOf = (service: string, event: string) => {
  const counter = (name: string, description: string, more: Record<string, string> = {}) =>
    Metric.counter(name, { description, incremental: true, attributes: { service, event, ...more } })
  const handled = (outcome: string) => counter("events_handled_total", "Runs of listeners that ended", { outcome })
  const dropped = (reason: string) => counter("events_dropped_total", "Events that were not handled", { reason })
  return {
    emitted: counter("events_emitted_total", "Events emitted by this process"),
    handled: { success: handled("success"), failure: handled("failure"), interrupted: handled("interrupted") },
    dropped: { full: dropped("full"), stopped: dropped("stopped"), undecodable: dropped("undecodable") }
  }
}

export class Bus {
  private readonly pubsub: PubSub["Service"]
  private readonly channels: ReadonlyMap<string, Channel>
  private readonly subscribed: RcMap.RcMap<Channel, void, PubSubError>
  private readonly grace: Duration.Duration
  /** Listeners that run or have events waiting, those that have left included. */
  private readonly busy = new Set<Listener>()
  private nextListener = 1

  constructor(
    pubsub: PubSub["Service"],
    channels: ReadonlyMap<string, Channel>,
    subscribed: RcMap.RcMap<Channel, void, PubSubError>,
    grace: Duration.Duration
  ) {
    this.pubsub = pubsub
    this.channels = channels
    this.subscribed = subscribed
    this.grace = grace
  }

  private channel(event: string): Channel {
    const channel = this.channels.get(event)
    if (channel === undefined) throw new RangeError(`There is no event ${JSON.stringify(event)}`)
    return channel
  }

  emit(event: string, payload: unknown): Effect.Effect<void, EventsError> {
    return Effect.suspend(() => {
      const channel = this.channel(event)
      const encoded = channel.codec.encode(payload)
      if (Exit.isFailure(encoded)) {
        const { cause } = encoded
        // A Schema that throws, or is not synchronous.
        if (Cause.hasDies(cause)) return Effect.die(Cause.squash(cause))
        return Effect.fail(channel.failure({ _tag: "PayloadInvalid", problem: Codec.problemOf(cause) }))
      }
      return Effect.matchEffect(this.pubsub.publish(channel.topic, encoded.value), {
        onFailure: (cause) => Effect.fail(channel.failure({ _tag: "PubSubFailed", cause })),
        onSuccess: () => Effect.sync(channel.emitted)
      })
    })
  }

  on(
    event: string,
    handler: Handler,
    registration: Registration
  ): Effect.Effect<void, EventsError, Scope.Scope> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.contextWith((context: Context.Context<Scope.Scope>) => {
        const channel = this.channel(event)
        const number = this.nextListener++
        const scope = Scope.forkUnsafe(Context.get(context, Scope.Scope))
        const end = Scope.close(scope, Exit.void)
        const listener = new Listener(
          { ...registration, event, name: registration.name ?? `#${number}`, grace: this.grace },
          channel,
          registration.once ? (payload) => Effect.ensuring(Effect.suspend(() => handler(payload)), end) : handler,
          context,
          this.busy
        )
        return restore(Scope.provide(RcMap.get(this.subscribed, channel), scope)).pipe(
          Effect.mapError((cause) => channel.failure({ _tag: "PubSubFailed", cause })),
          Effect.onError(() => end),
          Effect.andThen(Effect.suspend(() => {
            channel.add(listener)
            return Scope.addFinalizer(
              scope,
              Effect.suspend(() => {
                channel.remove(listener)
                return listener.leave
              })
            )
          }))
        )
      })
    )
  }

  stream(event: string, options: SubscribeOptions): Stream.Stream<unknown, EventsError> {
    return Stream.suspend(() => {
      const channel = this.channel(event)
      return this.pubsub.subscribe(channel.topic, options).pipe(
        Stream.mapError((cause) => channel.failure({ _tag: "PubSubFailed", cause })),
        Stream.filterMap(({ data }) => channel.decode(data))
      )
    })
  }

  /** What the broker cannot give back is not waited for. */
  readonly settled: Effect.Effect<void> = Effect.suspend(() =>
    Effect.flatMap(Effect.ignore(this.pubsub.flush), () => {
      for (const listener of this.busy) return Effect.andThen(listener.awaitIdle, this.settled)
      return Effect.void
    })
  )

  /** No listener takes another event; what they have gets the grace. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    for (const channel of this.channels.values()) channel.close()
    return Effect.forEach([...this.busy], (listener) => listener.drain, { concurrency: "unbounded", discard: true })
  })
}
