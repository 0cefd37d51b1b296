/**
 * One WebSocket session as an application sees it: the events of the `websocket` protocol over what all exchanges share.
 * The handshake waits for `websocket.accept`; then a WebSocketSession carries frames. Also the plain answer that declines.
 *
 * **Source** reference section 1.5, RFC 6455. A clean close by either side is a normal end; the reason of a disconnect
 * event is the peer's text then, and a DisconnectReason after everything else.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Contract from "../../src/app/Exchange.ts"
import type { SendError } from "../../src/app/SendError.ts"
import { isToken } from "../../src/protocol/FieldList.ts"
import type { HeaderList } from "../../src/protocol/ResponseFields.ts"
import { BINARY, isCloseCode, TEXT } from "../../src/protocol/WebSocketFrame.ts"
import type { DisconnectReason } from "../../src/schema/DisconnectReason.ts"
import type {
  WebSocketAccept,
  WebSocketClose,
  WebSocketHttpResponseStart,
  WebSocketKeepAlive,
  WebSocketReceive,
  WebSocketSend,
  WebSocketSendMessage
} from "../../src/schema/Event.ts"
import { ClientExchange, noHeaderList } from "./ClientExchange.ts"
import { negotiate } from "./WebSocketDeflate.ts"
import type { ReadFault } from "./WebSocketReader.ts"
import { type SessionOwner, WebSocketSession } from "./WebSocketSession.ts"

type Mode = "connecting" | "open" | "closed" | "declining" | "declined"

const inWords: Record<Mode, string> = {
  connecting: "the handshake is unanswered",
  open: "the session is open",
  closed: "the session is closed",
  declining: "the handshake is being declined",
  declined: "the answer is complete"
}

/** Messages, and bytes of them, that wait for the application before nothing more is read. */
const holdBackMessages = 32

const connectEvent: WebSocketReceive = Object.freeze({ type: "websocket.connect" })

/** A class for the same reason as the scope of a request, see ServerCore. */
class TextMessage {
  readonly type = "websocket.receive"
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

class BytesMessage {
  readonly type = "websocket.receive"
  readonly bytes: Uint8Array
  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }
}

