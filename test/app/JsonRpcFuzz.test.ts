/** Any text in: either nothing or a text that is valid JSON-RPC comes out; never a defect, never a wait. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as JsonRpc from "../../src/app/JsonRpc.ts"
import { capture } from "../utils/logs.ts"

class Odd extends Schema.TaggedError<Odd>()("Odd", { of: Schema.Unknown }) {}

const anything = Schema.Union([Schema.Array(Schema.Unknown), Schema.Record(Schema.String, Schema.Unknown)])
const rpc = JsonRpc.make(
  { maxBatch: 5, maxDepth: 8, concurrency: 2, info: { title: "Fuzzed", version: "1" } },
  JsonRpc.method("echo", { params: anything, success: Schema.Unknown }, (params) => Effect.succeed(params as unknown)),
  JsonRpc.method("odd", { params: anything, errors: [JsonRpc.error(1, Odd)] }, (of) => Effect.fail(new Odd({ of }))),
  JsonRpc.method("add", { params: { a: Schema.Finite, b: Schema.Finite }, success: Schema.Finite }, ({ a, b }) =>
    // What JSON has no number for is not for JSON.
    Effect.succeed(Number.isFinite(a + b) ? a + b : 0)),
  JsonRpc.method("__proto__", { success: Schema.String }, () => Effect.succeed("own")),
  JsonRpc.method("", {}, () => Effect.void)
)

/** Numbers from 0 to below `bound`, the same for the same seed (mulberry32). */
const seeded = (seed: number) => (bound: number): number => {
  seed = (seed + 0x6d2b79f5) | 0
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) % bound
}

const pieces = [
  ..."{}[],:\"\\ \n0-\ud800\ufeff\u2028",
  ...`null true 1e400 -0 9007199254740993 1.5 "2.0" "\\ud800" "jsonrpc" "method" "params" "id" "result" "error"`.split(
    " "
  ),
  ...`"__proto__": "constructor": "echo" "toString" "rpc.discover" [[[[[[[[[[ {"a":{"a": {"error":{"code":1.5}} ]] }}`
    .split(" ")
]

const texts = [
  `{"jsonrpc":"2.0","method":"echo","params":{"__proto__":[1],"constructor":{"x":null}},"id":"a"}`,
  `{"jsonrpc":"2.0","method":"odd","params":["\\ud800",{"toJSON":1}],"id":1.5}`,
  `{"jsonrpc":"2.0","method":"add","params":[1,2],"id":7}`,
  `{"jsonrpc":"2.0","method":"__proto__","id":null}`,
  `{"jsonrpc":"2.0","method":"","params":{}}`,
  `{"jsonrpc":"2.0","method":"rpc.discover","id":2}`,
  `{"jsonrpc":"2.0","result":{"then":1},"id":3}`,
  `[{"jsonrpc":"2.0","method":"add","params":{"a":1,"b":1},"id":1},{"jsonrpc":"2.0","method":"echo","params":[]},1,{}]`
]

/** A text with a few places cut out, put in or doubled. */
const mutated = (below: (bound: number) => number): string => {
  let text = texts[below(texts.length)]!
  for (let changes = below(6); changes > 0; changes--) {
    const from = below(text.length + 1)
    const to = from + below(8)
    const middle = [pieces[below(pieces.length)]!, "", text.slice(from, to).repeat(2)][below(3)]!
    text = text.slice(0, from) + middle + text.slice(below(2) === 0 ? from : to)
  }
  return text
}

const isAnswer = (value: unknown): boolean => {
  const { error, id, jsonrpc, ...others } = value as { readonly [key: string]: unknown }
  if (jsonrpc !== "2.0" || !(id === null || typeof id === "string" || typeof id === "number")) return false
  if (error === undefined) return Object.keys(others).join() === "result"
  const { code, data: _, message, ...more } = error as { readonly [key: string]: unknown }
  return Number.isInteger(code) && typeof message === "string" && Object.keys({ ...others, ...more }).length === 0
}

const isValid = (text: string): boolean => {
  const value: unknown = JSON.parse(text)
  return Array.isArray(value) ? value.length > 0 && value.length <= 5 && value.every(isAnswer) : isAnswer(value)
}

describe("JsonRpc", () => {
  it.effect("answers any text with nothing or with valid JSON-RPC, and dies of none", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const below = seeded(20_260_101)
      let answered = 0
      for (let turn = 0; turn < 500; turn++) {
        const text = mutated(below)
        const answer = yield* rpc.handle(below(2) === 0 ? text : new TextEncoder().encode(text))
        if (answer === undefined) continue
        answered++
        assert.isTrue(isValid(answer), `${text} was answered with ${answer}`)
      }
      // Both kinds must have come by, or the texts say nothing.
      assert.isTrue(answered > 300 && answered < 500, String(answered))
      assert.deepStrictEqual(lines.filter(({ level }) => level === "Error"), [])
    }).pipe(Effect.provide(layer))
  })

  it.effect("knows no method by the names that every object has", () =>
    Effect.gen(function*() {
      const plain = JsonRpc.make(JsonRpc.method("a", {}, () => Effect.void))
      for (const method of ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"]) {
        const answer = yield* plain.handle(JSON.stringify({ jsonrpc: "2.0", method, id: method }))
        assert.deepInclude(JSON.parse(answer!), { error: { code: -32601, message: "Method not found" }, id: method })
      }
      // The members of a request are its own, whatever it says to be made of.
      const inherited = `{"jsonrpc":"2.0","id":1,"__proto__":{"method":"a"}}`
      assert.strictEqual(JSON.parse((yield* plain.handle(inherited))!).error.code, -32600)
    }))

  it.effect("hands parameters over as they came, and changes no prototype by their names", () =>
    Effect.gen(function*() {
      const params = `{"__proto__":{"isAdmin":true},"constructor":1,"toString":2}`
      const answer = yield* rpc.handle(`{"jsonrpc":"2.0","method":"echo","params":${params},"id":1}`)
      assert.strictEqual(answer, `{"jsonrpc":"2.0","result":${params},"id":1}`)
      assert.isUndefined(({} as { readonly isAdmin?: boolean }).isAdmin)
    }))
})
