/**
 * One HTTP exchange: the contract's rules of order, length, disconnect, completion and backpressure, above any wire.
 * Owns the exchange's facts and the fiber that runs the application. Never touches a socket.
 *
 * The per-request path allocates this object, the scope and the `send` function, and nothing else: the live handles,
 * `receive` and the lists of callbacks are made on first use.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Tracer from "effect/Tracer"
import type * as Contract from "../../src/app/Exchange.ts"
import { SendError, type SendErrorReason } from "../../src/app/SendError.ts"
import type { AccessLogEntry } from "../../src/schema/AccessLogEntry.ts"
import type { DisconnectReason } from "../../src/schema/DisconnectReason.ts"
import type { HttpReceive, HttpResponseBody, HttpResponseStart, HttpSend } from "../../src/schema/Event.ts"
import type { HttpScope } from "../../src/schema/Scope.ts"
import { sendFile, sendStream } from "./BodySource.ts"
import { ConnectionHandle, TransportHandle } from "./ExchangeHandles.ts"
import type { ServerCore } from "./ServerCore.ts"
import { traceId } from "./Tracing.ts"
import type { Piece, Wire } from "./Wire.ts"

/** Where the answer stands. `started` is accepted and not yet written: it can still become the server's own 500. */
type Answer = "none" | "started" | "committed" | "trailers" | "complete"

const inWords: Record<Answer, string> = {
  none: "no answer has been started",
  started: "the answer has been started",
  committed: "the body is being sent",
  trailers: "the trailers are due",
  complete: "the answer is complete"
}

const disconnectEvent: HttpReceive = Object.freeze({ type: "http.disconnect" })
const noHeaders: ReadonlyArray<readonly [string, string]> = []
const noHeaderList = { name: "headers", problem: "headers must be an array of [name, value]" }

/** A `send` to come. One small object, where `Effect.suspend` of a closure makes three: 80 bytes less for each event. */
const SendBase = function() {} as unknown as new() => Effect.Effect<void, SendError>
SendBase.prototype = Effectable.Prototype<Send>({
  label: "Send",
  evaluate() {
    return this.exchange.handle(this.event)
  }
})

class Send extends SendBase {
  readonly exchange: HttpExchange
  readonly event: HttpSend
  constructor(exchange: HttpExchange, event: HttpSend) {
    super()
    this.exchange = exchange
    this.event = event
  }
}

export class HttpExchange implements Contract.HttpExchange, AccessLogEntry {
  readonly type = "http"
  readonly core: ServerCore
  readonly wire: Wire
  readonly scope: HttpScope
  readonly startedAt: number

  status = 0
  bodyBytes = 0
  durationMillis = 0
  answer: Answer = "none"
  disconnectReason: DisconnectReason | undefined = undefined
  /** The exchange's own span, when a tracer is installed. */
  span: Tracer.Span | undefined = undefined
  /** True once the wire has let go of this exchange. */
  released = false

  private fiber: Fiber.Fiber<void, unknown> | undefined = undefined
  private fiberDone = false
  private bodyRead = false
  private hasTrailers = false
  private sendFunction: ((event: HttpSend) => Effect.Effect<void, SendError>) | undefined = undefined
  private receiveEffect: Effect.Effect<HttpReceive> | undefined = undefined
  private connectionHandle: ConnectionHandle | undefined = undefined
  private transportHandle: TransportHandle | undefined = undefined
  private receivers: Array<(event: Effect.Effect<HttpReceive>) => void> | undefined = undefined
  private blockedSends: Array<(go: Effect.Effect<void>) => void> | undefined = undefined
  private disconnectedDeferred: Deferred.Deferred<DisconnectReason> | undefined = undefined
  private onDisconnectCallbacks: Array<(reason: DisconnectReason) => void> | undefined = undefined
  private onCompleteCallbacks: Array<() => void> | undefined = undefined
  private id: string | undefined = undefined

