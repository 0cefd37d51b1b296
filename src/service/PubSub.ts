/**
 * Messages between connections, in one process or in many: topics with any number of subscribers, channels with one
 * owner, presence, history. Contract and errors only; which Layer is used decides how far messages reach.
 *
 * Delivery is at most once, and in the order of publication from each sender to each receiver. Nothing is kept for those
 * who are not there, except where a publication asks for history.
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"

/**
 * What a message carries. Text stays text and bytes stay bytes; schemas for them are in app/Topic.ts.
 *
 * **Ownership** bytes are copied when they are published or sent: the buffer may be used again at once.
 */
export type Payload = string | Uint8Array

/** A message as a subscriber gets it. */
export interface Message {
  /** The topic it was published to; for a direct message the channel's name. */
  readonly topic: string
  /** Shared by all subscribers of a process: bytes must not be changed. */
  readonly data: Payload
  /** Its place in the history of its topic, `undefined` where it was not kept. Safe in `Last-Event-ID`. */
  readonly id: string | undefined
}

/** Where a subscription begins. Without one of them it begins now. */
export interface Replay {
  /**
   * First what was kept of the topic after this id, then what comes: no gap, nothing twice. An id that is not kept any
   * more, or never was one, replays everything that is. Messages of other topics go ahead while it is fetched.
   */
  readonly after?: string | undefined
  /** First the last so many kept messages of the topic. Ignored beside `after`. */
  readonly last?: number | undefined
}

export interface SubscribeOptions extends Replay {
  /** Messages that wait for a slow reader; further ones are dropped and counted. Default: the Layer's, 100. */
  readonly capacity?: number | undefined
}

export interface SendOptions {
  /** Wait so long before it is sent. Default 0. A process that ends takes its delayed messages along, see each Layer. */
  readonly delay?: Duration.Input | undefined
}

export interface PublishOptions extends SendOptions {
  /** Names of channels that do not get it, usually the publisher's own. */
  readonly exclude?: string | ReadonlyArray<string> | undefined
  /** Keep the last so many messages of the topic, this one included. Default 0: this one is not kept. */
  readonly keep?: number | undefined
}

/** Somebody who is there. */
export interface Presence {
  readonly key: string
  /** What was said of it, the last word counting. Default "". */
  readonly value: string
}

export interface PresencePage {
  /** In no order. A key that was there during the whole scan is in exactly one page. */
  readonly entries: ReadonlyArray<Presence>
  /** Where to go on; `undefined` after the last page. */
  readonly cursor: string | undefined
}

/**
 * One receiver with a name: what a connection is among the others. Owns its subscriptions and a bounded queue, and
 * leaves everything when its scope closes.
 */
export interface Channel {
  /** Where `PubSub.send` reaches it, from every process. Unique, never used twice. */
  readonly name: string
  /**
   * Joins a topic or a pattern; again is once. A message that comes by two subscriptions is received once. Completes when
   * nothing that is published from now on can be missed.
   *
   * **Fails with** `InvalidTopic`, `InvalidPattern`, `InvalidOption` for a replay of a pattern, which has no history,
   * `Unavailable`, and `UnknownChannel` once the channel's scope has closed; `track` does so as well.
   * **Gotchas** check a name that a client chooses: with the pattern `**` it hears everything.
   */
  readonly subscribe: (topicOrPattern: string, replay?: Replay) => Effect.Effect<void, PubSubError>
  /** Leaves one. What was queued before is still received. */
  readonly unsubscribe: (topicOrPattern: string) => Effect.Effect<void>
  readonly unsubscribeAll: Effect.Effect<void>
  /** The topics and patterns joined, in the order of joining. */
  readonly subscriptions: ReadonlyArray<string>
  /** Publishes to all others: its own queue does not get it. */
  readonly publish: (topic: string, data: Payload, options?: PublishOptions) => Effect.Effect<void, PubSubError>
  /** Says that somebody is there, until `untrack` or the end of this channel. */
  readonly track: (topic: string, key: string, value?: string) => Effect.Effect<void, PubSubError>
  readonly untrack: (topic: string, key: string) => Effect.Effect<void, PubSubError>
  /** The next message. Suspends until there is one, for ever once the channel is closed. Interrupting it loses nothing. */
  readonly receive: Effect.Effect<Message>
  /** The next message if one waits now. */
  readonly poll: Effect.Effect<Option.Option<Message>>
  /** What comes, until the scope of the channel or the layer closes. Shares the queue with `receive`. */
  readonly messages: Stream.Stream<Message>
  /** Completes when a message waits, at once where one does. Takes nothing. */
  readonly arrival: Effect.Effect<void>
  /** Messages that wait in the queue now. */
  readonly pending: number
}

