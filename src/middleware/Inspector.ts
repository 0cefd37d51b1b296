/**
 * Shows each exchange to the developer when it ends: request and answer with their headers and the beginning of their
 * bodies, how long it took, and what the application failed with. Sessions and streams are shown when they open as well.
 *
 * Changes nothing that passes. What usually is a secret is hidden, and bytes of a client cannot move the cursor of the
 * terminal; bodies are shown all the same, so this is for development only. Where it is off it is not in the way at all.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Headers from "effect/http/Headers"
import * as UrlParams from "effect/http/UrlParams"
import * as Stream from "effect/Stream"
import { type ClientExchange, derive, type Middleware } from "../app/App.ts"
import { harmless } from "../app/DevFailure.ts"
import type * as Scope from "../schema/Scope.ts"

export interface Options {
  /** Takes one block: lines, each with its line feed. */
  readonly write: (block: string) => void
  /** Whether to colour by ANSI sequences. Default false. */
  readonly isColored?: boolean
  /** Characters of each body that are shown; more are kept nowhere. Default 1024. */
  readonly previewLength?: number
  /** Paths that are not shown begin with one of these. Default: those of development itself. */
  readonly without?: ReadonlyArray<string>
}

/** Makes the middleware. */
export const make = (options: Options): Middleware => (app) => (exchange) => {
  const without = options.without ?? ["/__slipway/"]
  return exchange.type === "lifespan" || without.some((start) => exchange.scope.path.startsWith(start))
    ? app(exchange)
    : Effect.withFiber((fiber) => {
      const inspection = new Inspection(
        exchange,
        options,
        fiber.getRef(Clock.Clock),
        fiber.getRef(Headers.CurrentRedactedNames)
      )
      return Effect.onExit(
        app(derive(exchange, { receive: inspection.receive, send: inspection.send } as never)),
        (exit) => Effect.sync(() => inspection.end(exit))
      )
    })
}

/** Beyond those of `Headers.CurrentRedactedNames`. */
const secretNames = ["proxy-authorization", "sec-websocket-key"]

/** Headers, and members of queries, of forms and of JSON, whose values nobody wants on a screen. */
const secretKey = "[\\w.-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|credential)[\\w.-]*"
const secretHeader = new RegExp(`^${secretKey}$`, "i")
const secretInJson = new RegExp(
  `("${secretKey}"\\s*:\\s*)(?:"(?:[^"\\\\]|\\\\.)*"?|\\[[^\\]]*\\]?|\\{[^}]*\\}?|[^\\s,}\\]]+)`,
  "gi"
)
const secretInForm = new RegExp(`((?:^|&)${secretKey}=)[^&]*`, "gi")
/** Of an address in a header, such as `referer` or `location`. */
const secretInUrl = new RegExp(`([?&#]${secretKey}=)[^&#\\s]*`, "gi")

/** Media types whose bytes are text. */
const textual =
  /^(?:text\/|application\/(?:[\w.+-]*\+)?(?:json|xml|javascript|graphql|x-www-form-urlencoded|x-ndjson)\b)/i

/** What a client sends may forge neither a line nor a colour. */
const inOneLine = (text: string): string => harmless(text).replaceAll("\n", "\\n")

const listOf = (headers: unknown): Scope.Headers => (headers ?? []) as Scope.Headers

const find = (headers: Scope.Headers, name: string): string =>
  headers.find((line) => line[0].toLowerCase() === name)?.[1] ?? ""

/** What either side has sent of a body. */
class Body {
  bytes = 0
  private preview = new Uint8Array(0)
  private readonly limit: number

  constructor(limit: number) {
    this.limit = limit
  }

  add(part: unknown): void {
    if (typeof part !== "string" && !(part instanceof Uint8Array)) return
    // Four bytes are the longest character of UTF-8.
    const room = this.limit * 4 - this.preview.length
    const bytes = typeof part === "string" ? new TextEncoder().encode(part) : part
    this.bytes += bytes.length
    if (room <= 0) return
    const grown = new Uint8Array(this.preview.length + Math.min(room, bytes.length))
    grown.set(this.preview)
    grown.set(bytes.subarray(0, room), this.preview.length)
    this.preview = grown
  }

