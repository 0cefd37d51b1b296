/**
 * What a PubSub layer adds to the service that all of them share: the way between processes, and a memory. Types only.
 */
import type * as Effect from "effect/Effect"
import type { Message, Payload, Presence, PresencePage, PubSubError, Replay, Status } from "../../src/service/PubSub.ts"

/** A message on its way out. Names, sizes and options are checked. */
export interface Publication {
  readonly topic: string
  readonly data: Payload
  /** Channels that do not get it. */
  readonly excluded: ReadonlyArray<string>
  /** Length of the history that it becomes part of; 0: it is not kept. */
  readonly keep: number
}

/** What waits for its time. */
export type Delayed =
  | { readonly _tag: "Publish"; readonly publication: Publication }
  | { readonly _tag: "Send"; readonly channel: string; readonly data: Payload }

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
  /** Takes messages that are due later, where delays outlive the process. Without it they wait in this one. */
  readonly later?: (what: Delayed, dueMillis: number) => Effect.Effect<void, PubSubError>
  /**
   * Called when the first in this process subscribes to a name, and when the last one has left. Runs are started in the
   * order of events and without a wait, so a back end that writes in its first synchronous step keeps that order.
   * Uninterruptible; must end by itself.
   */
  readonly attach?: (topicOrPattern: string) => Effect.Effect<void, PubSubError>
  readonly detach?: (topicOrPattern: string) => Effect.Effect<void, PubSubError>
  readonly history: (topic: string, replay: Replay) => Effect.Effect<ReadonlyArray<Message>, PubSubError>
  /** Compares ids of one topic. Either may come from a client: false where one of them is no id. */
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
