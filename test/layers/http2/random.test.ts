/**
 * Connections of clients that do anything, in random order, from a seed: `SEED=123` replays one, `SEEDS=5000` looks further.
 * Whatever happens, each exchange ends once, nothing is left behind, and the server serves the next client.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import { Chance } from "../../simulation/chance.ts"
import * as F from "../../utils/frames.ts"
import { capture } from "../../utils/logs.ts"
import { serveStoppable } from "../../utils/stoppable.ts"
import * as WebSocket from "../../utils/webSocket.ts"
import { bodyOf, stillServes } from "./serving.ts"

const start = { type: "http.response.start", status: 200 } as const
const part = (bytes: number, more = true) => ({ type: "http.response.body", body: "x".repeat(bytes), more }) as const

const behaviours: Readonly<Record<string, (exchange: App.HttpExchange) => Effect.Effect<unknown, unknown>>> = {
  ok: ({ send }) => App.respond(send, 200, "ok"),
  slow: ({ send }) => Effect.andThen(Effect.sleep(500), App.respond(send, 200, "slow")),
  echo: (exchange) => Effect.flatMap(bodyOf(exchange), (body) => App.respond(exchange.send, 200, body)),
  partial: ({ receive, send }) => Effect.andThen(receive, App.respond(send, 200, "enough")),
  big: ({ send }) => App.respond(send, 200, "x".repeat(300_000)),
  stream: ({ send }) =>
    Effect.gen(function*() {
      yield* send({ ...start, trailers: true })
      for (let n = 0; n < 20; n++) {
        yield* send(part(5000, n < 19))
        yield* Effect.sleep(20)
      }
      yield* send({ type: "http.response.trailers", headers: [["x-sum", "1"]] })
    }),
  hints: ({ send }) =>
    Effect.gen(function*() {
      yield* send({ type: "http.response.early_hint", links: ["</x>"] })
      yield* Effect.sleep(100)
      yield* send({ type: "http.response.early_hint", links: ["</y>"] })
      yield* App.respond(send, 200, "hinted")
    }),
  never: () => Effect.never,
  halfway: ({ send }) => Effect.andThen(send(start), Effect.andThen(send(part(100)), Effect.never)),
  dies: () => Effect.die("dies"),
  diesLate: ({ send }) =>
    Effect.andThen(send(start), Effect.andThen(send(part(100)), Effect.andThen(Effect.sleep(50), Effect.fail("late")))),
  silent: () => Effect.void,
  forgets: ({ send }) => Effect.andThen(Effect.forkDetach(send(start)), Effect.sleep(10)),
  stubborn: (exchange) => Effect.uninterruptible(Effect.andThen(Effect.sleep(1500), behaviours["ok"]!(exchange))),
  staysOn: (exchange) => Effect.andThen(behaviours["ok"]!(exchange), Effect.never)
}

const events = ({ send }: App.SseExchange) =>
  Effect.gen(function*() {
    yield* send({ type: "sse.start" })
    yield* send({ type: "sse.keepalive", interval: 0.3 })
    for (let n = 0; n < 50; n++) {
      yield* send({ type: "sse.send", data: "x".repeat(3000) })
      yield* Effect.sleep(50)
    }
  })

const kinds = Object.keys(behaviours)
const codes = ["NO_ERROR", "CANCEL", "INTERNAL_ERROR", "PROTOCOL_ERROR", "REFUSED_STREAM"] as const

/** The streams of a client: all of them, and those that it has not ended. */
class Streams {
  count = 0
  readonly open: Array<number> = []

  next(isOpen: boolean): number {
    const stream = 2 * this.count++ + 1
    if (isOpen) this.open.push(stream)
    return stream
  }

  /** One that the client may still send on, or 0. */
  sending(chance: Chance): number {
    return this.open.length === 0 ? 0 : chance.pick(this.open)
  }

  end(stream: number): void {
    const index = this.open.indexOf(stream)
    if (index !== -1) this.open.splice(index, 1)
  }
}

/** One step of a client. Most of them keep the rules; a few do not. */
const stepOf = (chance: Chance, streams: Streams): ReadonlyArray<Uint8Array> => {
  const path = `/${chance.pick(kinds)}`
  const sending = streams.sending(chance)
  const any = 2 * chance.int(0, streams.count) + 1
  switch (chance.int(0, 17)) {
    case 0:
    case 1:
    case 2:
      return [F.get(streams.next(false), path)]
    case 3:
    case 4:
    case 5:
      return [F.post(streams.next(true), path, chance.happens(0.2) ? [["content-length", "1000"]] : [])]
    case 6:
      return [F.get(streams.next(false), path, [["accept", "text/event-stream"]])]
    case 7:
      return [F.connect(streams.next(true), path)]
    case 8:
      return [F.post(streams.next(true), path, [["expect", "100-continue"]])]
    case 9:
    case 10: {
      if (sending === 0) return []
      const isLast = chance.happens(0.4)
      if (isLast) streams.end(sending)
      return [F.data(sending, "x".repeat(chance.int(0, 3000)), isLast ? F.END_STREAM : 0)]
    }
    case 11:
      return sending === 0
        ? []
        : [F.data(sending, chance.pick([WebSocket.text("hello"), WebSocket.close(1000), WebSocket.ping()]))]
    case 12:
      if (sending === 0) return []
      streams.end(sending)
      return [F.headers(sending, [["x-trailer", "1"]])]
    case 13:
      if (any > 2 * streams.count) return []
      streams.end(any)
      return [F.reset(any, chance.pick(codes))]
    case 14:
      return [F.windowUpdate(0, chance.int(1, 100_000)), ...(sending === 0 ? [] : [F.windowUpdate(sending, 50_000)])]
    case 15:
      return [F.settings({ INITIAL_WINDOW_SIZE: chance.pick([0, 100, 65_535, 1_000_000]) })]
    case 16:
      return [F.ping(), F.priority(2 * chance.int(0, 50) + 1, 0)]
    default:
      if (chance.happens(0.98)) {
        return [F.get(streams.next(false), "/ok"), F.reset(2 * streams.count - 1, chance.pick(codes))]
      }
      return [F.frame(chance.int(0, 12), chance.int(0, 255), chance.int(0, 9), "x".repeat(chance.int(0, 20)))]
  }
}

