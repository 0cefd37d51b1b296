import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Http2 from "node:http2"
import * as OperationsLocal from "../../layers/OperationsLocal.ts"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import * as App from "../../src/app/App.ts"
import { Drained } from "../../src/service/Operations.ts"
import { Server } from "../../src/service/Server.ts"
import { facts, operationsContract } from "../contract/Operations.ts"
import { local } from "../utils/operations.ts"

operationsContract("OperationsLocal", Effect.map(local, ({ subject }) => subject))

const hello = App.http(({ send }) => App.respond(send, 200, "hello"))

const make = (settings: ServerMemory.Options = {}) =>
  Effect.gen(function*() {
    const { network, server } = yield* ServerMemory.make(settings)
    const { config: _, ...rest } = facts
    const operations = yield* OperationsLocal.make(rest).pipe(
      Effect.provideService(Server, server),
      Effect.provideService(Drained, { isOn: false })
    )
    return { network, operations, server }
  })

describe("OperationsLocal", () => {
  it.effect("is starting before the server listens, and stopping from the moment it is told to stop", () =>
    Effect.gen(function*() {
      const { operations, server } = yield* make({ preStopDelay: "5 seconds" })
      const states = Effect.map(operations.status, ({ addresses, isReady, isShuttingDown, workers }) => [
        workers[0]?.state,
        isReady,
        isShuttingDown,
        addresses.length
      ])
      assert.deepStrictEqual(yield* states, ["starting", false, false, 0])
      const scope = yield* Scope.make()
      yield* Scope.provide(server.serve(hello), scope)
      assert.deepStrictEqual(yield* states, ["serving", true, false, 1])
      const stopping = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      // It waits for load balancers to notice, and answers meanwhile.
      assert.deepStrictEqual(yield* states, ["stopping", false, true, 1])
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(yield* states, ["stopping", false, true, 0])
    }))

  it.effect("says that a single process has no workers to scale, nor log files where it was given none", () =>
    Effect.gen(function*() {
      const { operations } = yield* make()
      const scale = yield* Effect.flip(operations.scale(2))
      assert.strictEqual(scale.reason._tag, "NotPossible")
      assert.include(scale.message, "--workers")
      assert.strictEqual((yield* Effect.flip(operations.reopen)).reason._tag, "NotPossible")
      assert.deepStrictEqual(yield* operations.config, [])
    }))

  it.effect("names the file for which a reload fails", () =>
    Effect.gen(function*() {
      const { subject } = yield* local
      yield* subject.breakReload
      assert.include((yield* Effect.flip(subject.operations.reload)).message, "cert.pem")
    }))

  it.effect("stops as SIGTERM does where nothing else was said", () =>
    Effect.gen(function*() {
      const { operations } = yield* make()
      let received = 0
      const others = process.listeners("SIGTERM")
      process.removeAllListeners("SIGTERM")
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          process.removeAllListeners("SIGTERM")
          for (const listener of others) process.on("SIGTERM", listener)
        })
      )
      process.on("SIGTERM", () => received++)
      yield* operations.stop
      assert.strictEqual(received, 1)
    }))

  describe("with connections", () => {
    const waiting = App.http(() => Effect.never)
    const serving = Effect.gen(function*() {
      const { network, operations, server } = yield* make({ shutdownTimeout: 0 })
      yield* server.serve(waiting)
      return { network, operations }
    })

    it.effect("tells clients by address and port, and unix ones as such", () =>
      Effect.gen(function*() {
        const { network, operations } = yield* serving
        yield* TestClock.adjust("5 minutes")
        yield* network.connect({ from: ["192.0.2.7", 50312] })
        yield* network.connect({ from: ["2001:db8::1", 443] })
        yield* network.connect({ from: null })
        const connections = yield* operations.connections(10)
        assert.deepStrictEqual(connections.map(({ client }) => client), [
          "192.0.2.7:50312",
          "[2001:db8::1]:443",
          "unix"
        ])
        const { exchanges, isSecure, openedAtMillis, protocol, requests } = connections[0]!
        assert.deepStrictEqual(
          { exchanges, isSecure, openedAtMillis: Math.round(openedAtMillis), protocol, requests },
          {
            exchanges: [],
            isSecure: false,
            openedAtMillis: 300_000,
            protocol: "http/1.1",
            requests: 0
          }
        )
      }))

    it.effect("tells what goes on in them, without queries, and no more of a path than 200 characters", () =>
      Effect.gen(function*() {
        const { network, operations } = yield* serving
        const client = yield* network.connect()
        yield* client.send(`POST /${"x".repeat(300)}?token=secret HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n`)
        const [connection] = yield* operations.connections(10)
        assert.deepStrictEqual(connection?.exchanges, [`POST /${"x".repeat(199)}...`])
        assert.strictEqual(connection?.requests, 1)
      }))

    it.effect("tells all streams of one with HTTP/2", () =>
      Effect.gen(function*() {
        const { network, operations } = yield* serving
        const session = yield* Effect.acquireRelease(
          Effect.sync(() => Http2.connect("http://a", { createConnection: () => network.connectUnsafe() })),
          (session) => Effect.sync(() => session.destroy())
        )
        session.on("error", () => {})
        for (const path of ["/one?a=b", "/two"]) {
          session.request({ ":path": path }).on("error", () => {})
        }
        let found = (yield* operations.connections(10))[0]
        while (found?.exchanges.length !== 2) {
          yield* ServerMemory.settle
          found = (yield* operations.connections(10))[0]
        }
        assert.deepStrictEqual([found.protocol, found.requests, found.exchanges], ["h2", 2, ["GET /one", "GET /two"]])
      }))
  })
})
