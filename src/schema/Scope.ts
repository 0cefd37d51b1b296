/**
 * What arrived: the four scopes an application can be asked to handle, as Schemas with their plain object types.
 *
 * A scope is data and nothing else. The live handles stand beside it, in the exchange. The server builds plain objects
 * of these types and never decodes them; Lint does, in development and in tests. Keys that are not named here are
 * allowed everywhere: frameworks and middleware add their own to a copy.
 *
 * **Source** reference sections 1.2, 1.3, 1.5, 1.6, 1.7, 1.10; names in camelCase, booleans as booleans.
 */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

/** Printable-token characters of RFC 9110 section 5.6.2, without capitals. */
const lowerCaseToken = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/

/** Any string of one-byte characters. */
// oxlint-disable-next-line no-control-regex
const bytes = /^[\x00-\xff]*$/

/** One-byte characters that cannot end or split a header line. */
// oxlint-disable-next-line no-control-regex
const headerBytes = /^[\x01-\x09\x0b\x0c\x0e-\xff]*$/

const ByteString = Schema.String.check(Schema.isPattern(bytes, { expected: "a string of bytes (0 to 255)" }))

/**
 * Header lines in the order of their arrival, duplicates kept. Names are lower case; every character of a value is one
 * byte (0 to 255), not decoded. Several `cookie` lines arrive as one, joined with `"; "`.
 *
 * **Source** reference section 1.2.
 */
export const Headers: Schema.Codec<Headers> = Schema.Array(
  Schema.Tuple([
    Schema.String.check(Schema.isPattern(lowerCaseToken, { expected: "a lower-case header name" })),
    Schema.String.check(Schema.isPattern(headerBytes, { expected: "a header value of bytes without CR, LF, NUL" }))
  ])
)
export type Headers = ReadonlyArray<readonly [name: string, value: string]>

/**
 * Which contract the server speaks: `version` of Slipway's own wording, `specVersion` of the reference it follows.
 * Both are strings, to be compared as such.
 */
export const Contract = Schema.Struct({ version: Schema.String, specVersion: Schema.String })
export type Contract = typeof Contract.Type

/** The contract of this release; every scope carries this very object in `slipway`. */
export const contract: Contract = Object.freeze({ version: "0.3", specVersion: "0.3" })

const Port = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65535 }))

/** The other end of the connection: address and port. Absent for a peer on a unix socket. */
export const Client: Schema.Codec<Client> = Schema.Tuple([Schema.String, Port])
export type Client = readonly [host: string, port: number]

/** Our end of the connection: address and port, or the path of the unix socket and `null`. */
export const ServerAddress: Schema.Codec<ServerAddress> = Schema.Union([
  Schema.Tuple([Schema.String, Port]),
  Schema.Tuple([Schema.String, Schema.Null])
])
export type ServerAddress = readonly [host: string, port: number] | readonly [path: string, port: null]

/**
 * What the lifespan startup left for the requests of the same worker. Each scope has its own copy of the top level;
 * the values are shared by reference. Applications may write to it.
 */
export const State: Schema.Codec<State> = Schema.declare<State>(
  (u): u is State => Predicate.isObject(u) && !Array.isArray(u),
  { expected: "an object" }
)
export type State = Record<string, unknown>

/**
 * What is known about the TLS session. Absent on cleartext connections; `null` where the server does not know.
 *
 * **Source** reference section 1.10.
 */
export const Tls = Schema.Struct({
  /** The certificate the server presented, PEM. */
  serverCert: Schema.NullOr(Schema.String),
  /** What the client presented, PEM, leaf first; empty when it presented none. */
  clientCertChain: Schema.NullOr(Schema.Array(Schema.String)),
  /** Distinguished name of the client's leaf certificate, RFC 4514. */
  clientCertName: Schema.NullOr(Schema.String),
  /** Why the client's certificate was not accepted; `null` when it was, or when there was none. */
  clientCertError: Schema.NullOr(Schema.String),
  /** Protocol number: 0x0303 is TLS 1.2, 0x0304 is TLS 1.3. */
  tlsVersion: Schema.NullOr(Schema.Int),
  /** Number of the cipher suite in the IANA registry, 16 bits. */
  cipherSuite: Schema.NullOr(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffff })))
})
export type Tls = typeof Tls.Type

