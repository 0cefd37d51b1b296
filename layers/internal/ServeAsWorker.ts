/**
 * Serves as one of several workers, on the sockets of the supervisor that has started this process, until it says stop.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Server from "../../src/service/Server.ts"
import { boundStop, type Call, operationsOf, stopLimit } from "./Call.ts"
import * as Host from "./Host.ts"
import * as LogFiles from "./LogFiles.ts"
import * as OperationsWorker from "./OperationsWorker.ts"
import * as ServedApp from "./ServedApp.ts"
import * as Supervised from "./Supervised.ts"
import { exitCodes } from "./Supervisor.ts"
import type * as SupervisorMessage from "./SupervisorMessage.ts"

/**
 * A service manager may send to all processes of a unit what is meant for the supervisor. Of themselves these would end a
 * worker, and `SIGUSR1` would open Node's debugger. On Windows all processes of a console are told of Ctrl-C.
 */
const leaveSignals: Effect.Effect<void> = Effect.sync(() => {
  if (process.platform === "win32") {
    for (const signal of ["SIGINT", "SIGBREAK", "SIGHUP"] as const) {
      process.removeAllListeners(signal)
      process.on(signal, () => {})
    }
    return
  }
  for (const signal of ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGTTIN", "SIGTTOU"] as const) process.on(signal, () => {})
})

/** The supervisor comes first: only where it has gone must a worker end itself. */
const supervisorsTurn = Duration.seconds(5)

/** Serves until the supervisor says stop. `explain` logs a failure and says its exit code. **Returns** the exit code. */
export const run = Effect.fnUntraced(function*(
  assignment: SupervisorMessage.Assignment,
  call: Call,
  explain: (cause: Cause.Cause<unknown>) => Effect.Effect<number>
) {
  let isServing = false
  let say = explain
  yield* leaveSignals
  yield* Supervised.beating(assignment)
  const companion = Supervised.serving(call.command).pipe(
    Layer.tap(() => Effect.sync(() => void (isServing = true)))
  )
  const served = Effect.gen(function*() {
    yield* OperationsWorker.hearDrain
    yield* OperationsWorker.sayFarewell
    yield* Host.becomeIdentity(call.host, call.settings)
    const session = call.command.reload ? yield* beginReload : undefined
    if (session !== undefined) say = (cause) => Effect.as(session.failed(cause), exitCodes.cannotStart)
    const application = session?.page === undefined ? yield* ServedApp.load(call) : Server.serve(session.page)
    const surroundings = { companion, operations: OperationsWorker.layer(operationsOf(call)) }
    const development = session === undefined ? {} : { development: session.server }
    return yield* ServedApp.layer(application, call, { ...surroundings, ...development }).pipe(
      Layer.provide(Supervised.sockets(assignment)),
      Layer.provide(Supervised.reopening(LogFiles.reopen)),
      Layer.launch
    )
  })
  const stopped = Effect.andThen(
    Supervised.stopped,
    boundStop(Duration.sum(stopLimit(call.settings), supervisorsTurn))
  )
  const failure = yield* Effect.raceFirst(Effect.scoped(served), stopped).pipe(
    Effect.as(undefined),
    Effect.catchCause((cause) =>
      isServing || Cause.hasInterruptsOnly(cause)
        ? explain(cause)
        : Effect.as(say(cause), exitCodes.cannotStart)
    )
  )
  return failure ?? Number(process.exitCode ?? 0)
})

const beginReload = Effect.flatMap(
  Effect.promise(() => import("./ReloadWorker.ts")),
  (ReloadWorker) => ReloadWorker.begin(Supervised)
)
