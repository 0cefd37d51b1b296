import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as AccessLogMemory from "../../../layers/AccessLogMemory.ts"
import type * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import type { SendError } from "../../../src/app/SendError.ts"
import { answerIn, answersIn, request } from "../../utils/answers.ts"
import { serve } from "../../utils/serve.ts"
import * as Ws from "../../utils/webSocket.ts"

const { close, handshake, serveSockets, text } = Ws

/** Serves without Lint, so that the server's own checks are what is tested. */
const bare = <E>(
  handler: (exchange: App.WebSocketExchange) => Effect.Effect<void, E>,
  options?: ServerMemory.Options
) => serve(App.websocket(handler), options)

const inWords = ({ reason }: SendError): string =>
  `${reason._tag}${"field" in reason ? ` ${reason.field}` : "name" in reason ? ` ${reason.name}` : ""}`

/** What the application is told for sending each of `events` in an open session, and what the client gets. */
const sending = Effect.fnUntraced(function*(events: ReadonlyArray<unknown>) {
  const results: Array<string> = []
  const { connect } = yield* bare((exchange) =>
    Effect.gen(function*() {
      yield* exchange.send({ type: "websocket.accept" })
      for (const event of events) {
        results.push(
          yield* Effect.match(exchange.send(event as never), { onFailure: inWords, onSuccess: () => "sent" })
        )
      }
      yield* Ws.ended(exchange)
    })
  )
  const session = yield* Ws.open(connect)
  const said = yield* session.said
  yield* session.send(close(1000))
  return { results, said }
})

describe("WebSocket events", () => {
  it.effect("refuses a message with both, neither, or the wrong kind of text and bytes, and goes on [C65]", () =>
    Effect.gen(function*() {
      const type = "websocket.send"
      const { results, said } = yield* sending([
        { type },
        { type, text: null, bytes: null },
        { type, text: "a", bytes: new Uint8Array(1) },
        { type, text: "", bytes: new Uint8Array(0) },
        { type, text: 5 },
        { type, text: new Uint8Array(1) },
        { type, bytes: "a" },
        { type, bytes: [1, 2] },
        { type, bytes: new ArrayBuffer(2) },
        { type, text: "fine", bytes: null },
        { type, text: undefined, bytes: new Uint8Array([1]), extra: "ignored" }
      ])
      assert.deepStrictEqual(results, [
        "InvalidField bytes",
        "InvalidField bytes",
        "InvalidField bytes",
        "InvalidField bytes",
        "InvalidField text",
        "InvalidField text",
        "InvalidField bytes",
        "InvalidField bytes",
        "InvalidField bytes",
        "sent",
        "sent"
      ])
      assert.deepStrictEqual(said, ["text fine", "binary 01"])
    }))

  it.effect("refuses events that it does not know, by name", () =>
    Effect.gen(function*() {
      const { results, said } = yield* sending([
        { type: "websocket.ping" },
        { type: "http.response.start", status: 200 },
        {},
        null,
        undefined,
        "websocket.send",
        { type: "websocket.send", text: "still open" }
      ])
      assert.deepStrictEqual(results, [...Array.from({ length: 6 }, () => "UnknownEvent"), "sent"])
      assert.deepStrictEqual(said, ["text still open"])
    }))

  it.effect("sends what UTF-8 cannot hold as replacement characters", () =>
    Effect.gen(function*() {
      const { said } = yield* sending([{ type: "websocket.send", text: "a\ud800b" }])
      assert.deepStrictEqual(said, ["text a\ufffdb"])
    }))

  it.effect("refuses messages before the accept", () =>
    Effect.gen(function*() {
      const results: Array<string> = []
      const { connect } = yield* bare((exchange) =>
        Effect.gen(function*() {
          for (
            const event of [
              { type: "websocket.send", text: "a" },
              { type: "websocket.http.response.body", body: "a" },
              { type: "websocket.keepalive", interval: 1 }
            ] as const
          ) results.push(inWords(yield* Effect.flip(exchange.send(event))))
          yield* exchange.send({ type: "websocket.accept" })
        })
      )
      const session = yield* Ws.open(connect)
      assert.deepStrictEqual(results, ["EventOutOfOrder", "EventOutOfOrder", "EventOutOfOrder"])
      assert.deepStrictEqual(yield* session.said, ["close 1000"])
    }))

  it.effect("keeps the order of what several fibers send", () =>
    Effect.gen(function*() {
      const { connect } = yield* serveSockets(({ send }) =>
        Effect.gen(function*() {
          yield* send({ type: "websocket.accept" })
          yield* Effect.forEach(
            Array.from({ length: 100 }, (_, n) => `${n}`),
            (n) => send({ type: "websocket.send", text: n }),
            { concurrency: "unbounded" }
          )
        })
      )
      const session = yield* Ws.open(connect)
      assert.deepStrictEqual(yield* session.said, [
        ...Array.from({ length: 100 }, (_, n) => `text ${n}`),
        "close 1000"
      ])
    }))
})

