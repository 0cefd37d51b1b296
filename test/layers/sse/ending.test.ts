import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as TestClock from "effect/testing/TestClock"
import * as App from "../../../src/app/App.ts"
import type { SseSend } from "../../../src/schema/Event.ts"
import * as Frames from "../../utils/frames.ts"
import { capture } from "../../utils/logs.ts"
import { serve, versions } from "./streams.ts"

const start: SseSend = { type: "sse.start" }
const close: SseSend = { type: "sse.close" }
const data = (text: string): SseSend => ({ type: "sse.send", data: text })

/** What became of a send: nothing, or why it failed. */
const outcome = (send: App.SseExchange["send"], event: SseSend) =>
  Effect.map(
    Effect.result(send(event)),
    (result) => Result.isFailure(result) ? result.failure.message : "sent"
  )

/** Starts a stream, and keeps what it is told until the end, and how it ended. */
const listening = (steps: Array<string>) =>
  App.sse(({ connection, receive, send }) =>
    Effect.gen(function*() {
      connection.onDisconnect((reason) => steps.push(`callback ${reason}`))
      connection.onComplete(() => steps.push("complete"))
      yield* send(start)
      yield* receive
      const event = yield* receive
      if (event.type === "sse.disconnect") steps.push(`event ${event.reason}`)
      steps.push(yield* outcome(send, data("late")))
      yield* Effect.onInterrupt(Effect.never, () => Effect.sync(() => steps.push("interrupted")))
    })
  )

