/** The two ends of a connection, looked up once when it is accepted. */
import type { Client, ServerAddress, Tls } from "../../src/schema/Scope.ts"
import type { TrustedProxies } from "./TrustedProxies.ts"

export interface Peer {
  /** Absent for a unix socket. */
  readonly client: Client | undefined
  readonly server: ServerAddress | undefined
  readonly scheme: "http" | "https"
  /** What was agreed on by ALPN; `false` when the client did not ask, absent in clear text. */
  readonly alpnProtocol?: "h2" | "http/1.1" | false | undefined
  /** What is known about the TLS session; absent in clear text. May be computed on first use. */
  readonly tls?: Tls | undefined
  /** Set when the peer is a proxy whose headers are believed: reads them. */
  readonly proxies?: TrustedProxies | undefined
}

/** The client's address for logs: without port, `unix` for a unix socket. */
export const clientText = (peer: Peer): string => peer.client === undefined ? "unix" : peer.client[0]
