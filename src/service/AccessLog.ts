/**
 * Where finished exchanges are recorded. The server calls `write` once for each exchange and for each request it
 * refused, when it ends. Formats, buffers and destinations are the layers' business.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { AccessLogEntry } from "../schema/AccessLogEntry.ts"

export type { AccessLogEntry }

export class AccessLog extends Context.Service<AccessLog, {
  /** Takes the entry in. Synchronous, never throws. A log that keeps the entry keeps the exchange alive. */
  readonly write: (entry: AccessLogEntry) => void
  /** Completes when everything written so far has reached the destination. */
  readonly flush: Effect.Effect<void>
}>()("slipway/service/AccessLog") {}
