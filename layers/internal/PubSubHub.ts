/**
 * Who in this process gets which message: topics, patterns and channels, and the fan-out to them. Every PubSub layer
 * has one hub; what carries messages between processes is its back end.
 *
 * The fan-out is synchronous and in order: a message that is published while another one is handed out waits until
 * everybody has that one. Messages that answer each other without an end leave a turn to others now and then.
 */
import * as Cause from "effect/Cause"
import * as TopicName from "../../src/schema/TopicName.ts"
import type { Message, Payload } from "../../src/service/PubSub.ts"
import { Mailbox, type MailboxHost } from "./PubSubMailbox.ts"
import { Patterns } from "./PubSubPatterns.ts"

/** One receiver's place in one topic or pattern. */
export class Subscription {
  readonly name: string
  readonly receiver: Receiver
  /** Number of the last message that was published before it. */
  readonly madeAt: number
  /** Live messages that wait until the history before them is in the queue. */
  held: Array<Message> | undefined = undefined

  constructor(name: string, receiver: Receiver, madeAt: number) {
    this.name = name
    this.receiver = receiver
    this.madeAt = madeAt
  }
}

/** A queue with or without a name, and what it is subscribed to. */
export class Receiver {
  /** Where direct messages reach it; `undefined` for streams. */
  readonly channel: string | undefined
  readonly mailbox: Mailbox
  readonly subscriptions = new Map<string, Subscription>()
  /** Number of what it got last: one message by two subscriptions is one message. */
  private latest = 0

  constructor(channel: string | undefined, mailbox: Mailbox) {
    this.channel = channel
    this.mailbox = mailbox
  }

  /** **Returns** false when it has the message by another subscription. */
  isFirst(number: number): boolean {
    if (this.latest === number) return false
    this.latest = number
    return true
  }
}

type Callback = (message: Message) => void

/** Everybody who is subscribed by one name. Leaving moves the last one into the gap: no order is promised. */
class Audience {
  readonly name: string
  readonly isPattern: boolean
  readonly callbacks: Array<Callback> = []
  readonly entries: Array<CallbackEntry> = []
  readonly subscriptions = new Set<Subscription>()
  private left: Array<CallbackEntry> = []

  constructor(name: string) {
    this.name = name
    this.isPattern = TopicName.isPattern(name)
  }

  get size(): number {
    return this.callbacks.length - this.left.length + this.subscriptions.size
  }

  /** How many callbacks, from the first, were there before the message of this number was published. */
  callbacksBefore(number: number): number {
    let count = this.callbacks.length
    while (count > 0 && this.entries[count - 1]!.madeAt >= number) count--
    return count
  }

  add(callback: Callback, madeAt: number): CallbackEntry {
    const entry = { index: this.callbacks.length, madeAt, hasLeft: false }
    this.callbacks.push(callback)
    this.entries.push(entry)
    return entry
  }

  /** While messages are handed out, one who leaves is replaced by `silence`; `settle` closes the gaps. */
  remove(entry: CallbackEntry, silence: Callback | undefined): void {
    if (entry.hasLeft) return
    entry.hasLeft = true
    if (silence === undefined) return this.closeGap(entry.index)
    this.callbacks[entry.index] = silence
    this.left.push(entry)
  }

  settle(): void {
    const { left } = this
    this.left = []
    for (const entry of left) this.closeGap(entry.index)
  }

  private closeGap(index: number): void {
    const callback = this.callbacks.pop()!
    const entry = this.entries.pop()!
    if (index === this.callbacks.length) return
    this.callbacks[index] = callback
    this.entries[index] = entry
    entry.index = index
  }
}

interface CallbackEntry {
  index: number
  readonly madeAt: number
  hasLeft: boolean
}

interface Pending {
  readonly message: Message
  readonly excluded: ReadonlyArray<string>
  readonly number: number
}

/** So many messages that callbacks and readers publish are handed out on the time of one publisher; others take turns. */
const maxRun = 1000

export interface HubOptions {
  /** Names of channels are `<prefix>.<number>`. */
  readonly channelPrefix: string
  readonly expiryMillis: number
  readonly nowMillis: () => number
  /** Told of callbacks that throw. */
  readonly failed: (topic: string, cause: Cause.Cause<unknown>) => void
  /** Does something on a later turn of the scheduler. */
  readonly later: (work: () => void) => void
}

