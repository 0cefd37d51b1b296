import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as AccessLogFile from "../../layers/AccessLogFile.ts"
import { AccessLog } from "../../src/service/AccessLog.ts"
import { accessLogContract, entry } from "../contract/AccessLog.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "slipway-access-log-"))),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true }))
)

const linesOf = (file: string): ReadonlyArray<string> =>
  fs.existsSync(file) ? fs.readFileSync(file, "latin1").split("\n").slice(0, -1) : []

accessLogContract("AccessLogFile", (options) =>
  Effect.map(folder, (folder) => {
    const file = path.join(folder, "access.log")
    return { layer: AccessLogFile.layer({ path: file, ...options }), lines: Effect.sync(() => linesOf(file)) }
  }))

const open = Effect.fnUntraced(function*(file: string) {
  const log = Context.get(yield* Layer.build(AccessLogFile.layer({ path: file, format: "%I" })), AccessLog)
  return (requestId: string) => {
    log.write(entry({ requestId }))
    return log.flush
  }
})

describe("AccessLogFile", () => {
  it.effect("appends to the file, and creates it readable for its group at most", () =>
    Effect.gen(function*() {
      const file = path.join(yield* folder, "access.log")
      yield* Effect.scoped(Effect.flatMap(open(file), (log) => log("r1")))
      assert.strictEqual(fs.statSync(file).mode & 0o777, 0o640 & ~process.umask())
      yield* Effect.scoped(Effect.flatMap(open(file), (log) => log("r2")))
      assert.deepStrictEqual(linesOf(file), ["r1", "r2"])
    }))

  it.effect("goes on in a new file when the old one was renamed", () =>
    Effect.gen(function*() {
      const file = path.join(yield* folder, "access.log")
      const log = yield* open(file)
      yield* log("r1")
      fs.renameSync(file, file + ".1")
      yield* log("r2")
      fs.renameSync(file, file + ".2")
      fs.writeFileSync(file, "made by someone else\n")
      yield* log("r3")
      assert.deepStrictEqual(linesOf(file + ".1"), ["r1"])
      assert.deepStrictEqual(linesOf(file + ".2"), ["r2"])
      assert.deepStrictEqual(linesOf(file), ["made by someone else", "r3"])
    }))

  it.effect("goes on in a new file when the old one was removed, and in the same when it was truncated", () =>
    Effect.gen(function*() {
      const file = path.join(yield* folder, "access.log")
      const log = yield* open(file)
      yield* log("r1")
      fs.rmSync(file)
      yield* log("r2")
      assert.deepStrictEqual(linesOf(file), ["r2"])
      fs.truncateSync(file)
      yield* log("r3")
      assert.deepStrictEqual(linesOf(file), ["r3"])
    }))

  it.effect("holds one descriptor, before and after a rotation, and none when closed", () =>
    Effect.gen(function*() {
      const root = yield* folder
      const file = path.join(root, "access.log")
      const descriptors = () =>
        fs.readdirSync("/proc/self/fd").filter((descriptor) => {
          try {
            return fs.readlinkSync(`/proc/self/fd/${descriptor}`).startsWith(root)
          } catch {
            return false
          }
        }).length
      yield* Effect.scoped(Effect.gen(function*() {
        const log = yield* open(file)
        assert.strictEqual(descriptors(), 1)
        fs.renameSync(file, file + ".1")
        yield* log("r1")
        assert.strictEqual(descriptors(), 1)
      }))
      assert.strictEqual(descriptors(), 0)
    }).pipe(process.platform === "linux" ? (effect) => effect : () => Effect.void))

  it.effect("keeps entries while the folder is gone, and logs that once", () => {
    const logged: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      logged.push(`${logLevel} ${Array.isArray(message) ? message[0] : message}`)
    })
    return Effect.gen(function*() {
      const root = yield* folder
      const inner = path.join(root, "logs")
      const file = path.join(inner, "access.log")
      fs.mkdirSync(inner)
      const log = yield* open(file)
      yield* log("r1")
      fs.rmSync(inner, { recursive: true })
      yield* log("r2")
      yield* log("r3")
      fs.mkdirSync(inner)
      yield* log("r4")
      assert.deepStrictEqual(linesOf(file), ["r2", "r3", "r4"])
      assert.strictEqual(logged.length, 2)
      assert.match(logged[0]!, /^Error The access log .*access\.log cannot be written/)
      assert.match(logged[1]!, /^Info The access log .*access\.log is written again/)
    }).pipe(Effect.provide(Logger.layer([logger])))
  })

  it.effect("fails to build without its folder, and names the path", () =>
    Effect.gen(function*() {
      const file = path.join(yield* folder, "missing", "access.log")
      const error = yield* Effect.flip(open(file))
      assert.instanceOf(error, AccessLogFile.AccessLogError)
      assert.strictEqual(error.reason._tag, "OpenFailed")
      assert.include(error.message, file)
      assert.include(error.message, "ENOENT")
      assert.isFalse(fs.existsSync(path.dirname(file)))
    }))

  it.effect("fails to build on a folder, and names the path", () =>
    Effect.gen(function*() {
      const file = yield* folder
      const error = yield* Effect.flip(open(file))
      assert.instanceOf(error, AccessLogFile.AccessLogError)
      assert.include(error.message, file)
    }))
})
