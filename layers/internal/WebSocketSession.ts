/**
 * The frames of one WebSocket session over a duplex stream: a socket after its upgrade, or an HTTP/2 stream. Owns
 * reading, the closing handshake and keepalive; what messages mean is the exchange's business. Frames are read, and
 * compressed ones written, by `ws` (docs/decisions.md).
 *
 * Passive: whoever owns the stream hands in bytes, its end and its drains, and `sweep` brings the time.
 */
import type { Duplex } from "node:stream"
import { BINARY, CLOSE, frameHead, PING, PONG } from "../../src/protocol/WebSocketFrame.ts"
import { Output } from "./Output.ts"
import type { ServerCore } from "./ServerCore.ts"
import type { Deflate } from "./WebSocketDeflate.ts"
import { faultOf, type FrameSink, makeSender, MessageReader, type ReadFault, type Sender } from "./WebSocketReader.ts"

/** What a session tells its exchange. */
export interface SessionOwner {
  message(data: Buffer, isBinary: boolean): void
  /** The peer's Close frame: its code, 1005 without one, and its text. */
  peerClosed(code: number, reason: string): void
  /** The peer broke the protocol or a limit. The Close frame that says so has been sent. */
  faulted(fault: ReadFault): void
  /** The peer has ended its side of the stream without a Close frame. */
  peerEnded(): void
  /** A ping was not answered in time. */
  pingUnanswered(): void
  drained(): void
}

/** How long the peer has to end the connection after both Close frames (RFC 6455 section 7.1.1 lets us go first). */
const lingerMillis = 2_000

const noBytes = Buffer.alloc(0)

export class WebSocketSession {
  /** Our Close frame was sent. */
  closeSent = false
  /** The peer's Close frame was received. */
  closeReceived = false

  private readonly core: ServerCore
  private readonly owner: SessionOwner
  private readonly stream: Duplex
  private readonly output: Output
  private readonly reader: MessageReader
  /** Only with compression: what is compressed goes through it, and messages and the Close frame behind that. */
  private readonly sender: Sender | undefined
  private readonly deflate: Deflate | undefined
  private readonly threshold: number
  /** Frames, and payload in them, that the sender has and the output has not. */
  private unsentFrames = 0
  private unsentBytes = 0
  private batching = false
  private framesCame = false
  private readerFull = false
  private paused = false
  private heldBack = false
  private finished = false
  private streamClosed = false
  /** Nothing has been inflated or compressed since the last sweep. */
  private quiet = false
  private deadline = -1
  private patience = 0
  private sweptBacklog = 0
  private pingMillis = 0
  private pongMillis = 0
  private nextPingAt = -1
  private pongDueAt = -1

  constructor(core: ServerCore, owner: SessionOwner, stream: Duplex, deflate: Deflate | undefined) {
    this.core = core
    this.owner = owner
    this.stream = stream
    this.output = new Output(stream, core.metrics)
    this.threshold = core.settings.wsCompressionThreshold
    this.reader = new MessageReader(core.settings.wsMaxMessageBytes, deflate)
    this.deflate = deflate
    this.sender = deflate === undefined ? undefined : makeSender(this.sink, deflate)
    this.reader.on("message", (data: Buffer, isBinary: boolean) => this.owner.message(data, isBinary))
    this.reader.on("ping", (data: Buffer) => this.control(PONG, data))
    this.reader.on("pong", () => this.pongDueAt = -1)
    this.reader.on("conclude", (code: number, reason: Buffer) => this.concluded(code, reason))
    this.reader.on("error", (error: unknown) => this.faulted(error))
    this.reader.on("drain", () => {
      this.readerFull = false
      this.steerReading()
    })
  }

  // ---- reading

  /** Bytes from the peer. What they lead to is written in one go. */
  received(chunk: Buffer): void {
    if (this.finished || this.closeReceived) return
    const isInner = this.batching
    this.batching = true
    this.quiet = false
    // The stream calls itself full by the size of the chunk, also when it has read it to its end.
    this.readerFull = !this.reader.write(chunk) && this.reader.writableLength > 0
    this.batching = isInner
    // A pong cannot stand inside a frame.
    if (this.pongDueAt !== -1 && this.reader.isInside) this.pongDueAt = this.core.time.now() + this.pongMillis
    if (!isInner) this.flushSoon()
    this.steerReading()
  }

