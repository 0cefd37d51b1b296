#!/usr/bin/env node
/**
 * The command line program: `slipway [APP] [flags]`. Collects settings, loads the application, serves it until a
 * signal says stop, and decides the exit code: 0 after a clean stop; 1 when it could not start, had to cut requests, or
 * was forced to stop; 2 when it was called wrongly; 3 when its workers could not start. With several workers this process
 * only watches over them, and they are this program again.
 *
 * The composition root and the only file under src that may import layers/ and node modules. It holds no rule of its
 * own about settings (schema/Settings.ts) or applications (layers/internal/AppModule.ts).
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as References from "effect/References"
import type * as Runtime from "effect/Runtime"
import * as net from "node:net"
import * as os from "node:os"
import * as v8 from "node:v8"
import * as AccessLogConsole from "../layers/AccessLogConsole.ts"
import * as AccessLogFile from "../layers/AccessLogFile.ts"
import * as AppModule from "../layers/internal/AppModule.ts"
import * as CommandLine from "../layers/internal/CommandLine.ts"
import * as SettingsSources from "../layers/internal/SettingsSources.ts"
import * as Supervised from "../layers/internal/Supervised.ts"
import * as Supervisor from "../layers/internal/Supervisor.ts"
import type * as SupervisorMessage from "../layers/internal/SupervisorMessage.ts"
import * as SupervisorProcess from "../layers/internal/SupervisorProcess.ts"
import * as SupervisorSockets from "../layers/internal/SupervisorSockets.ts"
import * as ServerNode from "../layers/ServerNode.ts"
import { Development } from "./app/Development.ts"
import * as Settings from "./schema/Settings.ts"
import * as Server from "./service/Server.ts"

declare const __SLIPWAY_VERSION__: string
const version = typeof __SLIPWAY_VERSION__ === "undefined" ? "dev" : __SLIPWAY_VERSION__

type Mode = "development" | "production"

const levels: Record<Settings.CommandSettings["logLevel"], LogLevel.LogLevel> = {
  debug: "Debug",
  info: "Info",
  warn: "Warn",
  error: "Error",
  none: "None"
}

// Everything but the access log goes to standard error.
const logging = (settings: Settings.CommandSettings, format: "pretty" | "text" | "json"): Layer.Layer<never> =>
  Layer.mergeAll(
    Layer.succeed(References.MinimumLogLevel, levels[settings.logLevel]),
    Layer.succeed(Logger.LogToStderr, true),
    Logger.layer([
      format === "pretty"
        ? Logger.consolePretty()
        : Logger.withConsoleError(format === "json" ? Logger.formatJson : Logger.formatLogFmt)
    ])
  )

const isTaken = (host: string, port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const probe = net.createServer()
    probe.once("error", (error) => resume(Effect.succeed("code" in error && error.code === "EADDRINUSE")))
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resume(Effect.succeed(false))))
  })

// Looks before the application starts: one that is started twice, once for nothing, might do harm.
const freePort = Effect.fnUntraced(function*({ host, port }: Settings.ServerSettings) {
  for (let candidate = port; candidate <= port + 10; candidate++) {
    if (!(yield* isTaken(host, candidate))) {
      if (candidate !== port) yield* Effect.logWarning(`Port ${port} is taken, using ${candidate}. --port chooses one`)
      return candidate
    }
  }
  return port
})

/** What the program was called for. */
interface Call {
  readonly app: Option.Option<string>
  readonly collected: SettingsSources.Collected
  readonly settings: Settings.ServerSettings
  readonly command: Settings.CommandSettings
  readonly mode: Mode
}

type AppLayer = Layer.Layer<never, unknown, Server.Server | AppModule.Provided>

const loadApp = Effect.fnUntraced(function*(path: Option.Option<string>, mode: Mode) {
  const loaded = Option.isSome(path) ? yield* AppModule.load(path.value) : yield* AppModule.currentDirectory
  if (loaded._tag === "Layer") return loaded.layer
  if (mode === "production") return Server.serve(loaded.app)
  const Lint = yield* Effect.promise(() => import("./middleware/Lint.ts"))
  return Server.serve(Lint.make()(loaded.app))
})

const accessLog = ({ accessLog: to, accessLogFormat: format }: Settings.CommandSettings) =>
  to === false
    ? Layer.empty
    : to === "-"
    ? AccessLogConsole.layer({ format })
    : AccessLogFile.layer({ format, path: to })

const announce = (what: string, mode: Mode): Layer.Layer<never, never, Server.Server> =>
  Layer.effectDiscard(
    Effect.gen(function*() {
      const server = yield* Server.Server
      const addresses = (yield* server.addresses).map(Server.formatAddress).join(", ")
      yield* Effect.addFinalizer(() => Effect.logInfo("Stopping. A second signal exits at once"))
      yield* Effect.logInfo(`Slipway ${version} serving ${what} on ${addresses} (${mode})`)
    })
  )

