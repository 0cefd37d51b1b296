import { assert, describe, it } from "@effect/vitest"
import { LineWriter } from "../../src/schema/LineWriter.ts"

const written = (write: (line: LineWriter) => void): string => {
  const line = new LineWriter(1)
  write(line)
  return line.textFrom(0)
}

describe("LineWriter", () => {
  it("grows with what is written and keeps parts handed out before", () => {
    const line = new LineWriter(4)
    line.ascii("abcd")
    const part = line.bytes.subarray(0, 4)
    line.ascii("e".repeat(100))
    assert.strictEqual(Buffer.from(part).toString(), "abcd")
    assert.strictEqual(line.textFrom(2), "cd" + "e".repeat(100))
    assert.strictEqual(line.length, 104)
  })

  it("takes back what is behind a length that is set", () => {
    const line = new LineWriter(8)
    line.ascii("kept")
    line.ascii("lost")
    line.length = 4
    line.ascii("!")
    assert.strictEqual(line.textFrom(0), "kept!")
  })

  it("writes any text as UTF-8", () => {
    assert.strictEqual(written((line) => line.utf8("µs · 水 🚢")), "µs · 水 🚢")
  })

  it("escapes what could forge a line or a field, from the first such character on", () => {
    const evil = "a b\"c\\d\r\n\u007f\u00e9\u2028z"
    assert.strictEqual(written((line) => line.quoted(evil)), "a b\\\"c\\\\d\\x0d\\x0a\\x7f\\xe9\\u2028z")
    assert.strictEqual(written((line) => line.bare(evil)), "a\\x20b\\\"c\\\\d\\x0d\\x0a\\x7f\\xe9\\u2028z")
    assert.strictEqual(written((line) => line.bare("clean")), "clean")
  })

  it("writes JSON strings that any reader takes back, in printable ASCII", () => {
    for (
      const text of ["", "GET /x?y=z~ !", "\"", "\\", "\t", "\u007f", "\u0000", "é", "a\n", "\u2028", "😀", "\ud800"]
    ) {
      const line = new LineWriter(1)
      line.json(text)
      const written = line.textFrom(0)
      assert.match(written, /^"[\x20-\x7e]*"$/)
      assert.strictEqual(JSON.parse(written), text)
    }
  })
})
