import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type { Options as ServerOptions } from "../../layers/ServerMemory.ts"
import * as App from "../../src/app/App.ts"
import type { CloseInfo } from "../../src/app/CloseInfo.ts"
import * as SseSession from "../../src/app/SseSession.ts"
import * as Lint from "../../src/middleware/Lint.ts"
import { answerIn, request, utf8 } from "../utils/answers.ts"
import { serve } from "../utils/serve.ts"

const Todo = Schema.Struct({ id: Schema.Int, due: Schema.Date })
const todos = SseSession.codec({ data: Todo })
const todo = (id: number) => ({ id, due: new Date(0) })
const todoLine = (id: number) => `data: {"id":${id},"due":"1970-01-01T00:00:00.000Z"}\n\n`

interface Asking {
  readonly start?: string
  readonly lines?: ReadonlyArray<string>
  readonly options?: ServerOptions
}

/** Serves a handler of exchanges under Lint and asks it once. `text` is the stream so far. */
const ask = <E>(handler: (exchange: App.SseExchange) => Effect.Effect<void, E>, asking: Asking = {}) =>
  Effect.gen(function*() {
    const { connect } = yield* serve(Lint.make()(App.sse(handler)), asking.options ?? {})
    const client = yield* connect()
    yield* client.send(request(asking.start ?? "GET /", ["accept: text/event-stream", ...asking.lines ?? []]))
    let bytes = ""
    const answer = Effect.map(client.read, (more) => answerIn(bytes += more))
    return { client, answer, text: Effect.map(answer, ({ body }) => body) }
  })

const withSession = <E>(handler: (session: SseSession.SseSession) => Effect.Effect<void, E>, asking?: Asking) =>
  ask((exchange) => handler(SseSession.make(exchange)), asking)

