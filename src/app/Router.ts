/**
 * Routes as data, and the App made of them: one table for HTTP requests, server-sent events and WebSockets, typed from
 * path to body to answer.
 *
 * Constructors note down what a route is; `make` lays the routes out once and finds mistakes. Requests are served by
 * internal/RouterDispatch.ts.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as App from "./App.ts"
import * as Route_ from "./internal/Route.ts"
import type * as RoutePattern from "./internal/RoutePattern.ts"
import * as RouterDispatch from "./internal/RouterDispatch.ts"
import * as RouterDocs from "./internal/RouterDocs.ts"
import type * as Types from "./internal/RouterTypes.ts"
import * as RouteTable from "./internal/RouteTable.ts"
import * as RouteTarget from "./internal/RouteTarget.ts"
import type * as T from "./internal/RouteTypes.ts"
import * as RouteUrl from "./internal/RouteUrl.ts"
import type { SendError } from "./SendError.ts"

export { Pass } from "./internal/Route.ts"
export type { MountOptions, Options, Route, Router, UrlOptions } from "./internal/RouterTypes.ts"
export type { Info } from "./internal/RouteTable.ts"
export type { HttpInput, Metadata, Result, SessionInput } from "./internal/RouteTypes.ts"

/** TypeScript knows nothing of the phantom members; nobody reads them. */
const route = (node: Route_.Node): any => ({ node })

// ---- http

/** Makes a constructor, whose options may be left out. */
const constructor =
  (protocol: Route_.Protocol, methods: ReadonlyArray<string>) =>
  (path: string, first: {}, second?: Route_.Handler): any => {
    const [options, handler] = second === undefined ? [{}, first as Route_.Handler] : [first, second]
    return route({ _tag: "Route", protocol, methods, path, options, handler })
  }

const verb = (...methods: ReadonlyArray<string>): Types.Verb => constructor("http", methods)

/**
 * A route for GET, which answers HEAD too. The handler yields a value of `success`, or an HttpServerResponse; without
 * `success` also text, bytes, a Stream of bytes, or anything else that is JSON.
 *
 * **Example**
 * ```ts
 * Router.get("/todos/:id", { path: { id: Schema.Int }, success: Todo, errors: [TodoNotFound] }, ({ path }) =>
 *   Todos.use((todos) => todos.find(path.id)))
 * ```
 */
export const get = verb("GET")
/** A route for POST; see `get`. */
export const post = verb("POST")
/** A route for PUT; see `get`. */
export const put = verb("PUT")
/** A route for PATCH; see `get`. */
export const patch = verb("PATCH")
/** A route for DELETE; see `get`. */
export const del = verb("DELETE")
/** A route for HEAD, in place of what the GET of its path would answer. */
export const head = verb("HEAD")
/** A route for OPTIONS, in place of the answer that names the methods of its path. */
export const options = verb("OPTIONS")
/** A route for every method that has no route of its own on the path. */
export const any = verb("*")

/**
 * Makes a constructor like `get` for other methods, or for several at once.
 *
 * **Example**
 * ```ts
 * Router.method("PURGE")("/cache/*key", ({ path }) => ...)
 * Router.method("PUT", "PATCH")("/todos/:id", { body: Todo }, ({ body }) => ...)
 * ```
 */
export const method = (...methods: readonly [string, ...Array<string>]): Types.Verb => verb(...methods)

// ---- sessions

/**
 * A route for requests that name `text/event-stream`, whatever their method. The handler yields a Stream, each value of
 * which is an event's data, or sends through `session` and yields nothing. What fails before the stream is open (the
 * input, the Effect that yields a Stream) is answered as for `get`.
 */
export const sse: Types.SseRoute = constructor("sse", [])

/**
 * A route for WebSockets. `message` (or `receive` and `send`) are Schemas of the messages, JSON unless `encoding` says
 * otherwise. Using `session` accepts the handshake; what fails before that is answered as for `get`.
 */
export const websocket: Types.WebSocketRoute = constructor("websocket", [])

// ---- handlers

/**
 * Leaves the request to the next route that matches; without one it is not found. Nothing may have been sent before.
 *
 * **Example**
 * ```ts
 * Router.get("/:page", ({ path }) => path.page in pages ? Effect.succeed(pages[path.page]) : Router.pass)
 * ```
 */
export const pass: Effect.Effect<never, Route_.Pass> = Effect.suspend(() => Effect.fail(new Route_.Pass()))

/**
 * Makes a handler of a method of a service: a controller is a service whose methods take what handlers are given. It is
 * resolved from its Layer like every service.
 *
 * **Example**
 * ```ts
 * Router.get("/todos/:id", { path: { id: Schema.Int }, success: Todo }, Router.call(TodosController, "find"))
 * ```
 */