describe("WebSocket denial", () => {
  it.effect("answers 403 when the application closes instead of accepting, and tells no disconnect [C63]", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const access = yield* AccessLogMemory.make({ format: "%m %s %B %X" })
      const { connect, server } = yield* serveSockets((exchange) =>
        Effect.gen(function*() {
          exchange.connection.onComplete(() => seen.push("complete"))
          exchange.connection.onDisconnect((reason) => seen.push(reason))
          yield* exchange.receive
          yield* exchange.send({ type: "websocket.close", code: 4000, reason: "unseen" })
          seen.push(`${exchange.connection.responseStarted} ${exchange.connection.isConnected}`)
        })
      ).pipe(Effect.provide(access))
      const client = yield* connect()
      yield* client.send(handshake())
      const answer = answerIn(yield* client.read)
      assert.strictEqual(answer.status, 403)
      assert.strictEqual(answer.body, "Forbidden")
      assert.strictEqual(answer.header("content-type"), "text/plain; charset=utf-8")
      assert.strictEqual(answer.header("content-length"), "9")
      assert.deepStrictEqual(seen, ["complete", "true false"])
      assert.strictEqual((yield* server.stats).exchanges, 0)
      const lines = yield* Effect.provide(Effect.flatMap(AccessLogMemory.Lines, (memory) => memory.lines), access)
      assert.deepStrictEqual(lines, ["GET 403 9 -"])
    }))

  it.effect("answers with status, headers and a body in parts [C64]", () =>
    Effect.gen(function*() {
      const { connect } = yield* serveSockets(({ send }) =>
        Effect.gen(function*() {
          yield* send({
            type: "websocket.http.response.start",
            status: 401,
            headers: [["www-authenticate", "Basic"], ["x-a", "1"], ["x-a", "2"], ["content-type", "text/html"]]
          })
          yield* send({ type: "websocket.http.response.body", body: "pär", more: true })
          yield* send({ type: "websocket.http.response.body", body: new Uint8Array([0x74, 0x73]), more: true })
          yield* send({ type: "websocket.http.response.body" })
        })
      )
      const client = yield* connect()
      yield* client.send(handshake())
      const answer = answerIn(yield* client.read)
      assert.strictEqual(answer.status, 401)
      assert.deepStrictEqual(answer.chunks, ["p\xc3\xa4r", "ts"])
      assert.deepStrictEqual(answer.headers.filter(([name]) => name === "x-a"), [["x-a", "1"], ["x-a", "2"]])
      assert.strictEqual(answer.header("www-authenticate"), "Basic")
    }))

  it.effect("ends the connection with the denial, and reads nothing that stands behind the handshake [C64]", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(App.byType({
        http: ({ send }) => App.respond(send, 200, "plain"),
        websocket: ({ send }) =>
          Effect.andThen(
            send({ type: "websocket.http.response.start", status: 404 }),
            send({ type: "websocket.http.response.body" })
          )
      }))
      const client = yield* connect()
      yield* client.send(handshake() + request("GET /"))
      const answers = answersIn(yield* client.read)
      assert.deepStrictEqual(answers.map(({ body, status }) => [status, body]), [[404, ""]])
      assert.isTrue(yield* client.isEnded)
    }))

  it.effect("ignores a denial after the accept, whole or in parts [C64]", () =>
    Effect.gen(function*() {
      // Without Lint, which calls this a mistake.
      const { connect } = yield* bare(({ receive, send }) =>
        Effect.gen(function*() {
          yield* send({ type: "websocket.accept" })
          yield* send({ type: "websocket.http.response.start", status: 401 })
          yield* send({ type: "websocket.http.response.body", body: "no" })
          yield* send({ type: "websocket.send", text: "still here" })
          yield* send({ type: "websocket.close" })
          yield* send({ type: "websocket.http.response.start", status: 401 })
          yield* send({ type: "websocket.http.response.body", body: "no" })
          yield* receive
        })
      )
      const session = yield* Ws.open(connect)
      assert.deepStrictEqual(yield* session.said, ["text still here", "close 1000"])
      yield* session.send(close(1000))
    }))

  it.effect("takes nothing else once a denial has begun, nor after it [C64]", () =>
    Effect.gen(function*() {
      const results: Array<string> = []
      const others = [
        { type: "websocket.accept" },
        { type: "websocket.send", text: "a" },
        { type: "websocket.close" },
        { type: "websocket.http.response.start", status: 200 }
      ] as const
      const { connect } = yield* bare(({ send }) =>
        Effect.gen(function*() {
          const tryOthers = Effect.forEach(
            others,
            (event) => Effect.map(Effect.flip(send(event)), (error) => results.push(inWords(error)))
          )
          yield* send({ type: "websocket.http.response.start", status: 418, headers: [["content-length", "2"]] })
          yield* tryOthers
          yield* send({ type: "websocket.http.response.body", body: "no" })
          yield* tryOthers
          const late = yield* Effect.flip(send({ type: "websocket.http.response.body", body: "more" }))
          results.push(inWords(late))
        })
      )
      const client = yield* connect()
      yield* client.send(handshake())
      const answer = answerIn(yield* client.read)
      assert.deepStrictEqual([answer.status, answer.body], [418, "no"])
      assert.deepStrictEqual(results, Array.from({ length: 9 }, () => "EventOutOfOrder"))
    }))

  it.effect("refuses a denial that cannot be sent, and accepts after it", () =>
    Effect.gen(function*() {
      const results: Array<string> = []
      const type = "websocket.http.response.start"
      const { connect } = yield* bare((exchange) =>
        Effect.gen(function*() {
          for (
            const event of [
              { type },
              { type, status: 101 },
              { type, status: 199 },
              { type, status: 1000 },
              { type, status: "401" },
              { type, status: 401, headers: [["x-a", "1\r\nx-b: 2"]] },
              { type, status: 401, headers: "x" }
            ]
          ) results.push(inWords(yield* Effect.flip(exchange.send(event as never))))
          yield* exchange.send({ type: "websocket.accept" })
        })
      )
      const session = yield* Ws.open(connect)
      assert.deepStrictEqual(results, [
        ...Array.from({ length: 5 }, () => "InvalidField status"),
        "InvalidHeader x-a",
        "InvalidHeader headers"
      ])
      assert.deepStrictEqual(yield* session.said, ["close 1000"])
    }))

  it.effect("has no trailers to wait for", () =>
    Effect.gen(function*() {
      const { connect, server } = yield* bare(({ send }) =>
        Effect.gen(function*() {
          // A field that the event does not have.
          yield* send(
            Object.assign({ type: "websocket.http.response.start", status: 403 } as const, { trailers: true })
          )
          yield* send({ type: "websocket.http.response.body", body: "no" })
        })
      )
      const client = yield* connect()
      yield* client.send(handshake())
      const answer = answerIn(yield* client.read)
      assert.deepStrictEqual([answer.status, answer.body, answer.complete], [403, "no", true])
      assert.strictEqual((yield* server.stats).exchanges, 0)
    }))

  it.effect("gives no disconnect after a denial: a receive waits for nothing", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const { connect } = yield* serveSockets((exchange) =>
        Effect.gen(function*() {
          yield* exchange.receive
          yield* exchange.send({ type: "websocket.http.response.start", status: 403 })
          yield* exchange.send({ type: "websocket.http.response.body", body: "no" })
          seen.push((yield* exchange.receive).type)
        }).pipe(Effect.onInterrupt(() => Effect.sync(() => seen.push("interrupted"))))
      )
      const client = yield* connect()
      yield* client.send(handshake())
      yield* client.end
      assert.deepStrictEqual(seen, [])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(seen, ["interrupted"])
    }))

  it.effect("cuts a denial that is left unfinished", () =>
    Effect.gen(function*() {
      const ends: Array<string> = []
      const { connect } = yield* bare((exchange) =>
        Effect.gen(function*() {
          exchange.connection.onDisconnect((reason) => ends.push(reason))
          yield* exchange.send({ type: "websocket.http.response.start", status: 403 })
          yield* exchange.send({ type: "websocket.http.response.body", body: "no", more: true })
        })
      )
      const client = yield* connect()
      yield* client.send(handshake())
      const answer = answerIn(yield* client.read)
      assert.deepStrictEqual([answer.status, answer.chunks, answer.complete], [403, ["no"], false])
      assert.deepStrictEqual(ends, ["server_error"])
    }))

  it.effect("gives back the session's state to nobody else: text of one session never reaches another", () =>
    Effect.gen(function*() {
      const { connect } = yield* serveSockets(Ws.echo)
      const sessions = yield* Effect.forEach(Array.from({ length: 10 }), () => Ws.open(connect))
      for (const [n, session] of sessions.entries()) yield* session.send(text(`for ${n}`).subarray(0, 4))
      for (const [n, session] of sessions.entries()) yield* session.send(text(`for ${n}`).subarray(4))
      for (const [n, session] of sessions.entries()) {
        assert.deepStrictEqual(yield* session.said, [`text for ${n}`])
        yield* session.send(close(1000))
      }
    }))
})
