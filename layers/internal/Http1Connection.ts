/**
 * One HTTP/1 connection: drives the engine with what a duplex stream delivers, makes an exchange for each request, and
 * writes what the exchange sends. Owns the stream from accept to close. Rules of the contract are the exchange's, rules
 * of the protocol the engine's; this file knows when to read, when to write and when to close.
 *
 * What one read asks for is answered in one write: while a batch of requests is being worked through, the output holds
 * everything back.
 */
import type { Duplex } from "node:stream"
import { Http1 } from "../../src/protocol/Http1.ts"
import type { Malformed } from "../../src/protocol/Malformed.ts"
import type { RequestHead } from "../../src/protocol/RequestHead.ts"
import { type HeaderList, type HeaderProblem, ResponseFields } from "../../src/protocol/ResponseFields.ts"
import type { DisconnectReason } from "../../src/schema/DisconnectReason.ts"
import type { HttpRequest } from "../../src/schema/Event.ts"
import { BodyPart, emptyRequest, noBytes } from "./BodyPart.ts"
import type { ClientExchange } from "./ClientExchange.ts"
import { acceptValue, type ConnectionExtensions, extensionsFor, faultHeaders, makeExchange } from "./makeExchange.ts"
import { Output } from "./Output.ts"
import type { Peer } from "./Peer.ts"
import type { Connection, ServerCore } from "./ServerCore.ts"
import { type Wait, Waiting } from "./Waiting.ts"
import type { Piece, Session, Wire } from "./Wire.ts"
import { WriteWatch } from "./WriteWatch.ts"

/**
 * What the connection is doing. `upgraded`: it carries another protocol, and the session decides. `closing`: our side is
 * finished, and what the peer still sends is thrown away for a while, because a reset would destroy the answer on its
 * way (RFC 9112 section 9.6).
 */
type Phase = "reading" | "exchange" | "upgraded" | "discarding" | "closing" | "closed"

/** Bytes of body that one `http.request` event gathers before the application gets it. */
const eventBytes = 65_536
/** How long a closed connection is listened to, and how much it may still say. */
const closingMillis = 2_000
const closingBytes = 1_048_576

/** How long an unused connection may still bring its first request to a server that stops. */
const firstRequestMillis = 500

export class Http1Connection implements Connection, Wire {
  readonly core: ServerCore
  readonly peer: Peer
  openedAt = 0
  phase: Phase = "reading"
  exchange: ClientExchange | undefined = undefined
  suppressesBody = false

  private readonly stream: Duplex
  private readonly extensions: ConnectionExtensions
  private session: Session | undefined = undefined
  private handshakeKey = ""
  private readonly output: Output
  private readonly engine: Http1
  private readonly fields = new ResponseFields()
  private readonly trailerFields = new ResponseFields()
  private status = 0
  private hasTrailers = false
  private batching = false
  private readingPaused = false
  private continueDue = false
  private isHead = false
  /** True when the client has said that it sends nothing after this request. */
  private isLast = false
  requests = 0
  private discarded = 0
  private readonly waiting = new Waiting()
  private readonly writes = new WriteWatch()
  private readBytes = 0
  private readBytesAtStop = 0
  private sweptReadBytes = 0

  constructor(core: ServerCore, stream: Duplex, peer: Peer) {
    this.core = core
    this.stream = stream
    this.peer = peer
    this.extensions = extensionsFor(core.extensions, peer)
    this.output = new Output(stream, core.metrics)
    this.engine = new Http1(core.limits)
    stream.on("data", (chunk: Buffer) => this.received(chunk))
    stream.on("end", () => this.peerEnded())
    stream.on("error", (error: NodeJS.ErrnoException) => this.failed(error))
    stream.on("close", () => this.closed())
    stream.on("drain", () => this.drained())
  }

  // ---- reading

  private received(chunk: Buffer): void {
    if (this.phase === "closed") return
    this.readBytes += chunk.length
    this.core.metrics.bytesIn += chunk.length
    if (this.phase === "upgraded") return this.session!.received(chunk)
    if (this.phase === "closing") return this.discardWhileClosing(chunk.length)
    this.engine.receive(chunk)
    if (this.phase === "exchange") {
      this.batching = true
      this.exchange!.wake()
      this.batching = false
      // The application may have ended with the body it waited for: what arrived behind it is next.
      if (this.phase !== "exchange") return this.pump()
      this.flush()
      this.pauseWhenFull()
    } else {
      this.pump()
    }
  }

