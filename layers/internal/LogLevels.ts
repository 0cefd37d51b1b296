/**
 * Levels of the log by module. A module is what the annotation `module` of a message names: the parts of the server annotate
 * theirs (`modules`), Effect's exporters do it too, and an application may. What has none is of the module `Application`.
 * Names are compared without case.
 *
 * Filters the loggers that it finds; a logger that an application installs inside of it is not filtered.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import * as Result from "effect/Result"

/** The server's own modules. */
export type Module =
  | "AccessLog"
  | "Admin"
  | "Control"
  | "Lifespan"
  | "PubSub"
  | "Server"
  | "Supervisor"
  | "Tls"
  | "WorkerPool"

/** Says of which module the messages of an effect are. The innermost counts. */
export const inModule = (module: Module) => Effect.annotateLogs("module", module)

/** The level names of the settings. */
const levels: Readonly<Record<string, LogLevel.LogLevel>> = {
  debug: "Debug",
  info: "Info",
  warn: "Warn",
  error: "Error",
  none: "None"
}

/** A level of one module that cannot be meant. Fault: operator. */
export class LogLevelsError extends Data.TaggedError("LogLevelsError")<{
  /** As it was written. */
  readonly item: string
  readonly reason: { readonly _tag: "InvalidItem" } | { readonly _tag: "UnknownLevel"; readonly level: string }
}> {
  override get message(): string {
    const known = Object.keys(levels).join(", ")
    return this.reason._tag === "InvalidItem"
      ? `logLevels: ${JSON.stringify(this.item)} is not a module and its level, such as Supervisor=debug`
      : `logLevels: ${JSON.stringify(this.item)} has no level that is known. Levels: ${known}`
  }
}

/** Levels by the name of a module in lower case. */
export type LogLevels = ReadonlyMap<string, LogLevel.LogLevel>

/**
 * Reads items such as `Supervisor=debug`; of two for the same module the last one counts.
 *
 * **Fails with** `LogLevelsError`, which names the item.
 */
export const parse = (items: ReadonlyArray<string>): Result.Result<LogLevels, LogLevelsError> => {
  const parsed = new Map<string, LogLevel.LogLevel>()
  for (const item of items) {
    const [, module, level] = /^\s*([^\s=]+)\s*=\s*([^\s=]+)\s*$/.exec(item) ?? []
    if (module === undefined || level === undefined) {
      return Result.fail(new LogLevelsError({ item, reason: { _tag: "InvalidItem" } }))
    }
    const name = level.toLowerCase()
    if (!Object.hasOwn(levels, name)) {
      return Result.fail(new LogLevelsError({ item, reason: { _tag: "UnknownLevel", level } }))
    }
    parsed.set(module.toLowerCase(), levels[name]!)
  }
  return Result.succeed(parsed)
}

const least = (a: LogLevel.LogLevel, b: LogLevel.LogLevel): LogLevel.LogLevel => LogLevel.isLessThan(a, b) ? a : b

/**
 * Logs what is of `level` and above, and of the modules named what is of theirs. Provide it inside of the loggers.
 *
 * A part of the program that sets `References.MinimumLogLevel` for itself still has its way, but for the modules named.
 */
export const layer = (level: LogLevel.LogLevel, modules: LogLevels = new Map()): Layer.Layer<never> => {
  if (modules.size === 0) return Layer.succeed(References.MinimumLogLevel, level)
  const lowest = [...modules.values()].reduce(least, level)
  const passes = ({ fiber, logLevel }: Logger.Options<unknown>): boolean => {
    const { module = "Application" } = fiber.getRef(References.CurrentLogAnnotations)
    const wanted = modules.get(String(module).toLowerCase())
    const asked = fiber.getRef(References.MinimumLogLevel)
    return LogLevel.isGreaterThanOrEqualTo(logLevel, wanted ?? (asked === lowest ? level : asked))
  }
  const filtered = (logger: Logger.Logger<unknown, unknown>) =>
    Logger.make<unknown, unknown>((entry) => passes(entry) ? logger.log(entry) : undefined)
  return Layer.merge(
    Layer.succeed(References.MinimumLogLevel, lowest),
    Layer.effect(
      References.CurrentLoggers,
      Effect.map(References.CurrentLoggers, (loggers) => new Set([...loggers].map(filtered)))
    )
  )
}
