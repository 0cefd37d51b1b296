/**
 * Reads request heads from text, line by line, and judges them: RFC 9112 sections 2 to 7 as far as a server needs them.
 * A line is looked at once it is complete, or refused as soon as it cannot become valid, so a peer that sends one byte a
 * second is answered as one that sends a whole head. Owns no bytes: the engine hands it text and keeps what is left over.
 */
import { namesEventStream } from "./Accept.ts"
import { isOws, lowerItems } from "./FieldList.ts"
import { Field, type FieldName, find, hashStep } from "./FieldNames.ts"
import { COLON, CR, digit, fieldValue, HTAB, isHost, LF, SP, target as targetTable, token } from "./Grammar.ts"
import type { Limits } from "./Limits.ts"
import { type Malformed, malformed, type Reason } from "./Malformed.ts"
import * as RequestTarget from "./RequestTarget.ts"

/** A valid request head. Plain data, made once for each request. */
export interface RequestHead {
  readonly _tag: "RequestHead"
  readonly method: string
  readonly httpVersion: "1.0" | "1.1" | "2"
  /** The target as it came. */
  readonly target: string
  readonly rawPath: string
  readonly path: string
  readonly queryString: string
  /** Lower-case names, values as they came without surrounding white space; several Cookie fields joined into one. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  /** Bytes the body will have; 0 without a body, -1 when chunked. */
  readonly contentLength: number
  /** True when the client allows another request after this one. */
  readonly keepAlive: boolean
  /** True when the client waits for `100 Continue` before it sends the body. */
  readonly expectsContinue: boolean
  /** What the client asks for; whether its WebSocket handshake is valid, `WebSocketHandshake` says. */
  readonly kind: Kind
}

/** The scope a request gets: an upgrade to WebSocket, a stream of events, or everything else. */
export type Kind = "http" | "sse" | "websocket"

/** Returned by `read` when the text ends before the head does. */
const needMore = -1

const GET = 0x47455420
const POST = 0x504f5354

/** A class, because V8 never allocates what a constructor makes in its old space in advance; see docs/decisions.md. */
export class CompleteHead implements RequestHead {
  readonly _tag = "RequestHead"
  readonly method: string
  readonly httpVersion: RequestHead["httpVersion"]
  readonly target: string
  readonly rawPath: string
  readonly path: string
  readonly queryString: string
  readonly headers: RequestHead["headers"]
  readonly contentLength: number
  readonly keepAlive: boolean
  readonly expectsContinue: boolean
  readonly kind: Kind

  constructor(
    method: string,
    httpVersion: RequestHead["httpVersion"],
    target: string,
    rawPath: string,
    path: string,
    queryString: string,
    headers: RequestHead["headers"],
    contentLength: number,
    keepAlive: boolean,
    expectsContinue: boolean,
    kind: Kind
  ) {
    this.method = method
    this.httpVersion = httpVersion
    this.target = target
    this.rawPath = rawPath
    this.path = path
    this.queryString = queryString
    this.headers = headers
    this.contentLength = contentLength
    this.keepAlive = keepAlive
    this.expectsContinue = expectsContinue
    this.kind = kind
  }
}

export class RequestHeadReader {
  readonly limits: Limits
  /** Set when the head was refused; nothing is read after that. */
  problem: Malformed | undefined = undefined
  /** Set when the head is complete. */
  head: RequestHead | undefined = undefined
  /** Set when the trailer section is complete. */
  trailers: ReadonlyArray<readonly [name: string, value: string]> | undefined = undefined

  private lineBytes = 0
  private fieldBytes = 0
  private inFields = false
  private inTrailers = false
  private method = ""
  private target = ""
  /** True for an origin form without query, fragment and escapes, which most targets are. */
  private isPlainPath = false
  /** The Host of the last request, which need not be checked again. */
  private knownHost = ""
  private httpVersion: "1.0" | "1.1" = "1.1"
  private headers: Array<readonly [string, string]> = []
  private hostIndex = -1
  private cookieIndex = -1
  private contentLength = -2
  private transferEncoding: string | undefined = undefined
  private connection: string | undefined = undefined
  private expectsContinue = false
  private upgrade: string | undefined = undefined
  private wantsEvents = false

  constructor(limits: Limits) {
    this.limits = limits
  }

  /** Forgets the last head. */
  reset(): void {
    this.head = undefined
    this.lineBytes = 0
    this.fieldBytes = 0
    this.inFields = false
    this.inTrailers = false
    this.trailers = undefined
    this.headers = []
    this.hostIndex = -1
    this.cookieIndex = -1
    this.contentLength = -2
    this.transferEncoding = undefined
    this.connection = undefined
    this.expectsContinue = false
    this.upgrade = undefined
    this.wantsEvents = false
  }

