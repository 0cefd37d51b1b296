import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Daemon from "../../../layers/internal/Daemon.ts"
import * as Logs from "../../utils/logs.ts"
import { isAlive } from "../../utils/processes.ts"
import * as Program from "../../utils/program.ts"
import { until } from "../../utils/sockets.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-daemon-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

/** A program that runs itself in the background. `body` is what it does there; its first word is its pid, in a file. */
const launched = Effect.fnUntraced(function*(body: string, options: object = {}) {
  const place = yield* folder
  const pidFile = Path.join(place, "pid")
  const program = yield* Program.start(`
    import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
    import * as Effect from "effect/Effect"
    import * as Fs from "node:fs"
    import * as Daemon from "./layers/internal/Daemon.ts"
    const duties = await Effect.runPromise(Daemon.duties)
    const place = ${JSON.stringify(place)}
    const serve = () => void Effect.runFork(Effect.scoped(Effect.andThen(duties.serving, Effect.never)))
    if (duties === undefined) {
      NodeRuntime.runMain(Effect.map(
        Daemon.launch(${JSON.stringify(options)}),
        (outcome) => console.log("outcome " + JSON.stringify(outcome) + "\\n")
      ))
    } else {
      Fs.writeFileSync(${JSON.stringify(`${pidFile}.new`)}, String(process.pid))
      Fs.renameSync(${JSON.stringify(`${pidFile}.new`)}, ${JSON.stringify(pidFile)})
      ${body}
    }
  `)
  const pid = Effect.map(
    until(() => Fs.existsSync(pidFile) || program.exitCode !== undefined),
    () => Number(Fs.readFileSync(pidFile, "utf8"))
  )
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      if (!Fs.existsSync(pidFile)) return
      const left = Number(Fs.readFileSync(pidFile, "utf8"))
      if (isAlive(left)) process.kill(left, "SIGKILL")
    })
  )
  const outcome = Effect.map(program.prints(/outcome (.*)\n/), ([, text]) => JSON.parse(text!) as Daemon.Outcome)
  return { outcome, pid, place, program }
})

describe.skipIf(process.platform !== "linux")("Daemon (looks into Linux's /proc)", { timeout: 60_000 }, () => {
  it.live("serves in a session of its own when the foreground ends [C154] [W135]", () =>
    Effect.gen(function*() {
      const { outcome, pid, place, program } = yield* launched(`
        Fs.writeFileSync(place + "/facts", JSON.stringify({
          session: Number(Fs.readFileSync("/proc/self/stat", "utf8").replace(/^.*\\) /s, "").split(" ")[3]),
          input: Fs.readlinkSync("/proc/self/fd/0"),
          output: Fs.readlinkSync("/proc/self/fd/1"),
          errors: Fs.readlinkSync("/proc/self/fd/2"),
          cwd: process.cwd(),
          env: Object.keys(process.env).filter((name) => /DAEMON|NODE_CHANNEL/.test(name))
        }))
        setInterval(() => {}, 1000)
        serve()
      `)
      const daemon = yield* pid
      assert.deepStrictEqual(yield* outcome, { _tag: "Serving", pid: daemon })
      assert.strictEqual(yield* program.exits, 0)
      assert.isTrue(isAlive(daemon))
      const facts = JSON.parse(Fs.readFileSync(Path.join(place, "facts"), "utf8"))
      assert.strictEqual(facts.session, daemon)
      assert.deepStrictEqual([facts.input, facts.output, facts.cwd], ["/dev/null", "/dev/null", process.cwd()])
      // A file that is nobody's any more once the daemon has ended.
      assert.match(facts.errors, /slipway-\w+\/log \(deleted\)$/)
      assert.deepStrictEqual(facts.env, [])
    }))

  it.live("lives on without the channel to the foreground, and prints without harm", () =>
    Effect.gen(function*() {
      const { outcome, pid, place, program } = yield* launched(`
        process.on("SIGUSR2", () => {
          console.log("to nowhere")
          console.error("to nowhere")
          Fs.writeFileSync(place + "/printed", String(process.connected))
        })
        setInterval(() => {}, 1000)
        serve()
      `)
      yield* outcome
      yield* program.exits
      const daemon = yield* pid
      process.kill(daemon, "SIGUSR2")
      const printed = Path.join(place, "printed")
      yield* until(() => Fs.existsSync(printed) && Fs.readFileSync(printed, "utf8") !== "")
      assert.strictEqual(Fs.readFileSync(printed, "utf8"), "false")
      assert.isTrue(isAlive(daemon))
      assert.notInclude(program.output, "to nowhere")
    }))

  it.live("says why it does not serve, with its own exit code, whoever printed it [C154] [W135]", () =>
    Effect.gen(function*() {
      const { outcome } = yield* launched(`
        const { execFileSync } = await import("node:child_process")
        execFileSync("sh", ["-c", "echo a worker says so >&2"], { stdio: "inherit" })
        process.stderr.write("Cannot listen: the port is taken\\n")
        process.exitCode = 3
        process.disconnect()
      `)
      assert.deepStrictEqual(yield* outcome, {
        _tag: "Ended",
        code: 3,
        text: "a worker says so\nCannot listen: the port is taken\n"
      })
    }))

  it.live("does not hide what the runtime prints, or which signal ended it", () =>
    Effect.gen(function*() {
      const thrown = yield* (yield* launched(`setTimeout(() => { throw new Error("out of order") }, 0)`)).outcome
      assert(thrown._tag === "Ended")
      assert.strictEqual(thrown.code, 1)
      assert.include(thrown.text, "Error: out of order")
      const killed = yield* (yield* launched(`process.kill(process.pid, "SIGKILL"); setInterval(() => {}, 1000)`))
        .outcome
      assert.deepStrictEqual(killed, { _tag: "Ended", code: 1, text: "slipway: the daemon was ended by SIGKILL\n" })
    }))

  it.live("has not served when it ends well before", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* (yield* launched(`process.exit(0)`)).outcome, { _tag: "Ended", code: 1, text: "" })
    }))

  it.live("appends what it prints to the log file, of which the foreground shows its own part", () =>
    Effect.gen(function*() {
      const log = Path.join(yield* folder, "log")
      Fs.writeFileSync(log, "from yesterday\n")
      const { outcome, program } = yield* launched(
        `console.log("to the log"); console.error("no"); process.exit(4)`,
        { log, accessLog: "-" }
      )
      assert.deepStrictEqual(yield* outcome, { _tag: "Ended", code: 4, text: "to the log\nno\n" })
      assert.strictEqual(Fs.readFileSync(log, "utf8"), "from yesterday\nto the log\nno\n")
      assert.notInclude(program.output, "discarded")
    }))

  it.live("warns before it leaves what will be discarded", () =>
    Effect.gen(function*() {
      const { outcome, program } = yield* launched("process.exit(1)", { accessLog: "-" })
      yield* outcome
      assert.include(program.output, "The log and the access log are discarded once the daemon serves")
      const without = yield* launched("process.exit(1)", { accessLog: false })
      yield* without.outcome
      assert.include(without.program.output, "The log is discarded once the daemon serves")
    }))

  it.live("ends with a foreground that is told to stop while it waits", () =>
    Effect.gen(function*() {
      const { pid, program } = yield* launched("setInterval(() => {}, 1000)")
      const daemon = yield* pid
      assert.isTrue(isAlive(daemon))
      yield* program.signal("SIGINT")
      yield* program.exits
      yield* until(() => !isAlive(daemon))
    }))
})

