/**
 * One stream of HTTP/2 as the wire of one exchange: its request body, its answer, its waits. Rules of the contract are the
 * exchange's, frames and flow control are nghttp2's: the window of a stream opens as the application reads.
 */
import type * as Http2 from "node:http2"
import { constants } from "node:http2"
import type { Duplex, Writable } from "node:stream"
import { type FieldMap, Http2Fields } from "../../src/protocol/Http2Fields.ts"
import type { Malformed } from "../../src/protocol/Malformed.ts"
import { mayBeTrailer, type RequestHead } from "../../src/protocol/RequestHead.ts"
import type { HeaderList, HeaderProblem } from "../../src/protocol/ResponseFields.ts"
import type { DisconnectReason } from "../../src/schema/DisconnectReason.ts"
import type { HttpRequest } from "../../src/schema/Event.ts"
import { BodyPart, emptyRequest } from "./BodyPart.ts"
import type { ClientExchange } from "./ClientExchange.ts"
import type { Http2Connection } from "./Http2Connection.ts"
import { Http2Tunnel } from "./Http2Tunnel.ts"
import { faultHeaders, makeExchange } from "./makeExchange.ts"
import type { Piece, Session, Wire } from "./Wire.ts"

/**
 * Bytes given to nghttp2 at once. It says when all of a write is taken and not before, so this is also what a client has
 * to take in `writeTimeout`.
 */
const sliceBytes = 65_536

/** How long a stream that was closed may take to go. */
const closingMillis = 2_000

/**
 * An answer with a body has no options, not even `sendDate: false`: a bare node:http2 server takes 12.7 µs for a hello without it and 15.3 with it (Node 20, h2load). Node
 * leaves out its own date where there is one.
 */
const emptyAnswerOptions: Http2.ServerStreamResponseOptions = { endStream: true }
const trailersOptions: Http2.ServerStreamResponseOptions = { waitForTrailers: true }

/** What a stream that ends early is reset with (RFC 9113 section 7). */
const resetCodes: { readonly [reason: string]: number } = {
  protocol_error: constants.NGHTTP2_PROTOCOL_ERROR,
  server_error: constants.NGHTTP2_INTERNAL_ERROR,
  queue_overflow: constants.NGHTTP2_ENHANCE_YOUR_CALM
}

/** Resets that say that somebody broke the protocol: nghttp2's own, or the client's. The others say that nobody wants the answer. */
const faultCodes: ReadonlySet<number> = new Set([
  constants.NGHTTP2_PROTOCOL_ERROR,
  constants.NGHTTP2_FLOW_CONTROL_ERROR,
  constants.NGHTTP2_STREAM_CLOSED,
  constants.NGHTTP2_FRAME_SIZE_ERROR,
  constants.NGHTTP2_COMPRESSION_ERROR
])

/** Reads header lists for all streams: what it finds is taken over at once. */
const reader = new Http2Fields()

export class Http2Stream implements Wire {
  suppressesBody = false
  /** True when the client has reset the stream, or made nghttp2 reset it. */
  wasReset = false

  private readonly connection: Http2Connection
  private readonly stream: Http2.ServerHttp2Stream
  exchange: ClientExchange | undefined = undefined
  private readonly isHead: boolean
  /** The head that was read last. */
  private fields: FieldMap | undefined = undefined
  declaredLength = -1
  private status = 0
  private hasTrailers = false
  private trailers: FieldMap | undefined = undefined
  private bodyDone: boolean
  private bodyBytes = 0
  /** The length at which the body is over; -1 when only its end says so. */
  private lastByte = -1
  /** Hears of request bytes, once the application has asked for them. */
  private arrived: (() => void) | undefined = undefined
  private continueDue = false
  private requestTrailers: ReadonlyArray<readonly [string, string]> = []
  /** Pieces that wait until nghttp2 has taken those before them. */
  private queue: Array<Piece> | undefined = undefined
  private queuedBytes = 0
  private sentBytes = 0
  /** True from reaching the high watermark on, until the exchange has heard that it drained. */
  private drainDue = false
  private responseEnded = false
  /** True while the rest of the request is to be refused, and the answer is on its way. */
  private refusalDue = false
  private session: Session | undefined = undefined
  private tunnel: Http2Tunnel | undefined = undefined
  /** True when we have closed the stream, with a reset. */
  private isClosing = false
  private isClosed = false
  /** What the sweep compares: bytes that moved so far, and since when none has. */
  private reads = 0
  private sweptReads = 0
  private bodyWaitSince = -1
  private sweptTaken = 0
  private writeStalledSince = -1
  private closingSince = -1

