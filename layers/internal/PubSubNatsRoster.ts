/**
 * Who is there in all processes, as one of them knows it: what each process said of its own. Owns the table and nothing
 * else: no network, no time.
 *
 * A key has the value that was said last, by the stamps of those who said it: so all processes agree, whatever they heard
 * first.
 */
import type { Presence, PresencePage } from "../../src/service/PubSub.ts"

/** What one owner says. */
export interface Entry {
  /** Unique among those of its process. */
  readonly owner: number
  readonly topic: string
  readonly key: string
  readonly value: string
  /** Later is greater. */
  readonly stamp: number
}

/** The entries of one process, by owner. */
export type Entries = Map<number, Entry>

export class Roster {
  /** What is said of each key of each topic. */
  private readonly topics = new Map<string, Map<string, Set<Entry>>>()

  put(entries: Entries, entry: Entry): void {
    this.remove(entries, entry.owner)
    entries.set(entry.owner, entry)
    let keys = this.topics.get(entry.topic)
    if (keys === undefined) this.topics.set(entry.topic, keys = new Map())
    let said = keys.get(entry.key)
    if (said === undefined) keys.set(entry.key, said = new Set())
    said.add(entry)
  }

  remove(entries: Entries, owner: number): void {
    const entry = entries.get(owner)
    if (entry === undefined) return
    entries.delete(owner)
    const keys = this.topics.get(entry.topic)
    const said = keys?.get(entry.key)
    if (keys === undefined || said === undefined) return
    said.delete(entry)
    if (said.size === 0) keys.delete(entry.key)
    if (keys.size === 0) this.topics.delete(entry.topic)
  }

  clear(entries: Entries): void {
    for (const owner of entries.keys()) this.remove(entries, owner)
  }

  count(topic: string): number {
    return this.topics.get(topic)?.size ?? 0
  }

  list(topic: string, limit: number): ReadonlyArray<Presence> {
    const found: Array<Presence> = []
    for (const [key, said] of this.topics.get(topic) ?? []) {
      if (found.length === limit) break
      found.push({ key, value: lastOf(said) })
    }
    return found
  }

  /** Pages go by keys in order of their text, so that whoever comes or goes in between moves nobody else. */
  scan(topic: string, cursor: string | undefined, count: number): PresencePage {
    const said = this.topics.get(topic) ?? new Map<string, Set<Entry>>()
    const keys = [...said.keys()].filter((key) => cursor === undefined || key > cursor).sort()
    const page = keys.slice(0, count)
    return {
      entries: page.map((key) => ({ key, value: lastOf(said.get(key)!) })),
      cursor: keys.length > count ? page.at(-1) : undefined
    }
  }
}

// Of two that were said at once, all take the same one.
const isAfter = (entry: Entry, other: Entry): boolean =>
  entry.stamp > other.stamp || (entry.stamp === other.stamp && entry.value > other.value)

const lastOf = (said: ReadonlySet<Entry>): string => {
  let last: Entry | undefined
  for (const entry of said) {
    if (last === undefined || isAfter(entry, last)) last = entry
  }
  return last?.value ?? ""
}
