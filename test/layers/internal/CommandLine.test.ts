import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as TestConsole from "effect/testing/TestConsole"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as CommandLine from "../../../layers/internal/CommandLine.ts"
import * as Settings from "../../../src/schema/Settings.ts"

const call = (args: ReadonlyArray<string>, columns?: number, colors = false) =>
  Effect.gen(function*() {
    const before = (yield* TestConsole.logLines).length
    let given: Record<string, string | ReadonlyArray<string>> = {}
    let app: Result.Result<Readonly<Record<string, string>>, Settings.SettingsError> = Result.succeed({})
    const command = Command.make("slipway", CommandLine.input, (parsed) =>
      Effect.sync(() => {
        given = CommandLine.givenFlags(parsed)
        app = CommandLine.appArguments(parsed)
      }))
    const problem = yield* Command.runWith(command, { version: "1" })(args).pipe(
      Effect.as(undefined),
      Effect.catch((error) => Effect.succeed(CommandLine.explain(error))),
      Effect.provideService(CliConfig.CliConfig, {
        builtIns: [GlobalFlag.Help, GlobalFlag.Version, CommandLine.completions]
      }),
      Effect.provideService(CliOutput.Presenter, CommandLine.presenter(columns, colors)),
      Effect.provide(NodeServices.layer)
    )
    const output = (yield* TestConsole.logLines).slice(before).join("\n")
    return { given, app, problem, output }
  })

const help = (columns?: number, colors?: boolean) =>
  Effect.map(call(["--help"], columns, colors), ({ output }) => output)

