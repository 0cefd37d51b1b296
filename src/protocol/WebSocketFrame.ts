/**
 * The heads of WebSocket frames that a server sends (RFC 6455 section 5.2): never masked, never fragmented. Receiving,
 * masking and compression are the business of the library behind layers/internal/WebSocketSession.ts.
 */

export const TEXT = 0x1
export const BINARY = 0x2
export const CLOSE = 0x8
export const PING = 0x9
export const PONG = 0xa

/** Heads of short frames, made once. */
const shortHeads: Array<string | undefined> = []

/**
 * The head of a whole message of `length` bytes, as text of one character for each byte.
 *
 * **Limits** lengths up to 2^53 - 1.
 */
export const frameHead = (opcode: number, length: number): string => {
  if (length < 126) return shortHeads[(opcode << 7) | length] ??= String.fromCharCode(0x80 | opcode, length)
  if (length < 0x10000) return String.fromCharCode(0x80 | opcode, 126, length >>> 8, length & 0xff)
  const high = Math.floor(length / 0x100000000)
  const low = length >>> 0
  return String.fromCharCode(0x80 | opcode, 127, ...bigEndian(high), ...bigEndian(low))
}

const bigEndian = (value: number): ReadonlyArray<number> => [
  value >>> 24,
  (value >>> 16) & 0xff,
  (value >>> 8) & 0xff,
  value & 0xff
]

/** True for a code that may stand in a Close frame (RFC 6455 section 7.4, and the registry up to 1014). */
export const isCloseCode = (code: unknown): code is number =>
  typeof code === "number" && Number.isInteger(code) &&
  ((code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999))
