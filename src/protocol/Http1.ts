/**
 * One HTTP/1.0 or HTTP/1.1 connection, server side, without I/O (RFC 9112). Bytes go in through `receive`, events come
 * out of `next` when asked for; answers go in as facts and come out as text to write. Because events are pulled,
 * pipelined requests wait by themselves: `next` is `Paused` until `startNextCycle`.
 *
 * Remote faults are data: `next` yields `Malformed` once and the state is `error`. Local faults come back as
 * `LocalProtocolError`. A thrown exception is a bug in this file. The engine owns no timer and writes nothing.
 */
import { ChunkedReader } from "./ChunkedReader.ts"
import {
  type RequestEvent,
  requestRows,
  type RequestState,
  type ResponseEvent,
  responseRows,
  type ResponseState,
  type Row
} from "./Http1State.ts"
import type { Limits } from "./Limits.ts"
import type { Malformed } from "./Malformed.ts"
import { statusLine } from "./ReasonPhrases.ts"
import { type RequestHead, RequestHeadReader } from "./RequestHead.ts"
import type { ResponseFields } from "./ResponseFields.ts"

/** Part of a request body: a view of received bytes. Copy what outlives the request. */
export interface Data {
  readonly _tag: "Data"
  readonly bytes: Uint8Array
  /** True when the body ends here; no `EndOfMessage` follows. */
  readonly last: boolean
}

/** The end of a request body that was not announced by its last `Data`. */
export interface EndOfMessage {
  readonly _tag: "EndOfMessage"
  readonly trailers: ReadonlyArray<readonly [name: string, value: string]>
}

/** More bytes are needed: call `receive`, then `next`. */
export interface NeedData {
  readonly _tag: "NeedData"
}

/** The request was read to its end: answer it, then `startNextCycle`. */
export interface Paused {
  readonly _tag: "Paused"
}

/** The peer will send nothing more, and nothing that was asked is unread. */
export interface PeerClosed {
  readonly _tag: "PeerClosed"
}

export type Event = RequestHead | Data | EndOfMessage | NeedData | Paused | PeerClosed | Malformed

/** The caller broke the order of the protocol. */
export interface LocalProtocolError {
  readonly _tag: "LocalProtocolError"
  readonly event: RequestEvent | ResponseEvent
  readonly state: RequestState | ResponseState
}

/** How an answer's body is delimited. `none` also covers HEAD, where the head speaks of a body that is not sent. */
export type Framing = "none" | "length" | "chunked" | "close"

const needData: NeedData = Object.freeze({ _tag: "NeedData" })
const paused: Paused = Object.freeze({ _tag: "Paused" })
const peerClosed: PeerClosed = Object.freeze({ _tag: "PeerClosed" })
const endOfMessage: EndOfMessage = Object.freeze({ _tag: "EndOfMessage", trailers: Object.freeze([]) })
const noBytes = Buffer.alloc(0)
const headEndMark = Buffer.from("\r\n\r\n")
/** Bytes up to which a read becomes text as a whole. */
const smallRead = 1024

/** The bytes as text, one character each. `toString("latin1")` does the same 30 ns slower, by parsing the name. */
const latin1 = (bytes: Buffer, start: number, end: number): string =>
  (bytes as Buffer & { latin1Slice(start: number, end: number): string }).latin1Slice(start, end)

/** A class, because V8 never allocates what a constructor makes in its old space in advance; see docs/decisions.md. */
class DataEvent implements Data {
  readonly _tag = "Data"
  readonly bytes: Uint8Array
  readonly last: boolean
  constructor(bytes: Uint8Array, last: boolean) {
    this.bytes = bytes
    this.last = last
  }
}

/** Lines of short bodies, made once: two strings less for each answer. */
const shortLengthLines: Array<string | undefined> = []

const contentLengthLine = (length: number): string =>
  length < 1024
    ? shortLengthLines[length] ??= `content-length: ${length}\r\n`
    : `content-length: ${length}\r\n`

