/** A worker module whose layer fails. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as WorkerTask from "../../src/app/WorkerTask.ts"

export const never = WorkerTask.make("never", { input: Schema.Void, success: Schema.Void }, () => {})

export default WorkerTask.module([never], {
  layer: Layer.effectDiscard(Effect.fail(new RangeError("no such database")))
})
