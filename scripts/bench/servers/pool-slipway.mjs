/** WorkerPoolThreads, awaited by fibers as the others are by promises. */
import * as Effect from "effect/Effect"
import * as WorkerPoolThreads from "slipway/layers/WorkerPoolThreads"
import { expect, servePool, task, workers } from "./pool.mjs"

const program = Effect.gen(function*() {
  const pool = yield* WorkerPoolThreads.make({
    module: new URL("./pool.mjs", import.meta.url),
    minWorkers: workers,
    maxWorkers: workers
  })
  const loop = (/** @type {() => number | undefined} */ next) =>
    Effect.suspend(() => {
      let input = next()
      return Effect.whileLoop({
        while: () => input !== undefined,
        body: () => pool.run(task, input ?? 0),
        step: (answer) => {
          expect(answer, input ?? 0)
          input = next()
        }
      })
    })
  servePool(
    (n) => Effect.runPromise(pool.run(task, n)),
    (inFlight, next) =>
      Effect.runPromise(
        Effect.all(Array.from({ length: inFlight }, () => loop(next)), { concurrency: "unbounded", discard: true })
      )
  )
  return yield* Effect.never
})

Effect.runFork(Effect.scoped(program))
