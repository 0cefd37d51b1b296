/**
 * One log file that is appended to, and rotated. Owns one descriptor; creates the file, never its folder.
 *
 * Follows whoever rotates it: before each write it looks whether the path still names the open file, and opens the path
 * anew when it was renamed or removed. Rotates by itself where it is told to: `app.log` becomes `app.log.1`, that
 * `app.log.2`, and the oldest is deleted. Never throws away what it was given because a rotation fails.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import type { WriteFailure } from "./LogBuffer.ts"

/** When a file is set aside and a new one begun. Without `maxBytes` and `interval` that is left to others. */
export interface Rotation {
  /**
   * Bytes that a file does not exceed, at least 1, unless a single write does by itself: what was buffered is never
   * divided. Default: no limit.
   */
  readonly maxBytes?: number
  /**
   * A file holds one interval, more than 0, counted from 1970 in UTC: with `1 day` it ends at midnight. It ends at the
   * first write after that, so a quiet log makes no empty files. Default: no limit.
   */
  readonly interval?: Duration.Input
  /** Files kept beside the one that is written, at least 1; the oldest is deleted. Default 7 (precedent: log4j 7). */
  readonly maxFiles?: number
}

type Done<A> = (error: Error | null, value: A) => void

const call = <A>(start: (done: Done<A>) => void): Effect.Effect<A, Error> =>
  Effect.callback((resume) => start((error, value) => resume(error ? Effect.fail(error) : Effect.succeed(value))))

export class RotatedFile {
  readonly path: string
  private readonly maxBytes: number
  private readonly maxFiles: number
  private readonly intervalMillis: number
  private descriptor = -1
  private device = -1
  private inode = -1
  /** The interval in which the file was last written, counted from 1970. */
  private interval = 0
  private cannotRotate = false

  constructor(path: string, rotation: Rotation = {}) {
    this.path = path
    this.maxBytes = rotation.maxBytes ?? Infinity
    this.maxFiles = rotation.maxFiles ?? 7
    this.intervalMillis = rotation.interval === undefined ? Infinity : Duration.toMillis(rotation.interval)
  }

  /** Opens the file (append, mode 0640 when created). */
  readonly open: Effect.Effect<void, Error> = Effect.clockWith((clock) =>
    Effect.flatMap(
      call<number>((done) => fs.open(this.path, "a", 0o640, done)),
      (descriptor) =>
        Effect.map(call<fs.Stats>((done) => fs.fstat(descriptor, done)), (stats) => {
          this.descriptor = descriptor
          this.device = stats.dev
          this.inode = stats.ino
          this.interval = this.intervalOf(stats.size === 0 ? clock.currentTimeMillisUnsafe() : stats.mtimeMs)
        })
    )
  )

  readonly close: Effect.Effect<void> = Effect.suspend(() => closeDescriptor(this.descriptor))

  /** Appends whole lines. */
  readonly write = (bytes: Uint8Array): Effect.Effect<void, WriteFailure> =>
    Effect.andThen(
      Effect.mapError(this.prepare(bytes.length), (cause) => ({ cause, writtenBytes: 0 })),
      this.writeFrom(bytes, 0)
    )

  private prepare(count: number): Effect.Effect<void, Error> {
    return Effect.clockWith((clock) => {
      const size = this.sizeIfCurrent()
      if (size === undefined) return this.reopen
      const interval = this.intervalOf(clock.currentTimeMillisUnsafe())
      if (size > 0 && (size + count > this.maxBytes || interval > this.interval)) return this.rotate
      this.interval = interval
      return Effect.void
    })
  }

  private intervalOf(millis: number): number {
    return Math.floor(millis / this.intervalMillis)
  }

  /** Synchronous: 2.4 µs of CPU a write, where `fs.stat` through the thread pool costs 28 (Node 20.20, ext4). */
  private sizeIfCurrent(): number | undefined {
    const stats = fs.statSync(this.path, { throwIfNoEntry: false })
    return stats !== undefined && stats.ino === this.inode && stats.dev === this.device ? stats.size : undefined
  }

  private readonly reopen: Effect.Effect<void, Error> = Effect.suspend(() => {
    const rotated = this.descriptor
    return Effect.andThen(this.open, closeDescriptor(rotated))
  })

  private readonly rotate: Effect.Effect<void, Error> = Effect.suspend(() => {
    try {
      this.rename()
    } catch (cause) {
      if (this.cannotRotate) return Effect.void
      this.cannotRotate = true
      return Effect.logWarning(`The log ${this.path} cannot be rotated; it goes on in the same file`, cause)
    }
    this.cannotRotate = false
    return this.reopen
  })

  /** Moves only what stands in the way, so that an attempt that fails does not shift the old files each time. */
  private rename(): void {
    let last = 1
    while (last < this.maxFiles && fs.existsSync(`${this.path}.${last}`)) last++
    for (let index = last; index > 1; index--) fs.renameSync(`${this.path}.${index - 1}`, `${this.path}.${index}`)
    fs.renameSync(this.path, `${this.path}.1`)
  }

  /**
   * Synchronous: a hundred lines into the page cache take 6 µs of CPU, through the thread pool 30. A disk that stalls
   * makes the process wait, as it does with nginx; whoever cannot have that logs to standard output and a collector.
   */
  private writeFrom(bytes: Uint8Array, offset: number): Effect.Effect<void, WriteFailure> {
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
