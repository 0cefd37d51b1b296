import { assert, describe, it } from "@effect/vitest"
import Zlib from "node:zlib"
import { isExtensionList, negotiate } from "../../../layers/internal/WebSocketDeflate.ts"
import { faultOf, MessageReader, type ReadFault } from "../../../layers/internal/WebSocketReader.ts"
import { fromSettings } from "../../../layers/internal/WireSettings.ts"
import { resolve, type ServerOptions } from "../../../src/schema/Settings.ts"
import { deflated, text } from "../../utils/webSocket.ts"

const settingsOf = (options: ServerOptions) => {
  const resolved = resolve(options)
  if (resolved._tag === "Failure") throw resolved.failure
  return fromSettings(resolved.success)
}

describe("WebSocketDeflate", () => {
  it("stops inflating at the limit, whatever would follow", async () => {
    let inflatedBytes = 0
    const create = Zlib.createInflateRaw
    const counting: typeof create = (options) =>
      create(options).on("data", (chunk: Buffer) => inflatedBytes += chunk.length)
    const replace = (value: typeof create) => Object.defineProperty(Zlib, "createInflateRaw", { value })
    replace(counting)
    try {
      for (const wsCompressionContext of [true, false]) {
        inflatedBytes = 0
        const settings = settingsOf({ wsCompression: true, wsCompressionContext, wsMaxMessageBytes: 100_000 })
        const agreement = negotiate("permessage-deflate", settings)!
        const reader = new MessageReader(settings.wsMaxMessageBytes, agreement.deflate)
        const fault = new Promise<ReadFault>((found) => reader.on("error", (error) => found(faultOf(error))))
        reader.write(text(deflated(Buffer.alloc(50_000_000)), { rsv: 4 }))
        assert.deepStrictEqual(await fault, { code: 1009, reason: "body_too_large" })
        assert.isAtLeast(inflatedBytes, 100_000)
        assert.isBelow(inflatedBytes, 200_000)
        await new Promise<void>((stopped) => reader.stop(stopped))
        agreement.deflate.cleanup()
      }
    } finally {
      replace(create)
    }
  })

  it("keeps a limit that the library's 32 bits would turn into none", () => {
    const settings = settingsOf({ wsCompression: true, wsMaxMessageBytes: 2 ** 32 })
    const { deflate } = negotiate("permessage-deflate", settings)!
    const { _maxPayload: kept } = deflate as unknown as { readonly _maxPayload: number }
    assert.isAbove(kept, 500_000_000)
    assert.isAbove(new MessageReader(2 ** 32, undefined)._maxPayload, 500_000_000)
  })

  for (
    const [list, isValid] of [
      ["permessage-deflate", true],
      ["foo; a=1; b=\"2\"; c, bar", true],
      ["foo;", false],
      ["foo; a=", false],
      ["foo; a=\"1 2\"", false],
      [";", false],
      ["a b", false],
      [",", false]
    ] as const
  ) {
    it(`calls ${list} ${isValid ? "a list" : "no list"} of extensions`, () => {
      assert.strictEqual(isExtensionList(list), isValid)
    })
  }
})
