import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as fs from "node:fs"
import * as RuntimeReport from "../../../layers/internal/RuntimeReport.ts"
import { turn } from "../../utils/sockets.ts"

/** Keeps the event loop from everything else. */
const block = (millis: number): void => {
  const end = performance.now() + millis
  while (performance.now() < end);
}

describe("RuntimeReport", () => {
  it.effect("tells the process's own figures", () =>
    Effect.gen(function*() {
      const before = process.cpuUsage()
      const look = yield* RuntimeReport.make
      const report = yield* look
      assert.isAbove(report.rssBytes, report.heapUsedBytes)
      assert.isAtLeast(report.heapTotalBytes, 1)
      assert.isAtLeast(report.externalBytes, 1)
      assert.isAtLeast(report.cpuUserSeconds, before.user / 1e6)
      assert.isAtLeast(report.cpuSystemSeconds, before.system / 1e6)
      for (const value of Object.values(report)) assert.isTrue(Number.isFinite(value), JSON.stringify(report))
    }))

  it.effect("sees how long the event loop stood still, once", () =>
    Effect.gen(function*() {
      const look = yield* RuntimeReport.make
      const first = yield* look
      assert.strictEqual(first.loopLagMaxMillis, 0)
      // A timer must have been set before it can be late.
      let report = first
      while (report.loopLagMaxMillis < 100) {
        for (let i = 0; i < 20; i++) yield* turn
        block(150)
        yield* turn
        yield* TestClock.adjust("1 second")
        report = yield* look
      }
      assert.isAtMost(report.loopLagMeanMillis, report.loopLagMaxMillis)
      assert.isAtLeast(report.loopLagP99Millis, report.loopLagMeanMillis)
      assert.isAbove(report.loopUtilization, 0)
      assert.isAtMost(report.loopUtilization, 1)
    }))

  it.effect("tells readers who come together the same, and later ones what is new", () =>
    Effect.gen(function*() {
      const look = yield* RuntimeReport.make
      yield* TestClock.adjust("1 second")
      for (let i = 0; i < 20; i++) yield* turn
      const loopOf = ({ loopLagMaxMillis, loopUtilization }: Effect.Success<typeof look>) => [
        loopLagMaxMillis,
        loopUtilization
      ]
      const first = loopOf(yield* look)
      block(60)
      yield* turn
      yield* TestClock.adjust("499 millis")
      assert.deepStrictEqual(loopOf(yield* look), first)
      yield* TestClock.adjust("1 millis")
      assert.notDeepEqual(loopOf(yield* look), first)
    }))

  it.effect("counts garbage collections", () =>
    Effect.gen(function*() {
      const look = yield* RuntimeReport.make
      assert.strictEqual((yield* look).gcCount, 0)
      let report = yield* look
      while (report.gcCount === 0) {
        const litter = Array.from({ length: 100_000 }, (_, i) => ({ i }))
        assert.lengthOf(litter, 100_000)
        yield* turn
        report = yield* look
      }
      assert.isAbove(report.gcSeconds, 0)
    }))

  it.effect.skipIf(!fs.existsSync("/proc/self/fd"))("counts open files", () =>
    Effect.gen(function*() {
      const look = yield* RuntimeReport.make
      const before = (yield* look).openFiles!
      const files = Array.from({ length: 10 }, () => fs.openSync("/dev/null", "r"))
      const during = (yield* look).openFiles!
      for (const file of files) fs.closeSync(file)
      assert.isAtLeast(during, before + 9)
    }))

  it.effect("stops watching with its scope", () =>
    Effect.gen(function*() {
      const look = yield* Effect.scoped(RuntimeReport.make)
      const before = (yield* look).gcCount
      for (let i = 0; i < 5; i++) {
        assert.lengthOf(Array.from({ length: 200_000 }, (_, i) => ({ i })), 200_000)
        yield* turn
      }
      assert.strictEqual((yield* look).gcCount, before)
    }))
})