export class WebSocketExchange extends ClientExchange<Contract.WebSocketExchange>
  implements Contract.WebSocketExchange, SessionOwner
{
  readonly type = "websocket"
  private mode: Mode = "connecting"
  private connectTaken = false
  private readonly offeredExtensions: string
  private session: WebSocketSession | undefined = undefined
  private queue: Array<TextMessage | BytesMessage> = []
  /** Bytes of messages since the queue was last empty. */
  private queuedBytes = 0
  private closeCode = 1006
  private closeReason = ""
  private lastMessageAt = 0

  constructor(
    core: ClientExchange["core"],
    wire: ClientExchange["wire"],
    scope: Contract.WebSocketExchange["scope"],
    startedAt: number,
    offeredExtensions: string
  ) {
    super(core, wire, scope, startedAt)
    this.offeredExtensions = offeredExtensions
  }

  get method(): string {
    return "GET"
  }

  override get hasDeadline(): boolean {
    return this.session === undefined
  }

  get waitsForBody(): boolean {
    return false
  }

  override get bufferedAmount(): number {
    return this.session === undefined ? this.wire.bufferedAmount : this.session.bufferedAmount
  }

  // ---- receiving

  protected poll(): WebSocketReceive | undefined {
    if (!this.connectTaken) {
      this.connectTaken = true
      return connectEvent
    }
    const message = this.queue.shift()
    if (message !== undefined) {
      if (this.queue.length === 0) {
        this.queuedBytes = 0
        this.session!.holdBack(false)
      }
      return message
    }
    // A decline is the application's own answer: no disconnect follows it.
    if (!this.ended || this.mode === "declined") return undefined
    return {
      type: "websocket.disconnect",
      code: this.closeCode,
      reason: this.disconnectReason ?? this.closeReason
    }
  }

  message(data: Buffer, isBinary: boolean): void {
    // What comes behind our Close frame has nobody to read it.
    if (this.mode !== "open" || this.disconnectReason !== undefined) return
    const { writeHighWaterMark, wsIdleTimeoutMillis, wsMaxMessageBytes, wsMaxQueue } = this.core.settings
    if (wsIdleTimeoutMillis > 0) this.lastMessageAt = this.core.time.now()
    const message = isBinary ? new BytesMessage(data) : new TextMessage(data.toString())
    if (this.queue.length === 0 && this.deliver(message)) return
    this.queue.push(message)
    this.queuedBytes += data.length
    if (this.queue.length > wsMaxQueue) this.fail("queue_overflow", 1008, "")
    else if (this.queue.length >= holdBackMessages || this.queuedBytes >= writeHighWaterMark) {
      this.session!.holdBack(true, this.queuedBytes >= wsMaxMessageBytes)
    }
  }

  peerClosed(code: number, reason: string): void {
    if (this.disconnectReason !== undefined) return
    this.mode = "closed"
    this.closeCode = code
    this.closeReason = reason
    this.completed()
    // A send that waits does so for nobody.
    this.resumeSends()
    if (!this.released) this.stopApplication()
  }

  faulted(fault: ReadFault): void {
    this.closeCode = fault.code
    this.disconnect(fault.reason)
  }

  pingUnanswered(): void {
    this.fail("keepalive_timeout", 1011, "keepalive timeout", 1006)
  }

  // ---- sending

  handle(event: WebSocketSend): Effect.Effect<void, SendError> {
    if (this.disconnectReason !== undefined || this.session?.closeReceived === true) return Effect.void
    switch (event?.type) {
      case "websocket.send":
        return this.mode === "open" ? this.sendMessage(event) : this.outOfOrder(event.type, inWords[this.mode])
      case "websocket.accept":
        return this.mode === "connecting" ? this.accept(event) : this.outOfOrder(event.type, inWords[this.mode])
      case "websocket.close":
        return this.close(event)
      case "websocket.keepalive":
        return this.mode === "open" ? this.keepAlive(event) : this.outOfOrder(event.type, inWords[this.mode])
      case "websocket.http.response.start": {
        if (this.mode === "open" || this.mode === "closed") return Effect.void
        if (this.mode !== "connecting") return this.outOfOrder(event.type, inWords[this.mode])
        const started = this.startDecline(event)
        if (this.answer !== "none") this.mode = "declining"
        return started
      }
      case "websocket.http.response.body":
        if (this.mode === "open" || this.mode === "closed") return Effect.void
        if (this.mode !== "declining") return this.outOfOrder(event.type, inWords[this.mode])
        return this.sendBody(event)
      default:
        return this.unknown(event)
    }
  }

  private accept(event: WebSocketAccept): Effect.Effect<void, SendError> {
    const { headers = [], subprotocol } = event
    if (subprotocol !== undefined) {
      if (typeof subprotocol !== "string" || !isToken(subprotocol)) {
        return this.invalid(event.type, "subprotocol", "it is not a token")
      }
      if (!this.scope.subprotocols.includes(subprotocol)) {
        return this.invalid(event.type, "subprotocol", "the client did not offer it")
      }
    }
    if (!Array.isArray(headers)) return this.refuse({ _tag: "InvalidHeader", event: event.type, ...noHeaderList })
    const own = headers.find((header) => isHandshakeField(header?.[0]))
    if (own !== undefined) {
      const problem = "the handshake has its own"
      return this.refuse({ _tag: "InvalidHeader", event: event.type, name: own[0], problem })
    }
    const agreement = negotiate(this.offeredExtensions, this.core.settings)
    const lines: HeaderList = [
      ...headers,
      ...(subprotocol === undefined ? [] : [["sec-websocket-protocol", subprotocol] as const]),
      ...(agreement === undefined ? [] : [["sec-websocket-extensions", agreement.header] as const])
    ]
    const problem = this.wire.readHead(200, lines, false)
    if (problem !== undefined) return this.refuse({ _tag: "InvalidHeader", event: event.type, ...problem })
    this.mode = "open"
    this.answer = "committed"
    this.lastMessageAt = this.core.time.now()
    // Before the upgrade: frames that came with the handshake may end the session in it.
    this.status = this.scope.httpVersion === "2" ? 200 : 101
    this.wire.upgrade((stream) => this.session = new WebSocketSession(this.core, this, stream, agreement?.deflate))
    const { wsIdleTimeoutMillis, wsPingIntervalMillis, wsPingTimeoutMillis } = this.core.settings
    if (wsPingIntervalMillis > 0) this.session!.keepAlive(wsPingIntervalMillis, wsPingTimeoutMillis)
    if (wsIdleTimeoutMillis > 0) this.core.sweepEvery(wsIdleTimeoutMillis / 4)
    // The server was told to stop while the application thought about it.
    if (this.core.stopping) this.shutdown()
    return Effect.void
  }

  private sendMessage(event: WebSocketSendMessage): Effect.Effect<void, SendError> {
    const { bytes, text } = event
    const session = this.session!
    if (text !== undefined && text !== null) {
      if (typeof text !== "string") return this.invalid(event.type, "text", "it is not a string")
      if (bytes !== undefined && bytes !== null) return this.notExactlyOne(event.type)
      const length = Buffer.byteLength(text)
      this.bodyBytes += length
      session.send(TEXT, text, length)
    } else {
      if (bytes === undefined || bytes === null) return this.notExactlyOne(event.type)
      if (!(bytes instanceof Uint8Array)) return this.invalid(event.type, "bytes", "it is not a Uint8Array")
      this.bodyBytes += bytes.length
      session.send(BINARY, bytes, bytes.length)
    }
    if (this.core.settings.wsIdleTimeoutMillis > 0) this.lastMessageAt = this.core.time.now()
    return this.afterWrite()
  }

  private notExactlyOne(event: string): Effect.Effect<never, SendError> {
    return this.invalid(event, "bytes", "exactly one of bytes and text must be present")
  }

  private close(event: WebSocketClose): Effect.Effect<void, SendError> {
    const { code = 1000, reason = "" } = event
    if (this.mode !== "open" && this.mode !== "connecting") return this.outOfOrder(event.type, inWords[this.mode])
    if (!isCloseCode(code)) return this.invalid(event.type, "code", `${String(code)} is not a code that may be sent`)
    if (typeof reason !== "string" || Buffer.byteLength(reason) > 123) {
      return this.invalid(event.type, "reason", "it is not a string of at most 123 bytes")
    }
    if (this.mode === "connecting") return this.decline()
    this.mode = "closed"
    this.session!.close(code, reason)
    return this.afterWrite()
  }

  private startDecline(event: WebSocketHttpResponseStart): Effect.Effect<void, SendError> {
    const { headers, status, type } = event
    // RFC 8441 section 5.1: there, any of these would accept the handshake.
    if (this.scope.httpVersion === "2" && status >= 200 && status <= 299) {
      return this.invalid(type, "status", `${status} does not decline a handshake of HTTP/2`)
    }
    // What the client may have sent behind its handshake are frames, and must not be read as a request.
    return this.start({
      type,
      status,
      headers: Array.isArray(headers ?? []) ? [...headers ?? [], close] : headers as never
    })
  }

  /** RFC 6455 has no close before the handshake: it is answered like any request that is not allowed. */
  private decline(): Effect.Effect<void, SendError> {
    const body = this.core.problemBody(403)
    this.mode = "declining"
    const started = this.start({
      type: "websocket.close",
      status: 403,
      headers: [["content-type", "text/plain; charset=utf-8"], close]
    })
    return Effect.andThen(started, this.sendBody({ type: "websocket.close", body }))
  }

  private keepAlive(event: WebSocketKeepAlive): Effect.Effect<void, SendError> {
    const { interval, timeout = 0 } = event
    if (!isSeconds(interval)) return this.invalid(event.type, "interval", notSeconds)
    if (!isSeconds(timeout)) return this.invalid(event.type, "timeout", notSeconds)
    this.session!.keepAlive(interval * 1000, timeout * 1000)
    return Effect.void
  }

  /** The answer that declines is complete. A session has no such end: its frames end it. */
  protected override finish(): void {
    this.mode = "declined"
    super.finish()
  }

  /** A return closes an open session with 1000, a failure with 1011. Without a handshake it is a 500. */
  protected override finishUnfinished(exit: Exit.Exit<void, unknown>): boolean {
    // The closing handshake goes on without the application.
    if (this.mode === "closed") return true
    if (this.mode !== "open") return false
    if (Exit.isFailure(exit)) {
      this.core.reportUnfinished(this, exit, true)
      this.fail("server_error", 1011, "")
    } else {
      this.mode = "closed"
      this.session!.close(1000, "")
    }
    return true
  }

  // ---- the end

  /** Ends an open session for a reason of ours: the peer gets a Close frame and some time to answer it. */
  private fail(reason: DisconnectReason, code: number, text: string, reportedCode = code): void {
    if (this.ended) return
    this.closeCode = reportedCode
    this.session?.close(code, text)
    this.disconnect(reason)
  }

  /** A session ends its stream by itself. */
  protected override cutWire(reason: DisconnectReason): void {
    if (this.session === undefined) super.cutWire(reason)
  }

  override shutdown(): void {
    super.shutdown()
    if (this.mode === "open") this.fail("server_shutdown", this.core.drain.isRestart ? 1012 : 1001, "")
  }

  /** A connection that breaks after our own Close frame ends the session like any other answer to it. */
  override disconnect(reason: DisconnectReason): void {
    const isBreak = reason === "client_closed" || reason === "read_error" || reason === "write_error"
    if (this.mode === "closed" && isBreak && !this.ended) this.completed()
    else super.disconnect(reason)
  }

  override sweep(now: number): void {
    const { wsIdleTimeoutMillis } = this.core.settings
    if (this.mode === "open" && wsIdleTimeoutMillis > 0 && now - this.lastMessageAt >= wsIdleTimeoutMillis) {
      this.fail("idle_timeout", 1001, "idle timeout")
    }
  }
}

const close = ["connection", "close"] as const

const isSeconds = (value: unknown): value is number => typeof value === "number" && value >= 0 && value < Infinity

const notSeconds = "it is not a number of seconds of 0 or more"

const handshakeFields = new Set([
  "connection",
  "sec-websocket-accept",
  "sec-websocket-extensions",
  "sec-websocket-protocol",
  "upgrade"
])

const isHandshakeField = (name: unknown): boolean => typeof name === "string" && handshakeFields.has(name.toLowerCase())
