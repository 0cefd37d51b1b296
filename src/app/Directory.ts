/**
 * Serves a directory of files: index files, listings, conditional requests, ranges. Files leave as `file` events, so
 * the server reads them from disk at the client's pace and nothing of them is held in memory here.
 *
 * Nothing outside of the root is ever served: the raw path is taken apart and checked piece by piece, and what the file
 * system makes of it (symbolic links followed) must lie inside the real root.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Mime from "effect/http/Mime"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as MountPoint from "../protocol/MountPoint.ts"
import type { Headers } from "../schema/Scope.ts"
import * as App from "./App.ts"
import * as ContentNegotiation from "./ContentNegotiation.ts"
import { contentSecurityPolicy } from "./internal/Html.ts"
import * as Listing from "./internal/Listing.ts"
import * as Representation from "./internal/Representation.ts"
import * as Target from "./internal/Target.ts"
import type { SendError } from "./SendError.ts"

export interface Options {
  /** The directory, absolute or relative to the working directory. May be a symbolic link, and may be replaced. */
  readonly root: string
  /** Name of the file that answers for its directory; `false` for none. Default `"index.html"`. */
  readonly index?: string | false
  /** Whether directories without an index are listed; otherwise they are 404. Default `true`. */
  readonly listing?: boolean
  /** Whether names that begin with a dot are served and listed. Default `false`: they are 404. */
  readonly showHidden?: boolean
  /** Value of `cache-control` on files. Default: none is sent. */
  readonly cacheControl?: string
}

interface Site extends Required<Omit<Options, "cacheControl">> {
  readonly cacheControl: string | undefined
  /** The root with symbolic links followed; found on first use, and again when it seems to have moved. */
  realRoot: string | undefined
}

/** Something that exists inside of the root. `path` is absolute and free of symbolic links. */
interface Found {
  readonly path: string
  /** The name that was asked for, which a link's target need not share. */
  readonly name: string
  readonly info: FileSystem.File.Info
}

/**
 * Makes an App that serves the files below `root` for GET and HEAD; other methods get 405, other kinds of exchange are
 * declined. A directory is answered by its index, else by a listing: HTML, or JSON when `accept` prefers it.
 *
 * A path without its final slash is redirected to it (301, always local). What must not be told apart from what is not
 * there is 404: `..`, encoded separators, NUL, hidden names, links that lead out of the root, sockets and devices.
 *
 * **Fails with** `PlatformError` when the root or a file cannot be read for other reasons than absence or permission;
 * the server answers 500.
 * **Gotchas** the entity tag is made of size and modification time, hence weak: a client resumes a download with
 * `last-modified` in `if-range`. A link that is exchanged between check and opening is followed; whoever can write to
 * the root is trusted.
 * **Source** RFC 9110 sections 13 and 14.
 */
export const make = (
  options: Options
): App.App<SendError | PlatformError.PlatformError, FileSystem.FileSystem | Path.Path> => {
  const site: Site = {
    root: options.root,
    index: options.index ?? "index.html",
    listing: options.listing ?? true,
    showHidden: options.showHidden ?? false,
    cacheControl: options.cacheControl,
    realRoot: undefined
  }
  return App.http((exchange) => serve(site, exchange))
}

