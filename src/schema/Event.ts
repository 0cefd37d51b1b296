/**
 * What client and application say to each other after the scope: every event, as a Schema with its plain object type.
 *
 * `...Receive` unions are what `exchange.receive` yields, `...Send` unions are what `exchange.send` takes. Nothing here
 * runs on the path of an event: the server reads plain objects and checks by hand what safety needs. Lint decodes every
 * event against these Schemas. Fields that are not named here are ignored, never refused.
 *
 * **Source** reference sections 1.1 to 1.7; names in camelCase, booleans as booleans, bodies as `Uint8Array`.
 */
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { DisconnectReason } from "./DisconnectReason.ts"
import { Headers } from "./Scope.ts"

// ---- values

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** RFC 9110 section 5.5: HTAB, SP, VCHAR, obs-text. */
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/

const HeaderValue = Schema.String.check(
  Schema.isPattern(fieldValue, { expected: "bytes without control characters" })
)

/**
 * Header lines that an application sends: names are RFC 9110 tokens, values hold HTAB, 0x20 to 0x7E and 0x80 to 0xFF,
 * one character per byte. Names should be lower case, as in the scope; Lint says so where they are not.
 *
 * **Source** reference section 1.2, RFC 9110 sections 5.1 and 5.5.
 */
export const SentHeaders: Schema.Codec<Headers> = Schema.Array(
  Schema.Tuple([Schema.String.check(Schema.isPattern(token, { expected: "a header name token" })), HeaderValue])
)

/** Status of a final answer, 200 to 999. Interim answers have events of their own. */
const Status = Schema.Int.check(Schema.isBetween({ minimum: 200, maximum: 999 }))

/** Bytes as they are, or a string that is sent as UTF-8. */
const Body = Schema.Union([Schema.Uint8Array, Schema.String])

const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

const Seconds = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

/** POSIX, drive letter or UNC; a NUL would cut the name short in the operating system. */
const AbsolutePath = Schema.String.check(
  Schema.makeFilter((path) => /^(?:\/|[A-Za-z]:[\\/]|\\\\)/.test(path) && !path.includes("\0"), {
    expected: "an absolute path without NUL"
  })
)

const ByteStream = Schema.declare(
  (u): u is Stream.Stream<Uint8Array, unknown> => Stream.isStream(u),
  { expected: "a Stream of Uint8Array" }
)

/** RFC 6455 section 7.4: what may stand in a Close frame. */
const CloseCode = Schema.Int.check(
  Schema.makeFilter(
    (code) => (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999),
    { expected: "a close code that may be sent (1000-1003, 1007-1014, 3000-4999)" }
  )
)

/** RFC 6455 section 5.5: a control frame carries 125 bytes, two of which are the code. */
const CloseReason = Schema.String.check(
  Schema.makeFilter((reason) => new TextEncoder().encode(reason).length <= 123, {
    expected: "at most 123 bytes of UTF-8"
  })
)

const exactlyOneOfBytesAndText = Schema.makeFilter<{ readonly bytes?: unknown; readonly text?: unknown }>((event) =>
  (event.bytes === undefined) !== (event.text === undefined)
    ? undefined
    : { path: ["bytes"], issue: "exactly one of bytes and text must be present" }
)

/** Fields of every answer's start, final status and headers. */
const start = {
  /** Status of the answer, 200 to 999. */
  status: Status,
  /** Default `[]`. */
  headers: Schema.optionalKey(SentHeaders)
}

/** Fields of a body part. */
const part = {
  /** Default empty. */
  body: Schema.optionalKey(Body),
  /** Whether more parts follow. Default `false`. */
  more: Schema.optionalKey(Schema.Boolean)
}

/** Fields of a part of a request body. */
const requestPart = {
  /** Without chunk framing; empty for a request without a body. Valid as long as the application keeps it. */
  body: Schema.Uint8Array,
  /** Whether more parts follow. */
  more: Schema.Boolean
}

// ---- http

/**
 * A part of the request body. A request without a body yields exactly one, empty, with `more: false`.
 *
 * **Source** reference section 1.4.
 */
export const HttpRequest = Schema.Struct({
  type: Schema.Literal("http.request"),
  ...requestPart,
  /**
   * Trailer fields of a chunked body, on its last part only and only when there were any. Fields that a trailer must
   * not change (framing, routing, authentication) have been dropped. RFC 9110 section 6.5.
   */
  trailers: Schema.optionalKey(Headers)
})
export type HttpRequest = typeof HttpRequest.Type

/** The exchange has ended: the answer is complete, or the client has gone. `connection.disconnectReason` says which. */
export const HttpDisconnect = Schema.Struct({ type: Schema.Literal("http.disconnect") })
export type HttpDisconnect = typeof HttpDisconnect.Type