export const call = <
  I,
  Shape extends { readonly [K in Method]: (input: any) => Effect.Effect<any, any, any> },
  const Method extends keyof Shape
>(
  service: Context.Key<I, Shape>,
  method: Method
): (
  input: Parameters<Shape[Method]> extends readonly [infer Input] ? Input : unknown
) => Effect.Effect<
  Effect.Success<ReturnType<Shape[Method]>>,
  Effect.Error<ReturnType<Shape[Method]>>,
  Effect.Services<ReturnType<Shape[Method]>> | I
> =>
(input) => Effect.flatMap(service, (shape) => shape[method](input))

/** Statuses that send a client elsewhere. 307 and 308 keep the method. */
export type RedirectStatus = 301 | 302 | 303 | 307 | 308

/**
 * A route that sends clients elsewhere, with any method. `to` is a path of this site, below where the router is mounted,
 * and may use the parameters of `from`; or it is a whole URL, taken as it is. The query is kept unless `to` has one.
 * A parameter that `to` cannot take (`..`, or one that fails its tests) leaves the request to the next route.
 *
 * **Options** `status` default 302.
 */
export const redirect = <const From extends string, const To extends string>(
  from: From,
  to:
    & To
    & ([Exclude<To extends `/${string}` ? RoutePattern.Names<To> : never, RoutePattern.Names<From>>] extends [never] ?
      To
      : never),
  options: { readonly status?: RedirectStatus } = {}
): Types.Route<never, SendError, never> => {
  const { status = 302 } = options
  const target = RouterDocs.redirectTarget(from, to)
  return constructor("http", ["*"])(
    from,
    { documented: false },
    ({ exchange: { scope }, params }: any) =>
      Effect.try({
        try: () => HttpServerResponse.redirect(target(params, scope.rootPath, scope.queryString), { status }),
        catch: () => new Route_.Pass()
      })
  )
}

// ---- groups

const isRoute = (first: {} | undefined): first is Types.AnyRoute => first !== undefined && "node" in first

/** Options where there are any, and the routes. */
const divide = <O>(
  rest: ReadonlyArray<Types.AnyRoute | O>
): readonly [options: O, children: ReadonlyArray<Route_.Node>] => {
  const [first, ...others] = rest as ReadonlyArray<Types.AnyRoute>
  return first === undefined || isRoute(first)
    ? [{} as O, (rest as ReadonlyArray<Types.AnyRoute>).map(({ node }) => node)]
    : [first as O, others.map(({ node }) => node)]
}

const groupNode = (prefix: string, host: string | undefined, rest: ReadonlyArray<any>): any => {
  const [options, children] = divide<Route_.GroupOptions>(rest)
  return route({ _tag: "Group", prefix, ...(host === undefined ? undefined : { host }), options, children })
}

/**
 * Routes below a prefix. They become routes of the router around them: one answer for wrong methods, whole paths,
 * groups in groups. The prefix may have parameters, which routes see through `outer` and `params`.
 */
export const group: Types.Group = (prefix: string, ...rest: ReadonlyArray<any>) => groupNode(prefix, undefined, rest)

/**
 * Routes with middleware around each of them, and nothing else in common: a group without a prefix. Here middleware may
 * provide services to the handlers, and need others. Built once per route.
 *
 * **Example**
 * ```ts
 * Router.use(authenticate, Router.get("/me", () => Effect.map(User, ({ name }) => name)))
 * ```
 */
export const use = <Routes extends ReadonlyArray<Types.AnyRoute>, E2, R2>(
  middleware: T.Wrapping<Types.ErrorIn<Routes>, Types.ServicesIn<Routes>, E2, R2>,
  ...routes: Routes
): Types.Route<Types.NamesIn<Routes>, E2, R2> => groupNode("/", undefined, [{ middleware }, ...routes])

/**
 * Routes of one host: a name, or a pattern with parameters such as `":tenant.example.com"`. Compared without port and
 * case; before routes for any host, and a plain name before a pattern. Hosts are not nested.
 */
export const host = ((pattern: string, ...rest: ReadonlyArray<any>) => groupNode("/", pattern, rest)) as {
  <Routes extends ReadonlyArray<Types.AnyRoute>>(
    pattern: string,
    ...routes: Routes
  ): Types.Grouped<Routes, "/", never, Types.ErrorIn<Routes>, Types.ServicesIn<Routes>, never, never>
  <
    Routes extends ReadonlyArray<Types.AnyRoute>,
    const Name extends string = never,
    E2 = Types.ErrorIn<Routes>,
    R2 = Types.ServicesIn<Routes>,
    E3 = never,
    R3 = never,
    E4 = never,
    R4 = never
  >(
    pattern: string,
    options: Types.GroupOptions<Name, Types.ErrorIn<Routes>, Types.ServicesIn<Routes>, E2, R2, E3, R3, E4, R4>,
    ...routes: Routes
  ): Types.Grouped<Routes, "/", Name, E2, R2, R3, R4>
}

