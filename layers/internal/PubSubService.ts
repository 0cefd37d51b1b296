/**
 * The PubSub service over a hub and a back end: checks names, sizes and options, joins histories to live messages, waits
 * for delays, ties subscriptions to scopes. Every PubSub layer is this service with another back end.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TopicName from "../../src/schema/TopicName.ts"
import {
  type Channel,
  type Message,
  type Payload,
  type Presence,
  type PresencePage,
  type PublishOptions,
  PubSub,
  PubSubError,
  type PubSubErrorReason,
  type Replay,
  type Status
} from "../../src/service/PubSub.ts"
import { Hub, type Receiver, type Subscription } from "./PubSubHub.ts"
import * as PubSubMetrics from "./PubSubMetrics.ts"

/** Limits that every layer has. */
export interface Options {
  /** Messages that wait for a receiver that does not read, unless it says otherwise. Default 100. */
  readonly capacity?: number | undefined
  /** How long a message waits for it. Default 60 seconds. */
  readonly expiry?: Duration.Input | undefined
  /** Longest payload in bytes; text counts as UTF-8. Default 1,048,576. */
  readonly maxMessageBytes?: number | undefined
  /** Messages that wait for their delay in this process. Default 10,000. */
  readonly maxDelayed?: number | undefined
  /** Most messages that a publication can have kept of its topic. Default 1,000. */
  readonly maxKept?: number | undefined
}

/** A message on its way out. Names, sizes and options are checked. */
export interface Publication {
  readonly topic: string
  readonly data: Payload
  /** Channels that do not get it. */
  readonly excluded: ReadonlyArray<string>
  /** Length of the history that it becomes part of; 0: it is not kept. */
  readonly keep: number
}

/**
 * What carries messages between processes, and remembers. It calls `hub.deliver` for every message that arrives, its own
 * included, and `hub.deliverTo` for direct ones.
 */
export interface Backend {
  /** What it is called in metrics: `memory`, `redis`. */
  readonly name: string
  readonly publish: (publication: Publication) => Effect.Effect<void, PubSubError>
  /** Fails with `ChannelFull` or `UnknownChannel` like the receiver's own hub says. */
  readonly send: (channel: string, data: Payload) => Effect.Effect<void, PubSubError>
  /**
   * Takes messages that are due later, where delays outlive the process. Without it they wait in this one. Exactly one of
   * `publication` and `direct` is there.
   */
  readonly later?: (
    what:
      | { readonly _tag: "Publish"; readonly publication: Publication }
      | { readonly _tag: "Send"; readonly channel: string; readonly data: Payload },
    dueMillis: number
  ) => Effect.Effect<void, PubSubError>
  /**
   * Called when the first in this process subscribes to a name, and when the last one has left. Runs are started in the
   * order of events and without a wait, so a back end that writes in its first synchronous step keeps that order.
   * Uninterruptible; must end by itself.
   */
  readonly attach?: (topicOrPattern: string) => Effect.Effect<void, PubSubError>
  readonly detach?: (topicOrPattern: string) => Effect.Effect<void, PubSubError>
  readonly history: (topic: string, replay: Replay) => Effect.Effect<ReadonlyArray<Message>, PubSubError>
  /** Compares ids of one topic. */
  readonly isAfter: (id: string, other: string) => boolean
  readonly presence: {
    /** `owner` is unique among the tracks of this process; adding again with another value replaces the value. */
    readonly add: (topic: string, key: string, value: string, owner: number) => Effect.Effect<void, PubSubError>
    readonly remove: (topic: string, key: string, owner: number) => Effect.Effect<void, PubSubError>
    readonly list: (topic: string, limit: number) => Effect.Effect<ReadonlyArray<Presence>, PubSubError>
    readonly count: (topic: string) => Effect.Effect<number, PubSubError>
    readonly scan: (
      topic: string,
      cursor: string | undefined,
      count: number
    ) => Effect.Effect<PresencePage, PubSubError>
  }
  readonly flush: Effect.Effect<void, PubSubError>
  readonly status: () => Status
}