const serve = Effect.fnUntraced(function*(site: Site, exchange: App.HttpExchange) {
  const { scope, send } = exchange
  if (scope.method !== "GET" && scope.method !== "HEAD") {
    return yield* respond(exchange, 405, "Method Not Allowed", [["allow", "GET, HEAD"]])
  }
  const segments = parsePath(MountPoint.below(scope), site.showHidden)
  const found = segments === undefined ? undefined : yield* locate(site, segments)
  if (segments === undefined || found === undefined) return yield* respond(exchange, 404, "Not Found")

  const endsInSlash = scope.rawPath.endsWith("/")
  if (found.info.type === "File") {
    return endsInSlash ? yield* respond(exchange, 404, "Not Found") : yield* sendFile(site, exchange, found)
  }
  if (found.info.type !== "Directory") return yield* respond(exchange, 404, "Not Found")
  if (!endsInSlash) {
    return yield* respond(exchange, 301, "Moved Permanently", [["location", withSlash(scope, segments)]])
  }
  const index = site.index === false ? undefined : yield* locate(site, [...segments, site.index])
  if (index?.info.type === "File") return yield* sendFile(site, exchange, index)
  if (!site.listing) return yield* respond(exchange, 404, "Not Found")

  const entries = Listing.sort(yield* list(site, segments, found))
  const asJson = ContentNegotiation.choose(Target.header(scope, "accept"), forms) === "application/json"
  const body = asJson
    ? Listing.json(entries)
    : Listing.html(`/${segments.map((segment) => `${segment}/`).join("")}`, segments.length === 0, entries)
  yield* App.respond(send, 200, body, [
    ["content-type", asJson ? "application/json" : "text/html; charset=utf-8"],
    ["content-security-policy", contentSecurityPolicy],
    ["cache-control", "no-cache"],
    ["vary", "accept"],
    noSniff
  ])
})

/** What a listing can be; a client that does not care looks at it. */
const forms = ["text/html", "application/json"] as const

const noSniff = ["x-content-type-options", "nosniff"] as const

const respond = ({ send }: App.HttpExchange, status: number, text: string, headers: Headers = []) =>
  App.respond(send, status, `${text}\n`, [...headers, ["content-type", "text/plain; charset=utf-8"], noSniff])

/**
 * The decoded names in a raw path, `undefined` when it must not be looked up. Empty names (doubled slashes) are left
 * out, so what is built of the result never begins with two slashes.
 */
const parsePath = (rawPath: string, showHidden: boolean): ReadonlyArray<string> | undefined => {
  const names: Array<string> = []
  for (const segment of rawPath.split("/")) {
    if (segment === "") continue
    const name = decode(segment)
    if (name === undefined || !isServable(name, showHidden)) return undefined
    names.push(name)
  }
  return names
}

const isServable = (name: string, showHidden: boolean): boolean =>
  // oxlint-disable-next-line no-control-regex
  name !== "." && name !== ".." && !/[/\\\0]/.test(name) && (showHidden || !name.startsWith("."))

const decode = (segment: string): string | undefined => {
  try {
    return decodeURIComponent(segment)
  } catch {
    return undefined
  }
}

const withSlash = (scope: App.HttpExchange["scope"], segments: ReadonlyArray<string>): string => {
  const path = segments.map((segment) => `${encodeURIComponent(segment)}/`).join("")
  const mount = encodeURI(scope.rootPath).replace(/^[/\\]+/, "/")
  return `${mount}/${path}${scope.queryString === "" ? "" : `?${scope.queryString}`}`
}

const locate: (
  site: Site,
  names: ReadonlyArray<string>
) => Effect.Effect<Found | undefined, PlatformError.PlatformError, FileSystem.FileSystem | Path.Path> = Effect
  .fnUntraced(
    function*(site, names) {
      const fileSystem = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      // On Windows a colon names a drive or a stream within a file.
      if (path.sep === "\\" && names.some((name) => name.includes(":"))) return undefined
      const lexical = path.resolveWithin(site.root, names.join(path.sep))
      if (Option.isNone(lexical)) return undefined
      const real = yield* fileSystem.realPath(lexical.value)
      if (!(yield* isInside(site, real))) return undefined
      return { path: real, name: names.at(-1) ?? "", info: yield* fileSystem.stat(real) }
    },
    Effect.catchIf(isAbsence, () => Effect.undefined)
  )

