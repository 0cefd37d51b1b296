import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { until } from "../../utils/sockets.ts"
import { ask, pidsOf, serving, signal } from "../../utils/workers.ts"

/** Whether somebody is there, or the code that says why not. */
const knock = (to: net.NetConnectOpts): Effect.Effect<string> =>
  Effect.callback((resume) => {
    const socket = net.connect(to)
    socket.on("connect", () => {
      socket.destroy()
      resume(Effect.succeed("connected"))
    })
    socket.on("error", ({ code }: NodeJS.ErrnoException) => resume(Effect.succeed(code!)))
  })

const becomes = (to: net.NetConnectOpts, code: string): Effect.Effect<void> =>
  Effect.flatMap(knock(to), (now) => now === code ? Effect.void : becomes(to, code))

describe("a supervisor that stops", { timeout: 60_000 }, () => {
  it.live("lets go of its sockets while its workers finish, so that nobody waits there for an answer [C144]", () =>
    Effect.gen(function*() {
      const { cwd, program, url } = yield* serving()
      const port = Number(new URL(url).port)
      yield* pidsOf(url, 2)
      const slow = yield* Effect.forkChild(ask(`${url}/slow`), { startImmediately: true })
      yield* until(() => fs.existsSync(path.join(cwd, "begun")))
      yield* signal(program, "SIGTERM")
      yield* becomes({ host: "127.0.0.1", port }, "ECONNREFUSED")
      assert.isUndefined(slow.pollUnsafe())
      fs.writeFileSync(path.join(cwd, "go"), "")
      assert.isDefined(yield* Fiber.join(slow))
      assert.strictEqual(yield* program.exited, 0)
    }))

  it.live("keeps them for preStopDelay, the file of a unix socket too", () =>
    Effect.gen(function*() {
      const { cwd, program } = yield* serving(["--unix", "app.sock", "--pre-stop-delay", "2 seconds"])
      const socketPath = path.join(cwd, "app.sock")
      yield* signal(program, "SIGTERM")
      yield* program.waitFor("stderr", /Stopping/)
      assert.isDefined(yield* ask({ socketPath, path: "/" }))
      yield* becomes({ path: socketPath }, "ENOENT")
      assert.strictEqual(yield* program.exited, 0)
    }))
})
