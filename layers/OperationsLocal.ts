/**
 * Operations of one process: the server in it, and nothing else. Scaling is not possible here; a reload reads the TLS files
 * anew. A worker answers its supervisor with this; a program that embeds a server has it for its own control.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { SettingReport, StatusReport, WorkerReport } from "../src/schema/Report.ts"
import { Drained, Operations, OperationsError } from "../src/service/Operations.ts"
import { formatAddress, Server } from "../src/service/Server.ts"
import * as OperationsMetrics from "./internal/OperationsMetrics.ts"
import * as ProcessReport from "./internal/ProcessReport.ts"

export interface Options {
  /** Of the program. */
  readonly version: string
  /** What is served, as it was called. */
  readonly application: string
  readonly mode: "development" | "production"
  /** Every setting with its source, secrets redacted. Default: none. */
  readonly config?: Effect.Effect<ReadonlyArray<SettingReport>>
  /** Opens log files anew. Default: there are none, and it is not possible. */
  readonly reopen?: Effect.Effect<void>
  /** Begins to stop, and does not wait for the end. Default: what this process does at SIGTERM. */
  readonly stop?: Effect.Effect<void>
}

/** What SIGTERM does, also where the operating system knows no signals. */
const terminate: Effect.Effect<void> = Effect.sync(() => void process.emit("SIGTERM", "SIGTERM"))

const notPossible = (problem: string) => Effect.fail(new OperationsError({ reason: { _tag: "NotPossible", problem } }))

/** Builds the service; watches the runtime until the scope closes. Writes the `Drained` of the context. */
export const make = Effect.fnUntraced(function*(options: Options) {
  const { application, mode, version } = options
  const server = yield* Server
  const drained = yield* Drained
  const report = yield* ProcessReport.make
  const startedAtMillis = yield* Clock.currentTimeMillis

  const status = Effect.gen(function*() {
    const now = yield* report
    const addresses = (yield* server.addresses).map(formatAddress)
    const { isReady, isShuttingDown } = now.server
    // Between readiness and the end of listening it waits for load balancers to notice.
    const state = isReady ? "serving" : addresses.length === 0 && !isShuttingDown ? "starting" : "stopping"
    const worker: WorkerReport = {
      number: 0,
      pid: now.pid,
      state,
      sinceMillis: startedAtMillis,
      crashes: 0,
      report: now
    }
    const whole: StatusReport = {
      version,
      pid: now.pid,
      application,
      mode,
      addresses,
      startedAtMillis,
      nowMillis: yield* Clock.currentTimeMillis,
      isReady: isReady && !drained.isOn,
      isShuttingDown: state === "stopping",
      isDrained: drained.isOn,
      restarts: 0,
      workers: [worker]
    }
    return whole
  })

  return Operations.of({
    status,
    metrics: OperationsMetrics.make(status).text,
    connections: (limit) =>
      Effect.map(
        server.connections(limit),
        (connections) => connections.map((facts) => ({ worker: 0, ...facts }))
      ),
    config: options.config ?? Effect.succeed([]),
    reload: Effect.mapError(
      server.reload,
      ({ message }) => new OperationsError({ reason: { _tag: "Failed", problem: message } })
    ),
    scale: () => notPossible("There are no workers here: start with --workers 2 or more to scale"),
    drain: (on) => Effect.sync(() => void (drained.isOn = on)),
    reopen: options.reopen ?? notPossible("There are no log files here that could be opened anew"),
    stop: options.stop ?? terminate
  })
})

/** Provides the operations of the server in this process. See `make`. */
export const layer = (options: Options): Layer.Layer<Operations, never, Server> =>
  Layer.effect(Operations, make(options))
