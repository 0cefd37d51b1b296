import { assert, describe, it } from "@effect/vitest"
import { MessageReader } from "../../../layers/internal/WebSocketReader.ts"
import { fragments, frame, ping, text } from "../../utils/webSocket.ts"

/** A reader, and what it has emitted. */
const reading = (limit = 1_048_576) => {
  const reader = new MessageReader(limit, undefined)
  const messages: Array<string> = []
  const errors: Array<unknown> = []
  reader.on("message", (data: Buffer, isBinary: boolean) => messages.push(isBinary ? data.toString("hex") : `${data}`))
  reader.on("ping", (data: Buffer) => messages.push(`ping ${data}`))
  reader.on("error", (error) => errors.push(error))
  return { reader, messages, errors }
}

describe("MessageReader", () => {
  it("holds a few buffers for a frame that comes byte by byte", () => {
    const { messages, reader } = reading()
    const payload = Array.from({ length: 100_000 }, (_, n) => String.fromCharCode(97 + n % 26)).join("")
    const bytes = text(payload)
    let most = 0
    for (let at = 0; at < bytes.length; at++) {
      reader.write(bytes.subarray(at, at + 1))
      most = Math.max(most, reader._buffers.length)
    }
    assert.isAtMost(most, 64 + 100_000 / 4096 + 1)
    assert.deepStrictEqual(messages, [payload])
  })

  it("leaves large reads as they come", () => {
    const { messages, reader } = reading()
    const bytes = text("x".repeat(1_000_000))
    for (let at = 0; at < bytes.length; at += 5000) reader.write(bytes.subarray(at, at + 5000))
    assert.strictEqual(messages[0]!.length, 1_000_000)
  })

  it("holds a few buffers for a message of many fragments, whole and right", () => {
    for (const [opcode, parts] of [[1, ["€", "a", ""]], [2, [Buffer.from([0xff, 0x80]), Buffer.from([0])]]] as const) {
      const { messages, reader } = reading()
      const all = Array.from({ length: 20_000 }, (_, n) => parts[n % parts.length]!)
      let most = 0
      for (const bytes of fragments(opcode, all)) {
        reader.write(bytes)
        most = Math.max(most, reader._fragments.length)
      }
      assert.isAtMost(most, 64 + 30_000 / 4096 + 1)
      const whole = Buffer.concat(all.map((part) => Buffer.from(part)))
      assert.deepStrictEqual(messages, [opcode === 1 ? whole.toString() : whole.toString("hex")])
    }
  })

  it("stops behind the present message when it is held back, and goes on where it stopped", () => {
    const { messages, reader } = reading()
    reader.on("message", () => reader.holdBack(true))
    reader.write(Buffer.concat([text("one"), ping("p"), text("two"), frame(1, "th", { fin: false }), frame(0, "ree")]))
    assert.deepStrictEqual(messages, ["one"])
    assert.isTrue(reader.isInside)
    reader.holdBack(false)
    assert.deepStrictEqual(messages, ["one", "ping p", "two"])
    reader.holdBack(false)
    assert.deepStrictEqual(messages, ["one", "ping p", "two", "three"])
    reader.holdBack(false)
    assert.isFalse(reader.isInside)
    assert.isTrue(reader.isBetweenMessages)
  })

  it("knows whether it is inside a frame, and inside a message", () => {
    const { reader } = reading()
    const facts = () => [reader.isInside, reader.isBetweenMessages]
    assert.deepStrictEqual(facts(), [false, true])
    const first = frame(1, "hello", { fin: false })
    reader.write(first.subarray(0, 4))
    assert.deepStrictEqual(facts(), [true, false])
    reader.write(first.subarray(4))
    assert.deepStrictEqual(facts(), [false, false])
    reader.write(frame(0, ""))
    assert.deepStrictEqual(facts(), [false, true])
  })

  it("says when it has stopped, also when it was held back, and reads nothing more", async () => {
    const { messages, reader } = reading()
    reader.on("message", () => reader.holdBack(true))
    reader.write(Buffer.concat([text("one"), text("two")]))
    await new Promise<void>((resolve) => reader.stop(resolve))
    assert.deepStrictEqual(messages, ["one"])
    let again = false
    reader.stop(() => again = true)
    assert.isTrue(again)
  })
})
