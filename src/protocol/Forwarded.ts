/**
 * The header fields in which proxies say for whom they ask: Forwarded (RFC 7239) and the X-Forwarded lists. Takes them
 * apart from the right, where the nearest proxy has written, and bounds how far. Whom to believe is not decided here,
 * nor whether what has the shape of an address is one.
 */
import { isOws, withoutOws } from "./FieldList.ts"
import { fieldValue, isHost, quotedText, token } from "./Grammar.ts"

/** Proxies that are asked for, from the right; what stands before them is not looked at. */
export const maxHops = 32

/** What one proxy has said in one element of Forwarded. */
export interface Hop {
  /** Whom it has asked for, as it came. */
  readonly for?: string
  readonly proto?: string
  readonly host?: string
}

/** An address, which is still to be checked, and its port; 0 where that is not told. */
export interface Node {
  readonly address: string
  readonly port: number
}

/**
 * The last items of a list that came in `lines`, the rightmost first, without empty ones.
 *
 * **Limits** `maxHops` items, empty ones counted: RFC 9110 section 5.6.1.2 wants them ignored, but not any number of them.
 */
export const lastItems = (lines: ReadonlyArray<string>): ReadonlyArray<string> => {
  const items: Array<string> = []
  let left = maxHops
  for (let line = lines.length - 1; line >= 0; line--) {
    const text = lines[line]!
    let end = text.length
    while (end >= 0 && left-- > 0) {
      const comma = end === 0 ? -1 : text.lastIndexOf(",", end - 1)
      const item = withoutOws(text.slice(comma + 1, end))
      if (item !== "") items.push(item)
      end = comma
    }
  }
  return items
}

/** Stands for a line that cannot be read: somebody asked for somebody. */
const unreadable: Hop = Object.freeze({})

/**
 * The last elements of Forwarded, the rightmost first (RFC 7239 section 4). Each line is read by itself, so that a quote
 * which a client has left open does not swallow what a proxy has added. A line that is malformed is one empty element,
 * and nothing before it is read.
 *
 * **Limits** `maxHops` elements.
 */
export const lastHops = (lines: ReadonlyArray<string>): ReadonlyArray<Hop> => {
  const hops: Array<Hop> = []
  for (let line = lines.length - 1; line >= 0 && hops.length < maxHops; line--) {
    const read = readLine(lines[line]!)
    if (read === undefined) {
      hops.push(unreadable)
      break
    }
    hops.push(...read.slice(-(maxHops - hops.length)).reverse())
  }
  return hops
}

/** The parameters that say something about the client. */
const isKnown = (name: string): name is keyof Hop => name === "for" || name === "proto" || name === "host"

const skipOws = (text: string, from: number): number => {
  let at = from
  while (isOws(text.charCodeAt(at))) at++
  return at
}

/** `1#forwarded-element`. Blanks are allowed around the separators, as in every other list of parameters. */
const readLine = (text: string): Array<Hop> | undefined => {
  const hops: Array<Hop> = []
  let hop: { -readonly [K in keyof Hop]: Hop[K] } | undefined
  let at = 0
  for (;;) {
    at = skipOws(text, at)
    if (at === text.length || text[at] === ",") {
      if (hop !== undefined) hops.push(hop)
      hop = undefined
      if (at++ === text.length) return hops
    } else if (text[at] === ";") {
      at++
    } else {
      const start = at
      while (token[text.charCodeAt(at)] === 1) at++
      if (at === start || text[at] !== "=") return undefined
      const name = text.slice(start, at).toLowerCase()
      const end = valueEnd(text, at + 1)
      if (end === -1) return undefined
      hop ??= {}
      if (isKnown(name)) {
        // RFC 7239 section 4: each parameter at most once in an element.
        if (hop[name] !== undefined) return undefined
        hop[name] = valueOf(text.slice(at + 1, end))
      }
      at = skipOws(text, end)
      if (at < text.length && text[at] !== "," && text[at] !== ";") return undefined
    }
  }
}

/** RFC 7239 section 4 wants quotes around colons and brackets; some proxies forget them, and nothing else can be meant. */
const isBare = (code: number): boolean => token[code] === 1 || code === 0x3a || code === 0x5b || code === 0x5d

/** Where the value that starts at `from` ends, -1 when it does not, or is empty. */
const valueEnd = (text: string, from: number): number => {
  let at = from
  if (text[at] !== "\"") {
    while (isBare(text.charCodeAt(at))) at++
    return at === from ? -1 : at
  }
  for (at++; at < text.length; at++) {
    if (text[at] === "\"") return at + 1
    if (text[at] === "\\" ? fieldValue[text.charCodeAt(++at)] !== 1 : quotedText[text.charCodeAt(at)] !== 1) return -1
  }
  return -1
}

const valueOf = (text: string): string => text.startsWith("\"") ? text.slice(1, -1).replace(/\\(.)/g, "$1") : text

const obfuscatedPort = /^_[A-Za-z0-9._-]+$/

/** A port, `undefined` when it is none. */
export const readPort = (text: string): number | undefined => {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 65_536
  return port > 65_535 ? undefined : port
}

/** RFC 7239 section 6.2: a port may be hidden, and then is not known. */
const readNodePort = (text: string): number | undefined => obfuscatedPort.test(text) ? 0 : readPort(text)

/**
 * Reads who asked: an IPv4 address or an IPv6 one, in brackets or bare, with a port or without (RFC 7239 section 6; lists
 * of X-Forwarded-For have the same forms).
 *
 * **Returns** `undefined` for everything else, such as `unknown` and `_hidden`.
 */
export const readNode = (text: string): Node | undefined => {
  if (text.startsWith("[")) {
    const close = text.indexOf("]")
    const address = text.slice(1, close)
    if (!address.includes(":")) return undefined
    return close + 1 === text.length ? node(address, "") : text[close + 1] === ":"
      ? node(address, text.slice(close + 2), true)
      : undefined
  }
  const colon = text.indexOf(":")
  if (colon === -1 || colon !== text.lastIndexOf(":")) return node(text, "")
  return node(text.slice(0, colon), text.slice(colon + 1), true)
}

const node = (address: string, portText: string, hasPort = false): Node | undefined => {
  const port = hasPort ? readNodePort(portText) : 0
  return port === undefined || !/^[0-9a-fA-F:.]+$/.test(address) ? undefined : { address, port }
}

/** The scheme that a client used, `undefined` when it is none of HTTP's. */
export const readScheme = (text: string): "http" | "https" | undefined => {
  switch (text.toLowerCase()) {
    case "http":
    case "ws":
      return "http"
    case "https":
    case "wss":
      return "https"
    default:
      return undefined
  }
}

/** The host that a client asked, without brackets, and its port if one was named. `undefined` when it is none. */
export const readAuthority = (
  text: string
): { readonly host: string; readonly port: number | undefined } | undefined => {
  if (text === "" || text.startsWith(":") || !isHost(text)) return undefined
  const close = text.indexOf("]")
  const colon = text.indexOf(":", close + 1)
  const host = close === -1 ? text.slice(0, colon === -1 ? undefined : colon) : text.slice(1, close)
  if (colon === -1 || colon + 1 === text.length) return { host, port: undefined }
  const port = readPort(text.slice(colon + 1))
  return port === undefined ? undefined : { host, port }
}
