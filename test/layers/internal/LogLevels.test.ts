import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as LogLevels from "../../../layers/internal/LogLevels.ts"
import { capture } from "../../utils/logs.ts"

/** Everything of every level, from the modules named and from none. */
const everything = Effect.forEach(
  ["Supervisor", "Tls", undefined],
  (module) => {
    const name = module ?? "plain"
    const all = Effect.andThen(
      Effect.andThen(Effect.logDebug(`${name} debug`), Effect.logInfo(`${name} info`)),
      Effect.andThen(Effect.logWarning(`${name} warn`), Effect.logError(`${name} error`))
    )
    return module === undefined ? all : Effect.annotateLogs(all, "module", module)
  },
  { discard: true }
)

const logged = <E>(level: LogLevel.LogLevel, items: ReadonlyArray<string>, program: Effect.Effect<unknown, E>) => {
  const { layer, lines } = capture()
  const levels = LogLevels.layer(level, Result.getOrThrow(LogLevels.parse(items)))
  return Effect.map(
    Effect.provide(program, Layer.provideMerge(levels, layer)),
    () => lines.map(({ message }) => message)
  )
}

describe("LogLevels", () => {
  it.effect("are one level for all where no module is named [C155]", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* logged("Warn", [], everything), [
        "Supervisor warn",
        "Supervisor error",
        "Tls warn",
        "Tls error",
        "plain warn",
        "plain error"
      ])
    }))

  it.effect("let more of one module through, and less of another, without regard to case [C155]", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* logged("Warn", ["supervisor=debug", "TLS=error"], everything), [
        "Supervisor debug",
        "Supervisor info",
        "Supervisor warn",
        "Supervisor error",
        "Tls error",
        "plain warn",
        "plain error"
      ])
      assert.deepStrictEqual(yield* logged("Error", ["Tls=none"], everything), ["Supervisor error", "plain error"])
    }))

  it.effect("call what has no module Application", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* logged("None", ["Application=info"], everything), [
        "plain info",
        "plain warn",
        "plain error"
      ])
    }))

  it.effect("take the innermost module", () =>
    Effect.gen(function*() {
      const nested = LogLevels.inModule("Server")(LogLevels.inModule("Tls")(Effect.logDebug("handshake")))
      assert.deepStrictEqual(yield* logged("Warn", ["Tls=debug"], nested), ["handshake"])
      assert.deepStrictEqual(yield* logged("Warn", ["Server=debug"], nested), [])
    }))

  it.effect("leave a part of the program its own level", () =>
    Effect.gen(function*() {
      const own = Effect.provideService(everything, References.MinimumLogLevel, "Error")
      assert.deepStrictEqual(yield* logged("Info", ["Supervisor=debug"], own), [
        "Supervisor error",
        "Tls error",
        "plain error"
      ])
    }))

  for (
    const [item, message] of [
      ["Supervisor", `logLevels: "Supervisor" is not a module and its level, such as Supervisor=debug`],
      ["=debug", `logLevels: "=debug" is not a module and its level, such as Supervisor=debug`],
      ["Tls=", `logLevels: "Tls=" is not a module and its level, such as Supervisor=debug`],
      ["Tls=loud", `logLevels: "Tls=loud" has no level that is known. Levels: debug, info, warn, error, none`],
      [
        "Tls=constructor",
        `logLevels: "Tls=constructor" has no level that is known. Levels: debug, info, warn, error, none`
      ]
    ] as const
  ) {
    it(`refuses ${JSON.stringify(item)} by name`, () => {
      const parsed = LogLevels.parse(["Server=info", item])
      assert.strictEqual(Result.isFailure(parsed) ? parsed.failure.message : "none", message)
    })
  }

  it("takes the last of two for the same module", () => {
    const parsed = Result.getOrThrow(LogLevels.parse(["Tls=debug", "tls=error"]))
    assert.deepStrictEqual([...parsed], [["tls", "Error"]])
  })
})
