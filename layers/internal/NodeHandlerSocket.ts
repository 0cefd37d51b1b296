/**
 * What a Node handler finds in `req.socket`: one end of a pipe in memory with the facts of the client's connection and
 * the methods of a net.Socket that handlers call. Never touches the client's real socket, which carries other requests.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Net from "node:net"
import type { HttpExchange, SseExchange } from "../../src/app/Exchange.ts"
import { makePipe, type PipeEnd } from "./MemoryPipe.ts"

/** Exchanges that are a plain request with a plain answer. */
export type RequestExchange = HttpExchange | SseExchange

/** Bytes each end holds for the other: what is read ahead of a handler, or of a client, that is slow. */
const bufferBytes = 16_384

const familyOf = (address: string): string => address.includes(":") ? "IPv6" : "IPv4"

/** Timers of `req.setTimeout`, `res.setTimeout` and `socket.setTimeout`: those of the server's Clock. */
class IdleTimer {
  private readonly socket: PipeEnd
  private readonly context: Context.Context<never>
  private fiber: Fiber.Fiber<void> | undefined

  constructor(socket: PipeEnd, context: Context.Context<never>) {
    this.socket = socket
    this.context = context
  }

  private get movedBytes(): number {
    return this.socket.bytesWritten + this.socket.peer.bytesWritten
  }

  /** Emits `timeout` once nothing has moved for that long, looked at once per period. 0 stops. */
  set(millis: number): void {
    this.stop()
    if (!(millis > 0) || this.socket.destroyed) return
    const wait: Effect.Effect<void> = Effect.suspend(() => {
      const before = this.movedBytes
      return Effect.andThen(
        Effect.sleep(millis),
        Effect.suspend(() => {
          if (this.movedBytes !== before) return wait
          // The fiber ends here; whoever listens may set the next timeout.
          this.fiber = undefined
          this.socket.emit("timeout")
          return Effect.void
        })
      )
    })
    // What is being written in this very turn belongs to the time before.
    this.fiber = Effect.runForkWith(this.context)(Effect.andThen(Effect.yieldNow, wait))
  }

  stop(): void {
    this.fiber?.interruptUnsafe()
    this.fiber = undefined
  }
}

/** Makes the two ends: ours, and the one a handler sees as its socket. */
export const make = (
  exchange: RequestExchange,
  context: Context.Context<never>
): { readonly ours: PipeEnd; readonly socket: PipeEnd } => {
  const { client, scheme, server } = exchange.scope
  const [ours, socket] = makePipe({ bufferBytes, serverHighWaterMark: bufferBytes })
  const timer = new IdleTimer(socket, context)
  const chain = () => socket
  // A pipe that is cut says so to both ends; the cut is known here from elsewhere.
  ours.on("error", () => {})
  socket.on("error", () => {})
  socket.once("close", () => timer.stop())
  const [localAddress, localPort] = server === undefined || server[1] === null ? [undefined, undefined] : server
  Object.assign(socket, {
    ...(scheme === "https" ? { encrypted: true } : {}),
    remoteAddress: client?.[0],
    remotePort: client?.[1],
    remoteFamily: client === undefined ? undefined : familyOf(client[0]),
    localAddress,
    localPort,
    localFamily: localAddress === undefined ? undefined : familyOf(localAddress),
    address: () =>
      localAddress === undefined ? {} : { address: localAddress, port: localPort, family: familyOf(localAddress) },
    setKeepAlive: chain,
    setNoDelay: chain,
    ref: chain,
    unref: chain
  })
  const asSocket = socket as unknown as Net.Socket
  asSocket.setTimeout = (millis, callback) => {
    if (callback !== undefined) socket.once("timeout", callback)
    timer.set(millis)
    return asSocket
  }
  return { ours, socket }
}
