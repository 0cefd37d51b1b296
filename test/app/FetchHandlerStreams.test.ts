import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FetchHandler from "../../src/app/FetchHandler.ts"
import { answersIn, request } from "../utils/answers.ts"
import * as Fake from "../utils/exchange.ts"
import { capture } from "../utils/logs.ts"
import { connected } from "../utils/nodeHandlers.ts"
import { exchange } from "../utils/serve.ts"
import { until } from "../utils/sockets.ts"
import { handshake } from "../utils/webSocket.ts"

const quiet = Effect.provide(capture().layer)

const post = (length: number) => `POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${length}\r\n\r\n`

describe("FetchHandler on a server", () => {
  it.effect("sends each part of the request back before the next has come", () =>
    Effect.gen(function*() {
      const { client, until: received } = yield* connected(FetchHandler.make(({ body }) => new Response(body)))
      yield* client.send(post(6))
      yield* client.send("one")
      yield* received(/\r\n3\r\none\r\n$/)
      yield* client.send("two")
      yield* received(/3\r\ntwo\r\n0\r\n\r\n$/)
    }).pipe(quiet))

  it.effect("makes the client wait while the function does not read", () =>
    Effect.gen(function*() {
      let read = () => {}
      const app = FetchHandler.make(async (request) => {
        await new Promise<void>((resolve) => read = resolve)
        return new Response(String((await request.arrayBuffer()).byteLength))
      })
      const { client, until: received } = yield* connected(app, { networkBufferBytes: 16_384 })
      yield* client.send(post(1_000_000))
      for (let sent = 0; sent < 100; sent++) yield* client.send("x".repeat(10_000))
      assert.isAbove(yield* client.unsentBytes, 500_000)
      read()
      yield* received(/\r\n1000000\r\n0\r\n\r\n$/)
    }).pipe(quiet))

  it.effect("stops pulling while the client does not read, and cancels when it leaves", () =>
    Effect.gen(function*() {
      let pulledBytes = 0
      let cancelled = false
      let signal: AbortSignal | undefined
      const app = FetchHandler.make((request) => {
        signal = request.signal
        const body = new ReadableStream({
          pull: (controller) => {
            pulledBytes += 10_000
            controller.enqueue(new Uint8Array(10_000))
          },
          cancel: () => {
            cancelled = true
          }
        }, { highWaterMark: 0 })
        return new Response(body)
      })
      const { client } = yield* connected(app, { networkBufferBytes: 16_384 })
      yield* client.pause
      yield* client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
      yield* until(() => pulledBytes > 50_000)
      yield* client.read
      const before = pulledBytes
      yield* client.read
      assert.strictEqual(pulledBytes, before)
      assert.isBelow(before, 500_000)
      yield* client.reset
      yield* until(() => cancelled)
      assert.isTrue(signal?.aborted)
    }).pipe(quiet))

  it.effect("cuts an answer off whose body fails, and logs it", () => {
    const logs = capture()
    return Effect.gen(function*() {
      let fail = () => {}
      const app = FetchHandler.make(() =>
        new Response(
          new ReadableStream({
            start: (controller) => {
              controller.enqueue(new TextEncoder().encode("begun"))
              fail = () => controller.error(new Error("broken"))
            }
          })
        )
      )
      const { client, until: received } = yield* connected(app)
      yield* client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")
      const begun = yield* received(/begun/)
      fail()
      yield* client.ended
      assert.isFalse(answersIn(begun + (yield* client.read))[0]?.complete)
      const errors = logs.lines.filter(({ level }) => level === "Error")
      assert.strictEqual(errors.length, 1)
      assert.include(errors[0]?.cause, "broken")
    }).pipe(Effect.provide(logs.layer))
  })

  it.effect("fails reads of the request body that wait when the exchange ends, and those that come later", () =>
    Effect.gen(function*() {
      const failures: Array<string> = []
      const fake = Fake.make({ method: "POST", bodyFollows: true })
      const app = FetchHandler.make((request) => {
        const reader = request.body!.getReader()
        const read = () => reader.read().catch((error: Error) => void failures.push(error.name))
        void read().then(read)
        return new Response("early")
      })
      yield* app(fake.exchange)
      assert.strictEqual(fake.answer().text, "early")
      yield* until(() => failures.length === 2)
      assert.deepStrictEqual(failures, ["AbortError", "AbortError"])
    }))

  it.effect("answers a request for an event stream part by part, and declines WebSockets", () =>
    Effect.gen(function*() {
      const app = FetchHandler.make(() => {
        const parts = ["data: 1\n\n", "data: 2\n\n"].map((text) => new TextEncoder().encode(text))
        const body = new ReadableStream({
          pull: (controller) => parts.length === 0 ? controller.close() : controller.enqueue(parts.shift())
        })
        return new Response(body, { headers: { "content-type": "text/event-stream" } })
      })
      const bytes = yield* exchange(app, request("GET /", ["accept: text/event-stream"]))
      const [answer] = answersIn(bytes)
      assert.deepStrictEqual([answer!.header("content-type"), answer!.body], [
        "text/event-stream",
        "data: 1\n\ndata: 2\n\n"
      ])
      assert.strictEqual(answersIn(yield* exchange(app, handshake()))[0]!.status, 403)
    }).pipe(quiet))
})
