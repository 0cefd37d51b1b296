/**
 * One program with everything that a test can swap: server, clock, chance, access log, log, metrics, and services. It
 * runs twice, and every byte that it leaves behind is the same; what asks the machine for the time, for a number or for
 * an order shows up here.
 *
 * A service joins with its Layer in `services` and with a `Talk` that uses it in `talks`.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Metric from "effect/Metric"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as AccessLogMemory from "../../layers/AccessLogMemory.ts"
import * as PubSubMemory from "../../layers/PubSubMemory.ts"
import * as TestClient from "../../layers/TestClient.ts"
import * as WorkerPoolInline from "../../layers/WorkerPoolInline.ts"
import type * as App from "../../src/app/App.ts"
import * as Events from "../../src/app/Events.ts"
import * as Handler from "../../src/app/Handler.ts"
import * as JsonRpc from "../../src/app/JsonRpc.ts"
import * as Lifespan from "../../src/app/Lifespan.ts"
import * as Rooms from "../../src/app/Rooms.ts"
import * as Router from "../../src/app/Router.ts"
import * as WorkerTask from "../../src/app/WorkerTask.ts"
import * as Provide from "../../src/middleware/Provide.ts"
import { PubSub } from "../../src/service/PubSub.ts"
import * as Server from "../../src/service/Server.ts"
import { WorkerPool } from "../../src/service/WorkerPool.ts"

class Tickets extends Context.Service<Tickets, { readonly draw: Effect.Effect<number> }>()("test/Tickets") {
  static readonly layer = Layer.effect(
    Tickets,
    Effect.gen(function*() {
      yield* Effect.acquireRelease(Effect.logInfo("Tickets open"), () => Effect.logInfo("Tickets close"))
      return { draw: Random.nextIntBetween(1, 1_000_000) }
    })
  )
}

class Visit extends Context.Service<Visit, { readonly name: string }>()("test/Visit") {}

const Sold = Schema.Struct({ ticket: Schema.Int })

class TicketEvents extends Events.Service<TicketEvents>()("test/TicketEvents", { sold: Sold }) {}

/** Listens for as long as the program runs. */
const bookkeeping = TicketEvents.on(
  "sold",
  ({ ticket }) =>
    Effect.andThen(Effect.flatMap(Random.nextIntBetween(1, 200), Effect.sleep), Effect.logInfo("Booked", { ticket }))
)

/** Takes its time in a worker. */
const price = WorkerTask.make(
  "price",
  { input: Schema.Int, success: Schema.Int },
  (ticket) => Effect.flatMap(Random.nextIntBetween(1, 300), (millis) => Effect.as(Effect.sleep(millis), ticket % 100))
)

/** What the program stands on, each by the Layer that tests use. */
const services = Layer.mergeAll(
  Tickets.layer,
  Layer.provideMerge(bookkeeping, TicketEvents.layer),
  WorkerPoolInline.layer({ module: WorkerTask.module([price]), maxWorkers: 2 })
).pipe(Layer.provideMerge(PubSubMemory.layer()))

type Services = Layer.Success<typeof services>

const drawn = Metric.counter("tickets_drawn_total", { description: "Tickets drawn", incremental: true })

/** Takes a while that chance decides about. */
const draw = Effect.gen(function*() {
  yield* Effect.sleep(yield* Random.nextIntBetween(1, 400))
  const ticket = yield* Tickets.use(({ draw }) => draw)
  yield* Metric.update(Metric.withAttributes(drawn, { parity: ticket % 2 === 0 ? "even" : "odd" }), 1)
  yield* Effect.logInfo("Drawn", { ticket, at: yield* Clock.currentTimeMillis })
  return ticket
}).pipe(Effect.withLogSpan("draw"))

