import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import * as App from "../../../src/app/App.ts"
import type { SseSend } from "../../../src/schema/Event.ts"
import type { Headers } from "../../../src/schema/Scope.ts"
import { capture } from "../../utils/logs.ts"
import { serve, versions } from "./streams.ts"

const decline = (status: number, headers: Headers = []): SseSend => ({
  type: "sse.http.response.start",
  status,
  headers
})
const body = (text: string, more = false): SseSend => ({ type: "sse.http.response.body", body: text, more })

/** Sends whatever a test makes up, keeps the message of each failure, and then does `last`. */
const sending = (
  events: ReadonlyArray<unknown>,
  last: (exchange: App.SseExchange) => Effect.Effect<void, unknown> = () => Effect.void
) => {
  const problems: Array<string> = []
  const app = App.sse((exchange) =>
    Effect.andThen(
      Effect.forEach(events, (event) =>
        Effect.map(Effect.result(exchange.send(event as SseSend)), (result) => {
          problems.push(Result.isFailure(result) ? result.failure.message : "sent")
        })),
      last(exchange)
    )
  )
  return { app, problems }
}

for (const version of versions) {
  describe(`a declined event stream on HTTP/${version}`, () => {
    it.effect("gets a plain answer in as many parts as it has, and nothing that streams need [C92]", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(Date.UTC(2030, 0, 2, 3, 4, 5))
        const { app, problems } = sending([
          decline(403, [["content-type", "text/plain"], ["x-why", "no"]]),
          body("not ", true),
          { type: "sse.http.response.body", body: new TextEncoder().encode("für "), more: true },
          { type: "sse.http.response.body", more: true },
          body("dich")
        ])
        const { connect } = yield* serve(app)
        const connection = yield* connect(version)
        const stream = yield* connection.ask()
        assert.deepStrictEqual(problems, Array(5).fill("sent"))
        assert.strictEqual(yield* stream.status, 403)
        assert.strictEqual(yield* stream.header("content-type"), "text/plain")
        assert.strictEqual(yield* stream.header("x-why"), "no")
        assert.strictEqual(yield* stream.header("date"), "Wed, 02 Jan 2030 03:04:05 GMT")
        assert.isUndefined(yield* stream.header("cache-control"))
        assert.strictEqual(Buffer.from(yield* stream.text, "latin1").toString(), "not für dich")
        assert.strictEqual(yield* stream.state, "whole")
      }))

    it.effect("ends its connection on HTTP/1, and only itself on HTTP/2 [C92]", () =>
      Effect.gen(function*() {
        const own: Headers = [["connection", "keep-alive"]]
        const apps = [decline(401), decline(401, own)].map((start) => sending([start, body("no")]).app)
        for (const app of [...apps, App.sse(App.decline)]) {
          const { connect } = yield* serve(app)
          const connection = yield* connect(version)
          const stream = yield* connection.ask()
          assert.strictEqual(yield* stream.state, "whole")
          assert.strictEqual(yield* stream.header("connection"), version === "2" ? undefined : "close")
          assert.strictEqual(yield* connection.isEnded, version === "1.1")
          if (version === "2") assert.strictEqual(yield* (yield* connection.ask()).state, "whole")
        }
      }))

    it.effect("has the length of a body in one part, and what the application declares [C92]", () =>
      Effect.gen(function*() {
        for (
          const events of [[decline(404), body("gone")], [
            decline(404, [["content-length", "4"]]),
            body("go", true),
            body("ne")
          ]]
        ) {
          const { ask } = yield* serve(sending(events).app)
          const stream = yield* ask(version)
          assert.strictEqual(yield* stream.header("content-length"), "4")
          assert.strictEqual(yield* stream.text, "gone")
        }
      }))

    it.effect("can get a 204, which has no body whatever is sent [C92]", () =>
      Effect.gen(function*() {
        for (const text of ["", "x"]) {
          const { app, problems } = sending([decline(204), body(text)])
          const { ask } = yield* serve(app)
          const stream = yield* ask(version)
          assert.deepStrictEqual(problems, ["sent", "sent"])
          assert.strictEqual(yield* stream.status, 204)
          assert.isUndefined(yield* stream.header("content-length"))
          assert.isUndefined(yield* stream.header("content-type"))
          assert.strictEqual(yield* stream.text, "")
          assert.strictEqual(yield* stream.state, "whole")
        }
      }))

    it.effect("gets its answer also when it brought a body that nobody has read [C92]", () =>
      Effect.gen(function*() {
        const { ask } = yield* serve(sending([decline(405), body("no")]).app)
        const stream = yield* ask(version, { method: "POST", framing: "follows" })
        assert.strictEqual(yield* stream.status, 405)
        assert.strictEqual(yield* stream.text, "no")
        assert.strictEqual(yield* stream.state, "whole")
      }))

    it.effect("may be declined for what its body says [C92]", () =>
      Effect.gen(function*() {
        const app = App.sse(({ receive, send }) =>
          Effect.flatMap(receive, (event) => {
            const asked = event.type === "sse.request" ? Buffer.from(event.body).toString() : ""
            return Effect.andThen(send(decline(422)), send(body(asked)))
          })
        )
        const { ask } = yield* serve(app)
        assert.strictEqual(yield* (yield* ask(version, { method: "POST", body: "abc" })).text, "abc")
      }))

    it.effect("accepts no event of a stream any more, and no second answer [C93]", () =>
      Effect.gen(function*() {
        const streamEvents: ReadonlyArray<SseSend> = [
          { type: "sse.start" },
          { type: "sse.send", data: "x" },
          { type: "sse.comment", comment: "x" },
          { type: "sse.keepalive", interval: 1 },
          { type: "sse.close" },
          decline(500)
        ]
        const { app, problems } = sending([decline(403), ...streamEvents, body("no"), ...streamEvents, body("more")])
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        const refused = (state: string) =>
          streamEvents.map(({ type }) => `'${type}' is not allowed on sse while ${state}`)
        assert.deepStrictEqual(problems, [
          "sent",
          ...refused("the stream is being declined"),
          "sent",
          ...refused("the answer is complete"),
          "'sse.http.response.body' is not allowed on sse while the answer is complete"
        ])
        assert.strictEqual(yield* stream.status, 403)
        assert.strictEqual(yield* stream.text, "no")
      }))

    it.effect("cannot be one that has started [C93]", () =>
      Effect.gen(function*() {
        const { app, problems } = sending([
          { type: "sse.start" },
          decline(403),
          body("no"),
          { type: "sse.send", data: "x" }
        ])
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        assert.deepStrictEqual(problems, [
          "sent",
          "'sse.http.response.start' is not allowed on sse while the stream is open",
          "'sse.http.response.body' is not allowed on sse while the stream is open",
          "sent"
        ])
        assert.strictEqual(yield* stream.status, 200)
        assert.strictEqual(yield* stream.text, "data: x\n\n")
      }))

    it.effect("can still be a stream when the decline was refused [C93] [C18]", () =>
      Effect.gen(function*() {
        const { app, problems } = sending([
          decline(403, [["x", "a\r\nb: c"]]),
          { type: "sse.http.response.start", status: 403, headers: null },
          decline(99),
          { type: "sse.start" }
        ])
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        assert.deepStrictEqual(problems, [
          "'sse.http.response.start' has an invalid header \"x\": the value has a control character or one above U+00FF",
          "'sse.http.response.start' has an invalid header \"headers\": headers must be an array of [name, value]",
          "'sse.http.response.start' has an invalid status: 99 is not a final status from 200 to 999",
          "sent"
        ])
        assert.strictEqual(yield* stream.status, 200)
        assert.strictEqual(yield* stream.header("connection"), undefined)
      }))

    it.effect("takes fields it does not know for nothing [C7]", () =>
      Effect.gen(function*() {
        const { app } = sending([{ ...decline(404), trailers: true, x: 1 }, { ...body("no"), file: "/etc/hostname" }])
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        assert.strictEqual(yield* stream.text, "no")
        assert.strictEqual(yield* stream.state, "whole")
      }))

    it.effect("is followed by no event, not even when client or server end [C92]", () =>
      Effect.gen(function*() {
        const events: Array<unknown> = []
        const { app } = sending([decline(404), body("no")], ({ connection, receive }) => {
          connection.onComplete(() => events.push("complete"))
          connection.onDisconnect((reason) => events.push(reason))
          return Effect.forever(Effect.map(receive, (event) => events.push(event)))
        })
        const { ask, server, stop } = yield* serve(app)
        const stream = yield* ask(version)
        assert.strictEqual(yield* stream.state, "whole")
        yield* stream.leave
        yield* stop
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(events, ["complete"])
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }))

    it.effect("is told of the end of a client that leaves in the middle of it [C94]", () =>
      Effect.gen(function*() {
        const events: Array<unknown> = []
        const { app } = sending([decline(404), body("no", true)], ({ receive, send }) =>
          Effect.gen(function*() {
            yield* receive
            events.push(yield* receive)
            yield* send(body("thing"))
          }))
        const { ask, server } = yield* serve(app)
        const stream = yield* ask(version)
        assert.strictEqual(yield* stream.state, "open")
        yield* stream.leave
        assert.deepStrictEqual(events, [{ type: "sse.disconnect", reason: "client_closed" }])
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }))

    it.effect("that is not finished is a 500, or cut where it was begun", () => {
      const { layer } = capture()
      return Effect.gen(function*() {
        const unbegun = yield* (yield* serve(sending([decline(404)]).app)).ask(version)
        assert.strictEqual(yield* unbegun.status, 500)
        assert.strictEqual(yield* unbegun.state, "whole")
        const begun = yield* (yield* serve(sending([decline(404), body("no", true)], () => Effect.sleep(1000)).app))
          .ask(version)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* begun.status, 404)
        assert.strictEqual(yield* begun.state, "cut")
      }).pipe(Effect.provide(layer))
    })
  })
}
