/**
 * The lifespan exchange: tells an application, once for each worker, that it starts and that it stops. One fiber runs
 * the application for the whole time; the server only asks and waits. See `ServerSettings.lifespan` for the modes.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { App } from "../../src/app/App.ts"
import type { LifespanExchange } from "../../src/app/Exchange.ts"
import { SendError } from "../../src/app/SendError.ts"
import type { LifespanReceive, LifespanSend } from "../../src/schema/Event.ts"
import { contract, type State } from "../../src/schema/Scope.ts"
import { ServerError } from "../../src/service/Server.ts"
import type { WireSettings } from "./WireSettings.ts"

export interface Lifespan {
  /** What the startup left for requests; `undefined` when the application has no lifespan. */
  readonly state: State | undefined
  /** Tells the application to stop and waits for it, at most `shutdownTimeout`. */
  readonly shutdown: Effect.Effect<void>
}

const none: Lifespan = { state: undefined, shutdown: Effect.void }

const startupFailed = (problem: string) => new ServerError({ reason: { _tag: "StartupFailed", problem } })

type Answer = { readonly _tag: "complete" } | { readonly _tag: "failed"; readonly message: string } | {
  readonly _tag: "declined"
  readonly how: string
}

/** Starts the application's lifespan and waits for its answer. **Fails with** `ServerError` when it must not be served. */
export const start = Effect.fnUntraced(function*(
  app: App<unknown, never>,
  settings: WireSettings
): Effect.fn.Return<Lifespan, ServerError> {
  if (settings.lifespan === "off") return none
  const state: State = {}
  const startup = yield* Deferred.make<Answer>()
  const shutdown = yield* Deferred.make<Answer>()
  const stopping = yield* Deferred.make<void>()
  const fiber = yield* Effect.forkDetach(
    Effect.suspend(() => app(makeExchange(state, startup, shutdown, stopping))),
    { startImmediately: true }
  )
  fiber.addObserver((exit) => {
    const how = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "it returned without an answer"
    if (Exit.isFailure(exit) && Deferred.isDoneUnsafe(startup) && !Cause.hasInterruptsOnly(exit.cause)) {
      Effect.runForkWith(fiberContext)(Effect.logError("The application's lifespan failed", exit.cause))
    }
    Deferred.doneUnsafe(startup, Effect.succeed({ _tag: "declined", how }))
    Deferred.doneUnsafe(shutdown, Effect.succeed({ _tag: "declined", how }))
  })
  const fiberContext = yield* Effect.context<never>()

  const limit = settings.lifespanStartupTimeoutMillis
  const answer = yield* limit === 0 ? Deferred.await(startup) : Effect.timeoutOrElse(Deferred.await(startup), {
    duration: limit,
    orElse: () =>
      Effect.andThen(
        Fiber.interrupt(fiber),
        Effect.fail(startupFailed(`it did not answer lifespan.startup within ${limit} ms`))
      )
  })
  switch (answer._tag) {
    case "failed":
      return yield* Effect.andThen(Fiber.interrupt(fiber), Effect.fail(startupFailed(answer.message || "no reason given")))
    case "declined":
      if (settings.lifespan === "on") return yield* Effect.fail(startupFailed(`it has no lifespan: ${answer.how}`))
      yield* Effect.logInfo("The application has no lifespan; serving without")
      yield* Effect.logDebug(`The application declined the lifespan: ${answer.how}`)
      return none
    case "complete":
      return { state, shutdown: stop(fiber, shutdown, stopping, settings) }
  }
})

const stop = (
  fiber: Fiber.Fiber<void, unknown>,
  answered: Deferred.Deferred<Answer>,
  stopping: Deferred.Deferred<void>,
  settings: WireSettings
): Effect.Effect<void> =>
  Deferred.succeed(stopping, undefined).pipe(
    Effect.andThen(Deferred.await(answered)),
    Effect.flatMap((answer) =>
      answer._tag === "failed" ? Effect.logError(`The application failed to stop cleanly: ${answer.message}`) : Effect.void
    ),
    Effect.andThen(Fiber.await(fiber)),
    Effect.timeoutOrElse({
      duration: settings.shutdownTimeoutMillis,
      orElse: () => Effect.logWarning("The application did not finish lifespan.shutdown in time; interrupted")
    }),
    Effect.andThen(Fiber.interrupt(fiber)),
    Effect.asVoid
  )

const makeExchange = (
  state: State,
  startup: Deferred.Deferred<Answer>,
  shutdown: Deferred.Deferred<Answer>,
  stopping: Deferred.Deferred<void>
): LifespanExchange => {
  let asked = 0
  const receive = Effect.suspend((): Effect.Effect<LifespanReceive> => {
    asked++
    if (asked === 1) return Effect.succeed({ type: "lifespan.startup" })
    return Effect.as(Deferred.await(stopping), { type: "lifespan.shutdown" } as const)
  })
  const answer = (event: LifespanSend["type"], to: Deferred.Deferred<Answer>, value: Answer) =>
    Effect.suspend(() =>
      Deferred.doneUnsafe(to, Effect.succeed(value)) ? Effect.void : outOfOrder(event, "it has been answered already")
    )
  return {
    type: "lifespan",
    scope: { type: "lifespan", slipway: contract, state },
    receive,
    send: (event) => {
      switch (event.type) {
        case "lifespan.startup.complete":
          return answer(event.type, startup, { _tag: "complete" })
        case "lifespan.startup.failed":
          return answer(event.type, startup, { _tag: "failed", message: event.message ?? "" })
        case "lifespan.shutdown.complete":
        case "lifespan.shutdown.failed":
          return Deferred.isDoneUnsafe(stopping)
            ? answer(event.type, shutdown, event.type === "lifespan.shutdown.complete"
              ? { _tag: "complete" }
              : { _tag: "failed", message: event.message ?? "" })
            : outOfOrder(event.type, "the server is not stopping")
        default:
          return Effect.fail(
            new SendError({
              protocol: "lifespan",
              reason: { _tag: "UnknownEvent", event: String((event as { readonly type?: unknown }).type) }
            })
          )
      }
    }
  }
}

const outOfOrder = (event: string, state: string): Effect.Effect<never, SendError> =>
  Effect.fail(new SendError({ protocol: "lifespan", reason: { _tag: "EventOutOfOrder", event, state } }))