  constructor(core: ServerCore, wire: Wire, scope: HttpScope, startedAt: number) {
    this.core = core
    this.wire = wire
    this.scope = scope
    this.startedAt = startedAt
  }

  // ---- what the application sees

  get send(): (event: HttpSend) => Effect.Effect<void, SendError> {
    return this.sendFunction ??= (event) => new Send(this, event)
  }

  get receive(): Effect.Effect<HttpReceive> {
    return this.receiveEffect ??= Effect.suspend(() => this.take())
  }

  get connection(): Contract.ConnectionState {
    return this.connectionHandle ??= new ConnectionHandle(this)
  }

  get transport(): Contract.TransportState {
    return this.transportHandle ??= new TransportHandle(this)
  }

  get requestId(): string {
    return this.id ??= this.core.nextRequestId()
  }

  /** True once the head of the answer is on the wire and cannot be changed any more. */
  get isCommitted(): boolean {
    return this.answer !== "none" && this.answer !== "started"
  }

  get ended(): boolean {
    return this.answer === "complete" || this.disconnectReason !== undefined
  }

  // ---- running the application

  /** Starts the application. It may be over when this returns. */
  run(): void {
    const fiber = this.core.fork(this)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.settle(exit)
    this.fiber = fiber
    if (this.disconnectReason !== undefined) fiber.interruptUnsafe(this.core.fiberId)
    fiber.addObserver((exit) => this.settle(exit))
  }

  /** The application is over: an answer that is not complete by now is completed or cut by the server. */
  private settle(exit: Exit.Exit<void, unknown>): void {
    this.fiberDone = true
    this.fiber = undefined
    if (this.disconnectReason === undefined && this.answer !== "complete") {
      this.core.reportUnfinished(this, exit, this.answer !== "none" && this.answer !== "started")
      this.refused(500, "server_error")
    } else if (Exit.isFailure(exit) && this.disconnectReason === undefined && !Cause.hasInterruptsOnly(exit.cause)) {
      this.core.reportLateFailure(this, exit.cause)
    }
    this.release()
  }

  private release(): void {
    if (this.released || !this.fiberDone || !this.ended) return
    this.released = true
    this.wire.exchangeDone()
  }

  /**
   * Ends the exchange with an answer of the server's own if the application's is not on the wire yet, and abnormally in
   * any case. The connection closes.
   */
  refused(status: number, reason: DisconnectReason): void {
    if (this.ended) return
    if (this.answer === "none" || this.answer === "started") {
      const body = this.core.problemBody(status)
      this.status = status
      this.wire.readHead(status, [["content-type", "text/plain; charset=utf-8"], ["connection", "close"]], false)
      this.wire.startResponse(body.length)
      this.writePiece(body, body.length)
      this.wire.endResponse()
    }
    this.disconnect(reason)
  }

  // ---- receiving

  private take(): Effect.Effect<HttpReceive> {
    if (this.ended) return Effect.succeed(disconnectEvent)
    if (!this.bodyRead) {
      const event = this.wire.pullBody()
      if (this.ended) return Effect.succeed(disconnectEvent)
      if (event !== undefined) {
        if (!event.more) this.bodyRead = true
        return Effect.succeed(event)
      }
    }
    return Effect.callback((resume) => {
      const receivers = this.receivers ??= []
      receivers.push(resume)
      return Effect.sync(() => {
        const index = receivers.indexOf(resume)
        if (index !== -1) receivers.splice(index, 1)
      })
    })
  }

  /** True while the application waits for a part of the body that has not arrived. */
  get waitsForBody(): boolean {
    return !this.bodyRead && this.receivers !== undefined && this.receivers.length > 0
  }

  /** Body bytes have arrived: a waiting `receive` goes on. */
  wake(): void {
    while (this.waitsForBody) {
      const event = this.wire.pullBody()
      if (event === undefined || this.ended) return
      if (!event.more) this.bodyRead = true
      this.receivers!.shift()!(Effect.succeed(event))
    }
  }

  // ---- sending

