/** Asks Node handlers over the in-memory server, and waits for what they do: for events, never for time. */
import * as Effect from "effect/Effect"
import * as NodeHandler from "../../layers/NodeHandler.ts"
import type * as ServerMemory from "../../layers/ServerMemory.ts"
import type * as App from "../../src/app/App.ts"
import * as Lint from "../../src/middleware/Lint.ts"
import { answerIn, request } from "./answers.ts"
import { serve } from "./serve.ts"
import { turn } from "./sockets.ts"

const lint = Lint.make()

/** Serves `app` under Lint and connects to it. `until` gives everything received once it matches. */
export const connected = Effect.fnUntraced(function*(app: App.App<unknown>, options: ServerMemory.Options = {}) {
  const { connect, server } = yield* serve(lint(app), options)
  const client = yield* connect()
  let received = ""
  const until = (pattern: RegExp): Effect.Effect<string> =>
    Effect.flatMap(client.read, (bytes) => {
      received += bytes
      return pattern.test(received) ? Effect.succeed(received) : Effect.andThen(turn, until(pattern))
    })
  return { client, server, until }
})

/** Sends one request and gives every byte that comes until the server closes. */
export const ask = (
  app: App.App<unknown>,
  what: string,
  lines: ReadonlyArray<string> = [],
  body = "",
  options: ServerMemory.Options = {}
) =>
  Effect.gen(function*() {
    const { client } = yield* connected(app, options)
    yield* client.send(request(what, ["connection: close", ...lines]) + body)
    return yield* client.readAll
  })

/** The only answer of an App to one request. */
export const answerOf = (app: App.App<unknown>, what: string, lines: ReadonlyArray<string> = [], body = "") =>
  Effect.map(ask(app, what, lines, body), (bytes) => answerIn(bytes, what.split(" ")[0]))

/** The only answer of a Node handler to one request. */
export const answerTo = (listener: NodeHandler.Listener, what: string, lines?: ReadonlyArray<string>, body?: string) =>
  answerOf(NodeHandler.make(listener), what, lines, body)
