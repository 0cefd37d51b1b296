/**
 * Binds the addresses of a server for its workers, and listens on none of them: a connection comes only once a worker
 * serves. Owns the sockets, and the files of unix sockets, until the scope closes.
 *
 * Each worker listens on the same socket, so the kernel spreads connections over those that accept; nothing passes
 * through this process, and a worker that starts listens before the one that it replaces closes.
 */
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Dns from "node:dns"
import * as Net from "node:net"
import * as Util from "node:util"
import { listeners, type ListenSpec, type ServerSettings } from "../../src/schema/Settings.ts"
import { type Address, formatAddress, type ServerError } from "../../src/service/Server.ts"
import { checkFile, listenFailed, listenOnFile } from "./Listener.ts"

/** A bound socket. */
export interface Bound {
  /** The address as the settings name it, which is how a worker finds its descriptor. */
  readonly key: string
  readonly descriptor: number
  /** With its real port. */
  readonly address: Address
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

/**
 * Binds all addresses of the settings. Workers find them under the addresses of `named`, which are other ones where a port
 * was moved.
 *
 * **Fails with** `ServerError` that names the address and says what to do, as a server would.
 */
export const bind = (
  settings: ServerSettings,
  named: ServerSettings = settings
): Effect.Effect<ReadonlyArray<Bound>, ServerError, Scope.Scope> => {
  const names = listeners(named).map(formatAddress)
  return Effect.forEach(listeners(settings), (spec, index) =>
    Effect.map(
      bindOne(spec, settings),
      (bound): Bound => ({ key: names[index]!, ...bound })
    ))
}

const bindOne = (
  spec: ListenSpec,
  settings: ServerSettings
): Effect.Effect<Omit<Bound, "key">, ServerError, Scope.Scope> =>
  spec._tag === "tcp" ? bindTcp(spec) : bindUnix(spec, settings)

type TcpSpec = Extract<ListenSpec, { readonly _tag: "tcp" }>
type UnixSpec = Extract<ListenSpec, { readonly _tag: "unix" }>

const open = (
  spec: ListenSpec,
  address: string,
  port: number,
  family: 4 | 6 | -1
): Effect.Effect<Handle, ServerError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      const handle = createHandle(address, port, family, undefined, 0)
      return typeof handle === "number"
        ? Effect.fail(listenFailed(spec, Util.getSystemErrorName(handle)))
        : Effect.succeed(handle)
    }),
    (handle) => Effect.sync(() => handle.close())
  )

const bindTcp = Effect.fnUntraced(function*(spec: TcpSpec) {
  const { address, family } = yield* lookup(spec)
  const handle = yield* open(spec, address, spec.port, family === 6 ? 6 : 4)
  const bound: { address?: string; port?: number } = {}
  // An address that is taken is told only here: libuv keeps it for the listening that never comes.
  const problem = handle.getsockname!(bound)
  if (problem !== 0) return yield* Effect.fail(listenFailed(spec, Util.getSystemErrorName(problem)))
  return {
    descriptor: handle.fd,
    address: { _tag: "tcp", host: bound.address!, port: bound.port!, scheme: spec.scheme ?? "http" }
  } satisfies Omit<Bound, "key">
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
    Effect.map(Scope.provide(open(spec, path!, -1, -1), scope), (opened) => {
      handle = opened
    })
  if (spec.path.startsWith("\0")) yield* bindAt({ path: spec.path })
  else {
    yield* checkFile(spec)
    yield* listenOnFile(spec, settings, bindAt)
  }
  return { descriptor: handle!.fd, address: { _tag: "unix", path: spec.path } } satisfies Omit<Bound, "key">
})
