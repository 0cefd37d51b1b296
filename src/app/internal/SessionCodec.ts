/**
 * Between the messages of a WebSocket and the values of an application: by Schema and encoding, or as they are. Built
 * once for all sessions of a route; decoding a message allocates its result and nothing that lives on.
 *
 * Never repeats the content of a message, in errors or in close frames.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as ErrorReporter from "effect/ErrorReporter"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type { WebSocketMessage, WebSocketSendMessage } from "../../schema/Event.ts"
import { SendError } from "../SendError.ts"
import { encoder, jsonEncoder, pathOf, type PlainSchema } from "./SessionJson.ts"

/** How values become messages: JSON in text frames, text frames, or binary frames. */
export type Encoding = "json" | "text" | "bytes"

/** What the messages of a session are. Schemas must not need services. */
export interface Options {
  /** Messages in both directions. */
  readonly message?: PlainSchema
  /** Messages from the client; instead of `message`. */
  readonly receive?: PlainSchema
  /** Messages to the client; instead of `message`. */
  readonly send?: PlainSchema
  /**
   * Default `json` with a Schema; without one, messages are `string | Uint8Array` as they are. `text` and `bytes` need
   * Schemas whose encoded side is `string` or `Uint8Array`.
   */
  readonly encoding?: Encoding
}

/** What a direction without a Schema carries. */
type Plain<O> = O extends { readonly encoding: "text" } ? string
  : O extends { readonly encoding: "bytes" } ? Uint8Array
  : O extends { readonly encoding: "json" } | { readonly message: object } | { readonly receive: object } | {
    readonly send: object
  } ? Schema.Json
  : string | Uint8Array

type Typed<O, Key extends "receive" | "send"> = O extends { readonly [K in Key]: { readonly Type: infer A } } ? A
  : O extends { readonly message: { readonly Type: infer A } } ? A
  : Plain<O>

/** What a session with these options receives. */
export type Received<O> = Typed<O, "receive">

/** What a session with these options sends. */
export type Sent<O> = Typed<O, "send">

/**
 * What is wrong with a message of the client.
 *
 * - `NotText` it came in a binary frame and text was expected
 * - `NotBytes` it came in a text frame and bytes were expected
 * - `NotJson` it is not JSON
 * - `DoesNotFit` it does not fit the Schema
 */
export type MessageProblem = "NotText" | "NotBytes" | "NotJson" | "DoesNotFit"

/**
 * A message of the client that is not what the session expects. Fault: client, so it is not reported as an error of
 * ours. The session has been closed with `closeCode` when this is seen.
 */
export class InvalidMessage extends Data.TaggedError("InvalidMessage")<{
  readonly problem: MessageProblem
  /** Where it does not fit: keys and indices, separated by `/`. Empty: the root. Cut after 100 characters. */
  readonly path: string
  /** Length of the message in bytes. Its content is nowhere. */
  readonly bytes: number
}> {
  /** 1003 for the wrong kind of frame, 1007 for the wrong content (RFC 6455 section 7.4.1). */
  get closeCode(): 1003 | 1007 {
    return this.problem === "NotText" || this.problem === "NotBytes" ? 1003 : 1007
  }

  override get message(): string {
    const place = this.path === "" ? "" : ` at ${JSON.stringify(this.path)}`
    return `A message of ${this.bytes} bytes ${problems[this.problem]}${place}`
  }

  override get [ErrorReporter.ignore](): boolean {
    return true
  }
}

const problems: { readonly [P in MessageProblem]: string } = {
  NotText: "is binary where text is expected",
  NotBytes: "is text where bytes are expected",
  NotJson: "is not JSON",
  DoesNotFit: "does not fit its Schema"
}

/** Reads and writes the messages of a route. Made by `WebSocketSession.codec`. */
export class Codec<In, Out> {
  /** Reads a message. */
  readonly decode: (message: WebSocketMessage) => Effect.Effect<In, InvalidMessage>
  /** Writes one. Fails with `InvalidField` when the value does not fit its Schema. */
  readonly encode: (out: Out) => Effect.Effect<WebSocketSendMessage, SendError>

