/**
 * AccessLog in a file that is appended to. Owns one descriptor; creates the file, never its folder. Follows rotation by
 * itself: before each write it looks whether the path still names the open file, and opens the path anew when it was
 * renamed or removed. So logrotate needs neither a signal nor `copytruncate` (which is harmless as well).
 */
import * as Config from "effect/Config"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as fs from "node:fs"
import * as path from "node:path"
import { type AccessLogFormatError, compile } from "../src/schema/AccessLogFormat.ts"
import { AccessLog } from "../src/service/AccessLog.ts"
import * as AccessLogBuffer from "./internal/AccessLogBuffer.ts"

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
 * `AccessLogBuffer.make`.
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

type Done<A> = (error: Error | null, value: A) => void

const call = <A>(start: (done: Done<A>) => void): Effect.Effect<A, Error> =>
  Effect.callback((resume) => start((error, value) => resume(error ? Effect.fail(error) : Effect.succeed(value))))

class RotatedFile {
  readonly path: string
  private descriptor = -1
  private device = -1
  private inode = -1

  constructor(path: string) {
    this.path = path
  }

  readonly open: Effect.Effect<void, Error> = Effect.suspend(() =>
    Effect.flatMap(
      call<number>((done) => fs.open(this.path, "a", 0o640, done)),
      (descriptor) =>
        Effect.map(call<fs.Stats>((done) => fs.fstat(descriptor, done)), (stats) => {
          this.descriptor = descriptor
          this.device = stats.dev
          this.inode = stats.ino
        })
    )
  )

  readonly close: Effect.Effect<void> = Effect.suspend(() => closeDescriptor(this.descriptor))

  readonly write = (bytes: Uint8Array): Effect.Effect<void, AccessLogBuffer.WriteFailure> =>
    Effect.andThen(
      Effect.mapError(this.followRotation, (cause) => ({ cause, writtenBytes: 0 })),
      this.writeFrom(bytes, 0)
    )

  private readonly followRotation: Effect.Effect<void, Error> = Effect.suspend(() => {
    if (this.isCurrent()) return Effect.void
    const rotated = this.descriptor
    return Effect.andThen(this.open, closeDescriptor(rotated))
  })

  /** Synchronous: 2.4 µs of CPU a write, where `fs.stat` through the thread pool costs 28 (Node 20.20, ext4). */
  private isCurrent(): boolean {
    const stats = fs.statSync(this.path, { throwIfNoEntry: false })
    return stats !== undefined && stats.ino === this.inode && stats.dev === this.device
  }

  /**
   * Synchronous: a hundred lines into the page cache take 6 µs of CPU, through the thread pool 30. A disk that stalls
   * makes the process wait, as it does with nginx; whoever cannot have that logs to standard output and a collector.
   */
  private writeFrom(bytes: Uint8Array, offset: number): Effect.Effect<void, AccessLogBuffer.WriteFailure> {
    return Effect.suspend(() => {
      let writtenBytes = offset
      try {
        while (writtenBytes < bytes.length) {
          writtenBytes += fs.writeSync(this.descriptor, bytes, writtenBytes, bytes.length - writtenBytes)
        }
        return Effect.void
      } catch (cause) {
        return Effect.fail({ cause, writtenBytes })
      }
    })
  }
}

const closeDescriptor = (descriptor: number): Effect.Effect<void> =>
  Effect.ignore(call<void>((done) => fs.close(descriptor, (error) => done(error ?? null))))

/** Logs to the file. See `make`. */
export const layer = (options: Options): Layer.Layer<AccessLog, AccessLogFormatError | AccessLogError> =>
  Layer.effect(AccessLog, make(options))

/** Logs to the file that the configuration names. */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<AccessLog, AccessLogFormatError | AccessLogError | Config.ConfigError> =>
  Layer.effect(AccessLog, Effect.flatMap(Config.unwrap(options), make))
