/** What a session of a test client can end with besides its messages. */
import * as Data from "effect/Data"
import type * as Headers from "effect/http/Headers"

/** A session was asked for and a plain HTTP answer came: a WebSocket that was not accepted, a stream that is none. */
export class Denied extends Data.TaggedError("Denied")<{
  readonly status: number
  readonly headers: Headers.Headers
  readonly body: string
}> {
  override get message(): string {
    return `The session was denied with ${this.status}${this.body === "" ? "" : `: ${excerpt(this.body)}`}`
  }
}

/** There was no answer at all: nobody listens, the connection broke, or the handshake was no handshake. */
export class ConnectFailed extends Data.TaggedError("ConnectFailed")<{ readonly cause: unknown }> {
  override get message(): string {
    return `The session could not be opened: ${this.cause instanceof Error ? this.cause.message : String(this.cause)}`
  }
}

/** The WebSocket session has ended: there are no more messages, and none can be sent. */
export class SessionClosed extends Data.TaggedError("SessionClosed")<{
  /** The close code; 1005 when the peer gave none, 1006 when the connection broke off. */
  readonly code: number
  readonly reason: string
}> {
  override get message(): string {
    return `The session has ended with ${this.code}${this.reason === "" ? "" : ` (${this.reason})`}`
  }
}

/** The stream of events has ended. */
export class StreamClosed extends Data.TaggedError("StreamClosed")<{
  /** True after an end in good order, false when the connection broke off. */
  readonly isComplete: boolean
}> {
  override get message(): string {
    return this.isComplete ? "The stream of events has ended" : "The stream of events broke off"
  }
}

/** The first characters of a text, for messages. */
export const excerpt = (text: string, length = 500): string =>
  text.length <= length ? text : `${text.slice(0, length)}... (${text.length} characters)`
