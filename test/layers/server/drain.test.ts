import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import { capture, type Line } from "../../utils/logs.ts"
import { bodyOf, headerOf } from "../../utils/serve.ts"
import { serveStoppable } from "../../utils/stoppable.ts"
import * as Wires from "../../utils/wires.ts"

const get = (path = "/") => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
const hello = App.http(({ send }) => App.respond(send, 200, "hello"))
const hasStopped = (fiber: Fiber.Fiber<void>) => fiber.pollUnsafe() !== undefined
const stopLines = (lines: ReadonlyArray<Line>) =>
  lines.filter(({ message }) => message.startsWith("Stopped")).map(({ level, message }) => `${level}: ${message}`)

describe("readiness", () => {
  it.effect("holds from listening until the stop begins", () =>
    Effect.gen(function*() {
      const { network, server } = yield* ServerMemory.make({ preStopDelay: "5 seconds" })
      assert.isFalse((yield* server.stats).isReady)
      const starting = yield* Deferred.make<void>()
      const app = App.byType({
        http: ({ send }) => App.respond(send, 200, ""),
        lifespan: ({ receive, send }) =>
          Effect.andThen(
            receive,
            Effect.andThen(Deferred.await(starting), send({ type: "lifespan.startup.complete" }))
          )
      })
      const scope = yield* Scope.make()
      const serving = yield* Effect.forkChild(Scope.provide(server.serve(app), scope), { startImmediately: true })
      assert.isFalse((yield* server.stats).isReady)
      yield* Deferred.succeed(starting, undefined)
      yield* ServerMemory.settle
      assert.isDefined(serving.pollUnsafe())
      assert.isTrue((yield* server.stats).isReady)
      yield* Effect.forkDetach(Scope.close(scope, Exit.void), { startImmediately: true })
      assert.deepInclude(yield* server.stats, { isReady: false, isShuttingDown: false })
      yield* network.connect()
      yield* TestClock.adjust("5 seconds")
      assert.deepInclude(yield* server.stats, { isReady: false, isShuttingDown: true })
    }))

  it.effect("never comes where the server cannot start", () =>
    Effect.gen(function*() {
      const { server } = yield* ServerMemory.make({ preStopDelay: "1 hour" })
      const refusing = App.byType({
        lifespan: ({ send }) => send({ type: "lifespan.startup.failed", message: "not yet" })
      })
      // Nor does the delay hold up its end.
      yield* Effect.flip(server.serve(refusing))
      assert.isFalse((yield* server.stats).isReady)
    }))
})

describe("preStopDelay", () => {
  for (const version of Wires.versions) {
    it.effect(`lets new and old connections be served as before, and the drain begin after it, over HTTP/${version} [W26]`, () =>
      Effect.gen(function*() {
        const { connect, server, stop } = yield* serveStoppable(hello, { preStopDelay: "5 seconds" })
        const kept = yield* Wires.open(connect, version)
        yield* (yield* kept.ask({ protocol: "http" })).answered
        const stopping = yield* stop
        yield* TestClock.adjust("4 seconds")
        const fresh = yield* Wires.open(connect, version)
        for (const connection of [kept, fresh]) {
          const { header, state, status } = yield* (yield* connection.ask({ protocol: "http" })).answered
          assert.deepStrictEqual([status, state, header("connection")], [200, "whole", undefined])
          assert.isFalse(yield* connection.client.isEnded)
        }
        assert.isFalse((yield* server.stats).isShuttingDown)
        yield* TestClock.adjust("1 second")
        assert.isTrue(Exit.isFailure(yield* Effect.exit(connect())))
        for (const { client } of [kept, fresh]) {
          assert.isTrue(yield* client.isEnded)
          yield* client.end
        }
        assert.isTrue(hasStopped(stopping))
      }))
  }

  it.effect("is not for a restart: somebody else serves already", () =>
    Effect.gen(function*() {
      const { server, stop } = yield* serveStoppable(hello, { preStopDelay: "1 hour" })
      yield* server.restarting
      assert.deepInclude(yield* server.stats, { isReady: true, isShuttingDown: false })
      assert.isTrue(hasStopped(yield* stop))
      assert.isFalse((yield* server.stats).isReady)
    }))

  it.effect("does not count as shutdownTimeout", () =>
    Effect.gen(function*() {
      const app = App.http(({ send }) => Effect.andThen(Effect.sleep("12 seconds"), App.respond(send, 200, "done")))
      const { connect, stop } = yield* serveStoppable(app, { preStopDelay: "10 seconds", shutdownTimeout: "3 seconds" })
      const client = yield* connect()
      yield* client.send(get())
      yield* stop
      yield* TestClock.adjust("12 seconds")
      assert.strictEqual(bodyOf(yield* client.read), "done")
    }))
})

