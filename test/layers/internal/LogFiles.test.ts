import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as AccessLogFile from "../../../layers/AccessLogFile.ts"
import * as LogFiles from "../../../layers/internal/LogFiles.ts"
import * as LoggerFile from "../../../layers/LoggerFile.ts"
import { capture } from "../../utils/logs.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "slipway-log-files-"))),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true }))
)

describe("LogFiles", () => {
  it.effect("opens the access log and the log anew, which were renamed [C158]", () =>
    Effect.gen(function*() {
      const root = yield* folder
      const [access, app] = ["access.log", "app.log"].map((name) => path.join(root, name)) as [string, string]
      yield* Layer.build(Layer.mergeAll(AccessLogFile.layer({ path: access }), LoggerFile.layer({ path: app })))
      for (const file of [access, app]) fs.renameSync(file, `${file}.1`)
      assert.isFalse(fs.existsSync(access) || fs.existsSync(app))
      yield* LogFiles.reopen
      assert.isTrue(fs.existsSync(access) && fs.existsSync(app))
    }))

  it.effect("knows a file as long as it is open", () =>
    Effect.gen(function*() {
      const file = path.join(yield* folder, "access.log")
      yield* Effect.scoped(Layer.build(AccessLogFile.layer({ path: file })))
      fs.rmSync(file)
      yield* LogFiles.reopen
      assert.isFalse(fs.existsSync(file))
    }))

  it.effect("opens the others when one cannot be opened, and says so once for each attempt", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const inner = path.join(yield* folder, "inner")
      fs.mkdirSync(inner)
      const [gone, file] = [path.join(inner, "gone.log"), path.join(path.dirname(inner), "access.log")]
      yield* Layer.build(AccessLogFile.layer({ path: gone }))
      yield* Layer.build(AccessLogFile.layer({ path: file }))
      fs.rmSync(inner, { recursive: true })
      fs.rmSync(file)
      yield* LogFiles.reopen
      assert.isTrue(fs.existsSync(file))
      assert.lengthOf(lines, 1)
      assert.include(lines[0]!.message, `The access log ${gone} cannot be opened anew`)
    }).pipe(Effect.provide(layer))
  })

  it.effect("is one list for the process, unless another is provided", () =>
    Effect.gen(function*() {
      const mine = new Set<Effect.Effect<void>>()
      const file = path.join(yield* folder, "access.log")
      yield* Effect.provideService(Layer.build(AccessLogFile.layer({ path: file })), LogFiles.LogFiles, mine)
      assert.strictEqual(mine.size, 1)
      fs.rmSync(file)
      yield* LogFiles.reopen
      assert.isFalse(fs.existsSync(file))
      yield* Effect.provideService(LogFiles.reopen, LogFiles.LogFiles, mine)
      assert.isTrue(fs.existsSync(file))
    }))
})
