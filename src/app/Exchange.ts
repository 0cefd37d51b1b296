/**
 * One conversation between the server and an application: what arrived, what the client says next, what we answer,
 * and the two live handles that stand beside them. Every server, test client, router and middleware speaks this shape.
 *
 * Contract and types only; who makes an exchange lives in layers/.
 */
import type * as Effect from "effect/Effect"
import type { DisconnectReason } from "../schema/DisconnectReason.ts"
import type {
  HttpReceive,
  HttpSend,
  LifespanReceive,
  LifespanSend,
  SseReceive,
  SseSend,
  WebSocketReceive,
  WebSocketSend
} from "../schema/Event.ts"
import type { HttpScope, LifespanScope, SseScope, WebSocketScope } from "../schema/Scope.ts"
import type { SendError } from "./SendError.ts"

/**
 * What is known about the client's end and about the answer, live. Facts change once and never back.
 *
 * Exactly one of `onDisconnect` and `onComplete` fires for an exchange. On an abnormal end the order is: `isConnected`
 * turns false, `disconnectReason` is set, `disconnected` resolves, callbacks run in the order of registration, the
 * `*.disconnect` event is queued, the exchange's fiber is interrupted.
 *
 * **Source** reference section 1.8.
 */
export interface ConnectionState {
  /** Unique among the exchanges of this process, safe in logs and headers. */
  readonly requestId: string
  /** True until the exchange ends, normally or not. */
  readonly isConnected: boolean
  /** Why the exchange ended abnormally; `undefined` while it is open and after a normal end. */
  readonly disconnectReason: DisconnectReason | undefined
  /** True once an answer was started by anyone: application, middleware, or the server's own 500. */
  readonly responseStarted: boolean
  /** True once the last byte of the answer was handed to the connection. */
  readonly responseComplete: boolean
  /** True once the server was told to stop. Not a disconnect: the answer may still be completed. */
  readonly isShuttingDown: boolean
  /** Succeeds with the reason when the exchange ends abnormally; never resolves after a normal end. */
  readonly disconnected: Effect.Effect<DisconnectReason>
  /** Succeeds when the server starts to stop, at once if it already has. */
  readonly shuttingDown: Effect.Effect<void>
  /** Calls `callback` on an abnormal end, at once if it already happened. A callback that throws is logged. */
  readonly onDisconnect: (callback: (reason: DisconnectReason) => void) => void
  /** Calls `callback` when the answer is complete, at once if it already is. A callback that throws is logged. */
  readonly onComplete: (callback: () => void) => void
}

/**
 * How much of what was sent still waits for the client, live.
 *
 * `send` suspends by itself above the high watermark until the low one; this handle is for applications that want to
 * skip or merge messages instead of waiting.
 *
 * **Source** reference section 1.9.
 */
export interface TransportState {
  /** Bytes accepted by `send` and not yet taken by the operating system. */
  readonly bufferedAmount: number
  /** Bytes at which `send` starts to wait. Default 65536. */
  readonly highWaterMark: number
  /** Bytes below which waiting `send`s go on. Default 16384. */
  readonly lowWaterMark: number
  /** Calls `callback` each time the buffer rises to the high watermark, at once if it is there now. */
  readonly onHighWater: (callback: () => void) => void
  /** Calls `callback` each time the buffer falls below the low watermark after having been at the high one. */
  readonly onDrain: (callback: () => void) => void
}

interface Base<Scope extends { readonly type: string }, Receive, Send> {
  /** The protocol; narrows `scope`, `receive` and `send` together. */
  readonly type: Scope["type"]
  /** What arrived: data and nothing else. */
  readonly scope: Scope
  /** The client's next event. Suspends until there is one; never fails. */
  readonly receive: Effect.Effect<Receive>
  /**
   * Our next event. Suspends above the high watermark; a no-op once the client has gone; out of order once our answer
   * is complete. Needs no `this`.
   */
  readonly send: (event: Send) => Effect.Effect<void, SendError>
}

interface Live {
  readonly connection: ConnectionState
  readonly transport: TransportState
}

/** One HTTP request and its answer. */
export interface HttpExchange extends Base<HttpScope, HttpReceive, HttpSend>, Live {}

/** One WebSocket session, from the handshake to the close. */
export interface WebSocketExchange extends Base<WebSocketScope, WebSocketReceive, WebSocketSend>, Live {}

/** One stream of server-sent events. */
export interface SseExchange extends Base<SseScope, SseReceive, SseSend>, Live {}

/** The start and the end of a worker; not a connection, so it has no live handles. */
export interface LifespanExchange extends Base<LifespanScope, LifespanReceive, LifespanSend> {}

/** Whatever an application can be asked to handle. Narrow on `type`. */
export type Exchange = HttpExchange | WebSocketExchange | SseExchange | LifespanExchange

/** An exchange with a client on the other end. */
export type ClientExchange = HttpExchange | WebSocketExchange | SseExchange
