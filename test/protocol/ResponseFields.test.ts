import { assert, describe, it } from "@effect/vitest"
import { checkHeader, type HeaderList, ResponseFields } from "../../src/protocol/ResponseFields.ts"

const read = (...headers: HeaderList): ResponseFields => {
  const fields = new ResponseFields()
  assert.isUndefined(fields.read(headers))
  return fields
}

const control = Array.from({ length: 0x20 }, (_, code) => code).filter((code) => code !== 9).concat(0x7f)

describe("ResponseFields", () => {
  it("writes one line for each header, in order, duplicates kept", () => {
    const fields = read(["x-a", "1"], ["Content-Type", "text/html"], ["set-cookie", "a"], ["set-cookie", "b"], [
      "x-empty",
      ""
    ])
    assert.strictEqual(
      fields.lines,
      "x-a: 1\r\nContent-Type: text/html\r\nset-cookie: a\r\nset-cookie: b\r\nx-empty: \r\n"
    )
    assert.deepInclude(fields, { contentLength: -1, hasDate: false, hasServer: false, close: false })
    assert.strictEqual(read().lines, "")
  })

  it("notices Date and Server in any case", () => {
    assert.deepInclude(read(["DATE", "x"]), { lines: "date: x\r\n", hasDate: true, hasServer: false })
    assert.deepInclude(read(["Server", "x"]), { lines: "server: x\r\n", hasDate: false, hasServer: true })
  })

  it("takes out what belongs to the connection", () => {
    const fields = read(["Connection", "x-hop"], ["Keep-Alive", "timeout=5"], ["Transfer-Encoding", "chunked"], [
      "transfer-encoding",
      "gzip"
    ], ["a", "b"])
    assert.deepInclude(fields, { lines: "a: b\r\n", close: false, contentLength: -1 })
  })

  it("keeps other names of the same length", () => {
    const headers = [["etag", "1"], ["expect", "2"], ["user-agent", "3"], ["accept-charset", "4"], [
      "if-modified-sinc",
      "5"
    ], ["x-frame-options-x", "6"]] as const
    assert.strictEqual(read(...headers).lines, headers.map(([name, value]) => `${name}: ${value}\r\n`).join(""))
  })

  it("closes when the application asks for it", () => {
    for (const value of ["close", "Close", "keep-alive, close", "close ,x", "a,\tclose"]) {
      assert.isTrue(read(["connection", value]).close, value)
    }
    for (const value of ["keep-alive", "closed", "x-close", "close x", ""]) {
      assert.isFalse(read(["connection", value]).close, value)
    }
    assert.isTrue(read(["connection", "close"], ["connection", "keep-alive"]).close)
  })

  it("remembers Content-Length, which may come twice if it is the same", () => {
    assert.deepInclude(read(["Content-Length", "5"]), { contentLength: 5, lines: "" })
    assert.strictEqual(read(["content-length", "0"]).contentLength, 0)
    assert.strictEqual(read(["content-length", "5"], ["content-length", "005"]).contentLength, 5)
    assert.strictEqual(read(["content-length", "9007199254740991"]).contentLength, Number.MAX_SAFE_INTEGER)
  })

  it("refuses a Content-Length that is not one decimal number", () => {
    for (
      const value of ["", "-1", "+1", "1.0", "0x1", "1e3", " 1", "1 ", "1,1", "a", "9007199254740992", "9".repeat(400)]
    ) {
      assert.deepStrictEqual(new ResponseFields().read([["Content-Length", value]]), {
        name: "content-length",
        problem: "it is not one decimal number"
      })
    }
    assert.isDefined(new ResponseFields().read([["content-length", "5"], ["content-length", "6"]]))
  })

  it("describes the last list that was read", () => {
    const fields = new ResponseFields()
    fields.read([["date", "x"], ["server", "y"], ["connection", "close"], ["content-length", "5"]])
    assert.isUndefined(fields.read([["a", "b"]]))
    assert.deepInclude(fields, { lines: "a: b\r\n", contentLength: -1, hasDate: false, hasServer: false, close: false })
  })

  it("refuses values with CR, LF, NUL or any other control but HTAB", () => {
    for (const code of control) {
      for (
        const value of [String.fromCharCode(code), `a${String.fromCharCode(code)}`, `${String.fromCharCode(code)}b`]
      ) {
        assert.deepStrictEqual(new ResponseFields().read([["ok", "1"], ["x", value]]), {
          name: "x",
          problem: "the value has a control character or one above U+00FF"
        })
      }
    }
    assert.isUndefined(checkHeader("x", " \t~\x80\xff"))
  })

  it("refuses values with a character above U+00FF", () => {
    for (const value of ["\u0100", "\u20ac", "\u{1f600}", "\u010a", "\u010d", "\u560a", "\uff0a"]) {
      assert.isDefined(checkHeader("x", value))
    }
  })

  it("refuses names that are not tokens", () => {
    assert.strictEqual(checkHeader("", "v"), "the name is empty")
    const bad = [...control, 9, 0x20, 0x3a, 0x28, 0x2f, 0x40, 0x5b, 0x7b, 0x80, 0xff, 0x100, 0x10a, 0x20ac]
    for (const code of bad) {
      for (
        const name of [String.fromCharCode(code), `x${String.fromCharCode(code)}`, `${String.fromCharCode(code)}x`]
      ) {
        assert.strictEqual(checkHeader(name, "v"), "the name has a character that is not allowed")
      }
    }
    assert.isUndefined(checkHeader("!#$%&'*+-.^_`|~09AZaz", ""))
  })

  it("refuses fields of the connection as well, when they are not clean", () => {
    for (const name of ["connection", "keep-alive", "transfer-encoding", "content-length"]) {
      assert.isDefined(new ResponseFields().read([[name, "1\r\nx: y"]]))
    }
  })

  it("refuses what is not a pair of strings, and does not throw", () => {
    const nothing = Object.create(null)
    const wrong: ReadonlyArray<readonly [header: unknown, name: string]> = [
      [undefined, "header 0"],
      [null, "header 0"],
      [[], "header 0"],
      [["x"], "x"],
      [["x", 1], "x"],
      [[1, "x"], "header 0"],
      [[Symbol("x"), "x"], "header 0"],
      [[nothing, nothing], "header 0"],
      [5, "header 0"],
      ["a: b", "header 0"]
    ]
    for (const [header, name] of wrong) {
      assert.deepStrictEqual(new ResponseFields().read([header as never]), {
        name,
        problem: "name and value must be strings"
      })
    }
  })
})
