/**
 * The OpenRPC 1.3 description of a set of methods, made from their Schemas. Owns the document's shape; what a Schema
 * looks like as JSON Schema is effect's own `SchemaRepresentation` and `JsonSchema` (draft 7, as OpenRPC asks).
 *
 * **Source** https://spec.open-rpc.org, version 1.3.2.
 */
import * as JsonSchema from "effect/JsonSchema"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import * as SchemaRepresentation from "effect/SchemaRepresentation"
import { codes } from "./JsonRpcError.ts"
import { type AnyCodec, type AnyDeclaration, coded, type CodedError, paramsSchema } from "./JsonRpcMethod.ts"

/** Who and what an API is. */
export interface Info {
  readonly title: string
  readonly version: string
  readonly description?: string
}

/** An OpenRPC document. */
export interface Document {
  readonly openrpc: string
  readonly info: Info
  readonly methods: ReadonlyArray<{ readonly name: string; readonly [member: string]: unknown }>
  readonly components: { readonly schemas: { readonly [name: string]: JsonSchema.JsonSchema } }
}

/** A declaration and its Schemas, each the very object that is looked up later. */
interface Parts {
  readonly declaration: AnyDeclaration
  readonly params: AnyCodec | undefined
  readonly success: AnyCodec
  readonly errors: ReadonlyArray<CodedError<unknown>>
}

const partsOf = (declaration: AnyDeclaration): Parts => ({
  declaration,
  params: paramsSchema(declaration.spec.params),
  success: declaration.spec.success ?? Schema.Void,
  errors: (declaration.spec.errors ?? []).map(coded)
})

export const document = (info: Info, declarations: ReadonlyArray<AnyDeclaration>): Document => {
  const all = declarations.map(partsOf)
  const schemas = all.flatMap(({ errors, params, success }) => [
    ...(params === undefined ? [] : [params]),
    success,
    ...errors.map(({ schema }) => schema)
  ])
  const asts = schemas.map((schema) => Schema.toCodecJson(schema).ast)
  const { definitions, schemas: found } = SchemaRepresentation.toJsonSchemaMultiDocument(
    // It wants at least one; the last is for a service without methods, and nobody looks it up.
    SchemaRepresentation.toRepresentations([...asts, Schema.Void.ast] as unknown as readonly [SchemaAST.AST])
  )
  const byName = Object.fromEntries(Object.entries(definitions).map(([name, schema]) => [name, inDraft7(schema)]))
  const bySchema = new Map(schemas.map((schema, at) => [schema, inDraft7(found[at]!)]))
  return {
    openrpc: "1.3.2",
    info,
    methods: all.map((parts) => describe(parts, (schema) => bySchema.get(schema)!, byName)),
    components: { schemas: byName }
  }
}

type SchemaOf = (schema: AnyCodec) => JsonSchema.JsonSchema

const describe = (
  { declaration: { name, spec }, errors, params, success }: Parts,
  schemaOf: SchemaOf,
  byName: Document["components"]["schemas"]
) => {
  const { deprecated, description, summary } = spec
  return {
    name,
    ...(summary === undefined ? {} : { summary }),
    ...(description === undefined ? {} : { description }),
    ...(deprecated === undefined ? {} : { deprecated }),
    ...describeParams(params === undefined ? undefined : schemaOf(params), byName),
    result: { name: "result", schema: schemaOf(success) },
    errors: errors.map(({ code, schema }) => ({
      code: code ?? codes.serverError,
      message: nameOf(schema) ?? "Server error",
      data: schemaOf(schema)
    }))
  }
}

const nameOf = (schema: AnyCodec): string | undefined => {
  const identifier = (schema as { readonly identifier?: unknown }).identifier
  return typeof identifier === "string" ? identifier : undefined
}

/** OpenRPC knows lists of single parameters only; parameters that are no such list are described as one, `params`. */
const describeParams = (schema: JsonSchema.JsonSchema | undefined, byName: Document["components"]["schemas"]) => {
  if (schema === undefined) return { params: [] }
  const reference = typeof schema["$ref"] === "string" ? schema["$ref"].slice(prefix.length) : undefined
  const { items, minItems, properties, required } =
    (reference === undefined ? schema : byName[reference] ?? schema) as {
      readonly [keyword: string]: unknown
    }
  if (properties !== undefined) {
    const needed = new Set((required ?? []) as ReadonlyArray<string>)
    return {
      paramStructure: "either",
      params: Object.entries(properties as Record<string, unknown>).map(([name, schema]) => ({
        name,
        required: needed.has(name),
        schema
      }))
    }
  }
  if (Array.isArray(items)) {
    return {
      paramStructure: "by-position",
      params: items.map((schema: unknown, at) => ({
        name: `param${at + 1}`,
        required: at < (typeof minItems === "number" ? minItems : 0),
        schema
      }))
    }
  }
  return {
    paramStructure: items === undefined ? "either" : "by-position",
    params: [{ name: "params", description: "All parameters as one value", required: true, schema }]
  }
}

const prefix = "#/components/schemas/"

const inDraft7 = (schema: JsonSchema.JsonSchema): JsonSchema.JsonSchema => {
  const document = JsonSchema.toDocumentDraft07({ dialect: "draft-2020-12", schema, definitions: {} })
  return JSON.parse(
    JSON.stringify(
      document.schema,
      (key, value) => key === "$ref" && typeof value === "string" ? value.replace(/^#\/\$defs\//, prefix) : value
    )
  )
}
