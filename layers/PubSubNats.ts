/**
 * PubSub over NATS: between the workers of a machine and between machines. One connection per process carries
 * everything; the server fans out. Histories need JetStream on the server, everything else does not.
 *
 * Subjects: `<prefix>.t.<topic>` for topics, `<prefix>.h.<topic>` for what is kept, `<prefix>.p.<channel>` for direct
 * messages, `<prefix>.w.>` for presence, `<prefix>.r.>` for answers. Payloads are as the application gave them, so other
 * programs take part with any client. Needs nats-server 2.9 and `@nats-io/transport-node`, `@nats-io/jetstream` 3.
 */
import { type Msg, nuid, RequestError } from "@nats-io/transport-node"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TopicName from "../src/schema/TopicName.ts"
import { type Payload, PubSub, type PubSubError } from "../src/service/PubSub.ts"
import type * as PubSubBackend from "./internal/PubSubBackend.ts"
import type * as PubSubChecks from "./internal/PubSubChecks.ts"
import type { Hub } from "./internal/PubSubHub.ts"
import * as PubSubNatsConnection from "./internal/PubSubNatsConnection.ts"
import { History } from "./internal/PubSubNatsHistory.ts"
import * as PubSubNatsMessage from "./internal/PubSubNatsMessage.ts"
import { Order } from "./internal/PubSubNatsOrder.ts"
import * as PubSubNatsPresence from "./internal/PubSubNatsPresence.ts"
import { Subjects } from "./internal/PubSubNatsSubjects.ts"
import * as PubSubService from "./internal/PubSubService.ts"

export interface Options extends PubSubChecks.Options, PubSubNatsConnection.Options {
  /** First segments of all subjects. Applications that share a server have each their own. Default `slipway`. */
  readonly prefix?: string | undefined
  /** How long a message is kept in its history. Default 1 day. */
  readonly historyTtl?: Duration.Input | undefined
  /** Whether histories survive a restart of the server. Default `file`: they do. Never changes for a stream. */
  readonly historyStorage?: "file" | "memory" | undefined
  /** On how many servers of a cluster each history is. Default 1. */
  readonly historyReplicas?: number | undefined
  /** How long those of a process that died stay present. Default 60 seconds. */
  readonly presenceTtl?: Duration.Input | undefined
}

/**
 * Builds the service.
 *
 * **Fails with** `PubSubError`: `InvalidOption`, and `Unavailable` when no server can be reached at the start. A server
 * that is lost later is tried again for ever: meanwhile what is published, sent or asked for fails with `Unavailable` at
 * once, subscriptions stay, and take effect again with the connection. What was published while nobody was connected is
 * lost, except for histories.
 * **Limits** the server's `max_payload` (default 1 MiB) counts payload and headers together; bytes, exclusions and
 * histories take headers. Above it a message fails with `MessageTooLarge`.
 * **Gotchas** kept messages that several processes publish in the same moment mostly come in the order of their ids, which
 * nats-server 2.9 does not promise: a client that resumes after one of them may then miss its neighbour. Delayed messages wait in this process and go with it. Every process that uses presence holds all presences.
 * While a receiver's process is not connected, its channels are unknown. In a cluster a new subscription takes a moment to
 * reach the other servers, and only messages of one kind, kept or not, keep their order among each other.
 */
export const make = Effect.fnUntraced(function*(options: Options) {
  const prefix = options.prefix ?? "slipway"
  const times = yield* checked(options, prefix)
  const process = nuid.next()
  return yield* PubSubService.make(options, process, (hub) =>
    Effect.gen(function*() {
      const connection = yield* PubSubNatsConnection.open(options, process, `${prefix}.r`)
      const presence = yield* PubSubNatsPresence.make(connection, { prefix, process, ttlMillis: times.presenceTtl })
      const history = new History(connection, {
        prefix,
        process,
        ttlMillis: times.historyTtl,
        storage: options.historyStorage ?? "file",
        replicas: options.historyReplicas ?? 1,
        maxKept: options.maxKept ?? 1000
      })
      const backend = new NatsBackend(hub, connection, prefix, history, presence)
      // Direct messages reach this process from now on.
      yield* connection.roundTrip
      return backend
    }))
})

