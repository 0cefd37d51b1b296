/**
 * Who is there, in memory: keys of topics, each with those who track it. Owns nothing but the table; it has no time,
 * because who is gone in this process has said so.
 */
import type { Presence, PresencePage } from "../../src/service/PubSub.ts"

/** What each owner said of a key, the last word last. */
type Said = Map<number, string>

export class PubSubPresence {
  private readonly topics = new Map<string, Map<string, Said>>()

  add(topic: string, key: string, value: string, owner: number): void {
    let keys = this.topics.get(topic)
    if (keys === undefined) this.topics.set(topic, keys = new Map())
    let said = keys.get(key)
    if (said === undefined) keys.set(key, said = new Map())
    said.delete(owner)
    said.set(owner, value)
  }

  remove(topic: string, key: string, owner: number): void {
    const keys = this.topics.get(topic)
    const said = keys?.get(key)
    if (keys === undefined || said === undefined || !said.delete(owner)) return
    if (said.size === 0) keys.delete(key)
    if (keys.size === 0) this.topics.delete(topic)
  }

  count(topic: string): number {
    return this.topics.get(topic)?.size ?? 0
  }

  list(topic: string, limit: number): ReadonlyArray<Presence> {
    const entries: Array<Presence> = []
    for (const [key, said] of this.topics.get(topic) ?? []) {
      if (entries.length === limit) break
      entries.push({ key, value: [...said.values()].at(-1)! })
    }
    return entries
  }

  /** Pages go by keys in order of their text, so that whoever comes or goes in between moves nobody else. */
  scan(topic: string, cursor: string | undefined, count: number): PresencePage {
    const keys = [...this.topics.get(topic)?.keys() ?? []].filter((key) => cursor === undefined || key > cursor).sort()
    const page = keys.slice(0, count)
    const said = this.topics.get(topic)
    return {
      entries: page.map((key) => ({ key, value: [...said!.get(key)!.values()].at(-1)! })),
      cursor: keys.length > count ? page.at(-1) : undefined
    }
  }
}
