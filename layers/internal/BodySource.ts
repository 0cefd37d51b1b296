/**
 * Bodies that the server reads itself: a file by its path, or a stream. The source is opened before the head is
 * written, so one that cannot be read fails the `send` while another answer is still possible. Memory is one chunk;
 * reading waits for the client.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Fs from "node:fs/promises"
import { SendError } from "../../src/app/SendError.ts"
import type { HttpResponseBody } from "../../src/schema/Event.ts"
import type { HttpExchange } from "./HttpExchange.ts"

/** Bytes read from a file at once. Precedents: node streams 65536, nginx 32768. */
const chunkBytes = 65_536

const failed = (source: string, cause: unknown): SendError =>
  new SendError({ protocol: "http", reason: { _tag: "BodySourceFailed", source, cause } })

const invalid = (field: string, problem: string): SendError =>
  new SendError({ protocol: "http", reason: { _tag: "InvalidField", event: "http.response.body", field, problem } })

const isCount = (value: number | undefined): boolean => value === undefined || (Number.isSafeInteger(value) && value >= 0)

const checkRange = (event: HttpResponseBody): Effect.Effect<void, SendError> => {
  if (!isCount(event.offset)) return Effect.fail(invalid("offset", "it is not an integer of 0 or more"))
  if (!isCount(event.length)) return Effect.fail(invalid("length", "it is not an integer of 0 or more"))
  return Effect.void
}

/** Sends a regular file, from `offset` on, `length` bytes or to the end. The length is declared if the app did not. */
export const sendFile = Effect.fnUntraced(function*(
  exchange: HttpExchange,
  event: HttpResponseBody
): Effect.fn.Return<void, SendError> {
  yield* checkRange(event)
  const path = event.file!
  if (typeof path !== "string" || !path.startsWith("/") || path.includes("\0")) {
    return yield* Effect.fail(invalid("file", "it is not an absolute path"))
  }
  const attempt = <A>(operation: () => Promise<A>) =>
    Effect.tryPromise({ try: operation, catch: (cause) => failed(path, cause) })

  yield* Effect.acquireUseRelease(
    attempt(() => Fs.open(path, "r")),
    Effect.fnUntraced(function*(handle) {
      const stat = yield* attempt(() => handle.stat())
      if (!stat.isFile()) return yield* Effect.fail(failed(path, "it is not a regular file"))
      const offset = Math.min(event.offset ?? 0, stat.size)
      const length = Math.min(event.length ?? Infinity, stat.size - offset)
      yield* begin(exchange, length)
      if (exchange.wire.suppressesBody) return yield* end(exchange)
      let position = offset
      const until = offset + length
      while (position < until && !exchange.ended) {
        const buffer = Buffer.allocUnsafe(Math.min(chunkBytes, until - position))
        const { bytesRead } = yield* attempt(() => handle.read(buffer, 0, buffer.length, position))
        if (bytesRead === 0) {
          const failure = failed(path, "it became shorter while it was sent")
          exchange.disconnect("server_error")
          return yield* Effect.fail(failure)
        }
        position += bytesRead
        if (!exchange.ended) exchange.writePiece(buffer.subarray(0, bytesRead), bytesRead)
        yield* exchange.afterWrite()
      }
      yield* end(exchange)
    }),
    (handle) => Effect.promise(() => handle.close())
  )
})

/** Sends a stream to its end. It is run here and not before: never for HEAD, and never past `length`. */
export const sendStream = Effect.fnUntraced(function*(
  exchange: HttpExchange,
  event: HttpResponseBody
): Effect.fn.Return<void, SendError> {
  yield* checkRange(event)
  if (!Stream.isStream(event.stream)) return yield* Effect.fail(invalid("stream", "it is not a Stream"))
  const stream = event.stream as Stream.Stream<Uint8Array, unknown>
  if (exchange.wire.suppressesBody) {
    yield* begin(exchange, -1)
    return yield* end(exchange)
  }
  let skip = event.offset ?? 0
  let left = event.length ?? Infinity
  let source = Stream.takeWhile(stream, () => left > 0)
  if (left === 0) source = Stream.empty
  yield* Stream.runForEachArray(source, (chunks) =>
    Effect.suspend(() => {
      for (const chunk of chunks) {
        const from = Math.min(skip, chunk.length)
        skip -= from
        const piece = chunk.subarray(from, from + Math.min(left, chunk.length - from))
        left -= piece.length
        if (piece.length === 0) continue
        const problem = exchange.ended ? undefined : exchange.wrongLength(piece.length, false)
        if (problem !== undefined) return problem
        if (exchange.answer === "started") exchange.commit(-1)
        if (!exchange.ended) exchange.writePiece(piece, piece.length)
      }
      return exchange.afterWrite()
    })).pipe(
      Effect.mapError((cause) => {
        if (cause instanceof SendError) return cause
        if (exchange.answer === "committed") exchange.disconnect("server_error")
        return failed("stream", cause)
      })
    )
  yield* begin(exchange, 0)
  yield* end(exchange)
})

/** Writes the head if it is not out yet. */
const begin = (exchange: HttpExchange, length: number): Effect.Effect<void, SendError> =>
  Effect.suspend(() => {
    if (exchange.answer !== "started" || exchange.ended) return Effect.void
    const problem = length === -1 ? undefined : exchange.wrongLength(length, true)
    if (problem !== undefined) return problem
    exchange.commit(length)
    return Effect.void
  })

const end = (exchange: HttpExchange): Effect.Effect<void, SendError> =>
  Effect.suspend(() => {
    if (exchange.ended) return Effect.void
    const problem = exchange.wrongLength(0, true)
    if (problem !== undefined) return problem
    exchange.endBody()
    return exchange.afterWrite()
  })