  /** The beginning as text; `undefined` where there is none, or the type is not one of text. */
  text(type: string): string | undefined {
    if (this.bytes === 0 || !textual.test(type)) return undefined
    const whole = new TextDecoder().decode(this.preview, { stream: this.preview.length < this.bytes })
    const hidden = /^application\/x-www-form-urlencoded/i.test(type)
      ? whole.replace(secretInForm, "$1(hidden)")
      : whole.replace(secretInJson, "$1\"(hidden)\"")
    return hidden.length > this.limit || this.preview.length < this.bytes
      ? `${hidden.slice(0, this.limit)}...`
      : hidden
  }
}

/** An event of any protocol, as far as it is looked at. */
interface AnyEvent {
  readonly type: string
  readonly [field: string]: unknown
}

const isWhole = ({ length, offset, stream }: AnyEvent): boolean =>
  stream !== undefined && offset === undefined && length === undefined

class Inspection {
  private readonly exchange: ClientExchange
  private readonly options: Options
  private readonly clock: Clock.Clock
  private readonly redacted: ReadonlyArray<string | RegExp>
  private readonly startedAt: bigint
  private readonly requestBody: Body
  private readonly responseBody: Body
  private status: number | undefined
  private responseHeaders: Scope.Headers = []
  /** Where a body comes from that does not pass here. */
  private source = ""
  private messagesIn = 0
  private messagesOut = 0
  private isOpen = false
  private closing = ""

  constructor(
    exchange: ClientExchange,
    options: Options,
    clock: Clock.Clock,
    redacted: ReadonlyArray<string | RegExp>
  ) {
    this.exchange = exchange
    this.options = options
    this.clock = clock
    this.redacted = redacted
    this.startedAt = clock.monotonicTimeNanosUnsafe()
    const limit = options.previewLength ?? 1024
    this.requestBody = new Body(limit)
    this.responseBody = new Body(limit)
  }

  get receive(): Effect.Effect<unknown> {
    return Effect.map(this.exchange.receive as Effect.Effect<AnyEvent>, (event) => {
      this.received(event)
      return event
    })
  }

  readonly send = (event: AnyEvent): Effect.Effect<void, unknown> =>
    Effect.map((this.exchange.send as (event: AnyEvent) => Effect.Effect<void, unknown>)(this.watched(event)), () => {
      this.sent(event)
    })

  /** The bytes of a stream are seen as they pass; of a part of one they are the server's to count. */
  private watched(event: AnyEvent): AnyEvent {
    if (event.type !== "http.response.body" || !isWhole(event)) return event
    const stream = event["stream"] as Stream.Stream<Uint8Array, unknown>
    return {
      ...event,
      stream: Stream.map(stream, (bytes) => {
        this.responseBody.add(bytes)
        return bytes
      })
    }
  }

  private received(event: AnyEvent): void {
    switch (event.type) {
      case "http.request":
      case "sse.request":
        return this.requestBody.add(event["body"])
      case "websocket.receive":
        this.messagesIn++
        return
      case "websocket.disconnect":
        this.closing = `${String(event["code"])} ${String(event["reason"])}`.trim()
        return
      case "sse.disconnect":
        this.closing = String(event["reason"])
    }
  }

  private sent(event: AnyEvent): void {
    switch (event.type) {
      case "http.response.start":
      case "sse.http.response.start":
      case "websocket.http.response.start":
        this.status = Number(event["status"])
        this.responseHeaders = listOf(event["headers"])
        return
      case "http.response.body":
      case "sse.http.response.body":
      case "websocket.http.response.body":
        if (event["file"] !== undefined) this.source = `file ${String(event["file"])}`
        if (event["stream"] !== undefined && !isWhole(event)) this.source = "a part of a stream"
        return this.responseBody.add(event["body"])
      case "websocket.accept":
        return this.opened(101, event)
      case "sse.start":
        return this.opened(Number(event["status"] ?? 200), event)
      case "websocket.send":
      case "sse.send":
        this.messagesOut++
        return
      case "websocket.close":
        this.closing = this.isOpen ? String(event["code"] ?? 1000) : "declined"
        if (!this.isOpen) this.status = 403
    }
  }

