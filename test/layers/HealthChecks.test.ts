import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as HealthChecks from "../../layers/HealthChecks.ts"
import * as Health from "../../src/service/Health.ts"
import { capture } from "../utils/logs.ts"

const now = { startImmediately: true } as const
const names = (report: Health.HealthReport) => report.map(({ name, status }) => `${name} ${status}`)

describe("HealthChecks", () => {
  it.effect("asks what Layers have registered, for as long as they live, with their services [W31]", () =>
    Effect.gen(function*() {
      class Database
        extends Context.Service<Database, { readonly ping: Effect.Effect<void, string> }>()("test/Database")
      {}
      let isThere = true
      const database = Layer.succeed(Database, {
        ping: Effect.suspend(() => isThere ? Effect.void : Effect.fail("gone"))
      })
      const health = yield* HealthChecks.make
      const scope = yield* Scope.make()
      yield* Layer.buildWithScope(
        Layer.mergeAll(
          Health.check({ name: "database", check: Database.use(({ ping }) => ping), cache: 0 }),
          Health.check({ name: "loop", kind: "live", check: Effect.void })
        ).pipe(Layer.provide(database), Layer.provide(Layer.succeed(Health.Health, health))),
        scope
      )
      assert.deepStrictEqual(names(yield* health.ask("ready")), ["database ok"])
      assert.deepStrictEqual(names(yield* health.ask("live")), ["loop ok"])
      isThere = false
      const report = yield* health.report
      assert.deepStrictEqual(names(report), ["database failed", "loop ok"])
      assert.strictEqual(report[0]!.problem, "gone")
      assert.isFalse(Health.isWell(report, "ready"))
      assert.isTrue(Health.isWell(report, "live"))
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* health.report, [])
    }))

  it.effect("runs checks at the same time, and gives up each after its own time", () =>
    Effect.gen(function*() {
      const health = yield* HealthChecks.make
      yield* health.register({ name: "slow", check: Effect.sleep("3 seconds") })
      yield* health.register({ name: "never", check: Effect.never })
      yield* health.register({ name: "quick", check: Effect.never, timeout: "1 second" })
      const asking = yield* Effect.forkChild(health.ask("ready"), now)
      yield* TestClock.adjust("4999 millis")
      assert.strictEqual(asking.pollUnsafe(), undefined)
      yield* TestClock.adjust("1 millis")
      const report = yield* Fiber.join(asking)
      assert.deepStrictEqual(names(report), ["slow ok", "never timeout", "quick timeout"])
      assert.deepStrictEqual(report.map(({ durationMillis }) => durationMillis), [3000, 5000, 1000])
    }))

  it.effect("runs a check once for a burst of probes, and again when its outcome holds no longer", () =>
    Effect.gen(function*() {
      const health = yield* HealthChecks.make
      let runs = 0
      const open = yield* Deferred.make<void>()
      yield* health.register({
        name: "counted",
        check: Effect.andThen(Effect.sync(() => runs++), Deferred.await(open))
      })
      const burst = yield* Effect.forkChild(
        Effect.all(Array.from({ length: 100 }, () => health.ask("ready")), { concurrency: "unbounded" }),
        now
      )
      assert.strictEqual(runs, 1)
      yield* Deferred.succeed(open, undefined)
      assert.strictEqual((yield* Fiber.join(burst)).length, 100)
      yield* TestClock.adjust("999 millis")
      yield* health.ask("ready")
      assert.strictEqual(runs, 1)
      yield* TestClock.adjust("1 millis")
      yield* health.ask("ready")
      assert.strictEqual(runs, 2)
    }))

  it.effect("takes a defect and an interruption of itself for a failure", () =>
    Effect.gen(function*() {
      const health = yield* HealthChecks.make
      yield* health.register({ name: "died", check: Effect.die(new Error("bug")) })
      yield* health.register({ name: "left", check: Effect.interrupt })
      const report = yield* health.ask("ready")
      assert.deepStrictEqual(names(report), ["died failed", "left failed"])
      assert.strictEqual(report[0]!.problem, "bug")
    }))

  it.effect("does not wait for a check that cannot be interrupted, nor start it a second time", () =>
    Effect.gen(function*() {
      const health = yield* HealthChecks.make
      const open = yield* Deferred.make<void>()
      let runs = 0
      const stuck = Effect.uninterruptible(Effect.andThen(Effect.sync(() => runs++), Deferred.await(open)))
      yield* health.register({ name: "stuck", check: stuck, timeout: "1 second", cache: 0 })
      for (let asked = 0; asked < 3; asked++) {
        const asking = yield* Effect.forkChild(health.ask("ready"), now)
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(names(yield* Fiber.join(asking)), ["stuck timeout"])
      }
      assert.strictEqual(runs, 1)
      yield* Deferred.succeed(open, undefined)
      yield* Effect.yieldNow
      yield* health.ask("ready")
      assert.strictEqual(runs, 2)
    }))

  it.effect("reports a check that takes long as it was before, where it has been run", () =>
    Effect.gen(function*() {
      const health = yield* HealthChecks.make
      let check: Effect.Effect<void, string> = Effect.void
      yield* health.register({ name: "database", check: Effect.suspend(() => check) })
      assert.deepStrictEqual(names(yield* health.report), ["database ok"])
      check = Effect.never
      yield* TestClock.adjust("1 second")
      const asking = yield* Effect.forkChild(health.report, now)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(names(yield* Fiber.join(asking)), ["database ok"])
      // The run goes on and fails in its time.
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(names(yield* health.report), ["database timeout"])
    }))

  it.effect("lets a check that is not critical fail without a say", () =>
    Effect.gen(function*() {
      const health = yield* HealthChecks.make
      yield* health.register({ name: "cache", check: Effect.fail("cold"), critical: false, kind: "both" })
      const report = yield* health.report
      assert.deepStrictEqual(names(report), ["cache failed"])
      assert.isTrue(Health.isWell(report, "ready"))
      assert.isTrue(Health.isWell(report, "live"))
    }))

  it.effect("logs what went wrong when it begins and when it is over, and not at each question", () => {
    const { layer, lines } = capture()
    return Effect.gen(function*() {
      const health = yield* HealthChecks.make
      let isThere = false
      yield* health.register({
        name: "database",
        cache: 0,
        check: Effect.suspend(() => isThere ? Effect.void : Effect.fail(new Error("10.0.0.7 refused")))
      })
      for (let asked = 0; asked < 3; asked++) yield* health.ask("ready")
      isThere = true
      for (let asked = 0; asked < 3; asked++) yield* health.ask("ready")
      assert.deepStrictEqual(lines.map(({ level, message }) => `${level} ${message}`), [
        "Warn Health check database fails: 10.0.0.7 refused",
        "Info Health check database is well again"
      ])
    }).pipe(Effect.provide(layer))
  })
})
