import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as AccessLogMemory from "../../../layers/AccessLogMemory.ts"
import * as App from "../../../src/app/App.ts"
import * as Lint from "../../../src/middleware/Lint.ts"
import type { HttpScope } from "../../../src/schema/Scope.ts"
import * as F from "../../utils/frames.ts"
import { answered, bodyOf, opened, routes } from "./serving.ts"

/** The scope of the request that `frames` make. */
const scopeOf = (...frames: ReadonlyArray<Uint8Array>) =>
  Effect.gen(function*() {
    let scope: HttpScope | undefined
    const app = App.http((exchange) => {
      scope = exchange.scope
      return App.respond(exchange.send, 200, "")
    })
    const { status } = yield* answered(Lint.make()(app), frames)
    assert.strictEqual(status, 200)
    return scope!
  })

const respond = (
  status: number,
  headers: ReadonlyArray<readonly [string, string]> = [],
  body: string | Uint8Array = ""
) => App.http(({ send }) => App.respond(send, status, body, headers))

describe("an HTTP/2 request", () => {
  it.effect("has the scope that it has over HTTP/1.1, but for its version [C12] [C113]", () =>
    Effect.gen(function*() {
      const scope = yield* scopeOf(F.get(1, "/a%20b/%C3%BC?c=d&e", [["x-a", "1"], ["x-b", "2"], ["x-a", "3"]]))
      assert.deepStrictEqual(scope, {
        type: "http",
        slipway: { version: "0.3", specVersion: "0.3" },
        httpVersion: "2",
        method: "GET",
        scheme: "http",
        path: "/a b/ü",
        rawPath: "/a%20b/%C3%BC",
        queryString: "c=d&e",
        rootPath: "",
        headers: [["host", "a"], ["x-a", "1"], ["x-b", "2"], ["x-a", "3"]],
        extensions: { fullflush: {}, "http.response.early_hint": {} },
        client: ["127.0.0.1", 40_000],
        server: ["127.0.0.1", 5000]
      })
    }))

  it.effect("has its host from :authority, first and instead of any other, and no pseudo header field [C13]", () =>
    Effect.gen(function*() {
      const { headers } = yield* scopeOf(F.get(1, "/", [["x", "1"], ["host", "other"]]))
      assert.deepStrictEqual(headers, [["host", "a"], ["x", "1"]])
    }))

  it.effect("has its host from host when there is no :authority [C13]", () =>
    Effect.gen(function*() {
      const block = [...F.requestFields("GET", "/").slice(0, 3), ["x", "1"], ["host", "b:8080"]] as const
      const { headers } = yield* scopeOf(F.headers(1, block))
      assert.deepStrictEqual(headers, [["x", "1"], ["host", "b:8080"]])
    }))

  it.effect("has one cookie header, wherever its parts stood [C12]", () =>
    Effect.gen(function*() {
      const { headers } = yield* scopeOf(
        F.get(1, "/", [["cookie", "a=1"], ["x", "1"], ["cookie", "b=2"], ["cookie", "c=3"]])
      )
      assert.deepStrictEqual(headers, [["host", "a"], ["cookie", "a=1; b=2; c=3"], ["x", "1"]])
    }))

  it.effect("may bring a cookie in 180 parts, which count as one header", () =>
    Effect.gen(function*() {
      const parts = Array.from({ length: 180 }, (_, n) => ["cookie", `c${n}=${n}`] as const)
      const { headers } = yield* scopeOf(F.get(1, "/", parts))
      assert.strictEqual(headers.length, 2)
      assert.strictEqual(headers[1]![1], parts.map((part) => part[1]).join("; "))
    }))

  it.effect("is an exchange of its own on each of 100 streams at once, answered in any order [C126]", () =>
    Effect.gen(function*() {
      const waiting = new Map<string, () => Effect.Effect<void, unknown>>()
      const app = App.http((exchange) =>
        Effect.callback<void, unknown>((resume) => {
          const { path } = exchange.scope
          waiting.set(path, () => Effect.sync(() => resume(App.respond(exchange.send, 200, path))))
        })
      )
      const { client, server } = yield* opened(app)
      const streams = Array.from({ length: 100 }, (_, n) => 2 * n + 1)
      yield* client.ask(...streams.map((stream) => F.get(stream, `/${stream}`)))
      assert.strictEqual((yield* server.stats).exchanges, 100)
      for (const stream of streams.toReversed()) yield* waiting.get(`/${stream}`)!()
      const frames = yield* client.read
      for (const stream of streams) assert.strictEqual(F.answerOn(frames, stream).body, `/${stream}`)
      const order = frames.filter(({ type }) => type === "HEADERS").map(({ stream }) => stream)
      assert.deepStrictEqual(order, streams.toReversed())
      assert.strictEqual((yield* server.stats).exchanges, 0)
    }))

  it.effect("one too many is refused while the others go on, before the client knows the limit [C127]", () =>
    Effect.gen(function*() {
      const { client, connect } = yield* opened(routes({ "/never": () => Effect.never }), { shutdownTimeout: 0 })
      const fresh = F.over(yield* connect())
      const streams = Array.from({ length: 101 }, (_, n) => F.get(2 * n + 1, "/never"))
      // Not acknowledged: the client may not have heard of the limit.
      const frames = yield* fresh.ask(F.preface, F.settings(), ...streams)
      assert.strictEqual(F.answerOn(frames, 201).reset, "REFUSED_STREAM")
      assert.isUndefined(F.goawayIn(frames))
      yield* fresh.send(F.reset(1, "CANCEL"))
      assert.strictEqual(F.answerOn(yield* fresh.ask(F.get(203)), 203).status, 404)
      assert.strictEqual(F.answerOn(yield* client.ask(F.get(1)), 1).status, 404)
    }))

  it.effect("announces its limits, that it takes WebSockets and that it does not push [C127] [C131] [W123]", () =>
    Effect.gen(function*() {
      const { connect } = yield* opened(respond(200), {
        http2MaxConcurrentStreams: 7,
        http2InitialWindowBytes: 100_000,
        http2MaxFrameBytes: 20_000,
        http2MaxHeaderListBytes: 9000
      })
      const client = F.over(yield* connect())
      const [settings] = yield* client.ask(F.preface, F.settings())
      assert.strictEqual(settings!.type, "SETTINGS")
      const values: Record<number, number> = {}
      for (let at = 0; at < settings!.payload.length; at += 6) {
        values[settings!.payload.readUInt16BE(at)] = settings!.payload.readUInt32BE(at + 2)
      }
      const { settingIds } = F
      assert.deepInclude(values, {
        [settingIds.ENABLE_PUSH]: 0,
        [settingIds.MAX_CONCURRENT_STREAMS]: 7,
        [settingIds.INITIAL_WINDOW_SIZE]: 100_000,
        [settingIds.MAX_FRAME_SIZE]: 20_000,
        [settingIds.MAX_HEADER_LIST_SIZE]: 9000,
        [settingIds.ENABLE_CONNECT_PROTOCOL]: 1
      })
    }))

  describe("that is refused by the server", () => {
    const many = Array.from({ length: 100 }, (_, n) => ["x", String(n)] as const)
    for (
      const [what, status, frames] of [
        ["has more headers than maxHeaderCount", 431, [F.get(1, "/", many)]],
        ["has a path longer than maxRequestLineBytes", 414, [F.get(1, `/${"x".repeat(8192)}`)]],
        ["declares a body larger than maxBodyBytes", 413, [F.post(1, "/", [["content-length", "10000001"]])]],
        ["declares a length beyond all numbers", 413, [F.post(1, "/", [["content-length", "9007199254740993"]])]],
        ["expects what nobody knows", 417, [F.post(1, "/", [["expect", "a miracle"]])]],
        ["has an :authority that is no host", 400, [
          F.headers(1, [...F.requestFields("GET", "/").slice(0, 3), [":authority", "a:b"]])
        ]],
        ["asks for a tunnel", 501, [F.headers(1, [[":method", "CONNECT"], [":authority", "a:1"]])]],
        ["is a HEAD", 417, [F.headers(1, F.requestFields("HEAD", "/", [["expect", "x"]]))]]
      ] as const
    ) {
      it.effect(`because it ${what} gets ${status}, and the connection goes on [C113]`, () =>
        Effect.gen(function*() {
          const paths: Array<string> = []
          const access = yield* AccessLogMemory.make({ format: "%h %s %B %X" })
          const app = App.http(({ scope, send }) => {
            paths.push(scope.path)
            return App.respond(send, 200, "")
          })
          const { client, server } = yield* Effect.provide(opened(app), access)
          const first = F.answerOn(yield* client.ask(...frames), 1)
          assert.strictEqual(first.status, status)
          assert.isTrue(first.ended)
          assert.strictEqual(first.header("content-type"), "text/plain; charset=utf-8")
          assert.strictEqual(first.body === "", what === "is a HEAD")
          assert.deepStrictEqual(paths, [])
          assert.strictEqual((yield* server.stats).totalRefused, 1)
          assert.strictEqual(F.answerOn(yield* client.ask(F.get(3, "/next")), 3).status, 200)
          assert.deepStrictEqual(paths, ["/next"])
          const lines = yield* Effect.provide(Effect.flatMap(AccessLogMemory.Lines, ({ lines }) => lines), access)
          assert.match(lines[0]!, new RegExp(`^127.0.0.1 ${status} \\d+ \\w+$`))
        }))
    }

    it.effect("because its body is not wanted is answered and then reset without an error", () =>
      Effect.gen(function*() {
        const { client } = yield* opened(respond(200))
        const answer = F.answerOn(
          yield* client.ask(F.post(1, "/", [["content-length", "10000001"]]), F.data(1, "x")),
          1
        )
        assert.deepInclude(answer, { status: 413, ended: true, reset: "NO_ERROR" })
      }))
  })

  describe("with a body", () => {
    it.effect("gives its parts as they come, and a last one [C132]", () =>
      Effect.gen(function*() {
        const events: Array<unknown> = []
        const app = App.http(({ receive, send }) =>
          Effect.gen(function*() {
            for (;;) {
              const event = yield* receive
              if (event.type !== "http.request") return
              events.push([Buffer.from(event.body ?? []).toString(), event.more])
              if (event.more !== true) break
            }
            yield* App.respond(send, 200, "read")
          })
        )
        const { client } = yield* opened(app)
        yield* client.ask(F.post(1))
        yield* client.ask(F.data(1, "one"))
        yield* client.ask(F.data(1, "two"), F.data(1, "three"))
        const frames = yield* client.ask(F.data(1, "", F.END_STREAM))
        assert.deepStrictEqual(events, [["one", true], ["twothree", true], ["", false]])
        assert.strictEqual(F.answerOn(frames, 1).body, "read")
      }))

    it.effect("knows the last part by the declared length; a stream that is not ended then is closed in time", () =>
      Effect.gen(function*() {
        const { client } = yield* opened(
          App.http((exchange) => Effect.flatMap(bodyOf(exchange), (body) => App.respond(exchange.send, 200, body)))
        )
        for (const stream of [1, 3]) {
          const frames = yield* client.ask(F.post(stream, "/", [["content-length", "3"]]), F.data(stream, "abc"))
          assert.deepInclude(F.answerOn(frames, stream), { status: 200, body: "abc", ended: true, reset: undefined })
        }
        yield* client.send(F.data(1, "", F.END_STREAM))
        yield* TestClock.adjust("35 seconds")
        const frames = yield* client.read
        assert.deepStrictEqual(frames.map(({ code, stream, type }) => [type, stream, code]), [
          ["RST_STREAM", 3, "NO_ERROR"]
        ])
      }))

    it.effect("that is empty has one event, whether HEADERS end the stream or an empty DATA does", () =>
      Effect.gen(function*() {
        const events: Array<unknown> = []
        const app = App.http(({ receive, send }) =>
          Effect.gen(function*() {
            events.push(yield* receive)
            yield* App.respond(send, 200, "")
          })
        )
        const { client } = yield* opened(app)
        yield* client.ask(F.get(1))
        yield* client.ask(F.post(3), F.data(3, "", F.END_STREAM))
        yield* client.ask(F.post(5, "/", [["content-length", "0"]]), F.data(5, "", F.END_STREAM))
        const empty = { type: "http.request", body: new Uint8Array(0), more: false }
        assert.deepStrictEqual(events, [empty, empty, empty])
      }))

    for (const fields of [[], [["content-length", "4"], ["trailer", "x-sum"]]] as const) {
      it.effect(`has its trailers on the last event, ${fields.length === 0 ? "without" : "with"} a length [C132]`, () =>
        Effect.gen(function*() {
          const trailers: Array<unknown> = []
          const app = App.http(({ receive, send }) =>
            Effect.gen(function*() {
              for (;;) {
                const event = yield* receive
                if (event.type !== "http.request") return
                if (event.more !== true) trailers.push(event.trailers)
                if (event.more !== true) return yield* App.respond(send, 200, "")
              }
            })
          )
          const { client } = yield* opened(Lint.make()(app))
          const end = F.headers(1, [["x-sum", "1"], ["authorization", "9"], ["x-sum", "2"]])
          const frames = yield* client.ask(F.post(1, "/", fields), F.data(1, "body"), end)
          assert.strictEqual(F.answerOn(frames, 1).status, 200)
          // What may not stand in trailers is left out (RFC 9110 section 6.5.1).
          assert.deepStrictEqual(trailers, [[["x-sum", "1"], ["x-sum", "2"]]])
        }))
    }

    it.effect("over maxBodyBytes gets 413 while it arrives", () =>
      Effect.gen(function*() {
        const reasons: Array<string> = []
        const app = App.http((exchange) => {
          exchange.connection.onDisconnect((reason) => reasons.push(reason))
          return Effect.flatMap(bodyOf(exchange), (body) => App.respond(exchange.send, 200, body))
        })
        const { client } = yield* opened(app, { maxBodyBytes: 10 })
        yield* client.ask(F.post(1), F.data(1, "12345"))
        const frames = yield* client.ask(F.data(1, "123456"))
        assert.deepInclude(F.answerOn(frames, 1), { status: 413, ended: true, reset: "NO_ERROR" })
        assert.deepStrictEqual(reasons, ["body_too_large"])
        assert.strictEqual(
          F.answerOn(yield* client.ask(F.post(3), F.data(3, "1234567890", F.END_STREAM)), 3).status,
          200
        )
      }))

    it.effect("that nobody reads is refused behind the answer, and the stream is gone", () =>
      Effect.gen(function*() {
        const { client, server } = yield* opened(respond(200, [], "no, thanks"))
        const frames = yield* client.ask(F.post(1), F.data(1, "unread".repeat(1000)))
        assert.deepInclude(F.answerOn(frames, 1), { status: 200, body: "no, thanks", ended: true, reset: "NO_ERROR" })
        const order = frames.filter(({ stream }) => stream === 1).map(({ flags, type }) => [type, flags & F.END_STREAM])
        assert.deepStrictEqual(order.slice(-2), [["DATA", F.END_STREAM], ["RST_STREAM", 0]])
        assert.strictEqual((yield* server.stats).exchanges, 0)
        // A stream that stays would count against the limit of them.
        for (let n = 0; n < 250; n++) {
          const stream = 2 * n + 3
          const answer = F.answerOn(yield* client.ask(F.post(stream), F.data(stream, "unread")), stream)
          assert.deepInclude(answer, { status: 200, ended: true, reset: "NO_ERROR" })
        }
      }))

    it.effect("half read by the application is refused behind a long answer, which is whole", () =>
      Effect.gen(function*() {
        const big = "x".repeat(200_000)
        const app = App.http(({ receive, send }) => Effect.andThen(receive, App.respond(send, 200, big)))
        // A high watermark above the answer: the application is done before its answer is on its way.
        const { client } = yield* opened(app, { writeHighWaterMark: 1_000_000 })
        yield* client.ask(F.post(1), F.data(1, "some"), F.data(1, "more"))
        while (client.all.at(-1)?.type === "DATA") {
          yield* client.ask(F.windowUpdate(0, 65_535), F.windowUpdate(1, 65_535))
        }
        const answer = F.answerOn(client.all, 1)
        assert.deepInclude(answer, { status: 200, ended: true, reset: "NO_ERROR" })
        assert.strictEqual(answer.body, big)
      }))
  })

  describe("that expects 100-continue", () => {
    const expecting = F.post(1, "/", [["expect", "100-continue"], ["content-length", "2"]])

    it.effect("gets it when the application reads, and not before [C132]", () =>
      Effect.gen(function*() {
        let read = false
        const app = App.http((exchange) =>
          Effect.gen(function*() {
            yield* Effect.repeat(Effect.yieldNow, { until: () => read })
            yield* App.respond(exchange.send, 200, yield* bodyOf(exchange))
          })
        )
        const { client } = yield* opened(app)
        assert.deepStrictEqual(yield* client.ask(expecting), [])
        read = true
        const frames = yield* client.read
        assert.deepStrictEqual(frames.map(({ fields, flags, type }) => [type, flags, fields]), [
          ["HEADERS", F.END_HEADERS, [[":status", "100"]]]
        ])
        assert.strictEqual(F.answerOn(yield* client.ask(F.data(1, "ok", F.END_STREAM)), 1).body, "ok")
      }))

    it.effect("does not get it when the body is there already, or when the answer has begun [C132]", () =>
      Effect.gen(function*() {
        const reads = App.http((exchange) =>
          Effect.flatMap(bodyOf(exchange), (body) => App.respond(exchange.send, 200, body))
        )
        assert.deepStrictEqual((yield* answered(reads, [expecting, F.data(1, "ok", F.END_STREAM)])).interim, [])
        const answers = App.http(({ receive, send }) =>
          Effect.gen(function*() {
            yield* send({ type: "http.response.start", status: 200 })
            yield* send({ type: "http.response.body", body: "x", more: true })
            yield* receive
          })
        )
        const { interim, status } = yield* answered(answers, [expecting])
        assert.strictEqual(status, 200)
        assert.deepStrictEqual(interim, [])
      }))
  })
})
