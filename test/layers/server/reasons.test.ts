/**
 * Every standard disconnect reason, on every protocol and both versions of HTTP: produced where its condition occurs,
 * and seen the same way by everybody who may ask.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as AccessLogMemory from "../../../layers/AccessLogMemory.ts"
import type * as ServerMemory from "../../../layers/ServerMemory.ts"
import type * as App from "../../../src/app/App.ts"
import { DisconnectReason } from "../../../src/schema/DisconnectReason.ts"
import * as Frames from "../../utils/frames.ts"
import { capture } from "../../utils/logs.ts"
import { serveStoppable } from "../../utils/stoppable.ts"
import * as WebSocket from "../../utils/webSocket.ts"
import * as Wires from "../../utils/wires.ts"

type Standard = Exclude<DisconnectReason, `x-${string}`>
type Protocol = Wires.Protocol
type Version = Wires.Version
type Exchange = App.ClientExchange

const standardReasons = (DisconnectReason.members[0] as { readonly literals: ReadonlyArray<Standard> }).literals

/** What a case may do to the exchange, and to the world around it. */
interface World {
  readonly version: Version
  readonly protocol: Protocol
  readonly connection: Wires.Connection
  readonly asked: Wires.Asked
  readonly stop: Effect.Effect<unknown>
}

interface Case {
  readonly reason: Standard
  readonly when: string
  readonly protocols?: ReadonlyArray<Protocol>
  readonly versions?: ReadonlyArray<Version>
  /** `unanswered`: before any answer, or before the handshake is. `open`: in the middle of it. Default both. */
  readonly stages?: ReadonlyArray<"unanswered" | "open">
  readonly options?: ServerMemory.Options
  readonly bodyFollows?: true
  readonly headers?: ReadonlyArray<readonly [string, string]>
  /** The application does not receive until it is over. */
  readonly deaf?: true
  /** The client takes nothing from the beginning. */
  readonly paused?: true
  /** What the application does last. Default: it waits for ever. */
  readonly last?: (exchange: Exchange) => Effect.Effect<void, unknown>
  /** The application ends by itself, so that nothing is interrupted. */
  readonly endsItself?: true
  /** A session has had its time already, and gets no grace. */
  readonly atOnce?: true
  readonly provoke?: (world: World) => Effect.Effect<unknown>
  /** Code of `websocket.disconnect` for an open session. Default 1006. */
  readonly code?: number
  /** Last frame that the client of an open session gets. Default none. */
  readonly said?: string
  /** Status of the server's own answer when there was none. Default none. */
  readonly status?: number
}

/** Where a reason has no condition. */
const never: { readonly [reason in Standard]?: { readonly [protocol in Protocol]?: string } } = {
  idle_timeout: {
    http: "a request waits for its client (client_timeout, write_timeout) or for its application, never for nobody"
  },
  keepalive_timeout: {
    http: "there is no ping in a request",
    sse: "a comment has no answer"
  },
  queue_overflow: {
    http: "a body is read when the application asks, and not before",
    sse: "a body is read when the application asks, and not before"
  }
}

const big = "x".repeat(1_000_000)

/** Sends more than anybody holds, so that it waits for the client. */
const sendMuch = (exchange: Exchange): Effect.Effect<void, unknown> => {
  switch (exchange.type) {
    case "http":
      return exchange.send({ type: "http.response.body", body: big, more: true })
    case "sse":
      return exchange.send({ type: "sse.send", data: big })
    case "websocket":
      return exchange.send({ type: "websocket.send", text: big })
  }
}

/** A body longer than it said: nghttp2 resets the stream (RFC 9113 section 8.1.1). */
const tooLong = (asked: Wires.Asked) => asked.sendBody("more than three", true)