const checked = (options: Options, prefix: string) => {
  const invalid = (option: string, value: unknown, problem: string) =>
    Effect.fail(PubSubNatsConnection.refuse({ _tag: "InvalidOption", option, value, problem }))
  const problem = TopicName.problemWith(prefix)
  if (problem !== undefined) return invalid("prefix", prefix, problem)
  const times = {
    historyTtl: Duration.toMillis(options.historyTtl ?? Duration.days(1)),
    presenceTtl: Duration.toMillis(options.presenceTtl ?? Duration.seconds(60)),
    timeout: Duration.toMillis(options.timeout ?? Duration.seconds(5))
  }
  for (const [option, millis] of Object.entries(times)) {
    if (!(Number.isFinite(millis) && millis >= 100)) return invalid(option, millis, "it takes durations from 100 ms")
  }
  return Effect.succeed(times)
}

/** What the receiver's process answers to a direct message. */
const answers = { delivered: "+", full: "full ", unknown: "unknown" }

class NatsBackend implements PubSubBackend.Backend {
  readonly name = "nats"
  readonly attach: PubSubBackend.Backend["attach"] & {}
  readonly detach: PubSubBackend.Backend["detach"] & {}
  readonly history: PubSubBackend.Backend["history"]
  readonly presence: PubSubBackend.Backend["presence"]
  readonly flush: Effect.Effect<void, PubSubError>
  private readonly hub: Hub
  private readonly connection: PubSubNatsConnection.Connection
  private readonly kept: History
  private readonly topics: string
  private readonly channels: string

  constructor(
    hub: Hub,
    connection: PubSubNatsConnection.Connection,
    prefix: string,
    history: History,
    presence: PubSubNatsPresence.Presence
  ) {
    this.hub = hub
    this.connection = connection
    this.kept = history
    this.topics = `${prefix}.t.`
    this.channels = `${prefix}.p.`
    const order = new Order(() => connection.nats.flush())
    const subjects = new Subjects(connection, this.topics, (message, topic) => {
      const place = PubSubNatsMessage.placeOf(message, history.stream)
      const arrived = PubSubNatsMessage.messageOf(message, topic, place)
      const excluded = PubSubNatsMessage.excludedBy(message)
      if (place === undefined) hub.deliver(arrived, excluded)
      else order.pass(topic, place, () => hub.deliver(arrived, excluded))
    })
    // A stream that was lost meanwhile begins anew.
    connection.watch(() => order.forget(), () => {})
    connection.subscribe(`${this.channels}${hub.channelPrefix}.*`, (message) => this.arrived(message), () => {})
    this.attach = subjects.attach
    this.detach = subjects.detach
    this.history = history.read
    this.presence = presence
    this.flush = connection.roundTrip
  }

  readonly publish = (publication: PubSubBackend.Publication): Effect.Effect<void, PubSubError> => {
    if (publication.keep > 0) return this.kept.publish(publication)
    const { data, excluded, topic } = publication
    return this.connection.publish(this.topics + topic, data, PubSubNatsMessage.headersOf(data, excluded))
  }

  readonly isAfter = (id: string, other: string): boolean =>
    PubSubNatsMessage.sequenceIn(id) > PubSubNatsMessage.sequenceIn(other)

  /** Through the server also within this process: what was published before comes before. */
  readonly send = (channel: string, data: Payload): Effect.Effect<void, PubSubError> =>
    Effect.flatMap(
      this.connection.request(
        this.channels + channel,
        data,
        PubSubNatsMessage.headersOf(data, []),
        (cause) =>
          cause instanceof RequestError && cause.isNoResponders()
            ? PubSubNatsConnection.refuse({ _tag: "UnknownChannel", channel })
            : undefined
      ),
      (message) => {
        const answer = message.string()
        if (answer === answers.delivered) return Effect.void
        return Effect.fail(PubSubNatsConnection.refuse(
          answer.startsWith(answers.full)
            ? { _tag: "ChannelFull", channel, capacity: Number(answer.slice(answers.full.length)) }
            : { _tag: "UnknownChannel", channel }
        ))
      }
    )

  private arrived(message: Msg): void {
    const channel = message.subject.slice(this.channels.length)
    const result = this.hub.deliverTo(channel, PubSubNatsMessage.payloadOf(message))
    if (message.reply === undefined || message.reply === "") return
    const capacity = result === "full" ? this.hub.capacityOf(channel) : ""
    this.connection.tell(message.reply, answers[result] + capacity)
  }

  readonly status = () => this.connection.health
}

/** PubSub over NATS. See `make`. */
export const layer = (options: Options): Layer.Layer<PubSub, PubSubError> => Layer.effect(PubSub, make(options))

/** PubSub over the NATS servers that the configuration names. */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<PubSub, PubSubError | Config.ConfigError> =>
  Layer.effect(PubSub, Effect.flatMap(Config.unwrap(options), make))