describe("drainWindow", () => {
  it.effect("lets an idle connection bring one more request, which is told to be the last [C144] [W26]", () =>
    Effect.gen(function*() {
      const { connect, server, stop } = yield* serveStoppable(hello, { drainWindow: "5 seconds" })
      const [talking, silent] = [yield* connect(), yield* connect()]
      for (const client of [talking, silent]) {
        yield* client.send(get())
        assert.strictEqual(headerOf(yield* client.read, "connection"), undefined)
      }
      const stopping = yield* stop
      assert.isTrue(Exit.isFailure(yield* Effect.exit(connect())))
      yield* TestClock.adjust("4 seconds")
      assert.isFalse(yield* talking.isEnded)
      yield* talking.send(get() + get("/behind"))
      const answer = yield* talking.read
      assert.deepStrictEqual([bodyOf(answer), headerOf(answer, "connection")], ["hello", "close"])
      assert.isTrue(yield* talking.isEnded)
      yield* talking.end
      assert.isFalse(yield* silent.isEnded)
      assert.isFalse(hasStopped(stopping))
      yield* TestClock.adjust("1 second")
      assert.isTrue(yield* silent.isEnded)
      assert.isTrue(hasStopped(stopping))
      assert.strictEqual((yield* server.stats).totalExchanges, 3)
    }))

  it.effect("is also for a connection whose answer had begun before: nobody has told its client to go", () =>
    Effect.gen(function*() {
      const app = App.http(({ scope, send }) =>
        Effect.gen(function*() {
          yield* send({ type: "http.response.start", status: 200, headers: [["content-length", "4"]] })
          yield* send({ type: "http.response.body", body: "sl", more: true })
          if (scope.path === "/slow") yield* Effect.sleep("2 seconds")
          yield* send({ type: "http.response.body", body: "ow" })
        })
      )
      const { connect, stop } = yield* serveStoppable(app, { drainWindow: "5 seconds" })
      const client = yield* connect()
      yield* client.send(get("/slow"))
      const stopping = yield* stop
      yield* TestClock.adjust("2 seconds")
      const first = yield* client.read
      assert.deepStrictEqual([bodyOf(first), headerOf(first, "connection")], ["slow", undefined])
      assert.isFalse(yield* client.isEnded)
      yield* client.send(get())
      assert.strictEqual(headerOf(yield* client.read, "connection"), "close")
      assert.isTrue(yield* client.isEnded)
      yield* client.end
      assert.isTrue(hasStopped(stopping))
    }))

  it.effect("ends with the last connection", () =>
    Effect.gen(function*() {
      const { connect, stop } = yield* serveStoppable(hello, { drainWindow: "20 seconds" })
      const client = yield* connect()
      yield* client.send(get())
      const stopping = yield* stop
      yield* TestClock.adjust("3 seconds")
      assert.isFalse(hasStopped(stopping))
      yield* client.end
      assert.isTrue(hasStopped(stopping))
      assert.isTrue(hasStopped(yield* (yield* serveStoppable(hello, { drainWindow: "20 seconds" })).stop))
    }))

  it.effect("is for connections that have brought nothing yet, too, and for a body that nobody read", () =>
    Effect.gen(function*() {
      const { connect, stop } = yield* serveStoppable(hello, { drainWindow: "5 seconds" })
      const [fresh, late, uploading] = [yield* connect(), yield* connect(), yield* connect()]
      yield* uploading.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nhal")
      yield* uploading.read
      const stopping = yield* stop
      yield* TestClock.adjust("3 seconds")
      yield* uploading.send(`ved${get()}`)
      yield* fresh.send(get())
      for (const client of [fresh, uploading]) {
        assert.strictEqual(headerOf(yield* client.read, "connection"), "close")
        yield* client.end
      }
      assert.isFalse(yield* late.isEnded)
      yield* TestClock.adjust("3 seconds")
      assert.isTrue(yield* late.isEnded)
      assert.isTrue(hasStopped(stopping))
    }))

  it.effect("does not outlast shutdownTimeout, and is a part of it", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const app = App.http(({ scope, send }) =>
        Effect.andThen(scope.path === "/never" ? Effect.never : Effect.void, App.respond(send, 200, ""))
      )
      for (const drainWindow of ["1 hour", "3 seconds"] as const) {
        const { connect, stop } = yield* serveStoppable(app, { drainWindow, shutdownTimeout: "4 seconds" })
        const [busy, idle] = [yield* connect(), yield* connect()]
        yield* busy.send(get("/never"))
        yield* idle.send(get())
        const stopping = yield* stop
        yield* TestClock.adjust("2 seconds")
        assert.isFalse(yield* idle.isEnded)
        yield* TestClock.adjust("2 seconds")
        assert.isTrue(yield* idle.isEnded)
        assert.isTrue(hasStopped(stopping))
      }
      assert.strictEqual(
        stopLines(lines).at(-1),
        "Warn: Stopped: waited for 1 request on 1 connection, cut 1 request on 1 connection"
      )
    }).pipe(Effect.provide(layer))
  })
})

