/**
 * The two live handles that stand beside a scope. Views of an exchange: they hold callbacks and nothing else, and are
 * made when an application first asks for them.
 */
import type * as Effect from "effect/Effect"
import type { ConnectionState, TransportState } from "../../src/app/Exchange.ts"
import type { DisconnectReason } from "../../src/schema/DisconnectReason.ts"
import type { ClientExchange } from "./ClientExchange.ts"

export class ConnectionHandle implements ConnectionState {
  private readonly exchange: ClientExchange
  constructor(exchange: ClientExchange) {
    this.exchange = exchange
  }
  get requestId(): string {
    return this.exchange.requestId
  }
  get isConnected(): boolean {
    return !this.exchange.ended
  }
  get disconnectReason(): DisconnectReason | undefined {
    return this.exchange.disconnectReason
  }
  get responseStarted(): boolean {
    return this.exchange.status !== 0
  }
  get responseComplete(): boolean {
    return this.exchange.answer === "complete"
  }
  get isShuttingDown(): boolean {
    return this.exchange.core.stopping
  }
  get disconnected(): Effect.Effect<DisconnectReason> {
    return this.exchange.disconnected
  }
  get shuttingDown(): Effect.Effect<void> {
    return this.exchange.core.shuttingDown
  }
  onDisconnect = (callback: (reason: DisconnectReason) => void): void => this.exchange.onDisconnect(callback)
  onComplete = (callback: () => void): void => this.exchange.onComplete(callback)
}

export class TransportHandle implements TransportState {
  private readonly exchange: ClientExchange
  private readonly highWater: Array<() => void> = []
  private readonly drain: Array<() => void> = []
  /** True between reaching the high watermark and falling below the low one. */
  private high = false

  constructor(exchange: ClientExchange) {
    this.exchange = exchange
    this.high = this.bufferedAmount >= this.highWaterMark
  }
  get bufferedAmount(): number {
    return this.exchange.released ? 0 : this.exchange.bufferedAmount
  }
  get highWaterMark(): number {
    return this.exchange.core.settings.writeHighWaterMark
  }
  get lowWaterMark(): number {
    return this.exchange.core.settings.writeLowWaterMark
  }
  onHighWater = (callback: () => void): void => {
    this.highWater.push(callback)
    if (this.high) this.exchange.call(callback)
  }
  onDrain = (callback: () => void): void => {
    this.drain.push(callback)
  }

  /** The buffer has reached the high watermark. */
  rose(): void {
    if (this.high) return
    this.high = true
    for (const callback of this.highWater) this.exchange.call(callback)
  }

  /** The buffer has fallen below the low watermark. */
  fell(): void {
    if (!this.high) return
    this.high = false
    for (const callback of this.drain) this.exchange.call(callback)
  }
}
