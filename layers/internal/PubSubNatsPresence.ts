/**
 * Presence over plain NATS, without JetStream: each process tells the others what changes among its own, and every
 * process knows all. A process takes part from its first use of presence on; one that never uses it carries nothing.
 *
 * What a process says is numbered. Who misses a number, or hears of a process for the first time, asks it for all it has
 * to say. A process that is silent for the time to live, and does not answer either, is gone with all that it said.
 */
import type { Msg, Subscription } from "@nats-io/transport-node"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { PubSubError } from "../../src/service/PubSub.ts"
import type { Backend } from "./PubSubBackend.ts"
import type { Connection } from "./PubSubNatsConnection.ts"
import { type Entries, Roster } from "./PubSubNatsRoster.ts"

export interface PresenceOptions {
  readonly prefix: string
  readonly process: string
  /** Heartbeats go out three times in it. */
  readonly ttlMillis: number
}

const Entry = Schema.Struct({
  owner: Schema.Int,
  topic: Schema.String,
  key: Schema.String,
  value: Schema.String,
  stamp: Schema.Int
})

/** Becomes part of a subject, so it is one segment and no wildcard. */
const Process = Schema.String.check(Schema.isPattern(/^[\dA-Za-z]{1,50}$/))

const from = { from: Process, version: Schema.Int }

/** What processes say to each other. `State` comes in parts, so that no message gets too long. */
const Word = Schema.Union([
  Schema.TaggedStruct("Put", { ...from, entry: Entry }),
  Schema.TaggedStruct("Remove", { ...from, owner: Schema.Int }),
  Schema.TaggedStruct("Alive", from),
  Schema.TaggedStruct("Bye", from),
  Schema.TaggedStruct("Ask", { ...from, what: Schema.Literals(["state", "version"]) }),
  Schema.TaggedStruct("State", {
    ...from,
    entries: Schema.Array(Entry),
    peers: Schema.Array(Process),
    isFirst: Schema.Boolean,
    isLast: Schema.Boolean
  })
])
type Word = typeof Word.Type
type State = Extract<Word, { readonly _tag: "State" }>

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Word))

/** Most bytes in one part of a state; half of what the server takes, where that is less. */
const maxPartBytes = 256 * 1024

/** What is known of another process. */
interface Peer {
  version: number
  heardMillis: number
  readonly entries: Entries
  /** Parts of a state that is on its way. */
  parts: Array<typeof Entry.Type> | undefined
}

/** Stands for all processes among those whose answer is awaited, until one has answered or nobody is there. */
const everybody = "all"

type Question = "state" | "version"

export class Presence {
  private readonly connection: Connection
  private readonly process: string
  private readonly ttlMillis: number
  private readonly clock: Clock.Clock
  private readonly fork: (effect: Effect.Effect<void>) => void
  private readonly roster = new Roster()
  private readonly own: Entries = new Map()
  private readonly peers = new Map<string, Peer>()
  private readonly changes: string
  private readonly questions: string
  private readonly answers: string
  private version = 0
  private lastStamp = 0
  /** Whose answer is awaited, and what was asked. */
  private readonly awaited = new Map<string, Question>()
  /** Done when nobody's answer is awaited any more. */
  private settled: Deferred.Deferred<void, PubSubError> | undefined = undefined
  private questionsToAll: Subscription | undefined = undefined
  private takesPart = false

  constructor(
    connection: Connection,
    { prefix, process, ttlMillis }: PresenceOptions,
    clock: Clock.Clock,
    fork: (effect: Effect.Effect<void>) => void
  ) {
    this.connection = connection
    this.process = process
    this.ttlMillis = ttlMillis
    this.clock = clock
    this.fork = fork
    this.changes = `${prefix}.w.changes`
    this.questions = `${prefix}.w.ask.`
    this.answers = `${prefix}.w.tell.${process}.`
    connection.watch((error) => this.lost(error), () => this.takesPart && this.join())
  }

  // ---- what the service asks for

  readonly add: Backend["presence"]["add"] = (topic, key, value, owner) =>
    Effect.andThen(
      this.upToDate,
      Effect.suspend(() => {
        const isNew = !this.own.has(owner)
        const entry = { owner, topic, key, value, stamp: this.newStamp() }
        this.roster.put(this.own, entry)
        const error = this.say(this.changes, { _tag: "Put", ...this.signed(1), entry })
        return Effect.onError(
          error === undefined ? this.connection.roundTrip : Effect.fail(error),
          // Whoever could not say so will not take it back.
          () => isNew ? this.remove(topic, key, owner) : Effect.void
        )
      })
    )

