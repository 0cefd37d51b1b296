import { assert, describe, it } from "@effect/vitest"
import { constants } from "node:buffer"
import * as Envelope from "../../../layers/internal/PubSubEnvelope.ts"

const plain = (envelope: Envelope.Envelope | undefined) =>
  envelope === undefined || typeof envelope.data === "string"
    ? envelope
    : { ...envelope, data: { bytes: [...envelope.data], isBuffer: envelope.data instanceof Buffer } }

describe("PubSubEnvelope", () => {
  const payloads = ["", "text", "snow ☃ 😀\u0000;,\r\n", new Uint8Array(0), Uint8Array.of(0, 83, 49, 255, 59)]
  for (const kind of ["publish", "send", "answer", "mark"] as const) {
    for (const [id, names] of [[undefined, []], ["1-0", ["a.b"]], ["p1.z", ["a.1", "b:_-.2", "c"]]] as const) {
      it(`reads what it wrote: ${kind}, id ${id}, ${names.length} names`, () => {
        for (const data of payloads) {
          const envelope = { kind, id, names, data }
          assert.deepStrictEqual(plain(Envelope.decode(Envelope.encode(envelope))), plain(envelope))
          assert.deepStrictEqual(Buffer.from(Envelope.write(envelope)), Buffer.from(Envelope.encode(envelope)))
        }
      })
    }
  }

  it("has a place for the id that a broker gives", () => {
    const message = `${Envelope.beforeId("publish", "x")}17-3${Envelope.afterId(["a.1"], "x")}`
    assert.deepStrictEqual(Envelope.decode(Buffer.from(message)), {
      kind: "publish",
      id: "17-3",
      names: ["a.1"],
      data: "x"
    })
  })

  it("leaves out names that no channel can have, so that none of them ends the header", () => {
    const written = Envelope.encode({
      kind: "publish",
      id: undefined,
      names: ["a;b", "c,d", "", "e.1", "☃"],
      data: "x"
    })
    assert.deepStrictEqual(Envelope.decode(written)?.names, ["e.1"])
    assert.strictEqual(Envelope.decode(written)?.data, "x")
  })

  it("reads what others wrote as a publication, text where it is UTF-8", () => {
    const foreign = { kind: "publish" as const, id: undefined, names: [] }
    assert.deepStrictEqual(Envelope.decode(Buffer.from("hello ☃")), { ...foreign, data: "hello ☃" })
    assert.deepStrictEqual(Envelope.decode(Buffer.alloc(0)), { ...foreign, data: "" })
    assert.deepStrictEqual(Envelope.decode(Buffer.of(0)), { ...foreign, data: "\0" })
    assert.deepStrictEqual(Envelope.decode(Buffer.of(255, 0)), { ...foreign, data: Uint8Array.of(255, 0) })
  })

  it("reads what is too long for a text as bytes", () => {
    const data = Envelope.decode(Buffer.alloc(constants.MAX_STRING_LENGTH + 1))?.data
    assert.strictEqual(data?.length, constants.MAX_STRING_LENGTH + 1)
  })

  for (
    const broken of [
      "",
      "P",
      "Pt",
      "Xt;;",
      "Px;;",
      "Pt;",
      "Pt1",
      "Pt1;a",
      "Pt\u0001;;x",
      "Pta..b;;x",
      "Pt;a,;x",
      "Pt;,;x"
    ]
  ) {
    it(`gives nobody a message with a broken header: ${JSON.stringify(broken)}`, () => {
      assert.strictEqual(Envelope.decode(Buffer.from("\0S1" + broken, "latin1")), undefined)
    })
  }

  it("never throws, whatever the bytes are, and reads bytes that stand in the middle of others", () => {
    const whole = Envelope.encode({ kind: "send", id: "p.1", names: ["p.2"], data: "text" })
    for (let at = 0; at < whole.length; at++) {
      for (const byte of [0, 44, 59, 98, 255]) {
        const changed = Uint8Array.from(whole)
        changed[at] = byte
        Envelope.decode(changed)
        Envelope.decode(changed.subarray(0, at))
      }
    }
    const around = Uint8Array.from([1, 2, 3, ...whole, 4])
    assert.deepStrictEqual(Envelope.decode(around.subarray(3, -1)), Envelope.decode(whole))
  })

  it("does not keep a whole read alive for a few bytes", () => {
    const read = Buffer.concat([
      Envelope.encode({ kind: "publish", id: undefined, names: [], data: Uint8Array.of(1) }),
      Buffer.alloc(1000)
    ])
    const data = Envelope.decode(read.subarray(0, 8))?.data
    assert.deepStrictEqual(data, Uint8Array.of(1))
    assert.strictEqual((data as Uint8Array).buffer.byteLength, 1)
  })
})