  private refuse(reason: SendErrorReason): Effect.Effect<never, SendError> {
    return Effect.fail(new SendError({ protocol: "http", reason }))
  }

  private outOfOrder(event: string): Effect.Effect<never, SendError> {
    return this.refuse({ _tag: "EventOutOfOrder", event, state: inWords[this.answer] })
  }

  private notABoolean(event: string, field: string): Effect.Effect<never, SendError> {
    return this.refuse({ _tag: "InvalidField", event, field, problem: "it is not a boolean" })
  }

  /** Does what one event asks for, now. */
  handle(event: HttpSend): Effect.Effect<void, SendError> {
    if (this.disconnectReason !== undefined) return Effect.void
    switch (event?.type) {
      case "http.response.start":
        return this.start(event)
      case "http.response.body":
        if (this.answer !== "started" && this.answer !== "committed") return this.outOfOrder(event.type)
        return event.file === undefined && event.stream === undefined ? this.sendBody(event) : this.sendSource(event)
      case "http.response.trailers": {
        if (this.answer !== "trailers") return this.outOfOrder(event.type)
        const { headers = noHeaders } = event
        const problem = Array.isArray(headers) ? this.wire.readTrailers(headers) : noHeaderList
        if (problem !== undefined) return this.refuse({ _tag: "InvalidHeader", event: event.type, ...problem })
        this.finish()
        return this.afterWrite()
      }
      case "http.fullflush":
        if (!this.core.settings.fullFlush) {
          return this.refuse({ _tag: "ExtensionUnavailable", event: event.type, extension: "fullflush" })
        }
        if (this.answer === "complete") return this.outOfOrder(event.type)
        if (this.answer === "started") this.commit(-1)
        this.wire.flush()
        return this.afterWrite()
      case "http.response.early_hint":
        return this.sendEarlyHint(event.links)
      default:
        return this.refuse({
          _tag: "UnknownEvent",
          event: String((event as { readonly type?: unknown } | undefined)?.type)
        })
    }
  }

  private start(event: HttpResponseStart): Effect.Effect<void, SendError> {
    if (this.answer !== "none") return this.outOfOrder(event.type)
    const { headers = noHeaders, status, trailers = false } = event
    if (!Number.isInteger(status) || status < 200 || status > 999) {
      return this.refuse({
        _tag: "InvalidField",
        event: event.type,
        field: "status",
        problem: `${String(status)} is not a final status from 200 to 999`
      })
    }
    if (trailers !== true && trailers !== false) return this.notABoolean(event.type, "trailers")
    const problem = Array.isArray(headers)
      ? this.wire.readHead(status, headers, trailers)
      : noHeaderList
    if (problem !== undefined) return this.refuse({ _tag: "InvalidHeader", event: event.type, ...problem })
    this.status = status
    this.hasTrailers = trailers
    this.answer = "started"
    return Effect.void
  }

  private sendBody(event: HttpResponseBody): Effect.Effect<void, SendError> {
    const { more = false } = event
    if (more !== true && more !== false) return this.notABoolean(event.type, "more")
    let piece: Piece = event.body ?? ""
    let length: number
    if (typeof piece === "string") {
      length = Buffer.byteLength(piece)
      // Equal lengths mean ASCII, which may be written as it is; anything else becomes UTF-8 bytes.
      if (length !== piece.length) piece = Buffer.from(piece)
    } else if (piece instanceof Uint8Array) {
      length = piece.length
    } else {
      return this.refuse({
        _tag: "InvalidField",
        event: event.type,
        field: "body",
        problem: "it is not a string or a Uint8Array"
      })
    }
    const problem = this.wrongLength(length, !more)
    if (problem !== undefined) return problem
    if (this.answer === "started") this.commit(more ? -1 : length)
    if (length > 0) this.writePiece(piece, length)
    if (!more) this.endBody()
    else if (length === 0) this.wire.flush()
    return this.afterWrite()
  }

