/**
 * Which files of an application count: everything below its folders but what is made, installed, logged or hidden. Names
 * only; nothing here looks at the disk.
 *
 * A pattern without a slash is one of names, at any depth; one with a slash starts at the folder that is watched.
 * `*` and `?` stay within a name, `**` does not, `{a,b}` and `[a-z]` are alternatives.
 */
import * as path from "node:path"

export interface Options {
  /** Absolute folders. */
  readonly dirs: ReadonlyArray<string>
  /** Brings back what is left out by itself. Default none. */
  readonly include?: ReadonlyArray<string>
  /** Leaves out more, and has the last word. Default none. */
  readonly exclude?: ReadonlyArray<string>
}

export interface Rules {
  /** Whether a change of this file counts. */
  readonly hasFile: (file: string) => boolean
  /** Whether there may be files that count in this folder. */
  readonly hasFolder: (folder: string) => boolean
}

/** Left out where `include` does not name them. */
const excludedFolders = ["node_modules", "dist", "coverage", "logs", "__pycache__", ".*"]
const excludedFiles = [
  ".*",
  "*.log",
  "*.log.*",
  "*.tmp",
  "*.temp",
  "*.pid",
  "*.sock",
  // What an application keeps of its own.
  "*.{db,db3,sqlite,sqlite3}",
  "*-{journal,wal,shm}",
  // What editors leave while they write: vim, emacs, JetBrains, kate.
  "*.sw?",
  "*~",
  "#*#",
  "4913",
  "*___jb_{tmp,old,bak}___",
  "*.kate-swp"
]

/** `[a-z]` as a regular expression has it; `undefined` for what is none, such as `[z-a]`. */
const classAt = (pattern: string, start: number): { readonly source: string; readonly end: number } | undefined => {
  const end = pattern.indexOf("]", start + 2)
  if (end === -1) return undefined
  const source = `[${pattern.slice(start + 1, end).replace(/^!/, "^").replaceAll("\\", "\\\\")}]`
  try {
    new RegExp(source)
    return { source, end }
  } catch {
    return undefined
  }
}

/** A pattern as a regular expression over a path with `/`. */
export const toRegExp = (pattern: string): RegExp => {
  let source = ""
  let depth = 0
  for (let i = 0; i < pattern.length; i++) {
    const char = pattern[i]!
    const found = char === "[" ? classAt(pattern, i) : undefined
    if (char === "*") {
      if (pattern[i + 1] !== "*") source += "[^/]*"
      else if (pattern[i + 2] === "/") {
        source += "(?:[^/]+/)*"
        i += 2
      } else {
        source += ".*"
        i++
      }
    } else if (char === "?") source += "[^/]"
    else if (char === "{") {
      depth++
      source += "(?:"
    } else if (char === "}" && depth > 0) {
      depth--
      source += ")"
    } else if (char === "," && depth > 0) source += "|"
    else if (found !== undefined) {
      source += found.source
      i = found.end
    } else source += char.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")
  }
  return new RegExp(`^${source}${")".repeat(depth)}$`)
}

type Match = (relative: string) => boolean

const matcher = (patterns: ReadonlyArray<string>): Match => {
  const all = patterns.map((pattern) => {
    const clean = pattern.replaceAll("\\", "/").replace(/^\.?\//, "").replace(/\/$/, "/**")
    return { isName: !clean.includes("/"), regExp: toRegExp(clean) }
  })
  return (relative) => {
    const name = relative.slice(relative.lastIndexOf("/") + 1)
    return all.some(({ isName, regExp }) => regExp.test(isName ? name : relative))
  }
}

/** Makes the rules. A file that is in several folders counts when one of them says so. */
export const make = ({ dirs, exclude = [], include = [] }: Options): Rules => {
  const included = matcher(include)
  const excluded = matcher(exclude)
  const defaultFiles = matcher(excludedFiles)
  const defaultFolders = matcher(excludedFolders)
  // A pattern may name what is deep in a folder that is left out by itself.
  const ways = include.map((pattern) => pattern.replace(/^\.?\//, "").replace(/\/$/, "/**").split("/"))
  const isOnTheWay = (folder: string): boolean =>
    ways.some((way) =>
      way[0] !== "**" &&
      folder.split("/").every((name, index) =>
        way.slice(0, index + 1).includes("**") || (index < way.length - 1 && toRegExp(way[index]!).test(name))
      )
    )
  const relatives = (of: string): ReadonlyArray<string> =>
    dirs.map((dir) => path.relative(dir, of)).filter((relative) =>
      !relative.startsWith("..") && !path.isAbsolute(relative)
    )
      .map((relative) => relative.split(path.sep).join("/"))
  const foldersOf = (relative: string): ReadonlyArray<string> => {
    const names = relative.split("/").slice(0, -1)
    return names.map((_, index) => names.slice(0, index + 1).join("/"))
  }
  const isOpen = (folder: string): boolean => ![...foldersOf(folder), folder].some(defaultFolders) || isOnTheWay(folder)
  return {
    hasFile: (file) =>
      relatives(file).some((relative) => {
        const folders = foldersOf(relative)
        if (relative === "" || excluded(relative) || folders.some(excluded)) return false
        if (!included(relative) && (defaultFiles(relative) || folders.some(defaultFolders))) return false
        return folders.length === 0 || isOpen(folders.at(-1)!)
      }),
    hasFolder: (folder) =>
      relatives(folder).some((relative) =>
        relative === "" || (![...foldersOf(relative), relative].some(excluded) && isOpen(relative))
      )
  }
}
