import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import * as F from "../../utils/frames.ts"
import { capture } from "../../utils/logs.ts"
import { bodyOf, opened, routes, watching } from "./serving.ts"

const start = { type: "http.response.start", status: 200 } as const
const part = (body: string) => ({ type: "http.response.body", body, more: true }) as const

/** What an application does until the client goes. */
const stages: Readonly<Record<string, (exchange: App.HttpExchange) => Effect.Effect<void, unknown>>> = {
  "before it reads": () => Effect.never,
  "while it waits for the body": ({ receive }) => Effect.andThen(receive, Effect.andThen(receive, Effect.never)),
  "between start and body": ({ send }) => Effect.andThen(send(start), Effect.never),
  "in the middle of its answer": ({ send }) =>
    Effect.andThen(send(start), Effect.andThen(send(part("half")), Effect.never)),
  "while a send waits": ({ send }) =>
    Effect.andThen(send(start), Effect.andThen(send(part("x".repeat(200_000))), Effect.never))
}

describe("a reset by the client", () => {
  for (const [when, handler] of Object.entries(stages)) {
    for (const code of ["CANCEL", "NO_ERROR", "INTERNAL_ERROR"] as const) {
      for (const body of ["nothing unread", "something unread"] as const) {
        const title = `${when} with ${code} and ${body}`
        it.effect(`${title} disconnects and interrupts that exchange only, once [C130] [C113]`, () =>
          Effect.gen(function*() {
            const { app, ends } = watching()
            const exchanges: Array<App.HttpExchange> = []
            const { client, server } = yield* opened(
              app((exchange) => {
                if (exchange.scope.path === "/quick") return App.respond(exchange.send, 200, "")
                exchanges.push(exchange)
                return handler(exchange)
              }),
              { shutdownTimeout: 0 }
            )
            yield* client.ask(F.post(1, "/reset"), F.get(3, "/stays"))
            if (body === "something unread") yield* client.ask(F.data(1, "x".repeat(5000)), F.data(1, "y".repeat(5000)))
            yield* client.ask(F.reset(1, code))
            const [reset, stays] = exchanges.toSorted((a, b) => a.scope.path < b.scope.path ? -1 : 1)
            assert.deepStrictEqual(ends, ["/reset client_closed", "/reset interrupted"])
            assert.isFalse(reset!.connection.isConnected)
            assert.strictEqual(reset!.connection.disconnectReason, "client_closed")
            assert.deepStrictEqual(yield* reset!.receive, { type: "http.disconnect" })
            assert.strictEqual(yield* reset!.connection.disconnected, "client_closed")
            // Sends after it are heard by nobody, and fail nothing.
            for (const event of [start, part("late")]) yield* reset!.send(event)
            yield* reset!.send({ type: "http.response.early_hint", links: ["</x>"] })
            yield* reset!.send({ type: "http.fullflush" })
            assert.strictEqual(reset!.transport.bufferedAmount, 0)
            assert.isTrue(stays!.connection.isConnected)
            assert.strictEqual((yield* server.stats).exchanges, 1)
            // Nothing of the stream is left behind: the connection takes as many as ever.
            for (let stream = 5; stream < 225; stream += 2) {
              assert.strictEqual(F.answerOn(yield* client.ask(F.get(stream, "/quick")), stream).status, 200)
            }
          }))
      }
    }
  }

  it.effect("is seen by the application that waits for it, before its interruption", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const app = App.http((exchange) => {
        exchange.connection.onDisconnect((reason) => seen.push(`${reason} ${exchange.connection.isConnected}`))
        return Effect.uninterruptible(
          Effect.flatMap(exchange.receive, (event) => Effect.sync(() => seen.push(event.type)))
        )
      })
      const { client } = yield* opened(app)
      yield* client.ask(F.post(1))
      yield* client.ask(F.reset(1, "CANCEL"))
      assert.deepStrictEqual(seen, ["client_closed false", "http.disconnect"])
    }))

  it.effect("that comes with its request starts no application", () =>
    Effect.gen(function*() {
      const paths: Array<string> = []
      const { client, server } = yield* opened(App.http(({ scope, send }) => {
        paths.push(scope.path)
        return App.respond(send, 200, "")
      }))
      yield* client.ask(F.get(1, "/gone"), F.reset(1, "CANCEL"), F.get(3, "/stays"))
      assert.deepStrictEqual(paths, ["/stays"])
      assert.deepInclude(yield* server.stats, { exchanges: 0, totalExchanges: 1 })
    }))

  it.effect("after a complete answer changes nothing about it", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      const { client, server } = yield* opened(app(({ send }) => App.respond(send, 200, "x".repeat(30_000))), {}, {
        INITIAL_WINDOW_SIZE: 10
      })
      yield* client.ask(F.get(1, "/a"))
      assert.deepStrictEqual(ends, ["/a complete"])
      yield* client.ask(F.reset(1, "CANCEL"))
      assert.deepStrictEqual(ends, ["/a complete"])
      assert.strictEqual((yield* server.stats).exchanges, 0)
      assert.strictEqual(F.answerOn(yield* client.ask(F.get(3, "/b")), 3).status, 200)
    }))

  it.effect("gives what the application does after its answer the grace, and then interrupts it", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      const { client, server } = yield* opened(
        app(({ send }) => Effect.andThen(App.respond(send, 200, "x".repeat(1000)), Effect.never)),
        { disconnectGrace: "5 seconds" },
        { INITIAL_WINDOW_SIZE: 10 }
      )
      yield* client.ask(F.get(1, "/a"))
      yield* client.ask(F.reset(1, "CANCEL"))
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(ends, ["/a complete"])
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(ends, ["/a complete", "/a interrupted"])
      assert.strictEqual((yield* server.stats).exchanges, 0)
    }))

  it.effect("because we broke the protocol, or a frame of its own that did, is a protocol_error", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      const { client } = yield* opened(app(({ receive }) => Effect.andThen(receive, Effect.never)))
      yield* client.ask(F.post(1, "/said"), F.post(3, "/seen"))
      yield* client.ask(F.reset(1, "PROTOCOL_ERROR"))
      // Trailers with a pseudo header field.
      yield* client.ask(F.headers(3, [[":path", "/"]]))
      assert.deepStrictEqual(ends, [
        "/said protocol_error",
        "/said interrupted",
        "/seen protocol_error",
        "/seen interrupted"
      ])
      assert.strictEqual(F.answerOn(client.all, 3).reset, "PROTOCOL_ERROR")
    }))
})

