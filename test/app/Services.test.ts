import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import * as TestClient from "../../layers/TestClient.ts"
import * as App from "../../src/app/App.ts"
import * as Handler from "../../src/app/Handler.ts"
import * as JsonRpc from "../../src/app/JsonRpc.ts"
import * as Lifespan from "../../src/app/Lifespan.ts"
import * as Router from "../../src/app/Router.ts"
import * as Provide from "../../src/middleware/Provide.ts"
import * as Server from "../../src/service/Server.ts"
import { capture } from "../utils/logs.ts"
import { bodyOf } from "../utils/serve.ts"

const get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

class Numbers extends Context.Service<Numbers, { readonly next: Effect.Effect<number> }>()("test/Numbers") {}
class Database extends Context.Service<Database, { readonly name: string }>()("test/Database") {}
class Users extends Context.Service<Users, { readonly name: string }>()("test/Users") {}
class Mails extends Context.Service<Mails, { readonly name: string }>()("test/Mails") {}

const next = Numbers.use(({ next }) => next)

/** Writes down when it is opened and closed. */
const steps = (log: Array<string>, name: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      log.push(`open ${name}`)
      return { name }
    }),
    () => Effect.sync(() => void log.push(`close ${name}`))
  )

const databaseOf = (log: Array<string>) => Layer.effect(Database, steps(log, "database"))
const usersOf = (log: Array<string>) => Layer.effect(Users, Effect.andThen(Database, steps(log, "users")))
const mailsOf = (log: Array<string>) => Layer.effect(Mails, Effect.andThen(Database, steps(log, "mails")))

/** A program on a network of its own: its start, and its stop. */
const program = Effect.fnUntraced(function*<E>(serving: Layer.Layer<never, E, Server.Server>) {
  const memory = yield* Layer.build(ServerMemory.layer())
  const scope = yield* Scope.make()
  const { connect } = Context.get(memory, ServerMemory.Network)
  const start = Effect.asVoid(
    Layer.buildWithScope(Layer.provide(serving, Layer.succeedContext(memory)), scope)
  )
  return { connect, start, server: Context.get(memory, Server.Server), stop: Scope.close(scope, Exit.void) }
})

