/**
 * The types of routers: routes and what is known of them, and the signatures of the constructors of Router.ts, which
 * collect names, errors and services. Types only; Router.ts has the values.
 */
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as OpenApi from "effect/http-api/OpenApi"
import type * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Schema from "effect/Schema"
import type * as App from "../App.ts"
import type { SendError } from "../SendError.ts"
import type * as SseSession from "../SseSession.ts"
import type * as WebSocketSession from "../WebSocketSession.ts"
import type * as Route_ from "./Route.ts"
import type * as RoutePattern from "./RoutePattern.ts"
import type * as RouteTable from "./RouteTable.ts"
import type * as T from "./RouteTypes.ts"
import type * as RouteUrl from "./RouteUrl.ts"

// ---- models

/** The name of a route and its path, for `urlFor`. */
export type Named<Name extends string, Path extends string> = [Name] extends [never] ? never : readonly [Name, Path]
export type AnyNamed = readonly [string, string]

/** A route, or several: what `make` and `group` take. `N` are the names in it, `E` and `R` those of its App. */
export interface Route<out N, out E, out R> {
  readonly "~Names": N
  readonly "~Error": E
  readonly "~Services": R
  readonly node: Route_.Node
}

export type AnyRoute = Route<any, any, any>
export type NamesIn<Routes extends ReadonlyArray<AnyRoute>> = Routes[number]["~Names"]
export type ErrorIn<Routes extends ReadonlyArray<AnyRoute>> = Routes[number]["~Error"] | SendError
export type ServicesIn<Routes extends ReadonlyArray<AnyRoute>> = Routes[number]["~Services"]

/** Names below a prefix. */
export type Below<N, Prefix extends string, Name extends string> = N extends
  readonly [infer Own extends string, infer Path extends string]
  ? readonly [[Name] extends [never] ? Own : `${Name}.${Own}`, Route_.Join<Prefix, Path>]
  : never

export type PathNamed<N, Name> = N extends readonly [Name, infer Path extends string] ? Path : never

/** What `urlFor` must be told. */
export type UrlParams<Path extends string> =
  & { readonly [K in Exclude<RoutePattern.Names<Path>, RoutePattern.OptionalNames<Path>>]: RouteUrl.Value }
  & { readonly [K in RoutePattern.OptionalNames<Path>]?: RouteUrl.Value }

export interface UrlOptions {
  /** Lists are repeated, `undefined` is left out. */
  readonly query?: RouteUrl.Query
  /** Where the router is mounted, as in the scope. Default `""`. */
  readonly rootPath?: string
}

/** Routes as an App, with what can be asked about them. */
export interface Router<N, out E, out R> extends App.App<E, R> {
  readonly "~Names": N
  /** Every route, those of mounted routers included, in the order of their registration. */
  readonly routes: ReadonlyArray<RouteTable.Info>
  /**
   * Makes the path of a named route, percent-encoded. Routes in groups and mounts with names are called
   * `"group.route"`.
   *
   * **Throws** an `Error` that names the parameter that is missing or that the route would not match.
   */
  readonly urlFor: <Name extends (N & AnyNamed)[0]>(
    name: Name,
    ...rest: {} extends UrlParams<PathNamed<N, Name>> ? [params?: UrlParams<PathNamed<N, Name>>, options?: UrlOptions]
      : [params: UrlParams<PathNamed<N, Name>>, options?: UrlOptions]
  ) => string
  /** The OpenAPI 3.1 document of the routes, made when it is first read. Title and version are those of `docs`. */
  readonly openApi: OpenApi.OpenAPISpec
}

// ---- routes

