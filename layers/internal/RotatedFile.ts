/**
 * One log file that is appended to, and rotated. Owns one descriptor; creates the file, never its folder.
 *
 * Follows whoever rotates it: before each write it looks whether the path still names the open file, and opens the
 * path anew when it was renamed or removed. Where that cannot be done yet, as between the steps of whoever rotates, or
 * ever, as in a folder that only root may enter, lines go to the file that is open. Rotates by itself where it is told
 * to: `app.log` becomes `app.log.1`, that `app.log.2`, and the oldest is deleted. Several processes may write and
 * rotate one file: a lock file lets one of them do it, and the others go on where they are until they see that it is
 * done. Never throws away what it was given because a rotation fails.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import type { WriteFailure } from "./LogBuffer.ts"

/** When a file is set aside and a new one begun. Without `maxBytes` and `interval` that is left to others. */
export interface Rotation {
  /**
   * Bytes that a file does not exceed, at least 1, unless a single write does by itself: what was buffered is never
   * divided. With several processes it may exceed them by what the others write meanwhile. Default: no limit.
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

/** A number of a `Rotation` that cannot be meant, with its name in there. */
export interface RotationProblem {
  readonly option: string
  readonly problem: string
}

/** What is wrong with the numbers; `undefined`: nothing. */
export const problemOf = ({ maxBytes, maxFiles, interval }: Rotation): RotationProblem | undefined => {
  if (maxBytes !== undefined && !(maxBytes >= 1)) {
    return { option: "rotation.maxBytes", problem: `must be at least 1, not ${maxBytes}` }
  }
  if (maxFiles !== undefined && !(Number.isInteger(maxFiles) && maxFiles >= 1)) {
    return { option: "rotation.maxFiles", problem: `must be a whole number of at least 1, not ${maxFiles}` }
  }
  if (interval === undefined || Duration.toMillis(interval) > 0) return undefined
  const given = Duration.format(Duration.fromInputUnsafe(interval))
  return { option: "rotation.interval", problem: `must be more than 0, not ${given}` }
}

/** How long lines go to the open file before it is said that its path cannot be opened: far longer than a rotation. */
const quietMillis = 10_000

/** A rotation takes far less than a millisecond: a lock that is older was left by a process that was killed. */
const staleLockMillis = 10_000

/**
 * All calls are synchronous. A hundred lines into the page cache take 6 µs of CPU, through the thread pool 30; a look at
 * the path, one for each write, takes 2.4 µs, through the thread pool 28 (Node 20.20, ext4). A disk that stalls makes the
 * process wait, as it does with nginx; whoever cannot have that logs to standard output and a collector.
 */
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
  /** Its size as far as we have written it. Another one: others write it, too. */
  private knownSize = 0
  private cannotRotate = false
  /** When the path was first found to lead nowhere; `Infinity` once that was said. */
  private lostSince: number | undefined = undefined

  constructor(path: string, rotation: Rotation = {}) {
    this.path = path
    this.maxBytes = rotation.maxBytes ?? Infinity
    this.maxFiles = rotation.maxFiles ?? 7
    this.intervalMillis = rotation.interval === undefined ? Infinity : Duration.toMillis(rotation.interval)
  }

  /** Opens the file (append, mode 0640 when created), unless the path names the one that is open. */
  readonly open: Effect.Effect<void, unknown> = Effect.clockWith((clock) =>
    Effect.try({
      try: () => {
        if (this.statIfCurrent() === undefined) this.openAnew(clock.currentTimeMillisUnsafe())
      },
      catch: (cause) => cause
    })
  )

  readonly close: Effect.Effect<void> = Effect.sync(() => {
    closeQuietly(this.descriptor)
    this.descriptor = this.device = this.inode = -1
  })

  /** Appends whole lines. */
  readonly write = (bytes: Uint8Array): Effect.Effect<void, WriteFailure> =>
    Effect.clockWith((clock) => {
      let warning: Effect.Effect<void> = Effect.void
      let writtenBytes = 0
      try {
        warning = this.prepare(bytes.length, clock.currentTimeMillisUnsafe())
        while (writtenBytes < bytes.length) {
          const count = fs.writeSync(this.descriptor, bytes, writtenBytes, bytes.length - writtenBytes)
          writtenBytes += count
          this.knownSize += count
        }
        return warning
      } catch (cause) {
        return Effect.andThen(warning, Effect.fail({ cause, writtenBytes }))
      }
    })

