/**
 * Endpoints of operations on the server's own addresses: whether it lives, whether requests should come, its metrics.
 * They are answered before the application sees them; everything else passes untouched. They count and are logged as
 * every request is.
 *
 * A port of its own for them, with more to see, is app/Admin.ts.
 */
import * as Effect from "effect/Effect"
import type { Guard } from "../app/AccessToken.ts"
import type * as App from "../app/App.ts"
import * as Probe from "../app/Probe.ts"
import type { SendError } from "../app/SendError.ts"
import { Health, isWell, type Question } from "../service/Health.ts"
import { Drained } from "../service/Operations.ts"
import { Server } from "../service/Server.ts"

/** Paths are those below `rootPath`, and match as they are: no pattern, no slash more or less. */
export interface Options {
  /** Path that says whether the process lives: 200, or 503 while a critical live check fails. Default: none. */
  readonly livePath?: string | undefined
  /**
   * Path that says whether requests should come: 200, or 503 while the server stops, an operator has drained it, or a
   * critical ready check fails. Default: none.
   */
  readonly readyPath?: string | undefined
  /** Default: none. */
  readonly metrics?: {
    readonly path: string
    /** The metrics as Prometheus reads them, made anew for each request. What it fails with is answered with 503. */
    readonly text: Effect.Effect<string, unknown>
    /** Who may see them. Default: everybody who can ask. */
    readonly guard?: Guard | undefined
  } | undefined
}

type Answer = (exchange: Probe.Asked) => Effect.Effect<void, SendError, Health | Server>

/**
 * Makes the middleware. GET and HEAD are answered, other methods with 405; a WebSocket passes.
 *
 * **Cost** one lookup of the path for each request; nothing at all where no path is set.
 *
 * **Example**
 * ```ts
 * Server.serve(Endpoints.make({ livePath: "/live", readyPath: "/ready" })(app)).pipe(
 *   Layer.provide(HealthChecks.layer),
 *   Layer.provide(ServerNode.layer({ port: 5000 }))
 * )
 * ```
 */
export const make = (options: Options): App.Middleware<SendError, Health | Server> => {
  const answers = answersOf(options)
  return (app) => {
    if (answers.size === 0) return app
    return (exchange) => {
      if (exchange.type === "lifespan") return app(exchange)
      const answer = answers.get(exchange.scope.path)
      return answer === undefined || exchange.type === "websocket" ? app(exchange) : answer(exchange)
    }
  }
}

const answersOf = ({ livePath, metrics, readyPath }: Options): ReadonlyMap<string, Answer> => {
  const answers = new Map<string, Answer>()
  const add = (path: string, answer: Answer) =>
    answers.set(path, (exchange) => Probe.reading(exchange, answer(exchange)))
  if (livePath !== undefined) add(livePath, (exchange) => health(exchange, "live", Effect.succeed(true)))
  if (readyPath !== undefined) add(readyPath, (exchange) => health(exchange, "ready", serves))
  if (metrics !== undefined) {
    const { guard = open, path, text } = metrics
    add(path, (exchange) =>
      guard(
        exchange,
        Effect.matchCauseEffect(text, {
          onFailure: (cause) =>
            Effect.andThen(
              Effect.logWarning("The metrics could not be collected", cause),
              Probe.text(exchange, 503, "Service Unavailable")
            ),
          onSuccess: (body) => Probe.metrics(exchange, body)
        })
      ))
  }
  return answers
}

const open: Guard = (_, served) => served

/** Said by the server itself, and not denied by an operator. */
const serves: Effect.Effect<boolean, never, Server> = Effect.gen(function*() {
  const { isReady } = yield* (yield* Server).stats
  return isReady && !(yield* Drained).isOn
})

const health = (
  exchange: Probe.Asked,
  question: Question,
  isServing: Effect.Effect<boolean, never, Server>
): Effect.Effect<void, SendError, Health | Server> =>
  Effect.gen(function*() {
    const report = yield* (yield* Health).ask(question)
    return yield* Probe.health(exchange, (yield* isServing) && isWell(report, question), report)
  })
