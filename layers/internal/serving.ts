/**
 * What every kind of server does around its listeners: lifespan, core, sweep and stop, in the order that makes a start
 * safe and an end complete. A layer gives `listen` and gets connections accepted and the service made.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type { App } from "../../src/app/App.ts"
import { resolve, type ServerOptions, type ServerSettings } from "../../src/schema/Settings.ts"
import { type Address, Server, ServerError, type Stats } from "../../src/service/Server.ts"
import * as Lifespan from "./Lifespan.ts"
import { ServerCore } from "./ServerCore.ts"
import { fromSettings } from "./WireSettings.ts"

/** What a layer's listeners give back. */
export interface Listening {
  readonly addresses: ReadonlyArray<Address>
  /** Stops accepting. Connections that are open stay. */
  readonly close: Effect.Effect<void>
}

/** Starts listening; connections go to `core.accept` at once. */
export type Listen = (core: ServerCore, settings: ServerSettings) => Effect.Effect<Listening, ServerError>

const noStats: Stats = {
  connections: 0,
  exchanges: 0,
  totalConnections: 0,
  totalExchanges: 0,
  totalRefused: 0,
  isShuttingDown: false
}

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
  let core: ServerCore | undefined
  let addresses: ReadonlyArray<Address> = []
  let serving = false
  return Server.of({
    addresses: Effect.sync(() => addresses),
    stats: Effect.sync(() => core?.stats ?? noStats),
    serve: Effect.fnUntraced(function*<E, R>(app: App<E, R>) {
      if (serving) return yield* Effect.fail(new ServerError({ reason: { _tag: "AlreadyServing" } }))
      serving = true
      const scope = yield* Effect.scope
      const context = yield* Effect.context<R | Scope.Scope>()
      const wireSettings = fromSettings(settings)
      const provided = app as unknown as App<unknown, never>

      const lifespan = yield* Lifespan.start(provided, wireSettings)
      yield* Scope.addFinalizer(scope, lifespan.shutdown)
      const started = core = new ServerCore({
        settings: wireSettings,
        app: provided,
        context: context as Context.Context<never>,
        fiberId: yield* Effect.fiberId,
        idPrefix: `${(yield* Random.nextIntBetween(0, 0x7fffffff)).toString(36)}-`
      })
      started.state = lifespan.state
      yield* Effect.forkIn(started.sweeping, scope, { startImmediately: true })
      const listening = yield* listen(started, settings)
      addresses = listening.addresses
      yield* Scope.addFinalizer(scope, Effect.andThen(listening.close, started.stop))
    })
  })
})
