/**
 * The application's log in a file: a Logger that buffers, that follows logrotate, and that rotates by itself where it is
 * told to. Effect's own `Logger.toFile` only buffers. Never throws into the program, and keeps it waiting no longer than
 * the disk takes a write.
 *
 * What becomes of the file itself (it cannot be written, lines were lost) is told to the loggers around this Layer:
 * the console, unless those were replaced as well.
 */
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import * as path from "node:path"
import * as LogBuffer from "./internal/LogBuffer.ts"
import * as LogFiles from "./internal/LogFiles.ts"
import { problemOf, RotatedFile, type Rotation } from "./internal/RotatedFile.ts"

export type { Rotation }

/** Why a log did not start. Fault: operator. */
export type LoggerFileErrorReason =
  /** The file could not be opened: no such folder, no permission, a folder at its place. */
  | { readonly _tag: "OpenFailed"; readonly path: string; readonly cause: unknown }
  /** A number that cannot be meant. `option` is the name as in `Options`. */
  | { readonly _tag: "InvalidOption"; readonly option: string; readonly problem: string }

export class LoggerFileError extends Data.TaggedError("LoggerFileError")<{ readonly reason: LoggerFileErrorReason }> {
  override get message(): string {
    const { reason } = this
    return reason._tag === "OpenFailed"
      ? `Cannot open the log ${reason.path}: ${String(reason.cause)}`
      : `${reason.option} of a log file ${reason.problem}`
  }
}

export interface Options extends LogBuffer.Options {
  /** The file, absolute or from the current directory at start. Its folder must exist. */
  readonly path: string
  /**
   * How an entry is written: `json` and `logfmt` are Effect's formats, one line an entry whatever it holds. `pretty` is for
   * people: a line, and the cause below it, indented. A Logger of your own is written as it is, with a line end. Default
   * `json`.
   */
  readonly format?: Format
  /** When a new file is begun. Default: never by itself; a rotation by others is followed. */
  readonly rotation?: Rotation
}

export type Format = "json" | "logfmt" | "pretty" | Logger.Logger<unknown, string>

/** What an editor, a terminal or a reader of lines could take for the end of a line or for a command. */
const unprintable = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g

const escape = (text: string): string =>
  text.replace(unprintable, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** One argument of a log call, or the value of an annotation, for people. */
const inWords = (value: unknown): string =>
  escape(typeof value === "string" || value instanceof Error ? String(value) : Inspectable.toStringUnknown(value, 0))

/** Whatever a client has sent cannot begin a line: the first is escaped, the others are indented. */
const pretty = Logger.make<unknown, string>(({ cause, date, fiber, logLevel, message }) => {
  const { module, ...annotations } = fiber.getRef(References.CurrentLogAnnotations)
  const words = [
    date.toISOString(),
    logLevel.toUpperCase().padEnd(5),
    ...module === undefined ? [] : [`[${inWords(module)}]`],
    ...(Array.isArray(message) ? message : [message]).map(inWords),
    ...Object.entries(annotations).map(([key, value]) => `${escape(key)}=${inWords(value)}`)
  ]
  const trace = cause.reasons.length === 0 ? [] : Cause.pretty(cause).split("\n").map((line) => `    ${escape(line)}`)
  return [words.join(" "), ...trace].join("\n")
})

const formats: { readonly [Name in Exclude<Format, object>]: Logger.Logger<unknown, string> } = {
  json: Logger.map(Logger.formatJson, escape),
  logfmt: Logger.map(Logger.formatLogFmt, escape),
  pretty
}

/**
 * Opens the file (append, mode 0640 when created) and builds the Logger, for `Logger.layer` beside others:
 * `Logger.layer([LoggerFile.make({ path: "app.log" }), Logger.consolePretty()])`.
 *
 * An entry of level Error or Fatal is written at once, with all before it; others when the buffer is full or
 * `flushInterval` old. What is buffered is written when the scope closes, then the file is closed.
 *
 * **Fails with** `LoggerFileError`, `OpenFailed` or `InvalidOption`. Later errors (disk full, folder gone) are told once
 * and the entries kept, see `LogBuffer.make`; a rotation that fails goes on in the same file.
 * **Gotchas** several processes may share the file, each write being whole lines in append mode, and rotate it, one at a
 * time. `process.exit` loses what is buffered.
 */
export const make = Effect.fnUntraced(function*(options: Options) {
  const problem = problemOf(options.rotation ?? {})
  if (problem !== undefined) {
    return yield* new LoggerFileError({ reason: { _tag: "InvalidOption", ...problem } })
  }
  const file = new RotatedFile(path.resolve(options.path), options.rotation)
  yield* Effect.acquireRelease(
    Effect.mapError(
      file.open,
      (cause) => new LoggerFileError({ reason: { _tag: "OpenFailed", path: file.path, cause } })
    ),
    () => file.close
  )
  yield* LogFiles.register(`log ${file.path}`, file.open)
  const { format = "json" } = options
  const formatter = typeof format === "string" ? formats[format] : format
  const buffer = yield* LogBuffer.make<Logger.Options<unknown>>(
    (entry, line) => line.utf8(formatter.log(entry)),
    { name: `log ${file.path}`, write: file.write },
    options
  )
  return Logger.make<unknown, void>((entry) => {
    buffer.write(entry)
    if (LogLevel.isGreaterThanOrEqualTo(entry.logLevel, "Error")) buffer.writeOut()
  })
})

/**
 * Logs to the file, and nowhere else. Provide it last, so that it closes after all that logs. See `make`, also for a
 * file and the console.
 */
export const layer = (options: Options): Layer.Layer<never, LoggerFileError> => Logger.layer([make(options)])

/** Logs to the file that the configuration names. */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<never, LoggerFileError | Config.ConfigError> => Layer.unwrap(Effect.map(Config.unwrap(options), layer))
