import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import * as TestClock from "effect/testing/TestClock"
import * as AccessLogMemory from "../../../layers/AccessLogMemory.ts"
import type { App } from "../../../src/app/App.ts"
import type { Address, Server } from "../../../src/service/Server.ts"
import { capture, type Line } from "../../utils/logs.ts"
import { bodyOf, headerOf } from "../../utils/serve.ts"
import * as Sockets from "../../utils/sockets.ts"
import { ask, connect, request, secure, serving, telling } from "./client.ts"

/** Runs with a metric registry of its own, and everything logged in `lines`. */
const watched = <A, E, R>(test: (lines: ReadonlyArray<Line>) => Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const logs = capture()
    return test(logs.lines).pipe(
      Effect.provideService(References.MinimumLogLevel, "Debug"),
      Effect.provide(logs.layer),
      Effect.provideService(Metric.MetricRegistry, new Map())
    )
  })

/** What was refused so far, by kind. */
const refusals = Effect.map(Metric.snapshot, (snapshot) =>
  Object.fromEntries(
    snapshot.flatMap((metric) =>
      metric.type === "Counter" && metric.id === "http_server_refused_requests_total"
        ? [[metric.attributes!["kind"]!, Number(metric.state.count)]]
        : []
    )
  ))

/** Lets the event loop go round until so many of a kind were refused. */
const refused = (kind: string, count: number): Effect.Effect<void> =>
  Effect.flatMap(
    refusals,
    (kinds) => kinds[kind] === count ? Effect.void : Effect.andThen(Sockets.turn, refused(kind, count))
  )

/** Lets the event loop go round until the server has so many connections. */
const connections = (server: typeof Server.Service, count: number): Effect.Effect<void> =>
  Effect.flatMap(
    server.stats,
    (stats) => stats.connections === count ? Effect.void : Effect.andThen(Sockets.turn, connections(server, count))
  )

/** Enough turns of the event loop for whatever is under way on this machine. */
const settle = Effect.repeat(Sockets.turn, { times: 50 })

/** A TLS record that promises a handshake message and does not deliver it. */
const begun = new Uint8Array([0x16, 3, 1, 2, 0, 1, 0, 1])

const raw = (address: Address, bytes: string | Uint8Array) =>
  Effect.tap(Sockets.connect(address), (client) => bytes.length === 0 ? Effect.void : client.send(bytes))

describe("plain HTTP on a port that speaks https", () => {
  it.live("gets a whole and clear 400, is counted and logged", () =>
    watched((lines) =>
      Effect.gen(function*() {
        const access = yield* AccessLogMemory.make({ format: "%s %X" })
        const { address, server } = yield* serving({}).pipe(Effect.provide(access))
        const client = yield* raw(address, request)
        const answer = yield* client.readAll
        assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/)
        assert.strictEqual(headerOf(answer, "content-type"), "text/plain; charset=utf-8")
        assert.strictEqual(headerOf(answer, "connection"), "close")
        assert.strictEqual(headerOf(answer, "server"), "slipway")
        assert.isNotNaN(Date.parse(headerOf(answer, "date")!))
        assert.include(bodyOf(answer), "https://")
        assert.strictEqual(headerOf(answer, "content-length"), String(bodyOf(answer).length))
        assert.strictEqual((yield* server.stats).totalRefused, 1)
        assert.deepStrictEqual(yield* refusals, { PlainHttpOnTls: 1 })
        const memory = yield* Effect.provide(AccessLogMemory.Lines, access)
        assert.deepStrictEqual(yield* memory.lines, ["400 PlainHttpOnTls"])
        assert.isTrue(lines.some(({ level }) => level === "Debug"))
        assert.include(yield* ask(address), "200 OK")
      })
    ))

  it.live("gets it with a body on its way, without a reset", () =>
    watched(() =>
      Effect.gen(function*() {
        const { address } = yield* serving()
        const client = yield* raw(address, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n")
        yield* client.send(new Uint8Array(300_000))
        assert.include(yield* client.readAll, "https://")
        client.socket.end()
        yield* Sockets.until(() => client.socket.destroyed)
        assert.isFalse(client.socket.errored instanceof Error)
      })
    ))

  it.live("gets no body for HEAD", () =>
    watched(() =>
      Effect.gen(function*() {
        const { address } = yield* serving()
        const client = yield* raw(address, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert.strictEqual(bodyOf(yield* client.readAll), "")
      })
    ))

  it.live("gets it when it is HTTP/2, or comes byte by byte", () =>
    watched(() =>
      Effect.gen(function*() {
        const { address } = yield* serving()
        for (const bytes of ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "G", "G-FREE "]) {
          assert.match(yield* (yield* raw(address, bytes)).readAll, /^HTTP\/1\.1 400 /)
        }
      })
    ))

  it.effect("is closed after a while when it keeps its side open", () =>
    watched(() =>
      Effect.gen(function*() {
        const { address } = yield* serving()
        const client = yield* raw(address, request)
        yield* client.until(/https/)
        yield* TestClock.adjust("1 second")
        yield* settle
        assert.isFalse(client.socket.destroyed)
        yield* client.send("more")
        yield* TestClock.adjust("3 seconds")
        const write = Effect.sync(() => client.socket.write("x"))
        yield* Effect.repeat(Effect.andThen(write, Sockets.turn), { until: () => client.socket.destroyed })
        assert.deepStrictEqual(yield* refusals, { PlainHttpOnTls: 1 })
      })
    ))
})

