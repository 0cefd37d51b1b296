/**
 * Writes `text/event-stream` (WHATWG HTML section 9.2), as text; the caller encodes it as UTF-8. Checks first what would
 * break out of its line, and never writes half an event: each result ends with the empty line that dispatches it.
 */
import { CR, LF } from "./Grammar.ts"

/** One event. A field that is `undefined` is not written. */
export interface EventFields {
  readonly data: string
  readonly event?: string | undefined
  readonly id?: string | undefined
  readonly retry?: number | undefined
}

/** Why an event or a comment must not be written. */
export interface Problem {
  readonly field: string
  readonly problem: string
}

/**
 * Looks at the fields of an event, whatever they are: an application without types can put anything there.
 *
 * **Returns** the first problem, or `undefined`.
 */
export const eventProblem = (fields: { readonly [K in keyof EventFields]?: unknown }): Problem | undefined => {
  const { data, event, id, retry } = fields
  if (typeof data !== "string") return notString("data")
  if (event !== undefined) {
    if (typeof event !== "string") return notString("event")
    if (hasLineEnd(event)) return { field: "event", problem: "it has a line end" }
  }
  if (id !== undefined) {
    if (typeof id !== "string") return notString("id")
    if (hasLineEnd(id)) return { field: "id", problem: "it has a line end" }
    // WHATWG HTML section 9.2.6: clients ignore an id with NUL, and would go on with the one before.
    if (id.includes("\0")) return { field: "id", problem: "it has a NUL" }
  }
  if (retry !== undefined && !(Number.isSafeInteger(retry) && (retry as number) >= 0)) {
    return { field: "retry", problem: "it is not a whole number of milliseconds from 0" }
  }
  return undefined
}

/** As `eventProblem`, for a comment. */
export const commentProblem = (comment: unknown): Problem | undefined =>
  typeof comment === "string" ? undefined : notString("comment")

/**
 * The text of an event that has no problem. CRLF, CR and LF in `data` each begin a further line; clients put LF between
 * them.
 */
export const encodeEvent = (fields: EventFields): string => {
  const { data, event, id, retry } = fields
  const body = hasLineEnd(data) ? `${lines(data, dataLine)}\n` : `data: ${data}\n\n`
  if (event === undefined && id === undefined && retry === undefined) return body
  let text = ""
  if (event !== undefined) text = `event: ${event}\n`
  if (id !== undefined) text += `id: ${id}\n`
  if (retry !== undefined) text += `retry: ${retry}\n`
  return text + body
}

/** The text of a comment, which clients ignore: a colon before each line that does not have it. */
export const encodeComment = (comment: string): string =>
  hasLineEnd(comment) ? `${lines(comment, commentLine)}\n` : `${commentLine(comment)}\n`

const notString = (field: string): Problem => ({ field, problem: "it is not a string" })

const hasLineEnd = (text: string): boolean => text.indexOf("\n") !== -1 || text.indexOf("\r") !== -1

// The space is always written: clients take one away, so that data may begin with one.
const dataLine = (line: string): string => `data: ${line}\n`

const commentLine = (line: string): string => line.charCodeAt(0) === 0x3a ? `${line}\n` : `:${line}\n`

const lines = (text: string, write: (line: string) => string): string => {
  let written = ""
  let start = 0
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code !== LF && code !== CR) continue
    written += write(text.slice(start, at))
    if (code === CR && text.charCodeAt(at + 1) === LF) at++
    start = at + 1
  }
  return written + write(text.slice(start))
}
