/**
 * A stream of server-sent events as values: typed data, streams and clocks that stop with the client, an end that
 * everyone sees. Owns what is sent on its exchange; a request's body is received from `exchange` as ever.
 *
 * Works on the events of the contract alone, so it is the same on every server, wire and test client.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { SseSend, SseSendEvent } from "../schema/Event.ts"
import type { Headers } from "../schema/Scope.ts"
import * as CloseInfo from "./CloseInfo.ts"
import type { SseExchange } from "./Exchange.ts"
import { headersFor, SessionBase } from "./internal/SessionBase.ts"
import { jsonEncoder, type PlainSchema } from "./internal/SessionJson.ts"
import { SendError } from "./SendError.ts"

/** One event. */
export interface Event<out Data = string> {
  /** Encoded by the session's Schema to JSON; without one a string as it is. */
  readonly data: Data
  /** Name of the event, without CR and LF. Default: none, which clients read as `message`. */
  readonly event?: string
  /** What a reconnecting client repeats as `lastEventId`, without CR, LF and NUL. Default: unchanged. */
  readonly id?: string
  /** Milliseconds a client waits before it reconnects. Default: unchanged. */
  readonly retry?: number
}

/** What the events of a stream hold. */
export interface Options {
  /** Type of `data`, sent as JSON. Must not need services. Default: strings as they are. */
  readonly data?: PlainSchema
}

/** What a session with these options sends as `data`. */
export type Sent<O> = O extends { readonly data: { readonly Type: infer A } } ? A : string

/** How to start a stream. */
export interface StartOptions {
  /** Default 200; clients give up on others. */
  readonly status?: number
  /** Further headers. Default none; the server adds `content-type` and `cache-control`. */
  readonly headers?: Headers
}

/** One stream to a client. Its functions need no `this`. */
export interface SseSession<in Data = string> {
  /** The exchange below: scope, request body, connection, transport. */
  readonly exchange: SseExchange
  /**
   * The id of the last event that a reconnecting client has seen: its `last-event-id` header read as UTF-8, else the
   * query parameter `lastEventId`, which polyfills send where they cannot set headers. `undefined` where it is empty.
   */
  readonly lastEventId: string | undefined
  /** Starts the stream. Only needed for a status, for headers, or to be early: use starts by itself. */
  readonly start: (options?: StartOptions) => Effect.Effect<void, SendError>
  /**
   * Sends an event; starts the stream first. Suspends while the client is slow; does nothing once it has gone.
   *
   * **Fails with** `SendError`: a field cannot be sent, or the stream was closed or declined by us.
   */
  readonly send: (event: Event<Data>) => Effect.Effect<void, SendError>
  /**
   * Sends an event if that is possible without waiting. Never fails. Starts the stream first.
   *
   * **Returns** false when the event has certainly not been sent: the stream is over, a field cannot be sent, or the
   * transport is at its high watermark. True when it was handed over, which is not yet delivered.
   */
  readonly trySend: (event: Event<Data>) => Effect.Effect<boolean>
  /** Sends the events of a stream, until it ends or the session does; the stream is interrupted then. */
  readonly sendAll: <E, R>(events: Stream.Stream<Event<Data>, E, R>) => Effect.Effect<void, E | SendError, R>
  /** Sends the values of a stream as `sendAll` does, each as the event that `toEvent` makes of it, by default its data. */
  readonly each: {
    <E, R>(values: Stream.Stream<Data, E, R>): Effect.Effect<void, E | SendError, R>
    <A, E, R>(
      values: Stream.Stream<A, E, R>,
      toEvent: (value: A) => Event<Data>
    ): Effect.Effect<void, E | SendError, R>
  }
  /**
   * Sends an event, or what an Effect yields, now and then `interval` after each. Runs until the session ends: fork it
   * where there is more to do.
   */
  readonly every: <E = never, R = never>(
    interval: Duration.Input,
    event: Event<Data> | Effect.Effect<Event<Data>, E, R>
  ) => Effect.Effect<void, E | SendError, R>
  /** Sends a line that clients ignore. */
  readonly comment: (text: string) => Effect.Effect<void, SendError>
  /** Has the server send a comment whenever nothing was sent for `interval` (0: no more). */
  readonly keepAlive: (interval: Duration.Input, comment?: string) => Effect.Effect<void, SendError>
  /**
   * Ends the stream; one that was not started is started first and is empty. Does nothing once the session is over. The
   * reason is for the log and for `closed`; it never reaches the client.
   */
  readonly close: (reason?: string) => Effect.Effect<void, SendError>
  /**
   * Answers with a plain response instead of a stream; 204 stops a client's reconnecting. Text is
   * `text/plain; charset=utf-8` unless `headers` are given.
   *
   * **Fails with** `SendError` when the stream has been started or declined.
   */
  readonly deny: (status: number, body?: string | Uint8Array, headers?: Headers) => Effect.Effect<void, SendError>
  /** Succeeds when the session has ended, whichever side ended it. */
  readonly closed: Effect.Effect<CloseInfo.CloseInfo>
  /** Has a callback called at the end, at once if it is over. It runs also when the application does not any more. */
  readonly onClose: (callback: (info: CloseInfo.CloseInfo) => void) => Effect.Effect<void>
  /** True from the start until somebody ends the stream. */
  readonly isOpen: boolean
}

