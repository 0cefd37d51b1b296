import { assert, describe, it } from "@effect/vitest"
import * as Crypto from "node:crypto"
import { subjectName } from "../../../layers/internal/TlsName.ts"
import { certificates, type Subject } from "../../utils/certificates.ts"

const nameOf = async (subject: Subject): Promise<string | null> => {
  const { root } = await certificates()
  const { cert } = await root.issue({ subject })
  return subjectName(new Crypto.X509Certificate(cert).raw)
}

describe("subjectName", () => {
  for (
    const [what, subject, expected] of [
      ["puts the last component first", [{ C: ["DE"] }, { O: ["Example"] }, { CN: ["Ada"] }], "CN=Ada,O=Example,C=DE"],
      ["joins values that stand side by side with +", [{ O: ["x"] }, { CN: ["a"], OU: ["b"] }], "CN=a+OU=b,O=x"],
      ["keeps several values of one kind", [{ DC: ["test"] }, { DC: ["example"] }], "DC=example,DC=test"],
      [
        "escapes what has a meaning",
        [{ CN: [{ utf8String: `a,b+c"d\\e<f>g;h=i#j` }] }],
        String.raw`CN=a\,b\+c\"d\\e\<f\>g\;h=i#j`
      ],
      ["escapes a blank at either end", [{ CN: [" a b "] }], String.raw`CN=\ a b\ `],
      ["escapes a single blank once", [{ CN: [{ utf8String: " " }] }], String.raw`CN=\ `],
      ["escapes a number sign at the start", [{ CN: [{ utf8String: "#a#" }] }], String.raw`CN=\#a#`],
      ["escapes control characters", [{ CN: [{ utf8String: "a\r\nCN=root\0" }] }], String.raw`CN=a\0d\0aCN=root\00`],
      ["leaves other characters as they are", [{ CN: ["Zoë 日本 🚢"] }], "CN=Zoë 日本 🚢"],
      ["reads two-byte strings", [{ CN: [{ bmpString: "Ωmega" }] }], "CN=Ωmega"],
      ["keeps an empty value", [{ CN: [{ utf8String: "" }] }], "CN="],
      ["is empty for an empty name", [], ""],
      ["writes e-mail addresses as others do", [{ E: ["ada@example.test"] }], "emailAddress=ada@example.test"],
      [
        "knows the names of RFC 4519",
        [{ "2.5.4.5": ["7"] }, { "2.5.4.42": ["Ada"], "2.5.4.4": ["L"] }],
        "givenName=Ada+sn=L,serialNumber=7"
      ],
      [
        "writes a type it does not know as its number, and the value as bytes",
        [{ "1.3.6.1.4.1.311.60.2.1.3": [{ printableString: "DE" }] }, { "2.999.3": [{ utf8String: "é" }] }],
        "2.999.3=#0c02c3a9,1.3.6.1.4.1.311.60.2.1.3=#13024445"
      ]
    ] as ReadonlyArray<readonly [string, Subject, string]>
  ) {
    it(what, async () => {
      assert.strictEqual(await nameOf(subject), expected)
    })
  }

  it("writes a value that is not UTF-8, though it says so, as bytes", async () => {
    const { root } = await certificates()
    const { cert } = await root.issue({ subject: [{ CN: [{ utf8String: "MARK" }] }] })
    const der = Buffer.from(new Crypto.X509Certificate(cert).raw)
    der[der.indexOf("MARK")] = 0xff
    assert.strictEqual(subjectName(der), "CN=#0c04ff41524b")
  })

  it("is null for what is not a certificate, wherever it is cut", async () => {
    const { root } = await certificates()
    const der = new Crypto.X509Certificate(root.cert).raw
    for (let length = 0; length < der.length; length++) assert.isNull(subjectName(der.subarray(0, length)))
    assert.isNull(subjectName(Buffer.from("not DER at all")))
  })
})