export interface Verb {
  <const Path extends string, Ran extends Effect.Effect<T.Result, any, any>>(
    path: Path,
    handler: (input: T.PlainHttpInput<T.PathType<Path, {}>>) => Ran
  ): Route<never, SendError, Exclude<Effect.Services<Ran>, T.RequestServices>>
  <
    const Path extends string,
    Ran extends Effect.Effect<T.Answer<S>, any, any>,
    P extends T.Fields = {},
    O extends T.Fields = {},
    Q extends T.Values = never,
    H extends T.Values = never,
    C extends T.Values = never,
    B extends T.Schemas | T.Fields = never,
    S extends T.Schemas = never,
    X extends T.Schemas = never,
    const Name extends string = never
  >(
    path: Path,
    options: T.HttpOptions<Path, P, O, Q, H, C, B, S, X, Name>,
    handler: (
      input: T.HttpInput<T.PathType<Path, P>, T.OuterOf<O>, T.QueryOf<Q>, T.HeadersOf<H>, T.CookiesOf<C>, T.BodyOf<B>>
    ) => Ran
  ): Route<Named<Name, Path>, SendError, T.Needs<Effect.Services<Ran>, P, O, Q, H, C, B, S, X>>
}

/** A failure after the session has been opened is the server's to log. */
export type SessionRoute<N, E, R> = Route<N, Exclude<E, Route_.Pass> | SendError, R>

export interface SseRoute {
  <const Path extends string, Ran extends T.Events<string>>(
    path: Path,
    handler: (input: T.PlainSessionInput<T.PathType<Path, {}>, SseSession.SseSession>) => Ran
  ): SessionRoute<never, T.EventsError<Ran>, Exclude<T.EventsServices<Ran>, T.RequestServices>>
  <
    const Path extends string,
    Ran extends T.Events<D["Type"]>,
    P extends T.Fields = {},
    O extends T.Fields = {},
    Q extends T.Values = never,
    H extends T.Values = never,
    C extends T.Values = never,
    D extends NonNullable<SseSession.Options["data"]> = Schema.Codec<string>,
    const Name extends string = never
  >(
    path: Path,
    options: T.CommonOptions<Path, P, O, Q, H, C, Name> & {
      /** Schema of the events' data, sent as JSON. Default: strings as they are. */
      readonly data?: D
    },
    handler: (
      input: T.SessionInput<
        T.PathType<Path, P>,
        T.OuterOf<O>,
        T.QueryOf<Q>,
        T.HeadersOf<H>,
        T.CookiesOf<C>,
        SseSession.SseSession<D["Type"]>
      >
    ) => Ran
  ): SessionRoute<
    Named<Name, Path>,
    T.EventsError<Ran>,
    T.Needs<T.EventsServices<Ran>, P, O, Q, H, C, never, never, never>
  >
}

export interface WebSocketRoute {
  <const Path extends string, Ran extends Effect.Effect<unknown, any, any>>(
    path: Path,
    handler: (input: T.PlainSessionInput<T.PathType<Path, {}>, WebSocketSession.WebSocketSession>) => Ran
  ): SessionRoute<never, Effect.Error<Ran>, Exclude<Effect.Services<Ran>, T.RequestServices>>
  <
    const Path extends string,
    Ran extends Effect.Effect<unknown, any, any>,
    P extends T.Fields = {},
    O extends T.Fields = {},
    Q extends T.Values = never,
    H extends T.Values = never,
    C extends T.Values = never,
    const W extends WebSocketSession.Options = {},
    const Name extends string = never
  >(
    path: Path,
    options: T.CommonOptions<Path, P, O, Q, H, C, Name> & W,
    handler: (
      input: T.SessionInput<
        T.PathType<Path, P>,
        T.OuterOf<O>,
        T.QueryOf<Q>,
        T.HeadersOf<H>,
        T.CookiesOf<C>,
        WebSocketSession.WebSocketSession<WebSocketSession.Received<W>, WebSocketSession.Sent<W>>
      >
    ) => Ran
  ): SessionRoute<
    Named<Name, Path>,
    Effect.Error<Ran>,
    T.Needs<Effect.Services<Ran>, P, O, Q, H, C, never, never, never>
  >
}

// ---- groups and mounts

