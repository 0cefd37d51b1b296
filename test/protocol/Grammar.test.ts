import { assert, describe, it } from "@effect/vitest"
import * as Grammar from "../../src/protocol/Grammar.ts"

const codes = Array.from({ length: 256 }, (_, code) => code)
const accepted = (table: Uint8Array): string =>
  codes.filter((code) => table[code] !== 0).map((code) => String.fromCharCode(code)).join("")
const matching = (pattern: RegExp): string =>
  codes.map((code) => String.fromCharCode(code)).filter((text) => pattern.test(text)).join("")

describe("Grammar", () => {
  it("has one table for each production", () => {
    assert.strictEqual(accepted(Grammar.token), matching(/[!#$%&'*+\-.^_`|~0-9A-Za-z]/))
    assert.strictEqual(accepted(Grammar.fieldValue), matching(/[\t\x20-\x7e\x80-\xff]/))
    assert.strictEqual(accepted(Grammar.target), matching(/[\x21-\x7e]/))
    assert.strictEqual(accepted(Grammar.hostName), matching(/[A-Za-z0-9\-._~!$&'()*+,;=]/))
    assert.strictEqual(accepted(Grammar.ipLiteral), matching(/[A-Za-z0-9:.%\-_~]/))
    assert.strictEqual(accepted(Grammar.digit), "0123456789")
    assert.strictEqual(accepted(Grammar.quotedText), matching(/[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]/))
  })

  it("lowers ASCII letters and nothing else", () => {
    for (const code of codes) {
      const text = String.fromCharCode(code)
      assert.strictEqual(String.fromCharCode(Grammar.lower[code]!), /[A-Z]/.test(text) ? text.toLowerCase() : text)
    }
  })

  it("knows hexadecimal digits in both cases", () => {
    for (const code of codes) {
      const text = String.fromCharCode(code)
      assert.strictEqual(Grammar.hex[code], /[0-9a-fA-F]/.test(text) ? parseInt(text, 16) : 255)
    }
  })

  describe("isHost", () => {
    const valid = [
      "",
      "a",
      "example.com",
      "EXAMPLE.com:80",
      "1.2.3.4",
      "1.2.3.4:65535",
      "a_b-c~d",
      "h:",
      ":80",
      "[::1]",
      "[::1]:8080",
      "[fe80::1%25en0]:80",
      "[::ffff:1.2.3.4]",
      "%61.b",
      "a%2Fb:1",
      "sub!$&'()*+,;=delims"
    ]
    const invalid = [
      " ",
      "a b",
      "a\tb",
      "a/b",
      "a?b",
      "a#b",
      "a@b",
      "a\\b",
      "a:b",
      "a:80:80",
      "a:-1",
      "a:80 ",
      "a\x80",
      "\xe9.com",
      "a\x00",
      "%",
      "%6",
      "%g1",
      "%1g",
      "a%",
      "a%2",
      "[",
      "[]",
      "[a]",
      "[::1",
      "[::1]x",
      "[::1]80",
      "[::1]:x",
      "[::1]]",
      "::1",
      "[:: 1]",
      "[[::1]]",
      "]",
      "a\u0100",
      "<x>",
      "\"a\"",
      "{a}",
      "a|b",
      "^",
      "`"
    ]
    for (const value of valid) it(`accepts ${JSON.stringify(value)}`, () => assert.isTrue(Grammar.isHost(value)))
    for (const value of invalid) it(`refuses ${JSON.stringify(value)}`, () => assert.isFalse(Grammar.isHost(value)))
  })
})
