/**
 * Exchanges of every protocol over every wire, from the client's side and in raw bytes: what a test says and sees is the
 * same over HTTP/1.1 and HTTP/2, so one table proves both. Checks only that what it reads can be read.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as ServerMemory from "../../layers/ServerMemory.ts"
import type * as App from "../../src/app/App.ts"
import { answersIn, chunked, request } from "./answers.ts"
import * as Frames from "./frames.ts"
import * as WebSocket from "./webSocket.ts"

export type Protocol = App.ClientExchange["type"]
export type Version = "1.1" | "2"

export interface Wire {
  readonly protocol: Protocol
  readonly version: Version
}

export const protocols: ReadonlyArray<Protocol> = ["http", "sse", "websocket"]
export const versions: ReadonlyArray<Version> = ["1.1", "2"]
export const wires: ReadonlyArray<Wire> = protocols.flatMap((protocol) =>
  versions.map((version) => ({ protocol, version }))
)

/** `sse over HTTP/2`, for titles. */
export const nameOf = ({ protocol, version }: Wire): string => `${protocol} over HTTP/${version}`

export interface Asking {
  readonly protocol: Protocol
  readonly path?: string
  /** A POST whose body comes through `sendBody`; without it a GET. */
  readonly bodyFollows?: boolean
  readonly headers?: ReadonlyArray<readonly [name: string, value: string]>
}

/** What the server has said to one exchange so far. */
export interface Answered {
  /** 0 before the head has come. */
  readonly status: number
  readonly header: (name: string) => string | undefined
  /** The content, one character a byte. */
  readonly body: string
  /** The frames of a WebSocket in words. */
  readonly said: ReadonlyArray<string>
  /** `whole` when the server has said that this was all, `cut` when it ended without a word. */
  readonly state: "open" | "whole" | "cut"
}

export interface Asked {
  /** A part of the request body; the last one unless `more`. */
  readonly sendBody: (text: string, more?: boolean) => Effect.Effect<void>
  /** Bytes as they are, behind the head: the frames of a WebSocket. */
  readonly send: (...bytes: ReadonlyArray<Uint8Array>) => Effect.Effect<void>
  /** Ends our side: of the connection, or of the stream. */
  readonly end: Effect.Effect<void>
  /** Resets the connection, or the stream. */
  readonly reset: Effect.Effect<void>
  /** Takes what there is, and `bytes` more on HTTP/2; everything from now on on HTTP/1.1. */
  readonly take: (bytes: number) => Effect.Effect<void>
  readonly answered: Effect.Effect<Answered>
}

export interface Connection {
  readonly client: ServerMemory.Client
  /** Takes nothing: HTTP/1.1 stops reading, HTTP/2 never opens a window by itself. */
  readonly pause: Effect.Effect<void>
  /** Begins an exchange. On HTTP/1.1 one after the other. */
  readonly ask: (asking: Asking) => Effect.Effect<Asked>
}

type Connect = ServerMemory.Network["Service"]["connect"]

/** `window`: bytes that an HTTP/2 server may send on a stream before `take` allows more. Default 65535. */
export const open = (
  connect: Connect,
  version: Version,
  window = 65_535
): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.flatMap(connect(), version === "1.1" ? openHttp1 : openHttp2(window))

const acceptEvents = ["accept", "text/event-stream"] as const

const noAnswer: Answered = { status: 0, header: () => undefined, body: "", said: [], state: "open" }

/** The whole frames in what a server has said, control frames and messages alike, and what is left behind them. */
export const readFrames = (
  text: string
): { readonly frames: ReadonlyArray<WebSocket.Frame>; readonly rest: string } => {
  const bytes = Buffer.from(text, "latin1")
  const frames: Array<WebSocket.Frame> = []
  let at = 0
  while (at + 2 <= bytes.length) {
    const [first, second] = [bytes[at]!, bytes[at + 1]!]
    if ((second & 0x80) !== 0 || (first & 0x70) !== 0) throw new Error("A frame that no server may send")
    const longLength = second === 126 ? 2 : second === 127 ? 8 : 0
    if (bytes.length < at + 2 + longLength) break
    const length = longLength === 0
      ? second
      : longLength === 2
      ? bytes.readUInt16BE(at + 2)
      : Number(bytes.readBigUInt64BE(at + 2))
    const from = at + 2 + longLength
    if (bytes.length < from + length) break
    const payload = bytes.subarray(from, from + length)
    frames.push({ fin: (first & 0x80) !== 0, rsv1: false, opcode: first & 0x0f, payload })
    at = from + length
  }
  return { frames, rest: text.slice(at) }
}

