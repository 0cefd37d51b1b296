/**
 * AccessLog by syslog: to a server over UDP, or to the daemon of this machine. What comes from clients is escaped by the
 * format, so a line is one message. Never makes the server wait; what a destination does not take is kept within bounds,
 * dropped and counted as in every log.
 */
import * as Config from "effect/Config"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type AccessLogFormatError, compile } from "../src/schema/AccessLogFormat.ts"
import * as SyslogTarget from "../src/schema/SyslogTarget.ts"
import { AccessLog } from "../src/service/AccessLog.ts"
import * as AccessLogBuffer from "./internal/AccessLogBuffer.ts"
import * as SyslogLocal from "./internal/SyslogLocal.ts"
import * as SyslogUdp from "./internal/SyslogUdp.ts"

/** Why the log did not start. Fault: operator. */
export type AccessLogSyslogErrorReason =
  /** `to` names no target. */
  | { readonly _tag: "InvalidTarget"; readonly problem: string }
  /** The server's name is unknown, there is no daemon, or the program `logger` is missing. */
  | { readonly _tag: "Unavailable"; readonly to: string; readonly problem: string }

export class AccessLogSyslogError extends Data.TaggedError("AccessLogSyslogError")<{
  readonly reason: AccessLogSyslogErrorReason
}> {
  override get message(): string {
    const { reason } = this
    return reason._tag === "InvalidTarget"
      ? `Cannot log to ${reason.problem}`
      : `Cannot log to ${reason.to}: ${reason.problem}`
  }
}

export interface Options extends AccessLogBuffer.Options {
  /**
   * `syslog://host`, `syslog://host:port` (default 514) for UDP, `syslog:` for the daemon of this machine; each with
   * `?facility=local3&tag=shop` where that is wanted. Default facility `local0`, tag `slipway`, severity always `info`.
   */
  readonly to: string
  /** Preset name or format string. Default `combined`. */
  readonly format?: string
}

/**
 * Builds the service. What is buffered is sent when the scope closes.
 *
 * **Fails with** `AccessLogSyslogError`, `InvalidTarget` or `Unavailable`, and `AccessLogFormatError` for an unknown atom.
 * **Limits** a message is at most 8 KiB, longer ones are cut.
 * **Gotchas** UDP confirms nothing: while the server is down its messages are lost. The last argument is for tests.
 * **Source** RFC 5424 for the message, RFC 5426 for UDP; the daemon gets what `logger` of util-linux makes.
 */
export const make = Effect.fnUntraced(function*(options: Options, program?: SyslogLocal.Program) {
  const format = yield* Effect.fromResult(compile(options.format ?? "combined"))
  const target = yield* Effect.mapError(
    Effect.fromResult(SyslogTarget.parse(options.to)),
    ({ message }) => new AccessLogSyslogError({ reason: { _tag: "InvalidTarget", problem: message } })
  )
  const { server } = target
  const destination = yield* Effect.mapError(
    server === undefined ? SyslogLocal.make(target, program) : SyslogUdp.make(target, server.host, server.port),
    ({ message }) => new AccessLogSyslogError({ reason: { _tag: "Unavailable", to: options.to, problem: message } })
  )
  return yield* AccessLogBuffer.make(format, destination, options)
})

/** Logs by syslog. See `make`. */
export const layer = (options: Options): Layer.Layer<AccessLog, AccessLogFormatError | AccessLogSyslogError> =>
  Layer.effect(AccessLog, make(options))

/** Logs by syslog as the configuration says. */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<AccessLog, AccessLogFormatError | AccessLogSyslogError | Config.ConfigError> =>
  Layer.effect(AccessLog, Effect.flatMap(Config.unwrap(options), (options) => make(options)))