describe("services of the program", () => {
  it.effect("are one instance, which handlers of every kind reach [W80]", () =>
    Effect.gen(function*() {
      let built = 0
      const numbers = Layer.effect(
        Numbers,
        Effect.sync(() => {
          built++
          let last = 0
          return { next: Effect.sync(() => ++last) }
        })
      )
      const started: Array<number> = []
      const plain = App.byType({
        http: ({ send }) => Effect.flatMap(next, (n) => App.respond(send, 200, String(n))),
        sse: ({ send }) =>
          Effect.gen(function*() {
            yield* send({ type: "sse.start" })
            yield* send({ type: "sse.send", data: String(yield* next) })
          }),
        websocket: ({ send }) =>
          Effect.gen(function*() {
            yield* send({ type: "websocket.accept" })
            yield* send({ type: "websocket.send", text: String(yield* next) })
          })
      })
      const rpc = JsonRpc.make(JsonRpc.method("next", { success: Schema.Int }, () => next))
      const counted = <E, R>(app: App.App<E, R>): App.App<E, R | Numbers> => (exchange) =>
        Effect.andThen(exchange.type === "http" ? next : Effect.void, app(exchange))
      const routes = Router.make(
        Router.get("/route", { success: Schema.Int }, () => next),
        Router.use(counted, Router.get("/behind", { success: Schema.Int }, () => next)),
        Router.sse("/feed", { data: Schema.Int }, () => Effect.succeed(Stream.fromEffect(next))),
        Router.websocket("/talk", { message: Schema.Int }, ({ session }) => Effect.flatMap(next, session.send)),
        Router.mount("/handler", Handler.make(Effect.map(next, (n) => HttpServerResponse.text(String(n))))),
        Router.mount("/plain", plain),
        Router.mount("/rpc", rpc.app)
      )
      const app = Lifespan.hooks({ startup: () => Effect.map(next, (n) => void started.push(n)) })(routes)
      const context = yield* Layer.build(
        Server.serve(app).pipe(Layer.provide(numbers), Layer.provideMerge(TestClient.layer()))
      )
      const client = Context.get(context, TestClient.TestClient)
      const textOf = (path: string) => Effect.flatMap(client.get(path), ({ text }) => text)
      const first = (path: string) =>
        Effect.scoped(Effect.flatMap(client.websocket(path), (session) => session.receive))
      const event = (path: string) =>
        Effect.scoped(Effect.flatMap(client.sse(path), (feed) => Effect.map(feed.next, ({ data }) => data)))
      const called = Effect.flatMap(
        client.post("/rpc", { json: { jsonrpc: "2.0", id: 1, method: "next" } }),
        ({ json }) => Effect.map(json, (answer) => (answer as { readonly result: number }).result)
      )
      const seen = [
        ...started,
        yield* textOf("/route"),
        yield* textOf("/behind"),
        yield* event("/feed"),
        yield* first("/talk"),
        yield* textOf("/handler"),
        yield* textOf("/plain"),
        yield* event("/plain"),
        yield* first("/plain"),
        yield* called
      ].map(Number)
      // The middleware has taken 3.
      assert.deepStrictEqual(seen, [1, 2, 4, 5, 6, 7, 8, 9, 10, 11])
      assert.strictEqual(built, 1)
    }))

  it.effect("are built before the first accept, and closed in reverse after the last connection [W81]", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const slow = Layer.effect(
        Users,
        Effect.andThen(Effect.andThen(Database, Effect.sleep("5 seconds")), steps(log, "users"))
      )
      const app = App.http(({ connection, send }) =>
        Effect.gen(function*() {
          const { name } = yield* Users
          connection.onComplete(() => log.push("answered"))
          log.push("asked")
          yield* Effect.sleep("3 seconds")
          yield* App.respond(send, 200, name)
        })
      )
      const { connect, server, start, stop } = yield* program(
        Server.serve(app).pipe(Layer.provide(slow), Layer.provide(databaseOf(log)))
      )
      const starting = yield* Effect.forkChild(start, { startImmediately: true })
      yield* TestClock.adjust("4999 millis")
      assert.deepStrictEqual(log, ["open database"])
      assert.deepStrictEqual(yield* server.addresses, [])
      assert.isTrue(Exit.isFailure(yield* Effect.exit(connect())))
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(starting)
      const client = yield* connect()
      yield* client.send(get)
      const stopping = yield* Effect.forkChild(stop, { startImmediately: true })
      yield* ServerMemory.settle
      assert.deepStrictEqual(log, ["open database", "open users", "asked"])
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(bodyOf(yield* client.read), "users")
      assert.deepStrictEqual(log, ["open database", "open users", "asked", "answered"])
      yield* client.end
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(log.slice(4), ["close users", "close database"])
    }))

  it.effect("are closed after the exchanges that a stop had to cut [W81]", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const app = App.http(() =>
        Effect.andThen(Database, Effect.onInterrupt(Effect.never, () => Effect.sync(() => void log.push("cut"))))
      )
      const { connect, start, stop } = yield* program(Server.serve(app).pipe(Layer.provide(databaseOf(log))))
      yield* start
      const client = yield* connect()
      yield* client.send(get)
      const stopping = yield* Effect.forkChild(stop, { startImmediately: true })
      yield* TestClock.adjust("10 minutes")
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(log, ["open database", "cut", "close database"])
    }))

  class DatabaseUnavailable extends Data.TaggedError("DatabaseUnavailable")<{ readonly host: string }> {
    override get message() {
      return `The database at ${this.host} does not answer`
    }
  }

  it.effect("fail the start with the error that names them, listen nowhere, and close what was open [W81]", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const broken = Layer.effect(
        Users,
        Effect.andThen(Database, Effect.fail(new DatabaseUnavailable({ host: "db.example" })))
      )
      const app = App.http(() => Effect.andThen(Users, Effect.sync(() => void log.push("asked"))))
      const { connect, server, start, stop } = yield* program(
        Server.serve(app).pipe(Layer.provide(broken), Layer.provide(databaseOf(log)))
      )
      const error = yield* Effect.flip(start)
      assert.instanceOf(error, DatabaseUnavailable)
      assert.strictEqual(error.message, "The database at db.example does not answer")
      assert.deepStrictEqual(yield* server.addresses, [])
      assert.isTrue(Exit.isFailure(yield* Effect.exit(connect())))
      yield* stop
      assert.deepStrictEqual(log, ["open database", "close database"])
    }))

  it.effect("are each built once, before what needs them, whoever else needs them too [W83]", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const database = databaseOf(log)
      const app = App.http(({ send }) =>
        Effect.gen(function*() {
          const names = [(yield* Database).name, (yield* Users).name, (yield* Mails).name]
          yield* App.respond(send, 200, names.join(" "))
        })
      )
      const { connect, start, stop } = yield* program(
        Server.serve(app).pipe(
          Layer.provide([
            Layer.provide(usersOf(log), database),
            Layer.provide(mailsOf(log), database),
            database
          ])
        )
      )
      yield* start
      assert.strictEqual(log[0], "open database")
      assert.deepStrictEqual([...log].sort(), ["open database", "open mails", "open users"])
      const client = yield* connect()
      yield* client.send(get)
      assert.strictEqual(bodyOf(yield* client.read), "database users mails")
      yield* client.end
      yield* stop
      assert.strictEqual(log.at(-1), "close database")
      assert.lengthOf(log, 6)
    }))

  it.effect("that need each other do not compile, nor does an App without its services [W83]", () =>
    Effect.gen(function*() {
      const users = Layer.effect(Users, Effect.map(Mails, ({ name }) => ({ name: `users of ${name}` })))
      const mails = Layer.effect(Mails, Effect.map(Users, ({ name }) => ({ name: `mails of ${name}` })))
      const app = App.http(({ send }) => Users.use(({ name }) => App.respond(send, 200, name)))
      const circle = Layer.provide(users, mails)
      // @ts-expect-error Users are needed to make Users.
      const complete: Layer.Layer<never, unknown, Server.Server> = Server.serve(app).pipe(Layer.provide(circle))
      // @ts-expect-error Users are missing.
      const without: Layer.Layer<never, unknown, Server.Server> = Server.serve(app)
      assert.strictEqual(typeof without, "object")
      const { start } = yield* program(complete)
      assert.include(String(yield* Effect.exit(start)), "test/Users")
    }))
})

