import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import type { SendError } from "../../../src/app/SendError.ts"
import { capture } from "../../utils/logs.ts"
import { start } from "../../utils/program.ts"
import { bodyOf } from "../../utils/serve.ts"
import { serveStoppable } from "../../utils/stoppable.ts"

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

/** An App that answers `ok` and has the given lifespan. */
const withLifespan = <E, R>(lifespan: (exchange: App.LifespanExchange) => Effect.Effect<void, E, R>) =>
  App.byType<E | SendError, R>({ http: ({ send }) => App.respond(send, 200, "ok"), lifespan })

/** The usual lifespan, with what happens at start and stop. */
const usual = (
  startup: (exchange: App.LifespanExchange) => Effect.Effect<unknown>,
  shutdown: Effect.Effect<unknown> = Effect.void
) =>
(exchange: App.LifespanExchange) =>
  Effect.gen(function*() {
    assert.deepStrictEqual(yield* exchange.receive, { type: "lifespan.startup" })
    yield* startup(exchange)
    yield* exchange.send({ type: "lifespan.startup.complete" })
    assert.deepStrictEqual(yield* exchange.receive, { type: "lifespan.shutdown" })
    yield* shutdown
    yield* exchange.send({ type: "lifespan.shutdown.complete" })
  })

/** What a start says and leaves behind: nothing may listen or run any more when it failed. */
const failingStart = Effect.fnUntraced(function*<E, R>(app: App.App<E, R>, options: ServerMemory.Options = {}) {
  const { network, server } = yield* ServerMemory.make(options)
  const error = yield* Effect.flip(server.serve(app))
  assert.deepStrictEqual(yield* server.addresses, [])
  assert.strictEqual((yield* Effect.exit(network.connect()))._tag, "Failure")
  return error.message
})