const Extension = Schema.Record(Schema.String, Schema.Unknown)

/**
 * What the server offers beyond the core. An event of an extension may be sent only when its key is here.
 *
 * **Source** reference section 1.10, and RFC 8297 for early hints.
 */
export const Extensions = Schema.StructWithRest(
  Schema.Struct({
    /** `http.fullflush` is accepted. */
    fullflush: Schema.optionalKey(Extension),
    /** `http.response.early_hint` is accepted. */
    "http.response.early_hint": Schema.optionalKey(Extension),
    /** The connection is encrypted, and this is what is known about it. */
    tls: Schema.optionalKey(Tls),
    /** A websocket may be declined with a whole HTTP response. */
    "websocket.http.response": Schema.optionalKey(Extension)
  }),
  [Schema.Record(Schema.String, Extension)]
)
export type Extensions = typeof Extensions.Type

/** Keys that the scope of every client connection has. */
const client = {
  /** Which contract the server speaks. */
  slipway: Contract,
  /** Version of HTTP on the wire. */
  httpVersion: Schema.Literals(["1.0", "1.1", "2"]),
  /**
   * The path, percent-decoded and then read as UTF-8. Where the decoded bytes are not valid UTF-8, every character is
   * one of those bytes; such a request is not refused.
   */
  path: Schema.String,
  /** The path as it was sent: bytes, without the query. */
  rawPath: ByteString,
  /** The query as it was sent: bytes, still encoded, without `?`. Empty when there was none. */
  queryString: ByteString,
  /** Where the application is mounted, without a slash at the end. Default `""`. */
  rootPath: Schema.String,
  /** What the client sent, lower-case names. */
  headers: Headers,
  /** Absent for a peer on a unix socket. */
  client: Schema.optionalKey(Client),
  /** Absent when the server does not know. */
  server: Schema.optionalKey(ServerAddress),
  /** Absent when no lifespan ran. */
  state: Schema.optionalKey(State),
  /** What the server offers beyond the core. Default `{}`. */
  extensions: Extensions
}

const request = {
  ...client,
  /** Method as sent; methods are case-sensitive and the registered ones are upper case. */
  method: Schema.String.check(Schema.isPattern(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/, { expected: "a method token" })),
  /** Whether the client's connection is encrypted, as far as the server (or a trusted proxy) knows. */
  scheme: Schema.Literals(["http", "https"])
}

/**
 * One HTTP request.
 *
 * **Source** reference section 1.3.
 */
export const HttpScope = Schema.Struct({ type: Schema.Literal("http"), ...request })
export type HttpScope = typeof HttpScope.Type

/**
 * A request whose `accept` names `text/event-stream`, with any method.
 *
 * **Source** reference section 1.6.
 */
export const SseScope = Schema.Struct({ type: Schema.Literal("sse"), ...request })
export type SseScope = typeof SseScope.Type

/**
 * A WebSocket handshake; all its headers are in `headers`.
 *
 * **Source** reference section 1.5.
 */
export const WebSocketScope = Schema.Struct({
  type: Schema.Literal("websocket"),
  ...client,
  /** Whether the client's connection is encrypted, as far as the server (or a trusted proxy) knows. */
  scheme: Schema.Literals(["ws", "wss"]),
  /** What the client offers, in its order of preference. Default `[]`. */
  subprotocols: Schema.Array(Schema.String)
})
export type WebSocketScope = typeof WebSocketScope.Type

/**
 * The life of one worker, from before its first request to after its last connection.
 *
 * **Source** reference section 1.7.
 */
export const LifespanScope = Schema.Struct({
  type: Schema.Literal("lifespan"),
  /** Which contract the server speaks. */
  slipway: Contract,
  /** True in a worker process of several, false in a process of its own. Absent when unknown. */
  isWorker: Schema.optionalKey(Schema.Boolean),
  /** Number of the worker, from 1; `null` outside of a worker. */
  workerNumber: Schema.optionalKey(Schema.NullOr(Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)))),
  /** Filled by the application during startup, copied into every scope of this worker. Absent when unsupported. */
  state: Schema.optionalKey(State)
})
export type LifespanScope = typeof LifespanScope.Type

/** Every scope. Narrow on `type`. */
export const Scope = Schema.Union([HttpScope, WebSocketScope, SseScope, LifespanScope])
export type Scope = typeof Scope.Type
