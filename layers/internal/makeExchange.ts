/**
 * From a request head to the exchange that handles it: which protocol it asks for, and the scope that says what arrived.
 * The same for every wire.
 */
import * as Crypto from "node:crypto"
import { type Malformed, malformed } from "../../src/protocol/Malformed.ts"
import type { RequestHead } from "../../src/protocol/RequestHead.ts"
import { type Handshake, readConnect, readHandshake } from "../../src/protocol/WebSocketHandshake.ts"
import {
  contract,
  type Extensions,
  type HttpScope,
  type SseScope,
  type State,
  type WebSocketScope
} from "../../src/schema/Scope.ts"
import type { ClientExchange } from "./ClientExchange.ts"
import { HttpExchange } from "./HttpExchange.ts"
import type { Peer } from "./Peer.ts"
import type { ServerCore } from "./ServerCore.ts"
import { SseExchange } from "./SseExchange.ts"
import type { Ends } from "./TrustedProxies.ts"
import { isExtensionList } from "./WebSocketDeflate.ts"
import { WebSocketExchange } from "./WebSocketExchange.ts"
import type { Wire } from "./Wire.ts"

/** What one connection's scopes offer, by protocol. Shared by all clear-text connections. */
export interface ConnectionExtensions {
  readonly http: Extensions
  readonly sse: Extensions
  readonly websocket: Extensions
}

/** The extensions of a connection: those of the server, and what is known about its TLS session, on first use. */
export const extensionsFor = (server: ConnectionExtensions, peer: Peer): ConnectionExtensions => {
  if (peer.scheme === "http") return server
  const withTls = (extensions: Extensions): Extensions =>
    Object.defineProperty({ ...extensions }, "tls", { enumerable: true, get: () => peer.tls })
  return { http: withTls(server.http), sse: withTls(server.sse), websocket: withTls(server.websocket) }
}

/**
 * The scope of a request as a class, because of how V8 works: what a constructor makes it never moves to its old space
 * in advance, as it does with literals once many of them have survived (docs/decisions.md).
 */
class RequestScope {
  readonly type: "http" | "sse"
  readonly slipway = contract
  readonly httpVersion: HttpScope["httpVersion"]
  readonly method: string
  readonly scheme: HttpScope["scheme"]
  readonly path: string
  readonly rawPath: string
  readonly queryString: string
  readonly rootPath: string
  readonly headers: HttpScope["headers"]
  readonly extensions: Extensions
  declare client: NonNullable<HttpScope["client"]>
  declare server: NonNullable<HttpScope["server"]>
  declare state: State

  constructor(type: "http" | "sse", head: RequestHead, ends: Ends, rootPath: string, extensions: Extensions) {
    this.type = type
    this.httpVersion = head.httpVersion
    this.method = head.method
    this.scheme = ends.scheme
    this.path = head.path
    this.rawPath = head.rawPath
    this.queryString = head.queryString
    this.rootPath = rootPath
    this.headers = head.headers
    this.extensions = extensions
  }
}

class HandshakeScope implements WebSocketScope {
  readonly type = "websocket"
  readonly slipway = contract
  readonly httpVersion: WebSocketScope["httpVersion"]
  readonly scheme: WebSocketScope["scheme"]
  readonly path: string
  readonly rawPath: string
  readonly queryString: string
  readonly rootPath: string
  readonly headers: WebSocketScope["headers"]
  readonly subprotocols: ReadonlyArray<string>
  readonly extensions: Extensions
  declare client: NonNullable<HttpScope["client"]>
  declare server: NonNullable<HttpScope["server"]>
  declare state: State

  constructor(head: RequestHead, handshake: Handshake, ends: Ends, rootPath: string, extensions: Extensions) {
    this.httpVersion = head.httpVersion
    this.scheme = ends.scheme === "https" ? "wss" : "ws"
    this.path = head.path
    this.rawPath = head.rawPath
    this.queryString = head.queryString
    this.rootPath = rootPath
    this.headers = head.headers
    this.subprotocols = handshake.subprotocols
    this.extensions = extensions
  }
}

const fill = <S extends RequestScope | HandshakeScope>(scope: S, core: ServerCore, ends: Ends): S => {
  if (ends.client !== undefined) scope.client = ends.client
  if (ends.server !== undefined) scope.server = ends.server
  if (core.state !== undefined) scope.state = { ...core.state }
  return scope
}

/** The handshake of a head that asks for a WebSocket. `key` is empty on HTTP/2. */
const handshakeOf = (head: RequestHead): Handshake | Malformed => {
  const handshake = head.httpVersion === "2" ? readConnect(head.headers) : readHandshake(head)
  if (handshake._tag === "Malformed") return handshake
  // RFC 6455 section 9.1: a malformed list fails the handshake; extensions that are not known do not.
  const isValid = handshake.extensions === "" || isExtensionList(handshake.extensions)
  return isValid ? handshake : malformed.WebSocketExtensionsInvalid
}

/**
 * Makes the exchange for a request.
 *
 * **Returns** the fault of a WebSocket handshake that cannot be offered to an application. `onHandshake` is told the key
 * of one that can.
 */
export const makeExchange = (
  core: ServerCore,
  wire: Wire,
  peer: Peer,
  extensions: ConnectionExtensions,
  head: RequestHead,
  onHandshake: (key: string) => void
): ClientExchange<any> | Malformed => {
  const { rootPath } = core.settings
  const ends = peer.proxies === undefined ? peer : peer.proxies.read(peer, head.headers)
  if (head.kind === "http") {
    const scope = fill(new RequestScope("http", head, ends, rootPath, extensions.http), core, ends)
    return new HttpExchange(core, wire, scope as HttpScope, core.time.now())
  }
  if (head.kind === "sse") {
    const scope = fill(new RequestScope("sse", head, ends, rootPath, extensions.sse), core, ends)
    return new SseExchange(core, wire, scope as SseScope, core.time.now())
  }
  const handshake = handshakeOf(head)
  if (handshake._tag === "Malformed") return handshake
  onHandshake(handshake.key)
  const scope = fill(new HandshakeScope(head, handshake, ends, rootPath, extensions.websocket), core, ends)
  return new WebSocketExchange(core, wire, scope, core.time.now(), handshake.extensions)
}

/** What proves to the client that its handshake was read (RFC 6455 section 4.2.2). */
export const acceptValue = (key: string): string =>
  Crypto.createHash("sha1").update(key + handshakeGuid).digest("base64")

const handshakeGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/** Header lines that an answer to a fault needs beyond its text. */
export const faultHeaders = (fault: Malformed): ReadonlyArray<readonly [string, string]> =>
  // RFC 6455 section 4.2.2, and RFC 9110 section 15.5.22 for the upgrade.
  fault.reason === "WebSocketVersionUnsupported"
    ? [["sec-websocket-version", "13"], ["upgrade", "websocket"]]
    : noHeaders

const noHeaders: ReadonlyArray<readonly [string, string]> = []
