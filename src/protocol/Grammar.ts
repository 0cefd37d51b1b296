/**
 * Character classes of HTTP, as 256-entry tables, so that a check costs one array read and no regular expression.
 * Each table quotes its production. Bytes are read as latin1 text: one character is one byte.
 */

export const HTAB = 0x09
export const LF = 0x0a
export const CR = 0x0d
export const SP = 0x20
export const PERCENT = 0x25
export const COLON = 0x3a

const table = (accepts: (code: number) => boolean): Uint8Array => {
  const codes = new Uint8Array(256)
  for (let code = 0; code < 256; code++) codes[code] = accepts(code) ? 1 : 0
  return codes
}

const isAlphaNumeric = (code: number) =>
  (code >= 0x30 && code <= 0x39) || (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a)

const oneOf = (characters: string) => (code: number) => characters.includes(String.fromCharCode(code))

const isTokenMark = oneOf("!#$%&'*+-.^_`|~")

/** `tchar`, RFC 9110 section 5.6.2: field names, methods, codings. */
export const token = table((code) => isAlphaNumeric(code) || isTokenMark(code))

/** `field-content` with its inner white space, RFC 9110 section 5.5: HTAB, SP, VCHAR and obs-text; no other control. */
export const fieldValue = table((code) => code === HTAB || (code >= SP && code !== 0x7f))

/**
 * What may stand in a request target. RFC 3986 allows less; browsers and other servers let every visible ASCII
 * character through, and so do we. Bytes above 0x7e, controls and white space are refused (RFC 9112 section 3.2).
 */
export const target = table((code) => code > SP && code < 0x7f)

/** Bit in `target` of the characters that make a target more than a plain path: `#`, `%` and `?`. */
const targetMark = 2
for (const mark of "#%?") target[mark.charCodeAt(0)]! |= targetMark

const isHostMark = oneOf("-._~!$&'()*+,;=")

/** `reg-name` or IPv4address without its escapes, RFC 3986 section 3.2.2: unreserved and sub-delims. */
export const hostName = table((code) => isAlphaNumeric(code) || isHostMark(code))

const isIpLiteralMark = oneOf(":.%-_~")

/** What stands between the brackets of an `IP-literal`, zone included (RFC 3986 section 3.2.2, RFC 6874). */
export const ipLiteral = table((code) => isAlphaNumeric(code) || isIpLiteralMark(code))

/** `DIGIT`. */
export const digit = table((code) => code >= 0x30 && code <= 0x39)

/** `qdtext`, RFC 9110 section 5.6.4, without the backslash that starts a quoted pair. */
export const quotedText = table((code) => fieldValue[code] === 1 && code !== 0x22 && code !== 0x5c)

/** The lower-case form of an ASCII letter; every other byte stays itself. */
export const lower = (() => {
  const codes = new Uint8Array(256)
  for (let code = 0; code < 256; code++) codes[code] = code >= 0x41 && code <= 0x5a ? code + 0x20 : code
  return codes
})()

/** The value of a hexadecimal digit, 255 for every other byte. */
export const hex = (() => {
  const values = new Uint8Array(256).fill(255)
  for (let value = 0; value < 16; value++) {
    values["0123456789abcdef".charCodeAt(value)] = value
    values["0123456789ABCDEF".charCodeAt(value)] = value
  }
  return values
})()

const escape = /%[0-9A-Fa-f]{2}/g

/**
 * True for a valid Host field value: empty, or a host with an optional port (RFC 9110 section 7.2, RFC 3986 section 3.2).
 */
export const isHost = (value: string): boolean => {
  let at = 0
  if (value.charCodeAt(0) === 0x5b) {
    const close = value.indexOf("]")
    if (close < 3) return false
    for (at = 1; at < close; at++) if (ipLiteral[value.charCodeAt(at)] !== 1) return false
    at = close + 1
  } else {
    while (at < value.length && hostName[value.charCodeAt(at)] === 1) at++
  }
  if (at === value.length) return true
  if (value.charCodeAt(at) === PERCENT) {
    const plain = value.replace(escape, "x")
    return plain !== value && isHost(plain)
  }
  if (value.charCodeAt(at) !== COLON) return false
  for (at++; at < value.length; at++) if (digit[value.charCodeAt(at)] !== 1) return false
  return true
}
