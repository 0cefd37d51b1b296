/**
 * Health checks of one process: a list that grows and shrinks with the Layers that register, and at most one run of each
 * check at a time. Logs when a check begins to fail and when it is well again, not each time that somebody asks.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Latest from "../src/app/Latest.ts"
import { type Check, type CheckReport, concerns, Health } from "../src/service/Health.ts"

const defaultTimeout = Duration.seconds(5)
const defaultCache = Duration.seconds(1)
/** How long a report waits for a check whose outcome from before it knows. */
const patience = Duration.seconds(1)

/** A check that is registered. */
interface Registered {
  readonly kind: CheckReport["kind"]
  readonly outcome: Latest.Latest<CheckReport, never>
}

/** Builds the registry; what still runs when the scope closes is interrupted. */
export const make = Effect.gen(function*() {
  const scope = yield* Effect.scope
  const checks = new Set<Registered>()
  return Health.of({
    register: Effect.fnUntraced(function*<E, R>(check: Check<E, R>) {
      const registered = yield* prepare(check, scope)
      yield* Effect.acquireRelease(
        Effect.sync(() => void checks.add(registered)),
        () => Effect.sync(() => void checks.delete(registered))
      )
    }),
    ask: (question) =>
      Effect.suspend(() =>
        Effect.forEach([...checks].filter((check) => concerns(check, question)), ({ outcome }) => outcome.get, together)
      ),
    report: Effect.suspend(() =>
      Effect.forEach([...checks], ({ outcome }) => outcome.within(patience, Duration.infinity), together)
    )
  })
})

const together = { concurrency: "unbounded" } as const

/** Provides `Health` for one process. */
export const layer: Layer.Layer<Health> = Layer.effect(Health, make)

const prepare = Effect.fnUntraced(function*<E, R>(options: Check<E, R>, scope: Scope.Scope) {
  const { cache = defaultCache, critical = true, kind = "ready", name } = options
  const run = yield* runner(options, scope)
  let wasWell = true
  const tell = (report: CheckReport): Effect.Effect<void> => {
    const isWell = report.status === "ok"
    if (isWell === wasWell) return Effect.void
    wasWell = isWell
    return isWell
      ? Effect.logInfo(`Health check ${name} is well again`)
      : Effect.logWarning(`Health check ${name} fails: ${report.problem}`)
  }
  const outcome = Effect.gen(function*() {
    const before = yield* Clock.monotonicTimeNanos
    const result = yield* run
    const durationMillis = Number((yield* Clock.monotonicTimeNanos) - before) / 1e6
    const report: CheckReport = { name, kind, isCritical: critical, durationMillis, ...result }
    yield* tell(report)
    return report
  })
  return { kind, outcome: yield* Effect.provideService(Latest.make(outcome, cache), Scope.Scope, scope) }
})

/**
 * One run with its time limit. It goes on in a fiber of its own: a check that cannot be interrupted holds nobody up, and
 * is not started a second time before it has ended.
 */
const runner = Effect.fnUntraced(function*<E, R>(
  { check, timeout = defaultTimeout }: Check<E, R>,
  scope: Scope.Scope
) {
  const context = yield* Effect.context<R>()
  const effect = Effect.provideContext(check, context)
  const limit = Duration.fromInputUnsafe(timeout)
  const late = { status: "timeout", problem: `no answer after ${Duration.format(limit)}` } as const
  let running: Fiber.Fiber<unknown, E> | undefined
  const start = Effect.suspend(() =>
    running !== undefined && running.pollUnsafe() === undefined
      ? Effect.succeed(running)
      : Effect.tap(Effect.forkIn(effect, scope, { startImmediately: true }), (fiber) =>
        Effect.sync(() => {
          running = fiber
        }))
  )
  return Effect.flatMap(start, (fiber) =>
    Effect.flatMap(
      Effect.timeoutOption(Fiber.await(fiber), limit),
      (ended): Effect.Effect<Pick<CheckReport, "status" | "problem">> =>
        Option.isNone(ended) ? Effect.as(interrupt(fiber), late) : Effect.succeed(inWords(ended.value))
    ))
})

const interrupt = (fiber: Fiber.Fiber<unknown, unknown>): Effect.Effect<void> =>
  Effect.withFiber((asking) => Effect.sync(() => fiber.interruptUnsafe(asking.id)))

const inWords = (exit: Exit.Exit<unknown, unknown>): Pick<CheckReport, "status" | "problem"> => {
  if (Exit.isSuccess(exit)) return { status: "ok" }
  const error = Cause.squash(exit.cause)
  return { status: "failed", problem: error instanceof Error ? error.message : String(error) }
}
