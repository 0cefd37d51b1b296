import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as HealthChecks from "../../../layers/HealthChecks.ts"
import * as AppModule from "../../../layers/internal/AppModule.ts"
import * as TestClient from "../../../layers/TestClient.ts"
import * as App from "../../../src/app/App.ts"
import { Operations } from "../../../src/service/Operations.ts"
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

/** What a loaded App says to one request. */
/** What the command line provides; nothing here asks for operations. */
const around = Layer.mergeAll(
  NodeServices.layer,
  HealthChecks.layer,
  Layer.succeed(Operations, {} as Operations["Service"])
)

const answerOf = Effect.fnUntraced(function*(loaded: AppModule.LoadedApp, target = "/") {
  if (loaded._tag === "Layer") return "a Layer"
  const client = yield* TestClient.make(loaded.app)
  return yield* Effect.flatMap(client.get(target), ({ text }) => text)
}, Effect.provide(around))

const source = (specifier: string): string => JSON.stringify(import.meta.resolve(specifier))

const problemOf = Effect.fnUntraced(function*(name: string, content: string) {
  const file = yield* moduleFile(name, content)
  const error = yield* Effect.flip(AppModule.load({ app: file }))
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
          const loaded = yield* AppModule.load({ app: yield* moduleFile(name, content) })
          assert.strictEqual(loaded._tag, "App")
        }
      }))

    it.effect("says that a file is missing, or is no module", () =>
      Effect.gen(function*() {
        const file = yield* moduleFile("notes.txt", "")
        const messageOf = (modulePath: string) =>
          Effect.map(Effect.flip(AppModule.load({ app: modulePath })), (error) => error.message)
        assert.include(yield* messageOf(path.join(path.dirname(file), "app.js")), "there is no such file")
        assert.include(yield* messageOf(file), "a module's name ends in .js")
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

  describe("load, of what is no module", () => {
    it.effect("serves a folder, and the current directory where nothing is named [C163]", () =>
      Effect.gen(function*() {
        const file = yield* moduleFile("notes.txt", "from the folder")
        const loaded = yield* AppModule.load({ app: path.dirname(file) })
        assert.include(yield* answerOf(loaded, "/notes.txt"), "from the folder")
        const here = yield* AppModule.load({})
        assert.include(yield* answerOf(here, "/package.json"), "\"name\": \"slipway\"")
      }))

    it.effect("serves an expression, with the modules of Slipway and Effect in scope [C163]", () =>
      Effect.gen(function*() {
        const codes = [
          "Effect.succeed(HttpServerResponse.text('inline'))",
          "App.http(({ send }) => App.respond(send, 200, 'inline'))",
          "{ fetch: () => new Response('inline') } // a remark",
          "await Promise.resolve({ fetch: () => new Response('inline') })",
          "(await import('node:path')).sep === '' ? 0 : { fetch: () => new Response('inline') }"
        ]
        for (const code of codes) {
          assert.strictEqual(yield* answerOf(yield* AppModule.load({ eval: code })), "inline")
        }
      }))

    it.effect("says what is wrong with an expression", () =>
      Effect.gen(function*() {
        const messageOf = (code: string) =>
          Effect.map(Effect.flip(AppModule.load({ eval: code })), (error) => error.message)
        assert.include(yield* messageOf("1 +"), "Cannot load the expression: Unexpected token")
        assert.include(yield* messageOf("nowhere.app"), "nowhere is not defined")
        assert.include(yield* messageOf("41 + 1"), "Cannot serve the expression: its value is a number")
      }))
  })

  describe("load, of a module with a factory", () => {
    const make = "export const make = (args) => ({ fetch: () => new Response(JSON.stringify(args)) })\n"
    const other = "export const other = (args) => ({ fetch: () => new Response('other ' + args.a) })\n"
    const plain = "export default { fetch: () => new Response('plain') }\n"
    const args = { a: "1", b: "x=y" }

    it.effect("gives the arguments to make, or to the export that is named [C163]", () =>
      Effect.gen(function*() {
        const file = yield* moduleFile("a.mjs", plain + make + other)
        const textOf = (call: AppModule.Call) => Effect.flatMap(AppModule.load(call), (loaded) => answerOf(loaded))
        assert.strictEqual(yield* textOf({ app: file, args }), JSON.stringify(args))
        assert.strictEqual(yield* textOf({ app: `${file}:other`, args }), "other 1")
        assert.strictEqual(yield* textOf({ app: file }), "plain")
        assert.strictEqual(yield* textOf({ app: `${file}:make` }), "{}")
      }))

    it.effect("calls make where there is no default export, and waits for a Promise of it", () =>
      Effect.gen(function*() {
        for (
          const [name, content] of [
            ["a.mjs", make],
            ["b.mjs", make.replace("(args) => ", "async (args) => ")],
            ["c.cjs", make.replace("export const make", "exports.make")],
            ["d.cjs", `module.exports = { ${make.replace("export const make =", "make:")} }`]
          ] as const
        ) {
          const file = yield* moduleFile(name, content)
          assert.strictEqual(yield* answerOf(yield* AppModule.load({ app: file })), "{}", name)
          assert.strictEqual(yield* answerOf(yield* AppModule.load({ app: file, args })), JSON.stringify(args), name)
        }
      }))

    it.effect("says that nothing takes the arguments", () =>
      Effect.gen(function*() {
        const file = yield* moduleFile("a.mjs", plain + "export const number = 1")
        const messageOf = (call: AppModule.Call) =>
          Effect.map(Effect.flip(AppModule.load({ args, ...call })), (error) => error.message)
        assert.include(yield* messageOf({ app: file }), `Cannot give arguments to ${file}: its export make is missing`)
        assert.include(yield* messageOf({ app: `${file}:number` }), "its export number is a number")
        assert.include(yield* messageOf({ app: path.dirname(file) }), "it is a folder")
        assert.include(yield* messageOf({ eval: "1" }), "it has its values in itself")
      }))

    it.effect("says what the factory made that cannot be served, and why it threw", () =>
      Effect.gen(function*() {
        const wrong = yield* problemOf("a.mjs", "export const make = () => 42")
        assert.include(wrong.message, "what its export make returns is a number")
        const thrown = yield* problemOf("b.mjs", "export const make = () => { throw new Error('no database') }")
        assert.include(thrown.message, "no database")
      }))
  })

  describe("load, of a named export", () => {
    it.effect("serves the export that is named, of ES modules and CommonJS modules [C163]", () =>
      Effect.gen(function*() {
        const fetcher = "{ fetch: () => new Response('named') }"
        for (
          const [name, content] of [
            ["a.mjs", `export const named = ${fetcher}\nexport default 1`],
            ["b.cjs", `exports.named = ${fetcher}`],
            ["c.cjs", `module.exports = Object.fromEntries([["named", ${fetcher}]])`]
          ] as const
        ) {
          const file = yield* moduleFile(name, content)
          assert.strictEqual(yield* answerOf(yield* AppModule.load({ app: `${file}:named` })), "named")
          const error = yield* Effect.flip(AppModule.load({ app: `${file}:nmaed` }))
          assert.include(error.message, "its export nmaed is missing")
        }
      }))
  })

  describe("load, of modules that come first", () => {
    it.effect("loads them in their order before the application [C163]", () =>
      Effect.gen(function*() {
        const mark = (name: string) => `globalThis.slipwayMarks = [...globalThis.slipwayMarks ?? [], "${name}"]\n`
        const first = yield* moduleFile("first.cjs", mark("first"))
        const second = yield* moduleFile("second.mts", `const s: string = "typed"\n${mark("second")}`)
        const app = "const marks = globalThis.slipwayMarks\nexport default { fetch: () => new Response(String(marks)) }"
        const loaded = yield* AppModule.load({ app: yield* moduleFile("a.mjs", app), require: [first, second] })
        assert.strictEqual(yield* answerOf(loaded), "first,second")
      }))

    it.effect("names the setting where one cannot be loaded", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(AppModule.load({ require: ["./nowhere.mjs"] }))
        assert.strictEqual(error.message, "Cannot load ./nowhere.mjs (require): there is no such file")
        const folder = yield* Effect.flip(AppModule.load({ require: ["./test"] }))
        assert.strictEqual(folder.message, "Cannot load ./test (require): it is a folder")
      }))
  })

  describe("loadServer", () => {
    const provided = Layer.provide(NodeServices.layer)

    const layerFile = (body: string) =>
      moduleFile(
        "server.mjs",
        `import * as Context from ${source("effect/Context")}
import * as Layer from ${source("effect/Layer")}
const Server = Context.Service("slipway/service/Server")
${body}`
      )

    it.effect("gives the options to the layer of the module, which provides the server [C165]", () =>
      Effect.gen(function*() {
        const file = yield* layerFile("export const layer = (options) => Layer.succeed(Server, { options })")
        const layer = yield* AppModule.loadServer(file, "--server")
        const server: unknown = yield* Effect.provide(Server.Server, provided(layer({ port: 7 })))
        assert.deepStrictEqual(server, { options: { port: 7 } })
      }))

    it.effect("names the option where the module is missing or provides no server [C165]", () =>
      Effect.gen(function*() {
        const missing = yield* Effect.flip(AppModule.loadServer("./nowhere.mjs", "--server"))
        assert.strictEqual(missing.message, "Cannot load ./nowhere.mjs (--server): there is no such file")
        const plain = yield* layerFile("export default 1")
        const unsuitable = yield* Effect.flip(AppModule.loadServer(plain, "SLIPWAY_SERVER"))
        assert.include(
          unsuitable.message,
          `Cannot use ${plain} (SLIPWAY_SERVER) as the server: its export layer is missing`
        )
        for (
          const [body, message] of [
            ["export const layer = () => 1", "its layer gives a number. Expected a Layer"],
            ["export const layer = () => Layer.empty", "its layer provides no Server"]
          ] as const
        ) {
          const layer = yield* AppModule.loadServer(yield* layerFile(body), "--server")
          const error = yield* Effect.flip(Effect.provide(Server.Server, provided(layer({}))))
          assert.instanceOf(error, AppModule.AppModuleError)
          assert.include(error.message, message)
        }
      }))
  })
})