export const framesIn = (text: string): ReadonlyArray<WebSocket.Frame> => readFrames(text).frames

const wordsOf = (text: string): ReadonlyArray<string> => framesIn(text).map(WebSocket.inWords)

// ---- HTTP/1.1

const openHttp1 = (client: ServerMemory.Client): Effect.Effect<Connection> =>
  Effect.sync(() => {
    let received = ""
    const ask = ({ bodyFollows = false, headers = [], path = "/", protocol }: Asking): Effect.Effect<Asked> => {
      const fields = protocol === "sse" ? [acceptEvents, ...headers] : headers
      const lines = fields.map(([name, value]) => `${name}: ${value}`)
      const text = protocol === "websocket"
        ? WebSocket.handshake(lines, path)
        : bodyFollows
        ? request(`POST ${path}`, [...lines, "transfer-encoding: chunked"])
        : request(`GET ${path}`, lines)
      const read = Effect.map(client.read, (more) => received += more)
      const answered = Effect.flatMap(read, (all) => Effect.map(client.isEnded, (isEnded) => readAnswer(all, isEnded)))
      return Effect.as(client.send(text), {
        sendBody: (part, more = false) =>
          client.send(more ? `${part.length.toString(16)}\r\n${part}\r\n` : chunked(part === "" ? [] : [part])),
        send: (...bytes) => client.send(Buffer.concat(bytes)),
        end: client.end,
        reset: client.reset,
        take: () => client.resume,
        answered
      })
    }
    return { client, pause: client.pause, ask }
  })

const readAnswer = (text: string, isEnded: boolean): Answered => {
  const headEnd = text.indexOf("\r\n\r\n") + 4
  if (headEnd === 3) return { ...noAnswer, state: isEnded ? "cut" : "open" }
  const isUpgrade = text.startsWith("HTTP/1.1 101 ")
  const answer = answersIn(isUpgrade ? text.slice(0, headEnd) : text).at(-1)!
  const { header, status } = answer
  const body = isUpgrade ? text.slice(headEnd) : answer.body
  const isWhole = isUpgrade ? isEnded : answer.complete
  const state = isWhole ? "whole" : isEnded ? "cut" : "open"
  return { status, header, body, said: isUpgrade ? wordsOf(body) : [], state }
}

// ---- HTTP/2

const openHttp2 = (window: number) => (client: ServerMemory.Client): Effect.Effect<Connection> =>
  Effect.map(Frames.open(client, { INITIAL_WINDOW_SIZE: window }), (frames) => {
    let streams = 0
    const ask = ({ bodyFollows = false, headers = [], path = "/", protocol }: Asking): Effect.Effect<Asked> => {
      const id = 2 * streams++ + 1
      const fields = protocol === "sse" ? [acceptEvents, ...headers] : headers
      const head = protocol === "websocket"
        ? Frames.connect(id, path, [["sec-websocket-version", "13"], ...headers])
        : bodyFollows
        ? Frames.post(id, path, fields)
        : Frames.get(id, path, fields)
      const answered = Effect.flatMap(
        frames.read,
        () => Effect.map(client.isEnded, (isEnded) => readStream(frames.all, id, protocol, isEnded))
      )
      return Effect.as(frames.send(head), {
        sendBody: (part, more = false) => frames.send(Frames.data(id, part, more ? 0 : Frames.END_STREAM)),
        send: (...bytes) => frames.send(Frames.data(id, Buffer.concat(bytes))),
        end: frames.send(Frames.data(id, "", Frames.END_STREAM)),
        reset: frames.send(Frames.reset(id, "CANCEL")),
        take: (bytes) => frames.send(Frames.windowUpdate(id, bytes), Frames.windowUpdate(0, bytes)),
        answered
      })
    }
    return { client, pause: Effect.void, ask }
  })

const readStream = (
  frames: ReadonlyArray<Frames.Frame>,
  id: number,
  protocol: Protocol,
  isEnded: boolean
): Answered => {
  const { body, ended, header, reset, status } = Frames.answerOn(frames, id)
  const said = protocol === "websocket" && status === 200 ? wordsOf(body) : []
  return { status, header, body, said, state: ended ? "whole" : isEnded || reset !== undefined ? "cut" : "open" }
}
