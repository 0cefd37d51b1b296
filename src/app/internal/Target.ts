/**
 * What a request asks for, in the forms that handlers and adapters need: the path below the mount point, the same with
 * its query, and the absolute URL.
 */
import { decodePath } from "../../protocol/RequestTarget.ts"
import type { HttpScope } from "../../schema/Scope.ts"

/** Value of a header that occurs at most once, `undefined` when it is absent. */
export const header = (scope: Pick<HttpScope, "headers">, name: string): string | undefined => {
  for (const entry of scope.headers) {
    if (entry[0] === name) return entry[1]
  }
  return undefined
}

/**
 * The raw path without the mount point. Empty when the request names the mount point itself without a slash. Where the
 * path does not begin with `rootPath`, because a proxy in front has removed its own part of it, what stands before
 * `path` is the rest of the mount point.
 */
export const mountedPath = ({ path, rawPath, rootPath }: Pick<HttpScope, "path" | "rawPath" | "rootPath">): string => {
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

/** Path below the mount point and query, as `HttpServerRequest.url` has it; begins with a slash (or is `*`). */
export const mountedUrl = (scope: HttpScope): string => withQuery(mountedPath(scope) || "/", scope)

/**
 * The scope of a request whose path router and mounts of effect/http have shortened to that of `url`. What they took
 * away is the mount point.
 */
export const remount = (scope: HttpScope, url: string): HttpScope => {
  const path = url.replace(/[?#].*/s, "")
  const whole = scope.rawPath
  const isWhole = path === (mountedPath(scope) || "/")
  if (isWhole || !(whole.endsWith(path) || path === "/")) return scope
  const rawRoot = whole.endsWith(path) ? whole.slice(0, whole.length - path.length) : whole
  return { ...scope, path: decodePath(path), rootPath: decodePath(rawRoot) }
}

/** The whole URL as the client sees it; only path and query when the host is not known. */
export const absoluteUrl = (scope: HttpScope): string => {
  const host = authority(scope)
  const target = withQuery(scope.rawPath, scope)
  return host === undefined || !target.startsWith("/") ? target : `${scope.scheme}://${host}${target}`
}

/** The `host` header, or the address we listen on for a client that sends none (HTTP/1.0). */
export const authority = (scope: HttpScope): string | undefined => {
  const host = header(scope, "host")
  if (host !== undefined && host !== "") return host
  if (scope.server === undefined || scope.server[1] === null) return undefined
  const [address, port] = scope.server
  return `${address.includes(":") ? `[${address}]` : address}:${port}`
}

const withQuery = (path: string, scope: HttpScope): string =>
  scope.queryString === "" ? path : `${path}?${scope.queryString}`
