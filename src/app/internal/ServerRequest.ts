/**
 * effect/http's HttpServerRequest over an HttpExchange. Every field is computed when it is first read, so a handler
 * that ignores the request pays for one small object. Owns the reading of the request body, which happens once: the
 * first reader decides whether it is streamed or kept whole.
 *
 * Never limits bodies by itself: the server has a limit for all requests, `HttpIncomingMessage.MaxBodySize` may set a
 * smaller one for some.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Cookies from "effect/http/Cookies"
import * as Headers from "effect/http/Headers"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import { HttpServerError, InternalError, RequestParseError } from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Multipart from "effect/http/Multipart"
import * as UrlParams from "effect/http/UrlParams"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import type * as Path from "effect/Path"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import type { HttpReceive } from "../../schema/Event.ts"
import type { ClientExchange, HttpExchange } from "../Exchange.ts"
import * as PlainExchange from "./PlainExchange.ts"
import { RawSocket } from "./RawSocket.ts"
import { RequestSocket } from "./RequestSocket.ts"
import * as Target from "./Target.ts"

type Modification = Parameters<HttpServerRequest.HttpServerRequest["modify"]>[0]
type PersistedParts = Effect.Effect<
  Multipart.Persisted,
  Multipart.MultipartError,
  Scope.Scope | FileSystem.FileSystem | Path.Path
>

/** Made once per exchange, and by `modify` for a changed view of the same exchange. */
export class ServerRequest extends Inspectable.Class implements HttpServerRequest.HttpServerRequest {
  readonly [HttpServerRequest.TypeId] = HttpServerRequest.TypeId
  readonly [HttpIncomingMessage.TypeId] = HttpIncomingMessage.TypeId
  /** The exchange as handlers see it. */
  readonly source: HttpExchange
  /** The exchange as it came. */
  readonly exchange: ClientExchange
  private given = false
  private unansweredCause: Cause.Cause<never> | undefined
  /** The request that owns the body; itself unless made by `modify`. */
  private readonly original: ServerRequest
  private readonly changes: Modification | undefined
  private headersCache: Headers.Headers | undefined
  private cookiesCache: Readonly<Record<string, string>> | undefined
  private bytesCache: Effect.Effect<Uint8Array, HttpServerError> | undefined
  private upgradeCache: RawSocket | RequestSocket | undefined
  private multipartCache: PersistedParts | undefined
  private bodyTaken = false
  private bodyEnded = false

  constructor(exchange: ClientExchange, original?: ServerRequest, changes?: Modification) {
    super()
    this.exchange = exchange
    this.source = original?.source ?? PlainExchange.make(exchange)
    this.original = original ?? this
    this.changes = changes
  }

  /** An App that was mounted in the handler has the exchange to its end: the handler's response is not sent. */
  give(): void {
    this.original.given = true
  }

  get isGiven(): boolean {
    return this.original.given
  }

  /** The handler ends with `cause`, and nobody answers in its name. */
  leaveUnanswered(cause: Cause.Cause<unknown>): void {
    this.original.unansweredCause = cause as Cause.Cause<never>
  }

  get unanswered(): Cause.Cause<never> | undefined {
    return this.original.unansweredCause
  }

  modify(options: Modification): ServerRequest {
    const changes: Record<string, unknown> = { ...this.changes }
    for (const [name, value] of Object.entries(options)) if (value !== undefined) changes[name] = value
    return new ServerRequest(this.exchange, this.original, changes)
  }

  get method(): string {
    return this.source.scope.method
  }

  get url(): string {
    return this.changes?.url ?? Target.mountedUrl(this.source.scope)
  }

  get originalUrl(): string {
    return Target.absoluteUrl(this.source.scope)
  }

  get protocol(): "http" | "https" | undefined {
    return this.changes?.protocol
  }

  get headers(): Headers.Headers {
    return this.changes?.headers ?? (this.original.headersCache ??= joinHeaders(this.source.scope.headers))
  }

  get cookies(): Readonly<Record<string, string>> {
    return this.cookiesCache ??= Cookies.parseHeader(this.headers["cookie"] ?? "")
  }

  get remoteAddress(): Option.Option<string> {
    return this.changes?.remoteAddress ?? Option.fromUndefinedOr(this.source.scope.client?.[0])
  }

  get peerAddress(): Option.Option<string> {
    return this.changes?.peerAddress ?? this.remoteAddress
  }

  get stream(): Stream.Stream<Uint8Array, HttpServerError> {
    const owner = this.original
    return Stream.suspend(() => {
      if (owner.bytesCache !== undefined) {
        return Stream.filter(Stream.fromEffect(owner.bytesCache), (bytes) => bytes.length > 0)
      }
      if (owner.bodyTaken) return Stream.fail(owner.failure("The body was read before"))
      owner.bodyTaken = true
      return Stream.fromPull(
        Effect.map(
          owner.reader(0),
          (next) =>
            Effect.flatMap(next, (bytes) => bytes === undefined ? Cause.done() : Effect.succeed([bytes] as const))
        )
      )
    })
  }

