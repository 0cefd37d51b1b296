/** Lint against hand-made exchanges: what it lets through untouched, what it stops, what it only reports. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import type { App, Exchange } from "../../src/app/App.ts"
import type { ConnectionState, TransportState } from "../../src/app/Exchange.ts"
import { SendError } from "../../src/app/SendError.ts"
import * as Lint from "../../src/middleware/Lint.ts"
import { contract } from "../../src/schema/Scope.ts"

type Protocol = Exchange["type"]
type Loose = { readonly type: string; readonly [field: string]: unknown }

const base = {
  slipway: contract,
  httpVersion: "1.1",
  path: "/",
  rawPath: "/",
  queryString: "",
  rootPath: "",
  headers: [["host", "example.org"]],
  extensions: { fullflush: {}, "http.response.early_hint": {}, "websocket.http.response": {} }
}

const scopes: { readonly [P in Protocol]: Loose } = {
  http: { type: "http", method: "GET", scheme: "http", ...base },
  sse: { type: "sse", method: "GET", scheme: "http", ...base },
  websocket: { type: "websocket", scheme: "ws", subprotocols: ["chat"], ...base },
  lifespan: { type: "lifespan", slipway: contract }
}

/** A fake server's end: records what reaches it, answers `receive` from a list, counts how often a handle is made. */
class Fake {
  readonly type: Protocol
  readonly scope: Loose
  readonly sent: Array<Loose> = []
  readonly connection: { isConnected: boolean } & Partial<ConnectionState> = { isConnected: true }
  handlesMade = 0
  refusal: SendError | undefined = undefined
  private readonly inbound: Array<unknown>

  constructor(type: Protocol, inbound: ReadonlyArray<unknown> = [], scope: Loose = scopes[type]) {
    this.type = type
    this.scope = scope
    this.inbound = [...inbound]
  }

  readonly receive = Effect.sync(() => this.inbound.shift())

  readonly send = (event: Loose) =>
    Effect.suspend(() => {
      if (this.refusal !== undefined) return Effect.fail(this.refusal)
      this.sent.push(event)
      return Effect.void
    })

  private readonly buffer: Partial<TransportState> = { bufferedAmount: 0 }

  get transport() {
    this.handlesMade++
    return this.buffer
  }

  get exchange(): Exchange {
    return this as unknown as Exchange
  }
}

/** An application that takes `receives` events and then sends `events`. */
const speaking = (events: ReadonlyArray<Loose>, receives = 0): App<SendError> => (exchange) =>
  Effect.gen(function*() {
    for (let i = 0; i < receives; i++) yield* exchange.receive
    for (const event of events) yield* (exchange.send as (event: Loose) => Effect.Effect<void, SendError>)(event)
  })

const run = Effect.fnUntraced(function*(fake: Fake, app: App<SendError>, strict = true) {
  const problems: Array<Lint.Problem> = []
  const lint = Lint.make({ strict, onProblem: (problem) => Effect.sync(() => void problems.push(problem)) })
  const exit = yield* Effect.exit(lint(app)(fake.exchange))
  return { exit, problems, sent: fake.sent.map((event) => event?.type) }
})

const reasonOf = (exit: Exit.Exit<void, SendError>) => {
  assert.isTrue(Exit.isFailure(exit))
  const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  assert.instanceOf(error, SendError)
  return (error as SendError).reason
}

const defectOf = (exit: Exit.Exit<void, SendError>): string => {
  assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
  const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
  assert.instanceOf(error, Lint.LintError)
  return (error as Lint.LintError).message
}

