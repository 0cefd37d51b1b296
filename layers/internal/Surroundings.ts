/**
 * What a process is surrounded by: the folder it runs in, the mode of files it makes, the name it has in ps(1), and
 * whether it is in a container. Every process of the program does this for itself, from the same start: so a worker
 * reads the same relative paths as its supervisor, and finds the new folder where a link has moved.
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { problemOf, ProcessError } from "./ProcessError.ts"

export interface Options {
  /** Folder to run in, absolute or from where the program was started. Default: stays. */
  readonly chdir?: string | undefined
  /** Permission bits that new files do not get, such as `0o027`. Default: stays. */
  readonly umask?: number | undefined
  /** Name in ps(1) and top(1). Default: stays. */
  readonly title?: string | undefined
  /** What this process is among those of the title: `worker 2`. */
  readonly role?: string | undefined
}

const identityOf = (path: string): string | undefined => {
  const stat = Fs.statSync(path, { throwIfNoEntry: false })
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`
}

/**
 * Where the program was started, as the shell says it: the name of a link that a deployment moves stays a link. Processes
 * of the same program are to be started there.
 */
export const folderOfStart = (
  env: Readonly<Record<string, string | undefined>>,
  current: string
): string => {
  const { PWD } = env
  return PWD !== undefined && Path.isAbsolute(PWD) && identityOf(PWD) === identityOf(current) ? PWD : current
}

/** See `folderOfStart`; read before anybody changes it. */
export const startFolder: string = folderOfStart(process.env, process.cwd())

/** Longer ones are cut by the system without a word, and differently by each. */
const longestTitle = 64

/** The name of a process: `shop`, `shop: worker 2`. */
export const titleOf = (title: string, role?: string): string =>
  (role === undefined ? title : `${title}: ${role}`).replaceAll(/[\u0000-\u001f\u007f]/g, " ").slice(0, longestTitle)

/**
 * Enters the folder, and sets mask and title. First of all that a process does once it knows its settings.
 *
 * **Fails with** `ProcessError` whose reason is `FolderUnusable`.
 */
export const enter = (options: Options): Effect.Effect<void, ProcessError> =>
  Effect.suspend(() => {
    if (options.umask !== undefined) process.umask(options.umask)
    if (options.title !== undefined) process.title = titleOf(options.title, options.role)
    if (options.chdir === undefined) return Effect.void
    const path = Path.resolve(startFolder, options.chdir)
    return Effect.try({
      try: () => process.chdir(path),
      catch: (error) => new ProcessError({ reason: { _tag: "FolderUnusable", path, problem: problemOf(error) } })
    })
  })

export interface ContainerOptions {
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly exists?: (path: string) => boolean
}

const containerFiles = ["/.dockerenv", "/run/.containerenv"]

/**
 * What says that this is a container, in which 127.0.0.1 can be reached by nobody outside: `SLIPWAY_CONTAINER=1`,
 * `KUBERNETES_SERVICE_HOST`, or a file of Docker or Podman. `undefined`: nothing does. `SLIPWAY_CONTAINER=0` says no.
 *
 * **Gotchas** a container in the host's own network looks the same; there `host` has to be set.
 */
export const containerSign = (options: ContainerOptions = {}): string | undefined => {
  const { env = process.env, exists = Fs.existsSync } = options
  if (env.SLIPWAY_CONTAINER === "1") return "SLIPWAY_CONTAINER"
  if (env.SLIPWAY_CONTAINER === "0") return undefined
  if ((env.KUBERNETES_SERVICE_HOST ?? "") !== "") return "KUBERNETES_SERVICE_HOST"
  return containerFiles.find(exists)
}
