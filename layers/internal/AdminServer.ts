/**
 * The server of the operators' port, beside the one that serves the application: addresses of its own, metrics that do
 * not mix with the application's, and no access log. In one process, or in the supervisor of several.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import * as Admin from "../../src/app/Admin.ts"
import { AccessLog } from "../../src/service/AccessLog.ts"
import type { Operations } from "../../src/service/Operations.ts"
import { formatAddress, type ServerError } from "../../src/service/Server.ts"
import * as ServerNode from "../ServerNode.ts"
import * as LogLevels from "./LogLevels.ts"

export interface Options extends Admin.Options {
  /** Where it listens, and with which certificate. What is left out has the defaults of every server. */
  readonly server: ServerNode.Options
}

/** Dashboards end with the server, and nothing else of it takes time. */
const shutdownTimeout = "1 second"

/** Serves the admin application as long as the Layer lives. **Fails with** `ServerError`: see `ServerNode.layer`. */
export const layer = (options: Options): Layer.Layer<never, ServerError, Operations> =>
  Layer.effectDiscard(
    Effect.gen(function*() {
      const served = serve(options).pipe(
        Effect.updateContext((around: Context.Context<Operations | Scope.Scope>) => apart(around))
      )
      const addresses = (yield* served).map(formatAddress).join(", ")
      yield* LogLevels.inModule("Admin")(
        Effect.logInfo(`Admin endpoints on ${addresses}: /live, /ready, /metrics, /status, /dashboard`)
      )
    })
  )

const serve = Effect.fnUntraced(function*(options: Options) {
  const app = yield* Admin.make(options)
  const server = yield* ServerNode.make({ shutdownTimeout, ...options.server })
  yield* server.serve(app)
  return yield* server.addresses
})

/** The context without what would mix this server with the one that it tells of. It logs what is wrong and no more. */
const apart = <R>(context: Context.Context<R>): Context.Context<R> => {
  const level = Context.get(context, References.MinimumLogLevel)
  return context.pipe(
    Context.omit(AccessLog),
    Context.add(Metric.MetricRegistry, new Map()),
    Context.add(Tracer.Tracer, Context.get(Context.empty(), Tracer.Tracer)),
    Context.add(References.MinimumLogLevel, LogLevel.isLessThan(level, "Warn") ? "Warn" : level)
  ) as Context.Context<R>
}