  /** Succeeds also while the server is away: the others hear of it when it is back. */
  readonly remove = (_topic: string, _key: string, owner: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (!this.own.has(owner)) return Effect.void
      this.roster.remove(this.own, owner)
      const error = this.say(this.changes, { _tag: "Remove", ...this.signed(1), owner })
      return error === undefined ? Effect.ignore(this.connection.roundTrip) : Effect.void
    })

  readonly list: Backend["presence"]["list"] = (topic, limit) =>
    Effect.map(this.upToDate, () => this.roster.list(topic, limit))

  readonly count: Backend["presence"]["count"] = (topic) => Effect.map(this.upToDate, () => this.roster.count(topic))

  readonly scan: Backend["presence"]["scan"] = (topic, cursor, count) =>
    Effect.map(this.upToDate, () => this.roster.scan(topic, cursor, count))

  /**
   * What the server had of the others is here: a change that was confirmed to one process is seen by the next. Who does
   * not answer is waited for no longer than for any other answer.
   */
  private readonly upToDate: Effect.Effect<void, PubSubError> = Effect.suspend(() => {
    if (!this.connection.isConnected) return Effect.fail(this.connection.unavailable)
    if (!this.takesPart) this.start()
    return Effect.andThen(
      this.connection.roundTrip,
      Effect.suspend(() =>
        this.settled === undefined
          ? Effect.void
          : Effect.asVoid(Effect.timeoutOption(Deferred.await(this.settled), this.connection.timeoutMillis))
      )
    )
  })

  /** Says good-bye: what this process said is gone at once. */
  readonly close: Effect.Effect<void> = Effect.sync(() => {
    if (this.takesPart) this.say(this.changes, { _tag: "Bye", ...this.signed() })
    this.takesPart = false
  })

  // ---- coming to know each other

  private start(): void {
    this.takesPart = true
    const { connection } = this
    const listen = (subject: string) => connection.subscribe(subject, (message) => this.arrived(message), () => {})
    listen(this.changes)
    listen(`${this.answers}*`)
    listen(this.questions + this.process)
    this.join()
    this.fork(this.heartbeats)
  }

  /**
   * Asks all for their states. While it asks, this process does not listen to questions to all: so the server tells it
   * when there is nobody. Whoever asks in this moment too learns of it by the greeting.
   */
  private join(): void {
    // What is on its way to it is still heard.
    this.questionsToAll?.drain().catch(() => {})
    this.ask(everybody, "state")
    this.questionsToAll = this.connection.subscribe(
      this.questions + everybody,
      (message) => this.arrived(message),
      () => {}
    )
    this.say(this.changes, { _tag: "Alive", ...this.signed() })
    for (const process of this.peers.keys()) this.ask(process, "version")
  }

  private answered(process: string): void {
    if (this.awaited.delete(process) && this.awaited.size === 0) this.settle(Exit.void)
  }

  private lost(error: PubSubError): void {
    this.awaited.clear()
    this.settle(Exit.fail(error))
  }

  private settle(exit: Exit.Exit<void, PubSubError>): void {
    if (this.settled === undefined) return
    Deferred.doneUnsafe(this.settled, exit)
    this.settled = undefined
  }

  // ---- talking

  private signed(changes: 0 | 1 = 0): { readonly from: string; readonly version: number } {
    this.version += changes
    return { from: this.process, version: this.version }
  }

  private newStamp(): number {
    return this.lastStamp = Math.max(this.lastStamp + 1, this.clock.currentTimeMillisUnsafe())
  }

  private say(subject: string, word: Word, reply?: string): PubSubError | undefined {
    return this.connection.tell(subject, JSON.stringify(word), undefined, reply)
  }

  /** Asks once; the next heartbeat asks again where no answer came. */
  private ask(process: string, what: Question): void {
    const asked = this.awaited.get(process)
    if (asked === "state" || asked === what) return
    const error = this.say(
      this.questions + process,
      { _tag: "Ask", ...this.signed(), what },
      this.answers + process
    )
    if (error !== undefined) return
    this.awaited.set(process, what)
    this.settled ??= Deferred.makeUnsafe()
  }

  private answer(asker: string, what: Question): void {
    const subject = `${this.answers.slice(0, -this.process.length - 1)}${asker}.${this.process}`
    if (what === "version") return void this.say(subject, { _tag: "Alive", ...this.signed() })
    const parts = inParts(
      [...this.own.values()],
      Math.min(maxPartBytes, (this.connection.nats.info?.max_payload ?? 0) / 2)
    )
    parts.forEach((entries, i) => {
      this.say(subject, {
        _tag: "State",
        ...this.signed(),
        entries,
        peers: i === 0 ? [...this.peers.keys()] : [],
        isFirst: i === 0,
        isLast: i === parts.length - 1
      })
    })
  }

  // ---- hearing

  private arrived(message: Msg): void {
    if (!this.takesPart) return
    // Nobody is subscribed to the question that this would have been the answer to.
    if (message.data.length === 0) return this.unheard(message.subject.slice(this.answers.length))
    const word = Option.getOrUndefined(decode(new TextDecoder().decode(message.data)))
    if (word === undefined || word.from === this.process) return
    if (word._tag === "Bye") return this.forget(word.from)
    if (word._tag === "Ask") this.answer(word.from, word.what)
    const peer = this.peer(word.from)
    peer.heardMillis = this.clock.currentTimeMillisUnsafe()
    if (word._tag === "State") return this.state(peer, word)
    const isChange = word._tag === "Put" || word._tag === "Remove"
    if (isChange && word.version === peer.version + 1) {
      peer.version = word.version
      if (word._tag === "Put") this.put(peer, word.entry)
      else this.roster.remove(peer.entries, word.owner)
    }
    if (word.version > peer.version) this.ask(word.from, "state")
    else this.answered(word.from)
  }

  private put(peer: Peer, entry: typeof Entry.Type): void {
    this.lastStamp = Math.max(this.lastStamp, entry.stamp)
    this.roster.put(peer.entries, entry)
  }

  private state(peer: Peer, state: State): void {
    if (state.isFirst) peer.parts = []
    if (peer.parts === undefined) return
    peer.parts.push(...state.entries)
    // Others that somebody knows: they were asked with all, unless they did not listen just then, or have just gone.
    for (const process of state.peers) {
      if (process !== this.process && !this.peers.has(process)) this.ask(process, "version")
    }
    if (!state.isLast) return
    this.roster.clear(peer.entries)
    for (const entry of peer.parts) this.put(peer, entry)
    peer.parts = undefined
    peer.version = state.version
    this.answered(state.from)
    this.answered(everybody)
  }

  private unheard(process: string): void {
    this.answered(process)
    const peer = this.peers.get(process)
    if (peer !== undefined && this.isSilent(peer)) this.forget(process)
  }

  private peer(process: string): Peer {
    const known = this.peers.get(process)
    if (known !== undefined) return known
    const peer: Peer = {
      // Less than any: what it says first makes us ask for the rest.
      version: -1,
      heardMillis: this.clock.currentTimeMillisUnsafe(),
      entries: new Map(),
      parts: undefined
    }
    this.peers.set(process, peer)
    return peer
  }

  private forget(process: string): void {
    const peer = this.peers.get(process)
    if (peer === undefined) return
    this.roster.clear(peer.entries)
    this.peers.delete(process)
    this.answered(process)
  }

  // ---- time

  private isSilent(peer: Peer): boolean {
    return this.clock.currentTimeMillisUnsafe() - peer.heardMillis >= this.ttlMillis
  }

  /** The silent are asked; those who have not answered until the next time are gone. */
  private readonly heartbeats: Effect.Effect<void> = Effect.suspend(() => {
    const suspects = new Set<string>()
    const beat = Effect.andThen(
      Effect.sync(() => void this.say(this.changes, { _tag: "Alive", ...this.signed() })),
      Effect.andThen(this.connection.roundTrip, Effect.sync(() => this.watch(suspects)))
    )
    return Effect.forever(Effect.andThen(Effect.sleep(this.ttlMillis / 3), Effect.ignore(beat)))
  })

  private watch(suspects: Set<string>): void {
    this.awaited.clear()
    this.settle(Exit.void)
    for (const [process, peer] of this.peers) {
      if (!this.isSilent(peer)) suspects.delete(process)
      else if (suspects.delete(process)) this.forget(process)
      else {
        suspects.add(process)
        this.ask(process, "version")
      }
    }
  }
}

const inParts = (entries: ReadonlyArray<typeof Entry.Type>, maxBytes: number) => {
  const parts: Array<Array<typeof Entry.Type>> = [[]]
  let bytes = 0
  for (const entry of entries) {
    const length = Buffer.byteLength(JSON.stringify(entry))
    if (bytes + length > maxBytes && bytes > 0) {
      parts.push([])
      bytes = 0
    }
    parts.at(-1)!.push(entry)
    bytes += length
  }
  return parts
}

/** Presence of a process until the scope closes. */
export const make = Effect.fnUntraced(function*(connection: Connection, options: PresenceOptions) {
  const clock = yield* Clock.Clock
  const scope: Scope.Scope = yield* Effect.scope
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const presence = new Presence(connection, options, clock, (effect) => void Fiber.runIn(fork(effect), scope))
  yield* Effect.addFinalizer(() => presence.close)
  return presence
})
