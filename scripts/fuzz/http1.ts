/**
 * Any bytes -> events, never an exception; split-invariant.
 *
 * Makes requests from a seed, most of them nearly right, breaks some bytes, and demands that the engine says the same
 * in every split, holds no more than its limits allow, and lets nothing through that the RFCs forbid. The tests run some
 * thousand fixed seeds, `npm run fuzz` goes on for as long as it is told.
 */
import * as assert from "node:assert"
import { defaults, type Limits } from "../../src/protocol/Limits.ts"
import { bytesOf, drive, type Message, type Outcome } from "../../test/utils/splits.ts"

/** The same numbers for the same seed (mulberry32). */
export interface Random {
  /** A whole number from 0 to `below` - 1. */
  readonly int: (below: number) => number
  readonly pick: <A>(from: ReadonlyArray<A>) => A
  readonly chance: (oneIn: number) => boolean
}

export const makeRandom = (seed: number): Random => {
  let state = seed >>> 0
  const int = (below: number): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
  return { int, pick: (from) => from[int(from.length)]!, chance: (oneIn) => int(oneIn) === 0 }
}

const methods = ["GET", "POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "get", "M-SEARCH", "X!", "PRI", "P OST", ""]
const targets = [
  "/",
  "/a?b=c#d",
  "/%e2%82%ac",
  "/%ff%",
  "//x",
  "*",
  "http://h:8/p",
  "HTTP://u@h",
  "a:80",
  "http://:1",
  "",
  "\x80"
]
const versions = [
  "HTTP/1.1",
  "HTTP/1.1",
  "HTTP/1.0",
  "HTTP/1.0",
  "HTTP/2.0",
  "HTTP/1.2",
  "HTTP/1",
  "http/1.1",
  "HTTP/1.1 ",
  ""
]
const names = [
  "Host",
  "host",
  "Content-Length",
  "Transfer-Encoding",
  "Connection",
  "Expect",
  "Cookie",
  "X-Y",
  "Accept",
  "Trailer",
  "A B",
  ""
]
const values = [
  "a",
  "a:80",
  "[::1]:8",
  "chunked",
  "gzip, chunked",
  "chunked, gzip",
  "Chunked ",
  "\xa0chunked",
  "0",
  "3",
  "+3",
  "03",
  "3, 3",
  "99999999999999999999",
  "close",
  "keep-alive",
  "TE, close",
  "100-continue",
  "",
  " x\t",
  "\x80\xff",
  "\x01",
  "a\rb"
]
const goodFields = [
  "X-Y: z",
  "X-Y:",
  "Cookie: a=b",
  "cookie:c=d ",
  "Cookie:",
  "Accept: */*",
  "Connection: TE, keep-alive",
  "Connection: close",
  "Expect: 100-Continue",
  "Sec-Fetch-Mode:\tcors",
  "UPGRADE: h2c",
  "Content-Length: 0",
  "x: \x80\xff"
]
const colons = [":", ": ", ": ", ": ", ":\t ", " :", ""]
const badEnds = ["\n", "\r", "\r\r\n", "\r\n ", ""]
const sizes = ["0", "1", "5", "a", "A", "00", "0003", "ffffffffffffffffff", "-1", "0x5", "5 ", ""]
const extensions = [";a", ";a=b", "\t; a = \"x\\\"y\" ;b", ";", ";a=", ";a=\"", ";a b", ";\x80"]
const interesting = [0, 9, 10, 13, 32, 35, 37, 44, 58, 59, 61, 92, 127, 128, 160, 255]

const times = (count: number, make: () => string): string => Array.from({ length: count }, make).join("")

const lineEnd = ({ chance, pick }: Random): string => chance(40) ? pick(badEnds) : "\r\n"

const fieldLine = (random: Random): string => {
  const { chance, pick } = random
  return (chance(4) ? pick(names) + pick(colons) + pick(values) : pick(goodFields)) + lineEnd(random)
}

const extension = ({ chance, pick }: Random): string => chance(3) ? pick(extensions) : ""

const chunk = (random: Random): string => {
  const { chance, int, pick } = random
  const data = times(int(12), () => String.fromCharCode(int(256)))
  const size = chance(12) ? pick(sizes) : data.length.toString(16)
  return size + extension(random) + lineEnd(random) + data + lineEnd(random)
}

/** A request that is right in most places. */
const request = (random: Random): string => {
  const { chance, int, pick } = random
  const line = chance(6)
    ? `${pick(methods)} ${pick(targets)} ${pick(versions)}${lineEnd(random)}`
    : chance(60)
    ? "PRI * HTTP/2.0\r\n"
    : `${pick(["GET", "POST", "HEAD"])} /p${int(10)} HTTP/1.1\r\n`
  const before = chance(8) ? times(int(4), () => lineEnd(random)) : ""
  const host = chance(30) ? "" : "Host: h\r\n"
  const fields = times(chance(2) ? 0 : int(4), () => fieldLine(random))
  const kind = int(4)
  if (kind === 0) {
    const body = times(int(20), () => String.fromCharCode(int(256)))
    return `${before}${line}${host}${fields}Content-Length: ${body.length}\r\n\r\n${body}`
  }
  if (kind === 1) {
    const trailers = chance(3) ? times(int(3), () => fieldLine(random)) : ""
    return `${before}${line}${host}${fields}Transfer-Encoding: chunked\r\n\r\n${times(int(4), () => chunk(random))}0${
      extension(random)
    }\r\n${trailers}\r\n`
  }
  return `${before}${line}${host}${fields}\r\n`
}

const broken = (bytes: Buffer, { chance, int, pick }: Random): Buffer => {
  let result = bytes
  for (let count = Math.max(0, int(6) - 2); count > 0 && result.length > 0; count--) {
    const at = int(result.length)
    const value = chance(2) ? pick(interesting) : int(256)
    const length = 1 + int(8)
    result = pick([
      () => Buffer.concat([result.subarray(0, at), Buffer.of(value), result.subarray(at)]),
      () => Buffer.concat([result.subarray(0, at), Buffer.of(value), result.subarray(at + 1)]),
      () => Buffer.concat([result.subarray(0, at), result.subarray(at + length)]),
      () => Buffer.concat([result.subarray(0, at + length), result.subarray(at)]),
      () => Buffer.concat([result.subarray(0, at), Buffer.alloc(int(200), value), result.subarray(at)])
    ])()
  }
  return result
}

const someLimits = ({ chance, int }: Random): Limits =>
  !chance(3) ? defaults : {
    requestLineBytes: 16 + int(40),
    headerBytes: 2 + int(200),
    headerCount: int(12),
    bodyBytes: int(60),
    chunkExtensionBytes: int(40)
  }

const randomPieces = (bytes: Buffer, { int }: Random): Array<Buffer> => {
  const pieces: Array<Buffer> = []
  for (let at = 0; at < bytes.length;) {
    const length = 1 + int(int(3) === 0 ? 3 : 40)
    pieces.push(bytes.subarray(at, at + length))
    at += length
  }
  return pieces
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const fieldValue = /^[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?$|^$/

/** What must hold of every request that is let through, whatever the peer sent. */
const checkMessage = ({ body, complete, head, trailers }: Message, limits: Limits): void => {
  const count = (name: string): number => head.headers.filter(([other]) => other === name).length
  assert.match(head.method, token)
  assert.match(head.target, /^[\x21-\x7e]+$/)
  assert.match(head.rawPath, /^(?:\/[\x21-\x7e]*|\*)$/)
  assert.ok(!head.rawPath.includes("?") && !head.rawPath.includes("#") && !head.queryString.includes("#"))
  for (const [name, value] of [...head.headers, ...trailers]) {
    assert.match(name, token)
    assert.strictEqual(name, name.toLowerCase())
    assert.match(value, fieldValue)
  }
  assert.ok(count("host") <= 1 && (head.httpVersion === "1.0" || count("host") === 1))
  assert.ok(count("content-length") + Math.min(1, count("transfer-encoding")) <= 1)
  assert.ok(count("cookie") <= 1)
  assert.strictEqual(head.contentLength === -1, count("transfer-encoding") > 0)
  assert.ok(head.headers.length <= limits.headerCount + 1 && trailers.length <= limits.headerCount)
  assert.ok(body.length <= limits.bodyBytes)
  if (complete && head.contentLength !== -1) assert.strictEqual(body.length, head.contentLength)
}

export interface Case {
  readonly bytes: Buffer
  readonly limits: Limits
  readonly pieces: Array<Buffer>
  readonly end: boolean
}

/** The case that belongs to `seed`. */
export const caseOf = (seed: number): Case => {
  const random = makeRandom(seed)
  const { chance, int } = random
  const limits = someLimits(random)
  const text = chance(40)
    ? times(int(100), () => String.fromCharCode(int(256)))
    : times(1 + int(3), () => request(random))
  const bytes = broken(bytesOf(text), random)
  return { bytes, limits, pieces: randomPieces(bytes, random), end: chance(2) }
}

/**
 * Runs the case of `seed` whole, in random pieces and byte by byte.
 *
 * **Returns** what came out. **Throws** when it breaks an invariant.
 */
export const check = (seed: number): Outcome => {
  const { bytes, end, limits, pieces } = caseOf(seed)
  const options = { limits, end }
  const whole = drive([bytes], options)
  for (const message of whole.messages) checkMessage(message, limits)
  assert.deepStrictEqual(drive(pieces, options), whole)
  assert.deepStrictEqual(drive(Array.from(bytes, (_, at) => bytes.subarray(at, at + 1)), options), whole)
  return whole
}
