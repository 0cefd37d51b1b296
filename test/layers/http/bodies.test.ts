import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import type { SendError } from "../../../src/app/SendError.ts"
import type { HttpResponseBody, HttpSend } from "../../../src/schema/Event.ts"
import type { Headers } from "../../../src/schema/Scope.ts"
import { answerIn, answersIn, chunked, request } from "../../utils/answers.ts"
import { askSocket } from "../../utils/asking.ts"
import { capture } from "../../utils/logs.ts"
import { serve } from "../../utils/serve.ts"

const start = (headers: Headers = []): HttpSend => ({ type: "http.response.start", status: 200, headers })

const body = (fields: Omit<HttpResponseBody, "type">): HttpSend => ({ type: "http.response.body", ...fields })

/** A folder for the test, removed with its scope. */
const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true }))
)

/** A file with this content. */
const fileOf = (content: string | Uint8Array) =>
  Effect.map(folder, (path) => {
    const file = Path.join(path, "file")
    Fs.writeFileSync(file, content)
    return file
  })

/** Bytes that are different everywhere. */
const bytesOf = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8) * 17) & 0xff)

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")

/** Asks one request, which must close the connection, and takes everything until then. */
const askFor = <E>(app: App.App<E>, bytes = request("GET /", ["connection: close"])) =>
  Effect.gen(function*() {
    const { connect } = yield* serve(app)
    const client = yield* connect()
    yield* client.send(bytes)
    return yield* client.readAll
  })

const sending = (...events: ReadonlyArray<HttpSend>) =>
  App.http(({ send }) => Effect.forEach(events, send, { discard: true }))

/** Answers with why a body could not be sent. */
const explaining = (event: HttpSend) =>
  App.http(({ send }) =>
    Effect.andThen(send(start()), Effect.catch(send(event), (error) => send(body({ body: error.message }))))
  )

const pipelined = request("GET /a") + request("GET /b", ["connection: close"])

