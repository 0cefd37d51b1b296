import { assert, describe, it } from "@effect/vitest"
import * as RouteTarget from "../../../src/app/internal/RouteTarget.ts"

describe("RouteTarget", () => {
  it("takes the mount point off the raw path", () => {
    const cases: ReadonlyArray<readonly [rawPath: string, rootPath: string, path: string, raw: string]> = [
      ["/a/b", "", "/a/b", "/a/b"],
      ["/a/b", "/a", "/b", "/b"],
      ["/a", "/a", "/", "/"],
      ["/a/", "/a", "/", "/"],
      ["/ab", "/a", "/ab", "/ab"],
      ["/b", "/a", "/b", "/b"],
      ["/a%2Fb/c%2Fd", "/a/b", "/c/d", "/c%2Fd"],
      ["/a%2Fc", "/a", "/a/c", "/a%2Fc"],
      ["/%C3%A9/x", "/é", "/x", "/x"],
      ["/%F0%9F%9A%A2/%F0%9F%9A%A2", "/🚢", "/🚢", "/%F0%9F%9A%A2"],
      ["/%FF/%41", "/\xff", "/A", "/%41"],
      ["/%zz/x", "/%zz", "/x", "/x"],
      ["/%61", "/a", "/", "/"],
      ["*", "", "*", "*"]
    ]
    for (const [rawPath, rootPath, path, raw] of cases) {
      assert.strictEqual(RouteTarget.pathOf({ path, rawPath, rootPath }), raw, `${rawPath} below ${rootPath}`)
    }
  })

  it("takes off what a proxy has left of the mount point", () => {
    const cases: ReadonlyArray<readonly [rawPath: string, rootPath: string, path: string, raw: string]> = [
      ["/admin/x%2Fy", "/app/admin", "/x/y", "/x%2Fy"],
      ["/admin", "/app/admin", "/", "/"],
      ["/admin/", "/app/admin", "/", "/"],
      ["/%C3%A9/%C3%A9", "/app/é", "/é", "/%C3%A9"],
      ["/x", "/app", "/x", "/x"],
      ["/rewritten", "/app", "/other", "/rewritten"]
    ]
    for (const [rawPath, rootPath, path, raw] of cases) {
      assert.strictEqual(RouteTarget.pathOf({ path, rawPath, rootPath }), raw, `${rawPath} below ${rootPath}`)
    }
  })

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
