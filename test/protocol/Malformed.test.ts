import { assert, describe, it } from "@effect/vitest"
import { malformed, reasons } from "../../src/protocol/Malformed.ts"

describe("Malformed", () => {
  it("has one frozen value for each reason, with a status of the client's or ours", () => {
    assert.deepStrictEqual(Object.keys(malformed), [...reasons])
    for (const reason of reasons) {
      const fault = malformed[reason]
      assert.strictEqual(fault._tag, "Malformed")
      assert.strictEqual(fault.reason, reason)
      assert.include([400, 413, 414, 417, 426, 431, 501, 505], fault.status)
      assert.match(fault.message, /^(?:[a-z]|HTTP|Transfer-Encoding|CONNECT|[a-z]+ )[ -~]+[^.]$/)
      assert.isTrue(Object.isFrozen(fault))
    }
  })
})