/** What the client says on http. */
export const HttpReceive = Schema.Union([HttpRequest, HttpDisconnect])
export type HttpReceive = typeof HttpReceive.Type

/**
 * Status and headers of the answer, once, before any part of the body. The server may hold it back until the first
 * part. It adds `date` where it is missing, does the framing, and ignores `transfer-encoding`.
 *
 * **Source** reference section 1.4.
 */
export const HttpResponseStart = Schema.Struct({
  type: Schema.Literal("http.response.start"),
  ...start,
  /** Whether `http.response.trailers` will follow the body. Default `false`. */
  trailers: Schema.optionalKey(Schema.Boolean)
})
export type HttpResponseStart = typeof HttpResponseStart.Type

/**
 * A part of the answer's body: `body`, or a file, or a stream. At most one of the three; none is an empty `body`.
 *
 * A file or a stream is always the last part. The server opens and closes a file, reads it with backpressure, and fails
 * the `send` with `BodySourceFailed` when it cannot. `send` succeeds when the whole source was handed over.
 *
 * **Source** reference section 1.4.
 */
export const HttpResponseBody = Schema.Struct({
  type: Schema.Literal("http.response.body"),
  /** Bytes, or a string that is sent as UTF-8. Default empty. */
  body: Schema.optionalKey(Body),
  /** Absolute path of a regular file. */
  file: Schema.optionalKey(AbsolutePath),
  /** Run once, by the server, in the scope of this `send`. */
  stream: Schema.optionalKey(ByteStream),
  /** Bytes of the file or stream to skip. Default 0. Beyond the end: nothing is sent. */
  offset: Schema.optionalKey(Count),
  /** Bytes of the file or stream to send at most. Default: to the end. */
  length: Schema.optionalKey(Count),
  /** Whether more parts follow. Default `false`; ignored for a file or a stream. */
  more: Schema.optionalKey(Schema.Boolean)
}).check(
  Schema.makeFilter((event) => {
    const sources = (["body", "file", "stream"] as const).filter((source) => event[source] !== undefined)
    return sources.length <= 1
      ? undefined
      : { path: [sources[1]!], issue: "at most one of body, file and stream may be present" }
  })
)
export type HttpResponseBody = typeof HttpResponseBody.Type

/** Header lines after the body, which end the answer. Only when the start said `trailers: true`. */
export const HttpResponseTrailers = Schema.Struct({
  type: Schema.Literal("http.response.trailers"),
  /** Default `[]`. */
  headers: Schema.optionalKey(SentHeaders)
})
export type HttpResponseTrailers = typeof HttpResponseTrailers.Type

/** Hands everything sent so far to the operating system now. Extension `fullflush`. */
export const HttpFullFlush = Schema.Struct({ type: Schema.Literal("http.fullflush") })
export type HttpFullFlush = typeof HttpFullFlush.Type

/**
 * An interim 103 answer, any number of times before the start. Left out for HTTP/1.0 clients. Extension
 * `http.response.early_hint`.
 *
 * **Source** RFC 8297.
 */
export const HttpResponseEarlyHint = Schema.Struct({
  type: Schema.Literal("http.response.early_hint"),
  /** Values of the `link` header lines, one line each. */
  links: Schema.Array(HeaderValue)
})
export type HttpResponseEarlyHint = typeof HttpResponseEarlyHint.Type

/** What the application answers on http. */
export const HttpSend = Schema.Union([
  HttpResponseStart,
  HttpResponseBody,
  HttpResponseTrailers,
  HttpFullFlush,
  HttpResponseEarlyHint
])
export type HttpSend = typeof HttpSend.Type

// ---- websocket

/** The handshake is complete on the client's side and waits for an answer. Always the first event. */
export const WebSocketConnect = Schema.Struct({ type: Schema.Literal("websocket.connect") })
export type WebSocketConnect = typeof WebSocketConnect.Type

const message = {
  /** A binary message. */
  bytes: Schema.optionalKey(Schema.Uint8Array),
  /** A text message, Unicode. */
  text: Schema.optionalKey(Schema.String)
}

/** A whole message: exactly one of `bytes` and `text`. */
export const WebSocketMessage = Schema.Struct({
  type: Schema.Literal("websocket.receive"),
  ...message
}).check(exactlyOneOfBytesAndText)
export type WebSocketMessage = typeof WebSocketMessage.Type

/**
 * The session has ended. Branch on `reason`, not on the code.
 *
 * **Source** reference section 1.5.
 */
