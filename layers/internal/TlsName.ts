/**
 * The subject of a certificate as RFC 4514 writes it: `CN=Ada,OU=Engines+L=London,O=Example`. Node's own text of a name
 * has another order and loses the encoding of what it does not know, so this reads the certificate's DER.
 *
 * Reads certificates that OpenSSL has accepted; what it cannot read has no name. Checks nothing else.
 */
import { isUtf8 } from "node:buffer"

/**
 * Names of attribute types. RFC 4514 section 3 lists the first nine; the rest are RFC 4519's. `emailAddress` is in
 * neither, but OpenSSL, nginx and Apache write it so, and a rule about an address should not need its hexadecimal form.
 */
const descriptors: { readonly [oid: string]: string } = {
  "2.5.4.3": "CN",
  "2.5.4.7": "L",
  "2.5.4.8": "ST",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
  "2.5.4.6": "C",
  "2.5.4.9": "STREET",
  "0.9.2342.19200300.100.1.25": "DC",
  "0.9.2342.19200300.100.1.1": "UID",
  "2.5.4.4": "sn",
  "2.5.4.5": "serialNumber",
  "2.5.4.12": "title",
  "2.5.4.13": "description",
  "2.5.4.15": "businessCategory",
  "2.5.4.17": "postalCode",
  "2.5.4.41": "name",
  "2.5.4.42": "givenName",
  "2.5.4.43": "initials",
  "2.5.4.44": "generationQualifier",
  "2.5.4.46": "dnQualifier",
  "1.2.840.113549.1.9.1": "emailAddress"
}

interface Element {
  readonly tag: number
  readonly content: Buffer
  /** With tag and length. */
  readonly whole: Buffer
}

/** The DER elements that stand one after the other in `bytes`. Throws for what is cut short. */
const elementsOf = (bytes: Buffer): Array<Element> => {
  const elements: Array<Element> = []
  let at = 0
  while (at < bytes.length) {
    const first = bytes.readUInt8(at + 1)
    const lengthBytes = first < 0x80 ? 0 : first & 0x7f
    const start = at + 2 + lengthBytes
    const end = start + (lengthBytes === 0 ? first : bytes.readUIntBE(at + 2, lengthBytes))
    if (end > bytes.length) throw new RangeError("cut short")
    elements.push({ tag: bytes[at]!, content: bytes.subarray(start, end), whole: bytes.subarray(at, end) })
    at = end
  }
  return elements
}

const oidOf = (content: Buffer): string => {
  const arcs: Array<number> = []
  let arc = 0
  for (const byte of content) {
    arc = arc * 128 + (byte & 0x7f)
    if (byte < 0x80) {
      if (arcs.length === 0) arcs.push(Math.min(2, Math.floor(arc / 40)), arc - 40 * Math.min(2, Math.floor(arc / 40)))
      else arcs.push(arc)
      arc = 0
    }
  }
  return arcs.join(".")
}

const latin1 = (bytes: Buffer) => bytes.toString("latin1")
const utf8 = (bytes: Buffer) => {
  if (!isUtf8(bytes)) throw new RangeError("not UTF-8")
  return bytes.toString("utf8")
}
const utf16 = (bytes: Buffer) => Buffer.from(bytes).swap16().toString("utf16le")

/** String types of ASN.1 by their tags: UTF8, Numeric, Printable, Teletex, IA5, Visible, BMP. */
const decoders: { readonly [tag: number]: (bytes: Buffer) => string } = {
  0x0c: utf8,
  0x12: latin1,
  0x13: latin1,
  0x14: latin1,
  0x16: latin1,
  0x1a: latin1,
  0x1e: utf16
}

const hex = (bytes: Buffer): string => `#${bytes.toString("hex")}`

// RFC 4514 section 2.4. It lets control characters stand; a name ends up in logs and headers, so they do not here.
const escape = (value: string): string =>
  value.replace(/["+,;<>\\]|^[ #]| $/g, "\\$&")
    // oxlint-disable-next-line no-control-regex
    .replace(/[\0-\x1f\x7f]/g, (control) => `\\${control.charCodeAt(0).toString(16).padStart(2, "0")}`)

/** RFC 4514 section 2.4: without a descriptor, or without a string, the value is its encoding in hexadecimal. */
const attributeText = ({ content }: Element): string => {
  const [type, value] = elementsOf(content) as [Element, Element]
  const oid = oidOf(type.content)
  const name = descriptors[oid]
  const decode = decoders[value.tag]
  if (name === undefined || decode === undefined) return `${name ?? oid}=${hex(value.whole)}`
  try {
    return `${name}=${escape(decode(value.content))}`
  } catch {
    return `${name}=${hex(value.whole)}`
  }
}

/**
 * The subject of a certificate in DER, empty when it has none.
 *
 * **Returns** `null` for bytes that are not a certificate.
 * **Source** RFC 4514 section 2.1: the last relative name comes first; RFC 5280 section 4.1 for where the subject is.
 */
export const subjectName = (der: Buffer): string | null => {
  try {
    const fields = elementsOf(elementsOf(elementsOf(der)[0]!.content)[0]!.content)
    const hasVersion = fields[0]!.tag === 0xa0
    const subject = fields[hasVersion ? 5 : 4]!
    return elementsOf(subject.content)
      .map((relative) => elementsOf(relative.content).map(attributeText).join("+"))
      .reverse()
      .join(",")
  } catch {
    return null
  }
}
