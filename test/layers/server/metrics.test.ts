import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as TestClock from "effect/testing/TestClock"
import * as App from "../../../src/app/App.ts"
import * as F from "../../utils/frames.ts"
import { capture } from "../../utils/logs.ts"
import { serve } from "../../utils/serve.ts"
import * as WebSocket from "../../utils/webSocket.ts"

const request = (method: string, path = "/", headers = "") => `${method} ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`
const hello = App.http(({ send }) => App.respond(send, 200, "hello"))
const byPath = App.http(({ scope, send }) => App.respond(send, Number(scope.path.slice(1))))

/** Everything the registry holds, by name and attributes; what nothing was counted in is left out. */
const numbers = Effect.map(Metric.snapshot, (snapshots) =>
  Object.fromEntries(
    snapshots.flatMap((metric): Array<[string, number]> => {
      const labels = Object.entries(metric.attributes ?? {}).map(([key, value]) => `${key}=${value}`).join(" ")
      const name = `${metric.id.replace("http_server_", "")}${labels === "" ? "" : ` ${labels}`}`
      const value = metric.type === "Counter"
        ? Number(metric.state.count)
        : metric.type === "Gauge"
        ? Number(metric.state.value)
        : metric.type === "Histogram"
        ? metric.state.count
        : NaN
      return value === 0 ? [] : [[name, value]]
    })
  ))

const withRegistry = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() =>
    effect.pipe(Effect.provideService(Metric.MetricRegistry, new Map()), Effect.provide(capture().layer))
  )

