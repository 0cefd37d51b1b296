/**
 * An HTTP/2 client made of raw frames (RFC 9113 section 4.1): builds any frame, also those that no client may send, and
 * reads what the server wrote. It opens no windows, acknowledges nothing and checks nothing by itself.
 */
import * as Effect from "effect/Effect"
import { Decoder, encode, type Fields } from "./hpack.ts"

export const types = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9
} as const
export type Type = keyof typeof types

const typeNames = Object.keys(types) as ReadonlyArray<Type>

export const END_STREAM = 0x1
export const ACK = 0x1
export const END_HEADERS = 0x4
export const PADDED = 0x8
export const PRIORITY = 0x20

/** RFC 9113 section 7. */
export const codes = [
  "NO_ERROR",
  "PROTOCOL_ERROR",
  "INTERNAL_ERROR",
  "FLOW_CONTROL_ERROR",
  "SETTINGS_TIMEOUT",
  "STREAM_CLOSED",
  "FRAME_SIZE_ERROR",
  "REFUSED_STREAM",
  "CANCEL",
  "COMPRESSION_ERROR",
  "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM",
  "INADEQUATE_SECURITY",
  "HTTP_1_1_REQUIRED"
] as const
export type Code = typeof codes[number]

/** Identifiers of settings (RFC 9113 section 6.5.2, RFC 8441 section 3). */
export const settingIds = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
  ENABLE_CONNECT_PROTOCOL: 8
} as const

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

// ---- writing

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value >>> 0)
  return bytes
}

/** Any frame; `type` and `length` may be what they want. */
export const frame = (
  type: Type | number,
  flags: number,
  stream: number,
  payload: Uint8Array | string = "",
  length?: number
): Buffer => {
  const bytes = typeof payload === "string" ? Buffer.from(payload, "latin1") : payload
  const head = Buffer.alloc(9)
  head.writeUIntBE(length ?? bytes.length, 0, 3)
  head[3] = typeof type === "number" ? type : types[type]
  head[4] = flags
  head.writeUInt32BE(stream >>> 0, 5)
  return Buffer.concat([head, bytes])
}

export const settings = (values: { readonly [K in keyof typeof settingIds]?: number } = {}): Buffer =>
  frame(
    "SETTINGS",
    0,
    0,
    Buffer.concat(
      Object.entries(values).map(([name, value]) =>
        Buffer.concat([Buffer.from([0, settingIds[name as keyof typeof settingIds]]), uint32(value)])
      )
    )
  )

export const settingsAck = frame("SETTINGS", ACK, 0)

/** Pseudo header fields of a request, and what `fields` add. */
export const requestFields = (method: string, path: string, fields: Fields = []): Fields => [
  [":method", method],
  [":scheme", "http"],
  [":path", path],
  [":authority", "a"],
  ...fields
]

/** HEADERS with a whole block, and the end of the stream unless `flags` say otherwise. */
export const headers = (stream: number, fields: Fields | Buffer, flags = END_HEADERS | END_STREAM): Buffer =>
  frame("HEADERS", flags, stream, Buffer.isBuffer(fields) ? fields : encode(fields))

/** A GET without body. */
export const get = (stream: number, path = "/", fields: Fields = []): Buffer =>
  headers(stream, requestFields("GET", path, fields))

/** The head of a POST whose body follows. */
export const post = (stream: number, path = "/", fields: Fields = []): Buffer =>
  headers(stream, requestFields("POST", path, fields), END_HEADERS)

export const data = (stream: number, payload: Uint8Array | string, flags = 0): Buffer =>
  frame("DATA", flags, stream, payload)

export const reset = (stream: number, code: Code): Buffer => frame("RST_STREAM", 0, stream, uint32(codes.indexOf(code)))

export const ping = (payload = "12345678", flags = 0): Buffer => frame("PING", flags, 0, payload)

export const goaway = (lastStream: number, code: Code): Buffer =>
  frame("GOAWAY", 0, 0, Buffer.concat([uint32(lastStream), uint32(codes.indexOf(code))]))

export const windowUpdate = (stream: number, increment: number): Buffer =>
  frame("WINDOW_UPDATE", 0, stream, uint32(increment))

export const priority = (stream: number, parent: number, weight = 15): Buffer =>
  frame("PRIORITY", 0, stream, Buffer.concat([uint32(parent), Buffer.from([weight])]))

/** The frames of an extended CONNECT to a WebSocket (RFC 8441). */
export const connect = (stream: number, path = "/", fields: Fields = [["sec-websocket-version", "13"]]): Buffer =>
  headers(stream, [
    [":method", "CONNECT"],
    [":protocol", "websocket"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "a"],
    ...fields
  ], END_HEADERS)

// ---- reading

export interface Frame {
  readonly type: Type
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
  /** Of HEADERS. */
  readonly fields: Fields
  /** Of RST_STREAM and GOAWAY. */
  readonly code: Code | undefined
}

/** Reads frames out of a connection's bytes, in whatever pieces they come. */
export class FrameReader {
  private rest: Buffer = Buffer.alloc(0)
  private readonly decoder = new Decoder()

