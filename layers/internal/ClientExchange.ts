/**
 * What every exchange with a client has in common, above any wire: the facts, the fiber that runs the application, the
 * answer with its rules of order and length, disconnect, completion and backpressure. Never touches a socket.
 *
 * The protocols differ in the events they know (HttpExchange, SseExchange, WebSocketExchange); they share how an answer
 * is started, sent in parts and ended, because each of them can give a plain HTTP answer. The per-request path allocates
 * the exchange, the scope and the `send` function, and nothing else: handles, `receive` and lists are made on first use.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Tracer from "effect/Tracer"
import type * as Contract from "../../src/app/Exchange.ts"
import { SendError, type SendErrorReason } from "../../src/app/SendError.ts"
import type { HeaderList } from "../../src/protocol/ResponseFields.ts"
import type { AccessLogEntry } from "../../src/schema/AccessLogEntry.ts"
import { type DisconnectReason, isOfServer } from "../../src/schema/DisconnectReason.ts"
import { ConnectionHandle, TransportHandle } from "./ExchangeHandles.ts"
import type { ServerCore } from "./ServerCore.ts"
import { traceId } from "./Tracing.ts"
import type { Piece, Wire } from "./Wire.ts"

/** Where the answer stands. `started` is accepted and not yet written: it can still become the server's own 500. */
export type Answer = "none" | "started" | "committed" | "trailers" | "complete"

const inWords: Record<Answer, string> = {
  none: "no answer has been started",
  started: "the answer has been started",
  committed: "the body is being sent",
  trailers: "the trailers are due",
  complete: "the answer is complete"
}

const noHeaders: HeaderList = []
export const noHeaderList = { name: "headers", problem: "headers must be an array of [name, value]" }

/** A `send` to come. One small object, where `Effect.suspend` of a closure makes three: 80 bytes less for each event. */
const SendBase = function() {} as unknown as new() => Effect.Effect<void, SendError>
SendBase.prototype = Effectable.Prototype<Send>({
  label: "Send",
  evaluate() {
    return this.exchange.handle(this.event)
  }
})

class Send extends SendBase {
  readonly exchange: { handle(event: unknown): Effect.Effect<void, SendError> }
  readonly event: unknown
  constructor(exchange: Send["exchange"], event: unknown) {
    super()
    this.exchange = exchange
    this.event = event
  }
}

/**
 * Tells an interruption by the client from one by us, to effect/http and whoever else asks. It is that module's
 * `ClientAbort`, by its name: to import it would load all of effect/http, 90 ms at each start.
 */
const clientAbort = Context.make(
  Context.Service<true>("effect/http/HttpServerError/ClientAbort"),
  true
) as Context.Context<never>

type ClientContract = Contract.ClientExchange

export abstract class ClientExchange<C extends ClientContract = ClientContract> implements AccessLogEntry {
  readonly core: ServerCore
  readonly wire: Wire
  readonly scope: C["scope"]
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

  protected fiber: Fiber.Fiber<void, unknown> | undefined = undefined
  protected fiberDone = false
  protected hasTrailers = false
  private sendFunction: C["send"] | undefined = undefined
  private receiveEffect: C["receive"] | undefined = undefined
  private connectionHandle: ConnectionHandle | undefined = undefined
  private transportHandle: TransportHandle | undefined = undefined
  protected receivers: Array<(event: Effect.Effect<any>) => void> | undefined = undefined
  private blockedSends: Array<(go: Effect.Effect<void>) => void> | undefined = undefined
  private disconnectedDeferred: Deferred.Deferred<DisconnectReason> | undefined = undefined
  private onDisconnectCallbacks: Array<(reason: DisconnectReason) => void> | undefined = undefined
  private onCompleteCallbacks: Array<() => void> | undefined = undefined
  private id: string | undefined = undefined

  constructor(core: ServerCore, wire: Wire, scope: C["scope"], startedAt: number) {
    this.core = core
    this.wire = wire
    this.scope = scope
    this.startedAt = startedAt
  }

  // ---- what the protocols add