for (const version of versions) {
  describe(`the end of an event stream on HTTP/${version}`, () => {
    it.effect("is not brought about by requestTimeout", () =>
      Effect.gen(function*() {
        const app = App.sse(({ send }) =>
          send(start).pipe(Effect.andThen(Effect.sleep("1 minute")), Effect.andThen(send(data("late"))))
        )
        const { ask } = yield* serve(app, { requestTimeout: "5 seconds" })
        const stream = yield* ask(version)
        yield* TestClock.adjust("70 seconds")
        assert.strictEqual(yield* stream.text, "data: late\n\n")
      }))

    const bytesOf = (app: App.App<unknown>, pause: boolean) =>
      Effect.gen(function*() {
        const { connect } = yield* serve(app)
        const connection = yield* connect(version)
        const stream = yield* connection.ask()
        if (pause) yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* stream.state, "whole")
        assert.strictEqual(yield* stream.text, "data: x\n\n")
        return (yield* connection.bytes).toString("latin1")
      })

    it.effect("has the same bytes after a return and after a close [C91]", () =>
      Effect.gen(function*() {
        yield* TestClock.setTime(0)
        for (const pause of [false, true]) {
          const wait = pause ? Effect.sleep("1 second") : Effect.void
          const ending = (last: (send: App.SseExchange["send"]) => Effect.Effect<void, unknown>) =>
            App.sse(({ send }) =>
              Effect.andThen(send(start), Effect.andThen(send(data("x")), Effect.andThen(wait, last(send))))
            )
          const returned = yield* bytesOf(ending(() => Effect.void), pause)
          yield* TestClock.setTime(0)
          assert.strictEqual(yield* bytesOf(ending((send) => send(close)), pause), returned)
          yield* TestClock.setTime(0)
          assert.strictEqual(
            yield* bytesOf(ending((send) => Effect.andThen(send(close), Effect.never)), pause),
            returned
          )
          yield* TestClock.setTime(0)
        }
      }))

    it.effect("is the end of a body and nothing more [C91]", () =>
      Effect.gen(function*() {
        const app = App.sse(({ send }) =>
          Effect.andThen(send(start), Effect.andThen(send(data("x")), Effect.sleep("1 second")))
        )
        const { connect } = yield* serve(app)
        const connection = yield* connect(version)
        yield* connection.ask()
        const before = (yield* connection.bytes).length
        yield* TestClock.adjust("1 second")
        const last = (yield* connection.bytes).subarray(before)
        if (version === "1.1") {
          assert.strictEqual(last.toString("latin1"), "0\r\n\r\n")
        } else {
          const [frame, ...others] = new Frames.FrameReader().read(last)
          assert.deepInclude(frame, { type: "DATA", flags: Frames.END_STREAM, stream: 1, payload: Buffer.alloc(0) })
          assert.strictEqual(others.length, 0)
        }
      }))

    it.effect("leaves the connection to the next request", () =>
      Effect.gen(function*() {
        const { connect } = yield* serve(App.sse(({ scope, send }) =>
          Effect.andThen(
            send(start),
            Effect.andThen(send(data(scope.path)), scope.path === "/close" ? send(close) : Effect.void)
          )
        ))
        const connection = yield* connect(version)
        for (const path of ["/return", "/close", "/return"]) {
          const stream = yield* connection.ask({ path })
          assert.strictEqual(yield* stream.text, `data: ${path}\n\n`)
          assert.strictEqual(yield* stream.state, "whole")
        }
        assert.isFalse(yield* connection.isEnded)
      }))

    it.effect("comes at once with a close, which may come twice and lets nothing follow [C90]", () =>
      Effect.gen(function*() {
        const outcomes: Array<string> = []
        const app = App.sse(({ receive, send }) =>
          Effect.gen(function*() {
            yield* send(start)
            yield* send(data("x"))
            yield* send({ type: "sse.close", reason: "enough" })
            outcomes.push(JSON.stringify(yield* receive))
            const further: ReadonlyArray<SseSend> = [
              close,
              data("y"),
              { type: "sse.comment", comment: "y" },
              { type: "sse.keepalive", interval: 1 },
              start,
              { type: "sse.http.response.start", status: 204 },
              { type: "sse.close", reason: "really" }
            ]
            for (const event of further) outcomes.push(yield* outcome(send, event))
            yield* Effect.never
          })
        )
        const { connect } = yield* serve(app)
        const connection = yield* connect(version)
        const stream = yield* connection.ask()
        const closed = (type: string) => `'${type}' is not allowed on sse while the stream is closed`
        assert.deepStrictEqual(outcomes, [
          "{\"type\":\"sse.disconnect\",\"reason\":\"client_closed\"}",
          "sent",
          closed("sse.send"),
          closed("sse.comment"),
          closed("sse.keepalive"),
          closed("sse.start"),
          closed("sse.http.response.start"),
          "sent"
        ])
        assert.strictEqual(yield* stream.state, "whole")
        assert.strictEqual(yield* stream.text, "data: x\n\n")
        assert.notInclude((yield* connection.bytes).toString("latin1"), "enough")
      }))

    it.effect("is told when the client leaves, and leaves the application its grace [C94] [C8]", () =>
      Effect.gen(function*() {
        const steps: Array<string> = []
        const { ask, server } = yield* serve(listening(steps))
        const stream = yield* ask(version)
        yield* stream.leave
        assert.deepStrictEqual(steps, ["callback client_closed", "event client_closed", "sent"])
        yield* TestClock.adjust("4 seconds")
        assert.strictEqual(steps.length, 3)
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(steps.slice(3), ["interrupted"])
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }))

    it.effect("is clean when the server stops, and the application is told [C94]", () =>
      Effect.gen(function*() {
        const steps: Array<string> = []
        const { ask, server, stop } = yield* serve(listening(steps))
        const stream = yield* ask(version)
        const stopping = yield* stop
        assert.strictEqual(yield* stream.state, "whole")
        assert.match(yield* stream.text, /^retry: \d{4}\n\n$/)
        assert.deepStrictEqual(steps, ["callback server_shutdown", "event server_shutdown", "sent"])
        assert.isUndefined(stopping.pollUnsafe())
        yield* TestClock.adjust("4 seconds")
        assert.strictEqual(steps.length, 3)
        yield* TestClock.adjust("3 seconds")
        assert.deepStrictEqual(steps.slice(3), ["interrupted"])
        assert.isDefined(stopping.pollUnsafe())
        assert.strictEqual((yield* server.stats).totalCut, 0)
      }))

    it.effect("follows the start when the server is stopping [C94]", () =>
      Effect.gen(function*() {
        const steps: Array<string> = []
        const app = App.sse((exchange) => Effect.andThen(Effect.sleep("2 seconds"), listening(steps)(exchange)))
        const { ask, stop } = yield* serve(app)
        const stream = yield* ask(version)
        yield* stop
        assert.strictEqual(yield* stream.state, "open")
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(yield* stream.status, 200)
        assert.strictEqual(yield* stream.state, "whole")
        assert.deepStrictEqual(steps, ["callback server_shutdown", "event server_shutdown", "sent"])
      }))

    it.effect("comes after sseIdleTimeout without a word of the application, cleanly [C95]", () =>
      Effect.gen(function*() {
        const steps: Array<string> = []
        const app = App.sse((exchange) =>
          Effect.gen(function*() {
            const { connection, receive, send } = exchange
            connection.onDisconnect((reason) => steps.push(`callback ${reason}`))
            yield* send(start)
            yield* send({ type: "sse.keepalive", interval: 2, comment: "still here" })
            for (const event of [data("x"), { type: "sse.comment", comment: "x" } as const]) {
              yield* Effect.sleep("9 seconds")
              yield* send(event)
            }
            yield* receive
            steps.push(JSON.stringify(yield* receive))
          })
        )
        const { ask, server } = yield* serve(app, { sseIdleTimeout: "10 seconds" })
        const stream = yield* ask(version)
        // Each word of the application begins a new wait; the server's own comments do not.
        yield* TestClock.adjust("27 seconds")
        assert.strictEqual(yield* stream.state, "open")
        assert.include(yield* stream.text, ":still here\n\n")
        yield* TestClock.adjust("4 seconds")
        assert.strictEqual(yield* stream.state, "whole")
        assert.deepStrictEqual(steps, [
          "callback idle_timeout",
          "{\"type\":\"sse.disconnect\",\"reason\":\"idle_timeout\"}"
        ])
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }))

    it.effect("is counted from the start of the stream, not of its request [C95]", () =>
      Effect.gen(function*() {
        const app = App.sse((exchange) =>
          Effect.andThen(
            Effect.sleep("30 seconds"),
            Effect.andThen(exchange.send(start), Effect.andThen(exchange.receive, exchange.receive))
          )
        )
        const { ask } = yield* serve(app, { sseIdleTimeout: "10 seconds" })
        const stream = yield* ask(version)
        yield* TestClock.adjust("38 seconds")
        assert.strictEqual(yield* stream.state, "open")
        assert.strictEqual(yield* stream.status, 200)
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(yield* stream.state, "whole")
      }))

    it.effect("does not come by itself with sseIdleTimeout 0 [C95]", () =>
      Effect.gen(function*() {
        const { ask } = yield* serve(listening([]))
        const stream = yield* ask(version)
        yield* TestClock.adjust("2 hours")
        assert.strictEqual(yield* stream.state, "open")
      }))

    it.effect("is not told to a client whose application has failed: its stream is cut", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const failing = (effect: Effect.Effect<void, unknown>) =>
          App.sse(({ send }) => Effect.andThen(send(start), Effect.andThen(send(data("x")), effect)))
        const ways: ReadonlyArray<Effect.Effect<void, unknown>> = [
          Effect.fail("no"),
          Effect.die("no"),
          Effect.interrupt,
          Effect.andThen(Effect.sleep("1 second"), Effect.fail("no"))
        ]
        for (const way of ways) {
          const { ask } = yield* serve(failing(way))
          const stream = yield* ask(version)
          yield* TestClock.adjust("1 second")
          assert.strictEqual(yield* stream.status, 200)
          assert.strictEqual(yield* stream.state, "cut")
        }
        const errors = lines.filter(({ level }) => level === "Error")
        assert.strictEqual(errors.length, 4)
        for (const { message } of errors) assert.include(message, "the answer is cut short")
      }).pipe(Effect.provide(layer))
    })

    it.effect("before the start is a 500, whether the application fails or returns", () => {
      const { layer } = capture()
      return Effect.gen(function*() {
        for (const app of [App.sse(() => Effect.fail("no")), App.sse(() => Effect.void)]) {
          const { ask } = yield* serve(app)
          const stream = yield* ask(version)
          assert.strictEqual(yield* stream.status, 500)
          assert.strictEqual(yield* stream.header("content-type"), "text/plain; charset=utf-8")
          assert.strictEqual(yield* stream.state, "whole")
        }
      }).pipe(Effect.provide(layer))
    })

    it.effect("comes with the head where there is no body, and the application may go on in vain", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const steps: Array<string> = []
        const app = App.sse(({ connection, receive, scope, send }) =>
          Effect.gen(function*() {
            connection.onComplete(() => steps.push("complete"))
            yield* send({ type: "sse.start", status: scope.method === "HEAD" ? 200 : 204 })
            steps.push(yield* outcome(send, data("x")), yield* outcome(send, close), JSON.stringify(yield* receive))
            yield* Effect.onInterrupt(Effect.forever(Effect.andThen(Effect.sleep("1 second"), send(data("x")))), () =>
              Effect.sync(() => steps.push("interrupted")))
          })
        )
        const { connect, server } = yield* serve(app)
        const connection = yield* connect(version)
        for (const method of ["HEAD", "GET"]) {
          const stream = yield* connection.ask({ method })
          assert.strictEqual(yield* stream.status, method === "HEAD" ? 200 : 204)
          assert.strictEqual(yield* stream.state, "whole")
          assert.strictEqual(yield* stream.text, "")
          assert.deepStrictEqual(steps.splice(0), [
            "complete",
            "sent",
            "sent",
            "{\"type\":\"sse.disconnect\",\"reason\":\"client_closed\"}"
          ])
          yield* TestClock.adjust("4 seconds")
          assert.strictEqual((yield* server.stats).exchanges, 1)
          yield* TestClock.adjust("2 seconds")
          assert.deepStrictEqual(steps.splice(0), ["interrupted"])
          assert.strictEqual((yield* server.stats).exchanges, 0)
        }
        assert.deepStrictEqual(lines.filter(({ level }) => level === "Error"), [])
      }).pipe(Effect.provide(layer))
    })
  })
}
