import { assert, describe, it } from "@effect/vitest"
import * as RouteTarget from "../../../src/app/internal/RouteTarget.ts"

describe("RouteTarget", () => {
  it("cuts at slashes and decodes afterwards", () => {
    assert.deepStrictEqual(RouteTarget.segmentsOf("/"), [""])
    assert.deepStrictEqual(RouteTarget.segmentsOf("/a//b/"), ["a", "", "b", ""])
    assert.deepStrictEqual(RouteTarget.segmentsOf("/a%2Fb/%25/%C3%A9"), ["a/b", "%", "é"])
  })

  it("reads hosts without port, case and final dot", () => {
    const host = (value: string) => RouteTarget.hostOf({ headers: [["host", value]] })
    const cases = {
      "A.Test": "a.test",
      "a.test:80": "a.test",
      "a.test.:80": "a.test",
      "[::1]:80": "[::1]",
      "[::1]": "[::1]"
    }
    for (const [value, expected] of Object.entries(cases)) assert.strictEqual(host(value), expected)
    assert.strictEqual(RouteTarget.hostOf({ headers: [] }), "")
  })

  it("keeps locations on the site", () => {
    assert.strictEqual(RouteTarget.location("", "/a", "q"), "/a?q")
    assert.strictEqual(RouteTarget.location("/é x", "/a"), "/%C3%A9%20x/a")
    for (const path of ["//evil.test/", "/\\evil.test/", "\\\\evil.test/", "///evil.test/"]) {
      assert.strictEqual(new URL(RouteTarget.location("", path), "http://own.test").host, "own.test", path)
    }
  })
})
