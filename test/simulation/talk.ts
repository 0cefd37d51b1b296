/**
 * What one client says in one exchange, whatever carries it: the parts of a body, or the frames of a WebSocket, cut as a
 * client may cut them, now and then as none may.
 */
import * as WebSocket from "../utils/webSocket.ts"
import type { Protocol } from "../utils/wires.ts"
import * as Apps from "./apps.ts"
import type { Chance } from "./chance.ts"

export interface Talk {
  readonly id: string
  readonly protocol: Protocol
  readonly method: string
  readonly kind: string
  readonly hasBody: boolean
  /** Of the body, or of everything after the handshake. One character is one byte. */
  readonly parts: ReadonlyArray<string>
  readonly bodyBytes: number
  /** The messages that an application gets which receives to the end. */
  readonly messages: ReadonlyArray<string>
}

/** In a rough run much is sent to clients that may not take it, and much is waited for. */
const kinds: {
  readonly [P in Protocol]: { readonly calm: ReadonlyArray<string>; readonly rough: ReadonlyArray<string> }
} = {
  http: { calm: Apps.calmHttp, rough: [...Apps.calmHttp, ...Apps.faultyHttp, "big", "echo"] },
  sse: {
    calm: Apps.calmSse,
    rough: [...Apps.calmSse, ...Apps.faultySse, "bigEvents", "bigEvents", "bigEvents", "waits"]
  },
  websocket: {
    calm: Apps.calmWebSocket,
    rough: [
      ...Apps.calmWebSocket,
      ...Apps.faultyWebSocket,
      "pushBig",
      "pushBig",
      "pushBig",
      "echo",
      "echo",
      "neverReceives"
    ]
  }
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")

/** One message in one frame or several, with a ping between two of them. */
const message = (chance: Chance, text: string): ReadonlyArray<string> => {
  const opcode = chance.pick([WebSocket.opcodes.text, WebSocket.opcodes.binary])
  if (text.length < 2 || chance.happens(0.7)) return [latin1(WebSocket.frame(opcode, text))]
  const parts: Array<string> = []
  for (let at = 0; at < text.length;) {
    const part = text.slice(at, at + chance.int(1, Math.ceil(text.length / 2)))
    parts.push(part)
    at += part.length
  }
  const frames = WebSocket.fragments(opcode, parts).map(latin1)
  if (chance.happens(0.3)) frames.splice(1, 0, latin1(WebSocket.ping("between")))
  return frames
}

const brokenFrames: ReadonlyArray<Uint8Array> = [
  WebSocket.text("bare", { mask: null }),
  WebSocket.frame(3, "reserved"),
  WebSocket.text("bits", { rsv: 2 }),
  WebSocket.frame(0, "continues nothing"),
  WebSocket.text(Uint8Array.of(0xc0)),
  WebSocket.ping("x".repeat(126)),
  WebSocket.frame(8, Uint8Array.of(3)),
  WebSocket.text("x".repeat(9000)),
  WebSocket.binary("x".repeat(8001))
]

const frames = (chance: Chance, id: string, calm: boolean): Pick<Talk, "parts" | "messages"> => {
  const parts: Array<string> = []
  const messages: Array<string> = []
  const count = chance.int(0, calm ? 8 : 12)
  for (let n = 0; n < count; n++) {
    const text = `${id}.${n}.${"m".repeat(chance.pick([0, 1, 50, 1000, 3000]))}`
    messages.push(text)
    parts.push(...message(chance, text))
    if (chance.happens(0.15)) parts.push(latin1(chance.pick([WebSocket.ping("p"), WebSocket.pong("o")])))
  }
  if (!calm && chance.happens(0.25)) {
    return { parts: [...parts, latin1(chance.pick(brokenFrames))], messages }
  }
  // Small messages in one piece, more than may wait.
  if (!calm && chance.happens(0.2)) {
    const crowd = Array.from({ length: 20 }, (_, n) => `${id}.${count + n}.`)
    messages.push(...crowd)
    parts.push(latin1(Buffer.concat(crowd.map((text) => WebSocket.text(text)))))
  }
  if (calm || chance.happens(0.5)) {
    parts.push(latin1(chance.pick([WebSocket.close(), WebSocket.close(1000), WebSocket.close(4001, "bye")])))
  }
  return { parts, messages }
}

export const make = (chance: Chance, id: string, protocol: Protocol, calm: boolean): Talk => {
  const kind = chance.pick(kinds[protocol][calm ? "calm" : "rough"])
  if (protocol === "websocket") {
    return { id, protocol, method: "GET", kind, hasBody: false, bodyBytes: 0, ...frames(chance, id, calm) }
  }
  const hasBody = chance.happens(0.4)
  const method = hasBody ? "POST" : "GET"
  const bodyBytes = hasBody ? chance.pick([0, 1, 10, 1000, chance.int(0, 5000)]) : 0
  const parts: Array<string> = []
  for (let at = 0; at < bodyBytes;) {
    const size = chance.int(1, Math.min(2000, bodyBytes - at))
    parts.push("b".repeat(size))
    at += size
  }
  return { id, protocol, method, kind, hasBody, parts, bodyBytes, messages: [] }
}
