/**
 * What every PubSub layer does, whatever carries its messages: one suite for memory, Redis and NATS. Each layer's test
 * calls `pubSubContract` with a way to build services that share a broker.
 */
import { describe } from "@effect/vitest"
import { history } from "./PubSub/history.ts"
import { lifetimes } from "./PubSub/lifetimes.ts"
import { names } from "./PubSub/names.ts"
import { presence } from "./PubSub/presence.ts"
import { processes } from "./PubSub/processes.ts"
import { queues } from "./PubSub/queues.ts"
import type { Subject } from "./PubSub/subject.ts"
import { topics } from "./PubSub/topics.ts"

export type { ContractOptions, Subject } from "./PubSub/subject.ts"

const areas = [topics, names, queues, history, presence, lifetimes, processes]

export const pubSubContract = (name: string, subject: Subject): void => {
  describe(`${name} as a PubSub`, () => {
    for (const area of areas) area(subject)
  })
}