/** Whether messages reach beyond this process, or could. */
export interface Status {
  /** False while the broker cannot be reached. Always true in memory. */
  readonly isConnected: boolean
  /** The last problem with the broker, while it lasts. Without secrets. */
  readonly problem: string | undefined
  /** When it became so, in milliseconds since the epoch. */
  readonly sinceMillis: number
}

/** Numbers of this process. */
export interface Stats {
  /** Topics, patterns and channels that have somebody here. */
  readonly topics: number
  readonly patterns: number
  readonly channels: number
  /** Publications that were taken; a delayed one counts when it is handed over. */
  readonly published: number
  /** Messages handed to callbacks and queues, each receiver counted. Replayed ones do not count. */
  readonly delivered: number
  /** Messages that somebody here did not get: the queue was full, or the message waited in it for too long. */
  readonly droppedFull: number
  readonly droppedExpired: number
  /** Messages that wait for their delay in this process. */
  readonly delayed: number
}

/** The name cannot be one of a topic. Fault: application. */
export interface InvalidTopic {
  readonly _tag: "InvalidTopic"
  readonly name: string
  readonly problem: string
}

/** The pattern cannot be one. Fault: application. */
export interface InvalidPattern {
  readonly _tag: "InvalidPattern"
  readonly pattern: string
  readonly problem: string
}

/** An option has a value that it cannot have. Fault: application. */
export interface InvalidOption {
  readonly _tag: "InvalidOption"
  readonly option: string
  readonly value: unknown
  readonly problem: string
}

/** A value does not fit the Schema of its topic. Fault: application. Says where, never what. */
export interface InvalidMessage {
  readonly _tag: "InvalidMessage"
  readonly topic: string
  readonly problem: string
}

/** The payload is above `maxMessageBytes`. Fault: application. Nothing was sent. */
export interface MessageTooLarge {
  readonly _tag: "MessageTooLarge"
  readonly bytes: number
  readonly limit: number
}

/** The channel's owner does not read fast enough. Fault: the receiver. Retryable later. */
export interface ChannelFull {
  readonly _tag: "ChannelFull"
  readonly channel: string
  readonly capacity: number
}

/** There is no such channel, or not any more. Fault: none; connections come and go. */
export interface UnknownChannel {
  readonly _tag: "UnknownChannel"
  readonly channel: string
}

/** So many messages wait for their delay that no more are taken. Fault: application. Retryable later. */
export interface TooManyDelayed {
  readonly _tag: "TooManyDelayed"
  readonly limit: number
}

/** The broker cannot be reached, or did not answer in time, or the layer is closed. Fault: operator. Retryable. */
export interface Unavailable {
  readonly _tag: "Unavailable"
  readonly problem: string
  readonly cause?: unknown
}

export type PubSubErrorReason =
  | InvalidTopic
  | InvalidPattern
  | InvalidOption
  | InvalidMessage
  | MessageTooLarge
  | ChannelFull
  | UnknownChannel
  | TooManyDelayed
  | Unavailable

/** Text on one line and not longer than a name: it may come from a client. */
const shown = (value: unknown): string => typeof value === "string" ? quoted(value) : String(value)

