/**
 * What a client may do to make work or hold memory without wanting an answer. Every case counts what the server did, never
 * how long it took; afterwards the server serves the next client.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import * as F from "../../utils/frames.ts"
import * as Hpack from "../../utils/hpack.ts"
import { type Client, opened, stillServes, watching } from "./serving.ts"

const times = <A>(count: number, make: (n: number) => A): Array<A> => Array.from({ length: count }, (_, n) => make(n))
const streamOf = (n: number) => 2 * n + 1

/** Answers at once; `/never` never. Counts what it was asked. */
const counting = () => {
  const asked: Array<string> = []
  const { app, ends } = watching()
  return {
    asked,
    ends,
    app: app(({ scope, send }) => {
      asked.push(scope.path)
      return scope.path === "/never" ? Effect.never : App.respond(send, 200, "x")
    })
  }
}

/** Sends batches until the server says GOAWAY; gives its code and how many were sent. */
const until = (client: Client, batches: number, batch: (n: number) => ReadonlyArray<Uint8Array>) =>
  Effect.gen(function*() {
    for (let n = 0; n < batches; n++) {
      const frames = yield* client.ask(...batch(n))
      const goaway = frames.find(({ type }) => type === "GOAWAY")
      if (goaway !== undefined) return { code: goaway.code, sent: n + 1 }
    }
    return { code: undefined, sent: batches }
  })

/** The connection has ended, nothing of it is left, and the server serves the next. */
const over = (client: Client, served: Effect.Success<ReturnType<typeof opened>>) =>
  Effect.gen(function*() {
    assert.isTrue(yield* client.bytes.isEnded)
    yield* client.bytes.end
    assert.deepInclude(yield* served.server.stats, { connections: 0, exchanges: 0 })
    assert.strictEqual(yield* stillServes(served.connect), 200)
  })

describe("resets of streams", () => {
  /** Opens and resets 20 streams at a time until the server has enough. */
  const resetting = (client: Client, head: (stream: number) => Buffer, code: F.Code) =>
    Effect.gen(function*() {
      for (let n = 0; n < 60; n++) {
        const streams = times(20, (m) => streamOf(20 * n + m))
        yield* client.ask(...streams.map(head))
        yield* client.ask(...streams.map((stream) => F.reset(stream, code)))
        const goaway = client.all.find(({ type }) => type === "GOAWAY")
        if (goaway !== undefined) return { code: goaway.code, batches: n + 1 }
      }
      return { code: undefined, batches: 60 }
    })

  for (
    const [what, head, code] of [
      ["requests at work", (stream: number) => F.get(stream, "/never"), "CANCEL"],
      ["requests whose body is awaited", (stream: number) => F.post(stream, "/never"), "NO_ERROR"],
      ["requests that are answered, and the answer not fetched", (stream: number) => F.get(stream), "CANCEL"]
    ] as const
  ) {
    it.effect(`of ${what}, 1000 at once, end the connection with ENHANCE_YOUR_CALM [C128]`, () =>
      Effect.gen(function*() {
        const { app, asked, ends } = counting()
        const served = yield* opened(app, {}, { INITIAL_WINDOW_SIZE: 0 })
        const outcome = yield* resetting(served.client, head, code)
        assert.deepStrictEqual(outcome, { code: "ENHANCE_YOUR_CALM", batches: 50 })
        assert.strictEqual(asked.length, 1000)
        assert.strictEqual(ends.filter((end) => !end.endsWith("interrupted")).length, 1000)
        yield* over(served.client, served)
      }))
  }

  for (
    const [how, leave] of [
      ["ends with an error", (client: Client) => client.send(F.goaway(0, "INTERNAL_ERROR"))],
      ["ends", (client: Client) => client.bytes.end],
      ["breaks", (client: Client) => client.bytes.reset]
    ] as const
  ) {
    it.effect(`that come to a thousand as the connection ${how} are its end, and nothing else [C128]`, () =>
      Effect.gen(function*() {
        const { app, asked, ends } = counting()
        const served = yield* opened(app)
        const { client } = served
        for (let n = 0; n < 49; n++) {
          const streams = times(20, (m) => streamOf(20 * n + m))
          yield* client.ask(...streams.map((stream) => F.get(stream, "/never")))
          yield* client.ask(...streams.map((stream) => F.reset(stream, "CANCEL")))
        }
        yield* client.ask(...times(100, (m) => F.get(streamOf(1000 + m), "/never")))
        yield* leave(client)
        yield* client.bytes.end
        assert.strictEqual(asked.length, 1080)
        assert.strictEqual(ends.filter((end) => end === "/never client_closed").length, 1080)
        assert.deepInclude(yield* served.server.stats, { connections: 0, exchanges: 0 })
        assert.strictEqual(yield* stillServes(served.connect), 200)
      }))
  }

  it.effect("fewer than that are nobody's business [C128]", () =>
    Effect.gen(function*() {
      const { app } = counting()
      const { client } = yield* opened(app)
      for (let n = 0; n < 47; n++) {
        const streams = times(20, (m) => streamOf(20 * n + m))
        yield* client.ask(...streams.map((stream) => F.get(stream, "/never")))
        yield* client.ask(...streams.map((stream) => F.reset(stream, "CANCEL")))
      }
      assert.isUndefined(F.goawayIn(client.all))
      assert.strictEqual(F.answerOn(yield* client.ask(F.get(9001)), 9001).status, 200)
    }))

  it.effect("in one piece, faster than anybody can look, end it as well [C128]", () =>
    Effect.gen(function*() {
      const { app, asked } = counting()
      const served = yield* opened(app)
      const { client } = served
      yield* client.ask(...times(3000, (n) => [F.get(streamOf(n), "/never"), F.reset(streamOf(n), "CANCEL")]).flat())
      assert.isDefined(F.goawayIn(client.all))
      assert.isAtMost(asked.length, 1100)
      yield* over(client, served)
    }))
})

