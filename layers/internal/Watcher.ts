/**
 * Tells which files something has happened to: one watch for each folder that counts, so that node_modules is never
 * walked, or a look at all files once a second where the operating system cannot watch. Whether a file has really
 * changed is somebody else's question (Reload.ts).
 *
 * Owns the watches until the scope closes. Reads names and times, never a file's content.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as fs from "node:fs"
import * as path from "node:path"
import * as WatcherRules from "./WatcherRules.ts"

export interface Options extends WatcherRules.Options {
  /** Further files to watch, absolute, whatever the rules say of them: settings, `.env`. */
  readonly files?: ReadonlyArray<string>
  /** For tests. Default: Node's. */
  readonly watch?: typeof fs.watch
  /** For tests. Default: `statfs` of Node. Its answer says whether a folder is on a network. */
  readonly typeOf?: (folder: string) => number | undefined
}

export interface Watcher {
  /** Absolute paths; the same one as often as something happened to it. */
  readonly events: Queue.Dequeue<string>
  /** The files that count, as they were at the start. */
  readonly files: ReadonlyArray<string>
  /** Watches further files, absolute, wherever they are. **Returns** those that were not watched before. */
  readonly add: (files: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<string>>
}

/** Between two looks at all files. Cost: 10,000 files are some 30 ms. */
const lookMillis = 1000

/**
 * File systems that say nothing of changes that were made elsewhere (linux/magic.h): NFS, SMB, CIFS, SMB2, 9P, FUSE,
 * VirtualBox, Ceph.
 */
const silentTypes = new Set([0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x01021997, 0x65735546, 0x786f4256, 0x00c36400])

const typeOfFolder = (folder: string): number | undefined => {
  try {
    return fs.statfsSync(folder).type
  } catch {
    return undefined
  }
}

/** Starts to watch. Where watching is not possible it says so in the log once, and looks by itself. */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Watcher, never, Scope.Scope> {
  const events = yield* Queue.unbounded<string>()
  const tree = new Tree(options, (file) => void Queue.offerUnsafe(events, file))
  yield* Effect.addFinalizer(() => Effect.sync(() => tree.close()))
  const { typeOf = typeOfFolder } = options
  const silent = options.dirs.find((dir) => silentTypes.has(typeOf(dir) ?? 0))
  if (silent !== undefined) tree.giveUp(`${silent} is on a file system of another machine`)
  tree.open()
  yield* Effect.forkScoped(
    Effect.forever(Effect.andThen(Effect.sleep(lookMillis), Effect.suspend(() => tree.look()))),
    { startImmediately: true }
  )
  yield* tree.look()
  return { events, files: [...tree.seen.keys()], add: (files) => Effect.sync(() => tree.add(files)) }
})

class Tree {
  /** Each file that counts, with its size and time. */
  readonly seen = new Map<string, string>()
  private readonly rules: WatcherRules.Rules
  private readonly dirs: ReadonlyArray<string>
  private readonly extra: Set<string>
  private readonly tell: (file: string) => void
  private readonly watch: typeof fs.watch
  private readonly watches = new Map<string, fs.FSWatcher>()
  /** Why nothing is watched and all is looked at; `undefined` where watching goes well. */
  private silence: string | undefined
  private isSaid = false
  private isClosed = false

  constructor(options: Options, tell: (file: string) => void) {
    this.rules = WatcherRules.make(options)
    this.dirs = options.dirs
    this.extra = new Set(options.files)
    this.tell = tell
    this.watch = options.watch ?? fs.watch
  }

  open(): void {
    for (const dir of this.dirs) this.enter(dir, false)
    for (const file of this.extra) this.enterExtra(file)
  }

  close(): void {
    this.isClosed = true
    for (const watch of this.watches.values()) watch.close()
    this.watches.clear()
  }

  giveUp(reason: string): void {
    this.silence ??= reason
    for (const watch of this.watches.values()) watch.close()
    this.watches.clear()
  }

  add(files: ReadonlyArray<string>): ReadonlyArray<string> {
    const fresh = files.filter((file) => !this.counts(file))
    for (const file of fresh) {
      this.extra.add(file)
      this.enterExtra(file)
    }
    return fresh
  }

