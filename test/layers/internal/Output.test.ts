import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Net from "node:net"
import { Duplex } from "node:stream"
import { Output } from "../../../layers/internal/Output.ts"
import type { ServerMetrics } from "../../../layers/internal/ServerMetrics.ts"

const metrics = () => ({ bytesOut: 0 }) as ServerMetrics

/** A stream that keeps what is written to it, each write by itself. */
const recorder = () => {
  const writes: Array<string> = []
  const stream = new Duplex({
    read: () => {},
    writev: (chunks, done) => {
      writes.push(Buffer.concat(chunks.map(({ chunk }) => chunk)).toString("latin1"))
      done()
    }
  })
  return { output: new Output(stream, metrics()), stream, writes }
}

const pieceOf = (size: number, seed: number): Buffer => Buffer.alloc(size, `${seed}.`)

/** Both ends of a real connection. */
const connection = Effect.acquireRelease(
  Effect.callback<{ readonly server: Net.Socket; readonly client: Net.Socket; readonly close: () => void }>(
    (resume) => {
      const listener = Net.createServer((server) =>
        resume(Effect.succeed({ server, client, close: () => [server, client].forEach((end) => end.destroy()) }))
      )
      let client: Net.Socket
      listener.listen(0, "127.0.0.1", () => {
        client = Net.connect((listener.address() as Net.AddressInfo).port, "127.0.0.1", () => listener.close())
      })
    }
  ),
  ({ close }) => Effect.sync(close)
)

describe("Output", () => {
  it("gathers text and small pieces until it is flushed", () => {
    const { output, writes } = recorder()
    output.write("head;")
    output.writePiece("5|", Buffer.from("small"), ";")
    output.writePiece("4|", "text", ";")
    assert.isTrue(output.holdsBack)
    assert.strictEqual(output.bufferedAmount, "head;5|small;4|text;".length)
    assert.deepStrictEqual(writes, [])
    output.flush()
    assert.isFalse(output.holdsBack)
    assert.deepStrictEqual(writes, ["head;5|small;4|text;"])
  })

  it("writes a middling piece with what goes before and behind it", () => {
    const { output, writes } = recorder()
    const piece = pieceOf(10_000, 1)
    output.write("head;")
    output.writePiece("<", piece, ">")
    output.flush()
    assert.deepStrictEqual(writes, [`head;<${piece.toString("latin1")}>`])
  })

  it("writes the large pieces of a batch together, in order with the text between them", () => {
    const { output, writes } = recorder()
    const [one, two] = [pieceOf(20_000, 1), pieceOf(30_000, 2)]
    output.write("head;")
    output.writePiece("<", one, ">")
    output.write("between;")
    output.writePiece("<", two, ">")
    output.write("end")
    assert.deepStrictEqual(writes, [])
    output.flush()
    assert.deepStrictEqual(writes, [`head;<${one.toString("latin1")}>between;<${two.toString("latin1")}>end`])
  })

  it("writes nothing to a stream that is destroyed", () => {
    const { output, stream, writes } = recorder()
    stream.destroy()
    output.write("late")
    output.writePiece("", pieceOf(10_000, 1), "")
    output.writePiece("", pieceOf(20_000, 1), "")
    output.flush()
    assert.deepStrictEqual(writes, [])
  })

  it.live("never changes what a slow client has not taken yet", () =>
    Effect.gen(function*() {
      const slow = yield* connection
      const other = yield* connection
      slow.client.pause()
      other.client.resume()
      const toSlow = new Output(slow.server, metrics())
      const toOther = new Output(other.server, metrics())
      const expected: Array<Buffer> = []
      for (let seed = 0; seed < 2000 && slow.server.writableLength === 0; seed++) {
        expected.push(pieceOf(10_000, seed))
        toSlow.writePiece("", pieceOf(10_000, seed), "")
      }
      toOther.writePiece("", pieceOf(11_000, 5000), "")
      expected.push(pieceOf(10_000, 6000))
      toSlow.writePiece("", pieceOf(10_000, 6000), "")
      assert.isAbove(slow.server.writableLength, 0, "the client has taken everything already")
      slow.server.end()
      const received = yield* Effect.callback<Buffer>((resume) => {
        const chunks: Array<Buffer> = []
        slow.client.on("data", (chunk: Buffer) => chunks.push(chunk))
        slow.client.on("end", () => resume(Effect.succeed(Buffer.concat(chunks))))
        slow.client.resume()
      })
      assert.isTrue(received.equals(Buffer.concat(expected)))
    }))
})
