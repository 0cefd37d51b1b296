import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import { capture } from "../../utils/logs.ts"
import { serve } from "../../utils/serve.ts"
import * as Sockets from "../../utils/sockets.ts"

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
const hello = App.http(({ send }) => App.respond(send, 200, "hello"))
const quiet = Effect.provide(capture().layer)

/** Reads the body to its end, then answers with its length. */
const upload = App.http(({ receive, send }) => {
  const readAll = (length: number): Effect.Effect<number> =>
    Effect.flatMap(receive, (event) => {
      if (event.type !== "http.request") return Effect.never
      return event.more ? readAll(length + event.body.length) : Effect.succeed(length + event.body.length)
    })
  return Effect.flatMap(readAll(0), (length) => App.respond(send, 200, String(length)))
})

/** Keeps why exchanges ended, and whether their application was interrupted. */
const watching = (handler: (exchange: App.HttpExchange) => Effect.Effect<void, unknown>) => {
  const ends: Array<string> = []
  const app = App.http((exchange) => {
    exchange.connection.onDisconnect((reason) => ends.push(reason))
    return Effect.onInterrupt(handler(exchange), () => Effect.sync(() => ends.push("interrupted")))
  })
  return { app, ends }
}

describe("timeouts", () => {
  describe("keepAliveTimeout", () => {
    it.effect("counts from the end of an answer, not during a request [C141] [W8]", () =>
      Effect.gen(function*() {
        const app = App.http(({ scope, send }) =>
          Effect.andThen(Effect.sleep(scope.path === "/slow" ? "10 minutes" : 0), App.respond(send, 200, scope.path))
        )
        const { connect } = yield* serve(app)
        const client = yield* connect()
        yield* client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        yield* TestClock.adjust("10 minutes")
        assert.include(yield* client.read, "/slow")
        yield* TestClock.adjust("59 seconds")
        assert.isFalse(yield* client.isEnded)
        yield* client.send("GET /fast HTTP/1.1\r\nHost: a\r\n\r\n")
        yield* TestClock.adjust("59 seconds")
        assert.include(yield* client.read, "/fast")
        assert.isFalse(yield* client.isEnded)
        yield* TestClock.adjust("3 seconds")
        assert.strictEqual(yield* client.read, "")
        assert.isTrue(yield* client.isEnded)
      }))

    it.effect("closes the whole connection, whether the client closes its side or not", () =>
      Effect.gen(function*() {
        const { connect, server } = yield* serve(hello, { keepAliveTimeout: "2 seconds" })
        yield* (yield* connect()).send(get)
        yield* TestClock.adjust("4 seconds")
        yield* ServerMemory.settle
        assert.strictEqual((yield* server.stats).connections, 0)
      }))

    it.effect("is off at 0", () =>
      Effect.gen(function*() {
        const { connect } = yield* serve(hello, { keepAliveTimeout: 0 })
        const client = yield* connect()
        yield* client.send(get)
        yield* TestClock.adjust("2 hours")
        assert.isFalse(yield* client.isEnded)
      }))
  })

  describe("headerTimeout", () => {
    it.effect("answers 408 to a head that arrives too slowly, however often bytes come [C143]", () =>
      Effect.gen(function*() {
        const { connect, server } = yield* serve(hello)
        const client = yield* connect()
        for (const byte of "GET / HTTP") {
          assert.isFalse(yield* client.isEnded)
          yield* client.send(byte)
          yield* TestClock.adjust("1 second")
        }
        yield* TestClock.adjust("2 seconds")
        assert.match(yield* client.read, /^HTTP\/1.1 408 .*connection: close/s)
        assert.isTrue(yield* client.isEnded)
        assert.strictEqual((yield* server.stats).totalRefused, 1)
        assert.strictEqual((yield* server.stats).totalExchanges, 0)
      }))

    it.effect("holds for every request of a connection, from its first byte", () =>
      Effect.gen(function*() {
        const { connect } = yield* serve(hello)
        const client = yield* connect()
        yield* client.send(get)
        yield* TestClock.adjust("50 seconds")
        yield* client.send("GET /")
        yield* TestClock.adjust("9 seconds")
        yield* client.read
        assert.isFalse(yield* client.isEnded)
        yield* TestClock.adjust("3 seconds")
        assert.match(yield* client.read, /^HTTP\/1.1 408 /)
      }))

    it.effect("closes a connection that says nothing at all, without a word", () =>
      Effect.gen(function*() {
        const { connect, server } = yield* serve(hello)
        const client = yield* connect()
        yield* TestClock.adjust("12 seconds")
        assert.strictEqual(yield* client.readAll, "")
        assert.strictEqual((yield* server.stats).totalRefused, 0)
        assert.strictEqual((yield* server.stats).connections, 0)
      }))
  })

  describe("bodyTimeout", () => {
    const post = (length: number) => `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`

    it.effect("answers 408 with client_timeout when no byte of the body comes [C142] [C143] [W8]", () =>
      Effect.gen(function*() {
        const { app, ends } = watching(upload)
        const { connect } = yield* serve(app)
        const client = yield* connect()
        yield* client.send(post(3))
        yield* TestClock.adjust("29 seconds")
        assert.deepStrictEqual(ends, [])
        yield* TestClock.adjust("3 seconds")
        assert.match(yield* client.read, /^HTTP\/1.1 408 .*connection: close/s)
        assert.deepStrictEqual(ends, ["client_timeout", "interrupted"])
        assert.isTrue(yield* client.isEnded)
      }))

    it.effect("starts again with every byte that comes [C142]", () =>
      Effect.gen(function*() {
        const { app, ends } = watching(upload)
        const { connect } = yield* serve(app)
        const client = yield* connect()
        yield* client.send(post(5))
        for (const byte of "12345") {
          yield* TestClock.adjust("28 seconds")
          yield* client.send(byte)
        }
        assert.match(yield* client.read, /^HTTP\/1.1 200 .*\r\n\r\n5$/s)
        assert.deepStrictEqual(ends, [])
      }))

    it.effect("does not count while the application is busy with something else", () =>
      Effect.gen(function*() {
        const { app, ends } = watching((exchange) => Effect.andThen(Effect.sleep("10 minutes"), upload(exchange)))
        const { connect } = yield* serve(app)
        const client = yield* connect()
        yield* client.send(post(3))
        yield* TestClock.adjust("10 minutes")
        yield* TestClock.adjust("20 seconds")
        yield* client.send("abc")
        assert.match(yield* client.read, /^HTTP\/1.1 200 /)
        assert.deepStrictEqual(ends, [])
      }))
  })

  describe("requestTimeout", () => {
    it.effect("interrupts an application that takes too long, and answers 408 [C143]", () =>
      Effect.gen(function*() {
        const { app, ends } = watching(() => Effect.never)
        const { connect } = yield* serve(app, { requestTimeout: "5 seconds" })
        const client = yield* connect()
        yield* client.send(get)
        yield* TestClock.adjust("4 seconds")
        assert.deepStrictEqual(ends, [])
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(ends, ["client_timeout", "interrupted"])
        assert.match(yield* client.read, /^HTTP\/1.1 408 /)
      }))

    it.effect("cuts an answer that is still being sent, so that the client sees that it is not whole [C143]", () =>
      Effect.gen(function*() {
        const { app, ends } = watching(({ send }) =>
          Effect.gen(function*() {
            yield* send({ type: "http.response.start", status: 200 })
            while (true) {
              yield* send({ type: "http.response.body", body: "tick ", more: true })
              yield* Effect.sleep("1 second")
            }
          })
        )
        const { connect } = yield* serve(app, { requestTimeout: "5 seconds" })
        const client = yield* connect()
        yield* client.send(get)
        yield* TestClock.adjust("10 seconds")
        const answer = yield* client.readAll
        assert.include(answer, "tick")
        assert.notInclude(answer, "\r\n0\r\n")
        assert.deepStrictEqual(ends, ["client_timeout", "interrupted"])
      }))

    it.effect("is off by default", () =>
      Effect.gen(function*() {
        const { app, ends } = watching(({ send }) =>
          Effect.andThen(Effect.sleep("2 hours"), App.respond(send, 200, "at last"))
        )
        const { connect } = yield* serve(app)
        const client = yield* connect()
        yield* client.send(get)
        yield* TestClock.adjust("2 hours")
        assert.include(yield* client.read, "at last")
        assert.deepStrictEqual(ends, [])
      }))
  })

  describe("writeTimeout", () => {
    const big = (bytes: number) =>
      watching(({ send }) =>
        Effect.andThen(
          send({ type: "http.response.start", status: 200, headers: [["content-length", String(bytes * 2)]] }),
          Effect.andThen(
            send({ type: "http.response.body", body: new Uint8Array(bytes), more: true }),
            send({ type: "http.response.body", body: new Uint8Array(bytes) })
          )
        )
      )

    it.effect("cuts a client that takes nothing of the answer, with write_timeout [C142] [W8]", () =>
      Effect.gen(function*() {
        const { app, ends } = big(200_000)
        const { connect, server } = yield* serve(app)
        const client = yield* connect()
        yield* client.pause
        yield* client.send(get)
        yield* TestClock.adjust("29 seconds")
        assert.deepStrictEqual(ends, [])
        yield* TestClock.adjust("4 seconds")
        assert.deepStrictEqual(ends, ["write_timeout", "interrupted"])
        assert.strictEqual((yield* server.stats).connections, 0)
      }))

    it.effect("starts again whenever the client takes something [C142]", () =>
      Effect.gen(function*() {
        const piece = 100_000
        const { app, ends } = watching(({ send }) =>
          Effect.gen(function*() {
            yield* send({ type: "http.response.start", status: 200, headers: [["content-length", String(piece * 5)]] })
            for (let n = 1; n <= 5; n++) {
              yield* send({ type: "http.response.body", body: new Uint8Array(piece), more: n < 5 })
            }
          })
        )
        const { connect } = yield* serve(app, { networkBufferBytes: 1000 })
        const client = yield* connect()
        let received = 0
        yield* client.pause
        yield* client.send(get)
        for (let turn = 0; turn < 10; turn++) {
          yield* TestClock.adjust("28 seconds")
          yield* client.resume
          yield* client.pause
          received += (yield* client.read).length
        }
        assert.deepStrictEqual(ends, [])
        assert.isAbove(received, piece * 5)
      }))

    it.effect("cuts a client that does not take the end of an answer, which the application has finished", () =>
      Effect.gen(function*() {
        const app = App.http(({ send }) => App.respond(send, 200, new Uint8Array(500_000)))
        const { connect, server } = yield* serve(app)
        const client = yield* connect()
        yield* client.pause
        yield* client.send(get)
        assert.strictEqual((yield* server.stats).exchanges, 1)
        yield* TestClock.adjust("33 seconds")
        assert.strictEqual((yield* server.stats).exchanges, 0)
        assert.strictEqual((yield* server.stats).connections, 0)
      }))

    it.effect("leaves a client alone that slowly reads the last answer of its connection", () =>
      Effect.gen(function*() {
        const size = 60_000
        const piece = { type: "http.response.body", body: new Uint8Array(size / 3), more: true } as const
        const app = App.http(({ send }) =>
          Effect.gen(function*() {
            yield* send({ type: "http.response.start", status: 200, headers: [["content-length", String(size)]] })
            yield* send(piece)
            yield* send(piece)
            yield* send({ ...piece, more: false })
          })
        )
        const { connect, server } = yield* serve(app, { networkBufferBytes: 1000 })
        const client = yield* connect()
        yield* client.pause
        yield* client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        yield* TestClock.adjust("20 seconds")
        yield* client.resume
        const answer = yield* client.readAll
        assert.strictEqual(answer.length - answer.indexOf("\r\n\r\n") - 4, size)
        yield* client.end
        assert.strictEqual((yield* server.stats).connections, 0)
      }))

    it.effect("sees that a large piece is moving, over sockets", () =>
      Effect.gen(function*() {
        const { app, ends } = big(60_000_000)
        const server = yield* ServerNode.make({ port: 0 })
        yield* server.serve(app)
        const client = yield* Sockets.connect((yield* server.addresses)[0]!, { keep: 0 })
        client.socket.pause()
        yield* client.send(get)
        // The operating system takes what it can of the first piece; from here on the client decides.
        for (let turn = 0; turn < 300; turn++) yield* Sockets.turn
        for (let n = 0; n < 4; n++) {
          yield* TestClock.adjust("25 seconds")
          const before = client.receivedBytes
          client.socket.resume()
          yield* Sockets.until(() => client.receivedBytes > before + 5_000_000)
          client.socket.pause()
          for (let turn = 0; turn < 300; turn++) yield* Sockets.turn
        }
        assert.deepStrictEqual(ends, [])
        // Until the operating system has come to rest, it may take a little more.
        for (let n = 0; n < 20 && ends.length === 0; n++) {
          yield* TestClock.adjust("33 seconds")
          for (let turn = 0; turn < 100; turn++) yield* Sockets.turn
        }
        assert.deepStrictEqual(ends, ["write_timeout", "interrupted"])
        yield* Sockets.until(() => client.isEnded || (client.socket.resume(), false))
        assert.isBelow(client.receivedBytes, 60_000_000)
      }).pipe(quiet))
  })

  it.effect("moves everything with one clock: a server of idle connections empties itself", () =>
    Effect.gen(function*() {
      const { connect, server } = yield* serve(hello)
      const clients = yield* Effect.forEach(Array.from({ length: 50 }), () => connect())
      for (const client of clients) yield* client.send(get)
      assert.strictEqual((yield* server.stats).connections, 50)
      const fiber = yield* Effect.forkChild(
        Effect.forEach(clients, (client) => client.ended, { concurrency: "unbounded" })
      )
      yield* TestClock.adjust("62 seconds")
      yield* Fiber.join(fiber)
      yield* ServerMemory.settle
      assert.strictEqual((yield* server.stats).connections, 0)
    }))
})
