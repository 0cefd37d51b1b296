/**
 * What a handler is given: the parts of a request, decoded by the Schemas of its route. Decoders are built once per
 * route; a part without a Schema costs nothing until it is read.
 *
 * Decides which status says what is wrong with a request: 400, 415 or 422, and 413 from the request itself.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import type { Headers } from "effect/http/Headers"
import * as HttpMethod from "effect/http/HttpMethod"
import type { HttpServerError } from "effect/http/HttpServerError"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Multipart from "effect/http/Multipart"
import * as UrlParams from "effect/http/UrlParams"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { ClientExchange, HttpExchange } from "../Exchange.ts"
import * as Failures from "../Failures.ts"
import type * as Route from "./Route.ts"
import type { ServerRequest } from "./ServerRequest.ts"

// ---- the match

/** What a router has found out about an exchange. It travels in the scope, so that copies of a scope keep it. */
export interface Match {
  /** The method and the whole path of the route, as messages and metrics name it: `"GET /todos/:id"`. */
  readonly label: string
  /** What the handler gets as `path` and as `outer`. */
  readonly path: unknown
  readonly outer: unknown
  /** What the next route will receive, once the handler has left the exchange to it. */
  passed: HttpExchange["receive"] | undefined
}

/** A scope below a router. */
export type RoutedScope = ClientExchange["scope"] & {
  readonly pathParams?: Readonly<Record<string, string>>
  readonly route?: Match | undefined
}

export const noParams: Readonly<Record<string, string>> = Object.freeze({})

/**
 * The scope that is given on. Keys before the spread make a copy in 0.2 µs; behind it, where the scope does not have
 * them yet, in 1.2 µs (Node 20).
 */
export const routedScope = <S extends ClientExchange["scope"]>(
  scope: S,
  pathParams: Readonly<Record<string, string>>,
  route: Match | undefined
): S =>
  "route" in scope || "pathParams" in scope
    ? { ...scope, pathParams, route }
    : { pathParams, route, ...scope }

export const matchOf = (scope: RoutedScope): Match => {
  if (scope.route !== undefined) return scope.route
  throw new Error("Middleware has made a scope that is not a copy of the one it was given")
}

// ---- the input

/** What a handler is given. Destructuring reads only what it names. */
export class Input {
  readonly request: ServerRequest
  readonly session: unknown
  private queryValue: unknown
  private headersValue: unknown
  private cookiesValue: unknown
  private bodyValue: unknown

  constructor(request: ServerRequest, session?: unknown) {
    this.request = request
    this.session = session
  }

  get exchange(): HttpExchange {
    return this.request.source
  }
  get params(): Readonly<Record<string, string>> {
    return (this.request.source.scope as RoutedScope).pathParams ?? noParams
  }
  get path(): unknown {
    return matchOf(this.request.source.scope).path
  }
  get outer(): unknown {
    return matchOf(this.request.source.scope).outer
  }
  get query(): unknown {
    return this.queryValue ??= toRecord(this.request.source.scope.queryString)
  }
  get headers(): unknown {
    return this.headersValue ??= this.request.headers
  }
  get cookies(): unknown {
    return this.cookiesValue ??= this.request.cookies
  }
  get body(): unknown {
    return this.bodyValue
  }
  /** Puts a decoded value in the place of a part. */
  set(part: "query" | "headers" | "cookies" | "body", value: unknown): void {
    this[`${part}Value`] = value
  }
}

/** Has no prototype: a query without `constructor` has none, neither for a handler nor for a Schema. */
const toRecord = (queryString: string): object =>
  Object.setPrototypeOf(UrlParams.toRecord(UrlParams.fromInput(new URLSearchParams(queryString))), null)

export type Decode = (
  input: Input
) => Effect.Effect<void, Failures.InvalidRequest | HttpServerError | Multipart.MultipartError, any>

type Unknown = (value: unknown) => Effect.Effect<any, Schema.SchemaError, any>

// ---- paths

/** Decodes parameters of a path, `undefined` where there is no Schema. One that may be absent is left out then. */
export const decodePath = (
  fields: Schema.Struct.Fields | undefined,
  optional: ReadonlyArray<string>
): Unknown | undefined => {
  if (fields === undefined || Object.keys(fields).length === 0) return undefined
  const entries = Object.entries(fields).map(([name, schema]) =>
    [name, optional.includes(name) ? Schema.optionalKey(schema) : schema] as const
  )
  const params = HttpApiEndpoint.get("path", "/", { params: Object.fromEntries(entries) as {} }).params!
  return Schema.decodeUnknownEffect(params) as Unknown
}

// ---- the other parts

/** A client is told of all that is wrong at once. */
const everything = { errors: "all" } as const

