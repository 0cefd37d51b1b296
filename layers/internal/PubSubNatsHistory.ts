/**
 * Histories of topics in a JetStream stream. The stream takes in what is published to `<prefix>.h.<topic>`, and the
 * server itself hands it on to `<prefix>.t.<topic>` once it is stored. That the order of delivery is the order of ids is
 * seen to by PubSubNatsOrder.ts.
 *
 * A stream has one length for all its subjects, a history has the length that its last publication asked for. So each
 * message says its length, readers count by it, and what nobody can read any more is purged now and then. The stream is
 * made with the first use, and again when the server has lost it.
 */
import { jetstream, JetStreamApiError, JetStreamError } from "@nats-io/jetstream"
import type { JetStreamClient, JetStreamManager, StreamConfig } from "@nats-io/jetstream"
import { type MsgHdrs, RequestError } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import type { Message, PubSubError, Replay } from "../../src/service/PubSub.ts"
import type { Publication } from "./PubSubBackend.ts"
import { type Connection, unavailable } from "./PubSubNatsConnection.ts"
import * as PubSubNatsMessage from "./PubSubNatsMessage.ts"

export interface HistoryOptions {
  readonly prefix: string
  /** Part of the marks of our messages. */
  readonly process: string
  readonly ttlMillis: number
  readonly storage: "file" | "memory"
  readonly replicas: number
  /** Longest history that there can be. */
  readonly maxKept: number
}

/** A stream of that name exists and is not as we would make it. */
const nameInUse = 10058

/** Messages on their way at a time. 50 of a MiB stay below what a server holds for one client (64 MiB). */
const batch = 50

/** Topics are purged after so many messages at the least. */
const leastPurge = 16

/** Topics whose messages are counted for the next purge. The count of others begins anew. */
const maxCounted = 10_000

interface Kept extends Message {
  readonly id: string
  readonly keep: number
}

export class History {
  /** The name of the stream: no dot may be in it. */
  readonly stream: string
  private readonly connection: Connection
  private readonly jetstream: JetStreamClient
  private readonly options: HistoryOptions
  private readonly counted = new Map<string, number>()
  private isMade = false
  private nextNumber = 1

  constructor(connection: Connection, options: HistoryOptions) {
    this.connection = connection
    this.options = options
    this.stream = `${options.prefix.replaceAll(/[.:]/g, "_")}_history`
    this.jetstream = jetstream(connection.nats, { timeout: connection.timeoutMillis })
    connection.watch(() => this.isMade = false, () => {})
  }

  private subject(topic: string): string {
    return `${this.options.prefix}.h.${topic}`
  }

  readonly publish = (publication: Publication): Effect.Effect<void, PubSubError> =>
    Effect.flatMap(
      this.withStream(() => this.store(publication)),
      () => this.isPurgeDue(publication) ? this.purge(publication) : Effect.void
    )

  private store({ data, excluded, keep, topic }: Publication) {
    const headersOf = (number: number) =>
      PubSubNatsMessage.headersOfKept(data, excluded, keep, this.options.process, number)
    return this.connection.callWriting(
      data.length + topic.length,
      // Numbered as it is written: numbers have the order of the stream.
      () => this.jetstream.publish(this.subject(topic), data, { headers: headersOf(this.nextNumber++) }),
      (cause) => this.failure(cause, data, headersOf(this.nextNumber))
    )
  }

  /** What is kept of a topic, from where the replay says. */
  readonly read = (topic: string, replay: Replay): Effect.Effect<ReadonlyArray<Message>, PubSubError> =>
    Effect.map(
      this.withStream(() =>
        this.connection.call((signal) => this.stored(topic, signal), (cause) => this.failure(cause))
      ),
      (stored) => {
        const kept = inHistory(stored, this.options.maxKept)
        if (replay.after === undefined) return replay.last === undefined ? kept : kept.slice(-replay.last)
        // Not there: index -1, and all of them come.
        return kept.slice(kept.findIndex((message) => message.id === replay.after) + 1)
      }
    )

