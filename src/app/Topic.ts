/**
 * Topics that know what their messages are: values by Schema in, values by Schema out, JSON in between. Owns the coding;
 * who gets a message is the business of the PubSub service.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TopicName from "../schema/TopicName.ts"
import {
  type Message,
  type PublishOptions,
  PubSub,
  PubSubError,
  type Replay,
  type SubscribeOptions
} from "../service/PubSub.ts"
import { SessionBase } from "./internal/SessionBase.ts"
import { jsonEncoder, type PlainSchema } from "./internal/SessionJson.ts"
import { eventOf } from "./internal/SseMessage.ts"
import type { SendError } from "./SendError.ts"
import type { SseSession } from "./SseSession.ts"

/** A message as a value. */
export interface Entry<out A> {
  /** Its place in the history, `undefined` where it was not kept. */
  readonly id: string | undefined
  /** Shared by all subscribers of a process: not to be changed. */
  readonly value: A
}

export interface Options {
  /** Messages kept for those who come later or come back. Default 0; at most the Layer's `maxKept`, 1,000. */
  readonly keep?: number | undefined
}

/** How a topic is followed by a stream of server-sent events. */
export interface FeedOptions {
  /** Name of the events. Default: none, which clients read as `message`. */
  readonly event?: string | undefined
  /**
   * Kept messages that a client gets which comes for the first time. Default 0; returning ones get what they missed. A
   * client that has not had any message yet has no id to come back with, and counts as a new one.
   */
  readonly last?: number | undefined
  /** Messages that wait for a slow client; further ones it misses. Default: the Layer's, 100. */
  readonly capacity?: number | undefined
}

/** A topic of one kind of values. Its functions need no `this`. */
export interface Topic<in out A> {
  readonly name: string
  /**
   * Publishes a value. **Fails with** `InvalidMessage` when it does not fit the Schema, and as `PubSub.publish` does.
   */
  readonly publish: (value: A, options?: Omit<PublishOptions, "keep">) => Effect.Effect<void, PubSubError, PubSub>
  /**
   * The values published while the Stream runs, after those that a replay asks for. What does not fit the Schema, such as
   * a message of another version of the program, is skipped; a warning a minute at most says how many were.
   */
  readonly subscribe: (options?: SubscribeOptions) => Stream.Stream<A, PubSubError, PubSub>
  /** As `subscribe`, with the ids. */
  readonly entries: (options?: SubscribeOptions) => Stream.Stream<Entry<A>, PubSubError, PubSub>
  /** What is kept, oldest first. */
  readonly history: (replay?: Replay) => Effect.Effect<ReadonlyArray<Entry<A>>, PubSubError, PubSub>
  /** Reads a message that came another way: by a pattern, or through a channel. */
  readonly decode: (message: Message) => Option.Option<A>
  /**
   * Sends what is published to a client, until one of the two ends: each message as one event with its id, after what the
   * client's `Last-Event-ID` says it has missed. The text goes out as it was published; what does not fit is skipped.
   *
   * The stream starts first, so that a client whose subscription fails is cut off and comes back by itself.
   */
  readonly feed: <Data>(
    session: SseSession<Data>,
    options?: FeedOptions
  ) => Effect.Effect<void, PubSubError | SendError, PubSub>
}

/**
 * Declares a topic. The Schema decodes without waiting and needs no services.
 *
 * **Throws** a RangeError for a name that cannot be one, see schema/TopicName.ts.
 *
 * **Example**
 * ```ts
 * const News = Topic.make("news", Schema.Struct({ title: Schema.String }), { keep: 100 })
 * const app = App.sse((exchange) => News.feed(SseSession.make(exchange)))
 * ```
 */
export const make = <A>(name: string, schema: PlainSchema<A>, options: Options = {}): Topic<A> =>
  family(() => name, schema, options)()

/**
 * Declares topics that share a Schema and differ in name. The Schema is compiled once; a topic costs an object. The
 * function that is returned throws a RangeError for a name that cannot be one: check what clients choose.
 *
 * **Example**
 * ```ts
 * const Room = Topic.family((room: string) => `chat.${room}`, ChatMessage)
 * const post = Room("lobby").publish(message)
 * ```
 */
export const family = <Args extends ReadonlyArray<any>, A>(
  nameOf: (...args: Args) => string,
  schema: PlainSchema<A>,
  options: Options = {}
): (...args: Args) => Topic<A> => {
  const codec = new Codec(schema)
  return (...args) => {
    const name = nameOf(...args)
    const problem = TopicName.problemWith(name)
    if (problem !== undefined) throw new RangeError(`${JSON.stringify(name)} cannot be a topic: ${problem}`)
    return new TypedTopic(name, codec, options.keep ?? 0)
  }
}

