/**
 * Binds the addresses of a server for its workers, and listens on none of them: a connection comes only once a worker
 * serves. Owns the sockets, those it was handed included, and the files of unix sockets, until the scope closes or a
 * successor has taken over.
 *
 * Each worker listens on the same socket, so the kernel spreads connections over those that accept; nothing passes
 * through this process, and a worker that starts listens before the one that it replaces closes. On Windows, where that
 * cannot be, addresses are only looked at here, and SupervisorProcess has another way.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Dns from "node:dns"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Util from "node:util"
import { listeners, type ListenSpec, type ServerSettings } from "../../src/schema/Settings.ts"
import { type Address, formatAddress, type ServerError } from "../../src/service/Server.ts"
import { checkFile, isFile, listenFailed, listenOnFile } from "./Listener.ts"

/** A bound socket. */
export interface Bound {
  /** The address as the settings name it, which is how a worker finds its descriptor. */
  readonly key: string
  readonly descriptor: number
  /** With its real port. */
  readonly address: Address
  /** Only holds the port: each worker binds it by itself. */
  readonly isShared: boolean
}

/** A socket that somebody else has bound: a predecessor, or the operating system's init. */
export interface Inherited extends Bound {
  /** Whether the file of a unix socket goes with us. Not for one that init has made. */
  readonly removesFile: boolean
}

/** Why there can be no supervisor. */
export type SupervisorErrorReason =
  /** Node has no SO_REUSEPORT before 22.12, where it would ignore the option, and on Windows. Fault: operator. */
  { readonly _tag: "ReusePortUnsupported"; readonly version: string; readonly platform: string }

export class SupervisorError extends Data.TaggedError("SupervisorError")<{ readonly reason: SupervisorErrorReason }> {
  override get message(): string {
    const { platform, version } = this.reason
    const why = platform === "win32"
      ? "Windows has no reusePort"
      : `reusePort needs Node 22.12 or newer, and this is ${version}`
    return `${why}. Without it workers share one socket, which serves as well`
  }
}

/** **Fails with** `SupervisorError` where Node has no SO_REUSEPORT. */
export const checkReusePort = (
  version: string = process.versions.node,
  platform: string = process.platform
): Effect.Effect<void, SupervisorError> => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  const isThere = major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12)
  return isThere && platform !== "win32"
    ? Effect.void
    : Effect.fail(new SupervisorError({ reason: { _tag: "ReusePortUnsupported", version, platform } }))
}

export interface Options {
  /** Settings whose addresses name the sockets: other ones where a port was moved. Default: the settings themselves. */
  readonly named?: ServerSettings
  /** Sockets that are bound already. What the settings do not name is closed, and said. */
  readonly inherited?: ReadonlyArray<Inherited>
  /** Runs for the file of each unix socket that is bound, now and later. */
  readonly made?: (path: string) => Effect.Effect<void>
  readonly platform?: string
  readonly nodeVersion?: string
}

export interface Sockets {
  /** What a worker that starts now gets, in the order of the settings. */
  readonly bound: () => ReadonlyArray<Bound>
  /** What a successor gets. */
  readonly handover: () => ReadonlyArray<Inherited>
  /**
   * Binds what these settings name and is not bound; workers get that from then on. What they do not name is closed by
   * what this returns, if all workers were restarted. **Fails with** `ServerError`, and all is as it was.
   */
  readonly change: (
    settings: ServerSettings
  ) => Effect.Effect<(restarted: boolean) => Effect.Effect<void>, ServerError>
  /** The files of sockets that were handed to us are ours from now on: the predecessor ends. */
  readonly takeOver: Effect.Effect<void>
  /** The files are a successor's from now on. */
  readonly release: Effect.Effect<void>
}

/** What Node's server is made of. Not documented, and the same from Node 20 to 24: the tests would tell. */
interface Handle {
  readonly fd: number
  readonly close: () => void
  readonly getsockname?: (into: { address?: string; port?: number }) => number
}

const createHandle = (Net as unknown as {
  readonly _createServerHandle: (
    address: string,
    port: number,
    family: 4 | 6 | -1,
    descriptor: undefined,
    flags: number
  ) => Handle | number
})._createServerHandle

/** libuv's UV_TCP_REUSEPORT. */
const reusePortFlag = 2

interface Held extends Bound {
  /** What is the same for http and https. */
  readonly place: string
  readonly scope: Scope.Closeable
  readonly removesFile: boolean
}

const placeOf = (key: string): string => key.replace(/^https?:/, "tcp:")

/**
 * Binds all addresses of the settings, or takes those that are inherited.
 *
 * **Fails with** `ServerError` that names the address and says what to do, as a server would, and with
 * `SupervisorError` where `reusePort` cannot be had.
 */
