/**
 * Sockets that systemd has bound for us (socket activation). Takes what the environment offers and forgets it there, so
 * that no child takes it for its own; finds out what each socket is; and gives each to the address of the settings that
 * it belongs to. Files of unix sockets stay systemd's: nothing here removes one.
 *
 * **Source** sd_listen_fds(3).
 */
import * as Effect from "effect/Effect"
import * as Dns from "node:dns"
import * as Fs from "node:fs"
import * as Net from "node:net"
import type { ListenSpec } from "../../src/schema/Settings.ts"
import { type Address, formatAddress } from "../../src/service/Server.ts"
import * as ProcFs from "./ProcFs.ts"
import type { Bound } from "./SupervisorSockets.ts"

export interface Options {
  /** Default: the process's own, from which the variables are removed. */
  readonly env?: Record<string, string | undefined>
  readonly pid?: number
  /** Default `/proc`. */
  readonly procRoot?: string
}

/** A socket that came with the process. */
export interface Activated {
  readonly descriptor: number
  /** As the unit calls it (`FileDescriptorName=`), by default the unit's own name. */
  readonly name: string
  /** `undefined`: it is nothing that a server listens on. */
  readonly address: Address | undefined
}

const firstDescriptor = 3
const variables = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] as const

/** What Node's server is made of. Not documented, and the same from Node 20 to 24: the tests would tell. */
interface Handle {
  readonly close: () => void
  readonly getsockname?: (into: { address?: string; port?: number }) => number
}

const openHandle = (Net as unknown as {
  readonly _createServerHandle: (address: null, port: 0, family: -1, descriptor: number, flags: 0) => Handle | number
})._createServerHandle

/** Handles that only look. Closing one closes the socket, which is the listener's; an idle one holds nobody up. */
const looking = new Map<number, Handle>()

/** Not from /proc: a service may be in another network than its sockets (`PrivateNetwork=`). */
const tcpAddressOf = (descriptor: number): Address | undefined => {
  const handle = openHandle(null, 0, -1, descriptor, 0)
  if (typeof handle === "number") return undefined
  looking.set(descriptor, handle)
  const bound: { address?: string; port?: number } = {}
  if (handle.getsockname === undefined || handle.getsockname(bound) !== 0) return undefined
  const { address = "", port = 0 } = bound
  return Net.isIP(address) === 0 || port === 0 ? undefined : { _tag: "tcp", host: address, port }
}

const addressOf = (descriptor: number, procRoot: string | undefined): Address | undefined => {
  const { ino } = Fs.fstatSync(descriptor)
  const file = ProcFs.listening(procRoot).find(({ _tag, inode }) => _tag === "unix" && inode === ino)
  return file?._tag === "unix" ? { _tag: "unix", path: file.path } : tcpAddressOf(descriptor)
}

const kindOf = (descriptor: number): "socket" | "other" | "closed" => {
  try {
    return Fs.fstatSync(descriptor).isSocket() ? "socket" : "other"
  } catch {
    return "closed"
  }
}

/**
 * What systemd hands to this process; nothing where it was not started so. The environment forgets it.
 *
 * Call it once, before anything opens files. A hand-over to another process (`LISTEN_PID`) is left alone, with a warning:
 * a launcher such as npm stands between, and the sockets never arrive.
 */
export const take = Effect.fnUntraced(function*(
  options: Options = {}
): Effect.fn.Return<ReadonlyArray<Activated>> {
  const { env = process.env, pid = process.pid, procRoot } = options
  const [count, owner, names] = variables.map((name) => env[name])
  for (const name of variables) delete env[name]
  if (count === undefined || owner === undefined) return []
  if (owner !== String(pid)) {
    yield* Effect.logWarning(
      `The sockets of systemd are for process ${owner}, and this is ${pid}: start it without a launcher between`
    )
    return []
  }
  if (!/^\d{1,4}$/.test(count)) {
    yield* Effect.logWarning(`LISTEN_FDS is ${JSON.stringify(count)} and not a number: no socket of systemd is used`)
    return []
  }
  const named = (names ?? "").split(":")
  const found: Array<Activated> = []
  for (let index = 0; index < Number(count); index++) {
    const descriptor = firstDescriptor + index
    const name = named[index] || "unknown"
    const kind = kindOf(descriptor)
    if (kind === "socket") found.push({ descriptor, name, address: addressOf(descriptor, procRoot) })
    // Left open: where systemd has not put it, it may be the runtime's own.
    else yield* Effect.logWarning(`systemd has promised a socket as descriptor ${descriptor}, ${name}: it is none`)
    if (kind === "closed") break
  }
  return found
})

