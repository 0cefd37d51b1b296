/**
 * Whole servers under seeded faults. What must hold whatever clients and applications do: answers in the order of the
 * requests, one for each; one end for each exchange; nothing left behind; bounded buffers; a server that goes on.
 *
 * `SEED=123` replays one run, `SEEDS=20000` looks further than usual.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as TestClock from "effect/testing/TestClock"
import type * as ServerMemory from "../../layers/ServerMemory.ts"
import * as App from "../../src/app/App.ts"
import { AccessLog } from "../../src/service/AccessLog.ts"
import { capture } from "../utils/logs.ts"
import { serveStoppable } from "../utils/stoppable.ts"
import * as Answers from "./answers.ts"
import { Chance } from "./chance.ts"
import { type Connection, type Kind, largestPiece, make, type Request, type Step } from "./script.ts"

/** What the application saw of one exchange. */
interface Record {
  readonly exchange: App.HttpExchange
  readonly callbacks: Array<string>
  ends: number
}

const piece = "p".repeat(6000)

const behaviours: { readonly [K in Kind]: (exchange: App.HttpExchange, id: string) => Effect.Effect<void, unknown> } = {
  ok: ({ send }, id) => App.respond(send, 200, `ok ${id}`, [["x-id", id]]),
  slow: (exchange, id) => Effect.andThen(Effect.sleep(100), behaviours.ok(exchange, id)),
  echo: ({ receive, send }, id) => {
    const readAll = (bytes: number): Effect.Effect<number> =>
      Effect.flatMap(receive, (event) => {
        if (event.type !== "http.request") return Effect.succeed(bytes)
        return event.more ? readAll(bytes + event.body.length) : Effect.succeed(bytes + event.body.length)
      })
    return Effect.flatMap(readAll(0), (bytes) => App.respond(send, 200, `read ${bytes}`, [["x-id", id]]))
  },
  stream: ({ send }, id) =>
    Effect.gen(function*() {
      yield* send({ type: "http.response.start", status: 200, headers: [["x-id", id]] })
      for (let n = 0; n < 4; n++) {
        yield* send({ type: "http.response.body", body: `part ${n} `, more: true })
        yield* Effect.sleep(10)
      }
      yield* send({ type: "http.response.body" })
    }),
  big: ({ send }, id) =>
    Effect.gen(function*() {
      yield* send({ type: "http.response.start", status: 200, headers: [["x-id", id]] })
      for (let n = 0; n < 5; n++) yield* send({ type: "http.response.body", body: piece, more: n < 4 })
    }),
  partial: (exchange, id) => Effect.andThen(exchange.receive, behaviours.ok(exchange, id)),
  lingers: (exchange, id) => Effect.andThen(behaviours.ok(exchange, id), Effect.sleep(200)),
  never: () => Effect.never,
  dies: () => Effect.die("dies"),
  diesLate: ({ send }) => Effect.andThen(send({ type: "http.response.start", status: 200 }), Effect.die("diesLate")),
  diesHalfway: ({ send }, id) =>
    Effect.gen(function*() {
      yield* send({ type: "http.response.start", status: 200, headers: [["x-id", id]] })
      yield* send({ type: "http.response.body", body: "half", more: true })
      return yield* Effect.fail("diesHalfway")
    }),
  silent: () => Effect.void,
  stubborn: (exchange, id) => Effect.uninterruptible(Effect.andThen(Effect.sleep(1500), behaviours.ok(exchange, id))),
  deaf: (exchange, id) => Effect.andThen(Effect.sleep(4000), behaviours.ok(exchange, id)),
  staysOn: (exchange, id) => Effect.andThen(behaviours.ok(exchange, id), Effect.never)
}

const expectedBody = ({ bodyBytes, id, kind, method }: Request): string => {
  if (method === "HEAD") return ""
  if (kind === "echo") return `read ${bodyBytes}`
  if (kind === "stream") return "part 0 part 1 part 2 part 3 "
  return kind === "big" ? piece.repeat(5) : `ok ${id}`
}

const perform = (client: ServerMemory.Client, step: Step): Effect.Effect<void> => {
  switch (step._tag) {
    case "send":
      return client.send(step.bytes)
    case "readError":
      return client.fail("ETIMEDOUT", "read")
    case "writeError":
      return client.fail("EIO", "write")
    default:
      return client[step._tag]
  }
}

