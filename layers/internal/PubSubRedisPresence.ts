/**
 * Who is there, in Redis: what this process says of keys, and questions about what all say. Owns the table of its own
 * entries, so that it can say them again when Redis forgot them, or said nothing because it was away.
 *
 * A process that lives is kept in one sorted set; one that does not is buried, entry by entry, by whoever asks next.
 */
import * as Effect from "effect/Effect"
import type { Presence, PresencePage, PubSubError } from "../../src/service/PubSub.ts"
import type { Backend } from "./PubSubBackend.ts"
import type { Commands } from "./PubSubRedisCommands.ts"
import * as Scripts from "./PubSubRedisScripts.ts"

/** Entries in one step of Redis: it does nothing else meanwhile. */
const batch = 200

/** Longest page that is asked for at once; longer ones are several. */
const maxPage = 1000

interface Entry {
  readonly topic: string
  readonly key: string
  /** What each owner said, the last word last; none is left of an entry that is taken back. */
  readonly said: Map<number, string>
}

type Service = Backend["presence"]

export class RedisPresence implements Service {
  private readonly commands: Commands
  private readonly prefix: string
  private readonly process: string
  private readonly ttlMillis: number
  private readonly entries = new Map<string, Entry>()
  /** Entries of which Redis may know something else. */
  private readonly unsaid = new Map<string, Entry>()

  constructor(commands: Commands, prefix: string, process: string, ttlMillis: number) {
    this.commands = commands
    this.prefix = prefix
    this.process = process
    this.ttlMillis = ttlMillis
  }

  get isEmpty(): boolean {
    return this.entries.size === 0
  }

  /** True when `sayAgain` has something to do. */
  get isBehind(): boolean {
    return this.unsaid.size > 0
  }

  readonly add: Service["add"] = (topic, key, value, owner) =>
    Effect.suspend(() => {
      const place = placeOf(topic, key)
      const entry = this.entries.get(place) ?? { topic, key, said: new Map<number, string>() }
      const before = entry.said.get(owner)
      this.entries.set(place, entry)
      entry.said.delete(owner)
      entry.said.set(owner, value)
      const undo = Effect.sync(() => {
        if (before === undefined) entry.said.delete(owner)
        else entry.said.set(owner, before)
        if (entry.said.size === 0 && this.entries.get(place) === entry) this.entries.delete(place)
        this.unsaid.set(place, entry)
      })
      return Effect.onError(this.say([entry]), () => undo)
    })

  readonly remove: Service["remove"] = (topic, key, owner) =>
    Effect.suspend(() => {
      const place = placeOf(topic, key)
      const entry = this.entries.get(place)
      if (entry === undefined || !entry.said.delete(owner)) return Effect.void
      if (entry.said.size === 0) this.entries.delete(place)
      return Effect.onError(this.say([entry]), () => Effect.sync(() => void this.unsaid.set(place, entry)))
    })

  private say(entries: ReadonlyArray<Entry>): Effect.Effect<void, PubSubError> {
    const said = entries.flatMap((entry) => {
      const place = placeOf(entry.topic, entry.key)
      // Whoever took it back may have been followed by somebody new.
      const values = [...(this.entries.get(place) ?? entry).said.values()]
      return [entry.topic, entry.key, values.length > 0 ? "1" : "0", values.at(-1) ?? ""]
    })
    const args = [this.prefix, String(this.commands.now()), this.process, String(this.ttlMillis), ...said]
    return Effect.map(
      this.commands.evaluate<number>(Scripts.track, args),
      (isLost) => {
        for (const { key, topic } of entries) this.unsaid.delete(placeOf(topic, key))
        if (isLost === 1) this.forgotten(new Set(entries))
      }
    )
  }

  /** Redis may have forgotten all of this process, or all but some. */
  forgotten(but: ReadonlySet<Entry> = new Set()): void {
    for (const [place, entry] of this.entries) if (!but.has(entry)) this.unsaid.set(place, entry)
  }

  /** Tells Redis what it may not know, as long as there is something. */
  readonly sayAgain: Effect.Effect<void, PubSubError> = Effect.suspend(() => {
    const entries = [...this.unsaid.values()].slice(0, batch)
    return entries.length === 0 ? Effect.void : Effect.andThen(this.say(entries), this.sayAgain)
  })

  /** Takes back everything that this process said. */
  readonly leave: Effect.Effect<void, PubSubError> = Effect.suspend(() =>
    Effect.andThen(this.commands.evaluate(Scripts.leave, [this.prefix, this.process]), this.bury)
  )

  /** Buries whoever is dead. */
  readonly bury: Effect.Effect<void, PubSubError> = Effect.suspend(() =>
    Effect.flatMap(
      this.commands.evaluate<number>(Scripts.bury, [this.prefix, String(this.commands.now())]),
      (isMore) => isMore === 1 ? this.bury : Effect.void
    )
  )

  private ask<Reply>(script: string, args: ReadonlyArray<string>): Effect.Effect<Reply, PubSubError> {
    return Effect.flatMap(
      Effect.suspend(() =>
        this.commands.evaluate<Reply | -1>(script, [this.prefix, String(this.commands.now()), ...args])
      ),
      (reply) =>
        reply === -1 ? Effect.andThen(this.bury, this.ask<Reply>(script, args)) : Effect.succeed(reply as Reply)
    )
  }

  readonly count: Service["count"] = (topic) => this.ask<number>(Scripts.count, [topic])

  /** Pages go by keys in the order of their bytes; the cursor is the last key, and any text is a place. */
  readonly scan: Service["scan"] = (topic, cursor, count) =>
    Effect.map(this.page(topic, cursor, Math.min(count, maxPage) + 1), (entries): PresencePage => {
      const page = entries.slice(0, Math.min(count, maxPage))
      return { entries: page, cursor: entries.length > page.length ? page.at(-1)?.key : undefined }
    })

  readonly list: Service["list"] = (topic, limit) => this.listFrom(topic, undefined, limit, [])

  private listFrom(
    topic: string,
    cursor: string | undefined,
    limit: number,
    found: ReadonlyArray<Presence>
  ): Effect.Effect<ReadonlyArray<Presence>, PubSubError> {
    return Effect.flatMap(this.scan(topic, cursor, limit - found.length), (page) => {
      const all = found.length === 0 ? page.entries : [...found, ...page.entries]
      return page.cursor === undefined || all.length >= limit
        ? Effect.succeed(all)
        : this.listFrom(topic, page.cursor, limit, all)
    })
  }

  private page(topic: string, after: string | undefined, count: number) {
    const args = [topic, after === undefined ? "-" : `(${after}`, String(count)]
    return Effect.map(this.ask<ReadonlyArray<string>>(Scripts.page, args), (found) => {
      const entries: Array<Presence> = []
      for (let i = 0; i + 1 < found.length; i += 2) entries.push({ key: found[i]!, value: found[i + 1]! })
      return entries
    })
  }
}

const placeOf = (topic: string, key: string): string => `${topic}\n${key}`
