import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as App from "../../../src/app/App.ts"
import type { SseReceive } from "../../../src/schema/Event.ts"
import { serve, versions } from "./streams.ts"

/** Starts a stream and receives until it is told of the end. */
const receiving = () => {
  const events: Array<SseReceive> = []
  const receiveAll = (exchange: App.SseExchange): Effect.Effect<void> =>
    Effect.flatMap(exchange.receive, (event) => {
      events.push(event)
      return event.type === "sse.disconnect" ? Effect.void : receiveAll(exchange)
    })
  const app = App.sse((exchange) => Effect.andThen(exchange.send({ type: "sse.start" }), receiveAll(exchange)))
  const parts = () => events.filter((event) => event.type === "sse.request")
  const body = () => Buffer.concat(parts().map((part) => part.body)).toString("latin1")
  const mores = () => parts().map(({ more }) => more)
  return { app, events, body, mores }
}

for (const version of versions) {
  describe(`the request of an event stream on HTTP/${version}`, () => {
    it.effect("is one empty event without a body, and nothing follows until the end [C83]", () =>
      Effect.gen(function*() {
        for (const method of ["GET", "POST", "DELETE"]) {
          const { app, events } = receiving()
          const { ask } = yield* serve(app)
          const stream = yield* ask(version, { method })
          assert.strictEqual(yield* stream.state, "open")
          yield* TestClock.adjust("10 minutes")
          assert.strictEqual(yield* stream.state, "open")
          assert.deepStrictEqual(events, [{ type: "sse.request", body: new Uint8Array(0), more: false }], method)
        }
      }))

    it.effect("brings the body of a declared length whole [C83]", () =>
      Effect.gen(function*() {
        const { app, body, mores } = receiving()
        const { ask } = yield* serve(app)
        yield* ask(version, { method: "POST", body: "name=value" })
        assert.strictEqual(body(), "name=value")
        assert.deepStrictEqual(mores(), [false])
      }))

    it.effect("brings a body of unknown length without its framing [C83]", () =>
      Effect.gen(function*() {
        const { app, body, mores } = receiving()
        const { ask } = yield* serve(app)
        yield* ask(version, { method: "POST", body: "name=value", framing: "chunked" })
        assert.strictEqual(body(), "name=value")
        assert.strictEqual(mores().indexOf(false), mores().length - 1)
      }))

    it.effect("brings the parts of a body as they come, while events already go out [C83]", () =>
      Effect.gen(function*() {
        const app = App.sse(({ receive, send }) =>
          Effect.gen(function*() {
            yield* send({ type: "sse.start" })
            let more = true
            while (more) {
              const event = yield* receive
              if (event.type === "sse.disconnect") return
              more = event.more
              yield* send({ type: "sse.send", data: `${Buffer.from(event.body).toString()},${more}` })
            }
          })
        )
        const { ask } = yield* serve(app)
        const stream = yield* ask(version, { method: "PUT", framing: "follows" })
        assert.strictEqual(yield* stream.status, 200)
        yield* stream.send("one", true)
        assert.strictEqual(yield* stream.text, "data: one,true\n\n")
        yield* stream.send("two", true)
        assert.strictEqual(yield* stream.text, "data: one,true\n\ndata: two,true\n\n")
        assert.strictEqual(yield* stream.state, "open")
        yield* stream.send("three")
        assert.match(yield* stream.text, /data: three,(?:false|true\n\ndata: ,false)\n\n$/)
        assert.strictEqual(yield* stream.state, "whole")
      }))

    it.effect("is followed by nothing but the disconnect, as often as it is asked for [C83] [C94]", () =>
      Effect.gen(function*() {
        const events: Array<SseReceive> = []
        const app = App.sse(({ receive, send }) =>
          Effect.andThen(
            send({ type: "sse.start" }),
            Effect.forEach([1, 2, 3, 4], () => Effect.map(receive, (event) => events.push(event)))
          )
        )
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        yield* stream.leave
        const disconnect = { type: "sse.disconnect", reason: "client_closed" } as const
        assert.deepStrictEqual(events.slice(1), [disconnect, disconnect, disconnect])
      }))

    it.effect("over maxBodyBytes is 413 before the stream has started, and cuts it afterwards [C83]", () =>
      Effect.gen(function*() {
        const reasons: Array<unknown> = []
        const { ask } = yield* serve(
          App.sse(({ connection, receive, scope, send }) => {
            connection.onDisconnect((reason) => reasons.push(reason))
            const start = scope.path === "/started" ? send({ type: "sse.start" }) : Effect.void
            return Effect.andThen(start, Effect.andThen(receive, receive))
          }),
          { maxBodyBytes: 4, disconnectGrace: 0 }
        )
        const early = yield* ask(version, { method: "POST", framing: "follows" })
        yield* early.send("12345", true)
        assert.strictEqual(yield* early.status, 413)
        assert.strictEqual(yield* early.state, "whole")
        const late = yield* ask(version, { method: "POST", framing: "follows", path: "/started" })
        yield* late.send("12345", true)
        assert.strictEqual(yield* late.status, 200)
        assert.strictEqual(yield* late.state, "cut")
        assert.deepStrictEqual(reasons, ["body_too_large", "body_too_large"])
        yield* TestClock.adjust("2 seconds")
      }))
  })
}
