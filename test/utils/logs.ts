/** Captures what is logged: a list that fills, and the Layer that fills it instead of printing. */
import * as Cause from "effect/Cause"
import type * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"

export interface Line {
  readonly level: string
  readonly message: string
  readonly cause: string
}

export const capture = (): { readonly lines: Array<Line>; readonly layer: Layer.Layer<never> } => {
  const lines: Array<Line> = []
  const logger = Logger.make(({ cause, logLevel, message }) => {
    const parts = Array.isArray(message) ? message : [message]
    lines.push({ level: logLevel, message: parts.map(String).join(" "), cause: Cause.pretty(cause) })
  })
  return { lines, layer: Logger.layer([logger]) }
}
