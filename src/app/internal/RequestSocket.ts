/**
 * A WebSocket exchange as effect's Socket, for handlers that ask their request for `upgrade`. The handshake is accepted
 * when the socket's reader is acquired, and the session ends with the reader's scope: 1000 after success, 1001 after
 * interruption, 1011 after a failure. A reader can be acquired once.
 *
 * The first subprotocol that the client offers is taken, as NodeHttpServer does.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import type { WebSocketSend } from "../../schema/Event.ts"
import type { WebSocketExchange } from "../Exchange.ts"
import type { SendError } from "../SendError.ts"

export class RequestSocket {
  private readonly exchange: WebSocketExchange
  private readonly opened = Latch.makeUnsafe(false)
  /** True once the request was upgraded: from then on there is no response. */
  accepted = false
  readonly socket: Socket.Socket

  constructor(exchange: WebSocketExchange) {
    this.exchange = exchange
    // A write that waits for a handshake that will never be answered goes on, and goes nowhere.
    exchange.connection.onDisconnect(() => this.opened.openUnsafe())
    this.socket = Socket.make({
      reader: Effect.flatMap(Effect.scope, (scope) => this.open(scope)),
      writer: Effect.succeed({
        write: (chunk) => this.whenOpen(this.write(chunk)),
        writeAll: (chunks) => this.whenOpen(Effect.forEach(chunks, (chunk) => this.write(chunk), { discard: true }))
      })
    })
  }

  private open(scope: Scope.Scope): Effect.Effect<Socket.Reader, Socket.SocketError> {
    const { connection, scope: { subprotocols }, send } = this.exchange
    if (this.accepted || !connection.isConnected) return Effect.fail(openError("The session is over"))
    const accept = send({
      type: "websocket.accept",
      ...(subprotocols.length === 0 ? {} : { subprotocol: subprotocols[0]! })
    })
    const reader = new Pulls(this.next)
    const close = (exit: Exit.Exit<unknown, unknown>) => {
      reader.close()
      return Effect.ignore(send({ type: "websocket.close", code: closeCode(exit) }))
    }
    return Effect.mapError(accept, openError).pipe(
      Effect.andThen(Scope.addFinalizerExit(scope, close)),
      Effect.map(() => {
        this.accepted = true
        this.opened.openUnsafe()
        return { pull: reader.pull, upgrade: Socket.SocketUpgradeError.unsupported }
      }),
      Effect.uninterruptible
    )
  }

  private get next(): Effect.Effect<Message, Socket.SocketError> {
    return Effect.flatMap(this.exchange.receive, (event) => {
      switch (event.type) {
        case "websocket.receive":
          return Effect.succeed([event.text ?? event.bytes!])
        case "websocket.disconnect":
          return Effect.fail(closeError(event.code, event.reason))
        case "websocket.connect":
          return this.next
      }
    })
  }

  private whenOpen<A>(effect: Effect.Effect<A, SendError>): Effect.Effect<A, Socket.SocketError> {
    return this.opened.whenOpen(Effect.mapError(effect, writeError))
  }

  private write(chunk: Uint8Array | string | Socket.CloseEvent): Effect.Effect<void, SendError> {
    return this.exchange.send(toEvent(chunk))
  }
}

/** What one pull brings. */
export type Message = readonly [Uint8Array | string]

/** The reading side over `next`. Pulls that wait fail when the reader's scope closes, as effect's channels need it. */
export class Pulls {
  private readonly next: Effect.Effect<Message, Socket.SocketError>
  /** What ends each pull that waits. */
  private readonly waiting = new Set<() => void>()
  private closed = false

  constructor(next: Effect.Effect<Message, Socket.SocketError>) {
    this.next = next
  }

  readonly pull: Effect.Effect<Message, Socket.SocketError> = Effect.withFiber((parent) =>
    Effect.callback((resume) => {
      if (this.closed) return resume(Effect.fail(closeError(1006, undefined)))
      const receiving = Effect.runForkWith(parent.context)(this.next)
      const stop = () => {
        resume(Effect.fail(closeError(1006, undefined)))
        receiving.interruptUnsafe()
      }
      this.waiting.add(stop)
      receiving.addObserver((exit) => {
        this.waiting.delete(stop)
        resume(exit)
      })
      return Fiber.interrupt(receiving)
    })
  )

  close(): void {
    this.closed = true
    for (const stop of this.waiting) stop()
  }
}

const toEvent = (chunk: Uint8Array | string | Socket.CloseEvent): WebSocketSend => {
  if (typeof chunk === "string") return { type: "websocket.send", text: chunk }
  if (!Socket.isCloseEvent(chunk)) return { type: "websocket.send", bytes: chunk }
  const { code, reason } = chunk
  return { type: "websocket.close", code, ...(reason === undefined ? {} : { reason }) }
}

const closeCode = (exit: Exit.Exit<unknown, unknown>): number =>
  Exit.isSuccess(exit) ? 1000 : Cause.hasInterruptsOnly(exit.cause) ? 1001 : 1011

export const openError = (cause: unknown): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) })

export const writeError = (cause: unknown): Socket.SocketError =>
  new Socket.SocketError({ reason: new Socket.SocketWriteError({ cause }) })

export const closeError = (code: number, closeReason: string | undefined): Socket.SocketError =>
  new Socket.SocketError({
    reason: new Socket.SocketCloseError({ code, ...(closeReason === undefined ? {} : { closeReason }) })
  })