  /** Reads a trailer section from now on. */
  startTrailers(): void {
    this.inTrailers = true
    this.fieldBytes = 0
    this.headers = []
  }

  /** True when the request line was read; false between requests, empty lines or not. */
  get started(): boolean {
    return this.inFields
  }

  /**
   * Reads as many whole lines of `text` as there are, starting at `from`.
   *
   * **Returns** the index after the last line it has taken; what follows must be handed in again, with more. Look at
   * `head` and `problem` afterwards.
   */
  read(text: string, from: number): number {
    let at = from
    if (!this.inFields) {
      at = this.readRequestLine(text, from)
      if (!this.inFields) return at
    }
    return this.readFields(text, at)
  }

  /**
   * Refuses the head. `before` counts the bytes of the present line in front of the faulty one: when they alone are over
   * the limit, a peer that sends byte by byte has heard of the limit, and so does every other.
   */
  private fail(reason: Reason, before = 0): number {
    const { headerBytes, requestLineBytes } = this.limits
    if (this.inFields) this.problem = malformed[this.fieldBytes + before > headerBytes ? "HeadTooLarge" : reason]
    else this.problem = malformed[this.lineBytes + before > requestLineBytes ? "RequestLineTooLong" : reason]
    return needMore
  }

  private readRequestLine(text: string, from: number): number {
    let start = from
    // RFC 9112 section 2.2: ignore empty lines before a request. They count as part of its line, so they are bounded.
    while (text.charCodeAt(start) === CR) {
      if (start + 1 === text.length) return this.linePending(text, start, from)
      if (text.charCodeAt(start + 1) !== LF) return this.fail("LineEndInvalid", start + 1 - from)
      start += 2
    }
    const end = this.readMethod(text, start, from)
    if (end < 0) return this.problem === undefined ? this.linePending(text, start, from) : start

    const targetStart = end + 1
    let at = targetStart
    let marks = 0
    for (; at < text.length; at++) {
      const mark = targetTable[text.charCodeAt(at)]!
      if (mark === 0) break
      marks |= mark
    }
    this.isPlainPath = marks === 1 && text.charCodeAt(targetStart) === 0x2f
    if (at === text.length) return this.linePending(text, start, from)
    const after = text.charCodeAt(at)
    if (after !== SP || at === targetStart) {
      // HTTP/0.9 has no version: the line ends after the target.
      const isVersionMissing = (after === CR || after === LF) && at > targetStart
      return this.fail(isVersionMissing ? "VersionInvalid" : "TargetInvalid", at - from)
    }
    this.target = text.slice(targetStart, at)

    const lineEnd = this.readVersion(text, at + 1, from)
    if (lineEnd < 0) return this.problem === undefined ? this.linePending(text, start, from) : start
    this.lineBytes += lineEnd - from
    if (this.lineBytes > this.limits.requestLineBytes) return this.fail("RequestLineTooLong")
    this.inFields = true
    return lineEnd
  }

  /** Keeps the count of a line whose end has not come; empty lines before `start` are taken and forgotten. */
  private linePending(text: string, start: number, from: number): number {
    this.lineBytes += start - from
    return this.lineBytes + text.length - start > this.limits.requestLineBytes ? this.fail("RequestLineTooLong") : start
  }

  private readMethod(text: string, start: number, from: number): number {
    let at = start
    let packed = 0
    while (at < text.length) {
      const code = text.charCodeAt(at)
      if (token[code] === 0) break
      packed = (packed << 8) | code
      at++
    }
    if (at === text.length) return needMore
    if (text.charCodeAt(at) !== SP || at === start) {
      return this.fail(text.charCodeAt(at) === LF ? "LineEndInvalid" : "MethodInvalid", at - from)
    }
    const length = at - start
    this.method = length === 3 && ((packed << 8) | SP) === GET
      ? "GET"
      : length === 4 && packed === POST
      ? "POST"
      : text.slice(start, at)
    return at
  }

  /** `HTTP/1.1` or `HTTP/1.0` and the line end; any other digits are a version we do not speak. */
  private readVersion(text: string, start: number, from: number): number {
    const version = "HTTP/1.1\r\n"
    let at = start
    for (let index = 0; index < 10; index++, at++) {
      if (at === text.length) return needMore
      const code = text.charCodeAt(at)
      if (code === version.charCodeAt(index)) continue
      if (index === 7 && code === 0x30) continue
      if (index === 5 || index === 7) return this.readOtherVersion(text, start, at, from)
      return this.fail(lineEndOrVersion(index, code), at - from)
    }
    this.httpVersion = text.charCodeAt(start + 7) === 0x30 ? "1.0" : "1.1"
    return at
  }

