import { assert, describe, it } from "@effect/vitest"
import * as ByteSize from "effect/ByteSize"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import type * as App from "../../src/app/App.ts"
import * as JsonRpc from "../../src/app/JsonRpc.ts"
import * as Lint from "../../src/middleware/Lint.ts"
import { answerIn, request } from "../utils/answers.ts"
import * as Fake from "../utils/exchange.ts"
import { capture } from "../utils/logs.ts"
import { exchange, serve } from "../utils/serve.ts"
import * as WebSocket from "../utils/webSocket.ts"

const quiet = Effect.provide(capture().layer)
const json = "content-type: application/json"

const post = (text: string, lines: ReadonlyArray<string> = [json]) =>
  request("POST /", [...lines, `content-length: ${Buffer.byteLength(text)}`], text)

const call = (method: string, id?: unknown, params?: unknown) => JSON.stringify({ jsonrpc: "2.0", method, id, params })

const answer = (id: unknown, result: unknown = null) => ({ jsonrpc: "2.0", result, id })

/** Data of the events of a stream. */
const eventsIn = (body: string) => [...body.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data!) as unknown)

/** Frames of text as JSON. */
const said = (session: WebSocket.Session) =>
  Effect.map(session.said, (frames) => frames.map((frame) => JSON.parse(frame.replace(/^text /, "")) as unknown))

const nothing = JsonRpc.method("nothing", {}, () => Effect.void)

const percent = { params: { percent: Schema.Finite } }
const told = JsonRpc.declare("told", percent)

const steps = JsonRpc.method("steps", { success: Schema.String }, () =>
  Effect.gen(function*() {
    const peer = yield* JsonRpc.Peer
    yield* JsonRpc.progress(50)
    yield* Effect.ignore(peer.notify(told, { percent: 75 }))
    return "done"
  }))

/** Runs until it is released; counts what starts and what is interrupted. */
const held = () => {
  const gate = Deferred.makeUnsafe<void>()
  const seen = { started: 0, interrupted: 0, ended: 0 }
  const method = JsonRpc.method("hold", {}, () =>
    Effect.suspend(() => {
      seen.started++
      return Effect.onInterrupt(
        Effect.andThen(Deferred.await(gate), Effect.sync(() => void seen.ended++)),
        () => Effect.sync(() => void seen.interrupted++)
      )
    }))
  return { method, release: Deferred.succeed(gate, undefined), seen }
}

const lint = (rpc: { readonly app: App.App<unknown> }) => Lint.make()(rpc.app)

