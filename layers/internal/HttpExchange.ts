/**
 * One HTTP request and its answer: the events of the `http` protocol over what all exchanges share. Never touches a
 * socket; bodies from files and streams are read by BodySource.
 */
import * as Effect from "effect/Effect"
import type * as Contract from "../../src/app/Exchange.ts"
import type { SendError } from "../../src/app/SendError.ts"
import type { HttpReceive, HttpResponseBody, HttpSend } from "../../src/schema/Event.ts"
import { sendFile, sendStream } from "./BodySource.ts"
import { ClientExchange, noHeaderList } from "./ClientExchange.ts"

const disconnectEvent: HttpReceive = Object.freeze({ type: "http.disconnect" })

export class HttpExchange extends ClientExchange<Contract.HttpExchange> implements Contract.HttpExchange {
  readonly type = "http"
  private bodyRead = false

  get method(): string {
    return this.scope.method
  }

  protected poll(): HttpReceive | undefined {
    if (this.ended) return disconnectEvent
    if (this.bodyRead) return undefined
    const event = this.wire.pullBody()
    if (this.ended) return disconnectEvent
    if (event !== undefined && !event.more) this.bodyRead = true
    return event
  }

  get waitsForBody(): boolean {
    return !this.bodyRead && this.receivers !== undefined && this.receivers.length > 0
  }

  handle(event: HttpSend): Effect.Effect<void, SendError> {
    if (this.disconnectReason !== undefined) return Effect.void
    switch (event?.type) {
      case "http.response.start":
        return this.start(event)
      case "http.response.body":
        return event.file === undefined && event.stream === undefined ? this.sendBody(event) : this.sendSource(event)
      case "http.response.trailers": {
        if (this.answer !== "trailers") return this.outOfOrder(event.type)
        const { headers = [] } = event
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
        return this.unknown(event)
    }
  }

  private sendSource(event: HttpResponseBody): Effect.Effect<void, SendError> {
    if (this.answer !== "started" && this.answer !== "committed") return this.outOfOrder(event.type)
    if ((event.file !== undefined && event.stream !== undefined) || event.body !== undefined) {
      return this.invalid(event.type, "body", "exactly one of body, file and stream may be given")
    }
    return event.file !== undefined ? sendFile(this, event) : sendStream(this, event)
  }

  private sendEarlyHint(links: ReadonlyArray<string>): Effect.Effect<void, SendError> {
    const type = "http.response.early_hint"
    if (!this.core.settings.earlyHints) {
      return this.refuse({ _tag: "ExtensionUnavailable", event: type, extension: type })
    }
    if (this.answer !== "none") return this.outOfOrder(type)
    if (!Array.isArray(links)) return this.invalid(type, "links", "it is not an array")
    const problem = this.wire.informational(103, links.map((link) => ["link", link] as const))
    if (problem !== undefined) return this.refuse({ _tag: "InvalidHeader", event: type, ...problem })
    this.wire.flush()
    return this.afterWrite()
  }

  /** Nobody waits for the answer: the application stops where it stands. */
  protected override stopApplication(): void {
    this.interrupt()
  }
}
