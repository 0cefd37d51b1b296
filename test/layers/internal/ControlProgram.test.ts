import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import * as TestConsole from "effect/testing/TestConsole"
import * as path from "node:path"
import * as Control from "../../../layers/internal/Control.ts"
import * as ControlCommand from "../../../layers/internal/ControlCommand.ts"
import * as ControlProgram from "../../../layers/internal/ControlProgram.ts"
import { Operations } from "../../../src/service/Operations.ts"
import { folder } from "../../utils/commandLine.ts"
import { capture } from "../../utils/logs.ts"
import { local, supervised } from "../../utils/operations.ts"
import { turn } from "../../utils/sockets.ts"

const once = { json: false, watch: false }
const notTerminal = { env: {}, isTerminal: false }

const listening = Effect.fnUntraced(function*(operations: Operations["Service"]) {
  const file = path.join(yield* folder({}), "control.sock")
  yield* Control.make({ path: file }).pipe(
    Effect.provideService(Operations, operations),
    Effect.provide(capture().layer)
  )
  return file
})

const at = (file: string): ControlProgram.Where => ({ socket: Option.some(file), config: Option.none() })
const nowhere: ControlProgram.Where = { socket: Option.none(), config: Option.none() }

const run = (
  where: ControlProgram.Where,
  task: ControlProgram.Task,
  surroundings: ControlProgram.Surroundings = notTerminal
) =>
  Effect.gen(function*() {
    const before = [(yield* TestConsole.logLines).length, (yield* TestConsole.errorLines).length]
    const code = yield* Effect.provide(ControlProgram.run(where, task, surroundings), NodeServices.layer)
    return {
      code,
      out: (yield* TestConsole.logLines).slice(before[0]).join("\n"),
      errors: (yield* TestConsole.errorLines).slice(before[1]).join("\n")
    }
  })

describe("ControlProgram", () => {
  it.effect("prints tables, and the same as one line of JSON", () =>
    Effect.gen(function*() {
      const { subject } = yield* local
      const file = yield* listening(subject.operations)
      const shown = yield* run(at(file), { _tag: "status", show: once })
      assert.strictEqual(shown.code, 0)
      assert.match(shown.out, /^Serving {6}app\.ts \(production\)/)
      assert.match(shown.out, /^ +0 +\d+ +serving /m)
      const json = yield* run(at(file), { _tag: "status", show: { json: true, watch: false } })
      assert.notInclude(json.out, "\n")
      assert.strictEqual((JSON.parse(json.out) as { readonly application: string }).application, "app.ts")
      const workers = yield* run(at(file), { _tag: "workers", show: { json: true, watch: false } })
      assert.strictEqual((JSON.parse(workers.out) as ReadonlyArray<{ readonly number: number }>)[0]?.number, 0)
      assert.include((yield* run(at(file), { _tag: "config", show: once })).out, "<redacted>")
      assert.strictEqual(
        (yield* run(at(file), { _tag: "connections", limit: 5, show: once })).out.split("\n").length,
        3
      )
    }))

  it.effect("does what it is told, and says that it is done", () =>
    Effect.gen(function*() {
      const { subject } = yield* supervised
      const file = yield* listening(subject.operations)
      const outcomes: Array<unknown> = []
      for (
        const task of [
          { _tag: "reload" },
          { _tag: "scale", workers: 2 },
          { _tag: "drain", on: true },
          { _tag: "reopen" },
          { _tag: "stop" }
        ] as const
      ) {
        const { code, errors, out } = yield* run(at(file), task)
        assert.deepStrictEqual([code, errors], [0, ""])
        outcomes.push(out)
      }
      assert.deepStrictEqual(outcomes, [
        "Reloaded",
        "Serving with 2 workers",
        "Not ready any more; requests are answered all the same",
        "Log files are opened anew",
        "Stopping"
      ])
      assert.deepStrictEqual(subject.done, ["reload", "reopen", "stop"])
      assert.deepStrictEqual(yield* subject.drained, [true, true])
    }))

  it.effect("ends with 1 and the reason when it cannot be done, and prints nothing else", () =>
    Effect.gen(function*() {
      const { subject } = yield* local
      const file = yield* listening(subject.operations)
      const scaled = yield* run(at(file), { _tag: "scale", workers: 3 })
      assert.deepStrictEqual([scaled.code, scaled.out], [1, ""])
      assert.match(scaled.errors, /^slipway ctl: There are no workers here/)
      const gone = yield* run(at("/nowhere/\u001b[2J.sock"), { _tag: "status", show: once })
      assert.strictEqual(gone.code, 1)
      assert.include(gone.errors, "There is no control socket /nowhere/?[2J.sock")
    }))

  describe("finds the socket", () => {
    it.effect("by the flag, before the environment, before the config file", () =>
      Effect.gen(function*() {
        const { subject } = yield* local
        const file = yield* listening(subject.operations)
        const directory = yield* folder({
          "right.toml": `controlSocket = ${JSON.stringify(file)}`,
          "wrong.toml": `controlSocket = "/nowhere.sock"`
        })
        const config = (name: string) => Option.some(path.join(directory, name))
        const right = { SLIPWAY_CONTROL_SOCKET: file }
        const wrong = { SLIPWAY_CONTROL_SOCKET: "/nowhere.sock" }
        const code = (where: ControlProgram.Where, env: Record<string, string>) =>
          Effect.map(
            run(where, { _tag: "status", show: once }, { env, isTerminal: false }),
            (outcome) => outcome.code
          )
        assert.strictEqual(yield* code({ ...nowhere, config: config("right.toml") }, {}), 0)
        assert.strictEqual(yield* code({ ...nowhere, config: config("right.toml") }, wrong), 1)
        assert.strictEqual(yield* code({ ...nowhere, config: config("wrong.toml") }, right), 0)
        assert.strictEqual(yield* code(at(file), wrong), 0)
      }))

    it.effect("or says that it was called wrongly", () =>
      Effect.gen(function*() {
        const none = yield* run(nowhere, { _tag: "stop" })
        assert.strictEqual(none.code, 2)
        assert.include(none.errors, "--socket PATH")
        const config = Option.some("/nowhere/slipway.toml")
        const unreadable = yield* run({ ...nowhere, config }, { _tag: "stop" })
        assert.strictEqual(unreadable.code, 2)
        assert.include(unreadable.errors, "/nowhere/slipway.toml")
      }))
  })

  describe("on a terminal", () => {
    const colourful = (env: Record<string, string>, isTerminal: boolean) =>
      Effect.gen(function*() {
        const { subject } = yield* local
        const file = yield* listening(subject.operations)
        const { out } = yield* run(at(file), { _tag: "status", show: once }, { env, isTerminal })
        return out.includes("\u001b[")
      })

    it.effect("uses colour unless NO_COLOR says otherwise, elsewhere none", () =>
      Effect.gen(function*() {
        assert.isTrue(yield* colourful({}, true))
        assert.isTrue(yield* colourful({ NO_COLOR: "" }, true))
        assert.isFalse(yield* colourful({ NO_COLOR: "1" }, true))
        assert.isFalse(yield* colourful({}, false))
      }))
  })

  it.effect("looks again every two seconds with watch, until it is interrupted or the server has gone", () =>
    Effect.gen(function*() {
      const { subject } = yield* local
      const file = yield* listening(subject.operations)
      const watching = yield* Effect.forkChild(
        run(at(file), { _tag: "workers", show: { json: true, watch: true } }),
        { startImmediately: true }
      )
      const lines = (count: number) =>
        Effect.gen(function*() {
          while ((yield* TestConsole.logLines).length < count) yield* turn
          return (yield* TestConsole.logLines).length
        })
      assert.strictEqual(yield* lines(1), 1)
      yield* TestClock.adjust("1999 millis")
      for (let i = 0; i < 20; i++) yield* turn
      assert.strictEqual(yield* lines(1), 1)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* lines(2), 2)
      yield* Fiber.interrupt(watching)
    }))
})

