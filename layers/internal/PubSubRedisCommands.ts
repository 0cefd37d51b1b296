/**
 * Commands to Redis over a client that others made: what waits is bounded in number, bytes and time, and nothing waits
 * while the server is away. Owns no connection.
 *
 * node-redis writes the commands of one turn of the event loop at once and in order; replies come in that order.
 */
import type * as NodeRedis from "@effect/platform-node/NodeRedis"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { PubSubError } from "../../src/service/PubSub.ts"

export type Client = NodeRedis.NodeRedis["Service"]["client"]

export interface Limits {
  /** Commands without a reply. */
  readonly pending: number
  /** Bytes of their messages, where text counts one for a character. */
  readonly pendingBytes: number
  readonly timeoutMillis: number
}

/** The two connections. */
export type Place = "commands" | "messages"

/** Somebody who waits for Redis, or for another process. */
interface Waiting {
  readonly sinceMillis: number
  /** The connections without which it waits for nothing. */
  readonly places: ReadonlyArray<Place>
  readonly fail: (error: PubSubError) => void
}

export const unavailable = (problem: string, cause?: unknown): PubSubError =>
  new PubSubError({
    reason: cause === undefined ? { _tag: "Unavailable", problem } : { _tag: "Unavailable", problem, cause }
  })

/** What an error of node-redis says. An AggregateError, of all addresses of a host, has no message. */
export const problemOf = (cause: unknown): string =>
  cause instanceof Error ? cause.message || String((cause as NodeJS.ErrnoException).code ?? cause.name) : String(cause)

const forReplies: ReadonlyArray<Place> = ["commands"]

const closed = "the layer is closed"

/** `RESP_TYPES.BLOB_STRING` of node-redis: replies of bytes. */
const blobString = 36

export class Commands {
  readonly client: Client
  readonly timeoutMillis: number
  private readonly clock: Clock.Clock
  private readonly limits: Limits
  private readonly textReplies
  private readonly byteReplies
  private readonly waiting = new Set<Waiting>()
  private pending = 0
  private pendingBytes = 0
  /** When a command was sent that was not answered in time, while none has been since. */
  silentSinceMillis: number | undefined = undefined
  private isClosed = false

  constructor(client: Client, clock: Clock.Clock, limits: Limits) {
    this.client = client
    this.clock = clock
    this.limits = limits
    this.timeoutMillis = limits.timeoutMillis
    // It ends waits to be written, which only offline queues have; its timer is 12 of the 15 µs of a PUBLISH (Node 20).
    this.textReplies = client.options.disableOfflineQueue === true ? { timeout: 0 } : {}
    this.byteReplies = { ...this.textReplies, typeMapping: { [blobString]: Buffer } }
  }

  /**
   * Sends a command; `Reply` is what the caller knows of its reply. `bytes` is the size of the message in it.
   *
   * **Fails with** `Unavailable`, at once while the server is away or silent or too much waits, else when the connection
   * is lost, Redis refuses the command, or it does not answer in time. A patient command waits as long as the connection.
   */
  run<Reply>(
    args: ReadonlyArray<string | Buffer>,
    bytes = 0,
    options: "text" | "bytes" | "patient" = "text"
  ): Effect.Effect<Reply, PubSubError> {
    return Effect.callback<Reply, PubSubError>((resume) => {
      const refused = this.refusal(options === "patient")
      if (refused !== undefined) return resume(Effect.fail(refused))
      const fail = (error: PubSubError) => resume(Effect.fail(error))
      const entry: Waiting = { sinceMillis: this.now(), places: forReplies, fail }
      if (options !== "patient") this.waiting.add(entry)
      this.pending++
      this.pendingBytes += bytes
      this.client.sendCommand<Reply>(args, options === "bytes" ? this.byteReplies : this.textReplies).then(
        (reply) => {
          this.settled(entry, bytes)
          resume(Effect.succeed(reply))
        },
        (cause: unknown) => {
          this.settled(entry, bytes)
          resume(Effect.fail(unavailable(problemOf(cause), cause)))
        }
      )
    })
  }

  /** Runs a script. */
  evaluate<Reply>(
    script: string,
    args: ReadonlyArray<string | Buffer>,
    bytes = 0,
    options: "text" | "patient" = "text"
  ): Effect.Effect<Reply, PubSubError> {
    return this.run<Reply>(["EVAL", script, "0", ...args], bytes, options)
  }

  /** Sends a command whose reply nobody waits for; it is lost while the server is away. */
  post(args: ReadonlyArray<string | Buffer>): void {
    if (this.refusal() !== undefined) return
    this.pending++
    const settled = () => {
      this.pending--
      this.silentSinceMillis = undefined
    }
    this.client.sendCommand(args, this.textReplies).then(settled, settled)
  }

  /**
   * Why no command is taken now. A silent server gets none but patient ones, since what is written keeps a dead connection
   * from being noticed: its time of silence begins anew.
   */
  private refusal(isPatient = false): PubSubError | undefined {
    if (this.isClosed) return unavailable(closed)
    if (!this.client.isReady) return unavailable("there is no connection")
    if (this.silentSinceMillis !== undefined && !isPatient) return unavailable(this.unanswered)
    return this.pending < this.limits.pending && this.pendingBytes < this.limits.pendingBytes
      ? undefined
      : unavailable(`${this.pending} commands wait for its answers`)
  }

  private settled(entry: Waiting, bytes: number): void {
    this.waiting.delete(entry)
    this.pending--
    this.pendingBytes -= bytes
    this.silentSinceMillis = undefined
  }

  private get unanswered(): string {
    return `no answer within ${this.timeoutMillis} ms`
  }

  now(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  /** Counts somebody who waits for a message; `undefined` when no more can. Call the result when that is over. */
  wait(places: ReadonlyArray<Place>, fail: (error: PubSubError) => void): (() => void) | undefined {
    if (this.isClosed || this.waiting.size >= this.limits.pending) return undefined
    const entry: Waiting = { sinceMillis: this.now(), places, fail }
    this.waiting.add(entry)
    return () => void this.waiting.delete(entry)
  }

  /** Ends the waits that have taken too long. */
  sweep(): void {
    const oldest = this.now() - this.timeoutMillis
    for (const entry of this.waiting) {
      if (entry.sinceMillis > oldest) return
      if (entry.places === forReplies) this.silentSinceMillis ??= entry.sinceMillis
      this.end(entry, this.unanswered)
    }
  }

  /** Ends the waits that a connection was lost for. */
  lost(place: Place, problem: string): void {
    for (const entry of this.waiting) {
      if (entry.places.includes(place)) this.end(entry, problem)
    }
  }

  /** Takes nothing any more, and ends all waits. The client stays as it is. */
  close(): void {
    this.isClosed = true
    for (const entry of this.waiting) this.end(entry, closed)
  }

  private end(entry: Waiting, problem: string): void {
    this.waiting.delete(entry)
    entry.fail(unavailable(problem))
  }
}
