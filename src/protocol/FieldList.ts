/**
 * Field values that are comma-separated lists (RFC 9110 section 5.6.1), as far as several readers need them. Lists whose
 * items hold quoted strings, as Accept does, are not split here.
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

/** The items as they came, empty ones too. */
export const items = (value: string): Array<string> => value.split(",").map(withoutOws)

/** The items in lower case, for fields whose tokens are compared without case: Connection, Upgrade, Transfer-Encoding. */
export const lowerItems = (value: string): Array<string> => items(value.toLowerCase())

/** True for a `token`, RFC 9110 section 5.6.2. */
export const isToken = (text: string): boolean => {
  for (let at = 0; at < text.length; at++) if (token[text.charCodeAt(at)] !== 1) return false
  return text !== ""
}
