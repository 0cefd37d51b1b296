import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Http from "node:http"
import { makePipe } from "../../../layers/internal/MemoryPipe.ts"
import type { ServerCore } from "../../../layers/internal/ServerCore.ts"
import { makeServer } from "../../../layers/internal/serving.ts"
import { settle } from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import type { SendError } from "../../../src/app/SendError.ts"
import type { HttpSend } from "../../../src/schema/Event.ts"
import { answerIn, answersIn, request, utf8 } from "../../utils/answers.ts"
import { exchange, serve } from "../../utils/serve.ts"

type Send = App.HttpExchange["send"]

/** Sends the events, in order. */
const sendAll = (send: Send, events: ReadonlyArray<HttpSend>): Effect.Effect<void, SendError> =>
  Effect.forEach(events, send, { discard: true })

const sending = (...events: ReadonlyArray<HttpSend>) => App.http(({ send }) => sendAll(send, events))

const start = (fields: Partial<Extract<HttpSend, { readonly type: "http.response.start" }>> = {}): HttpSend => ({
  type: "http.response.start",
  status: 200,
  ...fields
})

const part = (body: string | Uint8Array, more = false): HttpSend => ({ type: "http.response.body", body, more })

const get10 = (lines: ReadonlyArray<string> = []) =>
  `GET / HTTP/1.0\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`

