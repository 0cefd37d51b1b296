import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Zlib from "node:zlib"
import * as ServerMemory from "../../../layers/ServerMemory.ts"
import type * as App from "../../../src/app/App.ts"
import { until } from "../../utils/sockets.ts"
import * as Ws from "../../utils/webSocket.ts"

const { close, deflated, frame, inflated, noise, ping, serveSockets, text } = Ws

const offer = (parameters = "") => [`sec-websocket-extensions: permessage-deflate${parameters && `; ${parameters}`}`]

/** Every message is compressed, unless `options` say otherwise. */
const compressing = (options: ServerMemory.Options = {}): ServerMemory.Options =>
  Object.assign({ wsCompression: true, wsCompressionThreshold: 0 }, options)

/** Opens a session that offers compression to an echo. */
const compressed = Effect.fnUntraced(function*(
  options: ServerMemory.Options = {},
  handler: (exchange: App.WebSocketExchange) => Effect.Effect<void, unknown> = Ws.echo
) {
  const { connect, server } = yield* serveSockets(handler, compressing(options))
  return { session: yield* Ws.open(connect, { lines: offer("client_max_window_bits") }), connect, server }
})

/** A compressed text message. */
const packed = (payload: string | Uint8Array) => text(deflated(payload), { rsv: 4 })

const waitForEnd = (session: Ws.Session) => Effect.repeat(session.client.isEnded, { until: (isEnded) => isEnded })

