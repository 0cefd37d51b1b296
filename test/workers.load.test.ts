/**
 * Clients of every kind across everything that replaces workers: none of them sees more of it than connections that end
 * between two requests. Needs what workers.upgrade.test.ts needs; without a drain window it counts apart what may be
 * retried.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { folder, start } from "./utils/commandLine.ts"
import { isAlive } from "./utils/processes.ts"
import { app, type Client, clients, pidOf, tally } from "./utils/restartClients.ts"
import { until } from "./utils/sockets.ts"
import { exitOf, signal, successorOf } from "./utils/workers.ts"

/** What each client has to succeed in again after each change; event streams only where theirs has ended. */
const more = 20

const goOn = (all: ReadonlyArray<Client>) => {
  const before = all.map(({ count }) => count)
  return until(() => all.every(({ count }, index) => index % 4 === 2 || count >= before[index]! + more))
}

const running = Effect.fnUntraced(function*(args: ReadonlyArray<string>) {
  const cwd = yield* folder({ "app.mjs": app })
  const program = yield* start(
    [
      "app.mjs",
      "--workers",
      "2",
      "--host",
      "127.0.0.1",
      "--port",
      "0",
      "--env",
      "production",
      "--access-log",
      "none",
      ...args
    ],
    { cwd }
  )
  const port = Number(new URL(yield* program.ready).port)
  const seen = tally()
  const all = yield* Effect.acquireRelease(
    Effect.sync(() => clients(port, seen, 2)),
    (all) =>
      Effect.sync(() => {
        for (const client of all) client.stop()
      })
  )
  yield* goOn(all)
  return { program, seen, all }
})

describe("clients of workers", { timeout: 120_000 }, () => {
  for (const drainWindow of ["0", "5"]) {
    const how = drainWindow === "0"
      ? "with retries where a connection closes"
      : "without even a retry in a drain window"
    it.live(`see no failure across HUP, TTIN, TTOU and USR2, ${how} [C148][C149][C150][C151][W140]`, () =>
      Effect.gen(function*() {
        const { all, program, seen } = yield* running(["--drain-window", drainWindow, "--max-requests", "500"])
        const restarted = (count: number) =>
          until(() => [...program.stderr.matchAll(/Restarted \d workers/g)].length === count)
        yield* signal(program, "SIGHUP")
        yield* restarted(1)
        yield* goOn(all)
        assert.deepStrictEqual([...seen.codes], [1012])
        yield* signal(program, "SIGTTIN")
        yield* program.waitFor("stderr", /Adding worker 3/)
        yield* signal(program, "SIGTTOU")
        yield* program.waitFor("stderr", /Removing worker 3/)
        yield* goOn(all)
        yield* signal(program, "SIGHUP")
        yield* restarted(2)
        yield* signal(program, "SIGUSR2")
        const successor = yield* successorOf(program)
        assert.strictEqual(yield* exitOf(program), 0)
        yield* goOn(all)
        assert.match(program.stderr, /Replacing worker \d \(\d+\): it has had \d+ requests/)
        assert.deepStrictEqual(seen.failures, [])
        if (drainWindow !== "0") assert.strictEqual(seen.retries, 0)
        assert.isAbove(seen.reconnects, 8)
        assert.isTrue(isAlive(successor))
      }))
  }

  it.live("lose only what was in flight in a worker that is killed, and come back [C146][W27]", () =>
    Effect.gen(function*() {
      const { all, program, seen } = yield* running(["--drain-window", "5"])
      const pid = pidOf(all)
      process.kill(pid, "SIGKILL")
      yield* program.waitFor("stderr", /ended by itself: SIGKILL/)
      yield* goOn(all)
      assert.deepStrictEqual(seen.failures.filter((failure) => failure.pid !== pid), [])
      // Each connection has had one request, or one window of them, at most.
      assert.isAtMost(seen.failures.length, all.length)
    }))
})
