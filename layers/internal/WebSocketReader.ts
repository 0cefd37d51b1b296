/**
 * The parts of `ws` that sessions are made of, with types: its frame reader, its writer for compressed sessions, and
 * what its errors mean. Adds three things: text is refused at the fragment that breaks its UTF-8, not at its end; small
 * reads and fragments are gathered; and the reader can be held back, which counts when a few bytes inflate to many.
 */
import { constants } from "node:buffer"
import type { Writable } from "node:stream"
import * as Ws from "ws"
import type { DisconnectReason } from "../../src/schema/DisconnectReason.ts"
import type { Deflate } from "./WebSocketDeflate.ts"

interface SendOptions {
  readonly binary: boolean
  readonly compress: boolean
  readonly fin: true
  readonly mask: false
}

/**
 * Writes frames in order, compressed ones behind the others' compression. Each callback says that one has been given to
 * the sink, or that the sink was destroyed before.
 */
export interface Sender {
  send(data: string | Uint8Array, options: SendOptions, done: () => void): void
  close(code: number | undefined, reason: string, mask: false, done: () => void): void
}

/** Where a Sender writes: what it uses of a stream. The last write of a frame has a callback. */
export interface FrameSink {
  readonly destroyed: boolean
  cork(): void
  uncork(): void
  write(data: string | Uint8Array, done?: () => void): void
}

interface ReceiverOptions {
  readonly isServer: true
  readonly extensions: { readonly [name: string]: Deflate }
  readonly maxPayload: number
  readonly maxFragments: number
}

type Done = (error?: Error | null) => void

/** What this file uses of the reader's inside: where it stands, what it has gathered, and how it reports a fault. */
interface Receiver extends Writable {
  _state: number
  _maxPayload: number
  readonly _compressed: boolean
  _opcode: number
  readonly _fragmented: number
  _fin: boolean
  readonly _buffers: Array<Buffer>
  readonly _fragments: Array<Buffer>
  startLoop(done: Done): void
  haveLength(done: Done): void
  dataMessage(done: Done): void
  createError(type: typeof Error, message: string, prefix: true, code: number, name: string): Error
}

/** States of the reader: between two frames, and waiting for somebody to go on. */
const betweenFrames = 0
const waiting = 6

const library = Ws as unknown as {
  readonly Receiver: new(options: ReceiverOptions) => Receiver
  readonly Sender: new(sink: FrameSink, extensions: { readonly [name: string]: Deflate }) => Sender
}

export const deflateName = "permessage-deflate"

const extensionsOf = (deflate: Deflate | undefined) => deflate === undefined ? {} : { [deflateName]: deflate }

export const makeSender = (sink: FrameSink, deflate: Deflate): Sender => new library.Sender(sink, extensionsOf(deflate))

/** Fragments of one message. Autobahn sends 65,536. */
const maxFragments = 65_536
/** A text has to fit into a string: 512 MiB. The library keeps sizes in 32 bits, which is more. */
const maxPayload = constants.MAX_STRING_LENGTH

/** The limit as far as it can be kept. */
export const payloadLimit = (maxMessageBytes: number): number => Math.min(maxMessageBytes, maxPayload)

/**
 * Reads and fragments below this size are gathered: a Buffer for each byte of a peer that sends byte by byte would take
 * two hundred times the memory of its bytes.
 */
const gatherBytes = 4_096
/** How many small ones may stand side by side. */
const gatherCount = 64

/** Makes one of the small buffers at the end of a list. */
const mergeTail = (buffers: Array<Buffer>): void => {
  let from = buffers.length
  while (from > 0 && buffers[from - 1]!.length < gatherBytes) from--
  if (buffers.length - from > 1) buffers.push(Buffer.concat(buffers.splice(from)))
}

/** What a peer did wrong: the code to close with, and what the application is told. */
export interface ReadFault {
  readonly code: number
  readonly reason: DisconnectReason
}