  /** Goes on at `at`, where a digit was not ours, so that only a whole and valid line is told of another version. */
  private readOtherVersion(text: string, start: number, at: number, from: number): number {
    for (let index = at - start; index < 10; index++, at++) {
      if (at === text.length) return needMore
      const code = text.charCodeAt(at)
      if (index === 5 || index === 7 ? digit[code] === 0 : code !== "HTTP/1.1\r\n".charCodeAt(index)) {
        return this.fail(lineEndOrVersion(index, code), at - from)
      }
    }
    const reason = this.method === "PRI" && this.target === "*" ? "Http2Preface" : "VersionUnsupported"
    return this.fail(reason, at - 1 - from)
  }

  private readFields(text: string, from: number): number {
    const end = text.length
    const limits = this.limits
    let line = from
    while (line < end) {
      let at = line
      let code = text.charCodeAt(at)
      if (code === CR) {
        if (at + 1 === end) break
        if (text.charCodeAt(at + 1) !== LF) return this.fail("LineEndInvalid", 1)
        this.fieldBytes += 2
        this.finish()
        return at + 2
      }

      let hash = 0
      while (token[code] === 1) {
        hash = hashStep(hash, code)
        if (++at === end) return this.fieldPending(line, end)
        code = text.charCodeAt(at)
      }
      if (code !== COLON || at === line) return this.fail(nameProblem(code, at === line), at - line)
      const nameEnd = at

      do {
        if (++at === end) return this.fieldPending(line, end)
        code = text.charCodeAt(at)
      } while (code === SP || code === HTAB)
      const valueStart = at
      let valueEnd = at
      while (code !== CR) {
        if (fieldValue[code] === 0) return this.fail(code === LF ? "LineEndInvalid" : "FieldValueInvalid", at - line)
        if (code > SP) valueEnd = at + 1
        if (++at === end) return this.fieldPending(line, end)
        code = text.charCodeAt(at)
      }
      if (++at === end) return this.fieldPending(line, end)
      if (text.charCodeAt(at) !== LF) return this.fail("LineEndInvalid", at - line)

      this.fieldBytes += at + 1 - line
      if (this.fieldBytes > limits.headerBytes) return this.fail("HeadTooLarge")
      if (this.headers.length === limits.headerCount) return this.fail("TooManyFields")
      const known = find(text, line, nameEnd, hash)
      if (this.inTrailers) {
        this.takeTrailer(text.slice(line, nameEnd).toLowerCase(), text.slice(valueStart, valueEnd))
      } else if (known === undefined) {
        this.headers.push([text.slice(line, nameEnd).toLowerCase(), text.slice(valueStart, valueEnd)])
      } else {
        this.take(known, text.slice(valueStart, valueEnd))
        if (this.problem !== undefined) return needMore
      }
      line = at + 1
    }
    return this.fieldPending(line, end)
  }

  private fieldPending(line: number, end: number): number {
    return this.fieldBytes + end - line > this.limits.headerBytes ? this.fail("HeadTooLarge") : line
  }

  /** Takes a field whose name is known; the engine's own fields are remembered, and refused when they come twice. */
  private take({ field, name }: FieldName, value: string): void {
    switch (field) {
      case Field.Host:
        if (this.hostIndex !== -1) return void this.fail("HostRepeated")
        if (value !== this.knownHost && !isHost(value)) return void this.fail("HostInvalid")
        this.knownHost = value
        this.hostIndex = this.headers.length
        break
      case Field.ContentLength:
        if (this.contentLength !== -2) return void this.fail("ContentLengthRepeated")
        this.contentLength = this.readContentLength(value)
        break
      case Field.TransferEncoding:
        this.transferEncoding = this.transferEncoding === undefined ? value : `${this.transferEncoding},${value}`
        break
      case Field.Connection:
        this.connection = this.connection === undefined ? value : `${this.connection},${value}`
        break
      case Field.Expect:
        if (value.toLowerCase() === "100-continue") this.expectsContinue = true
        else return void this.fail("ExpectationUnknown")
        break
      case Field.Accept:
        if (namesEventStream(value)) this.wantsEvents = true
        break
      case Field.Upgrade:
        this.upgrade = this.upgrade === undefined ? value : `${this.upgrade},${value}`
        break
      case Field.Cookie:
        // RFC 6265 section 5.4 sends one; HTTP/2 may split it (RFC 9113 section 8.2.3). Applications always see one.
        if (this.cookieIndex !== -1) {
          const before = this.headers[this.cookieIndex]![1]
          if (value !== "") this.headers[this.cookieIndex] = ["cookie", before === "" ? value : `${before}; ${value}`]
          return
        }
        this.cookieIndex = this.headers.length
        break
    }
    this.headers.push([name, value])
  }

  /** RFC 9110 section 6.5.1: a trailer must not change framing, routing, authentication or the meaning of the body. */
  private takeTrailer(name: string, value: string): void {
    if (mayBeTrailer(name)) this.headers.push([name, value])
  }

