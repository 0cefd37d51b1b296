import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as AppModule from "../../../layers/internal/AppModule.ts"
import * as App from "../../../src/app/App.ts"
import * as Server from "../../../src/service/Server.ts"

const app = App.http(({ send }) => App.respond(send, 200, "hello"))

const found = (value: unknown): string => {
  const result = AppModule.fromExport(value, "./app.js")
  return Result.isFailure(result) && result.failure.reason._tag === "NotAnApp" ? result.failure.reason.found : "an app"
}

const moduleFile = (name: string, content: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), "slipway-"))
      const file = path.join(folder, name)
      fs.writeFileSync(file, content)
      return file
    }),
    (file) => Effect.sync(() => fs.rmSync(path.dirname(file), { recursive: true }))
  )

const problemOf = Effect.fnUntraced(function*(name: string, content: string) {
  const file = yield* moduleFile(name, content)
  const error = yield* Effect.flip(AppModule.load(file))
  assert.include(error.message, file)
  return error
})

describe("AppModule", () => {
  describe("fromExport", () => {
    it("takes a function of one parameter for an App, as it is", () => {
      assert.deepStrictEqual(AppModule.fromExport(app, "a.js"), Result.succeed({ _tag: "App", app }))
    })

    it("takes a Layer as it is", () => {
      const layer = Server.serve(app)
      assert.deepStrictEqual(AppModule.fromExport(layer, "a.js"), Result.succeed({ _tag: "Layer", layer }))
      assert.strictEqual(Result.getOrThrow(AppModule.fromExport(Layer.empty, "a.js"))._tag, "Layer")
    })

    it("makes an App of an Effect and of an object with fetch", () => {
      const effect = Effect.succeed(HttpServerResponse.text("hello"))
      assert.strictEqual(Result.getOrThrow(AppModule.fromExport(effect, "a.js"))._tag, "App")
      assert.strictEqual(
        Result.getOrThrow(AppModule.fromExport({ fetch: () => new Response("hello") }, "a.js"))._tag,
        "App"
      )
    })

    it("says what it found instead", () => {
      assert.strictEqual(found(undefined), "missing")
      assert.strictEqual(found(null), "null")
      assert.strictEqual(found("app"), "a string")
      assert.strictEqual(found([app]), "an array")
      assert.strictEqual(found({}), "an empty object")
      assert.strictEqual(found({ app, fetch: "no" }), "an object with app, fetch")
      assert.strictEqual(found(Promise.resolve(app)), "a Promise")
      assert.strictEqual(found(class {}), "a class")
      assert.strictEqual(found((_request: unknown, _response: unknown) => {}), "a function of 2 parameters")
      assert.include(found(async () => {}), "an async function")
    })

    it("says what it accepts", () => {
      const result = AppModule.fromExport(42, "./app.js")
      assert.isTrue(Result.isFailure(result))
      if (Result.isFailure(result)) {
        const message = result.failure.message
        for (const part of ["./app.js", "a number", "App", "Server.serve", "HttpServerResponse", "fetch"]) {
          assert.include(message, part)
        }
      }
    })
  })

  describe("load", () => {
    it.effect("loads the default export of an ES module and of a CommonJS module", () =>
      Effect.gen(function*() {
        const fetcher = "{ fetch() { return new Response('hello') } }"
        for (
          const [name, content] of [
            ["a.mjs", `export default ${fetcher}`],
            ["b.cjs", `module.exports = ${fetcher}`],
            ["c.cjs", `exports.__esModule = true; exports.default = ${fetcher}`]
          ] as const
        ) {
          const loaded = yield* AppModule.load(yield* moduleFile(name, content))
          assert.strictEqual(loaded._tag, "App")
        }
      }))

    it.effect("says that a file is missing, is a directory, or is no module", () =>
      Effect.gen(function*() {
        const file = yield* moduleFile("notes.txt", "")
        const messageOf = (modulePath: string) =>
          Effect.map(Effect.flip(AppModule.load(modulePath)), (error) => error.message)
        assert.include(yield* messageOf(path.join(path.dirname(file), "app.js")), "there is no such file")
        assert.include(yield* messageOf(file), "a module's name ends in .js")
        const folder = path.join(path.dirname(file), "app.js")
        fs.mkdirSync(folder)
        assert.include(yield* messageOf(folder), "it is not a file")
      }))

    it.effect("keeps the cause when the module throws or imports what is not there", () =>
      Effect.gen(function*() {
        const thrown = yield* problemOf("a.mjs", "throw new Error('no database')")
        assert.strictEqual(thrown.reason._tag, "LoadFailed")
        assert.include(thrown.message, "no database")
        const missing = yield* problemOf("b.mjs", "import './nothing.mjs'")
        assert.strictEqual(missing.reason._tag, "LoadFailed")
      }))

    it.effect("refuses a module without a default export", () =>
      Effect.gen(function*() {
        const error = yield* problemOf("a.mjs", "export const app = 1")
        assert.include(error.message, "its default export is missing")
      }))
  })

  describe("currentDirectory", () => {
    it.effect("is an App", () =>
      Effect.gen(function*() {
        const loaded = yield* AppModule.currentDirectory
        assert.strictEqual(loaded._tag, "App")
      }))
  })
})
