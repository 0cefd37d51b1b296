/**
 * An RpcGroup of `effect/rpc` as JSON-RPC methods. Uses the group's Schemas, handlers and middleware as they are; not
 * its serialization, which tells errors and batches in a dialect of its own.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import { RequestId } from "effect/rpc/RpcMessage"
import type * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import * as RpcSchema from "effect/rpc/RpcSchema"
import type * as Schema from "effect/Schema"
import { Call } from "./JsonRpcDispatch.ts"
import * as Method from "./JsonRpcMethod.ts"
import * as PlainExchange from "./PlainExchange.ts"
import { ServerRequest } from "./ServerRequest.ts"

/** What the group's handlers, middleware and Schemas need. */
export type Services<Rpcs extends Rpc.Any> = Rpc.ToHandler<Rpcs> | Rpc.Middleware<Rpcs> | Rpc.ServicesServer<Rpcs>

/** A method of a group for a client's eyes. */
export type FromRpc<R extends Rpc.Any> = R extends Rpc.Any
  ? Method.Method<Rpc.Tag<R>, Rpc.Payload<R>, Rpc.Success<R>, Rpc.Error<R>, Services<R>>
  : never

export const methods = <Rpcs extends Rpc.Any>(group: RpcGroup.RpcGroup<Rpcs>): ReadonlyArray<FromRpc<Rpcs>> =>
  Array.from(group.requests.values(), (rpc) => fromRpc(rpc as unknown as Rpc.AnyWithProps) as unknown as FromRpc<Rpcs>)

const fromRpc = (rpc: Rpc.AnyWithProps): Method.AnyMethod => {
  if (RpcSchema.isStreamSchema(rpc.successSchema)) {
    throw new RangeError(`'${rpc._tag}' yields a stream, which JSON-RPC has no answer for: omit it from the group`)
  }
  // A group's Schemas may need services; they are part of what the group's methods need.
  const codec = (schema: Schema.Top) => schema as unknown as Method.AnyCodec
  const errors = [rpc.errorSchema, ...Array.from(rpc.middlewares, (middleware) => middleware.error)]
  const declaration = Method.declare(rpc._tag, {
    ...(rpc.payloadSchema.ast._tag === "Void" ? {} : { params: codec(rpc.payloadSchema) }),
    success: codec(rpc.successSchema),
    errors: errors.filter(({ ast }) => ast._tag !== "Never").map(codec)
  })
  return Method.implement(declaration, (payload) => run(rpc, payload))
}

type Options = Parameters<RpcMiddleware.RpcMiddleware<unknown, unknown, unknown>>[1]

const run = (rpc: Rpc.AnyWithProps, payload: unknown): Effect.Effect<unknown> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const { exchange, id } = Context.getUnsafe(context, Call)
    const entry = context.mapUnsafe.get(rpc.key) as Rpc.Handler<string> | undefined
    if (entry === undefined) return Effect.die(new Error(`The RpcGroup has no handler for '${rpc._tag}'`))
    const options: Options = {
      rpc,
      payload,
      client: new Rpc.ServerClient(0),
      requestId: RequestId(id ?? ""),
      headers: exchange === undefined ? Headers.empty : new ServerRequest(PlainExchange.make(exchange)).headers
    }
    const handled = entry.handler(payload, options)
    const inner = Rpc.unwrap(handled) as Effect.Effect<unknown>
    // A handler may promise its result and return at once.
    const settled = Effect.flatMap(
      inner,
      (value) =>
        Deferred.isDeferred(value)
          ? Deferred.await(value as unknown as Deferred.Deferred<unknown>)
          : Effect.succeed(value)
    )
    // The call has a scope of its own: the one in the context is that of the handlers' Layer.
    const scoped = Effect.provideContext(Effect.scoped(settled), entry.context)
    let effect = Rpc.isWrapper(handled) && handled.uninterruptible ? Effect.uninterruptible(scoped) : scoped
    for (const key of rpc.middlewares) {
      const wrap = Context.getUnsafe(context, key) as unknown as (
        effect: Effect.Effect<unknown>,
        options: Options
      ) => Effect.Effect<unknown>
      effect = wrap(effect, options)
    }
    return Effect.scoped(effect)
  })
