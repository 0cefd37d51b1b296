/**
 * How a session ended, in one shape for websocket and sse: what was said, by whom, and whether it was said at all.
 *
 * Data and how it is made of what the contract tells; watching for the end is the sessions' business.
 */
import type { DisconnectReason } from "../schema/DisconnectReason.ts"

/** Who ended a session: the other end or the way to it, the server by its settings, or the application. */
export type EndedBy = "client" | "server" | "application"

/** How a session ended. The same for websocket and sse, whichever side ended it. */
export interface CloseInfo {
  /**
   * Close code of a WebSocket: ours when the application closed it, else what its disconnect event says (1005: the peer
   * sent none; 1006: the connection broke off). `undefined` on sse and for a handshake that was declined.
   */
  readonly code: number | undefined
  /** The words of whoever closed in good order, else empty. From a client they can be anything: escape them. */
  readonly reason: string
  readonly by: EndedBy
  /** Why it ended abnormally; `undefined` after a normal end. */
  readonly cause: DisconnectReason | undefined
  /** True when both sides know that this was the end: close frames went both ways, or the stream was ended. */
  readonly clean: boolean
}

const endedBy: { readonly [reason: string]: EndedBy } = {
  client_closed: "client",
  read_error: "client",
  write_error: "client",
  client_timeout: "server",
  idle_timeout: "server",
  keepalive_timeout: "server",
  write_timeout: "server",
  protocol_error: "server",
  server_shutdown: "server",
  body_too_large: "server",
  queue_overflow: "server",
  server_error: "application"
} satisfies { readonly [Reason in Exclude<DisconnectReason, `x-${string}`>]: EndedBy }

/** The end for a reason. Reasons of your own (`x-...`) count as the server's. */
export const fromDisconnect = (cause: DisconnectReason, code?: number): CloseInfo => ({
  code,
  reason: "",
  by: Object.hasOwn(endedBy, cause) ? endedBy[cause]! : "server",
  cause,
  clean: false
})

/** A normal end that the application asked for: by closing, by declining, or by returning. */
export const fromApplication = (reason = "", code?: number, clean = true): CloseInfo => ({
  code,
  reason,
  by: "application",
  cause: undefined,
  clean
})

/** A normal end that the client asked for, with the code and the words of its close frame. */
export const fromClient = (code: number, reason: string): CloseInfo => ({
  code,
  reason,
  by: "client",
  cause: undefined,
  clean: true
})
