import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { HttpServerError } from "effect/http/HttpServerError"
import { HttpServerRequest, upgradeChannel } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import * as ServerNode from "../../layers/ServerNode.ts"
import type * as App from "../../src/app/App.ts"
import * as Handler from "../../src/app/Handler.ts"
import { answerIn, request } from "../utils/answers.ts"
import { asked } from "../utils/asking.ts"
import { capture } from "../utils/logs.ts"
import { exchange, serve } from "../utils/serve.ts"
import { connect, until } from "../utils/sockets.ts"
import { serveStoppable } from "../utils/stoppable.ts"
import * as WebSocket from "../utils/webSocket.ts"

const upgradeLines = ["connection: Upgrade", "upgrade: echo/1"]
const switched = "HTTP/1.1 101 Switching Protocols"
/** What the server writes behind the head of a 101. */
const behind = (bytes: string): string => bytes.slice(bytes.indexOf("\r\n\r\n") + 4)

type Talk<E> = (
  socket: Socket.Socket,
  request: HttpServerRequest
) => Effect.Effect<unknown, E, Scope.Scope | HttpServerRequest>

const upgraded = <E>(talk: Talk<E>, view: (request: HttpServerRequest) => HttpServerRequest = (request) => request) =>
  Effect.flatMap(HttpServerRequest, (request) =>
    Effect.as(
      Effect.flatMap(view(request).upgrade, (socket) => talk(socket, request)),
      HttpServerResponse.empty()
    ))

/** Upgrades, runs `talk` in the request's scope, and returns. */
const upgrading = <E>(talk: Talk<E>): App.App<unknown> => Handler.make(upgraded(talk))

/** As an effect/http program has it: not interruptible by itself. */
const upgradingPlain = <E>(talk: Talk<E>): App.App<unknown> => Handler.fromHttpEffect(upgraded(talk))

const refused = (lines: ReadonlyArray<string>, start = "GET /") =>
  Effect.map(
    exchange(
      Handler.make(
        Effect.flatMap(
          Effect.flatMap(HttpServerRequest, (request) => request.upgrade),
          () => Effect.succeed(HttpServerResponse.text("upgrade is possible"))
        ).pipe(Effect.catch((error: HttpServerError) => Effect.succeed(HttpServerResponse.text(error.message))))
      ),
      typeof lines === "string" ? lines : request(start, lines)
    ),
    (bytes) => answerIn(bytes).body
  )

