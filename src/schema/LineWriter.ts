/**
 * Lines as bytes in one growing array, written character by character. For logs, where a line is made of a dozen short
 * strings: written so, the combined format costs half of what joining the strings and encoding the result does.
 *
 * Escapes what could forge a line or a field; knows nothing of formats.
 */

const quote = 0x22
const backslash = 0x5c

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export class LineWriter {
  /** Grows when it is full. Parts handed out before stay valid. */
  bytes: Uint8Array
  /** How much of `bytes` is written. */
  length = 0

  constructor(capacity: number) {
    this.bytes = new Uint8Array(capacity)
  }

  /** What is written from `start` on, as text. */
  textFrom(start: number): string {
    return decoder.decode(this.bytes.subarray(start, this.length))
  }

  private reserve(count: number): void {
    if (this.bytes.length - this.length >= count) return
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + count))
    grown.set(this.bytes.subarray(0, this.length))
    this.bytes = grown
  }

  /** Text that is known to be ASCII and to need no escape. */
  ascii(text: string): void {
    const count = text.length
    this.reserve(count)
    const bytes = this.bytes
    let at = this.length
    for (let index = 0; index < count; index++) bytes[at++] = text.charCodeAt(index)
    this.length = at
  }

  /** Any text, as UTF-8 and without escapes. */
  utf8(text: string): void {
    this.reserve(text.length * 3)
    this.length += encoder.encodeInto(text, this.bytes.subarray(this.length)).written
  }

  /** Text from outside for a place without quotes: escaped to printable ASCII, spaces too. */
  bare(text: string): void {
    this.escaped(text, 0x21)
  }

  /** Text from outside for a place between double quotes: escaped to printable ASCII. */
  quoted(text: string): void {
    this.escaped(text, 0x20)
  }

  private escaped(text: string, lowest: number): void {
    const count = text.length
    this.reserve(count)
    const bytes = this.bytes
    let at = this.length
    for (let index = 0; index < count; index++) {
      const code = text.charCodeAt(index)
      if (code < lowest || code > 0x7e || code === quote || code === backslash) {
        this.length = at
        return this.ascii(escape(text, index, lowest))
      }
      bytes[at++] = code
    }
    this.length = at
  }
}

/** True when every character is printable ASCII, without `"` and `\`. */
export const isPlain = (text: string): boolean => {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code < 0x20 || code > 0x7e || code === quote || code === backslash) return false
  }
  return true
}

const hex = (code: number, digits: number): string => code.toString(16).padStart(digits, "0")

/** The text from `start` on; what is below `lowest` or above ASCII as `\xHH` or `\uHHHH`, `"` and `\` behind a `\`. */
const escape = (text: string, start: number, lowest: number): string => {
  let escaped = ""
  for (let index = start; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code === quote || code === backslash) escaped += "\\" + text[index]
    else if (code >= lowest && code <= 0x7e) escaped += text[index]
    else escaped += code <= 0xff ? "\\x" + hex(code, 2) : "\\u" + hex(code, 4)
  }
  return escaped
}