describe("frames that carry no request", () => {
  const floods = {
    SETTINGS: () => F.settings({ MAX_CONCURRENT_STREAMS: 5 }),
    PING: () => F.ping()
  }
  for (const [name, frame] of Object.entries(floods)) {
    it.effect(`more than 1000 ${name} in a second end the connection with ENHANCE_YOUR_CALM`, () =>
      Effect.gen(function*() {
        const { app } = counting()
        const served = yield* opened(app)
        const { client } = served
        const { code, sent } = yield* until(client, 200, () => times(10, frame))
        assert.strictEqual(code, "ENHANCE_YOUR_CALM")
        assert.isAtLeast(sent, 99)
        assert.isAtMost(sent, 101)
        yield* over(client, served)
      }))

    it.effect(`${name} from a client that takes no answers holds no more than a bounded memory, and ends`, () =>
      Effect.gen(function*() {
        const { app } = counting()
        const served = yield* opened(app, { networkBufferBytes: 100, headerTimeout: "2 seconds" })
        const { client } = served
        yield* client.bytes.pause
        const frames = Buffer.concat(times(100, frame))
        for (let n = 0; n < 100; n++) yield* client.bytes.send(frames)
        yield* TestClock.adjust("10 seconds")
        yield* ServerMemory.settle
        assert.deepInclude(yield* served.server.stats, { connections: 0, exchanges: 0 })
        assert.strictEqual(yield* stillServes(served.connect), 200)
      }))
  }

  it.effect("a PING behind every piece of data, as clients of gRPC send it, does not count", () =>
    Effect.gen(function*() {
      const { app } = counting()
      const { client } = yield* opened(app)
      for (let n = 0; n < 1500; n++) yield* client.send(F.get(streamOf(n)), F.ping())
      const frames = yield* client.read
      assert.isUndefined(F.goawayIn(frames))
      assert.strictEqual(frames.filter(({ type }) => type === "PING").length, 1500)
    }))

  it.effect("900 PINGs in each second do not end it", () =>
    Effect.gen(function*() {
      const { app } = counting()
      const { client } = yield* opened(app)
      yield* client.ask(F.get(1))
      for (let second = 0; second < 5; second++) {
        yield* client.send(...times(900, () => F.ping()))
        yield* TestClock.adjust("1 second")
      }
      assert.isUndefined(F.goawayIn(yield* client.read))
    }))

  it.effect("more settings in one frame than 32 end it", () =>
    Effect.gen(function*() {
      const { app } = counting()
      const served = yield* opened(app)
      const { client } = served
      const entry = Buffer.from([0, 4, 0, 0, 0xff, 0xff])
      yield* client.ask(F.frame("SETTINGS", 0, 0, Buffer.concat(times(40, () => entry))))
      yield* TestClock.adjust("1 second")
      yield* client.read
      assert.isDefined(F.goawayIn(client.all))
      yield* over(client, served)
    }))

  it.effect("thousands of PRIORITY, WINDOW_UPDATE by 1 and unknown frames leave nothing behind", () =>
    Effect.gen(function*() {
      const { app } = counting()
      const { client, server } = yield* opened(app, { shutdownTimeout: 0 })
      yield* client.ask(F.get(1, "/never"))
      for (let n = 0; n < 8; n++) {
        yield* client.ask(
          ...times(500, (m) => F.priority(streamOf(1000 * n + m + 1), 0, m % 256)),
          ...times(500, () => F.windowUpdate(0, 1)),
          ...times(500, () => F.windowUpdate(1, 1)),
          ...times(500, (m) => F.frame(0x20 + m % 100, 0xff, m))
        )
      }
      assert.strictEqual(F.answerOn(yield* client.ask(F.get(90_001)), 90_001).status, 200)
      assert.deepInclude(yield* server.stats, { connections: 1, exchanges: 1 })
    }))

  it.effect("100000 of them leave nothing behind either, or end the connection with ENHANCE_YOUR_CALM", () =>
    Effect.gen(function*() {
      const { app } = counting()
      const served = yield* opened(app, { shutdownTimeout: 0 })
      const { client, server } = served
      yield* client.ask(F.get(1, "/never"))
      const frames = Buffer.concat(times(2000, (n) => F.priority(streamOf(n), 0)))
      const { code } = yield* until(client, 50, () => [frames])
      if (code !== undefined) {
        // nghttp2 from 1.66 on counts what is odd about a client.
        assert.strictEqual(code, "ENHANCE_YOUR_CALM")
        return yield* over(client, served)
      }
      assert.strictEqual(F.answerOn(yield* client.ask(F.get(90_001)), 90_001).status, 200)
      assert.deepInclude(yield* server.stats, { connections: 1, exchanges: 1 })
    }))

  it.effect("more than 1000 empty DATA that end nothing end the connection", () =>
    Effect.gen(function*() {
      const { app, ends } = counting()
      const served = yield* opened(app)
      const { client } = served
      yield* client.ask(F.post(1, "/never"))
      const { code, sent } = yield* until(client, 30, () => times(100, () => F.data(1, "")))
      assert.strictEqual(code, "ENHANCE_YOUR_CALM")
      assert.isAtMost(sent, 12)
      assert.deepStrictEqual(ends, ["/never protocol_error", "/never interrupted"])
      yield* over(client, served)
    }))
})

