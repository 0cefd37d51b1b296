/**
 * AccessLog on standard output or standard error. Owns nothing of the stream but an error listener, so that a reader
 * that has gone (EPIPE) is a failed write and not the end of the process; it never ends the stream. The listener goes
 * with the layer, unless the last write failed or stalls.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { EventEmitter } from "node:events"
import process from "node:process"
import { type AccessLogFormatError, compile } from "../src/schema/AccessLogFormat.ts"
import { AccessLog } from "../src/service/AccessLog.ts"
import * as AccessLogBuffer from "./internal/AccessLogBuffer.ts"

export interface Options extends AccessLogBuffer.Options {
  /** Preset name or format string. Default `combined`. */
  readonly format?: string
  /** Which stream. Default `stdout`. */
  readonly stream?: "stdout" | "stderr"
}

/** The part of a Node stream that is used. */
interface Target extends Pick<EventEmitter, "on" | "off"> {
  write(bytes: Uint8Array, callback: (error?: Error | null) => void): boolean
}

/**
 * Builds the service. What is buffered is written when the scope closes.
 *
 * **Fails with** `AccessLogFormatError` for an unknown atom.
 * **Gotchas** Node writes to a terminal, to a file, and on Linux to a pipe synchronously: a reader of the pipe that
 * stalls halts the process, and no buffer here can help. The `target` argument is for tests.
 */
export const make = Effect.fnUntraced(function*(options: Options = {}, target?: Target) {
  const format = yield* Effect.fromResult(compile(options.format ?? "combined"))
  const name = options.stream ?? "stdout"
  const stream: Target = target ?? process[name]
  // True from a write until its success: while true, an error event may still come, even after the callback
  let unsettled = false
  yield* Effect.acquireRelease(
    Effect.sync(() => stream.on("error", ignoreError)),
    () => Effect.sync(() => unsettled || stream.off("error", ignoreError))
  )
  const write = (bytes: Uint8Array) =>
    Effect.callback<void, AccessLogBuffer.WriteFailure>((resume) => {
      unsettled = true
      stream.write(bytes, (cause) => {
        if (cause) return resume(Effect.fail({ cause, writtenBytes: 0 }))
        unsettled = false
        resume(Effect.void)
      })
    })
  return yield* AccessLogBuffer.make(format, { name, write }, options)
})

/** The failed write reports the same error to its callback. */
const ignoreError = () => {}

/** Logs to the console. See `make`. */
export const layer = (options: Options = {}, target?: Target): Layer.Layer<AccessLog, AccessLogFormatError> =>
  Layer.effect(AccessLog, make(options, target))

/** Logs to the console as the configuration says. */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<AccessLog, AccessLogFormatError | Config.ConfigError> =>
  Layer.effect(AccessLog, Effect.flatMap(Config.unwrap(options), (options) => make(options)))