describe("an answer", () => {
  it.effect("is what was sent, not what the application yields [C1]", () =>
    Effect.gen(function*() {
      const app = App.http(({ receive, scope, send }) =>
        Effect.gen(function*() {
          yield* receive
          yield* App.respond(send, 201, scope.method)
          return { status: 500, body: "ignored" } as never
        })
      )
      const answer = answerIn(yield* exchange(app, request("PUT /")))
      assert.strictEqual(answer.status, 201)
      assert.strictEqual(answer.body, "PUT")
    }))

  it.effect("has defaults for everything but the status [C28]", () =>
    Effect.gen(function*() {
      const bytes = yield* exchange(
        sending(start(), { type: "http.response.body" }),
        request("GET /") + request("GET /")
      )
      const answers = answersIn(bytes)
      assert.strictEqual(answers.length, 2)
      for (const answer of answers) {
        assert.deepStrictEqual(answer.headers.map(([name]) => name).sort(), ["content-length", "date", "server"])
        assert.strictEqual(answer.header("content-length"), "0")
        assert.isTrue(answer.complete)
      }
    }))

  it.effect("with one part gets the length of that part", () =>
    Effect.gen(function*() {
      const answer = answerIn(yield* exchange(sending(start(), part("hello")), request("GET /")))
      assert.strictEqual(answer.header("content-length"), "5")
      assert.strictEqual(answer.header("transfer-encoding"), undefined)
      assert.strictEqual(answer.body, "hello")
    }))

  it.effect("of unknown length is chunked on HTTP/1.1 [C29]", () =>
    Effect.gen(function*() {
      const app = sending(start(), part("one", true), part("", true), part("two", true), part(""))
      const answers = answersIn(yield* exchange(app, request("GET /") + request("GET /")))
      assert.strictEqual(answers.length, 2)
      for (const answer of answers) {
        assert.strictEqual(answer.header("transfer-encoding"), "chunked")
        assert.strictEqual(answer.header("content-length"), undefined)
        assert.deepStrictEqual(answer.chunks, ["one", "two"])
      }
    }))

  it.effect("of unknown length ends with the connection on HTTP/1.0, asked to keep it or not [C29]", () =>
    Effect.gen(function*() {
      const app = sending(start(), part("one", true), part("two"))
      for (const lines of [[], ["connection: keep-alive"]]) {
        const { connect } = yield* serve(app)
        const client = yield* connect()
        yield* client.send(get10(lines))
        const answer = answerIn(yield* client.readAll)
        assert.strictEqual(answer.header("transfer-encoding"), undefined)
        assert.strictEqual(answer.header("content-length"), undefined)
        assert.strictEqual(answer.header("connection"), "close")
        assert.strictEqual(answer.body, "onetwo")
        assert.isFalse(yield* client.wasReset)
      }
    }))

  it.effect("of known length keeps an HTTP/1.0 connection that asks for it, and says so [C30]", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(
        sending(start({ headers: [["content-length", "6"]] }), part("one", true), part("two"))
      )
      const keeping = yield* connect()
      for (let count = 0; count < 2; count++) {
        yield* keeping.send(get10(["connection: Keep-Alive"]))
        const answer = answerIn(yield* keeping.read)
        assert.strictEqual(answer.header("connection"), "keep-alive")
        assert.strictEqual(answer.body, "onetwo")
      }
      const closing = yield* connect()
      yield* closing.send(get10())
      assert.strictEqual(answerIn(yield* closing.readAll).header("connection"), "close")
    }))

  it.effect("is framed by the server, whatever the application says of transfer-encoding [C31]", () =>
    Effect.gen(function*() {
      const headers = [["Transfer-Encoding", "gzip, chunked"], ["transfer-encoding", "identity"]] as const
      const whole = answerIn(yield* exchange(sending(start({ headers }), part("hello")), request("GET /")))
      assert.strictEqual(whole.header("transfer-encoding"), undefined)
      assert.strictEqual(whole.body, "hello")
      const parts = answerIn(yield* exchange(sending(start({ headers }), part("a", true), part("b")), request("GET /")))
      assert.deepStrictEqual(parts.headers.filter(([name]) => name.toLowerCase() === "transfer-encoding"), [[
        "transfer-encoding",
        "chunked"
      ]])
      assert.deepStrictEqual(parts.chunks, ["a", "b"])
    }))

  it.effect("to HEAD has the head of the answer to GET and no body [C34][W23]", () =>
    Effect.gen(function*() {
      const apps = [
        sending(start(), part("hello")),
        sending(start({ headers: [["content-length", "6"]] }), part("one", true), part("two")),
        sending(start(), part("one", true), part("two")),
        sending(start({ trailers: true }), part("one"), { type: "http.response.trailers", headers: [["x", "y"]] })
      ]
      for (const app of apps) {
        const toGet = answerIn(yield* exchange(app, request("GET /")))
        const answers = answersIn(yield* exchange(app, request("HEAD /") + request("GET /")), ["HEAD", "GET"])
        assert.strictEqual(answers[0]!.body, "")
        assert.deepStrictEqual(answers[0]!.headers, toGet.headers)
        assert.strictEqual(answers[1]!.body, toGet.body)
      }
    }))

  it.effect("that has no body by its status has no framing either [C35]", () =>
    Effect.gen(function*() {
      for (const status of [204, 304]) {
        for (const parts of [[part("")], [part("not sent")], [part("not", true), part("sent")]]) {
          const answers = answersIn(
            yield* exchange(sending(start({ status }), ...parts), request("GET /") + request("GET /"))
          )
          assert.deepStrictEqual(answers.map((answer) => answer.status), [status, status])
          for (const answer of answers) {
            assert.strictEqual(answer.header("content-length"), undefined)
            assert.strictEqual(answer.header("transfer-encoding"), undefined)
          }
        }
      }
      const reset = answerIn(yield* exchange(sending(start({ status: 205 }), part("not sent")), request("GET /")))
      assert.strictEqual(reset.header("content-length"), "0")
    }))

  it.effect("of 304 may say how long the body would have been, of 204 it may not [C35]", () =>
    Effect.gen(function*() {
      const headers = [["content-length", "7"]] as const
      const notModified = answerIn(
        yield* exchange(sending(start({ status: 304, headers }), part("")), request("GET /"))
      )
      assert.strictEqual(notModified.header("content-length"), "7")
      const noContent = answerIn(yield* exchange(sending(start({ status: 204, headers }), part("")), request("GET /")))
      assert.strictEqual(noContent.header("content-length"), undefined)
    }))

  it.effect("ends with trailers when they were promised [C36]", () =>
    Effect.gen(function*() {
      const app = sending(
        start({ trailers: true, headers: [["trailer", "x-sum"]] }),
        part("one", true),
        part("two"),
        { type: "http.response.trailers", headers: [["x-sum", "42"], ["x-sum", "43"]] }
      )
      const answers = answersIn(yield* exchange(app, request("GET /") + request("GET /")))
      assert.strictEqual(answers.length, 2)
      for (const answer of answers) {
        assert.deepStrictEqual(answer.chunks, ["one", "two"])
        assert.deepStrictEqual(answer.trailers, [["x-sum", "42"], ["x-sum", "43"]])
      }
    }))

  it.effect("leaves promised trailers out where the framing has no place for them [C36]", () =>
    Effect.gen(function*() {
      const app = sending(start({ trailers: true }), part("one"), {
        type: "http.response.trailers",
        headers: [["x", "y"]]
      })
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(get10())
      const answer = answerIn(yield* client.readAll)
      assert.strictEqual(answer.body, "one")
    }))

  it.effect("refuses trailers that were not promised, and a body after the promised ones are due [C36]", () =>
    Effect.gen(function*() {
      const problems: Array<string> = []
      const note = (effect: Effect.Effect<void, SendError>) =>
        Effect.map(Effect.flip(effect), (error) => problems.push(error.message))
      const trailers: HttpSend = { type: "http.response.trailers", headers: [["x", "y"]] }
      const without = App.http(({ send }) =>
        Effect.andThen(
          sendAll(send, [start(), part("a", true)]),
          Effect.andThen(Effect.orDie(note(send(trailers))), send(part("b")))
        )
      )
      const answer = answerIn(yield* exchange(without, request("GET /")))
      assert.deepStrictEqual(answer.chunks, ["a", "b"])
      assert.deepStrictEqual(answer.trailers, [])
      const promised = App.http(({ send }) =>
        Effect.andThen(
          sendAll(send, [start({ trailers: true }), part("a")]),
          Effect.andThen(Effect.orDie(note(send(part("b")))), send(trailers))
        )
      )
      assert.deepStrictEqual(answerIn(yield* exchange(promised, request("GET /"))).body, "a")
      assert.deepStrictEqual(problems, [
        "'http.response.trailers' is not allowed on http while the body is being sent",
        "'http.response.body' is not allowed on http while the trailers are due"
      ])
    }))

  it.effect("has the registered reason phrase of its status [C58]", () =>
    Effect.gen(function*() {
      const app = App.http(({ scope, send }) => App.respond(send, Number(scope.path.slice(1))))
      const { connect } = yield* serve(app)
      const client = yield* connect()
      for (const [status, phrase] of Object.entries({ ...Http.STATUS_CODES, ...newerPhrases })) {
        // An interim status is no answer, and 509 is one web server's own.
        if (Number(status) < 200 || status === "509") continue
        yield* client.send(request(`GET /${status}`))
        const answer = answerIn(yield* client.read)
        assert.strictEqual(`${answer.status} ${answer.reason}`, `${status} ${phrase}`)
      }
    }))

  it.effect("may have a status that nobody has registered", () =>
    Effect.gen(function*() {
      const answers = answersIn(yield* exchange(sending(start({ status: 799 }), part("a")), request("GET /")))
      assert.strictEqual(answers[0]!.status, 799)
    }))

  it.effect("leaves in one write when it is small, head and body together [C159]", () =>
    Effect.gen(function*() {
      const text = yield* piecesOf(sending(start(), part("hello")), request("GET /"))
      assert.strictEqual(text.length, 1)
      assert.strictEqual(answerIn(text[0]!).body, "hello")
      const bytes = yield* piecesOf(sending(start(), part(new Uint8Array(4096).fill(97))), request("GET /"))
      assert.strictEqual(bytes.length, 1)
      const later = App.http(({ send }) => Effect.andThen(Effect.yieldNow, App.respond(send, 200, "hello")))
      assert.strictEqual((yield* piecesOf(later, request("GET /"))).length, 1)
    }))

  it.effect("leaves in one write with the others that one read asked for [C159]", () =>
    Effect.gen(function*() {
      const pieces = yield* piecesOf(sending(start(), part("hello")), request("GET /").repeat(10))
      assert.strictEqual(pieces.length, 1)
      assert.strictEqual(answersIn(pieces[0]!).length, 10)
    }))

  it.effect("has the same bytes whether it leaves with the read that asked for it or later", () =>
    Effect.gen(function*() {
      const events: { readonly [path: string]: ReadonlyArray<HttpSend> } = {
        "/empty": [start(), part("")],
        "/text": [start({ headers: [["content-type", "text/plain"]] }), part("hello é €")],
        "/bytes": [start(), part(new Uint8Array([0, 128, 255]))],
        "/large": [start(), part(new Uint8Array(5000).fill(120))],
        "/long": [start(), part("y".repeat(40_000))],
        "/chunked": [start(), part("one", true), part(new Uint8Array(4097).fill(122), true), part("two é")],
        "/length": [start({ headers: [["content-length", "6"]] }), part("one", true), part("two")],
        "/trailers": [start({ trailers: true }), part("one"), {
          type: "http.response.trailers",
          headers: [["x", "y"]]
        }],
        "/none": [start({ status: 204 }), part("x")],
        "/hints": [{ type: "http.response.early_hint", links: ["</a.css>; rel=preload"] }, start(), part("a")],
        "/flush": [start(), { type: "http.fullflush" }, part("a")]
      }
      const requests = Object.keys(events).flatMap((path) => [request(`GET ${path}`), request(`HEAD ${path}`)]).join("")
      const batched = App.http(({ scope, send }) => sendAll(send, events[scope.path]!))
      const direct = App.http(({ scope, send }) =>
        Effect.forEach(events[scope.path]!, (event) => Effect.andThen(Effect.yieldNow, send(event)), { discard: true })
      )
      const askAll = (app: App.App<SendError>) =>
        Effect.gen(function*() {
          const { connect } = yield* serve(app)
          const client = yield* connect()
          yield* client.send(`${requests}${request("GET /text", ["connection: close"])}`)
          return yield* client.readAll
        })
      const bytes = yield* askAll(batched)
      assert.strictEqual(yield* askAll(direct), bytes)
      const methods = [...Object.keys(events).flatMap(() => ["GET", "HEAD"]), "GET"]
      assert.strictEqual(answersIn(bytes, methods).filter((answer) => answer.status >= 200).length, methods.length)
    }))

  it.effect("goes out part by part, while the application makes the next [W16]", () =>
    Effect.gen(function*() {
      const next = yield* Deferred.make<void>()
      const app = App.http(({ send }) =>
        Effect.gen(function*() {
          yield* sendAll(send, [start(), part("first", true)])
          yield* Deferred.await(next)
          yield* send(part("second"))
        })
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("GET /"))
      const before = yield* client.read
      assert.deepStrictEqual(answerIn(before).chunks, ["first"])
      yield* Deferred.succeed(next, undefined)
      assert.deepStrictEqual(answerIn(before + (yield* client.read)).chunks, ["first", "second"])
    }))

  it.effect("shows its head with an empty part, before there is any body [W16]", () =>
    Effect.gen(function*() {
      for (const first of [[start(), part("", true)], [start(), { type: "http.fullflush" }] as const]) {
        const app = App.http(({ send }) =>
          Effect.andThen(
            Effect.andThen(Effect.yieldNow, sendAll(send, first)),
            Effect.andThen(Effect.never, send(part("")))
          )
        )
        const answer = answerIn(yield* exchange(app, request("GET /")))
        assert.strictEqual(answer.header("transfer-encoding"), "chunked")
      }
    }))

  it.effect("counts the bytes of text, not its characters", () =>
    Effect.gen(function*() {
      for (const text of ["é", "日本語", "a😀b", "\ud800", "\u00ff".repeat(5000), "x".repeat(20_000) + "ü"]) {
        const whole = answerIn(yield* exchange(sending(start(), part(text)), request("GET /")))
        assert.strictEqual(whole.header("content-length"), String(Buffer.byteLength(text)))
        assert.strictEqual(whole.body, utf8(text))
        const parts = answerIn(yield* exchange(sending(start(), part(text, true), part(text)), request("GET /")))
        assert.strictEqual(parts.body, utf8(text + text))
      }
    }))

  it.effect("carries every byte value, from views of larger buffers too", () =>
    Effect.gen(function*() {
      const all = Uint8Array.from({ length: 256 }, (_, index) => index)
      const expected = Buffer.from(all).toString("latin1")
      for (const copies of [1, 16, 64]) {
        const bytes = new Uint8Array(256 * copies + 20)
        for (let copy = 0; copy < copies; copy++) bytes.set(all, 10 + 256 * copy)
        const view = bytes.subarray(10, 10 + 256 * copies)
        const answer = answerIn(yield* exchange(sending(start(), part(view)), request("GET /")))
        assert.strictEqual(answer.body, expected.repeat(copies))
      }
    }))
})

