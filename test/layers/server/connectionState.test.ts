import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import type { DisconnectReason } from "../../../src/schema/DisconnectReason.ts"
import { capture } from "../../utils/logs.ts"
import { serve } from "../../utils/serve.ts"

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

/** An App that keeps its exchanges for the test and then does what it is told. */
const keeping = <E>(handler: (exchange: App.HttpExchange) => Effect.Effect<void, E>) => {
  const exchanges: Array<App.HttpExchange> = []
  const app = App.http((exchange) => {
    exchanges.push(exchange)
    return handler(exchange)
  })
  return { app, exchanges }
}

const hanging = () => keeping(() => Effect.never)
const answering = () => keeping(({ send }) => App.respond(send, 200, "ok"))

describe("connection state", () => {
  it.effect("turns isConnected false once, with a reason only after an abnormal end [C107]", () =>
    Effect.gen(function*() {
      const { app, exchanges } = keeping(({ receive, send }) =>
        Effect.andThen(receive, Effect.andThen(Effect.sleep("1 second"), App.respond(send, 200)))
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(get)
      assert.isTrue(exchanges[0]!.connection.isConnected)
      yield* TestClock.adjust("1 second")
      yield* client.read
      assert.isFalse(exchanges[0]!.connection.isConnected)
      assert.isUndefined(exchanges[0]!.connection.disconnectReason)

      yield* client.send(get)
      assert.isTrue(exchanges[1]!.connection.isConnected)
      yield* client.reset
      assert.isFalse(exchanges[1]!.connection.isConnected)
      assert.strictEqual(exchanges[1]!.connection.disconnectReason, "client_closed")
      assert.isFalse(exchanges[0]!.connection.isConnected)
      assert.isUndefined(exchanges[0]!.connection.disconnectReason)
    }))

  it.effect("calls either onDisconnect or onComplete, once, in the order of registration [C108]", () =>
    Effect.gen(function*() {
      const called: Array<string> = []
      const register = ({ connection }: App.HttpExchange, name: string) => {
        for (const n of [1, 2]) {
          connection.onDisconnect((reason) => called.push(`${name} disconnect ${n} ${reason}`))
          connection.onComplete(() => called.push(`${name} complete ${n}`))
        }
      }
      const { app, exchanges } = keeping((exchange) => {
        register(exchange, "early")
        return exchange.scope.path === "/ok" ? App.respond(exchange.send, 200) : Effect.never
      })
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send("GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
      register(exchanges[0]!, "late")
      assert.deepStrictEqual(called.splice(0), [
        "early complete 1",
        "early complete 2",
        "late complete 1",
        "late complete 2"
      ])

      yield* client.send(get)
      assert.deepStrictEqual(called, [])
      yield* client.reset
      register(exchanges[1]!, "late")
      assert.deepStrictEqual(called.splice(0), [
        "early disconnect 1 client_closed",
        "early disconnect 2 client_closed",
        "late disconnect 1 client_closed",
        "late disconnect 2 client_closed"
      ])
      register(exchanges[0]!, "again")
      assert.deepStrictEqual(called, ["again complete 1", "again complete 2"])
    }))

  it.effect("shows responseStarted to the application, to middleware and after the server's own 500 [C109]", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const note = (who: string, { connection }: App.HttpExchange) => seen.push(`${who} ${connection.responseStarted}`)
      const middleware: App.Middleware = (app) => (exchange) => {
        if (exchange.type !== "http") return app(exchange)
        note("middleware before", exchange)
        return Effect.ensuring(app(exchange), Effect.sync(() => note("middleware after", exchange)))
      }
      const { app, exchanges } = keeping((exchange) =>
        exchange.scope.path === "/fails" ? Effect.die("no") : Effect.gen(function*() {
          note("app before", exchange)
          yield* exchange.send({ type: "http.response.start", status: 200 })
          note("app started", exchange)
          yield* exchange.send({ type: "http.response.body", body: "" })
        })
      )
      const { connect } = yield* serve(middleware(app))
      const client = yield* connect()
      yield* client.send(get)
      assert.deepStrictEqual(seen.splice(0), [
        "middleware before false",
        "app before false",
        "app started true",
        "middleware after true"
      ])
      yield* client.send("GET /fails HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.deepStrictEqual(seen, ["middleware before false", "middleware after false"])
      assert.isTrue(exchanges[1]!.connection.responseStarted)
      assert.include(yield* client.read, "HTTP/1.1 500 ")
    }))

  it.effect("does not claim a started response for a client that left without one", () =>
    Effect.gen(function*() {
      const { app, exchanges } = hanging()
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(get)
      yield* client.reset
      assert.isFalse(exchanges[0]!.connection.responseStarted)
      assert.isFalse(exchanges[0]!.connection.responseComplete)
    }))

  it.effect("shows responseComplete only once the whole answer was handed over [C110]", () =>
    Effect.gen(function*() {
      const seen: Array<boolean> = []
      const { app, exchanges } = keeping(({ connection, send }) =>
        Effect.gen(function*() {
          seen.push(connection.responseComplete)
          yield* send({ type: "http.response.start", status: 200 })
          yield* send({ type: "http.response.body", body: "a", more: true })
          seen.push(connection.responseComplete)
          yield* send({ type: "http.response.body", body: "b" })
          seen.push(connection.responseComplete)
        })
      )
      const { connect } = yield* serve(app)
      yield* (yield* connect()).send(get)
      assert.deepStrictEqual(seen, [false, false, true])
      assert.isTrue(exchanges[0]!.connection.responseComplete)
    }))

  it.effect("resolves disconnected with the reason, and never after a normal end [C111]", () =>
    Effect.gen(function*() {
      const { app, exchanges } = keeping(({ scope, send }) =>
        scope.path === "/" ? App.respond(send, 200) : Effect.never
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      const outcomes: Array<string> = []
      const watch = (name: string, exchange: App.HttpExchange) =>
        Effect.forkScoped(
          Effect.map(exchange.connection.disconnected, (reason) => outcomes.push(`${name} ${reason}`)),
          { startImmediately: true }
        )
      yield* client.send(get)
      yield* watch("late, after a normal end", exchanges[0]!)
      yield* client.send("GET /hangs HTTP/1.1\r\nHost: a\r\n\r\n")
      yield* watch("early", exchanges[1]!)
      yield* client.reset
      yield* watch("late", exchanges[1]!)
      assert.deepStrictEqual(outcomes, ["early client_closed", "late client_closed"])
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(outcomes.length, 2)
    }))

  it.effect("goes through an abnormal end in order: flag and reason, deferred, callbacks, event, interruption [C112]", () =>
    Effect.gen(function*() {
      const steps: Array<string> = []
      const { app } = keeping(({ connection, receive }) => {
        const step = (name: string) => steps.push(`${name} ${connection.isConnected} ${connection.disconnectReason}`)
        return Effect.gen(function*() {
          connection.onDisconnect(() => step("callback 1"))
          connection.onDisconnect(() => step("callback 2"))
          yield* Effect.forkChild(Effect.map(connection.disconnected, () => step("deferred")), {
            startImmediately: true
          })
          yield* Effect.forkChild(
            Effect.andThen(receive, Effect.map(receive, (event) => step(event.type))),
            { startImmediately: true }
          )
          yield* Effect.onInterrupt(Effect.never, () => Effect.sync(() => step("interrupted")))
        })
      })
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(get)
      assert.deepStrictEqual(steps, [])
      yield* client.reset
      assert.deepStrictEqual(steps, [
        "deferred false client_closed",
        "callback 1 false client_closed",
        "callback 2 false client_closed",
        "http.disconnect false client_closed",
        "interrupted false client_closed"
      ])
    }))

  it.effect("calls the remaining callbacks after one has thrown, and logs it [C115]", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const called: Array<string> = []
      const { app } = keeping(({ connection, scope, send }) => {
        for (const name of ["a", "b", "c"]) {
          const callback = () => {
            called.push(name)
            if (name === "b") throw new Error("a bad callback")
          }
          connection.onDisconnect(callback)
          connection.onComplete(callback)
        }
        return scope.path === "/ok" ? App.respond(send, 200) : Effect.never
      })
      const { connect, server } = yield* serve(app)
      const client = yield* connect()
      yield* client.send("GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.deepStrictEqual(called.splice(0), ["a", "b", "c"])
      assert.include(yield* client.read, "HTTP/1.1 200 OK")
      yield* client.send(get)
      yield* client.reset
      assert.deepStrictEqual(called, ["a", "b", "c"])
      assert.strictEqual((yield* server.stats).exchanges, 0)
      const errors = lines.filter((line) => line.level === "Error")
      assert.strictEqual(errors.length, 2)
      for (const error of errors) assert.include(error.cause, "a bad callback")
    }).pipe(Effect.provide(layer))
  })

  it.effect("gives every exchange an id of its own, in one server and across servers", () =>
    Effect.gen(function*() {
      const { app, exchanges } = answering()
      for (const { connect } of [yield* serve(app), yield* serve(app)]) {
        for (let connection = 0; connection < 2; connection++) yield* (yield* connect()).send(get.repeat(5))
      }
      const ids = exchanges.map(({ connection }) => connection.requestId)
      assert.strictEqual(ids.length, 20)
      assert.strictEqual(new Set(ids).size, 20)
      for (const id of ids) assert.match(id, /^[\w-]+$/)
    }))

  it.effect("tells that the server stops, which is not a disconnect: the answer may still be completed", () =>
    Effect.gen(function*() {
      const { app, exchanges } = keeping(({ connection, send }) =>
        Effect.andThen(connection.shuttingDown, Effect.andThen(Effect.sleep("1 second"), App.respond(send, 200, "bye")))
      )
      const scope = yield* Scope.make()
      const { network, server } = yield* ServerMemory.make()
      yield* Scope.provide(server.serve(app), scope)
      const client = yield* network.connect()
      yield* client.send(get)
      assert.isFalse(exchanges[0]!.connection.isShuttingDown)
      yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      assert.isTrue(exchanges[0]!.connection.isShuttingDown)
      assert.isTrue(exchanges[0]!.connection.isConnected)
      yield* TestClock.adjust("1 second")
      const answer = yield* client.readAll
      assert.include(answer, "HTTP/1.1 200 OK")
      assert.include(answer, "connection: close")
      assert.isTrue(exchanges[0]!.connection.responseComplete)
    }))

  describe("disconnect reasons", () => {
    const post = (body: string) => `POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n${body}`
    const readAll = (exchange: App.HttpExchange): Effect.Effect<void> =>
      Effect.flatMap(exchange.receive, (event) => event.type === "http.request" ? readAll(exchange) : Effect.never)
    const big = "x".repeat(1_000_000)

    const cases: ReadonlyArray<{
      readonly reason: DisconnectReason
      readonly when: string
      readonly handler: (exchange: App.HttpExchange) => Effect.Effect<void, unknown>
      readonly provoke: (client: ServerMemory.Client, stop: Effect.Effect<void>) => Effect.Effect<unknown>
      readonly status?: number
    }> = [
      {
        reason: "client_closed",
        when: "the client resets the connection",
        handler: () => Effect.never,
        provoke: (client) => Effect.andThen(client.send(get), client.reset)
      },
      {
        reason: "client_closed",
        when: "the client ends the connection",
        handler: () => Effect.never,
        provoke: (client) => Effect.andThen(client.send(get), client.end)
      },
      {
        reason: "client_timeout",
        when: "the body does not arrive",
        handler: readAll,
        provoke: (client) => Effect.andThen(client.send(post("")), TestClock.adjust("32 seconds")),
        status: 408
      },
      {
        reason: "write_timeout",
        when: "the client takes nothing of the answer",
        handler: ({ send }) =>
          Effect.andThen(
            send({ type: "http.response.start", status: 200 }),
            Effect.andThen(send({ type: "http.response.body", body: big, more: true }), Effect.never)
          ),
        provoke: (client) =>
          Effect.andThen(client.pause, Effect.andThen(client.send(get), TestClock.adjust("33 seconds")))
      },
      {
        reason: "read_error",
        when: "the operating system reports an error on reading",
        handler: () => Effect.never,
        provoke: (client) => Effect.andThen(client.send(get), client.fail("ETIMEDOUT", "read"))
      },
      {
        reason: "write_error",
        when: "the operating system reports an error on writing",
        handler: () => Effect.never,
        provoke: (client) => Effect.andThen(client.send(get), client.fail("EIO", "write"))
      },
      {
        reason: "protocol_error",
        when: "a chunk is malformed",
        handler: readAll,
        provoke: (client) => client.send(post("oh no\r\n")),
        status: 400
      },
      {
        reason: "server_shutdown",
        when: "the exchange outlives shutdownTimeout",
        handler: () => Effect.never,
        provoke: (client, stop) =>
          Effect.andThen(client.send(get), Effect.andThen(stop, TestClock.adjust("31 seconds")))
      },
      {
        reason: "server_error",
        when: "the application fails",
        handler: () => Effect.fail("no"),
        provoke: (client) => client.send(get),
        status: 500
      },
      {
        reason: "server_error",
        when: "the application returns without an answer",
        handler: () => Effect.void,
        provoke: (client) => client.send(get),
        status: 500
      },
      {
        reason: "body_too_large",
        when: "the body exceeds maxBodyBytes",
        handler: readAll,
        provoke: (client) => client.send(post("ff\r\n")),
        status: 413
      }
    ]
    for (const { handler, provoke, reason, status, when } of cases) {
      it.effect(`are ${reason} when ${when} [C114]`, () => {
        const { layer } = capture()
        return Effect.gen(function*() {
          const reasons: Array<string> = []
          const resolved = yield* Deferred.make<DisconnectReason>()
          const { app, exchanges } = keeping((exchange) => {
            exchange.connection.onDisconnect((reason) => reasons.push(reason))
            exchange.connection.onComplete(() => reasons.push("complete"))
            return Effect.raceFirst(
              handler(exchange),
              Effect.andThen(Deferred.complete(resolved, exchange.connection.disconnected), Effect.never)
            )
          })
          const scope = yield* Scope.make()
          const { network, server } = yield* ServerMemory.make({ maxBodyBytes: 100 })
          yield* Scope.provide(server.serve(app), scope)
          const client = yield* network.connect()
          const stop = Effect.asVoid(Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true }))
          yield* provoke(client, stop)
          assert.strictEqual(exchanges[0]!.connection.disconnectReason, reason)
          assert.deepStrictEqual(reasons, [reason])
          if (status !== undefined) assert.match(yield* client.read, new RegExp(`^HTTP/1.1 ${status} `))
          yield* stop
          yield* TestClock.adjust("1 minute")
          assert.strictEqual((yield* server.stats).exchanges, 0)
          assert.strictEqual((yield* server.stats).connections, 0)
        }).pipe(Effect.provide(layer))
      })
    }
  })

  describe("an application that goes on after its answer", () => {
    const lingering = (ends: Array<string>) =>
      App.http(({ send }) =>
        Effect.andThen(App.respond(send, 200, "ok"), Effect.sleep("10 seconds")).pipe(
          Effect.onInterrupt(() => Effect.sync(() => ends.push("interrupted"))),
          Effect.tap(() => Effect.sync(() => ends.push("returned")))
        )
      )

    it.effect("may finish what it does while the client stays", () =>
      Effect.gen(function*() {
        const ends: Array<string> = []
        const { connect, server } = yield* serve(lingering(ends))
        const client = yield* connect()
        yield* client.send(get)
        assert.include(yield* client.read, "200 OK")
        yield* TestClock.adjust("11 seconds")
        assert.deepStrictEqual(ends, ["returned"])
        assert.strictEqual((yield* server.stats).connections, 1)
      }))

    it.effect("outlives its connection by disconnectGrace at most", () =>
      Effect.gen(function*() {
        const ends: Array<string> = []
        const { connect, server } = yield* serve(lingering(ends))
        const client = yield* connect()
        yield* client.send(get)
        yield* client.reset
        yield* TestClock.adjust("4 seconds")
        assert.deepStrictEqual(ends, [])
        assert.strictEqual((yield* server.stats).exchanges, 1)
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(ends, ["interrupted"])
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }))
  })
})
