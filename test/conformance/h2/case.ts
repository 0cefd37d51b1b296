/** What a case of HTTP/2 conformance is made of, and the frames that several cases send. */
import * as F from "../../utils/frames.ts"
import * as Hpack from "../../utils/hpack.ts"

/**
 * `connection CODE`: GOAWAY with that code, and the connection ends. `stream CODE`: stream 1 is reset, the rest goes on.
 * A number: stream 1 is answered with that status. `ignored`: nothing, and everything goes on.
 */
export type Outcome = `connection ${F.Code}` | `stream ${F.Code}` | number | "ignored"

export type Frames = ReadonlyArray<Uint8Array>

export interface Case {
  readonly section: string
  readonly title: string
  /** What is sent at once; several lists are sent one after the other. */
  readonly frames: Frames | ReadonlyArray<Frames>
  /** What the RFC allows. The end of the connection passes for that of a stream when its code is right, as in h2spec. */
  readonly demands: ReadonlyArray<Outcome>
  /** What happens instead, in the Node versions that are tested. */
  readonly instead?: ReadonlyArray<Outcome>
  /** True when the connection has not begun: the frames begin it. */
  readonly bare?: boolean
}

export const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value >>> 0)
  return bytes
}

export const fields = F.requestFields
export const field = Hpack.encode([["x", "y"]])
export const withoutAuthority = fields("GET", "/").slice(0, 3)
export const without = (name: string) => fields("GET", "/").filter((pair) => pair[0] !== name)
export const continuation = (flags: number, stream = 1, block: Uint8Array = field) =>
  F.frame("CONTINUATION", flags, stream, block)
/** A GET whose block goes on in another frame. */
export const begun = F.headers(1, fields("GET", "/"), F.END_STREAM)
export const open = F.post(1, "/never")
export const halfClosed = F.get(1, "/never")
export const wait = (length?: number) =>
  F.post(1, "/body", length === undefined ? [] : [["content-length", String(length)]])
export const push = F.frame(
  "PUSH_PROMISE",
  F.END_HEADERS,
  1,
  Buffer.concat([uint32(2), Hpack.encode(fields("GET", "/"))])
)
export const block = (...bytes: ReadonlyArray<number>) =>
  F.headers(1, Buffer.concat([Hpack.encode(fields("GET", "/")), Buffer.from(bytes)]))
/** A literal whose value is `bytes` in Huffman. */
export const huffman = (...bytes: ReadonlyArray<number>) => block(0, 1, 0x78, 0x80 | bytes.length, ...bytes)

export const anError = (code: F.Code): ReadonlyArray<Outcome> => [`stream ${code}`, `connection ${code}`]
export const connectionError = (code: F.Code): ReadonlyArray<Outcome> => [`connection ${code}`]
export const malformed = anError("PROTOCOL_ERROR")
