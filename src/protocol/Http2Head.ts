/**
 * Judges the head of an HTTP/2 request and turns it into the same RequestHead that HTTP/1 gives (RFC 9113 section 8.3).
 * What nghttp2 has judged before (names, values, pseudo header fields, connection-specific fields) is not judged again;
 * what it leaves to the server is, with the limits and answers of HTTP/1.
 */
import { namesEventStream } from "./Accept.ts"
import { isHost, target as targetTable } from "./Grammar.ts"
import type { Limits } from "./Limits.ts"
import { type Malformed, malformed } from "./Malformed.ts"
import { CompleteHead, type RequestHead } from "./RequestHead.ts"
import * as RequestTarget from "./RequestTarget.ts"

/**
 * Reads a head.
 *
 * `fields` are names and values in turn, as they came; `hasBody` is false when the stream ended with the head.
 *
 * **Returns** a head whose `contentLength` is 0 without a body and -1 when the length is not declared. A WebSocket
 * (RFC 8441) has the kind `websocket` and the method it is given there, `CONNECT`.
 * **Limits** `requestLineBytes` for the path, `headerCount`, `bodyBytes`; bytes of the head are bounded by SETTINGS.
 */
export const readHead = (fields: ReadonlyArray<string>, limits: Limits, hasBody: boolean): RequestHead | Malformed => {
  let method = ""
  let target: string | undefined
  let hasAuthority = false
  let host: string | undefined
  let protocol: string | undefined
  let accept: string | undefined
  let cookieIndex = -1
  let contentLength = hasBody ? -1 : 0
  let expectsContinue = false
  const headers: Array<readonly [string, string]> = []
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const name = fields[at]!
    const value = fields[at + 1]!
    switch (name) {
      case ":method":
        method = value
        continue
      case ":path":
        target = value
        continue
      case ":authority":
        // Pseudo header fields come first (RFC 9113 section 8.3), so this is where the host stands.
        hasAuthority = true
        host = value
        headers.push(["host", value])
        continue
      case ":protocol":
        protocol = value
        continue
      case ":scheme":
        continue
      case "host":
        // RFC 9113 section 8.3.1: `:authority` takes the place of Host.
        if (hasAuthority) continue
        if (host !== undefined) return malformed.HostRepeated
        host = value
        break
      case "cookie":
        // RFC 9113 section 8.2.3 lets a client split it. Applications always see one.
        if (cookieIndex !== -1) {
          headers[cookieIndex] = ["cookie", `${headers[cookieIndex]![1]}; ${value}`]
          continue
        }
        cookieIndex = headers.length
        break
      case "accept":
        accept = accept === undefined ? value : `${accept},${value}`
        break
      case "content-length":
        contentLength = Number(value)
        if (contentLength > limits.bodyBytes || !Number.isSafeInteger(contentLength)) return malformed.BodyTooLarge
        break
      case "expect":
        if (value.toLowerCase() !== "100-continue") return malformed.ExpectationUnknown
        expectsContinue = hasBody
        break
    }
    if (headers.length === limits.headerCount) return malformed.TooManyFields
    headers.push([name, value])
  }
  return judge(method, target, protocol, accept, host, headers, contentLength, expectsContinue, limits)
}

const judge = (
  method: string,
  target: string | undefined,
  protocol: string | undefined,
  accept: string | undefined,
  host: string | undefined,
  headers: Array<readonly [string, string]>,
  contentLength: number,
  expectsContinue: boolean,
  limits: Limits
): RequestHead | Malformed => {
  if (method === "CONNECT" && protocol !== "websocket") return malformed.ConnectUnsupported
  if (target === undefined) return malformed.TargetInvalid
  if (target.length > limits.requestLineBytes) return malformed.RequestLineTooLong
  const marks = marksOf(target)
  // The absolute form is for proxies; in HTTP/2 its parts are pseudo header fields.
  if (marks === 0 || (target[0] !== "/" && target !== "*")) return malformed.TargetInvalid
  const parts = marks === 1 ? undefined : RequestTarget.parse(method, target)
  if (marks !== 1 && parts === undefined) return malformed.TargetInvalid
  if (host === undefined) return malformed.HostMissing
  if (!isHost(host)) return malformed.HostInvalid
  const rawPath = parts === undefined ? target : parts.rawPath
  return new CompleteHead(
    method,
    "2",
    target,
    rawPath,
    rawPath.includes("%") ? RequestTarget.decodePath(rawPath) : rawPath,
    parts === undefined ? "" : parts.queryString,
    headers,
    contentLength,
    true,
    expectsContinue,
    method === "CONNECT" ? "websocket" : accept !== undefined && namesEventStream(accept) ? "sse" : "http"
  )
}

/** 0 when a character may not stand in a target, 1 for a plain path, more when it has to be taken apart. */
const marksOf = (target: string): number => {
  let marks = target === "*" ? 2 : 1
  for (let at = 0; at < target.length; at++) {
    const mark = targetTable[target.charCodeAt(at)]
    if (mark === undefined || mark === 0) return 0
    marks |= mark
  }
  return marks
}
