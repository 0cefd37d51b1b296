/**
 * Serves in this very process, without a supervisor: what `slipway app.ts` does, and `runMain` ends.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { listeners } from "../../src/schema/Settings.ts"
import { Operations } from "../../src/service/Operations.ts"
import * as Server from "../../src/service/Server.ts"
import * as OperationsLocal from "../OperationsLocal.ts"
import { boundStop, type Call, operationsOf, readyLine, stopLimit, warn } from "./Call.ts"
import * as FreePort from "./FreePort.ts"
import * as Host from "./Host.ts"
import { InheritedSockets } from "./InheritedSockets.ts"
import * as LogFiles from "./LogFiles.ts"
import * as OperatorEntrances from "./OperatorEntrances.ts"
import * as ServedApp from "./ServedApp.ts"
import * as Systemd from "./Systemd.ts"

const announce = (call: Call) =>
  Layer.effectDiscard(
    Effect.gen(function*() {
      const { host, settings } = call
      const server = yield* Server.Server
      yield* Host.holdPidFile(call.command)
      const addresses = yield* server.addresses
      yield* Effect.addFinalizer(() =>
        boundStop(stopLimit(settings)).pipe(
          Effect.andThen(Effect.logInfo("Stopping. A second signal exits at once")),
          Effect.andThen(host.notify.stopping("Stopping"))
        )
      )
      yield* Host.announce(host, call.command, addresses, readyLine(call, addresses.map(Server.formatAddress)))
    })
  )

/**
 * Before this the signals end the program as they always did. They must not while the server drains, so the handlers stay.
 * On a terminal in development SIGHUP means that the terminal has gone: whoever closes the window wants the port back.
 */
const signals = ({ host, mode }: Call) =>
  Layer.effectDiscard(
    Effect.gen(function*() {
      if (process.platform === "win32") return
      const server = yield* Server.Server
      const operations = yield* Operations
      const run = Effect.runForkWith(yield* Effect.context<never>())
      const reload = host.notify.reloading.pipe(
        Effect.andThen(Effect.matchEffect(server.reload, {
          onFailure: (error) => Effect.logError(`Not reloaded, what is in use is kept. ${error.message}`),
          onSuccess: () => Effect.logInfo("Reloaded")
        })),
        Effect.andThen(host.notify.ready("Serving"))
      )
      const reopen = Effect.matchEffect(operations.reopen, {
        onFailure: ({ message }) => Effect.logInfo(message),
        onSuccess: () => Effect.logInfo("Opened the log files anew")
      })
      const upgrade = Effect.logWarning(
        "Not upgraded: a process alone has nobody to hand its sockets over; use --workers"
      )
      if (mode !== "development" || process.stderr.isTTY !== true) process.on("SIGHUP", () => void run(reload))
      process.on("SIGUSR1", () => void run(reopen))
      process.on("SIGUSR2", () => void run(upgrade))
    })
  )

/** Serves until it is interrupted. */
export const run = Effect.fnUntraced(function*(named: Call) {
  yield* warn(named)
  const bound = yield* Systemd.match(named.host.activated, listeners(named.settings))
  const moved = yield* FreePort.moved(named)
  const call = { ...named, collected: { ...named.collected, server: { ...named.collected.server, ...moved } } }
  const application = yield* ServedApp.load(call)
  const operations = OperationsLocal.layer({ ...operationsOf(call), reopen: LogFiles.reopen })
  // Whoever reads that it serves may send a signal.
  const companion = Layer.provide(announce(call), signals(call))
  const entrances = OperatorEntrances.layer(call)
  return yield* ServedApp.layer(application, call, { companion, entrances, operations }).pipe(
    Layer.provide(Layer.succeed(InheritedSockets, Systemd.descriptorsOf(bound))),
    Layer.launch
  )
})
