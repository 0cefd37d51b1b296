import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type { Options as ServerOptions } from "../../layers/ServerMemory.ts"
import * as App from "../../src/app/App.ts"
import type { CloseInfo } from "../../src/app/CloseInfo.ts"
import type { SendError } from "../../src/app/SendError.ts"
import * as WebSocketSession from "../../src/app/WebSocketSession.ts"
import { answerIn } from "../utils/answers.ts"
import { capture } from "../utils/logs.ts"
import { serve } from "../utils/serve.ts"
import { binary, close, handshake, open, serveSockets, text } from "../utils/webSocket.ts"

const orders = WebSocketSession.codec({
  message: Schema.Struct({ id: Schema.Int, due: Schema.Date, items: Schema.Array(Schema.Struct({ n: Schema.Int })) })
})

interface Nested {
  readonly in?: Nested
}
const Nested: Schema.Codec<Nested> = Schema.Struct({
  in: Schema.optionalKey(Schema.suspend((): Schema.Codec<Nested> => Nested))
})

type Plain = WebSocketSession.WebSocketSession

/** Serves sessions without options, and opens one. */
const opened = <E>(handler: (session: Plain) => Effect.Effect<void, E>, options: ServerOptions = {}) =>
  Effect.flatMap(
    serveSockets((exchange) => handler(WebSocketSession.make(exchange)), options),
    ({ connect }) => open(connect)
  )

const echo = (session: Plain) => session.sendAll(session.messages)

/** Keeps the ends of sessions. */
const ends = () => {
  const infos: Array<CloseInfo> = []
  const keep = (session: { readonly onClose: Plain["onClose"] }) => session.onClose((info) => void infos.push(info))
  return { infos, keep }
}

const reasonOf = (error: SendError) => error.reason._tag

