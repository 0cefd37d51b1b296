/**
 * Why a `send` failed: the application broke the protocol's order or sent something that must not reach the wire.
 * Nothing of the refused event was written. A peer that has gone is never a SendError: `send` to it does nothing.
 */
import * as Data from "effect/Data"

/** The event's `type` is not one the protocol knows. Fault: application. */
export interface UnknownEvent {
  readonly _tag: "UnknownEvent"
  readonly event: string
}

/** The event is known but not allowed now: a body before the start, a second start, anything after the end. Fault: application. */
export interface EventOutOfOrder {
  readonly _tag: "EventOutOfOrder"
  readonly event: string
  readonly state: string
}

/** A field is missing or has a value that the protocol cannot carry. Fault: application. */
export interface InvalidField {
  readonly _tag: "InvalidField"
  readonly event: string
  readonly field: string
  readonly problem: string
}

/** A header name or value holds bytes that would break the message (RFC 9110 section 5). Fault: application. */
export interface InvalidHeader {
  readonly _tag: "InvalidHeader"
  readonly event: string
  readonly name: string
  readonly problem: string
}

/** The body is longer than the declared `content-length`; the surplus was not written. Fault: application. */
export interface BodyTooLong {
  readonly _tag: "BodyTooLong"
  readonly declaredBytes: number
  readonly sentBytes: number
}

/** The body ended before its declared `content-length`. The answer cannot be completed any more. Fault: application. */
export interface BodyTooShort {
  readonly _tag: "BodyTooShort"
  readonly declaredBytes: number
  readonly sentBytes: number
}

/** The file or stream of a body could not be opened or read. Fault: application or operator. */
export interface BodySourceFailed {
  readonly _tag: "BodySourceFailed"
  readonly source: string
  readonly cause: unknown
}

/** The event belongs to an extension that this server does not advertise in `scope.extensions`. Fault: application. */
export interface ExtensionUnavailable {
  readonly _tag: "ExtensionUnavailable"
  readonly event: string
  readonly extension: string
}

/** Every reason why a `send` can fail. None is retryable: the same event fails again. */
export type SendErrorReason =
  | UnknownEvent
  | EventOutOfOrder
  | InvalidField
  | InvalidHeader
  | BodyTooLong
  | BodyTooShort
  | BodySourceFailed
  | ExtensionUnavailable

/** The typed failure of `send`. Match on `error.reason._tag`. */
export class SendError extends Data.TaggedError("SendError")<{
  readonly protocol: "http" | "websocket" | "sse" | "lifespan"
  readonly reason: SendErrorReason
}> {
  override get message(): string {
    return describe(this.protocol, this.reason)
  }
}

const describe = (protocol: string, reason: SendErrorReason): string => {
  switch (reason._tag) {
    case "UnknownEvent":
      return `Unrecognized event type '${reason.event}' for the ${protocol} protocol`
    case "EventOutOfOrder":
      return `'${reason.event}' is not allowed on ${protocol} while ${reason.state}`
    case "InvalidField":
      return `'${reason.event}' has an invalid ${reason.field}: ${reason.problem}`
    case "InvalidHeader":
      return `'${reason.event}' has an invalid header ${JSON.stringify(reason.name)}: ${reason.problem}`
    case "BodyTooLong":
      return `The body is longer than its content-length: ${reason.sentBytes} of ${reason.declaredBytes} bytes`
    case "BodyTooShort":
      return `The body ends before its content-length: ${reason.sentBytes} of ${reason.declaredBytes} bytes`
    case "BodySourceFailed":
      return `The body source ${reason.source} could not be read: ${String(reason.cause)}`
    case "ExtensionUnavailable":
      return `'${reason.event}' needs the extension '${reason.extension}', which this server does not offer`
  }
}
