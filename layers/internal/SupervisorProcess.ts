/**
 * Workers as processes of this very program: the same command line, an environment that says which worker it is, the
 * bound sockets as descriptors, and a channel for words. Owns nothing but the processes it has started.
 *
 * Each is the leader of a group of its own, so that Ctrl-C on a terminal reaches the supervisor alone, which then asks
 * them in its order. One whose supervisor has died notices by the channel, and stops.
 */
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import type { Child, ChildExit } from "./Supervisor.ts"
import * as Message from "./SupervisorMessage.ts"
import type { Bound } from "./SupervisorSockets.ts"

export interface Options {
  readonly sockets: ReadonlyArray<Bound>
  readonly heartbeatTimeout: Duration.Duration
}

/** Descriptors of a child: input, output, errors and the channel come before the sockets. */
const firstSocket = 4

/** Beats in the time after which silence is death. Precedent: the reference, 5. */
const beatsPerTimeout = 5

/** Starts a worker. What cannot be started has ended with the code of the problem. */
export const spawn = (options: Options) => (number: number): Effect.Effect<Child> =>
  Effect.clockWith((clock) => Effect.sync(() => start(options, number, clock)))

const start = ({ heartbeatTimeout, sockets }: Options, number: number, clock: Clock.Clock): Child => {
  const assignment: Message.Assignment = {
    number,
    sockets: Object.fromEntries(sockets.map(({ key }, index) => [key, firstSocket + index])),
    beatMillis: Math.ceil(Duration.toMillis(heartbeatTimeout) / beatsPerTimeout)
  }
  const child = ChildProcess.spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    env: { ...process.env, SLIPWAY_WORKER_NUMBER: String(number), [Message.variable]: Message.encode(assignment) },
    stdio: ["ignore", "inherit", "inherit", "ipc", ...sockets.map(({ descriptor }) => descriptor)],
    detached: true
  })
  const ready = Deferred.makeUnsafe<void>()
  const recycle = Deferred.makeUnsafe<string>()
  const exited = Deferred.makeUnsafe<ChildExit>()
  let heardMillis = clock.currentTimeMillisUnsafe()
  const end = (exit: ChildExit): void => {
    process.off("exit", killNow)
    Deferred.doneUnsafe(exited, Effect.succeed(exit))
  }
  // A supervisor that is made to exit at once does not leave its workers to themselves.
  const killNow = (): void => void child.kill("SIGKILL")
  process.once("exit", killNow)
  child.on("message", (message: Message.FromWorker) => {
    heardMillis = clock.currentTimeMillisUnsafe()
    if (message.type === "ready") Deferred.doneUnsafe(ready, Effect.void)
    if (message.type === "recycle") Deferred.doneUnsafe(recycle, Effect.succeed(String(message.reason)))
  })
  child.once("error", (error: NodeJS.ErrnoException) => end({ code: null, signal: error.code ?? error.message }))
  child.once("exit", (code, signal) => end({ code, signal }))
  return {
    pid: child.pid ?? 0,
    ready: Deferred.await(ready),
    recycle: Deferred.await(recycle),
    exited: Deferred.await(exited),
    heardMillis: () => heardMillis,
    stop: (kind) =>
      Effect.sync(() => {
        if (child.connected) child.send({ type: kind } satisfies Message.ToWorker, ignore)
      }),
    kill: Effect.sync(() => void child.kill("SIGKILL"))
  }
}

/** A worker that is gone is noticed by its exit. */
const ignore = (): void => {}
