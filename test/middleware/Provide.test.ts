import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import * as App from "../../src/app/App.ts"
import * as Handler from "../../src/app/Handler.ts"
import * as Provide from "../../src/middleware/Provide.ts"
import * as Server from "../../src/service/Server.ts"
import * as Fake from "../utils/exchange.ts"
import { bodyOf, serve } from "../utils/serve.ts"

class Transaction extends Context.Service<Transaction, { readonly number: number }>()("test/Transaction") {}

/** Transactions with numbers from 1, and a log of how they began and ended. */
const transactions = () => {
  const log: Array<string> = []
  let count = 0
  const layer = Layer.effect(
    Transaction,
    Effect.acquireRelease(
      Effect.sync(() => {
        log.push(`begin ${++count}`)
        return { number: count }
      }),
      ({ number }, exit) => Effect.sync(() => void log.push(`end ${number} ${exit._tag}`))
    )
  )
  return { log, layer }
}

const number = Transaction.use(({ number }) => Effect.succeed(number))

const answerNumber = Handler.make(Effect.map(number, (number) => HttpServerResponse.text(String(number))))

describe("Provide", () => {
  describe("perRequest", () => {
    it.effect("builds the services for each exchange and releases them when it ends [C215]", () =>
      Effect.gen(function*() {
        const { layer, log } = transactions()
        const app = Provide.perRequest(layer)(answerNumber)
        assert.deepStrictEqual(log, [])
        const { connect } = yield* serve(app)
        const client = yield* connect()
        const bodies: Array<string> = []
        for (let request = 0; request < 2; request++) {
          yield* client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
          bodies.push(bodyOf(yield* client.read))
        }
        assert.deepStrictEqual(bodies, ["1", "2"])
        assert.deepStrictEqual(log, ["begin 1", "end 1 Success", "begin 2", "end 2 Success"])
      }))

    it.effect("gives everything inside one exchange the same services [C215]", () =>
      Effect.gen(function*() {
        const { layer, log } = transactions()
        const app = Provide.perRequest(layer)(
          Handler.make(Effect.map(Effect.all([number, number]), (numbers) => HttpServerResponse.jsonUnsafe(numbers)))
        )
        assert.deepStrictEqual((yield* Fake.request(app)).json, [1, 1])
        assert.lengthOf(log, 2)
      }))

    it.effect("keeps exchanges that run at the same time apart [C215]", () =>
      Effect.gen(function*() {
        const { layer, log } = transactions()
        const gate = yield* Deferred.make<void>()
        const app = Provide.perRequest(layer)(
          App.http(({ send }) =>
            Effect.flatMap(Effect.tap(number, () => Deferred.await(gate)), (n) => App.respond(send, 200, String(n)))
          )
        )
        const { connect } = yield* serve(app)
        const clients = yield* Effect.all([connect(), connect()])
        for (const client of clients) yield* client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        yield* ServerMemory.settle
        assert.deepStrictEqual(log, ["begin 1", "begin 2"])
        yield* Deferred.succeed(gate, undefined)
        const bodies = yield* Effect.forEach(clients, (client) => Effect.map(client.read, bodyOf))
        assert.deepStrictEqual(bodies, ["1", "2"])
      }))

    it.effect("releases them when the client leaves [C215]", () =>
      Effect.gen(function*() {
        const { layer, log } = transactions()
        const app = Provide.perRequest(layer)(App.http(() => Effect.andThen(number, Effect.never)))
        const { connect } = yield* serve(app)
        const client = yield* connect()
        yield* client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        yield* ServerMemory.settle
        assert.deepStrictEqual(log, ["begin 1"])
        yield* client.reset
        yield* ServerMemory.settle
        assert.deepStrictEqual(log, ["begin 1", "end 1 Failure"])
      }))

    it.effect("releases them when the App fails [C215]", () =>
      Effect.gen(function*() {
        const { layer, log } = transactions()
        const failing = App.http(() => Effect.andThen(number, Effect.fail("boom")))
        assert.strictEqual(yield* Effect.flip(Fake.request(Provide.perRequest(layer)(failing))), "boom")
        assert.deepStrictEqual(log, ["begin 1", "end 1 Failure"])
      }))

    it.effect("builds them anew although the program was built with the same Layer", () =>
      Effect.gen(function*() {
        const { layer, log } = transactions()
        const program = Layer.effectDiscard(Effect.gen(function*() {
          const app = Provide.perRequest(layer)(answerNumber)
          assert.strictEqual((yield* Fake.request(app)).text, "2")
          assert.strictEqual((yield* Fake.request(app)).text, "3")
        }))
        yield* Effect.scoped(Layer.build(Layer.provide(program, layer)))
        assert.strictEqual(log.at(-1), "end 1 Success")
      }))

    it.effect("makes them of the exchange when it is given a function", () =>
      Effect.gen(function*() {
        const app = answerNumber
        const numbered = Provide.perRequest((exchange) =>
          Layer.succeed(Transaction, { number: exchange.scope.path.length })
        )
        assert.strictEqual((yield* Fake.request(numbered(app), { target: "/four" })).text, "5")
      }))

    it.effect("fails as the Layer does, before the App has run", () =>
      Effect.gen(function*() {
        let ran = false
        const broken: Layer.Layer<Transaction, "no database"> = Layer.effect(Transaction, Effect.fail("no database"))
        const app: App.App<"no database"> = Provide.perRequest(broken)(() =>
          Effect.sync(() => {
            ran = true
          })
        )
        assert.strictEqual(yield* Effect.flip(Fake.request(app)), "no database")
        assert.isFalse(ran)
      }))

    it.effect("takes what the Layer needs from the program [C215]", () =>
      Effect.gen(function*() {
        class Pool extends Context.Service<Pool, { readonly take: Effect.Effect<number> }>()("test/Pool") {}
        const fromPool = Layer.effect(
          Transaction,
          Pool.use((pool) => Effect.map(pool.take, (number) => ({ number })))
        )
        const app: App.App<unknown, Pool> = Provide.perRequest(fromPool)(answerNumber)
        let taken = 0
        const pool = Layer.succeed(Pool, { take: Effect.sync(() => ++taken) })
        const ask = Effect.suspend(() => Effect.map(Fake.request(app), ({ text }) => text))
        const numbers = yield* Effect.provide(Effect.all([ask, ask]), pool)
        assert.deepStrictEqual(numbers, ["1", "2"])
      }))

    it.effect("lets the lifespan through without building anything", () =>
      Effect.gen(function*() {
        const { layer, log } = transactions()
        const types: Array<string> = []
        const app = Provide.perRequest(layer)((exchange) => Effect.sync(() => void types.push(exchange.type)))
        yield* serve(app)
        assert.deepStrictEqual([types, log], [["lifespan"], []])
      }))
  })

  describe("services of the program", () => {
    class First extends Context.Service<First, { readonly next: Effect.Effect<number> }>()("test/First") {}
    class Second extends Context.Service<Second, { readonly name: string }>()("test/Second") {}

    const steps = (log: Array<string>, name: string) =>
      Effect.acquireRelease(
        Effect.sync(() => void log.push(`open ${name}`)),
        () => Effect.sync(() => void log.push(`close ${name}`))
      )

    it.effect("are built in order before the first accept, and released in reverse after the last exchange [C215]", () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        let count = 0
        const first = Layer.effect(First, Effect.as(steps(log, "first"), { next: Effect.sync(() => ++count) }))
        const second = Layer.effect(Second, Effect.andThen(First, Effect.as(steps(log, "second"), { name: "second" })))
        const app = (exchange: App.Exchange) =>
          Effect.gen(function*() {
            log.push(exchange.type)
            if (exchange.type !== "http") return
            const { next } = yield* First
            const { name } = yield* Second
            // A factory is a function (or an effect) in a service: each use makes anew.
            yield* App.respond(exchange.send, 200, `${name} ${yield* next} ${yield* next}`)
          })
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(
          Server.serve(app).pipe(Layer.provide(second), Layer.provide(first), Layer.provideMerge(ServerMemory.layer())),
          scope
        )
        assert.deepStrictEqual(log, ["open first", "open second", "lifespan"])
        const client = yield* Context.get(context, ServerMemory.Network).connect()
        yield* client.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert.strictEqual(bodyOf(yield* client.readAll), "second 1 2")
        yield* Scope.close(scope, Exit.void)
        assert.deepStrictEqual(log, ["open first", "open second", "lifespan", "http", "close second", "close first"])
      }))

    it.effect("stop the start when one cannot be built, and release what was built [C215]", () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const first = Layer.effect(First, Effect.as(steps(log, "first"), { next: Effect.succeed(0) }))
        const second = Layer.effect(Second, Effect.andThen(First, Effect.fail("no second")))
        const app = () => Effect.andThen(Second, Effect.sync(() => void log.push("app")))
        const program = Server.serve(app).pipe(
          Layer.provide(second),
          Layer.provide(first),
          Layer.provide(ServerMemory.layer())
        )
        assert.strictEqual(yield* Effect.flip(Effect.scoped(Layer.build(program))), "no second")
        assert.deepStrictEqual(log, ["open first", "close first"])
      }))
  })
})
