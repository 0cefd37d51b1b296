import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as TestClock from "effect/testing/TestClock"
import { EventEmitter } from "node:events"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Watcher from "../../../layers/internal/Watcher.ts"
import { capture } from "../../utils/logs.ts"

/** A folder of files, without node_modules. */
const folder = (files: Record<string, string> = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const directory = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "slipway-watch-")))
      for (const [name, content] of Object.entries(files)) {
        fs.mkdirSync(path.dirname(path.join(directory, name)), { recursive: true })
        fs.writeFileSync(path.join(directory, name), content)
      }
      return directory
    }),
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
  )

/** Waits for real input and output until this path was told; everything before it is what came on the way. */
const toldOf = Effect.fnUntraced(function*(watcher: Watcher.Watcher, file: string) {
  const seen: Array<string> = []
  while (true) {
    const next = yield* Queue.take(watcher.events)
    seen.push(next)
    if (next === file) return seen
  }
})

describe("Watcher", { timeout: 20_000 }, () => {
  describe("on a real folder", () => {
    const open = Effect.fnUntraced(function*(files: Record<string, string>, options: Partial<Watcher.Options> = {}) {
      const dir = yield* folder(files)
      const watcher = yield* Watcher.make({ dirs: [dir], ...options })
      return { dir, watcher, at: (name: string) => path.join(dir, name) }
    })

    it.live("knows the files that count, and walks no others", () =>
      Effect.gen(function*() {
        const { at, watcher } = yield* open({ "app.ts": "", "lib/a.ts": "", "node_modules/x/i.js": "", ".env": "" })
        assert.deepStrictEqual([...watcher.files].sort(), [at("app.ts"), at("lib/a.ts")])
      }))

    it.live("hears of a write, a new file and a removed one", () =>
      Effect.gen(function*() {
        const { at, watcher } = yield* open({ "app.ts": "", "lib/a.ts": "" })
        fs.writeFileSync(at("lib/a.ts"), "1")
        yield* toldOf(watcher, at("lib/a.ts"))
        fs.writeFileSync(at("new.ts"), "1")
        yield* toldOf(watcher, at("new.ts"))
        fs.rmSync(at("app.ts"))
        yield* toldOf(watcher, at("app.ts"))
      }))

    it.live("hears of a file that an editor has put in the place of another [W94]", () =>
      Effect.gen(function*() {
        const { at, watcher } = yield* open({ "app.ts": "" })
        for (const content of ["1", "2"]) {
          fs.writeFileSync(at("app.ts.tmp"), content)
          fs.renameSync(at("app.ts.tmp"), at("app.ts"))
          assert.notInclude(yield* toldOf(watcher, at("app.ts")), at("app.ts.tmp"))
        }
        fs.renameSync(at("app.ts"), at("app.ts~"))
        fs.writeFileSync(at("app.ts"), "3")
        yield* toldOf(watcher, at("app.ts"))
      }))

    it.live("hears of what is in a new folder, and in one in it [W94]", () =>
      Effect.gen(function*() {
        const { at, watcher } = yield* open({ "app.ts": "" })
        fs.mkdirSync(at("a/b"), { recursive: true })
        fs.writeFileSync(at("a/b/c.ts"), "1")
        yield* toldOf(watcher, at("a/b/c.ts"))
        fs.writeFileSync(at("a/b/d.ts"), "1")
        yield* toldOf(watcher, at("a/b/d.ts"))
      }))

    it.live("follows a folder that is renamed, and not one that is taken away", () =>
      Effect.gen(function*() {
        const away = yield* folder()
        const { at, watcher } = yield* open({ "lib/a.ts": "", "old/b.ts": "" })
        fs.renameSync(at("lib"), at("src"))
        yield* toldOf(watcher, at("src/a.ts"))
        fs.writeFileSync(at("src/a.ts"), "1")
        yield* toldOf(watcher, at("src/a.ts"))
        fs.renameSync(at("old"), path.join(away, "old"))
        yield* toldOf(watcher, at("old/b.ts"))
        fs.writeFileSync(path.join(away, "old/b.ts"), "1")
        fs.writeFileSync(at("last.ts"), "")
        assert.notInclude(yield* toldOf(watcher, at("last.ts")), at("old/b.ts"))
      }))

    it.live("watches further files wherever they are, also such as are not there yet", () =>
      Effect.gen(function*() {
        const other = yield* folder({ "shared.ts": "", "more.ts": "" })
        const shared = path.join(other, "shared.ts")
        const { at, dir, watcher } = yield* open({ "app.ts": "" })
        assert.deepStrictEqual(yield* watcher.add([shared, at("app.ts"), at(".env")]), [shared, at(".env")])
        fs.writeFileSync(path.join(other, "more.ts"), "1")
        fs.writeFileSync(shared, "1")
        assert.notInclude(yield* toldOf(watcher, shared), path.join(other, "more.ts"))
        fs.writeFileSync(path.join(dir, ".env"), "A=1")
        yield* toldOf(watcher, at(".env"))
      }))
  })

  describe("where watching is not possible", () => {
    /** Lets nobody watch. */
    const refusing = (code: string) =>
      (() => {
        throw Object.assign(new Error(code), { code })
      }) as unknown as typeof fs.watch

    for (
      const [what, options] of [
        ["too many folders", { watch: refusing("ENOSPC") }],
        ["too many open files", { watch: refusing("EMFILE") }],
        ["a system that cannot", { watch: refusing("ENOSYS") }],
        ["a network", { typeOf: () => 0x6969 }]
      ] as const
    ) {
      it.effect(`(${what}) it looks once a second, and says so once [W94]`, () => {
        const { layer, lines } = capture()
        return Effect.gen(function*() {
          const dir = yield* folder({ "app.ts": "", "gone.ts": "", "same.ts": "" })
          const at = (name: string) => path.join(dir, name)
          const watcher = yield* Watcher.make({ dirs: [dir], ...options })
          fs.writeFileSync(at("app.ts"), "longer")
          fs.writeFileSync(at("new.ts"), "")
          fs.rmSync(at("gone.ts"))
          yield* TestClock.adjust("999 millis")
          assert.deepStrictEqual(yield* Queue.clear(watcher.events), [])
          yield* TestClock.adjust("1 millis")
          assert.deepStrictEqual((yield* Queue.clear(watcher.events)).sort(), [
            at("app.ts"),
            at("gone.ts"),
            at("new.ts")
          ])
          yield* TestClock.adjust("10 seconds")
          assert.deepStrictEqual(yield* Queue.clear(watcher.events), [])
          assert.lengthOf(lines, 1)
          assert.match(lines[0]!.message, /^Looking for changes once a second: /)
        }).pipe(Effect.provide(layer))
      })
    }

    it.effect("falls back when a later folder is one too many", () => {
      const { layer, lines } = capture()
      return Effect.gen(function*() {
        const dir = yield* folder({ "a/x.ts": "", "b/y.ts": "" })
        let closed = 0
        let opened = 0
        const watch = (() => {
          if (++opened > 2) throw Object.assign(new Error("full"), { code: "ENOSPC" })
          return Object.assign(new EventEmitter(), { close: () => closed++ })
        }) as unknown as typeof fs.watch
        const watcher = yield* Watcher.make({ dirs: [dir], watch })
        assert.deepStrictEqual([opened, closed], [3, 2])
        fs.writeFileSync(path.join(dir, "b/y.ts"), "1")
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* Queue.clear(watcher.events), [path.join(dir, "b/y.ts")])
        assert.lengthOf(lines, 1)
      }).pipe(Effect.provide(layer))
    })
  })

  it.effect("closes what it has opened with its scope", () =>
    Effect.gen(function*() {
      const dir = yield* folder({ "a/x.ts": "" })
      const open = new Set<EventEmitter>()
      const watch = (() => {
        const one: EventEmitter = Object.assign(new EventEmitter(), { close: () => open.delete(one) })
        open.add(one)
        return one
      }) as unknown as typeof fs.watch
      yield* Effect.scoped(Effect.flatMap(
        Watcher.make({ dirs: [dir], watch }),
        () => Effect.sync(() => assert.strictEqual(open.size, 2))
      ))
      assert.strictEqual(open.size, 0)
    }))
})
