import { assert, describe, it } from "@effect/vitest"
import { Http2Fields, maxAnswerFieldBytes } from "../../src/protocol/Http2Fields.ts"
import type { HeaderList } from "../../src/protocol/ResponseFields.ts"

const read = (headers: HeaderList) => {
  const fields = new Http2Fields()
  assert.isUndefined(fields.read(headers))
  return { contentLength: fields.contentLength, fields: { ...fields.fields } }
}

const problemOf = (headers: unknown) => new Http2Fields().read(headers as HeaderList)

describe("Http2Fields", () => {
  it("gives names in lower case, one value as it is and several as a list in their order", () => {
    const { fields } = read([["X-A", "1"], ["set-cookie", "a"], ["x-a", "2"], ["Set-Cookie", "b"], ["X-A", "3"], [
      "x-b",
      ""
    ]])
    assert.deepStrictEqual(fields, { "x-a": ["1", "2", "3"], "set-cookie": ["a", "b"], "x-b": "" })
  })

  it("leaves out what belongs to an HTTP/1 connection (RFC 9113 section 8.2.2)", () => {
    const names = [
      "Connection",
      "http2-settings",
      "Keep-Alive",
      "proxy-connection",
      "TRANSFER-ENCODING",
      "upgrade",
      "te"
    ]
    assert.deepStrictEqual(read(names.map((name) => [name, "trailers"])).fields, {})
  })

  it("keeps the last line of what a message has once", () => {
    const { fields } = read([["content-type", "a"], ["Content-Type", "b"], ["ETag", "1"], ["etag", "2"], [
      "retry-after",
      "3"
    ]])
    assert.deepStrictEqual(fields, { "content-type": "b", etag: "2", "retry-after": "3" })
  })

  it("has no white space around values, and keeps that inside", () => {
    const { fields } = read([["a", " \tx y\t "], ["b", " "], ["c", "x\xff"]])
    assert.deepStrictEqual(fields, { a: "x y", b: "", c: "x\xff" })
  })

  it("takes names that objects have of their own", () => {
    const fields = new Http2Fields()
    assert.isUndefined(fields.read([["__proto__", "1"], ["constructor", "2"], ["constructor", "3"]]))
    assert.deepStrictEqual(Object.keys(fields.fields), ["__proto__", "constructor"])
    assert.strictEqual(fields.fields["__proto__"], "1")
    assert.deepStrictEqual(fields.fields["constructor"], ["2", "3"])
  })

  it("knows the declared length, which may be said twice when it is the same", () => {
    assert.strictEqual(read([]).contentLength, -1)
    assert.deepStrictEqual(read([["content-length", "5"], ["Content-Length", "005"]]), {
      contentLength: 5,
      fields: { "content-length": "5" }
    })
    for (const lengths of [["-1"], ["1.5"], [""], ["x"], ["5", "6"], ["99999999999999999999"]]) {
      assert.deepStrictEqual(problemOf(lengths.map((length) => ["content-length", length])), {
        name: "content-length",
        problem: "it is not one decimal number"
      })
    }
  })

  it("forgets what it read before, and keeps it when the next is refused", () => {
    const fields = new Http2Fields()
    fields.read([["content-length", "5"], ["a", "1"]])
    assert.isDefined(fields.read([["b", "\n"]]))
    assert.deepStrictEqual({ ...fields.fields }, { "content-length": "5", a: "1" })
    assert.isUndefined(fields.read([["c", "1"]]))
    assert.deepStrictEqual([{ ...fields.fields }, fields.contentLength], [{ c: "1" }, -1])
  })

  it("refuses names and values that must not be sent, by name", () => {
    for (
      const [headers, name] of [
        [[["", "x"]], ""],
        [[[":status", "200"]], ":status"],
        [[["a b", "x"]], "a b"],
        [[["a", "1"], ["ü", "x"]], "ü"],
        [[["a", "x\ny"]], "a"],
        [[["a", "x\0"]], "a"],
        [[["a", "€"]], "a"]
      ] as const
    ) {
      const problem = problemOf(headers)
      assert.strictEqual(problem?.name, name)
      assert.match(problem!.problem, name === "" ? /empty/ : /character/)
    }
  })

  it("refuses what is no pair of strings, without throwing", () => {
    const problem = "name and value must be strings"
    for (const header of [undefined, null, 5, "ab", ["a"], ["a", 5], [5, "a"], {}, []]) {
      const name = Array.isArray(header) && typeof header[0] === "string" ? header[0] : "header 1"
      assert.deepStrictEqual(problemOf([["x", "y"], header]), { name, problem })
    }
  })

  it("refuses a list longer than anybody takes, and takes one as long", () => {
    const each = 1000 - 32 - 1
    const most = Math.floor(maxAnswerFieldBytes / 1000)
    const list = Array.from({ length: most }, () => ["x", "y".repeat(each)] as const)
    assert.isUndefined(problemOf(list))
    assert.deepStrictEqual(problemOf([...list, ["last", "y".repeat(1000)]]), {
      name: "last",
      problem: "all headers together are too long for HTTP/2"
    })
  })
})