export class Http1 {
  /** How the present answer's body is delimited; decided by `startResponse`. */
  framing: Framing = "none"
  /** False once this connection must not be used for another request. */
  keepAlive = true

  private request: Row<RequestState, RequestEvent> = requestRows.idle
  private response: Row<ResponseState, ResponseEvent> = responseRows.idle
  private readonly reader: RequestHeadReader
  private readonly chunks: ChunkedReader
  /** Received and not taken: `buffer` from `at` on. `text` is its latin1 form from `textStart` on, made when needed. */
  private buffer: Buffer = noBytes
  private at = 0
  private text = ""
  private textStart = 0
  private head: RequestHead | undefined = undefined
  private bodyLeft = 0
  private ended = false

  constructor(limits: Limits) {
    this.reader = new RequestHeadReader(limits)
    this.chunks = new ChunkedReader(limits)
  }

  /** Where the request stands; see Http1State. */
  get requestState(): RequestState {
    return this.request.name
  }

  /** Where the answer stands; see Http1State. */
  get responseState(): ResponseState {
    return this.response.name
  }

  /** Bytes received and not yet taken by an event. */
  get bufferedBytes(): number {
    return this.buffer.length - this.at
  }

  /** True when a request head has begun to arrive and is not complete. */
  get headStarted(): boolean {
    return this.requestState === "idle" && (this.reader.started || this.bufferedBytes > 0)
  }

  /**
   * Takes in bytes from the peer. Call `next` afterwards until it needs more.
   *
   * **Ownership** the bytes belong to the engine from here on; bodies are views of them. After a fault nothing is kept.
   */
  receive(bytes: Uint8Array): void {
    if (this.requestState === "error") return
    const chunk = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.buffer = this.at === this.buffer.length ? chunk : Buffer.concat([this.buffer.subarray(this.at), chunk])
    this.at = 0
    this.text = ""
  }

  /** The peer will send nothing more. */
  receiveEnd(): void {
    this.ended = true
  }

  /**
   * Reads the next event from the bytes received so far. Call it again until it returns `NeedData` or `Paused`.
   *
   * A request whose head says that it has no body is over with its `RequestHead`: no `EndOfMessage` follows.
   *
   * **Fails with** nothing: a malformed peer is the event `Malformed`, after which only `Paused` comes.
   * **Limits** those of the `Limits` given to the constructor.
   * **Source** RFC 9112 sections 2 to 7; a bare line feed is refused, which section 2.2 allows.
   */
  next(): Event {
    switch (this.requestState) {
      case "idle":
        return this.nextHead()
      case "body":
        return this.bodyLeft === -1 ? this.nextChunk() : this.nextData()
      case "done":
      case "error":
        return paused
      case "closed":
        return peerClosed
    }
  }

  private nextHead(): Event {
    if (this.at === this.buffer.length) return this.ended ? this.endOfInput() : needData
    this.readFields()
    const { head, problem } = this.reader
    if (problem !== undefined) return this.refuse(problem)
    if (head === undefined) return this.ended ? this.endOfInput() : needData
    this.head = head
    this.keepAlive = head.keepAlive
    this.bodyLeft = head.contentLength
    this.request = (head.contentLength === 0 ? this.request.HeadAlone : this.request.HeadWithBody)!
    this.response = this.response.Request!
    return head
  }

  /** Hands text to the field reader, and takes what it took. Pipelined heads of one read share one text. */
  private readFields(): void {
    if (this.text !== "" && this.takeFields()) return
    do {
      this.textStart = this.at
      this.text = latin1(this.buffer, this.at, this.headEnd())
    } while (!this.takeFields())
  }

  /**
   * How far the head may reach. In a large read most is body, and making text of it costs more than finding the end of
   * the head: 10 KB posted and echoed takes 9 µs less CPU so. A head is never longer than its limits.
   */
  private headEnd(): number {
    const { at, buffer } = this
    if (buffer.length - at <= smallRead) return buffer.length
    const { headerBytes, requestLineBytes } = this.reader.limits
    const limit = Math.min(buffer.length, at + headerBytes + requestLineBytes + 4)
    const emptyLine = buffer.indexOf(headEndMark, at)
    return emptyLine === -1 ? limit : Math.min(limit, emptyLine + 4)
  }

