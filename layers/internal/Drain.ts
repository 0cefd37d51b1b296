/**
 * How one server ends: the window in which idle connections may bring one more request, the wait for what is in flight,
 * the cut, and the line that says what was waited for and what was cut. Never accepts and never closes a listener: the
 * layers have done that before. Costs nothing while the server serves.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { HeaderList } from "../../src/protocol/ResponseFields.ts"
import type { ClientExchange } from "./ClientExchange.ts"
import type { Peer } from "./Peer.ts"
import type { ServerCore } from "./ServerCore.ts"

export class Drain {
  /** True when another process takes over: WebSocket clients hear it. */
  isRestart = false
  /** True once no connection is waited for that carries no request: at a stop, or a drainWindow after it. */
  closesIdle = false

  private readonly core: ServerCore
  private readonly random: Random.Random
  private readonly awaited = new Set<ClientExchange>()
  private readonly cutOff = new Set<ClientExchange>()

  constructor(core: ServerCore, context: Context.Context<never>) {
    this.core = core
    this.random = Context.get(context, Random.Random)
  }

  /** The server waits for this exchange, or tells it to end. The log counts it by its kind. */
  awaits(exchange: ClientExchange): void {
    this.awaited.add(exchange)
  }

  /** The server has waited long enough for this exchange. */
  cuts(exchange: ClientExchange): void {
    if (!exchange.released) this.cutOff.add(exchange)
  }

  /** A WebSocket that begins now would end now. Gives the headers of the answer that says so. */
  refuses(peer: Peer): HeaderList {
    this.core.refused("ShuttingDown", 503, "the server is stopping", peer)
    return [["retry-after", "5"]]
  }

  /** When the client of an event stream shall come back; not all at once. 0: when it wants. */
  get retryMillis(): number {
    const { sseShutdownRetryMillis } = this.core.settings
    if (sseShutdownRetryMillis === 0) return 0
    return Math.max(1, Math.round(sseShutdownRetryMillis * (0.5 + this.random.nextDoubleUnsafe())))
  }

  /**
   * Stops: idle connections close, at once or after `drainWindow`; exchanges in flight get `shutdownTimeout` in all, what
   * remains is interrupted and gets `disconnectGrace` for its finalizers, then connections are destroyed.
   */
  get run(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { core } = this
      const { drainWindowMillis, shutdownTimeoutMillis } = core.settings
      const before = core.totalExchanges - core.exchanges
      const windowMillis = Math.min(drainWindowMillis, shutdownTimeoutMillis)
      this.closesIdle = windowMillis === 0
      const gone = core.beginStop()
      let busy = 0
      for (const connection of core.connections) if (connection.stop()) busy++
      core.checkGone()
      return Effect.gen({ self: this }, function*() {
        let isGone = false
        if (windowMillis > 0) {
          isGone = yield* within(gone, windowMillis)
          this.closesIdle = true
          for (const connection of core.connections) connection.endWaiting()
        }
        isGone ||= yield* within(gone, shutdownTimeoutMillis - windowMillis)
        const cut = isGone ? noCut : yield* this.cut(gone)
        this.report(core.totalExchanges - before, busy, cut)
      })
    })
  }

  /** Ends what is still there. */
  private cut(gone: Deferred.Deferred<void>): Effect.Effect<Cut> {
    return Effect.suspend(() => {
      const { core } = this
      const cut: Cut = { exchanges: core.exchanges, connections: core.connections.size }
      core.totalCut = cut.exchanges
      core.cut()
      return Effect.map(within(gone, core.settings.disconnectGraceMillis), () => {
        for (const connection of core.connections) connection.destroy()
        return cut
      })
    })
  }

  private report(exchanges: number, connections: number, cut: Cut): void {
    const { core } = this
    if (!core.hasListened) return
    const waited = `Stopped: waited for ${kinds(exchanges, this.awaited)} on ${count(connections, "connection")}`
    if (cut.exchanges === 0) {
      const ended = cut.connections === 0 ? "none" : count(cut.connections, "connection")
      return core.log(Effect.logInfo(`${waited}, cut ${ended}`))
    }
    const places = cut.connections === 0 ? "" : ` on ${count(cut.connections, "connection")}`
    const running = core.exchanges === 0
      ? ""
      : `, of which ${core.exchanges} still run${core.exchanges === 1 ? "s" : ""}`
    core.log(Effect.logWarning(`${waited}, cut ${kinds(cut.exchanges, this.cutOff)}${places}${running}`))
  }
}

/** What there was when the server had waited long enough. */
interface Cut {
  readonly exchanges: number
  readonly connections: number
}

const noCut: Cut = { exchanges: 0, connections: 0 }

/** True when it is over in time. */
const within = (gone: Deferred.Deferred<void>, millis: number): Effect.Effect<boolean> =>
  Effect.map(Effect.timeoutOption(Deferred.await(gone), millis), ({ _tag }) => _tag === "Some")

const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`

/** `2 requests, 1 event stream and 3 WebSockets`. What is in `known` says its kind, the others are requests. */
const kinds = (total: number, known: ReadonlySet<ClientExchange>): string => {
  let eventStreams = 0
  let webSockets = 0
  for (const { type } of known) {
    if (type === "sse") eventStreams++
    else if (type === "websocket") webSockets++
  }
  const requests = total - eventStreams - webSockets
  const words = [
    ...(requests > 0 || total === 0 ? [count(requests, "request")] : []),
    ...(eventStreams > 0 ? [count(eventStreams, "event stream")] : []),
    ...(webSockets > 0 ? [count(webSockets, "WebSocket")] : [])
  ]
  const last = words.pop()!
  return words.length === 0 ? last : `${words.join(", ")} and ${last}`
}
