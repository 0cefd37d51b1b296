/**
 * The client's side of a WebSocket in raw frames: makes masked ones, valid or not, and reads the server's strictly
 * (RFC 6455 section 5). Anything a server must not send throws, so a test that reads has also checked that.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Crypto from "node:crypto"
import * as Zlib from "node:zlib"
import type * as ServerMemory from "../../layers/ServerMemory.ts"
import * as App from "../../src/app/App.ts"
import * as Lint from "../../src/middleware/Lint.ts"
import type { WebSocketReceive } from "../../src/schema/Event.ts"
import { type Answer, answerIn, request } from "./answers.ts"
import { serve } from "./serve.ts"

// ---- what a client says

/** The key of RFC 6455 section 1.3, and what the server makes of it. */
export const key = "dGhlIHNhbXBsZSBub25jZQ=="
export const acceptOfKey = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

/** The lines that make a request a handshake. */
export const handshakeLines = [
  "upgrade: websocket",
  "connection: Upgrade",
  `sec-websocket-key: ${key}`,
  "sec-websocket-version: 13"
]

/** A valid handshake, and whatever `lines` add. */
export const handshake = (lines: ReadonlyArray<string> = [], target = "/"): string =>
  request(`GET ${target}`, [...handshakeLines, ...lines])

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

export interface FrameOptions {
  /** Default true. */
  readonly fin?: boolean
  /** The three reserved bits as a number; 4 is RSV1. Default 0. */
  readonly rsv?: number
  /** Four bytes. `null`: not masked, which a client must not do. */
  readonly mask?: ReadonlyArray<number> | null
  /** What the head says, where that is not the payload's length. */
  readonly length?: number
}

const toBytes = (payload: string | Uint8Array): Uint8Array =>
  typeof payload === "string" ? Buffer.from(payload) : payload

/** One frame. Text is sent as UTF-8. */
export const frame = (opcode: number, payload: string | Uint8Array = "", options: FrameOptions = {}): Buffer => {
  const { fin = true, mask = [0x37, 0xfa, 0x21, 0x3d], rsv = 0 } = options
  const bytes = toBytes(payload)
  const length = options.length ?? bytes.length
  const maskBit = mask === null ? 0 : 0x80
  const head = [(fin ? 0x80 : 0) | (rsv << 4) | opcode]
  if (length < 126) head.push(maskBit | length)
  else if (length < 65_536) head.push(maskBit | 126, length >>> 8, length & 0xff)
  else {
    const long = Buffer.alloc(8)
    long.writeBigUInt64BE(BigInt(length))
    head.push(maskBit | 127, ...long)
  }
  if (mask === null) return Buffer.concat([Buffer.from(head), bytes])
  return Buffer.concat([Buffer.from([...head, ...mask]), bytes.map((byte, at) => byte ^ mask[at & 3]!)])
}

export const text = (payload: string | Uint8Array, options?: FrameOptions): Buffer => frame(1, payload, options)
export const binary = (payload: string | Uint8Array, options?: FrameOptions): Buffer => frame(2, payload, options)
export const ping = (payload: string | Uint8Array = ""): Buffer => frame(9, payload)
export const pong = (payload: string | Uint8Array = ""): Buffer => frame(10, payload)

/** A Close frame. Without a code its payload is empty. */
export const close = (code?: number, reason: string | Uint8Array = ""): Buffer => {
  if (code === undefined) return frame(8)
  return frame(8, Buffer.concat([Buffer.from([code >>> 8, code & 0xff]), toBytes(reason)]))
}

/** One message in one frame for each part. */
export const fragments = (opcode: number, parts: ReadonlyArray<string | Uint8Array>): Array<Buffer> =>
  parts.map((part, index) => frame(index === 0 ? opcode : 0, part, { fin: index === parts.length - 1 }))

// ---- what a server says

export interface Frame {
  readonly fin: boolean
  readonly rsv1: boolean
  readonly opcode: number
  readonly payload: Buffer
}

const isCloseCodeOnWire = (code: number): boolean =>
  (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999)

const check = (condition: boolean, problem: string): void => {
  if (!condition) throw new Error(`The server broke the protocol: ${problem}`)
}

