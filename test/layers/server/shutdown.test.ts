import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { makePipe } from "../../../layers/internal/MemoryPipe.ts"
import { ServerCore } from "../../../layers/internal/ServerCore.ts"
import { fromSettings } from "../../../layers/internal/WireSettings.ts"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import { resolve } from "../../../src/schema/Settings.ts"
import { AccessLog } from "../../../src/service/AccessLog.ts"
import * as Server from "../../../src/service/Server.ts"
import { capture, type Line } from "../../utils/logs.ts"
import { bodyOf, headerOf } from "../../utils/serve.ts"
import { serveStoppable } from "../../utils/stoppable.ts"

const get = (path = "/") => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
const hello = App.http(({ send }) => App.respond(send, 200, "hello"))
const slow = App.http(({ scope, send }) =>
  Effect.andThen(Effect.sleep("5 seconds"), App.respond(send, 200, scope.path))
)
const hanging = App.http(() => Effect.never)

const hasStopped = (fiber: Fiber.Fiber<void>) => fiber.pollUnsafe() !== undefined
const stopLines = (lines: ReadonlyArray<Line>) => lines.filter(({ message }) => message.startsWith("Stopped"))

describe("shutdown", () => {
  it.effect("lets requests in flight finish with connection: close, and closes idle connections at once [C144] [W26]", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const { connect, server, stop } = yield* serveStoppable(slow)
      const idle = yield* connect()
      yield* idle.send(get())
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(headerOf(yield* idle.read, "connection"), undefined)
      const fresh = yield* connect()
      const busy = yield* connect()
      yield* busy.send(get("/busy"))

      const stopping = yield* stop
      assert.isTrue(yield* idle.isEnded)
      assert.isFalse(yield* fresh.isEnded)
      assert.isFalse(yield* busy.isEnded)
      assert.isTrue((yield* server.stats).isShuttingDown)
      // Its first request may be under way, but not for ever.
      yield* TestClock.adjust("1 second")
      assert.isTrue(yield* fresh.isEnded)
      assert.strictEqual((yield* server.stats).connections, 1)
      assert.isFalse(hasStopped(stopping))

      yield* TestClock.adjust("4 seconds")
      const answer = yield* busy.read
      assert.strictEqual(bodyOf(answer), "/busy")
      assert.strictEqual(headerOf(answer, "connection"), "close")
      assert.isTrue(yield* busy.isEnded)
      yield* busy.end
      assert.isTrue(hasStopped(stopping))
      assert.deepStrictEqual(stopLines(lines).map(({ level, message }) => `${level}: ${message}`), [
        "Info: Stopped: waited for 1 request on 1 connection, cut none"
      ])
    }).pipe(Effect.provide(layer))
  })

  it.effect("leaves no sleep behind, which would keep its process", () =>
    Effect.gen(function*() {
      let sleeping = 0
      const clock = yield* Clock.Clock
      const counting: Clock.Clock = Object.setPrototypeOf({
        sleep: (duration: Duration.Duration) =>
          Effect.acquireUseRelease(
            Effect.sync(() => sleeping++),
            () => clock.sleep(duration),
            () => Effect.sync(() => sleeping--)
          )
      }, clock)
      yield* Effect.gen(function*() {
        const { stop } = yield* serveStoppable(hello)
        assert.isAbove(sleeping, 0)
        assert.isTrue(hasStopped(yield* stop))
        assert.strictEqual(sleeping, 0)
      }).pipe(Effect.provideService(Clock.Clock, counting))
    }))

  it.effect("accepts no connection once it was told to stop [C144]", () =>
    Effect.gen(function*() {
      const { connect, stop } = yield* serveStoppable(slow)
      const busy = yield* connect()
      yield* busy.send(get())
      const stopping = yield* stop
      assert.isTrue(Exit.isFailure(yield* Effect.exit(connect())))
      yield* TestClock.adjust("5 seconds")
      yield* busy.end
      assert.isTrue(hasStopped(stopping))
    }))

  it.effect("cuts what outlives shutdownTimeout with server_shutdown, and says how much [C144] [W26]", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const reasons: Array<string> = []
      const app = App.http((exchange) => {
        exchange.connection.onDisconnect((reason) => reasons.push(`${exchange.scope.path} ${reason}`))
        if (exchange.scope.path === "/slow") return slow(exchange)
        if (exchange.scope.path === "/never") return Effect.never
        return Effect.gen(function*() {
          yield* exchange.send({ type: "http.response.start", status: 200, headers: [["content-length", "10"]] })
          yield* exchange.send({ type: "http.response.body", body: "hal", more: true })
          return yield* Effect.never
        })
      })
      const { connect, server, stop } = yield* serveStoppable(app)
      const [finished, cut, halfway] = [yield* connect(), yield* connect(), yield* connect()]
      yield* finished.send(get("/slow"))
      yield* cut.send(get("/never"))
      yield* halfway.send(get("/half"))
      const stopping = yield* stop
      yield* TestClock.adjust("29 seconds")
      assert.deepStrictEqual(reasons, [])
      assert.isFalse(hasStopped(stopping))
      yield* finished.end
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(reasons, ["/never server_shutdown", "/half server_shutdown"])
      assert.isTrue(hasStopped(stopping))
      assert.strictEqual(bodyOf(yield* finished.read), "/slow")
      assert.strictEqual(bodyOf(yield* halfway.read), "hal")
      assert.strictEqual((yield* server.stats).exchanges, 0)
      assert.strictEqual((yield* server.stats).connections, 0)
      assert.deepStrictEqual(stopLines(lines).map(({ level, message }) => `${level}: ${message}`), [
        "Warn: Stopped: waited for 3 requests on 3 connections, cut 2 requests on 2 connections"
      ])
    }).pipe(Effect.provide(layer))
  })

  it.effect("does not wait at all with shutdownTimeout 0", () => {
    const { layer } = capture()
    return Effect.gen(function*() {
      const { connect, stop } = yield* serveStoppable(hanging, { shutdownTimeout: 0 })
      const client = yield* connect()
      yield* client.send(get())
      const stopping = yield* stop
      yield* TestClock.adjust(0)
      assert.isTrue(hasStopped(stopping))
      assert.isTrue(yield* client.isEnded)
    }).pipe(Effect.provide(layer))
  })

  it.effect("runs the finalizers of what it cuts before it has stopped", () => {
    const { layer } = capture()
    return Effect.gen(function*() {
      const steps: Array<string> = []
      const app = App.http(() =>
        Effect.onInterrupt(
          Effect.never,
          () => Effect.andThen(Effect.sleep("2 seconds"), Effect.sync(() => steps.push("finalizer")))
        )
      )
      const { connect, stop } = yield* serveStoppable(app)
      yield* (yield* connect()).send(get())
      const stopping = yield* stop
      yield* TestClock.adjust("31 seconds")
      assert.isFalse(hasStopped(stopping))
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(steps, ["finalizer"])
      assert.isTrue(hasStopped(stopping))
    }).pipe(Effect.provide(layer))
  })

  it.effect("waits for an uninterruptible exchange for disconnectGrace after the cut, and no longer", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const stubborn = App.http(() => Effect.uninterruptible(Effect.sleep("1 hour")))
      const { connect, server, stop } = yield* serveStoppable(stubborn, { disconnectGrace: "3 seconds" })
      yield* (yield* connect()).send(get())
      const stopping = yield* stop
      yield* TestClock.adjust("32 seconds")
      assert.isFalse(hasStopped(stopping))
      yield* TestClock.adjust("1 second")
      assert.isTrue(hasStopped(stopping))
      assert.strictEqual((yield* server.stats).connections, 0)
      assert.deepStrictEqual(stopLines(lines).map(({ message }) => message), [
        "Stopped: waited for 1 request on 1 connection, cut 1 request on 1 connection, of which 1 still runs"
      ])
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* server.stats).exchanges, 0)
    }).pipe(Effect.provide(layer))
  })

  it.effect("interrupts applications that go on after their answer", () => {
    const { layer } = capture()
    return Effect.gen(function*() {
      const app = App.http(({ send }) => Effect.andThen(App.respond(send, 200, "ok"), Effect.never))
      const { connect, server, stop } = yield* serveStoppable(app)
      const client = yield* connect()
      yield* client.send(get())
      const stopping = yield* stop
      yield* TestClock.adjust("34 seconds")
      assert.isTrue(hasStopped(stopping))
      assert.strictEqual((yield* server.stats).exchanges, 0)
    }).pipe(Effect.provide(layer))
  })

  it.effect("answers a request whose head or body is on its way", () =>
    Effect.gen(function*() {
      const echo = App.http(({ receive, send }) =>
        Effect.flatMap(receive, (event) => App.respond(send, 200, event.type === "http.request" ? event.body : ""))
      )
      const { connect, stop } = yield* serveStoppable(echo)
      const [head, body] = [yield* connect(), yield* connect()]
      yield* head.send("GET / HTT")
      yield* body.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
      const stopping = yield* stop
      assert.isFalse(hasStopped(stopping))
      yield* head.send("P/1.1\r\nHost: a\r\n\r\n")
      yield* body.send("whole")
      for (const client of [head, body]) {
        const answer = yield* client.read
        assert.isTrue(answer.startsWith("HTTP/1.1 200 OK"))
        assert.strictEqual(headerOf(answer, "connection"), "close")
        yield* client.end
      }
      assert.isTrue(hasStopped(stopping))
    }))

  it.effect("answers requests that had been pipelined before, and none that comes after it", () =>
    Effect.gen(function*() {
      const { connect, server, stop } = yield* serveStoppable(slow)
      const client = yield* connect()
      yield* client.send(get("/1") + get("/2") + "GET /3 HTT")
      const stopping = yield* stop
      yield* client.send(`P/1.1\r\nHost: a\r\n\r\n${get("/4")}`)
      for (const path of ["/1", "/2", "/3"]) {
        assert.isFalse(hasStopped(stopping))
        yield* TestClock.adjust("5 seconds")
        const answer = yield* client.read
        assert.strictEqual(bodyOf(answer), path)
        assert.strictEqual(headerOf(answer, "connection"), path === "/3" ? "close" : undefined)
      }
      yield* client.end
      yield* TestClock.adjust("1 second")
      assert.isTrue(hasStopped(stopping))
      assert.strictEqual((yield* server.stats).totalExchanges, 3)
    }))

  it.effect("answers them also behind an answer whose head has said nothing of the end", () =>
    Effect.gen(function*() {
      const halfway = App.http(({ scope, send }) =>
        Effect.gen(function*() {
          yield* send({ type: "http.response.start", status: 200, headers: [["content-length", "4"]] })
          yield* send({ type: "http.response.body", body: scope.path, more: true })
          yield* Effect.sleep("5 seconds")
          yield* send({ type: "http.response.body", body: scope.path })
        })
      )
      const { connect, stop } = yield* serveStoppable(halfway)
      const client = yield* connect()
      yield* client.send(get("/1") + get("/2"))
      yield* stop
      yield* TestClock.adjust("10 seconds")
      const [, first, second, ...others] = (yield* client.readAll).split("HTTP/1.1 200 OK")
      assert.isTrue(first!.endsWith("/1/1"))
      assert.notInclude(first!, "connection:")
      assert.isTrue(second!.endsWith("/2/2"))
      assert.include(second!, "connection: close")
      assert.lengthOf(others, 0)
    }))

  it.effect("keeps its time limits while it waits: a head that never arrives holds nothing up", () => {
    const { layer } = capture()
    return Effect.gen(function*() {
      const { connect, stop } = yield* serveStoppable(hello, { shutdownTimeout: "10 minutes" })
      const client = yield* connect()
      yield* client.send("GET / HTT")
      const stopping = yield* stop
      yield* TestClock.adjust("12 seconds")
      assert.isTrue((yield* client.read).startsWith("HTTP/1.1 408 "))
      yield* client.end
      assert.isTrue(hasStopped(stopping))
    }).pipe(Effect.provide(layer))
  })

  it.effect("does not wait for the client to close an idle connection, nor a rejected upload for ever", () =>
    Effect.gen(function*() {
      const { connect, stop } = yield* serveStoppable(hello)
      const idle = yield* connect()
      yield* idle.send(get())
      const uploading = yield* connect()
      yield* uploading.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n")
      const stopping = yield* stop
      assert.isTrue(yield* idle.isEnded)
      yield* TestClock.adjust("4 seconds")
      assert.isTrue(hasStopped(stopping))
    }))

  it.effect("stops at once when only idle connections are left, whose clients keep their side open", () =>
    Effect.gen(function*() {
      const { connect, stop } = yield* serveStoppable(hello)
      for (let n = 0; n < 3; n++) yield* (yield* connect()).send(get())
      assert.isTrue(hasStopped(yield* stop))
    }))

  it.effect("answers the first request of a connection that was accepted in the moment of stopping", () =>
    Effect.gen(function*() {
      const core = new ServerCore({
        settings: fromSettings(Result.getOrThrow(resolve({}))),
        app: slow,
        context: yield* Effect.context<never>(),
        fiberId: yield* Effect.fiberId,
        idPrefix: ""
      })
      const peer = { client: undefined, server: undefined, scheme: "http" } as const
      const open = () => {
        const [client, stream] = makePipe()
        client.resume()
        core.accept(stream, peer)
        return client
      }
      const busy = open()
      busy.write(get())
      yield* ServerMemory.settle
      const stopping = yield* Effect.forkChild(core.stop, { startImmediately: true })
      const late = open()
      late.write(get())
      yield* ServerMemory.settle
      assert.strictEqual(core.stats.exchanges, 2)
      yield* TestClock.adjust("5 seconds")
      assert.isTrue(late.readableEnded)
      late.end()
      busy.end()
      yield* ServerMemory.settle
      assert.isTrue(hasStopped(stopping))
    }))

  it.effect("flushes the access log when the last exchange has been written to it", () =>
    Effect.gen(function*() {
      const steps: Array<string> = []
      const log = AccessLog.of({
        write: (entry) => void steps.push(`write ${entry.status}`),
        flush: Effect.sync(() => void steps.push("flush"))
      })
      const { connect, stop } = yield* Effect.provideService(serveStoppable(slow), AccessLog, log)
      const client = yield* connect()
      yield* client.send(get())
      yield* stop
      yield* TestClock.adjust("5 seconds")
      yield* client.end
      assert.deepStrictEqual(steps, ["write 200", "flush"])
    }))

  it.effect("builds the application's services before the first accept and releases them after the last connection", () =>
    Effect.gen(function*() {
      class Database extends Context.Service<Database, { readonly query: Effect.Effect<string> }>()("test/Database") {}
      const steps: Array<string> = []
      const step = (name: string) => Effect.sync(() => void steps.push(name))
      const database = Layer.effect(
        Database,
        Effect.as(
          Effect.acquireRelease(step("open"), () => step("close")),
          Database.of({ query: Effect.andThen(Effect.sleep("5 seconds"), Effect.as(step("query"), "rows")) })
        )
      )
      const app = (exchange: App.Exchange) =>
        exchange.type === "lifespan"
          ? Effect.gen(function*() {
            yield* Database
            yield* exchange.receive
            yield* step("lifespan.startup")
            yield* exchange.send({ type: "lifespan.startup.complete" })
            yield* exchange.receive
            yield* step("lifespan.shutdown")
            yield* exchange.send({ type: "lifespan.shutdown.complete" })
          })
          : App.http(({ connection, send }) => {
            connection.onComplete(() => steps.push("answered"))
            return Effect.flatMap(Database.use((database) => database.query), (rows) => App.respond(send, 200, rows))
          })(exchange)
      const scope = yield* Scope.make()
      const services = yield* Layer.buildWithScope(
        Server.serve(app).pipe(Layer.provide(database), Layer.provideMerge(ServerMemory.layer())),
        scope
      )
      const client = yield* Context.get(services, ServerMemory.Network).connect()
      yield* client.send(get())
      yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(bodyOf(yield* client.read), "rows")
      yield* client.end
      assert.deepStrictEqual(steps, [
        "open",
        "lifespan.startup",
        "query",
        "answered",
        "lifespan.shutdown",
        "close"
      ])
    }))
})
