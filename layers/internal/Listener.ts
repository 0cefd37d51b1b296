/**
 * One listening socket. Owns the socket from bind to close, the socket file of a unix address, and what to do when the
 * process runs out of file descriptors: stop accepting for a moment instead of spinning.
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Net from "node:net"
import type { ListenSpec, ServerSettings } from "../../src/schema/Settings.ts"
import { type Address, ServerError } from "../../src/service/Server.ts"
import type { Peer } from "./Peer.ts"
import type { ServerCore } from "./ServerCore.ts"

export interface Listener {
  readonly address: Address
  readonly server: Net.Server
  /** The file to remove when the listener closes, with its inode: a successor's file is not ours. */
  readonly file: { readonly path: string; readonly inode: number } | undefined
}

const advices: { readonly [code: string]: string } = {
  EADDRINUSE: "another program listens there; stop it or choose another address",
  EADDRNOTAVAIL: "this machine has no such address; choose one of its own, or 0.0.0.0 for all",
  EACCES: "permission denied; ports below 1024 need a privilege, and a socket file a folder you may write to",
  EPERM: "permission denied; ports below 1024 need a privilege, and a socket file a folder you may write to",
  ENOTFOUND: "the host name cannot be resolved; check its spelling, or give an IP address",
  EAI_AGAIN: "the host name cannot be resolved now; check the resolver, or give an IP address",
  ENOENT: "the folder of the socket file does not exist; create it first",
  ENOTSOCK: "there is a file that is not a socket; choose another path, or remove it yourself",
  EAFNOSUPPORT: "this machine does not support that kind of address",
  EINVAL: "the address is not valid here; a socket path may be at most 107 bytes long",
  ENAMETOOLONG: "the socket path is too long; 107 bytes are the limit"
}

const listenFailed = (spec: ListenSpec, code: string): ServerError =>
  new ServerError({
    reason: {
      _tag: "ListenFailed",
      address: spec,
      code,
      advice: advices[code] ?? "the operating system refused it"
    }
  })

/** Binds and listens. **Fails with** `ServerError` that names the address and says what to do. */
export const openListener = Effect.fnUntraced(function*(
  core: ServerCore,
  spec: ListenSpec,
  settings: ServerSettings
): Effect.fn.Return<Listener, ServerError> {
  if (spec._tag === "unix") yield* removeStaleFile(spec)
  const server = Net.createServer({
    allowHalfOpen: true,
    noDelay: true,
    highWaterMark: settings.writeHighWaterMark
  })
  yield* Effect.callback<void, ServerError>((resume) => {
    server.once("error", (error: NodeJS.ErrnoException) => resume(Effect.fail(listenFailed(spec, error.code ?? error.message))))
    server.once("listening", () => resume(Effect.void))
    server.on("connection", (socket: Net.Socket) => core.accept(socket, peerOf(socket, spec)))
    if (spec._tag === "tcp") {
      server.listen({ host: spec.host, port: spec.port, backlog: settings.backlog })
    } else {
      listenOnFile(server, spec.path, settings)
    }
  })
  server.removeAllListeners("error")
  server.on("error", (error) => core.log(Effect.logError("A listener failed", error)))
  server.on("drop", () => {})
  return { address: addressOf(server, spec), server, file: yield* chmod(spec, settings, server) }
})

/** The file must never be open to more than its mode says, not even between bind and chmod. */
const listenOnFile = (server: Net.Server, path: string, settings: ServerSettings): void => {
  const umask = process.umask(0o177)
  try {
    server.listen({ path, backlog: settings.backlog })
  } finally {
    process.umask(umask)
  }
}

const chmod = (
  spec: ListenSpec,
  settings: ServerSettings,
  server: Net.Server
): Effect.Effect<Listener["file"], ServerError> =>
  Effect.suspend(() => {
    if (spec._tag === "tcp" || spec.path.startsWith("\0")) return Effect.succeed(undefined)
    try {
      Fs.chmodSync(spec.path, settings.unixMode)
      return Effect.succeed({ path: spec.path, inode: Fs.statSync(spec.path).ino })
    } catch (error) {
      server.close()
      return Effect.fail(listenFailed(spec, (error as NodeJS.ErrnoException).code ?? "EACCES"))
    }
  })

/** A socket file that nobody listens on is left over from a process that died, and may be replaced. */
const removeStaleFile = (spec: Extract<ListenSpec, { readonly _tag: "unix" }>): Effect.Effect<void, ServerError> =>
  Effect.suspend(() => {
    const stat = Fs.statSync(spec.path, { throwIfNoEntry: false })
    if (stat === undefined) return Effect.void
    if (!stat.isSocket()) return Effect.fail(listenFailed(spec, "ENOTSOCK"))
    return Effect.callback<void, ServerError>((resume) => {
      const probe = Net.connect({ path: spec.path })
      probe.once("connect", () => {
        probe.destroy()
        resume(Effect.fail(listenFailed(spec, "EADDRINUSE")))
      })
      probe.once("error", (error: NodeJS.ErrnoException) => {
        if (error.code === "ECONNREFUSED") Fs.rmSync(spec.path, { force: true })
        resume(error.code === "ECONNREFUSED" || error.code === "ENOENT"
          ? Effect.void
          : Effect.fail(listenFailed(spec, error.code ?? "EADDRINUSE")))
      })
    })
  })

const addressOf = (server: Net.Server, spec: ListenSpec): Address => {
  if (spec._tag === "unix") return { _tag: "unix", path: spec.path }
  const bound = server.address() as Net.AddressInfo
  return { _tag: "tcp", host: bound.address, port: bound.port }
}

const peerOf = (socket: Net.Socket, spec: ListenSpec): Peer => {
  if (spec._tag === "unix") return { client: undefined, server: [spec.path, null], scheme: "http" }
  return {
    client: [plainAddress(socket.remoteAddress ?? ""), socket.remotePort ?? 0],
    server: [plainAddress(socket.localAddress ?? ""), socket.localPort ?? 0],
    scheme: "http"
  }
}

/** An IPv4 client of a listener on `::` is an IPv4 client. */
const plainAddress = (address: string): string => address.startsWith("::ffff:") ? address.slice(7) : address

/** Stops accepting; connections that are open stay open. Removes the socket file if it is still ours. */
export const closeListener = (listener: Listener): Effect.Effect<void> =>
  Effect.sync(() => {
    const { file, server } = listener
    if (file !== undefined && Fs.statSync(file.path, { throwIfNoEntry: false })?.ino === file.inode) {
      Fs.rmSync(file.path, { force: true })
    }
    server.close()
  })
