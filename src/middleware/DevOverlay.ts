/**
 * What a browser sees of development with reload: pages of HTML get a script at their end, which is told here when to
 * load the page anew and what to lay over it. Also gives an application that fails by itself the developer's page.
 *
 * Owns the two addresses below `/__slipway/` and nothing else. Answers to other methods than GET, compressed ones, parts,
 * and those to scripts of a page pass as they are; so does the policy of an application. For one developer on one
 * machine: only the names of this machine are served, so that a page of a stranger cannot ask through DNS.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { type App, derive, type HttpExchange, type Middleware, respond, type SseExchange } from "../app/App.ts"
import * as DevFailure from "../app/DevFailure.ts"
import * as DevPage from "../app/DevPage.ts"
import * as DevScript from "../app/DevScript.ts"
import * as Handler from "../app/Handler.ts"
import type { HttpResponseBody, HttpResponseStart, HttpSend } from "../schema/Event.ts"
import type { Headers, HttpScope } from "../schema/Scope.ts"

export interface Options {
  /** Counts the changes that this worker has seen; a page of a lower one is told to load anew. */
  readonly generation: number
  /** The failure of the newest change, or none: the one of now first, then each later one. */
  readonly failures: Stream.Stream<Option.Option<DevFailure.DevFailure>>
  /** Reads the part of a file that an answer names. */
  readonly readFile: (path: string, offset: number, length: number | undefined) => Stream.Stream<Uint8Array, unknown>
}

/** Seconds between comments on the stream of events, so that one that is dead is noticed. */
const keepAliveSeconds = 15

const noStore: Headers = [["cache-control", "no-store"]]

/** Makes the middleware. Never use it where strangers can connect. */
export const make = (options: Options): Middleware => <E, R>(app: App<E, R>): App<E, R> => {
  const tag = DevScript.tag(options.generation)
  return (exchange) => {
    if (exchange.type !== "http" && exchange.type !== "sse") return app(exchange)
    const { headers, path, rootPath } = exchange.scope
    if (rootPath === "" && (path === DevScript.scriptPath || path === DevScript.eventsPath)) {
      return Effect.orDie(endpoint(exchange, options))
    }
    if (exchange.type === "sse") return app(exchange)
    const seen = hasPage(exchange.scope) && isOwnName(headers)
      ? derive(exchange, { send: new Injection(exchange, tag, options.readFile).send })
      : exchange
    return shown(app, seen)
  }
}

/** A failure that nobody has answered becomes the developer's page, as that of a Handler does. */
const shown = <E, R>(app: App<E, R>, exchange: HttpExchange): Effect.Effect<void, E, R> =>
  Effect.catchCause(
    app(exchange),
    (cause) =>
      Cause.hasInterruptsOnly(cause) || exchange.connection.responseStarted || !exchange.connection.isConnected
        ? Effect.failCause(cause)
        : Effect.orDie(Handler.make(Effect.failCause(cause as Cause.Cause<never>))(exchange))
  )

// ---- who may ask

const valueOf = (headers: Headers, name: string): string | undefined => headers.find((line) => line[0] === name)?.[1]

