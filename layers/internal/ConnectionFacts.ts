/**
 * What operators are told of one connection. Put together from what the connection keeps anyway, and only when somebody asks.
 */
import type { ConnectionFacts } from "../../src/schema/Report.ts"
import type { Client } from "../../src/schema/Scope.ts"
import type { ClientExchange } from "./ClientExchange.ts"
import { Http1Connection } from "./Http1Connection.ts"
import { Http2Connection } from "./Http2Connection.ts"
import type { Connection, ServerCore } from "./ServerCore.ts"

/** Characters of a path that are shown. */
const mostPath = 200

/** The facts of a connection of this server. */
export const describe = (core: ServerCore, connection: Connection): ConnectionFacts => ({
  client: connection.peer.client === undefined ? "unix" : clientOf(connection.peer.client),
  protocol: connection instanceof Http1Connection ? "http/1.1" : "h2",
  isSecure: connection.peer.scheme === "https",
  openedAtMillis: core.time.toWall(connection.openedAt),
  requests: connection.requests,
  exchanges: exchangesOf(connection).flatMap((exchange) => exchange === undefined ? [] : [nameOf(exchange)])
})

const clientOf = ([host, port]: Client): string => host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`

const exchangesOf = (connection: Connection): ReadonlyArray<ClientExchange | undefined> =>
  connection instanceof Http1Connection
    ? [connection.exchange]
    : connection instanceof Http2Connection
    ? [...connection.streams].map(({ exchange }) => exchange)
    : []

/** `GET /path`, `websocket /chat`: without the query, which may hold secrets. */
const nameOf = ({ method, scope: { path }, type }: ClientExchange): string =>
  `${type === "http" ? method : type} ${path.length > mostPath ? `${path.slice(0, mostPath)}...` : path}`
