/**
 * Finds what a word of the command line names: a file or folder by path, or a module of an installed package as a program
 * of the current directory would import it, each module with the name of one of its exports or without. What exists under
 * exactly that name is taken first, so a colon in a path separates nothing.
 *
 * Looks at the file system and loads nothing.
 */
import * as Result from "effect/Result"
import * as fs from "node:fs"
import * as Module from "node:module"
import * as path from "node:path"
import { fileURLToPath } from "node:url"

/** What was found, by absolute path. */
export type Target =
  | { readonly _tag: "Folder"; readonly path: string }
  | { readonly _tag: "Module"; readonly path: string; readonly exportName: string | undefined }

const moduleName = /\.(?:[cm]?js|m?ts)$/
const packageName = /^(@[a-z0-9~][\w.~-]*\/[a-z0-9~][\w.~-]*|[a-z0-9~][\w.~-]*)(\/.*)?$/i

/**
 * Takes the name of an export off. A drive letter of Windows is no module, so `C:\app.js` and `C:app` have none, and
 * `C:\app.js:named` has one.
 */
export const split = (
  spec: string,
  platform: NodeJS.Platform
): readonly [module: string, exportName: string] | undefined => {
  const [, module, exportName] = /^(.+):([\p{ID_Start}$_][\p{ID_Continue}$]*)$/u.exec(spec) ?? []
  if (module === undefined || exportName === undefined) return undefined
  return platform === "win32" && /^[a-z]$/i.test(module) ? undefined : [module, exportName]
}

/** The path that a word stands for, wherever it is meant. */
const toPath = (spec: string, folder: string): string => {
  try {
    if (spec.startsWith("file:")) return fileURLToPath(spec)
  } catch {
    // A URL of another machine, or of no path: nothing of that name is there.
  }
  return path.resolve(folder, spec)
}

/** True for what cannot be the name of a package. */
const isPathLike = (spec: string): boolean => /^(?:\.|file:)|\\/.test(spec) || path.isAbsolute(spec)

/** What a package says of a program that imports it, in the order in which Node looks. */
const conditions = new Set(["node", "import", "module-sync", "default"])

const pick = (target: unknown): string | undefined => {
  if (typeof target === "string") return target
  if (typeof target !== "object" || target === null) return undefined
  for (const [condition, nested] of Object.entries(target)) {
    const found = conditions.has(condition) ? pick(nested) : undefined
    if (found !== undefined) return found
  }
  return undefined
}

const readExports = (folder: string): unknown => {
  try {
    return (JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8")) as { exports?: unknown }).exports
  } catch {
    return undefined
  }
}

const exported = (exports: unknown, subpath: string): string | undefined => {
  const hasSubpaths = typeof exports === "object" && exports !== null
    && Object.keys(exports).some((key) => key.startsWith("."))
  return hasSubpaths
    ? pick((exports as Readonly<Record<string, unknown>>)[subpath])
    : subpath === "."
    ? pick(exports)
    : undefined
}

/**
 * The file of a module of a package. Node tells what `require` would find; what an `import` would find it tells a module
 * about itself only, so the two differing cases are read from package.json here.
 */
const findInPackages = (spec: string, folder: string): string | undefined => {
  const [, name, rest = ""] = packageName.exec(spec) ?? []
  if (name === undefined) return undefined
  const require = Module.createRequire(path.join(folder, "_"))
  for (const modules of require.resolve.paths(spec) ?? []) {
    const home = path.join(modules, name)
    const file = exported(readExports(home), `.${rest}`)
    if (file !== undefined) return path.join(home, file)
  }
  try {
    return require.resolve(spec)
  } catch {
    return undefined
  }
}

const noSuchFile = "there is no such file"

const asModule = (file: string, exportName: string | undefined): Result.Result<Target, string> => {
  const stat = fs.statSync(file, { throwIfNoEntry: false })
  if (stat === undefined) return Result.fail(noSuchFile)
  if (!stat.isFile()) return Result.fail("it is not a file")
  return moduleName.test(file)
    ? Result.succeed({ _tag: "Module", path: file, exportName })
    : Result.fail("a module's name ends in .js, .mjs, .cjs, .ts or .mts")
}

const isThere = (file: string): boolean => fs.statSync(file, { throwIfNoEntry: false }) !== undefined
const isFolder = (file: string): boolean => fs.statSync(file, { throwIfNoEntry: false })?.isDirectory() === true

/** **Fails with** what is wrong, to follow the word as the user wrote it. `folder` is where paths and packages begin. */
export const find = (
  spec: string,
  folder: string = process.cwd(),
  platform: NodeJS.Platform = process.platform
): Result.Result<Target, string> => {
  const whole = toPath(spec, folder)
  if (isFolder(whole)) return Result.succeed({ _tag: "Folder", path: whole })
  if (isThere(whole)) return asModule(whole, undefined)
  const [module, exportName] = split(spec, platform) ?? [spec, undefined]
  const file = toPath(module, folder)
  if (isFolder(file)) return Result.fail(`${module} is a folder, which has no exports`)
  if (isThere(file)) return asModule(file, exportName)
  if (isPathLike(module)) return Result.fail(noSuchFile)
  const found = findInPackages(module, folder)
  if (found !== undefined) return asModule(found, exportName)
  return Result.fail(
    moduleName.test(module)
      ? noSuchFile
      : `${noSuchFile}, and no package ${module} that can be imported from ${folder}`
  )
}
