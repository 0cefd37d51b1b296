/**
 * AccessLog over a buffer and a destination: what all access logs that end up as bytes have in common. The buffer and
 * its limits are LogBuffer's.
 */
import * as Effect from "effect/Effect"
import type { Formatter } from "../../src/schema/AccessLogFormat.ts"
import { AccessLog } from "../../src/service/AccessLog.ts"
import * as LogBuffer from "./LogBuffer.ts"
import { inModule } from "./LogLevels.ts"

export { maxHeldEntries, type Options, type WriteFailure } from "./LogBuffer.ts"

/** Builds the service over a destination whose name is a path, or `stdout`. See `LogBuffer.make`. */
export const make = (format: Formatter, destination: LogBuffer.Destination, options: LogBuffer.BufferOptions = {}) =>
  LogBuffer.make(format, { ...destination, name: `access log ${destination.name}` }, { entriesStay: true, ...options })
    .pipe(
      Effect.map(({ flush, write }) => AccessLog.of({ write, flush })),
      inModule("AccessLog")
    )
