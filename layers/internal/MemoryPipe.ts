/**
 * Two duplex streams joined end to end, as a network in memory: what is written to one is read from the other, in order,
 * with backpressure, half-close and resets. Bytes arrive in the pieces in which they were written.
 *
 * Delivery is by microtask, so a test that awaits has seen everything that could happen without time passing.
 */
import { Duplex } from "node:stream"

export interface PipeOptions {
  /** Bytes one end holds for the other before writes wait. Stands for the socket buffers. Default 65536. */
  readonly bufferBytes?: number
  /** Unsent bytes at which the server's end asks its writer to wait for `drain`. Default 65536. */
  readonly serverHighWaterMark?: number
}

class End extends Duplex {
  peer!: End
  private delivered = 0
  private readonly bufferBytes: number
  private waitingWrite: (() => void) | undefined = undefined
  private reset = false

  constructor(bufferBytes: number, writableHighWaterMark: number) {
    super({ allowHalfOpen: true, readableHighWaterMark: bufferBytes, writableHighWaterMark })
    this.bufferBytes = bufferBytes
  }

  /** As on a socket: bytes that were written, waiting ones included. */
  get bytesWritten(): number {
    return this.delivered + this.writableLength
  }

  override _read(): void {
    const resume = this.peer.waitingWrite
    this.peer.waitingWrite = undefined
    resume?.()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    queueMicrotask(() => {
      if (this.peer.destroyed) return done(this.peer.reset ? resetError() : null)
      this.delivered += chunk.length
      // A copy: the network never hands the reader the writer's memory.
      if (this.peer.push(Buffer.from(chunk)) || this.peer.readableLength < this.bufferBytes) done()
      else this.waitingWrite = done
    })
  }

  override _final(done: (error?: Error | null) => void): void {
    queueMicrotask(() => {
      if (!this.peer.destroyed) this.peer.push(null)
      done()
    })
  }

  /** Closes as a socket does on a reset: the other end sees an error. */
  resetAndDestroy(): void {
    this.reset = true
    this.destroy()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // As on a network, bytes that nobody will read turn a close into a reset.
    const isReset = this.reset || this.peer.waitingWrite !== undefined
    this.peer.waitingWrite = undefined
    queueMicrotask(() => {
      if (this.peer.destroyed) return
      if (isReset) this.peer.destroy(resetError())
      else if (!this.peer.readableEnded) this.peer.push(null)
    })
    done(error)
  }
}

const resetError = (): Error => Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET", syscall: "read" })

/** Makes a connection: its two ends. */
export const makePipe = (options: PipeOptions = {}): readonly [client: End, server: End] => {
  const bufferBytes = options.bufferBytes ?? 65_536
  const client = new End(bufferBytes, bufferBytes)
  const server = new End(bufferBytes, options.serverHighWaterMark ?? 65_536)
  client.peer = server
  server.peer = client
  return [client, server]
}

export type PipeEnd = End
