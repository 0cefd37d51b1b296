/**
 * Watches over workers that serve: what `slipway app.ts --workers 4` does. This process binds the addresses and answers no
 * request; the workers are the same program again (ServeAsWorker.ts). It keeps the rights it was started with, and what
 * operators ask for: the control socket, the admin port, the pid file.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Os from "node:os"
import * as Path from "node:path"
import { type CommandSettings, listeners } from "../../src/schema/Settings.ts"
import { Operations } from "../../src/service/Operations.ts"
import * as Server from "../../src/service/Server.ts"
import { type Call, operationsOf, readyLine, type Reread, stopLimit, warn } from "./Call.ts"
import * as Daemon from "./Daemon.ts"
import * as FreePort from "./FreePort.ts"
import * as Host from "./Host.ts"
import * as LogFiles from "./LogFiles.ts"
import * as LogLevels from "./LogLevels.ts"
import { openBrowser } from "./OpenBrowser.ts"
import * as OperationsSupervisor from "./OperationsSupervisor.ts"
import * as OperatorEntrances from "./OperatorEntrances.ts"
import * as Privileges from "./Privileges.ts"
import type { Reload } from "./Reload.ts"
import * as Supervisor from "./Supervisor.ts"
import * as SupervisorProcess from "./SupervisorProcess.ts"
import * as SupervisorSignals from "./SupervisorSignals.ts"
import * as SupervisorSockets from "./SupervisorSockets.ts"
import * as SupervisorUpgrade from "./SupervisorUpgrade.ts"
import * as Systemd from "./Systemd.ts"

/** Longer than a worker takes when its application does: a place for a slow machine. */
const startGrace = Duration.seconds(30)

/** How many workers the settings ask for. */
const workersOf = ({ workers }: CommandSettings): number => workers === "auto" ? Os.availableParallelism() : workers

const startTimeoutOf = ({ settings }: Reread): Duration.Duration =>
  Duration.isZero(settings.lifespanStartupTimeout)
    ? Duration.zero
    : Duration.sum(settings.lifespanStartupTimeout, startGrace)

const changeable = (read: Reread): Supervisor.Changeable => ({
  workers: workersOf(read.command),
  startTimeout: startTimeoutOf(read),
  stopTimeout: stopLimit(read.settings),
  heartbeatTimeout: read.command.heartbeatTimeout
})

const giveTo = ({ identity }: Host.Host, path: string): Effect.Effect<void> =>
  identity === undefined ? Effect.void : Privileges.give([path], identity)

/** The log that this process has opened is for the workers to open as well. */
const giveLog = ({ command: { errorLog }, host }: Call): Effect.Effect<void> =>
  typeof errorLog === "string" && errorLog !== "-" ? giveTo(host, errorLog) : Effect.void

/** The addresses, bound: by a predecessor, by systemd, or by us. */
const openSockets = Effect.fnUntraced(function*(call: Call, predecessor: SupervisorUpgrade.Predecessor | undefined) {
  const { host, settings } = call
  const give = (path: string) => giveTo(host, path)
  if (predecessor !== undefined) {
    return yield* SupervisorSockets.open(settings, { inherited: predecessor.sockets, made: give })
  }
  const port = yield* FreePort.moved(call)
  const activated = yield* Systemd.match(host.activated, listeners(settings))
  const inherited = activated.map((bound) => ({ ...bound, removesFile: false }))
  // Under the addresses that the workers will look for, whatever port it became.
  return yield* SupervisorSockets.open({ ...settings, ...port }, { named: settings, inherited, made: give })
})

const startReload = Effect.fnUntraced(function*(call: Call): Effect.fn.Return<Reload | undefined, never, Scope.Scope> {
  const { app, collected, command } = call
  if (!command.reload) return undefined
  const Reload = yield* Effect.promise(() => import("./Reload.ts"))
  const absolute = (path: string) => Path.resolve(path)
  return yield* Reload.make({
    app: app._tag === "Some" ? absolute(app.value.replace(/:[A-Za-z_$][\w$]*$/, "")) : undefined,
    files: [collected.configFile?.path, collected.envFile, ".env"].flatMap((path) =>
      path === undefined ? [] : [absolute(path)]
    ),
    outputs: [command.accessLog, command.errorLog, command.pidFile].flatMap((path) =>
      typeof path === "string" ? [absolute(path)] : []
    ),
    dirs: command.reloadDirs?.map(absolute),
    include: command.reloadInclude,
    exclude: command.reloadExclude,
    delay: command.reloadDelay,
    startTimeout: startTimeoutOf(call)
  })
})

const listenToKeys = Effect.fnUntraced(function*(reload: Reload, addresses: ReadonlyArray<Server.Address>) {
  const ReloadKeys = yield* Effect.promise(() => import("./ReloadKeys.ts"))
  const address = addresses.find(({ _tag }) => _tag === "tcp")
  yield* ReloadKeys.listen({
    restart: reload.restartNow,
    open: address === undefined ? Effect.void : openBrowser(Server.formatAddress(address)),
    quit: Effect.sync(() => void process.emit("SIGINT", "SIGINT"))
  })
})