  /** Works through what has been received, as far as it goes without waiting. */
  private pump(): void {
    if (this.batching) return
    this.batching = true
    while (this.phase === "reading" || this.phase === "discarding") {
      const event = this.engine.next()
      if (event._tag === "RequestHead") {
        this.begin(event)
      } else if (event._tag === "Malformed") {
        this.refuse(event)
      } else if (event._tag === "Data") {
        this.discardBody(event.bytes.length)
        if (event.last && this.phase === "discarding") this.nextCycle()
      } else if (event._tag === "EndOfMessage") {
        this.nextCycle()
      } else {
        if (event._tag === "PeerClosed") this.end()
        break
      }
    }
    this.batching = false
    if (this.output.holdsBack) this.core.flushSoon(this)
    this.pauseWhenFull()
  }

  /** A peer that is not being listened to must not fill our memory: the socket's own buffers hold it back. */
  private pauseWhenFull(): void {
    if (
      !this.readingPaused && this.phase === "exchange" &&
      this.engine.bufferedBytes >= this.core.settings.writeHighWaterMark
    ) {
      this.readingPaused = true
      this.stream.pause()
    }
  }

  private resumeReading(): void {
    if (this.readingPaused) {
      this.readingPaused = false
      this.stream.resume()
    }
  }

  // ---- a request

  private begin(head: RequestHead): void {
    this.phase = "exchange"
    this.continueDue = head.expectsContinue
    this.isHead = head.method === "HEAD"
    this.isLast = !head.keepAlive
    this.requests++
    const exchange = makeExchange(this.core, this, this.peer, this.extensions, head, this.rememberKey)
    if ("_tag" in exchange) return this.refuse(exchange, faultHeaders(exchange))
    if (exchange.type === "websocket" && this.core.stopping) {
      return this.answerAndEnd(503, this.core.drain.refuses(this.peer))
    }
    this.exchange = exchange
    this.core.begin(exchange)
  }

  private readonly rememberKey = (key: string): void => {
    this.handshakeKey = key
  }

  /** The next part of the body. Parts that have arrived together go out together. */
  pullBody(): HttpRequest | undefined {
    const engine = this.engine
    if (engine.requestState === "done") return emptyRequest
    let body: Uint8Array | undefined
    let parts: Array<Uint8Array> | undefined
    let size = 0
    while (size < eventBytes) {
      const event = engine.next()
      if (event._tag === "Data") {
        size += event.bytes.length
        if (body === undefined) body = event.bytes
        else (parts ??= [body]).push(event.bytes)
        if (event.last) return this.bodyEvent(body, parts, size, false)
      } else if (event._tag === "EndOfMessage") {
        const request = this.bodyEvent(body ?? noBytes, parts, size, false)
        return event.trailers.length === 0 ? request : { ...request, trailers: event.trailers }
      } else if (event._tag === "Malformed") {
        this.refuseDuringExchange(event)
        return undefined
      } else {
        break
      }
    }
    if (body !== undefined) return this.bodyEvent(body, parts, size, true)
    if (this.continueDue) {
      // RFC 9110 section 10.1.1: only when the application wants the body, and not once an answer has begun.
      this.continueDue = false
      const text = engine.responseState === "due" ? engine.informational(100, "") : ""
      if (typeof text === "string" && text !== "") {
        this.output.write(text)
        this.flush()
      }
    }
    this.resumeReading()
    return undefined
  }

  private bodyEvent(body: Uint8Array, parts: Array<Uint8Array> | undefined, size: number, more: boolean): HttpRequest {
    this.continueDue = false
    if (more) this.resumeReading()
    return new BodyPart(parts === undefined ? body : Buffer.concat(parts, size), more)
  }

  /** The application is over. The connection goes on, or ends, or first gets rid of the rest of the request. */
  exchangeDone(): void {
    const { core, engine } = this
    core.exchangeEnded(this.exchange!)
    this.exchange = undefined
    if (this.phase !== "exchange") return
    const isOver = core.drain.closesIdle && !this.hasNext
    if (engine.responseState !== "done" || !engine.keepAlive || isOver || this.continueDue) {
      return this.isLast && engine.requestState === "done" && engine.bufferedBytes === 0 ? this.endIdle() : this.end()
    }
    if (engine.requestState === "body") {
      this.phase = "discarding"
      this.discarded = 0
      this.resumeReading()
      return this.pump()
    }
    this.nextCycle()
    if (!this.batching) this.pump()
  }