describe("lifespan", () => {
  it.effect("starts before the first accept, and stops after the last connection has closed [C97]", () =>
    Effect.gen(function*() {
      const steps: Array<string> = []
      const step = (name: string) => Effect.sync(() => void steps.push(name))
      const app = App.byType({
        lifespan: usual(
          () => Effect.andThen(step("starting"), Effect.andThen(Effect.sleep("1 second"), step("started"))),
          step("stopped")
        ),
        http: ({ connection, send }) => {
          connection.onComplete(() => steps.push("answered"))
          return Effect.andThen(Effect.sleep("3 seconds"), App.respond(send, 200))
        }
      })
      const { network, server } = yield* ServerMemory.make()
      const scope = yield* Scope.make()
      const serving = yield* Effect.forkChild(Scope.provide(server.serve(app), scope), { startImmediately: true })
      assert.deepStrictEqual(steps, ["starting"])
      assert.strictEqual((yield* Effect.exit(network.connect()))._tag, "Failure")
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(serving)
      const client = yield* network.connect()
      yield* client.send(get)
      const stopping = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(steps, ["starting", "started", "answered"])
      assert.strictEqual((yield* server.stats).connections, 1)
      yield* client.end
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(steps, ["starting", "started", "answered", "stopped"])
    }))

  it.effect("runs with the application's services", () =>
    Effect.gen(function*() {
      class Greeting extends Context.Service<Greeting, string>()("test/Greeting") {}
      const seen: Array<string> = []
      const app = withLifespan((exchange) =>
        Effect.flatMap(Greeting, (greeting) => usual(() => Effect.sync(() => seen.push(greeting)))(exchange))
      )
      const { stop } = yield* Effect.provideService(serveStoppable(app), Greeting, "hello")
      assert.deepStrictEqual(seen, ["hello"])
      yield* Fiber.join(yield* stop)
    }))

  it.effect("keeps what the application acquires for the server's life until it has stopped", () =>
    Effect.gen(function*() {
      const steps: Array<string> = []
      const step = (name: string) => Effect.sync(() => void steps.push(name))
      const app = withLifespan((exchange) =>
        Effect.gen(function*() {
          yield* exchange.receive
          yield* Effect.acquireRelease(step("acquire"), () => step("release"))
          yield* exchange.send({ type: "lifespan.startup.complete" })
          yield* exchange.receive
          yield* step("shutdown")
          yield* exchange.send({ type: "lifespan.shutdown.complete" })
        })
      )
      const { stop } = yield* serveStoppable(app)
      yield* Fiber.join(yield* stop)
      assert.deepStrictEqual(steps, ["acquire", "shutdown", "release"])
    }))

  it.effect("refuses to serve after lifespan.startup.failed, with its message [C98]", () =>
    Effect.gen(function*() {
      const app = withLifespan(({ send }) => send({ type: "lifespan.startup.failed", message: "no database" }))
      assert.strictEqual(yield* failingStart(app), "The application did not start: no database")
    }))

  it.live("ends a program with a message and a non-zero exit code after lifespan.startup.failed [C98]", () =>
    Effect.gen(function*() {
      const program = yield* start(`
        import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
        import * as Effect from "effect/Effect"
        import * as Layer from "effect/Layer"
        import * as ServerNode from "./layers/ServerNode.ts"
        import * as App from "./src/app/App.ts"
        import * as Server from "./src/service/Server.ts"
        const app = App.byType({
          lifespan: ({ send }) => send({ type: "lifespan.startup.failed", message: "no database" })
        })
        Server.serve(app).pipe(Layer.provide(ServerNode.layer({ port: 0 })), Layer.launch, NodeRuntime.runMain)
      `)
      assert.strictEqual(yield* program.exits, 1)
      assert.include(program.output, "The application did not start: no database")
    }))

  for (
    const [how, lifespan] of [
      ["returns without an answer", () => Effect.void],
      ["fails", () => Effect.fail(new Error("unknown exchange type"))],
      ["throws", () => {
        throw new Error("unknown exchange type")
      }]
    ] as ReadonlyArray<readonly [string, () => Effect.Effect<void, Error>]>
  ) {
    it.effect(`serves without a lifespan when the application ${how}, and says so at info [C99]`, () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const { connect, stop } = yield* serveStoppable(withLifespan(lifespan))
        const client = yield* connect()
        yield* client.send(get)
        assert.strictEqual(bodyOf(yield* client.read), "ok")
        assert.deepStrictEqual(lines.map(({ level }) => level), ["Info"])
        assert.include(lines[0]!.message, "no lifespan")
        yield* client.end
        yield* Fiber.join(yield* stop)
      }).pipe(Effect.provide(layer))
    })

    it.effect(`refuses to serve with lifespan on when the application ${how} [C100]`, () =>
      Effect.gen(function*() {
        const message = yield* failingStart(withLifespan(lifespan), { lifespan: "on" })
        assert.include(message, "The application did not start: it has no lifespan")
        if (how !== "returns without an answer") assert.include(message, "unknown exchange type")
      }))
  }

  it.effect("never calls the application with lifespan off [C100]", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const types: Array<string> = []
      const app: App.App<SendError> = (exchange) => {
        types.push(exchange.type)
        return exchange.type === "http" ? App.respond(exchange.send, 200, String(exchange.scope.state)) : Effect.void
      }
      const { connect, stop } = yield* serveStoppable(app, { lifespan: "off" })
      const client = yield* connect()
      yield* client.send(get)
      assert.strictEqual(bodyOf(yield* client.read), "undefined")
      yield* client.end
      yield* Fiber.join(yield* stop)
      assert.deepStrictEqual(types, ["http"])
      assert.notInclude(lines.map(({ message }) => message).join(), "lifespan")
    }).pipe(Effect.provide(layer))
  })

  describe("lifespanStartupTimeout", () => {
    const interrupted: Array<string> = []
    const hanging = (name: string) =>
      withLifespan(() => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted.push(name))))

    it.effect("gives the application 30 seconds, then interrupts it and does not serve [C101]", () =>
      Effect.gen(function*() {
        const starting = yield* Effect.forkChild(failingStart(hanging("30")), { startImmediately: true })
        yield* TestClock.adjust("29 seconds")
        assert.isUndefined(starting.pollUnsafe())
        yield* TestClock.adjust("1 second")
        assert.strictEqual(
          yield* Fiber.join(starting),
          "The application did not start: it did not answer lifespan.startup within 30000 ms"
        )
        assert.include(interrupted, "30")
      }))

    it.effect("is off at 0 [C101]", () =>
      Effect.gen(function*() {
        const slow = withLifespan(usual(() => Effect.sleep("1 day")))
        const serving = yield* Effect.forkChild(
          serveStoppable(slow, { lifespanStartupTimeout: 0 }),
          { startImmediately: true }
        )
        yield* TestClock.adjust("23 hours")
        assert.isUndefined(serving.pollUnsafe())
        yield* TestClock.adjust("1 hour")
        yield* Fiber.join(yield* (yield* Fiber.join(serving)).stop)
      }))

    it.effect("does not wait for a startup that cannot be interrupted", () =>
      Effect.gen(function*() {
        const stubborn = withLifespan(() => Effect.uninterruptible(Effect.sleep("1 day")))
        const starting = yield* Effect.forkChild(
          failingStart(stubborn, { lifespanStartupTimeout: "1 second", disconnectGrace: "2 seconds" }),
          { startImmediately: true }
        )
        yield* TestClock.adjust("3 seconds")
        assert.include(yield* Fiber.join(starting), "did not answer lifespan.startup")
      }))

    it.effect("leaves nothing behind when the start itself is interrupted", () =>
      Effect.gen(function*() {
        const { server } = yield* ServerMemory.make()
        const starting = yield* Effect.forkChild(Effect.exit(server.serve(hanging("outer"))), {
          startImmediately: true
        })
        yield* Fiber.interrupt(starting)
        assert.include(interrupted, "outer")
        // The server is as new: a start that was given up may be tried again.
        yield* server.serve(withLifespan(usual(() => Effect.void)))
        assert.strictEqual((yield* server.addresses).length, 1)
      }))
  })

  describe("shutdown", () => {
    it.effect("waits for the application's answer [C102]", () =>
      Effect.gen(function*() {
        const app = withLifespan(usual(() => Effect.void, Effect.sleep("20 seconds")))
        const { stop } = yield* serveStoppable(app)
        const stopping = yield* stop
        yield* TestClock.adjust("19 seconds")
        assert.isUndefined(stopping.pollUnsafe())
        yield* TestClock.adjust("1 second")
        assert.isDefined(stopping.pollUnsafe())
      }))

    it.effect("logs lifespan.shutdown.failed with its message, and stops all the same [C102]", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const app = withLifespan((exchange) =>
          Effect.gen(function*() {
            yield* exchange.receive
            yield* exchange.send({ type: "lifespan.startup.complete" })
            yield* exchange.receive
            yield* exchange.send({ type: "lifespan.shutdown.failed", message: "the queue is not empty" })
          })
        )
        const { stop } = yield* serveStoppable(app)
        yield* Fiber.join(yield* stop)
        const errors = lines.filter(({ level }) => level === "Error").map(({ message }) => message)
        assert.deepStrictEqual(errors, ["The application failed to stop cleanly: the queue is not empty"])
      }).pipe(Effect.provide(layer))
    })

    it.effect("waits shutdownTimeout at most, then interrupts the application [C102]", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const interrupted: Array<string> = []
        const app = withLifespan(
          usual(() => Effect.void, Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted.push("yes"))))
        )
        const { stop } = yield* serveStoppable(app, { shutdownTimeout: "3 seconds" })
        const stopping = yield* stop
        yield* TestClock.adjust("2 seconds")
        assert.isUndefined(stopping.pollUnsafe())
        yield* TestClock.adjust("1 second")
        assert.isDefined(stopping.pollUnsafe())
        assert.deepStrictEqual(interrupted, ["yes"])
        assert.include(
          lines.map(({ level, message }) => `${level}: ${message}`).join(),
          "Warn: The application did not finish lifespan.shutdown"
        )
      }).pipe(Effect.provide(layer))
    })

    it.effect("does not wait for an application that cannot be interrupted beyond disconnectGrace", () => {
      const { layer } = capture()
      return Effect.gen(function*() {
        const app = withLifespan(usual(() => Effect.void, Effect.uninterruptible(Effect.sleep("1 day"))))
        const { stop } = yield* serveStoppable(app, { shutdownTimeout: "3 seconds", disconnectGrace: "2 seconds" })
        const stopping = yield* stop
        yield* TestClock.adjust("4 seconds")
        assert.isUndefined(stopping.pollUnsafe())
        yield* TestClock.adjust("1 second")
        assert.isDefined(stopping.pollUnsafe())
      }).pipe(Effect.provide(layer))
    })

    it.effect("does not wait for an application that asks for events for ever", () =>
      Effect.gen(function*() {
        const ends: Array<string> = []
        const app = withLifespan(({ receive, send }) =>
          Effect.forever(Effect.flatMap(receive, (event) => send({ type: `${event.type}.complete` }))).pipe(
            Effect.onInterrupt(() => Effect.sync(() => ends.push("interrupted")))
          )
        )
        const { stop } = yield* serveStoppable(app)
        yield* Fiber.join(yield* stop)
        assert.deepStrictEqual(ends, ["interrupted"])
      }))

    it.effect("lets the application end by itself after its answer", () =>
      Effect.gen(function*() {
        const steps: Array<string> = []
        const app = withLifespan((exchange) =>
          Effect.andThen(
            usual(() => Effect.void)(exchange),
            Effect.andThen(Effect.sleep("2 seconds"), Effect.sync(() => steps.push("tidied up")))
          )
        )
        const { stop } = yield* serveStoppable(app)
        const stopping = yield* stop
        yield* TestClock.adjust("2 seconds")
        yield* Fiber.join(stopping)
        assert.deepStrictEqual(steps, ["tidied up"])
      }))

    it.effect("is told although a receive was interrupted before", () =>
      Effect.gen(function*() {
        const steps: Array<string> = []
        const app = withLifespan((exchange) =>
          Effect.gen(function*() {
            yield* exchange.receive
            yield* exchange.send({ type: "lifespan.startup.complete" })
            yield* Effect.timeoutOption(exchange.receive, "1 second")
            steps.push((yield* exchange.receive).type)
            yield* exchange.send({ type: "lifespan.shutdown.complete" })
          })
        )
        const { stop } = yield* serveStoppable(app)
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(yield* stop)
        assert.deepStrictEqual(steps, ["lifespan.shutdown"])
      }))
  })

  for (const [options, isWorker, workerNumber] of [[{}, false, null], [{ workerNumber: 3 }, true, 3]] as const) {
    it.effect(`says isWorker ${isWorker} and workerNumber ${workerNumber} with ${JSON.stringify(options)} [C104]`, () =>
      Effect.gen(function*() {
        const seen: Array<unknown> = []
        const app = App.byType({
          lifespan: usual(({ scope }) => Effect.sync(() => seen.push([scope.isWorker, scope.workerNumber])))
        })
        yield* serveStoppable(app, options)
        assert.deepStrictEqual(seen, [[isWorker, workerNumber]])
      }))
  }

  it.effect("gives each request its own copy of the state, whose values are shared [C103]", () =>
    Effect.gen(function*() {
      const seen: Array<Record<string, unknown>> = []
      const app = App.byType({
        lifespan: usual(({ scope }) =>
          Effect.sync(() => {
            scope.state!.name = "from startup"
            scope.state!.shared = { hits: 0 }
          })
        ),
        http: ({ scope, send }) => {
          const state = scope.state!
          seen.push({ ...state })
          ;(state.shared as { hits: number }).hits++
          state.name = "changed"
          state.added = true
          return App.respond(send, 200)
        }
      })
      const { connect, stop } = yield* serveStoppable(app)
      const client = yield* connect()
      yield* client.send(get + get)
      assert.deepStrictEqual(seen, [
        { name: "from startup", shared: { hits: 2 } },
        { name: "from startup", shared: { hits: 2 } }
      ])
      assert.strictEqual(seen[0]!.shared, seen[1]!.shared)
      yield* client.end
      yield* Fiber.join(yield* stop)
    }))

  it.effect("logs an application's lifespan that fails after the startup at error, and keeps serving [C105]", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const app = withLifespan((exchange) =>
        Effect.gen(function*() {
          yield* exchange.receive
          yield* exchange.send({ type: "lifespan.startup.complete" })
          yield* Effect.sleep("1 second")
          return yield* Effect.die(new Error("the watcher broke"))
        })
      )
      const { connect, stop } = yield* serveStoppable(app)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(lines.map(({ level }) => level), ["Error"])
      assert.include(lines[0]!.cause, "the watcher broke")
      const client = yield* connect()
      yield* client.send(get)
      assert.strictEqual(bodyOf(yield* client.read), "ok")
      yield* client.end
      yield* Fiber.join(yield* stop)
    }).pipe(Effect.provide(layer))
  })

  it.effect("refuses answers out of order and unknown events, naming event and protocol", () =>
    Effect.gen(function*() {
      const messages: Array<string> = []
      const app = withLifespan(({ receive, send }) => {
        const refused = (event: Parameters<typeof send>[0]) =>
          Effect.flatMap(Effect.flip(send(event)), (error) =>
            Effect.sync(() => messages.push((error as SendError).message)))
        return Effect.gen(function*() {
          yield* receive
          yield* refused({ type: "lifespan.shutdown.complete" })
          yield* refused({ type: "http.response.start", status: 200 } as never)
          yield* send({ type: "lifespan.startup.complete" })
          yield* refused({ type: "lifespan.startup.complete" })
          yield* refused({ type: "lifespan.startup.failed" })
        }).pipe(Effect.orDie)
      })
      const { stop } = yield* serveStoppable(app)
      assert.deepStrictEqual(messages, [
        "'lifespan.shutdown.complete' is not allowed on lifespan while the server is not stopping",
        "Unrecognized event type 'http.response.start' for the lifespan protocol",
        "'lifespan.startup.complete' is not allowed on lifespan while it has been answered already",
        "'lifespan.startup.failed' is not allowed on lifespan while it has been answered already"
      ])
      yield* Fiber.join(yield* stop)
    }))
})
