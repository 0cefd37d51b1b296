/**
 * Reads the host name out of the first message of a TLS client, so that a handshake can begin with the right
 * certificate. Node's own SNICallback adds the certificate it is given to the default one instead of replacing it, so
 * that with an RSA and an ECDSA certificate clients get the wrong one (https://github.com/nodejs/node/issues/54235).
 *
 * Decides nothing else: what is malformed has no name, and OpenSSL refuses it.
 */

/** What TLS records of handshake messages start with (RFC 8446 section 5.1, ContentType). */
export const handshakeRecord = 0x16

const clientHello = 1
const serverNameExtension = 0
const hostName = 0

/** More than a client needs; browsers send up to 2 KiB. A longer message gets the default certificate. */
const maxBytes = 18_432

/** Walks through fields that have their length before them. Reads zeros and nothing behind the end. */
class Fields {
  private readonly bytes: Buffer
  private at = 0
  constructor(bytes: Buffer) {
    this.bytes = bytes
  }
  get hasMore(): boolean {
    return this.at < this.bytes.length
  }
  skip(count: number): void {
    this.at += count
  }
  number(size: 1 | 2): number {
    const { at, bytes } = this
    this.at += size
    return at + size > bytes.length ? 0 : bytes.readUIntBE(at, size)
  }
  vector(lengthSize: 1 | 2): Buffer {
    const length = this.number(lengthSize)
    const start = this.at
    this.at += length
    return this.bytes.subarray(start, this.at)
  }
}

/** RFC 8446 section 4.1.2 and RFC 6066 section 3. */
const nameIn = (message: Buffer): string => {
  const hello = new Fields(message)
  const versionAndRandom = 2 + 32
  hello.skip(versionAndRandom)
  hello.vector(1) // session id
  hello.vector(2) // cipher suites
  hello.vector(1) // compression methods
  const extensions = new Fields(hello.vector(2))
  while (extensions.hasMore) {
    const type = extensions.number(2)
    const content = extensions.vector(2)
    if (type !== serverNameExtension) continue
    const names = new Fields(new Fields(content).vector(2))
    while (names.hasMore) {
      const kind = names.number(1)
      const name = names.vector(2)
      if (kind === hostName) return name.toString("latin1")
    }
  }
  return ""
}

/**
 * Reads the name that a client asks for from the first bytes it sent.
 *
 * **Returns** the name, empty when there is none; or the number of bytes from the start that must have arrived before
 * it is worth asking again.
 */
export const readServerName = (bytes: Buffer): string | number => {
  const fragments: Array<Buffer> = []
  let at = 0
  let length = 0
  let needed = 4
  while (length < needed) {
    if (at + 5 > maxBytes) return ""
    if (at + 5 > bytes.length) return at + 5
    const end = at + 5 + bytes.readUInt16BE(at + 3)
    if (bytes[at] !== handshakeRecord || end > maxBytes) return ""
    if (end > bytes.length) return end
    fragments.push(bytes.subarray(at + 5, end))
    length += end - at - 5
    at = end
    if (needed === 4 && length >= 4) {
      const head = Buffer.concat(fragments)
      if (head[0] !== clientHello) return ""
      needed = 4 + head.readUIntBE(1, 3)
    }
  }
  return nameIn(Buffer.concat(fragments).subarray(4, needed))
}