  constructor(connection: Http2Connection, stream: Http2.ServerHttp2Stream, isHead: boolean, hasBody: boolean) {
    this.connection = connection
    this.stream = stream
    this.isHead = isHead
    this.bodyDone = !hasBody
    stream.on("error", ignore)
    stream.on("close", () => this.closed())
    // A reset with NO_ERROR closes the stream only when everything was read, which may be never.
    stream.on("aborted", () => {
      if (!this.isClosing) this.closed()
    })
  }

  // ---- the request

  begin(head: RequestHead): void {
    const { core, extensions, peer } = this.connection
    this.continueDue = head.expectsContinue
    const exchange = makeExchange(core, this, peer, extensions, head, ignore)
    if ("_tag" in exchange) return this.refuse(exchange)
    if (exchange.type === "websocket" && core.stopping) return this.answer(503, core.drain.refuses(peer))
    this.exchange = exchange
    if (exchange.type === "websocket") {
      // Without a reader Node does not tell the end.
      this.stream.on("readable", ignore)
      this.stream.on("end", () => this.tunnelEnded())
    } else if (!this.bodyDone) {
      // Trailers come behind the last byte, and so the end with them, where they are announced (RFC 9110 section 6.6.2).
      if (!head.headers.some(isTrailerField)) this.lastByte = head.contentLength
      this.stream.on("trailers", (_fields: unknown, _flags: unknown, raw: ReadonlyArray<string>) => {
        this.requestTrailers = trailersOf(raw)
      })
    }
    core.begin(exchange)
  }

  pullBody(): HttpRequest | undefined {
    if (this.bodyDone) return emptyRequest
    const { stream } = this
    const body: Buffer | null = stream.read()
    if (body !== null) {
      this.continueDue = false
      this.bodyBytes += body.length
      this.connection.core.metrics.bytesIn += body.length
      if (this.bodyBytes > this.connection.core.limits.bodyBytes) {
        this.exchange!.refused(413, "body_too_large")
        return undefined
      }
      const last = this.bodyBytes === this.lastByte
      if (last) this.bodyDone = true
      return new BodyPart(body, !last)
    }
    if (stream.readableEnded) {
      this.bodyDone = true
      return this.requestTrailers.length === 0
        ? emptyRequest
        : { ...emptyRequest, trailers: this.requestTrailers }
    }
    this.startReading()
    return undefined
  }

  /** The application wants the body. Not before: Node would open the window for as much as it buffers itself. */
  private startReading(): void {
    const { stream } = this
    if (this.arrived === undefined) {
      this.arrived = () => this.bytesArrived()
      stream.on("readable", this.arrived)
      stream.on("end", this.arrived)
    }
    if (this.continueDue) {
      this.continueDue = false
      if (this.isOpen && !stream.headersSent) this.attempt(() => stream.additionalHeaders({ ":status": 100 }))
    }
  }

  private bytesArrived(): void {
    this.reads++
    this.connection.activity++
    this.exchange?.wake()
  }

  // ---- a request that cannot be accepted

  refuse(problem: Malformed): void {
    const { core, peer } = this.connection
    core.refused(problem.reason, problem.status, problem.message, peer)
    this.answer(problem.status, faultHeaders(problem))
  }

  /** A complete answer of the server's own. */
  private answer(status: number, extra: HeaderList): void {
    const body = this.connection.core.problemBody(status)
    this.readHead(status, [["content-type", "text/plain; charset=utf-8"], ...extra], false)
    this.startResponse(body.length)
    if (!this.suppressesBody) this.writePiece(body)
    this.endResponse()
    this.refuseRest()
  }

  // ---- the answer

