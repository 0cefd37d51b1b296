/** A worker module in JavaScript, for the build. */
import * as Schema from "effect/Schema"
import * as WorkerTask from "../../dist/src/app/WorkerTask.js"

export const double = WorkerTask.make("double", { input: Schema.Finite, success: Schema.Finite }, (n) => n * 2)

export default WorkerTask.module([double])
