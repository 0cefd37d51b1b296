import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Http2 from "node:http2"
import * as Net from "node:net"
import * as ServerNode from "../../../layers/ServerNode.ts"
import * as App from "../../../src/app/App.ts"
import type { Address } from "../../../src/service/Server.ts"
import { answerIn, request, utf8 } from "../../utils/answers.ts"
import { capture } from "../../utils/logs.ts"
import { connect, until } from "../../utils/sockets.ts"

/** Serves on a port of the system's choice until the test's scope closes. */
const listen = Effect.fnUntraced(function*<E>(app: App.App<E>) {
  const server = yield* ServerNode.make({ port: 0 })
  yield* server.serve(app)
  const [address] = yield* server.addresses
  return { address: address as Extract<Address, { readonly _tag: "tcp" }>, server }
})

/** A client of `node:http2` on a socket that the test can break. */
const connectHttp2 = ({ host, port }: Extract<Address, { readonly _tag: "tcp" }>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const socket = Net.connect({ host, port })
      const session = Http2.connect("http://a", { createConnection: () => socket })
      session.on("error", () => {})
      return { session, socket }
    }),
    ({ session }) => Effect.sync(() => session.destroy())
  )

/** What a stream has received, and whether its end has come. */
const read = (stream: Http2.ClientHttp2Stream) => {
  const seen = { status: 0, text: "", ended: false, closed: false }
  stream.setEncoding("utf8")
  stream.on("response", (fields) => seen.status = fields[":status"] ?? 0)
  stream.on("data", (text: string) => seen.text += text)
  stream.on("end", () => seen.ended = true)
  stream.on("close", () => seen.closed = true)
  stream.on("error", () => {})
  return seen
}

const echoing = App.sse(({ receive, scope, send }) =>
  Effect.gen(function*() {
    yield* send({ type: "sse.start" })
    const event = yield* receive
    const body = event.type === "sse.request" ? Buffer.from(event.body).toString() : ""
    yield* send({ type: "sse.send", data: `${scope.method} ${body} ${scope.httpVersion}`, id: "1" })
  })
)

describe("an event stream on sockets", () => {
  it.live("carries its events over HTTP/1.1 [C87] [C91]", () =>
    Effect.gen(function*() {
      const { address } = yield* listen(echoing)
      const client = yield* connect(address)
      const headers = ["accept: text/event-stream", `content-length: ${utf8("größe").length}`]
      yield* client.send(request("POST /", headers, utf8("größe")))
      const answer = answerIn(yield* client.until(/\r\n0\r\n\r\n$/))
      assert.deepInclude(answer, { status: 200, complete: true, body: utf8("id: 1\ndata: POST größe 1.1\n\n") })
      assert.isFalse(client.isEnded)
    }))

  it.live("carries its events over HTTP/2, for several streams of a connection [C87] [C91]", () =>
    Effect.gen(function*() {
      const { address } = yield* listen(echoing)
      const { session } = yield* connectHttp2(address)
      const streams = ["one", "zwölf"].map((body) => {
        const stream = session.request({ ":method": "POST", accept: "text/event-stream" })
        stream.end(body)
        return { body, stream, seen: read(stream) }
      })
      for (const { body, seen, stream } of streams) {
        yield* until(() => seen.closed)
        assert.deepInclude(seen, { status: 200, ended: true, text: `id: 1\ndata: POST ${body} 2\n\n` })
        assert.strictEqual(stream.rstCode, 0)
      }
      assert.isFalse(session.destroyed)
    }))

  it.live("that its application fails is reset on HTTP/2, and never ended", () =>
    Effect.gen(function*() {
      const failing = yield* Deferred.make<void>()
      const app = App.sse(({ send }) =>
        Effect.andThen(
          send({ type: "sse.start" }),
          Effect.andThen(
            send({ type: "sse.send", data: "x" }),
            Effect.andThen(Deferred.await(failing), Effect.interrupt)
          )
        )
      )
      const { address } = yield* Effect.provide(listen(app), capture().layer)
      const { session } = yield* connectHttp2(address)
      const stream = session.request({ accept: "text/event-stream" })
      const seen = read(stream)
      yield* until(() => seen.text === "data: x\n\n")
      yield* Deferred.succeed(failing, undefined)
      yield* until(() => seen.closed)
      assert.strictEqual(stream.rstCode, Http2.constants.NGHTTP2_INTERNAL_ERROR)
    }))

  /** Each leaves in its own way; none says goodbye in its protocol. */
  const leavings: ReadonlyArray<readonly [name: string, leave: (socket: Net.Socket) => void]> = [
    ["ends its side of the connection", (socket) => void socket.end()],
    ["closes the connection", (socket) => socket.destroy()],
    ["resets the connection", (socket) => void socket.resetAndDestroy()]
  ]
  for (const [name, leave] of leavings) {
    for (const version of ["1.1", "2"]) {
      it.live(`is told at once when the client ${name}, on HTTP/${version} [C94]`, () =>
        Effect.gen(function*() {
          const told = yield* Deferred.make<unknown>()
          const app = App.sse(({ receive, send }) =>
            Effect.andThen(
              send({ type: "sse.start" }),
              Effect.andThen(receive, Effect.flatMap(receive, (event) => Deferred.succeed(told, event)))
            )
          )
          const { address, server } = yield* listen(app)
          if (version === "1.1") {
            const client = yield* connect(address)
            yield* client.send(request("GET /", ["accept: text/event-stream"]))
            yield* client.until(/200 OK/)
            leave(client.socket)
          } else {
            const { session, socket } = yield* connectHttp2(address)
            const seen = read(session.request({ accept: "text/event-stream" }))
            yield* until(() => seen.status === 200)
            leave(socket)
          }
          assert.deepStrictEqual(yield* Deferred.await(told), { type: "sse.disconnect", reason: "client_closed" })
          const isGone = () => Effect.runSync(server.stats).connections === 0
          yield* until(isGone)
        }))
    }
  }
})
