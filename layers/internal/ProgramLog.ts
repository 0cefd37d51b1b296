/**
 * The two logs of the command line program, put together from its settings: the application's, on standard error or in a
 * file, and the access log, wherever it goes. Alone, in a supervisor and in each worker they are the same.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as LogLevel from "effect/LogLevel"
import type { AccessLogFormatError } from "../../src/schema/AccessLogFormat.ts"
import * as SyslogTarget from "../../src/schema/SyslogTarget.ts"
import type { AccessLog } from "../../src/service/AccessLog.ts"
import * as AccessLogConsole from "../AccessLogConsole.ts"
import * as AccessLogFile from "../AccessLogFile.ts"
import * as AccessLogSyslog from "../AccessLogSyslog.ts"
import * as LoggerFile from "../LoggerFile.ts"
import * as LogLevels from "./LogLevels.ts"

export interface Options {
  readonly level: LogLevel.LogLevel
  /** Items such as `Supervisor=debug`. */
  readonly levels: ReadonlyArray<string>
  /** Only errors, but for the modules that `levels` names. */
  readonly isQuiet: boolean
  readonly format: "pretty" | "text" | "json"
  /** Whether `pretty` has colors on standard error. Default: on a terminal. */
  readonly hasColors?: boolean
  /** A file, `-` for standard error, `false` for nowhere. */
  readonly to: string | false
  readonly rotation: LoggerFile.Rotation
}

/** The settings of the rotation, of which 0 is off. */
export interface RotationSettings {
  readonly logRotateBytes: number
  readonly logRotateInterval: Duration.Duration
  readonly logRotateKeep: number
}

/** What they mean for a file. */
export const rotationOf = (settings: RotationSettings): LoggerFile.Rotation => ({
  ...(settings.logRotateBytes > 0 ? { maxBytes: settings.logRotateBytes } : {}),
  ...(Duration.isZero(settings.logRotateInterval) ? {} : { interval: settings.logRotateInterval }),
  maxFiles: settings.logRotateKeep
})

const inFile = { pretty: "pretty", text: "logfmt", json: "json" } as const

const onConsole = ({ format, hasColors }: Options): Layer.Layer<never> =>
  Layer.merge(
    Layer.succeed(Logger.LogToStderr, true),
    Logger.layer([
      format === "pretty"
        ? Logger.consolePretty({ colors: hasColors })
        : Logger.withConsoleError(format === "json" ? Logger.formatJson : Logger.formatLogFmt)
    ])
  )

const loggers = (options: Options): Layer.Layer<never, LoggerFile.LoggerFileError> => {
  const { format, rotation, to } = options
  if (to === false) return Logger.layer([])
  if (to === "-") return onConsole(options)
  // What becomes of the file itself is told on standard error.
  return Layer.provide(LoggerFile.layer({ path: to, format: inFile[format], rotation }), onConsole(options))
}

/**
 * Logs as the settings say, and nowhere else.
 *
 * **Fails with** `LoggerFileError` when the file cannot be opened, `LogLevelsError` for an item of `levels` that cannot be
 * meant.
 */
export const layer = (
  options: Options
): Layer.Layer<never, LoggerFile.LoggerFileError | LogLevels.LogLevelsError> =>
  Layer.unwrap(
    Effect.map(
      Effect.fromResult(LogLevels.parse(options.levels)),
      (modules) =>
        Layer.provideMerge(LogLevels.layer(options.isQuiet ? "Error" : options.level, modules), loggers(options))
    )
  )

export interface AccessLogOptions {
  /** A file, `-` for standard output, a syslog target, `false` for nowhere. */
  readonly to: string | false
  readonly format: string
  readonly rotation: AccessLogFile.Rotation
  /** Whether standard output is a terminal, in production: then somebody is told that it costs time. */
  readonly isSlowTerminal: boolean
}

type AccessLogErrors = AccessLogFormatError | AccessLogFile.AccessLogError | AccessLogSyslog.AccessLogSyslogError

const slowTerminal = Layer.effectDiscard(
  LogLevels.inModule("AccessLog")(Effect.logWarning(
    "The access log goes to a terminal, which makes requests wait while it scrolls. Name a file, or none, with --access-log"
  ))
)

/** Logs requests as the settings say. **Fails with** what the log that was chosen fails with. */
export const accessLog = (options: AccessLogOptions): Layer.Layer<AccessLog, AccessLogErrors> | Layer.Layer<never> => {
  const { format, rotation, to } = options
  if (to === false) return Layer.empty
  if (to === "-") {
    const console = AccessLogConsole.layer({ format })
    return options.isSlowTerminal ? Layer.merge(console, slowTerminal) : console
  }
  return SyslogTarget.isMeant(to)
    ? AccessLogSyslog.layer({ to, format })
    : AccessLogFile.layer({ path: to, format, rotation })
}