describe("JsonRpc served", () => {
  describe("over HTTP", () => {
    const rpc = JsonRpc.make(nothing, steps)
    const ask = (bytes: string) => Effect.map(exchange(lint(rpc), bytes), (text) => answerIn(text))

    it.effect("answers 200 with JSON, and 204 without a body when there is nothing to say [C227]", () =>
      Effect.gen(function*() {
        const answered = yield* ask(post(call("nothing", 1)))
        assert.deepInclude(answered, { status: 200, complete: true })
        assert.strictEqual(answered.header("content-type"), "application/json")
        assert.deepStrictEqual(JSON.parse(answered.body), answer(1))
        const silent = yield* ask(post(`[${call("nothing")},${call("nothing")}]`))
        assert.deepInclude(silent, { status: 204, body: "" })
      }))

    it.effect("answers errors with 200 as well [C227]", () =>
      Effect.gen(function*() {
        for (const text of ["{", "[]", call("nosuch", 1)]) assert.strictEqual((yield* ask(post(text))).status, 200)
      }))

    it.effect("answers 405 with Allow to other methods", () =>
      Effect.gen(function*() {
        const { header, status } = yield* ask(request("GET /"))
        assert.strictEqual(status, 405)
        assert.strictEqual(header("allow"), "POST")
      }))

    it.effect("answers 415 to what is not JSON, and takes every media type of JSON-RPC", () =>
      Effect.gen(function*() {
        const statusOf = (lines: ReadonlyArray<string>) =>
          Effect.map(ask(post(call("nothing", 1), lines)), ({ status }) => status)
        for (
          const lines of [
            [],
            ["content-type: text/plain"],
            ["content-type: application/x-www-form-urlencoded"],
            ["content-type: application/jsonp"],
            ["content-type: text/plain; a=application/json"],
            [json, "content-type: text/plain"]
          ]
        ) assert.strictEqual(yield* statusOf(lines), 415, lines.join())
        for (
          const type of [
            "application/json; charset=utf-8",
            "Application/JSON",
            "application/json-rpc",
            "application/jsonrequest"
          ]
        ) assert.strictEqual(yield* statusOf([`content-type: ${type}`]), 200, type)
      }))

    it.effect("answers 413 to a body above the server's bound, and above MaxBodySize", () =>
      Effect.gen(function*() {
        const long = post(call("nothing", "x".repeat(1000)))
        assert.strictEqual(answerIn(yield* exchange(lint(rpc), long, { maxBodyBytes: 100 })).status, 413)
        const bounded: App.App<unknown> = (exchange) =>
          Effect.provideService(rpc.app(exchange), HttpIncomingMessage.MaxBodySize, ByteSize.bytes(100))
        assert.strictEqual(answerIn(yield* exchange(bounded, long)).status, 413)
      }).pipe(quiet))

    it.effect("leaves progress and notifications out", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(JSON.parse((yield* ask(post(call("steps", 1)))).body), answer(1, "done"))
      }))

    it.effect("interrupts the methods when the client leaves, without a word in the log", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const { method, seen } = held()
        const fake = Fake.make({
          method: "POST",
          headers: { "content-type": "application/json" },
          body: `[${call("hold", 1)},${call("hold", 2)}]`
        })
        yield* fake.start(JsonRpc.make(method).app)
        yield* Effect.yieldNow
        assert.strictEqual(seen.started, 2)
        yield* fake.disconnect()
        assert.deepStrictEqual(seen, { started: 2, interrupted: 2, ended: 0 })
        assert.deepStrictEqual([fake.sent, lines], [[], []])
      }).pipe(Effect.provide(layer))
    })

    it.effect("ends what a method has left in the peer's scope with the answer", () =>
      Effect.gen(function*() {
        let interrupted = false
        const leave = JsonRpc.method("leave", {}, () =>
          Effect.gen(function*() {
            const { scope } = yield* JsonRpc.Peer
            yield* Effect.never.pipe(
              Effect.onInterrupt(() => Effect.sync(() => void (interrupted = true))),
              Effect.forkIn(scope, { startImmediately: true })
            )
          }))
        yield* JsonRpc.make(leave).handle(call("leave", 1))
        assert.isTrue(interrupted)
      }))
  })

  describe("over server-sent events", () => {
    const ask = (rpc: { readonly app: App.App<unknown> }, bytes: string) =>
      Effect.map(exchange(lint(rpc), bytes), (text) => answerIn(text))
    const accept = [json, "accept: application/json, text/event-stream"]

    it.effect("sends progress and notifications as they come, and the answer last [C227]", () =>
      Effect.gen(function*() {
        const { body, complete, header, status } = yield* ask(JsonRpc.make(steps), post(call("steps", "x"), accept))
        assert.deepInclude({ complete, status }, { complete: true, status: 200 })
        assert.match(header("content-type")!, /^text\/event-stream/)
        assert.deepStrictEqual(eventsIn(body), [
          { jsonrpc: "2.0", method: "$/progress", params: { token: "x", value: 50 } },
          { jsonrpc: "2.0", method: "told", params: { percent: 75 } },
          answer("x", "done")
        ])
      }))

    it.effect("opens the stream before the method has ended, and ends it with the client", () =>
      Effect.gen(function*() {
        const { method, seen } = held()
        const { connect } = yield* serve(lint(JsonRpc.make(method)))
        const client = yield* connect()
        yield* client.send(post(call("hold", 1), accept))
        assert.match(yield* client.read, /^HTTP\/1\.1 200 /)
        yield* client.reset
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(seen, { started: 1, interrupted: 1, ended: 0 })
      }).pipe(quiet))

    it.effect("answers as HTTP does where there is nothing to stream [C227]", () =>
      Effect.gen(function*() {
        const rpc = JsonRpc.make(nothing)
        assert.strictEqual((yield* ask(rpc, post(call("nothing"), accept))).status, 204)
        assert.strictEqual((yield* ask(rpc, post("{}", ["accept: text/event-stream"]))).status, 415)
        const { header, status } = yield* ask(rpc, request("GET /", ["accept: text/event-stream"]))
        assert.strictEqual(status, 405)
        assert.strictEqual(header("allow"), "POST")
      }))

    it.effect("has nobody to notify where it answers without a stream", () =>
      Effect.gen(function*() {
        const failures: Array<string> = []
        const hint = JsonRpc.method("hint", {}, () =>
          Effect.flatMap(JsonRpc.Peer, (peer) =>
            Effect.catch(peer.notify(told, { percent: 1 }), ({ reason }) =>
              Effect.sync(() =>
                void failures.push(reason)
              ))))
        assert.strictEqual((yield* ask(JsonRpc.make(hint), post(call("hint"), accept))).status, 204)
        assert.deepStrictEqual(failures, ["Unavailable"])
      }))

    it.effect("answers what is no request with one event [C227]", () =>
      Effect.gen(function*() {
        const { body } = yield* ask(JsonRpc.make(nothing), post("{", accept))
        assert.deepStrictEqual(eventsIn(body), [
          { jsonrpc: "2.0", error: { code: -32700, message: "Parse error" }, id: null }
        ])
      }))
  })

  describe("over WebSocket", () => {
    const open = Effect.fnUntraced(function*(rpc: { readonly app: App.App<unknown> }) {
      const { connect, server } = yield* serve(lint(rpc))
      return { server, session: yield* WebSocket.open(connect) }
    })

    it.effect("answers each message when it is ready, text or bytes [C227]", () =>
      Effect.gen(function*() {
        const { method, release } = held()
        const { session } = yield* open(JsonRpc.make(method, nothing))
        yield* session.send(WebSocket.text(call("hold", 1)), WebSocket.binary(call("nothing", 2)))
        assert.deepStrictEqual(yield* said(session), [answer(2)])
        yield* release
        assert.deepStrictEqual(yield* said(session), [answer(1)])
        yield* session.send(WebSocket.binary(new Uint8Array([0xff])), WebSocket.text("{"))
        const parseError = { jsonrpc: "2.0", error: { code: -32700, message: "Parse error" }, id: null }
        assert.deepStrictEqual(yield* said(session), [parseError, parseError])
      }))

    it.effect("interrupts what runs when the client has gone, without a word in the log", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const { method, seen } = held()
        const { server, session } = yield* open(JsonRpc.make(method))
        yield* session.send(WebSocket.text(call("hold", 1)), WebSocket.text(call("hold")))
        yield* session.said
        assert.strictEqual(seen.started, 2)
        yield* session.send(WebSocket.close(1000))
        assert.deepStrictEqual(yield* session.said, ["close 1000"])
        assert.deepStrictEqual(seen, { started: 2, interrupted: 2, ended: 0 })
        assert.strictEqual((yield* server.stats).exchanges, 0)
        assert.deepStrictEqual(lines.filter(({ level }) => level !== "Info"), [])
      }).pipe(Effect.provide(layer))
    })

    it.effect("sends progress before the answer, with the id of its call", () =>
      Effect.gen(function*() {
        const { session } = yield* open(JsonRpc.make(steps))
        yield* session.send(WebSocket.text(call("steps", 7)))
        assert.deepStrictEqual(yield* said(session), [
          { jsonrpc: "2.0", method: "$/progress", params: { token: 7, value: 50 } },
          { jsonrpc: "2.0", method: "told", params: { percent: 75 } },
          answer(7, "done")
        ])
        yield* session.send(WebSocket.text(call("steps")))
        assert.deepStrictEqual(yield* said(session), [
          { jsonrpc: "2.0", method: "told", params: { percent: 75 } }
        ])
      }))

    it.effect("runs maxInFlight at once and reads no further until one has ended", () =>
      Effect.gen(function*() {
        const { method, release, seen } = held()
        const { session } = yield* open(JsonRpc.make({ maxInFlight: 2 }, method, nothing))
        yield* session.send(
          ...[1, 2, 3].map((id) => WebSocket.text(call("hold", id))),
          WebSocket.text(call("nothing", 4))
        )
        assert.deepStrictEqual(yield* said(session), [])
        assert.strictEqual(seen.started, 2)
        yield* release
        assert.sameDeepMembers(yield* said(session), [1, 2, 3, 4].map((id) => answer(id)))
      }))

    it.effect("counts every running request of a batch", () =>
      Effect.gen(function*() {
        const { method, release, seen } = held()
        const { session } = yield* open(JsonRpc.make({ maxInFlight: 3, concurrency: 2 }, method))
        const batch = `[${[1, 2, 3, 4].map((id) => call("hold", id)).join()}]`
        yield* session.send(...[batch, batch, batch, call("hold", 5)].map((text) => WebSocket.text(text)))
        yield* session.said
        assert.strictEqual(seen.started, 2)
        yield* release
        yield* session.said
        assert.strictEqual(seen.ended, 13)
      }))

    it.effect("stops waiting for a place when the client has gone", () =>
      Effect.gen(function*() {
        const { method, seen } = held()
        const { server, session } = yield* open(JsonRpc.make({ maxInFlight: 1 }, method))
        yield* session.send(WebSocket.text(call("hold", 1)), WebSocket.text(call("hold", 2)))
        yield* session.said
        yield* session.client.reset
        yield* ServerMemory.settle
        assert.deepStrictEqual(seen, { started: 1, interrupted: 1, ended: 0 })
        assert.strictEqual((yield* server.stats).exchanges, 0)
      }).pipe(quiet))

    describe("calls its client", () => {
      const whoami = JsonRpc.declare("whoami", { params: { greeting: Schema.String }, success: Schema.String })
      const introduce = JsonRpc.method("introduce", { success: Schema.String }, () =>
        Effect.gen(function*() {
          const peer = yield* JsonRpc.Peer
          return yield* Effect.catch(
            Effect.timeout(peer.call(whoami, { greeting: "Ahoy" }), "5 seconds"),
            (error) => Effect.succeed(error._tag === "CallError" ? error.reason : error._tag)
          )
        }))

      const asked = (id: number) => ({ jsonrpc: "2.0", method: "whoami", params: { greeting: "Ahoy" }, id })

      it.effect("and gets each answer by its id, in any order [C227]", () =>
        Effect.gen(function*() {
          const { session } = yield* open(JsonRpc.make(introduce))
          yield* session.send(WebSocket.text(call("introduce", "a")), WebSocket.text(call("introduce", "b")))
          assert.deepStrictEqual(yield* said(session), [asked(1), asked(2)])
          yield* session.send(
            WebSocket.text(JSON.stringify(answer(2, "Bee"))),
            WebSocket.text(JSON.stringify(answer(99, "nobody asked"))),
            WebSocket.text(`[${JSON.stringify(answer(1, "Ay"))}]`)
          )
          assert.deepStrictEqual(yield* said(session), [answer("b", "Bee"), answer("a", "Ay")])
        }))

      it.effect("and gets an error, a result that does not fit, or a timeout", () =>
        Effect.gen(function*() {
          const { session } = yield* open(JsonRpc.make(introduce))
          yield* session.send(...[1, 2, 3].map((id) => WebSocket.text(call("introduce", id))))
          yield* session.said
          yield* session.send(
            WebSocket.text(JSON.stringify({ jsonrpc: "2.0", error: { code: -32601, message: "No" }, id: 1 })),
            WebSocket.text(JSON.stringify(answer(2, 2)))
          )
          assert.deepStrictEqual(yield* said(session), [answer(1, "RpcError"), answer(2, "InvalidAnswer")])
          yield* TestClock.adjust("5 seconds")
          assert.deepStrictEqual(yield* said(session), [answer(3, "TimeoutError")])
          yield* session.send(WebSocket.text(JSON.stringify(answer(3, "too late"))))
          assert.deepStrictEqual(yield* said(session), [])
        }))

      it.effect("while it is full, and then refuses instead of waiting for a place", () =>
        Effect.gen(function*() {
          const { session } = yield* open(JsonRpc.make({ maxInFlight: 1 }, introduce, nothing))
          yield* session.send(
            WebSocket.text(call("introduce", 1)),
            WebSocket.text(call("nothing", 2)),
            WebSocket.text(call("nothing")),
            WebSocket.text(`[${call("nothing", 3)},1]`),
            WebSocket.text(JSON.stringify(answer(1, "me")))
          )
          const busy = (id: number) => ({
            jsonrpc: "2.0",
            error: { code: -32000, message: "Too many calls in flight" },
            id
          })
          assert.deepStrictEqual(yield* said(session), [
            asked(1),
            busy(2),
            [busy(3), { jsonrpc: "2.0", error: { code: -32600, message: "Invalid Request" }, id: null }],
            answer(1, "me")
          ])
        }))

      it.effect("and waits for a place again once it has its answer", () =>
        Effect.gen(function*() {
          const { method } = held()
          const { session } = yield* open(JsonRpc.make({ maxInFlight: 1 }, introduce, method, nothing))
          yield* session.send(WebSocket.text(call("introduce", 1)), WebSocket.text(JSON.stringify(answer(1, "me"))))
          assert.deepStrictEqual(yield* said(session), [asked(1), answer(1, "me")])
          yield* session.send(WebSocket.text(call("hold", 2)), WebSocket.text(call("nothing", 3)))
          assert.deepStrictEqual(yield* said(session), [])
        }))

      it.effect("also when it was full before the call", () =>
        Effect.gen(function*() {
          const gate = yield* Deferred.make<void>()
          const late = JsonRpc.method("late", { success: Schema.String }, () =>
            Effect.andThen(
              Deferred.await(gate),
              Effect.flatMap(JsonRpc.Peer, (peer) => Effect.orDie(peer.call(whoami, { greeting: "Ahoy" })))
            ))
          const { session } = yield* open(JsonRpc.make({ maxInFlight: 1 }, late, nothing))
          yield* session.send(WebSocket.text(call("late", 1)), WebSocket.text(call("nothing", 2)))
          assert.deepStrictEqual(yield* said(session), [])
          yield* Deferred.succeed(gate, undefined)
          assert.lengthOf(yield* said(session), 2)
          yield* session.send(WebSocket.text(JSON.stringify(answer(1, "me"))))
          assert.deepStrictEqual(yield* said(session), [answer(1, "me")])
        }))
    })

    it.effect("notifies from the peer's scope after the method has ended, until the session does", () =>
      Effect.gen(function*() {
        let sent = 0
        const subscribe = JsonRpc.method("subscribe", {}, () =>
          Effect.gen(function*() {
            const peer = yield* JsonRpc.Peer
            const tick = Effect.andThen(
              Effect.sleep("1 second"),
              Effect.suspend(() => peer.notify(told, { percent: ++sent }))
            )
            yield* Effect.forkIn(Effect.forever(tick), peer.scope)
          }))
        const { session } = yield* open(JsonRpc.make(subscribe))
        yield* session.send(WebSocket.text(call("subscribe", 1)))
        assert.deepStrictEqual(yield* said(session), [answer(1)])
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* said(session), [{ jsonrpc: "2.0", method: "told", params: { percent: 1 } }])
        yield* session.send(WebSocket.close(1000))
        yield* session.said
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(sent, 1)
      }).pipe(quiet))
  })
})