  private opened(status: number, event: AnyEvent): void {
    this.isOpen = true
    this.status = status
    this.responseHeaders = listOf(event["headers"])
    this.write([`${this.title()}  ${this.paint("32", "open")}`, ...this.details()])
  }

  end(exit: Exit.Exit<unknown, unknown>): void {
    const error = this.errorOf(exit)
    if (this.isOpen) {
      const counts = `${this.messagesIn} in, ${this.messagesOut} out`
      const parts = [this.title(), this.paint("33", "closed"), inOneLine(this.closing), counts, this.duration()]
      return this.write([parts.filter((part) => part !== "").join("  "), ...error])
    }
    const bytes = this.source === "" ? `${this.responseBody.bytes} B` : inOneLine(this.source)
    this.write([
      [this.title(), this.statusText(exit), this.duration(), bytes].join("  "),
      ...this.details(),
      ...error
    ])
  }

  // ---- lines

  private title(): string {
    const { scope } = this.exchange
    const method = scope.type === "websocket" ? "WS" : scope.type === "sse" ? `SSE ${scope.method}` : scope.method
    const query = scope.queryString === "" ? "" : `?${scope.queryString.replace(secretInForm, "$1(hidden)")}`
    return this.paint("1", `${method} ${UrlParams.redactUrl(scope.rawPath + query)}`)
  }

  private statusText(exit: Exit.Exit<unknown, unknown>): string {
    if (this.status === undefined) {
      const isGone = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
      return this.paint(
        "31",
        isGone ? `cut (${this.exchange.connection.disconnectReason ?? "interrupted"})` : "no answer"
      )
    }
    return this.paint(this.status >= 500 ? "31" : this.status >= 400 ? "33" : "32", String(this.status))
  }

  private duration(): string {
    const now = this.clock.monotonicTimeNanosUnsafe()
    const millis = Number(now - this.startedAt) / 1e6
    return millis < 1000 ? `${millis.toFixed(1)} ms` : `${(millis / 1000).toFixed(2)} s`
  }

  private details(): ReadonlyArray<string> {
    return [
      ...this.part("request", this.exchange.scope.headers, this.requestBody),
      ...this.part("response", this.responseHeaders, this.responseBody)
    ]
  }

  private part(name: string, headers: Scope.Headers, body: Body): ReadonlyArray<string> {
    const text = body.text(find(headers, "content-type"))
    if (headers.length === 0 && text === undefined) return []
    return [
      this.paint("2", `  ${name}`),
      ...headers.map(([name, value]) =>
        `    ${this.paint("36", name)}: ${
          this.isSecret(name) ? "(hidden)" : inOneLine(value.replace(secretInUrl, "$1(hidden)"))
        }`
      ),
      ...(text === undefined ? [] : text.split(/\r?\n/).map((line) => `    ${this.paint("2", "|")} ${inOneLine(line)}`))
    ]
  }

  private isSecret(name: string): boolean {
    const lower = name.toLowerCase()
    return secretNames.includes(lower)
      || secretHeader.test(lower)
      || this.redacted.some((known) => typeof known === "string" ? known.toLowerCase() === lower : known.test(lower))
  }

  private errorOf(exit: Exit.Exit<unknown, unknown>): ReadonlyArray<string> {
    if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return []
    return [
      this.paint("31", "  error"),
      ...Cause.pretty(exit.cause).split("\n").slice(0, 20).map((line) => `    ${inOneLine(line)}`)
    ]
  }

  private paint(code: string, text: string): string {
    return this.options.isColored === true ? `\x1b[${code}m${inOneLine(text)}\x1b[0m` : inOneLine(text)
  }

  private write(lines: ReadonlyArray<string>): void {
    this.options.write(`${lines.join("\n")}\n`)
  }
}
