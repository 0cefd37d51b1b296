/**
 * Starts this program once more to go on in our place, and is the other side of it: what a process was handed by its
 * predecessor. Owns the process of the successor until that serves; from then on nobody does.
 *
 * The successor reads everything anew: program, arguments' files, configuration. Where the program was started through
 * a link that points elsewhere meanwhile, it starts from there.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as ChildProcess from "node:child_process"
import * as Path from "node:path"
import type { Successor } from "./Supervisor.ts"
import * as Message from "./SupervisorMessage.ts"
import { firstSocket, own } from "./SupervisorProcess.ts"
import type { Inherited, Sockets } from "./SupervisorSockets.ts"
import { startFolder } from "./Surroundings.ts"

/** Says what a predecessor hands over. Not a setting. */
const variable = "SLIPWAY_UPGRADE"

const Handover = Schema.fromJsonString(Schema.Struct({
  pid: Schema.Int,
  sockets: Schema.Array(Schema.Struct({
    key: Schema.String,
    descriptor: Schema.Int,
    isShared: Schema.Boolean,
    removesFile: Schema.Boolean,
    address: Schema.Union([
      Schema.Struct({
        _tag: Schema.tag("tcp"),
        host: Schema.String,
        port: Schema.Int,
        scheme: Schema.optionalKey(Schema.Literals(["http", "https"]))
      }),
      Schema.Struct({ _tag: Schema.tag("unix"), path: Schema.String })
    ])
  }))
}))

/** Whom this process takes over from. */
export interface Predecessor {
  readonly pid: number
  readonly sockets: ReadonlyArray<Inherited>
  /** Says that we serve, after which the predecessor ends. Nothing happens where it has gone already. */
  readonly ready: Effect.Effect<void>
}

/** Says that we serve. The channel is of no use from then on. */
const ready: Effect.Effect<void> = Effect.callback((resume) => {
  if (!process.connected) return resume(Effect.void)
  process.send!({ type: "ready" } satisfies Message.FromWorker, undefined, undefined, () => {
    if (process.connected) process.disconnect()
    resume(Effect.void)
  })
})

/** The predecessor, if this process is a successor. The environment forgets it. */
export const predecessor: Effect.Effect<Option.Option<Predecessor>> = Effect.sync(() => {
  const text = process.env[variable]
  delete process.env[variable]
  if (text === undefined || process.send === undefined) return Option.none()
  return Option.map(Schema.decodeUnknownOption(Handover)(text), ({ pid, sockets }) => ({ pid, sockets, ready }))
})

/** Where the program was started, before anybody enters another folder. */
const realFolder = process.cwd()

/**
 * Remembers where the program was started. **Returns** how to start a successor of it, at once: one that cannot be
 * started has ended with the code of the problem. Process 1 can have none: when it ends, the kernel ends all of its
 * container.
 *
 * `env` is the environment of the successor; default: the present one.
 */
export const make = (
  sockets: Sockets,
  env: () => NodeJS.ProcessEnv = () => process.env
): Effect.Effect<Effect.Effect<Successor> | undefined> =>
  Effect.sync(() => {
    if (process.pid === 1) return undefined
    // Node has resolved the script by the real folder.
    const script = process.argv[1]!
    const relative = Path.relative(realFolder, script)
    const isInside = !relative.startsWith("..") && !Path.isAbsolute(relative)
    return Effect.sync(() => start(sockets, env(), startFolder, isInside ? Path.join(startFolder, relative) : script))
  })

const start = (sockets: Sockets, env: NodeJS.ProcessEnv, folder: string, script: string): Successor => {
  const given = sockets.handover()
  const handover = Schema.encodeSync(Handover)({
    pid: process.pid,
    sockets: given.map((socket, index) => ({ ...socket, descriptor: firstSocket + index }))
  })
  const child = ChildProcess.spawn(process.execPath, [...process.execArgv, script, ...process.argv.slice(2)], {
    cwd: folder,
    env: { ...env, [variable]: handover },
    stdio: ["inherit", "inherit", "inherit", "ipc", ...given.map(({ descriptor }) => descriptor)],
    detached: true
  })
  const isReady = Deferred.makeUnsafe<void>()
  const { exited, forget } = own(child)
  child.on("message", (received: unknown) => {
    const message = Option.getOrUndefined(Message.decodeFromWorker(received))
    if (message?.type === "ready") Deferred.doneUnsafe(isReady, Effect.void)
  })
  return {
    pid: child.pid ?? 0,
    ready: Deferred.await(isReady),
    exited,
    kill: Effect.sync(() => void child.kill("SIGKILL")),
    restart: Effect.sync(() => void child.kill("SIGHUP")),
    release: Effect.andThen(
      sockets.release,
      Effect.sync(() => {
        forget()
        child.unref()
        if (child.connected) child.disconnect()
      })
    )
  }
}