  /**
   * The application does not keep up: nothing is read until it does. `atOnce`: not even what has been received, which
   * compression may have made small.
   */
  holdBack(full: boolean, atOnce = full): void {
    this.reader.holdBack(atOnce && !this.closeSent)
    if (this.heldBack === full) return
    this.heldBack = full
    this.steerReading()
  }

  /**
   * Reads only as fast as the application takes messages, and as the peer takes what its pings and we have to say. Behind
   * our Close frame neither counts any more, but inflation still does.
   */
  private steerReading(): void {
    const full = this.heldBack || this.bufferedAmount >= this.core.settings.writeHighWaterMark
    const wanted = this.readerFull || (full && !this.closeSent)
    if (wanted === this.paused) return
    this.paused = wanted
    if (wanted) return void this.stream.pause()
    this.stream.resume()
    // What was not read may hold the pong.
    if (this.pongDueAt !== -1) this.pongDueAt = this.core.time.now() + this.pongMillis
  }

  private concluded(code: number, reason: Buffer): void {
    if (this.finished) return
    this.closeReceived = true
    // RFC 6455 section 5.5.1: the answer to a Close frame typically echoes its code.
    if (!this.closeSent) this.sendClose(code === 1005 ? undefined : code, "")
    this.owner.peerClosed(code, reason.toString())
    this.finish()
  }

  private faulted(error: unknown): void {
    if (this.finished) return
    const fault = faultOf(error)
    if (!this.closeSent) this.sendClose(fault.code, "")
    this.owner.faulted(fault)
    this.finish()
  }

  // ---- writing

  /** Bytes that the operating system has not taken. */
  get bufferedAmount(): number {
    return this.output.bufferedAmount + this.unsentBytes
  }

  send(opcode: number, data: string | Uint8Array, length: number): void {
    if (this.closeSent || this.finished) return
    const compress = this.sender !== undefined && length >= this.threshold
    if (compress || this.unsentFrames > 0) {
      return this.sendThrough(
        length,
        (sender, done) => sender.send(data, { binary: opcode === BINARY, compress, fin: true, mask: false }, done)
      )
    }
    const piece = typeof data === "string" && length !== data.length ? Buffer.from(data) : data
    this.output.writePiece(frameHead(opcode, length), piece, "")
    if (!this.batching) this.flush()
  }

  /** A ping or a pong. These may overtake messages. */
  private control(opcode: number, data: Buffer): void {
    if (this.closeSent || this.finished) return
    this.output.write(frameHead(opcode, data.length) + data.toString("latin1"))
    if (!this.batching) this.flush()
  }

  private sendClose(code: number | undefined, reason: string): void {
    this.closeSent = true
    if (this.unsentFrames > 0) {
      return this.sendThrough(2, (sender, done) => sender.close(code, reason, false, done))
    }
    const text = Buffer.from(reason).toString("latin1")
    const payload = code === undefined ? "" : String.fromCharCode(code >>> 8, code & 0xff) + text
    this.output.write(frameHead(CLOSE, payload.length) + payload)
    if (!this.batching) this.flush()
  }

  /** Compressed, or behind what is still being compressed, with `ws`, which keeps the order. */
  private sendThrough(length: number, send: (sender: Sender, done: () => void) => void): void {
    if (this.stream.destroyed) return
    this.quiet = false
    this.unsentFrames++
    this.unsentBytes += length
    send(this.sender!, () => {
      this.unsentFrames--
      this.unsentBytes -= length
      if (this.framesCame) return
      // Not now: the sender may be about to write others, and nothing must come between them.
      this.framesCame = true
      queueMicrotask(this.flushFrames)
    })
  }

  /** Where the sender writes. */
  private get sink(): FrameSink {
    const { output, stream } = this
    return {
      get destroyed() {
        return stream.destroyed
      },
      cork() {},
      uncork() {},
      write(data, done) {
        output.writePiece("", typeof data === "string" ? Buffer.from(data) : data, "")
        done?.()
      }
    }
  }

  private readonly flushFrames = (): void => {
    this.framesCame = false
    this.flush()
    if (this.finished) this.endStream()
    if (!this.stream.writableNeedDrain) this.drained()
    this.tidy()
  }

  flush(): void {
    this.output.flush()
  }

  private flushSoon(): void {
    if (this.output.holdsBack) this.core.flushSoon(this)
  }

  flushHeldBack(): void {
    this.flush()
    if (!this.stream.writableNeedDrain) this.drained()
  }

  /** The stream has taken what it had. */
  drained(): void {
    // What is being compressed comes here again.
    if (this.unsentBytes <= this.core.settings.writeLowWaterMark) {
      const isInner = this.batching
      this.batching = true
      this.owner.drained()
      this.batching = isInner
      if (!isInner) this.flush()
    }
    this.steerReading()
  }

