import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import { MaxOpsBeforeYield } from "effect/Scheduler"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Socket from "effect/socket/Socket"
import { WebSocket as Ws } from "ws"
import * as ServerNode from "../../layers/ServerNode.ts"
import { Calls } from "../../src/app/internal/JsonRpcCalls.ts"
import * as JsonRpc from "../../src/app/JsonRpc.ts"
import { capture } from "../utils/logs.ts"

class Negative extends Schema.TaggedError<Negative>()("Negative", { of: Schema.Finite }) {}
class Huge extends Schema.TaggedError<Huge>()("Huge", { limit: Schema.Finite }) {}

const notes: Array<string> = []

const root = JsonRpc.method(
  "root",
  {
    params: { of: Schema.Finite },
    success: Schema.Finite,
    errors: [JsonRpc.error(1, Negative), JsonRpc.error(1, Huge)]
  },
  ({ of }) =>
    of < 0
      ? Effect.fail(new Negative({ of }))
      : of > 1e6
      ? Effect.fail(new Huge({ limit: 1e6 }))
      : Effect.succeed(Math.sqrt(of))
)
const tomorrow = JsonRpc.method(
  "tomorrow",
  { params: Schema.Tuple([Schema.Date]), success: Schema.Date },
  ([date]) => Effect.succeed(new Date(date.getTime() + 86_400_000))
)
const note = JsonRpc.method(
  "note",
  { params: Schema.Tuple([Schema.String]) },
  ([text]) => Effect.sync(() => void notes.push(text))
)
const boom = JsonRpc.method("boom", {}, () => Effect.die("boom"))
const rpc = JsonRpc.make(root, tomorrow, note, boom)

const hello = JsonRpc.declare("hello", { params: { name: Schema.String }, success: Schema.String })
const missing = JsonRpc.declare("missing", {})

/** Two ends of a line. `cut` breaks it. */
const line = Effect.gen(function*() {
  const toA = yield* Queue.make<string, Error>()
  const toB = yield* Queue.make<string, Error>()
  const end = (from: Queue.Queue<string, Error>, to: Queue.Queue<string, Error>) =>
    JsonRpc.transport({
      send: (text) => Effect.asVoid(Queue.offer(to, text)),
      receive: Queue.take(from)
    })
  const cut = Effect.andThen(Queue.fail(toA, new Error("cut")), Queue.fail(toB, new Error("cut")))
  return { a: end(toA, toB), b: end(toB, toA), toA, toB, cut }
})

/** A client of `rpc` over a line. */
const overLine = Effect.gen(function*() {
  const { a, b, cut } = yield* line
  yield* JsonRpc.client([], b, rpc)
  return { client: yield* JsonRpc.client(rpc, a), cut }
})

/** An HttpClient that answers with what `handle` makes of the request's text. */
const answering = (handle: (text: string) => Effect.Effect<Response>) =>
  HttpClient.make((request) => {
    const { body } = request
    const text = body._tag === "Uint8Array" ? new TextDecoder().decode(body.body) : ""
    return Effect.map(handle(text), (response) => HttpClientResponse.fromWeb(request, response))
  })

const overHttp = (handle: (text: string) => Effect.Effect<Response>) =>
  Effect.flatMap(
    Effect.provideService(JsonRpc.transportHttp("http://a/rpc"), HttpClient.HttpClient, answering(handle)),
    (transport) => JsonRpc.client(rpc, transport)
  )

const served = (text: string) =>
  Effect.map(rpc.handle(text), (answer) => new Response(answer ?? null, { status: answer === undefined ? 204 : 200 }))

const quiet = Effect.provide(capture().layer)

