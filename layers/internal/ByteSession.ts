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

export class ByteSession implements Session, ByteTunnel {
  private readonly owner: ByteSessionOwner
  private readonly stream: Duplex
  private readonly metrics: ServerMetrics
  private chunks: Array<Uint8Array> = []
  private puller: ((bytes: Effect.Effect<Uint8Array | undefined>) => void) | undefined = undefined
  private writers: Array<(go: Effect.Effect<void>) => void> = []
  private peerEnded = false
  private over = false

  constructor(owner: ByteSessionOwner, stream: Duplex, metrics: ServerMetrics) {
    this.owner = owner
    this.stream = stream
    this.metrics = metrics
  }

  // ---- from the connection

  received(chunk: Uint8Array): void {
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

  sweep(): void {}

  // ---- from the application

  readonly pull: Effect.Effect<Uint8Array | undefined> = Effect.callback((resume) => {
    this.puller = resume
    if (!this.deliver()) this.stream.resume()
    return Effect.sync(() => {
      if (this.puller === resume) this.puller = undefined
    })
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

  /** Says everything there is to say, then closes without waiting for the peer. */
  finish(): void {
    if (this.over) return
    this.over = true
    const { stream } = this
    this.owner.tunnelEnded()
    stream.end(() => stream.destroy())
    this.closed()
  }

  /** Gives the puller what there is. False when that is nothing. */
  private deliver(): boolean {
    const resume = this.puller
    if (resume === undefined || (this.chunks.length === 0 && !this.peerEnded)) return false
    this.puller = undefined
    resume(Effect.succeed(this.chunks.shift()))
    return true
  }
}
