/**
 * The bytes of a connection that has left HTTP for another protocol (RFC 9110 section 7.8). Not part of the contract:
 * what the server's exchanges offer beside it, and what `HttpServerRequest.upgrade` is made of. Types only.
 */
import type * as Effect from "effect/Effect"
import type { Headers } from "../schema/Scope.ts"
import type { SendError } from "./SendError.ts"

export interface ByteTunnel {
  /** The peer's next bytes, `undefined` once it has ended its side. Nothing is read from the network until it is asked. */
  readonly pull: Effect.Effect<Uint8Array | undefined>
  /** Sends bytes, or text as UTF-8. Suspends while too much waits for the peer; a no-op once the connection has gone. */
  readonly write: (bytes: Uint8Array | string) => Effect.Effect<void>
  /** Ends our side when everything is sent, and then the connection. */
  readonly end: Effect.Effect<void>
}

/** What an exchange can do whose connection may leave HTTP. */
export interface SwitchesProtocols {
  /**
   * Answers with 101 and hands over the connection. The request body must have been received to its end.
   *
   * **Fails with** `SendError` when an answer was started, or for a header that cannot be sent.
   */
  readonly switchProtocols: (protocol: string, headers: Headers) => Effect.Effect<ByteTunnel, SendError>
}