/** Takes the first frame out of `bytes`; `undefined` when it is not whole. */
const takeFrame = (bytes: Buffer, mayCompress: boolean): readonly [Frame, rest: Buffer] | undefined => {
  if (bytes.length < 2) return undefined
  const [first, second] = bytes as unknown as readonly [number, number]
  const opcode = first & 0x0f
  const fin = (first & 0x80) !== 0
  const rsv1 = (first & 0x40) !== 0
  check((first & 0x30) === 0, "RSV2 or RSV3 is set")
  check(!rsv1 || (mayCompress && (opcode === 1 || opcode === 2)), "RSV1 is set")
  check([0, 1, 2, 8, 9, 10].includes(opcode), `opcode ${opcode}`)
  check((second & 0x80) === 0, "a frame is masked")
  let length = second & 0x7f
  let at = 2
  if (length === 126) {
    if (bytes.length < 4) return undefined
    length = bytes.readUInt16BE(2)
    check(length > 125, "the length is not in its shortest form")
    at = 4
  } else if (length === 127) {
    if (bytes.length < 10) return undefined
    length = Number(bytes.readBigUInt64BE(2))
    check(length > 65_535, "the length is not in its shortest form")
    at = 10
  }
  check(opcode < 8 || (fin && length <= 125), "a control frame is long or fragmented")
  if (bytes.length < at + length) return undefined
  const payload = bytes.subarray(at, at + length)
  if (opcode === 8) {
    check(length !== 1, "a Close frame of one byte")
    check(length === 0 || isCloseCodeOnWire(payload.readUInt16BE(0)), "an invalid close code")
    new TextDecoder("utf-8", { fatal: true }).decode(payload.subarray(2))
  }
  return [{ fin, rsv1, opcode, payload }, bytes.subarray(at + length)]
}

/** A frame in words: `text hello`, `binary 00ff`, `ping x`, `pong x`, `close`, `close 1000 bye`. */
export const inWords = ({ opcode, payload }: Frame): string => {
  switch (opcode) {
    case 1:
      return `text ${new TextDecoder("utf-8", { fatal: true }).decode(payload)}`
    case 2:
      return `binary ${payload.toString("hex")}`
    case 8:
      return payload.length === 0
        ? "close"
        : `close ${payload.readUInt16BE(0)} ${payload.toString("utf8", 2)}`.trimEnd()
    default:
      return `${opcode === 9 ? "ping" : "pong"} ${payload.toString("latin1")}`.trimEnd()
  }
}

// ---- compression (RFC 7692)

/** Bytes that do not compress, the same for the same seed. */
export const noise = (length: number, seed = 0): Buffer =>
  Crypto.createCipheriv("aes-128-ctr", Buffer.alloc(16, seed), Buffer.alloc(16)).update(Buffer.alloc(length))

const tail = Buffer.from([0x00, 0x00, 0xff, 0xff])

/** A message's payload, compressed by itself. */
export const deflated = (payload: string | Uint8Array, windowBits = 15): Buffer => {
  const bytes = Zlib.deflateRawSync(toBytes(payload), { finishFlush: Zlib.constants.Z_SYNC_FLUSH, windowBits })
  return bytes.subarray(0, bytes.length - 4)
}

/** The payload of a compressed message. With `before` the window holds the compressed messages before it. */
export const inflated = (payload: Uint8Array, before: ReadonlyArray<Uint8Array> = [], windowBits = 15): Buffer => {
  const options = { finishFlush: Zlib.constants.Z_SYNC_FLUSH, windowBits }
  const known = Buffer.concat(before.flatMap((message) => [message, tail]))
  const knownLength = known.length === 0 ? 0 : Zlib.inflateRawSync(known, options).length
  return Zlib.inflateRawSync(Buffer.concat([known, payload, tail]), options).subarray(knownLength)
}

// ---- a session on the memory network

export interface Session {
  readonly client: ServerMemory.Client
  /** The server's answer to the handshake. */
  readonly head: Answer
  /** Sends everything as one piece. */
  readonly send: (...frames: ReadonlyArray<Uint8Array>) => Effect.Effect<void>
  /** The frames that have come since the last look, once nothing more can come without time passing. */
  readonly frames: Effect.Effect<ReadonlyArray<Frame>>
  /** The same in words. */
  readonly said: Effect.Effect<ReadonlyArray<string>>
  /** Waits until `count` frames have come: what is compressed comes from another thread. */
  readonly next: (count: number) => Effect.Effect<ReadonlyArray<Frame>>
}

