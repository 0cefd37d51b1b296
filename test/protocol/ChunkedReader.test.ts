import { assert, describe, it } from "@effect/vitest"
import { ChunkedReader } from "../../src/protocol/ChunkedReader.ts"
import { defaults } from "../../src/protocol/Limits.ts"
import type { Reason } from "../../src/protocol/Malformed.ts"
import { bytesOf, read, readOne, refused, refusedAfter } from "../utils/splits.ts"

const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

const accepts = (body: string, chunked: string): void =>
  it(`reads ${JSON.stringify(chunked)}`, () => assert.deepInclude(readOne(head + chunked), { body, trailers: [] }))

const refuses = (reason: Reason, cases: ReadonlyArray<string>): void => {
  for (const chunked of cases) {
    it(`refuses ${JSON.stringify(chunked)} as ${reason} [C56]`, () =>
      assert.strictEqual(refused(head + chunked), reason))
  }
}

describe("ChunkedReader", () => {
  describe("chunks", () => {
    accepts("", "0\r\n\r\n")
    accepts("", "000\r\n\r\n")
    accepts("hello", "5\r\nhello\r\n0\r\n\r\n")
    accepts("hello world", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
    accepts("0123456789abcdefghijklmnop", "a\r\n0123456789\r\nA\r\nabcdefghij\r\n06\r\nklmnop\r\n0\r\n\r\n")
    accepts("\r\n0\r\n\r\n", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n")
    accepts("\0\xff", "0002\r\n\0\xff\r\n00\r\n\r\n")

    it("are followed by the next request [C23]", () => {
      const { messages } = read(`${head}1\r\na\r\n0\r\n\r\n${head}2\r\nbc\r\n0\r\nX: y\r\n\r\n${head}0\r\n\r\n`)
      assert.deepStrictEqual(messages.map(({ body, trailers }) => [body, trailers]), [["a", []], ["bc", [["x", "y"]]], [
        "",
        []
      ]])
    })

    it("are handed out as views of what was received", () => {
      const bytes = bytesOf("5\r\nhello\r\n0\r\n")
      const reader = new ChunkedReader(defaults)
      assert.strictEqual(reader.read(bytes, 0), 8)
      assert.deepStrictEqual([reader.start, reader.end], [3, 8])
      assert.strictEqual(reader.read(bytes, 8), bytes.length)
      assert.isTrue(reader.atTrailers)
      assert.strictEqual(reader.start, reader.end)
    })

    it("end before the trailers, which are left alone", () => {
      const bytes = bytesOf("0\r\nX: y\r\n\r\n")
      const reader = new ChunkedReader(defaults)
      assert.strictEqual(reader.read(bytes, 0), 3)
      assert.strictEqual(reader.read(bytes, 3), 3)
      reader.reset()
      assert.isFalse(reader.atTrailers)
    })

    refuses("ChunkSizeInvalid", [
      "x",
      "\r\n",
      "\n",
      " 5\r\nhello\r\n",
      ";a\r\n",
      "-1\r\n",
      "+1\r\n",
      "0x5\r\n",
      "5x\r\n",
      "5,\r\n",
      "5 \r\n",
      "5\t\r\n",
      "5 5\r\n",
      "1 a\r\n",
      "g\r\n",
      "5\0\r\n",
      "\xb2\r\n",
      "5_0\r\n"
    ])
    refuses("LineEndInvalid", ["5\nhello\n", "5\rhello", "5\r\r\n", "0\n\n", "0\r\r\n", "5;a\n", "5;a=\"b\n", "5;a\rb"])
    refuses("ChunkEndInvalid", [
      "5\r\nhello0\r\n\r\n",
      "5\r\nhello\n0\r\n\r\n",
      "5\r\nhello\rX",
      "5\r\nhello\r\r\n",
      "5\r\nhello \r\n",
      "5\r\nhello!\r\n0\r\n\r\n",
      "1\r\na\0"
    ])
  })

  describe("extensions", () => {
    for (
      const extension of [
        ";a",
        ";a=b",
        ";a=\"\"",
        ";a=\"b\"",
        ";a=\"b c\t;=\x80\xff\"",
        ";a=\"\\\"\\\\\\b\\ \\\t\\\xff\"",
        ";a;b",
        ";a=b;c=\"d\";e",
        " ;a",
        "\t ;\t a",
        ";a =b",
        ";a= b",
        ";a \t=\t \"b\"",
        ";a ;b",
        ";a=b ;c",
        ";a=\"b\" ;c",
        ";!#$%&'*+-.^_`|~09AZaz"
      ]
    ) {
      accepts("a", `1${extension}\r\na\r\n0${extension}\r\n\r\n`)
    }
    refuses("ChunkExtensionInvalid", [
      "1;\r\n",
      "1; \r\n",
      "1;;a\r\n",
      "1;=b\r\n",
      "1;a=\r\n",
      "1;a= \r\n",
      "1;a=;b\r\n",
      "1;a=b=c\r\n",
      "1;a=b\"c\"\r\n",
      "1;a=\"b\"c\r\n",
      "1;a=\"b\r\n",
      "1;a=\"b\\\r\n",
      "1;a=\"\0\"\r\n",
      "1;a=\"\\\0\"\r\n",
      "1;a=\"\x7f\"\r\n",
      "1;a b\r\n",
      "1;a \r\n",
      "1;\x80\r\n",
      "1;a\x80\r\n",
      "1;a=\x80\r\n",
      "1;a=b\x80\r\n",
      "1;a,b\r\n",
      "1;a\0\r\n",
      "1;(a)\r\n",
      "1;a=b\0",
      "1;a=b \r\n",
      "1;a=b c\r\n",
      "1;a=\"b\" c\r\n"
    ])
  })

  describe("trailers", () => {
    it("come with the end of the message [C50]", () => {
      assert.deepStrictEqual(readOne(`${head}1\r\na\r\n0\r\nX-Sum:  1 \r\nx-sum: 2\r\nDate: d\r\n\r\n`).trailers, [
        ["x-sum", "1"],
        ["x-sum", "2"],
        ["date", "d"]
      ])
    })

    it("lose the fields that a trailer must not have [C50]", () => {
      const forbidden = [
        "Authorization",
        "Cache-Control",
        "Connection",
        "Content-Encoding",
        "Content-Length",
        "Content-Range",
        "Content-Type",
        "Cookie",
        "Expect",
        "Host",
        "Keep-Alive",
        "Max-Forwards",
        "Pragma",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Range",
        "Set-Cookie",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade"
      ]
      const lines = forbidden.map((name) => `${name}: 5\r\n`).join("")
      const { messages } = read(`${head}0\r\n${lines}X: y\r\n\r\n${head}0\r\n\r\n`)
      assert.deepStrictEqual(messages[0]?.trailers, [["x", "y"]])
      assert.deepStrictEqual(messages[0]?.head.headers, [["host", "a"], ["transfer-encoding", "chunked"]])
      assert.strictEqual(messages.length, 2)
    })

    const faults: ReadonlyArray<readonly [trailer: string, reason: Reason]> = [
      ["X : y\r\n\r\n", "FieldNameInvalid"],
      ["X\r\n\r\n", "FieldNameInvalid"],
      [": y\r\n\r\n", "FieldNameInvalid"],
      ["X: \0\r\n\r\n", "FieldValueInvalid"],
      ["X: y\n\r\n", "LineEndInvalid"],
      ["X: y\r\n\n", "LineEndInvalid"],
      ["X: y\r\n\rZ", "LineEndInvalid"],
      ["\n", "LineEndInvalid"],
      ["\r\r", "LineEndInvalid"],
      [" X: y\r\n\r\n", "FoldedLine"],
      ["X: y\r\n z\r\n\r\n", "FoldedLine"],
      ["GET / HTTP/1.1\r\n", "FieldNameInvalid"]
    ]
    for (const [trailer, reason] of faults) {
      it(`refuse ${JSON.stringify(trailer)} as ${reason}`, () =>
        assert.strictEqual(refused(`${head}0\r\n${trailer}`), reason))
    }

    it("have the limits of a field section, which hold while they arrive [C54] [W7]", () => {
      const limits = { headerBytes: 60, headerCount: 3 }
      const start = `${head}0\r\n`
      const section = (length: number): string => `X: ${"y".repeat(length - 7)}\r\n\r\n`
      assert.strictEqual(readOne(start + section(60), { limits }).trailers.length, 1)
      for (const length of [61, 62, 5000]) {
        assert.strictEqual(refused(start + section(length), { limits }), "HeadTooLarge")
      }
      for (const endless of ["X".repeat(5000), "X: ".padEnd(5000), "Host: a\r\n".repeat(500)]) {
        assert.strictEqual(refused(start + endless, { limits }), "HeadTooLarge")
        assert.strictEqual(refusedAfter(start + endless, { limits }), start.length + 61)
      }
      assert.strictEqual(readOne(`${start}${"X: y\r\n".repeat(3)}\r\n`, { limits }).trailers.length, 3)
      assert.strictEqual(refused(`${start}${"X: y\r\n".repeat(4)}\r\n`, { limits }), "TooManyFields")
    })
  })

  describe("limits", () => {
    const limits = { bodyBytes: 20, chunkExtensionBytes: 10 }

    it("bound the body, told by the sizes before the data comes [C56] [W7]", () => {
      const data = "0123456789"
      assert.strictEqual(readOne(`${head}a\r\n${data}\r\nA\r\n${data}\r\n0\r\n\r\n`, { limits }).body, data + data)
      assert.strictEqual(readOne(`${head}14\r\n${data}${data}\r\n0\r\n\r\n`, { limits }).body, data + data)
      for (
        const chunked of [
          "15\r\n",
          `a\r\n${data}\r\nb\r\n`,
          "ffffff\r\n",
          "f".repeat(5000),
          `14\r\n${data}${data}\r\n1`
        ]
      ) {
        assert.strictEqual(refused(head + chunked, { limits }), "BodyTooLarge")
      }
      assert.strictEqual(refusedAfter(`${head}15\r\n`, { limits }), head.length + 2)
    })

    it("bound a size by what a number can count, whatever the limit", () => {
      const none = { bodyBytes: Infinity }
      assert.isUndefined(read(`${head}1fffffffffffff\r\n`, { limits: none }).problem)
      for (const size of ["20000000000000", "ffffffffffffffff", "10000000000000005", "1".padEnd(400, "0")]) {
        assert.strictEqual(refused(`${head}${size}\r\n`, { limits: none }), "BodyTooLarge")
      }
    })

    it("bound the extensions of a body together, while they arrive [W7]", () => {
      assert.strictEqual(readOne(`${head}1;abcd\r\nx\r\n0;efgh\r\n\r\n`, { limits }).body, "x")
      assert.strictEqual(refused(`${head}1;abcd\r\nx\r\n0;efghi\r\n\r\n`, { limits }), "ChunkExtensionsTooLarge")
      for (const endless of [";a".padEnd(5000, "a"), " ".repeat(5000), ";a=\"".padEnd(5000, "\\"), ";a".repeat(2500)]) {
        assert.strictEqual(refused(`${head}1${endless}`, { limits }), "ChunkExtensionsTooLarge")
        assert.strictEqual(refusedAfter(`${head}1${endless}`, { limits }), head.length + 1 + 11)
      }
      assert.strictEqual(refused(`${head}${"1;ab\r\nx\r\n".repeat(20)}`, { limits }), "ChunkExtensionsTooLarge")
    })

    it("count needless zeros as extensions", () => {
      assert.strictEqual(readOne(`${head}${"0".repeat(10)}1\r\nx\r\n0\r\n\r\n`, { limits }).body, "x")
      assert.strictEqual(readOne(`${head}${"0".repeat(11)}\r\n\r\n`, { limits }).body, "")
      for (const count of [12, 13, 5000]) {
        assert.strictEqual(refused(`${head}${"0".repeat(count)}`, { limits }), "ChunkExtensionsTooLarge")
      }
      assert.strictEqual(refusedAfter(head + "0".repeat(5000), { limits }), head.length + 12)
    })

    it("start again with each body", () => {
      const request = `${head}14;abcd\r\n01234567890123456789\r\n0;efgh\r\n\r\n`
      assert.strictEqual(read(request.repeat(3), { limits }).messages.length, 3)
    })
  })
})