export class Hub implements MailboxHost {
  readonly channelPrefix: string
  readonly expiryMillis: number
  readonly nowMillis: () => number
  delivered = 0
  droppedFull = 0
  droppedExpired = 0
  depth = 0
  private readonly failed: HubOptions["failed"]
  private readonly later: HubOptions["later"]
  private readonly audiences = new Map<string, Audience>()
  private readonly patterns = new Patterns<Audience>()
  private readonly channels = new Map<string, Receiver>()
  private readonly receivers = new Set<Receiver>()
  private readonly queue: Array<Pending> = []
  private readonly unsettled = new Set<Audience>()
  private dispatching = false
  private closed = false
  /** Messages that came so far, which numbers them. */
  private accepted = 0
  private nextChannel = 1
  /** Stands for a callback that left: it was counted and not called. */
  private readonly silence: Callback = () => void this.delivered--

  constructor(options: HubOptions) {
    this.channelPrefix = options.channelPrefix
    this.expiryMillis = options.expiryMillis
    this.nowMillis = options.nowMillis
    this.failed = options.failed
    this.later = options.later
  }

  /** True while messages are handed out: what is published now has not arrived when `deliver` returns. */
  get isDispatching(): boolean {
    return this.dispatching
  }
  get isClosed(): boolean {
    return this.closed
  }

  expired(count: number): void {
    this.droppedExpired += count
  }

  get topicCount(): number {
    return this.audiences.size - this.patterns.size
  }
  get patternCount(): number {
    return this.patterns.size
  }
  get channelCount(): number {
    return this.channels.size
  }

  topics(): ReadonlyArray<string> {
    return [...this.audiences.keys()].filter((name) => !TopicName.isPattern(name))
  }

  /** True for topics that have somebody: their names were checked. */
  isKnownTopic(name: string): boolean {
    const audience = this.audiences.get(name)
    return audience !== undefined && !audience.isPattern
  }

  subscribers(topic: string): number {
    const audience = this.audiences.get(topic)
    return audience === undefined || audience.isPattern ? 0 : audience.size
  }

  /** Makes a receiver with a name for direct messages, or with none for a stream. */
  open(capacity: number, named: boolean): Receiver {
    const channel = named ? `${this.channelPrefix}.${(this.nextChannel++).toString(36)}` : undefined
    const receiver = new Receiver(channel, new Mailbox(this, capacity))
    if (this.closed) {
      receiver.mailbox.close()
      return receiver
    }
    this.receivers.add(receiver)
    if (channel !== undefined) this.channels.set(channel, receiver)
    return receiver
  }

  close(receiver: Receiver): void {
    this.receivers.delete(receiver)
    if (receiver.channel !== undefined) this.channels.delete(receiver.channel)
    for (const subscription of receiver.subscriptions.values()) this.leave(subscription)
    receiver.mailbox.close()
  }

  /** Ends everything: streams end, callbacks are not called any more, nobody can join. */
  shutdown(): void {
    this.closed = true
    for (const receiver of this.receivers) this.close(receiver)
    for (const audience of this.audiences.values()) {
      for (const entry of audience.entries.slice()) this.dismiss(audience, entry)
    }
  }

  /** The receiver must not be subscribed by this name yet. */
  join(receiver: Receiver, name: string): Subscription {
    const subscription = new Subscription(name, receiver, this.accepted)
    this.audience(name).subscriptions.add(subscription)
    receiver.subscriptions.set(name, subscription)
    return subscription
  }

  leave(subscription: Subscription): void {
    const { name, receiver } = subscription
    receiver.subscriptions.delete(name)
    const audience = this.audiences.get(name)
    if (audience === undefined) return
    audience.subscriptions.delete(subscription)
    this.forgetIfEmpty(audience)
  }

  /** **Returns** what unsubscribes. */
  listen(name: string, callback: Callback): () => void {
    const audience = this.audience(name)
    const entry = audience.add(callback, this.accepted)
    return () => this.dismiss(audience, entry)
  }

  private dismiss(audience: Audience, entry: CallbackEntry): void {
    audience.remove(entry, this.dispatching ? this.silence : undefined)
    if (this.dispatching) this.unsettled.add(audience)
    this.forgetIfEmpty(audience)
  }

  private audience(name: string): Audience {
    const known = this.audiences.get(name)
    if (known !== undefined) return known
    const audience = new Audience(name)
    this.audiences.set(name, audience)
    if (audience.isPattern) this.patterns.set(name, audience)
    return audience
  }

