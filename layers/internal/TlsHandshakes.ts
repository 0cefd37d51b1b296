/**
 * Connections of TLS listeners, from the accept to the end of their handshakes: looks at the first byte, hands TLS to
 * Node's engine and everything else an answer it can read, and bounds all of it in number and time. A complete
 * handshake becomes a connection of the core; one that fails is counted, logged at debug, and nothing else.
 *
 * Owns a connection until it hands it over. Its clock is the server's; Node's own timer is set beyond reach.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Net from "node:net"
import * as Tls from "node:tls"
import { inModule } from "./LogLevels.ts"
import { clientText, type Peer } from "./Peer.ts"
import type { ServerCore } from "./ServerCore.ts"
import { handshakeRecord, readServerName } from "./TlsClientHello.ts"
import * as TlsContexts from "./TlsContexts.ts"
import { TlsPeer } from "./TlsPeer.ts"

/** A method and a space, or as much of it as has come: whoever sends this speaks HTTP. */
const httpStart = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}(?: |$)/
/** How long a client that spoke plain HTTP is listened to after its answer, and how much it may still say. */
const closingMillis = 2_000
const closingBytes = 1_048_576
/** How long handshakes may take that are under way when the server stops: their clients have found somebody. */
const lastMillis = 500
/** Node's longest timer: 24 days. */
const neverMillis = 0x7fffffff

const wrongScheme = "This port speaks HTTPS, and this request was plain HTTP. Ask again with https://\n"

interface Handshake {
  readonly socket: Net.Socket
  readonly peer: Peer
  deadline: number
  /** True once the client has sent something: before that, who closes has only looked whether we are there. */
  begun: boolean
  /** True once it is known and counted that this will never be a connection. */
  over: boolean
  /** What it goes on with, once that is known. */
  identity: TlsContexts.Identity | undefined
  readonly onClose: () => void
}

/** The socket below a TLS socket. Node gives a server no other way to tell whose handshake is over. */
const below = (socket: Tls.TLSSocket): Net.Socket => (socket as unknown as { readonly _parent: Net.Socket })._parent

const ignore = (): void => {}

export class TlsHandshakes {
  private readonly core: ServerCore
  private readonly contexts: TlsContexts.TlsContexts
  private readonly underWay = new Map<Net.Socket, Handshake>()
  /** Done when none is left, once the server stops. */
  private gone: Deferred.Deferred<void> | undefined = undefined
  private readonly engines = new WeakMap<TlsContexts.Identity, Tls.Server>()

  constructor(core: ServerCore, contexts: TlsContexts.TlsContexts) {
    this.core = core
    this.contexts = contexts
  }

  /** Node's TLS server for one certificate, which never listens. */
  private engineOf(identity: TlsContexts.Identity): Tls.Server {
    let engine = this.engines.get(identity)
    if (engine === undefined) {
      const { http2, tlsClientCertificate } = this.core.settings
      engine = Tls.createServer({
        ...identity.options,
        // RFC 7301 section 3.2: who offers other protocols only is refused with an alert, and Node does that.
        ALPNProtocols: http2 ? ["h2", "http/1.1"] : ["http/1.1"],
        requestCert: tlsClientCertificate !== "none",
        rejectUnauthorized: tlsClientCertificate === "required",
        handshakeTimeout: neverMillis
      })
      engine.on("secureConnection", (socket) => this.secured(socket))
      engine.on("tlsClientError", (error, socket) => this.failed(error, socket))
      this.engines.set(identity, engine)
    }
    return engine
  }