  /** Reads by a consumer of our own, as many messages as there are now: what comes meanwhile comes live. */
  private async stored(topic: string, signal: AbortSignal): Promise<ReadonlyArray<Kept>> {
    const manager = await this.manager()
    const info = await manager.consumers.add(this.stream, {
      ack_policy: "none",
      deliver_policy: "all",
      filter_subject: this.subject(topic),
      inactive_threshold: nanosOf(2 * this.connection.timeoutMillis),
      mem_storage: true,
      num_replicas: 1
    })
    const consumer = this.jetstream.consumers.getConsumerFromInfo(info)
    const found: Array<Kept> = []
    while (found.length < info.num_pending && !signal.aborted) {
      const before = found.length
      const messages = await consumer.fetch({
        max_messages: Math.min(batch, info.num_pending - before),
        // The least that JetStream takes.
        expires: Math.max(1000, this.connection.timeoutMillis)
      })
      signal.addEventListener("abort", () => messages.stop(), { once: true })
      for await (const message of messages) {
        const { keep, mark } = PubSubNatsMessage.keptBy(message.headers)
        const id = PubSubNatsMessage.idOf(message.seq, mark)
        found.push({ topic, data: PubSubNatsMessage.payloadOf(message), id, keep })
      }
      // Purged meanwhile.
      if (found.length === before) break
    }
    manager.consumers.delete(this.stream, info.name).catch(() => {})
    return found
  }

  private manager(): Promise<JetStreamManager> {
    return this.jetstream.jetstreamManager(false)
  }

  // ---- the stream

  /** Runs what needs the stream; once more where the server has lost it. */
  private withStream<A>(run: () => Effect.Effect<A, PubSubError>): Effect.Effect<A, PubSubError> {
    return Effect.suspend(() => {
      if (!this.isMade) return Effect.andThen(this.make, Effect.suspend(run))
      return Effect.catch(
        run(),
        (error) => this.isMade ? Effect.fail(error) : Effect.andThen(this.make, Effect.suspend(run))
      )
    })
  }

  private readonly make: Effect.Effect<void, PubSubError> = Effect.suspend(() => {
    const { maxKept, prefix, replicas, storage, ttlMillis } = this.options
    const config: Partial<StreamConfig> & { readonly name: string } = {
      name: this.stream,
      subjects: [`${prefix}.h.>`],
      max_msgs_per_subject: Math.max(1, maxKept),
      max_age: nanosOf(ttlMillis),
      storage,
      num_replicas: replicas,
      republish: { src: `${prefix}.h.>`, dest: `${prefix}.t.>` }
    }
    return Effect.map(
      this.connection.call(async () => {
        const manager = await this.manager()
        await manager.streams.add(config).catch((cause) => {
          if (cause instanceof JetStreamApiError && cause.code === nameInUse) {
            return manager.streams.update(this.stream, config)
          }
          throw cause
        })
      }, (cause) => this.failure(cause)),
      () => void (this.isMade = true)
    )
  })

  private failure(cause: unknown, data: Publication["data"] = "", headers?: MsgHdrs): PubSubError {
    const isUnanswered = isNoResponder(cause) || (cause instanceof Error && isNoResponder(cause.cause))
    if (isUnanswered || (cause instanceof JetStreamApiError && cause.status === 404)) {
      this.isMade = false
      return unavailable("histories need JetStream, which the server does not have switched on for us", cause)
    }
    return cause instanceof JetStreamError
      ? unavailable(`JetStream refuses: ${cause.message}`, cause)
      : this.connection.failure(cause, data, headers)
  }

  // ---- forgetting

  private isPurgeDue({ keep, topic }: Publication): boolean {
    const count = (this.counted.get(topic) ?? 0) + 1
    if (count >= Math.max(keep, leastPurge)) return this.counted.delete(topic) || true
    if (this.counted.size >= maxCounted) this.counted.clear()
    this.counted.set(topic, count)
    return false
  }

  /** What it does not get, the next one will, or the length of the stream. */
  private purge({ keep, topic }: Publication): Effect.Effect<void> {
    return Effect.ignore(this.connection.call(async () => {
      const manager = await this.manager()
      await manager.streams.purge(this.stream, { filter: this.subject(topic), keep })
    }))
  }
}

const nanosOf = (millis: number): number => millis * 1_000_000

const isNoResponder = (cause: unknown): boolean => cause instanceof RequestError && cause.isNoResponders()

/** Each message makes the history one longer, up to its own `keep`. The last so many count. */
const inHistory = (stored: ReadonlyArray<Kept>, maxKept: number): ReadonlyArray<Message> => {
  const length = stored.reduce((length, { keep }) => Math.min(length + 1, keep, maxKept), 0)
  return length === 0 ? [] : stored.slice(-length).map(({ data, id, topic }) => ({ topic, data, id }))
}