  /** Sees to it that the right file is open. **Returns** what is to be said about it. */
  private prepare(count: number, now: number): Effect.Effect<void> {
    let stats: fs.Stats
    try {
      stats = this.statIfCurrent() ?? this.openAnew(now)
    } catch (cause) {
      return this.keepOpen(cause, now)
    }
    this.lostSince = undefined
    const { mtimeMs, size } = stats
    if (size !== this.knownSize) {
      this.knownSize = size
      this.interval = Math.max(this.interval, this.intervalOf(mtimeMs))
    }
    const interval = this.intervalOf(now)
    if (size === 0 || (size + count <= this.maxBytes && interval <= this.interval)) {
      this.interval = interval
      return Effect.void
    }
    try {
      this.rotate(now)
      this.cannotRotate = false
      return Effect.void
    } catch (cause) {
      if (this.cannotRotate) return Effect.void
      this.cannotRotate = true
      return Effect.logWarning(`The log ${this.path} cannot be rotated; it goes on in the same file`, cause)
    }
  }

  /** Goes on with the file that is open, as long as it has a name. */
  private keepOpen(cause: unknown, now: number): Effect.Effect<void> {
    if (this.descriptor === -1 || fs.fstatSync(this.descriptor).nlink === 0) throw cause
    this.lostSince ??= now
    if (now - this.lostSince < quietMillis) return Effect.void
    this.lostSince = Infinity
    return Effect.logWarning(`The log ${this.path} cannot be opened anew; it goes on in the file that is open`, cause)
  }

  private intervalOf(millis: number): number {
    return Math.floor(millis / this.intervalMillis)
  }

  private statIfCurrent(): fs.Stats | undefined {
    const stats = fs.statSync(this.path, { throwIfNoEntry: false })
    return stats !== undefined && stats.ino === this.inode && stats.dev === this.device ? stats : undefined
  }

  private openAnew(now: number): fs.Stats {
    const descriptor = fs.openSync(this.path, "a", 0o640)
    const stats = fs.fstatSync(descriptor)
    const { dev, ino, mtimeMs, size } = stats
    closeQuietly(this.descriptor)
    this.descriptor = descriptor
    this.device = dev
    this.inode = ino
    this.knownSize = size
    this.interval = this.intervalOf(size === 0 ? now : mtimeMs)
    return stats
  }

  private rotate(now: number): void {
    const lock = `${this.path}.lock`
    if (!takeLock(lock, now)) return
    try {
      // Another process may have done it between our look and our lock.
      if (this.statIfCurrent() !== undefined) this.rename()
    } finally {
      fs.rmSync(lock, { force: true })
    }
    const { gid, uid } = fs.fstatSync(this.descriptor)
    const { gid: newGid, uid: newUid } = this.openAnew(now)
    // Root has given the old one to those who write it, too.
    if (uid !== newUid || gid !== newGid) fs.fchownSync(this.descriptor, uid, gid)
  }

  /** Moves only what stands in the way, so that an attempt that fails does not shift the old files each time. */
  private rename(): void {
    let last = 1
    while (last < this.maxFiles && fs.existsSync(`${this.path}.${last}`)) last++
    for (let index = last; index > 1; index--) fs.renameSync(`${this.path}.${index - 1}`, `${this.path}.${index}`)
    fs.renameSync(this.path, `${this.path}.1`)
  }
}

/** False while somebody else has it. One that was left behind is removed, and can be had at the next attempt. */
const takeLock = (lock: string, now: number): boolean => {
  try {
    fs.closeSync(fs.openSync(lock, "wx", 0o640))
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause
  }
  const stats = fs.statSync(lock, { throwIfNoEntry: false })
  if (stats !== undefined && now - stats.mtimeMs > staleLockMillis) fs.rmSync(lock, { force: true })
  return false
}

const closeQuietly = (descriptor: number): void => {
  if (descriptor === -1) return
  try {
    fs.closeSync(descriptor)
  } catch {
    // What it held was written, or its write has failed.
  }
}
