/**
 * What one process was asked for and what went wrong in it: counts by route and the latest errors, for the dashboard
 * and for `slipway ctl`. Sees every exchange where the access log does, once, when it has ended.
 *
 * Memory is bounded: names, errors, and the length of what they hold. In place only where something shows it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { App } from "../../src/app/App.ts"
import * as RouteName from "../../src/app/RouteName.ts"
import { isOfServer } from "../../src/schema/DisconnectReason.ts"
import type { ActivityReport, ErrorReport } from "../../src/schema/Report.ts"
import { AccessLog, type AccessLogEntry } from "../../src/service/AccessLog.ts"
import { Server } from "../../src/service/Server.ts"

export class Activity extends Context.Service<Activity, {
  readonly report: Effect.Effect<ActivityReport>
  /** Has routers say under which name an exchange is counted. */
  readonly naming: <E, R>(app: App<E, R>) => App<E, R>
}>()("slipway/layers/internal/Activity") {}

/** Names with a line of their own. */
const mostRoutes = 200
/** Of these, paths that no router has named. */
const mostPaths = 100
const mostErrors = 50
/** Characters of a path that are kept. */
const mostPath = 200

/**
 * Provides `Activity`, and an `AccessLog` that tells it of every entry before it writes to the one around it, if there is
 * one. Put `serverLayer` around the server too.
 */
export const layer: Layer.Layer<Activity | AccessLog> = Layer.effectContext(
  Effect.map(Effect.serviceOption(AccessLog), (around) => {
    const counts = new Counts()
    const log = Option.getOrUndefined(around)
    return Context.make(Activity, {
      report: Effect.sync(() => counts.report),
      naming: (app) => (exchange) => {
        if (exchange.type !== "lifespan") RouteName.attach(exchange.scope)
        return app(exchange)
      }
    }).pipe(Context.add(AccessLog, {
      write: (entry) => {
        counts.note(entry)
        log?.write(entry)
      },
      flush: log?.flush ?? Effect.void
    }))
  })
)

/** The server, with names of routes noted for whatever it serves. */
export const serverLayer: Layer.Layer<Server, never, Server | Activity> = Layer.effect(
  Server,
  Effect.gen(function*() {
    const server = yield* Server
    const { naming } = yield* Activity
    return Server.of({ ...server, serve: (app) => server.serve(naming(app)) })
  })
)

interface Count {
  count: number
  errors: number
  totalMillis: number
  maxMillis: number
}

type Scope = NonNullable<AccessLogEntry["scope"]>

class Counts {
  private readonly routes = new Map<string, Count>()
  /** The newest at the end. */
  private readonly errors: Array<ErrorReport> = []
  private paths = 0

  get report(): ActivityReport {
    return {
      routes: Array.from(this.routes, ([route, count]) => ({ route, ...count })),
      errors: this.errors.toReversed()
    }
  }

  note(entry: AccessLogEntry): void {
    // What could not be read as a request was no fault of ours, and was for no route.
    if (entry.scope === undefined) return
    const isError = isOurs(entry)
    const count = this.countOf(this.nameOf(entry.scope, entry.status))
    count.count++
    count.totalMillis += entry.durationMillis
    if (entry.durationMillis > count.maxMillis) count.maxMillis = entry.durationMillis
    if (!isError) return
    count.errors++
    if (this.errors.push(errorOf(entry, entry.scope)) > mostErrors) this.errors.shift()
  }

  private countOf(name: string): Count {
    let count = this.routes.get(name)
    if (count === undefined) {
      count = { count: 0, errors: 0, totalMillis: 0, maxMillis: 0 }
      this.routes.set(name, count)
    }
    return count
  }

  /** A path of its own for what no router has named, as long as there is room and it is there at all. */
  private nameOf(scope: Scope, status: number): string {
    const found = RouteName.noteIn(scope)?.name
    if (found !== undefined && (this.routes.has(found) || this.routes.size < mostRoutes)) return found
    const method = methodOf(scope)
    const name = `${method} ${shorten(scope.rootPath + scope.path)}`
    if (found === undefined && this.routes.has(name)) return name
    const isMissing = status === 404 || status === 405
    if (found !== undefined || isMissing || this.paths >= mostPaths || this.routes.size >= mostRoutes) {
      return `${method} other`
    }
    this.paths++
    return name
  }
}

/** Methods are the client's to invent. */
const knownMethods = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])

const methodOf = (scope: Scope): string =>
  scope.type !== "http" ? scope.type : knownMethods.has(scope.method) ? scope.method : "OTHER"

const shorten = (path: string): string => path.length > mostPath ? `${path.slice(0, mostPath)}…` : path

/** A fault of the server or its application; what the client broke off is none. */
const isOurs = ({ problem, status }: AccessLogEntry): boolean =>
  status >= 500 || (problem !== undefined && problem !== "server_shutdown" && isOfServer(problem as "server_error"))

const errorOf = (entry: AccessLogEntry, scope: Scope): ErrorReport => ({
  atMillis: entry.startedAtMillis + entry.durationMillis,
  method: methodOf(scope),
  path: shorten(scope.rootPath + scope.path),
  status: entry.status,
  requestId: entry.requestId,
  ...(entry.problem === undefined ? {} : { problem: entry.problem })
})