interface Seen {
  readonly exchange: App.ClientExchange
  readonly callbacks: Array<string>
  ends: number
}

const simulate = (seed: number) =>
  Effect.gen(function*() {
    const chance = new Chance(seed)
    const records: Array<Seen> = []
    const app: App.App<unknown> = (exchange) => {
      if (exchange.type === "lifespan") return Effect.void
      const record: Seen = { exchange, callbacks: [], ends: 0 }
      records.push(record)
      exchange.connection.onComplete(() => record.callbacks.push("complete"))
      exchange.connection.onDisconnect((reason) => record.callbacks.push(reason))
      const running = exchange.type === "http"
        ? behaviours[exchange.scope.path.slice(1)]!(exchange)
        : exchange.type === "sse"
        ? events(exchange)
        : WebSocket.echo(exchange)
      return Effect.ensuring(running, Effect.sync(() => record.ends++))
    }
    const { connect, server, stop } = yield* serveStoppable(app, {
      lifespan: "off",
      writeHighWaterMark: chance.pick([256, 4096, 65_536, 1_000_000]),
      networkBufferBytes: chance.pick([1, 1000, 65_536]),
      headerTimeout: 2000,
      bodyTimeout: 3000,
      keepAliveTimeout: 4000,
      writeTimeout: 3000,
      requestTimeout: chance.pick([0, 5000]),
      shutdownTimeout: 3000,
      disconnectGrace: 1000,
      wsCloseTimeout: 1000,
      sseIdleTimeout: 5000,
      maxBodyBytes: 5000
    })
    const clients = yield* Effect.forEach(
      Array.from({ length: chance.int(1, 3) }),
      () => Effect.map(connect(), (bytes) => ({ bytes, reader: F.over(bytes), streams: new Streams() }))
    )
    for (const { reader } of clients) {
      yield* reader.send(F.preface, F.settings({ INITIAL_WINDOW_SIZE: chance.pick([0, 1000, 65_535]) }), F.settingsAck)
    }
    const stopsAt = chance.happens(0.3) ? chance.int(0, 40) : -1
    let stopping: Fiber.Fiber<void> | undefined
    for (let n = 0; n < 40; n++) {
      const { bytes, reader, streams } = chance.pick(clients)
      const sent = Array.from({ length: chance.int(1, 4) }, () => stepOf(chance, streams)).flat()
      yield* reader.send(...sent)
      if (chance.happens(0.3)) yield* TestClock.adjust(chance.pick([10, 100, 1000]))
      if (chance.happens(0.05)) yield* bytes.pause
      if (chance.happens(0.1)) yield* bytes.resume
      if (chance.happens(0.01)) yield* chance.pick([bytes.end, bytes.reset, bytes.fail("ETIMEDOUT", "read")])
      if (n === stopsAt) stopping = yield* stop
    }
    if (chance.happens(0.5)) { for (const { bytes } of clients) yield* chance.pick([bytes.end, bytes.reset]) }
    // Everything that was to be waited for, and its grace.
    for (let second = 0; second < 30; second++) {
      yield* TestClock.adjust(1000)
      yield* ServerMemory.settle
    }
    for (const { bytes } of clients) yield* bytes.reset
    for (let second = 0; second < 5; second++) {
      yield* TestClock.adjust(1000)
      yield* ServerMemory.settle
    }
    assert.deepInclude(yield* server.stats, { connections: 0 })
    for (const { callbacks, ends, exchange } of records) {
      const what = `${exchange.type} ${exchange.scope.path} ${callbacks.join()} ${ends}`
      // Only one that nobody can stop, and nobody did, goes on.
      if (exchange.connection.isConnected) assert.fail(`still connected: ${what}`)
      assert.strictEqual(callbacks.length, 1, what)
      assert.strictEqual(callbacks[0] === "complete", exchange.connection.disconnectReason === undefined, what)
      assert.strictEqual(ends, 1, what)
      assert.strictEqual(exchange.transport.bufferedAmount, 0, what)
    }
    assert.strictEqual((yield* server.stats).exchanges, 0)
    if (stopping === undefined) assert.strictEqual(yield* stillServes(connect, "/ok"), 200)
    else yield* Fiber.join(stopping)
  }).pipe(Effect.scoped, Effect.provide(capture().layer))

const seedsOf = (): ReadonlyArray<number> => {
  const { SEED, SEEDS } = process.env
  return SEED !== undefined ? [Number(SEED)] : Array.from({ length: Number(SEEDS ?? 25) }, (_, n) => n + 1)
}

describe("HTTP/2 under clients that do anything", () => {
  const problems: Array<unknown> = []
  process.on("uncaughtExceptionMonitor", (error) => problems.push(error))

  it.effect(
    "ends each exchange once and leaves nothing behind, whatever the seed [C113]",
    () =>
      Effect.gen(function*() {
        for (const seed of seedsOf()) {
          yield* Effect.catchCause(simulate(seed), (cause) => Effect.die(new Error(`SEED=${seed} fails`, { cause })))
        }
        assert.deepStrictEqual(problems, [])
      }),
    600_000
  )
})
