/**
 * A channel over a receiver of the hub: what an application holds. Owns who it says is present, and nothing else; its
 * queue and its subscriptions are the receiver's.
 */
import * as Effect from "effect/Effect"
import type { Channel, PubSub, PubSubError, Replay } from "../../src/service/PubSub.ts"
import type { Backend } from "./PubSubBackend.ts"
import { checkChannel, type Checks, excludedBy } from "./PubSubChecks.ts"
import type { Receiver, Subscription } from "./PubSubHub.ts"

/** What a channel needs of its service. */
export interface ChannelHost {
  readonly checks: Checks
  readonly presence: Backend["presence"]
  readonly publish: PubSub["Service"]["publish"]
  readonly newOwner: () => number
  readonly join: (receiver: Receiver, name: string, replay: Replay) => Effect.Effect<void, PubSubError>
  readonly leave: (subscription: Subscription) => Effect.Effect<void>
}

export class ServiceChannel implements Channel {
  readonly name: string
  readonly receive: Channel["receive"]
  readonly poll: Channel["poll"]
  readonly arrival: Channel["arrival"]
  readonly messages: Channel["messages"]
  private readonly service: ChannelHost
  private readonly receiver: Receiver
  private isLeaving = false
  /** Owners of what this channel tracks, by topic and key. */
  private readonly tracked = new Map<string, { readonly topic: string; readonly key: string; readonly owner: number }>()

  constructor(service: ChannelHost, receiver: Receiver) {
    this.service = service
    this.receiver = receiver
    this.name = receiver.channel!
    this.receive = receiver.mailbox.take
    this.poll = receiver.mailbox.poll
    this.arrival = receiver.mailbox.waits
    this.messages = receiver.mailbox.stream
  }

  get subscriptions(): ReadonlyArray<string> {
    return [...this.receiver.subscriptions.keys()]
  }

  get pending(): number {
    return this.receiver.mailbox.pending()
  }

  readonly subscribe: Channel["subscribe"] = (name, replay = {}) => this.service.join(this.receiver, name, replay)

  readonly unsubscribe: Channel["unsubscribe"] = (name) =>
    Effect.suspend(() => {
      const subscription = this.receiver.subscriptions.get(name)
      return subscription === undefined ? Effect.void : this.service.leave(subscription)
    })

  readonly unsubscribeAll: Channel["unsubscribeAll"] = Effect.suspend(() =>
    Effect.forEach(this.subscriptions, this.unsubscribe, { discard: true })
  )

  readonly publish: Channel["publish"] = (topic, data, options) =>
    this.service.publish(topic, data, { ...options, exclude: [this.name, ...excludedBy(options ?? {})] })

  readonly track: Channel["track"] = (topic, key, value = "") =>
    Effect.suspend(() => {
      const problem = this.service.checks.presence(topic, key, value) ?? checkChannel(this.receiver, this.isLeaving)
      if (problem !== undefined) return problem
      const place = `${topic}\n${key}`
      const known = this.tracked.get(place) ?? { topic, key, owner: this.service.newOwner() }
      this.tracked.set(place, known)
      return this.service.presence.add(topic, key, value, known.owner)
    })

  readonly untrack: Channel["untrack"] = (topic, key) =>
    Effect.suspend(() => {
      const place = `${topic}\n${key}`
      const known = this.tracked.get(place)
      if (known === undefined) return Effect.void
      this.tracked.delete(place)
      return this.service.presence.remove(topic, key, known.owner)
    })

  /** The end: nobody is tracked any more, also while the back end is told. */
  readonly untrackAll: Effect.Effect<void> = Effect.suspend(() => {
    this.isLeaving = true
    return Effect.forEach([...this.tracked.values()], ({ key, topic }) => Effect.ignore(this.untrack(topic, key)), {
      concurrency: "unbounded",
      discard: true
    })
  })
}
