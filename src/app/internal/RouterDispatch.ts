/**
 * Serves exchanges with the routes of a router: finds the route, goes on to the next where one does not want the
 * request, and answers what no route wants: other methods, other slashes, mounts, what is not found.
 *
 * Order: routes, methods of a known path, the other slash, mounts by length of their prefix, notFound.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type { HttpReceive, SseReceive } from "../../schema/Event.ts"
import * as App from "../App.ts"
import type { ClientExchange, HttpExchange, SseExchange } from "../Exchange.ts"
import * as Handler from "../Handler.ts"
import { Problem } from "../Problem.ts"
import * as RouteName from "../RouteName.ts"
import * as Route from "./Route.ts"
import * as RouteApp from "./RouteApp.ts"
import * as RouteInput from "./RouteInput.ts"
import type { Entry, Layout, Leaf, Table } from "./RouteTable.ts"
import * as RouteTarget from "./RouteTarget.ts"
import * as RouteTree from "./RouteTree.ts"

type Served = Effect.Effect<void, unknown, any>
type Params = Readonly<Record<string, string>>

export interface Options {
  readonly layout: Layout
  readonly trailingSlash: "strict" | "redirect" | "ignore"
}

/**
 * True in the scope of a mount that passes on what its router has no route for; a router says so by failing with `Pass`.
 * Means nothing below a route, whose handler may serve the exchange with a router of its own.
 */
const isOpen = Symbol("slipway/app/Router/isOpen")

type MountedScope = RouteInput.RoutedScope & { readonly [isOpen]?: boolean }

export const serve = (options: Options, exchange: ClientExchange): Served => {
  const search = new Search(options, exchange)
  // RFC 9112 section 3.2.4: `*` stands for the server, not for something on it.
  return search.path.startsWith("/") ? next(search) : notFound(search)
}

/** A table to look into, and the parameters that finding it has brought. */
interface Place {
  readonly table: Table
  readonly params: Params
}

/** What is known while the route for one exchange is looked for. */
class Search {
  readonly options: Options
  exchange: ClientExchange
  readonly method: string
  readonly path: string
  readonly segments: ReadonlyArray<string>
  readonly places: ReadonlyArray<Place>
  place = 0
  /** How many candidates of this place have been tried. */
  tried = 0
  /** The segments with the other slash, once they are what is looked for. */
  other: ReadonlyArray<string> | undefined
  /** True once a handler has left the exchange to others. */
  passed = false
  values: Array<string> = noValues
  private found: Entry | undefined
  private remaining = 0

  constructor(options: Options, exchange: ClientExchange) {
    this.options = options
    this.exchange = exchange
    this.method = exchange.type === "websocket" ? "GET" : exchange.scope.method
    this.path = RouteTarget.pathOf(exchange.scope)
    this.segments = RouteTarget.segmentsOf(this.path)
    this.places = placesOf(options.layout, exchange)
  }

  /** The next candidate, with its parameters in `values`. */
  next(): Entry | undefined {
    for (; this.place < this.places.length; this.place++, this.tried = 0) {
      const segments = this.other ?? this.segments
      this.values = []
      this.found = undefined
      this.remaining = this.tried++
      RouteTree.search(this.places[this.place]!.table.routes, segments, segments.length, this.values, this)
      if (this.found !== undefined) return this.found
    }
    return undefined
  }

  visit(leaf: Leaf): boolean {
    const candidates = leaf.candidates(this.exchange.type, this.method)
    if (this.remaining >= candidates.length) {
      this.remaining -= candidates.length
      return false
    }
    this.found = candidates[this.remaining]
    return true
  }

  restart(segments: ReadonlyArray<string>): void {
    this.other = segments
    this.place = 0
    this.tried = 0
  }
}

const noValues: Array<string> = []

const placesOf = ({ anyHost, hasHosts, hosts }: Layout, { scope }: ClientExchange): ReadonlyArray<Place> => {
  const outer = (scope as RouteInput.RoutedScope).pathParams ?? RouteInput.noParams
  const last = { table: anyHost, params: outer }
  if (!hasHosts) return [last]
  const places: Array<Place> = []
  const labels = RouteTarget.hostOf(scope).split(".")
  const values: Array<string> = []
  RouteTree.each(hosts, labels, labels.length, values, (found) => {
    for (const { names, table } of found) places.push({ table, params: paramsOf(outer, names, values) })
  })
  places.push(last)
  return places
}

/** Names and values in the same order; what may be absent stands at the end and is left out. */
const paramsOf = (outer: Params, names: ReadonlyArray<string>, values: ReadonlyArray<string>): Params => {
  if (values.length === 0) return outer
  const params: Record<string, string> = { ...outer }
  for (let index = 0; index < values.length; index++) params[names[index]!] = values[index]!
  return params
}

const paramsFound = ({ place, places, values }: Search, { names }: Entry): Params =>
  paramsOf(places[place]!.params, names, values)

const next = (search: Search): Served => {
  const entry = search.next()
  return entry === undefined ? missed(search) : attempt(search, entry)
}

// ---- a candidate

