import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as App from "../../../src/app/App.ts"
import { answerIn } from "../../utils/answers.ts"
import { capture } from "../../utils/logs.ts"
import { serve } from "../../utils/serve.ts"

const get = "GET / HTTP/1.0\r\naccept: text/event-stream\r\nconnection: keep-alive\r\n\r\n"

describe("an event stream on HTTP/1.0", () => {
  const streaming = (last: Effect.Effect<void, unknown>) =>
    App.sse(({ scope, send }) =>
      Effect.gen(function*() {
        yield* send({ type: "sse.start" })
        yield* send({ type: "sse.send", data: scope.httpVersion })
        yield* last
      })
    )

  it.effect("has no chunks, and ends with its connection [C84] [C91]", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(streaming(Effect.void))
      const client = yield* connect()
      yield* client.send(get)
      const answer = answerIn(yield* client.readAll)
      assert.strictEqual(answer.header("transfer-encoding"), undefined)
      assert.strictEqual(answer.header("connection"), "close")
      assert.strictEqual(answer.body, "data: 1.0\n\n")
      assert.isFalse(yield* client.wasReset)
    }))

  it.effect("is reset when its application fails: nothing else could show it", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(streaming(Effect.fail("no")))
      const client = yield* connect()
      yield* client.send(get)
      yield* client.ended
      assert.isTrue(yield* client.wasReset)
    }).pipe(Effect.provide(capture().layer)))
})
