/**
 * One listening socket. Owns the socket from bind to close, and the socket file of a unix address. What happens when
 * descriptors run out is the business of Descriptors.ts.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import type { ListenSpec, ServerSettings } from "../../src/schema/Settings.ts"
import { type Address, formatAddress, ServerError } from "../../src/service/Server.ts"
import { InheritedSockets, SharedPorts } from "./InheritedSockets.ts"
import type { Peer } from "./Peer.ts"
import * as ProxyPreambles from "./ProxyPreambles.ts"
import type { ServerCore } from "./ServerCore.ts"

/** What the kernel's socket address holds, without its closing NUL. */
const maxPathBytes = 107

type UnixSpec = Extract<ListenSpec, { readonly _tag: "unix" }>

const advices: { readonly [code: string]: string } = {
  EADDRINUSE: "another program listens there; stop it or choose another address",
  EADDRNOTAVAIL: "this machine has no such address; choose one of its own, or 0.0.0.0 for all",
  EACCES: "permission denied; ports below 1024 need a privilege, and a socket file a folder you may write to",
  EPERM: "permission denied; ports below 1024 need a privilege, and a socket file a folder you may write to",
  ENOTFOUND: "the host name cannot be resolved; check its spelling, or give an IP address",
  EAI_AGAIN: "the host name cannot be resolved now; check the resolver, or give an IP address",
  ENOENT: "the folder of the socket file does not exist; create it first",
  ENOTDIR: "a part of the socket's path is not a folder; choose another path",
  EROFS: "the folder of the socket file cannot be written to; choose another path",
  ENOTSOCK: "there is a file that is not a socket; choose another path, or remove it yourself",
  EAFNOSUPPORT: "this machine does not support that kind of address",
  EINVAL: "the address is not valid here",
  ENAMETOOLONG: "the socket's path is too long; it may have 107 bytes, and its folder 97 of them"
}

/** Why an address cannot be listened on, by the code of the operating system. */
export const listenFailed = (spec: ListenSpec, code: string): ServerError =>
  new ServerError({
    reason: {
      _tag: "ListenFailed",
      address: spec,
      code,
      advice: advices[code] ?? "the operating system refused it"
    }
  })

/** Takes over what was accepted. */
export type Accept = (socket: Net.Socket, peer: Peer) => void

/**
 * Binds and listens until the scope closes, which keeps open connections open.
 *
 * **Fails with** `ServerError` that names the address and says what to do.
 */
export const openListener = Effect.fnUntraced(function*(
  core: ServerCore,
  spec: ListenSpec,
  settings: ServerSettings,
  accept: Accept
): Effect.fn.Return<Address, ServerError, Scope.Scope> {
  const inherited = (yield* InheritedSockets).get(formatAddress(spec))
  const shared = (yield* SharedPorts).get(formatAddress(spec))
  if (spec._tag === "unix" && inherited === undefined) yield* checkFile(spec)
  const accepted = settings.proxyProtocol ? yield* ProxyPreambles.make(core, accept) : accept
  const server = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const server = Net.createServer({
        allowHalfOpen: true,
        noDelay: true,
        highWaterMark: settings.writeHighWaterMark
      })
      server.on("connection", (socket: Net.Socket) => accepted(socket, peerOf(core, socket, spec)))
      return server
    }),
    (server) =>
      Effect.sync(() => {
        // A host name that is still being looked up would be listened on afterwards.
        server.once("listening", () => server.close())
        server.close()
      })
  )
  const listen = (options: Net.ListenOptions & { readonly fd?: number }) =>
    Effect.callback<void, ServerError>((resume) => {
      const fail = (error: NodeJS.ErrnoException) =>
        resume(Effect.fail(listenFailed(spec, error.code ?? error.message)))
      server.once("error", fail)
      server.listen({ ...options, backlog: settings.backlog }, () => {
        server.off("error", fail)
        server.on("error", (error) => core.log(Effect.logError("A listener failed", error)))
        resume(Effect.void)
      })
    })
  if (inherited !== undefined) yield* listen({ fd: inherited })
  else if (shared !== undefined) yield* listen(shared)
  else if (spec._tag === "tcp") yield* listen({ host: spec.host, port: spec.port })
  else yield* listenOnFile(spec, settings, listen)
  return addressOf(server, spec)
})

