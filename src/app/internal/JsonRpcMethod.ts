/**
 * Methods as values: a name, Schemas of what goes in and comes out, and on the serving side an Effect. Owns the way
 * between JSON and those Schemas in both directions; knows nothing of requests, ids and connections.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { InvalidRequest } from "../Failures.ts"
import type { Call, Middleware, Peer } from "./JsonRpcDispatch.ts"
import { codes, RpcError } from "./JsonRpcError.ts"
import type { WireError } from "./JsonRpcMessage.ts"

/** A Schema that needs no services. */
export type AnyCodec = Schema.ConstraintCodec<unknown, unknown>

type Fields = { readonly [name: string]: AnyCodec }

/** What `params` may be: the fields of an object, or a Schema of the whole. */
export type ParamsSpec = AnyCodec | Fields

export type TypeOfParams<P> = [P] extends [undefined] ? void
  : P extends AnyCodec ? P["Type"]
  : P extends Schema.Struct.Fields ? Schema.Struct<P>["Type"]
  : never

/** A declared error and its code. */
export interface CodedError<out E> {
  readonly "~jsonrpc/error": true
  /** `undefined`: the error's own, or -32000. */
  readonly code: number | undefined
  readonly schema: Schema.ConstraintCodec<E, unknown>
}

export type ErrorSpec = AnyCodec | CodedError<unknown>

export type TypeOfError<S> = S extends CodedError<infer E> ? E : S extends AnyCodec ? S["Type"] : never

/** What a method is, for both sides. Each part may be left out. */
export interface Spec<
  P extends ParamsSpec | undefined,
  A extends AnyCodec,
  Es extends ReadonlyArray<ErrorSpec>
> {
  /**
   * Fields are accepted by name and by position, in the order of their keys; so is a Schema of an object with fixed
   * keys. A tuple or an array is accepted by position. Any other Schema decodes `params` as they are. Default: none.
   */
  readonly params?: P
  /** Of the result. Default `Schema.Void`, which is `null`. */
  readonly success?: A
  /**
   * Of the failures that clients may see. Their code is the one that `JsonRpc.error` gives them, else that of an integer
   * field `code`, else -32000. Default: none.
   */
  readonly errors?: Es
  /** One line, for `rpc.discover`. */
  readonly summary?: string
  /** For `rpc.discover`. */
  readonly description?: string
  /** For `rpc.discover`. Default false. */
  readonly deprecated?: boolean
}

/** A method without the Effect that runs it: what a client, or the other side of a connection, must know. */
export interface Declaration<out Name extends string, out P, out A, out E> {
  readonly name: Name
  readonly spec: Spec<ParamsSpec, AnyCodec, ReadonlyArray<ErrorSpec>>
  readonly wire: Wire
  /** Types only; never present. */
  readonly "~types"?: { readonly params: P; readonly success: A; readonly error: E }
}

export type AnyDeclaration = Declaration<string, unknown, unknown, unknown>

export type ParamsOf<D> = D extends Declaration<string, infer P, unknown, unknown> ? P : never
export type SuccessOf<D> = D extends Declaration<string, unknown, infer A, unknown> ? A : never
export type ErrorOf<D> = D extends Declaration<string, unknown, unknown, infer E> ? E : never

/** The parameters of a call as arguments: none for a method that takes none. */
export type Arguments<D> = [void] extends [ParamsOf<D>] ? [params?: ParamsOf<D>] : [params: ParamsOf<D>]

/** A method that can be served. */
export interface Method<out Name extends string, out P, out A, out E, out R> extends Declaration<Name, P, A, E> {
  /** Decodes the parameters, runs, encodes the result. Typed failures are error objects here; defects stay defects. */
  readonly run: (params: unknown) => Effect.Effect<unknown, RpcError, R>
  readonly middleware: ReadonlyArray<Middleware<R>>
}

export type AnyMethod<R = unknown> = Method<string, unknown, unknown, unknown, R>

export type ServicesOf<M> = M extends Method<string, unknown, unknown, unknown, infer R> ? R : never

export interface Implementation<R2> {
  /** Around this method, inside of what surrounds all methods; the first is the outermost. Default: none. */
  readonly middleware?: ReadonlyArray<Middleware<R2>>
}

/** Ways between JSON and the types of one method. The casts of a declaration's types meet here. */
export interface Wire {
  readonly decodeParams: (params: unknown) => Effect.Effect<unknown, RpcError, never>
  readonly encodeParams: (params: unknown) => Effect.Effect<unknown, Schema.SchemaError>
  readonly encodeSuccess: (value: unknown) => Effect.Effect<unknown, Schema.SchemaError>
  readonly decodeSuccess: (value: unknown) => Effect.Effect<unknown, Schema.SchemaError>
  /** Succeeds with `undefined` for what is not declared. */
  readonly encodeError: (error: unknown) => Effect.Effect<RpcError | undefined, Schema.SchemaError>
  readonly decodeError: (error: WireError) => Effect.Effect<unknown>
}

export const declare = <
  const Name extends string,
  P extends ParamsSpec | undefined = undefined,
  A extends AnyCodec = Schema.Void,
  const Es extends ReadonlyArray<ErrorSpec> = []
>(name: Name, spec: Spec<P, A, Es>): Declaration<Name, TypeOfParams<P>, A["Type"], TypeOfError<Es[number]>> => {
  if (name.startsWith("rpc.")) throw new RangeError(`A method cannot be named '${name}': JSON-RPC reserves "rpc."`)
  return { name, spec: spec as Declaration<Name, unknown, unknown, unknown>["spec"], wire: makeWire(spec) }
}

