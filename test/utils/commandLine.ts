/** The command line program as a process: started from dist, watched by what it prints, killed with the test. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..")
const main = path.join(root, "dist/main.js")

export interface Options {
  readonly cwd?: string
  readonly env?: Record<string, string>
}

/** A started program. Every wait is for an event of the child, never for time. */
export class Program {
  stdout = ""
  stderr = ""
  readonly exitCode: Promise<number | null>
  private readonly watchers = new Set<() => void>()
  readonly child: ChildProcess

  constructor(args: ReadonlyArray<string>, options: Options) {
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^(?:SLIPWAY_|PORT$|NODE_ENV$|NODE_OPTIONS$|VITEST)/.test(name))
    )
    this.child = spawn(process.execPath, [main, ...args], {
      cwd: options.cwd ?? root,
      // Tests listen on this machine only, also in a container.
      env: { ...env, SLIPWAY_CONTAINER: "0", ...options.env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    this.child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text
      this.notify()
    })
    this.child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text
      this.notify()
    })
    this.exitCode = new Promise((resolve) =>
      this.child.once("close", (code) => {
        resolve(code)
        this.notify()
      })
    )
  }

  private notify(): void {
    for (const watcher of this.watchers) watcher()
  }

  waitFor(where: "stdout" | "stderr", pattern: RegExp): Effect.Effect<RegExpMatchArray> {
    return Effect.callback((resume) => {
      const look = () => {
        const match = this[where].match(pattern)
        if (match !== null) return resume(Effect.succeed(match))
        if (this.child.exitCode !== null) {
          resume(Effect.die(new Error(`exited with ${this.child.exitCode} before ${pattern}\n${this.stderr}`)))
        }
      }
      this.watchers.add(look)
      look()
      return Effect.sync(() => this.watchers.delete(look))
    })
  }

  get exited(): Effect.Effect<number | null> {
    return Effect.promise(() => this.exitCode)
  }

  get ready(): Effect.Effect<string> {
    return Effect.map(this.waitFor("stderr", /serving .* on (\S+) \(/), (match) => match[1]!)
  }
}

export const start = (args: ReadonlyArray<string>, options: Options = {}): Effect.Effect<Program, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new Program(args, options)),
    (program) => Effect.andThen(Effect.sync(() => program.child.kill("SIGKILL")), program.exited)
  )

/** Runs to the end. */
export const run = Effect.fnUntraced(function*(args: ReadonlyArray<string>, options: Options = {}) {
  const program = yield* start(args, options)
  const code = yield* program.exited
  return { code, stdout: program.stdout, stderr: program.stderr }
})

/** A folder of files that can import what the project can. */
export const folder = (files: Record<string, string>): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const directory = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "slipway-")))
      fs.symlinkSync(path.join(root, "node_modules"), path.join(directory, "node_modules"))
      for (const [name, content] of Object.entries(files)) fs.writeFileSync(path.join(directory, name), content)
      return directory
    }),
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true }))
  )

export const get = (url: string): Effect.Effect<string> =>
  Effect.promise(async () => (await fetch(url, { headers: { connection: "close" } })).text())
