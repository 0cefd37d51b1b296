import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as AccessLogMemory from "../../../layers/AccessLogMemory.ts"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import type { SendError } from "../../../src/app/SendError.ts"
import type { HttpSend } from "../../../src/schema/Event.ts"
import { answerIn, answersIn, request } from "../../utils/answers.ts"
import { asked, askSocket, soundExchange } from "../../utils/asking.ts"
import { capture } from "../../utils/logs.ts"
import { exchange, serve } from "../../utils/serve.ts"
import { connect } from "../../utils/sockets.ts"

type Send = App.HttpExchange["send"]

const start: HttpSend = { type: "http.response.start", status: 200 }
const part = (body: string, more = false): HttpSend => ({ type: "http.response.body", body, more })

/** Why each of the events is refused; the answer is made of what is not. */
const problemsOf = (...events: ReadonlyArray<unknown>) =>
  Effect.gen(function*() {
    const problems: Array<string> = []
    const app = App.http(({ send }) =>
      Effect.forEach(events, (event) =>
        Effect.catch(send(event as HttpSend), (error) => Effect.sync(() => void problems.push(error.message))), {
        discard: true
      })
    )
    const bytes = yield* soundExchange(app, request("GET /"))
    return { problems, bytes }
  })

describe("an event", () => {
  it.effect("of an unknown type fails the send with its type and the protocol [C3]", () =>
    Effect.gen(function*() {
      const { bytes, problems } = yield* problemsOf(
        { type: "http.response.push" },
        { type: "" },
        {},
        undefined,
        null,
        start,
        part("a")
      )
      assert.deepStrictEqual(problems, [
        "Unrecognized event type 'http.response.push' for the http protocol",
        "Unrecognized event type '' for the http protocol",
        "Unrecognized event type 'undefined' for the http protocol",
        "Unrecognized event type 'undefined' for the http protocol",
        "Unrecognized event type 'undefined' for the http protocol"
      ])
      assert.strictEqual(answerIn(bytes).body, "a")
    }))

  it.effect("of another protocol fails the send [C4]", () =>
    Effect.gen(function*() {
      const types = [
        "websocket.send",
        "websocket.accept",
        "sse.start",
        "sse.send",
        "lifespan.startup.complete",
        "http.request"
      ]
      const { bytes, problems } = yield* problemsOf(
        ...types.map((type) => ({ type, text: "x", data: "x" })),
        start,
        part("a")
      )
      assert.deepStrictEqual(problems, types.map((type) => `Unrecognized event type '${type}' for the http protocol`))
      assert.strictEqual(answerIn(bytes).body, "a")
    }))

  it.effect("without a required field fails the send [C5]", () =>
    Effect.gen(function*() {
      const { problems } = yield* problemsOf(
        { type: "http.response.start" },
        { type: "http.response.early_hint" },
        start,
        part("")
      )
      assert.deepStrictEqual(problems, [
        "'http.response.start' has an invalid status: undefined is not a final status from 200 to 999",
        "'http.response.early_hint' has an invalid links: it is not an array"
      ])
    }))

  it.effect("with a field of the wrong type fails the send [C6]", () =>
    Effect.gen(function*() {
      const wrong: ReadonlyArray<unknown> = [
        { type: "http.response.start", status: "200" },
        { type: "http.response.start", status: 200.5 },
        { type: "http.response.start", status: 101 },
        { type: "http.response.start", status: 1000 },
        { type: "http.response.start", status: 200, headers: "x" },
        { type: "http.response.start", status: 200, headers: [["x", 1]] },
        { type: "http.response.start", status: 200, trailers: 1 },
        { type: "http.response.early_hint", links: "</a>" },
        { type: "http.response.early_hint", links: [1] },
        { ...start, trailers: true },
        { type: "http.response.body", body: 1 },
        { type: "http.response.body", body: ["a"] },
        { type: "http.response.body", body: new ArrayBuffer(3) },
        { type: "http.response.body", body: "a", more: 1 },
        { type: "http.response.body", body: "a", more: "false" },
        { type: "http.response.body", file: 7 },
        { type: "http.response.body", file: "relative.txt" },
        { type: "http.response.body", file: "/etc/hostname\0" },
        { type: "http.response.body", file: "/etc/hostname", offset: -1 },
        { type: "http.response.body", file: "/etc/hostname", length: 1.5 },
        { type: "http.response.body", stream: "abc" },
        part("a"),
        { type: "http.response.trailers", headers: { x: "y" } },
        { type: "http.response.trailers" }
      ]
      const { bytes, problems } = yield* problemsOf(...wrong)
      assert.strictEqual(problems.length, wrong.length - 3)
      assert.deepStrictEqual(answerIn(bytes).chunks, ["a"])
    }))

  it.effect("may have fields that nobody knows [C7]", () =>
    Effect.gen(function*() {
      const extra = { "x-extra": 1, timeout: 5, nested: { a: [null] } }
      const { bytes, problems } = yield* problemsOf(
        { type: "http.response.early_hint", links: ["</a>"], ...extra },
        { ...start, trailers: true, ...extra },
        { ...part("a", true), ...extra },
        { type: "http.fullflush", ...extra },
        { ...part("b"), ...extra },
        { type: "http.response.trailers", headers: [], ...extra }
      )
      assert.deepStrictEqual(problems, [])
      assert.strictEqual(answersIn(bytes).at(-1)!.body, "ab")
    }))

  it.effect("out of order fails the send and leaves the answer as it was", () =>
    Effect.gen(function*() {
      const { bytes, problems } = yield* problemsOf(
        part("early"),
        { type: "http.response.trailers" },
        start,
        { type: "http.response.start", status: 500 },
        { type: "http.response.trailers" },
        part("a", true),
        { type: "http.response.start", status: 500 },
        part("b"),
        part("late"),
        { type: "http.response.start", status: 500 },
        { type: "http.response.early_hint", links: ["</a>"] },
        { type: "http.fullflush" }
      )
      assert.deepStrictEqual(problems, [
        "'http.response.body' is not allowed on http while no answer has been started",
        "'http.response.trailers' is not allowed on http while no answer has been started",
        "'http.response.start' is not allowed on http while the answer has been started",
        "'http.response.trailers' is not allowed on http while the answer has been started",
        "'http.response.start' is not allowed on http while the body is being sent",
        "'http.response.body' is not allowed on http while the answer is complete",
        "'http.response.start' is not allowed on http while the answer is complete",
        "'http.response.early_hint' is not allowed on http while the answer is complete",
        "'http.fullflush' is not allowed on http while the answer is complete"
      ])
      assert.deepStrictEqual(answerIn(bytes).chunks, ["a", "b"])
    }))

  it.effect("sent by a fiber that outlives its exchange cannot reach the next answer", () =>
    Effect.gen(function*() {
      const late = yield* Deferred.make<string>()
      const app = App.http(({ scope, send }) =>
        Effect.gen(function*() {
          if (scope.path === "/a") {
            yield* Effect.forkDetach(
              Effect.andThen(Effect.sleep("1 second"), Effect.flip(send(part("stray")))).pipe(
                Effect.flatMap((error) => Deferred.succeed(late, error.message)),
                Effect.orDie
              )
            )
            return yield* App.respond(send, 200, "a")
          }
          yield* send(start)
          yield* send(part("b", true))
          yield* Effect.sleep("2 seconds")
          yield* send(part("c"))
        })
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("GET /a") + request("GET /b"))
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(answersIn(yield* client.read).map((answer) => answer.body), ["a", "bc"])
      assert.strictEqual(
        yield* Deferred.await(late),
        "'http.response.body' is not allowed on http while the answer is complete"
      )
    }))

  it.effect("after the client has gone does nothing, whatever it is [C8]", () =>
    Effect.gen(function*() {
      const done = yield* Deferred.make<number>()
      const app = App.http(({ connection, send }) =>
        Effect.uninterruptible(Effect.gen(function*() {
          yield* connection.disconnected
          const events: ReadonlyArray<unknown> = [
            start,
            part("a", true),
            start,
            part("b"),
            part("c"),
            { type: "http.fullflush" },
            { type: "http.response.trailers" },
            { type: "http.response.body", file: "/nowhere" },
            { type: "http.nonsense" }
          ]
          for (const event of events) yield* send(event as HttpSend)
          yield* Deferred.succeed(done, events.length)
        }))
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("GET /"))
      yield* client.reset
      assert.strictEqual(yield* Deferred.await(done), 9)
      assert.strictEqual(yield* client.read, "")
    }))

  it.live("that waits for a client that goes away is over, even the last one of its answer [C8]", () =>
    Effect.gen(function*() {
      const waiting = yield* Deferred.make<void>()
      const over = yield* Deferred.make<void>()
      const app = App.http(({ connection, send }) => {
        connection.onComplete(() => Deferred.doneUnsafe(waiting, Effect.void))
        return Effect.uninterruptible(
          Effect.andThen(App.respond(send, 200, new Uint8Array(50_000_000)), Deferred.succeed(over, undefined))
        )
      })
      const server = yield* ServerNode.make({ port: 0 })
      yield* server.serve(app)
      const { socket } = yield* connect((yield* server.addresses)[0]!)
      socket.pause()
      socket.write(request("GET /"))
      yield* Deferred.await(waiting)
      assert.isFalse(yield* Deferred.isDone(over))
      socket.resetAndDestroy()
      yield* Deferred.await(over)
    }))
})

