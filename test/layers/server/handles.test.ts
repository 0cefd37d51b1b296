/**
 * The two live handles, `connection` and `transport`, on every protocol and both versions of HTTP: every member tells
 * the same truth everywhere. Why exchanges end badly is the subject of reasons.test.ts.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import type * as App from "../../../src/app/App.ts"
import { capture } from "../../utils/logs.ts"
import { serveStoppable } from "../../utils/stoppable.ts"
import * as WebSocket from "../../utils/webSocket.ts"
import * as Wires from "../../utils/wires.ts"

type Exchange = App.ClientExchange
type Wire = Wires.Wire

/** Begins the answer, with its head on the wire. */
const open = (exchange: Exchange): Effect.Effect<void, unknown> => {
  switch (exchange.type) {
    case "http":
      return Effect.andThen(
        exchange.send({ type: "http.response.start", status: 200 }),
        exchange.send({ type: "http.response.body", body: "x", more: true })
      )
    case "sse":
      return exchange.send({ type: "sse.start" })
    case "websocket":
      return Effect.andThen(exchange.receive, exchange.send({ type: "websocket.accept" }))
  }
}

/** Sends a piece of about so many bytes. */
const sendBytes = (exchange: Exchange, bytes: number): Effect.Effect<void, unknown> => {
  switch (exchange.type) {
    case "http":
      return exchange.send({ type: "http.response.body", body: new Uint8Array(bytes), more: true })
    case "sse":
      return exchange.send({ type: "sse.send", data: "x".repeat(bytes) })
    case "websocket":
      return exchange.send({ type: "websocket.send", bytes: new Uint8Array(bytes) })
  }
}

/** Ends what `open` has begun, in good order. */
const close = (exchange: Exchange): Effect.Effect<void, unknown> => {
  switch (exchange.type) {
    case "http":
      return exchange.send({ type: "http.response.body" })
    case "sse":
      return exchange.send({ type: "sse.close" })
    case "websocket":
      return exchange.send({ type: "websocket.close" })
  }
}

/** An application that keeps its exchanges and does what it is told. */
const keeping = (handle: (exchange: Exchange) => Effect.Effect<void, unknown>) => {
  const exchanges: Array<Exchange> = []
  const app: App.App<unknown> = (exchange) => {
    if (exchange.type === "lifespan") return Effect.void
    exchanges.push(exchange)
    return handle(exchange)
  }
  return { app, exchanges }
}

/** Serves until the test is over, and then stops: sessions need time for that, which only the test can give. */
const serve = <E>(app: App.App<E>, options: ServerMemory.Options = {}) =>
  Effect.tap(
    serveStoppable(app, options),
    ({ server, stop }) =>
      Effect.addFinalizer(() =>
        Effect.gen(function*() {
          yield* stop
          yield* TestClock.adjust("1 minute")
          const { connections, exchanges } = yield* server.stats
          assert.deepStrictEqual({ connections, exchanges }, { connections: 0, exchanges: 0 })
        })
      )
  )

/** Registers for both ends, as `name`. */
const registerIn = (called: Array<string>, { connection }: Exchange, name: string) => {
  for (const n of [1, 2]) {
    connection.onDisconnect((reason) => called.push(`${name} disconnect ${n} ${reason}`))
    connection.onComplete(() => called.push(`${name} complete ${n}`))
  }
}

const onEveryWire = <E>(title: string, test: (wire: Wire) => Effect.Effect<void, E, any>) => {
  for (const wire of Wires.wires) {
    it.effect(`${title}: ${Wires.nameOf(wire)} [C113] [C119]`, () => Effect.provide(test(wire), capture().layer))
  }
}

/** Ways to end in good order; what is left to the client, it does. */
interface GoodEnd {
  readonly how: string
  readonly protocols: ReadonlyArray<Wires.Protocol>
  readonly app: (exchange: Exchange) => Effect.Effect<void, unknown>
  readonly client?: (asked: Wires.Asked) => Effect.Effect<void>
}

