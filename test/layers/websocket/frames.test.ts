import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Ws from "../../utils/webSocket.ts"

const { binary, close, fragments, frame, ping, pong, serveSockets, text } = Ws

/** What an echo says to `pieces`, sent one after the other. */
const saidTo = Effect.fnUntraced(function*(...pieces: ReadonlyArray<Uint8Array>) {
  const { connect } = yield* serveSockets(Ws.echo)
  const session = yield* Ws.open(connect)
  for (const piece of pieces) yield* session.send(piece)
  return yield* session.said
})

/** What a session that sends `bytes` is told, what the application receives, and whether the server ends. */
const endOf = Effect.fnUntraced(function*(...bytes: ReadonlyArray<Uint8Array>) {
  const { app, ends, events } = Ws.recording()
  const { connect } = yield* serveSockets(app)
  const session = yield* Ws.open(connect)
  yield* session.send(...bytes)
  return { said: yield* session.said, isEnded: yield* session.client.isEnded, ends, events }
})

const hex = (digits: string): Buffer => Buffer.from(digits.replaceAll(" ", ""), "hex")

describe("WebSocket frames", () => {
  for (const length of [0, 1, 125, 126, 127, 128, 4096, 12_288, 12_289, 65_535, 65_536, 300_000]) {
    it.effect(`echoes text and bytes of ${length} bytes unchanged [C65] [W115]`, () =>
      Effect.gen(function*() {
        const { connect } = yield* serveSockets(Ws.echo)
        const session = yield* Ws.open(connect)
        const bytes = Buffer.from(Array.from({ length }, (_, at) => (at * 7) & 0xff))
        const ascii = "x".repeat(length)
        const wide = "€".repeat(Math.floor(length / 3))
        yield* session.send(binary(bytes), text(ascii), text(wide))
        const frames = yield* session.frames
        assert.deepStrictEqual(frames.map(({ fin, opcode }) => [fin, opcode]), [[true, 2], [true, 1], [true, 1]])
        assert.isTrue(frames[0]!.payload.equals(bytes))
        assert.strictEqual(frames[1]!.payload.toString(), ascii)
        assert.strictEqual(frames[2]!.payload.toString(), wide)
      }))
  }

  it.effect("gives text as text and bytes as bytes", () =>
    Effect.gen(function*() {
      const { events } = yield* endOf(text("ä\ufeff\u0000"), binary("ä"), text(""), binary(""))
      assert.deepStrictEqual(events.map((event) => ({ ...event })), [
        { type: "websocket.receive", text: "ä\ufeff\u0000" },
        { type: "websocket.receive", bytes: Buffer.from("ä") },
        { type: "websocket.receive", text: "" },
        { type: "websocket.receive", bytes: Buffer.from("") }
      ])
    }))

  const conversation = [
    text("grüße"),
    ping("p"),
    ...fragments(1, ["a€", "", "b"]),
    binary(Buffer.alloc(130, 7)),
    frame(2, "c", { fin: false, mask: [0, 0, 0, 0] }),
    pong("unasked"),
    ping(""),
    frame(0, "d"),
    text(""),
    close(3000, "bye")
  ]
  const answers = [
    "text grüße",
    "pong p",
    "text a€b",
    `binary ${"07".repeat(130)}`,
    "pong",
    "binary 6364",
    "text",
    "close 3000"
  ].map((words) => words === "text" ? "text " : words)

  it.effect("does not care how the bytes are split [C77] [W115]", () =>
    Effect.gen(function*() {
      const bytes = Buffer.concat(conversation)
      assert.deepStrictEqual(yield* saidTo(bytes), answers, "whole")
      assert.deepStrictEqual(yield* saidTo(...conversation), answers, "frame by frame")
      const single = Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))
      assert.deepStrictEqual(yield* saidTo(...single), answers, "byte by byte")
      const splits = single.map((_, at) => at).slice(1)
      const found = yield* Effect.forEach(
        splits,
        (at) => Effect.scoped(saidTo(bytes.subarray(0, at), bytes.subarray(at))),
        { concurrency: 50 }
      )
      for (const at of splits) assert.deepStrictEqual(found[at - 1], answers, `cut at ${at}`)
    }))

  it.effect("puts fragments together, and answers pings between them at once [C74] [C77]", () =>
    Effect.gen(function*() {
      const { app, events } = Ws.recording()
      const { connect } = yield* serveSockets(app)
      const session = yield* Ws.open(connect)
      yield* session.send(frame(1, "one ", { fin: false }), ping("1"))
      assert.deepStrictEqual(yield* session.said, ["pong 1"])
      yield* session.send(pong("x"), frame(0, "", { fin: false }), ping("\x00".repeat(125)))
      assert.deepStrictEqual(yield* session.said, [`pong ${"\x00".repeat(125)}`])
      assert.deepStrictEqual(events, [])
      yield* session.send(frame(0, "two"), ...fragments(2, [hex("00"), hex("ff"), hex("80")]))
      assert.deepStrictEqual(events.map((event) => ({ ...event })), [
        { type: "websocket.receive", text: "one two" },
        { type: "websocket.receive", bytes: hex("00 ff 80") }
      ])
    }))

  it.effect("answers every ping, in order, between the messages around it [C74]", () =>
    Effect.gen(function*() {
      const asked = Array.from({ length: 500 }, (_, n) => n % 3 === 0 ? text(`${n}`) : ping(`${n}`))
      const expected = asked.map((_, n) => n % 3 === 0 ? `text ${n}` : `pong ${n}`)
      assert.deepStrictEqual(yield* saidTo(Buffer.concat(asked)), expected)
    }))

  it.effect("takes a burst of messages that an application answers as they come", () =>
    Effect.gen(function*() {
      const said = yield* saidTo(Buffer.concat(Array.from({ length: 9000 }, (_, n) => text(`${n}`))))
      assert.deepStrictEqual(said, Array.from({ length: 9000 }, (_, n) => `text ${n}`))
    }))

  const faults: ReadonlyArray<readonly [what: string, bytes: Buffer]> = [
    ["RSV1 without an extension", text("a", { rsv: 4 })],
    ["RSV2", text("a", { rsv: 2 })],
    ["RSV3", binary("a", { rsv: 1 })],
    ["RSV1 on a ping", frame(9, "", { rsv: 4 })],
    ["RSV1 on a Close", frame(8, "", { rsv: 4 })],
    ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => [`opcode ${opcode}`, frame(opcode)] as const),
    ["a ping of 126 bytes", frame(9, "x".repeat(126))],
    ["a pong of 126 bytes", frame(10, "x".repeat(126))],
    ["a Close frame of 126 bytes", frame(8, "\x03\xe8" + "x".repeat(124))],
    ["a ping in fragments", frame(9, "a", { fin: false })],
    ["a pong in fragments", frame(10, "a", { fin: false })],
    ["a Close frame in fragments", frame(8, "", { fin: false })],
    ["a continuation of nothing", frame(0, "a")],
    ["a continuation after the last fragment", Buffer.concat([...fragments(1, ["a", "b"]), frame(0, "c")])],
    ["a text inside a fragmented message", Buffer.concat([frame(1, "a", { fin: false }), text("b")])],
    ["bytes inside a fragmented message", Buffer.concat([frame(1, "a", { fin: false }), binary("b", { fin: false })])],
    ["a frame that is not masked", text("a", { mask: null })],
    ["a ping that is not masked", frame(9, "", { mask: null })]
  ]
  for (const [what, bytes] of faults) {
    it.effect(`ends with 1002 after ${what} [C67]`, () =>
      Effect.gen(function*() {
        const { ends, events, isEnded, said } = yield* endOf(text("before"), bytes, text("behind"))
        assert.deepStrictEqual(said, ["close 1002"])
        assert.isTrue(isEnded)
        assert.deepInclude(events[0], { text: "before" })
        assert.deepStrictEqual(events.at(-1), { type: "websocket.disconnect", code: 1002, reason: "protocol_error" })
        assert.deepStrictEqual(ends, ["disconnect protocol_error"])
        assert.isFalse(events.some((event) => "text" in event && event.text === "behind"))
      }))
  }

  it.effect("refuses a faulty head before its payload has come [C67]", () =>
    Effect.gen(function*() {
      for (
        const bytes of [
          text("abc", { rsv: 2 }),
          frame(3, "abc"),
          text("abc", { mask: null }),
          frame(9, "", { length: 126 })
        ]
      ) {
        assert.deepStrictEqual((yield* endOf(bytes.subarray(0, 2))).said, ["close 1002"])
      }
    }))

  const broken: ReadonlyArray<readonly [what: string, bytes: string]> = [
    ["a lone continuation byte", "80"],
    ["a start byte alone", "c3"],
    ["a start byte before ASCII", "e2 82 41"],
    ["an overlong slash", "c0 af"],
    ["an overlong slash of three bytes", "e0 80 af"],
    ["an overlong slash of four bytes", "f0 80 80 af"],
    ["a surrogate", "ed a0 80"],
    ["a pair of surrogates", "ed a0 80 ed b0 80"],
    ["a code point above U+10FFFF", "f4 90 80 80"],
    ["five bytes", "f8 88 80 80 80"],
    ["0xff", "ff"],
    ["latin1", "67 72 fc df 65"]
  ]
  for (const [what, digits] of broken) {
    it.effect(`ends with 1007 after text with ${what} [C66] [C78]`, () =>
      Effect.gen(function*() {
        const bytes = hex(digits)
        const parts = fragments(1, ["before ", bytes, " behind"])
        for (const sent of [text(bytes), Buffer.concat([Buffer.from(parts[0]!), ...parts.slice(1)])]) {
          const { ends, events, isEnded, said } = yield* endOf(sent)
          assert.deepStrictEqual(said, ["close 1007"])
          assert.isTrue(isEnded)
          assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code: 1007, reason: "protocol_error" }])
          assert.deepStrictEqual(ends, ["disconnect protocol_error"])
        }
      }))
  }

  const breaking: ReadonlyArray<readonly [good: ReadonlyArray<string>, bad: string]> = [
    [["6f 6b"], "80"],
    [["6f 6b c3"], "28"],
    [["f4"], "90"],
    [["ed"], "a0"],
    [["e2", "82"], "28"],
    [["6f 6b", ""], "c0"],
    [["61".repeat(500), "62".repeat(500)], "ff"],
    [Array.from({ length: 200 }, () => "e2 82 ac"), "e2 28"]
  ]
  for (const [index, [good, bad]] of breaking.entries()) {
    it.effect(`fails at the fragment that breaks the UTF-8, not at the end (${index + 1}) [C78]`, () =>
      Effect.gen(function*() {
        const { connect } = yield* serveSockets(Ws.echo)
        const session = yield* Ws.open(connect)
        for (const [at, part] of good.entries()) {
          yield* session.send(frame(at === 0 ? 1 : 0, hex(part), { fin: false }), ping())
          assert.deepStrictEqual(yield* session.said, ["pong"])
        }
        yield* session.send(frame(0, hex(bad), { fin: false }), ping())
        assert.deepStrictEqual(yield* session.said, ["close 1007"])
        assert.isTrue(yield* session.client.isEnded)
      }))
  }

  it.effect("takes characters that are split between fragments, at every byte [C78]", () =>
    Effect.gen(function*() {
      const whole = "κόσμε \u{10ffff}\ufffe\u0000\u{1f600}ÿ"
      const bytes = Buffer.from(whole)
      const cuts = Array.from(bytes, (_, at) => at)
      const messages = cuts.flatMap((at) => fragments(1, [bytes.subarray(0, at), bytes.subarray(at)]))
      const single = fragments(1, cuts.map((at) => bytes.subarray(at, at + 1)))
      const said = yield* saidTo(Buffer.concat([...messages, ...single]))
      assert.deepStrictEqual(said, [...cuts, 0].map(() => `text ${whole}`))
    }))

  it.effect("does not read one message's text on into the next [C78]", () =>
    Effect.gen(function*() {
      const { ends, said } = yield* endOf(...fragments(1, ["a", hex("e2 82")]), ...fragments(1, [hex("ac")]))
      assert.deepStrictEqual(said, ["close 1007"])
      assert.deepStrictEqual(ends, ["disconnect protocol_error"])
      const good = yield* saidTo(
        Buffer.concat([...fragments(1, ["€", "€"]), binary(hex("ff")), ...fragments(1, ["€", "a"])])
      )
      assert.deepStrictEqual(good, ["text €€", "binary ff", "text €a"])
    }))

  it.effect("does not care about the bytes of binary messages [C65] [C78]", () =>
    Effect.gen(function*() {
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, at) => at))
      const said = yield* saidTo(Buffer.concat([binary(bytes), ...fragments(2, [hex("c3"), hex("28 ff")])]))
      assert.deepStrictEqual(said, [`binary ${bytes.toString("hex")}`, "binary c328ff"])
    }))

  it.effect("reads nothing behind a Close frame", () =>
    Effect.gen(function*() {
      const { ends, events, said } = yield* endOf(close(1000), text("behind"), frame(3), close(1001))
      assert.deepStrictEqual(said, ["close 1000"])
      assert.deepStrictEqual(events, [{ type: "websocket.disconnect", code: 1000, reason: "" }])
      assert.deepStrictEqual(ends, ["complete"])
    }))
})
