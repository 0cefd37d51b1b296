/**
 * The operators' application: health, metrics, the state of the server as JSON, and a dashboard that shows it live.
 * For a port of its own, or mounted into an application. It shows and never commands: all of it is GET.
 *
 * `/live` and `/ready` are for everybody who can connect. The rest is for who has the token; without a token, for this
 * machine alone.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { StatusReport } from "../schema/Report.ts"
import type { Headers } from "../schema/Scope.ts"
import { Operations, type OperationsError } from "../service/Operations.ts"
import * as AccessToken from "./AccessToken.ts"
import * as Dashboard from "./admin/Dashboard.ts"
import * as Feed from "./admin/Feed.ts"
import * as Wellness from "./admin/Wellness.ts"
import * as App from "./App.ts"
import * as Latest from "./Latest.ts"
import * as Probe from "./Probe.ts"
import type { SendError } from "./SendError.ts"

export interface Options {
  /** Secret for all but `/live` and `/ready`. Default: none, and only this machine may ask. */
  readonly token?: Redacted.Redacted | undefined
}

/** How long an answer about the whole server holds: probes that come in a burst are one look at it. */
const fresh = Duration.seconds(1)
/** Time that the server has to say how it is, before what it said last counts, if that is not too old. */
const patience = Duration.seconds(1)
const tooOld = Duration.seconds(15)
/** After so long a probe is answered without. */
const longest = Duration.seconds(4)

/** Nothing of it belongs into a cache, a frame or another site's page. */
const guarded: Headers = [
  ["cache-control", "no-store"],
  ["x-content-type-options", "nosniff"],
  ["referrer-policy", "no-referrer"],
  ["cross-origin-resource-policy", "same-origin"]
]

type Answer = (exchange: Probe.Asked) => Effect.Effect<void, SendError>

/**
 * Makes the application. Until the scope closes it looks at the server once a second while a dashboard is open.
 *
 * **Throws** a `RangeError` for an empty token.
 */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<App.App<SendError>, never, Operations | Scope.Scope> {
  const operations = yield* Operations
  const status = (yield* Latest.make(operations.status, fresh)).within(patience, tooOld)
  const feed = yield* Feed.make(operations)
  const guard = options.token === undefined ? AccessToken.loopbackOnly : yield* AccessToken.guard(options.token)
  const page = yield* Dashboard.page
  const behind = (answer: Answer): Answer => (exchange) => guard(exchange, answer(exchange))
  const answers = new Map<string, Answer>([
    ["/live", live(status)],
    ["/ready", ready(status)],
    ["/", toDashboard],
    ["/metrics", behind(metrics(operations.metrics))],
    ["/status", behind(withStatus(status, json))],
    ["/dashboard", behind((exchange) => Probe.send(exchange, 200, page.body, [...page.headers, ...guarded]))],
    ["/dashboard/events", behind((exchange) => events(exchange, feed))]
  ])
  return (exchange) => {
    if (exchange.type !== "http" && exchange.type !== "sse") return App.decline(exchange)
    const answer = answers.get(exchange.scope.path)
    return answer === undefined
      ? Probe.text(exchange, 404, "Not Found")
      : Probe.reading(exchange, answer(exchange))
  }
})

type Status = Effect.Effect<StatusReport, OperationsError>

/** None: it cannot be found out now. */
const known = (status: Status): Effect.Effect<Option.Option<StatusReport>> =>
  Effect.catch(Effect.timeoutOption(status, longest), () => Effect.succeedNone)

/** A process that cannot ask its workers lives all the same. */
const live = (status: Status): Answer => (exchange) =>
  Effect.flatMap(known(status), (found) =>
    Option.isNone(found)
      ? Probe.health(exchange, true, [])
      : Probe.health(exchange, Wellness.isAlive(found.value), Wellness.about(found.value, "live")))

const ready = (status: Status): Answer => (exchange) =>
  Effect.flatMap(known(status), (found) =>
    Option.isNone(found)
      ? Probe.health(exchange, false, [])
      : Probe.health(exchange, Wellness.isReady(found.value), Wellness.about(found.value, "ready")))

const withStatus =
  (status: Status, answer: (exchange: Probe.Asked, found: StatusReport) => Effect.Effect<void, SendError>): Answer =>
  (exchange) =>
    Effect.matchEffect(status, {
      onFailure: ({ message }) =>
        Effect.andThen(
          Effect.logWarning(`The state of the server is not known: ${message}`),
          Probe.text(exchange, 503, "Service Unavailable", [["retry-after", "1"]])
        ),
      onSuccess: (found) => Effect.suspend(() => answer(exchange, found))
    })

const metrics = (text: Operations["Service"]["metrics"]): Answer => (exchange) =>
  Effect.matchEffect(text, {
    onFailure: ({ message }) =>
      Effect.andThen(
        Effect.logWarning(`The metrics could not be collected: ${message}`),
        Probe.text(exchange, 503, "Service Unavailable", [["retry-after", "1"]])
      ),
    onSuccess: (body) => Probe.metrics(exchange, body)
  })

const json = (exchange: Probe.Asked, status: StatusReport): Effect.Effect<void, SendError> =>
  Probe.send(exchange, 200, `${JSON.stringify(status)}\n`, [["content-type", "application/json"], ...guarded])

const toDashboard: Answer = (exchange) =>
  Probe.text(exchange, 303, "See dashboard", [["location", `${exchange.scope.rootPath}/dashboard`]])

const events = (exchange: Probe.Asked, feed: Feed.Feed): Effect.Effect<void, SendError> =>
  exchange.type === "sse" && exchange.scope.method === "GET"
    ? Dashboard.stream(exchange, feed, guarded)
    : Probe.text(exchange, 406, "Ask with accept: text/event-stream")