describe("headers", () => {
  const begun = F.headers(1, F.requestFields("GET", "/"), F.END_STREAM)

  for (
    const [what, block] of [
      ["empty ones", () => ""],
      ["ones with a byte of a field", (n: number) => n === 0 ? Buffer.from([0, 0x7f, 0x81, 0x7f]) : "x"],
      ["full ones", () => Hpack.encode([["x", "y".repeat(1000)]])]
    ] as const
  ) {
    it.effect(`CONTINUATIONs without end, ${what}, end the connection with ENHANCE_YOUR_CALM`, () =>
      Effect.gen(function*() {
        const { app, asked } = counting()
        const served = yield* opened(app)
        const { client } = served
        yield* client.send(begun)
        const { code, sent } = yield* until(client, 100, (n) => [F.frame("CONTINUATION", 0, 1, block(n))])
        assert.strictEqual(code, "ENHANCE_YOUR_CALM")
        assert.isAtMost(sent, 20)
        assert.deepStrictEqual(asked, [])
        yield* over(client, served)
      }))
  }

  const x1000 = ["x", "y".repeat(1000)] as const
  const lists = {
    "above 64 KiB": [
      F.headers(1, F.requestFields("GET", "/", times(16, () => x1000)), F.END_STREAM),
      ...times(3, () => F.frame("CONTINUATION", 0, 1, Hpack.encode(times(16, () => x1000)))),
      F.frame("CONTINUATION", F.END_HEADERS, 1, Hpack.encode(times(3, () => x1000)))
    ],
    "of 4 KiB that unfold to 400": [
      F.headers(
        1,
        Buffer.concat([
          Hpack.encode(F.requestFields("GET", "/")),
          Hpack.indexed("x", "y".repeat(4000)),
          ...times(99, () => Hpack.reference(62))
        ])
      )
    ],
    "of a thousand fields": [F.get(1, "/", times(1000, (n) => ["x", String(n)]))]
  }
  for (const [what, frames] of Object.entries(lists)) {
    it.effect(`${what} reset their stream, and no application sees them [C127]`, () =>
      Effect.gen(function*() {
        const { app, asked } = counting()
        const { client } = yield* opened(app)
        assert.strictEqual(F.answerOn(yield* client.ask(...frames), 1).reset, "ENHANCE_YOUR_CALM")
        assert.deepStrictEqual(asked, [])
        assert.strictEqual(F.answerOn(yield* client.ask(F.get(3)), 3).status, 200)
      }))
  }

  it.effect("up to the limit reach the application", () =>
    Effect.gen(function*() {
      const lengths: Array<number> = []
      const { client } = yield* opened(App.http(({ scope, send }) => {
        lengths.push(scope.headers.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0))
        return App.respond(send, 200, "")
      }))
      const frames = [
        F.headers(1, F.requestFields("GET", "/", times(15, () => x1000)), F.END_STREAM),
        ...times(2, () => F.frame("CONTINUATION", 0, 1, Hpack.encode(times(15, () => x1000)))),
        F.frame("CONTINUATION", F.END_HEADERS, 1, Hpack.encode(times(15, () => x1000)))
      ]
      assert.strictEqual(F.answerOn(yield* client.ask(...frames), 1).status, 200)
      assert.isAbove(lengths[0]!, 60_000)
    }))

  it.effect("that stop in the middle end the connection in headerTimeout", () =>
    Effect.gen(function*() {
      const { app } = counting()
      const served = yield* opened(app)
      const { client } = served
      yield* client.send(begun)
      yield* TestClock.adjust("15 seconds")
      assert.isDefined(F.goawayIn(yield* client.read))
      yield* over(client, served)
    }))
})

