/**
 * What all connections of one server share: settings, time, counters, the application and how it is run, and the
 * order in which everything stops. Knows no sockets: layers hand it duplex streams.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Duplex } from "node:stream"
import type { App } from "../../src/app/App.ts"
import type { Limits } from "../../src/protocol/Limits.ts"
import { reasonPhrase } from "../../src/protocol/ReasonPhrases.ts"
import type { ConnectionFacts } from "../../src/schema/Report.ts"
import type { Client, ServerAddress, State } from "../../src/schema/Scope.ts"
import { AccessLog } from "../../src/service/AccessLog.ts"
import type { Stats } from "../../src/service/Server.ts"
import type { ClientExchange } from "./ClientExchange.ts"
import { describe } from "./ConnectionFacts.ts"
import { Drain } from "./Drain.ts"
import { Http1Connection } from "./Http1Connection.ts"
import { Http2Sessions } from "./Http2Sessions.ts"
import { inModule } from "./LogLevels.ts"
import type { ConnectionExtensions } from "./makeExchange.ts"
import { clientText, type Peer } from "./Peer.ts"
import { metricsFor, type ServerMetrics } from "./ServerMetrics.ts"
import { ServerTime } from "./ServerTime.ts"
import { inSpan, isTracing } from "./Tracing.ts"
import { TrustedProxies } from "./TrustedProxies.ts"
import type { WireSettings } from "./WireSettings.ts"

/** Connections above the limit that are told so before they are closed; further ones are closed without a word. */
const surplusConnections = 1000

const ignore = (): void => {}

/** Connections from which on the answers of one turn of the event loop are written together. */
const gatheringConnections = 16

/** How often waits are looked at while the server stops: somebody waits for its end. */
const drainSweepMillis = 250

/** What the core asks of a connection, whichever protocol it speaks. */
export interface Connection {
  /** Tells a connection above the limit so, and closes it. */
  refuseConnection(): void
  /** Closes the connection if it waits between two requests. True when it did. */
  closeIdle(): boolean
  /** The server is stopping: sessions end now, a busy connection closes after its answers. True when it is busy. */
  stop(): boolean
  /** The server is stopping and waits for no further request: an idle connection closes now. */
  endWaiting(): void
  /** The server has waited long enough. */
  cut(): void
  /** Closes at once, whatever is going on. */
  destroy(): void
  readonly peer: Peer
  readonly requests: number
  /** By the server's time. Written by the core. */
  openedAt: number
  /** Compares the connection's waits with their limits. `now` is monotonic, in whole milliseconds. */
  sweep(now: number): void
}

/** Something that holds back output until the end of the present turn of the event loop. */
export interface Gathering {
  flush(): void
  /** Flushes, and lets those go on who waited for it. */
  flushHeldBack(): void
}

export class ServerCore {
  readonly settings: WireSettings
  readonly limits: Limits
  readonly metrics: ServerMetrics
  readonly time: ServerTime
  /** The fiber that interrupts exchanges, for their causes. */
  readonly fiberId: number
  readonly connections = new Set<Connection>()
  exchanges = 0
  totalConnections = 0
  totalExchanges = 0
  totalRefused = 0
  totalCut = 0
  stopping = false
  /** True while new clients are welcome. */
  isReady = false
  readonly drain: Drain
  /** True once the server was open for connections: before that there is no end to report. */
  hasListened = false
  /** Left by the lifespan startup; `undefined` when the application has none. */
  state: State | undefined = undefined

  private readonly runFork: (effect: Effect.Effect<void, unknown>) => Fiber.Fiber<void, unknown>
  private readonly tracing: boolean
  private readonly app: App<unknown, never>
  private readonly accessLog: Context.Service.Shape<typeof AccessLog> | undefined
  private readonly stopSignal = Deferred.makeUnsafe<void>()
  /** What scopes offer on connections in clear text. */
  readonly extensions: ConnectionExtensions
  /** Who may say whom a request or a connection comes from; `undefined`: nobody. */
  readonly proxies: TrustedProxies | undefined
  private readonly http2: Http2Sessions | undefined
  private sweepMillis: number
  private sweepNow = ignore
  /** Exchanges that outlive their connections, with the time at which those closed. */
  private readonly abandoned = new Map<ClientExchange, number>()
  private allGone: Deferred.Deferred<void> | undefined = undefined
  private lines = ["", "", "", ""]
  private unflushed: Array<Gathering> = []
  private requestCount = 0
  private readonly idPrefix: string

