/** A client in raw bytes over real sockets. Every wait is for an event, never for time. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Net from "node:net"
import type { Address } from "../../src/service/Server.ts"

export interface Client {
  readonly socket: Net.Socket
  /** Succeeds when the operating system has taken the bytes. Text is latin1. */
  readonly send: (bytes: string | Uint8Array) => Effect.Effect<void>
  /** Succeeds with everything received when it matches. */
  readonly until: (pattern: RegExp) => Effect.Effect<string>
  /** Everything received until the server has closed its side, in whatever way. */
  readonly readAll: Effect.Effect<string>
  /** Everything received so far; the first `keep` bytes when there is such a limit. */
  readonly received: string
  readonly receivedBytes: number
  readonly isEnded: boolean
}

/** Lets the event loop go round once. */
export const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/** Lets the event loop go round until the condition holds. */
export const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => condition() ? Effect.void : Effect.andThen(turn, until(condition)))

/** Connects; closes with the scope. **Fails with** the operating system's error. */
export const connect = (
  address: Address,
  options: { readonly keep?: number } = {}
): Effect.Effect<Client, NodeJS.ErrnoException, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<Net.Socket, NodeJS.ErrnoException>((resume) => {
        const socket = address._tag === "unix"
          ? Net.connect({ path: address.path, allowHalfOpen: true })
          : Net.connect({ host: address.host, port: address.port, allowHalfOpen: true })
        socket.once("error", (error) => resume(Effect.fail(error)))
        socket.once("connect", () => resume(Effect.succeed(socket)))
      }),
      (socket) => Effect.sync(() => socket.destroy())
    ),
    (socket) => makeClient(socket, options.keep ?? Infinity)
  )

const makeClient = (socket: Net.Socket, keep: number): Client => {
  const chunks: Array<Buffer> = []
  let receivedBytes = 0
  let isEnded = false
  const received = () => Buffer.concat(chunks).toString("latin1")
  socket.removeAllListeners("error")
  socket.on("data", (chunk: Buffer) => {
    if (receivedBytes < keep) chunks.push(chunk.subarray(0, keep - receivedBytes))
    receivedBytes += chunk.length
  })
  const onEnd = () => {
    isEnded = true
  }
  socket.on("end", onEnd)
  socket.on("close", onEnd)
  socket.on("error", onEnd)
  return {
    socket,
    send: (bytes) =>
      Effect.callback((resume) => {
        socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes, () => resume(Effect.void))
      }),
    until: (pattern) =>
      Effect.flatMap(until(() => isEnded || pattern.test(received())), () =>
        pattern.test(received())
          ? Effect.sync(received)
          : Effect.die(new Error(`Closed before ${String(pattern)}: ${JSON.stringify(received().slice(0, 500))}`))),
    readAll: Effect.map(until(() => isEnded), received),
    get received() {
      return received()
    },
    get receivedBytes() {
      return receivedBytes
    },
    get isEnded() {
      return isEnded
    }
  }
}
