/**
 * Lays out the routes of a router, once: groups flattened, paths joined, every route made an App with its middleware
 * around it, sorted into one table per host. Mistakes in routes are found here and thrown with the name of the route.
 */
import * as Schema from "effect/Schema"
import type { App } from "../App.ts"
import * as Route from "./Route.ts"
import * as RouteApp from "./RouteApp.ts"
import * as RouteInput from "./RouteInput.ts"
import * as RoutePattern from "./RoutePattern.ts"
import * as RouteResult from "./RouteResult.ts"
import * as RouteTree from "./RouteTree.ts"
import type { Metadata } from "./RouteTypes.ts"

/** Something that may serve an exchange: a route, a mounted App, an answer for what was not found. */
export interface Entry {
  readonly app: App<unknown, any>
  readonly names: ReadonlyArray<string>
  readonly protocol: Route.Protocol
  readonly methods: ReadonlyArray<string>
  readonly decodePath: ReturnType<typeof RouteInput.decodePath>
  readonly decodeOuter: ReturnType<typeof RouteInput.decodePath>
  readonly outerNames: ReadonlyArray<string>
  readonly label: string
  readonly order: number
  /** Of a mount: whether a router leaves to us what it has no route for. */
  readonly passThrough: boolean
}

/** What is registered for one path. */
export class Leaf {
  readonly entries: Array<Entry> = []
  private readonly byMethod = new Map<string, ReadonlyArray<Entry>>()
  private any: ReadonlyArray<Entry> = []
  private sse: ReadonlyArray<Entry> = []
  private webSocket: ReadonlyArray<Entry> = []

  /** Who may serve an exchange, best first: sessions before requests, a method of its own before `any`. */
  candidates(type: Route.Protocol, method: string): ReadonlyArray<Entry> {
    if (type === "websocket") return this.webSocket
    const http = this.byMethod.get(method) ?? this.any
    return type === "http" || this.sse.length === 0 ? http : [...this.sse, ...http]
  }

  seal(): void {
    const http = this.of("http")
    this.sse = this.of("sse")
    this.webSocket = this.of("websocket")
    this.any = http.filter(({ methods }) => methods.includes("*"))
    const methods = new Set(http.flatMap(({ methods }) => methods))
    // RFC 9110 section 9.3.2: HEAD is GET without content.
    if (methods.has("GET")) methods.add("HEAD")
    for (const method of methods) {
      const named = (wanted: string) => http.filter(({ methods }) => methods.includes(wanted))
      const own = new Set([...named(method), ...(method === "HEAD" ? named("GET") : []), ...this.any])
      this.byMethod.set(method, [...own])
    }
  }

  private of(protocol: Route.Protocol): ReadonlyArray<Entry> {
    const weight = (entry: Entry) => entry.decodePath === undefined ? 0 : 1
    return this.entries.filter((entry) => entry.protocol === protocol)
      .sort((a, b) => weight(b) - weight(a) || a.order - b.order)
  }
}

/** What is registered for one host, or for all of them. */
export interface Table {
  readonly routes: RouteTree.Tree<Leaf>
  readonly mounts: RouteTree.Tree<Array<Entry>>
  /** The last of a path is the innermost. */
  readonly notFounds: RouteTree.Tree<Array<Entry>>
  hasMounts: boolean
  hasNotFounds: boolean
}

const makeTable = (): Table => ({
  routes: RouteTree.make(),
  mounts: RouteTree.make(),
  notFounds: RouteTree.make(),
  hasMounts: false,
  hasNotFounds: false
})

/** A route as data, for listings and documents. */
export interface Info extends Metadata {
  readonly protocol: Route.Protocol | "mount"
  /** `*` stands for any; empty for sessions and mounts. */
  readonly methods: ReadonlyArray<string>
  /** The whole path, with the prefixes of groups; of a mount, its prefix. */
  readonly path: string
  /** Absent: any host. */
  readonly host?: string
  readonly name?: string
  /** The Schemas that the route was given; `success` as a list, with its status. */
  readonly schemas: Pick<Route.Options, (typeof schemaKeys)[number]>
}

const schemaKeys = [
  "path",
  "outer",
  "query",
  "headers",
  "cookies",
  "body",
  "success",
  "errors",
  "data",
  "message",
  "receive",
  "send"
] as const

/** What mounting needs to know of a router. */
export interface Mountable {
  readonly routes: ReadonlyArray<Info>
  readonly named: ReadonlyMap<string, RoutePattern.Pattern>
}

export interface Layout extends Mountable {
  readonly anyHost: Table
  readonly hosts: RouteTree.Tree<Array<{ readonly table: Table; readonly names: ReadonlyArray<string> }>>
  readonly hasHosts: boolean
}

/** What groups above say about what is below them. */
interface Above extends Metadata {
  readonly prefix: string
  readonly host: string | undefined
  readonly table: Table
  /** Begins the names of routes; ends in a dot unless empty. */
  readonly name: string
  /** The first is the outermost. */
  readonly wraps: ReadonlyArray<Route.Wrap>
  /** The first is asked first. */
  readonly recover: ReadonlyArray<Route.Recover>
}