  constructor(options: {
    readonly settings: WireSettings
    readonly app: App<unknown, never>
    readonly context: Context.Context<never>
    readonly fiberId: number
    readonly idPrefix: string
  }) {
    const { context, settings } = options
    this.settings = settings
    this.app = options.app
    this.fiberId = options.fiberId
    this.idPrefix = options.idPrefix
    this.limits = {
      requestLineBytes: settings.maxRequestLineBytes,
      headerBytes: settings.maxHeaderBytes,
      headerCount: settings.maxHeaderCount,
      bodyBytes: settings.maxBodyBytes === 0 ? Infinity : settings.maxBodyBytes,
      chunkExtensionBytes: settings.maxChunkExtensionBytes
    }
    this.metrics = metricsFor(context)
    this.time = new ServerTime(context)
    this.accessLog = Context.getOrUndefined(context, AccessLog)
    this.tracing = isTracing(context)
    this.runFork = Effect.runForkWith(context)
    this.drain = new Drain(this, context)
    this.extensions = {
      http: Object.freeze({
        ...(settings.fullFlush ? { fullflush: {} } : {}),
        ...(settings.earlyHints ? { "http.response.early_hint": {} } : {})
      }),
      sse: Object.freeze({}),
      websocket: Object.freeze({ "websocket.http.response": {} })
    }
    const { proxyHeaders, trustedProxies } = settings
    this.proxies = trustedProxies === undefined ? undefined : new TrustedProxies(trustedProxies, proxyHeaders)
    this.http2 = settings.http2 ? new Http2Sessions(this) : undefined
    this.sweepMillis = shortestWait(settings)
    this.makeLines()
  }

  // ---- connections

  /** The two ends of a connection in clear text. */
  peerOf(client: Client | undefined, server: ServerAddress | undefined): Peer {
    const { proxies } = this
    const isHeard = proxies !== undefined && proxies.readsHeaders && proxies.isTrusted(client)
    return { client, server, scheme: "http", proxies: isHeard ? proxies : undefined }
  }

  /** Takes over an accepted connection. */
  accept(stream: Duplex, peer: Peer): void {
    this.totalConnections++
    this.metrics.totalConnections++
    const { maxConnections } = this.settings
    const isSurplus = maxConnections > 0 && this.connections.size >= maxConnections
    if (isSurplus && this.connections.size >= maxConnections + surplusConnections) {
      this.countRefused("TooManyConnections")
      stream.on("error", ignore)
      stream.destroy()
      return
    }
    const connection = peer.alpnProtocol === "h2" && this.http2 !== undefined
      ? this.http2.open(stream, peer)
      : new Http1Connection(this, stream, peer)
    connection.openedAt = this.time.now()
    this.connections.add(connection)
    this.metrics.openConnections++
    if (!(connection instanceof Http1Connection)) this.metrics.openHttp2Connections++
    if (isSurplus) connection.refuseConnection()
    else if (this.stopping) connection.stop()
  }

  get speaksHttp2(): boolean {
    return this.http2 !== undefined
  }

  /** A connection that began as HTTP/1 speaks HTTP/2, as its first bytes have shown. */
  switchToHttp2(connection: Connection, stream: Duplex, peer: Peer): void {
    const session = this.http2!.open(stream, peer)
    session.openedAt = connection.openedAt
    this.connections.delete(connection)
    this.connections.add(session)
    this.metrics.openHttp2Connections++
    if (this.stopping) session.stop()
  }

  connectionClosed(connection: Connection): void {
    if (!this.connections.delete(connection)) return
    this.metrics.openConnections--
    if (!(connection instanceof Http1Connection)) this.metrics.openHttp2Connections--
    this.checkGone()
  }

  /** Closes the connections that wait between two requests, to get their resources back. How many there were. */
  closeIdle(): number {
    let closed = 0
    for (const connection of this.connections) if (connection.closeIdle()) closed++
    return closed
  }

  /** The client has gone and the application still runs: it gets `disconnectGrace`. */
  abandon(exchange: ClientExchange): void {
    if (!this.abandoned.has(exchange)) this.abandoned.set(exchange, this.time.now())
  }

  /** An exchange begins: counts it and runs the application. It may be over when this returns. */
  begin(exchange: ClientExchange): void {
    this.exchanges++
    this.totalExchanges++
    this.metrics.activeRequests++
    if (exchange.type !== "http") this.metrics.sessions[exchange.type]++
    exchange.run()
  }

