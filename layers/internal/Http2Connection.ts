/**
 * One HTTP/2 connection: makes an exchange for each stream, and watches over what the session as a whole does. Owns the
 * session from its preface to its close. A stream's bytes are Http2Stream's business, frames are nghttp2's.
 */
import type * as Http2 from "node:http2"
import { constants } from "node:http2"
import type { Duplex } from "node:stream"
import { readHead } from "../../src/protocol/Http2Head.ts"
import type { DisconnectReason } from "../../src/schema/DisconnectReason.ts"
import { Http2Stream } from "./Http2Stream.ts"
import { type ConnectionExtensions, extensionsFor } from "./makeExchange.ts"
import type { Peer } from "./Peer.ts"
import type { Connection, ServerCore } from "./ServerCore.ts"

/**
 * Streams a client may reset at once, and in a second after that. Each is work that nobody waits for (RFC 9113 section
 * 10.5). Precedent: nghttp2 1000 and 33, which counts the same frames and would end the session as INTERNAL_ERROR.
 */
const resetBurst = 1000
const resetsPerSecond = 33
/** PING and SETTINGS frames that a client may send at once, and in a second after that. nghttp2 bounds their answers. */
const controlBurst = 1000
const controlPerSecond = 1000

/** How long a session may take to say goodbye before its socket is cut. */
const closingMillis = 2_000
/** Turns of the event loop after which what was written has left a socket that is free. */
const closingTurns = 4

const ignore = (): void => {}

/** A number of events that may happen at once, and comes back with time. */
class Budget {
  private readonly burst: number
  private readonly perSecond: number
  private left: number
  private since = 0

  constructor(burst: number, perSecond: number) {
    this.burst = burst
    this.perSecond = perSecond
    this.left = burst
  }

  /** One more event. False when it is one too many. */
  spend(now: number): boolean {
    this.left = Math.min(this.burst, this.left + (now - this.since) / 1000 * this.perSecond) - 1
    this.since = now
    return this.left > 0
  }
}

export class Http2Connection implements Connection {
  readonly core: ServerCore
  readonly peer: Peer
  readonly session: Http2.ServerHttp2Session
  readonly extensions: ConnectionExtensions
  openedAt = 0
  readonly streams = new Set<Http2Stream>()
  /** Counts what moves on the connection, whatever it is. */
  activity = 0

  private readonly socket: Duplex
  private readonly destroySession: (error?: Error | number, code?: number) => void
  private readonly resets = new Budget(resetBurst, resetsPerSecond)
  private readonly control = new Budget(controlBurst, controlPerSecond)
  requests = 0
  private activityAtPing = -1
  private idleSince = -1
  private isEnding = false
  private isClosed = false

  constructor(core: ServerCore, session: Http2.ServerHttp2Session, socket: Duplex, peer: Peer) {
    this.core = core
    this.session = session
    this.socket = socket
    this.peer = peer
    this.extensions = extensionsFor(core.extensions, peer)
    this.destroySession = this.takeOverDestroy()
    // Node's own listener tells the server, where nobody listens.
    session.removeAllListeners("stream")
    session.on(
      "stream",
      (stream, headers, flags, raw: unknown) =>
        this.opened(stream, headers[":method"] === "HEAD", flags, raw as ReadonlyArray<string>)
    )
    session.on("ping", () => this.countPing())
    session.on("remoteSettings", () => this.countControl())
    session.on("error", ignore)
    session.on("frameError", ignore)
    session.on("close", () => this.closed())
    socket.on("error", ignore)
    // The listener leaves sockets half open, and nghttp2 does not: a client that has ended hears nothing any more.
    socket.on("end", () => this.destroy())
    // A session that was destroyed while a write was under way does not always say that it has closed.
    socket.on("close", () => this.closed())
  }

  // ---- streams