  private sendSource(event: HttpResponseBody): Effect.Effect<void, SendError> {
    if ((event.file !== undefined && event.stream !== undefined) || event.body !== undefined) {
      return this.refuse({
        _tag: "InvalidField",
        event: event.type,
        field: "body",
        problem: "exactly one of body, file and stream may be given"
      })
    }
    return event.file !== undefined ? sendFile(this, event) : sendStream(this, event)
  }

  private sendEarlyHint(links: ReadonlyArray<string>): Effect.Effect<void, SendError> {
    const type = "http.response.early_hint"
    if (!this.core.settings.earlyHints) {
      return this.refuse({ _tag: "ExtensionUnavailable", event: type, extension: type })
    }
    if (this.answer !== "none") return this.outOfOrder(type)
    if (!Array.isArray(links)) {
      return this.refuse({ _tag: "InvalidField", event: type, field: "links", problem: "it is not an array" })
    }
    const problem = this.wire.informational(103, links.map((link) => ["link", link] as const))
    if (problem !== undefined) return this.refuse({ _tag: "InvalidHeader", event: type, ...problem })
    this.wire.flush()
    return this.afterWrite()
  }

  // ---- writing, shared with the body sources

  /**
   * Refuses what would make the body longer, or its end shorter, than declared. Nothing of it is written. An answer
   * whose head is out already can never be right any more, so the exchange ends.
   */
  wrongLength(length: number, last: boolean): Effect.Effect<never, SendError> | undefined {
    const error = this.lengthProblem(length, last)
    if (error === undefined) return undefined
    if (this.answer === "committed") this.breakOff(Cause.fail(error))
    return Effect.fail(error)
  }

  /** Why `length` more bytes, the `last` ones or not, do not fit what was declared. */
  lengthProblem(length: number, last: boolean): SendError | undefined {
    const declaredBytes = this.wire.declaredLength
    const sentBytes = this.bodyBytes + length
    if (declaredBytes === -1 || this.wire.suppressesBody) return undefined
    if (sentBytes === declaredBytes || (sentBytes < declaredBytes && !last)) return undefined
    const _tag = sentBytes > declaredBytes ? "BodyTooLong" : "BodyTooShort"
    return new SendError({ protocol: "http", reason: { _tag, declaredBytes, sentBytes } })
  }

  /**
   * Ends the exchange because what is on the wire can never become a whole answer. The application gets its failed
   * `send` first and is interrupted then, so it can say what it knows.
   */
  breakOff(cause: Cause.Cause<unknown>): void {
    const fiber = this.fiber
    this.fiber = undefined
    this.core.reportUnfinished(this, Exit.failCause(cause), true)
    this.disconnect("server_error")
    this.fiber = fiber
    if (fiber !== undefined) queueMicrotask(() => fiber.interruptUnsafe(this.core.fiberId))
  }

  /** Writes the head; from here on the answer cannot be changed any more. */
  commit(bodyLength: number): void {
    this.wire.startResponse(bodyLength)
    this.answer = "committed"
  }

  writePiece(piece: Piece, length: number): void {
    if (this.wire.suppressesBody) return
    this.bodyBytes += length
    this.wire.writePiece(piece)
  }

  /** The body is complete; the answer too, unless trailers were promised. */
  endBody(): void {
    if (this.hasTrailers) this.answer = "trailers"
    else this.finish()
  }

  /** Succeeds at once, or, when too much is buffered, once it has drained. */
  afterWrite(): Effect.Effect<void> {
    if (this.wire.bufferedAmount < this.core.settings.writeHighWaterMark) return Effect.void
    this.transportHandle?.rose()
    return Effect.callback((resume) => {
      if (this.disconnectReason !== undefined) return resume(Effect.void)
      const blocked = this.blockedSends ??= []
      blocked.push(resume)
      return Effect.sync(() => {
        const index = blocked.indexOf(resume)
        if (index !== -1) blocked.splice(index, 1)
      })
    })
  }

