/**
 * Answers to load balancers, orchestrators and collectors: is it alive, should requests come, how many were there. Used
 * by the middleware on the server's own addresses and by the admin application, so both say the same.
 *
 * An answer names checks and whether they are well, and never says what went wrong.
 */
import type * as Effect from "effect/Effect"
import type { HealthReport } from "../schema/Report.ts"
import type { Headers } from "../schema/Scope.ts"
import { concerns, type Question } from "../service/Health.ts"
import { respond } from "./App.ts"
import type { HttpExchange, SseExchange } from "./Exchange.ts"
import * as PlainExchange from "./internal/PlainExchange.ts"
import type { SendError } from "./SendError.ts"

/** A request: also one that names `text/event-stream`, and is declined as a stream by a whole answer. */
export type Asked = HttpExchange | SseExchange

type Answered = Effect.Effect<void, SendError>

const noStore = ["cache-control", "no-store"] as const

const plain: Headers = [["content-type", "text/plain; charset=utf-8"], noStore]

/** Answers in one go, whichever way the request has come. */
export const send = (exchange: Asked, status: number, body: string, headers: Headers): Answered =>
  respond(PlainExchange.make(exchange).send, status, body, headers)

/** Answers with a line of text that no cache keeps. */
export const text = (exchange: Asked, status: number, body: string, headers: Headers = []): Answered =>
  send(exchange, status, `${body}\n`, [...plain, ...headers])

/** Answers GET and HEAD with `answer`, all else with 405. */
export const reading = <E, R>(
  exchange: Asked,
  answer: Effect.Effect<void, E, R>
): Effect.Effect<void, E | SendError, R> => {
  const { method } = exchange.scope
  return method === "GET" || method === "HEAD"
    ? answer
    : text(exchange, 405, "Method Not Allowed", [["allow", "GET, HEAD"]])
}

/** Seconds after which who was told 503 may ask again. */
const retryAfter = ["retry-after", "5"] as const

/** Answers whether all is well: 200, or 503. `checks` are those that were asked. */
export const health = (exchange: Asked, isWell: boolean, checks: ReadonlyArray<Outcome>): Answered => {
  const body = {
    status: isWell ? "ok" : "unavailable",
    checks: checks.map(({ name, status }) => ({ name, status: status === "ok" ? "ok" : "failed" }))
  }
  const headers: Headers = [["content-type", "application/json"], noStore, ...(isWell ? [] : [retryAfter])]
  return send(exchange, isWell ? 200 : 503, `${JSON.stringify(body)}\n`, headers)
}

/** A check and how it is. */
export interface Outcome {
  readonly name: string
  readonly status: HealthReport[number]["status"]
}

/** The checks that have a say in a question. */
export const about = (report: HealthReport, question: Question): HealthReport =>
  report.filter((check) => concerns(check, question))

/** Answers with metrics in the text format of Prometheus. */
export const metrics = (exchange: Asked, body: string): Answered =>
  send(exchange, 200, body, [["content-type", "text/plain; version=0.0.4; charset=utf-8"], noStore])