/** All that can be listened on, as the setting `listen` has it: for a program that nobody told where to listen. */
export const listenOf = (activated: ReadonlyArray<Activated>): ReadonlyArray<string> =>
  activated.flatMap(({ address }) => {
    if (address === undefined) return []
    if (address._tag === "unix") return [`unix:${address.path}`]
    return [`${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`]
  })

/** The IP address that a host of the settings stands for. A name that nobody knows is left to who binds it. */
const hostOf = (host: string): Effect.Effect<string> =>
  Net.isIP(host) !== 0
    ? Effect.succeed(ProcFs.canonicalHost(host))
    : Effect.callback((resume) => {
      Dns.lookup(
        host,
        (error, address) => resume(Effect.succeed(error === null ? ProcFs.canonicalHost(address) : host))
      )
    })

const isAt = (address: Address | undefined, spec: ListenSpec, host: string): boolean => {
  if (address === undefined) return false
  if (spec._tag === "unix" || address._tag === "unix") {
    return spec._tag === "unix" && address._tag === "unix" && spec.path === address.path
  }
  return address.port === spec.port && ProcFs.canonicalHost(address.host) === host
}

const close = (descriptor: number): void => {
  const handle = looking.get(descriptor)
  if (handle === undefined) return Fs.closeSync(descriptor)
  looking.delete(descriptor)
  handle.close()
}

const find = Effect.fnUntraced(function*(activated: ReadonlyArray<Activated>, spec: ListenSpec) {
  const host = spec._tag === "unix" ? "" : yield* hostOf(spec.host)
  const exact = activated.find(({ address }) => isAt(address, spec, host))
  // `ListenStream=80` is a socket of IPv6 that takes IPv4 as well, which is what 0.0.0.0 asks for.
  return exact ?? (host === "0.0.0.0" ? activated.find(({ address }) => isAt(address, spec, "::")) : undefined)
})

/**
 * Gives each address that is to be listened on the socket that systemd has bound for it. Those that nobody wants are
 * closed with a warning. **Returns** the pairs, under the address as the settings name it; what is not among them is bound
 * as ever.
 */
export const match = Effect.fnUntraced(function*(
  activated: ReadonlyArray<Activated>,
  listeners: ReadonlyArray<ListenSpec>
): Effect.fn.Return<ReadonlyArray<Bound>> {
  const left = new Set(activated)
  const bound: Array<Bound> = []
  for (const spec of listeners) {
    const found = yield* find([...left], spec)
    if (found === undefined) continue
    left.delete(found)
    const scheme = spec._tag === "tcp" ? { scheme: spec.scheme ?? "http" } : {}
    bound.push({
      key: formatAddress(spec),
      descriptor: found.descriptor,
      isShared: false,
      address: { ...found.address!, ...scheme }
    })
  }
  for (const { address, descriptor, name } of left) {
    const what = address === undefined ? "nothing to listen on" : formatAddress(address)
    yield* Effect.logWarning(
      `Closing a socket of systemd that no setting names: descriptor ${descriptor}, ${name}, ${what}`
    )
    yield* Effect.sync(() => close(descriptor))
  }
  return bound
})

/** Descriptors by address, which is what a server in this process looks for (`InheritedSockets`). */
export const descriptorsOf = (bound: ReadonlyArray<Bound>): ReadonlyMap<string, number> =>
  new Map(bound.map(({ descriptor, key }) => [key, descriptor]))