/** Writes the data of a route's events. Made by `codec`. */
export class Codec<in Data> {
  /** Fails with `InvalidField` when the value does not fit its Schema. */
  readonly encode: (data: Data) => Effect.Effect<string, SendError>

  constructor(encode: Codec<Data>["encode"]) {
    this.encode = encode
  }
}

const refuse = (problem: string): SendError =>
  new SendError({ protocol: "sse", reason: { _tag: "InvalidField", event: "sse.send", field: "data", problem } })

/** Strings as they are; the exchange refuses what is none. */
const plain = new Codec<string>(Effect.succeed)

/** Builds what writes the events of all sessions of a route. Building compiles the Schema; a session does not. */
export const codec = <const O extends Options>(options: O): Codec<Sent<O>> =>
  // The types follow the same rule as the values, which TypeScript cannot see.
  (options.data === undefined ? plain : new Codec(jsonEncoder(options.data, refuse))) as Codec<Sent<O>>

/**
 * Makes the session of an exchange. Pure; nothing happens until it is used. Options are compiled each time, a prebuilt
 * `codec` is not.
 *
 * **Example**
 * ```ts
 * const ticks = App.sse((exchange) => SseSession.make(exchange).every("1 second", { data: "tick" }))
 * ```
 */
export const make: {
  (exchange: SseExchange): SseSession
  <Data>(exchange: SseExchange, codec: Codec<Data>): SseSession<Data>
  <const O extends Options>(exchange: SseExchange, options: O): SseSession<Sent<O>>
} = (exchange: SseExchange, data: Codec<any> | Options = plain): SseSession<any> =>
  new Session(exchange, data instanceof Codec ? data : codec(data))

class Session<Data> extends SessionBase<SseExchange, Event<Data>> implements SseSession<Data> {
  protected readonly openingEvent = { type: "sse.start" } as const
  private readonly codec: Codec<Data>
  private closeReason: string | undefined = undefined

  constructor(exchange: SseExchange, codec: Codec<Data>) {
    super(exchange)
    this.codec = codec
  }

  get lastEventId(): string | undefined {
    const { headers, queryString } = this.exchange.scope
    const sent = headers.find((header) => header[0] === "last-event-id")
    const id = sent === undefined ? new URLSearchParams(queryString).get("lastEventId") : fromBytes(sent[1])
    return id === null || id === "" ? undefined : id
  }

  readonly start = (options: StartOptions = {}): Effect.Effect<void, SendError> =>
    this.open({ type: "sse.start", ...options })

  encode(event: Event<Data>): Effect.Effect<SseSend, SendError> {
    return Effect.mapEager(
      this.codec.encode(event.data),
      (data): SseSendEvent => ({ ...event, type: "sse.send", data })
    )
  }

  readonly each = <A, E, R>(
    values: Stream.Stream<A, E, R>,
    // Without it the values are data.
    toEvent: (value: A) => Event<Data> = (data) => ({ data: data as unknown as Data })
  ): Effect.Effect<void, E | SendError, R> => this.sendAll(Stream.map(values, toEvent))

  readonly comment = (text: string): Effect.Effect<void, SendError> =>
    this.deliver({ type: "sse.comment", comment: text })

  readonly keepAlive = (interval: Duration.Input, comment = ""): Effect.Effect<void, SendError> =>
    this.deliver({ type: "sse.keepalive", interval: Duration.toSeconds(interval), comment })

  readonly close = (reason?: string): Effect.Effect<void, SendError> =>
    this.settled(Effect.suspend(() => {
      if (this.stage === "waiting") return Effect.andThen(this.ready, this.close(reason))
      if (!this.isOpen) return Effect.void
      this.closeReason = reason
      return this.lastWord("closed", { type: "sse.close", ...(reason === undefined ? {} : { reason }) })
    }))

  readonly deny = (
    status: number,
    body: string | Uint8Array = "",
    headers: Headers = headersFor(body)
  ): Effect.Effect<void, SendError> =>
    this.decline({ type: "sse.http.response.start", status, headers }, { type: "sse.http.response.body", body })

  protected readonly findEnd: Effect.Effect<CloseInfo.CloseInfo> = Effect.sync(() => {
    const cause = this.exchange.connection.disconnectReason
    return cause === undefined ? CloseInfo.fromApplication(this.closeReason) : CloseInfo.fromDisconnect(cause)
  })
}

/** A header's bytes as the text they mean; as they are where they are not UTF-8. */
const fromBytes = (value: string): string => {
  try {
    return utf8.decode(Uint8Array.from(value, (byte) => byte.charCodeAt(0)))
  } catch {
    return value
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