export interface GroupOptions<Name extends string, E, R, E2, R2, E3, R3, E4, R4> extends T.Metadata {
  /** Begins the names of the routes: `"name.route"`. */
  readonly name?: Name
  /** Wraps every route of the group and its `notFound`, not what is unknown below the prefix. Built once per route. */
  readonly middleware?: T.Wrapping<E, R, E2, R2>
  /** Answers requests below the prefix that no route, mount or inner group has answered. */
  readonly notFound?: (
    input: T.PlainHttpInput<Readonly<Record<string, string>>>
  ) => Effect.Effect<T.Result, E3, R3>
  /**
   * Answers failures of the routes, except errors that a route lists and interruptions; inner groups are asked first.
   * When it fails itself, the next is asked. Nothing is logged unless it does so: `Failures.answer(cause)` does, and
   * gives the usual answer.
   */
  readonly onError?: (
    cause: Cause.Cause<unknown>,
    input: T.Input<unknown, unknown, T.QueryOf<never>, T.HeadersOf<never>, T.CookiesOf<never>>
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse, E4, R4>
}

export type Grouped<
  Routes extends ReadonlyArray<AnyRoute>,
  Prefix extends string,
  Name extends string,
  E2,
  R2,
  R3,
  R4
> = Route<
  Below<NamesIn<Routes>, Prefix, Name>,
  E2,
  R2 | Exclude<R3 | R4, T.RequestServices>
>

export interface Group {
  <const Prefix extends string, Routes extends ReadonlyArray<AnyRoute>>(
    prefix: Prefix,
    ...routes: Routes
  ): Grouped<Routes, Prefix, never, ErrorIn<Routes>, ServicesIn<Routes>, never, never>
  <
    const Prefix extends string,
    Routes extends ReadonlyArray<AnyRoute>,
    const Name extends string = never,
    E2 = ErrorIn<Routes>,
    R2 = ServicesIn<Routes>,
    E3 = never,
    R3 = never,
    E4 = never,
    R4 = never
  >(
    prefix: Prefix,
    options: GroupOptions<Name, ErrorIn<Routes>, ServicesIn<Routes>, E2, R2, E3, R3, E4, R4>,
    ...routes: Routes
  ): Grouped<Routes, Prefix, Name, E2, R2, R3, R4>
}

export interface MountOptions<Name extends string> {
  /** Begins the names of a mounted router's routes: `"name.route"`. Without it they are not reached from outside. */
  readonly name?: Name
  /**
   * Whether a request that the mounted router has no route for goes on to shorter mounts and our `notFound`. Default
   * `false`: the mounted router says that it is not found. Other Apps do the same by failing with `Pass`, with or
   * without this.
   */
  readonly passThrough?: boolean
}

// ---- routers

export interface Options<E, R, E2, R2, E3, R3, E4, R4> {
  /**
   * What happens where a path is known with the other slash at its end, or without it. `strict`: nothing, it is not
   * found. `redirect`: 308 to the registered form. `ignore`: the route is served. Default `strict`.
   */
  readonly trailingSlash?: "strict" | "redirect" | "ignore"
  /** Wraps the whole router, answers for what is unknown included. Built once. */
  readonly middleware?: T.Wrapping<E, R, E2, R2>
  /** As in a group. */
  readonly notFound?: GroupOptions<never, never, never, never, never, E3, R3, never, never>["notFound"]
  /** As in a group. */
  readonly onError?: GroupOptions<never, never, never, never, never, never, never, E4, R4>["onError"]
}

export interface Make {
  <Routes extends ReadonlyArray<AnyRoute>>(
    ...routes: Routes
  ): Router<NamesIn<Routes>, ErrorIn<Routes>, ServicesIn<Routes>>
  <
    Routes extends ReadonlyArray<AnyRoute>,
    E2 = ErrorIn<Routes>,
    R2 = ServicesIn<Routes>,
    E3 = never,
    R3 = never,
    E4 = never,
    R4 = never
  >(
    options: Options<ErrorIn<Routes>, ServicesIn<Routes>, E2, R2, E3, R3, E4, R4>,
    ...routes: Routes
  ): Router<NamesIn<Routes>, E2, R2 | Exclude<R3 | R4, T.RequestServices>>
}