  exchangeEnded(exchange: ClientExchange): void {
    this.exchanges--
    this.metrics.activeRequests--
    if (exchange.type !== "http") this.metrics.sessions[exchange.type]--
    this.checkGone()
  }

  checkGone(): void {
    if (this.allGone !== undefined && this.connections.size === 0 && this.exchanges === 0) {
      Deferred.doneUnsafe(this.allGone, Effect.void)
    }
  }

  /**
   * Writes what a batch has left for the client. With many connections all batches of one turn of the event loop are
   * worked through first and written then: the client's process is woken once and not for each answer. Measured with
   * 64 busy connections: 0.6 µs less CPU for each request, most of it the kernel's; with 4 connections 0.3 µs more,
   * hence the threshold.
   */
  flushSoon(connection: Gathering): void {
    if (this.connections.size < gatheringConnections) return connection.flush()
    if (this.unflushed.push(connection) === 1) setImmediate(this.flushAll)
  }

  private readonly flushAll = (): void => {
    const waiting = this.unflushed
    this.unflushed = []
    for (const connection of waiting) connection.flushHeldBack()
  }

  // ---- exchanges

  /** Runs the application for one exchange. It may have ended when this returns. */
  fork(exchange: ClientExchange): Fiber.Fiber<void, unknown> {
    let effect: Effect.Effect<void, unknown>
    try {
      effect = this.app(exchange as never)
    } catch (defect) {
      effect = Effect.die(defect)
    }
    const fiber = this.runFork(this.tracing ? inSpan(exchange, effect) : effect)
    // An async function instead of an Effect: its fiber has died, and its rejection must not end the process.
    if (!Effect.isEffect(effect)) void Promise.resolve(effect).catch(() => {})
    return fiber
  }

  /** Counts and logs an exchange whose answer is complete or will never be. Once for each. */
  record(exchange: ClientExchange): void {
    exchange.durationMillis = this.time.now() - exchange.startedAt
    this.metrics.request(exchange.method, exchange.status, exchange.durationMillis, exchange.type !== "http")
    this.accessLog?.write(exchange)
  }

  /** Counts and logs a request that never became an exchange. */
  refused(
    kind: string,
    status: number,
    message: string,
    peer: Peer,
    bodyBytes = this.problemBody(status).length
  ): void {
    this.countRefused(kind)
    this.accessLog?.write({
      scope: undefined,
      client: clientText(peer),
      status,
      bodyBytes,
      startedAtMillis: this.time.toWall(this.time.now()),
      durationMillis: 0,
      requestId: this.nextRequestId(),
      traceId: undefined,
      problem: kind
    })
    this.log(Effect.logDebug(`Refused a request from ${clientText(peer)} with ${status}: ${message}`))
  }

  private countRefused(kind: string): void {
    this.totalRefused++
    this.metrics.refuse(kind)
  }

  nextRequestId(): string {
    return this.idPrefix + (++this.requestCount).toString(36)
  }

  // ---- answers of the server's own

  /** The body of an answer that no application gave. */
  problemBody(status: number): string {
    return reasonPhrase(status)
  }

  /** The lines the server adds to an answer, unless the application has sent its own. */
  extraLines(hasDate: boolean, hasServer: boolean): string {
    return this.lines[(hasDate ? 0 : 1) + (hasServer ? 0 : 2)]!
  }

  private makeLines(): void {
    const date = `date: ${this.time.httpDate}\r\n`
    const server = this.settings.serverHeader === "" ? "" : `server: ${this.settings.serverHeader}\r\n`
    this.lines = ["", date, server, date + server]
  }

  // ---- reports

  log(effect: Effect.Effect<void>): void {
    this.runFork(inModule("Server")(effect))
  }

  /** The application ended, or failed, before its answer was complete. */
  reportUnfinished(exchange: ClientExchange, exit: Exit.Exit<void, unknown>, isCut: boolean): void {
    const what = `${exchange.method} ${JSON.stringify(exchange.scope.path)} (${exchange.requestId})`
    const consequence = isCut ? "the answer is cut short" : "answered with 500"
    this.log(
      Exit.isFailure(exit)
        ? Effect.logError(`The application failed on ${what}; ${consequence}`, exit.cause)
        : Effect.logError(`The application returned without completing its answer to ${what}; ${consequence}`)
    )
  }

