/**
 * Holds an application and its server to the contract: decodes the scope and every event in both directions against
 * its Schema, and follows the order of events by the tables below.
 *
 * For development and tests: an event costs microseconds here and nanoseconds without. It changes nothing that it lets
 * through: scope, events and live handles are handed on as the very objects that came in.
 *
 * **Source** reference sections 1.1 to 1.7; checklist line 202.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import type { Middleware } from "../app/App.ts"
import type { Exchange } from "../app/Exchange.ts"
import { SendError, type SendErrorReason } from "../app/SendError.ts"
import * as Event from "../schema/Event.ts"
import * as Scope from "../schema/Scope.ts"

type Protocol = Exchange["type"]

/** A breach of the contract. */
export interface Problem {
  readonly protocol: Protocol
  /** What was wrong: the scope, an event from the client, an event of the application, or how the application ended. */
  readonly place: "scope" | "receive" | "send" | "end"
  /** One sentence, without any content of bodies. */
  readonly message: string
}

/** A breach that has no other way out than a defect: a broken scope, a broken inbound event, a broken ending. */
export class LintError extends Data.TaggedError("LintError")<{ readonly problem: Problem }> {
  override get message(): string {
    return this.problem.message
  }
}

export interface Options {
  /** Called for every problem, before anything fails. Default: a warning in the log. */
  readonly onProblem?: (problem: Problem) => Effect.Effect<void>
  /**
   * Whether a problem also stops what caused it: a broken `send` fails with a `SendError` and does not reach the
   * server; a broken scope, inbound event or ending dies with a `LintError`. Default true.
   */
  readonly strict?: boolean
}

interface State {
  /** Event, or event with a fact that matters, to the state it leads to. What is not here is out of order. */
  readonly next: { readonly [event: string]: string }
  /** What is missing when the application returns in this state. Absent: it may. */
  readonly unfinished?: string
  /** The application has said its last word, so a further one is a fault even when the connection has ended since. */
  readonly over?: true
}

/** States of one direction; the first is where an exchange begins. Names complete "not allowed while ...". */
type Order = { readonly [state: string]: State }

/** What an application may say, and when. `+more`: further parts follow. `+trailers`: trailers were promised. */
const sendOrder: { readonly [P in Protocol]: Order } = {
  http: {
    "the response has not started": {
      next: {
        "http.response.early_hint": "the response has not started",
        "http.fullflush": "the response has not started",
        "http.response.start": "the body is sent",
        "http.response.start+trailers": "the body before the trailers is sent"
      },
      unfinished: "http.response.start is missing"
    },
    "the body is sent": {
      next: {
        "http.fullflush": "the body is sent",
        "http.response.body+more": "the body is sent",
        "http.response.body": "the response is complete"
      },
      unfinished: "the final http.response.body is missing"
    },
    "the body before the trailers is sent": {
      next: {
        "http.fullflush": "the body before the trailers is sent",
        "http.response.body+more": "the body before the trailers is sent",
        "http.response.body": "the promised trailers are due"
      },
      unfinished: "the final http.response.body is missing"
    },
    "the promised trailers are due": {
      next: {
        "http.fullflush": "the promised trailers are due",
        "http.response.trailers": "the response is complete"
      },
      unfinished: "the promised http.response.trailers are missing"
    },
    "the response is complete": { next: {}, over: true }
  },
  websocket: {
    "the handshake is unanswered": {
      next: {
        "websocket.accept": "the session is open",
        "websocket.close": "the session is closed",
        "websocket.http.response.start": "the handshake is being declined"
      },
      unfinished: "websocket.accept or websocket.close is missing"
    },
    "the session is open": {
      next: {
        "websocket.send": "the session is open",
        "websocket.keepalive": "the session is open",
        "websocket.close": "the session is closed"
      }
    },
    "the handshake is being declined": {
      next: {
        "websocket.http.response.body+more": "the handshake is being declined",
        "websocket.http.response.body": "the session is closed"
      },
      unfinished: "the final websocket.http.response.body is missing"
    },
    "the session is closed": { next: {}, over: true }
  },
  sse: {
    "the stream has not started": {
      next: {
        "sse.start": "the stream is open",
        "sse.http.response.start": "the stream is being declined"
      },
      unfinished: "sse.start is missing"
    },
    "the stream is open": {
      next: {
        "sse.send": "the stream is open",
        "sse.comment": "the stream is open",
        "sse.keepalive": "the stream is open",
        "sse.close": "the stream is closed"
      }
    },
    "the stream is being declined": {
      next: {
        "sse.http.response.body+more": "the stream is being declined",
        "sse.http.response.body": "the response is complete"
      },
      unfinished: "the final sse.http.response.body is missing"
    },
    "the stream is closed": { next: { "sse.close": "the stream is closed" }, over: true },
    "the response is complete": { next: {}, over: true }
  },
  // Inbound events stand here too: each answer waits for its question. Returning without an answer to the startup is
  // the way to decline a lifespan.
  lifespan: {
    "lifespan.startup was not received": { next: { "lifespan.startup": "the worker starts" } },
    "the worker starts": {
      next: {
        "lifespan.startup.complete": "the worker runs",
        "lifespan.startup.failed": "the startup has failed"
      }
    },
    "the worker runs": { next: { "lifespan.shutdown": "the worker stops" } },
    "the worker stops": {
      next: {
        "lifespan.shutdown.complete": "the worker has stopped",
        "lifespan.shutdown.failed": "the worker has stopped"
      },
      unfinished: "lifespan.shutdown.complete or lifespan.shutdown.failed is missing"
    },
    "the startup has failed": { next: {}, over: true },
    "the worker has stopped": { next: {}, over: true }
  }
}

