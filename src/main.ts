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
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { FileSystem } from "effect/FileSystem"
import type * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Runtime from "effect/Runtime"
import * as v8 from "node:v8"
import * as AppModule from "../layers/internal/AppModule.ts"
import { type Call, type Mode, needsSupervisor } from "../layers/internal/Call.ts"
import * as CommandLine from "../layers/internal/CommandLine.ts"
import * as ControlCommand from "../layers/internal/ControlCommand.ts"
import * as Daemon from "../layers/internal/Daemon.ts"
import { explain } from "../layers/internal/Explain.ts"
import * as Host from "../layers/internal/Host.ts"
import * as ProgramLog from "../layers/internal/ProgramLog.ts"
import * as ServeAlone from "../layers/internal/ServeAlone.ts"
import * as SettingsSources from "../layers/internal/SettingsSources.ts"
import * as Supervised from "../layers/internal/Supervised.ts"
import type { Assignment } from "../layers/internal/SupervisorMessage.ts"
import * as SupervisorUpgrade from "../layers/internal/SupervisorUpgrade.ts"
import * as Surroundings from "../layers/internal/Surroundings.ts"
import * as Settings from "./schema/Settings.ts"

// What only some calls need is loaded by them.
const configCheck = Effect.promise(() => import("../layers/internal/ConfigCheck.ts"))
const serveAsWorker = Effect.promise(() => import("../layers/internal/ServeAsWorker.ts"))
const serveWorkers = Effect.promise(() => import("../layers/internal/ServeWorkers.ts"))

declare const __SLIPWAY_VERSION__: string
const version = typeof __SLIPWAY_VERSION__ === "undefined" ? "dev" : __SLIPWAY_VERSION__

const levels: Record<Settings.CommandSettings["logLevel"], LogLevel.LogLevel> = {
  debug: "Debug",
  info: "Info",
  warn: "Warn",
  error: "Error",
  none: "None"
}

// Everything but the access log goes to standard error, or to a file.
const logging = (command: Settings.CommandSettings, mode: Mode) =>
  ProgramLog.layer({
    level: levels[command.logLevel],
    levels: command.logLevels ?? [],
    isQuiet: command.quiet,
    format: command.logFormat ?? (isTerminal && mode === "development" ? "pretty" : "text"),
    hasColors: CommandLine.hasColors(process.env, isTerminal),
    to: command.errorLog,
    rotation: ProgramLog.rotationOf(command)
  })

/** Of what goes wrong before there is a log. */
const complain = (message: string, code: number): Effect.Effect<number> =>
  Effect.sync(() => {
    process.stderr.write(`slipway: ${message}\n`)
    return code
  })

const run = Effect.fnUntraced(function*(parsed: CommandLine.Input) {
  // Taken from the environment first of all, before anybody looks there for settings.
  const duties = yield* Daemon.duties
  const assignment = Option.getOrUndefined(yield* Supervised.assignment)
  const predecessor = Option.getOrUndefined(yield* SupervisorUpgrade.predecessor)
  if (assignment !== undefined) yield* Effect.addFinalizer(endWorker)
  const read = reader(parsed, { ...process.env }, assignment)
  const { args, collected } = yield* read.collected
  if (collected.command.checkConfig === true) return yield* check(collected, { app: read.app, args })
  const resolved = yield* Effect.fromResult(SettingsSources.resolve(collected, { app: read.app, isTerminal }))
  if (resolved.command.printConfig) {
    yield* Console.log((yield* configCheck).print(collected, resolved))
    return 0
  }
  const { command, mode } = resolved
  const supervises = assignment === undefined && (predecessor !== undefined || needsSupervisor(command))
  const role = assignment !== undefined ? `worker ${assignment.number}` : supervises ? "supervisor" : undefined
  const served = Effect.gen(function*() {
    const isFirst = duties === undefined && assignment === undefined && predecessor === undefined
    if (command.daemonize && isFirst) return yield* launchDaemon(command)
    const host = yield* Host.make(command, duties, predecessor?.sockets)
    const files = yield* Effect.context<FileSystem>()
    const { containerSign, reread } = yield* read.placed(collected, host.activated)
    const call: Call = {
      version,
      app: parsed.app,
      args,
      ...yield* reread,
      mode,
      host: { ...host, containerSign },
      reread: Effect.flatMap(
        read.collected,
        (again) => Effect.flatMap(read.placed(again.collected, host.activated), ({ reread }) => reread)
      ).pipe(Effect.provideContext(files))
    }
    if (supervises) return yield* (yield* serveWorkers).run(call, predecessor)
    // A supervisor leaves these to its workers, which read the files anew at each restart.
    prepareEnvironment(call)
    return yield* assignment === undefined
      ? ServeAlone.run(call)
      : (yield* serveAsWorker).run(assignment, call, (cause) => explain(cause, mode))
  }).pipe(Effect.catchCause((cause) => explain(cause, mode)))
  // Files of logs are named from the folder that is entered.
  return yield* Surroundings.enter({ ...command, role }).pipe(
    Effect.andThen(Effect.provide(served, logging(command, mode))),
    Effect.catch(({ message }) => complain(message, 1))
  )
}, Effect.scoped)

