/**
 * What the type of a route says: the names and Schemas of its inputs, what its handler is given and may yield, and what
 * it needs. Types only.
 */
import type * as Brand from "effect/Brand"
import type * as Effect from "effect/Effect"
import type * as FileSystem from "effect/FileSystem"
import type * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import type { Headers } from "effect/http/Headers"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import type * as Multipart from "effect/http/Multipart"
import type * as Path from "effect/Path"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Simplify } from "effect/Struct"
import type { App, Middleware } from "../App.ts"
import type { HttpExchange } from "../Exchange.ts"
import type * as RoutePattern from "./RoutePattern.ts"

export type Fields = Schema.Struct.Fields
/** Several values under names: a Schema of them all, or one for each. */
export type Values = Schema.Top | Fields
export type Schemas = Schema.Top | ReadonlyArray<Schema.Top>

type One<S> = S extends ReadonlyArray<infer Member> ? Member : S
type AsSchema<S> = S extends Schema.Top ? S : S extends ReadonlyArray<infer Member> ? Member
: S extends Fields ? Schema.Struct<S>
: never
export type TypeOf<S> = [S] extends [never] ? never
  : AsSchema<S> extends { readonly Type: infer A } ? A
  : never
export type Decoding<S> = [S] extends [never] ? never
  : AsSchema<S> extends { readonly DecodingServices: infer R } ? R
  : never
export type Encoding<S> = [S] extends [never] ? never
  : AsSchema<S> extends { readonly EncodingServices: infer R } ? R
  : never

/** Schemas of a path's parameters; a key that the path does not have must not be there. */
export type PathFields<Path extends string, P> = { readonly [K in Exclude<keyof P, RoutePattern.Names<Path>>]: never }

type Optional<Path extends string, Keys> = Extract<RoutePattern.OptionalNames<Path>, Keys>

/** The parameters of a path, decoded where there is a Schema, strings otherwise. */
export type PathType<Path extends string, P extends Fields> = Simplify<
  & { readonly [K in Exclude<RoutePattern.Names<Path>, RoutePattern.OptionalNames<Path> | keyof P>]: string }
  & { readonly [K in Exclude<RoutePattern.OptionalNames<Path>, keyof P>]?: string }
  & { readonly [K in Exclude<keyof P, RoutePattern.OptionalNames<Path>>]: P[K]["Type"] }
  & { readonly [K in Optional<Path, keyof P>]?: P[K]["Type"] }
>

type BodyType<B> = One<B> extends infer S
  ? S extends { readonly Type: infer A }
    ? A extends Brand.Brand<HttpApiSchema.MultipartStreamTypeId>
      ? Stream.Stream<Multipart.Part, Multipart.MultipartError>
    : A
  : TypeOf<S>
  : never

/** Files of a buffered multipart body are kept on disk while the request lasts. */
type BodyServices<B> = One<B> extends { readonly Type: infer A }
  ? A extends Brand.Brand<HttpApiSchema.MultipartTypeId> ? FileSystem.FileSystem | Path.Path : never
  : never

/** What every handler is given, whatever the protocol. Its members are read when they are asked for: do not spread it. */
export interface Input<Path, Outer, Query, H, Cookies> {
  /** The route's own parameters. */
  readonly path: Path
  /** Parameters of the groups, hosts and mounts around the route, decoded by the Schemas of `outer`. */
  readonly outer: Outer
  /** Every parameter, those of groups, hosts and mounts included, as decoded text. */
  readonly params: Readonly<Record<string, string>>
  /** Decoded by the Schema; without one, texts by name. */
  readonly query: Query
  /** Decoded by the Schema; without one, values by lower-case name. */
  readonly headers: H
  /** Decoded by the Schema; without one, values by name. */
  readonly cookies: Cookies
  /** The same request that the handler's context holds. */
  readonly request: HttpServerRequest
}

/** What a handler of HTTP requests is given. */
export interface HttpInput<Path, Outer, Query, H, Cookies, Body> extends Input<Path, Outer, Query, H, Cookies> {
  /** Decoded by the Schema; without one it is not read and stays with `request`. */
  readonly body: Body
  readonly exchange: HttpExchange
}

/** What a handler of HTTP requests is given on a route without Schemas. */
export interface PlainHttpInput<Path>
  extends HttpInput<Path, {}, QueryOf<never>, HeadersOf<never>, CookiesOf<never>, undefined>
{}

/** What a handler of sessions is given. */
export interface SessionInput<Path, Outer, Query, H, Cookies, Session> extends Input<Path, Outer, Query, H, Cookies> {
  readonly session: Session
}

/** What a handler of sessions is given on a route without Schemas. */
export interface PlainSessionInput<Path, Session>
  extends SessionInput<Path, {}, QueryOf<never>, HeadersOf<never>, CookiesOf<never>, Session>
{}