const attempt = (search: Search, entry: Entry): Served => {
  const params = paramsFound(search, entry)
  if (entry.decodePath === undefined && entry.decodeOuter === undefined) {
    return run(search, entry, params, { label: entry.label, path: params, outer: params, passed: undefined })
  }
  return Effect.matchCauseEffectEager(decode(entry, params), {
    // Where it does not fit, the path names no resource of this route; another may know it.
    onFailure: (cause) => Cause.hasDies(cause) ? Handler.make(Effect.failCause(cause))(search.exchange) : next(search),
    onSuccess: (match) => run(search, entry, params, match)
  })
}

/** Decodes the parameters that have Schemas. **Fails with** whatever does not fit; dies where there is nothing to fit. */
const decode = (
  { decodeOuter, decodePath, label, outerNames }: Entry,
  params: Params
): Effect.Effect<RouteInput.Match, unknown, any> => {
  const missing = outerNames.find((name) => !Object.hasOwn(params, name))
  if (missing !== undefined) {
    return Effect.die(new Error(`${label} wants the parameter "${missing}" of what is around it, where there is none`))
  }
  const path: Effect.Effect<any, unknown, any> = decodePath === undefined
    ? Effect.succeed(params)
    : Effect.mapEager(decodePath(params), (decoded) => ({ ...params, ...decoded }))
  return Effect.flatMapEager(path, (path): Effect.Effect<RouteInput.Match, unknown, any> =>
    decodeOuter === undefined
      ? Effect.succeed({ label, path, outer: params, passed: undefined })
      : Effect.mapEager(decodeOuter(params), (outer: unknown) => ({ label, path, outer, passed: undefined })))
}

const run = (search: Search, entry: Entry, params: Params, match: RouteInput.Match): Served => {
  RouteName.note(search.exchange.scope, entry.label)
  const scope = RouteInput.routedScope(search.exchange.scope, params, match)
  return Effect.catchCause(entry.app(derive(search.exchange, scope)), (cause) => {
    if (match.passed === undefined) return Effect.failCause(cause)
    search.passed = true
    search.exchange = receivingAgain(search.exchange, match.passed)
    return next(search)
  })
}

/** The exchange for the next route: what the one before has read of the body is received again. */
const receivingAgain = (exchange: ClientExchange, receive: HttpExchange["receive"]): ClientExchange => {
  switch (exchange.type) {
    case "http":
      return App.derive(exchange, { receive })
    case "sse":
      return App.derive(exchange, { receive: Effect.map(receive, (event) => toSse(event, exchange)) })
    case "websocket":
      return exchange
  }
}

const toSse = (event: HttpReceive, { connection }: SseExchange): SseReceive =>
  event.type === "http.request"
    ? { ...event, type: "sse.request" }
    : { type: "sse.disconnect", reason: connection.disconnectReason ?? "client_closed" }

/** TypeScript does not see that the scope is of the exchange's kind. */
const derive = (exchange: ClientExchange, scope: ClientExchange["scope"]): ClientExchange =>
  App.derive<ClientExchange>(exchange, { scope } as {})

// ---- no candidate

const missed = (search: Search): Served => {
  const { exchange, options: { trailingSlash }, other, segments } = search
  if (trailingSlash === "ignore" && other === undefined && !search.passed) {
    search.restart(toggled(segments))
    return next(search)
  }
  if (exchange.type === "websocket" || search.passed) return mounts(search)
  const known = entriesAt(search, other === undefined ? [segments] : [segments, other])
  if (known.length === 0) return trailingSlash === "redirect" ? redirected(search) : mounts(search)
  return Effect.flatMapEager(allowed(known), (methods) => {
    if (methods.size === 0) return trailingSlash === "redirect" ? redirected(search) : mounts(search)
    const allow = [...methods].sort().join(", ")
    return search.method === "OPTIONS"
      ? Handler.make(Effect.succeed(HttpServerResponse.empty({ status: 204, headers: { allow } })))(exchange)
      : Handler.make(Effect.fail(new Problem({ status: 405, headers: { allow } })))(exchange)
  })
}

type Found = ReadonlyArray<readonly [Entry, Params]>

/** What is registered for the path, whatever its method. */
const entriesAt = (search: Search, shapes: ReadonlyArray<ReadonlyArray<string>>): Found => {
  const entries: Array<readonly [Entry, Params]> = []
  for (const { params, table } of search.places) {
    for (const segments of shapes) {
      const values: Array<string> = []
      RouteTree.each(table.routes, segments, segments.length, values, (leaf) => {
        for (const entry of leaf.entries) {
          if (entry.protocol === "http") entries.push([entry, paramsOf(params, entry.names, values)])
        }
      })
    }
  }
  return entries
}

/** The methods that the path knows. A route whose Schemas do not fit the path does not know it. */
const allowed = (entries: Found): Effect.Effect<Set<string>, never, any> => {
  const methods = new Set<string>()
  const known = Effect.forEach(entries, ([entry, params]) =>
    Effect.match(decode(entry, params), {
      onFailure: () => {},
      onSuccess: () => {
        for (const method of entry.methods) if (method !== "*") methods.add(method)
      }
    }), { discard: true })
  return Effect.map(known, () => {
    if (methods.has("GET")) methods.add("HEAD")
    if (methods.size > 0) methods.add("OPTIONS")
    return methods
  })
}

