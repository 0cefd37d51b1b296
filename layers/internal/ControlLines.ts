/**
 * Lines of JSON over a socket, read one at a time: what the control socket speaks, in both directions. Nothing is read ahead
 * of who asks for it but what came with it, and a line that is too long ends the reading before it is held.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"

/** What came is no line of JSON that can be taken. Fault: peer. */
export class LineUnusable extends Data.TaggedError("LineUnusable")<{ readonly problem: string }> {
  override get message(): string {
    return this.problem
  }
}

/** Both ends of one connection. */
export interface Lines {
  /**
   * The value of the next line. **Fails with** `LineUnusable`, after which nothing more can be read, and `SocketError` at
   * the end of the connection.
   */
  readonly read: Effect.Effect<unknown, LineUnusable | Socket.SocketError>
  /** Succeeds when the operating system has taken the line, or has room for more. */
  readonly write: (value: unknown) => Effect.Effect<void, Socket.SocketError>
}

const newline = 10

/** Takes a socket for lines of at most `maxBytes` each. */
export const make = (
  socket: Socket.Socket,
  maxBytes: number
): Effect.Effect<Lines, Socket.SocketError, Scope.Scope> =>
  Effect.gen(function*() {
    const pull = yield* Socket.readerBytes(socket)
    const writer = yield* socket.writer
    /** The beginning of a line. */
    let begun: Array<Uint8Array> = []
    let begunBytes = 0
    /** What came with the line before. */
    let ahead: ReadonlyArray<Uint8Array> = []

    const take = (chunks: ReadonlyArray<Uint8Array>): Effect.Effect<unknown, LineUnusable | Socket.SocketError> => {
      for (const [index, chunk] of chunks.entries()) {
        const end = chunk.indexOf(newline)
        const part = end === -1 ? chunk : chunk.subarray(0, end)
        begunBytes += part.length
        if (begunBytes > maxBytes) {
          return Effect.fail(new LineUnusable({ problem: `A message has at most ${maxBytes} bytes` }))
        }
        begun.push(part)
        if (end === -1) continue
        const line = Buffer.concat(begun)
        begun = []
        begunBytes = 0
        ahead = [chunk.subarray(end + 1), ...chunks.slice(index + 1)]
        return parse(line)
      }
      return Effect.flatMap(pull, take)
    }

    return {
      read: Effect.suspend(() => {
        const chunks = ahead
        ahead = []
        return take(chunks)
      }),
      write: (value) => writer.write(`${JSON.stringify(value)}\n`)
    }
  })

const parse = (line: Buffer): Effect.Effect<unknown, LineUnusable> =>
  Effect.try({
    try: () => JSON.parse(line.toString("utf8")) as unknown,
    catch: () => new LineUnusable({ problem: "A message is one line of JSON" })
  })
