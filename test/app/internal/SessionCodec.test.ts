import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { CloseInfo } from "../../../src/app/CloseInfo.ts"
import * as WebSocketSession from "../../../src/app/WebSocketSession.ts"
import { capture } from "../../utils/logs.ts"
import { binary, close, open, serveSockets, text } from "../../utils/webSocket.ts"

const Order = Schema.Struct({ id: Schema.Int, due: Schema.Date, items: Schema.Array(Schema.Struct({ n: Schema.Int })) })
const orders = WebSocketSession.codec({ message: Order })

describe("SessionCodec", () => {
  it.effect("decodes and encodes JSON by Schema, with its JSON forms [C207]", () =>
    Effect.gen(function*() {
      const { connect } = yield* serveSockets((exchange) => {
        const session = WebSocketSession.make(exchange, orders)
        return session.sendAll(
          Stream.map(session.messages, (order) => ({ ...order, due: new Date(order.due.getTime() + 1000) }))
        )
      })
      const { said, send } = yield* open(connect)
      yield* send(text(`{"id":1,"due":"2020-01-01T00:00:00.000Z","items":[{"n":2}]}`))
      assert.deepStrictEqual(yield* said, [`text {"id":1,"due":"2020-01-01T00:00:01.000Z","items":[{"n":2}]}`])
    }))

  it.effect("types the two directions apart, and takes options in place of a codec", () =>
    Effect.gen(function*() {
      const { connect } = yield* serveSockets((exchange) => {
        const session = WebSocketSession.make(exchange, { receive: Schema.Int, send: Schema.String })
        return session.sendAll(Stream.map(session.messages, (n) => `${n + 1}`))
      })
      const { said, send } = yield* open(connect)
      yield* send(text("1"))
      assert.deepStrictEqual(yield* said, [`text "2"`])
    }))

  it.effect("reads and writes any JSON where there is no Schema", () =>
    Effect.gen(function*() {
      const { connect } = yield* serveSockets((exchange) => {
        const session = WebSocketSession.make(exchange, { encoding: "json" })
        return session.sendAll(Stream.map(session.messages, (value) => [value]))
      })
      const { said, send } = yield* open(connect)
      yield* send(text(`{"a":null}`))
      assert.deepStrictEqual(yield* said, [`text [{"a":null}]`])
    }))

  it.effect("reads text and bytes by Schemas of their own", () =>
    Effect.gen(function*() {
      const { connect } = yield* serveSockets((exchange): Effect.Effect<void, unknown> => {
        if (exchange.scope.path === "/text") {
          const session = WebSocketSession.make(exchange, { message: Schema.NumberFromString, encoding: "text" })
          return session.sendAll(Stream.map(session.messages, (n) => n * 2))
        }
        const session = WebSocketSession.make(exchange, { encoding: "bytes" })
        return session.sendAll(Stream.map(session.messages, (bytes) => bytes.slice(1)))
      })
      const words = yield* open(connect, { target: "/text" })
      yield* words.send(text("21"))
      assert.deepStrictEqual(yield* words.said, ["text 42"])
      const bytes = yield* open(connect, { target: "/bytes" })
      yield* bytes.send(binary(new Uint8Array([1, 2, 3])))
      assert.deepStrictEqual(yield* bytes.said, ["binary 0203"])
    }))

  for (
    const [what, options, frame, said, fields] of [
      ["what is not JSON", { message: Order }, text(`{"id": secret`), "close 1007 expected JSON", {
        problem: "NotJson",
        path: "",
        bytes: 13
      }],
      [
        "what does not fit",
        { message: Order },
        text(`{"id":1,"due":"2020-01-01T00:00:00.000Z","items":[{"n":"sécret"}]}`),
        "close 1007 not as expected at items/0/n",
        { problem: "DoesNotFit", path: "items/0/n", bytes: 67 }
      ],
      ["bytes for JSON", { message: Order }, binary("{}"), "close 1003 expected text", {
        problem: "NotText",
        path: "",
        bytes: 2
      }],
      ["bytes for text", { encoding: "text" }, binary("secret"), "close 1003 expected text", {
        problem: "NotText",
        path: "",
        bytes: 6
      }],
      ["text for bytes", { encoding: "bytes" }, text("sécret"), "close 1003 expected bytes", {
        problem: "NotBytes",
        path: "",
        bytes: 7
      }]
    ] as const
  ) {
    it.effect(`closes for ${what}, and logs nothing of it`, () => {
      const logs = capture()
      return Effect.gen(function*() {
        const infos: Array<CloseInfo> = []
        const failures: Array<WebSocketSession.InvalidMessage> = []
        const { connect } = yield* serveSockets((exchange) => {
          const session = WebSocketSession.make(exchange, options as WebSocketSession.Options)
          return Effect.andThen(
            session.onClose((info) => void infos.push(info)),
            Effect.tapError(
              Stream.runDrain(session.messages),
              (error) => Effect.sync(() => void failures.push(error))
            )
          )
        })
        const session = yield* open(connect)
        yield* session.send(frame)
        assert.deepStrictEqual(yield* session.said, [said])
        yield* session.send(close(Number(said.slice(6, 10))))
        assert.deepStrictEqual(failures.map(({ bytes, path, problem }) => ({ problem, path, bytes })), [fields])
        assert.notInclude(String(failures[0]), "cret")
        assert.deepStrictEqual(infos.map(({ by, clean, code }) => ({ by, clean, code })), [
          { by: "application", clean: true, code: failures[0]!.closeCode }
        ])
        assert.deepStrictEqual(logs.lines.filter(({ level }) => level !== "Info"), [])
      }).pipe(Effect.provide(logs.layer))
    })
  }

  it.effect("keeps a client's own keys short in path and close frame", () =>
    Effect.gen(function*() {
      const failures: Array<WebSocketSession.InvalidMessage> = []
      const { connect } = yield* serveSockets((exchange) => {
        const session = WebSocketSession.make(exchange, { message: Schema.Record(Schema.String, Schema.Int) })
        return Effect.tapError(
          Stream.runDrain(session.messages),
          (error) => Effect.sync(() => void failures.push(error))
        )
      })
      const session = yield* open(connect)
      yield* session.send(text(JSON.stringify({ ["k".repeat(1000)]: "x" })))
      assert.deepStrictEqual(yield* session.said, ["close 1007 not as expected"])
      assert.strictEqual(failures[0]!.path.length, 100)
    }))
})
