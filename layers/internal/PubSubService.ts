/**
 * The PubSub service over a hub and a back end: joins histories to live messages, waits for delays, ties subscriptions to
 * scopes. Every PubSub layer is this service with another back end.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TopicName from "../../src/schema/TopicName.ts"
import { type Message, type Payload, PubSub, type PubSubError, type Replay } from "../../src/service/PubSub.ts"
import { inModule } from "./LogLevels.ts"
import type { Backend, Delayed } from "./PubSubBackend.ts"
import { type ChannelHost, ServiceChannel } from "./PubSubChannel.ts"
import {
  checkChannel,
  checkCount,
  checkDuration,
  checkOptions,
  Checks,
  defaultExpiry,
  defaults,
  excludedBy,
  layerClosed,
  type Options,
  refuse
} from "./PubSubChecks.ts"
import { Hub, type Receiver, type Subscription } from "./PubSubHub.ts"
import { Interests } from "./PubSubInterests.ts"
import * as PubSubMetrics from "./PubSubMetrics.ts"

/** Builds the service. `makeBackend` gets the hub that its messages go to; its resources belong to the same scope. */
export const make = Effect.fnUntraced(function*<E, R>(
  options: Options,
  channelPrefix: string,
  makeBackend: (hub: Hub) => Effect.Effect<Backend, E, R>
) {
  yield* checkDuration("expiry", options.expiry ?? defaultExpiry)
  yield* checkOptions(options)
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  const scope = yield* Effect.scope
  const fork = Effect.runForkWith(context)
  const hub = new Hub({
    channelPrefix,
    expiryMillis: Duration.toMillis(options.expiry ?? defaultExpiry),
    nowMillis: () => clock.currentTimeMillisUnsafe(),
    failed: (topic, cause) => fork(inModule("PubSub")(Effect.logError(`A subscriber of ${topic} failed`, cause))),
    later: (work) => fork(Effect.andThen(Effect.yieldNow, Effect.sync(work)))
  })
  const backend = yield* makeBackend(hub)
  const service = new Service(hub, backend, options, clock, scope, (effect) => Fiber.runIn(fork(effect), scope))
  yield* Effect.addFinalizer(() => Effect.sync(() => service.close()))
  const isConnected = () => backend.status().isConnected
  const unregister = PubSubMetrics.register(context, backend.name, () => service.numbers(), isConnected)
  yield* Effect.addFinalizer(() => Effect.sync(unregister))
  return service.service
})

const noReplay: Replay = {}
const nobody: ReadonlyArray<string> = []

/**
 * Bytes are copied when they are taken: a message waits in queues, histories and sockets, and the publisher's buffer may
 * be used again, be a small part of a large one, or be shared with a thread.
 */
const own = (data: Payload): Payload => typeof data === "string" ? data : new Uint8Array(data)

class Service implements ChannelHost {
  private readonly hub: Hub
  private readonly backend: Backend
  private readonly clock: Clock.Clock
  private readonly scope: Scope.Scope
  private readonly capacity: number
  private readonly maxDelayed: number
  readonly checks: Checks
  readonly presence: Backend["presence"]
  private readonly interests: Interests
  private published = 0
  private delayed = 0
  private nextOwner = 1

  constructor(
    hub: Hub,
    backend: Backend,
    options: Options,
    clock: Clock.Clock,
    scope: Scope.Scope,
    fork: (effect: Effect.Effect<void>) => void
  ) {
    this.hub = hub
    this.backend = backend
    this.presence = backend.presence
    this.clock = clock
    this.scope = scope
    this.checks = new Checks(hub, options)
    this.interests = new Interests(backend, fork)
    this.capacity = options.capacity ?? defaults.capacity
    this.maxDelayed = options.maxDelayed ?? defaults.maxDelayed
  }

  numbers() {
    const { hub } = this
    return {
      topics: hub.topicCount,
      patterns: hub.patternCount,
      channels: hub.channelCount,
      published: this.published,
      delivered: hub.delivered,
      droppedFull: hub.droppedFull,
      droppedExpired: hub.droppedExpired,
      delayed: this.delayed
    }
  }

