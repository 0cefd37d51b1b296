/**
 * Hooks around an application's life: what to run before it serves and after it has served. Wrappers nest: startups run
 * from the outermost to the innermost, shutdowns the other way, and one that fails keeps no other from running.
 *
 * Applications with services need none of this: a Layer in `R` is startup and shutdown with types.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { LifespanReceive, LifespanSend } from "../schema/Event.ts"
import type { State } from "../schema/Scope.ts"
import * as App from "./App.ts"
import type { SendError } from "./SendError.ts"

export interface Hooks<E1 = never, R1 = never, E2 = never, R2 = never> {
  /** Runs before the application starts. What it writes into `state` is in the scope of every exchange. */
  readonly startup?: (state: State) => Effect.Effect<unknown, E1, R1>
  /** Runs after the last connection has closed and the application inside has stopped. */
  readonly shutdown?: (state: State) => Effect.Effect<unknown, E2, R2>
}

/**
 * Wraps an App with a startup and a shutdown hook. Exchanges other than the lifespan pass through untouched, and the
 * App inside may have a lifespan of its own or none.
 *
 * **Fails with** nothing of the hooks: a startup that fails becomes `lifespan.startup.failed` with its message, after
 * which the wrappers outside shut down what they had started and the server does not serve. Messages of shutdowns that
 * fail are joined by `; ` in one `lifespan.shutdown.failed`.
 * **Limits** `lifespanStartupTimeout` for all startups together, `shutdownTimeout` for all shutdowns.
 *
 * **Example**
 * ```ts
 * const app = Lifespan.hooks({
 *   startup: (state) => Effect.map(openDatabase, (database) => void (state.database = database)),
 *   shutdown: (state) => closeDatabase(state.database)
 * })(routes)
 * ```
 */
export const hooks = <E1 = never, R1 = never, E2 = never, R2 = never>(
  hooks: Hooks<E1, R1, E2, R2>
): <E, R>(app: App.App<E, R>) => App.App<E | SendError, R | R1 | R2> =>
(app) =>
(exchange) => exchange.type === "lifespan" ? run(hooks, app, exchange) : app(exchange)

/** Where the lifespan of the App inside stands; only its own answers and the end of the server move it. */
type Phase = "starting" | "started" | "stopping" | "over"

const run = Effect.fnUntraced(function*<E1, R1, E2, R2, E, R>(
  { shutdown, startup }: Hooks<E1, R1, E2, R2>,
  app: App.App<E, R>,
  outer: App.LifespanExchange
): Effect.fn.Return<void, SendError, R | R1 | R2> {
  const state = outer.scope.state ?? {}
  const first = yield* outer.receive
  const failure = yield* attempt(startup, state)
  if (failure !== undefined) return yield* outer.send({ type: "lifespan.startup.failed", message: failure })

  let phase = "starting" as Phase
  let delivered = false
  const receive = Effect.suspend((): Effect.Effect<LifespanReceive> => {
    if (!delivered) {
      delivered = true
      return Effect.succeed(first)
    }
    return Effect.tap(outer.receive, () => Effect.sync(() => void (phase = "stopping")))
  })
  // The hooks' services are in the context of the whole run: an App's `send` asks for none.
  const context = yield* Effect.context<R2>()
  /** Runs our shutdown after the one inside, then tells outside how both went. */
  const finish = (answer: "lifespan.startup" | "lifespan.shutdown", inner: string | undefined) =>
    Effect.suspend(() => {
      phase = "over"
      return Effect.flatMap(attempt(shutdown, state), (own) =>
        inner === undefined && own === undefined
          ? outer.send({ type: "lifespan.shutdown.complete" })
          : outer.send({ type: `${answer}.failed`, message: [inner, own].filter((text) => text).join("; ") }))
    }).pipe(Effect.provideContext(context))
  const handle = (event: LifespanSend): Effect.Effect<void, SendError> => {
    if (event.type === "lifespan.startup.complete" && phase === "starting") {
      phase = "started"
    } else if (event.type === "lifespan.startup.failed" && phase === "starting") {
      return finish("lifespan.startup", event.message ?? "")
    } else if (event.type === "lifespan.shutdown.complete" && phase === "stopping") {
      return finish("lifespan.shutdown", undefined)
    } else if (event.type === "lifespan.shutdown.failed" && phase === "stopping") {
      return finish("lifespan.shutdown", event.message ?? "")
    }
    return outer.send(event)
  }
  const send = (event: LifespanSend) => Effect.suspend(() => handle(event))

  const exit = yield* Effect.exit(app(App.derive(outer, { receive, send })))
  const problem = Exit.isFailure(exit) ? exit.cause : undefined
  if (problem !== undefined && (phase === "started" || phase === "over")) {
    yield* Effect.logError("The application's lifespan failed", problem)
  }
  // The App inside has no lifespan, or has left early: ours goes on without it.
  if (phase === "starting") {
    yield* outer.send({ type: "lifespan.startup.complete" })
    phase = "started"
  }
  if (phase === "started") {
    yield* outer.receive
    yield* finish("lifespan.shutdown", undefined)
  } else if (phase === "stopping") {
    yield* finish("lifespan.shutdown", problem === undefined ? undefined : messageOf(problem))
  }
})

/** Runs a hook; its message when it failed. */
const attempt = <E, R>(
  hook: ((state: State) => Effect.Effect<unknown, E, R>) | undefined,
  state: State
): Effect.Effect<string | undefined, never, R> =>
  hook === undefined ? Effect.succeed(undefined) : Effect.matchCauseEffect(Effect.suspend(() => hook(state)), {
    onFailure: (cause) => Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.succeed(messageOf(cause)),
    onSuccess: () => Effect.succeed(undefined)
  })

const messageOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause)
  return error instanceof Error && error.message !== "" ? error.message : String(error)
}
