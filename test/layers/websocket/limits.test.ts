import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as App from "../../../src/app/App.ts"
import { serve } from "../../utils/serve.ts"
import * as Ws from "../../utils/webSocket.ts"

const { binary, fragments, frame, serveSockets, text } = Ws

/** What a session that sends `bytes` is told, what the application receives, and whether the server ends. */
const endOf = Effect.fnUntraced(function*(options: ServerMemory.Options, ...bytes: ReadonlyArray<Uint8Array>) {
  const { app, ends, events } = Ws.recording()
  const { connect } = yield* serveSockets(app, options)
  const session = yield* Ws.open(connect)
  for (const piece of bytes) yield* session.send(piece)
  return { said: yield* session.said, isEnded: yield* session.client.isEnded, ends, events }
})

/** Sizes of the messages that came. */
const sizes = (events: ReadonlyArray<object>): Array<number> =>
  events.flatMap((event) =>
    "text" in event ? [(event.text as string).length] : "bytes" in event ? [(event.bytes as Uint8Array).length] : []
  )

const tooLarge = { type: "websocket.disconnect", code: 1009, reason: "body_too_large" } as const

describe("WebSocket limits", () => {
  for (const limit of [1, 125, 1000, 70_000, 1_048_576]) {
    const options = limit === 1_048_576 ? {} : { wsMaxMessageBytes: limit }

    it.effect(`takes a message of ${limit} bytes and ends with 1009 one byte above [C72]`, () =>
      Effect.gen(function*() {
        const at = Buffer.alloc(limit, "x")
        const { ends, events, isEnded, said } = yield* endOf(
          options,
          binary(at),
          text(at),
          binary(Buffer.alloc(limit + 1))
        )
        assert.deepStrictEqual(sizes(events), [limit, limit])
        assert.deepStrictEqual(said, ["close 1009"])
        assert.isTrue(isEnded)
        assert.deepStrictEqual(events.at(-1), tooLarge)
        assert.deepStrictEqual(ends, ["disconnect body_too_large"])
      }))

    it.effect(`counts the fragments of a message together: ${limit} [C72]`, () =>
      Effect.gen(function*() {
        const half = Math.floor(limit / 2)
        const parts = [Buffer.alloc(half), Buffer.alloc(limit - half), ""]
        const { events, said } = yield* endOf(
          options,
          Buffer.concat(fragments(2, parts)),
          Buffer.concat(fragments(2, parts).slice(0, 2)),
          frame(0, "x", { fin: false })
        )
        assert.deepStrictEqual(sizes(events), [limit])
        assert.deepStrictEqual(said, ["close 1009"])
        assert.deepStrictEqual(events.at(-1), tooLarge)
      }))
  }

  it.effect("refuses what the head of a frame announces, before any of it has come [C72]", () =>
    Effect.gen(function*() {
      const head = (length: number) => text("", { length }).subarray(0, length > 65_535 ? 10 : 4)
      for (const length of [1001, 70_000, 2 ** 31, 2 ** 32 + 5, 2 ** 53 - 1, 2 ** 53, 2 ** 62]) {
        const { events, said } = yield* endOf({ wsMaxMessageBytes: 1000 }, head(length))
        assert.deepStrictEqual(said, ["close 1009"], `${length}`)
        assert.deepStrictEqual(events, [tooLarge])
      }
      const second = Buffer.concat([
        frame(1, "x".repeat(600), { fin: false }),
        frame(0, "", { length: 401 }).subarray(0, 4)
      ])
      assert.deepStrictEqual((yield* endOf({ wsMaxMessageBytes: 1000 }, second)).said, ["close 1009"])
    }))

  it.effect("takes 16 MiB in one message where the setting says so, in one frame and in many [C72]", () =>
    Effect.gen(function*() {
      const size = 16 * 1_048_576
      const parts = Array.from({ length: 16 }, () => Buffer.alloc(1_048_576, "y"))
      const { ends, events, said } = yield* endOf(
        { wsMaxMessageBytes: size },
        binary(Buffer.alloc(size, "x"), { mask: [0, 0, 0, 0] }),
        Buffer.concat(parts.map((part, n) => frame(n === 0 ? 1 : 0, part, { fin: n === 15, mask: [0, 0, 0, 0] })))
      )
      assert.deepStrictEqual(sizes(events), [size, size])
      assert.deepStrictEqual([said, ends], [[], []])
    }))

  it.effect("takes 65,536 fragments in a message, and no more [C72]", () =>
    Effect.gen(function*() {
      const parts = Array.from({ length: 65_536 }, (_, n) => String.fromCharCode(97 + n % 26))
      const many = Buffer.concat(fragments(1, parts))
      const { events, said } = yield* endOf({}, many, many, Buffer.concat(fragments(2, [...parts, "a"])))
      assert.deepStrictEqual(said, ["close 1008"])
      const received = events.flatMap((event) => "text" in event ? [event.text] : [])
      assert.deepStrictEqual(received, [parts.join(""), parts.join("")])
      assert.deepStrictEqual(events.at(-1), { type: "websocket.disconnect", code: 1008, reason: "queue_overflow" })
    }))

  /** Accepts and receives nothing until the session has ended; then everything. */
  const late = () => {
    const events: Array<object> = []
    const ends: Array<string> = []
    const app = (exchange: App.WebSocketExchange) =>
      Effect.gen(function*() {
        exchange.connection.onDisconnect((reason) => ends.push(reason))
        yield* exchange.send({ type: "websocket.accept" })
        yield* Ws.ended(exchange)
        for (;;) {
          const event = yield* exchange.receive
          events.push(event)
          if (event.type === "websocket.disconnect") return
        }
      })
    return { app, events, ends }
  }

  for (const limit of [1, 5, 1000]) {
    it.effect(`keeps ${limit} messages for the application, and ends with 1008 at the next [C71]`, () =>
      Effect.gen(function*() {
        const { app, ends, events } = late()
        const { connect } = yield* serve(App.websocket(app), limit === 1000 ? {} : { wsMaxQueue: limit })
        const session = yield* Ws.open(connect)
        yield* session.send(...Array.from({ length: limit }, (_, n) => text(`${n}`)))
        assert.deepStrictEqual([yield* session.said, ends], [[], []])
        if (limit === 1000) {
          // Held back by now: what comes later stays in the network.
          yield* session.send(text("more"))
          assert.deepStrictEqual(ends, [])
          return yield* session.client.reset
        }
        yield* session.send(text("more"), text("and more"))
        assert.deepStrictEqual(yield* session.said, ["close 1008"])
        assert.deepStrictEqual(ends, ["queue_overflow"])
        assert.deepStrictEqual(events.length, limit + 3)
        assert.deepStrictEqual(events.at(-1), { type: "websocket.disconnect", code: 1008, reason: "queue_overflow" })
      }))
  }

  it.effect("ends with 1008 when one read holds more messages than may wait [C71]", () =>
    Effect.gen(function*() {
      const { app, ends, events } = late()
      const { connect } = yield* serveSockets(app)
      const session = yield* Ws.open(connect)
      yield* session.send(...Array.from({ length: 5000 }, (_, n) => text(`${n}`)))
      assert.deepStrictEqual(yield* session.said, ["close 1008"])
      assert.deepStrictEqual(ends, ["queue_overflow"])
      const kept = events.flatMap((event) => "text" in event ? [event.text] : [])
      assert.deepStrictEqual(kept, Array.from({ length: 1001 }, (_, n) => `${n}`))
    }))

  it.effect("counts the connect as no message [C71]", () =>
    Effect.gen(function*() {
      const { app, ends } = late()
      const { connect } = yield* serveSockets(app, { wsMaxQueue: 1 })
      const session = yield* Ws.open(connect, { behind: text("one") })
      assert.deepStrictEqual([yield* session.said, ends], [[], []])
      yield* session.client.reset
    }))
})
