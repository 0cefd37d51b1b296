/**
 * The field names that nearly every request uses, found without allocating. A name that is read is hashed on the way;
 * the table gives back its one lower-case string and whether the engine itself has to look at the field.
 *
 * Measured on Node 20: 18 ns for a known 10-character name, against 75 ns for `slice` and `toLowerCase`.
 */
import { lower } from "./Grammar.ts"

/** Fields with a meaning for the connection, the framing or the kind of exchange. Every other field is `Other`. */
export const Field = {
  Other: 0,
  Host: 1,
  ContentLength: 2,
  TransferEncoding: 3,
  Connection: 4,
  Expect: 5,
  Cookie: 6,
  Accept: 7,
  Upgrade: 8
} as const

export interface FieldName {
  readonly name: string
  readonly field: number
}

/** The next hash after one more character of a name, in either case. Start with 0. */
export const hashStep = (hash: number, code: number): number => (Math.imul(hash, 31) + lower[code]!) | 0

const slots: Array<Array<FieldName & { readonly hash: number }>> = Array.from({ length: 256 }, () => [])

const define = (name: string, field: number): void => {
  let hash = 0
  for (let at = 0; at < name.length; at++) hash = hashStep(hash, name.charCodeAt(at))
  slots[hash & 255]!.push({ name, field, hash })
}

define("host", Field.Host)
define("content-length", Field.ContentLength)
define("transfer-encoding", Field.TransferEncoding)
define("connection", Field.Connection)
define("expect", Field.Expect)
define("cookie", Field.Cookie)
define("accept", Field.Accept)
define("upgrade", Field.Upgrade)
for (
  const name of [
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-type",
    "date",
    "dnt",
    "forwarded",
    "from",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "last-event-id",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "te",
    "trailer",
    "traceparent",
    "tracestate",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
    "x-requested-with"
  ]
) define(name, Field.Other)

/** The known name that `text` spells from `start` to `end` in any case, or `undefined`. */
export const find = (text: string, start: number, end: number, hash: number): FieldName | undefined => {
  const slot = slots[hash & 255]!
  for (let index = 0; index < slot.length; index++) {
    const known = slot[index]!
    if (known.hash === hash && spells(text, start, end, known.name)) return known
  }
  return undefined
}

const spells = (text: string, start: number, end: number, name: string): boolean => {
  if (end - start !== name.length) return false
  for (let at = 0; at < name.length; at++) {
    if (lower[text.charCodeAt(start + at)] !== name.charCodeAt(at)) return false
  }
  return true
}
