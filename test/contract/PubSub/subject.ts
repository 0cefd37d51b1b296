/** What the areas of the PubSub contract share: how a service is built, and how a test waits for what really travels. */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type Channel, type Payload, PubSub } from "../../../src/service/PubSub.ts"

/** What the contract asks a layer to be built with. A layer without one of them ignores it. */
export interface ContractOptions {
  readonly capacity?: number
  readonly expiry?: Duration.Input
  readonly maxMessageBytes?: number
  readonly maxDelayed?: number
  readonly maxKept?: number
  readonly historyTtl?: Duration.Input
  readonly presenceTtl?: Duration.Input
}

/** One layer under the contract. */
export interface Subject {
  /** How many services can share a broker; a string is one only, and why: behaviours of two are skipped with it. */
  readonly processes: 2 | string
  /** A broker with nothing in it. Each build of the layer that it yields is another process at that broker. */
  readonly broker: (options: ContractOptions) => Effect.Effect<Layer.Layer<PubSub, unknown>, unknown, Scope.Scope>
}

export type Service = PubSub["Service"]

const build = (layer: Layer.Layer<PubSub, unknown>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, PubSub))

/** A service alone at its broker, until the test ends. */
export const start = (subject: Subject, options: ContractOptions = {}) => Effect.flatMap(subject.broker(options), build)

/** Two services at one broker, until the test ends. */
export const startTwo = (subject: Subject, options: ContractOptions = {}) =>
  Effect.flatMap(subject.broker(options), (layer) => Effect.all([build(layer), build(layer)]))

/** One turn of the event loop: real input and output proceed, and no clock moves. */
export const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/** Lets turns pass until the fact is true. */
export const until = <E, R>(fact: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.flatMap(fact, (isTrue) => isTrue ? Effect.void : Effect.andThen(turn, until(fact)))

/** Waits until as many are subscribed, and the broker knows: what is published from now on reaches them. */
export const joined = (service: Service, topic: string, count: number) =>
  Effect.andThen(
    until(Effect.map(service.subscribers(topic), (found) => found === count)),
    Effect.scoped(service.listen(topic, () => {}))
  )

/** What waits in the channel's queue now. */
export const taken = Effect.fnUntraced(function*(channel: Channel) {
  const messages: Array<Payload> = []
  while (channel.pending > 0) messages.push((yield* channel.receive).data)
  return messages
})

/** What waits in the channel's queue once everything that the service published has arrived. */
export const received = (service: Service, channel: Channel) => Effect.andThen(service.flush, taken(channel))

/** The next `count` messages, however long they travel. */
export const next = (channel: Channel, count: number) =>
  Effect.map(Effect.replicateEffect(channel.receive, count), (messages) => messages.map(({ data }) => data))

export const numbers = (from: number, to: number): Array<string> =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => String(from + i))

/** The reason of the PubSubError that the effect fails with. */
export const reasonOf = <A, E extends { readonly reason: unknown }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason as E["reason"])