  get service(): PubSub["Service"] {
    const { backend, hub } = this
    return PubSub.of({
      publish: this.publish,
      send: this.send,
      subscribe: this.subscribe,
      listen: this.listen,
      open: this.open,
      history: (topic, replay = noReplay) =>
        Effect.suspend(() =>
          this.checks.topic(topic) ?? this.checks.replay(topic, replay) ?? backend.history(topic, replay)
        ),
      presence: {
        track: (topic, key, value = "") =>
          Effect.suspend(() => {
            const owner = this.newOwner()
            return this.checks.presence(topic, key, value) ??
              Effect.acquireRelease(
                backend.presence.add(topic, key, value, owner),
                () => Effect.ignore(backend.presence.remove(topic, key, owner))
              )
          }),
        list: (topic, limit = 100) =>
          Effect.suspend(() =>
            this.checks.topic(topic) ?? checkCount("limit", limit) ?? backend.presence.list(topic, limit)
          ),
        count: (topic) => Effect.suspend(() => this.checks.topic(topic) ?? backend.presence.count(topic)),
        scan: (topic, cursor, count = 100) =>
          Effect.suspend(() =>
            this.checks.topic(topic) ?? checkCount("count", count) ?? backend.presence.scan(topic, cursor, count)
          )
      },
      topics: Effect.sync(() => hub.topics()),
      subscribers: (topic) => Effect.sync(() => hub.subscribers(topic)),
      flush: backend.flush,
      status: Effect.sync(backend.status),
      stats: Effect.sync(() => this.numbers())
    })
  }

  /** The end of the layer: streams end, and nobody waits for the back end, which ends next. */
  close(): void {
    this.interests.clear()
    this.hub.shutdown()
  }

  newOwner(): number {
    return this.nextOwner++
  }

  // ---- sending

  readonly publish: PubSub["Service"]["publish"] = (topic, data, options) =>
    Effect.suspend(() => {
      const problem = this.checks.topic(topic) ?? this.checks.size(data)
      if (problem !== undefined) return problem
      if (options === undefined) {
        return this.taken(this.backend.publish({ topic, data: own(data), excluded: nobody, keep: 0 }))
      }
      const keep = options.keep ?? 0
      const unkept = this.checks.keep(keep)
      if (unkept !== undefined) return unkept
      const publication = { topic, data: own(data), excluded: excludedBy(options), keep }
      const now = () => this.taken(this.backend.publish(publication))
      return this.inTime(options.delay, { _tag: "Publish", publication }, now)
    })

  private taken(publishing: Effect.Effect<void, PubSubError>): Effect.Effect<void, PubSubError> {
    return Effect.mapEager(publishing, this.count)
  }

  private readonly count = (): void => void this.published++

  readonly send: PubSub["Service"]["send"] = (channel, data, options) =>
    Effect.suspend(() => {
      const problem = this.checks.size(data)
      if (problem !== undefined) return problem
      if (this.hub.isClosed) return refuse(layerClosed)
      if (TopicName.problemWith(channel) !== undefined) return refuse({ _tag: "UnknownChannel", channel })
      const what = { _tag: "Send", channel, data: own(data) } as const
      return this.inTime(options?.delay, what, () => this.backend.send(channel, what.data))
    })

  private inTime(
    delay: Duration.Input | undefined,
    what: Delayed,
    now: () => Effect.Effect<void, PubSubError>
  ): Effect.Effect<void, PubSubError> {
    if (delay === undefined) return now()
    const millis = Duration.toMillis(delay)
    if (!Number.isFinite(millis)) {
      return refuse({ _tag: "InvalidOption", option: "delay", value: delay, problem: "it takes finite durations" })
    }
    if (millis <= 0) return now()
    if (this.backend.later !== undefined) {
      const handingOver = this.backend.later(what, this.clock.currentTimeMillisUnsafe() + millis)
      return what._tag === "Publish" ? this.taken(handingOver) : handingOver
    }
    if (this.delayed >= this.maxDelayed) return refuse({ _tag: "TooManyDelayed", limit: this.maxDelayed })
    this.delayed++
    const wait = Effect.ensuring(Effect.sleep(millis), Effect.sync(() => void this.delayed--))
    return Effect.asVoid(
      Effect.forkIn(Effect.andThen(wait, Effect.ignore(Effect.suspend(now))), this.scope, { startImmediately: true })
    )
  }

  // ---- receiving