export const WebSocketDisconnect = Schema.Struct({
  type: Schema.Literal("websocket.disconnect"),
  /** The peer's close code, 1005 if it sent none, 1006 when the connection broke off. */
  code: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65535 })),
  /** The peer's own text after a clean close, a `DisconnectReason` otherwise. Empty when there was none. */
  reason: Schema.String
})
export type WebSocketDisconnect = typeof WebSocketDisconnect.Type

/** What the client says on websocket. */
export const WebSocketReceive = Schema.Union([WebSocketConnect, WebSocketMessage, WebSocketDisconnect])
export type WebSocketReceive = typeof WebSocketReceive.Type

/** Completes the handshake. */
export const WebSocketAccept = Schema.Struct({
  type: Schema.Literal("websocket.accept"),
  /** One of `scope.subprotocols`. Default: none is chosen. */
  subprotocol: Schema.optionalKey(Schema.String.check(Schema.isPattern(token, { expected: "a subprotocol token" }))),
  /** Further headers of the handshake's answer. Default `[]`. */
  headers: Schema.optionalKey(SentHeaders)
})
export type WebSocketAccept = typeof WebSocketAccept.Type

/** A whole message: exactly one of `bytes` and `text`. */
export const WebSocketSendMessage = Schema.Struct({
  type: Schema.Literal("websocket.send"),
  ...message
}).check(exactlyOneOfBytesAndText)
export type WebSocketSendMessage = typeof WebSocketSendMessage.Type

/** Ends the session; instead of an accept it declines the handshake with 403. */
export const WebSocketClose = Schema.Struct({
  type: Schema.Literal("websocket.close"),
  /** A code that may be sent: 1000-1003, 1007-1014, 3000-4999. Default 1000. */
  code: Schema.optionalKey(CloseCode),
  /** At most 123 bytes of UTF-8. Default `""`. */
  reason: Schema.optionalKey(CloseReason)
})
export type WebSocketClose = typeof WebSocketClose.Type

/** Turns pings on or off; the last one counts. */
export const WebSocketKeepAlive = Schema.Struct({
  type: Schema.Literal("websocket.keepalive"),
  /** Seconds between pings; 0 stops them. */
  interval: Seconds,
  /** Seconds to wait for a pong before the session ends with `keepalive_timeout`. Default: no limit. */
  timeout: Schema.optionalKey(Seconds)
})
export type WebSocketKeepAlive = typeof WebSocketKeepAlive.Type

/** Declines the handshake with an answer of one's own, instead of an accept. Extension `websocket.http.response`. */
export const WebSocketHttpResponseStart = Schema.Struct({
  type: Schema.Literal("websocket.http.response.start"),
  ...start
})
export type WebSocketHttpResponseStart = typeof WebSocketHttpResponseStart.Type

/** A part of the declining answer's body. Extension `websocket.http.response`. */
export const WebSocketHttpResponseBody = Schema.Struct({
  type: Schema.Literal("websocket.http.response.body"),
  ...part
})
export type WebSocketHttpResponseBody = typeof WebSocketHttpResponseBody.Type

/** What the application says on websocket. */
export const WebSocketSend = Schema.Union([
  WebSocketAccept,
  WebSocketSendMessage,
  WebSocketClose,
  WebSocketKeepAlive,
  WebSocketHttpResponseStart,
  WebSocketHttpResponseBody
])
export type WebSocketSend = typeof WebSocketSend.Type

// ---- sse

/** A part of the request body. A GET yields exactly one, empty, with `more: false`. */
export const SseRequest = Schema.Struct({ type: Schema.Literal("sse.request"), ...requestPart })
export type SseRequest = typeof SseRequest.Type

/** The stream has ended from the outside. */
export const SseDisconnect = Schema.Struct({
  type: Schema.Literal("sse.disconnect"),
  /** Why. */
  reason: DisconnectReason
})
export type SseDisconnect = typeof SseDisconnect.Type

/** What the client says on sse. */
export const SseReceive = Schema.Union([SseRequest, SseDisconnect])
export type SseReceive = typeof SseReceive.Type

/**
 * Opens the stream. The server adds `content-type: text/event-stream`, `cache-control: no-cache` and `date` where they
 * are missing.
 *
 * **Source** reference section 1.6.
 */
export const SseStart = Schema.Struct({
  type: Schema.Literal("sse.start"),
  /** Status of the answer. Default 200; clients give up on others. */
  status: Schema.optionalKey(Status),
  /** Default `[]`. */
  headers: Schema.optionalKey(SentHeaders)
})
export type SseStart = typeof SseStart.Type