  private nextCycle(): void {
    if (!this.engine.mayStartNextCycle) return this.end()
    this.engine.startNextCycle()
    this.phase = "reading"
    this.waiting.reset()
    this.resumeReading()
  }

  private discardBody(bytes: number): void {
    this.discarded += bytes
    if (this.discarded > this.core.settings.maxUnreadBodyBytes) this.end()
  }

  // ---- a request that cannot be accepted

  private refuse(problem: Malformed, headers: HeaderList = []): void {
    if (problem.reason === "Http2Preface" && this.switchToHttp2()) return
    // What nobody wanted to read turned out to be malformed, but its request has had its answer.
    if (this.phase === "discarding") return this.end()
    this.core.refused(problem.reason, problem.status, problem.message, this.peer)
    this.answerAndEnd(problem.status, headers)
  }

  /** The connection began with the preface of HTTP/2 (RFC 9113 section 3.3): gives the stream away, unread. */
  private switchToHttp2(): boolean {
    const { stream } = this
    const preface = this.engine.takeRest()
    if (preface.length !== this.readBytes) return false
    // RFC 9113 section 3.2: over TLS only ALPN decides, and it has not chosen HTTP/2.
    if (!this.core.speaksHttp2 || this.peer.scheme === "https") return false
    // From here on every listener of this connection finds it closed, and does nothing.
    this.phase = "closed"
    stream.pause()
    stream.unshift(preface)
    this.core.switchToHttp2(this, stream, this.peer)
    return true
  }

  /** The body turned out to be malformed while the application was reading it. */
  private refuseDuringExchange(problem: Malformed): void {
    const exchange = this.exchange!
    this.core.metrics.refuse(problem.reason)
    exchange.refused(problem.status, problem.reason === "BodyTooLarge" ? "body_too_large" : "protocol_error")
  }

  /** A complete answer of the server's own, after which the connection closes. */
  private answerAndEnd(status: number, extra: HeaderList = []): void {
    const body = this.core.problemBody(status)
    this.isHead = false
    this.engine.keepAlive = false
    this.readHead(status, [["content-type", "text/plain; charset=utf-8"], ...extra], false)
    this.startResponse(body.length)
    this.writePiece(body)
    this.endResponse()
    this.end()
  }

  /** Refuses the connection before anything was read: too many are open. */
  refuseConnection(): void {
    this.core.refused("TooManyConnections", 503, "more connections than the limit", this.peer)
    const body = this.core.problemBody(503)
    const lines = this.core.extraLines(false, false)
    this.output.write(
      `HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n${lines}`
        + `retry-after: 5\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`
    )
    this.end()
  }

  // ---- writing

  get bufferedAmount(): number {
    return this.output.bufferedAmount
  }

  get declaredLength(): number {
    return this.fields.contentLength
  }

  readHead(status: number, headers: HeaderList, hasTrailers: boolean): HeaderProblem | undefined {
    const problem = this.fields.read(headers)
    if (problem !== undefined) return problem
    this.status = status
    this.hasTrailers = hasTrailers
    this.suppressesBody = this.isHead || status === 204 || status === 205 || status === 304
    return undefined
  }

  readTrailers(headers: HeaderList): HeaderProblem | undefined {
    return this.trailerFields.read(headers)
  }

  informational(status: number, headers: HeaderList): HeaderProblem | undefined {
    const problem = this.trailerFields.read(headers)
    if (problem !== undefined) return problem
    const text = this.engine.informational(status, this.trailerFields.lines)
    this.trailerFields.lines = ""
    if (typeof text === "string") this.output.write(text)
    return undefined
  }

  startResponse(bodyLength: number): void {
    const { core, engine, fields } = this
    // A client that waits for 100 and gets an answer may send the body or not: only a new connection is safe.
    if ((core.stopping && !this.hasNext) || this.continueDue) engine.keepAlive = false
    const text = engine.startResponse(
      this.status,
      fields,
      bodyLength,
      core.extraLines(fields.hasDate, fields.hasServer),
      this.hasTrailers
    )
    // What was declared for the application binds it as much as what it declares itself.
    if (fields.contentLength === -1 && engine.framing === "length") fields.contentLength = bodyLength
    if (typeof text === "string") this.output.write(text)
  }

  writePiece(piece: Piece): void {
    const prefix = this.engine.dataPrefix(piece.length)
    this.output.writePiece(prefix, piece, prefix === "" ? "" : "\r\n")
    if (!this.batching) this.flush()
  }

