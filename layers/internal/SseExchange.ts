/**
 * One stream of server-sent events: the events of the `sse` protocol over what all exchanges share. Also the plain
 * answer that declines a stream. Encoding is protocol/EventStream.ts; time is the sweep's.
 *
 * **Source** reference section 1.6, WHATWG HTML section 9.2.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Contract from "../../src/app/Exchange.ts"
import type { SendError } from "../../src/app/SendError.ts"
import * as EventStream from "../../src/protocol/EventStream.ts"
import type { HeaderList } from "../../src/protocol/ResponseFields.ts"
import type { DisconnectReason } from "../../src/schema/DisconnectReason.ts"
import type { SseReceive, SseSend, SseSendEvent, SseStart } from "../../src/schema/Event.ts"
import { ClientExchange, noHeaderList } from "./ClientExchange.ts"
import type { Piece } from "./Wire.ts"

/** `bodiless`: the answer has a head and nothing else, so the stream was over when it began. */
type Mode = "undecided" | "open" | "closed" | "bodiless" | "declining" | "declined"

const inWords: Record<Mode, string> = {
  undecided: "the stream has not been started",
  open: "the stream is open",
  closed: "the stream is closed",
  bodiless: "the stream has no body",
  declining: "the stream is being declined",
  declined: "the answer is complete"
}

/** What a text is on the wire: ASCII as it is, anything else as UTF-8 bytes. */
const encoded = (text: string): Piece => Buffer.byteLength(text) === text.length ? text : Buffer.from(text)

/** The event that was encoded last, for all exchanges: one that goes to a thousand clients is encoded once. */
let lastFields: EventStream.EventFields = { data: "" }
let lastPiece: Piece = EventStream.encodeEvent(lastFields)

const encodeEvent = (fields: SseSendEvent): Piece => {
  // The fields and not the object: an application may use one object for many events.
  if (
    fields.data === lastFields.data && fields.event === lastFields.event && fields.id === lastFields.id &&
    fields.retry === lastFields.retry
  ) return lastPiece
  lastPiece = encoded(EventStream.encodeEvent(fields))
  lastFields = { data: fields.data, event: fields.event, id: fields.id, retry: fields.retry }
  return lastPiece
}

export class SseExchange extends ClientExchange<Contract.SseExchange> implements Contract.SseExchange {
  readonly type = "sse"
  private mode: Mode = "undecided"
  private bodyRead = false
  private keepAliveMillis = 0
  private keepAlivePiece: Piece = ""
  private lastWriteAt = 0
  private lastEventAt = 0
  /** What the access log says about an `sse.close`. */
  private closeReason: string | undefined = undefined

  get method(): string {
    return this.scope.method
  }

  protected poll(): SseReceive | undefined {
    if (!this.ended && !this.bodyRead) {
      const event = this.wire.pullBody()
      if (event !== undefined) {
        if (!event.more) this.bodyRead = true
        return { type: "sse.request", body: event.body, more: event.more }
      }
    }
    // A decline is the application's own answer: no disconnect follows it.
    if (!this.ended || this.mode === "declined") return undefined
    return { type: "sse.disconnect", reason: this.disconnectReason ?? "client_closed" }
  }

  override get hasDeadline(): boolean {
    return this.mode !== "open"
  }

  get waitsForBody(): boolean {
    return !this.bodyRead && this.receivers !== undefined && this.receivers.length > 0
  }

  handle(event: SseSend): Effect.Effect<void, SendError> {
    if (this.disconnectReason !== undefined || this.mode === "bodiless") return Effect.void
    switch (event?.type) {
      case "sse.start":
        return this.mode === "undecided" ? this.open(event) : this.outOfOrder(event.type, inWords[this.mode])
      case "sse.send": {
        if (this.mode !== "open") return this.outOfOrder(event.type, inWords[this.mode])
        const problem = EventStream.eventProblem(event)
        if (problem !== undefined) return this.invalid(event.type, problem.field, problem.problem)
        return this.write(encodeEvent(event))
      }
      case "sse.comment": {
        if (this.mode !== "open") return this.outOfOrder(event.type, inWords[this.mode])
        if (typeof event.comment !== "string") return this.invalid(event.type, "comment", "it is not a string")
        return this.write(encoded(EventStream.encodeComment(event.comment)))
      }
      case "sse.keepalive": {
        if (this.mode !== "open") return this.outOfOrder(event.type, inWords[this.mode])
        const { comment = "", interval } = event
        if (typeof comment !== "string") return this.invalid(event.type, "comment", "it is not a string")
        if (typeof interval !== "number" || !(interval >= 0) || interval === Infinity) {
          return this.invalid(event.type, "interval", "it is not a number of seconds of 0 or more")
        }
        this.keepAliveMillis = interval * 1000
        this.keepAlivePiece = encoded(EventStream.encodeComment(comment))
        this.core.sweepEvery(this.keepAliveMillis / 4)
        return Effect.void
      }
      case "sse.close":
        if (this.mode === "closed") return Effect.void
        if (this.mode !== "open") return this.outOfOrder(event.type, inWords[this.mode])
        this.closeReason = typeof event.reason === "string" ? event.reason : undefined
        this.close()
        return this.afterWrite()
      case "sse.http.response.start": {
        if (this.mode !== "undecided") return this.outOfOrder(event.type, inWords[this.mode])
        const { headers = noHeaders, status, type } = event
        // The stream that was asked for will not be: the connection ends with the answer.
        const started = this.start({ type, status, headers: Array.isArray(headers) ? [...headers, close] : headers })
        if (this.answer !== "none") this.mode = "declining"
        return started
      }
      case "sse.http.response.body": {
        if (this.mode !== "declining") return this.outOfOrder(event.type, inWords[this.mode])
        return this.sendBody(event)
      }
      default:
        return this.unknown(event)
    }
  }

