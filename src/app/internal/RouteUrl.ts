/**
 * Paths out of patterns: fills in parameters, percent-encodes them, and refuses what the pattern itself would not
 * match. What is built here begins with one slash and stays on its site.
 */
import type { Pattern, Segment } from "./RoutePattern.ts"
import * as RoutePattern from "./RoutePattern.ts"

/** A parameter's value; its text is what `String` makes of it. */
export type Value = string | number | bigint | boolean

export type Values = Readonly<Record<string, Value | undefined>>

/** Query parameters: lists are repeated, `undefined` is left out. */
export type Query = Readonly<Record<string, Value | ReadonlyArray<Value> | undefined>>

/**
 * Fills a pattern.
 *
 * **Throws** an `Error` that names the parameter, for one that is missing, empty or `.` or `..` (which clients take for
 * something else), and for one that does not pass the tests of the pattern.
 */
export const fill = (pattern: Pattern, values: Values): string => {
  const { optional, rest, segments } = pattern
  const required = segments.length - optional
  let path = ""
  let omitted: string | undefined
  segments.forEach((segment, index) => {
    const absent = typeof segment === "string" || index < required
      ? undefined
      : segment.names.find((name) => valueOf(values, name) === undefined)
    if (absent !== undefined) {
      omitted ??= absent
      return
    }
    if (omitted !== undefined) throw missing(pattern, omitted)
    path += `/${fillSegment(pattern, segment, values)}`
  })
  if (rest === undefined) return path || "/"
  const tail = text(pattern, rest, values)
  const parts = tail.split("/")
  for (const part of parts) refuseDots(pattern, rest, part)
  return `${path}/${parts.map(encodeURIComponent).join("/")}`.replace(/^\/+/, "/")
}

const fillSegment = (pattern: Pattern, segment: Segment, values: Values): string => {
  if (typeof segment === "string") return encodeURIComponent(segment)
  const filled = segment.pieces.map((piece) => typeof piece === "string" ? piece : text(pattern, piece.name, values))
  const names = segment.names.join(", ")
  if (filled.includes("")) throw invalid(pattern, names, "is empty")
  const whole = filled.join("")
  refuseDots(pattern, names, whole)
  if (!RoutePattern.match(segment, whole, [])) throw invalid(pattern, names, `does not match: ${JSON.stringify(whole)}`)
  return encodeURIComponent(whole)
}

const text = (pattern: Pattern, name: string, values: Values): string => {
  const value = valueOf(values, name)
  if (value === undefined) throw missing(pattern, name)
  return String(value)
}

/** A parameter may be called `constructor`. */
const valueOf = (values: Values, name: string): Value | undefined =>
  Object.hasOwn(values, name) ? values[name] : undefined

const refuseDots = (pattern: Pattern, name: string, part: string): void => {
  if (part === "." || part === "..") throw invalid(pattern, name, `cannot be ${JSON.stringify(part)}`)
}

const missing = (pattern: Pattern, name: string): Error => invalid(pattern, name, "is missing")

const invalid = (pattern: Pattern, name: string, problem: string): Error =>
  new Error(`Cannot make a URL of ${pattern.text}: the parameter "${name}" ${problem}`)

/** The query with its question mark; empty when there is nothing in it. */
export const query = (values: Query | undefined): string => {
  const params = new URLSearchParams()
  for (const [name, value] of Object.entries(values ?? {})) {
    for (const item of Array.isArray(value) ? value as ReadonlyArray<Value> : [value as Value | undefined]) {
      if (item !== undefined) params.append(name, String(item))
    }
  }
  const text = params.toString()
  return text === "" ? "" : `?${text}`
}
