/**
 * JSON-RPC texts and what they say, both ways, without running anything. Owns the shapes of section 4 and 5, the bounds
 * on batches and nesting, and the rule which ids can be kept exactly. What is wrong with a text of theirs is data; what
 * cannot be said in one of ours throws.
 *
 * **Source** JSON-RPC 2.0 sections 4 to 6.
 */
import * as Predicate from "effect/Predicate"
import { codes } from "./JsonRpcError.ts"

/** What ties an answer to its request; `null` is an id, its absence makes a notification. */
export type Id = string | number | null

/** An error object as it stands in an answer. */
export interface WireError {
  readonly code: number
  readonly message: string
  readonly data?: unknown
}

/** A call, or a notification when it has no id. */
export interface Request {
  readonly _tag: "Request"
  readonly id: Id | undefined
  readonly method: string
  /** An array or an object; `undefined` when absent. */
  readonly params: unknown
}

/** An answer to one of our own calls. */
export interface Response {
  readonly _tag: "Response"
  readonly id: Id
  readonly result: unknown
  /** Present in place of a result; `undefined` in a success. */
  readonly error: WireError | undefined
}

/** What is neither: it is answered with `error`. */
export interface Invalid {
  readonly _tag: "Invalid"
  readonly id: Id
  readonly error: WireError
}

export type Item = Request | Response | Invalid

/** One text: a batch is answered with an array, whatever its size. */
export interface Message {
  readonly isBatch: boolean
  readonly items: ReadonlyArray<Item>
}

export interface Bounds {
  readonly maxBatch: number
  readonly maxDepth: number
}

const invalidRequest: WireError = { code: codes.invalidRequest, message: "Invalid Request" }
const internalError: WireError = { code: codes.internalError, message: "Internal error" }

const notJson: Message = {
  isBatch: false,
  items: [{ _tag: "Invalid", id: null, error: { code: codes.parseError, message: "Parse error" } }]
}

const refused = (problem?: string): Message => ({ isBatch: false, items: [invalid(null, problem)] })

const invalid = (id: Id, problem?: string): Invalid => ({
  _tag: "Invalid",
  id,
  error: problem === undefined ? invalidRequest : { ...invalidRequest, data: problem }
})

/** A Response where nobody has asked anything. */
export const unasked = ({ id }: Response): Invalid => invalid(id)

/** Reads a text. Bytes must be UTF-8. `mayAnswer`: whoever sent it may have been asked something. */
export const parse = (text: string | Uint8Array, bounds: Bounds, mayAnswer = false): Message => {
  let value: unknown
  try {
    const decoded = typeof text === "string" ? text : strictDecoder.decode(text)
    if (isDeeper(decoded, bounds.maxDepth)) return refused(`It is nested deeper than ${bounds.maxDepth} levels`)
    value = JSON.parse(decoded)
  } catch {
    return notJson
  }
  if (!Array.isArray(value)) return { isBatch: false, items: [toItem(value)] }
  if (value.length === 0) return refused("The batch is empty")
  // Answers to a batch of ours are as many as we asked for.
  if (value.length > bounds.maxBatch && !(mayAnswer && value.every(isAnswer))) {
    return refused(`The batch has more than ${bounds.maxBatch} requests`)
  }
  return { isBatch: true, items: value.map(toItem) }
}

const strictDecoder = new TextDecoder("utf-8", { fatal: true })

/**
 * Looks at the brackets before the parser does: JSON.parse survives any depth, but what walks the value afterwards
 * recurses. Text that is not JSON may be judged wrongly, and is refused either way.
 */
const isDeeper = (text: string, maxDepth: number): boolean => {
  if (text.length <= 2 * maxDepth) return false
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case 0x22: // quotation mark: a string, brackets in it count for nothing
        for (at++; at < text.length && text.charCodeAt(at) !== 0x22; at++) if (text.charCodeAt(at) === 0x5c) at++
        break
      case 0x5b:
      case 0x7b:
        if (++depth > maxDepth) return true
        break
      case 0x5d:
      case 0x7d:
        depth--
    }
  }
  return false
}

const toItem = (value: unknown): Item => {
  if (!Predicate.isObject(value)) return invalid(null)
  const { error, id, jsonrpc, method, params, result } = value as { readonly [key: string]: unknown }
  const hasId = Object.hasOwn(value, "id")
  const isKept = isId(id)
  // An answer is never answered, not even when it is malformed: two servers would go on for ever.
  if (isAnswer(value)) {
    return { _tag: "Response", id: isKept ? id : null, result, error: error === undefined ? undefined : toError(error) }
  }
  if (hasId && !isKept) return invalid(null, "The id is not a string, a number that can be kept exactly, or null")
  const known = isKept ? id : null
  if (jsonrpc !== "2.0") return invalid(known, "jsonrpc is not \"2.0\"")
  if (typeof method !== "string") return invalid(known, "The method is not a string")
  if (Object.hasOwn(value, "params") && (typeof params !== "object" || params === null)) {
    return invalid(known, "The params are neither an array nor an object")
  }
  return { _tag: "Request", id: hasId ? id as Id : undefined, method, params }
}

const isAnswer = (value: unknown): boolean =>
  Predicate.isObject(value) && !Object.hasOwn(value, "method") &&
  (Object.hasOwn(value, "result") || Object.hasOwn(value, "error"))

/** An integer above 2^53 would come back as its neighbour, 1e400 as null: an answer that nobody can match. */
const isId = (id: unknown): id is Id =>
  id === null || typeof id === "string" ||
  (typeof id === "number" && Number.isFinite(id) && (!Number.isInteger(id) || Number.isSafeInteger(id)))

const toError = (error: unknown): WireError => {
  if (!Predicate.isObject(error)) return internalError
  const { code, data, message } = error as { readonly [key: string]: unknown }
  return {
    code: Number.isInteger(code) ? code as number : codes.internalError,
    message: typeof message === "string" ? message : "",
    ...(data === undefined ? {} : { data })
  }
}

// ---- what we say

export const resultText = (id: Id, result: unknown): string => {
  // A function, a symbol, or what its toJSON makes of it has no text at all.
  const text = JSON.stringify(result ?? null) as string | undefined
  if (text === undefined) throw new TypeError("The result is not JSON")
  return `{"jsonrpc":"2.0","result":${text},"id":${JSON.stringify(id)}}`
}

/** Only the three members of an error object, whatever else `error` has. Section 5.1: the code MUST be an integer. */
export const errorText = (id: Id, { code, data, message }: WireError): string => {
  if (!Number.isInteger(code)) throw new TypeError(`The code of an error object must be an integer, not ${code}`)
  return `{"jsonrpc":"2.0","error":${JSON.stringify({ code, message, data })},"id":${JSON.stringify(id)}}`
}

export const internalErrorText = (id: Id): string => errorText(id, internalError)

/** A call, or without an id a notification. */
export const requestText = (method: string, params: unknown, id?: number): string =>
  JSON.stringify({ jsonrpc: "2.0", method, params, id })

export const batchText = (texts: ReadonlyArray<string>): string => `[${texts.join(",")}]`
