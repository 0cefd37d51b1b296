/**
 * An HTTP exchange without a server: made of a description of the request, it records what the application answers and
 * lets a test play the client (send body parts, stop reading, leave). Keeps the contract's order of events; does not
 * check headers and never touches the network.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type { App } from "../../src/app/App.ts"
import type { ConnectionState, HttpExchange, TransportState } from "../../src/app/Exchange.ts"
import { SendError } from "../../src/app/SendError.ts"
import type { DisconnectReason } from "../../src/schema/DisconnectReason.ts"
import type { HttpReceive, HttpSend } from "../../src/schema/Event.ts"
import { contract } from "../../src/schema/Scope.ts"
import type { Headers, HttpScope } from "../../src/schema/Scope.ts"

/** The request. Everything has a default: `GET /` of HTTP/1.1 from 203.0.113.7 to example.test. */
export interface Request {
  readonly method?: string
  /** Raw path with query. */
  readonly target?: string
  readonly headers?: Headers | Record<string, string>
  /** Sent at once and whole; a list becomes one event per part. Leave it out and use `feed` for more control. */
  readonly body?: string | Uint8Array | ReadonlyArray<string | Uint8Array>
  /** True when the body comes through `feed`. */
  readonly bodyFollows?: boolean
  /** Fields of the scope that differ from the default. */
  readonly scope?: Partial<HttpScope>
}

/** What the application answered, as far as it has. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** Value of a header, duplicates joined with ", "; `undefined` when absent. */
  readonly header: (name: string) => string | undefined
  readonly text: string
  readonly json: unknown
  readonly bytes: Uint8Array
  /** The file that was sent as the body, unread. */
  readonly file: { readonly path: string; readonly offset: number; readonly length: number | undefined } | undefined
}

export interface FakeExchange {
  readonly exchange: HttpExchange
  /** Every accepted event in order. A stream is run when it is sent; its chunks are in `chunks`. */
  readonly sent: ReadonlyArray<HttpSend>
  /** Body bytes in the pieces in which they were handed over. */
  readonly chunks: ReadonlyArray<Uint8Array>
  /** Queues a part of the request body. */
  readonly feed: (body: string | Uint8Array, more: boolean) => Effect.Effect<void>
  /** How often the application has asked for an event. */
  readonly receiveCount: () => number
  /** While closed, each body chunk waits: the client does not read. */
  readonly reading: Latch.Latch
  /** The client goes away: facts, callbacks, event, then interruption of what `run` runs. */
  readonly disconnect: (reason?: DisconnectReason) => Effect.Effect<void>
  /** Starts the application on this exchange; a disconnect interrupts it. */
  readonly start: <E, R>(app: App<E, R>) => Effect.Effect<Fiber.Fiber<void, E>, never, R>
  readonly answer: () => Answer
}

const encoder = new TextEncoder()
const toBytes = (body: string | Uint8Array): Uint8Array => typeof body === "string" ? encoder.encode(body) : body

const toScope = (request: Request): HttpScope => {
  const [rawPath = "/", ...query] = (request.target ?? "/").split("?")
  const given = request.headers ?? {}
  const headers = Array.isArray(given) ? given as Headers : Object.entries(given)
  return {
    type: "http",
    slipway: contract,
    httpVersion: "1.1",
    method: request.method ?? "GET",
    scheme: "http",
    path: unescapePath(rawPath),
    rawPath,
    queryString: query.join("?"),
    rootPath: "",
    headers: headers.some(([name]) => name === "host") ? headers : [["host", "example.test"], ...headers],
    client: ["203.0.113.7", 50_000],
    server: ["192.0.2.1", 5000],
    extensions: {},
    ...request.scope
  }
}

