import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as ServerMemory from "../../layers/ServerMemory.ts"
import * as TestClient from "../../layers/TestClient.ts"
import * as App from "../../src/app/App.ts"
import * as Inspector from "../../src/middleware/Inspector.ts"
import { capture } from "../utils/logs.ts"
import { exchange, serve } from "../utils/serve.ts"

const inspect = (app: App.App<unknown>, options: Partial<Inspector.Options> = {}) => {
  const blocks: Array<string> = []
  return { blocks, app: Inspector.make({ write: (block) => void blocks.push(block), ...options })(app) }
}

const head = (target: string, lines = "", method = "GET") => `${method} ${target} HTTP/1.1\r\nHost: h\r\n${lines}\r\n`

const post = (type: string, body: string) =>
  head("/", `Content-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`, "POST") + body

/** Reads the request whole, and answers. */
const echo = (type: string, body: string | Uint8Array): App.App<unknown> =>
  App.http(({ receive, send }) =>
    Effect.andThen(receive, App.respond(send, 200, body, [["content-type", type], ["set-cookie", "s=1"]]))
  )

describe("Inspector", () => {
  it.effect("hides what a query calls a secret", () =>
    Effect.gen(function*() {
      const { app, blocks } = inspect(echo("text/plain", "a"))
      const { connect } = yield* serve(app)
      const client = yield* connect()
      yield* client.send(head("/a?token=abc&q=1&new_password=hunter2&x=token", "", "GET"))
      yield* ServerMemory.settle
      yield* client.read
      assert.match(blocks.join(), /^GET \/a\?token=\(hidden\)&q=1&new_password=\(hidden\)&x=token {2}200/)
    }))

  it.effect("shows a request and its answer as one block [W97] [C234]", () =>
    Effect.gen(function*() {
      const { app, blocks } = inspect(App.http(({ receive, send }) =>
        Effect.andThen(
          receive,
          Effect.andThen(
            Effect.sleep("12 millis"),
            App.respond(send, 201, "{\"id\":1}", [["content-type", "application/json"]])
          )
        )
      ))
      const { connect } = yield* serve(app)
      const client = yield* connect()
      const body = "{\"title\":\"a\"}"
      yield* client.send(
        head("/todos?x=1", `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`, "POST") + body
      )
      yield* ServerMemory.settle
      yield* TestClock.adjust("12 millis")
      yield* client.read
      assert.deepStrictEqual(blocks, [`POST /todos?x=1  201  12.0 ms  8 B
  request
    host: h
    content-type: application/json
    content-length: 13
    | {"title":"a"}
  response
    content-type: application/json
    | {"id":1}
`])
    }))

  it.effect("hides what usually is a secret, in headers, bodies and queries", () =>
    Effect.gen(function*() {
      const { app, blocks } = inspect(
        echo("application/json", "{\"access_token\": \"S3\", \"Password\":\"S4\\\"S4\",\"a\":1}")
      )
      yield* exchange(app, post("application/x-www-form-urlencoded", "user=u&password=S1&x=y&api_key=S2"))
      yield* exchange(
        app,
        head("/?X-Amz-Signature=S5", "Authorization: S6\r\nCookie: S7\r\nProxy-Authorization: S8\r\nX-Api-Key: S9\r\n")
      )
      const text = blocks.join("")
      assert.notMatch(text, /S\d/)
      assert.notInclude(text, "s=1")
      assert.include(text, "user=u&password=(hidden)&x=y&api_key=(hidden)")
      assert.include(text, "{\"access_token\": \"(hidden)\", \"Password\":\"(hidden)\",\"a\":1}")
      assert.include(text, "cookie: (hidden)")
    }))

  it.effect("hides what headers call a secret, and lists of secrets", () =>
    Effect.gen(function*() {
      const { app, blocks } = inspect(
        echo("application/json", "{\"tokens\":[\"S3\",\"S4\"],\"secret\":{\"a\":\"S5\",\"b\":\"S6\"},\"c\":1}")
      )
      yield* exchange(
        app,
        head("/", "X-Session-Token: S1\r\nX-My-Password: S2\r\nReferer: http://h/a?x=1&access_token=S7#top\r\n")
      )
      const text = blocks.join("")
      assert.notMatch(text, /S\d/)
      assert.include(text, "x-session-token: (hidden)")
      assert.include(text, "referer: http://h/a?x=1&access_token=(hidden)#top")
      assert.include(text, "{\"tokens\":\"(hidden)\",\"secret\":\"(hidden)\",\"c\":1}")
    }))

  it.effect("shows the beginning of a long body, and none that is not text", () =>
    Effect.gen(function*() {
      const { app, blocks } = inspect(echo("text/plain", "größe".repeat(1000)), { previewLength: 7 })
      yield* exchange(app, post("image/png", "\x89PNG"))
      assert.include(blocks[0], "    | größegr...\n")
      assert.include(blocks[0], "  7000 B\n")
      assert.notInclude(blocks[0], "PNG")
    }))

  const streaming = (part: { readonly offset?: number }) =>
    inspect(App.http(({ send }) =>
      Effect.andThen(
        send({ type: "http.response.start", status: 200, headers: [["content-type", "text/plain"]] }),
        send({ type: "http.response.body", stream: Stream.make(Buffer.from("ab"), Buffer.from("cd")), ...part })
      )
    ))

  it.effect("sees what a stream brings, and lets it through", () =>
    Effect.gen(function*() {
      const { app, blocks } = streaming({})
      assert.match(yield* exchange(app, head("/")), /ab(?:\r\n2\r\n)?cd\r\n0/)
      assert.match(blocks[0]!, / {2}4 B\n[^]* {4}\| abcd\n/)
    }))

  it.effect("says where a body comes from that it does not see", () =>
    Effect.gen(function*() {
      const { app, blocks } = streaming({ offset: 3 })
      yield* exchange(app, head("/"))
      assert.match(blocks[0]!, / {2}a part of a stream\n/)
    }))

  it.effect("shows what the application failed with", () =>
    Effect.gen(function*() {
      const { app, blocks } = inspect(() => Effect.die(new TypeError("kaput")))
      yield* Effect.provide(exchange(app, head("/")), capture().layer)
      assert.match(blocks[0]!, /^GET \/ {2}no answer {2}/)
      assert.match(blocks[0]!, /\n {2}error\n {4}TypeError: kaput\n {8}at /)
    }))

  it.effect("lets a client move no cursor, and colours where it is told to", () =>
    Effect.gen(function*() {
      const { app, blocks } = inspect(echo("text/plain", "\x1b[31m\nx\x9b"), { isColored: true })
      yield* exchange(app, head("/", "X-Evil: a\x9b2Jb\r\n"))
      const plain = blocks[0]!.replace(/\x1b\[(?:0|1|2|32|36)m/g, "")
      assert.notStrictEqual(plain, blocks[0])
      // oxlint-disable-next-line no-control-regex
      assert.notMatch(plain, /[\x00-\x09\x0b-\x1f\x7f-\x9f]/)
      assert.include(plain, "    | \\x1b[31m\n    | x")
    }))

  it.effect("shows when a WebSocket opens and closes, and counts its messages [W97]", () =>
    Effect.gen(function*() {
      const { app, blocks } = inspect(App.websocket(({ receive, send }) =>
        Effect.gen(function*() {
          yield* receive
          yield* send({ type: "websocket.accept" })
          yield* receive
          yield* send({ type: "websocket.send", text: "a" })
          yield* send({ type: "websocket.send", text: "b" })
          yield* receive
        })
      ))
      const client = yield* TestClient.make(app)
      const session = yield* client.websocket("/chat")
      yield* session.send("hi")
      yield* session.receive
      yield* session.receive
      assert.match(blocks[0]!, /^WS \/chat {2}open\n {2}request\n/)
      yield* session.close(1001, "bye\nGET /forged")
      yield* ServerMemory.settle
      assert.match(blocks[1]!, /^WS \/chat {2}closed {2}1001 bye\\nGET \/forged {2}1 in, 2 out {2}\d+\.\d ms\n$/)
      assert.lengthOf(blocks, 2)
    }))

  it.effect("shows when a stream of events opens and ends [W97]", () =>
    Effect.gen(function*() {
      const { app, blocks } = inspect(App.sse(({ send }) =>
        Effect.andThen(
          send({ type: "sse.start" }),
          Effect.andThen(send({ type: "sse.send", data: "a" }), send({ type: "sse.send", data: "b" }))
        )
      ))
      yield* exchange(app, head("/feed", "Accept: text/event-stream\r\n"))
      assert.match(blocks[0]!, /^SSE GET \/feed {2}open\n/)
      assert.match(blocks[1]!, /^SSE GET \/feed {2}closed {2}0 in, 2 out {2}/)
    }))

  it.effect("is not in the way of what development itself asks, nor of the lifespan", () =>
    Effect.gen(function*() {
      const { app, blocks } = inspect(App.http(({ send }) => App.respond(send, 200, "x")))
      yield* exchange(app, head("/__slipway/dev.js"))
      assert.deepStrictEqual(blocks, [])
    }))
})
