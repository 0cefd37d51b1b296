/**
 * The lifespan exchange: tells an application, once for each worker, that it starts and that it stops. One fiber runs
 * the application for the whole time; the server only asks and waits. See `ServerSettings.lifespan` for the modes.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { App } from "../../src/app/App.ts"
import type { LifespanExchange } from "../../src/app/Exchange.ts"
import { SendError } from "../../src/app/SendError.ts"
import type { LifespanReceive, LifespanSend } from "../../src/schema/Event.ts"
import { contract, type State } from "../../src/schema/Scope.ts"
import { ServerError } from "../../src/service/Server.ts"
import { inModule } from "./LogLevels.ts"
import type { WireSettings } from "./WireSettings.ts"

const startupFailed = (problem: string) => new ServerError({ reason: { _tag: "StartupFailed", problem } })

type Answer =
  | { readonly _tag: "complete" }
  | { readonly _tag: "failed"; readonly message: string }
  | { readonly _tag: "declined"; readonly how: string }

/** What the server and the application have said to each other. */
interface Talk {
  readonly startup: Deferred.Deferred<Answer>
  readonly stopping: Deferred.Deferred<void>
  readonly shutdown: Deferred.Deferred<Answer>
  /** Done when the application has ended, or waits for an event that will never come. */
  readonly finished: Deferred.Deferred<void>
  /** True from the moment the application has said that it is ready. */
  started: boolean
}

/**
 * Starts the application's lifespan and waits for its answer; when `scope` closes, tells it to stop and waits at most
 * `shutdownTimeout`. Yields what the startup left for requests, `undefined` when the application has no lifespan.
 *
 * **Fails with** `ServerError` when the application must not be served.
 */
export const start = Effect.fnUntraced(function*(
  app: App<unknown, never>,
  settings: WireSettings,
  context: Context.Context<never>,
  scope: Scope.Scope
): Effect.fn.Return<State | undefined, ServerError> {
  if (settings.lifespan === "off") return undefined
  const state: State = {}
  const talk = yield* Effect.uninterruptible(Effect.suspend(() => {
    const { fiber, talk } = begin(app, state, settings.workerNumber, context)
    return Effect.as(Scope.addFinalizer(scope, Effect.provideContext(stop(talk, fiber, settings), context)), talk)
  }))
  const limit = settings.lifespanStartupTimeoutMillis
  const answer = yield* limit === 0 ?
    Deferred.await(talk.startup) :
    Effect.timeoutOrElse(Deferred.await(talk.startup), {
      duration: limit,
      orElse: () => Effect.fail(startupFailed(`it did not answer lifespan.startup within ${limit} ms`))
    })
  switch (answer._tag) {
    case "failed":
      return yield* Effect.fail(startupFailed(answer.message || "no reason given"))
    case "declined":
      if (settings.lifespan === "on") return yield* Effect.fail(startupFailed(`it has no lifespan: ${answer.how}`))
      yield* inModule("Lifespan")(Effect.logInfo("The application has no lifespan; serving without"))
      yield* inModule("Lifespan")(Effect.logDebug(`The application declined the lifespan: ${answer.how}`))
      return undefined
    case "complete":
      return state
  }
})

const begin = (
  app: App<unknown, never>,
  state: State,
  workerNumber: number | undefined,
  context: Context.Context<never>
) => {
  const talk: Talk = {
    startup: Deferred.makeUnsafe(),
    stopping: Deferred.makeUnsafe(),
    shutdown: Deferred.makeUnsafe(),
    finished: Deferred.makeUnsafe(),
    started: false
  }
  const runFork = Effect.runForkWith(context)
  const fiber = runFork(Effect.suspend(() => app(makeExchange(state, workerNumber, talk))))
  fiber.addObserver((exit) => {
    const how = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "it returned without an answer"
    if (Exit.isFailure(exit) && Deferred.isDoneUnsafe(talk.startup) && !Cause.hasInterruptsOnly(exit.cause)) {
      runFork(inModule("Lifespan")(Effect.logError("The application's lifespan failed", exit.cause)))
    }
    Deferred.doneUnsafe(talk.startup, Effect.succeed({ _tag: "declined", how }))
    Deferred.doneUnsafe(talk.shutdown, Effect.succeed({ _tag: "declined", how }))
    Deferred.doneUnsafe(talk.finished, Effect.void)
  })
  return { fiber, talk }
}

