/**
 * AccessLog in a file that is appended to. Creates the file, never its folder. Follows rotation by itself, so logrotate
 * needs neither a signal nor `copytruncate` (which is harmless as well); the file is internal/RotatedFile's.
 */
import * as Config from "effect/Config"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as path from "node:path"
import { type AccessLogFormatError, compile } from "../src/schema/AccessLogFormat.ts"
import { AccessLog } from "../src/service/AccessLog.ts"
import * as AccessLogBuffer from "./internal/AccessLogBuffer.ts"
import { RotatedFile } from "./internal/RotatedFile.ts"

/** The file could not be opened at start: no such folder, no permission, a folder at its place. Fault: operator. */
export class AccessLogError extends Data.TaggedError("AccessLogError")<{
  /** Absolute path of the file. */
  readonly path: string
  readonly cause: unknown
}> {
  override get message(): string {
    return `Cannot open the access log ${this.path}: ${String(this.cause)}`
  }
}

export interface Options extends AccessLogBuffer.Options {
  /** The file, absolute or from the current directory at start. Its folder must exist. */
  readonly path: string
  /** Preset name or format string. Default `combined`. */
  readonly format?: string
}

/**
 * Opens the file (append, mode 0640 when created) and builds the service. What is buffered is written when the scope
 * closes, then the file is closed.
 *
 * **Fails with** `AccessLogError`, which names the path, when the file cannot be opened, and `AccessLogFormatError` for
 * an unknown atom. Later errors (disk full, folder gone) are logged once and the entries kept, see
 * `LogBuffer.make`.
 * **Gotchas** several processes may share the file: each write is whole lines in append mode.
 */
export const make = Effect.fnUntraced(function*(options: Options) {
  const format = yield* Effect.fromResult(compile(options.format ?? "combined"))
  const file = new RotatedFile(path.resolve(options.path))
  yield* Effect.acquireRelease(
    Effect.mapError(file.open, (cause) => new AccessLogError({ path: file.path, cause })),
    () => file.close
  )
  return yield* AccessLogBuffer.make(format, { name: file.path, write: file.write }, options)
})

/** Logs to the file. See `make`. */
export const layer = (options: Options): Layer.Layer<AccessLog, AccessLogFormatError | AccessLogError> =>
  Layer.effect(AccessLog, make(options))

/** Logs to the file that the configuration names. */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<AccessLog, AccessLogFormatError | AccessLogError | Config.ConfigError> =>
  Layer.effect(AccessLog, Effect.flatMap(Config.unwrap(options), make))
