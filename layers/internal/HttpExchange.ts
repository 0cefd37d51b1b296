/**
 * One HTTP request and its answer: the events of the `http` protocol over what all exchanges share. Never touches a
 * socket; bodies from files and streams are read by BodySource.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Duplex } from "node:stream"
import type { ByteTunnel, SwitchesProtocols } from "../../src/app/ByteTunnel.ts"
import type * as Contract from "../../src/app/Exchange.ts"
import type { SendError } from "../../src/app/SendError.ts"
import type { HeaderList } from "../../src/protocol/ResponseFields.ts"
import type { HttpReceive, HttpResponseBody, HttpSend } from "../../src/schema/Event.ts"
import { sendFile, sendStream } from "./BodySource.ts"
import { ByteSession } from "./ByteSession.ts"
import { ClientExchange, noHeaderList } from "./ClientExchange.ts"

const disconnectEvent: HttpReceive = Object.freeze({ type: "http.disconnect" })

export class HttpExchange extends ClientExchange<Contract.HttpExchange>
  implements Contract.HttpExchange, SwitchesProtocols
{
  readonly type = "http"
  private bodyRead = false
  /** The connection, once it has left HTTP. */
  private tunnel: ByteSession | undefined = undefined

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

  // ---- another protocol

  switchProtocols(protocol: string, headers: HeaderList): Effect.Effect<ByteTunnel, SendError> {
    return Effect.suspend(() => {
      const event = "101 Switching Protocols"
      if (this.answer !== "none" || this.ended) return this.outOfOrder(event)
      const problem = this.wire.readHead(200, headers, false)
      if (problem !== undefined) return this.refuse({ _tag: "InvalidHeader", event, ...problem })
      const open = (stream: Duplex) => this.tunnel = new ByteSession(this, stream, this.core.metrics)
      if (!this.wire.switchProtocols(protocol, open)) return this.outOfOrder(event, "the connection cannot leave HTTP")
      this.status = 101
      this.answer = "committed"
      return Effect.succeed(this.tunnel!)
    })
  }

  tunnelWrote(bytes: number): void {
    this.bodyBytes += bytes
  }

  tunnelEnded(): void {
    if (!this.ended) this.completed()
  }

  override get hasDeadline(): boolean {
    return this.tunnel === undefined
  }

  /** A return ends a connection that has left HTTP. */
  protected override finishUnfinished(exit: Exit.Exit<void, unknown>): boolean {
    if (this.tunnel === undefined || Exit.isFailure(exit)) return false
    this.tunnel.finish()
    return true
  }

  /** Nobody waits for the answer: the application stops where it stands. */
  protected override stopApplication(): void {
    this.interrupt()
  }
}
