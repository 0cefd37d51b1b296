import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as App from "../../../src/app/App.ts"
import type { HttpSend } from "../../../src/schema/Event.ts"
import { answerIn, answersIn, chunked, request } from "../../utils/answers.ts"
import { asked } from "../../utils/asking.ts"
import { exchange, serve } from "../../utils/serve.ts"

type Send = App.HttpExchange["send"]

const hello = (send: Send) => App.respond(send, 200, "hello")

const part = (body: string, more = false): HttpSend => ({ type: "http.response.body", body, more })

const sendBoth = (send: Send) =>
  Effect.andThen(send({ type: "http.response.start", status: 200 }), send(part("begun", true)))

describe("a request that is refused", () => {
  /** Bytes, status, and the kind that the access log names; each is followed by a request that must not be served. */
  const refused: ReadonlyArray<readonly [name: string, claim: string, bytes: string, status: number, kind: string]> = [
    ["a method that is no token", "[C51]", "G@T / HTTP/1.1\r\nhost: a\r\n\r\n", 400, "MethodInvalid"],
    ["no target", "[C51]", "GET HTTP/1.1\r\nhost: a\r\n\r\n", 400, "VersionInvalid"],
    ["no version", "[C51]", "GET /\r\nhost: a\r\n\r\n", 400, "VersionInvalid"],
    ["another protocol", "[C51]", "GET / HTTPS/1.1\r\nhost: a\r\n\r\n", 400, "VersionInvalid"],
    ["another version", "[C51]", "GET / HTTP/3.0\r\nhost: a\r\n\r\n", 505, "VersionUnsupported"],
    ["two spaces", "[C51]", "GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400, "TargetInvalid"],
    ["a TLS hello", "[C51]", "\x16\x03\x01\x02\x00\x01\x00", 400, "MethodInvalid"],
    ["no host", "[C51]", "GET / HTTP/1.1\r\n\r\n", 400, "HostMissing"],
    ["two hosts", "[C51]", request("GET /", ["host: b"]), 400, "HostRepeated"],
    ["CONNECT", "[C51]", request("CONNECT a:443"), 501, "ConnectUnsupported"],
    [
      "both lengths",
      "[C52]",
      request("POST /", ["content-length: 3", "transfer-encoding: chunked"], "0\r\n\r\n"),
      400,
      "LengthAmbiguous"
    ],
    [
      "chunked not last",
      "[C52]",
      request("POST /", ["transfer-encoding: chunked, gzip"], "0\r\n\r\n"),
      400,
      "TransferEncodingInvalid"
    ],
    [
      "chunked twice",
      "[C52]",
      request("POST /", ["transfer-encoding: chunked, chunked"], "0\r\n\r\n"),
      400,
      "TransferEncodingInvalid"
    ],
    [
      "another coding alone",
      "[C52]",
      request("POST /", ["transfer-encoding: gzip"], "x"),
      400,
      "TransferEncodingInvalid"
    ],
    [
      "another coding before chunked",
      "[C52]",
      request("POST /", ["transfer-encoding: gzip, chunked"], "0\r\n\r\n"),
      501,
      "TransferEncodingUnsupported"
    ],
    [
      "chunked in HTTP/1.0",
      "[C52]",
      "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
      400,
      "TransferEncodingIn10"
    ],
    ["a length with letters", "[C53]", request("POST /", ["content-length: 3a"], "abc"), 400, "ContentLengthInvalid"],
    ["a negative length", "[C53]", request("POST /", ["content-length: -3"], "abc"), 400, "ContentLengthInvalid"],
    ["a signed length", "[C53]", request("POST /", ["content-length: +3"], "abc"), 400, "ContentLengthInvalid"],
    ["a spaced length", "[C53]", request("POST /", ["content-length: 1 3"], "abc"), 400, "ContentLengthInvalid"],
    ["a list of lengths", "[C53]", request("POST /", ["content-length: 3, 3"], "abc"), 400, "ContentLengthInvalid"],
    [
      "two lengths",
      "[C53]",
      request("POST /", ["content-length: 3", "content-length: 3"], "abc"),
      400,
      "ContentLengthRepeated"
    ],
    ["an oversized length", "[C53]", request("POST /", ["content-length: 10000001"]), 413, "BodyTooLarge"],
    ["a length beyond numbers", "[C53]", request("POST /", [`content-length: ${"9".repeat(40)}`]), 413, "BodyTooLarge"],
    ["a line over the limit", "[C54]", request(`GET /${"a".repeat(8192)}`), 414, "RequestLineTooLong"],
    ["headers over the limit", "[C54]", request("GET /", [`x: ${"a".repeat(8192)}`]), 431, "HeadTooLarge"],
    ["too many headers", "[C54]", request("GET /", Array.from({ length: 100 }, () => "x: y")), 431, "TooManyFields"],
    ["a folded header", "[C57]", request("GET /", ["x: a", " b"]), 400, "FoldedLine"],
    ["a NUL in a header", "[C57]", request("GET /", ["x: a\0b"]), 400, "FieldValueInvalid"],
    ["a vertical tab in a header", "[C57]", request("GET /", ["x: a\vb"]), 400, "FieldValueInvalid"],
    ["a form feed in a header", "[C57]", request("GET /", ["x: a\fb"]), 400, "FieldValueInvalid"],
    ["a space before the colon", "[C57]", request("GET /", ["x : a"]), 400, "FieldNameInvalid"],
    ["a bare line feed", "[C57]", "GET / HTTP/1.1\nhost: a\n\n", 400, "LineEndInvalid"]
  ]

  for (const [name, claim, bytes, status, kind] of refused) {
    it.effect(`for ${name} gets ${status}, is logged once, and reaches no application ${claim}`, () =>
      Effect.gen(function*() {
        let calls = 0
        const app = App.http(({ send }) => {
          calls++
          return hello(send)
        })
        const { answer, errors, isEnded, lines } = yield* asked(
          app,
          request("GET /fine") + bytes + request("GET /smuggled")
        )
        const [first, second, ...rest] = answersIn(answer)
        assert.strictEqual(first!.body, "hello")
        assert.deepStrictEqual(rest, [])
        assert.strictEqual(second!.status, status)
        assert.strictEqual(second!.body, second!.reason)
        assert.strictEqual(second!.header("content-type"), "text/plain; charset=utf-8")
        assert.strictEqual(second!.header("connection"), "close")
        assert.isTrue(isEnded)
        assert.strictEqual(calls, 1)
        assert.deepStrictEqual(lines, ["GET /fine 200 5 -", `- - ${status} ${second!.body.length} ${kind}`])
        assert.deepStrictEqual(errors, [])
      }))
  }

  it.effect("for its missing host is served when it is HTTP/1.0 [C51]", () =>
    Effect.gen(function*() {
      const app = App.http(({ send }) => hello(send))
      assert.strictEqual(answerIn(yield* exchange(app, "GET / HTTP/1.0\r\n\r\n")).body, "hello")
    }))

  it.effect("for its size is refused while it arrives, not after [C54]", () =>
    Effect.gen(function*() {
      const endless: ReadonlyArray<readonly [start: string, more: string, status: number]> = [
        ["GET /", "a".repeat(1000), 414],
        ["\r\n", "\r\n".repeat(500), 414],
        ["GET / HTTP/1.1\r\nhost: a\r\nx: ", "a".repeat(1000), 431],
        ["GET / HTTP/1.1\r\nhost: a\r\n", "x: y\r\n", 431]
      ]
      for (const [begin, more, status] of endless) {
        const { connect } = yield* serve(App.http(({ send }) => hello(send)))
        const client = yield* connect()
        yield* client.send(begin)
        let count = 0
        while (!(yield* client.isEnded) && count < 200) {
          yield* client.send(more)
          count++
        }
        assert.isBelow(count, 200)
        assert.strictEqual(answerIn(yield* client.read).status, status)
      }
    }))

  /** Reads the body, then answers. */
  const reading = (seen: Array<string>) =>
    App.http(({ connection, receive, send }) => {
      connection.onDisconnect((reason) => seen.push(reason))
      const read: Effect.Effect<void> = Effect.flatMap(receive, (event) =>
        event.type === "http.request" && event.more ? read : Effect.void)
      return Effect.andThen(read, hello(send))
    })

  it.effect("for a body over the limit gets 413, declared or sent [C55]", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const options = { maxBodyBytes: 10 }
      const declared = yield* asked(reading(seen), request("POST /x", ["content-length: 11"], "a".repeat(11)), options)
      assert.strictEqual(answerIn(declared.answer).status, 413)
      assert.isTrue(declared.isEnded)
      assert.deepStrictEqual(declared.lines, ["- - 413 17 BodyTooLarge"])
      assert.deepStrictEqual(seen, [])

      const body = chunked(["123456", "78901"]) + request("GET /smuggled")
      const sent = yield* asked(reading(seen), request("POST /x", ["transfer-encoding: chunked"], body), options)
      assert.strictEqual(answerIn(sent.answer).status, 413)
      assert.isTrue(sent.isEnded)
      assert.deepStrictEqual(sent.lines, ["POST /x 413 17 body_too_large"])
      assert.deepStrictEqual(sent.errors, [])
      assert.deepStrictEqual(seen, ["body_too_large"])

      const fits = yield* asked(reading(seen), request("POST /x", ["content-length: 10"], "a".repeat(10)), options)
      assert.strictEqual(answerIn(fits.answer).status, 200)
    }))

  it.effect("for a body over the limit is cut when its answer has begun [C55]", () =>
    Effect.gen(function*() {
      const app = App.http(({ receive, send }) =>
        Effect.andThen(sendBoth(send), Effect.andThen(Effect.andThen(receive, receive), send(part("end"))))
      )
      const { connect } = yield* serve(app, { maxBodyBytes: 10 })
      const client = yield* connect()
      yield* client.send(request("POST /x", ["transfer-encoding: chunked"], "5\r\nabcde\r\n"))
      yield* client.send("6\r\nabcdef\r\n")
      assert.deepInclude(answerIn(yield* client.readAll), { status: 200, body: "begun", complete: false })
    }))

  const brokenChunks: ReadonlyArray<readonly [name: string, body: string, status: number, problem: string]> = [
    ["a size that is no number", "xyz\r\nabc\r\n0\r\n\r\n", 400, "protocol_error"],
    ["an empty size", "\r\nabc\r\n0\r\n\r\n", 400, "protocol_error"],
    ["a negative size", "-1\r\nabc\r\n0\r\n\r\n", 400, "protocol_error"],
    ["a size over the limit", "ffffffff\r\nabc", 413, "body_too_large"],
    ["a size beyond numbers", `${"f".repeat(40)}\r\nabc`, 413, "body_too_large"],
    ["a missing line end", "3\r\nabcdef0\r\n\r\n", 400, "protocol_error"],
    ["a line feed for a line end", "3\nabc\n0\n\n", 400, "protocol_error"]
  ]

  for (const [name, body, status, problem] of brokenChunks) {
    it.effect(`for a chunk with ${name} gets ${status} and is logged once [C56]`, () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const bytes = request("POST /x", ["transfer-encoding: chunked"], body)
        const { answer, errors, isEnded, lines } = yield* asked(reading(seen), bytes + request("GET /smuggled"))
        const refusal = answerIn(answer)
        assert.strictEqual(refusal.status, status)
        assert.strictEqual(refusal.header("connection"), "close")
        assert.isTrue(isEnded)
        assert.deepStrictEqual(lines, [`POST /x ${status} ${refusal.body.length} ${problem}`])
        assert.deepStrictEqual(seen, [problem])
        assert.deepStrictEqual(errors, [])
      }))

    it.effect(`for a chunk with ${name} only ends the connection when it was answered before [C56]`, () =>
      Effect.gen(function*() {
        const bytes = request("POST /x", ["transfer-encoding: chunked"], body)
        const app = App.http(({ send }) => hello(send))
        const { answer, isEnded, lines } = yield* asked(app, bytes + request("GET /smuggled"))
        assert.deepInclude(answerIn(answer), { status: 200, body: "hello" })
        assert.isTrue(isEnded)
        assert.deepStrictEqual(lines, ["POST /x 200 5 -"])
      }))
  }
})
