import { assert, describe, it } from "@effect/vitest"
import * as Message from "../../../src/app/internal/JsonRpcMessage.ts"

const bounds = { maxBatch: 3, maxDepth: 4 }
const parse = (text: string | Uint8Array, mayAnswer?: boolean) => Message.parse(text, bounds, mayAnswer)

/** The only item of a text that is no batch. */
const itemOf = (text: string | Uint8Array) => {
  const { isBatch, items } = parse(text)
  assert.isFalse(isBatch)
  assert.lengthOf(items, 1)
  return items[0]!
}

const codeOf = (text: string | Uint8Array) => {
  const item = itemOf(text)
  return item._tag === "Invalid" ? item.error.code : item._tag
}

const bytes = (...all: ReadonlyArray<number>) => new Uint8Array(all)

describe("JsonRpcMessage", () => {
  describe("parse", () => {
    it("reads UTF-8 bytes, and refuses others as no JSON", () => {
      assert.strictEqual(codeOf(new TextEncoder().encode(`{"jsonrpc":"2.0","method":"größe"}`)), "Request")
      assert.strictEqual(codeOf(bytes(0x22, 0xff, 0x22)), -32700)
      assert.strictEqual(codeOf(""), -32700)
    })

    it("tells a missing id from null", () => {
      assert.deepInclude(itemOf(`{"jsonrpc":"2.0","method":"a"}`), { id: undefined })
      assert.deepInclude(itemOf(`{"jsonrpc":"2.0","method":"a","id":null}`), { id: null })
    })

    it("refuses ids that an answer could not repeat exactly", () => {
      for (const id of ["9007199254740993", "-9007199254740993", "1e400", "{}", "[]", "false"]) {
        assert.deepInclude(itemOf(`{"jsonrpc":"2.0","method":"a","id":${id}}`), { _tag: "Invalid", id: null }, id)
      }
      for (const id of ["9007199254740991", "-1", "0.5", `""`, "null"]) {
        assert.strictEqual(codeOf(`{"jsonrpc":"2.0","method":"a","id":${id}}`), "Request", id)
      }
    })

    it("says with a valid id what is wrong with the rest", () => {
      const item = itemOf(`{"jsonrpc":"1.0","method":"a","id":"x"}`)
      assert.deepInclude(item, { _tag: "Invalid", id: "x" })
    })

    it("takes what has a result or an error for an answer, however malformed", () => {
      assert.deepStrictEqual(itemOf(`{"jsonrpc":"2.0","result":1,"id":7}`), {
        _tag: "Response",
        id: 7,
        result: 1,
        error: undefined
      })
      assert.deepInclude(itemOf(`{"error":{"code":1,"message":"m","data":[2]},"id":7}`), {
        error: { code: 1, message: "m", data: [2] }
      })
      assert.deepInclude(itemOf(`{"error":"no","id":{}}`), {
        id: null,
        error: { code: -32603, message: "Internal error" }
      })
    })

    it("keeps what came as __proto__ out of prototypes", () => {
      const item = itemOf(`{"jsonrpc":"2.0","__proto__":{"method":"a"},"id":1}`)
      assert.strictEqual(item._tag, "Invalid")
    })
  })

  describe("bounds", () => {
    const one = `{"jsonrpc":"2.0","method":"a"}`

    it("accepts a batch of maxBatch and refuses a longer one whole", () => {
      assert.lengthOf(parse(`[${one},${one},${one}]`).items, 3)
      const { isBatch, items } = parse(`[${one},${one},${one},${one}]`)
      assert.isFalse(isBatch)
      assert.deepStrictEqual(items, [{
        _tag: "Invalid",
        id: null,
        error: { code: -32600, message: "Invalid Request", data: "The batch has more than 3 requests" }
      }])
    })

    it("does not bound answers, as many as we have asked for, where we may have asked", () => {
      const answers = Array.from({ length: 5 }, (_, id) => ({ jsonrpc: "2.0", result: id, id }))
      assert.lengthOf(parse(JSON.stringify(answers), true).items, 5)
      assert.lengthOf(parse(JSON.stringify([...answers, 1]), true).items, 1)
      assert.lengthOf(parse(JSON.stringify(answers)).items, 1)
    })

    const nested = (depth: number) =>
      `{"jsonrpc":"2.0","method":"a","params":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`

    it("accepts maxDepth levels and refuses one more", () => {
      assert.strictEqual(codeOf(nested(4)), "Request")
      assert.strictEqual(codeOf(nested(5)), -32600)
      assert.strictEqual(codeOf(nested(100_000)), -32600)
    })

    it("does not count brackets in strings", () => {
      const text = JSON.stringify("[[[[[[\\\"[[[[" + "\"".repeat(3) + "{{{{{{")
      assert.strictEqual(codeOf(`{"jsonrpc":"2.0","method":"a","params":[${text}]}`), "Request")
      assert.strictEqual(codeOf(`{"jsonrpc":"2.0","method":"a","params":[${text},[[[[]]]]]}`), -32600)
    })

    it("counts levels, not brackets", () => {
      assert.strictEqual(codeOf(`{"jsonrpc":"2.0","method":"a","params":[[],[],[],[],[],[],{},{}]}`), "Request")
    })

    it("says of deep text that is not JSON that it is none, or too deep", () => {
      assert.include([-32700, -32600], codeOf("[".repeat(100_000)))
    })
  })

  describe("texts", () => {
    it("have exactly the members of the specification", () => {
      assert.strictEqual(Message.resultText("x", undefined), `{"jsonrpc":"2.0","result":null,"id":"x"}`)
      assert.deepStrictEqual(JSON.parse(Message.errorText(null, { code: 1, message: "m" })), {
        jsonrpc: "2.0",
        error: { code: 1, message: "m" },
        id: null
      })
      assert.deepStrictEqual(JSON.parse(Message.requestText("m", undefined)), { jsonrpc: "2.0", method: "m" })
      assert.deepStrictEqual(JSON.parse(Message.requestText("m", [1], 2)), {
        jsonrpc: "2.0",
        method: "m",
        params: [1],
        id: 2
      })
    })
  })
})