describe("the end of the connection", () => {
  const leavings = {
    "ends its side": ({ end }: ServerMemory.Client) => end,
    "is reset": ({ reset }: ServerMemory.Client) => reset,
    "breaks": ({ fail }: ServerMemory.Client) => fail("ETIMEDOUT", "read")
  }
  for (const [how, leave] of Object.entries(leavings)) {
    it.effect(`when it ${how} ends every exchange on it, once, and leaves nothing behind [C113]`, () =>
      Effect.gen(function*() {
        const { app, ends } = watching()
        const { client, server } = yield* opened(
          app((exchange) => stages[Object.keys(stages)[Number(exchange.scope.path.slice(1))]!]!(exchange))
        )
        yield* client.ask(...Array.from({ length: 5 }, (_, n) => F.post(2 * n + 1, `/${n}`)))
        yield* client.ask(F.data(1, "unread"))
        yield* leave(client.bytes)
        yield* ServerMemory.settle
        const reason = how === "breaks" ? "read_error" : "client_closed"
        const expected = Array.from({ length: 5 }, (_, n) => [`/${n} ${reason}`, `/${n} interrupted`]).flat()
        assert.deepStrictEqual(ends.sort(), expected.sort())
        assert.deepInclude(yield* server.stats, { connections: 0, exchanges: 0 })
      }))
  }

  it.effect("by a fault of the client says protocol_error to each of them", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      const { client, server } = yield* opened(app(() => Effect.never))
      yield* client.ask(F.get(1, "/a"), F.get(3, "/b"))
      yield* client.ask(F.windowUpdate(0, 0))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(ends, ["/a protocol_error", "/a interrupted", "/b protocol_error", "/b interrupted"])
      assert.strictEqual(F.goawayIn(client.all)?.code, "PROTOCOL_ERROR")
      yield* client.bytes.end
      assert.deepInclude(yield* server.stats, { connections: 0, exchanges: 0 })
    }))
})