const isTaken = (error: Server.ServerError): boolean =>
  error.reason._tag === "ListenFailed" && error.reason.code === "EADDRINUSE"

/** The predecessor leaves the admin port in the moment in which it hears that we serve. */
const untilFree = { while: isTaken, times: 100, schedule: Schedule.spaced("100 millis") }

/** Watches over workers until it is interrupted. **Returns** the exit code. */
export const run = Effect.fnUntraced(function*(call: Call, predecessor: SupervisorUpgrade.Predecessor | undefined) {
  const { command, host, mode } = call
  yield* warn(call)
  const socketScope = yield* Scope.fork(yield* Effect.scope)
  const sockets = yield* Scope.provide(openSockets(call, predecessor), socketScope)
  yield* giveLog(call)
  const addresses = sockets.bound().map(({ address }) => address)
  if (predecessor === undefined) yield* Host.holdPidFile(command)
  let current: Reread = call
  const around = yield* OperationsSupervisor.make({
    ...operationsOf(call, () => current),
    addresses: () => sockets.bound().map(({ address }) => Server.formatAddress(address)),
    stop: Effect.sync(() => void process.emit("SIGTERM", "SIGTERM"))
  })
  const reload = yield* startReload(call)
  const entrances = yield* Scope.fork(yield* Effect.scope)
  const spawn = around.greeting((number, { heartbeatTimeout }) =>
    SupervisorProcess.spawn({
      sockets: sockets.bound(),
      heartbeatTimeout,
      platform: process.platform,
      answer: (what) => reload?.answer(what) ?? around.answer(what)
    })(number)
  )
  const supervisor = yield* Supervisor.make({
    ...changeable(call),
    reread: Effect.flatMap(
      call.reread,
      (read) =>
        Effect.map(sockets.change(read.settings), (settle) => ({
          ...changeable(read),
          settled: (restarted: boolean) => {
            if (restarted) current = read
            return settle(restarted)
          }
        }))
    ),
    reopen: Effect.andThen(LogFiles.reopen, giveLog(call)),
    successor: yield* SupervisorUpgrade.make(sockets, () => ({ ...process.env, ...host.notify.environment })),
    onUpgraded: (pid) => Effect.andThen(Scope.close(entrances, Exit.void), host.notify.mainPid(pid))
  }, reload === undefined ? spawn : reload.spawn(spawn))
  const operations = yield* around.over(supervisor)
  const openEntrances = (takeOver: boolean) =>
    Effect.flatMap(
      Scope.fork(entrances),
      (attempt) =>
        Layer.buildWithScope(OperatorEntrances.layer(call, takeOver), attempt).pipe(
          Effect.provideService(Operations, operations),
          Effect.onError((cause) => Scope.close(attempt, Exit.failCause(cause)))
        )
    )
  if (predecessor === undefined) yield* openEntrances(false)
  yield* SupervisorSignals.listen({
    restart: Effect.ensuring(Effect.andThen(host.notify.reloading, supervisor.restart), host.notify.ready("Serving")),
    add: supervisor.add,
    remove: supervisor.remove,
    reopen: supervisor.reopen,
    upgrade: supervisor.upgrade
    // A successor has a session of its own: no window that closes tells it so, only its predecessor and whoever means it.
  }, { isAtTerminal: predecessor === undefined && mode === "development" && process.stderr.isTTY === true })

  const succeed = (from: SupervisorUpgrade.Predecessor) =>
    Effect.gen(function*() {
      yield* sockets.takeOver
      yield* Daemon.keepErrorsSmall
      yield* Effect.catch(Host.holdPidFile(command, from.pid), ({ message }) => Effect.logError(message))
      yield* from.ready
      const opened = Effect.retry(openEntrances(true), untilFree)
      yield* Effect.forkScoped(Effect.catch(opened, ({ message }) => Effect.logError(message)))
    })
  const scope = yield* Effect.scope
  const started = Effect.gen(function*() {
    const count = workersOf(command)
    const workers = ` with ${count} worker${count === 1 ? "" : "s"}`
    const line = readyLine(call, addresses.map(Server.formatAddress), workers)
    if (predecessor !== undefined) yield* succeed(predecessor)
    yield* Host.announce(host, command, addresses, line)
    if (reload !== undefined) yield* listenToKeys(reload, addresses)
  }).pipe(Effect.provideService(Scope.Scope, scope))
  const supervised = supervisor.run(started)
  const running = reload === undefined
    ? supervised
    : Effect.raceFirst(supervised, reload.run(supervisor.restart))
  // As the workers let go of theirs: who connected to a socket from which nobody accepts would wait for nothing.
  const closeSockets = Effect.andThen(Effect.sleep(call.settings.preStopDelay), Scope.close(socketScope, Exit.void))
  return yield* Effect.onInterrupt(running, () =>
    Effect.logInfo("Stopping. A second signal exits at once").pipe(
      Effect.andThen(host.notify.stopping("Stopping")),
      Effect.andThen(Effect.forkIn(closeSockets, scope, { startImmediately: true })),
      Effect.andThen(supervisor.stop),
      Effect.map(() => {
        process.exitCode = supervisor.exitCode
      })
    ))
}, (effect) => LogLevels.inModule("Supervisor")(Effect.scoped(effect)))
