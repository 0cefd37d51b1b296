import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { containerSign, folderOfStart, titleOf } from "../../../layers/internal/Surroundings.ts"
import * as Program from "../../utils/program.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.realpathSync(Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-folder-")))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

/** Runs in a process of its own: folder, mask and title belong to the whole of it. */
const entering = (options: string, shell?: string) =>
  Program.start(
    `
    import * as Effect from "effect/Effect"
    import * as Fs from "node:fs"
    import * as Surroundings from "./layers/internal/Surroundings.ts"
    Effect.runPromise(Effect.flip(Surroundings.enter(${options}))).then(
      (error) => console.log("refused " + error.message + "\\n"),
      () => {
        const title = Fs.existsSync("/proc/self/cmdline") ? Fs.readFileSync("/proc/self/cmdline", "utf8").split("\\0")[0] : process.title
        console.log("entered " + JSON.stringify({ cwd: process.cwd(), umask: process.umask(), title }) + "\\n")
      }
    )
  `,
    shell
  )

describe("Surroundings", () => {
  it.live("sets the folder, the mask and the title", () =>
    Effect.gen(function*() {
      const cwd = yield* folder
      const program = yield* entering(JSON.stringify({ chdir: cwd, umask: 0o027, title: "shop", role: "worker 2" }))
      const [, told] = yield* program.prints(/entered (.*)\n/)
      assert.deepStrictEqual(JSON.parse(told!), { cwd, umask: 0o027, title: "shop: worker 2" })
    }))

  it.live("takes a relative folder from where the program was started, once", () =>
    Effect.gen(function*() {
      const cwd = yield* folder
      Fs.mkdirSync(Path.join(cwd, "app"))
      const program = yield* entering(`{ chdir: "app" }`, `cd ${cwd}`)
      const [, told] = yield* program.prints(/entered (.*)\n/)
      assert.strictEqual(JSON.parse(told!).cwd, Path.join(cwd, "app"))
    }))

  it.live("says which folder cannot be entered", () =>
    Effect.gen(function*() {
      const cwd = yield* folder
      const program = yield* entering(JSON.stringify({ chdir: Path.join(cwd, "no") }))
      const [, told] = yield* program.prints(/refused (.*)\n/)
      assert.strictEqual(told, `Cannot run in ${cwd}/no (chdir): ENOENT: no such file or directory`)
    }))

  it.effect("starts from the folder as the shell names it, if that is where it is", () =>
    Effect.gen(function*() {
      const release = yield* folder
      const link = Path.join(yield* folder, "current")
      Fs.symlinkSync(release, link)
      assert.strictEqual(folderOfStart({ PWD: link }, release), link)
      assert.strictEqual(folderOfStart({ PWD: "/nowhere" }, release), release)
      assert.strictEqual(folderOfStart({ PWD: Os.tmpdir() }, release), release)
      assert.strictEqual(folderOfStart({ PWD: "." }, release), release)
      assert.strictEqual(folderOfStart({}, release), release)
    }))

  it("makes a title that every system takes", () => {
    assert.strictEqual(titleOf("shop"), "shop")
    assert.strictEqual(titleOf("shop", "supervisor"), "shop: supervisor")
    assert.strictEqual(titleOf("a\nb\0c"), "a b c")
    assert.strictEqual(titleOf("x".repeat(100)).length, 64)
  })

  it("sees a container by what containers have, and says by what [W139]", () => {
    const none = () => false
    assert.isUndefined(containerSign({ env: {}, exists: none }))
    assert.isUndefined(containerSign({ env: { KUBERNETES_SERVICE_HOST: "" }, exists: none }))
    assert.strictEqual(
      containerSign({ env: { KUBERNETES_SERVICE_HOST: "10.0.0.1" }, exists: none }),
      "KUBERNETES_SERVICE_HOST"
    )
    assert.strictEqual(containerSign({ env: {}, exists: (path) => path === "/.dockerenv" }), "/.dockerenv")
    assert.strictEqual(
      containerSign({ env: {}, exists: (path) => path === "/run/.containerenv" }),
      "/run/.containerenv"
    )
    assert.strictEqual(containerSign({ env: { SLIPWAY_CONTAINER: "1" }, exists: none }), "SLIPWAY_CONTAINER")
    assert.isUndefined(containerSign({ env: { SLIPWAY_CONTAINER: "0" }, exists: () => true }))
  })
})
