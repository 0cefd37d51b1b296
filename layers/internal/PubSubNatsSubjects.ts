/**
 * Which subjects of NATS this process is subscribed to for its topics and patterns, and that a message which comes by
 * several of them is delivered once. Owns those subscriptions; who gets a message is the hub's business.
 *
 * Each matching subscription brings a copy of its own. Senders number their messages, and NATS keeps the order of each
 * sender: what is not above the last number of its sender has been delivered. Messages of other programs have no number;
 * there the oldest subscription delivers, and while one is left or joined such a message may get lost or come twice.
 */
import type { Msg, Subscription } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import * as TopicName from "../../src/schema/TopicName.ts"
import type { PubSubError } from "../../src/service/PubSub.ts"
import { type Connection, unavailable } from "./PubSubNatsConnection.ts"
import * as PubSubNatsMessage from "./PubSubNatsMessage.ts"

/** Senders whose last number is known. Of more, the one known longest is forgotten. */
const maxSenders = 10_000

interface Entry {
  /** Place in the order of subscribing. */
  readonly age: number
  /** For patterns. NATS knows `>` at the end only, so what follows a `**` is the hub's to check. */
  readonly matches: ((topic: string) => boolean) | undefined
  readonly subscription: Subscription
  failure: PubSubError | undefined
}

/** **Returns** the pattern's widest form that NATS can say: everything behind a `**` matches. */
const widened = (pattern: string): string => {
  const segments = pattern.split(".")
  const any = segments.indexOf("**")
  return any < 0 ? pattern : segments.slice(0, any + 1).join(".")
}

export class Subjects {
  private readonly connection: Connection
  private readonly prefix: string
  private readonly deliver: (message: Msg, topic: string) => void
  private readonly topics = new Map<string, Entry>()
  private readonly patterns = new Map<string, Entry>()
  /** The last numbers of senders; needed as soon as there has been a pattern, since without one nothing comes twice. */
  private readonly delivered = new Map<string, number>()
  private hadPattern = false
  private nextAge = 0

  /** Topics are subjects below `prefix`, which ends in a dot. */
  constructor(connection: Connection, prefix: string, deliver: (message: Msg, topic: string) => void) {
    this.connection = connection
    this.prefix = prefix
    this.deliver = deliver
  }

  /** Subscribes. While the server is away it succeeds, and takes effect with the next connection. */
  readonly attach = (name: string): Effect.Effect<void, PubSubError> =>
    Effect.suspend(() => {
      if (this.connection.nats.isClosed()) return this.connection.roundTrip
      const entry = this.add(name)
      if (!this.connection.isConnected) return Effect.void
      return Effect.andThen(
        // A loss of the connection in between changes nothing: the client subscribes again.
        Effect.catch(this.connection.roundTrip, (error) =>
          this.connection.isConnected ? Effect.fail(error) : Effect.void),
        Effect.suspend(() =>
          entry.failure === undefined ? Effect.void : Effect.fail(entry.failure)
        )
      )
    })

  readonly detach = (name: string): Effect.Effect<void> =>
    Effect.sync(() => {
      const entry = this.entries(name).get(name)
      if (entry === undefined) return
      this.entries(name).delete(name)
      if (!entry.subscription.isClosed()) entry.subscription.unsubscribe()
    })

  private entries(name: string): Map<string, Entry> {
    return TopicName.isPattern(name) ? this.patterns : this.topics
  }

  private add(name: string): Entry {
    const isPattern = TopicName.isPattern(name)
    const wide = isPattern ? widened(name) : name
    const entry: Entry = {
      age: this.nextAge++,
      matches: isPattern ? TopicName.matcher(wide) : undefined,
      failure: undefined,
      subscription: this.connection.subscribe(
        this.prefix + wide.replace("**", ">"),
        (message) => this.arrived(entry, message),
        (error) => {
          entry.failure = unavailable(error.message, error)
          if (this.entries(name).get(name) === entry) this.entries(name).delete(name)
        }
      )
    }
    this.hadPattern ||= isPattern
    this.entries(name).set(name, entry)
    return entry
  }

  private arrived(entry: Entry, message: Msg): void {
    const topic = message.subject.slice(this.prefix.length)
    if (this.hadPattern && !this.isFirst(entry, message, topic)) return
    // A stranger may publish to any subject. Names that no topic can have reach nobody.
    if (TopicName.problemWith(topic) === undefined) this.deliver(message, topic)
  }

  private isFirst(entry: Entry, message: Msg, topic: string): boolean {
    const origin = PubSubNatsMessage.originOf(message)
    if (origin === undefined) return this.oldest(topic) === entry
    const last = this.delivered.get(origin.sender)
    if (last !== undefined && origin.number <= last) return false
    if (last === undefined && this.delivered.size >= maxSenders) {
      this.delivered.delete(this.delivered.keys().next().value!)
    }
    this.delivered.set(origin.sender, origin.number)
    return true
  }

  private oldest(topic: string): Entry | undefined {
    let oldest = this.topics.get(topic)
    for (const entry of this.patterns.values()) {
      if ((oldest === undefined || entry.age < oldest.age) && entry.matches!(topic)) oldest = entry
    }
    return oldest
  }
}
