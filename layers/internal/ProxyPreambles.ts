/**
 * Connections of a server with `proxyProtocol`, from the accept to the end of what the proxy says in front of them.
 * Everybody has to be a trusted proxy and to say something: nothing is guessed, because the specification forbids it.
 * What follows goes to whoever takes the connection over, TLS or the core.
 *
 * Owns a connection until it hands it over. A bad one is closed at once, counted, logged at debug, and nothing else.
 */
import * as Effect from "effect/Effect"
import * as NetAddress from "effect/net/NetAddress"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import * as ProxyProtocol from "../../src/protocol/ProxyProtocol.ts"
import type { Client } from "../../src/schema/Scope.ts"
import { clientText, type Peer } from "./Peer.ts"
import type { ServerCore } from "./ServerCore.ts"

interface Waiting<S> {
  readonly stream: S
  readonly peer: Peer
  readonly deadline: number
  /** What has come so far. */
  bytes: Buffer | undefined
  readonly onData: (chunk: Buffer) => void
  readonly onClose: () => void
}

const ignore = (): void => {}

function destroy(this: Duplex): void {
  this.destroy()
}

export class ProxyPreambles<S extends Duplex> {
  private readonly core: ServerCore
  private readonly next: (stream: S, peer: Peer) => void
  private readonly underWay = new Set<Waiting<S>>()

  constructor(core: ServerCore, next: (stream: S, peer: Peer) => void) {
    this.core = core
    this.next = next
  }

  /** Takes over a connection that has just been accepted. */
  accept(stream: S, peer: Peer): void {
    const { core } = this
    const { headerTimeoutMillis, maxConnections } = core.settings
    stream.on("error", ignore)
    // The system knows no address of a peer that has reset its connection, as some health checks do.
    if (peer.client?.[0] === "") return void stream.destroy()
    if (core.proxies?.isTrusted(peer.client) !== true) {
      return this.refuse(stream, peer, "ProxyNotTrusted", "it is not one of trustedProxies")
    }
    if (this.underWay.size >= maxConnections) {
      return this.refuse(stream, peer, "TooManyConnections", "more connections than maxConnections")
    }
    const waiting: Waiting<S> = {
      stream,
      peer,
      deadline: headerTimeoutMillis === 0 ? Infinity : core.time.now() + headerTimeoutMillis,
      bytes: undefined,
      onData: (chunk) => this.received(waiting, chunk),
      onClose: () => this.closed(waiting)
    }
    this.underWay.add(waiting)
    stream.on("data", waiting.onData)
    stream.on("end", destroy)
    stream.on("close", waiting.onClose)
  }

  private received(waiting: Waiting<S>, chunk: Buffer): void {
    if (waiting.stream.destroyed) return
    const bytes = waiting.bytes === undefined ? chunk : Buffer.concat([waiting.bytes, chunk])
    const preamble = ProxyProtocol.read(bytes)
    if (preamble._tag === "NeedData") {
      waiting.bytes = bytes
    } else if (preamble._tag === "Malformed") {
      this.refuseWaiting(waiting, "ProxyHeaderInvalid", preamble.problem)
    } else {
      const peer = this.peerOf(waiting.peer, preamble)
      if (peer === undefined) this.refuseWaiting(waiting, "ProxyHeaderInvalid", "an address in it is none")
      else this.handOver(waiting, peer, bytes.subarray(preamble.length))
    }
  }

  /** Whom the connection belongs to. Only of a client that is a trusted proxy again the headers count. */
  private peerOf(peer: Peer, preamble: ProxyProtocol.Preamble): Peer | undefined {
    switch (preamble._tag) {
      case "Local":
        return peer
      case "Unknown":
        return { ...peer, proxies: undefined }
      case "ProxiedUnix":
        return { ...peer, client: undefined, proxies: undefined }
      case "Proxied": {
        const source = readEndpoint(preamble.source)
        const destination = readEndpoint(preamble.destination)
        return source === undefined || destination === undefined ? undefined : this.core.peerOf(source, destination)
      }
    }
  }

  private handOver(waiting: Waiting<S>, peer: Peer, rest: Buffer): void {
    const { stream } = waiting
    this.forget(waiting)
    stream.off("end", destroy)
    stream.pause()
    if (rest.length > 0) stream.unshift(rest)
    this.next(stream, peer)
    stream.resume()
  }

  // ---- connections that come to nothing

  private forget(waiting: Waiting<S>): void {
    this.underWay.delete(waiting)
    waiting.stream.off("data", waiting.onData)
    waiting.stream.off("close", waiting.onClose)
  }

  /** Who closes without a word has only looked whether we are there. */
  private closed(waiting: Waiting<S>): void {
    this.forget(waiting)
    if (waiting.bytes !== undefined) this.tell(waiting.peer, "ProxyHeaderInvalid", "it ended in its PROXY header")
  }

  private refuseWaiting(waiting: Waiting<S>, kind: string, problem: string): void {
    this.forget(waiting)
    this.refuse(waiting.stream, waiting.peer, kind, problem)
  }

  private refuse(stream: S, peer: Peer, kind: string, problem: string): void {
    this.tell(peer, kind, problem)
    stream.destroy()
  }

  private tell(peer: Peer, kind: string, problem: string): void {
    this.core.metrics.refuse(kind)
    this.core.log(Effect.logDebug(`Closed a connection of ${clientText(peer)}: ${problem}`))
  }

  // ---- bounds

  /** How often deadlines are looked at: often enough for the timeout, once a second otherwise. */
  get sweepMillis(): number {
    const { headerTimeoutMillis } = this.core.settings
    return headerTimeoutMillis === 0 ? 1000 : Math.max(10, Math.min(1000, headerTimeoutMillis / 4))
  }

  sweep(): void {
    const now = this.core.time.now()
    for (const waiting of this.underWay) {
      if (now < waiting.deadline) continue
      this.refuseWaiting(waiting, "ProxyHeaderTimeout", "no PROXY header within headerTimeout")
    }
  }

  close(): void {
    for (const waiting of this.underWay) {
      this.forget(waiting)
      waiting.stream.destroy()
    }
  }
}

const readEndpoint = ({ address, port }: ProxyProtocol.Endpoint): Client | undefined => {
  const ip = NetAddress.ipFromInput(address)
  return Result.isFailure(ip) ? undefined : [NetAddress.formatIp(NetAddress.toCanonical(ip.success)), port]
}

/** What accepts the connections of one listener and gives them to `next`; it ends with the scope. */
export const make = <S extends Duplex>(
  core: ServerCore,
  next: (stream: S, peer: Peer) => void
): Effect.Effect<(stream: S, peer: Peer) => void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const preambles = yield* Effect.acquireRelease(
      Effect.sync(() => new ProxyPreambles(core, next)),
      (preambles) => Effect.sync(() => preambles.close())
    )
    const sweep = Effect.catchCause(
      Effect.sync(() => preambles.sweep()),
      (cause) => Effect.logError("A sweep of the PROXY headers failed", cause)
    )
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(preambles.sweepMillis), sweep)))
    return (stream, peer) => preambles.accept(stream, peer)
  })
