/**
 * Operations in a worker: it answers its supervisor for itself, and asks it for the whole. So an application sees the same
 * operations in every process, and the metrics at its own port are those of all workers.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Drained, Operations, OperationsError } from "../../src/service/Operations.ts"
import type { Server } from "../../src/service/Server.ts"
import * as OperationsLocal from "../OperationsLocal.ts"
import * as Protocol from "./OperationsProtocol.ts"
import * as ProcessReport from "./ProcessReport.ts"
import * as Supervised from "./Supervised.ts"
import type { AskError } from "./SupervisorAsk.ts"

/** The end does not wait longer for a supervisor that has other things to do. */
const farewellTimeout = Duration.seconds(1)

/**
 * Tells the supervisor what this process has counted, when the scope closes. To be run before the server is made: what it
 * counts while it stops is to be in it.
 */
export const sayFarewell: Effect.Effect<void, never, Scope.Scope> = Effect.gen(function*() {
  const context = yield* Effect.context<never>()
  yield* Effect.addFinalizer(() => {
    const farewell = { pid: process.pid, metrics: ProcessReport.metricsOf(context) }
    return Effect.ignore(Supervised.ask({ farewell } satisfies Protocol.Farewell, farewellTimeout))
  })
})

/** Longer than the supervisor waits for its workers. */
const answerTimeout = Duration.seconds(10)
/** All workers start anew, one after the other. */
const changeTimeout = Duration.hours(1)

/**
 * Hears from the supervisor that this process is drained, until the scope closes. To be run before anything else hears the
 * supervisor: a worker that is started while all are drained is told so in its first moment, and must not serve as ready.
 */
export const hearDrain: Effect.Effect<void, never, Scope.Scope> = Effect.flatMap(
  Drained,
  (drained) =>
    Supervised.answer((what) => {
      const request = Protocol.decodeRequest(what)
      if (request._tag === "None" || request.value.do !== "drain") return undefined
      const { on } = request.value
      return Effect.sync((): Protocol.Reply => {
        drained.isOn = on
        return { done: null }
      })
    })
)

const explain = (error: AskError): OperationsError =>
  new OperationsError({
    reason: {
      _tag: error.reason._tag === "NotAnswered" ? "Failed" : "Unreachable",
      problem: `The supervisor: ${error.message}`
    }
  })

/** The supervisor's operations, asked for over the channel. */
const supervisors = Protocol.client((request) => {
  const isLong = request.do === "reload" || request.do === "scale"
  return Effect.mapError(Supervised.ask(request, isLong ? changeTimeout : answerTimeout), explain)
})

/** Answers for this process, and provides the operations of the whole. */
export const layer = (options: OperationsLocal.Options): Layer.Layer<Operations, never, Server> =>
  Layer.effect(
    Operations,
    Effect.gen(function*() {
      yield* Supervised.answer(Protocol.answer(yield* OperationsLocal.make(options)))
      return supervisors
    })
  )
