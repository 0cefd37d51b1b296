import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as AccessLogMemory from "../../layers/AccessLogMemory.ts"
import { AccessLog } from "../../src/service/AccessLog.ts"
import { accessLogContract, entry } from "../contract/AccessLog.ts"

accessLogContract("AccessLogMemory", (options) =>
  Effect.sync(() => {
    let shown: AccessLogMemory.Lines["Service"] | undefined
    return {
      layer: Layer.tap(AccessLogMemory.layer(options), (context) =>
        Effect.sync(() => {
          shown = Context.get(context, AccessLogMemory.Lines)
        })),
      lines: Effect.suspend(() => shown === undefined ? Effect.succeed([]) : shown.lines)
    }
  }))

describe("AccessLogMemory", () => {
  it.effect("has a line as soon as its entry was written", () =>
    Effect.gen(function*() {
      const log = yield* AccessLog
      const { entries, lines } = yield* AccessLogMemory.Lines
      log.write(entry())
      assert.deepStrictEqual(yield* lines, ["GET /a%20b?x=1&y=%22 200 1234567us"])
      log.write(entry({ status: 404 }))
      assert.deepStrictEqual((yield* entries).map(({ status }) => status), [200, 404])
      assert.strictEqual((yield* lines).length, 2)
    }).pipe(Effect.provide(AccessLogMemory.layer({ format: "tiny" }))))

  it.effect("keeps a copy of an entry, not the entry", () =>
    Effect.gen(function*() {
      const log = yield* AccessLog
      const reused = { ...entry() }
      log.write(reused)
      reused.status = 500
      const { entries } = yield* AccessLogMemory.Lines
      assert.strictEqual((yield* entries)[0]?.status, 200)
    }).pipe(Effect.provide(AccessLogMemory.layer())))
})