const thisMachine = /^(?:localhost|[a-z0-9-]+\.localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i

/** Whether the request names this machine, as only a developer's own browser does after DNS has been changed. */
const isOwnName = (headers: Headers): boolean => thisMachine.test(valueOf(headers, "host") ?? "")

/** Whether the page that asks is one of this server. Browsers that know it say so. */
const isSameOrigin = (headers: Headers, scheme: string): boolean => {
  const origin = valueOf(headers, "origin")
  if (origin !== undefined && origin !== `${scheme}://${valueOf(headers, "host")}`) return false
  const site = valueOf(headers, "sec-fetch-site")
  return site === undefined || site === "same-origin" || site === "none"
}

// ---- the two addresses

const endpoint = (exchange: HttpExchange | SseExchange, options: Options) => {
  const { headers, method, path, scheme } = exchange.scope
  const isAllowed = isOwnName(headers) && isSameOrigin(headers, scheme)
  if (exchange.type === "sse") {
    return isAllowed && method === "GET" && path === DevScript.eventsPath
      ? events(exchange, options)
      : declined(exchange, isAllowed ? 404 : 403)
  }
  if (!isAllowed) return respond(exchange.send, 403, "This is for pages of this machine", textHeaders)
  if (method !== "GET" && method !== "HEAD") return respond(exchange.send, 405, "", [["allow", "GET, HEAD"]])
  if (path === DevScript.eventsPath) return respond(exchange.send, 406, "This is a stream of events", textHeaders)
  return respond(exchange.send, 200, DevScript.script, [
    ["content-type", "text/javascript; charset=utf-8"],
    ["x-content-type-options", "nosniff"],
    ...noStore
  ])
}

const textHeaders: Headers = [["content-type", "text/plain; charset=utf-8"], ...noStore]

const declined = ({ send }: SseExchange, status: number) =>
  Effect.andThen(
    send({ type: "sse.http.response.start", status, headers: noStore }),
    send({ type: "sse.http.response.body" })
  )

/** Ends when the worker is told to stop: the browser comes back, to the one that has taken its place. */
const events = ({ connection, scope, send }: SseExchange, { failures, generation }: Options) => {
  const told = Option.match({
    onNone: () => send({ type: "sse.send", event: "fixed", data: "" }),
    onSome: (failure: DevFailure.DevFailure) =>
      send({ type: "sse.send", event: "error", data: JSON.stringify(forOverlay(failure)) })
  })
  const page = Number(/(?:^|&)generation=(\d{1,15})(?:&|$)/.exec(scope.queryString)?.[1] ?? generation)
  return Effect.gen(function*() {
    yield* send({ type: "sse.start", headers: noStore })
    yield* send({ type: "sse.keepalive", interval: keepAliveSeconds })
    yield* send({ type: "sse.send", event: "hello", data: String(generation), retry: DevScript.retryMillis })
    if (page < generation) return yield* send({ type: "sse.send", event: "reload", data: String(generation) })
    yield* Effect.raceAllFirst([
      Stream.runForEach(failures, told),
      connection.shuttingDown,
      Effect.asVoid(connection.disconnected)
    ])
  })
}

/** What the script writes, in the order and the words of the terminal. */
const forOverlay = ({ code, frames, message, title }: DevFailure.DevFailure) => ({
  title,
  message,
  place: code && DevFailure.placeOf(code),
  code: code && DevFailure.codeText(code),
  frames: frames.map((frame) => `at ${frame.call} ${DevFailure.placeOf(frame)}`).join("\n")
})

// ---- the script in a page

/** A request that may be answered with a page of its own; browsers say so where they fetch for a script. */
const hasPage = ({ headers, method }: HttpScope): boolean =>
  method === "GET" && /^(?:document|iframe|frame)?$/.test(valueOf(headers, "sec-fetch-dest") ?? "")

/** Facts about the very bytes that no longer hold, and what would keep an old page. */
const outdated = new Set(["etag", "last-modified", "accept-ranges", "cache-control", "content-length"])

/** Digests that only the application could make anew. */
const digests = new Set(["content-digest", "repr-digest", "digest", "content-md5"])

/** Follows one answer. */
class Injection {
  private readonly exchange: HttpExchange
  private readonly tag: string
  private readonly readFile: Options["readFile"]
  private isPage = false

  constructor(exchange: HttpExchange, tag: string, readFile: Options["readFile"]) {
    this.exchange = exchange
    this.tag = tag
    this.readFile = readFile
  }

  readonly send = (event: HttpSend): ReturnType<HttpExchange["send"]> => {
    switch (event.type) {
      case "http.response.start":
        this.isPage = isPage(event)
        return this.exchange.send(this.isPage ? { ...event, headers: this.headersFor(event.headers ?? []) } : event)
      case "http.response.body":
        return this.exchange.send(this.isPage && isLast(event) ? this.ended(event) : event)
      default:
        return this.exchange.send(event)
    }
  }

  private headersFor(headers: Headers): Headers {
    const length = valueOf(headers.map(([name, value]) => [name.toLowerCase(), value]), "content-length")
    const kept = headers.filter(([name]) => !outdated.has(name.toLowerCase())).map(([name, value]) =>
      [name, name.toLowerCase() === "content-security-policy" ? DevPage.widened(value) : value] as const
    )
    return length === undefined || !/^\d+$/.test(length)
      ? [...kept, ...noStore]
      : [...kept, ...noStore, ["content-length", String(Number(length) + this.tag.length)]]
  }

  private ended(event: HttpResponseBody): HttpResponseBody {
    const { body, file, length, offset = 0, stream, ...rest } = event
    const last = new TextEncoder().encode(this.tag)
    if (file !== undefined || stream !== undefined) {
      const source = file !== undefined ? this.readFile(file, offset, length) : part(stream!, offset, length)
      return { ...rest, stream: Stream.concat(source, Stream.make(last)) }
    }
    if (typeof body === "string" || body === undefined) return { ...rest, body: (body ?? "") + this.tag }
    const whole = new Uint8Array(body.length + last.length)
    whole.set(body)
    whole.set(last, body.length)
    return { ...rest, body: whole }
  }
}

const isPage = ({ headers = [], status }: HttpResponseStart): boolean => {
  if (status === 204 || status === 205 || status === 206 || status === 304) return false
  const names = new Map(headers.map(([name, value]) => [name.toLowerCase(), value]))
  return /^text\/html\s*(?:;|$)/i.test(names.get("content-type") ?? "")
    && /^(?:identity)?$/i.test(names.get("content-encoding") ?? "")
    && !names.has("content-range")
    && ![...digests].some((name) => names.has(name))
}

const isLast = ({ file, more, stream }: HttpResponseBody): boolean =>
  more !== true || file !== undefined || stream !== undefined

/** The bytes of a stream from `offset` on, `length` at most. */
const part = (
  stream: Stream.Stream<Uint8Array, unknown>,
  offset: number,
  length: number | undefined
): Stream.Stream<Uint8Array, unknown> => {
  if (offset === 0 && length === undefined) return stream
  return Stream.suspend(() => {
    let toSkip = offset
    let left = length ?? Infinity
    const cut = Stream.map(stream, (bytes) => {
      const skipped = Math.min(toSkip, bytes.length)
      toSkip -= skipped
      const taken = bytes.subarray(skipped, Math.min(bytes.length, skipped + left))
      left -= taken.length
      return { taken, isLast: left <= 0 }
    })
    return Stream.map(Stream.takeUntil(cut, ({ isLast }) => isLast), ({ taken }) => taken)
  })
}
