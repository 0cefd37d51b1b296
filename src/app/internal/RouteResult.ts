/**
 * Makes responses of what handlers yield: by the Schemas of the route where it has any, by the kind of value where it
 * has none. Encoders are built once per route.
 *
 * A value that cannot be an answer is a mistake in the program and dies; it is never sent as something else.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Ndjson from "effect/encoding/Ndjson"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Stream from "effect/Stream"
import type * as Route from "./Route.ts"

type Response = HttpServerResponse.HttpServerResponse
type Encoded = Effect.Effect<Response, Schema.SchemaError, any>

/** Makes the response for a value, in the context of the handler. */
export type Encode = (value: unknown, context: Context.Context<never>) => Effect.Effect<Response, never, any>

// ---- without a Schema

/** Makes a response of a value by its kind. `label` names the route when the value is none. */
export const coerce = (label: string, status = 200): Encode => (value, context) => {
  if (HttpServerResponse.isHttpServerResponse(value)) return Effect.succeed(value)
  if (typeof value === "string") {
    return Effect.succeed(HttpServerResponse.text(value, { status, contentType: "text/plain; charset=utf-8" }))
  }
  if (value instanceof Uint8Array) return Effect.succeed(HttpServerResponse.uint8Array(value, { status }))
  if (Stream.isStream(value)) {
    const bytes = Stream.provideContext(value as Bytes, context)
    return Effect.succeed(HttpServerResponse.stream(bytes, { status }))
  }
  if (value === undefined) return mistake(label, "has yielded nothing; give it `success: Schema.Void` if that is meant")
  if (Effect.isEffect(value)) return mistake(label, "has yielded an Effect that was not run")
  try {
    const text = JSON.stringify(value)
    if (typeof text === "string") {
      return Effect.succeed(HttpServerResponse.text(text, { status, contentType: "application/json" }))
    }
  } catch {
    // A cycle or a bigint.
  }
  return mistake(label, `has yielded ${typeof value === "object" ? "an object" : `a ${typeof value}`} that is not JSON`)
}

const mistake = (label: string, problem: string): Effect.Effect<never> =>
  Effect.die(new Error(`The handler of ${label} ${problem}`))

// ---- with Schemas

/** A Schema of one possible answer. */
interface Member {
  readonly encode: (value: unknown, context: Context.Context<never>) => Encoded
  readonly isStream: boolean
}

const annotation = (schema: Schema.Top, key: string): any =>
  SchemaAST.resolveAt(key)(schema.ast) ?? schema.ast.context?.annotations?.[key]

/** The Schema that says status and encoding: that of the body where headers go with it. */
const bodyOf = (schema: Schema.Top): Schema.Top => HttpApiSchema.isWithHeaders(schema) ? schema.schema : schema

const statusOf = (schema: Schema.Top, standard: number): number =>
  annotation(schema, "httpApiStatus") ?? annotation(bodyOf(schema), "httpApiStatus") ?? standard

const streamTag = (schema: Schema.Top): string | undefined =>
  "_tag" in schema && typeof schema._tag === "string" && schema._tag.startsWith("Stream") ? schema._tag : undefined

/** Schemas with the status of a route on those that say none. */
export const withStatus = (
  success: NonNullable<Route.Options["success"]>,
  status: number | undefined
): ReadonlyArray<Schema.Top> =>
  (Array.isArray(success) ? success as ReadonlyArray<Schema.Top> : [success as Schema.Top]).map((schema) => {
    if (annotation(schema, "httpApiStatus") !== undefined) return schema
    const standard = status ?? (HttpApiSchema.isNoContent(schema.ast) ? 204 : undefined)
    return standard === undefined ? schema : HttpApiSchema.status(standard)(schema)
  })

/**
 * Builds the encoder of a route's `success`.
 *
 * **Throws** for Schemas that cannot be answers here, in the words of `HttpApiEndpoint`.
 */
export const success = (label: string, schemas: ReadonlyArray<Schema.Top>): Encode => {
  if (schemas.some((schema) => streamTag(schema) === "StreamSse" || "protocol" in schema)) {
    throw new Error("events and upgrades have routes of their own: `Router.sse` and `Router.websocket`")
  }
  const members = membersOf(HttpApiEndpoint.post("success", "/", { success: schemas }).success, 200)
  return (value, context) =>
    HttpServerResponse.isHttpServerResponse(value)
      ? Effect.succeed(value)
      : Effect.catchEager(
        encodeFirst(members, value, context),
        (error) => mistake(label, `has yielded what does not fit its \`success\`: ${error.message}`)
      )
}