const isEnd = ({ _tag }: Step): boolean => _tag !== "send" && _tag !== "pause" && _tag !== "resume"

/** Answers are those of the requests, in order; the server's own comes last; nothing follows a close. */
const checkAnswers = ({ requests }: Connection, text: string): Answers.Answers => {
  const answers = Answers.read(text, requests.map(({ method }) => method))
  answers.whole.forEach((answer, index) => {
    const isLast = index === answers.whole.length - 1 && answers.cut === undefined && !answers.cutInHead
    const id = answer.headers.get("x-id")
    if (id === undefined) assert.isAtLeast(answer.status, 400, "an answer that nobody gave")
    else assert.strictEqual(id, requests[index]?.id, "answers are not in the order of the requests")
    if (id === undefined || answer.headers.get("connection") === "close") {
      assert.isTrue(isLast, "something follows the last answer")
    }
    if (id !== undefined) assert.strictEqual(answer.body, expectedBody(requests[index]!))
  })
  const cutId = answers.cut?.headers.get("x-id")
  if (cutId !== undefined) assert.strictEqual(cutId, requests[answers.whole.length]?.id)
  return answers
}

const checkRecord = Effect.fnUntraced(function*({ callbacks, ends, exchange }: Record) {
  const { connection, receive, scope, send } = exchange
  const isComplete = connection.responseComplete
  assert.deepStrictEqual(callbacks, [isComplete ? "complete" : `disconnect ${connection.disconnectReason}`], scope.path)
  assert.strictEqual(connection.disconnectReason === undefined, isComplete)
  assert.strictEqual(ends, 1, "the application's fiber has not ended once")
  assert.isFalse(connection.isConnected)
  assert.strictEqual(exchange.transport.bufferedAmount, 0)
  assert.deepStrictEqual(yield* receive, { type: "http.disconnect" })
  const late = yield* Effect.result(send({ type: "http.response.body", body: "late" }))
  assert.strictEqual(late._tag, isComplete ? "Failure" : "Success")
})

