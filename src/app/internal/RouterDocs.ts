/**
 * Routes that routers make by themselves: the documentation page with its document, and where redirects lead. The page
 * is effect's Swagger UI, whose bundle is loaded when the page is first asked for.
 */
import * as Effect from "effect/Effect"
import * as HttpApiSwagger from "effect/http-api/HttpApiSwagger"
import type * as OpenApi from "effect/http-api/OpenApi"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Route from "./Route.ts"
import * as RoutePattern from "./RoutePattern.ts"
import * as RouterOpenApi from "./RouterOpenApi.ts"
import type { Info } from "./RouteTable.ts"
import * as RouteTarget from "./RouteTarget.ts"
import * as RouteUrl from "./RouteUrl.ts"

export interface Documents {
  readonly document: () => OpenApi.OpenAPISpec
  readonly routesOf: (node: Route.Docs) => ReadonlyArray<Route.Route>
}

/** Documents the routes that `routes` yields once the router is laid out. */
export const make = (nodes: ReadonlyArray<Route.Node>, routes: () => ReadonlyArray<Info>): Documents => {
  const about = aboutIn(nodes) ?? {}
  let cached: OpenApi.OpenAPISpec | undefined
  const document = () => cached ??= RouterOpenApi.document(routes(), about)
  return {
    document,
    routesOf: ({ options, path }) => [
      plainGet(path, pageOf(() => RouterOpenApi.api(routes(), about))),
      plainGet(options.json ?? "/openapi.json", Effect.sync(() => HttpServerResponse.jsonUnsafe(document())))
    ]
  }
}

const aboutIn = (nodes: ReadonlyArray<Route.Node>): RouterOpenApi.About | undefined => {
  for (const node of nodes) {
    const about = node._tag === "Docs" ? node.options : node._tag === "Group" ? aboutIn(node.children) : undefined
    if (about !== undefined) return about
  }
  return undefined
}

const plainGet = (
  path: string,
  answer: Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, any>
): Route.Route => ({
  _tag: "Route",
  protocol: "http",
  methods: ["GET"],
  path,
  options: { documented: false },
  handler: () => answer
})

/** The page is what an HttpRouter with nothing else in it answers; 2 MB, so it is made once. */
const pageOf = (api: () => ReturnType<typeof RouterOpenApi.api>) => {
  let page: HttpServerResponse.HttpServerResponse | undefined
  return Effect.suspend(() => {
    if (page !== undefined) return Effect.succeed(page)
    const layer = HttpApiSwagger.layer(api(), { path: "/*" as "/docs" })
    return Effect.tap(Effect.flatten(HttpRouter.toHttpEffect(layer)), (made) => Effect.sync(() => void (page = made)))
  })
}

/** Where a redirect leads, given the parameters of the request, the mount point and the query. */
export const redirectTarget = (
  from: string,
  to: string
): (params: RouteUrl.Values, rootPath: string, queryString: string) => string => {
  if (!to.startsWith("/")) {
    const url = new URL(to).href
    return (_, __, queryString) => withQuery(url, queryString)
  }
  // The mark of a parameter that may be absent does not begin a query.
  const cut = to.search(/#|\?(?!$|\/:)|(?<!:\w+)\?/)
  const pattern = RoutePattern.parse(cut === -1 ? to : to.slice(0, cut))
  const end = cut === -1 ? "" : to.slice(cut)
  const known = RoutePattern.parse(from)
  const mayBeAbsent = RoutePattern.optionalNames(known)
  for (const name of pattern.names) {
    if (!known.names.includes(name)) throw new Error(`The redirect from ${from} has no parameter "${name}" for ${to}`)
    if (mayBeAbsent.includes(name) && !RoutePattern.optionalNames(pattern).includes(name)) {
      throw new Error(`The redirect from ${from} may lack the parameter "${name}" for ${to}`)
    }
  }
  return (params, rootPath, queryString) =>
    withQuery(RouteTarget.location(rootPath, RouteUrl.fill(pattern, params)) + end, queryString)
}

const withQuery = (url: string, queryString: string): string => {
  if (queryString === "" || url.includes("?")) return url
  const fragment = url.indexOf("#")
  return fragment === -1
    ? `${url}?${queryString}`
    : `${url.slice(0, fragment)}?${queryString}${url.slice(fragment)}`
}