describe("windows of 0", () => {
  it.effect("on every stream hold one high watermark each, and are reset in writeTimeout [C133]", () =>
    Effect.gen(function*() {
      let sent = 0
      const { app, ends } = watching()
      const piece = new Uint8Array(16_384)
      const served = yield* opened(
        app(({ scope, send }) =>
          scope.path === "/" ? App.respond(send, 200, "") : Effect.andThen(
            send({ type: "http.response.start", status: 200 }),
            Effect.forever(
              Effect.andThen(
                Effect.sync(() => sent += piece.length),
                send({ type: "http.response.body", body: piece, more: true })
              )
            )
          )
        ),
        { writeTimeout: "10 seconds" },
        { INITIAL_WINDOW_SIZE: 0 }
      )
      const { client, server } = served
      yield* client.ask(...times(100, (n) => F.get(streamOf(n), "/much")))
      assert.strictEqual((yield* server.stats).exchanges, 100)
      assert.isAtMost(sent, 100 * (65_536 + piece.length))
      yield* TestClock.adjust("14 seconds")
      yield* client.read
      assert.strictEqual(client.all.filter(({ code, type }) => type === "RST_STREAM" && code === "CANCEL").length, 100)
      assert.strictEqual(ends.filter((end) => end === "/much write_timeout").length, 100)
      assert.strictEqual((yield* server.stats).exchanges, 0)
      // The limit of streams is free again.
      yield* client.ask(...times(100, (n) => F.get(streamOf(100 + n))))
      assert.strictEqual(F.answerOn(client.all, streamOf(199)).status, 200)
    }))

  it.effect("that are opened by a byte at a time move a byte at a time", () =>
    Effect.gen(function*() {
      const { app } = watching()
      const { client } = yield* opened(app(({ send }) => App.respond(send, 200, "0123456789")), {}, {
        INITIAL_WINDOW_SIZE: 0
      })
      yield* client.ask(F.get(1))
      for (let n = 1; n <= 10; n++) {
        yield* client.ask(F.windowUpdate(1, 1))
        assert.strictEqual(F.answerOn(client.all, 1).body.length, n)
      }
      assert.isTrue(F.answerOn(client.all, 1).ended)
    }))
})
