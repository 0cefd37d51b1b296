/**
 * What a developer can say to a program with reload on its terminal: a letter and the enter key. Whole lines, so that the
 * terminal stays as it is whatever becomes of the program, and Ctrl-C stays a signal.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { EventEmitter } from "node:events"
import * as fs from "node:fs"

/** The part of standard input that is used. */
export interface Input extends Pick<EventEmitter, "on" | "off"> {
  readonly isTTY?: boolean
  readonly resume: () => unknown
  readonly pause: () => unknown
}

export interface Options {
  readonly restart: Effect.Effect<void>
  readonly open: Effect.Effect<void>
  readonly quit: Effect.Effect<void>
  /** Default: standard input. */
  readonly input?: Input
  /** Default: standard error. */
  readonly print?: (text: string) => void
  /** For tests. Default: asks Linux, and takes it for granted elsewhere. */
  readonly isInForeground?: () => boolean
}

const help = "r restarts, o opens the browser, q quits, each with enter\n"

/** A line that is longer is none of these. */
const maxLine = 16

/**
 * Whether this process may read the terminal. One in the background is stopped when it does, or signalled again and again
 * (proc(5): fields 5 and 8 are the group of the process and that of the terminal's foreground).
 */
const isInForeground = (): boolean => {
  try {
    const fields = fs.readFileSync("/proc/self/stat", "latin1").replace(/^.*\) /s, "").split(" ")
    return fields[2] === fields[5]
  } catch {
    return true
  }
}

/** Listens until the scope closes; nothing where standard input is not a terminal of ours. */
export const listen = (options: Options): Effect.Effect<void, never, Scope.Scope> =>
  Effect.suspend(() => {
    const input = options.input ?? process.stdin
    if (input.isTTY !== true || !(options.isInForeground ?? isInForeground)()) return Effect.void
    const print = options.print ?? ((text: string) => void process.stderr.write(text))
    return Effect.flatMap(Effect.context<never>(), (context) => {
      const run = (effect: Effect.Effect<void>): void => void Effect.runForkWith(context)(effect)
      let line = ""
      const obey = (word: string): void => {
        if (word === "r") run(options.restart)
        else if (word === "o") run(options.open)
        else if (word === "q") run(options.quit)
        else print(help)
      }
      const hear = (data: unknown): void => {
        for (const char of String(data)) {
          if (char === "\n" || char === "\r") {
            if (line !== "") obey(line.trim())
            line = ""
          } else if (line.length < maxLine) line += char
        }
      }
      const begin = Effect.sync(() => {
        input.on("data", hear)
        input.resume()
        print(help)
      })
      return Effect.asVoid(Effect.acquireRelease(begin, () =>
        Effect.sync(() => {
          input.off("data", hear)
          input.pause()
        })))
    })
  })
