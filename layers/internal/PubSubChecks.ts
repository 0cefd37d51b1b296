/**
 * What a PubSub layer takes: its limits, and the names, sizes and options that fit them. Each check yields the failure, or
 * nothing where there is none, so that a message that is fine costs no Effect.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as TopicName from "../../src/schema/TopicName.ts"
import {
  type Payload,
  type PublishOptions,
  PubSubError,
  type PubSubErrorReason,
  type Replay
} from "../../src/service/PubSub.ts"
import type { Hub, Receiver } from "./PubSubHub.ts"

/** Limits that every layer has. */
export interface Options {
  /** Messages that wait for a receiver that does not read, unless it says otherwise. Default 100. */
  readonly capacity?: number | undefined
  /** How long a message waits for it. Default 60 seconds. */
  readonly expiry?: Duration.Input | undefined
  /** Longest payload in bytes; text counts as UTF-8. Default 1,048,576. */
  readonly maxMessageBytes?: number | undefined
  /** Messages that wait for their delay in this process. Default 10,000. */
  readonly maxDelayed?: number | undefined
  /** Most messages that a publication can have kept of its topic. Default 1,000. */
  readonly maxKept?: number | undefined
}

/** The reference's limits. */
export const defaults = { capacity: 100, maxMessageBytes: 1024 * 1024, maxDelayed: 10_000, maxKept: 1000 }
export const defaultExpiry = Duration.seconds(60)

/** Longest key and value of a presence, in characters. */
const maxKeyLength = 256
const maxValueLength = 4096

/** Fails where a time is not above 0. */
export const checkDuration = (option: string, value: Duration.Input): Effect.Effect<void, PubSubError> =>
  Duration.toMillis(value) > 0
    ? Effect.void
    : refuse({ _tag: "InvalidOption", option, value, problem: "it takes durations above 0" })

/** Fails where a limit is none. */
export const checkOptions = (options: Options): Effect.Effect<void, PubSubError> => {
  for (const option of ["capacity", "maxMessageBytes", "maxDelayed", "maxKept"] as const) {
    const value = options[option]
    const least = option === "capacity" || option === "maxMessageBytes" ? 1 : 0
    if (value !== undefined && !(Number.isInteger(value) && value >= least)) {
      return refuse({ _tag: "InvalidOption", option, value, problem: `it takes whole numbers from ${least}` })
    }
  }
  return Effect.void
}

export const refuse = (reason: PubSubErrorReason): Effect.Effect<never, PubSubError> =>
  Effect.fail(new PubSubError({ reason }))

export const layerClosed: PubSubErrorReason = { _tag: "Unavailable", problem: "its layer is closed" }

/** **Returns** a failure where a number is none that counts. */
export const checkCount = (option: string, value: number): Effect.Effect<never, PubSubError> | undefined =>
  Number.isInteger(value) && value >= 1
    ? undefined
    : refuse({ _tag: "InvalidOption", option, value, problem: "it takes whole numbers from 1" })

/** **Returns** a failure for a receiver that was closed, or is about to be. */
export const checkChannel = (
  { channel, mailbox }: Receiver,
  isLeaving = false
): Effect.Effect<never, PubSubError> | undefined => {
  if (!mailbox.isClosed && !isLeaving) return undefined
  return refuse(channel === undefined ? layerClosed : { _tag: "UnknownChannel", channel })
}

/** The checks of one layer. */
export class Checks {
  private readonly hub: Hub
  private readonly maxMessageBytes: number
  private readonly maxKept: number

  constructor(hub: Hub, options: Options) {
    this.hub = hub
    this.maxMessageBytes = options.maxMessageBytes ?? defaults.maxMessageBytes
    this.maxKept = options.maxKept ?? defaults.maxKept
  }

  topic(name: string): Effect.Effect<never, PubSubError> | undefined {
    if (this.hub.isKnownTopic(name)) return undefined
    if (this.hub.isClosed) return refuse(layerClosed)
    const problem = TopicName.problemWith(name)
    return problem === undefined ? undefined : refuse({ _tag: "InvalidTopic", name, problem })
  }

  name(name: string): Effect.Effect<never, PubSubError> | undefined {
    if (!TopicName.isPattern(name)) return this.topic(name)
    if (this.hub.isClosed) return refuse(layerClosed)
    const problem = TopicName.problemWithPattern(name)
    return problem === undefined ? undefined : refuse({ _tag: "InvalidPattern", pattern: name, problem })
  }

  replay(name: string, replay: Replay): Effect.Effect<never, PubSubError> | undefined {
    if (replay.after === undefined && replay.last === undefined) return undefined
    if (TopicName.isPattern(name)) {
      const option = replay.after === undefined ? "last" : "after"
      return refuse({ _tag: "InvalidOption", option, value: replay[option], problem: "a pattern has no history" })
    }
    return replay.last === undefined ? undefined : checkCount("last", replay.last)
  }

  size(data: Payload): Effect.Effect<never, PubSubError> | undefined {
    const limit = this.maxMessageBytes
    // A UTF-16 unit is at most three bytes of UTF-8.
    if (data.length <= limit && (typeof data !== "string" || data.length * 3 <= limit)) return undefined
    const bytes = typeof data === "string" ? Buffer.byteLength(data) : data.length
    return bytes <= limit ? undefined : refuse({ _tag: "MessageTooLarge", bytes, limit })
  }

  presence(topic: string, key: string, value: string): Effect.Effect<never, PubSubError> | undefined {
    const tooLong = (option: string, text: string, limit: number) =>
      refuse({ _tag: "InvalidOption", option, value: `${text.slice(0, 20)}…`, problem: `the limit is ${limit}` })
    if (key.length > maxKeyLength) return tooLong("key", key, maxKeyLength)
    if (value.length > maxValueLength) return tooLong("value", value, maxValueLength)
    return this.topic(topic)
  }

  keep(keep: number): Effect.Effect<never, PubSubError> | undefined {
    if (Number.isInteger(keep) && keep >= 0 && keep <= this.maxKept) return undefined
    const problem = `it takes whole numbers from 0 to ${this.maxKept}`
    return refuse({ _tag: "InvalidOption", option: "keep", value: keep, problem })
  }
}

const nobody: ReadonlyArray<string> = []

/** **Returns** a copy: the message may be sent later. */
export const excludedBy = ({ exclude }: PublishOptions): ReadonlyArray<string> =>
  exclude === undefined ? nobody : typeof exclude === "string" ? [exclude] : [...exclude]