  get bufferedAmount(): number {
    return this.tunnel === undefined ? this.queuedBytes + this.stream.writableLength : this.tunnel.writableLength
  }

  readHead(status: number, headers: HeaderList, hasTrailers: boolean): HeaderProblem | undefined {
    if (status > 599) return { name: ":status", problem: "HTTP/2 carries statuses up to 599 here" }
    const problem = reader.read(headers)
    if (problem !== undefined) return problem
    this.fields = reader.fields
    this.declaredLength = reader.contentLength
    this.status = status
    this.hasTrailers = hasTrailers
    this.suppressesBody = this.isHead || status === 204 || status === 205 || status === 304
    return undefined
  }

  readTrailers(headers: HeaderList): HeaderProblem | undefined {
    const problem = reader.read(headers)
    if (problem === undefined) this.trailers = reader.fields
    return problem
  }

  informational(status: number, headers: HeaderList): HeaderProblem | undefined {
    const problem = reader.read(headers)
    if (problem === undefined && this.isOpen) {
      const { fields } = reader
      this.attempt(() => this.stream.additionalHeaders({ ...fields, ":status": status }))
    }
    return problem
  }

  /** True while something can be written. */
  private get isOpen(): boolean {
    return !this.isClosed && !this.stream.destroyed && !this.stream.closed
  }

  /** What was checked here, Node may still refuse with an exception of its own: then the stream cannot be answered. */
  private attempt(write: () => void): void {
    try {
      write()
    } catch {
      this.close(constants.NGHTTP2_INTERNAL_ERROR)
    }
  }

  startResponse(bodyLength: number): void {
    if (!this.isOpen) return
    const { stream } = this
    const fields = this.fields!
    this.addOwnFields(fields)
    const declared = this.declaredLength === -1 ? bodyLength : this.declaredLength
    if (declared !== -1 && !this.suppressesBody && this.declaredLength === -1) {
      fields["content-length"] = declared
      this.declaredLength = declared
    } else if (this.status === 204 || this.status === 205) {
      delete fields["content-length"]
    } else if (this.isHead && declared !== -1 && this.status !== 304) {
      fields["content-length"] = declared
    }
    const hasBody = !this.suppressesBody && (bodyLength !== 0 || this.hasTrailers)
    if (!hasBody) this.responseEnded = true
    this.connection.activity++
    this.respond(fields, hasBody ? this.hasTrailers ? trailersOptions : undefined : emptyAnswerOptions)
    if (hasBody && this.hasTrailers) {
      stream.on("wantTrailers", () => this.attempt(() => stream.sendTrailers(this.trailers ?? {})))
    }
  }

  private respond(fields: FieldMap, options?: Http2.ServerStreamResponseOptions): void {
    try {
      this.stream.respond(fields, options)
    } catch {
      this.close(constants.NGHTTP2_INTERNAL_ERROR)
    }
  }

  private addOwnFields(fields: FieldMap): void {
    const { settings, time } = this.connection.core
    fields[":status"] = this.status
    if (fields["date"] === undefined) fields["date"] = time.httpDate
    if (settings.serverHeader !== "" && fields["server"] === undefined) fields["server"] = settings.serverHeader
  }

  writePiece(piece: Piece): void {
    if (!this.isOpen || this.responseEnded) return
    const { core } = this.connection
    core.metrics.bytesOut += piece.length
    this.sentBytes += piece.length
    this.connection.activity++
    const unsent = this.bufferedAmount + piece.length
    if (unsent >= core.settings.writeHighWaterMark) this.drainDue = true
    if (this.queue !== undefined || unsent > sliceBytes) {
      this.queue ??= []
      this.queue.push(piece)
      this.queuedBytes += piece.length
      this.pump()
    } else {
      this.write(piece)
    }
  }

  /** Asks to be told when the piece is taken only where somebody waits for it. */
  private write(piece: Piece): void {
    const taken = this.drainDue || this.queue !== undefined ? () => this.taken() : undefined
    // Text is ASCII, which is its own UTF-8.
    this.stream.write(piece, "utf8", taken)
  }

