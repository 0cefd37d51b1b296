import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as AccessLogMemory from "../../../layers/AccessLogMemory.ts"
import * as App from "../../../src/app/App.ts"
import * as F from "../../utils/frames.ts"
import { capture } from "../../utils/logs.ts"
import { answered, bodyOf, opened, routes } from "./serving.ts"

const respond = (
  status: number,
  headers: ReadonlyArray<readonly [string, string]> = [],
  body: string | Uint8Array = ""
) => App.http(({ send }) => App.respond(send, status, body, headers))

describe("an HTTP/2 answer", () => {
  it.effect("is one HEADERS and one DATA that ends the stream, with date and server", () =>
    Effect.gen(function*() {
      const { client } = yield* opened(respond(200, [["x-a", "1"]], "hello"))
      const frames = yield* client.ask(F.get(1))
      assert.deepStrictEqual(frames.map(({ flags, type }) => [type, flags]), [
        ["HEADERS", F.END_HEADERS],
        ["DATA", F.END_STREAM]
      ])
      assert.deepStrictEqual(frames[0]!.fields, [
        [":status", "200"],
        ["x-a", "1"],
        ["date", "Thu, 01 Jan 1970 00:00:00 GMT"],
        ["server", "slipway"],
        ["content-length", "5"]
      ])
    }))

  it.effect("keeps the application's date, server and length", () =>
    Effect.gen(function*() {
      const own = [["date", "x"], ["server", "y"], ["content-length", "5"]] as const
      const { fields } = yield* answered(respond(200, own, "hello"), [F.get(1)])
      assert.deepStrictEqual(fields, [[":status", "200"], ...own])
      const silent = yield* answered(respond(200), [F.get(1)], { serverHeader: "" })
      assert.isUndefined(silent.header("server"))
    }))

  it.effect("without content ends the stream with its HEADERS", () =>
    Effect.gen(function*() {
      const { client } = yield* opened(respond(200))
      const frames = yield* client.ask(F.get(1))
      assert.deepStrictEqual(frames.map(({ flags, type }) => [type, flags]), [[
        "HEADERS",
        F.END_HEADERS | F.END_STREAM
      ]])
      assert.strictEqual(F.answerOn(frames, 1).header("content-length"), "0")
    }))

  for (const status of [204, 205, 304]) {
    it.effect(`of ${status} has no content, and no length that is not the application's`, () =>
      Effect.gen(function*() {
        const { client } = yield* opened(respond(status, [["etag", "\"x\""]], "not sent"))
        const frames = yield* client.ask(F.get(1))
        assert.deepStrictEqual(frames.map(({ flags, type }) => [type, flags]), [
          ["HEADERS", F.END_HEADERS | F.END_STREAM]
        ])
        assert.isUndefined(F.answerOn(frames, 1).header("content-length"))
      }))
  }

  it.effect("to HEAD has the head that GET has, and no content [C132]", () =>
    Effect.gen(function*() {
      const { client } = yield* opened(routes({
        "/whole": ({ send }) => App.respond(send, 200, "hello"),
        "/parts": ({ send }) =>
          Effect.gen(function*() {
            yield* send({ type: "http.response.start", status: 200 })
            for (const more of [true, true, false]) yield* send({ type: "http.response.body", body: "part", more })
          })
      }))
      const head = (stream: number, path: string) => F.headers(stream, F.requestFields("HEAD", path))
      const whole = F.answerOn(yield* client.ask(head(1, "/whole")), 1)
      const parts = F.answerOn(yield* client.ask(head(3, "/parts")), 3)
      assert.strictEqual(whole.header("content-length"), "5")
      assert.isUndefined(parts.header("content-length"))
      for (const answer of [whole, parts]) {
        assert.deepInclude(answer, { status: 200, body: "", ended: true, reset: undefined })
      }
    }))

  it.effect("has every status up to 599 as it is; one above fails the send, and the client gets a 500", () =>
    Effect.gen(function*() {
      const { layer, lines } = capture()
      yield* Effect.gen(function*() {
        const { client } = yield* opened(
          App.http(({ scope, send }) => App.respond(send, Number(scope.path.slice(1)), "x"))
        )
        const statuses = [200, 201, 299, 399, 404, 418, 499, 503, 599, 600, 999]
        const frames = yield* client.ask(...statuses.map((status, n) => F.get(2 * n + 1, `/${status}`)))
        const found = statuses.map((_, n) => F.answerOn(frames, 2 * n + 1).status)
        assert.deepStrictEqual(found, [200, 201, 299, 399, 404, 418, 499, 503, 599, 500, 500])
      }).pipe(Effect.provide(layer))
      assert.strictEqual(lines.filter(({ cause }) => cause.includes("statuses up to 599")).length, 2)
    }))

  it.effect("sends no header that belongs to an HTTP/1 connection [C132]", () =>
    Effect.gen(function*() {
      const connection = [
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Transfer-Encoding",
        "Upgrade",
        "HTTP2-Settings",
        "TE"
      ]
      const headers = [...connection.map((name) => [name, "x"] as const), ["X-Kept", "yes"] as const]
      const { fields } = yield* answered(respond(200, headers), [F.get(1)])
      assert.deepStrictEqual(fields.map(([name]) => name), [":status", "x-kept", "date", "server", "content-length"])
    }))

  it.effect("keeps duplicate headers and their order; of a header that there is once the last counts", () =>
    Effect.gen(function*() {
      const headers = [
        ["set-cookie", "a=1"],
        ["Link", "</x>"],
        ["set-cookie", "b=2"],
        ["content-type", "text/plain"],
        ["Content-Type", "text/html"],
        ["link", "</y>"]
      ] as const
      const { fields } = yield* answered(respond(200, headers), [F.get(1)])
      const values = (name: string) => fields.filter((field) => field[0] === name).map((field) => field[1])
      assert.deepStrictEqual(values("set-cookie"), ["a=1", "b=2"])
      assert.deepStrictEqual(values("link"), ["</x>", "</y>"])
      assert.deepStrictEqual(values("content-type"), ["text/html"])
    }))

  it.effect("has values of one byte a character, without white space around them", () =>
    Effect.gen(function*() {
      const { header } = yield* answered(respond(200, [["x-a", " \t\xe4 \xff\t"], ["x-empty", " "]]), [F.get(1)])
      assert.strictEqual(header("x-a"), "\xe4 \xff")
      assert.strictEqual(header("x-empty"), "")
    }))

  it.effect("may have 100 KiB of headers; what no HTTP/2 client would take fails the send", () =>
    Effect.gen(function*() {
      const { client } = yield* opened(routes({
        "/large": ({ send }) =>
          App.respond(send, 200, "ok", Array.from({ length: 10 }, (_, n) => [`x-${n}`, "y".repeat(10_000)])),
        "/huge": ({ send }) =>
          Effect.catch(
            App.respond(send, 200, "", [["x", "y".repeat(1_048_576)]]),
            (error) => App.respond(send, 502, error.message)
          )
      }))
      const huge = F.answerOn(yield* client.ask(F.get(1, "/huge")), 1)
      assert.strictEqual(huge.status, 502)
      assert.include(huge.body, "too long for HTTP/2")
      const bytes = (yield* client.send(F.get(3, "/large")), yield* client.bytes.read)
      // HEADERS and several CONTINUATIONs.
      assert.isAbove(bytes.length, 60_000)
      assert.strictEqual(bytes.charCodeAt(3), F.types.HEADERS)
      assert.strictEqual(bytes.charCodeAt(4) & F.END_HEADERS, 0)
    }))

  it.effect("has its trailers behind the content, and an empty list of them [C132]", () =>
    Effect.gen(function*() {
      const withTrailers =
        (headers: ReadonlyArray<readonly [string, string]>, body: string) => ({ send }: App.HttpExchange) =>
          Effect.gen(function*() {
            yield* send({ type: "http.response.start", status: 200, trailers: true })
            yield* send({ type: "http.response.body", body })
            yield* send({ type: "http.response.trailers", headers })
          })
      const { client } = yield* opened(routes({
        "/some": withTrailers([["x-sum", "1"], ["Connection", "x"], ["x-sum", "2"]], "body"),
        "/none": withTrailers([], "body"),
        "/bare": withTrailers([["x-sum", "1"]], ""),
        "/long": withTrailers([["x-sum", "1"]], "x".repeat(60_000))
      }))
      const some = F.answerOn(yield* client.ask(F.get(1, "/some")), 1)
      assert.deepInclude(some, {
        body: "body",
        ended: true,
        reset: undefined,
        trailers: [["x-sum", "1"], ["x-sum", "2"]]
      })
      assert.deepInclude(F.answerOn(yield* client.ask(F.get(3, "/none")), 3), {
        body: "body",
        ended: true,
        trailers: []
      })
      const bare = F.answerOn(yield* client.ask(F.get(5, "/bare")), 5)
      assert.deepInclude(bare, { body: "", ended: true, trailers: [["x-sum", "1"]] })
      const long = F.answerOn(yield* client.ask(F.get(7, "/long")), 7)
      assert.deepInclude(long, { ended: true, trailers: [["x-sum", "1"]] })
      assert.strictEqual(long.body.length, 60_000)
      const head = F.answerOn(yield* client.ask(F.headers(9, F.requestFields("HEAD", "/some"))), 9)
      assert.deepInclude(head, { status: 200, body: "", ended: true, trailers: [] })
    }))

  it.effect("may have early hints before it [C132]", () =>
    Effect.gen(function*() {
      const app = App.http(({ send }) =>
        Effect.gen(function*() {
          yield* send({ type: "http.response.early_hint", links: ["</a.css>; rel=preload", "</b.js>; rel=preload"] })
          yield* send({ type: "http.response.early_hint", links: ["</c>"] })
          yield* App.respond(send, 200, "")
        })
      )
      const { interim, status } = yield* answered(app, [F.get(1)])
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(interim, [
        [[":status", "103"], ["link", "</a.css>; rel=preload"], ["link", "</b.js>; rel=preload"]],
        [[":status", "103"], ["link", "</c>"]]
      ])
    }))

  it.effect("holds its head back until the first part, unless it is flushed", () =>
    Effect.gen(function*() {
      const { client } = yield* opened(
        routes({
          "/held": ({ send }) => Effect.andThen(send({ type: "http.response.start", status: 200 }), Effect.never),
          "/flushed": ({ send }) =>
            Effect.andThen(
              send({ type: "http.response.start", status: 200 }),
              Effect.andThen(send({ type: "http.fullflush" }), Effect.never)
            )
        }),
        { shutdownTimeout: 0 }
      )
      assert.deepStrictEqual(yield* client.ask(F.get(1, "/held")), [])
      const frames = yield* client.ask(F.get(3, "/flushed"))
      assert.deepStrictEqual(frames.map(({ flags, type }) => [type, flags]), [["HEADERS", F.END_HEADERS]])
    }))

  it.effect("comes from a file, or from a stream, whole or in part [C132]", () =>
    Effect.gen(function*() {
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-"))),
        (folder) => Effect.sync(() => Fs.rmSync(folder, { recursive: true }))
      )
      const file = Path.join(folder, "file")
      Fs.writeFileSync(file, "0123456789".repeat(5000))
      const start = { type: "http.response.start", status: 200 } as const
      const ends: Array<string> = []
      const { client } = yield* opened(App.http((exchange) => {
        const { scope, send } = exchange
        exchange.connection.onComplete(() => ends.push(scope.path))
        const body = {
          "/file": { file },
          "/part": { file, offset: 49_990, length: 5 },
          "/stream": { stream: Stream.make(Buffer.from("one "), Buffer.from("two ")) },
          "/missing": { file: `${file}.not` }
        }[scope.path]!
        return Effect.andThen(send(start), send({ type: "http.response.body", ...body }))
      }))
      const ask = (stream: number, path: string) =>
        Effect.gen(function*() {
          yield* client.send(F.get(stream, path))
          // Files are read by other threads.
          for (;;) {
            yield* client.read
            const answer = F.answerOn(client.all, stream)
            if (answer.ended) return answer
          }
        })
      const whole = yield* ask(1, "/file")
      assert.strictEqual(whole.body, "0123456789".repeat(5000))
      assert.strictEqual(whole.header("content-length"), "50000")
      assert.deepInclude(yield* ask(3, "/part"), { status: 200, body: "01234" })
      const streamed = yield* ask(5, "/stream")
      assert.strictEqual(streamed.body, "one two ")
      assert.isUndefined(streamed.header("content-length"))
      assert.strictEqual((yield* ask(7, "/missing")).status, 500)
      assert.deepStrictEqual(ends, ["/file", "/part", "/stream"])
    }).pipe(Effect.provide(capture().layer)))

  it.effect("is a line in the access log, as over HTTP/1.1 [C132]", () =>
    Effect.gen(function*() {
      const access = yield* AccessLogMemory.make({ format: "%h %m %U%q %H %s %B" })
      const { client } = yield* Effect.provide(
        opened(
          App.http((exchange) => Effect.flatMap(bodyOf(exchange), (body) => App.respond(exchange.send, 201, body)))
        ),
        access
      )
      yield* client.ask(F.post(1, "/a?b"), F.data(1, "12345", F.END_STREAM))
      yield* client.ask(F.headers(3, F.requestFields("HEAD", "/c")))
      const lines = yield* Effect.provide(Effect.flatMap(AccessLogMemory.Lines, ({ lines }) => lines), access)
      assert.deepStrictEqual(lines, ["127.0.0.1 POST /a?b HTTP/2 201 5", "127.0.0.1 HEAD /c HTTP/2 201 0"])
    }))

  it.effect("longer or shorter than it declares is reset, never ended", () =>
    Effect.gen(function*() {
      const declared = (body: string) => ({ send }: App.HttpExchange) =>
        Effect.gen(function*() {
          yield* send({ type: "http.response.start", status: 200, headers: [["content-length", "5"]] })
          yield* send({ type: "http.response.body", body: "123", more: true })
          yield* send({ type: "http.response.body", body })
        })
      const { client } = yield* opened(routes({ "/long": declared("456"), "/short": declared("4") }))
      for (const [stream, path] of [[1, "/long"], [3, "/short"]] as const) {
        const answer = F.answerOn(yield* client.ask(F.get(stream, path)), stream)
        assert.deepInclude(answer, { status: 200, body: "123", ended: false, reset: "INTERNAL_ERROR" })
      }
    }).pipe(Effect.provide(capture().layer)))
})
