/**
 * How a message looks between processes: a short ASCII header, then the payload as it is. Every PubSub layer with a
 * broker writes and reads it; what it means is theirs.
 *
 * `\0S1`, kind, `t`ext or `b`ytes, id, `;`, names parted by commas, `;`, payload. A text is text from the first byte to
 * the last. What others write into the broker does not start so, and is a publication by itself. Reading never throws.
 */
import { constants, isUtf8 } from "node:buffer"
import * as TopicName from "../../src/schema/TopicName.ts"
import type { Payload } from "../../src/service/PubSub.ts"

/** `publish` to a topic, `send` to one channel, `answer` to a `send`, `mark` of a place in the order of messages. */
export type Kind = "publish" | "send" | "answer" | "mark"

export interface Envelope {
  readonly kind: Kind
  /** Of the message or of the request, in the letters of a topic name; `undefined` where there is none. */
  readonly id: string | undefined
  /** Of channels: those excluded from a publication, the one that is sent to. */
  readonly names: ReadonlyArray<string>
  readonly data: Payload
}

const magic = "\0S1"
const letters: Readonly<Record<Kind, string>> = { publish: "P", send: "S", answer: "A", mark: "M" }
const kinds: ReadonlyMap<string, Kind> = new Map([["P", "publish"], ["S", "send"], ["A", "answer"], ["M", "mark"]])
const semicolon = 0x3b
const nobody: ReadonlyArray<string> = []

/** What comes before the id, for brokers that give it. */
export const beforeId = (kind: Kind, data: Payload): string =>
  `${magic}${letters[kind]}${typeof data === "string" ? "t" : "b"}`

/** What comes after the id: text for text, bytes for bytes. Names that no channel can have are left out. */
export const afterId = (names: ReadonlyArray<string>, data: Payload): string | Buffer => {
  const head = names.length === 0 ? ";;" : `;${names.filter(isName).join(",")};`
  return typeof data === "string" ? head + data : Buffer.concat([Buffer.from(head, "latin1"), data])
}

/** The whole message, in the form that costs least: text for text, bytes for bytes. */
export const write = ({ data, id, kind, names }: Envelope): string | Buffer => {
  const head = `${beforeId(kind, data)}${id ?? ""}`
  const rest = afterId(names, data)
  return typeof rest === "string" ? head + rest : Buffer.concat([Buffer.from(head, "latin1"), rest])
}

/** The whole message as bytes. */
export const encode = (envelope: Envelope): Uint8Array => {
  const written = write(envelope)
  return typeof written === "string" ? Buffer.from(written) : written
}

/**
 * Reads a message.
 *
 * **Returns** a publication of the whole, as text where it is UTF-8 and not too long for one, for what we did not write; `undefined` for what
 * says that we did and is broken, which nobody should get.
 * **Ownership** bytes are copied: what is kept of a message does not keep a whole read alive.
 */
export const decode = (bytes: Uint8Array): Envelope | undefined => {
  const buffer = bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (buffer[0] !== 0 || buffer[1] !== 0x53 || buffer[2] !== 0x31) return foreign(buffer)
  const kind = kinds.get(String.fromCharCode(buffer[3] ?? 0))
  const isText = buffer[4] === 0x74 && buffer.length <= constants.MAX_STRING_LENGTH
  if (kind === undefined || !(isText || buffer[4] === 0x62)) return undefined
  const idEnd = endOf(buffer, 5)
  const namesEnd = endOf(buffer, idEnd + 1)
  if (namesEnd === buffer.length) return undefined
  const id = idEnd === 5 ? undefined : buffer.toString("latin1", 5, idEnd)
  const names = namesEnd === idEnd + 1 ? nobody : buffer.toString("latin1", idEnd + 1, namesEnd).split(",")
  if ((id !== undefined && !isName(id)) || !names.every(isName)) return undefined
  const data = isText ? buffer.toString("utf8", namesEnd + 1) : new Uint8Array(buffer.subarray(namesEnd + 1))
  return { kind, id, names, data }
}

const foreign = (buffer: Buffer): Envelope => ({
  kind: "publish",
  id: undefined,
  names: nobody,
  data: buffer.length <= constants.MAX_STRING_LENGTH && isUtf8(buffer) ? buffer.toString() : new Uint8Array(buffer)
})

const isName = (name: string): boolean => TopicName.problemWith(name) === undefined

/** Where the field ends that starts at `from`; the length of the buffer when it does not. */
const endOf = (buffer: Buffer, from: number): number => {
  let at = from
  while (at < buffer.length && buffer[at] !== semicolon) at++
  return Math.min(at, buffer.length)
}