/** Builds what decodes all parts of a route that have Schemas; `undefined` when none has. */
export const decoder = ({ methods, options }: Route.Route): Decode | undefined => {
  const { body, cookies, headers, query } = options
  const steps: Array<Decode> = []
  const endpoint = HttpApiEndpoint.get("parts", "/", {
    query: query as Schema.Top,
    headers: headers as Schema.Top
  })
  if (endpoint.headers !== undefined) {
    steps.push(step("headers", endpoint.headers, (request) => request.headers))
  }
  if (cookies !== undefined) {
    // Cookies are strings as headers are, so the codec is that of headers.
    const codec = HttpApiEndpoint.get("cookies", "/", { headers: cookies as Schema.Top }).headers!
    steps.push(step("cookies", codec, (request) => request.cookies))
  }
  if (endpoint.query !== undefined) {
    const codec = Schema.toCodecArrayFromSingle(endpoint.query)
    steps.push(step("query", codec, (_, input) => input.query))
  }
  if (body !== undefined) {
    // RFC 9110 section 9.3.1: content in a GET has no meaning.
    const bare = methods.find((method) => !HttpMethod.hasBody(method))
    if (bare !== undefined) throw new Error(`\`body\` has a Schema, and ${bare} has no body`)
    steps.push(bodyStep(body))
  }
  return steps.length === 0
    ? undefined
    : steps.reduce((first, second) => (input) => Effect.flatMapEager(first(input), () => second(input)))
}

const step = (
  part: "query" | "headers" | "cookies",
  codec: Schema.Top,
  read: (request: HttpServerRequest, input: Input) => unknown
): Decode => {
  const decode = Schema.decodeUnknownEffect(codec, everything) as Unknown
  return (input) =>
    Effect.matchEffect(decode(read(input.request, input)), {
      onFailure: (error) => Effect.fail(Failures.InvalidRequest.fromSchemaError(part, 400, error)),
      onSuccess: (value) => Effect.succeed(input.set(part, value))
    })
}

// ---- bodies

type BodyDecoder = (
  request: ServerRequest
) => ReturnType<Decode> extends Effect.Effect<any, infer E, infer R> ? Effect.Effect<unknown, E, R>
  : never

const bodyStep = (body: NonNullable<Route.Options["body"]>): Decode => {
  const schemas = Array.isArray(body) ? body : [Schema.isSchema(body) ? body : Schema.Struct(body as {})]
  for (const schema of schemas) {
    if ("_tag" in schema && String(schema._tag).startsWith("Stream")) {
      throw new Error("a streamed body is not decoded: leave `body` out and read `request.stream`")
    }
  }
  const { payload } = HttpApiEndpoint.post("body", "/", { payload: schemas as ReadonlyArray<Schema.Top> })
  const decoders = new Map<string, BodyDecoder>()
  for (const [type, { encoding, schemas }] of payload) decoders.set(type, bodyDecoder(encoding, schemas))
  const isJson = payload.get("application/json")?.encoding._tag === "Json"
  const issues = [{ path: "", message: `Expected ${[...decoders.keys()].join(", ")}` }]
  const unsupported = Effect.suspend(() =>
    Effect.fail(new Failures.InvalidRequest({ status: 415, part: "body", issues }))
  )
  const standard = decoders.get("application/json") ?? decoders.values().next().value!
  return (input) => {
    const { request } = input
    const set = (value: unknown) => input.set("body", value)
    const type = mediaType(request.headers)
    if (type === "") {
      // A page of another site can send a body without a type and without being asked, so it is not taken for JSON.
      return Effect.flatMapEager(
        request.text,
        (text) => text === "" ? Effect.mapEager(standard(request), set) : unsupported
      )
    }
    const decode = decoders.get(type) ??
      (isJson && type.endsWith("+json") ? decoders.get("application/json") : undefined)
    return decode === undefined ? unsupported : Effect.mapEager(decode(request), set)
  }
}

const mediaType = (headers: Headers): string => (headers["content-type"] ?? "").split(";", 1)[0]!.trim().toLowerCase()

const bodyDecoder = (
  encoding: {
    readonly _tag: string
    readonly mode?: string
    readonly limits?: Multipart.withLimits.Options | undefined
  },
  schemas: readonly [Schema.Top, ...Array<Schema.Top>]
): BodyDecoder => {
  const union: Schema.Top = schemas.length === 1 ? schemas[0] : Schema.Union(schemas)
  const codec = encoding._tag === "FormUrlEncoded" ? Schema.toCodecArrayFromSingle(union) : union
  const decode = Schema.decodeUnknownEffect(codec, everything) as Unknown
  const fit = (value: unknown) =>
    Effect.mapErrorEager(decode(value), (error) => Failures.InvalidRequest.fromSchemaError("body", 422, error))
  const limits = encoding.limits === undefined ? Context.empty() : Multipart.limitsServices(encoding.limits)
  switch (encoding._tag) {
    case "Multipart":
      return encoding.mode === "stream"
        ? (request) => Effect.succeed(Stream.provideContext(request.multipartStream, limits))
        : (request) => Effect.flatMap(Effect.provideContext(request.multipart, limits), fit)
    case "FormUrlEncoded":
      return (request) => Effect.flatMapEager(request.urlParamsBody, (params) => fit(UrlParams.toRecord(params)))
    case "Text":
      return (request) => Effect.flatMapEager(request.text, fit)
    case "Uint8Array":
      return (request) => Effect.flatMapEager(request.arrayBuffer, (buffer) => fit(new Uint8Array(buffer)))
    default:
      return (request) => Effect.flatMapEager(request.text, (text) => fitJson(text, fit))
  }
}

const fitJson = <A, R>(
  text: string,
  fit: (value: unknown) => Effect.Effect<A, Failures.InvalidRequest, R>
): Effect.Effect<A, Failures.InvalidRequest, R> => {
  // No body is no value, which a Schema may allow.
  if (text === "") return fit(undefined)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return Effect.fail(
      new Failures.InvalidRequest({ status: 400, part: "body", issues: [{ path: "", message: "Expected JSON" }] })
    )
  }
  return fit(value)
}
