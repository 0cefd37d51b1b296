/**
 * Why an exchange ended before its answer was complete. Shared by every protocol and every wire.
 */
import * as Schema from "effect/Schema"

/**
 * The standard reasons. A server or middleware of your own may add reasons that start with `x-`.
 *
 * - `client_closed` the client ended the connection or reset the stream
 * - `client_timeout` the client stalled: the request head, the body, or the whole request took too long
 * - `idle_timeout` the session was quiet for too long (websocket, sse)
 * - `keepalive_timeout` a ping stayed unanswered
 * - `write_timeout` the client stopped reading the answer
 * - `write_error`, `read_error` the operating system reported an error on the connection
 * - `protocol_error` the client broke the protocol's grammar or rules
 * - `server_shutdown` the server stopped: at once on websocket and sse, on http when `shutdownTimeout` was over
 * - `server_error` the application failed, or ended before it had answered completely
 * - `body_too_large` the request body exceeded `maxBodyBytes`, or a WebSocket message `wsMaxMessageBytes`
 * - `queue_overflow` the application did not take inbound messages fast enough
 *
 * **Source** reference section 1.8.
 */
export const DisconnectReason = Schema.Union([
  Schema.Literals([
    "client_closed",
    "client_timeout",
    "idle_timeout",
    "keepalive_timeout",
    "write_timeout",
    "write_error",
    "read_error",
    "protocol_error",
    "server_shutdown",
    "server_error",
    "body_too_large",
    "queue_overflow"
  ]),
  Schema.TemplateLiteral(["x-", Schema.String])
])
export type DisconnectReason = typeof DisconnectReason.Type

/** True when the server ended the exchange, and not the client or the way to it. */
export const isOfServer = (reason: DisconnectReason): boolean =>
  reason === "server_shutdown" || reason === "server_error"
