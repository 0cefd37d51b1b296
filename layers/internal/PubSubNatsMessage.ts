/**
 * Messages as NATS carries them: the payload as it is, and headers for what it cannot say. So programs in any language
 * read and write them. Whatever a stranger sends becomes a message: decoding never fails.
 *
 * A payload without a header is text where it is UTF-8, and bytes otherwise.
 */
import { headers, type Msg, type MsgHdrs } from "@nats-io/transport-node"
import * as TopicName from "../../src/schema/TopicName.ts"
import type { Message, Payload } from "../../src/service/PubSub.ts"

const typeHeader = "Slipway-Type"
const excludeHeader = "Slipway-Exclude"
const keepHeader = "Slipway-Keep"

const nobody: ReadonlyArray<string> = []

/** What the server says of a message that a stream has: JetStream's republishing (ADR-28) adds these. */
const streamHeader = "Nats-Stream"
const sequenceHeader = "Nats-Sequence"
const previousHeader = "Nats-Last-Sequence"

/** **Returns** the headers that a payload needs; `undefined` where it says everything itself. */
export const headersOf = (data: Payload, excluded: ReadonlyArray<string>): MsgHdrs | undefined => {
  // What is no name is no channel's name, and may not become a header either.
  const names = excluded.length === 0 ? nobody : excluded.filter((name) => TopicName.problemWith(name) === undefined)
  if (typeof data === "string" && names.length === 0) return undefined
  const fields = headers()
  if (typeof data !== "string") fields.set(typeHeader, "bytes")
  if (names.length > 0) fields.set(excludeHeader, names.join(","))
  return fields
}

/** The headers of a message that is kept: how long a history it makes, and a mark that no other message has. */
export const headersOfKept = (
  data: Payload,
  excluded: ReadonlyArray<string>,
  keep: number,
  process: string,
  number: number
): MsgHdrs => {
  const fields = headersOf(data, excluded) ?? headers()
  fields.set(keepHeader, `${keep} ${process}-${number.toString(36)}`)
  return fields
}

/** How many bytes they take on the wire: `NATS/1.0`, lines, an empty line (ADR-4). */
export const lengthOf = (fields: MsgHdrs | undefined): number =>
  fields?.keys().reduce((length, name) => length + name.length + fields.get(name).length + 4, 12) ?? 0

/** Copies: the client's bytes are a view into what the socket read, which a waiting message would keep alive. */
export const payloadOf = (message: { readonly data: Uint8Array; readonly headers?: MsgHdrs | undefined }): Payload => {
  if (message.headers?.get(typeHeader) === "bytes") return new Uint8Array(message.data)
  try {
    return text.decode(message.data)
  } catch {
    return new Uint8Array(message.data)
  }
}

const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

export const excludedBy = (message: Msg): ReadonlyArray<string> => {
  const names = message.headers?.get(excludeHeader)
  return names === undefined || names === "" ? nobody : names.split(",")
}

/** How long a history a kept message makes, and its mark. A stranger's message makes it one longer. */
export const keptBy = (fields: MsgHdrs | undefined): { readonly keep: number; readonly mark: string } => {
  const [, keep, mark] = /^(\d{1,9}) ([\dA-Za-z-]{1,50})$/.exec(fields?.get(keepHeader) ?? "") ?? []
  return keep === undefined ? { keep: Infinity, mark: "" } : { keep: Number(keep), mark: mark! }
}

/**
 * The id of a kept message: its number in the stream, and its mark, so that ids of a stream that was lost and made
 * anew are unknown and not wrong.
 */
export const idOf = (sequence: number, mark: string): string => `${sequence}-${mark}`

export const sequenceIn = (id: string): number => parseInt(id, 10)

/** Where and as which of its messages a message was published: what it cannot be answered at, but told apart by. */
export interface Origin {
  /** A process, or a process as one that has messages kept: those travel another way, and have an order of their own. */
  readonly sender: string
  readonly number: number
}

/** A reply subject that nobody listens to says it, because a header would cost more and other programs would see it. */
const originMark = "slipway-origin"

export const replyOf = (process: string, number: number): string => `${originMark}.${process}.${number}`

/** **Returns** `undefined` for messages of other programs. */
export const originOf = (message: Msg): Origin | undefined => {
  const [mark, process, number] = (message.reply ?? "").split(".", 3)
  if (mark === originMark && process !== undefined && /^\d{1,15}$/.test(number ?? "")) {
    return { sender: process, number: Number(number) }
  }
  const kept = message.headers === undefined ? "" : keptBy(message.headers).mark
  const end = kept.lastIndexOf("-")
  return end < 0 ? undefined : { sender: kept.slice(0, end + 1), number: parseInt(kept.slice(end + 1), 36) }
}

/** Where a kept message stands in its stream, and the one before it on its subject; 0 where it is the first. */
export interface Place {
  readonly sequence: number
  readonly previous: number
}

/** **Returns** `undefined` for what is not kept in the stream. */
export const placeOf = ({ headers: fields }: Msg, stream: string): Place | undefined => {
  if (fields === undefined || fields.get(streamHeader) !== stream) return undefined
  const sequence = sequenceOf(fields.get(sequenceHeader))
  return sequence === undefined ? undefined : { sequence, previous: sequenceOf(fields.get(previousHeader)) ?? 0 }
}

const sequenceOf = (text: string): number | undefined => /^\d{1,15}$/.test(text) ? Number(text) : undefined

/** **Returns** a live message as the hub takes it. */
export const messageOf = (message: Msg, topic: string, place: Place | undefined): Message => ({
  topic,
  data: payloadOf(message),
  id: place === undefined ? undefined : idOf(place.sequence, keptBy(message.headers).mark)
})
