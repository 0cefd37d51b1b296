/**
 * The program as a process among others, as an operator has it: pid file, daemon, rights, surroundings, systemd, a port
 * that is taken, containers, a browser. What each needs of src/main.ts stands above it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as http from "node:http"
import * as path from "node:path"
import { folder, get, root, run, start } from "./utils/commandLine.ts"
import { isAlive } from "./utils/processes.ts"
import { until } from "./utils/sockets.ts"

const isLinux = process.platform === "linux"
const isRoot = isLinux && process.geteuid?.() === 0
const runs = (program: string, ...args: ReadonlyArray<string>) => spawnSync(program, args).status === 0
const hasSystemd = isLinux && runs("systemd-socket-activate", "--version")
const nobody = 65534
/** Not where the project or Node is in a folder of root alone. */
const nobodyReads = isRoot && runs(
  "setpriv",
  `--reuid=${nobody}`,
  `--regid=${nobody}`,
  "--clear-groups",
  process.execPath,
  path.join(root, "dist/main.js"),
  "--version"
)

/** Says what its process is. */
const source = `
import * as fs from "node:fs"
import * as Effect from "effect/Effect"

export default ({ send, type }) => {
  if (type !== "http") return Effect.void
  fs.writeFileSync("made", "")
  const mode = fs.statSync("made").mode & 0o777
  fs.rmSync("made")
  const body = JSON.stringify({
    pid: process.pid,
    ppid: process.ppid,
    ids: process.getuid === undefined ? [] : [process.getuid(), process.getgid(), process.getgroups()],
    cwd: process.cwd(),
    title: process.title,
    mode,
    env: Object.keys(process.env).filter((name) => /^(LISTEN_|NOTIFY_|WATCHDOG_|SLIPWAY_DAEMON)/.test(name))
  })
  return Effect.andThen(
    send({ type: "http.response.start", status: 200, headers: [] }),
    send({ type: "http.response.body", body })
  )
}
`

interface Told {
  readonly pid: number
  readonly ppid: number
  readonly ids: readonly [number, number, ReadonlyArray<number>]
  readonly cwd: string
  readonly title: string
  readonly mode: number
  readonly env: ReadonlyArray<string>
}

const quiet = ["--env", "production", "--access-log", "none"]

/** A folder with the application, where everybody may do everything. */
const site = (files: Record<string, string> = {}) =>
  Effect.tap(folder({ "app.mjs": source, ...files }), (cwd) => Effect.sync(() => fs.chmodSync(cwd, 0o777)))

const askAt = (socketPath: string): Effect.Effect<Told> =>
  Effect.callback((resume) => {
    const request = http.get({ socketPath, path: "/", agent: false }, (response) => {
      let body = ""
      response.setEncoding("utf8").on("data", (text: string) => body += text)
      response.on("end", () => resume(Effect.succeed(JSON.parse(body) as Told)))
    })
    request.on("error", (error) => resume(Effect.die(error)))
  })

const ask = (url: string): Effect.Effect<Told> => Effect.map(get(url), (body) => JSON.parse(body) as Told)

/** Ends with the test, also when nobody asked it to. */
const endWithTest = (pid: number) =>
  Effect.addFinalizer(() =>
    Effect.sync(() => {
      if (isAlive(pid)) process.kill(pid, "SIGKILL")
    })
  )

const stop = (program: { readonly child: { readonly kill: (signal: NodeJS.Signals) => boolean } }) =>
  Effect.sync(() => void program.child.kill("SIGTERM"))

/** Started by systemd's own program, at the first connection. */
const activated = Effect.fnUntraced(function*(cwd: string, socket: string, ...args: ReadonlyArray<string>) {
  const text = { value: "" }
  const program = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(
        "systemd-socket-activate",
        ["-E", "SLIPWAY_CONTAINER=0", "-l", socket, process.execPath, path.join(root, "dist/main.js"), "app.mjs"]
          .concat(args, quiet),
        { cwd, stdio: ["ignore", "ignore", "pipe"] }
      )
    ),
    (child) => Effect.sync(() => void child.kill("SIGKILL"))
  )
  program.stderr.setEncoding("utf8").on("data", (part: string) => text.value += part)
  yield* until(() => text.value.includes("Listening on"))
  return { program, text }
})

