/**
 * The back end of PubSub over Redis: publications, histories and delays, the state of the two connections, and the one
 * fiber that looks after everything that has a time. Inbox, presence, subscriptions and commands have their own files.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as TopicName from "../../src/schema/TopicName.ts"
import { type Message, PubSubError, type Status } from "../../src/service/PubSub.ts"
import { inModule } from "./LogLevels.ts"
import type * as PubSubBackend from "./PubSubBackend.ts"
import * as Envelope from "./PubSubEnvelope.ts"
import type { Hub } from "./PubSubHub.ts"
import { type Client, type Commands, type Place, problemOf, unavailable } from "./PubSubRedisCommands.ts"
import { Inbox } from "./PubSubRedisInbox.ts"
import { RedisPresence } from "./PubSubRedisPresence.ts"
import * as Scripts from "./PubSubRedisScripts.ts"
import { Subscriptions } from "./PubSubRedisSubscriptions.ts"

export interface Settings {
  readonly prefix: string
  readonly historyTtlMillis: number
  readonly presenceTtlMillis: number
  readonly maxDelayed: number
}

/** Redis is asked so often at least what is due: a process that delayed a message may be gone when it is. */
const tickMillis = 1000

/** Ids of streams that Redis takes. */
const idSyntax = /^\d{1,19}-\d{1,19}$/

const forMessages: ReadonlyArray<Place> = ["messages"]

const noConnection = "there is no connection"

type Entry = readonly [id: Buffer, fields: ReadonlyArray<Buffer>]

export class RedisBackend implements PubSubBackend.Backend {
  readonly name = "redis"
  readonly presence: RedisPresence
  private readonly hub: Hub
  private readonly commands: Commands
  private readonly settings: Settings
  private readonly topics: string
  private readonly inbox: Inbox
  private readonly subscriptions: Subscriptions
  private readonly scope: Scope.Scope
  private readonly wakeUp = Latch.makeUnsafe(false)
  private readonly tickEveryMillis: number
  private nextTickMillis = 0
  /** When `watch` looks again, if nothing else wakes it. */
  private wakesMillis: number
  /** Nothing is late before that. */
  private sweepsFromMillis = 0
  /** When the tick that runs was started. */
  private tickSinceMillis: number | undefined = undefined
  private isSayingAgain = false
  private readonly problems: Record<Place | "server", string | undefined>
  private sinceMillis: number
  private wasConnected = true
  private nextDelayed = 1

  /** `subscriber` is not connected yet; what it needs is there when `connect` completes. */
  constructor(hub: Hub, commands: Commands, subscriber: Client, settings: Settings, scope: Scope.Scope) {
    this.hub = hub
    this.commands = commands
    this.settings = settings
    this.scope = scope
    this.topics = `${settings.prefix}t:`
    this.sinceMillis = commands.now()
    this.wakesMillis = this.sinceMillis
    this.tickEveryMillis = Math.min(tickMillis, settings.presenceTtlMillis / 3)
    this.inbox = new Inbox(hub, commands, settings.prefix, () => this.problems.messages)
    this.presence = new RedisPresence(commands, settings.prefix, hub.channelPrefix, settings.presenceTtlMillis)
    this.subscriptions = new Subscriptions(subscriber, this.topics, this.inbox.channel, {
      arrived: (channel, message) => this.arrived(channel, message),
      subscribed: () => this.say("messages", undefined),
      lost: (problem) => this.lost("messages", problem)
    })
    const { client } = commands
    this.problems = { commands: client.isReady ? undefined : noConnection, messages: noConnection, server: undefined }
    client.on("ready", this.onReady)
    client.on("error", this.onError)
    client.on("end", this.onEnd)
  }

  readonly connect: Effect.Effect<void, PubSubError> = Effect.tryPromise({
    try: () => this.subscriptions.connect(),
    catch: (cause) => unavailable(problemOf(cause))
  })