const answerClose = (asked: Wires.Asked) => asked.send(WebSocket.close(1000))

const goodEnds: ReadonlyArray<GoodEnd> = [
  {
    how: "the application ends its answer",
    protocols: ["http", "sse"],
    app: (exchange) => Effect.andThen(open(exchange), Effect.andThen(Effect.sleep("1 second"), close(exchange)))
  },
  {
    how: "the application returns",
    protocols: ["sse"],
    app: (exchange) => Effect.andThen(open(exchange), Effect.sleep("1 second"))
  },
  {
    how: "the application closes, and the client answers",
    protocols: ["websocket"],
    app: (exchange) => Effect.andThen(open(exchange), Effect.andThen(Effect.sleep("1 second"), close(exchange))),
    client: answerClose
  },
  {
    how: "the application returns, and the client answers the Close frame",
    protocols: ["websocket"],
    app: (exchange) => Effect.andThen(open(exchange), Effect.sleep("1 second")),
    client: answerClose
  },
  {
    how: "the application closes, and the client does not answer",
    protocols: ["websocket"],
    app: (exchange) => Effect.andThen(open(exchange), Effect.andThen(Effect.sleep("1 second"), close(exchange))),
    client: () => TestClock.adjust("11 seconds")
  },
  {
    how: "the client closes",
    protocols: ["websocket"],
    app: (exchange) => Effect.andThen(open(exchange), Effect.sleep("2 seconds")),
    client: (asked) => asked.send(WebSocket.close(1001, "bye"))
  },
  {
    how: "the application declines",
    protocols: ["sse", "websocket"],
    app: (exchange) =>
      exchange.type === "http" ? Effect.void : Effect.andThen(
        Effect.sleep("1 second"),
        exchange.type === "sse"
          ? Effect.andThen(
            exchange.send({ type: "sse.http.response.start", status: 404 }),
            exchange.send({ type: "sse.http.response.body", body: "no" })
          )
          : Effect.andThen(
            exchange.send({ type: "websocket.http.response.start", status: 404 }),
            exchange.send({ type: "websocket.http.response.body", body: "no" })
          )
      )
  },
  {
    how: "the application closes before the handshake",
    protocols: ["websocket"],
    app: (exchange) => Effect.andThen(Effect.sleep("1 second"), close(exchange))
  }
]