describe("what is neither TLS nor HTTP", () => {
  for (
    const [what, bytes] of [
      ["binary garbage", new Uint8Array([0, 1, 2, 3, 255])],
      ["an old hello of SSL 2", new Uint8Array([0x80, 0x2e, 1, 0, 2])],
      ["a line end", "\r\n"],
      ["a long word", "x".repeat(100)]
    ] as const
  ) {
    it.live(`closes the connection without a word: ${what}`, () =>
      watched(() =>
        Effect.gen(function*() {
          const { address } = yield* serving()
          const client = yield* raw(address, bytes)
          assert.strictEqual(yield* client.readAll, "")
          yield* refused("NotTls", 1)
          assert.include(yield* ask(address), "200 OK")
        })
      ))
  }

  it.live("fails as a handshake when it only begins like one", () =>
    watched((lines) =>
      Effect.gen(function*() {
        const { address } = yield* serving()
        const client = yield* raw(address, new Uint8Array([0x16, 3, 1, 0, 4, 99, 99, 99, 99]))
        yield* client.readAll
        yield* refused("TlsHandshakeFailed", 1)
        assert.isTrue(
          lines.some(({ level, message }) => level === "Debug" && message.startsWith("No TLS with 127.0.0.1"))
        )
        assert.isFalse(lines.some(({ level }) => level === "Error"))
        assert.include(yield* ask(address), "200 OK")
      })
    ))
})

