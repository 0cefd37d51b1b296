import { assert, describe, it } from "@effect/vitest"
import { Duplex } from "node:stream"
import type { ServerCore } from "../../../layers/internal/ServerCore.ts"
import { negotiate } from "../../../layers/internal/WebSocketDeflate.ts"
import { type SessionOwner, WebSocketSession } from "../../../layers/internal/WebSocketSession.ts"
import { fromSettings } from "../../../layers/internal/WireSettings.ts"
import { BINARY } from "../../../src/protocol/WebSocketFrame.ts"
import { resolve } from "../../../src/schema/Settings.ts"
import { close, deflated, frame } from "../../utils/webSocket.ts"

/** A stream whose writes are taken when the test says so. */
class Stalling extends Duplex {
  readonly taken: Array<number> = []
  _handle = { writeQueueSize: 0 }
  private done: (() => void) | undefined = undefined
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this._handle.writeQueueSize = chunk.length
    this.done = () => {
      this.taken.push(chunk.length)
      done()
    }
  }
  takeOne(): void {
    this._handle.writeQueueSize = 0
    const done = this.done
    this.done = undefined
    done?.()
  }
}

/** A session on such a stream, its time in seconds, and what it tells its owner. */
const stalling = (options: { readonly stopping?: boolean; readonly compresses?: boolean } = {}) => {
  let now = 0
  const told: Array<string> = []
  const onMessage: Array<() => void> = []
  const owner: SessionOwner = {
    message: (data) => {
      told.push(`message ${data.length}`)
      for (const act of onMessage) act()
    },
    peerClosed: (code) => told.push(`peerClosed ${code}`),
    faulted: ({ code }) => told.push(`faulted ${code}`),
    peerEnded: () => told.push("peerEnded"),
    pingUnanswered: () => told.push("pingUnanswered"),
    drained() {}
  }
  const resolved = resolve({ wsCloseTimeout: "4 seconds", wsCompression: true, wsMaxMessageBytes: 10_000_000 })
  if (resolved._tag === "Failure") throw resolved.failure
  const settings = fromSettings(resolved.success)
  const core = {
    settings,
    metrics: { bytesOut: 0 },
    stopping: options.stopping === true,
    time: { now: () => now },
    sweepEvery() {},
    flushSoon: (session: WebSocketSession) => session.flush()
  }
  const stream = new Stalling()
  const deflate = options.compresses === true ? negotiate("permessage-deflate", settings)!.deflate : undefined
  const session = new WebSocketSession(core as unknown as ServerCore, owner, stream, deflate)
  const wait = (seconds: number) => {
    for (let n = 0; n < seconds; n++) session.sweep(now += 1000)
    return stream.destroyed
  }
  const jump = (seconds: number) => session.sweep(now += seconds * 1000)
  return { session, stream, wait, jump, told, onMessage }
}