  private forgetIfEmpty(audience: Audience): void {
    if (audience.size > 0 || this.audiences.get(audience.name) !== audience) return
    this.audiences.delete(audience.name)
    if (audience.isPattern) this.patterns.delete(audience.name)
  }

  /** Hands a message to everybody here who is subscribed. Never throws. */
  deliver(message: Message, excluded: ReadonlyArray<string>): void {
    const number = ++this.accepted
    if (this.dispatching) {
      this.queue.push({ message, excluded, number })
      return
    }
    this.dispatching = true
    // A throw would be a fault of this file; it must not leave everybody waiting for ever.
    try {
      this.dispatch(message, excluded, number)
    } finally {
      this.workOff()
    }
  }

  /** The queue grows while it is worked off, and without an end where callbacks answer each other. */
  private workOff(): void {
    const { queue } = this
    let done = 0
    try {
      while (done < queue.length && done < maxRun) {
        const { excluded, message, number } = queue[done++]!
        this.dispatch(message, excluded, number)
      }
    } finally {
      if (done < queue.length) {
        queue.splice(0, done)
        this.later(() => this.workOff())
      } else {
        queue.length = 0
        this.dispatching = false
        if (this.unsettled.size > 0) this.settle()
      }
    }
  }

  private settle(): void {
    const audiences = [...this.unsettled]
    this.unsettled.clear()
    for (const audience of audiences) {
      audience.settle()
      this.forgetIfEmpty(audience)
    }
  }

  private dispatch(message: Message, excluded: ReadonlyArray<string>, number: number): void {
    const audience = this.audiences.get(message.topic)
    if (audience !== undefined) this.handOut(audience, message, excluded, number)
    if (this.patterns.size === 0) return
    for (const byPattern of this.patterns.matching(message.topic)) this.handOut(byPattern, message, excluded, number)
  }

  private handOut(audience: Audience, message: Message, excluded: ReadonlyArray<string>, number: number): void {
    const { callbacks } = audience
    if (callbacks.length > 0) this.call(callbacks, audience.callbacksBefore(number), message)
    if (audience.subscriptions.size === 0) return
    const now = this.nowMillis()
    for (const subscription of audience.subscriptions) {
      const { held, receiver } = subscription
      if (subscription.madeAt >= number) continue
      if (receiver.channel !== undefined && excluded.includes(receiver.channel)) continue
      if (!receiver.isFirst(number)) continue
      if (held !== undefined) this.hold(held, message, receiver)
      else this.count(receiver.mailbox.offer(message, now))
    }
  }

  /** One `try` around the loop and not one for each call. What it costs beside a bare loop is in docs/benchmarks.md. */
  private call(callbacks: ReadonlyArray<Callback>, count: number, message: Message): void {
    let i = 0
    while (i < count) {
      try {
        for (; i < count; i++) callbacks[i]!(message)
      } catch (error) {
        i++
        this.failed(message.topic, Cause.die(error))
      }
    }
    this.delivered += count
  }

  private hold(held: Array<Message>, message: Message, receiver: Receiver): void {
    if (held.length < receiver.mailbox.capacity) held.push(message)
    else this.droppedFull++
  }

  private count(wasTaken: boolean): void {
    if (wasTaken) this.delivered++
    else this.droppedFull++
  }

  /** Lets live messages through again, those that `isWanted` says yes to, after a history was queued. */
  release(subscription: Subscription, isWanted: (message: Message) => boolean): void {
    const now = this.nowMillis()
    // Grows while the reader is resumed by it: what comes then stays behind.
    for (const message of subscription.held ?? []) {
      if (isWanted(message)) this.count(subscription.receiver.mailbox.offer(message, now))
    }
    subscription.held = undefined
  }

  /** Hands a direct message to a channel of this process. */
  deliverTo(channel: string, data: Payload): "delivered" | "full" | "unknown" {
    const receiver = this.channels.get(channel)
    if (receiver === undefined) return "unknown"
    const isTaken = receiver.mailbox.offer({ topic: channel, data, id: undefined }, this.nowMillis())
    this.count(isTaken)
    return isTaken ? "delivered" : "full"
  }

  /** How many messages a channel of this process holds at most. */
  capacityOf(channel: string): number {
    return this.channels.get(channel)?.mailbox.capacity ?? 0
  }
}
