/**
 * Workers as processes of this very program: the same command line, an environment that says which worker it is, the
 * bound sockets as descriptors, and a channel for words. Owns nothing but the processes it has started.
 *
 * Each is the leader of a group of its own, so that Ctrl-C on a terminal reaches the supervisor alone, which then asks
 * them in its order. One whose supervisor has died notices by the channel, and stops. On Windows there are no groups and
 * no descriptors: workers leave signals to the supervisor, and Node's cluster hands them their connections.
 */
import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ChildProcess from "node:child_process"
import Cluster from "node:cluster"
import type { Child, ChildExit } from "./Supervisor.ts"
import { Asking } from "./SupervisorAsk.ts"
import * as Message from "./SupervisorMessage.ts"
import type { Bound } from "./SupervisorSockets.ts"
import { startFolder } from "./Surroundings.ts"

export interface Options {
  readonly sockets: ReadonlyArray<Bound>
  readonly heartbeatTimeout: Duration.Duration
  /** Answers what a worker asks, with a JSON value; `undefined` for what it does not know. Default: knows nothing. */
  readonly answer?: (what: unknown, worker: number) => Effect.Effect<unknown> | undefined
  readonly platform: string
}

/** Descriptors of a child: input, output, errors and the channel come before the sockets. */
export const firstSocket = 4

/** Beats in the time after which silence is death. Precedent: the reference, 5. */
const beatsPerTimeout = 5

/** A worker that is gone is noticed by its exit. */
const ignore = (): void => {}

const living = new Set<ChildProcess.ChildProcess>()
const killLiving = (): void => {
  for (const child of living) child.kill("SIGKILL")
}

/** A process that was started, as long as it is ours. */
export interface Owned {
  /** Succeeds when it has ended; one that could not be started with the code of the problem. */
  readonly exited: Effect.Effect<ChildExit>
  /** Lets it outlive this process. */
  readonly forget: () => void
}

/**
 * Owns a process until it ends: when this one exits first, in whatever way, it is killed, so that a supervisor that is
 * made to exit at once does not leave its workers to themselves. One listener for all of them.
 */
export const own = (child: ChildProcess.ChildProcess, atEnd: () => void = ignore): Owned => {
  const exited = Deferred.makeUnsafe<ChildExit>()
  const forget = () => {
    living.delete(child)
    if (living.size === 0) process.off("exit", killLiving)
  }
  const end = (exit: ChildExit): void => {
    forget()
    atEnd()
    Deferred.doneUnsafe(exited, Effect.succeed(exit))
  }
  if (living.size === 0) process.once("exit", killLiving)
  living.add(child)
  // Also told of a signal that could not be sent, which is no end.
  child.on("error", (error: NodeJS.ErrnoException) => {
    if (child.pid === undefined) end({ code: null, signal: error.code ?? error.message })
  })
  child.once("exit", (code, signal) => end({ code, signal }))
  return { exited: Deferred.await(exited), forget }
}

/** Starts a worker, at once. What cannot be started has ended with the code of the problem. */
export const spawn = (options: Options) => (number: number): Effect.Effect<Child> =>
  Effect.contextWith((context) =>
    Effect.clockWith((clock) =>
      Effect.sync(() => start(options, number, clock, (effect) => void Effect.runForkWith(context)(effect)))
    )
  )

const environment = ({ heartbeatTimeout, platform, sockets }: Options, number: number): NodeJS.ProcessEnv => {
  const assignment: Message.Assignment = {
    number,
    sockets: Object.fromEntries(
      sockets.flatMap(({ isShared, key }, index) => isShared ? [] : [[key, firstSocket + index]])
    ),
    ports: Object.fromEntries(
      sockets.flatMap(({ address, isShared, key }) =>
        isShared && address._tag === "tcp"
          ? [[key, { host: address.host, port: address.port, reusePort: platform !== "win32" }]]
          : []
      )
    ),
    beatMillis: Math.ceil(Duration.toMillis(heartbeatTimeout) / beatsPerTimeout)
  }
  return { ...process.env, SLIPWAY_WORKER_NUMBER: String(number), [Message.variable]: Message.encode(assignment) }
}

const spawnDetached = ({ sockets }: Options, env: NodeJS.ProcessEnv): ChildProcess.ChildProcess =>
  ChildProcess.spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    cwd: startFolder,
    env,
    // A shared port stays here: whoever held its descriptor would get connections of it.
    stdio: [
      "ignore",
      "inherit",
      "inherit",
      "ipc",
      ...sockets.map(({ descriptor, isShared }) => isShared ? "ignore" : descriptor)
    ],
    detached: true
  })

/**
 * Where descriptors cannot be handed on, Node's cluster listens here for all workers, and hands them connections in turn; one
 * that a worker does not take any more goes to the next. (Each could accept by itself, but a worker that closes would
 * reset what it has not seen yet.) It ends a worker at once whose supervisor has gone.
 */
const fork = (env: NodeJS.ProcessEnv): ChildProcess.ChildProcess => {
  Cluster.schedulingPolicy = Cluster.SCHED_RR
  Cluster.setupPrimary({
    exec: process.argv[1]!,
    args: process.argv.slice(2),
    execArgv: process.execArgv,
    cwd: startFolder,
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    windowsHide: true
  })
  return Cluster.fork(env).process
}

const start = (
  options: Options,
  number: number,
  clock: Clock.Clock,
  run: (effect: Effect.Effect<void>) => void
): Child => {
  const env = environment(options, number)
  const child = options.platform === "win32" ? fork(env) : spawnDetached(options, env)
  const ready = Deferred.makeUnsafe<void>()
  const recycle = Deferred.makeUnsafe<string>()
  let heardMillis = clock.currentTimeMillisUnsafe()
  /** What nobody hears yet: in a cluster Node throws away what comes before somebody listens. */
  let early: Array<Message.ToWorker> | undefined = []
  const tell = (message: Message.ToWorker): boolean => {
    if (!child.connected) return false
    if (early === undefined) child.send(message, ignore)
    else early.push(message)
    return true
  }
  const asking = new Asking(tell, (what) => options.answer?.(what, number), run)
  const { exited } = own(child, () => asking.end())
  child.on("message", (received: unknown) => {
    heardMillis = clock.currentTimeMillisUnsafe()
    const message = Option.getOrUndefined(Message.decodeFromWorker(received))
    if (message === undefined) return
    if (message.type === "listening") {
      const held = early ?? []
      early = undefined
      held.forEach(tell)
    } else if (message.type === "ready") Deferred.doneUnsafe(ready, Effect.void)
    else if (message.type === "recycle") Deferred.doneUnsafe(recycle, Effect.succeed(message.reason))
    else if (message.type === "ask" || message.type === "told") asking.hear(message)
  })
  return {
    pid: child.pid ?? 0,
    ready: Deferred.await(ready),
    recycle: Deferred.await(recycle),
    exited,
    heardMillis: () => heardMillis,
    stop: (kind) => Effect.sync(() => void tell({ type: kind })),
    reopen: Effect.sync(() => void tell({ type: "reopen" })),
    ask: (what, timeout) => asking.ask(what, timeout),
    kill: Effect.sync(() => void child.kill("SIGKILL"))
  }
}
