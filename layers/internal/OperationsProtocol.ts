/**
 * The operations as messages: one request, one reply, both plain JSON values. Two roads carry them: the channel between a
 * supervisor and its workers, and lines on the control socket.
 *
 * `perform` turns an Operations into answers, `client` turns a way to ask into an Operations. Neither knows the road.
 * A choice: not effect/rpc, whose server costs 4.3 MB of memory and 86 kB of the bundle for eight requests without streams,
 * and whose line reader knows no largest line.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { ConnectionReport, MetricReport, SettingReport, StatusReport } from "../../src/schema/Report.ts"
import { maxWorkers, Operations, OperationsError, type OperationsErrorReason } from "../../src/service/Operations.ts"

/** What is asked for. */
export const Request = Schema.Union([
  Schema.Struct({ do: Schema.Literals(["status", "metrics", "config", "reload", "reopen", "stop"]) }),
  Schema.Struct({ do: Schema.Literal("connections"), limit: Schema.Int }),
  Schema.Struct({ do: Schema.Literal("scale"), workers: Schema.Int }),
  Schema.Struct({ do: Schema.Literal("drain"), on: Schema.Boolean })
])
export type Request = typeof Request.Type

/** What a worker has counted in all, said to its supervisor when it ends. Nothing that clients may say. */
const Farewell = Schema.Struct({
  farewell: Schema.Struct({ pid: Schema.Int, metrics: Schema.Array(MetricReport) })
})
export type Farewell = typeof Farewell.Type

export const decodeFarewell = Schema.decodeUnknownOption(Farewell)

/** Reads what came in from outside. */
export const decodeRequest = Schema.decodeUnknownOption(Request)

const Done = Schema.Struct({ done: Schema.Unknown })
const Refused = Schema.Struct({
  error: Schema.Struct({ _tag: Schema.Literals(["NotPossible", "Failed", "Unreachable"]), problem: Schema.String })
})

/** What is said to it. */
export const Reply = Schema.Union([Done, Refused])
export type Reply = typeof Reply.Type

/** A reply that says no. */
export const refusal = ({ _tag, problem }: OperationsErrorReason): Reply => ({ error: { _tag, problem } })

const run = (operations: Operations["Service"], request: Request): Effect.Effect<unknown, OperationsError> => {
  switch (request.do) {
    case "connections":
      return operations.connections(request.limit)
    case "scale":
      return operations.scale(request.workers)
    case "drain":
      return operations.drain(request.on)
    default:
      return operations[request.do]
  }
}

/** Does what is asked for. A defect is logged here, and told as a failure without its details. */
export const perform = (operations: Operations["Service"], request: Request): Effect.Effect<Reply> =>
  Effect.suspend(() => run(operations, request)).pipe(
    Effect.match({
      onFailure: ({ reason }) => refusal(reason),
      onSuccess: (value): Reply => ({ done: value ?? null })
    }),
    Effect.catchDefect((defect) =>
      Effect.as(
        Effect.logError(`The operation ${request.do} failed`, defect),
        refusal({ _tag: "Failed", problem: `${request.do} failed unexpectedly; the server's log says why` })
      )
    )
  )

const isReply = Schema.is(Reply)

const misunderstood = new OperationsError({
  reason: { _tag: "Failed", problem: "The answer is not understood: the server may be of another version" }
})

/** What answers on a channel that carries other questions too: `undefined` for those. */
export const answer = (operations: Operations["Service"]) => (what: unknown): Effect.Effect<Reply> | undefined => {
  const request = Option.getOrUndefined(decodeRequest(what))
  return request === undefined ? undefined : perform(operations, request)
}

/** **Fails with** `NotPossible` for what is no number of workers. */
export const checkWorkers = (workers: number): Effect.Effect<void, OperationsError> => {
  if (Number.isInteger(workers) && workers >= 1 && workers <= maxWorkers) return Effect.void
  const problem = `Cannot keep ${workers} workers: the number is from 1 to ${maxWorkers}`
  return Effect.fail(new OperationsError({ reason: { _tag: "NotPossible", problem } }))
}

/** Operations by asking. `ask` fails where nobody answers; what it yields is checked. */
export const client = (
  ask: (request: Request) => Effect.Effect<unknown, OperationsError>
): Operations["Service"] => {
  const call = <S extends Schema.ConstraintDecoder<unknown>>(
    schema: S,
    request: Request
  ): Effect.Effect<S["Type"], OperationsError> => {
    const decode = Schema.decodeUnknownEffect(schema)
    return Effect.flatMap(ask(request), (answer) =>
      isReply(answer)
        ? Predicate.hasProperty(answer, "error")
          ? Effect.fail(new OperationsError({ reason: answer.error }))
          : Effect.mapError(decode(answer.done), () => misunderstood)
        : Effect.fail(misunderstood))
  }
  return Operations.of({
    status: call(StatusReport, { do: "status" }),
    metrics: call(Schema.String, { do: "metrics" }),
    connections: (limit) =>
      call(Schema.Array(ConnectionReport), { do: "connections", limit: Math.floor(Math.min(Math.max(limit, 0), 1e6)) }),
    config: call(Schema.Array(SettingReport), { do: "config" }),
    reload: Effect.asVoid(call(Schema.Unknown, { do: "reload" })),
    scale: (workers) =>
      Effect.andThen(checkWorkers(workers), Effect.asVoid(call(Schema.Unknown, { do: "scale", workers }))),
    drain: (on) => Effect.asVoid(call(Schema.Unknown, { do: "drain", on })),
    reopen: Effect.asVoid(call(Schema.Unknown, { do: "reopen" })),
    stop: Effect.asVoid(call(Schema.Unknown, { do: "stop" }))
  })
}
