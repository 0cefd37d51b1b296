import { assert, describe, it } from "@effect/vitest"
import * as Wellness from "../../../src/app/admin/Wellness.ts"
import type { CheckReport, StatusReport, WorkerReport } from "../../../src/schema/Report.ts"
import { busy } from "../../utils/statuses.ts"

const check = (changes: Partial<CheckReport> = {}): CheckReport => ({
  name: "database",
  kind: "ready",
  isCritical: true,
  status: "ok",
  durationMillis: 1,
  ...changes
})

/** A server whose workers have these health reports; `undefined`: one that does not answer. */
const server = (...healths: ReadonlyArray<ReadonlyArray<CheckReport> | undefined>): StatusReport => {
  const [worker] = busy(1).workers
  return busy(1, {
    workers: healths.map((health, index): WorkerReport => {
      const { report, ...rest } = worker!
      return { ...rest, number: index + 1, ...(health === undefined ? {} : { report: { ...report!, health } }) }
    })
  })
}

const failing = check({ status: "failed", problem: "gone" })

describe("Wellness", () => {
  it("is ready while half of the workers serve and are well [W31]", () => {
    assert.isTrue(Wellness.isReady(server([check()], [check()])))
    assert.isTrue(Wellness.isReady(server([check()], [failing])))
    assert.isFalse(Wellness.isReady(server([check()], [failing], [failing])))
    assert.isFalse(Wellness.isReady(server([failing])))
    assert.isTrue(Wellness.isReady(server([check({ ...failing, isCritical: false })])))
  })

  it("counts a worker that starts, waits or is dead as one that is missing, and not one that is stopping", () => {
    const [one] = server([]).workers
    const withStates = (...states: ReadonlyArray<WorkerReport["state"]>) =>
      Wellness.isReady(busy(1, { workers: states.map((state) => ({ ...one!, state })) }))
    assert.isTrue(withStates("serving", "starting"))
    assert.isFalse(withStates("serving", "starting", "dead"))
    assert.isTrue(withStates("serving", "stopping", "stopping"))
    assert.isFalse(withStates("starting"))
    assert.isFalse(withStates())
  })

  it("counts a worker that does not answer as one that is missing", () => {
    assert.isTrue(Wellness.isReady(server([check()], undefined)))
    assert.isFalse(Wellness.isReady(server([check()], undefined, undefined)))
  })

  it("is not ready when it is told not to be, or stops, whatever its workers say", () => {
    const { workers } = server([check()])
    assert.isFalse(Wellness.isReady(busy(1, { workers, isReady: false })))
    assert.isFalse(Wellness.isReady(busy(1, { workers, isDrained: true })))
    assert.isFalse(Wellness.isReady(busy(1, { workers, isShuttingDown: true })))
  })

  it("lives until no worker is well that can say so", () => {
    const stuck = check({ kind: "live", status: "timeout" })
    assert.isTrue(Wellness.isAlive(server()))
    assert.isTrue(Wellness.isAlive(server(undefined)))
    assert.isTrue(Wellness.isAlive(server([failing])))
    assert.isTrue(Wellness.isAlive(server([stuck], [check({ kind: "live" })])))
    assert.isFalse(Wellness.isAlive(server([stuck], undefined)))
  })

  it("puts the checks of all workers together, the worst of each first told", () => {
    const checks = Wellness.checksOf(server([check()], [{ ...failing, durationMillis: 9 }], undefined, [failing]))
    assert.deepStrictEqual(checks, [{ ...failing, durationMillis: 9, failing: 2, workers: 3 }])
    assert.deepStrictEqual(Wellness.about(server([check(), check({ name: "x", kind: "live" })]), "live").length, 1)
  })
})
