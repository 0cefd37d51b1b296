/**
 * Services that live in workers: the methods of an RpcGroup of `effect/rpc`, run in the workers of a WorkerPool and
 * called as typed Effects and Streams. Each method is a task of its own name, so queue, timeouts, crashes and what
 * travels are those of tasks; the handlers are those that RpcServer takes, built once in each worker.
 *
 * Uses the group's Schemas and handlers, not the protocol of `effect/rpc`: one worker's crash or defect would fail the
 * calls of all (docs/worker-services.md).
 */
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import type * as Queue from "effect/Queue"
import * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import { RequestId } from "effect/rpc/RpcMessage"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type RunOptions, WorkerPool, WorkerPoolError } from "../service/WorkerPool.ts"
import * as WorkerTask from "./WorkerTask.ts"

/** What the layer of the worker module has to give: the group's handlers, and what its Schemas need. */
export type Services<Rpcs extends Rpc.Any> = Rpc.ToHandler<Rpcs> | Rpc.ServicesServer<Rpcs>

/**
 * One method as its callers know it. The input is what the payload's Schema takes to make a value, so defaults may be
 * left out; the options are those of `pool.run` and `pool.stream`.
 */
export type Method<R extends Rpc.Any> = (
  input: Rpc.PayloadConstructor<R>,
  options?: RunOptions
) => [Rpc.SuccessSchema<R>] extends [RpcSchema.Stream<infer _A, infer _E>]
  ? Stream.Stream<Rpc.SuccessChunk<R>, Rpc.ErrorExit<R> | WorkerPoolError, Rpc.ServicesClient<R>>
  : Effect.Effect<Rpc.Success<R>, Rpc.Error<R> | WorkerPoolError, Rpc.ServicesClient<R>>

/**
 * The methods of a group, by name: the shape of a service that lives in workers.
 *
 * **Example**
 * ```ts
 * class Search extends Context.Service<Search, WorkerService.Client<typeof SearchRpcs>>()("app/Search") {
 *   static readonly layer = Layer.effect(Search, WorkerService.client(SearchRpcs))
 * }
 * ```
 */
export type Client<Group> = {
  readonly [R in RpcGroup.Rpcs<Group> as R["_tag"]]: Method<R>
}

/**
 * Makes the tasks of a group, for a worker module. They need the group's handlers (`group.toLayer`), which the module's
 * layer gives; other groups and plain tasks may be beside them. Two methods of one name are refused by
 * `WorkerTask.module`: use `group.prefix`.
 *
 * Throws a RangeError for a method with middleware: no request stands behind a call, and what each call needs is the
 * handlers' own business.
 *
 * **Example**
 * ```ts
 * export default WorkerTask.module(WorkerService.tasks(SearchRpcs), {
 *   layer: handlers.pipe(Layer.provide(WordIndex.layer))
 * })
 * ```
 */
export const tasks = <Rpcs extends Rpc.Any>(
  group: RpcGroup.RpcGroup<Rpcs>
): ReadonlyArray<WorkerTask.AnyTask<Services<Rpcs>>> =>
  rpcsOf(group).map((rpc) => {
    const declaration = declare(rpc)
    return declaration.isStream
      ? WorkerTask.implement(declaration, (payload) => stream(rpc, payload))
      : WorkerTask.implement(declaration, (payload) => run(rpc, payload))
  }) as ReadonlyArray<WorkerTask.AnyTask<Services<Rpcs>>>

/** Where the methods of a client run. */
export interface ClientOptions<out Id> {
  /** The pool whose worker module has the group's tasks. Default: `WorkerPool`. */
  readonly pool?: Context.Key<Id, WorkerPool["Service"]>
}

/**
 * Makes the methods of a group from a pool whose worker module has its tasks.
 *
 * Throws a RangeError for a method with middleware, as `tasks` does.
 *
 * **Fails with** nothing. Each call fails with what its Rpc declares, or with a WorkerPoolError: `InputInvalid` also
 * where no payload can be made of the input, `TaskDefect` for defects, whatever the Rpc's defect Schema is.
 */
export const client = <Rpcs extends Rpc.Any, Id = WorkerPool>(
  group: RpcGroup.RpcGroup<Rpcs>,
  options?: ClientOptions<Id>
): Effect.Effect<Client<RpcGroup.RpcGroup<Rpcs>>, never, Id> => {
  const declared = rpcsOf(group).map((rpc) => ({ rpc, declaration: declare(rpc) }))
  // Where no pool is given, Id is WorkerPool.
  const key = (options?.pool ?? WorkerPool) as Context.Key<Id, WorkerPool["Service"]>
  return Effect.map(
    Effect.service(key),
    (pool) =>
      Object.fromEntries(
        declared.map(({ declaration, rpc }) => [rpc._tag, method(pool, rpc, declaration)])
      ) as unknown as Client<RpcGroup.RpcGroup<Rpcs>>
  )
}