  /** Takes over a connection that has just been accepted. */
  accept(socket: Net.Socket, peer: Peer): void {
    const { tlsHandshakeTimeoutMillis, tlsMaxHandshakes } = this.core.settings
    socket.on("error", ignore)
    if (this.underWay.size >= tlsMaxHandshakes) {
      this.core.metrics.refuse("TooManyHandshakes")
      socket.destroy()
      return
    }
    const handshake: Handshake = {
      socket,
      peer,
      deadline: tlsHandshakeTimeoutMillis === 0 ? Infinity : this.core.time.now() + tlsHandshakeTimeoutMillis,
      begun: false,
      over: false,
      identity: undefined,
      onClose: () => this.closed(handshake)
    }
    this.underWay.set(socket, handshake)
    socket.on("close", handshake.onClose)
    socket.once("end", destroy)
    socket.once("data", (chunk: Buffer) => this.begin(handshake, chunk))
  }

  private begin(handshake: Handshake, chunk: Buffer): void {
    handshake.begun = true
    if (chunk[0] !== handshakeRecord) return this.refusePlain(handshake, chunk.toString("latin1", 0, 40))
    const loaded = this.contexts.loaded()
    if (loaded.named.size === 0) return this.handOver(handshake, chunk, loaded.fallback)
    this.choose(handshake, loaded, chunk)
  }

  /** Waits until the name has arrived, and goes on with its certificate. */
  private choose(handshake: Handshake, loaded: TlsContexts.Loaded, first: Buffer): void {
    const { socket } = handshake
    const chunks = [first]
    let received = first.length
    let needed = 0
    const look = (): boolean => {
      if (received < needed) return false
      const all = chunks.length === 1 ? first : Buffer.concat(chunks)
      const name = readServerName(all)
      if (typeof name === "number") {
        needed = name
        return false
      }
      socket.off("data", more)
      this.handOver(handshake, all, TlsContexts.select(loaded, name))
      return true
    }
    const more = (chunk: Buffer): void => {
      chunks.push(chunk)
      received += chunk.length
      look()
    }
    if (!look()) socket.on("data", more)
  }

  private handOver(handshake: Handshake, bytes: Buffer, identity: TlsContexts.Identity): void {
    const { socket } = handshake
    if (socket.destroyed) return
    handshake.identity = identity
    socket.off("end", destroy)
    socket.pause()
    socket.unshift(bytes)
    // Who closes his side in the middle of a handshake has left. What it means afterwards is the connection's business.
    socket.allowHalfOpen = false
    this.engineOf(identity).emit("connection", socket)
  }

  private secured(socket: Tls.TLSSocket): void {
    const raw = below(socket)
    const handshake = this.underWay.get(raw)
    if (handshake?.identity === undefined || handshake.over) {
      socket.on("error", ignore)
      socket.destroy()
      return
    }
    raw.off("close", handshake.onClose)
    socket.allowHalfOpen = true
    // Node gives the options of a socket no way to its TLS layer; without this, small watermarks are never reached.
    Object.assign((socket as unknown as { readonly _writableState: object })._writableState, {
      highWaterMark: this.core.settings.writeHighWaterMark
    })
    this.core.accept(socket, new TlsPeer(handshake.peer, socket, handshake.identity.leaf))
    this.forget(raw)
  }

  private forget(socket: Net.Socket): void {
    this.underWay.delete(socket)
    if (this.gone !== undefined && this.underWay.size === 0) Deferred.doneUnsafe(this.gone, Effect.void)
  }

  // ---- handshakes that come to nothing

  private failed(error: Error, socket: Tls.TLSSocket): void {
    socket.on("error", ignore)
    const handshake = this.underWay.get(below(socket))
    // The alert that tells the client why is on its way: the socket closes by itself, or at its deadline.
    if (handshake !== undefined) this.end(handshake, "TlsHandshakeFailed", reasonOf(error, socket))
  }

  private closed(handshake: Handshake): void {
    this.forget(handshake.socket)
    if (handshake.begun) this.end(handshake, "TlsHandshakeFailed", "the client closed the connection")
  }

  /** Counts and tells, once. */
  private end(handshake: Handshake, kind: string, problem: string): void {
    if (handshake.over) return
    handshake.over = true
    this.core.metrics.refuse(kind)
    this.core.log(inModule("Tls")(Effect.logDebug(`No TLS with ${clientText(handshake.peer)}: ${problem}`)))
  }

