import { assert, describe, it, layer } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as TestClient from "../../layers/TestClient.ts"
import * as App from "../../src/app/App.ts"
import * as Handler from "../../src/app/Handler.ts"
import * as Lifespan from "../../src/app/Lifespan.ts"
import * as Server from "../../src/service/Server.ts"
import { capture } from "../utils/logs.ts"

const test = (title: string, body: () => Effect.Effect<unknown, unknown, Scope.Scope>) =>
  it.effect(title, () => Effect.provide(Effect.suspend(body), capture().layer))

const hello = App.http(({ send }) => App.respond(send, 200, "hello"))

class Broken extends Data.TaggedError("Broken")<{ readonly part: string }> {}

/** What an Effect died with. */
const defectOf = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<unknown, unknown, R> =>
  Effect.flatMap(Effect.exit(effect), (exit) =>
    Exit.isFailure(exit) && Cause.hasDies(exit.cause)
      ? Effect.succeed(Cause.squash(exit.cause))
      : Effect.fail(new Error(`No defect: ${String(exit)}`)))

describe("TestClient.make", () => {
  test("answers a request that takes a minute when the test moves the clock [C212] [W146]", () =>
    Effect.gen(function*() {
      const slow = App.http(({ send }) => Effect.andThen(Effect.sleep("60 seconds"), App.respond(send, 200, "late")))
      const client = yield* TestClient.make(slow, { requestTimeout: "90 seconds" })
      const waiting = yield* Effect.forkChild(client.get("/"))
      yield* TestClient.settle
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(waiting.pollUnsafe(), undefined)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* (yield* Fiber.join(waiting)).text, "late")
    }))

  test("lets the server's own timeouts answer", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(App.http(() => Effect.never), { requestTimeout: "60 seconds" })
      const waiting = yield* Effect.forkChild(client.get("/"))
      yield* TestClient.settle
      yield* TestClock.adjust("61 seconds")
      assert.strictEqual((yield* Fiber.join(waiting)).status, 408)
    }))

  test("finds the server after the time that it keeps an idle connection", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(hello)
      for (let i = 0; i < 3; i++) {
        assert.strictEqual(yield* (yield* client.get("/")).text, "hello")
        yield* TestClock.adjust("2 minutes")
      }
    }))

  test("runs the lifespan with the scope, and shows its state [C212]", () =>
    Effect.gen(function*() {
      const steps: Array<string> = []
      const app = Lifespan.hooks({
        startup: (state) => Effect.sync(() => void (state["database"] = "open", steps.push("startup"))),
        shutdown: () => Effect.sync(() => steps.push("shutdown"))
      })(App.http(({ scope, send }) => App.respond(send, 200, String(scope.state?.["database"]))))
      yield* Effect.scoped(Effect.gen(function*() {
        const client = yield* TestClient.make(app)
        assert.deepStrictEqual(yield* client.state, { database: "open" })
        assert.strictEqual(yield* (yield* client.get("/")).text, "open")
        assert.deepStrictEqual(steps, ["startup"])
      }))
      assert.deepStrictEqual(steps, ["startup", "shutdown"])
    }))

  test("fails when the application refuses to start, or a setting cannot be used [C212]", () =>
    Effect.gen(function*() {
      const refusing = Lifespan.hooks({ startup: () => Effect.fail("no database") })(hello)
      const refused = yield* Effect.flip(TestClient.make(refusing))
      assert.deepStrictEqual(refused.reason, { _tag: "StartupFailed", problem: "no database" })
      const unusable = yield* Effect.flip(TestClient.make(hello, { maxHeaderCount: 0 }))
      assert.include(unusable.message, "maxHeaderCount")
    }))

  test("gives the server its options, and an origin to requests", () =>
    Effect.gen(function*() {
      const host = App.http(({ receive, scope, send }) =>
        Effect.andThen(receive, App.respond(send, 200, scope.headers.find(([name]) => name === "host")?.[1] ?? ""))
      )
      const client = yield* TestClient.make(host, { maxBodyBytes: 3, origin: "https://shop.example" })
      assert.strictEqual((yield* client.post("/", { body: "four" })).status, 413)
      yield* client.cookies.set("a", "1", { secure: true })
      assert.strictEqual(yield* (yield* client.get("/")).text, "shop.example")
    }))

  test("keeps a cookie as long as it lives, on the clock of the test [C212]", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(
        App.http(({ send }) => App.respond(send, 200, "", [["set-cookie", "session=s; Max-Age=60"]]))
      )
      yield* client.get("/")
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(yield* client.cookies.get("session"), "s")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* client.cookies.get("session"), undefined)
      assert.deepStrictEqual(yield* client.cookies.all, [])
    }))

  test("dies for a request with two bodies", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(hello)
      const defect = yield* defectOf(client.post("/", { json: 1, form: { a: "1" } }))
      assert.strictEqual((defect as Error).message, "A request has one body; this one was given form and json")
    }))
})

