/**
 * PubSub within one process. Owns subscriptions, histories and presences until the layer closes; nothing leaves the
 * process. For several workers or machines there is a Layer with a broker, and no code that changes.
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Message, PubSub, PubSubError } from "../src/service/PubSub.ts"
import type * as PubSubBackend from "./internal/PubSubBackend.ts"
import * as PubSubChecks from "./internal/PubSubChecks.ts"
import { PubSubHistory } from "./internal/PubSubHistory.ts"
import type { Hub } from "./internal/PubSubHub.ts"
import { PubSubPresence } from "./internal/PubSubPresence.ts"
import * as PubSubService from "./internal/PubSubService.ts"

export interface Options extends PubSubChecks.Options {
  /** How long a history is kept after its last message. Default 1 day. */
  readonly historyTtl?: Duration.Input | undefined
  /** Topics that have a history; one more, and the one that was quiet for longest is forgotten. Default 10,000. */
  readonly maxHistories?: number | undefined
}

/**
 * Builds the service.
 *
 * **Fails with** `PubSubError` (`InvalidOption`) for limits that are no whole numbers and for times that are not above 0.
 * **Limits** histories hold at most `maxHistories * maxKept` messages; `keep` on topics whose names users choose is
 * bounded by that and by `historyTtl`.
 */
export const make = Effect.fnUntraced(function*(options: Options = {}) {
  const historyTtl = options.historyTtl ?? Duration.days(1)
  const maxHistories = options.maxHistories ?? 10_000
  yield* PubSubChecks.checkDuration("historyTtl", historyTtl)
  yield* PubSubChecks.checkCount("maxHistories", maxHistories) ?? Effect.void
  const kept = new PubSubHistory(Duration.toMillis(historyTtl), maxHistories)
  const clock = yield* Clock.Clock
  // In ids and names, so that those of an earlier run of the program are unknown and not wrong.
  const run = clock.currentTimeMillisUnsafe().toString(36)
  return yield* PubSubService.make(
    options,
    `memory-${run}`,
    (hub) => Effect.succeed(new MemoryBackend(hub, clock, kept, run))
  )
})

class MemoryBackend implements PubSubBackend.Backend {
  readonly name = "memory"
  private readonly hub: Hub
  private readonly clock: Clock.Clock
  private readonly kept: PubSubHistory
  private readonly present = new PubSubPresence()
  private readonly run: string
  private readonly sinceMillis: number
  private nextId = 1

  constructor(hub: Hub, clock: Clock.Clock, kept: PubSubHistory, run: string) {
    this.hub = hub
    this.clock = clock
    this.kept = kept
    this.run = run
    this.sinceMillis = clock.currentTimeMillisUnsafe()
  }

  readonly publish = ({ data, excluded, keep, topic }: PubSubBackend.Publication): Effect.Effect<void> => {
    const message: Message = { topic, data, id: keep === 0 ? undefined : this.newId() }
    if (keep > 0) this.kept.add(message, keep, this.clock.currentTimeMillisUnsafe())
    this.hub.deliver(message, excluded)
    return Effect.void
  }

  private newId(): string {
    return `${this.run}-${(this.nextId++).toString(36)}`
  }

  readonly isAfter = (id: string, other: string): boolean => numberIn(id) > numberIn(other)

  readonly send = (channel: string, data: Message["data"]): Effect.Effect<void, PubSubError> => {
    // What the sender published before is still on its way.
    if (this.hub.isDispatching) return Effect.andThen(this.flush, Effect.suspend(() => this.send(channel, data)))
    switch (this.hub.deliverTo(channel, data)) {
      case "delivered":
        return Effect.void
      case "full":
        return Effect.fail(
          new PubSubError({ reason: { _tag: "ChannelFull", channel, capacity: this.hub.capacityOf(channel) } })
        )
      case "unknown":
        return Effect.fail(new PubSubError({ reason: { _tag: "UnknownChannel", channel } }))
    }
  }

  readonly history: PubSubBackend.Backend["history"] = (topic, replay) =>
    Effect.sync(() => this.kept.read(topic, replay, this.clock.currentTimeMillisUnsafe()))

  readonly presence: PubSubBackend.Backend["presence"] = {
    add: (topic, key, value, owner) => Effect.sync(() => this.present.add(topic, key, value, owner)),
    remove: (topic, key, owner) => Effect.sync(() => this.present.remove(topic, key, owner)),
    list: (topic, limit) => Effect.sync(() => this.present.list(topic, limit)),
    count: (topic) => Effect.sync(() => this.present.count(topic)),
    scan: (topic, cursor, count) => Effect.sync(() => this.present.scan(topic, cursor, count))
  }

  /** Delivery is synchronous, except for those who are called or resumed by one: it ends before their next turn. */
  readonly flush: Effect.Effect<void> = Effect.suspend(() =>
    this.hub.isDispatching ? Effect.andThen(Effect.yieldNow, this.flush) : Effect.void
  )

  readonly status = () => ({ isConnected: true, problem: undefined, sinceMillis: this.sinceMillis })
}

const numberIn = (id: string): number => parseInt(id.slice(id.indexOf("-") + 1), 36)

/** PubSub within this process. See `make`. */
export const layer = (options?: Options): Layer.Layer<PubSub, PubSubError> => Layer.effect(PubSub, make(options))

/** PubSub within this process, with limits that the configuration names. */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<PubSub, PubSubError | Config.ConfigError> =>
  Layer.effect(PubSub, Effect.flatMap(Config.unwrap(options), make))
