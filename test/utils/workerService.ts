/** An RpcGroup whose methods run in workers: what callers and workers share. */
import * as Effect from "effect/Effect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import * as Transferable from "effect/workers/Transferable"

export class Refusal extends Schema.TaggedError<Refusal>()("Refusal", { code: Schema.Int, at: Schema.Date }) {}

const Path = Schema.Struct({ path: Schema.String })

export const DeskRpcs = RpcGroup.make(
  Rpc.make("repeat", {
    payload: { text: Schema.String, times: Schema.Int.pipe(Schema.withConstructorDefault(Effect.succeed(2))) },
    success: Schema.String
  }),
  Rpc.make("refuse", { payload: { code: Schema.Int }, error: Refusal }),
  Rpc.make("boom"),
  Rpc.make("throwAtOnce"),
  /** Who serves, and how many times it did. */
  Rpc.make("serve", { success: Schema.Struct({ id: Schema.String, served: Schema.Int }) }),
  Rpc.make("tomorrow", { payload: Schema.Date, success: Schema.Date }),
  Rpc.make("move", { payload: Transferable.Uint8Array, success: Transferable.Uint8Array }),
  Rpc.make("later", { success: Schema.String }),
  /** Appends to the file when it opens, and when it closes, what it holds for the time of a call. */
  Rpc.make("hold", { payload: Path, success: Schema.String }),
  Rpc.make("wait", { payload: Path, success: Schema.String }),
  Rpc.make("cling", { payload: Path }),
  Rpc.make("spin", { payload: Path }),
  Rpc.make("exit", { payload: Schema.Int }),
  /** Counts up, one element a chunk, and appends a byte to the file for each. */
  Rpc.make("count", {
    payload: { to: Schema.Int, path: Schema.String },
    success: Schema.Int,
    error: Refusal,
    stream: true
  }),
  Rpc.make("letters", { payload: Schema.String, success: Schema.String, error: Refusal, stream: true })
)

/** Another group, for the same worker. */
export const SumRpcs = RpcGroup.make(
  Rpc.make("add", { payload: { a: Schema.Finite, b: Schema.Finite }, success: Schema.Finite })
).prefix("sum.")
