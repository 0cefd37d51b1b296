/**
 * AccessLog in a file that is appended to. Creates the file, never its folder. Follows rotation by others, so logrotate
 * needs neither a signal nor `copytruncate` (which is harmless as well), and rotates by itself where it is told to; the
 * file is internal/RotatedFile's.
 */
import * as Config from "effect/Config"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as path from "node:path"
import { type AccessLogFormatError, compile } from "../src/schema/AccessLogFormat.ts"
import { AccessLog } from "../src/service/AccessLog.ts"
import * as AccessLogBuffer from "./internal/AccessLogBuffer.ts"
import * as LogFiles from "./internal/LogFiles.ts"
import { problemOf, RotatedFile, type Rotation } from "./internal/RotatedFile.ts"

export type { Rotation }

/** Why an access log did not start. Fault: operator. */
export type AccessLogErrorReason =
  /** The file could not be opened: no such folder, no permission, a folder at its place. */
  | { readonly _tag: "OpenFailed"; readonly path: string; readonly cause: unknown }
  /** A number that cannot be meant. `option` is the name as in `Options`. */
  | { readonly _tag: "InvalidOption"; readonly option: string; readonly problem: string }

export class AccessLogError extends Data.TaggedError("AccessLogError")<{ readonly reason: AccessLogErrorReason }> {
  override get message(): string {
    const { reason } = this
    return reason._tag === "OpenFailed"
      ? `Cannot open the access log ${reason.path}: ${String(reason.cause)}`
      : `${reason.option} of an access log ${reason.problem}`
  }
}

export interface Options extends AccessLogBuffer.Options {
  /** The file, absolute or from the current directory at start. Its folder must exist. */
  readonly path: string
  /** Preset name or format string. Default `combined`. */
  readonly format?: string
  /** When a new file is begun. Default: never by itself; a rotation by others is followed. */
  readonly rotation?: Rotation
}

/**
 * Opens the file (append, mode 0640 when created) and builds the service. What is buffered is written when the scope
 * closes, then the file is closed.
 *
 * **Fails with** `AccessLogError`, `OpenFailed` or `InvalidOption`, and `AccessLogFormatError` for an unknown atom. Later
 * errors (disk full, folder gone) are logged once and the entries kept, see `LogBuffer.make`; a rotation that fails goes on
 * in the same file.
 * **Gotchas** several processes may share the file and rotate it: each write is whole lines in append mode.
 */
export const make = Effect.fnUntraced(function*(options: Options) {
  const format = yield* Effect.fromResult(compile(options.format ?? "combined"))
  const problem = problemOf(options.rotation ?? {})
  if (problem !== undefined) return yield* new AccessLogError({ reason: { _tag: "InvalidOption", ...problem } })
  const file = new RotatedFile(path.resolve(options.path), options.rotation)
  yield* Effect.acquireRelease(
    Effect.mapError(
      file.open,
      (cause) => new AccessLogError({ reason: { _tag: "OpenFailed", path: file.path, cause } })
    ),
    () => file.close
  )
  yield* LogFiles.register(`access log ${file.path}`, file.open)
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
