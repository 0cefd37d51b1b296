import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as ConfigCheck from "../../../layers/internal/ConfigCheck.ts"
import * as SettingsSources from "../../../layers/internal/SettingsSources.ts"

const collect = (flags: SettingsSources.Sources["flags"], env: Record<string, string> = {}) =>
  Effect.provide(SettingsSources.collect({ flags, env }), FileSystem.layerNoop({}))

const check = Effect.fnUntraced(function*(
  flags: SettingsSources.Sources["flags"],
  load: Effect.Effect<unknown, Error> = Effect.void
) {
  return yield* ConfigCheck.check(yield* collect(flags), () => load)
})

describe("ConfigCheck", () => {
  describe("check", () => {
    it.effect("names every value that is refused, and ends with 2", () =>
      Effect.gen(function*() {
        const { exitCode, lines } = yield* check({ port: "x", workers: "0", maxRss: "1", backlog: "0" })
        assert.strictEqual(exitCode, 2)
        assert.deepStrictEqual(lines.map((line) => line.split(" ")[0]).sort(), ["--backlog", "--port", "--workers"])
      }))

    it.effect("names what cannot be together", () =>
      Effect.gen(function*() {
        const { exitCode, lines } = yield* check({ unix: "/x", port: "1" })
        assert.deepStrictEqual([exitCode, lines.length], [2, 1])
        assert.include(lines[0], "--unix and --port exclude each other")
      }))

    it.effect("names files of TLS that cannot be used, and why the application cannot be loaded", () =>
      Effect.gen(function*() {
        const { exitCode, lines } = yield* check(
          { tlsCert: "./nowhere.pem", tlsKey: "./nowhere.key" },
          Effect.fail(new Error("no database"))
        )
        assert.deepStrictEqual([exitCode, lines.length], [2, 2])
        assert.include(lines[0], "Cannot use ./nowhere")
        assert.strictEqual(lines[1], "no database")
      }))

    it.effect("says that all is well, after what has no effect, and ends with 0", () =>
      Effect.gen(function*() {
        const { exitCode, lines } = yield* check({ reloadDelay: "1" })
        assert.strictEqual(exitCode, 0)
        assert.deepStrictEqual(lines, [
          "--reload-delay is of no use without reload",
          "Settings and application can be used"
        ])
      }))
  })

  describe("print", () => {
    const printed = Effect.fnUntraced(function*(flags: SettingsSources.Sources["flags"]) {
      const collected = yield* collect(flags, { PORT: "80", SLIPWAY_ADMIN_TOKEN: "sesame" })
      return ConfigCheck.print(collected, Result.getOrThrow(SettingsSources.resolve(collected)))
    })

    it.effect("shows each setting with its value and what set it, and no secret", () =>
      Effect.gen(function*() {
        const text = yield* printed({ backlog: "7" })
        assert.match(text, /^port +80 +PORT$/m)
        assert.match(text, /^backlog +7 +--backlog$/m)
        assert.match(text, /^host +127\.0\.0\.1 +default$/m)
        assert.match(text, /^adminToken +<redacted> +SLIPWAY_ADMIN_TOKEN$/m)
        assert.notInclude(text, "sesame")
      }))

    it.effect("is JSON where the log is", () =>
      Effect.gen(function*() {
        const rows = JSON.parse(yield* printed({ logFormat: "json" })) as ReadonlyArray<{ key: string }>
        assert.deepStrictEqual(
          rows.find(({ key }) => key === "port"),
          { key: "port", value: "80", source: "PORT" } as object
        )
      }))
  })

  describe("resolve", () => {
    it.effect("refuses an application and an expression together, naming both [C137]", () =>
      Effect.gen(function*() {
        const resolved = SettingsSources.resolve(yield* collect({ eval: "1" }), { app: "./app.js" })
        assert.isTrue(Result.isFailure(resolved))
        if (Result.isFailure(resolved)) assert.include(resolved.failure.message, "--eval and APP exclude each other")
        assert.isTrue(Result.isSuccess(SettingsSources.resolve(yield* collect({ eval: "1" }))))
      }))
  })

  describe("filesOf", () => {
    it.effect("names the files that were read", () =>
      Effect.gen(function*() {
        const fs = FileSystem.layerNoop({
          exists: () => Effect.succeed(true),
          readFileString: (path) => Effect.succeed(path === "a.json" ? `{"profiles":{"b":{}}}` : "")
        })
        const filesOf = (flags: SettingsSources.Sources["flags"]) =>
          Effect.map(SettingsSources.collect({ flags, env: {} }), SettingsSources.filesOf).pipe(Effect.provide(fs))
        assert.deepStrictEqual(yield* filesOf({}), Option.none())
        assert.deepStrictEqual(yield* filesOf({ envFile: ".env" }), Option.some(".env"))
        assert.deepStrictEqual(
          yield* filesOf({ config: "a.json", profile: "b", envFile: ".env" }),
          Option.some("a.json (b) and .env")
        )
      }))
  })
})
