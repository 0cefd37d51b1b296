/**
 * What a supervisor and its workers say to each other, and what a worker finds in its environment. Everything is JSON.
 *
 * What arrives is decoded: an application may send messages of its own over the same channel, and those are not ours.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/** Says that this process is a worker. Not a setting: a supervisor writes it for its children. */
export const variable = "SLIPWAY_WORKER"

/** What a worker is told when it is started. */
export const Assignment = Schema.Struct({
  number: Schema.Int,
  /** Descriptors of the sockets, by address. */
  sockets: Schema.Record(Schema.String, Schema.Int),
  /** Ports that the worker binds by itself beside the others, by address. */
  ports: Schema.Record(
    Schema.String,
    Schema.Struct({ host: Schema.String, port: Schema.Int, reusePort: Schema.Boolean })
  ),
  /** How often it has to be heard. 0: never. */
  beatMillis: Schema.Int
})
export type Assignment = typeof Assignment.Type

/** A question, in either direction. The id is the asker's own. */
export const Ask = Schema.Struct({
  type: Schema.Literal("ask"),
  id: Schema.Int,
  what: Schema.optionalKey(Schema.Unknown)
})
export type Ask = typeof Ask.Type

/** The answer to a question, or why there is none. */
export const Told = Schema.Struct({
  type: Schema.Literal("told"),
  id: Schema.Int,
  value: Schema.optionalKey(Schema.Unknown),
  problem: Schema.optionalKey(Schema.String)
})
export type Told = typeof Told.Type

/** To the supervisor. `listening`: what is said from now on is heard, which is not so before. */
export const FromWorker = Schema.Union([
  Schema.Struct({ type: Schema.Literals(["listening", "ready", "beat"]) }),
  Schema.Struct({ type: Schema.Literal("recycle"), reason: Schema.String }),
  Ask,
  Told
])
export type FromWorker = typeof FromWorker.Type

/**
 * To a worker. `stop` and `restart`: finish what is in flight, then end; for good, or because another one takes over.
 * `reopen`: open the log files anew.
 */
export const ToWorker = Schema.Union([
  Schema.Struct({ type: Schema.Literals(["stop", "restart", "reopen"]) }),
  Ask,
  Told
])
export type ToWorker = typeof ToWorker.Type

/** What a worker says; none for what it does not say to us. */
export const decodeFromWorker: (message: unknown) => Option.Option<FromWorker> = Schema.decodeUnknownOption(FromWorker)

/** What the supervisor says. */
export const decodeToWorker: (message: unknown) => Option.Option<ToWorker> = Schema.decodeUnknownOption(ToWorker)

const text = Schema.fromJsonString(Assignment)

export const encode = Schema.encodeSync(text)

/** What the environment says, if it says something that a supervisor has written. */
export const decode = (value: string | undefined): Option.Option<Assignment> =>
  value === undefined ? Option.none() : Schema.decodeUnknownOption(text)(value)