/** Whether a socket has a file: not one with an abstract name (Linux), nor a pipe (Windows). */
export const isFile = (path: string, platform: string = process.platform): boolean =>
  !path.startsWith("\0") && !(platform === "win32" && /^\\\\[.?]\\pipe\\/i.test(path))

/** Runs what the file system may refuse. */
const attempt = <A>(spec: UnixSpec, operation: () => A): Effect.Effect<A, ServerError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(operation())
    } catch (error) {
      return Effect.fail(listenFailed(spec, (error as NodeJS.ErrnoException).code ?? String(error)))
    }
  })

/**
 * Listens in a folder that only we can enter, and moves the socket to its place once it has its mode. So it is never
 * open to more than its mode says; one that is replaced is never missing; and the runtime, which removes the file it was
 * bound to when it closes, does not remove the file of a successor. What has no file is listened on as it is.
 */
export const listenOnFile = Effect.fnUntraced(function*(
  spec: UnixSpec,
  settings: ServerSettings,
  listen: (options: Net.ListenOptions) => Effect.Effect<void, ServerError>
): Effect.fn.Return<void, ServerError, Scope.Scope> {
  const { path } = spec
  if (!isFile(path)) return yield* listen({ path })
  const place = (folder: string) => {
    const bound = Path.join(folder, "s")
    return Effect.andThen(
      listen({ path: bound }),
      attempt(spec, () => {
        Fs.chmodSync(bound, settings.unixMode)
        const { ino } = Fs.statSync(bound)
        Fs.renameSync(bound, path)
        return ino
      })
    )
  }
  yield* Effect.acquireRelease(
    Effect.acquireUseRelease(
      attempt(spec, () => Fs.mkdtempSync(`${Path.dirname(path)}/.`)),
      place,
      (folder) => Effect.sync(() => Fs.rmSync(folder, { force: true, recursive: true }))
    ),
    (inode) =>
      Effect.sync(() => {
        if (Fs.statSync(path, { throwIfNoEntry: false })?.ino === inode) Fs.rmSync(path, { force: true })
      })
  )
})

/** Succeeds when nothing is in the way. A socket that nobody listens on is left over from a process that died. */
export const checkFile = Effect.fnUntraced(function*(spec: UnixSpec): Effect.fn.Return<void, ServerError> {
  if (!isFile(spec.path)) return
  if (Math.max(Buffer.byteLength(spec.path), Buffer.byteLength(Path.dirname(spec.path)) + 10) > maxPathBytes) {
    return yield* Effect.fail(listenFailed(spec, "ENAMETOOLONG"))
  }
  const stat = yield* attempt(spec, () => Fs.statSync(spec.path, { throwIfNoEntry: false }))
  if (stat === undefined) return
  if (!stat.isSocket()) return yield* Effect.fail(listenFailed(spec, "ENOTSOCK"))
  yield* Effect.callback<void, ServerError>((resume) => {
    const probe = Net.connect({ path: spec.path })
    probe.once("connect", () => {
      probe.destroy()
      resume(Effect.fail(listenFailed(spec, "EADDRINUSE")))
    })
    probe.once(
      "error",
      ({ code = "EADDRINUSE" }: NodeJS.ErrnoException) =>
        resume(code === "ECONNREFUSED" || code === "ENOENT" ? Effect.void : Effect.fail(listenFailed(spec, code)))
    )
    return Effect.sync(() => void probe.destroy())
  })
})

const addressOf = (server: Net.Server, spec: ListenSpec): Address => {
  if (spec._tag === "unix") return { _tag: "unix", path: spec.path }
  const bound = server.address() as Net.AddressInfo
  return { _tag: "tcp", host: bound.address, port: bound.port, scheme: spec.scheme ?? "http" }
}

const peerOf = (core: ServerCore, socket: Net.Socket, spec: ListenSpec): Peer =>
  spec._tag === "unix"
    ? core.peerOf(undefined, [spec.path, null])
    : core.peerOf(
      [plainAddress(socket.remoteAddress ?? ""), socket.remotePort ?? 0],
      [plainAddress(socket.localAddress ?? ""), socket.localPort ?? 0]
    )

/** An IPv4 client of a listener on `::` is an IPv4 client. */
const plainAddress = (address: string): string => address.startsWith("::ffff:") ? address.slice(7) : address
