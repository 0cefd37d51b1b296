/** Serves an App on an in-memory network for the length of a test, and connects to it. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import type { App } from "../../src/app/App.ts"
import type { ServerError } from "../../src/service/Server.ts"

/** Serves `app` until the test's scope closes. */
export const serve = Effect.fnUntraced(function*<E, R>(app: App<E, R>, options: ServerMemory.Options = {}) {
  const { network, server } = yield* ServerMemory.make(options)
  yield* server.serve(app)
  return { server, connect: network.connect }
})

/** Serves `app`, sends `bytes` on one connection, and returns what came back when nothing more can come. */
export const exchange = <E, R>(
  app: App<E, R>,
  bytes: string,
  options: ServerMemory.Options = {}
): Effect.Effect<string, ServerError, R | Scope.Scope> =>
  Effect.gen(function*() {
    const { connect } = yield* serve(app, options)
    const client = yield* connect()
    yield* client.send(bytes)
    return yield* client.read
  })

/** The body of a single answer. */
export const bodyOf = (answer: string): string => answer.slice(answer.indexOf("\r\n\r\n") + 4)

/** The value of a header of a single answer, or `undefined`. */
export const headerOf = (answer: string, name: string): string | undefined =>
  new RegExp(`^${name}: (.*)\r$`, "im").exec(answer.slice(0, answer.indexOf("\r\n\r\n") + 2))?.[1]