describe("a request for another protocol", () => {
  it.effect("is one when any line of Connection says so, and never over HTTP/1.0", () =>
    Effect.gen(function*() {
      const possible = "upgrade is possible"
      assert.strictEqual(yield* refused(["connection: keep-alive", "connection: x, UPGRADE", "upgrade: a/1"]), possible)
      assert.include(yield* refused(["upgrade: a/1"]), "Not a request that can be upgraded")
      assert.include(yield* refused(["connection: upgrade", "upgrade: ,"]), "Not a request that can be upgraded")
      const old = "GET / HTTP/1.0\r\nhost: a\r\nconnection: upgrade\r\nupgrade: a/1\r\n\r\n"
      assert.include(yield* refused(old as never), "Not a request that can be upgraded")
    }))

  it.effect("is answered with the headers of the upgrade whose socket is read, through a modified request too", () =>
    Effect.gen(function*() {
      const app = Handler.make(Effect.gen(function*() {
        const request = (yield* HttpServerRequest).modify({ url: "/elsewhere" })
        const first = yield* request.upgradeWith({ headers: { "x-n": "1" } })
        yield* request.upgradeWith({ headers: { "x-n": "2" } })
        yield* request.upgrade
        yield* first.reader
        return HttpServerResponse.empty()
      }))
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("GET /", upgradeLines))
      assert.match(yield* client.read, /\r\nx-n: 1\r\n/)
    }))

  it.effect("is switched to the first protocol of several", () =>
    Effect.gen(function*() {
      const app = upgrading((socket) => socket.reader)
      const bytes = yield* exchange(app, request("GET /", ["connection: upgrade", "upgrade: a/2, a/1", "upgrade: b"]))
      assert.match(bytes, /^HTTP\/1.1 101 .*\r\nupgrade: a\/2\r\n/)
    }))

  it.effect("can be upgraded once: the second reader fails, and the first goes on", () =>
    Effect.gen(function*() {
      const app = upgrading((socket, request) =>
        Effect.gen(function*() {
          const again = yield* request.upgrade
          const { pull } = yield* socket.reader
          const error = yield* Effect.flip(again.reader)
          const writer = yield* socket.writer
          yield* writer.write(`${error.reason._tag} `)
          const [bytes] = yield* pull
          yield* writer.writeAll([bytes, "!"])
        })
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("GET /", upgradeLines))
      yield* client.send("hey")
      assert.strictEqual(behind(yield* client.read), "SocketOpenError hey!")
    }))

  it.effect("is not upgraded with a header that breaks the message: the handler still answers", () =>
    Effect.gen(function*() {
      const app = Handler.make(Effect.gen(function*() {
        const request = yield* HttpServerRequest
        const socket = yield* request.upgradeWith({ headers: { "x-a": "1\r\nx-b: 2" } })
        const error = yield* Effect.flip(Effect.scoped(socket.reader))
        return HttpServerResponse.text(error.reason._tag, { status: 409 })
      }))
      const answer = answerIn(yield* exchange(app, request("GET /", upgradeLines)))
      assert.deepStrictEqual([answer.status, answer.body, answer.header("x-b")], [409, "SocketOpenError", undefined])
    }))

  it.effect("writes what was written before the reader was there, in order", () =>
    Effect.gen(function*() {
      const app = upgrading((socket) =>
        Effect.gen(function*() {
          const writer = yield* socket.writer
          const early = yield* Effect.forkChild(
            Effect.andThen(writer.write("one "), writer.writeAll(["two ", new Uint8Array([51])])),
            { startImmediately: true }
          )
          yield* Effect.yieldNow
          yield* socket.reader
          yield* Fiber.join(early)
        })
      )
      const bytes = yield* exchange(app, request("GET /", upgradeLines))
      assert.strictEqual(behind(bytes), "one two 3")
    }))

  for (const lines of [[...upgradeLines].reverse(), WebSocket.handshakeLines]) {
    it.effect(`does not keep a writer that nobody opened when the client leaves: ${lines[0]}`, () =>
      Effect.gen(function*() {
        const started = Latch.makeUnsafe()
        const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
        const app = upgradingPlain((socket) =>
          Effect.flatMap(socket.writer, (writer) => Effect.andThen(started.open, writer.write("early"))).pipe(
            Effect.onExit((exit) => Deferred.succeed(ended, exit))
          )
        )
        const { connect, server } = yield* serve(app)
        const client = yield* connect()
        yield* client.send(request("GET /", lines))
        yield* started.await
        yield* client.reset
        yield* Deferred.await(ended)
        yield* ServerMemory.settle
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }))
  }

  it.effect("lets several fibers write at once, all of them held back by the client", () =>
    Effect.gen(function*() {
      const done: Array<number> = []
      const app = upgrading((socket) =>
        Effect.gen(function*() {
          yield* socket.reader
          const writer = yield* socket.writer
          yield* Effect.forEach([1, 2, 3], (n) =>
            Effect.andThen(
              Effect.forEach(Array.from({ length: 10 }), () => writer.write(String(n).repeat(20_000))),
              Effect.sync(() => done.push(n))
            ), { concurrency: 3 })
        })
      )
      const { connect } = yield* serve(app, { networkBufferBytes: 1_000 })
      const client = yield* connect()
      yield* client.pause
      yield* client.send(request("GET /", upgradeLines))
      assert.deepStrictEqual(done, [])
      yield* client.resume
      const bytes = behind(yield* client.readAll)
      assert.strictEqual(bytes.length, 600_000)
      assert.deepStrictEqual([...done].sort(), [1, 2, 3])
    }))

  it.effect("lets go of a writer that is interrupted while the client takes nothing", () =>
    Effect.gen(function*() {
      const app = upgrading((socket) =>
        Effect.gen(function*() {
          yield* socket.reader
          const writer = yield* socket.writer
          const stuck = yield* Effect.forkChild(Effect.forever(writer.write("x".repeat(50_000))), {
            startImmediately: true
          })
          yield* ServerMemory.settle
          yield* Fiber.interrupt(stuck)
          yield* writer.write("end")
        })
      )
      const { connect } = yield* serve(app, { networkBufferBytes: 1_000 })
      const client = yield* connect()
      yield* client.pause
      yield* client.send(request("GET /", upgradeLines))
      yield* client.resume
      assert.match(behind(yield* client.readAll), /^x+end$/)
    }))

  it.effect("tells both of two pulls that the client has gone", () =>
    Effect.gen(function*() {
      const ends: Array<string> = []
      const over = yield* Deferred.make<void>()
      const app = upgradingPlain((socket) =>
        Effect.gen(function*() {
          const { pull } = yield* socket.reader
          const end = Effect.map(Effect.flip(pull), (error) => ends.push(error.reason._tag))
          yield* Effect.all([end, end], { concurrency: 2 })
          yield* Deferred.succeed(over, undefined)
        })
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("GET /", upgradeLines))
      yield* client.reset
      yield* Deferred.await(over)
      assert.deepStrictEqual(ends, ["SocketCloseError", "SocketCloseError"])
    }))

  it.effect("loses nothing of what comes after a pull was interrupted", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const app = upgrading((socket) =>
        Effect.gen(function*() {
          const { pull } = yield* socket.reader
          const writer = yield* socket.writer
          yield* Effect.timeoutOption(pull, "1 second")
          yield* Deferred.succeed(interrupted, undefined)
          const [bytes] = yield* pull
          yield* writer.write(bytes)
        })
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("GET /", upgradeLines))
      yield* TestClock.adjust("1 second")
      yield* Deferred.await(interrupted)
      yield* client.send("late")
      assert.strictEqual(behind(yield* client.read), "late")
    }))

  it.effect("answers a client that has ended its side, and says so once it has read everything", () =>
    Effect.gen(function*() {
      const app = upgrading((socket) =>
        Effect.gen(function*() {
          const { pull } = yield* socket.reader
          const writer = yield* socket.writer
          const [bytes] = yield* pull
          const { reason } = yield* Effect.flip(pull)
          yield* writer.write(`${new TextDecoder().decode(bytes as Uint8Array)} ${reason.message}`)
        })
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("GET /", upgradeLines))
      yield* client.send("all")
      yield* client.end
      assert.strictEqual(behind(yield* client.read), "all 1000")
      assert.isTrue(yield* client.isEnded)
    }))

  it.effect("ends with a CloseEvent; what is written after it goes nowhere, what had come is still read", () =>
    Effect.gen(function*() {
      const read = yield* Deferred.make<ReadonlyArray<string>>()
      const app = upgrading((socket) =>
        Effect.gen(function*() {
          const { pull } = yield* socket.reader
          const writer = yield* socket.writer
          yield* ServerMemory.settle
          yield* writer.write("last")
          yield* writer.write(new Socket.CloseEvent())
          yield* writer.write("nothing")
          const [bytes] = yield* pull
          const { reason } = yield* Effect.flip(pull)
          yield* Deferred.succeed(read, [String(bytes), reason.message])
        })
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("GET /", upgradeLines) + "A")
      assert.strictEqual(behind(yield* client.read), "last")
      assert.isTrue(yield* client.isEnded)
      assert.deepStrictEqual(yield* Deferred.await(read), ["A", "1000"])
    }))

  it.effect("does not reset a client that is still sending when the handler ends", () =>
    Effect.gen(function*() {
      const app = upgrading((socket) =>
        Effect.gen(function*() {
          yield* socket.reader
          const writer = yield* socket.writer
          yield* ServerMemory.settle
          yield* writer.write("last")
        })
      )
      const { connect, server } = yield* serve(app, { networkBufferBytes: 1_000 })
      const client = yield* connect()
      yield* client.pause
      yield* client.send(request("GET /", upgradeLines))
      for (let i = 0; i < 10; i++) yield* client.send("x".repeat(1_000))
      yield* client.resume
      assert.strictEqual(behind(yield* client.read), "last")
      assert.isTrue(yield* client.isEnded)
      assert.isFalse(yield* client.wasReset)
      assert.strictEqual(yield* client.unsentBytes, 0)
      assert.strictEqual((yield* server.stats).connections, 1)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* server.stats).connections, 0)
    }))

  it.effect("cuts a client that does not stop sending after the end", () =>
    Effect.gen(function*() {
      const { connect, server } = yield* serve(upgrading((socket) => socket.reader))
      const client = yield* connect()
      yield* client.send(request("GET /", upgradeLines))
      assert.isTrue(yield* client.isEnded)
      for (let i = 0; i < 20; i++) yield* client.send("x".repeat(100_000))
      assert.strictEqual((yield* server.stats).connections, 0)
    }))

  it.effect("interrupts a handler whose client resets while it writes", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
      const app = upgrading((socket) =>
        Effect.gen(function*() {
          yield* socket.reader
          const writer = yield* socket.writer
          yield* Effect.forever(writer.write("x".repeat(10_000)))
        }).pipe(Effect.onExit((exit) => Deferred.succeed(ended, exit)))
      )
      const { connect, server } = yield* serve(app, { networkBufferBytes: 1_000 })
      const client = yield* connect()
      yield* client.pause
      yield* client.send(request("GET /", upgradeLines))
      yield* client.reset
      const exit = yield* Deferred.await(ended)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
      yield* ServerMemory.settle
      const { connections, exchanges } = yield* server.stats
      assert.deepStrictEqual([connections, exchanges], [0, 0])
    }))

  it.effect("cuts a client that takes nothing of what was written before the end", () =>
    Effect.gen(function*() {
      const app = upgrading((socket) =>
        Effect.gen(function*() {
          yield* socket.reader
          const writer = yield* socket.writer
          yield* writer.write("x".repeat(50_000))
        })
      )
      const { connect, server } = yield* serve(app, { networkBufferBytes: 1_000, writeTimeout: "10 seconds" })
      const client = yield* connect()
      yield* client.pause
      yield* client.send(request("GET /", upgradeLines))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* server.stats).connections, 1)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* server.stats).connections, 0)
    }))

  it.effect("logs 101 and the bytes of the tunnel, and reads no request behind it", () =>
    Effect.gen(function*() {
      const app = upgrading((socket) =>
        Effect.gen(function*() {
          const { pull } = yield* socket.reader
          const writer = yield* socket.writer
          const [bytes] = yield* pull
          yield* writer.write(bytes)
        })
      )
      const smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
      const { answer, errors, lines } = yield* asked(
        app,
        request("POST /t", [...upgradeLines, "content-length: 3"], "abc") + smuggled
      )
      assert.strictEqual(behind(answer), smuggled)
      assert.deepStrictEqual(lines, [`POST /t 101 ${smuggled.length} -`])
      assert.deepStrictEqual(errors, [])
    }))

  it.effect("is cut with its connection when the handler fails, and answered when it fails before", () =>
    Effect.gen(function*() {
      const late = yield* asked(
        Handler.fromHttpEffect(upgraded((socket) => Effect.andThen(socket.reader, Effect.die("late")))),
        request("GET /", upgradeLines)
      )
      assert.isTrue(late.answer.startsWith(switched))
      assert.isTrue(late.isEnded)
      const early = yield* exchange(upgrading(() => Effect.die("early")), request("GET /", upgradeLines))
      assert.strictEqual(answerIn(early).status, 500)
    }))

  it.effect("is ended by a timeout around the App", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
      const inner = upgrading((socket) =>
        Effect.flatMap(socket.reader, ({ pull }) => pull).pipe(
          Effect.onExit((exit) => Deferred.succeed(ended, exit))
        )
      )
      const app: App.App<unknown> = (exchange) => Effect.ignore(Effect.timeout(inner(exchange), "1 second"))
      const { connect, server } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("GET /", upgradeLines))
      yield* TestClock.adjust("1 second")
      assert.isTrue(Exit.hasInterrupts(yield* Deferred.await(ended)))
      assert.isTrue(yield* client.isEnded)
      assert.strictEqual((yield* server.stats).exchanges, 0)
    }))

  it.effect("gets its body thrown away first, even when part of it was read", () =>
    Effect.gen(function*() {
      const app = upgrading((socket, request) =>
        Effect.gen(function*() {
          const start = yield* Stream.runHead(request.stream)
          const { pull } = yield* socket.reader
          const [bytes] = yield* pull
          const writer = yield* socket.writer
          yield* writer.write(`${start._tag} ${new TextDecoder().decode(bytes as Uint8Array)}`)
        })
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("POST /", [...upgradeLines, "transfer-encoding: chunked"]) + "3\r\nabc\r\n")
      yield* client.send("3\r\ndef\r\n0\r\n\r\nbehind")
      assert.strictEqual(behind(yield* client.read), "Some behind")
    }))

  it.effect("fails to open when the client leaves in the middle of the body", () =>
    Effect.gen(function*() {
      const seen = yield* Deferred.make<string>()
      const app = upgradingPlain((socket) =>
        Effect.flatMap(Effect.flip(socket.reader), (error) => Deferred.succeed(seen, error.reason._tag))
      )
      const { connect, server } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("POST /", [...upgradeLines, "content-length: 10"], "abc"))
      yield* client.reset
      assert.strictEqual(yield* Deferred.await(seen), "SocketOpenError")
      yield* ServerMemory.settle
      assert.strictEqual((yield* server.stats).exchanges, 0)
    }))

  it.effect("ends at shutdownTimeout and disconnectGrace when its handler cannot be interrupted", () =>
    Effect.gen(function*() {
      const app = upgradingPlain((socket) => Effect.andThen(socket.reader, Effect.never))
      const { connect, stop } = yield* serveStoppable(app, {
        shutdownTimeout: "1 second",
        disconnectGrace: "2 seconds"
      })
      const client = yield* connect()
      yield* client.send(request("GET /", upgradeLines))
      const stopping = yield* stop
      assert.isFalse(yield* client.isEnded)
      yield* TestClock.adjust("1 second")
      assert.isTrue(yield* client.isEnded)
      assert.isUndefined(stopping.pollUnsafe())
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(stopping)
    }))
})

