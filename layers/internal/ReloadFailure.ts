/**
 * Finds out what a developer wants to know of a failure: the sentence, the place in the source, the lines around it and
 * the frames that are theirs. Reads the sources that a stack names, and nothing else.
 *
 * A place is looked for where Node and esbuild put it: at the head of the stack, in the message, in the first frame. For
 * an error of syntax in plain JavaScript they say none; then each loaded file is checked by a Node of its own.
 */
import * as Cause from "effect/Cause"
import * as Predicate from "effect/Predicate"
import * as ChildProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import type { CodeFrame, DevFailure, Frame } from "../../src/app/DevFailure.ts"
import { AppModuleError } from "./AppModule.ts"
import { toPath } from "./ReloadModules.ts"

export interface Context {
  /** Folder that paths are shown from. Default: the current one. */
  readonly cwd?: string
  /** Files that were loaded, the last one last. Default none. */
  readonly loaded?: ReadonlyArray<string>
}

/** Lines shown before and after the one that is meant. */
const around = 3
/** Characters of a line that are shown; generated files have longer ones. */
const maxLineLength = 300
const maxFrames = 12
/** Files that are checked for a fault of syntax; the last loaded ones are asked first. */
const maxChecks = 20
const maxCauses = 4
/** Characters of a message: it goes to every worker and into every page. */
const maxMessage = 10_000

interface Place {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** Describes why an application does not start. */
export const fromCause = (cause: Cause.Cause<unknown>, context: Context = {}): DevFailure => {
  const thrown = Cause.squash(cause)
  if (thrown instanceof AppModuleError) {
    if (thrown.reason._tag !== "LoadFailed") return bare("Cannot serve the application", thrown.message)
    return fromError(`Cannot load ${thrown.path}`, thrown.reason.cause, context)
  }
  if (Predicate.isTagged(thrown, "ServerError")) return bare("The application does not start", messageOf(thrown))
  return fromError("The application does not start", thrown, context)
}

/** A failure of which nothing more is known. */
export const bare = (title: string, message: string): DevFailure => ({ title, message, frames: [] })

const messageOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  const { message, name } = error
  return message === "" ? name : name === "Error" || message.startsWith(name) ? message : `${name}: ${message}`
}

/** Describes what was thrown. */
export const fromError = (title: string, error: unknown, { cwd = process.cwd(), loaded = [] }: Context): DevFailure => {
  const stack = error instanceof Error ? error.stack ?? "" : ""
  const all = framesOf(stack, cwd)
  const own = all.filter(({ file }) => !/(?:^|[\\/])node_modules[\\/]/.test(file))
  const frames = (own.length > 0 ? own : all).slice(0, maxFrames)
  const esbuild = /^(.+):(\d+):(\d+): (?:ERROR|error): (.*)$/m.exec(messageOf(error))
  const place = esbuild !== null
    // Columns of esbuild begin with 0.
    ? { file: esbuild[1]!, line: Number(esbuild[2]), column: Number(esbuild[3]) + 1 }
    : headOf(stack) ?? absolute(own[0], cwd) ?? (error instanceof SyntaxError ? checked(loaded) : undefined)
  const code = place && codeFrame(place, cwd)
  return {
    title,
    message: (esbuild !== null ? esbuild[4]! : [messageOf(error), ...causesOf(error)].join("\n")).slice(0, maxMessage),
    ...(code && { code }),
    // Those of a compiler, or of a loader, say nothing of the place.
    frames: esbuild !== null || own.length === 0 && error instanceof SyntaxError ? [] : frames
  }
}

const causesOf = (error: unknown): ReadonlyArray<string> => {
  const lines: Array<string> = []
  let cause = error instanceof Error ? error.cause : undefined
  while (cause !== undefined && lines.length < maxCauses) {
    lines.push(`Caused by ${messageOf(cause)}`)
    cause = cause instanceof Error ? cause.cause : undefined
  }
  return lines
}

// ---- places

const absolute = (frame: Frame | undefined, cwd: string): Place | undefined =>
  frame && { ...frame, file: path.resolve(cwd, frame.file) }

/**
 * `file:line`, the line with perhaps its neighbours, and a caret: how Node says where the syntax is wrong. Where the file
 * ends too early there is no caret.
 */
const headOf = (text: string): Place | undefined => {
  const head = /^(file:\/\/\S+|\/.+|[A-Za-z]:\\.+):(\d+)\n(?:(?:.*\n){1,4}?([ \t]*)\^|.*\n([ \t]*)\n)/.exec(text)
  if (head === null) return undefined
  const file = head[1]!.startsWith("file:") ? toPath(head[1]!) : head[1]
  return file === undefined ? undefined : { file, line: Number(head[2]), column: (head[3] ?? head[4]!).length + 1 }
}

/** Asks Node about each file. Costs some 30 ms a file, in a process that is about to end. */
const checked = (loaded: ReadonlyArray<string>): Place | undefined => {
  for (const file of loaded.filter((file) => /\.[cm]?js$/.test(file)).slice(-maxChecks).reverse()) {
    const { status, stderr } = ChildProcess.spawnSync(process.execPath, ["--check", file], { encoding: "utf8" })
    const place = status === 0 ? undefined : headOf(stderr)
    if (place !== undefined) return place
  }
  return undefined
}

const frameLine = /^\s+at (?:async )?(?:(.*?) \()?((?:file:\/\/|\/|[A-Za-z]:\\)[^()]*?):(\d+):(\d+)\)?$/

const ownFile = toPath(import.meta.url)

/** The frames of a stack that are in files; those of this program are its own business. */
const framesOf = (stack: string, cwd: string): ReadonlyArray<Frame> =>
  stack.split("\n").flatMap((text) => {
    const match = frameLine.exec(text)
    if (match === null) return []
    const file = match[2]!.startsWith("file:") ? toPath(match[2]!) : match[2]
    if (file === undefined || file === ownFile) return []
    return [{ call: match[1] ?? "", file: shown(file, cwd), line: Number(match[3]), column: Number(match[4]) }]
  })

/** From the current folder where it is below it. */
export const shown = (file: string, cwd: string): string => {
  const relative = path.relative(cwd, file)
  return relative.startsWith("..") || path.isAbsolute(relative) ? file : relative
}

const codeFrame = (place: Place, cwd: string): CodeFrame | undefined => {
  const { file } = place
  let source: string
  try {
    source = fs.readFileSync(file, "utf8")
  } catch {
    return undefined
  }
  const all = source.replace(/\n$/, "").split(/\r?\n/)
  if (place.line < 1 || place.line > all.length + 1) return undefined
  // What is missing at the end of a file is missed in the line after it.
  const isAfterEnd = place.line > all.length
  const line = isAfterEnd ? all.length : place.line
  const column = isAfterEnd ? all.at(-1)!.length + 1 : place.column
  const first = Math.max(1, line - around)
  const lines = all.slice(first - 1, line + around)
    .map((text, index) => ({ number: first + index, text: text.slice(0, maxLineLength) }))
  return { file: shown(file, cwd), line, column, lines }
}