describe("CommandLine", () => {
  describe("givenFlags", () => {
    it.effect("holds what was given and nothing else", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual((yield* call([])).given, {})
        const { given } = yield* call([
          "app.js",
          "-p",
          "80",
          "--listen",
          "a:1",
          "--listen=b:2",
          "--max-body-bytes",
          "1MB"
        ])
        assert.deepStrictEqual(given, { port: "80", listen: ["a:1", "b:2"], maxBodyBytes: "1MB" })
      }))

    it.effect("takes a flag that switches off for its text, weaker than the flag itself", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual((yield* call(["--no-access-log"])).given, { accessLog: "none" })
        assert.deepStrictEqual((yield* call(["--no-access-log", "--access-log", "-"])).given, { accessLog: "-" })
        assert.deepStrictEqual((yield* call(["--no-env-file", "--no-config"])).given, {
          config: "none",
          envFile: "none"
        })
      }))

    it.effect("takes a switch for on, and with no- for off", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual((yield* call(["-D", "--no-reload", "app.js"])).given, {
          daemonize: "on",
          reload: "off"
        })
      }))
  })

  describe("appArguments", () => {
    const of = (...args: ReadonlyArray<string>) => Effect.map(call(["app.js", ...args]), ({ app }) => app)

    it.effect("holds what follows the application by name [C163]", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* of(), Result.succeed({}))
        assert.deepStrictEqual(
          yield* of("name=value", "url=a?b=c", "--port", "1", "empty=", "__proto__=x"),
          Result.succeed(Object.fromEntries([["name", "value"], ["url", "a?b=c"], ["empty", ""], ["__proto__", "x"]]))
        )
      }))

    it.effect("refuses what has no name, and a name twice, showing it", () =>
      Effect.gen(function*() {
        const messageOf = (...args: ReadonlyArray<string>) =>
          Effect.map(of(...args), (app) => Result.isFailure(app) ? app.failure.message : "accepted")
        const expected = "expected name=value, for the application"
        assert.strictEqual(yield* messageOf("b.js"), `An argument after APP is "b.js": ${expected}`)
        assert.strictEqual(yield* messageOf("=b"), `An argument after APP is "=b": ${expected}`)
        assert.strictEqual(
          yield* messageOf("a=1", "a=2"),
          `An argument after APP is "a=2": expected one value for a`
        )
      }))
  })

  describe("explain", () => {
    it.effect("names unknown and repeated flags", () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* call(["--prot", "80"])).problem, "Unknown option --prot. Did you mean --port?")
        assert.include((yield* call(["--no-acces-log"])).problem, "Did you mean --no-access-log?")
        assert.include((yield* call(["--port", "1", "--port", "2"])).problem, "--port")
      }))

    it.effect("prints nothing itself", () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* call(["--prot", "80"])).output, "")
      }))
  })

  describe("presenter", () => {
    it.effect("begins with the call, the arguments and the flags that are used most", () =>
      Effect.gen(function*() {
        const screen = (yield* help(80)).split("\n").slice(0, 40).join("\n")
        for (const heading of ["USAGE", "ARGUMENTS", "MOST USED", "WHERE IT LISTENS"]) assert.include(screen, heading)
        for (const flag of ["-p, --port NUMBER", "-w, --workers", "--reload", "-c, --config"]) {
          assert.include(screen, flag)
        }
      }))

    it.effect("explains every flag once below the heading of its section", () =>
      Effect.gen(function*() {
        const lines = (yield* help()).split("\n")
        for (const entry of Settings.entries) {
          const at = lines.indexOf(`  ${Settings.flagsOf(entry).join(", ")}`)
          assert.isAbove(at, 0, entry.key)
          const heading = lines.slice(0, at).findLast((line) => /^[A-Z]/.test(line))
          assert.strictEqual(heading, entry.section.toUpperCase())
        }
        assert.isAbove(lines.findIndex((line) => line.startsWith("  --completions")), lines.indexOf("OTHERS"))
      }))

    it.effect("fits the terminal, and says the same at every width", () =>
      Effect.gen(function*() {
        const [wide, narrow, piped] = yield* Effect.all([help(400), help(72), help()])
        const widest = (text: string): number =>
          Math.max(...text.split("\n").filter((line) => !/^ {2}\S/.test(line)).map(({ length }) => length))
        assert.isAtMost(widest(narrow), 72)
        assert.isAtMost(widest(wide), 100)
        for (const other of [narrow, piped]) {
          assert.strictEqual(other.replaceAll(/\s+/g, ""), wide.replaceAll(/\s+/g, ""))
        }
      }))

    it.effect("colours headings and flags only where it may", () =>
      Effect.gen(function*() {
        const colored = yield* help(80, true)
        assert.include(colored, "\u001b[1mUSAGE\u001b[0m")
        // oxlint-disable-next-line no-control-regex
        assert.strictEqual(colored.replaceAll(/\u001b\[\d+m/g, ""), yield* help(80))
      }))
  })

  describe("hasColors", () => {
    it("is what the terminal can, unless NO_COLOR or FORCE_COLOR say otherwise", () => {
      assert.isTrue(CommandLine.hasColors({}, true))
      assert.isFalse(CommandLine.hasColors({}, false))
      assert.isFalse(CommandLine.hasColors({ NO_COLOR: "1" }, true))
      assert.isTrue(CommandLine.hasColors({ NO_COLOR: "" }, true))
      assert.isTrue(CommandLine.hasColors({ FORCE_COLOR: "1", NO_COLOR: "1" }, false))
      assert.isTrue(CommandLine.hasColors({ FORCE_COLOR: "" }, false))
      assert.isFalse(CommandLine.hasColors({ FORCE_COLOR: "0" }, true))
    })
  })

  describe("completions", () => {
    const shells = ["bash", "zsh", "fish"] as const
    const isInstalled = (shell: string): boolean => spawnSync(shell, ["-c", "exit 0"]).status === 0

    /** A folder with the script for a shell, two files and a folder. */
    const prepared = Effect.fnUntraced(function*(shell: typeof shells[number]) {
      const { output } = yield* call(["--completions", shell])
      return yield* Effect.acquireRelease(
        Effect.sync(() => {
          const directory = fs.mkdtempSync(path.join(os.tmpdir(), "slipway-"))
          fs.writeFileSync(path.join(directory, "script"), output)
          fs.writeFileSync(path.join(directory, "my app.ts"), "")
          fs.mkdirSync(path.join(directory, "mine"))
          return directory
        }),
        (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true }))
      )
    })

    const run = (shell: string, args: ReadonlyArray<string>, cwd: string): Array<string> => {
      const { stderr, stdout } = spawnSync(shell, args, { cwd, encoding: "utf8" })
      assert.strictEqual(stderr, "")
      return stdout.split("\n").filter((line) => line !== "")
    }

    /** What bash would offer for the last of the words, as it asks: the function, its word and the word before. */
    const inBash = (cwd: string, ...words: ReadonlyArray<string>) => {
      const all = ["slipway", ...words].map((word) => `'${word}'`)
      const [last, before] = [all.at(-1), all.at(-2)]
      const script = `source ./script; COMP_WORDS=(${all.join(" ")}); COMP_CWORD=${words.length}; `
        + `COMP_LINE="slipway ${words.join(" ")}"; COMP_POINT=\${#COMP_LINE}; _slipway slipway ${last} ${before}; `
        + `printf '%s\\n' "\${COMPREPLY[@]}"`
      return run("bash", ["--norc", "--noprofile", "-c", script], cwd)
    }

    it.effect.skipIf(!isInstalled("bash"))("complete flags, values and files in bash", () =>
      Effect.gen(function*() {
        const cwd = yield* prepared("bash")
        assert.deepStrictEqual(inBash(cwd, "--max-h"), ["--max-header-bytes", "--max-header-count"])
        assert.deepStrictEqual(inBash(cwd, "--no-e"), ["--no-env-file"])
        assert.deepStrictEqual(inBash(cwd, "--log-level", ""), ["debug", "info", "warn", "error", "none"])
        assert.deepStrictEqual(inBash(cwd, "--http2", "o"), ["on", "off"])
        assert.deepStrictEqual(inBash(cwd, "--access-log-format", "c"), ["clf", "combined", "common"])
        assert.deepStrictEqual(inBash(cwd, "--config", "my"), ["my\\ app.ts"])
        assert.deepStrictEqual(inBash(cwd, "--chdir", "m"), ["mine"])
        assert.deepStrictEqual(inBash(cwd, "m").sort(), ["mine", "my\\ app.ts"])
      }))

    it.effect.skipIf(!isInstalled("fish"))("complete flags, values and files in fish", () =>
      Effect.gen(function*() {
        const cwd = yield* prepared("fish")
        const inFish = (line: string) =>
          run("fish", ["--no-config", "-c", `source ./script; complete -C '${line}'`], cwd)
            .map((found) => found.split("\t")[0]!)
        assert.deepStrictEqual(inFish("slipway --max-h").sort(), ["--max-header-bytes", "--max-header-count"])
        assert.sameMembers(inFish("slipway --log-level "), ["debug", "info", "warn", "error", "none"])
        assert.deepStrictEqual(inFish("slipway --config my"), ["my app.ts"])
      }))

    it.effect.skipIf(!isInstalled("zsh"))(
      "are understood by zsh, with the values in them",
      () =>
        Effect.gen(function*() {
          const cwd = yield* prepared("zsh")
          assert.deepStrictEqual(run("zsh", ["-f", "-n", "./script"], cwd), [])
          const script = "autoload -U compinit; compinit -D -u; source ./script; print $_comps[slipway]"
          assert.deepStrictEqual(run("zsh", ["-f", "-c", script], cwd), ["_slipway"])
          const text = fs.readFileSync(path.join(cwd, "script"), "utf8")
          assert.match(text, /--log-level[^\n]*debug[^\n]*info[^\n]*warn/)
          assert.match(text, /--config[^\n]*_files/)
        })
    )
  })
})
