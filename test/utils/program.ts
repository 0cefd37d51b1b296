/** Runs a program written against our sources in a process of its own. Every wait is for an event of the process. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as esbuild from "esbuild"
import { spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { until } from "./sockets.ts"

const root = Path.resolve(Path.dirname(fileURLToPath(import.meta.url)), "../..")

export interface Program {
  readonly output: string
  readonly exitCode: number | null | undefined
  /** Succeeds with the match once the output has one. */
  readonly prints: (pattern: RegExp) => Effect.Effect<RegExpExecArray>
  readonly exits: Effect.Effect<number | null>
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
}

/**
 * Starts `source`, TypeScript whose imports are relative to the root of the repository. `shell` is what bash does first,
 * such as setting a limit. Killed with the scope.
 */
export const start = (source: string, shell = ":"): Effect.Effect<Program, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-program-"))
      const file = Path.join(folder, "program.mjs")
      await esbuild.build({
        stdin: { contents: source, resolveDir: root, loader: "ts" },
        outfile: file,
        bundle: true,
        platform: "node",
        format: "esm",
        banner: { js: `import { createRequire } from "node:module"; const require = createRequire(import.meta.url)` },
        logLevel: "silent"
      })
      return Object.assign(run(file, shell), { folder })
    }),
    ({ folder, kill }) =>
      Effect.sync(() => {
        kill()
        Fs.rmSync(folder, { force: true, recursive: true })
      })
  )

const run = (file: string, shell: string) => {
  const child = spawn("bash", ["-c", `${shell}; exec "$0" "$1"`, process.execPath, file], {
    stdio: ["ignore", "pipe", "pipe"]
  })
  let output = ""
  let exitCode: number | null | undefined
  child.stdout.setEncoding("utf8").on("data", (text: string) => output += text)
  child.stderr.setEncoding("utf8").on("data", (text: string) => output += text)
  child.once("close", (code) => exitCode = code)
  const program = {
    get output() {
      return output
    },
    get exitCode() {
      return exitCode
    },
    prints: (pattern: RegExp) =>
      Effect.flatMap(until(() => pattern.test(output) || exitCode !== undefined), () => {
        const match = pattern.exec(output)
        return match === null
          ? Effect.die(new Error(`The program ended without printing ${String(pattern)}:\n${output}`))
          : Effect.succeed(match)
      }),
    exits: Effect.map(until(() => exitCode !== undefined), () => exitCode!),
    signal: (signal: NodeJS.Signals) => Effect.sync(() => void child.kill(signal))
  }
  return Object.assign(program, { kill: () => child.kill("SIGKILL") }) as Program & { readonly kill: () => void }
}
