/** Whether the program runs on a developer's machine: errors then show their cause to the client. */
import * as Context from "effect/Context"

/**
 * Turns answers to failures into pages with the stack and the request. Never turn it on where strangers can connect:
 * causes, paths of files and header values become public.
 *
 * Default `false`. Provide it with `Layer.succeed(Development, true)`, or `Effect.provideService` around an App.
 */
export const Development = Context.Reference<boolean>("slipway/app/Development", { defaultValue: () => false })