export const open = Effect.fnUntraced(function*(
  settings: ServerSettings,
  options: Options = {}
): Effect.fn.Return<Sockets, ServerError | SupervisorError, Scope.Scope> {
  const { inherited = [], made = () => Effect.void, named = settings, platform = process.platform } = options
  if (settings.reusePort) yield* checkReusePort(options.nodeVersion, platform)
  const sockets = new HeldSockets(yield* Effect.scope, inherited, made, platform === "win32" ? chooseOne : bindOne)
  yield* sockets.change(settings, named)
  yield* sockets.closeLeftover
  return sockets
})

class HeldSockets implements Sockets {
  private readonly scope: Scope.Scope
  private readonly made: (path: string) => Effect.Effect<void>
  private readonly bind: typeof bindOne
  /** What was handed over and is not taken yet; each is taken once, because its descriptor may be closed later. */
  private readonly inherited: Set<Inherited>
  /** Files of what was handed over and nobody wants: the predecessor's, as long as it may go on. */
  private leftover: ReadonlyArray<{ readonly path: string; readonly inode: number }> = []
  /** What is open, also where no worker gets it any more. */
  private all: ReadonlyArray<Held> = []
  private current: ReadonlyArray<Held> = []
  private hasTakenOver = false
  private isReleased = false

  constructor(
    scope: Scope.Scope,
    inherited: ReadonlyArray<Inherited>,
    made: (path: string) => Effect.Effect<void>,
    bind: typeof bindOne
  ) {
    this.scope = scope
    this.made = made
    this.bind = bind
    this.inherited = new Set(inherited)
  }

  readonly bound = (): ReadonlyArray<Bound> => this.current

  readonly handover = (): ReadonlyArray<Inherited> =>
    this.current.map(({ address, descriptor, isShared, key, removesFile }) => ({
      key,
      descriptor,
      address,
      isShared,
      removesFile
    }))

  readonly takeOver: Effect.Effect<void> = Effect.sync(() => {
    this.hasTakenOver = true
    for (const { inode, path } of this.leftover) removeFile(path, inode)
    this.leftover = []
  })

  /** Closes what was handed over and is not taken. */
  readonly closeLeftover: Effect.Effect<void> = Effect.suspend(() => {
    const leftover = [...this.inherited]
    this.inherited.clear()
    this.leftover = leftover.flatMap(({ address, removesFile }) => {
      if (address._tag !== "unix" || !isFile(address.path) || !removesFile) return []
      const inode = Fs.statSync(address.path, { throwIfNoEntry: false })?.ino
      return inode === undefined ? [] : [{ path: address.path, inode }]
    })
    return Effect.forEach(leftover, ({ descriptor, key }) =>
      Effect.andThen(
        Effect.sync(() => Fs.closeSync(descriptor)),
        Effect.logWarning(`Closed ${key}, which was handed to this process and is not among its addresses`)
      ), { discard: true })
  })

  readonly release: Effect.Effect<void> = Effect.sync(() => void (this.isReleased = true))

  change(
    settings: ServerSettings,
    named: ServerSettings = settings
  ): Effect.Effect<(restarted: boolean) => Effect.Effect<void>, ServerError> {
    return Effect.gen({ self: this }, function*() {
      const keys = listeners(named).map(formatAddress)
      const fresh: Array<Held> = []
      this.current = yield* Effect.forEach(listeners(settings), (spec, index) => {
        const key = keys[index]!
        const known = this.all.find(({ place }) => place === placeOf(key))
        return known === undefined
          ? Effect.tap(this.hold(key, spec, settings), (held) => Effect.sync(() => void fresh.push(held)))
          : Effect.succeed({ ...known, key, address: addressOf(known, spec) })
      }).pipe(Effect.onError(() => close(fresh)))
      this.all = [...this.unused, ...this.current]
      return (restarted: boolean) => restarted ? this.closeUnused : Effect.void
    })
  }

  private get unused(): ReadonlyArray<Held> {
    return this.all.filter((old) => !this.current.some(({ place }) => place === old.place))
  }

  private readonly closeUnused: Effect.Effect<void> = Effect.suspend(() => {
    const { unused } = this
    this.all = this.current
    return close(unused)
  })

  /** Takes what is inherited for this address, or binds it. */
  private hold(key: string, spec: ListenSpec, settings: ServerSettings): Effect.Effect<Held, ServerError> {
    return Effect.gen({ self: this }, function*() {
      const place = placeOf(key)
      const scope = yield* Scope.fork(this.scope)
      const inherited = [...this.inherited].find((one) => placeOf(one.key) === place)
      if (inherited !== undefined) this.inherited.delete(inherited)
      const socket = inherited === undefined
        ? yield* this.bind(spec, settings).pipe(Scope.provide(scope), closeOnError(scope))
        : yield* adopt(inherited, scope)
      const removesFile = inherited?.removesFile ?? true
      if (spec._tag === "unix" && isFile(spec.path) && removesFile) {
        const { ino } = Fs.statSync(spec.path)
        if (inherited === undefined) yield* this.made(spec.path)
        const isOurs = () => !this.isReleased && (inherited === undefined || this.hasTakenOver)
        yield* Scope.addFinalizer(scope, Effect.sync(() => void (isOurs() && removeFile(spec.path, ino))))
      }
      const { address, descriptor, isShared } = socket
      return { key, place, address, descriptor, isShared, removesFile, scope }
    })
  }
}