const start = { type: "http.response.start", status: 200 }
const promising = { ...start, trailers: true }
const body = { type: "http.response.body", body: "hello" }
const part = { ...body, more: true }
const trailers = { type: "http.response.trailers", headers: [["x-sum", "1"]] }
const hint = { type: "http.response.early_hint", links: ["</a.css>; rel=preload"] }
const flush = { type: "http.fullflush" }
const accept = { type: "websocket.accept" }
const text = { type: "websocket.send", text: "hi" }
const close = { type: "websocket.close" }
const ping = { type: "websocket.keepalive", interval: 20 }
const denyStart = { type: "websocket.http.response.start", status: 401 }
const deny = { type: "websocket.http.response.body", body: "no" }
const sseStart = { type: "sse.start" }
const data = { type: "sse.send", data: "1" }
const comment = { type: "sse.comment", comment: "" }
const sseClose = { type: "sse.close" }
const declineStart = { type: "sse.http.response.start", status: 204 }
const decline = { type: "sse.http.response.body" }
const started = { type: "lifespan.startup.complete" }
const stopped = { type: "lifespan.shutdown.complete" }
const startup = { type: "lifespan.startup" }
const shutdown = { type: "lifespan.shutdown" }

describe("Lint", () => {
  describe("right conversations", () => {
    const right: ReadonlyArray<readonly [Protocol, string, ReadonlyArray<Loose>, ReadonlyArray<Loose>?]> = [
      ["http", "a plain answer", [start, body]],
      ["http", "parts and flushes", [start, part, flush, part, body]],
      ["http", "early hints, trailers", [hint, hint, promising, part, body, flush, trailers]],
      ["http", "a file, whatever more says", [start, { type: "http.response.body", file: "/a", more: true }]],
      ["http", "a stream", [start, { type: "http.response.body", stream: Stream.empty }]],
      ["http", "fields nobody knows", [{ ...start, more: true }, { ...part, trailers: true }, { ...body, note: 1 }]],
      ["websocket", "a session", [accept, ping, text, close]],
      ["websocket", "a session left open", [{ ...accept, subprotocol: "chat" }, text]],
      ["websocket", "a refusal", [close]],
      ["websocket", "a refusal with an answer", [denyStart, { ...deny, more: true }, deny]],
      ["sse", "a stream", [sseStart, { type: "sse.keepalive", interval: 15 }, data, comment]],
      ["sse", "a stream closed twice", [sseStart, data, sseClose, sseClose]],
      ["sse", "a declined stream", [declineStart, { ...decline, more: true }, decline]],
      ["lifespan", "a declined lifespan", [], [startup]],
      ["lifespan", "a failed startup", [{ type: "lifespan.startup.failed", message: "no" }], [startup]]
    ]
    for (const [protocol, what, events, inbound = []] of right) {
      it.effect(`lets ${what} on ${protocol} through, the very objects`, () =>
        Effect.gen(function*() {
          const fake = new Fake(protocol, inbound)
          const { exit, problems } = yield* run(fake, speaking(events, inbound.length))
          assert.deepStrictEqual(problems, [])
          assert.isTrue(Exit.isSuccess(exit))
          assert.strictEqual(fake.sent.length, events.length)
          for (const [index, event] of events.entries()) assert.strictEqual(fake.sent[index], event)
        }))
    }

    it.effect("lets a whole lifespan through", () =>
      Effect.gen(function*() {
        const app: App<SendError> = (exchange) =>
          exchange.type !== "lifespan" ? Effect.void : Effect.gen(function*() {
            yield* exchange.receive
            yield* exchange.send({ type: "lifespan.startup.complete" })
            yield* exchange.receive
            yield* exchange.send({ type: "lifespan.shutdown.complete" })
          })
        const { exit, problems, sent } = yield* run(new Fake("lifespan", [startup, shutdown]), app)
        assert.isTrue(Exit.isSuccess(exit))
        assert.deepStrictEqual(problems, [])
        assert.deepStrictEqual(sent, [started.type, stopped.type])
      }))
  })

  describe("order", () => {
    const wrong: ReadonlyArray<readonly [Protocol, string, ReadonlyArray<Loose>, state: string]> = [
      ["http", "a body before the start", [body], "the response has not started"],
      ["http", "a second start", [start, start], "the body is sent"],
      ["http", "a body after the last one", [start, body, body], "the response is complete"],
      ["http", "a flush after the end", [start, body, flush], "the response is complete"],
      ["http", "an early hint after the start", [start, hint], "the body is sent"],
      ["http", "trailers that were not promised", [start, body, trailers], "the response is complete"],
      ["http", "trailers before the last body", [promising, trailers], "the body before the trailers is sent"],
      ["http", "a body in place of the trailers", [promising, body, body], "the promised trailers are due"],
      ["websocket", "a message before the accept", [text], "the handshake is unanswered"],
      ["websocket", "a second accept", [accept, accept], "the session is open"],
      ["websocket", "a message after the close", [accept, close, text], "the session is closed"],
      ["websocket", "a denial after the accept", [accept, denyStart], "the session is open"],
      ["websocket", "an accept in a denial", [denyStart, accept], "the handshake is being declined"],
      ["sse", "an event before the start", [data], "the stream has not started"],
      ["sse", "a second start", [sseStart, sseStart], "the stream is open"],
      ["sse", "an event after the close", [sseStart, sseClose, data], "the stream is closed"],
      ["sse", "a decline after the start", [sseStart, declineStart], "the stream is open"],
      ["sse", "an event after a decline", [declineStart, decline, data], "the response is complete"],
      ["lifespan", "an answer to no question", [started], "lifespan.startup was not received"]
    ]
    for (const [protocol, what, events, state] of wrong) {
      it.effect(`stops ${what} on ${protocol} [C202]`, () =>
        Effect.gen(function*() {
          const fake = new Fake(protocol)
          const { exit, problems, sent } = yield* run(fake, speaking(events))
          assert.deepStrictEqual(reasonOf(exit), { _tag: "EventOutOfOrder", event: events.at(-1)!.type, state })
          assert.deepStrictEqual(sent, events.slice(0, -1).map((event) => event.type))
          assert.deepStrictEqual(problems.map((problem) => [problem.protocol, problem.place]), [[protocol, "send"]])
        }))
    }

    it.effect("stops an early farewell and a second startup on lifespan [C202]", () =>
      Effect.gen(function*() {
        const early = yield* run(new Fake("lifespan", [startup]), speaking([started, stopped], 1))
        assert.deepStrictEqual(reasonOf(early.exit), {
          _tag: "EventOutOfOrder",
          event: stopped.type,
          state: "the worker runs"
        })
        const twice = yield* run(new Fake("lifespan", [startup]), speaking([started, started], 1))
        assert.strictEqual(reasonOf(twice.exit)._tag, "EventOutOfOrder")
      }))

    it.effect("forgets an event that the server refused", () =>
      Effect.gen(function*() {
        const fake = new Fake("http")
        const refusal = new SendError({
          protocol: "http",
          reason: { _tag: "InvalidField", event: "http.response.start", field: "status", problem: "not today" }
        })
        const { exit, sent } = yield* run(fake, (exchange) =>
          Effect.gen(function*() {
            fake.refusal = refusal
            assert.deepStrictEqual(yield* Effect.exit(speaking([start])(exchange)), Exit.fail(refusal))
            fake.refusal = undefined
            yield* speaking([start, body])(exchange)
          }))
        assert.isTrue(Exit.isSuccess(exit))
        assert.deepStrictEqual(sent, ["http.response.start", "http.response.body"])
      }))
  })

  describe("ending", () => {
    const endings: ReadonlyArray<readonly [Protocol, ReadonlyArray<Loose>, missing: string]> = [
      ["http", [], "http.response.start is missing"],
      ["http", [hint], "http.response.start is missing"],
      ["http", [start], "the final http.response.body is missing"],
      ["http", [start, part], "the final http.response.body is missing"],
      ["http", [promising, body], "the promised http.response.trailers are missing"],
      ["websocket", [], "websocket.accept or websocket.close is missing"],
      ["websocket", [denyStart], "the final websocket.http.response.body is missing"],
      ["sse", [], "sse.start is missing"],
      ["sse", [declineStart, { ...decline, more: true }], "the final sse.http.response.body is missing"]
    ]
    for (const [protocol, events, missing] of endings) {
      const said = events.map((event) => event.type).join(", ") || "nothing"
      it.effect(`dies when ${protocol} ends after ${said} and ${missing} [C202]`, () =>
        Effect.gen(function*() {
          const { exit, problems } = yield* run(new Fake(protocol), speaking(events))
          const message = `The ${protocol} application returned, but ${missing}`
          assert.strictEqual(defectOf(exit), message)
          assert.deepStrictEqual(problems, [{ protocol, place: "end", message }])
        }))

      it.effect(`says nothing when the client left ${protocol} after ${said}, though ${missing}`, () =>
        Effect.gen(function*() {
          const fake = new Fake(protocol)
          const { exit, problems } = yield* run(fake, (exchange) =>
            Effect.andThen(
              speaking(events)(exchange),
              Effect.sync(() => {
                fake.connection.isConnected = false
              })
            ))
          assert.isTrue(Exit.isSuccess(exit))
          assert.deepStrictEqual(problems, [])
        }))
    }

    it.effect("dies when a shutdown stays unanswered [C202]", () =>
      Effect.gen(function*() {
        const { exit } = yield* run(new Fake("lifespan", [startup, shutdown]), (exchange) =>
          Effect.andThen(speaking([started], 1)(exchange), Effect.asVoid(exchange.receive as Effect.Effect<unknown>)))
        assert.include(defectOf(exit), "lifespan.shutdown.complete or lifespan.shutdown.failed is missing")
      }))

    it.effect("leaves an application's own failure and defect alone", () =>
      Effect.gen(function*() {
        const failed = yield* Effect.exit(Lint.make()(() => Effect.fail("mine"))(new Fake("http").exchange))
        assert.deepStrictEqual(failed, Exit.fail("mine"))
        const died = yield* Effect.exit(Lint.make()(() => Effect.die("mine"))(new Fake("http").exchange))
        assert.deepStrictEqual(died, Exit.die("mine"))
      }))
  })

  describe("events", () => {
    it.effect("stops an event of another protocol and one of none [C202]", () =>
      Effect.gen(function*() {
        const other = yield* run(new Fake("http"), speaking([text]))
        assert.deepStrictEqual(reasonOf(other.exit), { _tag: "UnknownEvent", event: "websocket.send" })
        assert.strictEqual(
          other.problems[0]?.message,
          "Unrecognized event type 'websocket.send' for the http protocol"
        )
        const inherited = yield* run(new Fake("http"), speaking([{ type: "constructor" }]))
        assert.deepStrictEqual(reasonOf(inherited.exit), { _tag: "UnknownEvent", event: "constructor" })
        const nothing = yield* run(new Fake("http"), speaking([null as unknown as Loose]))
        assert.deepStrictEqual(reasonOf(nothing.exit), { _tag: "UnknownEvent", event: "(none)" })
        for (const fake of [other, inherited, nothing]) assert.deepStrictEqual(fake.sent, [])
      }))

    const headers: ReadonlyArray<readonly [Protocol, ReadonlyArray<Loose>, Loose]> = [
      ["http", [], start],
      ["http", [promising, body], { type: "http.response.trailers" }],
      ["websocket", [], accept],
      ["websocket", [], denyStart],
      ["sse", [], sseStart],
      ["sse", [], declineStart]
    ]
    for (const [protocol, before, event] of headers) {
      it.effect(`stops bad and upper-case headers of ${event.type} [C202]`, () =>
        Effect.gen(function*() {
          for (const [name, value] of [["x-a", "1\r\nx-b: 2"], ["x-a", "\0"], ["x a", "1"], ["X-A", "1"]] as const) {
            const wrong = { ...event, headers: [["x-ok", "1"], [name, value]] }
            const { exit, sent } = yield* run(new Fake(protocol), speaking([...before, wrong]))
            const reason = reasonOf(exit)
            assert.deepInclude(reason, { _tag: "InvalidHeader", event: event.type, name })
            assert.strictEqual(sent.length, before.length)
          }
        }))
    }

    it.effect("stops an early hint that would break the message", () =>
      Effect.gen(function*() {
        const { exit } = yield* run(new Fake("http"), speaking([{ ...hint, links: ["</a>", "</b>\r\nx: y"] }]))
        assert.deepInclude(reasonOf(exit), { _tag: "InvalidHeader", name: "link" })
      }))

    it.effect("names the field that is missing or wrong", () =>
      Effect.gen(function*() {
        const fields: ReadonlyArray<readonly [Protocol, Loose, string]> = [
          ["http", { type: "http.response.start" }, "status"],
          ["http", { type: "http.response.start", status: "200" }, "status"],
          ["http", { type: "http.response.start", status: 200, headers: {} }, "headers"],
          ["http", { type: "http.response.body", body: "a", file: "/a" }, "file"],
          ["websocket", { type: "websocket.send" }, "bytes"],
          ["websocket", { type: "websocket.accept", subprotocol: "other" }, "subprotocol"],
          ["sse", { type: "sse.send", data: "", id: "a\nb" }, "id"]
        ]
        for (const [protocol, event, field] of fields) {
          const { exit, sent } = yield* run(new Fake(protocol), speaking([event]))
          assert.deepInclude(reasonOf(exit), { _tag: "InvalidField", event: event.type, field })
          assert.deepStrictEqual(sent, [])
        }
      }))

    it.effect("stops events of extensions that the scope does not offer", () =>
      Effect.gen(function*() {
        for (const [protocol, event] of [["http", flush], ["http", hint], ["websocket", denyStart]] as const) {
          const fake = new Fake(protocol, [], { ...scopes[protocol], extensions: {} })
          const { exit } = yield* run(fake, speaking([event]))
          assert.deepInclude(reasonOf(exit), { _tag: "ExtensionUnavailable", event: event.type })
        }
      }))
  })

  describe("the server's side", () => {
    it.effect("yields the very events that it received", () =>
      Effect.gen(function*() {
        const inbound = [{ type: "http.request", body: new Uint8Array(1), more: false }, { type: "http.disconnect" }]
        const { exit } = yield* run(new Fake("http", inbound), (exchange) =>
          Effect.gen(function*() {
            for (const event of inbound) assert.strictEqual(yield* exchange.receive as Effect.Effect<unknown>, event)
            yield* speaking([start, body])(exchange)
          }))
        assert.isTrue(Exit.isSuccess(exit))
      }))

    it.effect("dies of inbound events that are unknown, malformed or out of order", () =>
      Effect.gen(function*() {
        const request = { type: "http.request", body: new Uint8Array(0), more: false }
        const message = { type: "websocket.receive", text: "a" }
        const wrong: ReadonlyArray<readonly [Protocol, ReadonlyArray<unknown>, string]> = [
          ["http", [{ type: "sse.request" }], "Received 'sse.request', which is no event of the http protocol"],
          ["http", [undefined], "Received '(none)', which is no event of the http protocol"],
          ["http", [{ ...request, more: 0 }], "Received 'http.request' with an invalid more: Expected boolean"],
          ["http", [request, request], "Received 'http.request' while the request is complete"],
          ["websocket", [message], "Received 'websocket.receive' while websocket.connect is due"],
          ["lifespan", [shutdown], "Received 'lifespan.shutdown' while lifespan.startup is due"]
        ]
        for (const [protocol, inbound, message] of wrong) {
          const { exit, problems } = yield* run(new Fake(protocol, inbound), speaking([], inbound.length))
          assert.strictEqual(defectOf(exit), message)
          assert.deepStrictEqual(problems, [{ protocol, place: "receive", message }])
        }
      }))

    it.effect("dies of a broken scope before the application runs", () =>
      Effect.gen(function*() {
        const fake = new Fake("http", [], { ...scopes.http, path: 7 })
        const { exit } = yield* run(fake, () => Effect.die("the application ran"))
        assert.strictEqual(defectOf(exit), "The http scope has an invalid path: Expected string")
      }))

    it.effect("hands scope and live handles on as they are, and makes none of them", () =>
      Effect.gen(function*() {
        const scope = Object.freeze({ ...scopes.http })
        const fake = new Fake("http", [], scope)
        const { exit } = yield* run(fake, (exchange) =>
          Effect.gen(function*() {
            assert.strictEqual(exchange.type, "http")
            assert.strictEqual(exchange.scope as unknown, scope)
            assert.strictEqual(fake.handlesMade, 0)
            if (exchange.type === "lifespan") return
            assert.strictEqual(exchange.transport, fake.transport as unknown)
            assert.strictEqual(exchange.connection, fake.connection as unknown)
            const { send } = exchange
            yield* (send as (event: Loose) => Effect.Effect<void, SendError>)(start)
            yield* (send as (event: Loose) => Effect.Effect<void, SendError>)(body)
          }))
        assert.isTrue(Exit.isSuccess(exit))
        const lifespan = new Fake("lifespan", [startup])
        yield* Lint.make()((inner) => Effect.sync(() => assert.notProperty(inner, "connection")))(lifespan.exchange)
      }))

    it.effect("lets everything pass once the client has gone, except after the application's last word", () =>
      Effect.gen(function*() {
        const gone = new Fake("websocket")
        gone.connection.isConnected = false
        const passed = yield* run(gone, speaking([text, close]))
        assert.isTrue(Exit.isSuccess(passed.exit))
        assert.deepStrictEqual(passed.sent, ["websocket.send", "websocket.close"])

        const complete = new Fake("sse")
        const late = yield* run(complete, (exchange) =>
          Effect.gen(function*() {
            yield* speaking([sseStart, sseClose])(exchange)
            complete.connection.isConnected = false
            yield* speaking([data])(exchange)
          }))
        assert.strictEqual(reasonOf(late.exit)._tag, "EventOutOfOrder")
      }))
  })

  describe("not strict", () => {
    it.effect("reports every problem and lets everything pass", () =>
      Effect.gen(function*() {
        const scope = { ...scopes.http, headers: [["Host", "x"]] }
        const fake = new Fake("http", [{ type: "http.request" }], scope)
        const events = [body, { ...start, headers: [["X-A", "1"]] }, { ...part, body: 7 }, text]
        const { exit, problems, sent } = yield* run(fake, speaking(events, 1), false)
        assert.isTrue(Exit.isSuccess(exit))
        assert.deepStrictEqual(sent, events.map((event) => event.type))
        assert.deepStrictEqual(
          problems.map((problem) => problem.place),
          ["scope", "receive", "send", "send", "send", "send", "end"]
        )
        assert.include(problems.at(-1)!.message, "the final http.response.body is missing")
      }))

    it.effect("warns in the log by default", () =>
      Effect.gen(function*() {
        const lines: Array<unknown> = []
        const capture = Logger.make<unknown, void>(({ logLevel, message }) => void lines.push([logLevel, message]))
        yield* Lint.make({ strict: false })(() => Effect.void)(new Fake("sse").exchange).pipe(
          Effect.provide(Logger.layer([capture]))
        )
        const problem = "The sse application returned, but sse.start is missing"
        assert.deepStrictEqual(lines, [["Warn", ["Contract broken", { protocol: "sse", place: "end", problem }]]])
      }))
  })
})