const hello = (send: Send) => App.respond(send, 200, "hello")

const is500 = (bytes: string) => {
  const answer = answerIn(bytes)
  assert.strictEqual(answer.status, 500)
  assert.strictEqual(answer.header("content-type"), "text/plain; charset=utf-8")
  assert.strictEqual(answer.header("connection"), "close")
  assert.strictEqual(answer.body, "Internal Server Error")
}

describe("an application that fails", () => {
  const broken: { readonly [how: string]: App.App<unknown> } = {
    "returns without an answer": App.http(() => Effect.void),
    "returns after the start": App.http(({ send }) => send(start)),
    "fails": App.http(() => Effect.fail("secret")),
    "fails after the start": App.http(({ send }) => Effect.andThen(send(start), Effect.fail("secret"))),
    "dies": App.http(() => Effect.die(new Error("secret"))),
    "interrupts itself": App.http(() => Effect.interrupt),
    "throws": App.http(() => {
      throw new Error("secret")
    }),
    "returns undefined": App.http(() => undefined as never),
    "returns a Promise": App.http((async () => "secret") as never),
    "returns a Promise that rejects": App.http((() => Promise.reject(new Error("secret"))) as never)
  }

  for (const [how, app] of Object.entries(broken)) {
    it.effect(`because it ${how} is answered with 500 and logged, and the connection closes [C42][C43][W27]`, () =>
      Effect.gen(function*() {
        const { answer, errors, isEnded, lines } = yield* asked(app, request("GET /x"))
        is500(answer)
        assert.notInclude(answer, "secret")
        assert.isTrue(isEnded)
        assert.strictEqual(errors.length, 1)
        assert.deepStrictEqual(lines, ["GET /x 500 21 server_error"])
      }))
  }

  it.effect("does not end the server, nor the lifespan, nor other connections [C2][C162][W27]", () =>
    Effect.gen(function*() {
      const app: App.App<unknown> = (x) => {
        if (x.type !== "http") throw new Error(`unsupported scope type ${x.type}`)
        if (x.scope.path === "/ok") return hello(x.send)
        return broken[decodeURIComponent(x.scope.path.slice(1))]!(x)
      }
      const { connect, server } = yield* serve(app)
      const steady = yield* connect()
      for (const how of Object.keys(broken)) {
        const client = yield* connect()
        yield* client.send(request(`GET /${encodeURIComponent(how)}`))
        is500(yield* client.readAll)
        yield* client.end
        yield* steady.send(request("GET /ok"))
        assert.strictEqual(answerIn(yield* steady.read).body, "hello")
      }
      assert.deepInclude(yield* server.stats, { connections: 1, exchanges: 0 })
    }))

  it.effect("after the body began has its answer cut, not completed, and is logged [C43][C46]", () =>
    Effect.gen(function*() {
      const cutting: ReadonlyArray<readonly [App.App<unknown>, string]> = [
        [App.http(({ send }) => Effect.andThen(sendBoth(send), Effect.die("secret"))), "dies"],
        [App.http(({ send }) => Effect.andThen(sendBoth(send), Effect.fail("secret"))), "fails"],
        [App.http(({ send }) => sendBoth(send)), "returns"],
        [App.http(({ send }) => Effect.andThen(sendBoth(send), Effect.interrupt)), "interrupts itself"]
      ]
      for (const [app] of cutting) {
        const { answer, errors, isEnded, lines } = yield* asked(app, request("GET /x") + request("GET /next"))
        const { body, complete, status } = answerIn(answer)
        assert.deepStrictEqual({ body, complete, status }, { body: "begun", complete: false, status: 200 })
        assert.isTrue(isEnded)
        assert.strictEqual(errors.length, 1)
        assert.deepStrictEqual(lines, ["GET /x 200 5 server_error"])
      }
    }))

  it.effect("without finishing its answer is told by onDisconnect [C46]", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const app = App.http(({ connection, send }) => {
        connection.onDisconnect((reason) => seen.push(reason))
        connection.onComplete(() => seen.push("complete"))
        return sendBoth(send)
      })
      yield* exchange(app, request("GET /"))
      assert.deepStrictEqual(seen, ["server_error"])
    }))

  it.effect("while promised trailers are due has its answer cut [C46]", () =>
    Effect.gen(function*() {
      const app = App.http(({ send }) =>
        Effect.andThen(send({ ...start, trailers: true } as HttpSend), send(part("all")))
      )
      const { answer, isEnded } = yield* asked(app, request("GET /"))
      assert.deepInclude(answerIn(answer), { body: "all", complete: false })
      assert.isTrue(isEnded)
    }))

  it.effect("has the answer to HTTP/1.0 reset, because its end would look like the body's [C46]", () =>
    Effect.gen(function*() {
      const { connect } = yield* serve(App.http(({ send }) => sendBoth(send)))
      const client = yield* connect()
      yield* client.send("GET / HTTP/1.0\r\n\r\n")
      yield* client.ended
      assert.isTrue(yield* client.wasReset)
    }))

  it.effect("after its answer was complete is logged, and the connection goes on", () =>
    Effect.gen(function*() {
      const app = App.http(({ send }) => Effect.andThen(hello(send), Effect.fail("too late")))
      const { answer, errors, isEnded, lines } = yield* asked(app, request("GET /a") + request("GET /b"))
      assert.deepStrictEqual(answersIn(answer).map((one) => one.body), ["hello", "hello"])
      assert.isFalse(isEnded)
      assert.strictEqual(errors.length, 2)
      assert.deepStrictEqual(lines, ["GET /a 200 5 -", "GET /b 200 5 -"])
    }))

  it.effect("when the client has gone is neither answered nor logged as an error [C44]", () =>
    Effect.gen(function*() {
      const logs = capture()
      const access = yield* AccessLogMemory.make({ format: "%m %U %s %B %X" })
      yield* Effect.gen(function*() {
        const apps: ReadonlyArray<App.App<unknown>> = [
          App.http(({ connection }) => Effect.uninterruptible(Effect.andThen(connection.disconnected, Effect.void))),
          App.http(({ connection }) =>
            Effect.uninterruptible(Effect.andThen(connection.disconnected, Effect.fail("x")))
          ),
          App.http(({ connection }) =>
            Effect.uninterruptible(Effect.andThen(connection.disconnected, Effect.die("x")))
          ),
          App.http(() => Effect.never)
        ]
        for (const app of apps) {
          const { connect, server } = yield* serve(app)
          const client = yield* connect()
          yield* client.send(request("GET /"))
          yield* client.reset
          assert.strictEqual(yield* client.read, "")
          assert.strictEqual((yield* server.stats).exchanges, 0)
        }
      }).pipe(Effect.provide(access), Effect.provide(logs.layer))
      assert.deepStrictEqual(logs.lines.filter((line) => line.level === "Error"), [])
      const lines = yield* Effect.provide(Effect.flatMap(AccessLogMemory.Lines, (memory) => memory.lines), access)
      assert.deepStrictEqual(lines, Array.from({ length: 4 }, () => "GET / - 0 client_closed"))
    }))

  it.effect("to end by itself is interrupted when the client goes, and runs its finalizers", () =>
    Effect.gen(function*() {
      for (const leave of ["reset", "end"] as const) {
        const finalized = yield* Deferred.make<string>()
        const app = App.http(({ connection }) =>
          Effect.onInterrupt(Effect.never, () => Deferred.succeed(finalized, connection.disconnectReason!))
        )
        const { connect, server } = yield* serve(app)
        const client = yield* connect()
        yield* client.send(request("GET /"))
        yield* client[leave]
        assert.strictEqual(yield* Deferred.await(finalized), "client_closed")
        yield* client.read
        assert.deepInclude(yield* server.stats, { exchanges: 0, connections: 0 })
      }
    }))

  it.live("does not end the process on real sockets either [C162][W27]", () =>
    Effect.gen(function*() {
      const app: App.App<unknown> = (x) => {
        if (x.type !== "http") throw new Error("unsupported")
        return x.scope.path === "/ok" ? hello(x.send) : broken[decodeURIComponent(x.scope.path.slice(1))]!(x)
      }
      const server = yield* ServerNode.make({ port: 0 })
      yield* server.serve(app)
      const addresses = yield* server.addresses
      for (const how of Object.keys(broken)) {
        is500(yield* askSocket(addresses, request(`GET /${encodeURIComponent(how)}`)))
      }
      assert.strictEqual(answerIn(yield* askSocket(addresses, request("GET /ok", ["connection: close"]))).body, "hello")
    }))
})