  readonly listen: PubSub["Service"]["listen"] = (name, callback) =>
    Effect.suspend(() => {
      const problem = this.checks.name(name)
      if (problem !== undefined) return problem
      let leave = (): void => {}
      const enlisted = Effect.acquireRelease(Effect.sync(() => leave = this.enlist(name, callback)), Effect.sync)
      // Stands around all of it: an interruption between two steps leaves nothing behind.
      return Effect.onError(Effect.flatMap(enlisted, () => this.interests.attached(name)), () => Effect.sync(leave))
    })

  private enlist(name: string, callback: (message: Message) => void): () => void {
    const leave = this.hub.listen(name, callback)
    this.interests.enter(name)
    let isListening = true
    return () => {
      if (!isListening) return
      isListening = false
      leave()
      this.interests.exit(name)
    }
  }

  readonly subscribe: PubSub["Service"]["subscribe"] = (name, options = noReplay) =>
    Stream.unwrap(
      Effect.map(
        Effect.tap(
          this.openReceiver(options.capacity, false),
          (receiver) => this.join(receiver, name, options)
        ),
        (receiver) => receiver.mailbox.stream
      )
    )

  readonly open: PubSub["Service"]["open"] = (options) =>
    Effect.flatMap(this.openReceiver(options?.capacity, true), (receiver) =>
      Effect.acquireRelease(
        Effect.sync(() => new ServiceChannel(this, receiver)),
        (channel) => channel.untrackAll
      ))

  private openReceiver(
    capacity: number | undefined,
    named: boolean
  ): Effect.Effect<Receiver, PubSubError, Scope.Scope> {
    return Effect.suspend(() =>
      checkCount("capacity", capacity ?? this.capacity) ?? (this.hub.isClosed ? refuse(layerClosed) : undefined) ??
        Effect.acquireRelease(
          Effect.sync(() => this.hub.open(capacity ?? this.capacity, named)),
          (receiver) =>
            Effect.sync(() => {
              const names = [...receiver.subscriptions.keys()]
              this.hub.close(receiver)
              for (const name of names) this.interests.exit(name)
            })
        )
    )
  }

  join(receiver: Receiver, name: string, replay: Replay): Effect.Effect<void, PubSubError> {
    return Effect.suspend(() => {
      const problem = this.checks.name(name) ?? this.checks.replay(name, replay) ?? checkChannel(receiver)
      if (problem !== undefined) return problem
      if (receiver.subscriptions.has(name)) {
        // Whoever came first may have given up meanwhile, and left.
        return Effect.andThen(
          this.interests.attached(name),
          Effect.suspend(() =>
            receiver.subscriptions.has(name) || receiver.mailbox.isClosed
              ? Effect.void
              : this.join(receiver, name, replay)
          )
        )
      }
      let subscription: Subscription | undefined
      const joined = Effect.suspend(() => {
        subscription = this.hub.join(receiver, name)
        this.interests.enter(name)
        return replay.after === undefined && replay.last === undefined
          ? this.interests.attached(name)
          : this.replayed(subscription, replay)
      })
      // Stands around all of it: an interruption between two steps leaves nothing behind.
      return Effect.onError(joined, () => subscription === undefined ? Effect.void : this.leave(subscription))
    })
  }

  private replayed(subscription: Subscription, replay: Replay): Effect.Effect<void, PubSubError> {
    const { name } = subscription
    subscription.held = []
    return Effect.flatMap(
      Effect.andThen(this.interests.attached(name), this.backend.history(name, replay)),
      (kept) => Effect.sync(() => this.play(subscription, kept, kept.at(-1)?.id ?? replay.after))
    )
  }

  /** A history, then what came while it was fetched, without what is in both. The reader has `last` and all before it. */
  private play(subscription: Subscription, kept: ReadonlyArray<Message>, last: string | undefined): void {
    const { name, receiver } = subscription
    // Left in the meantime.
    if (receiver.subscriptions.get(name) !== subscription) return
    receiver.mailbox.offerReplayed(kept)
    // `last` may be anything that a client says: what is no id is before and after nothing.
    this.hub.release(
      subscription,
      ({ id }) => id === undefined || last === undefined || (id !== last && !this.backend.isAfter(last, id))
    )
  }

  leave(subscription: Subscription): Effect.Effect<void> {
    return Effect.sync(() => {
      const { name, receiver } = subscription
      // Whoever closed the receiver in the meantime has left everything.
      if (receiver.subscriptions.get(name) !== subscription) return
      this.hub.leave(subscription)
      this.interests.exit(name)
    })
  }
}