  constructor(decode: Codec<In, Out>["decode"], encode: Codec<In, Out>["encode"]) {
    this.decode = decode
    this.encode = encode
  }
}

const lengthOf = ({ bytes, text }: WebSocketMessage): number =>
  bytes !== undefined ? bytes.length : new TextEncoder().encode(text).length

const invalid = (message: WebSocketMessage, problem: MessageProblem, path = ""): Effect.Effect<never, InvalidMessage> =>
  Effect.suspend(() => Effect.fail(new InvalidMessage({ problem, path, bytes: lengthOf(message) })))

type Decode<In> = Codec<In, never>["decode"]

/** The value that a frame holds, before its Schema. */
const readers: { readonly [E in Encoding | "any"]: Decode<unknown> } = {
  any: (message) => Effect.succeed(message.text ?? message.bytes),
  text: (message) => message.text === undefined ? invalid(message, "NotText") : Effect.succeed(message.text),
  bytes: (message) => message.bytes === undefined ? invalid(message, "NotBytes") : Effect.succeed(message.bytes),
  json: (message) => {
    if (message.text === undefined) return invalid(message, "NotText")
    try {
      return Effect.succeed(JSON.parse(message.text))
    } catch {
      return invalid(message, "NotJson")
    }
  }
}

const decoder = (schema: PlainSchema | undefined, encoding: Encoding | "any"): Decode<unknown> => {
  const read = readers[encoding]
  if (schema === undefined) return read
  const decode = Schema.decodeUnknownEffect(encoding === "json" ? Schema.toCodecJson(schema) : schema)
  return (message) =>
    Effect.flatMapEager(read(message), (value) => {
      const decoded = Effect.catchEager(decode(value), (error) => invalid(message, "DoesNotFit", pathOf(error)))
      if (Exit.isExit(decoded) && Exit.isSuccess(decoded)) return decoded
      // A recursive Schema runs out of stack in a message that is nested deep enough.
      return Effect.catchDefect(
        decoded,
        (defect) => defect instanceof RangeError ? invalid(message, "DoesNotFit") : Effect.die(defect)
      )
    })
}

const refuse = (field: string) => (problem: string): SendError =>
  new SendError({ protocol: "websocket", reason: { _tag: "InvalidField", event: "websocket.send", field, problem } })

type Encode = Codec<never, unknown>["encode"]

const sendBytes = (bytes: unknown): Effect.Effect<WebSocketSendMessage, SendError> =>
  bytes instanceof Uint8Array
    ? Effect.succeed({ type: "websocket.send", bytes })
    : Effect.fail(refuse("bytes")("it is not a Uint8Array"))

const sendText = (text: unknown): Effect.Effect<WebSocketSendMessage, SendError> =>
  typeof text === "string"
    ? Effect.succeed({ type: "websocket.send", text })
    : Effect.fail(refuse("text")("it is not a string"))

const writerFor = (schema: PlainSchema | undefined, encoding: Encoding | "any"): Encode => {
  if (encoding === "json") {
    const write = jsonEncoder(schema, refuse("text"))
    return (out) => Effect.flatMapEager(write(out), sendText)
  }
  if (encoding === "any") return (out) => typeof out === "string" ? sendText(out) : sendBytes(out)
  const [wrap, field] = encoding === "text" ? [sendText, "text"] as const : [sendBytes, "bytes"] as const
  if (schema === undefined) return wrap
  const encode = encoder(schema, refuse(field))
  return (out) => Effect.flatMapEager(encode(out), wrap)
}

/** See `WebSocketSession.codec`. */
export const make = (options: Options): Codec<unknown, unknown> => {
  const { message, receive = message, send = message } = options
  const encoding = options.encoding ?? (receive === undefined && send === undefined ? "any" : "json")
  return new Codec(decoder(receive, encoding), writerFor(send, encoding))
}

/** Strings and bytes as they are, the same for every session without options. */
export const plain = make({})
