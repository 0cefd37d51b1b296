/**
 * Reads a chunked body (RFC 9112 section 7.1) from bytes. Sizes, extensions and line ends are checked to the letter, as
 * soon as they arrive; data is handed out as views of the received bytes. Trailer fields are read like header fields.
 */
import { CR, fieldValue, hex, HTAB, LF, quotedText, SP, token } from "./Grammar.ts"
import type { Limits } from "./Limits.ts"
import { type Malformed, malformed, type Reason } from "./Malformed.ts"

/** Where the reader stands. */
const Step = { Size: 0, Extension: 1, SizeEnd: 2, Data: 3, DataCr: 4, DataLf: 5, Trailers: 6 } as const

/** Where it stands inside `chunk-ext`; BWS may surround each mark. */
const Extension = {
  BeforeMark: 0,
  BeforeName: 1,
  Name: 2,
  AfterName: 3,
  BeforeValue: 4,
  Value: 5,
  Quoted: 6,
  Escape: 7,
  AfterQuoted: 8,
  AfterValue: 9
} as const

export class ChunkedReader {
  readonly limits: Limits
  /** Set when the body was refused. */
  problem: Malformed | undefined = undefined
  /** The data found by the last `read`; empty when it found none. */
  start = 0
  end = 0

  private step: number = Step.Size
  private extension: number = Extension.BeforeMark
  private size = 0
  private sizeDigits = 0
  private extensionBytes = 0
  private bodyBytes = 0

  constructor(limits: Limits) {
    this.limits = limits
  }

  /** Ready for another body. */
  reset(): void {
    this.step = Step.Size
    this.extension = Extension.BeforeMark
    this.size = 0
    this.sizeDigits = 0
    this.extensionBytes = 0
    this.bodyBytes = 0
  }

  /** True when the last chunk was read and the trailer section is next. */
  get atTrailers(): boolean {
    return this.step === Step.Trailers
  }

  private fail(reason: Reason, at: number): number {
    this.problem = malformed[reason]
    return at
  }

  /**
   * Reads until it has found data, the trailer section, a fault, or the end of `bytes`.
   *
   * **Returns** the index of the first byte it has not taken. Data lies between `start` and `end`.
   */
  read(bytes: Uint8Array, from: number): number {
    this.start = this.end = from
    let at = from
    while (at < bytes.length) {
      const code = bytes[at]!
      switch (this.step) {
        case Step.Size: {
          const digit = hex[code]!
          if (digit === 255) {
            if (this.sizeDigits === 0) return this.fail("ChunkSizeInvalid", at)
            this.step = code === CR ? Step.SizeEnd : Step.Extension
            if (code === CR) at++
            break
          }
          at++
          this.sizeDigits++
          // Zeros in front say nothing; they count as extension so that they cannot go on for ever.
          if (this.size === 0 && this.sizeDigits > 1 && this.tooManyExtensionBytes()) {
            return this.fail("ChunkExtensionsTooLarge", at)
          }
          this.size = this.size * 16 + digit
          if (this.bodyBytes + this.size > this.limits.bodyBytes || this.size > Number.MAX_SAFE_INTEGER) {
            return this.fail("BodyTooLarge", at)
          }
          break
        }
        case Step.Extension:
          if (code === CR && this.extensionMayEnd()) {
            this.step = Step.SizeEnd
          } else if (!this.extend(code)) {
            return this.fail(this.extensionProblem(code), at)
          } else if (this.tooManyExtensionBytes()) {
            return this.fail("ChunkExtensionsTooLarge", at)
          }
          at++
          break
        case Step.SizeEnd:
          if (code !== LF) return this.fail("LineEndInvalid", at)
          at++
          this.sizeDigits = 0
          this.extension = Extension.BeforeMark
          if (this.size === 0) {
            this.step = Step.Trailers
            return at
          }
          this.bodyBytes += this.size
          this.step = Step.Data
          break
        case Step.Data: {
          const length = Math.min(this.size, bytes.length - at)
          this.start = at
          this.end = at + length
          this.size -= length
          if (this.size === 0) this.step = Step.DataCr
          return this.end
        }
        case Step.DataCr:
          if (code !== CR) return this.fail("ChunkEndInvalid", at)
          at++
          this.step = Step.DataLf
          break
        case Step.DataLf:
          if (code !== LF) return this.fail("ChunkEndInvalid", at)
          at++
          this.step = Step.Size
          break
        default:
          return at
      }
    }
    return at
  }

  private tooManyExtensionBytes(): boolean {
    return ++this.extensionBytes > this.limits.chunkExtensionBytes
  }

  private extensionMayEnd(): boolean {
    return this.extension === Extension.Name || this.extension === Extension.Value ||
      this.extension === Extension.AfterQuoted
  }

  private extensionProblem(code: number): Reason {
    if (code === LF) return "LineEndInvalid"
    return this.extension === Extension.BeforeMark ? "ChunkSizeInvalid" : "ChunkExtensionInvalid"
  }

  /** `chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`; false when `code` does not fit. */
  private extend(code: number): boolean {
    const isSpace = code === SP || code === HTAB
    const isToken = token[code] === 1
    switch (this.extension) {
      case Extension.BeforeMark:
      case Extension.AfterValue:
        if (code === 0x3b) this.extension = Extension.BeforeName
        return isSpace || code === 0x3b
      case Extension.BeforeName:
        if (isToken) this.extension = Extension.Name
        return isSpace || isToken
      case Extension.Name:
      case Extension.AfterName:
        if (isToken) return this.extension === Extension.Name
        this.extension = code === 0x3b
          ? Extension.BeforeName
          : code === 0x3d
          ? Extension.BeforeValue
          : Extension.AfterName
        return isSpace || code === 0x3b || code === 0x3d
      case Extension.BeforeValue:
        if (isSpace) return true
        this.extension = code === 0x22 ? Extension.Quoted : Extension.Value
        return isToken || code === 0x22
      case Extension.Value:
      case Extension.AfterQuoted:
        if (isToken) return this.extension === Extension.Value
        this.extension = code === 0x3b ? Extension.BeforeName : Extension.AfterValue
        return isSpace || code === 0x3b
      case Extension.Quoted:
        if (code === 0x22) this.extension = Extension.AfterQuoted
        else if (code === 0x5c) this.extension = Extension.Escape
        return code === 0x22 || code === 0x5c || quotedText[code] === 1
      default:
        this.extension = Extension.Quoted
        return fieldValue[code] === 1
    }
  }
}