const faults: { readonly [name: string]: ReadFault } = {
  WS_ERR_INVALID_UTF8: { code: 1007, reason: "protocol_error" },
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: { code: 1009, reason: "body_too_large" },
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: { code: 1009, reason: "body_too_large" },
  WS_ERR_TOO_MANY_BUFFERED_PARTS: { code: 1008, reason: "queue_overflow" }
}
/** Data that does not inflate (RFC 7692 section 7.2.2 asks for a failed connection). */
const inflateFault: ReadFault = { code: 1007, reason: "protocol_error" }
const protocolFault: ReadFault = { code: 1002, reason: "protocol_error" }

export const faultOf = (error: unknown): ReadFault => {
  const { code } = error as { readonly code?: unknown }
  if (typeof code !== "string") return protocolFault
  return faults[code] ?? (code.startsWith("Z_") ? inflateFault : protocolFault)
}

/** Reads frames from a client. Emits `message`, `ping`, `pong`, `conclude` and, once, `error`. */
export class MessageReader extends library.Receiver {
  private decoder: TextDecoder | undefined = undefined
  private checkedFragments = 0
  private smallReads = 0
  private smallFragments = 0
  private stopped = false
  private heldBack = false
  private goOn: (() => void) | undefined = undefined

  constructor(maxMessageBytes: number, deflate: Deflate | undefined) {
    super({
      isServer: true,
      extensions: extensionsOf(deflate),
      maxPayload: payloadLimit(maxMessageBytes),
      maxFragments
    })
  }

  /** True while what was written has not been read to its end, or ends inside a frame. */
  get isInside(): boolean {
    return this._state !== betweenFrames || this.writableLength > 0
  }

  /** True while no part of a message is there. */
  get isBetweenMessages(): boolean {
    return !this.isInside && this._fragmented === 0
  }

  /** Stops behind the present message, or goes on. */
  holdBack(full: boolean): void {
    this.heldBack = full
    if (full) return
    const goOn = this.goOn
    this.goOn = undefined
    goOn?.()
  }

  /** Reads nothing more. `done` is called when no inflation is under way. */
  stop(done: () => void): void {
    this.stopped = true
    if (this.closed) return done()
    this.once("close", done)
    this.holdBack(false)
    this.end()
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: Done): void {
    if (chunk.length < gatherBytes && ++this.smallReads % gatherCount === 0) mergeTail(this._buffers)
    super._write(chunk, encoding, done)
  }

  /**
   * Called by the library with the length of each frame. What cannot be made smaller is made larger by compression: its
   * length as sent may be above the limit, and what it inflates to is looked at then.
   */
  override haveLength(done: Done): void {
    if (!this._compressed) return super.haveLength(done)
    const limit = this._maxPayload
    this._maxPayload = limit + (limit >>> 6) + 1024
    super.haveLength(done)
    this._maxPayload = limit
  }

  /** Called by the library with each data frame. Whole messages in one frame it checks itself. */
  override dataMessage(done: Done): void {
    if (this.stopped) return done(this.createError(Error, "nobody reads it", true, 1001, "WS_ERR_STOPPED"))
    if (this._opcode === 1 && (!this._fin || this.decoder !== undefined)) {
      if (!this.continuesText()) {
        return done(this.createError(Error, "invalid UTF-8 sequence", true, 1007, "WS_ERR_INVALID_UTF8"))
      }
      if (this._fin) this.decoder = undefined
    }
    if (!this._fin && ++this.smallFragments % gatherCount === 0) {
      mergeTail(this._fragments)
      this.checkedFragments = this._fragments.length
    }
    super.dataMessage(done)
    if (this.heldBack && this._state === betweenFrames) {
      this._state = waiting
      this.goOn = () => {
        this._state = betweenFrames
        this.startLoop(done)
      }
    }
  }

  /** Checks the fragments that are new; a character may go on in the next. */
  private continuesText(): boolean {
    if (this.decoder === undefined) {
      this.decoder = new TextDecoder("utf-8", { fatal: true })
      this.checkedFragments = 0
    }
    try {
      while (this.checkedFragments < this._fragments.length) {
        this.decoder.decode(this._fragments[this.checkedFragments++], { stream: true })
      }
      return true
    } catch {
      return false
    }
  }
}