const cases: ReadonlyArray<Case> = [
  // ---- the client goes
  {
    reason: "client_closed",
    when: "the client resets",
    provoke: ({ asked }) => asked.reset
  },
  {
    reason: "client_closed",
    when: "the client resets the connection",
    versions: ["2"],
    provoke: ({ connection }) => connection.client.reset
  },
  {
    reason: "client_closed",
    when: "the client ends the connection",
    provoke: ({ connection }) => connection.client.end
  },
  {
    reason: "client_closed",
    when: "the client ends its side without a Close frame",
    protocols: ["websocket"],
    provoke: ({ asked }) => asked.end
  },
  {
    reason: "client_closed",
    when: "the client goes while a send waits for it",
    stages: ["open"],
    paused: true,
    last: (exchange) => Effect.andThen(sendMuch(exchange), Effect.never),
    provoke: ({ asked }) => asked.reset
  },
  {
    reason: "client_closed",
    when: "the client gives the connection up",
    versions: ["2"],
    provoke: ({ connection }) => connection.client.send(Frames.goaway(0, "INTERNAL_ERROR"))
  },
  // ---- the client stalls
  {
    reason: "client_timeout",
    when: "the body does not arrive",
    protocols: ["http", "sse"],
    bodyFollows: true,
    provoke: () => TestClock.adjust("32 seconds"),
    status: 408
  },
  {
    reason: "client_timeout",
    when: "the request takes longer than requestTimeout",
    protocols: ["http"],
    options: { requestTimeout: "10 seconds" },
    provoke: () => TestClock.adjust("11 seconds"),
    status: 408
  },
  {
    reason: "client_timeout",
    when: "the application does not decide within requestTimeout",
    protocols: ["sse", "websocket"],
    stages: ["unanswered"],
    options: { requestTimeout: "10 seconds" },
    provoke: () => TestClock.adjust("11 seconds"),
    status: 408
  },
  {
    reason: "write_timeout",
    when: "the client takes nothing of what it gets",
    stages: ["open"],
    paused: true,
    last: (exchange) => Effect.andThen(sendMuch(exchange), Effect.never),
    provoke: () => TestClock.adjust("33 seconds")
  },
  {
    reason: "idle_timeout",
    when: "the application sends nothing",
    protocols: ["sse"],
    stages: ["open"],
    options: { sseIdleTimeout: "20 seconds" },
    provoke: () => TestClock.adjust("20 seconds")
  },
  {
    reason: "idle_timeout",
    when: "nobody sends a message",
    protocols: ["websocket"],
    stages: ["open"],
    options: { wsIdleTimeout: "20 seconds" },
    provoke: () => TestClock.adjust("20 seconds"),
    code: 1001,
    said: "close 1001 idle timeout"
  },
  {
    reason: "keepalive_timeout",
    when: "a ping of the settings is not answered",
    protocols: ["websocket"],
    stages: ["open"],
    options: { wsPingInterval: "10 seconds", wsPingTimeout: "4 seconds" },
    provoke: () => TestClock.adjust("14 seconds"),
    said: "close 1011 keepalive timeout"
  },
  {
    reason: "keepalive_timeout",
    when: "a ping of the application is not answered",
    protocols: ["websocket"],
    stages: ["open"],
    last: (exchange) =>
      exchange.type !== "websocket"
        ? Effect.void
        : Effect.andThen(exchange.send({ type: "websocket.keepalive", interval: 10, timeout: 4 }), Effect.never),
    provoke: () => TestClock.adjust("14 seconds"),
    said: "close 1011 keepalive timeout"
  },
  // ---- the connection breaks
  {
    reason: "read_error",
    when: "the operating system reports an error on reading",
    provoke: ({ connection }) => connection.client.fail("ETIMEDOUT", "read")
  },
  {
    reason: "write_error",
    when: "the operating system reports an error on writing",
    provoke: ({ connection }) => connection.client.fail("EIO", "write")
  },
  // ---- the client breaks the rules
  {
    reason: "protocol_error",
    when: "a chunk of the body is malformed",
    protocols: ["http", "sse"],
    versions: ["1.1"],
    bodyFollows: true,
    provoke: ({ connection }) => connection.client.send("oh no\r\n"),
    status: 400
  },
  {
    reason: "protocol_error",
    when: "the body is longer than it was to be",
    protocols: ["http", "sse"],
    versions: ["2"],
    bodyFollows: true,
    headers: [["content-length", "3"]],
    provoke: ({ asked }) => tooLong(asked)
  },
  {
    reason: "protocol_error",
    when: "a frame breaks the rules of the connection",
    versions: ["2"],
    // Node 20 does not tell of it: a sweep finds out.
    provoke: ({ connection }) =>
      Effect.andThen(connection.client.send(Frames.data(0, "nowhere")), TestClock.adjust("1 second"))
  },
  {
    reason: "protocol_error",
    when: "the client makes work and asks for nothing",
    versions: ["2"],
    provoke: ({ connection }) =>
      connection.client.send(Buffer.concat(Array.from({ length: 1100 }, () => Frames.ping())))
  },
  {
    reason: "protocol_error",
    when: "a frame is not masked",
    protocols: ["websocket"],
    stages: ["open"],
    provoke: ({ asked }) => asked.send(WebSocket.text("bare", { mask: null })),
    code: 1002,
    said: "close 1002"
  },
  {
    reason: "protocol_error",
    when: "a text is not UTF-8",
    protocols: ["websocket"],
    stages: ["open"],
    provoke: ({ asked }) => asked.send(WebSocket.text(Uint8Array.of(0xc0))),
    code: 1007,
    said: "close 1007"
  },
  {
    reason: "body_too_large",
    when: "the body exceeds maxBodyBytes",
    protocols: ["http", "sse"],
    options: { maxBodyBytes: 100 },
    bodyFollows: true,
    provoke: ({ asked }) => asked.sendBody("x".repeat(101), true),
    status: 413
  },
  {
    reason: "body_too_large",
    when: "a message exceeds wsMaxMessageBytes",
    protocols: ["websocket"],
    stages: ["open"],
    options: { wsMaxMessageBytes: 100 },
    provoke: ({ asked }) => asked.send(WebSocket.text("x".repeat(101))),
    code: 1009,
    said: "close 1009"
  },
  {
    reason: "queue_overflow",
    when: "the application does not receive",
    protocols: ["websocket"],
    stages: ["open"],
    options: { wsMaxQueue: 10 },
    deaf: true,
    provoke: ({ asked }) => asked.send(...Array.from({ length: 11 }, () => WebSocket.text("x"))),
    code: 1008,
    said: "close 1008"
  },
  // ---- the server
  {
    reason: "server_shutdown",
    when: "the exchange outlives shutdownTimeout",
    protocols: ["http"],
    provoke: ({ stop }) => Effect.andThen(stop, TestClock.adjust("30 seconds"))
  },
  {
    reason: "server_shutdown",
    when: "the application has not decided within shutdownTimeout",
    protocols: ["sse", "websocket"],
    stages: ["unanswered"],
    provoke: ({ stop }) => Effect.andThen(stop, TestClock.adjust("30 seconds")),
    atOnce: true
  },
  {
    reason: "server_shutdown",
    when: "the server stops",
    protocols: ["sse", "websocket"],
    stages: ["open"],
    provoke: ({ stop }) => stop,
    code: 1001,
    said: "close 1001"
  },
  {
    reason: "server_error",
    when: "the application fails",
    last: () => Effect.andThen(Effect.sleep("1 second"), Effect.fail("no")),
    endsItself: true,
    provoke: () => TestClock.adjust("1 second"),
    status: 500,
    code: 1011,
    said: "close 1011"
  },
  {
    reason: "server_error",
    when: "the application dies",
    last: () => Effect.andThen(Effect.sleep("1 second"), Effect.die("no")),
    endsItself: true,
    provoke: () => TestClock.adjust("1 second"),
    status: 500,
    code: 1011,
    said: "close 1011"
  },
  {
    reason: "server_error",
    when: "the application returns without an answer",
    stages: ["unanswered"],
    last: () => Effect.sleep("1 second"),
    endsItself: true,
    provoke: () => TestClock.adjust("1 second"),
    status: 500
  },
  {
    reason: "server_error",
    when: "the application returns without the end of its answer",
    protocols: ["http"],
    stages: ["open"],
    last: () => Effect.sleep("1 second"),
    endsItself: true,
    provoke: () => TestClock.adjust("1 second")
  }
]