  private taken(): void {
    if (this.isClosed) return
    this.connection.activity++
    this.pump()
    if (this.drainDue && this.bufferedAmount <= this.connection.core.settings.writeLowWaterMark) {
      this.drainDue = false
      this.exchange?.drained()
    }
  }

  /** Gives the next slice to the stream once it has let go of the one before. */
  private pump(): void {
    const { queue } = this
    if (queue === undefined || !this.isOpen) return
    while (queue.length > 0 && this.stream.writableLength < sliceBytes) {
      const piece = queue[0]!
      const slice = piece.length <= sliceBytes
        ? piece
        : typeof piece === "string"
        ? piece.slice(0, sliceBytes)
        : piece.subarray(0, sliceBytes)
      if (slice.length === piece.length) queue.shift()
      else queue[0] = typeof piece === "string" ? piece.slice(sliceBytes) : piece.subarray(sliceBytes)
      this.queuedBytes -= slice.length
      this.write(slice)
    }
    if (queue.length > 0) return
    this.queue = undefined
    if (this.responseEnded && !this.stream.writableEnded) this.stream.end()
  }

  endResponse(): void {
    if (!this.isOpen || this.responseEnded) return
    this.responseEnded = true
    if (this.queue === undefined) this.stream.end()
  }

  flush(): void {
    // Nothing is held back: nghttp2 gathers what one turn of the event loop has written.
  }

  // ---- WebSocket (RFC 8441)

  /** RFC 9113 section 8.6: HTTP/2 has no upgrades. */
  switchProtocols(): boolean {
    return false
  }

  upgrade(open: (stream: Duplex) => Session): void {
    const { stream } = this
    const { core } = this.connection
    const fields = this.fields!
    this.status = 200
    this.addOwnFields(fields)
    delete fields["content-length"]
    if (this.isOpen) this.respond(fields)
    const close = (code: number): void => this.close(code)
    const tunnel = this.tunnel = new Http2Tunnel(stream, close, core.settings.writeHighWaterMark, sliceBytes)
    // It has all of a stream that a session asks for: bytes and ends are handed to it.
    const session = this.session = open(tunnel as Writable as Duplex)
    tunnel.on("drain", () => session.drained())
    stream.on("data", (chunk: Buffer) => {
      core.metrics.bytesIn += chunk.length
      this.connection.activity++
      session.received(chunk)
    })
    stream.removeListener("readable", ignore)
  }

  /** The client has ended its side of a WebSocket: before the handshake is answered it has gone. */
  private tunnelEnded(): void {
    if (this.session === undefined) this.exchange?.peerEnded()
    else this.session.ended()
  }

  // ---- the end

  /** Resets the stream. */
  private close(code: number): void {
    const { stream } = this
    if (this.isClosing || stream.destroyed) return
    this.isClosing = true
    // Node ends a stream before it resets it: to the client, what was cut off would be whole.
    if (code !== constants.NGHTTP2_NO_ERROR) stream.end = () => stream
    stream.close(code)
  }

  abort(reason: DisconnectReason): void {
    if (!this.isOpen) return
    // A complete answer of the server's own is said; anything else must be seen as cut.
    if (this.responseEnded) return this.refuseRest()
    this.queue = undefined
    this.queuedBytes = 0
    this.close(resetCodes[reason] ?? constants.NGHTTP2_CANCEL)
  }

  exchangeDone(): void {
    this.connection.core.exchangeEnded(this.exchange!)
    this.exchange = undefined
    if (this.session === undefined && this.responseEnded) this.refuseRest()
  }

  /** RFC 9113 section 8.1: the rest of a request that nobody reads is not wanted. Said behind the answer. */
  private refuseRest(): void {
    if (this.bodyDone || !this.isOpen) return
    this.bodyDone = true
    this.refusalDue = true
    if (this.stream.writableFinished) this.refuseWhenSaid()
    else this.stream.once("finish", () => this.refuseWhenSaid())
  }

  /**
   * nghttp2 sends a reset before data that waits: the answer is over for the client when the frame that ends it is out, and
   * not when Node has finished with it. Asked again at every sweep.
   */
  private refuseWhenSaid(): void {
    if (!this.isOpen || this.stream.state.localClose !== 1) return
    this.refusalDue = false
    this.close(constants.NGHTTP2_NO_ERROR)
    // The stream is gone for Node when all of it was read.
    if (this.arrived !== undefined) this.stream.removeListener("readable", this.arrived)
    this.stream.resume()
  }