  private opened(
    stream: Http2.ServerHttp2Stream,
    isHead: boolean,
    flags: number,
    fields: ReadonlyArray<string>
  ): void {
    const hasBody = (flags & constants.NGHTTP2_FLAG_END_STREAM) === 0
    this.requests++
    this.activity++
    this.idleSince = -1
    const wire = new Http2Stream(this, stream, isHead, hasBody)
    if (this.isEnding) return stream.close(constants.NGHTTP2_REFUSED_STREAM)
    // Reset before anybody could hear of it: nobody does.
    if (stream.destroyed || stream.closed) return this.countReset()
    this.streams.add(wire)
    const head = readHead(fields, this.core.limits, hasBody)
    if (head._tag === "Malformed") wire.refuse(head)
    else wire.begin(head)
  }

  streamClosed(wire: Http2Stream): void {
    if (!this.streams.delete(wire)) return
    this.activity++
    this.idleSince = -1
    if (wire.wasReset) this.countReset()
  }

  // ---- what makes work and carries no request

  private countReset(): void {
    if (!this.resets.spend(this.core.time.now())) this.end("ResetFlood", constants.NGHTTP2_ENHANCE_YOUR_CALM)
  }

  private countControl(): void {
    if (!this.control.spend(this.core.time.now())) this.end("ControlFlood", constants.NGHTTP2_ENHANCE_YOUR_CALM)
  }

  /** Clients of gRPC measure the connection with a PING behind every piece of data; only others count. */
  private countPing(): void {
    if (this.activity === this.activityAtPing) return this.countControl()
    this.activityAtPing = this.activity
  }

  // ---- the end

  /**
   * Node ends a session through its `destroy`, when nghttp2, the peer or the socket reports an error. Done here, because
   * exchanges must hear the reason before their streams close, and to answer with the right code: Node 20 says
   * INTERNAL_ERROR to every fault of the peer, and is too early for what nghttp2 is about to say.
   */
  private takeOverDestroy(): (error?: Error | number, code?: number) => void {
    const { session } = this
    const destroy = session.destroy.bind(session) as (error?: Error | number, code?: number) => void
    session.destroy = (error?: Error, code?: number): void => {
      if (!(error instanceof Error)) return destroy(error, code)
      if (session.destroyed) return
      const fault = faultOf(error)
      if (fault.goesOn) return this.endSoon(fault.reason, fault.code, error)
      if (fault.reason === "protocol_error") session.goaway(fault.code)
      this.disconnectAll(fault.reason)
      destroy(error, code ?? fault.code)
    }
    return destroy
  }

  /** Sends away a client that makes work without asking for anything. */
  private end(kind: string, code: number): void {
    if (this.isEnding || this.session.destroyed) return
    this.core.metrics.refuse(kind)
    // First of all that is said, also by nghttp2, which counts as well.
    this.session.goaway(code)
    this.endSoon("protocol_error", code, code)
  }

  /**
   * Ends the session some turns of the event loop later: nghttp2 may be in the middle of its bytes, and what there is to
   * say must leave before the end.
   */
  private endSoon(reason: DisconnectReason, code: number, error: Error | number): void {
    if (this.isEnding) return
    this.isEnding = true
    let turns = closingTurns
    const turn = (): void => {
      if (this.session.destroyed) return
      if (turns === closingTurns) {
        this.session.goaway(code)
        this.disconnectAll(reason)
      }
      if (--turns === 0) this.destroySession(error, code)
      else setImmediate(turn)
    }
    setImmediate(turn)
  }

  private disconnectAll(reason: DisconnectReason): void {
    for (const stream of this.streams) stream.connectionFailed(reason)
  }

  private closed(): void {
    if (this.isClosed) return
    this.isClosed = true
    for (const stream of this.streams) stream.closed()
    this.core.connectionClosed(this)
  }

  /**
   * No new streams (RFC 9113 section 6.8); the session ends with the last of those that are open. The GOAWAY names the last
   * stream at once: Node cannot announce it first, because nghttp2 ignores every stream behind the first GOAWAY. Those the
   * client knows to be untouched. SETTINGS_MAX_CONCURRENT_STREAMS of 0 would announce it too, but nghttp2 then ends the
   * whole session for one stream that crosses the acknowledgement, and those that are open with it.
   */
  private close(): void {
    if (this.session.destroyed || this.session.closed) return
    this.idleSince = -1
    this.session.close()
  }