/** Builds the encoder of a route's `errors`. It fails for what is none of them. */
export const errors = (
  schemas: NonNullable<Route.Options["errors"]>
): (error: unknown, context: Context.Context<never>) => Encoded => {
  const list = (Array.isArray(schemas) ? schemas : [schemas]) as ReadonlyArray<Schema.Top>
  const members = membersOf(HttpApiEndpoint.post("errors", "/", { error: list }).error, 500)
  return (error, context) => encodeFirst(members, error, context)
}

const membersOf = (schemas: ReadonlySet<Schema.Top>, standard: number): ReadonlyArray<Member> =>
  Array.from(schemas, (schema) => toMember(schema, statusOf(schema, standard)))

const encodeFirst = (
  members: ReadonlyArray<Member>,
  value: unknown,
  context: Context.Context<never>,
  index = 0
): Encoded => {
  const member = members[index]
  if (member === undefined) return Effect.fail(new Schema.SchemaError(noMember))
  const next = index + 1
  if (members.length > 1 && member.isStream !== Stream.isStream(contentOf(value))) {
    return encodeFirst(members, value, context, next)
  }
  const encoded = member.encode(value, context)
  return next === members.length
    ? encoded
    : Effect.catchEager(encoded, () => encodeFirst(members, value, context, next))
}

const noMember = new SchemaIssue.InvalidValue({ message: "Expected one of its Schemas" })

const contentOf = (value: unknown): unknown =>
  Predicate.hasProperty(value, HttpApiSchema.WithHeadersValueTypeId) && "body" in value ? value.body : value

const toMember = (schema: Schema.Top, status: number): Member => {
  const body = bodyOf(schema)
  const inner = streamTag(body) === undefined
    ? { encode: encodeWhole(body, status), isStream: false }
    : { encode: encodeStream(body as HttpApiSchema.StreamSchema, status), isStream: true }
  if (!HttpApiSchema.isWithHeaders(schema)) return inner
  const headers = Schema.encodeUnknownEffect(schema.headers) as (
    value: unknown
  ) => Effect.Effect<any, Schema.SchemaError>
  return {
    isStream: inner.isStream,
    encode: (value, context) => {
      const pair = value as HttpApiSchema.withHeaders<unknown, unknown>
      return Effect.flatMapEager(
        inner.encode(pair?.body, context),
        (response) => Effect.mapEager(headers(pair?.headers), (lines) => HttpServerResponse.setHeaders(response, lines))
      )
    }
  }
}

const encodeWhole = (schema: Schema.Top, status: number): Member["encode"] => {
  const encode = Schema.encodeUnknownEffect(schema) as (value: unknown) => Effect.Effect<any, Schema.SchemaError>
  const isEmpty = HttpApiSchema.isNoContent(schema.ast)
  // How a Schema is written is noted by `HttpApiSchema.asText` and its like.
  const { _tag = "Json", contentType = "application/json" } = annotation(schema, "~httpApiEncoding") ?? {}
  const write = (value: any): Response => {
    if (isEmpty || value === undefined) return HttpServerResponse.empty({ status })
    switch (_tag) {
      case "Text":
        return HttpServerResponse.text(value, { status, contentType })
      case "Uint8Array":
        return HttpServerResponse.uint8Array(value, { status, contentType })
      case "FormUrlEncoded":
        return HttpServerResponse.setHeader(
          HttpServerResponse.urlParams(value, { status }),
          "content-type",
          contentType
        )
      default:
        return HttpServerResponse.text(JSON.stringify(value), { status, contentType })
    }
  }
  return (value) => Effect.mapEager(encode(value), write)
}

type Bytes = Stream.Stream<Uint8Array, unknown>

const notAStream: Encoded = Effect.fail(
  new Schema.SchemaError(new SchemaIssue.InvalidValue({ message: "Expected a Stream" }))
)

const encodeStream = (schema: HttpApiSchema.StreamSchema, status: number): Member["encode"] => {
  const options = { status, contentType: schema.contentType }
  if (schema._tag !== "StreamNdjson") {
    return (value, context) =>
      Stream.isStream(value)
        ? Effect.succeed(HttpServerResponse.stream(Stream.provideContext(value as Bytes, context), options))
        : notAStream
  }
  const encode = Schema.encodeUnknownEffect(Schema.NonEmptyArray(Schema.toCodecJson(schema.schema)))
  return (value, context) => {
    if (!Stream.isStream(value)) return notAStream
    const lines = (value as Stream.Stream<unknown, unknown>).pipe(
      Stream.mapArrayEffect((elements) => Effect.orDie(encode(elements))),
      Stream.pipeThroughChannel(Ndjson.encode()),
      Stream.provideContext(context as Context.Context<any>)
    )
    return Effect.succeed(HttpServerResponse.stream(lines, options))
  }
}