  /** The session breaks off. */
  connectionFailed(reason: DisconnectReason): void {
    this.exchange?.disconnect(reason)
  }

  /** The stream has closed, one way or the other. */
  closed(): void {
    if (this.isClosed) return
    this.isClosed = true
    const { exchange, stream } = this
    this.wasReset = !this.isClosing && (stream.rstCode !== constants.NGHTTP2_NO_ERROR || exchange?.ended === false)
    this.session?.closed()
    this.tunnel?.destroy()
    if (faultCodes.has(stream.rstCode)) exchange?.disconnect("protocol_error")
    exchange?.connectionClosed()
    this.connection.streamClosed(this)
    stream.destroy()
  }

  stop(): void {
    this.exchange?.shutdown()
  }

  cut(): void {
    this.exchange?.cut()
    if (this.exchange === undefined || this.session !== undefined) this.close(constants.NGHTTP2_CANCEL)
  }

  // ---- time

  sweep(now: number): void {
    const { core } = this.connection
    const { exchange } = this
    exchange?.sweep(now)
    this.session?.sweep(now)
    if (this.isClosed) return
    if (this.refusalDue && this.stream.writableFinished) this.refuseWhenSaid()
    if (this.isClosing) return this.sweepClosing(now)
    const { requestTimeoutMillis } = core.settings
    if (
      exchange?.hasDeadline === true && requestTimeoutMillis > 0 &&
      now - exchange.startedAt >= requestTimeoutMillis
    ) {
      return exchange.ended ? core.abandon(exchange) : exchange.refused(408, "client_timeout")
    }
    this.sweepBody(now)
    this.sweepWrites(now)
  }

  private sweepBody(now: number): void {
    const timeout = this.connection.core.settings.bodyTimeoutMillis
    if (this.exchange?.waitsForBody !== true || this.reads !== this.sweptReads) {
      this.sweptReads = this.reads
      this.bodyWaitSince = -1
    } else if (this.bodyWaitSince === -1) {
      this.bodyWaitSince = now
    } else if (timeout > 0 && now - this.bodyWaitSince >= timeout) {
      this.exchange.refused(408, "client_timeout")
    }
  }

  /**
   * A stream whose client takes nothing of it is reset; the others go on. Also one whose answer is over and that does not
   * close.
   */
  private sweepWrites(now: number): void {
    const timeout = this.connection.core.settings.writeTimeoutMillis
    const unsent = this.bufferedAmount
    const taken = this.tunnel === undefined ? this.sentBytes - unsent : this.tunnel.takenBytes
    if ((unsent === 0 && this.exchange !== undefined) || taken !== this.sweptTaken) {
      this.sweptTaken = taken
      this.writeStalledSince = -1
    } else if (this.writeStalledSince === -1) {
      this.writeStalledSince = now
    } else if (timeout > 0 && now - this.writeStalledSince >= timeout) {
      const isSaid = unsent === 0
      this.exchange?.disconnect("write_timeout")
      if (this.isOpen) this.close(isSaid ? constants.NGHTTP2_NO_ERROR : constants.NGHTTP2_CANCEL)
      // The client has reset it, and Node waits for what it will not take.
      else this.stream.destroy()
    }
  }

  /** The reset may wait for a connection that takes nothing; what the stream holds must not. */
  private sweepClosing(now: number): void {
    if (this.closingSince === -1) this.closingSince = now
    else if (now - this.closingSince >= closingMillis) this.stream.destroy()
  }
}

const ignore = (): void => {}

const isTrailerField = ([name]: readonly [string, string]): boolean => name === "trailer"

const trailersOf = (raw: ReadonlyArray<string>): ReadonlyArray<readonly [string, string]> => {
  const trailers: Array<readonly [string, string]> = []
  for (let at = 0; at + 1 < raw.length; at += 2) {
    if (mayBeTrailer(raw[at]!)) trailers.push([raw[at]!, raw[at + 1]!])
  }
  return trailers
}
