/**
 * A request for another protocol than WebSocket as effect's Socket (RFC 9110 section 7.8). 101 is answered when the
 * socket's reader is acquired, after what is left of the request's body was thrown away; the connection ends with the
 * reader's scope.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import type { Headers } from "../../schema/Scope.ts"
import type { ByteTunnel, SwitchesProtocols } from "../ByteTunnel.ts"
import type { HttpExchange } from "../Exchange.ts"
import { closeError, type Message, openError, Pulls, type Upgrade } from "./RequestSocket.ts"
import * as Target from "./Target.ts"

type Switching = HttpExchange & SwitchesProtocols

export class RawSocket implements Upgrade {
  private readonly exchange: Switching
  private readonly protocol: string
  /** Receives what is left of the request's body. */
  private readonly restOfBody: Effect.Effect<void, unknown>
  private readonly opened = Latch.makeUnsafe(false)
  private tunnel: ByteTunnel | undefined = undefined
  private headers: Headers = []
  readonly socket: Socket.Socket

  /** What the request asks to be upgraded to; `undefined` when it does not, or when its connection cannot. */
  static make(exchange: HttpExchange, restOfBody: Effect.Effect<void, unknown>): RawSocket | undefined {
    const protocol = Target.header(exchange.scope, "upgrade")
    const options = Target.header(exchange.scope, "connection")?.toLowerCase().split(",") ?? []
    const isAsked = protocol !== undefined && options.some((option) => option.trim() === "upgrade")
    const canSwitch = (exchange as Partial<SwitchesProtocols>).switchProtocols !== undefined
    return isAsked && canSwitch ? new RawSocket(exchange as Switching, protocol, restOfBody) : undefined
  }

  constructor(exchange: Switching, protocol: string, restOfBody: Effect.Effect<void, unknown>) {
    this.exchange = exchange
    this.restOfBody = restOfBody
    this.protocol = protocol
    this.socket = Socket.make({
      reader: Effect.flatMap(Effect.scope, (scope) => this.open(scope)),
      writer: Effect.succeed({
        write: (chunk) => this.opened.whenOpen(Effect.suspend(() => this.write(chunk))),
        writeAll: (chunks) =>
          this.opened.whenOpen(Effect.forEach(chunks, (chunk) => this.write(chunk), { discard: true }))
      })
    })
  }

  get accepted(): boolean {
    return this.tunnel !== undefined
  }

  /** The socket, whose 101 will carry `headers`. */
  with(headers: Headers): Socket.Socket {
    this.headers = headers
    return this.socket
  }

  private open(scope: Scope.Scope): Effect.Effect<Socket.Reader, Socket.SocketError> {
    if (this.tunnel !== undefined) return Effect.fail(openError("The connection was upgraded before"))
    const reader = new Pulls(this.next)
    return Effect.mapError(this.restOfBody, openError).pipe(
      Effect.andThen(Effect.mapError(this.exchange.switchProtocols(this.protocol, this.headers), openError)),
      Effect.flatMap((tunnel) => {
        this.tunnel = tunnel
        this.opened.openUnsafe()
        return Scope.addFinalizer(scope, Effect.andThen(Effect.sync(() => reader.close()), tunnel.end))
      }),
      Effect.map(() => ({ pull: reader.pull, upgrade: Socket.SocketUpgradeError.unsupported }))
    )
  }

  private get next(): Effect.Effect<Message, Socket.SocketError> {
    return Effect.flatMap(Effect.suspend(() => this.tunnel!.pull), (bytes) => {
      if (bytes !== undefined) return Effect.succeed([bytes] as const)
      return Effect.fail(closeError(this.exchange.connection.disconnectReason === undefined ? 1000 : 1006, undefined))
    })
  }

  private write(chunk: Uint8Array | string | Socket.CloseEvent): Effect.Effect<void> {
    return Socket.isCloseEvent(chunk) ? this.tunnel!.end : this.tunnel!.write(chunk)
  }
}