/** Lays out `nodes`. `mountable` tells routers from other Apps; `docs` makes the routes of a documentation node. */
export const layOut = (
  nodes: ReadonlyArray<Route.Node>,
  options: Pick<Route.GroupOptions, "notFound" | "onError">,
  mountable: (app: App<any, any>) => Mountable | undefined,
  docs: (node: Route.Docs) => ReadonlyArray<Route.Route>
): Layout => {
  const builder = new Builder(mountable, docs)
  const top = {
    prefix: "",
    host: undefined,
    table: builder.anyHost,
    name: "",
    wraps: [],
    recover: []
  }
  builder.add({ _tag: "Group", prefix: "/", options, children: nodes }, top)
  builder.seal()
  return builder
}

class Builder implements Layout {
  readonly anyHost = makeTable()
  readonly hosts: Layout["hosts"] = RouteTree.make()
  readonly routes: Array<Info> = []
  readonly named = new Map<string, RoutePattern.Pattern>()
  hasHosts = false
  private order = 0
  private readonly leaves = new Set<Leaf>()
  private readonly tables = new Map<string, Table>()
  private readonly seen = new Map<string, Route.Route>()
  private readonly mountable: (app: App<any, any>) => Mountable | undefined
  private readonly docs: (node: Route.Docs) => ReadonlyArray<Route.Route>

  constructor(mountable: Builder["mountable"], docs: Builder["docs"]) {
    this.mountable = mountable
    this.docs = docs
  }

  add(node: Route.Node, above: Above): void {
    switch (node._tag) {
      case "Route":
        return this.addRoute(node, above)
      case "Group":
        return this.addGroup(node, above)
      case "Mount":
        return this.addMount(node, above)
      case "Docs":
        for (const route of this.docs(node)) this.addRoute(route, above)
    }
  }

  seal(): void {
    for (const leaf of this.leaves) leaf.seal()
  }

  private addGroup({ children, host, options, prefix }: Route.Group, above: Above): void {
    if (host !== undefined && above.host !== undefined) {
      throw new Error(`The host ${JSON.stringify(host)} is within the host ${JSON.stringify(above.host)}`)
    }
    const inner: Above = {
      ...mergeMetadata(above, options),
      prefix: prefix === "/" ? above.prefix : above.prefix + prefix.replace(/\/$/, ""),
      host: host ?? above.host,
      table: host === undefined ? above.table : this.tableOf(host),
      name: options.name === undefined ? above.name : `${above.name}${options.name}.`,
      wraps: options.middleware === undefined ? above.wraps : [...above.wraps, options.middleware],
      recover: options.onError === undefined ? above.recover : [options.onError, ...above.recover]
    }
    if (inner.prefix !== "") RoutePattern.parse(inner.prefix)
    if (options.notFound !== undefined) this.addNotFound(options.notFound, inner)
    for (const child of children) this.add(child, inner)
  }

  private tableOf(host: string): Table {
    const pattern = RoutePattern.parseHost(host)
    const known = this.tables.get(pattern.text)
    if (known !== undefined) return known
    const table = makeTable()
    this.hasHosts = true
    this.tables.set(pattern.text, table)
    for (const leaf of RouteTree.insert(this.hosts, pattern, () => [])) leaf.push({ table, names: pattern.names })
    return table
  }

  private entry(app: App<unknown, any>, above: Above, known: Partial<Entry>): Entry {
    return {
      app: above.wraps.reduceRight((inner, wrap) => wrap(inner), app),
      names: [],
      protocol: "http",
      methods: [],
      decodePath: undefined,
      decodeOuter: undefined,
      outerNames: [],
      label: "",
      order: this.order++,
      passThrough: false,
      ...known
    }
  }

  private addRoute(route: Route.Route, above: Above): void {
    const { options, protocol } = route
    const path = Route.join(above.prefix, route.path)
    const label = `${protocol === "http" ? route.methods.join(",") : protocol} ${path}`
    this.refuseTwins(route, above, path)
    try {
      const pattern = RoutePattern.parse(path, options.constraints)
      for (const name of Object.keys(options.path ?? {})) {
        if (!pattern.names.includes(name)) throw new Error(`\`path\` has a Schema for "${name}", which is no parameter`)
      }
      for (const name of Schema.isSchema(options.headers) ? [] : Object.keys(options.headers ?? {})) {
        if (name !== name.toLowerCase()) {
          throw new Error(`\`headers\` has a Schema for "${name}"; names of headers are lower case here`)
        }
      }
      const wraps = options.middleware === undefined ? above.wraps : [...above.wraps, options.middleware]
      const entry = this.entry(RouteApp.make(route, label, above.recover), { ...above, wraps }, {
        names: pattern.names,
        protocol,
        methods: route.methods,
        decodePath: RouteInput.decodePath(options.path, RoutePattern.optionalNames(pattern)),
        decodeOuter: RouteInput.decodePath(options.outer, []),
        outerNames: Object.keys(options.outer ?? {}),
        label
      })
      for (const leaf of RouteTree.insert(above.table.routes, pattern, () => new Leaf())) {
        leaf.entries.push(entry)
        this.leaves.add(leaf)
      }
      this.note(route, above, pattern)
    } catch (cause) {
      throw new Error(`The route ${label} is invalid: ${cause instanceof Error ? cause.message : String(cause)}`, {
        cause
      })
    }
  }

