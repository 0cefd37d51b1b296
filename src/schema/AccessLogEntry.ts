/** What one line of the access log is made of. */
import type { HttpScope, SseScope, WebSocketScope } from "./Scope.ts"

/** One finished exchange, or one request that was refused before it became one. Stays as it is. */
export interface AccessLogEntry {
  /** What arrived; `undefined` when the request could not be parsed. */
  readonly scope: HttpScope | WebSocketScope | SseScope | undefined
  /** Peer address without port; `"unix"` for a unix socket peer. */
  readonly client: string
  /** Status of the final answer; 0 when the client left before one was started. */
  readonly status: number
  /** Body bytes handed to the connection, without head and chunk framing. */
  readonly bodyBytes: number
  /** When the request head was complete (or refused): Unix time in milliseconds with fractions. */
  readonly startedAtMillis: number
  /** From then until the end of the answer, in milliseconds with fractions. */
  readonly durationMillis: number
  /** Unique among the exchanges of this process. */
  readonly requestId: string
  /** Trace id of the exchange's span or of the client's `traceparent`, 32 hex digits; `undefined` without one. */
  readonly traceId: string | undefined
  /** Why a request was refused or an exchange was cut short; `undefined` for a normal end. */
  readonly problem: string | undefined
}