/** The reference's limits. */
const defaults = { capacity: 100, maxMessageBytes: 1024 * 1024, maxDelayed: 10_000, maxKept: 1000 }
const defaultExpiry = Duration.seconds(60)

/** Longest key and value of a presence, in characters. */
const maxKeyLength = 256
const maxValueLength = 4096

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
    failed: (topic, cause) => fork(Effect.logError(`A subscriber of ${topic} failed`, cause))
  })
  const backend = yield* makeBackend(hub)
  const service = new Service(hub, backend, options, clock, scope, (effect) => Fiber.runIn(fork(effect), scope))
  yield* Effect.addFinalizer(() => Effect.sync(() => service.close()))
  const isConnected = () => backend.status().isConnected
  const unregister = PubSubMetrics.register(context, backend.name, () => service.numbers(), isConnected)
  yield* Effect.addFinalizer(() => Effect.sync(unregister))
  return service.service
})

/** Fails where a time is not above 0. */
export const checkDuration = (option: string, value: Duration.Input): Effect.Effect<void, PubSubError> =>
  Duration.toMillis(value) > 0
    ? Effect.void
    : refuse({ _tag: "InvalidOption", option, value, problem: "it takes durations above 0" })

const checkOptions = (options: Options): Effect.Effect<void, PubSubError> => {
  for (const option of ["capacity", "maxMessageBytes", "maxDelayed", "maxKept"] as const) {
    const value = options[option]
    const least = option === "capacity" || option === "maxMessageBytes" ? 1 : 0
    if (value !== undefined && !(Number.isInteger(value) && value >= least)) {
      return refuse({ _tag: "InvalidOption", option, value, problem: `it takes whole numbers from ${least}` })
    }
  }
  return Effect.void
}

const refuse = (reason: PubSubErrorReason): Effect.Effect<never, PubSubError> =>
  Effect.fail(new PubSubError({ reason }))

const layerClosed: PubSubErrorReason = { _tag: "Unavailable", problem: "its layer is closed" }

const noReplay: Replay = {}
const nobody: ReadonlyArray<string> = []

/** How many here are subscribed to a name, and whether the back end knows. */
interface Interest {
  count: number
  isStarted: boolean
  readonly attached: Deferred.Deferred<void, PubSubError>
}

