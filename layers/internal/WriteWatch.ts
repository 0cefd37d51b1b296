/**
 * Watches whether the client takes what is written to one stream, so that a client that takes nothing can be cut off.
 * Looked at by the sweep; owns no timer.
 */
import type { Duplex } from "node:stream"

export class WriteWatch {
  private stalledSince = -1
  private takenBytes = 0

  /** Something was taken. */
  moved(): void {
    this.stalledSince = -1
  }

  /** True when bytes have waited for `timeout` milliseconds and none was taken; 0 is never. */
  hasStalled(stream: Duplex, now: number, timeout: number): boolean {
    const taken = takenBytes(stream)
    if (stream.writableLength === 0 || taken !== this.takenBytes) {
      this.takenBytes = taken
      this.stalledSince = -1
    } else if (this.stalledSince === -1) {
      this.stalledSince = now
    }
    return timeout > 0 && this.stalledSince !== -1 && now - this.stalledSince >= timeout
  }
}

/**
 * A number that changes whenever the operating system takes bytes. A socket counts a write as one piece until all of it
 * is taken; only its handle's queue shows that a large one is moving.
 */
const takenBytes = (stream: Duplex): number => {
  const socket = stream as Duplex & {
    readonly bytesWritten?: number
    readonly _handle?: { readonly writeQueueSize?: number } | null
  }
  return (socket.bytesWritten ?? 0) - stream.writableLength - (socket._handle?.writeQueueSize ?? 0)
}
