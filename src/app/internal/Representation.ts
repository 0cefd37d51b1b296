/**
 * Decides which part of a representation a request gets: all of it, a range, nothing because the client has it, or a
 * refusal. Pure: from the request's headers and the representation's validators to a decision.
 *
 * **Source** RFC 9110 sections 13.1, 13.2.2 (order of evaluation) and 14.2.
 */
import * as DateTime from "effect/DateTime"
import * as Headers from "effect/http/Headers"
import * as Result from "effect/Result"

/** What is known about a representation without reading it. */
export interface Validators {
  /** Entity tag as it stands in the header, weak (`W/"..."`) or strong (`"..."`). */
  readonly etag: string
  /** Last modification in Unix seconds, the precision of HTTP dates; `undefined` when it is not known. */
  readonly modifiedSeconds: number | undefined
  /** Length in bytes. */
  readonly size: number
}

/** `start` and `length` in bytes. */
export type Decision =
  | { readonly _tag: "Whole" }
  | { readonly _tag: "Part"; readonly start: number; readonly length: number }
  | { readonly _tag: "NotModified" }
  | { readonly _tag: "PreconditionFailed" }
  | { readonly _tag: "RangeNotSatisfiable" }

const whole: Decision = { _tag: "Whole" }
const notModified: Decision = { _tag: "NotModified" }
const preconditionFailed: Decision = { _tag: "PreconditionFailed" }
const rangeNotSatisfiable: Decision = { _tag: "RangeNotSatisfiable" }

/**
 * Decides for GET and HEAD. A condition that cannot be read (a date that is none, a unit other than bytes, several
 * ranges at once) is ignored, as the RFC asks.
 */
export const decide = (
  method: string,
  header: (name: string) => string | undefined,
  validators: Validators
): Decision => {
  const ifMatch = header("if-match")
  if (ifMatch !== undefined) {
    if (!matches(ifMatch, validators.etag, "strong")) return preconditionFailed
  } else if (compareDates(validators, header("if-unmodified-since")) === "newer") {
    return preconditionFailed
  }
  const ifNoneMatch = header("if-none-match")
  if (ifNoneMatch !== undefined) {
    if (matches(ifNoneMatch, validators.etag, "weak")) return notModified
  } else {
    const compared = compareDates(validators, header("if-modified-since"))
    if (compared === "same" || compared === "older") return notModified
  }
  const range = header("range")
  if (method !== "GET" || range === undefined || !isCurrent(validators, header("if-range"))) return whole
  return parseRange(range, validators.size)
}

/** Entity tags may hold commas, so a list is taken apart by its quotes. */
const entityTag = /(?:W\/)?"[^"]*"/g

/** Strong comparison never matches a weak tag (RFC 9110 section 8.8.3.2). */
const matches = (list: string, etag: string, comparison: "strong" | "weak"): boolean => {
  if (list.trim() === "*") return true
  const tags: ReadonlyArray<string> = list.match(entityTag) ?? []
  if (comparison === "strong") return !etag.startsWith("W/") && tags.includes(etag)
  return tags.some((tag) => opaque(tag) === opaque(etag))
}

const opaque = (etag: string): string => etag.startsWith("W/") ? etag.slice(2) : etag

/** How our date stands to the client's; `undefined` when there is nothing to compare. */
const compareDates = (validators: Validators, date: string | undefined): "older" | "same" | "newer" | undefined => {
  if (date === undefined || validators.modifiedSeconds === undefined) return undefined
  const parsed = Headers.parseHttpDate(date)
  if (Result.isFailure(parsed)) return undefined
  const seconds = Math.floor(DateTime.toEpochMillis(parsed.success) / 1000)
  return validators.modifiedSeconds > seconds ? "newer" : validators.modifiedSeconds < seconds ? "older" : "same"
}

/**
 * RFC 9110 section 13.1.5: a tag is compared strongly, a date must be the very one. Without `if-range` a range is
 * unconditional.
 */
const isCurrent = (validators: Validators, ifRange: string | undefined): boolean => {
  if (ifRange === undefined) return true
  if (ifRange.includes("\"")) return matches(ifRange, validators.etag, "strong")
  return compareDates(validators, ifRange) === "same"
}

/** One range of bytes: `first-last`, `first-`, or `-length` for the end. */
const byteRange = /^\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*$/i

const parseRange = (range: string, size: number): Decision => {
  const match = byteRange.exec(range)
  if (match === null) return whole
  const [, first, last] = match
  if (first === "") {
    if (last === "") return whole
    const length = Math.min(Number(last), size)
    return length === 0 ? rangeNotSatisfiable : { _tag: "Part", start: size - length, length }
  }
  const start = Number(first)
  const end = last === "" ? size - 1 : Math.min(Number(last), size - 1)
  if (last !== "" && Number(last) < start) return whole
  return start >= size ? rangeNotSatisfiable : { _tag: "Part", start, length: end - start + 1 }
}
