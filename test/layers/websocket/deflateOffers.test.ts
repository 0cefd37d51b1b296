import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as ServerMemory from "../../../layers/ServerMemory.ts"
import * as Ws from "../../utils/webSocket.ts"

const { deflated, serveSockets, text } = Ws

const offer = (parameters: string) => `sec-websocket-extensions: permessage-deflate; ${parameters}`

type Negotiation = readonly [offers: string, options: ServerMemory.Options, answer: string | undefined]

describe("WebSocket compression offers", () => {
  // Offers that must be declined, with one behind them that need not.
  const declined: ReadonlyArray<Negotiation> = [
    "unknown",
    "unknown=1",
    "client_no_context_takeover=1",
    "server_no_context_takeover=1",
    "server_no_context_takeover; server_no_context_takeover",
    "server_max_window_bits",
    "server_max_window_bits=7",
    "server_max_window_bits=16",
    "server_max_window_bits=09",
    "server_max_window_bits=1e1",
    "server_max_window_bits=0xa",
    "server_max_window_bits=10; server_max_window_bits=10",
    "client_max_window_bits=7",
    "client_max_window_bits=16",
    "client_max_window_bits=010"
  ].flatMap((bad): ReadonlyArray<Negotiation> => [
    [`permessage-deflate; ${bad}`, { wsCompressionContext: true }, undefined],
    [`permessage-deflate; ${bad}, permessage-deflate`, { wsCompressionContext: true }, "permessage-deflate"]
  ])
  const negotiations: ReadonlyArray<Negotiation> = [
    ...declined,
    // Off by default.
    ["permessage-deflate", { wsCompression: false }, undefined],
    ["permessage-deflate", { wsCompressionContext: true }, "permessage-deflate"],
    ["permessage-deflate", {}, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"],
    ["foo, permessage-deflate; x, bar", {}, undefined],
    ["x-webkit-deflate-frame", {}, undefined],
    ["permessage-deflate; client_max_window_bits", { wsCompressionContext: true }, "permessage-deflate"],
    [
      "permessage-deflate; client_max_window_bits=10",
      { wsCompressionContext: true },
      "permessage-deflate; client_max_window_bits=10"
    ],
    [
      "permessage-deflate; server_max_window_bits=9",
      { wsCompressionContext: true },
      "permessage-deflate; server_max_window_bits=9"
    ],
    [
      "permessage-deflate; server_no_context_takeover",
      { wsCompressionContext: true },
      "permessage-deflate; server_no_context_takeover"
    ],
    [
      "permessage-deflate; client_no_context_takeover",
      { wsCompressionContext: true },
      "permessage-deflate; client_no_context_takeover"
    ],
    [
      "permessage-deflate; client_max_window_bits",
      { wsCompressionContext: true, wsCompressionWindowBits: 11 },
      "permessage-deflate; client_max_window_bits=11; server_max_window_bits=11"
    ],
    [
      "permessage-deflate; client_max_window_bits=10; server_max_window_bits=12",
      { wsCompressionContext: true, wsCompressionWindowBits: 11 },
      "permessage-deflate; client_max_window_bits=10; server_max_window_bits=11"
    ],
    // The client has not said that it understands a limit, and must not be given one.
    ["permessage-deflate", { wsCompressionContext: true, wsCompressionWindowBits: 11 }, undefined],
    // zlib cannot make a window of 256 bytes.
    ["permessage-deflate; server_max_window_bits=8", {}, undefined],
    [
      "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=9",
      { wsCompressionContext: true },
      "permessage-deflate; server_max_window_bits=9"
    ],
    [
      "permessage-deflate; server_max_window_bits=\"10\"",
      { wsCompressionContext: true },
      "permessage-deflate; server_max_window_bits=10"
    ],
    ["PerMessage-Deflate", {}, undefined]
  ]
  for (const [offers, options, answer] of negotiations) {
    it.effect(`answers ${offers} (${JSON.stringify(options)}) with ${answer ?? "nothing"} [C80]`, () =>
      Effect.gen(function*() {
        const { connect } = yield* serveSockets(Ws.echo, Object.assign({ wsCompression: true }, options))
        const { head } = yield* Ws.open(connect, { lines: [`sec-websocket-extensions: ${offers}`] })
        const found = head.header("sec-websocket-extensions")
        const inOrder = (list: string | undefined) => list?.split("; ").sort()
        assert.deepStrictEqual(inOrder(found), inOrder(answer))
      }))
  }

  it.effect("reads offers of several lines as one list [C80]", () =>
    Effect.gen(function*() {
      const { connect } = yield* serveSockets(Ws.echo, { wsCompression: true, wsCompressionContext: true })
      const lines = [offer("unknown"), "sec-websocket-extensions: foo", offer("server_max_window_bits=12")]
      const { head } = yield* Ws.open(connect, { lines })
      assert.strictEqual(head.header("sec-websocket-extensions"), "permessage-deflate; server_max_window_bits=12")
    }))

  it.effect("is off by default, and then RSV1 is a fault [C80] [C67]", () =>
    Effect.gen(function*() {
      const { connect } = yield* serveSockets(Ws.echo)
      const session = yield* Ws.open(connect, { lines: [offer("client_max_window_bits")] })
      assert.isUndefined(session.head.header("sec-websocket-extensions"))
      yield* session.send(text(deflated("hello"), { rsv: 4 }))
      assert.deepStrictEqual(yield* session.said, ["close 1002"])
    }))
})
