/**
 * The command line program on Windows, as far as Wine is that: Node for Windows, in a Windows of its own that goes with the
 * scope. Ports and files are those of this machine. The environment variable WINDOWS_NODE names the node.exe.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { root } from "./commandLine.ts"

const node = process.env.WINDOWS_NODE

/** Why there can be no Windows here; `undefined` when there can. */
export const missing: string | undefined = node === undefined
  ? "WINDOWS_NODE does not name a node.exe"
  : spawnSync("wine", ["--version"]).status === 0
  ? undefined
  : "there is no wine on this machine"

/** Node for Windows wants one that is newer than Wine is by itself. */
const version = `REGEDIT4

[HKEY_CURRENT_USER\\Software\\Wine]
"Version"="win10"
`

export interface Ended {
  readonly code: number | null
  readonly output: string
}

export interface Program {
  readonly child: ChildProcess
  /** What it has said so far. Through a file: Wine knows no sockets as standard output. */
  readonly output: () => string
  /** Dies when the program ends before. */
  readonly says: (pattern: RegExp) => Effect.Effect<RegExpMatchArray>
  readonly ended: Effect.Effect<Ended>
}

export class Windows extends Context.Service<Windows, {
  /** Starts the program in a folder. Ends with the scope. */
  readonly start: (cwd: string, ...args: ReadonlyArray<string>) => Effect.Effect<Program, never, Scope.Scope>
  /** Runs the program to its end. */
  readonly run: (cwd: string, ...args: ReadonlyArray<string>) => Effect.Effect<Ended>
}>()("test/Windows") {}

const make = Effect.gen(function*() {
  const home = yield* Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "slipway-wine-"))),
    (home) => Effect.sync(() => fs.rmSync(home, { recursive: true, force: true, maxRetries: 3 }))
  )
  const env = {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(?:SLIPWAY_|NODE_|VITEST)/.test(name))),
    SLIPWAY_CONTAINER: "0",
    WINEPREFIX: path.join(home, "windows"),
    WINEDEBUG: "-all",
    // Neither asks for what pages need.
    WINEDLLOVERRIDES: "mscoree=;mshtml="
  }
  const wine = (...args: ReadonlyArray<string>) =>
    Effect.callback<void>((resume) => {
      spawn("wine", args, { env, stdio: "ignore" }).once("exit", () => resume(Effect.void))
    })
  yield* Effect.addFinalizer(() =>
    Effect.callback<void>((resume) => {
      spawn("wineserver", ["-k"], { env, stdio: "ignore" }).once("exit", () => resume(Effect.void))
    })
  )
  fs.writeFileSync(path.join(home, "version.reg"), version)
  yield* wine("wineboot", "-i")
  yield* wine("regedit", path.join(home, "version.reg"))

  let programs = 0
  const start = (cwd: string, ...args: ReadonlyArray<string>) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        // Not where a reload would see it.
        const log = path.join(home, `${++programs}.log`)
        const out = fs.openSync(log, "w")
        const command = [node!, path.join(root, "dist/main.js"), ...args]
        const child = spawn("wine", command, { cwd, env, stdio: ["ignore", out, out] })
        fs.closeSync(out)
        return programOf(child, log)
      }),
      ({ child }) => Effect.sync(() => void child.kill("SIGKILL"))
    )
  return Windows.of({
    start,
    run: (cwd, ...args) => Effect.scoped(Effect.flatMap(start(cwd, ...args), ({ ended }) => ended))
  })
})

/** One Windows for all tests of a file: the first start of one takes seconds. */
export const layer: Layer.Layer<Windows> = Layer.effect(Windows, make)

const programOf = (child: ChildProcess, log: string): Program => {
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve))
  const output = () => fs.readFileSync(log, "utf8")
  return {
    child,
    output,
    says: (pattern) =>
      Effect.scoped(Effect.gen(function*() {
        const watch = yield* Effect.acquireRelease(
          Effect.sync(() => fs.watch(log)),
          (watch) => Effect.sync(() => watch.close())
        )
        return yield* Effect.callback<RegExpMatchArray>((resume) => {
          const look = () => {
            const match = output().match(pattern)
            if (match !== null) resume(Effect.succeed(match))
          }
          watch.on("change", look)
          void exited.then((code) =>
            resume(Effect.die(new Error(`exited with ${code} before ${pattern}\n${output()}`)))
          )
          look()
        })
      })),
    ended: Effect.map(Effect.promise(() => exited), (code) => ({ code, output: output() }))
  }
}
