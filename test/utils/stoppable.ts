/** Serves an App on an in-memory network until the test says stop, or until the test's scope closes. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import type { App } from "../../src/app/App.ts"

/** `stop` tells the server to stop and succeeds at once, with the fiber that ends when it has stopped. */
export const serveStoppable = Effect.fnUntraced(function*<E, R>(app: App<E, R>, options: ServerMemory.Options = {}) {
  const { network, server } = yield* ServerMemory.make(options)
  const scope = yield* Scope.make()
  yield* Scope.provide(server.serve(app), scope)
  const stop: Effect.Effect<Fiber.Fiber<void>> = Effect.tap(
    Effect.forkDetach(Scope.close(scope, Exit.void), { startImmediately: true }),
    () => ServerMemory.settle
  )
  return { server, connect: network.connect, stop }
})
