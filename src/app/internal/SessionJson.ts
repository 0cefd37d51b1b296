/**
 * JSON and Schemas for sessions: what encodes is sent, and what does not fit is described by its place and never by its
 * value, because a value may be a client's, or a secret.
 */
import * as Effect from "effect/Effect"
import * as JsonPointer from "effect/JsonPointer"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"

/** A Schema that needs no services, in either direction. */
export type PlainSchema<A = unknown> = Schema.ConstraintCodec<A, unknown>

// The default hooks write down what was found.
const formatter = SchemaIssue.makeFormatterStandardSchemaV1({ leafHook: () => "", checkHook: () => "" })

/** Longer paths are cut: keys of records are the client's. */
const maxPathLength = 100

/** Where the first problem is: keys and indices, separated by `/` and escaped as in RFC 6901. Empty: the root. */
export const pathOf = (error: Schema.SchemaError): string =>
  (formatter(error.issue).issues[0]?.path ?? [])
    .map((key) => JsonPointer.escapeToken(String(typeof key === "object" ? key.key : key)))
    .join("/")
    .slice(0, maxPathLength)

/** Makes a failure out of what is wrong with a value. */
export type Refuse<E> = (problem: string) => E

/** Encodes by a Schema. */
export const encoder = <A, E>(
  schema: PlainSchema<A>,
  refuse: Refuse<E>
): (value: A) => Effect.Effect<unknown, E> => {
  const encode = Schema.encodeEffect(schema)
  return (value) =>
    Effect.mapErrorEager(encode(value), (error) => {
      const path = pathOf(error)
      return refuse(path === "" ? "it does not fit its Schema" : `it does not fit its Schema at ${path}`)
    })
}

/** Writes JSON, by a Schema or as it is. */
export const jsonEncoder = <A, E>(
  schema: PlainSchema<A> | undefined,
  refuse: Refuse<E>
): (value: A) => Effect.Effect<string, E> => {
  const write = (value: unknown): Effect.Effect<string, E> => {
    try {
      const text = JSON.stringify(value)
      if (typeof text === "string") return Effect.succeed(text)
    } catch {
      // A cycle or a bigint.
    }
    return Effect.fail(refuse("it is not JSON"))
  }
  if (schema === undefined) return write
  const encode = encoder(Schema.toCodecJson(schema), refuse)
  return (value) => Effect.flatMapEager(encode(value), write)
}