describe("a file as body", () => {
  it.live("is sent whole, with its length [C37]", () =>
    Effect.gen(function*() {
      for (const size of [0, 1, 4096, 65_536, 65_537, 300_000]) {
        const content = bytesOf(size)
        const answers = answersIn(yield* askFor(sending(start(), body({ file: yield* fileOf(content) })), pipelined))
        assert.strictEqual(answers.length, 2)
        for (const answer of answers) {
          assert.strictEqual(answer.header("content-length"), String(size))
          assert.isTrue(answer.body === latin1(content))
        }
      }
    }))

  it.live("is sent from offset, for length, and is the last part whatever more says [C37]", () =>
    Effect.gen(function*() {
      const file = yield* fileOf("0123456789")
      const parts: ReadonlyArray<readonly [Omit<HttpResponseBody, "type" | "file">, string]> = [
        [{ offset: 3 }, "3456789"],
        [{ length: 4 }, "0123"],
        [{ offset: 3, length: 4 }, "3456"],
        [{ offset: 8, length: 100 }, "89"],
        [{ length: 0 }, ""],
        [{ more: true }, "0123456789"],
        [{ offset: 9, more: true }, "9"]
      ]
      for (const [fields, expected] of parts) {
        const answers = answersIn(yield* askFor(sending(start(), body({ file, ...fields })), pipelined))
        assert.deepStrictEqual(answers.map((answer) => answer.body), [expected, expected])
      }
    }))

  it.live("has no bytes beyond its end [C40]", () =>
    Effect.gen(function*() {
      const file = yield* fileOf("0123456789")
      for (const offset of [10, 11, Number.MAX_SAFE_INTEGER]) {
        const answers = answersIn(yield* askFor(sending(start(), body({ file, offset, length: 5 })), pipelined))
        assert.deepStrictEqual(answers.map((answer) => answer.body), ["", ""])
        assert.strictEqual(answers[0]!.header("content-length"), "0")
      }
    }))

  it.live("may follow other parts, in chunks or up to the declared length [C37]", () =>
    Effect.gen(function*() {
      const file = yield* fileOf("file")
      const free = answerIn(yield* askFor(sending(start(), body({ body: "a ", more: true }), body({ file }))))
      assert.deepStrictEqual(free.chunks, ["a ", "file"])
      const fixed = sending(start([["content-length", "6"]]), body({ body: "a ", more: true }), body({ file }))
      assert.strictEqual(answerIn(yield* askFor(fixed)).body, "a file")
    }))

  it.live("writes nothing beyond the length that was declared, before the head or after [C37][C47]", () =>
    Effect.gen(function*() {
      const file = yield* fileOf("HTTP/1.1 200 OK\r\n\r\n")
      const before = sending(start([["content-length", "3"]]), body({ file }))
      assert.strictEqual(answerIn(yield* askFor(before, pipelined)).status, 500)
      const after = sending(start([["content-length", "3"]]), body({ body: "a", more: true }), body({ file }))
      assert.deepInclude(answerIn(yield* askFor(after, pipelined)), { status: 200, body: "a", complete: false })
    }))

  it.live("fails the send while another answer is possible, when it cannot be read [C39]", () =>
    Effect.gen(function*() {
      const path = yield* folder
      const missing = App.http(({ send }) =>
        Effect.andThen(
          send(start([["content-type", "x/y"]])),
          Effect.catch(send(body({ file: Path.join(path, "missing") })), (error) =>
            send(body({ body: error.reason._tag })))
        )
      )
      const answer = answerIn(yield* askFor(missing))
      assert.deepInclude(answer, { status: 200, body: "BodySourceFailed" })

      const unhandled = sending(start(), body({ file: Path.join(path, "missing") }))
      assert.strictEqual(answerIn(yield* askFor(unhandled)).status, 500)
      const isFolder = answerIn(yield* askFor(explaining(body({ file: path }))))
      assert.include(isFolder.body, "not a regular file")
    }))

  it.live("is no pipe, for which nobody waits [C39]", () =>
    Effect.gen(function*() {
      const pipe = Path.join(yield* folder, "pipe")
      ChildProcess.execFileSync("mkfifo", [pipe])
      assert.include(answerIn(yield* askFor(explaining(body({ file: pipe })))).body, "not a regular file")
    }))

  it.live.skipIf(process.platform !== "linux")(
    "is closed when it was sent, when it failed, and when the client left [C37]",
    () =>
      Effect.gen(function*() {
        const file = yield* fileOf(bytesOf(2_000_000))
        const isOpen = () => Fs.readdirSync("/proc/self/fd").some((fd) => linkOf(`/proc/self/fd/${fd}`) === file)
        yield* askFor(sending(start(), body({ file })))
        assert.isFalse(isOpen())
        yield* askFor(sending(start([["content-length", "1"]]), body({ file })))
        assert.isFalse(isOpen())

        const over = yield* Deferred.make<boolean>()
        const app = App.http(({ send }) =>
          Effect.ensuring(
            Effect.andThen(send(start()), send(body({ file }))),
            Effect.suspend(() => Deferred.succeed(over, isOpen()))
          )
        )
        const { connect } = yield* serve(app)
        const client = yield* connect()
        yield* client.pause
        yield* client.send(request("GET /"))
        yield* client.reset
        assert.isFalse(yield* Deferred.await(over))
      })
  )

  it.live("is not read for HEAD, but its length is told [C34][C37]", () =>
    Effect.gen(function*() {
      const file = yield* fileOf("0123456789")
      const bytes = yield* askFor(sending(start(), body({ file, offset: 2 })), request("HEAD /") + pipelined)
      const answers = answersIn(bytes, ["HEAD"])
      assert.deepStrictEqual(answers.map((answer) => answer.body), ["", "23456789", "23456789"])
      assert.deepStrictEqual(answers[0]!.headers, answers[1]!.headers)
    }))

  it.live("that shrinks while it is sent cuts the answer, and is logged", () =>
    Effect.gen(function*() {
      const logs = capture()
      for (const headers of [[], [["content-length", "2000000"]]] as ReadonlyArray<Headers>) {
        const file = yield* fileOf(bytesOf(2_000_000))
        const failed = yield* Deferred.make<SendError>()
        const waiting = yield* Deferred.make<void>()
        const app = App.http(({ scope, send, transport }) => {
          if (scope.path === "/b") return App.respond(send, 200)
          transport.onHighWater(() => Deferred.doneUnsafe(waiting, Effect.void))
          return Effect.andThen(
            send(start(headers)),
            Effect.tapError(send(body({ file })), (error) => Deferred.succeed(failed, error))
          )
        })
        const { connect } = yield* Effect.provide(serve(app), logs.layer)
        const client = yield* connect()
        yield* client.pause
        yield* client.send(pipelined)
        yield* Deferred.await(waiting)
        Fs.truncateSync(file, 1000)
        yield* client.resume
        const answer = answerIn(yield* client.readAll)
        assert.deepInclude(answer, { status: 200, complete: false })
        assert.strictEqual(answer.header("content-length"), "2000000")
        assert.include((yield* Deferred.await(failed)).message, "became shorter")
      }
      const errors = logs.lines.filter((line) => line.level === "Error")
      assert.strictEqual(errors.length, 2)
      for (const error of errors) assert.include(error.cause, "became shorter")
    }))

  it.live("that is given up by its application cannot be followed by bytes beyond its length [C47]", () =>
    Effect.gen(function*() {
      const file = yield* fileOf(bytesOf(2_000_000))
      const begun = yield* Deferred.make<void>()
      const left = yield* Deferred.make<void>()
      const problem = yield* Deferred.make<SendError>()
      const app = App.http(({ send, transport }) =>
        Effect.gen(function*() {
          transport.onHighWater(() => Deferred.doneUnsafe(begun, Effect.void))
          yield* send(start())
          yield* Effect.raceFirst(send(body({ file })), Deferred.await(left))
          yield* Effect.tapError(send(body({ body: "instead" })), (error) => Deferred.succeed(problem, error))
        })
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.pause
      yield* client.send(pipelined)
      yield* Deferred.await(begun)
      yield* Deferred.succeed(left, undefined)
      assert.strictEqual((yield* Deferred.await(problem)).reason._tag, "BodyTooShort")
      yield* client.resume
      assert.deepInclude(answerIn(yield* client.readAll), { status: 200, complete: false })
    }))

  it.live("comes with nothing else [C41]", () =>
    Effect.gen(function*() {
      const file = yield* fileOf("file")
      const stream = Stream.make(new Uint8Array([1]))
      for (const fields of [{ file, body: "a" }, { file, body: "" }, { stream, body: "a" }, { file, stream }]) {
        const answer = answerIn(yield* askFor(explaining(body(fields))))
        assert.include(answer.body, "exactly one of body, file and stream")
      }
    }))

  it.live("has backpressure: a client that does not read holds one buffer, not the file [C37]", () =>
    Effect.gen(function*() {
      const file = yield* fileOf(bytesOf(5_000_000))
      let most = 0
      const app = App.http(({ send, transport }) => {
        transport.onHighWater(() => most = Math.max(most, transport.bufferedAmount))
        return Effect.andThen(send(start()), send(body({ file })))
      })
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.pause
      yield* client.send(request("GET /", ["connection: close"]))
      yield* client.resume
      const answer = answerIn(yield* client.readAll)
      assert.isTrue(answer.complete)
      assert.strictEqual(answer.body.length, 5_000_000)
      assert.isAbove(most, 0)
      assert.isAtMost(most, 65_536 * 2 + 1000)
    }))
})

/** What a link points to; empty when it has gone. */
const linkOf = (path: string): string => {
  try {
    return Fs.readlinkSync(path)
  } catch {
    return ""
  }
}

describe("a stream as body", () => {
  const together = (...parts: ReadonlyArray<string>) =>
    Stream.map(Stream.fromIterable(parts), (part) => Buffer.from(part, "latin1"))
  const text = (...parts: ReadonlyArray<string>) => Stream.rechunk(together(...parts), 1)

  it.effect("is sent to its end, in chunks or up to the declared length [C38]", () =>
    Effect.gen(function*() {
      const free = answersIn(yield* askFor(sending(start(), body({ stream: text("one", "", "two") })), pipelined))
      assert.deepStrictEqual(free.map((answer) => answer.chunks), [["one", "two"], ["one", "two"]])
      const fixed = sending(start([["content-length", "6"]]), body({ stream: text("one", "two") }))
      assert.deepStrictEqual(answersIn(yield* askFor(fixed, pipelined)).map((answer) => answer.body), [
        "onetwo",
        "onetwo"
      ])
      const [atOnce] = answersIn(
        yield* askFor(sending(start(), body({ stream: together("one", "", "two") })), pipelined)
      )
      assert.deepStrictEqual(atOnce!.chunks, ["onetwo"])
      const empty = answersIn(yield* askFor(sending(start(), body({ stream: Stream.empty })), pipelined))
      assert.deepStrictEqual(empty.map((answer) => answer.header("content-length")), ["0", "0"])
    }))

  it.effect("is sent from offset, for length, and is the last part whatever more says [C38]", () =>
    Effect.gen(function*() {
      const parts: ReadonlyArray<readonly [Omit<HttpResponseBody, "type">, string]> = [
        [{ offset: 2 }, "cdefghi"],
        [{ offset: 3 }, "defghi"],
        [{ offset: 4, length: 3 }, "efg"],
        [{ length: 3 }, "abc"],
        [{ length: 4 }, "abcd"],
        [{ length: 0 }, ""],
        [{ offset: 100 }, ""],
        [{ more: true }, "abcdefghi"]
      ]
      for (const [fields, expected] of parts) {
        const app = sending(start(), body({ stream: text("abc", "def", "ghi"), ...fields }))
        assert.deepStrictEqual(answersIn(yield* askFor(app, pipelined)).map((answer) => answer.body), [
          expected,
          expected
        ])
      }
    }))

  it.effect("is not run further than length needs, and never for HEAD [C34][C38]", () =>
    Effect.gen(function*() {
      let pulled = 0
      const stream = Stream.mapEffect(Stream.range(1, 10), () =>
        Effect.sync(() => {
          pulled++
          return Buffer.from("abc")
        }))
      assert.strictEqual(answerIn(yield* askFor(sending(start(), body({ stream, length: 4 })))).body, "abca")
      assert.isAtMost(pulled, 3)
      pulled = 0
      yield* askFor(sending(start(), body({ stream })), request("HEAD /", ["connection: close"]))
      assert.strictEqual(pulled, 0)
    }))

  it.effect("that fails before its first part fails the send, and another answer is possible [C38]", () =>
    Effect.gen(function*() {
      const answer = answerIn(yield* askFor(explaining(body({ stream: Stream.fail("broken") }))))
      assert.strictEqual(answer.body, "The body source stream could not be read: broken")
    }))

  it.effect("that fails midway cuts the answer, which must not look complete, and is logged [C38]", () =>
    Effect.gen(function*() {
      const ends: ReadonlyArray<Stream.Stream<never, string>> = [
        Stream.fail("broken"),
        Stream.die(new Error("broken")),
        Stream.fromEffect(Effect.andThen(Effect.yieldNow, Effect.fail("broken")))
      ]
      for (const end of ends) {
        for (const recover of [false, true]) {
          const logs = capture()
          const app = App.http(({ scope, send }) => {
            if (scope.path === "/b") return App.respond(send, 200)
            const sent = Effect.andThen(send(start()), send(body({ stream: Stream.concat(text("one"), end) })))
            return recover ? Effect.catchCause(sent, () => send(body({ body: "recovered" }))) : sent
          })
          const { connect } = yield* Effect.provide(serve(app), logs.layer)
          const client = yield* connect()
          yield* client.send(pipelined)
          const bytes = yield* client.readAll
          assert.deepInclude(answerIn(bytes), { status: 200, body: "one", complete: false })
          assert.notInclude(bytes, "0\r\n\r\n")
          const errors = logs.lines.filter((line) => line.level === "Error")
          assert.strictEqual(errors.length, 1)
          assert.include(errors[0]!.cause, "broken")
        }
      }
    }))

  it.effect("of the wrong length writes nothing beyond the declared one, and cuts the answer [C38][C47]", () =>
    Effect.gen(function*() {
      const long = sending(start([["content-length", "4"]]), body({ stream: text("one", "two") }))
      assert.deepInclude(answerIn(yield* askFor(long, pipelined)), { body: "one", complete: false })
      const short = sending(start([["content-length", "7"]]), body({ stream: text("one", "two") }))
      assert.deepInclude(answerIn(yield* askFor(short, pipelined)), { body: "onetwo", complete: false })
      const longAtOnce = sending(start([["content-length", "2"]]), body({ stream: text("one") }))
      assert.strictEqual(answerIn(yield* askFor(longAtOnce, pipelined)).status, 500)
      const empty = sending(start([["content-length", "2"]]), body({ stream: Stream.empty }))
      assert.strictEqual(answerIn(yield* askFor(empty, pipelined)).status, 500)
    }))

  it.effect("has parts of bytes only [C38]", () =>
    Effect.gen(function*() {
      const stream = Stream.make("text" as never)
      const answer = answerIn(yield* askFor(explaining(body({ stream }))))
      assert.include(answer.body, "not a Uint8Array")
    }))

  it.effect("is run in the scope of its send: its finalizers have run when the send is over [C38]", () =>
    Effect.gen(function*() {
      const events: Array<string> = []
      const stream = Stream.ensuring(text("one"), Effect.sync(() => events.push("finalized")))
      const app = App.http(({ send }) =>
        Effect.andThen(
          send(start()),
          Effect.andThen(send(body({ stream })), Effect.sync(() => events.push("sent")))
        )
      )
      yield* askFor(app)
      assert.deepStrictEqual(events, ["finalized", "sent"])
    }))

  it.effect("is interrupted when the client goes away [C38]", () =>
    Effect.gen(function*() {
      const finalized = yield* Deferred.make<void>()
      const stream = Stream.ensuring(Stream.concat(text("one"), Stream.never), Deferred.succeed(finalized, undefined))
      const { connect } = yield* serve(sending(start(), body({ stream })))
      const client = yield* connect()
      yield* client.send(request("GET /"))
      yield* client.reset
      yield* Deferred.await(finalized)
    }))

  it.effect("without an end is over when the client goes away, interruptible or not [C8][C38]", () =>
    Effect.gen(function*() {
      const over = yield* Deferred.make<void>()
      const stream = Stream.mapEffect(Stream.range(1, Infinity), () => Effect.as(Effect.yieldNow, Buffer.from("x")))
      const app = App.http(({ send }) =>
        Effect.uninterruptible(
          Effect.andThen(Effect.andThen(send(start()), send(body({ stream }))), Deferred.succeed(over, undefined))
        )
      )
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(request("GET /"))
      yield* client.reset
      yield* Deferred.await(over)
    }))

  it.effect("has backpressure: it is not pulled while the client does not read [C38]", () =>
    Effect.gen(function*() {
      let pulled = 0
      const stream = Stream.mapEffect(Stream.range(1, 1000), () =>
        Effect.sync(() => {
          pulled++
          return new Uint8Array(10_000)
        }), { concurrency: 1 })
      const { connect } = yield* serve(sending(start(), body({ stream })))
      const client = yield* connect()
      yield* client.pause
      yield* client.send(request("GET /", ["connection: close"]))
      assert.isBelow(pulled, 100)
      yield* client.resume
      const answer = answerIn(yield* client.readAll)
      assert.isTrue(answer.complete)
      assert.strictEqual(answer.body.length, 10_000_000)
    }))

  it.effect("may end with trailers [C36][C38]", () =>
    Effect.gen(function*() {
      const app = sending(
        { type: "http.response.start", status: 200, trailers: true },
        body({ stream: text("one") }),
        { type: "http.response.trailers", headers: [["x", "y"]] }
      )
      assert.deepInclude(answerIn(yield* askFor(app)), { body: "one", trailers: [["x", "y"]] })
    }))
})

describe("a body of a megabyte", () => {
  const content = bytesOf(1_048_576)

  /** Answers with what it was sent. */
  const echo = App.http(({ receive, send }) => {
    const parts: Array<Uint8Array> = []
    const read: Effect.Effect<void> = Effect.flatMap(receive, (event) => {
      if (event.type !== "http.request") return Effect.void
      parts.push(event.body)
      return event.more ? read : Effect.void
    })
    return Effect.andThen(read, Effect.suspend(() => App.respond(send, 200, Buffer.concat(parts))))
  })

  const requests = [
    request("POST /", [`content-length: ${content.length}`], latin1(content)),
    request("POST /", ["transfer-encoding: chunked"], chunked(latin1(content).match(/[^]{1,10000}/g)!))
  ]

  it.effect("goes in and out whole, in one piece or in many", () =>
    Effect.gen(function*() {
      const bytes = requests.join("") + request("GET /", ["connection: close"])
      for (const size of [bytes.length, 50_000, 1_447]) {
        const { connect } = yield* serve(echo)
        const client = yield* connect()
        yield* Effect.forkChild(
          Effect.forEach(bytes.match(new RegExp(`[^]{1,${size}}`, "g"))!, client.send, { discard: true })
        )
        const answers = answersIn(yield* client.readAll)
        assert.deepStrictEqual(answers.map((answer) => answer.body.length), [content.length, content.length, 0])
        assert.isTrue(answers[0]!.body === latin1(content))
        assert.isTrue(answers[1]!.body === latin1(content))
      }
    }))

  it.effect("goes out as text of one piece and of many", () =>
    Effect.gen(function*() {
      const line = "0123456789abcdé€\n"
      const whole = line.repeat(60_000)
      const expected = Buffer.from(whole)
      for (
        const app of [
          sending(start(), body({ body: whole })),
          App.http(({ send }) =>
            Effect.andThen(
              send(start()),
              Effect.andThen(
                Effect.forEach(Array.from({ length: 600 }), () => send(body({ body: line.repeat(100), more: true })), {
                  discard: true
                }),
                send(body({}))
              )
            )
          )
        ]
      ) {
        const answer = answerIn(yield* askFor(app))
        assert.strictEqual(answer.body.length, expected.length)
        assert.isTrue(answer.body === expected.toString("latin1"))
      }
    }))

  it.live("goes in and out over a socket, and so does a file", () =>
    Effect.gen(function*() {
      const file = yield* fileOf(content)
      const server = yield* ServerNode.make({ port: 0 })
      yield* server.serve(App.http((exchange) =>
        exchange.scope.path === "/file"
          ? Effect.andThen(exchange.send(start()), exchange.send(body({ file })))
          : echo(exchange)
      ))
      const bytes = requests.join("") + request("GET /file") + request("GET /", ["connection: close"])
      const answers = answersIn(yield* askSocket(yield* server.addresses, bytes))
      assert.deepStrictEqual(answers.map((answer) => answer.body.length), [
        content.length,
        content.length,
        content.length,
        0
      ])
      for (const answer of answers.slice(0, 3)) assert.isTrue(answer.body === latin1(content))
    }))
})