/** Warnings of one family are at least so far apart: whoever can publish must not be able to fill the log. */
const warningIntervalMillis = 60_000

/** Between values and the texts that are published. One for all topics of a family. */
class Codec<in out A> {
  readonly encode: (topic: string, value: A) => Effect.Effect<string, PubSubError>
  private readonly parse: (text: string) => Option.Option<A>
  /** One decoding for all subscribers of a process. */
  private readonly decoded = new WeakMap<Message, Option.Option<A>>()
  /** Messages that did not fit, and that no warning has told of. */
  private untold = 0
  private warnedAtMillis = -Infinity

  constructor(schema: PlainSchema<A>) {
    const encode = jsonEncoder(schema, (problem) => problem)
    this.encode = (topic, value) =>
      Effect.mapErrorEager(
        encode(value),
        (problem) => new PubSubError({ reason: { _tag: "InvalidMessage", topic, problem } })
      )
    this.parse = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.toCodecJson(schema)))
  }

  readonly decode = (message: Message): Option.Option<A> => {
    let value = this.decoded.get(message)
    if (value === undefined) {
      value = this.tryParse(message.data)
      if (Option.isNone(value)) this.untold++
      this.decoded.set(message, value)
    }
    return value
  }

  // A Schema's own code may throw at what it did not expect: that is no reason to end a subscription.
  private tryParse(data: Message["data"]): Option.Option<A> {
    try {
      return typeof data === "string" ? this.parse(data) : Option.none()
    } catch {
      return Option.none()
    }
  }

  /** The value, or none and now and then a warning. */
  readonly read = (message: Message): Effect.Effect<Option.Option<A>> => {
    const value = this.decode(message)
    return Option.isSome(value) || this.untold === 0
      ? Effect.succeed(value)
      : Effect.as(this.warn(message.topic), value)
  }

  private warn(topic: string): Effect.Effect<void> {
    return Effect.flatMap(Clock.currentTimeMillis, (nowMillis) => {
      if (nowMillis - this.warnedAtMillis < warningIntervalMillis) return Effect.void
      const count = this.untold
      this.untold = 0
      this.warnedAtMillis = nowMillis
      return Effect.logWarning(
        count === 1
          ? `A message of ${topic} does not fit its Schema and is skipped`
          : `${count} messages, the last one of ${topic}, do not fit their Schema and are skipped`
      )
    })
  }
}

class TypedTopic<in out A> implements Topic<A> {
  readonly name: string
  private readonly codec: Codec<A>
  private readonly keep: number

  constructor(name: string, codec: Codec<A>, keep: number) {
    this.name = name
    this.codec = codec
    this.keep = keep
  }

  readonly decode: Topic<A>["decode"] = (message) => this.codec.decode(message)

  readonly publish: Topic<A>["publish"] = (value, options) =>
    Effect.flatMap(PubSub, (pubsub) =>
      Effect.flatMapEager(
        this.codec.encode(this.name, value),
        (text) => pubsub.publish(this.name, text, this.keep === 0 ? options : { ...options, keep: this.keep })
      ))

  readonly entries: Topic<A>["entries"] = (options) =>
    Stream.unwrap(Effect.map(PubSub, (pubsub) => pubsub.subscribe(this.name, options))).pipe(
      Stream.mapEffect(this.read),
      Stream.filter((entry) => entry !== undefined)
    )

  readonly subscribe: Topic<A>["subscribe"] = (options) => Stream.map(this.entries(options), ({ value }) => value)

  readonly history: Topic<A>["history"] = (replay) =>
    Effect.flatMap(PubSub, (pubsub) => pubsub.history(this.name, replay)).pipe(
      Effect.flatMap((messages) => Effect.forEach(messages, this.read)),
      Effect.map((entries) => entries.filter((entry) => entry !== undefined))
    )

  private readonly read = (message: Message): Effect.Effect<Entry<A> | undefined> =>
    Effect.map(
      this.codec.read(message),
      (value) => Option.isSome(value) ? { id: message.id, value: value.value } : undefined
    )

  readonly feed: Topic<A>["feed"] = (session, { capacity, event, last = 0 } = {}) =>
    Effect.flatMap(PubSub, (pubsub) => {
      const { lastEventId } = session
      const replay = lastEventId !== undefined ? { after: lastEventId } : last === 0 ? {} : { last }
      const named = event === undefined ? {} : { event }
      return SessionBase.of(session).forward(
        pubsub.subscribe(this.name, { ...replay, capacity }).pipe(
          Stream.filterEffect((message) => Effect.map(this.codec.read(message), Option.isSome)),
          Stream.map((message) => ({ ...eventOf(message), ...named }))
        )
      )
    })
}
