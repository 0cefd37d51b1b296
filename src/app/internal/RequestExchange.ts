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

  constructor(source: HttpExchange, scope: HttpScope) {
    this.source = source
    this.scope = scope
    this.receive = source.receive
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
    const part = typeof body === "string" ? encoder.encode(body) : body
    if (this.parts !== undefined) return this.next(part, more)
    if (file === undefined && stream === undefined && more) {
      // One part of room: the App's `send` of the next one waits until this one was taken.
      this.parts = Effect.runSync(Queue.bounded<Part, unknown>(1))
      const parts = Stream.fromQueue(this.parts)
      this.respond((type) => HttpBody.stream(parts, type))
      return this.next(part, true)
    }
    this.complete = true
    if (file !== undefined) {
      this.respond(() => HttpBody.raw(new ResponseWriter.FileBody(event)))
    } else {
      this.respond((type) => stream === undefined ? HttpBody.uint8Array(part, type) : HttpBody.stream(stream, type))
    }
    return Effect.void
  }

  private next(part: Part, more: boolean): Effect.Effect<void> {
    const offered = part.length === 0 ? Effect.void : Queue.offer(this.parts!, part)
    if (more) return Effect.asVoid(offered)
    this.complete = true
    return Effect.andThen(offered, Effect.asVoid(Queue.end(this.parts as Queue.Queue<Part, Cause.Done>)))
  }

  /** The App's status and headers around a body. */
  private respond(body: (contentType: string | undefined) => HttpBody.HttpBody): void {
    const { headers = [], status } = this.start!
    const record: Record<string, string> = Object.create(null)
    const cookies: Array<string> = []
    for (const [name, value] of headers) {
      const key = name.toLowerCase()
      if (key === "set-cookie") cookies.push(value)
      else record[key] = record[key] === undefined ? value : `${record[key]}, ${value}`
    }
    const type = record["content-type"]
    const head = HttpServerResponse.empty({ status, headers: record, cookies: Cookies.fromSetCookie(cookies) })
    const response = HttpServerResponse.setBody(head, body(type))
    Deferred.doneUnsafe(
      this.response,
      // A body without a type is given one by effect, which the App has not said.
      Effect.succeed(type === undefined ? HttpServerResponse.removeHeader(response, "content-type") : response)
    )
  }

  private outOfOrder(event: HttpSend): Effect.Effect<never, SendError> {
    const state = this.complete ? "the answer is complete" : this.isStarted ? "it has been started" : "it has no start"
    return this.fail({ _tag: "EventOutOfOrder", event: event.type, state })
  }

  private fail(reason: SendErrorReason): Effect.Effect<never, SendError> {
    return Effect.fail(new SendError({ protocol: "http", reason }))
  }
}
