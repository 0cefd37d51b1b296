import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as App from "../../src/app/App.ts"
import * as EventDispatcher from "../../src/app/EventDispatcher.ts"
import * as Lint from "../../src/middleware/Lint.ts"
import { answerIn, request } from "../utils/answers.ts"
import { make } from "../utils/exchange.ts"
import { capture } from "../utils/logs.ts"
import { serve } from "../utils/serve.ts"
import { close, open, serveSockets, text } from "../utils/webSocket.ts"

class Sink extends Context.Service<Sink, { readonly add: (word: string) => Effect.Effect<void> }>()(
  "slipway/test/Sink"
) {}

describe("EventDispatcher", () => {
  describe("run", () => {
    it.effect("hands every event of a websocket to the handler of its type, the disconnect last [C210]", () =>
      Effect.gen(function*() {
        const words: Array<string> = []
        const ended = yield* Deferred.make<unknown>()
        const { connect } = yield* serveSockets((exchange) =>
          Effect.flatMap(
            EventDispatcher.run(exchange, {
              on: {
                "websocket.connect": () => exchange.send({ type: "websocket.accept" }),
                "websocket.receive": ({ text }) => exchange.send({ type: "websocket.send", text: `${text}!` }),
                "websocket.disconnect": ({ code }) => Effect.sync(() => words.push(`closed ${code}`))
              }
            }),
            (end) => Deferred.succeed(ended, end)
          )
        )
        const { said, send } = yield* open(connect)
        yield* send(text("a"), text("b"), close(4000, "x"))
        assert.deepStrictEqual(yield* said, ["text a!", "text b!", "close 4000"])
        assert.deepStrictEqual(words, ["closed 4000"])
        assert.deepStrictEqual(yield* Deferred.await(ended), {
          _tag: "Disconnected",
          event: { type: "websocket.disconnect", code: 4000, reason: "x" }
        })
      }))

    it.effect("gives what has no handler to onDefault [C210]", () =>
      Effect.gen(function*() {
        const types: Array<string> = []
        const { connect } = yield* serveSockets((exchange) =>
          EventDispatcher.run(exchange, {
            on: { "websocket.connect": () => exchange.send({ type: "websocket.accept" }) },
            onDefault: (event) => Effect.sync(() => types.push(event.type))
          })
        )
        const { send } = yield* open(connect)
        yield* send(text("a"), close(1000))
        assert.deepStrictEqual(types, ["websocket.receive", "websocket.disconnect"])
      }))

    it.effect("drops what nobody wants, and answers http and sse requests", () =>
      Effect.gen(function*() {
        const app = Lint.make()(App.byType<unknown>({
          http: (exchange) => {
            let size = 0
            return EventDispatcher.run(exchange, {
              on: {
                "http.request": ({ body, more }) => {
                  size += body.length
                  return more ? Effect.void : App.respond(exchange.send, 200, `${size} bytes`)
                }
              }
            })
          },
          sse: (exchange) =>
            EventDispatcher.run(exchange, {
              on: {
                "sse.request": ({ body }, { stop }) =>
                  Effect.gen(function*() {
                    yield* exchange.send({ type: "sse.start" })
                    yield* exchange.send({ type: "sse.send", data: new TextDecoder().decode(body) })
                    yield* stop
                  })
              }
            })
        }))
        const { connect } = yield* serve(app)
        const ask = (lines: ReadonlyArray<string>) =>
          Effect.gen(function*() {
            const client = yield* connect()
            yield* client.send(request("POST /", [...lines, "content-length: 3"], "abc"))
            return answerIn(yield* client.read).body
          })
        assert.strictEqual(yield* ask([]), "3 bytes")
        assert.strictEqual(yield* ask(["accept: text/event-stream"]), "data: abc\n\n")
      }))

    it.effect("ends with the handler that stops it, without another event [C210]", () =>
      Effect.gen(function*() {
        const fake = make()
        const ended = yield* EventDispatcher.run(fake.exchange, {
          on: { "http.request": (_event, { stop }) => stop }
        })
        assert.deepStrictEqual(ended, { _tag: "Stopped" })
        assert.strictEqual(fake.receiveCount(), 1)
      }))

    it.effect("gives failures, defects and throws to onError, and goes on [C210]", () =>
      Effect.gen(function*() {
        const errors: Array<string> = []
        const { connect } = yield* serveSockets((exchange) =>
          EventDispatcher.run(exchange, {
            on: {
              "websocket.connect": () => exchange.send({ type: "websocket.accept" }),
              "websocket.receive": ({ text }): Effect.Effect<void, string> => {
                if (text === "throw") throw "thrown"
                return text === "die" ? Effect.die("died") : Effect.fail("failed")
              }
            },
            onError: (cause, event) => Effect.sync(() => errors.push(`${event.type} ${String(Cause.squash(cause))}`))
          })
        )
        const { send } = yield* open(connect)
        yield* send(text("fail"), text("die"), text("throw"))
        assert.deepStrictEqual(errors, [
          "websocket.receive failed",
          "websocket.receive died",
          "websocket.receive thrown"
        ])
      }))

    it.effect("logs failures without an onError, and those of an onError", () => {
      const logs = capture()
      return Effect.gen(function*() {
        const fake = make()
        const running = yield* Effect.forkChild(
          EventDispatcher.run(fake.exchange, { on: { "http.request": () => Effect.fail("first") } }).pipe(
            Effect.andThen(EventDispatcher.run(fake.exchange, {
              on: { "http.disconnect": () => Effect.fail("second") },
              onError: () => Effect.die("third")
            }))
          ),
          { startImmediately: true }
        )
        yield* fake.disconnect()
        yield* Fiber.join(running)
        assert.deepStrictEqual(logs.lines.map(({ level, message }) => [level, message]), [
          ["Error", "The handler of http.request failed"],
          ["Error", "onError failed"]
        ])
        assert.include(logs.lines[0]!.cause, "first")
        assert.include(logs.lines[1]!.cause, "third")
      }).pipe(Effect.provide(logs.layer))
    })

    it.effect("passes an interruption on", () =>
      Effect.gen(function*() {
        const fake = make()
        const errors: Array<unknown> = []
        const running = yield* Effect.forkChild(
          EventDispatcher.run(fake.exchange, {
            on: { "http.request": () => Effect.never },
            onError: (cause) => Effect.sync(() => errors.push(cause))
          }),
          { startImmediately: true }
        )
        yield* Fiber.interrupt(running)
        assert.isTrue(running.pollUnsafe()?._tag === "Failure")
        assert.deepStrictEqual(errors, [])
      }))

    it.effect("takes the services of its handlers, and refuses handlers of other protocols by type", () =>
      Effect.gen(function*() {
        const words: Array<string> = []
        const fake = make()
        const running = EventDispatcher.run(fake.exchange, {
          on: { "http.request": (_event, { stop }) => Effect.andThen(Sink.use((sink) => sink.add("seen")), stop) }
        })
        yield* Effect.provideService(running, Sink, { add: (word) => Effect.sync(() => void words.push(word)) })
        assert.deepStrictEqual(words, ["seen"])
        // @ts-expect-error The exchange is http.
        EventDispatcher.run(fake.exchange, { on: { "websocket.receive": () => Effect.void } })
      }))
  })
})
