/**
 * The path of a request as routers see it: the raw path below the mount point, cut at its slashes and then decoded
 * segment by segment, so that an encoded slash stays inside of its segment.
 */
import type { ClientExchange } from "../Exchange.ts"

type ClientScope = ClientExchange["scope"]

/** The raw path below the mount point. Begins with a slash, except for targets that are no paths (`*`). */
export const pathOf = ({ rawPath, rootPath }: Pick<ClientScope, "rawPath" | "rootPath">): string => {
  if (rootPath === "") return rawPath
  if (rawPath.startsWith(rootPath) && isBoundary(rawPath, rootPath.length)) return rawPath.slice(rootPath.length) || "/"
  // The mount point is decoded: the raw one is the beginning that decodes to it.
  for (let end = rawPath.indexOf("/", 1); end !== -1; end = rawPath.indexOf("/", end + 1)) {
    if (decode(rawPath.slice(0, end)) === rootPath) return rawPath.slice(end)
  }
  return decode(rawPath) === rootPath ? "/" : rawPath
}

const isBoundary = (path: string, end: number): boolean => path.length === end || path[end] === "/"

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
  return isPlain ? segments : segments.map(decode)
}

/**
 * Decodes as the server decodes paths: percent-escapes, then UTF-8; where that fails, each byte is the character of its
 * value, and a `%` that starts no escape stays as it is.
 */
export const decode = (raw: string): string => {
  try {
    return decodeURIComponent(raw)
  } catch {
    const bytes = raw.replace(/%([0-9a-fA-F]{2})/g, (_, digits) => String.fromCharCode(parseInt(digits, 16)))
    try {
      return utf8.decode(Uint8Array.from(bytes, (char) => char.charCodeAt(0)))
    } catch {
      return bytes
    }
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** The host that a request names, in lower case and without port and final dot; empty when it names none. */
export const hostOf = (scope: Pick<ClientScope, "headers">): string => {
  for (const [name, value] of scope.headers) {
    if (name === "host") return value.replace(/\.?(?::\d*)?$/, "").toLowerCase()
  }
  return ""
}

/** Where a client is sent on this site: never to another host, whatever `path` begins with. */
export const location = (rootPath: string, path: string, queryString = ""): string => {
  const whole = `${encodeURI(rootPath)}${path}`.replace(/\\/g, "%5C").replace(/^\/*/, "/")
  return queryString === "" ? whole : `${whole}?${queryString}`
}