/** What the client's side may say, and when. A disconnect may be read again and again. */
const receiveOrder: { readonly [P in Protocol]: Order } = {
  http: {
    "the request body arrives": {
      next: {
        "http.request+more": "the request body arrives",
        "http.request": "the request is complete",
        "http.disconnect": "the exchange has ended"
      }
    },
    "the request is complete": { next: { "http.disconnect": "the exchange has ended" } },
    "the exchange has ended": { next: { "http.disconnect": "the exchange has ended" } }
  },
  websocket: {
    "websocket.connect is due": { next: { "websocket.connect": "the session is open" } },
    "the session is open": {
      next: { "websocket.receive": "the session is open", "websocket.disconnect": "the session has ended" }
    },
    "the session has ended": { next: { "websocket.disconnect": "the session has ended" } }
  },
  sse: {
    "the request body arrives": {
      next: {
        "sse.request+more": "the request body arrives",
        "sse.request": "the request is complete",
        "sse.disconnect": "the exchange has ended"
      }
    },
    "the request is complete": { next: { "sse.disconnect": "the exchange has ended" } },
    "the exchange has ended": { next: { "sse.disconnect": "the exchange has ended" } }
  },
  lifespan: {
    "lifespan.startup is due": { next: { "lifespan.startup": "lifespan.shutdown is due" } },
    "lifespan.shutdown is due": { next: { "lifespan.shutdown": "the lifespan has ended" } },
    "the lifespan has ended": { next: {} }
  }
}

/** Events that need a key in `scope.extensions`. */
const extensionOf: ReadonlyMap<string, string> = new Map([
  ["http.fullflush", "fullflush"],
  ["http.response.early_hint", "http.response.early_hint"],
  ["websocket.http.response.start", "websocket.http.response"],
  ["websocket.http.response.body", "websocket.http.response"]
])

type Check = (value: unknown) => Result.Result<unknown, Schema.SchemaError>

type Checks = ReadonlyMap<string, Check>

type EventSchema = Schema.Codec<unknown, unknown> & { readonly fields: { readonly type: { readonly literal: string } } }

const checksOf = (union: { readonly members: ReadonlyArray<EventSchema> }): Checks =>
  new Map(union.members.map((schema) => [schema.fields.type.literal, Schema.decodeUnknownResult(schema)]))

const sendChecks: { readonly [P in Protocol]: Checks } = {
  http: checksOf(Event.HttpSend),
  websocket: checksOf(Event.WebSocketSend),
  sse: checksOf(Event.SseSend),
  lifespan: checksOf(Event.LifespanSend)
}

const receiveChecks: { readonly [P in Protocol]: Checks } = {
  http: checksOf(Event.HttpReceive),
  websocket: checksOf(Event.WebSocketReceive),
  sse: checksOf(Event.SseReceive),
  lifespan: checksOf(Event.LifespanReceive)
}

const scopeChecks: { readonly [P in Protocol]: Check } = {
  http: Schema.decodeUnknownResult(Scope.HttpScope),
  websocket: Schema.decodeUnknownResult(Scope.WebSocketScope),
  sse: Schema.decodeUnknownResult(Scope.SseScope),
  lifespan: Schema.decodeUnknownResult(Scope.LifespanScope)
}

/** An event as it may come from untyped code. */
interface AnyEvent {
  readonly type: string
  readonly [field: string]: unknown
}

const typeOf = (event: unknown): string => {
  const type = (event as { readonly type?: unknown } | null | undefined)?.type
  return typeof type === "string" ? type : `(${type === undefined ? "none" : typeof type})`
}