describe("handshakes", () => {
  for (const [what, bytes] of [["no byte", ""], ["a part of a hello", begun]] as const) {
    it.effect(`end after tlsHandshakeTimeout with ${what}, by the server's clock`, () =>
      watched(() =>
        Effect.gen(function*() {
          const { address } = yield* serving({ tlsHandshakeTimeout: "20 seconds" })
          const client = yield* raw(address, bytes)
          yield* settle
          yield* TestClock.adjust("19 seconds")
          yield* settle
          assert.isFalse(client.isEnded)
          yield* TestClock.adjust("2 seconds")
          yield* client.readAll
          assert.deepStrictEqual(yield* refusals, { TlsHandshakeTimeout: 1 })
        })
      ))
  }

  it.effect("that wait for a name end after tlsHandshakeTimeout too", () =>
    watched(() =>
      Effect.gen(function*() {
        const { tlsCert, tlsKey } = yield* secure
        const { address } = yield* serving({ tlsSni: [`a.test=${tlsCert},${tlsKey}`] })
        const client = yield* raw(address, begun)
        yield* settle
        yield* TestClock.adjust("11 seconds")
        yield* client.readAll
        assert.deepStrictEqual(yield* refusals, { TlsHandshakeTimeout: 1 })
      })
    ))

  it.effect("may take their time when tlsHandshakeTimeout is 0", () =>
    watched(() =>
      Effect.gen(function*() {
        const { address } = yield* serving({ tlsHandshakeTimeout: 0 })
        const client = yield* raw(address, begun)
        yield* settle
        yield* TestClock.adjust("10 minutes")
        yield* settle
        assert.isFalse(client.isEnded)
      })
    ))

  it.effect("that are complete have no deadline any more", () =>
    watched(() =>
      Effect.gen(function*() {
        const { address } = yield* serving({ headerTimeout: 0 })
        const client = yield* connect(address)
        yield* Sockets.turn
        yield* TestClock.adjust("30 seconds")
        yield* client.send(request)
        assert.include(yield* client.readAll, "200 OK")
        assert.deepStrictEqual(yield* refusals, {})
      })
    ))

  it.live("are at most tlsMaxHandshakes at once; further connections are closed and counted", () =>
    watched(() =>
      Effect.gen(function*() {
        const { address, server } = yield* serving({ tlsMaxHandshakes: 2 })
        const first = yield* raw(address, begun)
        const second = yield* raw(address, "")
        const third = yield* Sockets.connect(address)
        assert.strictEqual(yield* third.readAll, "")
        yield* refused("TooManyHandshakes", 1)
        assert.isFalse(first.isEnded || second.isEnded)
        first.socket.resetAndDestroy()
        yield* refused("TlsHandshakeFailed", 1)
        for (let open = 1; open <= 3; open++) {
          yield* connect(address)
          yield* connections(server, open)
        }
        assert.include(yield* ask(address), "200 OK")
        assert.deepStrictEqual(yield* refusals, { TooManyHandshakes: 1, TlsHandshakeFailed: 1 })
      })
    ))

  it.live("that a client gives up are counted at once, and hurt nobody", () =>
    watched((lines) =>
      Effect.gen(function*() {
        const { address } = yield* serving()
        for (const [count, leave] of (["end", "resetAndDestroy"] as const).entries()) {
          const client = yield* raw(address, begun)
          client.socket[leave]()
          yield* client.readAll
          yield* refused("TlsHandshakeFailed", count + 1)
        }
        assert.isFalse(lines.some(({ level }) => level === "Error" || level === "Warn"))
        assert.include(yield* ask(address), "200 OK")
      })
    ))

  it.live("are not counted for who only looks whether the port is open", () =>
    watched(() =>
      Effect.gen(function*() {
        const { address } = yield* serving({ tlsMaxHandshakes: 1 })
        for (const leave of ["end", "resetAndDestroy"] as const) {
          const client = yield* Sockets.connect(address)
          client.socket[leave]()
          yield* client.readAll
          yield* settle
        }
        assert.include(yield* ask(address), "200 OK")
        assert.deepStrictEqual(yield* refusals, {})
      })
    ))

  it.live("that are under way when the server stops come to their end, and to an answer", () =>
    watched(() =>
      Effect.gen(function*() {
        const { address, stop } = yield* serving({ lifespan: "off" })
        const accepted = yield* Sockets.connect(address)
        yield* settle
        const stopping = yield* Effect.forkChild(stop, { startImmediately: true })
        yield* settle
        const client = yield* connect(address, { socket: accepted.socket })
        yield* client.send(request)
        assert.include(yield* client.readAll, "200 OK")
        yield* Fiber.join(stopping)
        assert.deepStrictEqual(yield* refusals, {})
      })
    ))

  it.live("that do not are cut soon, while requests are answered", () =>
    watched(() =>
      Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        const app: App<unknown> = (exchange) => Effect.andThen(Deferred.await(gate), telling(exchange))
        const { address, server, stop } = yield* serving({ lifespan: "off" }, app)
        const asking = yield* connect(address)
        yield* asking.send(request)
        while ((yield* server.stats).exchanges === 0) yield* Sockets.turn
        const pending = [yield* raw(address, ""), yield* raw(address, begun)]
        const stopping = yield* Effect.forkChild(stop, { startImmediately: true })
        for (const client of pending) yield* client.readAll
        yield* Deferred.succeed(gate, undefined)
        assert.include(yield* asking.readAll, "200 OK")
        yield* Fiber.join(stopping)
        assert.deepStrictEqual(yield* refusals, {})
      })
    ))
})
