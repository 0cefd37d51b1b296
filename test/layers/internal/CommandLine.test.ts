import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as TestConsole from "effect/testing/TestConsole"
import * as CommandLine from "../../../layers/internal/CommandLine.ts"

const call = (args: ReadonlyArray<string>, columns?: number) =>
  Effect.gen(function*() {
    let given: Record<string, string | ReadonlyArray<string>> = {}
    const command = Command.make("slipway", CommandLine.input, (parsed) =>
      Effect.sync(() => {
        given = CommandLine.givenFlags(parsed)
      }))
    const problem = yield* Command.runWith(command, { version: "1" })(args).pipe(
      Effect.as(undefined),
      Effect.catch((error) => Effect.succeed(CommandLine.explain(error))),
      Effect.provideService(CliOutput.Presenter, CommandLine.presenter(columns)),
      Effect.provide(NodeServices.layer)
    )
    const output = (yield* TestConsole.logLines).join("\n").replaceAll(/\u001b\[\d+m/g, "")
    return { given, problem, output }
  })

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
      }))
  })

  describe("explain", () => {
    it.effect("names unknown, repeated and surplus arguments", () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* call(["--prot", "80"])).problem, "Unknown option --prot. Did you mean --port?")
        assert.include((yield* call(["--no-acces-log"])).problem, "Did you mean --no-access-log?")
        assert.include((yield* call(["--port", "1", "--port", "2"])).problem, "--port")
        assert.include((yield* call(["a.js", "b.js"])).problem, "b.js")
      }))

    it.effect("prints nothing itself", () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* call(["--prot", "80"])).output, "")
      }))
  })

  describe("presenter", () => {
    it.effect("wraps help to the width of the terminal and leaves it alone elsewhere", () =>
      Effect.gen(function*() {
        const wide = (yield* call(["--help"])).output
        const narrow = (yield* call(["--help"], 100)).output.slice(wide.length)
        assert.isAbove(Math.max(...wide.split("\n").map((line) => line.length)), 100)
        const long = narrow.split("\n").filter((line) => line.length > 100)
        assert.deepStrictEqual(long.filter((line) => !/^ {2}--(?:completions|log-level|wizard)/.test(line)), [])
        assert.strictEqual(narrow.trim().replaceAll(/\s+/g, ""), wide.trim().replaceAll(/\s+/g, ""))
      }))
  })
})
