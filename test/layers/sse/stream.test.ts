import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import * as App from "../../../src/app/App.ts"
import type { SseSend, SseSendEvent } from "../../../src/schema/Event.ts"
import type { Headers } from "../../../src/schema/Scope.ts"
import { utf8 } from "../../utils/answers.ts"
import { serve, versions } from "./streams.ts"

/** Sends whatever a test makes up, and keeps the message of each failure. */
const sending = (...events: ReadonlyArray<unknown>) => {
  const problems: Array<string> = []
  const app = App.sse(({ send }) =>
    Effect.forEach(events, (event) =>
      Effect.map(Effect.result(send(event as SseSend)), (result) => {
        problems.push(Result.isFailure(result) ? result.failure.message : "sent")
      }))
  )
  return { app, problems }
}

const start = (headers?: Headers) => ({ type: "sse.start", ...(headers === undefined ? {} : { headers }) })
const event = (fields: Omit<SseSendEvent, "type">) => ({ type: "sse.send", ...fields })

for (const version of versions) {
  describe(`an event stream on HTTP/${version}`, () => {
    const textOf = (...events: ReadonlyArray<unknown>) =>
      Effect.gen(function*() {
        const { app, problems } = sending(start(), ...events)
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        assert.deepStrictEqual(problems.filter((problem) => problem !== "sent"), [])
        assert.strictEqual(yield* stream.state, "whole")
        return yield* stream.text
      })

    it.effect("starts with its head at once, with 200 and all that a stream needs [C84]", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(Date.UTC(2030, 0, 2, 3, 4, 5))
        const app = App.sse(({ send }) => Effect.andThen(send({ type: "sse.start" }), Effect.never))
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        assert.strictEqual(yield* stream.status, 200)
        assert.strictEqual(yield* stream.header("content-type"), "text/event-stream")
        assert.strictEqual(yield* stream.header("cache-control"), "no-cache")
        assert.strictEqual(yield* stream.header("date"), "Wed, 02 Jan 2030 03:04:05 GMT")
        assert.isUndefined(yield* stream.header("content-length"))
        assert.strictEqual(yield* stream.header("transfer-encoding"), version === "2" ? undefined : "chunked")
        assert.strictEqual(yield* stream.header("connection"), undefined)
        assert.strictEqual(yield* stream.state, "open")
      }))

    it.effect("starts when its application says so, without waiting for an event [C84]", () =>
      Effect.gen(function*() {
        const app = App.sse(({ send }) =>
          Effect.andThen(Effect.sleep("1 second"), Effect.andThen(send({ type: "sse.start" }), Effect.never))
        )
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        assert.strictEqual(yield* stream.status, 0)
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* stream.status, 200)
      }))

    it.effect("adds nothing that the application has sent itself, in any case of letters [C84]", () =>
      Effect.gen(function*() {
        const headers: Headers = [
          ["Content-Type", "text/event-stream; charset=utf-8"],
          ["CACHE-control", "no-store"],
          ["Date", "Tue, 01 Jan 2030 00:00:00 GMT"],
          ["transfer-encoding", "gzip"],
          ["x-accel-buffering", "no"]
        ]
        const { app } = sending(start(headers))
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        assert.strictEqual(yield* stream.header("content-type"), "text/event-stream; charset=utf-8")
        assert.strictEqual(yield* stream.header("cache-control"), "no-store")
        assert.strictEqual(yield* stream.header("date"), "Tue, 01 Jan 2030 00:00:00 GMT")
        assert.strictEqual(yield* stream.header("transfer-encoding"), version === "2" ? undefined : "chunked")
        assert.strictEqual(yield* stream.header("x-accel-buffering"), "no")
      }))

    it.effect("may have another status [C84]", () =>
      Effect.gen(function*() {
        const { app } = sending({ type: "sse.start", status: 503 }, event({ data: "x" }))
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        assert.strictEqual(yield* stream.status, 503)
        assert.strictEqual(yield* stream.text, "data: x\n\n")
      }))

    it.effect("refuses a start that cannot be written, and can be started rightly after that [C84]", () =>
      Effect.gen(function*() {
        const { app, problems } = sending(
          { type: "sse.start", status: 100 },
          { type: "sse.start", status: "200" },
          { type: "sse.start", headers: "x" },
          { type: "sse.start", headers: null },
          start([["x", "a\r\nb: c"]]),
          start([["content-length", "5"]]),
          { type: "sse.start", headers: [["x"]] },
          start([["x", "y"]]),
          start()
        )
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        assert.deepStrictEqual(problems, [
          "'sse.start' has an invalid status: 100 is not a final status from 200 to 999",
          "'sse.start' has an invalid status: 200 is not a final status from 200 to 999",
          "'sse.start' has an invalid header \"headers\": headers must be an array of [name, value]",
          "'sse.start' has an invalid header \"headers\": headers must be an array of [name, value]",
          "'sse.start' has an invalid header \"x\": the value has a control character or one above U+00FF",
          "'sse.start' has an invalid header \"content-length\": a stream of events has no length",
          "'sse.start' has an invalid header \"x\": name and value must be strings",
          "sent",
          "'sse.start' is not allowed on sse while the stream is open"
        ])
        assert.strictEqual(yield* stream.header("x"), "y")
        assert.strictEqual(yield* stream.state, "whole")
      }))

    it.effect("fails every send before its start, and writes nothing of it [C85]", () =>
      Effect.gen(function*() {
        const early = [
          event({ data: "early" }),
          { type: "sse.comment", comment: "early" },
          { type: "sse.keepalive", interval: 1 },
          { type: "sse.close" },
          { type: "sse.http.response.body", body: "early" }
        ]
        const { app, problems } = sending(...early, start(), event({ data: "x" }))
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        assert.deepStrictEqual(problems, [
          ...early.map(({ type }) => `'${type}' is not allowed on sse while the stream has not been started`),
          "sent",
          "sent"
        ])
        assert.strictEqual(yield* stream.text, "data: x\n\n")
      }))

    it.effect("fails events that it does not know, with their name and the protocol's [C3] [C4]", () =>
      Effect.gen(function*() {
        const { app, problems } = sending(
          start(),
          { type: "sse.sends", data: "x" },
          { type: "http.response.start", status: 200 },
          { data: "x" },
          null,
          undefined,
          event({ data: "x", extra: 1 } as never)
        )
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        assert.deepStrictEqual(problems.slice(1), [
          "Unrecognized event type 'sse.sends' for the sse protocol",
          "Unrecognized event type 'http.response.start' for the sse protocol",
          "Unrecognized event type 'undefined' for the sse protocol",
          "Unrecognized event type 'undefined' for the sse protocol",
          "Unrecognized event type 'undefined' for the sse protocol",
          "sent"
        ])
        assert.strictEqual(yield* stream.text, "data: x\n\n")
      }))

    it.effect("begins a further data line at LF, CRLF and CR [C86]", () =>
      Effect.gen(function*() {
        const text = yield* textOf(event({ data: "a\nb\r\nc\rd\n" }), event({ data: "" }))
        assert.strictEqual(text, "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\ndata: \n\n")
      }))

    it.effect("is UTF-8 in every field [C87]", () =>
      Effect.gen(function*() {
        const text = yield* textOf(
          event({ data: "größe\n\u{1f600}", event: "täglich", id: "№ 1" }),
          { type: "sse.comment", comment: "ÿ" },
          event({ data: "\ud800" })
        )
        const expected = "event: täglich\nid: № 1\ndata: größe\ndata: \u{1f600}\n\n:ÿ\n\ndata: \ufffd\n\n"
        assert.strictEqual(text, utf8(expected))
      }))

    it.effect("has name, id and delay before the data", () =>
      Effect.gen(function*() {
        const text = yield* textOf(event({ data: "x", event: "e", id: "1", retry: 2500 }))
        assert.strictEqual(text, "event: e\nid: 1\nretry: 2500\ndata: x\n\n")
      }))

    it.effect("refuses an event that would break out of its fields, and writes nothing of it [C88]", () =>
      Effect.gen(function*() {
        const bad: ReadonlyArray<readonly [fields: Record<string, unknown>, problem: string]> = [
          [{ data: "x", id: "1\n" }, "id: it has a line end"],
          [{ data: "x", id: "1\r" }, "id: it has a line end"],
          [{ data: "x", id: "\0" }, "id: it has a NUL"],
          [{ data: "x", id: 1 }, "id: it is not a string"],
          [{ data: "x", event: "a\ndata: b" }, "event: it has a line end"],
          [{ data: "x", event: "a\r" }, "event: it has a line end"],
          [{ data: "x", retry: -1 }, "retry: it is not a whole number of milliseconds from 0"],
          [{ data: "x", retry: 0.5 }, "retry: it is not a whole number of milliseconds from 0"],
          [{ data: "x", retry: "5" }, "retry: it is not a whole number of milliseconds from 0"],
          [{ data: "x", retry: NaN }, "retry: it is not a whole number of milliseconds from 0"],
          [{}, "data: it is not a string"],
          [{ data: 5 }, "data: it is not a string"],
          [{ data: new Uint8Array(1) }, "data: it is not a string"]
        ]
        const { app, problems } = sending(
          start(),
          ...bad.map(([fields]) => ({ type: "sse.send", ...fields })),
          event({ data: "good" })
        )
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        assert.deepStrictEqual(problems, [
          "sent",
          ...bad.map(([, problem]) => `'sse.send' has an invalid ${problem}`),
          "sent"
        ])
        assert.strictEqual(yield* stream.text, "data: good\n\n")
      }))

    it.effect("writes comments that stay comments [C89]", () =>
      Effect.gen(function*() {
        const text = yield* textOf(
          { type: "sse.comment", comment: "x" },
          { type: "sse.comment", comment: ":x" },
          { type: "sse.comment", comment: "" },
          { type: "sse.comment", comment: "a\ndata: b\r\n\r\nc" }
        )
        assert.strictEqual(text, ":x\n\n:x\n\n:\n\n:a\n:data: b\n:\n:c\n\n")
      }))

    it.effect("refuses a comment that is no text, and a keepalive that is no time [C6]", () =>
      Effect.gen(function*() {
        const { app, problems } = sending(
          start(),
          { type: "sse.comment" },
          { type: "sse.comment", comment: 5 },
          ...[undefined, -1, NaN, Infinity, "5"].map((interval) => ({ type: "sse.keepalive", interval })),
          { type: "sse.keepalive", interval: 5, comment: 5 }
        )
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        assert.deepStrictEqual(problems, [
          "sent",
          ...Array(2).fill("'sse.comment' has an invalid comment: it is not a string"),
          ...Array(5).fill("'sse.keepalive' has an invalid interval: it is not a number of seconds of 0 or more"),
          "'sse.keepalive' has an invalid comment: it is not a string"
        ])
        assert.strictEqual(yield* stream.text, "")
      }))

    it.effect("writes each event as a piece of its own, at once", () =>
      Effect.gen(function*() {
        const app = App.sse(({ send }) =>
          Effect.gen(function*() {
            yield* send({ type: "sse.start" })
            for (const data of ["one", "two"]) {
              yield* Effect.sleep("1 second")
              yield* send({ type: "sse.send", data })
            }
            yield* Effect.sleep("1 second")
          })
        )
        const { ask } = yield* serve(app)
        const stream = yield* ask(version)
        assert.strictEqual(yield* stream.text, "")
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* stream.text, "data: one\n\n")
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* stream.text, "data: one\n\ndata: two\n\n")
        assert.strictEqual(yield* stream.state, "open")
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* stream.state, "whole")
      }))
  })
}