describe("connection", () => {
  onEveryWire("goes from nothing to started, with the same handle all the time", (wire) =>
    Effect.gen(function*() {
      const { app, exchanges } = keeping((exchange) =>
        Effect.andThen(Effect.sleep("1 second"), Effect.andThen(open(exchange), Effect.never))
      )
      const { connect } = yield* serve(app)
      const asked = yield* (yield* Wires.open(connect, wire.version)).ask(wire)
      yield* asked.answered
      const { connection } = exchanges[0]!
      assert.strictEqual(exchanges[0]!.connection, connection)
      const facts = () => {
        const { disconnectReason, isConnected, isShuttingDown, responseComplete, responseStarted } = connection
        return { disconnectReason, isConnected, isShuttingDown, responseComplete, responseStarted }
      }
      const before = {
        disconnectReason: undefined,
        isConnected: true,
        isShuttingDown: false,
        responseComplete: false,
        responseStarted: false
      }
      assert.deepStrictEqual(facts(), before)
      yield* TestClock.adjust("1 second")
      yield* asked.answered
      assert.deepStrictEqual(facts(), { ...before, responseStarted: true })
    }))

  for (const end of goodEnds) {
    for (const wire of Wires.wires) {
      if (!end.protocols.includes(wire.protocol)) continue
      it.effect(`calls onComplete and never onDisconnect when ${end.how}: ${Wires.nameOf(wire)} [C113] [C119]`, () =>
        Effect.gen(function*() {
          const called: Array<string> = []
          const { app, exchanges } = keeping((exchange) => {
            registerIn(called, exchange, "early")
            return end.app(exchange)
          })
          const { connect, server } = yield* serve(app)
          const asked = yield* (yield* Wires.open(connect, wire.version)).ask(wire)
          yield* asked.answered
          const exchange = exchanges[0]!
          const { connection } = exchange
          const resolved = yield* Effect.forkScoped(connection.disconnected, { startImmediately: true })
          assert.isTrue(connection.isConnected)
          assert.deepStrictEqual(called, [])
          yield* TestClock.adjust("1 second")
          yield* asked.answered
          if (end.client !== undefined) {
            assert.isFalse(connection.responseComplete)
            yield* end.client(asked)
          }
          assert.deepStrictEqual(called.splice(0), ["early complete 1", "early complete 2"])
          assert.isFalse(connection.isConnected)
          assert.isTrue(connection.responseStarted)
          assert.isTrue(connection.responseComplete)
          registerIn(called, exchange, "late")
          assert.deepStrictEqual(called.splice(0), ["late complete 1", "late complete 2"])

          yield* TestClock.adjust("1 minute")
          assert.deepStrictEqual(called, [])
          assert.isUndefined(connection.disconnectReason)
          assert.isUndefined(resolved.pollUnsafe())
          assert.strictEqual(exchange.transport.bufferedAmount, 0)
          assert.strictEqual((yield* server.stats).exchanges, 0)
        }).pipe(Effect.provide(capture().layer)))
    }
  }

  onEveryWire(
    "calls onDisconnect in the order of registration, and late ones at once",
    (wire) =>
      Effect.gen(function*() {
        const called: Array<string> = []
        const { app, exchanges } = keeping((exchange) => {
          registerIn(called, exchange, "early")
          return Effect.andThen(open(exchange), Effect.never)
        })
        const { connect } = yield* serve(app)
        const asked = yield* (yield* Wires.open(connect, wire.version)).ask(wire)
        yield* asked.answered
        const disconnected = yield* Effect.forkScoped(exchanges[0]!.connection.disconnected, { startImmediately: true })
        assert.deepStrictEqual(called, [])
        yield* asked.reset
        assert.deepStrictEqual(called.splice(0), [
          "early disconnect 1 client_closed",
          "early disconnect 2 client_closed"
        ])
        registerIn(called, exchanges[0]!, "late")
        assert.deepStrictEqual(called.splice(0), ["late disconnect 1 client_closed", "late disconnect 2 client_closed"])
        assert.strictEqual(yield* Fiber.join(disconnected), "client_closed")
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(called, [])
      })
  )

  onEveryWire("goes on after a callback that throws, and logs it", (wire) => {
    const logs = capture()
    return Effect.gen(function*() {
      const called: Array<string> = []
      const { app } = keeping((exchange) => {
        for (const name of ["a", "b", "c"]) {
          exchange.connection.onDisconnect(() => {
            called.push(name)
            if (name === "b") throw new Error("a bad callback")
          })
        }
        return Effect.andThen(open(exchange), Effect.never)
      })
      const { connect, server } = yield* serve(app)
      const asked = yield* (yield* Wires.open(connect, wire.version)).ask(wire)
      yield* asked.answered
      yield* asked.reset
      assert.deepStrictEqual(called, ["a", "b", "c"])
      const errors = logs.lines.filter(({ level }) => level === "Error")
      assert.strictEqual(errors.length, 1)
      assert.include(errors[0]!.cause, "a bad callback")
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual((yield* server.stats).exchanges, 0)
    }).pipe(Effect.provide(logs.layer))
  })

  it.effect("gives every exchange an id of its own, on all wires together, also to streams at once [C113] [C119]", () =>
    Effect.gen(function*() {
      const { app, exchanges } = keeping(() => Effect.never)
      const { connect } = yield* serve(app)
      for (const wire of Wires.wires) {
        for (let n = 0; n < 2; n++) {
          const connection = yield* Wires.open(connect, wire.version)
          yield* (yield* connection.ask(wire)).answered
          if (wire.version === "2") {
            for (let more = 0; more < 3; more++) yield* (yield* connection.ask(wire)).answered
          }
        }
      }
      const ids = exchanges.map(({ connection }) => connection.requestId)
      assert.strictEqual(ids.length, 3 * 2 + 3 * 2 * 4)
      assert.strictEqual(new Set(ids).size, ids.length)
      for (const id of ids) assert.match(id, /^[\w-]+$/)
      assert.deepStrictEqual(exchanges.map(({ connection }) => connection.requestId), ids)
    }))

  onEveryWire("tells that the server stops before anything is disconnected", (wire) =>
    Effect.gen(function*() {
      const steps: Array<string> = []
      const { app, exchanges } = keeping((exchange) => {
        const { connection } = exchange
        const step = (name: string) => steps.push(`${name} ${connection.isShuttingDown} ${connection.isConnected}`)
        connection.onDisconnect((reason) => step(reason))
        return Effect.gen(function*() {
          yield* Effect.forkDetach(Effect.map(connection.shuttingDown, () => step("shuttingDown")), {
            startImmediately: true
          })
          yield* open(exchange)
          yield* Effect.never
        })
      })
      const { connect, stop } = yield* serve(app, { shutdownTimeout: "10 seconds" })
      const asked = yield* (yield* Wires.open(connect, wire.version)).ask(wire)
      yield* asked.answered
      const { connection } = exchanges[0]!
      assert.isFalse(connection.isShuttingDown)
      assert.deepStrictEqual(steps, [])
      const stopping = yield* stop
      assert.isTrue(connection.isShuttingDown)
      // A request is waited for; a session has no end of its own that could be.
      if (wire.protocol === "http") {
        assert.deepStrictEqual(steps, ["shuttingDown true true"])
        yield* TestClock.adjust("10 seconds")
      }
      assert.deepStrictEqual(steps, ["shuttingDown true true", "server_shutdown true false"])
      yield* Effect.timeout(connection.shuttingDown, "1 second")
      yield* TestClock.adjust("30 seconds")
      assert.isDefined(stopping.pollUnsafe())
    }))

  onEveryWire("lets an application end its answer when the server stops", (wire) =>
    Effect.gen(function*() {
      const called: Array<string> = []
      const { app, exchanges } = keeping((exchange) => {
        registerIn(called, exchange, "app")
        return Effect.andThen(open(exchange), Effect.andThen(exchange.connection.shuttingDown, close(exchange)))
      })
      const { connect, stop } = yield* serve(app)
      const asked = yield* (yield* Wires.open(connect, wire.version)).ask(wire)
      yield* asked.answered
      const stopping = yield* stop
      if (wire.protocol === "websocket") yield* answerClose(asked)
      const answered = yield* asked.answered
      assert.deepStrictEqual(called, ["app complete 1", "app complete 2"])
      assert.isUndefined(exchanges[0]!.connection.disconnectReason)
      if (wire.protocol === "websocket") assert.deepStrictEqual(answered.said, ["close 1000"])
      else assert.strictEqual(answered.state, "whole")
      yield* TestClock.adjust("5 seconds")
      assert.isDefined(stopping.pollUnsafe())
    }))
})