describe("SseSession", () => {
  describe("send", () => {
    it.effect("starts the stream and sends the fields of an event", () =>
      Effect.gen(function*() {
        const { answer } = yield* withSession((session) =>
          session.send({ data: "ä\nb", event: "e", id: "7", retry: 1000 })
        )
        const { body, complete, header, status } = yield* answer
        assert.deepStrictEqual([status, header("content-type"), complete], [200, "text/event-stream", true])
        assert.strictEqual(body, utf8("event: e\nid: 7\nretry: 1000\ndata: ä\ndata: b\n\n"))
      }))

    it.effect("encodes data by Schema, and fails with the place of what does not fit", () =>
      Effect.gen(function*() {
        const errors: Array<string> = []
        const { text } = yield* ask((exchange) => {
          const session = SseSession.make(exchange, todos)
          return Effect.catch(session.send({ data: todo(1.5) }), (error) => {
            errors.push(error.message)
            return session.send({ data: todo(1), id: "1" })
          })
        })
        assert.strictEqual(yield* text, `id: 1\n${todoLine(1)}`)
        assert.deepStrictEqual(errors, ["'sse.send' has an invalid data: it does not fit its Schema at id"])
      }))

    it.effect("takes options in place of a codec", () =>
      Effect.gen(function*() {
        const { text } = yield* ask((exchange) => SseSession.make(exchange, { data: Todo }).send({ data: todo(3) }))
        assert.strictEqual(yield* text, todoLine(3))
      }))
  })

  it.effect("starts with the status and the headers that start says, once", () =>
    Effect.gen(function*() {
      const again: Array<string> = []
      const { answer } = yield* withSession((session) =>
        Effect.gen(function*() {
          yield* session.start({ headers: [["x-feed", "1"]] })
          yield* session.send({ data: "x" })
          // Lint refuses it before the server can.
          again.push((yield* Effect.flip(session.start())).reason._tag)
        })
      )
      const { body, header } = yield* answer
      assert.deepStrictEqual([header("x-feed"), body, again], ["1", "data: x\n\n", ["EventOutOfOrder"]])
    }))

  describe("trySend", () => {
    it.effect("never fails: true when handed over, false when it cannot be sent or the stream is over [C208]", () =>
      Effect.gen(function*() {
        const results: Array<boolean> = []
        const { text } = yield* ask((exchange) => {
          const session = SseSession.make(exchange, todos)
          return Effect.gen(function*() {
            results.push(yield* session.trySend({ data: todo(1) }))
            results.push(yield* session.trySend({ data: todo(0.5) }))
            results.push(yield* session.trySend({ data: todo(2), event: "a\nb" }))
            yield* session.close()
            results.push(yield* session.trySend({ data: todo(3) }))
          })
        })
        assert.strictEqual(yield* text, todoLine(1))
        assert.deepStrictEqual(results, [true, false, false, false])
      }))

    it.effect("skips at the high watermark instead of waiting", () =>
      Effect.gen(function*() {
        const results: Array<boolean> = []
        const go = yield* Deferred.make<void>()
        const sent = yield* Deferred.make<void>()
        const { client } = yield* withSession(
          (session) =>
            Effect.gen(function*() {
              yield* session.start()
              yield* Deferred.await(go)
              for (let n = 0; n < 20; n++) results.push(yield* session.trySend({ data: "x".repeat(1000) }))
              yield* Deferred.succeed(sent, undefined)
            }),
          { options: { writeHighWaterMark: 4000, writeLowWaterMark: 1000, networkBufferBytes: 1000 } }
        )
        yield* client.pause
        yield* Deferred.succeed(go, undefined)
        yield* Deferred.await(sent)
        const skipped = results.indexOf(false)
        assert.isAbove(skipped, 0)
        assert.notInclude(results.slice(skipped), true)
      }))
  })

  describe("each", () => {
    it.effect("sends every value of a stream as data, or as the event made of it [C208]", () =>
      Effect.gen(function*() {
        const { text } = yield* ask((exchange) => {
          const session = SseSession.make(exchange, todos)
          return Effect.andThen(
            session.each(Stream.make(todo(1), todo(2))),
            session.each(Stream.make(3), (id) => ({ id: `${id}`, data: todo(id) }))
          )
        })
        assert.strictEqual(yield* text, `${todoLine(1)}${todoLine(2)}id: 3\n${todoLine(3)}`)
      }))
  })

  describe("sendAll", () => {
    it.effect("ends with its stream, and passes its failure on", () =>
      Effect.gen(function*() {
        const { text } = yield* withSession((session) =>
          Effect.catch(
            session.sendAll(Stream.concat(Stream.make({ data: "a" }), Stream.fail("broken"))),
            (error) => session.send({ data: String(error), event: "error" })
          )
        )
        assert.strictEqual(yield* text, "data: a\n\nevent: error\ndata: broken\n\n")
      }))

    it.effect("interrupts its stream when the client leaves", () =>
      Effect.gen(function*() {
        const stopped = yield* Deferred.make<void>()
        const { client } = yield* withSession((session) =>
          session.sendAll(Stream.ensuring(Stream.never, Deferred.succeed(stopped, undefined)))
        )
        yield* client.reset
        yield* Deferred.await(stopped)
      }))

    it.effect("never runs its stream for a HEAD", () =>
      Effect.gen(function*() {
        let ran = false
        const { client } = yield* withSession(
          (session) => session.sendAll(Stream.sync(() => ({ data: String(ran = true) }))),
          { start: "HEAD /" }
        )
        yield* client.read
        assert.isFalse(ran)
      }))
  })

  describe("every", () => {
    it.effect("sends now and after each interval, until the client leaves [C208]", () =>
      Effect.gen(function*() {
        let made = 0
        const over = yield* Deferred.make<void>()
        const { client, text } = yield* withSession((session) =>
          Effect.andThen(
            session.every("5 seconds", Effect.sync(() => ({ data: `${++made}` }))),
            Deferred.succeed(over, undefined)
          )
        )
        assert.strictEqual(yield* text, "data: 1\n\n")
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* text, "data: 1\n\ndata: 2\n\ndata: 3\n\n")
        yield* client.reset
        yield* Deferred.await(over)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(made, 3)
      }))
  })

  it.effect("sends comments, now and in quiet times", () =>
    Effect.gen(function*() {
      const { text } = yield* withSession((session) =>
        Effect.gen(function*() {
          yield* session.comment("hello")
          yield* session.keepAlive("20 seconds", "here")
          yield* session.closed
        })
      )
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* text, ":hello\n\n:here\n\n")
    }))

  describe("lastEventId", () => {
    for (
      const [what, start, lines, expected] of [
        ["the header's UTF-8 text", "GET /", [`last-event-id: ${utf8("größe")}`], "größe"],
        ["the header's bytes where they are not UTF-8", "GET /", ["last-event-id: \xe4"], "ä"],
        ["the query parameter of polyfills", "GET /?lastEventId=a%20b", [], "a b"],
        ["the header before the parameter", "GET /?lastEventId=2", ["last-event-id: 1"], "1"],
        ["undefined for an empty id", "GET /", ["last-event-id:"], undefined],
        ["undefined for a first connection", "GET /", [], undefined]
      ] as const
    ) {
      it.effect(`is ${what} [C208]`, () =>
        Effect.gen(function*() {
          const seen: Array<string | undefined> = []
          yield* withSession((session) => {
            seen.push(session.lastEventId)
            return session.start()
          }, { start, lines })
          assert.deepStrictEqual(seen, [expected])
        }))
    }
  })

  describe("deny", () => {
    it.effect("answers with a plain response, and stops a client with 204", () =>
      Effect.gen(function*() {
        const refused = yield* (yield* withSession((session) => session.deny(403, "no", [["x-why", "1"]]))).answer
        assert.deepStrictEqual(
          [refused.status, refused.body, refused.header("x-why"), refused.header("content-type")],
          [
            403,
            "no",
            "1",
            undefined
          ]
        )
        const worded = yield* (yield* withSession((session) => session.deny(403, "no"))).answer
        assert.strictEqual(worded.header("content-type"), "text/plain; charset=utf-8")
        assert.strictEqual((yield* (yield* withSession((session) => session.deny(204))).answer).status, 204)
      }))

    it.effect("fails once the stream has started", () =>
      Effect.gen(function*() {
        const { text } = yield* withSession((session) =>
          Effect.gen(function*() {
            yield* session.start()
            yield* session.send({ data: (yield* Effect.flip(session.deny(404))).reason._tag })
          })
        )
        assert.strictEqual(yield* text, "data: EventOutOfOrder\n\n")
      }))
  })

  describe("close", () => {
    it.effect("does nothing after a decline, and a second time", () =>
      Effect.gen(function*() {
        const reasons: Array<string> = []
        const declined = yield* withSession((session) => Effect.andThen(session.deny(404), session.close()))
        assert.strictEqual((yield* declined.answer).status, 404)
        yield* withSession((session) =>
          Effect.gen(function*() {
            yield* session.close("first")
            yield* session.close("second")
            reasons.push((yield* session.closed).reason)
          })
        )
        assert.deepStrictEqual(reasons, ["first"])
      }))

    it.effect("ends the stream once, also one that was not started", () =>
      Effect.gen(function*() {
        const { answer } = yield* withSession((session) =>
          Effect.andThen(session.close("no news"), Effect.andThen(session.close(), session.closed))
        )
        const { body, complete, status } = yield* answer
        assert.deepStrictEqual([status, body, complete], [200, "", true])
      }))
  })

  describe("closed", () => {
    const endOf = (
      handler: (session: SseSession.SseSession) => Effect.Effect<void, unknown>,
      leave: (client: Effect.Success<ReturnType<typeof withSession>>["client"]) => Effect.Effect<void>,
      options?: ServerOptions
    ) =>
      Effect.gen(function*() {
        const infos: Array<CloseInfo> = []
        const result = yield* Deferred.make<CloseInfo>()
        const { client } = yield* withSession((session) =>
          Effect.gen(function*() {
            yield* session.onClose((info) => void infos.push(info))
            yield* handler(session)
            yield* Deferred.succeed(result, yield* session.closed)
          }), options === undefined ? {} : { options })
        yield* leave(client)
        const info = yield* Deferred.await(result)
        assert.deepStrictEqual(infos, [info])
        return info
      })

    it.effect("tells that the client has left, though nobody receives [C208]", () =>
      Effect.gen(function*() {
        const info = yield* endOf((session) => session.start(), (client) => client.end)
        assert.deepStrictEqual(info, {
          code: undefined,
          reason: "",
          by: "client",
          cause: "client_closed",
          clean: false
        })
      }))

    it.effect("tells our own reason [C208]", () =>
      Effect.gen(function*() {
        const info = yield* endOf((session) => session.close("done"), () => Effect.void)
        assert.deepStrictEqual(info, {
          code: undefined,
          reason: "done",
          by: "application",
          cause: undefined,
          clean: true
        })
      }))

    it.effect("tells what the server ended, and why", () =>
      Effect.gen(function*() {
        const info = yield* endOf(
          (session) => session.start(),
          () => TestClock.adjust("10 seconds"),
          { sseIdleTimeout: "5 seconds" }
        )
        assert.deepStrictEqual(info, {
          code: undefined,
          reason: "",
          by: "server",
          cause: "idle_timeout",
          clean: false
        })
      }))
  })
})
