/** What a supervisor and its workers say to each other, and what a worker finds in its environment. */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/** Says that this process is a worker. Not a setting: a supervisor writes it for its children. */
export const variable = "SLIPWAY_WORKER"

/** What a worker is told when it is started. */
export const Assignment = Schema.Struct({
  number: Schema.Int,
  /** Descriptors of the sockets, by address. */
  sockets: Schema.Record(Schema.String, Schema.Int),
  /** How often it has to be heard. 0: never. */
  beatMillis: Schema.Int
})
export type Assignment = typeof Assignment.Type

/** To the supervisor. */
export type FromWorker =
  | { readonly type: "ready" }
  | { readonly type: "beat" }
  | { readonly type: "recycle"; readonly reason: string }

/** To a worker: finish what is in flight, then end. */
export interface ToWorker {
  readonly type: "stop" | "restart"
}

const text = Schema.fromJsonString(Assignment)

export const encode = Schema.encodeSync(text)

/** What the environment says, if it says something that a supervisor has written. */
export const decode = (value: string | undefined): Option.Option<Assignment> =>
  value === undefined ? Option.none() : Schema.decodeUnknownOption(text)(value)