/** The table's word for an event. A file or a stream is always the last part. */
const wordFor = (event: AnyEvent): string => {
  switch (event.type) {
    case "http.response.start":
      return event["trailers"] === true ? "http.response.start+trailers" : event.type
    case "http.request":
    case "sse.request":
    case "http.response.body":
    case "websocket.http.response.body":
    case "sse.http.response.body":
      return event["more"] === true && event["file"] === undefined && event["stream"] === undefined
        ? `${event.type}+more`
        : event.type
    default:
      return event.type
  }
}

/** Where a known event leads to; `undefined` when it is out of order. */
const step = (order: Order, state: string, event: AnyEvent): string | undefined => order[state]!.next[wordFor(event)]

const begin = (order: Order): string => Object.keys(order)[0]!

const toIssues = SchemaIssue.makeFormatterStandardSchemaV1()

/** The first complaint of a Schema: where, and what. */
const complaint = (error: Schema.SchemaError) => {
  const issue = toIssues(error.issue).issues[0]!
  const path = (issue.path ?? []).map((part) => String(typeof part === "object" ? part.key : part))
  return { path, field: path.join("."), text: issue.message }
}

/** Header lines are named by their header, everything else by its path. */
const fieldProblem = (event: AnyEvent, error: Schema.SchemaError): SendErrorReason => {
  const { field, path, text } = complaint(error)
  if (path[0] === "headers" && path.length > 1) {
    const line = (event["headers"] as ReadonlyArray<unknown>)[Number(path[1])]
    const name = Array.isArray(line) ? String(line[0]) : ""
    return { _tag: "InvalidHeader", event: event.type, name, problem: text }
  }
  if (path[0] === "links" && path.length > 1) {
    return { _tag: "InvalidHeader", event: event.type, name: "link", problem: text }
  }
  return { _tag: "InvalidField", event: event.type, field: field || "shape", problem: text }
}

const capitalHeader = (event: AnyEvent): SendErrorReason | undefined => {
  const headers = (event["headers"] ?? []) as ReadonlyArray<readonly [string, string]>
  const line = headers.find(([name]) => /[A-Z]/.test(name))
  return line && { _tag: "InvalidHeader", event: event.type, name: line[0], problem: "the name must be lower case" }
}

/** Everything that is wrong with a sent event by itself, order aside. */
const sendProblem = (exchange: Exchange, event: AnyEvent): SendErrorReason | undefined => {
  const check = sendChecks[exchange.type].get(typeOf(event))
  if (check === undefined) return { _tag: "UnknownEvent", event: typeOf(event) }
  const extension = extensionOf.get(event.type)
  if (extension !== undefined && exchange.type !== "lifespan" && !(extension in (exchange.scope.extensions ?? {}))) {
    return { _tag: "ExtensionUnavailable", event: event.type, extension }
  }
  const decoded = check(event)
  if (Result.isFailure(decoded)) return fieldProblem(event, decoded.failure)
  if (exchange.type === "websocket" && event.type === "websocket.accept" && event["subprotocol"] !== undefined) {
    if (exchange.scope.subprotocols?.includes(String(event["subprotocol"])) !== true) {
      const problem = "the client did not offer it"
      return { _tag: "InvalidField", event: event.type, field: "subprotocol", problem }
    }
  }
  return capitalHeader(event)
}

/** True once the connection is no longer there to take an answer. */
const isGone = (exchange: Exchange): boolean => exchange.type !== "lifespan" && !exchange.connection.isConnected

/** Follows one exchange. */
class Watch {
  readonly exchange: Exchange
  private readonly report: (problem: Problem) => Effect.Effect<void>
  private readonly strict: boolean
  private sendState: string
  private receiveState: string

  constructor(exchange: Exchange, report: (problem: Problem) => Effect.Effect<void>, strict: boolean) {
    this.exchange = exchange
    this.report = report
    this.strict = strict
    this.sendState = begin(sendOrder[exchange.type])
    this.receiveState = begin(receiveOrder[exchange.type])
  }

  private problem(place: Problem["place"], message: string): Effect.Effect<void> {
    const problem: Problem = { protocol: this.exchange.type, place, message }
    const reported = this.report(problem)
    return this.strict ? Effect.andThen(reported, Effect.die(new LintError({ problem }))) : reported
  }

  /** Decodes the scope. */
  readonly checkScope: Effect.Effect<void> = Effect.suspend(() => {
    const decoded = scopeChecks[this.exchange.type](this.exchange.scope)
    if (Result.isSuccess(decoded)) return Effect.void
    const { field, text } = complaint(decoded.failure)
    return this.problem("scope", `The ${this.exchange.type} scope has an invalid ${field || "shape"}: ${text}`)
  })

  /** Receives and decodes. */
  readonly receive: Effect.Effect<AnyEvent> = Effect.suspend(() =>
    Effect.flatMap(this.exchange.receive as Effect.Effect<AnyEvent>, (event) => {
      const wrong = this.received(event)
      return wrong === undefined ? Effect.succeed(event) : Effect.as(this.problem("receive", wrong), event)
    })
  )

