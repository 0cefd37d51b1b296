import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import * as AppTarget from "../../../layers/internal/AppTarget.ts"

const folder = (files: Record<string, string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const directory = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "slipway-")))
      for (const [name, content] of Object.entries(files)) {
        fs.mkdirSync(path.dirname(path.join(directory, name)), { recursive: true })
        fs.writeFileSync(path.join(directory, name), content)
      }
      return directory
    }),
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true }))
  )

const moduleOf = (found: Result.Result<AppTarget.Target, string>): string =>
  Result.match(found, {
    onFailure: (problem) => problem,
    onSuccess: (target) =>
      target._tag === "Folder" ? `folder ${target.path}` : `${target.path} ${target.exportName ?? "default"}`
  })

const packageJson = (exports: unknown): string => JSON.stringify({ name: "x", type: "module", exports })

describe("AppTarget", () => {
  describe("split", () => {
    it("takes the name of an export off a path and off a package", () => {
      assert.deepStrictEqual(AppTarget.split("./app.js:named", "linux"), ["./app.js", "named"])
      assert.deepStrictEqual(AppTarget.split("@me/my-app/sub:$named_1", "linux"), ["@me/my-app/sub", "$named_1"])
      assert.deepStrictEqual(AppTarget.split("file:///x/app.js:app", "linux"), ["file:///x/app.js", "app"])
      for (const spec of ["./app.js", "app.js:", ":app", "a:b-c", "app.js:1"]) {
        assert.isUndefined(AppTarget.split(spec, "linux"), spec)
      }
    })

    it("takes a drive letter for no module", () => {
      assert.isUndefined(AppTarget.split("C:\\apps\\app.js", "win32"))
      assert.isUndefined(AppTarget.split("C:/apps/app.js", "win32"))
      assert.isUndefined(AppTarget.split("C:app", "win32"))
      assert.deepStrictEqual(AppTarget.split("C:\\apps\\app.js:named", "win32"), ["C:\\apps\\app.js", "named"])
      assert.deepStrictEqual(AppTarget.split("C:/apps/app.js:named", "win32"), ["C:/apps/app.js", "named"])
    })
  })

  describe("find", () => {
    it.effect("finds files and folders by path or file URL, with the name of an export or without", () =>
      Effect.gen(function*() {
        const home = yield* folder({ "app.js": "", "lib/index.js": "", "a:b.js": "", "c.js:d": "" })
        const find = (spec: string) => moduleOf(AppTarget.find(spec, home))
        const file = path.join(home, "app.js")
        assert.strictEqual(find("app.js"), `${file} default`)
        assert.strictEqual(find("./app.js:named"), `${file} named`)
        assert.strictEqual(find(file), `${file} default`)
        assert.strictEqual(find(pathToFileURL(file).href), `${file} default`)
        assert.strictEqual(find(`${pathToFileURL(file).href}:named`), `${file} named`)
        assert.strictEqual(find("lib"), `folder ${path.join(home, "lib")}`)
        assert.strictEqual(find("."), `folder ${home}`)
        assert.strictEqual(find("a:b.js"), `${path.join(home, "a:b.js")} default`)
        assert.include(find("c.js:d"), "a module's name ends in .js")
        assert.strictEqual(find("lib:named"), "lib is a folder, which has no exports")
      }))

    it.effect("finds what a program of the folder would import from a package", () =>
      Effect.gen(function*() {
        const home = yield* folder({
          "inner/app.js": "",
          "node_modules/main/package.json": JSON.stringify({ main: "./m.js" }),
          "node_modules/main/m.js": "",
          "node_modules/main/sub.js": "",
          "node_modules/text/package.json": packageJson("./t.js"),
          "node_modules/text/t.js": "",
          "node_modules/@me/conditions/package.json": packageJson({
            ".": { types: "./t.d.ts", import: { node: "./i.js" }, require: "./r.cjs" },
            "./sub": { import: "./s.js" }
          }),
          "node_modules/@me/conditions/i.js": "",
          "node_modules/@me/conditions/s.js": "",
          "node_modules/only/package.json": packageJson({ import: "./i.js" }),
          "node_modules/only/i.js": ""
        })
        const find = (spec: string) => moduleOf(AppTarget.find(spec, path.join(home, "inner")))
        const at = (file: string, name = "default") => `${path.join(home, "node_modules", file)} ${name}`
        assert.strictEqual(find("main"), at("main/m.js"))
        assert.strictEqual(find("main/sub.js"), at("main/sub.js"))
        assert.strictEqual(find("text:named"), at("text/t.js", "named"))
        assert.strictEqual(find("@me/conditions"), at("@me/conditions/i.js"))
        assert.strictEqual(find("@me/conditions/sub:app"), at("@me/conditions/s.js", "app"))
        assert.strictEqual(find("only"), at("only/i.js"))
      }))

    it("says of a file URL that names no path here that there is no such file", () => {
      for (const spec of ["file://host/app.js", "file:///a%2Fapp.js"]) {
        assert.strictEqual(moduleOf(AppTarget.find(spec, "/", "linux")), "there is no such file", spec)
      }
    })

    it.effect("says what is not there", () =>
      Effect.gen(function*() {
        const home = yield* folder({ "a.txt": "" })
        const find = (spec: string) => moduleOf(AppTarget.find(spec, home))
        for (const spec of ["missing.mjs", "./missing", "/missing/app", "missing.js:named", "C:\\missing"]) {
          assert.strictEqual(find(spec), "there is no such file", spec)
        }
        assert.strictEqual(
          find("my-app:named"),
          `there is no such file, and no package my-app that can be imported from ${home}`
        )
        assert.include(find("a.txt"), "a module's name ends in .js")
        assert.include(find("node:fs"), "no package node ")
      }))
  })
})
