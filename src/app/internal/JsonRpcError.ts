/**
 * What can go wrong with a JSON-RPC call: the error object of the specification, as it is sent and received, and the
 * failures that leave a call without any answer. Owns the codes; never decides when one applies.
 *
 * **Source** JSON-RPC 2.0 section 5.1.
 */
import * as Data from "effect/Data"

/** Error codes of the specification. -32099 to -32000 are left to servers; -32768 to -32100 are reserved. */
export const codes = {
  /** The text is not JSON. */
  parseError: -32700,
  /** The JSON is not a request. */
  invalidRequest: -32600,
  /** No method has this name. */
  methodNotFound: -32601,
  /** The parameters do not fit the method. `data` lists what and where. */
  invalidParams: -32602,
  /** The method failed in a way that it does not declare. Details are in the server's log. */
  internalError: -32603,
  /** Any error of the application that has no code of its own; also "busy", see `maxInFlight`. */
  serverError: -32000
} as const

/**
 * An error object: what an answer carries instead of a result. Every method may fail with it, without declaring it; a
 * client's call fails with it where the answer is none of the method's declared errors.
 *
 * `data` must be JSON; leave it out where there is nothing to say.
 */
export class RpcError extends Data.TaggedError("RpcError")<{
  readonly code: number
  readonly message: string
  readonly data?: unknown
}> {}

/**
 * Why a call has no answer.
 *
 * - `Disconnected` the connection ended or could not be made before the answer came. Retryable where the method is.
 * - `Unavailable` nobody can be called this way: a plain HTTP client has no ears. Not retryable.
 * - `InvalidAnswer` what came is not an answer to this call, or its result does not fit the Schema. Fault: peer.
 */
export type CallErrorReason = "Disconnected" | "Unavailable" | "InvalidAnswer"

/** A call that has no answer. Match on `reason`. */
export class CallError extends Data.TaggedError("CallError")<{
  readonly reason: CallErrorReason
  readonly method: string
  readonly cause?: unknown
}> {
  override get message(): string {
    switch (this.reason) {
      case "Disconnected":
        return `The connection ended before '${this.method}' was answered`
      case "Unavailable":
        return `'${this.method}' cannot be called over this connection`
      case "InvalidAnswer":
        return `The answer to '${this.method}' is not valid`
    }
  }
}
