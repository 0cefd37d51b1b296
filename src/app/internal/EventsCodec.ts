/**
 * One event on its way: the topic it travels on, and its payload as JSON by a Schema. Says of what does not fit where it
 * does not, and never what was found there.
 */
import * as Cause from "effect/Cause"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TopicName from "../../schema/TopicName.ts"
import type { Payload } from "../../service/PubSub.ts"
import { pathOf, type PlainSchema } from "./SessionJson.ts"

/**
 * The topic of an event: `events.<service>.<event>`. The id of the service is one segment, with `:` for its slashes and
 * dots, so that no two services share a topic by accident.
 *
 * Throws a RangeError when this cannot be a topic.
 */
export const topicOf = (service: string, event: string): string => {
  const topic = `events.${service.replaceAll(/[/.]/g, ":")}.${event}`
  const problem = event === "" ? "its name is empty" : TopicName.problemWith(topic)
  if (problem !== undefined) {
    throw new RangeError(
      `The event ${JSON.stringify(event)} of ${service} cannot have the topic '${topic}': ${problem}`
    )
  }
  return topic
}

/** Both directions of one payload. What is not synchronous in a Schema is a defect here. */
export interface Codec {
  readonly encode: (payload: unknown) => Exit.Exit<string, Schema.SchemaError>
  readonly decode: (data: Payload) => Exit.Exit<unknown, Schema.SchemaError>
}

export const make = (schema: PlainSchema): Codec => {
  const text = Schema.fromJsonString(Schema.toCodecJson(schema))
  return { encode: Schema.encodeUnknownExit(text), decode: Schema.decodeUnknownExit(text) }
}

/** What is wrong, for people. Of a defect its own message, which is the Schema's author's. */
export const problemOf = (cause: Cause.Cause<Schema.SchemaError>): string => {
  if (Cause.hasDies(cause)) return `its Schema died: ${String(Cause.squash(cause))}`
  const path = Option.match(Cause.findErrorOption(cause), { onNone: () => "", onSome: pathOf })
  return path === "" ? "the payload does not fit its Schema" : `the payload does not fit its Schema at ${path}`
}