/** A socket that stays may speak TLS from now on. */
const addressOf = ({ address }: Bound, spec: ListenSpec): Address =>
  address._tag === "tcp" && spec._tag === "tcp" ? { ...address, scheme: spec.scheme ?? "http" } : address

const close = (held: ReadonlyArray<Held>): Effect.Effect<void> =>
  Effect.forEach(held, ({ scope }) => Scope.close(scope, Exit.void), { discard: true })

const closeOnError = (scope: Scope.Closeable) => <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.onError(effect, (cause) => Scope.close(scope, Exit.failCause(cause)))

const removeFile = (path: string, inode: number): void => {
  if (Fs.statSync(path, { throwIfNoEntry: false })?.ino === inode) Fs.rmSync(path, { force: true })
}

const adopt = (inherited: Inherited, scope: Scope.Scope): Effect.Effect<Inherited> =>
  Effect.as(Scope.addFinalizer(scope, Effect.sync(() => Fs.closeSync(inherited.descriptor))), inherited)

// ---- binding

type TcpSpec = Extract<ListenSpec, { readonly _tag: "tcp" }>
type UnixSpec = Extract<ListenSpec, { readonly _tag: "unix" }>
type Fresh = Omit<Bound, "key">

const bindOne = (
  spec: ListenSpec,
  settings: ServerSettings
): Effect.Effect<Fresh, ServerError, Scope.Scope> =>
  spec._tag === "tcp" ? bindTcp(spec, settings.reusePort) : bindUnix(spec, settings)

/** Makes sure that an address can be had, and lets go of it: Node's cluster binds it when a worker asks for it. */
const chooseOne: typeof bindOne = (spec) =>
  spec._tag === "tcp"
    ? Effect.map(Effect.scoped(bindTcp(spec, false)), (bound) => ({ ...bound, descriptor: -1, isShared: true }))
    : Effect.fail(listenFailed(spec, "EAFNOSUPPORT"))

const openHandle = (
  spec: ListenSpec,
  address: string,
  port: number,
  family: 4 | 6 | -1,
  flags = 0
): Effect.Effect<Handle, ServerError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      const handle = createHandle(address, port, family, undefined, flags)
      return typeof handle === "number"
        ? Effect.fail(listenFailed(spec, Util.getSystemErrorName(handle)))
        : Effect.succeed(handle)
    }),
    (handle) => Effect.sync(() => handle.close())
  )

const bindTcp = Effect.fnUntraced(function*(spec: TcpSpec, isShared: boolean) {
  const { address, family } = yield* lookup(spec)
  const handle = yield* openHandle(spec, address, spec.port, family === 6 ? 6 : 4, isShared ? reusePortFlag : 0)
  const bound: { address?: string; port?: number } = {}
  // An address that is taken is told only here: libuv keeps it for the listening that never comes.
  const problem = handle.getsockname!(bound)
  if (problem !== 0) return yield* Effect.fail(listenFailed(spec, Util.getSystemErrorName(problem)))
  return {
    descriptor: handle.fd,
    isShared,
    address: { _tag: "tcp", host: bound.address!, port: bound.port!, scheme: spec.scheme ?? "http" }
  } satisfies Fresh
})

const lookup = (spec: TcpSpec): Effect.Effect<Dns.LookupAddress, ServerError> =>
  Effect.callback((resume) => {
    Dns.lookup(spec.host, (error, address, family) =>
      resume(
        error === null
          ? Effect.succeed({ address, family })
          : Effect.fail(listenFailed(spec, error.code ?? error.message))
      ))
  })

const bindUnix = Effect.fnUntraced(function*(spec: UnixSpec, settings: ServerSettings) {
  let handle: Handle | undefined
  const scope = yield* Effect.scope
  const bindAt = ({ path }: Net.ListenOptions) =>
    Effect.map(Scope.provide(openHandle(spec, path!, -1, -1), scope), (opened) => {
      handle = opened
    })
  yield* checkFile(spec)
  // Into a scope that never closes: whether the file goes is decided here, where a successor is known of.
  yield* Scope.provide(listenOnFile(spec, settings, bindAt), yield* Scope.make())
  return { descriptor: handle!.fd, isShared: false, address: { _tag: "unix", path: spec.path } } satisfies Fresh
})