  private refusePlain(handshake: Handshake, start: string): void {
    const { peer, socket } = handshake
    if (!httpStart.test(start)) {
      this.end(handshake, "NotTls", "what the client sent is neither TLS nor HTTP")
      socket.destroy()
      return
    }
    handshake.over = true
    handshake.deadline = this.core.time.now() + closingMillis
    this.core.refused("PlainHttpOnTls", 400, "plain HTTP on a port that speaks https", peer, wrongScheme.length)
    socket.off("end", destroy)
    let discarded = 0
    socket.on("data", (chunk: Buffer) => {
      discarded += chunk.length
      if (discarded > closingBytes) socket.destroy()
    })
    socket.end(this.plainAnswer(start.startsWith("HEAD ")), "latin1")
  }

  private plainAnswer(isHead: boolean): string {
    const { serverHeader } = this.core.settings
    return "HTTP/1.1 400 Bad Request\r\n"
      + `date: ${this.core.time.httpDate}\r\n`
      + (serverHeader === "" ? "" : `server: ${serverHeader}\r\n`)
      + "content-type: text/plain; charset=utf-8\r\n"
      + `content-length: ${wrongScheme.length}\r\n`
      + "connection: close\r\n\r\n"
      + (isHead ? "" : wrongScheme)
  }

  // ---- bounds

  /** How often deadlines are looked at: often enough for the timeout, once a second otherwise. */
  get sweepMillis(): number {
    const { tlsHandshakeTimeoutMillis } = this.core.settings
    return tlsHandshakeTimeoutMillis === 0 ? 1000 : Math.max(10, Math.min(1000, tlsHandshakeTimeoutMillis / 4))
  }

  sweep(): void {
    const now = this.core.time.now()
    for (const handshake of this.underWay.values()) {
      if (now < handshake.deadline) continue
      this.end(handshake, "TlsHandshakeTimeout", "the handshake took longer than tlsHandshakeTimeout")
      handshake.socket.destroy()
    }
  }

  /** Nobody new comes: lets those that are under way come to their end, for a moment, and cuts the others. */
  get lastOnes(): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.underWay.size === 0) return Effect.void
      const gone = this.gone = Deferred.makeUnsafe<void>()
      const millis = Math.min(lastMillis, this.core.settings.shutdownTimeoutMillis)
      return Effect.map(Effect.timeoutOption(Deferred.await(gone), millis), () => this.cut())
    })
  }

  private cut(): void {
    for (const handshake of this.underWay.values()) {
      handshake.over = true
      handshake.socket.destroy()
    }
  }
}

function destroy(this: Net.Socket): void {
  this.destroy()
}

const reasonOf = (error: Error, socket: Tls.TLSSocket): string =>
  // Node's type says Error; it is a word, or null.
  (socket.authorizationError as Error | null) === null
    ? (error as { readonly reason?: string }).reason ?? error.message
    : `the client's certificate is not accepted (${String(socket.authorizationError)})`

/** Makes the handshakes of one server, which end with the scope; what was handed over stays. */
export const make = (
  core: ServerCore,
  contexts: TlsContexts.TlsContexts
): Effect.Effect<TlsHandshakes, never, Scope.Scope> =>
  Effect.gen(function*() {
    const handshakes = yield* Effect.acquireRelease(
      Effect.sync(() => new TlsHandshakes(core, contexts)),
      (handshakes) => handshakes.lastOnes
    )
    const sweep = Effect.catchCause(
      Effect.sync(() => handshakes.sweep()),
      (cause) => inModule("Tls")(Effect.logError("A sweep of the TLS handshakes failed", cause))
    )
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(handshakes.sweepMillis), sweep)))
    yield* Effect.forkScoped(contexts.watch)
    return handshakes
  })