describe("WebSocket compression", () => {
  it.effect("compresses and inflates messages both ways, text and bytes [C80]", () =>
    Effect.gen(function*() {
      const { session } = yield* compressed()
      const bytes = Buffer.from(Array.from({ length: 3000 }, (_, n) => (n * n) & 0xff))
      const payloads = ["hello", "", "", "€".repeat(5000), "a", "x".repeat(300_000)]
      yield* session.send(...payloads.map(packed), frame(2, deflated(bytes), { rsv: 4 }))
      const frames = yield* session.next(payloads.length + 1)
      for (const [n, payload] of [...payloads, bytes].entries()) {
        assert.deepInclude(frames[n], { fin: true, rsv1: true, opcode: n < payloads.length ? 1 : 2 })
        assert.isTrue(inflated(frames[n]!.payload).equals(Buffer.from(payload)), `${n}`)
      }
      assert.isBelow(frames[5]!.payload.length, 1000)
    }))

  it.effect("takes compressed fragments, in every cut, with control frames between them [C80] [C77]", () =>
    Effect.gen(function*() {
      const { session } = yield* compressed()
      const payload = deflated("Hello, wörld! Hello, wörld!")
      for (let at = 0; at <= payload.length; at++) {
        yield* session.send(
          frame(1, payload.subarray(0, at), { fin: false, rsv: 4 }),
          ping(`${at}`),
          frame(0, payload.subarray(at))
        )
        const frames = yield* session.next(2)
        assert.strictEqual(Ws.inWords(frames.find(({ opcode }) => opcode === 10)!), `pong ${at}`)
        const message = frames.find(({ opcode }) => opcode === 1)!
        assert.strictEqual(inflated(message.payload).toString(), "Hello, wörld! Hello, wörld!")
      }
    }))

  it.effect("takes plain messages among compressed ones, and a message of several deflate blocks [C80]", () =>
    Effect.gen(function*() {
      const { session } = yield* compressed()
      const blocks = Buffer.concat([deflated("one "), Buffer.from([0, 0, 0xff, 0xff]), deflated("two")])
      yield* session.send(text("plain"), text(blocks, { rsv: 4 }), text("plain again"))
      const frames = yield* session.next(3)
      const found = frames.map(({ payload }) => inflated(payload).toString())
      assert.deepStrictEqual(found, ["plain", "one two", "plain again"])
    }))

  it.effect("sends messages below wsCompressionThreshold as they are [C80]", () =>
    Effect.gen(function*() {
      const { session } = yield* compressed({ wsCompressionThreshold: 1024 })
      yield* session.send(text("x".repeat(1023)), text("€".repeat(341)), text("x".repeat(1024)), text("€".repeat(342)))
      const frames = yield* session.next(4)
      assert.deepStrictEqual(frames.map(({ rsv1 }) => rsv1), [false, false, true, true])
      assert.strictEqual(frames[1]!.payload.toString(), "€".repeat(341))
      assert.strictEqual(inflated(frames[3]!.payload).toString(), "€".repeat(342))
    }))

  it.effect("remembers earlier messages with wsCompressionContext only [C80]", () =>
    Effect.gen(function*() {
      const message = Array.from({ length: 200 }, (_, n) => `${n * 7919 % 1000}`).join(" ")
      const lengths = Effect.fnUntraced(function*(context: boolean) {
        const { session } = yield* compressed({ wsCompressionContext: context })
        yield* session.send(packed(message), packed(message), packed(message))
        const frames = yield* session.next(3)
        for (const [n, { payload }] of frames.entries()) {
          const before = context ? frames.slice(0, n).map((earlier) => earlier.payload) : []
          assert.strictEqual(inflated(payload, before).toString(), message)
        }
        return frames.map(({ payload }) => payload.length)
      })
      const [first, second, third] = yield* lengths(false)
      assert.deepStrictEqual([second, third], [first, first])
      const [one, two] = yield* lengths(true)
      assert.strictEqual(one, first)
      assert.isBelow(two!, one! / 10)
    }))

  it.effect("inflates what refers to the client's earlier messages, with context [C80]", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const { session } = yield* compressed({ wsCompressionContext: true }, (exchange) =>
        Effect.asVoid(
          Ws.accepting((event) => {
            if (event.type === "websocket.receive") seen.push(event.text!)
            return exchange.send({ type: "websocket.send", text: "next" })
          })(exchange)
        ))
      yield* session.send(packed("a phrase to remember"))
      yield* session.next(1)
      const options = {
        finishFlush: Zlib.constants.Z_SYNC_FLUSH,
        dictionary: Buffer.from("a phrase to remember")
      }
      const payload = Zlib.deflateRawSync("to remember a phrase to remember", options).subarray(0, -4)
      assert.throws(() => inflated(payload))
      yield* session.send(text(payload, { rsv: 4 }))
      yield* session.next(1)
      assert.deepStrictEqual(seen, ["a phrase to remember", "to remember a phrase to remember"])
    }))

  it.effect("keeps to a window that the client has asked for [C80]", () =>
    Effect.gen(function*() {
      const { connect } = yield* serveSockets(Ws.echo, compressing())
      const session = yield* Ws.open(connect, { lines: offer("server_max_window_bits=9; client_max_window_bits=9") })
      // The second half repeats what is 2,000 bytes away: out of reach for a window of 512.
      const half = Array.from({ length: 2000 }, (_, n) => String.fromCharCode(33 + (n * n * 31 + n * 17) % 90)).join("")
      yield* session.send(text(deflated(half + half, 9), { rsv: 4 }))
      const [echo] = yield* session.next(1)
      assert.strictEqual(inflated(echo!.payload, [], 9).toString(), half + half)
    }))

  it.effect("keeps the order of compressed and plain messages, and of the Close frame behind them [C80]", () =>
    Effect.gen(function*() {
      // All of it is on its way to the compressor when the Close frame comes.
      const large = "x".repeat(5_000)
      const { session } = yield* compressed(
        { wsCompressionThreshold: 100 },
        ({ receive, send }) =>
          Effect.gen(function*() {
            yield* send({ type: "websocket.accept" })
            yield* receive
            yield* receive
            for (let n = 0; n < 5; n++) {
              yield* send({ type: "websocket.send", text: `${n}${large}` })
              yield* send({ type: "websocket.send", text: `${n}` })
              yield* send({ type: "websocket.send", bytes: new Uint8Array([n]) })
            }
            yield* send({ type: "websocket.close", code: 4000, reason: "end" })
          })
      )
      yield* session.send(text("go"))
      const frames = yield* session.next(16)
      const found = frames.map((one) => one.rsv1 ? inflated(one.payload).toString().slice(0, 2) : Ws.inWords(one))
      assert.deepStrictEqual(found, [
        ...Array.from({ length: 5 }, (_, n) => [`${n}x`, `text ${n}`, `binary 0${n}`]).flat(),
        "close 4000 end"
      ])
      yield* session.send(close(4000))
      yield* waitForEnd(session)
    }))

  it.effect("keeps the order of messages that a waiting application goes on to send", () =>
    Effect.gen(function*() {
      const { session } = yield* compressed(
        {
          wsCompressionThreshold: 1000,
          writeHighWaterMark: 40_000,
          writeLowWaterMark: 10_000,
          networkBufferBytes: 100
        },
        ({ send }) =>
          Effect.gen(function*() {
            yield* send({ type: "websocket.accept" })
            for (let n = 0; n < 30; n++) {
              yield* send({ type: "websocket.send", text: `${n}` })
              yield* send({ type: "websocket.send", bytes: noise(30_000, n) })
            }
          })
      )
      const frames = yield* session.next(61)
      for (let n = 0; n < 30; n++) {
        assert.strictEqual(Ws.inWords(frames[2 * n]!), `text ${n}`)
        assert.isTrue(inflated(frames[2 * n + 1]!.payload).equals(noise(30_000, n)), `${n}`)
      }
      assert.strictEqual(Ws.inWords(frames[60]!), "close 1000")
    }))

  it.effect("keeps the order of what several fibers send, some of whom go on while others' messages wait", () =>
    Effect.gen(function*() {
      const { app, exchanges } = Ws.recording()
      const { session } = yield* compressed({ writeHighWaterMark: 40_000, writeLowWaterMark: 10_000 }, app)
      const { send } = exchanges[0]!
      const sendText = (words: string) => send({ type: "websocket.send", text: words })
      yield* Effect.forkChild(
        Effect.andThen(send({ type: "websocket.send", bytes: new Uint8Array(50_000) }), sendText("later 0")),
        { startImmediately: true }
      )
      for (const n of [1, 2, 3]) {
        yield* Effect.forkChild(Effect.andThen(sendText(`${n}`), sendText(`later ${n}`)), { startImmediately: true })
      }
      const [first, ...others] = (yield* session.next(8)).map(({ payload }) => inflated(payload))
      assert.strictEqual(first!.length, 50_000)
      assert.deepStrictEqual(others.slice(0, 3).map(String), ["1", "2", "3"])
      assert.sameMembers(others.slice(3).map(String), ["later 0", "later 1", "later 2", "later 3"])
    }))

  it.effect("does not take the client's reading for the end of what is being compressed", () =>
    Effect.gen(function*() {
      const { app, exchanges } = Ws.recording()
      const { session } = yield* compressed(
        {
          wsCompressionThreshold: 60_000,
          writeHighWaterMark: 40_000,
          writeLowWaterMark: 10_000,
          networkBufferBytes: 1
        },
        app
      )
      const { send, transport } = exchanges[0]!
      const amounts: Array<number> = []
      yield* session.client.pause
      for (const size of [50_000, 500_000]) {
        const sending = send({ type: "websocket.send", bytes: noise(size) })
        yield* Effect.forkChild(Effect.map(sending, () => amounts.push(transport.bufferedAmount)), {
          startImmediately: true
        })
      }
      yield* session.client.resume
      yield* session.next(2)
      yield* until(() => amounts.length === 2)
      for (const amount of amounts) assert.isAtMost(amount, 10_000)
    }))

  it.effect("answers a Close frame behind the echo that is still being compressed", () =>
    Effect.gen(function*() {
      const { session } = yield* compressed()
      yield* session.send(packed("x".repeat(50_000)), text("plain"), close(3000))
      const frames = yield* session.next(3)
      assert.strictEqual(inflated(frames[0]!.payload).length, 50_000)
      assert.strictEqual(inflated(frames[1]!.payload).toString(), "plain")
      assert.strictEqual(Ws.inWords(frames[2]!), "close 3000")
      yield* waitForEnd(session)
    }))

  it.effect("makes send wait for what is being compressed, and for what the client does not take", () =>
    Effect.gen(function*() {
      const exchanges: Array<App.WebSocketExchange> = []
      const sent: Array<number> = []
      const { session } = yield* compressed(
        { networkBufferBytes: 1, wsMaxMessageBytes: 1_000_000 },
        (exchange) =>
          Effect.gen(function*() {
            exchanges.push(exchange)
            yield* exchange.receive
            yield* exchange.send({ type: "websocket.accept" })
            yield* exchange.receive
            for (let n = 0; n < 20; n++) {
              yield* exchange.send({ type: "websocket.send", bytes: noise(50_000, n) })
              sent.push(n)
            }
            yield* Ws.ended(exchange)
          })
      )
      const { transport } = exchanges[0]!
      yield* session.client.pause
      yield* session.send(text("go"))
      yield* until(() => sent.length > 0)
      assert.isAtLeast(transport.bufferedAmount, 50_000)
      // Time for the compression to end, which must not be mistaken for the client's reading.
      for (let n = 0; n < 50; n++) yield* ServerMemory.settle
      assert.isBelow(sent.length, 4)
      yield* session.client.resume
      yield* session.next(20)
      yield* until(() => sent.length === 20)
      yield* until(() => transport.bufferedAmount === 0)
    }))

  it.effect("counts no byte twice in bufferedAmount", () =>
    Effect.gen(function*() {
      const exchanges: Array<App.WebSocketExchange> = []
      const { session } = yield* compressed({ networkBufferBytes: 1 }, (exchange) => {
        exchanges.push(exchange)
        return Ws.echo(exchange)
      })
      yield* session.client.pause
      const bytes = noise(30_000)
      yield* session.send(frame(2, deflated(bytes), { rsv: 4 }))
      const { transport } = exchanges[0]!
      // Compressed by now, which made it a little larger.
      yield* until(() => transport.bufferedAmount > 30_000)
      assert.closeTo(transport.bufferedAmount, 30_000, 30)
      yield* session.client.resume
      yield* session.next(1)
      assert.strictEqual(transport.bufferedAmount, 0)
    }))

  for (const [context, title] of [[false, "without"], [true, "with"]] as const) {
    it.effect(`ends with 1009 above the limit, inflated, ${title} context [C72] [C80]`, () =>
      Effect.gen(function*() {
        const options = { wsMaxMessageBytes: 100_000, wsCompressionContext: context }
        for (const [size, code] of [[100_000, 0], [100_001, 1009], [50_000_000, 1009]] as const) {
          const { app, ends, events } = Ws.recording()
          const { session } = yield* compressed(options, app)
          const payload = deflated(Buffer.alloc(size))
          assert.isBelow(payload.length, 100_000)
          yield* session.send(frame(2, payload, { rsv: 4 }))
          if (code === 0) {
            yield* until(() => events.length > 0)
            continue
          }
          assert.deepStrictEqual((yield* session.next(1)).map(Ws.inWords), [`close ${code}`])
          assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code: 1009, reason: "body_too_large" }])
          assert.deepStrictEqual(ends, ["disconnect body_too_large"])
        }
      }))

    it.effect(`ends with 1007 after what does not inflate, ${title} context [C80]`, () =>
      Effect.gen(function*() {
        for (const bytes of [[0xff, 0xff, 0xff], [0x06, 1, 2, 3], Array.from(Buffer.from("plain text"))]) {
          const { app, ends, events } = Ws.recording()
          const { session } = yield* compressed({ wsCompressionContext: context }, app)
          yield* session.send(packed("fine"), text(Buffer.from(bytes), { rsv: 4 }), packed("behind"))
          assert.deepStrictEqual((yield* session.next(1)).map(Ws.inWords), ["close 1007"])
          yield* until(() => events.length === 2)
          assert.deepInclude(events[0], { text: "fine" })
          assert.deepStrictEqual(events[1], { type: "websocket.disconnect", code: 1007, reason: "protocol_error" })
          assert.deepStrictEqual(ends, ["disconnect protocol_error"])
        }
      }))
  }

  it.effect("takes a message at the limit that compression has made larger, and none above it [C72] [C80]", () =>
    Effect.gen(function*() {
      const { app, ends, events } = Ws.recording()
      const { session } = yield* compressed({ wsMaxMessageBytes: 100_000 }, app)
      const bytes = noise(100_001)
      const whole = deflated(bytes.subarray(0, 100_000))
      assert.isAbove(whole.length, 100_000)
      yield* session.send(frame(2, whole, { rsv: 4 }))
      yield* until(() => events.length === 1)
      yield* session.send(frame(2, deflated(bytes), { rsv: 4 }))
      yield* until(() => events.length === 2)
      assert.deepStrictEqual(ends, ["disconnect body_too_large"])
    }))

  it.effect("refuses a plain message above the limit at its head, where compression was agreed [C72]", () =>
    Effect.gen(function*() {
      const { session } = yield* compressed({ wsMaxMessageBytes: 100_000 })
      yield* session.send(text("", { length: 100_001 }).subarray(0, 10))
      assert.deepStrictEqual(yield* session.said, ["close 1009"])
      const other = yield* compressed({ wsMaxMessageBytes: 100_000 })
      yield* other.session.send(text("", { length: 200_000, rsv: 4 }).subarray(0, 10))
      assert.deepStrictEqual(yield* other.session.said, ["close 1009"])
    }))

  it.effect("counts the inflated fragments of a message together [C72] [C80]", () =>
    Effect.gen(function*() {
      const { session } = yield* compressed({ wsMaxMessageBytes: 100_000 })
      const part = (size: number) => Buffer.concat([deflated(Buffer.alloc(size)), Buffer.from([0, 0, 0xff, 0xff])])
      const head = frame(2, part(60_000), { fin: false, rsv: 4 })
      yield* session.send(head, frame(0, part(40_000)))
      assert.strictEqual(inflated((yield* session.next(1))[0]!.payload).length, 100_000)
      yield* session.send(head, frame(0, part(40_001)))
      assert.deepStrictEqual((yield* session.next(1)).map(Ws.inWords), ["close 1009"])
    }))

  it.effect("ends with 1007 at the fragment whose inflated text is not UTF-8 [C78] [C80]", () =>
    Effect.gen(function*() {
      const { session } = yield* compressed()
      const part = (bytes: string) =>
        Buffer.concat([deflated(Buffer.from(bytes, "latin1")), Buffer.from([0, 0, 0xff, 0xff])])
      yield* session.send(frame(1, part("ok\xe2\x82"), { fin: false, rsv: 4 }), ping("1"))
      assert.deepStrictEqual((yield* session.next(1)).map(Ws.inWords), ["pong 1"])
      yield* session.send(frame(0, part("\xac ok \xc3"), { fin: false }), ping("2"))
      assert.deepStrictEqual((yield* session.next(1)).map(Ws.inWords), ["pong 2"])
      yield* session.send(frame(0, part("\x28"), { fin: false }))
      assert.deepStrictEqual((yield* session.next(1)).map(Ws.inWords), ["close 1007"])
    }))

  it.effect("ends with 1002 after RSV1 on a continuation or a control frame [C67] [C80]", () =>
    Effect.gen(function*() {
      for (const bytes of [frame(9, "", { rsv: 4 }), frame(8, "", { rsv: 4 }), text("a", { rsv: 6 })]) {
        const { session } = yield* compressed()
        yield* session.send(bytes)
        assert.deepStrictEqual((yield* session.next(1)).map(Ws.inWords), ["close 1002"])
      }
      const { session } = yield* compressed()
      yield* session.send(frame(1, deflated("a"), { fin: false, rsv: 4 }), frame(0, "", { rsv: 4 }))
      assert.deepStrictEqual((yield* session.next(1)).map(Ws.inWords), ["close 1002"])
    }))

  it.effect("gives messages that came before the end of the connection, and the Close frame among them [C69] [C80]", () =>
    Effect.gen(function*() {
      const { app, ends, events } = Ws.recording()
      const { session } = yield* compressed({ wsMaxMessageBytes: 5_000_000 }, app)
      const large = packed(Buffer.alloc(5_000_000, "x"))
      yield* Effect.all([session.send(large, close(4000, "bye")), session.client.end], { concurrency: 2 })
      yield* until(() => events.length === 2)
      assert.strictEqual((events[0] as { readonly text: string }).text.length, 5_000_000)
      assert.deepStrictEqual(events[1], { type: "websocket.disconnect", code: 4000, reason: "bye" })
      assert.deepStrictEqual(ends, ["complete"])
    }))

  it.effect("inflates no further messages than the application and one above the limit can hold", () =>
    Effect.gen(function*() {
      const exchanges: Array<App.WebSocketExchange> = []
      const { session } = yield* compressed({ wsMaxMessageBytes: 200_000 }, (exchange) => {
        exchanges.push(exchange)
        return Effect.andThen(exchange.send({ type: "websocket.accept" }), Ws.ended(exchange))
      })
      const exchange = exchanges[0]!
      yield* exchange.receive
      // 4 KB that inflate to 4 MB; the pong behind them says when all are inflated.
      const large = packed(Buffer.alloc(200_000, "x"))
      yield* session.send(...Array.from({ length: 20 }, () => large), ping("behind"))
      // As much work as that, and more, for somebody else.
      const other = yield* compressed({ wsMaxMessageBytes: 200_000 })
      for (let n = 0; n < 40; n++) {
        yield* other.session.send(large)
        yield* other.session.next(1)
      }
      for (let n = 0; n < 20; n++) {
        assert.deepStrictEqual(yield* session.frames, [], `${n}`)
        assert.deepInclude(yield* exchange.receive, { text: "x".repeat(200_000) })
      }
      assert.deepStrictEqual((yield* session.next(1)).map(Ws.inWords), ["pong behind"])
    }))

  it.effect("survives clients that leave while their messages are inflated, and goes on inflating for others", () =>
    Effect.gen(function*() {
      const { connect, server, session } = yield* compressed({ wsMaxMessageBytes: 2_000_000 })
      const large = packed(Buffer.alloc(2_000_000, "x"))
      for (let n = 0; n < 25; n++) {
        const leaving = yield* Ws.open(connect, { lines: offer() })
        const leave = n % 2 === 0 ? leaving.client.reset : leaving.client.end
        yield* Effect.all([leaving.send(large, large), leave], { concurrency: 2 })
      }
      yield* session.send(packed("hello"))
      const [answer] = yield* session.next(1)
      assert.strictEqual(inflated(answer!.payload).toString(), "hello")
      yield* Effect.repeat(server.stats, { until: ({ exchanges }) => exchanges === 1 })
    }))

  it.effect("survives clients that leave while messages to them are compressed", () =>
    Effect.gen(function*() {
      const { connect, server, session } = yield* compressed({}, Ws.echo)
      for (let n = 0; n < 25; n++) {
        const leaving = yield* Ws.open(connect, { lines: offer() })
        yield* Effect.all([
          leaving.send(...Array.from({ length: 5 }, () => text("x".repeat(100_000)))),
          leaving.client.reset
        ], {
          concurrency: 2
        })
      }
      yield* session.send(packed("hello"))
      const [answer] = yield* session.next(1)
      assert.strictEqual(inflated(answer!.payload).toString(), "hello")
      yield* Effect.repeat(server.stats, { until: ({ exchanges }) => exchanges === 1 })
    }))

  it.effect("goes on after a quiet time, with and without context, also inside a message [C80]", () =>
    Effect.gen(function*() {
      for (const context of [false, true]) {
        const { session } = yield* compressed({ wsCompressionContext: context })
        const answers: Array<Buffer> = []
        const says = Effect.fnUntraced(function*(payload: string) {
          const [answer] = yield* session.next(1)
          assert.strictEqual(inflated(answer!.payload, context ? answers : []).toString(), payload)
          answers.push(answer!.payload)
        })
        yield* session.send(packed("one one one one"))
        yield* says("one one one one")
        yield* TestClock.adjust("10 seconds")
        // With context it refers to the message before it.
        const dictionary = context ? { dictionary: Buffer.from("one one one one") } : {}
        const second = Zlib.deflateRawSync("one one one", { finishFlush: Zlib.constants.Z_SYNC_FLUSH, ...dictionary })
        yield* session.send(text(second.subarray(0, -4), { rsv: 4 }))
        yield* says("one one one")
        const payload = deflated("three three three three")
        yield* session.send(frame(1, payload.subarray(0, 6), { fin: false, rsv: 4 }))
        yield* TestClock.adjust("10 seconds")
        yield* session.send(frame(0, payload.subarray(6)))
        yield* says("three three three three")
      }
    }))
})