  get arrayBuffer(): Effect.Effect<ArrayBuffer, HttpServerError> {
    return Effect.map(
      this.bytes,
      (bytes) => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer
    )
  }

  get text(): Effect.Effect<string, HttpServerError> {
    return Effect.map(this.bytes, (bytes) => textDecoder.decode(bytes))
  }

  get json(): Effect.Effect<Schema.Json, HttpServerError> {
    return this.parsed(this.text, (text) => text === "" ? null : JSON.parse(text) as Schema.Json)
  }

  get urlParamsBody(): Effect.Effect<UrlParams.UrlParams, HttpServerError> {
    // A leading "?" belongs to the first name; URLSearchParams would take it for the start of a query.
    return this.parsed(
      this.bytes,
      (bytes) => UrlParams.fromInput(new URLSearchParams(formDecoder.decode(bytes).replace(/^\?/, "%3F")))
    )
  }

  get multipart(): PersistedParts {
    return this.original.multipartCache ??= Effect.runSync(Effect.cached(Multipart.toPersisted(this.multipartStream)))
  }

  get multipartStream(): Stream.Stream<Multipart.Part, Multipart.MultipartError> {
    return Stream.pipeThroughChannel(
      Stream.mapError(
        this.stream,
        (error) => Multipart.MultipartError.fromReason(isTooLarge(error) ? "BodyTooLarge" : "InternalError", error)
      ),
      Multipart.makeChannel(this.headers)
    )
  }

  get upgrade(): Effect.Effect<Socket.Socket, HttpServerError> {
    return this.upgradeWith({})
  }

  upgradeWith(
    options: { readonly headers?: Headers.Input | undefined }
  ): Effect.Effect<Socket.Socket, HttpServerError> {
    const headers = Object.entries(Headers.fromInput(options.headers))
    const upgrade = this.original.upgradeCache ??= this.makeUpgrade()
    if (upgrade === undefined) return Effect.fail(this.failure("Not a request that can be upgraded"))
    if (upgrade instanceof RequestSocket) {
      return headers.length === 0
        ? Effect.succeed(upgrade.socket)
        : this.wrongUpgrade("WebSocket upgrades do not support custom response headers")
    }
    const own = headers.find(([name]) => headersOfUpgrade.has(name))
    return own === undefined
      ? Effect.succeed(upgrade.with(headers))
      : this.wrongUpgrade(`Upgrade responses cannot set the ${own[0]} header`)
  }

  /** True once the request was upgraded: nobody answers it any more. */
  get isUpgraded(): boolean {
    return this.original.upgradeCache?.accepted === true
  }

  override toString(): string {
    return `HttpServerRequest(${this.method} ${this.source.scope.rawPath})`
  }

  toJSON(): unknown {
    return HttpIncomingMessage.inspect(this, {
      _id: "HttpServerRequest",
      method: this.method,
      url: UrlParams.redactUrl(this.originalUrl)
    })
  }

  /**
   * The body for an App that reads it as events. What was read whole before is given again, what was streamed away is
   * empty; what the App reads, nobody else can.
   */
  get received(): HttpExchange["receive"] {
    let receive: HttpExchange["receive"] | undefined
    return Effect.suspend(() => receive ??= this.takeBody())
  }

  private takeBody(): HttpExchange["receive"] {
    const { original: owner, source } = this
    const isUnread = !owner.bodyTaken
    owner.bodyTaken = true
    if (isUnread || (owner.bytesCache === undefined && !owner.bodyEnded)) return source.receive
    let next: HttpExchange["receive"] | undefined = Effect.match(owner.bytesCache ?? Effect.succeed(noBytes), {
      onSuccess: (body): HttpReceive => ({ type: "http.request", body, more: false }),
      onFailure: (): HttpReceive => ({ type: "http.disconnect" })
    })
    return Effect.suspend(() => {
      const event = next ?? source.receive
      next = undefined
      return event
    })
  }

  /** The whole body, read on first use and kept. */
  private get bytes(): Effect.Effect<Uint8Array, HttpServerError> {
    const owner = this.original
    return Effect.suspend(() => {
      if (owner.bytesCache !== undefined) return owner.bytesCache
      if (owner.bodyTaken) return Effect.fail(owner.failure("The body was read before, as a stream"))
      owner.bodyTaken = true
      // Whoever asks again after a reader was interrupted gets what that one had read as well.
      const parts: Array<Uint8Array> = []
      const whole = Effect.suspend(() => Effect.flatMap(owner.reader(lengthOf(parts)), (next) => collect(next, parts)))
      return owner.bytesCache = Effect.runSync(Effect.cached(whole))
    })
  }

