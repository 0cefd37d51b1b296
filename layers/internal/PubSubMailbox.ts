/**
 * The queue of one receiver: bounded, in order, with an age limit. Owns what a slow reader has not taken yet.
 *
 * A full queue drops what comes, never what it holds; what has waited for too long is dropped when somebody looks. A
 * waiting reader is resumed on the spot, so that a burst from one fiber cannot overflow a queue whose reader keeps up.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Message } from "../../src/service/PubSub.ts"

/** What all queues of a process share. */
export interface MailboxHost {
  /** Messages older than this are not received any more. */
  readonly expiryMillis: number
  readonly nowMillis: () => number
  /** Told of messages that expired. */
  readonly expired: (count: number) => void
  /** How many readers are being resumed, each by what the one before did. */
  depth: number
}

/**
 * Readers that resume readers: from here on they take a turn of the scheduler instead. Below, a message costs no turn;
 * above, a chain of readers would end the stack, and two that answer each other would leave no time to anybody.
 */
export const maxDepth = 64

export class Mailbox {
  readonly capacity: number
  private readonly host: MailboxHost
  private messages: Array<Message | undefined> = []
  /** When each of `messages` came; `Infinity` for replayed ones, which do not age and do not count. */
  private times: Array<number> = []
  private head = 0
  private replayed = 0
  private closed = false
  private readonly waiting: Array<(how: Effect.Effect<void>) => void> = []

  constructor(host: MailboxHost, capacity: number) {
    this.host = host
    this.capacity = capacity
  }

  private get size(): number {
    return this.messages.length - this.head
  }

  /** Messages that wait now. */
  pending(): number {
    this.dropExpired(this.host.nowMillis())
    return this.size
  }

  get isClosed(): boolean {
    return this.closed
  }

  /** **Returns** false when the queue is full or closed: the message is not received. */
  offer(message: Message, nowMillis: number): boolean {
    if (this.closed) return false
    if (this.size - this.replayed >= this.capacity) {
      this.dropExpired(nowMillis)
      if (this.size - this.replayed >= this.capacity) return false
    }
    this.messages.push(message)
    this.times.push(nowMillis)
    if (this.waiting.length > 0) this.wake()
    return true
  }

  /** Adds messages of a history. They are bounded by what was kept and not by the capacity. */
  offerReplayed(messages: ReadonlyArray<Message>): void {
    if (this.closed || messages.length === 0) return
    for (const message of messages) {
      this.messages.push(message)
      this.times.push(Infinity)
    }
    this.replayed += messages.length
    this.wake()
  }

  /** Ends the queue: nothing is taken any more, and streams of it end. */
  close(): void {
    this.closed = true
    this.clear()
    this.wake()
  }

  /** The next message; never succeeds once the queue is closed. Interrupting it loses nothing. */
  readonly take: Effect.Effect<Message> = Effect.suspend(() => {
    if (this.closed) return Effect.never
    const message = this.shift()
    return message === undefined ? Effect.andThen(this.arrival, this.take) : Effect.succeed(message)
  })

  /** The next message if there is one. */
  readonly poll: Effect.Effect<Option.Option<Message>> = Effect.sync(() => Option.fromUndefinedOr(this.shift()))

  private shift(): Message | undefined {
    this.dropExpired(this.host.nowMillis())
    if (this.size === 0) return undefined
    if (this.times[this.head] === Infinity) this.replayed--
    const message = this.messages[this.head]!
    this.removeFirst()
    return message
  }

  private readonly pull: Effect.Effect<readonly [Message], Cause.Done> = Effect.suspend(() => {
    if (this.closed) return Cause.done()
    const message = this.shift()
    return message === undefined ? Effect.andThen(this.arrival, this.pull) : Effect.succeed([message])
  })

  /** What comes, until the queue is closed. One at a time: what waits behind it stays in the queue and its limits. */
  readonly stream: Stream.Stream<Message> = Stream.fromPull(Effect.succeed(this.pull))

  /** Completes when a message waits; never once the queue is closed. */
  readonly waits: Effect.Effect<void> = Effect.suspend(() => {
    if (this.closed) return Effect.never
    this.dropExpired(this.host.nowMillis())
    return this.size > 0 ? Effect.void : Effect.andThen(this.arrival, this.waits)
  })

  private readonly arrival: Effect.Effect<void> = Effect.callback<void>((resume) => {
    this.waiting.push(resume)
    return Effect.sync(() => {
      const index = this.waiting.indexOf(resume)
      if (index >= 0) this.waiting.splice(index, 1)
    })
  })

  // All of them: one that is interrupted before it takes must not leave a message to nobody.
  private wake(): void {
    const { host, waiting } = this
    const how = host.depth < maxDepth ? Effect.void : Effect.yieldNow
    host.depth++
    try {
      if (waiting.length === 1) waiting.pop()!(how)
      else for (const wake of waiting.splice(0)) wake(how)
    } finally {
      host.depth--
    }
  }

  private dropExpired(nowMillis: number): void {
    const oldest = nowMillis - this.host.expiryMillis
    let count = 0
    while (this.size > 0 && this.times[this.head]! <= oldest) {
      this.removeFirst()
      count++
    }
    if (count > 0) this.host.expired(count)
  }

  /** Its place is cleared at once: a queue that is never quite empty must not hold what was taken from it. */
  private removeFirst(): void {
    this.messages[this.head++] = undefined
    if (this.head === this.messages.length) this.clear()
    else if (this.head >= 1024) this.compact()
  }

  private clear(): void {
    this.messages = []
    this.times = []
    this.head = 0
    this.replayed = 0
  }

  private compact(): void {
    this.messages = this.messages.slice(this.head)
    this.times = this.times.slice(this.head)
    this.head = 0
  }
}
