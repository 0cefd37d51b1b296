/**
 * Why an event was not emitted, or a listener not registered. What goes wrong in a listener is never here: the emitter
 * learns nothing of listeners.
 */
import * as Data from "effect/Data"
import type { PubSubError } from "../../service/PubSub.ts"

/** The payload does not fit its Schema. Nothing was sent. Fault: application. */
export interface PayloadInvalid {
  readonly _tag: "PayloadInvalid"
  /** Where it does not fit and never what was found there. */
  readonly problem: string
}

/** PubSub did not take the event, or the subscription. Fault and retry: as `cause.reason` says. */
export interface PubSubFailed {
  readonly _tag: "PubSubFailed"
  readonly cause: PubSubError
}

export type EventsErrorReason = PayloadInvalid | PubSubFailed

/** The typed failure of `emit`, `on` and `stream`. Match on `error.reason._tag`. */
export class EventsError extends Data.TaggedError("EventsError")<{
  /** The event's name. */
  readonly event: string
  readonly reason: EventsErrorReason
}> {
  override get message(): string {
    const { event, reason } = this
    return `Event '${event}': ${reason._tag === "PayloadInvalid" ? reason.problem : reason.cause.message}`
  }
}