/** Routes of one version of an interface: a group below `/v1`, with `version` in the `meta` of its routes. */
export const version = <const Version extends string, Routes extends ReadonlyArray<Types.AnyRoute>>(
  version: Version,
  ...routes: Routes
): Types.Grouped<Routes, `/${Version}`, never, Types.ErrorIn<Routes>, Types.ServicesIn<Routes>, never, never> =>
  groupNode(`/${version}`, undefined, [{ meta: { version } }, ...routes])

/**
 * Serves an App below a prefix, for every kind of exchange. It sees `path` without the prefix and `rootPath` with it,
 * answers its own 404 and 405, and is asked after all routes; the longest prefix goes first. Parameters of the prefix
 * are in the `params` of an inner router.
 */
export const mount = <const Prefix extends string, A extends App.App<any, any>, const Name extends string = never>(
  prefix: Prefix,
  app: A,
  options: Types.MountOptions<Name> = {}
): Types.Route<
  [Name] extends [never] ? never : A extends { readonly "~Names": infer N } ? Types.Below<N, Prefix, Name> : never,
  Exclude<Effect.Error<ReturnType<A>>, Route_.Pass>,
  Effect.Services<ReturnType<A>>
> => route({ _tag: "Mount", prefix, app, name: options.name, passThrough: options.passThrough ?? false })

/**
 * Documentation of all routes: a page for people at `path`, which needs no network besides this server, and the OpenAPI
 * document.
 */
export const docs = (
  path: string,
  options: {
    /** Default `"Api"`. */
    readonly title?: string
    /** Of the interface that is described. Default `"0.0.1"`. */
    readonly version?: string
    readonly description?: string
    /** Where the service is reached, for clients made from the document. Default: none named. */
    readonly servers?: ReadonlyArray<{ readonly url: string; readonly description?: string }>
    /** Path of the document. Default `"/openapi.json"`. */
    readonly json?: string
  } = {}
): Types.Route<never, SendError, never> => route({ _tag: "Docs", path, options })

// ---- routers

const mountKey = Symbol("slipway/app/Router/mountable")

const mountable = (app: App.App<any, any>): RouteTable.Mountable | undefined =>
  (app as { readonly [mountKey]?: RouteTable.Mountable })[mountKey]

/**
 * Makes an App of routes. What is not found is answered per protocol: 404 as a problem on http and sse, on websocket
 * too where the server can decline with a whole answer. A known path with another method is answered with 405, OPTIONS
 * with 204, both with `allow`; HEAD by the route for GET. A lifespan is declined.
 *
 * A literal segment goes before a parameter with a test, that before a plain one, that before a catch-all; on
 * one path a method of its own before `any`, Schemas of the path before none, then the order of registration. Where a Schema of the path
 * does not fit, or a handler passes, the next one is tried.
 *
 * **Throws** an `Error` that names the route, for one that is registered twice or that is not well made.
 * **Cost** does not grow with the number of routes.
 */
export const make: Types.Make = (...rest: ReadonlyArray<any>): any => {
  const [options, nodes] = divide<Types.Options<any, any, any, any, any, any, any, any>>(rest)
  const { middleware, trailingSlash = "strict", ...others } = options
  const documents = RouterDocs.make(nodes, () => layout.routes)
  const layout = RouteTable.layOut(nodes, others as Route_.GroupOptions, mountable, documents.routesOf)
  const dispatch = { layout, trailingSlash }
  const app: App.App<unknown, any> = (exchange) =>
    exchange.type === "lifespan" ? Effect.void : RouterDispatch.serve(dispatch, exchange)
  const router = middleware === undefined ? app : (middleware as Route_.Wrap)(app)
  return Object.defineProperties(
    Object.assign((exchange: App.Exchange) => router(exchange), {
      routes: layout.routes,
      urlFor: (name: string, params: RouteUrl.Values = {}, { query, rootPath = "" }: Types.UrlOptions = {}) => {
        const pattern = layout.named.get(name)
        if (pattern === undefined) throw new Error(`There is no route called ${JSON.stringify(name)}`)
        const path = RouteUrl.fill(pattern, params)
        return RouteTarget.location(rootPath, path) + RouteUrl.query(query)
      },
      [mountKey]: layout
    }),
    { openApi: { get: () => documents.document(), enumerable: true } }
  )
}