const quoted = (text: string): string =>
  JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text).replaceAll(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

/** Why a message or a subscription was not taken. Match on `error.reason._tag`. */
export class PubSubError extends Data.TaggedError("PubSubError")<{ readonly reason: PubSubErrorReason }> {
  override get message(): string {
    const reason = this.reason
    switch (reason._tag) {
      case "InvalidTopic":
        return `${shown(reason.name)} cannot be a topic: ${reason.problem}`
      case "InvalidPattern":
        return `${shown(reason.pattern)} cannot be a pattern: ${reason.problem}`
      case "InvalidOption":
        return `${reason.option} cannot be ${shown(reason.value)}: ${reason.problem}`
      case "InvalidMessage":
        return `A message for ${reason.topic} cannot be sent: ${reason.problem}`
      case "MessageTooLarge":
        return `A message of ${reason.bytes} bytes is above maxMessageBytes (${reason.limit})`
      case "ChannelFull":
        return `The channel ${reason.channel} has ${reason.capacity} messages waiting and takes no more`
      case "UnknownChannel":
        return `There is no channel ${shown(reason.channel)}`
      case "TooManyDelayed":
        return `${reason.limit} messages wait for their delay, which is maxDelayed`
      case "Unavailable":
        return `The message broker is not available: ${reason.problem}`
    }
  }
}

/**
 * When the layer closes, Streams end, callbacks are not called any more, and everything but `stats` and `status` that is
 * asked of it then fails with `Unavailable`.
 */
export class PubSub extends Context.Service<PubSub, {
  /**
   * Publishes to everyone who is subscribed to the topic, in every process that the Layer reaches. Succeeds when the
   * message is handed over, not when it is delivered; a receiver whose queue is full does not get it.
   *
   * **Fails with** `InvalidTopic`, `InvalidOption`, `MessageTooLarge`, `TooManyDelayed`, `Unavailable`.
   */
  readonly publish: (topic: string, data: Payload, options?: PublishOptions) => Effect.Effect<void, PubSubError>
  /**
   * Sends to one channel, wherever it lives. Succeeds when the message is in its queue.
   *
   * **Fails with** `ChannelFull`, `UnknownChannel`, and as `publish` does. A delayed message fails for nobody to see.
   */
  readonly send: (channel: string, data: Payload, options?: SendOptions) => Effect.Effect<void, PubSubError>
  /**
   * Subscribes to a topic or a pattern while the Stream runs. What is published before it runs is not seen, except by
   * `Replay`. Ends when the layer closes.
   */
  readonly subscribe: (
    topicOrPattern: string,
    options?: SubscribeOptions
  ) => Stream.Stream<Message, PubSubError>
  /**
   * Subscribes a callback until the scope closes, and completes when it is subscribed. It is called on the publisher's
   * time and has to return at once; what it throws is logged and hurts nobody else.
   */
  readonly listen: (
    topicOrPattern: string,
    callback: (message: Message) => void
  ) => Effect.Effect<void, PubSubError, Scope.Scope>
  /** Opens a channel for as long as the scope. */
  readonly open: (
    options?: { readonly capacity?: number | undefined }
  ) => Effect.Effect<Channel, PubSubError, Scope.Scope>
  /** What is kept of a topic, oldest first. */
  readonly history: (topic: string, replay?: Replay) => Effect.Effect<ReadonlyArray<Message>, PubSubError>
  /** Who is there, in all processes. Those of a process that died are gone after the Layer's `presenceTtl`. */
  readonly presence: {
    /**
     * Says that somebody is there, until the scope closes. A key that is tracked several times is there once, until the
     * last of them ends.
     */
    readonly track: (topic: string, key: string, value?: string) => Effect.Effect<void, PubSubError, Scope.Scope>
    /** At most `limit` (default 100) of those who are there. */
    readonly list: (topic: string, limit?: number) => Effect.Effect<ReadonlyArray<Presence>, PubSubError>
    /** How many keys are there. */
    readonly count: (topic: string) => Effect.Effect<number, PubSubError>
    /** A page of about `count` (default 100), from the start or from the cursor of the page before. */
    readonly scan: (topic: string, cursor?: string, count?: number) => Effect.Effect<PresencePage, PubSubError>
  }
  /** The topics that somebody in this process is subscribed to by name. */
  readonly topics: Effect.Effect<ReadonlyArray<string>>
  /** How many in this process are subscribed to the topic by name. */
  readonly subscribers: (topic: string) => Effect.Effect<number>
  /** Completes when all that this process has published so far is with its own subscribers. For tests. */
  readonly flush: Effect.Effect<void, PubSubError>
  readonly status: Effect.Effect<Status>
  readonly stats: Effect.Effect<Stats>
}>()("slipway/service/PubSub") {}