/** Phrases of RFC 9110 and RFC 2324, where Node's own table has others. */
const newerPhrases = {
  203: "Non-Authoritative Information",
  413: "Content Too Large",
  418: "I'm a teapot",
  422: "Unprocessable Content"
}

describe("http.fullflush", () => {
  it.effect("hands out what was sent so far [C45]", () =>
    Effect.gen(function*() {
      const app = App.http(({ scope, send }) => {
        assert.deepStrictEqual(scope.extensions["fullflush"], {})
        return sendAll(send, [start(), part("a", true), { type: "http.fullflush" }, part("b")])
      })
      const pieces = yield* piecesOf(app, request("GET /"))
      assert.isAbove(pieces.length, 1)
      assert.deepStrictEqual(answerIn(pieces.join("")).chunks, ["a", "b"])
    }))

  it.effect("fails where it is not offered [C45]", () =>
    Effect.gen(function*() {
      const app = App.http(({ scope, send }) => {
        assert.isFalse("fullflush" in scope.extensions)
        return Effect.flatMap(Effect.flip(send({ type: "http.fullflush" })), (error) =>
          App.respond(send, 200, error.message))
      })
      const answer = answerIn(yield* exchange(app, request("GET /"), { fullFlush: false }))
      assert.strictEqual(
        answer.body,
        "'http.fullflush' needs the extension 'fullflush', which this server does not offer"
      )
    }))
})

