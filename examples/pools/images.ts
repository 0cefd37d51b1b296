/** What the program and the workers share: the names and the Schemas of the tasks, and none of their code. */
import * as Schema from "effect/Schema"
import { WorkerTask } from "slipway"

export class NotAnImage extends Schema.TaggedError<NotAnImage>()("NotAnImage", {}, { httpApiStatus: 422 }) {}

/** Counts the pixels of a PGM image that are brighter than the threshold. */
export const countBright = WorkerTask.declare("countBright", {
  input: Schema.Struct({ image: Schema.Uint8Array, threshold: Schema.Int }),
  success: Schema.Int,
  error: NotAnImage
})
