/**
 * A request for another protocol than WebSocket as effect's Socket (RFC 9110 section 7.8). 101 is answered when the
 * socket's reader is acquired, after what is left of the request's body was thrown away; the connection ends with the
 * reader's scope.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as FieldList from "../../protocol/FieldList.ts"
import type { Headers } from "../../schema/Scope.ts"
import type { ByteTunnel, SwitchesProtocols } from "../ByteTunnel.ts"
import type { HttpExchange } from "../Exchange.ts"
import { closeError, type Message, openError, Pulls, writeError } from "./RequestSocket.ts"

type Switching = HttpExchange & SwitchesProtocols

export class RawSocket {
  private readonly exchange: Switching
  private readonly protocol: string
  /** Receives what is left of the request's body. */
  private readonly restOfBody: Effect.Effect<void, unknown>
  private readonly opened = Latch.makeUnsafe(false)
  private tunnel: ByteTunnel | undefined = undefined
  private readonly writer: Socket.Writer = {
    write: (chunk) => this.opened.whenOpen(Effect.suspend(() => this.write(chunk))),
    writeAll: (chunks) => this.opened.whenOpen(Effect.forEach(chunks, (chunk) => this.write(chunk), { discard: true }))
  }

  /**
   * What the request asks to be upgraded to; `undefined` when it does not, or when its connection cannot. Of several
   * protocols the first, which is the client's favourite. HTTP/1.0 has no upgrades (RFC 9110 section 7.8).
   */
  static make(exchange: HttpExchange, restOfBody: Effect.Effect<void, unknown>): RawSocket | undefined {
    const [protocol] = listOf(exchange, "upgrade")
    const isAsked = exchange.scope.httpVersion === "1.1" && protocol !== undefined &&
      listOf(exchange, "connection").some((option) => option.toLowerCase() === "upgrade")
    const canSwitch = (exchange as Partial<SwitchesProtocols>).switchProtocols !== undefined
    return isAsked && canSwitch ? new RawSocket(exchange as Switching, protocol, restOfBody) : undefined
  }

  constructor(exchange: Switching, protocol: string, restOfBody: Effect.Effect<void, unknown>) {
    this.exchange = exchange
    this.restOfBody = restOfBody
    this.protocol = protocol
    // Writes that wait for a tunnel that will never be fail.
    exchange.connection.onDisconnect(() => this.opened.openUnsafe())
  }

  /** True once the request was upgraded: from then on there is no response. */
  get accepted(): boolean {
    return this.tunnel !== undefined
  }

  /** The socket, whose 101 will carry `headers`. */
  with(headers: Headers): Socket.Socket {
    return Socket.make({
      reader: Effect.flatMap(Effect.scope, (scope) => this.open(scope, headers)),
      writer: Effect.succeed(this.writer)
    })
  }

  private open(scope: Scope.Scope, headers: Headers): Effect.Effect<Socket.Reader, Socket.SocketError> {
    const reader = new Pulls(this.next)
    const switching = Effect.mapError(this.exchange.switchProtocols(this.protocol, headers), openError).pipe(
      Effect.flatMap((tunnel) => {
        this.tunnel = tunnel
        this.opened.openUnsafe()
        return Scope.addFinalizer(scope, Effect.andThen(Effect.sync(() => reader.close()), tunnel.end))
      }),
      Effect.as({ pull: reader.pull, upgrade: Socket.SocketUpgradeError.unsupported }),
      Effect.uninterruptible
    )
    return Effect.andThen(Effect.mapError(this.restOfBody, openError), switching)
  }

  private get next(): Effect.Effect<Message, Socket.SocketError> {
    return Effect.flatMap(Effect.suspend(() => this.tunnel!.pull), (bytes) => {
      if (bytes !== undefined) return Effect.succeed([bytes] as const)
      return Effect.fail(closeError(this.exchange.connection.disconnectReason === undefined ? 1000 : 1006, undefined))
    })
  }

  private write(chunk: Uint8Array | string | Socket.CloseEvent): Effect.Effect<void, Socket.SocketError> {
    const { tunnel } = this
    if (tunnel === undefined) return Effect.fail(writeError("The client has gone"))
    return Socket.isCloseEvent(chunk) ? tunnel.end : tunnel.write(chunk)
  }
}

/** All lines of a header as one list. Empty items count for nothing (RFC 9110 section 5.6.1.2). */
const listOf = (exchange: HttpExchange, name: string): ReadonlyArray<string> =>
  exchange.scope.headers
    .flatMap((header) => header[0] === name ? FieldList.items(header[1]) : [])
    .filter((item) => item !== "")