class Service {
  readonly hub: Hub
  readonly backend: Backend
  private readonly clock: Clock.Clock
  private readonly scope: Scope.Scope
  private readonly fork: (effect: Effect.Effect<void>) => void
  private readonly capacity: number
  private readonly maxMessageBytes: number
  private readonly maxDelayed: number
  private readonly maxKept: number
  private readonly interests = new Map<string, Interest>()
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
    this.clock = clock
    this.scope = scope
    this.fork = fork
    this.capacity = options.capacity ?? defaults.capacity
    this.maxMessageBytes = options.maxMessageBytes ?? defaults.maxMessageBytes
    this.maxDelayed = options.maxDelayed ?? defaults.maxDelayed
    this.maxKept = options.maxKept ?? defaults.maxKept
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
          this.checkTopic(topic) ?? this.checkReplay(topic, replay) ?? backend.history(topic, replay)
        ),
      presence: {
        track: (topic, key, value = "") =>
          Effect.suspend(() => {
            const owner = this.newOwner()
            return this.checkPresence(topic, key, value) ??
              Effect.acquireRelease(
                backend.presence.add(topic, key, value, owner),
                () => Effect.ignore(backend.presence.remove(topic, key, owner))
              )
          }),
        list: (topic, limit = 100) =>
          Effect.suspend(() =>
            this.checkTopic(topic) ?? checkCount("limit", limit) ?? backend.presence.list(topic, limit)
          ),
        count: (topic) => Effect.suspend(() => this.checkTopic(topic) ?? backend.presence.count(topic)),
        scan: (topic, cursor, count = 100) =>
          Effect.suspend(() =>
            this.checkTopic(topic) ?? checkCount("count", count) ?? backend.presence.scan(topic, cursor, count)
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
      const problem = this.checkTopic(topic) ?? this.checkSize(data)
      if (problem !== undefined) return problem
      if (options === undefined) {
        this.published++
        return this.backend.publish({ topic, data, excluded: nobody, keep: 0 })
      }
      const keep = options.keep ?? 0
      if (!(Number.isInteger(keep) && keep >= 0 && keep <= this.maxKept)) {
        return refuse({
          _tag: "InvalidOption",
          option: "keep",
          value: keep,
          problem: `it takes whole numbers from 0 to ${this.maxKept}`
        })
      }
      const publication = { topic, data, excluded: excludedBy(options), keep }
      return this.inTime(options.delay, { _tag: "Publish", publication }, () => {
        this.published++
        return this.backend.publish(publication)
      })
    })

  readonly send: PubSub["Service"]["send"] = (channel, data, options) =>
    Effect.suspend(() => {
      const problem = this.checkSize(data)
      if (problem !== undefined) return problem
      if (this.hub.isClosed) return refuse(layerClosed)
      if (TopicName.problemWith(channel) !== undefined) return refuse({ _tag: "UnknownChannel", channel })
      return this.inTime(options?.delay, { _tag: "Send", channel, data }, () => this.backend.send(channel, data))
    })

  private inTime(
    delay: Duration.Input | undefined,
    what: Parameters<NonNullable<Backend["later"]>>[0],
    now: () => Effect.Effect<void, PubSubError>
  ): Effect.Effect<void, PubSubError> {
    if (delay === undefined) return now()
    const millis = Duration.toMillis(delay)
    if (!Number.isFinite(millis)) {
      return refuse({ _tag: "InvalidOption", option: "delay", value: delay, problem: "it takes finite durations" })
    }
    if (millis <= 0) return now()
    if (this.backend.later !== undefined) {
      if (what._tag === "Publish") this.published++
      return this.backend.later(what, this.clock.currentTimeMillisUnsafe() + millis)
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
      const problem = this.checkName(name)
      if (problem !== undefined) return problem
      let leave = (): void => {}
      const enlisted = Effect.acquireRelease(Effect.sync(() => leave = this.enlist(name, callback)), Effect.sync)
      // Stands around all of it: an interruption between two steps leaves nothing behind.
      return Effect.onError(Effect.flatMap(enlisted, () => this.attached(name)), () => Effect.sync(leave))
    })

  private enlist(name: string, callback: (message: Message) => void): () => void {
    const leave = this.hub.listen(name, callback)
    this.enter(name)
    let isListening = true
    return () => {
      if (!isListening) return
      isListening = false
      leave()
      this.exit(name)
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
              for (const name of names) this.exit(name)
            })
        )
    )
  }

  join(receiver: Receiver, name: string, replay: Replay): Effect.Effect<void, PubSubError> {
    return Effect.suspend(() => {
      const problem = this.checkName(name) ?? this.checkReplay(name, replay) ?? checkChannel(receiver)
      if (problem !== undefined) return problem
      if (receiver.subscriptions.has(name)) return this.attached(name)
      let subscription: Subscription | undefined
      const joined = Effect.suspend(() => {
        subscription = this.hub.join(receiver, name)
        this.enter(name)
        return replay.after === undefined && replay.last === undefined
          ? this.attached(name)
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
      Effect.andThen(this.attached(name), this.backend.history(name, replay)),
      (kept) => Effect.sync(() => this.play(subscription, kept))
    )
  }

  /** A history, then what came while it was fetched, without what is in both. */
  private play(subscription: Subscription, kept: ReadonlyArray<Message>): void {
    const { name, receiver } = subscription
    // Left in the meantime.
    if (receiver.subscriptions.get(name) !== subscription) return
    receiver.mailbox.offerReplayed(kept)
    const last = kept.length > 0 ? kept[kept.length - 1]!.id : undefined
    this.hub.release(
      subscription,
      ({ id }) => id === undefined || last === undefined || this.backend.isAfter(id, last)
    )
  }

  leave(subscription: Subscription): Effect.Effect<void> {
    return Effect.sync(() => {
      const { name, receiver } = subscription
      // Whoever closed the receiver in the meantime has left everything.
      if (receiver.subscriptions.get(name) !== subscription) return
      this.hub.leave(subscription)
      this.exit(name)
    })
  }

  // ---- telling the back end

  private enter(name: string): void {
    if (this.backend.attach === undefined) return
    const interest = this.interests.get(name)
    if (interest !== undefined) interest.count++
    else this.interests.set(name, { count: 1, isStarted: false, attached: Deferred.makeUnsafe() })
  }

  private exit(name: string): void {
    const interest = this.interests.get(name)
    if (interest === undefined || --interest.count > 0) return
    this.interests.delete(name)
    const { detach } = this.backend
    if (interest.isStarted && detach !== undefined) this.run(Effect.ignore(detach(name)))
  }

  /** Completes when the back end knows; does nothing where there is no other process. */
  private attached(name: string): Effect.Effect<void, PubSubError> {
    const { attach } = this.backend
    if (attach === undefined) return Effect.void
    return Effect.suspend(() => {
      const interest = this.interests.get(name)
      if (interest === undefined) return Effect.void
      if (!interest.isStarted) {
        interest.isStarted = true
        this.run(Effect.flatMap(
          Effect.exit(attach(name)),
          (exit) => Effect.sync(() => Deferred.doneUnsafe(interest.attached, exit))
        ))
      }
      return Deferred.await(interest.attached)
    })
  }

  // Not interrupted with the one who came first: others wait for the same.
  private run(effect: Effect.Effect<void>): void {
    this.fork(Effect.uninterruptible(effect))
  }

  // ---- checking

  private checkTopic(name: string): Effect.Effect<never, PubSubError> | undefined {
    if (this.hub.isKnownTopic(name)) return undefined
    if (this.hub.isClosed) return refuse(layerClosed)
    const problem = TopicName.problemWith(name)
    return problem === undefined ? undefined : refuse({ _tag: "InvalidTopic", name, problem })
  }

  private checkName(name: string): Effect.Effect<never, PubSubError> | undefined {
    if (!TopicName.isPattern(name)) return this.checkTopic(name)
    if (this.hub.isClosed) return refuse(layerClosed)
    const problem = TopicName.problemWithPattern(name)
    return problem === undefined ? undefined : refuse({ _tag: "InvalidPattern", pattern: name, problem })
  }

  private checkReplay(name: string, replay: Replay): Effect.Effect<never, PubSubError> | undefined {
    if (replay.after === undefined && replay.last === undefined) return undefined
    if (TopicName.isPattern(name)) {
      const option = replay.after === undefined ? "last" : "after"
      return refuse({ _tag: "InvalidOption", option, value: replay[option], problem: "a pattern has no history" })
    }
    return replay.last === undefined ? undefined : checkCount("last", replay.last)
  }

  private checkSize(data: Payload): Effect.Effect<never, PubSubError> | undefined {
    const limit = this.maxMessageBytes
    // A UTF-16 unit is at most three bytes of UTF-8.
    if (data.length <= limit && (typeof data !== "string" || data.length * 3 <= limit)) return undefined
    const bytes = typeof data === "string" ? Buffer.byteLength(data) : data.length
    return bytes <= limit ? undefined : refuse({ _tag: "MessageTooLarge", bytes, limit })
  }

  checkPresence(topic: string, key: string, value: string): Effect.Effect<never, PubSubError> | undefined {
    const tooLong = (option: string, text: string, limit: number) =>
      refuse({ _tag: "InvalidOption", option, value: `${text.slice(0, 20)}…`, problem: `the limit is ${limit}` })
    if (key.length > maxKeyLength) return tooLong("key", key, maxKeyLength)
    if (value.length > maxValueLength) return tooLong("value", value, maxValueLength)
    return this.checkTopic(topic)
  }
}

/** **Returns** a failure where a number is none that counts. */
export const checkCount = (option: string, value: number): Effect.Effect<never, PubSubError> | undefined =>
  Number.isInteger(value) && value >= 1
    ? undefined
    : refuse({ _tag: "InvalidOption", option, value, problem: "it takes whole numbers from 1" })

const checkChannel = ({ channel, mailbox }: Receiver): Effect.Effect<never, PubSubError> | undefined => {
  if (!mailbox.isClosed) return undefined
  return refuse(channel === undefined ? layerClosed : { _tag: "UnknownChannel", channel })
}

/** A copy: the message may be sent later. */
const excludedBy = ({ exclude }: PublishOptions): ReadonlyArray<string> =>
  exclude === undefined ? nobody : typeof exclude === "string" ? [exclude] : [...exclude]

class ServiceChannel implements Channel {
  readonly name: string
  readonly receive: Channel["receive"]
  readonly poll: Channel["poll"]
  readonly arrival: Channel["arrival"]
  readonly messages: Channel["messages"]
  private readonly service: Service
  private readonly receiver: Receiver
  /** Owners of what this channel tracks, by topic and key. */
  private readonly tracked = new Map<string, { readonly topic: string; readonly key: string; readonly owner: number }>()

  constructor(service: Service, receiver: Receiver) {
    this.service = service
    this.receiver = receiver
    this.name = receiver.channel!
    this.receive = receiver.mailbox.take
    this.poll = receiver.mailbox.poll
    this.arrival = receiver.mailbox.waits
    this.messages = receiver.mailbox.stream
  }

  get subscriptions(): ReadonlyArray<string> {
    return [...this.receiver.subscriptions.keys()]
  }

  get pending(): number {
    return this.receiver.mailbox.pending()
  }

  readonly subscribe: Channel["subscribe"] = (name, replay = noReplay) => this.service.join(this.receiver, name, replay)

  readonly unsubscribe: Channel["unsubscribe"] = (name) =>
    Effect.suspend(() => {
      const subscription = this.receiver.subscriptions.get(name)
      return subscription === undefined ? Effect.void : this.service.leave(subscription)
    })

  readonly unsubscribeAll: Channel["unsubscribeAll"] = Effect.suspend(() =>
    Effect.forEach(this.subscriptions, this.unsubscribe, { discard: true })
  )

  readonly publish: Channel["publish"] = (topic, data, options) =>
    this.service.publish(topic, data, { ...options, exclude: [this.name, ...excludedBy(options ?? {})] })

  readonly track: Channel["track"] = (topic, key, value = "") =>
    Effect.suspend(() => {
      const problem = this.service.checkPresence(topic, key, value) ?? checkChannel(this.receiver)
      if (problem !== undefined) return problem
      const place = `${topic}\n${key}`
      const known = this.tracked.get(place) ?? { topic, key, owner: this.service.newOwner() }
      this.tracked.set(place, known)
      return this.service.backend.presence.add(topic, key, value, known.owner)
    })

  readonly untrack: Channel["untrack"] = (topic, key) =>
    Effect.suspend(() => {
      const place = `${topic}\n${key}`
      const known = this.tracked.get(place)
      if (known === undefined) return Effect.void
      this.tracked.delete(place)
      return this.service.backend.presence.remove(topic, key, known.owner)
    })

  readonly untrackAll: Effect.Effect<void> = Effect.suspend(() =>
    Effect.forEach([...this.tracked.values()], ({ key, topic }) => Effect.ignore(this.untrack(topic, key)), {
      concurrency: "unbounded",
      discard: true
    })
  )
}
