/**
 * The command line of `slipway ctl`: its subcommands, flags and help. Holds no more than that, so that a program which only
 * serves loads nothing else; what is done stands in ControlProgram.ts.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import type { Task, Where } from "./ControlProgram.ts"

const where = {
  socket: Flag.String("socket").pipe(
    Flag.withMetavar("PATH"),
    Flag.withDescription("The server's control socket [SLIPWAY_CONTROL_SOCKET]"),
    Flag.optional
  ),
  config: Flag.String("config").pipe(
    Flag.withAlias("c"),
    Flag.withMetavar("PATH"),
    Flag.withDescription("Config file of the server, which names its controlSocket [SLIPWAY_CONFIG]"),
    Flag.optional
  )
}

const json = Flag.Boolean("json").pipe(
  Flag.withoutNegation,
  Flag.withDescription("The answer as one line of JSON"),
  Flag.withDefault(false)
)
const watch = Flag.Boolean("watch").pipe(
  Flag.withoutNegation,
  Flag.withDescription("Again every 2 seconds, until Ctrl-C"),
  Flag.withDefault(false)
)

const bare = Command.make("ctl", { json, watch }).pipe(Command.withSharedFlags(where))

/** Does a task at the server that the flags name. */
const perform = (finish: (code: number) => void) => (place: Where, task: Task) =>
  Effect.gen(function*() {
    const { exitCodes, run } = yield* Effect.promise(() => import("./ControlProgram.ts"))
    const done = run(place, task, { env: process.env, isTerminal: process.stdout.isTTY === true })
    finish(yield* Effect.raceFirst(done, Effect.as(readerGone, exitCodes.done)))
  })

/** Succeeds when whoever reads has what it wanted, as `head` does. Listens until the process ends: it may be told late. */
const readerGone: Effect.Effect<void> = Effect.callback((resume) => {
  process.stdout.on("error", () => resume(Effect.void))
})

/**
 * `slipway ctl`, to be added to the main command. `finish` gets the exit code: 0 done, 1 failed, 2 called wrongly; a mistake that
 * effect/cli finds is its `CliError`, as everywhere.
 */
export const make = (finish: (code: number) => void) => {
  const performAt = perform(finish)
  const run = (task: Task) => Effect.flatMap(bare, (place) => performAt(place, task))
  const simple = (name: "reload" | "reopen" | "stop", description: string) =>
    Command.make(name, {}, () => run({ _tag: name })).pipe(Command.withDescription(description))
  return bare.pipe(
    Command.withHandler(({ json, watch, ...place }) => performAt(place, { _tag: "status", show: { json, watch } })),
    Command.withDescription("Asks and commands a running server through its control socket. Alone: its status."),
    Command.withSubcommands([
      Command.make("status", { json, watch }, (show) => run({ _tag: "status", show })).pipe(
        Command.withDescription("Everything at a glance: state, requests, workers.")
      ),
      Command.make("workers", { json, watch }, (show) => run({ _tag: "workers", show })).pipe(
        Command.withDescription("The workers: state, requests, processor, memory.")
      ),
      Command.make("connections", {
        json,
        watch,
        limit: Flag.Int("limit").pipe(
          Flag.withMetavar("N"),
          Flag.withDescription("Connections of each worker that are shown at most"),
          Flag.filter((limit) => limit > 0, (limit) => `Expected a number above 0, got ${limit}`),
          Flag.withDefault(100)
        )
      }, ({ limit, ...show }) => run({ _tag: "connections", show, limit })).pipe(
        Command.withDescription("Open connections: client, protocol, age, and what goes on in them.")
      ),
      Command.make("config", { json }, ({ json }) => run({ _tag: "config", show: { json, watch: false } })).pipe(
        Command.withDescription("Every setting, its value and where that comes from.")
      ),
      simple("reload", "Replaces all workers, one after the other; a single process reads its TLS files anew."),
      Command.make("scale", { workers: Argument.Int("N") }, ({ workers }) => run({ _tag: "scale", workers })).pipe(
        Command.withDescription("Changes the number of workers.")
      ),
      Command.make(
        "drain",
        { state: Argument.Literals("on|off", ["on", "off"]) },
        ({ state }) => run({ _tag: "drain", on: state === "on" })
      ).pipe(Command.withDescription("Takes the server out of its load balancer, or back: turns its readiness.")),
      simple("reopen", "Opens the log files anew, after they were renamed."),
      simple("stop", "Stops the server as SIGTERM does.")
    ])
  )
}
