/**
 * Runs TypeScript modules of users, in this process and in workers. It goes through Node's own type stripping where Node
 * has it, else each file goes through esbuild when it is imported: nothing is written to disk, and stack traces point
 * into the source. As with Node, relative imports carry their extension.
 */
import * as Module from "node:module"
import { pathToFileURL } from "node:url"

// Runs in Node's module thread, which cannot see this bundle: hence text, and an absolute address for esbuild.
const hooks = `
import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
let esbuild
export const initialize = async (data) => { esbuild = await import(data.esbuild) }
export const load = async (url, context, next) => {
  if (!/^file:[^?#]*\\.m?ts(?:[?#]|$)/.test(url)) return next(url, context)
  const sourcefile = fileURLToPath(url)
  const { code } = await esbuild.transform(await readFile(sourcefile, "utf8"), {
    loader: "ts", format: "esm", target: "node20", sourcemap: "inline", sourcefile
  })
  return { format: "module", source: code, shortCircuit: true }
}
`

/** The address of a module that is a text. */
export const toDataUrl = (code: string): string => `data:text/javascript,${encodeURIComponent(code)}`

/** The address of an installed esbuild; `undefined` where there is none. */
const findEsbuild = (modulePath: string): string | undefined => {
  for (const from of [modulePath, import.meta.url]) {
    try {
      return pathToFileURL(Module.createRequire(from).resolve("esbuild")).href
    } catch {
      continue
    }
  }
  return undefined
}

let isEnabled = false

/** **Returns** false when TypeScript cannot be run here. */
export const enableTypeScript = (modulePath: string): boolean => {
  if (process.features.typescript || isEnabled) return true
  const esbuild = findEsbuild(modulePath)
  if (esbuild === undefined) return false
  Module.register(toDataUrl(hooks), { data: { esbuild } })
  process.setSourceMapsEnabled(true)
  isEnabled = true
  return true
}

/**
 * What a new worker has to run before it can import these modules.
 *
 * **Returns** an empty text when no module needs anything, and `undefined` when TypeScript cannot be run here.
 */
export const workerSetup = (modules: ReadonlyArray<URL>): string | undefined => {
  const module = modules.find(({ pathname }) => pathname.endsWith("ts"))
  if (module === undefined || process.features.typescript) return ""
  const esbuild = findEsbuild(module.href)
  return esbuild === undefined
    ? undefined
    : `import { register } from "node:module"\n`
      + `register(${JSON.stringify(toDataUrl(hooks))}, { data: ${JSON.stringify({ esbuild })} })\n`
      + `process.setSourceMapsEnabled(true)\n`
}

/** What a module exports as its default, also when it is a CommonJS file that was compiled from an ES module. */
export const defaultExport = (module: { readonly default?: unknown }): unknown => {
  const value = module.default
  return typeof value === "object" && value !== null && "__esModule" in value && "default" in value
    ? value.default
    : value
}
