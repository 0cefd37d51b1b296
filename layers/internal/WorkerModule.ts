/**
 * Finds the file that starts a worker beside this one, and what Node needs to load it and the user's module: sources
 * start from sources, a build from the build.
 */
import { toDataUrl, workerSetup } from "./TypeScript.ts"

const isSource = import.meta.url.endsWith(".ts")

/** Address of the file that a worker process starts with. */
export const entry = new URL(isSource ? "./WorkerEntry.ts" : "./WorkerEntry.js", import.meta.url)

/** What belongs to this process alone: its program where that is a text, and its debugger. */
const isOurs = (argument: string, index: number, all: ReadonlyArray<string>): boolean =>
  /^(?:-[ep]\b|-pe$|--eval\b|--print\b|--input-type\b|--inspect)/.test(argument)
  || /^(?:-[ep]|-pe|--eval|--print)$/.test(all[index - 1] ?? "")

/** Throws when the module is TypeScript and nothing here can run it; the message says what helps. */
const setupOf = (module: URL): string => {
  const setup = workerSetup([module, entry])
  if (setup !== undefined) return setup
  throw new TypeError(`${module.href} is TypeScript, which needs Node 22.18 or newer, or esbuild (npm install esbuild)`)
}

/** Arguments of Node for a worker process: those given, else ours, and what the module needs. */
export const execArgv = (module: URL, given?: ReadonlyArray<string>): Array<string> => {
  const setup = setupOf(module)
  return [
    ...given ?? process.execArgv.filter((argument, index, all) => !isOurs(argument, index, all)),
    ...setup === "" ? [] : ["--import", toDataUrl(setup)]
  ]
}

/**
 * Address of the module that a thread starts with. What the user's module needs is in it and not in arguments: a thread
 * inherits those of the process, and Node refuses half of them (`--max-old-space-size`) when they are named. It is a
 * text because Node refuses a file where the program itself is a text (`--input-type`).
 */
export const threadEntry = (module: URL): URL =>
  new URL(toDataUrl(`${setupOf(module)}await import(${JSON.stringify(entry.href)})`))
