import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as App from "../../../src/app/App.ts"
import type { SendError } from "../../../src/app/SendError.ts"
import { answerIn, answersIn, chunked, request } from "../../utils/answers.ts"
import { serve } from "../../utils/serve.ts"

const hello = App.http(({ scope, send }) => App.respond(send, 200, scope.path))

const bodiesOf = (bytes: string) => answersIn(bytes).map((answer) => answer.body)

/** Sends everything on one connection, and gives what came and whether the connection was closed. */
const talk = <E>(app: App.App<E>, pieces: ReadonlyArray<string>, options = {}) =>
  Effect.gen(function*() {
    const { connect } = yield* serve(app, options)
    const client = yield* connect()
    for (const piece of pieces) yield* client.send(piece)
    return { bytes: yield* client.read, isEnded: yield* client.isEnded }
  })

describe("a connection", () => {
  it.effect("answers pipelined requests in order, fast and slow ones mixed [C49]", () =>
    Effect.gen(function*() {
      const app = App.http(({ scope, send }) =>
        Effect.andThen(Effect.sleep(Number(scope.queryString)), App.respond(send, 200, scope.path))
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      const waits = [30, 0, 20, 10, 0, 0, 25, 1]
      yield* client.send(waits.map((wait, index) => request(`GET /${index}?${wait}`)).join(""))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(bodiesOf(yield* client.read), waits.map((_, index) => `/${index}`))
    }))

  it.effect("answers pipelined requests in order when some have bodies that nobody reads [C48][C49]", () =>
    Effect.gen(function*() {
      const bytes = request("POST /a", ["content-length: 3"], "abc") +
        request("POST /b", ["transfer-encoding: chunked"], chunked(["GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"])) +
        request("GET /c") + request("POST /d", ["content-length: 0"]) + request("GET /e")
      const { connect } = yield* serve(hello)
      for (const pieces of [[bytes], bytes.match(/[^]{1,7}/g)!, [...bytes]]) {
        const client = yield* connect()
        for (const piece of pieces) yield* client.send(piece)
        assert.deepStrictEqual(bodiesOf(yield* client.read), ["/a", "/b", "/c", "/d", "/e"])
      }
    }))

  it.effect("skips an unread body up to the limit and goes on, wherever the body is when the answer ends [C48]", () =>
    Effect.gen(function*() {
      const head = (length: number) => request("POST /a", [`content-length: ${length}`])
      const body = "x".repeat(65_536)
      for (const pieces of [[head(65_536) + body + request("GET /b")], [head(65_536), body, request("GET /b")]]) {
        const { bytes, isEnded } = yield* talk(hello, pieces)
        assert.deepStrictEqual(bodiesOf(bytes), ["/a", "/b"])
        assert.isFalse(isEnded)
      }
    }))

  it.effect("closes after the answer when the unread body is over the limit, and serves nothing behind it [C48]", () =>
    Effect.gen(function*() {
      const length = request("POST /a", ["content-length: 65537"])
      const chunks = request("POST /a", ["transfer-encoding: chunked"])
      const body = "x".repeat(65_537)
      const conversations = [
        [length + body + request("GET /smuggled")],
        [length, body + request("GET /smuggled")],
        [length, body.slice(0, 40_000), body.slice(40_000), request("GET /smuggled")],
        [chunks + chunked([body]) + request("GET /smuggled")],
        [chunks, chunked(Array.from({ length: 66 }, () => "y".repeat(1000))), request("GET /smuggled")]
      ]
      for (const pieces of conversations) {
        const { bytes, isEnded } = yield* talk(hello, pieces)
        assert.deepStrictEqual(bodiesOf(bytes), ["/a"])
        assert.isTrue(isEnded)
      }
    }))

  it.effect("follows the setting for unread bodies [C48]", () =>
    Effect.gen(function*() {
      const post = (length: number) =>
        request("POST /a", [`content-length: ${length}`], "x".repeat(length)) + request("GET /b")
      assert.deepStrictEqual(bodiesOf((yield* talk(hello, [post(10)], { maxUnreadBodyBytes: 10 })).bytes), ["/a", "/b"])
      assert.deepStrictEqual(bodiesOf((yield* talk(hello, [post(11)], { maxUnreadBodyBytes: 10 })).bytes), ["/a"])
      assert.deepStrictEqual(bodiesOf((yield* talk(hello, [post(1)], { maxUnreadBodyBytes: 0 })).bytes), ["/a"])
    }))

  it.effect("goes on after a body that was read in part [C48]", () =>
    Effect.gen(function*() {
      const app = App.http(({ receive, scope, send }) => Effect.andThen(receive, App.respond(send, 200, scope.path)))
      const pieces = [request("POST /a", ["content-length: 6"], "abc"), "def" + request("GET /b")]
      assert.deepStrictEqual(bodiesOf((yield* talk(app, pieces)).bytes), ["/a", "/b"])
    }))

  it.effect("closes when the client or the application asks for it, and drops what is behind", () =>
    Effect.gen(function*() {
      const closing = App.http(({ scope, send }) => App.respond(send, 200, scope.path, [["Connection", "x, Close"]]))
      for (
        const [app, lines] of [[hello, ["connection: close"]], [hello, ["connection: x, CLOSE"]], [
          closing,
          []
        ]] as const
      ) {
        const { bytes, isEnded } = yield* talk(app, [request("GET /a", lines) + request("GET /b")])
        assert.strictEqual(answerIn(bytes).header("connection"), "close")
        assert.deepStrictEqual(bodiesOf(bytes), ["/a"])
        assert.isTrue(isEnded)
      }
    }))

  it.effect("closes only after a slow client has taken the whole answer", () =>
    Effect.gen(function*() {
      const app = App.http(({ send }) => App.respond(send, 200, "x".repeat(50_000)))
      const { connect } = yield* serve(app, { networkBufferBytes: 1000 })
      const client = yield* connect()
      yield* client.pause
      yield* client.send(request("GET /", ["connection: close"]))
      yield* TestClock.adjust("20 seconds")
      yield* client.resume
      const answer = answerIn(yield* client.readAll)
      assert.isTrue(answer.complete)
      assert.strictEqual(answer.body.length, 50_000)
    }))

  it.effect("ends when the client has ended it between requests, or in the middle of one", () =>
    Effect.gen(function*() {
      for (const rest of ["", "GE", "GET / HTTP/1.1\r\nhost:"]) {
        const { connect } = yield* serve(hello)
        const client = yield* connect()
        yield* client.send(request("GET /a") + rest)
        yield* client.end
        assert.deepStrictEqual(bodiesOf(yield* client.readAll), ["/a"])
        assert.isFalse(yield* client.wasReset)
      }
    }))

  it.effect("answers what was complete when the client ends its side with it", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(hello)
      const client = yield* connect()
      yield* client.send(request("GET /a") + request("GET /b") + request("POST /c", ["content-length: 3"], "abc"))
      yield* client.end
      assert.deepStrictEqual(bodiesOf(yield* client.readAll), ["/a", "/b", "/c"])
    }))

  it.effect("ignores empty lines between requests", () =>
    Effect.gen(function*() {
      const { bytes, isEnded } = yield* talk(hello, [`\r\n${request("GET /a")}\r\n\r\n${request("GET /b")}`])
      assert.deepStrictEqual(bodiesOf(bytes), ["/a", "/b"])
      assert.isFalse(isEnded)
    }))
})