  private open(event: SseStart): Effect.Effect<void, SendError> {
    const { headers = noHeaders, status = 200 } = event
    const wrongStatus = this.wrongStatus(event.type, status)
    if (wrongStatus !== undefined) return wrongStatus
    const problem = Array.isArray(headers) ? this.wire.readHead(status, withDefaults(headers), false) : noHeaderList
    if (problem !== undefined) return this.refuse({ _tag: "InvalidHeader", event: event.type, ...problem })
    if (this.wire.declaredLength !== -1) {
      return this.refuse({ _tag: "InvalidHeader", event: event.type, name: "content-length", problem: noLength })
    }
    this.status = status
    this.mode = "open"
    this.lastWriteAt = this.lastEventAt = this.core.time.now()
    this.commit(-1)
    // The client's `open` event is the head: it must not wait for the first event.
    this.wire.flush()
    if (this.wire.suppressesBody) this.endWithHead()
    else if (this.core.stopping) this.shutdown()
    if (this.core.settings.sseIdleTimeoutMillis > 0) this.core.sweepEvery(this.core.settings.sseIdleTimeoutMillis / 4)
    return this.afterWrite()
  }

  private write(piece: Piece): Effect.Effect<void> {
    this.lastWriteAt = this.lastEventAt = this.core.time.now()
    this.writePiece(piece, piece.length)
    return this.afterWrite()
  }

  /** HEAD, 204: nothing of a stream is sent. To the application that is what a client is that has gone at once. */
  private endWithHead(): void {
    this.mode = "bodiless"
    this.finish()
    this.core.abandon(this)
  }

  /** Ends the stream as the protocol does: with the end of the answer's body. */
  private close(): void {
    this.mode = "closed"
    this.finish()
  }

  protected override finish(): void {
    if (this.mode === "declining") this.mode = "declined"
    super.finish()
  }

  /** A return ends an open stream as `sse.close` does. */
  protected override finishUnfinished(exit: Exit.Exit<void, unknown>): boolean {
    if (this.mode !== "open" || Exit.isFailure(exit)) return false
    this.close()
    return true
  }

  override get problem(): string | undefined {
    return this.disconnectReason ?? this.closeReason
  }

  // ---- ends from outside

  override shutdown(): void {
    super.shutdown()
    if (this.mode !== "open" || this.ended) return
    const { retryMillis } = this.core.drain
    if (retryMillis > 0) {
      // WHATWG HTML section 9.2.6: counts by itself; an event without data reaches nobody.
      const retry = `retry: ${retryMillis}\n\n`
      this.writePiece(retry, retry.length)
    }
    this.disconnect("server_shutdown")
  }

  /** Where the stream is whole so far, the client sees its end and not a broken connection. */
  protected override cutWire(reason: DisconnectReason): void {
    if (this.mode === "open" && (reason === "server_shutdown" || reason === "idle_timeout")) this.wire.endResponse()
    super.cutWire(reason)
  }

  override sweep(now: number): void {
    if (this.mode !== "open" || this.ended) return
    const { sseIdleTimeoutMillis } = this.core.settings
    if (sseIdleTimeoutMillis > 0 && now - this.lastEventAt >= sseIdleTimeoutMillis) {
      return this.disconnect("idle_timeout")
    }
    if (this.keepAliveMillis > 0 && now - this.lastWriteAt >= this.keepAliveMillis) {
      this.lastWriteAt = now
      // A client that does not take what there is needs no sign of life.
      if (this.bufferedAmount === 0) this.writePiece(this.keepAlivePiece, this.keepAlivePiece.length)
    }
  }
}

const noHeaders: HeaderList = []

const close = ["connection", "close"] as const

const noLength = "a stream of events has no length"

const withDefaults = (headers: HeaderList): HeaderList => {
  const names = new Set(headers.map((header) => typeof header?.[0] === "string" ? header[0].toLowerCase() : ""))
  const added: Array<readonly [string, string]> = []
  if (!names.has("content-type")) added.push(["content-type", "text/event-stream"])
  if (!names.has("cache-control")) added.push(["cache-control", "no-cache"])
  return added.length === 0 ? headers : [...headers, ...added]
}