const openAnswer = (exchange: Exchange): Effect.Effect<void, unknown> => {
  switch (exchange.type) {
    case "http":
      return Effect.andThen(
        exchange.send({ type: "http.response.start", status: 200 }),
        exchange.send({ type: "http.response.body", body: "some", more: true })
      )
    case "sse":
      return exchange.send({ type: "sse.start" })
    case "websocket":
      return exchange.send({ type: "websocket.accept" })
  }
}

/** Receives until the disconnect event has come. */
const lastEvent = (exchange: Exchange): Effect.Effect<{ readonly type: string }> =>
  Effect.flatMap(
    exchange.receive as Effect.Effect<{ readonly type: string }>,
    (event) => event.type.endsWith(".disconnect") ? Effect.succeed(event) : lastEvent(exchange)
  )

const eventOf = (protocol: Protocol, reason: string, code: number) => {
  if (protocol === "http") return { type: "http.disconnect" }
  return protocol === "sse" ? { type: "sse.disconnect", reason } : { type: "websocket.disconnect", code, reason }
}

/** What the application saw, in order, each with the two facts as they were then. */
const watched = (stage: "unanswered" | "open", { deaf, last = () => Effect.never }: Case) => {
  const steps: Array<string> = []
  const events: Array<unknown> = []
  const exchanges: Array<Exchange> = []
  const app: App.App<unknown> = (exchange) => {
    if (exchange.type === "lifespan") return Effect.void
    const { connection } = exchange
    const step = (name: string) => steps.push(`${name}: ${connection.isConnected} ${connection.disconnectReason}`)
    const startNow = { startImmediately: true }
    const receiving = Effect.map(lastEvent(exchange), (event) => {
      events.push(event)
      step("event")
    })
    return Effect.gen(function*() {
      exchanges.push(exchange)
      connection.onComplete(() => step("complete"))
      connection.onDisconnect(() => step("callback 1"))
      connection.onDisconnect(() => step("callback 2"))
      // Detached: what the application saw must not depend on the fiber that the end interrupts.
      yield* Effect.forkDetach(Effect.map(connection.disconnected, () => step("deferred")), startNow)
      if (stage === "open") yield* openAnswer(exchange)
      if (deaf !== true) yield* Effect.forkDetach(receiving, startNow)
      yield* last(exchange)
    }).pipe(Effect.onInterrupt(() => Effect.sync(() => step("interruption"))))
  }
  return { app, events, exchanges, steps }
}

