import { assert, describe, it } from "@effect/vitest"
import { isOws, isToken, items, lowerItems, withoutOws } from "../../src/protocol/FieldList.ts"

describe("FieldList", () => {
  it("takes spaces and tabs away, and nothing else", () => {
    for (const text of ["a", " a", "a ", "\t a \t"]) assert.strictEqual(withoutOws(text), "a")
    for (const text of ["", " ", " \t \t"]) assert.strictEqual(withoutOws(text), "")
    for (const text of ["\xa0a\xa0", "a b", "\x0ba\x0c", "\ufeffa"]) assert.strictEqual(withoutOws(text), text)
    const white = Array.from({ length: 256 }, (_, code) => code).filter(isOws)
    assert.deepStrictEqual(white, [0x09, 0x20])
  })

  it("splits at commas, and keeps empty items and case", () => {
    assert.deepStrictEqual(items("A, b\t,c d ,, \"e"), ["A", "b", "c d", "", "\"e"])
    assert.deepStrictEqual(items(""), [""])
    assert.deepStrictEqual(lowerItems("A, \tKeep-Alive"), ["a", "keep-alive"])
  })

  it("knows a token", () => {
    for (const text of ["a", "graphql-ws", "!#$%&'*+-.^_`|~09AZ"]) assert.isTrue(isToken(text), text)
    for (const text of ["", " ", "a b", "a/b", "a;b", "\"a\"", "a\0", "\x80", "\u0161", "\u20ac"]) {
      assert.isFalse(isToken(text), JSON.stringify(text))
    }
  })
})
