/**
 * Turns an application's header list into header lines, and refuses what must not reach a wire: a name that is not a
 * token, a value with a control character or a character above 0xff. Fields that belong to the connection are taken out
 * and remembered instead: the server frames the message, not the application.
 */
import { fieldValue, token } from "./Grammar.ts"

export type HeaderList = ReadonlyArray<readonly [name: string, value: string]>

/** Why a header was refused. */
export interface HeaderProblem {
  readonly name: string
  readonly problem: string
}

/**
 * Checks one header (RFC 9110 sections 5.1 and 5.5).
 *
 * **Returns** the problem in words, or `undefined`.
 */
export const checkHeader = (name: string, value: string): string | undefined => {
  if (name.length === 0) return "the name is empty"
  for (let at = 0; at < name.length; at++) {
    if (token[name.charCodeAt(at)] !== 1) return "the name has a character that is not allowed"
  }
  for (let at = 0; at < value.length; at++) {
    if (fieldValue[value.charCodeAt(at)] !== 1) return "the value has a control character or one above U+00FF"
  }
  return undefined
}

/** One header list, read. Made once for a connection and read again for each answer. */
export class ResponseFields {
  /** Header lines, each with its line end. */
  lines = ""
  /** What the application declared; -1 when it did not. */
  contentLength = -1
  hasDate = false
  hasServer = false
  /** True when the application asked for the connection to be closed. */
  close = false

  /** Reads `headers`; the fields of this object describe them if it returns `undefined`. */
  read(headers: HeaderList): HeaderProblem | undefined {
    this.contentLength = -1
    this.hasDate = false
    this.hasServer = false
    this.close = false
    let lines = ""
    for (let index = 0; index < headers.length; index++) {
      // An application without types can put anything here; nothing of it may throw.
      const header: HeaderList[number] | undefined = headers[index]
      const value = header?.[1]
      let name = header?.[0]
      // A string has characters at 0 and 1, but is no pair.
      if (typeof header === "string" || typeof name !== "string" || typeof value !== "string") {
        const known = typeof header !== "string" && typeof name === "string"
        return { name: known ? name : `header ${index}`, problem: "name and value must be strings" }
      }
      const problem = checkHeader(name, value)
      if (problem !== undefined) return { name, problem }
      switch (name.length) {
        case 4:
        case 6:
        case 10:
        case 14:
        case 17: {
          name = name.toLowerCase()
          if (name === "date") {
            this.hasDate = true
          } else if (name === "server") {
            this.hasServer = true
          } else if (name === "connection") {
            if (/(^|,)\s*close\s*(,|$)/i.test(value)) this.close = true
            continue
          } else if (name === "keep-alive" || name === "transfer-encoding") {
            continue
          } else if (name === "content-length") {
            const length = readLength(value)
            if (length === undefined || (this.contentLength !== -1 && this.contentLength !== length)) {
              return { name, problem: "it is not one decimal number" }
            }
            this.contentLength = length
            continue
          }
        }
      }
      lines += `${name}: ${value}\r\n`
    }
    this.lines = lines
    return undefined
  }
}

/** A decimal number that can be counted with; `undefined` for anything else. */
export const readLength = (value: string): number | undefined => {
  if (!/^\d+$/.test(value)) return undefined
  const length = Number(value)
  return Number.isSafeInteger(length) ? length : undefined
}