const routes = Router.make(
  Router.get(
    "/tickets/:owner",
    { path: { owner: Schema.String }, success: Schema.Int },
    ({ path }) => Effect.annotateLogs(draw, { owner: path.owner })
  ),
  Router.get("/broken", () => Effect.andThen(draw, Effect.die(new Error("out of tickets")))),
  Router.get("/never", () => Effect.never),
  Router.sse("/feed", { data: Schema.Int }, () => Effect.succeed(Stream.take(Stream.fromEffectRepeat(draw), 3))),
  Router.websocket(
    "/chat",
    { message: Schema.String },
    ({ session }) =>
      session.sendAll(
        Stream.mapEffect(session.messages, (message) => Effect.map(draw, (ticket) => `${message} ${ticket}`))
      )
  ),
  Router.post("/sales", { success: Schema.Int }, () =>
    Effect.gen(function*() {
      const ticket = yield* draw
      yield* (yield* TicketEvents).emit("sold", { ticket })
      return yield* WorkerPool.use((pool) => pool.run(price, ticket))
    })),
  Router.websocket(
    "/rooms/:room",
    { path: { room: Schema.String }, message: Schema.String },
    ({ path, session }) =>
      Effect.gen(function*() {
        const rooms = yield* Rooms.make(session)
        yield* rooms.join(`rooms.${path.room}`, { last: 2 })
        yield* rooms.channel.track(`rooms.${path.room}`, rooms.channel.name)
        yield* Stream.runForEach(
          session.messages,
          (text) => rooms.broadcast(`rooms.${path.room}`, text, { keep: 5, delay: text.length })
        )
      })
  ),
  Router.mount(
    "/visit",
    Provide.perRequest(({ connection }) => Layer.succeed(Visit, { name: connection.requestId }))(
      Handler.make(Effect.map(Visit, ({ name }) => HttpServerResponse.text(name, { headers: { "x-visit": name } })))
    )
  ),
  Router.mount("/rpc", JsonRpc.make(JsonRpc.method("draw", { success: Schema.Int }, () => draw)).app)
)

const app: App.App<unknown, Services> = Lifespan.hooks({
  startup: (state) => Effect.map(draw, (ticket) => void (state["first"] = ticket)),
  shutdown: () => Effect.logInfo("Stopping")
})(routes)

/** One client's story: what it got, as text. */
type Talk = (client: TestClient.Client, name: string) => Effect.Effect<unknown, unknown, Scope.Scope | Services>

const talks: Readonly<Record<string, Talk>> = {
  requests: (client, name) =>
    Effect.forEach(
      [`/tickets/${name}`, "/visit", "/nowhere", "/broken", `/tickets/${name}`],
      (path) =>
        Effect.flatMap(client.get(path), (response) =>
          Effect.map(response.text, (text) => [response.status, response.headers, text]))
    ),
  "requests that time out": (client) => Effect.map(client.get("/never"), ({ status }) => status),
  "a JSON-RPC call": (client, id) =>
    Effect.flatMap(client.post("/rpc", { json: { jsonrpc: "2.0", id, method: "draw" } }), ({ text }) => text),
  "a stream of events": (client) => Effect.flatMap(client.sse("/feed"), ({ events }) => Stream.runCollect(events)),
  "a WebSocket": (client, name) =>
    Effect.gen(function*() {
      const session = yield* client.websocket("/chat")
      yield* Effect.repeat(session.sendJson(name), { schedule: Schedule.spaced("250 millis"), times: 3 })
      const answers = yield* Effect.replicateEffect(session.receiveJson, 4)
      return [answers, (yield* session.close()).message]
    }),
  sales: (client) => Effect.flatMap(client.post("/sales"), ({ text }) => text),
  "a room": (client, name) =>
    Effect.gen(function*() {
      const session = yield* client.websocket("/rooms/hall")
      yield* session.sendJson(`${name} is here`)
      const heard = yield* Effect.replicateEffect(session.receiveJson, 2)
      const presence = yield* PubSub.use((pubsub) => pubsub.presence.list("rooms.hall"))
      yield* session.close()
      return [heard, presence]
    })
}

/** Entries as text, without what differs between two runs in one process: the number of a fiber; and between machines. */
const logTo = (lines: Array<string>) =>
  Logger.map(Logger.formatStructured, (entry) => {
    lines.push(JSON.stringify({ ...entry, fiberId: undefined, cause: entry.cause?.split("\n")[0] }))
  })