describe("WebSocketSession", () => {
  it("waits for the answer to its Close frame from when the peer has stopped taking what stands before it", () => {
    const { session, stream, wait } = stalling()
    for (let n = 0; n < 3; n++) session.send(BINARY, new Uint8Array(20_000), 20_000)
    session.close(1000, "")
    for (let n = 0; n < 3; n++) {
      assert.isFalse(wait(3), `${n}`)
      stream.takeOne()
    }
    assert.isAbove(stream.taken.length, 1)
    assert.isFalse(wait(4))
    assert.isTrue(wait(1))
  })

  it("sees a large write that is taken in parts", () => {
    const { session, stream, wait } = stalling()
    session.send(BINARY, new Uint8Array(1_000_000), 1_000_000)
    session.close(1000, "")
    for (let n = 0; n < 4; n++) {
      assert.isFalse(wait(3), `${n}`)
      stream._handle.writeQueueSize -= 100_000
    }
    assert.deepStrictEqual(stream.taken, [])
    assert.isFalse(wait(4))
    assert.isTrue(wait(1))
  })

  it("does not wait longer for such a peer when the server stops", () => {
    const { session, stream, wait } = stalling({ stopping: true })
    for (let n = 0; n < 3; n++) session.send(BINARY, new Uint8Array(20_000), 20_000)
    session.close(1001, "")
    assert.isFalse(wait(3))
    stream.takeOne()
    assert.isTrue(wait(1))
  })

  it("waits two seconds for the end of the connection after both Close frames", () => {
    const { session, stream, wait } = stalling()
    session.received(close(1000))
    stream.takeOne()
    assert.isFalse(wait(1))
    assert.isTrue(wait(1))
  })

  it("does not make up for pings that a late sweep has missed", () => {
    const { session, stream, jump } = stalling()
    const pings = () => {
      stream.takeOne()
      return stream.taken.splice(0).length
    }
    session.keepAlive(10_000, 0)
    jump(65)
    assert.strictEqual(pings(), 1)
    jump(1)
    jump(8)
    assert.strictEqual(pings(), 0)
    jump(1)
    assert.strictEqual(pings(), 1)
  })

  it("sends nothing after its Close frame, and nothing once it was destroyed", () => {
    const { session, stream } = stalling()
    session.close(1000, "")
    session.send(BINARY, new Uint8Array(5000), 5000)
    session.close(1001, "")
    stream.takeOne()
    assert.deepStrictEqual(stream.taken, [4])
    session.destroy()
    session.send(BINARY, new Uint8Array(5000), 5000)
    session.received(close(1000))
    assert.isFalse(session.closeReceived)
  })

  for (const [what, bytes] of [["a Close frame", close(1000)], ["a fault", frame(3)]] as const) {
    it(`tells of ${what} behind a message that is being inflated, unless it was destroyed by then`, async () => {
      const large = frame(2, deflated(new Uint8Array(5_000_000)), { rsv: 4 })
      const alive = stalling({ compresses: true })
      const destroyed = stalling({ compresses: true })
      for (const { session } of [alive, destroyed]) session.received(Buffer.concat([large, bytes]))
      destroyed.session.destroy()
      while (alive.told.length < 2) await new Promise((resolve) => setImmediate(resolve))
      // The other one's inflation has had the same time, and some more.
      for (let n = 0; n < 100; n++) await new Promise((resolve) => setImmediate(resolve))
      assert.deepStrictEqual(alive.told, ["message 5000000", what === "a fault" ? "faulted 1002" : "peerClosed 1000"])
      assert.deepStrictEqual(destroyed.told.slice(1), [])
      alive.session.closed()
      destroyed.session.closed()
    })
  }

  it("tells of the end of the peer's side once everything before it is inflated", async () => {
    const { session, told } = stalling({ compresses: true })
    session.received(frame(2, deflated(new Uint8Array(5_000_000)), { rsv: 4 }))
    session.ended()
    assert.deepStrictEqual(told, [])
    while (told.length < 2) await new Promise((resolve) => setImmediate(resolve))
    assert.deepStrictEqual(told, ["message 5000000", "peerEnded"])
    session.closed()
  })

  it("reads no faster than it inflates, behind its own Close frame too", async () => {
    const { session, stream, told } = stalling({ compresses: true })
    session.close(1000, "")
    stream.resume()
    const large = frame(2, deflated(new Uint8Array(10_000_000)), { rsv: 4 })
    session.received(Buffer.concat(Array.from({ length: 10 }, () => large)))
    assert.isTrue(stream.isPaused())
    while (told.length < 10) await new Promise((resolve) => setImmediate(resolve))
    await new Promise((resolve) => setImmediate(resolve))
    assert.isFalse(stream.isPaused())
    session.closed()
  })

  it("reads on behind its own Close frame what it was held back from", async () => {
    const { onMessage, session, told } = stalling()
    onMessage.push(() => session.holdBack(true, true))
    const messages = ["one", "two", "three"].map((words) => frame(1, words))
    session.received(Buffer.concat([...messages, close(1000)]))
    assert.deepStrictEqual(told, ["message 3"])
    session.close(1000, "")
    // Whoever closes may still have to say why.
    assert.deepStrictEqual(told, ["message 3"])
    await Promise.resolve()
    assert.deepStrictEqual(told, ["message 3", "message 3", "message 5", "peerClosed 1000"])
  })

  it("goes on reading after a fault in what filled the reader", async () => {
    const { session, stream, told } = stalling({ compresses: true })
    session.received(frame(2, new Uint8Array(100_000).fill(0xff), { rsv: 4 }))
    assert.isTrue(stream.isPaused())
    while (told.length === 0) await new Promise((resolve) => setImmediate(resolve))
    session.drained()
    assert.deepStrictEqual([told, stream.isPaused()], [["faulted 1007"], false])
    session.closed()
  })

  it("goes on reading, and throws away, once the closing handshake is over", () => {
    const { session, stream, told } = stalling()
    session.received(Buffer.concat([close(1000), frame(1, "x".repeat(100_000))]))
    assert.isFalse(stream.isPaused())
    session.received(frame(1, "more"))
    assert.deepStrictEqual(told, ["peerClosed 1000"])
  })
})
