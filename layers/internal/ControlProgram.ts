/**
 * What `slipway ctl` does once it knows what it was called for: finds the socket, asks, prints, and says how it went. Loaded
 * only then.
 */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type { Operations, OperationsError } from "../../src/service/Operations.ts"
import * as ControlClient from "./ControlClient.ts"
import * as Tables from "./ControlTables.ts"
import * as SettingsSources from "./SettingsSources.ts"

/** Where the server is, as it was written. */
export interface Where {
  readonly socket: Option.Option<string>
  readonly config: Option.Option<string>
}

/** How to show what the server says. */
export interface Show {
  readonly json: boolean
  readonly watch: boolean
}

/** One question or command. */
export type Task =
  | { readonly _tag: "status" | "workers"; readonly show: Show }
  | { readonly _tag: "connections"; readonly show: Show; readonly limit: number }
  | { readonly _tag: "config"; readonly show: Show }
  | { readonly _tag: "reload" | "reopen" | "stop" }
  | { readonly _tag: "scale"; readonly workers: number }
  | { readonly _tag: "drain"; readonly on: boolean }

/** What surrounds the program. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Whether standard output is a terminal. */
  readonly isTerminal: boolean
}

/** Exit codes: done; tried in vain; called wrongly. */
export const exitCodes = { done: 0, failed: 1, calledWrongly: 2 } as const

const watchInterval = "2 seconds"
/** Puts the cursor in the corner and clears what was there. */
const clearScreen = "\u001b[H\u001b[2J\u001b[3J"

/** Does it. **Returns** the exit code; what went wrong has been said on standard error by then. */
export const run = (
  where: Where,
  task: Task,
  surroundings: Surroundings
): Effect.Effect<number, never, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const path = yield* socketOf(where, surroundings.env)
    if (Option.isNone(path)) {
      return yield* complain(
        "no control socket is named: give --socket PATH, set SLIPWAY_CONTROL_SOCKET, or name the --config with controlSocket",
        exitCodes.calledWrongly
      )
    }
    return yield* perform(ControlClient.make(path.value), task, surroundings).pipe(
      Effect.as<number>(exitCodes.done),
      Effect.catch((error) => complain(error.message, exitCodes.failed))
    )
  }).pipe(Effect.catch((error) => complain(error.message, exitCodes.calledWrongly)))

const complain = (message: string, code: number): Effect.Effect<number> =>
  Effect.as(Console.error(`slipway ctl: ${Tables.plain(message)}`), code)

/** Where the server's own settings would have it. */
const socketOf = ({ config, socket }: Where, env: Surroundings["env"]) =>
  Option.isSome(socket)
    ? Effect.succeed(socket)
    : Effect.map(
      SettingsSources.collect({ flags: Option.isSome(config) ? { config: config.value } : {}, env }),
      ({ command }) => Option.fromNullishOr(command.controlSocket)
    )

const perform = (
  operations: Operations["Service"],
  task: Task,
  surroundings: Surroundings
): Effect.Effect<void, OperationsError> => {
  const style = { colour: surroundings.isTerminal && (surroundings.env.NO_COLOR ?? "") === "" }
  const display = <A>(
    ask: Effect.Effect<A, OperationsError>,
    show: Show,
    draw: (value: A, nowMillis: number) => string,
    part: (value: A) => unknown = (value) => value
  ) => {
    const shown = Effect.zipWith(
      ask,
      Clock.currentTimeMillis,
      (value, now) => show.json ? Tables.json(part(value)) : draw(value, now)
    )
    return repeat(shown, show, surroundings)
  }
  switch (task._tag) {
    case "status":
      return display(operations.status, task.show, (report) => Tables.status(report, style))
    case "workers":
      return display(operations.status, task.show, (report) => Tables.workers(report, style), ({ workers }) => workers)
    case "connections":
      return display(
        operations.connections(task.limit),
        task.show,
        (reports, nowMillis) => Tables.connections(reports, nowMillis, style)
      )
    case "config":
      return display(operations.config, task.show, (settings) => Tables.config(settings, style))
    case "reload":
      return Effect.andThen(operations.reload, Console.log("Reloaded"))
    case "scale":
      return Effect.andThen(operations.scale(task.workers), Console.log(`Serving with ${task.workers} workers`))
    case "drain":
      return Effect.andThen(
        operations.drain(task.on),
        Console.log(task.on ? "Not ready any more; requests are answered all the same" : "Ready again")
      )
    case "reopen":
      return Effect.andThen(operations.reopen, Console.log("Log files are opened anew"))
    case "stop":
      return Effect.andThen(operations.stop, Console.log("Stopping"))
  }
}

/** Prints once, or again and again: in the same place of a terminal, one below the other elsewhere. */
const repeat = (
  text: Effect.Effect<string, OperationsError>,
  { json, watch }: Show,
  { isTerminal }: Surroundings
): Effect.Effect<void, OperationsError> => {
  if (!watch) return Effect.flatMap(text, Console.log)
  const print = Effect.flatMap(
    text,
    (shown) => Console.log(json ? shown : isTerminal ? clearScreen + shown : `${shown}\n`)
  )
  return Effect.forever(Effect.andThen(print, Effect.sleep(watchInterval)))
}