const unescapePath = (path: string): string => {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

/** Makes an exchange. The request's body, when there is one, is waiting already. */
export const make = (request: Request = {}): FakeExchange => {
  const scope = toScope(request)
  const inbound = Effect.runSync(Queue.unbounded<HttpReceive>())
  const disconnected = Deferred.makeUnsafe<DisconnectReason>()
  const reading = Latch.makeUnsafe(true)
  const sent: Array<HttpSend> = []
  const chunks: Array<Uint8Array> = []
  const onDisconnect: Array<(reason: DisconnectReason) => void> = []
  const onComplete: Array<() => void> = []
  let file: Answer["file"]
  let reason: DisconnectReason | undefined
  let started = false
  let complete = false
  let receives = 0
  let running: Fiber.Fiber<unknown, unknown> | undefined

  if (request.bodyFollows !== true) {
    const body = request.body ?? ""
    const parts: ReadonlyArray<string | Uint8Array> = Array.isArray(body) ? body : [body]
    parts.forEach((part, index) =>
      Queue.offerUnsafe(inbound, { type: "http.request", body: toBytes(part), more: index < parts.length - 1 })
    )
  }

  const connection: ConnectionState = {
    requestId: "test-1",
    get isConnected() {
      return reason === undefined && !complete
    },
    get disconnectReason() {
      return reason
    },
    get responseStarted() {
      return started
    },
    get responseComplete() {
      return complete
    },
    isShuttingDown: false,
    disconnected: Deferred.await(disconnected),
    shuttingDown: Effect.never,
    onDisconnect: (callback) => void (reason === undefined ? onDisconnect.push(callback) : callback(reason)),
    onComplete: (callback) => void (complete ? callback() : onComplete.push(callback))
  }
  const transport: TransportState = {
    bufferedAmount: 0,
    highWaterMark: 65_536,
    lowWaterMark: 16_384,
    onHighWater: () => {},
    onDrain: () => {}
  }

  const finish = () => {
    complete = true
    Queue.offerUnsafe(inbound, { type: "http.disconnect" })
    for (const callback of onComplete) callback()
  }
  const write = (bytes: Uint8Array): Effect.Effect<void> =>
    Effect.andThen(reading.await, Effect.sync(() => void (bytes.length > 0 && chunks.push(bytes))))
  const refuse = (event: string, state: string) =>
    Effect.fail(new SendError({ protocol: "http", reason: { _tag: "EventOutOfOrder", event, state } }))

  const send: HttpExchange["send"] = (event) =>
    Effect.suspend((): Effect.Effect<void, SendError> => {
      if (reason !== undefined) return Effect.void
      switch (event.type) {
        case "http.response.start": {
          if (started) return refuse(event.type, "started")
          started = true
          sent.push(event)
          return Effect.void
        }
        case "http.response.body": {
          if (!started || complete) return refuse(event.type, started ? "complete" : "not started")
          sent.push(event)
          if (event.file !== undefined) {
            file = { path: event.file, offset: event.offset ?? 0, length: event.length }
            return Effect.sync(finish)
          }
          if (event.stream !== undefined) {
            return Effect.matchCauseEffect(Stream.runForEach(event.stream, write), {
              onSuccess: () => Effect.sync(finish),
              onFailure: (cause) =>
                cause.reasons.some((part) => part._tag === "Interrupt") ? Effect.interrupt : Effect.fail(
                  new SendError({ protocol: "http", reason: { _tag: "BodySourceFailed", source: "stream", cause } })
                )
            })
          }
          return Effect.andThen(
            write(toBytes(event.body ?? "")),
            Effect.sync(() => void (event.more === true || finish()))
          )
        }
        default:
          return refuse(event.type, "unsupported here")
      }
    })

  const bytes = () => new Uint8Array(chunks.flatMap((chunk) => [...chunk]))
  const exchange: HttpExchange = {
    type: "http",
    scope,
    connection,
    transport,
    send,
    receive: Effect.suspend(() => {
      receives++
      const ended = reason !== undefined || complete
      return ended && Queue.sizeUnsafe(inbound) === 0
        ? Effect.succeed<HttpReceive>({ type: "http.disconnect" })
        : Queue.take(inbound)
    })
  }
  return {
    exchange,
    sent,
    chunks,
    reading,
    receiveCount: () => receives,
    feed: (body, more) =>
      Effect.sync(() => void Queue.offerUnsafe(inbound, { type: "http.request", body: toBytes(body), more })),
    disconnect: (why = "client_closed") =>
      Effect.suspend(() => {
        if (reason !== undefined || complete) return Effect.void
        reason = why
        Deferred.doneUnsafe(disconnected, Exit.succeed(why))
        for (const callback of onDisconnect) callback(why)
        Queue.offerUnsafe(inbound, { type: "http.disconnect" })
        return running === undefined ? Effect.void : Fiber.interrupt(running)
      }),
    start: (app) =>
      Effect.map(
        Effect.forkChild(app(exchange), { startImmediately: true }),
        (fiber) => {
          running = fiber
          return fiber
        }
      ),
    answer: () => {
      const start = sent[0]
      if (start?.type !== "http.response.start") throw new Error("The application has not answered")
      const headers = start.headers ?? []
      return {
        status: start.status,
        headers,
        header: (name) => {
          const values = headers.filter((entry) => entry[0] === name).map((entry) => entry[1])
          return values.length === 0 ? undefined : values.join(", ")
        },
        get text() {
          return new TextDecoder().decode(bytes())
        },
        get json() {
          return JSON.parse(new TextDecoder().decode(bytes()))
        },
        get bytes() {
          return bytes()
        },
        file
      }
    }
  }
}

/** Runs an application on one request to its end and yields what it answered. */
export const request = <E, R>(app: App<E, R>, description?: Request): Effect.Effect<Answer, E, R> => {
  const fake = make(description)
  return Effect.map(app(fake.exchange), fake.answer)
}
