/** A Redis of its own for a test: on a unix socket in a folder of its own, ended by its process id with the scope. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"
import { turn } from "./sockets.ts"

export interface RedisServer {
  readonly url: string
  /** Runs a command and succeeds with what redis-cli prints. */
  readonly cli: (...args: ReadonlyArray<string>) => Effect.Effect<string>
  /** Starts it again at the same address, with nothing in it. Succeeds when it takes connections. */
  readonly start: Effect.Effect<void>
  /** Ends it without a word to anybody. Succeeds when it is gone. */
  readonly kill: Effect.Effect<void>
  /** Stops its process, connections open, until it goes on. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
}

/** Why there can be no server here; `undefined` when there can. */
export const missing: string | undefined =
  ["redis-server", "redis-cli"].some((name) => spawnSync(name, ["--version"]).status !== 0)
    ? "there is no redis-server on this machine"
    : undefined

/** Starts a server. `config` are further options of redis-server. */
export const redisServer = (
  config: ReadonlyArray<string> = []
): Effect.Effect<RedisServer, never, Scope.Scope> =>
  Effect.gen(function*() {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => Fs.mkdtempSync(Path.join(Os.tmpdir(), "slipway-redis-"))),
      (folder) => Effect.sync(() => Fs.rmSync(folder, { force: true, recursive: true }))
    )
    const socket = Path.join(folder, "s")
    let child: ChildProcess | undefined
    const kill = Effect.suspend(() => {
      const running = child
      child = undefined
      return running === undefined ? Effect.void : ended(running)
    })
    const start = Effect.suspend(() => {
      child = spawn(
        "redis-server",
        ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder, "--loglevel", "warning", ...config],
        { stdio: "ignore" }
      )
      return accepts(socket)
    })
    yield* Effect.acquireRelease(start, () => kill)
    const signal = (name: NodeJS.Signals) => Effect.sync(() => void child?.kill(name))
    return {
      url: `unix://${socket}`,
      cli: (...args) => redisCli(socket, args),
      start,
      kill,
      freeze: signal("SIGSTOP"),
      thaw: signal("SIGCONT")
    }
  })

const ended = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

const accepts = (path: string): Effect.Effect<void> =>
  Effect.flatMap(
    Effect.callback<boolean>((resume) => {
      const socket = Net.connect(path)
      socket.once("error", () => resume(Effect.succeed(false)))
      socket.once("connect", () => {
        socket.destroy()
        resume(Effect.succeed(true))
      })
    }),
    (isThere) => isThere ? Effect.void : Effect.andThen(turn, accepts(path))
  )

const redisCli = (socket: string, args: ReadonlyArray<string>): Effect.Effect<string> =>
  Effect.callback((resume) => {
    execFile("redis-cli", ["-s", socket, ...args], (error, stdout) =>
      resume(error === null ? Effect.succeed(stdout.trimEnd()) : Effect.die(error)))
  })
