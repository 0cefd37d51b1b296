/**
 * Turns an application's header list into the object that Node's HTTP/2 takes, with the checks of ResponseFields. Fields
 * that belong to an HTTP/1 connection are left out (RFC 9113 section 8.2.2).
 */
import { checkHeader, type HeaderList, type HeaderProblem, readLength } from "./ResponseFields.ts"

/** Fields as Node wants them: one value, or several for several lines. */
export type FieldMap = { [name: string]: string | number | Array<string> }

/**
 * Bytes of all fields of an answer, 32 added for each (RFC 9113 section 6.5.2). More would end the stream without a word.
 * Precedents: nghttp2 65536, and no limit over HTTP/1.
 */
export const maxAnswerFieldBytes = 1_048_576

/** RFC 9113 section 8.2.2. */
const connectionFields = new Set([
  "connection",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade"
])

/** Fields that Node refuses to send twice. The last line counts, as it does for `setHeader`. */
const singleFields = new Set([
  "access-control-allow-credentials",
  "access-control-max-age",
  "access-control-request-method",
  "age",
  "authorization",
  "content-encoding",
  "content-language",
  "content-location",
  "content-md5",
  "content-range",
  "content-type",
  "date",
  "dnt",
  "etag",
  "expires",
  "from",
  "host",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "last-modified",
  "location",
  "max-forwards",
  "proxy-authorization",
  "range",
  "referer",
  "retry-after",
  "tk",
  "upgrade-insecure-requests",
  "user-agent",
  "x-content-type-options"
])

/** One header list, read. */
export class Http2Fields {
  fields: FieldMap = {}
  /** What the application declared; -1 when it did not. */
  contentLength = -1

  /** Reads `headers`; this object describes them if it returns `undefined`. */
  read(headers: HeaderList): HeaderProblem | undefined {
    const fields: FieldMap = Object.create(null)
    this.contentLength = -1
    let bytes = 0
    for (let index = 0; index < headers.length; index++) {
      // An application without types can put anything here; nothing of it may throw.
      const header: HeaderList[number] | undefined = headers[index]
      if (typeof header === "string" || typeof header?.[0] !== "string" || typeof header[1] !== "string") {
        const known = typeof header !== "string" && typeof header?.[0] === "string"
        return { name: known ? header[0] : `header ${index}`, problem: "name and value must be strings" }
      }
      const problem = this.take(fields, header[0], header[1])
      if (problem !== undefined) return { name: header[0], problem }
      bytes += header[0].length + header[1].length + 32
      if (bytes > maxAnswerFieldBytes) {
        return { name: header[0], problem: "all headers together are too long for HTTP/2" }
      }
    }
    this.fields = fields
    return undefined
  }

  private take(fields: FieldMap, name: string, value: string): string | undefined {
    const problem = checkHeader(name, value)
    if (problem !== undefined) return problem
    const lower = name.toLowerCase()
    // RFC 9113 section 8.2.2 leaves `te` with the value trailers; that is a request's.
    if (connectionFields.has(lower) || lower === "te") return undefined
    if (lower === "content-length") {
      const length = readLength(value)
      if (length === undefined || (this.contentLength !== -1 && this.contentLength !== length)) {
        return "it is not one decimal number"
      }
      this.contentLength = length
      fields[lower] = String(length)
      return undefined
    }
    const text = withoutPadding(value)
    const before = fields[lower]
    if (before === undefined || singleFields.has(lower)) fields[lower] = text
    else if (Array.isArray(before)) before.push(text)
    else fields[lower] = [String(before), text]
    return undefined
  }
}

const isBlank = (code: number): boolean => code === 0x20 || code === 0x09

/** RFC 9113 section 8.2.1: no white space around a value. */
const withoutPadding = (value: string): string => {
  let start = 0
  let end = value.length
  while (start < end && isBlank(value.charCodeAt(start))) start++
  while (end > start && isBlank(value.charCodeAt(end - 1))) end--
  return end - start === value.length ? value : value.slice(start, end)
}