const rpcsOf = <Rpcs extends Rpc.Any>(group: RpcGroup.RpcGroup<Rpcs>): ReadonlyArray<Rpc.AnyWithProps> =>
  Array.from(group.requests.values(), (rpc) => rpc as unknown as Rpc.AnyWithProps)

type Declaration =
  | WorkerTask.Declaration<unknown, unknown, unknown>
  | WorkerTask.StreamDeclaration<unknown, unknown, unknown>

const declare = ({ _tag, errorSchema, middlewares, payloadSchema, successSchema }: Rpc.AnyWithProps): Declaration => {
  if (middlewares.size > 0) {
    const names = Array.from(middlewares, ({ key }) => key).join(", ")
    throw new RangeError(`'${_tag}' has middleware (${names}), which a worker does not run: use the group without it`)
  }
  // A group's Schemas may need services. Each side runs them where its types ask for these.
  const codec = (schema: Schema.Top) => schema as unknown as WorkerTask.AnyCodec
  const input = codec(payloadSchema)
  return RpcSchema.isStreamSchema(successSchema)
    ? WorkerTask.declare(_tag, {
      stream: true,
      input,
      success: codec(successSchema.success),
      error: codec(Schema.Union([successSchema.error, errorSchema]))
    })
    : WorkerTask.declare(_tag, { input, success: codec(successSchema), error: codec(errorSchema) })
}

const method = (pool: WorkerPool["Service"], rpc: Rpc.AnyWithProps, declaration: Declaration) => {
  // Anew for each run of the Effect: defaults are values of their moment.
  const made = (input: unknown) =>
    Effect.mapError(
      Effect.suspend(() => rpc.payloadSchema.makeEffect(input)),
      (issue) => {
        const problem = new Schema.SchemaError(issue).message
        return new WorkerPoolError({ task: rpc._tag, reason: { _tag: "InputInvalid", problem } })
      }
    )
  return declaration.isStream
    ? (input: unknown, options?: RunOptions) =>
      Stream.unwrap(Effect.map(made(input), (payload) => pool.stream(declaration, payload, options)))
    : (input: unknown, options?: RunOptions) =>
      Effect.flatMap(made(input), (payload) => pool.run(declaration, payload, options))
}

let lastRequestId = 0

/** Calls the handler that the worker's layer has for the method. `context` is what the handler was built in. */
const handle = (rpc: Rpc.AnyWithProps, payload: unknown) =>
  Effect.contextWith((services: Context.Context<never>) => {
    const handler = services.mapUnsafe.get(rpc.key) as Rpc.Handler<string> | undefined
    if (handler === undefined) return Effect.die(new Error(`The worker's layer has no handler for '${rpc._tag}'`))
    const result = handler.handler(payload, {
      rpc,
      client: new Rpc.ServerClient(0),
      requestId: RequestId(String(++lastRequestId)),
      headers: Headers.empty
    })
    return Effect.succeed({ result, context: handler.context })
  })

const run = (rpc: Rpc.AnyWithProps, payload: unknown): Effect.Effect<unknown, unknown> =>
  Effect.flatMap(handle(rpc, payload), ({ context, result }) => {
    const effect = Rpc.unwrap(result) as Effect.Effect<unknown, unknown>
    // A handler may promise its result and return at once.
    const settled = Effect.flatMap(
      effect,
      (value) => Deferred.isDeferred<unknown, unknown>(value) ? Deferred.await(value) : Effect.succeed(value)
    )
    // The call has a scope of its own: the one in the context is the worker's.
    const scoped = Effect.provideContext(Effect.scoped(settled), context)
    return Rpc.isWrapper(result) && result.uninterruptible ? Effect.uninterruptible(scoped) : scoped
  })

const stream = (rpc: Rpc.AnyWithProps, payload: unknown): Stream.Stream<unknown, unknown> =>
  Stream.unwrap(Effect.map(handle(rpc, payload), ({ context, result }) => {
    const source = Rpc.unwrap(result) as
      | Stream.Stream<unknown, unknown>
      | Effect.Effect<Queue.Dequeue<unknown, unknown>, unknown>
    const elements = Effect.isEffect(source) ? Stream.unwrap(Effect.map(source, Stream.fromQueue)) : source
    return Stream.provideContext(Stream.scoped(elements), context)
  }))
