/** Reads what a client has received as HTTP/1.1 answers (RFC 9112 section 6.3), strictly: what does not parse throws. */

export interface Answer {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

export interface Answers {
  /** Final answers that are whole, in order. */
  readonly whole: ReadonlyArray<Answer>
  /** The head of an answer whose body is not whole, when there is one. */
  readonly cut: Answer | undefined
  /** True when bytes are left that are the beginning of a head. */
  readonly cutInHead: boolean
}

const readHead = (text: string) => {
  const [statusLine = "", ...lines] = text.split("\r\n")
  const match = /^HTTP\/1\.1 (\d{3}) [\x20-\x7e]*$/.exec(statusLine)
  if (match === null) throw new Error(`Not a status line: ${JSON.stringify(statusLine.slice(0, 80))}`)
  const headers = new Map<string, string>()
  for (const line of lines) {
    const field = /^([!#$%&'*+\-.^_`|~0-9a-z]+): ([\x20-\x7e]*)$/.exec(line)
    if (field === null) throw new Error(`Not a header: ${JSON.stringify(line)}`)
    if (headers.has(field[1]!)) throw new Error(`Twice: ${line}`)
    headers.set(field[1]!, field[2]!)
  }
  return { status: Number(match[1]), headers }
}

/** The chunks' content and where they end; `end` is -1 when they are not whole. */
const readChunks = (text: string, from: number): { readonly body: string; readonly end: number } => {
  let body = ""
  let at = from
  while (true) {
    const lineEnd = text.indexOf("\r\n", at)
    if (lineEnd === -1) return { body, end: -1 }
    const size = text.slice(at, lineEnd)
    if (!/^[0-9a-f]+$/.test(size)) throw new Error(`Not a chunk size: ${JSON.stringify(size.slice(0, 80))}`)
    const length = Number.parseInt(size, 16)
    const chunkEnd = lineEnd + 2 + length
    if (text.length < chunkEnd + 2) return { body: body + text.slice(lineEnd + 2, chunkEnd), end: -1 }
    if (text.slice(chunkEnd, chunkEnd + 2) !== "\r\n") throw new Error("A chunk does not end in a line end")
    body += text.slice(lineEnd + 2, chunkEnd)
    at = chunkEnd + 2
    if (length === 0) return { body, end: at }
  }
}

/** `methods` are those of the requests in order: an answer to HEAD has no body. */
export const read = (text: string, methods: ReadonlyArray<string>): Answers => {
  const whole: Array<Answer> = []
  let at = 0
  while (at < text.length) {
    const headEnd = text.indexOf("\r\n\r\n", at)
    if (headEnd === -1) return { whole, cut: undefined, cutInHead: true }
    const { headers, status } = readHead(text.slice(at, headEnd))
    const from = headEnd + 4
    if (status < 200) {
      at = from
      continue
    }
    const length = headers.get("content-length")
    const isChunked = headers.get("transfer-encoding") === "chunked"
    if (isChunked && length !== undefined) throw new Error("Both a length and chunks")
    // The server may refuse a request before it knows the method, and closes then.
    const isRefusal = headers.get("connection") === "close" && text.length > from
    if ((methods[whole.length] === "HEAD" && !isRefusal) || status === 204 || status === 304) {
      whole.push({ status, headers, body: "" })
      at = from
    } else if (isChunked) {
      const { body, end } = readChunks(text, from)
      if (end === -1) return { whole, cut: { status, headers, body }, cutInHead: false }
      whole.push({ status, headers, body })
      at = end
    } else {
      if (length === undefined) throw new Error("Neither a length nor chunks")
      const body = text.slice(from, from + Number(length))
      if (body.length < Number(length)) return { whole, cut: { status, headers, body }, cutInHead: false }
      whole.push({ status, headers, body })
      at = from + Number(length)
    }
  }
  return { whole, cut: undefined, cutInHead: false }
}
