/**
 * Describes the routes of a router to others: an effect/http-api value made of them, and the OpenAPI 3.1 document that
 * effect makes of that. Runs when it is asked for; nothing of a request passes through here.
 *
 * Routes for sessions share the GET of their path: events as `text/event-stream`, a WebSocket as an answer 101.
 */
import type * as Context from "effect/Context"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as HttpMethod from "effect/http/HttpMethod"
import * as Schema from "effect/Schema"
import * as RoutePattern from "./RoutePattern.ts"
import type { Info } from "./RouteTable.ts"

/** What the document says of the whole. */
export interface About {
  readonly title?: string
  readonly version?: string
  readonly description?: string
  readonly servers?: ReadonlyArray<{ readonly url: string; readonly description?: string }>
}

/** One operation of the document, and the routes that share it. */
interface Operation {
  readonly id: string
  readonly method: HttpMethod.HttpMethod
  readonly pattern: RoutePattern.Pattern
  /** The parameters in their order, as the route calls them. */
  readonly names: ReadonlyArray<string>
  readonly infos: Array<Info>
}

/** The group of routes without a tag; HttpApi has no routes outside of groups. */
const untagged = "~untagged"

/** The routes as an HttpApi. */
export const api = (routes: ReadonlyArray<Info>, about: About): HttpApi.HttpApi<string, HttpApiGroup.Top> => {
  const groups = new Map<string, HttpApiGroup.HttpApiGroup<string, any, boolean>>()
  const schemas: Record<string, unknown> = {}
  for (const operation of operationsOf(routes)) {
    const tag = operation.infos[0]!.tags?.[0] ?? ""
    const group = groups.get(tag) ?? HttpApiGroup.make(tag === "" ? untagged : tag, { topLevel: true as boolean })
    groups.set(tag, group.add(endpoint(operation, schemas)))
  }
  const { description, servers, title = "Api", version = "0.0.1" } = about
  const transform = (spec: Record<string, any>) => {
    spec.components.schemas = { ...schemas, ...spec.components.schemas }
    return tidy(spec, groups.has(""))
  }
  const api = HttpApi.make("router").annotateMerge(
    OpenApi.annotations({ title, version, description, servers, transform })
  )
  // The groups are known to nobody's types.
  return [...groups.values()].reduce((all, group) => all.add(group) as any, api as {} as HttpApi.HttpApi<string, any>)
}

/** The routes as an OpenAPI 3.1 document. */
export const document = (routes: ReadonlyArray<Info>, about: About): OpenApi.OpenAPISpec =>
  OpenApi.fromApi(api(routes, about))

const operationsOf = (routes: ReadonlyArray<Info>): ReadonlyArray<Operation> => {
  const operations = new Map<string, Operation>()
  const patterns = new Map<string, RoutePattern.Pattern>()
  const ids = new Set<string>()
  for (const info of routes) {
    if (info.protocol === "mount" || info.documented === false) continue
    const own = RoutePattern.parse(info.path)
    const shape = pathOf(own, () => "{}")
    // "Templated paths with the same hierarchy but different templated names MUST NOT exist as they are identical."
    const pattern = patterns.get(shape) ?? own
    patterns.set(shape, pattern)
    for (const method of info.protocol === "http" ? info.methods : ["GET"]) {
      if (!HttpMethod.isHttpMethod(method)) continue
      const key = `${method} ${shape}`
      const known = operations.get(key)
      if (known !== undefined) {
        // A second route of the same shape differs in its tests alone, which the document does not tell apart.
        if (!known.infos.some(({ protocol }) => protocol === info.protocol)) known.infos.push(info)
        continue
      }
      const id = uniqueIn(
        ids,
        info.name === undefined || info.methods.length > 1 ? nameless(method, info.path) : info.name
      )
      operations.set(key, { id, method, pattern, names: own.names, infos: [info] })
    }
  }
  return [...operations.values()]
}

const nameless = (method: string, path: string): string =>
  `${method.toLowerCase()}${path.replace(/\{(\w+)[^/]*\}/g, "$1").replace(/\W+/g, "_").replace(/_$/, "")}`

const uniqueIn = (ids: Set<string>, id: string): string => {
  let unique = id
  for (let count = 2; ids.has(unique); count++) unique = `${id}_${count}`
  ids.add(unique)
  return unique
}

/** A path as HttpApi writes it. */
const pathOf = (
  { rest, segments }: RoutePattern.Pattern,
  param: (name: string) => string = (name) => `:${name}`
): string => {
  const written = segments.map((segment) =>
    typeof segment === "string"
      ? literally(segment)
      : segment.pieces.map((piece) => typeof piece === "string" ? literally(piece) : param(piece.name)).join("")
  )
  if (rest !== undefined) written.push(param(restName(rest)))
  return `/${written.join("/")}`
}

