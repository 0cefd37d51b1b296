/** A task that is cheap to load, so callers and workers share one file: its default export is the worker module. */
import * as Schema from "effect/Schema"
import { WorkerTask } from "slipway"

const fibonacci = (n: number): number => n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2)

export const fib = WorkerTask.make(
  "fib",
  { input: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 45 })), success: Schema.Int },
  fibonacci
)

export default WorkerTask.module([fib])
