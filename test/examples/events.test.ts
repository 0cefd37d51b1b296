import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import events from "../../examples/events.ts"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import { capture } from "../utils/logs.ts"
import { bodyOf } from "../utils/serve.ts"

const post = (body: string): string =>
  `POST /users HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`

describe("examples/events.ts", () => {
  it.effect("tells listeners in order, one of them once, and streams of new users", () => {
    const { layer, lines } = capture()
    const told = () =>
      lines.map(({ message }) => message).filter((message) => /^(?:User \d|Mail to|The first)/.test(message))
    return Effect.gen(function*() {
      const context = yield* Layer.build(Layer.provideMerge(events, ServerMemory.layer()))
      const { connect } = Context.get(context, ServerMemory.Network)
      const feed = yield* connect()
      yield* feed.send("GET /users/new HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n")
      assert.match(yield* feed.read, /^HTTP\/1\.1 200 /)
      const client = yield* connect()
      yield* client.send(post(`{"email":"a@example.com"}`))
      assert.strictEqual(bodyOf(yield* client.read), `{"id":1,"email":"a@example.com"}`)
      assert.include(yield* feed.read, `data: {"id":1,"email":"a@example.com"}\n\n`)
      assert.deepStrictEqual(told(), ["User 1 is new", "Mail to a@example.com: Welcome", "The first one"])
      yield* client.send(post(`{"email":"b@example.com"}`))
      yield* client.read
      assert.deepStrictEqual(told().slice(3), ["User 2 is new", "Mail to b@example.com: Welcome"])
    }).pipe(Effect.provide(layer))
  })
})
