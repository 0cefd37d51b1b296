import { assert, describe, it } from "@effect/vitest"
import * as MountPoint from "../../src/protocol/MountPoint.ts"

describe("MountPoint", () => {
  it("takes the mount point off the raw path", () => {
    const cases: ReadonlyArray<readonly [rawPath: string, rootPath: string, path: string, raw: string]> = [
      ["/a/b", "", "/a/b", "/a/b"],
      ["/a/b", "/a", "/b", "/b"],
      ["/a", "/a", "/", ""],
      ["/a/", "/a", "/", "/"],
      ["/ab", "/a", "/ab", "/ab"],
      ["/b", "/a", "/b", "/b"],
      ["/a%2Fb/c%2Fd", "/a/b", "/c/d", "/c%2Fd"],
      ["/a%2Fc", "/a", "/a/c", "/a%2Fc"],
      ["/%C3%A9/x", "/é", "/x", "/x"],
      ["/%E2%82%AC/x", "/€", "/x", "/x"],
      ["/%F0%9F%9A%A2/%F0%9F%9A%A2", "/🚢", "/🚢", "/%F0%9F%9A%A2"],
      ["/%FF/%41", "/\xff", "/A", "/%41"],
      ["/%zz%61/x", "/%zza", "/x", "/x"],
      ["/%61", "/a", "/", ""],
      ["*", "", "*", "*"]
    ]
    for (const [rawPath, rootPath, path, raw] of cases) {
      assert.strictEqual(MountPoint.below({ path, rawPath, rootPath }), raw, `${rawPath} below ${rootPath}`)
    }
  })

  it("takes off what a proxy has left of the mount point", () => {
    const cases: ReadonlyArray<readonly [rawPath: string, rootPath: string, path: string, raw: string]> = [
      ["/admin/x%2Fy", "/app/admin", "/x/y", "/x%2Fy"],
      ["/admin", "/app/admin", "/", ""],
      ["/admin/", "/app/admin", "/", "/"],
      ["/%C3%A9/%C3%A9", "/app/é", "/é", "/%C3%A9"],
      ["/x", "/app", "/x", "/x"],
      ["/rewritten", "/app", "/other", "/rewritten"]
    ]
    for (const [rawPath, rootPath, path, raw] of cases) {
      assert.strictEqual(MountPoint.below({ path, rawPath, rootPath }), raw, `${rawPath} below ${rootPath}`)
    }
  })
})
