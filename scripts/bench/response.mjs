/**
 * Counts and collects the answers on one client connection: content-length and chunked, pipelined or not, split
 * anywhere. Only as strict as a generator needs; the proof that servers speak HTTP well is made elsewhere.
 */

/**
 * @typedef {object} Answer
 * @property {number} status
 * @property {string} head
 * @property {Buffer | undefined} body collected only when asked for
 */

const endOfHead = Buffer.from("\r\n\r\n")

export class ResponseReader {
  /** @type {Buffer | undefined} bytes of an incomplete head or chunk size */
  #rest
  #bodyLeft = 0
  #chunked = false
  /** What comes next: a head, body bytes, a chunk's size line, a chunk's CRLF, or the trailers' end. */
  #state = "head"
  /** @type {{ status: number, head: string, pieces: Array<Buffer> }} */
  #current = { status: 0, head: "", pieces: [] }
  #collect
  #onAnswer

  /**
   * @param {(answer: Answer) => void} onAnswer called for each complete answer
   * @param {boolean} collect whether answers carry their bodies
   */
  constructor(onAnswer, collect) {
    this.#onAnswer = onAnswer
    this.#collect = collect
  }

  /** @param {Buffer} bytes */
  push(bytes) {
    let data = this.#rest === undefined ? bytes : Buffer.concat([this.#rest, bytes])
    this.#rest = undefined
    while (data.length > 0) {
      const used = this.#state === "body" ? this.#body(data) : this.#line(data)
      if (used === 0) {
        this.#rest = data
        return
      }
      data = data.subarray(used)
    }
  }

  /** @param {Buffer} data */
  #body(data) {
    const used = Math.min(this.#bodyLeft, data.length)
    if (this.#collect) this.#current.pieces.push(data.subarray(0, used))
    this.#bodyLeft -= used
    if (this.#bodyLeft === 0) {
      if (this.#chunked) this.#state = "chunk-end"
      else this.#finish()
    }
    return used
  }

  /**
   * Reads one head, size line or line end; 0 when it is not complete yet.
   *
   * @param {Buffer} data
   */
  #line(data) {
    if (this.#state === "head") {
      const end = data.indexOf(endOfHead)
      if (end === -1) return 0
      this.#head(data.toString("latin1", 0, end))
      return end + 4
    }
    const end = data.indexOf("\r\n")
    if (end === -1) return 0
    if (this.#state === "chunk-end") {
      this.#state = "chunk-size"
    } else if (this.#state === "chunk-size") {
      this.#bodyLeft = Number.parseInt(data.toString("latin1", 0, end), 16)
      this.#state = this.#bodyLeft === 0 ? "trailers" : "body"
    } else if (end === 0) {
      this.#finish()
    }
    return end + 2
  }

  /** @param {string} head */
  #head(head) {
    const lower = head.toLowerCase()
    const length = /\r\ncontent-length: *(\d+)/.exec(lower)
    this.#chunked = length === null && /\r\ntransfer-encoding: *chunked/.test(lower)
    if (length === null && !this.#chunked) throw new Error(`An answer without a length: ${head}`)
    this.#current = { status: Number(head.slice(9, 12)), head: lower, pieces: [] }
    this.#bodyLeft = length === null ? 0 : Number(length[1])
    this.#state = this.#chunked ? "chunk-size" : "body"
    if (!this.#chunked && this.#bodyLeft === 0) this.#finish()
  }

  #finish() {
    const { head, pieces, status } = this.#current
    this.#state = "head"
    this.#onAnswer({ status, head, body: this.#collect ? Buffer.concat(pieces) : undefined })
  }
}

/** @param {import("./scenarios.mjs").Exchange} request */
export const contentTypeOf = ({ contentType = "application/octet-stream" }) => contentType

/**
 * The bytes of one request.
 *
 * @param {import("./scenarios.mjs").Exchange} request
 */
export const requestBytes = (request, close = false) => {
  const { body, method, path } = request
  const fields = `Content-Type: ${contentTypeOf(request)}\r\nContent-Length: ${body.length}\r\n`
  return `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${close ? "Connection: close\r\n" : ""}${
    body === "" ? "" : fields
  }\r\n${body}`
}