const simulate = Effect.fnUntraced(function*(seed: number) {
  const chance = new Chance(seed)
  const script = make(chance)
  const highWaterMark = chance.pick([256, 4096, 65536])
  const networkBufferBytes = chance.pick([1, 500, 65536])
  const timeouts = {
    headerTimeout: 2000,
    bodyTimeout: 3000,
    keepAliveTimeout: 5000,
    writeTimeout: 4000,
    requestTimeout: 10_000,
    shutdownTimeout: 3000,
    disconnectGrace: 2000,
    maxBodyBytes: 4000
  }
  const records: Array<Record> = []
  const begun = new Map<string, number>()
  let logged = 0
  const log = AccessLog.of({ write: () => void logged++, flush: Effect.void })
  const app = App.http((exchange) => {
    const record: Record = { exchange, callbacks: [], ends: 0 }
    records.push(record)
    exchange.connection.onComplete(() => record.callbacks.push("complete"))
    exchange.connection.onDisconnect((reason) => record.callbacks.push(`disconnect ${reason}`))
    const [, id = "", kind = "ok"] = exchange.scope.path.split("/")
    begun.set(id[0]!, Number(id[1]))
    return Effect.ensuring(behaviours[kind as Kind](exchange, id), Effect.sync(() => record.ends++))
  })
  const { connect, server, stop } = yield* Effect.provideService(
    serveStoppable(app, {
      writeHighWaterMark: highWaterMark,
      networkBufferBytes,
      lifespan: "off",
      ...(script.calm ? {} : timeouts)
    }),
    AccessLog,
    log
  )
  const recordsOf = (name: string) => records.filter(({ exchange }) => exchange.scope.path[1] === name)
  // A crowd makes the server write answers together, which must not be seen.
  const crowd = yield* Effect.forEach(Array.from({ length: chance.happens(0.3) ? 20 : 0 }), () => connect())
  const clients = yield* Effect.forEach(script.connections, () => connect())
  const steps = script.connections.map((connection) => connection.steps.values())
  const sent = clients.map(() => 0)

  for (const happening of script.happenings) {
    if (happening._tag === "wait") {
      yield* TestClock.adjust(happening.millis)
    } else {
      const index = happening.connection
      const step: Step = steps[index]!.next().value!
      yield* perform(clients[index]!, step)
      if (step._tag === "send") sent[index]! += step.bytes.length
      if (script.calm) {
        const known = script.connections[index]!.requests.slice(0, (begun.get("abcd"[index]!) ?? -1) + 1)
        const unread = sent[index]! - (yield* clients[index]!.unsentBytes) -
          known.reduce((bytes, { text }) => bytes + text.length, 0)
        assert.isAtMost(unread, highWaterMark + networkBufferBytes + 2 * largestPiece, "reads more than it may hold")
      }
      // A server that is not held back from reading learns at once that its client has gone.
      if (isEnd(step) && highWaterMark > 60_000) {
        const left = recordsOf("abcd"[index]!).filter(({ exchange }) => exchange.connection.isConnected)
        assert.deepStrictEqual(
          left.map(({ exchange }) => exchange.scope.path),
          [],
          "an exchange without a client goes on"
        )
      }
    }
    for (const { exchange } of records) {
      assert.isAtMost(
        exchange.transport.bufferedAmount,
        highWaterMark + piece.length + 1000,
        "buffers more than it may"
      )
    }
  }

  yield* TestClock.adjust(script.calm ? 50_000 : chance.pick([0, 500, 6000, 12_000]))
  for (const [index, connection] of script.connections.entries()) {
    const answers = checkAnswers(connection, yield* clients[index]!.read)
    if (!script.calm) continue
    assert.strictEqual(answers.whole.length, connection.requests.length, "a request has no answer")
    assert.isUndefined(answers.cut)
  }

  for (const client of crowd) yield* client.reset
  for (const client of clients) yield* chance.happens(0.5) ? client.reset : client.end
  yield* TestClock.adjust(60_000)
  const { connections, exchanges, totalExchanges, totalRefused } = yield* server.stats
  assert.deepStrictEqual({ connections, exchanges }, { connections: 0, exchanges: 0 }, "something is left behind")
  assert.strictEqual(totalExchanges, records.length)
  assert.strictEqual(logged, totalExchanges + totalRefused, "the access log has not one line for each")
  for (const record of records) yield* checkRecord(record)

  const fresh = yield* connect()
  yield* fresh.send("GET /e0/ok HTTP/1.1\r\nHost: a\r\n\r\n")
  assert.include(yield* fresh.read, "ok e0", "the server does not answer any more")
  const stopping = yield* stop
  assert.isDefined(stopping.pollUnsafe(), "the server does not stop")
  return { calm: script.calm, ends: records.map(({ callbacks }) => callbacks[0]!) }
})

const run = (seed: number) =>
  simulate(seed).pipe(
    Effect.scoped,
    Effect.provide([TestClock.layer(), capture().layer]),
    Effect.provideService(Metric.MetricRegistry, new Map()),
    Effect.catchCause((cause) => Effect.die(new Error(`Replay with SEED=${seed}. ${Cause.pretty(cause)}`)))
  )

const { SEED, SEEDS = "500" } = process.env
const seeds = SEED === undefined ? Array.from({ length: Number(SEEDS) }, (_, index) => index + 1) : [Number(SEED)]

describe("HTTP/1 under faults", () => {
  it.live("keeps its promises whatever clients and applications do", () =>
    Effect.gen(function*() {
      const seen = new Map<string, number>()
      const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1)
      for (const seed of seeds) {
        const hangs = Effect.die(new Error(`Replay with SEED=${seed}. The run does not come to an end`))
        const { calm, ends } = yield* Effect.timeoutOrElse(run(seed), { duration: "5 seconds", orElse: () => hangs })
        count(calm ? "calm" : "rough")
        ends.forEach(count)
      }
      if (seeds.length === 1) return
      // The runs are worth their time only when they reach what they are about.
      for (
        const what of [
          "calm",
          "rough",
          "complete",
          "disconnect client_closed",
          "disconnect client_timeout",
          "disconnect write_timeout",
          "disconnect read_error",
          "disconnect write_error",
          "disconnect protocol_error",
          "disconnect server_error",
          "disconnect body_too_large"
        ]
      ) {
        assert.isAbove(seen.get(what) ?? 0, 0, `no run had: ${what}. ${JSON.stringify([...seen])}`)
      }
    }), seeds.length * 100)

  it("repeats itself: the same seed gives the same script", () => {
    assert.deepStrictEqual(make(new Chance(7)), make(new Chance(7)))
    assert.notDeepEqual(make(new Chance(7)), make(new Chance(8)))
  })
})