it.live("keeps what it said last from a reset, on sockets too", () =>
  Effect.gen(function*() {
    const go = Latch.makeUnsafe()
    const app = upgrading((socket) =>
      Effect.gen(function*() {
        yield* socket.reader
        const writer = yield* socket.writer
        yield* go.await
        yield* writer.write("x".repeat(100_000))
      })
    )
    const server = yield* ServerNode.make({ port: 0, host: "127.0.0.1" })
    yield* server.serve(app).pipe(Effect.provide(capture().layer))
    const client = yield* connect((yield* server.addresses)[0]!)
    yield* client.send(request("GET /", upgradeLines))
    yield* client.until(/101 Switching/)
    yield* client.send("y".repeat(200_000))
    yield* go.open
    const bytes = behind(yield* client.readAll)
    assert.strictEqual(bytes.length, 100_000)
    client.socket.end()
    yield* until(() => client.socket.destroyed)
  }))

describe("an upgraded WebSocket", () => {
  it.effect("carries a channel until the client closes", () =>
    Effect.gen(function*() {
      const heard = yield* Deferred.make<ReadonlyArray<string>>()
      const app = Handler.make(Effect.gen(function*() {
        const words: Array<string> = []
        const end = yield* Stream.make("one", "two").pipe(
          Stream.pipeThroughChannel(upgradeChannel()),
          Stream.decodeText,
          Stream.runForEach((word) => Effect.sync(() => words.push(word))),
          Effect.flip
        )
        yield* Deferred.succeed(heard, [...words, (end as Socket.SocketError).message])
        return HttpServerResponse.empty()
      }))
      const { connect } = yield* serve(app)
      const session = yield* WebSocket.open(connect)
      yield* session.send(WebSocket.text("three"), WebSocket.close(1000))
      assert.deepStrictEqual(yield* session.said, ["text one", "text two", "close 1000"])
      assert.deepStrictEqual(yield* Deferred.await(heard), ["three", "1000"])
    }))

  it.effect("can be opened once, and neither opens nor writes after the client has gone", () =>
    Effect.gen(function*() {
      const again = yield* Deferred.make<string>()
      const app = upgradingPlain((socket) =>
        Effect.gen(function*() {
          yield* socket.reader
          const error = yield* Effect.flip(socket.reader)
          yield* Deferred.succeed(again, error.reason._tag)
        })
      )
      const { connect } = yield* serve(app)
      const session = yield* WebSocket.open(connect)
      assert.strictEqual(yield* Deferred.await(again), "SocketOpenError")
      assert.deepStrictEqual(yield* session.said, ["close 1000"])
    }))

  it.effect("fails a write with a code that may not be sent, and says 1001 to a client whose handler is timed out", () =>
    Effect.gen(function*() {
      const seen = yield* Deferred.make<string>()
      const inner = upgrading((socket) =>
        Effect.gen(function*() {
          const { pull } = yield* socket.reader
          const writer = yield* socket.writer
          const error = yield* Effect.flip(writer.write(new Socket.CloseEvent(1005)))
          yield* Deferred.succeed(seen, error.reason._tag)
          yield* pull
        })
      )
      const { connect } = yield* serve((exchange) => Effect.ignore(Effect.timeout(inner(exchange), "1 second")))
      const session = yield* WebSocket.open(connect)
      assert.strictEqual(yield* Deferred.await(seen), "SocketWriteError")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* session.said, ["close 1001"])
    }))

  it.effect("ends at once with the server: 1001, and the handler is interrupted", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<Exit.Exit<unknown, unknown>>()
      const app = upgrading((socket) =>
        Effect.flatMap(socket.reader, ({ pull }) => Effect.forever(pull)).pipe(
          Effect.onExit((exit) => Deferred.succeed(ended, exit))
        )
      )
      const { connect, stop } = yield* serveStoppable(app, { shutdownTimeout: "10 seconds" })
      const session = yield* WebSocket.open(connect)
      const stopping = yield* stop
      assert.deepStrictEqual(yield* session.said, ["close 1001"])
      const exit = yield* Deferred.await(ended)
      assert.isTrue(Exit.hasInterrupts(exit))
      yield* session.send(WebSocket.close(1001))
      yield* session.client.end
      yield* Fiber.join(stopping)
    }))
})
