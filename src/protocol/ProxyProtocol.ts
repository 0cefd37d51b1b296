/**
 * The PROXY protocol: what a proxy sends in front of a connection to say whose it is. Reads versions 1 (text) and 2
 * (binary). Takes bytes and gives data; who may send it, and what becomes of it, is layers/internal/ProxyPreambles.ts.
 *
 * **Source** "The PROXY protocol, versions 1 & 2", HAProxy's doc/proxy-protocol.txt, whose sections are named here.
 */

/** An end of a connection. */
export interface Endpoint {
  /** Text of the right shape, still to be checked, or the 4 or 16 bytes of an address. */
  readonly address: string | Uint8Array
  readonly port: number
}

/**
 * What was said: `Proxied` for a client over IP, `ProxiedUnix` for one on a unix socket of the proxy's machine, `Unknown`
 * for one that the proxy cannot describe, `Local` for a connection of the proxy's own, such as a health check. `length`
 * counts its bytes; what follows is the client's.
 */
export type Preamble =
  | {
    readonly _tag: "Proxied"
    readonly length: number
    readonly source: Endpoint
    readonly destination: Endpoint
  }
  | { readonly _tag: "ProxiedUnix" | "Unknown" | "Local"; readonly length: number }

/** Nothing that can become valid. The sentence is for logs and holds no bytes of the peer. */
export interface Malformed {
  readonly _tag: "Malformed"
  readonly problem: string
}

/** Returned while it is not complete. */
export interface NeedData {
  readonly _tag: "NeedData"
}

/** Section 2.1: "a 108-byte buffer is always enough to store all the line and a trailing zero". */
export const maxLineBytes = 107
/** Version 2 may be 65551 bytes long, nearly all of it TLVs, which are skipped. Precedent: nginx 4096. */
export const maxBytes = 4096

const headBytes = 16

const codesOf = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0))

const lineStart = codesOf("PROXY ")
/** Section 2.2: bytes that no other protocol begins with. */
const signature = codesOf("\r\n\r\n\0\r\nQUIT\n")

const needData: NeedData = Object.freeze({ _tag: "NeedData" })

const malformed = (problem: string): Malformed => ({ _tag: "Malformed", problem })

/** True when `bytes` begin with `start`, as far as they go. */
const begins = (bytes: Uint8Array, start: Uint8Array): boolean => {
  const length = Math.min(bytes.length, start.length)
  for (let at = 0; at < length; at++) if (bytes[at] !== start[at]) return false
  return true
}

/**
 * Reads the preamble from all that was received so far. Call it again with more after `NeedData`.
 *
 * **Limits** `maxLineBytes` for version 1, `maxBytes` for version 2; a peer that sends neither is known by its first byte
 * that is wrong.
 */
export const read = (bytes: Uint8Array): Preamble | Malformed | NeedData => {
  if (bytes.length === 0) return needData
  if (begins(bytes, lineStart)) return readLine(bytes)
  if (begins(bytes, signature)) return readBinary(bytes)
  return malformed("the connection does not begin with a PROXY protocol header")
}

// ---- version 1, section 2.1

const readLine = (bytes: Uint8Array): Preamble | Malformed | NeedData => {
  const end = bytes.subarray(0, maxLineBytes).indexOf(0x0a)
  if (end === -1) return bytes.length < maxLineBytes ? needData : malformed("the PROXY line is longer than 107 bytes")
  if (bytes[end - 1] !== 0x0d) return malformed("the PROXY line does not end in CR LF")
  const line = String.fromCharCode(...bytes.subarray(0, end - 1))
  const length = end + 1
  // "The receiver must ignore anything presented before the CRLF is found."
  if (line === "PROXY UNKNOWN" || line.startsWith("PROXY UNKNOWN ")) return { _tag: "Unknown", length }
  const parts = linePattern.exec(line)
  if (parts === null) return malformed("the PROXY line is not a family, two addresses and two ports")
  const sourcePort = Number(parts[3] ?? parts[7])
  const destinationPort = Number(parts[4] ?? parts[8])
  if (sourcePort > 65_535 || destinationPort > 65_535) return malformed("a port in the PROXY line is above 65535")
  return {
    _tag: "Proxied",
    length,
    source: { address: (parts[1] ?? parts[5])!, port: sourcePort },
    destination: { address: (parts[2] ?? parts[6])!, port: destinationPort }
  }
}

const linePattern = (() => {
  const port = "(0|[1-9]\\d{0,4})"
  const v4 = "([0-9.]+)"
  const v6 = "([0-9a-fA-F.]*:[0-9a-fA-F:.]*)"
  return new RegExp(`^PROXY (?:TCP4 ${v4} ${v4} ${port} ${port}|TCP6 ${v6} ${v6} ${port} ${port})$`)
})()

// ---- version 2, section 2.2

/** Bytes of the addresses, by byte 13: unspecified, IPv4, IPv6, unix; each of the last three as stream and datagram. */
const addressBytes: ReadonlyMap<number, number> = new Map([
  [0x00, 0],
  [0x11, 12],
  [0x12, 12],
  [0x21, 36],
  [0x22, 36],
  [0x31, 216],
  [0x32, 216]
])

const readBinary = (bytes: Uint8Array): Preamble | Malformed | NeedData => {
  if (bytes.length < headBytes) return needData
  const version = bytes[12]! >> 4
  const command = bytes[12]! & 15
  const family = bytes[13]! >> 4
  const needed = addressBytes.get(bytes[13]!)
  const following = uint16(bytes, 14)
  const length = headBytes + following
  if (version !== 2) return malformed("the version of the PROXY header is not 2")
  if (command > 1) return malformed("the command of the PROXY header is neither LOCAL nor PROXY")
  if (length > maxBytes) return malformed("the PROXY header is longer than 4096 bytes")
  const isLocal = command === 0
  // "The receiver must [...] discard the protocol block including the family which is ignored."
  if (!isLocal && needed === undefined) return malformed("the PROXY header has an unknown address family")
  if (!isLocal && following < needed!) return malformed("the PROXY header is too short for its addresses")
  if (bytes.length < length) return needData
  if (isLocal) return { _tag: "Local", length }
  if (family === 0) return { _tag: "Unknown", length }
  if (family === 3) return { _tag: "ProxiedUnix", length }
  const size = family === 1 ? 4 : 16
  const ports = headBytes + 2 * size
  return {
    _tag: "Proxied",
    length,
    source: { address: bytes.slice(headBytes, headBytes + size), port: uint16(bytes, ports) },
    destination: { address: bytes.slice(headBytes + size, ports), port: uint16(bytes, ports + 2) }
  }
}

const uint16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!