export const implement = <Name extends string, P, A, E, R, R2 = never>(
  declaration: Declaration<Name, P, A, E>,
  handler: (params: P) => Effect.Effect<NoInfer<A>, NoInfer<E> | RpcError, R>,
  { middleware = [] }: Implementation<R2> = {}
): Method<Name, P, A, E, Exclude<R, Call | Peer> | R2> => {
  const { wire } = declaration
  const fail = (error: E | RpcError): Effect.Effect<never, RpcError> =>
    error instanceof RpcError ? Effect.fail(error) : Effect.flatMap(
      Effect.orDie(wire.encodeError(error)),
      (encoded) => encoded === undefined ? Effect.die(error) : Effect.fail(encoded)
    )
  const run = (raw: unknown) =>
    Effect.flatMap(
      wire.decodeParams(raw),
      (params) =>
        Effect.flatMap(
          Effect.catch(handler(params as P), fail),
          (value) => Effect.orDie(wire.encodeSuccess(value))
        )
    )
  // The dispatcher provides Call and Peer around every run.
  return { ...declaration, run, middleware } as Method<Name, P, A, E, Exclude<R, Call | Peer> | R2>
}

/** Declares an error with its code. */
export const error = <E>(code: number, schema: Schema.ConstraintCodec<E, unknown>): CodedError<E> => {
  if (!isFree(code)) {
    throw new RangeError(
      `An error cannot have the code ${code}: it must be an integer, and JSON-RPC reserves -32768 to -32100`
    )
  }
  return { "~jsonrpc/error": true, code, schema }
}

/** Section 5.1: -32768 to -32000 are reserved, and of these the last hundred are left to us. */
const isFree = (code: unknown): code is number =>
  Number.isSafeInteger(code) && !(code as number >= -32768 && code as number < -32099)

const isCoded = (spec: ErrorSpec): spec is CodedError<unknown> => "~jsonrpc/error" in spec

/** An error of a declaration with its code. */
export const coded = (spec: ErrorSpec): CodedError<unknown> =>
  isCoded(spec) ? spec : { "~jsonrpc/error": true, code: undefined, schema: spec }

/** The Schema of all parameters; `undefined` for a method that takes none. */
export const paramsSchema = (params: ParamsSpec | undefined): AnyCodec | undefined =>
  params === undefined || Schema.isSchema(params) ? params as AnyCodec | undefined : Schema.Struct(params as Fields)

// ---- between JSON and types

const invalidParams = (data: ReadonlyArray<{ readonly path: string; readonly message: string }>) =>
  Effect.fail(new RpcError({ code: codes.invalidParams, message: "Invalid params", data }))

const makeWire = (spec: Spec<ParamsSpec | undefined, AnyCodec, ReadonlyArray<ErrorSpec>>): Wire => {
  const success = Schema.toCodecJson(spec.success ?? Schema.Void)
  const errors = (spec.errors ?? []).map(coded).map(({ code, schema }) => {
    const codec = Schema.toCodecJson(schema)
    return {
      code,
      is: Schema.is(schema),
      encode: Schema.encodeUnknownEffect(codec),
      decode: Schema.decodeUnknownEffect(codec)
    }
  })
  return {
    ...makeParams(paramsSchema(spec.params)),
    encodeSuccess: Schema.encodeUnknownEffect(success),
    decodeSuccess: Schema.decodeUnknownEffect(success),
    encodeError: (failure) => {
      const found = errors.find(({ is }) => is(failure))
      if (found === undefined) return Effect.undefined
      const own = Object(failure) as { readonly code?: unknown }
      const code = found.code ?? (isFree(own.code) ? own.code : codes.serverError)
      return Effect.map(
        found.encode(failure),
        (data) => new RpcError({ code, message: sentenceOf(failure), data })
      )
    },
    decodeError: (wire) =>
      Effect.firstSuccessOf([
        ...errors.filter(({ code }) => code === undefined || code === wire.code).map(({ decode }) => decode(wire.data)),
        Effect.succeed(new RpcError(wire))
      ]) as Effect.Effect<unknown>
  }
}

/** A short description for people (section 5.1); a tagged error without one has its tag. */
const sentenceOf = (failure: unknown): string => {
  const { _tag, message } = Object(failure) as { readonly _tag?: unknown; readonly message?: unknown }
  const found = [message, _tag].find((text) => typeof text === "string" && text !== "")
  return found === undefined ? "Server error" : found as string
}

const makeParams = (schema: AnyCodec | undefined): Pick<Wire, "decodeParams" | "encodeParams"> => {
  if (schema === undefined) {
    return {
      decodeParams: (params) =>
        params === undefined || Object.keys(params as object).length === 0
          ? Effect.undefined
          : invalidParams([{ path: "", message: "Expected no parameters" }]),
      encodeParams: () => Effect.undefined
    }
  }
  const codec = Schema.toCodecJson(schema)
  const decode = Schema.decodeUnknownEffect(codec, { errors: "all" })
  const encoded = SchemaAST.toEncoded(codec.ast)
  const names = SchemaAST.isObjects(encoded) && encoded.indexSignatures.length === 0
    ? encoded.propertySignatures.map(({ name }) => String(name))
    : undefined
  const absent = SchemaAST.isObjects(encoded) ? {} : SchemaAST.isArrays(encoded) ? [] : undefined
  return {
    decodeParams: (params = absent) => {
      const isByPosition = names !== undefined && Array.isArray(params)
      if (isByPosition && params.length > names.length) {
        return invalidParams([{ path: String(names.length), message: `Expected at most ${names.length} parameters` }])
      }
      const input = isByPosition ? Object.fromEntries(params.map((value, at) => [names[at], value])) : params
      return Effect.catch(
        decode(input),
        (error) => invalidParams(InvalidRequest.fromSchemaError("body", 422, error).issues)
      )
    },
    encodeParams: Schema.encodeUnknownEffect(codec)
  }
}