describe("the line about a stop", () => {
  const mixed: App.App<unknown> = App.byType({
    http: () => Effect.never,
    sse: ({ receive, send }) =>
      Effect.andThen(send({ type: "sse.start" }), Effect.forever(Effect.andThen(receive, Effect.never))),
    websocket: ({ send }) =>
      Effect.andThen(send({ type: "websocket.accept" }), Effect.uninterruptible(Effect.sleep("1 hour")))
  })

  for (const version of Wires.versions) {
    it.effect(`counts what was waited for, and what was cut, by kind, over HTTP/${version} [C144]`, () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const { connect, server, stop } = yield* serveStoppable(mixed, { shutdownTimeout: "2 seconds" })
        for (const protocol of ["http", "http", "sse", "websocket", "websocket", "websocket"] as const) {
          yield* (yield* (yield* Wires.open(connect, version)).ask({ protocol })).answered
        }
        const stopping = yield* stop
        // The event stream has its grace of 5 seconds, which is longer than the server waits at all.
        yield* TestClock.adjust("7 seconds")
        assert.isTrue(hasStopped(stopping))
        assert.strictEqual((yield* server.stats).totalCut, 6)
        assert.deepStrictEqual(stopLines(lines), [
          "Warn: Stopped: waited for 2 requests, 1 event stream and 3 WebSockets on 6 connections, " +
          "cut 2 requests, 1 event stream and 3 WebSockets on 6 connections, of which 3 still run"
        ])
        yield* TestClock.adjust("1 hour")
      }).pipe(Effect.provide(layer))
    })
  }

  it.effect("names connections that were closed by force though nothing of the application was left", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const app = App.http(({ send }) => Effect.andThen(Effect.sleep("1 second"), App.respond(send, 200, "")))
      const { connect, server, stop } = yield* serveStoppable(app, { shutdownTimeout: "2 seconds" })
      // It has its answer, and does not close its side.
      yield* (yield* connect()).send(get())
      const stopping = yield* stop
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(hasStopped(stopping))
      assert.strictEqual((yield* server.stats).totalCut, 0)
      assert.deepStrictEqual(stopLines(lines), [
        "Info: Stopped: waited for 1 request on 1 connection, cut 1 connection"
      ])
    }).pipe(Effect.provide(layer))
  })

  it.effect("is there, with nothing in it, when nothing was to be waited for", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      yield* (yield* serveStoppable(hello)).stop
      assert.deepStrictEqual(stopLines(lines), ["Info: Stopped: waited for 0 requests on 0 connections, cut none"])
    }).pipe(Effect.provide(layer))
  })
})

describe("finalizers of the application in the server's scope", () => {
  const finalizing = (finalizer: Effect.Effect<void>) =>
    App.http(({ send }) => Effect.andThen(Effect.addFinalizer(() => finalizer), App.respond(send, 200, "")))

  it.effect("run to their end before the server has stopped", () =>
    Effect.gen(function*() {
      const steps: Array<string> = []
      const { connect, stop } = yield* serveStoppable(
        finalizing(Effect.andThen(Effect.sleep("3 seconds"), Effect.sync(() => void steps.push("released"))))
      )
      const client = yield* connect()
      yield* client.send(get())
      const stopping = yield* stop
      yield* TestClock.adjust("2 seconds")
      assert.isFalse(hasStopped(stopping))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(steps, ["released"])
      assert.isTrue(hasStopped(stopping))
    }))

  it.effect("that hang hold it up for disconnectGrace, and it says so", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const { connect, stop } = yield* serveStoppable(finalizing(Effect.never), { disconnectGrace: "4 seconds" })
      const client = yield* connect()
      yield* client.send(get())
      const stopping = yield* stop
      yield* TestClock.adjust("3 seconds")
      assert.isFalse(hasStopped(stopping))
      yield* TestClock.adjust("1 second")
      assert.isTrue(hasStopped(stopping))
      assert.include(
        lines.map(({ message }) => message),
        "Finalizers of the application did not end within disconnectGrace; not waited for"
      )
    }).pipe(Effect.provide(layer))
  })
})