describe("http.response.early_hint", () => {
  const hint = (...links: ReadonlyArray<string>): HttpSend => ({ type: "http.response.early_hint", links })

  it.effect("is a 103 with its links, before the answer and as often as wanted [C59]", () =>
    Effect.gen(function*() {
      const app = App.http(({ send }) =>
        Effect.gen(function*() {
          yield* sendAll(send, [hint("</a.css>; rel=preload", "</b.js>; rel=preload"), hint("</c.js>; rel=preload")])
          yield* Effect.yieldNow
          yield* App.respond(send, 200, "hello")
        })
      )
      const [first, second, last, ...rest] = answersIn(yield* exchange(app, request("GET /")))
      assert.deepStrictEqual(rest, [])
      assert.deepInclude(first, { status: 103, reason: "Early Hints" })
      assert.deepStrictEqual(first!.headers, [["link", "</a.css>; rel=preload"], ["link", "</b.js>; rel=preload"]])
      assert.deepStrictEqual(second!.headers, [["link", "</c.js>; rel=preload"]])
      assert.deepInclude(last, { status: 200, body: "hello" })
      assert.strictEqual(last!.header("link"), undefined)
    }))

  it.effect("reaches the client at once [C59]", () =>
    Effect.gen(function*() {
      const app = App.http(({ send }) => Effect.andThen(send(hint("</a>")), Effect.never))
      assert.strictEqual(yield* exchange(app, request("GET /")), "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
    }))

  it.effect("is left out for HTTP/1.0, refused after the start and where it is not offered [C59]", () =>
    Effect.gen(function*() {
      const app = App.http(({ send }) => sendAll(send, [hint("</a>"), start(), part("hello")]))
      assert.deepInclude(answerIn(yield* exchange(app, get10())), { status: 200, body: "hello" })

      const late = App.http(({ send }) =>
        Effect.andThen(
          send(start()),
          Effect.flatMap(Effect.flip(send(hint("</a>"))), (error) => send(part(error.message)))
        )
      )
      assert.strictEqual(
        answerIn(yield* exchange(late, request("GET /"))).body,
        "'http.response.early_hint' is not allowed on http while the answer has been started"
      )

      const refused = App.http(({ send }) =>
        Effect.flatMap(Effect.flip(send(hint("</a>"))), (error) => App.respond(send, 200, error.reason._tag))
      )
      assert.strictEqual(
        answerIn(yield* exchange(refused, request("GET /"), { earlyHints: false })).body,
        "ExtensionUnavailable"
      )
    }))
})

/** What one connection receives, piece by piece as the server writes it. */
const piecesOf = (app: App.App<SendError>, bytes: string) =>
  Effect.gen(function*() {
    let core: ServerCore | undefined
    const server = yield* makeServer({}, (serving) => {
      core = serving
      return Effect.succeed([])
    })
    yield* server.serve(app)
    const [client, stream] = makePipe()
    const pieces: Array<string> = []
    client.on("data", (chunk: Buffer) => pieces.push(chunk.toString("latin1")))
    core!.accept(stream, { client: undefined, server: undefined, scheme: "http" })
    client.write(Buffer.from(bytes, "latin1"))
    yield* settle
    client.destroy()
    return pieces
  })