  endResponse(): void {
    const text = this.engine.endResponse(this.trailerFields.lines)
    this.trailerFields.lines = ""
    if (typeof text === "string" && text !== "") this.output.write(text)
    if (!this.batching) this.flush()
  }

  /** RFC 6455 section 4.2.2: from here on the connection is the session's. */
  upgrade(open: (stream: Duplex) => Session): void {
    const accept = acceptValue(this.handshakeKey)
    this.engine.upgrade()
    this.handOver("websocket", `sec-websocket-accept: ${accept}\r\n`, open)
  }

  /** RFC 9110 section 7.8. HTTP/1.0 has no upgrades. */
  switchProtocols(protocol: string, open: (stream: Duplex) => Session): boolean {
    if (this.exchange?.scope.httpVersion !== "1.1" || this.engine.upgrade() !== undefined) return false
    this.handOver(protocol, "", open)
    return true
  }

  private handOver(protocol: string, lines: string, open: (stream: Duplex) => Session): void {
    const { core, engine, fields } = this
    this.output.write(
      `HTTP/1.1 101 Switching Protocols\r\nupgrade: ${protocol}\r\nconnection: Upgrade\r\n${lines}` +
        `${fields.lines}${core.extraLines(fields.hasDate, fields.hasServer)}\r\n`
    )
    this.output.flush()
    this.phase = "upgraded"
    const session = this.session = open(this.stream)
    this.resumeReading()
    const rest = engine.takeRest()
    if (rest.length > 0) session.received(rest)
  }

  flush(): void {
    this.output.flush()
  }

  /** Writes what was held back. The stream tells of a drain only when it was full, which it need not have been. */
  flushHeldBack(): void {
    this.flush()
    if (!this.stream.writableNeedDrain) this.resumeSends()
  }

  private drained(): void {
    this.writes.moved()
    if (this.session !== undefined) return this.session.drained()
    this.resumeSends()
  }

  /** Lets the application go on; what it sends now is a batch, as in `pump`. */
  private resumeSends(): void {
    if (this.exchange === undefined) return
    const isInner = this.batching
    this.batching = true
    this.exchange.drained()
    if (isInner) return
    this.batching = false
    if (this.phase === "exchange") this.flush()
    else this.pump()
  }

  // ---- closing

  /** Says everything there is to say, then closes: our side now, the whole connection once the peer has closed. */
  end(): void {
    if (this.phase === "closing" || this.phase === "closed") return
    this.phase = "closing"
    this.waiting.reset()
    this.discarded = 0
    this.flush()
    this.resumeReading()
    if (this.stream.destroyed) return this.closed()
    if (!this.stream.writableEnded) this.stream.end()
  }

  /** Closes a connection on which neither side is saying anything, without waiting for the peer to close too. */
  private endIdle(): void {
    this.end()
    if (this.stream.writableFinished) this.stream.destroy()
    else this.stream.once("finish", () => this.stream.destroy())
  }

  closeIdle(): boolean {
    const isIdle = this.phase === "reading" && this.requests > 0 && !this.engine.headStarted
    if (isIdle) this.endIdle()
    return isIdle
  }

  private discardWhileClosing(bytes: number): void {
    this.discarded += bytes
    if (this.discarded > closingBytes) this.stream.destroy()
  }

  /** The exchange ended before its answer was complete. An answer of our own is said; anything else is cut. */
  abort(reason: DisconnectReason): void {
    if (this.phase === "closed") return
    if (this.engine.responseState === "done") return this.end()
    this.phase = "closing"
    this.flush()
    // Without a length or chunks only a reset tells the client that the body is not complete.
    const isTold = this.engine.framing !== "close" || reason === "client_closed"
    const stream = this.stream as Duplex & { readonly resetAndDestroy?: () => void }
    if (isTold || stream.resetAndDestroy === undefined) stream.destroy()
    else stream.resetAndDestroy()
  }

  private peerEnded(): void {
    if (this.phase === "closed") return
    this.engine.receiveEnd()
    // What was asked before the end has lost its asker, like the exchange at hand.
    this.engine.keepAlive = false
    if (this.phase === "upgraded") this.session!.ended()
    else if (this.phase === "exchange") this.exchange!.peerEnded()
    else if (this.phase === "reading" || this.phase === "discarding") this.end()
  }