// Released after the application: by then the server knows what it had to cut.
const exitCodeOfStop: Layer.Layer<never, never, Server.Server> = Layer.effectDiscard(
  Effect.flatMap(Server.Server, (server) =>
    Effect.addFinalizer(() =>
      Effect.map(server.stats, ({ totalCut }) => {
        if (totalCut > 0) process.exitCode = 1
      })
    ))
)

// Before this the signal ends the program as it always did. It must not while the server drains, so the handler stays.
// On a terminal in development it means that the terminal has gone: whoever closes the window wants the port back.
const reloadOnHangup = (mode: Mode): Layer.Layer<never, never, Server.Server> =>
  Layer.effectDiscard(
    Effect.gen(function*() {
      if (mode === "development" && process.stderr.isTTY === true) return
      const server = yield* Server.Server
      const run = Effect.runForkWith(yield* Effect.context<never>())
      const reload = Effect.matchEffect(server.reload, {
        onFailure: (error) => Effect.logError(`Not reloaded, what is in use is kept. ${error.message}`),
        onSuccess: () => Effect.logInfo("Reloaded")
      })
      process.on("SIGHUP", () => void run(reload))
    })
  )

const serve = Effect.fnUntraced(function*(call: Call) {
  const { app, collected, command, mode } = call
  if (command.maxRequests > 0 || command.maxRss > 0) {
    yield* Effect.logWarning("maxRequests and maxRss are of no use without workers: nobody would take this one's place")
  }
  yield* Effect.forEach(collected.warnings, (warning) => Effect.logWarning(warning))
  const application = yield* loadApp(app, mode)
  const options = { ...collected.server, ...yield* movedPort(call) }
  return yield* program(application, options, call, announce(whatOf(app), mode)).pipe(Layer.launch)
})

const whatOf = (app: Option.Option<string>): string => Option.getOrElse(app, () => "the current directory")

const movedPort = Effect.fnUntraced(function*({ collected, mode, settings }: Call) {
  const mayMove = mode === "development" && !["port", "unix", "listen"].some(collected.isSet)
  return mayMove ? { port: yield* freePort(settings) } : {}
})

const program = (
  application: AppLayer,
  options: Settings.ServerOptions,
  { command, mode }: Call,
  announcement: Layer.Layer<never, never, Server.Server>
) =>
  announcement.pipe(
    Layer.provide(application),
    Layer.provide(exitCodeOfStop),
    Layer.provide(reloadOnHangup(mode)),
    Layer.provide(ServerNode.layer(options)),
    Layer.provide(accessLog(command)),
    Layer.provide(Layer.succeed(Development, mode === "development"))
  )

// ---- several workers

/** Longer than a worker takes when its application does: a place for a slow machine. */
const startGrace = Duration.seconds(30)
/** What a worker needs besides what its settings allow it. */
const stopGrace = Duration.seconds(10)

const workersOf = ({ workers }: Settings.CommandSettings): number =>
  workers === "auto" ? os.availableParallelism() : workers

const signals = { SIGHUP: "restart", SIGTTIN: "add", SIGTTOU: "remove" } as const

/** Watches over workers until a signal says stop. **Returns** the exit code. */
const supervise = Effect.fnUntraced(function*(call: Call) {
  const { app, collected, command, mode, settings } = call
  yield* Effect.forEach(collected.warnings, (warning) => Effect.logWarning(warning))
  const port = yield* movedPort(call)
  // Under the addresses that the workers will look for, whatever port it became.
  const sockets = yield* SupervisorSockets.bind({ ...settings, ...port }, settings)
  const { heartbeatTimeout } = command
  const supervisor = yield* Supervisor.make({
    workers: workersOf(command),
    startTimeout: Duration.isZero(settings.lifespanStartupTimeout)
      ? Duration.zero
      : Duration.sum(settings.lifespanStartupTimeout, startGrace),
    stopTimeout: Duration.sum(Duration.sum(settings.shutdownTimeout, settings.disconnectGrace), stopGrace),
    heartbeatTimeout
  }, SupervisorProcess.spawn({ sockets, heartbeatTimeout }))
  const run = Effect.runForkWith(yield* Effect.context<never>())
  for (const [signal, change] of Object.entries(signals)) process.on(signal, () => void run(supervisor[change]))
  const addresses = sockets.map(({ address }) => Server.formatAddress(address)).join(", ")
  const started = Effect.logInfo(
    `Slipway ${version} serving ${whatOf(app)} on ${addresses} (${mode}) with ${workersOf(command)} workers`
  )
  return yield* Effect.onInterrupt(supervisor.run(started), () =>
    Effect.andThen(
      Effect.logInfo("Stopping. A second signal exits at once"),
      Effect.map(supervisor.stop, () => {
        process.exitCode = supervisor.exitCode
      })
    ))
}, Effect.scoped)