describe("metrics", () => {
  it.effect("publish what the server counts, all under http_server_", () =>
    withRegistry(Effect.gen(function*() {
      yield* serve(hello)
      const snapshot = yield* Metric.snapshot
      assert.deepStrictEqual(snapshot.map(({ id, type }) => `${id} ${type}`).sort(), [
        "http_server_active_requests Gauge",
        "http_server_active_sessions Gauge",
        "http_server_active_sessions Gauge",
        "http_server_connections_total Counter",
        "http_server_open_connections Gauge",
        "http_server_open_http2_connections Gauge",
        "http_server_received_bytes_total Counter",
        "http_server_request_duration_milliseconds Histogram",
        "http_server_sent_bytes_total Counter"
      ])
      for (const metric of snapshot) assert.isNotEmpty(metric.description)
    })))

  it.effect("count requests by method and status class", () =>
    withRegistry(Effect.gen(function*() {
      const { connect } = yield* serve(byPath)
      const client = yield* connect()
      for (
        const [method, status] of [["GET", 200], ["GET", 204], ["GET", 404], ["DELETE", 503], ["GET", 999]] as const
      ) {
        yield* client.send(request(method, `/${status}`))
      }
      const counted = yield* numbers
      assert.strictEqual(counted["requests_total method=GET status=2xx"], 2)
      assert.strictEqual(counted["requests_total method=GET status=4xx"], 1)
      assert.strictEqual(counted["requests_total method=GET status=5xx"], 1)
      assert.strictEqual(counted["requests_total method=DELETE status=5xx"], 1)
      assert.strictEqual(counted["request_duration_milliseconds"], 5)
    })))

  it.effect("count a request that was never answered with status class 0xx", () =>
    withRegistry(Effect.gen(function*() {
      const { connect } = yield* serve(App.http(() => Effect.never))
      const client = yield* connect()
      yield* client.send(request("GET"))
      yield* client.reset
      assert.strictEqual((yield* numbers)["requests_total method=GET status=0xx"], 1)
    })))

  it.effect("count unknown methods in one series, whatever clients invent", () =>
    withRegistry(Effect.gen(function*() {
      const { connect } = yield* serve(hello)
      const client = yield* connect()
      yield* client.send(request("GET"))
      const before = (yield* Metric.snapshot).length
      for (let n = 0; n < 50; n++) yield* client.send(request(`M${n}`))
      assert.strictEqual((yield* numbers)["requests_total method=OTHER status=2xx"], 50)
      assert.strictEqual((yield* Metric.snapshot).length, before + 6)
    })))

  it.effect("show requests in flight and open connections as they are", () =>
    withRegistry(Effect.gen(function*() {
      const { connect } = yield* serve(
        App.http(({ send }) => Effect.andThen(Effect.sleep("1 second"), App.respond(send, 200)))
      )
      const [one, two] = [yield* connect(), yield* connect()]
      yield* one.send(request("GET"))
      yield* two.send(request("GET"))
      assert.strictEqual((yield* numbers)["active_requests"], 2)
      assert.strictEqual((yield* numbers)["open_connections"], 2)
      yield* TestClock.adjust("1 second")
      yield* one.end
      assert.isUndefined((yield* numbers)["active_requests"])
      assert.strictEqual((yield* numbers)["open_connections"], 1)
      assert.strictEqual((yield* numbers)["connections_total"], 2)
    })))

  it.effect("show WebSockets, streams of events and HTTP/2 connections as they are, and time requests alone [W141]", () =>
    withRegistry(Effect.gen(function*() {
      const app = App.byType({
        http: ({ send }) => App.respond(send, 200),
        sse: ({ receive, send }) => Effect.andThen(receive, Effect.andThen(send({ type: "sse.start" }), receive)),
        websocket: ({ receive, send }) =>
          Effect.andThen(receive, Effect.andThen(send({ type: "websocket.accept" }), receive))
      })
      const { connect } = yield* serve(app, { lifespan: "off" })
      const [socket, feed, h2] = [yield* connect(), yield* connect(), yield* connect()]
      yield* socket.send(WebSocket.handshake())
      yield* feed.send(request("GET", "/feed", "accept: text/event-stream\r\n"))
      yield* h2.send(Buffer.concat([F.preface, F.settings(), F.get(1)]))
      const during = yield* numbers
      assert.strictEqual(during["active_sessions type=websocket"], 1)
      assert.strictEqual(during["active_sessions type=sse"], 1)
      assert.strictEqual(during["open_http2_connections"], 1)
      assert.strictEqual(during["open_connections"], 3)
      yield* TestClock.adjust("5 minutes")
      yield* socket.send(WebSocket.text("bye"))
      for (const client of [socket, feed, h2]) yield* client.reset
      yield* TestClock.adjust("1 minute")
      const after = yield* numbers
      assert.deepStrictEqual(Object.keys(after).filter((name) => /^(?:active|open)/.test(name)), [])
      assert.strictEqual(after["request_duration_milliseconds"], 1)
    })))

  it.effect("put durations into cumulative buckets of milliseconds", () =>
    withRegistry(Effect.gen(function*() {
      const app = App.http(({ scope, send }) =>
        Effect.andThen(Effect.sleep(Number(scope.path.slice(1))), App.respond(send, 200))
      )
      const { connect } = yield* serve(app)
      for (const millis of [0, 20, 20, 60_000]) {
        const client = yield* connect()
        yield* client.send(request("GET", `/${millis}`))
        yield* TestClock.adjust(millis)
      }
      const histogram = (yield* Metric.snapshot).find(({ type }) => type === "Histogram")
      assert.isTrue(histogram?.type === "Histogram")
      const state = histogram!.state as Metric.HistogramState
      const buckets = Object.fromEntries(state.buckets)
      assert.strictEqual(buckets[1], 1)
      assert.strictEqual(buckets[10], 1)
      assert.strictEqual(buckets[25], 3)
      assert.strictEqual(buckets[10_000], 3)
      assert.strictEqual(state.count, 4)
      assert.strictEqual(state.min, 0)
      assert.strictEqual(state.max, 60_000)
      assert.strictEqual(state.sum, 60_040)
    })))

  it.effect("count the bytes of connections, both ways", () =>
    withRegistry(Effect.gen(function*() {
      const { connect } = yield* serve(App.http(({ send }) => App.respond(send, 200, new Uint8Array(30_000))))
      const client = yield* connect()
      const text = request("GET")
      yield* client.send(text)
      const answer = yield* client.read
      assert.strictEqual((yield* numbers)["received_bytes_total"], text.length)
      assert.strictEqual((yield* numbers)["sent_bytes_total"], answer.length)
    })))

  it.effect("count what was refused, by kind", () =>
    withRegistry(Effect.gen(function*() {
      const { connect, server } = yield* serve(hello, { maxConnections: 2 })
      const keep = yield* connect()
      yield* keep.send(request("GET"))
      const garbage = yield* connect()
      const surplus = yield* connect()
      assert.match(yield* surplus.read, /^HTTP\/1.1 503 /)
      yield* garbage.send("GET / HTTP/1.1\r\n\r\n")
      assert.match(yield* garbage.read, /^HTTP\/1.1 400 /)
      const counted = yield* numbers
      const refused = Object.entries(counted).filter(([name]) => name.startsWith("refused_requests_total"))
      assert.strictEqual(counted["refused_requests_total kind=TooManyConnections"], 1)
      assert.strictEqual(refused.length, 2)
      assert.strictEqual((yield* server.stats).totalRefused, 2)
    })))

  it.effect("are one set of numbers for servers that share a registry", () =>
    withRegistry(Effect.gen(function*() {
      const servers = [yield* serve(hello), yield* serve(hello)]
      for (const { connect } of servers) yield* (yield* connect()).send(request("GET"))
      assert.strictEqual((yield* numbers)["requests_total method=GET status=2xx"], 2)
      assert.strictEqual((yield* numbers)["open_connections"], 2)
    })))

  it.effect("are apart for servers with registries of their own", () => {
    const one = withRegistry(Effect.gen(function*() {
      const { connect } = yield* serve(hello)
      yield* (yield* connect()).send(request("GET"))
      return (yield* numbers)["requests_total method=GET status=2xx"]
    }))
    return Effect.gen(function*() {
      assert.deepStrictEqual([yield* one, yield* one], [1, 1])
    })
  })
})
