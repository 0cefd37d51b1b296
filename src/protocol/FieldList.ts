/**
 * Field values that are comma-separated lists (RFC 9110 section 5.6.1), as far as several readers need them.
 */
import { HTAB, SP, token } from "./Grammar.ts"

/** `OWS` is made of these two, RFC 9110 section 5.6.3. */
export const isOws = (code: number): boolean => code === SP || code === HTAB

/** Without the SP and HTAB around it, which are all the white space there is; `trim` would also take 0xa0. */
export const withoutOws = (text: string): string => {
  let start = 0
  let end = text.length
  while (start < end && isOws(text.charCodeAt(start))) start++
  while (end > start && isOws(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

/** The items as they came, empty ones too, of lists without quoted strings. */
export const items = (value: string): Array<string> => value.split(",").map(withoutOws)

/**
 * The parts between separators, without white space around them, empty ones too. A quoted string holds no separator
 * (section 5.6.4). For lists such as Accept.
 */
export const splitOutsideQuotes = (text: string, separator: string): Array<string> => {
  const parts: Array<string> = []
  let start = 0
  let quoted = false
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === "\"") quoted = !quoted
    else if (character === "\\" && quoted) at++
    else if (character === separator && !quoted) {
      parts.push(withoutOws(text.slice(start, at)))
      start = at + 1
    }
  }
  parts.push(withoutOws(text.slice(start)))
  return parts
}

/** The items in lower case, for fields whose tokens are compared without case: Connection, Upgrade, Transfer-Encoding. */
export const lowerItems = (value: string): Array<string> => items(value.toLowerCase())

/** True for a `token`, RFC 9110 section 5.6.2. */
export const isToken = (text: string): boolean => {
  for (let at = 0; at < text.length; at++) if (token[text.charCodeAt(at)] !== 1) return false
  return text !== ""
}