/** Serves as one of several, until the supervisor says stop. */
const work = Effect.fnUntraced(function*(assignment: SupervisorMessage.Assignment, call: Call) {
  const { app, collected, command, mode } = call
  let isServing = false
  const serving = Supervised.serving(assignment, command).pipe(
    Layer.tap(() => Effect.sync(() => void (isServing = true)))
  )
  const served = Effect.flatMap(
    loadApp(app, mode),
    (application) =>
      program(application, collected.server, call, serving).pipe(
        Layer.provide(Supervised.sockets(assignment)),
        Layer.launch
      )
  )
  const failure = yield* Effect.raceFirst(served, Supervised.stopped).pipe(
    Effect.as(undefined),
    Effect.catchCause((cause) =>
      Effect.map(explain(cause, mode), (code) => isServing ? code : Supervisor.exitCodes.cannotStart)
    )
  )
  return failure ?? Number(process.exitCode ?? 0)
})

// Their message is the whole story. By tag: an application may bring its own copy of the server's module.
const isPlain = (error: unknown): boolean =>
  Predicate.isTagged(error, "ServerError") || Predicate.isTagged(error, "AccessLogError")
  || (error instanceof AppModule.AppModuleError && error.reason._tag !== "LoadFailed")

// One clear message. The stack helps who writes the application, so it is shown in development and at level debug.
const explain = (cause: Cause.Cause<unknown>, mode: Mode): Effect.Effect<number> => {
  if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
  const error = Cause.squash(cause)
  const message = error instanceof Error && error.message !== "" ? error.message : String(error)
  if (isPlain(error)) return Effect.as(Effect.logError(message), 1)
  const details = error instanceof AppModule.AppModuleError && error.reason._tag === "LoadFailed"
    ? Cause.die(error.reason.cause)
    : cause
  return Effect.as(
    mode === "development"
      ? Effect.logError(message, details)
      : Effect.andThen(Effect.logError(message), Effect.logDebug(details)),
    1
  )
}

const run = Effect.fnUntraced(function*(parsed: CommandLine.Input) {
  const collected = yield* SettingsSources.collect({ flags: CommandLine.givenFlags(parsed), env: process.env })
  const command = yield* Effect.fromResult(Settings.resolveCommand(collected.command, collected.nameOf))
  const settings = yield* Effect.fromResult(Settings.resolve(collected.server, collected.nameOf))
  const isTerminal = process.stderr.isTTY === true
  const mode = command.env ?? (isTerminal ? "development" : "production")
  const logFormat = command.logFormat ?? (isTerminal && mode === "development" ? "pretty" : "text")
  process.env.SLIPWAY_ENV = mode
  process.env.NODE_ENV ??= mode
  const call: Call = { app: parsed.app, collected, settings, command, mode }
  const assignment = yield* Supervised.assignment
  const ends: Effect.Effect<number, unknown, AppModule.Provided> = Option.isSome(assignment)
    ? work(assignment.value, call)
    : workersOf(command) > 1
    ? supervise(call)
    : serve(call)
  return yield* ends.pipe(
    Effect.catchCause((cause) => explain(cause, mode)),
    Effect.provide(logging(command, logFormat))
  )
})

const complain = (message: string): Effect.Effect<number> =>
  Effect.sync(() => {
    process.stderr.write(`slipway: ${message}\nTry slipway --help\n`)
    return 2
  })

const main = Effect.suspend(() => {
  let exitCode = 0
  const command = Command.make("slipway", CommandLine.input, (parsed) =>
    Effect.map(run(parsed), (code) => {
      exitCode = code
    })).pipe(Command.withDescription(`Serves an application over HTTP. ${Settings.precedence}`))
  return Command.runWith(command, { version })(process.argv.slice(2)).pipe(
    Effect.map(() => exitCode),
    Effect.catch((error) => complain(CommandLine.explain(error))),
    Effect.provideService(CliConfig.CliConfig, {
      builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions]
    }),
    Effect.provideService(CliOutput.Presenter, CommandLine.presenter(process.stdout.columns)),
    Effect.provide(NodeServices.layer)
  )
})

const forceOnSecondSignal = (): void => {
  let received = 0
  const onSignal = () => {
    received += 1
    if (received === 1) return
    process.stderr.write("slipway: second signal, exiting at once\n")
    process.exit(1)
  }
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
}

const teardown: Runtime.Teardown = (exit, onExit) =>
  onExit(
    Exit.isSuccess(exit)
      ? Number(exit.value)
      : Cause.hasInterruptsOnly(exit.cause)
      ? Number(process.exitCode ?? 0)
      : 1
  )

// After a pause V8 may decide to allocate the literals of requests in its old space, and keeps to it: 10 KiB echoed then
// cost 20 to 29 µs instead of 11 to 15, most of it spent on collecting the whole heap. See docs/decisions.md.
v8.setFlagsFromString("--no-allocation-site-pretenuring")
forceOnSecondSignal()
NodeRuntime.runMain(main, { teardown })