/** What a handler of events may return: a Stream of data, an Effect of one, or an Effect that has sent by itself. */
export type Events<Data> = Stream.Stream<Data, any, any> | Effect.Effect<Stream.Stream<Data, any, any> | void, any, any>

export type EventsError<Ran> = Ran extends Stream.Stream<any, infer E, any> ? E
  : Ran extends Effect.Effect<infer A, infer E, any> ? E | (A extends Stream.Stream<any, infer E1, any> ? E1 : never)
  : never

export type EventsServices<Ran> = Ran extends Stream.Stream<any, any, infer R> ? R
  : Ran extends Effect.Effect<infer A, any, infer R> ? R | (A extends Stream.Stream<any, any, infer R1> ? R1 : never)
  : never

export type QueryOf<Q> = [Q] extends [never] ? Readonly<Record<string, string | ReadonlyArray<string>>> : TypeOf<Q>
export type HeadersOf<H> = [H] extends [never] ? Headers : TypeOf<H>
export type CookiesOf<C> = [C] extends [never] ? Readonly<Record<string, string>> : TypeOf<C>
export type BodyOf<B> = [B] extends [never] ? undefined : BodyType<B>
export type OuterOf<O extends Fields> = Simplify<{ readonly [K in keyof O]: O[K]["Type"] }>

/** What a handler without `success` may yield; anything else is a mistake that is answered with 500. */
export type Result = HttpServerResponse | string | number | boolean | null | object

/** What a handler may yield. */
export type Answer<S> = [S] extends [never] ? Result : HttpServerResponse | SuccessType<One<S>>

type SuccessType<S> = S extends HttpApiSchema.WithHeaders<infer Inner, infer H>
  ? HttpApiSchema.withHeaders<SuccessType<Inner>, H["Type"]>
  : S extends HttpApiSchema.StreamUint8Array ? Stream.Stream<Uint8Array, unknown>
  : S extends HttpApiSchema.StreamNdjson<infer Element> ? Stream.Stream<Element["Type"], unknown>
  : S extends { readonly Type: infer A } ? A
  : never

/** What comes with the request and so need not be provided. */
export type RequestServices = HttpServerRequest | Scope.Scope

/** What a route needs of the outside. */
export type Needs<R, P, O, Q, H, C, B, S, X> =
  | Exclude<R, RequestServices>
  | Decoding<P | O | Q | H | C | B>
  | BodyServices<B>
  | Encoding<S | X>

/**
 * Middleware of a group or a router; it may also provide services. Several are made one by `App.compose`, or
 * by `Function.flow` where their types differ, the innermost first. `E` and `R` are those of what is wrapped.
 */
export type Wrapping<E, R, E2, R2> = (app: App<E, R>) => App<E2, R2>

/** Words about a route for those who read its documentation. */
export interface Metadata {
  readonly summary?: string
  readonly description?: string
  readonly tags?: ReadonlyArray<string>
  readonly deprecated?: boolean
  /** Anything of the application's own; found again in `router.routes`. */
  readonly meta?: Readonly<Record<string, unknown>>
  /** Whether the OpenAPI document shows it. Default `true`. */
  readonly documented?: boolean
}

/** Options of every kind of route. */
export interface CommonOptions<Path extends string, P, O, Q, H, C, Name extends string> extends Metadata {
  /** For `urlFor`. Unique within the router. */
  readonly name?: Name
  /** Schemas of parameters of the path. Where one does not fit, the next route is tried: there is no such resource. */
  readonly path?: P & PathFields<Path, P>
  /** Schemas of parameters that come from groups, hosts and mounts around the route. */
  readonly outer?: O
  /** Tests of parameters of the path, anchored, in addition to those in the path. */
  readonly constraints?: { readonly [K in RoutePattern.Names<Path>]?: RegExp }
  /** Schema of the query. 400 where it does not fit. */
  readonly query?: Q
  /** Schema of the headers, names in lower case. 400 where it does not fit. */
  readonly headers?: H
  /** Schema of the cookies. 400 where it does not fit. */
  readonly cookies?: C
  /** Wraps this route alone; built once. Middleware that provides or needs services goes around it with `use`. */
  readonly middleware?: Middleware
}

/** Options of routes for HTTP requests. */
export interface HttpOptions<Path extends string, P, O, Q, H, C, B, S, X, Name extends string>
  extends CommonOptions<Path, P, O, Q, H, C, Name>
{
  /**
   * Schema of the body, as JSON unless it says otherwise (`HttpApiSchema.asText`, `asMultipart`, ...); several are told
   * apart by content type. 415 for another content type, 400 for what cannot be read, 422 for what does not fit.
   */
  readonly body?: B
  /** Schema of what the handler yields, as JSON unless it says otherwise. `Schema.Void`: no content. */
  readonly success?: S
  /** Status of the answer. Default: what `success` says, 204 without content, 200. */
  readonly status?: number
  /** Schemas of errors that are answers, with their status (`HttpApiSchema.status`; default 500). */
  readonly errors?: X
}