  private failed(error: NodeJS.ErrnoException): void {
    const reason = error.code === "ECONNRESET" || error.code === "EPIPE"
      ? "client_closed"
      : error.syscall === "write"
      ? "write_error"
      : "read_error"
    this.exchange?.disconnect(reason)
  }

  private closed(): void {
    if (this.phase === "closed") return
    // First the phase: an application that ends now must not start the next request.
    this.phase = "closed"
    this.session?.closed()
    this.exchange?.connectionClosed()
    this.core.connectionClosed(this)
  }

  destroy(): void {
    this.stream.destroy()
  }

  /** Whether a request behind the one at hand had begun to arrive when the server was told to stop. */
  private get hasNext(): boolean {
    const { bufferedBytes, requestState } = this.engine
    return requestState === "done" && bufferedBytes > 0 && this.readBytes - bufferedBytes < this.readBytesAtStop
  }

  /** The server is stopping: a busy connection closes after its last answer. True when it is busy. */
  stop(): boolean {
    this.readBytesAtStop = this.readBytes
    const isBusy = this.phase === "exchange" || this.phase === "upgraded" || this.engine.headStarted
    if (this.core.drain.closesIdle) this.endWaiting()
    this.exchange?.shutdown()
    return isBusy
  }

  endWaiting(): void {
    // Who has just connected must not find nobody: the first request may be under way.
    if (this.phase === "reading" && this.requests === 0) this.core.sweepEvery(firstRequestMillis / 4)
    else if (!this.closeIdle() && this.phase === "discarding") this.end()
  }

  /** The server has waited long enough. */
  cut(): void {
    this.exchange?.cut()
    if (this.exchange === undefined || this.phase === "upgraded") this.destroy()
  }

  // ---- time

  /** Compares this connection's waits with their limits. `now` is monotonic. */
  sweep(now: number): void {
    const { settings } = this.core
    switch (this.phase) {
      case "reading":
        if (this.engine.headStarted) this.expire("head", settings.headerTimeoutMillis, now)
        else if (this.requests > 0 && this.core.drain.closesIdle) this.endIdle()
        else if (this.requests > 0) this.expire("idle", settings.keepAliveTimeoutMillis, now)
        else this.expire("head", this.core.drain.closesIdle ? firstRequestMillis : settings.headerTimeoutMillis, now)
        break
      case "discarding":
        this.expire("discarding", settings.bodyTimeoutMillis, now)
        break
      case "closing":
        // What still waits to be written has the write timeout; only then is it the peer's turn to close.
        if (this.stream.writableLength > 0) this.sweepWrites(now)
        else this.expire("closing", closingMillis, now)
        break
      case "exchange":
        this.sweepExchange(now)
        break
      case "upgraded":
        this.exchange?.sweep(now)
        this.session?.sweep(now)
        this.sweepWrites(now)
        break
    }
  }

  private sweepExchange(now: number): void {
    const { settings } = this.core
    const exchange = this.exchange!
    const { requestTimeoutMillis } = settings
    if (requestTimeoutMillis > 0 && exchange.hasDeadline && now - exchange.startedAt >= requestTimeoutMillis) {
      // An application that goes on after its answer is over soon, too.
      return exchange.ended ? this.core.abandon(exchange) : exchange.refused(408, "client_timeout")
    }
    exchange.sweep(now)
    if (this.phase !== "exchange") return
    if (exchange.waitsForBody) {
      if (this.readBytes !== this.sweptReadBytes) this.waiting.reset()
      this.sweptReadBytes = this.readBytes
      this.expire("body", settings.bodyTimeoutMillis, now)
    } else {
      this.waiting.reset()
    }
    this.sweepWrites(now)
  }

  /** A client that takes nothing of what waits for it holds memory: cut it off. */
  private sweepWrites(now: number): void {
    if (!this.writes.hasStalled(this.stream, now, this.core.settings.writeTimeoutMillis)) return
    this.exchange?.disconnect("write_timeout")
    this.destroy()
  }

  private expire(wait: Wait, limitMillis: number, now: number): void {
    if (this.waiting.isOver(wait, limitMillis, now)) this.timedOut(wait)
  }

  private timedOut(wait: Wait): void {
    if (wait === "closing") return this.destroy()
    if (wait === "discarding") return this.end()
    if (wait === "body") return this.exchange!.refused(408, "client_timeout")
    if (!this.engine.headStarted) return this.endIdle()
    this.core.refused("HeadTimeout", 408, "the request head did not arrive in time", this.peer)
    this.engine.abandonHead()
    this.answerAndEnd(408)
  }
}