/** A brace that stands for itself would begin a parameter in the document. */
const literally = (text: string): string => text.replace(/[{}]/g, encodeURIComponent)

const restName = (rest: string): string => rest === "*" ? "rest" : rest

const endpoint = (
  { id, infos, method, names, pattern }: Operation,
  schemas: Record<string, unknown>
): HttpApiEndpoint.Top => {
  const main = infos[0]!
  const first = (key: "query" | "headers") => infos.find(({ schemas }) => schemas[key] !== undefined)?.schemas[key]
  const { body } = main.schemas
  const params = Object.fromEntries(
    names.map((
      own,
      index
    ) => [
      restName(pattern.names[index]!),
      schemaIn(main, "path", own) ?? schemaIn(main, "outer", own) ?? Schema.String
    ])
  )
  const made = HttpApiEndpoint.make(method)(id, pathOf(pattern) as "/", {
    params: (pattern.names.length === 0 ? undefined : params) as {},
    query: first("query") as Schema.Top,
    headers: first("headers") as Schema.Top,
    payload: (body === undefined || !HttpMethod.hasBody(method)
      ? undefined
      : Array.isArray(body) || Schema.isSchema(body)
      ? body
      : Schema.Struct(body as {})) as Schema.Top,
    success: successOf(infos) as Array<Schema.Top>,
    error: infos.flatMap(({ schemas }) => schemas.errors ?? []) as Array<Schema.Top>
  })
  const annotations = OpenApi.annotations({
    identifier: id,
    summary: main.summary,
    description: main.description,
    deprecated: main.deprecated,
    transform: (operation) => finish(operation, infos, schemas)
  })
  return made.annotateMerge(annotations as Context.Context<never>) as unknown as HttpApiEndpoint.Top
}

const schemaIn = ({ schemas }: Info, key: "path" | "outer", name: string): Schema.Top | undefined => {
  const fields = schemas[key]
  return fields !== undefined && Object.hasOwn(fields, name) ? fields[name] as Schema.Top : undefined
}

const successOf = (infos: ReadonlyArray<Info>): ReadonlyArray<Schema.Top> =>
  infos.flatMap(({ protocol, schemas }) => {
    if (protocol === "sse") return [HttpApiSchema.StreamSse({ data: schemas.data ?? Schema.String }) as Schema.Top]
    if (protocol === "websocket") return []
    if (schemas.success !== undefined) return schemas.success as ReadonlyArray<Schema.Top>
    // What such a route yields is not known; next to events, HttpApi would not have an answer without a content.
    return infos.length > 1 ? [] : [HttpApiSchema.Empty(200)]
  })

/** What HttpApi has no words for. */
const finish = (
  operation: Record<string, any>,
  infos: ReadonlyArray<Info>,
  schemas: Record<string, unknown>
): Record<string, any> => {
  const tags = infos[0]!.tags
  if (tags !== undefined) operation.tags = [...tags]
  const cookies = infos.find(({ schemas }) => schemas.cookies !== undefined)?.schemas.cookies
  if (cookies !== undefined) {
    // Cookies are texts as headers are, and are described in the same way.
    const group = HttpApiGroup.make("all").add(HttpApiEndpoint.get("all", "/", { headers: cookies as Schema.Top }))
    const { components, paths } = OpenApi.fromApi(HttpApi.make("cookies").add(group))
    for (const parameter of paths["/"]!.get!.parameters) operation.parameters.push({ ...parameter, in: "cookie" })
    Object.assign(schemas, components.schemas)
  }
  for (const response of Object.values<any>(operation.responses)) {
    delete response.content?.["text/event-stream"]?.["x-effect-stream"]
  }
  if (infos.some(({ protocol }) => protocol === "websocket")) {
    if (infos.length === 1) operation.responses = {}
    operation.responses[101] = { description: "Switching Protocols: a WebSocket" }
  }
  return operation
}

/** Takes the group that is none out of the document. */
const tidy = (spec: Record<string, any>, hasUntagged: boolean): Record<string, any> => {
  if (!hasUntagged) return spec
  spec.tags = spec.tags.filter(({ name }: { readonly name: string }) => name !== untagged)
  for (const item of Object.values<any>(spec.paths)) {
    for (const operation of Object.values<any>(item)) {
      if (operation.tags?.[0] === untagged) delete operation.tags
    }
  }
  return spec
}