const run = (seed: number) =>
  Effect.suspend(() => {
    const log: Array<string> = []
    const program = Effect.gen(function*() {
      const context = yield* Layer.build(
        Server.serve(app).pipe(
          Layer.provideMerge(services),
          Layer.provideMerge(TestClient.layer({ requestTimeout: "3 seconds", raiseAppErrors: false })),
          Layer.provideMerge(AccessLogMemory.layer({ format: "json" }))
        )
      ).pipe(Effect.forkScoped({ startImmediately: true }), Effect.tap(() => elapse), Effect.flatMap(Fiber.join))
      const client = Context.get(context, TestClient.TestClient)
      const told = yield* Effect.forEach(
        Object.entries(talks).flatMap(([title, talk]) => [1, 2, 3].map((n) => ({ name: `${title} ${n}`, talk }))),
        ({ name, talk }, index) =>
          Effect.scoped(Effect.andThen(Effect.sleep(index * 37), talk(client, name.replaceAll(" ", "-")))).pipe(
            Effect.map((got) => `${name}: ${JSON.stringify(got)}`),
            Effect.provideContext(context)
          ),
        { concurrency: "unbounded" }
      ).pipe(Effect.forkScoped, Effect.tap(() => elapse), Effect.flatMap(Fiber.join))
      const lines = Context.get(context, AccessLogMemory.Lines)
      return { told, running: yield* PrometheusMetrics.format(), accessLog: lines.lines }
    })
    // What stopping leaves behind is part of the run.
    return Effect.scoped(program).pipe(
      Effect.flatMap(({ accessLog, running, told }) =>
        Effect.all({
          told: Effect.succeed(told),
          accessLog,
          metrics: Effect.map(PrometheusMetrics.format(), (stopped) => running + stopped),
          log: Effect.sync(() => log)
        })
      ),
      Effect.provide(Logger.layer([logTo(log)])),
      Effect.provideService(References.MinimumLogLevel, "All"),
      Effect.provideService(Metric.MetricRegistry, new Map()),
      Random.withSeed(seed),
      Effect.provide(TestClock.layer())
    )
  })

/** Ten seconds, in steps short enough for those who wait for each other. */
const elapse = Effect.repeat(Effect.andThen(TestClient.settle, TestClock.adjust("50 millis")), { times: 200 })

describe("a program under a TestClock and a seeded Random", () => {
  for (const seed of [1, 2, 3]) {
    it.effect(`leaves the same bytes behind when it runs twice with seed ${seed}`, () =>
      Effect.gen(function*() {
        const one = yield* run(seed)
        const two = yield* run(seed)
        for (const part of ["told", "accessLog", "log"] as const) {
          assert.isNotEmpty(one[part])
          assert.deepStrictEqual(two[part], one[part], part)
        }
        assert.strictEqual(two.metrics, one.metrics)
      }))
  }

  it.effect("leaves others behind with another seed", () =>
    Effect.gen(function*() {
      const one = yield* run(1)
      const two = yield* run(2)
      for (const part of ["told", "accessLog", "log", "metrics"] as const) {
        assert.notDeepEqual(two[part], one[part], part)
      }
    }))

  it.effect("has used everything that it is made of", () =>
    Effect.gen(function*() {
      const { accessLog, log, metrics, told } = yield* run(1)
      assert.lengthOf(told, 3 * Object.keys(talks).length)
      const statuses = accessLog.map((line) => JSON.parse(line).status as number)
      for (const status of [200, 101, 404, 408, 500]) assert.include(statuses, status)
      const messages = log.join("\n")
      for (const text of ["Tickets open", "Drawn", "Booked", "out of tickets", "Stopping", "Tickets close"]) {
        assert.include(messages, text)
      }
      assert.match(metrics, /^tickets_drawn_total\{parity="odd"\} [1-9]/m)
      assert.match(metrics, /^pubsub_delivered_total\{backend="memory"\} [1-9]/m)
      assert.match(metrics, /^worker_pool_completed_tasks_total\{.*\} 3$/m)
      assert.match(metrics, /^http_server_requests_total\{method="GET",status="2xx"\} [1-9]/m)
    }))
})
