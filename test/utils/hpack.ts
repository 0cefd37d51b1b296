/**
 * HPACK (RFC 7541) for tests: writes header blocks as literals without indexing, byte by byte as a test wants them, and
 * reads what a server wrote, dynamic table and Huffman codes included.
 */
export type Fields = ReadonlyArray<readonly [name: string, value: string]>

/** RFC 7541 appendix A. */
const staticTable: Fields = [
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  ...["200", "204", "206", "304", "400", "404", "500"].map((status) => [":status", status] as const),
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ...[
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate"
  ].map((name) => [name, ""] as const)
]

/** Bits of the code of each byte (RFC 7541 appendix B). The codes follow: they are in order of length, then of byte. */
const codeLengths = [
  "13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28 28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28",
  "6 10 10 12 13 6 8 11 10 10 8 11 8 6 6 6 5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10",
  "13 6 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 8 7 8 13 19 13 14 6",
  "15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 6 7 6 5 5 6 7 7 7 7 7 15 11 14 13 28",
  "20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23 24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24",
  "22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23 21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23",
  "26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25 19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27",
  "20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23 26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26"
].join(" ").split(" ").map(Number)

/** Bytes by their code, which is written as a binary number with a leading 1 so that its zeros count. */
const byCode = (() => {
  const codes = new Map<number, number>()
  let code = 0
  let length = 0
  const bytes = codeLengths.map((_, byte) => byte).sort((a, b) => codeLengths[a]! - codeLengths[b]! || a - b)
  for (const byte of bytes) {
    code = (code + (length === 0 ? 0 : 1)) * 2 ** (codeLengths[byte]! - length)
    length = codeLengths[byte]!
    codes.set(2 ** length + code, byte)
  }
  return codes
})()

const unhuffman = (bytes: Uint8Array): string => {
  let text = ""
  let code = 1
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + (byte >> bit & 1)
      const found = byCode.get(code)
      if (found === undefined) continue
      text += String.fromCharCode(found)
      code = 1
    }
  }
  return text
}

/** An integer with a prefix of `bits` (RFC 7541 section 5.1); `first` holds what stands above them. */
export const integer = (value: number, bits: number, first: number): Buffer => {
  const most = 2 ** bits - 1
  if (value < most) return Buffer.from([first | value])
  const bytes = [first | most]
  for (value -= most; value >= 128; value = Math.floor(value / 128)) bytes.push(value % 128 | 128)
  return Buffer.from([...bytes, value])
}

const text = (value: string): Buffer => Buffer.concat([integer(value.length, 7, 0), Buffer.from(value, "latin1")])

/** A literal without indexing and without Huffman, whatever it holds: tests send what a client may not. */
export const literal = (name: string, value: string): Buffer =>
  Buffer.concat([Buffer.from([0]), text(name), text(value)])

/** A header block of literals. */
export const encode = (fields: Fields): Buffer => Buffer.concat(fields.map(([name, value]) => literal(name, value)))

/** A literal that enters the dynamic table, whose first entry it becomes. */
export const indexed = (name: string, value: string): Buffer =>
  Buffer.concat([Buffer.from([0x40]), text(name), text(value)])

/** A field that a table holds. The dynamic table begins at 62. */
export const reference = (index: number): Buffer => integer(index, 7, 0x80)

/** Reads header blocks. One for each direction of a connection: blocks depend on those before. */
export class Decoder {
  private readonly dynamic: Array<readonly [string, string]> = []
  private at = 0
  private block: Buffer = Buffer.alloc(0)

  decode(block: Buffer): Array<readonly [name: string, value: string]> {
    const fields: Array<readonly [string, string]> = []
    this.block = block
    this.at = 0
    while (this.at < block.length) {
      const first = block[this.at]!
      if (first & 0x80) {
        fields.push(this.entry(this.integer(7)))
      } else if ((first & 0xe0) === 0x20) {
        // The size of the table: nothing here grows so far that it would evict.
        this.integer(5)
      } else {
        const isIndexed = (first & 0x40) !== 0
        const index = this.integer(isIndexed ? 6 : 4)
        const name = index === 0 ? this.text() : this.entry(index)[0]
        const field = [name, this.text()] as const
        if (isIndexed) this.dynamic.unshift(field)
        fields.push(field)
      }
    }
    return fields
  }

  private entry(index: number): readonly [string, string] {
    const entry = staticTable[index - 1] ?? this.dynamic[index - 1 - staticTable.length]
    if (entry === undefined) throw new Error(`No entry ${index} in the tables of HPACK`)
    return entry
  }

  private integer(bits: number): number {
    const most = 2 ** bits - 1
    let value = this.block[this.at++]! & most
    if (value < most) return value
    for (let factor = 1;; factor *= 128) {
      const byte = this.block[this.at++]!
      value += (byte & 127) * factor
      if (byte < 128) return value
    }
  }

  private text(): string {
    const isHuffman = (this.block[this.at]! & 0x80) !== 0
    const length = this.integer(7)
    const bytes = this.block.subarray(this.at, this.at += length)
    return isHuffman ? unhuffman(bytes) : bytes.toString("latin1")
  }
}