describe("ControlCommand", () => {
  const call = (...args: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      let code: number | undefined
      const command = Command.make("slipway").pipe(
        Command.withSubcommands([ControlCommand.make((finished) => void (code = finished))])
      )
      const failure = yield* Command.runWith(command, { version: "0" })(args).pipe(
        Effect.as(undefined),
        Effect.catch((error) => Effect.succeed(error._tag)),
        Effect.provide(NodeServices.layer)
      )
      return failure ?? code
    })

  it.effect("takes the socket before or behind the name of what is asked", () =>
    Effect.gen(function*() {
      const { subject } = yield* local
      const file = yield* listening(subject.operations)
      assert.strictEqual(yield* call("ctl", "--socket", file), 0)
      assert.strictEqual(yield* call("ctl", "--socket", file, "status"), 0)
      assert.strictEqual(yield* call("ctl", "status", "--socket", file), 0)
      assert.strictEqual(yield* call("ctl", "connections", "--limit", "1", "--json", "--socket", file), 0)
      assert.strictEqual(yield* call("ctl", "config", "--socket", file), 0)
      assert.strictEqual(yield* call("ctl", "workers", "--socket", file), 0)
      assert.strictEqual(yield* call("ctl", "drain", "on", "--socket", file), 0)
      assert.deepStrictEqual(yield* subject.drained, [true])
      for (const name of ["reload", "reopen", "stop"]) assert.strictEqual(yield* call("ctl", name, "--socket", file), 0)
      assert.deepStrictEqual(subject.done, ["reload", "reopen", "stop"])
      assert.strictEqual(yield* call("ctl", "scale", "2", "--socket", file), 1)
    }))

  for (
    const args of [
      ["ctl", "dance"],
      ["ctl", "scale"],
      ["ctl", "scale", "many"],
      ["ctl", "drain", "maybe"],
      ["ctl", "reload", "--json"],
      ["ctl", "status", "--colour"]
    ]
  ) {
    it.effect(`does not take ${args.join(" ")}`, () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* call(...args), "ShowHelp")
      }))
  }
})
