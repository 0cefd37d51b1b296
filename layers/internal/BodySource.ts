/**
 * Bodies that the server reads itself: a file by its path, or a stream. The source is opened before the head is
 * written, so one that cannot be read fails the `send` while another answer is still possible; one that fails after
 * part of it was written ends the exchange. Memory is one chunk; reading waits for the client.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { constants } from "node:fs"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import { SendError } from "../../src/app/SendError.ts"
import type { HttpResponseBody } from "../../src/schema/Event.ts"
import type { HttpExchange } from "./HttpExchange.ts"

/** Bytes read from a file at once. Precedents: node streams 65536, nginx 32768. */
const chunkBytes = 65_536

/** Without waiting: a pipe that nobody writes to must not hold a thread until somebody does. */
const openFlags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)

const failed = (source: string, cause: unknown): SendError =>
  new SendError({ protocol: "http", reason: { _tag: "BodySourceFailed", source, cause } })

const invalid = (field: string, problem: string): SendError =>
  new SendError({ protocol: "http", reason: { _tag: "InvalidField", event: "http.response.body", field, problem } })

const isCount = (value: number | undefined): boolean =>
  value === undefined || (Number.isSafeInteger(value) && value >= 0)

const checkRange = (event: HttpResponseBody): Effect.Effect<void, SendError> => {
  if (!isCount(event.offset)) return Effect.fail(invalid("offset", "it is not an integer of 0 or more"))
  if (!isCount(event.length)) return Effect.fail(invalid("length", "it is not an integer of 0 or more"))
  return Effect.void
}

/**
 * A source that was written in part, or does not fit what was declared, cannot be taken back once the head is out: its
 * failure ends the exchange. Last of all steps, so that the application gets the failure before it is interrupted.
 */
const cutOnFailure = (
  exchange: HttpExchange,
  source: Effect.Effect<void, SendError>
): Effect.Effect<void, SendError> => {
  const before = exchange.bodyBytes
  return Effect.tapCause(source, (cause) =>
    Effect.sync(() => {
      if (exchange.answer !== "committed" || exchange.ended || Cause.hasInterruptsOnly(cause)) return
      if (exchange.bodyBytes !== before || isLengthProblem(Cause.squash(cause))) exchange.breakOff(cause)
    }))
}

const isLengthProblem = (error: unknown): boolean =>
  error instanceof SendError && (error.reason._tag === "BodyTooLong" || error.reason._tag === "BodyTooShort")

/** Sends a regular file, from `offset` on, `length` bytes or to the end. The length is declared if the app did not. */
export const sendFile = (exchange: HttpExchange, event: HttpResponseBody): Effect.Effect<void, SendError> =>
  cutOnFailure(exchange, readFile(exchange, event))

const readFile = Effect.fnUntraced(function*(
  exchange: HttpExchange,
  event: HttpResponseBody
): Effect.fn.Return<void, SendError> {
  yield* checkRange(event)
  const path = event.file!
  if (typeof path !== "string" || !Path.isAbsolute(path) || path.includes("\0")) {
    return yield* Effect.fail(invalid("file", "it is not an absolute path"))
  }
  const attempt = <A>(operation: () => Promise<A>) =>
    Effect.tryPromise({ try: operation, catch: (cause) => failed(path, cause) })

  const read = Effect.fnUntraced(function*(handle: Fs.FileHandle) {
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
      if (bytesRead === 0) return yield* Effect.fail(failed(path, "it became shorter while it was sent"))
      position += bytesRead
      const problem = write(exchange, buffer.subarray(0, bytesRead))
      if (problem !== undefined) return yield* Effect.fail(problem)
      yield* exchange.afterWrite()
    }
    yield* end(exchange)
  })
  yield* Effect.acquireUseRelease(
    attempt(() => Fs.open(path, openFlags)),
    read,
    (handle) => Effect.promise(() => handle.close())
  )
})

/** Sends a stream to its end. It is run here and not before: never for HEAD, and never past `length`. */
export const sendStream = (exchange: HttpExchange, event: HttpResponseBody): Effect.Effect<void, SendError> =>
  cutOnFailure(exchange, runStream(exchange, event))

const runStream = Effect.fnUntraced(function*(
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
  let source = Stream.takeWhile(stream, () => left > 0 && !exchange.ended)
  if (left === 0) source = Stream.empty
  yield* Stream.runForEachArray(source, (chunks) =>
    Effect.suspend(() => {
      const notBytes = chunks.find((chunk) => !(chunk instanceof Uint8Array))
      if (notBytes !== undefined) return Effect.fail(failed("stream", "a part of it is not a Uint8Array"))
      // What is there together goes out together.
      const chunk = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)
      const from = Math.min(skip, chunk.length)
      skip -= from
      const piece = chunk.subarray(from, from + Math.min(left, chunk.length - from))
      left -= piece.length
      const problem = piece.length === 0 ? undefined : write(exchange, piece)
      return problem === undefined ? exchange.afterWrite() : Effect.fail(problem)
    })).pipe(
      Effect.mapError((cause) => cause instanceof SendError ? cause : failed("stream", cause))
    )
  yield* begin(exchange, 0)
  yield* end(exchange)
})

/** Writes the head if it is not out yet; refuses a length that does not fit before anything is written. */
const begin = (exchange: HttpExchange, length: number): Effect.Effect<void, SendError> =>
  Effect.suspend(() => {
    if (exchange.ended) return Effect.void
    const problem = length === -1 ? undefined : exchange.lengthProblem(length, true)
    if (problem !== undefined) return Effect.fail(problem)
    if (exchange.answer === "started") exchange.commit(length)
    return Effect.void
  })

/** Writes a piece, and the head of unknown length before it if that is not out yet. **Returns** the problem, if any. */
const write = (exchange: HttpExchange, piece: Uint8Array): SendError | undefined => {
  if (exchange.ended) return undefined
  const problem = exchange.lengthProblem(piece.length, false)
  if (problem !== undefined) return problem
  if (exchange.answer === "started") exchange.commit(-1)
  exchange.writePiece(piece, piece.length)
  return undefined
}

const end = (exchange: HttpExchange): Effect.Effect<void, SendError> =>
  Effect.suspend(() => {
    if (exchange.ended) return Effect.void
    const problem = exchange.lengthProblem(0, true)
    if (problem !== undefined) return Effect.fail(problem)
    exchange.endBody()
    return exchange.afterWrite()
  })
