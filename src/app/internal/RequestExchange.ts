/**
 * An HTTP exchange whose answer becomes an HttpServerResponse: what an App is given that is mounted where effect/http
 * rules, so that the middleware around it can change the response. A body that comes in parts is a stream; the App's
 * next `send` waits until it was taken.
 *
 * Trailers and flushes have no place in an HttpServerResponse and are let go.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Cookies from "effect/http/Cookies"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { HttpReceive, HttpResponseBody, HttpResponseStart, HttpSend } from "../../schema/Event.ts"
import type { HttpScope } from "../../schema/Scope.ts"
import type { ConnectionState, HttpExchange, TransportState } from "../Exchange.ts"
import { SendError, type SendErrorReason } from "../SendError.ts"
import * as ResponseWriter from "./ResponseWriter.ts"

type Response = HttpServerResponse.HttpServerResponse
type Part = Uint8Array

const encoder = new TextEncoder()
const noBytes = new Uint8Array(0)

export class RequestExchange implements HttpExchange {
  readonly type = "http"
  readonly scope: HttpScope
  readonly receive: Effect.Effect<HttpReceive>
  readonly connection: ConnectionState
  readonly transport: TransportState
  /** The response, as soon as it is known how its body comes. */
  readonly response = Deferred.makeUnsafe<Response, unknown>()
  private readonly source: HttpExchange
  private start: HttpResponseStart | undefined
  private parts: Queue.Queue<Part, unknown> | undefined
  private complete = false

  constructor(source: HttpExchange, scope: HttpScope, receive: Effect.Effect<HttpReceive>) {
    this.source = source
    this.scope = scope
    this.receive = receive
    this.connection = source.connection
    this.transport = source.transport
  }

  get isStarted(): boolean {
    return this.start !== undefined
  }

  get isComplete(): boolean {
    return this.complete
  }

  readonly send = (event: HttpSend): Effect.Effect<void, SendError> => Effect.suspend(() => this.handle(event))

  /** Nobody takes parts of the body any more: sends that wait go on. */
  get stopReading(): Effect.Effect<void> {
    return Effect.suspend(() => this.parts === undefined ? Effect.void : Effect.asVoid(Queue.shutdown(this.parts)))
  }

  /** The App has ended: what it has not answered by now it never will. */
  ended(exit: Exit.Exit<void, unknown>): void {
    const cause = Exit.isFailure(exit) ? exit.cause : Cause.die(new Error("The application returned without an answer"))
    if (!this.complete && this.parts !== undefined) Queue.failCauseUnsafe(this.parts, cause)
    Deferred.doneUnsafe(this.response, Effect.failCause(cause))
  }

  private handle(event: HttpSend): Effect.Effect<void, SendError> {
    switch (event?.type) {
      case "http.response.start":
        if (this.start !== undefined) return this.outOfOrder(event)
        this.start = event
        return Effect.void
      case "http.response.body":
        return this.start === undefined || this.complete ? this.outOfOrder(event) : this.body(event)
      case "http.response.trailers":
      case "http.fullflush":
        return Effect.void
      case "http.response.early_hint":
        return this.source.send(event)
      default:
        return this.fail({ _tag: "UnknownEvent", event: String((event as { type?: unknown } | undefined)?.type) })
    }
  }

  private body(event: HttpResponseBody): Effect.Effect<void, SendError> {
    const { body = "", file, more = false, stream } = event
    if (file !== undefined || stream !== undefined) {
      return event.body === undefined && (file === undefined || stream === undefined)
        ? this.sourced(event)
        : this.invalid("body", "exactly one of body, file and stream may be given")
    }
    if (typeof body !== "string" && !(body instanceof Uint8Array)) {
      return this.invalid("body", "it is not a string or a Uint8Array")
    }
    const part = typeof body === "string" ? encoder.encode(body) : body
    if (this.parts === undefined && more) {
      // One part of room: the App's `send` of the next one waits until this one was taken.
      this.parts = Effect.runSync(Queue.bounded<Part, unknown>(1))
      const parts = Stream.fromQueue(this.parts)
      this.respond((type) => HttpBody.stream(parts, type))
    }
    if (this.parts !== undefined) return this.next(part, more)
    this.complete = true
    this.respond((type) => HttpBody.uint8Array(part, type))
    return Effect.void
  }

  /** A file, or a stream: the whole body, or its end. */
  private sourced(event: HttpResponseBody): Effect.Effect<void, SendError> {
    const { file, length, offset, stream } = event
    const isWholeStream = stream !== undefined && offset === undefined && length === undefined
    if (this.parts === undefined) {
      this.complete = true
      this.respond((type) =>
        isWholeStream
          ? HttpBody.stream(stream, type)
          : HttpBody.raw(new ResponseWriter.SourceBody(event), { contentType: type })
      )
      return Effect.void
    }
    if (!isWholeStream) {
      return this.invalid(file === undefined ? "offset" : "file", "behind parts of a body only a whole stream can come")
    }
    const failed = (cause: unknown) => this.error({ _tag: "BodySourceFailed", source: "stream", cause })
    const sent = Stream.runForEach(Stream.mapError(stream, failed), (part) => this.next(part, true))
    return Effect.andThen(sent, Effect.suspend(() => this.next(noBytes, false)))
  }

  private next(part: Part, more: boolean): Effect.Effect<void> {
    const offered = part.length === 0 ? Effect.void : Queue.offer(this.parts!, part)
    if (more) return Effect.asVoid(offered)
    this.complete = true
    return Effect.andThen(offered, Effect.asVoid(Queue.end(this.parts as Queue.Queue<Part, Cause.Done>)))
  }

  /** The App's status and headers around a body. */
  private respond(body: (contentType: string) => HttpBody.HttpBody): void {
    const { headers = [], status } = this.start!
    const record: Record<string, string> = Object.create(null)
    const cookies: Array<string> = []
    for (const [name, value] of headers) {
      const key = name.toLowerCase()
      if (key === "set-cookie") cookies.push(value)
      else record[key] = record[key] === undefined ? value : `${record[key]}, ${value}`
    }
    const head = HttpServerResponse.empty({ status, headers: record, cookies: Cookies.fromSetCookie(cookies) })
    const { "content-length": length, "content-type": type } = record
    let response = HttpServerResponse.setBody(head, body(type ?? ""))
    // A body without a type is given one by effect, and one without a length loses it: the App has said it otherwise.
    if (type === undefined) response = HttpServerResponse.removeHeader(response, "content-type")
    if (length !== undefined) response = HttpServerResponse.setHeader(response, "content-length", length)
    Deferred.doneUnsafe(this.response, Effect.succeed(response))
  }

  private outOfOrder(event: HttpSend): Effect.Effect<never, SendError> {
    const state = this.complete ? "the answer is complete" : this.isStarted ? "it has been started" : "it has no start"
    return this.fail({ _tag: "EventOutOfOrder", event: event.type, state })
  }

  private invalid(field: string, problem: string): Effect.Effect<never, SendError> {
    return this.fail({ _tag: "InvalidField", event: "http.response.body", field, problem })
  }

  private fail(reason: SendErrorReason): Effect.Effect<never, SendError> {
    return Effect.fail(this.error(reason))
  }

  private error(reason: SendErrorReason): SendError {
    return new SendError({ protocol: "http", reason })
  }
}
