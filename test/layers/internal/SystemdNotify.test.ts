import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { execFileSync, spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as SystemdNotify from "../../../layers/internal/SystemdNotify.ts"
import * as Logs from "../../utils/logs.ts"
import * as Program from "../../utils/program.ts"
import { until } from "../../utils/sockets.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-notify-"))),
  (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
)

/** Keeps what would be sent. */
const recording = Effect.fnUntraced(function*(variables: Record<string, string>) {
  const sent: Array<ReadonlyArray<string>> = []
  const sockets: Array<string | undefined> = []
  const env: Record<string, string | undefined> = { PATH: "/bin", ...variables }
  const notify = yield* SystemdNotify.make({
    env,
    pid: 42,
    send: (assignments, { NOTIFY_SOCKET }) =>
      Effect.sync(() => {
        sent.push(assignments)
        sockets.push(NOTIFY_SOCKET)
      })
  })
  return { env, notify, sent, sockets }
})

const isThere = (program: string): boolean => {
  try {
    execFileSync(program, ["--version"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

describe("SystemdNotify", () => {
  it.effect("says that the service serves, reloads and stops, to the socket of the environment [W136]", () =>
    Effect.gen(function*() {
      const { notify, sent, sockets } = yield* recording({ NOTIFY_SOCKET: "/run/notify" })
      yield* TestClock.adjust("1234567 micros")
      yield* notify.ready("Serving app.ts\non port 5000")
      yield* notify.reloading
      yield* notify.status("Restarting")
      yield* notify.mainPid(4711)
      yield* notify.stopping("Waiting for 3 requests")
      assert.deepStrictEqual(sent, [
        ["READY=1", "STATUS=Serving app.ts on port 5000", "MAINPID=42"],
        ["RELOADING=1", "MONOTONIC_USEC=1234567"],
        ["STATUS=Restarting"],
        ["MAINPID=4711"],
        ["STOPPING=1", "STATUS=Waiting for 3 requests"]
      ])
      assert.deepStrictEqual([...new Set(sockets)], ["/run/notify"])
    }))

  it.effect("says nothing where nobody listens, and no watchdog beats", () =>
    Effect.gen(function*() {
      const { env, notify, sent } = yield* recording({ WATCHDOG_USEC: "1000000" })
      yield* notify.ready("Serving")
      yield* notify.reloading
      yield* notify.stopping("Stopping")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(sent, [])
      assert.deepStrictEqual(notify.environment, {})
      assert.deepStrictEqual(env, { PATH: "/bin" })
    }))

  it.effect("hides the variables from children, and keeps them for a successor", () =>
    Effect.gen(function*() {
      const { env, notify } = yield* recording({ NOTIFY_SOCKET: "@a", WATCHDOG_USEC: "2000000", WATCHDOG_PID: "42" })
      assert.deepStrictEqual(env, { PATH: "/bin" })
      assert.deepStrictEqual(notify.environment, { NOTIFY_SOCKET: "@a", WATCHDOG_USEC: "2000000" })
    }))

  it.effect("shows life twice in the time of the watchdog [W136]", () =>
    Effect.gen(function*() {
      const { sent } = yield* recording({ NOTIFY_SOCKET: "@a", WATCHDOG_USEC: "30000000", WATCHDOG_PID: "42" })
      yield* TestClock.adjust("14999 millis")
      assert.lengthOf(sent, 0)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(sent, [["WATCHDOG=1"]])
      yield* TestClock.adjust("30 seconds")
      assert.lengthOf(sent, 3)
    }))

  for (
    const [why, variables] of [
      ["another process is watched", { WATCHDOG_USEC: "1000000", WATCHDOG_PID: "43" }],
      ["the time is 0", { WATCHDOG_USEC: "0" }],
      ["the time is no number", { WATCHDOG_USEC: "soon" }]
    ] as const
  ) {
    it.effect(`shows no life where ${why}`, () =>
      Effect.gen(function*() {
        const { sent } = yield* recording({ NOTIFY_SOCKET: "@a", ...variables })
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(sent, [])
      }))
  }

  it.effect("warns once when the word does not get through, and waits for none longer than five seconds", () =>
    Effect.gen(function*() {
      const { layer, lines } = Logs.capture()
      yield* Effect.gen(function*() {
        const notify = yield* SystemdNotify.make({ env: { NOTIFY_SOCKET: "@a" }, send: () => Effect.never })
        const telling = yield* Effect.forkChild(
          Effect.andThen(notify.ready("Serving"), notify.stopping("Stopping")),
          { startImmediately: true }
        )
        yield* TestClock.adjust("4999 millis")
        assert.lengthOf(lines, 0)
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(lines.map(({ message }) => message), [
          "systemd waits for word at NOTIFY_SOCKET and gets none: systemd-notify did not end in 5s"
        ])
        yield* TestClock.adjust("5 seconds")
        assert.isDefined(telling.pollUnsafe())
        assert.lengthOf(lines, 1)
      }).pipe(Effect.provide(Layer.fresh(layer)))
    }))

  it.live("says what to install where the program is missing", () =>
    Effect.gen(function*() {
      const { layer, lines } = Logs.capture()
      const PATH = yield* folder
      yield* Effect.gen(function*() {
        const notify = yield* SystemdNotify.make({ env: { NOTIFY_SOCKET: "/nowhere", PATH } })
        yield* notify.ready("Serving")
      }).pipe(Effect.provide(layer))
      assert.match(lines[0]!.message, /systemd-notify is not installed$/)
    }))

  it.live("runs the program once for each word, in order, with every word as one argument", () =>
    Effect.gen(function*() {
      const place = yield* folder
      const record = Path.join(place, "record")
      Fs.writeFileSync(
        Path.join(place, "systemd-notify"),
        `#!/bin/sh\nprintf '%s|' "$NOTIFY_SOCKET" "$@" >> ${record}\necho >> ${record}\n`,
        { mode: 0o755 }
      )
      const notify = yield* SystemdNotify.make({
        env: { NOTIFY_SOCKET: "/run/notify", PATH: `${place}:${process.env.PATH}` },
        pid: 42
      })
      yield* Effect.all([notify.ready("a b; $(id)"), notify.stopping("c")], { concurrency: 2, discard: true })
      assert.strictEqual(
        Fs.readFileSync(record, "utf8"),
        "/run/notify|READY=1|STATUS=a b; $(id)|MAINPID=42|\n/run/notify|STOPPING=1|STATUS=c|\n"
      )
    }))

  describe.skipIf(!isThere("systemd-notify") || !isThere("python3"))("with systemd-notify and python3", () => {
    // Closes what comes with a message, as systemd does: by that the program knows that it was read.
    const manager = `
import os, socket, sys
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind(sys.argv[1])
print("bound", flush=True)
while True:
    data, descriptors, _, _ = socket.recv_fds(server, 4096, 4)
    for descriptor in descriptors: os.close(descriptor)
    print(repr(data), flush=True)
`

    it.live("reaches a socket of datagrams such as systemd's [W136]", () =>
      Effect.gen(function*() {
        const socket = Path.join(yield* folder, "notify")
        const python = yield* Effect.acquireRelease(
          Effect.sync(() => spawn("python3", ["-c", manager, socket], { stdio: ["ignore", "pipe", "inherit"] })),
          (child) => Effect.sync(() => void child.kill("SIGKILL"))
        )
        let heard = ""
        python.stdout.setEncoding("utf8").on("data", (text: string) => heard += text)
        yield* until(() => heard.includes("bound") || python.exitCode !== null)
        const program = yield* Program.start(
          `
          import * as Effect from "effect/Effect"
          import * as SystemdNotify from "./layers/internal/SystemdNotify.ts"
          Effect.runPromise(Effect.scoped(Effect.gen(function*() {
            const notify = yield* SystemdNotify.make()
            yield* notify.ready("Serving")
            yield* Effect.callback((resume) => void process.once("SIGTERM", () => resume(Effect.void)))
            yield* notify.stopping("Stopping")
            console.log("sent by", process.pid, ".")
          })))
        `,
          `export NOTIFY_SOCKET=${socket} WATCHDOG_USEC=50000 WATCHDOG_PID=$$`
        )
        yield* until(() => heard.includes("WATCHDOG=1") || program.exitCode !== undefined)
        yield* program.signal("SIGTERM")
        const [, pid] = yield* program.prints(/sent by (\d+) \./)
        yield* until(() => heard.includes("STOPPING"))
        assert.include(heard, `b'READY=1\\nSTATUS=Serving\\nMAINPID=${pid}'`)
        assert.include(heard, "b'WATCHDOG=1'")
        assert.include(heard, "b'STOPPING=1\\nSTATUS=Stopping'")
        assert.isBelow(heard.indexOf("READY=1"), heard.indexOf("STOPPING=1"))
        assert.notInclude(program.output, "gets none")
      }))
  })
})
