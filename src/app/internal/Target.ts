/**
 * What a request asks for, in the forms that handlers and adapters need: the path below the mount point, the same with
 * its query, and the absolute URL.
 */
import * as MountPoint from "../../protocol/MountPoint.ts"
import { decodePath } from "../../protocol/RequestTarget.ts"
import type { HttpScope } from "../../schema/Scope.ts"

/** Value of a header that occurs at most once, `undefined` when it is absent. */
export const header = (scope: Pick<HttpScope, "headers">, name: string): string | undefined => {
  for (const entry of scope.headers) {
    if (entry[0] === name) return entry[1]
  }
  return undefined
}

/** Path below the mount point and query, as `HttpServerRequest.url` has it; begins with a slash (or is `*`). */
export const mountedUrl = (scope: HttpScope): string => withQuery(MountPoint.below(scope) || "/", scope)

/**
 * The scope of a request whose path router and mounts of effect/http have shortened to that of `url`. What they took
 * away is the mount point.
 */
export const remount = (scope: HttpScope, url: string): HttpScope => {
  const path = url.replace(/[?#].*/s, "")
  const whole = scope.rawPath
  const isWhole = path === (MountPoint.below(scope) || "/")
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