/** The root may be a link that a deployment has moved on, so what seems to be outside is compared once more. */
const isInside = Effect.fnUntraced(function*(site: Site, real: string) {
  const path = yield* Path.Path
  const contains = (root: string) => real === root || real.startsWith(root.endsWith(path.sep) ? root : root + path.sep)
  if (site.realRoot !== undefined && contains(site.realRoot)) return true
  const fileSystem = yield* FileSystem.FileSystem
  site.realRoot = yield* fileSystem.realPath(path.resolve(site.root))
  return contains(site.realRoot)
})

/** What the client's path is to blame for: not there, not allowed, a file used as a directory, a name too long. */
function isAbsence(error: PlatformError.PlatformError): boolean {
  switch (error.reason._tag) {
    case "NotFound":
    case "PermissionDenied":
    case "BadResource":
    case "BadArgument":
      return true
    default:
      return (error.reason.cause as { readonly code?: unknown } | undefined)?.code === "ENAMETOOLONG"
  }
}

const sendFile = Effect.fnUntraced(function*(site: Site, { scope, send }: App.HttpExchange, found: Found) {
  const { info, name, path } = found
  const modified = Option.getOrUndefined(info.mtime)
  const size = Number(info.size)
  const etag = `W/"${size.toString(16)}-${(modified?.getTime() ?? 0).toString(16)}"`
  const decision = Representation.decide(scope.method, (header) => Target.header(scope, header), {
    etag,
    modifiedSeconds: modified === undefined ? undefined : Math.floor(modified.getTime() / 1000),
    size
  })
  const headers: Array<readonly [string, string]> = [["etag", etag], noSniff]
  if (modified !== undefined) headers.push(["last-modified", modified.toUTCString()])
  if (site.cacheControl !== undefined) headers.push(["cache-control", site.cacheControl])

  switch (decision._tag) {
    case "NotModified":
      return yield* App.respond(send, 304, "", headers)
    case "PreconditionFailed":
      return yield* App.respond(send, 412, "", [noSniff])
    case "RangeNotSatisfiable":
      return yield* App.respond(send, 416, "", [["content-range", `bytes */${size}`], noSniff])
  }
  const partial = decision._tag === "Part"
  const start = partial ? decision.start : 0
  const length = partial ? decision.length : size
  headers.push(["content-type", mediaType(name)], ["content-length", String(length)], ["accept-ranges", "bytes"])
  if (partial) headers.push(["content-range", `bytes ${start}-${start + length - 1}/${size}`])
  yield* send({ type: "http.response.start", status: partial ? 206 : 200, headers })
  // A file that grows after it was measured must not outgrow its content-length.
  yield* send(
    scope.method === "HEAD" || length === 0
      ? { type: "http.response.body" }
      : { type: "http.response.body", file: path, offset: start, length }
  )
})

/** Text is taken for UTF-8. */
const mediaType = (name: string): string => {
  const type = Option.getOrElse(Mime.getType(name), () => "application/octet-stream")
  return type.startsWith("text/") ? `${type}; charset=utf-8` : type
}

/** What may be served is listed, and nothing else. Entries that vanish meanwhile are left out. */
const list = Effect.fnUntraced(function*(site: Site, segments: ReadonlyArray<string>, directory: Found) {
  const fileSystem = yield* FileSystem.FileSystem
  const names = yield* fileSystem.readDirectory(directory.path)
  const visible = names.filter((name) => isServable(name, site.showHidden))
  const entries = yield* Effect.forEach(
    visible,
    (name) =>
      Effect.map(locate(site, [...segments, name]), (found) => found === undefined ? [] : toEntry(name, found.info)),
    {
      concurrency: 16
    }
  )
  return entries.flat()
})

const toEntry = (name: string, info: FileSystem.File.Info): ReadonlyArray<Listing.Entry> => {
  if (info.type !== "File" && info.type !== "Directory") return []
  const isDirectory = info.type === "Directory"
  return [{
    name,
    type: isDirectory ? "directory" : "file",
    size: isDirectory ? 0 : Number(info.size),
    modified: Option.getOrUndefined(info.mtime)
  }]
}