describe("JsonRpc client", () => {
  it.effect("is no promise to await, whatever the methods are called", () =>
    Effect.gen(function*() {
      const then = JsonRpc.declare("then", { success: Schema.Void })
      const client = yield* JsonRpc.client(
        [then],
        JsonRpc.transport({ send: () => Effect.void, receive: Effect.never })
      )
      assert.isUndefined((client as { readonly then?: unknown }).then)
    }))

  for (
    const [over, make] of [
      ["HTTP", Effect.map(overHttp(served), (client) => ({ client }))],
      ["a line", overLine]
    ] as const
  ) {
    describe(`over ${over}`, () => {
      it.effect("calls by name with what the Schemas say, and gets what they say", () =>
        Effect.gen(function*() {
          const { client } = yield* make
          const sqrt: number = yield* client.root({ of: 9 })
          const date: Date = yield* client.tomorrow([new Date(0)])
          assert.strictEqual(sqrt, 3)
          assert.deepStrictEqual(date, new Date(86_400_000))
        }))

      it.effect("fails with the declared error, with any other as an RpcError", () =>
        Effect.gen(function*() {
          const { client } = yield* make
          assert.deepStrictEqual(yield* Effect.flip(client.root({ of: -4 })), new Negative({ of: -4 }))
          assert.deepStrictEqual(yield* Effect.flip(client.root({ of: 1e7 })), new Huge({ limit: 1e6 }))
          const internal = yield* Effect.flip(client.boom())
          assert.deepInclude(internal, { _tag: "RpcError", code: -32603, message: "Internal error" })
          const unknown = yield* Effect.flip(client.call(missing))
          assert.deepInclude(unknown, { _tag: "RpcError", code: -32601, message: "Method not found" })
        }).pipe(quiet))

      it.effect("notifies without waiting for an answer", () =>
        Effect.gen(function*() {
          const { client } = yield* make
          yield* client.notify(note, [over])
          yield* client.root({ of: 1 })
          assert.include(notes, over)
        }))

      it.effect("sends a batch as one message and gets a result for each, in order", () =>
        Effect.gen(function*() {
          const { client } = yield* make
          const [three, failed, date] = yield* client.batch(
            JsonRpc.request(root, { of: 9 }),
            JsonRpc.request(root, { of: -1 }),
            JsonRpc.request(tomorrow, [new Date(0)])
          )
          assert.deepStrictEqual(three, Result.succeed(3))
          assert.deepStrictEqual(failed, Result.fail(new Negative({ of: -1 })))
          assert.deepStrictEqual(date, Result.succeed(new Date(86_400_000)))
          assert.deepStrictEqual(yield* client.batch(), [])
        }))

      it.effect("dies of parameters that do not fit, before anything is sent", () =>
        Effect.gen(function*() {
          const { client } = yield* make
          const exit = yield* Effect.exit(client.tomorrow(["x" as unknown as Date]))
          assert.strictEqual(exit._tag === "Failure" ? exit.cause.reasons[0]?._tag : undefined, "Die")
        }))
    })
  }

  describe("over HTTP", () => {
    const reasonFor = (response: () => Response) =>
      Effect.flatMap(overHttp(() => Effect.sync(response)), (client) => Effect.flip(client.root({ of: 1 })))

    it.effect("says when the answer is none: another status, another id, no JSON, another shape", () =>
      Effect.gen(function*() {
        for (
          const response of [
            () => new Response("{}", { status: 500 }),
            () => new Response(null, { status: 204 }),
            () => new Response("<html>"),
            () => new Response(`{"jsonrpc":"2.0","result":1,"id":77}`),
            () => new Response(`{"jsonrpc":"2.0","result":"one","id":1}`)
          ]
        ) assert.deepInclude(yield* reasonFor(response), { _tag: "CallError", reason: "InvalidAnswer", method: "root" })
      }))

    it.effect("takes an error without an id for the answer to all that was sent", () =>
      Effect.gen(function*() {
        const error = { code: -32600, message: "Invalid Request", data: "The batch has more than 1 requests" }
        const text = JSON.stringify({ jsonrpc: "2.0", error, id: null })
        const client = yield* overHttp(() => Effect.succeed(new Response(text)))
        assert.deepInclude(yield* Effect.flip(client.root({ of: 1 })), { _tag: "RpcError", ...error })
        const [first, second] = yield* client.batch(JsonRpc.request(root, { of: 1 }), JsonRpc.request(boom))
        assert.isTrue(Result.isFailure(first) && Result.isFailure(second))
      }))

    it.effect("takes from an answer only what its own message has asked", () =>
      Effect.gen(function*() {
        const second = yield* Deferred.make<void>()
        const result = (id: number, result: number) => ({ jsonrpc: "2.0", result, id })
        const client = yield* overHttp((text) =>
          text.includes(`"id":1`)
            ? Effect.succeed(new Response(JSON.stringify([result(2, 666), result(1, 1)])))
            : Effect.as(Deferred.await(second), new Response(JSON.stringify(result(2, 2))))
        )
        const waiting = yield* Effect.forkChild(
          Effect.all([client.root({ of: 1 }), client.root({ of: 4 })], { concurrency: 2 })
        )
        yield* Effect.yieldNow
        yield* Deferred.succeed(second, undefined)
        assert.deepStrictEqual(yield* Fiber.join(waiting), [1, 2])
      }))

    it.effect("reads the answers to a batch of any length", () =>
      Effect.gen(function*() {
        const generous = JsonRpc.make({ maxBatch: 150 }, root)
        const client = yield* overHttp((text) => Effect.map(generous.handle(text), (answer) => new Response(answer!)))
        const results = yield* client.batch(...Array.from({ length: 150 }, (_, of) => JsonRpc.request(root, { of })))
        assert.isTrue(results.every((result, of) => Result.isSuccess(result) && result.success === Math.sqrt(of)))
      }))
  })

  describe("over a line", () => {
    it.effect("is called by the other side, while it calls [C227]", () =>
      Effect.gen(function*() {
        const { a, b } = yield* line
        const greet = JsonRpc.method("greet", { params: { name: Schema.String }, success: Schema.String }, ({ name }) =>
          Effect.flatMap(JsonRpc.Peer, (peer) =>
            Effect.orDie(peer.call(hello, { name }))))
        yield* JsonRpc.client([], b, JsonRpc.make(greet))
        const client = yield* JsonRpc.client(
          [greet],
          a,
          JsonRpc.make(JsonRpc.implement(hello, ({ name }) =>
            Effect.succeed(`Hello, ${name}`)))
        )
        assert.strictEqual(yield* client.greet({ name: "Ada" }), "Hello, Ada")
      }))

    it.effect("answers calls that it does not serve with -32601", () =>
      Effect.gen(function*() {
        const { a, toA, toB } = yield* line
        yield* JsonRpc.client(rpc, a)
        yield* Queue.offer(toA, `{"jsonrpc":"2.0","method":"hello","id":"x"}`)
        const text = yield* Queue.take(toB)
        assert.deepStrictEqual(JSON.parse(text), {
          jsonrpc: "2.0",
          error: { code: -32601, message: "Method not found" },
          id: "x"
        })
      }))

    it.effect("fails what waits when the line is cut, and everything after", () =>
      Effect.gen(function*() {
        const { a, cut } = yield* line
        const client = yield* JsonRpc.client(rpc, a)
        const waiting = yield* Effect.forkChild(Effect.flip(client.root({ of: 1 })), { startImmediately: true })
        yield* cut
        const error = yield* Fiber.join(waiting)
        assert.deepInclude(error, { _tag: "CallError", reason: "Disconnected" })
        assert.strictEqual(error.message, "The connection ended before 'root' was answered")
        assert.deepInclude(yield* Effect.flip(client.root({ of: 1 })), { reason: "Disconnected" })
        assert.deepInclude(yield* Effect.flip(client.notify(note, ["x"])), { reason: "Disconnected" })
      }))

    for (const [how, end] of [["dies", Effect.die("lost")], ["is interrupted", Effect.interrupt]] as const) {
      it.effect(`fails what waits when its transport ${how}`, () =>
        Effect.gen(function*() {
          const gate = yield* Deferred.make<void>()
          const transport = JsonRpc.transport({
            send: () => Effect.void,
            receive: Effect.andThen(Deferred.await(gate), end)
          })
          const client = yield* JsonRpc.client(rpc, transport)
          const waiting = yield* Effect.forkChild(Effect.flip(client.root({ of: 1 })), { startImmediately: true })
          yield* Deferred.succeed(gate, undefined)
          assert.deepInclude(yield* Fiber.join(waiting), { _tag: "CallError", reason: "Disconnected" })
          assert.deepInclude(yield* Effect.flip(client.root({ of: 1 })), { reason: "Disconnected" })
        }).pipe(quiet))
    }

    it.effect("fails what is still being sent when the line is cut", () =>
      Effect.gen(function*() {
        const cut = yield* Deferred.make<never, Error>()
        const client = yield* JsonRpc.client(
          rpc,
          JsonRpc.transport({ send: () => Effect.never, receive: Deferred.await(cut) })
        )
        const sending = Effect.all([Effect.flip(client.root({ of: 1 })), Effect.flip(client.notify(note, ["x"]))], {
          concurrency: 2
        })
        const waiting = yield* Effect.forkChild(sending, { startImmediately: true })
        yield* Deferred.fail(cut, new Error("cut"))
        for (const error of yield* Fiber.join(waiting)) assert.deepInclude(error, { reason: "Disconnected" })
      }))

    it.effect("goes on after an answer that a Schema dies of", () =>
      Effect.gen(function*() {
        const dying = Schema.String.pipe(Schema.decode({
          decode: SchemaGetter.transform((): string => {
            throw new Error("a Schema with a mistake")
          }),
          encode: SchemaGetter.passthrough()
        }))
        const dies = JsonRpc.declare("dies", { success: dying, errors: [JsonRpc.error(1, dying)] })
        const { a, toA } = yield* line
        const client = yield* JsonRpc.client([root, dies], a)
        for (const outcome of [`"error":{"code":1,"message":"","data":""}`, `"result":""`]) {
          const waiting = yield* Effect.forkChild(Effect.exit(client.dies()), { startImmediately: true })
          yield* Queue.offer(toA, `{"jsonrpc":"2.0",${outcome},"id":${outcome.includes("error") ? 1 : 2}}`)
          const exit = yield* Fiber.join(waiting)
          assert.include(String(exit), "a Schema with a mistake")
        }
        const waiting = yield* Effect.forkChild(client.root({ of: 9 }), { startImmediately: true })
        yield* Queue.offer(toA, `{"jsonrpc":"2.0","result":3,"id":3}`)
        assert.strictEqual(yield* Fiber.join(waiting), 3)
      }))

    it.effect("remembers no call that was interrupted, wherever it was", () =>
      Effect.gen(function*() {
        const left: Array<number> = []
        for (let steps = 0; steps < 30; steps++) {
          const calls = new Calls(() => Effect.void)
          const fiber = yield* Effect.forkChild(Effect.provideService(calls.call(boom), MaxOpsBeforeYield, 3))
          for (let step = 0; step < steps; step++) yield* Effect.yieldNow
          yield* Fiber.interrupt(fiber)
          left.push(calls.waiting)
        }
        assert.deepStrictEqual(left, left.map(() => 0))
      }))

    it.effect("ignores the answer to a call that was given up", () =>
      Effect.gen(function*() {
        const { a, toA, toB } = yield* line
        const client = yield* JsonRpc.client(rpc, a)
        const first = yield* Effect.forkChild(client.root({ of: 1 }), { startImmediately: true })
        assert.include(yield* Queue.take(toB), `"id":1`)
        yield* Fiber.interrupt(first)
        const second = yield* Effect.forkChild(client.root({ of: 1 }), { startImmediately: true })
        assert.include(yield* Queue.take(toB), `"id":2`)
        for (const id of [1, 2]) yield* Queue.offer(toA, JSON.stringify({ jsonrpc: "2.0", result: id, id }))
        assert.strictEqual(yield* Fiber.join(second), 2)
      }))
  })

  describe("over sockets", () => {
    const serveNode = Effect.gen(function*() {
      const ask = JsonRpc.method(
        "ask",
        { success: Schema.String },
        () => Effect.flatMap(JsonRpc.Peer, (peer) => Effect.orDie(peer.call(hello, { name: "Ada" })))
      )
      const server = yield* ServerNode.make({ port: 0 })
      const service = JsonRpc.make(root, ask)
      yield* server.serve(service.app)
      const [address] = yield* server.addresses
      if (address?._tag !== "tcp") throw new Error("The server has no port")
      return { service, host: `127.0.0.1:${address.port}` }
    })

    it.live("calls a server over HTTP", () =>
      Effect.gen(function*() {
        const { host, service } = yield* serveNode
        const client = yield* JsonRpc.client(service, yield* JsonRpc.transportHttp(`http://${host}/`))
        assert.strictEqual(yield* client.root({ of: 4 }), 2)
        assert.deepInclude(yield* Effect.flip(client.root({ of: -1 })), { _tag: "Negative", of: -1 })
      }).pipe(Effect.provide([FetchHttpClient.layer, capture().layer])))

    it.live("calls a server over WebSocket, and is called by it", () =>
      Effect.gen(function*() {
        const { host, service } = yield* serveNode
        const socket = yield* Socket.makeWebSocket(`ws://${host}/`)
        const client = yield* JsonRpc.client(
          service,
          yield* JsonRpc.transportSocket(socket),
          JsonRpc.make(JsonRpc.implement(hello, ({ name }) => Effect.succeed(`Hello, ${name}`)))
        )
        const all = yield* Effect.all([client.root({ of: 4 }), client.root({ of: 9 }), client.ask()], {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(all, [2, 3, "Hello, Ada"])
      }).pipe(
        Effect.provideService(Socket.WebSocketConstructor, (url) => new Ws(url) as never),
        quiet
      ))
  })
})