describe("process", { timeout: 60_000 }, () => {
  // Needs: PidFile.hold once the sockets are bound, in the single process and in the supervisor.
  describe("pid file", () => {
    for (const workers of [[], ["--workers", "2"]]) {
      it.live(`has the pid of the program ${workers.join(" ")} while it runs, and turns another away [C154] [W135]`, () =>
        Effect.gen(function*() {
          const cwd = yield* site()
          const args = ["app.mjs", "--port", "0", "--pid-file", "app.pid", ...workers, ...quiet]
          const program = yield* start(args, { cwd })
          yield* program.ready
          const file = path.join(cwd, "app.pid")
          assert.strictEqual(fs.readFileSync(file, "utf8"), `${program.child.pid}\n`)
          const second = yield* run(args, { cwd })
          assert.strictEqual(second.code, 1)
          assert.include(second.stderr, `Process ${program.child.pid}`)
          assert.include(second.stderr, file)
          assert.strictEqual(fs.readFileSync(file, "utf8"), `${program.child.pid}\n`)
          yield* stop(program)
          assert.strictEqual(yield* program.exited, 0)
          assert.isFalse(fs.existsSync(file))
        }))
    }
  })

  // Needs: Daemon.duties before the settings are read; Daemon.launch in the foreground, its pid to standard output, its text
  // to standard error and its code; Daemon's `serving` where the ready line is.
  describe.skipIf(process.platform === "win32")("daemon", () => {
    for (const workers of [[], ["--workers", "2"]]) {
      it.live(`goes on when the command ends ${workers.join(" ")}, which says its pid [C154] [W135]`, () =>
        Effect.gen(function*() {
          const cwd = yield* site()
          const args = ["app.mjs", "--unix", "app.sock", "--pid-file", "app.pid", "--daemonize", ...workers, ...quiet]
          const { code, stderr, stdout } = yield* run(args, { cwd })
          assert.strictEqual(code, 0, stderr)
          assert.match(stdout, /^\d+\n$/)
          const pid = Number(stdout)
          yield* endWithTest(pid)
          assert.strictEqual(fs.readFileSync(path.join(cwd, "app.pid"), "utf8"), stdout)
          const told = yield* askAt(path.join(cwd, "app.sock"))
          assert.strictEqual(workers.length === 0 ? told.pid : told.ppid, pid)
          assert.deepStrictEqual([told.cwd, told.env], [cwd, []])
          process.kill(pid, "SIGTERM")
          yield* until(() => !isAlive(pid))
          assert.isFalse(fs.existsSync(path.join(cwd, "app.pid")))
        }))

      it.live(`that does not start ${workers.join(" ")} says why, with its exit code [C154] [W135]`, () =>
        Effect.gen(function*() {
          const cwd = yield* site({ "broken.mjs": "export default 1" })
          const { code, stderr, stdout } = yield* run([
            "broken.mjs",
            "--port",
            "0",
            "--daemonize",
            ...workers,
            ...quiet
          ], {
            cwd
          })
          assert.strictEqual(code, workers.length === 0 ? 1 : 3)
          assert.include(stderr, "Cannot serve broken.mjs: its default export is a number")
          assert.strictEqual(stdout, "")
        }))
    }

    it.live("serves only once it says so itself, whatever the application says over the channel", () =>
      Effect.gen(function*() {
        const cwd = yield* site({
          "eager.mjs":
            `process.send?.("ready")\nawait new Promise((resolve) => setTimeout(resolve, 100))\nthrow new Error("out of tea")`
        })
        const { code, stderr } = yield* run(["eager.mjs", "--unix", "app.sock", "--daemonize", ...quiet], { cwd })
        assert.strictEqual(code, 1)
        assert.include(stderr, "out of tea")
      }))

    it.live.skipIf(!isLinux)(
      "keeps small what nobody can read, also after an upgrade [C154]",
      () =>
        Effect.gen(function*() {
          const cwd = yield* site({ "loud.mjs": `process.stderr.write("x".repeat(100_000))\n${source}` })
          const args = ["loud.mjs", "--unix", "app.sock", "--pid-file", "app.pid", "--daemonize", "--workers", "2"]
          const pid = Number((yield* run([...args, ...quiet], { cwd })).stdout)
          yield* endWithTest(pid)
          process.kill(pid, "SIGUSR2")
          yield* until(() => !isAlive(pid))
          const successor = Number(fs.readFileSync(path.join(cwd, "app.pid"), "utf8"))
          yield* endWithTest(successor)
          assert.notStrictEqual(successor, pid)
          yield* until(() => fs.statSync(`/proc/${successor}/fd/2`).size < 100_000)
          process.kill(successor, "SIGTERM")
          yield* until(() => !isAlive(successor))
        })
    )

    it.live("that finds its address taken says so in the foreground", () =>
      Effect.gen(function*() {
        const cwd = yield* site()
        const first = yield* start(["app.mjs", "--unix", "app.sock", ...quiet], { cwd })
        yield* first.ready
        const { code, stderr } = yield* run(["app.mjs", "--unix", "app.sock", "--daemonize", ...quiet], { cwd })
        assert.strictEqual(code, 1)
        assert.include(stderr, "EADDRINUSE")
      }))
  })

  // Needs: Privileges.resolve first of all; give and drop after the bind and the pid file, in the single process and in each
  // worker; the application loaded afterwards.
  describe.skipIf(!nobodyReads)("user and group (of root, where nobody can read the project)", () => {
    for (const workers of [[], ["--workers", "2"]]) {
      it.live(`are those of what serves ${workers.join(" ")}, and the socket is theirs [C154]`, () =>
        Effect.gen(function*() {
          const cwd = yield* site()
          const program = yield* start(["app.mjs", "--unix", "app.sock", "--user", "nobody", ...workers, ...quiet], {
            cwd
          })
          yield* program.ready
          const socket = path.join(cwd, "app.sock")
          const told = yield* askAt(socket)
          assert.deepStrictEqual(told.ids, [nobody, nobody, [nobody]])
          const { gid, uid } = fs.statSync(socket)
          assert.deepStrictEqual([uid, gid], [nobody, nobody])
          const supervisor = fs.readFileSync(`/proc/${program.child.pid}/status`, "utf8")
          assert.match(supervisor, /^Uid:\t0\t0\t0\t/m)
          yield* stop(program)
          assert.strictEqual(yield* program.exited, 0)
        }))
    }

    it.live("have the sockets that a restart or an upgrade adds as well [C154]", () =>
      Effect.gen(function*() {
        const config = (...listen: ReadonlyArray<string>) => JSON.stringify({ listen, user: "nobody", workers: 2 })
        const cwd = yield* site({ "app.json": config("./a.sock") })
        const owner = (name: string) => fs.statSync(path.join(cwd, name)).uid
        const program = yield* start(["app.mjs", "--config", "app.json", "--pid-file", "app.pid", ...quiet], { cwd })
        yield* program.ready
        fs.writeFileSync(path.join(cwd, "app.json"), config("./a.sock", "./b.sock"))
        program.child.kill("SIGHUP")
        yield* program.waitFor("stderr", /Restarted 2 workers/)
        assert.deepStrictEqual([owner("a.sock"), owner("b.sock")], [nobody, nobody])
        fs.writeFileSync(path.join(cwd, "app.json"), config("./a.sock", "./b.sock", "./c.sock"))
        program.child.kill("SIGUSR2")
        yield* until(() => program.child.exitCode !== null)
        const successor = Number(fs.readFileSync(path.join(cwd, "app.pid"), "utf8"))
        yield* endWithTest(successor)
        assert.deepStrictEqual(["a.sock", "b.sock", "c.sock"].map(owner), [nobody, nobody, nobody])
        process.kill(successor, "SIGTERM")
        yield* until(() => !isAlive(successor))
        assert.isFalse(fs.existsSync(path.join(cwd, "c.sock")))
      }))

    it.live("have the log of the program, also once it was renamed [C154]", () =>
      Effect.gen(function*() {
        const cwd = yield* site()
        const args = ["app.mjs", "--unix", "app.sock", "--user", "nobody", "--workers", "2", "--error-log", "app.log"]
        const program = yield* start([...args, ...quiet], { cwd })
        const log = path.join(cwd, "app.log")
        const says = (text: string) => until(() => fs.existsSync(log) && fs.readFileSync(log, "utf8").includes(text))
        yield* says("serving app.mjs")
        fs.renameSync(log, `${log}.1`)
        program.child.kill("SIGUSR1")
        yield* says("Opened the log files anew")
        assert.strictEqual(fs.statSync(log).uid, nobody)
        yield* stop(program)
        assert.strictEqual(yield* program.exited, 0)
        assert.lengthOf(fs.readFileSync(log, "utf8").match(/Stopped: waited for 0 requests/g) ?? [], 2)
        assert.strictEqual(program.stderr, "")
      }))

    it.live("that nobody has stop the program before it binds", () =>
      Effect.gen(function*() {
        const cwd = yield* site()
        const args = ["app.mjs", "--unix", "app.sock", ...quiet]
        const user = yield* run([...args, "--user", "no-such-user"], { cwd })
        assert.deepStrictEqual([user.code, fs.existsSync(path.join(cwd, "app.sock"))], [1, false])
        assert.include(user.stderr, "Cannot run as user no-such-user")
        const group = yield* run([...args, "--group", "no-such-group", "--workers", "2"], { cwd })
        assert.strictEqual(group.code, 1)
        assert.include(group.stderr, "Cannot run as group no-such-group")
      }))
  })

  // Needs: Surroundings.enter first in every process, and workers started in Surroundings.startFolder.
  describe("surroundings", () => {
    for (const workers of [[], ["--workers", "2"]]) {
      it.live(`are those of the settings ${workers.join(" ")}`, () =>
        Effect.gen(function*() {
          const cwd = yield* folder({})
          const app = path.join(cwd, "site")
          fs.mkdirSync(app)
          fs.symlinkSync(path.join(root, "node_modules"), path.join(app, "node_modules"))
          fs.writeFileSync(path.join(app, "app.mjs"), source)
          const args = ["app.mjs", "--port", "0", "--chdir", "site", "--umask", "027", "--title", "shop", ...workers]
          const program = yield* start([...args, ...quiet], { cwd })
          const told = yield* ask(yield* program.ready)
          assert.deepStrictEqual([told.cwd, told.mode], [app, 0o640])
          assert.match(told.title, workers.length === 0 ? /^shop$/ : /^shop: worker [12]$/)
        }))
    }
  })

  // Needs: Systemd.take before anything is opened, in the process that was started; listenOf where no address is set; match.
  describe.skipIf(!hasSystemd)("systemd-socket-activate", () => {
    for (const workers of [[], ["--workers", "2"]]) {
      it.live(`hands its sockets to the program ${workers.join(" ")} [C138] [W136]`, () =>
        Effect.gen(function*() {
          const cwd = yield* site()
          const socket = path.join(cwd, "app.sock")
          const { program, text } = yield* activated(cwd, socket, ...workers)
          const told = yield* askAt(socket)
          assert.strictEqual(workers.length === 0 ? told.pid : told.ppid, program.pid)
          assert.deepStrictEqual(told.env, [])
          yield* until(() => text.value.includes(`serving app.mjs on unix:${socket} (production`))
          program.kill("SIGTERM")
          yield* until(() => program.exitCode !== null)
          assert.strictEqual(program.exitCode, 0)
          assert.isTrue(fs.statSync(socket).isSocket())
        }))
    }

    it.live("hands its sockets to the program, which hands them to its successors, restarted or not [C138] [C151]", () =>
      Effect.gen(function*() {
        const cwd = yield* site()
        const socket = path.join(cwd, "app.sock")
        const { program, text } = yield* activated(cwd, socket, "--workers", "2", "--pid-file", "app.pid")
        yield* askAt(socket)
        yield* until(() => text.value.includes("serving app.mjs"))
        let pid = program.pid!
        for (const nth of [1, 2]) {
          process.kill(pid, "SIGUSR2")
          yield* until(() => text.value.split("Upgraded: ").length > nth && !isAlive(pid))
          pid = Number(fs.readFileSync(path.join(cwd, "app.pid"), "utf8"))
          yield* endWithTest(pid)
          assert.strictEqual((yield* askAt(socket)).ppid, pid)
          process.kill(pid, "SIGHUP")
          yield* until(() => text.value.split("Restarted 2 workers").length > nth)
          assert.strictEqual((yield* askAt(socket)).ppid, pid)
        }
        process.kill(pid, "SIGTERM")
        yield* until(() => !isAlive(pid))
        assert.isTrue(fs.statSync(socket).isSocket())
      }))
  })

  // Needs: SystemdNotify.make in the process that was started; ready with the ready line, stopping with the stop, reloading
  // and ready around SIGHUP.
  describe.skipIf(process.platform === "win32")("sd_notify", () => {
    for (const workers of [[], ["--workers", "2"]]) {
      it.live(`is told that the program ${workers.join(" ")} serves, reloads and stops [W136]`, () =>
        Effect.gen(function*() {
          const cwd = yield* site({
            "systemd-notify": `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> "${"$"}{0%/*}/record"\n`
          })
          fs.chmodSync(path.join(cwd, "systemd-notify"), 0o755)
          const program = yield* start(["app.mjs", "--port", "0", ...workers, ...quiet], {
            cwd,
            env: { NOTIFY_SOCKET: "/run/notify", PATH: `${cwd}:${process.env.PATH}` }
          })
          const record = path.join(cwd, "record")
          const says = (pattern: RegExp) =>
            until(() => fs.existsSync(record) && pattern.test(fs.readFileSync(record, "utf8")))
          assert.deepStrictEqual((yield* ask(yield* program.ready)).env, [])
          yield* says(new RegExp(`^/run/notify READY=1 STATUS=.* MAINPID=${program.child.pid}\n`))
          program.child.kill("SIGHUP")
          yield* says(/RELOADING=1 MONOTONIC_USEC=\d+\n.*READY=1/)
          yield* stop(program)
          assert.strictEqual(yield* program.exited, 0)
          yield* says(/STOPPING=1/)
        }))
    }
  })

  // Needs: WhoListens.whoListens where ListenFailed with EADDRINUSE is explained.
  it.live.skipIf(!isLinux)("says which process has the port [C168] [W99]", () =>
    Effect.gen(function*() {
      const cwd = yield* site()
      const first = yield* start(["app.mjs", "--port", "0", ...quiet], { cwd })
      const { port } = new URL(yield* first.ready)
      for (const workers of [[], ["--workers", "2"]]) {
        const { code, stderr } = yield* run(["app.mjs", "--port", port, ...workers, ...quiet], { cwd })
        assert.strictEqual(code, 1)
        assert.include(stderr, "EADDRINUSE")
        assert.match(stderr, new RegExp(`node \\S+main\\.js \\(process ${first.child.pid}\\)`))
      }
    }))

  // Needs: Surroundings.containerSign for the default of host, and its word in the ready line.
  it.live("listens for everybody in a container, and says so, unless it is told otherwise [W139]", () =>
    Effect.gen(function*() {
      const cwd = yield* site()
      const args = ["app.mjs", "--port", "0", ...quiet]
      const inside = yield* start(args, { cwd, env: { SLIPWAY_CONTAINER: "1" } })
      assert.match(yield* inside.ready, /^http:\/\/0\.0\.0\.0:\d+$/)
      assert.match(inside.stderr, /serving .*SLIPWAY_CONTAINER/)
      assert.notInclude(inside.stderr, "is no setting")
      const told = yield* start([...args, "--host", "127.0.0.1"], { cwd, env: { SLIPWAY_CONTAINER: "1" } })
      assert.match(yield* told.ready, /^http:\/\/127\.0\.0\.1:\d+$/)
      const outside = yield* start(args, { cwd, env: { SLIPWAY_CONTAINER: "0" } })
      assert.match(yield* outside.ready, /^http:\/\/127\.0\.0\.1:\d+$/)
    }))

  // Needs: OpenBrowser.openBrowser after the ready line, with the setting `open`.
  it.live.skipIf(!isLinux)("opens a browser where it serves [C168] [W98]", () =>
    Effect.gen(function*() {
      const cwd = yield* site({ "xdg-open": `#!/bin/sh\necho "$*" > "${"$"}{0%/*}/opened"\n` })
      fs.chmodSync(path.join(cwd, "xdg-open"), 0o755)
      const program = yield* start(["app.mjs", "--port", "0", "--open", ...quiet], {
        cwd,
        env: { PATH: `${cwd}:${process.env.PATH}`, SLIPWAY_CONTAINER: "0" }
      })
      const url = yield* program.ready
      const opened = path.join(cwd, "opened")
      yield* until(() => fs.existsSync(opened) && fs.readFileSync(opened, "utf8") !== "")
      assert.strictEqual(fs.readFileSync(opened, "utf8"), `${url}/\n`)
    }))
})