  read(bytes: Buffer): Array<Frame> {
    const frames: Array<Frame> = []
    this.rest = Buffer.concat([this.rest, bytes])
    let at = 0
    while (this.rest.length >= at + 9) {
      const end = at + 9 + this.rest.readUIntBE(at, 3)
      if (this.rest.length < end) break
      frames.push(this.frame(this.rest.subarray(at, end)))
      at = end
    }
    this.rest = this.rest.subarray(at)
    return frames
  }

  /** True when nothing of a frame is waiting for its rest. */
  get isWhole(): boolean {
    return this.rest.length === 0
  }

  private frame(bytes: Buffer): Frame {
    const type = typeNames[bytes[3]!]!
    const payload = bytes.subarray(9)
    if (type === "HEADERS" && (bytes[4]! & END_HEADERS) === 0) throw new Error("CONTINUATION is not read")
    return {
      type,
      flags: bytes[4]!,
      stream: bytes.readUInt32BE(5) & 0x7fffffff,
      payload,
      fields: type === "HEADERS" ? this.decoder.decode(payload) : [],
      code: type === "RST_STREAM"
        ? codes[payload.readUInt32BE(0)]
        : type === "GOAWAY"
        ? codes[payload.readUInt32BE(4)]
        : undefined
    }
  }
}

/** What a server said on one stream. */
export interface Answer {
  readonly status: number
  /** The first value of a field. */
  readonly header: (name: string) => string | undefined
  readonly fields: Fields
  readonly body: string
  readonly trailers: Fields
  /** Interim answers before the final one, as their fields. */
  readonly interim: ReadonlyArray<Fields>
  /** True when the server ended the stream. */
  readonly ended: boolean
  readonly reset: Code | undefined
}

const statusOf = (fields: Fields): number => Number(fields.find(([name]) => name === ":status")?.[1] ?? 0)

/** The answer on a stream, as far as `frames` hold it. */
export const answerOn = (frames: ReadonlyArray<Frame>, stream: number): Answer => {
  const own = frames.filter((frame) => frame.stream === stream)
  const blocks = own.filter((frame) => frame.type === "HEADERS").map((frame) => frame.fields)
  const final = blocks.findIndex((fields) => statusOf(fields) >= 200)
  const fields = blocks[final] ?? []
  return {
    status: statusOf(fields),
    header: (name) => fields.find((field) => field[0] === name)?.[1],
    fields,
    body: Buffer.concat(own.filter((frame) => frame.type === "DATA").map((frame) => frame.payload)).toString("latin1"),
    trailers: final === -1 ? [] : blocks[final + 1] ?? [],
    interim: final === -1 ? blocks : blocks.slice(0, final),
    ended: own.some((frame) => (frame.type === "DATA" || frame.type === "HEADERS") && (frame.flags & END_STREAM) !== 0),
    reset: own.find((frame) => frame.type === "RST_STREAM")?.code
  }
}

/** What a GOAWAY says; the last of them when there are several. */
export const goawayIn = (frames: ReadonlyArray<Frame>): { readonly code: Code; readonly last: number } | undefined => {
  const frame = frames.findLast(({ type }) => type === "GOAWAY")
  return frame === undefined ? undefined : { code: frame.code!, last: frame.payload.readUInt32BE(0) & 0x7fffffff }
}

/** Bytes by which the server has opened a window. */
export const openedIn = (frames: ReadonlyArray<Frame>, stream: number): number =>
  frames.filter((frame) => frame.type === "WINDOW_UPDATE" && frame.stream === stream)
    .reduce((sum, frame) => sum + frame.payload.readUInt32BE(0), 0)

// ---- a client

/** A connection in raw bytes; text is latin1. */
export interface Bytes {
  readonly send: (bytes: Uint8Array) => Effect.Effect<void>
  readonly read: Effect.Effect<string>
}

export interface Client<B extends Bytes> {
  readonly bytes: B
  /** Sends frames as one piece. */
  readonly send: (...frames: ReadonlyArray<Uint8Array>) => Effect.Effect<void>
  /** Sends frames and gives those that came since the last `read` or `ask`. */
  readonly ask: (...frames: ReadonlyArray<Uint8Array>) => Effect.Effect<ReadonlyArray<Frame>>
  /** Frames that came since the last `read` or `ask`, once nothing more comes without time passing. */
  readonly read: Effect.Effect<ReadonlyArray<Frame>>
  /** Frames that came since the connection was opened and were read. */
  readonly all: ReadonlyArray<Frame>
}

/** Reads frames from a connection that has not begun. */
export const over = <B extends Bytes>(bytes: B): Client<B> => {
  const reader = new FrameReader()
  const all: Array<Frame> = []
  const send: Client<B>["send"] = (...frames) => bytes.send(Buffer.concat(frames))
  const read: Client<B>["read"] = Effect.gen(function*() {
    const from = all.length
    for (;;) {
      const text = yield* bytes.read
      if (text === "") return all.slice(from)
      all.push(...reader.read(Buffer.from(text, "latin1")))
    }
  })
  return { bytes, send, read, ask: (...frames) => Effect.andThen(send(...frames), read), all }
}

/** Begins a connection: preface, SETTINGS, and the acknowledgement of the server's. What it answers is read. */
export const open = <B extends Bytes>(
  bytes: B,
  values: Parameters<typeof settings>[0] = {}
): Effect.Effect<Client<B>> =>
  Effect.gen(function*() {
    const client = over(bytes)
    yield* client.ask(preface, settings(values))
    yield* client.ask(settingsAck)
    return client
  })