const test = (tested: Case, stage: "unanswered" | "open", protocol: Protocol, version: Version) =>
  Effect.gen(function*() {
    const { reason } = tested
    const { app, events, exchanges, steps } = watched(stage, tested)
    const access = yield* AccessLogMemory.make({ format: "%X" })
    const { connect, server, stop } = yield* Effect.provide(serveStoppable(app, tested.options), access)
    const connection = yield* Wires.open(connect, version)
    if (tested.paused === true) yield* connection.pause
    const asked = yield* connection.ask({
      protocol,
      bodyFollows: tested.bodyFollows ?? false,
      headers: tested.headers ?? []
    })
    yield* asked.answered
    assert.strictEqual(exchanges.length, 1)
    assert.deepStrictEqual(steps, [])

    yield* tested.provoke!({ asked, connection, protocol, stop, version })
    const answered = yield* asked.answered
    const exchange = exchanges[0]!
    assert.strictEqual(exchange.connection.disconnectReason, reason)
    assert.isFalse(exchange.connection.isConnected)
    assert.isFalse(exchange.connection.responseComplete)
    assert.strictEqual(yield* exchange.connection.disconnected, reason)

    const code = stage === "open" ? tested.code ?? 1006 : 1006
    const seen = (name: string) => `${name}: false ${reason}`
    const signals = ["deferred", "callback 1", "callback 2"].map(seen)
    if (tested.deaf === true) events.push(yield* lastEvent(exchange))
    else signals.push(seen("event"))
    assert.deepStrictEqual(events, [eventOf(protocol, reason, code)])
    assert.deepStrictEqual(yield* exchange.receive as Effect.Effect<unknown>, eventOf(protocol, reason, code))
    // A request has nobody left to work for; a session may say goodbye.
    const interruption = tested.endsItself === true ? [] : [seen("interruption")]
    const isAtOnce = protocol === "http" || tested.endsItself === true || tested.atOnce === true
    assert.deepStrictEqual(steps, isAtOnce ? [...signals, ...interruption] : signals)
    assert.strictEqual((yield* server.stats).exchanges, isAtOnce ? 0 : 1)
    yield* TestClock.adjust("6 seconds")
    assert.deepStrictEqual(steps, [...signals, ...interruption])
    assert.strictEqual((yield* server.stats).exchanges, 0)

    if (stage === "unanswered") {
      assert.strictEqual(answered.status, tested.status ?? 0)
      if (tested.status !== undefined) assert.strictEqual(answered.state, "whole")
    } else if (protocol === "websocket") {
      assert.strictEqual(answered.said.at(-1), tested.said)
    } else {
      // What is cut must not look whole; a stream of events that the server ends is.
      const isWhole = protocol === "sse" && (reason === "idle_timeout" || reason === "server_shutdown")
      assert.strictEqual(answered.state === "whole", isWhole)
    }
    const { lines } = yield* Effect.provide(AccessLogMemory.Lines, access)
    assert.deepStrictEqual(yield* lines, [reason])

    const late: Array<string> = []
    exchange.connection.onDisconnect((reason) => late.push(reason))
    exchange.connection.onComplete(() => late.push("complete"))
    assert.deepStrictEqual(late, [reason])
    yield* stop
    yield* TestClock.adjust("1 minute")
    assert.strictEqual((yield* server.stats).connections, 0)
  }).pipe(Effect.scoped, Effect.provide(capture().layer))

describe("disconnect reasons", () => {
  for (const tested of cases) {
    for (const { protocol, version } of Wires.wires) {
      if (tested.protocols?.includes(protocol) === false || tested.versions?.includes(version) === false) continue
      for (const stage of tested.stages ?? ["unanswered", "open"]) {
        const title = `${tested.reason} when ${tested.when}: ${
          Wires.nameOf({ protocol, version })
        }, ${stage} [C113] [C114]`
        it.effect(title, () => test(tested, stage, protocol, version))
      }
    }
  }

  it("has a case for every reason on every wire, or says why there is none [C114]", () => {
    for (const reason of standardReasons) {
      for (const { protocol, version } of Wires.wires) {
        const isTested = cases.some((tested) =>
          tested.reason === reason && (tested.protocols ?? Wires.protocols).includes(protocol) &&
          (tested.versions ?? Wires.versions).includes(version)
        )
        assert.strictEqual(isTested, never[reason]?.[protocol] === undefined, `${reason} on ${protocol} ${version}`)
      }
    }
  })
})