  /** Takes back what Redis knows of this process, as far as it can be reached, and ends its connection. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    const { client, timeoutMillis } = this.commands
    client.off("ready", this.onReady).off("error", this.onError).off("end", this.onEnd)
    return Effect.ensuring(
      Effect.ignore(Effect.timeoutOption(this.presence.leave, timeoutMillis)),
      Effect.sync(() => {
        this.subscriptions.close()
        this.commands.close()
      })
    )
  })

  // ---- messages

  readonly publish = ({ data, excluded, keep, topic }: PubSubBackend.Publication) => {
    if (keep === 0) {
      const message = Envelope.write({ kind: "publish", id: undefined, names: excluded, data })
      return this.commands.run<void>(["PUBLISH", this.topics + topic, message], data.length)
    }
    return this.commands.evaluate<void>(
      Scripts.publish,
      [this.settings.prefix, ...this.emission({ topic, data, excluded, keep })],
      data.length
    )
  }

  /** What the scripts need to hand a message to its topic. */
  private emission({ data, excluded, keep, topic }: PubSubBackend.Publication): Array<string | Buffer> {
    const ttl = String(this.settings.historyTtlMillis)
    return [topic, String(keep), ttl, Envelope.beforeId("publish", data), Envelope.afterId(excluded, data)]
  }

  readonly send: PubSubBackend.Backend["send"] = (channel, data) => this.inbox.send(channel, data)

  get flush(): Effect.Effect<void, PubSubError> {
    return this.inbox.flush
  }

  readonly later: NonNullable<PubSubBackend.Backend["later"]> = (what, dueMillis) =>
    Effect.suspend(() => {
      const { maxDelayed, prefix } = this.settings
      // Sorts messages of one process that are due together in the order they were given.
      const name = `${this.hub.channelPrefix}${String(this.nextDelayed++).padStart(16, "0")}`
      const { data } = what._tag === "Publish" ? what.publication : what
      const message = what._tag === "Publish" ? this.emission(what.publication) : this.delayedSend(what)
      if (message === undefined) return Effect.void
      return Effect.flatMap(
        this.commands.evaluate<number>(
          Scripts.later,
          [prefix, String(dueMillis), String(maxDelayed), name, ...message],
          data.length
        ),
        (wasTaken) => {
          if (wasTaken === 0) {
            return Effect.fail(new PubSubError({ reason: { _tag: "TooManyDelayed", limit: maxDelayed } }))
          }
          this.nextTickMillis = Math.min(this.nextTickMillis, dueMillis)
          this.wakeUp.openUnsafe()
          return Effect.void
        }
      )
    })

  private delayedSend(
    { channel, data }: { readonly channel: string; readonly data: Message["data"] }
  ): Array<string | Buffer> | undefined {
    const inbox = this.inbox.inboxOf(channel)
    return inbox === undefined
      ? undefined
      : [inbox, Envelope.write({ kind: "send", id: undefined, names: [channel], data })]
  }

  private arrived(channel: string, message: Buffer): void {
    if (channel === this.inbox.channel) return this.inbox.arrived(message)
    const topic = channel.slice(this.topics.length)
    if (!this.hub.isKnownTopic(topic) && TopicName.problemWith(topic) !== undefined) return
    const envelope = Envelope.decode(message)
    if (envelope?.kind === "publish") {
      this.hub.deliver({ topic, data: envelope.data, id: envelope.id }, envelope.names)
    }
  }

  // Starts in its first step: the order of subscriptions is the order of events.
  readonly attach: NonNullable<PubSubBackend.Backend["attach"]> = (name) =>
    Effect.callback<void, PubSubError>((resume) => {
      const attached = this.subscriptions.attach(name)
      if (attached === undefined) return resume(Effect.void)
      // What is lost with the connection is made good with the next one.
      const failed = (error: PubSubError) =>
        resume(this.problems.messages === undefined ? Effect.fail(error) : Effect.void)
      const over = this.commands.wait(forMessages, failed)
      attached.then(
        () => resume(Effect.void),
        (cause: unknown) =>
          isRefusal(cause)
            ? resume(Effect.fail(unavailable(problemOf(cause), cause)))
            : failed(unavailable(problemOf(cause)))
      )
        .finally(() => over?.())
    })

