/**
 * Judges the opening handshake of a WebSocket: RFC 6455 section 4.2.1 over HTTP/1.1 and RFC 8441 section 5 over HTTP/2.
 * Never answers it: accepting is the application's decision, and frames are another module's business. That the request
 * asks for a WebSocket at all, and has one Host, is known before.
 */
import { isToken, items } from "./FieldList.ts"
import { type Malformed, malformed } from "./Malformed.ts"
import type { RequestHead } from "./RequestHead.ts"

/** A valid offer. */
export interface Handshake {
  readonly _tag: "Handshake"
  /** What `Sec-WebSocket-Accept` is made of; `""` over HTTP/2, which has none. */
  readonly key: string
  /** What the client speaks, its favourite first. */
  readonly subprotocols: ReadonlyArray<string>
  /** All `Sec-WebSocket-Extensions` as one list, unread; `""` when there are none. */
  readonly extensions: string
}

/** The handshake fields. A field that came twice is a list; which of them may, the readers below decide. */
interface Fields {
  version: string | undefined
  key: string | undefined
  subprotocols: string | undefined
  extensions: string | undefined
}

/**
 * Reads the handshake of an HTTP/1.1 request whose `kind` is `websocket`.
 *
 * **Returns** the fault if there is one. `WebSocketVersionUnsupported` is answered with `Sec-WebSocket-Version: 13`
 * (RFC 6455 section 4.2.2).
 */
export const readHandshake = (head: RequestHead): Handshake | Malformed => {
  if (head.method !== "GET") return malformed.WebSocketMethodInvalid
  const fields = gather(head.headers)
  if (fields.version !== "13") return malformed.WebSocketVersionUnsupported
  if (fields.key === undefined || !isKey(fields.key)) return malformed.WebSocketKeyInvalid
  // What follows the head belongs to the WebSocket; a body in front of it would be read as frames, or by a proxy only.
  if (head.contentLength !== 0) return malformed.WebSocketBodyPresent
  return offer(fields, fields.key)
}

/**
 * Reads the handshake of an extended CONNECT with `:protocol` `websocket`. RFC 8441 section 5: the key and the method are
 * HTTP/1.1's own, `:scheme` and the stream take their place.
 */
export const readConnect = (headers: ReadonlyArray<readonly [string, string]>): Handshake | Malformed => {
  const fields = gather(headers)
  return fields.version === "13" ? offer(fields, "") : malformed.WebSocketVersionUnsupported
}

const gather = (headers: ReadonlyArray<readonly [string, string]>): Fields => {
  const fields: Fields = { version: undefined, key: undefined, subprotocols: undefined, extensions: undefined }
  for (const [name, value] of headers) {
    switch (name) {
      case "sec-websocket-version":
        fields.version = joined(fields.version, value)
        break
      case "sec-websocket-key":
        fields.key = joined(fields.key, value)
        break
      case "sec-websocket-protocol":
        fields.subprotocols = joined(fields.subprotocols, value)
        break
      case "sec-websocket-extensions":
        fields.extensions = joined(fields.extensions, value)
        break
    }
  }
  return fields
}

/** A version or key that came twice holds a comma then, and is refused for it. */
const joined = (before: string | undefined, value: string): string =>
  before === undefined ? value : `${before}, ${value}`

/** Sixteen bytes in base64. The last character may carry bits that no byte needs: RFC 6455 only asks to echo it. */
const isKey = (value: string): boolean => /^[A-Za-z0-9+/]{22}==$/.test(value)

const offer = (fields: Fields, key: string): Handshake | Malformed => {
  const subprotocols = fields.subprotocols === undefined ? [] : items(fields.subprotocols)
  // RFC 6455 section 4.1: the elements "MUST all be unique strings".
  if (!subprotocols.every(isToken) || new Set(subprotocols).size !== subprotocols.length) {
    return malformed.WebSocketSubprotocolInvalid
  }
  return { _tag: "Handshake", key, subprotocols, extensions: fields.extensions ?? "" }
}