  /** False when the text was too short to decide, and there are more bytes than it holds. */
  private takeFields(): boolean {
    const reader = this.reader
    const taken = reader.read(this.text, this.at - this.textStart)
    if (taken >= 0) this.at = this.textStart + taken
    return reader.head !== undefined || reader.problem !== undefined ||
      this.textStart + this.text.length === this.buffer.length
  }

  private nextData(): Event {
    const available = this.buffer.length - this.at
    if (available === 0) return this.ended ? this.endOfInput() : needData
    const length = Math.min(available, this.bodyLeft)
    const bytes = this.buffer.subarray(this.at, this.at + length)
    this.at += length
    this.bodyLeft -= length
    const last = this.bodyLeft === 0
    this.request = (last ? this.request.EndOfMessage : this.request.Data)!
    return new DataEvent(bytes, last)
  }

  private nextChunk(): Event {
    const chunks = this.chunks
    if (!chunks.atTrailers) {
      this.at = chunks.read(this.buffer, this.at)
      if (chunks.problem !== undefined) return this.refuse(chunks.problem)
      if (chunks.end > chunks.start) {
        this.request = this.request.Data!
        return new DataEvent(this.buffer.subarray(chunks.start, chunks.end), false)
      }
      if (!chunks.atTrailers) return this.ended ? this.endOfInput() : needData
      this.reader.startTrailers()
      this.text = ""
    }
    if (this.at < this.buffer.length) this.readFields()
    const { problem, trailers } = this.reader
    if (problem !== undefined) return this.refuse(problem)
    if (trailers === undefined) return this.ended ? this.endOfInput() : needData
    this.request = this.request.EndOfMessage!
    return trailers.length === 0 ? endOfMessage : { _tag: "EndOfMessage", trailers }
  }

  private refuse(problem: Malformed): Malformed {
    this.keepAlive = false
    // An HTTP/2 preface is not for this engine: whoever can read it gets it through `takeRest`.
    if (problem.reason !== "Http2Preface") this.forget()
    this.request = this.request.Malformed!
    if (this.responseState === "idle") this.response = this.response.Request!
    return problem
  }

  /** Gives up on a head that does not arrive, so that the peer can be told. Only while none has been read. */
  abandonHead(): LocalProtocolError | undefined {
    if (this.requestState !== "idle") {
      return { _tag: "LocalProtocolError", event: "Malformed", state: this.requestState }
    }
    this.keepAlive = false
    this.forget()
    this.request = this.request.Malformed!
    this.response = this.response.Request!
    return undefined
  }

  /**
   * Ends the cycle with a change of protocol (RFC 9110 section 7.8): the engine reads and writes nothing from here on.
   * What was received behind the head is what `takeRest` returns.
   */
  upgrade(): LocalProtocolError | undefined {
    const next = this.response.Upgrade
    if (next === undefined || this.requestState !== "done") return this.outOfOrder("Upgrade")
    this.response = next
    this.keepAlive = false
    return undefined
  }

  /** Takes out what was received and not read, for another protocol's reader. */
  takeRest(): Buffer {
    const rest = this.buffer.subarray(this.at)
    this.forget()
    return rest
  }

  /** Lets go of what was received. */
  private forget(): void {
    this.buffer = noBytes
    this.at = 0
    this.text = ""
  }

  private endOfInput(): Event {
    this.keepAlive = false
    this.request = this.request.PeerClosed!
    return peerClosed
  }

  private outOfOrder(event: ResponseEvent): LocalProtocolError {
    return { _tag: "LocalProtocolError", event, state: this.response.name }
  }

  /**
   * The text of an interim answer: 100 or 103. HTTP/1.0 clients do not know them and get the empty text
   * (RFC 9110 section 15.2).
   */
  informational(status: number, lines: string): string | LocalProtocolError {
    const next = this.response.Informational
    if (next === undefined) return this.outOfOrder("Informational")
    this.response = next
    return this.head?.httpVersion === "1.0" ? "" : `${statusLine(status)}${lines}\r\n`
  }

