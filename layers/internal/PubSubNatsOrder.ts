/**
 * Puts kept messages into the order of their ids. Where several clients publish to one subject at the same moment, the
 * server (2.9 does) may republish what it has stored in another order: whoever resumes after the later id would never see
 * the earlier message. Each message says which was stored before it on its subject (ADR-28), so that one that comes too
 * early is held back: for one round trip to the server, since what is missing then was lost with a connection.
 */
import type * as PubSubNatsMessage from "./PubSubNatsMessage.ts"

interface Early {
  readonly sequence: number
  readonly previous: number
  readonly deliver: () => void
}

/** Topics of which is known what came last, at most. Of others the first message is taken as it comes. */
const maxTopics = 10_000

/** So many of a topic are held back at most. */
const maxEarly = 1000

export class Order {
  private readonly roundTrip: () => Promise<void>
  /** Sequences of the messages delivered last. */
  private readonly last = new Map<string, number>()
  private readonly early = new Map<string, Array<Early>>()

  /** `roundTrip` settles when the server has sent what it had, or the connection is lost. */
  constructor(roundTrip: () => Promise<void>) {
    this.roundTrip = roundTrip
  }

  /** Calls `deliver` when it is the message's turn. */
  pass(topic: string, { previous, sequence }: PubSubNatsMessage.Place, deliver: () => void): void {
    const last = this.last.get(topic)
    if (last === undefined || previous <= last) {
      this.delivered(topic, sequence, deliver)
      if (this.early.size > 0) this.catchUp(topic)
      return
    }
    const known = this.early.get(topic)
    if (known !== undefined) {
      known.push({ sequence, previous, deliver })
      if (known.length >= maxEarly) this.release(topic, known)
      return
    }
    const early: Array<Early> = [{ sequence, previous, deliver }]
    this.early.set(topic, early)
    const release = () => this.release(topic, early)
    this.roundTrip().then(release, release)
  }

  /** Nothing is known any more; what is held back is delivered. */
  forget(): void {
    for (const [topic, early] of this.early) this.release(topic, early)
    this.last.clear()
  }

  private delivered(topic: string, sequence: number, deliver: () => void): void {
    if (!this.last.has(topic) && this.last.size >= maxTopics) this.last.clear()
    this.last.set(topic, Math.max(sequence, this.last.get(topic) ?? 0))
    deliver()
  }

  private catchUp(topic: string): void {
    const early = this.early.get(topic)
    if (early === undefined) return
    const next = early.findIndex(({ previous }) => previous <= (this.last.get(topic) ?? Infinity))
    if (next < 0) return
    const [{ deliver, sequence }] = early.splice(next, 1) as [Early]
    if (early.length === 0) this.early.delete(topic)
    this.delivered(topic, sequence, deliver)
    this.catchUp(topic)
  }

  private release(topic: string, early: Array<Early>): void {
    if (this.early.get(topic) !== early) return
    this.early.delete(topic)
    for (const { deliver, sequence } of early.sort((one, other) => one.sequence - other.sequence)) {
      this.delivered(topic, sequence, deliver)
    }
  }
}