/** The segments with the other slash; those of the root become none, which no route has. */
const toggled = (segments: ReadonlyArray<string>): ReadonlyArray<string> =>
  segments.at(-1) === "" ? segments.slice(0, -1) : [...segments, ""]

/** To the registered form of the path, where there is one. */
const redirected = (search: Search): Served => {
  const { exchange, path, segments } = search
  search.restart(toggled(segments))
  return Effect.flatMapEager(fitting(search), (isKnown) => {
    if (!isKnown) return mounts(search)
    const target = path.endsWith("/") ? path.slice(0, -1) : `${path}/`
    const location = RouteTarget.sibling(exchange.scope, path, target)
    return Handler.make(Effect.succeed(HttpServerResponse.redirect(location, { status: 308 })))(exchange)
  })
}

/** Whether a candidate's Schemas fit the path. Where none do, its other form might redirect back to this one. */
const fitting = (search: Search): Effect.Effect<boolean, unknown, any> => {
  const entry = search.next()
  if (entry === undefined) return Effect.succeed(false)
  return Effect.matchEffect(decode(entry, paramsFound(search, entry)), {
    onFailure: () => fitting(search),
    onSuccess: () => Effect.succeed(true)
  })
}

// ---- mounts

const mounts = (search: Search): Served => {
  const found: Array<readonly [entry: Entry, params: Params, length: number]> = []
  for (const { params, table } of search.places) {
    if (!table.hasMounts) continue
    for (let length = search.segments.length; length >= 0; length--) {
      const values: Array<string> = []
      RouteTree.each(table.mounts, search.segments, length, values, (entries) => {
        for (const entry of entries) found.push([entry, paramsOf(params, entry.names, values), length])
      })
    }
  }
  const note = RouteName.noteIn(search.exchange.scope)
  const prefix = note?.prefix
  const from = (index: number): Served => {
    const mount = found[index]
    if (note !== undefined) note.prefix = prefix!
    if (mount === undefined) return notFound(search)
    const [entry, params, length] = mount
    if (note !== undefined) mountedAt(note, entry.label)
    const { exchange } = search
    return Effect.catchCause(
      entry.app(below(search, entry, params, length)),
      (cause) => Route.isPass(cause) && !exchange.connection.responseStarted ? from(index + 1) : Effect.failCause(cause)
    )
  }
  return from(0)
}

/** What has no routes of its own is counted under its mount point. */
const mountedAt = (note: RouteName.Note, label: string): void => {
  note.prefix += label.slice("mount ".length).replace(/\/$/, "")
  note.name = `mount ${note.prefix}`
}

/** The exchange as the mounted App sees it: the first `length` segments belong to the mount point. */
const below = (
  { exchange, segments }: Search,
  { passThrough }: Entry,
  params: Params,
  length: number
): ClientExchange => {
  const { path, rootPath } = exchange.scope
  const prefix = segments.slice(0, length).map((segment) => `/${segment}`).join("")
  const rest = path.startsWith(prefix) ? path.slice(prefix.length) : `/${segments.slice(length).join("/")}`
  const mounted = { path: rest || "/", rootPath: rootPath + prefix, [isOpen]: passThrough }
  return derive(exchange, Object.assign(RouteInput.routedScope(exchange.scope, params, undefined), mounted))
}

// ---- nothing

const notFound = (search: Search): Served => {
  const scope: MountedScope = search.exchange.scope
  const note = RouteName.noteIn(scope)
  if (note !== undefined) note.name = undefined
  return scope[isOpen] === true && scope.route === undefined
    ? Effect.suspend(() => Effect.fail(new Route.Pass()))
    : answered(search)
}

const answered = ({ exchange, places, segments }: Search): Served => {
  if (exchange.type === "websocket") return RouteApp.decline(exchange, noSuchPath)
  for (const { params, table } of places) {
    if (!table.hasNotFounds) continue
    for (let length = segments.length; length >= 0; length--) {
      const values: Array<string> = []
      let answer: Served | undefined
      RouteTree.each(table.notFounds, segments, length, values, (entries) => {
        const entry = entries.at(-1)!
        answer ??= answerWith(entry, exchange, paramsOf(params, entry.names, values))
      })
      if (answer !== undefined) return answer
    }
  }
  return standard(exchange)
}

const noSuchPath = Effect.suspend(() => Effect.fail(new Problem({ status: 404 })))

const standard = Handler.make(noSuchPath)

/** A handler for what was not found that passes leaves it to the standard answer. */
const answerWith = (entry: Entry, exchange: ClientExchange, params: Params): Served => {
  const match = { label: entry.label, path: params, outer: params, passed: undefined }
  const scope = RouteInput.routedScope(exchange.scope, params, match)
  return Effect.catchCause(
    entry.app(derive(exchange, scope)),
    (cause) => match.passed !== undefined ? standard(exchange) : Effect.failCause(cause)
  )
}
