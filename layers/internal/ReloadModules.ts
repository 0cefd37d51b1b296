/**
 * Knows which files of the developer's this process has loaded, wherever they are: modules by a hook of Node's loader,
 * files of `require` by its cache. What is installed does not count. Never changes what is loaded, nor how.
 */
import * as Module from "node:module"
import { fileURLToPath } from "node:url"
import { MessageChannel, receiveMessageOnPort } from "node:worker_threads"
import { toDataUrl } from "./TypeScript.ts"

// Runs in the loader's thread. A file that is imported and not there is told as well: somebody may be about to write it.
const hooks = `
let port
export const initialize = (data) => { port = data.port }
export const resolve = async (specifier, context, next) => {
  if (/^\\.{0,2}\\//.test(specifier) && context.parentURL?.startsWith("file:")) {
    port.postMessage(new URL(specifier, context.parentURL).href)
  }
  const found = await next(specifier, context)
  port.postMessage(found.url)
  return found
}
`

/** Begins to note. **Returns** what gives the absolute paths of the files that are new since it was called last. */
export const note = (): () => ReadonlyArray<string> => {
  const { port1, port2 } = new MessageChannel()
  port1.unref()
  Module.register(toDataUrl(hooks), { data: { port: port2 }, transferList: [port2] })
  const { cache } = Module.createRequire(import.meta.url)
  const known = new Set<string>()
  return () => {
    const fresh: Array<string> = []
    const add = (file: string): void => {
      if (known.has(file) || /[\\/]node_modules[\\/]/.test(file) || file === ownFile) return
      known.add(file)
      fresh.push(file)
    }
    // What was posted before a module was loaded is here before its import has ended.
    for (let word = receiveMessageOnPort(port1); word !== undefined; word = receiveMessageOnPort(port1)) {
      const file = toPath(String(word.message))
      if (file !== undefined) add(file)
    }
    for (const file of Object.keys(cache)) add(file)
    return fresh
  }
}

/** The path of a `file:` URL; `undefined` for others. */
export const toPath = (url: string): string | undefined => {
  if (!url.startsWith("file:")) return undefined
  try {
    return fileURLToPath(new URL(url))
  } catch {
    return undefined
  }
}

/** Of the program itself, which is one file. */
const ownFile = toPath(import.meta.url)