describe("services of an exchange", () => {
  class Transaction extends Context.Service<Transaction, { readonly number: number }>()("test/Transaction") {}

  const number = Transaction.use(({ number }) => Effect.succeed(number))

  const serving = Effect.fnUntraced(function*(app: App.App<unknown, Transaction>) {
    const log: Array<string> = []
    let count = 0
    const transaction = Layer.effect(
      Transaction,
      Effect.andThen(
        Database,
        Effect.acquireRelease(
          Effect.sync(() => {
            log.push(`begin ${++count}`)
            return { number: count }
          }),
          ({ number }, exit) => Effect.sync(() => void log.push(`end ${number} ${exit._tag}`))
        )
      )
    )
    const running = yield* program(
      Server.serve(Provide.perRequest(transaction)(app)).pipe(Layer.provide(databaseOf(log)))
    )
    yield* running.start
    return { ...running, log }
  })

  it.effect("are apart for requests at the same time, and stand on one service of the program [W82]", () =>
    Effect.gen(function*() {
      const { connect, log, stop } = yield* serving(
        App.http(({ send }) =>
          Effect.flatMap(Effect.delay(number, "1 second"), (n) => App.respond(send, 200, String(n)))
        )
      )
      const clients = yield* Effect.all([connect(), connect()])
      for (const client of clients) yield* client.send(get)
      assert.deepStrictEqual(log, ["open database", "begin 1", "begin 2"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Effect.forEach(clients, (client) => Effect.map(client.read, bodyOf)), ["1", "2"])
      for (const client of clients) yield* client.end
      yield* stop
      assert.deepStrictEqual([...log].sort(), [
        "begin 1",
        "begin 2",
        "close database",
        "end 1 Success",
        "end 2 Success",
        "open database"
      ])
      assert.strictEqual(log.at(-1), "close database")
    }))

  for (
    const [how, app] of [
      ["fails", App.http(() => Effect.andThen(number, Effect.fail("no")))],
      ["dies", App.http(() => Effect.andThen(number, Effect.die(new Error("no"))))]
    ] as ReadonlyArray<readonly [string, App.App<unknown, Transaction>]>
  ) {
    it.effect(`are cleaned up when the App ${how} [W82]`, () =>
      Effect.gen(function*() {
        const { connect, log } = yield* serving(app)
        const client = yield* connect()
        yield* client.send(get)
        assert.match(yield* client.read, /^HTTP\/1.1 500 /)
        assert.deepStrictEqual(log, ["open database", "begin 1", "end 1 Failure"])
      }).pipe(Effect.provide(capture().layer)))
  }

  const waits = Effect.andThen(number, Effect.never)
  const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

  for (
    const [kind, app, lines] of [
      ["request", App.http(() => waits), ""],
      ["stream of events", App.sse(() => waits), "Accept: text/event-stream\r\n"],
      ["WebSocket", App.websocket(({ send }) => Effect.andThen(send({ type: "websocket.accept" }), waits)), upgrade]
    ] as ReadonlyArray<readonly [string, App.App<unknown, Transaction>, string]>
  ) {
    it.effect(`are cleaned up when the client of a ${kind} leaves [W82]`, () =>
      Effect.gen(function*() {
        const { connect, log } = yield* serving(app)
        const client = yield* connect()
        yield* client.send(`GET / HTTP/1.1\r\nHost: h\r\n${lines}\r\n`)
        assert.deepStrictEqual(log, ["open database", "begin 1"])
        yield* client.reset
        yield* TestClock.adjust("5 seconds")
        yield* ServerMemory.settle
        assert.deepStrictEqual(log, ["open database", "begin 1", "end 1 Failure"])
      }))
  }
})
