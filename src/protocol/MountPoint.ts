/**
 * Where a mounted application begins in a path as it was sent. Mount points and paths are decoded, what an adapter or a
 * router hands on is not: an encoded slash must stay one.
 */
import { decodePath } from "./RequestTarget.ts"

/** What a scope says of its path. */
export interface Paths {
  /** The path below the mount point, decoded. */
  readonly path: string
  /** The path as it was sent. */
  readonly rawPath: string
  /** The mount point, decoded. */
  readonly rootPath: string
}

/**
 * The raw path without the mount point. Empty when the request names the mount point itself without a slash. Where the
 * path does not begin with `rootPath`, because a proxy in front has removed its own part of it, what stands before
 * `path` is the rest of the mount point.
 */
export const below = ({ path, rawPath, rootPath }: Paths): string => {
  if (rootPath === "") return rawPath
  if (rawPath.startsWith(rootPath) && isBoundary(rawPath, rootPath.length)) return rawPath.slice(rootPath.length)
  const whole = decodePath(rawPath)
  const own = whole.startsWith(rootPath) ? rawLength(rawPath, whole, rootPath.length) : -1
  if (own !== -1 && isBoundary(rawPath, own)) return rawPath.slice(own)
  if (whole === path) return rawPath
  if (path === "/" && !whole.endsWith("/")) return ""
  const rest = whole.endsWith(path) ? rawLength(rawPath, whole, whole.length - path.length) : -1
  return rest !== -1 && isBoundary(rawPath, rest) ? rawPath.slice(rest) : rawPath
}

const isBoundary = (path: string, end: number): boolean => path.length === end || path[end] === "/"

/** How much of a raw path the first `length` characters of `whole`, which is what it decodes to, take. */
const rawLength = (raw: string, whole: string, length: number): number => {
  // Where the bytes are not UTF-8 each is a character. Both counts need one pass, whatever the path is made of.
  const asUtf8 = walk(raw, Infinity, true)
  return walk(raw, length, asUtf8.characters === whole.length).bytes
}

const walk = (
  raw: string,
  length: number,
  isUtf8: boolean
): { readonly bytes: number; readonly characters: number } => {
  let characters = 0
  let at = 0
  while (at < raw.length && characters < length) {
    const byte = raw[at] === "%" ? Number.parseInt(escapes.exec(raw.slice(at, at + 3))?.[1] ?? "", 16) : Number.NaN
    const size = Number.isNaN(byte) ? 0 : !isUtf8 || byte < 0xc0 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4
    at += size === 0 ? 1 : 3 * size
    characters += size === 4 ? 2 : 1
  }
  return { bytes: at, characters }
}

const escapes = /^%([0-9a-fA-F]{2})$/