describe("TestClient.make, when the application fails", () => {
  const broken = new Broken({ part: "wheel" })
  const failing = App.byType<Broken>({
    http: ({ scope }) => scope.path === "/defect" ? Effect.die(broken) : Effect.fail(broken),
    websocket: ({ receive, scope, send }) =>
      Effect.gen(function*() {
        yield* receive
        if (scope.path === "/late") {
          yield* Effect.orDie(send({ type: "websocket.accept" }))
          yield* receive
        }
        return yield* Effect.fail(broken)
      }),
    sse: ({ send }) =>
      Effect.gen(function*() {
        yield* Effect.orDie(send({ type: "sse.start" }))
        yield* Effect.orDie(send({ type: "sse.send", data: "1" }))
        yield* Effect.sleep("1 second")
        return yield* Effect.fail(broken)
      })
  })

  test("dies with what it failed or died with [C212]", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(failing)
      assert.strictEqual(yield* defectOf(client.get("/")), broken)
      assert.strictEqual(yield* defectOf(client.get("/defect")), broken)
      assert.strictEqual(yield* defectOf(client.websocket("/")), broken)
      // Each is logged by the server, too: outside of the exchange.
      assert.deepStrictEqual((yield* client.failures).map(Cause.squash), [broken, broken, broken])
    }))

  test("dies with it where a session would have gone on [C212]", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(failing)
      const session = yield* client.websocket("/late")
      yield* session.send("go")
      assert.strictEqual(yield* defectOf(session.receive), broken)
      assert.strictEqual(yield* defectOf(session.closed), broken)
      const events = yield* client.sse("/")
      assert.strictEqual((yield* events.next).data, "1")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* defectOf(events.next), broken)
    }))

  for (const httpVersion of ["1.1", "2"] as const) {
    test(`dies with it where a body breaks off, over HTTP/${httpVersion} [C212]`, () =>
      Effect.gen(function*() {
        const halfway = App.http(({ send }) =>
          Effect.gen(function*() {
            yield* send({ type: "http.response.start", status: 200 })
            yield* send({ type: "http.response.body", body: "half", more: true })
            yield* Effect.sleep("1 second")
            return yield* Effect.fail(broken)
          })
        )
        const client = yield* TestClient.make(halfway, { httpVersion })
        const responses = [yield* client.get("/"), yield* client.get("/"), yield* client.get("/")] as const
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* defectOf(responses[0].text), broken)
        assert.strictEqual(yield* defectOf(responses[1].arrayBuffer), broken)
        assert.strictEqual(yield* defectOf(Stream.runDrain(responses[2].stream)), broken)
        const lenient = yield* TestClient.make(halfway, { httpVersion, raiseAppErrors: false })
        const response = yield* lenient.get("/")
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Effect.flip(response.text)).reason._tag, "DecodeError")
      }))
  }

  test("dies with what a handler has answered with 500 itself, and keeps to any other status [C212]", () =>
    Effect.gen(function*() {
      const handled = Handler.make(Effect.fail(broken))
      const client = yield* TestClient.make(handled)
      assert.strictEqual(yield* defectOf(client.get("/")), broken)
      const unavailable = Effect.as(
        Effect.logError("The database is down", Cause.fail(broken)),
        HttpServerResponse.empty({ status: 503 })
      )
      const other = yield* TestClient.make(Handler.make(unavailable))
      assert.strictEqual((yield* other.get("/")).status, 503)
      assert.deepStrictEqual((yield* other.failures).map(Cause.squash), [broken])
    }))

  test("dies with what it failed with after it had answered 500 [C212]", () =>
    Effect.gen(function*() {
      const apologizing = App.http(({ send }) =>
        Effect.andThen(App.respond(send, 500, "sorry"), Effect.andThen(TestClient.settle, Effect.fail(broken)))
      )
      const client = yield* TestClient.make(apologizing)
      assert.strictEqual(yield* defectOf(client.get("/")), broken)
    }))

  test("gives what a client would get when it is told so [C212]", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.make(failing, { raiseAppErrors: false })
      assert.strictEqual((yield* client.get("/")).status, 500)
      const denied = yield* Effect.flip(client.websocket("/"))
      assert(denied._tag === "Denied")
      assert.strictEqual(denied.status, 500)
      const session = yield* client.websocket("/late")
      yield* session.send("go")
      assert.strictEqual((yield* session.closed).code, 1011)
      const events = yield* client.sse("/")
      yield* TestClock.adjust("1 second")
      assert.isFalse((yield* events.closed).isComplete)
      assert.strictEqual((yield* client.failures).length, 4)
    }))

  test("holds it to the contract, unless it is told not to [C212]", () =>
    Effect.gen(function*() {
      const shouting = App.http(({ send }) => App.respond(send, 200, "x", [["X-Loud", "1"]]))
      const client = yield* TestClient.make(shouting)
      assert.include(String(yield* defectOf(client.get("/"))), "lower case")
      const lenient = yield* TestClient.make(shouting, { lint: false })
      assert.strictEqual((yield* lenient.get("/")).headers["x-loud"], "1")
    }))
})

