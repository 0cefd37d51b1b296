import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as App from "../../../src/app/App.ts"
import type { SendError } from "../../../src/app/SendError.ts"
import type { Headers } from "../../../src/schema/Scope.ts"
import { answerIn, answersIn, request } from "../../utils/answers.ts"
import { soundExchange } from "../../utils/asking.ts"
import { exchange, serve } from "../../utils/serve.ts"

const withHeaders = (headers: Headers) => App.http(({ send }) => App.respond(send, 200, "hello", headers))

/** Headers that must not reach a wire. */
const badValues = ["a\rb", "a\nb", "a\r\nset-cookie: x=y", "a\0b", "\r\n\r\n<html>", "\x7f", "\x01", "€"]
const badNames = ["", "a\r\nb", "a\nb", "a\0b", "a\tb", "a\x1fb", "a\x7fb", "a b", "a:b", "é", "(", "a/b"]

const refusals = (run: (name: string, value: string) => Effect.Effect<void, SendError>) =>
  Effect.forEach(
    [...badValues.map((value) => ["x-name", value] as const), ...badNames.map((name) => [name, "x-value"] as const)],
    ([name, value]) => Effect.map(Effect.flip(run(name, value)), (error) => error.reason)
  )

describe("headers of an answer", () => {
  it.effect("keep order, duplicates and bytes", () =>
    Effect.gen(function*() {
      const headers: Headers = [["x-b", "2"], ["set-cookie", "a=1"], ["x-a", "\xff\t "], ["set-cookie", "b=2"], [
        "x-b",
        ""
      ]]
      const answer = answerIn(yield* exchange(withHeaders(headers), request("GET /")))
      assert.deepStrictEqual(answer.headers.slice(0, 5), headers)
    }))

  it.effect("fail the send when a value could end its line or a name is no token; nothing is written [C16][C17]", () =>
    Effect.gen(function*() {
      const app = App.http(({ send }) =>
        Effect.gen(function*() {
          const reasons = yield* refusals((name, value) =>
            send({ type: "http.response.start", status: 418, headers: [["x-before", "y"], [name, value]] })
          )
          for (const reason of reasons) assert.strictEqual(reason._tag, "InvalidHeader")
          assert.strictEqual(reasons.length, badValues.length + badNames.length)
          yield* App.respond(send, 200, "hello", [["x-after", "y"]])
        })
      )
      const answer = answerIn(yield* soundExchange(app, request("GET /")))
      assert.strictEqual(answer.status, 200)
      assert.deepStrictEqual(answer.headers.map(([name]) => name), ["x-after", "date", "server", "content-length"])
    }))

  it.effect("name the event, the header and the problem when they are refused [C16]", () =>
    Effect.gen(function*() {
      const app = App.http(({ send }) =>
        Effect.flatMap(
          Effect.flip(send({ type: "http.response.start", status: 200, headers: [["x-a", "b\r\nc: d"]] })),
          (error) => App.respond(send, 200, error.message)
        )
      )
      const answer = answerIn(yield* soundExchange(app, request("GET /")))
      assert.strictEqual(
        answer.body,
        "'http.response.start' has an invalid header \"x-a\": the value has a control character or one above U+00FF"
      )
    }))

  it.effect("become the server's 500 when the application does not mend them [C16]", () =>
    Effect.gen(function*() {
      const bytes = yield* exchange(withHeaders([["location", "/\r\nset-cookie: stolen=1"]]), request("GET /"))
      assert.strictEqual(answerIn(bytes).status, 500)
      assert.notInclude(bytes, "stolen")
    }))

  it.effect("are checked in trailers as well [C18]", () =>
    Effect.gen(function*() {
      const app = App.http(({ send }) =>
        Effect.gen(function*() {
          yield* send({ type: "http.response.start", status: 200, trailers: true })
          yield* send({ type: "http.response.body", body: "hello" })
          const reasons = yield* refusals((name, value) =>
            send({ type: "http.response.trailers", headers: [["x-before", "y"], [name, value]] })
          )
          for (const reason of reasons) {
            assert.deepInclude(reason, { _tag: "InvalidHeader", event: "http.response.trailers" })
          }
          yield* send({ type: "http.response.trailers", headers: [["x-after", "y"]] })
        })
      )
      const answer = answerIn(yield* soundExchange(app, request("GET /")))
      assert.strictEqual(answer.body, "hello")
      assert.deepStrictEqual(answer.trailers, [["x-after", "y"]])
    }))

  it.effect("are checked in early hints as well [C18]", () =>
    Effect.gen(function*() {
      const app = App.http(({ send }) =>
        Effect.gen(function*() {
          for (const value of badValues) {
            const error = yield* Effect.flip(send({ type: "http.response.early_hint", links: ["</ok>", value] }))
            assert.deepInclude(error.reason, { _tag: "InvalidHeader", event: "http.response.early_hint" })
          }
          yield* App.respond(send, 200, "hello")
        })
      )
      assert.deepInclude(answerIn(yield* soundExchange(app, request("GET /"))), { status: 200, body: "hello" })
    }))

  it.effect("of the wrong shape fail the send", () =>
    Effect.gen(function*() {
      const shapes: ReadonlyArray<unknown> = [{ "x-a": "b" }, "x-a: b", [["x-a", 1]], [[1, "b"]], [["x-a"]], [["x-a", [
        "b"
      ]]]]
      const app = App.http(({ send }) =>
        Effect.gen(function*() {
          for (const headers of shapes) {
            const error = yield* Effect.flip(send({ type: "http.response.start", status: 200, headers } as never))
            assert.strictEqual(error.reason._tag, "InvalidHeader")
          }
          yield* send({ type: "http.response.start", status: 200, trailers: true })
          yield* send({ type: "http.response.body", body: "hello" })
          for (const headers of shapes) {
            const error = yield* Effect.flip(send({ type: "http.response.trailers", headers } as never))
            assert.strictEqual(error.reason._tag, "InvalidHeader")
          }
          yield* send({ type: "http.response.trailers" })
        })
      )
      assert.deepInclude(answerIn(yield* soundExchange(app, request("GET /"))), {
        status: 200,
        body: "hello",
        trailers: []
      })
    }))

  it.effect("get a date unless the application has sent one [C32]", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(Date.UTC(2026, 0, 2, 3, 4, 5, 678))
      const { connect } = yield* serve(App.http(({ scope, send }) =>
        App.respond(send, 200, "", scope.path === "/own" ? [["Date", "Thu, 01 Jan 1970 00:00:00 GMT"]] : [])
      ))
      const client = yield* connect()
      const datesOf = (bytes: string) =>
        answersIn(bytes).map((answer) =>
          answer.headers.filter(([name]) =>
            name.toLowerCase() === "date"
          ).map(([, date]) => date)
        )
      yield* client.send(request("GET /") + request("GET /own"))
      assert.deepStrictEqual(datesOf(yield* client.read), [["Fri, 02 Jan 2026 03:04:05 GMT"], [
        "Thu, 01 Jan 1970 00:00:00 GMT"
      ]])
      yield* TestClock.adjust("30 seconds")
      yield* client.send(request("GET /"))
      assert.deepStrictEqual(datesOf(yield* client.read), [["Fri, 02 Jan 2026 03:04:35 GMT"]])
    }))

  it.effect("get a server line unless the application has sent one or the setting is empty [C33]", () =>
    Effect.gen(function*() {
      const serversOf = (bytes: string) => answerIn(bytes).headers.filter(([name]) => name.toLowerCase() === "server")
      const bare = withHeaders([])
      const own = withHeaders([["Server", "mine"]])
      assert.deepStrictEqual(serversOf(yield* exchange(bare, request("GET /"))), [["server", "slipway"]])
      assert.deepStrictEqual(serversOf(yield* exchange(own, request("GET /"))).map(([, value]) => value), ["mine"])
      assert.deepStrictEqual(serversOf(yield* exchange(bare, request("GET /"), { serverHeader: "" })), [])
      assert.deepStrictEqual(serversOf(yield* exchange(bare, request("GET /"), { serverHeader: "x/1" })), [[
        "server",
        "x/1"
      ]])
    }))

  it.effect("may be very many and very long", () =>
    Effect.gen(function*() {
      const headers: Headers = Array.from({ length: 5000 }, (_, index) => [`x-${index}`, "v".repeat(index % 100)])
      const { connect } = yield* serve(withHeaders([...headers, ["x-long", "l".repeat(200_000)]]))
      const client = yield* connect()
      yield* client.send(request("GET /") + request("GET /"))
      const answers = answersIn(yield* client.read)
      assert.strictEqual(answers.length, 2)
      for (const answer of answers) {
        assert.deepStrictEqual(answer.headers.slice(0, 5000), headers)
        assert.strictEqual(answer.header("x-long")!.length, 200_000)
        assert.strictEqual(answer.body, "hello")
      }
    }))

  it.effect("that belong to the connection are the server's", () =>
    Effect.gen(function*() {
      const headers: Headers = [["Connection", "keep-alive"], ["Keep-Alive", "timeout=5"], [
        "transfer-encoding",
        "chunked"
      ]]
      const answer = answerIn(yield* exchange(withHeaders(headers), request("GET /")))
      assert.deepStrictEqual(answer.headers.map(([name]) => name), ["date", "server", "content-length"])
    }))

  it.effect("with a content-length that is not one decimal number fail the send", () =>
    Effect.gen(function*() {
      const lists: ReadonlyArray<Headers> = [
        [["content-length", "-1"]],
        [["content-length", "5, 5"]],
        [["content-length", "+5"]],
        [["content-length", ""]],
        [["content-length", "99999999999999999999"]],
        [["content-length", "5"], ["Content-Length", "6"]]
      ]
      const app = App.http(({ send }) =>
        Effect.gen(function*() {
          for (const headers of lists) {
            const error = yield* Effect.flip(send({ type: "http.response.start", status: 200, headers }))
            assert.strictEqual(error.reason._tag, "InvalidHeader")
          }
          yield* App.respond(send, 200, "hello", [["content-length", "5"], ["Content-Length", "5"]])
        })
      )
      const answer = answerIn(yield* soundExchange(app, request("GET /")))
      assert.strictEqual(answer.body, "hello")
      assert.strictEqual(answer.headers.filter(([name]) => name.toLowerCase() === "content-length").length, 1)
    }))
})