describe("an application that fails", () => {
  const logs = capture()
  it.effect("before its answer is a 500, after it a reset with INTERNAL_ERROR, and the others go on [C113]", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      const { client } = yield* opened(app(({ scope, send }) =>
        Effect.gen(function*() {
          if (scope.path === "/fine") return yield* App.respond(send, 200, "fine")
          if (scope.path !== "/none") yield* send(start)
          if (scope.path === "/half") yield* send(part("half"))
          if (scope.path === "/late") yield* Effect.andThen(send(part("half")), Effect.sleep("1 second"))
          return yield* Effect.fail("no")
        })
      ))
      const paths = ["/none", "/started", "/half", "/late", "/fine"]
      yield* client.ask(...paths.map((path, n) => F.get(2 * n + 1, path)))
      yield* TestClock.adjust("1 second")
      yield* client.read
      const answers = paths.map((_, n) => F.answerOn(client.all, 2 * n + 1))
      assert.deepStrictEqual(answers.map(({ body, ended, reset, status }) => [status, body, ended, reset]), [
        [500, "Internal Server Error", true, undefined],
        [500, "Internal Server Error", true, undefined],
        [200, "half", false, "INTERNAL_ERROR"],
        [200, "half", false, "INTERNAL_ERROR"],
        [200, "fine", true, undefined]
      ])
      assert.deepStrictEqual(ends, [
        "/none server_error",
        "/started server_error",
        "/half server_error",
        "/fine complete",
        "/late server_error"
      ])
      assert.isUndefined(F.goawayIn(client.all))
    }).pipe(Effect.provide(logs.layer)))

  it.effect("with trailers promised and never sent is reset", () =>
    Effect.gen(function*() {
      const { client } = yield* opened(App.http(({ send }) =>
        Effect.andThen(send({ ...start, trailers: true }), send({ type: "http.response.body", body: "all" }))
      ))
      assert.deepInclude(F.answerOn(yield* client.ask(F.get(1)), 1), {
        status: 200,
        body: "all",
        ended: false,
        reset: "INTERNAL_ERROR"
      })
    }).pipe(Effect.provide(logs.layer)))

  it.effect("without having read the body is answered, and the rest is not wanted", () =>
    Effect.gen(function*() {
      const { client } = yield* opened(App.http(() => Effect.die("no")))
      const answer = F.answerOn(yield* client.ask(F.post(1), F.data(1, "unread")), 1)
      assert.deepInclude(answer, { status: 500, ended: true, reset: "NO_ERROR" })
      for (let stream = 3; stream < 250; stream += 2) {
        assert.strictEqual(F.answerOn(yield* client.ask(F.post(stream), F.data(stream, "unread")), stream).status, 500)
      }
    }).pipe(Effect.provide(logs.layer)))
})

