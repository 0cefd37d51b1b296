/**
 * What clients do in one simulated run: requests, cut into pieces that arrive at odd moments, and faults. A calm run has
 * no faults, so that everything asked must be answered; in a rough one anything goes.
 */
import { calmHttp, faultyHttp, type HttpKind } from "./apps.ts"
import type { Chance } from "./chance.ts"

/** In a rough run most applications take their time, so that faults find them at work. */
const roughKinds: ReadonlyArray<HttpKind> = [
  ...calmHttp,
  ...faultyHttp,
  "big",
  "big",
  "echo",
  "echo",
  "slow",
  "stream",
  "never"
]

export interface Request {
  readonly id: string
  readonly method: string
  readonly kind: HttpKind
  readonly bodyBytes: number
  readonly text: string
}

export type Step =
  | { readonly _tag: "send"; readonly bytes: string }
  | { readonly _tag: "pause" | "resume" | "end" | "reset" | "readError" | "writeError" }

export interface Connection {
  readonly requests: ReadonlyArray<Request>
  readonly steps: ReadonlyArray<Step>
}

/** One thing that happens: a step of a connection, time that passes, or the end of the server. */
export type Happening =
  | { readonly _tag: "step"; readonly connection: number }
  | { readonly _tag: "wait"; readonly millis: number }
  | { readonly _tag: "stop" }

export interface Script<C = Connection> {
  readonly calm: boolean
  readonly connections: ReadonlyArray<C>
  readonly happenings: ReadonlyArray<Happening>
}

export const largestPiece = 2000
const largestBody = 9000

const garbage = [
  "\0\0\0\0\r\n\r\n",
  "GET / HTTP/9.9\r\nHost: a\r\n\r\n",
  "GET /\r\n\r\n",
  "GET / HTTP/1.1\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
  `GET /${"x".repeat(9000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
  "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
]

export const chunked = (chance: Chance, body: string): string => {
  let text = ""
  for (let at = 0; at < body.length;) {
    const chunk = body.slice(at, at + chance.int(1, 3000))
    text += `${chunk.length.toString(16)}${chance.happens(0.1) ? ";x=y" : ""}\r\n${chunk}\r\n`
    at += chunk.length
  }
  return `${text}0\r\n${chance.happens(0.2) ? "x-trailer: t\r\n" : ""}\r\n`
}

const makeRequest = (chance: Chance, id: string, calm: boolean, last: boolean): Request => {
  const kind = chance.pick<HttpKind>(calm ? calmHttp : roughKinds)
  const method = chance.pick(["GET", "GET", "POST", "POST", "PUT", "HEAD"])
  const hasBody = method === "POST" || method === "PUT"
  const bodyBytes = hasBody ? chance.pick([0, 1, 10, 1000, chance.int(0, largestBody)]) : 0
  const body = "b".repeat(bodyBytes)
  const isChunked = hasBody && chance.happens(0.5)
  const lines = [`${method} /${id}/${kind} HTTP/1.1`, "Host: a"]
  if (isChunked) lines.push("Transfer-Encoding: chunked")
  else if (hasBody) lines.push(`Content-Length: ${bodyBytes}`)
  // An application that does not read such a body costs the connection: a calm run leaves that out.
  if (bodyBytes > 0 && (kind === "echo" || !calm) && chance.happens(0.2)) lines.push("Expect: 100-continue")
  if (last && chance.happens(0.3)) lines.push("Connection: close")
  let content = isChunked ? chunked(chance, body) : body
  if (!calm && isChunked && chance.happens(0.3)) content = content.replace("\r\n", "!\r\n")
  const text = `${lines.join("\r\n")}\r\n\r\n${content}`
  return { id, method, kind, bodyBytes, text }
}

export const cutIntoPieces = (chance: Chance, text: string): Array<Step> => {
  const steps: Array<Step> = []
  const size = chance.pick([3, 40, 500, largestPiece, largestPiece])
  for (let at = 0; at < text.length;) {
    // The first bytes may come one by one; not all of a large body, or a run would take for ever.
    const bytes = text.slice(at, at + (steps.length < 40 ? chance.int(1, size) : largestPiece))
    steps.push({ _tag: "send", bytes })
    at += bytes.length
  }
  return steps
}

export const addFaults = (chance: Chance, steps: Array<Step>): void => {
  const anywhere = () => chance.int(0, steps.length)
  if (chance.happens(0.5)) {
    steps.splice(chance.pick([0, anywhere()]), 0, { _tag: "pause" })
    if (chance.happens(0.4)) steps.push({ _tag: "resume" })
  }
  if (chance.happens(0.5)) {
    steps.splice(anywhere(), steps.length, {
      _tag: chance.pick(["end", "end", "reset", "reset", "readError", "writeError"])
    })
  }
}

const makeConnection = (chance: Chance, name: string, calm: boolean): Connection => {
  const count = chance.int(1, 6)
  const requests = Array.from(
    { length: count },
    (_, index) => makeRequest(chance, `${name}${index}`, calm, index === count - 1)
  )
  let text = requests.map((request) => request.text).join(chance.happens(0.2) ? "\r\n" : "")
  if (!calm && chance.happens(0.3)) text += chance.pick(garbage)
  if (!calm && chance.happens(0.1)) text = text.slice(0, chance.int(1, text.length))
  const steps = cutIntoPieces(chance, text)
  if (!calm) addFaults(chance, steps)
  return { requests, steps }
}

/** Steps of all connections in some order. `waits`: how often time goes by between two. */
export const interleave = (
  chance: Chance,
  connections: ReadonlyArray<{ readonly steps: ReadonlyArray<Step> }>,
  calm: boolean,
  waits: number
): Array<Happening> => {
  const left = connections.map(({ steps }) => steps.length)
  const happenings: Array<Happening> = []
  while (left.some((count) => count > 0)) {
    if (chance.happens(waits)) {
      happenings.push({ _tag: "wait", millis: calm ? chance.int(1, 200) : chance.pick([1, 20, 100, 1000, 5000]) })
      continue
    }
    const connection = chance.int(0, connections.length - 1)
    if (left[connection] === 0) continue
    left[connection]!--
    happenings.push({ _tag: "step", connection })
  }
  return happenings
}

/** The same seed gives the same script. */
export const make = (chance: Chance): Script => {
  const calm = chance.happens(0.3)
  const connections = Array.from(
    { length: chance.int(1, 4) },
    (_, index) => makeConnection(chance, "abcd"[index]!, calm)
  )
  return { calm, connections, happenings: interleave(chance, connections, calm, 0.15) }
}