  /** RFC 9110 section 8.6: `1*DIGIT`. Lists and needless zeros are refused: peers disagree about them. */
  private readContentLength(value: string): number {
    if (!/^(0|[1-9]\d*)$/.test(value)) {
      this.fail("ContentLengthInvalid")
      return 0
    }
    const length = Number(value)
    if (length > this.limits.bodyBytes || !Number.isSafeInteger(length)) this.fail("BodyTooLarge")
    return length
  }

  /** The whole head is there: RFC 9112 section 6.3 decides how the body is framed. */
  private finish(): void {
    if (this.fieldBytes > this.limits.headerBytes) return void this.fail("HeadTooLarge")
    if (this.inTrailers) {
      this.trailers = this.headers
      return
    }
    const is11 = this.httpVersion === "1.1"
    if (this.method === "CONNECT") {
      return void this.fail(RequestTarget.isAuthority(this.target) ? "ConnectUnsupported" : "TargetInvalid")
    }
    let rawPath = this.target
    let path = rawPath
    let queryString = ""
    if (!this.isPlainPath) {
      const target = RequestTarget.parse(this.method, this.target)
      if (target === undefined) return void this.fail("TargetInvalid")
      if (target.authority !== undefined) this.replaceHost(target.authority)
      rawPath = target.rawPath
      path = rawPath.includes("%") ? RequestTarget.decodePath(rawPath) : rawPath
      queryString = target.queryString
    }
    if (this.hostIndex === -1 && is11) return void this.fail("HostMissing")

    let contentLength = this.contentLength === -2 ? 0 : this.contentLength
    if (this.transferEncoding !== undefined) {
      if (this.contentLength !== -2) return void this.fail("LengthAmbiguous")
      if (!is11) return void this.fail("TransferEncodingIn10")
      const problem = judgeTransferEncoding(this.transferEncoding)
      if (problem !== undefined) return void this.fail(problem)
      contentLength = -1
    }
    this.head = new CompleteHead(
      this.method,
      this.httpVersion,
      this.target,
      rawPath,
      path,
      queryString,
      this.headers,
      contentLength,
      this.connection === undefined ? is11 : keepsAlive(this.connection, is11),
      this.expectsContinue && is11 && contentLength !== 0,
      this.upgrade !== undefined && is11 && this.asksForWebSocket(this.upgrade)
        ? "websocket"
        : this.wantsEvents
        ? "sse"
        : "http"
    )
  }

  /** RFC 9110 section 7.8: Upgrade counts only with the connection option of its name, and never in HTTP/1.0. */
  private asksForWebSocket(upgrade: string): boolean {
    return this.connection !== undefined
      && lowerItems(this.connection).includes("upgrade")
      && lowerItems(upgrade).includes("websocket")
  }

  private replaceHost(authority: string): void {
    if (this.hostIndex === -1) this.headers.unshift(["host", authority])
    else this.headers[this.hostIndex] = ["host", authority]
  }
}

const lineEndOrVersion = (index: number, code: number): Reason =>
  index === 9 || (index === 8 && code === LF) ? "LineEndInvalid" : "VersionInvalid"

const nameProblem = (code: number, atLineStart: boolean): Reason => {
  if (code === LF) return "LineEndInvalid"
  return atLineStart && isOws(code) ? "FoldedLine" : "FieldNameInvalid"
}

/** True for a field that may come as a trailer (RFC 9110 section 6.5.1). */
export const mayBeTrailer = (name: string): boolean => !forbiddenTrailers.has(name)

const forbiddenTrailers = new Set([
  "authorization",
  "cache-control",
  "connection",
  "content-encoding",
  "content-length",
  "content-range",
  "content-type",
  "cookie",
  "expect",
  "host",
  "keep-alive",
  "max-forwards",
  "pragma",
  "proxy-authorization",
  "proxy-connection",
  "range",
  "set-cookie",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade"
])

/** RFC 9112 section 9.3: `close` wins; HTTP/1.1 stays open by default, HTTP/1.0 only when asked. */
const keepsAlive = (connection: string, is11: boolean): boolean => {
  if (connection === "keep-alive" || connection === "Keep-Alive") return true
  if (connection === "close") return false
  const options = lowerItems(connection)
  return !options.includes("close") && (is11 || options.includes("keep-alive"))
}

/** RFC 9112 sections 6.1 and 7: chunked, once, last; nothing else is implemented. */
const judgeTransferEncoding = (value: string): Reason | undefined => {
  if (value === "chunked") return undefined
  const codings = lowerItems(value)
  if (codings.indexOf("chunked") !== codings.length - 1) return "TransferEncodingInvalid"
  return codings.length === 1
    ? undefined
    : codings.includes("")
    ? "TransferEncodingInvalid"
    : "TransferEncodingUnsupported"
}
