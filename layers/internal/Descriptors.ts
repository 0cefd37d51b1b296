/**
 * What happens when the process has no file descriptors left. The runtime then accepts and closes new connections by
 * itself, without a word to us, so that nothing spins: all that is left to do is to notice, to tell the operator, and to
 * give up connections that nobody is using, which makes room for those who come.
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import type { ServerCore } from "./ServerCore.ts"

/** How often to look. One look costs 3 µs on Node 20. */
const lookMillis = 1000

const isExhausted = (): boolean => {
  try {
    Fs.closeSync(Fs.openSync(Os.devNull, "r"))
    return false
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === "EMFILE" || code === "ENFILE"
  }
}

/** Looks once a second for ever: says once that descriptors have run out, and once that there are some again. */
export const watchDescriptors = (core: ServerCore): Effect.Effect<never> => {
  let exhausted = false
  const look = Effect.suspend(() => {
    if (core.connections.size === 0 && !exhausted) return Effect.void
    const before = exhausted
    exhausted = isExhausted()
    const closed = exhausted ? core.closeIdle() : 0
    if (exhausted === before) return Effect.void
    return exhausted
      ? Effect.logWarning(
        `Out of file descriptors: new connections are lost. Closed ${closed} idle ones. Raise the limit (ulimit -n), ` +
          `or lower maxConnections, now ${core.settings.maxConnections}`
      )
      : Effect.logInfo("There are file descriptors again: new connections are served")
  })
  return Effect.forever(Effect.andThen(Effect.sleep(lookMillis), look))
}
