/**
 * Histories of topics in memory: the last messages of each, as many as its last publication asked for. Owns them until
 * nobody has added to a topic for `ttlMillis`, or until `maxTopics` others were added to since.
 */
import type { Message, Replay } from "../../src/service/PubSub.ts"

interface Kept {
  readonly messages: Array<Message>
  lastMillis: number
}

export class PubSubHistory {
  private readonly ttlMillis: number
  private readonly maxTopics: number
  /** In the order of their last messages, so that what has outlived its time stands first. */
  private readonly topics = new Map<string, Kept>()

  constructor(ttlMillis: number, maxTopics: number) {
    this.ttlMillis = ttlMillis
    this.maxTopics = maxTopics
  }

  add(message: Message, keep: number, nowMillis: number): void {
    this.forget(nowMillis)
    const kept = this.topics.get(message.topic) ?? { messages: [], lastMillis: 0 }
    kept.messages.push(message)
    kept.lastMillis = nowMillis
    if (kept.messages.length > keep) kept.messages.splice(0, kept.messages.length - keep)
    this.topics.delete(message.topic)
    this.topics.set(message.topic, kept)
    if (this.topics.size > this.maxTopics) this.topics.delete(this.topics.keys().next().value!)
  }

  /** What is kept of a topic, from where the replay says. */
  read(topic: string, replay: Replay, nowMillis: number): ReadonlyArray<Message> {
    this.forget(nowMillis)
    const kept = this.topics.get(topic)
    if (kept === undefined) return []
    const { messages } = kept
    if (replay.after === undefined) return messages.slice(-(replay.last ?? messages.length))
    // Not there: index -1, and all of them come.
    return messages.slice(messages.findIndex((message) => message.id === replay.after) + 1)
  }

  private forget(nowMillis: number): void {
    for (const [topic, kept] of this.topics) {
      if (nowMillis - kept.lastMillis < this.ttlMillis) return
      this.topics.delete(topic)
    }
  }
}
