/**
 * AccessLog in memory, for tests of whatever writes one. Owns every line and entry until the layer is dropped: it
 * never forgets, so it is no place for a long-running server.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type AccessLogFormatError, compile, type Formatter } from "../src/schema/AccessLogFormat.ts"
import { AccessLog, type AccessLogEntry } from "../src/service/AccessLog.ts"
import * as AccessLogBuffer from "./internal/AccessLogBuffer.ts"

export interface Options extends AccessLogBuffer.Options {
  /** Preset name or format string. Default `combined`. */
  readonly format?: string
  /** As for every access log, but default 1: a line is there as soon as its entry was written. */
  readonly bufferEntries?: number
}

/** What was logged so far. */
export class Lines extends Context.Service<Lines, {
  /** Lines that the buffer has let go, oldest first, without line ends. A copy. */
  readonly lines: Effect.Effect<ReadonlyArray<string>>
  /** Every entry that was written, buffered or not, oldest first. Shallow copies. */
  readonly entries: Effect.Effect<ReadonlyArray<AccessLogEntry>>
}>()("slipway/layers/AccessLogMemory/Lines") {}

/**
 * Builds both services over one memory. What is buffered is in `lines` when the scope has closed.
 *
 * **Fails with** `AccessLogFormatError` for an unknown atom.
 */
export const make = Effect.fnUntraced(function*(options: Options = {}) {
  const format = yield* Effect.fromResult(compile(options.format ?? "combined"))
  const decoder = new TextDecoder()
  const lines: Array<string> = []
  const entries: Array<AccessLogEntry> = []
  const record: Formatter = (entry, line) => {
    format(entry, line)
    entries.push(copy(entry))
  }
  const write = (bytes: Uint8Array) =>
    Effect.sync(() => {
      lines.push(...decoder.decode(bytes).split("\n").slice(0, -1))
    })
  const bufferOptions = { bufferEntries: 1, ...options, entriesStay: false }
  const log = yield* AccessLogBuffer.make(record, { name: "memory", write }, bufferOptions)
  return Context.make(AccessLog, log).pipe(Context.add(Lines, {
    lines: Effect.sync(() => lines.slice()),
    entries: Effect.sync(() => entries.slice())
  }))
})

/** Field by field: an entry may be an object with getters. */
const copy = (entry: AccessLogEntry): AccessLogEntry => ({
  scope: entry.scope,
  client: entry.client,
  status: entry.status,
  bodyBytes: entry.bodyBytes,
  startedAtMillis: entry.startedAtMillis,
  durationMillis: entry.durationMillis,
  requestId: entry.requestId,
  traceId: entry.traceId,
  problem: entry.problem
})

/** Logs to memory and shows what was logged. See `make`. */
export const layer = (options: Options = {}): Layer.Layer<AccessLog | Lines, AccessLogFormatError> =>
  Layer.effectContext(make(options))
