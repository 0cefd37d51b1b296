/**
 * The path of a request as routers see it: the raw path below the mount point, cut at its slashes and then decoded
 * segment by segment, so that an encoded slash stays inside of its segment.
 */
import * as MountPoint from "../../protocol/MountPoint.ts"
import { decodePath } from "../../protocol/RequestTarget.ts"
import type { ClientExchange } from "../Exchange.ts"

type ClientScope = ClientExchange["scope"]

/** The raw path below the mount point. Begins with a slash, except for targets that are no paths (`*`). */
export const pathOf = (scope: Pick<ClientScope, "path" | "rawPath" | "rootPath">): string =>
  MountPoint.below(scope) || "/"

/** The segments of a raw path, decoded. One pass: `split` and a regular expression take 0.2 µs more (Node 20). */
export const segmentsOf = (path: string): Array<string> => {
  const segments: Array<string> = []
  let start = 1
  let isPlain = true
  for (let index = 1; index < path.length; index++) {
    const code = path.charCodeAt(index)
    if (code === 47) {
      segments.push(path.slice(start, index))
      start = index + 1
    } else if (code === 37) isPlain = false
  }
  segments.push(path.slice(start))
  return isPlain ? segments : segments.map(decodePath)
}

/** The host that a request names, in lower case and without port and final dot; empty when it names none. */
export const hostOf = (scope: Pick<ClientScope, "headers">): string => {
  for (const [name, value] of scope.headers) {
    if (name === "host") return value.replace(/\.?(?::\d*)?$/, "").toLowerCase()
  }
  return ""
}

/** Where a client is sent on this site: never to another host, whatever `path` begins with. */
export const location = (rootPath: string, path: string, queryString = ""): string => {
  const root = encodeURI(rootPath).replace(/[?#]/g, encodeURIComponent)
  const whole = `${root}${path}`.replace(/\\/g, "%5C").replace(/^\/*/, "/")
  return queryString === "" ? whole : `${whole}?${queryString}`
}

/**
 * Where a client is sent that has asked for `path`, which is below the mount point, and should ask for `target`. The
 * mount point stays as the client wrote it, unless a proxy has removed it.
 */
export const sibling = (
  { queryString, rawPath, rootPath }: Pick<ClientScope, "queryString" | "rawPath" | "rootPath">,
  path: string,
  target: string
): string => {
  const root = rawPath.endsWith(path) ? rawPath.slice(0, rawPath.length - path.length) : ""
  return decodePath(root) === rootPath
    ? location("", root + target, queryString)
    : location(rootPath, target, queryString)
}
