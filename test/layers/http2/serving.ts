/** Serves an App in memory and opens HTTP/2 connections in raw frames to it. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import * as F from "../../utils/frames.ts"
import { serve } from "../../utils/serve.ts"
import { serveStoppable } from "../../utils/stoppable.ts"

export type Client = F.Client<ServerMemory.Client>
type Values = Parameters<typeof F.settings>[0]

/** An application per path; any other path gets 404. */
export type Routes = Readonly<Record<string, (exchange: App.HttpExchange) => Effect.Effect<void, unknown>>>

export const routes = (table: Routes): App.App<unknown> =>
  App.http((exchange) => table[exchange.scope.path]?.(exchange) ?? App.respond(exchange.send, 404, ""))

/** Serves with one connection open. */
export const opened = Effect.fnUntraced(function*<E, R>(
  app: App.App<E, R>,
  options: ServerMemory.Options = {},
  values: Values = {}
) {
  const { connect, server } = yield* serve(app, options)
  const client: Client = yield* F.open(yield* connect(), values)
  return { client, connect, server }
})

/** As `opened`, with a `stop`. */
export const openedStoppable = Effect.fnUntraced(
  function*<E, R>(app: App.App<E, R>, options: ServerMemory.Options = {}) {
    const { connect, server, stop } = yield* serveStoppable(app, options)
    const client: Client = yield* F.open(yield* connect())
    return { client, connect, server, stop }
  }
)

/** Asks on one stream of a new connection and gives the answer. */
export const answered = <E, R>(
  app: App.App<E, R>,
  frames: ReadonlyArray<Uint8Array>,
  options: ServerMemory.Options = {}
): Effect.Effect<F.Answer, unknown, R | Scope.Scope> =>
  Effect.gen(function*() {
    const { client } = yield* opened(app, options)
    yield* client.ask(...frames)
    return F.answerOn(client.all, 1)
  })

/** Reads the body to its end. */
export const bodyOf = ({ receive }: App.HttpExchange): Effect.Effect<string> =>
  Effect.gen(function*() {
    let body = ""
    for (;;) {
      const event = yield* receive
      if (event.type !== "http.request") return yield* Effect.never
      body += Buffer.from(event.body ?? []).toString("latin1")
      if (event.more !== true) return body
    }
  })

/** Keeps how exchanges end: callbacks in their order, and what became of the application. */
export const watching = () => {
  const ends: Array<string> = []
  const watch = (exchange: App.ClientExchange, name = exchange.scope.path) => {
    exchange.connection.onDisconnect((reason) => ends.push(`${name} ${reason}`))
    exchange.connection.onComplete(() => ends.push(`${name} complete`))
  }
  const app = <E>(handler: (exchange: App.HttpExchange) => Effect.Effect<void, E>): App.App<unknown> =>
    App.http((exchange) => {
      watch(exchange)
      return Effect.onInterrupt(
        handler(exchange),
        () => Effect.sync(() => void ends.push(`${exchange.scope.path} interrupted`))
      )
    })
  return { ends, app, watch }
}

/** Serves the next client, whatever became of the one before. */
export const stillServes = (connect: ServerMemory.Network["Service"]["connect"], path = "/") =>
  Effect.gen(function*() {
    const client = yield* F.open(yield* connect())
    return F.answerOn(yield* client.ask(F.get(1, path)), 1).status
  })
