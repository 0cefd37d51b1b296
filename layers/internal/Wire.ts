/**
 * What an exchange needs from the connection below it. Every rule of the contract lives above this line, in the
 * exchanges; every byte of a protocol lives below it, in the wires: an HTTP/1 connection, or one stream of HTTP/2.
 */
import type { Duplex } from "node:stream"
import type { HeaderList, HeaderProblem } from "../../src/protocol/ResponseFields.ts"
import type { DisconnectReason } from "../../src/schema/DisconnectReason.ts"
import type { HttpRequest } from "../../src/schema/Event.ts"

/** A piece of body that is ready to be written: bytes, or text that is known to be ASCII. */
export type Piece = Uint8Array | string

/** What takes over a stream of bytes from a connection that has left HTTP. */
export interface Session {
  /** Bytes from the peer. */
  received(chunk: Uint8Array): void
  /** The stream takes bytes again. */
  drained(): void
  /** The peer has ended its side. */
  ended(): void
  /** The stream is closed. */
  closed(): void
  /** Compares the waits of the session with their limits. */
  sweep(now: number): void
}

export interface Wire {
  /** Bytes accepted and not yet taken by the operating system. */
  readonly bufferedAmount: number
  /** What the application declared as `content-length` in its last `readHead`; -1 when it did not. */
  readonly declaredLength: number
  /** True when the answer to this request has no body, whatever the application sends (HEAD, 204, 304). */
  readonly suppressesBody: boolean

  /** The next part of the request body, or `undefined` when nothing has arrived: `exchange.wake` says when to ask again. */
  pullBody(): HttpRequest | undefined
  /** Checks the head of an answer and keeps it for `startResponse`. */
  readHead(status: number, headers: HeaderList, hasTrailers: boolean): HeaderProblem | undefined
  /** Checks trailers and keeps them for `endResponse`. */
  readTrailers(headers: HeaderList): HeaderProblem | undefined
  /** Writes an interim answer. */
  informational(status: number, headers: HeaderList): HeaderProblem | undefined
  /** Writes the head that was read last; `bodyLength` is -1 when the body's length is not known. */
  startResponse(bodyLength: number): void
  /** Writes a piece of body. */
  writePiece(piece: Piece): void
  /** Writes the end of the answer. */
  endResponse(): void
  /**
   * Completes a WebSocket handshake with the head that was read last, and gives bytes to the session that `open` makes
   * from now on.
   */
  upgrade(open: (stream: Duplex) => Session): void
  /**
   * Answers 101 to a request whose body has ended, with the headers that were read last, and gives bytes to the session
   * that `open` makes from now on. False where the wire cannot: then nothing was done.
   */
  switchProtocols(protocol: string, open: (stream: Duplex) => Session): boolean
  /** Hands everything written so far to the operating system. */
  flush(): void
  /** The exchange has ended before its answer was complete: what is on the wire must be seen as cut short. */
  abort(reason: DisconnectReason): void
  /** The application's fiber is over and the exchange has ended, one way or the other. */
  exchangeDone(): void
}