  refuseConnection(): void {
    this.core.refused("TooManyConnections", 503, "more connections than the limit", this.peer)
    this.isEnding = true
    this.destroySession(constants.NGHTTP2_ENHANCE_YOUR_CALM)
  }

  closeIdle(): boolean {
    const isIdle = this.streams.size === 0 && this.requests > 0
    if (isIdle) this.close()
    return isIdle
  }

  stop(): boolean {
    const isBusy = this.streams.size > 0
    for (const stream of this.streams) stream.stop()
    if (this.core.drain.closesIdle) this.close()
    return isBusy
  }

  endWaiting(): void {
    this.close()
  }

  cut(): void {
    for (const stream of this.streams) stream.cut()
    if (this.streams.size === 0) this.destroy()
  }

  destroy(): void {
    this.session.destroy()
    this.socket.destroy()
  }

  // ---- time

  sweep(now: number): void {
    for (const stream of this.streams) stream.sweep(now)
    if (isOver(this.session)) {
      this.disconnectAll("protocol_error")
      return this.session.destroy()
    }
    if (this.streams.size > 0) return
    if (this.idleSince === -1) {
      this.idleSince = now
      return
    }
    const idle = now - this.idleSince
    if (this.session.closed || this.session.destroyed) {
      if (idle >= closingMillis) this.destroy()
      return
    }
    const { headerTimeoutMillis, keepAliveTimeoutMillis } = this.core.settings
    const timeout = this.requests === 0 ? headerTimeoutMillis : keepAliveTimeoutMillis
    if (timeout > 0 && idle >= timeout) this.close()
  }
}

/** Errors of nghttp2 that it reports and survives (ERR_PROTO, ERR_STREAM_CLOSED, ERR_FLOW_CONTROL), as a peer knows them. */
const survived: ReadonlyMap<number, number> = new Map([
  [-505, constants.NGHTTP2_PROTOCOL_ERROR],
  [-510, constants.NGHTTP2_STREAM_CLOSED],
  [-524, constants.NGHTTP2_FLOW_CONTROL_ERROR]
])
/** The preface is not that of HTTP/2 (ERR_BAD_CLIENT_MAGIC). */
const badMagic = -903

/** What a session's error means for its exchanges and for the peer. */
const faultOf = (error: NodeJS.ErrnoException): {
  readonly reason: DisconnectReason
  readonly code: number
  /** True when nghttp2 goes on: it says GOAWAY itself, or has only reset a stream. */
  readonly goesOn: boolean
} => {
  const { code, errno = 0, syscall } = error
  // The client's own GOAWAY.
  if (code === "ERR_HTTP2_SESSION_ERROR") return { reason: "client_closed", code: 0, goesOn: false }
  if (code?.startsWith("ERR_HTTP2")) {
    const survivedAs = survived.get(errno)
    if (survivedAs !== undefined) return { reason: "protocol_error", code: survivedAs, goesOn: true }
    // What remains are limits: frames that carry nothing, streams that are refused, answers that are not fetched.
    const fatal = errno === badMagic ? constants.NGHTTP2_PROTOCOL_ERROR : constants.NGHTTP2_ENHANCE_YOUR_CALM
    return { reason: "protocol_error", code: fatal, goesOn: false }
  }
  const isClient = code === "ECONNRESET" || code === "EPIPE"
  const reason = isClient ? "client_closed" : syscall === "write" ? "write_error" : "read_error"
  return { reason, code: constants.NGHTTP2_INTERNAL_ERROR, goesOn: false }
}

/** Where a session keeps its handle. The same for all of them. */
let handleKey: symbol | undefined

/**
 * True when nghttp2 has given a session up for a fault of the peer: it neither reads nor writes. Node 20 does not always
 * tell, and sees the peer's own end no more. What knows it is the session's handle, which is not public; where it is not
 * found, timeouts end the session.
 */
const isOver = (session: Http2.Http2Session): boolean => {
  if (session.destroyed || session.closed) return false
  handleKey ??= Object.getOwnPropertySymbols(session).find(({ description }) => description === "kHandle")
  if (handleKey === undefined) return false
  const handle: { readonly hasPendingData?: () => boolean } | undefined = Reflect.get(session, handleKey)
  return handle?.hasPendingData?.() === false
}