  abstract readonly type: C["type"]
  /** Method of the request, for logs and metrics. */
  abstract get method(): string
  /** Does what one event asks for, now. */
  abstract handle(event: Parameters<C["send"]>[0]): Effect.Effect<void, SendError>
  /** The next event, if there is one now. `undefined`: wait. */
  protected abstract poll(): Effect.Success<C["receive"]> | undefined
  /** True while the application waits for bytes of the client that have not arrived. */
  abstract get waitsForBody(): boolean
  /** The application has ended in good order; what the protocol does with an unfinished answer. True when that was all. */
  protected finishUnfinished(_exit: Exit.Exit<void, unknown>): boolean {
    return false
  }
  /** True while `requestTimeout` counts: sessions that are open have no length. */
  get hasDeadline(): boolean {
    return true
  }
  /** Looks at the waits of the protocol, at every sweep. */
  sweep(_now: number): void {}
  /** The server stops: sessions, which have no end of their own that could be waited for, end now. */
  shutdown(): void {
    this.core.drain.awaits(this)
  }

  // ---- what the application sees

  get send(): C["send"] {
    return this.sendFunction ??= ((event: unknown) => new Send(this as never, event)) as C["send"]
  }

  get receive(): C["receive"] {
    return this.receiveEffect ??= Effect.suspend(() => this.take()) as C["receive"]
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

  /** Bytes accepted and not yet taken by the operating system. */
  get bufferedAmount(): number {
    return this.wire.bufferedAmount
  }

  // ---- running the application

  /** Starts the application. It may be over when this returns. */
  run(): void {
    const fiber = this.core.fork(this)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.settle(exit)
    this.fiber = fiber
    if (this.disconnectReason !== undefined) this.stopApplication()
    fiber.addObserver((exit) => this.settle(exit))
  }

  /** The application is over: an answer that is not complete by now is completed or cut by the server. */
  private settle(exit: Exit.Exit<void, unknown>): void {
    this.fiberDone = true
    this.fiber = undefined
    if (this.disconnectReason === undefined && this.answer !== "complete") {
      if (!this.finishUnfinished(exit)) {
        this.core.reportUnfinished(this, exit, this.isCommitted)
        this.refused(500, "server_error")
      }
    } else if (Exit.isFailure(exit) && this.disconnectReason === undefined && !Cause.hasInterruptsOnly(exit.cause)) {
      this.core.reportLateFailure(this, exit.cause)
    }
    this.release()
  }

  protected release(): void {
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

  private take(): Effect.Effect<any> {
    const event = this.poll()
    if (event !== undefined) return Effect.succeed(event)
    return Effect.callback((resume) => {
      const receivers = this.receivers ??= []
      receivers.push(resume)
      return Effect.sync(() => {
        const index = receivers.indexOf(resume)
        if (index !== -1) receivers.splice(index, 1)
      })
    })
  }

  /** Gives an event to the `receive` that waits longest. False when none waits. */
  protected deliver(event: Effect.Success<C["receive"]>): boolean {
    const resume = this.receivers?.shift()
    if (resume === undefined) return false
    resume(Effect.succeed(event))
    return true
  }

  /** Something has arrived: waiting `receive`s go on. */
  wake(): void {
    while (this.receivers !== undefined && this.receivers.length > 0) {
      const event = this.poll()
      if (event === undefined) return
      // What was polled may have ended the exchange, which has resumed everyone.
      const resume = this.receivers?.shift()
      if (resume === undefined) return
      resume(Effect.succeed(event))
    }
  }

  /** The exchange has ended: every waiting `receive` gets what the protocol says then. */
  protected resumeReceivers(): void {
    const receivers = this.receivers
    this.receivers = undefined
    if (receivers === undefined) return
    for (const resume of receivers) resume(this.take())
  }

  // ---- sending

  protected refuse(reason: SendErrorReason): Effect.Effect<never, SendError> {
    return Effect.fail(this.sendError(reason))
  }

  sendError(reason: SendErrorReason): SendError {
    return new SendError({ protocol: this.type, reason })
  }

  protected outOfOrder(event: string, state = inWords[this.answer]): Effect.Effect<never, SendError> {
    return this.refuse({ _tag: "EventOutOfOrder", event, state })
  }

  protected invalid(event: string, field: string, problem: string): Effect.Effect<never, SendError> {
    return this.refuse({ _tag: "InvalidField", event, field, problem })
  }

  protected unknown(event: { readonly type?: unknown } | undefined): Effect.Effect<never, SendError> {
    return this.refuse({ _tag: "UnknownEvent", event: String(event?.type) })
  }

  /** Status and headers of a plain answer. Held back until the first part of the body. */
  protected start(
    event: {
      readonly type: string
      readonly status: number
      readonly headers?: HeaderList
      readonly trailers?: boolean
    }
  ): Effect.Effect<void, SendError> {
    if (this.answer !== "none") return this.outOfOrder(event.type)
    const { headers = noHeaders, status, trailers = false } = event
    const wrongStatus = this.wrongStatus(event.type, status)
    if (wrongStatus !== undefined) return wrongStatus
    if (trailers !== true && trailers !== false) return this.invalid(event.type, "trailers", "it is not a boolean")
    const problem = Array.isArray(headers) ? this.wire.readHead(status, headers, trailers) : noHeaderList
    if (problem !== undefined) return this.refuse({ _tag: "InvalidHeader", event: event.type, ...problem })
    this.status = status
    this.hasTrailers = trailers
    this.answer = "started"
    return Effect.void
  }

  protected wrongStatus(event: string, status: number): Effect.Effect<never, SendError> | undefined {
    return Number.isInteger(status) && status >= 200 && status <= 999
      ? undefined
      : this.invalid(event, "status", `${String(status)} is not a final status from 200 to 999`)
  }

  /** A part of a plain answer's body. */
  protected sendBody(
    event: { readonly type: string; readonly body?: Piece | undefined; readonly more?: boolean | undefined }
  ): Effect.Effect<void, SendError> {
    if (this.answer !== "started" && this.answer !== "committed") return this.outOfOrder(event.type)
    const { more = false } = event
    if (more !== true && more !== false) return this.invalid(event.type, "more", "it is not a boolean")
    let piece: Piece = event.body ?? ""
    let length: number
    if (typeof piece === "string") {
      length = Buffer.byteLength(piece)
      // Equal lengths mean ASCII, which may be written as it is; anything else becomes UTF-8 bytes.
      if (length !== piece.length) piece = Buffer.from(piece)
    } else if (piece instanceof Uint8Array) {
      length = piece.length
    } else {
      return this.invalid(event.type, "body", "it is not a string or a Uint8Array")
    }
    const problem = this.wrongLength(length, !more)
    if (problem !== undefined) return problem
    if (this.answer === "started") this.commit(more ? -1 : length)
    if (length > 0) this.writePiece(piece, length)
    if (!more) this.endBody()
    else if (length === 0) this.wire.flush()
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
    return this.sendError({ _tag, declaredBytes, sentBytes })
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
    if (this.bufferedAmount < this.core.settings.writeHighWaterMark) return Effect.void
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

  protected resumeSends(): void {
    const blocked = this.blockedSends
    this.blockedSends = undefined
    if (blocked !== undefined) { for (const resume of blocked) resume(Effect.void) }
  }

  /** The last byte of the answer: the exchange has ended well. */
  protected finish(): void {
    this.wire.endResponse()
    this.completed()
  }

  protected completed(): void {
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
    this.cutWire(reason)
    if (this.disconnectedDeferred !== undefined) {
      Deferred.doneUnsafe(this.disconnectedDeferred, Effect.succeed(reason))
    }
    const callbacks = this.onDisconnectCallbacks
    this.onDisconnectCallbacks = undefined
    if (callbacks !== undefined) { for (const callback of callbacks) this.call(() => callback(reason)) }
    this.resumeReceivers()
    // First the interruption: what stands behind a send that waited must not run as if it had been sent.
    this.stopApplication()
    this.resumeSends()
    this.release()
  }

  /** What the client sees of an abnormal end. */
  protected cutWire(reason: DisconnectReason): void {
    this.wire.abort(reason)
  }

  /** What an abnormal end means for the application: the sessions leave it time to read its last event. */
  protected stopApplication(): void {
    if (this.fiber !== undefined) this.core.abandon(this)
  }

  /** Stops the application, whatever it is doing. */
  interrupt(): void {
    const { disconnectReason } = this
    const isByClient = disconnectReason !== undefined && !isOfServer(disconnectReason)
    this.fiber?.interruptUnsafe(this.core.fiberId, isByClient ? clientAbort : undefined)
  }

  /** The server has waited long enough: ends the exchange, or what the application still does after its answer. */
  cut(): void {
    this.core.drain.cuts(this)
    if (!this.ended) this.disconnect("server_shutdown")
    this.interrupt()
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
