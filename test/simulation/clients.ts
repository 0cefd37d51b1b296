/** The steps of a script, done on a connection. */
import type * as Effect from "effect/Effect"
import type * as ServerMemory from "../../layers/ServerMemory.ts"
import type { Step } from "./script.ts"

export const perform = (client: ServerMemory.Client, step: Step): Effect.Effect<void> => {
  switch (step._tag) {
    case "send":
      return client.send(step.bytes)
    case "readError":
      return client.fail("ETIMEDOUT", "read")
    case "writeError":
      return client.fail("EIO", "write")
    default:
      return client[step._tag]
  }
}

/** True for a step after which the client hears nothing any more. */
export const isEnd = ({ _tag }: Step): boolean => _tag !== "send" && _tag !== "pause" && _tag !== "resume"
