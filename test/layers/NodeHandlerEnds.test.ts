import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import type { EventEmitter } from "node:events"
import type * as Http from "node:http"
import * as NodeHandler from "../../layers/NodeHandler.ts"
import { settle } from "../../layers/ServerMemory.ts"
import { answersIn } from "../utils/answers.ts"
import * as Fake from "../utils/exchange.ts"
import { capture } from "../utils/logs.ts"
import { answerTo, ask, connected } from "../utils/nodeHandlers.ts"
import { until } from "../utils/sockets.ts"
import { serveStoppable } from "../utils/stoppable.ts"

const quiet = Effect.provide(capture().layer)

const get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n"

/** Notes what a handler is told about the end of its request, in the order in which it is. */
const watching = (listener: NodeHandler.Listener) => {
  const events: Array<string> = []
  const note = (name: string, emitter: EventEmitter, ...types: ReadonlyArray<string>) => {
    for (const type of types) emitter.on(type, () => void events.push(`${name} ${type}`))
  }
  const watched: NodeHandler.Listener = (request, response) => {
    note("request", request, "aborted", "close")
    note("response", response, "finish", "close")
    note("socket", request.socket, "close")
    return listener(request, response)
  }
  return { events, app: NodeHandler.make(watched) }
}

describe("NodeHandler", () => {
  describe("a handler that answers", () => {
    it.effect("sees its response finish, and then close", () =>
      Effect.gen(function*() {
        const { app, events } = watching((_, response) => response.end("x"))
        yield* ask(app, "GET /")
        yield* until(() => events.includes("response close"))
        assert.deepStrictEqual(events.filter((event) => event.startsWith("response")), [
          "response finish",
          "response close"
        ])
        assert.notInclude(events, "request aborted")
      }).pipe(quiet))

    it.effect("may leave the request body unread", () =>
      Effect.gen(function*() {
        const { body, status } = yield* answerTo(
          (_, response) => response.writeHead(413).end("no"),
          "POST /",
          ["content-length: 60000"],
          "x".repeat(60_000)
        )
        assert.deepStrictEqual([status, body], [413, "no"])
      }).pipe(quiet))
  })

  describe("a slow side", () => {
    it.effect("makes the client wait while the handler does not read", () =>
      Effect.gen(function*() {
        let request: Http.IncomingMessage | undefined
        const app = NodeHandler.make((given, response) => {
          request = given
          let bytes = 0
          given.pause()
          given.on("data", (chunk: Buffer) => bytes += chunk.length)
          given.on("end", () => response.end(String(bytes)))
        })
        const { client, until: received } = yield* connected(app, { networkBufferBytes: 16_384 })
        yield* client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n")
        for (let sent = 0; sent < 100; sent++) yield* client.send("x".repeat(10_000))
        assert.isAbove(yield* client.unsentBytes, 500_000)
        request!.resume()
        yield* received(/\r\n\r\n1000000$/)
      }).pipe(quiet))

    it.effect("makes the handler wait while the client does not read", () =>
      Effect.gen(function*() {
        let drains = 0
        let response: Http.ServerResponse | undefined
        const app = NodeHandler.make((_, given) => {
          response = given
          given.on("drain", () => drains++)
          given.writeHead(200, { "content-length": 1_000_000 })
          while (given.write(Buffer.alloc(10_000, "x")));
        })
        const { client } = yield* connected(app, { networkBufferBytes: 16_384 })
        yield* client.pause
        yield* client.send(get)
        // Whatever the handler writes until nothing drains any more is all that is held for the client.
        let writtenBytes = 0
        const stuffed: Effect.Effect<void> = Effect.suspend(() => {
          const before = drains
          writtenBytes += 10_000
          response!.write(Buffer.alloc(10_000, "x"))
          return Effect.flatMap(client.unsentBytes, () =>
            Effect.flatMap(settle, () => drains === before && response!.writableNeedDrain ? Effect.void : stuffed))
        })
        yield* stuffed
        assert.isBelow(writtenBytes, 500_000)
        yield* client.resume
        yield* until(() =>
          response!.writableLength === 0
        )
        assert.isAbove(drains, 0)
      }).pipe(quiet))
  })

  describe("a client that leaves", () => {
    it.effect("closes request, response and socket, and nothing is logged", () => {
      const logs = capture()
      return Effect.gen(function*() {
        let socket: Http.IncomingMessage["socket"] | undefined
        const { app, events } = watching((request, response) => {
          socket = request.socket
          response.write("first")
        })
        const { client, server, until: received } = yield* connected(app)
        yield* client.send(get)
        yield* received(/first/)
        yield* client.reset
        yield* until(() => events.includes("response close"))
        assert.includeMembers(events, ["request close", "response close", "socket close"])
        assert.notInclude(events, "response finish")
        assert.isTrue(socket?.destroyed)
        assert.strictEqual((yield* server.stats).exchanges, 0)
        assert.deepStrictEqual(logs.lines.filter(({ level }) => level === "Error"), [])
      }).pipe(Effect.provide(logs.layer))
    })

    it.effect("fails the reading of a body that is not complete", () =>
      Effect.gen(function*() {
        let failure: NodeJS.ErrnoException | undefined
        let started = false
        const { app, events } = watching(async (request) => {
          try {
            for await (const _ of request) started = true
          } catch (error) {
            failure = error as NodeJS.ErrnoException
          }
        })
        const { client } = yield* connected(app)
        yield* client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc")
        yield* until(() => started)
        yield* client.reset
        yield* until(() => failure !== undefined)
        assert.strictEqual(failure?.code, "ECONNRESET")
        assert.include(events, "request aborted")
      }).pipe(quiet))

    it.effect("is the same to a handler whose exchange is interrupted without one", () =>
      Effect.gen(function*() {
        let isCalled = false
        const { app, events } = watching(() => void (isCalled = true))
        const fiber = yield* Effect.forkChild(app(Fake.make().exchange), { startImmediately: true })
        yield* until(() => isCalled)
        yield* Fiber.interrupt(fiber)
        yield* until(() => events.includes("response close"))
        assert.include(events, "socket close")
      }).pipe(quiet))
  })

  describe("a handler that fails", () => {
    for (
      const [how, listener] of [
        ["throws", () => {
          throw new Error("broken")
        }],
        ["rejects", () => Promise.reject(new Error("broken"))],
        ["throws after a write that nobody has seen", (_, response) => {
          response.write("x")
          throw new Error("broken")
        }]
      ] as ReadonlyArray<readonly [string, NodeHandler.Listener]>
    ) {
      it.effect(`and ${how} is logged and answered with 500`, () => {
        const logs = capture()
        return Effect.gen(function*() {
          for (const lines of [[], ["accept: text/event-stream"]]) {
            const { body, status } = yield* answerTo(listener, "GET /p%0A?secret", lines)
            assert.deepStrictEqual([status, body], [500, "Internal Server Error"])
            const errors = logs.lines.splice(0).filter(({ level }) => level === "Error")
            assert.deepStrictEqual(errors.length, 1)
            assert.include(`${errors[0]?.message} ${errors[0]?.cause}`, `failed on GET "/p\\n"`)
            assert.include(`${errors[0]?.message} ${errors[0]?.cause}`, "broken")
          }
        }).pipe(Effect.provide(logs.layer))
      })
    }

    it.effect("in the middle of its answer is logged and cut off", () => {
      const logs = capture()
      return Effect.gen(function*() {
        let fail = () => {}
        const { client, until: received } = yield* connected(NodeHandler.make((_, response) => {
          response.write("begun")
          return new Promise((_resolve, reject) => {
            fail = () => reject(new Error("broken"))
          })
        }))
        yield* client.send(get)
        yield* received(/begun/)
        fail()
        yield* client.ended
        assert.isFalse(answersIn(yield* received(/begun/))[0]?.complete)
        const errors = logs.lines.filter(({ level }) => level === "Error")
        assert.strictEqual(errors.length, 1)
        assert.include(errors[0]?.cause, "broken")
      }).pipe(Effect.provide(logs.layer))
    })

    it.effect("after its answer is logged", () => {
      const logs = capture()
      return Effect.gen(function*() {
        const { client, until: received } = yield* connected(
          NodeHandler.make((_, response) =>
            new Promise((_resolve, reject) => {
              response.on("finish", () => reject(new Error("broken")))
              response.end("whole")
            })
          )
        )
        yield* client.send(get)
        yield* received(/whole/)
        yield* until(() => logs.lines.some(({ message }) => message.includes("GET / failed after its answer")))
      }).pipe(Effect.provide(logs.layer))
    })

    it.effect("and closes its socket is logged: with 500 before its answer, cut off in it", () => {
      const logs = capture()
      return Effect.gen(function*() {
        const { status } = yield* answerTo((request) => request.socket.destroy(), "GET /")
        assert.strictEqual(status, 500)
        const bytes = yield* ask(
          NodeHandler.make((_, response) => {
            response.writeHead(200, { "content-length": 9 })
            response.write("some", () => response.destroy())
          }),
          "GET /"
        )
        assert.isFalse(bytes.includes("200") && answersIn(bytes)[0]!.complete)
        const errors = logs.lines.filter(({ level }) => level === "Error")
        assert.strictEqual(errors.length, 2)
        for (const { cause, message } of errors) assert.include(`${message} ${cause}`, "ended before it was complete")
      }).pipe(Effect.provide(logs.layer))
    })
  })

  describe("a handler that never answers", () => {
    it.effect("ends with the server's request timeout", () =>
      Effect.gen(function*() {
        const { app, events } = watching(() => {})
        const { client } = yield* connected(app, { requestTimeout: "5 seconds" })
        yield* client.send(get)
        yield* TestClock.adjust("7 seconds")
        yield* until(() => events.includes("response close"))
        assert.match(yield* client.readAll, /^HTTP\/1\.1 408 /)
      }).pipe(quiet))

    it.effect("ends with a timeout of its own, on the server's clock", () =>
      Effect.gen(function*() {
        const { client, until: received } = yield* connected(NodeHandler.make((_, response) => {
          response.setTimeout(2000, () => response.writeHead(504).end("late"))
        }))
        yield* client.send(get)
        yield* TestClock.adjust("1999 millis")
        assert.strictEqual(yield* client.read, "")
        yield* TestClock.adjust("1 millis")
        assert.match(yield* received(/late/), /^HTTP\/1\.1 504 /)
      }).pipe(quiet))

    it.effect("is cut off by a timeout that nobody listens to, but not while bytes move", () =>
      Effect.gen(function*() {
        const { app, events } = watching((request, response) => {
          request.socket.setTimeout(1000)
          request.on("data", () => {})
          request.on("end", () => response.end())
        })
        const { client } = yield* connected(app)
        yield* client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n")
        yield* TestClock.adjust("900 millis")
        yield* client.send("abc")
        yield* TestClock.adjust("900 millis")
        yield* settle
        assert.notInclude(events, "socket close")
        yield* TestClock.adjust("2 seconds")
        yield* until(() => events.includes("socket close"))
      }).pipe(quiet))
  })

  describe("an event stream", () => {
    const stream: NodeHandler.Listener = (_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" })
      response.write("data: 1\n\n")
    }

    it.effect("leaves event by event, and ends with its client", () =>
      Effect.gen(function*() {
        let response: Http.ServerResponse | undefined
        const { app, events } = watching((request, given) => {
          response = given
          return stream(request, given)
        })
        const { client, server, until: received } = yield* connected(app)
        yield* client.send("GET / HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n")
        assert.match(yield* received(/data: 1\n\n/), /^HTTP\/1\.1 200 OK\r\ncontent-type: text\/event-stream\r\n/)
        response!.write("data: 2\n\n")
        yield* received(/data: 2\n\n/)
        yield* client.end
        yield* until(() => events.includes("response close"))
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }).pipe(quiet))

    it.effect("ends whole when the server stops", () =>
      Effect.gen(function*() {
        const { app, events } = watching(stream)
        const { connect, stop } = yield* serveStoppable(app)
        const client = yield* connect()
        yield* client.send("GET / HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n")
        const stopping = yield* stop
        const [answer] = answersIn(yield* client.readAll)
        assert.deepStrictEqual([answer?.body, answer?.complete], ["data: 1\n\n", true])
        yield* client.end
        yield* Fiber.join(stopping)
        yield* until(() => events.includes("response close"))
      }).pipe(quiet))
  })
})
