/**
 * The application that the command line names, with the server and everything around it, as one Layer. Alone or as one of
 * several workers, what serves is put together here.
 *
 * From the inside out: the application; endpoints for probes before it; what development sees of it; names of its routes
 * for the dashboard; operations over the server; the server; health checks; the access log.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Development } from "../../src/app/Development.ts"
import { Drained, Operations } from "../../src/service/Operations.ts"
import * as Server from "../../src/service/Server.ts"
import * as HealthChecks from "../HealthChecks.ts"
import * as ServerNode from "../ServerNode.ts"
import * as Activity from "./Activity.ts"
import * as AppModule from "./AppModule.ts"
import type { Call } from "./Call.ts"
import * as ProgramLog from "./ProgramLog.ts"
import * as ServerEndpoints from "./ServerEndpoints.ts"

type AppLayer = Layer.Layer<never, unknown, Server.Server | AppModule.Provided>

/** Loads the application, without starting it. In development every event of it is checked. */
export const load = Effect.fnUntraced(function*({ app, args, command, mode }: Call) {
  const { eval: code, require } = command
  const loaded = yield* AppModule.load({ app: Option.getOrUndefined(app), args, eval: code, require })
  if (loaded._tag === "Layer") return loaded.layer
  if (mode === "production") return Server.serve(loaded.app)
  const Lint = yield* Effect.promise(() => import("../../src/middleware/Lint.ts"))
  return Server.serve(Lint.make()(loaded.app))
})

const accessLog = ({ collected, command, mode }: Call) =>
  ProgramLog.accessLog({
    to: command.quiet && !collected.isSet("accessLog") ? false : command.accessLog,
    format: command.accessLogFormat,
    rotation: ProgramLog.rotationOf(command),
    isSlowTerminal: mode === "production" && process.stdout.isTTY === true
  })

// Released after the application: by then the server knows what it had to cut.
const exitCodeOfStop: Layer.Layer<never, never, Server.Server> = Layer.effectDiscard(
  Effect.flatMap(Server.Server, (server) =>
    Effect.addFinalizer(() =>
      Effect.map(server.stats, ({ totalCut }) => {
        if (totalCut > 0) process.exitCode = 1
      })
    ))
)

/** Ready, alive and metrics on the server's own addresses, where the settings have paths for them. */
const endpoints = ({ command: { adminToken, livePath, metricsPath, readyPath } }: Call) =>
  Layer.unwrap(Effect.map(Operations, (operations) =>
    ServerEndpoints.layer({
      livePath,
      readyPath,
      token: adminToken,
      ...(metricsPath === undefined ? {} : { metrics: { path: metricsPath, text: operations.metrics } })
    })))

const telemetry = ({ command, mode, settings, version }: Call) => {
  const { otlpUrl: url } = command
  if (url === undefined) return Layer.empty
  return Layer.unwrap(Effect.map(
    Effect.promise(() => import("./Telemetry.ts")),
    (Telemetry) => Telemetry.layer({ url, mode, version, worker: settings.workerNumber, env: process.env })
  ))
}

const server = ({ collected, command }: Call) =>
  command.server === undefined
    ? ServerNode.layer(collected.server)
    : Layer.unwrap(
      Effect.map(AppModule.loadServer(command.server, collected.nameOf("server")), (make) => make(collected.server))
    )

/** What a Layer may use that runs beside the application: it is built once the application serves, and released first. */
export type Companion<E> = Layer.Layer<never, E, Server.Server | Operations>

export interface Surroundings<E> {
  readonly companion: Companion<E>
  /** Operations over the server of this process, or over all. */
  readonly operations: Layer.Layer<Operations, never, Server.Server>
  /** What is there before the application, and longer. Default: nothing. */
  readonly entrances?: Layer.Layer<never, Server.ServerError, Operations>
  /** The server as the application sees it in development. Default: as it is. */
  readonly development?: Layer.Layer<Server.Server, never, Server.Server>
}

const inspecting = Layer.unwrap(
  Effect.map(Effect.promise(() => import("./DevServer.ts")), (DevServer) => DevServer.inspecting)
)

/** The application served as it was called for, and the companion beside it. */
export const layer = <E>(application: AppLayer, call: Call, surroundings: Surroundings<E>) => {
  const { companion, development, entrances = Layer.empty, operations } = surroundings
  const shows = call.command.adminListen !== undefined
  const inspected = call.command.inspect && call.mode === "development"
    ? Layer.provide(application, inspecting)
    : application
  const served = companion.pipe(
    Layer.provide(development === undefined ? inspected : Layer.provide(inspected, development)),
    Layer.provide(exitCodeOfStop),
    Layer.provide(entrances),
    Layer.provide(endpoints(call))
  )
  const around = <A, E2, R>(inside: Layer.Layer<A, E2, R>) =>
    inside.pipe(Layer.provide(operations), Layer.provide(server(call)), Layer.provide(HealthChecks.layer))
  const watched = shows
    ? around(Layer.provide(served, Activity.serverLayer)).pipe(Layer.provide(Activity.layer))
    : around(served)
  return watched.pipe(
    Layer.provide(accessLog(call)),
    Layer.provide(telemetry(call)),
    Layer.provide(Layer.succeed(Development, call.mode === "development")),
    // Also where the application has another copy of this package, whose default is another one.
    Layer.provide(Layer.effect(Drained, Drained))
  )
}