describe("TestClient.make, when its scope closes", () => {
  test("ends exchanges that would go on for ever, and waits for their finalizers", () =>
    Effect.gen(function*() {
      const ended: Array<string> = []
      const stubborn = (exchange: App.Exchange) =>
        exchange.type === "lifespan" ? Effect.void : Effect.onExit(
          Effect.gen(function*() {
            if (exchange.type === "websocket") yield* exchange.send({ type: "websocket.accept" })
            if (exchange.type === "sse") yield* exchange.send({ type: "sse.start" })
            yield* Effect.never
          }),
          () => Effect.sync(() => ended.push(`${exchange.type} ${exchange.connection.disconnectReason}`))
        )
      yield* Effect.scoped(Effect.gen(function*() {
        const client = yield* TestClient.make(stubborn)
        const outer = yield* Scope.make()
        yield* Scope.provide(client.websocket("/"), outer)
        yield* Scope.provide(client.sse("/"), outer)
        yield* Effect.forkDetach(client.get("/"))
        yield* TestClient.settle
      }))
      assert.deepStrictEqual(ended.sort(), ["http client_closed", "sse server_shutdown", "websocket server_shutdown"])
    }))

  test("lets an application say goodbye first", () =>
    Effect.gen(function*() {
      const polite = App.websocket(({ connection, send }) =>
        Effect.gen(function*() {
          yield* send({ type: "websocket.accept" })
          yield* connection.shuttingDown
          yield* send({ type: "websocket.send", text: "goodbye" })
        })
      )
      const scope = yield* Scope.make()
      const client = yield* Scope.provide(TestClient.make(polite), scope)
      const session = yield* client.websocket("/")
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* session.receive, "goodbye")
    }))

  test("fails what is asked afterwards", () =>
    Effect.gen(function*() {
      for (const httpVersion of ["1.1", "2"] as const) {
        const client = yield* Effect.scoped(TestClient.make(hello, { httpVersion }))
        const error = yield* Effect.flip(client.get("/"))
        assert.strictEqual(error.reason._tag, "TransportError")
        assert.strictEqual((yield* Effect.flip(client.websocket("/")))._tag, "ConnectFailed")
      }
    }))
})

// ---- composed programs

class Greeter extends Context.Service<Greeter, {
  readonly greet: (name: string) => Effect.Effect<string>
  readonly forget: Effect.Effect<void>
}>()("test/layers/TestClientMemory/Greeter") {}

const greeting = App.http(({ scope, send }) =>
  Effect.gen(function*() {
    const greeter = yield* Greeter
    if (scope.path === "/forget") yield* greeter.forget
    yield* App.respond(send, 200, yield* greeter.greet(scope.path.slice(1)))
  })
)

const program = Server.serve(greeting).pipe(
  Layer.provide(Layer.mock(Greeter, { greet: (name) => Effect.succeed(`Hello, ${name}`) })),
  Layer.provideMerge(TestClient.layer()),
  Layer.provide(capture().layer)
)

layer(program)("TestClient.layer", (it) => {
  it.effect("serves a composed program, with services in the place of others [W146] [W148]", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.TestClient
      assert.strictEqual(yield* (yield* client.get("/Ada")).text, "Hello, Ada")
      assert.isAtLeast((yield* (yield* Server.Server).stats).totalExchanges, 1)
    }))

  it.effect("shows where a part was used that is not there", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.TestClient
      assert.include(String(yield* defectOf(client.get("/forget"))), "Greeter")
    }))
})

describe("TestClient.layer", () => {
  test("has a client that waits for nobody: before anything is served, requests fail", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.TestClient
      assert.strictEqual((yield* Effect.flip(client.get("/"))).reason._tag, "TransportError")
      yield* (yield* Server.Server).serve(hello)
      assert.strictEqual((yield* client.get("/")).status, 200)
    }).pipe(Effect.provide(TestClient.layer())))

  test("leaves no connection behind, whether a response is read or not", () =>
    Effect.gen(function*() {
      const server = yield* Server.Server
      yield* server.serve(
        App.http(({ scope, send }) => scope.path === "/fails" ? Effect.die("broken") : App.respond(send, 200, "hello"))
      )
      const client = yield* TestClient.TestClient
      yield* client.get("/")
      yield* client.get("/fails")
      yield* (yield* client.get("/")).text
      yield* TestClient.settle
      const { connections, totalConnections } = yield* server.stats
      assert.deepStrictEqual([connections, totalConnections], [0, 3])
    }).pipe(Effect.provide(TestClient.layer({ raiseAppErrors: false }))))

  test("gives services to the application, and takes them back", () =>
    Effect.gen(function*() {
      const released = yield* Deferred.make<void>()
      const client = yield* TestClient.make(greeting).pipe(
        Effect.provideService(Greeter, {
          greet: (name) => Effect.succeed(`Hi, ${name}`),
          forget: Effect.asVoid(Deferred.succeed(released, undefined))
        })
      )
      assert.strictEqual(yield* (yield* client.get("/forget")).text, "Hi, forget")
      yield* Deferred.await(released)
    }))
})
