import { assert, describe, it } from "@effect/vitest"
import * as RequestTarget from "../../src/protocol/RequestTarget.ts"
import { readOne, refused } from "../utils/splits.ts"

const parts = (method: string, target: string): ReadonlyArray<string | undefined> | undefined => {
  const parsed = RequestTarget.parse(method, target)
  return parsed && [parsed.rawPath, parsed.queryString, parsed.authority]
}

describe("RequestTarget", () => {
  describe("parse", () => {
    const cases: ReadonlyArray<
      readonly [method: string, target: string, path: string, query: string, authority?: string]
    > = [
      ["GET", "/", "/", ""],
      ["GET", "/a/b", "/a/b", ""],
      ["GET", "//h/a", "//h/a", ""],
      ["GET", "/a?", "/a", ""],
      ["GET", "/a?b=c?d", "/a", "b=c?d"],
      ["GET", "/a#f", "/a", ""],
      ["GET", "/a?b#f?g", "/a", "b"],
      ["GET", "/a#f?g", "/a", ""],
      ["GET", "/%2e%2E/?%3f", "/%2e%2E/", "%3f"],
      ["GET", "/:80", "/:80", ""],
      ["GET", "/http://h/", "/http://h/", ""],
      ["GET", "/\\\"<>^`{|}", "/\\\"<>^`{|}", ""],
      ["GET", "http://h", "/", "", "h"],
      ["GET", "http://h/", "/", "", "h"],
      ["GET", "HTTPS://H:8/a?b", "/a", "b", "H:8"],
      ["GET", "http://h?b", "/", "b", "h"],
      ["GET", "http://h#f", "/", "", "h"],
      ["GET", "http://h/a?b=http://c/", "/a", "b=http://c/", "h"],
      ["GET", "http://u:p@h/", "/", "", "h"],
      ["GET", "http://@h/", "/", "", "h"],
      ["GET", "http://[::1]:8/a", "/a", "", "[::1]:8"],
      ["OPTIONS", "http://h", "/", "", "h"],
      ["OPTIONS", "*", "*", ""],
      ["M-SEARCH", "*", "*", ""]
    ]
    for (const [method, target, path, query, authority] of cases) {
      it(`reads ${method} ${target}`, () => assert.deepStrictEqual(parts(method, target), [path, query, authority]))
    }

    const refusals = [
      "*a",
      "**",
      "a",
      "a/b",
      "h:80",
      "?a",
      "#a",
      ":",
      "http:/h/",
      "http:///a",
      "http://",
      "http://?a",
      "http://:80/",
      "http://u@/",
      "http://u@:80/",
      "http://h:x/",
      "http://[::1/",
      "http://h\\@g/",
      "http://u@v@h/",
      "http://a%/",
      "ftp://h/",
      "httpx://h/",
      "http//h/",
      "file:///a",
      "urn:a",
      "\\"
    ]
    for (const target of refusals) {
      it(`refuses GET ${target}`, () => {
        assert.isUndefined(parts("GET", target))
        assert.strictEqual(refused(`GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`), "TargetInvalid")
      })
    }

    it("refuses the asterisk for other methods than those that name no resource", () => {
      for (const method of ["GET", "POST", "HEAD", "options", "PRI"]) assert.isUndefined(parts(method, "*"))
    })
  })

  it("knows an authority with a port, which is all that CONNECT takes", () => {
    for (const text of ["h:80", "1.2.3.4:443", "[::1]:443"]) assert.isTrue(RequestTarget.isAuthority(text))
    for (const text of ["h", "h:", ":80", "[::1]", "h:8x", "a::80", "u@h:80", "http://h:80", "/", "h:80/"]) {
      assert.isFalse(RequestTarget.isAuthority(text))
    }
  })

  describe("decodePath", () => {
    const cases = [
      ["/a%20b", "/a b"],
      ["/%e2%82%ac", "/\u20ac"],
      ["/%F0%9F%98%80", "/\u{1f600}"],
      ["/%EF%BB%BFa", "/\ufeffa"],
      ["/%2f%2E%2e%00", "/\x2f..\0"],
      ["/%252f", "/%2f"],
      ["/%", "/%"],
      ["/%4", "/%4"],
      ["/%zz%41", "/%zzA"],
      ["/%zz%c3%a9", "/%zz\xe9"],
      ["/%ff", "/\xff"],
      ["/%c3", "/\xc3"],
      ["/%c3%28%e2%82%ac", "/\xc3(\xe2\x82\xac"],
      ["/%c0%af", "/\xc0\xaf"],
      ["/%ed%a0%80", "/\xed\xa0\x80"],
      ["/%f0%9f%98", "/\xf0\x9f\x98"],
      ["/%EF%BF%BD", "/\ufffd"],
      ["/%zz%EF%BF%BD", "/%zz\ufffd"],
      ["/%EF%BF%BD%ff", "/\xef\xbf\xbd\xff"],
      ["/a+b", "/a+b"]
    ] as const
    for (const [raw, path] of cases) {
      it(`decodes ${raw}, and never fails`, () => {
        assert.strictEqual(RequestTarget.decodePath(raw), path)
        const { head } = readOne(`GET ${raw} HTTP/1.1\r\nHost: a\r\n\r\n`)
        assert.strictEqual(head.path, path)
        assert.strictEqual(head.rawPath, raw)
      })
    }
  })
})