describe("one connection with 1000 requests", () => {
  /** Answers with what the request was, in a way that its number decides. */
  const app: App.App<SendError> = App.http(({ receive, scope, send }) => {
    const number = Number(scope.path.slice(1))
    const answer = (body: string) => {
      const text = `${scope.method} ${number} ${scope.queryString} ${scope.headers.length} ${body}`
      switch (number % 5) {
        case 0:
          return App.respond(send, 200, text)
        case 1:
          return Effect.andThen(
            send({ type: "http.response.start", status: 201, headers: [["x-number", String(number)]] }),
            Effect.andThen(
              send({ type: "http.response.body", body: text, more: true }),
              send({ type: "http.response.body", body: "!" })
            )
          )
        case 2:
          return Effect.andThen(
            Effect.yieldNow,
            App.respond(send, 404, Buffer.from(text), [["content-length", String(text.length)]])
          )
        case 3:
          return Effect.andThen(
            send({ type: "http.response.start", status: 200, trailers: true }),
            Effect.andThen(
              send({ type: "http.response.body", body: text }),
              send({ type: "http.response.trailers", headers: [["x-number", String(number)]] })
            )
          )
        default:
          return App.respond(send, 204)
      }
    }
    const read = (body: string): Effect.Effect<string> =>
      Effect.flatMap(receive, (event) => {
        if (event.type !== "http.request") return Effect.succeed(body)
        const more = body + Buffer.from(event.body).toString("latin1")
        return event.more ? read(more) : Effect.succeed(more)
      })
    return number % 7 === 0 ? answer("") : Effect.flatMap(read(""), answer)
  })

  const methodOf = (number: number) => ["GET", "POST", "HEAD", "PUT"][number % 4]!

  const bodyOf = (number: number) => "b".repeat(number % 90)

  const bytesOf = (number: number): string => {
    const start = `${methodOf(number)} /${number}?q=${number}`
    const extra = Array.from({ length: number % 3 }, (_, index) => `x-${index}: ${number}`)
    if (number % 2 === 0) return request(start, extra)
    const body = bodyOf(number)
    return number % 3 === 0
      ? request(
        start,
        [...extra, "transfer-encoding: chunked"],
        chunked(body === "" ? [] : [body.slice(0, 1), body.slice(1)].filter(Boolean))
      )
      : request(start, [...extra, `content-length: ${body.length}`], body)
  }

  const numbers = Array.from({ length: 1000 }, (_, index) => index)

  const check = (bytes: string) => {
    const answers = answersIn(bytes, numbers.map(methodOf))
    assert.strictEqual(answers.length, numbers.length)
    answers.forEach((answer, number) => {
      assert.strictEqual(answer.status, [200, 201, 404, 200, 204][number % 5])
      const headers = 1 + number % 3 + number % 2
      const body = number % 2 === 1 && number % 7 !== 0 ? bodyOf(number) : ""
      const text = `${methodOf(number)} ${number} q=${number} ${headers} ${body}${number % 5 === 1 ? "!" : ""}`
      assert.strictEqual(answer.body, methodOf(number) === "HEAD" || number % 5 === 4 ? "" : text)
      assert.strictEqual(answer.header("x-number"), number % 5 === 1 ? String(number) : undefined)
      const hasTrailers = number % 5 === 3 && methodOf(number) !== "HEAD"
      assert.deepStrictEqual(answer.trailers, hasTrailers ? [["x-number", String(number)]] : [])
    })
  }

  /** Sends the pieces and reads until the last answer is there. */
  const converse = (pieces: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      const { connect, server } = yield* serve(app)
      const client = yield* connect()
      let bytes = ""
      for (const piece of pieces) {
        yield* client.send(piece)
        bytes += yield* client.read
      }
      while ((yield* server.stats).totalExchanges < numbers.length || (yield* server.stats).exchanges > 0) {
        bytes += yield* client.read
      }
      bytes += yield* client.read
      assert.deepInclude(yield* server.stats, { connections: 1, exchanges: 0, totalExchanges: 1000, totalRefused: 0 })
      check(bytes)
    })

  it.effect("has no answer that knows of another, one request at a time", () => converse(numbers.map(bytesOf)))

  it.effect("has no answer that knows of another, all pipelined", () => converse([numbers.map(bytesOf).join("")]))

  it.effect("has no answer that knows of another, cut anywhere", () =>
    converse(numbers.map(bytesOf).join("").match(/[^]{1,997}/g)!))
})