  private received(event: AnyEvent): string | undefined {
    const { type } = this.exchange
    const check = receiveChecks[type].get(typeOf(event))
    if (check === undefined) return `Received '${typeOf(event)}', which is no event of the ${type} protocol`
    const decoded = check(event)
    if (Result.isFailure(decoded)) {
      const { field, text } = complaint(decoded.failure)
      return `Received '${event.type}' with an invalid ${field || "shape"}: ${text}`
    }
    const next = step(receiveOrder[type], this.receiveState, event)
    if (next === undefined) return `Received '${event.type}' while ${this.receiveState}`
    this.receiveState = next
    this.sendState = step(sendOrder[type], this.sendState, event) ?? this.sendState
    return undefined
  }

  /** Decodes, puts in order and sends. What is sent to a client that has gone is nobody's concern. */
  readonly send = (event: AnyEvent): Effect.Effect<void, SendError> =>
    Effect.suspend(() => {
      const { type } = this.exchange
      const before = this.sendState
      if (isGone(this.exchange) && sendOrder[type][before]!.over === undefined) return this.pass(event)
      const next = sendChecks[type].has(typeOf(event)) ? step(sendOrder[type], before, event) : undefined
      const reason = sendProblem(this.exchange, event) ??
        (next === undefined ? { _tag: "EventOutOfOrder" as const, event: event.type, state: before } : undefined)
      if (reason !== undefined) return this.refuse(new SendError({ protocol: type, reason }), event, next)
      return this.advance(event, next!)
    })

  private refuse(error: SendError, event: AnyEvent, next: string | undefined): Effect.Effect<void, SendError> {
    const reported = this.report({ protocol: error.protocol, place: "send", message: error.message })
    if (this.strict) return Effect.andThen(reported, Effect.fail(error))
    return Effect.andThen(
      reported,
      Effect.suspend(() => next === undefined ? this.pass(event) : this.advance(event, next))
    )
  }

  /** The state moves first, so that a second fiber sees it; an event that the server refused did not happen. */
  private advance(event: AnyEvent, next: string): Effect.Effect<void, SendError> {
    const before = this.sendState
    this.sendState = next
    return Effect.tapError(this.pass(event), () =>
      Effect.sync(() => {
        if (this.sendState === next) this.sendState = before
      }))
  }

  private pass(event: AnyEvent): Effect.Effect<void, SendError> {
    return (this.exchange.send as (event: unknown) => Effect.Effect<void, SendError>)(event)
  }

  /** Looks at what a returning application leaves behind. */
  readonly checkEnd: Effect.Effect<void> = Effect.suspend(() => {
    const unfinished = sendOrder[this.exchange.type][this.sendState]!.unfinished
    if (unfinished === undefined || isGone(this.exchange)) return Effect.void
    return this.problem("end", `The ${this.exchange.type} application returned, but ${unfinished}`)
  })
}

/** The same exchange with the watched ends. The live handles are made on first use, so they stay behind getters. */
const watched = (exchange: Exchange, watch: Watch): Exchange => {
  const { scope, type } = exchange
  const ends = { type, scope, receive: watch.receive, send: watch.send }
  if (exchange.type === "lifespan") return ends as unknown as Exchange
  return Object.defineProperties(ends, {
    connection: { enumerable: true, get: () => exchange.connection },
    transport: { enumerable: true, get: () => exchange.transport }
  }) as unknown as Exchange
}

const logProblem = (problem: Problem): Effect.Effect<void> =>
  Effect.logWarning("Contract broken", { protocol: problem.protocol, place: problem.place, problem: problem.message })

/**
 * Makes the middleware. Put it innermost to judge an application alone, outermost to judge the stack as a whole.
 *
 * **Fails with** `SendError` from a broken `send`, when strict: `UnknownEvent`, `ExtensionUnavailable`, `InvalidField`,
 * `InvalidHeader` (capitals in a name included) or `EventOutOfOrder`. Dies with `LintError` for the rest.
 * **Gotchas** an application that fails or is interrupted is not judged by how it ended; after the client has gone,
 * neither the order nor the ending is judged.
 *
 * **Example** (Serving under the eyes of Lint)
 *
 * ```ts
 * const app = Lint.make()(App.http(({ send }) => App.respond(send, 200, "hello")))
 * ```
 */
export const make = (options: Options = {}): Middleware => (app) => (exchange) =>
  Effect.suspend(() => {
    const watch = new Watch(exchange, options.onProblem ?? logProblem, options.strict ?? true)
    return Effect.andThen(
      watch.checkScope,
      Effect.andThen(Effect.suspend(() => app(watched(exchange, watch))), watch.checkEnd)
    )
  })