  /**
   * The text of an answer's head, and the decision how its body is delimited (RFC 9112 section 6.3), which stands in
   * `framing` afterwards.
   *
   * `bodyLength` is the length of the body if it is known, -1 if not; `extraLines` are lines the server adds.
   * `hasTrailers` asks for chunks, without which there can be no trailers.
   */
  startResponse(
    status: number,
    fields: ResponseFields,
    bodyLength: number,
    extraLines: string,
    hasTrailers: boolean
  ): string | LocalProtocolError {
    const next = this.response.Head
    if (next === undefined) return this.outOfOrder("Head")
    this.response = next
    const is11 = this.head === undefined || this.head.httpVersion === "1.1"
    const declared = fields.contentLength !== -1 ? fields.contentLength : bodyLength
    let lines = fields.lines + extraLines
    if (status === 204 || status < 200) {
      // RFC 9112 section 6.1 and RFC 9110 section 8.6: neither Transfer-Encoding nor Content-Length in a 1xx or 204.
      this.framing = "none"
    } else if (status === 205) {
      // RFC 9110 section 15.3.6: no content, and the client must be able to see that.
      lines += "content-length: 0\r\n"
      this.framing = "none"
    } else if (status === 304) {
      // RFC 9110 section 15.4.5: a length may be given as for a 200, but nothing may say that a body follows.
      if (fields.contentLength !== -1) lines += `content-length: ${fields.contentLength}\r\n`
      this.framing = "none"
    } else {
      const isHead = this.head !== undefined && this.head.method === "HEAD"
      if (hasTrailers && is11 && fields.contentLength === -1) {
        lines += "transfer-encoding: chunked\r\n"
        this.framing = "chunked"
      } else if (declared !== -1) {
        lines += contentLengthLine(declared)
        this.framing = "length"
      } else if (is11) {
        lines += "transfer-encoding: chunked\r\n"
        this.framing = "chunked"
      } else {
        this.framing = "close"
        if (!isHead) this.keepAlive = false
      }
      if (isHead) this.framing = "none"
    }
    if (fields.close) this.keepAlive = false
    // RFC 9110 section 7.8: whoever sends Upgrade, as a 426 must, names it here, too.
    if (!this.keepAlive) lines += status === 426 ? "connection: close, upgrade\r\n" : "connection: close\r\n"
    else if (!is11) lines += "connection: keep-alive\r\n"
    return `${statusLine(status)}${lines}\r\n`
  }

  /**
   * The text before a piece of body of `length` bytes. A piece that has one is followed by a line end; an empty piece
   * has none, because an empty chunk ends the body.
   */
  dataPrefix(length: number): string {
    return this.framing === "chunked" && length > 0 ? `${length.toString(16)}\r\n` : ""
  }

  /** The text after the last piece of body. `trailerLines` are written only where trailers can be. */
  endResponse(trailerLines: string): string | LocalProtocolError {
    const next = this.response.EndOfMessage
    if (next === undefined) return this.outOfOrder("EndOfMessage")
    this.response = next
    return this.framing === "chunked" ? `0\r\n${trailerLines}\r\n` : ""
  }

  /** True when both sides are done and the connection may carry another request. */
  get mayStartNextCycle(): boolean {
    return this.keepAlive && this.requestState === "done" && this.responseState === "done"
  }

  /** Goes on to the next request. Only when `mayStartNextCycle`. */
  startNextCycle(): LocalProtocolError | undefined {
    if (!this.mayStartNextCycle) {
      const state = this.requestState === "done" ? this.responseState : this.requestState
      return { _tag: "LocalProtocolError", event: "NextCycle", state }
    }
    this.request = this.request.NextCycle!
    this.response = this.response.NextCycle!
    this.reader.reset()
    if (this.bodyLeft === -1) this.chunks.reset()
    if (this.at === this.buffer.length) this.forget()
    else if (this.head?.contentLength !== 0) this.text = ""
    this.head = undefined
    return undefined
  }
}