  readonly detach: NonNullable<PubSubBackend.Backend["detach"]> = (name) =>
    Effect.sync(() => this.subscriptions.detach(name))

  // ---- history

  readonly history: PubSubBackend.Backend["history"] = (topic, { after, last }) => {
    const key = `${this.settings.prefix}h:${topic}`
    const all = this.read(topic, ["XRANGE", key, "-", "+"])
    if (after === undefined) {
      if (last === undefined) return all
      const newestFirst = this.read(topic, ["XREVRANGE", key, "+", "-", "COUNT", String(last)])
      return Effect.map(newestFirst, (messages) => messages.toReversed())
    }
    if (!idSyntax.test(after)) return all
    return Effect.flatMap(
      this.read(topic, ["XRANGE", key, after, "+"]),
      (messages) => messages[0]?.id === after ? Effect.succeed(messages.slice(1)) : all
    )
  }

  /**
   * Replies overtake messages, which come on the other connection: a mark behind the question tells that all messages
   * of the reply are here, so that whoever holds live ones back knows which of them he has.
   */
  private read(topic: string, command: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Message>, PubSubError> {
    const entries = Effect.map(
      this.commands.run<ReadonlyArray<Entry>>(command, 0, "bytes"),
      (entries) =>
        entries.flatMap(([id, fields]): ReadonlyArray<Message> => {
          const envelope = Envelope.decode(fields[1] ?? Buffer.alloc(0))
          return envelope?.kind === "publish" ? [{ topic, data: envelope.data, id: id.toString("latin1") }] : []
        })
    )
    return Effect.map(Effect.all([entries, Effect.ignore(this.flush)], { concurrency: 2 }), ([found]) => found)
  }

  /** What is no id is after nothing, and nothing after it. */
  readonly isAfter = (id: string, other: string): boolean => {
    if (!idSyntax.test(id) || !idSyntax.test(other)) return false
    const [millis = "", number = ""] = id.split("-")
    const [otherMillis = "", otherNumber = ""] = other.split("-")
    return millis === otherMillis ? isGreater(number, otherNumber) : isGreater(millis, otherMillis)
  }

  // ---- the state of the connections

  private readonly onReady = (): void => {
    this.presence.forgotten()
    this.say("commands", undefined)
  }

  private readonly onError = (cause: unknown): void => {
    if (!this.commands.client.isReady) this.lost("commands", problemOf(cause))
  }

  private readonly onEnd = (): void => this.lost("commands", "the connection was closed")

  private lost(where: Place, problem: string): void {
    this.say(where, problem)
    this.commands.lost(where, problem)
  }

  private say(where: Place | "server", problem: string | undefined): void {
    const before = this.problem
    this.problems[where] = problem
    if (before === undefined || this.problem === undefined) this.sinceMillis = this.commands.now()
    if (problem === undefined && where !== "server") this.nextTickMillis = 0
    this.wakeUp.openUnsafe()
  }

  private get problem(): string | undefined {
    return this.problems.commands ?? this.problems.messages ?? this.problems.server
  }

  readonly status = (): Status => {
    const { commands, problem, tickSinceMillis } = this
    const silence = commands.now() - (commands.silentSinceMillis ?? tickSinceMillis ?? commands.now())
    const isHeard = commands.silentSinceMillis === undefined &&
      (silence <= commands.timeoutMillis || commands.now() < this.sweepsFromMillis)
    return problem !== undefined || isHeard
      ? { isConnected: problem === undefined, problem, sinceMillis: this.sinceMillis }
      : { isConnected: false, problem: `no answer for ${silence} ms`, sinceMillis: commands.now() - silence }
  }

  // ---- what has a time

  /** Runs as long as the layer: ends waits, sends what is due, keeps presences alive, tells the log what happened. */
  readonly watch: Effect.Effect<never> = Effect.forever(Effect.suspend(() => {
    this.wakeUp.closeUnsafe()
    const now = this.commands.now()
    // Who had no time himself has not looked for the answers yet.
    if (now > this.wakesMillis + tickMillis) this.sweepsFromMillis = now + this.commands.timeoutMillis
    if (now >= this.sweepsFromMillis) this.commands.sweep()
    const start: Array<Effect.Effect<void>> = []
    if (this.commands.client.isReady) {
      if (this.tickSinceMillis === undefined && now >= this.nextTickMillis) {
        this.tickSinceMillis = now
        this.nextTickMillis = now + this.tickEveryMillis
        start.push(this.tick)
      }
      if (this.presence.isBehind && !this.isSayingAgain) {
        this.isSayingAgain = true
        start.push(this.sayAgain)
      }
    }
    const next = this.tickSinceMillis === undefined ? Math.max(now, this.nextTickMillis) : now + this.tickEveryMillis
    const wait = Math.min(this.tickEveryMillis, this.commands.client.isReady ? next - now : tickMillis)
    this.wakesMillis = now + wait
    return Effect.forEach(start, (effect) => Effect.forkIn(effect, this.scope, { startImmediately: true }), {
      discard: true
    }).pipe(Effect.andThen(this.report), Effect.andThen(Effect.timeoutOption(this.wakeUp.await, wait)))
  }))

  private readonly tick: Effect.Effect<void> = Effect.suspend(() => {
    const { commands, presence, settings } = this
    const mark = Envelope.write({ kind: "mark", id: undefined, names: [], data: "" })
    const ticked = commands.evaluate<readonly [next: string, isLost: number, isSomebodyDead: number]>(
      Scripts.tick,
      [
        settings.prefix,
        String(commands.now()),
        this.hub.channelPrefix,
        String(settings.presenceTtlMillis),
        presence.isEmpty ? "0" : "1",
        mark
      ],
      0,
      "patient"
    )
    return Effect.matchEffect(ticked, {
      onFailure: (error) =>
        Effect.sync(() => {
          this.tickSinceMillis = undefined
          // Without the connection there is another problem, which says more.
          if (commands.client.isReady) this.say("server", problemIn(error))
        }),
      onSuccess: ([next, isLost, isSomebodyDead]) =>
        Effect.suspend(() => {
          this.tickSinceMillis = undefined
          if (this.problems.server !== undefined) this.say("server", undefined)
          if (isLost === 1) presence.forgotten()
          if (Number(next) >= 0) this.nextTickMillis = Math.min(this.nextTickMillis, Number(next))
          this.wakeUp.openUnsafe()
          return isSomebodyDead === 1 ? Effect.ignore(presence.bury) : Effect.void
        })
    })
  })

  private readonly sayAgain: Effect.Effect<void> = Effect.suspend(() =>
    Effect.match(this.presence.sayAgain, {
      onFailure: () => void (this.isSayingAgain = false),
      onSuccess: () => {
        this.isSayingAgain = false
        if (this.presence.isBehind) this.wakeUp.openUnsafe()
      }
    })
  )

  private readonly report: Effect.Effect<void> = Effect.suspend(() => {
    const { isConnected, problem } = this.status()
    if (isConnected === this.wasConnected) return Effect.void
    this.wasConnected = isConnected
    return isConnected
      ? inModule("PubSub")(Effect.logInfo("PubSub has Redis back"))
      : inModule("PubSub")(Effect.logWarning(`PubSub has lost Redis, its subscriptions are kept: ${problem}`))
  })
}

/** True for what Redis itself answered; its errors begin with a word in capitals. */
const isRefusal = (cause: unknown): boolean => cause instanceof Error && /^[A-Z]{2,} /.test(cause.message)

const problemIn = ({ reason, message }: PubSubError): string => reason._tag === "Unavailable" ? reason.problem : message

/** Compares decimal numbers of any length. */
const isGreater = (one: string, other: string): boolean =>
  one.length === other.length ? one > other : one.length > other.length