describe("WebSocketSession", () => {
  describe("messages", () => {
    it.effect("accepts the handshake and yields text and bytes in order, until the client closes [C207]", () =>
      Effect.gen(function*() {
        const seen: Array<unknown> = []
        const over = yield* Deferred.make<void>()
        const { said, send } = yield* opened((session) =>
          Effect.andThen(
            Stream.runForEach(session.messages, (message) => Effect.sync(() => void seen.push(message))),
            Deferred.succeed(over, undefined)
          )
        )
        yield* send(text("ä"), binary(new Uint8Array([1, 2])), close(1000))
        yield* Deferred.await(over)
        assert.deepStrictEqual(seen.map((message) => typeof message === "string" ? message : [...message as Buffer]), [
          "ä",
          [1, 2]
        ])
        assert.deepStrictEqual(yield* said, ["close 1000"])
      }))

    it.effect("goes on in a second run where the first one stopped, and loses nothing", () =>
      Effect.gen(function*() {
        const { said, send } = yield* opened((session) =>
          Effect.flatMap(
            Stream.runHead(session.messages),
            (first) =>
              session.sendAll(Stream.map(session.messages, (message) => `${Option.getOrThrow(first)} ${message}`))
          )
        )
        yield* send(text("a"), text("b"), text("c"))
        assert.deepStrictEqual(yield* said, ["text a b", "text a c"])
      }))

    it.effect("ends when the connection breaks off, after what had arrived", () =>
      Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        const result = yield* Deferred.make<ReadonlyArray<unknown>>()
        const { client, send } = yield* opened((session) =>
          Effect.gen(function*() {
            yield* session.accept()
            yield* Deferred.await(gate)
            yield* Deferred.succeed(result, yield* Stream.runCollect(session.messages))
          })
        )
        yield* send(text("a"), text("b"))
        yield* client.reset
        yield* Deferred.succeed(gate, undefined)
        assert.deepStrictEqual(yield* Deferred.await(result), ["a", "b"])
      }))

    it.effect("loses and reorders nothing when the end is asked for while messages wait", () =>
      Effect.gen(function*() {
        const { infos, keep } = ends()
        const gate = yield* Deferred.make<void>()
        const result = yield* Deferred.make<ReadonlyArray<unknown>>()
        const { send } = yield* opened((session) =>
          Effect.gen(function*() {
            yield* keep(session)
            yield* session.accept()
            yield* Deferred.await(gate)
            yield* Deferred.succeed(result, yield* Stream.runCollect(session.messages))
          })
        )
        yield* send(text("a"), text("b"), close(4001, "bye"))
        assert.deepStrictEqual(infos.map(({ code }) => code), [4001])
        yield* Deferred.succeed(gate, undefined)
        assert.deepStrictEqual(yield* Deferred.await(result), ["a", "b"])
      }))

    it.effect("closes with 1007 for a message that is nested deeper than its Schema can follow", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const { connect } = yield* serveSockets((exchange) =>
          Stream.runDrain(WebSocketSession.make(exchange, { message: Nested }).messages).pipe(Effect.ignore)
        )
        const { said, send } = yield* open(connect)
        yield* send(text(`${`{"in":`.repeat(20_000)}{}${"}".repeat(20_000)}`))
        assert.deepStrictEqual(yield* said, ["close 1007 not as expected"])
        assert.deepStrictEqual(lines.filter(({ level }) => level === "Error"), [])
      }).pipe(Effect.provide(layer))
    })

    it.effect("is empty after a decline", () =>
      Effect.gen(function*() {
        const result = yield* Deferred.make<ReadonlyArray<unknown>>()
        const { connect } = yield* serveSockets((exchange) => {
          const session = WebSocketSession.make(exchange)
          return Effect.gen(function*() {
            yield* session.deny(404)
            yield* Deferred.succeed(result, yield* Stream.runCollect(session.messages))
          })
        })
        const client = yield* connect()
        yield* client.send(handshake())
        assert.deepStrictEqual(yield* Deferred.await(result), [])
      }))
  })

  describe("accept", () => {
    it.effect("chooses a subprotocol and sends headers", () =>
      Effect.gen(function*() {
        const { connect } = yield* serveSockets((exchange) => {
          const session = WebSocketSession.make(exchange)
          return Effect.andThen(
            session.accept({ subprotocol: "chat", headers: [["x-room", "1"]] }),
            echo(session)
          )
        })
        const { head } = yield* open(connect, { lines: ["sec-websocket-protocol: chat"] })
        assert.deepStrictEqual([head.header("sec-websocket-protocol"), head.header("x-room")], ["chat", "1"])
      }))

    it.effect("leaves the handshake unanswered when it is refused", () =>
      Effect.gen(function*() {
        const errors: Array<string> = []
        yield* opened((session) =>
          Effect.catch(session.accept({ subprotocol: "none" }), (error) => {
            errors.push(reasonOf(error))
            return echo(session)
          })
        )
        assert.deepStrictEqual(errors, ["InvalidField"])
      }))

    it.effect("happens once when several fibers send at once through a slow layer", () =>
      Effect.gen(function*() {
        const { connect } = yield* serveSockets((outer) => {
          const slow = App.derive(outer, {
            send: (event) => Effect.andThen(Effect.yieldNow, Effect.andThen(Effect.yieldNow, outer.send(event)))
          })
          const session = WebSocketSession.make(slow)
          const sends = Effect.forEach(["a", "b"], session.send, { concurrency: "unbounded", discard: true })
          return Effect.andThen(sends, echo(session))
        })
        const { said } = yield* open(connect)
        assert.deepStrictEqual([...yield* said].sort(), ["text a", "text b"])
      }))
  })

  describe("send", () => {
    it.effect("fails with the place of what does not fit, and sends nothing", () =>
      Effect.gen(function*() {
        const errors: Array<string> = []
        const { connect } = yield* serveSockets((exchange) => {
          const session = WebSocketSession.make(exchange, orders)
          const wrong = { id: 1, due: new Date(0), items: [{ n: 1.5 }] }
          return Effect.catch(session.send(wrong), (error) => {
            errors.push(error.message)
            return session.send({ ...wrong, items: [] })
          })
        })
        const { said } = yield* open(connect)
        assert.deepStrictEqual(errors, [
          "'websocket.send' has an invalid text: it does not fit its Schema at items/0/n"
        ])
        assert.deepStrictEqual(yield* said, [`text {"id":1,"due":"1970-01-01T00:00:00.000Z","items":[]}`, "close 1000"])
      }))

    it.effect("does nothing once the client has gone, and fails after a close of ours", () =>
      Effect.gen(function*() {
        const results: Array<string> = []
        const gone = yield* Deferred.make<void>()
        const { client } = yield* opened((session) =>
          Effect.gen(function*() {
            yield* session.accept()
            yield* session.closed
            yield* session.send("x")
            results.push("nothing")
            yield* Deferred.succeed(gone, undefined)
          })
        )
        yield* client.reset
        yield* Deferred.await(gone)
        yield* opened((session) =>
          Effect.gen(function*() {
            yield* session.accept()
            yield* session.close()
            results.push(reasonOf(yield* Effect.flip(session.send("x"))))
          })
        )
        assert.deepStrictEqual(results, ["nothing", "EventOutOfOrder"])
      }))
  })

  describe("trySend", () => {
    it.effect("never fails: true when handed over, false when it does not fit or the session is over [C207]", () =>
      Effect.gen(function*() {
        const results: Array<boolean> = []
        const { connect } = yield* serveSockets((exchange) => {
          const session = WebSocketSession.make(exchange, { message: Schema.Int })
          return Effect.gen(function*() {
            results.push(yield* session.trySend(1))
            results.push(yield* session.trySend(1.5))
            yield* session.close()
            results.push(yield* session.trySend(2))
          })
        })
        const { said } = yield* open(connect)
        assert.deepStrictEqual(results, [true, false, false])
        assert.deepStrictEqual(yield* said, ["text 1", "close 1000"])
      }))

    it.effect("skips at the high watermark instead of waiting, and goes on below it", () =>
      Effect.gen(function*() {
        const results: Array<boolean> = []
        const again = yield* Deferred.make<void>()
        const handler = (session: Plain) =>
          Effect.gen(function*() {
            yield* session.accept()
            yield* Deferred.await(again)
            for (let sent = 0; sent < 20; sent++) results.push(yield* session.trySend("x".repeat(1000)))
            yield* Stream.runForEach(session.messages, () => Effect.map(session.trySend("y"), (ok) => results.push(ok)))
          })
        const { client, said, send } = yield* opened(handler, {
          writeHighWaterMark: 4000,
          writeLowWaterMark: 1000,
          networkBufferBytes: 1000
        })
        yield* client.pause
        yield* Deferred.succeed(again, undefined)
        yield* send(text("more?"))
        const sent = results.filter((ok) => ok).length
        assert.isTrue(results[0])
        assert.deepStrictEqual(results.slice(sent), Array.from({ length: 21 - sent }, () => false))
        assert.isBelow(sent, 20)
        yield* client.resume
        assert.strictEqual((yield* said).length, sent)
        yield* send(text("more?"))
        assert.deepStrictEqual(yield* said, ["text y"])
      }))
  })

  describe("sendAll", () => {
    it.effect("ends with its stream and passes its failure on", () =>
      Effect.gen(function*() {
        const { said } = yield* opened((session) =>
          Effect.gen(function*() {
            yield* session.sendAll(Stream.make("a", "b"))
            const error = yield* Effect.flip(session.sendAll(Stream.fail("broken")))
            yield* session.send(String(error))
          })
        )
        assert.deepStrictEqual(yield* said, ["text a", "text b", "text broken", "close 1000"])
      }))

    it.effect("interrupts its stream when the session ends", () =>
      Effect.gen(function*() {
        const stopped = yield* Deferred.make<void>()
        const endless = Stream.ensuring(Stream.never, Deferred.succeed(stopped, undefined))
        const { send } = yield* opened((session) => session.sendAll(endless))
        yield* send(close(1000))
        yield* Deferred.await(stopped)
      }))

    it.effect("sends nothing behind a close in the middle of its elements, and does not fail for it", () =>
      Effect.gen(function*() {
        const ended: Array<string> = []
        const { said } = yield* opened((session) => {
          const words = Stream.tap(
            Stream.make("a", "b", "c"),
            (word) => word === "b" ? session.close(4000) : Effect.void
          )
          return Effect.tap(session.sendAll(words), () => Effect.sync(() => ended.push("well")))
        })
        assert.deepStrictEqual(yield* said, ["text a", "close 4000"])
        assert.deepStrictEqual(ended, ["well"])
      }))
  })

  describe("every", () => {
    it.effect("sends now and after each interval, until the session ends", () =>
      Effect.gen(function*() {
        let made = 0
        const over = yield* Deferred.make<void>()
        const { said, send } = yield* opened((session) =>
          Effect.andThen(
            session.every("10 seconds", Effect.sync(() => `tick ${++made}`)),
            Deferred.succeed(over, undefined)
          )
        )
        assert.deepStrictEqual(yield* said, ["text tick 1"])
        yield* TestClock.adjust("9 seconds")
        assert.deepStrictEqual(yield* said, [])
        yield* TestClock.adjust("11 seconds")
        assert.deepStrictEqual(yield* said, ["text tick 2", "text tick 3"])
        yield* send(close(1000))
        yield* Deferred.await(over)
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(made, 3)
      }))

    it.effect("takes a plain value, and stops at a close from another fiber", () =>
      Effect.gen(function*() {
        const { said, send } = yield* opened((session) =>
          Effect.gen(function*() {
            const ticking = yield* Effect.forkChild(session.every("1 second", "tick"))
            yield* Stream.runHead(session.messages)
            yield* session.close(4002, "enough")
            yield* Fiber.join(ticking)
          })
        )
        yield* TestClock.adjust("1 second")
        yield* send(text("stop"))
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual(yield* said, ["text tick", "text tick", "close 4002 enough"])
      }))
  })

  it.effect("pings at the interval that keepAlive says", () =>
    Effect.gen(function*() {
      const { said } = yield* opened((session) => Effect.andThen(session.keepAlive("20 seconds"), echo(session)))
      yield* TestClock.adjust("25 seconds")
      assert.deepStrictEqual(yield* said, ["ping"])
    }))

  describe("deny", () => {
    const denying = (session: Plain) => session.deny(402, "pay first")
    const ask = <E>(app: App.App<E>) =>
      Effect.gen(function*() {
        const { connect } = yield* serve(app)
        const client = yield* connect()
        yield* client.send(handshake())
        return answerIn(yield* client.read)
      })

    it.effect("answers in full where the server can [C207]", () =>
      Effect.gen(function*() {
        const answer = yield* ask(App.websocket((exchange) => denying(WebSocketSession.make(exchange))))
        assert.deepStrictEqual([answer.status, answer.header("content-type"), answer.body], [
          402,
          "text/plain; charset=utf-8",
          "pay first"
        ])
      }))

    it.effect("falls back to a close where it cannot [C207]", () =>
      Effect.gen(function*() {
        const answer = yield* ask(App.websocket((exchange) => {
          const scope = { ...exchange.scope, extensions: {} }
          return denying(WebSocketSession.make(App.derive(exchange, { scope })))
        }))
        assert.strictEqual(answer.status, 403)
      }))

    it.effect("fails once the handshake is accepted, and leaves the session open", () =>
      Effect.gen(function*() {
        const { said } = yield* opened((session) =>
          Effect.gen(function*() {
            yield* session.accept()
            yield* session.send(reasonOf(yield* Effect.flip(session.deny(404))))
          })
        )
        assert.deepStrictEqual(yield* said, ["text EventOutOfOrder", "close 1000"])
      }))

    it.effect("can be said again, in other words, when it is refused", () =>
      Effect.gen(function*() {
        const answer = yield* ask(App.websocket((exchange) => {
          const session = WebSocketSession.make(exchange)
          return Effect.catch(session.deny(99), () => session.deny(404))
        }))
        assert.strictEqual(answer.status, 404)
      }))
  })

  describe("close", () => {
    it.effect("declines a handshake that was not accepted", () =>
      Effect.gen(function*() {
        const { infos, keep } = ends()
        const { connect } = yield* serveSockets((exchange) => {
          const session = WebSocketSession.make(exchange)
          return Effect.andThen(keep(session), session.close())
        })
        const client = yield* connect()
        yield* client.send(handshake())
        assert.strictEqual(answerIn(yield* client.read).status, 403)
        assert.deepStrictEqual(infos, [
          { code: undefined, reason: "", by: "application", cause: undefined, clean: true }
        ])
      }))

    it.effect("closes once, and stays open when its code is refused", () =>
      Effect.gen(function*() {
        const seen: Array<unknown> = []
        const { said } = yield* opened((session) =>
          Effect.gen(function*() {
            yield* session.accept()
            seen.push(reasonOf(yield* Effect.flip(session.close(1006))), session.isOpen)
            yield* session.close(4000, "x")
            yield* session.close(4001, "y")
            seen.push(session.isOpen)
          })
        )
        assert.deepStrictEqual(seen, ["InvalidField", true, false])
        assert.deepStrictEqual(yield* said, ["close 4000 x"])
      }))
  })

  describe("closed", () => {
    /** What `closed` yields when nobody receives. */
    const endOf = (
      handler: (session: Plain) => Effect.Effect<void, unknown>,
      leave: (session: Effect.Success<ReturnType<typeof open>>) => Effect.Effect<void>,
      options: ServerOptions = {}
    ) =>
      Effect.gen(function*() {
        const { infos, keep } = ends()
        const result = yield* Deferred.make<CloseInfo>()
        const session = yield* opened(
          (session) =>
            Effect.gen(function*() {
              yield* keep(session)
              yield* session.accept()
              yield* handler(session)
              yield* Deferred.succeed(result, yield* session.closed)
            }),
          options
        )
        yield* leave(session)
        const info = yield* Deferred.await(result)
        assert.deepStrictEqual(infos, [info])
        return info
      })

    it.effect("tells the client's code and words [C207]", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(
          yield* endOf(() => Effect.void, ({ send }) => send(text("unread"), close(4321, "tschüß"))),
          {
            code: 4321,
            reason: "tschüß",
            by: "client",
            cause: undefined,
            clean: true
          }
        )
      }))

    it.effect("tells our own code and words, when the client has answered", () =>
      Effect.gen(function*() {
        const info = yield* endOf((session) => session.close(4000, "bye"), ({ send }) => send(close(4000)))
        assert.deepStrictEqual(info, { code: 4000, reason: "bye", by: "application", cause: undefined, clean: true })
      }))

    it.effect("says when our close was not answered", () =>
      Effect.gen(function*() {
        const info = yield* endOf((session) => session.close(4000, "bye"), ({ client }) => client.reset)
        assert.deepStrictEqual(info, { code: 4000, reason: "bye", by: "application", cause: undefined, clean: false })
      }))

    it.effect("tells a connection that broke off", () =>
      Effect.gen(function*() {
        const info = yield* endOf(() => Effect.void, ({ client }) => client.reset)
        assert.deepStrictEqual({ ...info, cause: undefined }, {
          code: 1006,
          reason: "",
          by: "client",
          cause: undefined,
          clean: false
        })
        assert.include(["client_closed", "read_error"], info.cause)
      }))

    it.effect("tells what the server ended, and why", () =>
      Effect.gen(function*() {
        const idle = yield* endOf(
          () => Effect.void,
          () => TestClock.adjust("10 seconds"),
          { wsIdleTimeout: "5 seconds" }
        )
        assert.deepStrictEqual(idle, { code: 1001, reason: "", by: "server", cause: "idle_timeout", clean: false })
      }))

    it.effect("can be asked again afterwards", () =>
      Effect.gen(function*() {
        const results: Array<boolean> = []
        yield* endOf(
          (session) =>
            Effect.gen(function*() {
              const first = yield* session.closed
              results.push(first === (yield* session.closed))
              yield* session.onClose((info) => void results.push(info === first))
            }),
          ({ send }) => send(close(1000))
        )
        assert.deepStrictEqual(results, [true, true])
      }))

    it.effect("calls every callback after the application has returned, and logs one that throws", () => {
      const logs = capture()
      return Effect.gen(function*() {
        const { infos, keep } = ends()
        const { send } = yield* opened((session) =>
          Effect.gen(function*() {
            yield* session.onClose(() => {
              throw new Error("mine")
            })
            yield* keep(session)
            yield* session.accept()
          })
        )
        yield* send(close(1000))
        assert.strictEqual(infos.length, 1)
        const problems = logs.lines.filter(({ level }) => level !== "Info")
        assert.deepStrictEqual(problems.map(({ level, message }) => [level, message]), [
          ["Error", "An onClose callback failed"]
        ])
        assert.include(problems[0]!.cause, "mine")
      }).pipe(Effect.provide(logs.layer))
    })
  })
})
