import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import * as Schema from "effect/Schema"
import * as JsonRpc from "../../src/app/JsonRpc.ts"
import { answerIn, request } from "../utils/answers.ts"
import { capture } from "../utils/logs.ts"
import { exchange } from "../utils/serve.ts"

class Unknown extends Schema.TaggedError<Unknown>()("Unknown", { id: Schema.Int }) {}
class Forbidden extends Schema.TaggedError<Forbidden>()("Forbidden", { code: Schema.Int }) {}
class User extends Context.Service<User, string>()("test/User") {}

class Auth extends RpcMiddleware.Service<Auth, { provides: User }>()("test/Auth", { error: Forbidden }) {}

const group = RpcGroup.make(
  Rpc.make("get", { payload: { id: Schema.Int }, success: Schema.Struct({ at: Schema.Date }), error: Unknown }),
  Rpc.make("ping"),
  Rpc.make("later", { success: Schema.String }),
  Rpc.make("boom"),
  Rpc.make("me", { success: Schema.String }).middleware(Auth)
)

const layer = Layer.mergeAll(
  group.toLayer({
    get: ({ id }) => id === 1 ? Effect.succeed({ at: new Date(0) }) : Effect.fail(new Unknown({ id })),
    ping: () => Effect.void,
    later: () =>
      Effect.gen(function*() {
        const promised = yield* Deferred.make<string>()
        yield* Effect.forkScoped(Effect.andThen(Effect.yieldNow, Deferred.succeed(promised, "later")))
        return promised
      }),
    boom: () => Effect.die(new Error("secret")),
    me: () => User
  }),
  Layer.succeed(Auth, (effect, { headers }) =>
    headers["authorization"] === "Bearer s"
      ? Effect.provideService(effect, User, "ada")
      : Effect.fail(new Forbidden({ code: 403 })))
)

const rpc = JsonRpc.fromRpcGroup(group, { info: { title: "Group", version: "1" } })

const ask = (method: string, params?: unknown) =>
  Effect.map(
    Effect.provide(rpc.handle(JSON.stringify({ jsonrpc: "2.0", method, params, id: 1 })), layer),
    (text) => JSON.parse(text!) as { readonly result?: unknown; readonly error?: unknown }
  )

describe("JsonRpc.fromRpcGroup", () => {
  it.effect("releases what a handler acquired when its call ends, before the handlers' Layer", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      const acquiring = RpcGroup.make(Rpc.make("use"))
      const handlers = acquiring.toLayer({
        use: () =>
          Effect.asVoid(Effect.acquireRelease(
            Effect.sync(() => void told.push("acquired")),
            () => Effect.sync(() => void told.push("released"))
          ))
      })
      const used = JsonRpc.fromRpcGroup(acquiring, { info: { title: "Use", version: "1" } })
      const call = used.handle(JSON.stringify({ jsonrpc: "2.0", method: "use", id: 1 }))
      yield* Effect.provide(Effect.andThen(call, Effect.sync(() => told.push("answered"))), handlers)
      assert.deepStrictEqual(told, ["acquired", "released", "answered"])
    }))

  it.effect("serves a group's handlers under its names, with its Schemas [C227]", () =>
    Effect.gen(function*() {
      assert.deepInclude(yield* ask("get", { id: 1 }), { result: { at: "1970-01-01T00:00:00.000Z" } })
      assert.deepInclude(yield* ask("get", [1]), { result: { at: "1970-01-01T00:00:00.000Z" } })
      assert.deepInclude(yield* ask("ping"), { result: null })
      assert.deepInclude((yield* ask("get", { id: "x" })).error as object, { code: -32602 })
    }))

  it.effect("answers declared errors and defects as JSON-RPC does, not in effect's dialect [C227]", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual((yield* ask("get", { id: 2 })).error, {
        code: -32000,
        message: "Unknown",
        data: { _tag: "Unknown", id: 2 }
      })
      assert.deepStrictEqual((yield* ask("boom")).error, { code: -32603, message: "Internal error" })
    }).pipe(Effect.provide(capture().layer)))

  it.effect("waits for a result that a handler has promised", () =>
    Effect.gen(function*() {
      assert.deepInclude(yield* ask("later"), { result: "later" })
    }))

  it.effect("runs the group's middleware with the headers of the request", () =>
    Effect.gen(function*() {
      const post = (lines: ReadonlyArray<string>) => {
        const text = JSON.stringify({ jsonrpc: "2.0", method: "me", id: 1 })
        const head = ["content-type: application/json", `content-length: ${text.length}`, ...lines]
        return Effect.map(exchange(rpc.app, request("POST /", head, text)), (bytes) => JSON.parse(answerIn(bytes).body))
      }
      assert.deepInclude(yield* post(["authorization: Bearer s"]), { result: "ada" })
      assert.deepInclude((yield* post([])).error, { code: 403, message: "Forbidden" })
    }).pipe(Effect.provide(layer)))

  it("describes the group", () => {
    assert.deepStrictEqual(rpc.document!.methods.map(({ name }) => name), ["get", "ping", "later", "boom", "me"])
  })

  it("refuses a group with a stream", () => {
    const streams = group.add(Rpc.make("feed", { success: Schema.Int, stream: true }))
    assert.throws(() => JsonRpc.fromRpcGroup(streams), `'feed' yields a stream`)
    assert.doesNotThrow(() => JsonRpc.fromRpcGroup(streams.omit("feed")))
  })
})