describe("the waits of an HTTP/2 stream", () => {
  it.effect("for a body that does not come end in 408, on this stream only [C142] [C113]", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      const { client } = yield* opened(
        app((exchange) => Effect.flatMap(bodyOf(exchange), (body) => App.respond(exchange.send, 200, body)))
      )
      yield* client.ask(F.post(1, "/silent"), F.post(3, "/slow"))
      for (let n = 0; n < 4; n++) {
        yield* TestClock.adjust("20 seconds")
        yield* client.send(F.data(3, "x"))
      }
      const frames = yield* client.ask(F.data(3, "", F.END_STREAM))
      assert.deepInclude(F.answerOn(client.all, 1), { status: 408, ended: true, reset: "NO_ERROR" })
      assert.deepInclude(F.answerOn(frames, 3), { status: 200, body: "xxxx" })
      assert.deepStrictEqual(ends, ["/silent client_timeout", "/silent interrupted", "/slow complete"])
    }))

  it.effect("do not count while the application does not ask for the body", () =>
    Effect.gen(function*() {
      const { client } = yield* opened(App.http((exchange) =>
        Effect.andThen(
          Effect.sleep("10 minutes"),
          Effect.flatMap(bodyOf(exchange), (body) => App.respond(exchange.send, 200, body))
        )
      ))
      yield* client.ask(F.post(1))
      yield* TestClock.adjust("10 minutes")
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(F.answerOn(yield* client.ask(F.data(1, "late", F.END_STREAM)), 1).body, "late")
    }))

  it.effect("for a whole request end in 408, or in a reset when the answer has begun [C113]", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      const { client } = yield* opened(
        app((exchange) =>
          exchange.scope.path === "/quick"
            ? App.respond(exchange.send, 200, "")
            : stages[exchange.scope.path.slice(1)]!(exchange)
        ),
        { requestTimeout: "5 seconds", disconnectGrace: 0 }
      )
      const encoded = (name: string) => `/${name.replaceAll(" ", "%20")}`
      yield* client.ask(F.get(1, encoded("before it reads")), F.get(3, encoded("in the middle of its answer")))
      yield* TestClock.adjust("7 seconds")
      yield* client.read
      assert.deepInclude(F.answerOn(client.all, 1), { status: 408, ended: true })
      assert.deepInclude(F.answerOn(client.all, 3), { status: 200, body: "half", ended: false, reset: "CANCEL" })
      assert.deepStrictEqual(ends.filter((end) => end.endsWith("client_timeout")).length, 2)
      assert.strictEqual(F.answerOn(yield* client.ask(F.get(5, "/quick")), 5).status, 200)
    }))
})

describe("an HTTP/2 exchange", () => {
  it.effect("calls onComplete or onDisconnect exactly once, whatever comes after", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      const go = yield* Deferred.make<void>()
      const { client, server } = yield* opened(app(({ scope, send }) =>
        scope.path === "/waits"
          ? Effect.andThen(Deferred.await(go), App.respond(send, 200, "x"))
          : App.respond(send, 200, "x")
      ))
      yield* client.ask(F.post(1, "/done"), F.post(3, "/waits"))
      yield* client.ask(F.reset(1, "CANCEL"), F.data(1, "x"), F.reset(1, "NO_ERROR"))
      yield* client.ask(F.reset(3, "CANCEL"), F.reset(3, "CANCEL"), F.windowUpdate(3, 1))
      yield* Deferred.succeed(go, undefined)
      yield* client.bytes.reset
      assert.deepStrictEqual(ends, ["/done complete", "/waits client_closed", "/waits interrupted"])
      assert.deepInclude(yield* server.stats, { connections: 0, exchanges: 0 })
    }))

  it.effect("ends when client and application go at the same moment", () =>
    Effect.gen(function*() {
      const { app, ends } = watching()
      const { client, server } = yield* opened(
        app(({ send }) => Effect.andThen(Effect.sleep("1 second"), App.respond(send, 200, "x".repeat(100_000))))
      )
      yield* client.ask(F.get(1, "/a"), F.post(3, "/b"))
      yield* Effect.all([
        TestClock.adjust("1 second"),
        client.send(F.reset(1, "CANCEL")),
        client.send(F.reset(3, "CANCEL"))
      ], {
        concurrency: "unbounded"
      })
      yield* client.read
      assert.strictEqual(ends.filter((end) => !end.endsWith("interrupted")).length, 2)
      assert.strictEqual((yield* server.stats).exchanges, 0)
    }))

  it.effect("is answered after its client has ended the stream, not the connection", () =>
    Effect.gen(function*() {
      const { client } = yield* opened(routes({
        "/": ({ send }) => Effect.andThen(Effect.sleep("1 minute"), App.respond(send, 200, "patience"))
      }))
      yield* client.ask(F.get(1))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(F.answerOn(yield* client.read, 1).body, "patience")
    }))
})
