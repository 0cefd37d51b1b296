/** Says which process has an address that is taken: for the message that says so. Linux only; elsewhere it knows nobody. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Dns from "node:dns"
import * as Net from "node:net"
import * as Path from "node:path"
import type { Address } from "../../src/service/Server.ts"
import * as ProcFs from "./ProcFs.ts"

const hostsOf = (host: string): Effect.Effect<ReadonlyArray<string>> =>
  Net.isIP(host) !== 0
    ? Effect.succeed([ProcFs.canonicalHost(host)])
    : Effect.callback((resume) => {
      Dns.lookup(host, { all: true }, (error, addresses) =>
        resume(Effect.succeed(
          error === null
            ? addresses.map(({ address }) => ProcFs.canonicalHost(address))
            : []
        )))
    })

const anyHost: ReadonlySet<string> = new Set(["0.0.0.0", "::"])

/** Two sockets get in each other's way at one address, and where one of them is at all addresses. */
const collides = (hosts: ReadonlyArray<string>, bound: string): boolean =>
  anyHost.has(bound) || hosts.some((host) => host === bound || anyHost.has(host))

/**
 * The process that listens on an address, or where it is in the way of one. Of several the parent. None: nobody, or
 * somebody into whom we may not look (another user's, where this is not root), or the system does not tell.
 *
 * Never fails. Reads /proc whole: for the moment of an error, not for every day.
 */
export const whoListens = (
  address: Address,
  procRoot?: string
): Effect.Effect<Option.Option<ProcFs.Process>> =>
  Effect.map(address._tag === "tcp" ? hostsOf(address.host) : Effect.succeed([]), (hosts) => {
    const path = address._tag === "unix" && !address.path.startsWith("\0") ? Path.resolve(address.path) : undefined
    const inodes = ProcFs.listening(procRoot).filter((socket) =>
      socket._tag === "tcp"
        ? address._tag === "tcp" && socket.port === address.port && collides(hosts, socket.host)
        : address._tag === "unix" && (socket.path === address.path || socket.path === path)
    ).map(({ inode }) => inode)
    return Option.fromUndefinedOr(ProcFs.holderOf(inodes, procRoot))
  })

/** For the end of a sentence: `node /srv/app.js (process 4711)`. */
export const formatProcess = ({ command, pid }: ProcFs.Process): string =>
  command === undefined ? `process ${pid}` : `${command} (process ${pid})`
