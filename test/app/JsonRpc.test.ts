import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as JsonRpc from "../../src/app/JsonRpc.ts"
import { capture } from "../utils/logs.ts"

interface Served<R> {
  readonly handle: (text: string) => Effect.Effect<string | undefined, never, R>
}

/** Calls, and yields the answer as JSON. */
const ask = <R>({ handle }: Served<R>, method: string, params?: unknown, id: unknown = 1) =>
  Effect.map(
    handle(JSON.stringify({ jsonrpc: "2.0", method, params, id })),
    (text) => JSON.parse(text ?? "null") as { readonly result?: unknown; readonly error?: JsonRpc.RpcError }
  )

const notify = <R>({ handle }: Served<R>, method: string, params?: unknown) =>
  handle(JSON.stringify({ jsonrpc: "2.0", method, params }))

const show = { success: Schema.Unknown }
/** A method that yields its parameters as they were decoded. */
const echo = <P extends JsonRpc.ParamsSpec>(params: P) =>
  JsonRpc.make(JsonRpc.method("echo", { params, ...show }, (given) => Effect.succeed(given as unknown)))

class Invalid extends Schema.TaggedError<Invalid>()("Invalid", { field: Schema.String }) {}
class Taken extends Schema.TaggedError<Taken>()("Taken", { by: Schema.Date }) {
  override get message() {
    return "The name is taken"
  }
}
class Coded extends Schema.TaggedError<Coded>()("Coded", { code: Schema.Int }) {}

