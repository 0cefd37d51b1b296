/**
 * The stream that carries a WebSocket over HTTP/2 (RFC 8441), as its session wants it: like a socket. Owns what the
 * session writes until nghttp2 has taken it, with the watermarks of the settings; reading is only steered here.
 */
import type * as Http2 from "node:http2"
import { constants } from "node:http2"
import { Writable } from "node:stream"

type Done = (error?: Error | null) => void

interface Write {
  readonly chunk: string | Buffer
  readonly encoding: BufferEncoding
}

export class Http2Tunnel extends Writable {
  /** Bytes that nghttp2 has taken so far. */
  takenBytes = 0

  private readonly stream: Http2.ServerHttp2Stream
  private readonly close: (code: number) => void
  private readonly sliceBytes: number

  /** `close` resets the stream; `sliceBytes` are given to nghttp2 at once. */
  constructor(
    stream: Http2.ServerHttp2Stream,
    close: (code: number) => void,
    highWaterMark: number,
    sliceBytes: number
  ) {
    super({ highWaterMark, decodeStrings: false, autoDestroy: false })
    this.stream = stream
    this.close = close
    this.sliceBytes = sliceBytes
    this.on("error", () => {})
  }

  pause(): this {
    this.stream.pause()
    return this
  }

  resume(): this {
    this.stream.resume()
    return this
  }

  override _write(chunk: Write["chunk"], encoding: BufferEncoding, done: Done): void {
    this.give([{ chunk, encoding }], done)
  }

  override _writev(writes: Array<Write>, done: Done): void {
    this.give(writes, done)
  }

  /** One slice now, the next when it is taken. What is small goes together. */
  private give(writes: Array<Write>, done: Done): void {
    const { sliceBytes, stream } = this
    let room = sliceBytes
    const taken = (error?: Error | null): void => {
      this.takenBytes += sliceBytes - room
      if (error || writes.length === 0) done(error ?? null)
      else this.give(writes, done)
    }
    stream.cork()
    while (writes.length > 0 && room > 0) {
      const { chunk, encoding } = writes[0]!
      const slice = chunk.slice(0, room)
      room -= slice.length
      if (slice.length === chunk.length) writes.shift()
      else writes[0] = { chunk: chunk.slice(slice.length), encoding }
      stream.write(slice, encoding, writes.length === 0 || room === 0 ? taken : undefined)
    }
    stream.uncork()
  }

  /** RFC 8441 section 5: the end of the stream is what the orderly end of a connection is for TCP, ... */
  override _final(done: Done): void {
    this.stream.end(done)
  }

  /** ... and a reset with CANCEL what a reset is. */
  override _destroy(error: Error | null, done: Done): void {
    this.close(this.writableFinished ? constants.NGHTTP2_NO_ERROR : constants.NGHTTP2_CANCEL)
    done(error)
  }
}
