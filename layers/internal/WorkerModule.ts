/**
 * Finds the file that starts a worker beside this one, and what Node needs to load it and the user's module: sources
 * start from sources, a build from the build.
 */
import { workerArguments } from "./TypeScript.ts"

const isSource = import.meta.url.endsWith(".ts")

/** Address of the entry. */
export const entry = new URL(isSource ? "./WorkerEntry.ts" : "./WorkerEntry.js", import.meta.url)

/** What belongs to this process alone: its program where that is a text, and its debugger. */
const isOurs = (argument: string, index: number, all: ReadonlyArray<string>): boolean =>
  /^(?:-[ep]\b|-pe$|--eval\b|--print\b|--input-type\b|--inspect)/.test(argument)
  || /^(?:-[ep]|-pe|--eval|--print)$/.test(all[index - 1] ?? "")

/**
 * Arguments of Node for a worker: those given, else ours, and what the module needs.
 *
 * Throws when the module is TypeScript and nothing here can run it; the message says what helps.
 */
export const execArgv = (module: URL, given?: ReadonlyArray<string>): Array<string> => {
  const needed = workerArguments([module, entry])
  const inherited = given ?? process.execArgv.filter((argument, index, all) => !isOurs(argument, index, all))
  if (needed !== undefined) return [...inherited, ...needed]
  throw new TypeError(`${module.href} is TypeScript, which needs Node 22.18 or newer, or esbuild (npm install esbuild)`)
}