const isTerminal = process.stderr.isTTY === true

/** Ends a worker whatever its application has left open: its supervisor waits for it, or is gone. */
const endWorker = (exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Exit.isSuccess(exit) ? Effect.sync(() => process.exit(Number(exit.value))) : Effect.void

/** What the application finds in its environment. */
const prepareEnvironment = ({ collected, mode }: Pick<Call, "collected" | "mode">): void => {
  process.env.SLIPWAY_ENV = mode
  Object.assign(process.env, collected.variables)
  process.env.NODE_ENV ??= mode
}

/** Reads settings, as often as it is asked to: the same flags and variables, and what the files say by then. */
const reader = (
  parsed: CommandLine.Input,
  env: NodeJS.ProcessEnv,
  assignment: Assignment | undefined
) => {
  const app = Option.getOrUndefined(parsed.app)
  const flags = CommandLine.givenFlags(parsed)
  const inherited = assignment === undefined ? undefined : Supervised.addressesOf(assignment)
  const collect = Effect.suspend(() =>
    SettingsSources.collect({ flags, env, discover: AppModule.isProgram(app), isTerminal })
  )
  return {
    app,
    collected: Effect.all({ collected: collect, args: Effect.fromResult(CommandLine.appArguments(parsed)) }),
    placed: Effect.fnUntraced(function*(collected: SettingsSources.Collected, activated: Host.Host["activated"]) {
      const { containerSign, server } = Host.placeOf(collected.server, collected.isSet, activated, inherited)
      const placed = { ...collected, server }
      const reread = Effect.fromResult(
        Result.map(SettingsSources.resolve(placed, { app, isTerminal }), (resolved) => ({
          settings: resolved.server,
          command: resolved.command,
          collected: placed
        }))
      )
      return { containerSign, reread }
    })
  }
}

/** Goes on in the background. **Returns** the exit code of the foreground, which says the pid. */
const launchDaemon = Effect.fnUntraced(function*({ accessLog, errorLog }: Settings.CommandSettings) {
  const log = errorLog === "-" || errorLog === false ? {} : { log: errorLog }
  const outcome = yield* Daemon.launch({ accessLog, ...log })
  if (outcome._tag === "Serving") {
    process.stdout.write(`${outcome.pid}\n`)
    return 0
  }
  process.stderr.write(outcome.text)
  return outcome.code
})

/** Ends the process whatever the application has left open as it was loaded. */
const check = Effect.fnUntraced(function*(
  collected: SettingsSources.Collected,
  named: Pick<AppModule.Call, "app" | "args">
) {
  const { exitCode, lines } = yield* (yield* configCheck).check(
    collected,
    ({ command, mode }) => {
      prepareEnvironment({ collected, mode })
      return Effect.andThen(
        AppModule.load({ ...named, eval: command.eval, require: command.require }),
        command.server === undefined ? Effect.void : AppModule.loadServer(command.server, collected.nameOf("server"))
      )
    },
    { app: named.app, isTerminal }
  )
  return yield* Effect.callback<number>(() => {
    const out = exitCode === 0 ? process.stdout : process.stderr
    out.write(lines.map((line) => `slipway: ${line}\n`).join(""), () => process.exit(exitCode))
  })
})

const main = Effect.suspend(() => {
  let exitCode = 0
  const command = Command.make("slipway", CommandLine.input, (parsed) =>
    Effect.map(run(parsed), (code) => {
      exitCode = code
    })).pipe(
      Command.withDescription(`Serves an application over HTTP. ${Settings.precedence}`),
      Command.withSubcommands([ControlCommand.make((code) => void (exitCode = code))])
    )
  return Command.runWith(command, { version })(process.argv.slice(2)).pipe(
    Effect.map(() => exitCode),
    Effect.catch((error) => complain(`${CommandLine.explain(error)}\nTry slipway --help`, 2)),
    Effect.provideService(CliConfig.CliConfig, {
      builtIns: [GlobalFlag.Help, GlobalFlag.Version, CommandLine.completions]
    }),
    Effect.provideService(
      CliOutput.Presenter,
      CommandLine.presenter(
        process.stdout.columns,
        CommandLine.hasColors(process.env, process.stdout.isTTY === true)
      )
    ),
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

// Until somebody listens: Node would open its debugger at the one, and end at the other. Windows has other signals, for
// Ctrl-Break and for a console that closes, after which it gives a process some seconds.
const prepareSignals = (): void => {
  if (process.platform === "win32") {
    for (const signal of ["SIGBREAK", "SIGHUP"] as const) {
      process.on(signal, () => void process.emit("SIGTERM", "SIGTERM"))
    }
    return
  }
  for (const signal of ["SIGUSR1", "SIGUSR2"] as const) process.on(signal, () => {})
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
prepareSignals()
NodeRuntime.runMain(main, { teardown })
