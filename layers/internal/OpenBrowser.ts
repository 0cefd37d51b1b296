/** Opens an address in the user's browser, if there is one. Never through a shell, never in anybody's way. */
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"

export interface Options {
  readonly platform?: NodeJS.Platform
  /** Starts the program and forgets it. */
  readonly spawn?: (program: string, args: ReadonlyArray<string>) => void
}

/** Each takes the address as it is. `start` would be a word of the shell. */
const programs: { readonly [platform: string]: ReadonlyArray<string> } = {
  darwin: ["open"],
  win32: ["rundll32", "url.dll,FileProtocolHandler"]
}

const otherPrograms = ["xdg-open"]

const start = (program: string, args: ReadonlyArray<string>): void => {
  const child = ChildProcess.spawn(program, args, { detached: true, stdio: "ignore" })
  child.once("error", () => {})
  child.unref()
}

/** What a browser can be sent to: an address that is listened on everywhere is here as well. */
const browsable = (url: string): string | undefined => {
  if (!URL.canParse(url)) return undefined
  const target = new URL(url)
  if (target.protocol !== "http:" && target.protocol !== "https:") return undefined
  if (target.hostname === "0.0.0.0" || target.hostname === "[::]") target.hostname = "localhost"
  return target.href
}

/** Opens an http or https address; does nothing with others, and says nothing where there is no browser. */
export const openBrowser = (url: string, options: Options = {}): Effect.Effect<void> =>
  Effect.sync(() => {
    const { platform = process.platform, spawn = start } = options
    const target = browsable(url)
    if (target === undefined) return
    const [program, ...args] = programs[platform] ?? otherPrograms
    try {
      spawn(program!, [...args, target])
    } catch {
      // A browser that does not come is no reason for anything.
    }
  })
