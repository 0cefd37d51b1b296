import { assert, describe, it } from "@effect/vitest"
import { BINARY, CLOSE, frameHead, isCloseCode, PING, PONG, TEXT } from "../../src/protocol/WebSocketFrame.ts"

const hex = (text: string): string => Buffer.from(text, "latin1").toString("hex")

describe("WebSocketFrame", () => {
  describe("frameHead", () => {
    const heads: ReadonlyArray<readonly [opcode: number, length: number, head: string]> = [
      [TEXT, 0, "8100"],
      [TEXT, 5, "8105"],
      [BINARY, 125, "827d"],
      [BINARY, 126, "827e007e"],
      [TEXT, 255, "817e00ff"],
      [TEXT, 256, "817e0100"],
      [TEXT, 65_535, "817effff"],
      [BINARY, 65_536, "827f0000000000010000"],
      [BINARY, 16_777_216, "827f0000000001000000"],
      [TEXT, 0x7fffffff, "817f000000007fffffff"],
      [TEXT, 0x80000000, "817f0000000080000000"],
      [TEXT, 0xffffffff, "817f00000000ffffffff"],
      [TEXT, 0x100000000, "817f0000000100000000"],
      [BINARY, Number.MAX_SAFE_INTEGER, "827f001fffffffffffff"],
      [CLOSE, 2, "8802"],
      [PING, 0, "8900"],
      [PONG, 125, "8a7d"]
    ]
    for (const [opcode, length, head] of heads) {
      it(`is ${head} for opcode ${opcode} and ${length} bytes`, () => {
        assert.strictEqual(hex(frameHead(opcode, length)), head)
        assert.strictEqual(hex(frameHead(opcode, length)), head)
      })
    }

    it("does not mix up the heads that it remembers", () => {
      const found = new Set<string>()
      for (const opcode of [TEXT, BINARY, CLOSE, PING, PONG]) {
        for (let length = 0; length < 126; length++) {
          const head = frameHead(opcode, length)
          assert.deepStrictEqual([head.charCodeAt(0), head.charCodeAt(1), head.length], [0x80 | opcode, length, 2])
          found.add(head)
        }
      }
      assert.strictEqual(found.size, 5 * 126)
    })
  })

  describe("isCloseCode", () => {
    it("takes the codes that may be sent, and no others", () => {
      const taken = Array.from({ length: 6000 }, (_, code) => code).filter((code) => isCloseCode(code))
      const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n)
      assert.deepStrictEqual(taken, [...range(1000, 1003), ...range(1007, 1014), ...range(3000, 4999)])
    })

    it("takes whole numbers only", () => {
      for (const code of [1000.5, NaN, Infinity, -1000, "1000", undefined, null, 1000n]) {
        assert.isFalse(isCloseCode(code))
      }
    })
  })
})
