/**
 * Every setting reaches every worker: a program that collects settings as the command line does is started once for
 * each source, with every setting in it, and starts a worker as the command line does. Both tell what has arrived.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as esbuild from "esbuild"
import { execFile } from "node:child_process"
import * as path from "node:path"
import * as Settings from "../src/schema/Settings.ts"
import { folder, root } from "./utils/commandLine.ts"

const program = `
  import * as NodeServices from "@effect/platform-node/NodeServices"
  import * as CliConfig from "effect/cli/CliConfig"
  import * as Command from "effect/cli/Command"
  import * as Duration from "effect/Duration"
  import * as Effect from "effect/Effect"
  import * as Option from "effect/Option"
  import * as CommandLine from "./layers/internal/CommandLine.ts"
  import * as SettingsSources from "./layers/internal/SettingsSources.ts"
  import * as Supervised from "./layers/internal/Supervised.ts"
  import * as SupervisorProcess from "./layers/internal/SupervisorProcess.ts"
  import * as Settings from "./src/schema/Settings.ts"

  const run = Effect.fnUntraced(function*(parsed) {
    const assignment = yield* Supervised.assignment
    const collected = yield* SettingsSources.collect({ flags: CommandLine.givenFlags(parsed), env: process.env })
    const arrived = Object.fromEntries(Settings.entries.filter(({ key }) => collected.isSet(key))
      .map(({ group, key }) => [key, { value: collected[group][key], name: collected.nameOf(key) }]))
    if (Option.isSome(assignment)) {
      yield* Supervised.ask({ number: assignment.value.number, arrived })
      return yield* Supervised.stopped
    }
    const told = [{ number: 0, arrived }]
    const options = {
      sockets: [],
      heartbeatTimeout: Duration.zero,
      answer: (what) => Effect.as(Effect.sync(() => void told.push(what)), null)
    }
    for (const number of [1, 2]) {
      const child = yield* SupervisorProcess.spawn(options)(number)
      while (told.length <= number) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      yield* child.stop("stop")
      yield* child.exited
    }
    console.log(JSON.stringify(told))
  })

  await Effect.runPromise(
    Command.runWith(Command.make("slipway", CommandLine.input, run), { version: "0" })(process.argv.slice(2)).pipe(
      Effect.provideService(CliConfig.CliConfig, { builtIns: [] }),
      Effect.provide(NodeServices.layer)
    )
  )
`

type Arrived = Readonly<Record<string, { readonly value: unknown; readonly name: string }>>

/** What stands in a source for a setting. Values are not checked where they arrive, so that they need to be no good. */
const textOf = ({ key, kind }: Settings.Entry): string =>
  ({ config: "app.json", envFile: "app.env", profile: "other", env: "production" })[key]
    ?? (kind.isSwitch === true ? "on" : `sample of ${key}`)

const inFile = Settings.entries.filter(({ notInFile }) => notInFile !== true)
const inEnvFile = inFile.filter(({ key }) => key !== "env")

const table = (entries: ReadonlyArray<Settings.Entry>) =>
  JSON.stringify(Object.fromEntries(entries.map((entry) => [entry.key, textOf(entry)])))

interface Source {
  readonly settings: ReadonlyArray<Settings.Entry>
  readonly nameOf: (entry: Settings.Entry) => string
  readonly args?: ReadonlyArray<string>
  readonly env?: Record<string, string>
  readonly files?: Record<string, string>
}

const sources: Readonly<Record<string, Source>> = {
  "the command line": {
    settings: Settings.entries,
    nameOf: ({ flag }) => `--${flag}`,
    args: Settings.entries.map((entry) =>
      entry.kind.isSwitch === true ? `--${entry.flag}` : `--${entry.flag}=${textOf(entry)}`
    )
  },
  "the environment": {
    settings: Settings.entries,
    nameOf: ({ env }) => env,
    env: Object.fromEntries(Settings.entries.map((entry) => [entry.env, textOf(entry)]))
  },
  "the config file": {
    settings: inFile,
    nameOf: ({ key }) => `${key} in app.json`,
    args: ["--config=app.json"],
    files: { "app.json": table(inFile) }
  },
  "the .env file": {
    settings: inEnvFile,
    nameOf: ({ env }) => `${env} in app.env`,
    args: ["--env-file=app.env"],
    files: { "app.env": inEnvFile.map((entry) => `${entry.env}=${textOf(entry)}\n`).join("") }
  }
}

const told = Effect.fnUntraced(function*({ args = [], env = {}, files = {} }: Source) {
  const cwd = yield* folder({ "app.json": `{ "profiles": { "other": {} } }`, "app.env": "", ...files })
  yield* Effect.promise(() =>
    esbuild.build({
      stdin: { contents: program, resolveDir: root, loader: "ts" },
      outfile: path.join(cwd, "program.mjs"),
      bundle: true,
      platform: "node",
      format: "esm",
      external: ["esbuild"],
      banner: { js: `import { createRequire } from "node:module"; const require = createRequire(import.meta.url)` },
      logLevel: "silent"
    })
  )
  const { PATH = "" } = process.env
  const output = yield* Effect.callback<string>((resume) => {
    execFile(
      process.execPath,
      ["program.mjs", ...args],
      { cwd, env: { PATH, ...env } },
      (error, stdout, stderr) =>
        resume(error === null ? Effect.succeed(stdout) : Effect.die(new Error(stderr || error.message)))
    )
  })
  return JSON.parse(output) as ReadonlyArray<{ readonly number: number; readonly arrived: Arrived }>
})

describe("workers", { timeout: 60_000 }, () => {
  for (const [where, source] of Object.entries(sources)) {
    it.live(`get every setting of ${where}, as the process alone does [C152]`, () =>
      Effect.gen(function*() {
        const all = yield* told(source)
        assert.deepStrictEqual(all.map(({ number }) => number), [0, 1, 2])
        assert.isAbove(source.settings.length, 60)
        for (const { arrived, number } of all) {
          for (const entry of source.settings) {
            const given = { value: entry.kind.fromText(textOf(entry)), name: source.nameOf(entry) }
            // The one that the supervisor says itself, over all but a flag.
            const isOwn = entry.key === "workerNumber" && number > 0 && !given.name.startsWith("--")
            const expected = isOwn ? { value: number, name: entry.env } : given
            assert.deepStrictEqual(arrived[entry.key], expected, `${entry.key} in process ${number}`)
          }
        }
      }))
  }
})
