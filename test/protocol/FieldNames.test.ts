import { assert, describe, it } from "@effect/vitest"
import { Field, find, hashStep } from "../../src/protocol/FieldNames.ts"

const hashOf = (text: string): number =>
  Array.from(text).reduce((hash, letter) => hashStep(hash, letter.charCodeAt(0)), 0)
const lookUp = (text: string) => find(`<${text}>`, 1, text.length + 1, hashOf(text))

describe("FieldNames", () => {
  it("finds a known name in any case, as one lower-case string", () => {
    for (const text of ["host", "Host", "HOST", "hOsT"]) {
      assert.deepStrictEqual(lookUp(text), { ...lookUp("host")!, name: "host" })
    }
    assert.strictEqual(lookUp("User-Agent")?.name, "user-agent")
    assert.strictEqual(lookUp("SEC-WEBSOCKET-KEY")?.name, "sec-websocket-key")
  })

  it("says which fields the engine looks at", () => {
    const fields = {
      Host: "host",
      ContentLength: "content-length",
      TransferEncoding: "transfer-encoding",
      Connection: "connection",
      Expect: "expect",
      Cookie: "cookie",
      Accept: "accept",
      Upgrade: "upgrade",
      Other: "accept-encoding"
    } as const
    assert.sameMembers(Object.keys(fields), Object.keys(Field))
    for (const [field, name] of Object.entries(fields)) {
      assert.strictEqual(lookUp(name)?.field, Field[field as keyof typeof Field])
    }
  })

  it("does not find other names", () => {
    for (const text of ["", "x-other", "hos", "hostt", "content_length", "content-lengtH\x00"]) {
      assert.isUndefined(lookUp(text))
    }
  })

  it("does not take a name with the hash of a known one for it", () => {
    assert.strictEqual(hashOf("contenbmxaxhhc"), hashOf("content-length"))
    assert.isUndefined(lookUp("contenbmxaxhhc"))
    assert.strictEqual(hashOf("transfer-beoasdcp"), hashOf("transfer-encoding"))
    assert.isUndefined(lookUp("transfer-beoasdcp"))
    assert.strictEqual(hashOf("ltxslldmd"), hashOf("access-control-request-method"))
    assert.isUndefined(lookUp("ltxslldmd"))
  })
})