type Connect = ServerMemory.Network["Service"]["connect"]

/** Connects, shakes hands and expects to be accepted. */
export const open = (
  connect: Connect,
  options: { readonly lines?: ReadonlyArray<string>; readonly target?: string; readonly behind?: Uint8Array } = {}
): Effect.Effect<Session, never, Scope.Scope> =>
  Effect.gen(function*() {
    const client = yield* connect()
    const asked = Buffer.from(handshake(options.lines, options.target), "latin1")
    yield* client.send(options.behind === undefined ? asked : Buffer.concat([asked, options.behind]))
    const first = yield* client.read
    const headEnd = first.indexOf("\r\n\r\n") + 4
    const head = answerIn(first.slice(0, headEnd))
    if (head.status !== 101) throw new Error(`Not accepted: ${first}`)
    const mayCompress = head.header("sec-websocket-extensions") !== undefined
    let unread: Buffer = Buffer.from(first.slice(headEnd), "latin1")
    let frames: Array<Frame> = []
    const read = Effect.map(client.read, (bytes) => {
      unread = Buffer.concat([unread, Buffer.from(bytes, "latin1")])
      for (;;) {
        const taken = takeFrame(unread, mayCompress)
        if (taken === undefined) return frames
        frames.push(taken[0])
        unread = taken[1]
      }
    })
    const take = (found: Array<Frame>) => {
      frames = []
      return found
    }
    return {
      client,
      head,
      send: (...all) => client.send(Buffer.concat(all)),
      frames: Effect.map(read, take),
      said: Effect.map(read, (found) => take(found).map(inWords)),
      next: (count) => Effect.map(Effect.repeat(read, { until: (found) => found.length >= count }), take)
    }
  })

// ---- applications

type Handler<E> = (exchange: App.WebSocketExchange) => Effect.Effect<void, E>

/** Serves a WebSocket application under Lint, which ends it with 1011 when it or the server breaks the contract. */
export const serveSockets = <E>(handler: Handler<E>, options: ServerMemory.Options = {}) =>
  serve(Lint.make()(App.websocket(handler)), options)

/** Succeeds when the session has ended in whatever way. Receives nothing. */
export const ended = ({ connection }: App.WebSocketExchange): Effect.Effect<void> =>
  Effect.callback((resume) => {
    connection.onDisconnect(() => resume(Effect.void))
    connection.onComplete(() => resume(Effect.void))
  })

/** Accepts, and hands every message to `onMessage` until the session has ended. */
export const accepting =
  <E = never>(onMessage: (message: WebSocketReceive, exchange: App.WebSocketExchange) => Effect.Effect<void, E>) =>
  (exchange: App.WebSocketExchange) =>
    Effect.gen(function*() {
      yield* exchange.receive
      yield* exchange.send({ type: "websocket.accept" })
      for (;;) {
        const event = yield* exchange.receive
        if (event.type === "websocket.disconnect") return event
        yield* onMessage(event, exchange)
      }
    })

/** Sends every message back. */
export const echo: Handler<unknown> = (exchange) =>
  Effect.asVoid(
    accepting((event) =>
      event.type !== "websocket.receive"
        ? Effect.void
        : exchange.send(
          event.text !== undefined
            ? { type: "websocket.send", text: event.text }
            : { type: "websocket.send", bytes: event.bytes! }
        )
    )(exchange)
  )

/** Accepts and keeps what it receives, with the disconnect; and its exchanges. */
export const recording = () => {
  const events: Array<WebSocketReceive> = []
  const exchanges: Array<App.WebSocketExchange> = []
  const ends: Array<string> = []
  const app: Handler<unknown> = (exchange) => {
    exchanges.push(exchange)
    exchange.connection.onDisconnect((reason) => ends.push(`disconnect ${reason}`))
    exchange.connection.onComplete(() => ends.push("complete"))
    return Effect.flatMap(
      accepting((event) => Effect.sync(() => void events.push(event)))(exchange),
      (last) => Effect.sync(() => void events.push(last))
    )
  }
  return { app, events, exchanges, ends }
}