  /** What the second brings: where nothing is watched all files, else only the warning that it is so. */
  look(): Effect.Effect<void> {
    if (this.silence === undefined || this.isClosed) return Effect.void
    if (this.isSaid) return Effect.sync(() => this.compare())
    this.isSaid = true
    return Effect.logWarning(`Looking for changes once a second: ${this.silence}`)
  }

  // ---- folders

  private counts(file: string): boolean {
    return this.extra.has(file) || this.rules.hasFile(file)
  }

  private enterExtra(file: string): void {
    const signature = signatureOf(file)
    if (signature !== undefined) this.seen.set(file, signature)
    this.watchFolder(path.dirname(file))
  }

  /** Watches a folder and all that are in it. `isNew`: what is in it has happened now. */
  private enter(folder: string, isNew: boolean): void {
    this.watchFolder(folder)
    for (const entry of entriesOf(folder)) {
      const inner = path.join(folder, entry.name)
      if (entry.isDirectory()) {
        if (this.rules.hasFolder(inner)) this.enter(inner, isNew)
      } else if (this.counts(inner)) {
        const signature = signatureOf(inner)
        if (signature !== undefined) this.seen.set(inner, signature)
        if (isNew) this.tell(inner)
      }
    }
  }

  private watchFolder(folder: string): void {
    if (this.silence !== undefined || this.watches.has(folder)) return
    try {
      const watch = this.watch(folder, { persistent: false }, (_, name) => this.heard(folder, name))
      watch.on("error", () => this.leave(folder))
      this.watches.set(folder, watch)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      // It was there a moment ago.
      if (code === "ENOENT" || code === "ENOTDIR") return
      this.giveUp(
        code === "ENOSPC" || code === "EMFILE"
          ? `there are too many folders to watch (${code})`
          : `${folder} cannot be watched (${code ?? String(error)})`
      )
    }
  }

  private heard(folder: string, name: string | null): void {
    if (this.isClosed) return
    if (name === null) return this.compare()
    const at = path.join(folder, name)
    const stat = fs.statSync(at, { throwIfNoEntry: false })
    if (stat?.isDirectory() === true) {
      if (this.rules.hasFolder(at) && !this.watches.has(at)) this.enter(at, true)
      return
    }
    if (stat === undefined && this.watches.has(at)) return this.leave(at)
    if (!this.counts(at)) return
    if (stat === undefined) this.seen.delete(at)
    else this.seen.set(at, toSignature(stat))
    this.tell(at)
  }

  /** A folder has gone, perhaps to another place: its watches would follow it there. */
  private leave(folder: string): void {
    const isInside = (at: string): boolean => at === folder || at.startsWith(folder + path.sep)
    for (const [at, watch] of this.watches) {
      if (!isInside(at)) continue
      watch.close()
      this.watches.delete(at)
    }
    for (const file of this.seen.keys()) {
      if (!isInside(file)) continue
      this.seen.delete(file)
      this.tell(file)
    }
  }

  // ---- looking

  private compare(): void {
    const now = new Map<string, string>()
    const note = (file: string): void => {
      const signature = signatureOf(file)
      if (signature !== undefined) now.set(file, signature)
    }
    const walk = (folder: string): void => {
      for (const entry of entriesOf(folder)) {
        const inner = path.join(folder, entry.name)
        if (!entry.isDirectory()) {
          if (this.counts(inner)) note(inner)
        } else if (this.rules.hasFolder(inner)) walk(inner)
      }
    }
    for (const dir of this.dirs) walk(dir)
    for (const file of this.extra) note(file)
    const changed = [
      ...[...now].filter(([file, signature]) => this.seen.get(file) !== signature).map(([file]) => file),
      ...[...this.seen.keys()].filter((file) => !now.has(file))
    ]
    this.seen.clear()
    for (const [file, signature] of now) this.seen.set(file, signature)
    for (const file of changed) this.tell(file)
  }
}

const toSignature = ({ ino, mtimeMs, size }: fs.Stats): string => `${ino} ${mtimeMs} ${size}`

const signatureOf = (file: string): string | undefined => {
  const stat = fs.statSync(file, { throwIfNoEntry: false })
  return stat?.isFile() === true ? toSignature(stat) : undefined
}

/** Those of a folder that has gone are none. Links are files: what they lead to is watched once it is loaded. */
const entriesOf = (folder: string): ReadonlyArray<fs.Dirent> => {
  try {
    return fs.readdirSync(folder, { withFileTypes: true })
  } catch {
    return []
  }
}
