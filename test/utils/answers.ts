/**
 * Reads what a server wrote the way a careful client does: answer by answer, each body by its own framing. Anything
 * that is not a well-framed answer throws, so a test that parses its bytes has also checked that they can be parsed.
 */
export interface Answer {
  readonly status: number
  readonly reason: string
  readonly httpVersion: string
  /** As written: order, case and duplicates kept. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  /** The first value of a header, by its lower-case name. */
  readonly header: (name: string) => string | undefined
  /** One character is one byte. */
  readonly body: string
  /** The body's pieces as chunk framing separates them; empty for other framings. */
  readonly chunks: ReadonlyArray<string>
  readonly trailers: ReadonlyArray<readonly [name: string, value: string]>
  /** False when the bytes end before the answer does. */
  readonly complete: boolean
}

const readFields = (text: string): ReadonlyArray<readonly [string, string]> =>
  text === "" ? [] : text.split("\r\n").map((line) => {
    const colon = line.indexOf(": ")
    if (colon < 1) throw new Error(`Not a header line: ${JSON.stringify(line)}`)
    return [line.slice(0, colon), line.slice(colon + 2)] as const
  })

/**
 * Every answer in `bytes`. `methods` are the requests that were asked, in order; what is not named is a GET. Interim
 * answers are answers of their own and count for no request.
 */
export const answersIn = (bytes: string, methods: ReadonlyArray<string> = []): ReadonlyArray<Answer> => {
  const answers: Array<Answer> = []
  let at = 0
  let finals = 0
  while (at < bytes.length) {
    const headEnd = bytes.indexOf("\r\n\r\n", at)
    if (headEnd === -1) throw new Error(`Not a whole head: ${JSON.stringify(bytes.slice(at, at + 200))}`)
    const [statusLine, ...lines] = bytes.slice(at, headEnd).split("\r\n")
    const match = /^HTTP\/(\d\.\d) (\d{3}) (.*)$/.exec(statusLine!)
    if (match === null) throw new Error(`Not a status line: ${JSON.stringify(statusLine)}`)
    const headers = readFields(lines.join("\r\n"))
    const header = (name: string) => headers.find((line) => line[0].toLowerCase() === name)?.[1]
    const status = Number(match[2])
    const hasBody = status >= 200 && status !== 204 && status !== 304 && methods[finals] !== "HEAD"
    if (status >= 200) finals++
    at = headEnd + 4
    let body = ""
    let chunks: Array<string> = []
    let trailers: Answer["trailers"] = []
    let complete = true
    if (!hasBody) {
      // Nothing follows, whatever the head says.
    } else if (header("transfer-encoding") === "chunked") {
      const read = readChunks(bytes, at)
      chunks = read.chunks
      body = chunks.join("")
      trailers = read.trailers
      complete = read.complete
      at = read.end
    } else if (header("content-length") !== undefined) {
      const length = Number(header("content-length"))
      body = bytes.slice(at, at + length)
      complete = body.length === length
      at += body.length
    } else {
      body = bytes.slice(at)
      at = bytes.length
    }
    answers.push({
      status,
      reason: match[3]!,
      httpVersion: match[1]!,
      headers,
      header,
      body,
      chunks,
      trailers,
      complete
    })
  }
  return answers
}

/** The only answer in `bytes`. */
export const answerIn = (bytes: string, method = "GET"): Answer => {
  const answers = answersIn(bytes, [method])
  if (answers.length !== 1) throw new Error(`${answers.length} answers instead of one: ${JSON.stringify(bytes)}`)
  return answers[0]!
}

const readChunks = (bytes: string, from: number) => {
  const chunks: Array<string> = []
  let at = from
  for (;;) {
    const lineEnd = bytes.indexOf("\r\n", at)
    if (lineEnd === -1) return { chunks, trailers: [], complete: false, end: bytes.length }
    const size = bytes.slice(at, lineEnd)
    if (!/^[0-9a-f]+$/.test(size)) throw new Error(`Not a chunk size: ${JSON.stringify(size)}`)
    at = lineEnd + 2
    const length = parseInt(size, 16)
    if (length === 0) {
      if (bytes.startsWith("\r\n", at)) return { chunks, trailers: [], complete: true, end: at + 2 }
      const end = bytes.indexOf("\r\n\r\n", at)
      if (end === -1) return { chunks, trailers: [], complete: false, end: bytes.length }
      return { chunks, trailers: readFields(bytes.slice(at, end)), complete: true, end: end + 4 }
    }
    const chunk = bytes.slice(at, at + length)
    chunks.push(chunk)
    if (chunk.length < length) return { chunks, trailers: [], complete: false, end: bytes.length }
    at += length
    if (!bytes.startsWith("\r\n", at)) throw new Error("A chunk is not followed by its line end")
    at += 2
  }
}

/** A request as bytes: HTTP/1.1, `host: a`, and whatever `lines` add. */
export const request = (start: string, lines: ReadonlyArray<string> = [], body = ""): string =>
  `${start} HTTP/1.1\r\n${["host: a", ...lines].join("\r\n")}\r\n\r\n${body}`

/** `parts` in chunked framing, with its end and, between, trailer lines. */
export const chunked = (parts: ReadonlyArray<string>, trailerLines: ReadonlyArray<string> = []): string =>
  parts.map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join("") +
  `0\r\n${trailerLines.map((line) => `${line}\r\n`).join("")}\r\n`

/** Text as the bytes of its UTF-8, one character each. */
export const utf8 = (text: string): string => Buffer.from(text).toString("latin1")