  /** Yields the effect that reads the next part that is not empty, `undefined` after the last. */
  private reader(bytesBefore: number): Effect.Effect<Effect.Effect<Uint8Array | undefined, HttpServerError>> {
    return Effect.withFiber((fiber) => {
      const limit = fiber.getRef(HttpIncomingMessage.MaxBodySize)
      const maxBytes = limit === undefined ? Infinity : Number(limit)
      let readBytes = bytesBefore
      const next: Effect.Effect<Uint8Array | undefined, HttpServerError> = Effect.flatMap(this.part, (part) => {
        if (part === undefined) return Effect.undefined
        readBytes += part.length
        if (readBytes > maxBytes) return Effect.fail(this.tooLarge())
        return part.length === 0 ? next : Effect.succeed(part)
      })
      return Effect.succeed(next)
    })
  }

  /** What the client sends next of its body, `undefined` after the last part. */
  private get part(): Effect.Effect<Uint8Array | undefined, HttpServerError> {
    const owner = this.original
    return Effect.suspend(() =>
      owner.bodyEnded ? Effect.undefined : Effect.flatMap(this.source.receive, (event) => {
        if (event.type === "http.disconnect") {
          return Effect.fail(
            this.source.connection.disconnectReason === "body_too_large"
              ? this.tooLarge()
              : this.failure("The client left before the body was complete")
          )
        }
        owner.bodyEnded = !event.more
        return Effect.succeed(event.body)
      })
    )
  }

  private get restOfBody(): Effect.Effect<void, HttpServerError> {
    return Effect.flatMap(this.part, (part) => part === undefined ? Effect.void : this.restOfBody)
  }

  private parsed<A, B>(
    input: Effect.Effect<A, HttpServerError>,
    parse: (input: A) => B
  ): Effect.Effect<B, HttpServerError> {
    return Effect.flatMap(input, (value) =>
      Effect.try({
        try: () => parse(value),
        catch: (cause) => new HttpServerError({ reason: new RequestParseError({ request: this, cause }) })
      }))
  }

  private makeUpgrade(): RawSocket | RequestSocket | undefined {
    switch (this.exchange.type) {
      case "websocket":
        return new RequestSocket(this.exchange)
      case "http":
        return RawSocket.make(this.exchange, this.restOfBody)
      case "sse":
        return undefined
    }
  }

  private wrongUpgrade(description: string): Effect.Effect<never, HttpServerError> {
    return Effect.fail(new HttpServerError({ reason: new InternalError({ request: this, description }) }))
  }

  private failure(description: string): HttpServerError {
    return new HttpServerError({ reason: new RequestParseError({ request: this, description }) })
  }

  private tooLarge(): HttpServerError {
    return new HttpServerError({ reason: new RequestParseError({ request: this, reason: "BodyTooLarge" }) })
  }
}

/** What belongs to the switch itself, and lengths: nothing of HTTP follows a 101. */
const headersOfUpgrade = new Set(["connection", "upgrade", "content-length", "transfer-encoding"])

const noBytes = new Uint8Array(0)

const textDecoder = new TextDecoder()
/** In a form, a byte order mark is data. */
const formDecoder = new TextDecoder("utf-8", { ignoreBOM: true })

const isTooLarge = (error: HttpServerError): boolean =>
  error.reason._tag === "RequestParseError" && error.reason.reason === "BodyTooLarge"

/** Fields that have one value: of several lines the first counts, as it does on NodeHttpServer. */
const singular = new Set([
  "age",
  "authorization",
  "content-length",
  "content-type",
  "etag",
  "expires",
  "from",
  "host",
  "if-modified-since",
  "if-unmodified-since",
  "last-modified",
  "location",
  "max-forwards",
  "proxy-authorization",
  "referer",
  "retry-after",
  "server",
  "user-agent"
])

/** RFC 9110 section 5.3: lines of one name are one list. Cookies have their own separator (RFC 6265 section 5.4). */
const joinHeaders = (entries: HttpExchange["scope"]["headers"]): Headers.Headers => {
  const record: Record<string, string> = Object.create(null)
  for (const [name, value] of entries) {
    const before = record[name]
    if (before === undefined) record[name] = value
    else if (!singular.has(name)) record[name] = `${before}${name === "cookie" ? "; " : ", "}${value}`
  }
  return Headers.fromRecordUnsafe(record)
}

const collect = (
  next: Effect.Effect<Uint8Array | undefined, HttpServerError>,
  parts: Array<Uint8Array>
): Effect.Effect<Uint8Array, HttpServerError> => {
  const more: Effect.Effect<Uint8Array, HttpServerError> = Effect.flatMap(next, (part) => {
    if (part === undefined) return Effect.succeed(concat(parts))
    parts.push(part)
    return more
  })
  return more
}

const lengthOf = (parts: ReadonlyArray<Uint8Array>): number => parts.reduce((sum, part) => sum + part.length, 0)

const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  if (parts.length === 1) return parts[0]!
  const whole = new Uint8Array(lengthOf(parts))
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.length
  }
  return whole
}