  // ---- closing

  /** Says that we close, and gives the peer `wsCloseTimeout` to answer. Nothing is sent after it. */
  close(code: number, reason: string): void {
    if (this.closeSent || this.finished) return
    this.sendClose(code, reason)
    const { wsCloseTimeoutMillis } = this.core.settings
    this.waitAtMost(wsCloseTimeoutMillis)
    this.core.sweepEvery(wsCloseTimeoutMillis / 4)
    // The peer's Close frame may stand behind messages that nobody will take any more.
    this.steerReading()
    // Not now: whoever closes has yet to say why, and nothing that is read may come before that.
    queueMicrotask(() => this.reader.holdBack(false))
  }

  private waitAtMost(millis: number): void {
    this.patience = millis
    this.deadline = this.core.time.now() + millis
  }

  /** The closing handshake is over, or pointless: ends our side, and soon the whole stream. */
  private finish(): void {
    if (this.finished) return
    this.finished = true
    this.waitAtMost(lingerMillis)
    this.flush()
    this.readerFull = false
    this.paused = false
    this.stream.resume()
    this.endStream()
  }

  /** With compression the Close frame may still wait for its turn. */
  private endStream(): void {
    if (this.unsentFrames === 0 && !this.stream.writableEnded) this.stream.end()
  }

  /** The peer has ended its side. What is still being inflated came before that. */
  ended(): void {
    if (this.finished) return
    this.reader.once("finish", () => {
      this.owner.peerEnded()
      this.finish()
    })
    this.reader.end()
  }

  /** Cuts the stream: there is nobody to say anything to. */
  destroy(): void {
    this.finished = true
    this.stream.destroy()
  }

  /** The stream has closed. */
  closed(): void {
    this.finished = true
    if (this.deflate === undefined) return
    this.reader.stop(() => {
      this.streamClosed = true
      this.tidy()
    })
  }

  /** Gives back what compression holds. The library does not survive that while it inflates. */
  private tidy(): void {
    if (this.streamClosed && this.unsentFrames === 0) this.deflate!.cleanup()
  }

  // ---- time

  /** Pings every `intervalMillis`; no pong within `timeoutMillis` ends the session. 0 is off. */
  keepAlive(intervalMillis: number, timeoutMillis: number): void {
    this.pingMillis = intervalMillis
    this.pongMillis = timeoutMillis
    this.pongDueAt = -1
    this.nextPingAt = this.core.time.now() + intervalMillis
    if (intervalMillis > 0) this.core.sweepEvery(Math.min(intervalMillis, timeoutMillis || Infinity) / 4)
  }

  sweep(now: number): void {
    if (this.deflate !== undefined) this.sweepDeflate(this.deflate)
    if (this.deadline !== -1) return this.sweepClosing(now)
    if (this.pingMillis === 0) return
    // What is not read cannot hold the pong.
    if (this.pongDueAt !== -1 && now >= this.pongDueAt && !this.paused) return this.owner.pingUnanswered()
    if (now >= this.nextPingAt) {
      this.nextPingAt += this.pingMillis
      if (this.nextPingAt <= now) this.nextPingAt = now + this.pingMillis
      this.control(PING, noBytes)
      if (this.pongMillis > 0 && this.pongDueAt === -1) this.pongDueAt = now + this.pongMillis
    }
  }

  /** A session without context that is quiet needs no compressor: 300 KB. */
  private sweepDeflate(deflate: Deflate): void {
    const mayForget = !this.core.settings.wsCompressionContext
    if (mayForget && this.quiet && this.unsentFrames === 0 && this.reader.isBetweenMessages) deflate.cleanup()
    this.quiet = true
  }

  /** A peer that is still taking what stands before the Close frame has not had the time to answer it. */
  private sweepClosing(now: number): void {
    const backlog = this.bufferedAmount + queuedBytes(this.stream)
    if (backlog > 0 && backlog !== this.sweptBacklog && !this.core.stopping) this.deadline = now + this.patience
    this.sweptBacklog = backlog
    if (now >= this.deadline) this.destroy()
  }
}

/** Bytes of a write that the operating system has taken in part: the stream counts such a write as a whole. */
const queuedBytes = (stream: Duplex): number => {
  const { _handle: handle } = stream as { readonly _handle?: { readonly writeQueueSize?: number } | null }
  return handle?.writeQueueSize ?? 0
}
