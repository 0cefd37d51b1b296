/**
 * A value that takes time to find out and holds for a while: found out once for all who ask at the same time, and never
 * given up because somebody has stopped waiting. Who cannot wait gets the one from before.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"

export interface Latest<out A, out E> {
  /** The value as long as it holds; then what a new run yields, or the one that goes on. A failure holds as well. */
  readonly get: Effect.Effect<A, E>
  /** As `get`, but after `patience` the value from before, unless that is older than `maxAge` or there was none. */
  readonly within: (patience: Duration.Duration, maxAge: Duration.Duration) => Effect.Effect<A, E>
}

/** Makes it of an Effect, which runs in the scope. `holds` counts from the end of a run. */
export const make = Effect.fnUntraced(function*<A, E, R>(
  self: Effect.Effect<A, E, R>,
  holds: Duration.Input
): Effect.fn.Return<Latest<A, E>, never, R | Scope.Scope> {
  const scope = yield* Effect.scope
  const context = yield* Effect.context<R>()
  const holdsMillis = Duration.toMillis(Duration.fromInputUnsafe(holds))
  let last: { readonly exit: Exit.Exit<A, E>; readonly atMillis: number } | undefined
  let good: { readonly value: A; readonly atMillis: number } | undefined
  let running: Fiber.Fiber<A, E> | undefined
  const run = Effect.onExit(
    Effect.provideContext(self, context),
    (exit) =>
      Effect.map(Clock.currentTimeMillis, (atMillis) => {
        running = undefined
        last = { exit, atMillis }
        if (Exit.isSuccess(exit)) good = { value: exit.value, atMillis }
      })
  )
  const get: Effect.Effect<A, E> = Effect.clockWith((clock) => {
    if (last !== undefined && clock.currentTimeMillisUnsafe() < last.atMillis + holdsMillis) return last.exit
    if (running !== undefined) return Fiber.join(running)
    return Effect.flatMap(Effect.forkIn(run, scope, { startImmediately: true }), (fiber) => {
      if (fiber.pollUnsafe() === undefined) running = fiber
      return Fiber.join(fiber)
    })
  })
  return {
    get,
    within: (patience, maxAge) =>
      Effect.flatMap(Effect.timeoutOption(get, patience), (found) => {
        if (Option.isSome(found)) return Effect.succeed(found.value)
        return Effect.flatMap(Clock.currentTimeMillis, (now) =>
          good !== undefined && now - good.atMillis <= Duration.toMillis(maxAge) ? Effect.succeed(good.value) : get)
      })
  }
})