describe("transport", () => {
  /** An open exchange whose client takes nothing, so that every byte counts. */
  const stalled = Effect.fnUntraced(function*({ protocol, version }: Wire, options: ServerMemory.Options = {}) {
    const { app, exchanges } = keeping((exchange) => Effect.andThen(open(exchange), Effect.never))
    const { connect } = yield* serve(app, { networkBufferBytes: 1, ...options })
    const connection = yield* Wires.open(connect, version, 0)
    const asked = yield* connection.ask({ protocol })
    yield* asked.answered
    yield* connection.pause
    const exchange = exchanges[0]!
    const send = (bytes: number) =>
      Effect.tap(
        Effect.forkChild(sendBytes(exchange, bytes), { startImmediately: true }),
        () => ServerMemory.settle
      )
    // What the network holds and what frames it is not of interest.
    yield* send(1)
    const base = exchange.transport.bufferedAmount
    assert.isBelow(base, 40)
    const take = (bytes: number) => Effect.andThen(asked.take(bytes), asked.answered)
    /** Takes what there is and nothing more. */
    const takeAll = Effect.andThen(Effect.suspend(() => take(exchange.transport.bufferedAmount)), connection.pause)
    return { asked, base, exchange, send, take, takeAll, transport: exchange.transport }
  })

  /** Bytes that framing adds to a piece, at most. */
  const framing = 32
  const isWaiting = (fiber: Fiber.Fiber<unknown, unknown>) => fiber.pollUnsafe() === undefined

  onEveryWire("counts what waits, live, and falls to nothing", (wire) =>
    Effect.gen(function*() {
      const { base, exchange, send, takeAll, transport } = yield* stalled(wire)
      assert.strictEqual(exchange.transport, transport)
      let expected = base
      for (const bytes of [10_000, 20_000, 100]) {
        yield* send(bytes)
        expected += bytes
        assert.isAtLeast(transport.bufferedAmount, expected)
        assert.isAtMost(transport.bufferedAmount, expected + 3 * framing)
      }
      yield* takeAll
      assert.strictEqual(transport.bufferedAmount, 0)
    }))

  onEveryWire("has the watermarks of the settings, and send obeys them", (wire) =>
    Effect.gen(function*() {
      const { send, takeAll, transport } = yield* stalled(wire, { writeHighWaterMark: 5000, writeLowWaterMark: 100 })
      assert.strictEqual(transport.highWaterMark, 5000)
      assert.strictEqual(transport.lowWaterMark, 100)
      const free = yield* send(4500)
      assert.isFalse(isWaiting(free))
      const waiting = [yield* send(500), yield* send(1)]
      assert.isTrue(waiting.every(isWaiting))
      yield* takeAll
      assert.isFalse(waiting.some(isWaiting))
    }))

  onEveryWire(
    "calls onHighWater on the rise only, and onDrain after one only, again and again",
    (wire) =>
      Effect.gen(function*() {
        const { send, takeAll, transport } = yield* stalled(wire)
        const calls: Array<string> = []
        transport.onHighWater(() => calls.push("high 1"))
        transport.onHighWater(() => calls.push("high 2"))
        transport.onDrain(() => calls.push("drain 1"))
        transport.onDrain(() => calls.push("drain 2"))
        for (let cycle = 0; cycle < 3; cycle++) {
          yield* send(30_000)
          yield* takeAll
          assert.deepStrictEqual(calls, [])
          yield* send(70_000)
          yield* send(70_000)
          assert.deepStrictEqual(calls.splice(0), ["high 1", "high 2"])
          yield* takeAll
          assert.deepStrictEqual(calls.splice(0), ["drain 1", "drain 2"])
        }
      })
  )

  onEveryWire(
    "calls onHighWater at once while it is high, also for a handle that is made then",
    (wire) =>
      Effect.gen(function*() {
        const calls: Array<string> = []
        const { app, exchanges } = keeping((exchange) =>
          Effect.andThen(open(exchange), Effect.andThen(sendBytes(exchange, 200_000), Effect.never))
        )
        const { connect } = yield* serve(app, { networkBufferBytes: 1 })
        const connection = yield* Wires.open(connect, wire.version, 0)
        yield* connection.pause
        const asked = yield* connection.ask(wire)
        yield* ServerMemory.settle
        const { transport } = exchanges[0]!
        assert.isAbove(transport.bufferedAmount, 100_000)
        transport.onHighWater(() => calls.push("high"))
        transport.onDrain(() => calls.push("drain"))
        assert.deepStrictEqual(calls.splice(0), ["high"])
        yield* asked.take(300_000)
        yield* asked.answered
        assert.deepStrictEqual(calls.splice(0), ["drain"])
        transport.onHighWater(() => calls.push("too late"))
        assert.deepStrictEqual(calls, [])
      })
  )

  for (const protocol of Wires.protocols) {
    it.effect(`counts for each stream alone: ${protocol} over HTTP/2 [C113] [C119]`, () =>
      Effect.gen(function*() {
        const { app, exchanges } = keeping((exchange) => Effect.andThen(open(exchange), Effect.never))
        const { connect } = yield* serve(app)
        const connection = yield* Wires.open(connect, "2", 0)
        const asked = [yield* connection.ask({ protocol }), yield* connection.ask({ protocol })]
        for (const { answered } of asked) yield* answered
        const [stalled, free] = exchanges as [Exchange, Exchange]
        const waiting = yield* Effect.forkChild(sendBytes(stalled, 100_000), { startImmediately: true })
        yield* asked[1]!.take(1_000_000)
        yield* sendBytes(free, 100_000)
        assert.isAtLeast(stalled.transport.bufferedAmount, 100_000)
        assert.isTrue(isWaiting(waiting))
        assert.isBelow(free.transport.bufferedAmount, free.transport.lowWaterMark)
      }))

    it.effect(`lasts as long as the client takes something of it: ${protocol} over HTTP/2 [C113] [C119]`, () =>
      Effect.gen(function*() {
        const { asked, exchange, send, transport } = yield* stalled({ protocol, version: "2" })
        const waiting = yield* send(1_000_000)
        // A sixteenth at a time, in most of writeTimeout.
        for (let n = 0; n < 16; n++) {
          yield* TestClock.adjust("25 seconds")
          assert.isTrue(exchange.connection.isConnected)
          yield* asked.take(65_536)
        }
        yield* asked.answered
        assert.isFalse(isWaiting(waiting))
        assert.isTrue(exchange.connection.isConnected)
        assert.strictEqual(transport.bufferedAmount, 0)
      }))
  }

  // A WebSocket's frames are one write, which is taken as a whole.
  for (const protocol of ["http", "sse"] as const) {
    it.effect(`does not call onDrain between the two marks: ${protocol} over HTTP/2 [C113] [C119]`, () =>
      Effect.gen(function*() {
        const { send, take, transport } = yield* stalled({ protocol, version: "2" })
        const calls: Array<string> = []
        transport.onDrain(() => calls.push("drain"))
        const waiting = [yield* send(66_000), yield* send(40_000)]
        yield* take(66_000 + 2 * framing)
        assert.isBelow(transport.bufferedAmount, 42_000)
        assert.isAbove(transport.bufferedAmount, transport.lowWaterMark)
        assert.deepStrictEqual(calls, [])
        assert.isTrue(waiting.every(isWaiting))
        yield* take(41_000)
        assert.deepStrictEqual(calls, ["drain"])
        assert.isFalse(waiting.some(isWaiting))
      }))
  }

  onEveryWire(
    "lets a send that waits go when the client has gone, and calls no onDrain",
    (wire) =>
      Effect.gen(function*() {
        const { asked, exchange, send, transport } = yield* stalled(wire)
        const calls: Array<string> = []
        transport.onDrain(() => calls.push("drain"))
        const waiting = yield* send(100_000)
        assert.isTrue(isWaiting(waiting))
        yield* asked.reset
        assert.isUndefined(yield* Fiber.join(waiting))
        assert.isUndefined(yield* sendBytes(exchange, 100_000))
        yield* TestClock.adjust("6 seconds")
        assert.deepStrictEqual(calls, [])
        assert.strictEqual(transport.bufferedAmount, 0)
      })
  )
})
