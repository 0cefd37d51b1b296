/**
 * Whose word counts about who a client is, and what scopes say after it was heard. Addresses are compared by
 * effect/net/IpNetwork, IPv4 in IPv6 as IPv4. Reads headers, never changes them.
 */
import * as IpNetwork from "effect/net/IpNetwork"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import * as Forwarded from "../../src/protocol/Forwarded.ts"
import type { Client, Headers, ServerAddress } from "../../src/schema/Scope.ts"
import type { ServerSettings } from "../../src/schema/Settings.ts"
import type { Peer } from "./Peer.ts"

/** What a scope says of the two ends. */
export type Ends = Pick<Peer, "client" | "server" | "scheme">

/**
 * Addresses that are remembered, some 200 bytes each. With three networks, what a proxy says takes 3.9 µs to understand
 * when its address is new, half of a whole request, and 0.2 when it is found here (Node 24).
 */
const rememberedAddresses = 8192

interface Known {
  /** The address in its one form. */
  readonly address: string
  readonly isTrusted: boolean
}

/** How far the chain of proxies was followed. */
interface Walked {
  readonly client: Client | undefined
  /** Index of the last element that was looked at, from the right. */
  readonly position: number
}

export class TrustedProxies {
  /** True when trusted peers are believed what they say in headers. */
  readonly readsHeaders: boolean
  private readonly networks: ReadonlyArray<IpNetwork.IpNetwork>
  private readonly trustsUnix: boolean
  private readonly trustsAnyPeer: boolean
  private readonly family: ServerSettings["proxyHeaders"]
  private readonly known = new Map<string, Known>()

  constructor(proxies: NonNullable<ServerSettings["trustedProxies"]>, family: ServerSettings["proxyHeaders"]) {
    this.networks = proxies.filter((proxy) => typeof proxy !== "string")
    this.trustsAnyPeer = proxies.includes("*")
    this.trustsUnix = proxies.includes("unix")
    this.family = family
    this.readsHeaders = family !== "none"
  }

  /** True for the peer of a connection whose word counts; a client that is `undefined` is on a unix socket. */
  isTrusted(client: Client | undefined): boolean {
    if (this.trustsAnyPeer) return true
    if (client === undefined) return this.trustsUnix
    // A link-local address has its interface behind it.
    const zone = client[0].indexOf("%")
    return this.look(zone === -1 ? client[0] : client[0].slice(0, zone))?.isTrusted === true
  }

  /** The ends of one request of a trusted peer, as it tells them. */
  read(peer: Peer, headers: Headers): Ends {
    return this.family === "forwarded" ? this.readForwarded(peer, headers) : this.readXForwarded(peer, headers)
  }

  private readXForwarded(peer: Peer, headers: Headers): Ends {
    let fors: Array<string> | undefined
    let protos: Array<string> | undefined
    let hosts: Array<string> | undefined
    let ports: Array<string> | undefined
    for (const [name, value] of headers) {
      switch (name) {
        case "x-forwarded-for":
          fors = add(fors, value)
          break
        case "x-forwarded-proto":
          protos = add(protos, value)
          break
        case "x-forwarded-host":
          hosts = add(hosts, value)
          break
        case "x-forwarded-port":
          ports = add(ports, value)
          break
      }
    }
    const nodes = fors === undefined ? none : Forwarded.lastItems(fors)
    const { client, position } = this.walk(peer.client, nodes)
    const said = (lines: Array<string> | undefined): string | undefined => {
      if (lines === undefined) return undefined
      const items = Forwarded.lastItems(lines)
      // One value for each proxy: the one of the proxy that named the client. Otherwise what the nearest has said.
      return items.length === nodes.length ? items[position] : items[0]
    }
    return ends(peer, client, said(protos), said(hosts), said(ports))
  }

  private readForwarded(peer: Peer, headers: Headers): Ends {
    let lines: Array<string> | undefined
    for (const [name, value] of headers) if (name === "forwarded") lines = add(lines, value)
    if (lines === undefined) return peer
    const hops = Forwarded.lastHops(lines)
    const { client, position } = this.walk(peer.client, hops.map((hop) => hop.for))
    const hop = hops[position]
    return ends(peer, client, hop?.proto, hop?.host, undefined)
  }

  /**
   * Follows the chain from the right for as long as those who are named are proxies of ours. The first who is not is the
   * client. What cannot be read ends it: the client is whoever the last proxy was that could.
   */
  private walk(peer: Client | undefined, nodes: ReadonlyArray<string | undefined>): Walked {
    let client = peer
    let position = 0
    for (; position < nodes.length; position++) {
      const text = nodes[position]
      const node = text === undefined ? undefined : Forwarded.readNode(text)
      const known = node === undefined ? undefined : this.look(node.address)
      if (known === undefined) break
      client = [known.address, node!.port]
      if (!known.isTrusted) break
    }
    return { client, position: Math.min(position, nodes.length - 1) }
  }

  /** `undefined` for what is no address. */
  private look(text: string): Known | undefined {
    const before = this.known.get(text)
    if (before !== undefined) return before
    const read = NetAddress.ipFromString(text)
    if (Result.isFailure(read)) return undefined
    const ip = NetAddress.toCanonical(read.success)
    const address = NetAddress.formatIp(ip)
    const known = { address, isTrusted: this.networks.some((network) => IpNetwork.contains(network, ip)) }
    // Kept by a string of our own: what came may hold on to all bytes of its request.
    if (address === text) {
      if (this.known.size >= rememberedAddresses) this.known.clear()
      this.known.set(address, known)
    }
    return known
  }
}

const none: ReadonlyArray<string> = []

const add = (lines: Array<string> | undefined, value: string): Array<string> => {
  if (lines === undefined) return [value]
  lines.push(value)
  return lines
}

const ends = (
  peer: Peer,
  client: Client | undefined,
  proto: string | undefined,
  host: string | undefined,
  port: string | undefined
): Ends => {
  const scheme = (proto === undefined ? undefined : Forwarded.readScheme(proto)) ?? peer.scheme
  const authority = host === undefined ? undefined : Forwarded.readAuthority(host)
  if (authority === undefined) return { client, server: peer.server, scheme }
  const said = authority.port ?? (port === undefined ? undefined : Forwarded.readPort(port))
  const server: ServerAddress = [authority.host, said ?? (scheme === "https" ? 443 : 80)]
  return { client, server, scheme }
}
