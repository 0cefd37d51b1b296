/**
 * How a task's values cross to a worker and back: encoded by their Schema on one side, decoded on the other. What
 * travels is the Encoded side as structured clone copies it, so bytes, dates, maps and bigints need no JSON.
 *
 * A Schema that only checks runs without a fiber: the Effect is an Exit already, and callers may look.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Transferable from "effect/workers/Transferable"

/** A Schema that needs no services. */
export type AnyCodec = Schema.ConstraintCodec<unknown, unknown>

/** Both directions of one Schema. */
export interface Codec {
  /** Adds what the Schema says to transfer to `transfer`, each object once. */
  readonly encode: (value: unknown, transfer: Array<unknown>) => Effect.Effect<unknown, Schema.SchemaError>
  readonly decode: (encoded: unknown) => Effect.Effect<unknown, Schema.SchemaError>
}

export const make = (schema: AnyCodec): Codec => {
  const encode = Schema.encodeUnknownEffect(schema)
  return {
    decode: Schema.decodeUnknownEffect(schema),
    encode: (value, transfer) => {
      const encoded = encode(value)
      return Exit.isExit(encoded) ? encoded : collected(encoded, transfer)
    }
  }
}

const collected = (
  encoded: Effect.Effect<unknown, Schema.SchemaError>,
  transfer: Array<unknown>
): Effect.Effect<unknown, Schema.SchemaError> => {
  const collector = Transferable.makeCollectorUnsafe()
  return Effect.map(Effect.provideService(encoded, Transferable.Collector, collector), (value) => {
    transfer.push(...new Set(collector.readUnsafe()))
    return value
  })
}