  /** The application failed after its answer was complete. */
  reportLateFailure(exchange: ClientExchange, cause: Cause.Cause<unknown>): void {
    this.log(Effect.logError(`The application failed after it had answered (${exchange.requestId})`, cause))
  }

  reportCallbackFailure(exchange: ClientExchange, error: unknown): void {
    this.log(Effect.logError(`A callback of exchange ${exchange.requestId} failed`, Cause.die(error)))
  }

  // ---- time

  /** A wait has come up that is shorter than others: looks at all of them at least every `millis`. */
  sweepEvery(millis: number): void {
    const wanted = Math.max(10, millis)
    if (!(millis > 0) || wanted >= this.sweepMillis) return
    this.sweepMillis = wanted
    // The present pause may be longer than the new wait.
    this.sweepNow()
  }

  sweep(): void {
    if (this.time.tick()) this.makeLines()
    // Whole milliseconds keep the fields of connections small integers, and their shape the same for all.
    const now = Math.floor(this.time.now())
    for (const connection of this.connections) connection.sweep(now)
    for (const [exchange, since] of this.abandoned) {
      if (exchange.released) this.abandoned.delete(exchange)
      else if (now - since >= this.settings.disconnectGraceMillis) this.interruptAbandoned(exchange)
    }
  }

  private interruptAbandoned(exchange: ClientExchange): void {
    this.abandoned.delete(exchange)
    exchange.interrupt()
  }

  /** Looks at all waits for ever. One fiber for the whole server, whatever the number of connections. */
  get sweeping(): Effect.Effect<never> {
    const sweep = Effect.catchCause(
      Effect.sync(() => this.sweep()),
      (cause) => Effect.logError("A sweep failed", cause)
    )
    const pause = Effect.callback<void>((resume) => {
      const sleeping = this.runFork(Effect.sleep(this.sweepMillis))
      // Ends the sleep itself: what is left of it would keep a process that has stopped.
      this.sweepNow = () => sleeping.interruptUnsafe()
      sleeping.addObserver(() => resume(Effect.void))
      return Fiber.interrupt(sleeping)
    })
    return Effect.forever(Effect.flatMap(pause, () => sweep))
  }

  // ---- the end

  /** Succeeds when the server has been told to stop. */
  get shuttingDown(): Effect.Effect<void> {
    return Deferred.await(this.stopSignal)
  }

  /** The connections, the oldest first, at most so many. */
  describe(limit: number): ReadonlyArray<ConnectionFacts> {
    const facts: Array<ConnectionFacts> = []
    for (const connection of this.connections) {
      if (facts.length >= limit) break
      facts.push(describe(this, connection))
    }
    return facts
  }

  get stats(): Stats {
    return {
      connections: this.connections.size,
      exchanges: this.exchanges,
      totalConnections: this.totalConnections,
      totalExchanges: this.totalExchanges,
      totalRefused: this.totalRefused,
      totalCut: this.totalCut,
      isReady: this.isReady,
      isShuttingDown: this.stopping
    }
  }

  /** Stops for good, as `Drain` does it, and flushes the access log. The caller has stopped accepting. */
  get stop(): Effect.Effect<void> {
    return Effect.suspend(() =>
      this.stopping ? Effect.void : Effect.andThen(this.drain.run, this.accessLog?.flush ?? Effect.void)
    )
  }

  /** The end begins. Gives what is done when no connection and no exchange is left. */
  beginStop(): Deferred.Deferred<void> {
    this.stopping = true
    this.isReady = false
    const gone = this.allGone = Deferred.makeUnsafe<void>()
    this.sweepEvery(drainSweepMillis)
    // Before any connection is told: what sessions still want to say at their end, they say now.
    Deferred.doneUnsafe(this.stopSignal, Effect.void)
    return gone
  }

  /** The server has waited long enough for everything. */
  cut(): void {
    for (const connection of this.connections) connection.cut()
    for (const exchange of this.abandoned.keys()) {
      this.drain.cuts(exchange)
      this.interruptAbandoned(exchange)
    }
  }
}

/** How often waits are looked at: often enough for the shortest of them, once a second otherwise. */
const shortestWait = (settings: WireSettings): number => {
  const waits = [
    settings.bodyTimeoutMillis,
    settings.headerTimeoutMillis,
    settings.keepAliveTimeoutMillis,
    settings.requestTimeoutMillis,
    settings.writeTimeoutMillis
  ]
  return Math.max(10, Math.min(1000, ...waits.filter((wait) => wait > 0).map((wait) => wait / 4)))
}
