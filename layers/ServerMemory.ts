/**
 * The server on an in-memory network: the same engine, exchanges, limits and clock as on sockets, without a port. With
 * TestClock a test of a 60 second timeout takes a millisecond, and nothing in it depends on the machine.
 *
 * `Network` stands beside `Server` and opens connections that speak raw bytes.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Duplex } from "node:stream"
import { listeners, type ServerOptions, type ServerSettings } from "../src/schema/Settings.ts"
import { type Address, Server, type ServerError } from "../src/service/Server.ts"
import { makePipe, type PipeEnd, type PipeOptions } from "./internal/MemoryPipe.ts"
import type { Peer } from "./internal/Peer.ts"
import * as ProxyPreambles from "./internal/ProxyPreambles.ts"
import type { ServerCore } from "./internal/ServerCore.ts"
import { type Listen, makeServer } from "./internal/serving.ts"

/** The server's options; `host`, `port` and `unix` only name the address that scopes carry. */
export interface Options extends ServerOptions {
  /** Bytes the network holds in each direction before a writer waits. Default 65536. */
  readonly networkBufferBytes?: number
}

/** A client's end of a connection, in raw bytes. Text is latin1: one character is one byte. */
export interface Client {
  /** Sends bytes as one piece. Succeeds when the network has taken them. */
  readonly send: (bytes: string | Uint8Array) => Effect.Effect<void>
  /** Everything received since the last `read`, once nothing more can come without time passing. */
  readonly read: Effect.Effect<string>
  /** Everything received until the server closes its side. */
  readonly readAll: Effect.Effect<string>
  /** Ends our side; the server may still answer. */
  readonly end: Effect.Effect<void>
  /** Closes as a broken connection does. */
  readonly reset: Effect.Effect<void>
  /** Breaks the connection: the server's side sees the operating system's error, such as `ETIMEDOUT`. */
  readonly fail: (code: string, syscall: "read" | "write") => Effect.Effect<void>
  /** Stops taking bytes from the network, so that the server's writes back up. */
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
  /** Bytes sent that the network has not taken, because the server does not read. */
  readonly unsentBytes: Effect.Effect<number>
  /** True once the server has closed its side. */
  readonly isEnded: Effect.Effect<boolean>
  /** Succeeds when the server has closed its side, cleanly or not. */
  readonly ended: Effect.Effect<void>
  /** True when the connection was reset by the server. */
  readonly wasReset: Effect.Effect<boolean>
}

export interface ConnectOptions {
  /** The client's address. Default `["127.0.0.1", 40000]`; `null` is a unix socket. */
  readonly from?: readonly [host: string, port: number] | null
}

/** Opens connections to the server of the same Layer. */
export class Network extends Context.Service<Network, {
  /** A new connection, closed with the scope. The server must be serving. */
  readonly connect: (options?: ConnectOptions) => Effect.Effect<Client, never, Scope.Scope>
  /** A new connection as a Node stream, for clients of `node:http` and the like. Throws when the server is not serving. */
  readonly connectUnsafe: (options?: ConnectOptions) => Duplex
}>()("slipway/layers/ServerMemory/Network") {}

/** Lets everything happen that can happen without time passing. */
export const settle: Effect.Effect<void> = Effect.callback((resume) => {
  let turns = 8
  const turn = (): void => {
    if (--turns === 0) resume(Effect.void)
    else setImmediate(turn)
  }
  setImmediate(turn)
})

const makeClient = (stream: PipeEnd): Client => {
  let received: Array<Buffer> = []
  let wasReset = false
  const take = () => {
    const text = Buffer.concat(received).toString("latin1")
    received = []
    return text
  }
  stream.on("data", (chunk: Buffer) => received.push(chunk))
  stream.on("error", () => wasReset = true)
  const isEnded = () => stream.readableEnded || stream.destroyed
  const ended = Effect.callback<void>((resume) => {
    if (isEnded()) return resume(Effect.void)
    const done = () => resume(Effect.void)
    stream.once("end", done)
    stream.once("close", done)
  })
  return {
    send: (bytes) =>
      Effect.andThen(
        Effect.sync(() => {
          if (!stream.destroyed && !stream.writableEnded) {
            stream.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes)
          }
        }),
        settle
      ),
    read: Effect.andThen(settle, Effect.sync(take)),
    readAll: Effect.andThen(ended, Effect.sync(take)),
    end: Effect.andThen(Effect.sync(() => void stream.end()), settle),
    reset: Effect.andThen(Effect.sync(() => stream.resetAndDestroy()), settle),
    fail: (code, syscall) =>
      Effect.andThen(
        Effect.sync(() => stream.peer.destroy(Object.assign(new Error(`${syscall} ${code}`), { code, syscall }))),
        settle
      ),
    pause: Effect.sync(() => void stream.pause()),
    resume: Effect.andThen(Effect.sync(() => void stream.resume()), settle),
    unsentBytes: Effect.sync(() => stream.writableLength),
    isEnded: Effect.sync(isEnded),
    ended,
    wasReset: Effect.sync(() => wasReset)
  }
}

/** Makes a server and the network that leads to it. */
export const make = Effect.fnUntraced(function*(options: Options = {}) {
  const { networkBufferBytes, ...serverOptions } = options
  let pipeOptions: PipeOptions = {}
  let core: ServerCore | undefined
  let accept: (stream: Duplex, peer: Peer) => void
  let address: Peer["server"]
  const open = (serving: ServerCore, settings: ServerSettings): ReadonlyArray<Address> => {
    // Whatever the settings say of certificates: this network is clear text.
    const addresses = listeners({ ...settings, tlsCert: undefined })
    const first = addresses[0]!
    core = serving
    pipeOptions = {
      serverHighWaterMark: settings.writeHighWaterMark,
      ...(networkBufferBytes === undefined ? {} : { bufferBytes: networkBufferBytes })
    }
    address = first._tag === "unix" ? [first.path, null] : [first.host, first.port]
    return addresses
  }
  const listen: Listen = Effect.fnUntraced(function*(serving, settings) {
    const take = (stream: Duplex, peer: Peer): void => serving.accept(stream, peer)
    accept = settings.proxyProtocol ? yield* ProxyPreambles.make(serving, take) : take
    return yield* Effect.acquireRelease(
      Effect.sync(() => open(serving, settings)),
      () => Effect.sync(() => void (core = undefined))
    )
  })
  const server = yield* makeServer(serverOptions, listen)
  const openClient = (connectOptions: ConnectOptions = {}): PipeEnd => {
    if (core === undefined) throw new Error("The server does not listen")
    const [client, stream] = makePipe(pipeOptions)
    const { from } = connectOptions
    accept(stream, core.peerOf(from === null ? undefined : from ?? ["127.0.0.1", 40_000], address))
    return client
  }
  const network = Network.of({
    connect: (connectOptions) =>
      Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => openClient(connectOptions)),
          (client) => Effect.sync(() => void client.destroy())
        ),
        makeClient
      ),
    connectUnsafe: openClient
  })
  return { server, network }
})

/** Provides a `Server` and the `Network` that leads to it. **Fails with** `ServerError` for settings that cannot be used. */
export const layer = (options: Options = {}): Layer.Layer<Server | Network, ServerError> =>
  Layer.effectContext(
    Effect.map(make(options), ({ network, server }) => Context.add(Context.make(Server, server), Network, network))
  )