describe("JsonRpc", () => {
  describe("params", () => {
    const fields = { a: Schema.Finite, b: Schema.optionalKey(Schema.String), c: Schema.optionalKey(Schema.Finite) }

    it.effect("of fields are accepted by name and by position, trailing optional ones left out", () =>
      Effect.gen(function*() {
        const rpc = echo(fields)
        assert.deepInclude(yield* ask(rpc, "echo", { b: "x", a: 1 }), { result: { a: 1, b: "x" } })
        assert.deepInclude(yield* ask(rpc, "echo", [1, "x"]), { result: { a: 1, b: "x" } })
        assert.deepInclude(yield* ask(rpc, "echo", [1]), { result: { a: 1 } })
        assert.deepInclude(yield* ask(rpc, "echo", { a: 1, further: true }), { result: { a: 1 } })
      }))

    it.effect("of a Schema of an object are accepted by position as well, decoded", () =>
      Effect.gen(function*() {
        class Range extends Schema.Class<Range>("Range")({ from: Schema.Date, to: Schema.Date }) {}
        const rpc = JsonRpc.make(
          JsonRpc.method(
            "hours",
            { params: Range, success: Schema.Finite },
            ({ from, to }) => Effect.succeed((to.getTime() - from.getTime()) / 3_600_000)
          )
        )
        const [from, to] = ["2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"]
        assert.deepInclude(yield* ask(rpc, "hours", [from, to]), { result: 24 })
        assert.deepInclude(yield* ask(rpc, "hours", { to, from }), { result: 24 })
      }))

    it.effect("of a tuple are accepted by position only", () =>
      Effect.gen(function*() {
        const rpc = echo(Schema.Tuple([Schema.String, Schema.Finite]))
        assert.deepInclude(yield* ask(rpc, "echo", ["x", 1]), { result: ["x", 1] })
        assert.strictEqual((yield* ask(rpc, "echo", { 0: "x", 1: 1 })).error?.code, -32602)
      }))

    it.effect("of another Schema are decoded as they are", () =>
      Effect.gen(function*() {
        const rpc = echo(Schema.Union([Schema.Array(Schema.Finite), Schema.Record(Schema.String, Schema.Finite)]))
        assert.deepInclude(yield* ask(rpc, "echo", [1, 2]), { result: [1, 2] })
        assert.deepInclude(yield* ask(rpc, "echo", { x: 1 }), { result: { x: 1 } })
      }))

    it.effect("may be absent where none are needed", () =>
      Effect.gen(function*() {
        assert.deepInclude(yield* ask(echo({ a: Schema.optionalKey(Schema.Finite) }), "echo"), { result: {} })
        assert.deepInclude(yield* ask(echo(Schema.Array(Schema.Finite)), "echo"), { result: [] })
        assert.strictEqual((yield* ask(echo(fields), "echo")).error?.code, -32602)
      }))

    it.effect("are refused by a method without any, unless they are empty", () =>
      Effect.gen(function*() {
        const rpc = JsonRpc.make(JsonRpc.method("none", {}, () => Effect.void))
        for (const params of [undefined, [], {}]) assert.deepInclude(yield* ask(rpc, "none", params), { result: null })
        assert.deepInclude((yield* ask(rpc, "none", [1])).error, {
          code: -32602,
          data: [{ path: "", message: "Expected no parameters" }]
        })
      }))

    it.effect("that do not fit are answered with -32602 and every place [C227]", () =>
      Effect.gen(function*() {
        const rpc = echo({ items: Schema.Array(Schema.Struct({ price: Schema.Int })), name: Schema.String })
        const { error } = yield* ask(rpc, "echo", { items: [{ price: 1 }, { price: 1.5 }] })
        assert.deepInclude(error, { code: -32602, message: "Invalid params" })
        assert.deepStrictEqual(
          (error!.data as ReadonlyArray<{ readonly path: string }>).map(({ path }) => path),
          ["items/1/price", "name"]
        )
        assert.deepInclude((yield* ask(rpc, "echo", [[], "x", 3])).error, {
          data: [{ path: "2", message: "Expected at most 2 parameters" }]
        })
      }))
  })

  describe("errors", () => {
    const failing = (failure: Effect.Effect<never, Invalid | Taken | Coded | JsonRpc.RpcError>) =>
      JsonRpc.make(
        JsonRpc.method("fail", { errors: [Invalid, JsonRpc.error(17, Taken), Coded] }, () => failure)
      )
    const errorOf = (failure: Effect.Effect<never, Invalid | Taken | Coded | JsonRpc.RpcError>) =>
      Effect.map(ask(failing(failure), "fail"), ({ error }) => error)

    it.effect("that are declared carry their code, a sentence and themselves [C227]", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual({ ...(yield* errorOf(Effect.fail(new Taken({ by: new Date(0) })))) }, {
          code: 17,
          message: "The name is taken",
          data: { _tag: "Taken", by: "1970-01-01T00:00:00.000Z" }
        })
        assert.deepInclude(yield* errorOf(Effect.fail(new Invalid({ field: "x" }))), {
          code: -32000,
          message: "Invalid"
        })
        assert.deepInclude(yield* errorOf(Effect.fail(new Coded({ code: 99 }))), { code: 99 })
        assert.deepInclude(yield* errorOf(Effect.fail(new Coded({ code: -32700 }))), { code: -32000 })
      }))

    it.effect("may be any error object", () =>
      Effect.gen(function*() {
        const error = new JsonRpc.RpcError({ code: -32042, message: "Later", data: { seconds: 3 } })
        assert.deepStrictEqual({ ...(yield* errorOf(Effect.fail(error))) }, {
          code: -32042,
          message: "Later",
          data: { seconds: 3 }
        })
      }))

    for (
      const [what, failure] of [
        ["a defect", Effect.die(new Error("secret"))],
        ["an error that is not declared", Effect.fail(new Error("secret") as unknown as Invalid)],
        ["an interruption of its own", Effect.annotateLogs(Effect.interrupt, { secret: "secret" })],
        [
          "an error object that is not JSON",
          Effect.fail(new JsonRpc.RpcError({ code: 1, message: "secret", data: 1n }))
        ],
        [
          "an error object whose code is no integer",
          Effect.fail(new JsonRpc.RpcError({ code: NaN, message: "secret" }))
        ]
      ] as const
    ) {
      it.effect(`hide ${what} and log it once [C227]`, () => {
        const { layer, lines } = capture()
        return Effect.gen(function*() {
          assert.deepStrictEqual(yield* errorOf(failure), { code: -32603, message: "Internal error" } as never)
          assert.deepStrictEqual(lines.map(({ level, message }) => [level, message]), [
            ["Error", "A JSON-RPC method failed"]
          ])
          assert.notStrictEqual(lines[0]!.cause, "")
        }).pipe(Effect.provide(layer))
      })
    }

    it.effect("hide a handler that throws, and a result that does not fit", () =>
      Effect.gen(function*() {
        const rpc = JsonRpc.make(
          JsonRpc.method("throw", {}, () => {
            throw new Error("secret")
          }),
          JsonRpc.method("wrong", { success: Schema.Int }, () => Effect.succeed(1.5)),
          JsonRpc.method("big", { success: Schema.Unknown }, () => Effect.succeed(1n as unknown))
        )
        for (const method of ["throw", "wrong", "big"]) {
          assert.deepStrictEqual((yield* ask(rpc, method)).error, { code: -32603, message: "Internal error" } as never)
        }
      }).pipe(Effect.provide(capture().layer)))

    it.effect("hide a result of middleware that is not JSON", () =>
      Effect.gen(function*() {
        for (const result of [() => "secret", Symbol("secret"), { toJSON: () => undefined }]) {
          const rpc = JsonRpc.make(
            { middleware: [() => Effect.succeed(result)] },
            JsonRpc.method("a", {}, () => Effect.void)
          )
          assert.deepStrictEqual((yield* ask(rpc, "a")).error, { code: -32603, message: "Internal error" } as never)
        }
      }).pipe(Effect.provide(capture().layer)))

    it("must be declared, as far as types can say", () => {
      // @ts-expect-error: Taken is not among the errors
      JsonRpc.method("a", { errors: [Invalid] }, () => Effect.fail(new Taken({ by: new Date(0) })))
      // @ts-expect-error: the result is no number
      JsonRpc.method("a", { success: Schema.Finite }, () => Effect.succeed("1"))
    })

    it("refuse codes that are reserved or no integers", () => {
      for (const code of [-32768, -32603, -32100, 1.5, NaN]) {
        assert.throws(() => JsonRpc.error(code, Taken), RangeError, String(code))
      }
      for (const code of [-32099, -32000, -32769, 0, 404]) assert.strictEqual(JsonRpc.error(code, Taken).code, code)
    })
  })

  describe("notifications", () => {
    const seen: Array<string> = []
    const rpc = JsonRpc.make(
      JsonRpc.method("see", { params: { what: Schema.String } }, ({ what }) => Effect.sync(() => void seen.push(what))),
      JsonRpc.method("fail", { errors: [Invalid] }, () => Effect.fail(new Invalid({ field: "x" }))),
      JsonRpc.method("die", {}, () => Effect.die("x"))
    )

    it.effect("run and are never answered; what fails is logged [C227]", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        assert.isUndefined(yield* notify(rpc, "see", { what: "it" }))
        assert.deepStrictEqual(seen, ["it"])
        for (const method of ["fail", "die"]) assert.isUndefined(yield* notify(rpc, method))
        assert.isUndefined(yield* notify(rpc, "see", { what: 1 }))
        assert.isUndefined(yield* notify(rpc, "nosuch"))
        assert.deepStrictEqual(lines.map(({ level, message }) => [level, message]), [
          ["Warn", "A JSON-RPC notification failed"],
          ["Error", "A JSON-RPC method failed"]
        ])
      }).pipe(Effect.provide(layer))
    })
  })

  describe("batches", () => {
    it.effect("run at most `concurrency` at once, and answer by id [C227]", () =>
      Effect.gen(function*() {
        let running = 0
        let most = 0
        const gate = yield* Deferred.make<void>()
        const rpc = JsonRpc.make(
          { concurrency: 2 },
          JsonRpc.method("wait", {}, () =>
            Effect.gen(function*() {
              most = Math.max(most, ++running)
              yield* Deferred.await(gate)
              running--
            }))
        )
        const text = JSON.stringify([1, "b", 3].map((id) => ({ jsonrpc: "2.0", method: "wait", id })))
        const fiber = yield* Effect.forkChild(rpc.handle(text), { startImmediately: true })
        yield* Effect.yieldNow
        assert.strictEqual(running, 2)
        yield* Deferred.succeed(gate, undefined)
        const answers = JSON.parse((yield* Fiber.join(fiber))!) as ReadonlyArray<{ readonly id: unknown }>
        assert.sameMembers(answers.map(({ id }) => id), [1, "b", 3])
        assert.strictEqual(most, 2)
      }))

    it.effect("of 100 are accepted and of 101 refused, unless maxBatch says otherwise", () =>
      Effect.gen(function*() {
        const none = JsonRpc.method("none", {}, () => Effect.void)
        const batch = (length: number) =>
          JSON.stringify(Array.from({ length }, (_, id) => ({ jsonrpc: "2.0", method: "none", id })))
        const sizes = Effect.fnUntraced(function*(rpc: Served<never>, length: number) {
          const answer = JSON.parse((yield* rpc.handle(batch(length)))!)
          return Array.isArray(answer) ? answer.length : answer.error.code
        })
        assert.strictEqual(yield* sizes(JsonRpc.make(none), 100), 100)
        assert.strictEqual(yield* sizes(JsonRpc.make(none), 101), -32600)
        assert.strictEqual(yield* sizes(JsonRpc.make({ maxBatch: 1 }, none), 2), -32600)
      }))

    it.effect("of answers to nothing are bounded as well", () =>
      Effect.gen(function*() {
        const answers = (count: number) => `[${Array.from({ length: count }, () => `{"result":1}`).join()}]`
        const { handle } = JsonRpc.make()
        assert.strictEqual(JSON.parse((yield* handle(answers(100)))!).length, 100)
        assert.deepInclude(JSON.parse((yield* handle(answers(101)))!), {
          error: { code: -32600, message: "Invalid Request", data: "The batch has more than 100 requests" }
        })
      }))

    it.effect("answer every good request beside one that dies", () =>
      Effect.gen(function*() {
        const rpc = JsonRpc.make(
          JsonRpc.method("good", {}, () => Effect.void),
          JsonRpc.method("die", {}, () => Effect.die("x"))
        )
        const text = JSON.stringify(["good", "die", "good"].map((method, id) => ({ jsonrpc: "2.0", method, id })))
        const answers = JSON.parse((yield* rpc.handle(text))!) as ReadonlyArray<{ readonly error?: unknown }>
        assert.deepStrictEqual(answers.map(({ error }) => error !== undefined), [false, true, false])
      }).pipe(Effect.provide(capture().layer)))
  })

  describe("middleware", () => {
    const trail: Array<string> = []
    const noting = (name: string): JsonRpc.Middleware => (call, next) => {
      trail.push(`${name} ${call.method}`)
      return Effect.onExit(next, (exit) => Effect.sync(() => trail.push(`${name} ${exit._tag}`)))
    }

    it.effect("surrounds every method, and within one its own", () =>
      Effect.gen(function*() {
        const rpc = JsonRpc.make(
          { middleware: [noting("outer"), noting("inner")] },
          JsonRpc.method("a", { middleware: [noting("own")] }, () => Effect.void),
          JsonRpc.implement(JsonRpc.declare("b", { errors: [Invalid] }), () => Effect.fail(new Invalid({ field: "" })))
        )
        yield* ask(rpc, "a")
        yield* ask(rpc, "b")
        const ofA = ["outer a", "inner a", "own a", "own Success", "inner Success", "outer Success"]
        const ofB = ["outer b", "inner b", "inner Failure", "outer Failure"]
        assert.deepStrictEqual(trail, [...ofA, ...ofB])
      }))

    it.effect("refuses before parameters are looked at, with services of its own", () =>
      Effect.gen(function*() {
        class Secret extends Context.Service<Secret, string>()("test/Secret") {}
        let runs = 0
        const guard: JsonRpc.Middleware<Secret> = (call, next) =>
          Effect.flatMap(Secret, (secret) =>
            (call.params as { readonly secret?: unknown } | undefined)?.secret === secret
              ? next
              : Effect.fail(new JsonRpc.RpcError({ code: -32001, message: "Forbidden" })))
        const rpc = JsonRpc.make(
          { middleware: [guard] },
          JsonRpc.method("a", { params: { secret: Schema.String } }, () => Effect.sync(() => void runs++))
        )
        const provided = { handle: (text: string) => Effect.provideService(rpc.handle(text), Secret, "s") }
        assert.deepInclude((yield* ask(provided, "a", [1])).error, { code: -32001, message: "Forbidden" })
        assert.strictEqual(runs, 0)
        assert.deepInclude(yield* ask(provided, "a", { secret: "s" }), { result: null })
        assert.strictEqual(runs, 1)
      }))

    it.effect("tells a method what it is answering", () =>
      Effect.gen(function*() {
        const rpc = JsonRpc.make(
          JsonRpc.method("a", { params: { x: Schema.Finite }, ...show }, () =>
            Effect.map(
              JsonRpc.Call,
              ({ exchange, id, method, params }) => ({ exchange: exchange ?? null, id, method, params })
            ))
        )
        assert.deepInclude(yield* ask(rpc, "a", [1], "an id"), {
          result: { exchange: null, id: "an id", method: "a", params: [1] }
        })
      }))
  })

  describe("make", () => {
    it("refuses two methods of one name, reserved names and limits that are none", () => {
      const a = JsonRpc.method("a", {}, () => Effect.void)
      assert.throws(() => JsonRpc.make(a, a), "There are two methods named 'a'")
      assert.throws(() => JsonRpc.declare("rpc.a", {}), `A method cannot be named 'rpc.a'`)
      for (const limit of [0, 1.5, NaN, -1]) {
        for (const name of ["maxBatch", "maxDepth", "concurrency", "maxInFlight"]) {
          assert.throws(() => JsonRpc.make({ [name]: limit }, a), `${name} must be a positive integer, not ${limit}`)
        }
      }
    })

    it.effect("asks for the services of its methods", () =>
      Effect.gen(function*() {
        class Name extends Context.Service<Name, string>()("test/Name") {}
        const rpc = JsonRpc.make(JsonRpc.method("name", { success: Schema.String }, () => Name))
        // @ts-expect-error: Name is missing
        const incomplete: Effect.Effect<string | undefined> = rpc.handle("")
        assert.isDefined(incomplete)
        const provided = { handle: (text: string) => Effect.provideService(rpc.handle(text), Name, "ada") }
        assert.deepInclude(yield* ask(provided, "name"), { result: "ada" })
      }))

    it.effect("runs without methods", () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* ask(JsonRpc.make(), "a")).error?.code, -32601)
        assert.strictEqual((yield* ask(JsonRpc.make({}), "rpc.discover")).error?.code, -32601)
      }))
  })

  describe("a text by itself", () => {
    it.effect("has nobody to notify or to call, and its progress goes nowhere", () =>
      Effect.gen(function*() {
        const there = JsonRpc.declare("there", {})
        const rpc = JsonRpc.make(
          JsonRpc.method("a", show, () =>
            Effect.gen(function*() {
              yield* JsonRpc.progress(1)
              const peer = yield* JsonRpc.Peer
              const exits = [yield* Effect.exit(peer.call(there)), yield* Effect.exit(peer.notify(there))]
              return exits.map((exit) =>
                Exit.isFailure(exit) ? (Cause.squash(exit.cause) as JsonRpc.CallError).reason : undefined
              )
            }))
        )
        assert.deepInclude(yield* ask(rpc, "a"), { result: ["Unavailable", "Unavailable"] })
      }))

    it.effect("is interrupted with its handle", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        let interrupted = 0
        const rpc = JsonRpc.make(
          JsonRpc.method("a", {}, () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++)))
        )
        const texts = [`{"jsonrpc":"2.0","method":"a","id":1}`, `[{"jsonrpc":"2.0","method":"a","id":1}]`]
        for (const text of texts) {
          const fiber = yield* Effect.forkChild(rpc.handle(text), { startImmediately: true })
          yield* Effect.yieldNow
          yield* Fiber.interrupt(fiber)
        }
        assert.strictEqual(interrupted, 2)
        assert.deepStrictEqual(lines, [])
      }).pipe(Effect.provide(layer))
    })
  })

  describe("rpc.discover", () => {
    class Pet extends Schema.Class<Pet>("Pet")({ name: Schema.String, born: Schema.Date }) {}
    const info = { title: "Pets", version: "1.0.0" }
    const rpc = JsonRpc.make(
      { info },
      JsonRpc.method(
        "rename",
        {
          params: { pet: Pet, name: Schema.optionalKey(Schema.String) },
          success: Pet,
          errors: [JsonRpc.error(7, Taken)],
          summary: "Renames"
        },
        ({ pet }) => Effect.succeed(pet)
      ),
      JsonRpc.method("pair", { params: Schema.Tuple([Pet, Schema.Finite]), deprecated: true }, () => Effect.void),
      JsonRpc.method("all", { params: Schema.Array(Pet), description: "All of them" }, () => Effect.void),
      JsonRpc.method("add", { params: Pet }, () => Effect.void),
      JsonRpc.method("none", {}, () => Effect.void)
    )
    const reference = { "$ref": "#/components/schemas/PetEncoded" }

    it.effect("is answered with the OpenRPC document", () =>
      Effect.gen(function*() {
        const { result } = yield* ask(rpc, "rpc.discover")
        assert.deepStrictEqual(result as unknown, JSON.parse(JSON.stringify(rpc.document)))
        assert.deepInclude(result as object, { openrpc: "1.3.2", info })
      }))

    it("describes names, structure, parameters, results and errors from the Schemas", () => {
      const [rename, pair, all, add, none] = rpc.document!.methods
      assert.deepInclude(rename, { name: "rename", summary: "Renames", paramStructure: "either" })
      assert.deepStrictEqual(rename!["params"], [
        { name: "pet", required: true, schema: reference },
        { name: "name", required: false, schema: { type: "string" } }
      ])
      assert.deepStrictEqual(rename!["result"], { name: "result", schema: reference })
      const [error] = rename!["errors"] as ReadonlyArray<Record<string, unknown>>
      assert.deepInclude(error, { code: 7, message: "Taken" })
      assert.deepInclude(pair, { paramStructure: "by-position", deprecated: true })
      assert.deepStrictEqual(pair!["params"], [
        { name: "param1", required: true, schema: reference },
        { name: "param2", required: true, schema: { type: "number" } }
      ])
      assert.deepInclude(all, { paramStructure: "by-position", description: "All of them" })
      assert.deepStrictEqual((all!["params"] as ReadonlyArray<object>)[0], {
        name: "params",
        description: "All parameters as one value",
        required: true,
        schema: { type: "array", items: reference }
      })
      assert.deepStrictEqual(
        (add!["params"] as ReadonlyArray<{ readonly name: string }>).map(({ name }) => name),
        ["name", "born"]
      )
      assert.deepInclude(none, { params: [], result: { name: "result", schema: { type: "null" } } })
      assert.hasAllKeys(rpc.document!.components.schemas, ["PetEncoded", "TakenEncoded"])
    })
  })
})