/** One event. All strings are Unicode, sent as UTF-8. */
export const SseSendEvent = Schema.Struct({
  type: Schema.Literal("sse.send"),
  /** The payload; CRLF, CR and LF each begin a further `data:` line. */
  data: Schema.String,
  /** Name of the event, without CR and LF. Default: none, which clients read as `message`. */
  event: Schema.optionalKey(
    Schema.String.check(Schema.isPattern(/^[^\r\n]*$/, { expected: "a string without CR and LF" }))
  ),
  /** What a reconnecting client repeats as `last-event-id`, without CR, LF and NUL. Default: unchanged. */
  id: Schema.optionalKey(
    // oxlint-disable-next-line no-control-regex
    Schema.String.check(Schema.isPattern(/^[^\r\n\0]*$/, { expected: "a string without CR, LF and NUL" }))
  ),
  /** Milliseconds a client waits before it reconnects. Default: unchanged. */
  retry: Schema.optionalKey(Count)
})
export type SseSendEvent = typeof SseSendEvent.Type

/** A line that clients ignore. */
export const SseComment = Schema.Struct({
  type: Schema.Literal("sse.comment"),
  /** The server puts `:` before each line that does not have it. */
  comment: Schema.String
})
export type SseComment = typeof SseComment.Type

/** Turns comments in quiet times on or off; the last one counts. */
export const SseKeepAlive = Schema.Struct({
  type: Schema.Literal("sse.keepalive"),
  /** Seconds between comments; 0 stops them. */
  interval: Seconds,
  /** Text of the comment. Default `""`. */
  comment: Schema.optionalKey(Schema.String)
})
export type SseKeepAlive = typeof SseKeepAlive.Type

/** Ends the stream now, as a return of the application does. A second one does nothing. */
export const SseClose = Schema.Struct({
  type: Schema.Literal("sse.close"),
  /** For the log; never reaches the client. Default: none. */
  reason: Schema.optionalKey(Schema.String)
})
export type SseClose = typeof SseClose.Type

/** Answers with a plain response instead of a stream; instead of `sse.start`. 204 stops a client's reconnecting. */
export const SseHttpResponseStart = Schema.Struct({ type: Schema.Literal("sse.http.response.start"), ...start })
export type SseHttpResponseStart = typeof SseHttpResponseStart.Type

/** A part of the plain response's body. */
export const SseHttpResponseBody = Schema.Struct({ type: Schema.Literal("sse.http.response.body"), ...part })
export type SseHttpResponseBody = typeof SseHttpResponseBody.Type

/** What the application says on sse. */
export const SseSend = Schema.Union([
  SseStart,
  SseSendEvent,
  SseComment,
  SseKeepAlive,
  SseClose,
  SseHttpResponseStart,
  SseHttpResponseBody
])
export type SseSend = typeof SseSend.Type

// ---- lifespan

/** The worker is about to serve and waits for an answer. */
export const LifespanStartup = Schema.Struct({ type: Schema.Literal("lifespan.startup") })
export type LifespanStartup = typeof LifespanStartup.Type

/** The worker has closed its last connection and waits for an answer. */
export const LifespanShutdown = Schema.Struct({ type: Schema.Literal("lifespan.shutdown") })
export type LifespanShutdown = typeof LifespanShutdown.Type

/** What the server says on lifespan. */
export const LifespanReceive = Schema.Union([LifespanStartup, LifespanShutdown])
export type LifespanReceive = typeof LifespanReceive.Type

const failure = {
  /** For the log. Default `""`. */
  message: Schema.optionalKey(Schema.String)
}

/** The worker may serve. */
export const LifespanStartupComplete = Schema.Struct({ type: Schema.Literal("lifespan.startup.complete") })
export type LifespanStartupComplete = typeof LifespanStartupComplete.Type

/** The worker must not serve; the process ends with an error. */
export const LifespanStartupFailed = Schema.Struct({ type: Schema.Literal("lifespan.startup.failed"), ...failure })
export type LifespanStartupFailed = typeof LifespanStartupFailed.Type

/** Everything is put away. */
export const LifespanShutdownComplete = Schema.Struct({ type: Schema.Literal("lifespan.shutdown.complete") })
export type LifespanShutdownComplete = typeof LifespanShutdownComplete.Type

/** Something could not be put away; logged, and the process ends all the same. */
export const LifespanShutdownFailed = Schema.Struct({ type: Schema.Literal("lifespan.shutdown.failed"), ...failure })
export type LifespanShutdownFailed = typeof LifespanShutdownFailed.Type

/** What the application answers on lifespan. */
export const LifespanSend = Schema.Union([
  LifespanStartupComplete,
  LifespanStartupFailed,
  LifespanShutdownComplete,
  LifespanShutdownFailed
])
export type LifespanSend = typeof LifespanSend.Type