  /** A route that can never be reached is a mistake: the one before it takes all that it would get. */
  private refuseTwins(route: Route.Route, above: Above, path: string): void {
    for (const method of route.protocol === "http" ? route.methods : [route.protocol]) {
      const key = `${above.host ?? ""} ${method} ${path}`
      const twin = this.seen.get(key)
      if (twin !== undefined && twin.options.path === undefined && twin.options.constraints === undefined) {
        throw new Error(`The route ${method} ${path} is registered twice`)
      }
      this.seen.set(key, route)
    }
  }

  private note({ methods, options, protocol }: Route.Route, above: Above, pattern: RoutePattern.Pattern): void {
    const success = options.success === undefined
      ? undefined
      : { success: RouteResult.withStatus(options.success, options.status) }
    const schemas = Object.fromEntries(
      schemaKeys.flatMap((key) => options[key] === undefined ? [] : [[key, options[key]]])
    )
    this.routes.push({
      ...mergeMetadata(above, options),
      ...(above.host === undefined ? undefined : { host: above.host }),
      ...(options.name === undefined ? undefined : { name: above.name + options.name }),
      protocol,
      methods,
      path: pattern.text,
      schemas: { ...schemas, ...success }
    })
    if (options.name !== undefined) this.call(above.name + options.name, pattern)
  }

  private call(name: string, pattern: RoutePattern.Pattern): void {
    if (this.named.has(name)) throw new Error(`two routes are called ${JSON.stringify(name)}`)
    this.named.set(name, pattern)
  }

  private addMount({ app, name, passThrough, prefix }: Route.Mount, above: Above): void {
    const path = Route.join(above.prefix, prefix === "/" ? "/" : prefix.replace(/\/$/, ""))
    const inner = this.mountable(app)
    const pattern = RoutePattern.parse(path)
    if (pattern.rest !== undefined || pattern.optional > 0) {
      throw new Error(`The mount ${path} is invalid: its prefix has an end that may be absent`)
    }
    const entry = this.entry(app, above, {
      names: pattern.names,
      passThrough,
      label: `mount ${path}`
    })
    above.table.hasMounts = true
    leafOf(above.table.mounts, pattern, () => []).push(entry)
    if (inner === undefined) {
      const host = above.host === undefined ? undefined : { host: above.host }
      this.routes.push({ ...mergeMetadata(above, {}), ...host, protocol: "mount", methods: [], path, schemas: {} })
      return
    }
    for (const route of inner.routes) {
      const { name: innerName, ...rest } = route
      this.routes.push({
        ...mergeMetadata(above, rest),
        ...rest,
        path: Route.join(path, route.path),
        ...(name === undefined || innerName === undefined ? undefined : { name: `${above.name}${name}.${innerName}` })
      })
    }
    if (name === undefined) return
    for (const [innerName, inside] of inner.named) {
      this.call(`${above.name}${name}.${innerName}`, RoutePattern.parse(Route.join(path, inside.text)))
    }
  }

  private addNotFound(handler: Route.Handler, above: Above): void {
    const pattern = RoutePattern.parse(above.prefix || "/")
    const label = `notFound of ${above.prefix || "/"}`
    above.table.hasNotFounds = true
    const app = RouteApp.fallback(handler, label, above.recover)
    leafOf(above.table.notFounds, pattern, () => []).push(this.entry(app, above, { names: pattern.names, label }))
  }
}

/** The leaf of a prefix; that of `/` is the root, which begins every path. */
const leafOf = <A>(tree: RouteTree.Tree<A>, pattern: RoutePattern.Pattern, create: () => A): A =>
  pattern.text === "/" ? tree.leaf ??= create() : RouteTree.insert(tree, pattern, create)[0]!

const mergeMetadata = (above: Metadata, own: Metadata): Metadata => {
  const tags = own.tags ?? above.tags
  const meta = above.meta === undefined && own.meta === undefined ? undefined : { ...above.meta, ...own.meta }
  const deprecated = own.deprecated ?? above.deprecated
  const documented = own.documented ?? above.documented
  return {
    ...(own.summary === undefined ? undefined : { summary: own.summary }),
    ...(own.description === undefined ? undefined : { description: own.description }),
    ...(tags === undefined ? undefined : { tags }),
    ...(meta === undefined ? undefined : { meta }),
    ...(deprecated === undefined ? undefined : { deprecated }),
    ...(documented === undefined ? undefined : { documented })
  }
}