describe("Daemon", () => {
  const failure = (options: Daemon.Options) => Effect.map(Effect.flip(Daemon.launch(options)), ({ message }) => message)

  it.effect("is refused on Windows, which has services", () =>
    Effect.gen(function*() {
      assert.include(yield* failure({ platform: "win32" }), "Cannot run as a daemon (daemonize): Windows has services")
    }))

  it.live("is refused where it cannot be started, or has no place for its log", () =>
    Effect.gen(function*() {
      const log = Path.join(yield* folder, "no", "log")
      assert.strictEqual(
        yield* failure({ log }),
        `Cannot run as a daemon (daemonize): its log ${log} cannot be opened: ENOENT: no such file or directory`
      )
      assert.include(
        yield* Effect.provide(failure({ command: ["/no/such/program"] }), Logs.capture().layer),
        "spawn /no/such/program ENOENT"
      )
    }))

  it.effect("is nobody's duty in a process that was not started as one", () =>
    Effect.gen(function*() {
      assert.isUndefined(yield* Daemon.duties)
    }))

  it.effect("empties a log without a name again and again, and no other one", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const open = (name: string) =>
        Effect.acquireRelease(
          Effect.sync(() => Fs.openSync(Path.join(place, name), "a")),
          (descriptor) => Effect.sync(() => Fs.closeSync(descriptor))
        )
      const [named, nameless] = [yield* open("named"), yield* open("nameless")]
      Fs.rmSync(Path.join(place, "nameless"))
      const fill = () => [named, nameless].forEach((descriptor) => Fs.writeSync(descriptor, "text"))
      const sizes = () => [named, nameless].map((descriptor) => Fs.fstatSync(descriptor).size)
      fill()
      yield* Effect.forkChild(Daemon.keepSmall(nameless), { startImmediately: true })
      yield* Daemon.keepSmall(named)
      assert.deepStrictEqual(sizes(), [4, 0])
      fill()
      yield* TestClock.adjust("59 seconds")
      assert.deepStrictEqual(sizes(), [8, 4])
      yield* TestClock.adjust("1 seconds")
      assert.deepStrictEqual(sizes(), [8, 0])
    }))
})
