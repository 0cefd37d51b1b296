/**
 * What every kind of server does around its listeners: lifespan, core, sweep and stop, in the order that makes a start
 * safe and an end complete. A layer gives `listen` and gets connections accepted and the service made.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type { App } from "../../src/app/App.ts"
import { resolve, type ServerOptions, type ServerSettings } from "../../src/schema/Settings.ts"
import { type Address, Server, ServerError, type Stats } from "../../src/service/Server.ts"
import * as Lifespan from "./Lifespan.ts"
import { ServerCore } from "./ServerCore.ts"
import { fromSettings, type WireSettings } from "./WireSettings.ts"

/**
 * Starts listening until the scope closes; connections go to `core.accept` at once. When the scope closes no more are
 * accepted; those that are open stay.
 */
export type Listen = (
  core: ServerCore,
  settings: ServerSettings
) => Effect.Effect<ReadonlyArray<Address>, ServerError, Scope.Scope>

const noStats: Stats = {
  connections: 0,
  exchanges: 0,
  totalConnections: 0,
  totalExchanges: 0,
  totalRefused: 0,
  totalCut: 0,
  isReady: false,
  isShuttingDown: false
}

/**
 * The same context in one piece. What Layers have built is a chain, and from its eighth link on effect copies all
 * services for whatever is added: a request with 20 services and a chain of 6 costs 2.4 to 3.0 µs in place of 0.8
 * (constant response through `Handler.make`, in process, Node 20).
 */
export const flat = (context: Context.Context<never>): Context.Context<never> =>
  Context.makeUnsafe(new Map(context.mapUnsafe))

/** Finalizers of the application: they get `disconnectGrace`, and then hold nothing up any more. */
const atMost = ({ disconnectGraceMillis }: WireSettings, finalizers: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.flatMap(
    Effect.forkDetach(finalizers, { startImmediately: true }),
    (fiber) =>
      fiber.pollUnsafe() ??
        Effect.flatMap(Effect.timeoutOption(Fiber.await(fiber), disconnectGraceMillis), (exit) =>
          exit._tag === "Some"
            ? exit.value
            : Effect.logWarning("Finalizers of the application did not end within disconnectGrace; not waited for"))
  )

/** Makes the Server service over a way to listen. **Fails with** `ServerError` for settings that cannot be used. */
export const makeServer = Effect.fnUntraced(function*(
  options: ServerOptions,
  listen: Listen
): Effect.fn.Return<Context.Service.Shape<typeof Server>, ServerError> {
  const resolved = resolve(options)
  if (Result.isFailure(resolved)) {
    return yield* Effect.fail(new ServerError({ reason: { _tag: "SettingsInvalid", error: resolved.failure } }))
  }
  const settings = resolved.success
  const wireSettings = fromSettings(settings)
  if (settings.trustedProxies?.includes("*") === true) {
    yield* Effect.logWarning("trustedProxies has *: who reaches the server past its proxy can pass for anybody")
  }
  let core: ServerCore | undefined
  let addresses: ReadonlyArray<Address> = []
  let serving = false
  let isRestart = false

  /**
   * Finalizers run from the last to the first: readiness, accepting, connections, sweep, lifespan, the application's own
   * scope.
   */
  const start = Effect.fnUntraced(function*(app: App<unknown, never>, scope: Scope.Scope) {
    const finalizers = yield* Scope.make()
    yield* Scope.addFinalizerExit(scope, (exit) => atMost(wireSettings, Scope.close(finalizers, exit)))
    const context = flat(Context.add(yield* Effect.context<never>(), Scope.Scope, finalizers))
    const state = yield* Lifespan.start(app, wireSettings, context, scope)
    const started = new ServerCore({
      settings: wireSettings,
      app,
      context,
      fiberId: yield* Effect.fiberId,
      idPrefix: `${(yield* Random.nextIntBetween(0, 0x7fffffff)).toString(36)}-`
    })
    started.state = state
    core = started
    yield* Effect.forkIn(started.sweeping, scope, { startImmediately: true })
    yield* Scope.addFinalizer(scope, started.stop)
    addresses = yield* Scope.provide(listen(started, settings), scope)
    started.hasListened = started.isReady = true
    yield* Scope.addFinalizer(scope, Effect.sync(() => void (addresses = [])))
    yield* Scope.addFinalizer(scope, Effect.suspend(() => leave(started)))
  })

  /** Who asks for our readiness learns that it goes, before anybody is turned away. At a restart nobody has to learn it. */
  const leave = (started: ServerCore): Effect.Effect<void> => {
    started.isReady = false
    started.drain.isRestart = isRestart
    return isRestart || Duration.isZero(settings.preStopDelay) ? Effect.void : Effect.sleep(settings.preStopDelay)
  }

  return Server.of({
    addresses: Effect.sync(() => addresses),
    stats: Effect.sync(() => core?.stats ?? noStats),
    connections: (limit) => Effect.sync(() => core?.describe(limit) ?? []),
    reload: Effect.void,
    restarting: Effect.sync(() => void (isRestart = true)),
    serve: Effect.fnUntraced(function*<E, R>(app: App<E, R>) {
      if (serving) return yield* Effect.fail(new ServerError({ reason: { _tag: "AlreadyServing" } }))
      serving = true
      const scope = yield* Scope.fork(yield* Effect.scope)
      // A start that fails, or is given up, leaves nothing behind and may be tried again.
      yield* Effect.onError(start(app as unknown as App<unknown, never>, scope), (cause) => {
        serving = false
        return Scope.close(scope, Exit.failCause(cause))
      })
    })
  })
})