  /** The wire's buffer has fallen below the low watermark. */
  drained(): void {
    this.transportHandle?.fell()
    this.resumeSends()
  }

  private resumeSends(): void {
    const blocked = this.blockedSends
    this.blockedSends = undefined
    if (blocked !== undefined) { for (const resume of blocked) resume(Effect.void) }
  }

  private finish(): void {
    this.wire.endResponse()
    this.answer = "complete"
    this.core.record(this)
    const callbacks = this.onCompleteCallbacks
    this.onCompleteCallbacks = undefined
    if (callbacks !== undefined) { for (const callback of callbacks) this.call(callback) }
    this.resumeReceivers()
    this.release()
  }

  // ---- the end

  /**
   * Ends the exchange abnormally. The order is the contract's: flag and reason, deferred, callbacks, event, interruption.
   * A no-op when it has ended.
   */
  disconnect(reason: DisconnectReason): void {
    if (this.ended) return
    this.disconnectReason = reason
    this.core.record(this)
    // Before anything of the application's runs: an application that ends now must find the wire cut, not open.
    this.wire.abort(reason)
    if (this.disconnectedDeferred !== undefined) {
      Deferred.doneUnsafe(this.disconnectedDeferred, Effect.succeed(reason))
    }
    const callbacks = this.onDisconnectCallbacks
    this.onDisconnectCallbacks = undefined
    if (callbacks !== undefined) { for (const callback of callbacks) this.call(() => callback(reason)) }
    this.resumeReceivers()
    // First the interruption: what stands behind a send that waited must not run as if it had been sent.
    this.interrupt()
    this.resumeSends()
    this.release()
  }

  /** Stops the application, whatever it is doing. */
  interrupt(): void {
    this.fiber?.interruptUnsafe(this.core.fiberId)
  }

  /** The server has waited long enough: ends the exchange, or what the application still does after its answer. */
  cut(): void {
    if (this.answer === "complete") this.interrupt()
    else this.disconnect("server_shutdown")
  }

  /** The client has ended its side: what the application still does after a complete answer, it does for nobody. */
  peerEnded(): void {
    this.disconnect("client_closed")
    if (this.answer === "complete" && !this.released) this.core.abandon(this)
  }

  /** The connection has closed: no send waits for it any longer. */
  connectionClosed(): void {
    this.peerEnded()
    this.resumeSends()
  }

  private resumeReceivers(): void {
    const receivers = this.receivers
    this.receivers = undefined
    if (receivers !== undefined) { for (const resume of receivers) resume(Effect.succeed(disconnectEvent)) }
  }

  /** Runs a callback of the application; one that throws is logged and stops nothing. */
  call(callback: () => void): void {
    try {
      callback()
    } catch (error) {
      this.core.reportCallbackFailure(this, error)
    }
  }

  // ---- behind the access log

  get client(): string {
    return this.scope.client === undefined ? "unix" : this.scope.client[0]
  }

  get startedAtMillis(): number {
    return this.core.time.toWall(this.startedAt)
  }

  get traceId(): string | undefined {
    return traceId(this)
  }

  get problem(): string | undefined {
    return this.disconnectReason
  }

  // ---- behind the connection handle

  get disconnected(): Effect.Effect<DisconnectReason> {
    return Effect.suspend(() => {
      if (this.disconnectReason !== undefined) return Effect.succeed(this.disconnectReason)
      if (this.answer === "complete") return Effect.never
      return Deferred.await(this.disconnectedDeferred ??= Deferred.makeUnsafe())
    })
  }

  onDisconnect(callback: (reason: DisconnectReason) => void): void {
    const reason = this.disconnectReason
    if (reason !== undefined) this.call(() => callback(reason))
    else if (this.answer !== "complete") (this.onDisconnectCallbacks ??= []).push(callback)
  }

  onComplete(callback: () => void): void {
    if (this.answer === "complete") this.call(callback)
    else if (this.disconnectReason === undefined) (this.onCompleteCallbacks ??= []).push(callback)
  }
}
