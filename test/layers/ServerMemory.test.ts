import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as App from "../../src/app/App.ts"
import { bodyOf, exchange, headerOf, serve } from "../utils/serve.ts"

const hello = App.http(({ scope, send }) => App.respond(send, 200, `Hello, ${scope.path}`))

describe("ServerMemory", () => {
  it.effect("answers a request", () =>
    Effect.gen(function*() {
      const answer = yield* exchange(hello, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.isTrue(answer.startsWith("HTTP/1.1 200 OK\r\n"))
      assert.strictEqual(bodyOf(answer), "Hello, /x")
      assert.strictEqual(headerOf(answer, "content-length"), "9")
    }))

  it.effect("answers pipelined requests in order [C49]", () =>
    Effect.gen(function*() {
      const slow = App.http(({ scope, send }) =>
        Effect.andThen(Effect.sleep(scope.path === "/a" ? "3 seconds" : "1 second"), App.respond(send, 200, scope.path))
      )
      const { connect } = yield* serve(slow)
      const client = yield* connect()
      yield* client.send(["/a", "/b", "/c"].map((path) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`).join(""))
      yield* TestClock.adjust("10 seconds")
      const answers = yield* client.read
      assert.deepStrictEqual(answers.match(/^\/[abc]/gm), ["/a", "/b", "/c"])
    }))

  it.effect("closes an idle connection after the keep-alive timeout, counted from the answer [C141]", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(hello)
      const client = yield* connect()
      yield* client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      yield* TestClock.adjust("59 seconds")
      yield* client.read
      assert.isFalse(yield* client.isEnded)
      yield* TestClock.adjust("2 seconds")
      yield* client.read
      assert.isTrue(yield* client.isEnded)
    }))
})
