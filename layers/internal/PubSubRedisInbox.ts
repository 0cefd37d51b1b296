/**
 * What processes say to each other through Redis: messages to one channel and their answers, marks in the order of
 * messages. Each process has one inbox, whose name is the first part of the names of its channels.
 *
 * A message to a channel of the same process goes this way as well: only so it comes behind what was published before.
 */
import * as Effect from "effect/Effect"
import { type Payload, PubSubError } from "../../src/service/PubSub.ts"
import * as Envelope from "./PubSubEnvelope.ts"
import type { Hub } from "./PubSubHub.ts"
import { type Commands, type Place, unavailable } from "./PubSubRedisCommands.ts"

const both: ReadonlyArray<Place> = ["commands", "messages"]

type Settle = (result: Effect.Effect<void, PubSubError>) => void

export class Inbox {
  /** Where this process is reached. */
  readonly channel: string
  private readonly hub: Hub
  private readonly commands: Commands
  private readonly prefix: string
  private readonly open = new Map<string, Settle>()
  private readonly problem: () => string | undefined
  private nextId = 1

  /** `problem` is why nothing arrives here now. */
  constructor(hub: Hub, commands: Commands, prefix: string, problem: () => string | undefined) {
    this.problem = problem
    this.hub = hub
    this.commands = commands
    this.prefix = `${prefix}p:`
    this.channel = this.prefix + hub.channelPrefix
  }

  /** The inbox that a channel is reached by; `undefined` when the name is not of our making. */
  inboxOf(channel: string): string | undefined {
    const dot = channel.indexOf(".")
    return dot > 0 ? this.prefix + channel.slice(0, dot) : undefined
  }

  send(channel: string, data: Payload): Effect.Effect<void, PubSubError> {
    const inbox = this.inboxOf(channel)
    if (inbox === undefined) return Effect.fail(unknown(channel))
    return this.request((id) =>
      Effect.flatMap(
        this.commands.run<number>(
          ["PUBLISH", inbox, Envelope.write({ kind: "send", id, names: [channel], data })],
          data.length
        ),
        (receivers) => receivers === 0 ? Effect.fail(unknown(channel)) : Effect.void
      )
    )
  }

  /** Completes when everything that was sent before has arrived here. */
  readonly flush: Effect.Effect<void, PubSubError> = Effect.suspend(() =>
    this.request((id) =>
      this.commands.run<void>(["PUBLISH", this.channel, Envelope.write({ kind: "mark", id, names: [], data: "" })])
    )
  )

  /** Sends what has this id and waits until it is answered. */
  private request(
    send: (id: string) => Effect.Effect<void, PubSubError>
  ): Effect.Effect<void, PubSubError> {
    return Effect.suspend(() => {
      const problem = this.problem()
      if (problem !== undefined) return Effect.fail(unavailable(problem))
      const id = `${this.hub.channelPrefix}.${(this.nextId++).toString(36)}`
      const answered = Effect.callback<void, PubSubError>((resume) => {
        const over = this.commands.wait(both, (error) => this.settle(id, Effect.fail(error)))
        if (over === undefined) return resume(Effect.fail(unavailable("no more messages can wait for their answers")))
        this.open.set(id, (result) => {
          over()
          resume(result)
        })
        return Effect.sync(() => this.settle(id, Effect.void))
      })
      // The answer may come before the reply to the sending does.
      return Effect.asVoid(Effect.all([answered, send(id)], { concurrency: 2 }))
    })
  }

  private settle(id: string, result: Effect.Effect<void, PubSubError>): void {
    const settle = this.open.get(id)
    if (settle === undefined) return
    this.open.delete(id)
    settle(result)
  }

  /** Takes what came to the inbox. What it does not understand was not written by us. */
  arrived(message: Buffer): void {
    const envelope = Envelope.decode(message)
    if (envelope === undefined) return
    const { data, id, kind, names } = envelope
    if (kind === "send" && names.length === 1) return this.sent(id, names[0]!, data)
    if (id === undefined) return
    if (kind === "mark") return this.settle(id, Effect.void)
    if (kind === "answer" && names.length === 1) this.settle(id, resultOf(names[0]!, String(data)))
  }

  private sent(id: string | undefined, channel: string, data: Payload): void {
    const capacity = this.hub.capacityOf(channel)
    const outcome = this.hub.deliverTo(channel, data)
    if (id === undefined) return
    const answer = outcome === "full" ? `full ${capacity}` : outcome
    const inbox = this.inboxOf(id)
    if (inbox === this.channel) return this.settle(id, resultOf(channel, answer))
    if (inbox === undefined) return
    this.commands.post(["PUBLISH", inbox, Envelope.write({ kind: "answer", id, names: [channel], data: answer })])
  }
}

const resultOf = (channel: string, answer: string): Effect.Effect<void, PubSubError> => {
  if (answer === "delivered") return Effect.void
  const capacity = /^full (\d{1,15})$/.exec(answer)?.[1]
  return Effect.fail(
    capacity === undefined
      ? unknown(channel)
      : new PubSubError({ reason: { _tag: "ChannelFull", channel, capacity: Number(capacity) } })
  )
}

const unknown = (channel: string): PubSubError => new PubSubError({ reason: { _tag: "UnknownChannel", channel } })
