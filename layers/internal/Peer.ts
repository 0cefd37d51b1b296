/** The two ends of a connection, looked up once when it is accepted. */
import type { Client, ServerAddress } from "../../src/schema/Scope.ts"

export interface Peer {
  /** Absent for a unix socket. */
  readonly client: Client | undefined
  readonly server: ServerAddress | undefined
  readonly scheme: "http" | "https"
}

/** The client's address for logs: without port, `unix` for a unix socket. */
export const clientText = (peer: Peer): string => peer.client === undefined ? "unix" : peer.client[0]
