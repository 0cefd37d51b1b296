/**
 * What is left of a connection after 101 Switching Protocols: bytes both ways. Reads when it is asked and writes with the
 * watermarks of the stream; knows nothing of the protocol that is spoken.
 */
import * as Effect from "effect/Effect"
import type { Duplex } from "node:stream"
import type { ByteTunnel } from "../../src/app/ByteTunnel.ts"
import type { ServerMetrics } from "./ServerMetrics.ts"
import type { Session } from "./Wire.ts"

export interface ByteSessionOwner {
  /** Our side has ended in good order. */
  tunnelEnded(): void
  /** Bytes were written. */
  tunnelWrote(bytes: number): void
}

/** How long the peer is listened to after our end, and how much it may still say: a reset would destroy what we said. */
const lingerMillis = 2_000
const lingerBytes = 1_048_576

export class ByteSession implements Session, ByteTunnel {
  private readonly owner: ByteSessionOwner
  private readonly stream: Duplex
  private readonly metrics: ServerMetrics
  private chunks: Array<Uint8Array> = []
  private pullers: Array<(bytes: Effect.Effect<Uint8Array | undefined>) => void> = []
  private writers: Array<(go: Effect.Effect<void>) => void> = []
  private peerEnded = false
  private over = false
  /** Bytes that came after our end, and since when nothing of ours waits for the peer. */
  private discarded = 0
  private saidAt = -1

  constructor(owner: ByteSessionOwner, stream: Duplex, metrics: ServerMetrics) {
    this.owner = owner
    this.stream = stream
    this.metrics = metrics
  }

  // ---- from the connection

  received(chunk: Uint8Array): void {
    if (this.over) return this.discard(chunk.length)
    this.chunks.push(chunk)
    this.stream.pause()
    this.deliver()
  }

  drained(): void {
    const writers = this.writers
    this.writers = []
    for (const resume of writers) resume(Effect.void)
  }

  ended(): void {
    this.peerEnded = true
    this.deliver()
  }

  closed(): void {
    this.over = true
    this.ended()
    this.drained()
  }

  sweep(now: number): void {
    // What the peer does not take has the write timeout.
    if (!this.over || this.stream.writableLength > 0) return
    if (this.saidAt === -1) this.saidAt = now
    else if (now - this.saidAt >= lingerMillis) this.stream.destroy()
  }

  private discard(bytes: number): void {
    this.discarded += bytes
    if (this.discarded > lingerBytes) this.stream.destroy()
  }

  // ---- from the application

  readonly pull: Effect.Effect<Uint8Array | undefined> = Effect.callback((resume) => {
    this.pullers.push(resume)
    this.deliver()
    if (this.pullers.length > 0) this.stream.resume()
    return Effect.sync(() => void (this.pullers = this.pullers.filter((puller) => puller !== resume)))
  })

  readonly write = (bytes: Uint8Array | string): Effect.Effect<void> =>
    Effect.callback((resume) => {
      if (this.over || this.stream.writableEnded) return resume(Effect.void)
      const buffer = typeof bytes === "string" ? Buffer.from(bytes) : bytes
      this.metrics.bytesOut += buffer.length
      this.owner.tunnelWrote(buffer.length)
      if (this.stream.write(buffer)) return resume(Effect.void)
      this.writers.push(resume)
      return Effect.sync(() => void (this.writers = this.writers.filter((writer) => writer !== resume)))
    })

  readonly end: Effect.Effect<void> = Effect.sync(() => this.finish())

  /** Says everything there is to say, then closes. What the peer has sent can still be pulled, what it sends now not. */
  finish(): void {
    if (this.over) return
    this.over = true
    this.owner.tunnelEnded()
    this.stream.end()
    this.stream.resume()
    this.closed()
  }

  /** Gives each puller what there is for it. */
  private deliver(): void {
    while (this.pullers.length > 0 && (this.chunks.length > 0 || this.peerEnded)) {
      this.pullers.shift()!(Effect.succeed(this.chunks.shift()))
    }
  }
}