const sendBoth = (send: Send) => Effect.andThen(send(start), send(part("begun", true)))

describe("a body of the wrong length", () => {
  const declared = (bytes: number): HttpSend => ({ ...start, headers: [["content-length", String(bytes)]] } as HttpSend)
  const pipelined = request("GET /bad") + request("GET /next")

  /** Sends the events on the first request and notes what failed; answers the second. */
  const run = (events: ReadonlyArray<HttpSend>, yielding: boolean) =>
    Effect.gen(function*() {
      const problems: Array<string> = []
      const app = App.http(({ scope, send }) =>
        scope.path === "/next" ?
          hello(send) :
          Effect.forEach(events, (event) =>
            Effect.andThen(yielding ? Effect.yieldNow : Effect.void, send(event)).pipe(
              Effect.tapError((error: SendError) => Effect.sync(() => void problems.push(error.reason._tag)))
            ), { discard: true })
      )
      return { problems, ...(yield* asked(app, pipelined)) }
    })

  for (const yielding of [false, true]) {
    const how = yielding ? "later" : "at once"
    it.effect(`known before its head is out fails the send (${how}) and becomes a 500 [C47]`, () =>
      Effect.gen(function*() {
        for (
          const [events, problem] of [[[declared(3), part("four")], "BodyTooLong"], [
            [declared(5), part("four")],
            "BodyTooShort"
          ]] as const
        ) {
          const { answer, isEnded, problems } = yield* run(events, yielding)
          assert.deepStrictEqual(problems, [problem])
          is500(answer)
          assert.isTrue(isEnded)
        }
      }))

    it.effect(`known after its head is out fails the send (${how}), is logged, and closes the connection [C47]`, () =>
      Effect.gen(function*() {
        const cases: ReadonlyArray<readonly [ReadonlyArray<HttpSend>, string, string]> = [
          [[declared(6), part("four", true), part("more", true), part("")], "BodyTooLong", "four"],
          [[declared(6), part("four", true), part("more")], "BodyTooLong", "four"],
          [[declared(6), part("four", true), part("")], "BodyTooShort", "four"],
          [[declared(6), part("four", true), part("m")], "BodyTooShort", "four"]
        ]
        for (const [events, problem, body] of cases) {
          const { answer, errors, isEnded, lines, problems } = yield* run(events, yielding)
          assert.deepStrictEqual(problems, [problem])
          const cut = answerIn(answer)
          assert.deepInclude(cut, { status: 200, body, complete: false })
          assert.isTrue(isEnded)
          assert.strictEqual(errors.length, 1)
          assert.include(
            errors[0]!.cause,
            problem === "BodyTooLong" ? "longer than its content-length" : "ends before its content-length"
          )
          assert.deepStrictEqual(lines, ["GET /bad 200 4 server_error"])
        }
      }))
  }

  it.effect("can be mended as long as nothing of it is out [C47]", () =>
    Effect.gen(function*() {
      const app = App.http(({ send }) =>
        Effect.andThen(send(declared(3)), Effect.catch(send(part("four")), () => send(part("two"))))
      )
      const { answer, isEnded } = yield* asked(app, pipelined)
      assert.deepStrictEqual(answersIn(answer).map((one) => one.body), ["two", "two"])
      assert.isFalse(isEnded)
    }))
})
