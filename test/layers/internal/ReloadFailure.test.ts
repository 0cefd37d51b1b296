import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import { AppModuleError } from "../../../layers/internal/AppModule.ts"
import * as ReloadFailure from "../../../layers/internal/ReloadFailure.ts"
import { ServerError } from "../../../src/service/Server.ts"
import { folder } from "../../utils/commandLine.ts"

/** An error with a stack as the runtime writes it. */
const withStack = (error: Error, stack: string): Error => {
  error.stack = stack
  return error
}

const source = "import a from \"a\"\n\nexport default () => {\n  kaput()\n}\n// five\n// six\n// seven\n"

const opened = Effect.map(folder({ "app.ts": source, "bad.mjs": "let a = 1\nlet b = ;\n" }), (cwd) => ({
  cwd,
  at: (name: string) => path.join(cwd, name),
  url: (name: string) => pathToFileURL(path.join(cwd, name)).href
}))

describe("ReloadFailure", () => {
  it.effect("shows the developer's frames, and the lines around the first of them [W96] [C234]", () =>
    Effect.gen(function*() {
      const { at, cwd, url } = yield* opened
      const error = withStack(
        new TypeError("kaput"),
        `TypeError: kaput
    at async Promise.all (index 0)
    at deep (${at("node_modules/effect/src/a.js")}:1:1)
    at Object.default [as x] (${url("app.ts")}:4:3)
    at async ${url("lib/b c.ts").replace(" ", "%20")}:7:9
    at <anonymous> (${path.dirname(cwd)}/other.ts:2:2)
    at ModuleJob.run (node:internal/modules/esm/module_job:325:25)
    at resolve (data:text/javascript,x:5:23)
    at native`
      )
      assert.deepStrictEqual(ReloadFailure.fromCause(Cause.die(error), { cwd }), {
        title: "The application does not start",
        message: "TypeError: kaput",
        code: {
          file: "app.ts",
          line: 4,
          column: 3,
          lines: source.split("\n").slice(0, 7).map((text, index) => ({ number: index + 1, text }))
        },
        frames: [
          { call: "Object.default [as x]", file: "app.ts", line: 4, column: 3 },
          { call: "", file: "lib/b c.ts", line: 7, column: 9 },
          { call: "<anonymous>", file: `${path.dirname(cwd)}/other.ts`, line: 2, column: 2 }
        ]
      })
    }))

  it.effect("shows the end of a file that ends too early [W96]", () =>
    Effect.gen(function*() {
      const cwd = yield* folder({ "open.mjs": "export const f = () => {\n  a()\n", "value.mjs": "export const a =" })
      const failureOf = (name: string) =>
        ReloadFailure.fromError(
          "Title",
          withStack(new SyntaxError("Unexpected end of input"), "SyntaxError: Unexpected end of input\n    at native"),
          { cwd, loaded: [path.join(cwd, name)] }
        ).code
      assert.deepStrictEqual(failureOf("open.mjs"), {
        file: "open.mjs",
        line: 2,
        column: 6,
        lines: [{ number: 1, text: "export const f = () => {" }, { number: 2, text: "  a()" }]
      })
      assert.deepInclude(failureOf("value.mjs"), { line: 1, column: 17 })
    }))

  it.effect("shows those of packages where there are no others", () =>
    Effect.gen(function*() {
      const { at, cwd } = yield* opened
      const error = withStack(new Error("x"), `Error: x\n    at f (${at("node_modules/a/index.js")}:1:2)`)
      const failure = ReloadFailure.fromCause(Cause.die(error), { cwd })
      assert.deepStrictEqual(failure.frames, [{ call: "f", file: "node_modules/a/index.js", line: 1, column: 2 }])
      assert.isUndefined(failure.code)
    }))

  it.effect("reads the place of what esbuild does not understand [W96]", () =>
    Effect.gen(function*() {
      const { at, cwd } = yield* opened
      const text = `Transform failed with 1 error:\n${at("app.ts")}:3:14: ERROR: Unexpected ";"`
      const cause = withStack(
        new Error(text),
        `Error: ${text}\n    at failure (/x/node_modules/esbuild/lib/main.js:1:2)`
      )
      const error = new AppModuleError({ path: "./app.ts", reason: { _tag: "LoadFailed", cause } })
      const failure = ReloadFailure.fromCause(Cause.fail(error), { cwd })
      assert.strictEqual(failure.title, "Cannot load ./app.ts")
      assert.strictEqual(failure.message, "Unexpected \";\"")
      assert.deepInclude(failure.code, { file: "app.ts", line: 3, column: 15 })
      assert.deepStrictEqual(failure.frames, [])
    }))

  for (const head of ["path", "url"] as const) {
    it.effect(`reads the place that Node puts before the stack, as a ${head} [W96]`, () =>
      Effect.gen(function*() {
        const { at, cwd, url } = yield* opened
        const place = head === "path" ? at("app.ts") : url("app.ts")
        const error = withStack(
          new SyntaxError("Expression expected"),
          `${place}:4\nexport default () => {\n  kaput()\n  ^^^^^\n}\n\nSyntaxError: Expression expected\n`
            + "    at parseTypeScript (node:internal/modules/typescript:72:36)"
        )
        const failure = ReloadFailure.fromCause(Cause.die(error), { cwd })
        assert.deepInclude(failure.code, { file: "app.ts", line: 4, column: 3 })
        assert.strictEqual(failure.message, "SyntaxError: Expression expected")
      }))
  }

  it.live("finds the file of a fault of syntax that names none [W96]", () =>
    Effect.gen(function*() {
      const { at, cwd } = yield* opened
      const error = withStack(
        new SyntaxError("Unexpected token ';'"),
        "SyntaxError: Unexpected token ';'\n    at compileSourceTextModule (node:internal/modules/esm/utils:346:16)"
      )
      fs.writeFileSync(at("good.mjs"), "export const a = 1\n")
      const loaded = [at("bad.mjs"), at("app.ts"), at("good.mjs")]
      const failure = ReloadFailure.fromCause(Cause.die(error), { cwd, loaded })
      assert.deepInclude(failure.code, { file: "bad.mjs", line: 2, column: 9 })
    }))

  it("tells what an error was caused by, and what is no error", () => {
    const error = new Error("a", { cause: new TypeError("b", { cause: "c" }) })
    assert.strictEqual(ReloadFailure.fromCause(Cause.die(error)).message, "a\nCaused by TypeError: b\nCaused by c")
    assert.strictEqual(ReloadFailure.fromCause(Cause.fail("no")).message, "no")
    assert.strictEqual(ReloadFailure.fromCause(Cause.fail(new RangeError())).message, "RangeError")
  })

  it("has the whole sentence of what the program knows itself, and no frames", () => {
    const unusable = new AppModuleError({ path: "app.ts", reason: { _tag: "TypeScriptUnavailable" } })
    assert.deepInclude(ReloadFailure.fromCause(Cause.fail(unusable)), { message: unusable.message, frames: [] })
    const startup = new ServerError({ reason: { _tag: "StartupFailed", problem: "no database" } })
    assert.deepInclude(ReloadFailure.fromCause(Cause.fail(startup)), {
      title: "The application does not start",
      frames: []
    })
    assert.include(ReloadFailure.fromCause(Cause.fail(startup)).message, "no database")
  })
})
