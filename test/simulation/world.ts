/**
 * What every simulated run has: a server that keeps a record of each exchange, and what must hold when all is over. A
 * run ends in an error that says how to replay it.
 *
 * `SEED=123` replays one run, `SEEDS=20000` looks further than usual.
 */
import { assert, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import * as App from "../../src/app/App.ts"
import { AccessLog } from "../../src/service/AccessLog.ts"
import { capture } from "../utils/logs.ts"
import { serveStoppable } from "../utils/stoppable.ts"
import { behave } from "./apps.ts"
import type { Chance } from "./chance.ts"

type Event = { readonly type: string; readonly more?: boolean; readonly text?: string; readonly bytes?: Uint8Array }

/** What the application saw of one exchange. */
export interface Record {
  readonly exchange: App.ClientExchange
  readonly callbacks: Array<string>
  /** What it received. */
  readonly events: Array<Event>
  ends: number
}

/** Waits of a run with faults: short, so that every one of them comes up. */
export const shortWaits = {
  headerTimeout: 6000,
  bodyTimeout: 3000,
  keepAliveTimeout: 5000,
  writeTimeout: 3000,
  requestTimeout: 10_000,
  shutdownTimeout: 3000,
  disconnectGrace: 2000,
  wsIdleTimeout: 7000,
  wsCloseTimeout: 1500,
  sseIdleTimeout: 4000,
  maxBodyBytes: 900,
  wsMaxMessageBytes: 8000,
  wsMaxQueue: 4
} satisfies ServerMemory.Options

export interface World {
  readonly connect: ServerMemory.Network["Service"]["connect"]
  readonly records: ReadonlyArray<Record>
  /** Those whose path begins with the name of a connection. */
  readonly recordsOf: (name: string) => ReadonlyArray<Record>
  readonly highWaterMark: number
  readonly networkBufferBytes: number
  /** Tells the server to stop, once. */
  readonly stop: Effect.Effect<void>
  /** Nothing of what is held may ever be more than this and what one piece adds. */
  readonly checkBuffers: (largestPiece: number) => void
  /** When all clients have gone: nothing is left, everything was told once, and the server goes on, or has stopped. */
  readonly finish: Effect.Effect<void, never, Scope.Scope>
}

export const make = Effect.fnUntraced(function*(chance: Chance, options: ServerMemory.Options) {
  const highWaterMark = chance.pick([256, 4096, 65536])
  const networkBufferBytes = chance.pick([1, 500, 65536])
  const records: Array<Record> = []
  let logged = 0
  const log = AccessLog.of({ write: () => void logged++, flush: Effect.void })
  const app: App.App<unknown> = (exchange) => {
    if (exchange.type === "lifespan") return Effect.void
    const record: Record = { exchange, callbacks: [], events: [], ends: 0 }
    records.push(record)
    exchange.connection.onComplete(() => record.callbacks.push("complete"))
    exchange.connection.onDisconnect((reason) => record.callbacks.push(`disconnect ${reason}`))
    const receive = Effect.tap(
      exchange.receive as Effect.Effect<Event>,
      (event) => Effect.sync(() => void record.events.push(event))
    )
    return Effect.ensuring(
      behave(App.derive(exchange as App.HttpExchange, { receive } as never)),
      Effect.sync(() => record.ends++)
    )
  }
  const all: ServerMemory.Options = {
    ...options,
    writeHighWaterMark: highWaterMark,
    networkBufferBytes,
    lifespan: "off"
  }
  const { connect, server, stop } = yield* Effect.provideService(serveStoppable(app, all), AccessLog, log)
  const stopOnce = yield* Effect.cached(stop)
  let hasStopped = false

  const finish = Effect.gen(function*() {
    yield* elapse(60_000)
    const { connections, exchanges, totalExchanges, totalRefused } = yield* server.stats
    assert.deepStrictEqual({ connections, exchanges }, { connections: 0, exchanges: 0 }, "something is left behind")
    assert.strictEqual(totalExchanges, records.length)
    assert.strictEqual(logged, totalExchanges + totalRefused, "the access log has not one line for each")
    for (const record of records) yield* checkRecord(record)
    if (!hasStopped) {
      const fresh = yield* connect()
      yield* fresh.send("GET /z0/ok HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.include(yield* fresh.read, "ok z0", "the server does not answer any more")
    }
    assert.isDefined((yield* stopOnce).pollUnsafe(), "the server does not stop")
  })
  const world: World = {
    connect,
    records,
    recordsOf: (name) => records.filter(({ exchange }) => exchange.scope.path[1] === name),
    highWaterMark,
    networkBufferBytes,
    stop: Effect.suspend(() => {
      hasStopped = true
      return Effect.asVoid(stopOnce)
    }),
    checkBuffers: (largestPiece) => {
      for (const { exchange } of records) {
        assert.isAtMost(exchange.transport.bufferedAmount, highWaterMark + largestPiece, "buffers more than it may")
      }
    },
    finish
  }
  return world
})

/** Time goes by in steps: what happens in one is written and read before the next. */
export const elapse = (millis: number): Effect.Effect<void> =>
  Effect.gen(function*() {
    for (const part of [0.01, 0.04, 0.15, 0.3, 0.5]) {
      yield* TestClock.adjust(millis * part)
      yield* ServerMemory.settle
    }
  })

// ---- one exchange, when it is over

/** Exactly one end, told once; one fiber, over; nothing held. */
const checkRecord = Effect.fnUntraced(function*(record: Record) {
  const { callbacks, ends, exchange } = record
  const { connection, scope } = exchange
  const isComplete = connection.responseComplete
  assert.deepStrictEqual(callbacks, [isComplete ? "complete" : `disconnect ${connection.disconnectReason}`], scope.path)
  assert.strictEqual(connection.disconnectReason === undefined, isComplete)
  assert.strictEqual(ends, 1, "the application's fiber has not ended once")
  assert.isFalse(connection.isConnected)
  assert.strictEqual(exchange.transport.bufferedAmount, 0)
  const last = yield* lastEvent(record)
  const { disconnectReason } = connection
  if (last !== undefined && exchange.type === "sse") {
    assert.deepStrictEqual(last, { type: "sse.disconnect", reason: disconnectReason ?? "client_closed" } as Event)
  } else if (last !== undefined && exchange.type === "websocket" && disconnectReason !== undefined) {
    assert.strictEqual((last as { readonly reason?: string }).reason, disconnectReason)
  }
  checkEvents(record)
  const late = yield* Effect.result(
    exchange.type === "http"
      ? exchange.send({ type: "http.response.body", body: "late" })
      : exchange.type === "sse"
      ? exchange.send({ type: "sse.send", data: "late" })
      : exchange.send({ type: "websocket.send", text: "late" })
  )
  // After the peer's own Close frame a message is not the application's fault.
  if (!isComplete) assert.strictEqual(late._tag, "Success")
  else if (exchange.type !== "websocket") assert.strictEqual(late._tag, "Failure")
})

/** Receives what is left. `undefined` when there is nothing: the application has declined, and knows. */
const lastEvent = Effect.fnUntraced(function*({ events, exchange }: Record) {
  for (;;) {
    const receiving = yield* Effect.forkScoped(exchange.receive as Effect.Effect<Event>, { startImmediately: true })
    const exit = receiving.pollUnsafe()
    if (exit === undefined) {
      assert.isTrue(exchange.connection.responseComplete, "an end that nobody tells")
      assert.notStrictEqual(exchange.type, "http")
      return undefined
    }
    const event = yield* exit
    events.push(event)
    if (event.type.endsWith(".disconnect")) return event
  }
})

/** Events come in the order of the protocol, and nothing comes after the end. */
const checkEvents = ({ events, exchange }: Record): void => {
  const { type } = exchange
  let isOver = false
  let isBodyOver = false
  events.forEach((event, index) => {
    const { path } = exchange.scope
    switch (event.type) {
      case `${type}.disconnect`:
        isOver = true
        return
      case "websocket.connect":
        assert.strictEqual(index, 0, path)
        return
      case "websocket.receive":
        assert.isTrue(index > 0 && !isOver, `a message out of order: ${path}`)
        return
      case `${type}.request`:
        assert.isFalse(isOver || isBodyOver, `a part of a body out of order: ${path}`)
        isBodyOver = event.more === false
        return
      default:
        assert.fail(`${event.type} on ${path}`)
    }
  })
}

/** The messages that an application received. */
export const messagesOf = ({ events }: Record): ReadonlyArray<string> =>
  events.filter(({ type }) => type === "websocket.receive").map(({ bytes, text }) =>
    text ?? Buffer.from(bytes!).toString()
  )

// ---- running

/** What a run has seen: words that are counted over all runs. */
export type Seen = ReadonlyArray<string>

/** How a world's exchanges ended, to be counted: `complete`, `disconnect idle_timeout`, and with the protocol before it. */
export const endsOf = ({ records }: World): Seen =>
  records.flatMap(({ callbacks, exchange }) => [callbacks[0]!, `${exchange.type} ${callbacks[0]}`])

const run = <E>(simulate: (seed: number) => Effect.Effect<Seen, E, Scope.Scope>, seed: number) =>
  simulate(seed).pipe(
    Effect.scoped,
    Effect.provide([TestClock.layer(), capture().layer]),
    Effect.provideService(Metric.MetricRegistry, new Map()),
    Effect.catchCause((cause) => Effect.die(new Error(`Replay with SEED=${seed}. ${Cause.pretty(cause)}`)))
  )

/** A test that runs many seeds. They are worth their time only when they reach what they are about: all of `expected`. */
export const simulation = <E>(
  title: string,
  usualSeeds: number,
  expected: ReadonlyArray<string>,
  simulate: (seed: number) => Effect.Effect<Seen, E, Scope.Scope>
): void => {
  const { SEED, SEEDS = usualSeeds } = process.env
  const seeds = SEED === undefined ? Array.from({ length: Number(SEEDS) }, (_, index) => index + 1) : [Number(SEED)]
  it.live(title, () =>
    Effect.gen(function*() {
      const seen = new Map<string, number>()
      for (const seed of seeds) {
        const hangs = Effect.die(new Error(`Replay with SEED=${seed}. The run does not come to an end`))
        const words = yield* Effect.timeoutOrElse(run(simulate, seed), { duration: "5 seconds", orElse: () => hangs })
        for (const word of words) seen.set(word, (seen.get(word) ?? 0) + 1)
      }
      if (seeds.length < usualSeeds) return
      for (const what of expected) {
        assert.isAbove(seen.get(what) ?? 0, 0, `no run had: ${what}. ${JSON.stringify([...seen])}`)
      }
    }), 10_000 + seeds.length * 200)
}