const stop = (talk: Talk, fiber: Fiber.Fiber<void, unknown>, settings: WireSettings): Effect.Effect<void> =>
  Effect.suspend(() => talk.started ? askToStop(talk, settings) : Effect.void).pipe(
    Effect.andThen(Effect.sync(() => fiber.interruptUnsafe())),
    // What cannot be interrupted is not waited for any longer.
    Effect.andThen(Effect.timeoutOption(Fiber.await(fiber), settings.disconnectGraceMillis)),
    Effect.asVoid
  )

const askToStop = (talk: Talk, settings: WireSettings): Effect.Effect<unknown> =>
  Deferred.succeed(talk.stopping, undefined).pipe(
    Effect.andThen(Deferred.await(talk.shutdown)),
    Effect.timeoutOption(settings.shutdownTimeoutMillis),
    Effect.flatMap((answer) => {
      if (answer._tag === "None") {
        return Effect.logWarning("The application did not finish lifespan.shutdown in time; interrupted")
      }
      return Effect.andThen(
        answer.value._tag === "failed"
          ? Effect.logError(`The application failed to stop cleanly: ${answer.value.message || "no reason given"}`)
          : Effect.void,
        // The answer may be followed by a little more.
        Effect.timeoutOption(Deferred.await(talk.finished), settings.disconnectGraceMillis)
      )
    }),
    inModule("Lifespan")
  )

const makeExchange = (state: State, workerNumber: number | undefined, talk: Talk): LifespanExchange => {
  const { finished, shutdown, startup, stopping } = talk
  let told: "nothing" | "startup" | "shutdown" = "nothing"
  const receive = Effect.suspend((): Effect.Effect<LifespanReceive> => {
    switch (told) {
      case "nothing":
        told = "startup"
        return Effect.succeed({ type: "lifespan.startup" })
      case "startup":
        return Effect.map(Deferred.await(stopping), () => {
          told = "shutdown"
          return { type: "lifespan.shutdown" }
        })
      case "shutdown":
        if (Deferred.isDoneUnsafe(shutdown)) Deferred.doneUnsafe(finished, Effect.void)
        return Effect.never
    }
  })
  const answer = (event: LifespanSend["type"], to: Deferred.Deferred<Answer>, value: Answer) =>
    Deferred.doneUnsafe(to, Effect.succeed(value)) ? Effect.void : outOfOrder(event, "it has been answered already")
  const handle = (event: LifespanSend): Effect.Effect<void, SendError> => {
    switch (event.type) {
      case "lifespan.startup.complete":
        if (!Deferred.isDoneUnsafe(startup)) talk.started = true
        return answer(event.type, startup, { _tag: "complete" })
      case "lifespan.startup.failed":
        return answer(event.type, startup, { _tag: "failed", message: event.message ?? "" })
      case "lifespan.shutdown.complete":
      case "lifespan.shutdown.failed":
        if (!Deferred.isDoneUnsafe(stopping)) return outOfOrder(event.type, "the server is not stopping")
        return event.type === "lifespan.shutdown.complete"
          ? answer(event.type, shutdown, { _tag: "complete" })
          : answer(event.type, shutdown, { _tag: "failed", message: event.message ?? "" })
      default:
        return Effect.fail(
          new SendError({
            protocol: "lifespan",
            reason: { _tag: "UnknownEvent", event: String((event as { readonly type?: unknown } | undefined)?.type) }
          })
        )
    }
  }
  return {
    type: "lifespan",
    scope: {
      type: "lifespan",
      slipway: contract,
      isWorker: workerNumber !== undefined,
      workerNumber: workerNumber ?? null,
      state
    },
    receive,
    send: (event) => Effect.suspend(() => handle(event))
  }
}

const outOfOrder = (event: string, state: string): Effect.Effect<never, SendError> =>
  Effect.fail(new SendError({ protocol: "lifespan", reason: { _tag: "EventOutOfOrder", event, state } }))
