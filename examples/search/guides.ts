/**
 * What the program and the workers share: the methods of the service, none of their code. `Guides` is the service as
 * the program sees it; that its methods run in workers is the business of its layer.
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as Schema from "effect/Schema"
import { WorkerService } from "slipway"

export class NotAWord extends Schema.TaggedError<NotAWord>()("NotAWord", {}, { httpApiStatus: 422 }) {}

export const Hit = Schema.Struct({ page: Schema.String, count: Schema.Int })

export const Line = Schema.Struct({ page: Schema.String, number: Schema.Int, text: Schema.String })

export const GuidesRpcs = RpcGroup.make(
  /** Pages with the word, most often first. */
  Rpc.make("find", { payload: Schema.String, success: Schema.Array(Hit), error: NotAWord }),
  /** Lines with the word, page by page. */
  Rpc.make("lines", { payload: Schema.String, success: Line, error: NotAWord, stream: true })
)

export class Guides extends Context.Service<Guides, WorkerService.Client<typeof GuidesRpcs>>()("example/Guides") {
  static readonly layer = Layer.effect(Guides, WorkerService.client(GuidesRpcs))
}
