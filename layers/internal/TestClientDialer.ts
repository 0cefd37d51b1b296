/**
 * How a test client connects: one new connection for each request and session, to the server in memory or to a live
 * one, closed with the client's scope. Never keeps a connection for the next request: a test that moves the clock must
 * not find it closed.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import * as Net from "node:net"
import type { Duplex } from "node:stream"
import * as Tls from "node:tls"
import type { Network } from "../ServerMemory.ts"

/** One connection. */
export interface Connection {
  readonly stream: Duplex
  /** The client's port, which tells connections in memory apart; 0 on others. */
  readonly clientPort: number
}

/** Why the application failed on what got this status over this connection; `undefined` when that is not to be told. */
export type Raise = (clientPort: number, status: number) => Effect.Effect<Cause.Cause<never> | undefined>

export interface Dialer {
  /** Opens a connection. Throws, or the stream fails, when there is nobody to connect to. */
  readonly dial: () => Connection
  /** Breaks off every connection that is open. */
  readonly hangUp: Effect.Effect<void>
}

const firstPort = 40_000
const lastPort = 65_535

const make = (open: () => Connection): Effect.Effect<Dialer, never, Scope.Scope> => {
  const streams = new Set<Duplex>()
  const hangUp = Effect.sync(() => {
    for (const stream of streams) stream.destroy()
  })
  const dialer: Dialer = {
    dial: () => {
      const connection = open()
      streams.add(connection.stream)
      connection.stream.once("close", () => streams.delete(connection.stream))
      return connection
    },
    hangUp
  }
  return Effect.as(Effect.addFinalizer(() => hangUp), dialer)
}

/** To the server behind an in-memory network. Each connection has a client port of its own. */
export const memory = (network: Network["Service"]): Effect.Effect<Dialer, never, Scope.Scope> => {
  let clientPort = lastPort
  return make(() => {
    clientPort = clientPort === lastPort ? firstPort : clientPort + 1
    const stream = network.connectUnsafe({ from: ["127.0.0.1", clientPort] })
    // As a socket does: when the server has closed its side, so do we.
    stream.allowHalfOpen = false
    return { stream, clientPort }
  })
}

/** To a live server: where `http://`, `https://` and `unix:` lead. */
export const live = (url: string, tls: Tls.ConnectionOptions = {}): Effect.Effect<Dialer, never, Scope.Scope> => {
  if (url.startsWith("unix:")) return make(() => ({ stream: Net.connect(url.slice(5)), clientPort: 0 }))
  const { hostname, port, protocol } = new URL(url)
  const host = hostname.startsWith("[") ? hostname.slice(1, -1) : hostname
  const isSecure = protocol === "https:"
  const to = { host, port: port === "" ? (isSecure ? 443 : 80) : Number(port) }
  const servername = Net.isIP(host) === 0 ? { servername: host } : {}
  return make(() => ({
    stream: isSecure ? Tls.connect({ ...to, ...servername, ...tls }) : Net.connect(to),
    clientPort: 0
  }))
}

/** What is known of a response besides what effect/http says. */
export interface Arrival {
  readonly clientPort: number
  /** Values of the `link` lines of 103 answers. */
  readonly hints: ReadonlyArray<string>
  /** Trailers, once the body has ended. Throws away what nobody has read of it. */
  readonly trailers: Effect.Effect<Headers.Headers>
}

/** By response. */
export const arrivals = new WeakMap<HttpClientResponse, Arrival>()

const trailersOf = (message: Http.IncomingMessage): Effect.Effect<Headers.Headers> =>
  Effect.callback((resume) => {
    const done = () => resume(Effect.succeed(Headers.fromInput(message.trailers as Headers.Input)))
    if (message.readableEnded || message.destroyed) return done()
    message.once("close", done)
    message.resume()
  })

/** An agent of node:http that dials, for one request. */
export class DialingAgent extends Http.Agent {
  readonly protocol: string
  arrival: Arrival | undefined
  private readonly dialer: Dialer

  constructor(dialer: Dialer, protocol: "http:" | "https:") {
    super()
    this.dialer = dialer
    this.protocol = protocol
  }

  /** What node:http asks of any agent. */
  addRequest(request: Http.ClientRequest): void {
    let connection: Connection
    try {
      connection = this.dialer.dial()
    } catch (error) {
      // Node takes an error in the place of a socket; its types do not say so.
      return (request.onSocket as unknown as (socket: null, error: unknown) => void).call(request, null, error)
    }
    const { clientPort, stream } = connection
    const hints: Array<string> = []
    request.on("information", ({ rawHeaders, statusCode }) => {
      if (statusCode !== 103) return
      for (let i = 0; i < rawHeaders.length; i += 2) {
        if (rawHeaders[i]!.toLowerCase() === "link") hints.push(rawHeaders[i + 1]!)
      }
    })
    request.on("response", (message) => this.arrival = { clientPort, hints, trailers: trailersOf(message) })
    request.onSocket(stream as Net.Socket)
  }
}
