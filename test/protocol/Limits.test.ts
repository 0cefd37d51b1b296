import { assert, describe, it } from "@effect/vitest"
import { defaults } from "../../src/protocol/Limits.ts"

describe("Limits", () => {
  it("bounds everything by default", () => {
    assert.deepStrictEqual(defaults, {
      requestLineBytes: 8192,
      headerBytes: 8192,
      headerCount: 100,
      bodyBytes: 10_000_000,
      chunkExtensionBytes: 16_384
    })
  })
})
